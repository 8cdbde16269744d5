"""Losses of a training run, and the search for a learning rate."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from aam_nb.show.plots.style import PALETTE, legend_below, new_axes
from aam_nb.train.lr_finder import RateSearch


def history(table: pd.DataFrame, *, stage: str, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Training and validation loss of one stage of `model.history`; the best epoch is marked."""
    ax = ax or new_axes()
    rows = table[table["stage"] == stage]
    ax.plot(rows["epoch"], rows["train_loss"], color=PALETTE[0], linestyle="--", label="training", **artist_kw)
    ax.plot(rows["epoch"], rows["valid_loss"], color=PALETTE[4], label="validation", **artist_kw)
    best = rows.loc[rows["valid_loss"] == rows["valid_loss"].min()].head(1)  # none where no loss is known
    ax.plot(
        best["epoch"],
        best["valid_loss"],
        marker="*",
        markersize=12,
        color=PALETTE[4],
        linestyle="none",
        label="best epoch, kept",
    )
    names = {"pretrain": "Pre-training", "fit": "Fine-tuning"}
    ax.set(xlabel="epoch", ylabel="loss", title=names.get(stage, stage))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def learning_rate(search: RateSearch, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Training loss as the learning rate rises, with the suggested rate; from `model.find_learning_rate`."""
    ax = ax or new_axes()
    curve = search.to_frame()
    style: dict[str, Any] = {"color": PALETTE[0], "linewidth": 2} | artist_kw
    ax.plot(curve["learning_rate"], curve["loss"], color="0.7", linewidth=1, label="each step")
    ax.plot(curve["learning_rate"], curve["smoothed"], label="smoothed", **style)
    ax.axvline(search.suggestion, color=PALETTE[4], linestyle="--", label=f"suggested {search.suggestion:.1e}")
    lowest = curve["smoothed"].min()
    highest = curve["smoothed"].iloc[: int(curve["smoothed"].argmin()) + 1].max()  # beyond it, the loss diverges
    ax.set(xscale="log", xlabel="learning rate", ylabel="training loss", title="Loss as the learning rate rises")
    ax.set_ylim(lowest - 0.15 * (highest - lowest), highest + 0.3 * (highest - lowest))
    legend_below(ax, 0.55, ncols=3)
    return ax
