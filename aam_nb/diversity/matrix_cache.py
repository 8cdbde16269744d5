"""Distance matrices in HDF5, in the layout of `ssu`, the unifrac package, QIIME 2 and scikit-bio ("binary_dm"), and a cache of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Array
from aam_nb.study.atomic import whole_file

if TYPE_CHECKING:
    import h5py
    from skbio import DistanceMatrix

CACHE_BYTES = 4 * 2**30
"""Most bytes of all matrices in the cache; the least recently used ones are deleted to make room for a new one."""
CACHE_VERSION = 1
"""Raised when the same study and settings would give other numbers, so that old files are no longer used."""
log = logging.getLogger("aam_nb")


@contextlib.contextmanager
def matrix_file(path: Path, ids: pd.Index, dtype: str) -> Iterator[h5py.Dataset]:
    """A new file for a square matrix, to be filled by blocks; it gets its name when it is complete.

    Checksums are written with the values, so that damage is noticed when the file is read.
    """
    import h5py

    with whole_file(path) as fresh, h5py.File(fresh, "w") as file:
        file.create_dataset("format", data=np.array([b"BDSM"]))
        file.create_dataset("version", data=np.array([b"2020.12"]))
        file.create_dataset("order", data=[str(i) for i in ids], dtype=h5py.string_dtype())
        n = len(ids)
        chunk = (min(n, 256), min(n, 256))
        yield file.create_dataset("matrix", shape=(n, n), dtype=dtype, chunks=chunk, fletcher32=True)


def cache_key(content: str, settings: dict[str, Any]) -> str:
    """SHA-256 of a study's content hash, the settings that change the numbers, and the version of the cache."""
    text = json.dumps([CACHE_VERSION, content, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_matrix(folder: Path, key: str, ids: pd.Index) -> DistanceMatrix | None:
    """The matrix saved under a key, or None; a damaged file is deleted with a warning, and counts as none."""
    import h5py
    from skbio import DistanceMatrix

    path = folder / f"unifrac-{key}.h5"
    if not path.is_file():
        return None
    try:
        with h5py.File(path) as file:
            samples = file["order"].asstr()[:].tolist()
            if samples != list(ids):
                raise ValueError("it holds other samples")
            values = file["matrix"][:]
            if file["matrix"].attrs.get("sha256") != _sum(samples, values):
                raise ValueError("it has no checksum, or another")
            matrix = DistanceMatrix(values, ids=samples)
        os.utime(path)
    except Exception as error:  # whatever is wrong with the file, the matrix can be computed again
        log.warning("The cached distances %s cannot be read (%s) and are computed again.", path, error)
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    return matrix


def _sum(ids: list[str], values: Array) -> str:
    """SHA-256 of ids and distances, by which damage on disk is noticed."""
    about = json.dumps([ids, str(values.dtype), values.shape])
    return hashlib.sha256(about.encode() + np.ascontiguousarray(values).tobytes()).hexdigest()


def save_matrix(folder: Path, key: str, matrix: DistanceMatrix) -> None:
    """Save a matrix under a key, and delete the least recently used ones where all together are larger than `CACHE_BYTES`."""
    try:
        if matrix.data.nbytes > CACHE_BYTES:
            log.warning("A matrix of %d distances is larger than the cache and is not saved in it.", matrix.data.size)
            return
        path = folder / f"unifrac-{key}.h5"
        if os.path.lexists(path) and not path.is_file():  # a pipe would be waited for
            path.unlink()
        with matrix_file(path, pd.Index(matrix.ids), str(matrix.data.dtype)) as dataset:
            dataset[:] = matrix.data
            dataset.attrs["sha256"] = _sum(list(matrix.ids), matrix.data)
        total = 0
        for path in sorted(folder.glob("unifrac-*.h5"), key=lambda p: -p.stat().st_mtime_ns):
            total += path.stat().st_size
            if total > CACHE_BYTES:
                path.unlink(missing_ok=True)
    except OSError as error:  # a full disk, a read-only folder: the result itself is not affected
        log.warning("The distances cannot be saved in the cache %s (%s).", folder, error)
