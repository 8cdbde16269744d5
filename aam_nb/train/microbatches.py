"""Micro-batches: a batch cut to fit memory and shared among processes, each part with what it needs from the others.

Shape letters: G samples of the whole batch, B samples of a part, E entries, N distinct ASVs, L nucleotides, D width.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from aam_nb.batch.batch import Batch, BatchContext, samples_of
from aam_nb.config import TrainConfig
from aam_nb.model.module import Network
from aam_nb.train.machine import load_random_state, random_state


class MicroBatches:
    """Cuts the batches of one training.

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

    def vectors_of(self, batch: Batch) -> Tensor | None:
        """Vectors of a batch's ASVs (N x D) where they were made before, else None."""
        if self.asv_AD is None:
            return None
        return self.asv_AD[torch.from_numpy(batch.asv_N).to(self.asv_AD.device)]

    def cut(self, batch: Batch, *, at_least: int = 1) -> list[Batch]:
        """The batch in parts that fit `max_tokens`; fewer parts suffice without gradients, which take most of the memory."""
        patch, encode = self.network.encoder.patch, self.asv_AD is None
        return cut_batch(batch, self.config.max_tokens, patch=patch, at_least=at_least, encode=encode)

    def of_this_process(self, batch: Batch) -> list[Batch]:
        """This process's parts of a batch, each with its share in the whole and the vectors of the others."""
        # Every process cuts the batch alike, so that each knows how many parts there are.
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        if processes == 1:
            parts_by_process = [self.cut(batch, at_least=self.at_least)]
        else:
            ends = np.linspace(0, len(batch), processes + 1).round().astype(int)
            parts_by_process = [
                self.cut(samples_of(batch, a, b), at_least=self.at_least) if b > a else [] for a, b in pairwise(ends)
            ]
        num_parts, parts = sum(map(len, parts_by_process)), parts_by_process[rank]
        if processes == num_parts == 1:
            return parts
        # Objectives that compare samples need the vectors of the samples in all other parts.
        totals = {name: o.count(batch) for name, o in self.network.objectives.items()}
        vectors = self._compared_vectors(batch, parts)
        if parts:
            return [_in_context(part, num_parts, self._shares(part, totals), vectors) for part in parts]
        # More processes than samples: compute one sample with a weight of 0, so that all processes take part in the sums.
        return [_in_context(samples_of(batch, 0, 1), num_parts, dict.fromkeys(totals, 0.0), vectors)]

    def _shares(self, part: Batch, totals: dict[str, float]) -> dict[str, float]:
        objectives = self.network.objectives.items()
        return {name: 1.0 if o.pairwise else o.count(part) / (totals[name] or 1.0) for name, o in objectives}

    @torch.no_grad()
    def _compared_vectors(self, batch: Batch, parts: list[Batch]) -> dict[str, Tensor]:
        """Vectors of all samples of a batch (G x D) for each objective that compares samples, from all parts and processes."""
        comparing = [o for o in self.network.objectives.values() if o.pairwise]
        vectors: dict[str, Tensor] = {}
        if not comparing:
            return vectors
        before = random_state()
        for part in parts or [samples_of(batch, 0, 1)]:
            on_device = part.to(self.accelerator.device)
            with self.accelerator.autocast():
                states = self.network.encoder(on_device, asv_ND=self.vectors_of(part))
                of_part = {o.name: o(states).float() for o in comparing}
            for name, x_BD in of_part.items():
                vectors.setdefault(name, x_BD.new_zeros(len(batch), x_BD.shape[1]))
                if parts and on_device.place_B is not None:
                    vectors[name].index_copy_(0, on_device.place_B, x_BD)
                elif parts:  # the only part: it is the whole
                    vectors[name].copy_(x_BD)
        load_random_state(*before)  # the same dropout again when gradients are taken
        return {name: self.accelerator.reduce(x_GD, reduction="sum") for name, x_GD in vectors.items()}


def _in_context(part: Batch, num_parts: int, shares: dict[str, float], vectors: dict[str, Tensor]) -> Batch:
    """The part, with what it needs to know of the whole batch."""
    return replace(part, context=BatchContext(of=num_parts, shares=shares, gather=lambda name, _: vectors[name]))


def cut_batch(batch: Batch, max_tokens: int, *, patch: int, at_least: int = 1, encode: bool = True) -> list[Batch]:
    """A batch in parts of neighbouring samples, on the CPU; the batch itself where it needs no cut.

    Parameters
    ----------
    max_tokens
        Most positions of a part: ASV slots (samples x ASVs of the largest) and, with `encode`, patches of its distinct ASVs. A sample
        that has more by itself is a part of its own: no sample is cut.
    patch
        Nucleotides in a position.
    at_least
        Fewest parts, as long as there are samples.
    encode
        Whether the distinct ASVs are encoded along with the samples.
    """
    n = len(batch)
    size_B, asv_E, ends = batch.offsets_B1.diff().numpy(), batch.asv_E.numpy(), batch.offsets_B1.numpy()
    positions = -(-batch.tokens_NL.shape[1] // patch) if encode else 0
    # Sample by sample, a part grows until the next one would make it too large, or it has its even share of the samples.
    bounds, largest, in_part = [0], 0, np.zeros(len(batch.tokens_NL), dtype=bool)
    for b in range(n):
        start, own_asvs = bounds[-1], asv_E[ends[b] : ends[b + 1]]
        largest = max(largest, int(size_B[b]))
        num_new = int(np.count_nonzero(~in_part[own_asvs]))
        cost = (b + 1 - start) * largest + (int(in_part.sum()) + num_new) * positions
        parts_left = max(1, at_least + 1 - len(bounds))
        even_share = -(-(n - start) // parts_left)
        if b > start and (b - start == even_share or cost > max_tokens):
            bounds.append(b)
            in_part[:], largest = False, int(size_B[b])
        in_part[own_asvs] = True
    bounds.append(n)
    if len(bounds) == 2:
        return [batch]
    return [samples_of(batch, a, b) for a, b in pairwise(bounds)]
