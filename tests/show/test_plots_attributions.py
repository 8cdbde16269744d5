"""Figures of attributions show the tables they are drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import aam_nb as aam
from aam_nb.explain.attribution.attribute import attribute
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.show import plots
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def named(sides: tuple[Study, Study]) -> Study:
    test, rng = sides[1].keep_samples(sides[1].sample_ids[:4]), np.random.default_rng(3)
    genus = pd.Series(rng.choice(["$x_1$", "b", "c"], size=test.num_asvs)).where(rng.random(test.num_asvs) > 0.2)
    taxonomy = pd.DataFrame({"phylum": "P", "genus": genus.to_numpy()}, index=test.asv_ids)
    return replace(test, taxonomy=taxonomy)


def labels(ax: plt.Axes) -> list[str]:
    return [t.get_text() for t in ax.get_yticklabels()]


def test_bars_intervals_and_names(fitted: aam.AAM, named: Study) -> None:
    result = attribute(fitted, named)
    table = result.by_asv().head(6).iloc[::-1]
    ax = plots.attributions(result, top=6, mark=table.index[:1])
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], table["mean"])
    (lines,) = ax.collections
    ends = np.array([segment[:, 0] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends, table[["low", "high"]])
    assert ax.get_xlabel() == "mean attribution\n(units of age)"
    other = plots.attributions(replace(result, output="q(0.1)"), top=3)
    assert other.get_xlabel() == "mean attribution\n(units of age, q(0.1))"
    assert labels(ax)[0].startswith("★ ")
    lowest = table["genus"].fillna("P").str.replace("$", r"\$").tolist()
    for text, name, asv in zip(labels(ax), lowest, table.index, strict=True):
        assert text.removeprefix("★ ") == f"{name} {asv[:7]}…"
    bare = plots.attributions(attribute(fitted, replace(named, taxonomy=None)), top=3)
    assert "…" in labels(bare)[0]


def test_taxa_and_clades(fitted: aam.AAM, named: Study) -> None:
    of_taxa = attribute(fitted, named, level="taxon")
    ax = plots.taxa(of_taxa)
    want = of_taxa.by_feature().query("rank == 'genus'").iloc[::-1]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], want["mean"])
    assert labels(ax) == [n.replace("$", r"\$") for n in want["name"]]
    assert len(plots.taxa(of_taxa, "phylum").patches) == 1
    assert "phylum: P" in labels(plots.attributions(of_taxa))
    rare = named.taxonomy.assign(genus=named.taxonomy["genus"].where(np.arange(named.num_asvs) == 0))  # type: ignore[union-attr]
    hardly = attribute(fitted, replace(named, taxonomy=rare), level="taxon")
    assert "rank phylum" in plots.taxa(hardly).get_title()
    of_clades = attribute(fitted, named, level="clade")
    drawn = labels(plots.clades(of_clades, top=5))
    assert len(drawn) == 5
    assert all("ASVs)" in text for text in drawn)
    with pytest.raises(UnknownIdError, match="rank is 'tribe'"):
        plots.taxa(of_taxa, "tribe")
    with pytest.raises(ExplainError, match="Expected level 'clade'"):
        plots.clades(of_taxa)


def test_drawn_clades_are_apart(fitted: aam.AAM, named: Study) -> None:
    result = attribute(fitted, replace(named, taxonomy=None), level="clade")
    assert result.members is not None
    drawn = [text.split(" (")[0] for text in labels(plots.clades(result, top=8))]
    rows = [result.features.index.get_loc(clade) for clade in drawn]
    assert result.members[rows].sum(0).max() == 1
    best = result.by_feature()
    half = (result.members.sum(0) > 0).sum() / 2
    assert drawn[-1] == best.index[best["num_asvs"] <= half][0]  # the first on top


def test_letters_along_positions(fitted: aam.AAM, named: Study) -> None:
    result = attribute(fitted, named, level="nucleotide", method="gradient_x_input", top=2)
    asv = result.asv_ids[1]
    figure = plots.nucleotides(result, asv)
    ax = figure.axes[0]
    table = result.by_feature().query("asv_id == @asv").sort_values("position")
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], table["mean"])
    assert "".join(t.get_text() for t in ax.get_xticklabels()) == asv
    assert plots.nucleotides(result).get_suptitle() != figure.get_suptitle()
    with pytest.raises(UnknownIdError, match="The nucleotides of ACGT were not explained"):
        plots.nucleotides(result, "ACGT")


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_a_sample_from_the_reference_to_its_prediction(fitted: aam.AAM, named: Study, method: str) -> None:
    result, sample = attribute(fitted, named, method=method), str(named.sample_ids[0])
    ax = plots.sample_attributions(result, sample, top=5)
    check, bars = result.check.loc[sample], ax.patches
    assert bars[0].get_x() == pytest.approx(check["reference"])
    end = bars[-1].get_x() + bars[-1].get_width()
    assert end == pytest.approx(check["prediction"], abs=0.01 * abs(check["prediction"] - check["reference"]))
    np.testing.assert_allclose([bar.get_width() for bar in bars[:5]], result.of_sample(sample).head(5))
    assert labels(ax)[5] == f"{len(result.of_sample(sample)) - 5} others"
    assert (labels(ax)[-1] == "not explained by the method") == (method == "occlusion")


def test_what_leads_nowhere_is_refused(fitted: aam.AAM, named: Study) -> None:
    sample = str(named.sample_ids[0])
    for settings in ({"level": "clade"}, {"level": "taxon"}, {"level": "nucleotide", "method": "occlusion", "top": 1}):
        with pytest.raises(ExplainError, match="do not lead from one reference"):
            plots.sample_attributions(attribute(fitted, named, **settings), sample)  # type: ignore[arg-type]
    one_rank = attribute(fitted, named, level="taxon", rank="genus")
    assert plots.sample_attributions(one_rank, sample).patches


@pytest.mark.parametrize("rows", [1, 15])
def test_legends_lie_below_labels(fitted: aam.AAM, named: Study, rows: int) -> None:
    ax = plots.attributions(attribute(fitted, named), top=rows)
    ax.figure.canvas.draw()
    legend, label = ax.get_legend().get_window_extent(), ax.xaxis.label.get_window_extent()
    assert legend.y1 <= label.y0 + 1
    assert legend.x0 >= 0
    assert legend.x1 <= ax.figure.bbox.width
