"""Features and a model in one scikit-learn pipeline, with its grid of settings: nothing in it sees a test sample before it predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Floats
from aam_nb.baselines import gradient_boosting, linear, random_forest, support_vectors
from aam_nb.baselines.bounds import bound_asvs
from aam_nb.baselines.depth_only import make_depth_model
from aam_nb.baselines.features import AsvFeatures, CovariateColumns, count_reads, depth_and_richness
from aam_nb.baselines.predictions import Predictor, read_target
from aam_nb.baselines.scaling import in_any_unit
from aam_nb.baselines.settings import SharedSettings
from aam_nb.baselines.tuning import number_classes, predict_frame, split_training_side, tune_model
from aam_nb.config.evaluate import BaselineConfig
from aam_nb.study.study import Study

TABULAR = ("random_forest", "gradient_boosting", "ridge_clr", "elastic_net", "svm", "depth_only")
"""Baselines that `make_pipeline` makes."""
SHARES = ("random_forest", "gradient_boosting")
"""Those that see relative abundances; the others see centred log-ratios."""


def fit_pipeline(
    name: str, train: Study, settings: SharedSettings, seed: int, threads: int | None
) -> tuple[Predictor, dict[str, Any]]:
    """A function from a study to predictions, and facts: the `settings` chosen, `converged`, `asvs` seen where not all were."""
    task, config = settings.task, settings.config
    truth, names = number_classes(read_target(train, task), task)
    # ASVs that no fold within the training side can use are not made dense; their reads still count in a sample's total.
    common = train.asv_ids[(train.prevalence >= config.feature_prevalence).to_numpy()]
    common = common if len(common) else train.asv_ids
    asv_ids = (
        common
        if name == "depth_only"
        else common[bound_asvs(train.prevalence[common].to_numpy(), train.num_samples, config.baseline_cells)]
    )
    covariates = CovariateColumns(train, settings.covariates)

    def features(study: Study) -> Floats:
        if name == "depth_only":
            return depth_and_richness(study)
        return np.hstack([count_reads(study, asv_ids), covariates(study)])

    model, grid = make_pipeline(
        name, classes=settings.is_class, num_asvs=len(asv_ids), config=config, seed=seed, threads=threads
    )
    splits = split_training_side(train, settings, seed) if config.tune else []
    learner = "model" if settings.is_class else "regressor__model"
    quicker = {f"{learner}__{k}": v for k, v in search_settings(name, config.num_trees).items()}
    fitted, facts = tune_model(
        model, grid, features(train), truth, splits, classes=settings.is_class, while_searching=quicker
    )
    if len(asv_ids) < len(common):
        facts["asvs"] = len(asv_ids)

    def predict(study: Study) -> pd.DataFrame:
        # A part of the samples at a time, as many as the bound allows.
        size = max(1, config.baseline_cells // max(1, len(asv_ids)))
        if study.num_samples <= size:
            return predict_frame(fitted, features(study), study.sample_ids, task, names)
        parts = (study.keep_samples(study.sample_ids[k : k + size]) for k in range(0, study.num_samples, size))
        return pd.concat([predict_frame(fitted, features(part), part.sample_ids, task, names) for part in parts])

    return predict, facts


def make_pipeline(
    name: str, *, classes: bool, num_asvs: int, config: BaselineConfig, seed: int, threads: int | None = None
) -> tuple[Any, dict[str, list[Any]]]:
    """A baseline before it is fitted, and the settings to choose among.

    Parameters
    ----------
    name
        One of `TABULAR`.
    classes
        Whether it predicts classes; numbers are standardised before the fit, and predictions brought back.
    num_asvs
        ASVs whose reads are the first columns of the features.
    config
        Trees, and the prevalence that features need.
    seed, threads
        Of the fit; None takes all cores.

    Returns
    -------
    A scikit-learn estimator, and a grid for `GridSearchCV`. The estimator's own settings are those used without tuning.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    space = "share" if name in SHARES else "clr"
    learner, grid = make_learner(name, classes=classes, num_trees=config.num_trees, seed=seed % 2**31, threads=threads)
    first = StandardScaler() if name == "depth_only" else AsvFeatures(num_asvs, space, config.feature_prevalence)
    steps: list[tuple[str, Any]] = [("features", first)]
    if space == "clr":
        steps.append(("scale", StandardScaler()))
    pipeline = Pipeline([*steps, ("model", learner)])
    if classes:
        return pipeline, {f"model__{k}" if k else "model": v for k, v in grid.items()}
    return in_any_unit(pipeline), {f"regressor__model__{k}" if k else "regressor__model": v for k, v in grid.items()}


def make_learner(
    name: str, *, classes: bool, num_trees: int, seed: int, threads: int | None = None
) -> tuple[Any, dict[str, list[Any]]]:
    """The model at the end of a baseline's pipeline, not fitted yet, and its grid."""
    if name == "random_forest":
        forest = random_forest.make_forest(classes=classes, num_trees=num_trees, seed=seed, threads=threads)
        return forest, random_forest.GRIDS[classes]
    if name == "gradient_boosting":
        boosted = gradient_boosting.make_boosted_trees(classes=classes, seed=seed)
        return boosted, gradient_boosting.GRIDS[classes]
    if name == "ridge_clr":
        return linear.make_ridge(classes=classes), linear.RIDGE_GRIDS[classes]
    if name == "elastic_net":
        return linear.make_elastic_net(classes=classes, seed=seed), linear.ELASTIC_NET_GRIDS[classes]
    if name == "svm":
        return support_vectors.make_support_vectors(classes=classes), support_vectors.GRIDS[classes]
    return make_depth_model(classes=classes, seed=seed, threads=threads)


def search_settings(name: str, num_trees: int) -> dict[str, Any]:
    """Settings that hold while the learner's grid is searched and not after: fewer trees."""
    return {"n_estimators": min(random_forest.SEARCH_TREES, num_trees)} if name == "random_forest" else {}
