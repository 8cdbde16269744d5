"""Models to compare with, trained on the same samples: a random forest and a dummy; and what metadata alone would know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aam_nb.config import UserError
from aam_nb.model.objectives import Classification, Task, class_names
from aam_nb.study.confounding import find_candidate_groups
from aam_nb.study.study import Study

BASELINES = ("random_forest", "dummy")


class BaselineError(UserError, ValueError):
    """There is no baseline of that name."""


def predict_baseline(
    name: str, task: Task, train: Study, test: Study, *, num_trees: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Predictions of a baseline, shaped like those of `AAM.predict`.

    Parameters
    ----------
    name
        "random_forest": scikit-learn's, on relative abundances of the training study's ASVs. "dummy": the training mean, or the
        class shares of the training samples.
    task
        What to predict; its classes are the columns.
    train, test
        The study to learn from and the one to predict. ASVs that `train` lacks are not used.
    num_trees, seed
        Size and seed of the forest.

    Raises
    ------
    BaselineError
        The name is not known.
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if name not in BASELINES:
        raise BaselineError(f"{name!r} is not a baseline. There are {', '.join(BASELINES)}. Name one of those.")
    classes = task.classes if isinstance(task, Classification) else None
    if name == "dummy":
        model: Any = DummyClassifier(strategy="prior") if classes else DummyRegressor(strategy="mean")
    else:
        forest = RandomForestClassifier if classes else RandomForestRegressor
        model = forest(n_estimators=num_trees, n_jobs=-1, random_state=seed)
    model.fit(relative_abundance(train, train.asv_ids), labels(train, task))
    features = relative_abundance(test, train.asv_ids)
    if name == "random_forest":
        model.n_jobs = 1  # threads would add the trees up in any order, and the last bit of a score would differ by run
    if not classes:
        return prediction_frame(model.predict(features), test, target=task.target)
    chances = model.predict_proba(features)
    return prediction_frame(chances, test, target=task.target, classes=classes, names=model.classes_)


def prediction_frame(
    prediction: npt.NDArray[Any],
    study: Study,
    *,
    target: str,
    classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """A prediction as `AAM.predict` gives it.

    Parameters
    ----------
    prediction
        Numbers, shape n_samples; with `classes` the probability of each of `names`, n_samples x n_names.
    study
        The samples.
    target
        The column.
    classes, names
        All classes, in order, and those that have a column, by default all. One without is never predicted.
    """
    if classes is None:
        return pd.DataFrame({target: np.asarray(prediction, dtype=float)}, index=study.sample_ids)
    columns = pd.Index(classes if names is None else names)
    found = pd.DataFrame(np.asarray(prediction, dtype=float), index=study.sample_ids, columns=columns)
    found = found.reindex(columns=list(classes), fill_value=0.0)
    guess = np.array(classes, dtype=object)[found.to_numpy().argmax(1)]
    found = found.add_prefix("p(").add_suffix(")")
    found.insert(0, target, guess)
    return found


def labels(study: Study, task: Task) -> npt.NDArray[Any]:
    """The target of each sample: numbers, or class names as text."""
    values = study.column(task.target)
    return (class_names(values) if isinstance(task, Classification) else values.astype(float)).to_numpy()


def guessing(truth: Any, kind: str) -> float:
    """What a guess scores: R² of 0 for a "regression", else a balanced accuracy of one over the number of classes in `truth`."""
    return 0.0 if kind == "regression" else 1 / len(pd.unique(pd.Series(truth)))


def relative_abundance(study: Study, asv_ids: pd.Index) -> npt.NDArray[np.float32]:
    """Share of each of `asv_ids` in each sample, shape (n_samples, len(asv_ids)); 0 for ASVs that the study does not hold."""
    place = asv_ids.get_indexer(study.asv_ids)
    depth = study.depth.to_numpy()
    dense = np.zeros((study.num_samples, len(asv_ids)), dtype=np.float32)
    for part, table in study.blocks():
        rows, columns = table.nonzero()
        rows += part.start
        shares = (table.data / depth[rows]).astype(np.float32)
        known = place[columns] >= 0
        dense[rows[known], place[columns[known]]] = shares[known]
    return dense


def lookup(column: str, task: Task, train: Study, test: Study) -> npt.NDArray[Any]:
    """Predictions from one metadata column and no microbe: the mean (or commonest class) of the training samples with that value.

    Values that training lacks get the overall mean (commonest class).
    """
    truth = pd.Series(labels(train, task))
    by = truth.groupby(train.column(column).astype(str).to_numpy())
    asked = test.column(column).astype(str)
    if isinstance(task, Classification):
        return asked.map(by.agg(lambda v: v.mode().iloc[0])).fillna(truth.mode().iloc[0]).to_numpy()
    return asked.map(by.mean()).fillna(truth.mean()).to_numpy(dtype=float)


def group_columns(train: Study, test: Study, target: str) -> list[str]:
    """Columns that may name hosts, studies or the like: see `find_candidate_groups`; most test samples share their values with training."""
    found = []
    for column in find_candidate_groups(train.metadata, target):
        asked = test.metadata[column].dropna()
        if asked.isin(train.metadata[column].dropna()).sum() >= test.num_samples / 2:
            found.append(column)
    return found
