"""How predictions are evaluated, their errors analysed, and models compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aam_nb.config.checks import check, check_statistics, check_types


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineConfig:
    """How the baselines are made: the same in `evaluate` and in `compare`."""

    tune: bool = True
    """Choose each baseline's settings from a small grid, by cross-validation within the training samples."""
    inner_folds: int = 3
    """Folds within the training samples that choose those settings; whole groups where there is a group."""
    num_trees: int = 500
    """Trees of the random forest."""
    feature_prevalence: int = 2
    """Training samples that an ASV must occur in to be a feature of a baseline."""
    baseline_samples: int = 3000
    """Most training samples that a baseline is fitted to; of more, so many are drawn at random, and a note says so."""
    baseline_cells: int = 5_000_000
    """Most cells (training samples x ASVs) that a baseline sees; of more, the commonest ASVs are taken, and a note says so."""
    seed: int = 0
    """Seed of the baselines."""

    def __post_init__(self) -> None:
        check_types(self)
        check(self.inner_folds >= 2, "inner_folds", self.inner_folds, "at least 2", "3")
        check(self.num_trees >= 1, "num_trees", self.num_trees, "at least 1", "500")
        check(self.feature_prevalence >= 1, "feature_prevalence", self.feature_prevalence, "at least 1 sample", "2")
        check(self.baseline_samples >= 20, "baseline_samples", self.baseline_samples, "at least 20", "3000")
        check(self.baseline_cells >= 1000, "baseline_cells", self.baseline_cells, "at least 1000", "5_000_000")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig(BaselineConfig):
    """How a prediction is evaluated."""

    num_resamples: int = 500
    """Bootstrap resamples behind each interval."""
    confidence: float = 0.95
    """Coverage of each interval."""
    seed: int = 0
    """Seed of the bootstrap and of the baselines."""

    def __post_init__(self) -> None:
        BaselineConfig.__post_init__(self)  # `super()` does not work in a dataclass with slots
        check_statistics(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorsConfig:
    """How the errors of a prediction are analysed."""

    min_slice: int = 8
    """Fewest samples of a slice."""
    num_bins: int = 4
    """Quantile bins that a column of numbers is cut into."""
    max_pair_columns: int = 4
    """Columns, the most telling ones, whose pairs are sliced by too; 0 or 1 leaves pairs out."""
    num_worst: int = 10
    """Worst samples that are looked at closely."""
    num_neighbours: int = 5
    """Nearest training samples, whose mean distance says how far a sample lies from the training data."""
    attributions: bool = True
    """Explain the worst samples by their ASVs."""
    calibration_bins: int = 10
    """Bins of the reliability curve."""
    equal_mass: bool = True
    """Whether those bins hold as many samples each, or are as wide each."""
    levels: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95)
    """Coverage asked of conformal intervals and prediction sets."""
    learning_curve: tuple[float, ...] = ()
    """Shares of the training samples, such as 0.25 0.5 1.0, that the model is fitted to again; none asks for no curve."""
    num_resamples: int = 1000
    """Bootstrap resamples, of whole groups, behind each interval."""
    num_permutations: int = 9999
    """Permutations, of whole groups, behind each p-value."""
    confidence: float = 0.95
    """Coverage of each interval."""
    false_discovery: float = 0.05
    """Share of false ones among the slices that are called worse than the rest (Benjamini & Hochberg 1995)."""
    seed: int = 0
    """Seed of resamples, permutations and subsets."""

    def __post_init__(self) -> None:
        check_types(self)
        check_statistics(self)
        check(self.min_slice >= 2, "min_slice", self.min_slice, "at least 2 samples", "8")
        check(2 <= self.num_bins <= 100, "num_bins", self.num_bins, "2 to 100", "4")
        check(0 <= self.max_pair_columns <= 100, "max_pair_columns", self.max_pair_columns, "0 to 100", "4")
        check(self.num_worst >= 1, "num_worst", self.num_worst, "at least 1", "10")
        check(self.num_neighbours >= 1, "num_neighbours", self.num_neighbours, "at least 1", "5")
        check(self.calibration_bins >= 2, "calibration_bins", self.calibration_bins, "at least 2", "10")
        shares = all(0 < v < 1 for v in self.levels) and len(self.levels) > 0
        check(shares, "levels", self.levels, "shares in (0, 1)", "(0.8, 0.9)")
        curve = self.learning_curve
        rising = all(0 < v <= 1 for v in curve) and list(curve) == sorted(set(curve))
        check(rising, "learning_curve", curve, "rising shares in (0, 1]", "(0.25, 0.5, 1.0)")
        check(0 < self.false_discovery < 1, "false_discovery", self.false_discovery, "a share in (0, 1)", "0.05")


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig(BaselineConfig):
    """How models are compared: by which folds, how the baselines are tuned, and what intervals and tests rest on."""

    scheme: Literal["k_fold", "leave_one_group_out"] = "k_fold"
    """Folds of samples (of whole groups where there is a group), or every value of the group held out in turn."""
    folds: int = 5
    """Folds of `k_fold`."""
    repeats: int = 1
    """How often `k_fold` deals the samples anew; each repeat also has seeds of its own."""
    num_resamples: int = 500
    """Bootstrap resamples behind each interval; whole groups where there is a group."""
    confidence: float = 0.95
    """Coverage of each interval."""
    num_permutations: int = 999
    """Permutations of the truth behind each null distribution."""
    block: str = ""
    """Metadata column within whose values the truth is permuted, such as a study or a batch."""
    jobs: int = 1
    """Processes that fit at the same time."""
    seed: int = 0
    """Seed of the folds, of what is fitted, of the bootstrap and of the permutations."""

    def __post_init__(self) -> None:
        BaselineConfig.__post_init__(self)
        check_statistics(self, permutations=19)
        check(self.folds >= 2, "folds", self.folds, "at least 2", "5")
        once = self.scheme == "leave_one_group_out"
        expected = "1 where every group is left out once" if once else "at least 1"
        check(self.repeats == 1 if once else self.repeats >= 1, "repeats", self.repeats, expected, "1")
        check(self.jobs >= 1, "jobs", self.jobs, "at least 1 process", "2")
