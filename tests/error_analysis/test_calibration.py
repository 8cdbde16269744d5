"""Calibration and conformal prediction, against scikit-learn, plain loops, grids and simulated coverage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import linregress, norm
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from aam_nb.config import ErrorsConfig
from aam_nb.error_analysis.calibration import (
    apply_isotonic,
    apply_temperature,
    calibrate_classes,
    calibrate_numbers,
    conformal_classes,
    conformal_numbers,
    conformal_threshold,
    expected_calibration_error,
    fit_temperature,
    make_reliability_curve,
    nonconformity,
)

CONFIG = ErrorsConfig(num_resamples=200)
Floats = npt.NDArray[np.float64]


def simulated(seed: int, n: int, classes: int, sharpness: float) -> tuple[npt.NDArray[np.int64], Floats]:
    """Classes drawn from softmax(logits), and probabilities that are too sure of them by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, classes))
    p = softmax(logits, axis=1)
    truth = (rng.random(n)[:, None] > p.cumsum(1)).sum(1)
    return truth, softmax(sharpness * logits, axis=1)


@pytest.mark.parametrize("equal_mass", [True, False])
def test_ece_is_that_of_a_plain_loop(equal_mass: bool) -> None:
    truth, p = simulated(0, 203, 3, 2.0)
    right, sure = p.argmax(1) == truth, p.max(1)
    curve = make_reliability_curve(sure, right, ErrorsConfig(equal_mass=equal_mass, calibration_bins=10))
    total = 0.0
    if equal_mass:
        order = np.argsort(sure, kind="stable")
        bins = [order[:21], order[21:42], order[42:63], *(order[63 + 20 * k : 83 + 20 * k] for k in range(7))]
    else:
        bins = [np.flatnonzero((sure >= k / 10) & (sure < (k + 1) / 10)) for k in range(10)]
    for rows in bins:
        if len(rows):
            total += len(rows) * abs(sure[rows].mean() - right[rows].mean())
    assert expected_calibration_error(curve) == pytest.approx(total / 203)
    assert curve["n"].sum() == 203
    assert ((curve["low"] <= curve["observed"]) & (curve["observed"] <= curve["high"])).all()


def test_brier_and_log_loss_are_scikit_learns() -> None:
    truth, p = simulated(1, 150, 2, 1.5)
    scores = calibrate_classes(truth, p, None, CONFIG).scores
    assert list(scores.index) == ["raw"]
    assert scores.loc["raw", "brier"] == pytest.approx(2 * brier_score_loss(truth, p[:, 1]))
    truth, p = simulated(2, 150, 4, 1.5)
    scores = calibrate_classes(truth, p, None, CONFIG).scores
    assert scores.loc["raw", "log_loss"] == pytest.approx(log_loss(truth, p))
    want = np.mean([sum((p[k, c] - (truth[k] == c)) ** 2 for c in range(4)) for k in range(150)])
    assert scores.loc["raw", "brier"] == pytest.approx(want)


def test_a_class_that_the_model_does_not_know_is_wholly_wrong() -> None:
    found = calibrate_classes(np.array([-1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]]), None, CONFIG).scores.loc["raw"]
    assert found["brier"] == pytest.approx((2 + 0) / 2), "a sure and wrong prediction costs 2"
    assert nonconformity(np.array([-1, 1]), np.array([[0.5, 0.5], [0.2, 0.8]])).tolist() == [np.inf, pytest.approx(0.2)]


def test_temperature_is_the_best_of_a_grid() -> None:
    truth, p = simulated(3, 400, 3, 2.5)
    grid = np.linspace(0.5, 6, 1101)
    losses = [log_loss(truth, softmax(np.log(p) / t, axis=1)) for t in grid]
    found = fit_temperature(truth, p)
    assert found == pytest.approx(grid[int(np.argmin(losses))], abs=0.006)
    assert 2 < found < 3, "what the logits were multiplied by"
    assert apply_temperature(p, found) == pytest.approx(softmax(np.log(p) / found, axis=1))
    assert (apply_temperature(p, found).argmax(1) == p.argmax(1)).all(), "the prediction stays"


def test_isotonic_is_scikit_learns_of_each_class() -> None:
    (truth, valid), (_, p) = simulated(4, 200, 3, 2.0), simulated(5, 50, 3, 2.0)
    columns = [IsotonicRegression(out_of_bounds="clip").fit(valid[:, c], truth == c).predict(p[:, c]) for c in range(3)]
    raw = np.stack(columns, 1)
    assert apply_isotonic(truth, valid, p) == pytest.approx(raw / raw.sum(1, keepdims=True))
    never = apply_isotonic(np.zeros(4, dtype=int), np.array([[0.9, 0.1]] * 4), np.array([[0.3, 0.7]]))
    assert never.tolist() == [[1.0, 0.0]]


def test_calibration_on_validation_samples_helps() -> None:
    found = calibrate_classes(*simulated(6, 1500, 3, 3.0), simulated(7, 500, 3, 3.0), CONFIG)
    assert found.temperature == pytest.approx(3.0, rel=0.2)
    assert list(found.scores.index) == ["raw", "temperature", "isotonic"]
    assert found.scores.loc["temperature", "ece"] < found.scores.loc["raw", "ece"] / 2
    assert found.scores.loc["isotonic", "brier"] < found.scores.loc["raw", "brier"]
    assert "ECE raw 0." in repr(found)


def test_slope_and_intercept_are_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(40, 10, 80)
    y = 5 + 0.8 * x + rng.normal(0, 4, 80)
    table = pd.DataFrame({"truth": y, "prediction": x, "q(0.05)": x - 6, "q(0.95)": x + 2})
    found = calibrate_numbers(table, np.abs(rng.normal(0, 4, 30)), np.arange(80), ErrorsConfig(num_resamples=2000))
    line, scores = linregress(x, y), found.scores
    assert scores.loc["slope", "value"] == pytest.approx(line.slope)
    assert scores.loc["intercept", "value"] == pytest.approx(line.intercept)
    assert scores.loc["bias", "value"] == pytest.approx((y - x).mean())
    half = 1.96 * line.stderr
    assert scores.loc["slope", "low"] == pytest.approx(line.slope - half, abs=0.35 * half)
    assert scores.loc["coverage", "value"] == pytest.approx(np.mean((y >= x - 6) & (y <= x + 2)))
    assert len(found.reliability) == 9
    assert found.reliability["half_width"].is_monotonic_increasing
    assert f"slope {line.slope:.2f}" in repr(found)


def test_a_constant_prediction_has_no_slope() -> None:
    table = pd.DataFrame({"truth": [1.0, 2.0, 4.0], "prediction": [2.0, 2.0, 2.0]})
    found = calibrate_numbers(table, None, np.arange(3), CONFIG)
    assert np.isnan(found.scores.loc["slope", "value"])
    assert found.scores.loc["bias", "value"] == pytest.approx(1 / 3)
    assert found.reliability.empty


def test_threshold_is_the_n_plus_1_rule() -> None:
    scores = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 9.0, 7.0, 8.0, 6.0])
    assert conformal_threshold(scores, 0.9) == 9, "the ninth of nine"
    assert conformal_threshold(scores, 0.8) == 8
    assert conformal_threshold(scores, 0.81) == 9
    assert conformal_threshold(scores, 0.91) == np.inf, "ten would be needed"
    assert conformal_threshold(scores, 0.5) == 5


def test_too_few_validation_samples_are_said_and_not_a_number() -> None:
    table, notes = conformal_numbers(
        np.arange(20.0), np.arange(4.0), np.arange(20), ErrorsConfig(levels=(0.5, 0.9, 0.95))
    )
    assert table["threshold"].isna().tolist() == [False, True, True]
    assert table.loc[1:, ["coverage", "low", "high", "size"]].isna().all(axis=None)
    assert table.loc[0, ["threshold", "coverage", "size"]].tolist() == [2.0, 3 / 20, 4.0]
    assert len(notes) == 1
    assert notes[0].startswith(
        "4 validation samples are too few for conformal coverage of 0.9, 0.95: the bound is infinite."
    )
    assert "needs 9" in notes[0]
    assert conformal_threshold(np.arange(9.0), 0.9) < np.inf, "and nine do"


def test_sets_are_those_of_a_plain_loop() -> None:
    (truth, p), (known, valid) = simulated(8, 60, 4, 1.0), simulated(9, 40, 4, 1.0)
    table, notes = conformal_classes(truth, p, (known, valid), np.arange(60), ErrorsConfig(levels=(0.8,)))
    bound = sorted(1 - valid[k, known[k]] for k in range(40))[int(np.ceil(41 * 0.8)) - 1]
    sets = [[c for c in range(4) if 1 - p[k, c] <= bound] for k in range(60)]
    assert not notes
    assert table.loc[0, "threshold"] == pytest.approx(bound)
    assert table.loc[0, "size"] == pytest.approx(np.mean([len(s) for s in sets]))
    assert table.loc[0, "coverage"] == pytest.approx(np.mean([truth[k] in s for k, s in enumerate(sets)]))


@pytest.mark.slow
def test_coverage_is_nominal_where_samples_could_change_places() -> None:
    """Split conformal covers a share in [level, level + 1 / (v + 1)] of new samples on average, whatever the distribution."""
    config, covered = ErrorsConfig(levels=(0.5, 0.9)), []
    sets = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        table, _ = conformal_numbers(rng.gamma(1, 2, 100), rng.gamma(1, 2, 39), np.arange(100), config)
        covered.append(table["coverage"].to_numpy())
        known = simulated(10_000 + seed, 39, 3, 2.0)
        table, _ = conformal_classes(*simulated(seed, 100, 3, 2.0), known, np.arange(100), config)
        sets.append(table["coverage"].to_numpy())
    for found in (np.mean(covered, 0), np.mean(sets, 0)):
        spread = norm.ppf(0.9995) * np.sqrt(np.array([0.25, 0.09]) * (1 / 40 + 1 / 100) / 300)
        assert (found >= np.array([0.5, 0.9]) - spread).all()
        assert (found <= np.array([0.5, 0.9]) + 1 / 40 + spread).all()
