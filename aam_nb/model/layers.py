"""The parts of both transformers. One attention with two paths: fused for speed, explicit where its weights are asked for.

Shape letters: B sequences or samples, H attention heads, Q queries, K keys, D width, L positions, W positions of a window.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

SHORT = 48
"""Most keys for which a CPU is faster with explicit matrix products than with its fused attention."""
CLOSED = -1e4
"""Added to the logits of a key, this closes it: the exponential is zero."""


def attend(
    q_BHQD: Tensor, k_BHKD: Tensor, v_BHKD: Tensor, mask_B1QK: Tensor | None, maps: list[Tensor] | None
) -> Tensor:
    """Softmax attention. With a list in `maps` the weights (B x H x Q x K) are computed explicitly and appended to it.

    `mask_B1QK` is True where a key may be seen, or numbers added to the logits; every query sees at least one key.
    """
    short = q_BHQD.device.type == "cpu" and not torch.compiler.is_compiling() and k_BHKD.shape[-2] <= SHORT
    if maps is None and not short:
        if mask_B1QK is not None and mask_B1QK.requires_grad:
            return attend_to_gated_keys(q_BHQD, k_BHKD, v_BHKD, mask_B1QK)
        return F.scaled_dot_product_attention(q_BHQD, k_BHKD, v_BHKD, attn_mask=mask_B1QK)
    logits = (q_BHQD * q_BHQD.shape[-1] ** -0.5) @ k_BHKD.transpose(-1, -2)
    if mask_B1QK is not None:
        logits = logits.masked_fill(~mask_B1QK, -torch.inf) if mask_B1QK.dtype == torch.bool else logits + mask_B1QK
    weights = logits.softmax(-1)
    del logits  # with thousands of keys it is large, and the weights need memory too
    if maps is not None:
        maps.append(weights.detach())
    return weights.to(v_BHKD.dtype) @ v_BHKD


def attend_to_gated_keys(q_BHQD: Tensor, k_BHKD: Tensor, v_BHKD: Tensor, gate_B11K: Tensor) -> Tensor:
    """Fused attention that is differentiable in what is added to the logits of each key: it becomes one more number of the key, which the
    query multiplies by one. With it as a mask, torch would make all queries x keys at once, and memory would grow with their square."""
    scale, width = q_BHQD.shape[-1] ** -0.5, v_BHKD.shape[-1]
    more_BHK1 = (gate_B11K.clamp_min(CLOSED) / scale).transpose(-1, -2).expand(*k_BHKD.shape[:-1], 1)
    query, key, value = (
        F.pad(q_BHQD, (0, 1), value=1.0),
        torch.cat([k_BHKD, more_BHK1.to(k_BHKD.dtype)], -1),
        F.pad(v_BHKD, (0, 1)),
    )
    return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :width]


def rotation(length: int, width: int, num_heads: int, like: Tensor) -> Tensor:
    """Cosine and sine (L x D/2 x 2) of the turn of each pair of numbers at each position, on the device and in the type of `like`."""
    pairs = width // num_heads // 2
    rate = 10000.0 ** (-torch.arange(pairs, device=like.device, dtype=torch.float32) / pairs)
    angle = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * rate.repeat(num_heads)
    return torch.stack([angle.cos(), angle.sin()], -1).to(like.dtype)


def rotate(x_BLD: Tensor, turn_LD2: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021, arXiv 2104.09864): attention then depends on distances, at any length.

    A turn of a pair is a product of complex numbers: one pass over memory, where the tensor's type has them.
    """
    pairs = x_BLD.unflatten(-1, (-1, 2))
    if x_BLD.dtype == turn_LD2.dtype and x_BLD.device.type != "mps" and not torch.compiler.is_compiling():
        return torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(turn_LD2)).flatten(-2)
    (a, b), (cos, sin) = pairs.unbind(-1), turn_LD2.to(x_BLD.dtype).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """Sine and cosine positions (L x D) of Vaswani et al. 2017, arXiv 1706.03762."""
    rate = 10000.0 ** (-torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width)
    angle = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).to(like.dtype)


def windows(
    q_BLD: Tensor, k_BLD: Tensor, v_BLD: Tensor, seen_B11L: Tensor | None, reach: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Local attention as full attention among few: each run of `reach` queries becomes its own row, with the keys of its own run and of
    both neighbours, and a mask that lets a query see the filled positions at most `reach` away.

    Returns
    -------
    Queries (BC x W x D), keys and values (BC x 3W x D) of the C runs, and the mask (BC x 1 x W x 3W). A position sees itself even
    where it is padding, so that no row of the mask is empty.
    """
    B, L, _ = q_BLD.shape
    C = -(-L // reach)

    def runs(x_BLD: Tensor) -> Tensor:
        return F.pad(x_BLD, (0, 0, 0, C * reach - L)).unflatten(1, (C, reach))

    def with_neighbours(x_BCWD: Tensor) -> Tensor:
        before, after = F.pad(x_BCWD[:, :-1], (0, 0, 0, 0, 1, 0)), F.pad(x_BCWD[:, 1:], (0, 0, 0, 0, 0, 1))
        return torch.cat([before, x_BCWD, after], dim=2)

    filled_BL = q_BLD.new_ones(B, L, dtype=torch.bool) if seen_B11L is None else seen_B11L[:, 0, 0]
    near_BCK = with_neighbours(runs(filled_BL[..., None])).squeeze(-1)
    query = torch.arange(reach, 2 * reach, device=q_BLD.device)[:, None]
    key = torch.arange(3 * reach, device=q_BLD.device)
    mask = near_BCK[:, :, None] & ((query - key).abs() <= reach) | (query == key)
    k, v = with_neighbours(runs(k_BLD)), with_neighbours(runs(v_BLD))
    return runs(q_BLD).flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), mask.flatten(0, 1)[:, None]


class Gelu(nn.Module):
    """Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv 1606.08415), the exact one.

    Torch's own uses oneDNN on a CPU, which compiles and keeps a routine for every shape. Ragged batches hardly ever have the same shape
    twice, and the memory of a training grew by a gigabyte. So on a CPU it is computed without oneDNN.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x times the share of a standard normal below x."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling():
            return F.gelu(x)
        result: Tensor = _NativeGelu.apply(x)
        return result


class _NativeGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        with _without_onednn():
            return F.gelu(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        with _without_onednn():
            result: Tensor = torch.ops.aten.gelu_backward(grad, x)
            return result


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Without oneDNN inside, in whichever thread. `torch.backends.mkldnn.flags` sets more than this, and warns of it."""
    mkldnn: Any = torch.backends.mkldnn
    with _onednn.lock:
        _onednn.depth += 1
        if _onednn.depth == 1:
            _onednn.before, mkldnn.enabled = mkldnn.enabled, False
    try:
        yield
    finally:
        with _onednn.lock:
            _onednn.depth -= 1
            if _onednn.depth == 0:
                mkldnn.enabled = _onednn.before


class _Onednn:
    """How many threads want none of oneDNN now, and whether it was enabled before: its switch is one for the whole process."""

    lock, depth, before = threading.Lock(), 0, True


_onednn = _Onednn()


@contextmanager
def evenly(*parts: nn.Module) -> Iterator[None]:
    """Inside, all attention in `parts` is spread evenly over the keys that a query may see."""
    layers = [m for part in parts for m in part.modules() if isinstance(m, Attention | AttentionPool)]
    before = [m.even for m in layers]
    try:
        for m in layers:
            m.even = True
        yield
    finally:
        for m, was_even in zip(layers, before, strict=True):
            m.even = was_even


class Attention(nn.Module):
    """Self-attention among all positions, or among those at most `reach` apart."""

    even = False
    """Whether all keys count alike; see `evenly`."""

    def __init__(self, width: int, num_heads: int, *, reach: int | None = None) -> None:
        super().__init__()
        self.num_heads, self.reach = num_heads, reach
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x_BLD: Tensor, mask_B11K: Tensor | None, turn_LD2: Tensor | None, maps: list[Tensor] | None
    ) -> Tensor:
        B, L, D = x_BLD.shape
        # Queries, keys and values; turned by their positions, and cut into windows.
        q, k, v = self.qkv(x_BLD).chunk(3, dim=-1)
        if self.even:
            q = torch.zeros_like(q)
        if turn_LD2 is not None:
            q, k = rotate(q, turn_LD2), rotate(k, turn_LD2)
        if self.reach is not None:
            q, k, v, mask_B11K = windows(q, k, v, mask_B11K, self.reach)
        # Each head attends by itself.
        q, k, v = (t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
        return self.out(attend(q, k, v, mask_B11K, maps).transpose(1, 2).reshape(B, -1, D)[:, :L])


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, num_heads: int, dropout: float, *, reach: int | None = None) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, num_heads, reach=reach)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), Gelu(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BLD: Tensor,
        mask_B11K: Tensor | None,
        turn_LD2: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        x = x_BLD + self.dropout(self.attention(self.norm_1(x_BLD), mask_B11K, turn_LD2, maps))
        return x + self.dropout(self.mlp(self.norm_2(x)))


class Blocks(nn.ModuleList):
    """Transformer blocks one after another.

    `drop_path` is the share of rows that skip the last block in training (stochastic depth, Huang et al. 2016, arXiv 1603.09382);
    block i of n is skipped by i/n of that, and the rows that pass are scaled up, so that the expectation stays the same.
    """

    checkpointing = False
    """Whether activations inside a block are computed again in the backward pass instead of being kept."""

    def __init__(self, num_layers: int, width: int, num_heads: int, dropout: float, drop_path: float) -> None:
        super().__init__(Block(width, num_heads, dropout) for _ in range(num_layers))
        self.skipped = [drop_path * (i + 1) / num_layers for i in range(num_layers)]

    def forward(
        self,
        x_BLD: Tensor,
        mask_B11K: Tensor | None,
        turn_LD2: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        for block, skipped in zip(self, self.skipped, strict=True):
            y = run(block, x_BLD, mask_B11K, turn_LD2, maps, checkpointing=self.checkpointing)
            if self.training and skipped:
                passes_B11 = (torch.rand(len(y), 1, 1, device=y.device) >= skipped).to(y.dtype) / (1 - skipped)
                y = x_BLD + passes_B11 * (y - x_BLD)
            x_BLD = y
        return x_BLD


def run(
    block: nn.Module,
    x_BLD: Tensor,
    mask_B11K: Tensor | None,
    turn_LD2: Tensor | None,
    maps: list[Tensor] | None = None,
    *,
    checkpointing: bool,
) -> Tensor:
    """A block's output: by its compiled form if it has one, by the explicit one where maps are wanted."""
    if maps is not None:
        return block.forward(x_BLD, mask_B11K, turn_LD2, maps)
    if checkpointing and block.training and torch.is_grad_enabled():
        return checkpoint(block, x_BLD, mask_B11K, turn_LD2, use_reentrant=False)
    return block(x_BLD, mask_B11K, turn_LD2)


class AttentionPool(nn.Module):
    """Many vectors to one: a learned query for each head attends to all of them."""

    even = False
    """As in `Attention`."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.randn(1, num_heads, 1, width // num_heads))
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, mask_B11K: Tensor | None, maps: list[Tensor] | None = None) -> Tensor:
        B, L, D = x_BLD.shape
        k, v = self.kv(x_BLD).view(B, L, 2, self.num_heads, D // self.num_heads).permute(2, 0, 3, 1, 4)
        query = torch.zeros_like(self.query) if self.even else self.query
        pooled = attend(query.expand(B, -1, -1, -1).to(k.dtype), k, v, mask_B11K, maps)
        return self.out(pooled.reshape(B, D))
