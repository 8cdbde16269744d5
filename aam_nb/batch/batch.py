"""A ragged batch, in which every distinct ASV is present once, and the samples of one taken out.

Shape letters: G samples of the whole batch, B samples of this part of it, S ASVs of the largest sample, E entries (non-zero
sample x ASV cells), N distinct ASVs, L nucleotides, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aam_nb.arrays import Floats, Ints

if TYPE_CHECKING:
    from scipy import sparse

TargetMaker = Callable[["Batch", np.random.Generator], "Batch"]
"""Adds an objective's target to a batch; it may corrupt the batch's tokens or counts, as masking does."""


@dataclass(frozen=True, eq=False)
class BatchContext:
    """How a part of a batch relates to the whole, which other parts and other processes compute too.

    Parameters
    ----------
    of
        Number of parts, in all processes.
    shares
        By objective, what this part holds of the whole batch's elements: the weight of its loss in the whole's. 1 for those that
        compare samples, whose loss every part has whole.
    gather
        From an objective's name and this part's vectors (B x D) to those of the whole batch (G x D), without gradients.
    """

    of: int
    shares: dict[str, float]
    gather: Callable[[str, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Batch:
    """A few samples, with each of their ASVs once.

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
        Reads of each sample, those of hidden and left-out ASVs included, so that relative abundances do not depend on them.
    sample_B, asv_N
        Row and column numbers in the study that the batch was made from.
    sample_ids
        Ids of the B samples.
    targets
        What objectives and covariates added, by name.
    axes
        What the first axis of each target counts: "B", "N" or "E"; "" where it belongs to the whole batch.
    place_B
        Position of each sample in the whole batch; None where this is the whole.
    hidden_E
        True where an entry's reads are hidden from the encoder, None where none are.
    weight_B
        Weight of each sample in the losses, None where all count alike.
    partner_B, share_B
        Mixup: the study's row that each sample was mixed with, and the share of its own reads; None where none are mixed.
    context
        The rest of the batch, None where this is the whole.
    """

    tokens_NL: Tensor
    asv_E: Tensor
    offsets_B1: Tensor
    counts_E: Tensor
    total_B: Tensor
    sample_B: Ints
    asv_N: Ints
    sample_ids: tuple[str, ...]
    targets: dict[str, Tensor]
    axes: dict[str, str] = field(default_factory=dict)
    place_B: Tensor | None = None
    hidden_E: Tensor | None = None
    weight_B: Tensor | None = None
    partner_B: Ints | None = None
    share_B: Floats | None = None
    context: BatchContext | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        moved: dict[str, Any] = {
            name: t.to(device, non_blocking=True) for name, t in vars(self).items() if isinstance(t, Tensor)
        }
        targets = {name: t.to(device, non_blocking=True) for name, t in self.targets.items()}
        return replace(self, **moved, targets=targets)

    def with_target(self, name: str, target: Tensor, *, axis: str = "B") -> Batch:
        """The same batch with one more target; `axis` as in `axes`."""
        return replace(self, targets={**self.targets, name: target}, axes={**self.axes, name: axis})

    def table(self, num_asvs: int) -> sparse.csr_array:
        """The batch's reads as a table of B samples x the study's `num_asvs` ASVs."""
        from scipy import sparse

        columns = self.asv_N[self.asv_E.numpy()]
        return sparse.csr_array((self.counts_E.numpy(), columns, self.offsets_B1.numpy()), shape=(len(self), num_asvs))


def samples_of(batch: Batch, start: int, stop: int) -> Batch:
    """Samples `start` to `stop - 1` of a batch with only their own ASVs, on the CPU; targets of the whole batch stay complete.

    Tokens are padded to the longest ASV of the part; targets by ASV that have a value for each nucleotide stay as wide as they were.
    """
    first, end = int(batch.offsets_B1[start]), int(batch.offsets_B1[stop])
    kept, asv_E = distinct(batch.asv_E[first:end].numpy(), len(batch.tokens_NL))
    kept_N = torch.from_numpy(kept)
    tokens = batch.tokens_NL[kept_N]
    longest = int((tokens != 0).any(0).sum())
    place = torch.arange(len(batch)) if batch.place_B is None else batch.place_B
    cut_axis: dict[str, Callable[[Tensor], Tensor]] = {
        "B": lambda t: t[start:stop],
        "E": lambda t: t[first:end],
        "N": lambda t: t[kept_N.to(t.device)],
        "": lambda t: t,
    }
    return Batch(
        tokens_NL=tokens[:, :longest],
        asv_E=torch.from_numpy(asv_E),
        offsets_B1=batch.offsets_B1[start : stop + 1] - first,
        counts_E=batch.counts_E[first:end],
        total_B=batch.total_B[start:stop],
        sample_B=batch.sample_B[start:stop],
        asv_N=batch.asv_N[kept],
        sample_ids=batch.sample_ids[start:stop],
        targets={name: cut_axis[batch.axes.get(name, "B")](t) for name, t in batch.targets.items()},
        axes=batch.axes,
        place_B=place[start:stop],
        hidden_E=None if batch.hidden_E is None else batch.hidden_E[first:end],
        weight_B=None if batch.weight_B is None else batch.weight_B[start:stop],
        partner_B=None if batch.partner_B is None else batch.partner_B[start:stop],
        share_B=None if batch.share_B is None else batch.share_B[start:stop],
        context=batch.context,
    )


def distinct(columns: Ints, num: int) -> tuple[Ints, Ints]:
    """The distinct columns (below `num`) in order, and the position of each given one among them: `np.unique` without its sorting."""
    present = np.zeros(num, dtype=bool)
    present[columns] = True
    distinct_columns = np.flatnonzero(present)
    position = np.empty(num, dtype=np.int64)
    position[distinct_columns] = np.arange(len(distinct_columns))
    return distinct_columns, position[columns]
