"""How well a model predicts."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aam_nb.evaluate.metrics import METRICS, MODEL, Evaluation
from aam_nb.show.plots.style import (
    GREY,
    MARKERS,
    METRIC_NAMES,
    MODEL_NAMES,
    PALETTE,
    POINTS,
    confusion_matrix,
    cut,
    forest,
    new_axes,
    set_title,
)

COLOURS = {MODEL: PALETTE[0], "random_forest": PALETTE[4]}
"""Colours of models; all others are grey."""


def predictions(evaluation: Evaluation, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Predicted against true values of the test samples; for classes, the confusion matrix with counts."""
    ax = ax or new_axes()
    table, target = evaluation.predictions, cut(evaluation.target)
    if evaluation.kind == "regression":
        values = table[["truth", "prediction"]].astype(float)
        sns.scatterplot(values, x="truth", y="prediction", color=PALETTE[0], ax=ax, **(POINTS | artist_kw))
        ends = [values.to_numpy().min(), values.to_numpy().max()]
        ax.plot(ends, ends, color="#666666", linestyle="--", linewidth=1, label="perfect prediction")
        ax.set(xlabel=f"true {target}", ylabel=f"predicted {target}")
        ax.legend(frameon=False)
    else:
        counts = pd.crosstab(table["truth"], table["prediction"])
        names = sorted({*counts.index, *counts.columns})
        counts = counts.reindex(index=names, columns=names, fill_value=0)
        confusion_matrix(ax, counts, evaluation.target, **artist_kw)
    set_title(ax, f"{target}: {len(table):,} test sample{'' if len(table) == 1 else 's'}")
    return ax


def metrics(evaluation: Evaluation) -> Figure:
    """Each metric of the model and its baselines, with bootstrap intervals: a panel for each metric."""
    names, models = METRICS[evaluation.kind], evaluation.models
    kinds = {m: (COLOURS.get(m, GREY), MARKERS[k % len(MARKERS)], m) for k, m in enumerate(models)}
    figure, axes = plt.subplots(
        1, len(names), figsize=(3.1 * len(names), 0.5 * len(models) + 1.3), layout="constrained", sharey=True
    )
    for ax, metric in zip(axes, names, strict=True):
        table = pd.DataFrame({MODEL_NAMES.get(m, m): evaluation.row(metric, m) for m in models}).T
        forest(ax, table, "value", np.array(models), kinds)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_xlabel(METRIC_NAMES[metric] + (f"\n({cut(evaluation.target)})" if metric == "mae" else ""))
    return figure
