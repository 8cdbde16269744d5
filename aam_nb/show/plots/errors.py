"""Where a model errs."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.error_analysis.analysis import ErrorAnalysis
from aam_nb.error_analysis.samples import ErrorsError
from aam_nb.show.plots.style import MARKERS, PALETTE, cut, new_axes

GREY = "#777777"
LINE = 44
"""Letters in a line of a slice's name."""
MOST_CLASSES = 12
"""Classes up to which each cell of a confusion matrix carries its count."""


def errors(analysis: ErrorAnalysis) -> Figure:
    """An overview in four panels: residuals or confusions, the worst slices, calibration, and error by distance."""
    top = 8
    figure = plt.figure(figsize=(12.5, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]  # the slices' names then leave no gap in the row below
    first, second = above.subplots(1, 2, width_ratios=(1, 1.15))
    third, fourth = below.subplots(1, 2)
    if analysis.kind == "regression":
        _residuals(analysis, first)
    else:
        confusion(analysis, ax=first)
    slices(analysis, top=top, ax=second)
    reliability(analysis, ax=third)
    _by_distance(analysis, fourth)
    by = f", {analysis.num_groups} {cut(analysis.group)}" if analysis.group else ""
    figure.suptitle(f"Errors of {cut(analysis.target)}: {len(analysis.samples)} judged samples{by}")
    return figure


def slices(analysis: ErrorAnalysis, *, top: int = 12, ax: Axes | None = None) -> Axes:
    """The first slices: excess of their mean error over that of all other samples, with its interval; n samples and groups beside it.

    A diamond is a slice that is worse with an adjusted p; circles are not told from chance.
    """
    table = analysis.slices.head(top).iloc[::-1]
    numbers = table[["excess", "low", "high"]].to_numpy(float)
    ax = ax or new_axes(7.0, 0.34 * max(3, len(table)) + 1.4)
    for y, (worse, (excess, low, high)) in enumerate(zip(table["worse"], numbers, strict=True)):
        colour, marker = (PALETTE[4], MARKERS[2]) if worse else (GREY, MARKERS[0])
        ax.plot([low, high], [y, y], color=colour, linewidth=1.8)
        ax.plot(excess, y, marker=marker, color=colour, markersize=7, linestyle="none")
    names = [
        f"{_wrapped(str(row.slice))}  ({row.n}{f', {row.groups}' if analysis.group else ''})"
        for row in table.itertuples()
    ]
    ax.set_yticks(range(len(table)), names, fontsize=8)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    ax.set_ylim(-0.7, max(len(table), 1) - 0.3)
    ax.set(
        xlabel=f"excess error ({_unit(analysis)})",
        title=f"Slices by excess error (samples{', groups' if analysis.group else ''})",
    )
    handles = [
        ax.plot([], [], linestyle="none", marker=m, color=c, label=t)[0]
        for m, c, t in (
            (MARKERS[2], PALETTE[4], f"worse: adjusted p ≤ {analysis.config.false_discovery:g}"),
            (MARKERS[0], GREY, "not told from chance"),
        )
    ]
    ax.legend(handles=handles, frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.13), ncols=2)
    if table.empty:
        _say(ax, "no slice is large enough")
    return ax


def reliability(analysis: ErrorAnalysis, *, ax: Axes | None = None) -> Axes:
    """Classes: how often the predicted class is right against its probability, as predicted and as calibrated on validation samples.
    Regression: measured against nominal coverage of intervals. On the dashed line they agree; bars are intervals."""
    ax = ax or new_axes(4.6, 4.2)
    curve, scores = analysis.calibration.reliability, analysis.calibration.scores
    ax.plot([0, 1], [0, 1], color="#666666", linestyle="--", linewidth=1, label="perfect")
    if curve.empty:
        _say(ax, "no validation samples at hand")
    elif analysis.kind == "regression":
        _points(ax, curve, "nominal", 0, "measured coverage")
    else:
        for k, version in enumerate(curve["version"].unique()):
            part = curve[curve["version"] == version]
            _points(ax, part, "mean_predicted", k, f"{version}: ECE {scores.loc[version, 'ece']:.3f}", bars=k == 0)
    if analysis.kind == "regression":
        ax.set(xlabel="nominal coverage (share)", ylabel="measured coverage (share of samples)", title="Intervals")
    else:
        ax.set(xlabel="probability of the predicted class", ylabel="share that was right", title="Reliability")
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    return ax


def confusion(analysis: ErrorAnalysis, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """True against predicted classes: colour is the share of the true class, numbers are samples.

    Raises
    ------
    ErrorsError
        The target is a number.
    """
    if analysis.confusion is None:
        raise ErrorsError(
            f"{analysis.target!r} is a number and has no confusion matrix. Expected classes. Use `analysis.plot()`."
        )
    counts = analysis.confusion
    cells, names = counts.to_numpy(), [cut(n, 18) for n in counts.index]
    ax = ax or new_axes(2.8 + 0.5 * len(names), 2.2 + 0.45 * len(names))
    share = cells / np.maximum(cells.sum(1, keepdims=True), 1)
    style: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": 1} | artist_kw
    image = ax.imshow(share, **style)
    if len(names) <= MOST_CLASSES:
        for (i, j), n in np.ndenumerate(cells):
            ax.text(j, i, str(n), ha="center", va="center", color="black" if share[i, j] > 0.6 else "white")
    slanted: dict[str, Any] = (
        {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 8 else {}
    )
    ax.set_xticks(range(len(names)), names, fontsize=8, **slanted)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set(xlabel=f"predicted {cut(analysis.target)}", ylabel=f"true {cut(analysis.target)}", title="Confusions")
    ax.figure.colorbar(image, ax=ax, label="share of the true class", fraction=0.046, pad=0.03)
    return ax


def _residuals(analysis: ErrorAnalysis, ax: Axes) -> None:
    table = analysis.samples
    _marked(ax, table["truth"].astype(float), table["residual"], analysis)
    ax.axhline(0, color="black", linewidth=0.8)
    name = cut(analysis.target)
    ax.set(xlabel=f"true {name}", ylabel=f"true - predicted {name}", title="Residuals")
    ax.legend(frameon=False, fontsize=8, loc="best")


def _by_distance(analysis: ErrorAnalysis, ax: Axes) -> None:
    table = analysis.samples
    ax.set(ylabel=f"error ({_unit(analysis)})", title="Error by distance from the training data")
    ax.set_xlabel("distance to the nearest training samples (embedding)")
    if "distance" not in table:
        _say(ax, "no training samples at hand")
        return
    _marked(ax, table["distance"], table["error"], analysis)
    found = analysis.associations
    row = found[(found["outcome"] == "error") & (found["column"] == "distance")]
    if len(row):
        ax.set_title(
            f"Error by distance from the training data: ρ {row['effect'].iloc[0]:.2f}, p {row['p'].iloc[0]:.2g}"
        )
    ax.legend(frameon=False, fontsize=8, loc="best")


def _marked(ax: Axes, x: pd.Series, y: pd.Series, analysis: ErrorAnalysis) -> None:
    """Points by what they are: inside the training data, outside of it, and label suspects ringed."""
    table = analysis.samples
    outside = table["outside"].to_numpy(bool) if "outside" in table else np.zeros(len(table), dtype=bool)
    style: dict[str, Any] = {"s": 26, "alpha": 0.8, "edgecolors": "white", "linewidths": 0.4}
    ax.scatter(x[~outside], y[~outside], color=PALETTE[0], marker=MARKERS[0], label="judged sample", **style)
    if outside.any():
        label = "outside the training data"
        ax.scatter(x[outside], y[outside], color=PALETTE[4], marker=MARKERS[3], label=label, **style)
    suspect = table.index.isin(analysis.suspects.index)
    if suspect.any():
        ring: dict[str, Any] = {"s": 110, "facecolors": "none", "edgecolors": "black", "linewidths": 1.1}
        ax.scatter(x[suspect], y[suspect], label="label suspect", **ring)


def _points(ax: Axes, part: pd.DataFrame, x: str, k: int, label: str, *, bars: bool = True) -> None:
    """A curve with its intervals."""
    part = part.sort_values(x)
    if bars:
        ax.vlines(part[x], part["low"], part["high"], color=PALETTE[k], linewidth=1, alpha=0.6)
    ax.plot(part[x], part["observed"], color=PALETTE[k], marker=MARKERS[k], markersize=5, linewidth=1.2, label=label)


def _wrapped(text: str) -> str:
    """A slice's text on two lines at most, both ends kept: a pair of conditions differs from the next in either."""
    if len(text) > 2 * LINE:
        text = f"{text[: LINE - 4]} … {text[4 - LINE :]}"
    return textwrap.fill(cut(text, 4 * LINE), LINE)


def _unit(analysis: ErrorAnalysis) -> str:
    return f"|true - predicted| {cut(analysis.target)}" if analysis.kind == "regression" else "1 - p of the true class"


def _say(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, color=GREY)
