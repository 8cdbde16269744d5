"""From nucleotides to ASVs to samples.

Shape letters: B samples, S ASVs of the largest sample of the batch, E entries, N distinct ASVs (with R of the reference before them
while they are encoded), L nucleotides, P positions, C covariates, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aam_nb.batch.batch import Batch
from aam_nb.batch.tokens import PAD, VOCABULARY, tokenize
from aam_nb.config import ModelConfig, UserError
from aam_nb.model.covariates import CovariateEncoder, Covariates
from aam_nb.model.layers import AttentionPool, Block, Blocks, Gelu, rotation, run, sinusoids
from aam_nb.model.parallel import can_share, rows_in_parallel

TOKEN_WIDTH = 16
"""Numbers for one nucleotide before its patch is made; 17 tokens need no more."""
IN_CACHE = 2**20
"""Numbers in the widest activations that a CPU computes at once: ASVs are encoded in small groups, with the same result. Larger ones do not
fit the processor's cache, and the operating system takes their memory back and clears it each time."""
FEW_ROWS = 16
"""ASVs that several threads would not compute faster than one."""
MOST_POSITIONS = 4096
"""Most positions of an ASV at the coarsest scale."""
FEW_POSITIONS = 1024
"""Positions that the longest ASV has at most with the scale that is recommended where there are too many."""


class LengthError(UserError, ValueError):
    """An ASV is longer than the model's positions reach."""


@dataclass
class Maps:
    """Attention weights of one forward pass, filled where explicit attention is wanted: one tensor per layer.

    `nucleotide` has the blocks of the last scale. In `asv` and `pool` key 0 is the sample token, then come covariate tokens, then ASVs.
    Blocks whose maps are not wanted (None) stay on the fused path.
    """

    nucleotide: list[Tensor] | None = field(default_factory=list)
    nucleotide_pool: list[Tensor] = field(default_factory=list)
    asv: list[Tensor] | None = field(default_factory=list)
    pool: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class States:
    """What the encoder computes of a batch; `nucleotide_NPD` is None where the vectors of ASVs were computed before."""

    nucleotide_NPD: Tensor | None
    asv_ND: Tensor
    entry_BSD: Tensor
    sample_BD: Tensor


class Scale(nn.Module):
    """Local attention at a fine scale, and `ratio` neighbouring positions made one for the next."""

    def __init__(self, config: ModelConfig, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.block = Block(config.width, config.num_attn_heads, config.dropout, reach=config.window)
        self.norm = nn.LayerNorm(config.width)
        self.merge = nn.Linear(ratio * config.width, config.width)

    def forward(
        self, x_NPD: Tensor, turn: Tensor | None, filled_NP: Tensor, mask: Tensor | None, *, checkpointing: bool
    ) -> tuple[Tensor, Tensor]:
        """States at this scale, zero where padded, and the input of the next."""
        x = self.norm(run(self.block, x_NPD, mask, turn, checkpointing=checkpointing))
        if mask is not None:
            x = x * filled_NP[..., None]
        return x, self.merge(x.unflatten(1, (-1, self.ratio)).flatten(2))


def require_few_positions(config: ModelConfig, longest: int) -> None:
    """Refuse ASVs so long that attention over their positions would have no end.

    Parameters
    ----------
    config
        The encoder's shape.
    longest
        Nucleotides of the longest ASV.

    Raises
    ------
    LengthError
        It has more than `MOST_POSITIONS` positions at the coarsest scale.
    """
    coarsest = config.scales[-1]
    if -(-longest // coarsest) > MOST_POSITIONS:
        fits = 2 ** math.ceil(math.log2(longest / FEW_POSITIONS))
        raise LengthError(
            f"An ASV has {longest:,} nucleotides, {-(-longest // coarsest):,} positions of {coarsest} at the coarsest scale. Expected at "
            f"most {MOST_POSITIONS:,}: attention's time grows with their square. Use longer positions, `ModelConfig(scales=({fits},))` "
            f"(`--scales {fits}` of `aam-nb fit`), or leave such ASVs out, `study.filter(max_length=…)` (`--max-length`)."
        )


class AsvEncoder(nn.Module):
    """DNA to a vector: patches of neighbouring nucleotides, transformer blocks over positions, attention pooling.

    With several scales, each but the last attends locally and is pooled to the next. States of nucleotides then are those of the finest
    scale plus those of the coarser positions that hold them.

    ASVs are related, so their pooled vectors are nearly alike, and learning first what all share would take most of a short training.
    Each vector is therefore standardised by the mean and spread of a fixed set of reference ASVs, encoded along with it (virtual batch
    normalisation, Salimans et al. 2016, arXiv 1606.03498). Unlike batch normalisation, no result depends on the rest of the batch.
    """

    reference_ids: tuple[str, ...] = ()
    reference_RL: Tensor
    compiled = False
    """Whether sizes are padded so that torch compiles only once: keys with a mask to a multiple of eight, a single ASV to two."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(VOCABULARY, TOKEN_WIDTH, padding_idx=PAD)
        self.stem = nn.Linear(config.scales[0] * TOKEN_WIDTH, config.width)
        self.places = nn.ParameterList(
            nn.Parameter(torch.randn(-(-config.learned_length // scale), config.width) * 0.02)
            for scale in (config.scales if config.positions == "learned" else ())
        )
        self.fine = nn.ModuleList(Scale(config, coarse // fine) for fine, coarse in pairwise(config.scales))
        self.blocks = Blocks(config.num_layers, config.width, config.num_attn_heads, config.dropout, config.drop_path)
        self.norm = nn.LayerNorm(config.width)
        self.pool = AttentionPool(config.width, config.num_attn_heads)
        self.register_buffer("reference_RL", torch.zeros(0, 1, dtype=torch.uint8), persistent=False)

    def set_reference(self, asv_ids: Sequence[str]) -> None:
        """Choose the reference ASVs: once, before the first step of training."""
        self.reference_ids = tuple(asv_ids)
        self.reference_RL = torch.from_numpy(tokenize(self.reference_ids)).to(self.reference_RL.device)

    def forward(self, tokens_NL: Tensor, maps: Maps | None = None) -> tuple[Tensor, Tensor]:
        """Vectors of ASVs (N x D) and states of their positions at the finest scale (N x P x D).

        Raises
        ------
        LengthError
            An ASV is longer than learned positions reach.
        """
        R, L = len(self.reference_RL), tokens_NL.shape[1]
        longest = max(L, self.reference_RL.shape[1])
        require_few_positions(self.config, longest)
        if self.places and longest > self.config.learned_length:
            raise LengthError(
                f"An ASV has {longest} nucleotides. Learned positions reach learned_length={self.config.learned_length}. Raise it, or use "
                '`ModelConfig(positions="rotary")`, which reaches any length.'
            )
        # Reference ASVs first, then those of the batch, all padded to whole positions of the coarsest scale.
        longest += -longest % self.config.scales[-1]
        to_encode = (self.reference_RL, tokens_NL)
        tokens_NL = torch.cat([F.pad(t, (0, longest - t.shape[1]), value=PAD) for t in to_encode])
        groups = self.encode_groups(tokens_NL, maps)
        asv, x = groups[0] if len(groups) == 1 else (torch.cat(t) for t in zip(*groups, strict=True))
        # Standardised by the reference.
        if R:
            std, mean = torch.std_mean(asv[:R], 0, correction=0)
            asv = (asv - mean) / (std + 1e-3)
        return asv[R:], x[R:, : -(-L // self.patch)]

    def encode_groups(self, tokens_NL: Tensor, maps: Maps | None) -> list[tuple[Tensor, Tensor]]:
        """`encode` of all rows, on a CPU of as many at once as fit its cache, by several threads where there are."""
        N, P = len(tokens_NL), tokens_NL.shape[1] // self.patch
        if tokens_NL.device.type != "cpu" or maps is not None:
            return [self.encode(tokens_NL, maps)]
        rows = max(8, IN_CACHE // (4 * self.config.width * P) // 8 * 8)
        # Random numbers, and the states of their generators that checkpoints keep, have one order in one thread only.
        ordered = self.training and (self.config.dropout or self.config.drop_path or self.blocks.checkpointing)
        if self.compiled or ordered or not can_share(tokens_NL.device) or N < FEW_ROWS:
            return [self.encode(group_NL, None) for group_NL in tokens_NL.split(rows)]
        # Each thread gets as many rows as the others.
        threads = torch.get_num_threads()
        num_groups = threads * math.ceil(N / (rows * threads))
        groups = tokens_NL.split(math.ceil(N / num_groups))
        return [(asv, x) for asv, x in rows_in_parallel(lambda group_NL: self.encode(group_NL, None), groups, self)]

    @torch.no_grad()
    def spread(self) -> tuple[Tensor, Tensor] | None:
        """Spread and mean of the reference's vectors, each of shape D; None where there is no reference."""
        if not len(self.reference_RL):
            return None
        more = -self.reference_RL.shape[1] % self.config.scales[-1]
        return torch.std_mean(self.encode(F.pad(self.reference_RL, (0, more), value=PAD), None)[0], 0, correction=0)

    def standardised(self, tokens_NL: Tensor, spread: tuple[Tensor, Tensor] | None) -> Tensor:
        """Vectors of ASVs (N x D) by a spread that is known: as `forward` gives them, to rounding, without the reference encoded again."""
        require_few_positions(self.config, tokens_NL.shape[1])
        more = -tokens_NL.shape[1] % self.config.scales[-1]
        asv = self.encode(F.pad(tokens_NL, (0, more), value=PAD), None)[0]
        return asv if spread is None else (asv - spread[1]) / (spread[0] + 1e-3)

    def of_letters(self, tokens_NL: Tensor, letter_NLT: Tensor, spread: tuple[Tensor, Tensor] | None) -> Tensor:
        """Vectors of ASVs (N x D) whose letters have other vectors (T numbers each) than those of `tokens_NL`, differentiable in them."""
        more = -tokens_NL.shape[1] % self.config.scales[-1]
        letter_NLT = F.pad(letter_NLT, (0, 0, 0, more))
        asv = self.encode(F.pad(tokens_NL, (0, more), value=PAD), None, letter_NLT)[0]
        return asv if spread is None else (asv - spread[1]) / (spread[0] + 1e-3)

    @property
    def patch(self) -> int:
        """Nucleotides in a position of the finest scale."""
        return self.config.scales[0]

    def encode(self, tokens_NL: Tensor, maps: Maps | None, letter_NLT: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `forward`, before standardising; `letter_NLT` are vectors of letters in place of the tokens'."""
        N, L = tokens_NL.shape
        is_full = bool(self.filled(tokens_NL).all())  # ASVs of one length need no mask
        # Sizes that compiled blocks have seen before.
        if self.compiled and maps is None:
            slots = 0 if is_full else round_up(L // self.config.scales[-1]) * self.config.scales[-1] - L
            tokens_NL = F.pad(tokens_NL.expand(2, -1) if N == 1 else tokens_NL, (0, slots), value=PAD)
            if letter_NLT is not None:
                letter_NLT = F.pad(letter_NLT.expand(len(tokens_NL), -1, -1), (0, 0, 0, slots))
        # Nucleotides to vectors, and patches of them to positions.
        filled = self.filled(tokens_NL)
        filled[:, 0] = True  # a row without an ASV sees one padding, so that nothing is undefined
        letter_NLT = self.token(tokens_NL.int()) if letter_NLT is None else letter_NLT
        x = self.stem(letter_NLT.reshape(*filled.shape, -1))
        # Fine scales: local attention, then neighbouring positions become one.
        states = []
        for k, scale in enumerate(self.fine):
            mask = None if is_full else filled[:, None, None, :]
            fine, x = scale(*self.add_positions(k, x), filled, mask, checkpointing=self.blocks.checkpointing)
            states.append((fine, scale.ratio))
            filled = filled.unflatten(1, (-1, scale.ratio)).any(-1)
        # The coarsest scale: full attention, and pooling to one vector an ASV.
        mask = None if is_full else filled[:, None, None, :]
        x, turn = self.add_positions(len(self.fine), x)
        x = self.norm(self.blocks(x, mask, turn, maps and maps.nucleotide))
        asv = self.pool(x, mask, maps and maps.nucleotide_pool)
        # States of positions: the finest ones, plus those of the coarser positions above them.
        for fine, ratio in reversed(states):
            x = fine + x.repeat_interleave(ratio, dim=1)
        return asv[:N], x[:N, : L // self.patch]

    def filled(self, tokens_NL: Tensor) -> Tensor:
        """Positions of the finest scale that hold a nucleotide, N x P."""
        return (tokens_NL != PAD).unflatten(1, (-1, self.patch)).any(-1)

    def add_positions(self, k: int, x_NPD: Tensor) -> tuple[Tensor, Tensor | None]:
        """The states at scale `k` with their positions added; with rotary positions, as they are and the turns that attention makes."""
        _, P, D = x_NPD.shape
        if self.config.positions == "rotary":
            return x_NPD, rotation(P, D, self.config.num_attn_heads, x_NPD)
        if self.config.positions == "sinusoidal":
            return x_NPD + sinusoids(P, D, x_NPD), None
        learned_PD = self.places[k][:P]
        return x_NPD + F.pad(learned_PD, (0, 0, 0, P - len(learned_PD))), None


class SampleEncoder(nn.Module):
    """A set of ASVs, without order, to a vector. A learned token is always in the set, so that it is never empty."""

    compiled = False
    """As in `AsvEncoder`, for samples."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.joining = config.abundance
        self.abundance = nn.Sequential(nn.Linear(1, config.width), Gelu(), nn.Linear(config.width, config.width))
        self.hidden_abundance = nn.Parameter(torch.randn(config.width) * 0.02)
        if self.joining != "add":
            self.join = (
                nn.Linear(2 * config.width, config.width) if self.joining == "concat" else make_film(config.width)
            )
        self.sample_token = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.blocks = Blocks(config.num_layers, config.width, config.num_attn_heads, config.dropout, config.drop_path)
        self.norm = nn.LayerNorm(config.width)
        self.pool = AttentionPool(config.width, config.num_attn_heads)
        self.norm_out = nn.LayerNorm(config.width)

    def entries(self, asv_ND: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """ASV vectors with their log relative abundances, padded to B x S x D, and the mask of filled slots (B x S)."""
        # The slot of each entry: its sample, and its number within the sample.
        size_B = batch.offsets_B1.diff()
        B, S = len(size_B), int(size_B.max())
        sample_E = torch.repeat_interleave(torch.arange(B, device=size_B.device), size_B)
        slot_E = sample_E * S + torch.arange(len(sample_E), device=size_B.device) - batch.offsets_B1[sample_E]
        # ASVs with their abundances, put into the slots.
        entry_ED = self.entry(asv_ND[batch.asv_E], batch.counts_E / batch.total_B[sample_E], batch.hidden_E)
        entry_BSD = entry_ED.new_zeros(B * S, entry_ED.shape[1]).index_copy(0, slot_E, entry_ED).view(B, S, -1)
        filled_BS = torch.arange(S, device=size_B.device) < size_B[:, None]
        return entry_BSD, filled_BS

    def entry(self, asv_ED: Tensor, share_E: Tensor, hidden_E: Tensor | None = None) -> Tensor:
        """Vectors of ASVs with their relative abundances (0 to 1), of any leading shape; hidden ones have a learned vector instead."""
        log_share_E1 = share_E.log10()[..., None].to(asv_ED.dtype)
        abundance_ED = self.abundance(log_share_E1 + 2.0)  # centred on a share of 1 %
        if hidden_E is not None:
            abundance_ED = torch.where(hidden_E[..., None], self.hidden_abundance.to(abundance_ED.dtype), abundance_ED)
        return self.with_abundance(asv_ED, abundance_ED)

    def with_abundance(self, asv_ED: Tensor, abundance_ED: Tensor) -> Tensor:
        """An ASV's vector and that of its abundance as one."""
        if self.joining == "add":
            return asv_ED + abundance_ED
        if self.joining == "concat":
            return self.join(torch.cat([asv_ED, abundance_ED], dim=-1))
        scale_ED, shift_ED = self.join(abundance_ED).chunk(2, dim=-1)
        return asv_ED * (1 + scale_ED) + shift_ED

    def forward(
        self,
        entry_BSD: Tensor,
        filled_BS: Tensor,
        gate_BS: Tensor | None = None,
        maps: Maps | None = None,
        covariate_BCD: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Vectors of samples (B x D) and states of their entries (B x S x D).

        `gate_BS` fades ASVs out of the set: attention to each is multiplied by its gate before it is normalised, so 1 is the sample as
        it is, and 0 the sample without that ASV. In attention maps, key 0 is the sample token; covariates follow.
        """
        # The set: sample token, covariates, ASVs.
        B, extra = len(entry_BSD), [self.sample_token.expand(len(entry_BSD), -1, -1)]
        if covariate_BCD is not None:
            extra.append(covariate_BCD)
        x = torch.cat([*(t.to(entry_BSD.dtype) for t in extra), entry_BSD], dim=1)
        num_extra = x.shape[1] - entry_BSD.shape[1]
        mask = F.pad(filled_BS, (num_extra, 0), value=True)[:, None, None, :]
        # A gate multiplies attention, so its logarithm is added to the logits.
        if gate_BS is not None:
            log_gate = F.pad(gate_BS.log(), (num_extra, 0))[:, None, None, :]
            mask = torch.where(mask, log_gate, -torch.inf).to(x.dtype)
        if self.compiled and maps is None:
            slots, samples = round_up(x.shape[1]) - x.shape[1], max(2, B) - B
            x = F.pad(x, (0, 0, 0, slots, 0, samples))
            mask = F.pad(mask, (0, slots), value=False if mask.dtype == torch.bool else -torch.inf)
            mask = F.pad(mask, (0, 0, 0, 0, 0, 0, 0, samples), value=1)
        x = self.norm(self.blocks(x, mask, None, maps and maps.asv))
        sample_BD = self.norm_out(self.pool(x, mask, maps and maps.pool))
        return sample_BD[:B], x[:B, num_extra : num_extra + entry_BSD.shape[1]]


class Fusion(nn.Module):
    """Covariates and a pooled sample as one vector: concatenated and mixed, or by a gated multimodal unit (GMU, Arevalo et al. 2017,
    arXiv 1702.01992), in which each number of the result is the sample's or the covariates' in learned proportion."""

    def __init__(self, width: int, num_covariates: int, *, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        joint_width = (1 + num_covariates) * width
        if gated:
            self.sample, self.covariate = nn.Linear(width, width), nn.Linear(joint_width - width, width)
            self.gate = nn.Linear(joint_width, width)
        else:
            self.mix = nn.Linear(joint_width, width)

    def forward(self, sample_BD: Tensor, covariate_BCD: Tensor) -> Tensor:
        covariate = covariate_BCD.flatten(1).to(sample_BD.dtype)
        joint = torch.cat([sample_BD, covariate], dim=-1)
        if not self.gated:
            return self.mix(joint)
        return torch.lerp(self.covariate(covariate).tanh(), self.sample(sample_BD).tanh(), self.gate(joint).sigmoid())


class Encoder(nn.Module):
    """Both stages, and the covariates of samples.

    Parameters
    ----------
    config
        Shape.
    covariates
        What is known of the metadata columns that samples bring along; batches then carry their values.
    """

    def __init__(self, config: ModelConfig, covariates: Covariates | None = None) -> None:
        super().__init__()
        self.config = config
        self.asv = AsvEncoder(config)
        self.sample = SampleEncoder(config)
        self.covariates = self.fusion = None
        if covariates:  # and there are any
            self.covariates = CovariateEncoder(covariates, config.width)
            if config.fusion != "tokens":
                self.fusion = Fusion(config.width, len(covariates), gated=config.fusion == "gmu")

    @property
    def patch(self) -> int:
        """Nucleotides in a position of the finest scale."""
        return self.asv.patch

    @property
    def num_extra_tokens(self) -> int:
        """Keys that stand before a sample's ASVs in attention maps: the sample token and those of covariates."""
        return 1 + (len(self.covariates.names) if self.covariates is not None and self.fusion is None else 0)

    @property
    def checkpointing(self) -> bool:
        """Whether blocks compute their activations again in the backward pass instead of keeping them."""
        return self.asv.blocks.checkpointing

    @checkpointing.setter
    def checkpointing(self, value: bool) -> None:
        self.asv.blocks.checkpointing = self.sample.blocks.checkpointing = value

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Compile the transformer blocks, in place; names of weights stay.

        Sizes are dynamic, so that compiling ends when each form has been seen: in both stages, masked or not, with gradients or without.
        """
        from torch._dynamo import config  # slow to import

        config.recompile_limit = max(
            32, config.recompile_limit
        )  # torch would stop compiling, in silence, at eight forms
        for module in self.modules():
            if isinstance(module, Block):
                module.compile(dynamic=True, backend=backend)
        self.asv.compiled = self.sample.compiled = True

    def forward(self, batch: Batch, asv_ND: Tensor | None = None, maps: Maps | None = None) -> States:
        """States of a batch; `asv_ND` are vectors of its distinct ASVs that were computed before."""
        nucleotide_NPD = None
        if asv_ND is None:
            asv_ND, nucleotide_NPD = self.asv(batch.tokens_NL, maps)
        sample_BD, entry_BSD = self.encode_samples(batch, *self.sample.entries(asv_ND, batch), maps=maps)
        return States(nucleotide_NPD=nucleotide_NPD, asv_ND=asv_ND, entry_BSD=entry_BSD, sample_BD=sample_BD)

    def encode_samples(
        self,
        batch: Batch,
        entry_BSD: Tensor,
        filled_BS: Tensor,
        gate_BS: Tensor | None = None,
        maps: Maps | None = None,
        covariate_BCD: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Vectors of samples (B x D) and states of their entries (B x S x D), from what `sample.entries` gives.

        `gate_BS` fades ASVs out as in `SampleEncoder.forward`; covariates stay. `covariate_BCD` are vectors in place of those of the
        batch's covariates.
        """
        if self.covariates is None:
            return self.sample(entry_BSD, filled_BS, gate_BS, maps)
        covariate_BCD = self.covariates(batch) if covariate_BCD is None else covariate_BCD
        if self.fusion is None:
            return self.sample(entry_BSD, filled_BS, gate_BS, maps, covariate_BCD)
        sample_BD, entry_BSD = self.sample(entry_BSD, filled_BS, gate_BS, maps)
        return self.fusion(sample_BD, covariate_BCD), entry_BSD


def make_film(width: int) -> nn.Linear:
    """FiLM's scale and shift from an abundance, small at the start, so that at first an ASV's vector hardly changes."""
    linear = nn.Linear(width, 2 * width)
    with torch.no_grad():
        linear.weight.mul_(0.1)
        linear.bias.zero_()
    return linear


def round_up(n: int) -> int:
    """`n` rounded up to a multiple of eight."""
    return -(-n // 8) * 8
