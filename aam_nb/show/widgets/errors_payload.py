"""What the browser gets of errors: samples, slices with their members, confusions, calibration; and the sentence on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Bools
from aam_nb.config import (
    count_noun,
    format_number,
)
from aam_nb.error_analysis.analysis import FACTS, ErrorAnalysis
from aam_nb.error_analysis.samples import TOP_ASVS
from aam_nb.error_analysis.slices import make_slices
from aam_nb.show import plots
from aam_nb.show.plots.style import short
from aam_nb.show.widgets.asv_names import AsvNames
from aam_nb.show.widgets.payload import column_payload, pack_bits, select_metadata, to_json_value
from aam_nb.study.study import Study

STATUS = "status"
"""The column that says which samples lie outside the training data, and which labels are suspect."""
BAND = 0.9
"""Coverage of the conformal band that is drawn, or the largest below it that the validation samples allow."""
NUMBERS = ("error", "residual", *FACTS, "distance_percentile")
"""Columns of the samples that colour dots."""


def worst_first(analysis: ErrorAnalysis) -> pd.Index:
    """Ids of the samples, the largest error first."""
    return analysis.samples["error"].sort_values(ascending=False, kind="stable").index


def explorer_payload(
    analysis: ErrorAnalysis,
    columns: list[dict[str, Any]],
    *,
    numbers: Sequence[str],
    members: dict[str, Bools],
    study: Study | None,
) -> dict[str, Any]:
    """What does not change while an explorer is open.

    Parameters
    ----------
    columns
        Of `color_columns`.
    numbers
        Which of them errors can be drawn against.
    members
        Of `slice_members`.
    study
        Names ASVs by its taxonomy.
    """
    samples, order = analysis.samples, worst_first(analysis)
    regression = analysis.kind == "regression"

    def rows_of(ids: pd.Index) -> list[int]:
        return samples.index.get_indexer(ids).tolist()

    return to_json_value(
        {
            "target": analysis.target,
            "kind": analysis.kind,
            "group": analysis.group,
            "errorLabel": f"|true - predicted| {analysis.target}" if regression else "1 - p(true class)",
            "sentence": summary(analysis),
            "notes": analysis.notes,
            "samples": list(map(str, samples.index)),
            **{
                name: samples[name]
                for name in ("truth", "prediction", "error", "residual", "outside")
                if name in samples
            },
            "order": rows_of(order),
            "columns": columns,
            "numbers": numbers,
            "suspects": analysis.suspects.assign(i=rows_of(analysis.suspects.index)),
            "looked": rows_of(order[: analysis.config.num_worst]),
            "neighbours": analysis.neighbours.assign(i=rows_of(analysis.neighbours.index)),
            "reasons": attribution_rows(analysis, study),
            "topAsvs": TOP_ASVS,
            "band": conformal_band(analysis),
            "slices": [
                row | {"members": pack_bits(members.get(row["slice"]))}
                for row in analysis.slices.drop(columns="columns").to_dict("records")
            ],
            "falseDiscovery": analysis.config.false_discovery,
            "confidence": analysis.config.confidence,
            "classes": [] if analysis.confusion is None else list(analysis.confusion.index),
            "counts": [] if analysis.confusion is None else analysis.confusion.to_numpy(),
            "byClass": [] if analysis.per_class is None else analysis.per_class.reset_index(),
            "reliability": analysis.calibration.reliability,
            "calibration": analysis.calibration.scores.rename_axis("name").reset_index(),
            "temperature": analysis.calibration.temperature,
            "conformal": analysis.conformal,
            "curve": analysis.learning_curve,
            "metrics": plots.METRIC_NAMES,
            "associations": analysis.associations,
        }
    )


def conformal_band(analysis: ErrorAnalysis) -> dict[Any, Any] | None:
    """The conformal interval that is drawn around predictions of numbers; None where there is none.

    It is the widest of those that cover at most `BAND`, or, where all cover more, the widest there is.
    """
    table = analysis.conformal
    if analysis.kind != "regression" or table.empty:
        return None
    finite = table[table["threshold"].notna()]
    moderate = finite[finite["level"] <= BAND]
    band = (moderate if len(moderate) else finite).sort_values("level")
    return None if band.empty else dict(band.iloc[-1])


def summary(analysis: ErrorAnalysis) -> str:
    """How large errors are, where they are larger, and which samples or labels are unusual."""
    samples, slices = analysis.samples, analysis.slices
    worst = worst_first(analysis)[0]
    error = "|true - predicted|" if analysis.kind == "regression" else "1 - p(true class)"
    groups = f" in {count_noun(analysis.num_groups, 'group')} ({analysis.group})" if analysis.group else ""
    sentences = [
        f"Errors of {analysis.target}, {error}: mean {format_number(samples['error'].mean())} over "
        f"{count_noun(len(samples), 'sample')}{groups}; the largest is {format_number(samples['error'].loc[worst])}, of {worst}."
    ]
    if len(slices):
        worse = list(slices["slice"][slices["worse"]])
        first = f", first {worse[0]}" if worse else ""
        sentences.append(
            f"{len(worse)} of {count_noun(len(slices), 'slice')} {'has' if len(worse) == 1 else 'have'} larger errors than the other "
            f"samples{first}."
        )
    if "outside" in samples and (outside := int(samples["outside"].sum())):
        sentences.append(
            f"{count_noun(outside, 'sample')} {'lies' if outside == 1 else 'lie'} outside the training data."
        )
    if num_suspects := len(analysis.suspects):
        sentences.append(
            f"{count_noun(num_suspects, 'label')} {'is' if num_suspects == 1 else 'are'} suspect: a reason to check, not a verdict."
        )
    return " ".join(sentences)


# -- samples ----------------------------------------------------------------------------------------------------------------


def slice_members(analysis: ErrorAnalysis, metadata: pd.DataFrame) -> dict[str, Bools]:
    """Which samples each slice holds, in the order of `analysis.samples`.

    An analysis keeps the texts and numbers of its slices. Their samples are looked up from the same columns, and only those slices are
    given whose number of samples and mean error come out the same.

    Parameters
    ----------
    analysis
        Its `samples` give slices by depth, diversity and distance.
    metadata
        Of the same samples; without columns, there are no slices by metadata.
    """
    samples, table = analysis.samples, analysis.slices
    facts = samples[[c for c in FACTS if c in samples and not (c == "richness" and "faith_pd" in samples)]]
    single, _ = make_slices(pd.concat([facts, metadata], axis=1), analysis.config)
    by_column: dict[str, list[tuple[str, Bools]]] = {}
    for s in single:
        by_column.setdefault(s.columns[0], []).append((s.text, s.mask_n))
    error, members = samples["error"].to_numpy(float), {}
    for row in table[~table["slice"].duplicated(keep=False)].to_dict("records"):
        mask = _find_mask(str(row["slice"]), [by_column.get(c, []) for c in row["columns"]])
        if (
            mask is not None
            and mask.sum() == row["n"]
            and np.isclose(error[mask].mean(), row["error"], rtol=1e-9, atol=0)
        ):
            members[str(row["slice"])] = mask
    return members


def _find_mask(text: str, slices_of_columns: list[list[tuple[str, Bools]]]) -> Bools | None:
    """The samples of a slice by one column, or of a pair of slices whose text joins the two texts.

    Parameters
    ----------
    text
        Of the slice.
    slices_of_columns
        Text and samples of the single slices, for each of its one or two columns.
    """
    if len(slices_of_columns) == 1:
        return next((mask for name, mask in slices_of_columns[0] if name == text), None)
    first, second = slices_of_columns
    return next((a & b for name_a, a in first for name_b, b in second if f"{name_a}, {name_b}" == text), None)


def sample_metadata(analysis: ErrorAnalysis, study: Study | None) -> pd.DataFrame:
    """Metadata of the evaluated samples, named as in the analysis; without columns where there is no study."""
    samples = analysis.samples
    if study is None:
        return pd.DataFrame(index=samples.index)
    taken = {*samples.columns}
    return select_metadata(study, samples["truth"], analysis.target).rename(
        columns=lambda c: f"{c} (metadata)" if c in taken else str(c)
    )


def color_columns(analysis: ErrorAnalysis, metadata: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns that colour dots: status, numbers of each sample, and metadata (marked)."""
    samples = analysis.samples
    columns = [
        column_payload(status_column(analysis)),
        *(column_payload(samples[name]) for name in NUMBERS if name in samples),
    ]
    return columns + [
        column_payload(metadata[name], f"{name} (metadata)" if name == STATUS else name) | {"metadata": True}
        for name in metadata.columns
    ]


def status_column(analysis: ErrorAnalysis) -> pd.Series:
    """Which samples lie outside the training data, and which labels are suspect, in words."""
    samples = analysis.samples
    outside = samples["outside"].to_numpy(bool) if "outside" in samples else np.zeros(len(samples), dtype=bool)
    suspect = samples.index.isin(analysis.suspects.index)
    status = np.select(
        [outside & suspect, outside, suspect],
        ["outside, label suspect", "outside", "label suspect"],
        "inside" if "outside" in samples else "evaluated",
    )
    return pd.Series(status, index=samples.index, name=STATUS)


def attribution_rows(analysis: ErrorAnalysis, study: Study | None) -> list[dict[str, Any]]:
    """The ASVs that moved the predictions of the worst samples most, with names."""
    table = analysis.attributions
    labels, lineages = label_asvs(table["asv_id"], study)
    rows = zip(
        analysis.samples.index.get_indexer(table.index).tolist(), table["output"], table["asv_id"], table["attribution"], labels, lineages,
        strict=True,
    )  # fmt: skip
    return [
        {"i": i, "output": output, "asv": asv, "name": label, "lineage": lineage, "value": value}
        for i, output, asv, value, label, lineage in rows
    ]


def label_asvs(asvs: Iterable[str], study: Study | None) -> tuple[list[str], list[str]]:
    """Names of ASVs that people can read, and their taxa from the domain down; of a study without them both ends of the DNA, and ""."""
    asvs = list(map(str, asvs))
    if study is None:
        return [short(asv) for asv in asvs], ["" for _ in asvs]
    names = AsvNames(study)
    labels = [short(asv) if asv == label else label for asv, label in zip(asvs, names.labels(asvs), strict=True)]
    return labels, names.lineages(asvs)
