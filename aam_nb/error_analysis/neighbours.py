"""How far samples lie from the training data, and the training samples next to them.

Shape letters: n judged samples, T training samples, D width.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import pairwise_distances, pairwise_distances_chunked

OUTSIDE = 99.0
"""Percentile of the training samples' own distances from which a sample lies outside."""


def distances_to(x_nD: pd.DataFrame, train_TD: pd.DataFrame, k: int) -> npt.NDArray[np.float64]:
    """Mean Euclidean distance of each sample to its `k` nearest training samples (or as many as there are), shape n."""
    return _mean_nearest(x_nD.to_numpy(float), train_TD.to_numpy(float), k, None)


def own_distances(train_TD: pd.DataFrame, unit: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.float64]:
    """The same of each training sample to the others, leaving out those of its own group, as judged samples have none of theirs.

    Missing where fewer than `k` are left.
    """
    x = train_TD.to_numpy(float)
    return _mean_nearest(x, x, k, unit)


def _mean_nearest(
    x: npt.NDArray[np.float64], train: npt.NDArray[np.float64], k: int, unit: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.float64]:
    k = min(k, len(train))
    found = []
    done = 0
    for block in _blocks(x, train):
        if unit is not None:
            block = np.where(unit[done : done + len(block), None] == unit, np.inf, block)
        done += len(block)
        found.append(np.partition(block, k - 1, axis=1)[:, :k].mean(1))
    means = np.concatenate(found)
    return np.where(np.isfinite(means), means, np.nan)


def _blocks(x: npt.NDArray[np.float64], train: npt.NDArray[np.float64]) -> Iterator[npt.NDArray[np.float64]]:
    """Distances in blocks of rows; scikit-learn bounds their memory."""
    yield from pairwise_distances_chunked(x, train)


def percentile(values: npt.NDArray[np.float64], own: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of the training samples' own distances, in per cent, that each value is larger than; missing ones are not counted."""
    known = np.sort(own[~np.isnan(own)])
    return (
        100 * np.searchsorted(known, values, side="left") / len(known) if len(known) else np.full(len(values), np.nan)
    )


def nearest(distances: pd.DataFrame, truth: pd.Series, k: int, space: str) -> pd.DataFrame:
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


def between(x_nD: pd.DataFrame, train_TD: pd.DataFrame) -> pd.DataFrame:
    """Euclidean distances, a row per sample and a column per training sample."""
    found = pairwise_distances(x_nD.to_numpy(float), train_TD.to_numpy(float))
    return pd.DataFrame(found, index=x_nD.index, columns=train_TD.index)
