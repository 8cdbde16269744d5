"""`aam.widgets.attributions(found)`: what moved predictions, from clades and taxa to ASVs to nucleotides, and whether to believe it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import sparse

from aam_nb.config import FaithfulnessConfig, cut_list
from aam_nb.explain.attribution.attribute import GapWarning, attribute
from aam_nb.explain.attribution.methods import TOLERANCE
from aam_nb.explain.attribution.nucleotides import LETTERS
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.attribution.taxa_and_clades import (
    AsvSets,
    choose_clades,
    find_clades,
    find_taxa,
    join_taxonomy,
    sum_over_sets,
)
from aam_nb.explain.faithfulness.faithfulness import PLURAL, Faithfulness, faithfulness
from aam_nb.explain.ids import as_id_list
from aam_nb.show import plots
from aam_nb.show.plots.style import cut, short
from aam_nb.show.widgets.explorer import Explorer, one_of, plain, within
from aam_nb.show.widgets.names import AsvNames
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.errors import MissingTipError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

CHECKS = FaithfulnessConfig(max_samples=40, num_random=10, num_samples=8, num_subsets=32, seeds=0, shuffles=0)
"""The fast checks: nothing is fitted anew."""
MOST = 60
"""Features of a level, tips of the tree and rows of a difference at most."""
TOP = 15
"""Features shown at first."""
STRIPS = 20
"""Features whose samples are drawn one by one, at most."""
DOTS = 400
"""Samples drawn as dots; of more, so many are drawn by chance."""
HOLDERS = 16
"""Samples behind the nucleotides of one ASV; of more that hold it, so many are drawn by chance."""
IN_PAGE = (60_000, 5_000)
"""Attributions and features up to which a saved page holds them all, so that any two samples can be compared on it."""
METHODS = ("integrated_gradients", "occlusion")
"""How the nucleotides of an ASV are explained."""
HIDDEN = "the sample with this ASV's letters hidden"
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """What was found at a level, or a rank of it.

    Parameters
    ----------
    part
        Attributions of the features that are shown, the most important first.
    columns
        Their places among all features there.
    sent
        What the browser gets of them.
    """

    part: Attributions
    columns: Ints
    sent: dict[str, Any]


class AttributionsExplorer(Explorer):
    """See `attributions`. Traits: `level` ("asv", "taxon", "clade" or what there is), `rank` (of the taxa), `top` (features shown), `asv`
    (its DNA, or ""; its nucleotides are explained), `group` (a taxon such as "genus: Blautia", or a clade such as "node 12", or "";
    its ASVs are marked), `sample_a` and `sample_b` (compared), `letters` (the method for nucleotides), `start` and `span` (the first
    nucleotide drawn and how many, 0 for all), `branches` ("lengths" or "equal"), `checking` (set it to make the fast checks), and
    `selected`. `levels`, `inside`, `pair` and `verdict` hold what is drawn. `asvs` are the ASVs of what is chosen."""

    script = "attributions"
    title = "Attributions"
    kept = (
        "levels", "inside", "pair", "verdict", "level", "rank", "top", "asv", "group", "sample_a", "sample_b", "letters", "start",
        "span", "branches", "checking",
    )  # fmt: skip

    level = traitlets.Unicode().tag(sync=True)
    rank = traitlets.Unicode().tag(sync=True)
    top = traitlets.Int(TOP).tag(sync=True)
    asv = traitlets.Unicode().tag(sync=True)
    group = traitlets.Unicode().tag(sync=True)
    sample_a = traitlets.Unicode().tag(sync=True)
    sample_b = traitlets.Unicode().tag(sync=True)
    letters = traitlets.Unicode().tag(sync=True)
    start = traitlets.Int(1).tag(sync=True)
    span = traitlets.Int(75).tag(sync=True)
    branches = traitlets.Enum(["lengths", "equal"], default_value="lengths").tag(sync=True)
    checking = traitlets.Bool(False).tag(sync=True)
    levels = traitlets.Dict(help="What is drawn of the level, by its key.").tag(sync=True)
    inside = traitlets.Dict(help="What is drawn of the ASV's nucleotides, by method and DNA.").tag(sync=True)
    pair = traitlets.Dict(help="What is drawn of the two samples, by their ids.").tag(sync=True)
    verdict = traitlets.Dict(help="Whether the attributions can be believed.").tag(sync=True)

    def __init__(
        self,
        found: Attributions,
        *,
        faithfulness: Faithfulness | None = None,
        study: Study | None = None,
        mark: Iterable[str] | None = None,
        asvs: Sequence[str] = (),
    ) -> None:
        if not found.values.nnz:
            raise ExplorerError(
                f"{found!r} holds nothing: no sample has a feature. Expected samples with reads. Make them with "
                "`aam.explain.attribute(model, study)`."
            )
        _refuse_others(found, faithfulness)
        self.found, self.faithfulness = found, faithfulness
        self.source = study if study is not None else found.study
        truth = self.source.truth if self.source is not None and mark is None else None
        self.marked = (
            set(as_id_list("mark", mark)) if mark is not None else set(truth.asvs(found.target) if truth else ())
        )
        self.sample_ids = found.sample_ids
        self.named = AsvNames(self._asvs_study if found.level == "asv" or self.source is None else self.source)
        self._looked: dict[str, View] = {}
        self._inside: dict[str, dict[str, Any]] = {}
        self._pairs: dict[str, dict[str, Any]] = {}
        self._methods = (found.method,) if found.level == "nucleotide" else METHODS
        self._ranks = self._ranks_of()
        rank = self._first_rank()
        key = _key(found.level, rank)
        first, second = _far_apart(found.check)
        wanted = as_id_list("asvs", asvs)
        if unknown := [a for a in wanted if a not in found.asv_ids]:
            raise UnknownIdError(self._unknown_asvs(unknown, len(wanted)))
        for asv in wanted:
            self._look_inside(asv, self._methods[0])
        asv = wanted[0] if wanted else str(found.asv_ids[0]) if found.level == "nucleotide" else ""
        if asv:
            self._look_inside(asv, self._methods[0])
        super().__init__(
            list(map(str, found.sample_ids)),
            level=found.level,
            rank=rank,
            top=min(TOP, len(self._look(found.level, rank).columns)),
            asv=asv,
            letters=self._methods[0],
            sample_a=first,
            sample_b=second,
            levels={key: self._look(found.level, rank).sent},
            inside=self._shown_inside(asv, self._methods[0]),
            pair={_pair_key(first, second): self._compare(first, second)},
            verdict=self._verdict(),
            data=self._data(),
        )

    # -- what there is to show --------------------------------------------------------------------------------------------

    @cached_property
    def _asvs_study(self) -> Study:
        """The ASVs explained, in the order of `found.asv_ids`, with the taxonomy and the tree that are at hand; it has no reads."""
        found, source, ids = self.found, self.source, self.found.asv_ids
        ranks = found.features if found.level == "asv" and found.features.shape[1] else None
        if source is not None and source.taxonomy is not None and ranks is None:
            ranks = source.taxonomy.reindex(ids)
        return Study(
            sparse.csr_array((1, len(ids)), dtype=np.int64),
            pd.Index(["no sample"]),
            ids,
            pd.DataFrame(index=pd.Index(["no sample"])),
            tree=None if source is None else source.tree,
            taxonomy=None if ranks is None else ranks.set_axis(pd.Index(ids, dtype=str, name="asv_id")),
        )

    @cached_property
    def _held(self) -> npt.NDArray[np.bool_]:
        """Features that a sample, or the reference, has."""
        return np.bincount(self.found.values.indices, minlength=self.found.values.shape[1]) > 0

    def _groups(self, level: str, rank: str = "") -> AsvSets:
        """Taxa of a rank, or clades, as `aam.explain.attribute` makes them."""
        key = _key(level, rank)
        if key not in self._known_groups:
            study = self._asvs_study
            taxonomy = join_taxonomy(study, study.asv_ids)
            self._known_groups[key] = (
                find_taxa(taxonomy, self._held, rank)
                if level == "taxon"
                else find_clades(study.require_tree(), study.asv_ids, self._held, taxonomy)
            )
        return self._known_groups[key]

    @cached_property
    def _known_groups(self) -> dict[str, AsvSets]:
        return {}

    @cached_property
    def _no_tree(self) -> str:
        """Why there are no clades; empty where there are."""
        if self.found.level != "asv":
            return "The tree is drawn from attributions at level 'asv': `aam.explain.attribute(model, study)`."
        if self._asvs_study.tree is None:
            return "There is no tree. Give the study with its tree: `aam.widgets.attributions(found, study=study)`."
        try:
            self._groups("clade")
        except (ExplainError, MissingTipError) as error:
            return str(error)
        return ""

    @property
    def _no_letters(self) -> str:
        """Why nucleotides cannot be explained; empty where they can."""
        found = self.found
        if found.level == "nucleotide" or (found.level == "asv" and self._at_hand):
            return ""
        if found.level != "asv":
            return "Nucleotides are explained from attributions at level 'asv': `aam.explain.attribute(model, study)`."
        return "These carry no model, so nucleotides cannot be explained. Make them with `aam.explain.attribute(model, study)`."

    @property
    def _at_hand(self) -> bool:
        return self.found.model is not None and self.found.study is not None and self.found.asked is not None

    def _ranks_of(self) -> list[str]:
        if self.found.level == "taxon":
            return [str(r) for r in self.found.features["rank"].unique()]
        ranks = self.named.ranks if self.found.level == "asv" else None
        return [] if ranks is None else [str(r) for r in ranks.columns]

    def _first_rank(self) -> str:
        """The lowest rank at which ASVs with at least half of all mean absolute attribution have a name."""
        if not self._ranks:
            return ""
        ranks = self.named.ranks if self.found.level == "asv" else None
        if ranks is None:
            return self._ranks[-1]
        size = np.asarray(abs(self.found.values).sum(0), dtype=float).ravel()
        named = [r for r in self._ranks if size[ranks[r].notna().to_numpy()].sum() >= size.sum() / 2]
        return (named or self._ranks)[-1]

    @property
    def _levels(self) -> list[str]:
        found = self.found
        if found.level != "asv":
            return [found.level]
        return ["asv", *(["taxon"] if self._ranks else []), *([] if self._no_tree else ["clade"])]

    def _data(self) -> dict[str, Any]:
        found, check = self.found, self.found.check
        asvs = self._look("asv").sent["items"] if found.level == "asv" else []
        return plain(
            {
                "target": found.target,
                "unit": self._unit,
                "shortUnit": cut(self._unit.replace("each sample's predicted", "predicted"), 36),
                "method": found.method,
                "ownLevel": found.level,
                "levels": [[name, PLURAL[name]] for name in self._levels],
                "ranks": self._ranks,
                "summary": self._summary(),
                "beware": self._beware(),
                "marks": bool(self.marked),
                "planted": self.source is not None and self.source.truth is not None,
                "naming": self.named.rule if found.level == "asv" else "",
                "samples": list(map(str, found.sample_ids)),
                "check": {name: check[name] for name in ("output", "prediction", "reference", "sum", "gap")},
                "shares": found.gaps() if found.complete else None,
                "complete": found.complete,
                "adds": self._adds,
                "asvs": [{k: v for k, v in item.items() if k != "strip"} for item in asvs],
                "tree": None if self._no_tree else self._drawn_tree(),
                "noTree": self._no_tree,
                "noLetters": self._no_letters,
                "methods": self._methods,
                "dots": len(self._dots),
                "holders": HOLDERS,
                "mostTop": MOST,
                "strips": STRIPS,
                "checks": f"{min(CHECKS.max_samples, len(found.sample_ids))} samples, nothing is fitted anew",
            }
        )

    @property
    def _unit(self) -> str:
        found = self.found
        return found.unit if found.output in ("", found.target) else f"{found.unit}, {found.output}"

    @property
    def _adds(self) -> bool:
        """Whether a sample's features are apart, so that they can be added up."""
        return self.found.level != "clade" and (self.found.level != "taxon" or len(self._ranks) == 1)

    # -- levels -----------------------------------------------------------------------------------------------------------

    def _at(self, level: str, rank: str) -> Attributions:
        """Attributions at a level: those given, or the sums of their ASVs'."""
        found = self.found
        if level != found.level:
            return _sums(found, level, self._groups(level, rank))
        return found if level != "taxon" else _part(found, np.flatnonzero((found.features["rank"] == rank).to_numpy()))

    def _look(self, level: str, rank: str = "") -> View:
        key = _key(level, rank)
        if key not in self._looked:
            if level == self.found.level:
                whole = self._at(level, rank)
                num, columns = (
                    whole.values.shape[1],
                    _strongest(whole.values, whole.members if level == "clade" else None),
                )
                part = _part(whole, columns)
            else:
                groups = self._groups(level, rank)
                size = sparse.csr_array(self.found.values @ groups.members.T)
                num, columns = len(groups), _strongest(size, groups.members if level == "clade" else None)
                part = _sums(self.found, level, AsvSets(groups.features.iloc[columns], groups.members[columns]))
            self._looked[key] = View(part, columns, plain({"items": self._items(part), "features": num}))
        return self._looked[key]

    def _items(self, part: Attributions) -> list[dict[str, Any]]:
        table, features = part.by_feature(), part.features
        labels, lineages = self._labels(part.level, features)
        place = {name: k for k, name in enumerate(features.index)}
        strips = self._strips(part)
        items = []
        for name, row in zip(table.index, table.to_dict("records"), strict=True):
            k = place[name]
            item = {
                "id": str(name), "label": labels[k], "lineage": lineages[k], "marked": part.level == "asv" and name in self.marked,
                **{c: row[c] for c in ("mean", "mean_abs", "low", "high", "samples", "positive", "consistency")},
            }  # fmt: skip
            if part.level in ("taxon", "clade"):
                item |= {"asvs": int(features["num_asvs"].iloc[k]), "among": self._among(part, k)}
            items.append(item | {"strip": strips[k] if k < STRIPS else None})
        return items

    def _labels(self, level: str, features: pd.DataFrame) -> tuple[list[str], list[str]]:
        """Names of features, and what more there is to say of each."""
        names, nothing = list(map(str, features.index)), [""] * len(features)
        if level == "asv":
            return self.named.of(names), self.named.lineages(names)
        if level == "taxon":
            return list(map(str, features["name"])), [f"rank {r}" for r in features["rank"]]
        if level == "clade":
            return [
                f"{n or c} ({k} ASVs)" for c, n, k in zip(names, features["name"], features["num_asvs"], strict=True)
            ], names
        if level == "nucleotide":
            rows = zip(features["asv_id"], features["letter"], features["position"], strict=True)
            return [f"{short(a)} {letter}{at}" for a, letter, at in rows], nothing
        return names, nothing

    def _among(self, part: Attributions, k: int) -> list[int]:
        """Which of the ASVs shown a taxon or clade has, as places among them."""
        if self.found.level != "asv" or part.members is None:
            return []
        return [int(p) for p in np.flatnonzero(np.isin(self._look("asv").columns, part.members[[k]].indices))]

    @cached_property
    def _dots(self) -> Ints:
        n = len(self.found.sample_ids)
        if n <= DOTS:
            return np.arange(n)
        return np.sort(np.random.default_rng(0).choice(n, DOTS, replace=False))

    @cached_property
    def _shares(self) -> sparse.csr_array | None:
        """Relative abundance of the ASVs in the samples drawn as dots; None where the samples are not at hand."""
        found, source = self.found, self.source
        ids = found.sample_ids[self._dots]
        if source is None or found.level not in ("asv", "taxon", "clade") or not ids.isin(source.sample_ids).all():
            return None
        rows = source.keep_samples(ids).in_memory()
        coo = sparse.csr_array(rows.table).tocoo()
        row, column = coo.coords
        where = found.asv_ids.get_indexer(rows.asv_ids)[column]
        share = coo.data / np.maximum(rows.depth.to_numpy()[row], 1)
        kept = where >= 0
        return sparse.csr_array((share[kept], (row[kept], where[kept])), shape=(len(ids), len(found.asv_ids)))

    def _strips(self, part: Attributions) -> list[dict[str, Any]]:
        """For the first features: the samples that have an attribution for each, it, and the abundance."""
        num = min(STRIPS, part.values.shape[1])
        values = part.values[self._dots].tocsc()[:, :num]
        shares = None
        if self._shares is not None and part.members is not None:
            shares = (self._shares @ part.members[:num].T).toarray()
        found = []
        for k in range(num):
            rows = values.indices[values.indptr[k] : values.indptr[k + 1]]
            found.append(
                {
                    "samples": self._dots[rows],
                    "values": values.data[values.indptr[k] : values.indptr[k + 1]],
                    "shares": None if shares is None else shares[rows, k],
                }
            )
        return found

    # -- the tree ---------------------------------------------------------------------------------------------------------

    def _drawn_tree(self) -> dict[str, Any]:
        """The tree of the ASVs shown: nodes, parents first, and what each clade was given, its ASVs that are not drawn included."""
        tree, columns = self._asvs_study.require_tree(), self._look("asv").columns
        ids = self.found.asv_ids[columns]
        tips = {tree.tip_node[a]: k for k, a in enumerate(ids) if a in tree.tip_node}
        nodes, parents, lengths = induced(tree, list(tips))
        groups = self._groups("clade")
        at = groups.features.index.get_indexer(pd.Index([f"node {n}" for n in nodes]))
        there = np.flatnonzero(at >= 0)
        own = AsvSets(groups.features.iloc[at[there]], groups.members[at[there]])
        part = _sums(self.found, "clade", own)
        table = part.by_feature().reindex(own.features.index)
        labels = self._labels("clade", own.features)[0]
        of = dict(zip(there.tolist(), range(len(there)), strict=True))
        rows = []
        for k, node in enumerate(nodes):
            row: dict[str, Any] = {"parent": parents[k], "length": lengths[k], "tip": tips.get(node, -1), "id": ""}
            if k in of:
                told = table.iloc[of[k]]
                row |= {"id": own.features.index[of[k]], "label": labels[of[k]], "asvs": int(told["num_asvs"])}
                row |= {c: told[c] for c in ("mean", "low", "high", "samples")}
            rows.append(row)
        return {"nodes": rows, "lost": len(ids) - len(tips)}

    # -- nucleotides ------------------------------------------------------------------------------------------------------

    def _look_inside(self, asv: str, method: str) -> None:
        """Explain the nucleotides of an ASV, unless that was done or cannot be."""
        key = f"{method} {asv}"
        if key in self._inside or self._no_letters:
            return
        found = self.found
        if found.level == "nucleotide":
            part, used = _part(found, np.flatnonzero((found.features["asv_id"] == asv).to_numpy())), 0
            holders = used = int(np.unique(part.values.tocoo().coords[0]).size)
            mutations = None if found.mutations is None else found.mutations.loc[part.features.index]
        else:
            assert found.study is not None
            assert found.model is not None
            assert found.asked is not None
            having = found.study.keep_samples(self._having(asv))
            holders, used = having.num_samples, min(having.num_samples, HOLDERS)
            if not holders:
                words = "No explained sample holds this ASV; only the reference does."
                self._inside[key] = {"id": asv, "label": self.named.of([asv])[0], "missing": words}
                return
            rows = np.sort(np.random.default_rng(0).permutation(holders)[:HOLDERS])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", GapWarning)  # the gap is told below
                part = attribute(
                    found.model,
                    having.keep_samples(having.sample_ids[rows]),
                    level="nucleotide",
                    method=method,
                    asvs=[asv],
                    **{name: found.asked[name] for name in ("output", "direction", "config")},
                )
            mutations = part.mutations
        table = part.by_feature().reindex(part.features.index)
        gap = part.largest_gap if found.level != "nucleotide" else float("nan")
        self._inside[key] = plain(
            {
                "id": asv,
                "label": self.named.of([asv])[0],
                "lineage": self.named.lineages([asv])[0],
                "reference": part.reference if found.level == "nucleotide" or method == "occlusion" else HIDDEN,
                "samples": used,
                "holders": holders,
                "letters": "".join(table["letter"]),
                **{name: table[name] for name in ("mean", "low", "high", "positive")},
                "mutations": None if mutations is None else mutations[list(LETTERS)].to_numpy(float).T,
                "warning": f"They miss up to {gap:.1%} of the change explained." if gap > TOLERANCE else "",
            }
        )

    def _having(self, asv: str) -> pd.Index:
        """Explained samples that hold an ASV."""
        study = self.found.study
        assert study is not None
        if asv not in study.asv_ids:
            return study.sample_ids[:0]
        column = [study.asv_ids.get_loc(asv)]
        parts = [np.asarray((reads[:, column] > 0).sum(1)).ravel() > 0 for _, reads in study.blocks()]
        return study.sample_ids[np.concatenate(parts)]

    def _shown_inside(self, asv: str, method: str) -> dict[str, Any]:
        key = f"{method} {asv}"
        return {key: self._inside[key]} if key in self._inside else {}

    # -- two samples ------------------------------------------------------------------------------------------------------

    def _compare(self, a: str, b: str) -> dict[str, Any]:
        key = _pair_key(a, b)
        if key not in self._pairs:
            table = self.found.difference(a, b)
            shown = table.iloc[:MOST]
            places = self.found.features.index.get_indexer(shown.index)
            labels, lineages = self._labels(self.found.level, self.found.features.iloc[places])
            self._pairs[key] = plain(
                {
                    "rows": [
                        {
                            "id": str(i),
                            "label": label,
                            "lineage": lineage,
                            "a": x,
                            "b": y,
                            "difference": d,
                            "marked": i in self.marked,
                        }
                        for i, label, lineage, x, y, d in zip(
                            shown.index, labels, lineages, shown["a"], shown["b"], shown["difference"], strict=True
                        )
                    ],
                    "others": len(table) - len(shown),
                    "total": table["difference"].sum(),
                }
            )
        return self._pairs[key]

    # -- the verdict ------------------------------------------------------------------------------------------------------

    def check(self, config: FaithfulnessConfig | None = None) -> Faithfulness:
        """Check the attributions, by default fast and without fitting anything anew, and show the verdict.

        Raises
        ------
        ExplainError
            They carry no model.
        """
        self.faithfulness = faithfulness(self.found, config=config or CHECKS)
        self.verdict = self._verdict()
        return self.faithfulness

    def _verdict(self) -> dict[str, Any]:
        if self.faithfulness is None:
            return {"text": self._said(), "checked": False, "can": self._at_hand, "rows": []}
        table = self.faithfulness.table.reset_index()
        columns = ["check", "outcome", "value", "low", "high", "compared_with", "meaning"]
        return plain({"text": self._said(), "checked": True, "can": False, "rows": table[columns]})

    def _said(self) -> str:
        """The verdict, or that there is none."""
        found = self.faithfulness
        if found is None:
            more = "" if self._at_hand else " These carry no model, so they cannot be checked here."
            return f"Not checked: `aam.explain.faithfulness(attributions)`.{more}"
        left_out = "" if found.config.seeds and found.config.shuffles else " No model was fitted anew for it."
        return f"Verdict on {found.num_samples} samples: {found.verdict()}{left_out}"

    # -- traits -----------------------------------------------------------------------------------------------------------

    @traitlets.validate("level")
    def _check_level(self, proposal: Any) -> str:
        value = proposal["value"]
        if value == "clade" and self.found.level == "asv" and self._no_tree:
            raise ExplorerError(f"level is 'clade'. {self._no_tree}")
        return one_of(proposal, self._levels, "levels")

    @traitlets.validate("rank")
    def _check_rank(self, proposal: Any) -> str:
        return one_of(proposal, self._ranks or [""], "ranks")

    @traitlets.validate("top")
    def _check_top(self, proposal: Any) -> int:
        return within(proposal, 1, MOST)

    @traitlets.validate("asv")
    def _check_asv(self, proposal: Any) -> str:
        asv = str(proposal["value"])
        if asv and asv not in self.found.asv_ids:
            raise UnknownIdError(self._unknown_asvs([asv], 1))
        if asv:
            self._look_inside(asv, self.letters or self._methods[0])
        return asv

    @traitlets.validate("group")
    def _check_group(self, proposal: Any) -> str:
        group = str(proposal["value"])
        if group and self._members(group) is None:
            raise UnknownIdError(
                f"{cut(group, 60)!r} is no taxon and no clade here. Expected such as {self._examples()}. Set `explorer.group` to one of "
                "those, or to ''."
            )
        return group

    @traitlets.validate("sample_a", "sample_b")
    def _check_sample(self, proposal: Any) -> str:
        return one_of(proposal, self.sample_ids, "samples")

    @traitlets.validate("letters")
    def _check_letters(self, proposal: Any) -> str:
        method = one_of(proposal, self._methods, "methods")
        if self.asv:
            self._look_inside(self.asv, method)
        return method

    @traitlets.validate("start")
    def _check_start(self, proposal: Any) -> int:
        return within(proposal, 1, max(map(len, map(str, self.found.asv_ids)), default=1))

    @traitlets.validate("span")
    def _check_span(self, proposal: Any) -> int:
        return within(proposal, 0, 100_000)

    @traitlets.observe("level", "rank")
    def _on_level(self, change: Any) -> None:
        level, rank = self.level, self.rank
        self.levels = {_key(level, rank): self._look(level, rank if level == "taxon" else "").sent}

    @traitlets.observe("asv", "letters")
    def _on_asv(self, change: Any) -> None:
        if change["name"] == "asv":
            self.start = 1
        self.inside = self._shown_inside(self.asv, self.letters)

    @traitlets.observe("sample_a", "sample_b")
    def _on_pair(self, change: Any) -> None:
        self.pair = {_pair_key(self.sample_a, self.sample_b): self._compare(self.sample_a, self.sample_b)}

    @traitlets.observe("checking")
    def _on_checking(self, change: Any) -> None:
        if not change["new"]:
            return
        try:
            self.check()
        finally:
            self.checking = False

    def _members(self, group: str) -> Ints | None:
        """Columns of the ASVs of a taxon or clade; None where there is no such."""
        if self.found.level in ("taxon", "clade"):
            features, members = self.found.features, self.found.members
            if members is None or group not in features.index:
                return None
            return members[[features.index.get_loc(group)]].indices.astype(np.int64)
        if self.found.level != "asv":
            return None
        tried = [("clade", "")] if not self._no_tree and group.startswith("node ") else []
        tried += [("taxon", r) for r in self._ranks if group.startswith(f"{r}: ")]
        for level, rank in tried:
            groups = self._groups(level, rank)
            if group in groups.features.index:
                return groups.members[[groups.features.index.get_loc(group)]].indices.astype(np.int64)
        return None

    def _examples(self) -> str:
        names = (
            [str(self._groups("taxon", r).features.index[0]) for r in self._ranks[:1]]
            if self.found.level == "asv"
            else []
        )
        if self.found.level == "asv" and not self._no_tree:
            names.append(str(self._groups("clade").features.index[0]))
        if self.found.level in ("taxon", "clade"):
            names = list(map(str, self.found.features.index[:2]))
        return cut_list(names) or "none: there is no taxonomy and no tree"

    def _unknown_asvs(self, unknown: Sequence[str], num: int) -> str:
        return (
            f"{len(unknown)} of {num} ASVs were not explained ({cut_list(map(short, unknown))}). There are {len(self.found.asv_ids)} such "
            f"as {cut_list(map(short, self.found.asv_ids[:2]))}. Take them from `explorer.found.asv_ids`."
        )

    @property
    def asvs(self) -> list[str]:
        """The ASVs of what is chosen: those of `group`, else `asv`."""
        if self.group:
            members = self._members(self.group)
            return [] if members is None else list(map(str, self.found.asv_ids[np.sort(members)]))
        return [self.asv] if self.asv else []

    def saved_state(self) -> dict[str, Any]:
        """The traits that its JavaScript reads: every level and rank, the ASVs looked into, and any two samples where there are few."""
        for level in self._levels:
            for rank in self._ranks if level == "taxon" else [""]:
                self._look(level, rank)
        state = super().saved_state()
        state |= {"levels": {k: v.sent for k, v in self._looked.items()}, "inside": self._inside, "pair": self._pairs}
        held = np.flatnonzero(self._held)
        if self.found.values.nnz <= IN_PAGE[0] and len(held) <= IN_PAGE[1]:
            values = self.found.values[:, held]
            labels, lineages = self._labels(self.found.level, self.found.features.iloc[held])
            ids = self.found.features.index[held]
            whole = {
                "ids": list(map(str, ids)), "labels": labels, "lineages": lineages, "marked": [i in self.marked for i in ids],
                "ends": values.indptr, "columns": values.indices, "values": values.data,
            }  # fmt: skip
            state["data"] = state["data"] | {"whole": plain(whole)}
        return state

    # -- the static twin --------------------------------------------------------------------------------------------------

    def figure(self) -> Figure:
        """The strongest features of the level; at level "nucleotide", the letters of the ASV."""
        looked = self._look(self.level, self.rank if self.level == "taxon" else "")
        if self.level == "nucleotide":
            return plots.nucleotides(self.found, self.asv or None)
        first = np.arange(min(self.top, len(looked.columns)))
        ax: Axes = plots.attributions(_part(looked.part, first), top=self.top, mark=self.marked)
        if self.level == "taxon":
            ax.set_title(f"{cut(self.found.target)}: taxa at rank {cut(self.rank)} that moved predictions most")
        figure = ax.get_figure(root=True)
        assert figure is not None
        return figure

    def to_frame(self) -> pd.DataFrame:
        """All features of the level, the most important first: `Attributions.by_feature()`."""
        return self._at(self.level, self.rank).by_feature()

    def sentence(self) -> str:
        """Whether the attributions can be believed, what they are, and what to beware of."""
        return "\n".join([self._said(), self._summary(), *self._beware()])

    def _summary(self) -> str:
        found = self.found
        what, n = {"asv": "ASV"}.get(found.level, found.level), len(found.sample_ids)
        method = found.method.replace("_", " ")
        said = [
            f"How much each {what} moved {n:,} predictions of {found.target}, by {method}, in {self._unit}; compared with "
            f"{found.reference}."
        ]
        if found.complete:
            summed_up = "attributions" if self._adds else "ASVs together"
            said.append(
                f"A sample's {summed_up} sum to its prediction minus the reference's; the largest gap is {found.largest_gap:.2%} of that "
                "change."
            )
        else:
            said.append("This method's attributions need not sum to the change of the prediction.")
        return " ".join(said)

    def _beware(self) -> list[str]:
        found, said = self.found, []
        if found.complete and found.largest_gap > TOLERANCE:
            said.append(f"The attributions miss up to {found.largest_gap:.1%} of the change that they explain.")
        if found.level == "asv" and found.method in ("shapley", "occlusion") and len(self._levels) > 1:
            said.append(
                f"Taxa and clades are sums of their ASVs'; `aam.explain.attribute(model, study, level='taxon', method={found.method!r})` "
                "asks for them anew."
            )
        if found.check["output"].nunique() > 1:
            said.append(
                "Each sample is explained for its own predicted class, so means over samples mix classes. For one class: "
                f"`aam.explain.attribute(model, study, output={str(found.check['output'].iloc[0])!r})`."
            )
        return said

    def __repr__(self) -> str:
        return f"AttributionsExplorer({self.found!r}). {self._said()}"


# -- parts ------------------------------------------------------------------------------------------------------------------


def induced(tree: Tree, tips: Sequence[int]) -> tuple[list[int], list[int], list[float]]:
    """The tree of some tips alone: nodes at which they part, the tips, and nothing else.

    Parameters
    ----------
    tree
        The whole tree.
    tips
        Numbers of its nodes.

    Returns
    -------
    Node numbers, parents first; the place of each one's parent among them (-1 for the first); lengths of the branches above them, those
    that became one summed.
    """
    num = np.zeros(len(tree.parent), dtype=np.int64)  # children that lead to a tip
    seen = set(tips)
    for tip in tips:
        node = int(tip)
        while node > 0:
            above = int(tree.parent[node])
            num[above] += 1
            if above in seen:
                break
            seen.add(above)
            node = above
    kept = sorted({*map(int, tips), *(n for n in seen if num[n] > 1)})
    place = {node: k for k, node in enumerate(kept)}
    parents, lengths = [], []
    for node in kept:
        long, above = float(tree.length[node]), int(tree.parent[node])
        while above >= 0 and above not in place:
            long, above = long + float(tree.length[above]), int(tree.parent[above])
        parents.append(place.get(above, -1))
        lengths.append(long if above >= 0 else 0.0)
    return kept, parents, lengths


def _part(found: Attributions, columns: Ints) -> Attributions:
    """Attributions of some features alone, in that order."""
    return replace(
        found,
        values=sparse.csr_array(found.values[:, columns]),
        features=found.features.iloc[columns],
        asv_ids=found.asv_ids[columns] if found.level == "asv" else found.asv_ids,
        members=None if found.members is None else found.members[columns],
        mutations=None,
    )


def _sums(found: Attributions, level: str, groups: AsvSets) -> Attributions:
    """Attributions of sets of ASVs, as `aam.explain.attribute` adds them up."""
    values = sum_over_sets(found.values, groups)
    return replace(found, level=level, values=values, features=groups.features, members=groups.members, asked=None)


def _strongest(values: sparse.csr_array, clades_CA: sparse.csr_array | None) -> Ints:
    """Columns with the largest mean absolute value among those that hold any; of clades, those that `choose_clades` takes of them.

    Parameters
    ----------
    values
        Shape (n_samples, n_features).
    clades_CA
        Members of clades, where the features are clades: shape (n_features, n_asvs).
    """
    size = np.asarray(abs(values).sum(0), dtype=float).ravel()
    order = np.argsort(-size, kind="stable")
    order = order[np.bincount(values.indices, minlength=len(size))[order] > 0]
    if clades_CA is None:
        return order[:MOST]
    return choose_clades(clades_CA, order, MOST)


def _far_apart(check: pd.DataFrame) -> tuple[str, str]:
    """The samples with the largest and the smallest prediction, among those explained for the commonest output."""
    same = check[check["output"] == check["output"].mode().iat[0]]["prediction"]
    return str(same.idxmax()), str(same.idxmin())


def _refuse_others(found: Attributions, checked: Faithfulness | None) -> None:
    """Refuse a verdict on other attributions."""
    if checked is None:
        return
    for name in ("target", "level", "method"):
        if getattr(checked, name) != getattr(found, name):
            raise ExplorerError(
                f"The faithfulness is of {name} {getattr(checked, name)!r}, the attributions of {getattr(found, name)!r}. Expected "
                "the check of these attributions. Make it with `aam.explain.faithfulness(attributions)`."
            )


def _key(level: str, rank: str) -> str:
    return f"taxon: {rank}" if level == "taxon" else level


def _pair_key(a: str, b: str) -> str:
    return f"{a}\n{b}"


def attributions(
    found: Attributions,
    *,
    faithfulness: Faithfulness | None = None,
    study: Study | None = None,
    mark: Iterable[str] | None = None,
    asvs: Sequence[str] = (),
) -> AttributionsExplorer:
    """Look at attributions: the ASVs, taxa and clades that moved predictions, with the verdict on whether to believe them in sight.

    Taxa and clades are sums of their ASVs'. The tree shows the same ASVs, its branches coloured by what their clades were given. An
    ASV that is chosen is explained nucleotide by nucleotide, which asks the model anew. Two samples can be compared. Samples lassoed
    are in `explorer.selected`, ASVs of the taxon or clade chosen in `explorer.asvs`.

    Parameters
    ----------
    found
        From `aam.explain.attribute`, best at level "asv"; of another level what there is is shown.
    faithfulness
        From `aam.explain.faithfulness`, of the same attributions. Without it the explorer says that nothing was checked, and can make the
        fast checks.
    study
        Where the attributions do not carry their samples: taxonomy, tree and abundances.
    mark
        ASVs that get a star; by default those that the simulation planted for the target.
    asvs
        ASVs to look into from the start; a page that is saved holds the nucleotides of these and of those looked into since.

    Returns
    -------
    A widget; see `AttributionsExplorer` for its traits.

    Raises
    ------
    ExplorerError, UnknownIdError
        The attributions are empty; the faithfulness is of others; an ASV was not explained.
    """
    return AttributionsExplorer(found, faithfulness=faithfulness, study=study, mark=mark, asvs=asvs)
