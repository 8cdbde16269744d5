"""Files in, files out: BIOM 2.1 feature tables, metadata TSV, Newick trees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.config import UserError, some
from aam_nb.study.newick import Tree
from aam_nb.study.study import Study, StudyError

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "not applicable", "not collected", "not provided"]
"""Metadata entries read as missing."""


class FormatError(UserError, ValueError):
    """A file is not of the format it must have."""


def read_study(table: str | Path, *, metadata: str | Path | None = None, tree: str | Path | None = None) -> Study:
    """Read a feature table with its metadata and tree, and align them once.

    Parameters
    ----------
    table
        BIOM 2.1 (HDF5) of reads, whose observation ids are the ASVs' DNA.
    metadata
        Tab-separated text; the first column holds the sample ids, which stay text (`0012` stays `0012`).
    tree
        Rooted tree in Newick format whose tips are the ASVs' DNA.

    Returns
    -------
    The samples that the table and the metadata share, in the table's order. What fell out is counted in `provenance`.

    Raises
    ------
    FileNotFoundError
        A file does not exist.
    FormatError
        A file is truncated or of another format.
    StudyError
        Ids occur twice or are not DNA, counts are not whole numbers >= 0, or no sample is shared.
    TreeError
        The tree is not rooted or its branch lengths are not lengths.
    """
    study = read_biom(table)
    steps = list(study.provenance)
    if metadata is not None:
        rows = read_metadata(metadata)
        shared = study.sample_ids.isin(rows.index)
        if not shared.any():
            raise StudyError(
                f"None of the {study.num_samples} samples in {table} is in {metadata}. The table has {some(study.sample_ids, 3)}; "
                f"the metadata has {some(rows.index, 3)}. Make the first metadata column hold the table's sample ids."
            )
        kept = study.sample_ids[shared]
        lost, extra = study.sample_ids[~shared], rows.index.difference(study.sample_ids)
        steps.append(
            f"joined {len(kept)} samples with {metadata}; {len(lost)} samples of the table had no metadata"
            + (f" ({some(lost, 3)})" if len(lost) else "")
            + f", {len(extra)} metadata rows had no sample"
        )
        study = replace(
            study, table=study.table[shared], sample_ids=kept, metadata=rows.loc[kept], provenance=tuple(steps)
        )
    if tree is not None:
        parsed = Tree.read(tree)
        missing = parsed.missing(study.asv_ids)
        steps.append(f"read {tree}: {len(parsed.tips)} tips, {len(missing)} of {study.num_asvs} ASVs not among them")
        study = replace(study, tree=parsed, provenance=tuple(steps))
    return study


def read_biom(path: str | Path) -> Study:
    """Read a BIOM 2.1 feature table. Errors as in `read_study`."""
    import h5py

    path = _existing(path, "a BIOM 2.1 feature table")
    if not h5py.is_hdf5(path):
        raise FormatError(
            f"{path} is not BIOM 2.1: it is not an HDF5 file, or it is cut off at the start. Expected HDF5 as written by QIIME 2 or "
            "`biom convert --to-hdf5`. Convert or copy it again."
        )
    from biom import Table
    from biom.exception import TableException

    try:
        with h5py.File(path) as file:
            # biom-format refuses nothing it can index, so duplicate ids are looked for before it reads.
            samples, asvs = ([_text(i) for i in file[f"{axis}/ids"][:]] for axis in ("sample", "observation"))
            found = Table.from_hdf5(file) if len(set(samples)) == len(samples) and len(set(asvs)) == len(asvs) else None
    except (
        OSError,
        KeyError,
        ValueError,
        IndexError,
        TypeError,
        AttributeError,
        RuntimeError,
        TableException,
    ) as error:
        raise FormatError(
            f"{path} cannot be read as BIOM 2.1 ({str(error).splitlines()[0] if str(error) else type(error).__name__}). Expected a whole "
            "feature table in HDF5. The file may be truncated: copy or export it again."
        ) from error
    if found is None:
        empty = sparse.csr_array((len(samples), len(asvs)))
        return Study(empty, pd.Index(samples), pd.Index(asvs), pd.DataFrame(index=samples))  # raises, naming them
    return Study(
        table=sparse.csr_array(found.matrix_data.T.tocsr()),
        sample_ids=pd.Index(samples),
        asv_ids=pd.Index(asvs),
        metadata=pd.DataFrame(index=pd.Index(samples, dtype=str)),
        provenance=(f"read {path}: {len(samples)} samples x {len(asvs)} ASVs",),
    )


def read_metadata(path: str | Path) -> pd.DataFrame:
    """Read tab-separated metadata, indexed by its first column.

    A column is numeric where every known value is a number and none starts with a superfluous zero; it is text otherwise.

    Raises
    ------
    FileNotFoundError, FormatError, StudyError
        No such file; not tab-separated text with a header; sample ids that are empty or occur twice.
    """
    path = _existing(path, "a metadata table")
    try:
        rows = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise FormatError(
            f"{path} cannot be read as a table ({str(error).splitlines()[0]}). Expected UTF-8 text, tab-separated, one header line. "
            "Export it again."
        ) from error
    if not isinstance(rows.index, pd.RangeIndex):
        raise FormatError(
            f"{path} has a header with fewer names than its rows have fields. Expected a name for each column, the sample ids' "
            "too. Put one in front of the header (R's write.table leaves it out; `col.names=NA` writes it)."
        )
    if rows.empty:
        raise FormatError(f"{path} has no rows below its header. Expected one row per sample. Export it again.")
    if rows.shape[1] < 2:
        raise FormatError(
            f"{path} has {rows.shape[1]} column. Expected sample ids and at least one more column, separated by tabs. If it is "
            "separated by commas, convert it first."
        )
    ids = pd.Index(rows.iloc[:, 0].str.strip(), dtype=str, name="sample_id")
    twice = ids[ids.duplicated()].unique()
    if len(twice) or (ids == "").any():
        what = (
            f"{len(twice)} sample ids occur more than once ({some(twice)})" if len(twice) else "A row has no sample id"
        )
        raise StudyError(
            f"{what} in {path}. Each sample has one row, named in the first column. Remove the extra rows."
        )
    rows = rows.iloc[:, 1:].set_axis(ids, axis=0)
    return rows.apply(_typed)


def write_study(study: Study, folder: str | Path) -> list[Path]:
    """Write `table.biom` (BIOM 2.1), `metadata.tsv` and, where there is a tree, `tree.nwk`; returns their paths."""
    import h5py
    from biom import Table

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "table.biom"]
    with h5py.File(paths[0], "w") as file:
        Table(sparse.csr_matrix(study.table.T), list(study.asv_ids), list(study.sample_ids)).to_hdf5(file, "aam_nb")
    if study.metadata.shape[1]:
        paths.append(folder / "metadata.tsv")
        study.metadata.to_csv(paths[-1], sep="\t")
    if study.tree is not None:
        paths.append(folder / "tree.nwk")
        paths[-1].write_text(study.tree.to_newick() + "\n")
    return paths


def _existing(path: str | Path, what: str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file. Expected {what}. Check the path.")
    return path


def _text(raw: object) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def _typed(column: pd.Series) -> pd.Series:
    """Numbers where all known values are numbers that text would not lose anything by becoming."""
    text = column.str.strip()
    text = text.mask(text.isin(MISSING))
    known = text.dropna()
    if len(known) and not known.str.match(r"[+-]?0\d").any():
        numbers = pd.to_numeric(text, errors="coerce")
        if numbers.notna().sum() == len(known) and np.isfinite(numbers.dropna()).all():
            return numbers
    return text
