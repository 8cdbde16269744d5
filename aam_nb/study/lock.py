"""Locks of the kernel on folders that are being written: a second writer is refused at once, and a killed process leaves none behind."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aam_nb.config import Notice, UserError, to_path
from aam_nb.study.atomic import clear_leftovers, lock_descriptor, recover_folder
from aam_nb.study.writable import HANDED_ON, held, not_written, resolve_destination


class FolderInUseError(UserError, RuntimeError):
    """Another process, or another thread, is writing the folder."""


class LockWarning(Notice):
    """A file system has no locks; the work goes on without."""


@contextmanager
def lock_folder(folder: str | Path) -> Iterator[None]:
    """Keep a folder for this writer alone, and clear what killed writers left in and beside it.

    The lock is one of the kernel (`flock`; of Windows, on a byte) on a small file, `.NAME.lock` beside the folder, which ends with the
    process, however that ends. The same thread may lock a folder again. On a file system without locks a warning is given, and the
    work goes on.

    Raises
    ------
    FolderInUseError
        Another writer has it.
    NotWrittenError
        The place cannot be written to.
    """
    target = resolve_destination(to_path(folder, "a folder to write"))
    key, thread = str(target), threading.get_ident()
    if held.get(key) == thread or os.environ.get(HANDED_ON) == key:
        yield
        return
    if key in held:
        raise _in_use(Path(folder), "another thread of this process")
    place = _lock_file(target)
    made = _make_parents(place.parent)
    descriptor = _take(Path(folder), place)
    held[key] = thread
    try:
        recover_folder(target, own=True)
        clear_leftovers(target)
        yield
    finally:
        del held[key]
        if descriptor is not None:
            with suppress(OSError):
                place.unlink()  # while it is locked: who opened it meanwhile sees that it is gone
            os.close(descriptor)
        for parent in made:
            with suppress(OSError):  # not empty: it was written
                parent.rmdir()


@contextmanager
def hand_on(folder: Path) -> Iterator[None]:
    """Let processes started inside write a folder that this process has locked."""
    os.environ[HANDED_ON] = str(resolve_destination(folder))
    try:
        yield
    finally:
        os.environ.pop(HANDED_ON, None)


def _lock_file(folder: Path) -> Path:
    """Beside the folder, since the folder itself may be replaced; inside where nothing can be written beside it."""
    inside = folder.is_dir() and (folder.is_mount() or not os.access(folder.parent, os.W_OK))
    name = folder.name if len(os.fsencode(folder.name)) <= 200 else hashlib.sha256(os.fsencode(folder.name)).hexdigest()
    return folder / ".lock" if inside else folder.with_name(f".{name}.lock")


def _make_parents(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the ones that were not there, the deepest first."""
    made = []
    while not folder.exists() and folder != folder.parent:
        made.append(folder)
        folder = folder.parent
    try:
        for parent in reversed(made):
            parent.mkdir(exist_ok=True)
    except OSError as error:
        raise not_written(made[0], error) from error
    return made


def _take(folder: Path, place: Path) -> int | None:
    """The descriptor of the locked file; None where the file system has no locks."""
    while True:
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise not_written(folder, error) from error
        try:
            lock_descriptor(descriptor)
            if _is_still(place, descriptor):
                about = {"process": os.getpid(), "machine": platform.node()}
                with suppress(OSError):  # a full disk: the lock holds all the same
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps(about).encode())
                return descriptor
            os.close(descriptor)  # its holder removed it between our opening and our locking
        except BlockingIOError:
            who = _holder(descriptor)
            os.close(descriptor)
            raise _in_use(folder, who) from None
        except OSError as error:
            os.close(descriptor)
            with suppress(OSError):
                place.unlink()
            warnings.warn(
                f"{folder} is on a file system without locks ({os.strerror(error.errno or 0)}). Make sure that no other process writes it.",
                LockWarning,
                stacklevel=4,
            )
            return None


def _is_still(place: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(place.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    """Who holds a lock, by what it wrote into the file."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        about = json.loads(os.read(descriptor, 1000))
        return f"process {int(about['process'])} on {str(about['machine'])[:100]}"
    return "another process"


def _in_use(folder: Path, who: str) -> FolderInUseError:
    return FolderInUseError(
        f"{folder} is being written by {who}. Expected one writer at a time. Wait until it has ended, stop it, or choose another folder."
    )
