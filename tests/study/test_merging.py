"""Two studies made one, against pandas' join of the dense tables."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import aam_nb as aam
from aam_nb.study.merging import MergeError
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree


def make(counts: dict[str, list[int]], samples: list[str], **metadata: list[object]) -> Study:
    ids = pd.Index(samples)
    return Study(
        sparse.csr_array(np.array(list(counts.values())).T), ids, pd.Index(counts), pd.DataFrame(metadata, ids)
    )


def dense(study: Study) -> pd.DataFrame:
    return pd.DataFrame(study.table[:].toarray(), list(study.sample_ids), list(study.asv_ids))


ONE = make({"ACGTAA": [1, 2], "ACGTCC": [0, 3]}, ["a", "b"], ph=[5.0, 6.0], site=["x", "y"])
OTHER = make({"ACGTCC": [7], "GGGGAA": [8]}, ["c"], ph=[7.0], age=[40])


def test_tables_are_joined_on_the_dna() -> None:
    both = aam.merge(ONE, OTHER)
    oracle = pd.concat([dense(ONE), dense(OTHER)]).fillna(0).astype(int)
    pd.testing.assert_frame_equal(dense(both), oracle, check_dtype=False)
    assert both.metadata["ph"].tolist() == [5.0, 6.0, 7.0]
    assert both.metadata["site"].tolist()[:2] == ["x", "y"]
    assert both.metadata["age"].isna().tolist() == [True, True, False]
    told = " | ".join(both.provenance)
    assert "merged 2 and 1 samples: 1 of 3 ASVs are in both" in told
    assert "2 metadata columns are in one study only" in told


@pytest.mark.parametrize("seed", range(5))
def test_random_studies_of_different_lengths_against_pandas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = ["".join(rng.choice(list("AC"), 6)) for _ in range(12)]
    studies = []
    for name, length in (("p", 6), ("q", 5)):
        asvs = list(dict.fromkeys(s[:length] for s in rng.permutation(pool)[:8]))
        counts = rng.poisson(2, (len(asvs), 3)) + 1
        studies.append(make(dict(zip(asvs, counts.tolist(), strict=True)), [f"{name}{i}" for i in range(3)]))
    both = aam.merge(*studies, trim="shortest")
    cut = [dense(s).rename(columns=lambda c: c[:5]).T.groupby(level=0).sum().T for s in studies]
    oracle = pd.concat(cut).fillna(0).astype(int)
    pd.testing.assert_frame_equal(dense(both)[sorted(both.asv_ids)], oracle[sorted(oracle.columns)], check_dtype=False)
    assert both.depth.sum() == sum(s.depth.sum() for s in studies)


def test_names_make_a_column_to_hold_a_study_out_by() -> None:
    both = aam.merge(ONE, OTHER, names=("soil", "sea"))
    assert both.metadata["study"].tolist() == ["soil", "soil", "sea"]
    with pytest.raises(MergeError, match=r"'study' already"):
        aam.merge(both, make({"ACGTAA": [1]}, ["z"]), names=("one", "two"))


def test_the_tree_that_holds_every_asv_is_kept() -> None:
    small = Tree(np.array([-1, 0, 0]), np.array([0.0, 1, 1]), (None, "ACGTAA", "ACGTCC"))
    large = Tree(np.array([-1, 0, 0, 2, 2]), np.array([0.0, 1, 1, 1, 1]), (None, "ACGTAA", None, "ACGTCC", "GGGGAA"))
    assert aam.merge(replace(ONE, tree=small), replace(OTHER, tree=large)).tree is large
    lost = aam.merge(replace(ONE, tree=small), OTHER)
    assert lost.tree is None
    assert any("left out the tree: neither holds all ASVs (1 of 3 missing" in s for s in lost.provenance)
    cut = aam.merge(replace(ONE, tree=small), OTHER, trim=4)
    assert cut.tree is None
    assert any("left out the tree, whose tips are not cut" in s for s in cut.provenance)


def test_lineages_of_both_are_kept_and_contradictions_counted() -> None:
    one = replace(ONE, taxonomy=pd.DataFrame({"domain": ["B", "B"], "phylum": ["F", "P"]}, index=ONE.asv_ids))
    other = replace(OTHER, taxonomy=pd.DataFrame({"domain": ["B", "A"], "phylum": ["Q", None]}, index=OTHER.asv_ids))
    both = aam.merge(one, other)
    assert both.taxonomy is not None
    assert both.taxonomy["domain"].tolist() == ["B", "B", "A"]
    assert both.taxonomy["phylum"].tolist()[:2] == ["F", "P"]
    assert any("1 ASV has a lineage in both studies, 1 of them not the same" in s for s in both.provenance)


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(MergeError, match=r"2 sample ids are in both studies \(a, b\).*prefix=True.*keep_samples"):
        aam.merge(ONE, ONE)
    with pytest.raises(
        MergeError, match=r"share no ASV \(ACGTAA.* and TTTT.*6 to 6 nt and 4 to 4 nt\).*trim='shortest'"
    ):
        aam.merge(ONE, make({"TTTT": [1]}, ["z"]))
    with pytest.raises(MergeError, match=r"2 of 2 ASVs are shorter than 9 nt .*trim='shortest'"):
        aam.merge(ONE, OTHER, trim=9)
    with pytest.raises(
        MergeError, match=r"Column 'ph' holds numbers in the first study and text in the second.*types="
    ):
        aam.merge(ONE, make({"ACGTAA": [1]}, ["z"], ph=["sour"]))


@pytest.mark.parametrize("trim", ["foo", 1.5, 100.0, True, False, (4,), 0, -1])
def test_a_trim_that_is_no_length_is_refused(trim: Any) -> None:
    with pytest.raises(MergeError, match=rf"trim is {re.escape(repr(trim))}\. Expected .*`trim='shortest'`"):
        aam.merge(ONE, OTHER, trim=trim)
    assert aam.merge(ONE, OTHER, trim=np.int64(4)).num_asvs == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a",), ("a", "a"), "ab", ("a", 1), ("a", ""), (None, "b"), 2])
def test_names_that_do_not_name_two_studies_are_refused(names: Any) -> None:
    with pytest.raises(MergeError, match=rf"names is {re.escape(repr(names))}\. Expected two names that differ"):
        aam.merge(ONE, OTHER, names=names)


DATE, TEXT, NUMBER, TRUTH = pd.Timestamp("2020-01-02"), "x", 1.0, True


@pytest.mark.parametrize("one", [DATE, TEXT, NUMBER, TRUTH, None])
@pytest.mark.parametrize("other", [DATE, TEXT, NUMBER, TRUTH, None])
def test_columns_are_of_one_kind_or_refused(one: Any, other: Any, tmp_path: Path) -> None:
    sides = make({"ACGTAA": [1]}, ["a"], x=[one]), make({"ACGTAA": [1]}, ["b"], x=[other])
    if one is not None and other is not None and type(one) is not type(other):
        with pytest.raises(MergeError, match=r"Column 'x' holds \w+.* in the first study and \w+.* in the second\."):
            aam.merge(*sides)
    else:
        both = aam.merge(*sides)
        assert both.metadata["x"].dropna().tolist() == [v for v in (one, other) if v is not None]
        both.save(tmp_path / "both")


@pytest.mark.real
def test_real_studies_of_different_lengths_share_asvs_once_cut(real_data: Path) -> None:
    """Two studies of infant stool, 100 and 150 nt from the same primer: cut to 100 nt they share most reads."""
    peru, ecam = (
        aam.read_study(real_data / n / f"{n}.biom", metadata=real_data / n / f"{n}.tsv")
        for n in ("infants_peru", "ecam")
    )
    with pytest.raises(MergeError, match=r"100 to 100 nt and 150 to 150 nt"):
        aam.merge(peru, ecam)
    both = aam.merge(peru, ecam, trim="shortest", names=("peru", "ecam"))
    assert both.num_samples == 186 + 699
    assert both.depth.sum() == peru.depth.sum() + ecam.depth.sum()
    shared = both.asv_ids.isin(peru.asv_ids) & both.asv_ids.isin(ecam.asv_ids.str.slice(0, 100))
    assert shared.sum() > 50


def test_samples_of_one_id_are_told_apart_by_the_names_of_their_studies() -> None:
    again = make({"ACGTAA": [5, 0], "TTTTAA": [1, 4]}, ["a", "b"], ph=[1.0, 2.0])
    both = aam.merge(ONE, again, names=("p", "q"), prefix=True)
    assert list(both.sample_ids) == list(both.metadata.index) == ["p.a", "p.b", "q.a", "q.b"]
    assert both.metadata.loc["q.b", ["ph", "study"]].tolist() == [2.0, "q"]
    assert dense(both).loc["q.a"].to_dict() == {"ACGTAA": 5, "ACGTCC": 0, "TTTTAA": 1}
    assert any("put 'q' before the sample ids (a is q.a)" in s for s in both.provenance)
    with pytest.raises(MergeError, match="the studies have no names"):
        aam.merge(ONE, again, prefix=True)
    with pytest.raises(MergeError, match="prefix is 'p'"):
        aam.merge(ONE, again, names=("p", "q"), prefix="p")  # type: ignore[arg-type]
