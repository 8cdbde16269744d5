"""The learning rate finder: a short training with a rising rate."""

from __future__ import annotations

import html
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.config import ConfigError, TrainConfig, UserError, is_out_of_memory
from aam_nb.model.module import Network
from aam_nb.model.objectives import Task
from aam_nb.study.study import Study
from aam_nb.train.callbacks import Callback
from aam_nb.train.trainer import Trainer, TrainingError

SMALLEST, LARGEST = 1e-6, 1.0
"""The first and the last rate."""
SMOOTHING = 0.9
"""Decay of the moving average of the loss."""
BEYOND = 4.0
"""The search ends where the loss has grown to this many times its smallest."""


class RateSearchError(UserError, RuntimeError):
    """The loss does not fall at any rate."""


@dataclass(frozen=True, eq=False)
class RateSearch:
    """Loss along a rising learning rate.

    Parameters
    ----------
    curve
        One row per step: `learning_rate`, `loss`, `smoothed`.
    suggestion
        A tenth of the rate at which the smoothed loss is lowest.
    """

    curve: pd.DataFrame
    suggestion: float

    def to_frame(self) -> pd.DataFrame:
        """The curve."""
        return self.curve

    def plot(self, **artist_kw: Any) -> Any:
        """The curve and the suggestion; a matplotlib Axes."""
        from aam_nb.show.plots.training import learning_rate

        return learning_rate(self, **artist_kw)

    def __repr__(self) -> str:
        return f"RateSearch({len(self.curve)} steps up to {self.curve['learning_rate'].iloc[-1]:.1e}, suggests {self.suggestion:.1e})"

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(repr(self))}</b>"


class _SearchEnd(Exception):
    """The search is over: all rates were tried, or the loss diverges."""


class _RisingRate(Callback):
    """Raises the rate after every step, and stops where the loss diverges."""

    def __init__(self, num_steps: int) -> None:
        self.rates = np.geomspace(SMALLEST, LARGEST, num_steps)
        self.losses: list[float] = []
        self.average, self.lowest = 0.0, np.inf

    def on_fit_start(self, trainer: Any) -> None:
        self._set_rate(trainer, 0)

    def on_step_end(self, trainer: Any) -> None:
        loss = float(trainer.last["loss"])
        self.losses.append(loss)
        self.average = SMOOTHING * self.average + (1 - SMOOTHING) * loss
        smoothed = self.average / (1 - SMOOTHING ** len(self.losses))
        self.lowest = min(self.lowest, smoothed)
        if len(self.losses) == len(self.rates) or smoothed > BEYOND * self.lowest:
            raise _SearchEnd
        self._set_rate(trainer, len(self.losses))

    def _set_rate(self, trainer: Any, k: int) -> None:
        first = trainer.raw_optimizer.param_groups[0]["initial_lr"]
        for group in trainer.raw_optimizer.param_groups:
            group["lr"] = self.rates[k] * group["initial_lr"] / first


def find_rate(network: Network, study: Study, config: TrainConfig, *, num_steps: int = 100) -> RateSearch:
    """Train a network with a rising rate until its loss diverges; see `AAM.find_learning_rate`.

    Raises
    ------
    RateSearchError
        The loss does not fall.
    """
    if not isinstance(num_steps, int) or num_steps < 10:
        raise ConfigError(f"num_steps is {num_steps!r}. Expected at least 10. Try `num_steps=100`.")
    rising = _RisingRate(num_steps)
    unscheduled = replace(
        config, schedule="constant", warmup=0.0, epochs=num_steps, ema=0.0, patience=num_steps, tensorboard=False
    )
    stage = "fit" if any(isinstance(o, Task) for o in network.objectives.values()) else "pretrain"
    trainer = Trainer(network, study, unscheduled, stage=stage, callbacks=[rising])
    try:
        with suppress(_SearchEnd):
            trainer.run()
    except TrainingError as error:  # a loss that is not a number has diverged
        if error.__cause__ is not None and is_out_of_memory(error.__cause__):
            raise
    losses = np.array(rising.losses)
    smoothed = pd.Series(losses).ewm(alpha=1 - SMOOTHING).mean().to_numpy()
    curve = pd.DataFrame({"learning_rate": rising.rates[: len(losses)], "loss": losses, "smoothed": smoothed})
    if len(curve) < 5 or smoothed.min() >= smoothed[0]:
        raise RateSearchError(
            f"The loss does not fall at any of {len(curve)} rates from {SMALLEST:g} upwards. Expected it to. Give "
            f"more steps: `num_steps={4 * num_steps}`, or check the target."
        )
    return RateSearch(curve=curve, suggestion=float(curve["learning_rate"].iloc[int(smoothed.argmin())]) / 10)
