"""The shape of the network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from aam_nb.config.checks import MOST_LAYERS, WIDEST, check, check_types, make_config, require_choice


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
        check(
            1 <= self.num_layers <= MOST_LAYERS,
            "num_layers",
            self.num_layers,
            f"at least 1, at most {MOST_LAYERS}",
            "2",
        )
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
        require_choice(name, "preset", tuple(presets))
        return make_config(cls, None, presets[name] | settings)
