"""Files and folders that are never half there: written under another name, and renamed when they are whole."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aam_nb.config import UserError


class NotWrittenError(UserError, OSError):
    """A file or folder cannot be written where it was asked for."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to it when all went well, removed when not. Missing folders are made.

    Raises
    ------
    NotWrittenError
        The place cannot be written to, or is full.
    """
    path = Path(path)
    fresh = _beside(path, secrets.token_hex(4), "new")
    with _naming(path, fresh):
        try:
            yield fresh
            _to_disk(fresh)
            fresh.replace(path)
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` to fill; it takes that name, and the place of what was there, when all went well.

    Raises
    ------
    NotWrittenError
        The place cannot be written to, or is full.
    """
    token = secrets.token_hex(4)
    fresh, old = (_beside(folder, token, end) for end in ("new", "old"))
    with _naming(folder, fresh):
        fresh.mkdir()
        try:
            yield fresh
            for path in fresh.rglob("*"):
                _to_disk(path)
            if folder.exists():
                folder.rename(old)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path, *, own: bool = False) -> None:
    """Give a folder back that was lost because its writer was killed between the two renames.

    With `own`, when nobody else writes it, also remove what such writers left beside it.
    """
    beside = re.compile(re.escape(f".{folder.name[:50]}.") + r"[0-9a-f]{8}\.(new|old)")
    if folder.exists() and not own:
        return
    for _ in range(2):  # a writer that lives is between its renames for an instant
        leftovers = (
            sorted(p for p in folder.parent.glob(".*") if beside.fullmatch(p.name)) if folder.parent.is_dir() else []
        )
        if folder.exists() or not leftovers:
            break
        time.sleep(0.1)
    for path in sorted(leftovers, key=lambda p: p.suffix, reverse=True):  # .old first
        if path.suffix == ".old" and not folder.exists():
            path.rename(folder)
        elif own:
            shutil.rmtree(path, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Have the system write a file out, so that after a power cut it is not empty."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _beside(path: Path, token: str, end: str) -> Path:
    """A hidden name in the same folder, not longer than file systems take."""
    return path.with_name(f".{path.name[:50]}.{token}.{end}")


@contextmanager
def _naming(path: Path, fresh: Path) -> Iterator[None]:
    """Make the folder of `path`; what then fails in writing is told of `path`, not of the name that nobody asked for."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if isinstance(error, UserError) or not (full or fresh.name in str(error)):
            raise
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> NotWrittenError:
    why = os.strerror(error.errno) if error.errno else type(error).__name__
    return NotWrittenError(
        f"{path} cannot be written ({why}). Expected a place that can be written to, with room for it. Choose another path, or check its "
        "folder."
    )
