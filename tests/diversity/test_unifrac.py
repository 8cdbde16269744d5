"""UniFrac and Faith PD against hand values, scikit-bio and a plain loop."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_studies import METRICS, plain_unifrac, random_study, small_study
from scipy import sparse
from skbio import TreeNode
from skbio.diversity import alpha_diversity, beta_diversity

import aam_nb as aam
from aam_nb.config import ConfigError
from aam_nb.diversity.branches import branches_of
from aam_nb.diversity.unifrac import unifrac_block
from aam_nb.study.errors import EmptySampleError, MissingTipError
from aam_nb.study.study import Study

VERBS = [aam.unifrac, aam.faith_pd, lambda study: aam.unifrac_between(study, study)]
# Branches of the hand-worked tree (see conftest): left 0.5 over AAAA 1 and AACC 2; right 1.5 over GGGG 0.25 and GGTT 3.
#   one   = AAAA, AACC: 0.5 + 1 + 2           = 3.5
#   two   = AACC, GGGG: 0.5 + 2 + 1.5 + 0.25  = 4.25
#   three = GGGG, GGTT: 1.5 + 0.25 + 3        = 4.75
HAND_PD = {"one": 3.5, "two": 4.25, "three": 4.75}
#   one, two:   shared 0.5 + 2 = 2.5,     either 3.5 + 4.25 - 2.5   = 5.25, unique 2.75 / 5.25
#   one, three: shared nothing, so 1
#   two, three: shared 1.5 + 0.25 = 1.75, either 4.25 + 4.75 - 1.75 = 7.25, unique 5.5 / 7.25
HAND_UNIFRAC = np.array([[0, 11 / 21, 1], [11 / 21, 0, 22 / 29], [1, 22 / 29, 0]])
# Weighted, one and two: shares of AAAA 3/4 and 0, AACC 1/4 and 2/7, GGGG 0 and 5/7; left 1 and 2/7, right 0 and 5/7.
#   apart  0.5 · 5/7 + 1 · 3/4 + 2 · 1/28 + 1.5 · 5/7 + 0.25 · 5/7
#   whole  0.5 · 9/7 + 1 · 3/4 + 2 · 15/28 + 1.5 · 5/7 + 0.25 · 5/7
HAND_APART = 2.25 * 5 / 7 + 3 / 4 + 2 / 28
HAND_WHOLE = 0.5 * 9 / 7 + 3 / 4 + 30 / 28 + 1.75 * 5 / 7


@pytest.mark.parametrize("engine", ["torch", "skbio"])
def test_weighted_unifrac_by_hand(engine: str, hand_study: Study) -> None:
    raw = aam.unifrac(hand_study, metric="weighted_unnormalized", engine=engine)
    assert raw["one", "two"] == pytest.approx(HAND_APART)
    normalized = aam.unifrac(hand_study, metric="weighted_normalized", engine=engine)
    assert normalized["one", "two"] == pytest.approx(HAND_APART / HAND_WHOLE)
    assert normalized["one", "three"] == 1


@pytest.mark.parametrize("engine", ["auto", "torch", "skbio"])
def test_unifrac_by_hand(engine: str, hand_study: Study) -> None:
    distances = aam.unifrac(hand_study, engine=engine)
    assert distances.ids == ("one", "two", "three")
    np.testing.assert_allclose(distances.data, HAND_UNIFRAC, atol=1e-12)


def test_faith_pd_by_hand(hand_study: Study) -> None:
    pd.testing.assert_series_equal(
        aam.faith_pd(hand_study), pd.Series(HAND_PD, name="faith_pd"), check_names=False, check_index_type=False
    )


def test_a_block_is_a_part_of_the_matrix(hand_study: Study) -> None:
    branches = branches_of(hand_study)
    np.testing.assert_allclose(unifrac_block(branches, hand_study.table[[2, 0]]), HAND_UNIFRAC[np.ix_([2, 0], [2, 0])])
    one_two = hand_study.table[[0, 1]]
    raw = unifrac_block(branches, one_two, metric="weighted_unnormalized")
    np.testing.assert_allclose(raw, [[0, HAND_APART], [HAND_APART, 0]], atol=1e-12)
    for how in ({"metric": "weighted_normalized"}, {"metric": "generalized", "alpha": 1.0}):
        distances = unifrac_block(branches, one_two, **how)
        np.testing.assert_allclose(distances[0, 1], HAND_APART / HAND_WHOLE)


# -- every engine and metric against scikit-bio and a plain loop ------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_trees_and_tables_agree_with_scikit_bio(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    study, tree = random_study(seed, tmp_path_factory.getbasetemp())
    counts = study.table[:].toarray()
    given_ = {"ids": list(study.sample_ids), "taxa": list(study.asv_ids), "tree": tree, "validate": False}
    with np.errstate(invalid="ignore"):
        expected = {
            "unweighted": beta_diversity("unweighted_unifrac", counts, **given_).data,
            "weighted_unnormalized": beta_diversity("weighted_unifrac", counts, normalized=False, **given_).data,
            "weighted_normalized": beta_diversity("weighted_unifrac", counts, normalized=True, **given_).data,
        }
    for metric, want in expected.items():
        for engine in ("torch", "skbio"):
            distances = aam.unifrac(study, metric=metric, engine=engine, block=3, cache=False)
            # scikit-bio's 0 / 0: neither of two samples spans any length, and they are at distance 0.
            np.testing.assert_allclose(distances.data, np.nan_to_num(want), atol=1e-6)
    branches = branches_of(study)
    np.testing.assert_allclose(unifrac_block(branches, study.table[:]), expected["unweighted"], atol=1e-6)
    np.testing.assert_allclose(aam.faith_pd(study), alpha_diversity("faith_pd", counts, **given_), atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 512]))
def test_random_trees_and_tables_agree_with_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, seed: int, block: int
) -> None:
    study, tree = random_study(seed, tmp_path_factory.getbasetemp())
    for how in METRICS:
        want = plain_unifrac(study, tree, **how)
        few = unifrac_block(branches_of(study), study.table[:], **how)
        np.testing.assert_allclose(few, want, atol=1e-9, err_msg=str(how))
        assert np.array_equal(few, few.T)
        distances = aam.unifrac(study, engine="torch", block=block, cache=False, **how)
        np.testing.assert_allclose(distances.data, want, atol=1e-9, err_msg=str(how))
        single = aam.unifrac(study, engine="torch", block=block, cache=False, dtype="float32", **how)
        assert single.data.dtype == np.float32
        np.testing.assert_allclose(single.data, want, atol=1e-4, err_msg=str(how))
        half = study.num_samples // 2
        one, other = study.keep_samples(study.sample_ids[:half]), study.keep_samples(study.sample_ids[half:])
        if half:
            corner = aam.unifrac_between(one, other, block=block, **how)
            np.testing.assert_allclose(corner, want[:half, half:], atol=1e-9, err_msg=str(how))


@pytest.mark.real
@pytest.mark.parametrize("name", ["moving_pictures", "soils88"])
def test_real_studies_agree_with_scikit_bio(name: str, real_data: Path) -> None:
    stem = real_data / name / name
    study = aam.read_study(f"{stem}.biom", metadata=f"{stem}.tsv", tree=f"{stem}.nwk")
    for metric in ("unweighted", "weighted_normalized", "weighted_unnormalized"):
        torch, skbio = (aam.unifrac(study, metric=metric, engine=e, cache=False) for e in ("torch", "skbio"))
        assert torch.ids == skbio.ids == tuple(study.sample_ids)
        np.testing.assert_allclose(torch.data, skbio.data, atol=1e-6)
    tree = TreeNode.read(f"{stem}.nwk", convert_underscores=False)
    expected = alpha_diversity(
        "faith_pd", study.table[:].toarray(), ids=list(study.sample_ids), taxa=list(study.asv_ids), tree=tree
    )
    np.testing.assert_allclose(aam.faith_pd(study), expected, rtol=1e-9)


# -- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", METRICS, ids=str)
def test_the_size_of_the_blocks_does_not_matter(how: dict[str, Any], study: Study) -> None:
    whole = aam.unifrac(study, cache=False, **how).data
    parts = aam.unifrac(study, cache=False, block=7, **how).data  # 48 samples: 6 blocks and a rest
    np.testing.assert_allclose(parts, whole, atol=1e-12)
    assert np.array_equal(parts, parts.T)
    assert not parts.diagonal().any()


def test_order_of_asvs_and_samples_and_counts_above_zero_do_not_matter(study: Study) -> None:
    rng = np.random.default_rng(0)
    rows, cols = rng.permutation(study.num_samples), rng.permutation(study.num_asvs)
    table = study.table[rows][:, cols].tocsr()
    table.data[:] = rng.integers(1, 99, table.nnz)
    mixed = replace(
        study,
        table=table,
        sample_ids=study.sample_ids[rows],
        asv_ids=study.asv_ids[cols],
        metadata=study.metadata.iloc[rows],
    )
    expected = aam.unifrac(study).filter(mixed.sample_ids)
    np.testing.assert_allclose(aam.unifrac(mixed).data, expected.data, atol=1e-12)
    np.testing.assert_allclose(aam.faith_pd(mixed)[study.sample_ids], aam.faith_pd(study), rtol=1e-12)


@pytest.mark.parametrize("how", METRICS, ids=str)
def test_distances_are_at_most_one_and_none_is_negative(how: dict[str, Any], study: Study) -> None:
    twice = replace(
        study,
        table=sparse.csr_array(sparse.vstack([study.table[:5], 7 * study.table[:5]])),
        sample_ids=pd.Index([f"s{i}" for i in range(10)]),
        metadata=pd.DataFrame(index=[f"s{i}" for i in range(10)]),
    )
    distances = aam.unifrac(twice, cache=False, **how).data
    assert distances.min() == 0
    if how["metric"] != "weighted_unnormalized":
        assert distances.max() <= 1
    np.testing.assert_allclose(np.diag(distances[:5, 5:]), 0, atol=1e-12)  # the same community, sequenced deeper


def test_generalized_unifrac_at_alpha_1_is_weighted(study: Study) -> None:
    weighted = aam.unifrac(study, metric="weighted_normalized").data
    np.testing.assert_allclose(aam.unifrac(study, metric="generalized", alpha=1).data, weighted, atol=1e-12)
    near = aam.unifrac(study, metric="generalized", alpha=1 - 1e-9).data  # by powers, not by minima
    np.testing.assert_allclose(near, weighted, atol=1e-7)


@pytest.mark.parametrize(
    ("newick", "asvs", "counts", "faith", "distance"),
    [
        ("(A:2);", ["A"], [[1], [5]], [2, 2], 0),  # a single tip: the same branch in both
        ("A;", ["A"], [[1], [5]], [0, 0], 0),  # a tree that is nothing but a tip spans no branch
        ("((A:1,C:2):3);", ["A", "C"], [[1, 0], [0, 1]], [4, 5], 0.5),  # one child: shared 3 of 1 + 2 + 3
        ("((A:0,C:0):0,G:1);", ["A", "C"], [[1, 0], [0, 1]], [0, 0], 0),  # no length, no distance
        ("(A:1,(C:1,G:1):1);", ["G"], [[1], [2]], [2, 2], 0),  # tips that no sample has
    ],
    ids=["single tip", "lone tip", "root with one child", "zero lengths", "unused tips"],
)
def test_odd_trees_by_hand(
    newick: str, asvs: list[str], counts: list[list[int]], faith: list[float], distance: float, tmp_path: Path
) -> None:
    study = small_study(newick, asvs, counts, tmp_path)
    assert aam.faith_pd(study).tolist() == faith
    np.testing.assert_allclose(aam.unifrac(study, engine="torch").data, [[0, distance], [distance, 0]], atol=1e-15)


def test_lineages_as_labels_do_not_stop_the_reference_engine(tmp_path: Path) -> None:
    study = small_study("((A:1,C:2)'k__Bacteria; p__X':3,G:1);", ["A", "C"], [[1, 0], [0, 1]], tmp_path)
    assert aam.unifrac(study, engine="skbio").data[0, 1] == pytest.approx(0.5)  # shared 3 of 1 + 2 + 3


# -- two studies ------------------------------------------------------------------------------------------------------


def test_between_two_studies_is_the_corner_of_the_whole(study: Study) -> None:
    one = study.keep_samples(study.sample_ids[:5]).filter(min_prevalence=1)
    other = study.keep_samples(study.sample_ids[5:]).filter(min_prevalence=1)
    assert set(one.asv_ids) != set(other.asv_ids)
    other = replace(other, tree=None)  # the first study's is used
    for how in METRICS:
        whole = aam.unifrac(study, cache=False, **how).to_data_frame()
        distances = aam.unifrac_between(one, other, block=4, **how)
        pd.testing.assert_frame_equal(
            distances, whole.loc[list(one.sample_ids), list(other.sample_ids)], check_names=False, atol=1e-12
        )
    assert (distances.index.name, distances.columns.name) == ("sample_id", "sample_id")


def test_a_sample_is_at_no_distance_from_itself(study: Study) -> None:
    distances = aam.unifrac_between(study, study, metric="weighted_normalized")
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-12)


def test_asvs_of_the_other_study_outside_the_tree_are_refused_by_name(hand_study: Study) -> None:
    other = replace(hand_study, asv_ids=pd.Index(["AAAA", "AACC", "TTTT", "GGTT"]))
    with pytest.raises(MissingTipError, match=r"1 of 4 ASVs of the other study.*\(TTTT\).*keep_asvs") as error:
        aam.unifrac_between(hand_study, other)
    call = re.search(r"`(others\.[^`]+)`", str(error.value))
    assert call is not None
    kept = eval(call[1], {"others": other, "study": hand_study})
    assert aam.unifrac_between(hand_study, kept.filter(min_depth=1)).shape == (3, 3)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_asvs_outside_the_tree_are_dropped_by_the_call_in_the_message(verb, hand_study: Study) -> None:  # type: ignore[no-untyped-def]
    wider = replace(
        hand_study,
        table=sparse.csr_array(np.hstack([hand_study.table.toarray(), np.ones((3, 2), dtype=int)])),
        asv_ids=pd.Index([*hand_study.asv_ids, "TTTT", "CCCC"]),
    )
    with pytest.raises(
        MissingTipError, match=r"2 of 6 ASVs are not tips of the tree \(TTTT, CCCC\).*--keep-tips"
    ) as error:
        verb(wider)
    call = re.search(r"`(study\.[^`]+)`", str(error.value))
    assert call is not None
    kept = eval(call[1], {"study": wider})
    assert kept.content_hash() == hand_study.content_hash()
    np.testing.assert_allclose(aam.unifrac(kept).data, HAND_UNIFRAC)
    assert "6 reads dropped" in kept.provenance[-1]


@pytest.mark.parametrize("verb", VERBS)
def test_no_tree_is_refused(verb, hand_study: Study) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        MissingTipError, match=r"no tree.*aam\.read_study\(\.\.\., tree='tree\.nwk'\).*--tree tree\.nwk"
    ):
        verb(replace(hand_study, tree=None))


@pytest.mark.parametrize("verb", VERBS)
def test_a_sample_without_reads_is_refused_and_dropped_by_the_call_in_the_message(verb, hand_study: Study) -> None:  # type: ignore[no-untyped-def]
    counts = hand_study.table.toarray()
    counts[1] = 0
    study = replace(hand_study, table=sparse.csr_array(counts))
    with pytest.raises(EmptySampleError, match=r"1 of 3 samples have no reads \(two\).*--min-depth 1") as error:
        verb(study)
    assert "`study.filter(min_depth=1)`" in str(error.value)
    assert aam.unifrac(study.filter(min_depth=1)).ids == ("one", "three")


def test_no_sample_at_all_is_refused(hand_study: Study) -> None:
    with pytest.raises(EmptySampleError, match=r"no samples.*Loosen"):
        aam.unifrac(hand_study.filter(min_depth=100))


def test_unknown_settings_are_refused(hand_study: Study) -> None:
    with pytest.raises(ConfigError, match=r"metric is 'weighted'.*'weighted_normalized'.*'weighted_unnormalized'.*Try"):
        aam.unifrac(hand_study, metric="weighted")
    with pytest.raises(ConfigError, match=r"metric is 'jaccard'.*generalized.*`metric='unweighted'`"):
        aam.unifrac(hand_study, metric="jaccard")
    with pytest.raises(ConfigError, match=r"alpha is 2.*\[0, 1\]"):
        aam.unifrac(hand_study, metric="generalized", alpha=2)
    with pytest.raises(ConfigError, match=r"engine is 'gpu'.*torch, ssu, unifrac, skbio.*`engine='auto'`"):
        aam.unifrac(hand_study, engine="gpu")
    with pytest.raises(ConfigError, match=r"'metrics' is not a setting of UnifracConfig.*metric"):
        aam.unifrac(hand_study, metrics="unweighted")
    with pytest.raises(ConfigError, match=r"block is 0"):
        aam.UnifracConfig(block=0)


def test_settings_add_to_a_config(hand_study: Study) -> None:
    config = aam.UnifracConfig(metric="generalized", alpha=0.3)
    want = aam.unifrac(hand_study, metric="generalized", alpha=0.3).data
    assert np.array_equal(aam.unifrac(hand_study, config=config).data, want)
    assert not np.array_equal(aam.unifrac(hand_study, config=config, alpha=0.4).data, want)
