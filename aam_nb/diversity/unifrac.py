"""UniFrac between samples and Faith PD of samples: the verbs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.config import UnifracConfig, cache_folder, configured, cut_list
from aam_nb.diversity import engines, matrix_cache
from aam_nb.diversity.blocks import Pairs, Side
from aam_nb.diversity.branches import Branches, branches_of
from aam_nb.study.errors import MissingTipError
from aam_nb.study.study import SAMPLES_PER_BLOCK, Study

if TYPE_CHECKING:
    from skbio import DistanceMatrix


def faith_pd(study: Study) -> pd.Series:
    """Total branch length spanned by each sample's ASVs, up to the root.

    Parameters
    ----------
    study
        Needs a rooted tree whose tips include every ASV. Only presence of counts, shape (n_samples, n_asvs), is used. The table
        may be on disk: it is read by blocks of samples.

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
    rows = branches.samples_per_block(SAMPLES_PER_BLOCK)
    spans = np.concatenate([branches.spans(table) for _, table in study.blocks(rows)])
    return pd.Series(spans, index=study.sample_ids, name="faith_pd")


def unifrac(
    study: Study, *, cache: bool | str | Path = True, config: UnifracConfig | None = None, **settings: Any
) -> DistanceMatrix:
    """UniFrac distances between all samples.

    Parameters
    ----------
    study
        Needs a rooted tree whose tips include every ASV, and reads in every sample. The table may be on disk.
    cache
        Whether to keep the result on disk and look for it there first, or the folder to keep it in. It is found again for the same
        counts, ids, tree and settings, whatever file they come from. The folder is that of the environment variable
        `AAM_NB_CACHE`, or the user's cache folder; all matrices in it hold at most `matrix_cache.CACHE_BYTES`.
    config, **settings
        Fields of `UnifracConfig`: `metric`, `alpha`, `engine`, `dtype`, `device`, `block`.

    Returns
    -------
    Distances, shape (n_samples, n_samples), ids in the study's order; in [0, 1], and for "weighted_unnormalized" in branch-length
    units (substitutions per site). What the metrics are is written in `aam_nb.diversity.blocks`.

    Raises
    ------
    MissingTipError
        There is no tree, or an ASV is not a tip of it.
    EmptySampleError
        A sample has no reads.
    ConfigError
        There is no such metric, engine or setting.
    EngineError
        The engine is not installed, or does not have the metric.

    References
    ----------
    Lozupone & Knight 2005, Appl. Environ. Microbiol. 71:8228 (unweighted). Lozupone et al. 2007, ibid. 73:1576 (weighted). Chen et
    al. 2012, Bioinformatics 28:2106 (generalized). All checked against scikit-bio, or a plain loop over its tree, in tests.
    """
    from skbio import DistanceMatrix

    config = configured(UnifracConfig, config, settings)
    if cache is False:
        return DistanceMatrix(engines.distances(study, config), ids=list(study.sample_ids))
    study.require_tree()
    study.require_reads()
    numbers = {"metric": config.metric, "dtype": config.dtype, "engine": engines.chosen(config)}
    if config.metric == "generalized":
        numbers["alpha"] = repr(float(config.alpha))
    folder = cache_folder(None if cache is True else cache)
    key = matrix_cache.cache_key(study.content_hash(), numbers)
    found = matrix_cache.cached(folder, key, study.sample_ids)
    if found is None:
        found = DistanceMatrix(engines.distances(study, config), ids=list(study.sample_ids))
        matrix_cache.keep(folder, key, found)
    return found


def unifrac_between(
    study: Study, others: Study, *, config: UnifracConfig | None = None, **settings: Any
) -> pd.DataFrame:
    """UniFrac distances of one study's samples from another's, without those within either.

    Parameters
    ----------
    study
        Its tree is used, and must have the ASVs of both studies among its tips.
    others
        The samples to compare with: they may be many, and on disk. Their own tree is not looked at.
    config, **settings
        Fields of `UnifracConfig`. Only the torch engine computes blocks.

    Returns
    -------
    Distances, shape (n_samples, n_others), rows the samples of `study`, columns those of `others`.

    Raises
    ------
    MissingTipError
        The study has no tree, or the tree lacks ASVs of either study.
    EmptySampleError
        A sample has no reads.
    ConfigError, EngineError
        A setting cannot be used.

    References
    ----------
    As for `unifrac`, of whose matrix on both studies together this is the corner.
    """
    config = _by_blocks(configured(UnifracConfig, config, settings), "unifrac_between")
    tree = study.require_tree()
    study.require_reads()
    others.require_reads()
    missing = tree.missing(others.asv_ids)
    if missing:
        raise MissingTipError(
            f"{len(missing)} of {others.num_asvs} ASVs of the other study are not tips of this study's tree ({cut_list(missing)}). The "
            "tree must have the ASVs of both. Drop them with `others.keep_asvs(study.tree.tips)`."
        )
    both = study.asv_ids.union(others.asv_ids, sort=False)
    one, other = (Side(s, both.get_indexer(s.asv_ids).astype(np.int64), len(both)) for s in (study, others))
    out = np.empty((study.num_samples, others.num_samples), dtype=config.dtype)
    for rows, cols, block in Pairs(config, Branches.of(tree, both)).between(one, other):
        out[rows, cols] = block
    return pd.DataFrame(out, index=study.sample_ids, columns=others.sample_ids)


def write_unifrac(study: Study, path: str | Path, *, config: UnifracConfig | None = None, **settings: Any) -> Path:
    """Write the UniFrac distances between all samples to an HDF5 file, block by block: the matrix is never in memory.

    Parameters
    ----------
    study
        As for `unifrac`.
    path
        The file, written under a temporary name first. It has the layout of `ssu` and the unifrac package (`unifrac.h5unifrac`), and
        `skbio.DistanceMatrix.read(path, format="binary_dm")` reads it.
    config, **settings
        Fields of `UnifracConfig`. Only the torch engine computes blocks.

    Returns
    -------
    The path.

    Raises
    ------
    MissingTipError, EmptySampleError, ConfigError, EngineError
        As for `unifrac`.
    """
    config = _by_blocks(configured(UnifracConfig, config, settings), "write_unifrac")
    path = Path(path)
    pairs = Pairs(config, branches_of(study))
    with matrix_cache.matrix_file(path, study.sample_ids, config.dtype) as matrix:
        for rows, cols, block in pairs.upper(Side(study)):
            matrix[rows, cols] = block
            matrix[cols, rows] = block.T
    return path


def unifrac_block(
    branches: Branches, table: sparse.csr_array, *, metric: str = "unweighted", alpha: float = 0.5
) -> npt.NDArray[np.float64]:
    """UniFrac among a few samples (a batch), shape (n_samples, n_samples), in float64 on the CPU.

    Parameters
    ----------
    branches
        Those above the columns of the table.
    table
        Reads, shape (n_samples, n_asvs). A sample without reads is at distance 1 from the others in unweighted UniFrac; in the other
        metrics every sample needs reads.
    metric, alpha
        As in `UnifracConfig`.
    """
    if metric != "unweighted":
        config = UnifracConfig(metric=metric, alpha=alpha, device="cpu")  # type: ignore[arg-type]
        pairs = Pairs(config, branches.within(table))
        reach = pairs.span(table)
        found = pairs.distances(table, table, reach, reach).astype(np.float64, copy=False)
        found = (found + found.T) / 2
        np.fill_diagonal(found, 0.0)
        return found
    near = branches.within(table)
    present = (near.reads(table) > 0).astype(np.float64)
    shared = (present.T * near.length) @ present
    span = np.diag(shared)
    either = span[:, None] + span[None, :] - shared
    distance = np.where(either > 0, 1 - shared / np.where(either > 0, either, 1), 0.0)
    distance = np.clip((distance + distance.T) / 2, 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    return np.asarray(distance)


def _by_blocks(config: UnifracConfig, verb: str) -> UnifracConfig:
    if config.engine not in ("auto", "torch"):
        raise engines.EngineError(
            f"engine is {config.engine!r}, which computes whole matrices alone. `aam.{verb}` goes block by block. Use `engine='torch'`."
        )
    engines.chosen(config)  # there is such a device
    return replace(config, engine="torch")
