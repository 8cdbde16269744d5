"""Feature tables in AnnData's `.h5ad`: counts in X, samples in obs, ASVs in var."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pandas as pd

from aam_nb.study.child_process import end_with_this
from aam_nb.study.errors import FormatError, MissingExtraError
from aam_nb.study.readers.archives import Source, first_line
from aam_nb.study.readers.checks import as_counts, find_non_counts, refuse_duplicates, to_csr
from aam_nb.study.readers.disk import refuse_tricks
from aam_nb.study.readers.feature_table import FeatureTable, list_left_out

TRY_OUT_SECONDS = 60.0
"""Time in which names and attributes of a file must be read."""
TRY_OUT = """
import h5py, sys
def read(name, item):
    list(item.attrs.items())
    if isinstance(item, h5py.Dataset) and item.dtype.kind in "OSV":
        item[()]
with h5py.File(sys.argv[1]) as file:
    read("/", file)
    file.visititems(read)
"""
"""Reads names and attributes, in which the HDF5 library crashes or loops where some bytes of the file are damaged."""


def read_anndata(source: Source) -> FeatureTable:
    """An `.h5ad` file; its obs is metadata."""
    try:
        import anndata
    except ImportError as error:
        raise MissingExtraError(
            f"{source.name} is AnnData, and the package anndata is not installed. Reading `.h5ad` needs it. Install it with "
            "`pip install 'aam-nb[anndata]'`."
        ) from error
    import h5py

    _try_out(source)
    try:
        with h5py.File(source.path) as file:
            refuse_tricks(file, source.path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are not unique, which are refused below
            data = anndata.read_h5ad(source.path)
        if data.X is None:
            raise ValueError("it has no X")
        table = to_csr(data.X)
        find_non_counts(table.data)  # of a type that counts can have
        samples, features = list(map(str, data.obs_names)), list(map(str, data.var_names))
        metadata = data.obs.copy().set_axis(pd.Index(samples, dtype=str, name="sample_id"), axis=0)
    except Exception as error:  # anndata wraps what h5py raises in kinds of its own
        raise FormatError(
            f"{source.name} cannot be read as AnnData ({first_line(error)}). Expected a whole `.h5ad` with counts in X, samples in obs and "
            "ASVs in var. Write it again with `adata.write_h5ad(...)`."
        ) from error
    refuse_duplicates(pd.Index(samples), "sample")
    notes = list_left_out([], [str(c) for c in data.var.columns])
    return FeatureTable(as_counts(table, samples, features), samples, features, "AnnData", metadata, {}, notes)


def _try_out(source: Source) -> None:
    """Read a file in a process of its own first, and refuse it where that one crashes or does not end."""
    try:
        command = end_with_this([sys.executable, "-c", TRY_OUT, str(source.path)])
        done = subprocess.run(command, capture_output=True, timeout=TRY_OUT_SECONDS)
        crashed = done.returncode < 0
    except subprocess.TimeoutExpired:
        crashed = True
    if crashed:
        raise FormatError(
            f"{source.name} makes the HDF5 library crash or never end. Expected a whole `.h5ad`. It is damaged: copy or write it again."
        )
