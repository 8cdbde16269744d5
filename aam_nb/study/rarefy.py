"""The draw of reads behind every rarefaction: `Study.rarefy` and the training batches use this one function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from aam_nb.arrays import Array, Ints


def draw_reads(table: sparse.csr_array, reads_B: Ints, rngs: Sequence[np.random.Generator]) -> sparse.csr_array:
    """Reads drawn without replacement, `reads_B[b]` of sample b; samples that have no more than that stay as they are.

    Exact: a multivariate hypergeometric draw, ASV by ASV, so that its time does not grow with reads. A sample holds fewer than 10^9.

    Parameters
    ----------
    table
        Counts, shape (B, n_asvs).
    reads_B
        Reads to keep of each sample, shape (B,).
    rngs
        A generator of random numbers for each sample; it is used for samples that are drawn from alone.
    """
    drawn, offsets = table.data.copy(), table.indptr
    depth_B = np.diff(np.concatenate([[0], np.cumsum(table.data)])[offsets])
    for b in np.flatnonzero(depth_B > reads_B).tolist():
        entries = slice(offsets[b], offsets[b + 1])
        drawn[entries] = rngs[b].multivariate_hypergeometric(table.data[entries], int(reads_B[b]), method="marginals")
    return keep_entries(sparse.csr_array((drawn, table.indices, offsets), shape=table.shape), drawn > 0)


def keep_entries(table: sparse.csr_array, keep_E: Array) -> sparse.csr_array:
    """The table with some of its stored counts alone; `keep_E` is a mask of them, in their order."""
    if keep_E.all():
        return table
    offsets = np.concatenate([[0], np.cumsum(keep_E)])[table.indptr]
    return sparse.csr_array((table.data[keep_E], table.indices[keep_E], offsets), shape=table.shape)
