"""Numbers computed from attention maps: how far a head looks, how sharply, and at what. Nothing here needs a model or a study.

Shape letters: L layers, H heads, Q queries, K keys (Q = K where ASVs or positions attend to each other).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from aam_nb.arrays import Floats
from aam_nb.diversity.branches import tip_ranges
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.tree import Tree

Floats32 = npt.NDArray[np.float32]
NOT_IMPORTANCE = (
    "Attention shows where the model looks, not what moves its prediction: it has no sign and is not an importance."
)
STATISTICS = (
    "distance",
    "distance_even",
    "entropy",
    "entropy_share",
    "on_sample_token",
    "on_covariates",
    "on_itself",
    "largest",
    "keys",
)
"""Numbers of each head, by `compute_head_statistics`."""


@dataclass(frozen=True, eq=False)
class HeadMaps:
    """Attention of all layers and heads among the ASVs of one sample, or among the positions of one ASV.

    Parameters
    ----------
    weights
        Shape (layers, heads, queries, keys), float32; each row sums to 1.
    names
        What queries and keys are, in this order.
    """

    weights: Floats32
    names: pd.Index

    def head(self, layer: int, head: int) -> pd.DataFrame:
        """One head's map, queries x keys; layers and heads count from 1.

        Raises
        ------
        UnknownIdError
            There is no such layer or head.
        """
        L, H = self.weights.shape[:2]
        if not (1 <= layer <= L and 1 <= head <= H):
            raise UnknownIdError(
                f"layer is {layer} and head {head}. There are {L} layers and {H} heads, counted from 1. Name one of those."
            )
        frame = pd.DataFrame(self.weights[layer - 1, head - 1], index=self.names, columns=self.names)
        frame.attrs["caption"] = NOT_IMPORTANCE
        return frame.rename_axis(index="query", columns="key")

    def to_frame(self) -> pd.DataFrame:
        """One row per layer, head, query and key: `layer`, `head`, `query`, `key`, `attention`."""
        levels = [range(1, n + 1) for n in self.weights.shape[:2]]
        index = pd.MultiIndex.from_product([*levels, self.names, self.names], names=["layer", "head", "query", "key"])
        frame = pd.Series(self.weights.ravel(), index=index, name="attention").reset_index()
        frame.attrs["caption"] = NOT_IMPORTANCE
        return frame

    def __repr__(self) -> str:
        L, H, Q, _ = self.weights.shape
        return f"HeadMaps({L} layers x {H} heads x {Q} x {Q}). {NOT_IMPORTANCE}"


class FoldedMaps(list[Tensor]):
    """A list that reduces each map as it is appended, so that one layer's whole map at a time is in memory.

    It holds, by layer, the map (H x k x k, on the CPU) of the first tokens, of the chosen ASVs, and of all others as one.

    Parameters
    ----------
    chosen
        Numbers of the keys that are kept, in their new order, the tokens among them.
    num_tokens
        Keys that stand before the ASVs: the sample token and covariates.
    distance
        Distances between the ASVs, NaN where they are not known; None where none are.

    Attributes
    ----------
    statistics
        Of each layer's whole map, by head: see `compute_head_statistics`.
    rolled
        Rollout of the whole maps so far, Q x K: what reached each token of the last layer from each of the first.
    """

    def __init__(self, chosen: Tensor, num_tokens: int, distance: Tensor | None) -> None:
        super().__init__()
        self.chosen, self.num_tokens, self.distance = chosen, num_tokens, distance
        self.statistics: list[dict[str, Floats]] = []
        self.rolled: Tensor | None = None

    def append(self, weights_BHQK: Tensor) -> None:
        """Take a layer's map of one sample."""
        weights = weights_BHQK[0].float()
        self.statistics.append(compute_head_statistics(weights, self.num_tokens, self.distance))
        self.rolled = roll_out_layer(weights.mean(0), self.rolled)
        super().append(fold_map(weights, self.chosen).cpu())


def fold_map(weights_HKK: Tensor, chosen: Tensor) -> Tensor:
    """Maps of the chosen keys, and of all others as one: its column has their sum, its row their mean, so rows still sum to 1."""
    K, k = weights_HKK.shape[-1], len(chosen)
    if k == K:
        return weights_HKK[:, chosen][:, :, chosen]
    new_K = torch.full((K,), k, device=weights_HKK.device)
    new_K[chosen] = torch.arange(k, device=new_K.device)
    belongs = torch.nn.functional.one_hot(new_K, k + 1).to(weights_HKK.dtype)
    return (belongs / belongs.sum(0)).T @ (weights_HKK @ belongs)


def roll_out_layer(mean_KK: Tensor, rolled: Tensor | None) -> Tensor:
    """Rollout one layer further (Abnar & Zuidema 2020, arXiv 2005.00928): half of a token stays, by the residual path, and half of it is
    mixed from the others as the heads attend on average."""
    step = mean_KK / 2
    step.diagonal().add_(0.5)
    return step if rolled is None else step @ rolled


def compute_head_statistics(
    weights_HQK: Tensor, num_tokens: int, distance: Tensor | None, *, pooled: bool = False
) -> dict[str, Floats]:
    """Numbers of each head of a layer, means over the queries that are ASVs (or positions).

    Parameters
    ----------
    weights_HQK
        Rows sum to 1.
    num_tokens
        Keys that are no ASVs: the sample token first, then covariates. 0 at nucleotide level.
    distance
        Between ASVs or positions, NaN where it is not known.
    pooled
        Whether the only query is a learned one, which is none of the keys.

    Returns
    -------
    Each of `STATISTICS`, shape H. `distance`: mean distance of what is attended among the ASVs whose distance is known, itself
    included at 0; `distance_even`: the same where attention falls evenly. `entropy`: nats; `entropy_share`: of the logarithm of the
    number of keys, 1 where attention is even. `on_sample_token`, `on_covariates`, `on_itself`: shares of attention. `largest`: share of
    the key most attended. `keys`: how many there are, so that 1 / keys is what each has where attention is even. NaN where a number has
    no meaning.
    """
    H, _, K = weights_HQK.shape
    first = 0 if pooled else num_tokens
    statistics = {name: np.full(H, np.nan) for name in STATISTICS}
    statistics["keys"][:] = K
    on_tree = None if distance is None or pooled else ~distance.isnan().all(1)
    for h, whole in enumerate(weights_HQK):  # one head at a time: a sample may have thousands of ASVs
        rows = whole[first:]
        entropy = float(torch.special.entr(rows).sum(-1).mean())
        statistics["entropy"][h] = entropy
        statistics["entropy_share"][h] = entropy / np.log(K) if K > 1 else np.nan
        statistics["largest"][h] = float(rows.amax(-1).mean())
        if num_tokens:
            statistics["on_sample_token"][h] = float(rows[:, 0].mean())
            statistics["on_covariates"][h] = float(rows[:, 1:num_tokens].sum(-1).mean())
        if not pooled:
            statistics["on_itself"][h] = float(rows.diagonal(first).mean())
        if on_tree is not None and distance is not None and bool(on_tree.any()):
            among, far = rows[:, num_tokens:], distance
            if not bool(on_tree.all()):
                among, far = among[on_tree][:, on_tree], distance[on_tree][:, on_tree]
            reached = (among * far).sum(-1) / among.sum(-1)
            statistics["distance"][h] = float(reached.nanmean())
            statistics["distance_even"][h] = float(far.mean())
    return statistics


def tabulate_statistics(level: str, unit: str, by_layer: list[dict[str, Floats]]) -> pd.DataFrame:
    """`compute_head_statistics` of the layers of one sample or ASV as rows: `level`, `layer` and `head` (from 1), `unit`, `STATISTICS`.

    Pooling has one layer, with the number 0.
    """
    frames = [pd.DataFrame(statistics) for statistics in by_layer]
    for k, frame in enumerate(frames):
        layer = 0 if "pooling" in level else k + 1
        for name, value in (("unit", unit), ("head", range(1, len(frame) + 1)), ("layer", layer), ("level", level)):
            frame.insert(0, name, value)
    return pd.concat(frames, ignore_index=True)


def correlate_heads(maps: Iterable[Floats], names: pd.Index) -> pd.DataFrame:
    """Pearson's correlation between the maps of heads, averaged over samples or ASVs.

    Parameters
    ----------
    maps
        Of each sample or ASV: heads x cells.
    names
        The heads.

    Returns
    -------
    Heads x heads, -1 to 1; NaN for a head whose map is the same everywhere in all of them.
    """
    total, defined = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    for cells in maps:
        centred = cells - cells.mean(1, keepdims=True)
        size = np.sqrt((centred**2).sum(1))
        flat = size <= 1e-12
        unit = centred / np.where(flat, 1.0, size)[:, None]
        varying = ~(flat[:, None] | flat)
        total += np.where(varying, unit @ unit.T, 0.0)
        defined += varying
    mean = np.where(defined > 0, total / np.maximum(defined, 1), np.nan)
    frame = pd.DataFrame(mean, index=names, columns=names)
    frame.attrs["caption"] = NOT_IMPORTANCE
    return frame


class TreeDistances:
    """Distances between tips along a tree (cophenetic), in branch-length units (substitutions per site).

    Tips are ranked from left to right. The last common ancestor of two of them is the highest of those between each and its right-hand
    neighbour from one to the other.

    Parameters
    ----------
    tree
        Rooted; ASVs that are not its tips have no distances.
    """

    def __init__(self, tree: Tree) -> None:
        first, last = tip_ranges(tree)
        depth = tree.length.copy()
        for node in range(1, len(depth)):  # parents come before children
            depth[node] += depth[tree.parent[node]]
        self.node, self.first, self.depth = tree.tip_node, first, depth
        # Between two neighbouring ranks lies the left edge of one child of their last common ancestor.
        inner = 1 + np.flatnonzero(first[1:] > first[tree.parent[1:]])
        self.meet = np.zeros(int(last[0]))
        self.meet[first[inner]] = depth[tree.parent[inner]]

    def among(self, asvs: Iterable[str]) -> Floats32:
        """Distances between ASVs, square; NaN in the rows and columns of those that are not tips."""
        nodes = np.array([self.node.get(asv, -1) for asv in asvs], dtype=np.int64)
        distance = np.full((len(nodes), len(nodes)), np.nan, dtype=np.float32)
        tips = np.flatnonzero(nodes >= 0)
        if not len(tips):
            return distance
        # From left to right, with the depth of the last common ancestor of each tip and the next.
        tips = tips[np.argsort(self.first[nodes[tips]])]
        rank, depth = self.first[nodes[tips]], self.depth[nodes[tips]]
        meet = np.array([self.meet[a + 1 : b + 1].min() for a, b in pairwise(rank)])
        # Of a tip and each tip to its right, the ancestor is the highest one between them.
        for i in range(len(tips)):
            above = np.minimum.accumulate(meet[i:])
            row = depth[i] + depth[i + 1 :] - 2 * above
            distance[tips[i], tips[i]] = 0.0
            distance[tips[i], tips[i + 1 :]] = distance[tips[i + 1 :], tips[i]] = row
        return distance
