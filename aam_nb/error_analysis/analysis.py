"""Error analysis: where a model errs, by how much, for which kinds of samples, and whether it knows.

`aam.errors(result, study)` starts from an `Evaluation`, and asks of the same samples what the scores leave out.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aam_nb.config import (
    ErrorsConfig,
    cut_list,
    format_interval,
    format_number,
    format_score,
    format_signed,
    make_config,
    telling_of_memory,
    to_one_line,
)
from aam_nb.error_analysis.calibration import (
    FEW,
    Calibration,
    calibrate_classes,
    calibrate_numbers,
    conformal_classes,
    conformal_numbers,
)
from aam_nb.error_analysis.confusion import (
    SUSPECTS,
    count_confusions,
    find_suspect_classes,
    find_suspect_numbers,
    list_confused_pairs,
    score_classes,
)
from aam_nb.error_analysis.learning_curve import make_learning_curve
from aam_nb.error_analysis.samples import ErrorInputs, attribute_samples, find_neighbours, make_sample_table
from aam_nb.error_analysis.slices import find_associations, find_slices
from aam_nb.evaluate.metrics import METRICS, Evaluation
from aam_nb.study.columns import number_groups
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from aam_nb.train.estimator import AAM

FACTS = ("depth", "richness", "faith_pd", "dominance", "distance")
"""Columns that describe each sample without metadata."""
FEW_GROUPS = 20
"""Groups below which percentile intervals are too narrow."""


@dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """Where a model errs. Tables that do not apply, or for which something was missing, are empty or None, and `notes` says why.

    Parameters
    ----------
    target, kind
        The metadata column; "regression" or "classification".
    group, num_groups
        Column whose values were resampled and permuted whole, None where samples were; and how many.
    samples
        Indexed by sample id: `truth`, `prediction`, `error` (absolute, in the target's units; of classes 1 - p(truth), 0 to 1),
        `residual` (truth - prediction, of numbers), `depth` (reads), `richness` (ASVs), `faith_pd` (branch length), `dominance` (share of
        the commonest ASV), `distance` (mean Euclidean distance of the embedding to the nearest training samples),
        `distance_percentile` (per cent of the training samples that lie nearer to the others, of other groups) and `outside` (99 or more).
    associations
        Errors against metadata and other columns; see `slices.find_associations`.
    slices
        Kinds of samples by excess error; see `slices.find_slices`.
    neighbours
        Training samples nearest to the worst samples: `space` ("embedding" or "unifrac", which is unweighted), `rank`, `neighbour`,
        `neighbour_truth`, `distance`.
    attributions
        The strongest ASVs of each of the worst samples: `output` (what is explained), `asv_id`, `attribution` (target's units, or
        log-odds).
    confusion, per_class, confused_pairs
        Of classes: counts by true (rows) and predicted class, precision, recall, F1 and support, and the pairs that confuse.
    calibration
        See `calibration.Calibration`.
    conformal
        Split conformal intervals or sets with their coverage; see `calibration.conformal_numbers`.
    learning_curve
        Scores by share of the training samples, where `learning_curve` asks for it; see `learning_curve.make_learning_curve`.
    suspects
        Judged samples whose label may be wrong, since the model and the random forest agree that it is: a question, not a verdict.
    notes
        What was left out, and what the reader must know.
    config
        Settings.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=60, n_asvs=80, seed=0)
    >>> train, test = study.split(target="age", group="host_id", seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> _ = model.fit(train, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> result = model.evaluate(test, baselines=["dummy"])
    >>> analysis = aam.errors(result, study, attributions=False, num_permutations=99)
    >>> list(analysis.associations.columns)
    ['outcome', 'column', 'kind', 'effect', 'n', 'p', 'p_adjusted']
    >>> len(analysis.samples) == test.num_samples
    True
    """

    target: str
    kind: str
    group: str | None
    num_groups: int
    samples: pd.DataFrame
    associations: pd.DataFrame
    slices: pd.DataFrame
    neighbours: pd.DataFrame
    attributions: pd.DataFrame
    confusion: pd.DataFrame | None
    per_class: pd.DataFrame | None
    confused_pairs: pd.DataFrame | None
    calibration: Calibration
    conformal: pd.DataFrame
    learning_curve: pd.DataFrame
    suspects: pd.DataFrame
    notes: tuple[str, ...]
    config: ErrorsConfig

    def worst(self, n: int | None = None) -> pd.DataFrame:
        """The samples with the largest error, what lies next to them in training, and the ASVs with the strongest attributions.

        Parameters
        ----------
        n
            How many; by default those that were looked at closely, `num_worst`. Of others the last three columns are missing.

        Returns
        -------
        Indexed by sample id: `truth`, `prediction`, `error`, `distance_percentile` and `outside` where known, `suspect`; and as text
        `near_embedding` and `near_unifrac` ("ID: truth (distance)", nearest first) and `pushed_by` ("attribution ASV", strongest first).
        The tables `neighbours` and `attributions` hold the same as numbers.
        """
        order = self.samples.sort_values("error", ascending=False, kind="stable")
        head = order.head(self.config.num_worst if n is None else n)
        kept = ["truth", "prediction", "error", "distance_percentile", "outside"]
        table = head[[c for c in kept if c in head]].assign(suspect=head.index.isin(self.suspects.index))
        for space in ("embedding", "unifrac"):
            near = self.neighbours[self.neighbours["space"] == space]
            text = [
                f"{to_one_line(str(i))}: {_short(t)} ({format_number(d)})"
                for i, t, d in zip(near["neighbour"], near["neighbour_truth"], near["distance"], strict=True)
            ]
            table[f"near_{space}"] = _joined(text, near.index, table.index)
        top = self.attributions
        text = [f"{format_signed(a)} {i}" for a, i in zip(top["attribution"], top["asv_id"], strict=True)]
        return table.assign(pushed_by=_joined(text, top.index, table.index))

    def to_frame(self) -> pd.DataFrame:
        """The slices, the worst first."""
        return self.slices

    def plot(self) -> Any:
        """An overview; a matplotlib Figure."""
        from aam_nb.show.plots.errors import errors as plot_errors

        return plot_errors(self)

    def __repr__(self) -> str:
        by = f", {self.num_groups} of {self.group}" if self.group else ""
        worse = int(self.slices["worse"].sum())
        outside = (
            f", {int(self.samples['outside'].sum())} outside the training data" if "outside" in self.samples else ""
        )
        error = format_number(self.samples["error"].mean())
        return to_one_line(
            f"ErrorAnalysis({self.target}, {len(self.samples)} samples{by}: mean error {error}, {worse} of "
            f"{len(self.slices)} slices worse than the rest{outside}, {len(self.suspects)} label suspects)"
        )

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(n)}</li>" for n in self.notes)
        shown = self.slices.head(8).drop(columns="columns", errors="ignore")
        return (
            f"<b>{html.escape(repr(self))}</b><p>Slices by excess error</p>"
            f"{shown.to_html(escape=True, index=False, float_format=format_number, na_rep='')}"
            f"<p>Worst samples</p>{self.worst(5).to_html(escape=True, float_format=format_number, na_rep='')}<ul>{notes}</ul>"
        )


@telling_of_memory("analysing errors", "fewer samples or ASVs, or a machine with more memory")
def errors(
    result: Evaluation,
    study: Study,
    *,
    model: AAM | None = None,
    train: Study | None = None,
    config: ErrorsConfig | None = None,
    **settings: Any,
) -> ErrorAnalysis:
    """Analyse the errors of a prediction.

    Parameters
    ----------
    result
        What `model.evaluate(test)` gave.
    study
        Holds the judged samples, and may be the whole study.
    model
        The model that was judged; by default the one that the result carries. A result loaded from disk carries none.
    train
        The model's training samples; by default those in `study`, or those that the model keeps.
    config, **settings
        Fields of `ErrorsConfig`, such as `min_slice`, `num_worst`, `attributions`, `levels` and `learning_curve`.

    Returns
    -------
    `ErrorAnalysis`. Parts whose input is missing are left out; a note says what to give. If the result counts whole groups, intervals
    and p-values do too.

    Raises
    ------
    ErrorsError, JudgedTruthError
        Judged samples are not in the study, or have another value of the target there.
    UnknownIdError
        The model does not predict the result's target.
    ConfigError
        A setting cannot be used.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=60, n_asvs=80, seed=0)
    >>> train, test = study.split(target="age", group="host_id", seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> _ = model.fit(train, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> result = model.evaluate(test, baselines=["dummy"])
    >>> analysis = aam.errors(result, study, attributions=False, num_permutations=99)
    >>> analysis.worst(2).shape
    (2, 9)
    """
    config = make_config(ErrorsConfig, config, settings)
    inputs = ErrorInputs.of(result, study, model=model, train=train, config=config)
    inputs.notes += _note_guessing(result)
    # Every judged sample, then which of them are worse.
    samples = make_sample_table(inputs)
    if (groups := int(inputs.unit.max()) + 1) < FEW_GROUPS:
        inputs.notes.append(
            f"Intervals rest on {groups} {inputs.result.group or 'samples'}. From so few they are too narrow: rely on the p-values."
        )
    associations, slices = _describe_errors(inputs, samples)
    # The worst samples: their neighbours in training, and their attributions.
    worst = samples.sort_values("error", ascending=False, kind="stable").index[: config.num_worst]
    neighbours, attributions = find_neighbours(inputs, worst), attribute_samples(inputs, worst)
    # Whether the model knows when it errs, would learn from more samples, or was judged by wrong labels.
    calibration, conformal = _calibrate(inputs, samples)
    curve, suspects = _learning_curve(inputs), _suspects(inputs, samples)
    names = samples["truth"].to_numpy(object), samples["prediction"].to_numpy(object)
    return ErrorAnalysis(
        target=result.target,
        kind=result.kind,
        group=result.group if result.group in inputs.test.metadata.columns else None,
        num_groups=groups,
        samples=samples,
        associations=associations,
        slices=slices,
        neighbours=neighbours,
        attributions=attributions,
        confusion=None if inputs.regression else count_confusions(*names),
        per_class=None if inputs.regression else score_classes(*names),
        confused_pairs=None if inputs.regression else list_confused_pairs(samples["truth"], samples["prediction"]),
        calibration=calibration,
        conformal=conformal,
        learning_curve=curve,
        suspects=suspects,
        notes=tuple(dict.fromkeys(inputs.notes)),
        config=config,
    )


def _note_guessing(result: Evaluation) -> list[str]:
    """That the model may know nothing, so that its errors are those of a guess."""
    metric, guess = METRICS[result.kind][0], result.guessing
    row = result.row(metric)
    interval = format_interval(row["value"], row["low"], row["high"], decimals=2)
    if result.beats_guessing:
        return []
    return [
        f"The model is not shown to do better than guessing ({metric} {interval} against "
        f"{format_score(guess, 2)}). Errors of a guess follow the target alone: slices, label suspects and attributions then say little."
    ]


def _describe_errors(inputs: ErrorInputs, samples: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Associations and slices."""
    facts = samples[[c for c in FACTS if c in samples]]
    taken = {*samples.columns}
    metadata = inputs.test.metadata.rename(columns=lambda c: f"{c} (metadata)" if c in taken else str(c))
    target = inputs.result.target if inputs.result.target not in taken else f"{inputs.result.target} (metadata)"
    columns = pd.concat(
        [samples[["truth", "prediction"]], facts, metadata.drop(columns=target, errors="ignore")], axis=1
    )
    if inputs.result.group in columns.columns:
        columns = columns.drop(columns=inputs.result.group)
        inputs.notes.append(
            f"{inputs.result.group} is what is resampled whole, so it has slices but no association: every permutation keeps it."
        )
    outcomes = samples[["residual", "error"]] if inputs.regression else samples[["error"]]
    associations, skipped = find_associations(columns, outcomes, inputs.unit, inputs.config, progress=inputs.progress)
    if skipped:
        inputs.notes.append(
            f"{len(skipped)} {'column is' if len(skipped) == 1 else 'columns are'} constant or different in nearly every sample, and "
            f"{'has' if len(skipped) == 1 else 'have'} no association: {cut_list(skipped, 8)}."
        )
    if inputs.regression:
        inputs.notes.append(
            f"Predictions lie nearer to the mean than truth does, so residuals follow {inputs.result.target}, and errors grow towards its "
            "ends, by arithmetic alone: read those associations and slices against that."
        )
    by = facts.drop(columns="richness") if "faith_pd" in facts else facts
    slices, slice_notes = find_slices(
        pd.concat([by, metadata], axis=1),
        samples["error"].to_numpy(float),
        inputs.unit,
        inputs.config,
        progress=inputs.progress,
    )
    inputs.notes += slice_notes
    return associations, slices


def _calibrate(inputs: ErrorInputs, samples: pd.DataFrame) -> tuple[Calibration, pd.DataFrame]:
    valid, config = inputs.validation(), inputs.config
    if valid is not None:
        _warn_of_validation(inputs, valid)
    error = samples["error"].to_numpy(float)
    if inputs.regression:
        valid_error = None if valid is None else np.abs((valid["truth"] - valid["prediction"]).to_numpy(float))
        calibration = calibrate_numbers(inputs.result.predictions, valid_error, inputs.unit, config)
        if valid_error is None:
            return calibration, pd.DataFrame()
        conformal, notes = conformal_numbers(error, valid_error, inputs.unit, config)
    else:
        truth, p_nC = inputs.numbers(samples["truth"]), inputs.chances()
        valid_classes = None if valid is None else (inputs.numbers(valid["truth"]), inputs.chances(valid))
        calibration = calibrate_classes(truth, p_nC, valid_classes, config)
        if valid_classes is None:
            return calibration, pd.DataFrame()
        conformal, notes = conformal_classes(truth, p_nC, valid_classes, inputs.unit, config)
    inputs.notes += notes
    return calibration, conformal


def _warn_of_validation(inputs: ErrorInputs, valid: pd.DataFrame) -> None:
    """Note how far what is fitted to the validation samples can be trusted."""
    n, group = len(valid), inputs.result.group
    inputs.notes.append(
        f"Calibration and conformal bounds are fitted to {n} validation samples, which also chose the best epoch: they are slightly "
        "optimistic." + (f" {n} are few: expect measured coverage to differ from the level." if n < FEW else "")
    )
    if inputs.train is not None and group in inputs.train.metadata.columns:
        number = int(number_groups(inputs.train.metadata[group].loc[valid.index], n).max()) + 1
        if number < FEW:
            inputs.notes.append(
                f"The validation samples come from {number} {group}. Conformal coverage is guaranteed for samples that are "
                "exchangeable; with few whole groups it can be far off, in either direction."
            )


def _learning_curve(inputs: ErrorInputs) -> pd.DataFrame:
    if not inputs.config.learning_curve:
        return pd.DataFrame()
    if inputs.model is None or inputs.train is None or inputs.task is None:
        inputs.notes.append("There is no learning curve: it needs the model and its training samples.")
        return pd.DataFrame()
    truth = inputs.result.predictions["truth"].to_numpy()
    return make_learning_curve(
        inputs.model, inputs.train, inputs.test, inputs.task, inputs.config, truth=truth, unit=inputs.unit
    )


def _suspects(inputs: ErrorInputs, samples: pd.DataFrame) -> pd.DataFrame:
    predictions = inputs.result.predictions
    if "random_forest" not in predictions:
        inputs.notes.append(
            "Label suspects are left out: they need a second opinion, which the result lacks. Evaluate with it: "
            "`model.evaluate(test, train=train, baselines=('random_forest', 'dummy'))`."
        )
        return pd.DataFrame(columns=list(SUSPECTS), index=predictions.index[:0])
    if inputs.regression:
        return find_suspect_numbers(predictions)
    guessed = pd.Series(inputs.chances().max(1), index=predictions.index)
    return find_suspect_classes(predictions, 1 - samples["error"], guessed)


def _short(value: object) -> str:
    return format_number(value, 4) if isinstance(value, float) else to_one_line(str(value))


def _joined(text: list[str], index: pd.Index, wanted: pd.Index) -> pd.Series:
    """Texts of the same sample in one, by sample; missing where a sample has none."""
    return pd.Series(text, index=index, dtype=object).groupby(level=0, sort=False).agg("; ".join).reindex(wanted)
