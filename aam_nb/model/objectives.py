"""What a model learns from: one class is one head with its target, its loss and its metrics.

Add your own by subclassing `Objective`; give an instance to `pretrain(objectives=[...])` or `fit(target=...)`.
Shape letters: B samples, N distinct ASVs, L nucleotides, P patches, D width, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from pandas.api.types import is_numeric_dtype
from torch import Tensor, nn

from aam_nb.batch.batches import Batch, TargetMaker
from aam_nb.batch.tokens import MASK, PAD
from aam_nb.config import ModelConfig, UserError, some
from aam_nb.model.encoder import States
from aam_nb.phylo.tree import branches_of
from aam_nb.phylo.unifrac import unifrac_block
from aam_nb.study.study import Study, TargetError

Array = npt.NDArray[Any]


class Objective(nn.Module):
    """A head with its target, loss and metrics.

    A subclass sets `name` and writes `build` (the head), `maker` (targets of a study's batches), `forward` (states to prediction) and
    `loss`; the rest has defaults. What a saved model needs besides weights goes into `spec`.
    """

    name: str
    weight: float

    def __init__(self, name: str, weight: float = 1.0) -> None:
        super().__init__()
        self.name, self.weight = name, weight

    def build(self, config: ModelConfig) -> None:
        """Make the head."""

    def learn(self, study: Study) -> None:
        """Learn from the training study what the target needs: classes, mean and spread."""

    def maker(self, study: Study) -> TargetMaker:
        """A function that adds this objective's target to batches of `study`."""
        raise NotImplementedError(f"{type(self).__name__} must say how its targets are made: define `maker(study)`.")

    def forward(self, states: States) -> Tensor:
        """The prediction."""
        raise NotImplementedError(f"{type(self).__name__} must say how it predicts: define `forward(states)`.")

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """A number to make small, from what `compare` gives."""
        raise NotImplementedError(
            f"{type(self).__name__} must say what to make small: define `loss(prediction, truth)`."
        )

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Prediction and truth, element by element."""
        return self(states), batch.targets[self.name]

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        """Numbers for the history, from all of an epoch's validation pairs."""
        return {}

    def spec(self) -> dict[str, Any]:
        """Arguments that make this objective again, as JSON."""
        return {"weight": self.weight}


class MaskedNucleotides(Objective):
    """Guess nucleotides hidden at random from the rest of their ASV.

    Parameters
    ----------
    share
        Share of the nucleotides hidden, in (0, 1). Ambiguity codes are neither hidden nor guessed.
    weight
        Weight of this loss (cross-entropy, nats) in the sum.
    """

    def __init__(self, share: float = 0.15, weight: float = 1.0) -> None:
        super().__init__("nucleotides", weight)
        self.share = share

    def build(self, config: ModelConfig) -> None:
        self.patch = config.patch
        self.head = nn.Linear(config.width, config.patch * 4)

    def maker(self, study: Study) -> TargetMaker:
        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            tokens = batch.tokens_NL.numpy()
            plain = (tokens >= 1) & (tokens <= 4)
            hidden = plain & (rng.random(tokens.shape) < self.share)
            if not hidden.any():
                hidden.flat[np.flatnonzero(plain)[:1]] = True
            target = torch.from_numpy(np.where(hidden, tokens, PAD).astype(np.int64))
            corrupted = torch.from_numpy(np.where(hidden, np.uint8(MASK), tokens))
            return replace(batch, tokens_NL=corrupted).with_target(self.name, target)

        return make

    def forward(self, states: States) -> Tensor:
        """Logits of A, C, G, T at every position, N x L' x 4, L' being L rounded up to whole patches."""
        assert states.nucleotide_NPD is not None, "nucleotides are only predicted where ASVs are encoded"
        return self.head(states.nucleotide_NPD).view(len(states.asv_ND), -1, 4)

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        logits, target = self(states), batch.targets[self.name]
        hidden = target > 0
        return logits[:, : target.shape[1]][hidden], target[hidden] - 1

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return F.cross_entropy(prediction.float(), truth)

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        return {"accuracy": float((prediction.argmax(-1) == truth).mean())}

    def spec(self) -> dict[str, Any]:
        return {"share": self.share, "weight": self.weight}


class UniFrac(Objective):
    """Unweighted UniFrac between the samples of a batch, as the Euclidean distance of their embeddings.

    Targets are exact and made per batch from the tree, for the ASVs the batch holds. Only pairs i < j count.
    """

    def __init__(self, weight: float = 10.0) -> None:
        super().__init__("unifrac", weight)

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Linear(config.width, config.width, bias=False)
        nn.init.normal_(self.head.weight, std=0.5 / config.width)  # first distances are about as large as UniFrac's

    def maker(self, study: Study) -> TargetMaker:
        branches = branches_of(study)

        def make(batch: Batch, rng: np.random.Generator) -> Batch:
            block = unifrac_block(branches, batch.table(study.num_asvs))
            return batch.with_target(self.name, torch.from_numpy(block.astype(np.float32)))

        return make

    def forward(self, states: States) -> Tensor:
        """Distances, B x B."""
        x = self.head(states.sample_BD).float()
        return ((x[:, None] - x[None]).square().sum(-1) + 1e-6).sqrt()

    def compare(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        distance = self(states)
        i, j = torch.triu_indices(len(distance), len(distance), offset=1, device=distance.device)
        return distance[i, j], batch.targets[self.name][i, j]

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return (prediction - truth).square().sum() / max(1, len(truth))  # a batch of one sample has no pair: 0

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        if len(truth) < 3:
            return {}
        return {"mae": float(np.abs(prediction - truth).mean()), "r": _correlation(prediction, truth)}


class Regression(Objective):
    """A numeric metadata column. The network sees it standardised; predictions come back in the column's units.

    Parameters
    ----------
    target
        The column.
    mean, std
        Learned from the training samples by `fit`; given when a saved model is loaded.
    """

    kind: ClassVar[str] = "regression"

    def __init__(self, target: str, *, mean: float = 0.0, std: float = 1.0, weight: float = 1.0) -> None:
        super().__init__("target", weight)
        self.target, self.mean, self.std = target, float(mean), float(std)

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Linear(config.width, 1)

    def learn(self, study: Study) -> None:
        values = study.target(self.target).dropna()
        if not is_numeric_dtype(values):
            raise TargetError(
                f"{self.target!r} holds text such as {values.iloc[0]!r}. Regression needs numbers. Use "
                f"`aam.Classification({self.target!r})` (`--task classification`)."
            )
        self.mean, self.std = float(values.mean()), float(values.std(ddof=0))

    def maker(self, study: Study) -> TargetMaker:
        scaled = ((study.column(self.target) - self.mean) / self.std).to_numpy(dtype=np.float32)
        return lambda batch, rng: batch.with_target(self.name, torch.from_numpy(scaled[batch.sample_B]))

    def forward(self, states: States) -> Tensor:
        """Standardised values, shape B."""
        return self.head(states.sample_BD)[:, 0]

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return F.mse_loss(prediction.float(), truth)

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        spread = float(((truth - truth.mean()) ** 2).sum())
        r2 = 1 - float(((prediction - truth) ** 2).sum()) / spread if spread > 0 else float("nan")
        return {"mae": float(np.abs(prediction - truth).mean()) * self.std, "r2": r2}

    def outputs(self, prediction: Tensor) -> Tensor:
        """In the target's units, B x 1: what is reported and explained."""
        return (_precise(prediction) * self.std + self.mean)[:, None]

    def to_frame(self, outputs: Array, sample_ids: pd.Index) -> pd.DataFrame:
        """Predictions indexed by sample id, one column named after the target."""
        return pd.DataFrame({self.target: outputs[:, 0]}, index=sample_ids)

    def spec(self) -> dict[str, Any]:
        return {"target": self.target, "mean": self.mean, "std": self.std, "weight": self.weight}


class Classification(Objective):
    """A metadata column of classes.

    Parameters
    ----------
    target
        The column; numbers in it are taken as names of classes.
    classes
        Learned from the training samples by `fit`; given when a saved model is loaded.
    """

    kind: ClassVar[str] = "classification"

    def __init__(self, target: str, *, classes: list[str] | None = None, weight: float = 1.0) -> None:
        super().__init__("target", weight)
        self.target, self.classes = target, list(classes or [])

    def build(self, config: ModelConfig) -> None:
        self.head = nn.Linear(config.width, len(self.classes))

    def learn(self, study: Study) -> None:
        sizes = class_names(study.target(self.target)).dropna().value_counts()
        rare = sizes[sizes < 2].index
        if len(rare):
            raise TargetError(
                f"{len(rare)} classes of {self.target!r} have a single training sample ({some(rare)}). A class needs two or more. Drop "
                f"them with `study.keep_samples(~study.metadata[{self.target!r}].isin({list(rare[:5])!r}))` (`--min-class-size 2`)."
            )
        self.classes = sorted(sizes.index)

    def maker(self, study: Study) -> TargetMaker:
        names = class_names(study.column(self.target))
        number = pd.Index(self.classes).get_indexer(pd.Index(names)).astype(np.int64)
        unknown = names[number < 0].unique()
        if len(unknown):
            raise TargetError(
                f"{len(unknown)} classes of {self.target!r} were not in training ({some(unknown)}). The model knows {some(self.classes)}. "
                "Leave those samples out, or fit again with them."
            )
        return lambda batch, rng: batch.with_target(self.name, torch.from_numpy(number[batch.sample_B]))

    def forward(self, states: States) -> Tensor:
        """Logits, B x C."""
        return self.head(states.sample_BD)

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return F.cross_entropy(prediction.float(), truth)

    def metrics(self, prediction: Array, truth: Array) -> dict[str, float]:
        return {"accuracy": float((prediction.argmax(-1) == truth).mean())}

    def outputs(self, prediction: Tensor) -> Tensor:
        """Log-odds of each class against all others, B x C: what is explained. Probabilities are their logistic."""
        logits = _precise(prediction)
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
        return {"target": self.target, "classes": self.classes, "weight": self.weight}


Task = Regression | Classification
OBJECTIVES: dict[str, type[Objective]] = {
    "nucleotides": MaskedNucleotides,
    "unifrac": UniFrac,
    "regression": Regression,
    "classification": Classification,
}
"""Names that a run folder, the command line and `pretrain(objectives=[...])` know."""


class ObjectiveError(UserError, ValueError):
    """There is no objective of that name, or it cannot be made again from what was saved."""


def make_objective(name: str, **spec: Any) -> Objective:
    """An objective by its name in `OBJECTIVES`.

    Raises
    ------
    ObjectiveError
        The name, or an argument, is not known.
    """
    if name not in OBJECTIVES:
        raise ObjectiveError(f"{name!r} is not an objective. There are {', '.join(OBJECTIVES)}. Name one of those.")
    try:
        return OBJECTIVES[name](**spec)
    except (TypeError, ValueError) as error:
        raise ObjectiveError(
            f"Objective {name!r} cannot be made from {spec!r} ({error}). Expected what its `spec()` gives."
        ) from error


def class_names(values: pd.Series) -> pd.Series:
    """Classes as text; whole numbers lose their '.0'. Missing stays missing."""
    if is_numeric_dtype(values):
        return values.map(
            lambda v: str(int(v)) if float(v).is_integer() else repr(float(v)), na_action="ignore"
        ).astype(object)
    return values.astype(str).where(values.notna()).astype(object)


def task_for(study: Study, target: str) -> Task:
    """Regression for a numeric column, classification for any other."""
    return Regression(target) if is_numeric_dtype(study.target(target)) else Classification(target)


def _precise(x: Tensor) -> Tensor:
    """In double precision where the device has it; Apple's has not."""
    return x.float() if x.device.type == "mps" else x.double()


def _correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
