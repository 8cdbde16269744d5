"""Recovery: do attributions find the ASVs that are known to matter, such as those that a simulation planted?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.baselines.features import relative_abundance
from aam_nb.baselines.predictions import read_target
from aam_nb.baselines.random_forest import IMPORTANCE, make_forest
from aam_nb.baselines.scaling import standardise
from aam_nb.config import (
    ConfigError,
    FaithfulnessConfig,
    UserError,
    format_p,
)
from aam_nb.evaluate.resampling import draw_groups, percentile_interval
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.ids import as_id_list
from aam_nb.model.objectives import Classification, Task
from aam_nb.study.study import Study

RESAMPLES_AT_ONCE = 100
"""Rankings made at once: bounds memory."""


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

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> attributions = aam.explain.attribute(model, study)
    >>> recovered = aam.explain.recovery(attributions, study.truth.asvs("age"), resamples=99)
    >>> print(recovered)
    average precision ... for 6 planted among 59 ASVs, where chance gives ... planted
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
            f"{self.chance:.2f} ({self.average_precision / self.chance:.1f} times as much, {format_p(self.p_value)}); {self.top} of the "
            f"first {self.num_planted} ASVs {'is' if self.top == 1 else 'are'} planted"
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
    NothingPlantedError, UnknownIdError, ConfigError
        None of the planted ASVs occurs in the explained samples; they are no list; there is no random ranking.

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    >>> model = aam.AAM(aam.ModelConfig(width=16, num_layers=1))
    >>> model = model.fit(study, target="age", config=aam.TrainConfig(epochs=1, progress=False))
    >>> attributions = aam.explain.attribute(model, study)
    >>> recovered = aam.explain.recovery(attributions, study.truth.asvs("age"), resamples=99)
    >>> recovered.num_planted, recovered.num_asvs
    (6, 59)
    """
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}. Expected at least 1 random ranking. Try `resamples=2000`.")
    table = attributions.by_asv()
    ranked = table.index[table["samples"] > 0]
    hit = ranked.isin(as_id_list("planted", planted))
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


def compare_rankings(
    attributions: Attributions,
    study: Study,
    planted: Iterable[str],
    config: FaithfulnessConfig,
    *,
    unit: Ints,
    forest: pd.Series | None = None,
) -> pd.DataFrame:
    """Other ways to rank ASVs, and how much worse or better than the attributions they find the planted ones.

    Parameters
    ----------
    attributions, planted
        As in `recovery`.
    study
        The explained samples.
    config
        Resamples, coverage, seed.
    unit
        Group of each sample, 0, 1, …: whole groups are resampled.
    forest
        Importance of each ASV by a random forest, which is not resampled.

    Returns
    -------
    One row for each of `attribution` (mean absolute), `abundance` (mean relative), `prevalence` and `forest`: `average_precision`, `low`,
    `high`, and what the attributions have above it, `difference`, `difference_low`, `difference_high`. Intervals: samples are resampled.
    """
    held = attributions.by_asv().reindex(attributions.asv_ids)["samples"].to_numpy() > 0
    held = np.random.default_rng(config.seed).permutation(np.flatnonzero(held))  # ties are broken by chance
    hit, ids = attributions.asv_ids[held].isin(list(planted)), attributions.asv_ids[held]
    share = relative_abundance(study, ids).astype(np.float64)
    by_sample = {
        "attribution": abs(attributions.values).tocsc()[:, held].toarray(),
        "abundance": share,
        "prevalence": (share > 0).astype(np.float64),
    }
    groups = int(unit.max()) + 1
    drawn = np.concatenate([np.ones((1, groups)), draw_groups(unit, config.num_resamples, config.seed)])
    of_group = sparse.csr_array((np.ones(len(unit)), (unit, np.arange(len(unit)))), shape=(groups, len(unit)))
    # Average precision of each ranking, of the samples as they are and of each resample.
    precision = {}
    for name, values in by_sample.items():
        blocks = np.array_split(drawn, -(-len(drawn) // RESAMPLES_AT_ONCE))
        precision[name] = np.concatenate([average_precisions(block @ (of_group @ values), hit) for block in blocks])
    if forest is not None:
        precision["forest"] = np.full(len(drawn), average_precisions(forest.reindex(ids).to_numpy()[None], hit)[0])
    own = precision["attribution"]
    rows = {}
    for name, values in precision.items():
        ends = [percentile_interval(v[1:], config.confidence) for v in (values, own - values)]
        rows[name] = [values[0], *ends[0], own[0] - values[0], *ends[1]]
    columns = ["average_precision", "low", "high", "difference", "difference_low", "difference_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def forest_importance(train: Study, task: Task, asv_ids: pd.Index, *, num_trees: int, seed: int) -> pd.Series:
    """Importance of each ASV to a random forest (scikit-learn's, mean decrease of impurity) that learns the target from relative
    abundances, indexed by `asv_ids`."""
    train = train.keep_samples(train.target(task.target).notna())
    classes = isinstance(task, Classification)
    forest = make_forest(classes=classes, num_trees=num_trees, seed=seed, threads=1, settings=IMPORTANCE[classes])
    truth = read_target(train, task)
    forest.fit(relative_abundance(train, asv_ids), truth if classes else standardise(truth))
    return pd.Series(forest.feature_importances_, index=asv_ids)


def average_precisions(score: Floats, hit: Bools) -> Floats:
    """Average precision of each row of scores, R x ASVs; ties in the order of the ASVs."""
    ranked = hit[np.argsort(-score, axis=1, kind="stable")]
    precision = np.cumsum(ranked, axis=1) / np.arange(1, ranked.shape[1] + 1)
    average: Floats = (precision * ranked).sum(1) / hit.sum()
    return average


def _average_precision(hit: Bools) -> float:
    """Of a ranking, best first, in which `hit` marks the planted."""
    rank = np.flatnonzero(hit) + 1
    return float((np.arange(1, len(rank) + 1) / rank).mean())
