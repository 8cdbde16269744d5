"""Targets that are made with a batch: diversities of just what it holds, hidden nucleotides."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from scipy import sparse
from skbio import TreeNode
from skbio.diversity import alpha_diversity, beta_diversity

import aam_nb as aam
from aam_nb.batch.batch import Batch
from aam_nb.batch.batches import Batches
from aam_nb.batch.tokens import MASK, PAD
from aam_nb.config import TrainConfig
from aam_nb.model.objectives import FaithPD
from aam_nb.study.errors import MissingTipError
from aam_nb.study.study import Study

PLAIN = TrainConfig(asv_dropout=0.0, batch_size=8, seed=5)
CHANGES: list[dict[str, Any]] = [
    {"asv_dropout": 0.0},
    {"asv_dropout": 0.5},
    {"asv_dropout": 0.0, "rarefy": 100},
    {"asv_dropout": 0.2, "rarefy": 150, "mixup": 0.4, "max_asvs": 25, "mutation": 0.1},
    {"asv_dropout": 0.0, "max_asvs": 20, "asv_choice": "random"},
    {"asv_dropout": 0.0, "coverage": 0.9},
]


def reads(batch: Batch, study: Study) -> npt.NDArray[np.int64]:
    """What a batch holds, B x ASVs of the study, sample by sample."""
    counts = np.zeros((len(batch), study.num_asvs), dtype=int)
    for b in range(len(batch)):
        held = slice(int(batch.offsets_B1[b]), int(batch.offsets_B1[b + 1]))
        counts[b, batch.asv_N[batch.asv_E[held].numpy()]] = batch.counts_E[held].numpy()
    return counts


def test_unifrac_target_of_the_hand_study(hand_study: Study) -> None:
    """one-two share 0.5 + 2.0 of 5.25, two-three share 1.5 + 0.25 of 7.25, one-three share nothing."""
    (batch,) = list(Batches(hand_study, config=PLAIN, makers=[aam.UniFrac().maker(hand_study)]))
    place = {s: b for b, s in enumerate(batch.sample_ids)}
    target = batch.targets["unifrac"].numpy()
    assert target[place["one"], place["two"]] == pytest.approx(1 - 2.5 / 5.25, abs=1e-6)
    assert target[place["two"], place["three"]] == pytest.approx(1 - 1.75 / 7.25, abs=1e-6)
    assert target[place["one"], place["three"]] == pytest.approx(1, abs=1e-6)
    assert np.array_equal(target, target.T)
    assert not target.diagonal().any()


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: " ".join(f"{k}={v}" for k, v in c.items()))
@pytest.mark.parametrize("views", [1, 2])
def test_diversities_are_scikit_bios_on_what_the_batch_holds(study: Study, changes: dict[str, Any], views: int) -> None:
    """Fresh reads, mixtures and limits in every batch, and the targets follow exactly."""
    tree = TreeNode.read(io.StringIO(study.require_tree().to_newick()), format="newick", convert_underscores=False)
    faith = FaithPD()
    faith.learn(study)
    weighted = aam.UniFrac(metric="weighted_normalized")
    objectives = [aam.UniFrac(), weighted, faith]
    config = TrainConfig(batch_size=6, **changes)
    makers = [o.maker(study) for o in objectives]
    batches = Batches(study, config=config, makers=makers, training=True, views=views)
    for batch in list(batches)[:2]:
        counts, names = reads(batch, study), [str(b) for b in range(len(batch))]
        how: dict[str, Any] = {"ids": names, "taxa": list(study.asv_ids), "tree": tree, "validate": False}
        want = beta_diversity("unweighted_unifrac", counts, **how)
        np.testing.assert_allclose(batch.targets["unifrac"].numpy(), want.data, atol=1e-6)
        want = beta_diversity("weighted_unifrac", counts, normalized=True, **how)
        np.testing.assert_allclose(batch.targets[weighted.name].numpy(), want.data, atol=1e-6)
        spans = batch.targets[faith.name].double().numpy() * faith.std + faith.mean
        np.testing.assert_allclose(spans, alpha_diversity("faith_pd", counts, **how).to_numpy(), rtol=1e-5)


def test_unifrac_without_a_tree_is_refused(hand_study: Study) -> None:
    bare = Study(hand_study.table, hand_study.sample_ids, hand_study.asv_ids, hand_study.metadata)
    with pytest.raises(MissingTipError, match="The study has no tree"):
        aam.UniFrac().maker(bare)


def masked(study: Study, share: float) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(original, corrupted, target) of each batch."""
    plain = list(Batches(study, config=PLAIN, training=True))
    hidden = list(Batches(study, config=PLAIN, training=True, makers=[aam.MaskedNucleotides(share).maker(study)]))
    return [(p.tokens_NL, h.tokens_NL, h.targets["nucleotides"]) for p, h in zip(plain, hidden, strict=True)]


def test_hidden_nucleotides_are_the_share_asked_for_and_the_target_tells_them(study: Study) -> None:
    for original, corrupted, target in masked(study, 0.15):
        hidden = corrupted == MASK
        assert torch.equal(corrupted[~hidden], original[~hidden]), "the rest is as it was"
        assert torch.equal(target[hidden].long(), original[hidden].long())
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
