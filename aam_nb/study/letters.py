"""The alphabet of sequences, and what looks like one."""

import re

DNA_LETTERS = "ACGTRYSWKMBDHVN"
"""IUPAC letters of DNA: four nucleotides, then the ambiguity codes."""
DNA = re.compile("[ACGTUNRYSWKMBDHV]{2,}", re.IGNORECASE)
DNA_ID = re.compile("[ACGTUNRYSWKMBDHV]{8,}", re.IGNORECASE)
"""DNA too long to be a word or a name."""
