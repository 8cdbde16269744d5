"""What a column of metadata holds: whether it is numeric, and the groups of samples that it names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from aam_nb.arrays import Ints


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
