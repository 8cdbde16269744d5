"""Paths that users give, checked at the door."""

from __future__ import annotations

import os
from pathlib import Path

from aam_nb.config.messages import UserError, cut_repr


class PathError(UserError, TypeError):
    """Something that is no path was given for a file or a folder."""


def to_path(
    value: object, what: str = "a file or folder", *, argument: str = "", example: str = "'folder/name'"
) -> Path:
    """A path as the system takes it.

    Parameters
    ----------
    value
        Text, or a path of `pathlib`.
    what
        What it leads to, for the message: "a feature table".
    argument
        Name of the argument that it was given for, where there is one.
    example
        What could have been given.

    Raises
    ------
    PathError
        It is anything else, or empty text.
    """
    if isinstance(value, str | os.PathLike) and value != "":
        path = os.fspath(value)
        if isinstance(path, str):
            return Path(path)
    simple = value is None or isinstance(value, bool | int | float | bytes | str)
    shown = cut_repr(value, 60) if simple else f"a {type(value).__name__}"
    kind = f", of type {type(value).__name__}" if simple and not (value is None or value == "") else ""
    subject = f"{argument} is {shown}{kind}" if argument else f"{shown}{kind}{kind and ','} is no path"
    fix = f"Try `{argument}={example}`." if argument else f"Give it as {example}."
    raise PathError(f"{subject}. Expected the path (text) of {what}. {fix}")
