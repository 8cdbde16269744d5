"""Faults at the k-th file operation of this process below a folder: a kill, a disk that is full from then on, or a refused permission.

Operations are what Python's audit events tell (files opened to be written, folders made, names changed and removed), each write to a file
opened by Python (of which half is done), and each `fsync`.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
from typing import Any

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")
NEED_SPACE = ("open", "os.mkdir", "os.truncate", "os.link", "os.symlink", "write", "fsync")
"""What a full disk refuses: not renaming, nor removing."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Faults:
    """Counts operations below `root`, and does what `how` says at number `at`: "count", "kill", "full" or "refuse"."""

    def __init__(self, root: str, how: str, at: int) -> None:
        self.root, self.how, self.at = os.path.realpath(root), how, at
        self.count = 0
        self.on = False
        self.names: list[str] = []

    def install(self) -> None:
        """Watch this process from now on; it cannot be undone."""
        sys.addaudithook(self._audit)
        self._wrap_files()
        fsync = os.fsync

        def slow(descriptor: Any) -> None:
            self._meet("fsync", self._path_of(descriptor))
            fsync(descriptor)

        os.fsync = slow
        self.on = True

    def _path_of(self, descriptor: Any) -> str:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        try:
            return os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            return ""

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on or event not in EVENTS or not args:
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & WRITES):
            return
        paths = [os.fsdecode(a) for a in args[:2] if isinstance(a, (str, bytes)) or hasattr(a, "__fspath__")]
        self._meet(event, *(paths if event in ("os.rename", "os.link") else paths[:1]), folder=args[-1])

    def _meet(self, name: str, *paths: str, folder: Any = None) -> bool:
        """Count an operation; act where it is the one. True for a write that is to be done half."""
        resolved = [os.path.join(os.getcwd(), p) for p in paths]
        if isinstance(folder, int) and folder > 2 and name in ("os.remove", "os.rmdir", "os.mkdir"):
            resolved = [os.path.join(self._path_of(folder), p) for p in paths]
        if not any(p.startswith(self.root) for p in resolved):
            return False
        self.count += 1
        self.names.append(f"{name} {os.path.relpath(resolved[0], self.root)}")
        if self.how == "kill" and self.count == self.at:
            if name == "write":
                return True
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "full" and self.count >= self.at and name in NEED_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *resolved[:1])
        if self.how == "refuse" and self.count >= self.at and name not in ("os.remove", "os.rmdir", "write", "fsync"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), *resolved[:1])
        return False

    def _wrap_files(self) -> None:
        real, meet = io.open, self._meet

        class Watched:
            """A file whose writes are operations."""

            def __init__(self, file: Any, path: str) -> None:
                self._file, self._path = file, path

            def write(self, data: Any) -> Any:
                if meet("write", self._path):
                    self._file.write(data[: len(data) // 2])
                    self._file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                return self._file.write(data)

            def writelines(self, lines: Any) -> None:
                for line in lines:
                    self.write(line)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

            def __enter__(self) -> Any:
                self._file.__enter__()
                return self

            def __exit__(self, *error: Any) -> Any:
                return self._file.__exit__(*error)

            def __iter__(self) -> Any:
                return iter(self._file)

        def watched(file: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
            opened = real(file, mode, *args, **more)
            if self.on and set(mode) & set("wax+") and isinstance(file, (str, bytes, os.PathLike)):
                path = os.path.join(os.getcwd(), os.fsdecode(file))
                if path.startswith(self.root):
                    return Watched(opened, path)
            return opened

        io.open = watched
        builtins.open = watched
