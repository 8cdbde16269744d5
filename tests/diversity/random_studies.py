"""Small random studies, and every UniFrac of them by a plain loop over scikit-bio's tree: code that shares nothing with ours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from skbio import TreeNode

from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

METRICS = [
    {"metric": "unweighted"},
    {"metric": "weighted_normalized"},
    {"metric": "weighted_unnormalized"},
    {"metric": "generalized"},
    {"metric": "generalized", "alpha": 0.0},
    {"metric": "generalized", "alpha": 0.3},
    {"metric": "generalized", "alpha": 1.0},
]


def random_newick(rng: np.random.Generator, names: list[str]) -> str:
    """Random splits with polytomies and single-child nodes; at most two branches leave the root, some of length 0."""

    def grow(tips: list[str], most: int) -> str:
        length = 0.0 if rng.random() < 0.1 else round(float(rng.exponential()), 4)
        if len(tips) == 1 and rng.random() < 0.8:
            return f"{tips[0]}:{length}"
        cuts = rng.choice(np.arange(1, len(tips)), min(most, len(tips)) - 1, replace=False) if len(tips) > 1 else []
        parts = [list(p) for p in np.split(np.array(tips, dtype=object), np.sort(cuts))]
        return f"({','.join(grow(p, int(rng.integers(2, 5))) for p in parts)}):{length}"

    return re.sub(r":[^:]*$", "", grow(names, 2)) + ";" if len(names) > 1 else f"({names[0]}:1.5);"


def random_study(seed: int, folder: Path) -> tuple[Study, TreeNode]:
    """1 to 8 samples, 1 to 13 ASVs, a tree that has up to 4 more, and the same tree as scikit-bio reads it."""
    rng = np.random.default_rng(seed)
    n_asvs, n_samples, n_extra = int(rng.integers(1, 14)), int(rng.integers(1, 9)), int(rng.integers(0, 5))
    names = ["".join("ACGT"[(i >> k) & 3] for k in (0, 2, 4)) for i in rng.permutation(64)[: n_asvs + n_extra]]
    newick = random_newick(rng, names)
    counts = rng.poisson(0.7, (n_samples, n_asvs))
    counts[np.arange(n_samples), rng.integers(n_asvs, size=n_samples)] += 1
    asvs = [str(a) for a in rng.permutation(names)[:n_asvs]]
    return small_study(newick, asvs, counts, folder), TreeNode.read([newick])


def small_study(newick: str, asvs: list[str], counts: npt.ArrayLike, folder: Path) -> Study:
    """Samples s0, s1, … of these counts."""
    (folder / "small.nwk").write_text(newick)
    table = sparse.csr_array(np.array(counts))
    ids = pd.Index([f"s{i}" for i in range(table.shape[0])])
    return Study(table, ids, pd.Index(asvs), pd.DataFrame(index=ids), tree=Tree.read(folder / "small.nwk"))


def plain_unifrac(study: Study, tree: TreeNode, metric: str, alpha: float = 0.5) -> npt.NDArray[np.float64]:
    """The definitions (Lozupone & Knight 2005, Lozupone et al. 2007, Chen et al. 2012), node by node, pair by pair."""
    counts = pd.DataFrame(study.table[:].toarray(), index=study.sample_ids, columns=study.asv_ids)
    n = len(counts)
    above, below = np.zeros((n, n)), np.zeros((n, n))
    for node in tree.traverse(include_self=False):
        asvs = [tip.name for tip in node.tips(include_self=True) if tip.name in counts.columns]
        share = (counts[asvs].sum(axis=1) / counts.sum(axis=1)).to_numpy()
        for i in range(n):
            for j in range(n):
                p, q, length = share[i], share[j], node.length
                if p + q == 0:
                    continue
                if metric == "unweighted":
                    above[i, j] += length * ((p > 0) != (q > 0))
                    below[i, j] += length
                elif metric == "generalized":
                    above[i, j] += length * (p + q) ** alpha * abs(p - q) / (p + q)
                    below[i, j] += length * (p + q) ** alpha
                else:
                    above[i, j] += length * abs(p - q)
                    below[i, j] += length * (p + q)
    if metric == "weighted_unnormalized":
        return above
    return np.divide(above, below, out=np.zeros((n, n)), where=below > 0)
