"""Taxa and clades as sets of ASVs: which there are, what they are called, which clades are shown, and attributions summed over them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Bools, Ints
from aam_nb.config import cut_list
from aam_nb.diversity.branches import tip_ranges
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

UNCLASSIFIED = "(unclassified)"
"""Name of the taxon of ASVs that have none at a rank."""


@dataclass(frozen=True, eq=False)
class AsvSets:
    """Sets of ASVs.

    Parameters
    ----------
    features
        One row per set, with what describes it.
    members
        Which ASVs it has, shape (n_sets, n_asvs), ones.
    """

    features: pd.DataFrame
    members: sparse.csr_array

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        return f"AsvSets({len(self)} sets of {self.members.shape[1]} ASVs)"


def join_taxonomy(study: Study, asv_ids: pd.Index, *, train: Study | None = None) -> pd.DataFrame | None:
    """The ranks of ASVs, one row each; None where the study has no taxonomy.

    Parameters
    ----------
    study
        Its taxonomy decides which ranks there are; the confidence is no rank.
    asv_ids
        ASVs of the study, and perhaps of the training samples.
    train
        The training samples, whose taxonomy serves the ASVs that the study lacks.
    """
    if study.taxonomy is None:
        return None
    ranks = study.taxonomy.drop(columns="confidence", errors="ignore")
    if train is not None and train.taxonomy is not None:
        more = train.taxonomy[~train.asv_ids.isin(study.asv_ids)]
        ranks = pd.concat([ranks, more.reindex(columns=ranks.columns)])
    return ranks.reindex(asv_ids)


def single_asvs(asv_ids: pd.Index, taxonomy: pd.DataFrame | None) -> AsvSets:
    """Each ASV by itself, described by its taxonomy where there is one."""
    features = pd.DataFrame(index=asv_ids) if taxonomy is None else taxonomy.set_axis(asv_ids)
    return AsvSets(features.rename_axis("asv_id"), sparse.eye_array(len(asv_ids), format="csr"))


def find_taxa(taxonomy: pd.DataFrame | None, held: Bools, rank: str | None = None) -> AsvSets:
    """The taxa of one rank, or of each, that have any of the ASVs held.

    ASVs without a taxon at a rank are together "(unclassified)". Taxa of one name and rank in different lineages are several, and their
    names say in what they differ: "uncultured (Lachnospiraceae)".

    Parameters
    ----------
    taxonomy
        One row per ASV, a column per rank, the highest first: see `join_taxonomy`.
    held
        Which of the ASVs occur, shape (n_asvs,).
    rank
        One of its columns.

    Raises
    ------
    UnknownIdError
        The study has no taxonomy, or no such rank.
    """
    if taxonomy is None:
        raise UnknownIdError(
            "The study has no taxonomy, so there are no taxa to explain by. Give one when reading: `aam.read_study(..., "
            "taxonomy='taxonomy.tsv')`; or use `level='clade'`, which needs the tree alone."
        )
    if rank is not None and rank not in taxonomy.columns:
        raise UnknownIdError(
            f"rank is {rank!r}. The taxonomy has {cut_list(taxonomy.columns, 10)}. Name one of those, or leave it out for all of them."
        )
    tables, owners, width = [], [], 0
    for name in [rank] if rank is not None else list(taxonomy.columns):
        codes, taxa = name_lineages(taxonomy.loc[:, :name].to_numpy(dtype=object), held)
        num = np.bincount(codes, minlength=len(taxa))
        tables.append(pd.DataFrame({"rank": name, "name": taxa, "num_asvs": num}))
        owners.append(codes + width)
        width += len(taxa)
    table = pd.concat(tables)
    table.index = pd.Index([f"{r}: {n}" for r, n in zip(table["rank"], table["name"], strict=True)], name="taxon")
    cells = (np.concatenate(owners), np.tile(np.flatnonzero(held), len(owners)))
    return AsvSets(table, sparse.csr_array((np.ones(len(cells[0])), cells), shape=(width, len(taxonomy))))


def name_lineages(taxa_NR: npt.NDArray[np.object_], held: Bools) -> tuple[Ints, list[str]]:
    """Which taxon of the last rank each of the ASVs (N) held belongs to, and the names of these taxa, sorted.

    Taxa of the same name are distinguished by the ranks above (R in all), also of ASVs that are not held: so a name does not depend on
    the samples.
    """
    names_NR = np.where(pd.isna(taxa_NR), UNCLASSIFIED, taxa_NR).astype(str)
    names_NR[names_NR[:, -1] == UNCLASSIFIED] = UNCLASSIFIED  # together, wherever they are
    paths, codes = np.unique(names_NR[:, ::-1], axis=0, return_inverse=True)
    names = paths[:, 0].tolist()
    for name in {n for n in names if names.count(n) > 1}:
        alike = np.flatnonzero(paths[:, 0] == name)
        # The fewest ranks, from the parent upwards, by which all of them can be distinguished.
        width = next(w for w in range(2, paths.shape[1] + 1) if len(np.unique(paths[alike, :w], axis=0)) == len(alike))
        for k in alike:
            names[k] = f"{name} ({', '.join(paths[k, 1:width])})"
    taxa, codes = np.unique(codes.ravel()[held], return_inverse=True)
    return codes, [names[k] for k in taxa]


def find_clades(tree: Tree, asv_ids: pd.Index, held: Bools, taxonomy: pd.DataFrame | None = None) -> AsvSets:
    """The ASVs below each internal branch: at least two, and not all, of the ASVs held.

    Branches above the same ASVs are one, as long as all of them together, with the number of the lowest node. Its name is that of a
    node (numbers, which are supports, are no names), else the lowest taxon that all of its ASVs share, else empty. `share` is the share
    of the ASVs held that lie below: a branch near the root has most of them, gathers most attributions, and says least.

    Parameters
    ----------
    tree
        Rooted; ASVs that are not its tips are in no clade.
    asv_ids, held
        ASVs, and which of them occur, both of shape (n_asvs,).
    taxonomy
        One row per ASV: see `join_taxonomy`.

    Raises
    ------
    ExplainError
        There is no such branch.
    """
    # The ASVs of the tree, from left to right: a node's ASVs are then those from `start` to `stop` - 1.
    there = held & np.array([asv in tree.tip_node for asv in asv_ids])
    first, last = tip_ranges(tree)
    rank = first[[tree.tip_node[asv] for asv in asv_ids[there]]]
    order = np.flatnonzero(there)[np.argsort(rank)]  # their columns
    before = np.concatenate([[0], np.cumsum(np.bincount(rank, minlength=int(last[0])) > 0)])
    start, stop = before[first], before[last]
    node = np.flatnonzero((stop - start >= 2) & (stop - start < len(order)))
    if not len(node):
        raise ExplainError(
            f"No branch of the tree lies above two or more, and not all, of the {len(order)} ASVs held. Expected a clade to explain by. "
            "Use `level='asv'`."
        )
    # Branches above the same ASVs become one clade, that of the lowest node.
    spans, branch = np.unique(start[node] * (len(order) + 1) + stop[node], return_inverse=True)
    lowest = np.zeros(len(spans), dtype=np.int64)
    np.maximum.at(lowest, branch, node)  # children come after parents
    # Members of each clade.
    size = stop[lowest] - start[lowest]
    ends = np.concatenate([[0], size.cumsum()])
    within = np.arange(ends[-1]) - np.repeat(ends[:-1] - start[lowest], size)
    members = sparse.csr_array((np.ones(ends[-1]), order[within], ends), shape=(len(spans), len(asv_ids)))
    names = _shared_taxa(None if taxonomy is None else taxonomy.iloc[order], start[lowest], stop[lowest])
    for k, above in zip(branch.tolist(), node.tolist(), strict=True):  # the lowest node's name comes last
        names[k] = _node_name(tree, above) or names[k]
    features = pd.DataFrame(
        {
            "node": lowest,
            "num_asvs": size,
            "share": size / len(order),
            "length": np.bincount(branch, weights=tree.length[node], minlength=len(spans)),
            "name": names,
        },
        index=pd.Index([f"node {n}" for n in lowest], name="clade"),
    )
    return AsvSets(features, members)


def _node_name(tree: Tree, node: int) -> str:
    """A node's own name, without those that are numbers."""
    name = tree.names[node] or ""
    return "" if re.fullmatch(r"[\d.eE+\-/ ]*", name) else name


def _shared_taxa(taxonomy: pd.DataFrame | None, start: Ints, stop: Ints) -> list[str]:
    """The lowest taxon that the ASVs from `start` to `stop` - 1 share, empty where there is none."""
    names = np.full(len(start), "", dtype=object)
    if taxonomy is None:
        return list(names)
    differs = np.zeros(max(0, len(taxonomy) - 1), dtype=bool)
    for rank in taxonomy.columns:
        codes, taxa = pd.factorize(taxonomy[rank])
        differs |= codes[1:] != codes[:-1]  # here or at a higher rank
        changes = np.concatenate([[0], np.cumsum(differs)])
        same = (changes[stop - 1] == changes[start]) & (codes[start] >= 0)
        names[same] = [f"{taxa[c]} ({rank})" for c in codes[start[same]]]
    return list(names)


def choose_clades(members_CA: sparse.csr_array, order: Iterable[int], most: int) -> Ints:
    """The clades that a figure or an explorer shows: going down an order, those that say most without saying the same twice.

    Clades lie within one another. One with more than half of all ASVs is passed over, and so is one that lies within, or holds, a clade
    already chosen.

    Parameters
    ----------
    members_CA
        Which ASVs each clade has, shape (n_clades, n_asvs).
    order
        Numbers of the clades, the most important first.
    most
        Clades chosen at most.

    Returns
    -------
    Numbers of the clades chosen, in that order.
    """
    taken, chosen = np.zeros(members_CA.shape[1], dtype=bool), list[int]()
    half = np.count_nonzero(np.bincount(members_CA.indices, minlength=len(taken))) / 2
    for k in order:
        asvs = members_CA.indices[members_CA.indptr[k] : members_CA.indptr[k + 1]]
        if len(chosen) < most and len(asvs) <= half and not taken[asvs].any():
            taken[asvs] = True
            chosen.append(int(k))
    return np.array(chosen, dtype=np.int64)


def sum_over_sets(values: sparse.csr_array, sets: AsvSets) -> sparse.csr_array:
    """Attributions of sets as the sums of their ASVs', shape (n_samples, n_sets); a set none of whose ASVs has one has none."""
    has = sparse.csr_array((np.ones(values.nnz), values.indices, values.indptr), shape=values.shape)
    row, column = (has @ sets.members.T).nonzero()
    total = sparse.csr_array(values @ sets.members.T)
    return sparse.csr_array((np.asarray(total[row, column]).ravel(), (row, column)), shape=total.shape)
