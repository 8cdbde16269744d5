"""Tables of results out, as CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from aam_nb.config.spreadsheet import format_csv
from aam_nb.study.atomic import whole_file


def write_csv(frame: pd.DataFrame, path: str | Path, *, separator: str = ",", index: bool = True) -> Path:
    """Write a table as CSV that is safe to open in a spreadsheet. The file gets its name when it is complete.

    Text from a file, such as a sample id, may begin like a formula (`=HYPERLINK(…)`), which a spreadsheet runs. Such a cell, column
    name or index is written with an apostrophe in front; `aam.read_metadata` takes it off again.

    Parameters
    ----------
    frame
        The table.
    path
        File to write.
    separator
        Between two cells.
    index
        Whether the index is the first column.

    Returns
    -------
    The path.

    Raises
    ------
    NotWrittenError
        The place cannot be written to, or is full.

    References
    ----------
    OWASP, "CSV Injection".

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> path = aam.write_csv(study.metadata.rename(index={"S1": "=1+1"}), "metadata.csv")
    >>> aam.read_metadata(path).shape
    (16, 4)
    """
    with whole_file(path) as fresh:
        format_csv(frame, fresh, separator=separator, index=index)
    return Path(path)
