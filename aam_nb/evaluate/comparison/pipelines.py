"""The baselines that learn from features, as scikit-learn pipelines with a small grid each: nothing in them sees a test sample."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, TransformerMixin

from aam_nb.config import CompareConfig
from aam_nb.evaluate.comparison.significance import leading

Array = npt.NDArray[Any]
PSEUDO_COUNT = 0.5
"""Reads added to every cell before logarithms are taken."""
TABULAR = ("random_forest", "gradient_boosting", "ridge_clr", "logistic_clr", "elastic_net", "svm", "depth_only")
"""Baselines that `make_model` makes."""
NEIGHBOURS = (1, 3, 5, 9, 15)


class Features(TransformerMixin, BaseEstimator):
    """ASVs that enough samples hold, as shares of a sample's reads or as centred log-ratios; other columns pass unchanged.

    Parameters
    ----------
    num_asvs
        Columns that hold reads; those after them are covariates.
    space
        "share": reads over the sample's total. "clr": log of reads plus `PSEUDO_COUNT`, less the sample's mean of these (Aitchison
        1986), over the ASVs kept.
    min_prevalence
        Samples of those fitted to that must hold an ASV; the commonest ASVs are kept where none reaches it.
    """

    def __init__(self, num_asvs: int = 0, space: str = "share", min_prevalence: int = 1) -> None:
        self.num_asvs, self.space, self.min_prevalence = num_asvs, space, min_prevalence

    def fit(self, X: Array, y: Any = None) -> Features:
        """Choose the ASVs from these samples, n_samples x (n_asvs + n_covariates)."""
        found = (X[:, : self.num_asvs] > 0).sum(0)
        self.kept_ = np.flatnonzero(found >= min(self.min_prevalence, found.max(initial=0)))
        return self

    def transform(self, X: Array) -> Array:
        """The features of samples, n_samples x (n_kept + n_covariates)."""
        reads = X[:, : self.num_asvs]
        if self.space == "share":
            features = reads[:, self.kept_] / reads.sum(1, keepdims=True)
        else:
            logs = np.log(reads[:, self.kept_] + PSEUDO_COUNT)
            features = logs - logs.mean(1, keepdims=True)
        return np.hstack([features, X[:, self.num_asvs :]])


def make_model(
    name: str, *, classes: bool, num_asvs: int, config: CompareConfig, seed: int, threads: int | None = None
) -> tuple[Any, dict[str, list[Any]]]:
    """A baseline before it is fitted, and the settings to choose among.

    Parameters
    ----------
    name
        One of `TABULAR`.
    classes
        Whether it predicts classes; numbers are standardised before the fit, and predictions brought back.
    num_asvs
        Columns of reads among the features.
    config
        Trees, and the prevalence that features need.
    seed, threads
        Of the fit; None takes all cores.

    Returns
    -------
    A scikit-learn estimator, and a grid for `GridSearchCV`. The estimator's own settings are those used without tuning.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    space = "share" if name in ("random_forest", "gradient_boosting") else "clr"
    learner, grid = (_classifier if classes else _regressor)(name, config.num_trees, seed, threads or -1)
    first = StandardScaler() if name == "depth_only" else Features(num_asvs, space, config.feature_prevalence)
    steps: list[tuple[str, Any]] = [("features", first)]
    if space == "clr":
        steps.append(("scale", StandardScaler()))
    pipeline = Pipeline([*steps, ("model", learner)])
    if classes:
        return pipeline, {f"model__{k}" if k else "model": v for k, v in grid.items()}
    whole = TransformedTargetRegressor(regressor=pipeline, transformer=StandardScaler())
    return whole, {f"regressor__model__{k}" if k else "regressor__model": v for k, v in grid.items()}


def _regressor(name: str, num_trees: int, seed: int, threads: int) -> tuple[Any, dict[str, list[Any]]]:
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import ElasticNet, Ridge
    from sklearn.svm import SVR

    if name == "random_forest":
        forest = RandomForestRegressor(num_trees, max_features=1 / 3, n_jobs=threads, random_state=seed)
        return forest, {"max_features": [0.1, 1 / 3], "min_samples_leaf": [1, 3]}
    if name == "gradient_boosting":
        boosted = HistGradientBoostingRegressor(
            max_features=0.2, min_samples_leaf=5, early_stopping=False, random_state=seed
        )
        return boosted, {"learning_rate": [0.05, 0.15], "max_leaf_nodes": [4, 16]}
    if name in ("ridge_clr", "logistic_clr"):
        return Ridge(1000.0), {"alpha": [10.0, 100.0, 1e3, 1e4, 1e5]}
    if name == "elastic_net":
        return ElasticNet(alpha=0.1, l1_ratio=0.5, max_iter=3000), {"alpha": [0.03, 0.1, 0.3], "l1_ratio": [0.2, 0.8]}
    if name == "svm":
        return SVR(C=1.0), {"C": [0.3, 1.0, 3.0, 10.0]}
    small = RandomForestRegressor(100, min_samples_leaf=5, n_jobs=threads, random_state=seed)
    return small, {"": [small, Ridge(1.0)]}


def _classifier(name: str, num_trees: int, seed: int, threads: int) -> tuple[Any, dict[str, list[Any]]]:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    say = {"class_weight": [None, "balanced"]}  # they are judged by balanced accuracy
    if name == "random_forest":
        forest = RandomForestClassifier(num_trees, n_jobs=threads, random_state=seed)
        return forest, {"max_features": ["sqrt", 0.1], "min_samples_leaf": [1, 3], **say}
    if name == "gradient_boosting":
        boosted = HistGradientBoostingClassifier(
            max_features=0.2, min_samples_leaf=5, early_stopping=False, random_state=seed
        )
        return boosted, {"max_leaf_nodes": [4, 16], **say}
    if name in ("ridge_clr", "logistic_clr"):
        return LogisticRegression(C=1e-3, max_iter=2000), {"C": [1e-4, 1e-3, 1e-2, 0.1, 1.0], **say}
    if name == "elastic_net":
        net = LogisticRegression(
            C=0.1, l1_ratio=0.5, solver="saga", tol=1e-3, max_iter=300, random_state=seed, class_weight="balanced"
        )
        return net, {"C": [0.03, 0.1, 0.3], "l1_ratio": [0.2, 0.8]}
    if name == "svm":
        return SVC(C=1.0, break_ties=True), {"C": [0.3, 1.0, 3.0, 10.0], **say}
    small = RandomForestClassifier(100, min_samples_leaf=5, n_jobs=threads, random_state=seed)
    return small, {"": [small, LogisticRegression(C=1.0)]}


def make_neighbours(*, classes: bool, least: int) -> tuple[Any, dict[str, list[Any]]]:
    """k nearest neighbours on a matrix of distances, and the settings to choose among; `least` is the fewest training samples."""
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    kind = KNeighborsClassifier if classes else KNeighborsRegressor
    known = [k for k in NEIGHBOURS if k <= least]
    return kind(min(5, known[-1]), metric="precomputed"), {"n_neighbors": known, "weights": ["uniform", "distance"]}


def tuned(
    model: Any, grid: dict[str, list[Any]], X: Array, y: Array, splits: list[tuple[Array, Array]], *, classes: bool
) -> tuple[Any, dict[str, Any]]:
    """The model fitted to all of `X`, with the settings that do best over `splits`; as it is where there are none.

    Returns
    -------
    The fitted model, and what the reader may ask of it: `settings` chosen, `converged`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV

    settings: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged`
        if splits:
            search = GridSearchCV(model, grid, scoring=_judge(classes), cv=splits, error_score="raise", refit=False)
            settings = search.fit(X, y).best_params_
        fitted = model.set_params(**settings).fit(X, y)
    shown = {
        k.split("__")[-1]: v if isinstance(v, int | float | str) else repr(v)
        for k, v in settings.items()
        if v is not None
    }
    return fitted, {"settings": shown, "converged": _converged(fitted)}


def _judge(classes: bool) -> Any:
    """A scorer: balanced accuracy over the classes present, or minus the mean squared error."""

    def judge(model: Any, X: Array, y: Array) -> float:
        guess = steady(model).predict(X)
        return leading(y, guess, classes=True) if classes else -float(np.mean((y - guess) ** 2))

    return judge


def steady(model: Any) -> Any:
    """The model, its forest set to add its trees up in order: threads would do so in any, and the last bit would differ by run."""
    learner = _learner(model)
    if hasattr(learner, "estimators_"):
        learner.n_jobs = 1
    return model


def chances(model: Any, X: Array) -> Array:
    """Probability of each of `model.classes_`, n_samples x n_classes; of a support vector machine, its margins brought to 0 to 1."""
    if hasattr(model, "predict_proba"):
        return np.asarray(steady(model).predict_proba(X))
    margin = model.decision_function(X)
    return np.column_stack([expit(-margin), expit(margin)]) if margin.ndim == 1 else softmax(margin, axis=1)


def inner_splits(
    y: Array, group: Array | None, *, classes: bool, folds: int, seed: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
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
    dealer = kinds[group is not None](number, shuffle=True, random_state=seed % 2**31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rare classes lie in fewer folds than there are
        found = list(dealer.split(np.zeros(len(y)), y, group))
    return [(a, b) for a, b in found if len(b) and len(np.unique(y[a])) > 1]


def _converged(model: Any) -> bool:
    """Whether a linear model stopped before its last permitted step."""
    learner = _learner(model)
    if not hasattr(learner, "coef_") or getattr(learner, "n_iter_", None) is None:
        return True
    return bool(np.max(learner.n_iter_) < learner.max_iter)


def _learner(model: Any) -> Any:
    """The last step of a fitted pipeline."""
    inner = getattr(model, "regressor_", model)
    return inner.steps[-1][1] if hasattr(inner, "steps") else inner
