"""Checks of what a comparison is given, before its first fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aam_nb.config import cut_repr
from aam_nb.evaluate.comparison.contenders import Contender
from aam_nb.evaluate.comparison.cross_validation import CompareError
from aam_nb.evaluate.judged_truth import refuse_other_target, refuse_other_truth
from aam_nb.model.objectives import Classification, Task, class_names, task_for
from aam_nb.study.errors import TargetError
from aam_nb.study.study import Study
from aam_nb.study.target_checks import as_names, refuse_target_among, tell_copies, tell_near_classes
from aam_nb.train.estimator import AAM


def check_arguments(study: Study, target: str | Task, covariates: Sequence[str]) -> tuple[Study, Task, tuple[str, ...]]:
    """The study, its target as text where it is to be classes; the task; and the covariates as a tuple.

    Raises
    ------
    CompareError, TargetError, UnknownIdError
        They are not what they must be: see `compare`.
    """
    if not isinstance(study, Study):
        raise CompareError(
            f"The study is {type(study).__name__}. Expected a study, after the contenders. Call `aam.compare(['aam', 'dummy'], study, "
            "target=...)`."
        )
    columns = as_names(covariates, "covariates")
    if isinstance(target, Task) and len(target.targets) == 1:
        task = target
    elif isinstance(target, str):
        task = task_for(study, target)
    else:
        raise TargetError(
            f"target is {cut_repr(target)}. Expected one column. Compare the others by calls of their own."
        )
    refuse_target_among(task.targets, columns)
    for column in (*task.targets, *columns):
        study.column(column)
    tell_copies(study.metadata, task.targets, columns, stacklevel=4)
    if isinstance(task, Classification):
        names = class_names(study.column(task.target))
        tell_near_classes(study.column(task.target), stacklevel=4)
        study = replace(study, metadata=study.metadata.assign(**{task.target: names}))
    return study, task, columns


def check_contenders(contenders: Sequence[Contender], study: Study, target: str, covariates: Sequence[str]) -> None:
    """Refuse contenders whose own covariates hold the target or are not in the study, and tell those that are the target in other words.

    `covariates` are those of all contenders, which `check_arguments` looked at.
    """
    for contender in contenders:
        own = [c for c in (contender.recipe.covariates if contender.recipe else ()) if c not in covariates]
        refuse_target_among([target], own, of=contender.name)
        for column in own:
            study.column(column)
    every = dict.fromkeys(c for contender in contenders if contender.recipe for c in contender.recipe.covariates)
    tell_copies(study.metadata, [target], [c for c in every if c not in covariates], stacklevel=4)


def check_evaluations(given: Sequence[str | AAM] | Mapping[str, str | AAM], study: Study, target: str) -> None:
    """Refuse contenders that were evaluated on samples of the study by another truth: of other units, other classes or another column.

    Parameters
    ----------
    given
        The contenders as `compare` takes them; a model that was loaded brings the evaluation of its run folder.
    study
        All samples that have the target.
    target
        What is compared.

    Raises
    ------
    JudgedTruthError
        There is one; the message names a sample with both values.
    """
    named = given.items() if isinstance(given, Mapping) else ((None, model) for model in given)
    for name, model in named:
        evaluation = model.evaluation if isinstance(model, AAM) else None
        if evaluation is None or not isinstance(model, AAM):
            continue
        of = f"the evaluation of {name!r}" if name else f"the evaluation of {model!r}"
        remedy = (
            "Give the study that it was fitted to, or fit it again. For its settings alone, use the contender 'aam' with "
            "`recipe=aam.Recipe.of(model)`."
        )
        if target not in model.require_task().targets:
            refuse_other_target(evaluation, study, target=target, of=of, remedy=remedy)
        elif evaluation.target == target:
            truth = evaluation.predictions["truth"]
            refuse_other_truth(truth, study, target=target, of=of, remedy=remedy)
