"""Metadata columns of numbers, predicted as numbers.

Shape letters: n samples of a study, B samples of a batch, K outputs, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from aam_nb.arrays import Array, Floats, Ints
from aam_nb.batch.batch import Batch, TargetMaker
from aam_nb.config import ModelConfig, TargetConfig, convert_list, cut_list, cut_repr, make_config, to_dict
from aam_nb.model.covariates import describe_unseen
from aam_nb.model.encoder import States
from aam_nb.model.objectives.base import (
    Objective,
    ObjectiveError,
    class_names,
    full,
    precise,
    refuse_dates,
    scores,
)
from aam_nb.model.objectives.heads import last_layer, make_head
from aam_nb.model.objectives.transforms import Transform
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.study.target_checks import refuse_text_for_numbers

FEWEST_IN_GROUP = 5
"""Known values that a group must have, at least two of them different, to get its own transform."""
Column = Callable[[int, Transform, Tensor], Tensor]
"""From an output's number, the transform of a group's rows, and the output's values there, to other values."""


class Regression(Objective):
    """Numeric metadata columns. The network sees them transformed; predictions come back in the columns' units.

    Parameters
    ----------
    target
        A column, or several that are predicted together. A sample that lacks one of several has no loss there.
    config, **settings
        Fields of `TargetConfig`: `loss`, `huber_delta`, `over_cost`, `transform`, `transform_by`, `output`, `low`, `high`, `hidden`,
        `head_dropout`. Losses, transforms and outputs are given once for all columns, or one for each.
    weight
        Weight of this loss in the sum.
    fitted
        Transforms, learned from the training samples by `fit`; given when a saved model is loaded.

    Raises
    ------
    ConfigError
        A setting cannot be used.
    ObjectiveError
        There is no column, or one is named twice; or `fitted` is not what `spec()` gives.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target=aam.Regression("age", transform="log", output="positive"), config=config)
    >>> bool((model.predict(study)["age"] >= 0).all())
    True
    """

    kind: ClassVar[str] = "regression"

    def __init__(
        self,
        target: str | Sequence[str],
        *,
        config: TargetConfig | None = None,
        weight: float = 1.0,
        fitted: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__("target", weight)
        self.targets = self.columns("target", target, "columns, each once", "'age'")
        self.config = make_config(TargetConfig, config, settings)
        for name in ("loss", "transform", "output"):
            given, want = getattr(self.config, name), len(self.targets)
            self.expect(len(given) in (1, want), name, given, f"one for all, or {want}", repr(given[0]))
        for k in range(len(self.targets)):
            low = self._bounds(k)[0]
            reachable = self._of("transform", k) != "log" or self._of("output", k) != "bounded" or low > -1
            self.expect(reachable, "low", low, "a bound above -1, where log(1 + y) ends", "0.0")
        # By target; the transform of all samples first, then those of the groups, None where a group has too few values.
        self.groups: list[str] = []
        self.transforms: list[list[Transform | None]] = [[Transform()] for _ in self.targets]
        if fitted is not None:
            self._restore_transforms(fitted)

    # -- its targets ----------------------------------------------------------------------------------------------------

    @property
    def target(self) -> str:
        """The first column."""
        return self.targets[0]

    @property
    def output_names(self) -> list[str]:
        """Columns of `outputs`."""
        return list(self.targets)

    def unit(self, output: str) -> str:
        """Unit of an output."""
        return f"units of {output}"

    def only(self, target: str) -> Regression:
        """The task of one of the columns, to evaluate it by: its settings and transforms, without weights."""
        if target not in self.targets:
            raise UnknownIdError(f"{target!r} is not predicted. The model predicts {cut_list(self.targets)}. Name one.")
        k = self.targets.index(target)
        own: dict[str, Any] = {name: (self._of(name, k),) for name in ("loss", "transform", "output")}
        fitted = {"groups": self.groups, "transforms": [self._fitted()["transforms"][k]]}
        return type(self)(target, config=replace(self.config, **own), weight=self.weight, fitted=fitted)

    # -- learning -------------------------------------------------------------------------------------------------------

    def learn(self, study: Study) -> None:
        """Fit the transforms to the samples of `study`.

        Raises
        ------
        TargetError
            A column does not hold numbers, is missing or the same everywhere, is outside its bounds, or cannot be transformed this way.
        """
        values_nK = np.stack([self._training_values(study, k) for k in range(len(self.targets))], 1)
        self.groups, self.transforms = [], [[] for _ in self.targets]
        if self.config.transform_by:
            self.groups = sorted(class_names(study.column(self.config.transform_by)).dropna().unique())
        code_n = self._codes(study)
        for k, target in enumerate(self.targets):
            kind, column = self._of("transform", k), values_nK[:, k]
            self.transforms[k].append(Transform.fit(kind, column, name=repr(target)))
            for code, group in enumerate(self.groups, start=1):
                own = column[code_n == code]
                own = own[~np.isnan(own)]
                too_few = len(own) < FEWEST_IN_GROUP or len(np.unique(own)) < 2
                name = f"{target!r} where {self.config.transform_by} is {group}"
                self.transforms[k].append(None if too_few else Transform.fit(kind, own, name=name))

    def build(self, config: ModelConfig) -> None:
        self.head = make_head(config.width, len(self.targets), self.config)
        for k in range(len(self.targets)):
            self._start_at_mean(k, k)

    def maker(self, study: Study) -> TargetMaker:
        values_nK = np.stack([self._values(study, k) for k in range(len(self.targets))], 1)
        code_n = self._codes(study)
        scaled_nK = self._scale(values_nK, code_n)
        add_groups = self.inputs(study)

        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            rows, scaled_BK = batch.sample_B, scaled_nK[batch.sample_B]
            if batch.partner_B is not None and batch.share_B is not None:  # mixed in the targets' units
                own, share = values_nK[rows], batch.share_B[:, None]
                mixed = np.where(share == 1, own, share * own + (1 - share) * values_nK[batch.partner_B])
                scaled_BK = self._scale(mixed, code_n[rows])
            batch = batch.with_target(self.name, torch.from_numpy(scaled_BK.astype(np.float32)))
            return batch if add_groups is None else add_groups(batch, rng)

        return make

    def inputs(self, study: Study) -> TargetMaker | None:
        """Adds the number of each sample's group, by which its prediction is transformed back; None without `transform_by`."""
        if not self.config.transform_by:
            return None
        code_n = torch.from_numpy(self._codes(study))
        return lambda batch, rng: batch.with_target(f"{self.name}.group", code_n[torch.from_numpy(batch.sample_B)])

    def describe_unseen(self, study: Study) -> list[str]:
        """On groups that have no transform of their own."""
        if not self.config.transform_by:
            return []
        groups = class_names(study.column(self.config.transform_by))
        return describe_unseen(
            self.config.transform_by,
            groups.fillna("").astype(str).tolist(),
            self.groups,
            "group of the target's transform",
        )

    # -- predicting -----------------------------------------------------------------------------------------------------

    def forward(self, states: States) -> Tensor:
        """What the head gives, before bounds and transforms, B x K."""
        return self.predict_from(states.sample_BD)

    def predict_from(self, sample_BD: Tensor) -> Tensor:
        """`forward` from sample vectors alone: a task reads nothing else of the states."""
        return self.head(sample_BD)

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and truth as the network sees them, B x K; with `transform_by`, the truth's last column is the group's number."""
        truth, code_B = batch.targets[self.name], self._group(batch)
        if code_B is not None:
            truth = torch.cat([truth, code_B[:, None].to(truth.dtype)], 1)
        return self._to_bounds(full(self(states)), code_B), truth

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """By sample and column, B x K; 0 where the truth is missing."""
        known = ~truth[:, : len(self.targets)].isnan()
        error = (prediction - truth[:, : len(self.targets)]).where(known, 0.0)
        return torch.stack([self._loss_of(self._of("loss", k), e) for k, e in enumerate(error.unbind(1))], 1)

    def _loss_of(self, loss: str, error: Tensor) -> Tensor:
        if loss == "mae":
            return error.abs()
        if loss == "huber":
            return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=self.config.huber_delta)
        if loss == "asymmetric":
            return torch.where(error > 0, self.config.over_cost * error.square(), error.square())
        return error.square()

    def weigh(self, batch: Batch) -> Tensor | None:
        known = (~batch.targets[self.name].isnan()).float()
        return known if batch.weight_B is None else known * batch.weight_B[:, None]

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Mean absolute error, in the target's units, and R²; of several targets each has its own, and `r2` is their mean."""
        guess, right = self._in_units(prediction, truth)
        metrics: dict[str, float] = {}
        for k, target in enumerate(self.targets):
            has_truth = ~np.isnan(right[:, k])
            own = scores(guess[has_truth, k], right[has_truth, k])
            metrics |= own if len(self.targets) == 1 else {f"{name}_{target}": value for name, value in own.items()}
        if len(self.targets) > 1:
            metrics["r2"] = float(np.mean([value for name, value in metrics.items() if name.startswith("r2_")]))
        return metrics

    def outputs(self, prediction: Tensor, batch: Batch) -> Tensor:
        """In the targets' units, B x K, differentiable: what is reported and explained.

        `prediction` is what `forward` gave for the batch's samples, or for several copies of the whole batch, one after another.
        """
        code_B = self._group(batch)
        if code_B is not None and len(code_B) != len(prediction):
            code_B = code_B.repeat(len(prediction) // len(code_B))
        return self._to_units(self._to_bounds(precise(prediction), code_B), code_B)

    def to_frame(self, outputs: Array, sample_ids: pd.Index) -> pd.DataFrame:
        """Predictions indexed by sample id, a column for each output."""
        return pd.DataFrame(outputs, index=sample_ids, columns=self.output_names)

    def spec(self) -> dict[str, Any]:
        target = self.targets if len(self.targets) > 1 else self.target
        return {"target": target, "config": to_dict(self.config), "weight": self.weight, "fitted": self._fitted()}

    # -- columns, groups and transforms -----------------------------------------------------------------------------------

    def _of(self, setting: str, k: int) -> Any:
        """A setting of one of the columns."""
        values = getattr(self.config, setting)
        return values[k if len(values) > 1 else 0]

    def _targets(self) -> list[int]:
        """By output of the head, the number of its target."""
        return list(range(len(self.targets)))

    def _values(self, study: Study, k: int) -> Floats:
        """A column's numbers, NaN where they are missing."""
        values = study.column(self.targets[k])
        refuse_dates(values)
        refuse_text_for_numbers(values)
        return values.to_numpy(dtype=np.float64, na_value=np.nan)

    def _training_values(self, study: Study, k: int) -> Floats:
        """A column's numbers, refused where training cannot use them."""
        study.target(self.targets[k])
        values = self._values(study, k)
        low, high = self._bounds(k)
        outside = ~np.isnan(values) & ~(np.isfinite(values) & (values >= low) & (values <= high))
        if outside.any():
            bound = "finite numbers" if low == -np.inf else f"{low:g} to {high:g}" if high < np.inf else "none below 0"
            raise TargetError(
                f"{self.targets[k]!r} is {values[outside][0]:g} in {cut_list(study.sample_ids[outside][:1])}, and so outside its bounds in "
                f"{int(outside.sum())} of {len(values)} samples. Expected {bound}, as `output={self._of('output', k)!r}` says. Set "
                "`output='free'`, or other bounds with `low` and `high`."
            )
        return values

    def _bounds(self, k: int) -> tuple[float, float]:
        """Lowest and highest prediction of a column."""
        output = self._of("output", k)
        if output == "bounded":
            return self.config.low, self.config.high
        return (0.0 if output == "positive" else -np.inf), np.inf

    def _codes(self, study: Study) -> Ints:
        """Number of each sample's group, 0 where it is missing or was not seen in training."""
        if not self.config.transform_by:
            return np.zeros(study.num_samples, dtype=np.int64)
        names = class_names(study.column(self.config.transform_by))
        return pd.Index(self.groups, dtype=object).get_indexer(pd.Index(names, dtype=object)).astype(np.int64) + 1

    def _group(self, batch: Batch) -> Tensor | None:
        return batch.targets[f"{self.name}.group"] if self.config.transform_by else None

    def _transform(self, k: int, code: int) -> Transform:
        overall = self.transforms[k][0]
        assert overall is not None
        return self.transforms[k][code] or overall

    def _scale(self, values_nK: Floats, code_n: Ints) -> Floats:
        """Values in the targets' units as the network sees them."""
        out = np.empty_like(values_nK)
        for code in np.unique(code_n):
            rows = code_n == code
            for k in range(values_nK.shape[1]):
                out[rows, k] = self._transform(k, int(code)).to_network(values_nK[rows, k])
        return out

    def _by_group(self, x_BK: Tensor, code_B: Tensor | None, change: Column) -> Tensor:
        """`change` for each output of the head, group by group."""
        columns = []
        for x, k in zip(x_BK.unbind(1), self._targets(), strict=True):
            if code_B is None:
                columns.append(change(k, self._transform(k, 0), x))
                continue
            column = torch.empty_like(x)
            for code in code_B.unique().tolist():
                rows = (code_B == code).nonzero()[:, 0]
                column = column.index_copy(0, rows, change(k, self._transform(k, code), x[rows]))
            columns.append(column)
        return torch.stack(columns, 1)

    def _to_bounds(self, raw_BK: Tensor, code_B: Tensor | None) -> Tensor:
        """What the head gives, brought within the bounds, as the network sees numbers."""

        def link(k: int, transform: Transform, raw: Tensor) -> Tensor:
            output = self._of("output", k)
            if output == "free":
                return raw
            low, high = self._ends(k, transform)
            return low + (F.softplus(raw) if output == "positive" else (high - low) * raw.sigmoid())

        return self._by_group(raw_BK, code_B, link)

    def _ends(self, k: int, transform: Transform) -> tuple[float, float]:
        """The bounds of a column as the network sees them."""
        low, high = self._bounds(k)
        return float(transform.to_network(np.array([low]))[0]), (
            float(transform.to_network(np.array([high]))[0]) if high < np.inf else np.inf
        )

    def _start_at_mean(self, column: int, k: int) -> None:
        """Set the head's bias so that first predictions are about the mean of the training samples."""
        transform, output = self._transform(k, 0), self._of("output", k)
        bias = last_layer(self.head).bias.data
        if output == "free":
            bias[column] += transform.centre
            return
        low, high = self._ends(k, transform)
        above = max(transform.centre - low, 1e-3)
        if output == "positive":
            bias[column] = above + np.log(-np.expm1(-above))
        else:
            share = np.clip(above / (high - low), 1e-3, 1 - 1e-3)
            bias[column] = np.log(share / (1 - share))

    def _to_units(self, z_BK: Tensor, code_B: Tensor | None) -> Tensor:
        """From what the network sees to the targets' units; within the bounds to the last bit."""

        def restore(k: int, transform: Transform, z: Tensor) -> Tensor:
            return transform.to_units(z).clamp(*self._bounds(k))

        return self._by_group(z_BK, code_B, restore)

    def _in_units(self, prediction: Array, truth: Array) -> tuple[Array, Array]:
        """What `compare` gave, in the targets' units: predictions (n x outputs of the head) and truth (n x K)."""
        code_n = torch.from_numpy(truth[:, -1].astype(np.int64)) if self.config.transform_by else None
        guess = self._to_units(torch.from_numpy(prediction).double(), code_n).numpy()
        right = np.empty((len(truth), len(self.targets)))
        for code in np.unique(code_n) if code_n is not None else [0]:
            rows = np.arange(len(truth)) if code_n is None else np.flatnonzero(code_n == code)
            for k in range(len(self.targets)):
                z = torch.from_numpy(truth[rows, k]).double()
                right[rows, k] = self._transform(k, int(code)).to_units(z).numpy()
        return guess, right

    def _restore_transforms(self, fitted: Mapping[str, Any]) -> None:
        """Put back groups and transforms as `_fitted` wrote them."""
        try:
            if not isinstance(fitted, Mapping) or fitted.keys() != {"groups", "transforms"}:
                raise ValueError(f"{cut_repr(fitted)} is not groups and transforms")
            groups = convert_list(fitted["groups"], str)
            if groups is None or len(groups) != len(set(groups)):
                raise ValueError(f"groups is {cut_repr(fitted['groups'])}, not names, each once")
            rows = fitted["transforms"]
            if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
                raise ValueError(f"transforms is {cut_repr(rows)}, not a list for each column")
            if len(rows) != len(self.targets) or any(len(row) != 1 + len(groups) for row in rows):
                raise ValueError(f"{cut_repr([len(row) for row in rows])} transforms do not fit the columns and groups")
            if any(row[0] is None for row in rows):
                raise ValueError("the transform of all samples is missing")
            made = [[None if x is None else Transform.from_json(x) for x in row] for row in rows]
        except (TypeError, ValueError) as error:
            kind = type(self).__name__
            raise ObjectiveError(
                f"fitted of {kind} cannot be used: {error}. Expected what its `spec()` gives. Leave it out, and `fit` learns it: "
                f"`{kind}({self.target!r})`."
            ) from error
        self.groups, self.transforms = groups, made

    def _fitted(self) -> dict[str, Any]:
        transforms = [[None if made is None else made.to_json() for made in row] for row in self.transforms]
        return {"groups": self.groups, "transforms": transforms}
