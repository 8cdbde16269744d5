"""What users name: lists of ids."""

from __future__ import annotations

from collections.abc import Iterable

from aam_nb.config import cut_repr
from aam_nb.study.errors import UnknownIdError


def as_id_list(name: str, ids: Iterable[str]) -> list[str]:
    """Ids as a list of text.

    Raises
    ------
    UnknownIdError
        A text is given, which is a list of its letters to Python.
    """
    if isinstance(ids, str):
        raise UnknownIdError(
            f"{name} is {cut_repr(ids, 60)}. Expected a list of ids. Use `{name}=[{cut_repr(ids, 60)}]`."
        )
    return [str(i) for i in ids]
