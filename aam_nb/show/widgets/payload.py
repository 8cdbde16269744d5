"""Values as the browser takes them: JSON with few digits, metadata columns, matrices as base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from aam_nb.arrays import Array, Bools
from aam_nb.config import cut_list
from aam_nb.evaluate.judged_truth import refuse_other_truth
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.study import Study

DIGITS = 5
"""Significant digits of the numbers that are sent to the browser."""


def to_json_value(value: Any) -> Any:
    """A value as JSON has it: lists, numbers of few digits, text, None for what is missing or not finite."""
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, int | np.integer | np.bool_):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float | np.floating):
        return _round_number(float(value))
    if isinstance(value, Mapping):
        return {str(k): to_json_value(v) for k, v in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return _round_numbers(value)
    if isinstance(value, pd.Series | pd.Index):
        return to_json_value(value.to_numpy())
    if isinstance(value, pd.DataFrame):
        return [
            dict(zip(map(str, value.columns), map(to_json_value, row), strict=True))
            for row in value.itertuples(index=False)
        ]
    if isinstance(value, Sequence | np.ndarray):
        return [to_json_value(v) for v in value]
    return None if pd.isna(value) else str(value)


def column_payload(values: pd.Series, name: str | None = None) -> dict[str, Any]:
    """A metadata column as the browser takes it: numbers, or categories as places in their `levels`, -1 where missing."""
    label = str(values.name if name is None else name)
    if is_datetime64_any_dtype(values):
        values = values.dt.strftime("%Y-%m-%d")
    if is_numeric_column(values):
        return {"name": label, "kind": "numbers", "values": to_json_value(values.to_numpy(float, na_value=np.nan))}
    codes, levels = pd.factorize(values.astype(object), sort=False)
    return {"name": label, "kind": "categories", "values": codes.tolist(), "levels": [str(v) for v in levels]}


def select_metadata(study: Study, truth: pd.Series, target: str) -> pd.DataFrame:
    """Metadata of the samples that an explorer shows.

    Parameters
    ----------
    study
        Holds them.
    truth
        What they were judged by, indexed by sample id.
    target
        The column that the truth is of.

    Raises
    ------
    ExplorerError
        Some of them are not in the study.
    JudgedTruthError
        They have other values of the target there.
    """
    ids = truth.index
    unknown = ids[~ids.isin(study.sample_ids)]
    if len(unknown):
        raise ExplorerError(
            f"{len(unknown)} of {len(ids)} evaluated samples are not in the study ({cut_list(unknown)}). Expected the study that they are "
            "from. Give it, or leave `study` out."
        )
    remedy = "Give the study that was judged, or judge again with this one."
    refuse_other_truth(truth, study, target=target, of="the result", remedy=remedy)
    return study.metadata.loc[ids]


def metadata_payload(study: Study, truth: pd.Series, target: str) -> list[dict[str, Any]]:
    """Metadata of the samples that an explorer shows, as the browser takes it; see `select_metadata`."""
    rows = select_metadata(study, truth, target)
    return [column_payload(rows[name]) for name in rows.columns]


def _round_number(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _round_numbers(values: Array) -> Any:
    """Numbers with few digits; rounded all at once."""
    values = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.minimum(DIGITS - 1 - np.floor(np.log10(np.abs(values))), 300)  # what is smaller becomes 0
        factor = 10.0 ** np.where(np.isfinite(places), places, 0)
        rounded = np.round(values * factor) / factor
    return np.where(np.isfinite(values), rounded.astype(object), np.array(None)).tolist()


def pack_halves(weights: Array) -> dict[str, Any]:
    """Numbers in [0, 1] as the browser takes them: `shape`, and halves (float16, little-endian) as base64. Three digits are kept."""
    return {"shape": list(weights.shape), "halves": base64.b64encode(weights.astype("<f2").tobytes()).decode()}


def pack_bits(mask: Bools | None) -> str | None:
    """A bit a sample, the first the highest of its byte, as base64."""
    return None if mask is None else base64.b64encode(np.packbits(mask).tobytes()).decode()
