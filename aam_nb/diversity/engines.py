"""The programs that can compute a whole UniFrac matrix; `auto` takes torch.

Seconds on one core for the 2,537 samples and 1,260 ASVs of oral_age in float64, from a study in memory to a matrix in memory (ssu
needs temporary files for this); tests/bench/test_diversity.py measures them again:

    metric                                  torch     ssu
    unweighted                                0.6     1.3
    weighted_normalized                       1.9     5.2
    weighted_unnormalized                     1.8     4.9
    generalized, half of the samples          1.8     8.4

In a larger, sparser table (1,500 samples with 200 ASVs each, of 20,000) unweighted takes 6.4 s with torch and 5.6 s with ssu, weighted
10.8 s and 24.9 s. scikit-bio takes minutes. All engines give scikit-bio's numbers within 1e-6 in float64, and within 1e-4 in float32.
Their differences, found on 300 random trees and on trees made to show them, and what is done about each here:

- `ssu` reads branch lengths as float32, whatever its method: its distances differ by 1e-8 or so, and weighted_unnormalized, which has
  the unit of the lengths, by 6e-8 of the tree's height. This cannot be changed; it is below 1e-6 up to a height of 10.
- `ssu -m unweighted` computes in float32, also where it writes float64. Here the number format is always part of the method's name.
- `ssu` and scikit-bio (weighted_normalized) divide 0 by 0 for two samples without any branch length, such as ASVs whose branches all
  have length 0. Their distance is 0 here, as it is in scikit-bio's unweighted UniFrac.
- `ssu` takes missing branch lengths as 0 and trees with more than two branches at the root as rooted; `Tree` refuses both.
- `ssu -f` leaves out tips and is an approximation; it is not used. `ssu`'s default alpha is 1, ours 0.5.
- `ssu` refuses a table whose ASVs are not all tips of the tree; so do we, and we name them. Its tree and table are written with numbers
  for names here, so that quotes, blanks and underscores in labels do not matter, and with only the branches above the study's ASVs,
  those above their last common ancestor included (`Tree.pruned` drops them, but UniFrac counts them).
- All count the branches between the root and the last common ancestor of the ASVs, and all accept a root with one child.
- The unifrac package refuses a table of one sample (its matrix is a single 0), and otherwise is the library behind `ssu`. It was tested
  with Debian's 1.2-3 (100 random trees, every metric); pip has no wheel of it, so its tests are skipped where it is absent.
- scikit-bio has generalized UniFrac only for alpha 1.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from aam_nb.arrays import Array
from aam_nb.config import UnifracConfig, UserError
from aam_nb.diversity.blocks import BlockUnifrac, CountBlocks, Distances
from aam_nb.diversity.branches import Branches, branches_of
from aam_nb.study.child_process import end_with_this
from aam_nb.study.study import Study
from aam_nb.study.write import write_counts


class EngineError(UserError, ValueError):
    """An engine is not installed, failed, or does not have the metric."""


def choose_engine(config: UnifracConfig) -> str:
    """The engine that a config names; torch for "auto".

    Raises
    ------
    EngineError
        It is not installed or does not have the metric, or there is no such device.
    """
    if config.engine in ("auto", "torch"):
        if config.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                raise EngineError(
                    "device is 'cuda', and torch finds no GPU. Expected a CUDA device and a torch built for it. Use `device='auto'`."
                )
        return "torch"
    if config.engine == "ssu" and shutil.which("ssu") is None:
        raise EngineError(
            "engine is 'ssu', and there is no program `ssu` on the PATH. Expected the unifrac-binaries. Install them with "
            "`conda install -c bioconda unifrac-binaries` or `apt install unifrac-tools`, or use `engine='torch'`."
        )
    if config.engine == "unifrac" and find_spec("unifrac") is None:
        raise EngineError(
            "engine is 'unifrac', and the Python package unifrac is not installed. Expected version 1.2 or later. Install it with "
            "`conda install -c bioconda unifrac` (pip has no wheel of it), or use `engine='torch'`."
        )
    if config.engine == "skbio" and config.metric == "generalized" and config.alpha != 1:
        raise EngineError(
            f"engine is 'skbio' and metric 'generalized' with alpha {config.alpha:g}. scikit-bio has it only for alpha 1, where it is "
            "weighted_normalized. Use `engine='torch'`."
        )
    return config.engine


def compute_distances(study: Study, config: UnifracConfig) -> Distances:
    """UniFrac between all samples of a study, shape (n_samples, n_samples)."""
    engine = choose_engine(config)
    branches = branches_of(study)
    if engine == "torch":
        return _compute_by_torch(study, branches, config)
    if study.num_samples == 1 or not len(branches.length):
        # Nothing to compare, or no branch at all: the package refuses the first, ssu the second.
        return np.zeros((study.num_samples, study.num_samples), dtype=config.dtype)
    if config.metric == "generalized" and config.alpha == 1:
        config = replace(
            config, metric="weighted_normalized"
        )  # the same by definition; the package would do so too, with a warning
    compute = {"skbio": _compute_by_skbio, "ssu": _compute_by_ssu, "unifrac": _compute_by_package}[engine]
    # All three divide 0 by 0 for two samples without any branch length.
    return np.nan_to_num(compute(study, branches, config), nan=0.0).astype(config.dtype, copy=False)


def _compute_by_torch(study: Study, branches: Branches, config: UnifracConfig) -> Distances:
    matrix = np.empty((study.num_samples, study.num_samples), dtype=config.dtype)
    for rows, cols, block in BlockUnifrac(config, branches).compute_upper(CountBlocks(study)):
        matrix[rows, cols] = block
        matrix[cols, rows] = block.T
    return matrix


def _compute_by_skbio(study: Study, branches: Branches, config: UnifracConfig) -> Distances:
    from skbio import TreeNode
    from skbio.diversity import beta_diversity

    newick = study.require_tree().to_newick()
    tree = TreeNode.read(io.StringIO(newick), format="newick", convert_underscores=False, verify=False)
    settings: dict[str, Any] = {"metric": "unweighted_unifrac"}
    if config.metric != "unweighted":
        settings = {"metric": "weighted_unifrac", "normalized": config.metric != "weighted_unnormalized"}
    with np.errstate(invalid="ignore"):
        # validate=False: scikit-bio would refuse a root with one child, and our own checks have been made.
        counts, taxa = study.table[:].toarray(), list(study.asv_ids)
        return np.asarray(beta_diversity(counts=counts, taxa=taxa, tree=tree, validate=False, **settings).data)


def _compute_by_ssu(study: Study, branches: Branches, config: UnifracConfig) -> Distances:
    import h5py

    bits = "fp64" if config.dtype == "float64" else "fp32"
    with _write_inputs(study, branches) as folder:
        command = ["ssu", "-i", "table.biom", "-t", "tree.nwk", "-o", "out.h5", "-m", f"{config.metric}_{bits}"]
        command += ["-a", repr(float(config.alpha)), "--format", f"hdf5_{bits}", "--pcoa", "0"]
        command = end_with_this(command)
        process = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        if process.returncode or not (folder / "out.h5").exists():
            last = (process.stderr.strip() or process.stdout.strip()).splitlines()[-1:]
            raise EngineError(
                f"ssu ended with exit code {process.returncode} ({''.join(last) or 'without a message'}). Expected a distance matrix. "
                "Try `engine='torch'`, which needs no other program."
            )
        with h5py.File(folder / "out.h5") as file:
            return _sort_samples(file["matrix"][:], file["order"].asstr()[:])


def _compute_by_package(study: Study, branches: Branches, config: UnifracConfig) -> Distances:
    unifrac = import_module("unifrac")  # by name: type checkers do not find it
    bits = "fp64" if config.dtype == "float64" else "fp32"
    alpha = {"alpha": config.alpha} if config.metric == "generalized" else {}
    with _write_inputs(study, branches) as folder:
        function = getattr(unifrac, f"{config.metric}_{bits}")
        matrix = function(str(folder / "table.biom"), str(folder / "tree.nwk"), **alpha)
    return _sort_samples(matrix.data, matrix.ids)


def _sort_samples(matrix: Distances, ids: Array) -> Distances:
    """The matrix in the study's order of samples; the ids are the samples' numbers in the study."""
    order = np.argsort(np.array(ids).astype(np.int64))
    return np.asarray(matrix[np.ix_(order, order)])


@contextmanager
def _write_inputs(study: Study, branches: Branches) -> Iterator[Path]:
    """A temporary folder with the study as `table.biom` and `tree.nwk`; samples and ASVs have numbers for names."""
    with tempfile.TemporaryDirectory(prefix="aam_nb-") as name:
        folder = Path(name)
        samples, asvs = map(str, range(study.num_samples)), (f"t{rank}" for rank in branches.rank)
        write_counts(study, folder / "table.biom", samples, asvs)
        (folder / "tree.nwk").write_text(branches.to_newick())
        yield folder
