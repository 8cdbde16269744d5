"""Figures of a study show its samples."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba
from skbio import OrdinationResults

import aam_nb as aam
from aam_nb.show import plots
from aam_nb.show.plots.style import GREY
from aam_nb.study.study import Study


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def ordination(study: Study) -> OrdinationResults:
    return aam.pcoa(aam.unifrac(study))


def test_bars_of_depth_count_all_samples(study: Study) -> None:
    ax = plots.depth(study)
    assert sum(bar.get_height() for bar in ax.patches) == study.num_samples
    low, high = ax.patches[0].get_x(), ax.patches[-1].get_x() + ax.patches[-1].get_width()
    assert (low, high) == pytest.approx((study.depth.min(), study.depth.max()))
    assert ax.get_xscale() == "log"
    assert ax.lines[-1].get_xdata()[0] == study.depth.median()  # type: ignore[index]


def test_depth_of_samples_that_are_all_alike(study: Study) -> None:
    assert sum(bar.get_height() for bar in plots.depth(study.rarefy(300, seed=0)).patches) == study.num_samples


def test_each_category_has_its_colour_and_shape(study: Study, ordination: OrdinationResults) -> None:
    names = [f"${k}$ is quite a long name of a category" for k in range(10)]
    counts = [9, 8, 7, 6, 5, 4, 3, 3, 2, 1]
    groups = pd.Series(np.repeat(names, counts), index=study.sample_ids, name="group")
    ax = plots.pcoa(ordination, color=groups)
    (points,) = ax.collections
    np.testing.assert_allclose(points.get_offsets(), ordination.samples.iloc[:, :2])
    colours = [*plots.PALETTE, GREY, GREY]
    drawn = [to_hex(c, keep_alpha=False).upper() for c in points.get_facecolors()]
    assert drawn == [c for c, n in zip(colours, counts, strict=True) for _ in range(n)]
    legend = ax.get_legend()
    assert legend is not None
    texts = [t.get_text() for t in legend.get_texts()]
    assert len(texts) == 9
    assert texts[0].startswith(r"\$0\$ is quite")
    assert texts[-1] == "2 others"
    assert len({h.get_marker() for h in legend.legend_handles}) == 9  # type: ignore[union-attr]


def test_numbers_have_a_colour_scale_and_missing_ones_are_grey(study: Study, ordination: OrdinationResults) -> None:
    ages = study.metadata["age"].astype(float).copy()
    ages.iloc[0] = np.nan
    ax = plots.pcoa(ordination, color=ages)
    ax.figure.canvas.draw()
    (points,) = ax.collections
    np.testing.assert_array_equal(np.ma.filled(points.get_array(), np.nan), ages)
    assert points.get_facecolors()[0][:3] == pytest.approx(to_rgba("#bbbbbb")[:3])
    assert ax.figure.axes[1].get_ylabel() == "age (grey: missing)"
