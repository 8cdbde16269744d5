"""What JSON must hold, said in small checks that are put together: types, ranges, lengths. The first value that is not so is named.

A check takes a value and gives it back (converted, where it says so), or raises `Mismatch`. `StoredFile.read_json` takes one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aam_nb.config.checks import from_dict
from aam_nb.config.messages import cut_list, cut_repr

Check = Callable[[Any], Any]
MOST_NUMBER = 1.7e308
"""Largest number that is taken."""
LACKS = object()
"""In place of the value of a key that is not there."""


class Mismatch(ValueError):
    """A value is not what it must be."""

    def __init__(self, expected: str, value: object, keys: tuple[object, ...] = ()) -> None:
        self.expected, self.value, self.keys = expected, value, keys
        super().__init__(str(self))

    def within(self, key: object) -> Mismatch:
        """The same, seen from the object or list that holds the value under `key`."""
        return Mismatch(self.expected, self.value, (key, *self.keys))

    def __str__(self) -> str:
        if self.value is LACKS:
            place = f"{join_keys(self.keys[:-1])} lacks" if len(self.keys) > 1 else "it lacks"
            return f"{place} {cut_list([repr(self.keys[-1])])}, {self.expected}"
        name = join_keys(self.keys) or "it"
        return f"{name} is {cut_repr(self.value, 60)}, not {self.expected}"


def join_keys(keys: tuple[object, ...]) -> str:
    """Keys as one name: `record.fit.split`, `metrics[3].value`."""
    parts = [f"[{k}]" if isinstance(k, int) else f".{cut_list([k])}" for k in keys]
    return "".join(parts).removeprefix(".")


def text(words: str = "text", pattern: str = "", *, most: int = 2**20) -> Check:
    """A text, of a pattern where one is given; `words` say of what kind."""

    def check(value: Any) -> str:
        ok = isinstance(value, str) and len(value) <= most and (not pattern or re.fullmatch(pattern, value))
        if not ok:
            raise Mismatch(words, value)
        return str(value)

    return check


def choice(*choices: Any) -> Check:
    """One of a few texts or numbers."""

    def check(value: Any) -> Any:
        if not any(type(value) is type(c) and value == c for c in choices):
            raise Mismatch(f"one of {', '.join(map(repr, choices))}", value)
        return value

    return check


def whole(low: int = -(2**63), high: int = 2**63 - 1) -> Check:
    """A whole number within a range, ends included."""

    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise Mismatch(_in_range("a whole number", low, high, 2**63 - 1), value)
        return value

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """A finite number within a range, ends included, as float."""

    def check(value: Any) -> float:
        if type(value) not in (int, float) or abs(value) > MOST_NUMBER or not low <= value <= high:
            raise Mismatch(_in_range("a number", low, high, math.inf), value)
        return float(value)

    return check


def _in_range(noun: str, low: float, high: float, most: float) -> str:
    if low == 0 and high == most:
        return f"{noun} of zero or more"
    ends = [f"at least {low:,g}"] * (low > -most) + [f"at most {high:,g}"] * (high < most)
    return " ".join([noun, " and ".join(ends)]).strip() if ends and low > -(2**63) else noun


def truth(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise Mismatch("true or false", value)
    return value


def anything(value: Any) -> Any:
    """Whatever it is: for what no code depends on, or what its own class checks."""
    return value


def optional(check: Check) -> Check:
    """null, or what `check` takes."""

    def check_optional(value: Any) -> Any:
        if value is None:
            return None
        try:
            return check(value)
        except Mismatch as error:
            if error.keys:
                raise
            raise Mismatch(f"null or {error.expected}", value) from error

    return check_optional


def either(*checks: Check) -> Check:
    """What any of the checks takes."""

    def check_either(value: Any) -> Any:
        expected = []
        for check in checks:
            try:
                return check(value)
            except Mismatch as error:
                expected.append(error.expected)
        raise Mismatch(" or ".join(expected), value)

    return check_either


def many(check: Check, *, least: int = 0, most: int = 2**22, once: bool = False) -> Check:
    """A list of what `check` takes, between `least` and `most` of them, each once where `once` is set."""

    def check_many(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Mismatch("a list", value)
        if not least <= len(value) <= most:
            bound = f"at least {least:,}" if len(value) < least else f"at most {most:,}"
            raise Mismatch(f"a list of {bound}", value)
        made = []
        for k, item in enumerate(value):
            try:
                made.append(check(item))
            except Mismatch as error:
                raise error.within(k) from error
        if once and len(set(made)) < len(made):
            repeated = next(v for k, v in enumerate(made) if v in made[:k])
            raise Mismatch("there once alone", repeated, (made.index(repeated, made.index(repeated) + 1),))
        return made

    return check_many


def fields(
    required: Mapping[str, Check], more: Mapping[str, Check] | None = None, *, others: Check | None = None
) -> Check:
    """An object with fields of these names: all of `required`, any of `more`, and `others` of any name, or none where that is None."""
    known = {**required, **(more or {})}

    def check_fields(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Mismatch("an object", value)
        for name in required:
            if name not in value:
                raise Mismatch("which it needs", LACKS, (name,))
        made = {}
        for name, item in value.items():
            check = known.get(name, others)
            if check is None:
                raise Mismatch(f"a known key: there are {cut_list(known, 20)}", item, (name,))
            try:
                made[name] = check(item)
            except Mismatch as error:
                raise error.within(name) from error
        return made

    return check_fields


def mapping(check: Check) -> Check:
    """An object whose keys are the user's own names, each with what `check` takes."""
    return fields({}, others=check)


def settings(kind: type[Any], needed: Iterable[str] = (), *, build: bool = True) -> Check:
    """The settings of a config dataclass: the config, or with `build=False` the same object, checked.

    Parameters
    ----------
    kind
        A dataclass of `aam_nb.config`.
    needed
        Settings that must be there, since a missing one would silently take its default.
    """

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(f"an object with the settings of {kind.__name__}", value)
        for name in needed:
            if name not in value:
                raise Mismatch(f"a setting of {kind.__name__}", LACKS, (name,))
        made = from_dict(kind, value)
        return made if build else value

    return check
