"""Whole groups as what is counted: permutations behind p-values and resamples behind intervals.

Shape letters: n samples, G groups, P permutations, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

CELLS = 2_000_000
"""Permutations x samples held at once: bounds memory."""


def units(group: pd.Series | None, num_samples: int) -> npt.NDArray[np.int64]:
    """Number of each sample's group, 0 to G - 1, shape n; without groups, and where a sample has none, it stands for itself."""
    if group is None:
        return np.arange(num_samples)
    unit = pd.factorize(group)[0].astype(np.int64)
    alone = unit < 0
    unit[alone] = unit.max(initial=-1) + 1 + np.arange(alone.sum())
    return unit


def permuted(unit: npt.NDArray[np.int64], num: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Permutations of values that keep the values of a group together, in blocks.

    Each group takes the values of another, in random order. A group larger than the one it takes from repeats some, a smaller one
    leaves some out; with groups of equal size, or without groups, these are permutations in the strict sense, and p-values are exact
    where groups, and samples within one, could change places.

    Yields
    ------
    Numbers of the samples whose values are taken, shape P x n; the blocks have `num` rows together.
    """
    rng = np.random.default_rng(seed)
    size_G = np.bincount(unit)
    start_G = np.cumsum(size_G) - size_G
    by_unit = np.argsort(unit, kind="stable")
    place_n = np.empty_like(unit)
    place_n[by_unit] = np.arange(len(unit)) - start_G[unit[by_unit]]
    for begin in range(0, num, block := max(1, CELLS // len(unit))):
        rows = min(block, num - begin)
        order_Pn = np.argsort(unit + rng.random((rows, len(unit))), axis=1)
        from_Pn = rng.permuted(np.tile(np.arange(len(size_G)), (rows, 1)), axis=1)[:, unit]
        yield np.take_along_axis(order_Pn, start_G[from_Pn] + place_n % size_G[from_Pn], axis=1)


def redrawn(unit: npt.NDArray[np.int64], num: int, seed: int) -> npt.NDArray[np.float64]:
    """How often each group is drawn in each bootstrap resample, shape R x G; as many draws as there are groups."""
    groups = int(unit.max()) + 1
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=num).astype(float)


def resamples(unit: npt.NDArray[np.int64], num: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """How often each sample is drawn in each bootstrap resample of whole groups, shape R x n, in blocks of `num` rows together.

    Other draws than those of `redrawn`, one group after the other: those behind the intervals of an evaluation.
    """
    rng, groups = np.random.default_rng(seed), int(unit.max()) + 1
    for begin in range(0, num, block := max(1, CELLS // len(unit))):
        rows = min(block, num - begin)
        place = rng.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(place.ravel(), minlength=rows * groups).reshape(rows, groups)[:, unit].astype(float)


def mean_interval(
    values: npt.NDArray[Any], unit: npt.NDArray[np.int64], *, confidence: float, num_resamples: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ends of the interval of the mean over samples, whole groups redrawn; `values` has samples first, shape (n, ...)."""
    drawn_RG = redrawn(unit, num_resamples, seed)
    total = np.zeros((drawn_RG.shape[1], *values.shape[1:]))
    np.add.at(total, unit, values)
    size_R = drawn_RG @ np.bincount(unit)
    means = np.tensordot(drawn_RG, total, 1) / size_R.reshape(-1, *[1] * (values.ndim - 1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high


def share_interval(
    hit: npt.NDArray[np.bool_], unit: npt.NDArray[np.int64], *, confidence: float, num_resamples: int, seed: int
) -> tuple[float, float]:
    """Interval of the share of samples that are hit: Wilson's without groups, else of resamples of whole groups; NaN of one group."""
    from scipy.stats import binomtest

    if unit.max() + 1 == len(hit):
        found = binomtest(int(hit.sum()), len(hit)).proportion_ci(confidence, method="wilson")
        return float(found.low), float(found.high)
    if unit.max() == 0:
        return float("nan"), float("nan")
    low, high = mean_interval(hit, unit, confidence=confidence, num_resamples=num_resamples, seed=seed)
    return float(low), float(high)
