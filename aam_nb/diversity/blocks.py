"""UniFrac of a block of samples against another, by torch: the engine that every verb of this floor can walk in blocks.

With p and q the shares of two samples' reads below a branch of length L, and sums over all branches,

    unweighted            1 − S / (t_i + t_j − S)                     S = Σ L·[p > 0 and q > 0],  t = Σ L·[p > 0]
    weighted_unnormalized t_i + t_j − 2·Σ L·min(p, q)                 t = Σ L·p
    weighted_normalized   the same over t_i + t_j
    generalized           Σ L·(p + q)^(α−1)·|p − q| / Σ L·(p + q)^α   t = Σ L·p^α

so a branch that only one of two samples reaches adds to its t alone, and only branches that both blocks reach are multiplied out.
S is a matrix product. Minima and powers go sample by sample, over the branches of that sample: 15 % of all in a study of saliva.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from aam_nb.config import UnifracConfig
from aam_nb.diversity.branches import Branches, samples_of
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES_AT_ONCE = 64
"""Samples whose reads are summed up along the tree at once: as many as stay in a processor's cache."""
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Side:
    """A study's reads by blocks of samples.

    Parameters
    ----------
    study
        Its table may be on disk.
    columns
        Column of each of its ASVs among those that the branches were made of, shape (n_asvs,); None where they are the same.
    """

    study: Study
    columns: npt.NDArray[np.int64] | None = None
    num_columns: int = 0

    def parts(self, rows: int) -> list[slice]:
        """Consecutive ranges of at most `rows` samples."""
        n = self.study.num_samples
        return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]

    def __getitem__(self, part: slice) -> sparse.csr_array:
        table = sparse.csr_array(self.study.table[part])
        if self.columns is None:
            return table
        shape = (table.shape[0], self.num_columns)
        return sparse.csr_array((table.data, self.columns[table.indices], table.indptr), shape=shape)


class Pairs:
    """Distances between blocks of samples over one set of branches.

    Parameters
    ----------
    config
        Metric, number format, device and samples per block.
    branches
        The branches above the ASVs of all samples.
    """

    def __init__(self, config: UnifracConfig, branches: Branches) -> None:
        import torch

        self.branches = branches
        self.rows = branches.samples_per_block(config.block)
        cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
        self.device = torch.device("cuda" if cuda else "cpu")
        self.dtype = torch.float64 if config.dtype == "float64" else torch.float32
        # At alpha 1 the two are the same, and minima are cheaper than powers.
        whole = config.metric == "generalized" and config.alpha == 1
        self.metric = "weighted_normalized" if whole else config.metric
        self.alpha = config.alpha

    def upper(self, side: Side) -> Iterator[tuple[slice, slice, Floats]]:
        """Distances among a study's samples: the blocks on and above the diagonal, row by row."""
        import torch

        parts = side.parts(self.rows)
        span = torch.cat([self.span(side[part]) for part in parts])
        for k, rows in enumerate(parts):
            one = side[rows]
            for cols in parts[k:]:
                distances = self.distances(one, one if cols == rows else side[cols], span[rows], span[cols])
                if cols == rows:
                    distances = (distances + distances.T) / 2
                    np.fill_diagonal(distances, 0.0)
                yield rows, cols, distances

    def between(self, side: Side, others: Side) -> Iterator[tuple[slice, slice, Floats]]:
        """Distances of one study's samples from another's."""
        import torch

        span = torch.cat([self.span(side[part]) for part in side.parts(self.rows)])
        for cols in others.parts(self.rows):
            other = others[cols]
            other_span = self.span(other)
            for rows in side.parts(self.rows):
                yield rows, cols, self.distances(side[rows], other, span[rows], other_span)

    def distances(self, one: sparse.csr_array, other: sparse.csr_array, span_i: Tensor, span_j: Tensor) -> Floats:
        """Distances of the samples of one block from those of another, shape (n_one, n_other)."""
        shared = self.branches.shared(one, other)
        length = self._length(shared)
        p = self._shares(shared, one)
        q = p if other is one else self._shares(shared, other)
        either = span_i[:, None] + span_j[None, :]
        if self.metric == "unweighted":
            both = (p * length[:, None]).T @ q
            apart, whole = either - 2 * both, either - both
        elif self.metric == "generalized":
            apart, whole = self._generalized(p, q, length, span_i, span_j)
        else:
            apart = either - 2 * self._minima(p * length[:, None], q * length[:, None])
            whole = either
        if self.metric != "weighted_unnormalized":
            # Where neither of two samples spans any length, they are at distance 0.
            apart = (apart / whole.where(whole > 0, 1.0)).clamp_(max=1.0)
        return np.asarray(apart.clamp_(min=0.0).cpu().numpy())

    def span(self, table: sparse.csr_array) -> Tensor:
        """The t of each sample, shape (n_samples,)."""
        near = self.branches.within(table)
        return self._length(near) @ self._power(self._shares(near, table))

    def _minima(self, p: Tensor, q: Tensor) -> Tensor:
        """Sum over branches of the smaller of two values, shape (n_one, n_other)."""
        import torch

        out = p.new_empty(p.shape[1], q.shape[1])
        for i, share in enumerate(p.T.contiguous()):
            here = share.nonzero()[:, 0]
            smaller = q[here]
            torch.sum(torch.minimum(smaller, share[here, None], out=smaller), 0, out=out[i])
        return out

    def _generalized(
        self, p: Tensor, q: Tensor, length: Tensor, span_i: Tensor, span_j: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of generalized UniFrac, each shape (n_one, n_other)."""
        import torch

        # A branch that only one sample reaches adds L times its share to the power alpha, above and below the line.
        only_i = span_i - length @ self._power(p)  # those that the other block does not reach at all
        only_j = span_j - ((p > 0).to(p.dtype) * length[:, None]).T @ self._power(q)
        apart, whole = torch.empty_like(only_j), torch.empty_like(only_j)
        for i, shares in enumerate(p.T.contiguous()):
            here = shares.nonzero()[:, 0]
            share, other = shares[here, None], q[here]
            total = other + share
            weight = total.pow(self.alpha - 1).mul_(length[here, None])
            torch.sum(total.mul_(weight), 0, out=whole[i])
            torch.sum(other.sub_(share).abs_().mul_(weight), 0, out=apart[i])
        alone = only_i[:, None] + only_j
        return apart + alone, whole + alone

    def _power(self, shares: Tensor) -> Tensor:
        """What a branch that one sample alone reaches adds to its t, per unit of length."""
        if self.metric != "generalized":
            return shares
        return shares.pow(self.alpha).where(shares > 0, 0.0)  # 0 to the power 0 is no reads

    def _length(self, branches: Branches) -> Tensor:
        return self._put(branches.length).to(self.dtype)

    def _put(self, values: npt.NDArray[Any]) -> Tensor:
        import torch

        return torch.from_numpy(values).to(self.device)

    def _shares(self, branches: Branches, table: sparse.csr_array) -> Tensor:
        """Share of each sample's reads below each branch (unweighted: 1 where there are any), (n_branches, n_samples)."""
        import torch

        first, last = self._put(branches.first), self._put(branches.last)
        rank, row = self._put(branches.rank[table.indices] + 1), self._put(samples_of(table))
        counts, depth = self._put(table.data.astype(np.float64)), self._put(table.sum(axis=1).astype(np.float64))
        out = torch.empty(len(first), table.shape[0], dtype=self.dtype, device=self.device)
        for start in range(0, table.shape[0], SAMPLES_AT_ONCE):
            part = slice(start, min(start + SAMPLES_AT_ONCE, table.shape[0]))
            held = slice(table.indptr[part.start], table.indptr[part.stop])
            running = counts.new_zeros(branches.num_tips + 1, part.stop - start)
            running.index_put_((rank[held], row[held] - start), counts[held])
            running.cumsum_(0)
            reads = running[last].sub_(running[first])
            out[:, part] = reads > 0 if self.metric == "unweighted" else reads.div_(depth[part])
        return out
