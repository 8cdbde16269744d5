"""Where a command writes: refused before any work where it cannot, kept for it alone, and heard though nobody reads what it prints."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from aam_nb.cli.messages import UsageError, is_main
from aam_nb.study.lock import hand_on, lock_folder
from aam_nb.study.writable import check_writable_file, check_writable_folder, own_descriptor
from aam_nb.train.run_files import OWNED

Writes = Literal["file", "folder", "run", ""]
"""A single text file, a folder of files, a run folder, or nothing."""
STANDARD_OUTPUT = Path("/dev/stdout")
"""What `--out -` stands for."""


@contextlib.contextmanager
def claim_output(command: Any, verb: str, writes: Writes) -> Iterator[Any]:
    """The command, its `--out` refused (`UserError`) where it cannot be written, and locked where it is a folder, while it runs."""
    out = getattr(command, "run" if verb == "resume" else "out", None)
    with ExitStack() as stack:
        if not writes or out is None or not is_main():
            yield command
            return
        if writes == "file":
            if str(out) == "-":
                command, out = replace(command, out=STANDARD_OUTPUT), STANDARD_OUTPUT
            check_writable_file(out)
            _refuse_inputs(command, out)
            if own_descriptor(out) == 1:  # only the file goes to standard output
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        else:
            if str(out) == "-":
                raise UsageError(
                    f"--out is -, which is standard output. `aam-nb {verb}` writes a folder. Give its name, or `--out ./-`."
                )
            if verb == "resume" and not out.parent.is_dir():  # there is nothing to continue, as the command will say
                yield command
                return
            check_writable_folder(out, replaced=writes == "run")
            stack.enter_context(lock_folder(out))
            if verb == "notebook":
                stack.enter_context(hand_on(out))  # to its kernel
        yield command


def _refuse_inputs(command: Any, out: Path) -> None:
    """Refuse an `--out` that is one of the files read, or a file of a run folder that `aam-nb` wrote: it would be lost."""
    if not out.is_file():
        return
    for flag, path in _paths(command):
        if path != out and not path.exists():
            continue
        if path == out or path.samefile(out):
            raise UsageError(
                f"--out is {out}, which is also {flag}. Expected a file that is not read. Choose another name: {path.name} would be lost."
            )
    if out.name in OWNED and all(
        (Path(os.path.realpath(out)).parent / name).is_file() for name in ("config.json", "model.safetensors")
    ):
        raise UsageError(
            f"--out is {out}, a file of a run folder. Expected another: the run would be damaged. Choose another name."
        )


def _paths(command: Any) -> Iterator[tuple[str, Path]]:
    """Paths that a command was given, but for `--out`, and their flags."""
    for field in fields(command):
        value = getattr(command, field.name)
        if is_dataclass(value):
            yield from _paths(value)
        elif field.name != "out":
            for path in value if isinstance(value, tuple | list) else [value]:
                if isinstance(path, Path):
                    yield f"--{field.name.replace('_', '-')}", path


# -- streams that nobody reads ----------------------------------------------------------------------------------------


class Heedless(io.TextIOBase):
    """A stream whose reader may go away: what is written then is dropped, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with self._heedless():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._heedless():
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def buffer(self) -> Any:
        return self.stream.buffer

    @contextlib.contextmanager
    def _heedless(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # From here on it leads nowhere, also for what is still in its buffer.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)
            if error.errno not in (errno.EPIPE, errno.EIO) and self.stream is not sys.__stderr__:
                print(f"WARNING: What is printed cannot be written ({os.strerror(error.errno or 0)}).", file=sys.stderr)


@contextlib.contextmanager
def heedless_streams() -> Iterator[None]:
    """Standard output and error that take every letter, and that may be closed, also by a terminal that ends."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    before = sys.stdout, sys.stderr
    hangup = signal.getsignal(signal.SIGHUP) if hasattr(signal, "SIGHUP") else None
    try:
        for name, number in (("stdout", 1), ("stderr", 2)):
            stream = getattr(sys, name)
            if stream is None:
                stream = os.fdopen(number, "w", encoding="utf-8", closefd=False)
            if stream is getattr(sys, f"__{name}__") or getattr(sys, f"__{name}__") is None:
                if hasattr(stream, "reconfigure"):
                    stream.reconfigure(errors="backslashreplace")
                setattr(sys, name, Heedless(stream))
        with contextlib.suppress(ValueError):  # not the main thread
            if hangup is signal.SIG_DFL:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before
        with contextlib.suppress(ValueError):
            if hangup is signal.SIG_DFL:
                signal.signal(signal.SIGHUP, hangup)
