"""Callbacks, told of made-up epochs: what they show, write, stop and warn of."""

from __future__ import annotations

import io
import math
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch
from torch import nn

from aam_nb.config import ConfigError, TrainConfig
from aam_nb.train import machine
from aam_nb.train.callbacks import (
    HISTORY,
    Callback,
    EarlyStopping,
    GradientWarning,
    History,
    HistoryWarning,
    MemoryWarning,
    MissingTensorBoardError,
    Progress,
    TensorBoard,
    Watch,
    best_row,
    default_callbacks,
)

NAN = math.nan


@dataclass
class Told:
    """A training as callbacks see it: its epochs are made up."""

    config: TrainConfig
    folder: Path | None = None
    stage: str = "fit"
    steps_per_epoch: int = 3
    epoch: int = 0
    step: int = 0
    rate: float = 0.5
    is_main: bool = True
    stop: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    network: nn.Module = field(default_factory=lambda: nn.Linear(1, 1))
    said: list[str] = field(default_factory=list)

    @property
    def num_steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    @property
    def history(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows)

    def say(self, text: str) -> None:
        self.said.append(text)

    def run_epoch(self, *heard: Callback, norms: tuple[float, ...] = (1.0, 3.0, 2.0), **columns: Any) -> None:
        for norm in norms:
            self.step += 1
            self.last = {"loss": 1 / self.step, "norm": norm, "seconds": 0.1, "samples": 4}
            for callback in heard:
                callback.on_step_end(self)
        self.epoch += 1
        row = {"stage": self.stage, "epoch": self.epoch, "train_loss": 0.25, "valid_loss": 0.5}
        self.rows.append(row | columns)
        for callback in heard:
            callback.on_epoch_end(self)


def told(folder: Path | None = None, **settings: Any) -> Told:
    return Told(TrainConfig(**{"epochs": 4} | settings), folder)


# -- the best epoch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "column", "expected"),
    [
        ([3.0, 1.0, 2.0], "x", 1),
        ([3.0, 1.0, 2.0], "+x", 0),
        ([2.0, 1.0, 1.0], "x", 1),
        ([1.0, 2.0, 2.0], "+x", 1),
        ([NAN, 5.0, NAN], "x", 1),
        ([NAN, 5.0, NAN], "+x", 1),
        ([NAN, -math.inf, 3.0], "+x", 2),
        ([NAN, math.inf, 3.0], "x", 2),
        ([NAN, NAN], "x", 1),
        ([-1.0, -2.0], "x", 1),
    ],
)
def test_the_best_row(values: list[float], column: str, expected: int) -> None:
    assert best_row([{"x": value} for value in values], column) == expected


@pytest.mark.parametrize("column", ["valid_r2", "+valid_r2", "stage"])
def test_an_unknown_column_is_refused_at_the_first_epochs_end(column: str) -> None:
    trainer = told(best=column)
    with pytest.raises(ConfigError, match=r"best is '\+?(valid_r2|stage)'.*It has epoch, train_loss, valid_loss\. Use"):
        trainer.run_epoch(EarlyStopping(2, column))


@pytest.mark.parametrize(
    ("column", "values", "patience", "epochs"),
    [
        ("valid_loss", [3, 2, 2.5, 2.1, 1], 2, 4),
        ("valid_loss", [3, 2, 2.5, 1, 2, 2], 2, 6),
        ("valid_loss", [3, 3, 3], 2, 3),
        ("+acc", [0.1, 0.5, 0.5, 0.4, 0.9], 2, 4),
        ("+acc", [NAN, 0.1, NAN, NAN, 0.9], 2, 4),
        ("+acc", [0.5, 0.6, 0.7], 1, None),
    ],
)
def test_training_stops_when_the_best_lies_too_far_back(
    column: str, values: list[float], patience: int, epochs: int | None
) -> None:
    trainer, stopping = told(epochs=9, patience=patience, best=column), EarlyStopping(patience, column)
    stopped = None
    for value in values:
        trainer.run_epoch(stopping, **{column.removeprefix("+"): value})
        if trainer.stop and stopped is None:
            stopped = trainer.epoch
            assert re.search(
                rf"Stopped early, after epoch {stopped}: {column.removeprefix('+')} was best", trainer.said[0]
            )
    assert stopped == epochs


def test_a_resumed_training_stops_where_it_would_have() -> None:
    """The rows are all that a new callback has: killed after the epoch that should have ended it, it ends at once."""
    for done, stops in ((3, False), (4, True)):
        trainer = told(patience=2)
        trainer.rows = [{"valid_loss": loss} for loss in (3.0, 2.0, 2.5, 2.1)[:done]]
        stopping = EarlyStopping(2)
        stopping.on_fit_start(trainer)
        assert trainer.stop == stops
        trainer.run_epoch(stopping, valid_loss=2.2)
        assert trainer.stop


def test_a_column_without_any_number_is_told() -> None:
    trainer, stopping = told(best="+r2"), EarlyStopping(2, "+r2")
    for _ in range(3):
        trainer.run_epoch(stopping, r2=NAN)
    assert not trainer.stop
    with pytest.warns(HistoryWarning, match="r2 was not a number in any of 3 epochs"):
        stopping.on_fit_end(trainer)


# -- progress ---------------------------------------------------------------------------------------------------------


def shown(trainer: Told, monkeypatch: pytest.MonkeyPatch) -> str:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    bar = Progress()
    bar.on_fit_start(trainer)
    while trainer.epoch < trainer.config.epochs:
        trainer.run_epoch(bar)
    bar.on_fit_end(trainer)
    return screen.getvalue().split("\r")[-1]


def test_the_bar_counts_all_steps_and_tells_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    line = shown(told(), monkeypatch)
    assert re.search(r"fit: 100%.* 12/12 .*epoch=4/4, loss=0\.250, valid=0\.500", line)


def test_the_bar_of_a_resumed_training_starts_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = told()
    trainer.run_epoch()
    trainer.run_epoch()
    trainer.step += 1  # killed in mid-epoch
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    bar = Progress()
    bar.on_fit_start(trainer)
    assert re.search(r"58%.* 7/12 ", screen.getvalue())
    trainer.run_epoch(bar, norms=(1.0, 1.0))
    trainer.run_epoch(bar)
    bar.on_fit_end(trainer)
    assert re.search(r"100%.* 12/12 .*epoch=4/4", screen.getvalue().split("\r")[-1])


def test_no_bar_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(told(progress=False), monkeypatch) == ""
    other = told()
    other.is_main = False
    assert shown(other, monkeypatch) == ""


# -- history ----------------------------------------------------------------------------------------------------------


def test_the_history_is_written_after_each_epoch(tmp_path: Path) -> None:
    trainer, history = told(tmp_path / "run"), History()
    for n in (1, 2, 3):
        trainer.run_epoch(history, valid_loss=0.1 + 0.2 * n)
        found = pd.read_csv(tmp_path / "run" / HISTORY)
        pd.testing.assert_frame_equal(found, trainer.history)
        assert len(found) == n
    trainer.rows[-1]["mine"] = 7.0  # from a callback that comes later
    history.on_fit_end(trainer)
    assert pd.read_csv(tmp_path / "run" / HISTORY)["mine"].iloc[-1] == 7.0
    assert os.listdir((tmp_path / "run" / HISTORY).parent) == ["history.csv"]


def test_a_history_that_cannot_be_written_does_not_end_training(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, where the folder should be")
    with pytest.warns(HistoryWarning, match=r"No history of epoch 1: .*history\.csv cannot be written"):
        told(tmp_path / "run").run_epoch(History())
    told(None).run_epoch(History())
    other = told(tmp_path / "other")
    other.is_main = False
    other.run_epoch(History())
    assert not (tmp_path / "other").exists()


# -- TensorBoard ------------------------------------------------------------------------------------------------------


def test_what_tensorboard_needs_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"tensorboard is True, and the run has no folder.*out='runs/age'"):
        TensorBoard().on_fit_start(told(tensorboard=True))
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as where it is not installed
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingTensorBoardError, match=r"pip install 'aam-nb\[track\]'"):
        TensorBoard().on_fit_start(told(tmp_path, tensorboard=True))
    other = told(None, tensorboard=True)
    other.is_main = False
    board = TensorBoard()
    for hook in (board.on_fit_start, board.on_step_end, board.on_epoch_end, board.on_fit_end):
        hook(other)


def test_tensorboard_shows_steps_and_epochs_also_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `track`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer, board = told(tmp_path), TensorBoard()
    board.on_fit_start(trainer)
    trainer.run_epoch(board)
    trainer.run_epoch(board, valid_loss=0.75)
    board.on_fit_end(trainer)  # killed here; the last checkpoint is from step 4
    trainer.step, trainer.epoch, trainer.rows = 4, 1, trainer.rows[:1]
    board = TensorBoard()
    board.on_fit_start(trainer)
    trainer.run_epoch(board, norms=(8.0, 9.0), valid_loss=0.125)
    board.on_fit_end(trainer)

    found = EventAccumulator(str(tmp_path / "tensorboard" / "fit")).Reload()
    assert {"step/loss", "step/rate", "step/norm", "epoch/train_loss", "epoch/valid_loss"} <= set(
        found.Tags()["scalars"]
    )
    assert "step/seconds" not in found.Tags()["scalars"]
    norms = {event.step: event.value for event in found.Scalars("step/norm")}
    assert norms == {1: 1.0, 2: 3.0, 3: 2.0, 4: 1.0, 5: 8.0, 6: 9.0}
    assert [event.value for event in found.Scalars("step/rate")] == [0.5] * 6
    assert [(e.step, e.value) for e in found.Scalars("epoch/valid_loss")] == [(3, 0.5), (6, 0.125)]


# -- the watch --------------------------------------------------------------------------------------------------------


def watched(watch: Watch, **settings: Any) -> Told:
    trainer = told(**settings)
    watch.on_fit_start(trainer)
    return trainer


def test_the_watch_adds_the_median_norm_and_the_peak_of_memory() -> None:
    trainer = watched(watch := Watch())
    trainer.run_epoch(watch, norms=(1.0, 3.0, 2.0))
    trainer.run_epoch(watch, norms=(5.0, math.inf, 7.0))  # fp16 skips a step now and then
    assert [row["grad_norm"] for row in trainer.rows] == [2.0, 6.0]
    before = trainer.rows[-1]["memory_mb"]
    assert psutil.Process().memory_info().rss / 2**20 <= before + 1
    assert before < psutil.virtual_memory().total / 2**20
    room = before - psutil.Process().memory_info().rss / 2**20
    held = torch.ones(int(room + 64) * 2**18)  # 64 MiB more than the peak
    del held
    trainer.run_epoch(watch)
    assert before + 48 < trainer.rows[-1]["memory_mb"] < before + 128


def test_a_memory_that_is_nearly_full_is_told_once_with_what_to_change() -> None:
    trainer = watched(watch := Watch(full=1e-9), max_tokens=4096, accumulation=2)
    with pytest.warns(MemoryWarning, match=r"Memory is \d+% full .* of .* GiB") as caught:
        trainer.run_epoch(watch)
    trainer.run_epoch(watch)  # here a warning would be an error
    assert len(caught) == 1
    text = str(caught[0].message)
    for setting in ("max_tokens=2048", "accumulation=4", "checkpointing=True", "precision='bf16'", "ModelConfig(width"):
        assert setting in text
    trainer = watched(watch, accumulation=0, checkpointing=True, precision="bf16")
    with pytest.warns(MemoryWarning) as caught:
        trainer.run_epoch(watch)
    assert not re.search("accumulation|checkpointing|precision", str(caught[0].message))


@pytest.mark.parametrize(
    ("norms", "settings", "expected"),
    [
        ((0.0, 0.0), {}, r"was zero in all 2 steps of epoch 1.*freeze='none'"),
        ((NAN, math.inf), {}, r"was not a number in all 2 steps.*learning_rate=0\.0003"),
        ((NAN, math.inf), {"precision": "fp16"}, r"was not a number in all 2 steps.*precision='bf16'"),
    ],
)
def test_an_epoch_without_gradients_is_told(norms: Any, settings: dict[str, Any], expected: str) -> None:
    trainer = watched(watch := Watch(), **settings)
    with pytest.warns(GradientWarning, match=expected) as caught:
        trainer.run_epoch(watch, norms=norms)
    trainer.run_epoch(watch, norms=norms)  # here a warning would be an error
    assert len(caught) == 1
    trainer = watched(watch, **settings)
    trainer.run_epoch(watch, norms=(0.0, 1e-9, NAN))  # one step with a gradient is enough
    assert trainer.rows[0]["grad_norm"] == pytest.approx(5e-10)


def test_memory_is_within_that_of_the_machine() -> None:
    found = machine.memory_of(torch.device("cpu"))
    assert 0 < found.used <= found.peak
    assert found.used < found.limit <= psutil.virtual_memory().total


# -- all of them ------------------------------------------------------------------------------------------------------


def test_a_training_gets_what_its_settings_ask_for(tmp_path: Path) -> None:
    def kinds(folder: Path | None, **settings: Any) -> list[type[Callback]]:
        return [type(callback) for callback in default_callbacks(TrainConfig(**settings), folder)]

    assert kinds(None) == [Watch, EarlyStopping, Progress]
    assert kinds(tmp_path, tensorboard=True) == [Watch, EarlyStopping, History, TensorBoard, Progress]
    made = default_callbacks(TrainConfig(patience=7, best="+grad_norm"), tmp_path)
    assert (made[1].patience, made[1].column) == (7, "+grad_norm")  # type: ignore[attr-defined]
    trainer = told(tmp_path, progress=False, patience=7, best="+grad_norm")
    for callback in made:
        callback.on_fit_start(trainer)
    trainer.run_epoch(*made)
    assert {"grad_norm", "memory_mb"} <= set(pd.read_csv(tmp_path / HISTORY).columns)
