"""Ecology: UniFrac, Faith PD and other distances, rarefaction curves, and ordination."""
