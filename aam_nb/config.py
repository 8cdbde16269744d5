"""Every knob of every floor.

Frozen, keyword-only dataclasses with a line of help and a unit for each field. The Python API, the command line, notebook
parameter cells and the `config.json` of a run all speak of these, so an option is written once, here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

ConfigT = TypeVar("ConfigT")


def one_line(text: str) -> str:
    """Text of a file with its line ends and control letters shown, so that it cannot pass for more than one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class UserError(Exception):
    """A mistake that its message explains: the command line prints it as one line and exits with code 2."""

    def __str__(self) -> str:
        return one_line(str(self.args[0])) if self.args else ""


def some(ids: Iterable[object], most: int = 5) -> str:
    """The first few ids for a message, long ones cut, line ends shown, the rest counted."""
    names = [one_line(i if len(i) <= 40 else i[:16] + "…") for i in map(str, ids)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class ConfigError(UserError, ValueError):
    """A setting has a value, or a name, that cannot be used."""


def _check(ok: bool, name: str, value: object, expected: str, hint: str) -> None:
    if not ok:
        raise ConfigError(f"{name} is {value!r}. Expected {expected}. Try `{name}={hint}`.")


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
        _check(self.length >= 20, "length", self.length, "at least 20 nucleotides", "100")
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
    patch: int = 4
    """Neighbouring nucleotides that share one position of the nucleotide stage."""
    dropout: float = 0.0
    """Share of activations dropped in training."""

    def __post_init__(self) -> None:
        _check(self.num_layers >= 1, "num_layers", self.num_layers, "at least 1", "2")
        _check(self.num_attn_heads >= 1, "num_attn_heads", self.num_attn_heads, "at least 1", "4")
        _check(self.patch >= 1, "patch", self.patch, "at least 1 nucleotide", "4")
        _check(0 <= self.dropout < 1, "dropout", self.dropout, "a share in [0, 1)", "0.1")
        # Rotary positions turn pairs of numbers, so each head needs an even share of the width.
        _check(
            self.width >= 1 and self.width % (2 * self.num_attn_heads) == 0,
            "width",
            self.width,
            f"a multiple of {2 * self.num_attn_heads} (twice num_attn_heads)",
            str(16 * self.num_attn_heads),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a model is trained, in `pretrain` and in `fit`."""

    epochs: int = 40
    """Most passes over the training samples."""
    batch_size: int = 16
    """Most samples in a batch."""
    max_entries: int = 16384
    """Most ASV slots in a batch (samples x ASVs of its largest sample): what bounds memory. Nothing is cut off."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW."""
    weight_decay: float = 0.05
    """Decay of weight matrices per unit of learning rate."""
    warmup: float = 0.1
    """Share of all steps in which the rate climbs to its peak; a cosine brings it down to zero after that."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    asv_dropout: float = 0.2
    """Share of a sample's ASVs hidden at random at each training step."""
    validation: float = 0.15
    """Share of the training samples (whole groups where the split has them) held back to choose the best epoch."""
    patience: int = 20
    """Epochs without a better validation loss before training stops early."""
    freeze_asvs: bool = False
    """Keep the ASV encoder as it was pre-trained; each ASV is then encoded once for the whole training, which is far faster."""
    seed: int = 0
    """Seed of weights, order of samples, dropout and masks."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the accelerator if there is one."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the matrix products (automatic mixed precision)."""
    progress: bool = True
    """Show a progress bar with the time left."""

    def __post_init__(self) -> None:
        _check(self.epochs >= 1, "epochs", self.epochs, "at least 1", "40")
        _check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1 sample", "16")
        _check(self.max_entries >= 1, "max_entries", self.max_entries, "at least 1", "16384")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "a positive number", "1e-3")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "zero or more", "0.05")
        _check(0 <= self.warmup < 1, "warmup", self.warmup, "a share in [0, 1)", "0.1")
        _check(self.clip_norm > 0, "clip_norm", self.clip_norm, "a positive number", "1.0")
        _check(0 <= self.asv_dropout < 1, "asv_dropout", self.asv_dropout, "a share in [0, 1)", "0.2")
        _check(0 < self.validation < 1, "validation", self.validation, "a share in (0, 1)", "0.15")
        _check(self.patience >= 1, "patience", self.patience, "at least 1 epoch", "20")
        _check(self.seed >= 0, "seed", self.seed, "zero or more", "0")
        _check(self.device in ("auto", "cpu", "cuda", "mps"), "device", self.device, "auto, cpu, cuda or mps", "'auto'")
        _check(self.precision in ("fp32", "bf16", "fp16"), "precision", self.precision, "fp32, bf16 or fp16", "'fp32'")


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
        for name in ("min_prevalence", "min_depth", "min_length", "max_length"):
            value = getattr(self, name)
            _check(isinstance(value, int) and value >= 0, name, value, "zero or more", "0")
        _check(
            not self.max_length or self.max_length >= self.min_length,
            "max_length",
            self.max_length,
            "0, or min_length or more",
            "0",
        )
        for name in ("keep_taxa", "drop_taxa"):
            value = getattr(self, name)
            _check(not isinstance(value, str), name, value, "a tuple of names", f"({value!r},)")
            object.__setattr__(self, name, tuple(value))

    def given(self) -> dict[str, Any]:
        """The limits that are set."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}


def configured(kind: type[ConfigT], config: ConfigT | None, settings: dict[str, Any]) -> ConfigT:
    """A config with some fields set anew, as verbs take them: `study.filter(min_depth=500)`.

    Raises
    ------
    ConfigError
        A setting is not a field, or its value cannot be used.
    """
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ConfigError(
            f"{some(map(repr, unknown))} is not a setting of {kind.__name__}. It has {', '.join(known)}. Name one of those."
        )
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
        metrics = ("unweighted", "weighted_normalized", "weighted_unnormalized", "generalized")
        if self.metric == "weighted":
            raise ConfigError(
                "metric is 'weighted'. Expected one of the two weighted ones: 'weighted_normalized' (0 to 1, as most papers "
                "report) or 'weighted_unnormalized' (branch-length units). Try `metric='weighted_normalized'`."
            )
        engines = ("auto", "torch", "ssu", "unifrac", "skbio")
        _check(self.metric in metrics, "metric", self.metric, ", ".join(metrics), "'unweighted'")
        _check(0 <= self.alpha <= 1, "alpha", self.alpha, "a number in [0, 1]", "0.5")
        _check(self.engine in engines, "engine", self.engine, ", ".join(engines), "'auto'")
        _check(self.dtype in ("float64", "float32"), "dtype", self.dtype, "float64 or float32", "'float64'")
        _check(self.device in ("auto", "cpu", "cuda"), "device", self.device, "auto, cpu or cuda", "'auto'")
        _check(self.block >= 1, "block", self.block, "at least 1 sample", "512")


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
        default = fields[name].default
        ok = isinstance(value, (int, float)) if isinstance(default, float) else isinstance(value, type(default))
        if not ok or (isinstance(value, bool) and not isinstance(default, bool)):
            raise ConfigError(
                f"{name} is {value!r}. Expected {type(default).__name__}, such as {default!r}. Change it in the JSON."
            )
    return kind(**values)
