"""UniFrac between samples and Faith PD of samples, by matrix products over the branches of the tree.

With P the presence of every branch in every sample and L the branch lengths, `S = P · diag(L) · Pᵀ` holds the length that two
samples share and its diagonal the length t that each spans. Unweighted UniFrac is `1 − S / (t_i + t_j − S)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.config import UserError
from aam_nb.phylo.tree import Branches, branches_of
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from skbio import DistanceMatrix

Engine = Literal["auto", "torch", "skbio"]
BRANCHES_PER_BLOCK = 2048
"""Branches multiplied at once by the torch engine: bounds its memory to n_samples times this many numbers."""


class EngineError(UserError, ValueError):
    """There is no such metric or engine."""


def faith_pd(study: Study) -> pd.Series:
    """Total branch length spanned by each sample's ASVs, up to the root.

    Parameters
    ----------
    study
        Needs a rooted tree whose tips include every ASV. Only presence of counts, shape (n_samples, n_asvs), is used.

    Returns
    -------
    Faith PD per sample, >= 0, in branch-length units (substitutions per site), indexed by sample id.

    Raises
    ------
    MissingTipError
        There is no tree, or an ASV is not a tip of it.
    EmptySampleError
        A sample has no reads.

    References
    ----------
    Faith 1992, Biol. Conserv. 61:1. Checked against scikit-bio in tests.
    """
    branches = branches_of(study)
    return pd.Series(branches.presence(study.table) @ branches.length, index=study.sample_ids, name="faith_pd")


def unifrac(study: Study, *, metric: str = "unweighted", engine: Engine = "auto") -> DistanceMatrix:
    """UniFrac distances between all samples.

    Parameters
    ----------
    study
        Needs a rooted tree whose tips include every ASV, and reads in every sample.
    metric
        "unweighted": the share of branch length that only one of two samples spans.
    engine
        "torch" (blocked matrix products), "skbio" (scikit-bio, the reference), or "auto", which is "torch".

    Returns
    -------
    Distances in [0, 1], shape (n_samples, n_samples), ids in the study's order.

    Raises
    ------
    MissingTipError
        There is no tree, or an ASV is not a tip of it.
    EmptySampleError
        A sample has no reads.
    EngineError
        The metric or engine is not known.

    References
    ----------
    Lozupone & Knight 2005, Appl. Environ. Microbiol. 71:8228. Checked against scikit-bio in tests.
    """
    from skbio import DistanceMatrix

    if metric != "unweighted":
        raise EngineError(
            f"metric is {metric!r}. Expected 'unweighted'. Try `aam.unifrac(study, metric='unweighted')`."
        )
    if engine not in ("auto", "torch", "skbio"):
        raise EngineError(
            f"engine is {engine!r}. Expected 'auto', 'torch' or 'skbio'. Try `aam.unifrac(study, engine='auto')`."
        )
    branches = branches_of(study)
    if engine == "skbio":
        return _by_skbio(study)
    return DistanceMatrix(_by_torch(branches, study.table), ids=list(study.sample_ids))


def unifrac_block(branches: Branches, table: sparse.csr_array) -> npt.NDArray[np.float64]:
    """Unweighted UniFrac among a few samples (a batch), shape (n_samples, n_samples), by the sparse product.

    `table` holds their reads over the ASVs that `branches` was made of.
    """
    presence = branches.presence(table)
    shared = (presence.multiply(branches.length[None, :]) @ presence.T).toarray()
    return _distance(np.asarray(shared))


def _by_torch(branches: Branches, table: sparse.csr_array) -> npt.NDArray[np.float64]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    presence = sparse.csc_array(branches.presence(table))
    shared = torch.zeros(table.shape[0], table.shape[0], dtype=torch.float64, device=device)
    for start in range(0, len(branches.length), BRANCHES_PER_BLOCK):
        block = slice(start, start + BRANCHES_PER_BLOCK)
        dense = torch.from_numpy(presence[:, block].toarray()).to(device)
        shared += (dense * torch.from_numpy(branches.length[block]).to(device)) @ dense.T
    return _distance(shared.cpu().numpy())


def _distance(shared: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Unique over total branch length, from shared lengths; two samples that span nothing are at distance 0."""
    span = np.diag(shared)
    either = span[:, None] + span[None, :] - shared
    distance = np.where(either > 0, 1 - shared / np.where(either > 0, either, 1), 0.0)
    distance = np.clip((distance + distance.T) / 2, 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    return np.asarray(distance)


def _by_skbio(study: Study) -> DistanceMatrix:
    import io

    from skbio import TreeNode
    from skbio.diversity import beta_diversity

    tree = TreeNode.read(
        io.StringIO(study.require_tree().to_newick()), format="newick", convert_underscores=False, verify=False
    )
    # validate=False: a root with one child is rooted too, and our own checks have been made.
    return beta_diversity(
        "unweighted_unifrac",
        study.table.toarray(),
        ids=list(study.sample_ids),
        taxa=list(study.asv_ids),
        tree=tree,
        validate=False,
    )
