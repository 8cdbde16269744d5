"""A metadata column of classes.

Shape letters: n samples of a study, B samples of a batch, C classes, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from aam_nb.arrays import Array
from aam_nb.batch.batch import Batch, TargetMaker
from aam_nb.config import ModelConfig, TargetConfig, convert_list, count_noun, cut_list, make_config, to_dict
from aam_nb.model.encoder import States
from aam_nb.model.objectives.base import Objective, class_names, full, precise
from aam_nb.model.objectives.heads import make_head
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.study.target_checks import refuse_unknown_classes


class Classification(Objective):
    """A metadata column of classes.

    Parameters
    ----------
    target
        The column; numbers in it are names of classes.
    config, **settings
        Fields of `TargetConfig`: `class_weights`, `label_smoothing`, `focal`, `hidden`, `head_dropout`.
    weight
        Weight of this loss (cross-entropy, nats) in the sum.
    classes, balance
        Learned from the training samples by `fit`: the classes, and the weight of a sample of each with `class_weights="balanced"`: n /
        (C n_c), for n samples, n_c of them of the class. Given when a saved model is loaded.

    Raises
    ------
    ConfigError, ObjectiveError
        A setting, or another argument, cannot be used.

    References
    ----------
    Label smoothing: Szegedy et al. 2016, arXiv 1512.00567. Focal loss: Lin et al. 2017, arXiv 1708.02002.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> config = aam.TrainConfig(epochs=1, progress=False, device="cpu")
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target=aam.Classification("diet", class_weights="balanced"), config=config)
    >>> model.task.classes
    ['animal', 'plant']
    """

    kind: ClassVar[str] = "classification"

    def __init__(
        self,
        target: str,
        *,
        config: TargetConfig | None = None,
        classes: Sequence[str] | None = None,
        balance: Sequence[float] | None = None,
        weight: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__("target", weight)
        self.expect(isinstance(target, str), "target", target, "one column", "'diet'")
        self.target, self.config = target, make_config(TargetConfig, config, settings)
        names = convert_list([] if classes is None else classes, str)
        is_distinct = names is not None and len(names) == len(set(names))
        self.expect(is_distinct, "classes", classes, "names, each once", "None")
        self.classes: list[str] = names or []
        weights = convert_list([1.0] * len(self.classes) if balance is None else balance, float)
        fits = weights is not None and len(weights) == len(self.classes) and all(w >= 0 for w in weights)
        self.expect(fits, "balance", balance, "a weight for each class, zero or more", "None")
        self.balance: list[float] = weights or []

    # -- its target -----------------------------------------------------------------------------------------------------

    @property
    def targets(self) -> list[str]:
        """The column."""
        return [self.target]

    @property
    def output_names(self) -> list[str]:
        """Columns of `outputs`: the classes."""
        return list(self.classes)

    def unit(self, output: str) -> str:
        """Unit of an output."""
        return "log-odds"

    def only(self, target: str) -> Classification:
        """The task itself: it has one target."""
        if target != self.target:
            raise UnknownIdError(f"{target!r} is not predicted. The model predicts {self.target}. Name that.")
        return self

    # -- learning -------------------------------------------------------------------------------------------------------

    def learn(self, study: Study) -> None:
        """Learn the classes, and the weight of a sample of each.

        Raises
        ------
        TargetError
            The column is missing or the same everywhere, or a class has a single sample.
        """
        values = study.target(self.target)
        names = class_names(values)
        sizes = names.dropna().value_counts()
        rare = sizes[sizes < 2].index
        if len(rare):
            single = values[names.isin(rare[:5])].tolist()  # as the column holds them: numbers are not in quotes
            raise TargetError(
                f"{count_noun(len(rare), 'class', 'classes')} of {self.target!r} with a single training sample ({cut_list(rare)}). A class "
                "needs two or more. "
                f"Drop them with `study.keep_samples(~study.metadata[{self.target!r}].isin({single!r}))` (`--min-class-size 3`, or more)."
            )
        self.classes = sorted(sizes.index)
        self.balance = [1.0] * len(self.classes)
        if self.config.class_weights == "balanced":
            self.balance = [float(sizes.sum() / (len(sizes) * sizes[c])) for c in self.classes]

    def build(self, config: ModelConfig) -> None:
        self.head = make_head(config.width, len(self.classes), self.config)

    def maker(self, study: Study) -> TargetMaker:
        names = class_names(study.column(self.target))
        number = pd.Index(self.classes, dtype=object).get_indexer(pd.Index(names, dtype=object)).astype(np.int64)
        refuse_unknown_classes(names, self.classes, self.target)
        balance_C = np.array(self.balance)
        weight_n = np.where(number >= 0, balance_C[number], 0.0)  # a sample without a label does not count

        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            rows = batch.sample_B
            target, weight_B = torch.from_numpy(number[rows]), weight_n[rows]
            if batch.partner_B is not None and batch.share_B is not None:
                share, hot = batch.share_B[:, None], np.eye(len(self.classes))
                mixed_BC = share * hot[number[rows]] + (1 - share) * hot[number[batch.partner_B]]
                has_labels = (number[rows] >= 0) & ((number[batch.partner_B] >= 0) | (batch.share_B == 1))
                target, weight_B = (
                    torch.from_numpy(mixed_BC.astype(np.float32)),
                    np.where(has_labels, mixed_BC @ balance_C, 0),
                )
            batch = batch.with_target(self.name, target)
            return batch.with_target(f"{self.name}.weight", torch.from_numpy(weight_B.astype(np.float32)))

        return make

    # -- predicting -----------------------------------------------------------------------------------------------------

    def forward(self, states: States) -> Tensor:
        """Logits, B x C."""
        return self.predict_from(states.sample_BD)

    def predict_from(self, sample_BD: Tensor) -> Tensor:
        """`forward` from sample vectors alone: a task reads nothing else of the states."""
        return self.head(sample_BD)

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """By sample, shape B; `truth` holds class numbers (-1 where they are missing), or shares of the classes, B x C."""
        if truth.ndim == 1:
            truth = F.one_hot(truth.clamp_min(0), len(self.classes))
        log_p, smooth = F.log_softmax(full(prediction), 1), self.config.label_smoothing
        share = (1 - smooth) * truth + smooth / len(self.classes)
        if self.config.focal:
            wrong = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps)  # at 0 a root has no slope
            share = share * wrong**self.config.focal
        return -(share * log_p).sum(1)

    def weigh(self, batch: Batch) -> Tensor | None:
        weight_B = batch.targets[f"{self.name}.weight"]
        return weight_B if batch.weight_B is None else weight_B * batch.weight_B

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        if truth.ndim == 2:
            truth = truth.argmax(1)
        has_label = truth >= 0
        return {"accuracy": float((prediction.argmax(-1) == truth)[has_label].mean())} if has_label.any() else {}

    def outputs(self, prediction: Tensor, batch: Batch | None = None) -> Tensor:
        """Log-odds of each class against all others, B x C: what is explained. Probabilities are their logistic."""
        logits = precise(prediction)
        others = torch.stack(
            [torch.cat([logits[:, :c], logits[:, c + 1 :]], 1).logsumexp(1) for c in range(len(self.classes))], 1
        )
        return logits - others

    def to_frame(self, outputs: Array, sample_ids: pd.Index) -> pd.DataFrame:
        """Predictions indexed by sample id: the class, then the probability of each, `p(CLASS)`."""
        probability = 1 / (1 + np.exp(-outputs))
        frame = pd.DataFrame(probability, index=sample_ids, columns=[f"p({c})" for c in self.classes])
        frame.insert(0, self.target, np.array(self.classes, dtype=object)[probability.argmax(1)])
        return frame

    def spec(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "config": to_dict(self.config),
            "classes": self.classes,
            "balance": self.balance,
            "weight": self.weight,
        }
