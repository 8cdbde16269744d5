"""From a training to its checkpoint and back."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from aam_nb.config import ConfigError, Notice, to_dict
from aam_nb.study.atomic import NotWrittenError
from aam_nb.study.study import Study
from aam_nb.train import checkpoint
from aam_nb.train.checkpoint import LAST, State, prefixed, under
from aam_nb.train.run import RunError, as_json, digest, load_weights

NOT_COMPARED = ("progress", "device", "cache", "save_every", "tensorboard")
"""Settings that a resumed training may change: they move no weight."""


Trainer = Any
"""`aam_nb.train.trainer.Trainer`, which imports this module; modules form no cycle."""
DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError)
"""What a checkpoint that somebody changed may give rise to."""


class CheckpointWarning(Notice):
    """A checkpoint could not be written; training goes on."""


def about(trainer: Trainer, study: Study) -> dict[str, Any]:
    """What a checkpoint is of: data, model, objectives, covariates and settings, as JSON."""
    network = trainer.plain
    settings = {name: value for name, value in to_dict(trainer.config).items() if name not in NOT_COMPARED}
    found = {
        "stage": trainer.stage,
        "input_sha256": study.content_hash(),
        "model": repr(network.encoder.config),
        "objectives": {name: repr(o.spec()) for name, o in network.objectives.items()},
        "covariates": network.covariates.to_dict() if network.covariates else None,
        "start_sha256": digest(network, network.encoder.asv.reference_ids),
        "settings": settings,
    }
    plain: dict[str, Any] = json.loads(as_json(found))
    return plain


def save(trainer: Trainer, *, strict: bool = False) -> None:
    """Write the last checkpoint, where there is a folder; when that fails the one before stays, and training goes on, unless `strict`."""
    if trainer.folder is None or not trainer.is_main:
        return
    moments, groups = checkpoint.optimizer_state(trainer.raw_optimizer)
    generators, numbers = checkpoint.random_state()
    tensors = prefixed("network", trainer.plain.state_dict()) | prefixed("best", trainer.best)
    tensors |= prefixed("optimizer", moments) | prefixed("random", generators)
    if trainer.average is not None:
        tensors |= prefixed("average", trainer.average.state_dict())
    scaler = trainer.accelerator.scaler
    values = {
        "about": trainer.about,
        "ended": trainer.ended,
        "epoch": trainer.epoch,
        "step": trainer.step,
        "at_least": trainer.parts.at_least,
        "sums": dict(trainer.sums),
        "counts": dict(trainer.counts),
        "rows": trainer.rows,
        "optimizer": groups,
        "schedule": trainer.schedule.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
        "random": numbers,
        "callbacks": [callback.state() for callback in trainer.callbacks],
    }
    try:
        checkpoint.write_checkpoint(trainer.folder, tensors, values)
    except NotWrittenError as error:
        if strict:
            raise
        warnings.warn(
            f"No checkpoint at step {trainer.step}: {error} Training goes on.", CheckpointWarning, stacklevel=2
        )


def read(trainer: Trainer) -> State:
    """The checkpoint in the trainer's folder, refused unless it is of this training.

    Raises
    ------
    ConfigError, RunError
        There is no folder, or no sound checkpoint in it, or one of other data, another model or other settings.
    """
    if trainer.folder is None:
        raise ConfigError("resume is True without a folder. It goes on from a run's checkpoint. Give `out='runs/age'`.")
    tensors, values = checkpoint.read_checkpoint(trainer.folder)
    was = values.get("about")
    _require_same(was if isinstance(was, dict) else {}, trainer.about, trainer.folder)
    return tensors, values


def restore(trainer: Trainer, state: State) -> None:
    """Put a checkpoint back, so that the next step is the one that would have followed."""
    (tensors, values), folder = state, trainer.folder
    assert folder is not None
    load_weights(trainer.plain, under("network", tensors), folder)
    trainer.best = under("best", tensors)
    if trainer.best:
        load_weights(trainer.judged, trainer.best, folder)  # of the right names and shapes; what is judged comes next
        load_weights(trainer.plain, under("network", tensors), folder)
    try:
        if trainer.average is not None:
            trainer.average.load_state_dict(under("average", tensors))
        checkpoint.load_optimizer(trainer.raw_optimizer, under("optimizer", tensors), values["optimizer"])
        trainer.schedule.load_state_dict(values["schedule"])
        if trainer.accelerator.scaler is not None:
            trainer.accelerator.scaler.load_state_dict(values["scaler"])
        checkpoint.load_random_state(under("random", tensors), values["random"])
        trainer.epoch, trainer.step = _whole(values["epoch"]), _whole(values["step"])
        trainer.parts.at_least = _whole(values["at_least"], least=1)
        trainer.ended = trainer.stop = values["ended"] is True
        for kept, name in ((trainer.sums, "sums"), (trainer.counts, "counts")):
            kept.update({str(k): float(v) for k, v in values[name].items()})
        trainer.rows = [{k: float("nan") if v is None else v for k, v in row.items()} for row in values["rows"]]
        if not 0 <= trainer.step - trainer.epoch * trainer.steps_per_epoch <= trainer.steps_per_epoch:
            raise ValueError(f"step {trainer.step} of epoch {trainer.epoch}")
        if len(trainer.rows) != trainer.epoch or bool(trainer.best) != bool(trainer.rows):
            raise ValueError(f"{len(trainer.rows)} rows of history at epoch {trainer.epoch}")
        if trainer.schedule.state_dict()["step"] != trainer.step:
            raise ValueError(f"a schedule at step {trainer.schedule.state_dict()['step']}, not {trainer.step}")
    except DAMAGE as error:
        raise _damaged(folder, error) from error


def restore_callbacks(trainer: Trainer, state: State) -> None:
    """Put back what callbacks had to remember; those of the user that came since have nothing to."""
    assert trainer.folder is not None
    try:
        for callback, remembered in zip(trainer.callbacks, state[1]["callbacks"], strict=False):
            callback.load_state(remembered)
    except DAMAGE as error:
        raise _damaged(trainer.folder, error) from error


def _damaged(folder: Path, error: Exception) -> RunError:
    return RunError(
        f"The checkpoint {folder / LAST} is not whole ({type(error).__name__}: {error}). Expected what training wrote. Delete it and start "
        "anew."
    )


def _whole(value: Any, *, least: int = 0) -> int:
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{value!r} in place of a whole number")
    return value


def _require_same(was: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with other data, another model or other settings than the checkpoint's."""
    differ = [f"{k} was {was.get(k)!r} and is {now[k]!r}" for k in now if k != "settings" and was.get(k) != now[k]]
    settings = was.get("settings")
    before = settings if isinstance(settings, dict) else {}
    differ += [f"{k} was {before.get(k)!r} and is {v!r}" for k, v in now["settings"].items() if before.get(k) != v]
    if differ:
        shown = "; ".join(d if len(d) < 300 else f"{d[:300]}…" for d in differ[:3])
        raise RunError(
            f"The checkpoint in {folder} is of another training: {shown}. Expected the same data, model and settings. Give those, or "
            "start anew in another folder."
        )
