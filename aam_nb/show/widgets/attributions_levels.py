"""Attributions at each level that their explorer shows: as they were made, and summed by the taxa and clades of their ASVs."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Bools, Ints
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
from aam_nb.show.plots.style import short
from aam_nb.show.widgets.asv_names import AsvNames
from aam_nb.study.errors import MissingTipError
from aam_nb.study.study import Study

MOST = 60
"""Features of a level, tips of the tree and rows of a difference at most."""


class AttributionLevels:
    """Attributions as they were made, and, where they are of ASVs, summed by taxon and by clade.

    Parameters
    ----------
    attributions
        Of any level.
    study
        Has the taxonomy and the tree; None where there is none at hand.
    """

    def __init__(self, attributions: Attributions, study: Study | None) -> None:
        self.attributions, self.study = attributions, study
        self.of_asvs = attributions.level == "asv"
        self.names = AsvNames(self.asv_study if self.of_asvs or study is None else study)
        self._asv_sets: dict[str, AsvSets] = {}

    # -- what there is --------------------------------------------------------------------------------------------------------

    @cached_property
    def asv_study(self) -> Study:
        """The ASVs explained, in the order of `attributions.asv_ids`, with the taxonomy and the tree that are at hand; it has no reads."""
        study, ids, features = self.study, self.attributions.asv_ids, self.attributions.features
        ranks = features if self.of_asvs and features.shape[1] else None
        if study is not None and study.taxonomy is not None and ranks is None:
            ranks = study.taxonomy.reindex(ids)
        no_sample = pd.Index(["no sample"])
        return Study(
            sparse.csr_array((1, len(ids)), dtype=np.int64),
            no_sample,
            ids,
            pd.DataFrame(index=no_sample),
            tree=None if study is None else study.tree,
            taxonomy=None if ranks is None else ranks.set_axis(pd.Index(ids, dtype=str, name="asv_id")),
        )

    @cached_property
    def has_values(self) -> Bools:
        """Features that a sample, or the reference, has."""
        values = self.attributions.values
        return np.bincount(values.indices, minlength=values.shape[1]) > 0

    @cached_property
    def ranks(self) -> list[str]:
        """Ranks whose taxa can be shown."""
        if self.attributions.level == "taxon":
            return [str(r) for r in self.attributions.features["rank"].unique()]
        ranks = self.names.ranks if self.of_asvs else None
        return [] if ranks is None else [str(r) for r in ranks.columns]

    @property
    def first_rank(self) -> str:
        """The lowest rank at which ASVs with at least half of all mean absolute attribution have a name; "" without ranks."""
        ranks = self.names.ranks if self.of_asvs else None
        if not self.ranks or ranks is None:
            return self.ranks[-1] if self.ranks else ""
        size = np.asarray(abs(self.attributions.values).sum(0), dtype=float).ravel()
        named = [r for r in self.ranks if size[ranks[r].notna().to_numpy()].sum() >= size.sum() / 2]
        return (named or self.ranks)[-1]

    @cached_property
    def no_tree(self) -> str:
        """Why there are no clades; empty where there are."""
        if not self.of_asvs:
            return "The tree is drawn from attributions at level 'asv': `aam.explain.attribute(model, study)`."
        if self.asv_study.tree is None:
            return (
                "There is no tree. Give the study with its tree: `aam.widgets.attributions(attributions, study=study)`."
            )
        try:
            self.asv_sets("clade")
        except (ExplainError, MissingTipError) as error:
            return str(error)
        return ""

    @property
    def levels(self) -> list[str]:
        """Levels that can be shown."""
        if not self.of_asvs:
            return [self.attributions.level]
        return ["asv", *(["taxon"] if self.ranks else []), *([] if self.no_tree else ["clade"])]

    @property
    def additive(self) -> bool:
        """Whether no two features share an ASV, so that a sample's attributions can be added up."""
        level = self.attributions.level
        return level != "clade" and (level != "taxon" or len(self.ranks) == 1)

    # -- sums -----------------------------------------------------------------------------------------------------------------

    def asv_sets(self, level: str, rank: str = "") -> AsvSets:
        """Taxa of a rank, or clades, as `aam.explain.attribute` makes them."""
        key = level_key(level, rank)
        if key not in self._asv_sets:
            study = self.asv_study
            taxonomy = join_taxonomy(study, study.asv_ids)
            self._asv_sets[key] = (
                find_taxa(taxonomy, self.has_values, rank)
                if level == "taxon"
                else find_clades(study.require_tree(), study.asv_ids, self.has_values, taxonomy)
            )
        return self._asv_sets[key]

    def at(self, level: str, rank: str = "") -> Attributions:
        """Attributions at a level (of taxa, at a rank): those given, or the sums of their ASVs'."""
        attributions = self.attributions
        if level != attributions.level:
            return sum_by_set(attributions, level, self.asv_sets(level, rank))
        if level != "taxon":
            return attributions
        return select_features(attributions, np.flatnonzero((attributions.features["rank"] == rank).to_numpy()))

    def strongest(self, level: str, rank: str = "") -> tuple[Attributions, Ints, int]:
        """The features of a level that are shown, their columns among all features there, and how many features there are."""
        if level == self.attributions.level:
            every = self.at(level, rank)
            columns = strongest_columns(every.values, every.members if level == "clade" else None)
            return select_features(every, columns), columns, every.values.shape[1]
        # Only the sets that are shown get a result of their own: there may be thousands.
        sets = self.asv_sets(level, rank)
        sums = sparse.csr_array(self.attributions.values @ sets.members.T)
        columns = strongest_columns(sums, sets.members if level == "clade" else None)
        shown = AsvSets(sets.features.iloc[columns], sets.members[columns])
        return sum_by_set(self.attributions, level, shown), columns, len(sets)

    def members(self, group: str) -> Ints | None:
        """Columns of the ASVs of a taxon or clade; None where there is no such."""
        if self.attributions.level in ("taxon", "clade"):
            return _members_of(group, self.attributions.features, self.attributions.members)
        if not self.of_asvs:
            return None
        candidates = [("clade", "")] if not self.no_tree and group.startswith("node ") else []
        candidates += [("taxon", r) for r in self.ranks if group.startswith(f"{r}: ")]
        for level, rank in candidates:
            sets = self.asv_sets(level, rank)
            columns = _members_of(group, sets.features, sets.members)
            if columns is not None:
                return columns
        return None

    def example_groups(self) -> list[str]:
        """A taxon and a clade that there are, or two of what there is."""
        if self.attributions.level in ("taxon", "clade"):
            return list(map(str, self.attributions.features.index[:2]))
        if not self.of_asvs:
            return []
        names = [str(self.asv_sets("taxon", r).features.index[0]) for r in self.ranks[:1]]
        if not self.no_tree:
            names.append(str(self.asv_sets("clade").features.index[0]))
        return names

    def labels(self, level: str, features: pd.DataFrame) -> tuple[list[str], list[str]]:
        """Names of features, and what more there is to say of each."""
        ids, nothing = list(map(str, features.index)), [""] * len(features)
        if level == "asv":
            return self.names.labels(ids), self.names.lineages(ids)
        if level == "taxon":
            return list(map(str, features["name"])), [f"rank {r}" for r in features["rank"]]
        if level == "clade":
            rows = zip(ids, features["name"], features["num_asvs"], strict=True)
            return [f"{name or node} ({num} ASVs)" for node, name, num in rows], ids
        if level == "nucleotide":
            rows = zip(features["asv_id"], features["letter"], features["position"], strict=True)
            return [f"{short(asv)} {letter}{position}" for asv, letter, position in rows], nothing
        return ids, nothing


def level_key(level: str, rank: str) -> str:
    """The key of a level, and of a rank of its taxa, in the traits."""
    return f"taxon: {rank}" if level == "taxon" else level


def select_features(attributions: Attributions, columns: Ints) -> Attributions:
    """Attributions of some features alone, in that order."""
    return replace(
        attributions,
        values=sparse.csr_array(attributions.values[:, columns]),
        features=attributions.features.iloc[columns],
        asv_ids=attributions.asv_ids[columns] if attributions.level == "asv" else attributions.asv_ids,
        members=None if attributions.members is None else attributions.members[columns],
        mutations=None,
    )


def sum_by_set(attributions: Attributions, level: str, sets: AsvSets) -> Attributions:
    """Attributions of sets of ASVs, as `aam.explain.attribute` adds them up."""
    values = sum_over_sets(attributions.values, sets)
    return replace(attributions, level=level, values=values, features=sets.features, members=sets.members, query=None)


def strongest_columns(values: sparse.csr_array, clades_CA: sparse.csr_array | None) -> Ints:
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


def _members_of(group: str, features: pd.DataFrame, members: sparse.csr_array | None) -> Ints | None:
    if members is None or group not in features.index:
        return None
    return members[[features.index.get_loc(group)]].indices.astype(np.int64)
