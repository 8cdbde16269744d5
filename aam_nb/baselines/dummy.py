"""The baseline that knows nothing of a sample: the mean of the training samples, or the share of each class among them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aam_nb.arrays import Array, Floats
from aam_nb.baselines.predictions import Predictor, prediction_frame, read_target
from aam_nb.baselines.settings import SharedSettings
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.study import Study


def fit_dummy(train: Study, settings: SharedSettings) -> Predictor:
    """A function from a study to the same prediction for each of its samples."""
    task = settings.task
    truth = read_target(train, task)
    return lambda study: constant_prediction(truth, study.sample_ids, task)


def constant_prediction(truth: Array, sample_ids: pd.Index, task: Task) -> pd.DataFrame:
    """The mean, or the class shares, of `truth` for every sample."""
    table = np.tile(mean_or_shares(truth, task), (len(sample_ids), 1))
    return prediction_frame(table if isinstance(task, Classification) else table[:, 0], sample_ids, task)


def mean_or_shares(truth: Array, task: Task) -> Floats:
    """The mean of numbers, shape 1, or the share of each class of the task, shape n_classes."""
    if not isinstance(task, Classification):
        return np.array([truth.astype(float).mean()])
    names, counts = np.unique(truth.astype(str), return_counts=True)
    return pd.Series(counts / counts.sum(), index=names).reindex(list(task.classes), fill_value=0.0).to_numpy()
