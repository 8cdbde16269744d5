"""Taxonomies as classifiers write them, without a header: SINTAX (usearch, vsearch) and RDP. Each becomes a table of lineages."""

from __future__ import annotations

import re
from dataclasses import replace

from aam_nb.study.readers.sheets import Row, Sheet

SINTAX = re.compile(r"(?:tax=)?\s*[dkpcofgst]:[^,;]*(?:[,;]\s*(?:[dkpcofgst]:[^,;]*)?)*", re.ASCII)
"""A lineage such as `d:Bacteria(1.00),p:Firmicutes(0.98)`."""
STRANDS = {"+", "-", ""}
RDP_RANKS = {
    "domain": "d",
    "kingdom": "k",
    "phylum": "p",
    "class": "c",
    "order": "o",
    "family": "f",
    "genus": "g",
    "species": "s",
}
SCORE = re.compile(r"[01](?:\.\d+)?", re.ASCII)


def is_sintax(lineage: str) -> bool:
    return bool(SINTAX.fullmatch(lineage))


def split_sintax(lineage: str) -> list[str]:
    """The names of a SINTAX lineage with the prefixes that other lineages have: `d__Bacteria(1.00)`."""
    names = (name.strip() for name in re.split(r"[,;]", lineage.removeprefix("tax=")))
    return [f"{name[0]}__{name[2:]}" for name in names if name]


def with_header(sheet: Sheet) -> tuple[Sheet, list[str]]:
    """A sheet of a classifier with the header that it lacks, and notes; any other sheet as it is."""
    rows = [row for row in sheet.rows if row.cells]
    if sheet.separator == "\t" and _are_sintax(rows):
        return _sintax_sheet(sheet)
    if sheet.separator == "\t" and all(_rdp_names(row) for row in rows):
        return _rdp_sheet(sheet)
    return sheet, []


def _are_sintax(rows: list[Row]) -> bool:
    """Whether all rows are id, lineage with scores, strand, and the lineage above the cutoff; each but the id may be empty."""
    cells = [[*row.cells, "", "", ""] for row in rows]
    return any(is_sintax(c[1]) for c in cells) and all(
        len(row.cells) <= 4
        and (not c[1] or is_sintax(c[1]))
        and (c[2] in STRANDS or (len(row.cells) == 3 and is_sintax(c[2])))
        and (not c[3] or is_sintax(c[3]))
        for row, c in zip(rows, cells, strict=True)
    )


def _sintax_sheet(sheet: Sheet) -> tuple[Sheet, list[str]]:
    has_cutoff = any(len(row.cells) == 4 and row.cells[3] for row in sheet.rows)
    header = ["Feature ID", *(("all names", "strand", "Taxon") if has_cutoff else ("Taxon", "strand"))]
    rows = [Row(row.line, (row.cells + [""] * 4)[: len(header)]) for row in sheet.rows]
    told = (
        "the lineages above its cutoff"
        if has_cutoff
        else "all names, whatever their score: it has no lineages above a cutoff"
    )
    return replace(sheet, rows=[Row(sheet.rows[0].line, header), *rows]), [f"read the output of SINTAX: took {told}"]


def _rdp_names(row: Row) -> list[tuple[str, str, str]]:
    """Name, rank and score of each rank of a row of RDP; empty where it is no such row."""
    cells = row.cells[1:]
    while cells and (not cells[0] or cells[0] in "-+"):
        cells = cells[1:]
    while cells and not cells[-1]:
        cells = cells[:-1]
    if len(cells) % 3 or not cells:
        return []
    names = [(cells[k], cells[k + 1].lower(), cells[k + 2]) for k in range(0, len(cells), 3)]
    are_ranks = any(rank in RDP_RANKS for _, rank, _ in names)
    return names if are_ranks and all(SCORE.fullmatch(score) for _, _, score in names) else []


def _rdp_sheet(sheet: Sheet) -> tuple[Sheet, list[str]]:
    rows, lowest = [Row(sheet.rows[0].line, ["Feature ID", "Taxon", "Confidence"])], 1.0
    for row in sheet.rows:
        names = [
            (name.strip('"'), RDP_RANKS[rank], score) for name, rank, score in _rdp_names(row) if rank in RDP_RANKS
        ]
        lineage = "; ".join(f"{rank}__{name}" for name, rank, _ in names)
        lowest = min(lowest, *(float(score) for _, _, score in names))
        rows.append(Row(row.line, [row.cells[0], lineage, names[-1][2] if names else ""]))
    note = f"read the output of RDP: took all names, whatever their score (the lowest: {lowest:g}), and the last score for the confidence"
    return replace(sheet, rows=rows), [note]
