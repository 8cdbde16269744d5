"""A model fitted again: from another seed, on other samples, or on shuffled labels. Faithfulness checks and learning curves use it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from aam_nb.arrays import Ints
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.columns import number_groups
from aam_nb.study.splits import Split, sort_ids
from aam_nb.study.study import Study
from aam_nb.study.target_checks import TargetWarning
from aam_nb.train.estimator import AAM

LEARNED = ("fitted", "classes", "balance")
"""What a task's `spec()` holds that it learned from the training samples."""
TRIES = 100
"""Permutations tried until every class has two samples, as `fit` needs."""


def refit(model: AAM, train: Study, *, seed: int, shuffle: bool = False, progress: bool = False) -> AAM:
    """A new model of the same shape and settings, fitted to the same task. The model given stays as it is.

    Parameters
    ----------
    model
        A fitted model. The new one starts where its `fit` started: from the same pre-trained weights, or, without any, from random ones.
    train
        Samples to learn from. Where it does not come from a split, whole groups are held out for validation, by the group column of the
        split that the model was fitted on, if `train` has it.
    seed
        Of weights, order of samples and what is held out; the other settings are those recorded.
    shuffle
        Permute the target among the training samples first (`shuffle_target`), so that there is nothing to learn but chance.
    progress
        Whether to show progress bars.

    Raises
    ------
    NotFittedError
        The model has no target.
    UnknownIdError, TargetError, SplitError
        As in `fit`: `train` lacks a column, or is too small.
    """
    task = fresh_task(model.require_task())
    if train.split_info is None and model.group in train.metadata.columns:
        part = Split(part="train", target=task.target, group=model.group, test_size=0.0, seed=0)
        train = replace(train, split_info=part)
    if shuffle:
        train = shuffle_target(train, task, seed=seed)
    config = replace(model.train_config, seed=seed, progress=progress, tensorboard=False)
    covariates = model.covariates.names if model.covariates else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TargetWarning)  # the first fit told it
        return model.untrained_copy().fit(train, target=task, covariates=covariates, config=config)


def fresh_task(task: Task) -> Task:
    """A task of the same kind, columns and settings that has learned nothing."""
    spec = {k: v for k, v in task.spec().items() if k not in LEARNED}
    return type(task)(**spec | {"config": task.config})


def shuffle_target(study: Study, task: Task, *, seed: int) -> Study:
    """The study with its target permuted; samples that lack it are left as they are.

    Whole groups of the study's split are permuted where the target is constant in each of them, since all samples of a group then have
    the same label; else samples are. Several targets are permuted together.
    """
    targets = study.metadata[task.targets]
    has_value = targets.notna().any(axis=1).to_numpy()
    rows = np.flatnonzero(has_value)
    rows = rows[sort_ids(study.sample_ids[rows])]  # by id: their order in the study does not matter
    values = targets.iloc[rows].reset_index(drop=True)
    group = study.split_info.group if study.split_info else None
    unit = np.arange(len(values)) if group is None else _units(study.metadata[group].iloc[rows], values)
    first = values.groupby(unit).first()  # by unit, in order; the first known value of each column
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        permuted = first.iloc[rng.permutation(len(first))].iloc[unit]
        if not isinstance(task, Classification) or permuted[task.target].value_counts().loc[lambda n: n > 0].min() > 1:
            break
    metadata = study.metadata.copy()
    for name in task.targets:
        column = metadata[name].copy()
        column.iloc[rows] = permuted[name].array
        metadata[name] = column
    units = "samples" if len(first) == len(values) else f"values of {group}"
    step = f"permuted {', '.join(task.targets)} among {len(first)} {units}"
    return replace(study, metadata=metadata, provenance=(*study.provenance, f"{step} with seed {seed}"))


def _units(group: pd.Series, values: pd.DataFrame) -> Ints:
    """Number of the unit that is permuted, for each sample: its group where every group has one value of each target, else the sample."""
    unit = number_groups(group, len(group))
    return unit if (values.groupby(unit).nunique() <= 1).all(axis=None) else np.arange(len(values))
