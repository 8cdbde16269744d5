"""How well a model predicts."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.evaluate.metrics import METRICS, MODEL, Evaluation
from aam_nb.show.plots.style import MARKERS, METRIC_NAMES, MODEL_NAMES, PALETTE, cut, new_axes


def predictions(evaluation: Evaluation, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Predicted against true values of the test samples; for classes, the confusion matrix with counts."""
    ax = ax or new_axes()
    table = evaluation.predictions
    if evaluation.kind == "regression":
        style: dict[str, Any] = {"s": 26, "alpha": 0.8, "edgecolors": "white", "linewidths": 0.4} | artist_kw
        ax.scatter(table["truth"], table["prediction"], color=PALETTE[0], **style)
        both = table[["truth", "prediction"]].to_numpy(float)
        ends = [both.min(), both.max()]
        ax.plot(ends, ends, color="#666666", linestyle="--", linewidth=1, label="perfect")
        ax.set(xlabel=f"true {cut(evaluation.target)}", ylabel=f"predicted {cut(evaluation.target)}")
        ax.legend(frameon=False)
    else:
        counts = pd.crosstab(table["truth"], table["prediction"])
        names = sorted({*counts.index, *counts.columns})
        cells = counts.reindex(index=names, columns=names, fill_value=0).to_numpy()
        shown = cells / np.maximum(cells.sum(1, keepdims=True), 1)
        ax.imshow(shown, cmap="cividis", vmin=0, vmax=1, **artist_kw)
        for (i, j), n in np.ndenumerate(cells):
            ax.text(j, i, str(n), ha="center", va="center", color="black" if shown[i, j] > 0.6 else "white")
        labels = [cut(n) for n in names]
        slanted: dict[str, Any] = (
            {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if max(map(len, labels)) > 8 else {}
        )
        ax.set_xticks(range(len(names)), labels, **slanted)
        ax.set_yticks(range(len(names)), labels)
        ax.set(xlabel=f"predicted {cut(evaluation.target)}", ylabel=f"true {cut(evaluation.target)}")
    ax.set_title(f"{cut(evaluation.target)}: {len(table)} test samples")
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
        unit = f" ({cut(evaluation.target)})" if metric == "mae" else ""
        ax.set(xlabel=METRIC_NAMES[metric] + unit, ylim=(-0.6, len(models) - 0.4))
        ax.set_yticks(range(len(models)), [MODEL_NAMES.get(m, m) for m in models])
        ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    return figure
