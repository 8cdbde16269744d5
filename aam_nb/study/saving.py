"""Files out: BIOM 2.1 by ranges of samples, and the folder of a whole study. A file is never half there."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.config import some
from aam_nb.study.newick import Tree
from aam_nb.study.readers.disk import DiskTable
from aam_nb.study.readers.metadata import read_metadata, write_metadata
from aam_nb.study.readers.sources import FormatError, StudyError
from aam_nb.study.readers.taxonomy import RANKS, read_taxonomy
from aam_nb.study.splits import Split
from aam_nb.study.whole import whole_file, whole_folder

Study = Any
"""`Study` itself saves through this module, so its name cannot be imported here."""

ENTRIES_IN_MEMORY = 2**24
"""Counts held in memory while a table on disk is turned from samples to ASVs."""
CHUNK = 8192
"""Counts that are packed together: a sample that is read by itself costs no more than its chunk."""
FORMAT_VERSION = 1
"""Raised when a study folder changes so that older code cannot read it."""
SAVED = "study.json"
"""The file that makes a folder a saved study."""


def write_biom(study: Study, path: str | Path) -> Path:
    """Write a feature table as BIOM 2.1, with the taxonomy where there is one. The counts of a lazy study pass through in blocks.

    Returns
    -------
    The path.
    """
    import h5py

    with whole_file(path) as fresh, h5py.File(fresh, "w") as file:
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
        for axis, ids in (("observation", study.asv_ids), ("sample", study.sample_ids)):
            group = file.create_group(axis)
            group.create_dataset("ids", data=list(ids), dtype=h5py.string_dtype(), compression="gzip")
            group.create_group("metadata")
            group.create_group("group-metadata")
        if study.taxonomy is not None:
            ranks = [r for r in RANKS if r in study.taxonomy]
            text = study.taxonomy[ranks].astype(object).where(study.taxonomy[ranks].notna(), "").to_numpy()
            file["observation/metadata"].create_dataset("taxonomy", data=text, dtype=h5py.string_dtype())
        _write_by_sample(study, file["sample"])
        _write_by_asv(study, file["observation"])
    return Path(path)


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


def _write_by_sample(study: Study, group: Any) -> None:
    offsets = np.concatenate([[0], np.cumsum(study.richness.to_numpy())])
    data, indices = _matrix(group, offsets)
    for part, table in study.blocks():
        here = slice(int(offsets[part.start]), int(offsets[part.stop]))
        data[here], indices[here] = table.data, table.indices


def _write_by_asv(study: Study, group: Any) -> None:
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


def write_folder(study: Study, folder: str | Path) -> Path:
    """What `Study.save` does."""
    folder = Path(folder).resolve()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / SAVED).is_file()):
        raise StudyError(
            f"{folder} exists and is not a saved study, so it is left as it is. Expected a new or empty folder, or an earlier study. "
            "Choose another name."
        )
    with whole_folder(folder) as fresh:
        write_biom(study, fresh / "table.biom")
        if study.metadata.shape[1]:
            write_metadata(study.metadata, fresh / "metadata.tsv")
        if study.tree is not None:
            (fresh / "tree.nwk").write_text(study.tree.to_newick() + "\n", encoding="utf-8")
        if study.taxonomy is not None:
            _write_taxonomy(study.taxonomy, fresh / "taxonomy.tsv")
        (fresh / SAVED).write_text(json.dumps(_record(study), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def _record(study: Study) -> dict[str, Any]:
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


def _write_taxonomy(taxonomy: pd.DataFrame, path: Path) -> None:
    """QIIME 2's table: lineages with prefixes, and the confidence where it is known."""
    ranks = [r for r in RANKS if r in taxonomy]
    texts = (
        taxonomy[ranks]
        .astype(object)
        .where(taxonomy[ranks].notna(), "")
        .apply(lambda c: c.name[0] + "__" + c.astype(str))
    )
    frame = pd.DataFrame({"Taxon": texts.agg("; ".join, axis=1)}, index=taxonomy.index.rename("Feature ID"))
    if "confidence" in taxonomy:
        frame["Confidence"] = taxonomy["confidence"]
    frame.to_csv(path, sep="\t")


def read_folder(folder: str | Path, *, lazy: bool) -> dict[str, Any]:
    """The parts of the study that `write_folder` wrote, by their names in `Study`."""
    folder = Path(folder)
    if not (folder / SAVED).is_file():
        raise FileNotFoundError(
            f"{folder} is not a saved study: it has no {SAVED}. Expected what `study.save(folder)` left. "
            "Check the path."
        )
    try:
        record = json.loads((folder / SAVED).read_text(encoding="utf-8"))
        version, columns = record["format_version"], record["columns"]
        split = Split(**record["split"]) if record["split"] else None
        provenance = tuple(map(str, record["provenance"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{folder / SAVED} cannot be read ({error}). Expected what `study.save(folder)` wrote. Restore it from a copy, or read the "
            "files beside it with `aam.read_study`."
        ) from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise FormatError(
            f"{folder} has format version {version!r}. This aam_nb reads up to {FORMAT_VERSION}. Upgrade with `pip install -U aam-nb`."
        )
    table, samples, asvs = DiskTable.open(folder / "table.biom", str(folder / "table.biom"))
    parts: dict[str, Any] = {
        "table": table if lazy else table[:],
        "sample_ids": pd.Index(samples),
        "asv_ids": pd.Index(asvs),
        "metadata": pd.DataFrame(index=pd.Index(samples, dtype=str)),
        "provenance": provenance,
        "split_info": split,
    }
    if columns:
        types: Any = {name: "date" for name, kind in columns.items() if kind.startswith("datetime")}
        frame = read_metadata(folder / "metadata.tsv", types=types)
        parts["metadata"] = _aligned(frame, samples, folder / "metadata.tsv").pipe(_as_saved, columns)
    if (folder / "tree.nwk").is_file():
        parts["tree"] = Tree.read(folder / "tree.nwk")
    if record.get("taxonomy"):
        frame = _aligned(read_taxonomy(folder / "taxonomy.tsv"), asvs, folder / "taxonomy.tsv")
        parts["taxonomy"] = frame.reindex(columns=record["taxonomy"])
    return parts | {"truth": record.get("truth"), "content_sha256": record.get("content_sha256")}


def _aligned(frame: pd.DataFrame, ids: list[str], path: Path) -> pd.DataFrame:
    lost = [i for i in ids if i not in frame.index]
    if lost or len(frame) != len(ids):
        raise FormatError(
            f"{path} has {len(frame)} rows for {len(ids)} ids of the table ({some(lost) or 'none'} missing). Expected what "
            "`study.save` wrote. Restore it from a copy, or read the files with `aam.read_study`."
        )
    return frame.loc[ids]


def _as_saved(frame: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Columns of truth values, whole numbers and dates as they were; text says nothing of their width."""
    for name, kind in columns.items():
        if kind == "bool":
            frame = frame.assign(**{name: frame[name] == "True"})
        elif kind.startswith(("int", "uint", "float", "Int", "datetime")):
            frame = frame.assign(**{name: frame[name].astype(kind)})  # type: ignore[call-overload]
    return frame
