"""A batch cut in parts: together they are the batch, each within its budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from aam_nb.batch.batch import Batch, samples_of
from aam_nb.batch.batches import Batches
from aam_nb.config import TrainConfig
from aam_nb.study.study import Study
from aam_nb.train.microbatches import cut_batch

LETTERS = "-ACGTRYSWKMBDHVN"
LENGTHS = (3, 5, 8, 13, 40)


def made_up(sizes: list[int], seed: int) -> Study:
    """Samples with the given numbers of ASVs, which are 3 to 40 nucleotides long."""
    rng = np.random.default_rng(seed)
    num_asvs = max(sizes) + 4
    asvs: dict[str, None] = {}
    while len(asvs) < num_asvs:
        asvs["".join(rng.choice(list("ACGT"), size=LENGTHS[int(rng.integers(5))]))] = None
    counts = np.zeros((len(sizes), num_asvs), dtype=int)
    for row, size in zip(counts, sizes, strict=True):
        row[rng.permutation(num_asvs)[:size]] = rng.integers(1, 50, size=size)
    ids = pd.Index([f"s{i}" for i in range(len(sizes))])
    metadata = pd.DataFrame({"kind": rng.choice(["a", "b"], size=len(sizes))}, index=ids)
    return Study(sparse.csr_array(counts), ids, pd.Index(list(asvs)), metadata)


def mark(batch: Batch, rng: np.random.Generator) -> Batch:
    """Targets along every axis that tell where they belong, and some hidden reads."""
    b_E = np.repeat(batch.sample_B, batch.offsets_B1.diff().numpy())
    batch = batch.with_target("sample", torch.from_numpy(batch.sample_B * 10))
    batch = batch.with_target("pair", torch.from_numpy(np.stack([batch.sample_B, -batch.sample_B], 1)), axis="B")
    batch = batch.with_target("asv", torch.from_numpy(batch.asv_N * 10), axis="N")
    code = b_E * 10_000 + batch.asv_N[batch.asv_E.numpy()]
    batch = batch.with_target("entry", torch.from_numpy(code), axis="E")
    batch = batch.with_target("whole", torch.from_numpy(batch.sample_B[:, None] - batch.sample_B), axis="")
    return replace(batch, hidden_E=torch.from_numpy(rng.random(len(code)) < 0.3))


def told(batch: Batch) -> list[tuple[Any, ...]]:
    """All that a batch says, entry by entry: of its sample, its ASV's DNA, its reads, its targets."""
    said = []
    for b in range(len(batch)):
        assert batch.weight_B is not None
        assert batch.partner_B is not None
        assert batch.share_B is not None
        assert batch.hidden_E is not None
        place = b if batch.place_B is None else int(batch.place_B[b])
        sample = (
            place,
            batch.sample_ids[b],
            int(batch.sample_B[b]),
            int(batch.total_B[b]),
            float(batch.weight_B[b]),
            int(batch.partner_B[b]),
            float(batch.share_B[b]),
            int(batch.targets["sample"][b]),
            batch.targets["pair"][b].tolist(),
        )
        for e in range(int(batch.offsets_B1[b]), int(batch.offsets_B1[b + 1])):
            n = int(batch.asv_E[e])
            dna = "".join(LETTERS[t] for t in batch.tokens_NL[n].tolist() if t)
            entry = int(batch.counts_E[e]), bool(batch.hidden_E[e]), int(batch.targets["entry"][e])
            said.append((*sample, dna, int(batch.asv_N[n]), int(batch.targets["asv"][n]), *entry))
    return said


def whole(sizes: list[int], seed: int = 0, views: int = 1) -> Batch:
    config = TrainConfig(batch_size=len(sizes), mixup=0.4, asv_dropout=0.2, weight_by="kind", seed=seed)
    (batch,) = list(Batches(made_up(sizes, seed), config=config, makers=[mark], training=True, views=views))
    return batch


def cost(part: Batch, positions: int) -> int:
    """Positions of a part, counted anew."""
    return len(part) * int(part.offsets_B1.diff().max()) + len(part.tokens_NL) * positions


@settings(deadline=None, max_examples=80)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    max_tokens=st.integers(1, 600),
    patch=st.sampled_from([1, 4, 10]),
    at_least=st.integers(1, 14),
    encode=st.booleans(),
    views=st.integers(1, 2),
    seed=st.integers(0, 3),
)
def test_parts_are_the_batch_within_their_budget(
    sizes: list[int], max_tokens: int, patch: int, at_least: int, encode: bool, views: int, seed: int
) -> None:
    batch = whole(sizes, seed, views)
    assert len(batch) == views * len(sizes)
    parts = cut_batch(batch, max_tokens, patch=patch, at_least=at_least, encode=encode)
    assert [line for part in parts for line in told(part)] == told(batch), "nothing is lost, moved or changed"
    assert min(at_least, len(batch)) <= len(parts) <= len(batch)
    positions = -(-batch.tokens_NL.shape[1] // patch) if encode else 0
    for part in parts:
        assert len(part) == 1 or cost(part, positions) <= max_tokens
        assert set(part.asv_E.tolist()) == set(range(len(part.asv_N))), "its own ASVs alone, each once"
        assert len(np.unique(part.tokens_NL.numpy(), axis=0)) == len(part.tokens_NL)
        lengths = (part.tokens_NL != 0).sum(1)
        assert part.tokens_NL.shape[1] == lengths.max(), "padded to its own longest"
        assert torch.equal(part.targets["whole"], batch.targets["whole"])
        assert part.axes == batch.axes


def test_a_batch_within_its_budget_is_not_cut() -> None:
    batch = whole([4, 5, 6])
    assert cut_batch(batch, 10**6, patch=1) == [batch]
    positions = batch.tokens_NL.shape[1]
    assert len(cut_batch(batch, cost(batch, positions), patch=1)) == 1
    assert len(cut_batch(batch, cost(batch, positions) - 1, patch=1)) == 2, "one position less is one part more"


def test_parts_are_cut_no_finer_than_they_must_be() -> None:
    """With the next part's first sample, each part would be over the budget."""
    batch = whole([3, 4, 5, 6, 7, 8, 9, 9, 9, 10, 12], seed=2)
    positions = -(-batch.tokens_NL.shape[1] // 4)
    parts = cut_batch(batch, 150, patch=4)
    assert 2 < len(parts) < len(batch)
    start = 0
    for part in parts[:-1]:
        one_more = samples_of(batch, start, start + len(part) + 1)
        assert cost(one_more, positions) > 150
        start += len(part)


@pytest.mark.parametrize(("at_least", "want"), [(1, [5]), (2, [3, 2]), (3, [2, 2, 1]), (4, [2, 1, 1, 1]), (5, [1] * 5)])
def test_as_many_parts_as_asked_for_of_even_sizes(at_least: int, want: list[int]) -> None:
    assert [len(p) for p in cut_batch(whole([3, 4, 5, 6, 7]), 10**6, patch=1, at_least=at_least)] == want


@settings(deadline=None, max_examples=30)
@given(data=st.data(), sizes=st.lists(st.integers(1, 12), min_size=2, max_size=9))
def test_a_part_of_a_part_is_a_part(data: st.DataObject, sizes: list[int]) -> None:
    batch, n = whole(sizes), len(sizes)
    a = data.draw(st.integers(0, n - 1))
    b = data.draw(st.integers(a + 1, n))
    c = data.draw(st.integers(a, b - 1))
    d = data.draw(st.integers(c + 1, b))
    direct, twice = samples_of(batch, c, d), samples_of(samples_of(batch, a, b), c - a, d - a)
    assert told(direct) == told(twice)
    assert torch.equal(direct.tokens_NL, twice.tokens_NL)
    assert direct.place_B is not None
    assert direct.place_B.tolist() == list(range(c, d))


def test_a_part_without_marks_has_none() -> None:
    config = TrainConfig(asv_dropout=0.0)
    (batch,) = list(Batches(made_up([3, 4, 5], 0), config=config))
    part = samples_of(batch, 0, 2)
    assert (part.hidden_E, part.weight_B, part.partner_B, part.share_B, part.targets) == (None, None, None, None, {})


def test_the_table_of_a_part_is_that_of_its_samples() -> None:
    study = made_up([3, 9, 4, 6], 1)
    (batch,) = list(Batches(study, config=TrainConfig(batch_size=4)))
    found = sparse.vstack([p.table(study.num_asvs) for p in cut_batch(batch, 1, patch=1)]).toarray()
    assert (found == study.table[:].toarray()[batch.sample_B]).all()


def test_all_tensors_move_to_a_device_together() -> None:
    part = samples_of(whole([3, 9, 4, 6]), 1, 3)
    moved = part.to("meta")
    held = [t for t in (*vars(moved).values(), *moved.targets.values()) if isinstance(t, torch.Tensor)]
    assert len(held) == 8 + len(part.targets) == 13
    assert {t.device.type for t in held} == {"meta"}
    assert moved.sample_ids == part.sample_ids
