"""Any baseline by its name, fitted to a training study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from aam_nb.baselines.bounds import UNBOUNDED, bound_samples
from aam_nb.baselines.dummy import fit_dummy
from aam_nb.baselines.group_lookup import fit_group_lookup
from aam_nb.baselines.neighbours import fit_neighbours
from aam_nb.baselines.pipelines import fit_pipeline
from aam_nb.baselines.predictions import Predictor
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config import UserError
from aam_nb.study.study import Study

BASELINES = {
    "dummy": "the mean, or the class shares, of the training samples",
    "depth_only": "reads and number of ASVs of a sample, and nothing of which they are",
    "group_lookup": "the mean, or the class shares, of the training samples of the same host, study or the like",
    "random_forest": "a random forest on relative abundances",
    "gradient_boosting": "boosted trees on relative abundances",
    "ridge_clr": "ridge (logistic) regression on centred log-ratios",
    "elastic_net": "elastic net on centred log-ratios",
    "knn_unifrac": "nearest neighbours by unweighted UniFrac; needs a tree",
    "svm": "a support vector machine on centred log-ratios",
}
"""Models to compare with, and what each is."""


class BaselineError(UserError, ValueError):
    """There is no baseline of that name."""


def fit_baseline(
    name: str, train: Study, settings: SharedSettings, *, seed: int = 0, threads: int | None = None
) -> tuple[Predictor, dict[str, Any]]:
    """Fit a baseline.

    Parameters
    ----------
    name
        One of `BASELINES`.
    train
        The training samples; all have the target.
    settings
        Target, group, covariates, and how settings are tuned.
    seed
        Of the model and of the folds within the training samples.
    threads
        For forests; None takes all cores.

    Returns
    -------
    A function from a study to predictions as `AAM.predict` gives them, with all classes as columns; ASVs that `train` lacks are not
    used. And facts: `settings` chosen, `converged`, `column` looked up, `samples` fitted to, `asvs` seen where not all were.

    Raises
    ------
    BaselineError
        The name is not known.
    """
    if name not in BASELINES:
        raise BaselineError(f"{name!r} is not a baseline. There are {', '.join(BASELINES)}. Name one of those.")
    if name == "dummy":
        return fit_dummy(train, settings), {}
    if name == "group_lookup":
        return fit_group_lookup(train, settings, seed)
    if name not in UNBOUNDED:
        train = bound_samples(train, settings, seed)
    if name == "knn_unifrac":
        predict, facts = fit_neighbours(train, settings, seed)
    else:
        predict, facts = fit_pipeline(name, train, settings, seed, threads)
    return predict, facts | {"samples": train.num_samples}


def predict_baseline(name: str, train: Study, test: Study, settings: SharedSettings, *, seed: int = 0) -> pd.DataFrame:
    """Predictions of `test` by a baseline fitted to `train`, shaped like those of `AAM.predict`; see `fit_baseline`."""
    return fit_baseline(name, train, settings, seed=seed)[0](test)
