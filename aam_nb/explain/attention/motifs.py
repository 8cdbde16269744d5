"""Motifs: which positions of a clade's ASVs the model's pooling looks at, and which nucleotides are there."""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.config import Notice, UserError, count_noun, cut_repr, telling_of_memory
from aam_nb.diversity.branches import tip_ranges
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.maps import require_asvs
from aam_nb.explain.attention.recorder import compute_nucleotide_maps
from aam_nb.study.errors import MissingTipError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM
from aam_nb.train.memory import SHORT_OF_TOKENS

NUCLEOTIDES = "ACGT"
SHORTEST = 0.9
"""Shortest ASV of a clade, as a share of the longest, for which counting positions from the 5' end is an alignment."""
ALIGNED = (
    "Positions count from the 5' end, where amplicons of one study start at the same primer; gaps are not considered."
)


class MotifError(UserError, ValueError):
    """ASVs have no positions in common."""


class LengthNotice(Notice):
    """ASVs differ in length, so that positions may be shifted."""


@dataclass(frozen=True, eq=False)
class Motifs:
    """Which nucleotides of a clade's ASVs the ASV encoder's pooling looks at.

    Parameters
    ----------
    attention
        By position (1 is the 5' end): heads and their `mean`; each column sums to 1. A position of the model that spans several
        nucleotides shares its attention among them. Means over ASVs, in which one too short for a position has none there.
    frequency
        By position: share of `A`, `C`, `G`, `T` and `other` letters among the ASVs that reach it, and how many these are, `asvs`.
    asvs
        The ASVs.
    name
        What they are.
    caption
        What a reader must know of it.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> motifs = aam.explain.motifs(model, study, asvs=study.asv_ids[:1])
    >>> motifs.consensus == study.asv_ids[0]
    True
    >>> motifs.to_frame().shape
    (100, 12)
    """

    attention: pd.DataFrame
    frequency: pd.DataFrame
    asvs: tuple[str, ...]
    name: str
    caption: str = NOT_IMPORTANCE

    @property
    def consensus(self) -> str:
        """The most frequent nucleotide of each position; N where other letters are more frequent."""
        letters = self.frequency[[*NUCLEOTIDES, "other"]].to_numpy().argmax(1)
        return "".join((NUCLEOTIDES + "N")[k] for k in letters)

    @property
    def even(self) -> float:
        """Attention of a position where it falls evenly on all."""
        return 1 / len(self.attention)

    def to_frame(self) -> pd.DataFrame:
        """Attention and frequencies side by side, with the `consensus`, by position."""
        frame = pd.concat([self.attention, self.frequency], axis=1).assign(consensus=list(self.consensus))
        frame.attrs["caption"] = self.caption
        return frame

    def plot(self, **artist_kw: Any) -> Any:
        """A matplotlib Axes."""
        from aam_nb.show.plots.attention import motif

        return motif(self, **artist_kw)

    def __repr__(self) -> str:
        return f"Motifs({self.name}: {count_noun(len(self.asvs), 'ASV')}, {len(self.attention)} positions). {ALIGNED} {self.caption}"

    def _repr_html_(self) -> str:
        most = self.to_frame().sort_values("mean", ascending=False, kind="stable").head(10)
        return f"<b>{html.escape(repr(self))}</b>" + most.round(3).to_html(escape=True)


@telling_of_memory("looking at motifs", SHORT_OF_TOKENS)
def motifs(model: AAM, study: Study, *, asvs: Sequence[str] | None = None, clade: int | None = None) -> Motifs:
    """Where the pooling of the ASV encoder looks, position by position, averaged over the ASVs of a clade.

    ASVs are aligned by their 5' ends: amplicons of one study start at the same primer, and gaps are not considered.

    Parameters
    ----------
    model
        A trained model.
    study
        Holds the ASVs; for a clade, with a tree.
    asvs
        The ASVs.
    clade
        Instead of `asvs`: a node of `study.tree`, below which are those of the study that are meant.

    Raises
    ------
    UnknownIdError
        An ASV is not in the study; there is no such node, or none of the study's ASVs below it; neither or both of the two are given.
    MissingTipError
        A clade is given and the study has no tree.
    MotifError
        The shortest ASV has less than 90 % of the nucleotides of the longest: positions from the 5' end are then no alignment.
    NotFittedError
        The model is not trained.

    Warns
    -----
    LengthNotice
        ASVs differ in length.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> aam.explain.motifs(model, study, clade=1)
    Motifs(clade of node 1: 35 ASVs, 100 positions). ...
    """
    model.network.eval()  # refuses an untrained model
    if (asvs is None) == (clade is None):
        given = "Both asvs and clade" if asvs is not None else "Neither asvs nor clade"
        raise UnknownIdError(
            f"{given} are given. Expected one of them. Use `aam.explain.motifs(model, study, clade=1)`."
        )
    chosen = require_asvs(study, asvs) if asvs is not None else _asvs_below(study, clade)
    lengths = np.array([len(asv) for asv in chosen])
    _check_lengths(lengths)
    L, scale, H = int(lengths.max()), model.config.scales[-1], model.config.num_attn_heads
    total = np.zeros((H, L))
    for asv, _, pool_HP in compute_nucleotide_maps(model, chosen, blocks=False):
        starts = np.arange(0, len(asv), scale)
        widths = np.minimum(starts + scale, len(asv)) - starts
        total[:, : len(asv)] += np.repeat(pool_HP.numpy() / widths, widths, axis=1)
    positions = pd.RangeIndex(1, L + 1, name="position")
    heads = pd.DataFrame(total.T / len(chosen), index=positions).rename(columns=lambda h: f"head_{h + 1}")
    result = Motifs(
        attention=heads.assign(mean=heads.mean(axis=1)),
        frequency=_count_letters(chosen, positions),
        asvs=tuple(chosen),
        name="ASVs given" if clade is None else f"clade of node {clade}",
    )
    for frame in (result.attention, result.frequency):
        frame.attrs["caption"] = NOT_IMPORTANCE
    return result


def _count_letters(asvs: list[str], positions: pd.Index) -> pd.DataFrame:
    """Which nucleotides are at each position, as `Motifs.frequency`."""
    letters = np.array([list(asv.ljust(len(positions))) for asv in asvs])
    reach = (letters != " ").sum(0)
    frame = pd.DataFrame({n: (letters == n).sum(0) / reach for n in NUCLEOTIDES}, index=positions)
    return frame.assign(other=(1 - frame.sum(axis=1)).clip(lower=0), asvs=reach)


def _asvs_below(study: Study, node: Any) -> list[str]:
    """The study's ASVs below a node of its tree."""
    if study.tree is None:
        raise MissingTipError(
            "The study has no tree. A clade needs one. Give it when reading: `aam.read_study(..., tree='tree.nwk')` (`--tree tree.nwk`), "
            "or name the ASVs: `asvs=[...]`."
        )
    tree = study.tree
    if not isinstance(node, (int, np.integer)) or not 0 <= node < len(tree.parent):
        raise UnknownIdError(
            f"clade is {cut_repr(node)}. The tree has the nodes 0 (its root) to {len(tree.parent) - 1}. Name one of those, such as "
            "`clade=int(study.tree.parent[study.tree.tip_node[asv]])`."
        )
    first, last = tip_ranges(tree)
    nodes = [tree.tip_node.get(asv, -1) for asv in study.asv_ids]
    below = [a for a, n in zip(study.asv_ids, nodes, strict=True) if n >= 0 and first[node] <= first[n] < last[node]]
    if not below:
        raise UnknownIdError(
            f"Below node {node} of the tree are {count_noun(int(last[node] - first[node]), 'tip')}, and none is an ASV of the study. "
            "Expected at least one. Choose a node above an ASV, such as `clade=int(study.tree.parent[study.tree.tip_node[asv]])`."
        )
    return list(map(str, below))


def _check_lengths(lengths: np.ndarray) -> None:
    """Refuse lengths that cannot be aligned, and warn of those that may be shifted."""
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < SHORTEST * longest:
        raise MotifError(
            f"The ASVs have {shortest} to {longest} nucleotides. Expected lengths within {1 - SHORTEST:.0%} of the longest, because they "
            "are aligned by their 5' ends. Choose a smaller clade, or ASVs of like length: `asvs=[a for a in study.asv_ids if "
            f"len(a) == {int(np.median(lengths))}]`."
        )
    if shortest < longest:
        warnings.warn(
            f"The {len(lengths)} ASVs have {shortest} to {longest} nucleotides. {ALIGNED} After an insertion positions are shifted.",
            LengthNotice,
            stacklevel=3,
        )
