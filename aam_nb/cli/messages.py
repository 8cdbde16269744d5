"""What the command line prints: messages, warnings and errors."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aam_nb.config import Notice, UserError, to_one_line

if TYPE_CHECKING:
    from aam_nb.evaluate.metrics import Evaluation

MAX_PATH_LENGTH = 1000
"""Longer paths are cut in messages."""


class UsageError(UserError, ValueError):
    """A flag is missing, or flags cannot be used together."""


def print_message(text: str) -> None:
    """Print a message at once, from one process of several."""
    if is_main():
        print(text, flush=True)


def is_main() -> bool:
    """Whether this is the only process of a training, or the first of several (torchrun, accelerate launch)."""
    return os.environ.get("RANK", "0") == "0"


def format_evaluation(result: Evaluation) -> str:
    """An evaluation for the terminal: the table, then every warning."""
    groups = f" ({result.num_groups} values of {result.group})" if result.group else ""
    kind = "samples, some of them seen in training" if result.num_seen else "held-out samples"
    head = f"{result.target} on {len(result.predictions)} {kind}{groups}, value [{100 * result.config.confidence:g} % interval]:"
    return "\n".join(
        [head, result.to_frame().rename_axis(None).to_string(), *(f"WARNING: {w}" for w in result.warnings())]
    )


def explain_error(error: Exception) -> str:
    """The message of an error; for an error of the operating system, which file and why."""
    if isinstance(error, UserError) or not isinstance(error, OSError) or error.errno is None:
        return str(error)
    name = "A file" if error.filename is None else str(error.filename)
    name = name if len(name) <= MAX_PATH_LENGTH else f"{name[:80]}…"
    return (
        f"{name} cannot be read or written ({os.strerror(error.errno)}). Expected a file that can be. Check the path and its "
        "permissions."
    )


def explain_shortage(command: type[Any] | None, error: Exception) -> str:
    """That memory ran out in a command, what was asked for, and which of its flags help."""
    first = to_one_line(str(error).strip().partition("\n")[0])[:200]
    said = f" ({first})" if first else ""
    has_tokens = command is not None and any(
        "max_tokens" in vars(c).get("__annotations__", {}) for c in command.__mro__
    )
    flag = "`--max-tokens 1024`, " if has_tokens else ""
    return f"Memory ran out{said}. Expected the work to fit. Use {flag}fewer samples or ASVs, or a machine with more memory."


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print each warning meant for the user as one line, without the line of our code that raised it."""

    def show(message: Warning | str, category: type[Warning], *location: Any) -> None:
        if issubclass(category, Notice):
            print(f"WARNING: {to_one_line(str(message))}", file=sys.stderr, flush=True)
        else:
            show_other(message, category, *location)

    with warnings.catch_warnings():
        show_other, warnings.showwarning = warnings.showwarning, show  # type: ignore[assignment]
        yield
