"""`aam.widgets.attributions(attributions)`: what moved predictions, from clades to ASVs to nucleotides, and whether to believe it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import sparse

from aam_nb.arrays import Ints
from aam_nb.config import FaithfulnessConfig, cut_list, telling_of_memory
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.faithfulness.faithfulness import Faithfulness, faithfulness
from aam_nb.explain.ids import as_id_list
from aam_nb.show import plots
from aam_nb.show.plots.style import cut, short
from aam_nb.show.widgets.attributions_levels import MOST, AttributionLevels, level_key, select_features
from aam_nb.show.widgets.attributions_payload import (
    CHECKS,
    METHODS,
    View,
    abundances,
    all_values_payload,
    cautions,
    draw_dots,
    explorer_payload,
    farthest_pair,
    feature_rows,
    nucleotides_payload,
    pair_key,
    pair_payload,
    strip_rows,
    summary,
    verdict_payload,
    verdict_sentence,
    why_no_nucleotides,
)
from aam_nb.show.widgets.explorer import Explorer, require_known, require_within
from aam_nb.show.widgets.payload import to_json_value
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

TOP = 15
"""Features shown at first."""


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
        attributions: Attributions,
        *,
        faithfulness: Faithfulness | None = None,
        study: Study | None = None,
        mark: Iterable[str] | None = None,
        asvs: Sequence[str] = (),
    ) -> None:
        _require_values(attributions)
        _require_same(attributions, faithfulness)
        self.attributions, self.faithfulness = attributions, faithfulness
        self.sample_ids = attributions.sample_ids
        self._by_level = AttributionLevels(attributions, study if study is not None else attributions.study)
        self._marked = _marked_asvs(self._by_level, mark)
        # What was computed for the browser, by key.
        self._views: dict[str, View] = {}
        self._inside: dict[str, dict[str, Any]] = {}
        self._pairs: dict[str, dict[str, Any]] = {}
        of_nucleotides = attributions.level == "nucleotide"
        self._methods = (attributions.method,) if of_nucleotides else METHODS
        named_asvs = as_id_list("asvs", asvs)
        self._require_asvs(named_asvs)
        asv = named_asvs[0] if named_asvs else str(attributions.asv_ids[0]) if of_nucleotides else ""
        for each in [*named_asvs, *([asv] if asv else [])]:
            self._explain_inside(each, self._methods[0])
        rank = self._by_level.first_rank
        view = self._view(attributions.level, rank)
        a, b = farthest_pair(attributions.check)
        super().__init__(
            list(map(str, attributions.sample_ids)),
            level=attributions.level,
            rank=rank,
            top=min(TOP, len(view.columns)),
            asv=asv,
            letters=self._methods[0],
            sample_a=a,
            sample_b=b,
            levels={level_key(attributions.level, rank): view.payload},
            inside=self._shown_inside(asv, self._methods[0]),
            pair={pair_key(a, b): self._compare(a, b)},
            verdict=verdict_payload(attributions, faithfulness),
            data=explorer_payload(
                self._by_level,
                asvs=self._view("asv").payload["items"] if self._by_level.of_asvs else [],
                methods=self._methods,
                marks=bool(self._marked),
                num_dots=len(self._dots),
            ),
        )

    # -- what is drawn, computed once ---------------------------------------------------------------------------------------

    @cached_property
    def _dots(self) -> Ints:
        return draw_dots(len(self.attributions.sample_ids))

    @cached_property
    def _shares(self) -> sparse.csr_array | None:
        return abundances(self.attributions, self._by_level.study, self._dots)

    def _view(self, level: str, rank: str = "") -> View:
        """The strongest features of a level."""
        key = level_key(level, rank)
        if key not in self._views:
            part, columns, num_features = self._by_level.strongest(level, rank)
            grouped_asvs = self._by_level.of_asvs and level in ("taxon", "clade")
            rows = feature_rows(
                part,
                self._by_level.labels(part.level, part.features),
                marked=self._marked,
                strips=strip_rows(part, self._dots, self._shares),
                shown_asvs=self._view("asv").columns if grouped_asvs else None,
            )
            self._views[key] = View(part, columns, to_json_value({"items": rows, "features": num_features}))
        return self._views[key]

    def _explain_inside(self, asv: str, method: str) -> None:
        """Explain the nucleotides of an ASV, unless that was done or cannot be."""
        key = f"{method} {asv}"
        if key not in self._inside and not why_no_nucleotides(self.attributions):
            self._inside[key] = nucleotides_payload(self._by_level, asv, method)

    def _shown_inside(self, asv: str, method: str) -> dict[str, Any]:
        key = f"{method} {asv}"
        return {key: self._inside[key]} if key in self._inside else {}

    def _compare(self, a: str, b: str) -> dict[str, Any]:
        """The difference of two samples."""
        key = pair_key(a, b)
        if key not in self._pairs:
            self._pairs[key] = pair_payload(self._by_level, a, b, self._marked)
        return self._pairs[key]

    def check(self, config: FaithfulnessConfig | None = None) -> Faithfulness:
        """Check the attributions, by default with the fast checks, which fit no model again, and show the verdict.

        Raises
        ------
        ExplainError
            They carry no model.
        """
        self.faithfulness = faithfulness(self.attributions, config=config or CHECKS)
        self.verdict = verdict_payload(self.attributions, self.faithfulness)
        return self.faithfulness

    # -- what may be set -----------------------------------------------------------------------------------------------------

    @traitlets.validate("level")
    def _check_level(self, proposal: Any) -> str:
        value = proposal["value"]
        if value == "clade" and self._by_level.of_asvs and self._by_level.no_tree:
            raise ExplorerError(f"level is 'clade'. {self._by_level.no_tree}")
        return require_known(proposal, self._by_level.levels, "levels")

    @traitlets.validate("rank")
    def _check_rank(self, proposal: Any) -> str:
        return require_known(proposal, self._by_level.ranks or [""], "ranks")

    @traitlets.validate("top")
    def _check_top(self, proposal: Any) -> int:
        return require_within(proposal, 1, MOST)

    @traitlets.validate("asv")
    def _check_asv(self, proposal: Any) -> str:
        asv = str(proposal["value"])
        if asv:
            self._require_asvs([asv])
            self._explain_inside(asv, self.letters or self._methods[0])
        return asv

    @traitlets.validate("group")
    def _check_group(self, proposal: Any) -> str:
        group = str(proposal["value"])
        if group and self._by_level.members(group) is None:
            examples = cut_list(self._by_level.example_groups()) or "none (there is no taxonomy and no tree)"
            raise UnknownIdError(
                f"{cut(group, 60)!r} is not a taxon or clade here. Expected one such as {examples}. Set `explorer.group` to one of those, "
                "or to ''."
            )
        return group

    @traitlets.validate("sample_a", "sample_b")
    def _check_sample(self, proposal: Any) -> str:
        return require_known(proposal, self.sample_ids, "samples")

    @traitlets.validate("letters")
    def _check_letters(self, proposal: Any) -> str:
        method = require_known(proposal, self._methods, "methods")
        if self.asv:
            self._explain_inside(self.asv, method)
        return method

    @traitlets.validate("start")
    def _check_start(self, proposal: Any) -> int:
        return require_within(proposal, 1, max(map(len, map(str, self.attributions.asv_ids)), default=1))

    @traitlets.validate("span")
    def _check_span(self, proposal: Any) -> int:
        return require_within(proposal, 0, 100_000)

    def _require_asvs(self, asvs: Sequence[str]) -> None:
        """Refuse ASVs that were not explained."""
        asv_ids = self.attributions.asv_ids
        if unknown := [asv for asv in asvs if asv not in asv_ids]:
            raise UnknownIdError(
                f"{len(unknown)} of {len(asvs)} ASVs were not explained ({cut_list(map(short, unknown))}). There are {len(asv_ids)} such "
                f"as {cut_list(map(short, asv_ids[:2]))}. Take them from `explorer.attributions.asv_ids`."
            )

    # -- what follows from it ------------------------------------------------------------------------------------------------

    @traitlets.observe("level", "rank")
    def _show_level(self, change: Any) -> None:
        self.levels = {level_key(self.level, self.rank): self._current_view.payload}

    @traitlets.observe("asv", "letters")
    def _show_asv(self, change: Any) -> None:
        if change["name"] == "asv":
            self.start = 1
        self.inside = self._shown_inside(self.asv, self.letters)

    @traitlets.observe("sample_a", "sample_b")
    def _show_pair(self, change: Any) -> None:
        self.pair = {pair_key(self.sample_a, self.sample_b): self._compare(self.sample_a, self.sample_b)}

    @traitlets.observe("checking")
    def _run_checks(self, change: Any) -> None:
        if not change["new"]:
            return
        try:
            self.check()
        finally:
            self.checking = False

    @property
    def _current_view(self) -> View:
        return self._view(self.level, self.rank if self.level == "taxon" else "")

    @property
    def asvs(self) -> list[str]:
        """The ASVs of what is chosen: those of `group`, else `asv`."""
        if self.group:
            members = self._by_level.members(self.group)
            return [] if members is None else list(map(str, self.attributions.asv_ids[np.sort(members)]))
        return [self.asv] if self.asv else []

    def saved_state(self) -> dict[str, Any]:
        """The traits that its JavaScript reads: every level and rank, the ASVs explained, and any two samples where there are few."""
        for level in self._by_level.levels:
            for rank in self._by_level.ranks if level == "taxon" else [""]:
                self._view(level, rank)
        state = super().saved_state()
        state |= {"levels": {k: v.payload for k, v in self._views.items()}, "inside": self._inside, "pair": self._pairs}
        if every_value := all_values_payload(self._by_level, self._marked):
            state["data"] = state["data"] | {"whole": every_value}
        return state

    # -- the static twin --------------------------------------------------------------------------------------------------

    def figure(self) -> Figure:
        """The strongest features of the level; at level "nucleotide", the letters of the ASV."""
        view = self._current_view
        if self.level == "nucleotide":
            return plots.nucleotides(self.attributions, self.asv or None)
        first = np.arange(min(self.top, len(view.columns)))
        ax: Axes = plots.attributions(select_features(view.part, first), top=self.top, mark=self._marked)
        if self.level == "taxon":
            ax.set_title(f"{cut(self.attributions.target)}: taxa at rank {cut(self.rank)} that moved predictions most")
        figure = ax.get_figure(root=True)
        assert figure is not None
        return figure

    def to_frame(self) -> pd.DataFrame:
        """All features of the level, the most important first: `Attributions.by_feature()`."""
        return self._by_level.at(self.level, self.rank).by_feature()

    def sentence(self) -> str:
        """Whether the attributions can be believed, what they are, and what to beware of."""
        verdict = verdict_sentence(self.attributions, self.faithfulness)
        return "\n".join([verdict, summary(self._by_level), *cautions(self._by_level)])

    def __repr__(self) -> str:
        return f"AttributionsExplorer({self.attributions!r}). {verdict_sentence(self.attributions, self.faithfulness)}"


def _require_values(attributions: Attributions) -> None:
    """Refuse attributions that are empty."""
    if not attributions.values.nnz:
        raise ExplorerError(
            f"{attributions!r} is empty: no sample has a feature. Expected samples with reads. Make them with "
            "`aam.explain.attribute(model, study)`."
        )


def _require_same(attributions: Attributions, checked: Faithfulness | None) -> None:
    """Refuse a verdict on other attributions."""
    if checked is None:
        return
    for name in ("target", "level", "method"):
        if getattr(checked, name) != getattr(attributions, name):
            raise ExplorerError(
                f"The faithfulness is of {name} {getattr(checked, name)!r}, the attributions of {getattr(attributions, name)!r}. Expected "
                "the check of these attributions. Make it with `aam.explain.faithfulness(attributions)`."
            )


def _marked_asvs(levels: AttributionLevels, mark: Iterable[str] | None) -> set[str]:
    """ASVs that get a star: those named, else those that a simulation planted for the target."""
    if mark is not None:
        return set(as_id_list("mark", mark))
    truth = levels.study.truth if levels.study is not None else None
    return set(truth.asvs(levels.attributions.target) if truth else ())


@telling_of_memory("making the explorer", "fewer samples or ASVs, or a machine with more memory")
def attributions(
    attributions: Attributions,
    *,
    faithfulness: Faithfulness | None = None,
    study: Study | None = None,
    mark: Iterable[str] | None = None,
    asvs: Sequence[str] = (),
) -> AttributionsExplorer:
    """Explore attributions: the ASVs, taxa and clades that moved predictions, beside the verdict on whether to believe them.

    Taxa and clades are sums of their ASVs'. The tree shows the same ASVs, its branches coloured by what their clades were given. An
    ASV that is chosen is explained nucleotide by nucleotide, for which the model runs again. Two samples can be compared. Samples selected
    with the lasso are in `explorer.selected`, ASVs of the taxon or clade chosen in `explorer.asvs`.

    Parameters
    ----------
    attributions
        From `aam.explain.attribute`, best at level "asv"; at another level, that level alone is shown.
    faithfulness
        From `aam.explain.faithfulness`, of the same attributions. Without it the explorer says that nothing was checked, and can make the
        fast checks.
    study
        Where the attributions do not carry their samples: taxonomy, tree and abundances.
    mark
        ASVs that get a star; by default those that the simulation planted for the target.
    asvs
        ASVs explained by nucleotide at the start; a page that is saved holds these and those chosen since.

    Returns
    -------
    A widget; see `AttributionsExplorer` for its traits.

    Raises
    ------
    ExplorerError, UnknownIdError
        The attributions are empty; the faithfulness is of others; an ASV was not explained.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    AAM(...)
    >>> explorer = aam.widgets.attributions(aam.explain.attribute(model, study))
    >>> [name for name, _ in explorer.data["levels"]]
    ['asv', 'clade']
    >>> explorer.level = "clade"
    >>> explorer.to_frame().index.name
    'clade'
    """
    return AttributionsExplorer(attributions, faithfulness=faithfulness, study=study, mark=mark, asvs=asvs)
