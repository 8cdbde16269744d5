"""What the command line says, and to whom."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import aam_nb as aam
from aam_nb.config import (
    Notice,
    UserError,
    to_one_line,
)

LONGEST = 1000
"""Characters of a path that are shown whole."""


class UsageError(UserError, ValueError):
    """Flags that do not go together."""


def say(text: str) -> None:
    """A line for the user, at once."""
    if is_main():
        print(text, flush=True)


def is_main() -> bool:
    """Whether this is the only process of a training, or the first of several (torchrun, accelerate launch)."""
    return os.environ.get("RANK", "0") == "0"


def indent(text: str) -> str:
    """Four spaces before each line."""
    return "\n".join("    " + line for line in text.split("\n"))


def describe(result: aam.Evaluation) -> str:
    """An evaluation for the terminal: the table, then every warning."""
    by = f" ({result.num_groups} values of {result.group})" if result.group else ""
    kind = "samples, some of them seen in training," if result.num_seen else "held-out samples"
    head = f"{result.target} on {len(result.predictions)} {kind}{by}, value [{100 * result.config.confidence:g} % interval]:"
    return "\n".join(
        [head, result.to_frame().rename_axis(None).to_string(), *(f"WARNING: {w}" for w in result.warnings())]
    )


def why(error: Exception) -> str:
    """An error in words; of one of the operating system's, the file and the reason."""
    if isinstance(error, UserError) or not isinstance(error, OSError) or error.errno is None:
        return str(error)
    name = "A file" if error.filename is None else str(error.filename)
    name = name if len(name) <= LONGEST else f"{name[:80]}…"
    return (
        f"{name} cannot be read or written ({os.strerror(error.errno)}). Expected one that can be. Check the path, and who "
        "may use it."
    )


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """A warning meant for the user is one line, without the place in our code that gave it."""

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, Notice):
            print(f"WARNING: {to_one_line(str(message))}", file=sys.stderr, flush=True)
        else:
            shown(message, category, *where)

    with warnings.catch_warnings():
        shown, warnings.showwarning = warnings.showwarning, show  # type: ignore[assignment]
        yield
