"""Is it any good: models side by side."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.show.plots.style import METRIC_NAMES, PALETTE, cut

VERDICTS = {
    "better": (PALETTE[2], "^", "{} is better"),
    "tied": ("#777777", "o", "tied"),
    "undecided": (PALETTE[1], "s", "undecided"),
    "worse": (PALETTE[4], "v", "{} is worse"),
}
"""Colour, marker and words of each verdict."""


def comparison(result: Comparison) -> Figure:
    """Left: the leading metric of each contender with its interval, best on top, seconds beside it. Right: what the reference has over
    each other one, with the interval of the paired difference."""
    rows = result.scores[result.scores["metric"] == result.metric].set_index("contender")
    order = [
        str(n) for n in rows.sort_values("value", na_position="first", kind="stable").index
    ]  # the best is drawn last, on top
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.6, 0.36 * len(order) + 1.7), layout="constrained", sharey=True, width_ratios=(1.15, 1)
    )
    _scores(left, result, rows, order)
    _differences(right, result, order)
    figure.suptitle(f"{cut(result.target)}: {result.num_samples} samples{_groups(result)}", fontsize=11)
    return figure


def _groups(result: Comparison) -> str:
    return f" of {result.num_groups} {cut(result.group)}" if result.group else ""


def _scores(ax: Axes, result: Comparison, rows: Any, order: list[str]) -> None:
    for y, name in enumerate(order):
        row, ours = rows.loc[name], name == result.reference
        colour = PALETTE[0] if ours else "#777777"
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2)
        ax.plot(row["value"], y, marker="D" if ours else "o", color=colour, markersize=8 if ours else 6)
        ax.annotate(
            _seconds(float(row["seconds"])),
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="#444444",
            annotation_clip=False,
        )
    ax.annotate(
        "time of a fold",
        (1.0, len(order) - 0.35),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        fontsize=7,
        color="#444444",
        annotation_clip=False,
    )
    ax.set_yticks(range(len(order)), [cut(n) for n in order])
    for label, name in zip(ax.get_yticklabels(), order, strict=True):
        label.set_fontweight("bold" if name == result.reference else "normal")
    confidence = f"{result.config.confidence:.0%} interval"
    ax.set(xlabel=f"{METRIC_NAMES[result.metric]}\n({confidence})", ylim=(-0.6, len(order) - 0.1))
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)


def _differences(ax: Axes, result: Comparison, order: list[str]) -> None:
    table, drawn = result.differences.set_index("contender"), set[str]()
    reference = cut(result.reference, 16)
    for y, name in enumerate(order):
        if name not in table.index:
            continue
        row = table.loc[name]
        verdict = str(row["verdict"])
        colour, marker, words = VERDICTS[verdict]
        label = words.format(reference) if verdict not in drawn else None
        drawn.add(verdict)
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2)
        ax.plot(row["difference"], y, marker=marker, color=colour, markersize=8, linestyle="none", label=label)
    ax.axvline(0, color="black", linewidth=0.8, linestyle="--")
    ax.tick_params(axis="y", left=False)
    ax.set_xlabel(f"difference in {METRIC_NAMES[result.metric]}\n({reference} less each)")
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    if drawn:
        ax.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(drawn))


def _seconds(seconds: float) -> str:
    if not np.isfinite(seconds):
        return ""
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 0.1 else "<0.1 s"
