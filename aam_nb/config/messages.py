"""Messages to the user: errors, notices, and names and numbers as text."""

from __future__ import annotations

from collections.abc import Iterable


def to_one_line(text: str) -> str:
    """Text of a file with its line ends and control letters shown, so that it cannot pass for more than one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def to_utf8(text: str) -> str:
    """Text that can be written: what is not UTF-8, as in the name of a file, is shown as `\\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode()


MOST_MESSAGE = 2400
"""Most characters of an error's message."""


class UserError(Exception):
    """A mistake that its message explains: the command line prints it as one line and exits with code 2."""

    def __str__(self) -> str:
        text = to_one_line(str(self.args[0])) if self.args else ""
        # Whatever name of a file got into it whole: the fault at its beginning and the remedy at its end stay.
        return text if len(text) <= MOST_MESSAGE else f"{text[: MOST_MESSAGE // 2]} … {text[-MOST_MESSAGE // 3 :]}"


class Notice(UserWarning):
    """A warning meant for the user: the command line prints it as one line."""


def count_noun(num: int, noun: str, plural: str | None = None) -> str:
    """A number and what is counted, in the singular or the plural: "1 sample", "2,537 samples", "2 taxa"."""
    return f"{num:,} {noun if num == 1 else plural or noun + 's'}"


def cut_list(ids: Iterable[object], most: int = 5) -> str:
    """The first few ids for a message, long ones cut, line ends shown, the rest counted."""
    names = [to_one_line(i if len(i) <= 40 else i[:16] + "…") for i in map(str, ids)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def cut_repr(value: object, most: int = 200) -> str:
    """A value as Python writes it, cut where it is long; a number of numpy as the number that it is."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()  # type: ignore[attr-defined]
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write whole numbers of thousands of digits
        text = f"a number of {type(value).__name__} with thousands of digits"
    return text if len(text) <= most else text[:most] + "…"
