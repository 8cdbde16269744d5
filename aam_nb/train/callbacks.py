"""What goes on beside training: progress, early stopping, history, TensorBoard, and a watch over gradients and memory.

A callback of one's own is a class with the hooks that it needs, given to `fit` or `pretrain`::

    class WeightNorm(Callback):
        def on_epoch_end(self, trainer):
            trainer.rows[-1]["weight_norm"] = sum(p.norm().item() for p in trainer.network.parameters())
"""

from __future__ import annotations

import math
import re
import statistics
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import psutil
import torch
from torch import nn
from tqdm.auto import tqdm

from aam_nb.config import ConfigError, Notice, TrainConfig, UserError
from aam_nb.study.atomic import NotWrittenError, whole_file

MB = 2**20


HISTORY = Path("checkpoints") / "history.csv"
"""Where a run folder holds the history of the training under way; `save` writes the one of the run beside the weights."""


class MissingTensorBoardError(UserError, ImportError):
    """TensorBoard events are asked for, and the package that writes them is not installed."""


class MemoryWarning(Notice):
    """Memory is nearly full."""


class GradientWarning(Notice):
    """No step of an epoch had a gradient to learn from."""


class HistoryWarning(Notice):
    """The history cannot be written, or its column that chooses the best epoch holds no number."""


class Training(Protocol):
    """What a callback may read of the trainer. It may set `stop`, and add columns to the last of `rows`."""

    stop: bool
    """Set it to end training after the epoch."""

    @property
    def stage(self) -> str:
        """ "pretrain" or "fit"."""

    @property
    def config(self) -> TrainConfig:
        """How the model is trained."""

    @property
    def epoch(self) -> int:
        """Epochs done."""

    @property
    def step(self) -> int:
        """Steps done."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch."""

    @property
    def num_steps(self) -> int:
        """Steps in all epochs."""

    @property
    def rate(self) -> float:
        """Learning rate of the heads."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row per epoch done, oldest first: stage, epoch (from 1), learning_rate, seconds, losses, metrics."""

    @property
    def history(self) -> pd.DataFrame:
        """`rows` as a table."""

    @property
    def last(self) -> Mapping[str, Any]:
        """The last step: loss, norm (of the gradient, before clipping), seconds, samples."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    @property
    def folder(self) -> Path | None:
        """Where the run is written."""

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and writes for all."""

    def say(self, text: str) -> None:
        """Show a line beside the progress bar."""


class Callback:
    """Something to do at certain moments of a training; each hook does nothing unless it is written.

    After a resume `trainer.rows` and `trainer.step` are as they were, while the callback is new: what else it must remember goes into
    `state`.
    """

    @property
    def shows_progress(self) -> bool:
        """Whether it shows how far training is, so that no bar need do so."""
        return False

    def state(self) -> dict[str, Any]:
        """What a checkpoint is to remember, as JSON."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave; called after `on_fit_start`."""

    def on_fit_start(self, trainer: Training) -> None:
        """Before the first step, or the first after a resume."""

    def on_step_end(self, trainer: Training) -> None:
        """After each step; `trainer.last` tells of it."""

    def on_epoch_end(self, trainer: Training) -> None:
        """After each epoch and its validation; `trainer.rows[-1]` tells of it."""

    def on_fit_end(self, trainer: Training) -> None:
        """After the last step, also where training was stopped or broke."""


def default_callbacks(config: TrainConfig, folder: Path | None, *, bar: bool = True) -> list[Callback]:
    """What every training does beside: the watch first, so that what follows finds its columns.

    Parameters
    ----------
    config
        `best` and `patience`, `tensorboard`, `progress`.
    folder
        Where the run is written; without one there is no HISTORY.
    bar
        Whether to show a progress bar, where `progress` is on.
    """
    found: list[Callback] = [Watch(), EarlyStopping(config.patience, config.best)]
    if folder is not None:
        found.append(History())
    if config.tensorboard:
        found.append(TensorBoard())
    return [*found, Progress()] if bar else found


# -- the best epoch, and when to stop ---------------------------------------------------------------------------------


def best(rows: Sequence[Mapping[str, Any]], column: str) -> int:
    """Position of the best of a history's rows, the first of equals.

    Parameters
    ----------
    rows
        At least one.
    column
        Its smallest value is the best, or its largest with a plus before it: "+valid_target_r2". What is not a number is worse than
        any; where none is a number, the last row is as good as we know.

    Raises
    ------
    ConfigError
        The history has no such column, or it does not hold numbers.
    """
    name, sign = column.removeprefix("+"), -1.0 if column.startswith("+") else 1.0
    known = _numbers(rows[-1])
    if name not in known:
        raise ConfigError(
            f"best is {column!r}, and the history has no such column of numbers. It has {', '.join(known)}. Use "
            "`TrainConfig(best='valid_loss')`, or another of these, with a plus before it where more is better."
        )
    values = [sign * float(row.get(name, math.nan)) for row in rows]
    return min((i for i, v in enumerate(values) if not math.isnan(v)), key=values.__getitem__, default=len(rows) - 1)


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The columns of a row that hold numbers."""
    return {k: float(v) for k, v in row.items() if isinstance(v, Real) and not isinstance(v, bool)}


class EarlyStopping(Callback):
    """Ends training when the best epoch lies too far back.

    Parameters
    ----------
    patience
        Epochs after the best one.
    column
        As for `best`.
    """

    def __init__(self, patience: int, column: str = "valid_loss") -> None:
        self.patience, self.column = patience, column

    def on_fit_start(self, trainer: Training) -> None:
        if trainer.rows and self._over(trainer):  # killed between the last epoch and its end
            trainer.stop = True

    def on_epoch_end(self, trainer: Training) -> None:
        if self._over(trainer):
            trainer.stop = True
            i = best(trainer.rows, self.column)
            said = (
                f"Stopped after {len(trainer.rows)} epochs: {self.column.removeprefix('+')} was best in epoch {i + 1} and has not been "
                f"better in {self.patience} more."
            )
            if trainer.config.progress:
                trainer.say(said)

    def on_fit_end(self, trainer: Training) -> None:
        rows, name = trainer.rows, self.column.removeprefix("+")
        if rows and all(math.isnan(float(row.get(name, math.nan))) for row in rows):
            warnings.warn(
                f"{name} was not a number in any of {len(rows)} epochs. It should choose the best one, so the last was kept. Choose "
                "another column: `TrainConfig(best='valid_loss')`.",
                HistoryWarning,
                stacklevel=2,
            )

    def _over(self, trainer: Training) -> bool:
        return len(trainer.rows) - 1 - best(trainer.rows, self.column) >= self.patience


# -- what is shown and written ----------------------------------------------------------------------------------------


class Progress(Callback):
    """One bar over all steps, with the time left, in a terminal or a notebook; none where `TrainConfig.progress` is off."""

    bar: tqdm[Any] | None = None

    def on_fit_start(self, trainer: Training) -> None:
        self.bar = tqdm(
            total=trainer.num_steps,
            initial=trainer.step,
            desc=trainer.stage,
            unit="step",
            disable=not (trainer.config.progress and trainer.is_main),
        )

    def on_step_end(self, trainer: Training) -> None:
        if self.bar is not None:
            self._tell(trainer, trainer.last["loss"], refresh=False)
            self.bar.update(trainer.step - self.bar.n)

    def on_epoch_end(self, trainer: Training) -> None:
        self._tell(trainer, trainer.rows[-1]["train_loss"], refresh=True)

    def on_fit_end(self, trainer: Training) -> None:
        if self.bar is not None:
            self.bar.close()

    def _tell(self, trainer: Training, loss: float, *, refresh: bool) -> None:
        if self.bar is None or self.bar.disable:
            return
        epoch = min(trainer.config.epochs, (trainer.step - 1) // trainer.steps_per_epoch + 1)
        told = {"epoch": f"{epoch}/{trainer.config.epochs}", "loss": f"{loss:.3f}"}
        if trainer.rows:
            told["valid"] = f"{trainer.rows[-1]['valid_loss']:.3f}"
        self.bar.set_postfix(told, refresh=refresh)


class History(Callback):
    """Writes checkpoints/history.csv in the run folder after each epoch: the old file or the new one is there, never half of one.

    Where it cannot be written there is a warning, and training goes on.
    """

    def on_epoch_end(self, trainer: Training) -> None:
        if trainer.folder is None or not trainer.is_main:
            return
        try:
            with whole_file(trainer.folder / HISTORY) as fresh:
                trainer.history.to_csv(fresh, index=False)
        except NotWrittenError as error:
            warnings.warn(f"No history of epoch {len(trainer.rows)}: {error}", HistoryWarning, stacklevel=2)

    def on_fit_end(self, trainer: Training) -> None:
        if trainer.rows:
            self.on_epoch_end(trainer)  # with what later callbacks added to the last row


class TensorBoard(Callback):
    """Writes TensorBoard events to `tensorboard/STAGE` in the run folder.

    Loss, rate and gradient norm of each step are under step/, the columns of the history under epoch/; all against the steps done. What
    a resumed training repeats replaces what was written before.

    Raises
    ------
    MissingTensorBoardError, ConfigError
        At the start: the extra `track` is not installed; the run has no folder.
    """

    writer: Any = None

    def on_fit_start(self, trainer: Training) -> None:
        if not trainer.is_main:
            return
        if trainer.folder is None:
            raise ConfigError(
                "tensorboard is True, and the run has no folder. Events are written to one. Give `out='runs/age'`, or use "
                "`TrainConfig(tensorboard=False)`."
            )
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingTensorBoardError(
                "tensorboard is True, and the package tensorboard is not installed. Writing events needs it. Install it with "
                "`pip install 'aam-nb[track]'`."
            ) from error
        self.writer = SummaryWriter(trainer.folder / "tensorboard" / trainer.stage, purge_step=trainer.step + 1)

    def on_step_end(self, trainer: Training) -> None:
        if self.writer is not None:
            for name, value in {"rate": trainer.rate, **trainer.last}.items():
                if name in ("loss", "rate", "norm"):
                    self.writer.add_scalar(f"step/{name}", value, trainer.step)

    def on_epoch_end(self, trainer: Training) -> None:
        if self.writer is not None:
            for name, value in _numbers(trainer.rows[-1]).items():
                self.writer.add_scalar(f"epoch/{name}", value, trainer.step)
            self.writer.flush()

    def on_fit_end(self, trainer: Training) -> None:
        if self.writer is not None:
            self.writer.close()


# -- the watch --------------------------------------------------------------------------------------------------------


class Watch(Callback):
    """Keeps an eye on gradients and memory, in two columns of the history, and warns once of each.

    grad_norm is the median of the epoch's gradient norms before clipping.
    memory_mb is the most memory held so far: of the GPU by tensors, else of the machine by this process, in MiB.

    Parameters
    ----------
    full
        Share of the room there is from which memory counts as nearly full.
    """

    def __init__(self, *, full: float = 0.9) -> None:
        self.full = full
        self._norms: list[float] = []
        self._before, self._told = 0, set[type[Notice]]()

    def state(self) -> dict[str, Any]:
        return {"norms": self._norms}

    def load_state(self, state: dict[str, Any]) -> None:
        self._norms = [math.nan if norm is None else float(norm) for norm in state["norms"]]

    def on_fit_start(self, trainer: Training) -> None:
        self._norms.clear()
        self._told.clear()
        self._before = memory_of(_device(trainer)).peak

    def on_step_end(self, trainer: Training) -> None:
        self._norms.append(float(trainer.last["norm"]))
        if trainer.step & (trainer.step - 1) == 0:  # 1, 2, 4, 8, …: soon, and seldom
            self._look_at_memory(trainer)

    def on_epoch_end(self, trainer: Training) -> None:
        finite = [norm for norm in self._norms if math.isfinite(norm)]
        trainer.rows[-1]["grad_norm"] = statistics.median(finite) if finite else math.nan
        trainer.rows[-1]["memory_mb"] = self._look_at_memory(trainer).peak / MB
        if self._norms and not any(finite):
            what = "zero" if finite else "not a number"
            self._warn(
                GradientWarning,
                f"The gradient was {what} in all {len(self._norms)} steps of epoch {len(trainer.rows)}, so nothing was learned. Expected "
                f"a finite norm above 0. {self._cure(trainer.config, bool(finite))}",
            )
        self._norms.clear()

    def _look_at_memory(self, trainer: Training) -> Memory:
        found = memory_of(_device(trainer))
        held = (
            found.peak if found.peak > self._before else found.held
        )  # a peak from before this training says nothing of it
        if held > self.full * found.room:
            self._warn(
                MemoryWarning,
                f"Memory is {held / found.room:.0%} full ({held / 2**30:.1f} of {found.room / 2**30:.1f} GiB). When it runs out training "
                f"ends. Try one of these: {', '.join(_savings(trainer.config))}, or a smaller model (`ModelConfig(width=...)`).",
            )
        return found

    def _warn(self, kind: type[Notice], text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(text, kind, stacklevel=3)

    @staticmethod
    def _cure(config: TrainConfig, zero: bool) -> str:
        if config.precision == "fp16":
            return "fp16 has too narrow a range here: use `TrainConfig(precision='bf16')`, or 'fp32'."
        if not zero:
            return f"Lower the rate: `TrainConfig(learning_rate={config.learning_rate / 3:.1g})`."
        return "Look whether the targets vary, and what is frozen: `TrainConfig(freeze='none')`."


def _savings(config: TrainConfig) -> list[str]:
    """Settings that would take less memory than these."""
    found = [f"`max_tokens={max(1, config.max_tokens // 2)}`"]
    if config.accumulation:
        found.append(f"`accumulation={2 * config.accumulation}` (0 finds it)")
    if not config.checkpointing:
        found.append("`checkpointing=True`")
    if config.precision in ("fp32", "tf32"):
        found.append("`precision='bf16'`")
    return found


def _device(trainer: Training) -> torch.device:
    return next(trainer.network.parameters()).device


@dataclass(frozen=True)
class Memory:
    """Bytes that this process holds now, held at most so far, and could hold."""

    held: int
    peak: int
    room: int


def memory_of(device: torch.device) -> Memory:
    """Memory of a GPU (CUDA), or else of the machine.

    Room is all there is, less what other processes hold of it: of the GPU, or of the machine, within the limits that its container or
    job sets (cgroups).
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        others = total - free - torch.cuda.memory_reserved(device)
        peak = torch.cuda.max_memory_allocated(device)
        return Memory(held=torch.cuda.memory_allocated(device), peak=peak, room=total - max(0, others))
    held, machine = psutil.Process().memory_info().rss, psutil.virtual_memory()
    room = min([machine.available + held, machine.total, *_job_limits()])
    return Memory(held=held, peak=max(held, _peak_of_process()), room=room)


def _peak_of_process() -> int:
    """Most bytes of main memory that this process has held."""
    told = re.search(r"VmHWM:\s+(\d+) kB", _text_of(Path("/proc/self/status")))
    if told:
        return 1024 * int(told[1])
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # which, on Linux, also counts the process that started this one

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _job_limits(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Bytes that this process's control groups (of version 1 or 2), and those around them, let it hold."""
    for line in _text_of(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        folder = top / path.lstrip("/")
        for place in (folder, *folder.parents):
            text = _text_of(place / name).strip() if place.is_relative_to(top) else ""
            if text.isdigit():  # "max" is no limit
                yield int(text)


def _text_of(path: Path) -> str:
    """A file of the system's; empty where there is none, or none for us."""
    try:
        return path.read_text()
    except OSError:
        return ""
