"""The figure of a comparison shows what its tables say."""

from __future__ import annotations

from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection

from aam_nb.config import CompareConfig
from aam_nb.evaluate.comparison.compare import compare
from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.show.plots.comparison import VERDICTS, comparison
from aam_nb.study.study import Study

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def result(study: Study) -> Comparison:
    config = CompareConfig(folds=3, tune=False, num_resamples=40, num_permutations=19)
    compared = compare(
        ["ridge_clr", "dummy", "depth_only", "svm", "group_lookup"], study, target="age", config=config, progress=False
    )
    verdicts = compared.differences.assign(verdict=["better", "tied", "worse", "undecided"])
    return replace(compared, differences=verdicts)


def dots(ax: Axes) -> np.ndarray:
    (points,) = (c for c in ax.collections if isinstance(c, PathCollection))
    return np.asarray(points.get_offsets())


def test_figure_shows_the_tables(result: Comparison) -> None:
    figure = comparison(result)
    left, right = figure.axes
    names = [t.get_text() for t in left.get_yticklabels()]
    assert names == sorted(result.contenders, key=result.value, reverse=True)  # the best on top
    assert left.get_ylim()[0] > left.get_ylim()[1]
    np.testing.assert_allclose(dots(left), [[result.value(n), y] for y, n in enumerate(names)])
    table = result.differences.set_index("contender")
    rows = [n for n in names if n in table.index]
    np.testing.assert_allclose(dots(right), [[table.loc[n, "difference"], names.index(n)] for n in rows])
    legend = right.get_legend()
    assert legend is not None
    names_and_markers = {
        t.get_text(): h.get_marker() for t, h in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }  # type: ignore[union-attr]
    want = {name.format("ridge_clr"): marker for _, marker, name in VERDICTS.values()}
    assert names_and_markers == want
    assert sorted(names_and_markers) == ["ridge_clr is better", "ridge_clr is worse", "tied", "undecided"]
    assert "balanced" not in right.get_xlabel()
    assert "R²" in left.get_xlabel()
    scores = result.scores.query("metric == 'r2'").set_index("contender")
    for ax, shown in ((left, scores), (right, table)):
        (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
        drawn = [segment[:, 0] for segment in lines.get_segments()]
        np.testing.assert_allclose(drawn, shown.loc[[n for n in names if n in shown.index], ["low", "high"]])
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
