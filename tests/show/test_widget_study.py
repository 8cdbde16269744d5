"""The explorer of a study: its numbers are those of the study, and what is set in it is a study for the next step."""

import base64
import json
import re
import warnings
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import traitlets
from scipy import sparse
from scipy.spatial.distance import pdist, squareform
from skbio import DistanceMatrix, TreeNode
from skbio.diversity import beta_diversity
from skbio.stats.ordination import pcoa as skbio_pcoa

import aam_nb as aam
from aam_nb.config import UserError
from aam_nb.show.widgets import ExplorerError
from aam_nb.show.widgets.study_columns import describe_columns
from aam_nb.study.errors import EmptySampleError, MissingTipError, UnknownIdError
from aam_nb.study.study import Study

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def named(study):
    """The simulated study with a taxonomy: 4 phyla of 20 ASVs, genera of 5, one in ten without a species."""
    k = np.arange(study.num_asvs)
    species = pd.Series([f"s{i // 2}" for i in k], index=study.asv_ids, dtype=object).where(k % 10 > 0)
    ranks = {"domain": "Bacteria", "phylum": [f"P{i // 20}" for i in k], "genus": [f"G{i // 5}" for i in k]}
    taxonomy = pd.DataFrame(ranks, index=study.asv_ids).assign(species=species)
    return replace(study, taxonomy=taxonomy, truth=None)


@pytest.fixture
def explorer(named):
    return aam.widgets.explore(named)


def shares_of(sent):
    """The shares that a browser would unpack."""
    numbers = np.frombuffer(base64.b64decode(sent["shares"]), "<u2") / 65535
    return pd.DataFrame(numbers.reshape(-1, len(sent["names"])), columns=sent["names"])


# -- the next step --------------------------------------------------------------------------------------------------------


def test_the_selection_is_a_study_and_all_of_it_at_first(explorer, named):
    assert explorer.selection is named
    explorer.selected = list(named.sample_ids[[5, 2]])
    assert list(explorer.selection.sample_ids) == list(named.sample_ids[[2, 5]])
    explorer.set_state({"selected": []})
    assert explorer.selection.num_samples == named.num_samples


def test_the_depth_and_the_prevalence_are_studies_too(explorer, named):
    explorer.depth = 500
    assert set(explorer.rarefied.depth) == {500}
    assert explorer.rarefied.num_samples == (named.depth >= 500).sum()
    explorer.min_prevalence = 10
    assert list(explorer.filtered.asv_ids) == list(named.asv_ids[(named.table.toarray() > 0).sum(axis=0) >= 10])


# -- numbers --------------------------------------------------------------------------------------------------------------


def test_what_a_depth_keeps_is_counted_from_the_data(explorer, named):
    dense = named.table.toarray()
    deepest, holders = map(np.array, explorer.data["deepest"])
    for depth in (1, 400, 800, int(named.depth.max())):
        kept = dense[dense.sum(axis=1) >= depth]
        assert (np.array(explorer.data["depth"]) >= depth).sum() == len(kept)
        assert holders[deepest >= depth].sum() == (kept.sum(axis=0) > 0).sum()


def test_prevalence_is_counted_from_the_data(explorer, named):
    dense = named.table.toarray()
    places, asvs, reads = map(np.array, explorer.data["prevalence"])
    prevalence = (dense > 0).sum(axis=0)
    for least in (0, 1, 5, 20):
        assert asvs[places >= least].sum() == (prevalence >= least).sum()
        assert reads[places >= least].sum() == dense[:, prevalence >= least].sum()


def test_the_study_that_is_drawn_has_about_so_many_asvs(explorer, named):
    explorer.depth = 350
    drawn = [(named.rarefy(350, seed=seed).prevalence > 0).sum() for seed in range(40)]
    assert explorer.retained["350"] == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(40) + 1e-9)


def test_coordinates_are_those_of_scikit_bio(explorer, named):
    explorer.distance = "jaccard"
    presence = DistanceMatrix(squareform(pdist(named.table.toarray() > 0, "jaccard")), named.sample_ids)
    _same_axes(explorer.ordinations["jaccard"], presence)
    explorer.distance = "braycurtis"
    dense = named.table.toarray() / named.depth.to_numpy()[:, None]
    _same_axes(
        explorer.ordinations["braycurtis"], DistanceMatrix(squareform(pdist(dense, "braycurtis")), named.sample_ids)
    )
    assert set(explorer.ordinations) == {"unweighted", "jaccard", "braycurtis"}


def test_the_first_distance_is_unweighted_unifrac(named):
    explorer = aam.widgets.explore(named, most=12)
    some = named.keep_samples(explorer.drawn)
    tree = some.tree.to_newick()
    by_skbio = beta_diversity(
        "unweighted_unifrac",
        some.table.toarray(),
        some.sample_ids,
        taxa=list(some.asv_ids),
        tree=TreeNode.read([tree]),
        validate=False,
    )
    _same_axes(explorer.ordinations["unweighted"], by_skbio)


def _same_axes(sent, distances):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = skbio_pcoa(distances, method="eigh", dimensions=len(distances.ids))
    want, points = result.samples.to_numpy()[:, :3].T, np.array(sent["points"])
    np.testing.assert_allclose(np.abs(points), np.abs(want), atol=2e-4)
    np.testing.assert_allclose(sent["share"], result.proportion_explained[:3], atol=1e-4)


def test_a_rarefied_pcoa_is_of_the_samples_that_are_deep_enough(explorer, named):
    explorer.depth = 800
    explorer.rarefy = True
    sent = explorer.ordinations["unweighted@800"]
    assert list(named.sample_ids[sent["samples"]]) == list(named.sample_ids[named.depth >= 800])
    explorer.depth = 700
    assert "unweighted@700" in explorer.ordinations


def test_axes_that_go_with_depth_are_told():
    rng = np.random.default_rng(0)
    table = sparse.csr_array(np.stack([rng.multinomial(d, np.full(60, 1 / 60)) for d in np.geomspace(10, 500, 30)]))
    base = aam.simulate_study(8, 60, seed=0)
    ids = pd.Index([f"s{k}" for k in range(30)])
    study = Study(table, ids, base.asv_ids, pd.DataFrame(index=ids))
    explorer = aam.widgets.explore(study, distance="jaccard")
    assert "is correlated with sequencing depth (Spearman ρ" in explorer.ordinations["jaccard"]["note"]
    assert explorer.ordinations["jaccard"]["note"] in explorer.sentence()


def test_shares_of_taxa_are_those_of_a_table(explorer, named):
    relative = pd.DataFrame(named.table.toarray() / named.depth.to_numpy()[:, None], columns=named.asv_ids)
    for rank in ("phylum", "genus"):
        explorer.rank = rank
        shares = shares_of(explorer.taxa[rank])
        want = relative.T.groupby(named.taxonomy[rank].to_numpy()).sum().T
        assert explorer.taxa[rank]["taxa"] == want.shape[1]
        np.testing.assert_allclose(shares, want[shares.columns], atol=1e-5)
        assert list(shares.columns) == list(want.mean().sort_values(ascending=False).index)
    explorer.rank = "species"
    assert "(unclassified)" in explorer.taxa["species"]["names"]
    assert "G0 s1" in explorer.taxa["species"]["names"]  # with its genus
    explorer.rank = "ASV"
    assert set(explorer.taxa["ASV"]["full"]) <= set(named.asv_ids)


def test_taxa_of_the_selection_are_in_the_twin(explorer, named):
    explorer.selected = named.sample_ids[:5]
    explorer.color = ""
    table = explorer.taxon_frame()
    relative = named.table.toarray()[:5] / named.depth.to_numpy()[:5, None]
    phylum = pd.DataFrame(relative.mean(axis=0), index=named.taxonomy["phylum"]).groupby(level=0).sum()[0]
    assert list(table.columns) == ["all (48)", "selected (5)"]
    pd.testing.assert_series_equal(table["selected (5)"], phylum[table.index], check_names=False, atol=1e-6)


def test_curves_are_of_the_selection_and_end_at_all_asvs(explorer, named):
    explorer.selected = named.sample_ids[[3, 1]]
    assert [s["name"] for s in explorer.curves["series"]] == list(named.sample_ids[[1, 3]])
    for series in explorer.curves["series"]:
        assert series["points"][0] == [1, 1]
        assert series["points"][-1] == [named.depth[series["name"]], named.richness[series["name"]]]
        assert ([explorer.depth, series["here"]] in series["points"]) or series["here"] is None


def test_mean_curves_are_means_of_samples(explorer, named):
    explorer.color, explorer.curves_by, explorer.depth = "diet", "levels", 300
    series_of = {s["name"]: s for s in explorer.curves["series"]}
    assert set(series_of) == set(named.metadata["diet"])
    for level, series in series_of.items():
        rows = named.table.toarray()[(named.metadata["diet"] == level).to_numpy()]
        rows = [r for r in rows if r.sum() >= 300]
        each = [sum(1 - comb(int(r.sum() - n), 300) / comb(int(r.sum()), 300) for n in r.tolist()) for r in rows]
        assert series["here"] == pytest.approx(np.mean(each), rel=1e-4)


# -- which samples and columns ----------------------------------------------------------------------------------------------


def test_of_too_many_samples_some_are_drawn_and_it_is_said(named):
    explorer = aam.widgets.explore(named, most=20, seed=3)
    again = aam.widgets.explore(named, most=20, seed=3)
    assert len(explorer.drawn) == 20
    assert list(explorer.drawn) == list(again.drawn) == [i for i in named.sample_ids if i in explorer.drawn]
    assert "the PCoA shows 20 of 48 samples, drawn at random (seed 3)" in explorer.sentence()
    assert explorer.to_frame()["PCo 1"].notna().sum() == 20


def test_columns_are_taken_as_what_they_are(hand_study):
    ids = pd.Index([f"s{k}" for k in range(30)])
    metadata = pd.DataFrame(
        {
            "year": np.arange(30) % 3 + 2008,
            "age": np.arange(30) * 1.5,
            "barcode": [f"AC{k}" for k in range(30)],
            "empty": np.nan,
            "yes": np.arange(30) % 2 == 0,
            "site": ["a", None, "b"] * 10,
        },
        index=ids,
    )
    table = sparse.csr_array(np.ones((30, 4), int))
    columns, told = describe_columns(Study(table, ids, hand_study.asv_ids, metadata))
    kinds = {c["name"]: c["kind"] for c in columns}
    assert kinds == {"year": "categories", "age": "numbers", "yes": "categories", "site": "categories"}
    assert columns[0]["levels"] == ["2008", "2009", "2010"]
    assert columns[0]["values"][:4] == [0, 1, 2, 0]
    assert columns[3]["values"][:3] == [0, -1, 1]
    assert told.startswith("2 of 6 metadata columns are left out (barcode, empty)")


def test_without_a_tree_and_a_taxonomy_the_rest_is_there(study, tmp_path):
    explorer = aam.widgets.explore(replace(study, tree=None))
    assert explorer.distance == "braycurtis"
    assert explorer.ranks == ("ASV",)
    with pytest.raises(MissingTipError, match="has no tree"):
        explorer.distance = "unweighted"
    assert explorer.export(tmp_path / "a.html").stat().st_size > 10_000


def test_a_study_on_disk_shows_the_same(named, tmp_path, explorer):
    named.save(tmp_path / "study")
    lazy = aam.widgets.explore(Study.load(tmp_path / "study", lazy=True))
    assert lazy.study.lazy
    whole, other = explorer.saved_state(), lazy.saved_state()
    for name in ("ordinations", "taxa", "curves", "retained"):
        assert whole[name] == other[name]
    assert {k: v for k, v in whole["data"].items() if k != "provenance"} == {
        k: v for k, v in other["data"].items() if k != "provenance"
    }
    lazy.selected = named.sample_ids[:4]
    assert lazy.selection.lazy
    assert lazy.figure().axes


def test_samples_without_reads_are_not_drawn(hand_study):
    table = sparse.vstack([hand_study.table, sparse.csr_array((1, 4), dtype=int)]).tocsr()
    ids = pd.Index(["one", "two", "three", "none"])
    study = Study(sparse.csr_array(table), ids, hand_study.asv_ids, pd.DataFrame(index=ids), tree=hand_study.tree)
    explorer = aam.widgets.explore(study)
    assert explorer.ordinations["unweighted"]["samples"] == [0, 1, 2]
    assert "1 sample without reads is not shown in the PCoA" in explorer.sentence()
    with pytest.raises(EmptySampleError):
        aam.widgets.explore(study.keep_samples(["none"]))


def test_two_samples_have_no_pcoa_and_the_rest(hand_study):
    explorer = aam.widgets.explore(hand_study.keep_samples(["one", "two"]))
    assert explorer.ordinations["unweighted"]["note"] == "A PCoA needs 3 samples with reads; there are 2."
    assert "image/png" in explorer._repr_mimebundle_()[0]


# -- what may be set --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("distance", "euclid", r"distance is 'euclid'. Expected one of the distances: unweighted, weighted_normalized"),
        ("color", "ph", r"color is 'ph'. Expected one of the columns .*: host_id, age"),
        ("shape", "age", r"shape is 'age'. Expected one of the columns of categories"),
        ("facet", "ph", r"facet is 'ph'"),
        ("rank", "kingdom", r"rank is 'kingdom'. Expected one of the ranks: domain, phylum, genus, species, ASV"),
        ("depth", 0, r"depth is 0. Expected a whole number from 1 to [\d,]+ \(reads; no sample has more\)"),
        ("depth", 10**8, r"depth is 100000000"),
        (
            "min_prevalence",
            1000,
            r"min_prevalence is 1000. Expected a whole number from 1 to \d+ \(samples; no ASV is found in more\)",
        ),
        ("selected", ["nobody"], r"1 of 1 samples are not in this explorer"),
    ],
)
def test_a_bad_value_is_an_error_here_and_shows_there(explorer, trait, value, message):
    before = getattr(explorer, trait)
    with pytest.raises(UserError, match=message) as caught:
        setattr(explorer, trait, value)
    assert isinstance(caught.value, ExplorerError | UnknownIdError)
    explorer.set_state({trait: value})
    assert re.search(message, explorer.error)
    assert getattr(explorer, trait) == before
    explorer.set_state({"axes": "1-3"})
    assert (explorer.error, explorer.axes) == ("", "1-3")


def test_other_bad_values(explorer, named):
    with pytest.raises(traitlets.TraitError):
        explorer.axes = "1-4"
    with pytest.raises(ExplorerError, match=r"most is 2\. Expected a whole number of at least 3 samples"):
        aam.widgets.explore(named, most=2)
    with pytest.raises(ExplorerError, match="color is 'ph'"):
        aam.widgets.explore(named, color="ph")


def test_a_depth_that_no_drawn_sample_has_is_told(named):
    deepest = named.depth.idxmax()
    drawn = (aam.widgets.explore(named, most=4, seed=seed) for seed in range(20))
    explorer = next(e for e in drawn if deepest not in e.drawn)
    explorer.depth = int(named.depth.max())
    explorer.set_state({"rarefy": True})
    assert explorer.error == ""
    note = f"A PCoA needs 3 samples with at least {explorer.depth:,} reads; there are 0."
    assert explorer.ordinations[explorer.ordination]["note"] == note


# -- twin, files, hostile names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "csv", "html"])
def test_it_is_written_to_files(explorer, tmp_path, kind):
    starts = {"png": b"\x89PNG", "html": b"<!doctype html>", "csv": b"sample_id,depth,richness,kept,selected,PCo 1"}
    assert explorer.export(tmp_path / f"a.{kind}").read_bytes().startswith(starts[kind])


def test_the_twin_has_four_panels_and_a_table(explorer, named):
    titles = [ax.get_title() for ax in explorer.figure().axes]
    assert titles[:4] == ["Sequencing depth", "Prevalence", "unweighted UniFrac", "Composition by phylum"]
    frame = explorer.to_frame()
    assert list(frame.index) == list(named.sample_ids)
    assert (frame["richness"].to_numpy() == (named.table.toarray() > 0).sum(axis=1)).all()
    bundle, _ = explorer._repr_mimebundle_()
    assert {"text/html", "image/png"} <= set(bundle)


def test_a_page_holds_the_taxa_of_all_ranks_and_the_distances_computed(explorer):
    explorer.distance = "aitchison"
    state = json.loads(re.search(r'<script type="application/json">(.*?)</script>', explorer.page(), re.S)[1])
    assert set(state["taxa"]) == {"domain", "phylum", "genus", "species", "ASV"}
    assert set(state["ordinations"]) == {"unweighted", "aitchison"}


def test_names_from_files_are_text(study, tmp_path):
    ids = pd.Index([f"{HOSTILE}{k}" for k in range(study.num_samples)])
    metadata = study.metadata.set_axis(ids).assign(**{HOSTILE: [f"{HOSTILE}{k % 2}" for k in range(len(ids))]})
    taxonomy = pd.DataFrame({"phylum": [f"{HOSTILE}{k % 3}" for k in range(study.num_asvs)]}, index=study.asv_ids)
    hostile = replace(study, sample_ids=ids, metadata=metadata, taxonomy=taxonomy, truth=None, provenance=(HOSTILE,))
    explorer = aam.widgets.explore(hostile, color=HOSTILE)
    explorer.selected = ids[:3]
    for text in (explorer._repr_html_(), explorer.export(tmp_path / "a.html").read_text()):
        assert "<img src=x" not in text
    explorer.set_state({"selected": [f"{HOSTILE}nobody"]})
    assert HOSTILE in explorer.error  # a text node in the browser


@pytest.mark.real
@pytest.mark.slow
def test_a_real_study_of_saliva(real_data):
    folder = real_data / "oral_age"
    study = aam.read_study(folder / "oral_age.biom", metadata=folder / "oral_age.tsv", tree=folder / "oral_age.nwk")
    explorer = aam.widgets.explore(study)
    assert (len(explorer.drawn), explorer.color, explorer.rank) == (2537, "study", "phylum")
    assert len(explorer.ordinations["unweighted"]["samples"]) == 2537
    assert "Firmicutes" in explorer.taxon_frame().index


def test_sizes_at_which_nothing_varies_give_no_warning(tmp_path: Path) -> None:
    study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    ids = pd.Index(list("abcd"))
    same = aam.Study(
        table=np.repeat(study.table[[0]].toarray(), 4, axis=0),
        sample_ids=ids,
        asv_ids=study.asv_ids,
        metadata=study.metadata.iloc[[0] * 4].set_axis(ids, axis=0),
        tree=study.tree,
    )
    for small in (study.keep_samples(study.sample_ids[:1]), study.keep_samples(study.sample_ids[:2]), same):
        page = aam.widgets.explore(small).export(tmp_path / "page.html").read_text(encoding="utf-8")
        assert "NaN" not in page


def test_a_column_that_is_left_out_is_refused_with_the_reason() -> None:
    study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    study.metadata["day"] = pd.date_range("2020-01-01", periods=16)
    study.metadata["note"] = [f"n{i}" for i in range(16)]
    study.metadata["empty"] = np.nan
    for column, reason in {
        "day": r"16 dates all differ.*strftime",
        "note": "16 values all differ",
        "empty": "no value",
    }.items():
        with pytest.raises(ExplorerError, match=f"color is '{column}'.*{reason}"):
            aam.widgets.explore(study, color=column)
