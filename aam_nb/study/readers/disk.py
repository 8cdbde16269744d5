"""A feature table that stays on disk: the samples of a BIOM 2.1 file, read by ranges when they are asked for.

A `Study` holds a `DiskTable` where it otherwise holds a `scipy` table. It answers `table[rows]` with those samples in memory, and
verbs that change counts (`keep_asvs`, `rarefy`) are remembered as steps and done to whatever is read.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from aam_nb.arrays import Array, Ints
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.rarefy import draw_reads
from aam_nb.study.readers.archives import first_line
from aam_nb.study.readers.checks import describe_non_counts, find_non_counts

Step = Callable[[sparse.csr_array, Ints], sparse.csr_array]
"""Counts of a few samples, and the key of each (see `sample_keys`), to counts over other columns or with other values."""
SAMPLES_PER_BLOCK = 1024
"""Samples of a table that verbs hold in memory at once, where they can go sample by sample."""
READ_ERRORS = (
    OSError,
    KeyError,
    ValueError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    OverflowError,
)
"""What h5py raises where a file is damaged."""
CHUNK_CACHE = 16 * 2**20
"""Bytes of unpacked chunks that HDF5 keeps while a few samples are read."""
MOST_RATIO = 1100
"""Bytes of a dataset for each byte of its file; DEFLATE packs at most 1,032 into one, and damaged sizes promise more."""
HEAP = b"GCOL\x01\0\0\0"
"""How a heap of texts begins in an HDF5 file."""
MOST_GAP = 256
"""Wanted samples that lie no further apart than this many rows are read in one go."""


@dataclass(frozen=True)
class Columns:
    """Other columns: column `j` becomes `position[j]` of `num`, or is dropped where that is -1; those that meet are summed."""

    position: Ints
    num: int

    def __call__(self, table: sparse.csr_array, keys: Ints | None = None) -> sparse.csr_array:
        kept = self.position[table.indices] >= 0
        offsets = np.concatenate([[0], np.cumsum(kept)])[table.indptr]
        merged = sparse.csr_array(
            (table.data[kept], self.position[table.indices[kept]], offsets), (table.shape[0], self.num)
        )
        merged.sum_duplicates()
        return merged


@dataclass(frozen=True)
class Rarefaction:
    """`depth` reads of each sample, drawn without replacement. A draw depends on the seed, the sample's key and
    reads, not on the other samples."""

    depth: int
    seed: int

    def __call__(self, table: sparse.csr_array, keys: Ints) -> sparse.csr_array:
        # With depth and total, so that rarefying what was rarefied is a new draw.
        rngs = [
            np.random.default_rng([self.seed, int(key), self.depth, int(total)])
            for key, total in zip(keys, table.sum(axis=1), strict=True)
        ]
        return draw_reads(table, np.full(len(keys), self.depth), rngs)


def blocks(
    table: sparse.csr_array | DiskTable, size: int = SAMPLES_PER_BLOCK
) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Consecutive ranges of samples, each with its counts in memory, shape (at most `size`, n_columns)."""
    for start in range(0, table.shape[0], size):
        part = slice(start, min(start + size, table.shape[0]))
        yield part, table[part]


def sample_keys(sample_ids: Iterable[str]) -> Ints:
    """A number for each sample, made of its id alone."""
    return np.array(
        [int.from_bytes(hashlib.blake2b(i.encode(), digest_size=7).digest(), "big") for i in sample_ids], dtype=np.int64
    )


@dataclass(frozen=True, eq=False)
class DiskTable:
    """Samples of a BIOM 2.1 file.

    Parameters
    ----------
    path, name
        The file, which must stay as it is, and what messages call it.
    offsets
        Where the entries of each sample of the file begin and end, shape (samples in the file + 1,).
    rows
        Number in the file of each sample.
    keys
        Key of each sample, see `sample_keys`.
    num_columns
        ASVs.
    stamp
        Size and time of change of the file when it was opened.
    steps
        What is done to the counts that are read.
    """

    path: Path
    name: str
    offsets: Ints
    rows: Ints
    keys: Ints
    num_columns: int
    stamp: tuple[int, int]
    steps: tuple[Step, ...] = ()
    _known: dict[str, Ints] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, name: str) -> tuple[DiskTable, list[str], list[str]]:
        """All samples of a file; with it the ids of its samples and of its observations.

        Raises
        ------
        FormatError
            The file is damaged, or has no matrix by samples.
        """
        import h5py

        path = path.resolve()
        stat = path.stat()
        try:
            with h5py.File(path) as file:
                if "sample/matrix" not in file:
                    raise ValueError("it has no counts by sample (sample/matrix)")
                matrix = file["sample/matrix"]
                refuse_tricks(file, path)
                samples, observations = _ids(file["sample/ids"]), _ids(file["observation/ids"])
                offsets = matrix["indptr"][:].astype(np.int64)
                length = matrix["data"].shape[0]
                if length > len(samples) * len(observations):
                    raise ValueError(f"it has {length:,} counts for {len(samples)} x {len(observations)} cells")
                if matrix["indices"].shape[0] != length or len(offsets) != len(samples) + 1:
                    raise ValueError("its counts, their places and its sample ids are not of the same number")
                if offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
                    raise ValueError("the places where its samples begin are not in order")
                if tuple(file.attrs.get("shape", ())) != (len(observations), len(samples)):
                    raise ValueError("its shape is not that of its ids")
        except READ_ERRORS as error:
            raise damaged(name, error) from error
        table = cls(
            path,
            name,
            offsets,
            np.arange(len(samples)),
            sample_keys(samples),
            len(observations),
            (stat.st_size, stat.st_mtime_ns),
        )
        return table, samples, observations

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.num_columns

    def __getitem__(self, which: slice | Array) -> sparse.csr_array:
        """The counts of some samples, in memory, whole numbers.

        Raises
        ------
        FormatError, StudyError
            The file is damaged there, or has changed; it holds what is not a count.
        """
        rows, keys = self.rows[which], self.keys[which]
        try:
            stat = self.path.stat()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.name} is gone. A lazy study reads it again and again. Put it back, or read the study with `lazy=False`."
            ) from error
        if (stat.st_size, stat.st_mtime_ns) != self.stamp:
            raise FormatError(
                f"{self.name} has changed since it was opened. A lazy study reads it again and again. Read the study anew: "
                "`aam.read_study(..., lazy=True)`."
            )
        table = self._read(rows)
        for step in self.steps:
            table = step(table, keys)
        table.sort_indices()
        return table

    def take(self, rows: Ints) -> DiskTable:
        """The same table with those samples alone, in that order."""
        known = {name: values[rows] for name, values in self._known.items() if name != "prevalence"}
        return replace(self, rows=self.rows[rows], keys=self.keys[rows], _known=known)

    def then(self, step: Step) -> DiskTable:
        """The same table with one more step."""
        num_columns = step.num if isinstance(step, Columns) else self.num_columns
        return replace(self, steps=(*self.steps, step), num_columns=num_columns, _known={})

    def count(self) -> dict[str, Ints]:
        """`depth` (reads) and `richness` (ASVs) of each sample and `prevalence` (samples) of each ASV, in one pass over the file."""
        if "prevalence" not in self._known:
            depth, richness = np.zeros(len(self.rows), np.int64), np.zeros(len(self.rows), np.int64)
            prevalence = np.zeros(self.num_columns, np.int64)
            for part, table in blocks(self):
                depth[part], richness[part] = table.sum(axis=1), np.diff(table.indptr)
                prevalence += np.bincount(table.indices, minlength=self.num_columns)
            self._known.update(depth=depth, richness=richness, prevalence=prevalence)
        return self._known

    @property
    def depth(self) -> Ints:
        """Reads of each sample."""
        return self._known["depth"] if "depth" in self._known else self.count()["depth"]

    @property
    def richness(self) -> Ints:
        """ASVs of each sample."""
        return self._known["richness"] if "richness" in self._known else self.count()["richness"]

    @property
    def prevalence(self) -> Ints:
        """Samples of each ASV."""
        return self.count()["prevalence"]

    def __repr__(self) -> str:
        return f"DiskTable({self.shape[0]} samples x {self.shape[1]} ASVs of {self.name}, {len(self.steps)} steps)"

    def _read(self, rows: Ints) -> sparse.csr_array:
        """Counts as the file has them, rows in the order asked for."""
        import h5py

        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        data, indices = [np.zeros(0)], [np.zeros(0, np.int64)]
        try:
            with h5py.File(self.path, rdcc_nbytes=CHUNK_CACHE) as file:
                num_columns = file["observation/ids"].shape[0]
                counts, places = file["sample/matrix/data"], file["sample/matrix/indices"]
                for run in np.split(ascending, np.flatnonzero(np.diff(ascending) > MOST_GAP) + 1) if len(rows) else []:
                    start, stop = self.offsets[run[0]], self.offsets[run[-1] + 1]
                    wanted = _places(self.offsets[run] - start, self.offsets[run + 1] - start)
                    data.append(counts[start:stop][wanted])
                    indices.append(places[start:stop][wanted])
                values, columns = np.concatenate(data), np.concatenate(indices)
                if columns.dtype.kind not in "iu":
                    raise ValueError(f"its indices are of type {columns.dtype}")
                columns = columns.astype(np.int64)
                if not ((columns >= 0) & (columns < num_columns)).all():
                    raise ValueError("a count belongs to no observation")
                offsets = np.concatenate([[0], np.cumsum(self.offsets[ascending + 1] - self.offsets[ascending])])
                bad = find_non_counts(values)
                if len(bad):
                    row = ascending[int(np.searchsorted(offsets, bad[0], side="right") - 1)]
                    sample, asv = _ids(file["sample/ids"])[row], _ids(file["observation/ids"])[columns[bad[0]]]
                    raise StudyError(describe_non_counts(values, bad, sample, asv))
        except StudyError:
            raise
        except READ_ERRORS as error:
            raise damaged(self.name, error) from error
        table = sparse.csr_array((values.astype(np.int64), columns, offsets), (len(rows), num_columns))
        table.sort_indices()
        if not table.has_canonical_format:
            raise damaged(self.name, ValueError("a sample has two counts of one observation"))
        table.eliminate_zeros()
        return table if (order == np.arange(len(rows))).all() else table[np.argsort(order)]


def _places(start: Ints, stop: Ints) -> Ints:
    """All numbers of several ranges, one after the other."""
    sizes = stop - start
    return np.repeat(start - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes) + np.arange(sizes.sum())


def refuse_tricks(file: Any, path: Path) -> None:
    """Refuse (`ValueError`) what no writer of tables leaves in an HDF5 file, and what reading would follow anywhere, or never end.

    That is links to other files and data in them; datasets said to be larger than the file could hold; and a heap of texts whose
    objects overrun it, in which the HDF5 library loops.
    """
    import h5py

    num_bytes = path.stat().st_size

    def refuse_trick(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group):
            for child in item:
                if not isinstance(item.get(child, getlink=True), h5py.HardLink):
                    raise ValueError(f"{child} in {name} is a link to another place")
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"the data of {name} are in another file")
            if item.dtype.kind == "c":
                raise ValueError(f"{name} holds complex numbers")
            if h5py.check_vlen_dtype(item.dtype) not in (
                None,
                str,
                bytes,
            ):  # a damaged type of texts is one, and reading it crashes
                raise ValueError(f"{name} holds lists")
            if (item.size or 0) * item.dtype.itemsize > MOST_RATIO * num_bytes:
                raise ValueError(f"{name} is said to hold {item.size:,} values, in a file of {num_bytes:,} bytes")

    refuse_trick("/", file)
    file.visititems(refuse_trick)
    with path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(HEAP)
        while at >= 0:
            _walk_heap(content, at)
            at = content.find(HEAP, at + 1)


def _walk_heap(content: mmap.mmap, start: int) -> None:
    """Follow the objects of a heap of texts as the HDF5 library does (HDF5 file format 3.0, III.E. Global Heap)."""
    end = min(start + int.from_bytes(content[start + 8 : start + 16], "little"), len(content))
    at = start + 16
    while at + 16 <= end:
        number, size = (
            int.from_bytes(content[at : at + 2], "little"),
            int.from_bytes(content[at + 8 : at + 16], "little"),
        )
        step = size if number == 0 else 16 + (size + 7) // 8 * 8
        if step == 0 or at + step > end:
            raise ValueError(f"a heap of texts at byte {start:,} overruns")
        at += step


def damaged(name: str, error: Exception) -> FormatError:
    """The refusal of a BIOM 2.1 file."""
    return FormatError(
        f"{name} cannot be read as BIOM 2.1 ({first_line(error)}). Expected a whole feature table in HDF5. The file may be truncated: "
        "copy or export it again."
    )


def _ids(dataset: Any) -> list[str]:
    return [i.decode() if isinstance(i, bytes) else str(i) for i in dataset[:]]
