"""Which branches of a tree lie above which ASVs: what UniFrac and Faith PD need, in memory that does not grow with the tree's height."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

BLOCK_BYTES = 2**28
"""Most bytes of one dense block (a value for every tip and branch of each of its samples)."""


@dataclass(frozen=True, eq=False)
class Branches:
    """The branches above a set of ASVs, each a run of neighbouring tips.

    ASVs are ranked in the order of the tree's tips from left to right, so the ASVs below a branch have consecutive ranks, and the
    reads below it are the difference of two running sums. This is exact (counts are whole numbers) and costs the same in a
    balanced tree and in one whose nodes form a single chain. Branches above the same ASVs are joined, and their lengths added.

    Parameters
    ----------
    rank
        Rank of each column of the feature table, shape (n_asvs,); -1 where no branch here lies above it.
    first, last
        The ASVs below a branch have the ranks first, …, last - 1; shape (n_branches,), parents before children.
    length
        Length of each branch in substitutions per site, shape (n_branches,).
    num_tips
        Number of ranks.
    """

    rank: Ints
    first: Ints
    last: Ints
    length: Floats
    num_tips: int

    @classmethod
    def from_tree(cls, tree: Tree, asv_ids: pd.Index) -> Branches:
        """The branches of `tree` that lie above any of `asv_ids`, all of which must be tips."""
        first, last = tip_ranges(tree)
        rank = first[[tree.tip_node[asv] for asv in asv_ids]]
        kept_ranks = np.zeros(int(last[0]), dtype=bool)
        kept_ranks[rank] = True
        return cls(rank, first[1:], last[1:], tree.length[1:], len(kept_ranks))._restrict_to_ranks(kept_ranks)

    def restrict_to(self, *tables: sparse.csr_array) -> Branches:
        """The branches above the ASVs that any of these tables holds; ASVs get new ranks, and branches above the same ASVs are joined."""
        kept_ranks = np.zeros(self.num_tips, dtype=bool)
        for table in tables:
            kept_ranks[self.rank[table.indices]] = True
        return self._restrict_to_ranks(kept_ranks)

    def restrict_to_shared(self, table_i: sparse.csr_array, table_j: sparse.csr_array) -> Branches:
        """Those of `restrict_to(table_i, table_j)` that lie above ASVs of both tables."""
        branches = self.restrict_to(table_i, table_j)
        shared = np.ones(len(branches.length), dtype=bool)
        for table in (table_i, table_j):
            present_before = np.zeros(branches.num_tips + 1, dtype=np.int64)  # ASVs of the table with a smaller rank
            present_before[branches.rank[table.indices] + 1] = 1
            np.cumsum(present_before, out=present_before)
            shared &= present_before[branches.last] > present_before[branches.first]
        return replace(
            branches, first=branches.first[shared], last=branches.last[shared], length=branches.length[shared]
        )

    def _restrict_to_ranks(self, kept_ranks: Bools) -> Branches:
        # The new rank of an ASV is the number of kept ranks before its own.
        kept_before = np.concatenate([[0], np.cumsum(kept_ranks)])
        first, last, n = kept_before[self.first], kept_before[self.last], int(kept_before[-1])
        used = last > first
        # One number for each pair of first and last, sorted by first, the widest branch first: equal pairs are joined.
        pairs, branch = np.unique(first[used] * (n + 1) + n - last[used], return_inverse=True)
        return Branches(
            rank=np.where((self.rank >= 0) & kept_ranks[self.rank], kept_before[self.rank], -1),
            first=pairs // (n + 1),
            last=n - pairs % (n + 1),
            length=np.bincount(branch, weights=self.length[used], minlength=len(pairs)).astype(np.float64),
            num_tips=n,
        )

    def sum_reads(self, table: sparse.csr_array) -> Floats:
        """Reads of each sample below each branch, shape (n_branches, n_samples)."""
        running = np.zeros((self.num_tips + 1, table.shape[0]))
        running[self.rank[table.indices] + 1, rows_of_counts(table)] = table.data
        np.cumsum(running, axis=0, out=running)
        return np.asarray(running[self.last] - running[self.first])

    def faith_pd(self, table: sparse.csr_array) -> Floats:
        """Faith PD: the branch length from each sample's ASVs up to the root, shape (n_samples,)."""
        branches = self.restrict_to(table)
        return np.asarray(branches.length @ (branches.sum_reads(table) > 0))

    def samples_per_block(self, most: int) -> int:
        """Samples whose dense values fit `BLOCK_BYTES`, at most `most`."""
        return max(1, min(most, BLOCK_BYTES // (8 * (self.num_tips + len(self.length) + 1))))

    def to_newick(self) -> str:
        """The branches as a tree in Newick, each ASV a tip named t and its rank."""
        out = ["("]
        above: list[tuple[int, str]] = []  # of each open branch above: one past its last rank, and the end of its text
        for first, last, length in zip(self.first.tolist(), self.last.tolist(), self.length.tolist(), strict=True):
            while above and above[-1][0] <= first:
                out.append(above.pop()[1])
            out.append("" if out[-1] == "(" else ",")
            if last > first + 1:
                above.append((last, f"):{length!r}"))
                out.append("(")
            else:
                out.append(f"t{first}:{length!r}")
        return "".join([*out, *(text for _, text in reversed(above)), ");"])

    def __repr__(self) -> str:
        return f"Branches({len(self.length)} above {self.num_tips} ASVs)"


def rows_of_counts(table: sparse.csr_array) -> Ints:
    """Row of each stored count."""
    return np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))


def tip_ranges(tree: Tree) -> tuple[Ints, Ints]:
    """First rank and one past the last of the tips below each node, tips ranked from left to right; both (n_nodes,)."""
    parent = tree.parent.tolist()
    tips = [0] * len(parent)
    for node in tree.tip_nodes.tolist():
        tips[node] = 1
    for node in range(len(parent) - 1, 0, -1):  # children come after parents
        tips[parent[node]] += tips[node]
    first, free = [0] * len(parent), [0] * len(parent)
    for node in range(1, len(parent)):
        first[node] = free[node] = free[parent[node]]
        free[parent[node]] += tips[node]
    return np.array(first, dtype=np.int64), np.array(first, dtype=np.int64) + np.array(tips, dtype=np.int64)


def branches_of(study: Study) -> Branches:
    """The branches above a study's ASVs.

    Raises
    ------
    MissingTipError
        The study has no tree, or ASVs that are not its tips.
    EmptySampleError
        A sample has no reads.
    """
    tree = study.require_tree()
    study.require_reads()
    return Branches.from_tree(tree, study.asv_ids)
