"""UniFrac distances between samples, and Faith PD of each sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Floats
from aam_nb.config import UnifracConfig, cache_folder, cut_list, make_config
from aam_nb.diversity import engines, matrix_cache
from aam_nb.diversity.blocks import BlockUnifrac, CountBlocks
from aam_nb.diversity.branches import Branches, branches_of
from aam_nb.study.errors import MissingTipError
from aam_nb.study.readers.disk import SAMPLES_PER_BLOCK
from aam_nb.study.study import Study
from aam_nb.study.writable import check_writable_file

if TYPE_CHECKING:
    from skbio import DistanceMatrix


def faith_pd(study: Study) -> pd.Series:
    """Total branch length spanned by each sample's ASVs, up to the root.

    Parameters
    ----------
    study
        Needs a rooted tree whose tips include every ASV. Only the presence of ASVs is used, not the number of reads. The table
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

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=8, n_asvs=60, seed=0)
    >>> diversity = aam.faith_pd(study)
    >>> diversity.index.equals(study.sample_ids), diversity.name
    (True, 'faith_pd')
    >>> bool((diversity > 0).all())
    True
    """
    branches = branches_of(study)
    rows = branches.samples_per_block(SAMPLES_PER_BLOCK)
    values = np.concatenate([branches.faith_pd(table) for _, table in study.blocks(rows)])
    return pd.Series(values, index=study.sample_ids, name="faith_pd")


def unifrac(
    study: Study, *, cache: bool | str | Path = True, config: UnifracConfig | None = None, **settings: Any
) -> DistanceMatrix:
    """UniFrac distances between all samples.

    Parameters
    ----------
    study
        Needs a rooted tree whose tips include every ASV, and reads in every sample. The table may be on disk.
    cache
        True saves the result on disk and uses it in the next call; False does neither; a path is the folder to save it in. A saved
        result is used for the same counts, ids, tree and settings, whatever file they come from. The folder is that of the environment
        variable `AAM_NB_CACHE`, or the user's cache folder; all matrices in it together take at most 4 GiB.
    config, **settings
        Fields of `UnifracConfig`: `metric` ("unweighted", "weighted_normalized", "weighted_unnormalized" or "generalized"), `alpha`,
        `engine`, `dtype`, `device`, `block`.

    Returns
    -------
    Distances, shape (n_samples, n_samples), ids in the study's order; in [0, 1], and for "weighted_unnormalized" in branch-length
    units (substitutions per site). The formulas of the metrics are in `aam_nb.diversity.blocks`.

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
    Lozupone & Knight 2005, Appl. Environ. Microbiol. 71:8228 (unweighted). Lozupone et al. 2007, Appl. Environ. Microbiol. 73:1576
    (weighted). Chen et al. 2012, Bioinformatics 28:2106 (generalized). All checked in tests, against scikit-bio or a simple loop over
    its tree.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=8, n_asvs=60, seed=0)
    >>> distances = aam.unifrac(study, metric="weighted_normalized", cache=False)
    >>> distances.shape, distances.ids == tuple(study.sample_ids)
    ((8, 8), True)
    >>> bool(distances.data.max() <= 1)
    True
    """
    from skbio import DistanceMatrix

    config = make_config(UnifracConfig, config, settings)
    if cache is False:
        return DistanceMatrix(engines.compute_distances(study, config), ids=list(study.sample_ids))
    study.require_tree()
    study.require_reads()
    # Only settings that change the numbers are part of the key.
    key_settings = {"metric": config.metric, "dtype": config.dtype, "engine": engines.choose_engine(config)}
    if config.metric == "generalized":
        key_settings["alpha"] = repr(float(config.alpha))
    folder = cache_folder(None if cache is True else cache)
    key = matrix_cache.cache_key(study.content_hash(), key_settings)
    matrix = matrix_cache.read_matrix(folder, key, study.sample_ids)
    if matrix is None:
        matrix = DistanceMatrix(engines.compute_distances(study, config), ids=list(study.sample_ids))
        matrix_cache.save_matrix(folder, key, matrix)
    return matrix


def unifrac_between(
    study: Study, others: Study, *, config: UnifracConfig | None = None, **settings: Any
) -> pd.DataFrame:
    """UniFrac distances of one study's samples from another's, without the distances within each study.

    Parameters
    ----------
    study
        Its tree is used, and must have the ASVs of both studies among its tips.
    others
        The samples to compare with: they may be many, and on disk. Their own tree is not used.
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
    As for `unifrac`: the result is a corner of its matrix of both studies together.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=10, n_asvs=60, seed=0)
    >>> train, test = study.split(test_size=0.2, seed=0)
    >>> aam.unifrac_between(test, train).shape
    (2, 8)
    """
    config = _require_torch(make_config(UnifracConfig, config, settings), "unifrac_between")
    tree = study.require_tree()
    study.require_reads()
    others.require_reads()
    missing = tree.missing(others.asv_ids)
    if missing:
        raise MissingTipError(
            f"{len(missing)} of {others.num_asvs} ASVs of the other study are not tips of this study's tree ({cut_list(missing)}). The "
            "tree must have the ASVs of both. Drop them with `others.keep_asvs(study.tree.tips)`."
        )
    # The two tables get the same columns: the ASVs of both studies.
    asv_ids = study.asv_ids.union(others.asv_ids, sort=False)
    blocks, other_blocks = (
        CountBlocks(s, asv_ids.get_indexer(s.asv_ids).astype(np.int64), len(asv_ids)) for s in (study, others)
    )
    distances = np.empty((study.num_samples, others.num_samples), dtype=config.dtype)
    computer = BlockUnifrac(config, Branches.from_tree(tree, asv_ids))
    for rows, cols, block in computer.compute_between(blocks, other_blocks):
        distances[rows, cols] = block
    return pd.DataFrame(distances, index=study.sample_ids, columns=others.sample_ids)


def write_unifrac(study: Study, path: str | Path, *, config: UnifracConfig | None = None, **settings: Any) -> Path:
    """Write the UniFrac distances between all samples to an HDF5 file, block by block: the matrix is never in memory.

    Parameters
    ----------
    study
        As for `unifrac`.
    path
        The file; it gets its name when it is complete. It has the layout of `ssu` and the unifrac package (`unifrac.h5unifrac`), and
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
    NotWrittenError
        The file cannot be written there.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=8, n_asvs=60, seed=0)
    >>> path = aam.write_unifrac(study, "distances.h5")
    >>> from skbio import DistanceMatrix
    >>> with open(path, "rb") as file:
    ...     DistanceMatrix.read(file, format="binary_dm").shape
    (8, 8)
    """
    config = _require_torch(make_config(UnifracConfig, config, settings), "write_unifrac")
    path = check_writable_file(path)  # before the work
    computer = BlockUnifrac(config, branches_of(study))
    with matrix_cache.matrix_file(path, study.sample_ids, config.dtype) as matrix:
        for rows, cols, block in computer.compute_upper(CountBlocks(study)):
            matrix[rows, cols] = block
            matrix[cols, rows] = block.T
    return path


def unifrac_block(
    branches: Branches, table: sparse.csr_array, *, metric: str = "unweighted", alpha: float = 0.5
) -> Floats:
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
        computer = BlockUnifrac(config, branches.restrict_to(table))
        t = computer.compute_t(table)
        weighted = computer.compute_block(table, table, t, t).astype(np.float64, copy=False)
        weighted = (weighted + weighted.T) / 2
        np.fill_diagonal(weighted, 0.0)
        return weighted
    # Unweighted, the metric of nearly all batches, in NumPy: 1 - shared branch length / branch length of either sample.
    present_branches = branches.restrict_to(table)
    present = (present_branches.sum_reads(table) > 0).astype(np.float64)
    shared = (present.T * present_branches.length) @ present
    length = np.diag(shared)
    either = length[:, None] + length[None, :] - shared
    distances = np.where(either > 0, 1 - shared / np.where(either > 0, either, 1), 0.0)
    distances = np.clip((distances + distances.T) / 2, 0.0, 1.0)
    np.fill_diagonal(distances, 0.0)
    return np.asarray(distances)


def _require_torch(config: UnifracConfig, verb: str) -> UnifracConfig:
    if config.engine not in ("auto", "torch"):
        raise engines.EngineError(
            f"engine is {config.engine!r}, which computes only whole matrices. `aam.{verb}` needs blocks of one. Use `engine='torch'`."
        )
    engines.choose_engine(config)  # refuses a device that is not there
    return replace(config, engine="torch")
