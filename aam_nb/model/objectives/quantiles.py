"""A metadata column of numbers, predicted as quantiles.

Shape letters: n samples of a study, B samples of a batch, K targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aam_nb.arrays import Array
from aam_nb.batch.batch import Batch
from aam_nb.config import ModelConfig, TargetConfig
from aam_nb.model.encoder import States
from aam_nb.model.objectives.base import scores
from aam_nb.model.objectives.heads import make_head
from aam_nb.model.objectives.regression import Regression


class Quantiles(Regression):
    """Quantiles of a numeric metadata column, which never cross: the middle one is the prediction, the outer ones are an interval.

    The head gives the middle quantile, and the steps from it outwards, which softplus keeps above 0.

    Parameters
    ----------
    target
        The column.
    config, **settings
        Fields of `TargetConfig`: `quantiles`, and those of `Regression` except `loss`, which is the pinball loss (Koenker & Bassett
        1978, Econometrica 46:33).
    weight, fitted
        As for `Regression`.

    Raises
    ------
    ConfigError, ObjectiveError
        A setting cannot be used.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target=aam.Quantiles("age", quantiles=(0.1, 0.5, 0.9)), config=config)
    >>> list(model.predict(study).columns)
    ['age', 'q(0.1)', 'q(0.9)']
    """

    def __init__(
        self,
        target: str,
        *,
        config: TargetConfig | None = None,
        weight: float = 1.0,
        fitted: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(target, config=config, weight=weight, fitted=fitted, **settings)
        self.expect(len(self.targets) == 1, "target", target, "one column", "'age'")
        self.middle = len(self.config.quantiles) // 2

    @property
    def output_names(self) -> list[str]:
        """Columns of `outputs`: the target, which is the middle quantile, then the others from low to high."""
        return [self.target, *(f"q({q:g})" for k, q in enumerate(self.config.quantiles) if k != self.middle)]

    def unit(self, output: str) -> str:
        return f"units of {self.target}"

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Quantiles as the network sees numbers, from low to high, B x Q; truth as in `Regression`."""
        return super().compare(states, batch)

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """Mean over the quantiles, by sample, shape B; 0 where the truth is missing."""
        error = truth[:, :1] - prediction
        error = error.where(~truth[:, :1].isnan(), 0.0)
        q = prediction.new_tensor(self.config.quantiles)
        return torch.maximum(q * error, (q - 1) * error).mean(1)

    def weigh(self, batch: Batch) -> Tensor | None:
        weight = super().weigh(batch)
        return None if weight is None else weight[:, 0]

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Mean absolute error of the middle quantile, in the target's units, its R², and the coverage of the outer interval."""
        guess, right = self._in_units(prediction, truth)
        has_truth = ~np.isnan(right[:, 0])
        guess, y = guess[has_truth], right[has_truth, 0]
        inside = (guess[:, 0] <= y) & (y <= guess[:, -1])
        return scores(guess[:, self.middle], y) | {"coverage": float(inside.mean()) if len(y) else float("nan")}

    def outputs(self, prediction: Tensor, batch: Batch) -> Tensor:
        rising = super().outputs(prediction, batch)
        others = [k for k in range(rising.shape[1]) if k != self.middle]
        return rising[:, [self.middle, *others]]

    def _targets(self) -> list[int]:
        return [0] * len(self.config.quantiles)

    def _to_bounds(self, raw_BK: Tensor, code_B: Tensor | None) -> Tensor:
        step, middle = F.softplus(raw_BK), raw_BK[:, self.middle : self.middle + 1]
        above = middle + step[:, self.middle + 1 :].cumsum(1)
        below = middle - step[:, : self.middle].flip(1).cumsum(1).flip(1)
        return super()._to_bounds(torch.cat([below, middle, above], 1), code_B)

    def build(self, config: ModelConfig) -> None:
        self.head = make_head(config.width, len(self.config.quantiles), self.config)
        self._start_at_mean(self.middle, 0)
