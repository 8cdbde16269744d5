"""How studies are simulated and filtered, and how UniFrac is computed."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aam_nb.config.checks import WIDEST, ConfigError, check, check_types
from aam_nb.config.paths import to_path

UnifracMetric = Literal["unweighted", "weighted_normalized", "weighted_unnormalized", "generalized"]
OrdinationMethod = Literal["exact", "fast"]
"""How principal coordinates are computed: all eigenvectors, or only the first ones (Lanczos)."""
TreeRoot = Literal["given", "midpoint"]
"""Where a tree has its root: where the file says so, or half way between its two farthest tips."""

NegativeLengths = Literal["refuse", "zero"]
"""What becomes of negative branch lengths, which FastTree, neighbour joining and minimum evolution may write."""


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
        check_types(self)
        check(20 <= self.length <= WIDEST, "length", self.length, f"20 to {WIDEST} nucleotides", "100")
        check(self.tree_height > 0, "tree_height", self.tree_height, "a positive number", "0.35")
        check(self.kappa > 0, "kappa", self.kappa, "a positive ratio", "2.0")
        check(self.samples_per_host >= 1, "samples_per_host", self.samples_per_host, "at least 1", "4")
        check(self.num_gradients >= 0, "num_gradients", self.num_gradients, "zero or more", "2")
        check(0 < self.prevalence <= 1, "prevalence", self.prevalence, "a share in (0, 1]", "0.35")
        check(0 <= self.host_share <= 1, "host_share", self.host_share, "a share in [0, 1]", "0.5")
        check(self.noise >= 0, "noise", self.noise, "zero or more", "0.45")
        check(1 <= self.min_depth <= self.max_depth, "min_depth", self.min_depth, "1 to max_depth reads", "800")


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
        check_types(self)
        for name in ("min_prevalence", "min_depth", "min_length", "max_length"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "zero or more", "0")
        check(
            not self.max_length or self.max_length >= self.min_length,
            "max_length",
            self.max_length,
            "0, or min_length or more",
            "0",
        )

    def given(self) -> dict[str, Any]:
        """The limits that are set."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}


@dataclass(frozen=True, kw_only=True, slots=True)
class UnifracConfig:
    """Which UniFrac, and how it is computed."""

    metric: UnifracMetric = "unweighted"
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
        check_types(self)
        check(0 <= self.alpha <= 1, "alpha", self.alpha, "a number in [0, 1]", "0.5")
        check(self.block >= 1, "block", self.block, "at least 1 sample", "512")


def cache_folder(given: str | Path | None = None) -> Path:
    """Where downloads and distances are kept: the folder given, else that of AAM_NB_CACHE, else where the system keeps a user's caches."""
    given = (os.environ.get("AAM_NB_CACHE") or None) if given is None else given
    if given is not None:
        return to_path(given, "a folder for downloads and distances", argument="cache")
    from platformdirs import user_cache_path

    return user_cache_path("aam_nb")
