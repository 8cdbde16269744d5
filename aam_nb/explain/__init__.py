"""Why a model predicts what it does: `aam.explain.attribute` and `attention`, and whether that can be believed: `faithfulness`."""

from aam_nb.explain.attention.difference import AttentionDifference, compare_attention
from aam_nb.explain.attention.maps import AttentionMaps, attention
from aam_nb.explain.attention.motifs import Motifs, motifs
from aam_nb.explain.attention.uniform import UniformControl, uniform_control
from aam_nb.explain.attribution.attribute import Attributions, GapWarning, attribute
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.explain.faithfulness.faithfulness import Faithfulness, faithfulness
from aam_nb.explain.faithfulness.recovery import Recovery, recovery

__all__ = [
    "AttentionDifference",
    "AttentionMaps",
    "Attributions",
    "ExplainError",
    "Faithfulness",
    "GapWarning",
    "Motifs",
    "Recovery",
    "UniformControl",
    "attention",
    "attribute",
    "compare_attention",
    "faithfulness",
    "motifs",
    "recovery",
    "uniform_control",
]
