"""What each column of a feature table in text is for: ids, counts, lineages, sequences, and what is set aside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aam_nb.config import count_noun, cut_list
from aam_nb.study.errors import FormatError
from aam_nb.study.letters import DNA
from aam_nb.study.readers.archives import Source
from aam_nb.study.readers.columns import NUMBER
from aam_nb.study.readers.side_columns import SEQUENCE_NAMES, how_to_keep, is_side_name, is_total_name
from aam_nb.study.readers.table_layout import CORNERS, SAMPLE_CORNERS, Layout, bare
from aam_nb.study.readers.taxonomy import PREFIXES, RANKS, TAXON_COLUMNS, plain_names, rank_columns
from aam_nb.study.readers.taxonomy_programs import is_sintax

LETTERS = "dpcofgs"
PREFIXED = re.compile(rf"(?:{'|'.join(PREFIXES)}|D_\d+)__", re.ASCII)


@dataclass(frozen=True)
class Roles:
    """Numbers of columns by what they are for.

    Parameters
    ----------
    ids, counts
        The ids of the rows, and the counts.
    ranks
        Columns of lineages: one of whole lineages under -1, or one for each rank, by its place in `RANKS`.
    sequence
        A column of DNA beside the ids, or None.
    aside
        Columns that are no counts, which are left out.
    notes
        What is left out, in words.
    """

    ids: int
    counts: list[int]
    ranks: dict[int, int]
    sequence: int | None
    aside: list[int]
    notes: list[str]

    @property
    def texts(self) -> list[int]:
        """Columns that are read as text."""
        more = [] if self.sequence is None else [self.sequence]
        return list(dict.fromkeys([*self.ranks.values(), *more, *self.aside]))

    def lineages(self, texts: dict[int, list[str]]) -> list[str]:
        """The lineage of each row."""
        if -1 in self.ranks:
            return texts[self.ranks[-1]]
        cells = [[join_rank(rank, cell) for cell in texts[k]] for rank, k in sorted(self.ranks.items())]
        return ["; ".join(names) for names in zip(*cells, strict=True)]

    def joined(self, row: list[str], separator: str, width: int) -> list[str]:
        """A row whose lineage, at its end, holds the separator without quotes, put together again."""
        if separator == ";" and len(row) > width and self.ranks.get(-1) == width - 1 and "__" in row[width - 1]:
            return [*row[: width - 1], separator.join(row[width - 1 :])]
        return row


def join_rank(rank: int, name: str) -> str:
    """A name with the prefix of its rank, where it has none."""
    name = name.strip().strip('"').strip()
    return name if PREFIXED.match(name) else f"{LETTERS[rank]}__{'' if name.lower() in ('na', 'nan', 'none') else name}"


def assign_roles(source: Source, layout: Layout, rows: Sequence[list[str]]) -> Roles:
    """Tell the columns apart by their names and by what their first rows hold.

    Raises
    ------
    FormatError
        No column of counts is left.
    """
    header = layout.header
    cells = {k: [row[k].strip() for row in rows if len(row) > k] for k in range(len(header))}
    ids = _find_ids(header, cells)
    notes = [f"set aside the column {header[0]!r} of row numbers"] if ids else []
    rest = [k for k in range(len(header)) if k not in range(ids + 1)]
    numeric = {k for k in rest if 2 * sum(bool(NUMBER.fullmatch(cell)) for cell in cells[k]) >= len(cells[k]) > 0}
    ranks = _find_lineages(header, cells, [k for k in rest if k not in numeric])
    sequence = next(
        (k for k in rest if bare(header[k]) in SEQUENCE_NAMES and cells[k] and all(map(DNA.fullmatch, cells[k]))), None
    )
    blank = [k for k in rest if not header[k] and not any(cells[k])]
    named = [k for k in rest if is_side_name(header[k]) and k not in ranks.values()]
    more_ranks = [k for k in rank_columns(plain_names(header)).values() if ranks and k in rest and k not in numeric]
    aside = [k for k in dict.fromkeys([*named, *more_ranks]) if k not in ranks.values() and k != sequence]
    counts = [k for k in rest if k not in {*ranks.values(), *aside, sequence, *blank}]
    if not counts or (ranks and all(is_total_name(header[k]) for k in counts)):
        raise _no_samples(source, header, ranks, [*aside, *counts])
    if aside:
        told, one = cut_list([repr(header[k]) for k in aside], 8), len(aside) == 1
        notes.append(
            f"set aside the column{'' if one else 's'} {told}: no sample{'' if one else 's'} by the name; {how_to_keep(len(aside))}"
        )
    return Roles(ids, counts, ranks, sequence, [*aside, *blank], notes)


def _find_ids(header: list[str], cells: dict[int, list[str]]) -> int:
    """The column of ids: the first, but for row numbers in front of one that is called so, as R's `write.csv` of a data frame leaves."""
    numbers = [[str(i + start) for i in range(len(cells[0]))] for start in (0, 1)]
    if len(header) < 3 or cells[0] not in numbers or bare(header[1]) not in CORNERS | SAMPLE_CORNERS | SEQUENCE_NAMES:
        return 0
    return 0 if all(map(NUMBER.fullmatch, cells[1])) and bare(header[0]) in CORNERS else 1


def _find_lineages(header: list[str], cells: dict[int, list[str]], texts: list[int]) -> dict[int, int]:
    """A column of lineages, by its name or by what it holds, or several of ranks."""
    named = [k for k in texts if bare(header[k]) in TAXON_COLUMNS]
    held = [k for k in texts if cells[k] and 2 * sum(_is_lineage(cell) for cell in cells[k]) > len(cells[k])]
    ranks = {rank: k for rank, k in rank_columns(plain_names(header)).items() if k in texts}
    whole = [k for k in held if k not in ranks.values()]
    if named or whole:
        return {-1: (named or whole)[0]}
    return ranks if len(ranks) > 1 else {}


def _is_lineage(cell: str) -> bool:
    return bool(PREFIXED.match(cell)) or is_sintax(cell) or (";" in cell and any(c.isalpha() for c in cell))


def _no_samples(source: Source, header: list[str], ranks: dict[int, int], others: list[int]) -> FormatError:
    if ranks:
        return FormatError(
            f"{source.name} is a taxonomy: beside ids and {'lineages' if -1 in ranks else RANKS[min(ranks)] + ' and further ranks'} it has "
            f"{cut_list([repr(header[k]) for k in others]) or 'nothing'}, and no counts of samples. Expected a feature table. Give it as "
            "`taxonomy=` (`--taxonomy`), beside the table."
        )
    return FormatError(
        f"{source.name} has no column of counts: {count_noun(len(others), 'column')} beside the ids, "
        f"{cut_list([repr(header[k]) for k in others])}, no samples by their names. Expected the counts of at least one sample. Rename the "
        "columns that are samples."
    )
