"""Figures of an evaluation show its scores."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection, PathCollection

import aam_nb as aam
from aam_nb.show import plots
from aam_nb.study.study import Study


def test_each_model_has_its_score_and_interval(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    result = aam.Evaluation.of(
        fitted, sides[1], find_leaks=False, config=aam.EvaluateConfig(num_resamples=20, num_trees=10)
    )
    figure = plots.metrics(result)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["aam_nb", "random forest", "dummy"]
    for ax, metric in zip(figure.axes, ("r2", "mae", "spearman"), strict=True):
        rows = [result.row(metric, m) for m in result.models]
        scored = [(row["value"], y) for y, row in enumerate(rows) if not np.isnan(row["value"])]
        (points,) = (c for c in ax.collections if isinstance(c, PathCollection))
        np.testing.assert_allclose(points.get_offsets(), scored)
        (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
        ends = np.array([segment[:, 0] for segment in lines.get_segments()])
        np.testing.assert_allclose(ends, [(rows[y]["low"], rows[y]["high"]) for _, y in scored])
    assert figure.axes[1].get_xlabel() == "mean absolute error\n(age)"
    plt.close(figure)
