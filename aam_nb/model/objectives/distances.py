"""Distances between samples, predicted as distances between their vectors; and two views of a sample, to be found among all others.

Shape letters: G samples of the whole batch, B samples of this part of it, A ASVs of the study, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, get_args

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from aam_nb.arrays import Array, Floats
from aam_nb.batch.batch import Batch, TargetMaker
from aam_nb.config import ModelConfig, UnifracMetric
from aam_nb.diversity.branches import branches_of
from aam_nb.diversity.distances import TABLE_METRICS
from aam_nb.diversity.unifrac import unifrac_block
from aam_nb.model.encoder import States
from aam_nb.model.objectives.base import ObjectiveError, Pairwise, correlation
from aam_nb.study.study import Study

TYPICAL_SAMPLES = 200
"""Most samples that the typical distance is the mean of."""
Block = Callable[[sparse.csr_array], Floats]
"""From reads (samples x ASVs of the study) to distances (samples x samples)."""


class Distance(Pairwise):
    """A distance between the samples of a batch, predicted as the Euclidean distance between the head's outputs.

    Targets are exact, and computed from the reads and ASVs of the batch, after all augmentation. Only pairs i < j count. Where the metric
    has units, all distances are divided by `scale`, the mean distance among some of the training samples.
    """

    scaled: bool = False
    scale: float = 1.0

    def block(self, study: Study) -> Block:
        """What computes the distances among samples of `study`."""
        raise NotImplementedError(f"{type(self).__name__} must say how distances are made: define `block(study)`.")

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Linear(config.width, config.width, bias=False)
        nn.init.normal_(self.head.weight, std=0.5 / config.width)  # first distances are about as large as UniFrac's

    def learn(self, study: Study) -> None:
        if not self.scaled or study.num_samples < 2:
            return
        num_samples = min(TYPICAL_SAMPLES, study.num_samples)
        rows = np.sort(np.random.default_rng(0).permutation(study.num_samples)[:num_samples])
        distances = self.block(study)(sparse.csr_array(study.table[rows]))
        self.scale = (
            float(distances[np.triu_indices(num_samples, 1)].mean()) or 1.0
        )  # samples that are all alike have no scale

    def maker(self, study: Study) -> TargetMaker:
        block = self.block(study)

        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            distances = block(batch.table(study.num_asvs)) / self.scale
            return batch.with_target(self.name, torch.from_numpy(distances.astype(np.float32)), axis="")

        return make

    def forward(self, states: States) -> Tensor:
        """The vectors whose distances are taken, B x D."""
        return self.head(states.sample_BD)

    def between(self, x_GD: Tensor) -> Tensor:
        return ((x_GD[:, None] - x_GD[None]).square().sum(-1) + 1e-6).sqrt()

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return (prediction - truth).square()

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Mean absolute error in the metric's units, and Pearson's r."""
        if len(truth) < 3:
            return {}
        return {"mae": self.scale * float(np.abs(prediction - truth).mean()), "r": correlation(prediction, truth)}


class UniFrac(Distance):
    """UniFrac between the samples of a batch, from the tree, for the ASVs of the batch.

    Parameters
    ----------
    metric
        "unweighted", "weighted_normalized", "generalized" or "weighted_unnormalized"; `aam.unifrac` says what they are. The last is
        in branch-length units, and divided by its mean among up to 200 training samples.
    alpha
        Weight of abundant lineages in generalized UniFrac, 0 to 1.
    weight
        Weight of this loss (squared error) in the sum.
    scale
        Learned from the training samples; given when a saved model is loaded.

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
    >>> history = model.pretrain(study, objectives=[aam.UniFrac("generalized")], config=config).history
    >>> [column for column in history if column.startswith("valid_unifrac")]
    ['valid_unifrac_generalized', 'valid_unifrac_generalized_mae', 'valid_unifrac_generalized_r']
    """

    def __init__(
        self, metric: str = "unweighted", alpha: float = 0.5, weight: float = 10.0, *, scale: float = 1.0
    ) -> None:
        self.metric = self.choice("metric", metric, get_args(UnifracMetric))
        super().__init__("unifrac" if metric == "unweighted" else f"unifrac_{metric}", weight)
        self.alpha = self.number("alpha", alpha, lambda x: 0 <= x <= 1, "a number in [0, 1]", "0.5")
        self.scale = self.number("scale", scale, lambda x: x > 0)
        self.scaled = metric == "weighted_unnormalized"

    def block(self, study: Study) -> Block:
        branches = branches_of(study)
        return lambda table: unifrac_block(branches, table, metric=self.metric, alpha=self.alpha)

    def spec(self) -> dict[str, Any]:
        return {"metric": self.metric, "alpha": self.alpha, "weight": self.weight, "scale": self.scale}


class BetaDiversity(Distance):
    """A distance between the samples of a batch that needs no tree.

    Parameters
    ----------
    metric
        "braycurtis": of relative abundances, 0 to 1. "aitchison": Euclidean distance of centred log-ratios of all the study's ASVs,
        each count plus 1 (Aitchison 1982, J. R. Stat. Soc. B 44:139); divided by its mean among up to 200 training samples.
    weight
        Weight of this loss (squared error) in the sum.
    scale
        Learned from the training samples; given when a saved model is loaded.

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
    >>> history = model.pretrain(study, objectives=[aam.BetaDiversity("aitchison")], config=config).history
    >>> [column for column in history if column.startswith("valid_aitchison")]
    ['valid_aitchison', 'valid_aitchison_mae', 'valid_aitchison_r']
    """

    def __init__(self, metric: str = "braycurtis", weight: float = 10.0, *, scale: float = 1.0) -> None:
        self.metric = self.choice("metric", metric, ("braycurtis", "aitchison"))
        super().__init__(metric, weight)
        self.scale, self.scaled = self.number("scale", scale, lambda x: x > 0), metric == "aitchison"

    def block(self, study: Study) -> Block:
        return TABLE_METRICS[self.metric]

    def spec(self) -> dict[str, Any]:
        return {"metric": self.metric, "weight": self.weight, "scale": self.scale}


class Contrastive(Pairwise):
    """Find the other view of a sample among all samples of the batch.

    Each sample is in the batch twice, in two rarefactions and with different ASVs left out. The loss is NT-Xent (Chen et al. 2020, arXiv
    2002.05709): cross-entropy, over the cosines of all other rows divided by the temperature, of the row's other view.

    Parameters
    ----------
    temperature
        What cosines are divided by, above 0.
    weight
        Weight of this loss (nats) in the sum.

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
    >>> history = model.pretrain(study, objectives=[aam.Contrastive()], config=config).history
    >>> [column for column in history if column.startswith("valid_contrastive")]
    ['valid_contrastive', 'valid_contrastive_accuracy']
    """

    views: ClassVar[int] = 2

    def __init__(self, temperature: float = 0.1, weight: float = 1.0) -> None:
        super().__init__("contrastive", weight)
        self.temperature = self.number("temperature", temperature, lambda x: x > 0, hint="0.1")

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Sequential(
            nn.Linear(config.width, config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )

    def maker(self, study: Study) -> TargetMaker:
        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            if len(np.unique(batch.sample_B)) * 2 != len(batch):
                raise ObjectiveError(
                    f"A batch of {len(batch)} rows holds {len(np.unique(batch.sample_B))} samples. Contrastive needs two views of each. "
                    "Make it with `Batches(..., views=2)`."
                )
            sample_G = torch.from_numpy(batch.sample_B)
            return batch.with_target(self.name, sample_G[:, None] == sample_G[None, :], axis="")

        return make

    def forward(self, states: States) -> Tensor:
        """Directions, B x D."""
        return F.normalize(self.head(states.sample_BD), dim=-1, eps=1e-6)

    def between(self, x_GD: Tensor) -> Tensor:
        return x_GD @ x_GD.T / self.temperature

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """For each row whose other view is here: similarity to it, to all other rows (log-sum-exp), and to the nearest of another sample.

        Shape (rows, 3), and True for each.
        """
        similar, same = self._all(states, batch)
        itself = torch.eye(len(similar), dtype=torch.bool, device=similar.device)
        here = (same & ~itself).any(1)
        similar, same, itself = similar[here], same[here], itself[here]
        view = similar.masked_fill(~same | itself, -torch.inf).amax(1)
        others = similar.masked_fill(itself, -torch.inf).logsumexp(1)
        rival = similar.detach().masked_fill(same, -torch.inf).amax(1)
        return torch.stack([view, others, rival], 1), here[here]

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return prediction[:, 1] - prediction[:, 0]

    def count(self, batch: Batch) -> float:
        """Number of rows whose other view is here."""
        number = np.unique(batch.sample_B, return_counts=True)[1]
        return float(number[number > 1].sum())

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Share of rows that are nearest to their other view."""
        return {"accuracy": float((prediction[:, 0] > prediction[:, 2]).mean())} if len(truth) else {}

    def spec(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "weight": self.weight}
