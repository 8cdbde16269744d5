"""The baseline that looks a sample's host, study or the like up among the training samples, and reads no microbe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Array, Ints
from aam_nb.baselines.dummy import constant_prediction, mean_or_shares
from aam_nb.baselines.predictions import Predictor, prediction_frame, read_target
from aam_nb.baselines.scoring import leading_score
from aam_nb.baselines.settings import SharedSettings
from aam_nb.baselines.tuning import SCORE_DIGITS, split_training_side
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.confounding import find_candidate_groups
from aam_nb.study.study import Study


def fit_group_lookup(train: Study, settings: SharedSettings, seed: int) -> tuple[Predictor, dict[str, Any]]:
    """Look up the column that predicts best within the training side.

    Returns
    -------
    A function from a study to predictions, and the `column`, None where no column may name a group: then it is the dummy.
    """
    task, classes = settings.task, settings.is_class
    truth, splits = read_target(train, task), split_training_side(train, settings, seed)
    score_of = dict[Any, float]()
    for column in lookup_columns(train, settings):
        names, scores = names_as_text(train.column(column)), []
        for a, b in splits:
            frame = look_up(truth[a], names[a], names[b], train.sample_ids[b], task)
            scores.append(leading_score(truth[b], frame[settings.target].to_numpy(), classes=classes))
        score_of[column] = round(float(np.nanmean(scores)), SCORE_DIGITS) if np.isfinite(scores).any() else -np.inf
    if not score_of:
        return (lambda study: constant_prediction(truth, study.sample_ids, task)), {"column": None}
    best = max(score_of, key=lambda c: score_of[c])
    names = names_as_text(train.column(best))

    def predict(study: Study) -> pd.DataFrame:
        return look_up(truth, names, names_as_text(study.column(best)), study.sample_ids, task)

    return predict, {"column": str(best)}


def look_up(truth: Array, names: Array, wanted: Array, sample_ids: pd.Index, task: Task) -> pd.DataFrame:
    """For each sample the mean, or the class shares, of the training samples of the same name.

    Parameters
    ----------
    truth, names
        Target of each training sample, and the name of its host, study or the like (`names_as_text`).
    wanted, sample_ids
        The name of each sample to predict, and its id. Where training lacks the name, or it is missing, all training samples count.
    task
        The target.
    """
    table = np.tile(mean_or_shares(truth, task), (len(sample_ids), 1))
    known, asked = rows_by_name(names), rows_by_name(wanted)
    for name, rows in asked.items():
        if name in known:
            table[rows] = mean_or_shares(truth[known[name]], task)
    return prediction_frame(table if isinstance(task, Classification) else table[:, 0], sample_ids, task)


def rows_by_name(names: Array) -> dict[str, Ints]:
    """Numbers of the samples of each name, rising; those whose name is missing (None) are left out."""
    number, distinct = pd.factorize(names)
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(len(distinct) + 1))
    return {name: order[ends[k] : ends[k + 1]] for k, name in enumerate(distinct)}


def names_as_text(values: pd.Series) -> Array:
    """A column's values as text, None where they are missing."""
    return np.array([None if lost else str(v) for v, lost in zip(values, values.isna(), strict=True)], dtype=object)


def lookup_columns(train: Study, settings: SharedSettings) -> list[Any]:
    """The group, and columns that may name hosts, studies or the like; with a group only those coarser than it."""
    columns = [c for c in find_candidate_groups(train.metadata, settings.target) if c not in settings.covariates]
    if settings.group is None:
        return columns
    own = train.column(settings.group)
    coarser = [
        c
        for c in columns
        if c != settings.group
        and train.metadata[c].groupby(own.to_numpy()).nunique().max() == 1
        and train.metadata[c].nunique() < own.nunique()
    ]
    return [settings.group, *coarser]
