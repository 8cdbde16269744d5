"""Nucleotides to ASVs to samples.

Shape letters: B samples, S ASVs of the largest sample of the batch, E entries, N distinct ASVs, L nucleotides, P patches, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aam_nb.batch.batches import Batch
from aam_nb.batch.tokens import PAD, VOCABULARY, tokenize
from aam_nb.config import ModelConfig
from aam_nb.model.layers import AttentionPool, Block

TOKEN_WIDTH = 16
"""Numbers for one nucleotide before its patch is made; 17 tokens need no more."""


@dataclass
class Maps:
    """Attention weights of one forward pass, filled where explicit attention is asked for: one tensor per layer."""

    nucleotide: list[Tensor] = field(default_factory=list)
    nucleotide_pool: list[Tensor] = field(default_factory=list)
    asv: list[Tensor] = field(default_factory=list)
    pool: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class States:
    """What the encoder makes of a batch; `nucleotide_NPD` is None where the ASVs came from a cache."""

    nucleotide_NPD: Tensor | None
    asv_ND: Tensor
    entry_BSD: Tensor
    sample_BD: Tensor


class AsvEncoder(nn.Module):
    """DNA to a vector: patches of neighbouring nucleotides, transformer blocks over positions, attention pooling.

    ASVs are relatives, so their pooled vectors are nearly alike, and learning first what all share would take most of a short training.
    Each vector is therefore standardised by the mean and spread of a fixed set of reference ASVs, encoded along with it (virtual batch
    normalisation, Salimans et al. 2016, arXiv 1606.03498). Unlike batch normalisation, no result depends on the rest of the batch.
    """

    reference_ids: tuple[str, ...] = ()
    reference_RL: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.token = nn.Embedding(VOCABULARY, TOKEN_WIDTH, padding_idx=PAD)
        self.stem = nn.Linear(config.patch * TOKEN_WIDTH, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_attn_heads, config.dropout, positional=True)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.pool = AttentionPool(config.width, config.num_attn_heads)
        self.register_buffer("reference_RL", torch.zeros(0, 1, dtype=torch.uint8), persistent=False)

    def set_reference(self, asv_ids: Sequence[str]) -> None:
        """Choose the reference ASVs: once, before the first step of training."""
        self.reference_ids = tuple(asv_ids)
        self.reference_RL = torch.from_numpy(tokenize(self.reference_ids)).to(self.reference_RL.device)

    def forward(self, tokens_NL: Tensor, maps: Maps | None = None) -> tuple[Tensor, Tensor]:
        """Vectors of ASVs (N x D) and states of their patches (N x P x D)."""
        R = len(self.reference_RL)
        longest = max(tokens_NL.shape[1], self.reference_RL.shape[1])
        longest += -longest % self.patch
        tokens = torch.cat(
            [F.pad(t, (0, longest - t.shape[1]), value=PAD) for t in (self.reference_RL, tokens_NL)]
        ).long()
        filled_NP = (tokens != PAD).view(len(tokens), -1, self.patch).any(-1)
        bias = None if bool(filled_NP.all()) else filled_NP[:, None, None, :]  # ASVs of one length need no mask
        x = self.stem(self.token(tokens).view(*filled_NP.shape, -1))
        for block in self.blocks:
            x = block(x, bias, maps and maps.nucleotide)
        x = self.norm(x)
        asv = self.pool(x, bias, maps and maps.nucleotide_pool)
        if R:
            std, mean = torch.std_mean(asv[:R], 0, correction=0)
            asv = (asv - mean) / (std + 1e-3)
        return asv[R:], x[R:]


class SampleEncoder(nn.Module):
    """A set of ASVs to a vector. The set also holds one learned token, so that it is never empty; it has no order."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.abundance = nn.Sequential(nn.Linear(1, config.width), nn.GELU(), nn.Linear(config.width, config.width))
        self.sample_token = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_attn_heads, config.dropout, positional=False)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.pool = AttentionPool(config.width, config.num_attn_heads)
        self.norm_out = nn.LayerNorm(config.width)

    def entries(self, asv_ND: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """ASV vectors with their log relative abundance, padded to B x S x D, and the mask of filled slots (B x S)."""
        size_B = batch.offsets_B1.diff()
        B, S = len(size_B), int(size_B.max())
        sample_E = torch.repeat_interleave(torch.arange(B, device=size_B.device), size_B)
        slot_E = sample_E * S + torch.arange(len(sample_E), device=size_B.device) - batch.offsets_B1[sample_E]
        log_share_E1 = (batch.counts_E / batch.total_B[sample_E]).log10()[:, None].to(asv_ND.dtype)
        entry_ED = asv_ND[batch.asv_E] + self.abundance(log_share_E1 + 2.0)  # centred on a share of 1 %
        entry_BSD = entry_ED.new_zeros(B * S, entry_ED.shape[1]).index_copy(0, slot_E, entry_ED).view(B, S, -1)
        filled_BS = torch.arange(S, device=size_B.device) < size_B[:, None]
        return entry_BSD, filled_BS

    def forward(
        self, entry_BSD: Tensor, filled_BS: Tensor, gate_BS: Tensor | None = None, maps: Maps | None = None
    ) -> tuple[Tensor, Tensor]:
        """Vectors of samples (B x D) and states of their entries (B x S x D).

        `gate_BS` fades ASVs out of the set: attention to each is multiplied by its gate before it is normalised, so 1 is the sample as
        it is, and 0 the sample without that ASV. In attention maps, key 0 is the sample token.
        """
        x = torch.cat([self.sample_token.expand(len(entry_BSD), -1, -1).to(entry_BSD.dtype), entry_BSD], dim=1)
        bias = F.pad(filled_BS, (1, 0), value=True)[:, None, None, :]
        if gate_BS is not None:
            log_gate = F.pad(gate_BS.log(), (1, 0))[:, None, None, :]
            bias = torch.where(bias, log_gate, -torch.inf).to(x.dtype)
        for block in self.blocks:
            x = block(x, bias, maps and maps.asv)
        x = self.norm(x)
        return self.norm_out(self.pool(x, bias, maps and maps.pool)), x[:, 1:]


class Encoder(nn.Module):
    """Both stages."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.asv = AsvEncoder(config)
        self.sample = SampleEncoder(config)

    def forward(self, batch: Batch, asv_ND: Tensor | None = None, maps: Maps | None = None) -> States:
        """States of a batch; `asv_ND` gives vectors of its distinct ASVs made earlier, so that they are not made again."""
        nucleotide_NPD = None
        if asv_ND is None:
            asv_ND, nucleotide_NPD = self.asv(batch.tokens_NL, maps)
        entry_BSD, filled_BS = self.sample.entries(asv_ND, batch)
        sample_BD, entry_BSD = self.sample(entry_BSD, filled_BS, maps=maps)
        return States(nucleotide_NPD=nucleotide_NPD, asv_ND=asv_ND, entry_BSD=entry_BSD, sample_BD=sample_BD)
