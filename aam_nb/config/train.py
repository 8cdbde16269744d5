"""The network, how it is trained, and what it predicts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from aam_nb.config.checks import check, check_types, configured, one_of
from aam_nb.config.data import WIDEST

DEEPEST = 1024
"""Most layers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The shape of the network."""

    width: int = 64
    """Length of every embedding vector."""
    num_layers: int = 2
    """Transformer blocks in each of the two stages (nucleotides to ASV, ASVs to sample)."""
    num_attn_heads: int = 4
    """Attention heads in each block; they divide `width`."""
    scales: tuple[int, ...] = (4,)
    """Nucleotides in one position of the nucleotide stage, finest first: 4 makes patches of four; 1 4 attends locally among single
    nucleotides, pools four to one, and attends among all of those."""
    window: int = 16
    """Positions on either side that local attention sees, at all scales but the last."""
    positions: Literal["rotary", "learned", "sinusoidal"] = "rotary"
    """How the nucleotide stage tells positions apart; rotary and sinusoidal reach any length, learned ones reach `learned_length`."""
    learned_length: int = 2048
    """Longest ASV that learned positions reach, in nucleotides; the other kinds have no limit."""
    abundance: Literal["add", "concat", "film"] = "add"
    """How relative abundance joins an ASV's vector: added, concatenated and mixed, or as a scale and shift (FiLM, Perez et al. 2018)."""
    fusion: Literal["tokens", "concat", "gmu"] = "tokens"
    """How covariates join a sample: as tokens of its set, concatenated after pooling, or gated (GMU, Arevalo et al. 2017)."""
    dropout: float = 0.0
    """Share of activations dropped in training."""
    drop_path: float = 0.0
    """Share of samples and ASVs for which the last block is skipped in training; earlier blocks are skipped less, in proportion."""

    def __post_init__(self) -> None:
        check_types(self)
        check(1 <= self.num_layers <= DEEPEST, "num_layers", self.num_layers, f"at least 1, at most {DEEPEST}", "2")
        heads = self.num_attn_heads
        check(1 <= heads <= WIDEST // 2, "num_attn_heads", heads, f"at least 1, at most {WIDEST // 2}", "4")
        nested = len(self.scales) > 0 and all(1 <= s <= WIDEST for s in self.scales)
        nested = nested and all(b > a and b % a == 0 for a, b in pairwise(self.scales))
        words = f"whole numbers of nucleotides up to {WIDEST}, each a multiple of the one before"
        check(nested, "scales", self.scales, words, "(1, 4)")
        for name, unit, hint in (("window", "position", "16"), ("learned_length", "nucleotide", "2048")):
            value = getattr(self, name)
            check(1 <= value <= WIDEST, name, value, f"at least 1 {unit}, at most {WIDEST}", hint)
        check(0 <= self.dropout < 1, "dropout", self.dropout, "a share in [0, 1)", "0.1")
        check(0 <= self.drop_path < 1, "drop_path", self.drop_path, "a share in [0, 1)", "0.1")
        # Rotary positions turn pairs of numbers, so each head needs an even share of the width.
        fits = 1 <= self.width <= WIDEST and self.width % (2 * heads) == 0
        words = f"a multiple of {2 * heads} (twice num_attn_heads) up to {WIDEST}"
        check(fits, "width", self.width, words, str(min(16, WIDEST // heads // 2 * 2) * heads))

    @classmethod
    def preset(cls, name: str, **settings: Any) -> ModelConfig:
        """A shape by name, with some fields set anew.

        Parameters
        ----------
        name
            "tiny" (tests), "small" (the default), "base", or "aam": the published shape, width 128, 4 layers and 4 heads over single
            nucleotides (its ASVs had 150; here any length goes).
        settings
            Fields to set anew.

        Raises
        ------
        ConfigError
            There is no such preset or field.
        """
        presets: dict[str, dict[str, Any]] = {
            "tiny": {"width": 32, "num_layers": 1, "num_attn_heads": 2},
            "small": {},
            "base": {"width": 128, "num_layers": 4},
            "aam": {"width": 128, "num_layers": 4, "scales": (1,)},
        }
        one_of(name, "preset", tuple(presets))
        return configured(cls, None, presets[name] | settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a model is trained, in `pretrain` and in `fit`."""

    # How long
    epochs: int = 40
    """Most passes over the training samples."""
    patience: int = 20
    """Epochs without a better validation score before training stops early."""
    validation: float = 0.15
    """Share of the training samples (whole groups where the split has them) held back to choose the best epoch."""
    best: str = "valid_loss"
    """Column of the history that chooses the best epoch: the smallest value, or the largest with a plus before it, +valid_target_r2."""

    # Batches
    batch_size: int = 16
    """Most samples in a step."""
    max_tokens: int = 131072
    """Most positions computed at once (ASV slots, and patches of the distinct ASVs): what bounds memory. A larger batch is computed in
    parts, to the same result; nothing is cut off."""
    accumulation: int = 1
    """Fewest parts that a batch is computed in; 0 starts at 1 and doubles it whenever memory runs out."""
    max_asvs: int = 0
    """Most ASVs of a sample; 0 sets no limit."""
    asv_choice: Literal["abundance", "random"] = "abundance"
    """Which ASVs `max_asvs` keeps: the most abundant, or a new random set each time."""
    coverage: float = 1.0
    """Share of each sample's reads that its most abundant ASVs must cover; the rest are left out. 0.99 keeps enough for 99 %."""
    weight_by: str = ""
    """Metadata column whose categories count alike in the loss: samples are weighted by the inverse of its frequency."""

    # Augmentation
    asv_dropout: float = 0.2
    """Share of a sample's ASVs hidden at random at each training step."""
    rarefy: int = 0
    """Reads drawn afresh from each sample at each training step; samples with fewer keep all they have. 0 takes the table as it is."""
    mutation: float = 0.0
    """Share of nucleotides exchanged for another at each training step."""
    mixup: float = 0.0
    """Mix pairs of samples read by read, and their targets alike: shares are drawn from Beta(mixup, mixup). 0 mixes none."""
    covariate_dropout: float = 0.1
    """Share of covariate values hidden in training, which is how the model learns what a missing one means."""

    # Optimisation
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Rule of the update; sgd has momentum 0.9."""
    learning_rate: float = 1e-3
    """Peak rate."""
    encoder_rate: float = 1.0
    """Rate of the encoder, as a multiple of `learning_rate`."""
    covariate_rate: float = 1.0
    """Rate of what embeds covariates, as a multiple of `learning_rate`."""
    head_rate: float = 1.0
    """Rate of the heads, as a multiple of `learning_rate`."""
    weight_decay: float = 0.05
    """Decay of weight matrices per unit of learning rate."""
    schedule: Literal["cosine", "restarts", "one_cycle", "plateau", "wsd", "constant"] = "cosine"
    """How the rate moves after the warm-up: a cosine to zero, cosines that start again, one cycle, lower at each plateau of the
    validation loss, stable and then down (wsd), or constant."""
    warmup: float = 0.1
    """Share of all steps in which the rate climbs to its peak."""
    cycles: int = 3
    """Cosines of `restarts`."""
    decay: float = 0.2
    """Share of all steps in which the rate of `wsd` comes down."""
    clip: Literal["norm", "value", "adaptive", "none"] = "norm"
    """How gradients are held in bounds: by the norm of all, number by number, or by each row's norm relative to its weights' (adaptive,
    Brock et al. 2021)."""
    clip_at: float = 1.0
    """The bound: of the norm, of a number, or of the ratio (there 0.01 to 0.1 is usual)."""
    loss_weighting: Literal["fixed", "uncertainty"] = "fixed"
    """Objectives' weights as given, or learned beside them (Kendall et al. 2018)."""
    ema: float = 0.0
    """Decay of the moving average of weights, such as 0.99, that is validated and kept; 0 takes the weights as they are."""

    # Freezing
    freeze: Literal["none", "asvs", "encoder"] = "none"
    """What stays as it was pre-trained: nothing, the ASV encoder (each ASV is then encoded once for the whole training, which is far
    faster), or all but the heads."""
    unfreeze_every: int = 0
    """Epochs after which one more block of what is frozen is released, from the heads downwards; 0 releases none."""
    cache: Literal["memory", "disk"] = "memory"
    """Where vectors of ASVs are kept for the next time: with the model, or also on disk by content."""

    # Machine
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the accelerator if there is one."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Number format of the matrix products (automatic mixed precision; fp16 with loss scaling, tf32 on recent NVIDIA GPUs)."""
    compile: bool = False
    """Compile the transformer blocks; lengths are rounded up to a few sizes, so that compiling ends after the first steps."""
    checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more time."""
    seed: int = 0
    """Seed of weights, order of samples, dropout and masks."""

    # Watching and saving
    save_every: int = 200
    """Steps between checkpoints, beside the one at each epoch's end; they need a folder (`out`)."""
    tensorboard: bool = False
    """Write TensorBoard events to the run folder; needs the extra `track` and a folder (`out`)."""
    progress: bool = True
    """Show a progress bar with the time left."""

    def __post_init__(self) -> None:
        check_types(self)
        check(self.epochs >= 1, "epochs", self.epochs, "at least 1", "40")
        check(self.patience >= 1, "patience", self.patience, "at least 1 epoch", "20")
        check(0 < self.validation < 1, "validation", self.validation, "a share in (0, 1)", "0.15")
        check(bool(self.best.removeprefix("+")), "best", self.best, "a column of the history", "'valid_loss'")
        check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1 sample", "16")
        check(self.max_tokens >= 1, "max_tokens", self.max_tokens, "at least 1", "131072")
        check(self.accumulation >= 0, "accumulation", self.accumulation, "zero or more parts", "1")
        check(self.max_asvs >= 0, "max_asvs", self.max_asvs, "zero or more", "0")
        check(0 < self.coverage <= 1, "coverage", self.coverage, "a share in (0, 1]", "0.99")
        for name in ("asv_dropout", "mutation", "covariate_dropout", "warmup", "ema"):
            check(0 <= getattr(self, name) < 1, name, getattr(self, name), "a share in [0, 1)", "0.1")
        check(self.rarefy >= 0, "rarefy", self.rarefy, "zero or more reads", "1000")
        check(0 <= self.mixup <= 1000, "mixup", self.mixup, "0 to 1000", "0.4")
        check(self.learning_rate > 0, "learning_rate", self.learning_rate, "a positive number", "1e-3")
        for name in ("encoder_rate", "covariate_rate", "head_rate"):
            check(getattr(self, name) > 0, name, getattr(self, name), "a positive multiple", "1.0")
        check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "zero or more", "0.05")
        check(self.cycles >= 1, "cycles", self.cycles, "at least 1", "3")
        check(0 < self.decay <= 1, "decay", self.decay, "a share in (0, 1]", "0.2")
        check(self.clip_at > 0, "clip_at", self.clip_at, "a positive number", "1.0")
        check(self.unfreeze_every >= 0, "unfreeze_every", self.unfreeze_every, "zero or more epochs", "2")
        check(self.seed >= 0, "seed", self.seed, "zero or more", "0")
        check(self.save_every >= 1, "save_every", self.save_every, "at least 1 step", "200")


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetConfig:
    """How a metadata column is predicted. Settings that may differ by output are tuples: one for all outputs, or one for each."""

    loss: tuple[Literal["mse", "mae", "huber", "asymmetric"], ...] = ("mse",)
    """Loss of a number, in transformed units: squared, absolute, Huber, or squared with another price for too high (asymmetric)."""
    huber_delta: float = 1.0
    """Error, in transformed units, from which Huber's loss grows linearly."""
    over_cost: float = 2.0
    """What the asymmetric loss charges for too high, where too low costs 1."""
    transform: tuple[Literal["standardise", "minmax", "log", "power", "quantile", "none"], ...] = ("standardise",)
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
        fits = all(1 <= w <= WIDEST for w in self.hidden) and len(self.hidden) <= DEEPEST
        check(fits, "hidden", self.hidden, f"up to {DEEPEST} whole numbers, each 1 to {WIDEST}", "(64,)")
        check(0 <= self.head_dropout < 1, "head_dropout", self.head_dropout, "a share in [0, 1)", "0.1")
