"""How a metadata column is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aam_nb.config.checks import MOST_LAYERS, WIDEST, check, check_types

TransformKind = Literal["standardise", "minmax", "log", "power", "quantile", "none"]
"""What is done to a target's numbers before the network sees them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetConfig:
    """How a metadata column is predicted. Settings that may differ by output are tuples: one for all outputs, or one for each."""

    loss: tuple[Literal["mse", "mae", "huber", "asymmetric"], ...] = ("mse",)
    """Loss of a number, in transformed units: squared, absolute, Huber, or squared with another price for too high (asymmetric)."""
    huber_delta: float = 1.0
    """Error, in transformed units, from which Huber's loss grows linearly."""
    over_cost: float = 2.0
    """What the asymmetric loss charges for too high, where too low costs 1."""
    transform: tuple[TransformKind, ...] = ("standardise",)
    """What the network sees of a number, fitted on the training samples and undone in every prediction: standardised; scaled to 0 to 1;
    log(1 + y), Yeo-Johnson's power, or normal quantiles, standardised; or as it is."""
    transform_by: str = ""
    """Metadata column within whose values numbers are transformed by themselves; values never seen in training take the transform of
    all training samples."""
    output: tuple[Literal["free", "positive", "bounded"], ...] = ("free",)
    """What a prediction may be: any number, none below 0 (softplus), or between `low` and `high` (logistic)."""
    low: float = 0.0
    """Lower bound of bounded outputs, in the target's units."""
    high: float = 1.0
    """Upper bound of bounded outputs, in the target's units."""
    quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
    """Quantiles that a `Quantiles` target predicts; the middle one is its prediction."""
    class_weights: Literal["none", "balanced"] = "none"
    """Classes as often as they come, or each with the same say."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes."""
    focal: float = 0.0
    """Focusing exponent of the focal loss (Lin et al. 2017): above 0, examples that are already right count less."""
    hidden: tuple[int, ...] = ()
    """Widths of the head's hidden layers; a layer as wide as its input is residual."""
    head_dropout: float = 0.0
    """Share of the head's hidden activations dropped in training."""

    def __post_init__(self) -> None:
        check_types(self, lone=True)
        empty = {"loss": "('mse',)", "transform": "('standardise',)", "output": "('free',)", "quantiles": "(0.5,)"}
        for name, hint in empty.items():
            check(len(getattr(self, name)) > 0, name, (), "at least one value", hint)
        check(self.huber_delta > 0, "huber_delta", self.huber_delta, "a positive number", "1.0")
        check(self.over_cost > 0, "over_cost", self.over_cost, "a positive number", "2.0")
        check(self.low < self.high, "low", self.low, f"less than high ({self.high})", "0.0")
        inside = all(0 < q < 1 for q in self.quantiles) and list(self.quantiles) == sorted(set(self.quantiles))
        check(
            inside and len(self.quantiles) % 2 == 1,
            "quantiles",
            self.quantiles,
            "an odd number of rising shares",
            "(0.05, 0.5, 0.95)",
        )
        check(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "a share in [0, 1)", "0.1")
        check(self.focal >= 0, "focal", self.focal, "zero or more", "2.0")
        fits = all(1 <= w <= WIDEST for w in self.hidden) and len(self.hidden) <= MOST_LAYERS
        check(fits, "hidden", self.hidden, f"up to {MOST_LAYERS} whole numbers, each 1 to {WIDEST}", "(64,)")
        check(0 <= self.head_dropout < 1, "head_dropout", self.head_dropout, "a share in [0, 1)", "0.1")
