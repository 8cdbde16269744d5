"""Every knob of every floor.

Frozen, keyword-only dataclasses with a line of help and a unit for each field. The Python API, the command line, notebook
parameter cells and the `config.json` of a run all speak of these, so an option is written once, here.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

ConfigT = TypeVar("ConfigT")
MOST = 2**31 - 1
"""Largest whole number of a setting, either side of 0."""
WIDEST = 65536
"""Largest width, patch or window."""
DEEPEST = 1024
"""Most layers."""
WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    bool: ("True or False", "True or False"),
    str: ("text", "names"),
}
"""What is expected of a value of each kind, and of the values of a tuple."""


def one_line(text: str) -> str:
    """Text of a file with its line ends and control letters shown, so that it cannot pass for more than one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class UserError(Exception):
    """A mistake that its message explains: the command line prints it as one line and exits with code 2."""

    def __str__(self) -> str:
        return one_line(str(self.args[0])) if self.args else ""


class Notice(UserWarning):
    """A warning meant for the user: the command line prints it as one line."""


def some(ids: Iterable[object], most: int = 5) -> str:
    """The first few ids for a message, long ones cut, line ends shown, the rest counted."""
    names = [one_line(i if len(i) <= 40 else i[:16] + "…") for i in map(str, ids)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class ConfigError(UserError, ValueError):
    """A setting has a value, or a name, that cannot be used."""


def shown(value: object, most: int = 200) -> str:
    """A value as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write whole numbers of thousands of digits
        text = f"a number of {type(value).__name__} with thousands of digits"
    return text if len(text) <= most else text[:most] + "…"


def _check(ok: bool, name: str, value: object, expected: str, hint: str) -> None:
    if not ok:
        raise ConfigError(f"{name} is {shown(value)}. Expected {expected}. Try `{name}={hint}`.")


def _one_of(value: object, name: str, choices: tuple[str, ...]) -> None:
    _check(isinstance(value, str) and value in choices, name, value, f"one of {', '.join(choices)}", repr(choices[0]))


def typed(value: object, kind: type) -> Any:
    """A value as Python's int, finite float, bool or str; None where it is no such thing.

    Parameters
    ----------
    value
        numpy's numbers pass for Python's, whole numbers for floats, but booleans for nothing else. Whole numbers reach to `MOST`.
    kind
        int, float, bool or str.
    """
    if kind in (bool, str):
        return value if isinstance(value, kind) else None
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return None
    try:
        number = kind(value)
    except (OverflowError, ValueError):
        return None
    return number if (-MOST <= number <= MOST if kind is int else math.isfinite(number)) else None


def listed(value: object, kind: type) -> list[Any] | None:
    """The values of a tuple, a list or an array, each as in `typed`; None where it, or one of them, is no such thing."""
    values = value.tolist() if hasattr(value, "tolist") and not isinstance(value, type) else value
    if not isinstance(values, (tuple, list)):
        return None
    found = [typed(v, kind) for v in values]
    return None if any(v is None for v in found) else found


@cache
def _kinds(config: type) -> dict[str, tuple[type, bool, tuple[str, ...]]]:
    """Of each field: its plain kind, whether it is a tuple of those, and the choices where they are few."""
    found = {}
    for name, hint in get_type_hints(config).items():
        many = get_origin(hint) is tuple
        inner = get_args(hint)[0] if many else hint
        choices = get_args(inner) if get_origin(inner) is Literal else ()
        found[name] = (str if choices else inner, many, choices)
    return found


def _check_types(config: Any, *, lone: bool = False) -> None:
    """Refuse fields of the wrong type or choice, and make the others plain Python: called first by every `__post_init__`.

    Parameters
    ----------
    config
        A config dataclass under construction.
    lone
        Whether a value by itself stands for a tuple of one.
    """
    for field in dataclasses.fields(config):
        name, value, hint = field.name, getattr(config, field.name), repr(field.default)
        kind, many, choices = _kinds(type(config))[name]  # type: ignore[arg-type]
        plain: Any
        if many:
            plain = listed((value,) if lone and typed(value, kind) is not None else value, kind)
            if kind is str and isinstance(value, str):
                hint = f"({value!r},)"
            _check(plain is not None, name, value, f"a tuple of {WORDS[kind][1]}", hint)
            plain = tuple(plain)
            for choice in plain if choices else ():
                _one_of(choice, name, choices)
        else:
            plain = typed(value, kind)
            if choices:
                _one_of(value, name, choices)
            large = kind is int and isinstance(value, Integral) and not isinstance(value, bool)
            words = f"a whole number from {-MOST} to {MOST}" if large else WORDS[kind][0]
            _check(plain is not None, name, value, words, hint)
        object.__setattr__(config, name, plain)


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulateConfig:
    """How `simulate_study` makes sequences, communities and targets."""

    length: int = 100
    """Nucleotides in each ASV."""
    tree_height: float = 0.35
    """Substitutions per site from the root to every tip."""
    kappa: float = 2.0
    """Rate of transitions relative to transversions in the Kimura (1980) substitution model."""
    samples_per_host: int = 4
    """Repeated samples of one host."""
    num_gradients: int = 2
    """Latent gradients that shape the community and have nothing to do with the targets."""
    prevalence: float = 0.35
    """Average share of the ASVs that a host carries."""
    host_share: float = 0.5
    """Share of a target's signal, and of its noise, that belongs to the host and so repeats in all its samples; 0 to 1."""
    effect: float = 1.6
    """Change of a planted ASV's log abundance per standard deviation of its target's signal."""
    noise: float = 0.45
    """Standard deviation of a target's noise, in standard deviations of its signal."""
    min_depth: int = 800
    """Reads of the shallowest sample."""
    max_depth: int = 8000
    """Reads of the deepest sample; depths are log-uniform between the two."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check(20 <= self.length <= WIDEST, "length", self.length, f"20 to {WIDEST} nucleotides", "100")
        _check(self.tree_height > 0, "tree_height", self.tree_height, "a positive number", "0.35")
        _check(self.kappa > 0, "kappa", self.kappa, "a positive ratio", "2.0")
        _check(self.samples_per_host >= 1, "samples_per_host", self.samples_per_host, "at least 1", "4")
        _check(self.num_gradients >= 0, "num_gradients", self.num_gradients, "zero or more", "2")
        _check(0 < self.prevalence <= 1, "prevalence", self.prevalence, "a share in (0, 1]", "0.35")
        _check(0 <= self.host_share <= 1, "host_share", self.host_share, "a share in [0, 1]", "0.5")
        _check(self.noise >= 0, "noise", self.noise, "zero or more", "0.45")
        _check(1 <= self.min_depth <= self.max_depth, "min_depth", self.min_depth, "1 to max_depth reads", "800")


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
        _check_types(self)
        _check(1 <= self.num_layers <= DEEPEST, "num_layers", self.num_layers, f"at least 1, at most {DEEPEST}", "2")
        heads = self.num_attn_heads
        _check(1 <= heads <= WIDEST // 2, "num_attn_heads", heads, f"at least 1, at most {WIDEST // 2}", "4")
        nested = len(self.scales) > 0 and all(1 <= s <= WIDEST for s in self.scales)
        nested = nested and all(b > a and b % a == 0 for a, b in pairwise(self.scales))
        words = f"whole numbers of nucleotides up to {WIDEST}, each a multiple of the one before"
        _check(nested, "scales", self.scales, words, "(1, 4)")
        for name, unit, hint in (("window", "position", "16"), ("learned_length", "nucleotide", "2048")):
            value = getattr(self, name)
            _check(1 <= value <= WIDEST, name, value, f"at least 1 {unit}, at most {WIDEST}", hint)
        _check(0 <= self.dropout < 1, "dropout", self.dropout, "a share in [0, 1)", "0.1")
        _check(0 <= self.drop_path < 1, "drop_path", self.drop_path, "a share in [0, 1)", "0.1")
        # Rotary positions turn pairs of numbers, so each head needs an even share of the width.
        fits = 1 <= self.width <= WIDEST and self.width % (2 * heads) == 0
        words = f"a multiple of {2 * heads} (twice num_attn_heads) up to {WIDEST}"
        _check(fits, "width", self.width, words, str(min(16, WIDEST // heads // 2 * 2) * heads))

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
        _one_of(name, "preset", tuple(presets))
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
        _check_types(self)
        _check(self.epochs >= 1, "epochs", self.epochs, "at least 1", "40")
        _check(self.patience >= 1, "patience", self.patience, "at least 1 epoch", "20")
        _check(0 < self.validation < 1, "validation", self.validation, "a share in (0, 1)", "0.15")
        _check(bool(self.best.removeprefix("+")), "best", self.best, "a column of the history", "'valid_loss'")
        _check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1 sample", "16")
        _check(self.max_tokens >= 1, "max_tokens", self.max_tokens, "at least 1", "131072")
        _check(self.accumulation >= 0, "accumulation", self.accumulation, "zero or more parts", "1")
        _check(self.max_asvs >= 0, "max_asvs", self.max_asvs, "zero or more", "0")
        _check(0 < self.coverage <= 1, "coverage", self.coverage, "a share in (0, 1]", "0.99")
        for name in ("asv_dropout", "mutation", "covariate_dropout", "warmup", "ema"):
            _check(0 <= getattr(self, name) < 1, name, getattr(self, name), "a share in [0, 1)", "0.1")
        _check(self.rarefy >= 0, "rarefy", self.rarefy, "zero or more reads", "1000")
        _check(0 <= self.mixup <= 1000, "mixup", self.mixup, "0 to 1000", "0.4")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "a positive number", "1e-3")
        for name in ("encoder_rate", "covariate_rate", "head_rate"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "a positive multiple", "1.0")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "zero or more", "0.05")
        _check(self.cycles >= 1, "cycles", self.cycles, "at least 1", "3")
        _check(0 < self.decay <= 1, "decay", self.decay, "a share in (0, 1]", "0.2")
        _check(self.clip_at > 0, "clip_at", self.clip_at, "a positive number", "1.0")
        _check(self.unfreeze_every >= 0, "unfreeze_every", self.unfreeze_every, "zero or more epochs", "2")
        _check(self.seed >= 0, "seed", self.seed, "zero or more", "0")
        _check(self.save_every >= 1, "save_every", self.save_every, "at least 1 step", "200")


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
        _check_types(self, lone=True)
        empty = {"loss": "('mse',)", "transform": "('standardise',)", "output": "('free',)", "quantiles": "(0.5,)"}
        for name, hint in empty.items():
            _check(len(getattr(self, name)) > 0, name, (), "at least one value", hint)
        _check(self.huber_delta > 0, "huber_delta", self.huber_delta, "a positive number", "1.0")
        _check(self.over_cost > 0, "over_cost", self.over_cost, "a positive number", "2.0")
        _check(self.low < self.high, "low", self.low, f"less than high ({self.high})", "0.0")
        inside = all(0 < q < 1 for q in self.quantiles) and list(self.quantiles) == sorted(set(self.quantiles))
        _check(
            inside and len(self.quantiles) % 2 == 1,
            "quantiles",
            self.quantiles,
            "an odd number of rising shares",
            "(0.05, 0.5, 0.95)",
        )
        _check(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "a share in [0, 1)", "0.1")
        _check(self.focal >= 0, "focal", self.focal, "zero or more", "2.0")
        fits = all(1 <= w <= WIDEST for w in self.hidden) and len(self.hidden) <= DEEPEST
        _check(fits, "hidden", self.hidden, f"up to {DEEPEST} whole numbers, each 1 to {WIDEST}", "(64,)")
        _check(0 <= self.head_dropout < 1, "head_dropout", self.head_dropout, "a share in [0, 1)", "0.1")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """How a prediction is judged."""

    num_resamples: int = 500
    """Bootstrap resamples behind each interval."""
    confidence: float = 0.95
    """Coverage of each interval."""
    num_trees: int = 500
    """Trees of the random-forest baseline."""
    seed: int = 0
    """Seed of the bootstrap and of the random forest."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check(self.num_resamples >= 20, "num_resamples", self.num_resamples, "at least 20", "500")
        _check(0 < self.confidence < 1, "confidence", self.confidence, "a share in (0, 1)", "0.95")
        _check(self.num_trees >= 1, "num_trees", self.num_trees, "at least 1", "500")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """Which ASVs and samples `Study.filter` keeps."""

    min_prevalence: int = 0
    """Samples that an ASV must be found in."""
    min_depth: int = 0
    """Reads that a sample must have, counted after ASVs are dropped."""
    min_length: int = 0
    """Fewest nucleotides of an ASV."""
    max_length: int = 0
    """Most nucleotides of an ASV; 0 sets no limit."""
    keep_taxa: tuple[str, ...] = ()
    """Taxa, of whatever rank, that an ASV must belong to one of, such as Bacteria."""
    drop_taxa: tuple[str, ...] = ()
    """Taxa that an ASV must not belong to, such as Mitochondria Chloroplast."""

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("min_prevalence", "min_depth", "min_length", "max_length"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "zero or more", "0")
        _check(
            not self.max_length or self.max_length >= self.min_length,
            "max_length",
            self.max_length,
            "0, or min_length or more",
            "0",
        )

    def given(self) -> dict[str, Any]:
        """The limits that are set."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}


def configured(kind: type[ConfigT], config: ConfigT | None, settings: dict[str, Any]) -> ConfigT:
    """A config with some fields set anew, as verbs take them: `study.filter(min_depth=500)`.

    Raises
    ------
    ConfigError
        A setting is not a field, its value cannot be used, or `config` is no such config.
    """
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ConfigError(
            f"{some(map(repr, unknown))} is not a setting of {kind.__name__}. It has {', '.join(known)}. Name one of those."
        )
    if config is not None and not isinstance(config, kind):
        name = kind.__name__
        raise ConfigError(f"config is {shown(config)}. Expected one of {name}. Try `config={name}()`.")
    return dataclasses.replace(config if config is not None else kind(), **settings)  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnifracConfig:
    """Which UniFrac, and how it is computed."""

    metric: Literal["unweighted", "weighted_normalized", "weighted_unnormalized", "generalized"] = "unweighted"
    """unweighted looks at presence alone, the others at relative abundance; all but weighted_unnormalized lie in 0 to 1."""
    alpha: float = 0.5
    """Weight of abundant lineages in generalized UniFrac, 0 to 1; at 1 it is weighted_normalized (Chen et al. 2012)."""
    engine: Literal["auto", "torch", "ssu", "unifrac", "skbio"] = "auto"
    """What computes it: torch (here, in blocks, on a GPU if there is one), ssu (the program of the unifrac-binaries), unifrac (the
    Python package), skbio (scikit-bio, the slow reference), or auto, which is the fastest here: torch."""
    dtype: Literal["float64", "float32"] = "float64"
    """Number format: float64 agrees with scikit-bio within 1e-6, float32 within 1e-4 in half the memory."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the torch engine computes; auto takes the GPU if there is one."""
    block: int = 512
    """Most samples that the torch engine holds at once on each side; fewer where the tree is large."""

    def __post_init__(self) -> None:
        if isinstance(self.metric, str) and self.metric == "weighted":
            raise ConfigError(
                "metric is 'weighted'. Expected one of the two weighted ones: 'weighted_normalized' (0 to 1, as most papers "
                "report) or 'weighted_unnormalized' (branch-length units). Try `metric='weighted_normalized'`."
            )
        _check_types(self)
        _check(0 <= self.alpha <= 1, "alpha", self.alpha, "a number in [0, 1]", "0.5")
        _check(self.block >= 1, "block", self.block, "at least 1 sample", "512")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainConfig:
    """How attributions are made and averaged."""

    orders: int = 25
    """Orders of the features drawn for Shapley values; each costs as many predictions as a sample has features. Where so few features
    have no more orders than this, all are gone through, and the values are exact."""
    top: int = 8
    """ASVs whose nucleotides are explained, those with the largest mean absolute attribution; unless they are named."""
    num_resamples: int = 1000
    """Bootstrap resamples for the intervals of mean attributions."""
    confidence: float = 0.95
    """Coverage of the intervals, in (0, 1)."""
    seed: int = 0
    """Seed of orders and resamples."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check(self.orders >= 1, "orders", self.orders, "at least 1 order", "25")
        _check(self.top >= 1, "top", self.top, "at least 1 ASV", "8")
        _check(self.num_resamples >= 20, "num_resamples", self.num_resamples, "at least 20", "1000")
        _check(0 < self.confidence < 1, "confidence", self.confidence, "a share in (0, 1)", "0.95")
        _check(self.seed >= 0, "seed", self.seed, "zero or more", "0")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """Which attention is looked at, how much of it is kept, and how two groups of samples are compared."""

    levels: tuple[Literal["nucleotide", "asv", "pooling"], ...] = ("nucleotide", "asv", "pooling")
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
        _check_types(self, lone=True)
        once = 0 < len(self.levels) == len(set(self.levels))
        _check(once, "levels", self.levels, "one or more of nucleotide, asv, pooling, each once", "('asv', 'pooling')")
        _check(self.top >= 1, "top", self.top, "at least 1 ASV", "64")
        _check(self.top_nucleotide >= 1, "top_nucleotide", self.top_nucleotide, "at least 1 ASV", "8")
        _check(self.num_permutations >= 99, "num_permutations", self.num_permutations, "at least 99", "9999")


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
        _check_types(self)
        _check(self.min_slice >= 2, "min_slice", self.min_slice, "at least 2 samples", "8")
        _check(2 <= self.num_bins <= 100, "num_bins", self.num_bins, "2 to 100", "4")
        _check(0 <= self.max_pair_columns <= 100, "max_pair_columns", self.max_pair_columns, "0 to 100", "4")
        _check(self.num_worst >= 1, "num_worst", self.num_worst, "at least 1", "10")
        _check(self.num_neighbours >= 1, "num_neighbours", self.num_neighbours, "at least 1", "5")
        _check(self.calibration_bins >= 2, "calibration_bins", self.calibration_bins, "at least 2", "10")
        shares = all(0 < v < 1 for v in self.levels) and len(self.levels) > 0
        _check(shares, "levels", self.levels, "shares in (0, 1)", "(0.8, 0.9)")
        curve = self.learning_curve
        rising = all(0 < v <= 1 for v in curve) and list(curve) == sorted(set(curve))
        _check(rising, "learning_curve", curve, "rising shares in (0, 1]", "(0.25, 0.5, 1.0)")
        _check(self.num_resamples >= 20, "num_resamples", self.num_resamples, "at least 20", "1000")
        _check(self.num_permutations >= 99, "num_permutations", self.num_permutations, "at least 99", "9999")
        for name in ("confidence", "false_discovery"):
            _check(0 < getattr(self, name) < 1, name, getattr(self, name), "a share in (0, 1)", "0.05")
        _check(self.seed >= 0, "seed", self.seed, "zero or more", "0")


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig:
    """How models are compared: by which folds, how the baselines are tuned, and what intervals and tests rest on."""

    scheme: Literal["k_fold", "leave_one_group_out"] = "k_fold"
    """Folds of samples (of whole groups where there is a group), or every value of the group held out in turn."""
    folds: int = 5
    """Folds of `k_fold`."""
    repeats: int = 1
    """How often `k_fold` deals the samples anew; each repeat also has seeds of its own."""
    tune: bool = True
    """Choose each baseline's settings from a small grid, by cross-validation within the training side of each fold."""
    inner_folds: int = 3
    """Folds within the training side that choose those settings; whole groups where there is a group."""
    num_trees: int = 500
    """Trees of the random forest."""
    feature_prevalence: int = 2
    """Training samples that an ASV must be found in to be a feature of a baseline."""
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
        _check_types(self)
        _check(self.folds >= 2, "folds", self.folds, "at least 2", "5")
        once = self.scheme == "leave_one_group_out"
        words = "1 where every group is left out once" if once else "at least 1"
        _check(self.repeats == 1 if once else self.repeats >= 1, "repeats", self.repeats, words, "1")
        _check(self.inner_folds >= 2, "inner_folds", self.inner_folds, "at least 2", "3")
        _check(self.num_trees >= 1, "num_trees", self.num_trees, "at least 1", "500")
        _check(self.feature_prevalence >= 1, "feature_prevalence", self.feature_prevalence, "at least 1 sample", "2")
        _check(self.num_resamples >= 20, "num_resamples", self.num_resamples, "at least 20", "500")
        _check(0 < self.confidence < 1, "confidence", self.confidence, "a share in (0, 1)", "0.95")
        _check(self.num_permutations >= 19, "num_permutations", self.num_permutations, "at least 19", "999")
        _check(self.jobs >= 1, "jobs", self.jobs, "at least 1 process", "2")
        _check(self.seed >= 0, "seed", self.seed, "zero or more", "0")


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
        _check_types(self)
        least = {"steps": 2, "num_random": 1, "max_samples": 2, "num_samples": 2, "num_subsets": 2, "num_changes": 1}
        least |= {"draws": 0, "seeds": 0, "shuffles": 0, "top": 1, "num_trees": 1, "num_resamples": 20}
        least |= {"num_permutations": 99, "seed": 0}
        for name, n in least.items():
            _check(getattr(self, name) >= n, name, getattr(self, name), f"at least {n}", str(n))
        _check(0 < self.radius < 1, "radius", self.radius, "a share in (0, 1)", "0.1")
        _check(0 < self.confidence < 1, "confidence", self.confidence, "a share in (0, 1)", "0.95")


def cache_folder(given: str | Path | None = None) -> Path:
    """Where downloads and distances are kept: the folder given, else that of AAM_NB_CACHE, else where the system keeps a user's caches."""
    chosen = given or os.environ.get("AAM_NB_CACHE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("aam_nb")


def to_dict(config: Any) -> dict[str, Any]:
    """The fields of a config dataclass as JSON-ready values."""
    return dataclasses.asdict(config)


def from_dict(kind: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """A config dataclass from a dict such as `to_dict` made.

    Raises
    ------
    ConfigError
        A name is not a field of `kind`, or a value has the wrong type or range.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(f"{name!r} is not a setting of {kind.__name__}. It has {', '.join(fields)}. Remove it.")
        plain, many, _ = _kinds(kind)[name]  # type: ignore[arg-type]
        wanted = tuple if many else plain
        if not (isinstance(value, (tuple, list)) if many else typed(value, plain) is not None):
            raise ConfigError(
                f"{name} is {shown(value)}. Expected {wanted.__name__}, such as {fields[name].default!r}. Change it in the JSON."
            )
    return kind(**values)
