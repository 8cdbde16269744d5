"""Means over samples with intervals, and whether they differ from zero: whole groups are resampled, and whole groups change sign.

Shape letters: n samples, G groups, R resamples.
"""

from __future__ import annotations

import numpy as np

from aam_nb.arrays import Floats, Ints
from aam_nb.config import FaithfulnessConfig
from aam_nb.evaluate.resampling import bootstrap_mean_interval
from aam_nb.study.columns import number_groups
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM


def group_samples(model: AAM, study: Study) -> tuple[Ints, str | None]:
    """Number of each sample's group, by which the samples were split, and its column, None where each sample is a group of its own."""
    group = study.split_info.group if study.split_info else model.group
    group = group if group in study.metadata.columns else None
    return number_groups(study.metadata[group] if group else None, study.num_samples), group


def mean_with_interval(values: Floats, unit: Ints, config: FaithfulnessConfig) -> tuple[Floats, Floats, Floats]:
    """Mean over samples and the ends of its bootstrap interval.

    Parameters
    ----------
    values
        Shape (n, ...): samples first.
    unit
        Group of each sample, 0 to G - 1; all samples of a drawn group are drawn with it. With a single group the ends are NaN.
    config
        Resamples, coverage, seed.
    """
    low, high = bootstrap_mean_interval(
        values, unit, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed
    )
    return values.mean(0), low, high


def sign_flip_p_value(difference: Floats, unit: Ints, config: FaithfulnessConfig) -> float:
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
