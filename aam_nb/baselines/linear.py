"""Linear models on centred log-ratios: ridge (logistic for classes) and elastic net, and the settings they are tuned among."""

from __future__ import annotations

from typing import Any

RIDGE_GRIDS: dict[bool, dict[str, list[Any]]] = {
    False: {"alpha": [10.0, 100.0, 1e3, 1e4, 1e5]},
    True: {"C": [1e-4, 1e-3, 1e-2, 0.1, 1.0], "class_weight": [None, "balanced"]},
}
"""Strength of the penalty, for numbers (False), and its inverse for classes (True)."""
ELASTIC_NET_GRIDS: dict[bool, dict[str, list[Any]]] = {
    False: {"alpha": [0.03, 0.1, 0.3], "l1_ratio": [0.2, 0.8]},
    True: {"C": [0.03, 0.1, 0.3], "l1_ratio": [0.2, 0.8]},
}
"""Strength of the penalty, or its inverse, and the share of it that makes coefficients zero."""


def make_ridge(*, classes: bool) -> Any:
    """Ridge regression, or logistic regression with the same penalty, not fitted yet."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return LogisticRegression(C=1e-3, max_iter=2000) if classes else Ridge(1000.0)


def make_elastic_net(*, classes: bool, seed: int) -> Any:
    """Elastic net, linear or logistic, not fitted yet."""
    from sklearn.linear_model import ElasticNet, LogisticRegression

    if not classes:
        return ElasticNet(alpha=0.1, l1_ratio=0.5, max_iter=3000)
    return LogisticRegression(
        C=0.1, l1_ratio=0.5, solver="saga", tol=1e-3, max_iter=300, random_state=seed, class_weight="balanced"
    )
