"""The report's section on one model: how well it predicts, how it was trained, why it predicts so, where it is wrong, how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aam_nb.config import (
    count_noun,
    format_interval,
    format_number,
    format_score,
    format_signed,
    to_dict,
)
from aam_nb.error_analysis.analysis import errors
from aam_nb.evaluate.metrics import METRICS, Evaluation
from aam_nb.explain import attribute, faithfulness, recovery
from aam_nb.explain.attribution.result import Attributions
from aam_nb.show import plots, widgets
from aam_nb.show.report import provenance
from aam_nb.show.report.pictures import Picture, picture
from aam_nb.show.widgets.attributions_payload import CHECKS
from aam_nb.show.widgets.explorer import Explorer
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.run import as_json

TOP_ASVS = 15
MOST_SAMPLES = 400
"""Test samples explained at most; the page says so when there are more."""
SIDE_NAMES = {"pretrain": "pre-training", "train": "training", "validation": "validation", "test": "the test"}
"""What the samples of each side of a split are used for."""


@dataclass(frozen=True)
class ModelSection:
    """The page's section on one model.

    Parameters
    ----------
    fields
        Values for the template, by name.
    explorers
        The explorers of the section, by name: "attributions", "attention", "errors".
    """

    fields: dict[str, Any]
    explorers: dict[str, Explorer]


def held_out(model: AAM, study: Study) -> Study:
    """The samples of `study` to test a model on: those of its last evaluation or its test side, else all it has not seen.

    Raises
    ------
    UnknownIdError
        There are none.
    """
    evaluated = [] if model.evaluation is None else list(model.evaluation.predictions.index)
    wanted = set(study.sample_ids) & set(evaluated or model.samples.get("test", []))
    if not wanted:
        wanted = set(study.sample_ids) - model.seen
    ids = [i for i in study.sample_ids if i in wanted]
    if not ids:
        raise UnknownIdError(
            f"None of the {study.num_samples} samples can test {model!r}: it has seen them all. Expected the test samples too. Give the "
            "whole study, or new samples."
        )
    return study.keep_samples(ids)


def model_section(model: AAM, study: Study) -> ModelSection:
    """Evaluate and explain one model where that was not done, and put its section together."""
    task, test = model.require_task(), held_out(model, study)
    if model.evaluation is None or set(model.evaluation.predictions.index) != set(test.sample_ids):
        model.evaluate(test, train=model.training_side(study))
    result = model.evaluation
    assert result is not None
    fields = {
        "target": task.target,
        "headline": _headline(result),
        "warnings": [*model.check(test).sentences(), *result.warnings()],
        "split": _split_sentence(model, result),
        "metrics": result.to_frame()
        .rename(index=plots.MODEL_NAMES, columns=plots.METRIC_NAMES)
        .rename_axis(columns=None),
        "confidence": f"{result.config.confidence:.0%}",
        "resampled": f"whole groups of {result.group} ({result.num_groups})" if result.group else "single samples",
        "trained_on": _trained_on(result),
        "score_figures": _score_figures(result),
        "history_figures": _history_figures(model),
        "steps": provenance.steps(model),
        "code": provenance.code(model),
        "config": as_json({"model": to_dict(model.config), **model.record}),
    }
    analysis = errors(result, study, model=model)
    explained, explorers = _explanations(model, test, result, str(analysis.worst(1).index[0]))
    return ModelSection(fields | explained, explorers | {"errors": widgets.errors(analysis, study=study)})


def _trained_on(result: Evaluation) -> str:
    """How many samples the model and the baselines were trained on, which for large studies are not the same."""
    fewest = min((fit["samples"] for fit in result.baseline_fits.values()), default=result.num_train)
    all_of_them = count_noun(result.num_train, "sample")
    if fewest >= result.num_train:
        return f"The model and each baseline were trained on {all_of_them}."
    return f"The model was trained on {all_of_them}, baselines on {fewest:,} of them or more."


def _score_figures(result: Evaluation) -> list[Picture]:
    dots = "Points are scores, lines are bootstrap intervals."
    return [
        picture(plots.metrics(result), "Scores of the model and of the baselines.", dots),
        picture(result.plot(), "Predictions for the test samples.", _prediction_caption(result)),
    ]


def _history_figures(model: AAM) -> list[Picture]:
    kept = "The model keeps the weights of the epoch with the lowest validation loss."
    return [
        picture(plots.history(model.history, stage=s), f"Loss by epoch, {s}.", kept)
        for s in (model.history["stage"].unique() if "stage" in model.history else ())
    ]


def _explanations(
    model: AAM, test: Study, result: Evaluation, worst: str
) -> tuple[dict[str, Any], dict[str, Explorer]]:
    """Attributions of the test samples with their checks, and the attention in the sample with the largest error."""
    explained = test.keep_samples(test.sample_ids[:MOST_SAMPLES])
    target, attributions = model.require_task().target, attribute(model, explained)
    has_planted = test.truth and target in set(test.truth.planted["target"])
    planted = test.truth.asvs(target) if test.truth and has_planted else ()
    checks = faithfulness(attributions, planted=planted, config=CHECKS)
    sample = worst if worst in explained.sample_ids else str(explained.sample_ids[0])
    fields = {
        "attribution_text": _attribution_sentence(attributions, test.num_samples),
        "recovery": str(recovery(attributions, planted)) if planted else "",
        "guessing": not result.beats_guessing,
        "sample": f"{sample}, {'the one with the largest error' if sample == worst else 'the first test sample'}",
        "check_figures": [
            picture(
                checks.plot(),
                "Checks of the attributions.",
                f"Whether the attributions can be trusted, on {_samples(checks.num_samples)}. Checks that need more models to be "
                "fitted were left out of this page.",
            )
        ],
        "unit": attributions.unit,
        "asvs": _asv_rows(attributions, planted),
    }
    explorers: dict[str, Explorer] = {
        "attributions": widgets.attributions(attributions, faithfulness=checks, study=explained),
        "attention": widgets.attention(model, explained, samples=[sample]),
    }
    return fields, explorers


def _headline(result: Evaluation) -> str:
    metric = METRICS[result.kind][0]
    row = result.row(metric)
    interval = format_interval(row["value"], row["low"], row["high"], decimals=2)
    baselines = ", ".join(
        f"{plots.MODEL_NAMES.get(m, m)} {format_score(result.value(metric, m), 2)}" for m in result.models[1:]
    )
    groups = (
        f" from {result.num_groups} {'group' if result.num_groups == 1 else 'groups'} of {result.group}"
        if result.group
        else ""
    )
    unseen = "" if result.num_seen else ", none of which the model was trained on"
    return (
        f"{result.target}: {plots.METRIC_NAMES[metric]} {interval} on "
        f"{_samples(len(result.predictions))}{groups}{unseen}" + (f". Baselines: {baselines}." if baselines else ".")
    )


def _split_sentence(model: AAM, result: Evaluation) -> str:
    sizes = {side: len(ids) for side, ids in model.samples.items()} | {"test": len(result.predictions)}
    counts = ", ".join(f"{n:,} for {SIDE_NAMES.get(side, side)}" for side, n in sizes.items())
    rule = (
        f"All samples with the same {result.group} are on the same side of the split."
        if result.group
        else "Samples were split one by one, not by group."
    )
    return f"Samples: {counts}. {rule}"


def _attribution_sentence(attributions: Attributions, num_test: int) -> str:
    n = len(attributions.sample_ids)
    first = "" if n == num_test else f" (the first {n} of {num_test})"
    return (
        f"Integrated gradients of {_samples(n)}{first}, from a sample without ASVs to the sample itself. The attributions of a sample "
        "sum to its prediction minus the prediction for the empty sample; the largest gap is "
        f"{attributions.largest_gap:.2%} of that difference, or of the difference in a typical sample if that is larger."
    )


def _prediction_caption(result: Evaluation) -> str:
    if result.kind == "regression":
        return "One point per test sample. On the dashed line, prediction and true value agree."
    return "Numbers are test samples; the colour is the share of the true class (row)."


def _asv_rows(attributions: Attributions, planted: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "dna": asv,
            "mean": format_signed(row["mean"]),
            "mean_abs": format_number(row["mean_abs"]),
            "samples": int(row["samples"]),
            "positive": f"{row['positive']:.0%}",
            "planted": "★" if asv in planted else "",
        }
        for asv, row in attributions.by_asv().head(TOP_ASVS).iterrows()
    ]


def _samples(n: int) -> str:
    return f"{n:,} test sample{'' if n == 1 else 's'}"
