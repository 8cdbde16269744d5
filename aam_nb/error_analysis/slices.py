"""For which samples errors are larger: slices, by the values of a column or of two, and associations with whole columns.

Shape letters: n samples, G groups, S slices, P permutations, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, kruskal, rankdata, spearmanr
from tqdm.auto import tqdm

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.baselines.scaling import rank_key
from aam_nb.config import ErrorsConfig, count_noun, cut_list, format_number, to_one_line
from aam_nb.evaluate.resampling import draw_groups, percentile_interval, permute_groups
from aam_nb.model.objectives import class_names
from aam_nb.study.columns import is_numeric_column

FEWEST_GROUPS = 3
"""Groups inside and outside of a slice from which an interval is given: the mean of one or two does not vary as a new one would."""
SLICE_COLUMNS = ("slice", "columns", "n", "groups", "error", "excess", "low", "high", "p", "p_adjusted", "worse")
FEWEST_VALUES = 5
"""Values that a column must have for an association."""
ASSOCIATION_COLUMNS = ("outcome", "column", "kind", "effect", "n", "p", "p_adjusted")


# -- slices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the samples: `text` says which, `columns` by which columns, `mask_n` is true for them."""

    text: str
    columns: tuple[str, ...]
    mask_n: Bools


def find_slices(
    facts: pd.DataFrame,
    error: Floats,
    unit: Ints,
    config: ErrorsConfig,
    *,
    progress: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """Slices by each column and by pairs of the most important columns, each compared with the samples outside it.

    Parameters
    ----------
    facts
        Columns to slice by, a row per sample. Texts, truth values and numbers of few values are sliced by value (missing is one
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
    A row per slice, and notes on the columns left out. `slice` (text), `columns`, `n` samples of `groups` groups, mean `error`,
    `excess` over the mean error outside, its interval `low` to `high` (whole groups resampled; missing where fewer than three groups
    are inside or outside), `p` (two-sided: how often an excess as large occurs when whole groups exchange their errors, as in
    `resampling.permute_groups`), `p_adjusted` (Benjamini-Hochberg over all rows) and `worse`: errors are larger, with an adjusted p up to
    `false_discovery`. The worse ones come first, then the others, each by excess.

    Pairs are of the columns with the smallest p in a slice of their own, so the p-values of pairs have seen the data once before.
    """
    single, notes = make_slices(facts, config)
    table = measure_slices(single, error, unit, config, desc="slices", progress=progress)
    by_p = table.groupby(table["columns"].str[0], sort=False)["p"].min().sort_values(kind="stable").index
    pairs = list(_pairs(single, list(by_p[: config.max_pair_columns]), config.min_slice))
    if pairs:
        more = measure_slices(pairs, error, unit, config, desc="slices by pairs", progress=progress)
        table = pd.concat([table, more], ignore_index=True)
    return _ranked(table, config), notes


def _ranked(table: pd.DataFrame, config: ErrorsConfig) -> pd.DataFrame:
    table = table.assign(p_adjusted=false_discovery_control(table["p"]) if len(table) else np.empty(0))
    table["worse"] = (table["p_adjusted"] <= config.false_discovery) & (table["excess"] > 0)
    return table.sort_values(["worse", "excess"], ascending=False, kind="stable", ignore_index=True)[
        list(SLICE_COLUMNS)
    ]


def make_slices(facts: pd.DataFrame, config: ErrorsConfig) -> tuple[list[Slice], list[str]]:
    """Slices by one column, those with the same samples once; and notes on the columns that give none."""
    by_mask: dict[bytes, Slice] = {}
    empty: list[str] = []
    same = 0
    for name in facts.columns:
        slices = [s for s in _by_column(name, facts[name], config) if s.mask_n.sum() >= config.min_slice]
        slices = [s for s in slices if not s.mask_n.all()]
        if not slices:
            empty.append(name)
        for s in slices:
            same += s.mask_n.tobytes() in by_mask
            by_mask.setdefault(s.mask_n.tobytes(), s)
    notes = []
    if empty:
        notes.append(
            f"{count_noun(len(empty), 'column')} gave no slice, being constant, different in nearly every "
            f"sample, or without a value of {config.min_slice} samples (`min_slice`): {cut_list(empty)}."
        )
    if same:
        notes.append(
            f"{count_noun(same, 'slice')} {'has' if same == 1 else 'have'} the same samples as another: one is listed, under the name of "
            "the first column."
        )
    return list(by_mask.values()), notes


def _by_column(name: str, values: pd.Series, config: ErrorsConfig) -> Iterator[Slice]:
    missing = values.isna().to_numpy()
    label = to_one_line(name)
    if is_numeric_column(values) and values.nunique() > config.num_bins:
        yield from _by_bins(name, label, values.to_numpy(float, na_value=np.nan), config.num_bins)
    else:
        names = _text_of_numbers(values) if is_numeric_column(values) else class_names(values)
        for value in sorted(names.dropna().unique()):
            yield Slice(
                f"{label} = {to_one_line(str(value))}", (name,), (names == value).to_numpy(bool, na_value=False)
            )
    if missing.any():
        yield Slice(f"{label} is missing", (name,), missing)


def _by_bins(name: str, label: str, x: Floats, bins: int) -> Iterator[Slice]:
    """Quantile bins; the ends are rounded to four digits first, so that the text is exact."""
    x = rank_key(x)
    values = x[np.isfinite(x)]
    cuts = np.unique(rank_key(np.array([float(f"{q:.4g}") for q in np.quantile(values, np.arange(1, bins) / bins)])))
    edges = [-np.inf, *cuts, np.inf]
    for low, high in pairwise(edges):
        mask = (x >= low) & (x < high) if high < np.inf else x >= low
        if low == -np.inf:
            text = f"{label} < {format_number(high, 4)}"
        else:
            text = (
                f"{format_number(low, 4)} <= {label} < {format_number(high, 4)}"
                if high < np.inf
                else f"{label} >= {format_number(low, 4)}"
            )
        yield Slice(text, (name,), mask)


def _text_of_numbers(values: pd.Series) -> pd.Series:
    """Numbers of few values as text: whole ones as they are, others to as many digits as tell them apart."""
    if (values.dropna() % 1 == 0).all() and values.abs().max() < 1e9:
        return class_names(values)
    distinct = values.dropna().astype(float).unique()
    digits = next((d for d in (4, 8) if len({f"{v:.{d}g}" for v in distinct}) == len(distinct)), 12)
    text = values.astype(float).map(lambda v: format_number(v, digits), na_action="ignore")
    return text.astype(object)


def _pairs(single: Sequence[Slice], columns: Sequence[str], least: int) -> Iterator[Slice]:
    """Slices by two of the columns that are smaller than both of the slices they are cut from, each set of samples once."""
    seen = {s.mask_n.tobytes() for s in single}
    by_column = {c: [s for s in single if s.columns == (c,)] for c in columns}
    for first, second in combinations(columns, 2):
        for a in by_column[first]:
            for b in by_column[second]:
                mask = a.mask_n & b.mask_n
                if mask.sum() >= least and mask.tobytes() not in seen:
                    seen.add(mask.tobytes())
                    yield Slice(f"{a.text}, {b.text}", (first, second), mask)


def measure_slices(
    slices: Sequence[Slice],
    error: Floats,
    unit: Ints,
    config: ErrorsConfig,
    *,
    desc: str = "slices",
    progress: bool = False,
) -> pd.DataFrame:
    """Mean error, excess, interval and p of each slice: the columns of `find_slices` up to `p`."""
    if not slices:
        return pd.DataFrame(columns=list(SLICE_COLUMNS[:9])).astype(dict.fromkeys(SLICE_COLUMNS[4:9], float))
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
    low_S, high_S, groups_S = _excess_interval(mask_nS, error, unit, config)
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


def _excess_interval(
    mask_nS: Floats,
    error: Floats,
    unit: Ints,
    config: ErrorsConfig,
) -> tuple[Floats, Floats, Ints]:
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


# -- associations -----------------------------------------------------------------------------------------------------


def find_associations(
    facts: pd.DataFrame,
    outcomes: pd.DataFrame,
    unit: Ints,
    config: ErrorsConfig,
    *,
    progress: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """Rank associations of errors with columns that describe the samples.

    Parameters
    ----------
    facts
        The columns, a row per sample.
    outcomes
        Errors, a row per sample, none missing.
    unit
        Number of each sample's group, as `resampling.number_groups` gives it.
    config
        Permutations and seed.
    progress
        Show a bar.

    Returns
    -------
    A row per outcome and column, by p, and the columns left out (constant, or with nearly as many values as samples). `kind` is
    "spearman", whose `effect` is ρ (-1 to 1), for numbers, and "kruskal" for categories, whose `effect` is (H - k + 1) / (n - k), the
    share of the ranks' variance that k categories explain (about 0 by chance, at most 1). `p` is two-sided: how often ranks of the
    outcome that are exchanged between whole groups (`resampling.permute_groups`) do as well; without groups it is the usual permutation
    test. `p_adjusted` is by Benjamini & Hochberg over all rows.

    References
    ----------
    Effect of Kruskal-Wallis: Tomczak & Tomczak 2014, Trends Sport Sci. 21:19.
    """
    designs, skipped = {}, []
    for name in facts.columns:
        design = _design(facts[name])
        if design is None:
            skipped.append(name)
        else:
            designs[name] = design
    # The outcome's ranks against each column, then against chance.
    ranks = {o: rankdata(rank_key(outcomes[o].to_numpy(float))) for o in outcomes.columns}
    strengths = {(o, c): _strength(ranks[o][None], *designs[c])[0] for o in ranks for c in designs}
    beyond = dict.fromkeys(strengths, 0)
    with tqdm(total=config.num_permutations, desc="associations", delay=2, disable=not progress) as bar:
        for taken_Pn in permute_groups(unit, config.num_permutations, config.seed):
            for outcome, column in strengths:
                chance_P = _strength(ranks[outcome][taken_Pn], *designs[column])
                beyond[outcome, column] += int((chance_P >= strengths[outcome, column] - 1e-12).sum())
            bar.update(len(taken_Pn))
    rows = []
    for outcome, column in strengths:
        rows_n, group_n = designs[column][:2]
        kind = "spearman" if group_n is None else "kruskal"
        effect = _effect(outcomes[outcome].to_numpy(float), *designs[column])
        p = (1 + beyond[outcome, column]) / (1 + config.num_permutations)
        row = {"outcome": outcome, "column": column, "kind": kind, "effect": effect, "n": int(rows_n.sum()), "p": p}
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(ASSOCIATION_COLUMNS[:-1]))
    table["p_adjusted"] = false_discovery_control(table["p"]) if len(table) else np.empty(0)
    return table.sort_values("p", kind="stable", ignore_index=True), skipped


Design = tuple[Bools, Ints | None, Floats]
"""Samples with a value; number of their category, None for numbers; their values' ranks."""


def _design(values: pd.Series) -> Design | None:
    """None where a column is constant, has too few values, or is different in nearly every sample."""
    number = is_numeric_column(values)
    has_value = np.isfinite(values.to_numpy(float, na_value=np.nan)) if number else values.notna().to_numpy()
    count = values[has_value].nunique()
    if has_value.sum() < FEWEST_VALUES or count < 2 or (not number and count > has_value.sum() / 2):
        return None
    if number:
        return has_value, None, rankdata(rank_key(values[has_value].to_numpy(float)))
    return has_value, pd.factorize(class_names(values[has_value]))[0].astype(np.int64), np.empty(0)


def _strength(
    rank_Pn: Floats,
    has_value_n: Bools,
    group: Ints | None,
    ranks: Floats,
) -> Floats:
    """Strength of an association, shape P: |correlation| of ranks, or the share of their variance between the categories."""
    y = rank_Pn[:, has_value_n]
    y = y - y.mean(1, keepdims=True)
    total = np.maximum((y**2).sum(1), 1e-12)
    if group is None:
        x = ranks - ranks.mean()
        return np.abs(y @ x) / np.sqrt(total * (x @ x))
    hot = np.zeros((len(group), group.max() + 1))
    hot[np.arange(len(group)), group] = 1
    return ((y @ hot) ** 2 / hot.sum(0)).sum(1) / total


def _effect(
    outcome: Floats,
    has_value_n: Bools,
    group: Ints | None,
    ranks: Floats,
) -> float:
    y = rank_key(outcome[has_value_n])
    if np.ptp(y) == 0:
        return 0.0
    if group is None:
        return float(spearmanr(ranks, y).statistic)
    k = int(group.max()) + 1
    return float((kruskal(*(y[group == g] for g in range(k))).statistic - k + 1) / (len(y) - k))
