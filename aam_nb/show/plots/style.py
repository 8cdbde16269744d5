"""What all figures share: colours, markers, names of metrics and models, labels, and forest plots."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from aam_nb.evaluate.metrics import MODEL

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#7A5195")
"""Colours that readers with any kind of colour vision can distinguish: Okabe and Ito's first six; a darker yellow and a violet, which are
visible on white and on black. The explorers use the same ones (`widgets/js/kit/scales.js`)."""
GREY = "#777777"
MARKERS = "osD^vPX*"
LETTERS = {"A": PALETTE[2], "C": PALETTE[0], "G": PALETTE[1], "T": PALETTE[4]}
"""Colours of nucleotides, whose letters say the same."""
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


def new_axes(width: float = 5.2, height: float = 3.8) -> Axes:
    """Axes of a figure of their own; inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def legend_below(ax: Axes, inches: float, **settings: Any) -> None:
    """A legend in the middle, so far below the axes, where bars cannot reach it; room for ticks and a label is in `inches`."""
    below = ax.transAxes + ScaledTranslation(0, -inches, ax.figure.dpi_scale_trans)
    style: dict[str, Any] = {
        "frameon": False,
        "fontsize": 8,
        "loc": "upper center",
        "bbox_to_anchor": (0.5, 0),
        "borderaxespad": 0,
    }
    ax.legend(**(style | settings), bbox_transform=below)


def cut(name: object, most: int = 24) -> str:
    """A name as a label."""
    text = str(name).replace("$", r"\$")  # no name from a file is taken as mathematics
    return text if len(text) <= most else text[: most - 1] + "…"
