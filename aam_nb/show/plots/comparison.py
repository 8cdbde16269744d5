"""Models side by side: the score of each, and how much better or worse than the reference it is."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.show.plots.style import GREY, METRIC_NAMES, PALETTE, cut, forest

VERDICTS = {
    "better": (PALETTE[2], "^", "{} is better"),
    "tied": (GREY, "o", "tied"),
    "undecided": (PALETTE[1], "s", "undecided"),
    "worse": (PALETTE[4], "v", "{} is worse"),
}
"""Colour, marker and name of each verdict."""


def comparison(result: Comparison) -> Figure:
    """Left: the leading metric of each contender with its interval, the best on top, and the seconds of a fold. Right: the paired
    difference between the reference and each other contender, with its interval."""
    scores = result.scores[result.scores["metric"] == result.metric].set_index("contender")
    scores = scores.sort_values("value", na_position="first", kind="stable").iloc[::-1]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.6, 0.36 * len(scores) + 1.7), layout="constrained", sharey=True, width_ratios=(1.15, 1)
    )
    _draw_differences(right, result, scores.index)
    _draw_scores(left, result, scores)
    groups = f" of {result.num_groups} {cut(result.group)}" if result.group else ""
    figure.suptitle(f"{cut(result.target)}: {result.num_samples:,} samples{groups}", fontsize=11)
    return figure


def _draw_scores(ax: Axes, result: Comparison, scores: pd.DataFrame) -> None:
    is_reference = np.asarray(scores.index == result.reference)
    kinds = {True: (PALETTE[0], "D", "the reference"), False: (GREY, "o", "other contenders")}
    forest(ax, scores, "value", is_reference, kinds)
    seconds = [("time per fold", -0.65, 7), *((_format_seconds(s), y, 8) for y, s in enumerate(scores["seconds"]))]
    for text, y, size in seconds:
        ax.annotate(
            text, (1.0, y), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points", va="center",
            fontsize=size, color="#444444", annotation_clip=False,
        )  # fmt: skip
    ax.set_yticks(range(len(scores)), [cut(n) for n in scores.index])
    for label, bold in zip(ax.get_yticklabels(), is_reference, strict=True):
        label.set_fontweight("bold" if bold else "normal")
    ax.set_xlabel(f"{METRIC_NAMES[result.metric]}\n({result.config.confidence:.0%} interval)")
    ax.set_ylim(len(scores) - 0.4, -0.9)


def _draw_differences(ax: Axes, result: Comparison, contenders: pd.Index) -> None:
    table = result.differences.set_index("contender").reindex(contenders)
    reference = cut(result.reference, 16)
    kinds = {k: (colour, marker, name.format(reference)) for k, (colour, marker, name) in VERDICTS.items()}
    forest(ax, table, "difference", table["verdict"].to_numpy(), kinds)
    ax.axvline(0, color="black", linewidth=0.8, linestyle="--")
    ax.tick_params(axis="y", left=False)
    ax.set_xlabel(f"difference in {METRIC_NAMES[result.metric]}\n({reference} minus the other)")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(VERDICTS))


def _format_seconds(seconds: float) -> str:
    if not np.isfinite(seconds):
        return ""
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 0.1 else "<0.1 s"
