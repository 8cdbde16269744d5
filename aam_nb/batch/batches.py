"""The batches of a study, epoch after epoch.

Shape letters: B samples, E entries (non-zero sample x ASV cells), N distinct ASVs in the batch, L nucleotides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from aam_nb.arrays import Array, Floats, Ints
from aam_nb.batch.augment import Rngs, depths, drop_asvs, limit, mix, mutate
from aam_nb.batch.batch import Batch, TargetMaker, distinct
from aam_nb.batch.tokens import PAD, tokenize
from aam_nb.config import TrainConfig
from aam_nb.study.filtering import MOST_DEPTH, require_drawable
from aam_nb.study.rarefy import draw_reads
from aam_nb.study.readers.disk import sample_keys
from aam_nb.study.study import Study

BUCKET = 16
"""So many batches of shuffled samples are sorted by size together: their samples are of similar size, and the order stays random."""
SHELF = 256
"""Neighbouring samples of a large study that are read and shuffled together: one region of a file on disk."""
POOL = 16 * SHELF
"""Samples, of random shelves, that batches are drawn from before the next are read. A study of no more samples is shuffled as a whole."""


@dataclass(frozen=True)
class LeftOut:
    """What the limits on a sample's ASVs leave out of a study.

    Parameters
    ----------
    limits
        The limits that were set.
    num_samples, num_limited
        Samples of the study, and those of them that lose any reads.
    reads, entries
        Share of all reads, and of all sample x ASV cells that have reads, that are left out; 0 to 1.
    """

    limits: str
    num_samples: int
    num_limited: int
    reads: float
    entries: float

    def __str__(self) -> str:
        return (
            f"{self.limits} leaves out {self.reads:.2%} of the reads and {self.entries:.1%} of the ASVs of samples, in "
            f"{self.num_limited:,} of {self.num_samples:,} samples."
        )


class Batches:
    """The batches of one study; a function of study, settings, seed and epoch (or draw) alone.

    A sample's reads are rarefied, mixed with another's, limited to some ASVs, and then some ASVs are hidden: in this order, each only
    where `config` says so. Nucleotides are exchanged last, after the makers: the truth of a hidden nucleotide is the original one.

    Parameters
    ----------
    study
        Every sample needs reads. Its table may be on disk.
    config
        `batch_size`, the limits, the augmentation, `weight_by` and `seed` are used.
    makers
        Add the targets, in this order.
    training
        A new order and new draws each epoch, with mixup, ASV dropout and mutation. Otherwise samples are sorted by size, and only
        `rarefy`, `max_asvs` and `coverage` apply, with draws that depend on the seed, the attribute `draw` and the sample's id alone.
    views
        Rows of each sample in its batch, next to each other: each is rarefied again, with other ASVs hidden. A further view that neither
        would change is drawn from half of the sample's reads.
    batch_size
        Most samples in a batch; by default the config's.
    tokens_AL
        `tokenize(study.asv_ids)`, where it was done before.

    Attributes
    ----------
    epoch
        Number of the pass over the samples; order and draws of training depend on it.
    draw
        Number of the random draw when not training; other numbers give other subsets, to average over.

    Raises
    ------
    EmptySampleError, UnknownIdError
        A sample has no reads; there is no column `weight_by`.
    StudyError
        A sample has too many reads to draw from.
    """

    def __init__(
        self,
        study: Study,
        *,
        config: TrainConfig,
        makers: Sequence[TargetMaker] = (),
        training: bool = False,
        views: int = 1,
        batch_size: int | None = None,
        tokens_AL: Array | None = None,
    ) -> None:
        study.require_reads()
        self.study, self.config, self.makers, self.training, self.views = study, config, makers, training, views
        self.batch_size = batch_size or config.batch_size
        self.epoch = self.draw = 0
        self.tokens = tokenize(study.asv_ids) if tokens_AL is None else tokens_AL
        self.lengths = (self.tokens != PAD).sum(1)
        self.sizes = study.richness.to_numpy()
        self.depth = study.depth.to_numpy()
        self._hides = training and config.asv_dropout > 0
        self._draws = config.rarefy > 0 or (views > 1 and not self._hides)
        if self._draws or (training and config.mixup):
            require_drawable(study)
        self._ids = study.sample_ids.to_numpy(dtype=object)
        self._weights = _weights(study.column(config.weight_by)) if config.weight_by else None
        self._planned: tuple[int, list[Ints], list[Ints], Ints] | None = None
        self._held: tuple[Ints, sparse.csr_array] | None = None

    # -- which samples ------------------------------------------------------------------------------------------------

    def plan(self) -> list[Ints]:
        """Sample numbers of each batch of this epoch."""
        return self._plan()[0]

    def __len__(self) -> int:
        return len(self.plan())

    def __iter__(self) -> Iterator[Batch]:
        return self.from_step(0)

    def from_step(self, start: int) -> Iterator[Batch]:
        """The batches of this epoch from number `start` on, without making those before."""
        return (self.batch(k) for k in range(start, len(self)))

    def batch(self, k: int) -> Batch:
        """Batch number `k` of this epoch, or of this draw; the same whether or not others were made before."""
        plan, pools, pool_of = self._plan()
        turn = self.epoch if self.training else self.draw
        rng = np.random.default_rng([self.config.seed, turn, k])
        return self._make(self._read(plan[k], pools[pool_of[k]]), plan[k], rng)

    def make(self, rows: Ints, rng: np.random.Generator) -> Batch:
        """The batch of the given samples."""
        return self._make(self.study.table[rows], rows, rng)

    def _plan(self) -> tuple[list[Ints], list[Ints], Ints]:
        """Sample numbers of each batch and of each pool, and the pool of each batch."""
        turn = self.epoch if self.training else 0
        if self._planned is None or self._planned[0] != turn:
            rng = np.random.default_rng([self.config.seed, turn])
            pools = self._pools(rng)
            batches = [self._cut(pool, rng) for pool in pools]
            pool_of = np.repeat(np.arange(len(pools)), [len(of_pool) for of_pool in batches])
            self._planned = turn, [rows for of_pool in batches for rows in of_pool], pools, pool_of
        return self._planned[1:]

    def _pools(self, rng: np.random.Generator) -> list[Ints]:
        """Samples that are in memory together, in this epoch's order: all of them unless the study is large."""
        n = len(self.sizes)
        if not self.training:
            return [np.arange(start, min(start + POOL, n)) for start in range(0, n, POOL)]
        if n <= POOL:
            return [rng.permutation(n)]
        shelves = rng.permutation(-(-n // SHELF))
        runs = [np.arange(shelf * SHELF, min((shelf + 1) * SHELF, n)) for shelf in shelves]
        together = POOL // SHELF
        return [
            rng.permutation(np.concatenate(runs[start : start + together])) for start in range(0, len(runs), together)
        ]

    def _cut(self, pool: Ints, rng: np.random.Generator) -> list[Ints]:
        """A pool's batches."""
        bucket = BUCKET * self.batch_size if self.training else len(pool)
        batches = []
        for start in range(0, len(pool), bucket):
            rows = pool[start : start + bucket]
            rows = rows[np.argsort(self.sizes[rows], kind="stable")]
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        return [batches[k] for k in rng.permutation(len(batches))] if self.training else batches

    def _read(self, rows: Ints, pool: Ints) -> sparse.csr_array:
        """Reads of a batch's samples. Of a table on disk the whole pool is read, once, in the order of the file."""
        if not self.study.lazy:
            return self.study.table[rows]
        ordered = np.sort(pool)
        if self._held is None or not np.array_equal(ordered, self._held[0]):
            self._held = ordered, self.study.table[ordered]
        return self._held[1][np.searchsorted(ordered, rows)]

    # -- their content ------------------------------------------------------------------------------------------------

    def left_out(self) -> LeftOut | None:
        """What `max_asvs` and `coverage` leave out of the whole study; None where they set no limit.

        Where reads or ASVs are drawn at random, this is one such draw; the limits are applied to samples that are not mixed.
        """
        if not self._limits():
            return None
        num_limited, left_out, total = 0, np.zeros(2), np.zeros(2)  # of reads and of entries
        for block, table in self.study.blocks():
            rngs = self._own_rngs(np.arange(block.start, block.stop), views=1)
            table = self._draw_reads(table, rngs, views=1)
            removed = self._limit_asvs(table, rngs)[1]
            num_limited += int((np.diff(removed.indptr) > 0).sum())
            left_out += removed.data.sum(), len(removed.data)
            total += table.data.sum(), len(table.data)
        return LeftOut(", ".join(self._limits()), len(self.sizes), num_limited, *(left_out / total).tolist())

    def _limits(self) -> list[str]:
        """The limits on a sample's ASVs that are set."""
        config = self.config
        most = f"max_asvs={config.max_asvs} (by {config.asv_choice})" if config.asv_choice == "abundance" else ""
        most = most or f"max_asvs={config.max_asvs} (at random)"
        return [most] * (config.max_asvs > 0) + [f"coverage={config.coverage:g}"] * (config.coverage < 1)

    def _limit_asvs(self, table: sparse.csr_array, rngs: Rngs) -> tuple[sparse.csr_array, sparse.csr_array]:
        """The table without the ASVs beyond the limits, and those."""
        c = self.config
        return limit(table, rngs, max_asvs=c.max_asvs, choice=c.asv_choice, coverage=c.coverage)

    def _own_rngs(self, rows: Ints, *, views: int) -> list[np.random.Generator]:
        """A random number generator for each row, which depends on its sample's id, its view, the seed and the draw alone."""
        keys, seed, draw = sample_keys(self._ids[rows]), self.config.seed, self.draw
        return [np.random.default_rng([seed, draw, int(key), b % views]) for b, key in enumerate(keys)]

    def _draw_reads(self, table: sparse.csr_array, rngs: Rngs, *, views: int) -> sparse.csr_array:
        """Newly drawn reads of each sample, with `rarefy` or several views; else the table as it is."""
        if not self._draws:
            return table
        depth = depths(table)
        reads = np.minimum(depth, self.config.rarefy or MOST_DEPTH)
        if views > 1 and not self._hides:
            unchanged = (reads == depth) & (np.arange(len(depth)) % views > 0)
            reads = np.where(unchanged, (depth + 1) // 2, reads)
        return draw_reads(table, reads, rngs)

    def _make(self, table: sparse.csr_array, rows: Ints, rng: np.random.Generator) -> Batch:
        """The batch of the samples `rows`, whose reads are `table`."""
        config, training = self.config, self.training
        # A row for each view of each sample.
        if self.views > 1:
            repeated = np.repeat(np.arange(len(rows)), self.views)
            table, rows = table[repeated], rows[repeated]
        # Rarefaction; outside training, a sample's draw does not depend on the samples beside it.
        own = not training and (self._draws or config.asv_choice == "random")
        rngs: Rngs = self._own_rngs(rows, views=self.views) if own else [rng] * len(rows)
        table = self._draw_reads(table, rngs, views=self.views)
        # Mixup.
        partner_B = share_B = None
        if training and config.mixup:
            table, partner, share_B = mix(table, config.mixup, rng, views=self.views)
            partner_B = rows[partner]
        # Limits and hidden ASVs; relative abundances still refer to all reads.
        total_B = depths(table)
        if self._limits():
            table, _ = self._limit_asvs(table, rngs)
        if self._hides:
            table = drop_asvs(table, config.asv_dropout, rng)
        # Weights of samples, mixed as the samples are.
        weight_B = None
        if self._weights is not None:
            weight_B = self._weights[rows]
            if partner_B is not None and share_B is not None:
                weight_B = share_B * weight_B + (1 - share_B) * self._weights[partner_B]
        # The ragged batch: each distinct ASV once, padded to the longest of them.
        asv_N, asv_E = distinct(table.indices, self.study.num_asvs)
        batch = Batch(
            tokens_NL=torch.from_numpy(self.tokens[asv_N, : int(self.lengths[asv_N].max())]),
            asv_E=torch.from_numpy(asv_E),
            offsets_B1=torch.from_numpy(table.indptr.astype(np.int64)),
            counts_E=torch.from_numpy(table.data.astype(np.int64)),
            total_B=torch.from_numpy(total_B.astype(np.int64)),
            sample_B=rows,
            asv_N=asv_N,
            sample_ids=tuple(self._ids[rows]),
            targets={},
            weight_B=None if weight_B is None else torch.from_numpy(weight_B.astype(np.float32)),
            partner_B=partner_B,
            share_B=share_B,
        )
        # Targets, and after them mutations, which no target may see.
        for maker in self.makers:
            batch = maker(batch, rng)
        if training and config.mutation:
            mutated = mutate(batch.tokens_NL.numpy(), config.mutation, rng)
            batch = replace(batch, tokens_NL=torch.from_numpy(mutated))
        return batch


def _weights(categories: pd.Series) -> Floats:
    """n / (k n_c) for samples of a category that n_c of n samples have, with k categories; a missing value is a category too."""
    number, names = pd.factorize(categories, use_na_sentinel=False)
    return len(number) / (len(names) * np.bincount(number)[number])
