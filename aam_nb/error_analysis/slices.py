"""Slices: groups of samples, by the values of a column or of two, in which errors are larger than elsewhere.

Shape letters: n samples, G groups, S slices, P permutations, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm.auto import tqdm

from aam_nb.config import ErrorsConfig, cut_list, to_one_line
from aam_nb.evaluate.resampling import draw_groups, percentile_interval, permute_groups
from aam_nb.model.objectives import class_names
from aam_nb.study.columns import is_numeric_column

FEWEST_GROUPS = 3
"""Groups inside and outside of a slice from which an interval is given: the mean of one or two does not vary as a new one would."""
COLUMNS = ("slice", "columns", "n", "groups", "error", "excess", "low", "high", "p", "p_adjusted", "worse")


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the samples: `text` says which, `columns` by what, `mask_n` is true for them."""

    text: str
    columns: tuple[str, ...]
    mask_n: npt.NDArray[np.bool_]


def find_slices(
    facts: pd.DataFrame,
    error: npt.NDArray[np.float64],
    unit: npt.NDArray[np.int64],
    config: ErrorsConfig,
    *,
    progress: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """Slices by each column and by pairs of the most telling columns, each compared with the samples outside it.

    Parameters
    ----------
    facts
        What is known of the samples, a row each. Texts, truth values and numbers of few values are sliced by value (missing is one
        too), other numbers by quantile bins.
    error
        Error of each sample, in the unit that the result is in.
    unit
        Number of each sample's group, as `resampling.number_groups` gives it.
    config
        Sizes, resamples, permutations, seed.
    progress
        Show a bar.

    Returns
    -------
    A row per slice, and notes on the columns passed over. `slice` (text), `columns`, `n` samples of `groups` groups, mean `error`,
    `excess` over the mean error outside, its interval `low` to `high` (whole groups resampled; missing where fewer than three groups
    are inside or outside), `p` (two-sided: how often an excess as large comes up when whole groups exchange their errors, as in
    `resampling.permute_groups`), `p_adjusted` (Benjamini-Hochberg over all rows) and `worse`: errors are larger, with an adjusted p up to
    `false_discovery`. The worse ones come first, then the others, each by excess.

    Pairs are of the columns with the smallest p in a slice of their own, so the p-values of pairs have seen the data once before.
    """
    single, notes = slices_of(facts, config)
    table = judge(single, error, unit, config, desc="slices", progress=progress)
    telling = table.groupby(table["columns"].str[0], sort=False)["p"].min().sort_values(kind="stable").index
    pairs = list(_pairs(single, list(telling[: config.max_pair_columns]), config.min_slice))
    if pairs:
        more = judge(pairs, error, unit, config, desc="slices by pairs", progress=progress)
        table = pd.concat([table, more], ignore_index=True)
    return _ranked(table, config), notes


def _ranked(table: pd.DataFrame, config: ErrorsConfig) -> pd.DataFrame:
    from scipy.stats import false_discovery_control

    table = table.assign(p_adjusted=false_discovery_control(table["p"]) if len(table) else np.empty(0))
    table["worse"] = (table["p_adjusted"] <= config.false_discovery) & (table["excess"] > 0)
    return table.sort_values(["worse", "excess"], ascending=False, kind="stable", ignore_index=True)[list(COLUMNS)]


def slices_of(facts: pd.DataFrame, config: ErrorsConfig) -> tuple[list[Slice], list[str]]:
    """Slices by one column, those with the same samples once; and notes on the columns that give none."""
    found: dict[bytes, Slice] = {}
    empty: list[str] = []
    same = 0
    for name in facts.columns:
        mine = [s for s in _by_column(name, facts[name], config) if s.mask_n.sum() >= config.min_slice]
        mine = [s for s in mine if not s.mask_n.all()]
        if not mine:
            empty.append(name)
        for s in mine:
            same += s.mask_n.tobytes() in found
            found.setdefault(s.mask_n.tobytes(), s)
    notes = []
    if empty:
        notes.append(
            f"{len(empty)} columns gave no slice, being constant, different in nearly every sample, or without a value of "
            f"{config.min_slice} samples (`min_slice`): {cut_list(empty)}."
        )
    if same:
        notes.append(
            f"{same} slices hold the same samples as another, and are listed under the name of the first column."
        )
    return list(found.values()), notes


def _by_column(name: str, values: pd.Series, config: ErrorsConfig) -> Iterator[Slice]:
    missing = values.isna().to_numpy()
    label = to_one_line(name)
    if is_numeric_column(values) and values.nunique() > config.num_bins:
        yield from _by_bins(name, label, values.to_numpy(float, na_value=np.nan), config.num_bins)
    else:
        names = class_names(values)
        for value in sorted(names.dropna().unique()):
            yield Slice(
                f"{label} = {to_one_line(str(value))}", (name,), (names == value).to_numpy(bool, na_value=False)
            )
    if missing.any():
        yield Slice(f"{label} is missing", (name,), missing)


def _by_bins(name: str, label: str, x: npt.NDArray[np.float64], bins: int) -> Iterator[Slice]:
    """Quantile bins; the ends are rounded to four digits first, so that the text is exact."""
    known = x[np.isfinite(x)]
    cuts = np.unique([float(f"{q:.4g}") for q in np.quantile(known, np.arange(1, bins) / bins)])
    edges = [-np.inf, *cuts, np.inf]
    for low, high in pairwise(edges):
        mask = (x >= low) & (x < high) if high < np.inf else x >= low
        if low == -np.inf:
            text = f"{label} < {_number(high)}"
        else:
            text = f"{_number(low)} <= {label} < {_number(high)}" if high < np.inf else f"{label} >= {_number(low)}"
        yield Slice(text, (name,), mask)


def _number(x: float) -> str:
    return f"{x:,.0f}" if 1e4 <= abs(x) < 1e12 else f"{x:.4g}"


def _pairs(single: Sequence[Slice], columns: Sequence[str], least: int) -> Iterator[Slice]:
    """Slices by two of the columns that are smaller than both of their parts, each set of samples once."""
    seen = {s.mask_n.tobytes() for s in single}
    by_column = {c: [s for s in single if s.columns == (c,)] for c in columns}
    for first, second in combinations(columns, 2):
        for a in by_column[first]:
            for b in by_column[second]:
                mask = a.mask_n & b.mask_n
                if mask.sum() >= least and mask.tobytes() not in seen:
                    seen.add(mask.tobytes())
                    yield Slice(f"{a.text}, {b.text}", (first, second), mask)


def judge(
    slices: Sequence[Slice],
    error: npt.NDArray[np.float64],
    unit: npt.NDArray[np.int64],
    config: ErrorsConfig,
    *,
    desc: str = "slices",
    progress: bool = False,
) -> pd.DataFrame:
    """Mean error, excess, interval and p of each slice: the columns of `find_slices` up to `p`."""
    if not slices:
        return pd.DataFrame(columns=list(COLUMNS[:9])).astype(dict.fromkeys(COLUMNS[4:9], float))
    mask_nS = np.stack([s.mask_n for s in slices], 1).astype(float)
    n_S = mask_nS.sum(0)
    # Mean inside minus mean outside, as a weight of every sample.
    weight_nS = mask_nS / n_S - (1 - mask_nS) / (len(error) - n_S)
    excess_S = error @ weight_nS
    beyond_S = np.zeros(len(slices))
    with tqdm(total=config.num_permutations, desc=desc, unit="permutation", delay=2, disable=not progress) as bar:
        for taken_Pn in permute_groups(unit, config.num_permutations, config.seed):
            beyond_S += (np.abs(error[taken_Pn] @ weight_nS) >= np.abs(excess_S) * (1 - 1e-9)).sum(0)
            bar.update(len(taken_Pn))
    low_S, high_S, groups_S = _interval(mask_nS, error, unit, config)
    return pd.DataFrame(
        {
            "slice": [s.text for s in slices],
            "columns": [s.columns for s in slices],
            "n": n_S.astype(int),
            "groups": groups_S,
            "error": error @ mask_nS / n_S,
            "excess": excess_S,
            "low": low_S,
            "high": high_S,
            "p": (1 + beyond_S) / (1 + config.num_permutations),
        }
    )


def _interval(
    mask_nS: npt.NDArray[np.float64],
    error: npt.NDArray[np.float64],
    unit: npt.NDArray[np.int64],
    config: ErrorsConfig,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Ends of the percentile interval of each slice's excess under resampling of whole groups, and the groups in each slice."""
    num_groups = int(unit.max()) + 1
    member_Gn = np.zeros((num_groups, len(unit)))
    member_Gn[unit, np.arange(len(unit))] = 1
    count_GS, sum_GS = member_Gn @ mask_nS, member_Gn @ (mask_nS * error[:, None])
    all_G, error_G = member_Gn.sum(1), member_Gn @ error
    drawn_RG = draw_groups(unit, config.num_resamples, config.seed)
    n_RS, sum_RS = drawn_RG @ count_GS, drawn_RG @ sum_GS
    with np.errstate(invalid="ignore", divide="ignore"):
        inside_RS = sum_RS / n_RS
        outside_RS = ((drawn_RG @ error_G)[:, None] - sum_RS) / ((drawn_RG @ all_G)[:, None] - n_RS)
    excess_RS = np.where(np.isfinite(inside_RS) & np.isfinite(outside_RS), inside_RS - outside_RS, np.nan)
    groups_S = (count_GS > 0).sum(0)
    fewest_S = np.minimum(groups_S, (count_GS < all_G[:, None]).sum(0))
    ends_2S = np.full((2, mask_nS.shape[1]), np.nan)
    sound = fewest_S >= FEWEST_GROUPS
    if sound.any():
        ends_2S[:, sound] = percentile_interval(excess_RS[:, sound], config.confidence)
    return ends_2S[0], ends_2S[1], groups_S
