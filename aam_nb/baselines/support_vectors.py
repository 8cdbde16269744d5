"""Support vector machines on centred log-ratios, and the settings they are tuned among."""

from __future__ import annotations

from typing import Any

GRIDS: dict[bool, dict[str, list[Any]]] = {
    False: {"C": [0.3, 1.0, 3.0, 10.0]},
    True: {"C": [0.3, 1.0, 3.0, 10.0], "class_weight": [None, "balanced"]},
}
"""For numbers (False) and for classes (True)."""


def make_support_vectors(*, classes: bool) -> Any:
    """A support vector machine with a radial kernel, not fitted yet."""
    from sklearn.svm import SVC, SVR

    return SVC(C=1.0, break_ties=True) if classes else SVR(C=1.0)
