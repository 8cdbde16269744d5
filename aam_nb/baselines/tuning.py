"""Settings of baselines, chosen by cross-validation within the training samples, and predictions of the fitted models."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from aam_nb.arrays import Array, Ints
from aam_nb.baselines.predictions import prediction_frame, read_target
from aam_nb.baselines.scoring import leading_score
from aam_nb.baselines.settings import SharedSettings
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.splits import sort_ids
from aam_nb.study.study import Study

SCORE_DIGITS = 10
"""Decimals of the scores by which settings are chosen."""
Rows = list[tuple[Ints, Ints]]
"""Of each inner fold, the rows to learn from and the rows to judge by."""


def split_training_side(train: Study, settings: SharedSettings, seed: int) -> Rows:
    """Folds within a training side, whole groups held out where there is a group; the order of its samples does not matter."""
    by_id = sort_ids(train.sample_ids)
    group = None if settings.group is None else pd.factorize(train.column(settings.group).iloc[by_id])[0]
    truth = read_target(train, settings.task)[by_id]
    splits = inner_splits(truth, group, classes=settings.is_class, folds=settings.config.inner_folds, seed=seed)
    return [(np.sort(by_id[a]), np.sort(by_id[b])) for a, b in splits]


def inner_splits(y: Array, group: Array | None, *, classes: bool, folds: int, seed: int) -> Rows:
    """Rows to learn from and to judge by, within a training side; empty where there are too few samples or groups.

    Parameters
    ----------
    y
        The target.
    group
        Group of each sample; whole ones are held out. None lets samples stand for themselves.
    classes
        Whether to spread classes evenly.
    folds
        Most folds; fewer where there are fewer groups, or members of the commonest class.
    seed
        Of the shuffle.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    number = min(folds, len(y) if group is None else len(np.unique(group)))
    if classes:
        number = min(number, int(np.unique(y, return_counts=True)[1].max()))
    if number < 2:
        return []
    kinds = (StratifiedKFold, StratifiedGroupKFold) if classes else (KFold, GroupKFold)
    splitter = kinds[group is not None](number, shuffle=True, random_state=seed % 2**31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare classes lie in fewer folds than there are
        splits = list(splitter.split(np.zeros(len(y)), y, group))
    return [(a, b) for a, b in splits if len(b) and len(np.unique(y[a])) > 1]


def tune_model(
    model: Any,
    grid: dict[str, list[Any]],
    X: Array,
    y: Array,
    splits: Rows,
    *,
    classes: bool,
    while_searching: dict[str, Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The model fitted to all of `X`, with the settings that do best over `splits`; as it is where there are none.

    Parameters
    ----------
    model, grid
        An estimator of scikit-learn, and the values to choose among for each of its settings.
    X, y
        Features, shape (n_samples, n_features), and target of the training samples.
    splits
        Rows to learn from and to judge by.
    classes
        Whether the target is a class.
    while_searching
        Settings that hold while the grid is searched and not after, such as fewer trees.

    Returns
    -------
    The fitted model, and facts about it: `settings` chosen, `converged`.
    """
    from sklearn.base import clone
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV

    settings: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # reported by `converged`
        if splits:
            searched = clone(model).set_params(**while_searching or {})
            search = GridSearchCV(
                searched, grid, scoring=_scorer(y, classes), cv=splits, error_score="raise", refit=False
            )
            settings = search.fit(X, y).best_params_
        fitted = model.set_params(**settings).fit(X, y)
    chosen = {
        k.split("__")[-1]: v if isinstance(v, int | float | str) else repr(v)
        for k, v in settings.items()
        if v is not None
    }
    return fitted, {"settings": chosen, "converged": _has_converged(fitted)}


def _scorer(truth: Array, classes: bool) -> Any:
    """Balanced accuracy over the classes present, or minus the mean squared error as a share of the variance of `truth`, of a fitted model.

    Rounded, so that settings which do equally well are equal in any unit: the first of them is taken.
    """
    variance = 1.0 if classes else float(np.var(truth))

    def score(model: Any, X: Array, y: Array) -> float:
        guess = use_one_thread(model).predict(X)
        score_of_fold = (
            leading_score(y, guess, classes=True) if classes else -float(np.mean((y - guess) ** 2)) / variance
        )
        return round(score_of_fold, SCORE_DIGITS)

    return score


def number_classes(truth: Array, task: Task) -> tuple[Array, list[str]]:
    """The target as scikit-learn takes it, and the names of its classes: numbers as they are, classes by their number in that list.

    Classes are numbered because the forests of scikit-learn 1.9 refuse names that look like numbers, such as "6" and "12", together with
    `class_weight`.
    """
    if not isinstance(task, Classification):
        return truth, []
    names, codes = np.unique(truth.astype(str), return_inverse=True)
    return codes, names.tolist()


def predict_frame(fitted: Any, features: Array, sample_ids: pd.Index, task: Task, names: list[str]) -> pd.DataFrame:
    """What a fitted model predicts, as `AAM.predict` gives it; `names` are those of `number_classes`."""
    if not isinstance(task, Classification):
        return prediction_frame(use_one_thread(fitted).predict(features), sample_ids, task)
    return prediction_frame(class_chances(fitted, features), sample_ids, task, [names[k] for k in fitted.classes_])


def class_chances(model: Any, X: Array) -> Array:
    """Probability of each of `model.classes_`, n_samples x n_classes; of a support vector machine, its margins brought to 0 to 1."""
    if hasattr(model, "predict_proba"):
        return np.asarray(use_one_thread(model).predict_proba(X))
    margin = model.decision_function(X)
    return np.column_stack([expit(-margin), expit(margin)]) if margin.ndim == 1 else softmax(margin, axis=1)


def use_one_thread(model: Any) -> Any:
    """The model, its forest set to add its trees up in order: threads would do so in any, and the last bit would differ by run."""
    learner = _last_step(model)
    if hasattr(learner, "estimators_"):
        learner.n_jobs = 1
    return model


def _has_converged(model: Any) -> bool:
    """False where a linear model stopped at its last permitted step."""
    learner = _last_step(model)
    if not hasattr(learner, "coef_") or getattr(learner, "n_iter_", None) is None:
        return True
    return bool(np.max(learner.n_iter_) < learner.max_iter)


def _last_step(model: Any) -> Any:
    """The last step of a fitted pipeline."""
    inner = getattr(model, "regressor_", model)
    return inner.steps[-1][1] if hasattr(inner, "steps") else inner
