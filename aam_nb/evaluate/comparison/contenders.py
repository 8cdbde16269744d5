"""Who can be compared: our model by a recipe, its ablations, and the baselines, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aam_nb.baselines.fit import BASELINES
from aam_nb.config import ModelConfig, TargetConfig, TrainConfig, UserError, from_dict
from aam_nb.model.objectives import OBJECTIVES, Classification, Regression, Task, make_objective
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

OURS = {
    "aam": "our model",
    "aam_no_pretraining": "the same from random weights",
    "aam_no_abundance": "the same with one read of every ASV that a sample holds",
    "aam_ids_only": "the same with each ASV's DNA replaced by random DNA: which ASV it is stays, similarity of sequences goes",
}
"""Our model and its ablations."""
NEED_TREE = ("unifrac", "faith_pd")
"""How objectives that need a tree begin."""
RESERVED = ("truth", "fold", "repeat", "contender", "sample_id")
"""Names that the columns of a result have already."""


class ContenderError(UserError, ValueError):
    """There is no such contender, or it cannot take part."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How our model is made in each fold.

    Parameters
    ----------
    model
        Shape of the network.
    pretrain
        How it is pre-trained on the training side, None for not at all.
    objectives
        Of the pre-training: names, or what `spec()` of an objective gives, with its name.
    fit
        How it is fitted.
    covariates
        Metadata columns it takes beside those that all contenders get.
    head
        Settings of the target, None for the defaults.
    quantiles
        Whether quantiles are predicted; the middle one is judged.

    Examples
    --------
    >>> import aam_nb as aam
    >>> recipe = aam.Recipe(model=aam.ModelConfig(width=16, num_layers=1), pretrain=None, covariates=("season",))
    >>> recipe.objectives
    ('unifrac', 'nucleotides')
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    pretrain: TrainConfig | None = field(default_factory=TrainConfig)
    objectives: tuple[str | dict[str, Any], ...] = ("unifrac", "nucleotides")
    fit: TrainConfig = field(default_factory=TrainConfig)
    covariates: tuple[str, ...] = ()
    head: TargetConfig | None = None
    quantiles: bool = False

    @classmethod
    def of(cls, model: AAM) -> Recipe:
        """How a model was made. What is not known of one that was never trained is the default; its weights are not used."""
        trained = {
            s: from_dict(TrainConfig, model.record[s]["config"]) for s in ("pretrain", "fit") if s in model.record
        }
        fresh = not trained
        return cls(
            model=model.config,
            pretrain=TrainConfig() if fresh else trained.get("pretrain"),
            objectives=_objectives(model),
            fit=trained.get("fit", TrainConfig()),
            covariates=tuple(model.covariates.names) if model.covariates else (),
            head=model.task.config if model.task else None,
            quantiles=model.task is not None and type(model.task).__name__ == "Quantiles",
        )

    def task(self, target: str, *, classes: bool) -> Task:
        """A task that has learned nothing."""
        kind = "classification" if classes else "quantiles" if self.quantiles else "regression"
        task = make_objective(kind, target=target, **({"config": self.head} if self.head else {}))
        assert isinstance(task, Regression | Classification)
        return task


def _objectives(model: AAM) -> tuple[str | dict[str, Any], ...]:
    """Of the pre-training: as recorded, or by their columns in the history."""
    if recorded := model.record.get("pretrain", {}).get("objectives"):
        return tuple(recorded)
    history = model.history
    if "pretrain" not in model.record or "stage" not in history:
        return Recipe.objectives
    rows = history[history["stage"] == "pretrain"]
    names = [c.removeprefix("train_") for c in map(str, rows) if c.startswith("train_") and rows[c].notna().any()]
    return tuple(n for n in names if n in OBJECTIVES and not issubclass(OBJECTIVES[n], Task)) or Recipe.objectives


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One model of a comparison.

    Parameters
    ----------
    name
        What tables call it.
    kind
        One of `OURS` or `BASELINES`.
    recipe
        Of ours.
    """

    name: str
    kind: str
    recipe: Recipe | None = None

    @property
    def ours(self) -> bool:
        return self.kind in OURS

    def spec(self) -> dict[str, Any]:
        """All that makes it, as JSON; two of the same spec are the same contender by whatever name."""
        return {"kind": self.kind, "recipe": asdict(self.recipe) if self.recipe else None}


def make_contenders(
    given: Sequence[str | AAM] | Mapping[str, str | AAM], recipe: Recipe, study: Study
) -> tuple[list[Contender], list[str]]:
    """The contenders named, and what the reader must know of them.

    Raises
    ------
    ContenderError
        A name is not known, is given twice, or asks for a tree that the study lacks; there is none at all.
    """
    if isinstance(given, str | AAM):
        given = [given]
    named = [*given.items()] if isinstance(given, Mapping) else [(_name(g), g) for g in given]
    contenders, notes, taken = [], [], set[str]()
    for name, model in named:
        if not isinstance(model, AAM) and model not in OURS and model not in BASELINES:
            raise ContenderError(
                f"{model!r} is not a contender. There are {', '.join([*OURS, *BASELINES])}, and models: `aam.AAM(...)`. Name some of those."
            )
        unique, number = name, 1
        while isinstance(model, AAM) and not isinstance(given, Mapping) and unique in taken:
            number += 1
            unique = f"{name}_{number}"
        if unique in taken or unique in RESERVED:
            raise ContenderError(
                f"{unique!r} is the name of two contenders, or a column of the result. Expected a different name for each. Give a dict: "
                "`{'mine': model, ...}`."
            )
        taken.add(unique)
        kind, own = ("aam", Recipe.of(model)) if isinstance(model, AAM) else (model, recipe)
        if isinstance(model, AAM):
            notes += _notes_on_weights(unique, model, study)
        adapted = _adapt_recipe(own, kind, study) if kind in OURS else None
        contenders.append(Contender(name=unique, kind=kind, recipe=adapted))
    if not contenders:
        raise ContenderError(
            "There is nothing to compare. Expected one or more. Try `['aam', 'random_forest', 'dummy']`."
        )
    if any(c.kind == "knn_unifrac" for c in contenders):
        study.require_tree()
    if study.tree is None and any(c.recipe is not None and c.recipe.pretrain is not None for c in contenders):
        notes.append("The study has no tree, so our model was pre-trained without UniFrac.")
    return contenders, notes


def _name(given: str | AAM) -> str:
    return "aam" if isinstance(given, AAM) else str(given)


def _notes_on_weights(name: str, model: AAM, study: Study) -> list[str]:
    if not model.is_trained:
        return []
    seen = int(study.sample_ids.isin(model.seen).sum())
    which_saw = f", which saw {seen} of the {study.num_samples} samples," if seen else ""
    return [
        f"The weights of {name}{which_saw} are not used: its settings are, and it is trained again in each fold, on training samples alone."
    ]


def _adapt_recipe(recipe: Recipe, kind: str, study: Study) -> Recipe:
    """The recipe of an ablation, without objectives that a study without a tree cannot have."""
    if kind == "aam_no_pretraining":
        recipe = replace(recipe, pretrain=None)
    if study.tree is None:
        kept = tuple(o for o in recipe.objectives if not _objective_name(o).startswith(NEED_TREE))
        recipe = replace(recipe, objectives=kept or ("nucleotides",))
    return recipe


def _objective_name(objective: str | dict[str, Any]) -> str:
    return objective if isinstance(objective, str) else str(objective["name"])
