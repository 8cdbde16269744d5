"""`aam.widgets.errors(analysis)`: where a model errs, sample by sample: worst samples, slices, confusions, calibration."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import traitlets
from ipywidgets.widgets.trait_types import TypedTuple
from matplotlib.figure import Figure

from aam_nb.config import cut_list
from aam_nb.error_analysis.analysis import FACTS, ErrorAnalysis
from aam_nb.error_analysis.samples import TOP_ASVS
from aam_nb.error_analysis.slices import slices_of
from aam_nb.show import plots
from aam_nb.show.plots.style import short
from aam_nb.show.widgets.asv_names import AsvNames
from aam_nb.show.widgets.explorer import Explorer, require_known
from aam_nb.show.widgets.payload import column_payload, select_metadata, to_json_value
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.study import Study

STATUS = "status"
"""The column that says which samples lie outside the training data, and which labels are suspect."""
BAND = 0.9
"""Coverage of the conformal band that is drawn, or the largest below it that the validation samples allow."""
NUMBERS = ("error", "residual", *FACTS, "distance_percentile")
"""Columns of the samples that colour dots."""
SHOWN = {"regression": ("predictions", "residuals"), "classification": ("counts", "shares")}
"""What the first panel shows."""


class ErrorsExplorer(Explorer):
    """See `errors`. Traits: `sample` (the id of the one looked at closely, at first the worst), `selected`, `slice` (the text of a slice,
    or ""), `cell` (true and predicted class, or ()), `color` (a column, or ""), `against` (the number that errors are drawn against) and
    `show` ("predictions" or "residuals"; of classes "counts" or "shares"). A slice or a cell selects its samples."""

    script = "errors"
    title = "Errors"
    kept = ("sample", "slice", "cell", "color", "against", "show")

    sample = traitlets.Unicode().tag(sync=True)
    slice = traitlets.Unicode().tag(sync=True)
    cell = TypedTuple(traitlets.Unicode()).tag(sync=True)
    color = traitlets.Unicode().tag(sync=True)
    against = traitlets.Unicode().tag(sync=True)
    show = traitlets.Unicode().tag(sync=True)

    def __init__(self, analysis: ErrorAnalysis, study: Study | None = None) -> None:
        self.analysis = analysis
        self._metadata = _metadata(analysis, study)
        self.members = slice_members(analysis, self._metadata)
        columns = _columns(analysis, self._metadata)
        self._colors = [c["name"] for c in columns]
        self._numbers = [
            c["name"] for c in columns if c["kind"] == "numbers" and c["name"] not in ("error", "residual")
        ]
        self._order = analysis.samples["error"].sort_values(ascending=False, kind="stable").index
        super().__init__(
            list(analysis.samples.index),
            data=self._data(columns, study),
            sample=str(self._order[0]),
            color=STATUS,
            against="distance" if "distance" in self._numbers else "depth",
            show=SHOWN[analysis.kind][0],
        )

    def _data(self, columns: list[dict[str, Any]], study: Study | None) -> dict[str, Any]:
        found, samples = self.analysis, self.analysis.samples
        place = {str(i): k for k, i in enumerate(samples.index)}
        finite = found.conformal[found.conformal["threshold"].notna()] if len(found.conformal) else found.conformal
        below = finite[finite["level"] <= BAND] if len(finite) else finite
        band = below if len(below) else finite
        return to_json_value(
            {
                "target": found.target,
                "kind": found.kind,
                "group": found.group,
                "errorLabel": f"|true - predicted| {found.target}" if self._regression else "1 - p(true class)",
                "sentence": self._summary(),
                "notes": found.notes,
                "samples": list(map(str, samples.index)),
                **{
                    name: samples[name]
                    for name in ("truth", "prediction", "error", "residual", "outside")
                    if name in samples
                },
                "order": [place[str(i)] for i in self._order],
                "columns": columns,
                "numbers": self._numbers,
                "suspects": found.suspects.assign(i=[place[str(i)] for i in found.suspects.index]),
                "looked": [place[str(i)] for i in self._order[: found.config.num_worst]],
                "neighbours": found.neighbours.assign(i=[place[str(i)] for i in found.neighbours.index]),
                "reasons": _reasons(found, place, study),
                "topAsvs": TOP_ASVS,
                "band": None if band.empty or not self._regression else dict(band.sort_values("level").iloc[-1]),
                "slices": [
                    row | {"members": _bits(self.members.get(row["slice"]))}
                    for row in found.slices.drop(columns="columns").to_dict("records")
                ],
                "falseDiscovery": found.config.false_discovery,
                "confidence": found.config.confidence,
                "classes": [] if found.confusion is None else list(found.confusion.index),
                "counts": [] if found.confusion is None else found.confusion.to_numpy(),
                "byClass": [] if found.per_class is None else found.per_class.reset_index(),
                "reliability": found.calibration.reliability,
                "calibration": found.calibration.scores.rename_axis("name").reset_index(),
                "temperature": found.calibration.temperature,
                "conformal": found.conformal,
                "curve": found.learning_curve,
                "metrics": plots.METRIC_NAMES,
                "associations": found.associations,
            }
        )

    @property
    def _regression(self) -> bool:
        return self.analysis.kind == "regression"

    # -- traits -----------------------------------------------------------------------------------------------------------

    @traitlets.validate("sample")
    def _check_sample(self, proposal: Any) -> str:
        return require_known(proposal, self.sample_ids, "samples")

    @traitlets.validate("slice")
    def _check_slice(self, proposal: Any) -> str:
        return require_known(proposal, ["", *self.members], "slices whose samples are known")

    @traitlets.validate("cell")
    def _check_cell(self, proposal: Any) -> tuple[str, ...]:
        cell, matrix = tuple(proposal["value"]), self.analysis.confusion
        if not cell:
            return cell
        if matrix is None:
            raise ExplorerError(
                f"cell is {cell}, and {self.analysis.target} is a number: it has no confusions. Expected (). Set `explorer.slice` or "
                "`explorer.selected` instead."
            )
        if len(cell) != 2 or not {*cell} <= {*matrix.index}:
            raise ExplorerError(
                f"cell is {cell}. Expected a true and a predicted class, of {cut_list(matrix.index, 20)}, or (). Set "
                f"`explorer.cell = {(matrix.index[0], matrix.index[-1])}`."
            )
        return cell

    @traitlets.validate("color")
    def _check_color(self, proposal: Any) -> str:
        return require_known(proposal, ["", *self._colors], "columns")

    @traitlets.validate("against")
    def _check_against(self, proposal: Any) -> str:
        return require_known(proposal, self._numbers, "columns of numbers")

    @traitlets.validate("show")
    def _check_show(self, proposal: Any) -> str:
        return require_known(proposal, SHOWN[self.analysis.kind], f"views of a {self.analysis.kind}")

    @traitlets.observe("slice", "cell")
    def _on_named(self, change: Any) -> None:
        if (ids := self._samples_of(change["name"])) is not None:
            self.selected = ids

    @traitlets.observe("selected")
    def _on_selected(self, change: Any) -> None:
        """A slice or a cell stays named only while its samples are those selected."""
        for name, none in (("slice", ""), ("cell", ())):
            if (ids := self._samples_of(name)) is not None and {*self.selected} != {*ids}:
                setattr(self, name, none)

    def _samples_of(self, name: str) -> pd.Index | None:
        """Samples of the slice or the cell that is named; None where there is none. What the browser sets is seen before it is refused."""
        samples, matrix = self.analysis.samples, self.analysis.confusion
        if name == "slice":
            return self.sample_ids[self.members[self.slice]] if self.slice in self.members else None
        if matrix is None or len(self.cell) != 2 or not {*self.cell} <= {*matrix.index}:
            return None
        return self.sample_ids[
            ((samples["truth"] == self.cell[0]) & (samples["prediction"] == self.cell[1])).to_numpy()
        ]

    # -- the static twin --------------------------------------------------------------------------------------------------

    def figure(self) -> Figure:
        """Residuals or confusions, the worst slices, calibration, and error by distance."""
        return plots.errors(self.analysis)

    def to_frame(self) -> pd.DataFrame:
        """All samples, the worst first: `ErrorAnalysis.samples` and `suspect`; and `near_embedding`, `near_unifrac` and `pushed_by` of
        those looked at closely."""
        samples = self.analysis.samples.loc[self._order]
        told = self.analysis.worst(len(samples))
        return samples.join(told[["suspect", "near_embedding", "near_unifrac", "pushed_by"]]).rename_axis("sample_id")

    def sentence(self) -> str:
        """How large errors are and where, and what to beware of."""
        return "\n".join([self._summary(), *self.analysis.notes])

    def _summary(self) -> str:
        found = self.analysis
        samples, slices = found.samples, found.slices
        by = f" of {found.num_groups} {found.group}" if found.group else ""
        what = "|true - predicted|" if self._regression else "1 - p(true class)"
        worst = self._order[0]
        said = [
            f"Errors of {found.target}, {what}: mean {samples['error'].mean():.3g} over {len(samples)} samples{by}; the largest is "
            f"{samples['error'].loc[worst]:.3g}, of {worst}."
        ]
        if len(slices):
            worse = list(slices["slice"][slices["worse"]])
            first = f", first {worse[0]}" if worse else ""
            said.append(f"{len(worse)} of {len(slices)} slices err more than the rest{first}.")
        if "outside" in samples and (outside := int(samples["outside"].sum())):
            said.append(f"{outside} sample{' lies' if outside == 1 else 's lie'} outside the training data.")
        if len(found.suspects):
            suspects = len(found.suspects)
            said.append(f"{suspects} label{' is' if suspects == 1 else 's are'} suspect: a question, not a verdict.")
        return " ".join(said)


# -- what the browser gets --------------------------------------------------------------------------------------------------


def slice_members(analysis: ErrorAnalysis, metadata: pd.DataFrame) -> dict[str, npt.NDArray[np.bool_]]:
    """Which samples each slice holds, in the order of `analysis.samples`.

    An analysis keeps the texts and numbers of its slices. Their samples are found again from the same columns, and only those slices are
    given whose number of samples and mean error come out the same.

    Parameters
    ----------
    analysis
        Its `samples` give slices by depth, diversity and distance.
    metadata
        Of the same samples; without columns, slices by metadata are not found.
    """
    samples, table = analysis.samples, analysis.slices
    facts = samples[[c for c in FACTS if c in samples and not (c == "richness" and "faith_pd" in samples)]]
    single, _ = slices_of(pd.concat([facts, metadata], axis=1), analysis.config)
    by_column: dict[str, list[tuple[str, npt.NDArray[np.bool_]]]] = {}
    for s in single:
        by_column.setdefault(s.columns[0], []).append((s.text, s.mask_n))
    error, found = samples["error"].to_numpy(float), {}
    for row in table[~table["slice"].duplicated(keep=False)].to_dict("records"):
        mask = _mask(str(row["slice"]), [by_column.get(c, []) for c in row["columns"]])
        if mask is not None and mask.sum() == row["n"] and np.isclose(error[mask].mean(), row["error"], rtol=1e-9):
            found[str(row["slice"])] = mask
    return found


def _mask(text: str, parts: list[list[tuple[str, npt.NDArray[np.bool_]]]]) -> npt.NDArray[np.bool_] | None:
    """The samples of a slice by one column, or of a pair whose text joins those of its parts."""
    if len(parts) == 1:
        return next((mask for name, mask in parts[0] if name == text), None)
    first, second = parts
    return next((a & b for one, a in first for two, b in second if f"{one}, {two}" == text), None)


def _bits(mask: npt.NDArray[np.bool_] | None) -> str | None:
    """A bit a sample, the first the highest of its byte, as base64."""
    return None if mask is None else base64.b64encode(np.packbits(mask).tobytes()).decode()


def _metadata(analysis: ErrorAnalysis, study: Study | None) -> pd.DataFrame:
    """Metadata of the evaluated samples, named as in the analysis; without columns where there is no study."""
    ids = analysis.samples.index
    if study is None:
        return pd.DataFrame(index=ids)
    taken = {*analysis.samples.columns}
    return select_metadata(study, ids).rename(columns=lambda c: f"{c} (metadata)" if c in taken else str(c))


def _columns(analysis: ErrorAnalysis, metadata: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns that colour dots: status, what is known of each sample, and metadata (marked)."""
    samples = analysis.samples
    known = [column_payload(_status(analysis)), *(column_payload(samples[name]) for name in NUMBERS if name in samples)]
    return known + [
        column_payload(metadata[name], f"{name} (metadata)" if name == STATUS else name) | {"metadata": True}
        for name in metadata.columns
    ]


def _status(analysis: ErrorAnalysis) -> pd.Series:
    samples = analysis.samples
    outside = samples["outside"].to_numpy(bool) if "outside" in samples else np.zeros(len(samples), dtype=bool)
    suspect = samples.index.isin(analysis.suspects.index)
    words = np.select(
        [outside & suspect, outside, suspect],
        ["outside, label suspect", "outside", "label suspect"],
        "inside" if "outside" in samples else "evaluated",
    )
    return pd.Series(words, index=samples.index, name=STATUS)


def _reasons(analysis: ErrorAnalysis, place: dict[str, int], study: Study | None) -> list[dict[str, Any]]:
    """The strongest ASVs of the worst samples, with names."""
    table = analysis.attributions
    names, lineages = asv_names(table["asv_id"], study)
    return [
        {"i": place[str(i)], "output": output, "asv": asv, "name": name, "lineage": lineage, "value": value}
        for i, output, asv, value, name, lineage in zip(
            table.index, table["output"], table["asv_id"], table["attribution"], names, lineages, strict=True
        )
    ]


def asv_names(asvs: Iterable[str], study: Study | None) -> tuple[list[str], list[str]]:
    """Names of ASVs that people can read, and their taxa from the domain down; of a study without them both ends of the DNA, and ""."""
    asvs = list(map(str, asvs))
    if study is None:
        return [short(a) for a in asvs], ["" for _ in asvs]
    found = AsvNames(study)
    return [short(a) if a == n else n for a, n in zip(asvs, found.labels(asvs), strict=True)], found.lineages(asvs)


def errors(analysis: ErrorAnalysis, *, study: Study | None = None) -> ErrorsExplorer:
    """Look at errors: predicted against true, every sample by its error, slices, confusions, calibration.

    A lasso, a slice or a cell of the confusion matrix selects samples, whose ids are in `explorer.selected`; one sample is looked at
    closely: what is known of it, its nearest training samples, and the ASVs that moved its prediction.

    Parameters
    ----------
    analysis
        What `aam.errors` gave.
    study
        The study analysed. Its metadata colours dots and opens the slices by metadata, and its taxonomy names ASVs.

    Raises
    ------
    ExplorerError
        Evaluated samples are not in the study.
    """
    return ErrorsExplorer(analysis, study)
