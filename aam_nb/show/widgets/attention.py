"""`aam.widgets.attention(model, study)`: where a model looks, from a sample to its ASVs to their nucleotides."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import traitlets
from matplotlib.figure import Figure, SubFigure
from scipy import sparse

from aam_nb.config import AttentionConfig, cut_list
from aam_nb.explain.attention.heads import NOT_IMPORTANCE, HeadMaps
from aam_nb.explain.attention.maps import AttentionMaps, require_asvs
from aam_nb.explain.attention.maps import attention as attention_maps
from aam_nb.explain.ids import as_id_list
from aam_nb.show import plots
from aam_nb.show.plots.style import cut
from aam_nb.show.widgets.asv_names import AsvNames
from aam_nb.show.widgets.explorer import Explorer, require_known, require_within
from aam_nb.show.widgets.payload import to_json_value
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

PREDICTED = 500
"""Samples up to which all are predicted at the start; of a larger study those looked at are."""
KEPT = 100
"""Samples, and ASVs, looked at last whose maps are kept, beside those named at the start."""
POSITIONS = 300
"""Most positions of an ASV drawn one by one; of more, neighbours are drawn as one."""
TOP = 24
"""ASVs shown one by one at first."""
IN_FIGURE = 15
"""Rows of the static figure."""
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class View:
    """What was found of a sample or an ASV: the maps, and what the browser gets of them."""

    maps: AttentionMaps
    sent: dict[str, Any]


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
        wanted, named = self._wanted(as_id_list("samples", samples)), as_id_list("asvs", asvs)
        for asv in require_asvs(study, named) if named else []:
            self._look_inside(asv)
        for sample in wanted:
            self._look_at(sample)
            self._look_inside(self._most_attended(sample))
        self._named = {*wanted, *self._asvs}
        first, asv = wanted[0], named[0] if named else self._most_attended(wanted[0])
        super().__init__(
            list(study.sample_ids),
            sample=first,
            asv=asv,
            top=min(TOP, self.most),
            maps={first: self._samples[first].sent},
            inside={asv: self._asvs[asv].sent},
            data=self._data(),
        )

    def _wanted(self, samples: list[str]) -> list[str]:
        """The samples looked at from the start: those named, or the first one that has reads."""
        known = self.study.sample_ids
        if unknown := [s for s in samples if s not in known]:
            raise UnknownIdError(
                f"{len(unknown)} of {len(samples)} samples are not in the study ({cut_list(unknown)}). It has {len(known)} samples such as "
                f"{cut_list(known[:3])}. Take ids from `study.sample_ids`."
            )
        if samples:
            return list(dict.fromkeys(samples))
        with_reads = known[(self.study.depth > 0).to_numpy()]
        if with_reads.empty:
            self.study.require_reads()
        return [str(s) for s in with_reads[:1]]

    def _data(self) -> dict[str, Any]:
        study, task = self.study, self.model.task
        targets = list(task.targets) if task else []
        predicted = self.model.predict(study) if task and self._predicts_all() else None
        outcomes = [
            {
                "name": name,
                "truth": study.metadata.get(name),
                "prediction": None if predicted is None else predicted[name],
            }
            for name in targets
        ]
        more = "" if task else ", once the model is fitted to a target"
        return to_json_value(
            {
                "samples": list(study.sample_ids),
                "asvs": study.richness,
                "reads": study.depth,
                "outcomes": outcomes,
                "layers": self.num_layers,
                "heads": self.num_heads,
                "most": self.most,
                "notImportance": NOT_IMPORTANCE,
                "moves": f"For what moves predictions, see `aam.widgets.attributions(aam.explain.attribute(model, study))`{more}.",
                "naming": self.names.rule,
            }
        )

    def _predicts_all(self) -> bool:
        return self.study.num_samples <= PREDICTED and bool((self.study.depth > 0).all())

    # -- what is chosen -----------------------------------------------------------------------------------------------------

    @traitlets.validate("sample")
    def _check_sample(self, proposal: Any) -> str:
        sample = require_known(proposal, self.sample_ids, "samples")
        self._look_at(sample)
        return sample

    @traitlets.validate("asv")
    def _check_asv(self, proposal: Any) -> str:
        asv = str(proposal["value"])
        if asv:
            require_asvs(self.study, [asv])
            self._look_inside(asv)
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
        if found := self._samples.get(self.sample):  # what was refused has none
            self.maps = {self.sample: found.sent}

    @traitlets.observe("asv")
    def _show_asv(self, change: Any) -> None:
        if not self.asv:
            self.inside = {}
        elif found := self._asvs.get(self.asv):
            self.inside = {self.asv: found.sent}

    # -- maps ---------------------------------------------------------------------------------------------------------------

    @property
    def attention(self) -> AttentionMaps:
        """The maps of the sample, at levels asv and pooling."""
        return self._samples[self.sample].maps

    @property
    def nucleotide_attention(self) -> AttentionMaps | None:
        """The maps of the ASV, at level nucleotide; None where none is chosen."""
        return self._asvs[self.asv].maps if self.asv else None

    def _look_at(self, sample: str) -> None:
        """The maps of a sample, unless they are there."""
        if sample in self._samples:
            self._samples[sample] = self._samples.pop(sample)
            return
        alone = self.study.keep_samples([sample]).in_memory()
        alone.require_reads()
        alone = alone.keep_asvs((alone.prevalence > 0).to_numpy())
        maps = attention_maps(self.model, alone, samples=[sample], levels=("asv", "pooling"), top=self.most)
        task = self.model.task
        row = self.model.predict(alone).iloc[0] if task else None
        predictions = {} if task is None or row is None else {name: row[name] for name in task.targets}
        self._keep(self._samples, sample, View(maps, self._sent_of_sample(maps, alone, predictions)))

    def _look_inside(self, asv: str) -> None:
        """The maps of an ASV, which are the same in every sample, unless they are there."""
        if asv in self._asvs:
            self._asvs[asv] = self._asvs.pop(asv)
            return
        any_sample = self.study.sample_ids[:1]  # an ASV is encoded by itself: nothing hangs on the sample
        alone = Study(sparse.csr_array([[1]]), any_sample, pd.Index([asv]), pd.DataFrame(index=any_sample))
        maps = attention_maps(self.model, alone, samples=list(any_sample), asvs=[asv], levels=("nucleotide",))
        self._keep(self._asvs, asv, View(maps, self._sent_of_asv(maps, asv)))

    def _keep(self, store: dict[str, View], name: str, found: View) -> None:
        store[name] = found
        for old in [n for n in store if n not in {*self._named, self.sample, self.asv}][:-KEPT]:
            del store[old]

    def _most_attended(self, sample: str) -> str:
        table = self._samples[sample].maps.pooling[sample]
        return next(str(name) for name in table.index if not _is_token(name))

    def _sent_of_sample(self, maps: AttentionMaps, alone: Study, predictions: dict[str, Any]) -> dict[str, Any]:
        sample = str(alone.sample_ids[0])
        found, pooling, rolled = maps.asv[sample], maps.pooling[sample], maps.rollout(sample)
        keys = found.names[found.names.isin(pooling.index)]
        others = pooling.index.difference(keys, sort=False)
        tokens, counts = sum(map(_is_token, keys)), self._reads(sample)
        with_others = [*keys, *([others] if len(others) else [])]
        by_head = pooling.drop(columns="mean")
        return to_json_value(
            {
                "id": sample,
                "tokens": tokens,
                "numAsvs": len(pooling) - tokens,
                "unseen": len(counts) - (len(pooling) - tokens),
                "others": len(others),
                "reads": sum(counts.values()),
                "predictions": predictions,
                "keys": {
                    "ids": list(keys),
                    "labels": self.names.labels(keys),
                    "lineages": self.names.lineages(keys),
                    "reads": [
                        *(counts.get(key) for key in keys),
                        *([sum(counts[asv] for asv in others)] if len(others) else []),
                    ],
                },
                "pooling": np.array(
                    [by_head.loc[of].to_numpy().reshape(-1, self.num_heads).sum(0) for of in with_others], float
                ),
                "rolled": np.array([rolled[of].sum() for of in with_others], float),
                "weights": packed(found.weights),
                "statistics": maps.heads(),
            }
        )

    def _reads(self, sample: str) -> dict[str, int]:
        """Reads of the ASVs that a sample holds."""
        row = self.study.table[np.array([self.sample_ids.get_loc(sample)])].tocoo()
        return dict(zip(self.study.asv_ids[row.coords[1]], map(int, row.data), strict=True))

    def _sent_of_asv(self, maps: AttentionMaps, asv: str) -> dict[str, Any]:
        found, pooling, rolled = maps.nucleotide[asv], maps.nucleotide_pooling[asv], maps.rolled[asv]
        weights, starts = folded_positions(found, POSITIONS)
        spans = [_span(name) for name in found.names]
        ends = [*starts[1:], len(spans)]
        return to_json_value(
            {
                "id": asv,
                "label": self.names.labels([asv])[0],
                "lineage": self.names.lineages([asv])[0],
                "prevalence": int(self.study.prevalence[asv]),
                "together": int(ends[0] - starts[0]),
                "spans": [[spans[a][0], spans[b - 1][1]] for a, b in zip(starts, ends, strict=True)],
                "pooling": np.add.reduceat(pooling.drop(columns="mean").to_numpy(float), starts, axis=0),
                "rolled": np.add.reduceat(rolled.to_numpy(float), starts),
                "weights": packed(weights),
                "statistics": maps.heads(),
            }
        )

    def saved_state(self) -> dict[str, Any]:
        """The traits that its JavaScript reads: of all samples and ASVs that are kept."""
        held = {"maps": self._samples, "inside": self._asvs}
        return super().saved_state() | {name: {k: v.sent for k, v in of.items()} for name, of in held.items()}

    # -- the static twin ----------------------------------------------------------------------------------------------------

    def figure(self) -> Figure:
        """Pooling attention of the sample, beside small maps of all layers and heads among its ASVs."""
        table, found = self.attention.pooling[self.sample], self.attention.asv[self.sample]
        L, H = found.weights.shape[:2]
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
        sent = self._samples[self.sample].sent
        _small_multiples(right, found, min(len(sent["keys"]["ids"]), sent["tokens"] + self.top))
        return figure

    def to_frame(self) -> pd.DataFrame:
        """Keys of the sample by pooling attention: `name` and `lineage` (where there is taxonomy), `reads`, each head, their `mean`, and
        `rollout`."""
        table = self.attention.pooling[self.sample]
        reads = pd.Series(self._reads(self.sample), dtype="Int64").reindex(table.index)
        frame = table.assign(rollout=self.attention.rollout(self.sample).reindex(table.index))
        frame.insert(0, "reads", reads)
        if self.names.ranks is not None:
            frame.insert(0, "lineage", self.names.lineages(table.index))
        frame.insert(0, "name", self.names.labels(table.index))
        return frame.rename_axis("asv_id")

    def sentence(self) -> str:
        """What attention is not, what is kept of the sample, and where to look further."""
        sent = self._samples[self.sample].sent
        asvs, one_by_one = sent["numAsvs"], min(len(sent["keys"]["ids"]) - sent["tokens"], self.top)
        table = self.attention.pooling[self.sample]["mean"]
        of_asvs = table[[not _is_token(name) for name in table.index]]
        share = of_asvs.iloc[:one_by_one].sum() / of_asvs.sum()
        rule = (
            f"All {asvs:,} ASVs of {self.sample} are shown."
            if one_by_one == asvs
            else f"Of the {asvs:,} ASVs in {self.sample} the {one_by_one} with most pooling attention (mean over heads) are shown one by "
            f"one; they hold {share:.0%} of the pooling attention on ASVs. The others are one row (their mean) and one column (their sum)."
        )
        unseen = f"The model does not see {sent['unseen']:,} other ASVs of it." if sent["unseen"] else ""
        return "\n".join(filter(None, [NOT_IMPORTANCE, rule, unseen, self.data["moves"]]))

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}; sample {self.sample}, {len(self._samples)} looked at). {NOT_IMPORTANCE}"


def packed(weights: Floats) -> dict[str, Any]:
    """Numbers in [0, 1] as the browser takes them: `shape`, and halves (float16, little-endian) as base64. Three digits are kept."""
    return {"shape": list(weights.shape), "halves": base64.b64encode(weights.astype("<f2").tobytes()).decode()}


def folded_positions(maps: HeadMaps, most: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Maps of at most so many positions: of neighbours that become one, columns are summed and rows averaged.

    Returns
    -------
    The maps, whose rows still sum to 1, and where each new position starts among the old ones.
    """
    P = maps.weights.shape[-1]
    starts = np.arange(0, P, -(-P // most))
    sizes = np.diff([*starts, P])
    if len(starts) == P:
        return maps.weights, starts
    summed = np.add.reduceat(maps.weights, starts, axis=-1)
    return np.add.reduceat(summed, starts, axis=-2) / sizes[:, None], starts


def _is_token(name: object) -> bool:
    """Whether a key is no ASV: those are named by their DNA."""
    return str(name).startswith("(")


def _span(name: object) -> tuple[int, int]:
    """First and last nucleotide of a position named "5-8"."""
    first, _, last = str(name).partition("-")
    return int(first), int(last or first)


def _small_multiples(place: SubFigure, found: HeadMaps, shown: int) -> None:
    """A small map a head, of the first keys, each with colours up to its own largest number, which stands above it."""
    L, H = found.weights.shape[:2]
    axes = place.subplots(L, H, squeeze=False)
    for (k, h), ax in np.ndenumerate(axes):
        part = found.weights[k, h, :shown, :shown]
        ax.imshow(part, cmap="cividis", vmin=0, vmax=max(float(part.max()), 1e-12))
        name = f"layer {k + 1}, head {h + 1}" if H <= 4 else f"L{k + 1} H{h + 1}"
        ax.set_title(f"{name}\nto {part.max():.2g}", fontsize=8 if H <= 4 else 6)
        ax.set(xticks=[], yticks=[])
    place.supylabel("looks", fontsize=8)
    place.supxlabel(f"is looked at: the first {shown} rows and columns", fontsize=8)


def attention(
    model: AAM, study: Study, *, samples: Sequence[str] = (), asvs: Sequence[str] = (), most: int = 64
) -> AttentionExplorer:
    """Look at a model's attention: from a sample to its ASVs, among these, and down to their nucleotides, by layer and head.

    A sample's maps are made when it is chosen. Attention shows where the model looks, not what moves its prediction.

    Parameters
    ----------
    model
        Trained; it needs no target.
    study
        Its samples can be looked at. Taxonomy names its ASVs; its tree gives the distances that heads reach.
    samples
        Ids of samples to look at from the start, the first of them first, each with its most attended ASV; a page that is saved holds
        these and those looked at since. By default the first sample that has reads.
    asvs
        ASVs to look into from the start, likewise.
    most
        ASVs of a sample that can be shown one by one: those with most pooling attention (mean over heads).

    Returns
    -------
    A widget; see `AttentionExplorer` for its traits.

    Raises
    ------
    NotFittedError, UnknownIdError, EmptySampleError
        The model is not trained; a sample or an ASV is not in the study, or the study lacks a covariate; a sample has no reads.
    """
    return AttentionExplorer(model, study, samples=samples, asvs=asvs, most=most)
