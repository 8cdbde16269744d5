"""Whether a result was judged by the truth that a study holds: one check for every verb that brings the two together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aam_nb.arrays import Bools, Floats
from aam_nb.config import count_noun, cut_list, cut_repr, format_number
from aam_nb.evaluate.metrics import Evaluation
from aam_nb.model.objectives import class_names
from aam_nb.study.errors import TargetError
from aam_nb.study.study import Study

SAME = 1e-6
"""Numbers that differ by less than this share of themselves, or of the range of all, are the same: a table may have rounded them."""


class JudgedTruthError(TargetError):
    """For the same sample, a result and a study, or another result, hold different values of the target."""


def refuse_other_truth(judged: pd.Series, study: Study, *, target: str, of: str, remedy: str) -> None:
    """Refuse a result that was judged by other values of the target than a study holds.

    Parameters
    ----------
    judged
        The truth of the result, indexed by sample id: numbers, or class names. Samples that the study lacks are passed over.
    study
        A study; without the column there is nothing to compare.
    target
        The column.
    of
        What was judged, for the message: "the evaluation of 'runs/age'".
    remedy
        What to do about it, a sentence.

    Raises
    ------
    JudgedTruthError
        A sample has another value, or none; the message names it with both values.
    """
    judged = judged[judged.index.isin(study.sample_ids)]
    if target not in study.metadata.columns or judged.empty:
        return
    own = study.metadata.loc[judged.index, target]
    same = find_same(own, judged)
    if same.all():
        return
    first = int(np.flatnonzero(~same)[0])
    others = count_noun(int((~same).sum()), "sample")
    raise JudgedTruthError(
        f"{target!r} of sample {cut_list([judged.index[first]])} is {_value_text(own.iloc[first])} in the study and "
        f"{_value_text(judged.iloc[first])} in {of} ({others} of {len(judged)} differ{_describe_unit(own, judged)}). Expected the same "
        f"value in both. {remedy}"
    )


def refuse_other_target(evaluation: Evaluation | None, study: Study, *, target: str, of: str, remedy: str) -> None:
    """Refuse an evaluation of another column, where its samples are in the study.

    Raises
    ------
    JudgedTruthError
        It is one; the message names a sample with what each calls its truth.
    """
    if evaluation is None or evaluation.target == target:
        return
    shared = evaluation.predictions.index[evaluation.predictions.index.isin(study.sample_ids)]
    if shared.empty:
        return
    sample = shared[0]
    raise JudgedTruthError(
        f"The truth of sample {cut_list([sample])} is {_value_text(study.metadata.loc[sample, target])}, its {target!r}, in the study and "
        f"{_value_text(evaluation.predictions.loc[sample, 'truth'])}, its {evaluation.target!r}, in {of}. Expected the same target in "
        f"both. {remedy}"
    )


def find_two_truths(truth: pd.Series) -> str:
    """The first sample that has two values in a table that holds samples several times, and both; empty where there is none."""
    first = truth.groupby(level=0, sort=False).first().reindex(truth.index)
    same = find_same(truth, first)
    if same.all():
        return ""
    k = int(np.flatnonzero(~same)[0])
    return f"{cut_list([truth.index[k]])} as {_value_text(first.iloc[k])} and as {_value_text(truth.iloc[k])}"


def find_same(own: pd.Series, judged: pd.Series) -> Bools:
    """Of each sample whether the two values are the same, as numbers where the judged ones are, else as names of classes."""
    if pd.api.types.is_numeric_dtype(judged):
        return _are_close(pd.to_numeric(own, errors="coerce").to_numpy(float), judged.to_numpy(float))
    return np.asarray(class_names(own).to_numpy(object) == judged.astype(str).to_numpy(object), dtype=bool)


def _are_close(own: Floats, judged: Floats) -> Bools:
    spread = float(np.ptp(judged)) if np.isfinite(judged).all() else 0.0
    return np.isclose(own, judged, rtol=SAME, atol=SAME * spread)


def _describe_unit(own: pd.Series, judged: pd.Series) -> str:
    """That all numbers differ by one factor, where they do."""
    if not (pd.api.types.is_numeric_dtype(judged) and pd.api.types.is_numeric_dtype(own)) or len(own) < 3:
        return ""
    values, others = own.to_numpy(float), judged.to_numpy(float)
    both = np.isfinite(values) & np.isfinite(others) & (others != 0) & (values != 0)
    if both.sum() < 3 or not np.array_equal(values[~both], others[~both]):
        return ""
    factors = values[both] / others[both]
    if np.ptp(factors) > SAME * abs(factors[0]):
        return ""
    return f", all by a factor of {format_number(factors[0])}: another unit"


def _value_text(value: object) -> str:
    """A value of the target, for messages."""
    if pd.isna(value):  # type: ignore[call-overload]
        return "missing"
    return cut_repr(value, 60)
