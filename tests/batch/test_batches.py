"""Batches: what the table holds comes out, each ASV once, each sample once an epoch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from aam_nb.batch.batches import Batch, Batches
from aam_nb.study.study import EmptySampleError, Study

LETTERS = "-ACGTRYSWKMBDHVN"
NUCLEOTIDES = np.array(list("ACGT"))


def made_up(sizes: Iterable[int], seed: int = 0) -> Study:
    """Samples with the given numbers of ASVs, which are 3 to 30 nucleotides long."""
    rng, sizes = np.random.default_rng(seed), list(sizes)
    num_asvs = max(sizes) + 5
    asvs = [f"{'ACGT'[k % 4] * 3}" + "".join(NUCLEOTIDES[rng.integers(4, size=k % 24)]) for k in range(num_asvs)]
    asvs = list(dict.fromkeys(asvs + ["".join(NUCLEOTIDES[rng.integers(4, size=30)]) for _ in asvs]))[:num_asvs]
    counts = np.zeros((len(sizes), num_asvs), dtype=int)
    for row, size in zip(counts, sizes, strict=True):
        row[rng.permutation(num_asvs)[:size]] = rng.integers(1, 50, size=size)
    ids = pd.Index([f"s{i}" for i in range(len(sizes))])
    return Study(sparse.csr_array(counts), ids, pd.Index(asvs), pd.DataFrame(index=ids))


def entries(batch: Batch) -> set[tuple[str, str, int]]:
    """(sample, DNA, reads) of every entry, read entry by entry."""
    found = []
    for b, sample in enumerate(batch.sample_ids):
        for e in range(int(batch.offsets_B1[b]), int(batch.offsets_B1[b + 1])):
            dna = "".join(LETTERS[t] for t in batch.tokens_NL[int(batch.asv_E[e])].tolist() if t)
            found.append((sample, dna, int(batch.counts_E[e])))
    assert len(found) == len(set(found)) == len(batch.asv_E)
    return set(found)


def cells(study: Study) -> set[tuple[str, str, int]]:
    """The same from the dense table."""
    dense = study.table.toarray()
    return {(study.sample_ids[i], study.asv_ids[j], int(dense[i, j])) for i, j in np.argwhere(dense)}


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_read_of_the_table_is_in_exactly_one_batch(study: Study, shuffle: bool) -> None:
    for given_study in (study, made_up([3, 9, 1, 30, 12, 4, 4, 25])):
        batches = list(Batches(given_study, batch_size=5, max_entries=200, shuffle=shuffle))
        parts = [entries(b) for b in batches]
        assert set().union(*parts) == cells(given_study)
        assert sum(map(len, parts)) == given_study.table.nnz


def test_each_distinct_asv_stands_once_and_none_is_idle() -> None:
    for batch in Batches(made_up([3, 9, 1, 30, 12, 4, 4, 25]), batch_size=3, max_entries=1000):
        assert len(np.unique(batch.tokens_NL.numpy(), axis=0)) == len(batch.tokens_NL) == len(batch.asv_N)
        assert set(batch.asv_E.tolist()) == set(range(len(batch.tokens_NL)))


def test_asvs_are_padded_to_the_longest_of_the_batch_and_no_further() -> None:
    study = made_up([2, 3, 2, 20], seed=2)
    for batch in Batches(study, batch_size=1, max_entries=1000):
        longest = max(len(dna) for _, dna, _ in entries(batch))
        assert batch.tokens_NL.shape[1] == longest
        assert study.asv_ids[batch.asv_N].tolist() == [
            "".join(LETTERS[t] for t in row if t) for row in batch.tokens_NL.tolist()
        ]


def test_totals_and_row_numbers_are_those_of_the_study(study: Study) -> None:
    dense = study.table.toarray()
    for batch in Batches(study, batch_size=7, max_entries=10_000, shuffle=True, asv_dropout=0.5):
        assert batch.sample_ids == tuple(study.sample_ids[batch.sample_B])
        assert batch.total_B.tolist() == dense[batch.sample_B].sum(1).tolist(), "hidden ASVs count too"
        table = batch.table(study.num_asvs).toarray()
        assert (np.where(table > 0, dense[batch.sample_B], 0) == table).all()


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    batch_size=st.integers(1, 9),
    max_entries=st.integers(1, 200),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_a_plan_holds_each_sample_once_within_the_limits(
    sizes: list[int], batch_size: int, max_entries: int, shuffle: bool, epoch: int
) -> None:
    batches = Batches(made_up(sizes), batch_size=batch_size, max_entries=max_entries, shuffle=shuffle)
    batches.epoch = epoch
    plan = batches.plan()
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(sizes)))
    assert len(batches) == len(plan)
    for rows in plan:
        assert 1 <= len(rows) <= batch_size
        assert len(rows) == 1 or len(rows) * max(sizes[i] for i in rows) <= max_entries


def test_order_is_a_function_of_seed_and_epoch() -> None:
    study = made_up(range(1, 41))

    def plan(seed: int, epoch: int) -> list[list[int]]:
        batches = Batches(study, batch_size=4, max_entries=1000, shuffle=True, seed=seed)
        batches.epoch = epoch
        return [rows.tolist() for rows in batches.plan()]

    assert plan(0, 0) == plan(0, 0)
    assert plan(3, 5) == plan(3, 5)
    assert len({str(plan(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


def test_what_is_hidden_is_a_function_of_seed_and_epoch(study: Study) -> None:
    def hidden(seed: int, epoch: int) -> set[tuple[str, str, int]]:
        batches = Batches(study, batch_size=8, max_entries=9999, shuffle=True, asv_dropout=0.3, seed=seed)
        batches.epoch = epoch
        return cells(study) - set().union(*map(entries, batches))

    assert hidden(0, 0) == hidden(0, 0)
    assert hidden(0, 0) != hidden(0, 1)
    assert hidden(0, 0) != hidden(1, 0)


def test_like_sizes_come_together() -> None:
    """Slots filled in vain are far fewer than in batches of random company."""
    rng = np.random.default_rng(0)
    sizes = rng.permutation(np.repeat(np.arange(1, 65), 4))
    batches = Batches(made_up(sizes), batch_size=8, max_entries=100_000, shuffle=True)
    slots = sum(len(rows) * sizes[rows].max() for rows in batches.plan())
    random = sum(8 * part.max() for part in rng.permutation(sizes).reshape(-1, 8))
    assert slots < 1.2 * sizes.sum()
    assert random > 1.5 * sizes.sum()


def test_asv_dropout_hides_its_share_and_leaves_one(study: Study) -> None:
    for share in (0.2, 0.6):
        kept = sum(len(b.asv_E) for b in Batches(study, batch_size=8, max_entries=9999, asv_dropout=share, seed=4))
        sd = np.sqrt(share * (1 - share) / study.table.nnz)
        assert abs(kept / study.table.nnz - (1 - share)) < 4 * sd + study.num_samples * share**20
    few = made_up([1, 1, 2, 3, 40])
    for batch in Batches(few, batch_size=2, max_entries=9999, asv_dropout=0.99):
        assert (batch.offsets_B1.diff() >= 1).all()
        assert entries(batch) <= cells(few)


def test_a_sample_without_reads_is_refused_by_name() -> None:
    study = made_up([3, 4])
    empty = Study(sparse.csr_array(study.table.toarray() * [[1], [0]]), study.sample_ids, study.asv_ids, study.metadata)
    with pytest.raises(EmptySampleError, match=r"1 of 2 samples have no reads \(s1\)"):
        Batches(empty, batch_size=2, max_entries=10)
