"""Where a model is wrong: residuals, slices, reliability, confusion matrix, and error by distance from the training data."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.config import format_p, format_score
from aam_nb.error_analysis.analysis import ErrorAnalysis
from aam_nb.error_analysis.samples import ErrorsError
from aam_nb.show.plots.style import (
    GREY,
    MARKERS,
    PALETTE,
    POINTS,
    confusion_matrix,
    cut,
    forest,
    legend_below,
    new_axes,
)

LINE = 44
"""Letters in a line of a slice's name."""
INSIDE, OUTSIDE = "test sample", "outside the training data"


def errors(analysis: ErrorAnalysis) -> Figure:
    """An overview in four panels: residuals or confusion matrix, the worst slices, calibration, and error by distance."""
    figure = plt.figure(figsize=(12.5, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]  # the slices' names then leave no gap in the row below
    first, second = above.subplots(1, 2, width_ratios=(1, 1.15))
    third, fourth = below.subplots(1, 2)
    if analysis.kind == "regression":
        _draw_residuals(first, analysis)
    else:
        confusion(analysis, ax=first)
    slices(analysis, top=8, ax=second)
    reliability(analysis, ax=third)
    _draw_distances(fourth, analysis)
    groups = f", {analysis.num_groups} {cut(analysis.group)}" if analysis.group else ""
    figure.suptitle(f"Errors of {cut(analysis.target)}: {len(analysis.samples):,} test samples{groups}")
    return figure


def slices(analysis: ErrorAnalysis, *, top: int = 12, ax: Axes | None = None) -> Axes:
    """The first slices: mean error minus that of all other samples, with its interval; beside each its number of samples and groups.

    A diamond marks a slice that is worse at the adjusted p; a circle one that is not clearly worse.
    """
    table = analysis.slices.head(top)
    ax = ax or new_axes(7.0, 0.34 * max(3, len(table)) + 1.4)
    forest(ax, table, "excess", table["worse"].to_numpy(bool), {
        True: (PALETTE[4], MARKERS[2], f"worse: adjusted p ≤ {analysis.config.false_discovery:g}"),
        False: (GREY, MARKERS[0], "not clearly worse"),
    })  # fmt: skip
    names = [
        f"{_wrapped(str(row.slice))}  ({row.n}{f', {row.groups}' if analysis.group else ''})"
        for row in table.itertuples()
    ]
    ax.set_yticks(range(len(table)), names, fontsize=8)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(
        xlabel=f"excess error ({_unit(analysis)})",
        title=f"Slices by excess error (samples{', groups' if analysis.group else ''})",
    )
    if table.empty:
        _note(ax, "no slice is large enough")
    else:
        legend_below(ax, 0.5, ncols=2)
    return ax


def reliability(analysis: ErrorAnalysis, *, ax: Axes | None = None) -> Axes:
    """Classes: how often the predicted class is right, by its probability, as predicted and as calibrated on validation samples.
    Regression: the measured coverage of intervals, by their nominal coverage. On the dashed line they agree; bars are intervals."""
    ax = ax or new_axes(4.6, 4.2)
    curve, scores = analysis.calibration.reliability, analysis.calibration.scores
    regression = analysis.kind == "regression"
    ax.plot([0, 1], [0, 1], color="#666666", linestyle="--", linewidth=1, label="perfect")
    if curve.empty:
        _note(ax, "no validation samples available")
    else:
        x = "nominal" if regression else "mean_predicted"
        names = (
            np.full(len(curve), "measured coverage")
            if regression
            else [f"{version}: ECE {format_score(scores.loc[version, 'ece'])}" for version in curve["version"]]
        )
        raw = curve[np.asarray(names) == names[0]]  # intervals of one version: more would hide each other
        ax.vlines(raw[x], raw["low"], raw["high"], color=PALETTE[0], linewidth=1, alpha=0.6)
        k = len(set(names))
        sns.lineplot(
            x=curve[x].to_numpy(float), y=curve["observed"].to_numpy(float), hue=names, style=names, palette=PALETTE[:k],
            markers=list(MARKERS[:k]), dashes=False, estimator=None, linewidth=1.2, ax=ax,
        )  # fmt: skip
    if regression:
        ax.set(xlabel="nominal coverage (share)", ylabel="measured coverage (share of samples)", title="Intervals")
    else:
        ax.set(xlabel="probability of the predicted class", ylabel="share of right predictions", title="Reliability")
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    legend_below(ax, 0.5, ncols=2)
    return ax


def confusion(analysis: ErrorAnalysis, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """True against predicted classes: the colour is the share of the true class, the numbers are samples.

    Raises
    ------
    ErrorsError
        The target is a number.
    """
    if analysis.confusion is None:
        raise ErrorsError(
            f"{analysis.target!r} is a number and has no confusion matrix. Expected classes. Use `analysis.plot()`."
        )
    n = len(analysis.confusion)
    ax = ax or new_axes(2.8 + 0.5 * n, 2.2 + 0.45 * n)
    confusion_matrix(ax, analysis.confusion, analysis.target, **artist_kw)
    ax.set_title("Confusion matrix")
    return ax


def _draw_residuals(ax: Axes, analysis: ErrorAnalysis) -> None:
    table, name = analysis.samples, cut(analysis.target)
    _draw_samples(ax, table["truth"].astype(float), table["residual"], analysis)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel=f"true {name}", ylabel=f"true - predicted {name}", title="Residuals")
    ax.legend(frameon=False, fontsize=8, loc="best")


def _draw_distances(ax: Axes, analysis: ErrorAnalysis) -> None:
    table, title = analysis.samples, "Error by distance from the training data"
    ax.set(xlabel="distance to the nearest training samples (embedding)", title=title)
    if "distance" not in table:
        _note(ax, "no training samples available")
        return
    _draw_samples(ax, table["distance"], table["error"], analysis)
    ax.set(ylabel=f"error\n({_unit(analysis)})")
    tests = analysis.associations
    row = tests[(tests["outcome"] == "error") & (tests["column"] == "distance")]
    if len(row):
        ax.set_title(f"{title}: ρ {format_score(row['effect'].iloc[0], 2)}, {format_p(row['p'].iloc[0])}")
    ax.legend(frameon=False, fontsize=8, loc="best")


def _draw_samples(ax: Axes, x: pd.Series, y: pd.Series, analysis: ErrorAnalysis) -> None:
    """A point for each sample, by whether it lies outside the training data; a ring around label suspects."""
    table = analysis.samples
    outside = table["outside"].to_numpy(bool) if "outside" in table else np.zeros(len(table), dtype=bool)
    kind = np.where(outside, OUTSIDE, INSIDE)
    order = [name for name in (INSIDE, OUTSIDE) if name in kind]
    sns.scatterplot(
        x=x.to_numpy(float), y=y.to_numpy(float), hue=kind, style=kind, hue_order=order, style_order=order,
        palette={INSIDE: PALETTE[0], OUTSIDE: PALETTE[4]}, markers={INSIDE: MARKERS[0], OUTSIDE: MARKERS[3]}, ax=ax, **POINTS,
    )  # fmt: skip
    suspect = table.index.isin(analysis.suspects.index)
    if suspect.any():
        ring: dict[str, Any] = {"s": 110, "facecolors": "none", "edgecolors": "black", "linewidths": 1.1}
        ax.scatter(x[suspect], y[suspect], label="label suspect", **ring)


def _wrapped(text: str) -> str:
    """A slice's text on two lines at most, both ends kept, because two slices may differ at either end."""
    if len(text) > 2 * LINE:
        text = f"{text[: LINE - 4]} … {text[4 - LINE :]}"
    return textwrap.fill(cut(text, 4 * LINE), LINE)


def _unit(analysis: ErrorAnalysis) -> str:
    return f"|true - predicted| {cut(analysis.target)}" if analysis.kind == "regression" else "1 - p of the true class"


def _note(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, color=GREY)
