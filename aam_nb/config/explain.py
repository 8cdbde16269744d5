"""How attributions and attention are made, and how attributions are checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aam_nb.config.checks import check, check_statistics, check_types

AttributionLevel = Literal["asv", "taxon", "clade", "nucleotide", "covariate"]
"""What an attribution is made for."""
AttributionMethod = Literal["integrated_gradients", "gradient_x_input", "shapley", "occlusion"]
AttentionLevel = Literal["nucleotide", "asv", "pooling"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainConfig:
    """How attributions are made and averaged."""

    orders: int = 25
    """Orders of the features drawn for Shapley values; each costs as many predictions as a sample has features. Where so few features
    have no more orders than this, all are gone through, and the values are exact."""
    max_tokens: int = 16384
    """Most positions computed at once (outputs x ASVs of a sample): bounds memory. Results do not depend on it."""
    top: int = 8
    """ASVs whose nucleotides are explained, those with the largest mean absolute attribution; unless they are named."""
    num_resamples: int = 1000
    """Bootstrap resamples for the intervals of mean attributions."""
    confidence: float = 0.95
    """Coverage of the intervals, in (0, 1)."""
    seed: int = 0
    """Seed of orders and resamples."""

    def __post_init__(self) -> None:
        check_types(self)
        check_statistics(self)
        check(self.orders >= 1, "orders", self.orders, "at least 1 order", "25")
        check(self.max_tokens >= 1, "max_tokens", self.max_tokens, "at least 1", "16384")
        check(self.top >= 1, "top", self.top, "at least 1 ASV", "8")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """Which attention is looked at, how much of it is kept, and how two groups of samples are compared."""

    levels: tuple[AttentionLevel, ...] = ("nucleotide", "asv", "pooling")
    """nucleotide: among the positions of an ASV, and their pooling. asv: among the ASVs of a sample. pooling: from ASVs to the sample."""
    top: int = 64
    """ASVs of a sample that are kept one by one at level asv: those with most pooling attention. The others are one row and column."""
    top_nucleotide: int = 8
    """ASVs looked into at level nucleotide where none are named: those with most pooling attention over all samples chosen."""
    num_permutations: int = 9999
    """Random exchanges of labels behind a p-value; where there are no more than these at all, each is made once."""
    seed: int = 0
    """Seed of the permutations."""

    def __post_init__(self) -> None:
        check_types(self, lone=True)
        check_statistics(self)
        once = 0 < len(self.levels) == len(set(self.levels))
        check(once, "levels", self.levels, "one or more of nucleotide, asv, pooling, each once", "('asv', 'pooling')")
        check(self.top >= 1, "top", self.top, "at least 1 ASV", "64")
        check(self.top_nucleotide >= 1, "top_nucleotide", self.top_nucleotide, "at least 1 ASV", "8")


@dataclass(frozen=True, kw_only=True, slots=True)
class FaithfulnessConfig:
    """How attributions are checked."""

    steps: int = 20
    """Steps from a whole sample to none of it on deletion and insertion curves."""
    num_random: int = 20
    """Random orders that the curves are compared with."""
    max_samples: int = 100
    """Most samples behind the curves and behind comparisons with models fitted anew; of more, so many are drawn."""
    num_samples: int = 16
    """Samples behind the costlier checks: infidelity, sensitivity, random weights."""
    num_subsets: int = 64
    """Random subsets of a sample's features that infidelity takes away."""
    radius: float = 0.1
    """Share by which reads are changed at most for sensitivity."""
    num_changes: int = 4
    """Such changes of each sample."""
    draws: int = 1
    """Draws of random weights; 0 leaves the check out."""
    seeds: int = 2
    """Models fitted anew from other seeds; 0 leaves the check out."""
    shuffles: int = 1
    """Models fitted to shuffled labels; 0 leaves the check out."""
    top: int = 20
    """Features that should be the same ones under another seed."""
    num_trees: int = 200
    """Trees of the random forest whose importances are compared with, where ASVs were planted."""
    num_resamples: int = 1000
    """Bootstrap resamples, of whole groups where the split has one, behind each interval."""
    num_permutations: int = 9999
    """Random signs, or rankings, behind each p-value."""
    confidence: float = 0.95
    """Coverage of each interval."""
    seed: int = 0
    """Seed of all that is drawn."""

    def __post_init__(self) -> None:
        check_types(self)
        check_statistics(self)
        least = {"steps": 2, "num_random": 1, "max_samples": 2, "num_samples": 2, "num_subsets": 2, "num_changes": 1}
        least |= {"draws": 0, "seeds": 0, "shuffles": 0, "top": 1, "num_trees": 1}
        for name, n in least.items():
            check(getattr(self, name) >= n, name, getattr(self, name), f"at least {n}", str(n))
        check(0 < self.radius < 1, "radius", self.radius, "a share in (0, 1)", "0.1")
