"""The parts of a batch: cut to fit memory, dealt out to processes, each with what it needs to know of the others.

Shape letters: G samples of the whole batch, B samples of a part, N distinct ASVs, D width.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from aam_nb.batch.batch import Batch, BatchContext
from aam_nb.config import TrainConfig
from aam_nb.model.module import Network
from aam_nb.train.checkpoint import load_random_state, random_state


class Parts:
    """Cuts batches for one training.

    Attributes
    ----------
    at_least
        Fewest parts of a batch; it doubles whenever memory runs out.
    asv_AD
        Vectors of all ASVs of the study, None while ASVs are encoded in every step.
    """

    def __init__(self, network: Network, config: TrainConfig, accelerator: Accelerator) -> None:
        self.network, self.config, self.accelerator = network, config, accelerator
        self.at_least = max(1, config.accumulation)
        self.asv_AD: Tensor | None = None

    def vectors(self, batch: Batch) -> Tensor | None:
        """Vectors of a batch's ASVs (N x D) where they are at hand."""
        if self.asv_AD is None:
            return None
        return self.asv_AD[torch.from_numpy(batch.asv_N).to(self.asv_AD.device)]

    def cut(self, batch: Batch, *, at_least: int = 1) -> list[Batch]:
        """The batch in parts that fit `max_tokens`; without gradients, which take most of the memory, fewer parts do."""
        patch, encode = self.network.encoder.patch, self.asv_AD is None
        return batch.split(self.config.max_tokens, patch=patch, at_least=at_least, encode=encode)

    def mine(self, batch: Batch) -> list[Batch]:
        """This process's parts of a batch, each knowing its share in the whole and the vectors of the others."""
        processes, me = self.accelerator.num_processes, self.accelerator.process_index
        if processes == 1:
            cuts = [self.cut(batch, at_least=self.at_least)]
        else:
            ends = np.linspace(0, len(batch), processes + 1).round().astype(int)
            cuts = [self.cut(batch.part(a, b), at_least=self.at_least) if b > a else [] for a, b in pairwise(ends)]
        of, mine = sum(map(len, cuts)), cuts[me]
        if processes == of == 1:
            return mine
        whole = {name: o.count(batch) for name, o in self.network.objectives.items()}
        bank = self._bank(batch, mine)
        if mine:
            return [self._with_company(part, of, self._shares(part, whole), bank) for part in mine]
        # More processes than samples: compute one sample for nothing, so that all take part in the sums.
        return [self._with_company(batch.part(0, 1), of, dict.fromkeys(whole, 0.0), bank)]

    def _shares(self, part: Batch, whole: dict[str, float]) -> dict[str, float]:
        objectives = self.network.objectives.items()
        return {name: 1.0 if o.pairwise else o.count(part) / (whole[name] or 1.0) for name, o in objectives}

    def _with_company(self, part: Batch, of: int, shares: dict[str, float], bank: dict[str, Tensor]) -> Batch:
        return replace(part, context=BatchContext(of=of, shares=shares, gather=lambda name, _: bank[name]))

    @torch.no_grad()
    def _bank(self, batch: Batch, mine: list[Batch]) -> dict[str, Tensor]:
        """Vectors of all samples of a batch (G x D) for each objective that compares samples, from all parts and processes."""
        comparing = [o for o in self.network.objectives.values() if o.pairwise]
        bank: dict[str, Tensor] = {}
        if not comparing:
            return bank
        before = random_state()
        for part in mine or [batch.part(0, 1)]:
            here = part.to(self.accelerator.device)
            with self.accelerator.autocast():
                states = self.network.encoder(here, asv_ND=self.vectors(part))
                found = {o.name: o(states).float() for o in comparing}
            for name, x_BD in found.items():
                bank.setdefault(name, x_BD.new_zeros(len(batch), x_BD.shape[1]))
                if mine and here.place_B is not None:
                    bank[name].index_copy_(0, here.place_B, x_BD)
                elif mine:  # the only part: it is the whole
                    bank[name].copy_(x_BD)
        load_random_state(*before)  # the same dropout again when gradients are taken
        return {name: self.accelerator.reduce(x_GD, reduction="sum") for name, x_GD in bank.items()}
