"""Verbs of a study on a table small enough to count on one's fingers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import hypergeom

import aam_nb as aam
from aam_nb.study.errors import EmptySampleError, StudyError, TargetError, UnknownIdError
from aam_nb.study.study import Study

EVIL = "<img src=x onerror=alert(1)>"


def make(
    counts: Any, *, samples: list[str] | None = None, asvs: list[str] | None = None, metadata: Any = None
) -> Study:
    counts = np.asarray(counts)
    ids = pd.Index(samples or [f"s{i}" for i in range(counts.shape[0])])
    dna = asvs or ["ACGT" + "AC"[i // 2 % 2] + "GT"[i % 2] for i in range(counts.shape[1])]
    return Study(sparse.csr_array(counts), ids, pd.Index(dna), pd.DataFrame(metadata or {}, index=ids))


def fixed(error: BaseException, study: Study) -> Study:
    """What the first `study....` call in a message gives."""
    call = re.search(r"`(study\.[^`]+)`", str(error))
    assert call, f"no call in: {error}"
    result = eval(call[1], {"study": study})
    assert isinstance(result, Study)
    return result


# -- content ----------------------------------------------------------------------------------------------------------


def test_sizes_and_margins(hand_study: Study) -> None:
    # one: 3 + 1, two: 2 + 5, three: 4 + 4; AAAA in one, AACC in one and two, GGGG in two and three, GGTT in three
    assert (hand_study.num_samples, hand_study.num_asvs) == (3, 4)
    assert hand_study.depth.to_dict() == {"one": 4, "two": 7, "three": 8}
    assert hand_study.prevalence.to_dict() == {"AAAA": 1, "AACC": 2, "GGGG": 2, "GGTT": 1}


def test_summary(hand_study: Study) -> None:
    value = hand_study.summary()["value"].to_dict()
    assert value == {
        "samples": 3, "ASVs": 4, "reads": 19, "depth, smallest": 4, "depth, median": 7, "depth, largest": 8,
        "ASVs per sample, median": 2, "ASVs per sample, largest": 2, "filled cells": 0.5,  # 6 of 12
        "ASV length, shortest": 4, "ASV length, longest": 4, "tree tips": 4, "metadata columns": 2,
    }  # fmt: skip


def test_repr_gives_sizes_and_steps(hand_study: Study) -> None:
    shown = repr(hand_study.keep_samples(["two"]))
    assert shown.splitlines() == [
        "Study(1 sample x 4 ASVs, 2 metadata columns, tree of 4 tips)",
        "  - kept 1 of 3 samples",
    ]


def test_html_escapes_ids_metadata_and_steps() -> None:
    study = replace(make([[1], [2]], samples=[EVIL, "b"], metadata={EVIL: [EVIL, "x"]}), provenance=(f"read {EVIL}",))
    page = study._repr_html_()
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") == 4  # step, column name, row name, value


def test_explicit_zeros_and_repeated_cells_do_not_matter() -> None:
    # The same cells (0 ACGTAG: 1 + 2, 1 ACGTAT: 5) written with a stored zero and in two parts.
    loose = sparse.coo_array(([1, 2, 0, 5], ([0, 0, 0, 1], [0, 0, 1, 1])), shape=(2, 2))
    ids, dna = pd.Index(["s0", "s1"]), pd.Index(["ACGTAG", "ACGTAT"])
    study = Study(loose, ids, dna, pd.DataFrame(index=ids))  # type: ignore[arg-type]
    assert study.table.toarray().tolist() == [[3, 0], [0, 5]]
    assert study.prevalence.tolist() == [1, 1]
    assert study.content_hash() == make([[3, 0], [0, 5]]).content_hash()


@pytest.mark.parametrize(
    "other",
    [
        make([[3, 1], [0, 5]]),
        make([[3, 0], [0, 5]], samples=["s0", "t"]),
        make([[3, 0], [0, 5]], asvs=["ACGTAG", "CC"]),
    ],
    ids=["counts", "samples", "ASVs"],
)
def test_content_hash_tells_studies_apart(other: Study) -> None:
    assert other.content_hash() != make([[3, 0], [0, 5]]).content_hash()


def test_content_hash_covers_the_tree(hand_study: Study) -> None:
    assert replace(hand_study, tree=None).content_hash() != hand_study.content_hash()


def test_ids_stay_text() -> None:
    study = make([[1], [2]], samples=["0012", "12"])
    assert list(study.sample_ids) == ["0012", "12"]
    assert study.keep_samples(["0012"]).depth.tolist() == [1]


VERBS: dict[str, Callable[[Study], Any]] = {
    "rarefy": lambda s: s.rarefy(5),
    "filter": lambda s: s.filter(min_prevalence=2, min_depth=3),
    "keep_samples": lambda s: s.keep_samples(["three", "one"]),
    "keep_asvs": lambda s: s.keep_asvs(["GGGG", "AACC"]),
    "split": lambda s: s.split(test_size=0.4, seed=1),
    "summary": lambda s: s.summary(),
    "unifrac": lambda s: aam.unifrac(s),
    "faith_pd": lambda s: aam.faith_pd(s),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_never_changes_its_study(verb: str, hand_study: Study) -> None:
    digest, metadata, steps = hand_study.content_hash(), hand_study.metadata.copy(), hand_study.provenance
    VERBS[verb](hand_study)
    assert hand_study.content_hash() == digest
    assert hand_study.provenance == steps
    pd.testing.assert_frame_equal(hand_study.metadata, metadata)


def test_making_a_study_changes_neither_table_nor_metadata() -> None:
    counts, metadata = sparse.csr_array(np.array([[1.0, 0.0]])), pd.DataFrame({"x": [1]}, index=["a"])
    study = Study(counts, pd.Index(["a"]), pd.Index(["AC", "GT"]), metadata)
    study.table.data[:] = 9
    assert metadata.index.name is None
    assert counts.toarray().tolist() == [[1.0, 0.0]]


# -- verbs ------------------------------------------------------------------------------------------------------------


def test_keep_samples_in_the_order_given(hand_study: Study) -> None:
    kept = hand_study.keep_samples(["three", "one"])
    assert kept.table.toarray().tolist() == [[0, 0, 4, 4], [3, 1, 0, 0]]
    assert kept.metadata["ph"].to_dict() == {"three": 8.0, "one": 5.0}
    assert kept.tree is hand_study.tree
    assert kept.provenance[-1] == "kept 2 of 3 samples"


def test_keep_samples_aligns_a_boolean_series_by_its_index(hand_study: Study) -> None:
    mask = pd.Series({"three": False, "two": True, "one": False})  # the study's order is one, two, three
    assert list(hand_study.keep_samples(mask).sample_ids) == ["two"]
    assert list(hand_study.keep_samples(hand_study.metadata["ph"] > 6).sample_ids) == ["two", "three"]


@pytest.mark.parametrize("length", [2, 4])
def test_a_mask_of_another_length_is_refused(length: int, hand_study: Study) -> None:
    with pytest.raises(ValueError, match=rf"{length}.*3"):
        hand_study.keep_samples(np.ones(length, dtype=bool))
    with pytest.raises(ValueError, match=rf"{length + 1}.*4"):
        hand_study.keep_asvs(np.ones(length + 1, dtype=bool))


def test_keep_asvs_in_the_table_order_counts_what_fell_out(hand_study: Study) -> None:
    kept = hand_study.keep_asvs(["GGGG", "AACC", "TTTT"])
    assert list(kept.asv_ids) == ["AACC", "GGGG"]
    assert kept.table.toarray().tolist() == [[1, 0], [2, 5], [0, 4]]
    assert kept.provenance[-1] == "kept 2 of 4 ASVs (7 reads dropped)"  # 3 of AAAA and 4 of GGTT


def test_keep_asvs_aligns_a_boolean_series_by_its_index(hand_study: Study) -> None:
    widespread = hand_study.prevalence.sort_index(ascending=False) >= 2  # GGTT, GGGG, AACC, AAAA
    assert list(hand_study.keep_asvs(widespread).asv_ids) == ["AACC", "GGGG"]
    uneven = pd.Series({"GGTT": True, "GGGG": False, "AACC": False, "AAAA": False})
    assert list(hand_study.keep_asvs(uneven).asv_ids) == ["GGTT"]


def test_filter_drops_rare_asvs_before_shallow_samples(hand_study: Study) -> None:
    # Without AAAA and GGTT (one sample each) the depths are 1, 7 and 4.
    kept = hand_study.filter(min_prevalence=2, min_depth=4)
    assert list(kept.asv_ids) == ["AACC", "GGGG"]
    assert kept.depth.to_dict() == {"two": 7, "three": 4}
    assert "min_prevalence=2, min_depth=4" in kept.provenance[-1]


def test_filter_without_limits_keeps_all(hand_study: Study) -> None:
    assert hand_study.filter().content_hash() == hand_study.content_hash()


def test_filter_by_length() -> None:
    study = make([[1, 2, 4]], asvs=["AC", "ACGT", "ACGTAC"])
    assert list(study.filter(min_length=3).asv_ids) == ["ACGT", "ACGTAC"]
    assert list(study.filter(max_length=4).asv_ids) == ["AC", "ACGT"]
    kept = study.filter(min_length=3, max_length=5)
    assert kept.depth.tolist() == [2]
    assert kept.provenance[-2:] == ("kept 1 of 3 ASVs (5 reads dropped)", "filtered with min_length=3, max_length=5")


def taxa_study() -> Study:
    ranks = {
        "domain": ["Bacteria", "Bacteria", "Eukaryota", None],
        "order": ["Chloroplast", None, None, None],
        "genus": ["x", "Blautia", "Homo", None],
    }
    study = make([[1, 2, 4, 8]], asvs=["AC", "AG", "AT", "CG"])
    return replace(study, taxonomy=pd.DataFrame(ranks, index=study.asv_ids).assign(confidence=0.5))


def test_filter_by_taxon_at_any_rank() -> None:
    study = taxa_study()
    assert list(study.filter(keep_taxa=["Bacteria"]).asv_ids) == ["AC", "AG"]
    assert list(study.filter(keep_taxa=("bacteria", "HOMO")).asv_ids) == ["AC", "AG", "AT"]  # in whatever case
    assert list(study.filter(keep_taxa=["Bacteria"], drop_taxa=["Chloroplast"]).asv_ids) == ["AG"]
    kept = study.filter(drop_taxa=["Chloroplast", "Eukaryota"])
    assert list(kept.asv_ids) == ["AG", "CG"]  # what is not classified is not of those taxa
    assert kept.taxonomy is not None
    assert kept.taxonomy["genus"].tolist()[0] == "Blautia"


def test_filters_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnknownIdError, match=r"1 of 2 taxa are not in the taxonomy \(g__Blautia\).*no prefix"):
        taxa_study().filter(drop_taxa=["Chloroplast", "g__Blautia"])
    with pytest.raises(UnknownIdError, match=r"no taxonomy.*taxonomy='taxonomy\.tsv'.*--taxonomy"):
        make([[1]]).filter(keep_taxa=["Bacteria"])
    with pytest.raises(aam.ConfigError, match=r"'min_prevalance' is not a setting of FilterConfig.*min_prevalence"):
        make([[1]]).filter(min_prevalance=3)
    with pytest.raises(aam.ConfigError, match=r"keep_taxa is 'Bacteria'\. Expected a tuple of names.*\('Bacteria',\)"):
        taxa_study().filter(keep_taxa="Bacteria")
    with pytest.raises(aam.ConfigError, match=r"min_depth is -1"):
        make([[1]]).filter(min_depth=-1)


def test_taxonomy_must_line_up_with_the_asvs() -> None:
    study = taxa_study()
    assert study.taxonomy is not None
    with pytest.raises(StudyError, match=r"taxonomy\.reindex\(asv_ids\)"):
        replace(study, taxonomy=study.taxonomy.iloc[::-1])


# -- several splits ---------------------------------------------------------------------------------------------------


def test_every_sample_is_held_out_once_and_no_host_crosses(study: Study) -> None:
    pairs = study.folds(4, target="age", group="host_id", seed=0)
    assert sorted(i for _, test in pairs for i in test.sample_ids) == sorted(study.sample_ids)
    for k, (train, test) in enumerate(pairs):
        assert not set(train.metadata["host_id"]) & set(test.metadata["host_id"])
        assert set(train.sample_ids) | set(test.sample_ids) == set(study.sample_ids)
        assert train.split_info is not None
        assert (train.split_info.part, train.split_info.fold) == ("train", f"fold {k + 1} of 4")
        assert f"fold {k + 1} of 4 with seed 0, no host_id on both sides" in test.provenance[-1]


def test_each_group_is_left_out_in_turn(study: Study) -> None:
    pairs = study.leave_one_group_out("season", target="age")
    assert [set(test.metadata["season"]) for _, test in pairs] == [{v} for v in sorted(set(study.metadata["season"]))]
    for train, test in pairs:
        assert train.num_samples + test.num_samples == study.num_samples
        assert not set(train.metadata["season"]) & set(test.metadata["season"])


def test_samples_without_the_target_are_in_no_fold(study: Study) -> None:
    age = study.metadata["age"].where(np.arange(study.num_samples) > 3)
    pairs = replace(study, metadata=study.metadata.assign(age=age)).folds(3, target="age", seed=1)
    assert sum(test.num_samples for _, test in pairs) == study.num_samples - 4
    assert all("4 samples without age left out" in train.provenance[-1] for train, _ in pairs)


def test_split_warns_where_the_target_is_a_function_of_a_cage(tmp_path: Any) -> None:
    cage = [f"c{i // 5}" for i in range(40)]
    exposure = ["air" if i // 5 % 2 else "smoke" for i in range(40)]
    study = make(np.ones((40, 2), dtype=int), metadata={"cage": cage, "exposure": exposure})
    for call in (lambda: study.split(target="exposure"), lambda: study.folds(4, target="exposure")):
        with pytest.warns(aam.SplitWarning, match=r"'exposure' is nearly a function of 'cage'.*group='cage'") as told:
            call()
        assert told[0].filename == __file__  # at the caller's line
    with pytest.warns(aam.SplitWarning, match=r"number of its values \(8\b.*not of samples \(40\)"):
        study.split(target="exposure", group="cage", test_size=0.5)


# -- rarefaction ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_rarefied_depth_is_exact_and_no_read_is_made_up(seed: int, depth: int) -> None:
    counts = np.random.default_rng(seed).poisson(3, size=(6, 4)) + np.eye(6, 4, dtype=int) * 60
    study = make(counts)
    rarefied = study.rarefy(depth, seed=seed)
    before = study.keep_samples(rarefied.sample_ids).table.toarray()
    assert list(rarefied.sample_ids) == [f"s{i}" for i in range(6) if counts[i].sum() >= depth]
    assert (rarefied.depth == depth).all()
    assert (rarefied.table.toarray() <= before).all()


def test_rarefying_drops_and_counts_shallow_samples(hand_study: Study) -> None:
    rarefied = hand_study.rarefy(7, seed=3)
    assert rarefied.depth.to_dict() == {"two": 7, "three": 7}
    assert rarefied.table.toarray()[0].tolist() == [0, 2, 5, 0]  # all seven reads of sample two
    assert rarefied.metadata["site"].tolist() == ["b", "b"]
    assert rarefied.provenance[-1] == "rarefied to 7 reads with seed 3: 1 shallower sample dropped"


def test_the_same_seed_draws_the_same_reads(study: Study) -> None:
    assert study.rarefy(200, seed=1).content_hash() == study.rarefy(200, seed=1).content_hash()
    assert study.rarefy(200, seed=1).content_hash() != study.rarefy(200, seed=2).content_hash()


def test_rarefied_counts_are_hypergeometric() -> None:
    # 2,000 draws of 20 of 100 reads: mean and variance of each ASV against scipy's closed forms, to 5 standard errors.
    counts, depth, n = np.array([60, 30, 9, 1]), 20, 2000
    drawn = make(np.tile(counts, (n, 1))).rarefy(depth, seed=0).table.toarray()
    for k, x in zip(counts, drawn.T, strict=True):
        law = hypergeom(100, k, depth)
        mean, var, _, excess = (float(m) for m in law.stats("mvsk"))
        assert abs(x.mean() - mean) < 5 * np.sqrt(var / n)
        assert abs(x.var() - var) < 5 * var * np.sqrt((excess + 2) / n)


@pytest.mark.parametrize("depth", [100.5, 3.0, "100", None, True, [3]])
def test_a_depth_that_is_no_whole_number_is_refused(depth: Any, hand_study: Study) -> None:
    with pytest.raises(StudyError, match=rf"depth is {re.escape(repr(depth))}\. Expected a whole number of reads"):
        hand_study.rarefy(depth)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_a_seed_that_numpy_cannot_draw_from_is_refused(seed: Any, hand_study: Study) -> None:
    with pytest.raises(StudyError, match=rf"seed is {re.escape(repr(seed))}\. Expected .* Try `seed=0`"):
        hand_study.rarefy(3, seed=seed)


def test_numbers_of_numpy_are_numbers(hand_study: Study) -> None:
    ours, theirs = hand_study.rarefy(3, seed=2), hand_study.rarefy(np.int32(3), seed=np.int64(2))  # type: ignore[arg-type]
    assert ours.content_hash() == theirs.content_hash()


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_rarefied_again_is_drawn_anew(seed: int) -> None:
    """300 of 1,000 reads and then 100 of those are 100 of 1,000, also where both draws have the same seed."""
    n = 3000
    drawn = make(np.tile([500, 500], (n, 1))).rarefy(300, seed=0).rarefy(100, seed=seed).table[:].toarray()[:, 0]
    law = hypergeom(1000, 500, 100)
    assert abs(drawn.mean() - law.mean()) < 5 * np.sqrt(law.var() / n)
    assert abs(drawn.var() - law.var()) < 5 * law.var() * np.sqrt(2 / n)


@pytest.mark.parametrize("depth", [0, -3, 9, 10**6])
def test_a_depth_that_leaves_nothing_is_refused(depth: int, hand_study: Study) -> None:
    with pytest.raises(StudyError, match=rf"to {depth} reads.* from 4 to 8") as error:
        hand_study.rarefy(depth)
    assert fixed(error.value, hand_study).num_samples >= 2


def test_an_empty_study_cannot_be_rarefied(hand_study: Study) -> None:
    with pytest.raises((StudyError, EmptySampleError), match="no samples"):
        hand_study.filter(min_depth=100).rarefy(1)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"), [(-1, "-1"), (np.nan, "nan"), (0.5, "0.5"), (np.inf, "inf"), (1e19, "1e"), (1e300, "1e")]
)
def test_counts_that_are_not_counts_are_refused(value: float, shown: str) -> None:
    with pytest.raises(StudyError, match=rf"{re.escape(shown)}.* in sample s1, ASV ACGTAT.*raw table"):
        make([[1.0, 2.0], [3.0, value]])


@pytest.mark.parametrize("bad", ["d41d8cd98f00b204e9800998ecf8427e", "acgt", "ACGU", "AC-T", "AC GT", "", "OTU_1"])
def test_ids_that_are_not_dna_are_refused(bad: str) -> None:
    with pytest.raises(StudyError, match=rf"1 of 2 observation ids are not DNA \({bad}\).*sequences="):
        make([[1, 2]], asvs=["ACGT", bad])


def test_ambiguity_codes_are_dna() -> None:
    assert list(make([[1]], asvs=["ACGTRYSWKMBDHVN"]).asv_ids) == ["ACGTRYSWKMBDHVN"]


def test_at_most_five_ids_are_shown() -> None:
    with pytest.raises(StudyError, match=r"\(x0, x1, x2, x3, x4 and 3 more\)"):
        make(np.ones((1, 8), dtype=int), asvs=[f"x{i}" for i in range(8)])


def test_ids_that_occur_twice_are_refused() -> None:
    with pytest.raises(StudyError, match=r"1 sample id occurs more than once \(a\)"):
        make([[1], [2], [3]], samples=["a", "b", "a"])
    with pytest.raises(StudyError, match=r"1 ASV id occurs more than once \(AC\)"):
        make([[1, 2]], asvs=["AC", "AC"])


def test_parts_that_do_not_line_up_are_refused() -> None:
    ids, dna, counts = pd.Index(["a", "b"]), pd.Index(["AC", "CC", "GG"]), sparse.csr_array(np.ones((2, 3), dtype=int))
    with pytest.raises(StudyError, match=r"shape \(3, 2\).*table\.T"):
        Study(counts.T.tocsr(), ids, dna, pd.DataFrame(index=ids))
    metadata = pd.DataFrame({"x": [1, 2]}, index=["b", "a"])
    with pytest.raises(StudyError, match=r"metadata\.loc\[sample_ids\]"):
        Study(counts, ids, dna, metadata)
    assert Study(counts, ids, dna, metadata.loc[ids]).metadata["x"].tolist() == [2, 1]  # what the message offers


def test_unknown_ids_are_refused(hand_study: Study) -> None:
    with pytest.raises(UnknownIdError, match=r"1 of 2 samples are not in the study \(four\).*study\.sample_ids"):
        hand_study.keep_samples(["one", "four"])
    with pytest.raises(StudyError, match=r"more than once \(one\)"):
        hand_study.keep_samples(["one", "one"])
    with pytest.raises(UnknownIdError, match=r"None of the 1 ASVs.*TTTT.*study\.asv_ids"):
        hand_study.keep_asvs(["TTTT"])
    with pytest.raises(UnknownIdError, match=r"'age' is not a metadata column.*ph, site"):
        hand_study.column("age")


def test_targets_that_cannot_be_predicted_are_refused() -> None:
    study = make([[1], [2], [3]], metadata={"gone": [np.nan] * 3, "same": ["x", "x", None], "ok": ["x", "y", None]})
    with pytest.raises(UnknownIdError, match="'age' is not a metadata column"):
        study.target("age")
    with pytest.raises(TargetError, match=r"'gone' is missing in all 3 samples.*provenance"):
        study.target("gone")
    with pytest.raises(TargetError, match=r"'same' is 'x' in all 2 samples.*Choose another"):
        study.target("same")
    assert study.target("ok").isna().sum() == 1


def test_a_sample_without_reads_can_be_dropped_as_the_message_says() -> None:
    study = make([[1, 2], [0, 0], [3, 0]])
    with pytest.raises(EmptySampleError, match=r"1 of 3 samples have no reads \(s1\).*--min-depth 1") as error:
        study.require_reads()
    fixed(error.value, study).require_reads()
    assert list(fixed(error.value, study).sample_ids) == ["s0", "s2"]


@pytest.mark.parametrize("ids", [[None, "a"], [float("nan"), "a"], ["", "a"], [" ", "a"]])
def test_ids_that_are_missing_are_refused(ids: list[Any]) -> None:
    index = pd.Index(ids)
    with pytest.raises(StudyError, match=r"1 of 2 sample ids is missing \(place 1\)"):
        Study(sparse.csr_array(np.ones((2, 1), dtype=int)), index, pd.Index(["ACGT"]), pd.DataFrame(index=index))


def test_metadata_whose_ids_are_numbers_are_named_with_the_call_that_makes_them_text() -> None:
    metadata = pd.DataFrame({"x": [1, 2]}, index=[7, 8])
    table = sparse.csr_array(np.ones((2, 1), dtype=int))
    with pytest.raises(StudyError, match=r"of type int64 \(7, 8\)\. Expected text.*astype\(str\)"):
        Study(table, pd.Index(["7", "8"]), pd.Index(["ACGT"]), metadata)
    fixed = metadata.set_axis(metadata.index.astype(str))
    assert Study(table, pd.Index(["7", "8"]), pd.Index(["ACGT"]), fixed).metadata["x"].tolist() == [1, 2]


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.coo_array])
@pytest.mark.parametrize("place", [-1, 9, 2**31 - 1])
def test_a_sparse_table_of_rows_or_columns_that_are_not_there_is_refused(kind: Any, place: int) -> None:
    """SciPy does not look, and would read or write memory that is not the matrix's."""
    counts = kind(np.array([[1, 0, 2], [0, 3, 0]]))
    indices = counts.coords[1] if kind is sparse.coo_array else counts.indices
    indices[0] = place
    with pytest.raises(StudyError, match=r"is no matrix of samples x ASVs.*sparse.csr_array\(counts\)"):
        Study(counts, pd.Index(["a", "b"]), pd.Index(["A", "C", "G"]), pd.DataFrame(index=pd.Index(["a", "b"])))
