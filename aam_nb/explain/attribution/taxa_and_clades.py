"""Taxa and clades as sets of ASVs."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.config import cut_list
from aam_nb.diversity.branches import tip_ranges
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree
from aam_nb.train.estimator import AAM

UNCLASSIFIED = "(unclassified)"
"""Name of the taxon of ASVs that have none at a rank."""
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Groups:
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
        return f"Groups({len(self)} sets of {self.members.shape[1]} ASVs)"


def taxonomy_of(model: AAM, study: Study, asv_ids: pd.Index) -> pd.DataFrame | None:
    """The ranks of ASVs, those that only the training samples have included; None where the study has no taxonomy."""
    if study.taxonomy is None:
        return None
    ranks = study.taxonomy.drop(columns="confidence", errors="ignore")
    train = model.train_study
    if train is not None and train.taxonomy is not None:
        more = train.taxonomy[~train.asv_ids.isin(study.asv_ids)]
        ranks = pd.concat([ranks, more.reindex(columns=ranks.columns)])
    return ranks.reindex(asv_ids)


def single(model: AAM, study: Study, asv_ids: pd.Index) -> Groups:
    """Each ASV by itself, described by its taxonomy where there is one."""
    ranks = taxonomy_of(model, study, asv_ids)
    features = pd.DataFrame(index=asv_ids) if ranks is None else ranks.set_axis(asv_ids)
    return Groups(features.rename_axis("asv_id"), sparse.eye_array(len(asv_ids), format="csr"))


def taxa(model: AAM, study: Study, asv_ids: pd.Index, held: Mask, rank: str | None) -> Groups:
    """The taxa of one rank, or of each, that hold any of the ASVs marked.

    ASVs without a taxon at a rank are together "(unclassified)". Taxa of one name and rank in different lineages are several, and their
    names say in what they differ: "uncultured (Lachnospiraceae)".

    Raises
    ------
    UnknownIdError
        The study has no taxonomy, or no such rank.
    """
    ranks = taxonomy_of(model, study, asv_ids)
    if ranks is None:
        raise UnknownIdError(
            "The study has no taxonomy, so there are no taxa to explain by. Give one when reading: `aam.read_study(..., "
            "taxonomy='taxonomy.tsv')`; or use `level='clade'`, which needs the tree alone."
        )
    if rank is not None and rank not in ranks.columns:
        raise UnknownIdError(
            f"rank is {rank!r}. The taxonomy has {cut_list(ranks.columns, 10)}. Name one of those, or leave it out for all of them."
        )
    tables, owners, width = [], [], 0
    for name in [rank] if rank is not None else list(ranks.columns):
        codes, found = lineages(ranks.loc[:, :name].to_numpy(dtype=object), held)
        num = np.bincount(codes, minlength=len(found))
        tables.append(pd.DataFrame({"rank": name, "name": found, "num_asvs": num}))
        owners.append(codes + width)
        width += len(found)
    table = pd.concat(tables)
    table.index = pd.Index([f"{r}: {n}" for r, n in zip(table["rank"], table["name"], strict=True)], name="taxon")
    place = (np.concatenate(owners), np.tile(np.flatnonzero(held), len(owners)))
    return Groups(table, sparse.csr_array((np.ones(len(place[0])), place), shape=(width, len(asv_ids))))


def lineages(taxa_NR: npt.NDArray[np.object_], held: Mask) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Which taxon of the last rank each of the ASVs (N) held belongs to, and their names, sorted.

    The ranks above (R in all) tell namesakes apart, those of ASVs that are not held among them: a name does not hang on the samples.
    """
    known = np.where(pd.isna(taxa_NR), UNCLASSIFIED, taxa_NR).astype(str)
    known[known[:, -1] == UNCLASSIFIED] = UNCLASSIFIED  # together, wherever they are
    paths, codes = np.unique(known[:, ::-1], axis=0, return_inverse=True)
    names = paths[:, 0].tolist()
    for name in {n for n in names if names.count(n) > 1}:
        alike = np.flatnonzero(paths[:, 0] == name)
        # The lowest ranks, from the parent upwards, by which all of them can be told apart.
        width = next(w for w in range(2, paths.shape[1] + 1) if len(np.unique(paths[alike, :w], axis=0)) == len(alike))
        for k in alike:
            names[k] = f"{name} ({', '.join(paths[k, 1:width])})"
    which, codes = np.unique(codes.ravel()[held], return_inverse=True)
    return codes, [names[k] for k in which]


def clades(model: AAM, study: Study, asv_ids: pd.Index, held: Mask) -> Groups:
    """What lies below each internal branch: at least two, and not all, of the ASVs marked.

    Branches above the same ASVs are one, as long as all of them together, with the number of the lowest node. Its name is that of a
    node (numbers, which are supports, are no names), else the lowest taxon that all of its ASVs share, else empty. `share` is that of the
    ASVs marked which lie below: a branch near the root has most of them, gathers most attributions, and says least.

    Raises
    ------
    MissingTipError
        The study has no tree, or ASVs that are not its tips.
    ExplainError
        There is no such branch.
    """
    tree = study.require_tree()
    there = held & np.array([asv in tree.tip_node for asv in asv_ids])
    first, last = tip_ranges(tree)
    rank = first[[tree.tip_node[asv] for asv in asv_ids[there]]]
    order = np.flatnonzero(there)[np.argsort(rank)]  # columns of the ASVs from left to right
    before = np.concatenate([[0], np.cumsum(np.bincount(rank, minlength=int(last[0])) > 0)])
    start, stop = before[first], before[last]
    node = np.flatnonzero((stop - start >= 2) & (stop - start < len(order)))
    if not len(node):
        raise ExplainError(
            f"No branch of the tree lies above two or more, and not all, of the {len(order)} ASVs held. Expected a clade to explain by. "
            "Use `level='asv'`."
        )
    place, branch = np.unique(start[node] * (len(order) + 1) + stop[node], return_inverse=True)
    lowest = np.zeros(len(place), dtype=np.int64)
    np.maximum.at(lowest, branch, node)  # children come after parents
    size = stop[lowest] - start[lowest]
    ends = np.concatenate([[0], size.cumsum()])
    within = np.arange(ends[-1]) - np.repeat(ends[:-1] - start[lowest], size)
    members = sparse.csr_array((np.ones(ends[-1]), order[within], ends), shape=(len(place), len(asv_ids)))
    ranks = taxonomy_of(model, study, asv_ids)
    names = _shared(None if ranks is None else ranks.iloc[order], start[lowest], stop[lowest])
    for k, above in zip(branch.tolist(), node.tolist(), strict=True):  # the lowest node's name comes last
        names[k] = _name(tree, above) or names[k]
    features = pd.DataFrame(
        {
            "node": lowest,
            "num_asvs": size,
            "share": size / len(order),
            "length": np.bincount(branch, weights=tree.length[node], minlength=len(place)),
            "name": names,
        },
        index=pd.Index([f"node {n}" for n in lowest], name="clade"),
    )
    return Groups(features, members)


def _name(tree: Tree, node: int) -> str:
    """A node's own name, without those that are numbers."""
    name = tree.names[node] or ""
    return "" if re.fullmatch(r"[\d.eE+\-/ ]*", name) else name


def _shared(ranks: pd.DataFrame | None, start: npt.NDArray[np.int64], stop: npt.NDArray[np.int64]) -> list[str]:
    """The lowest taxon that the ASVs from `start` to `stop` - 1 share, empty where there is none."""
    names = np.full(len(start), "", dtype=object)
    if ranks is None:
        return list(names)
    differs = np.zeros(max(0, len(ranks) - 1), dtype=bool)
    for rank in ranks.columns:
        codes, found = pd.factorize(ranks[rank])
        differs |= codes[1:] != codes[:-1]  # here or at a higher rank
        changes = np.concatenate([[0], np.cumsum(differs)])
        same = (changes[stop - 1] == changes[start]) & (codes[start] >= 0)
        names[same] = [f"{found[c]} ({rank})" for c in codes[start[same]]]
    return list(names)


def summed(values: sparse.csr_array, groups: Groups) -> sparse.csr_array:
    """Attributions of sets as the sums of their ASVs', shape (n_samples, n_sets); a set none of whose ASVs has one has none."""
    has = sparse.csr_array((np.ones(values.nnz), values.indices, values.indptr), shape=values.shape)
    row, column = (has @ groups.members.T).nonzero()
    total = sparse.csr_array(values @ groups.members.T)
    return sparse.csr_array((np.asarray(total[row, column]).ravel(), (row, column)), shape=total.shape)
