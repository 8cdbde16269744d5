"""The alphabet of sequences."""

DNA_LETTERS = "ACGTRYSWKMBDHVN"
"""IUPAC letters of DNA: four nucleotides, then the ambiguity codes."""
