"""What a column of metadata holds: numbers, dates, or text. From the text of a file to values with a type, without losing any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from aam_nb.config import cut_list
from aam_nb.study.errors import FormatError
from aam_nb.study.readers.sheets import quoted

ColumnType = Literal["numeric", "categorical", "date"]

MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "not available", "unspecified"} | {
    *("not applicable", "missing", "not collected", "not provided", "restricted access")  # INSDC, and so QIIME 2
}
"""Words for a missing value, in any case, with blanks or underscores; and so is "missing: …", as in "missing: control sample"."""

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
LEADING_ZERO = re.compile(r"[+-]?0\d", re.ASCII)
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?", re.ASCII)
OTHER_DATES = [
    re.compile(form + r"(?:[ T](?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?Z?)?", re.ASCII)
    for form in (
        r"(?P<year>\d{4})(?P<mark>[/.-]?)(?P<month>\d\d)(?P=mark)(?P<day>\d\d)",
        r"(?P<day>\d\d?)[- ](?P<word>[A-Za-z]{3})[a-z]*[- ](?P<year>\d{4})",
        r"(?P<one>\d\d?)(?P<mark>[/.-])(?P<two>\d\d?)(?P=mark)(?P<year>\d{4})",
    )
]
"""Dates that are read where a column is declared to hold dates. In the last form day and month may stand either way round."""
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
NUMBERS_OTHERWISE = {
    "numbers that are not finite": re.compile(r"[+-]?(?:inf(?:inity)?|∞|[\d.]+e\+?\d+)", re.ASCII | re.IGNORECASE),
    "errors of a spreadsheet": re.compile(r"#(?:DIV/0|REF|VALUE|NAME|NUM|NULL|SPILL|CALC)[!?]?|Err:\d+", re.IGNORECASE),
    "decimal commas": re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII),
    "thousands separators": re.compile(r"[+-]?\d{1,3}(?:([,.' \u00a0\u2009\u202f’])\d{3})(?:\1\d{3})*(?:[.,]\d+)?"),
    "no numbers": re.compile(r"[<>≤≥~=±−–$€£]+ ?[\d.]+|[\d.]+ ?[%‰*+]"),
}
"""Cells that are numbers to a reader, and no numbers to a program: by them alone no column is quietly made one of classes."""
WITH_UNIT = re.compile(rf"{NUMBER.pattern}\s*(?P<unit>[^\W\d_][^\s\d]*)", re.ASCII)
"""A number and its unit, as `41.04 yr`."""
FEW = 0.2
"""Largest share of values that keep a column from being numbers, or dates, for which they are named in a note."""


MOST_TOLD = 3
"""Values of a wrong type that a message names, with their samples."""


class MetadataError(FormatError):
    """Metadata that cannot be used as it is."""


def is_missing(cell: str) -> bool:
    word = cell.lower().replace("_", " ")
    return word in MISSING or word.startswith("missing:")


def convert_cells(cells: Sequence[str], index: pd.Index, kind: ColumnType, column: str, name: str) -> pd.Series:
    """The values of a column. All work is done on its distinct words.

    Parameters
    ----------
    cells, index
        What the file says of each sample, and the sample ids.
    kind
        What the column holds.
    column, name
        What messages call the column and the file.

    Returns
    -------
    int64 (where all are whole and none is missing), float64, datetime64[us], or text; missing values are NaN or NaT.

    Raises
    ------
    MetadataError
        A value is not of the type that the column is said to have.
    """
    words = list(dict.fromkeys(cells))
    present = [w for w in words if not is_missing(w)]
    if kind == "categorical":
        texts: dict[str, Any] = dict.fromkeys(words, np.nan) | {w: w for w in present}
        return pd.Series([texts[c] for c in cells], index=index, dtype=str)
    values: Sequence[float | datetime | None]
    if kind == "numeric":
        values, expected = [_number(w) for w in present], "finite numbers such as 6.5"
    else:
        values, expected = _dates(present, column, name), "dates such as 2016-02-23"
    bad = [w for w, value in zip(present, values, strict=True) if value is None]
    if bad:
        held = ", ".join(f"{quoted(w)} in {cut_list([index[cells.index(w)]])}" for w in bad[:MOST_TOLD])
        more = f" and {len(bad) - MOST_TOLD} more" if len(bad) > MOST_TOLD else ""
        raise MetadataError(
            f"Column {quoted(column)} of {name} is said to be {kind}, but holds {held}{more}. Expected {expected}, or an empty cell for a "
            f"missing one. Correct them, or read the column as text: `types={{{quoted(column)}: 'categorical'}}`."
        )
    value_of: dict[str, Any] = dict(zip(present, values, strict=True))
    if kind == "date":
        return pd.Series(np.array([value_of.get(c) for c in cells], dtype="datetime64[us]"), index=index)
    whole = len(present) == len(words) and all(isinstance(v, int) for v in values)
    return pd.Series(
        np.array([value_of.get(c, np.nan) for c in cells], dtype=np.int64 if whole else float), index=index
    )


def guess(cells: Sequence[str]) -> tuple[ColumnType, str]:
    """What a column seems to hold, and why it is text where that may surprise.

    It is numeric where every present value is a number that loses nothing by becoming one: none has a superfluous zero in front, or
    is whole and of more than 15 digits. It is a date where every present value is one in ISO 8601, such as `2016-02-23 10:00`.
    """
    present = {w for w in set(cells) if not is_missing(w)}
    no_numbers = {w for w in present if _number(w) is None}
    lossy = {w for w in present if LEADING_ZERO.match(w) or (INTEGER.fullmatch(w) and len(w.lstrip("+-")) > 15)}
    if not present or (lossy and not no_numbers):
        return "categorical", f"as numbers its values would lose digits ({_some(lossy)})" if lossy else ""
    if not no_numbers:
        return "numeric", ""
    no_dates = {w for w in present if _iso_date(w) is None}
    if not no_dates:
        return "date", ""
    why = _describe_numbers(no_numbers, cells, len(present)) or _describe_dates(present)
    if why:
        return "categorical", why
    for odd, noun in ((no_numbers, "numbers"), (no_dates, "dates")):
        num_odd, num_known = sum(c in odd for c in cells), sum(c in present for c in cells)
        if num_odd <= FEW * num_known:
            return "categorical", f"{num_odd} of {num_known} known values are no {noun} ({_some(odd)})"
    return "categorical", _describe_unit(present)


def _describe_numbers(odd: set[str], cells: Sequence[str], num_words: int) -> str:
    """Why words are no numbers, where all of them are numbers written in another way; empty otherwise."""
    by_kind: dict[str, set[str]] = {}
    for word in odd:
        kinds = [kind for kind, form in NUMBERS_OTHERWISE.items() if form.fullmatch(word)]
        if not kinds:
            return ""
        either = kinds[:2] == ["decimal commas", "thousands separators"] and not word.lstrip("+-").startswith("0")
        by_kind.setdefault("thousands separators or decimal commas" if either else kinds[0], set()).add(word)
    if "decimal commas" in by_kind:  # 3,14 beside 1,204 settles what the comma is
        by_kind["decimal commas"] |= by_kind.pop("thousands separators or decimal commas", set())
    known, parts = sum(not is_missing(c) for c in cells), []
    for kind, words in sorted(by_kind.items()):
        separated = kind.endswith(("commas", "separators"))
        part = (
            f"its numbers have {kind}"
            if separated
            else f"{sum(c in words for c in cells)} of {known} known values are {kind}"
        )
        parts.append(f"{part} ({_some(words)})")
    # What can only be left out; what is written otherwise can be written anew.
    emptied = set(by_kind) <= {"numbers that are not finite", "errors of a spreadsheet"} and len(odd) < num_words
    return " and ".join(parts) + (": with empty cells in their place it is numeric" if emptied else "")


def _describe_unit(present: set[str]) -> str:
    """Why words are no numbers, where all of them are numbers with one unit behind; empty otherwise."""
    units = {(match["unit"] if (match := WITH_UNIT.fullmatch(word)) else "") for word in present}
    if len(units) != 1 or "" in units or len(present) < 3 or not any("." in w or " " in w for w in present):
        return ""  # two or three such as 12h and 24h are classes
    return f"its numbers have a unit behind them ({_some(present)}); without {quoted(units.pop())} it is numeric"


def _describe_dates(present: set[str]) -> str:
    """Why dates are no dates: some are not in ISO 8601. Empty where not all words are dates."""
    others = {w for w in present if _iso_date(w) is None}
    matches = [next((m for form in OTHER_DATES if (m := form.fullmatch(w))), None) for w in others]
    if any(m is None or (_other_date(m, True) is None and _other_date(m, False) is None) for m in matches):
        return ""
    mixed = (
        "in more than one form"
        if len(others) < len(present) or len({_shape(w) for w in others}) > 1
        else "not as 2016-02-23"
    )
    return f"its dates are written {mixed} ({_some(others)}); `types=` (`--types`) reads them as a date where they leave no doubt"


def _shape(word: str) -> str:
    """The form of a date: which marks and words it has."""
    return re.sub(r"[A-Za-z]+", "a", re.sub(r"\d+", "0", word.split(" ")[0].split("T")[0]))


def _some(words: set[str]) -> str:
    return cut_list([repr(w) for w in sorted(words)], 3)


def _number(word: str) -> int | float | None:
    if not NUMBER.fullmatch(word):
        return None
    if INTEGER.fullmatch(word) and len(word.lstrip("+-")) <= 18:  # within int64
        return int(word)
    return float(word) if np.isfinite(float(word)) else None


def _iso_date(word: str) -> datetime | None:
    try:
        return datetime.fromisoformat(word) if ISO_DATE.fullmatch(word) else None
    except ValueError:  # a thirtieth of February
        return None


def _dates(present: list[str], column: str, name: str) -> list[datetime | None]:
    """Dates in any of the forms that are understood; refuses what could be read in two ways."""
    matches = [next((m for form in OTHER_DATES if (m := form.fullmatch(w))), None) for w in present]
    pairs = [(int(m["one"]), int(m["two"])) for m in matches if m and "one" in m.groupdict()]
    day_first, month_first = any(a > 12 for a, _ in pairs), any(b > 12 for _, b in pairs)
    if day_first == month_first and any(a != b for a, b in pairs):
        trouble = (
            "in some the day and in others the month comes first"
            if day_first
            else "day and month could stand either way"
        )
        raise MetadataError(
            f"Column {quoted(column)} of {name} has dates such as {cut_list(present, 3)}: {trouble}. Expected dates such as 2016-02-23. "
            "Write them so."
        )
    return [_iso_date(w) or _other_date(m, day_first) for w, m in zip(present, matches, strict=True)]


def _other_date(match: re.Match[str] | None, day_first: bool) -> datetime | None:
    if match is None:
        return None
    parts = match.groupdict(default="0")
    if "one" in parts:
        parts["day"], parts["month"] = (parts["one"], parts["two"]) if day_first else (parts["two"], parts["one"])
    try:
        month = MONTHS.index(parts["word"].lower()) + 1 if "word" in parts else int(parts["month"])
        hour, minute, second = (int(parts[p]) for p in ("hour", "minute", "second"))
        return datetime(int(parts["year"]), month, int(parts["day"]), hour, minute, second)
    except ValueError:
        return None
