"""Cells of text that a spreadsheet would run as a formula: written with an apostrophe in front, and read without it.

A name from a file, such as a sample id or a class, may be `=HYPERLINK(…)`. What aam_nb writes as CSV or TSV is opened in spreadsheets,
which run cells that begin with `=`, `+`, `-` or `@`, with a tab or with a line break. So such a cell gets an apostrophe in front, as a
spreadsheet itself marks text. Numbers, such as `-0.5`, and single signs are not formulas and stay as they are. A cell that already has
apostrophes before such a sign gets one more, so that every text is read back as it was.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

FORMULA = re.compile(r"'*(?:[=@]|[+-](?!(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z)|[\t\r\n]).", re.DOTALL)
"""A cell that gets an apostrophe."""
ESCAPED = re.compile(rf"'{FORMULA.pattern}", re.DOTALL)
"""A cell that has got one."""


def escape_cell(value: Any) -> Any:
    """A value as a cell of CSV: text that a spreadsheet would run gets an apostrophe in front, all else stays."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def restore_cell(value: Any) -> Any:
    """The text that `escape_cell` made the cell of; all else stays."""
    return value[1:] if isinstance(value, str) and ESCAPED.match(value) else value


def format_csv(frame: pd.DataFrame, path: Path | None = None, *, separator: str = ",", index: bool = True) -> str:
    """A table as CSV, its text, column names and index escaped by `escape_cell`.

    Parameters
    ----------
    frame
        The table.
    path
        File to write; None writes none.
    separator
        Between two cells.
    index
        Whether the index is the first column.

    Returns
    -------
    What was written; empty where it went to a file.
    """
    return _escaped(frame).to_csv(path, sep=separator, index=index) or ""


def _escaped(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy with its text escaped; columns of numbers and dates are shared."""
    import pandas as pd

    columns = [pd.api.types.is_numeric_dtype(c) or pd.api.types.is_datetime64_any_dtype(c) for _, c in frame.items()]
    safe = frame.copy(deep=False)
    for place, is_safe in enumerate(columns):
        if not is_safe:
            safe.isetitem(place, frame.iloc[:, place].astype(object).map(escape_cell).array)
    safe.columns = safe.columns.map(escape_cell).rename(escape_cell(frame.columns.name))
    if isinstance(frame.index, pd.MultiIndex):
        levels: list[Any] = [level.map(escape_cell) for level in frame.index.levels]
        safe.index = frame.index.set_levels(levels)
    elif not pd.api.types.is_numeric_dtype(frame.index):
        safe.index = frame.index.map(escape_cell)
    return safe.rename_axis(index=[escape_cell(name) for name in frame.index.names])
