"""The network: one encoder under a list of objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aam_nb.batch.batches import Batch
from aam_nb.config import ModelConfig
from aam_nb.model.encoder import Encoder
from aam_nb.model.objectives import Objective


@dataclass(frozen=True)
class StepResult:
    """The loss of a batch, its parts, and what each objective compared."""

    loss: Tensor
    parts: dict[str, Tensor]
    pairs: dict[str, tuple[Tensor, Tensor]]


class Network(nn.Module):
    """An encoder and the heads of its objectives, built from a seed."""

    def __init__(self, config: ModelConfig, objectives: Sequence[Objective], *, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = Encoder(config)
            for objective in objectives:
                objective.build(config)
        self._heads = nn.ModuleDict({o.name: o for o in objectives})

    @property
    def objectives(self) -> dict[str, Objective]:
        """The objectives by name."""
        return {name: o for name, o in self._heads.items() if isinstance(o, Objective)}

    def forward(self, batch: Batch, asv_ND: Tensor | None = None) -> StepResult:
        """Weighted sum of the objectives' losses on a batch that carries their targets; `asv_ND` as in `Encoder`."""
        states = self.encoder(batch, asv_ND=asv_ND)
        pairs = {name: o.compare(states, batch) for name, o in self.objectives.items()}
        parts = {name: o.loss(*pairs[name]) for name, o in self.objectives.items()}
        loss = torch.stack([self.objectives[name].weight * part for name, part in parts.items()]).sum()
        return StepResult(loss=loss, parts=parts, pairs=pairs)
