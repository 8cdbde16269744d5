"""Targets read from a study, and predictions in the form that `AAM.predict` gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from aam_nb.arrays import Array
from aam_nb.model.objectives import Classification, Task, class_names
from aam_nb.model.objectives.base import refuse_dates
from aam_nb.study.study import Study
from aam_nb.study.target_checks import refuse_text_for_numbers, refuse_unknown_classes

Predictor = Callable[[Study], pd.DataFrame]
"""From the samples of a study to their predictions."""


def read_target(study: Study, task: Task) -> Array:
    """The target of each sample: numbers, or class names as text."""
    return target_values(study.column(task.target), task)


def target_values(values: pd.Series, task: Task) -> Array:
    """A metadata column as the task predicts it: numbers, or class names as text.

    Raises
    ------
    TargetError
        The column holds classes that the task does not know, or text or dates where it predicts numbers.
    """
    if isinstance(task, Classification):
        names = class_names(values)
        if task.classes:
            refuse_unknown_classes(names, task.classes, task.target)
        return names.to_numpy()
    refuse_dates(values)
    refuse_text_for_numbers(values)
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def prediction_frame(
    prediction: Array, sample_ids: pd.Index, task: Task, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """A prediction as `AAM.predict` gives it.

    Parameters
    ----------
    prediction
        Numbers, shape n_samples; of classes the probability of each of `names`, n_samples x n_names.
    sample_ids
        The samples.
    task
        Its target names the column, its classes those of the probabilities.
    names
        Classes that have a column in `prediction`, by default all. A class without one is never predicted.
    """
    if not isinstance(task, Classification):
        return pd.DataFrame({task.target: np.asarray(prediction, dtype=float)}, index=sample_ids)
    classes = list(task.classes)
    columns = pd.Index(classes if names is None else names)
    chances = pd.DataFrame(np.asarray(prediction, dtype=float), index=sample_ids, columns=columns)
    chances = chances.reindex(columns=classes, fill_value=0.0)
    likeliest = np.array(classes, dtype=object)[chances.to_numpy().argmax(1)]
    frame = chances.add_prefix("p(").add_suffix(")")
    frame.insert(0, task.target, likeliest)
    return frame
