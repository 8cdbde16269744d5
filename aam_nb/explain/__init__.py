"""Why a model predicts what it does: `aam.explain.attribute`, `aam.explain.attention`, `aam.explain.recovery`."""

from aam_nb.explain.attention import AttentionMaps, attention
from aam_nb.explain.attribution import Attributions, attribute
from aam_nb.explain.sanity import Recovery, recovery

__all__ = ["AttentionMaps", "Attributions", "Recovery", "attention", "attribute", "recovery"]
