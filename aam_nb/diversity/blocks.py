"""UniFrac between blocks of samples, by torch: the distances of a study are computed block by block, on a CPU or a GPU.

With p and q the shares of two samples' reads below a branch of length L, and sums over all branches,

    unweighted            1 − S / (t_i + t_j − S)                     S = Σ L·[p > 0 and q > 0],  t = Σ L·[p > 0]
    weighted_unnormalized t_i + t_j − 2·Σ L·min(p, q)                 t = Σ L·p
    weighted_normalized   the same, divided by t_i + t_j
    generalized           Σ L·(p + q)^(α−1)·|p − q| / Σ L·(p + q)^α   t = Σ L·p^α

so a branch that has reads of only one of two samples adds to the t of that sample alone, and pairs of samples need only the branches
that have reads of both blocks. S is a matrix product. Minima and powers are taken sample by sample, over the branches of that sample:
15 % of all branches in a study of saliva.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse

from aam_nb.arrays import Array, Ints
from aam_nb.config import UnifracConfig
from aam_nb.diversity.branches import Branches, rows_of_counts
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES_AT_ONCE = 64
"""Samples whose reads are summed along the tree at once: as many as fit into a processor's cache."""
Distances = npt.NDArray[np.floating]
"""Distances between samples, in float64 or float32, as the config says."""


@dataclass(frozen=True, eq=False)
class CountBlocks:
    """The counts of a study by blocks of samples: `blocks[rows]` are those of a range of samples.

    Parameters
    ----------
    study
        Its table may be on disk.
    columns
        Column of each of its ASVs among those that the branches were made of, shape (n_asvs,); None where they are the same.
    num_columns
        Number of ASVs that the branches were made of, where `columns` is given.
    """

    study: Study
    columns: Ints | None = None
    num_columns: int = 0

    def ranges(self, rows: int) -> list[slice]:
        """Consecutive ranges of at most `rows` samples."""
        n = self.study.num_samples
        return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]

    def __getitem__(self, rows: slice) -> sparse.csr_array:
        table = sparse.csr_array(self.study.table[rows])
        if self.columns is None:
            return table
        shape = (table.shape[0], self.num_columns)
        return sparse.csr_array((table.data, self.columns[table.indices], table.indptr), shape=shape)


class BlockUnifrac:
    """UniFrac distances between blocks of samples, over one set of branches.

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
        # With alpha 1 the two metrics are the same, and minima are faster than powers.
        normalized = config.metric == "generalized" and config.alpha == 1
        self.metric = "weighted_normalized" if normalized else config.metric
        self.alpha = config.alpha

    def compute_upper(self, blocks: CountBlocks) -> Iterator[tuple[slice, slice, Distances]]:
        """Distances among a study's samples: the blocks on and above the diagonal, row by row."""
        import torch

        ranges = blocks.ranges(self.rows)
        t = torch.cat([self.compute_t(blocks[rows]) for rows in ranges])
        for k, rows in enumerate(ranges):
            table_i = blocks[rows]
            for cols in ranges[k:]:
                table_j = table_i if cols == rows else blocks[cols]
                distances = self.compute_block(table_i, table_j, t[rows], t[cols])
                if cols == rows:
                    distances = (distances + distances.T) / 2
                    np.fill_diagonal(distances, 0.0)
                yield rows, cols, distances

    def compute_between(self, blocks: CountBlocks, others: CountBlocks) -> Iterator[tuple[slice, slice, Distances]]:
        """Distances of one study's samples from another's."""
        import torch

        t = torch.cat([self.compute_t(blocks[rows]) for rows in blocks.ranges(self.rows)])
        for cols in others.ranges(self.rows):
            table_j = others[cols]
            t_j = self.compute_t(table_j)
            for rows in blocks.ranges(self.rows):
                yield rows, cols, self.compute_block(blocks[rows], table_j, t[rows], t_j)

    def compute_block(
        self, table_i: sparse.csr_array, table_j: sparse.csr_array, t_i: Tensor, t_j: Tensor
    ) -> Distances:
        """Distances of the samples of one block from those of another, shape (n_i, n_j)."""
        # Only branches that have reads of both blocks are needed beside the t of each sample.
        shared = self.branches.restrict_to_shared(table_i, table_j)
        length = self._to_device(shared.length).to(self.dtype)
        p = self._compute_shares(shared, table_i)
        q = p if table_j is table_i else self._compute_shares(shared, table_j)
        t_sum = t_i[:, None] + t_j[None, :]
        # Each metric is a numerator over a denominator; weighted_unnormalized is its numerator.
        if self.metric == "unweighted":
            in_both = (p * length[:, None]).T @ q
            numerator, denominator = t_sum - 2 * in_both, t_sum - in_both
        elif self.metric == "generalized":
            numerator, denominator = self._sum_powers(p, q, length, t_i, t_j)
        else:
            numerator = t_sum - 2 * self._sum_minima(p * length[:, None], q * length[:, None])
            denominator = t_sum
        if self.metric != "weighted_unnormalized":
            # Two samples that both have no branch length are at distance 0.
            numerator = (numerator / denominator.where(denominator > 0, 1.0)).clamp_(max=1.0)
        return np.asarray(numerator.clamp_(min=0.0).cpu().numpy())

    def compute_t(self, table: sparse.csr_array) -> Tensor:
        """The t of each sample, shape (n_samples,)."""
        branches = self.branches.restrict_to(table)
        length = self._to_device(branches.length).to(self.dtype)
        return length @ self._raise_to_alpha(self._compute_shares(branches, table))

    def _sum_minima(self, p: Tensor, q: Tensor) -> Tensor:
        """Sum over branches of the smaller of two values, shape (n_i, n_j)."""
        import torch

        sums = p.new_empty(p.shape[1], q.shape[1])
        for i, share in enumerate(p.T.contiguous()):
            present = share.nonzero()[:, 0]
            smaller = q[present]
            torch.sum(torch.minimum(smaller, share[present, None], out=smaller), 0, out=sums[i])
        return sums

    def _sum_powers(self, p: Tensor, q: Tensor, length: Tensor, t_i: Tensor, t_j: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of generalized UniFrac, each shape (n_i, n_j)."""
        import torch

        # A branch with reads of only one of two samples adds L·p^α to the numerator and to the denominator.
        only_i = t_i - length @ self._raise_to_alpha(p)  # of branches without reads of the whole other block
        only_j = t_j - ((p > 0).to(p.dtype) * length[:, None]).T @ self._raise_to_alpha(q)
        numerator, denominator = torch.empty_like(only_j), torch.empty_like(only_j)
        # The other branches of sample i, against all samples of the other block at once.
        for i, shares in enumerate(p.T.contiguous()):
            present = shares.nonzero()[:, 0]
            share_i, share_j = shares[present, None], q[present]
            total = share_j + share_i
            weight = total.pow(self.alpha - 1).mul_(length[present, None])
            torch.sum(total.mul_(weight), 0, out=denominator[i])
            torch.sum(share_j.sub_(share_i).abs_().mul_(weight), 0, out=numerator[i])
        unshared = only_i[:, None] + only_j
        return numerator + unshared, denominator + unshared

    def _raise_to_alpha(self, shares: Tensor) -> Tensor:
        """What a branch adds to the t of a sample, per unit of length: its share p, for generalized UniFrac p^α."""
        if self.metric != "generalized":
            return shares
        return shares.pow(self.alpha).where(shares > 0, 0.0)  # without reads 0, also where alpha is 0

    def _to_device(self, values: Array) -> Tensor:
        import torch

        return torch.from_numpy(values).to(self.device)

    def _compute_shares(self, branches: Branches, table: sparse.csr_array) -> Tensor:
        """Share of each sample's reads below each branch (unweighted: 1 where there are any), (n_branches, n_samples)."""
        import torch

        first, last = self._to_device(branches.first), self._to_device(branches.last)
        rank, row = self._to_device(branches.rank[table.indices] + 1), self._to_device(rows_of_counts(table))
        counts = self._to_device(table.data.astype(np.float64))
        depth = self._to_device(table.sum(axis=1).astype(np.float64))
        shares = torch.empty(len(first), table.shape[0], dtype=self.dtype, device=self.device)
        for start in range(0, table.shape[0], SAMPLES_AT_ONCE):
            samples = slice(start, min(start + SAMPLES_AT_ONCE, table.shape[0]))
            entries = slice(table.indptr[samples.start], table.indptr[samples.stop])
            # Running sums over the ranked ASVs; the reads below a branch are the difference of two of them.
            running = counts.new_zeros(branches.num_tips + 1, samples.stop - start)
            running.index_put_((rank[entries], row[entries] - start), counts[entries])
            running.cumsum_(0)
            reads = running[last].sub_(running[first])
            shares[:, samples] = reads > 0 if self.metric == "unweighted" else reads.div_(depth[samples])
        return shares
