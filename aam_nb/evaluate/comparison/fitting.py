"""Fitting a contender to one side of a fold and predicting the other: our model and the baselines alike."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import pandas as pd

from aam_nb.baselines.fit import fit_baseline
from aam_nb.baselines.predictions import Predictor, prediction_frame
from aam_nb.baselines.settings import SharedSettings
from aam_nb.evaluate.comparison.ablations import RandomDNA, remove_abundance
from aam_nb.evaluate.comparison.contenders import Contender
from aam_nb.model.objectives import make_objective
from aam_nb.study.study import Study
from aam_nb.study.target_checks import TargetWarning
from aam_nb.train.estimator import AAM

CHANGE_INPUT = ("aam_no_abundance", "aam_ids_only")
"""Ablations that see another study, and so are pre-trained by themselves."""


@dataclass(frozen=True)
class Pretrained:
    """A model after its pre-training on a training side, and the seconds that it took."""

    model: AAM
    seconds: float


Pretrainings = dict[str, Pretrained]
"""Pre-trained models of one training side, by `pretraining_key`: contenders that begin alike share them."""


def pretraining_key(contender: Contender, seed: int) -> str | None:
    """All that a contender's pre-training on a training side depends on; None where it has none."""
    recipe = contender.recipe
    if recipe is None or recipe.pretrain is None:
        return None
    view = contender.kind if contender.kind in CHANGE_INPUT else ""
    parts = [view, asdict(recipe.model), asdict(recipe.pretrain), list(recipe.objectives), seed]
    return json.dumps(parts, sort_keys=True, default=str)


def fit_and_predict(
    contender: Contender,
    train: Study,
    test: Study,
    settings: SharedSettings,
    seed: int,
    threads: int | None,
    pretrainings: Pretrainings | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Fit a contender to the training side of a fold, and predict the test side.

    Parameters
    ----------
    contender
        Our model, an ablation or a baseline.
    train, test
        The sides; all samples of `train` have the target.
    settings
        What all contenders are given alike.
    seed
        Of the repeat.
    threads
        For forests; None takes all cores.
    pretrainings
        Those of this training side so far: one that fits is used, and a new one is added. Predictions are the same bits either way.

    Returns
    -------
    Predictions as `AAM.predict` gives them, with all classes as columns; and facts: `fit_seconds` (with the pre-training, also
    where it was shared), `predict_seconds`, and of baselines what `fit_baseline` tells.
    """
    pretrainings = {} if pretrainings is None else pretrainings
    shared = pretrainings.get(pretraining_key(contender, seed) or "")
    start = perf_counter() - (shared.seconds if shared else 0.0)
    if contender.ours:
        predict, facts = fit_our_model(contender, train, settings, seed, pretrainings), dict[str, Any]()
    else:
        predict, facts = fit_baseline(contender.kind, train, settings, seed=seed, threads=threads)
    fitted = perf_counter()
    frame = predict(test)
    return frame, facts | {"fit_seconds": fitted - start, "predict_seconds": perf_counter() - fitted}


def fit_our_model(
    contender: Contender, train: Study, settings: SharedSettings, seed: int, pretrainings: Pretrainings
) -> Predictor:
    """Pre-train and fit our model, or an ablation of it, by the contender's recipe."""
    recipe = contender.recipe
    assert recipe is not None
    # What the model sees of a study.
    view: Callable[[Study], Study] = lambda s: s  # noqa: E731
    if contender.kind == "aam_no_abundance":
        view = remove_abundance
    elif contender.kind == "aam_ids_only":
        view = RandomDNA(train.asv_ids, seed)
    quiet: dict[str, Any] = {"progress": False, "tensorboard": False}
    model, seen, key = AAM(recipe.model), view(train), pretraining_key(contender, seed)
    if recipe.pretrain is not None and key is not None:
        if key not in pretrainings:
            start = perf_counter()
            objectives = [make_objective(o) if isinstance(o, str) else make_objective(**o) for o in recipe.objectives]
            config = replace(recipe.pretrain, seed=recipe.pretrain.seed + seed, **quiet)
            _refuse_interrupted(model.pretrain(seen, objectives=objectives, config=config))
            pretrainings[key] = Pretrained(model.untrained_copy(), perf_counter() - start)
        model = pretrainings[key].model.untrained_copy()
    task = recipe.task(settings.target, classes=settings.is_class)
    covariates = list(dict.fromkeys([*settings.covariates, *recipe.covariates]))
    config = replace(recipe.fit, seed=recipe.fit.seed + seed, **quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TargetWarning)  # `compare` told it once, of all samples
        _refuse_interrupted(model.fit(seen, target=task, covariates=covariates, config=config))

    def predict(study: Study) -> pd.DataFrame:
        prediction = model.predict(view(study))
        if settings.classes is None:
            return prediction_frame(prediction[settings.target].to_numpy(), study.sample_ids, settings.task)
        names = [c for c in settings.classes if f"p({c})" in prediction]
        chances = prediction[[f"p({c})" for c in names]].to_numpy()
        return prediction_frame(chances, study.sample_ids, settings.task, names)

    return predict


def _refuse_interrupted(model: AAM) -> None:
    """A model whose training Ctrl-C ended early is not a contender."""
    if model.interrupted:
        raise KeyboardInterrupt
