"""Columns of metadata that give the target away without any microbe: hosts, cages, studies and the like."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.config import (
    Notice,
    cut_list,
    format_number,
    format_score,
)
from aam_nb.study.columns import is_numeric_column

NEARLY = 0.8
"""How far from guessing (0) to certainty (1) a group alone must lead for the target to be nearly a function of it. In the real studies
of `tests/study/test_confounding.py` the known traps are at 1.0 (cage and exposure, host and diagnosis, date and water temperature);
the highest of the others are 0.69 (season and water temperature) and 0.55 (rain and soil pH)."""
TIGHT, TIGHT_SAMPLES, TIGHT_SHARE = 0.1, 5, 0.25
"""A number may also be fixed in some groups and free in others, as where studies of one age are pooled with studies of all ages. A
group of at least `TIGHT_SAMPLES` samples is tight where its standard deviation is below `TIGHT` times that of all samples, and the
target is nearly a function of the group where tight ones hold `TIGHT_SHARE` of the samples. A group of five drawn at random is
tight about once in ten thousand times."""
FOLLOWS = 0.95
"""Rank correlation from which a column of numbers is nearly the target itself, as a month is of a day."""


class SplitWarning(Notice):
    """The split can be made, but scores on it may mislead: the target is nearly a function of a group."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupScore:
    """How well a group alone predicts a target.

    Parameters
    ----------
    score
        As `score_group` gives it.
    guessing
        Score of a guess.
    metric
        Name of the score, for messages.
    tight
        Share of the samples in tight groups; see `TIGHT`.
    example
        The largest tight group, for messages.
    """

    score: float
    guessing: float
    metric: str
    tight: float = 0.0
    example: str = ""

    @property
    def lead(self) -> float:
        """How far the score is from guessing (0) to certainty (1)."""
        return (self.score - self.guessing) / (1 - self.guessing)

    @property
    def is_nearly(self) -> bool:
        """Whether the target is nearly a function of the group."""
        return self.lead >= NEARLY or self.tight >= TIGHT_SHARE

    def sentence(self, target: pd.Series, group: pd.Series) -> str:
        """What the score says, for messages."""
        score, guess = format_score(self.score, 2), format_score(self.guessing, 2)
        knowing = f"knowing {group.name!r} and no microbe gives {self.metric} {score} (guessing {guess})"
        if self.lead >= NEARLY:
            return f"{target.name!r} is nearly a function of {group.name!r}: {knowing}."
        return (
            f"{target.name!r} is in part a function of {group.name!r}: it hardly varies within values that hold {self.tight:.0%} of the "
            f"samples ({self.example}), and {knowing}."
        )


def score_group(target: pd.Series, group: pd.Series) -> float:
    """How well the group alone, and no microbe, predicts the target of a sample from the other samples of its group.

    Parameters
    ----------
    target, group
        Values of each sample, in the same order. Samples that lack one, and groups of one sample, are left out: they say nothing.

    Returns
    -------
    R² of the mean of the group's other samples where the target is a number, else balanced accuracy of their commonest class (where
    k classes are equally common, each counts as a guess that is right once in k times). 1 is a function of the group; guessing is
    about 0 for R² and one over the number of classes for balanced accuracy. NaN where fewer than two values are left.
    """
    return _score(target, group).score


def find_candidate_groups(metadata: pd.DataFrame, target: Hashable) -> list[Any]:
    """Columns that may name hosts, cages, studies or the like: three or more values that repeat.

    Measurements are left out: numbers with decimals, and numbers that follow a numeric target (rank correlation of 0.95 or more, as a
    month follows a day). So are columns that have a single value for some class of the target: they are the target under another name
    (a subtype of a diagnosis), or could not be held out.
    """
    columns = []
    truth = metadata[target]
    for column in metadata.columns.drop([target]):
        values = metadata[column]
        present = values.dropna()
        if not 2 < present.nunique() <= len(present) / 2:
            continue
        if is_numeric_column(values) and ((present % 1 != 0).any() or _follows(values, truth)):
            continue
        if not is_numeric_column(truth) and values.groupby(truth.astype(str).where(truth.notna())).nunique().min() < 2:
            continue
        columns.append(column)
    return columns


def describe_confounding(metadata: pd.DataFrame, target: str) -> str | None:
    """A sentence on the columns that no split can separate from the target, or None.

    These are columns of repeated values that give the target away (`score_group`), and that are no candidate groups since they cannot
    be held out: of two values, or with a single value for some class.
    """
    columns, candidates = [], find_candidate_groups(metadata, target)
    is_number = is_numeric_column(metadata[target])
    for column in metadata.columns.drop([target, *candidates]):
        values = metadata[column]
        present = values.dropna()
        if not 2 <= present.nunique() <= len(present) / 2 or (is_number and present.nunique() > 2):
            continue
        has_both = metadata[target].notna() & values.notna()
        guessing = 0.0 if is_number else 1 / metadata.loc[has_both, target].nunique()
        score = score_group(metadata.loc[has_both, target], values[has_both])
        if (score - guessing) / max(1 - guessing, 1e-12) >= NEARLY:
            columns.append(column)
    if not columns:
        return None
    return (
        f"{target!r} cannot be distinguished from {cut_list(columns)}: knowing that and no microbe gives it almost surely, and no split "
        f"can hold it out. If it is a study, a batch or the like, and not the target under another name, nothing here shows that microbes "
        f"predict {target!r}."
    )


def warn_if_confounded(target: pd.Series, metadata: pd.DataFrame, *, group: str | None, stacklevel: int = 3) -> None:
    """Warn (`SplitWarning`) where a split's scores may mislead, because the target is nearly a function of a group.

    There are two cases, and the first that holds is reported. A column that the split does not keep whole gives the target away, so the
    split leaks; where the split has a group, only coarser columns are tried (the cage of a mouse), with at most half as many values. Or
    the split's own group gives the target away, so that the number of groups counts, not that of samples.

    Parameters
    ----------
    target
        The target, with a name; missing values are left out.
    metadata
        Of the same samples.
    group
        The column that the split keeps whole, or None.
    stacklevel
        As for `warnings.warn`; 3 points at the caller of the caller.
    """
    candidates = [c for c in find_candidate_groups(metadata, target.name) if c != group]
    own = None if group is None else metadata[group]
    if own is not None:
        candidates = [c for c in candidates if _is_coarser(metadata[c], own)]
    leaks = {c: score for c in candidates if (score := _score(target, metadata[c])).is_nearly}
    if leaks:
        # The clearest; of equals the coarsest, since keeping it whole keeps the finer ones whole too.
        worst = max(leaks, key=lambda c: (round(leaks[c].score, 2), -metadata[c].nunique()))
        others = f" {cut_list([c for c in leaks if c != worst], 3)} would do nearly as well." if len(leaks) > 1 else ""
        message = (
            f"{leaks[worst].sentence(target, metadata[worst])}{others} Here samples of one {worst!r} are on both sides"
            f"{'' if group is None else f', whole as each {group!r} is'}, so a model can score by recognising them and know nothing of "
            f"{target.name!r}. Split with `group={worst!r}` (`--group {worst}`), unless that column is the target under another name."
        )
    elif own is not None and (own_score := _score(target, own)).is_nearly:
        count, each, folds = _count_values(target, own)
        message = (
            f"{own_score.sentence(target, own)} A score depends on the number of its values ({count}{each}), not of samples "
            f"({int(target.notna().sum())}). Judge by several splits, and read their spread as the uncertainty: "
            f"`study.folds({folds}, target={target.name!r}, group={group!r})`."
        )
    else:
        return
    warnings.warn(message, SplitWarning, stacklevel=stacklevel)


def _score(target: pd.Series, group: pd.Series) -> GroupScore:
    """Predict each sample from the others of its group."""
    # Samples that have both values and are not alone in their group.
    pairs = pd.DataFrame({"value": target.to_numpy(), "group": group.to_numpy()}).dropna()
    pairs = pairs[pairs.groupby("group")["group"].transform("size") > 1]
    is_number = is_numeric_column(target)
    num_values = pairs["value"].nunique()
    if num_values < 2:
        return GroupScore(score=float("nan"), guessing=0.0, metric="R²" if is_number else "balanced accuracy")
    unit, names = pd.factorize(pairs["group"])
    if is_number:
        return _score_number(pairs["value"].to_numpy(dtype=float), unit, names)
    # Of each sample: how often each class occurs among the others of its group.
    label = pd.factorize(pairs["value"])[0]
    rows = np.arange(len(label))
    count_GC = np.zeros((len(names), num_values))
    np.add.at(count_GC, (unit, label), 1)
    others_EC = count_GC[unit]
    others_EC[rows, label] -= 1
    # The guess is the commonest class; of k equally common ones each is right once in k times.
    commonest_EC = others_EC == others_EC.max(axis=1, keepdims=True)
    right = commonest_EC[rows, label] / commonest_EC.sum(axis=1)
    score = np.mean([right[label == c].mean() for c in range(num_values)])
    return GroupScore(score=float(score), guessing=1 / num_values, metric="balanced accuracy")


def _score_number(value: np.ndarray, unit: np.ndarray, names: pd.Index) -> GroupScore:
    """Predict each number by the mean of the others of its group."""
    size = np.bincount(unit)
    sums = np.bincount(unit, weights=value)
    others = (sums[unit] - value) / (size[unit] - 1)
    score = 1 - ((value - others) ** 2).sum() / ((value - value.mean()) ** 2).sum()
    # Groups in which the number hardly varies.
    spread = np.sqrt(np.bincount(unit, weights=(value - (sums / size)[unit]) ** 2) / (size - 1))
    tight = (spread < TIGHT * value.std(ddof=1)) & (size >= TIGHT_SAMPLES)
    largest = int(np.where(tight, size, 0).argmax())
    held = value[unit == largest]
    return GroupScore(
        score=float(score),
        guessing=0.0,
        metric="R²",
        tight=size[tight].sum() / len(value),
        example=f"{size[largest]} of {str(names[largest])!r} lie from {format_number(held.min(), 6)} to {format_number(held.max(), 6)}",
    )


def _follows(values: pd.Series, target: pd.Series) -> bool:
    """Whether a numeric column is nearly a monotone function of a numeric target, as a month is of a day."""
    pairs = pd.DataFrame({"column": values, "target": target}).dropna()
    if not is_numeric_column(target) or pairs.nunique().min() < 2:
        return False
    return abs(float(pairs["column"].corr(pairs["target"], method="spearman"))) >= FOLLOWS


def _is_coarser(column: pd.Series, own: pd.Series) -> bool:
    """Whether each value of `own` lies in one value of `column`, and two or more share one: mice in cages."""
    return column.nunique() <= own.nunique() / 2 and column.groupby(own.to_numpy()).nunique().max() == 1


def _count_values(target: pd.Series, group: pd.Series) -> tuple[int, str, int]:
    """How many values the group has, how many hold each class (as text), and the folds that are possible, at most 5."""
    present = group[target.notna()]
    count = present.nunique()
    if is_numeric_column(target):
        return count, "", min(5, count)
    per_class = present.groupby(target[target.notna()].astype(str).to_numpy()).nunique()
    folds = max(2, min(5, int(per_class.min())))
    return count, ": " + cut_list([f"{n} of {c}" for c, n in per_class.items()]), folds
