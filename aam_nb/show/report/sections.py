"""What the report says of one model: whether it predicts, how it learned, why it predicts so, where it errs, how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aam_nb.config import to_dict
from aam_nb.error_analysis.analysis import errors
from aam_nb.evaluate.metrics import METRICS, Evaluation
from aam_nb.explain import Attributions, attribute, faithfulness, recovery
from aam_nb.show import plots, widgets
from aam_nb.show.report import provenance
from aam_nb.show.report.pictures import Picture, picture
from aam_nb.show.widgets.attributions import CHECKS
from aam_nb.show.widgets.explorer import Explorer
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.run import as_json

TOP_ASVS = 15
MOST_SAMPLES = 400
"""Test samples explained at most; the page says so when there are more."""


@dataclass(frozen=True)
class ModelPart:
    """One model's part of the page.

    Parameters
    ----------
    words
        What the template fills in.
    explorers
        The explorers of its sections, by name: "attributions", "attention", "errors".
    """

    words: dict[str, Any]
    explorers: dict[str, Explorer]


def held_out(model: AAM, study: Study) -> Study:
    """The samples of `study` to judge a model by: those of its last evaluation or its test side, else all it has not seen.

    Raises
    ------
    UnknownIdError
        There are none.
    """
    judged = [] if model.evaluation is None else list(model.evaluation.predictions.index)
    wanted = set(study.sample_ids) & set(judged or model.samples.get("test", []))
    if not wanted:
        wanted = set(study.sample_ids) - model.seen
    ids = [i for i in study.sample_ids if i in wanted]
    if not ids:
        raise UnknownIdError(
            f"None of the {study.num_samples} samples is one to judge {model!r} by: it has seen them all. Expected the test samples "
            "too. Give the whole study, or new samples."
        )
    return study.keep_samples(ids)


def model_part(model: AAM, study: Study) -> ModelPart:
    """What the page says of one model."""
    task, test = model.require_task(), held_out(model, study)
    if model.evaluation is None or set(model.evaluation.predictions.index) != set(test.sample_ids):
        model.evaluate(test, train=model.training_side(study))
    result = model.evaluation
    assert result is not None
    words = {
        "target": task.target,
        "headline": _headline(result),
        "warnings": result.warnings(),
        "split": _split_sentence(model, result),
        "metrics": result.to_frame()
        .rename(index=plots.MODEL_NAMES, columns=plots.METRIC_NAMES)
        .rename_axis(columns=None),
        "confidence": f"{result.config.confidence:.0%}",
        "resampled": f", resampling the {result.num_groups} values of {result.group} whole"
        if result.group
        else ", resampling samples",
        "num_train": result.num_train,
        "score_figures": _score_figures(result),
        "history_figures": _history_figures(model),
        "steps": provenance.steps(model),
        "code": provenance.code(model),
        "config": as_json({"model": to_dict(model.config), **model.record}),
    }
    where = errors(result, study, model=model)
    reasons, explorers = _reasons(model, test, result, str(where.worst(1).index[0]))
    return ModelPart(words | reasons, explorers | {"errors": widgets.errors(where, study=study)})


def _score_figures(result: Evaluation) -> list[Picture]:
    dots = "Dots are scores, lines their bootstrap intervals."
    return [
        picture(plots.metrics(result), "Scores beside the baselines.", dots),
        picture(result.plot(), "Predictions of the test samples.", _prediction_caption(result)),
    ]


def _history_figures(model: AAM) -> list[Picture]:
    kept = "The weights of the best validation epoch are kept."
    return [
        picture(plots.history(model.history, stage=s), f"Loss by epoch, {s}.", kept)
        for s in model.history["stage"].unique()
    ]


def _reasons(model: AAM, test: Study, result: Evaluation, worst: str) -> tuple[dict[str, Any], dict[str, Explorer]]:
    """Attributions of the test samples with their checks, and the attention of the sample that is predicted worst."""
    explained = test.keep_samples(test.sample_ids[:MOST_SAMPLES])
    target, found = model.require_task().target, attribute(model, explained)
    known = test.truth and target in set(test.truth.planted["target"])
    planted = test.truth.asvs(target) if test.truth and known else ()
    checked = faithfulness(found, planted=planted, config=CHECKS)
    sample = worst if worst in explained.sample_ids else str(explained.sample_ids[0])
    words = {
        "attribution_text": _attribution_sentence(found, test.num_samples),
        "recovery": str(recovery(found, planted)) if planted else "",
        "guessing": not result.beats_guessing,
        "sample": f"{sample}, {'the one with the largest error' if sample == worst else 'the first'}",
        "check_figures": [
            picture(
                checked.plot(),
                "Checks of the attributions.",
                f"Whether the attributions can be believed, on {checked.num_samples} test samples. No model was fitted anew for this page.",
            )
        ],
        "unit": found.unit,
        "asvs": _asv_rows(found, planted),
    }
    explorers: dict[str, Explorer] = {
        "attributions": widgets.attributions(found, faithfulness=checked, study=explained),
        "attention": widgets.attention(model, explained, samples=[sample]),
    }
    return words, explorers


def _headline(result: Evaluation) -> str:
    metric = METRICS[result.kind][0]
    row = result.row(metric)
    others = ", ".join(f"{plots.MODEL_NAMES.get(m, m)} {result.value(metric, m):.2f}" for m in result.models[1:])
    by = f" of {result.num_groups} values of {result.group}" if result.group else ""
    by += "" if result.num_seen else " that were never trained on"
    return (
        f"{result.target}: {plots.METRIC_NAMES[metric]} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] on "
        f"{len(result.predictions)} test samples{by}" + (f"; beside it: {others}." if others else ".")
    )


def _split_sentence(model: AAM, result: Evaluation) -> str:
    counts = ", ".join(f"{len(ids)} {use}" for use, ids in model.samples.items())
    by = (
        f"All samples of one {result.group} are on the same side."
        if result.group
        else "Samples were split one by one, not by group."
    )
    return f"Samples: {counts}. {by}"


def _attribution_sentence(found: Attributions, of: int) -> str:
    n = len(found.sample_ids)
    some = "" if n == of else f" (the first {n} of {of})"
    return (
        f"Integrated gradients from the sample without ASVs to the sample as it is, over {len(found.sample_ids)} test samples{some}. The "
        f"attributions of a sample sum to its prediction minus that of the empty sample; the "
        f"largest gap is {found.largest_gap:.2%} of what was to explain in that sample or in a typical one, whichever is more."
    )


def _prediction_caption(result: Evaluation) -> str:
    if result.kind == "regression":
        return "One dot a test sample; on the dashed line prediction and truth agree."
    return "Numbers count test samples; the colour is the share of the true class (row)."


def _asv_rows(found: Attributions, planted: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "dna": asv,
            "mean": f"{row['mean']:+.3g}",
            "mean_abs": f"{row['mean_abs']:.3g}",
            "samples": int(row["samples"]),
            "positive": f"{row['positive']:.0%}",
            "planted": "★" if asv in planted else "",
        }
        for asv, row in found.by_asv().head(TOP_ASVS).iterrows()
    ]
