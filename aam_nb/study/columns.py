"""What a column of metadata holds: whether it is numeric, the groups of samples that it names, and names that are nearly the same."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from aam_nb.arrays import Ints
from aam_nb.config import count_noun, cut_repr

SHORTEST, ALIKE, MOST_NAMES = 4, 0.8, 200
"""Names of at least so many letters, alike by at least so much (`difflib`) and with the same digits, may be slips of the pen. They are
looked for among so many names at most, as it takes long."""

NUMBER = re.compile(r"([+-]?)(?=\.?\d)(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?", re.ASCII)
"""A number in small letters: sign, digits before and after the point, exponent."""
MOST_CLASSES = 1000
"""Distinct values of a column whose spellings are compared."""


def is_numeric_column(values: Any) -> bool:
    """Whether a column holds numbers: integers or floats, with or without missing values. True and False are not numbers, nor are dates.

    Parameters
    ----------
    values
        A Series, an array, or its dtype.
    """
    return is_numeric_dtype(values) and not is_bool_dtype(values)


def number_groups(group: pd.Series | None, num_samples: int) -> Ints:
    """Number of each sample's group, 0 to G - 1, shape n; without groups, and where a sample has none, it is a group of its own."""
    if group is None:
        return np.arange(num_samples)
    unit = pd.factorize(group)[0].astype(np.int64)
    alone = unit < 0
    unit[alone] = unit.max(initial=-1) + 1 + np.arange(alone.sum())
    return unit


def spelling_key(name: object) -> str:
    """A name without what people write in different ways: case, blanks, underscores, dots and dashes within it, unseen marks, and the
    form of a number.

    "Yes", "YES " and "yes" have one key, and so have "site A" and "site_a", or "1", "01" and "1.0". "CD+" and "CD-" have two, as have
    "1-2" and "12".
    """
    word = "".join(c for c in unicodedata.normalize("NFKC", str(name)) if unicodedata.category(c) != "Cf")
    word = " ".join(word.casefold().split())
    if NUMBER.fullmatch(word):
        return _number_key(word)
    word = re.sub(r"(?<=\w)[\s_.-]+(?=\w)", " ", word.strip("_ "))
    return re.sub(r"(?<=[^\W\d]) | (?=[^\W\d])", "", word)


def _number_key(word: str) -> str:
    """Digits and exponent of a number, all of them: floats would take 1234567890123456788 and …789 for one."""
    sign, whole, part, power = NUMBER.fullmatch(word).groups()  # type: ignore[union-attr]
    digits = (whole + (part or "")).lstrip("0")
    stripped = digits.rstrip("0")
    scale = (int(power) if power and len(power) < 10 else 0) - len(part or "") + len(digits) - len(stripped)
    return f"{'-' if sign == '-' and stripped else ''}{stripped or 0}e{scale if stripped else 0}"


def find_near_spellings(names: Iterable[object], known: Iterable[object]) -> dict[str, str]:
    """Of each name that is not among the known ones, the known one that it seems to mean.

    Parameters
    ----------
    names
        What was found, such as the classes of a new study.
    known
        What was expected, such as the classes of a model.

    Returns
    -------
    Known name by name; by `spelling_key`, else the most alike one where there is one. Names that are known, or like none, are left out.
    """
    own = [str(k) for k in known]
    by_key = {spelling_key(k): k for k in reversed(own)}
    near: dict[str, str] = {}
    for name in set(map(str, names)) - set(own):
        key = spelling_key(name)
        if key not in by_key and len(re.sub(r"[\W\d_]", "", key)) >= SHORTEST and len(near) + len(own) <= MOST_NAMES:
            digits = re.sub(r"\D", "", key)
            rivals = [k for k in by_key if re.sub(r"\D", "", k) == digits]
            key = next(iter(difflib.get_close_matches(key, rivals, 1, ALIKE)), key)
        if key in by_key:
            near[name] = by_key[key]
    return dict(sorted(near.items()))


def describe_near_spellings(names: Iterable[object], known: Iterable[object]) -> str:
    """What `find_near_spellings` finds, as a message says it: `'True' (nearly 'true')`; empty where it finds nothing."""
    near = find_near_spellings(names, known).items()
    return _few([f"{cut_repr(name, 40)} (nearly {cut_repr(own, 40)})" for name, own in near], 5)


def describe_own_spellings(values: pd.Series) -> str:
    """Values of one column that differ in spelling alone, with how many samples have each; empty where there are none.

    Numbers and dates have one spelling, so columns of them have none; and texts of more than `MOST_CLASSES` kinds are no classes.
    """
    if is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return ""
    sizes = values.dropna().astype(str).value_counts()
    if len(sizes) > MOST_CLASSES:
        return ""
    by_key: dict[str, list[str]] = {}
    for name in sizes.index:
        by_key.setdefault(spelling_key(name), []).append(
            f"{cut_repr(name, 40)} ({count_noun(int(sizes[name]), 'sample')})"
        )
    return _few([" and ".join(names) for names in by_key.values() if len(names) > 1], 3)


def _few(texts: list[str], most: int) -> str:
    """The first few texts, the rest counted."""
    return "; ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
