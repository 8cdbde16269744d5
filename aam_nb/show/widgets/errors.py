"""`aam.widgets.errors(analysis)`: where a model errs, sample by sample: worst samples, slices, confusions, calibration."""

from __future__ import annotations

from typing import Any

import pandas as pd
import traitlets
from ipywidgets.widgets.trait_types import TypedTuple
from matplotlib.figure import Figure

from aam_nb.config import cut_list, telling_of_memory
from aam_nb.error_analysis.analysis import ErrorAnalysis
from aam_nb.show import plots
from aam_nb.show.widgets.errors_payload import (
    STATUS,
    color_columns,
    explorer_payload,
    sample_metadata,
    slice_members,
    summary,
    worst_first,
)
from aam_nb.show.widgets.explorer import Explorer, require_known
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.study import Study

SHOWN = {"regression": ("predictions", "residuals"), "classification": ("counts", "shares")}
"""What the first panel shows."""


class ErrorsExplorer(Explorer):
    """See `errors`. Traits: `sample` (the id of the one shown in detail, at first the worst), `selected`, `slice` (the text of a slice,
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
        metadata = sample_metadata(analysis, study)
        self.members = slice_members(analysis, metadata)
        columns = color_columns(analysis, metadata)
        self._colors = [c["name"] for c in columns]
        self._numbers = [
            c["name"] for c in columns if c["kind"] == "numbers" and c["name"] not in ("error", "residual")
        ]
        super().__init__(
            list(analysis.samples.index),
            data=explorer_payload(analysis, columns, numbers=self._numbers, members=self.members, study=study),
            sample=str(worst_first(analysis)[0]),
            color=STATUS,
            against="distance" if "distance" in self._numbers else "depth",
            show=SHOWN[analysis.kind][0],
        )

    # -- traits -----------------------------------------------------------------------------------------------------------

    @traitlets.validate("sample")
    def _check_sample(self, proposal: Any) -> str:
        return require_known(proposal, self.sample_ids, "samples")

    @traitlets.validate("slice")
    def _check_slice(self, proposal: Any) -> str:
        return require_known(proposal, ["", *self.members], "slices with known samples")

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
    def _select_members(self, change: Any) -> None:
        if (ids := self._samples_of(change["name"])) is not None:
            self.selected = ids

    @traitlets.observe("selected")
    def _clear_names(self, change: Any) -> None:
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
        those shown in detail."""
        samples = self.analysis.samples.loc[worst_first(self.analysis)]
        details = self.analysis.worst(len(samples))
        return samples.join(details[["suspect", "near_embedding", "near_unifrac", "pushed_by"]]).rename_axis(
            "sample_id"
        )

    def sentence(self) -> str:
        """How large errors are and where, and what to beware of."""
        return "\n".join([summary(self.analysis), *self.analysis.notes])


@telling_of_memory("making the explorer", "fewer samples or ASVs, or a machine with more memory")
def errors(analysis: ErrorAnalysis, *, study: Study | None = None) -> ErrorsExplorer:
    """Explore errors: predicted against true, every sample by its error, slices, confusions, calibration.

    A lasso, a slice or a cell of the confusion matrix selects samples, whose ids are in `explorer.selected`; one sample is shown
    in detail: its numbers, its nearest training samples, and the ASVs that moved its prediction.

    Parameters
    ----------
    analysis
        What `aam.errors` gave.
    study
        The study analysed. Its metadata colours dots and opens the slices by metadata, and its taxonomy names ASVs.

    Raises
    ------
    ExplorerError, JudgedTruthError
        Evaluated samples are not in the study, or have other values of the target there.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> train, test = study.split(test_size=0.4, target="age", group="host_id", seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model.fit(train, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    AAM(...)
    >>> analysis = aam.errors(model.evaluate(test, config=aam.EvaluateConfig(num_trees=10)), study, num_permutations=99)
    >>> explorer = aam.widgets.errors(analysis, study=study)
    >>> explorer.sample == analysis.samples["error"].idxmax()
    True
    """
    return ErrorsExplorer(analysis, study)
