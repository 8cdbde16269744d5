"""What a file is, how large, and what would be refused of it: `aam-nb info`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pandas.api.types import is_datetime64_any_dtype

from aam_nb.config import UserError, count_noun, cut_list, to_path
from aam_nb.study.alignment import NeedsSequencesError, build_study
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.errors import FormatError
from aam_nb.study.readers.archives import Source, unpacked
from aam_nb.study.readers.metadata import parse_metadata
from aam_nb.study.readers.sequences import parse_sequences
from aam_nb.study.readers.sheets import read_sheet
from aam_nb.study.readers.tables import parse_table, sniff
from aam_nb.study.readers.taxonomy import parse_taxonomy
from aam_nb.study.study import Study
from aam_nb.study.text_kinds import feature_names, kinds_of_text
from aam_nb.study.tree import NegativeLengthError, Tree, UnrootedError, parse_tree
from aam_nb.study.write import SAVED

ARTIFACTS = {"FeatureData[Sequence]": "FASTA", "FeatureData[Taxonomy]": "taxonomy"}
ARTIFACTS |= {"Phylogeny[Rooted]": "tree", "Phylogeny[Unrooted]": "tree"}
"""What is in an artifact: its type says so, whatever its first bytes are."""


def what_is(path: str | Path) -> str:
    """A file's kind and size in a line, read whole so that whatever would be refused later is refused here.

    Raises
    ------
    FileNotFoundError, UserError
        There is no such file, or reading it would be refused; the message says why, and what to do.
    """
    path = to_path(path, "a file, a saved study or a run folder")
    if (path / SAVED).is_file():
        return "saved study: " + repr(Study.load(path)).splitlines()[0]
    with unpacked(
        path, "a feature table, metadata, sequences, a taxonomy, a tree, a saved study or a run folder"
    ) as source:
        head = f"QIIME 2 artifact {source.kind}: " if source.kind else ""
        return head + _what(source)


def _what(source: Source) -> str:
    """What a file is, read as such."""
    format_name = ARTIFACTS.get(source.kind) or sniff(source)
    if format_name in READERS:
        return READERS[format_name](source)
    if format_name != "text" or source.kind:
        return _table(source)
    kinds = kinds_of_text(source)
    if len(kinds) == 1:
        return READERS[kinds[0]](source)
    lines, refusals = [], []
    for kind in kinds:
        try:
            lines.append(f"as {kind} (--{kind}) {READERS[kind](source)}")
        except UserError as error:
            refusals.append(error)
            lines.append(f"as {kind} (--{kind}) it would be refused: {error}")
    if len(refusals) == len(kinds):
        raise refusals[0]
    return f"could be {' or '.join(kinds)}: {'; '.join(lines)}"


# -- as each kind -----------------------------------------------------------------------------------------------------


def _sequences(source: Source) -> str:
    sequences, notes = parse_sequences(source)
    length = sequences.str.len()
    return _with(f"sequences (FASTA), {len(sequences)} of {length.min()} to {length.max()} nt", notes)


def _taxonomy(source: Source) -> str:
    ranks, notes = parse_taxonomy(source)
    known = ", ".join(
        f"{n} of {name}" for name, n in ranks.drop(columns="confidence", errors="ignore").nunique().items()
    )
    return _with(f"taxonomy, lineages of {count_noun(len(ranks), 'feature')} ({known})", notes)


def _text_table(source: Source) -> str:
    """A feature table as text; one whose axes only the sequences could distinguish is read with the names that seem to be features."""
    try:
        return _table(source)
    except FormatError as error:
        with contextlib.suppress(FormatError):
            return _table(source, feature_names(source))
        raise FormatError(f"It looks like a feature table: {error}") from error


def _table(source: Source, names: frozenset[str] = frozenset()) -> str:
    table = parse_table(source, sequence_ids=names)
    depth = np.asarray(table.table[:].sum(axis=1))
    samples, asvs = count_noun(len(table.sample_ids), "sample"), count_noun(len(table.feature_ids), "ASV")
    size = f"feature table ({table.format}), {samples} x {asvs}, {depth.min():,} to {depth.max():,} reads per sample"
    try:
        study = build_study(Study, table, source.name, {}, sum_duplicates=False)
    except NeedsSequencesError:
        return f"{size}; features are no DNA ({cut_list(table.feature_ids, 1)}): the commands that read a study need `--sequences` too"
    return _with(size, study.provenance[1:])


def _tree(source: Source) -> str:
    try:
        if source.kind == "Phylogeny[Unrooted]":  # however many branches leave the node that Newick starts from
            raise UnrootedError
        tree, notes = parse_tree(source.path, name=source.name)
        return _with(f"rooted tree (Newick), {len(tree.tips)} tips", notes)
    except UnrootedError:
        tree = Tree.read(source.path, root="midpoint", negative_lengths="zero", name=source.name)
        return f"unrooted tree (Newick), {len(tree.tips)} tips; would be refused without --root midpoint"
    except NegativeLengthError:
        tree, notes = parse_tree(source.path, negative_lengths="zero", name=source.name)
        return _with(
            f"rooted tree (Newick), {len(tree.tips)} tips; would be refused without --negative-lengths zero", notes
        )


def _distances(source: Source) -> str:
    import h5py

    if sniff(source) == "text":
        header, *rows = read_sheet(source.text(), source.name).squared()
        return f"distance matrix (text), {len(rows)} x {len(header.cells) - 1}"
    with h5py.File(source.path) as file:
        n = file["order"].shape[0]
    return f"distance matrix (HDF5), {n} x {n}"


def _metadata(source: Source) -> str:
    rows, notes = parse_metadata(source)
    kinds = rows.dtypes.map(
        lambda t: "numbers" if is_numeric_column(t) else "dates" if is_datetime64_any_dtype(t) else "text"
    )
    counts = ", ".join(f"{count_noun(n, 'column')} of {k}" for k, n in kinds.value_counts().items())
    return _with(f"metadata, {count_noun(len(rows), 'sample')}, {counts}", notes)


def _with(line: str, notes: list[str] | tuple[str, ...]) -> str:
    return "; ".join([line, *notes])


READERS: dict[str, Callable[[Source], str]] = {
    "FASTA": _sequences,
    "Newick": _tree,
    "tree": _tree,
    "distances": _distances,
    "table": _text_table,
    "taxonomy": _taxonomy,
    "metadata": _metadata,
}
"""How each kind of file, as `sniff` or `kinds_of_text` calls it, is read and described."""
