"""Which columns hold numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from aam_nb.study.columns import is_numeric_column


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
