"""Ragged batches in which every distinct ASV stands once.

Shape letters: B samples, S ASVs of the largest sample of the batch, E entries (non-zero sample x ASV cells), N distinct ASVs in the
batch, L positions, D width, H attention heads, C classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from aam_nb.batch.tokens import PAD, tokenize
from aam_nb.study.study import Study

TargetMaker = Callable[["Batch", np.random.Generator], "Batch"]
"""Adds an objective's target to a batch; it may corrupt the batch's tokens, as masking does."""
BUCKET = 16
"""Batches' worth of shuffled samples that are sorted by size together: like-sized batches, still in random company."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A few samples, each ASV among them once.

    Parameters
    ----------
    tokens_NL
        Distinct ASVs, padded to the longest of this batch; uint8.
    asv_E
        Which of the N each entry is.
    offsets_B1
        Entries of sample b are `offsets_B1[b]:offsets_B1[b + 1]`.
    counts_E
        Reads of each entry.
    total_B
        Reads of each sample, hidden ASVs included, so that relative abundances do not move when ASVs are hidden.
    sample_B, asv_N
        Row and column numbers in the study that the batch was made from.
    sample_ids
        Ids of the B samples.
    targets
        One tensor (or several) per objective, made with the batch.
    """

    tokens_NL: Tensor
    asv_E: Tensor
    offsets_B1: Tensor
    counts_E: Tensor
    total_B: Tensor
    sample_B: npt.NDArray[np.int64]
    asv_N: npt.NDArray[np.int64]
    sample_ids: tuple[str, ...]
    targets: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.sample_ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        moved: dict[str, Any] = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("tokens_NL", "asv_E", "offsets_B1", "counts_E", "total_B")
        }
        targets = {name: t.to(device, non_blocking=True) for name, t in self.targets.items()}
        return replace(self, **moved, targets=targets)

    def with_target(self, name: str, target: Tensor) -> Batch:
        """The same batch with one more target."""
        return replace(self, targets={**self.targets, name: target})

    def table(self, num_asvs: int) -> sparse.csr_array:
        """The batch's reads as a table of B samples x the study's `num_asvs` ASVs."""
        columns = self.asv_N[self.asv_E.numpy()]
        return sparse.csr_array((self.counts_E.numpy(), columns, self.offsets_B1.numpy()), shape=(len(self), num_asvs))


class Batches:
    """The batches of one study, epoch after epoch; a function of study, settings, seed and epoch alone.

    Parameters
    ----------
    study
        Every sample needs reads.
    batch_size
        Most samples in a batch.
    max_entries
        Most slots (samples x ASVs of the largest) in a batch. A sample that is larger by itself makes a batch of one: nothing is cut.
    makers
        Add the targets, in this order.
    shuffle
        A new order each epoch; else samples come by size.
    asv_dropout
        Share of entries hidden; at least one of each sample stays.
    """

    def __init__(
        self,
        study: Study,
        *,
        batch_size: int,
        max_entries: int,
        makers: Sequence[TargetMaker] = (),
        shuffle: bool = False,
        asv_dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        study.require_reads()
        self.study, self.makers, self.shuffle, self.asv_dropout, self.seed = study, makers, shuffle, asv_dropout, seed
        self.batch_size, self.max_entries = batch_size, max_entries
        self.tokens = tokenize(study.asv_ids)
        self.sizes = study.richness.to_numpy()
        self.depth = study.depth.to_numpy()
        self.epoch = 0

    def plan(self) -> list[npt.NDArray[np.int64]]:
        """Sample numbers of each batch of this epoch."""
        rng = np.random.default_rng([self.seed, self.epoch])
        n = len(self.sizes)
        order = rng.permutation(n) if self.shuffle else np.arange(n)
        bucket = BUCKET * self.batch_size if self.shuffle else max(1, n)
        batches: list[list[int]] = []
        for start in range(0, n, bucket):
            part = order[start : start + bucket]
            batch: list[int] = []
            for i in part[np.argsort(self.sizes[part], kind="stable")]:  # ascending, so the newest is the largest
                if batch and (len(batch) == self.batch_size or (len(batch) + 1) * self.sizes[i] > self.max_entries):
                    batches.append(batch)
                    batch = []
                batch.append(int(i))
            batches.append(batch)
        picked = rng.permutation(len(batches)) if self.shuffle else np.arange(len(batches))
        return [np.array(batches[k], dtype=np.int64) for k in picked]

    def __len__(self) -> int:
        return len(self.plan())

    def __iter__(self) -> Iterator[Batch]:
        for k, rows in enumerate(self.plan()):
            yield self.make(rows, np.random.default_rng([self.seed, self.epoch, k]))

    def make(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """The batch of the given samples."""
        table = self.study.table[rows]
        columns, counts, offsets = table.indices, table.data, table.indptr
        if self.asv_dropout:
            draw = rng.random(len(columns))
            keep = draw >= self.asv_dropout
            keep[[a + int(draw[a:b].argmax()) for a, b in itertools.pairwise(offsets)]] = True
            offsets = np.concatenate([[0], np.cumsum(keep)])[offsets]
            columns, counts = columns[keep], counts[keep]
        asv_N, asv_E = np.unique(columns, return_inverse=True)
        tokens = self.tokens[asv_N]
        longest = int((tokens != PAD).any(0).sum())
        batch = Batch(
            tokens_NL=torch.from_numpy(tokens[:, :longest]),
            asv_E=torch.from_numpy(asv_E.astype(np.int64)),
            offsets_B1=torch.from_numpy(offsets.astype(np.int64)),
            counts_E=torch.from_numpy(counts.astype(np.int64)),
            total_B=torch.from_numpy(self.depth[rows].astype(np.int64)),
            sample_B=rows,
            asv_N=asv_N.astype(np.int64),
            sample_ids=tuple(self.study.sample_ids[rows]),
            targets={},
        )
        for maker in self.makers:
            batch = maker(batch, rng)
        return batch
