"""What explorers send to the browser, without an explorer: values, columns, sentences in the singular and the plural, small payloads."""

import base64
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from aam_nb.config import count_noun
from aam_nb.explain.attribution.result import Attributions
from aam_nb.show.widgets import ExplorerError
from aam_nb.show.widgets.attention_payload import choose_samples, count_reads
from aam_nb.show.widgets.attributions_levels import MOST, AttributionLevels, select_features, strongest_columns
from aam_nb.show.widgets.attributions_payload import (
    DOTS,
    abundances,
    all_values_payload,
    cautions,
    draw_dots,
    farthest_pair,
    pair_payload,
    summary,
    verdict_payload,
    why_no_nucleotides,
)
from aam_nb.show.widgets.payload import column_payload, pack_bits, pack_halves, to_json_value
from aam_nb.show.widgets.study_payload import (
    TaxonShares,
    choose_compared,
    compared_sentence,
    level_curves_payload,
    mean_shares,
    reads_and_deepest,
    rows_by_level,
    sample_curves_payload,
    too_few_note,
)
from aam_nb.study.errors import EmptySampleError, UnknownIdError
from aam_nb.study.study import Study

SITE = {"name": "site", "kind": "categories", "values": [0, 1, 1], "levels": ["a", "b"]}


@pytest.fixture
def by_hand() -> Attributions:
    """Three samples, three ASVs; the second and the third sample are explained for another output than the first."""
    samples = pd.Index(["x", "y", "z"])
    check = pd.DataFrame(
        {"output": ["a", "b", "b"], "prediction": [9.0, 1.0, 4.0], "reference": 0.0, "sum": 0.0, "gap": 0.0},
        index=samples,
    )
    values = sparse.csr_array(np.array([[1.0, 0.0, -2.0], [0.0, 0.0, 4.0], [0.5, 0.0, 0.0]]))
    return Attributions("ph", "units of ph", values, samples, pd.Index(["AAAA", "AACC", "GGGG"]), check)


# -- values ---------------------------------------------------------------------------------------------------------------


def test_values_are_json_of_few_digits():
    value = {
        "a": np.float64(1.23456789),
        "b": [np.nan, np.inf, 0.0],
        "c": np.array([1234567.0, -0.000123456]),
        "d": np.int64(3),
        "e": True,
    }
    expected = {"a": 1.2346, "b": [None, None, 0.0], "c": [1234600.0, -0.00012346], "d": 3, "e": True}
    assert json.loads(json.dumps(to_json_value(value))) == expected


def test_a_table_is_a_list_of_rows():
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert to_json_value(frame) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


def test_small_numbers_and_halves_stay_numbers():
    assert to_json_value(np.array([1e-310, 0.12345678])) == [0.0, 0.12346]
    assert to_json_value(np.array([0.12345678, 1e-35], np.float32)) == [0.12346, 1e-35]


def test_columns_are_numbers_or_categories():
    assert column_payload(pd.Series([1.5, None], name="ph")) == {"name": "ph", "kind": "numbers", "values": [1.5, None]}
    site = column_payload(pd.Series(["b", None, "a", "b"], name="site"))
    assert site == {"name": "site", "kind": "categories", "values": [0, -1, 1, 0], "levels": ["b", "a"]}
    assert column_payload(pd.Series([True, False], name="yes"))["kind"] == "categories"


def test_masks_and_weights_are_packed():
    mask = np.array([1, 0, 0, 0, 0, 0, 0, 1, 1], dtype=bool)
    assert base64.b64decode(pack_bits(mask)) == bytes([0b10000001, 0b10000000])
    assert pack_bits(None) is None
    packed = pack_halves(np.array([[0.5, 0.25]], np.float32))
    assert packed["shape"] == [1, 2]
    assert np.frombuffer(base64.b64decode(packed["halves"]), "<f2").tolist() == [0.5, 0.25]


@pytest.mark.parametrize(("num", "text"), [(0, "0 samples"), (1, "1 sample"), (2537, "2,537 samples")])
def test_a_number_has_its_noun_in_the_singular_or_plural(num, text):
    assert count_noun(num, "sample") == text


# -- a study --------------------------------------------------------------------------------------------------------------


def test_reads_and_the_deepest_holder_of_each_asv(hand_study):
    reads, deepest = reads_and_deepest(hand_study)
    assert reads.tolist() == [3, 3, 9, 4]
    assert deepest.tolist() == [4, 7, 8, 8]


def test_all_samples_with_reads_are_compared_or_a_draw_of_them(hand_study):
    empty = replace(hand_study, table=sparse.csr_array(hand_study.table.toarray() * np.array([[1], [0], [1]])))
    assert choose_compared(hand_study, None, 0).tolist() == ["one", "two", "three"]
    assert choose_compared(empty, None, 0).tolist() == ["one", "three"]
    with pytest.raises(ExplorerError, match="most is 2"):
        choose_compared(hand_study, 2, 0)
    assert compared_sentence(hand_study, 3, 0) == ""
    assert compared_sentence(empty, 2, 0) == "1 sample without reads is not shown in the PCoA."
    assert compared_sentence(hand_study, 2, 7).startswith(
        "To be fast, the PCoA shows 2 of 3 samples, drawn at random (seed 7)"
    )


def test_why_there_is_no_pcoa():
    assert too_few_note(1, None) == "A PCoA needs 3 samples with reads; there is 1."
    assert too_few_note(0, 1) == "A PCoA needs 3 samples with at least 1 read; there are 0."
    assert too_few_note(2, 1500) == "A PCoA needs 3 samples with at least 1,500 reads; there are 2."


def test_a_curve_ends_at_all_reads_and_asvs_of_its_sample(hand_study):
    payload = sample_curves_payload(hand_study, np.array([0, 2]), depth=1, seed=0, selected=True)
    assert payload["of"] == "Rarefaction curves of 2 selected samples."
    assert payload["depth"] == 1
    for series, row in zip(payload["series"], (0, 2), strict=True):
        assert series["i"] == row
        assert series["here"] == pytest.approx(1)  # one read is one ASV
        assert series["points"][-1] == pytest.approx([series["reads"], series["asvs"]])
    alone = sample_curves_payload(hand_study, np.array([1]), depth=99, seed=0, selected=False)
    assert alone["of"] == "Rarefaction curve of 1 sample."
    assert alone["series"][0]["here"] is None


def test_means_are_of_the_samples_of_a_level(hand_study):
    rows_of = rows_by_level(SITE, np.arange(3))
    assert {name: rows.tolist() for name, rows in rows_of.items()} == {"b": [1, 2], "a": [0]}
    payload = level_curves_payload(hand_study, rows_of, depth=1, seed=0, selected=False)
    assert payload["of"].startswith("Means over 3 samples, one line per level;")
    assert [(s["name"], s["n"]) for s in payload["series"]] == [("b", 2), ("a", 1)]
    assert payload["series"][1]["band"][-1] == pytest.approx([4, 2, 2])  # of one sample there is no spread


def test_without_levels_all_rows_are_one_group():
    rows = np.array([2, 0])
    for column in (None, {"name": "ph", "kind": "numbers", "values": [1, 2, 3]}):
        assert list(rows_by_level(column, rows)) == [""]
    assert list(rows_by_level(SITE, np.array([0]))) == ["a"]


def test_shares_that_are_not_named_are_the_others():
    shares = TaxonShares(["A", "B"], ["", ""], np.array([[0.5, 0.25], [0.25, 0.25]], np.float32), num_taxa=3)
    table = mean_shares(shares, {"all": np.arange(2), "second": np.array([1])}, num_leading=1)
    assert table.to_dict() == {
        "all": {"A": 0.375, "B": 0.25, "1 other": 0.375},
        "second": {"A": 0.25, "B": 0.25, "1 other": 0.5},
    }


# -- attention ------------------------------------------------------------------------------------------------------------


def test_the_first_sample_with_reads_is_shown_where_none_is_named(hand_study):
    table = hand_study.table.toarray()
    table[0] = 0
    late = replace(hand_study, table=sparse.csr_array(table))
    assert choose_samples(late, []) == ["two"]
    assert choose_samples(late, ["three", "one", "three"]) == ["three", "one"]
    with pytest.raises(UnknownIdError, match=r"1 of 2 samples are not in the study \(four\)"):
        choose_samples(late, ["one", "four"])
    with pytest.raises(EmptySampleError):
        choose_samples(replace(hand_study, table=sparse.csr_array(0 * table)), [])


def test_reads_of_a_sample_are_those_of_the_table(hand_study):
    assert count_reads(hand_study, "two") == {"AACC": 2, "GGGG": 5}


# -- attributions ---------------------------------------------------------------------------------------------------------


def test_the_strongest_come_first_and_empty_columns_are_left_out(by_hand):
    assert strongest_columns(by_hand.values, None).tolist() == [2, 0]
    wide = sparse.csr_array(np.arange(1.0, 101.0)[None, :])
    assert strongest_columns(wide, None).tolist() == list(range(99, 99 - MOST, -1))


def test_of_clades_none_lies_within_another():
    members = sparse.csr_array(np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 0]]))
    values = sparse.csr_array(np.array([[3.0, 4.0, 1.0, 9.0]]))
    assert strongest_columns(values, members).tolist() == [
        1,
        2,
    ]  # the last holds more than half of all ASVs; the first holds the second


def test_selected_features_keep_their_numbers(by_hand):
    part = select_features(by_hand, np.array([2, 0]))
    assert part.asv_ids.tolist() == part.features.index.tolist() == ["GGGG", "AAAA"]
    np.testing.assert_array_equal(part.values.toarray(), by_hand.values.toarray()[:, [2, 0]])


def test_the_pair_at_first_is_of_the_commonest_output(by_hand):
    assert farthest_pair(by_hand.check) == ("z", "y")


def test_levels_without_a_study_are_the_asvs_alone(by_hand):
    levels = AttributionLevels(by_hand, None)
    assert levels.levels == ["asv"]
    assert levels.first_rank == ""
    assert levels.additive
    assert levels.members("node 1") is None
    assert levels.example_groups() == []
    assert "no tree" in levels.no_tree
    assert "carry no model" in why_no_nucleotides(by_hand)


def test_levels_with_a_tree_have_the_clades_of_their_asvs(by_hand, hand_study):
    levels = AttributionLevels(replace(by_hand, values=sparse.csr_array(by_hand.values.toarray() + 1)), hand_study)
    assert levels.levels == ["asv", "clade"]
    assert levels.example_groups() == ["node 1"]  # above AAAA and AACC
    assert levels.members("node 1").tolist() == [0, 1]
    sums = levels.at("clade").values.toarray()[:, 0]
    np.testing.assert_allclose(sums, levels.attributions.values.toarray()[:, :2].sum(axis=1))


def test_the_difference_of_two_samples_is_of_every_feature(by_hand):
    payload = pair_payload(AttributionLevels(by_hand, None), "x", "y", {"AAAA"})
    assert [(r["id"], r["a"], r["b"], r["difference"], r["marked"]) for r in payload["rows"][:2]] == [
        ("GGGG", -2, 4, -6, False),
        ("AAAA", 1, 0, 1, True),
    ]
    assert payload["total"] == -5


def test_abundances_are_shares_of_reads(by_hand, hand_study):
    renamed = replace(by_hand, sample_ids=hand_study.sample_ids, check=by_hand.check.set_axis(hand_study.sample_ids))
    shares = abundances(renamed, hand_study, np.array([1, 2]))
    np.testing.assert_allclose(shares.toarray(), [[0, 2 / 7, 5 / 7], [0, 0, 4 / 8]])
    assert abundances(by_hand, hand_study, np.array([0])) is None  # of samples that are not in the study
    assert abundances(by_hand, None, np.array([0])) is None


def test_many_samples_are_a_draw_of_dots():
    assert draw_dots(5).tolist() == [0, 1, 2, 3, 4]
    many = draw_dots(10 * DOTS)
    assert len(many) == len(set(many.tolist())) == DOTS
    assert (np.diff(many) > 0).all()


def test_all_values_are_sent_where_they_are_few(by_hand, monkeypatch):
    levels = AttributionLevels(by_hand, None)
    payload = all_values_payload(levels, {"GGGG"})
    assert payload["ids"] == ["AAAA", "GGGG"]
    assert payload["marked"] == [False, True]
    values = sparse.csr_array((payload["values"], payload["columns"], payload["ends"]), shape=(3, 2))
    np.testing.assert_array_equal(values.toarray(), by_hand.values.toarray()[:, [0, 2]])
    monkeypatch.setattr("aam_nb.show.widgets.attributions_payload.IN_PAGE", (2, 99))
    assert all_values_payload(levels, set()) is None


def test_what_a_reader_is_told_of_attributions(by_hand):
    levels = AttributionLevels(by_hand, None)
    assert summary(levels).startswith(
        "How much each ASV moved 3 predictions of ph, by integrated gradients, in units of ph"
    )
    assert any("means over samples mix classes" in sentence for sentence in cautions(levels))
    occlusion = AttributionLevels(replace(by_hand, method="occlusion"), None)
    assert "need not sum" in summary(occlusion)
    assert verdict_payload(by_hand, None) == {
        "text": "Not checked: `aam.explain.faithfulness(attributions)`. These attributions carry no model, so they cannot be checked here.",
        "checked": False,
        "can": False,
        "rows": [],
    }


def test_a_study_without_samples_in_common_is_no_source(by_hand):
    other = Study(sparse.csr_array([[1]]), pd.Index(["q"]), pd.Index(["TTTT"]), pd.DataFrame(index=pd.Index(["q"])))
    assert AttributionLevels(by_hand, other).levels == ["asv"]
