"""A network before its first step: its objectives, the weights it starts from, and its reference ASVs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from aam_nb.config import MemoryShortageError, ModelConfig, TrainConfig, cut_list, telling_of_memory
from aam_nb.model.covariates import Covariates
from aam_nb.model.encoder import Encoder, require_few_positions
from aam_nb.model.module import Network
from aam_nb.model.objectives import (
    OBJECTIVES,
    Classification,
    Objective,
    ObjectiveError,
    Task,
    make_objective,
    task_for,
)
from aam_nb.study.splits import refuse_same
from aam_nb.study.study import Study
from aam_nb.study.target_checks import as_names, refuse_target_among, tell_copies, tell_few_samples, tell_near_classes
from aam_nb.train.machine import memory_of

NUM_REFERENCE_ASVS = 64
"""Most ASVs of the first training study that become the encoder's reference."""
REFERENCE_POSITIONS = 2**17
"""Most positions of the reference together."""
COVARIATE_WEIGHTS = ("covariates.", "fusion.")
"""Names of an encoder's weights that belong to the covariates of one fit begin with these."""
ObjectiveT = TypeVar("ObjectiveT", bound=Objective)


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkPlan:
    """What a new network is made from.

    Parameters
    ----------
    objectives
        What it learns; they have no heads yet.
    covariates
        What is known of the metadata columns that samples bring along, None where there are none.
    pretrained
        Weights of a pre-trained encoder, None to start from random ones.
    reference_asvs
        Reference ASVs of the pre-trained encoder.
    """

    objectives: list[Objective]
    covariates: Covariates | None = None
    pretrained: dict[str, Tensor] | None = None
    reference_asvs: tuple[str, ...] = ()

    @telling_of_memory(
        "building the network", "a smaller model, such as `ModelConfig(width=64)`, or a machine with more memory"
    )
    def make_network(self, train: Study, shape: ModelConfig, config: TrainConfig) -> tuple[Network, tuple[str, ...]]:
        """The network, and its reference ASVs: those of the pre-trained encoder, or ASVs of the training samples.

        Raises
        ------
        LengthError
            An ASV has too many positions.
        MemoryShortageError
            Its weights do not fit the memory there is.
        """
        tell_few_samples(train.num_samples, stacklevel=5)
        require_few_positions(shape, int(train.asv_ids.str.len().max()))
        require_room_for_weights(shape, self.covariates, config)
        for objective in self.objectives:
            objective.learn(train)
        uncertainty = config.loss_weighting == "uncertainty"
        network = Network(shape, self.objectives, covariates=self.covariates, uncertainty=uncertainty, seed=config.seed)
        if self.pretrained is None:
            reference_asvs = _choose_reference(train, config.seed, shape)
        else:
            random, reference_asvs = network.encoder.state_dict(), self.reference_asvs
            start = {k: v for k, v in self.pretrained.items() if not k.startswith(COVARIATE_WEIGHTS)}
            network.encoder.load_state_dict(random | start)
        network.encoder.asv.set_reference(reference_asvs)
        return network, reference_asvs


def require_room_for_weights(shape: ModelConfig, covariates: Covariates | None, config: TrainConfig) -> None:
    """Refuse an encoder whose training needs more memory than there is, before any is asked for.

    Raises
    ------
    MemoryShortageError
        Its weights, their gradients, what the optimizer keeps of them and the copy of the best epoch do not fit.
    """
    copies, room = {"adamw": 5, "adam": 5, "sgd": 4}[config.optimizer], memory_of(torch.device("cpu")).limit
    if covariates is None and 4 * bound_weights(shape) * copies <= room:
        return  # what torch loads to count without memory takes more than a second
    with torch.device("meta"):
        num = sum(weights.numel() for weights in Encoder(shape, covariates).parameters())
    needed = 4 * num * copies
    if config.device != "cpu" and torch.cuda.is_available():
        room = max(room, memory_of(torch.device("cuda")).limit)
    if needed <= room:
        return
    raise MemoryShortageError(
        f"width is {shape.width}, num_layers {shape.num_layers}: the encoder has {num:,} weights, and training them takes at least "
        f"{needed / 2**30:,.1f} GiB. Expected at most the {room / 2**30:.1f} GiB of memory that there are. Use a smaller model, such as "
        "`ModelConfig(width=64, num_layers=2)`."
    )


def bound_weights(shape: ModelConfig) -> int:
    """More weights than an encoder of this shape has, without covariates.

    A block has 12 width² and 13 width; there are as many in each stage as layers, and one a scale. Pools, abundance and norms have
    fewer than two blocks, a merge of scales as many width² as it has positions, and learned places a width each.
    """
    blocks = 2 * shape.num_layers + len(shape.scales) + 2
    positions = 16 * shape.scales[0] + len(shape.scales) * shape.learned_length
    return shape.width * (blocks * 13 * (shape.width + 1) + sum(shape.scales) * shape.width + positions + 100)


def choose_objectives(objectives: Sequence[str | Objective]) -> list[Objective]:
    """The objectives of a pre-training, made from their names, or as given.

    Raises
    ------
    ObjectiveError
        There are none, one is not known, or one is there twice.
    """
    if isinstance(objectives, str):
        raise ObjectiveError(
            f"objectives is the text {objectives!r}. Expected a list. Use `objectives=[{objectives!r}]`."
        )
    chosen = [_without_head(o) if isinstance(o, Objective) else make_objective(o) for o in objectives]
    if not chosen:
        raise ObjectiveError(
            "There are no objectives. Pre-training needs one. Use `objectives=['unifrac', 'nucleotides']`."
        )
    names = [o.name for o in chosen]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ObjectiveError(
            f"{cut_list(sorted(repeated))} is among the objectives more than once. Expected each once. Leave one out."
        )
    return chosen


def choose_task(train: Study, target: str | Sequence[str] | Task) -> tuple[Task, Study]:
    """The task of a fit, and the samples that have a value of any of its targets."""
    task = _without_head(target) if isinstance(target, Task) else task_for(train, target)
    has_value = np.logical_or.reduce([train.target(name).notna().to_numpy() for name in task.targets])
    return task, train if has_value.all() else train.keep_samples(has_value)


def learn_covariates(train: Study, task: Task, covariates: Sequence[str]) -> Covariates | None:
    """What a study says of some metadata columns; a text is one column.

    Raises
    ------
    TargetError, SplitError
        A target of the task is among them, or is the group of the study's split.
    """
    columns = as_names(covariates, "covariates")
    refuse_target_among(task.targets, columns)
    group = train.split_info.group if train.split_info is not None else None
    if group in train.metadata.columns:
        for target in task.targets:
            refuse_same(train.column(target), train.column(str(group)))
    learned = Covariates.learn(train, columns) if columns else None
    tell_copies(train.metadata, task.targets, columns, stacklevel=5)
    if isinstance(task, Classification):
        tell_near_classes(train.column(task.target), stacklevel=5)
    return learned


def objective_spec(objective: Objective) -> dict[str, Any]:
    """What `make_objective` makes the objective again from.

    Raises
    ------
    ObjectiveError
        It is not in `OBJECTIVES`.
    """
    kind = type(objective)
    if kind not in OBJECTIVES.values():
        raise ObjectiveError(
            f"{kind.__name__} is not a known objective, so it could not be loaded again. Expected one of {', '.join(OBJECTIVES)}. Add it: "
            f"`aam_nb.model.objectives.OBJECTIVES['my_name'] = {kind.__name__}`."
        )
    return {"name": next(name for name, of_name in OBJECTIVES.items() if of_name is kind), **objective.spec()}


def _without_head(objective: ObjectiveT) -> ObjectiveT:
    """The objective, or a copy where it has its head already, since that may be another model's."""
    return copy.deepcopy(objective) if any(True for _ in objective.parameters()) else objective


def _choose_reference(study: Study, seed: int, shape: ModelConfig) -> tuple[str, ...]:
    """ASVs drawn at random from those that the study's samples have; fewer where they are long, since each step encodes them."""
    present = study.asv_ids[study.prevalence.to_numpy() > 0]
    positions = -(-int(present.str.len().max()) // shape.scales[-1])
    most = max(8, min(NUM_REFERENCE_ASVS, REFERENCE_POSITIONS // positions))
    drawn = np.random.default_rng(seed).permutation(len(present))[:most]
    return tuple(present[np.sort(drawn)])
