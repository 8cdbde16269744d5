"""How much each ASV, taxon, clade, nucleotide or covariate of a sample moved its prediction (Captum)."""
