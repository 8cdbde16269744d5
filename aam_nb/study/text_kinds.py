"""Which kind a text file is (a feature table, metadata, a taxonomy, distances, a tree): by what the readers themselves recognise."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from aam_nb.study.errors import FormatError
from aam_nb.study.letters import DNA_ID
from aam_nb.study.readers.archives import Source
from aam_nb.study.readers.columns import INTEGER
from aam_nb.study.readers.sheets import Sheet, join_open_quotes, plain, read_sheet
from aam_nb.study.readers.side_columns import is_total_name
from aam_nb.study.readers.table_columns import Roles, assign_roles
from aam_nb.study.readers.table_layout import LostHeaderError, find_layout, is_number, trim
from aam_nb.study.readers.table_mothur import is_of_mothur, refuse_other_tables
from aam_nb.study.readers.taxonomy import (
    CONFIDENCE_COLUMNS,
    NO_NAME,
    PREFIX,
    is_lineage_row,
    plain_names,
    rank_columns,
    taxon_column,
    without_row_numbers,
)
from aam_nb.study.readers.taxonomy_programs import is_sintax, with_header

LOOK_AT = 50
"""Rows of a text file by which its kind is recognised."""
LONGEST_BARCODE = 24
"""Nucleotides of the longest barcode that names a sample; ASVs are longer."""
FEATURE_CORNERS = {"otuid", "featureid", "asvid", "otu", "asv", "feature", "otus", "asvs"}
SAMPLE_CORNERS = {"sampleid", "samplename", "sample", "samples"}
"""First names of a header, as `plain` writes them, that say what the rows are."""
FEATURE_NAME = re.compile(
    r"[0-9a-f]{32,64}|[dk]__.+|(?:z?otu|asv|s[qv]|denovo|feature)[_.-]?\d+", re.IGNORECASE | re.ASCII
)
"""Hashes, numbered names and lineages, whose sequences are in another file."""


@dataclass(frozen=True)
class Grid:
    """A text file as the reader of feature tables divides it.

    Parameters
    ----------
    header, rows
        Names of the columns, and the first rows.
    roles
        What each column is for.
    """

    header: list[str]
    rows: list[list[str]]
    roles: Roles

    @property
    def ids(self) -> list[str]:
        return [row[self.roles.ids].strip() for row in self.rows if len(row) > self.roles.ids]

    @property
    def names(self) -> list[str]:
        """What is above the ids, and above each column of counts."""
        return [self.header[k] for k in (self.roles.ids, *self.roles.counts)]

    @property
    def cells(self) -> list[str]:
        """What stands in the columns of counts."""
        return [row[k].strip() for row in self.rows for k in self.roles.counts if len(row) > k]


def kinds_of_text(source: Source) -> list[str]:
    """What a text file may be, by its first lines: one kind, or two where it could be either.

    The first of these that holds decides:

    1. A tree: it starts with a comment and then a bracket, or is one name that ends with a semicolon. NEXUS is refused.
    2. Metadata: there is a row of types.
    3. A taxonomy of a classifier (SINTAX, RDP); distances: the same names are above the columns and in front of the rows.
    4. A feature table: mothur's, or one of another program that its reader refuses by name; or features are named on an axis (see
       `_axis_of_features`) and at least half of the cells in the columns that its reader takes for counts are numbers, more than one
       column of them where there is a confidence too. Whole numbers beside short DNA may be metadata as well, of samples that are
       named by barcodes.
    5. Metadata: the column of ids is called "sample-id", "#SampleID" or the like.
    6. Taxonomy: the first row is a lineage already; or there is a column of taxa that are lineages, or of features; or there are
       two columns of ranks, of features, or from the phylum up and alone. Other columns of ranks may be metadata, of hosts, as well.
    7. Metadata, whatever else it holds; but a file whose first row is counts already is a table without a header.
    """
    text = source.text()
    if text.lstrip()[:6].upper() == "#NEXUS":
        raise FormatError(
            f"{source.name} is NEXUS. Expected a tree in Newick, or a table. Convert it, in R: "
            "`ape::write.tree(ape::read.nexus('tree.nex'), 'tree.nwk')`, or export Newick from the program that wrote it."
        )
    if re.match(r"\s*(\[[^\]]*\]\s*)+\(", text) or re.fullmatch(r"[^\t\n,;]+;", text.strip()):
        return ["tree"]
    sheet = _first_rows(source, text)
    if sheet is not None:
        if sheet.directives:
            return ["metadata"]
        if with_header(sheet)[0] is not sheet:
            return ["taxonomy"]
        cells = [trim(row.cells) for row in sheet.rows]
        if len(cells) > 2 and [row[0] for row in cells[1:] if row] == cells[0][1 : len(cells)]:
            return ["distances"]
        if is_lineage_row(cells[0]):
            return ["taxonomy"]
    kinds = _kinds_of_table(source, text)
    if kinds or sheet is None:
        return kinds or ["metadata"]  # whose reader says what is wrong
    return _kinds_of_sheet(sheet)


def _first_rows(source: Source, text: str) -> Sheet | None:
    """The first rows as the readers of metadata and of taxonomies divide them; None where they do not."""
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        return read_sheet("\n".join(join_open_quotes(lines, LOOK_AT)[:LOOK_AT]), source.name)
    except FormatError:
        return None


def _kinds_of_table(source: Source, text: str) -> list[str]:
    """What a file is where it is a feature table, or could be one; nothing where it is none."""
    try:
        layout = find_layout(source, text)
    except LostHeaderError:
        return ["table"]
    except FormatError:
        return []
    if is_of_mothur(layout):
        return ["table"]
    try:
        refuse_other_tables(source, layout)
    except FormatError:
        return ["table"]
    rows = list(itertools.islice(layout.rows(source), LOOK_AT))
    try:
        grid = Grid(layout.header, rows, assign_roles(source, layout, rows))
    except FormatError:
        return []
    axis = _axis_of_features(grid.names, grid.ids)
    num_numbers = sum(map(is_number, grid.cells))
    scored = CONFIDENCE_COLUMNS & set(plain_names(grid.header)) and len(grid.roles.counts) < 2
    if not axis or not grid.cells or 2 * num_numbers < len(grid.cells) or scored:
        return []
    if axis != "barcodes":
        return ["table"]
    return ["table", "metadata"] if all(map(INTEGER.fullmatch, grid.cells)) else []


def _kinds_of_sheet(sheet: Sheet) -> list[str]:
    """What a file is that is no feature table: metadata, a taxonomy, or either."""
    header, *rows = [trim(r.cells) for r in without_row_numbers(sheet.rows)[0]]
    if rows and all(len(row) == len(header) + 1 for row in rows):  # R's write.table
        header = ["", *header]
    names = plain_names(header)
    ids = [row[0] if row else "" for row in rows]
    taxon, ranks = taxon_column(names), rank_columns(names)
    beside = [k for k in range(1, len(names)) if k != taxon and names[k] not in CONFIDENCE_COLUMNS]
    if taxon is not None and beside and all(is_total_name(names[k]) for k in beside):  # as mothur's cons.taxonomy
        return ["taxonomy"]
    if names[0] in SAMPLE_CORNERS:
        return ["metadata"]
    axis = _axis_of_features(header, ids)
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
    num = sum(";" in c or is_sintax(c) or bool(PREFIX.match(c)) or c.lower() in NO_NAME for c in cells)
    return 2 * num > len(cells)


def feature_names(source: Source) -> frozenset[str]:
    """The names in a table that seem to be of features whose sequences are elsewhere."""
    layout = find_layout(source, source.text())
    rows = list(itertools.islice(layout.rows(source), LOOK_AT))
    ids = assign_roles(source, layout, rows).ids
    below = (row[ids].strip() for row in layout.rows(source) if len(row) > ids)
    return frozenset(name for name in itertools.chain(layout.header, below) if FEATURE_NAME.fullmatch(name))
