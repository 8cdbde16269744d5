"""Recovery of planted ASVs, against scikit-learn's average precision and rankings worked out by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score

import aam_nb as aam
from aam_nb.config import FaithfulnessConfig
from aam_nb.explain import Attributions, recovery
from aam_nb.explain.faithfulness.recovery import compare_rankings, forest_importance
from aam_nb.study.study import Study


def ranked(strength: list[float]) -> Attributions:
    """Two samples in which ASV k has an attribution of +-strength[k]; zero means that no sample holds it."""
    rng = np.random.default_rng(0)
    asvs = ["".join(p) for p in itertools.islice(itertools.product("ACGT", repeat=4), len(strength))]
    signs = rng.choice([-1, 1], size=(2, len(strength)))
    ids = pd.Index(["a", "b"])
    check = pd.DataFrame({"prediction": [1.0, 1.0], "reference": [0.0, 0.0], "gap": [0.0, 0.0]}, index=ids)
    return Attributions("y", "units of y", sparse.csr_array(signs * np.array(strength)), ids, pd.Index(asvs), check)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strength = rng.permutation(np.arange(1.0, 41.0))
    hit = np.isin(np.arange(40), rng.permutation(40)[:7])
    attributions = ranked(strength.tolist())
    found = recovery(attributions, attributions.asv_ids[hit], resamples=50)
    assert found.average_precision == pytest.approx(average_precision_score(hit, strength))
    assert (found.num_planted, found.num_asvs) == (7, 40)
    assert found.top == hit[np.argsort(-strength)[:7]].sum()


def test_a_perfect_ranking_is_one_and_the_worst_is_by_hand() -> None:
    attributions = ranked([9, 8, 7, 6, 5, 4, 3, 2, 1, 0.5])
    best = recovery(attributions, attributions.asv_ids[:3])
    assert best.average_precision == 1
    assert best.top == 3
    assert best.p_value < 0.02  # 1 of 120 sets of three is as good
    assert best.p_value == pytest.approx(1 / 120, abs=0.006)
    worst = recovery(attributions, attributions.asv_ids[-2:])
    assert worst.average_precision == pytest.approx((1 / 9 + 2 / 10) / 2)
    assert worst.p_value == 1


def test_chance_is_the_mean_of_all_rankings() -> None:
    attributions = ranked([6, 5, 4, 3, 2, 1])
    every = [
        average_precision_score(np.isin(range(6), two), range(6, 0, -1)) for two in itertools.combinations(range(6), 2)
    ]
    found = recovery(attributions, attributions.asv_ids[[1, 4]], resamples=4000)
    assert found.chance == pytest.approx(np.mean(every), abs=0.02)
    assert found.chance_high == pytest.approx(np.quantile(every, 0.95), abs=0.2)
    assert found.p_value == pytest.approx(np.mean(np.array(every) >= found.average_precision - 1e-12), abs=0.03)


def test_only_asvs_that_occur_are_ranked() -> None:
    attributions = ranked([3, 0, 2, 0, 1])
    found = recovery(attributions, attributions.asv_ids[[0, 1]])
    assert (found.num_planted, found.num_asvs, found.average_precision) == (1, 3, 1.0)
    with pytest.raises(ValueError, match="None of the planted ASVs occurs"):
        recovery(attributions, attributions.asv_ids[[1, 3]])


def test_rivals_are_ranked_by_what_they_are_called_and_intervals_are_a_plain_loops() -> None:
    """Abundance is the mean share, prevalence the number of samples; whole groups of samples are drawn again."""
    rng = np.random.default_rng(0)
    asvs = pd.Index(["".join(p) for p in itertools.islice(itertools.product("ACGT", repeat=4), 30)])
    ids, unit = pd.Index([f"s{i}" for i in range(12)], name="sample_id"), np.repeat(np.arange(6), 2)
    reads = rng.poisson(3, size=(12, 30)) * (rng.random((12, 30)) < rng.random(30))
    study = Study(sparse.csr_array(reads), ids, asvs, pd.DataFrame(index=ids))
    values = rng.normal(size=(12, 30)) * np.arange(1, 31) * (reads > 0)
    check = pd.DataFrame({"prediction": np.ones(12), "reference": np.zeros(12), "gap": np.zeros(12)}, index=ids)
    attributions = Attributions("y", "units of y", sparse.csr_array(values), ids, asvs, check)
    planted, forest = asvs[[29, 25, 3, 8]], pd.Series(rng.random(30), index=asvs)
    config = FaithfulnessConfig(num_resamples=800)
    found = compare_rankings(attributions, study, planted, config, unit=unit, forest=forest)
    share = reads / reads.sum(1, keepdims=True)
    hit, held = asvs.isin(planted), reads.any(0)
    own = average_precision_score(hit, abs(values).mean(0))
    assert found.loc["attribution", "average_precision"] == pytest.approx(own)
    assert found.loc["abundance", "average_precision"] == pytest.approx(average_precision_score(hit, share.mean(0)))
    assert found.loc["forest", "average_precision"] == pytest.approx(average_precision_score(hit[held], forest[held]))
    assert found.loc["abundance", "difference"] == pytest.approx(own - found.loc["abundance", "average_precision"])
    drawn = []
    for _ in range(800):
        rows = np.concatenate([np.flatnonzero(unit == g) for g in rng.integers(6, size=6)])
        pair = abs(values[rows]).mean(0), share[rows].mean(0)
        drawn.append([average_precision_score(hit, score) for score in pair])
    a, b = np.array(drawn).T
    for name, column, draws in (("attribution", "", a), ("abundance", "", b), ("abundance", "difference_", a - b)):
        ends = found.loc[name, [f"{column}low", f"{column}high"]].to_numpy(float)
        np.testing.assert_allclose(ends, np.quantile(draws, [0.025, 0.975]), atol=0.05)
    assert found.loc["forest", "low"] == found.loc["forest", "high"]


def test_a_forest_finds_what_decides(sides: tuple[Study, Study]) -> None:
    """A column that is the target's own order has the largest importance; importances sum to one."""
    train = sides[0]
    reads = train.table.toarray()
    reads[:, 7] = train.metadata["age"].rank() ** 2 * 20
    told = replace(train, table=sparse.csr_array(reads.astype(int)))
    task = aam.Regression("age")
    found = forest_importance(told, task, told.asv_ids, num_trees=30, seed=0)
    assert found.idxmax() == told.asv_ids[7]
    assert found.sum() == pytest.approx(1)
