"""Sample metadata: TSV in QIIME 2's dialect, or CSV, in; the same TSV out."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from aam_nb.config import UserError, count_noun, cut_list, to_path
from aam_nb.config.spreadsheet import escape_cell, restore_cell
from aam_nb.study.atomic import whole_file
from aam_nb.study.columns import describe_own_spellings, is_numeric_column
from aam_nb.study.errors import StudyError
from aam_nb.study.readers.archives import Source, unpacked
from aam_nb.study.readers.checks import refuse_bad_ids
from aam_nb.study.readers.columns import NUMBER, ColumnType, MetadataError, convert_cells, guess, is_missing
from aam_nb.study.readers.sheets import ID_NAMES, Row, Sheet, plain, quoted, read_sheet
from aam_nb.study.readers.table_layout import is_lost_header

# -- in ---------------------------------------------------------------------------------------------------------------


def read_metadata(path: str | Path, *, types: Mapping[str, ColumnType] | None = None) -> pd.DataFrame:
    """Read sample metadata: TSV in QIIME 2's dialect, or CSV.

    The first column holds the sample ids, which stay text (`0012` stays `0012`). Each other column has the type that `types` says,
    else the one of the `#q2:types` row, else: numeric where every known value is a number and none starts with a superfluous zero
    or has more than 15 digits; date where every known value is like `2016-02-23` or `2016-02-23 10:00`; categorical otherwise.

    Parameters
    ----------
    path
        The file, which may be gzipped.
    types
        Type of a column by its name: "numeric", "categorical" or "date". A date asked for here may also be written as `20160223`,
        `2016/02/23`, `23-Feb-2016`, or as `23/02/2016` or `02/23/2016` if the column leaves no doubt which is which.

    Returns
    -------
    One row per sample, indexed by `sample_id` (text), in the file's order. Numeric columns are int64 or float64, dates datetime64
    (µs, no time zone), all others text; missing values are NaN or NaT.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FormatError
        It is not a table: empty, not UTF-8, ragged, a quote left open.
    MetadataError
        Ids are absent or occur twice, columns are unnamed or occur twice, or a column is not of the type it is said to be.

    References
    ----------
    https://docs.qiime2.org, "Metadata in QIIME 2". Checked against scikit-bio's reader of that format in tests.

    Examples
    --------
    >>> import aam_nb as aam
    >>> from pathlib import Path
    >>> _ = Path("metadata.tsv").write_text("sample-id\\tph\\tday\\n0012\\t6.5\\t2026-01-02\\n")
    >>> metadata = aam.read_metadata("metadata.tsv")
    >>> metadata.loc["0012", "ph"], str(metadata.loc["0012", "day"].date())
    (np.float64(6.5), '2026-01-02')
    """
    with unpacked(path, "sample metadata, as TSV or CSV") as source:
        return parse_metadata(source, types=types)[0]


def parse_metadata(source: Source, *, types: Mapping[str, ColumnType] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """As `read_metadata`, from a plain file; also tells what was skipped, guessed and missing, for `Study.provenance`."""
    if source.kind:
        raise MetadataError(
            f"{source.name} is a QIIME 2 artifact of type {source.kind}. Expected sample metadata, which is no artifact. Give the TSV file."
        )
    return _parse(source.text(), source.name, types or {})


def _parse(text: str, name: str, types: Mapping[str, ColumnType]) -> tuple[pd.DataFrame, list[str]]:
    sheet = read_sheet(text, name, ids_alone=True)
    rows = sheet.squared(pad=True)
    header, *records = (Row(r.line, [restore_cell(c) for c in r.cells]) for r in rows)
    if not records:
        raise MetadataError(f"{name} has no rows below its header. Expected one row per sample. Export it again.")
    if plain(header.cells[0]) not in ID_NAMES and is_lost_header(header.cells, [r.cells[0] for r in records]):
        raise MetadataError(
            f"{name} has no header: its first line is a row of values ({cut_list(header.cells, 4)}). Expected the names of the columns "
            "above them. Put a line such as `sample-id`, column 1, column 2 on top."
        )
    _check_names(header.cells, name)
    columns = dict(zip(header.cells[1:], zip(*(r.cells[1:] for r in records), strict=True), strict=True))
    notes = sheet.notes()
    short = sheet.short_rows()
    if short:
        lines = cut_list(r.line for r in short)
        notes.append(
            f"{count_noun(len(short), 'row ends', 'rows end')} before the last column (line {lines}): what they lack is missing"
        )
    if escaped := sum(restore_cell(c) != c for r in rows for c in r.cells):
        notes.append(
            f"took the apostrophe off {count_noun(escaped, 'cell')}, which marks text that looks like a formula"
        )
    ids = pd.Index(_ids(header.cells[0], records, columns, name, notes), dtype=str, name="sample_id")
    declared = _types(sheet, header.cells, types, notes)
    values, missing_words = {}, Counter[str]()
    for column, cells in columns.items():
        kind, why = (declared[column], "") if column in declared else guess(cells)
        values[column] = convert_cells(cells, ids, kind, column, name)
        missing_words.update({word: n for word, n in Counter(cells).items() if is_missing(word)})
        if why:
            notes.append(f"column {quoted(column)} is text: {why}")
        alike = describe_own_spellings(values[column]) if kind == "categorical" else ""
        if alike:
            notes.append(f"column {quoted(column)} has values that differ in spelling alone: {alike}")
    frame = pd.DataFrame(values, index=ids)
    if missing_words:
        as_words = cut_list([f"{n:,} {repr(word) if word else 'empty'}" for word, n in missing_words.most_common()])
        by_column = cut_list([f"{n:,} of {column}" for column, n in frame.isna().sum().items() if n], 12)
        notes.append(
            f"{count_noun(sum(missing_words.values()), 'metadata value is', 'metadata values are')} missing ({as_words}): {by_column}"
        )
    return frame, notes


def _check_names(header: list[str], name: str) -> None:
    empty = [
        i for i, column in enumerate(header, 1) if not column and i > 1
    ]  # R leaves the first empty, above row names
    if empty:
        raise MetadataError(
            f"{len(empty)} of {len(header)} columns of {name} {'has' if len(empty) == 1 else 'have'} no name (column {cut_list(empty)}). "
            "Expected a name for each. Name or remove them."
        )
    twice = [quoted(column) for column, times in Counter(header).items() if times > 1]
    if twice:
        raise MetadataError(
            f"{count_noun(len(twice), 'column name occurs', 'column names occur')} more than once in {name} ({cut_list(twice)}). Expected "
            "each once. Rename or remove the extra columns."
        )


def _ids(
    first: str, records: list[Row], columns: Mapping[str, Sequence[str]], name: str, notes: list[str]
) -> list[str]:
    """The first column, if it can be the sample ids; where it cannot, the error names the column that can."""
    ids = [r.cells[0] for r in records]
    twice = [i for i, times in Counter(ids).items() if times > 1 and i]
    empty = [r.line for r in records if not r.cells[0]]
    called_so = [
        (place, column)
        for place, (column, cells) in enumerate(columns.items(), 2)
        if plain(column) in ID_NAMES and len(set(cells)) == len(ids) and "" not in cells
    ]
    if called_so and plain(first) not in ID_NAMES:
        place, column = called_so[0]
        row_numbers = ids in ([str(i + start) for i in range(len(ids))] for start in (0, 1))
        if twice or empty or row_numbers or all("." in i and NUMBER.fullmatch(i) for i in ids):
            raise MetadataError(
                f"The first column of {name}, {quoted(first)}, does not hold sample ids ({cut_list(ids, 3)}). Expected them there; they "
                f"seem to be in column {place}, {quoted(column)}. Put that column first."
            )
        notes.append(f"took the sample ids from the first column, {quoted(first)}, not from {quoted(column)}")
    if empty:
        raise MetadataError(
            f"In {name}, {count_noun(len(empty), 'row has', 'rows have')} no sample id (line {cut_list(empty)}). Each sample has one row, "
            f"named in the first column, here {quoted(first)}. Fill in the ids, or remove the rows."
        )
    if twice:
        raise MetadataError(
            f"{count_noun(len(twice), 'sample id occurs', 'sample ids occur')} more than once ({cut_list(twice)}) in {name}, column "
            f"{quoted(first)}. Each sample has one row, named in the first column. Remove the extra rows, or put the column of sample ids "
            "first."
        )
    try:
        refuse_bad_ids(ids, "sample", name)
    except StudyError as error:
        raise MetadataError(str(error)) from error
    by_key: dict[str, list[str]] = {}
    for i in ids:
        by_key.setdefault("".join(i.casefold().split()), []).append(i)
    alike = [" and ".join(map(quoted, same)) for same in by_key.values() if len(same) > 1]
    if alike:
        some = "; ".join(alike[:3]) + (f" and {len(alike) - 3} more" if len(alike) > 3 else "")
        notes.append(f"some sample ids differ in capitals or blanks alone, and are kept apart: {some}")
    if not first:
        notes.append("took the sample ids from the first column, which has no name")
    return ids


def _types(sheet: Sheet, header: list[str], given: Mapping[str, ColumnType], notes: list[str]) -> dict[str, ColumnType]:
    """What the file's `#q2:types` row and the caller say of the columns; the caller wins."""
    declared: dict[str, ColumnType] = {}
    for row in sheet.directives:
        kind = row.cells[0].split(":")[1].split(" ")[0]
        if kind == "missing":
            notes.append(f"did not use {cut_list(row.cells[:1])}: the words for missing are the same in all columns")
            continue
        if kind != "types":
            raise MetadataError(
                f"{sheet.name} has an unknown directive {quoted(row.cells[0])} in line {row.line}. Expected `#q2:types`. Remove the line."
            )
        for column, word in zip(header[1:], row.cells[1:], strict=False):
            allowed = ("numeric", "categorical") + (("date",) if row.cells[0].startswith("#aam:") else ())
            if word.lower() in allowed:
                declared[column] = word.lower()  # type: ignore[assignment]
            elif word:
                raise MetadataError(
                    f"{sheet.name} says in line {row.line} that column {quoted(column)} is {quoted(word)}. Expected "
                    f"{' or '.join(allowed)}. Correct the {cut_list(row.cells[:1])} line, or remove it."
                )
    if declared:
        notes.append(
            f"took the types of {count_noun(len(declared), 'metadata column')} from the file's own row of types"
        )
    unknown = [quoted(column) for column in given if column not in header[1:]]
    if unknown:
        raise MetadataError(
            f"{sheet.name} has no columns {cut_list(unknown)} to give a type to. It has {cut_list(header[1:])}; the ids, "
            f"{quoted(header[0])}, are always text. Correct `types=`."
        )
    for column, word in given.items():
        if word not in get_args(ColumnType):
            raise MetadataError(
                f"The type of column {quoted(column)} is {quoted(word)}. Expected numeric, categorical or date. Try "
                f"`types={{{quoted(column)}: 'categorical'}}`."
            )
    return declared | dict(given)


# -- out --------------------------------------------------------------------------------------------------------------


def write_metadata(metadata: pd.DataFrame, path: str | Path) -> Path:
    """Write metadata as TSV that QIIME 2 and `read_metadata` read.

    What was written is read back in memory before the file is touched, so a file that exists says what the frame said. QIIME 2
    knows no dates: they are categorical in its `#q2:types` row, and a comment line, `#aam:types`, says that they are dates.

    Parameters
    ----------
    metadata
        Indexed by sample id (text). Columns of numbers, dates without time zone, or text; booleans and categories become text.
    path
        Where to; folders are made as needed.

    Returns
    -------
    The path.

    Raises
    ------
    MetadataError
        Something would not be read back as it is: text such as "NA" or "", blanks around a value, an id that starts with `#`.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> path = aam.write_metadata(study.metadata, "metadata.tsv")
    >>> aam.read_metadata(path).shape
    (16, 4)
    """
    path = to_path(path, "a file to write")
    try:
        refuse_bad_ids(metadata.index, "sample")
    except StudyError as error:
        raise _not_again(error) from error
    written = [_written(column, path) for _, column in metadata.items()]
    kinds = [kind for kind, _ in written]
    buffer = io.StringIO()
    writer = csv.writer(buffer, dialect="excel-tab", lineterminator="\n")
    writer.writerow(["sample-id", *map(escape_cell, metadata.columns)])
    writer.writerow(["#q2:types", *("categorical" if kind == "date" else kind for kind in kinds)])
    if "date" in kinds:
        writer.writerow(["#aam:types", *kinds])
    rows = zip(metadata.index, *(cells for _, cells in written), strict=True)
    writer.writerows([escape_cell(cell) for cell in row] for row in rows)
    text = buffer.getvalue()
    if "\r" in text:
        near = text[: text.index("\r") + 1].split("\n")[-1][-40:]
        raise MetadataError(
            f"The metadata hold a carriage return ({near!r}), which text files do not tell from a line feed. Expected none. Remove it."
        )
    try:
        raw = text.encode()
        back = _parse(text, path.name, {})[0]
    except (UserError, UnicodeEncodeError) as error:
        raise _not_again(error) from error
    _check_same(metadata, back)
    with whole_file(path) as fresh:
        fresh.write_bytes(raw)
    return path


def _not_again(error: Exception) -> MetadataError:
    return MetadataError(f"The metadata cannot be written so that they can be read again: {error}")


def _written(column: pd.Series, path: Path) -> tuple[ColumnType, list[object]]:
    """The type of a column, and its cells as they are written."""
    types, known = pd.api.types, column.dropna()
    if len(known) and isinstance(column.dtype, pd.CategoricalDtype | np.dtypes.ObjectDType):
        column = column.astype(object).infer_objects()  # what is inside: numbers, dates or text
        known = column.dropna()
    kind: ColumnType = "categorical"
    texts: list[object] = known.tolist()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        raise MetadataError(
            f"Column {quoted(column.name)} has times in time zone {column.dt.tz}, which {path.name} cannot hold. Expected times "
            "without a zone. Use `column.dt.tz_convert('UTC').dt.tz_localize(None)`."
        )
    if types.is_datetime64_any_dtype(column):
        kind, days = "date", bool((known == known.dt.normalize()).all())
        texts = [str(t.date() if days else t) for t in known]
    elif is_numeric_column(column) and not types.is_complex_dtype(column):
        # With values missing, whole numbers are read back as floats however they are written: then without ".0".
        gaps = len(known) < len(column) and all(abs(v) < 1e15 and v == int(v) for v in known)
        kind, whole = "numeric", types.is_integer_dtype(column) or gaps
        texts = [str(int(v)) if whole else repr(float(v)) for v in known]
    rest = iter(texts)
    return kind, [next(rest) if k else "" for k in column.notna()]


def _check_same(metadata: pd.DataFrame, back: pd.DataFrame) -> None:
    """Refuse what would be read back as something else."""
    names: list[tuple[str, Any, Any]] = [
        ("the sample ids", metadata.index, back.index),
        ("the column names", metadata.columns, back.columns),
    ]
    columns = ((f"column {quoted(name)}", metadata[name], back[name]) for name in metadata)
    for what, ours, theirs in itertools.chain(names, columns):
        before, after = ([_value(v) for v in values.tolist()] for values in (ours, theirs))
        if before == after:
            continue
        if len(before) != len(after):
            raise MetadataError(
                f"{len(before) - len(after)} of {len(before)} would be lost of {what}, being blank like all beside them "
                f"({cut_list([quoted(v) for v in before if v not in after])}). Expected a name for each. Name them."
            )
        first, again = next((a, b) for a, b in zip(before, after, strict=True) if a != b)
        raise MetadataError(
            f"In {what}, {quoted(first)} would be read back as {'missing' if again is None else quoted(again)}. Expected text (with no "
            "blank at its ends, and no word for missing), finite numbers, or dates to the microsecond. Change it; None is a missing value."
        )


def _value(value: Any) -> object:
    """A value as it may be compared: what is missing as None, booleans as the text that they become."""
    if isinstance(value, bool):
        return str(value)
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value
