"""Which columns hold numbers, and which names are nearly the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from aam_nb.study.columns import (
    describe_near_spellings,
    describe_own_spellings,
    find_near_spellings,
    is_numeric_column,
    spelling_key,
)


@pytest.mark.parametrize(
    ("values", "numeric"),
    [
        ([1, 2], True),
        ([1.5, None], True),
        (pd.array([1, None], dtype="Int64"), True),
        ([True, False], False),
        (pd.array([True, None], dtype="boolean"), False),
        (["1", "2"], False),
        (pd.Categorical([1, 2]), False),
        (pd.to_datetime(["2026-01-01"]), False),
        (pd.to_timedelta([1], unit="D"), False),
    ],
)
def test_numbers_are_numeric_and_truth_values_dates_and_text_are_not(values: Any, numeric: bool) -> None:
    column = pd.Series(values)
    assert is_numeric_column(column) is numeric
    assert is_numeric_column(column.dtype) is numeric


def test_an_array_is_a_column_too() -> None:
    assert is_numeric_column(np.arange(3))


SAME = [
    ("Yes", "yes"),
    ("YES ", "yes"),
    ("site A", "Site_a"),
    ("site-A", "siteA"),
    ("01", "1"),
    ("1.0", "1"),
    ("1e3", "1000"),
]
SAME += [
    ("True", "TRUE"),
    ("body\u00a0site", "body site"),
    ("caf\u0065\u0301", "caf\u00e9"),
    ("-0", "0"),
    ("Day 01", "day_01"),
    ("a\u200b", "a"),
    ("1e3", "1000.0"),
]
APART = [
    ("CD+", "CD-"),
    ("<5", ">5"),
    ("1-2", "12"),
    ("1.2", "12"),
    ("-5", "5"),
    ("+", "-"),
    ("yes", "no"),
    ("1.2.3", "1.23"),
    ("1234567890123456789", "1234567890123456788"),
]
APART += [("host12", "host13"), ("2016", "2017")]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_names_that_differ_in_spelling_alone(one: str, other: str) -> None:
    assert spelling_key(one) == spelling_key(other)
    assert find_near_spellings([one], ["nothing", other]) == {one: other}


@pytest.mark.parametrize(("one", "other"), APART)
def test_names_that_differ_in_what_they_say(one: str, other: str) -> None:
    assert spelling_key(one) != spelling_key(other)
    assert find_near_spellings([one], [other]) == {}


def test_slips_of_the_pen_are_near_and_known_names_are_not_asked_for() -> None:
    assert find_near_spellings(["forset", "sea"], ["forest", "lake"]) == {"forset": "forest"}
    assert find_near_spellings(["True", "true"], ["true", "false"]) == {"True": "true"}
    assert find_near_spellings([True], ["true"]) == {"True": "true"}
    assert describe_near_spellings(["True", "x"], ["true", "false"]) == "'True' (nearly 'true')"
    assert describe_near_spellings(["x"], ["true"]) == ""


def test_two_spellings_in_one_column_are_named_with_their_sizes() -> None:
    column = pd.Series(["Yes", "yes", "yes", None, "no"])
    assert describe_own_spellings(column) == "'yes' (2 samples) and 'Yes' (1 sample)"
    assert describe_own_spellings(pd.Series(["yes", "no", "CD+", "CD-"])) == ""
    assert describe_own_spellings(pd.Series([1.0, 1.5])) == ""
    assert describe_own_spellings(pd.Series(["a", "A"], dtype="category")) != ""
