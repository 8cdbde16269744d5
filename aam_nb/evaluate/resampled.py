"""The metrics of `evaluate.metrics.score` on many bootstrap resamples at once, from how often each sample was drawn.

Shape letters: n samples, R resamples, V distinct values, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aam_nb.model.objectives import Classification, Task

Array = npt.NDArray[Any]
Numbers = npt.NDArray[np.float64]


def scores_of_draws(truth: Array, prediction: pd.DataFrame, task: Task, drawn_Rn: Numbers) -> dict[str, Numbers]:
    """Metrics of each resample, as `score` gives them for the samples drawn, each as often as it was drawn.

    Parameters
    ----------
    truth, prediction, task
        As for `score`, of n samples.
    drawn_Rn
        How often each sample was drawn in each resample.

    Returns
    -------
    By metric, its values, shape R; NaN where it is not defined.
    """
    guess = prediction[task.target].to_numpy()
    if not isinstance(task, Classification):
        return _of_numbers(truth.astype(float), guess.astype(float), drawn_Rn)
    classes = [*task.classes, *sorted({*truth} - {*task.classes})]  # a class that the model was not taught is never hit
    own_Cn = np.array([truth == c for c in classes], dtype=float)
    named_Cn = np.array([guess == c for c in classes], dtype=float)
    own_RC, named_RC, hit_RC = (drawn_Rn @ x.T for x in (own_Cn, named_Cn, own_Cn * named_Cn))
    present_RC = own_RC > 0
    areas_RC = np.column_stack(
        [
            _areas(prediction[f"p({c})"].to_numpy(float), own, drawn_Rn)
            for c, own in zip(task.classes, own_Cn, strict=False)
        ]
    )
    return {
        "balanced_accuracy": _mean(_ratio(hit_RC, own_RC), present_RC),
        "macro_f1": _mean(_ratio(2 * hit_RC, own_RC + named_RC), present_RC),
        "auroc": _mean(areas_RC, ~np.isnan(areas_RC)),
    }


def interval(values: Numbers, confidence: float) -> tuple[float, float]:
    """Percentile interval; NaN where fewer than half of the resamples define the value."""
    known = values[~np.isnan(values)]
    if 2 * len(known) < len(values):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _of_numbers(truth: Numbers, guess: Numbers, drawn_Rn: Numbers) -> dict[str, Numbers]:
    size = drawn_Rn.sum(1)
    return {
        "r2": 1 - _ratio(drawn_Rn @ (truth - guess) ** 2, _spread(np.tile(truth, (len(drawn_Rn), 1)), drawn_Rn)),
        "mae": drawn_Rn @ np.abs(truth - guess) / size,
        "spearman": _correlation(_ranks(truth, drawn_Rn), _ranks(guess, drawn_Rn), drawn_Rn),
    }


def _spread(x_Rn: Numbers, drawn_Rn: Numbers) -> Numbers:
    """Sum of squares about the mean, exactly 0 where all that is drawn is the same."""
    mean = (drawn_Rn * x_Rn).sum(1) / drawn_Rn.sum(1)
    drawn = drawn_Rn > 0
    same = np.where(drawn, x_Rn, np.inf).min(1) == np.where(drawn, x_Rn, -np.inf).max(1)
    return np.where(same, 0.0, (drawn_Rn * (x_Rn - mean[:, None]) ** 2).sum(1))


def _correlation(a_Rn: Numbers, b_Rn: Numbers, drawn_Rn: Numbers) -> Numbers:
    size = drawn_Rn.sum(1, keepdims=True)
    a, b = (x - (drawn_Rn * x).sum(1, keepdims=True) / size for x in (a_Rn, b_Rn))
    return _ratio((drawn_Rn * a * b).sum(1), np.sqrt(_spread(a_Rn, drawn_Rn) * _spread(b_Rn, drawn_Rn)))


def _by_value(values: Array, weight_Rn: Numbers) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """Weight of each distinct value, rising, R x V; and the number of each sample's value."""
    names, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(names)))
    return np.add.reduceat(weight_Rn[:, order], starts, axis=1), place


def _ranks(values: Numbers, drawn_Rn: Numbers) -> Numbers:
    """Rank of each sample among those drawn, equal values sharing their mean rank, R x n."""
    count_RV, place = _by_value(values, drawn_Rn)
    below_RV = np.cumsum(count_RV, axis=1) - count_RV
    return (below_RV + (count_RV + 1) / 2)[:, place]


def _areas(chance: Numbers, own: Numbers, drawn_Rn: Numbers) -> Numbers:
    """Area under the ROC curve: how often one of the class ranks above one of the others, ties counted half."""
    yes_RV, _ = _by_value(chance, drawn_Rn * own)
    no_RV, _ = _by_value(chance, drawn_Rn * (1 - own))
    above = (yes_RV * (np.cumsum(no_RV, axis=1) - no_RV / 2)).sum(1)
    return _ratio(above, yes_RV.sum(1) * no_RV.sum(1))


def _ratio(a: Numbers, b: Numbers) -> Numbers:
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


def _mean(x_RC: Numbers, where_RC: npt.NDArray[np.bool_]) -> Numbers:
    """Mean over some classes of each resample; NaN where there are none."""
    return _ratio(np.where(where_RC, x_RC, 0).sum(1), where_RC.sum(1).astype(float))
