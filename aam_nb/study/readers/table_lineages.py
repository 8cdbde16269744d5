"""The lineages that a feature table itself holds: under `taxonomy`, or a rank under each key, as phyloseq writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aam_nb.study.readers.sheets import plain
from aam_nb.study.readers.table_columns import join_rank
from aam_nb.study.readers.taxonomy import RANK_COLUMNS, RANKS, TAXON_COLUMNS

NUMBERED = re.compile(r"(?:taxonomy|taxon|tax|rank|level)([1-9])")


def lineage_keys(keys: Iterable[str]) -> list[str]:
    """The keys of a table's observation metadata that hold lineages: one of whole lineages, or those of two ranks or more, the highest
    first; none where there are neither."""
    keys = list(keys)
    whole = [key for key in keys if plain(key) in TAXON_COLUMNS]
    if whole:
        return sorted(whole, key=lambda key: key != "taxonomy")[:1]
    ranks = {rank: key for key in reversed(keys) if (rank := _rank_of(key)) is not None}
    return [ranks[rank] for rank in sorted(ranks)] if len(ranks) > 1 else []


def join_lineage(keys: list[str], values: Mapping[str, Any]) -> str:
    """The lineage of one feature, its ranks divided by semicolons; empty where nothing is known.

    Parameters
    ----------
    keys
        Of `lineage_keys`.
    values
        The feature's metadata by key.
    """
    if len(keys) == 1:
        value = values.get(keys[0])
        return "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value or "")
    names = {_rank_of(key): _text(values.get(key)) for key in keys}
    return "; ".join(join_rank(rank, names.get(rank, "")) for rank in range(len(RANKS))) if any(names.values()) else ""


def _rank_of(key: str) -> int | None:
    """Place in `RANKS` of a key such as Kingdom, Rank1 or taxonomy1."""
    name = plain(key)
    if name in RANK_COLUMNS:
        return RANK_COLUMNS[name]
    match = NUMBERED.fullmatch(name)
    return int(match[1]) - 1 if match and int(match[1]) <= len(RANKS) else None


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)
