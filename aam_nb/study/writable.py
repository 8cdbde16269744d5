"""Whether a file or folder can be written where it is asked for, found before the work; and why not, where writing failed."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from aam_nb.config import UserError, to_path

NUMBERS = re.compile(r"\[?Errno (\d+)\]?|errno = (\d+)|os error (\d+)")
"""How the libraries that write (Python and shutil, HDF5, Rust) put the system's number of an error into their texts."""
CAUSES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENAMETOOLONG,
)
"""What of these a library tells is about the file that it writes."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room: what is written is at fault, whatever name the error has."""
MOST_LINKS = 40
"""Links that are followed, as the system does."""
PROBE_BYTES = 4096
"""What is written to try a place: the least that a full disk refuses."""
PROBE = re.compile(r"\.probe\.[0-9a-f]{8}\.new")
"""Names of what is written to try a place."""


HANDED_ON = "AAM_NB_LOCKED"
"""Environment variable by which a process tells its children (the kernel of a notebook) which folder it has locked for them."""
held: dict[str, int] = {}
"""Folders that this process has locked, and by which thread; see `aam_nb.study.lock`."""


class NotWrittenError(UserError, OSError):
    """A file or folder cannot be written where it was asked for."""


def require_inside(path: Path) -> None:
    """Refuse what is written into a locked folder and would take the place of something elsewhere, by a link that a stranger put there.

    Raises
    ------
    NotWrittenError
        The path is named inside a folder that this process has locked, and a link leads out of it.
    """
    own, target = {*held, os.environ.get(HANDED_ON, "")}, Path(os.path.realpath(path))
    for parent in Path(os.path.abspath(path)).parents:
        real = os.path.realpath(parent)
        if real in own and not target.is_relative_to(real):
            raise NotWrittenError(
                f"{path} leads out of {parent}, by a link, to {target}, which is left as it is. Expected files and folders of its own: "
                "they are replaced. Remove the link, or copy here what it leads to."
            )


def check_writable_file(path: str | Path) -> Path:
    """Refuse, before any work, a place where a file cannot be written; nothing is left there. Returns the path.

    Raises
    ------
    NotWrittenError
        A folder has that name, a file is where a folder is needed, permission or room is missing, a link leads to itself.
    """
    path = to_path(path, "a file to write")
    if own_descriptor(path) is not None:
        return path
    target = resolve_destination(path)
    if target.is_dir():
        raise not_written(path, OSError(errno.EISDIR, ""))
    if target.exists() and not os.access(target, os.W_OK):
        raise not_written(path, OSError(errno.EROFS if _is_read_only(target) else errno.EACCES, ""))
    if not is_special(target):
        _try_to_make(path, target.parent)
    return path


def check_writable_folder(folder: str | Path, *, replaced: bool = False) -> Path:
    """Refuse, before any work, a folder that cannot be written; nothing is left there. Returns the path.

    `replaced` says that the folder as a whole takes the place of what is there, as a run or a study does.

    Raises
    ------
    NotWrittenError
        A file has that name or that of a folder above it, permission or room is missing, a link leads to itself; with `replaced`, the
        folder is the root of a file system, which cannot be replaced.
    """
    folder = to_path(folder, "a folder to write")
    target = resolve_destination(folder)
    if target.exists() and not target.is_dir():
        raise not_written(folder, OSError(errno.ENOTDIR, ""))
    if replaced and target.is_dir() and target.is_mount():
        raise NotWrittenError(
            f"{folder} cannot be replaced as a whole: it is where a file system is mounted. Expected a folder inside it. Choose "
            f"{folder / 'run'}."
        )
    _try_to_make(folder, target.parent if replaced else target)
    return folder


def resolve_destination(path: Path) -> Path:
    """Where a path leads once all links are followed, also one whose end is not there yet: what is written, while the links stay.

    Raises
    ------
    NotWrittenError
        The name holds a NUL or is too long, or links lead in a circle.
    """
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
        target = Path(os.path.realpath(path))
        long = [part for part in target.parts if len(os.fsencode(part)) > _longest_name(target)]
        if long:
            raise OSError(errno.ENAMETOOLONG, "")
        if target.is_symlink():
            raise OSError(errno.ELOOP, "")
    except PermissionError:
        return Path(os.path.realpath(path))
    except OSError as error:
        raise not_written(path, error) from error
    except ValueError as error:  # a NUL
        raise NotWrittenError(
            f"{str(path)!r} cannot be written ({error}). Expected a name that the system takes. Choose another path."
        ) from error
    return target


def own_descriptor(path: Path) -> int | None:
    """The number of this process's open file that a path such as `/dev/stdout` or `/dev/fd/3` is; None for any other path."""
    if path.as_posix() in ("/dev/stdout", "/dev/stderr"):
        return 1 if path.name == "stdout" else 2
    folders = (f"/proc/{os.getpid()}/fd", "/dev/fd")
    for _ in range(MOST_LINKS):
        try:
            if path.name.isdecimal() and os.path.realpath(path.parent) in folders:
                return int(path.name)
            path = path.parent / os.readlink(path)
        except (OSError, ValueError):
            return None
    return None


def is_special(path: Path) -> bool:
    """Whether there is something that is neither a file nor a folder: a device, a pipe, a socket. It is written into, never replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def not_written(path: Path, error: BaseException) -> NotWrittenError:
    """The error that names the path as the user named it, and the cause."""
    number = find_errno(error, path)
    why = os.strerror(number) if number else type(error).__name__
    return NotWrittenError(
        f"{path} cannot be written ({why}). Expected a place that can be written to, with room for it. Choose another path, or check its "
        "folder."
    )


def find_errno(error: BaseException, path: Path) -> int:
    """The system's number of an error, also where a library hides it in a text or in a cause; else what a look at the place says; or 0."""
    seen: BaseException | None = error
    while seen is not None:
        number = getattr(seen, "errno", None)
        if isinstance(number, int) and number > 0:
            return number
        told = [int(next(filter(None, m.groups()))) for m in NUMBERS.finditer(str(seen))]
        if any(n in CAUSES for n in told):
            return next(n for n in told if n in CAUSES)
        seen = seen.__cause__ or seen.__context__
    return _look_at(path)


def _look_at(path: Path) -> int:
    """What stands in the way of writing at a path, tried: no room, no permission; 0 where nothing does."""
    folder = _nearest(Path(os.path.realpath(path)).parent)
    probe = folder / f".probe.{secrets.token_hex(4)}.new"
    try:
        try:
            probe.write_bytes(b"\0" * PROBE_BYTES)
        finally:
            probe.unlink(missing_ok=True)
        return errno.ENOSPC if shutil.disk_usage(folder).free < PROBE_BYTES else 0
    except OSError as error:
        return error.errno or 0


def _try_to_make(path: Path, folder: Path) -> None:
    """Write a probe into a folder, or into the nearest one above it that is there, and remove it."""
    nearest = _nearest(folder)
    probe = nearest / f".probe.{secrets.token_hex(4)}.new"
    _clear_probes(nearest)
    try:
        if not nearest.is_dir():
            raise OSError(errno.ENOTDIR, "")
        try:
            probe.write_bytes(b"\0" * PROBE_BYTES)
            if nearest != folder:  # /proc and the like have no room for folders
                probe.unlink(missing_ok=True)
                probe.mkdir()
                with suppress(FileNotFoundError):  # another process may clear it too
                    probe.rmdir()
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error


def _clear_probes(folder: Path) -> None:
    """Remove what processes left that were killed while they tried a place; one that lives does not need its probe to stay."""
    with suppress(OSError):
        for probe in [folder / name for name in os.listdir(folder) if PROBE.fullmatch(name)]:
            with suppress(OSError):
                probe.rmdir() if probe.is_dir() else probe.unlink()


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _longest_name(path: Path) -> int:
    try:
        return os.pathconf(_nearest(path.parent), "PC_NAME_MAX")
    except (OSError, ValueError, AttributeError):
        return 255


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):
        return False
