"""What happens beside training: progress, early stopping, history, TensorBoard, and a watch over gradients and memory.

A callback of one's own is a class with the hooks that it needs, given to `fit` or `pretrain`::

    class WeightNorm(Callback):
        def on_epoch_end(self, trainer):
            trainer.rows[-1]["weight_norm"] = sum(p.norm().item() for p in trainer.network.parameters())
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from aam_nb.config import (
    ConfigError,
    Notice,
    TrainConfig,
    UserError,
    format_score,
)
from aam_nb.study.atomic import NotWrittenError
from aam_nb.study.csv_files import write_csv
from aam_nb.train.machine import Memory, memory_of

MB = 2**20
HISTORY = Path("checkpoints") / "history.csv"
"""Where a run folder holds the history while training runs; `save` writes the run's own beside the weights."""


class MissingTensorBoardError(UserError, ImportError):
    """TensorBoard events are wanted, and the package that writes them is not installed."""


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
        """Whether this process is the one that prints and writes."""

    def say(self, text: str) -> None:
        """Show a line beside the progress bar."""


class Callback:
    """Something to do at certain moments of a training: subclass it and write the hooks that you need; the others do nothing.

    After a resume `trainer.rows` and `trainer.step` are as they were, while the callback is new: what else it must remember goes into
    `state`.

    Examples
    --------
    >>> import aam_nb as aam
    >>> class PrintEpochs(aam.Callback):
    ...     def on_epoch_end(self, trainer):
    ...         print(f"epoch {trainer.epoch}, step {trainer.step} of {trainer.num_steps}")
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=2, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1)).fit(study, target="age", config=config, callbacks=[PrintEpochs()])
    epoch 1, step 2 of 4
    epoch 2, step 4 of 4
    """

    @property
    def shows_progress(self) -> bool:
        """Whether it shows how far training is, so that no progress bar is needed."""
        return False

    def state(self) -> dict[str, Any]:
        """What a checkpoint is to remember, as JSON."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave; called after `on_fit_start`."""

    def on_fit_start(self, trainer: Training) -> None:
        """Before the first step, or the first after a resume."""

    def on_step_end(self, trainer: Training) -> None:
        """After each step, which `trainer.last` describes."""

    def on_epoch_end(self, trainer: Training) -> None:
        """After each epoch and its validation, which `trainer.rows[-1]` describes."""

    def on_fit_end(self, trainer: Training) -> None:
        """After the last step, also where training was stopped or failed."""


def default_callbacks(config: TrainConfig, folder: Path | None, *, bar: bool = True) -> list[Callback]:
    """The callbacks of every training: the watch first, so that those after it find its columns.

    Parameters
    ----------
    config
        `best` and `patience`, `tensorboard`, `progress`.
    folder
        Where the run is written; without one there is no HISTORY.
    bar
        Whether to show a progress bar, where `progress` is on.
    """
    callbacks: list[Callback] = [Watch(), EarlyStopping(config.patience, config.best)]
    if folder is not None:
        callbacks.append(History())
    if config.tensorboard:
        callbacks.append(TensorBoard())
    return [*callbacks, Progress()] if bar else callbacks


# -- the best epoch, and when to stop ---------------------------------------------------------------------------------


def best_row(rows: Sequence[Mapping[str, Any]], column: str) -> int:
    """Position of the best of a history's rows, the first of equals.

    Parameters
    ----------
    rows
        At least one.
    column
        Its smallest value is the best, or its largest with a plus before it: "+valid_target_r2". What is not a number is worse than
        any number; where no row has one, the last row is chosen.

    Raises
    ------
    ConfigError
        The history has no such column, or it does not hold numbers.
    """
    name, sign = column.removeprefix("+"), -1.0 if column.startswith("+") else 1.0
    numbers = _numbers(rows[-1])
    if name not in numbers:
        raise ConfigError(
            f"best is {column!r}, and the history has no such column of numbers. It has {', '.join(numbers)}. Use "
            "`TrainConfig(best='valid_loss')`, or another of these, with a plus before it where more is better."
        )
    values = [sign * float(row.get(name, math.nan)) for row in rows]
    return min((i for i, v in enumerate(values) if not math.isnan(v)), key=values.__getitem__, default=len(rows) - 1)


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The columns of a row that hold numbers."""
    return {k: float(v) for k, v in row.items() if isinstance(v, Real) and not isinstance(v, bool)}


class EarlyStopping(Callback):
    """Ends training when there has been no better epoch for too long.

    Parameters
    ----------
    patience
        Epochs after the best one.
    column
        As for `best_row`.
    """

    def __init__(self, patience: int, column: str = "valid_loss") -> None:
        self.patience, self.column = patience, column

    def on_fit_start(self, trainer: Training) -> None:
        if trainer.rows and self._is_over(trainer):  # killed between the last epoch and its end
            trainer.stop = True

    def on_epoch_end(self, trainer: Training) -> None:
        if self._is_over(trainer):
            trainer.stop = True
            i = best_row(trainer.rows, self.column)
            if trainer.config.progress:
                column, patience = self.column.removeprefix("+"), self.patience
                trainer.say(
                    f"Stopped early, after epoch {len(trainer.rows)}: {column} was best in epoch {i + 1} (patience={patience})."
                )

    def on_fit_end(self, trainer: Training) -> None:
        rows, name = trainer.rows, self.column.removeprefix("+")
        if rows and all(math.isnan(float(row.get(name, math.nan))) for row in rows):
            warnings.warn(
                f"{name} was not a number in any of {len(rows)} epochs. It should choose the best one, so the last was kept. Choose "
                "another column: `TrainConfig(best='valid_loss')`.",
                HistoryWarning,
                stacklevel=2,
            )

    def _is_over(self, trainer: Training) -> bool:
        return len(trainer.rows) - 1 - best_row(trainer.rows, self.column) >= self.patience


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
            self._show(trainer, trainer.last["loss"], refresh=False)
            self.bar.update(trainer.step - self.bar.n)

    def on_epoch_end(self, trainer: Training) -> None:
        self._show(trainer, trainer.rows[-1]["train_loss"], refresh=True)

    def on_fit_end(self, trainer: Training) -> None:
        if self.bar is not None:
            self.bar.close()

    def _show(self, trainer: Training, loss: float, *, refresh: bool) -> None:
        if self.bar is None or self.bar.disable:
            return
        epoch = min(trainer.config.epochs, (trainer.step - 1) // trainer.steps_per_epoch + 1)
        labels = {"epoch": f"{epoch}/{trainer.config.epochs}", "loss": format_score(loss)}
        if trainer.rows:
            labels["valid"] = format_score(trainer.rows[-1]["valid_loss"])
        self.bar.set_postfix(labels, refresh=refresh)


class History(Callback):
    """Writes checkpoints/history.csv in the run folder after each epoch: the old file or the new one is there, never half of one.

    Where it cannot be written there is a warning, and training goes on.
    """

    def on_epoch_end(self, trainer: Training) -> None:
        if trainer.folder is None or not trainer.is_main:
            return
        try:
            write_csv(trainer.history, trainer.folder / HISTORY, index=False)
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
    """Watches gradients and memory: adds two columns to the history, and warns once about each.

    grad_norm is the median of the epoch's gradient norms before clipping.
    memory_mb is the most memory used so far: of the GPU by tensors, else of the machine by this process, in MiB.

    Parameters
    ----------
    full
        Share of the memory that can be used from which it counts as nearly full.
    """

    def __init__(self, *, full: float = 0.9) -> None:
        self.full = full
        self._norms: list[float] = []
        self._peak_before, self._warned = 0, set[type[Notice]]()

    def state(self) -> dict[str, Any]:
        return {"norms": self._norms}

    def load_state(self, state: dict[str, Any]) -> None:
        self._norms = [math.nan if norm is None else float(norm) for norm in state["norms"]]

    def on_fit_start(self, trainer: Training) -> None:
        self._norms.clear()
        self._warned.clear()
        self._peak_before = memory_of(_device(trainer)).peak

    def on_step_end(self, trainer: Training) -> None:
        self._norms.append(float(trainer.last["norm"]))
        if trainer.step & (trainer.step - 1) == 0:  # 1, 2, 4, 8, …: early, and rarely
            self._check_memory(trainer)

    def on_epoch_end(self, trainer: Training) -> None:
        finite = [norm for norm in self._norms if math.isfinite(norm)]
        trainer.rows[-1]["grad_norm"] = statistics.median(finite) if finite else math.nan
        trainer.rows[-1]["memory_mb"] = self._check_memory(trainer).peak / MB
        if self._norms and not any(finite):
            size = "zero" if finite else "not a number"
            self._warn(
                GradientWarning,
                f"The gradient was {size} in all {len(self._norms)} steps of epoch {len(trainer.rows)}, so nothing was learned. Expected "
                f"a finite norm above 0. {_gradient_advice(trainer.config, is_zero=bool(finite))}",
            )
        self._norms.clear()

    def _check_memory(self, trainer: Training) -> Memory:
        memory = memory_of(_device(trainer))
        # A peak from before this training does not count.
        used = memory.peak if memory.peak > self._peak_before else memory.used
        if used > self.full * memory.limit:
            self._warn(
                MemoryWarning,
                f"Memory is {used / memory.limit:.0%} full ({used / 2**30:.1f} of {memory.limit / 2**30:.1f} GiB). When it runs out, "
                f"training ends. Try one of these: {', '.join(_memory_savings(trainer.config))}, or a smaller model "
                "(`ModelConfig(width=...)`).",
            )
        return memory

    def _warn(self, kind: type[Notice], text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(text, kind, stacklevel=3)


def _gradient_advice(config: TrainConfig, *, is_zero: bool) -> str:
    """What to change where gradients are zero, or are not numbers."""
    if config.precision == "fp16":
        return "The range of fp16 is too narrow here: use `TrainConfig(precision='bf16')`, or 'fp32'."
    if not is_zero:
        return f"Lower the rate: `TrainConfig(learning_rate={config.learning_rate / 3:.1g})`."
    return "Check that the targets vary, and what is frozen: `TrainConfig(freeze='none')`."


def _memory_savings(config: TrainConfig) -> list[str]:
    """Settings that would use less memory than these."""
    settings = [f"`max_tokens={max(1, config.max_tokens // 2)}`"]
    if config.accumulation:
        settings.append(f"`accumulation={2 * config.accumulation}` (0 finds a number that fits)")
    if not config.checkpointing:
        settings.append("`checkpointing=True`")
    if config.precision in ("fp32", "tf32"):
        settings.append("`precision='bf16'`")
    return settings


def _device(trainer: Training) -> torch.device:
    return next(trainer.network.parameters()).device
