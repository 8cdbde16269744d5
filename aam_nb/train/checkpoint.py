"""The last checkpoint of a training: written, read, and put back, so that the training continues as if it had never stopped.

It is safetensors and JSON: reading it runs no code.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from safetensors.torch import save
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from aam_nb.config import ConfigError, Notice, TrainConfig, cut_repr, to_dict
from aam_nb.config.stored import StoredFile
from aam_nb.model.module import Network
from aam_nb.study.atomic import NotWrittenError, recover_folder, whole_folder
from aam_nb.study.study import Study
from aam_nb.train.callbacks import Callback
from aam_nb.train.checkpoint_schema import CHECKPOINT, FIRST, require_same_groups
from aam_nb.train.machine import load_random_state, random_state
from aam_nb.train.microbatches import MicroBatches
from aam_nb.train.optim import Schedule
from aam_nb.train.run import RunError, as_json, as_read_back, digest, load_weights, refuse_links
from aam_nb.train.tensors import TensorFile

CHECKPOINT_VERSION = 1
"""Raised when a checkpoint changes so that older code cannot read it."""
ENDS = ("json", "safetensors")
"""Of the two files of a checkpoint."""
LAST = Path("checkpoints") / "last"
"""Where a run folder holds it."""
State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and what goes to JSON."""
IN_WORDS = {
    "stage": "pre-training and fit are not the same",
    "input_sha256": "the samples, ASVs, counts or the tree are other ones",
    "model": "the shape of the network is another one",
    "objectives": "what is predicted, its classes or its settings are other ones",
    "covariates": "the covariates, or their values in training, are other ones",
    "start_sha256": "the weights that training starts from are other ones",
}
"""What of a training differs, for messages."""
NOT_COMPARED = ("progress", "device", "cache", "save_every", "tensorboard")
"""Settings that a resumed training may change: no weight depends on them."""
DAMAGE_ERRORS = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError)
"""What a checkpoint that somebody changed may raise."""


class CheckpointWarning(Notice):
    """A checkpoint could not be written; training continues."""


class Resumable(Protocol):
    """What a checkpoint takes from a trainer, and puts back into it. See `Trainer`, which has all of it and is on top of this module."""

    config: TrainConfig
    stage: str
    folder: Path | None
    is_main: bool
    accelerator: Accelerator
    average: AveragedModel | None
    raw_optimizer: torch.optim.Optimizer
    schedule: Schedule
    micro_batches: MicroBatches
    callbacks: list[Callback]
    steps_per_epoch: int
    epoch: int
    step: int
    rows: list[dict[str, Any]]
    best: dict[str, Tensor]
    sums: dict[str, float]
    counts: dict[str, float]
    identity: dict[str, Any]
    stop: bool
    ended: bool

    @property
    def bare_network(self) -> Network:
        """The network that is trained, without wrappers."""

    @property
    def validated_network(self) -> Network:
        """The network whose best epoch is kept."""


# -- a training and its checkpoint ----------------------------------------------------------------------------------------


def identify(trainer: Resumable, study: Study) -> dict[str, Any]:
    """What training a checkpoint belongs to: data, model, objectives, covariates, start and settings, as JSON."""
    network = trainer.bare_network
    settings = {name: value for name, value in to_dict(trainer.config).items() if name not in NOT_COMPARED}
    identity = {
        "stage": trainer.stage,
        "input_sha256": study.content_hash(),
        "model": repr(network.encoder.config),
        "objectives": {name: repr(o.spec()) for name, o in network.objectives.items()},
        "covariates": network.covariates.to_dict() if network.covariates else None,
        "start_sha256": digest(network, network.encoder.asv.reference_ids),
        "settings": settings,
    }
    as_saved: dict[str, Any] = as_read_back(identity)
    return as_saved


def save_checkpoint(trainer: Resumable, *, strict: bool = False) -> None:
    """Write the last checkpoint, where there is a folder.

    Where that fails, the one before stays, and training continues with a warning; with `strict` the error is raised.
    """
    if trainer.folder is None or not trainer.is_main:
        return
    # Tensors: weights, the best weights so far, moments of the optimizer, random number generators.
    moments, groups = optimizer_state(trainer.raw_optimizer)
    generators, generator_values = random_state()
    tensors = add_prefix("network", trainer.bare_network.state_dict()) | add_prefix("best", trainer.best)
    tensors |= add_prefix("optimizer", moments) | add_prefix("random", generators)
    if trainer.average is not None:
        tensors |= add_prefix("average", trainer.average.state_dict())
    # Values for JSON: where training is, and what it measured.
    scaler = trainer.accelerator.scaler
    values = {
        "about": trainer.identity,
        "ended": trainer.ended,
        "epoch": trainer.epoch,
        "step": trainer.step,
        "at_least": trainer.micro_batches.at_least,
        "sums": dict(trainer.sums),
        "counts": dict(trainer.counts),
        "rows": trainer.rows,
        "optimizer": groups,
        "schedule": trainer.schedule.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
        "random": generator_values,
        "callbacks": [callback.state() for callback in trainer.callbacks],
    }
    try:
        write_checkpoint(trainer.folder, tensors, values)
    except NotWrittenError as error:
        if strict:
            raise
        warnings.warn(
            f"No checkpoint at step {trainer.step}: {error} Training continues.", CheckpointWarning, stacklevel=2
        )


def read_own_checkpoint(trainer: Resumable) -> State:
    """The checkpoint in the trainer's folder, refused unless it belongs to this training.

    Raises
    ------
    ConfigError, RunError
        There is no folder, or no sound checkpoint in it, or one of other data, another model or other settings.
    """
    if trainer.folder is None:
        raise ConfigError(
            "resume is True without a folder. It continues from a run's checkpoint. Give `out='runs/age'`."
        )
    tensors, values = read_checkpoint(trainer.folder)
    saved = values.get("about")
    _require_same(saved if isinstance(saved, dict) else {}, trainer.identity, trainer.folder)
    return tensors, values


def restore(trainer: Resumable, state: State) -> None:
    """Put a checkpoint back, so that the next step is the one that would have followed."""
    (tensors, values), folder = state, trainer.folder
    assert folder is not None
    # Weights, and the best ones so far.
    load_weights(trainer.bare_network, remove_prefix("network", tensors), folder)
    trainer.best = remove_prefix("best", tensors)
    if trainer.best:
        load_weights(trainer.validated_network, trainer.best, folder)  # this only checks their names and shapes
        load_weights(trainer.bare_network, remove_prefix("network", tensors), folder)
    try:
        # Averages, moments, rates, random numbers.
        if trainer.average is not None:
            trainer.average.load_state_dict(remove_prefix("average", tensors))
        load_optimizer(trainer.raw_optimizer, remove_prefix("optimizer", tensors), values["optimizer"])
        trainer.schedule.load_state_dict(values["schedule"])
        if trainer.accelerator.scaler is not None:
            trainer.accelerator.scaler.load_state_dict(values["scaler"])
        load_random_state(remove_prefix("random", tensors), values["random"])
        # Where training was, and what it had measured.
        trainer.epoch, trainer.step = _whole_number(values["epoch"]), _whole_number(values["step"])
        trainer.micro_batches.at_least = _whole_number(values["at_least"], least=1)
        trainer.ended = trainer.stop = values["ended"] is True
        for totals, name in ((trainer.sums, "sums"), (trainer.counts, "counts")):
            totals.update({str(k): float(v) for k, v in values[name].items()})
        trainer.rows = [{k: float("nan") if v is None else v for k, v in row.items()} for row in values["rows"]]
        _require_consistent(trainer)
    except DAMAGE_ERRORS as error:
        raise _damage_error(folder, error) from error


def _require_consistent(trainer: Resumable) -> None:
    """Refuse a step, an epoch, a history and a schedule that do not fit together (`ValueError`)."""
    if not 0 <= trainer.step - trainer.epoch * trainer.steps_per_epoch <= trainer.steps_per_epoch:
        raise ValueError(f"step {trainer.step} of epoch {trainer.epoch}")
    if len(trainer.rows) != trainer.epoch or bool(trainer.best) != bool(trainer.rows):
        raise ValueError(f"{len(trainer.rows)} rows of history at epoch {trainer.epoch}")
    if trainer.schedule.state_dict()["step"] != trainer.step:
        raise ValueError(f"a schedule at step {trainer.schedule.state_dict()['step']}, not {trainer.step}")


def restore_callbacks(callbacks: Sequence[Callback], state: State, folder: Path | None) -> None:
    """Put back what callbacks had to remember; callbacks that the user added since have nothing."""
    assert folder is not None
    try:
        for callback, remembered in zip(callbacks, state[1]["callbacks"], strict=False):
            callback.load_state(remembered)
    except DAMAGE_ERRORS as error:
        raise _damage_error(folder, error) from error


def _damage_error(folder: Path, error: Exception) -> RunError:
    return RunError(
        f"The checkpoint {folder / LAST} is damaged ({type(error).__name__}: {error}). Expected what training wrote. Delete it and start "
        "again."
    )


def _whole_number(value: Any, *, least: int = 0) -> int:
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{value!r} in place of a whole number")
    return value


def _require_same(saved: dict[str, Any], current: dict[str, Any], folder: Path) -> None:
    """Refuse to continue with other data, another model or other settings than the checkpoint's."""
    different = [k for k in current if k != "settings" and saved.get(k) != current[k]]
    changes = [IN_WORDS.get(k, k) for k in different]
    settings = saved.get("settings")
    before = settings if isinstance(settings, dict) else {}
    changes += [
        f"the setting {k} was {cut_repr(before.get(k))} and is {cut_repr(v)}"
        for k, v in current["settings"].items()
        if before.get(k) != v
    ]
    if changes:
        listed = "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
        raise RunError(
            f"The checkpoint in {folder} is of another training: {listed}. Expected the same data, model and settings. Give those, or "
            "start again in another folder."
        )


# -- the files ------------------------------------------------------------------------------------------------------------


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write `folder/checkpoints/last`, complete or not at all; the one before stays until then.

    Raises
    ------
    NotWrittenError
        The place cannot be written to, or is full.
    """
    on_cpu = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    refuse_links(folder)
    with whole_folder(folder / LAST, [f"state.{end}" for end in ENDS]) as fresh:
        packed = save(on_cpu)
        (fresh / "state.safetensors").write_bytes(packed)
        header = {"checkpoint_version": CHECKPOINT_VERSION, "sha256": hashlib.sha256(packed).hexdigest()}
        text = as_json(header | {"values_sha256": _digest_values(values)} | values)
        (fresh / "state.json").write_text(text, encoding="utf-8")


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder holds a checkpoint; one that a kill left under a temporary name is renamed back first."""
    recover_folder(folder / LAST, own=True)
    return (folder / LAST / "state.json").is_file()


def read_checkpoint(folder: Path) -> State:
    """The tensors and values that `write_checkpoint` wrote.

    Raises
    ------
    RunError
        There is none, it is damaged or of a newer format, or it holds numbers that are not finite.
    """
    if not has_checkpoint(folder):
        raise RunError(
            f"{folder} holds no checkpoint to continue from. Expected {LAST} in it. Start again without `resume=True` (`aam-nb fit`)."
        )
    path = folder / LAST
    expected, remedy = "what training wrote", "Delete it and start again."
    files = [StoredFile(path=path / f"state.{end}", error=RunError, expected=expected, remedy=remedy) for end in ENDS]
    version = files[0].read_json(FIRST)["checkpoint_version"]
    if version > CHECKPOINT_VERSION:
        raise RunError(
            f"The checkpoint {path} has format version {version!r}. This aam_nb reads up to {CHECKPOINT_VERSION}. Upgrade with "
            "`pip install -U aam-nb`."
        )
    values = files[0].read_json(CHECKPOINT)
    packed = TensorFile.open(files[1])
    if values.pop("sha256") != packed.digest():
        raise files[1].damage("is not the one that state.json was written with")
    written = values.pop("values_sha256", None)  # not in checkpoints of earlier versions
    if written is not None and written != _digest_values(
        {k: v for k, v in values.items() if k != "checkpoint_version"}
    ):
        raise files[0].damage("was changed since it was written")
    return packed.load(), values


def _digest_values(values: dict[str, Any]) -> str:
    return hashlib.sha256(as_json(values).encode()).hexdigest()


def add_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each with `PREFIX.` before its name."""
    return {f"{prefix}.{name}": t for name, t in tensors.items()}


def remove_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `PREFIX.`, without it."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def optimizer_state(optimizer: torch.optim.Optimizer) -> State:
    """Moments as tensors named `INDEX.NAME`, and the settings of the groups."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{index}.{name}"] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Put back what `optimizer_state` gave."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **values["numbers"]}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    require_same_groups(values["groups"], optimizer.state_dict()["param_groups"])
    groups = [
        {name: tuple(v) if isinstance(v, list) and name == "betas" else v for name, v in group.items()}
        for group in values["groups"]
    ]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, moments in state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.dtype not in (torch.float32, parameters[index].dtype):
                raise ValueError(f"{name} of weight {index} is {value.dtype}, expected {parameters[index].dtype}")
            if isinstance(value, Tensor) and value.ndim and value.shape != parameters[index].shape:
                raise ValueError(
                    f"{name} of weight {index} is {tuple(value.shape)}, expected {tuple(parameters[index].shape)}"
                )
    optimizer.load_state_dict({"state": state, "param_groups": groups})
