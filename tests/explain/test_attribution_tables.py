"""Taxa and clades as sets of ASVs, and the tables that attributions give, against scikit-bio and plain loops."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import sparse
from skbio import TreeNode

import aam_nb as aam
from aam_nb.explain.attribution.attribute import attribute
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.attribution.taxa_and_clades import (
    UNCLASSIFIED,
    choose_clades,
    find_clades,
    find_taxa,
    join_taxonomy,
)
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study


@pytest.fixture(scope="module")
def named(sides: tuple[Study, Study]) -> Study:
    """The test side with a taxonomy; a fifth of the genera are not known."""
    test, rng = sides[1], np.random.default_rng(3)
    phylum = rng.choice(["Firmicutes", "Bacteroidota"], size=test.num_asvs)
    genus = pd.Series([f"{p[:4]}_{g}" for p, g in zip(phylum, rng.integers(0, 5, test.num_asvs), strict=True)])
    genus = genus.where(rng.random(test.num_asvs) > 0.2)
    taxonomy = pd.DataFrame({"phylum": phylum, "genus": genus.to_numpy(), "confidence": 0.9}, index=test.asv_ids)
    return replace(test, taxonomy=taxonomy)


@pytest.fixture(scope="module")
def few(named: Study) -> Study:
    return named.keep_samples(named.sample_ids[:3])


# -- sets of ASVs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_samples", [1, 3])
def test_clades_are_the_branches_of_the_tree(fitted: aam.AAM, named: Study, num_samples: int) -> None:
    """Walked by scikit-bio: sets of the ASVs held, each once, with the lengths of all branches above it."""
    part = named.keep_samples(named.sample_ids[:num_samples])
    held = (part.prevalence > 0).to_numpy()
    groups = find_clades(part.require_tree(), part.asv_ids, held)
    assert part.tree is not None
    root, there = TreeNode.read([part.tree.to_newick()], convert_underscores=False), set(part.asv_ids[held])
    walked: dict[frozenset[str], float] = {}
    for node in root.postorder(include_self=False):
        tips = frozenset({tip.name for tip in node.tips(include_self=True)} & there)
        if 2 <= len(tips) < len(there):
            walked[tips] = walked.get(tips, 0.0) + node.length
    found = {
        frozenset(part.asv_ids[groups.members[[k]].indices]): length
        for k, length in enumerate(groups.features["length"])
    }
    assert found.keys() == walked.keys()
    assert len(found) == len(groups)
    for tips, length in walked.items():
        assert found[tips] == pytest.approx(length)
    np.testing.assert_array_equal(groups.features["num_asvs"], np.diff(groups.members.indptr))


def test_clades_have_names(fitted: aam.AAM, hand_study: Study) -> None:
    """Nodes 1 and 4 of the hand-worked tree: the node's own name, else the lowest taxon that all share, else none."""
    assert hand_study.tree is not None
    held = np.ones(4, dtype=bool)

    def names(study: Study) -> dict[int, str]:
        found = find_clades(study.require_tree(), study.asv_ids, held, study.taxonomy).features
        return dict(zip(found["node"], found["name"], strict=True))

    assert names(hand_study) == {1: "", 4: ""}
    taxonomy = pd.DataFrame({"phylum": ["P", "P", "Q", "Q"], "genus": ["g", "g", "h", None]}, index=hand_study.asv_ids)
    classified = replace(hand_study, taxonomy=taxonomy)
    assert names(classified) == {1: "g (genus)", 4: "Q (phylum)"}
    labels = list(hand_study.tree.names)
    labels[1], labels[4] = "0.98", "Ruminococcus"
    assert names(replace(classified, tree=replace(hand_study.tree, names=tuple(labels)))) == {
        1: "g (genus)",
        4: "Ruminococcus",
    }


def test_clades_are_chosen_small_and_apart() -> None:
    """Of six ASVs; worked out by hand. Going down the order 0, 1, …: half of six is three."""
    clades = sparse.csr_array(
        np.array(
            [
                [1, 1, 1, 1, 0, 0],  # too large
                [1, 1, 1, 0, 0, 0],  # chosen
                [1, 1, 0, 0, 0, 0],  # within it
                [0, 0, 0, 0, 1, 1],  # chosen
                [0, 0, 0, 1, 1, 1],  # holds it
            ]
        )
    )
    assert choose_clades(clades, range(5), 10).tolist() == [1, 3]
    assert choose_clades(clades, range(5), 1).tolist() == [1]
    assert choose_clades(clades, [4, 3, 2, 1], 10).tolist() == [4, 2]


def test_namesakes_of_other_lineages_are_taxa_of_their_own(fitted: aam.AAM, hand_study: Study) -> None:
    """Of three genera called uncultured two share a family's name too; samples that hold but one call it the same."""
    ranks = {
        "phylum": ["P", "P", "Q", "Q"],
        "family": ["f", "f", "f", "h"],
        "genus": ["uncultured", "uncultured", "uncultured", "uncultured"],
    }
    study = replace(hand_study, taxonomy=pd.DataFrame(ranks, index=hand_study.asv_ids))
    want = {"uncultured (f, P)": 2, "uncultured (f, Q)": 1, "uncultured (h, Q)": 1}
    found = find_taxa(study.taxonomy, np.ones(4, dtype=bool), "genus")
    assert dict(zip(found.features["name"], found.features["num_asvs"], strict=True)) == want
    np.testing.assert_array_equal(found.members.toarray(), [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    part = find_taxa(study.taxonomy, np.array([False, True, False, False]))
    assert part.features.index.tolist() == ["phylum: P", "family: f (P)", "genus: uncultured (f, P)"]
    # What lies below node 1 shares all, what lies below node 4 the phylum.
    named = find_clades(study.require_tree(), study.asv_ids, np.ones(4, dtype=bool), study.taxonomy).features
    assert dict(zip(named["node"], named["name"], strict=True)) == {1: "uncultured (genus)", 4: "Q (phylum)"}
    assert named["share"].tolist() == [0.5, 0.5]


def test_ranks_may_be_called_as_columns_of_results_are(fitted: aam.AAM, few: Study) -> None:
    assert few.taxonomy is not None
    odd = few.taxonomy.rename(columns={"phylum": "mean", "genus": "attribution"}).assign(a="x", asv_id="y")
    found = attribute(fitted, replace(few, taxonomy=odd))
    table, plain = found.by_feature(), attribute(fitted, few).by_feature()
    np.testing.assert_array_equal(table["mean"], plain["mean"])
    pd.testing.assert_series_equal(table["mean (taxonomy)"], plain["phylum"], check_names=False)
    long = found.to_frame()
    assert long.columns.tolist() == [
        "asv_id", "attribution", "mean", "attribution (taxonomy)", "a", "asv_id (taxonomy)", *()
    ]  # fmt: skip
    assert "a (taxonomy)" in found.difference(*map(str, few.sample_ids[:2]))
    assert "mean (taxonomy)" in found._repr_html_()


def test_sums_over_members(fitted: aam.AAM, few: Study) -> None:
    """Integrated gradients of taxa and clades, by a plain loop over their ASVs."""
    by_asv = attribute(fitted, few)
    of_taxa, of_clades = (attribute(fitted, few, level=level) for level in ("taxon", "clade"))
    dense = by_asv.values.toarray()
    for found in (of_taxa, of_clades):
        assert found.members is not None
        for k in range(len(found.features)):
            members = found.members[[k]].indices
            np.testing.assert_allclose(found.values.toarray()[:, k], dense[:, members].sum(1), rtol=1e-5, atol=1e-5)
        held = (few.table @ found.members.T).toarray() > 0
        assert found.values.nnz == held.sum()
        pd.testing.assert_frame_equal(found.check, by_asv.check)
    assert of_taxa.features["rank"].unique().tolist() == ["phylum", "genus"]
    assert few.taxonomy is not None
    unknown = few.taxonomy["genus"].isna() & (few.prevalence > 0)
    assert of_taxa.features.loc[f"genus: {UNCLASSIFIED}", "num_asvs"] == unknown.sum()


def test_taxa_of_one_rank_and_those_of_the_reference(fitted: aam.AAM, few: Study) -> None:
    held = (few.prevalence > 0).to_numpy()
    phyla = find_taxa(join_taxonomy(few, few.asv_ids), held, "phylum")
    assert phyla.features.index.tolist() == ["phylum: Bacteroidota", "phylum: Firmicutes"]
    assert phyla.features["num_asvs"].sum() == held.sum()
    # ASVs of the training mean that the test study has no taxon of are among the unclassified.
    found = attribute(fitted, few.keep_asvs(held), level="taxon", rank="phylum", reference="mean")
    assert len(found.asv_ids) > held.sum()
    assert found.features.loc[f"phylum: {UNCLASSIFIED}", "num_asvs"] == len(found.asv_ids) - held.sum()


# -- views ---------------------------------------------------------------------------------------------------------------------


def made(values: npt.NDArray[np.float64], groups: list[str]) -> Attributions:
    n = len(values)
    ids = pd.Index([f"s{k}" for k in range(n)], name="sample_id")
    asvs = pd.Index(["".join(p) for p in itertools.islice(itertools.product("ACGT", repeat=3), values.shape[1])])
    study = Study(sparse.csr_array((values != 0).astype(int)), ids, asvs, pd.DataFrame({"host": groups}, index=ids))
    check = pd.DataFrame({"output": "y", "prediction": 1.0, "reference": 0.0, "sum": 1.0, "gap": 0.0}, index=ids)
    return Attributions("y", "units of y", sparse.csr_array(values), ids, asvs, check, study=study)


@pytest.mark.parametrize("group", [None, "host"])
def test_intervals_are_those_of_a_plain_bootstrap(group: str | None) -> None:
    rng = np.random.default_rng(0)
    hosts = np.repeat(np.arange(12), rng.integers(1, 5, size=12))
    values = rng.normal(size=(len(hosts), 3)) + rng.normal(size=12)[hosts, None] + [0, 1, -2]
    values[rng.random(values.shape) < 0.3] = 0
    found = made(values, [f"h{k}" for k in hosts]).by_feature(group=group, num_resamples=4000, seed=1)
    units = [np.flatnonzero(hosts == h) for h in range(12)] if group else [np.array([k]) for k in range(len(hosts))]
    draws = []
    for _ in range(4000):
        rows = np.concatenate([units[k] for k in rng.integers(len(units), size=len(units))])
        draws.append(values[rows].mean(0))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    table = found.sort_index()
    np.testing.assert_allclose(table["low"], low, atol=0.05)
    np.testing.assert_allclose(table["high"], high, atol=0.05)


def test_consistency_is_the_share_with_the_sign_of_the_mean() -> None:
    values = np.array([[1.0, -1.0, 0.0], [2.0, 3.0, 0.0], [0.0, -3.0, 0.0], [-1.0, 0.0, 0.0]])
    table = made(values, ["h"] * 4).by_feature().sort_index()
    assert table["consistency"].round(3).tolist() == [round(2 / 3, 3), round(2 / 3, 3), 0.0]
    assert table["positive"].round(3).tolist() == [round(2 / 3, 3), round(1 / 3, 3), 0.0]
    assert table["samples"].tolist() == [3, 3, 0]
    with pytest.raises(ExplainError, match="the explained samples are not available"):
        replace(made(values, ["h"] * 4), study=None).by_feature(group="host")
    # Of one sample, or one host, no interval can be had; a sample without a host stands for itself.
    assert made(values[:1], ["h"]).by_feature()[["low", "high"]].isna().all(axis=None)
    assert made(values, ["h"] * 4).by_feature(group="host")["low"].isna().all()
    assert made(values, ["h", "h", "h", None]).by_feature(group="host")["low"].notna().all()  # type: ignore[list-item]


def test_tables_carry_the_taxonomy(fitted: aam.AAM, few: Study, tmp_path: Path) -> None:
    found = attribute(fitted, few)
    assert few.taxonomy is not None
    table = found.by_asv()
    pd.testing.assert_series_equal(table["genus"], few.taxonomy["genus"].loc[table.index], check_names=False)
    assert "confidence" not in table
    long = found.to_frame()
    assert long.columns.tolist() == ["asv_id", "attribution", "phylum", "genus"]
    assert (long["phylum"].to_numpy() == few.taxonomy["phylum"].loc[long["asv_id"]].to_numpy()).all()
    back = pd.read_csv(found.save(tmp_path / "deep" / "found.csv"), index_col="sample_id")
    np.testing.assert_allclose(back["attribution"], long["attribution"])
    by_taxon = attribute(fitted, few, level="taxon")
    assert by_taxon.to_frame().columns.tolist() == ["taxon", "attribution", "rank", "name", "num_asvs"]
    assert f"3 samples x {len(by_taxon.features)} taxa by integrated gradients" in repr(by_taxon)
    assert by_taxon.model is fitted
    assert by_taxon.study is few


def test_one_sample_against_another(fitted: aam.AAM, few: Study) -> None:
    found = attribute(fitted, few)
    a, b = (str(s) for s in few.sample_ids[:2])
    table = found.difference(a, b)
    dense = pd.DataFrame(found.values.toarray(), index=found.sample_ids, columns=found.asv_ids)
    np.testing.assert_allclose(table["difference"], (dense.loc[a] - dense.loc[b])[table.index])
    assert table["difference"].abs().is_monotonic_decreasing
    assert "genus" in table
    with pytest.raises(UnknownIdError, match="was not explained"):
        found.difference(a, "nobody")


def test_names_from_files_are_escaped(fitted: aam.AAM, few: Study) -> None:
    evil = "<img src=x onerror=alert(1)>"
    assert few.taxonomy is not None
    named = replace(few, taxonomy=few.taxonomy.assign(genus=evil))
    page = attribute(fitted, named, level="taxon", rank="genus")._repr_html_()
    assert "<img" not in page
    assert "&lt;img" in page


def test_gaps_are_shares_of_the_largest_of_three() -> None:
    """Of a sample's own change, of the median one, 2, or of a ten-thousandth of the prediction, which single precision still tells."""
    found = made(np.eye(3), ["h"] * 3)
    check = found.check.assign(prediction=[4.0, 2.0, 1.0], reference=0.0, gap=[0.1, -0.1, 0.1])
    assert replace(found, check=check).gaps().tolist() == pytest.approx([0.1 / 4, 0.1 / 2, 0.1 / 2])
    assert replace(found, check=check).largest_gap == pytest.approx(0.05)
    tiny = check.assign(prediction=20.0, reference=[20.0, 20.0, 20 - 1e-5], gap=[0.0, 0.0, 4e-6])
    assert replace(found, check=tiny).largest_gap == pytest.approx(4e-6 / 20e-4)
    assert np.isnan(replace(found, method="occlusion").largest_gap)
