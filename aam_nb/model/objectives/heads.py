"""Heads of tasks: from a sample's vector to the outputs.

Shape letters: B samples, D width, K outputs.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from aam_nb.config import TargetConfig


class MLP(nn.Module):
    """Hidden layers of given widths (GELU, dropout), then a linear one; a layer as wide as its input is residual."""

    def __init__(self, width: int, hidden: tuple[int, ...], outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        widths = [width, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.out = nn.Linear(widths[-1], outputs)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """B x D to B x K."""
        for layer in self.layers:
            new = F.dropout(F.gelu(layer(x)), self.dropout, self.training)
            x = x + new if new.shape == x.shape else new
        return self.out(x)


def make_head(width: int, outputs: int, config: TargetConfig) -> nn.Linear | MLP:
    """The head that a target's config asks for: linear without hidden layers."""
    if not config.hidden:
        return nn.Linear(width, outputs)
    return MLP(width, config.hidden, outputs, config.head_dropout)


def last_layer(head: nn.Linear | MLP) -> nn.Linear:
    """The layer that gives the outputs."""
    return head if isinstance(head, nn.Linear) else head.out
