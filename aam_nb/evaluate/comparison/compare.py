"""Does our model predict better than simpler ones? All of them on the same folds, with intervals and tests of their differences."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Array, Floats, Ints
from aam_nb.baselines.bounds import tell_bounds
from aam_nb.baselines.predictions import read_target
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config import CompareConfig, count_noun, cut_list, make_config, telling_of_memory
from aam_nb.evaluate.comparison.arguments import check_arguments, check_contenders, check_evaluations
from aam_nb.evaluate.comparison.contenders import Contender, Recipe, make_contenders
from aam_nb.evaluate.comparison.cross_validation import (
    CompareError,
    Fold,
    Job,
    Outcome,
    claimed,
    make_jobs,
    note_other_fits,
    run_jobs,
)
from aam_nb.evaluate.comparison.result import ALPHA, Comparison
from aam_nb.evaluate.comparison.significance import Exchange, corrected_t_test, fold_score, holm, permutation_null
from aam_nb.evaluate.leaks import find_leaks_in_folds
from aam_nb.evaluate.leaks import tell_bounds as tell_bounds_of_leaks
from aam_nb.evaluate.metrics import METRICS, score
from aam_nb.evaluate.resampling import CELLS, draw_groups, percentile_interval, score_resamples
from aam_nb.model.objectives import Task, class_names
from aam_nb.study.columns import number_groups
from aam_nb.study.confounding import SplitWarning, describe_confounding
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

FEW_SAMPLES, FEW_OF_CLASS, FEW_GROUPS = 50, 10, 5
"""Below these a comparison says little."""
NARROW = 20
"""Groups below which percentile intervals are too narrow."""
Intervals = dict[tuple[str, str, str], tuple[float, float]]
"""Bootstrap intervals by ("value" or "difference", contender, metric)."""


@telling_of_memory("comparing models", "`jobs=1`, fewer samples or ASVs, or a machine with more memory")
def compare(  # nine parameters: users type each of them, and the settings are in one config
    contenders: Sequence[str | AAM] | Mapping[str, str | AAM],
    study: Study,
    *,
    target: str | Task,
    group: str | None = None,
    covariates: Sequence[str] = (),
    recipe: Recipe | None = None,
    config: CompareConfig | None = None,
    out: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> Comparison:
    """Compare models on the same folds; in each fold every model is fitted to the training samples only.

    Parameters
    ----------
    contenders
        Names: "aam" (ours, made by `recipe`), its ablations "aam_no_pretraining", "aam_no_abundance" and "aam_ids_only", and the
        baselines "dummy", "depth_only", "group_lookup", "random_forest", "gradient_boosting", "ridge_clr", "elastic_net",
        "knn_unifrac", "svm". Of a model (`aam.AAM`) only shape and settings are used; its weights are not, because they may have seen
        test samples. A dict gives them names.
    study
        All samples; those without the target are left out.
    target
        The metadata column: numbers are regressed; text, and True and False, are classified. Or `aam.Regression(column)` or
        `aam.Classification(column)`, which say so; their settings are those of `recipe.head`.
    group
        Metadata column whose values are held out whole, in the folds, in the tuning of the baselines, and in the bootstrap.
    covariates
        Metadata columns known of every sample. All models that look at a sample's ASVs get them too, so that the comparison is fair.
    recipe
        How "aam" and its ablations are made.
    config, **settings
        Fields of `CompareConfig`: `scheme`, `folds`, `repeats`, `tune`, `inner_folds`, `num_trees`, `feature_prevalence`, `num_resamples`,
        `confidence`, `num_permutations`, `block`, `jobs`, `seed`.
    out
        Folder that keeps each fit as soon as it is done, and the result. The same call continues from there after Ctrl-C or a crash.
        Several comparisons may use the same folder; it holds the result of the last one.
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
        A fold has too few samples of a class to train on, or a contender cannot be fitted.
    JudgedTruthError
        A contender was evaluated on these samples by other values of the target, or by another column.
    NotWrittenError
        `out` cannot be written to.
    UnknownIdError, TargetError, SplitError, EmptySampleError, MissingTipError, ConfigError, BlockError
        The study lacks a column, values, reads, a tree or enough groups; a setting cannot be used.

    References
    ----------
    Corrected resampled t-test: Nadeau & Bengio 2003, Machine Learning 52:239. Adjusted by Holm 1979, Scand. J. Statist. 6:65.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=60, n_asvs=80, seed=0)
    >>> result = aam.compare(
    ...     ["ridge_clr", "dummy"], study, target="age", group="host_id", folds=3, tune=False, progress=False
    ... )
    >>> result.contenders
    ['ridge_clr', 'dummy']
    >>> result.value("ridge_clr") > result.value("dummy")
    True
    """
    config = make_config(CompareConfig, config, settings)
    study, task, covariates = check_arguments(study, target, covariates)
    target = task.target
    labelled = study.keep_samples(study.target(target).notna())
    labelled.require_reads()
    for column in (*covariates, *([config.block] if config.block else [])):
        labelled.column(column)
    chosen, notes = make_contenders(contenders, recipe or Recipe(), labelled)
    check_contenders(chosen, labelled, target, covariates)
    check_evaluations([contenders] if isinstance(contenders, AAM) else contenders, labelled, target)
    if labelled.num_samples < study.num_samples:
        notes.append(
            f"Without a value of {target!r}, and left out: {count_noun(study.num_samples - labelled.num_samples, 'sample')}."
        )
    classes = None if task.kind == "regression" else tuple(sorted(class_names(labelled.column(target)).unique()))
    shared = SharedSettings(target=target, classes=classes, group=group, covariates=covariates, config=config)
    # Everything that can be refused is refused before the first fit.
    folds, split_notes = _make_folds(labelled, target, group, config)
    _refuse_lone_classes(labelled, folds, shared)
    exchange = _exchange(labelled, shared, config)
    with claimed(out) as folder:
        # The fits: each contender in each fold.
        jobs = make_jobs(labelled, chosen, folds, shared)
        outcomes = run_jobs(labelled, jobs, shared, processes=config.jobs, out=folder, progress=progress)
        fold_predictions = FoldPredictions(labelled, shared, config, folds, jobs, outcomes)
        # What they add up to.
        notes = [*split_notes, *notes, *_notes_on_size(fold_predictions), *_notes_on_fits(fold_predictions)]
        notes += note_other_fits(folder, jobs)
        result = _make_result(fold_predictions, chosen, exchange, notes, progress=progress)
        if folder is not None:
            result.save(folder)
        return result


def _make_folds(study: Study, target: str, group: str | None, config: CompareConfig) -> tuple[list[Fold], list[str]]:
    """All folds of all repeats, and what the splits warn of."""
    folds = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SplitWarning)
        for repeat in range(config.repeats):
            if config.scheme == "leave_one_group_out":
                if group is None:
                    raise CompareError(
                        "scheme is 'leave_one_group_out' and there is no group. Expected the column whose values are left out. Add "
                        "`group='study'` (`--group study`)."
                    )
                masks = study.group_masks(group, target=target)
            else:
                masks = study.fold_masks(config.folds, target=target, group=group, seed=config.seed + repeat)
            folds += [Fold(repeat=repeat, number=k, test=m.test, split=m.split) for k, m in enumerate(masks)]
    return folds, list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, SplitWarning)))


def _refuse_lone_classes(study: Study, folds: Sequence[Fold], settings: SharedSettings) -> None:
    """Each class of a training side needs two samples, or our model cannot be fitted there."""
    truth = read_target(study, settings.task)
    if settings.classes is None:
        if any(np.ptp(truth[~f.test]) == 0 for f in folds):
            raise CompareError(
                f"{settings.target!r} is constant on the training side of a fold. Expected it to vary. Ask for fewer folds or another "
                "group."
            )
        return
    for fold in folds:
        names, sizes = np.unique(truth[~fold.test].astype(str), return_counts=True)
        if (sizes < 2).any() or len(names) < 2:
            rare = names[sizes < 2].tolist()
            raise CompareError(
                f"In {fold.name} the training side holds one sample of {cut_list(rare)}, or one class alone. Expected two samples of each "
                "of two classes or more. Choose other folds, or drop rare classes with "
                f"`study.keep_samples(~study.metadata[{settings.target!r}].isin({rare[:5]!r}))` (a larger `--min-class-size`)."
            )


def _exchange(study: Study, settings: SharedSettings, config: CompareConfig) -> Exchange:
    group = study.column(settings.group) if settings.group else None
    block = study.column(config.block) if config.block else None
    return Exchange(read_target(study, settings.task), group=group, block=block)


# -- predictions of all folds -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FoldPredictions:
    """Predictions of all samples by all contenders, put together from the folds."""

    study: Study
    settings: SharedSettings
    config: CompareConfig
    folds: list[Fold]
    jobs: list[Job]
    outcomes: dict[str, Outcome]

    @property
    def classes(self) -> bool:
        """Whether classes were predicted, and not numbers."""
        return self.settings.is_class

    @property
    def kind(self) -> str:
        """ "classification" or "regression"."""
        return "classification" if self.classes else "regression"

    @cached_property
    def truth(self) -> Array:
        """The target of each sample."""
        return read_target(self.study, self.settings.task)

    @cached_property
    def unit(self) -> Ints:
        """Number of each sample's group: what is resampled."""
        group = self.settings.group
        return number_groups(self.study.column(group) if group else None, self.study.num_samples)

    @cached_property
    def repeats(self) -> list[int]:
        """Numbers of the repeats."""
        return sorted({f.repeat for f in self.folds})

    @cached_property
    def frames(self) -> dict[str, list[pd.DataFrame]]:
        """By contender, in each repeat, the out-of-fold prediction of every sample, in the study's order."""
        frames: dict[str, dict[int, list[pd.DataFrame]]] = {}
        for job in self.jobs:
            of_repeat = frames.setdefault(job.contender.name, {}).setdefault(job.fold.repeat, [])
            of_repeat.append(self.outcomes[job.key].prediction)
        ids = self.study.sample_ids
        return {name: [pd.concat(own[r]).loc[ids] for r in self.repeats] for name, own in frames.items()}

    def guesses(self, name: str) -> list[Array]:
        """Predicted numbers or classes of a contender, in each repeat."""
        return [frame[self.settings.target].to_numpy() for frame in self.frames[name]]

    def scores(self, name: str) -> dict[str, float]:
        """Metrics of all samples together, averaged over repeats."""
        by_repeat = [score(self.truth, frame, self.settings.task) for frame in self.frames[name]]
        return {m: float(np.mean([scores[m] for scores in by_repeat])) for m in METRICS[self.kind]}

    def fold_scores(self, name: str) -> Floats:
        """What each fold says of the leading metric."""
        guesses = self.guesses(name)
        spread = 1.0 if self.classes else float(np.var(self.truth.astype(float)))
        return np.array(
            [
                fold_score(self.truth[f.test], guesses[f.repeat][f.test], classes=self.classes, spread=spread)
                for f in self.folds
            ]
        )

    def intervals(self, names: list[str], reference: str) -> Intervals:
        """Bootstrap intervals of values, and of differences from the reference, all of the same resamples."""
        drawn_Rn = draw_groups(self.unit, self.config.num_resamples, self.config.seed)[:, self.unit]
        blocks = np.array_split(drawn_Rn, max(1, drawn_Rn.size // CELLS))
        resampled: dict[str, dict[str, Array]] = {}
        for name in names:
            by_repeat = [
                [score_resamples(self.truth, frame, self.settings.task, block) for block in blocks]
                for frame in self.frames[name]
            ]
            resampled[name] = {
                m: np.mean([np.concatenate([scores[m] for scores in of_blocks]) for of_blocks in by_repeat], axis=0)
                for m in METRICS[self.kind]
            }
        leading = METRICS[self.kind][0]
        values = {("value", n, m): v for n, of_name in resampled.items() for m, v in of_name.items()}
        for name in names:
            values["difference", name, leading] = resampled[reference][leading] - resampled[name][leading]
        ends = {key: percentile_interval(v, self.config.confidence) for key, v in values.items()}
        return {key: (float(low), float(high)) for key, (low, high) in ends.items()}


# -- tables -----------------------------------------------------------------------------------------------------------


def _make_result(
    fold_predictions: FoldPredictions,
    contenders: Sequence[Contender],
    exchange: Exchange,
    notes: list[str],
    *,
    progress: bool,
) -> Comparison:
    settings, config = fold_predictions.settings, fold_predictions.config
    names = [c.name for c in contenders]
    reference = next((c.name for c in contenders if c.ours), names[0])
    folds = fold_table(fold_predictions)
    values = {name: fold_predictions.scores(name) for name in names}
    ends = fold_predictions.intervals(names, reference)
    tests = [f.test for f in fold_predictions.folds if f.repeat == 0]
    predictions, probabilities = prediction_tables(fold_predictions)
    null = permutation_null(
        {n: fold_predictions.guesses(n) for n in names},
        exchange,
        classes=fold_predictions.classes,
        count=config.num_permutations,
        seed=config.seed,
    )
    return Comparison(
        target=settings.target,
        kind=fold_predictions.kind,
        reference=reference,
        scores=score_table(values, ends, folds),
        folds=folds,
        predictions=predictions,
        probabilities=probabilities,
        differences=difference_table(fold_predictions, reference, values, ends),
        null=null,
        num_samples=fold_predictions.study.num_samples,
        group=settings.group,
        num_groups=int(fold_predictions.unit.max()) + 1,
        leaks=find_leaks_in_folds(fold_predictions.study, tests, settings.task, seed=config.seed, progress=progress),
        notes=tuple(notes),
        config=config,
    )


def fold_table(fold_predictions: FoldPredictions) -> pd.DataFrame:
    """`Comparison.folds`: a row per contender, repeat, fold and metric."""
    rows = []
    for job in fold_predictions.jobs:
        outcome, fold = fold_predictions.outcomes[job.key], job.fold
        truth = fold_predictions.truth[fold.test]
        frame = outcome.prediction.loc[fold_predictions.study.sample_ids[fold.test]]
        facts = {k: float(outcome.facts[k]) for k in ("fit_seconds", "predict_seconds", "memory_mb")}
        labels = {"contender": job.contender.name, "repeat": fold.repeat + 1, "fold": str(fold.split.fold)}
        sizes = {"num_train": int((~fold.test).sum()), "num_test": int(fold.test.sum())}
        for metric, value in score(truth, frame, fold_predictions.settings.task).items():
            rows.append(labels | {"metric": metric, "value": value} | sizes | facts)
    return pd.DataFrame(rows)


def score_table(values: dict[str, dict[str, float]], ends: Intervals, folds: pd.DataFrame) -> pd.DataFrame:
    """`Comparison.scores`: a row per contender and metric, from pooled `values`, interval `ends` and the folds."""
    rows = []
    for name, of_name in values.items():
        own = folds[folds["contender"] == name]
        seconds = float((own["fit_seconds"] + own["predict_seconds"]).mean())
        for metric, value in of_name.items():
            within = own.loc[own["metric"] == metric, "value"]
            low, high = ends["value", name, metric]
            rows.append(
                {
                    "contender": name,
                    "metric": metric,
                    "value": value,
                    "low": low,
                    "high": high,
                    "fold_mean": float(within.mean()),
                    "fold_sd": float(within.std()),
                    "seconds": seconds,
                    "memory_mb": float(own["memory_mb"].max()),
                }
            )
    return pd.DataFrame(rows)


def difference_table(
    fold_predictions: FoldPredictions, reference: str, values: dict[str, dict[str, float]], ends: Intervals
) -> pd.DataFrame:
    """`Comparison.differences`: the reference less each other contender, with the corrected test and a verdict."""
    leading = METRICS[fold_predictions.kind][0]
    ratio = float(np.mean([f.test.sum() / (~f.test).sum() for f in fold_predictions.folds]))
    own = fold_predictions.fold_scores(reference)
    rows = []
    for name in values:
        if name == reference:
            continue
        low, high = ends["difference", name, leading]
        p = corrected_t_test(own - fold_predictions.fold_scores(name), ratio)
        difference = values[reference][leading] - values[name][leading]
        rows.append({"contender": name, "metric": leading, "difference": difference, "low": low, "high": high, "p": p})
    table = pd.DataFrame(rows, columns=["contender", "metric", "difference", "low", "high", "p"])
    table["p_holm"] = holm(table["p"].to_numpy(float))
    significant = table["p_holm"] < ALPHA
    apart = (table["low"] > 0) | (table["high"] < 0)
    better, worse = significant & (table["low"] > 0), significant & (table["high"] < 0)
    table["verdict"] = np.select([better, worse, apart], ["better", "worse", "undecided"], "tied")
    return table


def prediction_tables(fold_predictions: FoldPredictions) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions, and probabilities of classes, one repeat below the other."""
    wide, long = [], []
    ids, target = fold_predictions.study.sample_ids, fold_predictions.settings.target
    for r in fold_predictions.repeats:
        fold_names = np.empty(len(ids), dtype=object)
        for f in fold_predictions.folds:
            if f.repeat == r:
                fold_names[f.test] = str(f.split.fold)
        frame = pd.DataFrame({"repeat": r + 1, "fold": fold_names, "truth": fold_predictions.truth}, index=ids)
        guesses = {name: frames[r][target].to_numpy() for name, frames in fold_predictions.frames.items()}
        wide.append(frame.assign(**guesses))
        if fold_predictions.classes:
            for name, frames in fold_predictions.frames.items():
                chances = frames[r].drop(columns=target)
                chances.insert(0, "contender", name)
                chances.insert(0, "repeat", r + 1)
                long.append(chances)
    no_rows = {"repeat": np.empty(0, dtype=np.int64), "contender": pd.Series([], dtype="str", index=ids[:0])}
    return pd.concat(wide), pd.concat(long) if long else pd.DataFrame(no_rows, index=ids[:0])


# -- notes ------------------------------------------------------------------------------------------------------------


def _notes_on_size(fold_predictions: FoldPredictions) -> list[str]:
    """That there is too little to say much."""
    notes, n, truth = [], fold_predictions.study.num_samples, fold_predictions.truth
    folds, group = fold_predictions.folds, fold_predictions.settings.group
    if confounded := describe_confounding(fold_predictions.study.metadata, fold_predictions.settings.target):
        notes.append(confounded)
    if n < FEW_SAMPLES:
        notes.append(
            f"{n} samples are few: below {FEW_SAMPLES}, only large differences can be distinguished from chance."
        )
    if fold_predictions.classes:
        sizes = pd.Series(truth).value_counts()
        rare = sizes[sizes < FEW_OF_CLASS]
        if len(rare):
            notes.append(
                f"{len(rare)} of {len(sizes)} classes have fewer than {FEW_OF_CLASS} samples "
                f"({cut_list([f'{c}: {k}' for c, k in rare.items()])}): their recall, and with it balanced accuracy, rests on few samples."
            )
        lacking = [f.name for f in folds if len(set(truth[~f.test])) < len(sizes)]
        if lacking:
            notes.append(
                f"The training side lacks a class in {count_noun(len(lacking), 'fold')} ({cut_list(lacking, 3)}): there it is never "
                "predicted."
            )
    if group and (groups := fold_predictions.unit.max() + 1) < NARROW:
        why = "too few to trust them" if groups < FEW_GROUPS else "so few that they are too narrow"
        notes.append(f"The intervals rest on {count_noun(int(groups), 'value')} of {group}: {why}.")
    if not fold_predictions.classes:
        constant = sum(np.ptp(truth[f.test].astype(float)) == 0 for f in folds)
        if constant:
            notes.append(
                f"In {constant} of {len(folds)} folds the truth is constant: R² is not defined there, and left out of `fold_mean`."
            )
    return notes


def _notes_on_bounds(fold_predictions: FoldPredictions) -> list[str]:
    """What of a large study the baselines, and the search for leaks, did not see."""
    study = fold_predictions.study
    first = fold_predictions.folds[0]
    facts = {
        job.contender.name: fold_predictions.outcomes[job.key].facts
        for job in fold_predictions.jobs
        if job.fold is first
    }
    notes = tell_bounds(facts, int((~first.test).sum()), study.num_asvs)
    return [*notes, *tell_bounds_of_leaks(study.num_samples, study.num_asvs)]


def _notes_on_fits(fold_predictions: FoldPredictions) -> list[str]:
    """What the fits report: columns looked up, and what did not converge."""
    notes, columns = _notes_on_bounds(fold_predictions), list[str]()
    failed: dict[str, int] = {}
    for job in fold_predictions.jobs:
        facts = fold_predictions.outcomes[job.key].facts
        if job.contender.kind == "group_lookup":
            columns.append(str(facts.get("column") or "no column, as none may name a group"))
        if not facts.get("converged", True):
            failed[job.contender.name] = failed.get(job.contender.name, 0) + 1
    if columns:
        notes.append(f"group_lookup looked up {cut_list(dict.fromkeys(columns))}.")
    total = len(fold_predictions.folds)
    return [*notes, *(f"{name} stopped before it converged in {k} of {total} folds." for name, k in failed.items())]
