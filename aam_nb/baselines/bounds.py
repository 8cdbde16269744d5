"""How much of a large study a baseline sees: a bounded number of samples, drawn by their ids, and the commonest ASVs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from aam_nb.arrays import Array, Bools, Ints
from aam_nb.baselines.predictions import read_target
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config import cut_list
from aam_nb.study.splits import sort_ids
from aam_nb.study.study import Study

UNBOUNDED = ("dummy", "group_lookup", "depth_only")
"""Baselines that see a number or two of a sample, of however many samples."""


def bound_samples(train: Study, settings: SharedSettings, seed: int) -> Study:
    """The training samples that a baseline is fitted to: all, or `baseline_samples` of them.

    Which ones depends on their ids and the seed, not on their order. Each class keeps its share, and one sample at least while there is
    room.
    """
    most = settings.config.baseline_samples
    if train.num_samples <= most:
        return train
    truth = read_target(train, settings.task) if settings.is_class else np.zeros(train.num_samples)
    return train.keep_samples(draw_samples(train.sample_ids, truth, most, seed))


def draw_samples(sample_ids: pd.Index, stratum: Array, most: int, seed: int) -> Bools:
    """Mask of `most` samples drawn at random by their ids, each stratum by its share and with one sample at least while there is room."""
    order = np.random.default_rng([seed % 2**31, 2]).permutation(sort_ids(sample_ids))
    number = pd.Series(pd.factorize(stratum[order])[0])
    rank, size = number.groupby(number).cumcount().to_numpy(), number.map(number.value_counts()).to_numpy()
    chosen = order[np.lexsort(((rank + 0.5) / size, rank > 0))[:most]]
    mask = np.zeros(len(order), dtype=bool)
    mask[chosen] = True
    return mask


def bound_asvs(prevalence: Array, num_samples: int, most_cells: int) -> Ints:
    """Numbers of the ASVs that fit into `most_cells` (samples x ASVs): all, or the commonest, in the table's order; one at least."""
    most = max(1, most_cells // max(1, num_samples))
    if len(prevalence) <= most:
        return np.arange(len(prevalence))
    return np.sort(np.argsort(-np.asarray(prevalence), kind="stable")[:most])


def tell_bounds(facts: Mapping[str, Mapping[str, Any]], num_train: int, num_asvs: int) -> list[str]:
    """That baselines learned from a part of the training side, and what to set; nothing where they saw all.

    Parameters
    ----------
    facts
        By baseline, `samples` that it was fitted to and, where it was bounded, `asvs` that it saw.
    num_train, num_asvs
        Of the training side.
    """
    notes, by_part = [], dict[tuple[int, int], list[str]]()
    for name, own in facts.items():
        part = (own.get("samples", num_train), own.get("asvs", num_asvs))
        if part != (num_train, num_asvs):
            by_part.setdefault(part, []).append(name)
    for (samples, asvs), names in by_part.items():
        parts = [f"{samples:,} of the {num_train:,} training samples"] if samples < num_train else []
        parts += [f"the commonest {asvs:,} of {num_asvs:,} ASVs"] if asvs < num_asvs else []
        notes.append(
            f"To bound time and memory, {cut_list(names)} learned from {' and '.join(parts)}; the model learned from all. For more, set "
            f"`baseline_samples={num_train}` and `baseline_cells={min(num_train * num_asvs, 2**31 - 1)}`; time and memory grow with both."
        )
    return notes
