"""Deletion and insertion curves against brute force, closed forms and predictions of studies that lack the ASVs."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import permutation_test
from sklearn.metrics import auc

import aam_nb as aam
from aam_nb.config import FaithfulnessConfig
from aam_nb.explain.attribution.attribute import Attributions, attribute
from aam_nb.explain.attribution.probe import Output, Reference, make_probes
from aam_nb.explain.faithfulness.deletion_insertion import (
    RemovableFeatures,
    areas_under_curves,
    match_features,
    measure_movements,
    predict_without_first,
    rank_features,
    tabulate_curves,
)
from aam_nb.explain.faithfulness.resampling import mean_with_interval, sign_flip_p_value
from aam_nb.study.study import Study

Array = npt.NDArray[np.float64]
CONFIG = FaithfulnessConfig(steps=6, num_random=200, num_resamples=400, num_permutations=999)


def additive(value_BF: Array, base: float = 3.0):
    """A model that sums what each feature is worth."""

    def ask(out_MF: npt.NDArray[np.bool_], row_M: npt.NDArray[np.int64]) -> Array:
        return base + (value_BF[row_M] * ~out_MF).sum(1)

    return ask


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_an_oracle_is_the_best_of_all_orders(seed: int) -> None:
    """Of 720 orders of six features none has a larger area, when a feature's worth is what it was given."""
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(1, 6))
    moved = measure_movements(additive(value), value, np.full((1, 6), 1 / 6), CONFIG, rng)
    total = value.sum()
    for kind in ("deletion", "insertion"):
        paths = np.cumsum([[0, *value[0, list(order)]] for order in itertools.permutations(range(6))], axis=1)
        best = (paths * np.sign(total) @ [0.5, 1, 1, 1, 1, 1, 0.5] / 6).max()  # trapezoids
        assert areas_under_curves(moved[kind, "attribution"], np.ones(1))[0] == pytest.approx(best)
        assert moved[kind, "attribution"][0, [0, -1]] == pytest.approx([0, abs(total)])


def test_random_orders_of_an_additive_model_are_straight_lines() -> None:
    """Each feature is gone with probability k / n, so the mean movement is k / n of the whole."""
    value = np.random.default_rng(0).normal(size=(5, 12)) + 1
    config = FaithfulnessConfig(steps=6, num_random=3000)
    moved = measure_movements(additive(value), value, np.full(value.shape, 1 / 12), config, np.random.default_rng(1))
    want = np.abs(value.sum(1))[:, None] * np.arange(7) / 6
    for kind in ("deletion", "insertion"):
        np.testing.assert_allclose(moved[kind, "random"], want, atol=0.25)
    # A random order backwards is the same order put in: exactly the mirror image.
    back = moved["deletion", "random"][:, -1:] - moved["deletion", "random"][:, ::-1]
    np.testing.assert_allclose(moved["insertion", "random"], back)


def test_curves_by_hand() -> None:
    """Worth 4, -1, 2, 1 with shares 0.1, 0.4, 0.3, 0.2: the prediction is 6 above that of nothing."""
    value, share = np.array([[4.0, -1.0, 2.0, 1.0]]), np.array([[0.1, 0.4, 0.3, 0.2]])
    config = FaithfulnessConfig(steps=4, num_random=1)
    moved = measure_movements(additive(value), value, share, config, np.random.default_rng(0))
    assert moved["deletion", "attribution"].tolist() == [[0, 4, 6, 7, 6]]
    assert moved["insertion", "attribution"].tolist() == [[0, 4, 6, 7, 6]]
    assert moved["deletion", "abundance"].tolist() == [[0, -1, 1, 2, 6]]
    # Downwards, what pushes down goes first.
    down = measure_movements(additive(-value), -value, share, config, np.random.default_rng(0))
    assert down["deletion", "attribution"].tolist() == [[0, 4, 6, 7, 6]]


def test_signs_alone_by_hand() -> None:
    """Of worth 4, -1, 2, 1 three push upwards, in any of six orders, and go before the one that pushes down."""
    value, share = np.array([[4.0, -1.0, 2.0, 1.0]]), np.full((1, 4), 0.25)
    config = FaithfulnessConfig(steps=4, num_random=1)
    rng = np.random.default_rng(0)
    found = [measure_movements(additive(value), value, share, config, rng) for _ in range(300)]
    for kind in ("deletion", "insertion"):
        mean = np.mean([moved[kind, "sign only"] for moved in found], axis=0)
        np.testing.assert_allclose(mean, [[0, 7 / 3, 14 / 3, 7, 6]], atol=0.1)


def test_samples_of_different_sizes_go_by_shares_rounded_down() -> None:
    held = np.array([[True] * 5, [True] * 2 + [False] * 3])
    worth = np.array([[1.0, 2, 4, 8, 16], [1, 2, 0, 0, 0]])
    found = predict_without_first(additive(worth, 0.0), rank_features(worth, held), held, 4)
    assert found.tolist() == [[31, 15, 7, 3, 0], [3, 3, 1, 1, 0]]


def shuffle_rows(value: Array, rng: np.random.Generator) -> Array:
    return rng.permuted(value, axis=1)


def test_random_attributions_do_as_chance_and_an_oracle_better() -> None:
    rng = np.random.default_rng(3)
    value = rng.normal(size=(60, 15)) + 0.3
    share, unit = rng.dirichlet(np.ones(15), size=60), np.arange(60)
    ask = additive(value)
    for given, right in ((shuffle_rows(value, rng), False), (value, True)):
        curves, area = tabulate_curves(measure_movements(ask, given, share, CONFIG, rng), unit, CONFIG)
        versus = area[area["order"] != "attribution"]
        assert len(versus) == 6
        if right:
            assert (versus["difference_low"] > 0).all()
            assert (versus["p_value"] <= 0.002).all()
        else:
            assert (versus["difference_low"] < 0).all()
            assert (versus["difference_high"] > 0).all()
            assert (versus["p_value"] > 0.05).all()
        own = area[area["order"] == "attribution"].set_index("kind")["area"]
        for row in versus.itertuples():
            assert row.difference == pytest.approx(own[row.kind] - row.area)
        assert len(curves) == 2 * 4 * 7
        assert curves["low"].le(curves["mean"]).all()
        assert curves["high"].ge(curves["mean"]).all()


def test_areas_are_scikit_learns_over_the_longer_of_own_and_median_change() -> None:
    moved = {(k, o): np.array([[0, 1, 2.0], [0, 5, 8], [0, 3, 4]]) for k in ("deletion", "insertion") for o in
             ("attribution", "abundance", "random", "sign only")}  # fmt: skip
    _, area = tabulate_curves(moved, np.arange(3), CONFIG)
    want = np.mean([auc([0, 0.5, 1], row) / max(row[-1], 4) for row in moved["deletion", "random"]])
    np.testing.assert_allclose(area["area"], want)


def test_intervals_equal_a_plain_loop_over_groups() -> None:
    rng = np.random.default_rng(0)
    values, unit = rng.normal(size=(20, 3)), np.repeat(np.arange(8), [1, 4, 2, 3, 2, 4, 1, 3])
    config = FaithfulnessConfig(num_resamples=4000, confidence=0.9)
    mean, low, high = mean_with_interval(values, unit, config)
    np.testing.assert_allclose(mean, values.mean(0))
    means = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(unit == g) for g in rng.integers(8, size=8)])
        means.append(values[rows].mean(0))
    np.testing.assert_allclose(low, np.quantile(means, 0.05, axis=0), atol=0.05)
    np.testing.assert_allclose(high, np.quantile(means, 0.95, axis=0), atol=0.05)
    assert np.isnan(mean_with_interval(values, np.zeros(20, dtype=int), config)[1]).all()


def test_sign_flips_equal_scipys() -> None:
    difference = np.random.default_rng(2).normal(0.4, size=12)
    want = permutation_test(
        (difference, np.zeros(12)),
        lambda a, b, axis: (a - b).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    ).pvalue
    config = FaithfulnessConfig(num_permutations=20000)
    assert sign_flip_p_value(difference, np.arange(12), config) == pytest.approx(want, abs=0.01)
    # Copies of a sample in one group tell nothing new.
    assert sign_flip_p_value(np.repeat(difference, 3), np.repeat(np.arange(12), 3), config) == pytest.approx(
        want, abs=0.01
    )
    assert np.isnan(sign_flip_p_value(difference, np.zeros(12, dtype=int), config))


@pytest.fixture(scope="module")
def found(fitted: aam.AAM, sides: tuple[Study, Study]) -> Attributions:
    return attribute(fitted, sides[1], method="occlusion")


def lacking(study: Study, sample: str, asvs: list[str]) -> Study:
    """One sample without some ASVs."""
    one = study.keep_samples([sample])
    return one.keep_asvs(one.asv_ids[~one.asv_ids.isin(asvs) & (one.prevalence > 0).to_numpy()])


@pytest.mark.parametrize("grouped", [False, True])
def test_what_is_taken_away_is_taken_out_of_the_study(
    found: Attributions, fitted: aam.AAM, sides: tuple[Study, Study], grouped: bool
) -> None:
    """Outputs equal predictions of samples that never had the ASVs; in groups, all ASVs of a group go together."""
    test, rng = sides[1], np.random.default_rng(0)
    feature_A, values = np.arange(test.num_asvs), found.values
    if grouped:
        feature_A = rng.integers(6, size=test.num_asvs)
        groups = sparse.csr_array((np.ones(test.num_asvs), (np.arange(test.num_asvs), feature_A)))
        values = sparse.csr_array(found.values @ groups)
    asv_ids, each = make_probes(fitted, test, Output.of(fitted, None), Reference.of(fitted, test, "empty"))
    probe = next(each)
    rows = test.sample_ids.get_indexer(list(probe.batch.sample_ids))
    features = RemovableFeatures.of(probe, feature_A, values[rows])
    np.testing.assert_allclose(features.share_BF.sum(1), 1, rtol=1e-5)
    out = (rng.random(features.held_BF.shape) < 0.4) & features.held_BF
    got = features.predictor(probe)(out, np.arange(len(out)))
    for b, sample in enumerate(probe.batch.sample_ids[:4]):
        gone = [a for a, f in zip(asv_ids, feature_A, strict=True) if f in features.feature_BF[b][out[b]]]
        want = fitted.predict(lacking(test, sample, gone))["age"].iloc[0]
        assert got[b] == pytest.approx(want, rel=1e-4)
        kept = features.feature_BF[b] >= 0
        np.testing.assert_allclose(
            features.value_BF[b, kept], values[[rows[b]]].toarray()[0][features.feature_BF[b, kept]]
        )


def test_features_of_asvs(found: Attributions) -> None:
    more = found.asv_ids.append(pd.Index(["ACGTACGT"]))
    features = match_features(found, more)
    assert features is not None
    assert features.tolist() == [*range(len(found.asv_ids)), -1]


def test_dropping_one_asv_by_one_follows_occlusion(
    found: Attributions, fitted: aam.AAM, sides: tuple[Study, Study]
) -> None:
    """The first step of a curve with as many steps as ASVs is the largest occlusion in the direction of the prediction."""
    one = sides[1].keep_samples(sides[1].sample_ids[:1])
    asv_ids, each = make_probes(fitted, one, Output.of(fitted, None), Reference.of(fitted, one, "empty"))
    probe = next(each)
    features = RemovableFeatures.of(probe, np.arange(len(asv_ids)), found.values[[0]])
    config = FaithfulnessConfig(steps=int(features.held_BF.sum()), num_random=1)
    moved = measure_movements(
        features.predictor(probe), features.value_BF, features.share_BF, config, np.random.default_rng(0)
    )
    whole = fitted.predict(one)["age"].iloc[0]
    nothing = probe.predict_without(probe.own_BS, probe.rows).item()
    direction = 1 if whole >= nothing else -1
    want = (direction * found.of_sample(one.sample_ids[0])).max()
    assert moved["deletion", "attribution"][0, 1] == pytest.approx(want, abs=1e-3)
