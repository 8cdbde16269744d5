"""The names in a run folder, where those can read them who do not need torch."""

from __future__ import annotations

from aam_nb.train.digests import SUMS

FILES = ("config.json", "target.json", "splits.json", "model.safetensors")
"""Without these a folder is not a run."""
OWNED = (*FILES, SUMS, "history.csv", "evaluation.json", "predictions.csv")
"""What saving a run replaces, or removes where the run has none; all else in its folder is kept."""
STARTED = ("checkpoints", "tensorboard")
"""Folders that training writes into a run before it is saved."""
