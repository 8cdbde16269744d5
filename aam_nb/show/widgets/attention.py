"""`aam.widgets.attention(model, study)`: where a model looks, from a sample to its ASVs to their nucleotides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import traitlets
from matplotlib.figure import Figure, SubFigure

from aam_nb.config import (
    AttentionConfig,
    count_noun,
    format_number,
    telling_of_memory,
)
from aam_nb.explain.attention.heads import NOT_IMPORTANCE, HeadMaps
from aam_nb.explain.attention.maps import AttentionMaps, require_asvs
from aam_nb.explain.ids import as_id_list
from aam_nb.show import plots
from aam_nb.show.plots.style import cut
from aam_nb.show.widgets.asv_names import AsvNames
from aam_nb.show.widgets.attention_payload import (
    View,
    choose_samples,
    count_reads,
    explorer_payload,
    is_token,
    most_attended_asv,
    view_asv,
    view_sample,
)
from aam_nb.show.widgets.explorer import Explorer, require_known, require_within
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

KEPT = 100
"""Samples, and ASVs, chosen last whose maps are kept, beside those named at the start."""
TOP = 24
"""ASVs shown one by one at first."""
IN_FIGURE = 15
"""Rows of the static figure."""


class AttentionExplorer(Explorer):
    """See `attention`. Traits: `sample` and `asv` (ids; `asv` may be ""), `layer` and `head` (from 1), `mode` ("head", "mean" over heads,
    or "rollout"), `top` (ASVs shown one by one), and `selected`. `maps` and `inside` hold what is drawn of the sample and of the ASV."""

    script = "attention"
    title = "Attention"
    kept = ("maps", "inside", "sample", "asv", "layer", "head", "mode", "top")

    sample = traitlets.Unicode().tag(sync=True)
    asv = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Int(1).tag(sync=True)
    head = traitlets.Int(1).tag(sync=True)
    mode = traitlets.Enum(["head", "mean", "rollout"], default_value="mean").tag(sync=True)
    top = traitlets.Int(TOP).tag(sync=True)
    maps = traitlets.Dict(help="What is drawn of the sample, by its id.").tag(sync=True)
    inside = traitlets.Dict(help="What is drawn of the ASV, by its DNA.").tag(sync=True)

    def __init__(
        self, model: AAM, study: Study, *, samples: Sequence[str] = (), asvs: Sequence[str] = (), most: int = 64
    ) -> None:
        self.model, self.study = model, study
        self.most = AttentionConfig(top=most).top
        self.num_layers, self.num_heads = model.config.num_layers, model.config.num_attn_heads
        self.names = AsvNames(study)
        self._samples: dict[str, View] = {}
        self._asvs: dict[str, View] = {}
        self._named: set[str] = set()
        self.sample_ids = study.sample_ids
        named_samples, named_asvs = choose_samples(study, as_id_list("samples", samples)), as_id_list("asvs", asvs)
        for asv in require_asvs(study, named_asvs) if named_asvs else []:
            self._view_asv(asv)
        for sample in named_samples:
            self._view_asv(most_attended_asv(self._view_sample(sample).maps, sample))
        self._named = {*named_samples, *self._asvs}
        first = named_samples[0]
        asv = named_asvs[0] if named_asvs else most_attended_asv(self._samples[first].maps, first)
        super().__init__(
            list(study.sample_ids),
            sample=first,
            asv=asv,
            top=min(TOP, self.most),
            maps={first: self._samples[first].payload},
            inside={asv: self._asvs[asv].payload},
            data=explorer_payload(model, study, most=self.most, naming=self.names.rule),
        )

    # -- what is chosen -----------------------------------------------------------------------------------------------------

    @traitlets.validate("sample")
    def _check_sample(self, proposal: Any) -> str:
        sample = require_known(proposal, self.sample_ids, "samples")
        self._view_sample(sample)
        return sample

    @traitlets.validate("asv")
    def _check_asv(self, proposal: Any) -> str:
        asv = str(proposal["value"])
        if asv:
            require_asvs(self.study, [asv])
            self._view_asv(asv)
        return asv

    @traitlets.validate("layer", "head")
    def _check_number(self, proposal: Any) -> int:
        name = proposal["trait"].name
        return require_within(proposal, 1, self.num_layers if name == "layer" else self.num_heads, f"{name}s")

    @traitlets.validate("top")
    def _check_top(self, proposal: Any) -> int:
        return require_within(proposal, 1, self.most, "ASVs, as `most` says")

    @traitlets.observe("sample")
    def _show_sample(self, change: Any) -> None:
        if view := self._samples.get(self.sample):  # what was refused has none
            self.maps = {self.sample: view.payload}

    @traitlets.observe("asv")
    def _show_asv(self, change: Any) -> None:
        if not self.asv:
            self.inside = {}
        elif view := self._asvs.get(self.asv):
            self.inside = {self.asv: view.payload}

    # -- maps ---------------------------------------------------------------------------------------------------------------

    @property
    def attention(self) -> AttentionMaps:
        """The maps of the sample, at levels asv and pooling."""
        return self._samples[self.sample].maps

    @property
    def nucleotide_attention(self) -> AttentionMaps | None:
        """The maps of the ASV, at level nucleotide; None where none is chosen."""
        return self._asvs[self.asv].maps if self.asv else None

    def _view_sample(self, sample: str) -> View:
        """The maps of a sample, which is now the latest of those kept."""
        view = self._samples.pop(sample, None) or view_sample(
            self.model, self.study, sample, most=self.most, names=self.names
        )
        self._keep(self._samples, sample, view)
        return view

    def _view_asv(self, asv: str) -> View:
        """The maps of an ASV, which is now the latest of those kept."""
        view = self._asvs.pop(asv, None) or view_asv(self.model, self.study, asv, names=self.names)
        self._keep(self._asvs, asv, view)
        return view

    def _keep(self, views: dict[str, View], name: str, view: View) -> None:
        views[name] = view
        for old in [n for n in views if n not in {*self._named, self.sample, self.asv}][:-KEPT]:
            del views[old]

    def saved_state(self) -> dict[str, Any]:
        """The traits that its JavaScript reads: of all samples and ASVs that are kept."""
        views = {"maps": self._samples, "inside": self._asvs}
        return super().saved_state() | {
            trait: {name: view.payload for name, view in kept.items()} for trait, kept in views.items()
        }

    # -- the static twin ----------------------------------------------------------------------------------------------------

    def figure(self) -> Figure:
        """Pooling attention of the sample, beside small maps of all layers and heads among its ASVs."""
        table, heads = self.attention.pooling[self.sample], self.attention.asv[self.sample]
        L, H = heads.weights.shape[:2]
        rows = min(IN_FIGURE, len(table))
        tall = 0.28 * rows + 1.9
        side = max(0.6, min(2.2, 7 / H, tall / L - 0.5))  # inches of a small map
        size = (6.4 + side * H + 0.8, max(tall, (side + 0.5) * L + 0.6))
        figure = plt.figure(figsize=size, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[6.4, side * H + 0.8], squeeze=False)[0]
        ax = plots.attention(table, sample=self.sample, top=IN_FIGURE, ax=left.subplots())
        ax.tick_params(axis="x", labelsize=8, rotation=0 if H <= 4 else 90)
        labels = [cut(label, 40) for label in self.names.labels(table.index[:rows])]
        ax.set_yticks(ax.get_yticks(), labels, family="DejaVu Sans", fontsize=8)
        payload = self._samples[self.sample].payload
        _draw_heads(right, heads, min(len(payload["keys"]["ids"]), payload["tokens"] + self.top))
        return figure

    def to_frame(self) -> pd.DataFrame:
        """Keys of the sample by pooling attention: `name` and `lineage` (where there is taxonomy), `reads`, each head, their `mean`, and
        `rollout`."""
        table = self.attention.pooling[self.sample]
        reads = pd.Series(count_reads(self.study, self.sample), dtype="Int64").reindex(table.index)
        frame = table.assign(rollout=self.attention.rollout(self.sample).reindex(table.index))
        frame.insert(0, "reads", reads)
        if self.names.ranks is not None:
            frame.insert(0, "lineage", self.names.lineages(table.index))
        frame.insert(0, "name", self.names.labels(table.index))
        return frame.rename_axis("asv_id")

    def sentence(self) -> str:
        """What attention is not, what is kept of the sample, and where to look further."""
        payload = self._samples[self.sample].payload
        num_asvs, num_shown = payload["numAsvs"], min(len(payload["keys"]["ids"]) - payload["tokens"], self.top)
        attention = self.attention.pooling[self.sample]["mean"]
        of_asvs = attention[[not is_token(name) for name in attention.index]]
        share = of_asvs.iloc[:num_shown].sum() / of_asvs.sum()
        num_others = num_asvs - num_shown
        others = "The other one is" if num_others == 1 else f"The {num_others:,} others are"
        # The words are those of js/attention/notes.js.
        rule = (
            f"All ASVs of {self.sample} are shown ({num_asvs:,})."
            if not num_others
            else f"Of the {num_asvs:,} ASVs in {self.sample}, the {num_shown} with most pooling attention (mean over heads) are shown one "
            f"by one; they have {share:.0%} of the pooling attention on ASVs. {others} one row (their mean) and one column (their sum)."
        )
        unseen = ""
        if payload["unseen"]:
            unseen = f"The model does not see {count_noun(payload['unseen'], 'other ASV')} of this sample."
        return "\n".join(filter(None, [NOT_IMPORTANCE, rule, unseen, self.data["moves"]]))

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}; sample {self.sample}, maps of {count_noun(len(self._samples), 'sample')}). {NOT_IMPORTANCE}"


def _draw_heads(subfigure: SubFigure, maps: HeadMaps, num_shown: int) -> None:
    """A small map for each head, of the first keys, each with colours up to its own largest number, which stands above it."""
    L, H = maps.weights.shape[:2]
    axes = subfigure.subplots(L, H, squeeze=False)
    for (k, h), ax in np.ndenumerate(axes):
        weights = maps.weights[k, h, :num_shown, :num_shown]
        ax.imshow(weights, cmap="cividis", vmin=0, vmax=max(float(weights.max()), 1e-12))
        name = f"layer {k + 1}, head {h + 1}" if H <= 4 else f"L{k + 1} H{h + 1}"
        ax.set_title(f"{name}\nto {format_number(weights.max(), 2)}", fontsize=8 if H <= 4 else 6)
        ax.set(xticks=[], yticks=[])
    subfigure.supylabel("from", fontsize=8)
    subfigure.supxlabel(f"to (the first {num_shown} rows and columns)", fontsize=8)


@telling_of_memory("making the explorer", "fewer samples or ASVs, or a machine with more memory")
def attention(
    model: AAM, study: Study, *, samples: Sequence[str] = (), asvs: Sequence[str] = (), most: int = 64
) -> AttentionExplorer:
    """Explore a model's attention: from a sample to its ASVs, among these, and down to their nucleotides, by layer and head.

    A sample's maps are made when it is chosen. Attention shows where the model looks, not what moves its prediction.

    Parameters
    ----------
    model
        Trained; it needs no target.
    study
        Its samples can be chosen. Taxonomy names its ASVs; its tree gives the distances that heads reach.
    samples
        Ids of samples whose maps are made at the start, the first of them shown, each with its most attended ASV; a page that is saved
        holds these and those chosen since. By default the first sample that has reads.
    asvs
        ASVs whose maps are made at the start, likewise.
    most
        ASVs of a sample that can be shown one by one: those with most pooling attention (mean over heads).

    Returns
    -------
    A widget; see `AttentionExplorer` for its traits.

    Raises
    ------
    NotFittedError, UnknownIdError, EmptySampleError
        The model is not trained; a sample or an ASV is not in the study, or the study lacks a covariate; a sample has no reads.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    AAM(...)
    >>> explorer = aam.widgets.attention(model, study, samples=study.sample_ids[:1])
    >>> explorer.sample == study.sample_ids[0], explorer.asv in study.asv_ids
    (True, True)
    >>> explorer.to_frame().columns.tolist()
    ['name', 'reads', ...]
    """
    return AttentionExplorer(model, study, samples=samples, asvs=asvs, most=most)
