"""A model from its run folder."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.overrides import TorchFunctionMode

from aam_nb.config import Notice, TrainConfig, UserError, from_dict, telling_of_memory
from aam_nb.config.schema import Mismatch
from aam_nb.model.covariates import Covariates
from aam_nb.model.encoder import Encoder
from aam_nb.model.module import Network
from aam_nb.model.objectives import Objective, make_objective
from aam_nb.train.asv_cache import AsvVectors
from aam_nb.train.estimator import AAM
from aam_nb.train.machine import make_accelerator
from aam_nb.train.new_network import objective_spec
from aam_nb.train.run import PRETRAINED, as_read_back, load_weights, read_run, require_unchanged, stored
from aam_nb.train.run_schema import read_history, require_names_apart, require_same_spec
from aam_nb.train.study_check import TrainingAsvs
from aam_nb.train.tensors import TensorFile, kinds_of

FILLING = {"normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "xavier_uniform_"}
"""Functions that fill a tensor at random."""


@telling_of_memory("loading a run", "a smaller model, or a machine with more memory")
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
    files, weights_file = read_run(folder)
    model = _read_settings(files, folder, device)
    _require_fitting_weights(model, _make_objectives(files, folder), weights_file)
    # Only now memory is asked for: the weights are those of this network.
    weights = weights_file.load()
    network = _make_network(model, _make_objectives(files, folder))
    with stored(folder, "config.json").told():
        network.encoder.asv.set_reference(model.reference_asvs)
    load_weights(network, {k: v for k, v in weights.items() if not k.startswith(PRETRAINED)}, folder)
    require_unchanged(folder)  # last, since other checks say what is wrong and not only where
    pretrained = {k.removeprefix(PRETRAINED): v for k, v in weights.items() if k.startswith(PRETRAINED)}
    accelerator = make_accelerator(replace(model.train_config, precision="fp32"))
    model = model.with_network(network.to(accelerator.device))
    model.vectors = AsvVectors(disk=model.train_config.cache == "disk")
    model.pretrained = pretrained or (None if model.task else network.encoder.state_dict())
    model.history = _read_history(folder)
    _read_evaluation(model, folder)
    return model


def _read_settings(files: dict[str, Any], folder: str | Path, device: str) -> AAM:
    """A model without a network, with what the JSON files say of it."""
    config = files["config"]
    model = AAM(config["model"])
    model.train_config = from_dict(TrainConfig, config["train"] | {"device": device})
    model.record = config["record"]
    model.reference_asvs = tuple(config["reference_asvs"])
    with stored(folder, "config.json").told():
        saved = config["covariates"]
        model.covariates = None if saved is None else Covariates.from_dict(saved)
        kept = config.get("trained_asvs") or {}
        model.trained_asvs = {str(stage): TrainingAsvs.from_dict(asvs) for stage, asvs in kept.items()}
    model.samples = {use: ids for use, ids in files["splits"].items() if use != "group"}
    return model


def _make_objectives(files: dict[str, Any], folder: str | Path) -> list[Objective]:
    """The objectives that a model was saved with, before their heads."""
    objectives = []
    with stored(folder, "target.json").told():
        for k, spec in enumerate(files["target"]["objectives"]):
            objective = make_objective(**spec)
            try:
                require_same_spec(spec, as_read_back(objective_spec(objective)))
            except Mismatch as error:
                raise error.within(k).within("objectives") from error
            objectives.append(objective)
        require_names_apart(objectives)
    return objectives


def _make_network(model: AAM, objectives: list[Objective]) -> Network:
    """The network that a model was saved with, before its weights."""
    uncertainty = model.train_config.loss_weighting == "uncertainty"
    return Network(model.config, objectives, covariates=model.covariates, uncertainty=uncertainty)


class _Unfilled(TorchFunctionMode):
    """Tensors without memory are not filled at random: PyTorch would load its compiler for that, which takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in FILLING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _require_fitting_weights(model: AAM, objectives: list[Objective], weights: TensorFile) -> None:
    """Refuse weights (`RunError`) of other names, shapes or types than the network's, which is built without memory to compare.

    Heads of a user's own objectives are compared later: their `build` may not be made for that.
    """
    ours = all(type(o).__module__.startswith("aam_nb.") for o in objectives)
    with torch.device("meta"), _Unfilled():
        expected = kinds_of(_make_network(model, objectives if ours else []))
        if any(name.startswith(PRETRAINED) for name in weights.kinds):
            expected |= {f"{PRETRAINED}{name}": kind for name, kind in kinds_of(Encoder(model.config)).items()}
    if not ours:
        own = ("_heads.", "log_variance.")
        weights = replace(weights, kinds={k: v for k, v in weights.kinds.items() if not k.startswith(own)})
        expected = {k: v for k, v in expected.items() if not k.startswith(own)}
    weights.require(expected, place="the model in its config.json", remedy="Restore the folder as it was saved.")


def _read_history(folder: str | Path) -> pd.DataFrame:
    """The table of epochs; one that cannot be read is told and counts as none, since no prediction needs it."""
    file = stored(folder, "history.csv")
    if not file.exists():
        return pd.DataFrame()
    try:
        return read_history(file)
    except UserError as error:
        warnings.warn(
            f"The history of the training is left out. {error} Predictions do not depend on it.", Notice, stacklevel=3
        )
        return pd.DataFrame()


def _read_evaluation(model: AAM, folder: str | Path) -> None:
    """Give a model the evaluation that was saved with it, if there is one."""
    file = stored(folder, "evaluation.json")
    if not file.exists():
        return
    from aam_nb.evaluate.stored_evaluation import read_evaluation

    remedy = "Restore both from a copy, or delete evaluation.json and evaluate again."
    file, table = (replace(stored(folder, name), remedy=remedy) for name in ("evaluation.json", "predictions.csv"))
    model.evaluation = replace(read_evaluation(file, table, model.task), model=model)
