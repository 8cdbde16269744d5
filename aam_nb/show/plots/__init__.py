"""Figures, each drawn from a table that can also be printed. Nothing is shown, saved or computed here.

Colours are told apart with any kind of colour vision; marker shapes say the same once more.
"""

from aam_nb.show.plots.community import depth, pcoa
from aam_nb.show.plots.looking import attention
from aam_nb.show.plots.reasons import attributions
from aam_nb.show.plots.scores import metrics, predictions
from aam_nb.show.plots.style import METRIC_NAMES, MODEL_NAMES, PALETTE, short
from aam_nb.show.plots.training import history, learning_rate

__all__ = [
    "METRIC_NAMES",
    "MODEL_NAMES",
    "PALETTE",
    "attention",
    "attributions",
    "depth",
    "history",
    "learning_rate",
    "metrics",
    "pcoa",
    "predictions",
    "short",
]
