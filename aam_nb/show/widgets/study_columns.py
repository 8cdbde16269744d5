"""Metadata columns of a study as its explorer shows them, and those that it leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from aam_nb.config import count_noun, cut_list, cut_repr
from aam_nb.show.widgets.payload import column_payload
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.study import Study

FEW = 10
"""Whole numbers of at most so many different values are taken as categories, as a study's number or a year is."""
MOST_COLUMNS = 80
"""Metadata columns that are sent to the browser, at most."""


def describe_columns(study: Study) -> tuple[list[dict[str, Any]], str]:
    """Metadata columns as the browser takes them, and a sentence on those left out.

    Left out are columns without values, texts that differ in every sample, and columns beyond the first `MOST_COLUMNS`.
    """
    columns: list[dict[str, Any]] = []
    left_out = []
    for name in study.metadata.columns:
        values = study.metadata[name]
        present = values.dropna()
        numeric = is_numeric_column(values)
        all_differ = not numeric and len(present) > 2 and present.astype(str).nunique() == len(present)
        if present.empty or all_differ or len(columns) == MOST_COLUMNS:
            left_out.append(str(name))
        elif numeric and present.nunique() <= FEW and (present.astype(float) % 1 == 0).all():
            columns.append(_few_numbers_payload(values, str(name)))
        else:
            columns.append(column_payload(values, str(name)))
    if not left_out:
        return columns, ""
    verb = "is" if len(left_out) == 1 else "are"
    return columns, (
        f"{len(left_out)} of {count_noun(study.metadata.shape[1], 'metadata column')} {verb} left out ({cut_list(left_out)}): all values "
        f"missing, a text that differs in every sample, or beyond the first {MOST_COLUMNS}."
    )


def refuse_left_out(study: Study, columns: list[dict[str, Any]], name: str, trait: str) -> None:
    """Refuse (`ExplorerError`) a metadata column that the explorer leaves out, with the reason and the way to show it.

    Parameters
    ----------
    study
        The study.
    columns
        Those that it does not leave out, of `describe_columns`.
    name
        The column asked for, which may be no column at all.
    trait
        What it was asked for as: "color" or "facet".
    """
    if name not in study.metadata or name in [c["name"] for c in columns]:
        return
    values = study.metadata[name]
    if not values.notna().any():
        reason, fix = "it has no value", "Choose another column"
    elif values.nunique() == values.notna().sum():
        are_dates, column = pd.api.types.is_datetime64_any_dtype(values), f"study.metadata[{name!r}]"
        reason = f"its {count_noun(int(values.notna().sum()), 'date' if are_dates else 'value')} all differ"
        fix = "Make a column of groups, or of numbers, from it"
        if are_dates:
            fix += f": `{column}.dt.strftime('%Y-%m')` are months, `({column} - {column}.min()).dt.days` days"
    else:
        reason, fix = f"it comes after the first {MOST_COLUMNS}", f"Show fewer: `study.metadata[[{name!r}, …]]`"
    raise ExplorerError(
        f"{trait} is {cut_repr(name)}, a column that the explorer leaves out, since {reason}. Expected values that several samples share, "
        f"or numbers. {fix}."
    )


def _few_numbers_payload(values: pd.Series, name: str) -> dict[str, Any]:
    """A column of few whole numbers, as categories in the order of the numbers."""
    column = column_payload(values.astype(float).map(lambda v: f"{v:.0f}", na_action="ignore"), name)
    order = np.argsort([float(v) for v in column["levels"]])
    code = np.append(np.argsort(order), -1)  # -1, a missing value, stays -1
    return {**column, "values": code[column["values"]].tolist(), "levels": [column["levels"][k] for k in order]}
