"""Attributions: how much each feature moves predictions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aam_nb.config import (
    cut_list,
    format_number,
    format_signed,
)
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.explain.attribution.query import PLURALS
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.attribution.taxa_and_clades import UNCLASSIFIED, choose_clades
from aam_nb.show.plots.style import LETTERS, PALETTE, cut, legend_below, new_axes, set_title, short
from aam_nb.study.errors import UnknownIdError

UP, DOWN = PALETTE[4], PALETTE[0]
"""Colours of bars that raise and lower a prediction; their direction says the same."""
PER_ROW = 75
"""Nucleotides in a row of a figure."""


def attributions(
    result: Attributions, *, top: int = 15, mark: Iterable[str] = (), ax: Axes | None = None, **artist_kw: Any
) -> Axes:
    """The features with the largest mean absolute attribution.

    Bars are the mean attribution, thin lines its bootstrap interval, points the mean absolute attribution; a star marks the features in
    `mark` (such as planted ASVs).
    """
    return _bars(
        result,
        result.by_feature().head(top),
        f"{PLURALS[result.level]} that moved predictions most",
        mark,
        ax,
        artist_kw,
    )


def taxa(
    result: Attributions, rank: str | None = None, *, top: int = 15, ax: Axes | None = None, **artist_kw: Any
) -> Axes:
    """The taxa of one rank with the largest mean absolute attribution, drawn as in `attributions`.

    Parameters
    ----------
    result
        Of level "taxon".
    rank
        A rank of its taxa; by default the lowest at which taxa without a name hold at most half of the mean absolute attribution.

    Raises
    ------
    ExplainError, UnknownIdError
        The level is another, or there is no such rank.
    """
    _require(result, "taxon")
    ranks = result.features["rank"].unique().tolist()
    if rank is not None and rank not in ranks:
        raise UnknownIdError(f"rank is {rank!r}. The attributions have {cut_list(ranks, 10)}. Name one of those.")
    table = result.by_feature()
    of_rank = table.groupby("rank")["mean_abs"].sum()
    unnamed = table[table["name"] == UNCLASSIFIED].set_index("rank")["mean_abs"].reindex(ranks, fill_value=0.0)
    named = [r for r in ranks if unnamed[r] <= of_rank[r] / 2]
    rank = rank or (named or ranks)[-1]
    return _bars(result, table[table["rank"] == rank].head(top), f"taxa at rank {cut(rank)}", (), ax, artist_kw)


def clades(result: Attributions, *, top: int = 15, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """The clades with the largest mean absolute attribution, drawn as in `attributions`.

    Clades lie within one another; `choose_clades` says which of them are drawn. `result.by_feature()` has all.

    Raises
    ------
    ExplainError
        The level is not "clade".
    """
    _require(result, "clade")
    assert result.members is not None
    table = result.by_feature()
    chosen = choose_clades(result.members, result.features.index.get_indexer(table.index), top)
    return _bars(
        result, table.loc[result.features.index[chosen]], "clades that moved predictions most", (), ax, artist_kw
    )


def nucleotides(result: Attributions, asv: str | None = None, **artist_kw: Any) -> Figure:
    """Mean attribution of each nucleotide of one ASV: bars point up where a nucleotide raises predictions.

    Parameters
    ----------
    result
        Of level "nucleotide".
    asv
        Its DNA; by default the first one explained.

    Raises
    ------
    ExplainError, UnknownIdError
        The level is another, or the ASV was not explained.
    """
    _require(result, "nucleotide")
    asv = asv if asv is not None else str(result.asv_ids[0])
    if asv not in result.asv_ids:
        raise UnknownIdError(
            f"The nucleotides of {short(asv)} were not explained. There are {len(result.asv_ids)} ASVs, such as "
            f"{cut_list(map(short, result.asv_ids[:2]))}. Name one of `attributions.asv_ids`."
        )
    table = result.by_feature()
    table = table[table["asv_id"] == asv].sort_values("position")
    rows = -(-len(table) // PER_ROW)
    figure, axes = plt.subplots(
        rows,
        1,
        figsize=(min(len(table), PER_ROW) * 0.12 + 1.6, 1.5 * rows + 0.9),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    for k, ax in enumerate(axes[:, 0]):
        row = table.iloc[k * PER_ROW : (k + 1) * PER_ROW]
        colours = [LETTERS.get(letter, "#777777") for letter in row["letter"]]
        ax.bar(row["position"], row["mean"], color=colours, width=0.85, **artist_kw)
        ax.vlines(row["position"], row["low"], row["high"], color="black", linewidth=0.5)
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xticks(row["position"], row["letter"], family="monospace", fontsize=7)
        for label, colour in zip(ax.get_xticklabels(), colours, strict=True):
            label.set_color(colour)
            label.set_fontweight("bold")
        ax.tick_params(axis="x", length=0, pad=2)
        first = int(row["position"].iloc[0])
        ax.set_xlim(first - 1, first + min(len(table), PER_ROW))
        above = ax.secondary_xaxis("top")
        above.set_xticks([p for p in row["position"] if p % 10 == 0 or p == 1])
        above.tick_params(labelsize=7, length=2)
        ax.yaxis.set_major_locator(MaxNLocator(4))
    samples = int(table["samples"].iloc[0])
    figure.suptitle(
        f"{cut(result.target)}: nucleotides of {short(asv)} (in {samples} of {len(result.sample_ids)} samples)",
        fontsize=10,
    )
    figure.supylabel(f"mean attribution\n({_unit(result)})", fontsize=9)
    figure.supxlabel("position, nucleotides", fontsize=9)
    return figure


def sample_attributions(
    result: Attributions, sample: str, *, top: int = 12, ax: Axes | None = None, **artist_kw: Any
) -> Axes:
    """From the output for the reference to one sample's prediction: what each feature adds, the largest first.

    All other features share one bar. Where the attributions of a method need not sum to the prediction, one more bar is the rest.

    Raises
    ------
    ExplainError
        The features lie within one another, or have no common reference.
    UnknownIdError
        The sample was not explained.
    """
    ranks = result.features["rank"].nunique() if result.level == "taxon" else 1
    if result.level == "clade" or ranks > 1 or result.check["reference"].isna().any():
        raise ExplainError(
            f"These are attributions at level {result.level!r} by {result.method!r}, which do not lead from one reference to a prediction. "
            "Expected ASVs, covariates, or taxa of one rank. Try `aam.explain.attribute(model, study)`."
        )
    values, check = result.of_sample(sample), result.check.loc[sample].to_dict()
    steps = list(zip(_labels(result, values.index[:top]), values.iloc[:top], strict=True))
    if len(values) > top:
        steps.append((f"{len(values) - top} others", values.iloc[top:].sum()))
    if not result.complete:
        steps.append(("not explained by the method", check["gap"]))
    ax = ax or new_axes(width=6.2, height=0.28 * len(steps) + 1.6)
    size = np.array([value for _, value in steps], dtype=float)
    start = check["reference"] + np.concatenate([[0], size.cumsum()[:-1]])
    y = np.arange(len(steps))[::-1]
    ax.barh(y, size, left=start, color=np.where(size >= 0, UP, DOWN), **artist_kw)
    ends = start + size
    for height, value, low, high in zip(y, size, np.minimum(start, ends), np.maximum(start, ends), strict=True):
        ax.annotate(
            format_signed(value), (high if value >= 0 else low, height), xytext=(3 if value >= 0 else -3, 0),
            textcoords="offset points", va="center", ha="left" if value >= 0 else "right", fontsize=7,
        )  # fmt: skip
    ax.vlines(ends[:-1], y[:-1] - 0.6, y[:-1] - 0.4, color="black", linewidth=0.6)
    for name, style in (("reference", ":"), ("prediction", "--")):
        ax.axvline(
            check[name], color="black", linewidth=1, linestyle=style, label=f"{name} {format_number(check[name])}"
        )
    ax.set_yticks(y, [label for label, _ in steps], fontsize=8, family="monospace" if result.level == "asv" else None)
    ax.use_sticky_edges = False
    ax.margins(x=0.16)
    ax.set_xlabel(f"{cut(str(check['output']))} ({cut(result.unit, 40)})")
    set_title(ax, f"{cut(sample)}: attributions of {cut(result.target)}")
    legend_below(ax, 0.5, ncols=2)
    return ax


# -- shared by these figures ----------------------------------------------------------------------------------------------------


def _bars(
    result: Attributions,
    table: pd.DataFrame,
    title: str,
    mark: Iterable[str],
    ax: Axes | None,
    artist_kw: dict[str, Any],
) -> Axes:
    """Rows of `by_feature()` as bars, the first on top."""
    ax = ax or new_axes(width=6.6, height=0.28 * max(4, len(table)) + 1.5)
    table, marked, y = table.iloc[::-1], set(mark), np.arange(len(table))
    labels = [
        ("★ " if a in marked else "") + text for a, text in zip(table.index, _labels(result, table.index), strict=True)
    ]
    ax.barh(y, table["mean"], color=np.where(table["mean"] >= 0, UP, DOWN), **artist_kw)
    ax.hlines(y, table["low"], table["high"], color="black", linewidth=1.0, label="95% interval of the mean")
    ax.plot(table["mean_abs"], y, linestyle="none", marker="o", markersize=4, color="black", label="mean |attribution|")
    ax.set_yticks(y, labels, fontsize=8, family="monospace" if result.level == "asv" else None)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(f"mean attribution\n({_unit(result)})")
    set_title(ax, f"{cut(result.target)}: {title}", 52)
    handles = ax.get_legend_handles_labels()[0]
    if marked:
        handles.append(ax.plot([], [], linestyle="none", marker="*", color="black", markersize=9, label="marked")[0])
    legend_below(ax, 0.65, handles=handles, ncols=3)
    return ax


def _unit(result: Attributions) -> str:
    """The unit of attributions, and their output where it is not the target."""
    return cut(result.unit if result.output in ("", result.target) else f"{result.unit}, {result.output}", 44)


def _labels(result: Attributions, features: pd.Index) -> list[str]:
    """Names of features for an axis."""
    table = result.features.loc[features]
    if result.level == "asv":
        if not table.shape[1]:
            return [short(a) for a in features]
        lowest = table.astype(object).ffill(axis=1).iloc[:, -1]  # the lowest rank with a name
        return [short(a) if pd.isna(n) else f"{cut(n, 18)} {a[:7]}…" for a, n in zip(features, lowest, strict=True)]
    if result.level == "taxon":
        several = table["rank"].nunique() > 1
        return [cut(t if several else n, 44) for t, n in zip(features, table["name"], strict=True)]
    if result.level == "clade":
        return [
            f"{cut(n or c, 30)} ({k} ASVs)" for c, n, k in zip(features, table["name"], table["num_asvs"], strict=True)
        ]
    if result.level == "nucleotide":
        rows = zip(table["asv_id"], table["position"], table["letter"], strict=True)
        return [f"{short(asv)} {letter}{position}" for asv, position, letter in rows]
    return [cut(name, 34) for name in features]


def _require(result: Attributions, level: str) -> None:
    if result.level != level:
        raise ExplainError(
            f"These are attributions at level {result.level!r}. Expected level {level!r}. Make them with "
            f"`aam.explain.attribute(model, study, level={level!r})`."
        )
