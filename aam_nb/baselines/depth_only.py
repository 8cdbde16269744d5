"""The baseline that knows how many reads and ASVs a sample has, and nothing of which they are."""

from __future__ import annotations

from typing import Any

from aam_nb.baselines.random_forest import SMALL, make_forest

NUM_TREES = 100


def make_depth_model(*, classes: bool, seed: int, threads: int | None) -> tuple[Any, dict[str, list[Any]]]:
    """A small random forest, not fitted yet, and the models it is chosen among: itself and a linear one."""
    from sklearn.linear_model import LogisticRegression, Ridge

    forest = make_forest(classes=classes, num_trees=NUM_TREES, seed=seed, threads=threads, settings=SMALL[classes])
    return forest, {"": [forest, LogisticRegression(C=1.0) if classes else Ridge(1.0)]}
