"""Batches: what the table holds comes out, each ASV once, each sample once an epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

import aam_nb as aam
from aam_nb.batch import batches as batches_module
from aam_nb.batch.batch import Batch
from aam_nb.batch.batches import Batches
from aam_nb.config import TrainConfig
from aam_nb.study.errors import EmptySampleError, StudyError, UnknownIdError
from aam_nb.study.study import Study

LETTERS = "-ACGTRYSWKMBDHVN"
NUCLEOTIDES = np.array(list("ACGT"))
ALL: dict[str, Any] = {"rarefy": 200, "mixup": 0.4, "max_asvs": 20, "asv_dropout": 0.2, "mutation": 0.1}
"""Every change that training knows."""


def batches_of(study: Study, *, training: bool = False, views: int = 1, epoch: int = 0, **settings: Any) -> Batches:
    """Batches with no ASV hidden unless asked for."""
    config = TrainConfig(**{"asv_dropout": 0.0, "batch_size": 8, **settings})
    found = Batches(study, config=config, training=training, views=views)
    found.epoch = epoch
    return found


def bits(batch: Batch) -> dict[str, Any]:
    """All that a batch holds, as bytes."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        value = value.numpy() if isinstance(value, torch.Tensor) else value
        found[field.name] = (value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else value
    return found


def dense_of(batch: Batch, study: Study) -> npt.NDArray[np.int64]:
    """A batch's reads, B x ASVs of the study, cell by cell."""
    counts = np.zeros((len(batch), study.num_asvs), dtype=np.int64)
    for b in range(len(batch)):
        for e in range(int(batch.offsets_B1[b]), int(batch.offsets_B1[b + 1])):
            counts[b, batch.asv_N[int(batch.asv_E[e])]] += int(batch.counts_E[e])
    return counts


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


@pytest.mark.parametrize("training", [False, True])
def test_every_read_of_the_table_is_in_exactly_one_batch(study: Study, training: bool) -> None:
    for given_study in (study, made_up([3, 9, 1, 30, 12, 4, 4, 25])):
        parts = [entries(b) for b in batches_of(given_study, batch_size=5, training=training)]
        assert set().union(*parts) == cells(given_study)
        assert sum(map(len, parts)) == given_study.table.nnz


def test_each_distinct_asv_stands_once_and_none_is_idle() -> None:
    for batch in batches_of(made_up([3, 9, 1, 30, 12, 4, 4, 25]), batch_size=3):
        assert len(np.unique(batch.tokens_NL.numpy(), axis=0)) == len(batch.tokens_NL) == len(batch.asv_N)
        assert set(batch.asv_E.tolist()) == set(range(len(batch.tokens_NL)))
        assert (np.diff(batch.asv_N) > 0).all()


def test_asvs_are_padded_to_the_longest_of_the_batch_and_no_further() -> None:
    study = made_up([2, 3, 2, 20], seed=2)
    for batch in batches_of(study, batch_size=1):
        longest = max(len(dna) for _, dna, _ in entries(batch))
        assert batch.tokens_NL.shape[1] == longest
        assert study.asv_ids[batch.asv_N].tolist() == [
            "".join(LETTERS[t] for t in row if t) for row in batch.tokens_NL.tolist()
        ]


def test_totals_and_row_numbers_are_those_of_the_study(study: Study) -> None:
    dense = study.table.toarray()
    for batch in batches_of(study, batch_size=7, training=True, asv_dropout=0.5, max_asvs=30):
        assert batch.sample_ids == tuple(study.sample_ids[batch.sample_B])
        assert batch.total_B.tolist() == dense[batch.sample_B].sum(1).tolist(), "hidden and left-out ASVs count too"
        table = batch.table(study.num_asvs).toarray()
        assert (np.where(table > 0, dense[batch.sample_B], 0) == table).all()
        assert batch.counts_E.dtype == batch.total_B.dtype == torch.int64


def test_a_sample_without_reads_is_refused_by_name() -> None:
    study = made_up([3, 4])
    empty = Study(sparse.csr_array(study.table.toarray() * [[1], [0]]), study.sample_ids, study.asv_ids, study.metadata)
    with pytest.raises(EmptySampleError, match=r"1 of 2 samples have no reads \(s1\)"):
        batches_of(empty)


def test_a_sample_too_deep_to_draw_from_is_refused_where_reads_are_drawn() -> None:
    study = made_up([3, 4])
    table = sparse.csr_array(np.where(study.table.toarray() > 0, [[1], [4 * 10**8]], 0))
    deep = Study(table, study.sample_ids, study.asv_ids, study.metadata)
    assert len(list(batches_of(deep))) == 1
    for how in ({"rarefy": 10}, {"training": True, "mixup": 0.4}, {"views": 2}):
        with pytest.raises(StudyError, match=r"Sample s1 has 1,600,000,000 reads\. Expected fewer than 1,000,000,000"):
            batches_of(deep, **how)  # type: ignore[arg-type]


# -- order ------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    batch_size=st.integers(1, 9),
    training=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_a_plan_holds_each_sample_once_within_the_limit(
    sizes: list[int], batch_size: int, training: bool, epoch: int
) -> None:
    batches = batches_of(made_up(sizes), batch_size=batch_size, training=training, epoch=epoch)
    plan = batches.plan()
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(sizes)))
    assert len(batches) == len(plan)
    assert all(1 <= len(rows) <= batch_size for rows in plan)
    if not training:
        assert [sizes[i] for rows in plan for i in rows] == sorted(sizes)


def test_a_batch_size_given_goes_before_the_configs(study: Study) -> None:
    assert max(map(len, Batches(study, config=TrainConfig(batch_size=8), batch_size=20).plan())) == 20


def test_order_is_a_function_of_seed_and_epoch() -> None:
    study = made_up(range(1, 41))

    def plan(seed: int, epoch: int) -> list[list[int]]:
        batches = batches_of(study, batch_size=4, training=True, seed=seed, epoch=epoch)
        return [rows.tolist() for rows in batches.plan()]

    assert plan(0, 0) == plan(0, 0)
    assert plan(3, 5) == plan(3, 5)
    assert len({str(plan(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


def test_like_sizes_come_together() -> None:
    """Slots filled in vain are far fewer than in batches of random context."""
    rng = np.random.default_rng(0)
    sizes = rng.permutation(np.repeat(np.arange(1, 65), 4))
    batches = batches_of(made_up(sizes), training=True)
    slots = sum(len(rows) * sizes[rows].max() for rows in batches.plan())
    random = sum(8 * part.max() for part in rng.permutation(sizes).reshape(-1, 8))
    assert slots < 1.2 * sizes.sum()
    assert random > 1.5 * sizes.sum()


@pytest.mark.parametrize("training", [False, True])
def test_a_large_study_comes_by_pools_that_are_read_once(monkeypatch: pytest.MonkeyPatch, training: bool) -> None:
    """With pools of four shelves of two samples: each batch is of one pool, all samples come, in another order each epoch."""
    monkeypatch.setattr(batches_module, "SHELF", 2)
    monkeypatch.setattr(batches_module, "POOL", 8)
    study = made_up([1 + i % 7 for i in range(40)])
    batches = batches_of(study, batch_size=3, training=training)
    plan = batches.plan()
    assert sorted(np.concatenate(plan).tolist()) == list(range(40))
    pools = [np.concatenate(plan[k : k + 3]) for k in range(0, 15, 3)]
    for pool in pools:
        assert len(pool) == 8
        shelves = np.unique(pool // 2)
        assert len(shelves) == 4, "whole shelves"
        assert training or (np.diff(shelves) == 1).all()
    batches.epoch = 1
    assert (str(batches.plan()) != str(plan)) == training


# -- determinism ------------------------------------------------------------------------------------------------------


def marked(batch: Batch, rng: np.random.Generator) -> Batch:
    return batch.with_target("draw", torch.from_numpy(rng.random(3)), axis="")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("views", [1, 2])
def test_a_batch_is_the_same_bit_for_bit_whatever_was_made_before(study: Study, training: bool, views: int) -> None:
    config = TrainConfig(**ALL, batch_size=8, asv_choice="random", weight_by="host_id", seed=3)

    def fresh(epoch: int) -> Batches:
        found = Batches(study, config=config, makers=[marked], training=training, views=views)
        found.epoch = epoch
        return found

    def told(batch: Batch) -> dict[str, Any]:
        found = bits(batch)
        return {**found, "targets": found["targets"]["draw"].tolist()}

    for epoch in (0, 4):
        one = [told(b) for b in fresh(epoch)]
        assert one == [told(b) for b in fresh(epoch)]
        assert [told(fresh(epoch).batch(k)) for k in (5, 0, 3)] == [one[k] for k in (5, 0, 3)]
        used = fresh(0)
        list(used.from_step(4))
        used.epoch = epoch
        assert [told(b) for b in used.from_step(2)] == one[2:], "an epoch is begun in its middle"
        assert list(used.from_step(len(used))) == []
    zero, four = ([told(b) for b in fresh(epoch)] for epoch in (0, 4))
    assert (zero != four) == training, "validation is the same each epoch"


def test_what_is_hidden_is_a_function_of_seed_and_epoch(study: Study) -> None:
    def hidden(seed: int, epoch: int) -> set[tuple[str, str, int]]:
        batches = batches_of(study, training=True, asv_dropout=0.3, seed=seed, epoch=epoch)
        return cells(study) - set().union(*map(entries, batches))

    assert hidden(0, 0) == hidden(0, 0)
    assert hidden(0, 0) != hidden(0, 1)
    assert hidden(0, 0) != hidden(1, 0)


def test_a_predicted_samples_draw_hangs_on_seed_draw_and_id_alone(study: Study) -> None:
    """Neither on the batch size nor on the other samples of the study."""

    def drawn(of: Study, *, draw: int = 0, **settings: Any) -> dict[str, set[tuple[str, str, int]]]:
        batches = batches_of(of, rarefy=150, max_asvs=20, asv_choice="random", **settings)
        batches.draw = draw
        found = set().union(*map(entries, batches))
        return {sample: {entry for entry in found if entry[0] == sample} for sample in of.sample_ids}

    one = drawn(study)
    assert one == drawn(study, batch_size=3)
    few = study.keep_samples(study.sample_ids[[7, 2, 30]])
    assert drawn(few) == {sample: one[sample] for sample in few.sample_ids}
    for other in (drawn(study, draw=1), drawn(study, seed=1)):
        assert all(one[sample] != other[sample] for sample in study.sample_ids)


# -- what is done to samples ------------------------------------------------------------------------------------------


def test_prediction_neither_hides_nor_mixes_nor_mutates(study: Study) -> None:
    for batch in batches_of(study, asv_dropout=0.9, mixup=0.4, mutation=0.5):
        assert entries(batch) <= cells(study)
        assert (batch.partner_B, batch.share_B) == (None, None)
        assert (dense_of(batch, study) == study.table.toarray()[batch.sample_B]).all()


@pytest.mark.parametrize("training", [False, True])
def test_a_rarefied_batch_has_the_depth_and_its_totals(study: Study, training: bool) -> None:
    depth = int(study.depth.median())
    drawn = []
    for epoch in range(2):
        for batch in batches_of(study, training=training, rarefy=depth, epoch=epoch):
            dense, whole = dense_of(batch, study), study.table.toarray()[batch.sample_B]
            assert (dense <= whole).all()
            assert batch.total_B.tolist() == dense.sum(1).tolist() == np.minimum(whole.sum(1), depth).tolist()
            drawn.append(dense.sum(0))
    once, again = np.array_split(np.array(drawn), 2)
    assert (once.sum(0) == again.sum(0)).all() == (not training), "fresh reads each epoch"


def test_fresh_rarefactions_average_to_the_table(study: Study) -> None:
    """Mean counts of a sample over 400 epochs against depth times its relative abundances, in standard errors (hypergeometric)."""
    one = study.keep_samples(study.sample_ids[:1])
    reads, n, depth, epochs = one.table.toarray()[0], int(one.depth.iloc[0]), 100, 400
    total = np.zeros(one.num_asvs)
    for epoch in range(epochs):
        total += dense_of(batches_of(one, training=True, rarefy=depth, epoch=epoch).batch(0), one)[0]
    found = reads > 0
    law = stats.hypergeom(n, reads[found], depth)
    z = (total[found] / epochs - law.mean()) / (law.std() / np.sqrt(epochs))
    assert np.abs(z).max() < 4.5
    assert 0.6 < z.std() < 1.4
    assert not total[~found].any()


def test_asv_dropout_hides_its_share_and_leaves_one(study: Study) -> None:
    for share in (0.2, 0.6):
        kept = sum(len(b.asv_E) for b in batches_of(study, training=True, asv_dropout=share, seed=4))
        sd = np.sqrt(share * (1 - share) / study.table.nnz)
        assert abs(kept / study.table.nnz - (1 - share)) < 4 * sd + study.num_samples * share**20
    few = made_up([1, 1, 2, 3, 40])
    for batch in batches_of(few, batch_size=2, training=True, asv_dropout=0.99):
        assert (batch.offsets_B1.diff() >= 1).all()
        assert entries(batch) <= cells(few)


def test_a_mixed_batch_tells_partner_and_share(study: Study) -> None:
    table, depth = study.table.toarray(), study.depth.to_numpy()
    for batch in batches_of(study, training=True, mixup=0.4):
        assert batch.partner_B is not None
        assert batch.share_B is not None
        assert sorted(batch.partner_B) == sorted(batch.sample_B), "partners are of the batch"
        dense = dense_of(batch, study)
        for b, (row, partner, share) in enumerate(zip(batch.sample_B, batch.partner_B, batch.share_B, strict=True)):
            total = int(batch.total_B[b])
            assert total == dense[b].sum()
            own = share * total
            assert own == pytest.approx(round(own))
            assert round(own) <= depth[row]
            assert total - round(own) <= depth[partner]
            alone = (table[partner] == 0) & (dense[b] > 0)
            assert dense[b][alone].sum() <= round(own), "what the partner has not is the sample's own"
            assert (dense[b] <= table[row] + table[partner]).all()


def test_mutation_leaves_what_makers_hid_and_changes_the_rest(study: Study) -> None:
    """A maker that hides every tenth nucleotide: targets stay true, hidden ones stay hidden, and about the share is exchanged."""

    def hide(batch: Batch, rng: np.random.Generator) -> Batch:
        tokens = batch.tokens_NL.clone()
        tokens[:, ::10] = 16
        return dataclasses.replace(batch, tokens_NL=tokens).with_target("truth", batch.tokens_NL, axis="N")

    config = TrainConfig(mutation=0.2, asv_dropout=0.0)
    changed = seen = 0
    for batch in Batches(study, config=config, makers=[hide], training=True):
        truth = batch.targets["truth"]
        assert ["".join(LETTERS[t] for t in row if t) for row in truth.tolist()] == study.asv_ids[batch.asv_N].tolist()
        assert (batch.tokens_NL[:, ::10] == 16).all()
        rest = torch.ones(truth.shape[1], dtype=torch.bool)
        rest[::10] = False
        changed += int((batch.tokens_NL != truth)[:, rest].sum())
        seen += truth[:, rest].numel()
        assert int(batch.tokens_NL[:, rest].max()) <= 4
    assert abs(changed / seen - 0.2) < 4.5 * np.sqrt(0.16 / seen)


def test_limits_come_before_hiding_and_after_mixing(study: Study) -> None:
    for batch in batches_of(study, training=True, mixup=0.4, max_asvs=15):
        assert int(batch.offsets_B1.diff().max()) == 15
        assert (batch.total_B > torch.from_numpy(dense_of(batch, study).sum(1))).any()
    kept = np.concatenate(
        [b.offsets_B1.diff().numpy() for b in batches_of(study, training=True, max_asvs=15, asv_dropout=0.2)]
    )
    assert abs(kept.mean() / 15 - 0.8) < 5 * np.sqrt(0.16 / (15 * len(kept))), "of 15 a fifth is hidden"


def test_what_is_left_out_is_counted() -> None:
    """Reads 10, 5, 3, 2 and 4, 4: with two ASVs at most 5 of 28 reads and 2 of 6 entries are left out, in one sample of two."""
    ids = pd.Index(["a", "b"])
    table = sparse.csr_array(np.array([[10, 5, 3, 2, 0], [0, 0, 0, 4, 4]]))
    study = Study(table, ids, pd.Index(["AAAA", "CCCC", "GGGG", "TTTT", "ACGT"]), pd.DataFrame(index=ids))
    assert batches_of(study).left_out() is None
    left = batches_of(study, max_asvs=2).left_out()
    assert left is not None
    assert (left.num_samples, left.num_limited) == (2, 1)
    assert (left.reads, left.entries) == pytest.approx((5 / 28, 2 / 6))
    assert str(left) == (
        "max_asvs=2 (by abundance) leaves out 17.86% of the reads and 33.3% of the ASVs of samples, in 1 of 2 samples."
    )
    left = batches_of(study, coverage=0.75).left_out()
    assert left is not None
    assert (left.num_limited, left.reads, left.entries) == pytest.approx((1, 5 / 28, 2 / 6))


@pytest.mark.parametrize("limits", [{"max_asvs": 12}, {"coverage": 0.8}, {"max_asvs": 12, "rarefy": 100}])
def test_what_is_left_out_is_what_the_batches_lack(study: Study, limits: dict[str, Any]) -> None:
    batches = batches_of(study, **limits)
    left = batches.left_out()
    assert left is not None
    total = sum(int(b.total_B.sum()) for b in batches)
    assert left.reads == pytest.approx(1 - sum(int(b.counts_E.sum()) for b in batches) / total)
    if "rarefy" not in limits:
        assert left.entries == pytest.approx(1 - sum(len(b.asv_E) for b in batches) / study.table.nnz)


# -- weights and views ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_categories_count_alike_and_missing_is_one(training: bool) -> None:
    study = made_up([5, 6, 7, 8, 9, 10])
    metadata = pd.DataFrame({"site": ["x", "x", "x", "y", None, None]}, index=study.sample_ids)
    study = Study(study.table, study.sample_ids, study.asv_ids, metadata)
    (batch,) = list(batches_of(study, training=training, weight_by="site"))
    assert batch.weight_B is not None
    found = dict(zip(batch.sample_ids, batch.weight_B.tolist(), strict=True))
    want = {"s0": 6 / 9, "s1": 6 / 9, "s2": 6 / 9, "s3": 6 / 3, "s4": 6 / 6, "s5": 6 / 6}
    assert found == pytest.approx(want)
    with pytest.raises(UnknownIdError, match="'depth' is not a metadata column"):
        batches_of(study, weight_by="depth")


def test_a_mixed_sample_weighs_as_what_it_is_made_of(study: Study) -> None:
    """36 samples of one site and 12 of another weigh 48 / (2 x 36) and 48 / (2 x 12)."""
    site = np.where(np.arange(48) % 4 == 0, "rare", "common")
    study = dataclasses.replace(study, metadata=study.metadata.assign(site=site))
    weight = np.where(site == "rare", 2.0, 2 / 3)
    for batch in batches_of(study, training=True, mixup=0.4, weight_by="site"):
        assert batch.weight_B is not None
        assert batch.share_B is not None
        want = batch.share_B * weight[batch.sample_B] + (1 - batch.share_B) * weight[batch.partner_B]
        np.testing.assert_allclose(batch.weight_B.numpy(), want, rtol=1e-6)


@pytest.mark.parametrize(
    "how",
    [
        {"training": True, "asv_dropout": 0.2},
        {"training": True, "rarefy": 100},
        {"rarefy": 100},
        {"rarefy": 100, "max_asvs": 10},
        {"training": True},
        {"asv_dropout": 0.2},
    ],
)
def test_two_views_are_two_draws_of_the_same_samples(study: Study, how: dict[str, Any]) -> None:
    batches = batches_of(study, views=2, **how)
    table = study.table.toarray()
    assert max(map(len, batches.plan())) == 8, "samples, not views, fill a batch"
    for rows, batch in zip(batches.plan(), batches, strict=True):
        assert batch.sample_B[::2].tolist() == batch.sample_B[1::2].tolist() == rows.tolist()
        assert batch.sample_ids == tuple(study.sample_ids[batch.sample_B])
        dense = dense_of(batch, study)
        assert (dense <= table[batch.sample_B]).all()
        differ = (dense[::2] != dense[1::2]).any(1)
        assert differ.mean() >= 0.75 if "asv_dropout" in how and "training" in how else differ.all()


def test_a_view_that_nothing_else_would_change_is_half_of_the_reads(study: Study) -> None:
    """Also where a rarefied sample has no more reads than the depth."""
    depth = study.depth.to_numpy()
    middle = int(np.median(depth))
    for rarefy in (0, middle):
        for batch in batches_of(study, views=2, rarefy=rarefy):
            whole = depth[batch.sample_B[::2]]
            first, second = batch.total_B[::2].numpy(), batch.total_B[1::2].numpy()
            assert (first == np.minimum(whole, rarefy or 10**9)).all()
            assert (second == np.where(whole > (rarefy or 10**9), middle, (whole + 1) // 2)).all()


def test_two_views_share_partner_share_and_weight(study: Study) -> None:
    for batch in batches_of(study, training=True, views=2, mixup=0.4, rarefy=200, weight_by="host_id"):
        assert batch.partner_B is not None
        assert batch.share_B is not None
        assert (batch.partner_B[::2] == batch.partner_B[1::2]).all()
        np.testing.assert_allclose(batch.share_B[::2], batch.share_B[1::2], atol=0.01)


# -- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_a_table_on_disk_gives_the_same_batches(
    study: Study, tmp_path: Path, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "SHELF", 4)
    monkeypatch.setattr(batches_module, "POOL", 16)
    path = aam.write_biom(study, tmp_path / "table.biom") or tmp_path / "table.biom"
    lazy, eager = aam.read_study(path, lazy=True), aam.read_study(path)
    assert lazy.lazy
    for settings_given in ({}, ALL, {"coverage": 0.9}):
        one, other = (batches_of(s, training=training, **settings_given) for s in (lazy, eager))
        assert one.left_out() == other.left_out()
        for epoch in (0, 1):
            one.epoch = other.epoch = epoch
            assert [bits(b) for b in one] == [bits(b) for b in other]
            assert bits(one.batch(3)) == bits(other.batch(3))
