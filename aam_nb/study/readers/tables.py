"""Feature tables as labs have them: BIOM 2.1 and 1.0, text in either orientation, AnnData. The front door is `read_study`."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.config import cut_list
from aam_nb.study.errors import FormatError, MissingExtraError, StudyError
from aam_nb.study.letters import DNA_LETTERS
from aam_nb.study.readers.archives import HDF5, Source, first_line
from aam_nb.study.readers.columns import NUMBER
from aam_nb.study.readers.disk import (
    READ_ERRORS,
    DiskTable,
    Ints,
    damaged,
    not_counts,
    refuse_tricks,
    what_is_not_counted,
)

LINEAGE = ("taxonomy", "taxon", "consensus lineage", "consensuslineage")
"""Names, in small letters, of a column of lineages beside the counts of a text table."""
CORNERS = ("otu id", "otuid", "feature id", "featureid", "feature-id", "asv id", "asv")
"""First fields, in small letters, of the header of a text table whose rows are features."""
TRY_OUT_SECONDS = 60.0
"""Time in which names and attributes of a file must be read."""
CELLS_AT_ONCE = 2**22
"""Cells of a text table that are held in memory as such; only counts above 0 are kept."""
PLAIN = re.compile(rf"\s*(?:{NUMBER.pattern}|[+-]?(?:nan|inf|infinity))\s*", re.ASCII | re.IGNORECASE)
"""A number as programs write it; Python would take 1_000 and digits of other scripts too."""
DNA = re.compile("[ACGTUNRYSWKMBDHV]{2,}", re.IGNORECASE)
DNA_ID = re.compile("[ACGTUNRYSWKMBDHV]{8,}", re.IGNORECASE)
"""DNA too long to be a word or a name."""


Ids = Sequence[str] | pd.Index


@dataclass(frozen=True)
class FeatureTable:
    """What a table file holds, before its features are known to be DNA.

    Parameters
    ----------
    table
        Counts, samples x features, whole numbers; on disk where it was opened lazily.
    sample_ids, feature_ids
        Names of rows and columns. Those of samples stand once; features of the same name may be summed.
    format
        Name of the format, for messages.
    metadata
        What the file says of its samples (AnnData), indexed by sample id; without columns where it says nothing.
    lineages
        Lineage text by feature id, where the file has it.
    notes
        What was noticed while reading.
    """

    table: sparse.csr_array | DiskTable
    sample_ids: list[str]
    feature_ids: list[str]
    format: str
    metadata: pd.DataFrame
    lineages: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for ids, what in ((self.sample_ids, "sample"), (self.feature_ids, "feature")):
            if not ids:
                raise StudyError(
                    f"The {self.format} table has no {what}s ({len(self.sample_ids)} samples x {len(self.feature_ids)} features). Expected "
                    "at least one. Check the filters that made it, and export it again."
                )
            if "" in ids:
                raise StudyError(
                    f"A {what} of the {self.format} table has an empty id. Expected a name for each. Name it and read again."
                )
        refuse_duplicates(pd.Index(self.sample_ids), "sample")


def refuse_duplicates(ids: pd.Index, what: str) -> None:
    """Refuse ids that occur more than once (`StudyError`)."""
    if ids.has_duplicates:
        twice = ids[ids.duplicated()].unique()
        raise StudyError(
            f"{len(twice)} {what} ids occur more than once ({cut_list(twice)}). Each id must be unique. Sum or rename the "
            "duplicates before reading."
        )


def refuse_not_dna(asv_ids: pd.Index) -> None:
    """Refuse ASVs whose ids are not their DNA (`StudyError`)."""
    wrong = asv_ids[~asv_ids.str.fullmatch(f"[{DNA_LETTERS}]+")]
    if len(wrong):
        raise StudyError(
            f"{len(wrong)} of {len(asv_ids)} observation ids are not DNA ({cut_list(wrong)}). An ASV's id is its sequence in capital "
            f"IUPAC letters ({DNA_LETTERS}). Rename the features to their sequences, or give those when reading: "
            "`aam.read_study(..., sequences='rep-seqs.qza')` (`--sequences rep-seqs.qza`)."
        )


def sniff(source: Source) -> str:
    """What a file looks like: "BIOM 2.1", "AnnData", "distances", "HDF5", "BIOM 1.0", "FASTA", "FASTQ", "Newick", "binary" or "text"."""
    with source.path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(HDF5):
        return _sniff_hdf5(source)
    begin = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "binary"
    return {b"{": "BIOM 1.0", b">": "FASTA", b"@": "FASTQ", b"(": "Newick"}.get(begin, "text")


def _sniff_hdf5(source: Source) -> str:
    import h5py

    try:
        with h5py.File(source.path) as file:
            names = set(file)
    except READ_ERRORS as error:
        raise damaged(source.name, error) from error
    if {"obs", "var"} <= names:
        return "AnnData"
    if {"order", "matrix"} <= names:
        return "distances"
    return "BIOM 2.1" if {"observation", "sample"} & names else "HDF5"


ELSEWHERE = {
    "FASTA": ("sequences in FASTA", "Give it as `sequences=` (`--sequences`), beside the table."),
    "FASTQ": ("raw reads in FASTQ", "Denoise them first, for example with DADA2 or Deblur."),
    "Newick": ("a tree in Newick", "Give it as `tree=` (`--tree`), beside the table."),
    "distances": ("a distance matrix in HDF5", "Give the feature table it was made of."),
    "HDF5": ("HDF5 without a feature table", "Convert the table with `biom convert --to-hdf5`."),
    "binary": ("binary data of an unknown format", "Export it as BIOM or TSV."),
}
"""What a table is not, and where it goes instead."""


def parse_table(source: Source, *, sequence_ids: frozenset[str] = frozenset(), lazy: bool = False) -> FeatureTable:
    """A feature table in whatever format it comes.

    Parameters
    ----------
    source
        The plain file.
    sequence_ids
        Ids of sequences that the user gave beside it: they tell features from samples where neither is DNA.
    lazy
        Leave the counts on disk; only BIOM 2.1 can.

    Raises
    ------
    FormatError, StudyError
        The file is damaged or no table; ids occur twice; counts are not counts.
    """
    found = sniff(source)
    if found in ELSEWHERE or source.kind not in ("", "FeatureTable[Frequency]"):
        what, instead = ELSEWHERE.get(
            found, (f"a QIIME 2 artifact of type {source.kind}", "Give it by its own name, beside the table.")
        )
        raise FormatError(
            f"{source.name} is {what}. Expected a feature table: BIOM, a `.qza` of type FeatureTable[Frequency], TSV, CSV or `.h5ad`. "
            f"{instead}"
        )
    if lazy and found != "BIOM 2.1":
        raise FormatError(
            f"{source.name} is {found}. Only BIOM 2.1 (HDF5) can be opened lazily. Convert it once: "
            "`aam.write_biom(aam.read_study(...), 'table.biom')`, or `biom convert --to-hdf5`."
        )
    if found == "BIOM 2.1":
        return _biom2(source, lazy)
    return {"BIOM 1.0": _biom1, "AnnData": _anndata}.get(found, lambda s: _text(s, sequence_ids))(source)


# -- BIOM -------------------------------------------------------------------------------------------------------------


def _biom2(source: Source, lazy: bool) -> FeatureTable:
    table, samples, features = DiskTable.open(source.path, source.name)
    counts: DiskTable | sparse.csr_array = table
    if not lazy:
        counts = table[:]
    lineages, notes = _biom2_annotations(source, features)
    return FeatureTable(counts, samples, features, "BIOM 2.1", _no_metadata(samples), lineages, notes)


def _biom2_annotations(source: Source, features: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The observation metadata "taxonomy", ranks joined, where the file has it; and what else it has, which is left out."""
    import h5py

    left = dict[str, list[str]]()
    texts: list[str] = []
    with h5py.File(source.path) as file:
        for axis in ("sample", "observation"):
            group = file.get(f"{axis}/metadata")
            left[axis] = sorted(group) if isinstance(group, h5py.Group) else []
        with contextlib.suppress(*READ_ERRORS):  # what cannot be read is left out, and told
            rows = file["observation/metadata/taxonomy"][:]
            if len(rows) == len(features):
                names = ([t for t in np.atleast_1d(row) if isinstance(t, bytes)] for row in rows)
                texts = ["; ".join(t.decode("utf-8", "replace") for t in row) for row in names]
                left["observation"].remove("taxonomy")
    return dict(zip(features, texts, strict=bool(texts))), _left_out(left["sample"], left["observation"])


def _left_out(of_samples: list[str], of_features: list[str]) -> tuple[str, ...]:
    """What a table says beside its counts and is not read from there."""
    told = []
    if of_samples:
        told.append(f"left out what the table says of its samples ({cut_list(of_samples)}): give it as metadata")
    if of_features:
        told.append(f"left out what the table says of its features ({cut_list(of_features)})")
    return tuple(told)


def _biom1(source: Source) -> FeatureTable:
    text = source.text()
    try:
        found = json.loads(text)
        samples, features = ([str(x["id"]) for x in found[axis]] for axis in ("columns", "rows"))
        shape = tuple(int(n) for n in found["shape"])
        if shape != (len(features), len(samples)):
            raise ValueError(f"its shape is {shape} for {len(features)} rows and {len(samples)} columns")
        if found["matrix_type"] == "dense":
            table = sparse.csr_array(np.array(found["data"], dtype=np.float64).reshape(shape).T)
        else:
            cells = np.array(found["data"], dtype=np.float64).reshape(-1, 3)
            places = cells[:, :2].astype(np.int64)
            if (places != cells[:, :2]).any() or (places < 0).any() or (places >= np.array(shape)).any():
                raise ValueError("a count lies outside of the table")
            if len(np.unique(places, axis=0)) < len(places):
                raise ValueError("a cell has two counts")
            table = sparse.csr_array((cells[:, 2], (places[:, 1], places[:, 0])), shape=shape[::-1])
        lineages = {i: row["metadata"] for i, row in zip(features, found["rows"], strict=True) if row.get("metadata")}
        texts = {i: _lineage(meta.get("taxonomy")) for i, meta in lineages.items() if meta.get("taxonomy")}
        of_samples = sorted({name for column in found["columns"] for name in column.get("metadata") or ()})
        of_features = sorted({name for meta in lineages.values() for name in meta} - {"taxonomy"})
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        raise FormatError(
            f"{source.name} cannot be read as BIOM 1.0 ({first_line(error)}). Expected JSON with rows, columns, shape and data. Export it "
            "again, or convert it with `biom convert --to-hdf5`."
        ) from error
    refuse_duplicates(pd.Index(samples), "sample")
    told = _left_out(of_samples, of_features)
    return FeatureTable(
        counted(table, samples, features), samples, features, "BIOM 1.0", _no_metadata(samples), texts, told
    )


def _lineage(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


# -- text -------------------------------------------------------------------------------------------------------------


def _text(source: Source, sequence_ids: frozenset[str]) -> FeatureTable:
    """TSV or CSV in either orientation; DADA2's `write.table` and `write.csv` too."""
    text = source.text()
    separator, body = _body(source, text)
    header, rows = _rows(source, body, separator)
    width = len(header)
    if width < 2:
        raise FormatError(
            f"{source.name} has one column. Expected ids and counts, separated by tabs or commas. Export it again as TSV."
        )
    first = next(rows, None)
    if first is None:
        raise FormatError(
            f"{source.name} has a header and no rows. Expected a feature table, one row per sample or feature. Export it again."
        )
    if len(first) == width + 1:  # R's write.table names the columns and not the row names
        header, width = ["", *header], width + 1
    elif len(first) == width and all(map(DNA_ID.fullmatch, header)):
        raise FormatError(
            f"{source.name} has DNA above all its columns ({cut_list(header, 1)}), the first too, and so no sample ids. Expected them "
            "in the first column. Write the row names: in R, `write.csv(seqtab, row.names = TRUE)`."
        )
    lineage = next((k for k, name in enumerate(header) if k and name.strip().lower() in LINEAGE), None)
    columns = [k for k in range(1, width) if k != lineage]
    labels = [header[k].strip() for k in columns]
    names, lineages, table = _quickly(body, separator, header, lineage) or _row_by_row(
        source, itertools.chain([first], rows), header, lineage
    )
    by_sample = _rows_are_samples(source, names, labels, header[0], sequence_ids)
    samples, features = (names, labels) if by_sample else (labels, names)
    refuse_duplicates(pd.Index(samples), "sample")
    table = sparse.csr_array(table if by_sample else table.T)
    kept = {} if by_sample else lineages
    sums = [i for i in samples if i.lower() in ("total", "totals", "sum")]
    told = (f"a sample is called {sums[0]!r}: leave it out if it is a sum",) if sums else ()
    return FeatureTable(counted(table, samples, features), samples, features, "text", _no_metadata(samples), kept, told)


def _body(source: Source, text: str) -> tuple[str, str]:
    """The separator, and the text from the header on: comments above it are passed over, and a header may begin with `#` too."""
    all_lines = text.split("\n")
    lines = [k for k, line in enumerate(all_lines) if line.strip()]
    if not lines:
        raise FormatError(f"{source.name} holds no text. Expected a feature table. Export it again.")
    first = next((k for k in lines if not all_lines[k].startswith("#")), None)
    above = [k for k in lines if first is None or k < first]
    model = all_lines[above[-1] if first is None else first]
    separator = next((s for s in "\t,;" if s in model), "\t")
    fields = model.count(separator)
    if above and separator in all_lines[above[-1]] and all_lines[above[-1]].count(separator) == fields:
        first = above[-1]  # `#OTU ID<tab>s1<tab>s2`
    if first is None:
        raise FormatError(f"{source.name} holds nothing but comments. Expected a feature table. Export it again.")
    if separator not in model and len(model.split()) >= 2:
        raise FormatError(
            f"{source.name} is separated by spaces, as R's `write.table` does by default. Expected tabs, commas or semicolons. Write it "
            "with `sep = '\\t', col.names = NA`."
        )
    return separator, "\n".join(all_lines[first:])


def _rows(source: Source, body: str, separator: str) -> tuple[list[str], Iterator[list[str]]]:
    """The header's fields, and the rows below it."""

    def rows() -> Iterator[list[str]]:
        try:
            lines = csv.reader(io.StringIO(body, newline=""), delimiter=separator, strict=True)
            yield from (row for row in lines if row)
        except csv.Error as error:
            raise FormatError(
                f"{source.name} cannot be read as a table ({first_line(error)}). Expected fields separated by tabs or commas, with quotes "
                "that are closed. Export it again."
            ) from error

    found = rows()
    return next(found), found


ODD = (ValueError, OverflowError, pd.errors.ParserError, pd.errors.ParserWarning)
"""What pandas says of a text that is not a plain table of numbers."""
Rows = tuple[list[str], dict[str, str], sparse.csr_array]


def _quickly(body: str, separator: str, header: list[str], lineage: int | None) -> Rows | None:
    """Ids, lineages and counts by pandas' parser; None where anything is odd, for `_row_by_row` to say what."""
    if any(word in body for word in ("True", "TRUE", "true", "False", "FALSE", "false")):
        return None  # which pandas would take for 1 and 0
    width = len(header)
    kinds: defaultdict[int, type] = defaultdict(lambda: np.float64, {0: str})
    if lineage is not None:
        kinds[lineage] = str
    names: list[str] = []
    lineages: dict[str, str] = {}
    parts = []
    with warnings.catch_warnings(), contextlib.suppress(*ODD):
        warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows too long, which would be cut
        chunks = pd.read_csv(
            io.StringIO(body.partition("\n")[2]),
            sep=separator,
            header=None,
            names=range(width),
            index_col=False,
            dtype=kinds,
            na_filter=False,
            low_memory=False,
            chunksize=max(1, CELLS_AT_ONCE // width),
        )
        for chunk in chunks:
            ids = chunk[0].str.strip().tolist()
            if lineage is not None:
                lineages |= dict(zip(ids, chunk[lineage], strict=True))
            cells = chunk.drop(columns=[0] if lineage is None else [0, lineage])
            if (cells.dtypes != np.float64).any() or len(not_counts(cells.to_numpy().ravel())):
                return None
            values = cells.to_numpy()
            names += ids
            parts.append(sparse.csr_array(values.astype(np.int64)))
        return (names, lineages, sparse.csr_array(sparse.vstack(parts, format="csr"))) if parts else None
    return None


def _row_by_row(source: Source, rows: Iterable[list[str]], header: list[str], lineage: int | None) -> Rows:
    """The same, slower, with the row and column of whatever cannot be read."""
    columns = [k for k in range(1, len(header)) if k != lineage]
    names, lineages, counts = [], {}, list[tuple[Ints, Ints]]()
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise FormatError(
                f"{source.name} has {len(row)} fields in row {number} below its header and {len(header)} in the header. Expected as many. "
                "A row may be cut off, or the file not a feature table."
            )
        names.append(row[0].strip())
        if lineage is not None:
            lineages[names[-1]] = row[lineage]
        counts.append(_counts_of(source, row, columns, header))
    offsets = np.concatenate([[0], np.cumsum([len(places) for places, _ in counts])])
    places, values = (np.concatenate(side) for side in zip(*counts, strict=True))
    return names, lineages, sparse.csr_array((values, places, offsets), shape=(len(names), len(columns)))


def _counts_of(source: Source, row: list[str], columns: list[int], header: list[str]) -> tuple[Ints, Ints]:
    """Places and values of one row's counts; zeros are left out."""
    wrong = next((k for k in columns if not PLAIN.fullmatch(row[k])), None)
    if wrong is not None:
        raise FormatError(
            f"{source.name} has {row[wrong][:40]!r} in row {cut_list([row[0]])}, column {cut_list([header[wrong]])}. Expected a count. "
            "Leave only ids and counts in the table (a column `taxonomy` may stay); 0 where nothing was found."
        )
    values = np.array([row[k] for k in columns], dtype=np.float64)
    bad = not_counts(values)
    if len(bad):
        column = header[columns[int(bad[0])]]
        features_below = header[0].strip().lower().lstrip("#") in CORNERS or bool(DNA_ID.fullmatch(row[0].strip()))
        sample, asv = (column, row[0]) if features_below else (row[0], column)
        raise StudyError(what_is_not_counted(values, bad, sample, asv))
    places = np.flatnonzero(values)
    return places, values[places].astype(np.int64)


def _rows_are_samples(source: Source, rows: list[str], columns: list[str], corner: str, known: frozenset[str]) -> bool:
    """Which axis holds the samples: the one that is neither DNA nor named among the sequences given."""
    given = [sum(i in known for i in ids) / max(1, len(ids)) for ids in (rows, columns)]
    if max(given) > 0.5 and given[0] != given[1]:
        return given[1] > given[0]
    if corner.strip().lower().lstrip("#") in CORNERS:
        return False
    dna = [sum(bool(DNA_ID.fullmatch(i)) for i in ids) / max(1, len(ids)) > 0.5 for ids in (rows, columns)]
    if all(dna):  # samples may be named by barcodes, which are shorter than any ASV
        lengths = [float(np.median([len(i) for i in ids])) for ids in (rows, columns)]
        dna = [length > min(lengths) for length in lengths]
    if any(dna):
        return dna[1]
    raise FormatError(
        f"Neither the rows ({cut_list(rows, 2)}) nor the columns ({cut_list(columns, 2)}) of {source.name} are known to be features. "
        "Expected DNA as ids on one axis, or `#OTU ID` as the first header field. For hashed ids give their sequences: "
        "`aam.read_study(..., sequences='rep-seqs.fasta')` (`--sequences`)."
    )


# -- AnnData ----------------------------------------------------------------------------------------------------------


def _anndata(source: Source) -> FeatureTable:
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
            found = anndata.read_h5ad(source.path)
        if found.X is None:
            raise ValueError("it has no X")
        table = sparse.csr_array(found.X)
        not_counts(table.data)  # of a type that counts can have
        samples, features = list(map(str, found.obs_names)), list(map(str, found.var_names))
        metadata = found.obs.copy().set_axis(pd.Index(samples, dtype=str, name="sample_id"), axis=0)
    except Exception as error:  # anndata wraps what h5py raises in kinds of its own
        raise FormatError(
            f"{source.name} cannot be read as AnnData ({first_line(error)}). Expected a whole `.h5ad` with counts in X, samples in obs and "
            "ASVs in var. Write it again with `adata.write_h5ad(...)`."
        ) from error
    refuse_duplicates(pd.Index(samples), "sample")
    told = _left_out([], [str(c) for c in found.var.columns])
    return FeatureTable(counted(table, samples, features), samples, features, "AnnData", metadata, {}, told)


TRY_OUT = """
import h5py, sys
def look(name, found):
    list(found.attrs.items())
    if isinstance(found, h5py.Dataset) and found.dtype.kind in "OSV":
        found[()]
with h5py.File(sys.argv[1]) as file:
    look("/", file)
    file.visititems(look)
"""
"""Reads names and attributes, in which the HDF5 library crashes or loops where some bytes of the file are damaged."""


def _try_out(source: Source) -> None:
    """Read a file in a process of its own first, and refuse it where that one crashes or does not end."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", TRY_OUT, source.path], capture_output=True, timeout=TRY_OUT_SECONDS
        )
        crashed = done.returncode < 0
    except subprocess.TimeoutExpired:
        crashed = True
    if crashed:
        raise FormatError(
            f"{source.name} makes the HDF5 library crash or never end. Expected a whole `.h5ad`. It is damaged: copy or write it again."
        )


# -- counts -----------------------------------------------------------------------------------------------------------


def counted(table: Any, sample_ids: Ids, feature_ids: Ids) -> sparse.csr_array:
    """The table as canonical CSR of int64, refused (`StudyError`) where a count is not a whole number >= 0."""
    table = sparse.csr_array(table)
    bad = not_counts(table.data)
    if len(bad):
        row = int(np.searchsorted(table.indptr, bad[0], side="right") - 1)
        raise StudyError(what_is_not_counted(table.data, bad, sample_ids[row], feature_ids[int(table.indices[bad[0]])]))
    canonical = sparse.csr_array(table.astype(np.int64), copy=True)
    canonical.sum_duplicates()
    canonical.eliminate_zeros()
    canonical.sort_indices()
    return canonical


def _no_metadata(samples: list[str]) -> pd.DataFrame:
    return pd.DataFrame(index=pd.Index(samples, dtype=str, name="sample_id"))
