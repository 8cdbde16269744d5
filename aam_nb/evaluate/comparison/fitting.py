"""Fitting a contender to one side of a fold and predicting the other: our model and the baselines alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.config import CompareConfig
from aam_nb.diversity.unifrac import unifrac, unifrac_between
from aam_nb.evaluate.baselines import labels, prediction_frame
from aam_nb.evaluate.comparison import pipelines
from aam_nb.evaluate.comparison.contenders import Contender
from aam_nb.evaluate.comparison.significance import leading
from aam_nb.model.objectives import Classification, Regression, Task, class_names, make_objective
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.confounding import find_candidate_groups
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

Array = npt.NDArray[Any]
Predictor = Callable[[Study], pd.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all contenders are given alike.

    Parameters
    ----------
    target, classes
        The column; its classes in order, None where it is a number.
    group
        Column whose values are held out whole, or None.
    covariates
        Metadata columns that those who look at a sample get beside its ASVs.
    config
        How baselines are tuned.
    """

    target: str
    classes: tuple[str, ...] | None
    group: str | None
    covariates: tuple[str, ...]
    config: CompareConfig

    @property
    def task(self) -> Task:
        """The task by which all are scored."""
        if self.classes is None:
            return Regression(self.target)
        return Classification(self.target, classes=self.classes)

    def frame(self, prediction: Array, study: Study, names: Sequence[str] | None = None) -> pd.DataFrame:
        """A prediction as `AAM.predict` gives it: numbers, or the probability of each of `names`, n_samples x n_names."""
        return prediction_frame(prediction, study, target=self.target, classes=self.classes, names=names)


def learn(
    contender: Contender, train: Study, setting: Setting, seed: int, threads: int | None
) -> tuple[Predictor, dict[str, Any]]:
    """Fit a contender to a training side.

    Parameters
    ----------
    contender
        Who.
    train
        The training side of a fold; all have the target.
    setting
        What all are given alike.
    seed
        Of the repeat.
    threads
        For forests; None takes all cores.

    Returns
    -------
    A function from a study to predictions as `AAM.predict` gives them, with all classes as columns; and facts: `settings` chosen,
    `converged`, `column` looked up.
    """
    if contender.ours:
        return _our_model(contender, train, setting, seed)
    if contender.kind == "dummy":
        truth = labels(train, setting.task)
        return (lambda s: _shares(truth, setting, s)), {}
    if contender.kind == "group_lookup":
        return _group_lookup(train, setting, seed)
    if contender.kind == "knn_unifrac":
        return _neighbours(train, setting, seed)
    return _tabular(contender.kind, train, setting, seed, threads)


def timed(
    contender: Contender, train: Study, test: Study, setting: Setting, seed: int, threads: int | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Predictions of a test side by one fitted to the training side, and the facts with `fit_seconds`, `predict_seconds`."""
    start = perf_counter()
    predict, facts = learn(contender, train, setting, seed, threads)
    middle = perf_counter()
    frame = predict(test)
    return frame, facts | {"fit_seconds": middle - start, "predict_seconds": perf_counter() - middle}


# -- ours -------------------------------------------------------------------------------------------------------------


def _our_model(contender: Contender, train: Study, setting: Setting, seed: int) -> tuple[Predictor, dict[str, Any]]:
    recipe = contender.recipe
    assert recipe is not None
    change: Callable[[Study], Study] = lambda s: s  # noqa: E731
    if contender.kind == "aam_no_abundance":
        change = without_abundance
    elif contender.kind == "aam_ids_only":
        change = Disguise(train.asv_ids, seed)
    quiet: dict[str, Any] = {"progress": False, "tensorboard": False}
    model, seen = AAM(recipe.model), change(train)
    if recipe.pretrain is not None:
        objectives = [make_objective(o) if isinstance(o, str) else make_objective(**o) for o in recipe.objectives]
        config = replace(recipe.pretrain, seed=recipe.pretrain.seed + seed, **quiet)
        _go_on(model.pretrain(seen, objectives=objectives, config=config))
    task = recipe.task(setting.target, classes=setting.classes is not None)
    covariates = list(dict.fromkeys([*setting.covariates, *recipe.covariates]))
    config = replace(recipe.fit, seed=recipe.fit.seed + seed, **quiet)
    _go_on(model.fit(seen, target=task, covariates=covariates, config=config))

    def predict(study: Study) -> pd.DataFrame:
        found = model.predict(change(study))
        if setting.classes is None:
            return setting.frame(found[setting.target].to_numpy(), study)
        names = [c for c in setting.classes if f"p({c})" in found]
        return setting.frame(found[[f"p({c})" for c in names]].to_numpy(), study, names)

    return predict, {}


def _go_on(model: AAM) -> None:
    """Training that Ctrl-C ended early is no fold of a comparison."""
    if model.interrupted:
        raise KeyboardInterrupt


def without_abundance(study: Study) -> Study:
    """The study with one read of every ASV that a sample holds."""
    table = study.in_memory().table[:].copy()
    table.data[:] = 1
    return replace(study, table=sparse.csr_array(table))


class Disguise:
    """Each ASV's DNA replaced by random DNA of its length, in the table and in the tree.

    Which ASV is which stays, and so does the tree: pre-training on UniFrac learns from the same distances as our model does. What
    goes is all that the nucleotides say of an ASV, above all of one that training never saw.
    """

    def __init__(self, asv_ids: pd.Index, seed: int) -> None:
        rng, used = np.random.default_rng([seed, 1]), set[str]()
        self.name = dict[str, str]()
        for asv in asv_ids:
            fresh = "".join(rng.choice(list("ACGT"), len(asv)))
            while fresh in used:
                fresh = "".join(rng.choice(list("ACGT"), len(asv)))
            used.add(fresh)
            self.name[asv] = fresh

    def __call__(self, study: Study) -> Study:
        ids = pd.Index([self.name[a] for a in study.asv_ids])
        tree = study.tree
        if tree is not None:  # tips of other ASVs have their own DNA still, which may be one that was drawn
            tree = tree.renamed({t: self.name.get(t, f"other {t}") for t in tree.tips})
        taxonomy = None if study.taxonomy is None else study.taxonomy.set_axis(ids.rename("asv_id"))
        return replace(study, asv_ids=ids, tree=tree, taxonomy=taxonomy, truth=None)


# -- baselines --------------------------------------------------------------------------------------------------------


def _shares(truth: Array, setting: Setting, study: Study) -> pd.DataFrame:
    """The mean, or the class shares, of `truth` for every sample."""
    n = study.num_samples
    if setting.classes is None:
        return setting.frame(np.full(n, truth.astype(float).mean()), study)
    names, counts = np.unique(truth.astype(str), return_counts=True)
    return setting.frame(np.tile(counts / counts.sum(), (n, 1)), study, list(names))


def _splits(train: Study, setting: Setting, seed: int) -> list[tuple[Array, Array]]:
    """Folds within a training side; none without tuning."""
    group = None if setting.group is None else pd.factorize(train.column(setting.group))[0]
    classes, folds = setting.classes is not None, setting.config.inner_folds
    return pipelines.inner_splits(labels(train, setting.task), group, classes=classes, folds=folds, seed=seed)


def _group_lookup(train: Study, setting: Setting, seed: int) -> tuple[Predictor, dict[str, Any]]:
    """The column that tells most within the training side, and what it says of each sample."""
    truth, splits = labels(train, setting.task), _splits(train, setting, seed)
    told = {}
    for column in lookup_columns(train, setting):
        found = [
            leading(
                truth[b],
                _looked_up(column, truth[a], train, a, setting, b)[setting.target].to_numpy(),
                classes=setting.classes is not None,
            )
            for a, b in splits
        ]
        told[column] = float(np.nanmean(found)) if np.isfinite(found).any() else -np.inf
    if not told:
        return (lambda s: _shares(truth, setting, s)), {"column": None}
    best = max(told, key=lambda c: told[c])
    values = names_in(train, best)
    return (lambda s: looked_up(truth, values, names_in(s, best), setting, s)), {"column": str(best)}


def names_in(study: Study, column: Any) -> Array:
    """A column's values as text, None where they are missing."""
    values = study.column(column)
    return np.array([None if lost else str(v) for v, lost in zip(values, values.isna(), strict=True)], dtype=object)


def lookup_columns(train: Study, setting: Setting) -> list[Any]:
    """The group, and columns that may name hosts, studies or the like; with a group only those coarser than it."""
    found = [c for c in find_candidate_groups(train.metadata, setting.target) if c not in setting.covariates]
    if setting.group is None:
        return found
    own = train.column(setting.group)
    coarser = [
        c
        for c in found
        if c != setting.group
        and train.metadata[c].groupby(own.to_numpy()).nunique().max() == 1
        and train.metadata[c].nunique() < own.nunique()
    ]
    return [setting.group, *coarser]


def _looked_up(column: Any, known: Array, train: Study, a: Array, setting: Setting, b: Array) -> pd.DataFrame:
    values = names_in(train, column)
    return looked_up(known, values[a], values[b], setting, train.keep_samples(train.sample_ids[b]))


def looked_up(known: Array, values: Array, asked: Array, setting: Setting, study: Study) -> pd.DataFrame:
    """For each sample of `study`, the mean or the class shares of those `known` whose value is the one `asked`; of all where none is, or
    the value is missing."""
    frame = _shares(known, setting, study)
    columns = [setting.target] if setting.classes is None else [f"p({c})" for c in setting.classes]
    told = frame[columns].to_numpy(copy=True)
    for value in {v for v in asked if v is not None}:
        own = known[values == value]
        if len(own):
            rows = asked == value
            told[rows] = _shares(own, setting, study)[columns].to_numpy()[0]
    return setting.frame(told[:, 0] if setting.classes is None else told, study, setting.classes)


def _neighbours(train: Study, setting: Setting, seed: int) -> tuple[Predictor, dict[str, Any]]:
    truth, classes = labels(train, setting.task), setting.classes is not None
    splits = _splits(train, setting, seed)
    least = min([len(a) for a, _ in splits], default=train.num_samples)
    model, grid = pipelines.make_neighbours(classes=classes, least=least)
    distances = unifrac(train, cache=False).data
    fitted, facts = pipelines.tuned(
        model, grid, distances, truth, splits if setting.config.tune else [], classes=classes
    )

    def predict(study: Study) -> pd.DataFrame:
        return _predicted(fitted, unifrac_between(study, train).to_numpy(), setting, study)

    return predict, facts


def _tabular(
    kind: str, train: Study, setting: Setting, seed: int, threads: int | None
) -> tuple[Predictor, dict[str, Any]]:
    truth, classes = labels(train, setting.task), setting.classes is not None
    if kind == "depth_only":
        features: Callable[[Study], Array] = depth_and_richness
    else:
        covariates = CovariateColumns(train, setting.covariates)
        features = lambda s: np.hstack([counts(s), covariates(s)])  # noqa: E731
    model, grid = pipelines.make_model(
        kind, classes=classes, num_asvs=train.num_asvs, config=setting.config, seed=seed % 2**31, threads=threads
    )
    splits = _splits(train, setting, seed) if setting.config.tune else []
    fitted, facts = pipelines.tuned(model, grid, features(train), truth, splits, classes=classes)
    return (lambda s: _predicted(fitted, features(s), setting, s)), facts


def _predicted(fitted: Any, features: Array, setting: Setting, study: Study) -> pd.DataFrame:
    if setting.classes is None:
        return setting.frame(pipelines.steady(fitted).predict(features), study)
    return setting.frame(pipelines.chances(fitted, features), study, list(fitted.classes_))


def counts(study: Study) -> npt.NDArray[np.float64]:
    """Reads, n_samples x n_asvs, dense."""
    return np.concatenate([table.toarray() for _, table in study.blocks()]).astype(np.float64)


def depth_and_richness(study: Study) -> npt.NDArray[np.float64]:
    """Log of reads and of the number of ASVs, n_samples x 2."""
    return np.log1p(np.column_stack([study.depth.to_numpy(float), study.richness.to_numpy(float)]))


class CovariateColumns:
    """Metadata columns as numbers: those of numbers with the training mean where they are missing, others with a column for each
    training category."""

    def __init__(self, train: Study, columns: Sequence[str]) -> None:
        self.means, self.categories = dict[str, float](), dict[str, list[str]]()
        for column in columns:
            values = train.column(column)
            if is_numeric_column(values):
                self.means[column] = float(values.astype(float).mean()) if values.notna().any() else 0.0
            else:
                self.categories[column] = sorted(class_names(values).dropna().unique())

    def __call__(self, study: Study) -> npt.NDArray[np.float64]:
        """n_samples x n_columns."""
        parts = [study.column(c).astype(float).fillna(mean).to_numpy()[:, None] for c, mean in self.means.items()]
        for column, categories in self.categories.items():
            values = class_names(study.column(column)).to_numpy()
            parts.append((values[:, None] == np.array(categories, dtype=object)[None]).astype(float))
        return np.hstack(parts) if parts else np.empty((study.num_samples, 0))
