"""What a file is, how large, and what would be refused of it: `aam-nb info`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from aam_nb.config import some
from aam_nb.study.formats import NeedsSequencesError, study_of
from aam_nb.study.newick import Tree, UnrootedError
from aam_nb.study.readers.metadata import parse_metadata
from aam_nb.study.readers.sequences import parse_sequences
from aam_nb.study.readers.sources import Source, unpacked
from aam_nb.study.readers.tables import looks_like_counts, parse_table, sniff
from aam_nb.study.readers.taxonomy import looks_like_lineages, parse_taxonomy
from aam_nb.study.saving import SAVED
from aam_nb.study.study import Study


def what_is(path: str | Path) -> str:
    """A file's kind and size in a line, read whole so that whatever would be refused later is refused here.

    Raises
    ------
    FileNotFoundError, UserError
        There is no such file, or reading it would be refused; the message says why, and what to do.
    """
    path = Path(path)
    if (path / SAVED).is_file():
        return "saved study: " + repr(Study.load(path)).splitlines()[0]
    with unpacked(
        path, "a feature table, metadata, sequences, a taxonomy, a tree, a saved study or a run folder"
    ) as source:
        head = f"QIIME 2 artifact {source.kind}: " if source.kind else ""
        return head + _what(source)


def _what(source: Source) -> str:
    found = sniff(source)
    if found == "FASTA":
        sequences, notes = parse_sequences(source)
        length = sequences.str.len()
        return _with(f"sequences (FASTA), {len(sequences)} of {length.min()} to {length.max()} nt", notes)
    if found == "Newick":
        return _tree(source)
    if found == "distances":
        return _distances(source)
    if found == "text":
        if looks_like_lineages(source):
            ranks, notes = parse_taxonomy(source)
            known = ", ".join(
                f"{n} of {name}" for name, n in ranks.drop(columns="confidence", errors="ignore").nunique().items()
            )
            return _with(f"taxonomy, lineages of {len(ranks)} features ({known})", notes)
        if not looks_like_counts(source):
            return _metadata(*parse_metadata(source))
    return _table(source)


def _table(source: Source) -> str:
    table = parse_table(source)
    depth = np.asarray(table.table[:].sum(axis=1))
    size = (
        f"feature table ({table.format}), {len(table.sample_ids)} samples x {len(table.feature_ids)} ASVs, {depth.min():,} to "
        f"{depth.max():,} reads per sample"
    )
    try:
        study = study_of(table, source, {}, sum_duplicates=False)
    except NeedsSequencesError:
        return f"{size}; features are named by hashes ({some(table.feature_ids, 1)}): give their sequences too (--sequences)"
    return _with(size, study.provenance[1:])


def _tree(source: Source) -> str:
    try:
        tree = Tree.read(source.path, name=source.name)
        return f"rooted tree (Newick), {len(tree.tips)} tips"
    except UnrootedError:
        tree = Tree.read(source.path, root="midpoint", name=source.name)
        return f"unrooted tree (Newick), {len(tree.tips)} tips; would be refused without --root midpoint"


def _distances(source: Source) -> str:
    import h5py

    with h5py.File(source.path) as file:
        n = file["order"].shape[0]
    return f"distance matrix (HDF5), {n} x {n}"


def _metadata(rows: pd.DataFrame, notes: list[str]) -> str:
    kinds = rows.dtypes.map(
        lambda t: "numbers" if is_numeric_dtype(t) else "dates" if is_datetime64_any_dtype(t) else "text"
    )
    counts = ", ".join(f"{n} columns of {k}" for k, n in kinds.value_counts().items())
    return _with(f"metadata, {len(rows)} samples, {counts}", notes)


def _with(line: str, notes: list[str] | tuple[str, ...]) -> str:
    return "; ".join([line, *notes])
