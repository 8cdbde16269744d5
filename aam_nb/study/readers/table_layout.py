"""Where a feature table in text begins, what separates its fields, and what its columns are called: found by parsing, quotes and all."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aam_nb.config import count_noun, cut_list
from aam_nb.study.errors import FormatError
from aam_nb.study.letters import DNA_ID
from aam_nb.study.readers.archives import Source, first_line
from aam_nb.study.readers.columns import NUMBER
from aam_nb.study.readers.sequences import HASH
from aam_nb.study.readers.sheets import HEADER_LINES, join_open_quotes, quoted

CORNERS = {
    *("otuid", "otu", "otus", "featureid", "feature", "features", "asvid", "asv", "asvs", "otuids", "zotu", "zotuid"),
    *("representativesequence", "sequenceid", "seqid", "observationid", "taxonid"),
}
"""First fields of a header, as `bare` writes them, of a table whose rows are features."""
SAMPLE_CORNERS = {"sampleid", "samplename", "sample", "samples", "sampleids", "group"}
LOOK_AT = 20
"""Rows by which the separator and the header are chosen."""
DECLARED = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""Excel's own first line that says what separates fields."""
THOUSANDS = re.compile(r"(?:^|,)[1-9]\d{0,2},\d{3}(?:,|$)")
"""Two fields that may be one count with a comma between its thousands."""
MARKED_NUMBER = re.compile(r"[+-]?\d+(?:[.,' \u00a0\u2009\u202f\u2019]\d+)+", re.ASCII)
SEPARATORS = "\t,;"
BLANK = " \t,;\"'\ufeff"


class LostHeaderError(FormatError):
    """A table begins with a row of counts."""


def bare(name: str) -> str:
    """A name in small letters, of its letters and digits alone: "#OTU ID" and "otu_id" are both "otuid"."""
    return re.sub(r"[\W_]", "", name).lower()


@dataclass(frozen=True)
class Layout:
    """How a table in text is written.

    Parameters
    ----------
    separator
        What stands between fields.
    header
        Names of the columns, without blank ones at the end; "" for the ids where R left their name out.
    body
        The text below the header.
    notes
        What was passed over.
    """

    separator: str
    header: list[str]
    body: str
    notes: list[str]

    def rows(self, source: Source) -> Iterator[list[str]]:
        """The rows below the header, without blank ones, and without blank cells beyond the header."""
        width = len(self.header)
        for row in parse_rows(source, self.body, self.separator):
            if any(cell.strip() for cell in row):
                yield trim(row, width)


def parse_rows(source: Source, text: str, separator: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        raise FormatError(
            f"{source.name} cannot be read as a table ({first_line(error)}). Expected fields separated by tabs or commas, with quotes "
            "that are closed. Export it again."
        ) from error


def trim(cells: list[str], width: int = 0) -> list[str]:
    """Cells without blank ones at the end, but for the first `width`."""
    stop = len(cells)
    while stop > width and not cells[stop - 1].strip():
        stop -= 1
    return cells[:stop]


def find_layout(source: Source, text: str) -> Layout:
    """The layout of a table in text.

    Lines above the header may be comments (`#`), blank, a title, or Excel's `sep=;`. The header may itself begin with `#`: it is the last
    such line that has as many fields as the rows, or the name of a column of features in front. A header may lack the name of the first
    column, as R's `write.table` writes it.

    Raises
    ------
    FormatError
        There is no header, no row, or one column.
    """
    lines = join_open_quotes(text.split("\n"), HEADER_LINES)
    filled = [k for k, line in enumerate(lines) if line.strip(BLANK)]
    if not filled:
        raise FormatError(f"{source.name} holds no text. Expected a feature table. Export it again.")
    notes: list[str] = []
    declared = DECLARED.fullmatch(lines[filled[0]].rstrip(" "))
    filled = filled[1:] if declared else filled
    first = next((i for i, k in enumerate(filled) if not lines[k].lstrip(BLANK).startswith("#")), len(filled))
    above, below = [lines[k] for k in filled[:first]], [lines[k] for k in filled[first : first + LOOK_AT]]
    if not below and not any(s in line for line in above[-1:] for s in SEPARATORS):
        raise FormatError(f"{source.name} holds nothing but comments. Expected a feature table. Export it again.")
    separator = declared[1] if declared else _separator(source, above, below)
    hashed = [_fields(line, separator) for line in above]
    rows = [_fields(line, separator) for line in below]
    at = _hashed_header(hashed, rows)
    if at is None:
        titles = _titles(rows)
        if titles:
            notes.append(f"passed over {count_noun(titles, 'line')} above the header ({quoted(rows[0][0])})")
        at, rows = first + titles, rows[titles:]
        if not rows:
            raise FormatError(f"{source.name} holds nothing but comments. Expected a feature table. Export it again.")
        header, rows = rows[0], rows[1:]
    else:
        header = hashed[at]
    header = [cell.strip() for cell in header]
    if len(header) < 2 and (not rows or len(rows[0]) != 2):
        raise FormatError(
            f"{source.name} has one column. Expected ids and counts, separated by tabs or commas. Export it again as TSV."
        )
    if not rows:
        raise FormatError(
            f"{source.name} has a header and no rows. Expected a feature table, one row per sample or feature. Export it again."
        )
    header = _with_ids_named(source, header, rows, separator, notes)
    _refuse_lost_header(source, header, rows)
    return Layout(separator, header, "\n".join(lines[filled[at] + 1 :]), notes)


def _fields(line: str, separator: str) -> list[str]:
    """The fields of one line, without blank ones at the end; where a quote is open, as csv makes them."""
    try:
        return trim(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:
        return trim(line.split(separator))


def _separator(source: Source, above: list[str], below: list[str]) -> str:
    """What divides the rows, and a header above them that begins with `#`, into the same number of fields, more than one, outside of
    quotes; a tab where there is one."""
    named = above[-1:] if any(_names_ids(_fields(line, s)) for line in above[-1:] for s in SEPARATORS) else []
    lines = [*named, *below] or above[-1:]
    headers = [*above[-1:], *below[:3]]  # a title may stand above it
    scores = {}
    for separator in SEPARATORS:
        divided = [_fields_outside_quotes(line, separator) for line in lines]
        widths = Counter(divided)
        if max(widths) > 1 and (len(lines) == 1 or any(len(_fields(line, separator)) > 1 for line in headers)):
            width, times = max(widths.items(), key=lambda item: (item[0] > 1, item[1]))
            in_header = any(len(_fields(line, separator)) == width for line in headers)
            above_too = any(len(_fields(line, separator)) == width for line in above[-1:])
            scores[separator] = (separator == "\t", in_header, times, above_too, width)
    if not scores:
        if any(len(line.split()) >= 2 for line in lines):
            raise FormatError(
                f"{source.name} is separated by spaces, as R's `write.table` does by default. Expected tabs, commas or semicolons. Write "
                "it with `sep = '\\t', col.names = NA`."
            )
        return "\t"
    return max(scores, key=lambda separator: scores[separator])


def _fields_outside_quotes(line: str, separator: str) -> int:
    """Number of fields of a line; 1 where the separator stands in quotes alone, which it would cut in two."""
    try:
        return len(trim(next(csv.reader([line], delimiter=separator, strict=True), [])))
    except csv.Error:
        return len(_fields(line, separator)) if all(_is_cut(line, s) for s in SEPARATORS) else 1


def _is_cut(line: str, separator: str) -> bool:
    try:
        next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return True
    return False


def _names_ids(cells: list[str]) -> bool:
    return len(cells) > 1 and bare(cells[0]) in CORNERS | SAMPLE_CORNERS


def _hashed_header(hashed: list[list[str]], rows: list[list[str]]) -> int | None:
    """Which of the lines that begin with `#` is the header, if any.

    It is one that names a column of features, or the last one where it has as many fields as the rows and they, but not it, are numbers.
    """
    named = [i for i, cells in enumerate(hashed) if _names_ids(cells)]
    if named:
        return named[-1]
    if not hashed:
        return None
    last = hashed[-1]
    if not rows:
        return len(hashed) - 1 if len(last) > 1 else None
    alike = len(last) == len(rows[0]) > 1
    return len(hashed) - 1 if alike and bare(rows[0][0]) not in CORNERS | SAMPLE_CORNERS and _is_data(rows[0]) else None


def _is_data(cells: list[str]) -> bool:
    """Whether a line holds counts beside its first field, and is no header."""
    numbers = [is_number(cell.strip()) for cell in cells[1:]]
    return any(numbers) and (2 * sum(numbers) >= len(numbers) or bool(DNA_ID.fullmatch(cells[0].strip())))


def is_number(cell: str) -> bool:
    """Whether a cell is a number, also where it is written with marks that are refused later, such as 1,5 or 1 204."""
    return bool(NUMBER.fullmatch(cell) or MARKED_NUMBER.fullmatch(cell))


def _titles(rows: list[list[str]]) -> int:
    """Number of lines of one field above a header: a title, as people put above a table in a spreadsheet."""
    for k, row in enumerate(rows):
        if len(row) > 1:
            return k if k and not _is_data(row) else 0
    return 0


def _with_ids_named(
    source: Source, header: list[str], rows: list[list[str]], separator: str, notes: list[str]
) -> list[str]:
    """The header with a name for the ids, which R's `write.table` leaves out."""
    width = len(header)
    if all(len(row) == width + 1 for row in rows) and bare(header[0]) not in {"", *CORNERS, *SAMPLE_CORNERS}:
        if separator == "," and all(THOUSANDS.search(",".join(row[1:])) for row in rows):
            raise FormatError(
                f"{source.name} has one field more in its rows ({cut_list(rows[0], 4)}) than in its header. Expected as many. A count may "
                "have an unquoted comma between its thousands: write 1204, not 1,204. If the header lacks the ids' name, add it."
            )
        notes.append("took the first column for the ids, which the header does not name, as R's write.table writes it")
        return ["", *header]
    if len(rows[0]) == width and all(map(DNA_ID.fullmatch, header)):
        raise FormatError(
            f"{source.name} has DNA above all its columns ({cut_list(header, 1)}), the first too, and so no sample ids. Expected them "
            "in the first column. Write the row names: in R, `write.csv(seqtab, row.names = TRUE)`."
        )
    return header


def is_lost_header(header: Sequence[str], ids: Sequence[str]) -> bool:
    """Whether a first line is a row of numbers already, of an id like those below it."""
    form = re.sub(r"\d+", "0", header[0])
    like_ids = (
        bool(DNA_ID.fullmatch(header[0]))
        or (HASH.fullmatch(header[0]) and all(HASH.fullmatch(i.strip()) for i in ids))
        or (any(c.isdigit() for c in header[0]) and all(re.sub(r"\d+", "0", i.strip()) == form for i in ids))
    )
    numbers = [is_number(cell) for cell in header[1:]]
    return bool(like_ids) and any(numbers) and sum(numbers) >= len(numbers) - 1


def _refuse_lost_header(source: Source, header: list[str], rows: Sequence[list[str]]) -> None:
    """Refuse a first line that is a row of counts already: its counts would be taken for the names of samples."""
    if is_lost_header(header, [row[0] for row in rows]):
        raise lost_header(source, header)


def lost_header(source: Source, header: list[str]) -> LostHeaderError:
    return LostHeaderError(
        f"{source.name} has no header: its first line is a row of counts ({cut_list(header, 4)}). Expected the names of the samples "
        "above them. Put a line such as `#OTU ID`, sample 1, sample 2 on top."
    )
