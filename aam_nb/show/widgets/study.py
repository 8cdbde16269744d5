"""`aam.widgets.explore(study)`: what a study holds, how deep it is, how its samples differ, and which taxa they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import traitlets
from matplotlib.figure import Figure

from aam_nb.arrays import Ints
from aam_nb.config import count_noun, telling_of_memory
from aam_nb.diversity.distances import TREE_METRICS
from aam_nb.diversity.rarefaction import expected_asvs
from aam_nb.show import plots
from aam_nb.show.widgets.explorer import Explorer, require_known, require_within
from aam_nb.show.widgets.payload import to_json_value
from aam_nb.show.widgets.study_columns import FEW, describe_columns, refuse_left_out
from aam_nb.show.widgets.study_figure import color_values, draw_composition, draw_prevalence
from aam_nb.show.widgets.study_payload import (
    ASV,
    DISTANCES,
    TaxonShares,
    choose_compared,
    compared_sentence,
    level_curves_payload,
    mean_shares,
    ordinate,
    ordination_payload,
    reads_and_deepest,
    rows_by_level,
    sample_curves_payload,
    study_payload,
    taxon_shares,
    too_few_note,
)
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from skbio import OrdinationResults

KEPT = 8
"""PCoAs that are kept in the browser, the latest."""


class StudyExplorer(Explorer):
    """See `explore`. Traits: `distance` (of `DISTANCES`), `rarefy` (whether the PCoA is of the study rarefied to `depth`), `axes` ("1-2",
    "1-3" or "2-3"), `color` and `shape` (metadata columns, or ""), `depth` (rarefaction depth in reads), `min_prevalence` (samples),
    `facet` (a metadata column), `rank` (of the taxonomy, or "ASV"), `by_level` (taxa for each level of `color` too), `curves_by`
    ("samples" or "levels"), and `selected`. `ordinations`, `taxa`, `curves` and `retained` hold what is drawn of them.

    `selection`, `rarefied` and `filtered` are studies: of the selected samples (all, where there is no selection), rarefied to `depth`, and
    without the ASVs below `min_prevalence`.
    """

    script = "study"
    title = "Study"
    kept = (
        "distance",
        "rarefy",
        "axes",
        "color",
        "shape",
        "depth",
        "min_prevalence",
        "facet",
        "rank",
        "by_level",
        "curves_by",
        "ordinations",
        "taxa",
        "curves",
        "retained",
    )

    distance = traitlets.Unicode().tag(sync=True)
    rarefy = traitlets.Bool(False).tag(sync=True)
    axes = traitlets.Enum(["1-2", "1-3", "2-3"], default_value="1-2").tag(sync=True)
    color = traitlets.Unicode().tag(sync=True)
    shape = traitlets.Unicode().tag(sync=True)
    depth = traitlets.Int(0).tag(sync=True)
    min_prevalence = traitlets.Int(1).tag(sync=True)
    facet = traitlets.Unicode().tag(sync=True)
    rank = traitlets.Unicode().tag(sync=True)
    by_level = traitlets.Bool(True).tag(sync=True)
    curves_by = traitlets.Enum(["samples", "levels"], default_value="samples").tag(sync=True)
    ordinations = traitlets.Dict(help="Coordinates, by distance (and depth, where rarefied).").tag(sync=True)
    taxa = traitlets.Dict(help="Shares of the largest taxa, by rank.").tag(sync=True)
    curves = traitlets.Dict(help="Rarefaction curves that are drawn.").tag(sync=True)
    retained = traitlets.Dict(help="ASVs expected after rarefying, by depth.").tag(sync=True)

    def __init__(
        self,
        study: Study,
        *,
        distance: str | None = None,
        color: str | None = None,
        most: int | None = None,
        seed: int = 0,
    ) -> None:
        if not (study.depth > 0).any():
            study.require_reads()  # an error that says so
        self.study, self.seed = study, seed
        self.columns, left_out = describe_columns(study)
        self._reads_of_asvs, self._deepest = reads_and_deepest(study)
        # What is compared in the PCoA, and what was computed for it and for the taxa.
        self.drawn = choose_compared(study, most, seed)
        every = len(self.drawn) == study.num_samples
        self._compared = (study if every else study.keep_samples(self.drawn)).in_memory()
        self._ordinations: dict[str, OrdinationResults] = {}
        self._shares: dict[str, TaxonShares] = {}
        self._curves_key: tuple[Any, ...] = ()
        # What can be chosen.
        with_tree = study.tree is not None and not study.tree.missing(study.asv_ids)
        self.distances = tuple(d for d in DISTANCES if with_tree or d not in TREE_METRICS)
        ranks = [] if study.taxonomy is None else [str(c) for c in study.taxonomy if c != "confidence"]
        self.ranks = (*ranks, ASV)
        names = [c["name"] for c in self.columns]
        few = [c["name"] for c in self.columns if c["kind"] == "categories" and 2 <= len(c["levels"]) <= FEW]
        first = next(iter(few), "") if color is None else color
        super().__init__(
            list(study.sample_ids),
            data=study_payload(
                study,
                self.columns,
                left_out=left_out,
                reads=self._reads_of_asvs,
                deepest=self._deepest,
                distances=self.distances,
                ranks=self.ranks,
                compared=compared_sentence(study, len(self.drawn), seed),
            ),
            distance=distance or self.distances[0],
            color=first,
            facet=first if first in names else next(iter(names), ""),
            depth=max(1, int(study.depth.quantile(0.1))),
            rank="phylum" if "phylum" in ranks else self.ranks[0],
        )

    # -- what may be set -----------------------------------------------------------------------------------------------------

    @traitlets.validate("distance")
    def _check_distance(self, proposal: Any) -> str:
        if proposal["value"] in TREE_METRICS and proposal["value"] not in self.distances:
            self.study.require_tree()  # an error that says what is missing
        return require_known(proposal, self.distances, "distances")

    @traitlets.validate("color", "facet")
    def _check_column(self, proposal: Any) -> str:
        refuse_left_out(self.study, self.columns, proposal["value"], proposal["trait"].name)
        none = [""] if proposal["trait"].name == "color" or not self.columns else []
        return require_known(proposal, [*none, *(c["name"] for c in self.columns)], "columns")

    @traitlets.validate("shape")
    def _check_shape(self, proposal: Any) -> str:
        return require_known(
            proposal, ["", *(c["name"] for c in self.columns if c["kind"] == "categories")], "columns of categories"
        )

    @traitlets.validate("rank")
    def _check_rank(self, proposal: Any) -> str:
        return require_known(proposal, self.ranks, "ranks")

    @traitlets.validate("depth")
    def _check_depth(self, proposal: Any) -> int:
        return require_within(proposal, 1, int(self.study.depth.max()), "reads; no sample has more")

    @traitlets.validate("min_prevalence")
    def _check_prevalence(self, proposal: Any) -> int:
        return require_within(proposal, 1, int(self.study.prevalence.max()), "samples; no ASV is found in more")

    # -- what follows from it ------------------------------------------------------------------------------------------------

    @property
    def ordination(self) -> str:
        """The key of the PCoA that is drawn: the distance, and the depth where the study is rarefied."""
        return f"{self.distance}@{self.depth}" if self.rarefy else self.distance

    @traitlets.observe("distance", "rarefy", "depth")
    def _show_ordination(self, change: Any) -> None:
        key = self.ordination
        if key not in self.ordinations:
            latest = list(self.ordinations.items())[1 - KEPT :]
            self.ordinations = {**dict(latest), key: self._ordinate(key)}
            self._ordinations = {k: v for k, v in self._ordinations.items() if k in self.ordinations}

    @traitlets.observe("rank")
    def _show_taxa(self, change: Any) -> None:
        if self.rank not in self.taxa:
            self.taxa = {**self.taxa, self.rank: to_json_value(self.shares(self.rank).payload())}

    @traitlets.observe("depth")
    def _show_retained(self, change: Any) -> None:
        if str(self.depth) not in self.retained:
            self.retained = {**self.retained, str(self.depth): to_json_value(expected_asvs(self.study, self.depth))}

    @traitlets.observe("selected", "color", "curves_by", "depth")
    def _show_curves(self, change: Any) -> None:
        key = (self.selected, self.curves_by, self.depth, self.color if self.curves_by == "levels" else "")
        if key != self._curves_key:
            self.curves = self._rarefaction_curves()
            self._curves_key = key

    def _ordinate(self, key: str) -> dict[str, Any]:
        """Compute the PCoA that is to be drawn, keep it, and give what the browser gets of it."""
        label = DISTANCES[self.distance] + (f", rarefied to {count_noun(self.depth, 'read')}" if self.rarefy else "")
        num_deep = int((self._compared.depth >= (self.depth if self.rarefy else 1)).sum())
        if num_deep < 3:
            return {"label": label, "note": too_few_note(num_deep, self.depth if self.rarefy else None)}
        study = self._compared.rarefy(self.depth, seed=self.seed) if self.rarefy else self._compared
        self._ordinations[key] = ordinate(study, self.distance)
        return ordination_payload(self._ordinations[key], self.study, label=label, rarefied=self.rarefy)

    def _rarefaction_curves(self) -> dict[str, Any]:
        rows, settings = self._rows_with_reads(), {"depth": self.depth, "seed": self.seed}
        if self.curves_by == "samples":
            return sample_curves_payload(self.study, rows, **settings, selected=bool(self.selected))
        rows_of = rows_by_level(self._color_column, rows)
        return level_curves_payload(self.study, rows_of, **settings, selected=bool(self.selected))

    def _rows_with_reads(self) -> Ints:
        """Samples with reads: of the selection, where there is one, else all."""
        with_reads = (self.study.depth > 0).to_numpy()
        return np.flatnonzero(with_reads & self.sample_ids.isin(self.selected) if self.selected else with_reads)

    @property
    def _color_column(self) -> dict[str, Any] | None:
        return next((c for c in self.columns if c["name"] == self.color), None)

    def shares(self, rank: str) -> TaxonShares:
        """Shares of reads of the largest taxa of a rank, or of ASVs."""
        if rank not in self._shares:
            self._shares[rank] = taxon_shares(self.study, rank)
        return self._shares[rank]

    # -- the next step -------------------------------------------------------------------------------------------------------

    @property
    def selection(self) -> Study:
        """The selected samples, in the study's order; the whole study, where there is no selection."""
        return self.study.keep_samples(self.sample_ids.isin(self.selected)) if self.selected else self.study

    @property
    def rarefied(self) -> Study:
        """The study rarefied to `depth`."""
        return self.study.rarefy(self.depth, seed=self.seed)

    @property
    def filtered(self) -> Study:
        """The study without the ASVs found in fewer than `min_prevalence` samples."""
        return self.study.filter(min_prevalence=self.min_prevalence)

    # -- the twin ------------------------------------------------------------------------------------------------------------

    def figure(self) -> Figure:
        """Depth, prevalence, PCoA and taxa."""
        figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
        plots.depth(self.study, ax=axes[0, 0])
        axes[0, 0].axvline(self.depth, color="black", linewidth=1.2, label=f"depth {self.depth:,}")
        axes[0, 0].legend(frameon=False)
        draw_prevalence(self.study.prevalence, self.min_prevalence, axes[0, 1])
        payload = self.ordinations[self.ordination]
        if self.ordination in self._ordinations:
            colors = color_values(self.study, self._color_column)
            plots.pcoa(self._ordinations[self.ordination], color=colors, ax=axes[1, 0])
            axes[1, 0].set_title(payload["label"])
        else:
            axes[1, 0].text(0.5, 0.5, payload["note"], ha="center", wrap=True)
            axes[1, 0].set_axis_off()
        draw_composition(self.taxon_frame(), self.rank, axes[1, 1])
        return figure

    def taxon_frame(self) -> pd.DataFrame:
        """Mean share of reads of the largest taxa of `rank` and of the others together, of all samples, of the selection and,
        `by_level`, of each of the commonest levels of `color` in it."""
        every = np.flatnonzero((self.study.depth > 0).to_numpy())
        rows_of, rows = {f"all ({len(every):,})": every}, self._rows_with_reads()
        if self.selected:
            rows_of[f"selected ({len(rows):,})"] = rows
        num_leading = len(rows_of)
        levels = rows_by_level(self._color_column, rows)
        if self.by_level and "" not in levels:
            rows_of |= {f"{name} ({len(members):,})": members for name, members in levels.items()}
        return mean_shares(self.shares(self.rank), rows_of, num_leading=num_leading).rename_axis(self.rank)

    def to_frame(self) -> pd.DataFrame:
        """Samples: `depth`, `richness`, whether `kept` at the rarefaction depth and `selected`, coordinates (missing where a sample is
        not drawn), and the metadata."""
        frame = pd.DataFrame(
            {
                "depth": self.study.depth,
                "richness": self.study.richness,
                "kept": self.study.depth >= self.depth,
                "selected": self.study.sample_ids.isin(self.selected),
            }
        )
        if self.ordination in self._ordinations:
            points = self._ordinations[self.ordination].samples
            points = points.set_axis([f"PCo {k + 1}" for k in range(points.shape[1])], axis=1)
            frame = frame.join(points.reindex(frame.index))
        metadata = self.study.metadata.rename(columns=lambda c: f"{c} (metadata)" if c in frame.columns else c)
        return frame.join(metadata)

    def sentence(self) -> str:
        """Size, depth, and what rarefying and filtering keep."""
        study, depth = self.study, self.study.depth
        num_deep, num_held = int((depth >= self.depth).sum()), int((self._deepest >= self.depth).sum())
        lines = [
            f"{count_noun(study.num_samples, 'sample')}, {count_noun(study.num_asvs, 'ASV')}, {count_noun(int(depth.sum()), 'read')}; "
            f"{int(depth.min()):,} to {int(depth.max()):,} reads per sample, median {depth.median():,.0f}.",
            f"Rarefied to {count_noun(self.depth, 'read')} per sample, {num_deep:,} of {count_noun(study.num_samples, 'sample')} "
            f"{'is' if num_deep == 1 else 'are'} kept. They hold {count_noun(num_held, 'ASV')}, of which "
            f"{self.retained[str(self.depth)]:,.0f} are expected among the reads drawn.",
            self._prevalence_sentence(),
        ]
        if self.selected:
            lines.append(f"{len(self.selected):,} of {count_noun(study.num_samples, 'sample')} selected.")
        notes = (compared_sentence(study, len(self.drawn), self.seed), self.ordinations[self.ordination]["note"])
        return "\n".join([*lines, *(note for note in notes if note)])

    def _prevalence_sentence(self) -> str:
        prevalence = self.study.prevalence
        if self.min_prevalence == 1:
            num = int((prevalence == 1).sum())
            return f"{count_noun(num, 'ASV')} {'is' if num == 1 else 'are'} found in only one sample."
        kept = (prevalence >= self.min_prevalence).to_numpy()
        num, share = int(kept.sum()), self._reads_of_asvs[kept].sum() / max(1, self._reads_of_asvs.sum())
        return (
            f"{count_noun(num, 'ASV')} with {share:.1%} of the reads {'is' if num == 1 else 'are'} found in at least "
            f"{self.min_prevalence:,} samples."
        )

    def _forget(self) -> None:
        self._curves_key = ((), "", 0, "")

    def saved_state(self) -> dict[str, Any]:
        """The traits, with the taxa of all ranks: without a kernel no more can be computed."""
        return super().saved_state() | {
            "taxa": {rank: to_json_value(self.shares(rank).payload()) for rank in self.ranks}
        }


@telling_of_memory("making the explorer", "fewer samples or ASVs, or a machine with more memory")
def explore(
    study: Study, *, distance: str | None = None, color: str | None = None, most: int | None = None, seed: int = 0
) -> StudyExplorer:
    """Explore a study: counts, depth and rarefaction, prevalence, metadata, a PCoA and the taxa of the samples selected in it.

    Drag the line of the depth to see how many samples and ASVs rarefying would keep; draw around dots of the PCoA, or click levels of
    a metadata column, to select samples. `explorer.selection` is then a study of them, and `explorer.rarefied` the study at that depth.

    Parameters
    ----------
    study
        A study, in memory or on disk. UniFrac needs its tree, and taxa its taxonomy; everything else works without them.
    distance
        Of the PCoA: "unweighted", "weighted_normalized" or "generalized" UniFrac, "braycurtis", "jaccard" or "aitchison". By default
        unweighted UniFrac, and Bray-Curtis where there is no tree.
    color
        Metadata column that colours dots; by default the first with 2 to 10 levels.
    most
        Most samples in the PCoA; if there are more, this many are drawn at random. By default as many as take a few seconds, at most
        5,000.
    seed
        Of all random draws.

    Returns
    -------
    The explorer. Distances are computed when they are chosen.

    Raises
    ------
    EmptySampleError
        No sample has reads.
    ExplorerError, MissingTipError
        There is no such distance or column; the distance needs a tree.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> explorer = aam.widgets.explore(study, distance="braycurtis")
    >>> explorer.selected = study.sample_ids[:3]
    >>> explorer
    StudyExplorer(24 samples, 3 selected)
    >>> explorer.selection.num_samples
    3
    """
    return StudyExplorer(study, distance=distance, color=color, most=most, seed=seed)
