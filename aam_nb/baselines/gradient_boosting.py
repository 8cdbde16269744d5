"""Boosted trees, and the settings they are tuned among."""

from __future__ import annotations

from typing import Any

GRIDS: dict[bool, dict[str, list[Any]]] = {
    False: {"learning_rate": [0.05, 0.15], "max_leaf_nodes": [4, 16]},
    True: {"max_leaf_nodes": [4, 16], "class_weight": [None, "balanced"]},
}
"""For numbers (False) and for classes (True)."""


def make_boosted_trees(*, classes: bool, seed: int) -> Any:
    """Histogram-based gradient boosting of scikit-learn, not fitted yet."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(max_features=0.2, min_samples_leaf=5, early_stopping=False, random_state=seed)
