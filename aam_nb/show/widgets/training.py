"""`aam.widgets.training()`: live curves while a model trains.

One HTML display, updated in place at most twice a second. Unlike a widget it needs no kernel to be seen again: what it showed last is
saved with the notebook.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any

import pandas as pd
import traitlets
from IPython.display import DisplayHandle, display
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from aam_nb.config import format_number
from aam_nb.config.spreadsheet import format_csv
from aam_nb.show import plots
from aam_nb.show.widgets.twin import Twin, draw_png, in_notebook
from aam_nb.train.callbacks import Callback, Training, best_row

THROTTLE = 0.5
"""Seconds between two updates."""
LAST = 5
"""Epochs in the table below the curves."""
WIDTH, HEIGHT = 200, 105
"""Pixels of one curve's axes."""
STAGES = {"pretrain": "Pre-training", "fit": "Fine-tuning"}
COLORS = {"train": plots.PALETTE[0], "valid": plots.PALETTE[4]}


@dataclass(frozen=True)
class Line:
    """A curve in pixels, as the `points` of an SVG polyline, and its last value."""

    points: str
    last: float
    color: str
    dashed: bool


@dataclass(frozen=True)
class Chart:
    """One quantity by epoch: what it is, its lines, and the ends of its axes."""

    name: str
    lines: dict[str, Line]
    low: float
    high: float
    best: tuple[float, float] | None


class TrainingMonitor(Twin, Callback, traitlets.HasTraits):
    """See `training`. Traits, none of which changes the training: `stage`, `step` of `num_steps`, `epoch` of `epochs`,
    `samples_per_second`, `seconds_left`, `best_epoch` (0 before the first), `status` ("waiting", "running", "done", "interrupted") and
    `history`, the rows of the stage as a table."""

    title = "Training"

    stage = traitlets.Unicode()
    status = traitlets.Enum(["waiting", "running", "done", "interrupted"], default_value="waiting")
    step = traitlets.Int()
    num_steps = traitlets.Int()
    epoch = traitlets.Int()
    epochs = traitlets.Int()
    samples_per_second = traitlets.Float()
    seconds_left = traitlets.Float()
    best_epoch = traitlets.Int()
    history = traitlets.Instance(pd.DataFrame, args=())

    def __init__(self) -> None:
        super().__init__()
        self._handle: DisplayHandle | None = None
        self._last_shown = self._started = 0.0
        self._first_step = self._samples = 0
        self._loss = float("nan")

    # -- what the trainer calls -----------------------------------------------------------------------------------------

    @property
    def shows_progress(self) -> bool:
        """In a notebook; elsewhere the progress bar stays."""
        return in_notebook()

    def on_fit_start(self, trainer: Training) -> None:
        if not trainer.is_main:
            return
        self._started, self._last_shown = time.monotonic(), 0.0
        self._first_step, self._samples, self._loss = trainer.step, 0, float("nan")
        self._read_state(trainer)
        self.status = "running"
        if in_notebook():
            self._handle = display(self, display_id=True)

    def on_step_end(self, trainer: Training) -> None:
        self._samples += int(trainer.last.get("samples", 0))
        self._loss = float(trainer.last["loss"])
        self._show_if_due(trainer)

    def on_epoch_end(self, trainer: Training) -> None:
        self._show_if_due(trainer)

    def on_fit_end(self, trainer: Training) -> None:
        if self.status == "waiting":
            return
        self._read_state(trainer)
        self.status = "done" if trainer.stop or trainer.step >= trainer.num_steps else "interrupted"
        self._show()

    def _show_if_due(self, trainer: Training) -> None:
        """Read and show the state of the training, unless that was done a moment ago."""
        if self.status == "running" and time.monotonic() - self._last_shown >= THROTTLE:
            self._read_state(trainer)
            self._show()

    def _read_state(self, trainer: Training) -> None:
        spent, done = time.monotonic() - self._started, trainer.step - self._first_step
        with self.hold_trait_notifications():
            self.stage, self.step, self.num_steps = trainer.stage, trainer.step, trainer.num_steps
            self.epochs = trainer.config.epochs
            self.epoch = min(self.epochs, max(0, self.step - 1) // max(1, trainer.steps_per_epoch) + 1)
            self.samples_per_second = self._samples / spent if spent > 0 else 0.0
            self.seconds_left = spent / done * (self.num_steps - self.step) if done else 0.0
            if len(trainer.rows) != len(self.history):
                self.history = trainer.history
                self.best_epoch = best_row(trainer.rows, trainer.config.best) + 1 if trainer.rows else 0

    def _show(self) -> None:
        self._last_shown = time.monotonic()
        if self._handle is not None:
            self._handle.update(self)

    # -- what is shown --------------------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if self.status in ("done", "interrupted") and len(self.history):
            bundle["image/png"] = base64.b64encode(draw_png(self.figure())).decode()
        return bundle

    def _repr_html_(self) -> str:
        pages = Environment(
            loader=PackageLoader("aam_nb.show.widgets", "."), autoescape=True, undefined=StrictUndefined
        )
        last = self.history.tail(LAST)
        return pages.get_template("training.html.j2").render(
            monitor=self,
            name=STAGES.get(self.stage, "Training"),
            sentence=self.sentence(),
            charts=charts(self.history, self.best_epoch),
            width=WIDTH,
            height=HEIGHT,
            columns=[c for c in last if c not in ("stage", "memory_mb", "grad_norm")],
            rows=last.to_dict("records"),
            csv=base64.b64encode(format_csv(self.history, index=False).encode()).decode() if len(self.history) else "",
        )

    def sentence(self) -> str:
        """How far training is, how fast, and which epoch is the best so far."""
        if self.status == "waiting":
            return "No training yet. Pass the monitor to `model.fit(..., callbacks=[monitor])`."
        facts = [f"Epoch {self.epoch} of {self.epochs}, step {self.step:,} of {self.num_steps:,}"]
        if self.samples_per_second:
            facts.append(f"{self.samples_per_second:,.0f} samples/s")
        if self.status == "running":
            facts.append(f"about {clock(self.seconds_left)} left")
            facts.append(f"training loss {format_number(self._loss)} at the last step")
        if self.best_epoch:
            facts.append(f"best so far: epoch {self.best_epoch}, validation loss {format_number(self._best_loss, 4)}")
        end = {
            "running": "To stop, interrupt the kernel (■): history and best weights are kept.",
            "interrupted": "Interrupted."
            + (" The best epoch is kept." if self.best_epoch else " No epoch was finished."),
            "done": "Done; the best epoch is kept.",
        }
        return f"{'; '.join(facts)}. {end[self.status]}"

    @property
    def _best_loss(self) -> float:
        return float(self.history["valid_loss"].iloc[self.best_epoch - 1])

    def figure(self) -> Figure:
        """Training and validation loss by epoch."""
        figure = Figure(figsize=(5.2, 3.8), layout="constrained")
        if len(self.history):
            plots.history(self.history, stage=self.stage, ax=figure.subplots())
        return figure

    def to_frame(self) -> pd.DataFrame:
        """The history of the stage: a row per epoch."""
        return self.history.set_index("epoch") if len(self.history) else self.history

    def __repr__(self) -> str:
        how = f"{self.status}: epoch {self.epoch} of {self.epochs}, best {self.best_epoch or 'none'}"
        return f"TrainingMonitor({self.stage or 'nothing'}, {how})"


def charts(history: pd.DataFrame, best_epoch: int) -> list[Chart]:
    """The curves of a history: the total loss, that of each objective, the learning rate, and each metric of validation."""
    if history.empty:
        return []
    columns = [str(c) for c in history if pd.api.types.is_numeric_dtype(history[c])]
    paired = [c.removeprefix("train_") for c in columns if c.startswith("train_")]
    paired = [
        "loss",
        *(p for p in paired if p != "loss" and len(paired) > 2),
    ]  # of one objective, the total is its loss
    singles = [c for c in columns if c.startswith("valid_") and not any(c == f"valid_{p}" for p in paired)]
    if "target" not in paired:
        singles = [c for c in singles if c != "valid_target"]
    wanted = [
        (("loss" if p == "loss" else f"loss of {p}"), {"train": f"train_{p}", "valid": f"valid_{p}"}) for p in paired
    ]
    wanted += [(c.removeprefix("valid_").replace("_", " "), {"valid": c}) for c in singles]
    wanted.append(("learning rate", {"train": "learning_rate"}))
    return [
        _chart(name, {k: history[c] for k, c in sides.items() if c in history}, best_epoch) for name, sides in wanted
    ]


def _chart(name: str, sides: dict[str, pd.Series], best_epoch: int) -> Chart:
    values = pd.concat(list(sides.values())).dropna()
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    span, epochs = (high - low) or 1.0, max(2, max(map(len, sides.values())))

    def to_pixels(epoch: float, value: float) -> tuple[float, float]:
        return (epoch - 1) / (epochs - 1) * WIDTH, HEIGHT - (value - low) / span * HEIGHT

    lines = {
        side: Line(
            " ".join(f"{x:.1f},{y:.1f}" for x, y in (to_pixels(k + 1, v) for k, v in enumerate(column) if pd.notna(v))),
            float(column.iloc[-1]),
            COLORS[side],
            side == "train",
        )
        for side, column in sides.items()
    }
    marked = sides.get("valid")
    star = to_pixels(best_epoch, float(marked.iloc[best_epoch - 1])) if marked is not None and best_epoch else None
    return Chart(name, lines, low, high, star)


def clock(seconds: float) -> str:
    """A duration for people: "45 s", "2 min 05 s"."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def training() -> TrainingMonitor:
    """Live curves while a model trains, as a callback: `model.fit(train, target="age", callbacks=[aam.widgets.training()])`.

    In a notebook it shows one display below the cell: every objective's loss, the metrics, the learning rate, samples per second, the
    time left and the best epoch so far; it takes the place of the progress bar, and stays when the notebook is saved. Buttons do nothing
    while a cell runs: to stop, interrupt the kernel, and the history and the best weights are kept. Outside notebooks nothing is displayed.
    Afterwards `monitor.history` is the table, and `monitor.export("curves.svg")` writes the figure or the table.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> monitor = aam.widgets.training()
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False), callbacks=[monitor])
    AAM(...)
    >>> monitor
    TrainingMonitor(fit, done: epoch 1 of 1, best 1)
    """
    return TrainingMonitor()
