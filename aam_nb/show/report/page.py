"""One self-contained HTML page: the study, the model, how well, why, and where it errs. Opens from disk, loads nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import aam_nb
from aam_nb.config import ErrorsConfig, FaithfulnessConfig, to_dict
from aam_nb.evaluate.errors.analysis import ErrorAnalysis, errors
from aam_nb.evaluate.metrics import METRICS, Evaluation
from aam_nb.explain import Attributions, attention, attribute, faithfulness, recovery
from aam_nb.phylo.ordination import pcoa
from aam_nb.phylo.unifrac import unifrac
from aam_nb.show import plots
from aam_nb.study.study import Study, UnknownIdError
from aam_nb.train.estimator import AAM
from aam_nb.train.run import as_json, versions

DPI = 150
TOP_ASVS = 15
WORST = 8
MOST_SAMPLES = 400
"""Test samples explained and drawn in a PCoA at most; the page says so when there are more."""
CHECKS = FaithfulnessConfig(max_samples=40, num_random=10, num_samples=8, num_subsets=32, seeds=0, shuffles=0)
"""The checks of attributions that fit nothing anew; `aam.explain.faithfulness` makes more."""
ERRORS = ErrorsConfig(attributions=False)
TOP_SLICES = 6


@dataclass(frozen=True)
class Picture:
    """A PNG with what to say of it."""

    png: str
    width: int
    alt: str
    caption: str


def report(
    model: AAM | Sequence[AAM], study: Study, path: str | Path, *, title: str = "What the microbes tell"
) -> Path:
    """Write a report of one or several fitted models of a study.

    Parameters
    ----------
    model
        Fitted models. One that has not been evaluated is evaluated on the samples of `study` that it has not seen.
    study
        The whole study, test samples included; with a tree, a PCoA of unweighted UniFrac is drawn.
    path
        The HTML file to write; missing folders are made.
    title
        Heading of the page.

    Returns
    -------
    The path.

    Raises
    ------
    NotFittedError, UnknownIdError
        A model has no target; the study holds no sample that the model has not seen.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    models = [model] if isinstance(model, AAM) else list(model)
    parts = [_model_part(m, study) for m in models]
    pages = Environment(loader=PackageLoader("aam_nb.show.report", "."), autoescape=True, undefined=StrictUndefined)
    pages.filters["code"] = _code
    text = pages.get_template("report.html.j2").render(
        title=title,
        version=aam_nb.__version__,
        study_line=f"{study.num_samples} samples, {study.num_asvs} ASVs",
        summary=_numbers(study.summary()),
        provenance=study.provenance,
        study_figures=_study_figures(study, [m.require_task().target for m in models]),
        models=parts,
        versions=", ".join(f"{name} {v}" for name, v in versions().items()),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


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


def _model_part(model: AAM, study: Study) -> dict[str, Any]:
    """What the template says of one model."""
    task, test = model.require_task(), held_out(model, study)
    if model.evaluation is None or set(model.evaluation.predictions.index) != set(test.sample_ids):
        model.evaluate(test, train=model.training_side(study))
    result = model.evaluation
    assert result is not None
    return {
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
        "score_figures": [
            _picture(
                plots.metrics(result),
                "Scores beside the baselines.",
                "Dots are scores, lines their bootstrap intervals.",
            ),
            _picture(result.plot(), "Predictions of the test samples.", _prediction_caption(result)),
        ],
        "history_figures": [
            _picture(
                plots.history(model.history, stage=s),
                f"Loss by epoch, {s}.",
                "The weights of the best validation epoch are kept.",
            )
            for s in model.history["stage"].unique()
        ],
        "config": as_json({"model": to_dict(model.config), **model.record}),
        **_errors_and_reasons(model, study, test, result),
    }


def _errors_and_reasons(model: AAM, study: Study, test: Study, result: Evaluation) -> dict[str, Any]:
    """Where a model errs and why it predicts so; the sample that is looked into is the one with the largest error."""
    where = errors(result, study, model=model, config=ERRORS)
    worst, wrong = _worst(where)
    explained = test.keep_samples(test.sample_ids[:MOST_SAMPLES])
    sample = str(wrong if wrong in explained.sample_ids else explained.sample_ids[0])
    return {
        "worst": worst,
        "error_figures": [_picture(where.plot(), "Overview of the errors.", repr(where))],
        "slices": _slices(where),
        "error_notes": where.notes,
        **_reasons(model, study, explained, result, sample, of=test.num_samples, is_worst=sample == wrong),
    }


def _reasons(
    model: AAM, study: Study, explained: Study, result: Evaluation, sample: str, *, of: int, is_worst: bool
) -> dict[str, Any]:
    """Attributions of the samples explained, among `of` test samples, with their checks, and the attention of one."""
    target, found = model.require_task().target, attribute(model, explained)
    planted = study.truth.asvs(target) if study.truth and target in set(study.truth.planted["target"]) else ()
    checked = faithfulness(found, planted=planted, config=CHECKS)
    maps = attention(model, explained, samples=[sample], levels=("pooling",))
    return {
        "attribution_text": _attribution_sentence(found, of),
        "recovery": str(recovery(found, planted)) if planted else "",
        "verdict": checked.verdict()
        + (
            ""
            if result.beats_guessing
            else " The model is not shown to do better than guessing: what is explained may be a guess."
        ),
        "explain_figures": [
            _picture(
                checked.plot(),
                "Checks of the attributions.",
                f"Whether the attributions can be believed, on {checked.num_samples} test samples. No model was fitted anew for this page.",
            ),
            _picture(
                plots.attributions(found, top=TOP_ASVS, mark=planted),
                "ASVs with the largest attributions.",
                "Integrated gradients. Bars: mean over samples, to the right where the ASV raises the prediction.",
            ),
            _picture(
                plots.attention(maps.pooling[sample], sample=sample, top=TOP_ASVS),
                f"Pooling attention of sample {sample}.",
                f"{'The sample with the largest error. ' if is_worst else ''}{maps.caption}",
            ),
        ],
        "unit": found.unit,
        "asvs": _asv_rows(found, planted),
    }


def _study_figures(study: Study, targets: list[str]) -> list[Picture]:
    pictures = [_picture(plots.depth(study), "Histogram of sequencing depth.", "Reads per sample.")]
    if study.tree is None:
        return pictures
    shown = study
    if study.num_samples > 5 * MOST_SAMPLES:
        step = -(-study.num_samples // (5 * MOST_SAMPLES))
        shown = study.keep_samples(study.sample_ids[::step])
    ordination = pcoa(unifrac(shown))
    for target in targets:
        more = "" if shown is study else f" Every {step}th sample."
        axes = plots.pcoa(ordination, color=shown.column(target))
        pictures.append(
            _picture(
                axes, f"PCoA coloured by {target}.", f"Unweighted UniFrac between {shown.num_samples} samples.{more}"
            )
        )
    return pictures


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


def _worst(where: ErrorAnalysis) -> tuple[pd.DataFrame, str]:
    """The test samples predicted worst, and the id of the first."""
    table = where.worst(WORST).drop(columns=["pushed_by", "outside"], errors="ignore")
    named = {
        "error": "error" if where.kind == "regression" else "1 - p(truth)",
        "distance_percentile": "farther than % of training",
    }
    named |= {"near_embedding": "nearest in training (embedding)", "near_unifrac": "nearest in training (UniFrac)"}
    return _numbers(table.dropna(axis=1, how="all").rename(columns=named)), str(table.index[0])


def _slices(where: ErrorAnalysis) -> pd.DataFrame:
    """Kinds of samples by how much worse they are predicted than the rest."""
    table = where.slices.head(TOP_SLICES).set_index("slice")[["n", "error", "excess", "low", "high", "p_adjusted"]]
    return _numbers(table.rename(columns={"p_adjusted": "adjusted p"}))


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


def _code(text: str) -> Markup:
    """Escaped text in which what stands between backticks is set as code."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(t) if k % 2 else escape(t) for k, t in enumerate(parts))


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as short text."""

    def text(value: object) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bool | np.bool_):
            return "yes" if value else ""
        number = float(value)  # type: ignore[arg-type]
        return f"{number:,.0f}" if number.is_integer() or abs(number) >= 1000 else f"{number:,.3g}"

    return frame.map(text)


def _picture(drawn: Axes | Figure, alt: str, caption: str) -> Picture:
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    assert figure is not None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    plt.close(figure)
    raw = buffer.getvalue()
    width = int.from_bytes(raw[16:20], "big")  # of the PNG header
    return Picture(png=base64.b64encode(raw).decode(), width=round(width * 84 / DPI), alt=alt, caption=caption)
