"""What a model is fitted to: the task for a column, and the average of several predictions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from aam_nb.config import TargetConfig, convert_list, cut_list, cut_repr
from aam_nb.model.objectives.base import refuse_dates
from aam_nb.model.objectives.classification import Classification
from aam_nb.model.objectives.regression import Regression
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.errors import TargetError
from aam_nb.study.study import Study
from aam_nb.study.target_checks import tell_two_numbers

Task = Regression | Classification
"""What `fit` learns to predict; `Quantiles` is a `Regression`."""


def task_for(study: Study, target: str | Sequence[str], *, config: TargetConfig | None = None) -> Task:
    """Regression for a numeric column, or for several; classification for any other, and for True and False.

    Raises
    ------
    UnknownIdError, TargetError
        There is no such column; one holds dates or durations; one of several is not of numbers.
    """
    targets = [target] if isinstance(target, str) else convert_list(target, str)
    if targets is None:
        raise TargetError(f"target is {cut_repr(target)}. Expected a column, or a list of columns. Try `target='age'`.")
    columns = [study.target(t) for t in targets]
    for values in columns:
        refuse_dates(values)
    numeric = [is_numeric_column(values) for values in columns]
    if len(targets) == 1 and not numeric[0]:
        return Classification(targets[0], config=config)
    if not all(numeric):
        text = [t for t, number in zip(targets, numeric, strict=True) if not number]
        raise TargetError(
            f"{cut_list(map(repr, text))} of {len(targets)} targets hold text, or True and False. Several targets are predicted together "
            "as numbers alone. Fit a model to each class column by itself."
        )
    for values in columns:
        tell_two_numbers(values, stacklevel=4)
    return Regression(targets if len(targets) != 1 else targets[0], config=config)


def averaged(task: Task, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean of several predictions of the same samples, and their variance as columns `variance(COLUMN)`.

    Of classes the probabilities are averaged, and the likeliest is the prediction.
    """
    numbers = frames[0].select_dtypes("number").columns
    stacked = pd.concat([frame[numbers] for frame in frames], keys=range(len(frames)))
    groups = stacked.groupby(level=1, sort=False)
    mean = frames[0].assign(**groups.mean().loc[frames[0].index])
    if isinstance(task, Classification):
        probability = mean[[f"p({c})" for c in task.classes]].to_numpy()
        mean[task.target] = pd.array(task.classes, dtype=object)[probability.argmax(1)]
    variance = groups.var(ddof=1).loc[frames[0].index].rename(columns=lambda name: f"variance({name})")
    return pd.concat([mean, variance], axis=1)
