"""Files and folders that are never half there: written under another name, and renamed when they are whole.

What is written has a lock of the kernel as long as its writer lives, so that what a killed one left is known, and removed by the next.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aam_nb.config import UserError, to_path
from aam_nb.study.writable import (
    CAUSES,
    FULL,
    NotWrittenError,
    find_errno,
    is_special,
    not_written,
    own_descriptor,
    require_inside,
    resolve_destination,
)

__all__ = [
    "NotWrittenError",
    "clear_leftovers",
    "lock_descriptor",
    "recover_folder",
    "scratch_folder",
    "whole_file",
    "whole_folder",
]

LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.(?:new|old)")
"""Names of what is being written, and of what was replaced."""
LONGEST = 100
"""Bytes of a name that a temporary name holds; of longer ones it holds a digest."""
DEPTH = 2
"""Folders within one another in which leftovers are looked for: those of a run and of a comparison."""
STEPS = 20
"""Looks, a twentieth of a second apart, at a folder whose writer is between its two renames."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary name to write to; renamed to `path` when all went well, removed when not. Missing folders are made.

    Links are followed: the file that they lead to is replaced, and they stay. A device, a pipe, or an open file of this process
    (`/dev/stdout`) is written into, once all is there.

    Raises
    ------
    NotWrittenError
        The place cannot be written to, or is full.
    """
    path = to_path(path, "a file to write")
    descriptor = own_descriptor(path)
    require_inside(path)
    target = path if descriptor is not None else resolve_destination(path)
    if descriptor is not None or is_special(target):
        with tempfile.TemporaryDirectory(prefix="aam_nb-") as folder:
            fresh = Path(folder) / "file"
            yield fresh
            _pour(fresh, path, target if descriptor is None else descriptor)
        return
    if target.is_dir():
        raise not_written(path, OSError(errno.EISDIR, ""))
    with _scratch(path, target) as folder:
        fresh = folder / target.name
        yield fresh
        _to_disk(fresh)
        with suppress(OSError):
            shutil.copymode(target, fresh)  # of the file that it replaces, where there is one
        fresh.replace(target)


@contextmanager
def whole_folder(folder: Path, owned: Collection[str]) -> Iterator[Path]:
    """A temporary folder beside `folder` to fill; it takes that name, and the place of what was there, when all went well.

    Of what was there, the names in `owned` are replaced or go; all others are kept: they are the user's, or another writer's.

    Raises
    ------
    NotWrittenError
        The place cannot be written to, or is full.
    """
    folder = to_path(folder, "a folder to write")
    require_inside(folder)
    target = resolve_destination(folder)
    with _scratch(folder, target) as fresh:
        yield fresh
        _carry_over(target, fresh, owned)
        for path in fresh.rglob("*"):
            _to_disk(path)
        old = fresh.with_suffix(".old")
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """A temporary folder beside `place`, which need not be there, for this process alone; removed at the end.

    What killed processes left under such names is removed first.
    """
    with _scratch(place, resolve_destination(place)) as folder:
        yield folder


def recover_folder(folder: Path, *, own: bool = False) -> None:
    """Give a folder back that was lost because its writer was killed between the two renames.

    With `own`, also remove what killed writers left beside it. Links are followed.
    """
    try:
        folder = Path(os.path.realpath(folder))  # `resolve` raises where links lead in a circle
    except ValueError:  # a NUL
        return
    if not folder.exists():
        for _ in range(STEPS):
            old = [p for p in _leftovers(folder) if p.suffix == ".old"]
            if folder.exists() or not old:
                break
            writer = old[0].with_suffix(
                ".new"
            )  # of the same token: one that lives is between its renames for an instant
            if not (writer.exists() and _is_in_use(writer)):
                with suppress(OSError):
                    old[0].rename(folder)
                break
            time.sleep(0.05)
    if own:
        _remove_unused(_leftovers(folder))


def clear_leftovers(folder: Path) -> None:
    """Remove what killed writers left in a folder and in the folders inside it."""
    for place, folders, files in os.walk(folder):
        left = [name for name in (*folders, *files) if LEFTOVER.fullmatch(name)]
        deep = len(Path(place).relative_to(folder).parts) >= DEPTH
        folders[:] = [] if deep else [name for name in folders if name not in left]
        # Without its folder, what was replaced is all that there is: whoever reads that folder gives it back.
        alone = {name for name in left if name.endswith(".old") and not _has_owner(name, folders)}
        _remove_unused([Path(place) / name for name in left if name not in alone])


def lock_descriptor(descriptor: int) -> None:
    """Lock an open file or folder for this process alone, at once or not at all (`BlockingIOError`); other errors: it has no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            os.lseek(descriptor, 4096, os.SEEK_SET)  # beyond what is written, which others may read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except PermissionError as error:
            raise BlockingIOError(errno.EWOULDBLOCK, "locked") from error
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


# -- what is kept -----------------------------------------------------------------------------------------------------


def _carry_over(target: Path, fresh: Path, owned: Collection[str]) -> None:
    """Give a folder that takes another's place what that holds beside the names that its writer owns."""
    names = sorted(os.listdir(target)) if target.is_dir() else []
    for name in set(names) - set(_left_out(str(target), names)) - {*owned}:
        source, to = target / name, fresh / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, to, symlinks=True, ignore=_left_out, copy_function=_link_or_copy)
        else:
            _link_or_copy(str(source), str(to))


def _left_out(place: str, names: list[str]) -> list[str]:
    """Names of a folder that are not kept: pipes and devices, and what a killed writer left."""
    paths = [Path(place) / name for name in names]
    return [p.name for p in paths if p.suffix == ".new" or not (p.is_symlink() or p.is_file() or p.is_dir())]


def _link_or_copy(source: str, to: str) -> None:
    """The same file under a second name, where the file system has that: no room is needed twice."""
    try:
        os.link(source, to, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(source, to, follow_symlinks=False)


# -- names ------------------------------------------------------------------------------------------------------------


def _stem(name: str) -> str:
    """A name as temporary names hold it, not longer than file systems take, and of this name alone."""
    raw = os.fsencode(name)
    return name if len(raw) <= LONGEST else hashlib.sha256(raw).hexdigest()


def _beside(path: Path) -> Path:
    """A new hidden name in the same folder."""
    return path.with_name(f".{_stem(path.name)}.{secrets.token_hex(4)}.new")


def _leftovers(path: Path) -> list[Path]:
    """What stands beside a path under its temporary names."""
    names = re.compile(re.escape(f".{_stem(path.name)}.") + r"[0-9a-f]{8}\.(?:new|old)")
    try:
        return [path.parent / name for name in sorted(os.listdir(path.parent)) if names.fullmatch(name)]
    except OSError:
        return []


def _has_owner(name: str, folders: list[str]) -> bool:
    return any(name.startswith(f".{_stem(folder)}.") for folder in folders)


# -- what is in use ---------------------------------------------------------------------------------------------------


def _open_locked(folder: Path) -> int | None:
    """A locked descriptor of a folder; None where it cannot be had (no such locks: Windows, some network file systems)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        lock_descriptor(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_in_use(path: Path) -> bool:
    """Whether the writer of a temporary folder lives; where that cannot be known, a folder changed within a day is in use."""
    try:
        descriptor = _open_locked(path)
    except BlockingIOError:
        return True
    if descriptor is not None:
        os.close(descriptor)
        return False
    with suppress(OSError):
        return time.time() - path.stat().st_mtime < 24 * 3600
    return False


def _remove_unused(paths: list[Path]) -> None:
    for path in paths:
        if path.suffix == ".old" or not path.is_dir() or not _is_in_use(path):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _scratch(path: Path, target: Path) -> Iterator[Path]:
    """A locked temporary folder beside `target`; what fails in writing is told of `path`, the name that the user gave."""
    fresh, descriptor = target, None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(target, own=True)
        for _ in range(STEPS):
            fresh = _beside(target)
            fresh.mkdir()
            try:
                descriptor = _open_locked(fresh)
            except BlockingIOError:  # another process takes it for a leftover
                continue
            if fresh.is_dir():
                break
    except OSError as error:
        raise not_written(path, error) from error
    try:
        yield fresh
    except UserError:
        raise
    except Exception as error:
        if _is_of_writing(error, fresh):
            raise not_written(path, error) from error
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _is_of_writing(error: Exception, fresh: Path) -> bool:
    """Whether an error is one of writing to a temporary folder, not of what was to be written."""
    if isinstance(error, OSError) and (error.errno in FULL or fresh.name in str(error)):
        return True
    return (isinstance(error, OSError | RuntimeError) or fresh.name in str(error)) and find_errno(
        error, fresh
    ) in CAUSES


def _pour(fresh: Path, path: Path, into: Path | int) -> None:
    """Copy a file into something that is no regular file."""
    try:
        if isinstance(into, int):
            into = os.dup(into)
        with fresh.open("rb") as source, open(into, "wb", buffering=0) as sink:
            while piece := source.read(2**20):
                while piece:
                    piece = piece[sink.write(piece) or 0 :]
    except BrokenPipeError:
        raise  # its reader has all that it wanted
    except OSError as error:
        raise not_written(path, error) from error


def _to_disk(path: Path) -> None:
    """Have the system write a file out, so that after a power cut it is not empty."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
