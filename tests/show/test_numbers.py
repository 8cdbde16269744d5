"""Numbers as text: significant digits in any unit, in everything that a user reads."""

from __future__ import annotations

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import aam_nb as aam
from aam_nb.cli.messages import format_evaluation
from aam_nb.config import (
    cut_repr,
    format_interval,
    format_measure,
    format_number,
    format_p,
    format_score,
    format_signed,
)
from aam_nb.error_analysis.analysis import ErrorAnalysis
from aam_nb.evaluate.metrics import Evaluation
from aam_nb.show.widgets.errors_payload import summary

ZERO, LONG, FOREIGN = (
    re.compile(r"(?<![\d.])-?0\.00+(?![\d])"),
    re.compile(r"\d{15}"),
    re.compile(r"np\.(float|int)|\bnan\b", re.I),
)


def test_a_number_has_significant_digits() -> None:
    pairs = {
        0: "0", 41: "41", 2009: "2009", 12345: "12,345", 41.04: "41", 0.0512: "0.0512", 4.104e-8: "4.10e-8", 4.104e13: "4.10e13",
        1234.6: "1235", -0.05: "-0.05", 0.00012: "0.00012", 0.99999: "1", 1e-300: "1.00e-300", np.inf: "infinite", np.nan: "not defined",
    }  # fmt: skip
    assert {v: format_number(v) for v in pairs} == pairs
    assert format_number(np.float64(41.044), 4) == "41.04"
    assert format_number(None) == "not defined"
    assert format_signed(0.5) == "+0.5"
    assert [format_score(v) for v in (0.8712, 0.0003, 1e-17, -1234.5)] == ["0.871", "0.0003", "0.000", "-1234"]
    assert format_score(-0.001, 2) == "-0.001"
    assert [format_measure(v) for v in (7.1234, 4.104e-8, 0.05)] == ["7.123", "4.104e-8", "0.05"]
    assert format_interval(0.5, 0.25, 0.75) == "0.500 [0.250, 0.750]"
    assert format_interval(4.1e-8, 1e-9, 5e-8, has_unit=True) == "4.100e-8 [1.000e-9, 5.000e-8]"
    assert format_interval(np.nan, 0, 1) == "not defined"
    assert [format_p(p) for p in (0.0004, 0.0123)] == ["p < 0.001", "p = 0.012"]


def judged(unit: float) -> tuple[Evaluation, ErrorAnalysis, aam.Comparison]:
    study = aam.simulate_study(n_samples=60, n_asvs=60, seed=0)
    study = replace(study, metadata=study.metadata.assign(age=study.metadata["age"] * unit))
    train, test = study.split(target="age", group="host_id", seed=0)
    model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    model.fit(train, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    result = model.evaluate(test, config=aam.EvaluateConfig(num_trees=20, num_resamples=40))
    analysis = aam.errors(result, study, attributions=False, min_slice=3, num_permutations=99, num_resamples=40)
    settings = {"folds": 3, "tune": False, "num_resamples": 40, "num_permutations": 20, "progress": False}
    return result, analysis, aam.compare(["ridge_clr", "dummy"], study, target="age", group="host_id", **settings)


@pytest.fixture(scope="module")
def by_unit() -> dict[float, tuple[Evaluation, ErrorAnalysis, aam.Comparison]]:
    return {unit: judged(unit) for unit in (1.0, 1e-12, 1e12)}


def test_what_is_printed_is_neither_zero_nor_a_row_of_digits(by_unit: dict) -> None:
    for result, analysis, comparison in by_unit.values():
        texts = [
            format_evaluation(result), repr(result), result._repr_html_(), repr(analysis), analysis._repr_html_(), summary(analysis),
            repr(analysis.calibration), *analysis.notes, repr(comparison), comparison._repr_html_(), comparison.to_frame().to_string(),
            "\n".join(analysis.slices["slice"]),
        ]  # fmt: skip
        figure = analysis.plot()
        figure.canvas.draw()
        ticks = [t.get_text() for ax in figure.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())]
        plt.close(figure)
        for text in (*texts, *ticks):
            assert not LONG.search(text), LONG.search(text)
            assert not FOREIGN.search(text), FOREIGN.search(text)
        for text in texts:  # a guess scores 0
            text = re.sub(r"(against|guessing) \(?0\.00\b", "", text)
            assert not ZERO.search(text), ZERO.search(text)


def test_scores_warnings_slices_and_calibration_are_those_of_any_unit(by_unit: dict) -> None:
    own, errors, comparison = by_unit[1.0]
    for unit, (result, analysis, compared) in by_unit.items():
        factor = np.where(own.metrics["metric"] == "mae", unit, 1.0)
        for column in ("value", "low", "high"):
            np.testing.assert_allclose(result.metrics[column] / factor, own.metrics[column], rtol=1e-6, atol=1e-9)
        assert result.warnings() == own.warnings()
        np.testing.assert_allclose(analysis.slices["error"] / unit, errors.slices["error"], rtol=1e-6)
        np.testing.assert_allclose(analysis.slices["p"], errors.slices["p"])
        np.testing.assert_allclose(analysis.associations["p"], errors.associations["p"])
        assert list(analysis.suspects.index) == list(errors.suspects.index)
        slopes, expected = (a.calibration.scores["value"].to_dict() for a in (analysis, errors))
        assert slopes["slope"] == pytest.approx(expected["slope"], rel=1e-6)
        assert slopes["bias"] / unit == pytest.approx(expected["bias"], rel=1e-6)
        np.testing.assert_allclose(analysis.conformal["coverage"], errors.conformal["coverage"])
        assert list(compared.differences["verdict"]) == list(comparison.differences["verdict"])
        np.testing.assert_allclose(compared.null["p"], comparison.null["p"])


def test_a_number_of_numpy_is_written_as_a_number() -> None:
    assert [cut_repr(v) for v in (np.float64(42.71), np.str_("a"), np.int64(3), 42.71)] == [
        "42.71",
        "'a'",
        "3",
        "42.71",
    ]
