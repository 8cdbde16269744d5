"""Figures, each drawn from a table that can also be printed. Nothing is shown, saved or computed here.

Colours are Okabe and Ito's, told apart with any kind of colour vision; marker shapes say the same once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from pandas.api.types import is_numeric_dtype

from aam_nb.evaluate.metrics import METRICS, MODEL, Evaluation
from aam_nb.explain.attribution import Attributions
from aam_nb.study.study import Study
from aam_nb.train.search import RateSearch

if TYPE_CHECKING:
    from skbio import OrdinationResults

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
MARKERS = "osD^vPX*"
METRIC_NAMES = {
    "r2": "R²",
    "mae": "mean absolute error",
    "spearman": "Spearman ρ",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
}
MODEL_NAMES = {MODEL: "aam_nb", "random_forest": "random forest", "dummy": "dummy"}


def short(asv: str) -> str:
    """An ASV's DNA as a label: both ends."""
    return asv if len(asv) <= 20 else f"{asv[:9]}…{asv[-9:]}"


def depth(study: Study, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Histogram of reads per sample, on a log axis."""
    ax = ax or _axes()
    reads = study.depth[study.depth > 0]
    edges = np.geomspace(reads.min(), max(reads.max(), reads.min() + 1), 31)
    style: dict[str, Any] = {"color": PALETTE[0], "edgecolor": "white", "linewidth": 0.5} | artist_kw
    ax.hist(reads, bins=list(edges), **style)
    ax.axvline(reads.median(), color=PALETTE[4], linestyle="--", label=f"median {reads.median():,.0f}")
    ax.set(xscale="log", xlabel="reads per sample", ylabel="samples", title="Sequencing depth")
    ticks = [t for k in range(10) for t in (10**k, 2 * 10**k, 5 * 10**k) if edges[0] <= t <= edges[-1]]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(frameon=False)
    return ax


def pcoa(
    result: OrdinationResults, *, color: pd.Series | None = None, ax: Axes | None = None, **artist_kw: Any
) -> Axes:
    """The first two principal coordinates, with the share of variation each explains.

    Parameters
    ----------
    result
        From `aam.pcoa`.
    color
        A metadata column: numbers get a colour scale, categories (the eight commonest) a colour and a shape each.
    """
    ax = ax or _axes()
    points, share = result.samples, result.proportion_explained.to_numpy()
    style: dict[str, Any] = {"s": 22, "alpha": 0.85, "linewidths": 0.3, "edgecolors": "white"} | artist_kw
    xy = points.iloc[:, 0].to_numpy(), points.iloc[:, 1].to_numpy()
    if color is None:
        ax.scatter(*xy, color=PALETTE[0], **style)
    elif is_numeric_dtype(color):
        drawn = ax.scatter(*xy, c=color.loc[points.index].to_numpy(float), cmap="cividis", **style)
        ax.figure.colorbar(drawn, ax=ax, label=_cut(color.name))
    else:
        values = color.loc[points.index].astype(object).fillna("missing").to_numpy()
        common = pd.Series(values).value_counts().index
        for k, value in enumerate(common[:8]):
            here = values == value
            ax.scatter(xy[0][here], xy[1][here], color=PALETTE[k], marker=MARKERS[k], label=_cut(value), **style)
        rest = ~np.isin(values, common[:8])
        if rest.any():
            ax.scatter(
                xy[0][rest], xy[1][rest], color="#999999", marker=".", label=f"{len(common) - 8} others", **style
            )
        ax.legend(title=_cut(color.name), frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.set(
        xlabel=f"PCo 1 ({share[0]:.1%} explained)",
        ylabel=f"PCo 2 ({share[1]:.1%} explained)",
        title="Principal coordinates",
    )
    return ax


def history(table: pd.DataFrame, *, stage: str, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Training and validation loss of one stage of `model.history`; the best epoch is marked."""
    ax = ax or _axes()
    rows = table[table["stage"] == stage]
    ax.plot(rows["epoch"], rows["train_loss"], color=PALETTE[0], linestyle="--", label="training", **artist_kw)
    ax.plot(rows["epoch"], rows["valid_loss"], color=PALETTE[4], label="validation", **artist_kw)
    best = rows.iloc[int(rows["valid_loss"].argmin())]
    ax.plot(
        best["epoch"],
        best["valid_loss"],
        marker="*",
        markersize=12,
        color=PALETTE[4],
        linestyle="none",
        label="best, kept",
    )
    names = {"pretrain": "Pre-training", "fit": "Fine-tuning"}
    ax.set(xlabel="epoch", ylabel="loss", title=names.get(stage, stage))
    ax.legend(frameon=False)
    return ax


def predictions(evaluation: Evaluation, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Predicted against true values of the test samples; for classes, the confusion matrix with counts."""
    ax = ax or _axes()
    table = evaluation.predictions
    if evaluation.kind == "regression":
        style: dict[str, Any] = {"s": 26, "alpha": 0.8, "edgecolors": "white", "linewidths": 0.4} | artist_kw
        ax.scatter(table["truth"], table["prediction"], color=PALETTE[0], **style)
        both = table[["truth", "prediction"]].to_numpy(float)
        ends = [both.min(), both.max()]
        ax.plot(ends, ends, color="#666666", linestyle="--", linewidth=1, label="perfect")
        ax.set(xlabel=f"true {_cut(evaluation.target)}", ylabel=f"predicted {_cut(evaluation.target)}")
        ax.legend(frameon=False)
    else:
        counts = pd.crosstab(table["truth"], table["prediction"])
        names = sorted({*counts.index, *counts.columns})
        cells = counts.reindex(index=names, columns=names, fill_value=0).to_numpy()
        shown = cells / np.maximum(cells.sum(1, keepdims=True), 1)
        ax.imshow(shown, cmap="cividis", vmin=0, vmax=1, **artist_kw)
        for (i, j), n in np.ndenumerate(cells):
            ax.text(j, i, str(n), ha="center", va="center", color="black" if shown[i, j] > 0.6 else "white")
        labels = [_cut(n) for n in names]
        slanted: dict[str, Any] = (
            {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if max(map(len, labels)) > 8 else {}
        )
        ax.set_xticks(range(len(names)), labels, **slanted)
        ax.set_yticks(range(len(names)), labels)
        ax.set(xlabel=f"predicted {_cut(evaluation.target)}", ylabel=f"true {_cut(evaluation.target)}")
    ax.set_title(f"{_cut(evaluation.target)}: {len(table)} test samples")
    return ax


def metrics(evaluation: Evaluation) -> Figure:
    """Each metric of the model and its baselines, with bootstrap intervals: one panel a metric."""
    names = METRICS[evaluation.kind]
    models = evaluation.models[::-1]
    figure, axes = plt.subplots(
        1, len(names), figsize=(3.1 * len(names), 0.5 * len(models) + 1.3), layout="constrained", sharey=True
    )
    for ax, metric in zip(axes, names, strict=True):
        for y, (model, row) in enumerate((m, evaluation.row(metric, m)) for m in models):
            colour = PALETTE[0] if model == MODEL else PALETTE[4] if model == "random_forest" else "#777777"
            ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2)
            ax.plot(row["value"], y, marker=MARKERS[y % len(MARKERS)], color=colour, markersize=8)
        unit = f" ({_cut(evaluation.target)})" if metric == "mae" else ""
        ax.set(xlabel=METRIC_NAMES[metric] + unit, ylim=(-0.6, len(models) - 0.4))
        ax.set_yticks(range(len(models)), [MODEL_NAMES.get(m, m) for m in models])
        ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    return figure


def attributions(
    result: Attributions, *, top: int = 15, mark: Iterable[str] = (), ax: Axes | None = None, **artist_kw: Any
) -> Axes:
    """The ASVs with the largest mean absolute attribution.

    Bars end at the mean attribution, dots at the mean absolute one; a star marks the ASVs in `mark` (such as planted ones).
    """
    ax = ax or _axes(height=0.28 * top + 1.2)
    table, marked = result.by_asv().head(top).iloc[::-1], set(mark)
    up = table["mean"] >= 0
    ax.barh(range(len(table)), table["mean"], color=np.where(up, PALETTE[4], PALETTE[0]), **artist_kw)
    ax.plot(
        table["mean_abs"],
        range(len(table)),
        linestyle="none",
        marker="o",
        markersize=4,
        color="black",
        label="mean |attribution|",
    )
    ax.set_yticks(
        range(len(table)),
        [("★ " if a in marked else "") + short(a) for a in table.index],
        family="monospace",
        fontsize=8,
    )
    ax.axvline(0, color="black", linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set(
        xlabel=f"mean attribution ({_cut(result.unit, 40)})",
        title=f"{_cut(result.target)}: ASVs that moved predictions most",
    )
    handles = ax.get_legend_handles_labels()[0]
    if marked:
        handles.append(ax.plot([], [], linestyle="none", marker="*", color="black", markersize=9, label="planted")[0])
    # Below the axes: bars may reach every corner.
    ax.legend(handles=handles, frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    return ax


def attention(table: pd.DataFrame, *, sample: str, top: int = 15, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Pooling attention of one sample (`maps.pooling[sample]`): its most attended ASVs x heads."""
    ax = ax or _axes(height=0.28 * top + 1.5)
    shown = table.head(top)
    drawn = ax.imshow(shown.to_numpy(), cmap="cividis", aspect="auto", vmin=0, **artist_kw)
    ax.figure.colorbar(drawn, ax=ax, label="attention")
    ax.set_xticks(range(shown.shape[1]), [c.replace("_", " ") for c in shown.columns])
    ax.set_yticks(range(len(shown)), [short(str(a)) for a in shown.index], family="monospace", fontsize=8)
    ax.set_title(f"{_cut(sample)}: {len(shown)} most attended of {len(table)}")
    return ax


def learning_rate(search: RateSearch, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Loss along a rising learning rate, with the rate it speaks for; from `model.find_learning_rate`."""
    ax = ax or _axes()
    curve = search.to_frame()
    style: dict[str, Any] = {"color": PALETTE[0], "linewidth": 2} | artist_kw
    ax.plot(curve["learning_rate"], curve["loss"], color="0.7", linewidth=1, label="a step")
    ax.plot(curve["learning_rate"], curve["smoothed"], label="smoothed", **style)
    ax.axvline(search.suggestion, color=PALETTE[4], linestyle="--", label=f"suggested {search.suggestion:.1e}")
    lowest = curve["smoothed"].min()
    highest = curve["smoothed"].iloc[: int(curve["smoothed"].argmin()) + 1].max()  # beyond it goes astray
    ax.set(xscale="log", xlabel="learning rate", ylabel="training loss", title="Loss along a rising rate")
    ax.set_ylim(lowest - 0.15 * (highest - lowest), highest + 0.3 * (highest - lowest))
    ax.legend(frameon=False)
    return ax


def _axes(width: float = 5.2, height: float = 3.8) -> Axes:
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _cut(name: object, most: int = 24) -> str:
    text = str(name).replace("$", r"\$")  # no name from a file is taken as mathematics
    return text if len(text) <= most else text[: most - 1] + "…"
