"""What all figures share: colours, markers, names of metrics and models, labels, forest plots and confusion matrices."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from aam_nb.arrays import Array
from aam_nb.evaluate.metrics import MODEL

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A4B2A", "#8B3FD9")
"""Colours that readers with any kind of colour vision can distinguish: Okabe and Ito's first six, a brown and a violet, which are visible
on white and on black. The explorers use the same ones (`widgets/js/kit/scales.js`)."""
GREY = "#777777"
MARKERS = "osD^vPX<"
LETTERS = {"A": PALETTE[2], "C": PALETTE[0], "G": PALETTE[1], "T": PALETTE[4]}
"""Colours of nucleotides; their letters stand beside them."""
POINTS: dict[str, Any] = {"s": 26, "alpha": 0.8, "edgecolor": "white", "linewidth": 0.4}
"""How samples are drawn."""
MOST_CLASSES = 12
"""Classes up to which each cell of a confusion matrix carries its count."""
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


def cut(name: object, most: int = 24) -> str:
    """A name as a label."""
    text = str(name).replace("$", r"\$")  # no name from a file is taken as mathematics
    return text if len(text) <= most else text[: most - 1] + "…"


def new_axes(width: float = 5.2, height: float = 3.8) -> Axes:
    """Axes of a figure of their own; inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def set_title(ax: Axes, text: str, letters: int = 46) -> None:
    """A title, on more than one line where it is longer than `letters`."""
    ax.set_title(textwrap.fill(text, letters))


def legend_below(ax: Axes, inches: float, **settings: Any) -> None:
    """A legend below the axes, in the middle; `inches` leaves room for ticks and a label."""
    below = ax.transAxes + ScaledTranslation(0, -inches, ax.figure.dpi_scale_trans)
    style: dict[str, Any] = {
        "frameon": False,
        "fontsize": 8,
        "loc": "upper center",
        "bbox_to_anchor": (0.5, 0),
        "borderaxespad": 0,
    }
    ax.legend(**(style | settings), bbox_transform=below)


def forest(ax: Axes, table: pd.DataFrame, value: str, kind: Array, kinds: Mapping[Any, tuple[str, str, str]]) -> None:
    """A forest plot: in each row of `table`, the first on top, a marker at `value` and a line from `low` to `high`.

    Parameters
    ----------
    ax
        Where to draw.
    table
        With the columns `value`, `low` and `high`; rows without a value stay empty. Its index names the rows.
    value
        The column of the markers.
    kind
        What each row is, a key of `kinds`; drawn by colour and shape.
    kinds
        Colour, marker and name of each kind, in the order of the legend.
    """
    has_value = table[value].notna().to_numpy()
    rows, y, kind = table[has_value], np.flatnonzero(has_value), kind[has_value]
    present = {k: kinds[k] for k in kinds if k in set(kind)}
    if present:
        names = [kinds[k][2] for k in kind]
        ax.hlines(y, rows["low"], rows["high"], colors=[kinds[k][0] for k in kind], linewidth=2)
        sns.scatterplot(
            x=rows[value].to_numpy(float),
            y=y,
            hue=names,
            style=names,
            hue_order=[name for _, _, name in present.values()],
            palette={name: colour for colour, _, name in present.values()},
            markers={name: marker for _, marker, name in present.values()},
            s=60,
            zorder=3,
            ax=ax,
        )
        if legend := ax.get_legend():
            legend.remove()  # each figure has its own place for it
    ax.set_yticks(range(len(table)), [str(name) for name in table.index])
    ax.set_ylim(max(len(table), 1) - 0.4, -0.6)
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)


def confusion_matrix(ax: Axes, counts: pd.DataFrame, target: str, **heatmap_kw: Any) -> None:
    """Counts of true (rows) by predicted classes; the colour is the share of the true class."""
    cells, names = counts.to_numpy(), [cut(n, 18) for n in counts.index]
    style: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": 1, "square": True} | heatmap_kw
    sns.heatmap(
        cells / np.maximum(cells.sum(1, keepdims=True), 1),
        annot=cells if len(names) <= MOST_CLASSES else None,
        fmt="d",
        xticklabels=names,
        yticklabels=names,
        cbar_kws={"label": "share of the true class", "fraction": 0.046, "pad": 0.03},
        ax=ax,
        **style,
    )
    ax.tick_params(labelsize=8, rotation=0)
    if max(map(len, names)) > 8:
        plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    ax.set(xlabel=f"predicted {cut(target)}", ylabel=f"true {cut(target)}")
