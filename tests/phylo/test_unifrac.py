"""UniFrac and Faith PD against hand values and scikit-bio."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from skbio import TreeNode
from skbio.diversity import alpha_diversity, beta_diversity

import aam_nb as aam
from aam_nb.phylo import unifrac as module
from aam_nb.phylo.tree import Branches
from aam_nb.phylo.unifrac import EngineError, unifrac_block
from aam_nb.study.newick import Tree
from aam_nb.study.study import EmptySampleError, MissingTipError, Study

# Branches of the hand-worked tree (see conftest): left 0.5 over AAAA 1 and AACC 2; right 1.5 over GGGG 0.25 and GGTT 3.
#   one   = AAAA, AACC: 0.5 + 1 + 2           = 3.5
#   two   = AACC, GGGG: 0.5 + 2 + 1.5 + 0.25  = 4.25
#   three = GGGG, GGTT: 1.5 + 0.25 + 3        = 4.75
HAND_PD = {"one": 3.5, "two": 4.25, "three": 4.75}
#   one, two:   shared 0.5 + 2 = 2.5,     either 3.5 + 4.25 - 2.5   = 5.25, unique 2.75 / 5.25
#   one, three: shared nothing, so 1
#   two, three: shared 1.5 + 0.25 = 1.75, either 4.25 + 4.75 - 1.75 = 7.25, unique 5.5 / 7.25
HAND_UNIFRAC = np.array([[0, 11 / 21, 1], [11 / 21, 0, 22 / 29], [1, 22 / 29, 0]])


@pytest.mark.parametrize("engine", ["auto", "torch", "skbio"])
def test_unifrac_by_hand(engine: str, hand_study: Study) -> None:
    distances = aam.unifrac(hand_study, engine=engine)  # type: ignore[arg-type]
    assert distances.ids == ("one", "two", "three")
    np.testing.assert_allclose(distances.data, HAND_UNIFRAC, atol=1e-12)


def test_faith_pd_by_hand(hand_study: Study) -> None:
    pd.testing.assert_series_equal(
        aam.faith_pd(hand_study), pd.Series(HAND_PD, name="faith_pd"), check_names=False, check_index_type=False
    )


def test_a_block_is_a_part_of_the_matrix(hand_study: Study) -> None:
    branches = Branches.of(hand_study.require_tree(), hand_study.asv_ids)
    np.testing.assert_allclose(unifrac_block(branches, hand_study.table[[2, 0]]), HAND_UNIFRAC[np.ix_([2, 0], [2, 0])])


def test_branches_by_hand(hand_study: Study) -> None:
    branches = Branches.of(hand_study.require_tree(), hand_study.asv_ids)
    assert branches.length.tolist() == [0.5, 1, 2, 1.5, 0.25, 3]
    assert branches.above.toarray().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 0, 1],
    ]


# -- scikit-bio as the oracle -----------------------------------------------------------------------------------------


def random_newick(rng: np.random.Generator, names: list[str]) -> str:
    """Random splits with polytomies and single-child nodes; at most two branches leave the root, some of length 0."""

    def grow(tips: list[str], most: int) -> str:
        length = 0.0 if rng.random() < 0.1 else round(float(rng.exponential()), 4)
        if len(tips) == 1 and rng.random() < 0.8:
            return f"{tips[0]}:{length}"
        cuts = (
            np.sort(rng.choice(np.arange(1, len(tips)), min(most, len(tips)) - 1, replace=False))
            if len(tips) > 1
            else []
        )
        parts = [list(p) for p in np.split(np.array(tips, dtype=object), cuts)]
        return f"({','.join(grow(p, int(rng.integers(2, 5))) for p in parts)}):{length}"

    return re.sub(r":[^:]*$", "", grow(names, 2)) + ";" if len(names) > 1 else f"({names[0]}:1.5);"


def random_study(seed: int, folder: Path) -> tuple[Study, TreeNode]:
    rng = np.random.default_rng(seed)
    n_asvs, n_samples, n_extra = int(rng.integers(1, 14)), int(rng.integers(1, 9)), int(rng.integers(0, 5))
    names = ["".join("ACGT"[(i >> k) & 3] for k in (0, 2, 4)) for i in rng.permutation(64)[: n_asvs + n_extra]]
    newick = random_newick(rng, names)
    (folder / "random.nwk").write_text(newick)
    counts = rng.poisson(0.7, (n_samples, n_asvs))
    counts[np.arange(n_samples), rng.integers(n_asvs, size=n_samples)] += 1
    ids = pd.Index([f"s{i}" for i in range(n_samples)])
    asvs = pd.Index([str(a) for a in rng.permutation(names)[:n_asvs]])
    study = Study(sparse.csr_array(counts), ids, asvs, pd.DataFrame(index=ids), tree=Tree.read(folder / "random.nwk"))
    return study, TreeNode.read([newick])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_trees_and_tables_agree_with_scikit_bio(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    study, tree = random_study(seed, tmp_path_factory.getbasetemp())
    counts = study.table.toarray()
    given_ = {"ids": list(study.sample_ids), "taxa": list(study.asv_ids), "tree": tree, "validate": False}
    expected = beta_diversity("unweighted_unifrac", counts, **given_).data
    branches = Branches.of(study.require_tree(), study.asv_ids)
    np.testing.assert_allclose(aam.unifrac(study, engine="torch").data, expected, atol=1e-6)
    np.testing.assert_allclose(aam.unifrac(study, engine="skbio").data, expected, atol=1e-6)
    np.testing.assert_allclose(unifrac_block(branches, study.table), expected, atol=1e-6)
    np.testing.assert_allclose(aam.faith_pd(study), alpha_diversity("faith_pd", counts, **given_), atol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize("name", ["moving_pictures", "soils88"])
def test_real_studies_agree_with_scikit_bio(name: str, real_data: Path) -> None:
    stem = real_data / name / name
    study = aam.read_study(f"{stem}.biom", metadata=f"{stem}.tsv", tree=f"{stem}.nwk")
    torch, skbio = (aam.unifrac(study, engine=e) for e in ("torch", "skbio"))  # type: ignore[arg-type]
    assert torch.ids == skbio.ids == tuple(study.sample_ids)
    np.testing.assert_allclose(torch.data, skbio.data, atol=1e-6)
    tree = TreeNode.read(f"{stem}.nwk", convert_underscores=False)
    expected = alpha_diversity(
        "faith_pd", study.table.toarray(), ids=list(study.sample_ids), taxa=list(study.asv_ids), tree=tree
    )
    np.testing.assert_allclose(aam.faith_pd(study), expected, rtol=1e-9)


# -- laws -------------------------------------------------------------------------------------------------------------


def test_the_size_of_the_blocks_does_not_matter(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = aam.unifrac(study, engine="torch").data
    monkeypatch.setattr(module, "BRANCHES_PER_BLOCK", 7)  # 158 branches: 22 blocks and a rest
    np.testing.assert_allclose(aam.unifrac(study, engine="torch").data, whole, atol=1e-12)


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


def small(newick: str, asvs: list[str], counts: list[list[int]], folder: Path) -> Study:
    (folder / "small.nwk").write_text(newick)
    ids = pd.Index([f"s{i}" for i in range(len(counts))])
    return Study(
        sparse.csr_array(np.array(counts)),
        ids,
        pd.Index(asvs),
        pd.DataFrame(index=ids),
        tree=Tree.read(folder / "small.nwk"),
    )


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
    study = small(newick, asvs, counts, tmp_path)
    assert aam.faith_pd(study).tolist() == faith
    np.testing.assert_allclose(aam.unifrac(study, engine="torch").data, [[0, distance], [distance, 0]], atol=1e-15)


def test_lineages_as_labels_do_not_stop_the_reference_engine(tmp_path: Path) -> None:
    study = small("((A:1,C:2)'k__Bacteria; p__X':3,G:1);", ["A", "C"], [[1, 0], [0, 1]], tmp_path)
    assert aam.unifrac(study, engine="skbio").data[0, 1] == pytest.approx(0.5)  # shared 3 of 1 + 2 + 3


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [aam.unifrac, aam.faith_pd])
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
    assert "6 reads fell out" in kept.provenance[-1]


@pytest.mark.parametrize("verb", [aam.unifrac, aam.faith_pd])
def test_no_tree_is_refused(verb, hand_study: Study) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        MissingTipError, match=r"no tree.*aam\.read_study\(\.\.\., tree='tree\.nwk'\).*--tree tree\.nwk"
    ):
        verb(replace(hand_study, tree=None))


@pytest.mark.parametrize("verb", [aam.unifrac, aam.faith_pd])
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


def test_unknown_metrics_and_engines_are_refused(hand_study: Study) -> None:
    with pytest.raises(EngineError, match=r"metric is 'weighted'.*'unweighted'.*`aam\.unifrac\("):
        aam.unifrac(hand_study, metric="weighted")
    with pytest.raises(EngineError, match=r"engine is 'gpu'.*'auto', 'torch' or 'skbio'.*`aam\.unifrac\("):
        aam.unifrac(hand_study, engine="gpu")  # type: ignore[arg-type]
