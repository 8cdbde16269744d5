"""Changes of a few samples' reads and nucleotides before a model sees them: rarefaction, mixup, limits, hidden ASVs, mutations.

Pure functions. A table is B samples x ASVs of the study, sorted by column, of whole numbers. `rngs` are B random number generators: the
same one B times where draws may depend on their order, or one for each sample, so that its draw does not depend on the samples beside it.

Shape letters: B samples, E entries (non-zero sample x ASV cells), N distinct ASVs, L nucleotides.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from aam_nb.arrays import Array, Floats, Ints
from aam_nb.study.rarefy import draw_reads, keep_entries

Rngs = Sequence[np.random.Generator]


def depths(table: sparse.csr_array) -> Ints:
    """Reads of each sample, shape (B,)."""
    return _sums(table.data, table.indptr)


def mix(
    table: sparse.csr_array, alpha: float, rng: np.random.Generator, *, views: int = 1
) -> tuple[sparse.csr_array, Ints, Floats]:
    """Each sample mixed with another, read by read: mixup (Zhang et al. 2018, arXiv 1710.09412) whose counts are whole numbers.

    Of its n reads a sample keeps round(λ·n), with λ from Beta(alpha, alpha), and takes the rest from its partner, or all that the partner
    has; both are drawn without replacement. A single sample stays as it is.

    Parameters
    ----------
    views
        Neighbouring rows that are the same sample: all are mixed with the same other sample, in the same share, view by view.

    Returns
    -------
    The mixed table; each row's partner, shape (B,), a row of `table`; and its share of own reads, shape (B,), in [0, 1], as drawn.
    """
    n = table.shape[0] // views
    depth_B = depths(table)
    order = rng.permutation(n)
    partner = np.empty(n, dtype=np.int64)
    partner[order] = np.roll(order, 1)  # in a circle: every sample has a partner, and none is its own
    partner_B = (partner[:, None] * views + np.arange(views)).ravel()
    own_B = np.rint(np.repeat(rng.beta(alpha, alpha, n), views) * depth_B).astype(np.int64)
    if n == 1:
        own_B = depth_B
    theirs_B = np.minimum(depth_B - own_B, depth_B[partner_B])
    rngs = [rng] * len(depth_B)
    mixed = draw_reads(table, own_B, rngs) + draw_reads(table[partner_B], theirs_B, rngs)
    return mixed, partner_B, own_B / np.maximum(1, own_B + theirs_B)


def limit(
    table: sparse.csr_array, rngs: Rngs, *, max_asvs: int = 0, choice: str = "abundance", coverage: float = 1.0
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """The table in two: what is kept of each sample, and what is left out.

    Parameters
    ----------
    coverage
        Share of a sample's reads to keep: its most abundant ASVs, as few as hold that share. 1 keeps all.
    max_asvs
        Most ASVs to keep, of those that `coverage` keeps; 0 sets no limit.
    choice
        Which: the most abundant (`abundance`) or random ones (`random`). Of equally abundant ASVs the first column comes first.
    """
    offsets, reads = table.indptr, table.data
    size_B = np.diff(offsets)
    row_E = np.repeat(np.arange(len(size_B)), size_B)
    first_E = np.repeat(offsets[:-1], size_B)
    keep = np.ones(len(reads), dtype=bool)
    order = np.lexsort((-reads, row_E))  # stable, so that ties stay in the order of columns
    if coverage < 1:
        before = np.concatenate([[0], np.cumsum(reads[order])])
        depth_B = before[offsets[1:]] - before[offsets[:-1]]
        enough = coverage * (1 - 1e-12) * depth_B  # 0.07 x 100 is a little more than 7
        keep[order] = before[:-1] - before[first_E] < enough[row_E]
    if max_asvs and choice == "random":
        for b in np.flatnonzero(_sums(keep, offsets) > max_asvs).tolist():
            kept = offsets[b] + np.flatnonzero(keep[offsets[b] : offsets[b + 1]])
            keep[kept[rngs[b].permutation(len(kept))[max_asvs:]]] = False
    elif max_asvs:
        keep[order] &= np.arange(len(reads)) - first_E < max_asvs
    return keep_entries(table, keep), keep_entries(table, ~keep)


def drop_asvs(table: sparse.csr_array, share: float, rng: np.random.Generator) -> sparse.csr_array:
    """The table without a random share of its entries, in [0, 1); at least one of each sample is kept."""
    draw = rng.random(len(table.data))
    keep = draw >= share
    keep[[a + int(draw[a:b].argmax()) for a, b in itertools.pairwise(table.indptr) if b > a]] = True
    return keep_entries(table, keep)


def mutate(tokens_NL: Array, share: float, rng: np.random.Generator) -> Array:
    """A share of the nucleotides A, C, G and T (tokens 1 to 4) exchanged, each for one of the other three; nothing else changes."""
    chosen = (rng.random(tokens_NL.shape, dtype=np.float32) < share) & (tokens_NL >= 1) & (tokens_NL <= 4)
    mutated = tokens_NL.copy()
    mutated[chosen] = (tokens_NL[chosen] - 1 + rng.integers(1, 4, size=int(chosen.sum()), dtype=np.uint8)) % 4 + 1
    return mutated


def _sums(values_E: Array, offsets_B1: Ints) -> Ints:
    """Sum of each sample's entries, shape (B,)."""
    return np.diff(np.concatenate([[0], np.cumsum(values_E)])[offsets_B1])
