"""Branches as runs of tips, against a walk over scikit-bio's tree."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_studies import random_study
from scipy import sparse
from skbio import TreeNode

from aam_nb.diversity.branches import Branches, branches_of, tip_ranges
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree


def by_asvs(branches: Branches, asv_ids: pd.Index) -> dict[frozenset[str], float]:
    """Length of the branch above each set of ASVs."""
    below = branches.sum_reads(sparse.csr_array(np.eye(len(asv_ids), dtype=int))) > 0
    lengths = {frozenset(asv_ids[asvs]): length for asvs, length in zip(below, branches.length, strict=True)}
    assert len(lengths) == len(branches.length), "branches above the same ASVs are one"
    return lengths


def walked(tree: TreeNode, asv_ids: set[str]) -> dict[frozenset[str], float]:
    lengths: dict[frozenset[str], float] = {}
    for node in tree.traverse(include_self=False):
        asvs = frozenset(tip.name for tip in node.tips(include_self=True)) & asv_ids
        if asvs:
            lengths[asvs] = lengths.get(asvs, 0) + node.length
    return lengths


def test_branches_by_hand(hand_study: Study) -> None:
    branches = branches_of(hand_study)
    assert branches.length.tolist() == [0.5, 1, 2, 1.5, 0.25, 3]
    assert list(zip(branches.first, branches.last, strict=True)) == [(0, 2), (0, 1), (1, 2), (2, 4), (2, 3), (3, 4)]
    assert branches.sum_reads(hand_study.table[[0, 2]]).T.tolist() == [[4, 3, 1, 0, 0, 0], [0, 0, 0, 8, 4, 4]]
    assert branches.to_newick() == "((t0:1.0,t1:2.0):0.5,(t2:0.25,t3:3.0):1.5);"
    assert repr(branches) == "Branches(6 above 4 ASVs)"


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_branches_are_those_of_the_tree(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    study, tree = random_study(seed, tmp_path_factory.getbasetemp())
    branches = branches_of(study)
    lengths, expected = by_asvs(branches, study.asv_ids), walked(tree, set(study.asv_ids))
    assert lengths.keys() == expected.keys()
    for asvs, length in expected.items():
        assert lengths[asvs] == pytest.approx(length)
    names = [f"t{rank}" for rank in branches.rank]
    again = walked(TreeNode.read([branches.to_newick()]), set(names))
    renamed = dict(zip(names, study.asv_ids, strict=True))
    assert {frozenset(renamed[t] for t in asvs): length for asvs, length in again.items()} == pytest.approx(lengths)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_part_of_the_samples_has_the_branches_above_its_own_asvs(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    study, tree = random_study(seed, tmp_path_factory.getbasetemp())
    branches = branches_of(study)
    one, other = study.table[:1], study.table[-1:]
    asvs = [set(study.asv_ids[table.indices]) for table in (one, other)]
    near = branches.restrict_to(one, other)
    kept = np.flatnonzero(near.rank >= 0)
    assert set(study.asv_ids[kept]) == asvs[0] | asvs[1]
    expected = walked(tree, asvs[0] | asvs[1])
    eye = sparse.csr_array((np.ones(len(kept)), (np.arange(len(kept)), kept)), shape=(len(kept), study.num_asvs))
    names = study.asv_ids[kept]
    for part, want in (
        (near, expected),
        (branches.restrict_to_shared(one, other), {k: v for k, v in expected.items() if k & asvs[0] and k & asvs[1]}),
    ):
        below = part.sum_reads(eye) > 0
        lengths = {frozenset(names[b]): length for b, length in zip(below, part.length, strict=True)}
        assert lengths == pytest.approx(want)


def test_a_caterpillar_takes_no_more_memory_than_a_balanced_tree() -> None:
    n = 20_000  # an ASV lies 20,000 branches deep; all pairs of ASV and branch would be 2e8 numbers
    number = np.arange(2 * n - 1)  # node 2k has the tip 2k + 1 and the node 2k + 2 below it
    parent = np.where(number > 0, (number - 1) // 2 * 2, -1)
    names = tuple(f"T{i}" if i % 2 or i == 2 * n - 2 else None for i in number)
    tree = Tree(parent=parent, length=np.concatenate([[0.0], np.ones(2 * n - 2)]), names=names)
    assert len(tree.tips) == n
    tracemalloc.start()
    branches = Branches.from_tree(tree, pd.Index(tree.tips))
    table = sparse.csr_array((np.ones(2), ([0, 1], [0, n - 1])), shape=(2, n))
    spans = branches.faith_pd(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(branches.length) == 2 * n - 2
    assert spans.tolist() == [1, n - 1]  # the first tip is a child of the root, the last of the deepest node
    assert peak < 60e6


def test_tips_are_ranked_from_left_to_right_however_nodes_are_numbered() -> None:
    # ((A,B),(C,D)) numbered level by level: the nodes below node 1 are 3 and 4, those below 2 are 5 and 6.
    tree = Tree(np.array([-1, 0, 0, 1, 1, 2, 2]), np.array([0.0] + [1.0] * 6), (None, None, None, "A", "B", "C", "D"))
    first, last = tip_ranges(tree)
    assert first.tolist() == [0, 0, 2, 0, 1, 2, 3]
    assert last.tolist() == [4, 2, 4, 1, 2, 3, 4]


def test_dense_blocks_are_bounded(tmp_path: Path) -> None:
    few = Branches(np.arange(4), np.arange(4), np.arange(1, 5), np.ones(4), 4)
    assert few.samples_per_block(1000) == 1000
    n = 10**6
    many = Branches(np.arange(n), np.arange(n), np.arange(1, n + 1), np.ones(n), n)
    assert many.samples_per_block(1000) == 16  # of 2,000,001 numbers each: 2**28 bytes
