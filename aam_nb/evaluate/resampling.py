"""Bootstrap resamples and permutations of whole groups, and the intervals and metrics that are made of them.

Shape letters: n samples, G groups, P permutations, R resamples, V distinct values, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Array, Bools, Floats, Ints
from aam_nb.baselines.scaling import rank_key
from aam_nb.model.objectives import Classification, Task

CELLS = 2_000_000
"""Permutations x samples held at once: bounds memory."""
COLUMNS = 2048
"""Columns of sparse values resampled together: bounds memory."""


# -- groups -----------------------------------------------------------------------------------------------------------


def permute_groups(unit: Ints, num: int, seed: int) -> Iterator[Ints]:
    """Permutations of values that keep the values of a group together, in blocks.

    Each group takes the values of another, in random order. A group larger than the one it takes from repeats some, a smaller one
    leaves some out. With groups of equal size, or without groups, these are permutations in the strict sense, and p-values are exact
    where groups, and samples within one, are exchangeable.

    Yields
    ------
    Numbers of the samples whose values are taken, shape P x n; the blocks have `num` rows together.
    """
    rng = np.random.default_rng(seed)
    size_G = np.bincount(unit)
    start_G = np.cumsum(size_G) - size_G
    # The position of each sample within its own group.
    by_unit = np.argsort(unit, kind="stable")
    rank_n = np.empty_like(unit)
    rank_n[by_unit] = np.arange(len(unit)) - start_G[unit[by_unit]]
    for begin in range(0, num, block := max(1, CELLS // len(unit))):
        rows = min(block, num - begin)
        # Samples sorted by group, in random order within each; then each group reads from a random other one, as often as it is large.
        order_Pn = np.argsort(unit + rng.random((rows, len(unit))), axis=1)
        from_Pn = rng.permuted(np.tile(np.arange(len(size_G)), (rows, 1)), axis=1)[:, unit]
        yield np.take_along_axis(order_Pn, start_G[from_Pn] + rank_n % size_G[from_Pn], axis=1)


def draw_groups(unit: Ints, num: int, seed: int) -> Floats:
    """How often each group is drawn in each bootstrap resample, shape R x G; as many draws as there are groups.

    `draw_groups(...)[:, unit]` says how often each sample comes.
    """
    groups = int(unit.max()) + 1
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=num).astype(float)


def draw_resamples(unit: Ints, num: int, seed: int) -> Iterator[Floats]:
    """How often each sample is drawn in each bootstrap resample of whole groups, shape R x n, in blocks of `num` rows together.

    These are the draws behind the intervals of an `Evaluation`. They are other random numbers than those of `draw_groups`, with the same
    distribution: one group is drawn after the other.
    """
    rng, groups = np.random.default_rng(seed), int(unit.max()) + 1
    for begin in range(0, num, block := max(1, CELLS // len(unit))):
        rows = min(block, num - begin)
        drawn = rng.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)[:, unit].astype(float)


# -- intervals --------------------------------------------------------------------------------------------------------


def percentile_interval(values: Array, confidence: float) -> tuple[Floats, Floats]:
    """Lower and upper end of the percentile interval over resamples.

    Parameters
    ----------
    values
        Shape (R, ...): resamples first. NaN where a resample does not define a value.
    confidence
        Coverage, 0 to 1.

    Returns
    -------
    Two arrays of shape `values.shape[1:]`; NaN where fewer than half of the resamples define the value.
    """
    tail = (1 - confidence) / 2
    undefined = np.isnan(values)
    if not undefined.any():
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        return low, high
    rare = 2 * undefined.sum(0) > len(values)
    low, high = np.nanquantile(np.where(rare, 0.0, values), [tail, 1 - tail], axis=0)
    return np.where(rare, np.nan, low), np.where(rare, np.nan, high)


def bootstrap_mean_interval(
    values: Array | sparse.csr_array, unit: Ints, *, confidence: float, num_resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Ends of the interval of the mean over samples, whole groups resampled; NaN of a single group.

    Parameters
    ----------
    values
        Samples first, shape (n, ...); or sparse, shape (n, columns), of which a few columns at a time are made dense.
    unit
        Number of each sample's group, shape n.
    """
    low, high = (np.full(values.shape[1:], np.nan) for _ in range(2))
    if unit.max(initial=0) == 0:
        return low, high
    drawn_RG = draw_groups(unit, num_resamples, seed)
    size_R = drawn_RG @ np.bincount(unit)
    if not sparse.issparse(values):
        total = np.zeros((drawn_RG.shape[1], *values.shape[1:]))
        np.add.at(total, unit, values)
        means = np.tensordot(drawn_RG, total, 1) / size_R.reshape(-1, *[1] * (values.ndim - 1))
        return percentile_interval(means, confidence)
    n, width = values.shape
    total = (sparse.csr_array((np.ones(n), (unit, np.arange(n)))) @ values).tocsc()
    for start in range(0, width, COLUMNS):
        columns = slice(start, start + COLUMNS)
        means = (total[:, columns].T @ drawn_RG.T) / size_R
        low[columns], high[columns] = percentile_interval(means.T, confidence)
    return low, high


def share_interval(hit: Bools, unit: Ints, *, confidence: float, num_resamples: int, seed: int) -> tuple[float, float]:
    """Interval of the share of samples that are hit: Wilson's without groups, else of resamples of whole groups; NaN of one group."""
    from scipy.stats import binomtest

    if unit.max() + 1 == len(hit):
        ends = binomtest(int(hit.sum()), len(hit)).proportion_ci(confidence, method="wilson")
        return float(ends.low), float(ends.high)
    low, high = bootstrap_mean_interval(hit, unit, confidence=confidence, num_resamples=num_resamples, seed=seed)
    return float(low), float(high)


# -- metrics of many resamples at once --------------------------------------------------------------------------------


def score_resamples(truth: Array, prediction: pd.DataFrame, task: Task, drawn_Rn: Floats) -> dict[str, Floats]:
    """Metrics of each resample, as `metrics.score` gives them for the samples drawn, each as often as it was drawn.

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
        return _score_numbers(truth.astype(float), guess.astype(float), drawn_Rn)
    classes = [*task.classes, *sorted({*truth} - {*task.classes})]  # a class that the model was not taught is never hit
    own_Cn = np.array([truth == c for c in classes], dtype=float)
    named_Cn = np.array([guess == c for c in classes], dtype=float)
    own_RC, named_RC, hit_RC = (drawn_Rn @ x.T for x in (own_Cn, named_Cn, own_Cn * named_Cn))
    present_RC = own_RC > 0
    areas_RC = np.column_stack(
        [
            _roc_areas(prediction[f"p({c})"].to_numpy(float), own, drawn_Rn)
            for c, own in zip(task.classes, own_Cn, strict=False)
        ]
    )
    return {
        "balanced_accuracy": _mean_over(_ratio(hit_RC, own_RC), present_RC),
        "macro_f1": _mean_over(_ratio(2 * hit_RC, own_RC + named_RC), present_RC),
        "auroc": _mean_over(areas_RC, ~np.isnan(areas_RC)),
    }


def _score_numbers(truth: Floats, guess: Floats, drawn_Rn: Floats) -> dict[str, Floats]:
    size = drawn_Rn.sum(1)
    return {
        "r2": 1 - _ratio(drawn_Rn @ (truth - guess) ** 2, _spread(np.tile(truth, (len(drawn_Rn), 1)), drawn_Rn)),
        "mae": drawn_Rn @ np.abs(truth - guess) / size,
        "spearman": _correlation(_ranks(rank_key(truth), drawn_Rn), _ranks(rank_key(guess), drawn_Rn), drawn_Rn),
    }


def _spread(x_Rn: Floats, drawn_Rn: Floats) -> Floats:
    """Sum of squares about the mean, exactly 0 where all that is drawn is the same."""
    mean = (drawn_Rn * x_Rn).sum(1) / drawn_Rn.sum(1)
    drawn = drawn_Rn > 0
    same = np.where(drawn, x_Rn, np.inf).min(1) == np.where(drawn, x_Rn, -np.inf).max(1)
    return np.where(same, 0.0, (drawn_Rn * (x_Rn - mean[:, None]) ** 2).sum(1))


def _correlation(a_Rn: Floats, b_Rn: Floats, drawn_Rn: Floats) -> Floats:
    size = drawn_Rn.sum(1, keepdims=True)
    a, b = (x - (drawn_Rn * x).sum(1, keepdims=True) / size for x in (a_Rn, b_Rn))
    return _ratio((drawn_Rn * a * b).sum(1), np.sqrt(_spread(a_Rn, drawn_Rn) * _spread(b_Rn, drawn_Rn)))


def _sum_by_value(values: Array, weight_Rn: Floats) -> tuple[Floats, Ints]:
    """Weight of each distinct value, rising, R x V; and the number of each sample's value."""
    distinct, number_n = np.unique(values, return_inverse=True)
    order = np.argsort(number_n, kind="stable")
    starts = np.searchsorted(number_n[order], np.arange(len(distinct)))
    return np.add.reduceat(weight_Rn[:, order], starts, axis=1), number_n


def _ranks(values: Floats, drawn_Rn: Floats) -> Floats:
    """Rank of each sample among those drawn, equal values sharing their mean rank, R x n."""
    count_RV, number_n = _sum_by_value(values, drawn_Rn)
    below_RV = np.cumsum(count_RV, axis=1) - count_RV
    return (below_RV + (count_RV + 1) / 2)[:, number_n]


def _roc_areas(chance: Floats, own: Floats, drawn_Rn: Floats) -> Floats:
    """Area under the ROC curve: how often one of the class ranks above one of the others, ties counted half."""
    yes_RV, _ = _sum_by_value(chance, drawn_Rn * own)
    no_RV, _ = _sum_by_value(chance, drawn_Rn * (1 - own))
    above = (yes_RV * (np.cumsum(no_RV, axis=1) - no_RV / 2)).sum(1)
    return _ratio(above, yes_RV.sum(1) * no_RV.sum(1))


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


def _mean_over(x_RC: Floats, where_RC: Bools) -> Floats:
    """Mean over some classes of each resample; NaN where there are none."""
    return _ratio(np.where(where_RC, x_RC, 0).sum(1), where_RC.sum(1).astype(float))
