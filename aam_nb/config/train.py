"""How a model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aam_nb.config.checks import check, check_types

UnlabelledObjective = Literal[
    "unifrac",
    "unifrac_weighted_normalized",
    "unifrac_generalized",
    "nucleotides",
    "faith_pd",
    "braycurtis",
    "aitchison",
    "taxonomy",
    "counts",
    "contrastive",
]
"""Objectives of pre-training that need no settings to be named: the choices of `aam-nb pretrain --objectives`."""


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
