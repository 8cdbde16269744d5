"""The network: layers, the encoder from nucleotides to samples, covariates, and objectives."""
