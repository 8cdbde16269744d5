"""Random forests: the baseline with its grid of settings, and the settings of the other forests that the package grows."""

from __future__ import annotations

from typing import Any

# Imported here and not where it is used: Ctrl-C in the middle of its import is no clean stop of a comparison.
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

DEFAULTS: dict[bool, dict[str, Any]] = {False: {"max_features": 1 / 3}, True: {"max_features": "sqrt"}}
"""Of the baseline without tuning, for numbers (False) and for classes (True)."""
GRIDS: dict[bool, dict[str, list[Any]]] = {
    False: {"max_features": [0.1, 1 / 3], "min_samples_leaf": [1, 3]},
    True: {"max_features": ["sqrt", 0.1], "min_samples_leaf": [1, 3], "class_weight": [None, "balanced"]},
}
"""What the baseline is tuned among. Weights of classes are among them since classes are judged by balanced accuracy."""
SEARCH_TREES = 100
"""Most trees of a forest while its settings are chosen; the chosen forest has all its trees."""
SCREENING: dict[str, Any] = {"max_features": 0.2, "min_samples_leaf": 2}
"""Of the small forests that look for leaks through a metadata column."""
IMPORTANCE: dict[bool, dict[str, Any]] = {False: {"max_features": 1.0}, True: {"max_features": "sqrt"}}
"""Of the forest whose importance of ASVs attributions are compared with: every split of a regression may use any ASV."""
SMALL: dict[bool, dict[str, Any]] = {
    classes: {**settings, "min_samples_leaf": 5} for classes, settings in IMPORTANCE.items()
}
"""Of the forest on two features, depth and richness."""


def make_forest(
    *, classes: bool, num_trees: int, seed: int, threads: int | None = None, settings: dict[str, Any] | None = None
) -> Any:
    """A random forest of scikit-learn, not fitted yet.

    Parameters
    ----------
    classes
        Whether it predicts classes, else numbers.
    num_trees, seed
        Its size and seed.
    threads
        None takes all cores.
    settings
        Named settings of this file, by default `DEFAULTS`.
    """
    settings = DEFAULTS[classes] if settings is None else settings
    kind = RandomForestClassifier if classes else RandomForestRegressor
    return kind(n_estimators=num_trees, n_jobs=threads or -1, random_state=seed, **settings)
