"""`aam.widgets.explore(study)`: what a study holds, how deep it is, and how its samples and taxa lie among one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.config import cut_repr
from aam_nb.diversity.distances import TREE_METRICS, distance_matrix
from aam_nb.diversity.ordination import pcoa
from aam_nb.diversity.rarefaction import expected_asvs, mean_rarefaction_curve, rarefaction_curve
from aam_nb.show import plots
from aam_nb.show.plots.style import cut
from aam_nb.show.widgets.explorer import Explorer, one_of, plain
from aam_nb.show.widgets.study_payload import ASV, FEW, TaxonShares, by_asv, described, doublings, taxon_shares
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.splits import is_whole
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from skbio import OrdinationResults

DISTANCES = {
    "unweighted": "unweighted UniFrac",
    "weighted_normalized": "weighted normalized UniFrac",
    "generalized": "generalized UniFrac (alpha 0.5)",
    "braycurtis": "Bray–Curtis (shares of reads)",
    "jaccard": "Jaccard (presence)",
    "aitchison": "Aitchison (reads + 1)",
}
"""Distances and what they are called; those of a tree first."""
MOST_WORK = 10**9
"""Samples squared times mean ASVs up to which all samples are compared at once; more would keep the reader waiting."""
MOST_DENSE = 2 * 10**10
"""The same for samples squared times all ASVs, which Bray-Curtis goes through."""
MOST_DRAWN = 5000
"""Samples of a PCoA at most, unless `most` says otherwise: the matrix of distances grows with their square."""
EXACT = 3000
"""Samples up to which all axes of a PCoA are found, so that % explained is a share of the positive eigenvalues."""
AXES = 3
KEPT = 8
"""PCoAs that are kept in the browser, the latest."""
MOST_CURVES = 50
"""Samples whose rarefaction curves are drawn, or that a level's mean is of."""
MOST_LEVELS = 8
"""Levels of the colour column with a mean curve of their own: as many as there are colours."""
IN_BARS = 8
"""Taxa with a colour of their own."""
WITH_DEPTH = 0.5
"""Spearman's correlation of the first axis with depth, from which on the reader is warned."""
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]


class StudyExplorer(Explorer):
    """See `explore`. Traits: `distance` (of `DISTANCES`), `rarefy` (whether the PCoA is of the study rarefied to `depth`), `axes` ("1-2",
    "1-3" or "2-3"), `color` and `shape` (metadata columns, or ""), `depth` (rarefaction depth in reads), `min_prevalence` (samples),
    `facet` (a metadata column), `rank` (of the taxonomy, or "ASV"), `by_level` (taxa for each level of `color` too), `curves_by`
    ("samples" or "levels"), and `selected`. `ordinations`, `taxa`, `curves` and `retained` hold what is drawn of them.

    `selection`, `rarefied` and `filtered` are studies: of the selected samples (all where none is selected), rarefied to `depth`, and
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
            study.require_reads()  # says so
        self.study, self.seed = study, seed
        self.columns, self._left_out = described(study)
        self.drawn = self._drawn(most)
        every = len(self.drawn) == study.num_samples
        self._compared = (study if every else study.keep_samples(self.drawn)).in_memory()
        self._ordinations: dict[str, OrdinationResults] = {}
        self._shares: dict[str, TaxonShares] = {}
        self._curves_of: tuple[Any, ...] = ()
        self._reads_of_asvs, self._deepest = by_asv(study)
        with_tree = study.tree is not None and not study.tree.missing(study.asv_ids)
        self.distances = tuple(d for d in DISTANCES if with_tree or d not in TREE_METRICS)
        ranks = [] if study.taxonomy is None else [str(c) for c in study.taxonomy if c != "confidence"]
        self.ranks = (*ranks, ASV)
        names = [c["name"] for c in self.columns]
        few = [c["name"] for c in self.columns if c["kind"] == "categories" and 2 <= len(c["levels"]) <= FEW]
        first = next(iter(few), "") if color is None else color
        super().__init__(
            list(study.sample_ids),
            data=self._data(),
            distance=distance or self.distances[0],
            color=first,
            facet=first if first in names else next(iter(names), ""),
            depth=max(1, int(study.depth.quantile(0.1))),
            rank="phylum" if "phylum" in ranks else self.ranks[0],
        )

    def _drawn(self, most: int | None) -> pd.Index:
        """The samples compared with one another: all that have reads, or a random draw of them."""
        study = self.study
        if most is not None and (not is_whole(most) or most < 3):
            raise ExplorerError(
                f"most is {cut_repr(most)}. Expected a whole number of at least 3 samples. Try `aam.widgets.explore(study, most=2000)`."
            )
        known = np.flatnonzero((study.depth > 0).to_numpy())
        if most is None:
            filled = max(1.0, float(study.richness.iloc[known].mean()))
            most = min(MOST_DRAWN, int(np.sqrt(MOST_WORK / filled)), int(np.sqrt(MOST_DENSE / max(1, study.num_asvs))))
        if len(known) > most:
            known = np.sort(np.random.default_rng(self.seed).choice(known, most, replace=False))
        return study.sample_ids[known]

    def _data(self) -> dict[str, Any]:
        study = self.study
        prevalence = study.prevalence.to_numpy()
        places, found = np.unique(prevalence, return_inverse=True)
        reads = np.bincount(found, weights=self._reads_of_asvs, minlength=len(places)).astype(np.int64)
        deep, holders = np.unique(self._deepest[self._deepest > 0], return_counts=True)
        filled = int(study.richness.sum()) / max(1, study.num_samples * study.num_asvs)
        facts = [
            ("samples", f"{study.num_samples:,}"),
            ("ASVs", f"{study.num_asvs:,}"),
            ("reads", f"{int(study.depth.sum()):,}"),
            ("reads per sample, median", f"{study.depth.median():,.0f}"),
            ("ASVs per sample, median", f"{study.richness.median():,.0f}"),
            ("empty cells", f"{1 - filled:.1%}"),
            ("metadata columns", f"{study.metadata.shape[1]}"),
            ("tree", f"{len(study.tree.tips):,} tips" if study.tree else "none"),
            ("taxonomy", "none" if study.taxonomy is None else f"{len(self.ranks) - 1} ranks"),
        ]
        return plain(
            {
                "facts": facts,
                "provenance": study.provenance,
                "samples": list(study.sample_ids),
                "depth": study.depth,
                "richness": study.richness,
                "deepest": [deep.tolist(), holders.tolist()],
                "prevalence": [places.tolist(), np.bincount(found).tolist(), reads.tolist()],
                "columns": self.columns,
                "leftOut": self._left_out,
                "distances": [[d, DISTANCES[d]] for d in self.distances],
                "ranks": self.ranks,
                "drawn": self._which_are_drawn(),
            }
        )

    def _which_are_drawn(self) -> str:
        """A sentence where the PCoA is not of all samples."""
        study, drawn = self.study, len(self.drawn)
        empty = int((study.depth == 0).sum())
        words = f"{empty} samples without reads are not drawn. " if empty else ""
        if drawn + empty < study.num_samples:
            words += (
                f"Of {drawn:,} of {study.num_samples - empty:,} samples, drawn at random (seed {self.seed}), to be fast; "
                f"`aam.widgets.explore(study, most={study.num_samples})` takes all. "
            )
        return words.strip()

    # -- what may be set -----------------------------------------------------------------------------------------------------

    @traitlets.validate("distance")
    def _check_distance(self, proposal: Any) -> str:
        if proposal["value"] in TREE_METRICS and proposal["value"] not in self.distances:
            self.study.require_tree()  # says what is missing
        return one_of(proposal, self.distances, "distances")

    @traitlets.validate("color", "facet")
    def _check_column(self, proposal: Any) -> str:
        none = [""] if proposal["trait"].name == "color" or not self.columns else []
        return one_of(proposal, [*none, *(c["name"] for c in self.columns)], "columns")

    @traitlets.validate("shape")
    def _check_shape(self, proposal: Any) -> str:
        return one_of(
            proposal, ["", *(c["name"] for c in self.columns if c["kind"] == "categories")], "columns of categories"
        )

    @traitlets.validate("rank")
    def _check_rank(self, proposal: Any) -> str:
        return one_of(proposal, self.ranks, "ranks")

    @traitlets.validate("depth")
    def _check_depth(self, proposal: Any) -> int:
        return _within(proposal, int(self.study.depth.max()), "reads, of which the deepest sample has the last")

    @traitlets.validate("min_prevalence")
    def _check_prevalence(self, proposal: Any) -> int:
        return _within(proposal, int(self.study.prevalence.max()), "samples, in which the commonest ASV is found")

    # -- what follows from it ------------------------------------------------------------------------------------------------

    @property
    def ordination(self) -> str:
        """The key of the PCoA that is drawn: the distance, and the depth where the study is rarefied."""
        return f"{self.distance}@{self.depth}" if self.rarefy else self.distance

    @traitlets.observe("distance", "rarefy", "depth")
    def _show_ordination(self, change: Any) -> None:
        key = self.ordination
        if key not in self.ordinations:
            kept = list(self.ordinations.items())[1 - KEPT :]
            self.ordinations = {**dict(kept), key: self._ordinate(key)}
            self._ordinations = {k: v for k, v in self._ordinations.items() if k in self.ordinations}

    @traitlets.observe("rank")
    def _show_taxa(self, change: Any) -> None:
        if self.rank not in self.taxa:
            self.taxa = {**self.taxa, self.rank: plain(self.shares(self.rank).sent())}

    @traitlets.observe("depth")
    def _show_retained(self, change: Any) -> None:
        if str(self.depth) not in self.retained:
            self.retained = {**self.retained, str(self.depth): plain(expected_asvs(self.study, self.depth))}

    @traitlets.observe("selected", "color", "curves_by", "depth")
    def _show_curves(self, change: Any) -> None:
        asked = (self.selected, self.curves_by, self.depth, self.color if self.curves_by == "levels" else "")
        if asked != self._curves_of:
            self.curves = plain({**self._rarefaction_curves(), "depth": self.depth})
            self._curves_of = asked

    def _ordinate(self, key: str) -> dict[str, Any]:
        """The PCoA as the browser gets it."""
        label = DISTANCES[self.distance] + (f", rarefied to {self.depth:,} reads" if self.rarefy else "")
        deep = int((self._compared.depth >= (self.depth if self.rarefy else 1)).sum())
        if deep < 3:
            return {
                "label": label,
                "note": f"A PCoA needs 3 samples with {'so many ' if self.rarefy else ''}reads; there are {deep}.",
            }
        study = self._compared.rarefy(self.depth, seed=self.seed) if self.rarefy else self._compared
        apart = distance_matrix(study, self.distance)
        found = pcoa(apart, num_axes=AXES, method="exact" if study.num_samples <= EXACT else "fast")
        self._ordinations[key] = found
        points, share = found.samples.to_numpy(), found.proportion_explained.to_numpy()
        with_depth = pd.Series(points[:, 0]).corr(self.study.depth[study.sample_ids].reset_index(drop=True), "spearman")
        note = (
            ""
            if study.num_samples <= EXACT
            else f"% explained is of all eigenvalues, negative ones too (more than {EXACT:,} samples). "
        )
        if not self.rarefy and abs(with_depth) >= WITH_DEPTH:
            note += f"The first axis goes with sequencing depth (Spearman ρ {with_depth:.2f}): look at the rarefied study, too."
        return plain(
            {
                "label": label,
                "samples": self.study.sample_ids.get_indexer(study.sample_ids).tolist(),
                "points": points.T,
                "share": share,
                "note": note.strip(),
            }
        )

    def shares(self, rank: str) -> TaxonShares:
        """Shares of reads of the largest taxa of a rank, or of ASVs."""
        if rank not in self._shares:
            self._shares[rank] = taxon_shares(self.study, rank)
        return self._shares[rank]

    def _rarefaction_curves(self) -> dict[str, Any]:
        """Curves of samples, or means of them by level, and in words of which."""
        rng = np.random.default_rng(self.seed)
        where = self.study.sample_ids.isin(self.selected) if self.selected else np.ones(self.study.num_samples, bool)
        rows = np.flatnonzero(where & (self.study.depth > 0).to_numpy())
        of = f"{len(rows):,} {'selected ' if self.selected else ''}samples"
        if self.curves_by == "samples":
            some_rows = _draw(rng, rows, MOST_CURVES)
            told = f"{len(some_rows)} of the {of}, drawn at random." if len(some_rows) < len(rows) else f"The {of}."
            return {"of": told, "series": self._sample_curves(some_rows)}
        groups = self._levels(rows)
        capped = any(len(r) > MOST_CURVES for r in groups.values())
        told = (
            f"Means of the {of} that reach a depth, a line a level{f', of at most {MOST_CURVES} samples each' if capped else ''}; bands "
            "are one standard deviation among samples. A line ends where fewer than half of its samples reach."
        )
        return {
            "of": told,
            "series": [
                self._mean_curve(name or "all", _draw(rng, r, MOST_CURVES), len(r)) for name, r in groups.items()
            ],
        }

    def _sample_curves(self, rows: Ints) -> list[dict[str, Any]]:
        table, series = self.study.table[rows], []
        for k, row in enumerate(rows):
            reads = table.data[table.indptr[k] : table.indptr[k + 1]]
            curve = rarefaction_curve(reads, depth=self.depth)
            series.append(
                {
                    "name": str(self.study.sample_ids[row]),
                    "i": int(row),
                    "reads": int(reads.sum()),
                    "asvs": len(reads),
                    "here": curve.at(self.depth),
                    "points": np.column_stack([curve.depths, curve.richness]).tolist(),
                }
            )
        return series

    def _mean_curve(self, name: str, rows: Ints, num: int) -> dict[str, Any]:
        table = self.study.table[rows]
        curve = mean_rarefaction_curve(table, depth=self.depth)
        low, high = np.maximum(0, curve.richness - curve.spread), curve.richness + curve.spread
        return {
            "name": name,
            "i": -1,
            "n": num,
            "reads": int(np.median(self.study.depth.to_numpy()[rows])),
            "asvs": float(np.median(np.diff(table.indptr))),
            "here": curve.at(self.depth),
            "points": np.column_stack([curve.depths, curve.richness]).tolist(),
            "band": np.column_stack([curve.depths, low, high]).tolist(),
        }

    def _levels(self, rows: Ints) -> dict[str, Ints]:
        """Rows by level of the colour column, the commonest levels of all samples first; all together where it has none."""
        found = next((c for c in self.columns if c["name"] == self.color), None)
        if found is None or found["kind"] == "numbers":
            return {"": rows}
        codes = np.array(found["values"])
        counts = np.bincount(codes[codes >= 0], minlength=len(found["levels"]))
        most = MOST_LEVELS if len(counts) <= MOST_LEVELS else MOST_LEVELS - 1  # the last colour is that of the others
        order = np.argsort(-counts, kind="stable")[:most]
        groups = {str(found["levels"][k]): rows[codes[rows] == k] for k in order}
        return {name: members for name, members in groups.items() if len(members)}

    # -- the next step -------------------------------------------------------------------------------------------------------

    @property
    def selection(self) -> Study:
        """The selected samples, in the study's order; the whole study where none is selected."""
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
        self._prevalence_axes(axes[0, 1])
        found = self._ordinations.get(self.ordination)
        if found is None:
            axes[1, 0].text(0.5, 0.5, self.ordinations[self.ordination]["note"], ha="center", wrap=True)
            axes[1, 0].set_axis_off()
        else:
            plots.pcoa(found, color=self._colors(), ax=axes[1, 0])
            axes[1, 0].set_title(self.ordinations[self.ordination]["label"])
        self._taxa_axes(axes[1, 1])
        return figure

    def _prevalence_axes(self, ax: Axes) -> None:
        ends = doublings(int(self.study.prevalence.max()))
        bins = np.searchsorted(ends, self.study.prevalence[self.study.prevalence > 0])
        counts = np.bincount(bins, minlength=len(ends))
        starts = np.append(0, ends[:-1]) + 1
        for bar, below in zip(
            ax.bar(range(len(ends)), counts, color=plots.PALETTE[0]), ends < self.min_prevalence, strict=True
        ):
            bar.set_alpha(0.25 if below else 1)
        labels = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True)]
        ax.set_xticks(range(len(ends)), labels, rotation=35 if len(ends) > 7 else 0, fontsize=8)
        title = "Prevalence" if self.min_prevalence == 1 else f"Prevalence: at least {self.min_prevalence} samples"
        ax.set(xlabel="samples in which an ASV is found", ylabel="ASVs", title=title)

    def _taxa_axes(self, ax: Axes) -> None:
        table = self.taxon_frame()
        bars = table.T.iloc[::-1]
        left = np.zeros(len(bars))
        for k, name in enumerate(bars.columns):
            color = plots.PALETTE[k] if k < IN_BARS else "#999999"
            widths, ink = bars.iloc[:, k].to_numpy(), "white" if k in (0, 7) else "black"
            ax.barh(
                range(len(bars)), widths, left=left, height=0.7, color=color, edgecolor="white", label=cut(name, 30)
            )
            for row in np.flatnonzero(widths > 0.04):
                middle = left[row] + widths[row] / 2
                ax.text(middle, float(row), str(k + 1), ha="center", va="center", fontsize=8, color=ink)
            left = left + widths
        ax.set_yticks(range(len(bars)), [cut(n) for n in bars.index])
        ax.set(xlim=(0, 1), ylim=(len(bars) - max(4, len(bars)) - 0.5, len(bars) - 0.4))
        ax.set(xlabel="mean share of reads", title=f"Composition by {self.rank}")
        handles, labels = ax.get_legend_handles_labels()
        labels = [f"{k + 1}  {label}" for k, label in enumerate(labels)]
        ax.legend(handles, labels, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))

    def _colors(self) -> pd.Series | None:
        """The colour column as figures take it."""
        found = next((c for c in self.columns if c["name"] == self.color), None)
        if found is None:
            return None
        values = self.study.metadata[self._original(found["name"])]
        if found["kind"] == "numbers":
            return values.astype(float).rename(found["name"])
        levels = np.array([*found["levels"], None], dtype=object)
        return pd.Series(levels[np.array(found["values"])], index=self.study.sample_ids, name=found["name"])

    def _original(self, name: str) -> Any:
        return next(c for c in self.study.metadata.columns if str(c) == name)

    def taxon_frame(self) -> pd.DataFrame:
        """Mean share of reads of the largest taxa of `rank` and of the others together, of all samples, of the selection and,
        `by_level`, of each of the commonest levels of `color` in it."""
        found, reads = self.shares(self.rank), (self.study.depth > 0).to_numpy()
        rows = np.flatnonzero(reads)
        groups = {f"all ({len(rows):,})": rows}
        if self.selected:
            rows = np.flatnonzero(reads & self.sample_ids.isin(self.selected))
            groups[f"selected ({len(rows):,})"] = rows
        levels = self._levels(rows)
        if self.by_level and "" not in levels:
            groups |= {f"{name} ({len(members):,})": members for name, members in levels.items()}
        means = np.stack([found.shares[m].sum(axis=0, dtype=float) / max(1, len(m)) for m in groups.values()])
        ahead = means[: 2 if self.selected else 1].max(axis=0)
        top = np.argsort(-ahead, kind="stable")[:IN_BARS]
        table = pd.DataFrame(means[:, top].T, index=[found.names[k] for k in top], columns=list(groups))
        if others := found.num_taxa - len(top):
            table.loc[f"{others:,} others"] = np.clip(1 - table.sum(), 0, 1)
        return table.rename_axis(self.rank)

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
        deep = depth >= self.depth
        alive = study.prevalence >= self.min_prevalence
        share = self._reads_of_asvs[alive.to_numpy()].sum() / max(1, self._reads_of_asvs.sum())
        lines = [
            f"{study.num_samples:,} samples, {study.num_asvs:,} ASVs, {int(depth.sum()):,} reads; {int(depth.min()):,} to "
            f"{int(depth.max()):,} reads a sample, median {depth.median():,.0f}.",
            f"Rarefied to {self.depth:,} reads, {int(deep.sum()):,} samples are kept, which hold "
            f"{int((self._deepest >= self.depth).sum()):,} ASVs; {self.retained[str(self.depth)]:,.0f} are expected to be drawn.",
            f"{int(alive.sum()):,} ASVs with {share:.1%} of the reads are found in at least {self.min_prevalence:,} samples."
            if self.min_prevalence > 1
            else f"{int((study.prevalence == 1).sum()):,} ASVs are found in one sample alone.",
        ]
        lines += [f"{len(self.selected):,} samples are selected."] if self.selected else []
        lines += [line for line in (self._which_are_drawn(), self.ordinations[self.ordination]["note"]) if line]
        return "\n".join(lines)

    def _forget(self) -> None:
        self._curves_of = ((), "", 0, "")

    def saved_state(self) -> dict[str, Any]:
        """The traits, with the taxa of all ranks: without a kernel no more can be asked for."""
        return super().saved_state() | {"taxa": {rank: plain(self.shares(rank).sent()) for rank in self.ranks}}


def _draw(rng: np.random.Generator, rows: Ints, most: int) -> Ints:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _within(proposal: Any, most: int, what: str) -> int:
    """The value of a trait, which must be a whole number from 1 to `most`."""
    value, name = proposal["value"], proposal["trait"].name
    if not 1 <= value <= most:
        raise ExplorerError(
            f"{name} is {value}. Expected a whole number from 1 to {most:,} {what}. Set `explorer.{name} = {min(max(1, value), most)}`."
        )
    return int(value)


def explore(
    study: Study, *, distance: str | None = None, color: str | None = None, most: int | None = None, seed: int = 0
) -> StudyExplorer:
    """Look at a study: counts, depth and rarefaction, prevalence, metadata, a PCoA and the taxa of the samples selected in it.

    Drag the line of the depth to see how many samples and ASVs rarefying would keep; draw around dots of the PCoA, or click levels of
    a metadata column, to select samples. `explorer.selection` is then a study of them, and `explorer.rarefied` the study at that depth.

    Parameters
    ----------
    study
        A study, in memory or on disk. UniFrac needs its tree, and taxa its taxonomy; without them the rest is there all the same.
    distance
        Of the PCoA: "unweighted", "weighted_normalized" or "generalized" UniFrac, "braycurtis", "jaccard" or "aitchison". By default
        unweighted UniFrac, and Bray-Curtis where there is no tree.
    color
        Metadata column that colours dots; by default the first with 2 to 10 levels.
    most
        Samples compared at most; of more, so many are drawn at random. By default as many as can be compared in a few seconds: samples
        squared times mean ASVs are at most 10⁹, times all ASVs 2·10¹⁰, and samples 5,000.
    seed
        Of all random draws.

    Returns
    -------
    The explorer. Distances are computed when they are asked for.

    Raises
    ------
    EmptySampleError
        No sample has reads.
    ExplorerError, MissingTipError
        There is no such distance or column; the distance needs a tree.
    """
    return StudyExplorer(study, distance=distance, color=color, most=most, seed=seed)
