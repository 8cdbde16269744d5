"""The one way in for files of folders that aam_nb wrote: runs, comparisons, checkpoints, caches. They may come from a stranger, or from a
damaged disk, so each is read as if somebody had made it to do harm.

Only regular files are opened (a link to one is followed), in bounded size. Text is strict UTF-8; JSON is bounded in depth, digits and
number of values, and has no key twice. What it must hold is said by a check of `aam_nb.config.schema`, before anything is built from it.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from aam_nb.config.messages import UserError, count_noun, cut_list, cut_repr
from aam_nb.config.schema import Check, Mismatch
from aam_nb.config.spreadsheet import restore_cell

if TYPE_CHECKING:
    import pandas as pd

MOST_JSON = 2**26
"""Most bytes of a JSON file."""
MOST_VALUES = 2**22
"""Most values, brackets and commas of a JSON file: what its values take of memory."""
MOST_DEPTH = 32
"""Most lists and objects of a JSON file within one another."""
MOST_DIGITS = 100
"""Most characters of a number."""
MOST_CELLS, MOST_COLUMNS = 2**25, 2**14
"""Most cells, and most columns, of a CSV file."""
MOST_TABLE = 2**30
"""Most bytes of a CSV file."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MISSING = ("", "nan", "NaN")
"""Cells of numbers that are not known."""


class StoredError(UserError, ValueError):
    """A file that aam_nb wrote is damaged, or was made by something else."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file to be read, and how its damage is told.

    Parameters
    ----------
    path
        Where it is.
    error
        What is raised.
    expected
        What should have been there, for the message.
    remedy
        What the user should do, for the message.
    """

    path: Path
    error: type[UserError] = StoredError
    expected: str = "a file that aam_nb wrote"
    remedy: str = "Restore it from a copy."

    def damage(self, cause: str) -> UserError:
        """The error for a cause such as "is not JSON (...)", with its name, what was expected and what to do."""
        return self.error(f"{self.path} {cause}. Expected {self.expected}. {self.remedy}")

    @contextmanager
    def told(self) -> Iterator[None]:
        """Inside, a `Mismatch` becomes this file's error; other errors of the user's kind are told with its name, in their own type."""
        try:
            yield
        except Mismatch as error:
            raise self.damage(f"cannot be used: {error}") from error
        except self.error:
            raise
        except UserError as error:
            raise type(error)(f"{self.path} cannot be used: {error}") from error

    def exists(self) -> bool:
        """Whether something of that name is there, be it a file or not."""
        try:
            return os.path.lexists(self.path)
        except ValueError:  # a NUL in the name
            return False

    def read(self, most: int) -> bytes:
        """All bytes of the file.

        Raises
        ------
        error
            It is missing, not a regular file, larger than `most` bytes, or cannot be read.
        """
        with self.opened() as file:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > most else file.read(most + 1)  # the size of what the system makes up is 0
        if size > most or len(data) > most:
            raise self.damage(f"has {max(size, len(data)):,} bytes or more, and at most {most:,} are read")
        return data

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file, open for reading inside; errors of the system are told as its damage."""
        try:
            with os.fdopen(self._open(), "rb") as file:
                yield file
        except UserError:
            raise
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else str(error)
            raise self.damage(f"cannot be read ({cause})") from error

    def _open(self) -> int:
        """A descriptor of it, never of a pipe or a device: opening those may wait for ever."""
        if "\0" in str(self.path):
            raise self.damage("has a NUL in its name")
        self._refuse_special(os.stat(self.path).st_mode)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path, flags)
        try:
            self._refuse_special(os.fstat(descriptor).st_mode)  # it may have been exchanged since
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _refuse_special(self, mode: int) -> None:
        if not stat.S_ISREG(mode):
            raise self.damage(f"is {KINDS.get(stat.S_IFMT(mode), 'no regular file')}, not a file")

    def require_regular(self) -> None:
        """Refuse what `read` would refuse without reading it: for files that another library opens by name."""
        with self.opened():
            pass

    # -- JSON ---------------------------------------------------------------------------------------------------------

    def read_json(self, check: Check, *, nan: bool = False) -> Any:
        """What the file holds, as `check` gives it.

        Parameters
        ----------
        check
            A check of `aam_nb.config.schema`.
        nan
            Whether NaN and Infinity may be in it, as Python writes them and JSON does not have them.
        """
        value = self.parse_json(self.read(MOST_JSON), nan=nan)
        with self.told():
            return check(value)

    def parse_json(self, data: bytes, *, nan: bool = False) -> Any:
        """The value of JSON text, within the bounds, with no key twice and no number that is too long or not finite."""
        try:
            text = data.decode("utf-8-sig")
            if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
                raise ValueError(f"it has more than {MOST_VALUES:,} values")
            value = json.loads(
                text,
                object_pairs_hook=_refuse_repeated,
                parse_int=_parse_whole,
                parse_float=_parse_float,
                parse_constant=float if nan else _refuse_constant,
            )
            _refuse_depth(value)
            if SURROGATE.search(text):
                json.dumps(value, ensure_ascii=False).encode()
        except RecursionError as error:
            raise self.damage(f"is not JSON (its values are more than {MOST_DEPTH} deep)") from error
        except ValueError as error:
            raise self.damage(f"is not JSON ({error})") from error
        return value

    # -- tables ---------------------------------------------------------------------------------------------------------

    def read_table(self, required: Sequence[str] = (), *, most: int = MOST_TABLE) -> pd.DataFrame:
        """A CSV file as text, cell by cell, with a row for each record.

        Parameters
        ----------
        required
            Columns that it must have.
        most
            Most bytes of the file.

        Raises
        ------
        error
            It cannot be read; a column lacks or is there twice; a row has more or fewer cells than there are columns.
        """
        import pandas as pd

        try:
            text = self.read(most).decode("utf-8-sig")
            if "\0" in text:
                raise ValueError("it holds a NUL")
            if text.count(",") + text.count("\n") + text.count("\r") > MOST_CELLS:
                raise ValueError(f"it has more than {MOST_CELLS:,} cells")
            rows = [[restore_cell(c) for c in row] for row in csv.reader(_lines(text), strict=True) if row]
        except (UnicodeDecodeError, ValueError, csv.Error) as error:
            if isinstance(error, UserError):
                raise
            raise self.damage(f"is not CSV ({error})") from error
        header, *cells = rows or [[]]
        repeated = sorted(name for name, times in Counter(header).items() if times > 1)
        missing = [name for name in required if name not in header]
        if len(header) > MOST_COLUMNS:
            raise self.damage(f"has {len(header):,} columns; there are {MOST_COLUMNS:,} at most")
        if repeated:
            raise self.damage(f"has the column {cut_list(map(repr, repeated))} more than once")
        if missing:
            raise self.damage(f"has no column {cut_list(map(repr, missing))}")
        for number, row in enumerate(cells, start=1):
            if len(row) != len(header):
                cause = f"has {count_noun(len(row), 'cell')} in row {number} under {count_noun(len(header), 'column')}"
                raise self.damage(cause)
        return pd.DataFrame(cells, columns=pd.Index(header, dtype=str), dtype=str)

    def numbers(self, column: pd.Series, *, missing: bool = True, infinite: bool = False) -> pd.Series:
        """A column of text as numbers, exact to the last bit.

        Parameters
        ----------
        column
            As `read_table` gives it.
        missing
            Whether empty cells and NaN are taken, as NaN.
        infinite
            Whether `inf` and `-inf` are taken.
        """

        def parse(cell: str) -> float:
            if NUMBER.fullmatch(cell) and len(cell) <= MOST_DIGITS and math.isfinite(number := float(cell)):
                return number
            if (missing and cell in MISSING) or (infinite and cell in ("inf", "-inf")):
                return float(cell or "nan")
            raise self.damage(f"has {cut_repr(cell, 40)} in column {cut_list([repr(column.name)])}, not a number")

        return column.map(parse).astype(float)


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends, cut at line feeds and carriage returns alone."""
    start = 0
    for match in re.finditer(r"\r\n|\r|\n", text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it has the key {cut_repr(repeated, 40)} more than once in one object")
    return values


def _parse_whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it has a number of {len(digits):,} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    if len(digits) > MOST_DIGITS or not math.isfinite(float(digits)):
        raise ValueError(f"it has the number {cut_repr(digits, 40)}, which is too large or too long")
    return float(digits)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it has {name}, which JSON does not have")


def _refuse_depth(value: Any) -> None:
    """Refuse (`ValueError`) values more than `MOST_DEPTH` deep; recursion would meet Python's own limit first."""
    level: list[Any] = [value]
    for _ in range(MOST_DEPTH):
        nested = [v for v in level if isinstance(v, (dict, list))]
        if not nested:
            return
        level = [inner for v in nested for inner in (v.values() if isinstance(v, dict) else v)]
    if any(isinstance(v, (dict, list)) for v in level):
        raise ValueError(f"its values are more than {MOST_DEPTH} deep")
