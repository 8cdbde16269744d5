"""Tests, adjustments, permutations and resamples, against hand values, plain loops and simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import kstest, t, ttest_1samp
from sklearn.metrics import r2_score, recall_score

import aam_nb as aam
from aam_nb.baselines.scoring import leading_score
from aam_nb.evaluate import resampling
from aam_nb.evaluate.comparison.significance import (
    BlockError,
    Exchange,
    corrected_t_test,
    fold_score,
    holm,
    permutation_null,
)
from aam_nb.evaluate.metrics import score
from aam_nb.evaluate.resampling import percentile_interval, score_resamples


def test_corrected_t_test_by_hand() -> None:
    """Nadeau & Bengio's example of form: J differences, s² with J - 1, and (1/J + n2/n1) s² as the variance of their mean."""
    d = [0.02, 0.05, -0.01, 0.04, 0.05]
    mean = 0.15 / 5
    s2 = sum((x - mean) ** 2 for x in d) / 4  # 0.00065
    assert s2 == pytest.approx(0.00065)
    value = mean / math.sqrt((1 / 5 + 1 / 4) * s2)  # 0.03 / 0.0171026
    assert value == pytest.approx(1.754116, abs=1e-6)
    assert corrected_t_test(d, 1 / 4) == pytest.approx(2 * t.sf(value, 4))
    assert corrected_t_test(d, 1 / 4) == pytest.approx(0.1543, abs=1e-3)  # t table, 4 degrees of freedom
    assert corrected_t_test(d, 0.0) == pytest.approx(ttest_1samp(d, 0).pvalue)  # without overlap it is the plain test
    assert corrected_t_test(d, 1 / 4) > ttest_1samp(d, 0).pvalue


def test_corrected_t_test_at_the_edges() -> None:
    assert corrected_t_test([0.0, 0.0, 0.0], 0.25) == 1.0
    assert corrected_t_test([0.1, 0.1, 0.1], 0.25) == 0.0
    assert math.isnan(corrected_t_test([0.1], 0.25))
    assert corrected_t_test([0.02, np.nan, 0.05, -0.01], 0.25) == corrected_t_test([0.02, 0.05, -0.01], 0.25)


def test_holm_by_hand() -> None:
    # 4 × 0.01 = 0.04, then 3 × 0.02 = 0.06, then 2 × 0.03 = 0.06, then 0.5
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    found = holm([0.4, np.nan, 0.6])
    assert found[[0, 2]] == pytest.approx([0.8, 0.8])
    assert np.isnan(found[1])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_leading_metric_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.normal(size=30), rng.normal(size=30)
    assert leading_score(truth, guess, classes=False) == pytest.approx(r2_score(truth, guess))
    names = np.array([*"abc"], dtype=object)
    truth, guess = names[rng.integers(0, 2, 30)], names[rng.integers(0, 3, 30)]
    want = recall_score(truth, guess, labels=np.unique(truth), average="macro")
    assert leading_score(truth, guess, classes=True) == pytest.approx(want)
    assert math.isnan(leading_score(np.ones(4), np.arange(4.0), classes=False))


def test_scores_of_equal_folds_average_to_r2() -> None:
    rng = np.random.default_rng(1)
    truth, guess = rng.normal(size=40), rng.normal(size=40)
    folds = [fold_score(truth[k::4], guess[k::4], classes=False, spread=float(truth.var())) for k in range(4)]
    assert np.mean(folds) == pytest.approx(r2_score(truth, guess))
    assert fold_score(np.ones(3), np.ones(3) + 1, classes=False, spread=4.0) == pytest.approx(0.75)  # a constant fold


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_many_resamples_at_once_equal_a_loop(kind: str) -> None:
    """Each resample is scored by scikit-learn and SciPy on the samples drawn, in the oracle."""
    rng = np.random.default_rng(2)
    n, unit = 24, np.repeat(np.arange(8), 3)
    if kind == "numbers":
        task: aam.Regression | aam.Classification = aam.Regression("age")
        truth = np.round(rng.normal(10, 3, n))  # ties
        frame = pd.DataFrame({"age": np.round(truth + rng.normal(0, 2, n))})
    else:
        task = aam.Classification("site", classes=["a", "b", "c"])
        truth = np.array([*"abc"], dtype=object)[np.repeat(rng.integers(0, 3, 8), 3)]
        chance = np.round(rng.dirichlet(np.ones(3), n), 1)
        frame = pd.DataFrame(chance, columns=["p(a)", "p(b)", "p(c)"])
        frame.insert(0, "site", np.array([*"abc"], dtype=object)[chance.argmax(1)])
    drawn_RG = rng.multinomial(8, np.full(8, 1 / 8), size=60)
    drawn_RG[0] = [8, 0, 0, 0, 0, 0, 0, 0]  # one group alone: nothing but its own class
    found = score_resamples(truth, frame, task, drawn_RG[:, unit].astype(float))
    for r, drawn in enumerate(drawn_RG):
        rows = np.concatenate([np.tile(np.flatnonzero(unit == g), k) for g, k in enumerate(drawn)]).astype(int)
        want = score(truth[rows], frame.iloc[rows], task)
        for metric, value in want.items():
            assert found[metric][r] == pytest.approx(value, nan_ok=True, abs=1e-9), (metric, r)


def test_interval_of_a_difference_equals_a_loop() -> None:
    """Both models are scored on the same resample, and the ends are percentiles of the differences."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=20)
    one, other = (pd.DataFrame({"y": truth + rng.normal(size=20) * s}) for s in (0.5, 1.0))
    drawn = rng.multinomial(20, np.full(20, 0.05), size=80)
    task = aam.Regression("y")
    fast = [score_resamples(truth, f, task, drawn.astype(float))["r2"] for f in (one, other)]
    slow = []
    for d in drawn:
        rows = np.repeat(np.arange(20), d)
        slow.append(r2_score(truth[rows], one["y"][rows]) - r2_score(truth[rows], other["y"][rows]))
    slow.sort()
    low, high = percentile_interval(fast[0] - fast[1], 0.95)
    assert low == pytest.approx(np.percentile(slow, 2.5))
    assert high == pytest.approx(np.percentile(slow, 97.5))
    assert all(math.isnan(e) for e in percentile_interval(np.array([1.0, np.nan, np.nan]), 0.9))


# -- permutations -------------------------------------------------------------------------------------------------------


def test_whole_groups_change_places() -> None:
    truth = np.array([*"aabbbc"], dtype=object)
    group = pd.Series(["h1", "h1", "h2", "h2", "h2", "h3"], name="host")
    exchange = Exchange(truth, group=group)
    assert exchange.whole
    assert exchange.description == "whole host"
    seen = set()
    for rows in exchange.draws(200, seed=0):
        for permuted in truth[rows]:
            assert len(set(permuted[:2])) == len(set(permuted[2:5])) == 1  # a group keeps one label
            seen.add((permuted[0], permuted[2], permuted[5]))
    assert seen == {
        ("a", "b", "c"),
        ("a", "c", "b"),
        ("b", "a", "c"),
        ("b", "c", "a"),
        ("c", "a", "b"),
        ("c", "b", "a"),
    }


def test_truth_stays_in_its_block() -> None:
    truth = np.arange(8.0)
    block = pd.Series([*"xxxxyyyy"], name="batch")
    for rows in Exchange(truth, block=block).draws(50, seed=0):
        assert (np.sort(rows[:, :4], axis=1) == np.arange(4)).all()
        assert (np.sort(rows[:, 4:], axis=1) == np.arange(4, 8)).all()
    within = Exchange(truth, group=pd.Series([*"xxyyzzww"], name="host"))
    assert not within.whole
    assert within.description == "samples within host"
    for rows in within.draws(50, seed=0):
        assert (np.sort(rows.reshape(-1, 4, 2), axis=2) == np.arange(8).reshape(4, 2)).all()


def test_blocks_that_cannot_be() -> None:
    truth = np.array([*"aabb"], dtype=object)
    group = pd.Series([1, 1, 2, 2], name="host")
    with pytest.raises(BlockError, match="lie in several of 'batch'"):
        Exchange(truth, group=group, block=pd.Series([1, 2, 1, 1], name="batch"))
    with pytest.raises(BlockError, match="1 sample has no 'batch'"):
        Exchange(truth, block=pd.Series(["x", None, "x", "y"], name="batch"))


def test_p_value_by_hand() -> None:
    """Of 2 samples with classes a and b, half of the permutations are the truth itself: p is near a half for a perfect prediction."""
    truth = np.array(["a", "b"], dtype=object)
    table = permutation_null({"m": [truth.copy()]}, Exchange(truth), classes=True, count=999, seed=0).iloc[0]
    rows = np.concatenate([*Exchange(truth).draws(999, seed=0)])
    same = int((rows == [0, 1]).all(1).sum())
    assert table["p"] == pytest.approx((1 + same) / 1000)
    assert table["null_mean"] == pytest.approx(same / 999)  # 1 where the truth stays, 0 where it turns
    assert table["value"] == 1.0


@pytest.mark.slow
def test_p_values_are_uniform_when_nothing_is_known() -> None:
    """Predictions that know a sample's host, but nothing of its label: whole groups must change places, or p would be too small."""
    rng = np.random.default_rng(5)
    found, naive = [], []
    host = pd.Series(np.repeat(np.arange(12), 4), name="host")
    for k in range(300):
        truth = np.repeat(rng.normal(size=12), 4)
        guess = np.repeat(rng.normal(size=12), 4)
        of = {"m": [guess]}
        found.append(permutation_null(of, Exchange(truth, group=host), classes=False, count=99, seed=k)["p"][0])
        naive.append(permutation_null(of, Exchange(truth), classes=False, count=99, seed=k)["p"][0])
    jitter = np.random.default_rng(0).uniform(0, 0.01, 300)  # p comes in steps of 1 / 100
    assert kstest(np.array(found) - jitter, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.1
    assert (
        np.mean(np.array(naive) <= 0.05) > 0.15
    )  # samples of a host are copies: exchanging them finds what is not there


@pytest.mark.slow
def test_intervals_cover_as_they_say() -> None:
    """A model that is better by a known mean squared error: the interval of the difference covers it at about the nominal rate."""
    rng = np.random.default_rng(6)
    task, groups, size, covered, trials = aam.Regression("y"), 60, 3, 0, 300
    unit = np.repeat(np.arange(groups), size)
    for _ in range(trials):
        truth = rng.normal(size=groups)[unit] + rng.normal(size=groups * size)
        one, other = (truth + s * (rng.normal(size=groups)[unit] + rng.normal(size=groups * size)) for s in (0.5, 0.8))
        drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=200)[:, unit].astype(float)
        a, b = (score_resamples(truth, pd.DataFrame({"y": x}), task, drawn)["r2"] for x in (one, other))
        low, high = percentile_interval(a - b, 0.9)
        covered += low <= 0.64 - 0.25 <= high  # R² is 1 less the noise's share of the variance: 0.75 and 0.36
    assert 0.84 <= covered / trials <= 0.95  # nominal 0.9; four standard errors are 0.07


def test_intervals_of_sparse_values_are_those_of_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, unit = rng.normal(size=(12, 7)) * (rng.random((12, 7)) < 0.4), np.repeat(np.arange(4), 3)
    settings = {"confidence": 0.9, "num_resamples": 50, "seed": 1}
    dense = resampling.bootstrap_mean_interval(values, unit, **settings)
    monkeypatch.setattr(resampling, "COLUMNS", 3)
    np.testing.assert_allclose(resampling.bootstrap_mean_interval(sparse.csr_array(values), unit, **settings), dense)
    alone = resampling.bootstrap_mean_interval(values, np.zeros(12, dtype=int), **settings)
    assert np.isnan(alone).all()
