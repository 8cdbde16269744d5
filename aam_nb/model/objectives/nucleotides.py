"""Predict hidden nucleotides: what can be learned from DNA alone.

Shape letters: E entries, N distinct ASVs, L nucleotides, P patches, D width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aam_nb.arrays import Array, Bools
from aam_nb.batch.batch import Batch, TargetMaker
from aam_nb.batch.tokens import MASK, PAD
from aam_nb.config import ModelConfig
from aam_nb.model.encoder import States
from aam_nb.model.objectives.base import Objective, asv_weights, entry_weights, full
from aam_nb.study.study import Study

WEIGHTS = ("distinct", "occurrences", "reads")


class MaskedNucleotides(Objective):
    """Predict hidden nucleotides from the rest of their ASV.

    The same nucleotides of an ASV are hidden in all samples of a batch, and the ASV is encoded once. `weigh` says how much it counts.

    Parameters
    ----------
    share
        Share of the nucleotides hidden, in (0, 1). Ambiguity codes are neither hidden nor predicted.
    pattern
        "random" hides each by itself; "span" hides runs, whose lengths are geometric.
    span
        Mean length of a run, at least 1 nucleotide (an ambiguity code or an end may cut it short).
    weigh
        What an ASV counts: "distinct", 1; "occurrences", the samples of the batch that hold it, which is the loss of a model that
        encodes every occurrence; "reads", its share of a sample's reads, averaged over the batch.
    weight
        Weight of this loss (cross-entropy, nats) in the sum.

    Raises
    ------
    ObjectiveError
        An argument cannot be used.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> history = model.pretrain(study, objectives=[aam.MaskedNucleotides(pattern="span")], config=config).history
    >>> [column for column in history if column.startswith("valid_nucleotides")]
    ['valid_nucleotides', 'valid_nucleotides_accuracy']
    """

    def __init__(
        self,
        share: float = 0.15,
        pattern: str = "random",
        span: float = 5,
        weigh: str = "distinct",
        weight: float = 1.0,
    ) -> None:
        super().__init__("nucleotides", weight)
        self.share = self.number("share", share, lambda x: 0 < x < 1, "a share in (0, 1)", "0.15")
        self.pattern = self.choice("pattern", pattern, ("random", "span"))
        self.span = self.number("span", span, lambda x: x >= 1, "at least 1 nucleotide", "5")
        most = self.span / (self.span + 1)  # runs that are kept apart by one nucleotide each
        reachable = self.pattern == "random" or self.share <= most
        self.expect(reachable, "share", share, f"at most {most:.2g} in runs of {self.span:g}", "0.15")
        self.weigh_by = self.choice("weigh", weigh, WEIGHTS)

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Linear(config.width, config.scales[0] * 4)

    def maker(self, study: Study) -> TargetMaker:
        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            tokens = batch.tokens_NL.numpy()
            is_acgt = (tokens >= 1) & (tokens <= 4)
            hidden = is_acgt & self._hidden(tokens.shape, rng)
            if not hidden.any():
                hidden.flat[np.flatnonzero(is_acgt)[:1]] = True
            target = torch.from_numpy(np.where(hidden, tokens, np.uint8(PAD)))
            corrupted = torch.from_numpy(np.where(hidden, np.uint8(MASK), tokens))
            batch = replace(batch, tokens_NL=corrupted).with_target(self.name, target, axis="N")
            return batch.with_target(f"{self.name}.weight", entry_weights(batch, self.weigh_by), axis="E")

        return make

    def _hidden(self, shape: tuple[int, ...], rng: np.random.Generator) -> Bools:
        """Places to hide, shape (N, L): each hidden with probability `share`."""
        draw = rng.random(shape)
        if self.pattern == "random":
            return draw < self.share
        # Hidden and visible alternate as a two-state Markov chain, in its steady state from the first nucleotide on.
        stay, start = 1 - 1 / self.span, self.share / (self.span * (1 - self.share))
        hidden = np.zeros(shape, dtype=bool)
        last = np.full(shape[0], self.share)
        for k in range(shape[1]):
            hidden[:, k] = draw[:, k] < last
            last = np.where(hidden[:, k], stay, start)
        return hidden

    def forward(self, states: States) -> Tensor:
        """Logits of A, C, G, T at every position, N x L' x 4, L' being L rounded up to whole patches."""
        assert states.nucleotide_NPD is not None, "nucleotides are only predicted where ASVs are encoded"
        return self.head(states.nucleotide_NPD).view(len(states.asv_ND), -1, 4)

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and nucleotides (0 to 3) of the hidden places, ASV by ASV."""
        logits, target = self(states), batch.targets[self.name]
        target = target[:, : logits.shape[1]]  # those of a part of a batch are as wide as the whole's
        hidden = target > 0
        return logits[:, : target.shape[1]][hidden], target[hidden].long() - 1

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return F.cross_entropy(full(prediction), truth, reduction="none")

    def weigh(self, batch: Batch) -> Tensor | None:
        """For each hidden nucleotide, the weight of its ASV. Weights of samples do not count, since DNA does not depend on them."""
        weight_N = asv_weights(batch, batch.targets[f"{self.name}.weight"])
        return weight_N[(batch.targets[self.name] > 0).nonzero()[:, 0]]

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        return {"accuracy": float((prediction.argmax(-1) == truth).mean())}

    def spec(self) -> dict[str, Any]:
        return {
            "share": self.share,
            "pattern": self.pattern,
            "span": self.span,
            "weigh": self.weigh_by,
            "weight": self.weight,
        }
