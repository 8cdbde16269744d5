"""What a column of metadata holds."""

from __future__ import annotations

from typing import Any

from pandas.api.types import is_bool_dtype, is_numeric_dtype


def is_numeric_column(values: Any) -> bool:
    """Whether a column holds numbers: integers or floats, with or without missing values. True and False are not numbers, nor are dates.

    Parameters
    ----------
    values
        A Series, an array, or its dtype.
    """
    return is_numeric_dtype(values) and not is_bool_dtype(values)
