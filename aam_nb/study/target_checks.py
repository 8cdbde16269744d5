"""What is checked of a target, and of the columns used beside it, before anything is learned from them: the same for every verb."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype, is_timedelta64_dtype

from aam_nb.arrays import Floats
from aam_nb.config import Notice, count_noun, cut_list, cut_repr
from aam_nb.study.columns import describe_own_spellings, find_near_spellings, is_numeric_column, spelling_key
from aam_nb.study.errors import TargetError

FEWEST_PAIRS = 10
"""Samples with both values below which columns are not said to be each other in other words: chance could do that."""
FEWEST_SAMPLES = 5
"""Training samples below which that is told."""
SAME_RANKS, SAME_LINE = 0.99, 0.999
"""Rank correlation, and correlation, from which a column of numbers is another one: in other units, rounded, or bent."""
MOST_DISTINCT = 0.5
"""A column of classes with more distinct values than this share of the samples names samples, and so repeats nothing."""
TRUTH_WORDS = (("true", "yes", "y", "t", "1.0", "positive", "pos"), ("false", "no", "n", "f", "0.0", "negative", "neg"))
"""What people write for true and for false; compared by `spelling_key`."""
MISSING = "(missing)"
"""A missing value among others, since a model sees that it is missing."""


class TargetWarning(Notice):
    """The target can be used, but may not be what is meant, or a column gives it away."""


# -- a column that is the target --------------------------------------------------------------------------------------


def as_names(columns: Any, argument: str) -> tuple[str, ...]:
    """An argument that names metadata columns, one or several, as a tuple.

    Raises
    ------
    TargetError
        It is no text, and no list of texts.
    """
    is_list = isinstance(columns, (list, tuple, pd.Index))
    names: list[Any] = [columns] if isinstance(columns, str) else list(columns) if is_list else [None]
    if not all(isinstance(name, str) for name in names):
        raise TargetError(
            f"{argument} is {cut_repr(columns)}. Expected a list of metadata columns. Try `{argument}=['season']`, or leave it out."
        )
    return tuple(names)


def refuse_target_among(targets: Sequence[str], columns: Iterable[str], *, of: str = "") -> None:
    """Refuse a target among the covariates.

    Parameters
    ----------
    targets, columns
        What is predicted, and the covariates.
    of
        The contender of a comparison that brings the covariates along; empty where they are the caller's own.

    Raises
    ------
    TargetError
        It is there.
    """
    shared = [column for column in columns if column in targets]
    if shared and of:
        raise TargetError(
            f"The contender {of!r} was fitted with the covariate {shared[0]!r}, which is what is to be predicted here. Expected contenders "
            "that are not given it. Leave that one out of the contenders (`--contenders`), or fit it without the covariate."
        )
    if shared:
        raise TargetError(
            f"{shared[0]!r} is both target and covariate, so the model would be given what it is to predict. Expected other columns. Leave "
            "it out of `covariates` (`--covariates`)."
        )


def is_same_classes(target: pd.Series, column: pd.Series) -> bool:
    """Whether a column names the classes of a target in other words, one to one; a target of three or more numbers has no classes."""
    if is_numeric_column(target) and target.nunique() > 2:
        return False
    labels, names = _as_classes(target[target.notna()]), _as_classes(column[target.notna().to_numpy()])
    if labels.nunique() < 2 or labels.nunique() != names.nunique() or labels.nunique() > MOST_DISTINCT * len(labels):
        return False
    return bool(labels.groupby(names).nunique().max() == 1 == names.groupby(labels).nunique().max())


def find_copies(metadata: pd.DataFrame, target: str, columns: Iterable[str]) -> dict[str, str]:
    """Of the columns that say the same as the target in other words, how each does: what completes "'status' ... 'smoker'".

    These are: values one to one with those of the target (a missing value counts as a value); numbers that rise or fall with a target
    of numbers, such as the same in other units; the target cut into classes, or numbers whose ranges tell the classes of the target;
    and classes each of which has one value of the target.

    Parameters
    ----------
    metadata
        Holds the target and the columns; rows without the target are left out.
    target
        The column that is predicted.
    columns
        Those that are looked at; the target itself is passed over.
    """
    known = metadata[metadata[target].notna()]
    copies = {}
    if len(known) >= FEWEST_PAIRS:
        for column in columns:
            if column != target and (how := _describe_copy(known[target], known[column])):
                copies[column] = how
    return copies


def tell_copies(metadata: pd.DataFrame, targets: Sequence[str], columns: Iterable[str], *, stacklevel: int = 3) -> None:
    """Warn (`TargetWarning`) of each of the columns that is one of the targets in other words; see `find_copies`."""
    columns = list(columns)
    for target in targets:
        for column, how in find_copies(metadata, target, columns).items():
            warnings.warn(
                TargetWarning(
                    f"The covariate {column!r} {how} {target!r}, so the model may read its target there and learn nothing from microbes. "
                    f"Leave {column!r} out of `covariates` (`--covariates`), unless it is known before {target!r} is."
                ),
                stacklevel=stacklevel,
            )


def _describe_copy(target: pd.Series, column: pd.Series) -> str:
    """How a column says what the target says; empty where it does not. The target has no missing values."""
    truth, values = _numbers(target), _numbers(column)
    both = column.notna().to_numpy()
    if truth is not None and values is not None and len(np.unique(truth)) > 2 and len(np.unique(values[both])) > 2:
        return _compare_numbers(truth[both], values[both])
    names, labels = _as_classes(column), _as_classes(target)
    if names.nunique() >= 2 and max(names.nunique(), labels.nunique()) <= MOST_DISTINCT * len(names):
        finer, coarser = labels.groupby(names).nunique().max() == 1, names.groupby(labels).nunique().max() == 1
        if finer and coarser:
            return "has one value for each value of"
        if finer:
            return "has values that each go with one value of"
    if (
        values is None
        and truth is not None
        and both.sum() >= FEWEST_PAIRS
        and column[both].nunique() <= MOST_DISTINCT * both.sum()
    ):
        return "is a cut into classes of" if _has_own_ranges(truth[both], column[both]) else ""
    if truth is None and values is not None and both.sum() >= FEWEST_PAIRS and target[both].nunique() >= 2:
        return "has ranges that tell the classes of" if _has_own_ranges(values[both], target[both]) else ""
    return ""


def _compare_numbers(truth: Floats, values: Floats) -> str:
    if len(truth) < FEWEST_PAIRS or min(np.ptp(truth), np.ptp(values)) == 0:
        return ""
    ranks = np.corrcoef(pd.Series(truth).rank(), pd.Series(values).rank())[0, 1]
    scaled = [(x - x.mean()) / np.abs(x - x.mean()).max() for x in (truth, values)]  # whatever the units are
    line = np.corrcoef(*scaled)[0, 1]
    if abs(line) >= SAME_LINE:
        return "is, up to its unit,"
    return f"{'rises' if ranks > 0 else 'falls'} with" if abs(ranks) >= SAME_RANKS else ""


def _has_own_ranges(numbers: Floats, classes: pd.Series) -> bool:
    """Whether the numbers of each class lie apart from those of the others, in classes of two or more samples."""
    ranges = pd.Series(numbers).groupby(_as_classes(classes).to_numpy()).agg(["min", "max", "size"]).sort_values("min")
    apart = ranges["min"].to_numpy()[1:] > ranges["max"].to_numpy()[:-1]
    return len(ranges) >= 2 and int(ranges["size"].min()) >= 2 and bool(apart.all())


def _numbers(values: pd.Series) -> Floats | None:
    """Numbers, dates or durations as numbers, NaN where missing; None of another column."""
    if is_datetime64_any_dtype(values) or is_timedelta64_dtype(values):
        return (values - values.min()).dt.total_seconds().to_numpy(dtype=np.float64)
    return values.to_numpy(dtype=np.float64, na_value=np.nan) if is_numeric_column(values) else None


def _as_classes(values: pd.Series) -> pd.Series:
    """Values as text, a missing one as a value of its own."""
    return values.astype(str).where(values.notna(), MISSING).reset_index(drop=True)


# -- a target that may not be what is meant ----------------------------------------------------------------------------


def tell_two_numbers(values: pd.Series, *, stacklevel: int = 3) -> None:
    """Warn (`TargetWarning`) of a column of numbers that holds two values alone, which are likely names of two classes."""
    distinct = sorted(values.dropna().unique().tolist())
    if is_numeric_column(values) and len(distinct) == 2:
        warnings.warn(
            TargetWarning(
                f"{values.name!r} holds two numbers alone, {distinct[0]:g} and {distinct[1]:g}, and is predicted as a number. If they name "
                f"two classes, use `target=aam.Classification({values.name!r})` (`--task classification`)."
            ),
            stacklevel=stacklevel,
        )


def tell_near_classes(values: pd.Series, *, stacklevel: int = 3) -> None:
    """Warn (`TargetWarning`) of classes of a target that differ in spelling alone, such as Yes and yes."""
    if pairs := describe_own_spellings(values):
        warnings.warn(
            TargetWarning(
                f"Classes of {values.name!r} differ in spelling alone: {pairs}. Each is a class of its own. Where they mean the same, give "
                "them one spelling in the metadata."
            ),
            stacklevel=stacklevel,
        )


def tell_few_samples(number: int, *, stacklevel: int = 3) -> None:
    """Warn (`TargetWarning`) where a model is to learn from next to nothing."""
    if number < FEWEST_SAMPLES:
        warnings.warn(
            TargetWarning(
                f"There are {count_noun(number, 'sample')} to learn from, some of which choose the best epoch: what is learned from them "
                f"says nothing about others. Use {FEWEST_SAMPLES} at the very least, and dozens to learn something."
            ),
            stacklevel=stacklevel,
        )


# -- the truth that a trained model is compared with -------------------------------------------------------------------


def refuse_text_for_numbers(values: pd.Series) -> None:
    """Refuse a column that is to be numbers and holds something else (`TargetError`)."""
    if is_numeric_dtype(values) or not values.notna().any():
        return
    raise TargetError(
        f"{values.name!r} holds text such as {cut_repr(str(values.dropna().iloc[0]))}. Regression needs numbers. Correct the column, or, "
        f"where these are classes, fit with `aam.Classification({values.name!r})` (`aam-nb fit --task classification`)."
    )


def refuse_unknown_classes(names: pd.Series, classes: Sequence[str], target: str) -> None:
    """Refuse classes that a model does not know (`TargetError`), with the spellings that it knows.

    Parameters
    ----------
    names
        Class of each sample as text, missing where it is missing.
    classes
        Those that the model knows.
    target
        The column.
    """
    sizes = names.dropna().value_counts()
    unknown = [name for name in sizes.index if name not in set(classes)]
    if not unknown:
        return
    near = find_same_classes(unknown, classes)
    count = int(sizes[unknown].sum())
    head = (
        f"{count_noun(len(unknown), 'class', 'classes')} of {target!r} not in training ({cut_list(map(repr, unknown))}, "
        f"{count_noun(count, 'sample')} of {int(sizes.sum())}). The model knows {cut_list(map(repr, classes))}."
    )
    column = f"study.metadata[{target!r}]"
    if near:
        some = dict(list(near.items())[:5])
        raise TargetError(
            f"{head} Where these are the same classes in another spelling, name them as in training: `replace(study, "
            f"metadata=study.metadata.assign(**{{{target!r}: {column}.astype(str).replace({some!r})}}))`, or in the metadata file."
        )
    keep = (
        f"study.keep_samples({column}.astype(str).isin({list(classes)[:5]!r}))"
        if len(classes) <= 5
        else "study.keep_samples(...)"
    )
    raise TargetError(f"{head} Leave those samples out with `{keep}`, or fit again with them.")


def find_same_classes(names: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Of each unknown class, the known one that it seems to be: by spelling, or as another word for true or false."""
    near = find_near_spellings(names, classes)
    if len(classes) == 2:
        side = {spelling_key(word): number for number, words in enumerate(TRUTH_WORDS) for word in words}
        own = {side.get(spelling_key(c)): c for c in classes}
        if None not in own and len(own) == 2:
            near |= {n: own[side[spelling_key(n)]] for n in names if n not in near and spelling_key(n) in side}
    return near
