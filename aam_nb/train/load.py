"""A model from its run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from aam_nb.config import ModelConfig, TrainConfig, from_dict
from aam_nb.model.covariates import Covariates
from aam_nb.model.encoder import Encoder
from aam_nb.model.module import Network
from aam_nb.model.objectives import make_objective
from aam_nb.train.asv_cache import AsvVectors
from aam_nb.train.estimator import AAM
from aam_nb.train.machine import make_accelerator
from aam_nb.train.run import PRETRAINED, RunError, load_weights, read_run


def load(folder: str | Path, *, device: str = "auto") -> AAM:
    """A model from its run folder, ready to predict, to evaluate, or (pre-trained) to fit.

    Parameters
    ----------
    folder
        What `model.save` wrote.
    device
        Where to put it: "auto", "cpu", "cuda" or "mps".

    Raises
    ------
    RunError, ConfigError, ObjectiveError
        The folder is not a run, is damaged, was written by a newer aam_nb, or holds settings or weights that do not fit together.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1)).fit(study, target="age", config=config)
    >>> loaded = aam.load(model.save("runs/age"), device="cpu")
    >>> loaded
    AAM(width=16, num_layers=1, fitted to 'age')
    >>> loaded.predict(study).equals(model.predict(study))
    True
    """
    files, weights = read_run(folder)
    model = _read_settings(files, folder, device)
    network = _read_network(model, files, weights, folder)
    pretrained = {k.removeprefix(PRETRAINED): v for k, v in weights.items() if k.startswith(PRETRAINED)}
    if pretrained:
        load_weights(Encoder(model.config), pretrained, folder)  # this only checks their names and shapes
    accelerator = make_accelerator(replace(model.train_config, precision="fp32"))
    model = model.with_network(network.to(accelerator.device))
    model.vectors = AsvVectors(disk=model.train_config.cache == "disk")
    model.pretrained = pretrained or (None if model.task else network.encoder.state_dict())
    history = Path(folder) / "history.csv"
    model.history = pd.read_csv(history) if history.is_file() and history.stat().st_size > 1 else pd.DataFrame()
    if "evaluation" in files:
        _read_evaluation(model, files["evaluation"], folder)
    return model


def _read_settings(files: dict[str, Any], folder: str | Path, device: str) -> AAM:
    """A model without a network, with what the JSON files say of it."""
    config = files["config"]
    try:
        model = AAM(from_dict(ModelConfig, config["model"]))
        model.train_config = from_dict(TrainConfig, config["train"] | {"device": device})
        model.record = _require_record(config["record"])
        model.reference_asvs = tuple(config["reference_asvs"])
        model.covariates = Covariates.from_dict(config["covariates"]) if config["covariates"] else None
        model.samples = {k: [str(i) for i in v] for k, v in files["splits"].items() if k != "group"}
    except (KeyError, TypeError, AttributeError) as error:
        raise _missing_error(folder, error) from error
    return model


def _read_network(model: AAM, files: dict[str, Any], weights: dict[str, Tensor], folder: str | Path) -> Network:
    """The network that a model was saved with."""
    try:
        objectives = [make_objective(**spec) for spec in files["target"]["objectives"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise _missing_error(folder, error) from error
    uncertainty = model.train_config.loss_weighting == "uncertainty"
    network = Network(model.config, objectives, covariates=model.covariates, uncertainty=uncertainty)
    network.encoder.asv.set_reference(model.reference_asvs)
    load_weights(network, {k: v for k, v in weights.items() if not k.startswith(PRETRAINED)}, folder)
    return network


def _read_evaluation(model: AAM, saved: Any, folder: str | Path) -> None:
    """Give a model the evaluation that was saved with it."""
    from aam_nb.evaluate.metrics import Evaluation

    try:
        predictions = pd.read_csv(Path(folder) / "predictions.csv", dtype=str, keep_default_na=False)
        evaluation = Evaluation.from_dict(saved, predictions.set_index("sample_id"))
        model.evaluation = replace(evaluation, model=model)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise RunError(
            f"evaluation.json and predictions.csv of {folder} do not fit together ({error}). Expected what `model.save(folder)` "
            "wrote. Restore them from a copy, or delete evaluation.json and evaluate again."
        ) from error


def _require_record(record: Any) -> dict[str, Any]:
    """What a run says of its stages, as later code reads it; anything else is a TypeError."""
    for stage in ("pretrain", "fit"):
        of_stage = record.get(stage, {"split": None})
        split = of_stage["split"]
        if not isinstance(of_stage, dict) or not (split is None or isinstance(split["group"], str | None)):
            raise TypeError(f"a sound record of {stage}")
    return dict(record)


def _missing_error(folder: str | Path, error: Exception) -> RunError:
    return RunError(
        f"The JSON files of {folder} lack {error}. Expected what `model.save(folder)` wrote. Restore the folder from a copy."
    )
