"""What a file is, how large, and what would be refused of it: `aam-nb info`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pandas.api.types import is_datetime64_any_dtype

from aam_nb.config import UserError, count_noun, cut_list, to_path
from aam_nb.study.alignment import NeedsSequencesError, build_study
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.errors import FormatError
from aam_nb.study.letters import DNA_ID
from aam_nb.study.readers.archives import Source, unpacked
from aam_nb.study.readers.columns import INTEGER, NUMBER
from aam_nb.study.readers.metadata import parse_metadata
from aam_nb.study.readers.sequences import parse_sequences
from aam_nb.study.readers.sheets import plain, read_sheet
from aam_nb.study.readers.side_columns import is_total_name
from aam_nb.study.readers.table_layout import trim
from aam_nb.study.readers.tables import parse_table, sniff
from aam_nb.study.readers.taxonomy import (
    CONFIDENCE_COLUMNS,
    NO_NAME,
    PREFIX,
    is_lineage_row,
    parse_taxonomy,
    plain_names,
    rank_columns,
    taxon_column,
)
from aam_nb.study.study import Study
from aam_nb.study.tree import NegativeLengthError, Tree, UnrootedError, parse_tree
from aam_nb.study.write import SAVED

ARTIFACTS = {"FeatureData[Sequence]": "FASTA", "FeatureData[Taxonomy]": "taxonomy"}
ARTIFACTS |= {"Phylogeny[Rooted]": "tree", "Phylogeny[Unrooted]": "tree"}
"""What is in an artifact: its type says so, whatever its first bytes are."""
LOOK_AT = 50
"""Lines of a text file by which its kind is recognised."""
LONGEST_BARCODE = 24
"""Nucleotides of the longest barcode that names a sample; ASVs are longer."""
FEATURE_CORNERS = {"otuid", "featureid", "asvid", "otu", "asv", "feature", "otus", "asvs"}
SAMPLE_CORNERS = {"sampleid", "samplename", "sample", "samples"}
"""First names of a header, as `plain` writes them, that say what the rows are."""
FEATURE_NAME = re.compile(
    r"[0-9a-f]{32,64}|[dk]__.+|(?:z?otu|asv|s[qv]|denovo|feature)[_.-]?\d+", re.IGNORECASE | re.ASCII
)
"""Hashes, numbered names and lineages, whose sequences are in another file."""


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
    kinds = _kinds_of_text(source)
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


# -- which text -------------------------------------------------------------------------------------------------------


def _kinds_of_text(source: Source) -> list[str]:
    """What a text file may be, by its first lines: one kind, or two where it could be either.

    The first of these that holds decides:

    1. A tree: it starts with a comment and then a bracket, or is one name that ends with a semicolon. NEXUS is refused.
    2. Distances: the same names are above the columns and in front of the rows.
    3. A feature table: features are named on an axis (see `_axis_of_features`); at least half of the cells beside ids and lineages are
       numbers; and there is no column of confidence, nor two of ranks, nor a lineage above one of two or three columns. Whole
       numbers beside short DNA may be metadata as well, of samples that are named by barcodes.
    4. Metadata: there is a row of types, or the column of ids is called "sample-id", "#SampleID" or the like.
    5. Taxonomy: the first row is a lineage already; or there is a column of taxa that are lineages, or of features; or there are
       two columns of ranks, of features, or from the phylum up and alone. Other columns of ranks may be metadata, of hosts, as well.
    6. Metadata, whatever else it holds; but a file that is only a table's reader can read is a table.
    """
    text = source.text()
    if text.lstrip()[:6].upper() == "#NEXUS":
        raise FormatError(
            f"{source.name} is NEXUS. Expected a tree in Newick, or a table. Convert it, in R: "
            "`ape::write.tree(ape::read.nexus('tree.nex'), 'tree.nwk')`, or export Newick from the program that wrote it."
        )
    if re.match(r"\s*(\[[^\]]*\]\s*)+\(", text) or re.fullmatch(r"[^\t\n,;]+;", text.strip()):
        return ["tree"]
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        sheet = read_sheet("\n".join(lines[:LOOK_AT]), source.name)
    except FormatError:
        return ["table" if _is_table(source) else "metadata"]  # whose reader says what is wrong
    header, *rows = [trim(r.cells) for r in sheet.rows]
    if rows and all(len(row) == len(header) + 1 for row in rows):  # R's write.table
        header = ["", *header]
    names = plain_names(header)
    ids = [row[0] if row else "" for row in rows]
    if len(ids) > 1 and ids == header[1 : len(ids) + 1]:
        return ["distances"]
    taxon, ranks = taxon_column(names), rank_columns(names)
    if names[:3] == ["label", "group", "numotus"] or names[:2] == ["representativesequence", "total"]:
        return ["table"]  # of mothur
    beside = [k for k in range(1, len(names)) if k != taxon and names[k] not in CONFIDENCE_COLUMNS]
    if taxon is not None and beside and all(is_total_name(names[k]) for k in beside):  # as mothur's cons.taxonomy
        return ["taxonomy"]
    axis = _axis_of_features(header, ids)
    cells = [cell for row in rows for k, cell in enumerate(row[1:], 1) if k != taxon]
    num_numbers = sum(bool(NUMBER.fullmatch(cell)) for cell in cells)
    counts = cells and 2 * num_numbers >= len(cells) and not (is_lineage_row(header) and len(header) < 4)
    if axis and counts and len(ranks) < 2 and not CONFIDENCE_COLUMNS & set(names):
        whole = all(INTEGER.fullmatch(cell) for cell in cells)
        if axis != "barcodes":
            return ["table"]
        return ["table", "metadata"] if whole and not sheet.directives else ["metadata"]
    if sheet.directives or names[0] in SAMPLE_CORNERS:
        return ["metadata"]
    if is_lineage_row(header):
        return ["taxonomy"]
    if taxon is not None and (axis == "rows" or _are_lineages([row[taxon] for row in rows if len(row) > taxon])):
        return ["taxonomy"]
    if len(ranks) >= 2 and taxon is None:
        alone = {0, *ranks.values()} >= {k for k, name in enumerate(names) if name not in CONFIDENCE_COLUMNS}
        high = 0 in ranks or 1 in ranks
        if axis == "rows" or (alone and high):
            return ["taxonomy"]
        return ["metadata", "taxonomy"] if alone or high else ["metadata"]
    return ["metadata"]


def _axis_of_features(header: list[str], ids: list[str]) -> str:
    """Which axis names features: "rows", "columns", neither (empty), or "barcodes": rows of DNA so short that they may be samples.

    Features are named by DNA, hashes, or numbered names such as OTU_12; or the corner is "#OTU ID" or the like.
    """
    corner = plain(header[0])
    if corner in FEATURE_CORNERS:
        return "rows"
    if _most(header[1:], DNA_ID) or _most(header[1:], FEATURE_NAME):
        return "columns"
    dna = _most(ids, DNA_ID)
    if dna and max(map(len, ids)) > LONGEST_BARCODE:
        return "rows"
    if corner in SAMPLE_CORNERS:
        return ""
    return "rows" if _most(ids, FEATURE_NAME) else "barcodes" if dna else ""


def _most(ids: list[str], pattern: re.Pattern[str]) -> bool:
    return 2 * sum(bool(pattern.fullmatch(i)) for i in ids) > len(ids)


def _are_lineages(cells: list[str]) -> bool:
    return 2 * sum(";" in cell or bool(PREFIX.match(cell)) or cell.lower() in NO_NAME for cell in cells) > len(cells)


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
        lines = source.text().split("\n")
        fields = {field for line in lines for field in re.split("[\t,;]", line, maxsplit=1)[:1]}
        fields.update(field for line in lines[:LOOK_AT] for field in re.split("[\t,;]", line))
        names = frozenset(name for field in fields if FEATURE_NAME.fullmatch(name := field.strip(' "')))
        with contextlib.suppress(FormatError):
            return _table(source, names)
        raise FormatError(f"It looks like a feature table: {error}") from error


def _is_table(source: Source) -> bool:
    try:
        return bool(parse_table(source))
    except UserError:
        return False


def _table(source: Source, names: frozenset[str] = frozenset()) -> str:
    table = parse_table(source, sequence_ids=names)
    depth = np.asarray(table.table[:].sum(axis=1))
    samples, asvs = count_noun(len(table.sample_ids), "sample"), count_noun(len(table.feature_ids), "ASV")
    size = f"feature table ({table.format}), {samples} x {asvs}, {depth.min():,} to {depth.max():,} reads per sample"
    try:
        study = build_study(Study, table, source.name, {}, sum_duplicates=False)
    except NeedsSequencesError:
        return f"{size}; features are no DNA ({cut_list(table.feature_ids, 1)}): give their sequences too (--sequences)"
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
"""How each kind of file, as `sniff` or `_kinds_of_text` calls it, is read and described."""
