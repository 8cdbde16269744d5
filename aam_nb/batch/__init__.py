"""A study as batches: DNA as tokens, ragged batches in which every distinct ASV is encoded once, and augmentation."""
