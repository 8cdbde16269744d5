"""The parts of both transformers. One attention with two paths: fused for speed, explicit where its weights are asked for.

Shape letters: B sequences or samples, H attention heads, Q queries, K keys, D width, L positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attend(
    q_BHQD: Tensor, k_BHKD: Tensor, v_BHKD: Tensor, bias_B11K: Tensor | None, maps: list[Tensor] | None
) -> Tensor:
    """Softmax attention. With a list in `maps` the weights (B x H x Q x K) are computed openly and appended to it.

    `bias_B11K` is a mask (True where a key may be seen) or numbers added to the logits.
    """
    if maps is None:
        return F.scaled_dot_product_attention(q_BHQD, k_BHKD, v_BHKD, attn_mask=bias_B11K)
    logits = q_BHQD @ k_BHKD.transpose(-1, -2) / q_BHQD.shape[-1] ** 0.5
    if bias_B11K is not None:
        logits = logits.masked_fill(~bias_B11K, -torch.inf) if bias_B11K.dtype == torch.bool else logits + bias_B11K
    weights = logits.softmax(-1)
    maps.append(weights.detach())
    return weights @ v_BHKD


def rotate(x_BHLD: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021, arXiv 2104.09864): attention then depends on distances, at any length."""
    length, half = x_BHLD.shape[-2], x_BHLD.shape[-1] // 2
    rate = 10000.0 ** (-torch.arange(half, device=x_BHLD.device, dtype=torch.float32) / half)
    angle = torch.arange(length, device=x_BHLD.device, dtype=torch.float32)[:, None] * rate
    cos, sin = angle.cos().to(x_BHLD.dtype), angle.sin().to(x_BHLD.dtype)
    a, b = x_BHLD[..., :half], x_BHLD[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Attention(nn.Module):
    """Self-attention; `positional` turns on rotary positions, off for sets."""

    def __init__(self, width: int, num_heads: int, *, positional: bool) -> None:
        super().__init__()
        self.num_heads, self.positional = num_heads, positional
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, bias_B11K: Tensor | None, maps: list[Tensor] | None = None) -> Tensor:
        B, L, D = x_BLD.shape
        q, k, v = self.qkv(x_BLD).view(B, L, 3, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4)
        if self.positional:
            q, k = rotate(q), rotate(k)
        return self.out(attend(q, k, v, bias_B11K, maps).transpose(1, 2).reshape(B, L, D))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, num_heads: int, dropout: float, *, positional: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, num_heads, positional=positional)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor | None, maps: list[Tensor] | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_1(x), bias, maps))
        return x + self.dropout(self.mlp(self.norm_2(x)))


class AttentionPool(nn.Module):
    """Many vectors to one: a learned query for each head looks at all of them."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.randn(1, num_heads, 1, width // num_heads))
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, bias_B11K: Tensor | None, maps: list[Tensor] | None = None) -> Tensor:
        B, L, D = x_BLD.shape
        k, v = self.kv(x_BLD).view(B, L, 2, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4)
        pooled = attend(self.query.expand(B, -1, -1, -1).to(k.dtype), k, v, bias_B11K, maps)
        return self.out(pooled.reshape(B, D))
