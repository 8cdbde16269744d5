"""Is it any good? Our model, its ablations and simpler models on the same folds, with intervals and tests of their differences."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.config import CompareConfig, cut_list, cut_repr, make_config
from aam_nb.evaluate.baselines import labels
from aam_nb.evaluate.comparison.contenders import Contender, Recipe, contenders_of
from aam_nb.evaluate.comparison.cross_validation import CompareError, Fold, make_jobs, require_place, run_jobs, sides_of
from aam_nb.evaluate.comparison.fitting import Setting
from aam_nb.evaluate.comparison.judged import (
    FoldPredictions,
    difference_table,
    fold_table,
    intervals,
    prediction_tables,
    score_table,
)
from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.evaluate.comparison.significance import Exchange, permutation_null
from aam_nb.evaluate.leaks import find_in_folds
from aam_nb.model.objectives import class_names, task_for
from aam_nb.study.confounding import SplitWarning, describe_confounding
from aam_nb.study.errors import TargetError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

FEW_SAMPLES, FEW_OF_CLASS, FEW_GROUPS = 50, 10, 5
"""Below these a comparison says little."""
NARROW = 20
"""Groups below which percentile intervals are too narrow."""


def compare(
    contenders: Sequence[str | AAM] | Mapping[str, str | AAM],
    study: Study,
    *,
    target: str,
    group: str | None = None,
    covariates: Sequence[str] = (),
    recipe: Recipe | None = None,
    config: CompareConfig | None = None,
    out: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Comparison:
    """Judge models on the same folds, each fitted anew in every fold to its training side alone.

    Parameters
    ----------
    contenders
        Names: "aam" (ours, made by `recipe`), its ablations "aam_no_pretraining", "aam_no_abundance" and "aam_ids_only", and the
        baselines "dummy", "depth_only", "group_lookup", "random_forest", "gradient_boosting", "ridge_clr" ("logistic_clr" is the same),
        "elastic_net", "knn_unifrac", "svm". Models (`aam.AAM`) are templates: shape and settings are taken, weights are not, since they
        saw samples that some fold tests. A dict gives them names.
    study
        All samples; those without the target are left out.
    target
        The metadata column: numbers are regressed, text is classified.
    group
        Metadata column whose values are held out whole, in the folds, in the tuning of the baselines, and in the bootstrap.
    covariates
        Metadata columns known of every sample. All that look at a sample's ASVs get them too, so that the fight stays fair.
    recipe
        How "aam" and its ablations are made.
    config, **settings
        Fields of `CompareConfig`: `scheme`, `folds`, `repeats`, `tune`, `inner_folds`, `num_trees`, `feature_prevalence`, `num_resamples`,
        `confidence`, `num_permutations`, `block`, `jobs`, `seed`.
    out
        Folder that keeps each fit as soon as it is done, and the result. The same call goes on from there after Ctrl-C or a crash. Fits
        of any comparison may share it; the result there is the last one.
    progress
        Whether to show a progress bar.

    Returns
    -------
    `Comparison`.

    Raises
    ------
    ContenderError
        A contender is not known, or cannot take part.
    CompareError
        The folds cannot be fold_predictions, or a contender cannot be fitted.
    NotWrittenError
        `out` cannot be written to.
    UnknownIdError, TargetError, SplitError, EmptySampleError, MissingTipError, ConfigError, BlockError
        The study or a setting does not suit.

    References
    ----------
    Corrected resampled t-test: Nadeau & Bengio 2003, Machine Learning 52:239. Adjusted by Holm 1979, Scand. J. Statist. 6:65.
    """
    config = make_config(CompareConfig, config, settings)
    if not isinstance(target, str):
        raise TargetError(
            f"target is {cut_repr(target)}. Expected one column. Compare the others by calls of their own."
        )
    if not isinstance(study, Study):
        raise CompareError(
            f"The study is {type(study).__name__}. Expected a study, after the contenders. Call `aam.compare(['aam', 'dummy'], study, "
            "target=...)`."
        )
    covariates = (covariates,) if isinstance(covariates, str) else tuple(covariates)
    if target in covariates:
        raise CompareError(
            f"{target!r} is both target and covariate, so every contender would be told what it is to predict. Expected other columns. "
            "Leave it out of `covariates`."
        )
    task = task_for(study, target)
    known = study.keep_samples(study.target(target).notna())
    known.require_reads()
    for column in (*covariates, *([config.block] if config.block else [])):
        known.column(column)
    chosen, notes = contenders_of(contenders, recipe or Recipe(), known)
    if known.num_samples < study.num_samples:
        notes.append(f"{study.num_samples - known.num_samples} samples have no value of {target!r} and were left out.")
    classes = None if task.kind == "regression" else tuple(sorted(class_names(known.column(target)).unique()))
    setting = Setting(target=target, classes=classes, group=group, covariates=covariates, config=config)
    folds, said = _folds(known, setting)
    _refuse_lone_classes(known, folds, setting)
    exchange = _exchange(known, setting)
    place = None if out is None else require_place(Path(out))
    jobs = make_jobs(known, chosen, folds, setting)
    done = run_jobs(known, jobs, setting, out=place, progress=progress)
    fold_predictions = FoldPredictions(known, setting, folds, jobs, done)
    result = _result(
        fold_predictions,
        chosen,
        exchange,
        progress,
        [*said, *notes, *_small(fold_predictions), *_of_fits(fold_predictions)],
    )
    if place is not None:
        result.save(place)
    return result


def _folds(study: Study, setting: Setting) -> tuple[list[Fold], list[str]]:
    """All folds of all repeats, and what the splits warn of."""
    config, target, group = setting.config, setting.target, setting.group
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SplitWarning)
        for repeat in range(config.repeats):
            if config.scheme == "leave_one_group_out":
                if group is None:
                    raise CompareError(
                        "scheme is 'leave_one_group_out' and there is no group. Expected the column whose values are left out. Add "
                        "`group='study'` (`--group study`)."
                    )
                pairs = study.leave_one_group_out(group, target=target)
            else:
                pairs = study.folds(config.folds, target=target, group=group, seed=config.seed + repeat)
            for number, (train, test) in enumerate(pairs):
                mask = study.sample_ids.isin(test.sample_ids)
                assert train.split_info is not None
                found.append(Fold(repeat=repeat, number=number, test=mask, split=train.split_info))
    return found, list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, SplitWarning)))


def _refuse_lone_classes(study: Study, folds: Sequence[Fold], setting: Setting) -> None:
    """Each class of a training side needs two samples, or our model cannot be fitted there."""
    if setting.classes is None:
        if any(np.ptp(study.column(setting.target).to_numpy(float)[~f.test]) == 0 for f in folds):
            raise CompareError(
                f"{setting.target!r} is constant on the training side of a fold. Expected it to vary. Ask for fewer folds or another group."
            )
        return
    truth = labels(study, setting.task)
    for fold in folds:
        names, sizes = np.unique(truth[~fold.test].astype(str), return_counts=True)
        if (sizes < 2).any() or len(names) < 2:
            rare = list(names[sizes < 2])
            raise CompareError(
                f"In {fold.name} the training side holds one sample of {cut_list(rare)}, or one class alone. Expected two samples of each "
                "of two classes or more. Choose other folds, or drop rare classes with "
                f"`study.keep_samples(~study.metadata[{setting.target!r}].isin({rare[:5]!r}))`."
            )


def _exchange(study: Study, setting: Setting) -> Exchange:
    group = study.column(setting.group) if setting.group else None
    block = study.column(setting.config.block) if setting.config.block else None
    return Exchange(labels(study, setting.task), group=group, block=block)


def _result(
    fold_predictions: FoldPredictions,
    contenders: Sequence[Contender],
    exchange: Exchange,
    progress: bool,
    notes: list[str],
) -> Comparison:
    setting, config = fold_predictions.setting, fold_predictions.setting.config
    names = [c.name for c in contenders]
    reference = next((c.name for c in contenders if c.ours), names[0])
    folds = fold_table(fold_predictions)
    values = {name: fold_predictions.scores(name) for name in names}
    ends = intervals(fold_predictions, names, reference)
    others = [n for n in names if n != reference]
    once = [sides_of(fold_predictions.study, f) for f in fold_predictions.folds if f.repeat == 0]
    predictions, probabilities = prediction_tables(fold_predictions)
    return Comparison(
        target=setting.target,
        kind=fold_predictions.kind,
        reference=reference,
        scores=score_table(names, values, ends, folds),
        folds=folds,
        predictions=predictions,
        probabilities=probabilities,
        differences=difference_table(fold_predictions, others, reference, values, ends),
        null=permutation_null(
            {n: fold_predictions.guesses(n) for n in names},
            exchange,
            classes=fold_predictions.classes,
            count=config.num_permutations,
            seed=config.seed,
        ),
        num_samples=fold_predictions.study.num_samples,
        group=setting.group,
        num_groups=int(fold_predictions.unit.max()) + 1,
        leaks=find_in_folds(once, setting.task, seed=config.seed, progress=progress),
        notes=tuple(notes),
        config=config,
    )


def _small(fold_predictions: FoldPredictions) -> list[str]:
    """That there is too little to tell much."""
    found, n = [], fold_predictions.study.num_samples
    if told := describe_confounding(fold_predictions.study.metadata, fold_predictions.setting.target):
        found.append(told)
    if n < FEW_SAMPLES:
        found.append(f"{n} samples are few: below {FEW_SAMPLES}, only large differences can be told from chance.")
    if fold_predictions.classes:
        sizes = pd.Series(fold_predictions.truth).value_counts()
        rare = sizes[sizes < FEW_OF_CLASS]
        if len(rare):
            found.append(
                f"{len(rare)} of {len(sizes)} classes have fewer than {FEW_OF_CLASS} samples "
                f"({cut_list([f'{c}: {k}' for c, k in rare.items()])}): their recall, and with it balanced accuracy, rests on a handful."
            )
        lacking = [f.name for f in fold_predictions.folds if len(set(fold_predictions.truth[~f.test])) < len(sizes)]
        if lacking:
            found.append(
                f"The training side lacks a class in {len(lacking)} folds ({cut_list(lacking, 3)}): it is never predicted there."
            )
    if fold_predictions.setting.group and (groups := fold_predictions.unit.max() + 1) < NARROW:
        why = "too few to trust them" if groups < FEW_GROUPS else "so few that they come out too narrow"
        found.append(f"The intervals rest on {groups} values of {fold_predictions.setting.group}: {why}.")
    if not fold_predictions.classes:
        flat = sum(np.ptp(fold_predictions.truth[f.test].astype(float)) == 0 for f in fold_predictions.folds)
        if flat:
            found.append(
                f"In {flat} of {len(fold_predictions.folds)} folds the truth is constant: R² is not defined there, "
                "and left out of `fold_mean`."
            )
    return found


def _of_fits(fold_predictions: FoldPredictions) -> list[str]:
    """What the fits told: columns looked up, and what did not converge."""
    found, columns = [], list[str]()
    failed: dict[str, int] = {}
    for job in fold_predictions.jobs:
        facts = fold_predictions.done[job.key].facts
        if job.contender.kind == "group_lookup":
            columns.append(str(facts.get("column") or "no column, as none may name a group"))
        if not facts.get("converged", True):
            failed[job.contender.name] = failed.get(job.contender.name, 0) + 1
    if columns:
        found.append(f"group_lookup looked up {cut_list(dict.fromkeys(columns))}.")
    of = len(fold_predictions.folds)
    found += [f"{name} stopped before it converged in {k} of {of} folds." for name, k in failed.items()]
    return found
