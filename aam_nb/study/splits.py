"""Splits of samples: stratified by a target, and never with a group on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pandas as pd

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.config import UserError, count_noun, cut_list
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.target_checks import is_same_classes

if TYPE_CHECKING:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

ArrayT = TypeVar("ArrayT", Bools, Ints)
NUM_CANDIDATES = 30
"""Random splits tried; the one nearest to the asked size and to the target's distribution is taken."""


class SplitError(UserError, ValueError):
    """The samples cannot be split as asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Which side of which split a study is.

    Parameters
    ----------
    part
        The side.
    target, group
        Metadata columns stratified by, and kept whole, or None.
    test_size
        Share of the samples on the test side: as asked for a hold-out, as it came out for a fold.
    seed
        Of the random numbers; a group left out needs none and has 0.
    fold
        Which of several splits this is, such as "fold 2 of 5" or "study = 550"; None for a hold-out.
    """

    part: Literal["train", "test"]
    target: str | None
    group: str | None
    test_size: float
    seed: int
    fold: str | None = None

    def __post_init__(self) -> None:
        # Of Python's types, not numpy's, as JSON is to hold them.
        object.__setattr__(self, "test_size", float(self.test_size))
        object.__setattr__(self, "seed", int(self.seed))


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldMask:
    """One of several folds, before any study is cut.

    Parameters
    ----------
    test
        Mask of the samples held out, shape (n_samples,).
    split
        What the `split_info` of the training side is.
    """

    test: Bools
    split: Split


def hold_out(
    sample_ids: pd.Index, *, target: pd.Series | None, group: pd.Series | None, test_size: float, seed: int
) -> Bools:
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
        The same seed gives the same mask; the order of the samples does not matter, which are drawn from sorted by id.

    Raises
    ------
    SplitError
        Fewer than two groups, a missing group value, a group that is the target, a class too rare to be on both sides, or a size or
        seed that is none.
    """
    refuse_same(target, group)
    _refuse_seed(seed)
    if (
        isinstance(test_size, (bool, np.bool_))
        or not isinstance(test_size, (int, float, np.number))
        or not 0 < test_size < 1
    ):
        raise SplitError(
            f"test_size is {test_size!r}. Expected a share of the samples between 0 and 1. Try `test_size=0.2`."
        )
    by_id = sort_ids(sample_ids)
    sample_ids, target, group = _take(by_id, sample_ids, target, group)
    stratum = np.zeros(len(sample_ids), dtype=np.int64) if target is None else _strata(target)
    unit = _units(sample_ids, group)
    num_units = int(unit.max(initial=-1)) + 1
    if num_units < 2:
        raise SplitError(
            f"There is {_counted(num_units, group)}. A split needs at least two. Use more samples or another group."
        )
    if group is None:
        mask = _per_stratum(stratum, test_size, seed)
    else:
        count_US = np.zeros((num_units, stratum.max() + 1))  # units x strata; a candidate test side is a set of units
        np.add.at(count_US, (unit, stratum), 1)
        mask = _best_units(count_US, test_size, seed)[unit]
    if mask.all() or not mask.any():
        raise SplitError(
            f"A test size of {test_size} of {_counted(num_units, group)} leaves one side empty. Expected both sides to hold samples. "
            "Raise or lower `test_size`."
        )
    return _put_back(mask, by_id)


def k_fold(sample_ids: pd.Index, *, target: pd.Series | None, group: pd.Series | None, folds: int, seed: int) -> Ints:
    """Fold of each sample, 0 to `folds` - 1, shape (n_samples,): every sample is held out once.

    Parameters
    ----------
    sample_ids
        The samples.
    target
        Known values to stratify by, in the order of the samples: classes, or numbers by quantile bins.
    group
        Values that never cross.
    folds
        Number of folds, at least 2.
    seed
        The same seed gives the same folds; the order of the samples does not matter, which are dealt out sorted by id.

    Returns
    -------
    Without a group each class (or bin) differs by at most one sample between folds. With one, whole groups are dealt out so that the
    classes are spread as evenly as scikit-learn's greedy search finds; each class is in training in every fold.

    Raises
    ------
    SplitError
        Fewer samples, groups or members of a class than folds; a missing group value; a class that cannot be kept in training.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    refuse_same(target, group)
    _refuse_seed(seed)
    if not isinstance(folds, (int, np.integer)) or folds < 2:
        raise SplitError(f"folds is {folds!r}. Expected a whole number of at least 2. Try `folds=5`.")
    by_id = sort_ids(sample_ids)
    sample_ids, target, group = _take(by_id, sample_ids, target, group)
    unit = _units(sample_ids, group)
    num_units = int(unit.max(initial=-1)) + 1
    if num_units < folds:
        raise SplitError(
            f"There are {_counted(num_units, group)} for {folds} folds. Each fold needs at least one. "
            + (f"Try `folds={num_units}`." if num_units >= 2 else "Use more samples or another group.")
        )
    sizes_only = np.zeros(len(sample_ids), dtype=np.int64)
    classes = None if target is None or is_numeric_column(target) else target
    if target is None:
        stratum = sizes_only
    elif classes is None:
        stratum = _bins(target, min(5, num_units // folds))
    else:
        _refuse_rare(classes, folds)
        stratum = pd.factorize(classes, sort=True)[0].astype(np.int64)
    if group is None:
        dealer: StratifiedKFold | StratifiedGroupKFold = StratifiedKFold(
            folds, shuffle=True, random_state=_random(seed, 0)
        )
        return _put_back(_numbered(dealer, stratum, None), by_id)
    if classes is not None:
        _refuse_lone(classes, group)
    for attempt in range(NUM_CANDIDATES):
        dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=_random(seed, attempt))
        fold = _numbered(dealer, stratum, unit)
        in_folds = (pd.crosstab(stratum, fold) > 0).sum(axis=1)  # of each stratum
        if len(np.unique(fold)) == folds and (classes is None or in_folds.min() >= 2):
            return _put_back(fold, by_id)
    if classes is None:  # bins can draw all groups into few folds; sizes alone never leave one empty
        return _put_back(_numbered(dealer, sizes_only, unit), by_id)
    raise SplitError(
        f"No way was found to deal {_counted(num_units, group)} into {folds} folds so that none is empty and each class of "
        f"{classes.name!r} is in training every time. Groups may be too few or too uneven. Ask for fewer folds, or for one per group "
        f"with `study.leave_one_group_out({group.name!r}, target={classes.name!r})`."
    )


def leave_one_group_out(
    sample_ids: pd.Index, *, group: pd.Series, target: pd.Series | None = None
) -> list[tuple[object, Bools]]:
    """Each value of the group with the mask of its samples, shape (n_samples,), in sorted order: leave-one-study-out.

    Parameters
    ----------
    sample_ids
        The samples.
    group
        Values to hold out in turn.
    target
        Known values. Where they are classes, each must be in two groups, or one would never be trained on when it is asked for.

    Raises
    ------
    SplitError
        Fewer than two groups, a missing group value, or a class that lies in one group only.
    """
    refuse_same(target, group)
    _units(sample_ids, group)
    unit, values = pd.factorize(group, sort=True)
    if len(values) < 2:
        raise SplitError(
            f"There is {_counted(len(values), group)}. Leaving one out needs at least two. Use another group, or `study.split()`."
        )
    if target is not None and not is_numeric_column(target):
        _refuse_lone(target, group)
    return [(value, unit == number) for number, value in enumerate(values)]


def fold_masks(
    sample_ids: pd.Index, *, target: pd.Series | None, group: pd.Series | None, folds: int, seed: int
) -> list[FoldMask]:
    """The folds of `k_fold`, with the same arguments and errors, as masks of the samples each holds out."""
    fold = k_fold(sample_ids, target=target, group=group, folds=folds, seed=seed)
    names = [f"fold {number + 1} of {folds}" for number in range(folds)]
    return [_fold_mask(fold == number, target, group, seed, name) for number, name in enumerate(names)]


def group_masks(sample_ids: pd.Index, *, group: pd.Series, target: pd.Series | None = None) -> list[FoldMask]:
    """The groups of `leave_one_group_out`, with the same arguments and errors, as masks of the samples of each."""
    held_out = leave_one_group_out(sample_ids, group=group, target=target)
    return [_fold_mask(test, target, group, 0, f"{group.name} = {value}") for value, test in held_out]


def _fold_mask(test: Bools, target: pd.Series | None, group: pd.Series | None, seed: int, name: str) -> FoldMask:
    columns: list[Any] = [None if values is None else values.name for values in (target, group)]
    split = Split(part="train", target=columns[0], group=columns[1], test_size=float(test.mean()), seed=seed, fold=name)
    return FoldMask(test=test, split=split)


def sort_ids(sample_ids: pd.Index) -> Ints:
    """Positions of the samples in the order of their ids, by code point, shape (n_samples,): what is drawn in it is drawn by id."""
    return np.argsort(np.array([str(i) for i in sample_ids], dtype=object), kind="stable")


def _take(
    rows: Ints, sample_ids: pd.Index, target: pd.Series | None, group: pd.Series | None
) -> tuple[pd.Index, pd.Series | None, pd.Series | None]:
    """The samples of those row numbers, with their columns."""
    return (
        sample_ids[rows],
        None if target is None else target.iloc[rows],
        None if group is None else group.iloc[rows],
    )


def _put_back(values: ArrayT, rows: Ints) -> ArrayT:
    """Values of samples that `_take` put in another order, in the first order again."""
    back = np.empty_like(values)
    back[rows] = values
    return back


def refuse_same(target: pd.Series | None, group: pd.Series | None) -> None:
    """Refuse a group that is the target: no side would hold a value that the other knows."""
    if target is None or group is None:
        return
    in_other_words = target.name != group.name and is_same_classes(target, group)
    if target.name == group.name or in_other_words:
        other = f" in other words: each value of {group.name!r} has one of {target.name!r}" if in_other_words else ""
        raise SplitError(
            f"The group is the target, {target.name!r}{other}, so training would never see a value that is tested. Expected another "
            "column, such as a host or a study. Name that one with `group=` (`--group`)."
        )


def is_whole(number: object) -> bool:
    """Whether it is a whole number, Python's or numpy's."""
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def _refuse_seed(seed: int) -> None:
    if not is_whole(seed) or seed < 0:
        raise SplitError(f"seed is {seed!r}. Expected a whole number of at least 0. Try `seed=0`.")


def _units(sample_ids: pd.Index, group: pd.Series | None) -> Ints:
    """Number of the unit that must stay whole, for each sample: the sample, or its group."""
    if group is None:
        return np.arange(len(sample_ids))
    if group.isna().any():
        lost = sample_ids[group.isna().to_numpy()]
        raise SplitError(
            f"{count_noun(len(lost), 'sample has', 'samples have')} no {group.name!r} ({cut_list(lost)}). A group split needs it for "
            f"every sample. Drop them with `study.keep_samples(study.metadata[{group.name!r}].notna())` (`--drop-missing-group`)."
        )
    return pd.factorize(group)[0].astype(np.int64)


def _counted(number: int, group: pd.Series | None) -> str:
    """So many samples, or values of the group, in words."""
    return count_noun(number, "sample") if group is None else f"{count_noun(number, 'value')} of {group.name!r}"


def _strata(values: pd.Series) -> Ints:
    """Class numbers, or five quantile bins of a numeric target."""
    if is_numeric_column(values):
        return _bins(values, min(5, max(1, len(values) // 10)))
    _refuse_rare(values, 2)
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _bins(values: pd.Series, bins: int) -> Ints:
    """Quantile bins of numbers; ties are broken by order, so the bins are of equal size."""
    return pd.qcut(values.rank(method="first"), bins, labels=False).to_numpy().astype(np.int64)


def _refuse_rare(target: pd.Series, least: int) -> None:
    """Refuse classes with too few members to be on `least` sides."""
    sizes = target.value_counts()
    rare = sizes[(sizes > 0) & (sizes < least)]  # a categorical column may have values that no sample has
    if not len(rare):
        return
    names = list(rare.index)
    if len(names) == len(sizes[sizes > 0]) and (sizes[sizes > 0] == 1).all():
        raise SplitError(
            f"In {target.name!r}, each of {count_noun(len(names), 'sample')} has a value of its own ({cut_list(names)}), so they are no "
            "classes. Expected classes that several samples share, or numbers. If they are numbers, empty the cells that hold text; "
            "`aam-nb info` names them."
        )
    drop = f"`study.keep_samples(~study.metadata[{target.name!r}].isin({names[:5]!r}))` (`--min-class-size {least}`)."
    if least == 2:
        raise SplitError(
            f"In {target.name!r}, {count_noun(len(rare), 'class has', 'classes have')} a single sample ({cut_list(names)}). Each class "
            f"needs one on both sides of a split. Drop them with {drop}"
        )
    raise SplitError(
        f"In {target.name!r}, {count_noun(len(rare), 'class has', 'classes have')} fewer than {least} samples "
        f"({cut_list(f'{c}: {n}' for c, n in rare.items())}). Each class needs one in each of {least} folds. Ask for fewer folds, or drop "
        f"them with {drop}"
    )


def _refuse_lone(target: pd.Series, group: pd.Series) -> None:
    """Refuse classes that lie in one group, whose holding out would leave none to learn from."""
    spread = group.groupby(target.to_numpy()).nunique()
    lone = list(spread.index[spread < 2])
    if lone:
        raise SplitError(
            f"In {target.name!r}, {count_noun(len(lone), 'class occurs', 'classes occur')} in only one value of {group.name!r} "
            f"({cut_list(lone)}). When that one is held out, training never sees them; each class needs two. Drop them with "
            f"`study.keep_samples(~study.metadata[{target.name!r}].isin({lone[:5]!r}))`, or use another group."
        )


def _random(seed: int, attempt: int) -> np.random.RandomState:
    """Random numbers as scikit-learn takes them, from any whole number >= 0."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, attempt))))


def _numbered(dealer: StratifiedKFold | StratifiedGroupKFold, stratum: Ints, unit: Ints | None) -> Ints:
    """Number of the fold that holds each sample out."""
    fold = np.full(len(stratum), -1, dtype=np.int64)
    for number, (_, held) in enumerate(dealer.split(stratum, stratum, unit)):
        fold[held] = number
    return fold


def _per_stratum(stratum: Ints, test_size: float, seed: int) -> Bools:
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


def _best_units(count_US: Floats, test_size: float, seed: int) -> Bools:
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
