"""Figures, each drawn from a table that can also be printed. Nothing is shown, saved or computed here.

The colours can be distinguished with any kind of colour vision, and marker shapes or line styles repeat what colours say.
"""

from aam_nb.show.plots.attention import (
    attention,
    attention_difference,
    attention_heads,
    motif,
    nucleotide_attention,
    rollout,
    uniform_control,
)
from aam_nb.show.plots.attributions import attributions, clades, nucleotides, sample_attributions, taxa
from aam_nb.show.plots.comparison import comparison
from aam_nb.show.plots.errors import confusion, errors, reliability, slices
from aam_nb.show.plots.evaluation import metrics, predictions
from aam_nb.show.plots.faithfulness import faithfulness
from aam_nb.show.plots.study import depth, pcoa
from aam_nb.show.plots.style import METRIC_NAMES, MODEL_NAMES, PALETTE, short
from aam_nb.show.plots.training import history, learning_rate

__all__ = [
    "METRIC_NAMES",
    "MODEL_NAMES",
    "PALETTE",
    "attention",
    "attention_difference",
    "attention_heads",
    "attributions",
    "clades",
    "comparison",
    "confusion",
    "depth",
    "errors",
    "faithfulness",
    "history",
    "learning_rate",
    "metrics",
    "motif",
    "nucleotide_attention",
    "nucleotides",
    "pcoa",
    "predictions",
    "reliability",
    "rollout",
    "sample_attributions",
    "short",
    "slices",
    "taxa",
    "uniform_control",
]
