"""What a model learns: each class is a head with its target, its loss and its metrics.

Add your own by subclassing `Objective`; give an instance to `pretrain(objectives=[...])` or `fit(target=...)`.
"""

from __future__ import annotations

from typing import Any

from aam_nb.config import TargetConfig, UserError, cut_repr, from_dict
from aam_nb.model.objectives.base import Objective, ObjectiveError, Pairwise, class_names, mean_loss
from aam_nb.model.objectives.classification import Classification
from aam_nb.model.objectives.community import Counts, FaithPD, Taxonomy
from aam_nb.model.objectives.distances import BetaDiversity, Contrastive, UniFrac
from aam_nb.model.objectives.nucleotides import MaskedNucleotides
from aam_nb.model.objectives.quantiles import Quantiles
from aam_nb.model.objectives.regression import Regression
from aam_nb.model.objectives.tasks import Task, averaged, task_for

__all__ = [
    "OBJECTIVES",
    "BetaDiversity",
    "Classification",
    "Contrastive",
    "Counts",
    "FaithPD",
    "MaskedNucleotides",
    "Objective",
    "ObjectiveError",
    "Pairwise",
    "Quantiles",
    "Regression",
    "Task",
    "Taxonomy",
    "UniFrac",
    "averaged",
    "class_names",
    "make_objective",
    "mean_loss",
    "task_for",
]

OBJECTIVES: dict[str, type[Objective]] = {
    "nucleotides": MaskedNucleotides,
    "unifrac": UniFrac,
    "beta_diversity": BetaDiversity,
    "contrastive": Contrastive,
    "faith_pd": FaithPD,
    "taxonomy": Taxonomy,
    "counts": Counts,
    "regression": Regression,
    "quantiles": Quantiles,
    "classification": Classification,
}
"""Names that a run folder knows."""
SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"unifrac_{metric}": ("unifrac", {"metric": metric}) for metric in ("weighted_normalized", "generalized")},
    **{metric: ("beta_diversity", {"metric": metric}) for metric in ("braycurtis", "aitchison")},
}
"""Names that `pretrain(objectives=[...])` and the command line know beside those."""


def make_objective(name: str, **spec: Any) -> Objective:
    """An objective by its name in `OBJECTIVES`, from what its `spec()` gives.

    Raises
    ------
    ObjectiveError, ConfigError
        The name, or an argument, is not known or cannot be used.
    """
    short = isinstance(name, str) and name in SHORT
    kind, settings = SHORT[name] if short else (name, {})
    spec = settings | spec
    if not isinstance(kind, str) or kind not in OBJECTIVES:
        names = ", ".join([*(n for n, k in OBJECTIVES.items() if not issubclass(k, Task)), *SHORT])
        raise ObjectiveError(f"{cut_repr(kind)} is not an objective. There are {names}. Name one of those.")
    if issubclass(OBJECTIVES[kind], Task) and "target" not in spec:
        raise ObjectiveError(
            f"{name!r} cannot be made without a target. It predicts a column, and belongs to `fit`. Use `model.fit(study, target='age')`."
        )
    try:
        if isinstance(spec.get("config"), dict):
            spec = spec | {"config": from_dict(TargetConfig, spec["config"])}
        return OBJECTIVES[kind](**spec)
    except UserError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise ObjectiveError(
            f"Objective {name!r} cannot be made from {cut_repr(spec)} ({error}). Expected what its `spec()` gives."
        ) from error
