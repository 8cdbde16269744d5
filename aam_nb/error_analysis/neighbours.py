"""How far samples lie from the training data, and the training samples next to them.

Shape letters: n judged samples, T training samples, D width.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import pairwise_distances, pairwise_distances_chunked

from aam_nb.arrays import Floats, Ints

OUTSIDE = 99.0
"""Percentile of the training samples' own distances from which a sample lies outside."""
MEGABYTES = 64
"""Of a block of distances, which is held up to three times."""


def measure_distances(x_nD: pd.DataFrame, train_TD: pd.DataFrame, k: int) -> Floats:
    """Mean Euclidean distance of each sample to its `k` nearest training samples (or as many as there are), shape n."""
    return _mean_nearest(x_nD.to_numpy(float), train_TD.to_numpy(float), k, None)


def measure_own_distances(train_TD: pd.DataFrame, unit: Ints, k: int) -> Floats:
    """The same of each training sample to the others, leaving out those of its own group, as judged samples have none of theirs.

    Missing where fewer than `k` are left.
    """
    x = train_TD.to_numpy(float)
    return _mean_nearest(x, x, k, unit)


def _mean_nearest(x: Floats, train: Floats, k: int, unit: Ints | None) -> Floats:
    k = min(k, len(train))
    means = []
    done = 0
    for block in pairwise_distances_chunked(x, train, working_memory=MEGABYTES):
        if unit is not None:
            block = np.where(unit[done : done + len(block), None] == unit, np.inf, block)
        done += len(block)
        means.append(np.partition(block, k - 1, axis=1)[:, :k].mean(1))
    mean_n = np.concatenate(means)
    return np.where(np.isfinite(mean_n), mean_n, np.nan)


def rank_as_percentile(values: Floats, own: Floats) -> Floats:
    """Share of the training samples' own distances, in per cent, that each value is larger than; missing ones are not counted."""
    ordered = np.sort(own[~np.isnan(own)])
    if not len(ordered):
        return np.full(len(values), np.nan)
    return 100 * np.searchsorted(ordered, values, side="left") / len(ordered)


def list_nearest(distances: pd.DataFrame, truth: pd.Series, k: int, space: str) -> pd.DataFrame:
    """The `k` nearest training samples of each sample, from distances with a row per sample and a column per training sample.

    Returns
    -------
    Indexed by sample id: `space`, `rank` (from 1), `neighbour` (id), `neighbour_truth`, `distance`.
    """
    values = distances.to_numpy()
    order = np.argsort(values, axis=1, kind="stable")[:, :k]
    k = order.shape[1]
    names = distances.columns[order.ravel()]
    return pd.DataFrame(
        {
            "space": space,
            "rank": np.tile(np.arange(1, k + 1), len(values)),
            "neighbour": names,
            "neighbour_truth": truth.reindex(names).to_numpy(),
            "distance": np.take_along_axis(values, order, axis=1).ravel(),
        },
        index=distances.index.repeat(k),
    )


def pair_distances(x_nD: pd.DataFrame, train_TD: pd.DataFrame) -> pd.DataFrame:
    """Euclidean distances, a row per sample and a column per training sample."""
    distances = pairwise_distances(x_nD.to_numpy(float), train_TD.to_numpy(float))
    return pd.DataFrame(distances, index=x_nD.index, columns=train_TD.index)
