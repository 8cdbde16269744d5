"""Whether attributions can be trusted."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.config import format_number
from aam_nb.explain.attribution.query import PLURALS
from aam_nb.explain.faithfulness.checks import FAILED, PASSED, TOLD
from aam_nb.explain.faithfulness.deletion_insertion import KINDS
from aam_nb.explain.faithfulness.faithfulness import CHANGES, Faithfulness
from aam_nb.show.plots.style import GREY, PALETTE, cut, forest, legend_below

ORDERS = {
    "attribution": (PALETTE[0], "-", "by attribution"),
    "sign only": (PALETTE[2], "-.", "by sign, sizes random"),
    "abundance": (PALETTE[4], "--", "by abundance"),
    "random": ("#666666", ":", "in random order"),
}
"""Colour, line and name of each order."""
OUTCOMES = {
    PASSED: (PALETTE[2], "o", PASSED),
    FAILED: (PALETTE[4], "X", FAILED),
    TOLD: (GREY, "s", "for information"),
}
"""Colour, marker and name of each outcome."""
SHARES = ("seeds", "random labels", "recovery", "sensitivity", "infidelity")
"""Checks whose values are correlations or shares, by how their names begin."""
MOST = 1.5
"""Where their axis ends; larger values are drawn at its edge, with their number."""


def faithfulness(result: Faithfulness) -> Figure:
    """The verdict, and below it deletion and insertion curves, attributions of randomised models, and the other checks."""
    figure = plt.figure(figsize=(10.5, 9.8), layout="constrained")
    rows: Any = figure.subfigures(2, 1, height_ratios=(4, 5))
    for ax, kind in zip(rows[0].subplots(1, 2), KINDS, strict=True):
        _draw_curves(ax, result, kind)
    handles = ax.get_legend_handles_labels()[0]
    if handles:
        rows[0].legend(handles=handles, frameon=False, fontsize=8, ncols=len(handles), loc="outside lower center")
    left, right = rows[1].subplots(1, 2)
    _draw_weights(left, result)
    _draw_checks(right, result)
    title = f"{cut(result.target, 40)}: attributions of {PLURALS[result.level]} by {result.method.replace('_', ' ')}"
    figure.suptitle(f"{title}\n" + textwrap.fill(result.verdict(), 145), fontsize=9, x=0.02, ha="left")
    return figure


def _draw_curves(ax: Axes, result: Faithfulness, kind: str) -> None:
    """How far predictions move, by the order in which features are deleted or inserted, with interval bands."""
    ax.set(
        xlabel=f"share of a sample's {PLURALS[result.level]} {CHANGES[kind]}",
        ylabel=f"change of the prediction ({cut(result.unit)})",
        title=f"{kind.capitalize()}: higher is better",
    )
    if result.curves.empty:
        _note_missing(ax)
        return
    for order, (colour, line, name) in ORDERS.items():
        rows = result.curves[(result.curves["kind"] == kind) & (result.curves["order"] == order)]
        ax.plot(rows["fraction"], rows["mean"], color=colour, linestyle=line, linewidth=2, label=name)
        ax.fill_between(rows["fraction"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
    ax.axhline(0, color="black", linewidth=0.6)


def _draw_weights(ax: Axes, result: Faithfulness) -> None:
    """How alike the attributions stay as more and more weights are made random."""
    ax.set(
        xlabel="rank correlation with the original attributions", title="Weights made random, starting at the output"
    )
    table = result.weights
    if table.empty:
        _note_missing(ax)
        return
    y = np.arange(len(table))[::-1]
    for shift, kind, colour, hatch, label in (
        (0.2, "signed", PALETTE[0], "", "signed"),
        (-0.2, "size", PALETTE[1], "///", "size only"),
    ):
        error = np.abs(table[[f"{kind}_low", f"{kind}_high"]].to_numpy(float).T - table[kind].to_numpy(float))
        ax.barh(
            y + shift,
            table[kind],
            height=0.38,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.5,
            label=label,
        )
        ax.errorbar(table[kind], y + shift, xerr=error, fmt="none", ecolor="black", elinewidth=1)
    names = ["none" if s == "none" else f"+ {s}" for s in table["stage"]]
    ax.set_yticks(y, names, fontsize=8)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlim(min(-0.3, float(table[["signed_low", "size_low"]].min().min()) - 0.05), 1.05)
    legend_below(ax, 0.5, ncols=2)


def _draw_checks(ax: Axes, result: Faithfulness) -> None:
    """Recovery, stability and the rest, each with its interval."""
    ax.set(title="Other checks", xlabel="correlation, share or average precision")
    table = result.table[[str(name).startswith(SHARES) for name in result.table.index]]
    table = table[table["value"].notna() & table["outcome"].isin(list(OUTCOMES))]
    if table.empty:
        _note_missing(ax)
        return
    drawn = table[["value", "low", "high"]].astype(float).clip(upper=MOST)
    forest(ax, drawn, "value", table["outcome"].to_numpy(), OUTCOMES)
    for y, value in enumerate(table["value"]):
        if value > MOST:  # on the axis, it would press all others together
            ax.annotate(
                f"{format_number(value)} →",
                (MOST, y),
                xytext=(-6, 7),
                textcoords="offset points",
                va="center",
                ha="right",
                fontsize=7,
            )
    labels = [f"{name}\n({cut(text, 44)})" for name, text in table["compared_with"].items()]
    ax.set_yticks(range(len(table)), labels, fontsize=7)
    ax.axvline(0, color="black", linewidth=0.8)
    legend_below(ax, 0.5, ncols=3)


def _note_missing(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, "not measured, or does not apply", ha="center", va="center", transform=ax.transAxes)
