"""The base of all objectives: a head with its target, its loss and its metrics.

Shape letters: G samples of the whole batch, B samples of this part of it, E entries, N distinct ASVs, P patches, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from pandas.api.types import infer_dtype
from torch import Tensor, nn

from aam_nb.arrays import Array
from aam_nb.batch.batch import Batch, TargetMaker
from aam_nb.config import ModelConfig, UserError, convert_list, convert_type, cut_repr
from aam_nb.model.encoder import States
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.errors import TargetError
from aam_nb.study.study import Study


class ObjectiveError(UserError, ValueError):
    """There is no such objective, an argument of one cannot be used, or it cannot be made again from what was saved."""


class Objective(nn.Module):
    """A head with its target, loss and metrics.

    A subclass sets `name` and writes `build` (the head), `maker` (targets of a study's batches), `forward` (states to prediction) and
    `loss`; the rest has defaults. What a saved model needs besides weights is in `spec`.

    Examples
    --------
    >>> import aam_nb as aam
    >>> import torch
    >>> class Richness(aam.Objective):
    ...     def build(self, config):
    ...         self.head = torch.nn.Linear(config.width, 1)
    ...     def maker(self, study):
    ...         return lambda batch, rng: batch.with_target(self.name, batch.offsets_B1.diff().log())
    ...     def forward(self, states):
    ...         return self.head(states.sample_BD)[:, 0]
    ...     def loss(self, prediction, truth):
    ...         return (prediction - truth).square()
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> "valid_richness" in model.pretrain(study, objectives=[Richness("richness")], config=config).history
    True
    """

    name: str
    weight: float
    views: ClassVar[int] = 1
    """How often each sample stands in a batch; a second view is another rarefaction of it."""
    pairwise: ClassVar[bool] = False
    """Whether the loss compares samples with one another, across all parts of a batch."""

    def __init__(self, name: str, weight: float = 1.0) -> None:
        super().__init__()
        # In the history `loss` is the sum.
        self.expect(is_free(name) and name != "loss", "name", name, "a word of its own without dots", "'mine'")
        self.name = name
        self.weight = self.number("weight", weight, lambda w: w >= 0, "zero or more", "1.0")

    def expect(self, ok: bool, name: str, value: object, expected: str, hint: str) -> None:
        """Refuse an argument that cannot be used (`ObjectiveError`)."""
        if not ok:
            kind = type(self).__name__
            raise ObjectiveError(
                f"{name} of {kind} is {cut_repr(value)}. Expected {expected}. Try `{kind}({name}={hint})`."
            )

    def number(
        self,
        name: str,
        value: object,
        fits: Callable[[float], bool],
        expected: str = "a positive number",
        hint: str = "1.0",
    ) -> float:
        """An argument that is a finite number and fits; any other is refused as in `expect`."""
        number: float | None = convert_type(value, float)
        self.expect(number is not None and fits(number), name, value, expected, hint)
        return float(number or 0.0)

    def choice(self, name: str, value: object, choices: Sequence[str]) -> str:
        """An argument that is one of a few texts; any other is refused as in `expect`."""
        words = f"{', '.join(choices[:-1])} or {choices[-1]}"
        self.expect(isinstance(value, str) and value in choices, name, value, words, repr(choices[0]))
        return str(value)

    def columns(self, name: str, value: object, expected: str, hint: str) -> list[str]:
        """An argument that is a name, or one or more different ones; any other is refused as in `expect`."""
        names = [value] if isinstance(value, str) else convert_list(value, str)
        self.expect(names is not None and 0 < len(names) == len(set(names)), name, value, expected, hint)
        return list(names or [])

    def build(self, config: ModelConfig) -> None:
        """Make the head."""

    def learn(self, study: Study) -> None:
        """Learn from the training study what the target needs: classes, mean and spread."""

    def maker(self, study: Study) -> TargetMaker:
        """A function that adds this objective's target to batches of `study`."""
        raise NotImplementedError(f"{type(self).__name__} must say how its targets are made: define `maker(study)`.")

    def inputs(self, study: Study) -> TargetMaker | None:
        """A function that adds what a prediction needs from `study` besides its ASVs, None where it needs nothing."""
        return None

    def describe_unseen(self, study: Study) -> list[str]:
        """Sentences on values of `study` that a prediction needs and training did not see."""
        return []

    def forward(self, states: States) -> Tensor:
        """The prediction."""
        raise NotImplementedError(f"{type(self).__name__} must say how it predicts: define `forward(states)`.")

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """What training makes small, from what `compare` gives: a number, or one per element, averaged with the weights of `weigh`."""
        raise NotImplementedError(
            f"{type(self).__name__} must say what training makes small: define `loss(prediction, truth)`."
        )

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Prediction and truth, element by element."""
        return self(states), batch.targets[self.name]

    def weigh(self, batch: Batch) -> Tensor | None:
        """Weights of the loss's elements, of its shape; None where all count alike. By default the samples' weights."""
        return batch.weight_B

    def count(self, batch: Batch) -> float:
        """How much a batch counts in an average of losses: the sum of its elements' weights. By default its samples' weights."""
        weight = self.weigh(batch)
        return float(len(batch) if weight is None else weight.cpu().double().sum())

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Numbers for the history, from all predictions and truths of an epoch's validation."""
        return {}

    def spec(self) -> dict[str, Any]:
        """Arguments that make this objective again, as JSON."""
        return {"weight": self.weight}


class Pairwise(Objective):
    """An objective about pairs of samples. A subclass predicts from vectors of all samples of the batch at once.

    A part of a large batch sees the vectors of the other parts, without gradients: each part then has the loss of the whole batch,
    and the gradients of all parts add up to the whole's. Trained weights therefore belong into `forward`; `between` has none.
    """

    pairwise: ClassVar[bool] = True

    def between(self, x_GD: Tensor) -> Tensor:
        """Predictions of all pairs, G x G, from the vectors that `forward` gives."""
        raise NotImplementedError(f"{type(self).__name__} must say how it compares samples: define `between(x_GD)`.")

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predicted and true values of the pairs i < j."""
        predicted, truth = self._all(states, batch)
        i, j = torch.triu_indices(len(predicted), len(predicted), offset=1, device=predicted.device)
        return predicted[i, j], truth[i, j]

    def weigh(self, batch: Batch) -> Tensor | None:
        return None

    def count(self, batch: Batch) -> float:
        """Number of pairs; 0 for a single sample, whose loss of 0 then does not count in an average."""
        return len(batch) * (len(batch) - 1) / 2

    def _all(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predicted and true values of all pairs at hand, square."""
        x, truth = full(self(states)), batch.targets[self.name]
        if batch.context is not None:
            assert batch.place_B is not None
            x = batch.context.gather(self.name, x.detach()).index_copy(0, batch.place_B, x)
        elif batch.place_B is not None:
            truth = truth[batch.place_B][:, batch.place_B]
        return self.between(x), truth


def is_free(name: object) -> bool:
    """Whether a module can have a name in a `ModuleDict`, which allows neither dots nor the names of its own attributes."""
    return isinstance(name, str) and bool(name) and "." not in name and not hasattr(nn.ModuleDict(), name)


def mean_loss(objective: Objective, prediction: Tensor, truth: Tensor, batch: Batch) -> Tensor:
    """An objective's loss as a number: the weighted average of its elements'."""
    loss = objective.loss(prediction, truth)
    if loss.ndim == 0:
        return loss
    weight = objective.weigh(batch)
    if weight is None:
        return loss.sum() / max(1, loss.numel())
    weight = weight.to(loss.dtype)
    return (loss * weight).sum() / weight.sum().clamp_min(torch.finfo(loss.dtype).tiny)


def full(x: Tensor) -> Tensor:
    """In single precision at least, also where mixed precision made it shorter."""
    return x if x.dtype == torch.float64 else x.float()


def entry_weights(batch: Batch, weigh: str) -> Tensor:
    """What each entry adds to the weight of its ASV in a loss over distinct ASVs, shape E.

    Kept by entry, so that over the parts of a batch the weights add up to those of the whole, since an ASV may be in several parts.

    Parameters
    ----------
    batch
        The whole batch.
    weigh
        "distinct": each ASV counts 1. "occurrences": as many as samples of the batch hold it. "reads": its share of a sample's reads,
        averaged over the samples of the batch.
    """
    if weigh == "occurrences":
        return torch.ones(len(batch.asv_E))
    if weigh == "reads":
        return batch.counts_E / batch.total_B.repeat_interleave(batch.offsets_B1.diff()) / len(batch)
    return 1 / torch.bincount(batch.asv_E, minlength=len(batch.asv_N))[batch.asv_E]


def asv_weights(batch: Batch, weight_E: Tensor) -> Tensor:
    """Weight of each distinct ASV of a batch, or of a part of one, from `entry_weights`; shape N."""
    return weight_E.new_zeros(len(batch.asv_N)).index_add(0, batch.asv_E, weight_E)


def scores(prediction: Array, truth: Array, unit: float = 1.0) -> dict[str, float]:
    """Mean absolute error, times `unit`, and R² (NaN where the truth does not vary)."""
    if not len(truth):
        return {}
    spread = float(((truth - truth.mean()) ** 2).sum())
    r2 = 1 - float(((prediction - truth) ** 2).sum()) / spread if spread > 0 else float("nan")
    return {"mae": float(np.abs(prediction - truth).mean()) * unit, "r2": r2}


def correlation(a: Array, b: Array) -> float:
    """Pearson's r, NaN where one of the two does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def precise(x: Tensor) -> Tensor:
    """In double precision where the device has it; Apple's GPUs do not."""
    return x.float() if x.device.type == "mps" else x.double()


def class_names(values: pd.Series) -> pd.Series:
    """Classes as text; whole numbers lose their '.0', and truth values stay True and False. Missing stays missing."""
    if is_numeric_column(values):
        return values.map(
            lambda v: str(int(v)) if float(v).is_integer() else repr(float(v)), na_action="ignore"
        ).astype(object)
    return values.astype(str).where(values.notna()).astype(object)


def refuse_dates(values: pd.Series) -> None:
    """Refuse a column of dates, times or durations, which are not numbers yet, and each of which would be its own class (`TargetError`)."""
    kind = infer_dtype(values, skipna=True)
    if kind not in ("date", "datetime", "datetime64", "timedelta", "timedelta64"):
        return
    column = f"study.metadata[{values.name!r}]"
    number = (
        f"pd.to_timedelta({column})"
        if "timedelta" in kind
        else f"(pd.to_datetime({column}) - pd.to_datetime({column}).min())"
    )
    raise TargetError(
        f"{values.name!r} holds {'durations' if 'timedelta' in kind else 'dates'} such as {values.dropna().iloc[0]}. Expected numbers or "
        f"classes. Turn it into a number, such as days: `replace(study, metadata=study.metadata.assign(days={number}.dt.days))`."
    )
