"""Targets that are made with a batch: UniFrac of what it holds, hidden nucleotides."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from skbio import TreeNode
from skbio.diversity import beta_diversity

import aam_nb as aam
from aam_nb.batch.batches import Batches
from aam_nb.batch.tokens import MASK, PAD
from aam_nb.study.study import MissingTipError, Study


def test_unifrac_target_of_the_hand_study(hand_study: Study) -> None:
    """one-two share 0.5 + 2.0 of 5.25, two-three share 1.5 + 0.25 of 7.25, one-three share nothing."""
    batches = Batches(hand_study, batch_size=3, max_entries=99, makers=[aam.UniFrac().maker(hand_study)])
    (batch,) = list(batches)
    place = {s: b for b, s in enumerate(batch.sample_ids)}
    target = batch.targets["unifrac"].numpy()
    assert target[place["one"], place["two"]] == pytest.approx(1 - 2.5 / 5.25, abs=1e-6)
    assert target[place["two"], place["three"]] == pytest.approx(1 - 1.75 / 7.25, abs=1e-6)
    assert target[place["one"], place["three"]] == pytest.approx(1, abs=1e-6)
    assert np.array_equal(target, target.T)
    assert not target.diagonal().any()


@pytest.mark.parametrize("asv_dropout", [0.0, 0.5])
def test_unifrac_target_is_scikit_bios_on_what_the_batch_holds(study: Study, asv_dropout: float) -> None:
    assert study.tree is not None
    tree = TreeNode.read(io.StringIO(study.tree.to_newick()), format="newick", convert_underscores=False)
    batches = Batches(
        study,
        batch_size=12,
        max_entries=9999,
        shuffle=True,
        asv_dropout=asv_dropout,
        makers=[aam.UniFrac().maker(study)],
    )
    for batch in list(batches)[:3]:
        counts = np.zeros((len(batch), study.num_asvs), dtype=int)
        for b in range(len(batch)):
            held = slice(int(batch.offsets_B1[b]), int(batch.offsets_B1[b + 1]))
            counts[b, batch.asv_N[batch.asv_E[held].numpy()]] = batch.counts_E[held].numpy()
        want = beta_diversity(
            "unweighted_unifrac",
            counts,
            ids=list(batch.sample_ids),
            taxa=list(study.asv_ids),
            tree=tree,
            validate=False,
        )
        np.testing.assert_allclose(batch.targets["unifrac"].numpy(), want.data, atol=1e-6)


def test_unifrac_without_a_tree_is_refused(hand_study: Study) -> None:
    bare = Study(hand_study.table, hand_study.sample_ids, hand_study.asv_ids, hand_study.metadata)
    with pytest.raises(MissingTipError, match="The study has no tree"):
        aam.UniFrac().maker(bare)


def masked(study: Study, share: float) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(original, corrupted, target) of each batch."""
    how = {"batch_size": 8, "max_entries": 9999, "shuffle": True, "seed": 5}
    plain = list(Batches(study, **how))
    hidden = list(Batches(study, **how, makers=[aam.MaskedNucleotides(share).maker(study)]))
    return [(p.tokens_NL, h.tokens_NL, h.targets["nucleotides"]) for p, h in zip(plain, hidden, strict=True)]


def test_hidden_nucleotides_are_the_share_asked_for_and_the_target_tells_them(study: Study) -> None:
    for original, corrupted, target in masked(study, 0.15):
        hidden = corrupted == MASK
        assert torch.equal(corrupted[~hidden], original[~hidden]), "the rest is as it was"
        assert torch.equal(target[hidden], original[hidden].long())
        assert (target[~hidden] == PAD).all()
        n = int((original != PAD).sum())
        assert abs(float(hidden.sum()) / n - 0.15) < 4.5 * np.sqrt(0.15 * 0.85 / n)


def test_neither_padding_nor_ambiguity_codes_are_hidden() -> None:
    ids = pd.Index(["a", "b"])
    asvs = pd.Index(["ACGTACGTACGTACGT", "RYSWKMBDHVN", "ACNNT"])
    study = Study(sparse.csr_array(np.array([[1, 2, 3], [4, 5, 6]])), ids, asvs, pd.DataFrame(index=ids))
    for original, corrupted, _ in masked(study, 0.95):
        hidden = corrupted == MASK
        assert hidden.any()
        assert set(original[hidden].tolist()) <= {1, 2, 3, 4}


def test_at_least_one_nucleotide_is_hidden(study: Study) -> None:
    for _, corrupted, target in masked(study, 1e-9):
        assert int((corrupted == MASK).sum()) == int((target != PAD).sum()) == 1
