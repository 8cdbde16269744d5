"""Figures of attention: drawn from the tables, named, captioned."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

import aam_nb as aam
from aam_nb.explain.attention.difference import compare_attention
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.maps import AttentionMaps, attention
from aam_nb.explain.attention.motifs import motifs
from aam_nb.explain.attention.uniform import uniform_control
from aam_nb.show import plots
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

WORDS = NOT_IMPORTANCE.split()


@pytest.fixture(autouse=True)
def closed() -> object:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def maps(fitted: aam.AAM, sides: tuple[Study, Study]) -> AttentionMaps:
    return attention(fitted, sides[1], samples=sides[1].sample_ids.tolist(), top=10)


def says_what_it_is_not(drawn: Axes | Figure) -> bool:
    text = drawn.get_supxlabel() if isinstance(drawn, Figure) else drawn.get_xlabel()
    return text.split()[-len(WORDS) :] == WORDS


def test_pooling_attention_shows_its_table(maps: AttentionMaps, sides: tuple[Study, Study]) -> None:
    sample = sides[1].sample_ids[0]
    ax = plots.attention(maps.pooling[sample], sample=sample, top=7)
    np.testing.assert_array_equal(ax.collections[0].get_array(), maps.pooling[sample].head(7))
    assert says_what_it_is_not(ax)
    assert says_what_it_is_not(maps.plot(sample, top=3, cmap="viridis"))


def test_heads_are_small_multiples(maps: AttentionMaps, sides: tuple[Study, Study]) -> None:
    sample = sides[1].sample_ids[1]
    figure = plots.attention_heads(maps, sample, top=5)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels] == ["layer 1, head 1", "layer 1, head 2"]
    np.testing.assert_array_equal(panels[1].images[0].get_array(), maps.asv[sample].weights[0, 1, :5, :5])
    assert len({ax.images[0].norm.vmax for ax in panels}) == 1
    assert says_what_it_is_not(figure)
    assert len([ax for ax in plots.attention_heads(maps, sample, layer=1).axes if ax.images]) == 2


def test_positions_carry_their_letters(maps: AttentionMaps) -> None:
    asv = next(iter(maps.nucleotide))
    ax = plots.nucleotide_attention(maps, asv)
    assert "".join(t.get_text() for t in ax.get_xticklabels()).replace("\n", "") == asv
    np.testing.assert_array_equal(ax.collections[0].get_array(), maps.nucleotide_pooling[asv].T)
    assert says_what_it_is_not(ax)


def test_rollout_bars_are_its_values(maps: AttentionMaps, sides: tuple[Study, Study]) -> None:
    sample, asv = sides[1].sample_ids[0], next(iter(maps.nucleotide))
    ax = plots.rollout(maps, sample, top=6)
    values = maps.rollout(sample).head(6)
    assert [bar.get_width() for bar in ax.patches][::-1] == pytest.approx(values.tolist())
    dots = maps.pooling[sample]["mean"].loc[values.index]
    assert ax.lines[0].get_xdata()[::-1] == pytest.approx(dots.to_numpy())
    assert says_what_it_is_not(ax)
    ax = plots.rollout(maps, asv, level="nucleotide")
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(maps.rollout(asv, level="nucleotide").tolist())
    assert says_what_it_is_not(ax)


def test_letters_are_as_high_as_attention_times_frequency(fitted: aam.AAM, study: Study) -> None:
    motif = motifs(fitted, study, asvs=study.asv_ids[:5].tolist())
    ax = plots.motif(motif, head="head_2", first=3, last=9)
    letters = [p for p in ax.patches if isinstance(p, PathPatch)]
    assert len(letters) == int((motif.frequency.loc[3:9, list("ACGT")] > 0).sum().sum())
    heights: dict[int, float] = {}
    for patch in letters:
        box = patch.get_path().get_extents()
        position = round((box.x0 + box.x1) / 2)
        assert box.y0 == pytest.approx(heights.get(position, 0.0), abs=1e-9)  # they stand on one another
        heights[position] = box.y1
    assert list(heights) == list(range(3, 10))
    assert list(heights.values()) == pytest.approx(motif.attention["head_2"].loc[3:9].tolist())
    assert says_what_it_is_not(ax)


def test_differences_and_the_control_show_their_tables(
    fitted: aam.AAM, maps: AttentionMaps, sides: tuple[Study, Study]
) -> None:
    ids = sides[1].sample_ids.tolist()
    difference = compare_attention(maps, sides[1], a=ids[:6], b=ids[6:])
    ax = plots.attention_difference(difference, names=("$young$", "old"), top=8)
    assert ax.lines[0].get_xdata() == pytest.approx(difference.asvs["mean_a"].head(8).to_numpy()[::-1])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [r"\$young\$", "old"]
    assert says_what_it_is_not(ax)
    control = uniform_control(fitted, sides[1])
    ax = plots.uniform_control(control)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(control.changes["relative"].tolist())
    assert says_what_it_is_not(ax)
    figure = ax.get_figure()
    assert figure is not None
    figure.canvas.draw()


def test_what_there_is_not_is_not_drawn(
    fitted: aam.AAM, maps: AttentionMaps, sides: tuple[Study, Study], study: Study
) -> None:
    with pytest.raises(UnknownIdError, match="layer is 0"):
        plots.attention_heads(maps, next(iter(maps.asv)), layer=0)
    motif = motifs(fitted, study, asvs=list(study.asv_ids[:2]))
    for odd in ({"head": "head_9"}, {"first": 0}, {"first": 30, "last": 10}, {"first": 41}):
        with pytest.raises(UnknownIdError, match=r"There are head_1, head_2, mean, and positions 1 to 40"):
            plots.motif(motif, **odd)  # type: ignore[arg-type]
