"""The figure of a comparison shows what its tables say."""

from __future__ import annotations

from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from aam_nb.config import CompareConfig
from aam_nb.evaluate.comparison.compare import compare
from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.show.plots.comparison import VERDICTS, comparison
from aam_nb.study.study import Study

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def result(study: Study) -> Comparison:
    config = CompareConfig(folds=3, tune=False, num_resamples=40, num_permutations=19)
    found = compare(
        ["ridge_clr", "dummy", "depth_only", "svm", "group_lookup"], study, target="age", config=config, progress=False
    )
    verdicts = found.differences.assign(verdict=["better", "tied", "worse", "undecided"])
    return replace(found, differences=verdicts)


def test_figure_shows_the_tables(result: Comparison) -> None:
    figure = comparison(result)
    left, right = figure.axes
    names = [t.get_text() for t in left.get_yticklabels()]
    assert names == sorted(result.contenders, key=result.value)  # the best on top
    dots = {round(float(line.get_xdata()[0]), 9) for line in left.lines if len(line.get_xdata()) == 1}  # type: ignore[arg-type, index]
    assert dots == {round(result.value(n), 9) for n in result.contenders}
    markers = {line.get_marker() for line in right.lines if len(line.get_xdata()) == 1}  # type: ignore[arg-type]
    assert markers == {marker for _, marker, _ in VERDICTS.values()}
    said = [t.get_text() for t in right.get_legend().get_texts()]  # type: ignore[union-attr]
    assert sorted(said) == ["ridge_clr is better", "ridge_clr is worse", "tied", "undecided"]
    assert "balanced" not in right.get_xlabel()
    assert "R²" in left.get_xlabel()
    ends = result.differences.set_index("contender")[["low", "high"]]
    drawn = {tuple(np.round(line.get_xdata(), 9)) for line in right.lines if len(line.get_xdata()) == 2}  # type: ignore[arg-type]
    assert {tuple(np.round(e, 9)) for e in ends.to_numpy()} <= drawn
    plt.close(figure)


def test_figure_of_one_contender(result: Comparison) -> None:
    alone = replace(
        result,
        scores=result.scores[result.scores["contender"] == "ridge_clr"],
        differences=result.differences.iloc[:0],
    )
    figure = comparison(alone)
    assert len(figure.axes) == 2
    plt.close(figure)
