"""What UniFrac and Faith PD need of a tree: which branches lie above which ASVs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.study.newick import Tree
from aam_nb.study.study import Study


@dataclass(frozen=True, eq=False)
class Branches:
    """The branches above a set of ASVs.

    Parameters
    ----------
    above
        1 where a branch lies between an ASV and the root, shape (n_asvs, n_branches).
    length
        Length of each branch in substitutions per site, shape (n_branches,).
    """

    above: sparse.csr_array
    length: npt.NDArray[np.float64]

    @classmethod
    def of(cls, tree: Tree, asv_ids: pd.Index) -> Branches:
        """The branches of `tree` that lie above any of `asv_ids`, all of which must be tips."""
        node = pd.Series(tree.tip_nodes, index=list(tree.tips)).loc[list(asv_ids)].to_numpy()
        asv, rows, nodes = np.arange(len(node)), [], []
        while len(node):  # one step towards the root for all ASVs at once
            rows.append(asv)
            nodes.append(node)
            up = tree.parent[node]
            asv, node = asv[up > 0], up[up > 0]
        used, column = np.unique(np.concatenate(nodes), return_inverse=True)
        row = np.concatenate(rows)
        above = sparse.csr_array((np.ones(len(row), dtype=np.float64), (row, column)), shape=(len(asv_ids), len(used)))
        return cls(above=above, length=tree.length[used])

    def presence(self, table: sparse.csr_array) -> sparse.csr_array:
        """1.0 where a sample has an ASV below a branch, shape (n_samples, n_branches)."""
        has = sparse.csr_array((np.ones(table.nnz), table.indices, table.indptr), shape=table.shape)
        reached = sparse.csr_array(has @ self.above)
        reached.data[:] = 1.0
        return reached


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
