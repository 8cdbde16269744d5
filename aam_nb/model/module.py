"""The network: one encoder under a list of objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from aam_nb.batch.batch import Batch
from aam_nb.config import ModelConfig
from aam_nb.model.covariates import Covariates
from aam_nb.model.encoder import Encoder
from aam_nb.model.objectives.base import Objective, mean_loss


@dataclass(frozen=True)
class StepResult:
    """The loss of a batch, its parts by objective, and what each objective compared.

    `loss` is what training makes small: the weighted sum of `parts`, each times the share that this part of a batch has in the whole.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    pairs: dict[str, tuple[Tensor, Tensor]]


class Network(nn.Module):
    """An encoder and the heads of its objectives, built from a seed.

    Parameters
    ----------
    config
        Shape.
    objectives
        Each with its own name.
    covariates
        What is known of the metadata columns that samples bring along.
    uncertainty
        Learn the objectives' weights: each loss is divided by its own learned variance (Kendall et al. 2018, arXiv 1705.07115).
    """

    def __init__(
        self,
        config: ModelConfig,
        objectives: Sequence[Objective],
        *,
        covariates: Covariates | None = None,
        uncertainty: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = Encoder(config, covariates)
            self.covariates = covariates
            for objective in objectives:
                objective.build(config)
        self._heads = nn.ModuleDict({o.name: o for o in objectives})
        self.log_variance = nn.ParameterDict(
            {o.name: nn.Parameter(torch.zeros(())) for o in objectives} if uncertainty else {}
        )

    @property
    def objectives(self) -> dict[str, Objective]:
        """The objectives by name."""
        return {name: o for name, o in self._heads.items() if isinstance(o, Objective)}

    def summary(self) -> pd.DataFrame:
        """Parameters of each part, and how many of them are trained: `parameters`, `trained`; the last row is the sum."""
        rows: dict[str, list[int]] = {}
        for name, parameter in self.named_parameters():
            part = ".".join(name.split(".")[:2]) if name.startswith("encoder.") else f"head {name.split('.')[1]}"
            row = rows.setdefault(part, [0, 0])
            row[0] += parameter.numel()
            row[1] += parameter.numel() * parameter.requires_grad
        frame = pd.DataFrame(rows, index=["parameters", "trained"]).T
        frame.loc["all"] = frame.sum()
        return frame.rename_axis("part")

    def forward(self, batch: Batch, asv_ND: Tensor | None = None) -> StepResult:
        """Losses of a batch that carries its targets, or of a part of one; `asv_ND` as in `Encoder`."""
        states = self.encoder(batch, asv_ND=asv_ND)
        pairs = {name: o.compare(states, batch) for name, o in self.objectives.items()}
        parts = {name: mean_loss(o, *pairs[name], batch) for name, o in self.objectives.items()}
        terms = [self._term(name, part, batch) for name, part in parts.items()]
        return StepResult(loss=torch.stack(terms).sum(), parts=parts, pairs=pairs)

    def _term(self, name: str, part: Tensor, batch: Batch) -> Tensor:
        """What an objective adds to the loss; over all parts of a batch, gradients add up to those of the whole."""
        objective, context = self.objectives[name], batch.context
        share = context.shares[name] if context else 1.0
        term = objective.weight * part
        if name not in self.log_variance:
            return share * term
        s = self.log_variance[name]
        scale, own = (-s).exp(), (1 / context.of if context and objective.pairwise else share)
        return share * scale.detach() * term + own * ((scale - scale.detach()) * term.detach() + s / 2)
