"""A ragged batch in which every distinct ASV stands once, and the parts that a large one is computed in.

Shape letters: G samples of the whole batch, B samples of this part of it, S ASVs of the largest sample, E entries (non-zero
sample x ASV cells), N distinct ASVs, L nucleotides, D width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy import sparse

TargetMaker = Callable[["Batch", np.random.Generator], "Batch"]
"""Adds an objective's target to a batch; it may corrupt the batch's tokens or counts, as masking does."""


@dataclass(frozen=True, eq=False)
class BatchContext:
    """How a part of a batch stands to the whole, which other parts and other processes compute too.

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
        Reads of each sample, those of hidden and left-out ASVs included, so that relative abundances do not move with them.
    sample_B, asv_N
        Row and column numbers in the study that the batch was made from.
    sample_ids
        Ids of the B samples.
    targets
        What objectives and covariates added, by name.
    axes
        What the first axis of each target counts: "B", "N" or "E"; "" where it belongs to the whole batch.
    place_B
        Place of each sample in the whole batch; 0, 1, … where this is the whole.
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
    sample_B: npt.NDArray[np.int64]
    asv_N: npt.NDArray[np.int64]
    sample_ids: tuple[str, ...]
    targets: dict[str, Tensor]
    axes: dict[str, str] = field(default_factory=dict)
    place_B: Tensor | None = None
    hidden_E: Tensor | None = None
    weight_B: Tensor | None = None
    partner_B: npt.NDArray[np.int64] | None = None
    share_B: npt.NDArray[np.float64] | None = None
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

    def part(self, start: int, stop: int) -> Batch:
        """Samples `start` to `stop - 1` with their own ASVs alone, on the CPU; targets of the whole batch stay whole.

        Tokens are padded to the longest ASV of the part; targets by ASV that have a value for each nucleotide stay as wide as they were.
        """
        a, b = int(self.offsets_B1[start]), int(self.offsets_B1[stop])
        place_N, asv_E = distinct(self.asv_E[a:b].numpy(), len(self.tokens_NL))
        mine_N = torch.from_numpy(place_N)
        tokens = self.tokens_NL[mine_N]
        longest = int((tokens != 0).any(0).sum())
        place = torch.arange(len(self)) if self.place_B is None else self.place_B
        cut: dict[str, Callable[[Tensor], Tensor]] = {
            "B": lambda t: t[start:stop],
            "E": lambda t: t[a:b],
            "N": lambda t: t[mine_N.to(t.device)],
            "": lambda t: t,
        }
        return Batch(
            tokens_NL=tokens[:, :longest],
            asv_E=torch.from_numpy(asv_E),
            offsets_B1=self.offsets_B1[start : stop + 1] - a,
            counts_E=self.counts_E[a:b],
            total_B=self.total_B[start:stop],
            sample_B=self.sample_B[start:stop],
            asv_N=self.asv_N[place_N],
            sample_ids=self.sample_ids[start:stop],
            targets={name: cut[self.axes.get(name, "B")](t) for name, t in self.targets.items()},
            axes=self.axes,
            place_B=place[start:stop],
            hidden_E=None if self.hidden_E is None else self.hidden_E[a:b],
            weight_B=None if self.weight_B is None else self.weight_B[start:stop],
            partner_B=None if self.partner_B is None else self.partner_B[start:stop],
            share_B=None if self.share_B is None else self.share_B[start:stop],
            context=self.context,
        )

    def split(self, max_tokens: int, *, patch: int, at_least: int = 1, encode: bool = True) -> list[Batch]:
        """The batch in parts of neighbouring samples, on the CPU.

        Parameters
        ----------
        max_tokens
            Most positions of a part: ASV slots (samples x ASVs of the largest) and, with `encode`, patches of its distinct ASVs. A
            sample that has more by itself is a part of its own: nothing is cut.
        patch
            Nucleotides in a position.
        at_least
            Fewest parts, as long as there are samples.
        encode
            Whether the distinct ASVs are encoded along with the samples.
        """
        n = len(self)
        size_B, asv_E, ends = self.offsets_B1.diff().numpy(), self.asv_E.numpy(), self.offsets_B1.numpy()
        positions = -(-self.tokens_NL.shape[1] // patch) if encode else 0
        bounds, largest, held = [0], 0, np.zeros(len(self.tokens_NL), dtype=bool)
        for b in range(n):
            start, mine = bounds[-1], asv_E[ends[b] : ends[b + 1]]
            largest = max(largest, int(size_B[b]))
            new = int(np.count_nonzero(~held[mine]))
            cost = (b + 1 - start) * largest + (int(held.sum()) + new) * positions
            parts_left = max(1, at_least + 1 - len(bounds))
            most = -(-(n - start) // parts_left)  # an even share
            if b > start and (b - start == most or cost > max_tokens):
                bounds.append(b)
                held[:], largest = False, int(size_B[b])
            held[mine] = True
        bounds.append(n)
        if len(bounds) == 2:
            return [self]
        return [self.part(a, b) for a, b in itertools.pairwise(bounds)]


def distinct(columns: npt.NDArray[np.int64], num: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The distinct numbers below `num` in order, and the place of each among them: `np.unique` without its sorting."""
    found = np.zeros(num, dtype=bool)
    found[columns] = True
    those = np.flatnonzero(found)
    place = np.empty(num, dtype=np.int64)
    place[those] = np.arange(len(those))
    return those, place[columns]
