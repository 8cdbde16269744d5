"""Text in columns, TSV or CSV: rows with their line numbers, comments apart, and nothing filled in or run together."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from aam_nb.config import count_noun, cut_list
from aam_nb.study.errors import FormatError

ID_NAMES = {"id", "sampleid", "samplename", "featureid", "otuid", "asvid"}
"""What a header calls its column of ids, as `plain` writes it: the names that QIIME 2 and Qiita use."""
HASHED_NAMES = ID_NAMES | {"sample", "samples", "name", "otu", "asv", "feature"}
"""Those that make a line a header, and no comment, though it starts with `#`."""
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}
RANK_PREFIX = re.compile(r"(?:^|[;,\s])(?:[dkpcofgs]|sk|D_\d{1,2})__", re.ASCII)
"""In a lineage, whose semicolons separate names and not columns."""
HEADER_LINES = 100
"""Lines among which a header is looked for that holds line breaks."""
LONGEST_FIELD = 5
"""Lines that a quoted field of a header may hold."""
WHOLE_QUOTE = re.compile(r'(^|[\t,;]) *"(?:[^"]|"")*"(?= *(?:[\t,;\n]|$))')
OPEN_QUOTE = re.compile(r'(?:^|[\t,;]) *"')
"""A quoted field, and a quote that begins a field."""
DIRECTIVES = ("#q2:", "#sk:", "#aam:")
"""Starts of lines that say something of the columns: QIIME 2's, scikit-bio's and ours."""


def plain(name: str) -> str:
    """A column name without what people write in different ways: "#Sample ID" and "sample_id" are both "sampleid"."""
    return re.sub(r"[\s_.#-]", "", name).lower()


def quoted(value: object) -> str:
    """A name or value of a file as a message may hold it: in quotes, and cut where it is long."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:16] + "…")
    return cut_list([repr(value)])


@dataclass(frozen=True)
class Row:
    """Cells of a row, without the blanks around them, and the line (from 1) in which it starts."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class Sheet:
    """The rows of a file, at least one; the first is the header, where there is one."""

    name: str
    separator: str
    rows: list[Row]
    comments: list[Row]
    directives: list[Row]
    num_blank: int

    def squared(self, *, pad: bool = False) -> list[Row]:
        """All rows, each as long as the first one. Empty cells at the end that no row fills are cut off.

        Parameters
        ----------
        pad
            Fill rows that are shorter than the first with empty cells, and take a single column, as QIIME 2 does with metadata; they
            are refused otherwise.

        Raises
        ------
        FormatError
            There is one column, or a row is longer or shorter than the first.
        """
        first, width = self.rows[0].cells, max(_extent(r.cells) for r in self.rows)
        if width < 2 and not pad:
            raise one_column(self.name, first[0])
        short = (
            self.separator != ";" and _extent(first) < width
        )  # where semicolons separate, a value may hold one too many
        if short and all(len(r.cells) == len(first) + 1 for r in self.rows[1:]):
            raise FormatError(
                f"{self.name} has a header with fewer names ({len(first)}) than its rows have fields ({len(first) + 1}). Expected a name "
                "for each column, the ids' too. Put one in front of the header (R's write.table leaves it out; `col.names=NA` writes it)."
            )
        width = min(width, len(first))
        ragged = [r for r in self.rows if (len(r.cells) < width and not pad) or _extent(r.cells) > width]
        if ragged:
            row = ragged[0]
            more = f", and {len(ragged) - 1} more lines" if len(ragged) > 1 else ""
            fix = f"Quote values with {SEPARATORS[self.separator]} in them"
            fix = "Remove tabs within values" if self.separator == "\t" else fix
            raise FormatError(
                f"{self.name} has {len(row.cells)} fields in line {row.line}{more}. Expected {width}, as in line {self.rows[0].line}. "
                f"{fix}, and write an empty field for a missing value."
            )
        again = [r.line for r in self.rows[1:] if r.cells == first]
        if again:
            raise FormatError(
                f"{self.name} repeats line {self.rows[0].line} in line {cut_list(again)}. Expected one header and no row twice. Remove "
                "the extra lines."
            )
        return [Row(r.line, r.cells[:width] + [""] * (width - len(r.cells))) for r in self.rows]

    def short_rows(self) -> list[Row]:
        """Rows that end before the last column that has a name."""
        return [r for r in self.rows[1:] if len(r.cells) < _extent(self.rows[0].cells)]

    def notes(self) -> list[str]:
        """What was not read as a row."""
        notes = [f"skipped {count_noun(self.num_blank, 'blank line')}"] if self.num_blank else []
        if self.comments:
            first = self.comments[0]
            notes.append(
                f"skipped {count_noun(len(self.comments), 'comment line')} (first: line {first.line}, {first.cells[0][:40]!r})"
            )
        return notes


def read_sheet(text: str, name: str, *, ids_alone: bool = False) -> Sheet:
    """Rows of text separated by tabs, commas or semicolons; which of them, the first row says.

    A tab in it means tabs; more semicolons than commas outside of quotes mean semicolons, as spreadsheets write CSV where the comma is
    the decimal sign, unless it holds a lineage such as `k__Bacteria; p__Bacillota`; else commas.

    Lines that start with `#` are comments, unless one above all rows is a header such as "#SampleID". Quotes are those of CSV: a
    field that starts with `"` ends with one, and may hold separators, line breaks, and quotes written twice.

    Parameters
    ----------
    text
        Lines ended by line feeds, as `Source.text` gives them.
    name
        What messages call the file.
    ids_alone
        Whether a file of one column will do, where its header calls it ids.

    Raises
    ------
    FormatError
        There is no row or no separator, a quote is left open, or a header seems to be hidden in a comment.
    """
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise FormatError(
            f"{name} holds a NUL byte in line {line}. Expected text in columns, as UTF-8; this is UTF-16 or no text. Export it as "
            "tab-separated text in UTF-8."
        )
    lines = text.split("\n")
    lines_of_fields = join_open_quotes(lines, HEADER_LINES)
    first = _first_row(lines_of_fields)
    bare = re.sub('"[^"]*"', "", first)
    semicolons = bare.count(";") > bare.count(",") and not RANK_PREFIX.search(first)
    separator = "\t" if "\t" in first else ";" if semicolons else ","
    if separator not in first and not (ids_alone and plain(first.strip().strip('"')) in ID_NAMES):
        raise one_column(name, first.strip(), is_title=_is_title(first, lines_of_fields))
    separator = separator if separator in first else "\t"
    sheet = Sheet(name, separator, [], [], [], 0)
    num_blank = 0
    for row in _records(lines, separator, name):
        start = row.cells[0] if row.cells else ""
        if not any(row.cells):
            num_blank += 1
        elif start.startswith(DIRECTIVES):
            if len(sheet.rows) != 1:
                raise FormatError(
                    f"{name} has {quoted(start)} in line {row.line}. Expected it right below the header. Move or remove the line."
                )
            sheet.directives.append(row)
        elif start.startswith("#") and (sheet.rows or not _is_hashed_header(row.cells)):
            sheet.comments.append(row)
        else:
            sheet.rows.append(row)
    if not sheet.rows:
        raise FormatError(
            f"{name} has only blank and comment lines. Expected a header and rows. Remove the # from the header, or export it again."
        )
    hidden = [r for r in sheet.comments if r.line < sheet.rows[0].line and len(r.cells) > 1]
    if hidden and len(hidden[-1].cells) == len(sheet.rows[0].cells):
        raise FormatError(
            f"{name} has a comment in line {hidden[-1].line} with as many fields as the rows below ({cut_list(hidden[-1].cells, 3)}). "
            "Expected the header to be no comment. Remove the # if it is the header, and the line if it is not."
        )
    return Sheet(name, separator, sheet.rows, sheet.comments, sheet.directives, num_blank - text.endswith("\n"))


def one_column(name: str, first: str, *, is_title: bool = False) -> FormatError:
    if is_title:
        return FormatError(
            f"{name} has {quoted(first)} alone in its first line, and columns below. Expected the header first. Remove what is above it."
        )
    blanks = ", not by blanks" if " " in first else ""
    return FormatError(
        f"{name} has 1 column (it starts: {quoted(first)}). Expected ids and at least one more column, separated by tabs, commas or "
        f"semicolons{blanks}. Save it as tab-separated text."
    )


def _is_title(first: str, lines: list[str]) -> bool:
    """Whether the lines below the first one that is filled are divided, as it is not."""
    filled = [line for line in lines if line.strip()]
    below = filled[filled.index(first) + 1 :][:5] if first in filled else []
    return bool(below) and any(all(separator in line for line in below) for separator in SEPARATORS)


def join_open_quotes(lines: list[str], most: int) -> list[str]:
    """The lines, of which the first few are joined with those that follow where a quoted field holds the line break.

    Where a quote that opens a field is not closed within `LONGEST_FIELD` lines, its line stays as it is.
    """
    joined: list[str] = []
    at = 0
    while at < len(lines) and len(joined) < most:
        size = next((n for n in range(1, LONGEST_FIELD + 1) if not _is_open("\n".join(lines[at : at + n]))), 1)
        joined.append("\n".join(lines[at : at + size]))
        at += size
    return joined + lines[at:]


def _is_open(text: str) -> bool:
    """Whether a quote that begins a field is not closed."""
    return '"' in text and bool(OPEN_QUOTE.search(WHOLE_QUOTE.sub(r"\1", text)))


def _records(lines: list[str], separator: str, name: str) -> list[Row]:
    reader = csv.reader(
        (f"{line}\n" for line in lines), delimiter=separator, strict=True, skipinitialspace=separator != "\t"
    )
    records: list[Row] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return records
        except csv.Error as error:
            if "field limit" in str(error):
                raise _too_long(name, line, reader.line_num) from error
            raise FormatError(
                f"{name} has a quote in line {line} that is not closed where its field ends ({error}). Expected quotes around a whole "
                'field, and written twice ("") within it. Close or remove it.'
            ) from error
        spanned = lines[line - 1 : reader.line_num]
        if len(spanned) > 1 and len(cells) > 1 and all(s.count(separator) == len(cells) - 1 for s in spanned):
            raise FormatError(
                f"{name} has a quote that opens in line {line} and closes in line {reader.line_num}, each of which looks like a row. "
                "Expected a quote to close in its own field. Close or remove it."
            )
        records.append(Row(line, [c.strip() for c in cells]))


def _too_long(name: str, first: int, last: int) -> FormatError:
    """A field that csv does not hold: longer than any value, or one whose quote was left open."""
    limit = f"{csv.field_size_limit():,}"
    if first == last:
        return FormatError(
            f"{name} has a field of more than {limit} characters in line {first}. Expected shorter values. Cut it, or remove its column."
        )
    return FormatError(
        f"{name} has a quote that opens in line {first} and is still open {limit} characters on, in line {last}. Expected a quote to "
        "close in its own field. Close or remove it."
    )


def _first_row(lines: list[str]) -> str:
    """The first line that is neither blank nor a comment; a tab where there is none."""
    filled = (line.strip("\n") for line in lines if line.strip())
    above = ""
    for line in filled:
        if not _is_comment(line.lstrip()):
            header = above.count(";") == line.count(";") > 0 and _is_hashed_header(above.lstrip().split(";"))
            return above if header else line  # `#SampleID;ph`
        above = line
    return "\t"


def _is_comment(line: str) -> bool:
    return line.startswith("#") and not _is_hashed_header(re.split(r"[\t,]", line))


def _is_hashed_header(cells: list[str]) -> bool:
    known = HASHED_NAMES if len(cells) > 1 else {"sampleid", "otuid"}  # alone, `# name` is a comment
    return cells[0].startswith("#") and plain(cells[0]) in known


def _extent(cells: list[str]) -> int:
    """Number of cells up to the last one that is not empty."""
    return next((i for i in range(len(cells), 0, -1) if cells[i - 1]), 0)
