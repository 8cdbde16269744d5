"""Means over samples with intervals, and whether they differ from zero: whole groups are redrawn, and whole groups change sign.

Shape letters: n samples, G groups, R resamples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aam_nb.config import FaithfulnessConfig
from aam_nb.evaluate.resampling import bootstrap_mean_interval

Array = npt.NDArray[np.float64]


def interval(values: Array, unit: npt.NDArray[np.int64], config: FaithfulnessConfig) -> tuple[Array, Array, Array]:
    """Mean over samples and the ends of its bootstrap interval.

    Parameters
    ----------
    values
        Shape (n, ...): samples first.
    unit
        Group of each sample, 0 to G - 1; all samples of a drawn group come along. With a single group the ends are NaN.
    config
        Resamples, coverage, seed.
    """
    mean = values.mean(0)
    if unit.max() == 0:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    low, high = bootstrap_mean_interval(
        values, unit, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed
    )
    return mean, low, high


def sign_flip(difference: Array, unit: npt.NDArray[np.int64], config: FaithfulnessConfig) -> float:
    """Two-sided p of the mean difference, shape n, if each group's differences could as well have the other sign.

    Share of random signs that give a mean at least as far from 0, the observed one counted among them; NaN with a single group.
    """
    total_G = np.bincount(unit, weights=difference)
    if len(total_G) < 2:
        return float("nan")
    rng = np.random.default_rng(config.seed)
    sign = rng.choice([-1.0, 1.0], size=(config.num_permutations, len(total_G)))
    as_far = np.abs(sign @ total_G) >= abs(total_G.sum()) - 1e-12 * np.abs(total_G).sum()
    return float((1 + as_far.sum()) / (1 + config.num_permutations))
