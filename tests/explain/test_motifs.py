"""Motifs: attention along the nucleotides of a clade, by plain loops."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import aam_nb as aam
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.maps import attention
from aam_nb.explain.attention.motifs import LengthNotice, MotifError, motifs
from aam_nb.study.errors import MissingTipError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import NotFittedError


def made_of(asvs: list[str]) -> Study:
    """One sample with these ASVs."""
    counts = sparse.csr_array(np.ones((1, len(asvs)), dtype=int))
    return Study(counts, pd.Index(["s"]), pd.Index(asvs), pd.DataFrame(index=["s"]))


def test_attention_and_letters_by_plain_loops(fitted: aam.AAM, study: Study) -> None:
    asvs = study.asv_ids[:6].tolist()
    maps = attention(fitted, study, samples=[study.sample_ids[0]], asvs=asvs, levels=("nucleotide",))
    found = motifs(fitted, study, asvs=asvs)
    assert found.attention.index.tolist() == list(range(1, 41))
    for head in ("head_1", "head_2", "mean"):
        for position in (1, 4, 5, 23, 40):
            values = [maps.nucleotide_pooling[a][head].iloc[(position - 1) // 4] / 4 for a in asvs]
            assert found.attention.at[position, head] == pytest.approx(np.mean(values), abs=1e-6)
    np.testing.assert_allclose(found.attention.sum(), 1, atol=1e-5)
    for position in (1, 17, 40):
        counts = Counter(a[position - 1] for a in asvs)
        for letter in "ACGT":
            assert found.frequency.at[position, letter] == pytest.approx(counts[letter] / 6)
        assert counts[found.consensus[position - 1]] == max(counts.values())
    assert found.even == pytest.approx(1 / 40)
    frame = found.to_frame()
    assert "".join(frame["consensus"]) == found.consensus
    assert (frame["asvs"] == 6).all()


def test_a_clade_is_what_hangs_below_a_node(fitted: aam.AAM, study: Study) -> None:
    from skbio import TreeNode

    tree = study.tree
    assert tree is not None
    node = int(tree.parent[tree.parent[tree.tip_node[study.asv_ids[3]]]])
    found = motifs(fitted, study, clade=node)
    skbio = TreeNode.read([tree.to_newick()], convert_underscores=False)
    above = skbio.find(study.asv_ids[3]).parent.parent
    assert sorted(found.asvs) == sorted(tip.name for tip in above.tips())
    assert found.name == f"clade of node {node}"
    pd.testing.assert_frame_equal(found.attention, motifs(fitted, study, asvs=found.asvs).attention)
    everything = motifs(fitted, study, clade=0)
    assert len(everything.asvs) == study.num_asvs


def test_lengths_that_differ_little_are_told_and_still_sum_to_one(fitted: aam.AAM) -> None:
    asvs = ["ACGTNCGTACGTACGTACGTACG", "ACGTACGTACGTACGTACGTA"]  # 23 and 21
    with pytest.warns(LengthNotice, match="21 to 23 nucleotides"):
        found = motifs(fitted, made_of(asvs), asvs=asvs)
    np.testing.assert_allclose(found.attention.sum(), 1, atol=1e-5)
    assert found.frequency["asvs"].tolist() == [2] * 21 + [1] * 2
    assert found.frequency.loc[5].tolist() == [0.5, 0, 0, 0, 0.5, 2]
    np.testing.assert_allclose(found.frequency.iloc[:, :5].sum(axis=1), 1)
    alone = motifs(fitted, made_of(["N" * 21]), asvs=["N" * 21])
    assert alone.consensus == "N" * 21


def test_every_view_says_what_attention_is_not(fitted: aam.AAM, study: Study) -> None:
    found = motifs(fitted, study, clade=0)
    for text in (found.caption, repr(found), found._repr_html_()):
        assert NOT_IMPORTANCE in text
    assert "Positions count from the 5' end" in repr(found)
    assert "\n" not in repr(found)
    assert all(f.attrs["caption"] == NOT_IMPORTANCE for f in (found.to_frame(), found.attention, found.frequency))


def test_what_is_no_clade_is_refused(fitted: aam.AAM, study: Study) -> None:
    with pytest.raises(UnknownIdError, match="Neither asvs nor clade"):
        motifs(fitted, study)
    with pytest.raises(UnknownIdError, match="Both asvs and clade"):
        motifs(fitted, study, asvs=[study.asv_ids[0]], clade=0)
    with pytest.raises(UnknownIdError, match="clade is 100000"):
        motifs(fitted, study, clade=100000)
    with pytest.raises(UnknownIdError, match="1 of 1 ASVs are not in the study"):
        motifs(fitted, study, asvs=["ACGT"])
    with pytest.raises(MissingTipError, match="has no tree"):
        motifs(fitted, replace(study, tree=None), clade=0)
    assert study.tree is not None
    tip = study.tree.tip_node[study.asv_ids[0]]
    with pytest.raises(UnknownIdError, match=r"Below node \d+ of the tree are 1 tip, and none"):
        motifs(fitted, study.keep_asvs(study.asv_ids[1:]), clade=tip)
    with pytest.raises(MotifError, match="16 to 20 nucleotides"):
        motifs(fitted, made_of(["ACGT" * 4, "ACGT" * 5]), asvs=["ACGT" * 4, "ACGT" * 5])
    with pytest.raises(NotFittedError):
        motifs(aam.AAM(), study, clade=0)
