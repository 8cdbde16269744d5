"""Whether attributions can be believed."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.explain.attribution.query import PLURALS
from aam_nb.explain.faithfulness.deletion_insertion import KINDS
from aam_nb.explain.faithfulness.faithfulness import CHANGES, Faithfulness
from aam_nb.show.plots.style import PALETTE, cut, legend_below

ORDERS = {
    "attribution": (PALETTE[0], "-", "attribution"),
    "sign only": (PALETTE[2], "-.", "sign only, sizes random"),
    "abundance": (PALETTE[4], "--", "abundance"),
    "random": ("#666666", ":", "random"),
}
"""Colour, line and name of each order."""
OUTCOMES = {"passed": (PALETTE[2], "o"), "failed": (PALETTE[4], "X"), "told": ("#666666", "s")}
"""Colour and marker of each outcome."""
SHARES = ("seeds", "random labels", "recovery", "sensitivity", "infidelity")
"""Checks whose values are correlations or shares, by how their names begin."""
MOST = 1.5
"""Where the axis of these ends; what is larger stands at its edge, with its value."""


def faithfulness(result: Faithfulness) -> Figure:
    """Deletion and insertion curves, what random weights leave, and the other checks, under the verdict."""
    figure = plt.figure(figsize=(10.5, 9.8), layout="constrained")
    rows: Any = figure.subfigures(2, 1, height_ratios=(4, 5))
    for ax, kind in zip(rows[0].subplots(1, 2), KINDS, strict=True):
        _curves(result, kind, ax)
    handles = ax.get_legend_handles_labels()[0]
    if handles:
        rows[0].legend(handles=handles, frameon=False, fontsize=8, ncols=len(handles), loc="outside lower center")
    left, right = rows[1].subplots(1, 2)
    _weights(result, left)
    _checks(result, right)
    title = f"{cut(result.target, 40)}: {result.level} attributions by {result.method.replace('_', ' ')}"
    figure.suptitle(f"{title}\n" + textwrap.fill(result.verdict(), 145), fontsize=9, x=0.02, ha="left")
    return figure


def _curves(result: Faithfulness, kind: str, ax: Axes) -> None:
    """The movement of predictions by order, with bands."""
    ax.set(
        xlabel=f"share of a sample's {PLURALS[result.level]} {CHANGES[kind]}",
        ylabel=f"movement of the prediction ({cut(result.unit)})",
        title=f"{kind.capitalize()}: higher is better",
    )
    if result.curves.empty:
        _nothing(ax)
        return
    for order, (colour, line, name) in ORDERS.items():
        rows = result.curves[(result.curves["kind"] == kind) & (result.curves["order"] == order)]
        ax.plot(rows["fraction"], rows["mean"], color=colour, linestyle=line, linewidth=2, label=f"by {name}")
        ax.fill_between(rows["fraction"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
    ax.axhline(0, color="black", linewidth=0.6)


def _weights(result: Faithfulness, ax: Axes) -> None:
    """What is left of the attributions as ever more weights are random."""
    ax.set(xlabel="rank correlation with the originals", title="Weights made random, from the output down")
    table = result.weights
    if table.empty:
        _nothing(ax)
        return
    y = np.arange(len(table))[::-1]
    for shift, what, colour, hatch, label in (
        (0.2, "signed", PALETTE[0], "", "signed"),
        (-0.2, "size", PALETTE[1], "///", "size alone"),
    ):
        error = np.abs(table[[f"{what}_low", f"{what}_high"]].to_numpy(float).T - table[what].to_numpy(float))
        ax.barh(
            y + shift,
            table[what],
            height=0.38,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.5,
            label=label,
        )
        ax.errorbar(table[what], y + shift, xerr=error, fmt="none", ecolor="black", elinewidth=1)
    names = ["none" if s == "none" else f"+ {s}" for s in table["stage"]]
    ax.set_yticks(y, names, fontsize=8)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlim(min(-0.3, float(table[["signed_low", "size_low"]].min().min()) - 0.05), 1.05)
    legend_below(ax, 0.5, ncols=2)


def _checks(result: Faithfulness, ax: Axes) -> None:
    """Recovery, stability and the rest, each with its interval."""
    ax.set(title="Other checks", xlabel="correlation, share or average precision")
    table = result.table[[str(name).startswith(SHARES) for name in result.table.index]]
    table = table[table["value"].notna() & table["outcome"].isin(list(OUTCOMES))]
    if table.empty:
        _nothing(ax)
        return
    y = np.arange(len(table))[::-1]
    middle = table["value"].clip(upper=MOST)
    for outcome, (colour, marker) in OUTCOMES.items():
        here = (table["outcome"] == outcome).to_numpy()
        if not here.any():
            continue
        rows, value = table[here], middle[here].to_numpy(float)
        ends = np.abs(rows[["low", "high"]].to_numpy(float).clip(max=MOST).T - value)
        ax.errorbar(value, y[here], xerr=np.nan_to_num(ends), fmt=marker, color=colour, markersize=7, label=outcome)
    for height, value in zip(y, table["value"].to_numpy(float), strict=True):
        if value > MOST:  # one that is off the axis shall not press all others together
            ax.annotate(
                f"{value:.3g} →",
                (MOST, height),
                xytext=(-6, 7),
                textcoords="offset points",
                va="center",
                ha="right",
                fontsize=7,
            )
    ax.set_yticks(y, [_label(name, row) for name, row in table.iterrows()], fontsize=7)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    legend_below(ax, 0.5, ncols=3)


def _label(name: Any, row: pd.Series) -> str:
    return f"{name}\n({cut(row['compared_with'], 44)})"


def _nothing(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, "not measured, or does not apply", ha="center", va="center", transform=ax.transAxes)
