"""Numbers freed of their unit, before any learner sees them: the one place where a baseline's target is standardised."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from aam_nb.arrays import Array, Floats

DIGITS = 7
"""Decimals of a standardised number, as many as single precision has. What a change of the unit leaves in the last bits (41.04 nmol/l are
not exactly a billion times 4.104e-8 mol/l) is rounded away: else a tree that finds two equally good splits would choose by those bits."""

RANK_DIGITS = 13
"""Significant digits of numbers that are ranked: double precision has 16, of which sums and changes of the unit move the last."""


class UnitFree(StandardScaler):
    """Standardised columns, rounded to `DIGITS` decimals: the same bits in any unit. A column that does not vary becomes 0.

    The inverse gives numbers in the unit back, unrounded.
    """

    def transform(self, X: Array, copy: bool | None = None) -> Array:
        """Shape (n_samples, n_columns), without a unit."""
        return np.round(super().transform(X, copy), DIGITS)


def in_any_unit(estimator: Any) -> Any:
    """A regressor of scikit-learn that learns the target free of its unit and predicts in it, not fitted yet."""
    from sklearn.compose import TransformedTargetRegressor

    # Rounding is no exact inverse, by intent.
    return TransformedTargetRegressor(regressor=estimator, transformer=UnitFree(), check_inverse=False)


def standardise(values: Array) -> Floats:
    """Numbers without a unit, shape (n,): mean 0 and standard deviation 1, rounded to `DIGITS` decimals."""
    return np.asarray(UnitFree().fit_transform(np.asarray(values, dtype=float)[:, None])[:, 0])


def rank_key(values: Array) -> Floats:
    """Numbers to rank by, of the same shape: rounded to `RANK_DIGITS` digits, so that what differs by rounding alone is equal."""
    values = np.asarray(values, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    unit = 10.0 ** np.where(np.isfinite(size), size, 0.0)
    return np.asarray(np.round(values / unit, RANK_DIGITS - 1) * unit)
