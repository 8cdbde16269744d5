"""What UniFrac and Faith PD need of a tree: which branches lie above which ASVs, in memory that does not grow with depth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

Ints = npt.NDArray[np.int64]
BLOCK_BYTES = 2**28
"""Most bytes of one dense block (a value for every tip and branch of each of its samples)."""


@dataclass(frozen=True, eq=False)
class Branches:
    """The branches above a set of ASVs, each a run of neighbouring tips.

    ASVs are ranked as the tips of the tree stand from left to right, so the ASVs below a branch have consecutive ranks, and the
    reads below it are the difference of two running sums. That is exact (counts are whole numbers) and costs the same in a
    balanced tree and in a caterpillar. Branches above the same ASVs are one, as long as all of them together.

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
    length: npt.NDArray[np.float64]
    num_tips: int

    @classmethod
    def of(cls, tree: Tree, asv_ids: pd.Index) -> Branches:
        """The branches of `tree` that lie above any of `asv_ids`, all of which must be tips."""
        first, last = tip_ranges(tree)
        rank = first[[tree.tip_node[asv] for asv in asv_ids]]
        held = np.zeros(int(last[0]), dtype=bool)
        held[rank] = True
        return cls(rank, first[1:], last[1:], tree.length[1:], len(held))._over(held)

    def within(self, *tables: sparse.csr_array) -> Branches:
        """The branches above the ASVs that these tables hold, ranked anew: those above the same ASVs become one."""
        held = np.zeros(self.num_tips, dtype=bool)
        for table in tables:
            held[self.rank[table.indices]] = True
        return self._over(held)

    def shared(self, one: sparse.csr_array, other: sparse.csr_array) -> Branches:
        """Those of `within(one, other)` that lie above ASVs of both."""
        near = self.within(one, other)
        both = np.ones(len(near.length), dtype=bool)
        for table in (one, other):
            before = np.zeros(near.num_tips + 1, dtype=np.int64)
            before[near.rank[table.indices] + 1] = 1
            np.cumsum(before, out=before)
            both &= before[near.last] > before[near.first]
        return replace(near, first=near.first[both], last=near.last[both], length=near.length[both])

    def _over(self, held: npt.NDArray[np.bool_]) -> Branches:
        before = np.concatenate([[0], np.cumsum(held)])  # ranks held that are smaller
        first, last, n = before[self.first], before[self.last], int(before[-1])
        used = last > first
        place, branch = np.unique(
            first[used] * (n + 1) + n - last[used], return_inverse=True
        )  # by first, the widest first
        return Branches(
            rank=np.where((self.rank >= 0) & held[self.rank], before[self.rank], -1),
            first=place // (n + 1),
            last=n - place % (n + 1),
            length=np.bincount(branch, weights=self.length[used], minlength=len(place)).astype(np.float64),
            num_tips=n,
        )

    def reads(self, table: sparse.csr_array) -> npt.NDArray[np.float64]:
        """Reads of each sample below each branch, shape (n_branches, n_samples)."""
        running = np.zeros((self.num_tips + 1, table.shape[0]))
        running[self.rank[table.indices] + 1, samples_of(table)] = table.data
        np.cumsum(running, axis=0, out=running)
        return np.asarray(running[self.last] - running[self.first])

    def spans(self, table: sparse.csr_array) -> npt.NDArray[np.float64]:
        """Branch length that each sample's ASVs span up to the root (Faith PD), shape (n_samples,)."""
        near = self.within(table)
        return np.asarray(near.length @ (near.reads(table) > 0))

    def samples_per_block(self, most: int) -> int:
        """Samples whose dense values fit `BLOCK_BYTES`, at most `most`."""
        return max(1, min(most, BLOCK_BYTES // (8 * (self.num_tips + len(self.length) + 1))))

    def to_newick(self) -> str:
        """The branches as a tree in Newick, each ASV a tip named t and its rank."""
        out = ["("]
        above: list[tuple[int, str]] = []  # where the branches end that we are below, and how their text does
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


def samples_of(table: sparse.csr_array) -> Ints:
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
    return Branches.of(tree, study.asv_ids)
