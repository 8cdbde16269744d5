"""Files out: BIOM 2.1 by ranges of samples, and the folder of a whole study. A file is never half there."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.config import count_noun, cut_list, cut_repr, to_path, to_utf8
from aam_nb.study.atomic import recover_folder, whole_file, whole_folder
from aam_nb.study.base import StudyBase
from aam_nb.study.csv_files import write_csv
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.lock import lock_folder
from aam_nb.study.readers.disk import DiskTable
from aam_nb.study.readers.metadata import read_metadata, write_metadata
from aam_nb.study.readers.taxonomy import RANKS, read_taxonomy
from aam_nb.study.splits import Split
from aam_nb.study.tree import Tree
from aam_nb.study.truth import Truth

ENTRIES_IN_MEMORY = 2**24
"""Counts held in memory while a table on disk is turned from samples to ASVs."""
CHUNK = 8192
"""Counts that are packed together: a sample that is read by itself costs no more than its chunk."""
FORMAT_VERSION = 1
"""Raised when a study folder changes so that older code cannot read it."""
SAVED = "study.json"
"""The file that makes a folder a saved study."""
OWNED = (SAVED, "table.biom", "metadata.tsv", "tree.nwk", "taxonomy.tsv")
"""What saving a study replaces, or removes where the study has none; all else in its folder is kept."""
NUMBER = re.compile(r"[Uu]?[Ii]nt(?:8|16|32|64)|float(?:16|32|64|96|128)")
"""Types of numbers, which a column has again once it is read."""
KIND = re.compile(
    rf"{NUMBER.pattern}|datetime64\[(?:s|ms|us|ns)\]|bool(?:ean)?|object|str|category|Float(?:32|64)|string(?:\[\w+\])?|"
    r"[\w, ]+(?:\[[\w, ]+\])*\[pyarrow\]|Sparse\[.+\]"
)
"""Types that a column of metadata may have had."""


def write_biom(study: StudyBase, path: str | Path) -> Path:
    """Write a feature table as BIOM 2.1, with the taxonomy where there is one. The counts of a lazy study pass through in blocks.

    Returns
    -------
    The path.

    Raises
    ------
    StudyError
        A taxon has a semicolon in its name, which divides the ranks of a lineage.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> path = aam.write_biom(study, "table.biom")
    >>> aam.read_study(path).content_hash() == aam.read_study(path, lazy=True).content_hash()
    True
    """
    import h5py

    if study.taxonomy is not None:
        refuse_semicolons(study.taxonomy)
    with whole_file(path) as fresh:
        write_counts(study, fresh, study.sample_ids, study.asv_ids)
        if study.taxonomy is not None:
            ranks = study.taxonomy[[r for r in RANKS if r in study.taxonomy]].astype(object)
            text = ranks.where(ranks.notna(), "").to_numpy()
            with h5py.File(fresh, "a") as file:
                file["observation/metadata"].create_dataset("taxonomy", data=text, dtype=h5py.string_dtype())
    return Path(path)


def write_counts(study: StudyBase, path: Path, sample_ids: Iterable[str], asv_ids: Iterable[str]) -> None:
    """Write a study's counts alone as BIOM 2.1, in blocks, under whatever names.

    References
    ----------
    https://biom-format.org/documentation/format_versions/biom-2.1.html
    """
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs.update(
            {
                "id": "No Table ID",
                "type": "OTU table",
                "format-url": "http://biom-format.org",
                "format-version": (2, 1),
                "generated-by": "aam_nb",
                "creation-date": datetime.now(UTC).replace(tzinfo=None).isoformat(),
                "shape": (study.num_asvs, study.num_samples),
                "nnz": int(study.richness.sum()),
            }
        )
        for axis, ids in (("observation", asv_ids), ("sample", sample_ids)):
            group = file.create_group(axis)
            group.create_dataset("ids", data=list(ids), dtype=h5py.string_dtype(), compression="gzip")
            group.create_group("metadata")
            group.create_group("group-metadata")
        _write_by_sample(study, file["sample"])
        _write_by_asv(study, file["observation"])


def refuse_semicolons(taxonomy: pd.DataFrame) -> None:
    """Refuse names of taxa (`StudyError`) with the mark that divides the ranks of a lineage."""
    ranks = taxonomy[[r for r in RANKS if r in taxonomy]]
    odd = [name for name in pd.unique(ranks.to_numpy(dtype=object).ravel()) if ";" in str(name)]
    if odd:
        raise StudyError(
            f"{count_noun(len(odd), 'taxon has', 'taxa have')} a semicolon in the name ({cut_list(map(repr, odd))}). Expected none: it "
            "divides the ranks of a lineage. Rename them in `study.taxonomy`."
        )


def _matrix(group: Any, offsets: Any) -> tuple[Any, Any]:
    """Empty datasets for the counts and their places; the offsets are written."""
    matrix = group.create_group("matrix")
    kind = np.int32 if offsets[-1] < 2**31 else np.int64
    matrix.create_dataset("indptr", data=offsets.astype(kind), compression="gzip")
    how: dict[str, Any] = {"shape": (int(offsets[-1]),)}
    if offsets[-1]:
        how |= {"compression": "gzip", "chunks": (min(CHUNK, int(offsets[-1])),)}
    return matrix.create_dataset("data", dtype=np.float64, **how), matrix.create_dataset(
        "indices", dtype=np.int32, **how
    )


def _write_by_sample(study: StudyBase, group: Any) -> None:
    offsets = np.concatenate([[0], np.cumsum(study.richness.to_numpy())])
    data, indices = _matrix(group, offsets)
    for part, table in study.blocks():
        here = slice(int(offsets[part.start]), int(offsets[part.stop]))
        data[here], indices[here] = table.data, table.indices


def _write_by_asv(study: StudyBase, group: Any) -> None:
    """The table turned: in one pass where it fits in memory, else in one for each range of ASVs that does."""
    offsets = np.concatenate([[0], np.cumsum(study.prevalence.to_numpy())])
    data, indices = _matrix(group, offsets)
    start = 0
    while start < study.num_asvs:
        stop = max(start + 1, int(np.searchsorted(offsets, offsets[start] + ENTRIES_IN_MEMORY, side="right")) - 1)
        asvs, samples, counts = [], [], []
        for part, table in study.blocks():
            row, column = table.nonzero()
            inside = (column >= start) & (column < stop)
            asvs.append(column[inside])
            samples.append(row[inside] + part.start)
            counts.append(table.data[inside])
        order = np.argsort(np.concatenate(asvs), kind="stable")
        here = slice(int(offsets[start]), int(offsets[stop]))
        data[here], indices[here] = np.concatenate(counts)[order], np.concatenate(samples)[order]
        start = stop


def write_folder(study: StudyBase, folder: str | Path) -> Path:
    """What `Study.save` does."""
    folder = Path(os.path.realpath(to_path(folder, "a folder to write")))
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / SAVED).is_file()):
        raise StudyError(
            f"{folder} exists and is not a saved study, so it is left as it is. Expected a new or empty folder, or an earlier study. "
            "Choose another name."
        )
    with lock_folder(folder), whole_folder(folder, OWNED) as fresh:
        if study.taxonomy is not None:
            _write_taxonomy(study.taxonomy, fresh / "taxonomy.tsv")
        write_biom(study, fresh / "table.biom")
        if study.metadata.shape[1]:
            write_metadata(study.metadata, fresh / "metadata.tsv")
        if study.tree is not None:
            (fresh / "tree.nwk").write_text(study.tree.to_newick() + "\n", encoding="utf-8")
        text = to_utf8(json.dumps(_record(study) | {"files_sha256": _digests(fresh)}, indent=1, ensure_ascii=False))
        (fresh / SAVED).write_text(text + "\n", encoding="utf-8")
    return folder


def _record(study: StudyBase) -> dict[str, Any]:
    """What the other files do not hold."""
    truth = study.truth
    return {
        "format_version": FORMAT_VERSION,
        "content_sha256": study.content_hash(),
        "provenance": list(study.provenance),
        "split": asdict(study.split_info) if study.split_info else None,
        "columns": {str(c): str(study.metadata[c].dtype) for c in study.metadata.columns},
        "taxonomy": None if study.taxonomy is None else [str(c) for c in study.taxonomy.columns],
        "truth": truth and {"planted": truth.planted.to_dict(orient="list"), "best": truth.best.to_dict(orient="list")},
    }


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that `content_sha256` does not cover, by their names."""
    files = [folder / name for name in ("metadata.tsv", "taxonomy.tsv")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def _write_taxonomy(taxonomy: pd.DataFrame, path: Path) -> None:
    """QIIME 2's table: lineages with prefixes, and the confidence where it is known. It is read back before it is good."""
    allowed = [*RANKS, "confidence"]
    others = [c for c in taxonomy.columns if c not in allowed]
    if others:
        raise StudyError(
            f"The taxonomy has columns {cut_list(map(repr, others))}, which no file of lineages holds. Expected {', '.join(allowed)}. Drop "
            f"them: `study.taxonomy.drop(columns={others[:5]!r})`."
        )
    ranks = [r for r in RANKS if r in taxonomy]
    refuse_semicolons(taxonomy)
    names = taxonomy[ranks].astype(object).where(taxonomy[ranks].notna(), "")
    texts = names.apply(lambda c: c.name[0] + "__" + c.astype(str))
    frame = pd.DataFrame({"Taxon": texts.agg("; ".join, axis=1)}, index=taxonomy.index.rename("Feature ID"))
    if "confidence" in taxonomy:
        frame["Confidence"] = taxonomy["confidence"]
    write_csv(frame, path, separator="\t")
    _refuse_unlike(names, path)


def _refuse_unlike(names: pd.DataFrame, path: Path) -> None:
    """Refuse names of taxa that would not be read back as they are."""
    try:
        back = read_taxonomy(path).reindex(names.index)
    except FormatError as error:
        reason = str(error).replace(str(path), path.name)
        raise StudyError(f"The taxonomy cannot be written so that it can be read again: {reason}") from error
    for rank in names:
        again = back[rank].astype(object).where(back[rank].notna(), "") if rank in back else pd.Series("", names.index)
        unlike = (again != names[rank]).to_numpy()
        if unlike.any():
            asv, name, read = names.index[unlike][0], names[rank][unlike].iloc[0], again[unlike].iloc[0]
            raise StudyError(
                f"The {rank} {cut_repr(name, 40)} of {cut_list([asv])} would be read back as {cut_repr(read, 40) if read else 'missing'}. "
                "Expected names without blanks at their ends, quotes around them or words for no name. Rename it in `study.taxonomy`, or "
                "set it to None."
            )


def read_folder(folder: str | Path, *, lazy: bool) -> dict[str, Any]:
    """The parts of the study that `write_folder` wrote, by their names in `Study`, and `content_sha256`."""
    folder = to_path(folder, "a saved study")
    recover_folder(folder)
    if not (folder / SAVED).is_file():
        raise FileNotFoundError(
            f"{folder} is not a saved study: it has no {SAVED}. Expected what `study.save(folder)` left. "
            "Check the path."
        )
    record = _read_record(folder / SAVED)
    table, samples, asvs = DiskTable.open(_there(folder / "table.biom"), str(folder / "table.biom"))
    parts: dict[str, Any] = {
        "table": table if lazy else table[:],
        "sample_ids": pd.Index(samples),
        "asv_ids": pd.Index(asvs),
        "metadata": pd.DataFrame(index=pd.Index(samples, dtype=str)),
        **{name: record[name] for name in ("provenance", "split_info", "truth", "content_sha256")},
    }
    if record["columns"] or (folder / "metadata.tsv").is_file():
        frame = read_metadata(_there(folder / "metadata.tsv"))
        frame = _aligned(frame, samples, folder / "metadata.tsv")
        try:
            parts["metadata"] = _as_saved(frame, record["columns"])
        except (ValueError, TypeError, ArithmeticError) as error:
            raise _damaged(folder / SAVED, str(error)) from error
    if (folder / "tree.nwk").is_file():
        parts["tree"] = Tree.read(folder / "tree.nwk")
    if record["taxonomy"] or (folder / "taxonomy.tsv").is_file():
        frame = _aligned(read_taxonomy(_there(folder / "taxonomy.tsv")), asvs, folder / "taxonomy.tsv")
        # Ranks at which no ASV has a name are not read back; nor is a rank with names dropped that the record does not have.
        more = [c for c in frame if frame[c].notna().any()]
        parts["taxonomy"] = frame.reindex(columns=list(dict.fromkeys([*record["taxonomy"], *more])))
    saved, found = record["files_sha256"], _digests(folder)
    changed = sorted(name for name in saved.keys() & found.keys() if saved[name] != found[name])
    parts["provenance"] += tuple(f"{name} was changed since the study was saved" for name in changed)
    return parts


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file. Expected all files that `study.save(folder)` wrote. Restore it from a copy, or read the files that "
            "are there with `aam.read_study`."
        )
    return path


# -- study.json -------------------------------------------------------------------------------------------------------


def _damaged(path: Path, cause: str) -> FormatError:
    return FormatError(
        f"{path} cannot be read: {cause.rstrip('.')}. Expected what `study.save(folder)` wrote. Restore it from a copy, or read the files "
        "beside it with `aam.read_study`."
    )


def _read_record(path: Path) -> dict[str, Any]:
    """What `_record` wrote, checked: as it was, but for the split and the truth, which are objects again."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"it holds {cut_repr(record, 40)}, not an object")
        version: Any = record.get("format_version")
        _check(type(version) is int and version >= 1, "format_version", version, "a whole number of at least 1")
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{path.parent} has format version {cut_repr(version, 40)}. This aam_nb reads up to {FORMAT_VERSION}. Upgrade with `pip "
            "install -U aam-nb`."
        )
    try:
        fields: dict[str, Any] = {
            name: record.get(name) for name in ("content_sha256", "provenance", "columns", "taxonomy")
        }
        _check(isinstance(fields["content_sha256"], str), "content_sha256", fields["content_sha256"], "text")
        _check(_is_texts(fields["provenance"]), "provenance", fields["provenance"], "a list of texts")
        columns, ranks = fields["columns"], fields["taxonomy"]
        _check(
            isinstance(columns, dict) and _is_texts(list(columns.values())), "columns", columns, "types by column name"
        )
        for name, kind in columns.items():
            _check(
                KIND.fullmatch(kind) is not None,
                f"the type of column {cut_repr(name, 40)}",
                kind,
                "one of pandas' types",
            )
        allowed = [*RANKS, "confidence"]
        _check(
            ranks is None or (_is_texts(ranks) and set(ranks) <= {*allowed}),
            "taxonomy",
            ranks,
            f"null or some of {', '.join(allowed)}",
        )
        digests = record.get("files_sha256", {})  # studies saved before have none
        _check(
            isinstance(digests, dict) and _is_texts(list(digests.values())),
            "files_sha256",
            digests,
            "digests by file name",
        )
        split, truth = (_object(name, record.get(name)) for name in ("split", "truth"))
        return fields | {
            "provenance": tuple(fields["provenance"]),
            "taxonomy": ranks or [],
            "files_sha256": digests,
            "split_info": split and _split(split),
            "truth": truth and _truth(truth),
        }
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _check(ok: bool, name: str, value: object, expected: str) -> None:
    if not ok:
        raise ValueError(f"{name} is {cut_repr(value, 40)}, not {expected}")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _object(name: str, value: Any) -> dict[str, Any] | None:
    _check(value is None or (isinstance(value, dict) and bool(value)), name, value, "null or an object with its fields")
    return value


def _is_json_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _split(values: dict[str, Any]) -> Split:
    """The split that the record tells of."""
    expected: dict[str, tuple[Callable[[Any], bool], str]] = {
        "part": (lambda v: v in ("train", "test"), "'train' or 'test'"),
        "target": (lambda v: v is None or isinstance(v, str), "null or text"),
        "group": (lambda v: v is None or isinstance(v, str), "null or text"),
        "test_size": (lambda v: _is_json_number(v) and 0 < v < 1, "a number between 0 and 1"),
        "seed": (lambda v: type(v) is int and v >= 0, "a whole number of at least 0"),
        "fold": (lambda v: v is None or isinstance(v, str), "null or text"),
    }
    _check(values.keys() == expected.keys(), "the fields of split", [*values], ", ".join(expected))
    for name, (is_right, words) in expected.items():
        _check(is_right(values[name]), f"{name} of split", values[name], words)
    return Split(**values)


def _truth(values: dict[str, Any]) -> Truth:
    """The truth that the record tells of."""
    expected = {"planted": ("target", "asv_id", "clade", "sign"), "best": ("target", "metric", "score")}
    _check(values.keys() == expected.keys(), "the fields of truth", [*values], ", ".join(expected))
    for name, columns in expected.items():
        table = values[name]
        _check(
            isinstance(table, dict)
            and table.keys() >= {*columns}
            and all(isinstance(v, list) for v in table.values())
            and len({len(v) for v in table.values()}) == 1,
            f"{name} of truth",
            table,
            f"lists of one length, {', '.join(columns)}",
        )
        for column, cells in table.items():
            number = column in ("clade", "sign", "score")
            ok = all((_is_json_number(v) and abs(v) < 2**63) or v != v for v in cells) if number else _is_texts(cells)
            _check(ok, f"{column} of {name} of truth", cells, "a list of numbers" if number else "a list of texts")
    return Truth(**{name: pd.DataFrame(table) for name, table in values.items()})


def _aligned(frame: pd.DataFrame, ids: list[str], path: Path) -> pd.DataFrame:
    lost = [i for i in ids if i not in frame.index]
    if lost or len(frame) != len(ids):
        raise FormatError(
            f"{path} has {len(frame)} rows for {len(ids)} ids of the table ({cut_list(lost) or 'none'} missing). Expected what "
            "`study.save` wrote. Restore it from a copy, or read the files with `aam.read_study`."
        )
    return frame.loc[ids]


def _as_saved(frame: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Columns of truth values, whole numbers and dates as they were; text says nothing of their width."""
    types = pd.api.types
    lost = [name for name in columns if name not in frame]
    if lost:
        raise ValueError(f"it tells of columns {cut_list(map(repr, lost))}, which metadata.tsv does not have")
    restored: dict[str, Any] = {}
    for name, kind in columns.items():
        values: Any = frame[name]
        cast: Any
        unlike = f"column {cut_repr(name, 40)} is said to be {kind}, which its values in metadata.tsv are not"
        if kind in ("bool", "boolean"):
            ok = values.isin(["True", "False"]) | (values.isna() & (kind == "boolean"))
            cast = values.map({"True": True, "False": False}).astype(kind) if ok.all() else None
        elif NUMBER.fullmatch(kind) and types.is_numeric_dtype(values):
            with np.errstate(over="raise"):
                cast = values.astype(kind)
            whole = types.is_integer_dtype(cast)
            cast = cast if not whole or cast.eq(values).fillna(True).all() else None
        elif kind.startswith("datetime64") and not types.is_numeric_dtype(values):
            cast = values.astype(kind)
        else:
            cast = None if NUMBER.fullmatch(kind) or kind.startswith("datetime64") else values
        if cast is None:
            raise ValueError(unlike)
        restored[name] = cast
    return frame.assign(**restored)
