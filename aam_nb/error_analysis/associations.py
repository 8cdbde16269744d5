"""What errors go along with: depth, diversity, distance from the training data, and every metadata column.

Shape letters: n samples, P permutations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import false_discovery_control, kruskal, rankdata, spearmanr
from tqdm.auto import tqdm

from aam_nb.config import ErrorsConfig
from aam_nb.evaluate.resampling import permute_groups
from aam_nb.model.objectives import class_names
from aam_nb.study.columns import is_numeric_column

FEWEST = 5
"""Known values that a column must have."""
COLUMNS = ("outcome", "column", "kind", "effect", "n", "p", "p_adjusted")


def find_associations(
    facts: pd.DataFrame,
    outcomes: pd.DataFrame,
    unit: npt.NDArray[np.int64],
    config: ErrorsConfig,
    *,
    progress: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """Rank associations of errors with what is known of the samples.

    Parameters
    ----------
    facts
        Columns to ask about, a row per sample.
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
    A row per outcome and column, by p, and the columns passed over (constant, or with nearly as many values as samples). `kind` is
    "spearman", whose `effect` is ρ (-1 to 1), for numbers, and "kruskal" for categories, whose `effect` is (H - k + 1) / (n - k), the
    share of the ranks' variance that k categories explain (about 0 by chance, at most 1). `p` is two-sided: how often ranks of the
    outcome that change places by whole groups (`resampling.permute_groups`) do as well; without groups it is the usual permutation test.
    `p_adjusted` is by Benjamini & Hochberg over all rows.

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
    ranks = {o: rankdata(outcomes[o].to_numpy(float)) for o in outcomes.columns}
    sizes = {(o, c): _size(ranks[o][None], *designs[c])[0] for o in ranks for c in designs}
    beyond = dict.fromkeys(sizes, 0)
    with tqdm(total=config.num_permutations, desc="associations", delay=2, disable=not progress) as bar:
        for taken_Pn in permute_groups(unit, config.num_permutations, config.seed):
            for outcome, column in sizes:
                chance_P = _size(ranks[outcome][taken_Pn], *designs[column])
                beyond[outcome, column] += int((chance_P >= sizes[outcome, column] - 1e-12).sum())
            bar.update(len(taken_Pn))
    rows = []
    for outcome, column in sizes:
        rows_n, group_n = designs[column][:2]
        kind = "spearman" if group_n is None else "kruskal"
        effect = _effect(outcomes[outcome].to_numpy(float), *designs[column])
        p = (1 + beyond[outcome, column]) / (1 + config.num_permutations)
        row = {"outcome": outcome, "column": column, "kind": kind, "effect": effect, "n": int(rows_n.sum()), "p": p}
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    table["p_adjusted"] = false_discovery_control(table["p"]) if len(table) else np.empty(0)
    return table.sort_values("p", kind="stable", ignore_index=True), skipped


Design = tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64] | None, npt.NDArray[np.float64]]
"""Samples with a known value; number of their category, None for numbers; their values' ranks."""


def _design(values: pd.Series) -> Design | None:
    """None where a column is constant, has too few values, or is different in nearly every sample."""
    number = is_numeric_column(values)
    known = np.isfinite(values.to_numpy(float, na_value=np.nan)) if number else values.notna().to_numpy()
    count = values[known].nunique()
    if known.sum() < FEWEST or count < 2 or (not number and count > known.sum() / 2):
        return None
    if number:
        return known, None, rankdata(values[known].to_numpy(float))
    return known, pd.factorize(class_names(values[known]))[0].astype(np.int64), np.empty(0)


def _size(
    rank_Pn: npt.NDArray[np.float64],
    known_n: npt.NDArray[np.bool_],
    group: npt.NDArray[np.int64] | None,
    ranks: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """What is compared with chance, shape P: |correlation| of ranks, or the share of their variance between the categories."""
    y = rank_Pn[:, known_n]
    y = y - y.mean(1, keepdims=True)
    total = np.maximum((y**2).sum(1), 1e-12)
    if group is None:
        x = ranks - ranks.mean()
        return np.abs(y @ x) / np.sqrt(total * (x @ x))
    hot = np.zeros((len(group), group.max() + 1))
    hot[np.arange(len(group)), group] = 1
    return ((y @ hot) ** 2 / hot.sum(0)).sum(1) / total


def _effect(
    outcome: npt.NDArray[np.float64],
    known_n: npt.NDArray[np.bool_],
    group: npt.NDArray[np.int64] | None,
    ranks: npt.NDArray[np.float64],
) -> float:
    y = outcome[known_n]
    if np.ptp(y) == 0:
        return 0.0
    if group is None:
        return float(spearmanr(ranks, y).statistic)
    k = int(group.max()) + 1
    return float((kruskal(*(y[group == g] for g in range(k))).statistic - k + 1) / (len(y) - k))
