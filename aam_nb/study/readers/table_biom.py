"""Feature tables in BIOM: 2.1 (HDF5), 1.0 (JSON), and the `biom.Table` of the package biom-format."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.config import count_noun, cut_repr
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.readers.archives import Source, first_line
from aam_nb.study.readers.checks import as_counts, refuse_duplicates
from aam_nb.study.readers.columns import convert_cells, guess
from aam_nb.study.readers.disk import READ_ERRORS, DiskTable, damaged
from aam_nb.study.readers.feature_table import FeatureTable, list_left_out, no_metadata
from aam_nb.study.readers.table_lineages import join_lineage, lineage_keys

if TYPE_CHECKING:
    import biom

DAMAGES = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
)
"""What is raised where JSON is damaged, or is not of BIOM."""


# -- 2.1 --------------------------------------------------------------------------------------------------------------


def read_biom2(source: Source, *, lazy: bool) -> FeatureTable:
    """A BIOM 2.1 file; with `lazy` its counts stay on disk."""
    table, samples, features = DiskTable.open(source.path, source.name)
    lineages, notes = _read_lineages(source, features)
    counts = table if lazy else table[:]
    _refuse_unlike_halves(source, counts)
    return FeatureTable(counts, samples, features, "BIOM 2.1", no_metadata(samples), lineages, notes)


def _refuse_unlike_halves(source: Source, counts: sparse.csr_array | DiskTable) -> None:
    """Refuse (`FormatError`) a file whose counts by observation are not those by sample: by their number, and in memory by the reads of
    each ASV."""
    import h5py

    try:
        with h5py.File(source.path) as file:
            matrix = file.get("observation/matrix")
            if matrix is None:  # which only the standard asks for
                return
            stored, others = file["sample/matrix/data"].shape[0], matrix["data"].shape[0]
            cause = f"{others:,} counts by observation and {stored:,} by sample" if stored != others else ""
            if not cause and not isinstance(counts, DiskTable):
                offsets = matrix["indptr"][:]
                if offsets.dtype.kind not in "iu":
                    raise ValueError(f"observation/matrix/indptr is of type {offsets.dtype}")
                offsets = offsets.astype(np.int64)
                with np.errstate(invalid="ignore", over="ignore"):  # infinite ones are unlike any
                    running = np.concatenate([[0.0], np.cumsum(matrix["data"][:], dtype=np.float64)])
                    reads = running[offsets[1:]] - running[offsets[:-1]]
                unlike = np.flatnonzero(reads != np.asarray(counts.sum(axis=0)).ravel())
                if len(unlike):
                    cause = f"other reads by observation than by sample in {count_noun(len(unlike), 'ASV')} (place {unlike[0] + 1})"
    except READ_ERRORS as error:
        raise damaged(source.name, error) from error
    if cause:
        raise FormatError(
            f"{source.name} has {cause}. Expected the same counts in both of its matrices. One half may have been edited alone: export the "
            "table again."
        )


def _read_lineages(source: Source, features: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The observation metadata "taxonomy", ranks joined, where the file has it; and notes of what else it has, which is left out."""
    import h5py

    left_out = dict[str, list[str]]()
    lineages: dict[str, str] = {}
    with h5py.File(source.path) as file:
        for axis in ("sample", "observation"):
            group = file.get(f"{axis}/metadata")
            left_out[axis] = sorted(group) if isinstance(group, h5py.Group) else []
        with contextlib.suppress(*READ_ERRORS):  # what cannot be read is left out, and noted
            keys = lineage_keys(left_out["observation"])
            columns = {key: _read_texts(file[f"observation/metadata/{key}"]) for key in keys}
            if keys and all(len(texts) == len(features) for texts in columns.values()):
                entries = ({key: columns[key][k] for key in keys} for k in range(len(features)))
                lineages = {i: join_lineage(keys, entry) for i, entry in zip(features, entries, strict=True)}
                left_out["observation"] = [key for key in left_out["observation"] if key not in keys]
    return lineages, list_left_out(left_out["sample"], left_out["observation"])


def _read_texts(dataset: Any) -> list[str]:
    """The text of each feature; of several, as of the ranks of a lineage, they are divided by semicolons."""
    names = ([t for t in np.atleast_1d(row) if isinstance(t, bytes)] for row in dataset[:])
    return ["; ".join(t.decode("utf-8", "replace") for t in row) for row in names]


# -- 1.0 --------------------------------------------------------------------------------------------------------------


def read_biom1(source: Source) -> FeatureTable:
    """A BIOM 1.0 file, parsed by biom-format once it is known to be whole: that package would cut floats to integers, and sum or drop
    counts that have no cell of their own."""
    from biom import Table
    from biom.exception import BiomException

    text = source.text()
    try:
        document = json.loads(text)
        samples, features = (_read_ids(document[axis], axis) for axis in ("columns", "rows"))
        _refuse_bad_cells(document, (len(features), len(samples)))
        refuse_duplicates(pd.Index(samples), "sample")
        if not samples or not features:  # which is refused there
            return FeatureTable(
                sparse.csr_array((len(samples), len(features))), samples, features, "BIOM 1.0", no_metadata(samples)
            )
        # Features of the same name may be summed later, so biom-format gets numbers for names.
        entries = {
            axis: [{"id": str(k), "metadata": entry.get("metadata")} for k, entry in enumerate(document[axis])]
            for axis in ("columns", "rows")
        }
        defaults = {"type": "OTU table", "generated_by": "", "date": None}
        no_counts = sparse.coo_matrix((len(features), len(samples)))
        table = Table.from_json(
            defaults | document | entries | {"matrix_element_type": "float"},
            data_pump=None if document["data"] else no_counts,
        )
        return _as_feature_table(table, samples, features, "BIOM 1.0")
    except StudyError:
        raise
    except (*DAMAGES, BiomException) as error:
        raise FormatError(
            f"{source.name} cannot be read as BIOM 1.0 ({first_line(error)}). Expected JSON with rows, columns, shape and data. Export it "
            "again, or convert it with `biom convert --to-hdf5`."
        ) from error


def _read_ids(entries: list[Any], axis: str) -> list[str]:
    """The ids of an axis, refused (`ValueError`) where one is null, empty or no text; whole numbers become text."""
    ids = [entry["id"] for entry in entries]
    for place, value in enumerate(ids, start=1):
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
            given = "null" if value is None else cut_repr(value, 40)
            raise ValueError(
                f"the id of {'sample' if axis == 'columns' else 'observation'} {place} of {len(ids)} is {given}, not text"
            )
    return [str(value) for value in ids]


def _refuse_bad_cells(document: dict[str, Any], shape: tuple[int, int]) -> None:
    """Refuse a matrix (`ValueError`) whose cells are not in the table, or not each once."""
    declared = tuple(int(n) for n in document["shape"])
    if declared != shape:
        raise ValueError(f"its shape is {declared} for {shape[0]} rows and {shape[1]} columns")
    values = np.array(document["data"], dtype=np.float64)
    if document["matrix_type"] == "dense":
        values.reshape(shape)
        return
    cells = values.reshape(-1, 3)
    places = cells[:, :2]
    if not ((places == np.floor(places)) & (places >= 0) & (places < np.array(shape))).all():
        raise ValueError("a count lies outside of the table")
    positions = places.astype(np.int64)
    if len(np.unique(positions, axis=0)) < len(positions):
        raise ValueError("a cell has two counts")


# -- in memory --------------------------------------------------------------------------------------------------------


def convert_biom_table(table: biom.Table, name: str) -> FeatureTable:
    """A `biom.Table`; what it says of its samples is metadata, whose text is read as that of a metadata file."""
    samples, features = ([str(i) for i in table.ids(axis=axis)] for axis in ("sample", "observation"))
    return _as_feature_table(table, samples, features, "BIOM", metadata=_read_metadata(table, samples, name))


def _as_feature_table(
    table: biom.Table,
    samples: list[str],
    features: list[str],
    format_name: str,
    *,
    metadata: pd.DataFrame | None = None,
) -> FeatureTable:
    """The counts and the taxonomy of a `biom.Table`; what else it says is noted as left out."""
    of_samples, of_features = (table.metadata(axis=axis) or () for axis in ("sample", "observation"))
    entries = {i: dict(entry) for i, entry in zip(features, of_features, strict=bool(of_features)) if entry}
    keys = lineage_keys(dict.fromkeys(key for entry in entries.values() for key in entry if isinstance(key, str)))
    lineages = {i: lineage for i, entry in entries.items() if keys and (lineage := join_lineage(keys, entry))}
    notes = list_left_out(
        sorted({key for entry in of_samples for key in entry or ()}) if metadata is None else [],
        sorted({key for entry in entries.values() for key in entry} - {*keys}),
    )
    counts = as_counts(table.matrix_data.T, samples, features)
    rows = no_metadata(samples) if metadata is None else metadata
    return FeatureTable(counts, samples, features, format_name, rows, lineages, notes)


def _read_metadata(table: biom.Table, samples: list[str], name: str) -> pd.DataFrame:
    """What a `biom.Table` says of its samples."""
    entries = [dict(entry or {}) for entry in table.metadata(axis="sample") or ()]
    index = no_metadata(samples).index
    columns: dict[str, pd.Series] = {}
    for key in dict.fromkeys(key for entry in entries for key in entry):
        values = [entry.get(key) for entry in entries]
        if all(value is None or isinstance(value, str) for value in values):
            cells = [value or "" for value in values]
            columns[str(key)] = convert_cells(cells, index, guess(cells)[0], str(key), name)
        else:
            columns[str(key)] = pd.Series(values, index=index).infer_objects()
    return pd.DataFrame(columns, index=index)
