"""Can the explanations be believed? On a simulated study: do they find what was planted?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from aam_nb.config import UserError
from aam_nb.explain.attribution import Attributions


class NothingPlantedError(UserError, ValueError):
    """There is nothing to recover."""


@dataclass(frozen=True)
class Recovery:
    """How well a ranking of ASVs by mean absolute attribution finds the planted ones.

    Parameters
    ----------
    average_precision
        Mean precision at each planted ASV going down the ranking, 0 to 1.
    chance, chance_high
        The same for random rankings: their mean and their 95th percentile.
    p_value
        Share of random rankings that do as well, with the observed one counted among them.
    num_planted, num_asvs
        Planted ASVs among those ranked.
    top
        Planted ASVs among the first `num_planted` of the ranking.
    """

    average_precision: float
    chance: float
    chance_high: float
    p_value: float
    num_planted: int
    num_asvs: int
    top: int

    def __str__(self) -> str:
        return (
            f"average precision {self.average_precision:.2f} for {self.num_planted} planted among {self.num_asvs} ASVs, where chance gives "
            f"{self.chance:.2f} ({self.average_precision / self.chance:.1f} times as much, p = {self.p_value:.4f}); {self.top} of the "
            f"first {self.num_planted} ASVs are planted"
        )


def recovery(attributions: Attributions, planted: Iterable[str], *, resamples: int = 2000, seed: int = 0) -> Recovery:
    """Compare the ranking of ASVs by mean absolute attribution with the planted ones (`study.truth.asvs(target)`).

    Only ASVs that occur in the explained samples are ranked: no method can find others.

    Parameters
    ----------
    attributions
        Of any samples of the simulated study.
    planted
        The planted ASVs.
    resamples, seed
        Random rankings to compare with.

    Raises
    ------
    NothingPlantedError
        None of the planted ASVs occurs in the explained samples.
    """
    table = attributions.by_asv()
    ranked = table.index[table["samples"] > 0]
    hit = ranked.isin(list(planted))
    if not hit.any():
        raise NothingPlantedError(
            "None of the planted ASVs occurs in the explained samples. Expected at least one. Take them from `study.truth.asvs(target)`."
        )
    rng = np.random.default_rng(seed)
    random = np.array([_average_precision(rng.permutation(hit)) for _ in range(resamples)])
    observed = _average_precision(hit)
    return Recovery(
        average_precision=observed,
        chance=float(random.mean()),
        chance_high=float(np.quantile(random, 0.95)),
        p_value=float((1 + (random >= observed).sum()) / (1 + resamples)),
        num_planted=int(hit.sum()),
        num_asvs=len(ranked),
        top=int(hit[: hit.sum()].sum()),
    )


def _average_precision(hit: np.ndarray) -> float:
    """Of a ranking, best first, in which `hit` marks the planted."""
    place = np.flatnonzero(hit) + 1
    return float((np.arange(1, len(place) + 1) / place).mean())
