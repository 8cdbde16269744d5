"""Live curves: what they show is the history that the model keeps, also after an interrupt."""

import re

import pandas as pd
import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.train.callbacks import Callback


class InterruptedBy(Callback):
    """Presses Ctrl-C in some epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_step_end(self, trainer):
        if len(trainer.rows) == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def watched(sides):
    monitor = aam.widgets.training()
    model = aam.AAM(TINY).pretrain(sides[0], config=QUICK, callbacks=[monitor])
    return model, monitor


def test_the_table_is_the_history_of_the_model(watched):
    model, monitor = watched
    table = monitor.to_frame().reset_index()
    expected = model.history[table.columns]
    pd.testing.assert_frame_equal(table, expected)
    assert (monitor.status, monitor.stage, monitor.epoch, monitor.epochs) == ("done", "pretrain", 2, 2)
    assert monitor.step == monitor.num_steps > 0
    assert monitor.best_epoch == model.history["valid_loss"].idxmin() + 1
    assert monitor.samples_per_second > 0


def test_a_curve_for_every_objective_metric_and_the_rate(watched):
    _, monitor = watched
    shown = set(re.findall(r'aria-label="([^"]+) by epoch', monitor._repr_html_()))
    assert {
        "loss",
        "loss of unifrac",
        "loss of nucleotides",
        "unifrac r",
        "nucleotides accuracy",
        "learning rate",
    } <= shown


def test_the_points_of_a_curve_are_its_values(watched):
    _, monitor = watched
    html = monitor._repr_html_()
    block = html[html.index("unifrac r by epoch") :]
    points = [tuple(map(float, p.split(","))) for p in re.search(r'points="([^"]+)"', block)[1].split()]
    values = monitor.history["valid_unifrac_r"].to_numpy()
    heights = [y for _, y in points]
    assert len(points) == len(values)
    assert (heights[0] > heights[1]) == (values[0] < values[1])  # upwards on the page is a smaller y
    assert {round(min(heights)), round(max(heights))} == {0, round(max(heights))}


def test_it_is_used_again_for_the_next_stage(sides):
    monitor = aam.widgets.training()
    model = aam.AAM(TINY).fit(sides[0], target="age", config=QUICK, callbacks=[monitor])
    model.fit(sides[0], target="diet", config=QUICK, callbacks=[monitor])
    assert monitor.stage == "fit"
    assert len(monitor.history) == 2
    assert "Fine-tuning" in monitor._repr_html_()


def test_an_interrupt_keeps_history_and_best_weights(sides):
    monitor = aam.widgets.training()
    config = aam.TrainConfig(epochs=5, batch_size=8, progress=False)
    model = aam.AAM(TINY).fit(sides[0], target="age", config=config, callbacks=[monitor, InterruptedBy(2)])
    assert monitor.status == "interrupted"
    assert len(monitor.history) == len(model.history) == 2
    assert "The best epoch is kept" in monitor.sentence()
    assert model.predict(sides[1]).notna().all(axis=None)


def test_it_says_what_to_do_before_anything_trains():
    monitor = aam.widgets.training()
    assert "callbacks=[monitor]" in monitor.sentence()
    assert monitor.to_frame().empty
    assert "callbacks=[monitor]" in monitor._repr_html_()


def test_outside_a_notebook_the_progress_bar_stays(sides, capfd):
    monitor = aam.widgets.training()
    config = aam.TrainConfig(epochs=1, batch_size=8)
    aam.AAM(TINY).fit(sides[0], target="age", config=config, callbacks=[monitor])
    assert "fit" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["curves.png", "curves.svg", "curves.csv"])
def test_it_is_written_to_a_file(watched, tmp_path, name):
    _, monitor = watched
    path = monitor.export(tmp_path / name)
    if name.endswith("csv"):
        pd.testing.assert_frame_equal(pd.read_csv(path, index_col="epoch"), monitor.to_frame())
    else:
        assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_the_figure_comes_with_the_end(watched):
    _, monitor = watched
    bundle = monitor._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/png"}
    assert len(bundle["text/html"]) < 20_000  # it is saved with the notebook
