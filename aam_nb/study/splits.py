"""Splits that are stratified by a target and never cut a group in two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_numeric_dtype

from aam_nb.config import UserError, some

NUM_CANDIDATES = 30
"""Random splits tried; the one nearest to the asked size and to the target's distribution is taken."""


class SplitError(UserError, ValueError):
    """The samples cannot be split as asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Which side of which split a study is."""

    part: Literal["train", "test"]
    target: str | None
    group: str | None
    test_size: float
    seed: int


def hold_out(
    sample_ids: pd.Index, *, target: pd.Series | None, group: pd.Series | None, test_size: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Mask of the samples held out, shape (n_samples,); the target's strata are spread as evenly as groups allow.

    Parameters
    ----------
    sample_ids
        The samples.
    target
        Known values to stratify by, in the order of the samples: classes, or numbers by quantile bins.
    group
        Values that never cross.
    test_size
        Share to hold out, in (0, 1).
    seed
        The same seed gives the same mask.

    Raises
    ------
    SplitError
        Fewer than two groups, a missing group value, or a class too rare to be on both sides.
    """
    if not 0 < test_size < 1:
        raise SplitError(
            f"test_size is {test_size!r}. Expected a share of the samples between 0 and 1. Try `test_size=0.2`."
        )
    stratum = np.zeros(len(sample_ids), dtype=np.int64) if target is None else _strata(target)
    unit = np.arange(len(sample_ids))
    what = "sample"
    if group is not None:
        what = f"value of {group.name!r}"
        if group.isna().any():
            lost = sample_ids[group.isna().to_numpy()]
            raise SplitError(
                f"{len(lost)} samples have no {group.name!r} ({some(lost)}). A group split needs it for every sample. Drop them "
                f"with `study.keep_samples(study.metadata[{group.name!r}].notna())`."
            )
        unit = pd.factorize(group)[0]
    num_units = int(unit.max(initial=-1)) + 1
    if num_units < 2:
        raise SplitError(f"There is {num_units} {what}. A split needs at least two. Use more samples or another group.")
    if group is None:
        mask = _per_stratum(stratum, test_size, seed)
    else:
        count_US = np.zeros((num_units, stratum.max() + 1))  # units x strata; a candidate test side is a set of units
        np.add.at(count_US, (unit, stratum), 1)
        mask = _best_units(count_US, test_size, seed)[unit]
    if mask.all() or not mask.any():
        raise SplitError(
            f"A test size of {test_size} of {num_units} {what}s leaves one side empty. Expected both sides to hold samples. "
            "Raise or lower `test_size`."
        )
    return mask


def _strata(values: pd.Series) -> npt.NDArray[np.int64]:
    """Class numbers, or five quantile bins of a numeric target."""
    if is_numeric_dtype(values):
        bins = min(5, max(1, len(values) // 10))
        return pd.qcut(values.rank(method="first"), bins, labels=False).to_numpy().astype(np.int64)
    sizes = values.value_counts()
    if sizes.min() < 2:
        rare = sizes[sizes < 2].index
        raise SplitError(
            f"{len(rare)} classes of {values.name!r} have a single sample ({some(rare)}). Each class needs one on both sides of a "
            f"split. Drop them with `study.keep_samples(~study.metadata[{values.name!r}].isin({list(rare[:5])!r}))` "
            f"(`--min-class-size 2`)."
        )
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _per_stratum(stratum: npt.NDArray[np.int64], test_size: float, seed: int) -> npt.NDArray[np.bool_]:
    """Hold out `test_size` of the samples, spread over the strata by largest remainder."""
    rng = np.random.default_rng(seed)
    sizes = np.bincount(stratum)
    total = int(np.clip(round(test_size * len(stratum)), 1, len(stratum) - 1))
    share = sizes * total / len(stratum)
    take = np.floor(share).astype(np.int64)
    take[np.argsort(take - share, kind="stable")[: total - take.sum()]] += 1
    # A class of two or more samples is on both sides where the total allows it.
    take = np.clip(take, np.minimum(1, sizes - 1), np.maximum(sizes - 1, 0)) if len(sizes) <= total else take
    chosen = np.zeros(len(stratum), dtype=bool)
    for s, k in enumerate(take):
        chosen[rng.permutation(np.flatnonzero(stratum == s))[:k]] = True
    return chosen


def _best_units(count_US: npt.NDArray[np.float64], test_size: float, seed: int) -> npt.NDArray[np.bool_]:
    """Of many random sets of groups, the one whose size and strata are nearest to those asked."""
    rng = np.random.default_rng(seed)
    total_S = count_US.sum(0)
    want_S = test_size * total_S
    best, best_gap = np.zeros(len(count_US), dtype=bool), np.inf
    for _ in range(NUM_CANDIDATES):
        order = rng.permutation(len(count_US))
        filled = count_US.sum(1)[order].cumsum()
        # The cut nearest to the wanted size, with at least one group on each side.
        cut = int(np.clip(np.abs(filled - want_S.sum()).argmin() + 1, 1, len(order) - 1))
        test_S = count_US[order[:cut]].sum(0)
        gap = float(np.abs(test_S - want_S).sum() + abs(test_S.sum() - want_S.sum()))
        gap += float(
            total_S.sum() * ((test_S == total_S).sum() + 0.1 * (test_S == 0).sum())
        )  # a stratum wholly on one side
        if gap < best_gap:
            best, best_gap = np.zeros(len(order), dtype=bool), gap
            best[order[:cut]] = True
    return best
