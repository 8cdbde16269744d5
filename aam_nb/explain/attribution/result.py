"""The result of `attribute`: how much each feature of each sample moved its prediction, as tables over samples and one by one."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Floats
from aam_nb.config import (
    ExplainConfig,
    count_noun,
    cut_list,
    format_number,
    make_config,
    to_path,
)
from aam_nb.evaluate.resampling import bootstrap_mean_interval
from aam_nb.explain.attribution.methods import PRECISION
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.explain.attribution.query import PLURALS, SINGULARS, AttributionQuery
from aam_nb.study.columns import number_groups
from aam_nb.study.csv_files import write_csv
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from aam_nb.train.estimator import AAM

COMPLETE = ("integrated_gradients", "shapley")
"""Methods whose attributions sum to the change that they explain."""


@dataclass(frozen=True, eq=False)
class Attributions:
    """What each feature contributed to each sample's prediction: an ASV, taxon, clade, nucleotide or covariate.

    Parameters
    ----------
    target, unit
        What was predicted, and the unit of values: that of the target, log-odds of a class, or embedding units.
    values
        Shape (n_samples, n_features); a feature that neither the sample nor the reference has is not stored.
    sample_ids, asv_ids
        Rows, and the ASVs: columns at level "asv", columns of `members` at levels "taxon" and "clade".
    check
        One row per sample: `output` (the class explained, or the target), `prediction`, `reference` (the output of the reference), `sum` of
        the attributions and `gap`, what they miss of `prediction - reference`. At levels "taxon" and "clade" the sum is that of the
        ASVs they were summed from; computed anew at several ranks, that of the rank with the largest gap, and of clades NaN.
    level, method
        Those that `attribute` was asked for.
    reference
        What predictions were compared with, in words.
    output
        Which output was explained.
    features
        One row per column of `values`, with what describes it. At level "asv": the taxonomy, where the study has one. "taxon": `rank`,
        `name`, `num_asvs`. "clade": `node`, `num_asvs`, `share` (of all ASVs held), `length` (of the branch, substitutions per site),
        `name`. "nucleotide": `asv_id`, `position` (from 1), `letter`. "covariate": `kind`.
    members
        Which ASVs a feature is made of, shape (n_features, n_asvs), ones; None at levels "nucleotide" and "covariate".
    mutations
        Of mutated nucleotides: one row per feature and a column for each letter, the mean of `prediction - prediction with that letter`
        over the samples that hold the ASV; 0 for its own letter. None for other methods.
    query
        What was asked: `aam.explain.attribute(model, study, **query.arguments())` asks it again. At level "nucleotide" it names the ASVs,
        also where the call did not.
    model, study
        The model, and the samples explained. These and `query` are not saved, and None where `attribute` did not make these.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> attributions = aam.explain.attribute(model, study)
    >>> attributions
    Attributions(age, units of age: 16 samples x 60 ASVs by integrated gradients, largest gap ...%)
    >>> attributions.to_frame().columns.tolist()
    ['asv_id', 'attribution']
    >>> len(attributions.of_sample("S0000"))  # ASVs of this sample
    24
    """

    target: str
    unit: str
    values: sparse.csr_array
    sample_ids: pd.Index
    asv_ids: pd.Index
    check: pd.DataFrame
    level: str = "asv"
    method: str = "integrated_gradients"
    reference: str = "the sample without ASVs"
    output: str = ""
    features: pd.DataFrame = field(default_factory=pd.DataFrame)
    members: sparse.csr_array | None = None
    mutations: pd.DataFrame | None = None
    query: AttributionQuery | None = field(default=None, repr=False, compare=False)
    model: AAM | None = field(default=None, repr=False, compare=False)
    study: Study | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.level != "asv":
            return
        if self.features.empty and self.features.columns.empty:
            object.__setattr__(self, "features", pd.DataFrame(index=self.asv_ids.rename("asv_id")))
        if self.members is None:
            object.__setattr__(self, "members", sparse.eye_array(len(self.asv_ids), format="csr"))

    # -- can they be added up? ------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether a sample's attributions should sum to its prediction minus the reference: by the method, before ranks and clades."""
        return self.method in COMPLETE

    @property
    def largest_gap(self) -> float:
        """The largest of `gaps()`; NaN for methods that promise no sum."""
        return float(self.gaps().max()) if self.complete else float("nan")

    def gaps(self) -> pd.Series:
        """Gap of each sample, as a share of the change explained, of that of the median sample, or of a ten-thousandth of the prediction:
        whichever of the three is the largest."""
        change = (self.check["prediction"] - self.check["reference"]).abs()
        scale = change.clip(lower=change.median()).clip(lower=PRECISION * self.check["prediction"].abs())
        return self.check["gap"].abs() / scale.where(scale > 0, 1.0)

    # -- over samples ---------------------------------------------------------------------------------------------------

    def by_feature(
        self, *, group: str | None = None, config: ExplainConfig | None = None, **settings: Any
    ) -> pd.DataFrame:
        """Features over the samples, the most important first.

        Parameters
        ----------
        group
            Metadata column of the explained samples whose values are resampled whole, such as a host; by default samples are, and so is
            one without a value.
        config, settings
            `num_resamples`, `confidence` and `seed` of the intervals.

        Returns
        -------
        `mean` and `mean_abs` attribution over all samples, where a sample without the feature counts as 0; `low` and `high`, the
        bootstrap interval of the mean, NaN of a single sample or group; `samples` (how many have an attribution for it), and among those
        `positive` (share in which it pushed upwards) and `consistency` (share with the sign of the mean). Then what describes the
        features, such as taxonomy; a rank whose name is taken has " (taxonomy)" behind it. Clades near the root lead, for they sum most
        ASVs: `table[table["share"] < 0.1]` has those that say more.

        Raises
        ------
        ExplainError, UnknownIdError
            A group is asked for where the samples are not available; there is no such column.
        """
        config = make_config(ExplainConfig, config, settings)
        n, width = max(1, len(self.sample_ids)), self.values.shape[1]
        held = np.bincount(self.values.indices, minlength=width)
        up, down = (
            np.bincount(self.values.indices[mask], minlength=width)
            for mask in (self.values.data > 0, self.values.data < 0)
        )
        mean = np.asarray(self.values.sum(0)).ravel() / n
        low, high = self._mean_intervals(group, config)
        frame = pd.DataFrame(
            {
                "mean": mean,
                "mean_abs": np.asarray(abs(self.values).sum(0)).ravel() / n,
                "low": low,
                "high": high,
                "samples": held,
                "positive": up / np.maximum(held, 1),
                "consistency": np.where(mean > 0, up, np.where(mean < 0, down, 0)) / np.maximum(held, 1),
            },
            index=self.features.index,
        )
        return self._described(frame).sort_values("mean_abs", ascending=False, kind="stable")

    def by_asv(self) -> pd.DataFrame:
        """ASVs over the samples, the most important first: `by_feature()` at level "asv".

        Raises
        ------
        ExplainError
            These are attributions of something else.
        """
        if self.level != "asv":
            raise ExplainError(
                f"These are attributions at level {self.level!r}. Expected level 'asv'. Use `attributions.by_feature()`."
            )
        return self.by_feature()

    def _mean_intervals(self, group: str | None, config: ExplainConfig) -> tuple[Floats, Floats]:
        """Ends of the bootstrap interval of each feature's mean; NaN of a single sample or group."""
        unit = number_groups(None if group is None else self._column(group), len(self.sample_ids))
        return bootstrap_mean_interval(
            self.values, unit, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed
        )

    def _column(self, group: str) -> pd.Series:
        if self.study is None:
            raise ExplainError(
                f"group is {group!r}, and the explained samples are not available. Expected attributions as `aam.explain.attribute` gives "
                "them. Leave the group out: `attributions.by_feature()`."
            )
        return self.study.column(group)

    # -- one by one -----------------------------------------------------------------------------------------------------

    def of_sample(self, sample_id: str) -> pd.Series:
        """Attributions of one sample's features, the strongest first.

        Raises
        ------
        UnknownIdError
            The sample was not explained.
        """
        if sample_id not in self.sample_ids:
            raise UnknownIdError(
                f"{sample_id!r} was not explained. There are {len(self.sample_ids)} samples such as {cut_list(self.sample_ids[:3])}. Pass "
                "it in `aam.explain.attribute(model, study)`."
            )
        row = self.values[[self.sample_ids.get_loc(sample_id)]].tocoo()
        values = pd.Series(row.data, index=self.features.index[row.coords[1]], name=sample_id)
        return values.sort_values(key=np.abs, ascending=False, kind="stable")

    def difference(self, a: str, b: str) -> pd.DataFrame:
        """One sample's attributions beside another's.

        Returns
        -------
        Columns `a`, `b` (the attributions, 0 where the sample lacks the feature) and `difference` (a minus b), the largest first, then
        what describes the features.

        Raises
        ------
        UnknownIdError
            A sample was not explained.
        """
        frame = pd.DataFrame({"a": self.of_sample(a), "b": self.of_sample(b)}).fillna(0.0)
        frame["difference"] = frame["a"] - frame["b"]
        frame.index.name = self.features.index.name
        return self._described(frame).sort_values("difference", key=np.abs, ascending=False, kind="stable")

    def _described(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of features with what describes these."""
        return frame.join(rename_taken(self.features, frame))

    # -- as a table -----------------------------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """One row per sample and feature it has: `sample_id` (index), the feature, `attribution`, and what describes the feature."""
        coo = self.values.tocoo()
        row, column = coo.coords
        name = str(self.features.index.name)
        table = pd.DataFrame({name: self.features.index[column], "attribution": coo.data}, index=self.sample_ids[row])
        described = self.features.iloc[column].set_axis(table.index)
        return pd.concat([table, rename_taken(described, table)], axis=1)

    def save(self, path: str | Path) -> Path:
        """Write `to_frame()` as CSV; a file of that name is replaced once the new one is complete."""
        path = to_path(path, "a file to write")
        write_csv(self.to_frame(), path)
        return path

    def plot(self, **artist_kw: Any) -> Any:
        """The strongest features; a matplotlib Axes, or a Figure at level "nucleotide"."""
        from aam_nb.show.plots.attributions import attributions, clades, nucleotides, taxa

        if self.level == "nucleotide":
            return nucleotides(self, **artist_kw)
        return {"taxon": taxa, "clade": clades}.get(self.level, attributions)(self, **artist_kw)

    def __repr__(self) -> str:
        features = count_noun(self.values.shape[1], SINGULARS[self.level], PLURALS[self.level])
        gap = f", largest gap {self.largest_gap:.2%}" if self.complete else ""
        return (
            f"Attributions({self.target}, {self.unit}: {count_noun(len(self.sample_ids), 'sample')} x {features} by "
            f"{self.method.replace('_', ' ')}{gap})"
        )

    def _repr_html_(self) -> str:
        about = html.escape(f"Compared with {self.reference}.")
        return f"<b>{html.escape(repr(self))}</b><p>{about}</p>" + self.by_feature().head(10).to_html(
            escape=True, float_format=format_number
        )


def rename_taken(features: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """What describes features, under names that a table does not use itself: " (taxonomy)" follows those that it does."""
    return features.rename(columns={name: f"{name} (taxonomy)" for name in table.columns})
