"""The simulated study: the same everywhere, evolved as Kimura says, with its answers where `truth` says they are."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from skbio import TreeNode
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

import aam_nb as aam
from aam_nb.study.simulate import _best_scores
from aam_nb.study.study import Study

# Any machine must agree. A change here changes every tutorial, benchmark and pinned number: only on purpose.
GOLDEN = {
    (12, 60, 3): "376f85c0c8c66d279eaf91900a49bad631c010d153a5fb696eea2afc2af6a3ae",
    (240, 400, 0): "29904310a0643e7c20f17f6f9eae70a36e3ee752db7f317746f10a0824c7662c",
}


@pytest.fixture(scope="module")
def default() -> Study:
    return aam.simulate_study()


@pytest.mark.parametrize("size", GOLDEN)
def test_the_same_on_any_machine(size: tuple[int, int, int]) -> None:
    n_samples, n_asvs, seed = size
    study = aam.simulate_study(n_samples, n_asvs, seed=seed)
    assert study.table.shape == (n_samples, n_asvs)
    assert study.content_hash() == GOLDEN[size]


def test_the_seed_decides_counts_metadata_and_truth() -> None:
    one, again, other = (aam.simulate_study(12, 60, seed=s) for s in (1, 1, 2))
    assert one.content_hash() == again.content_hash() != other.content_hash()
    pd.testing.assert_frame_equal(one.metadata, again.metadata)
    assert one.truth is not None
    assert again.truth is not None
    pd.testing.assert_frame_equal(one.truth.planted, again.truth.planted)
    pd.testing.assert_frame_equal(one.truth.best, again.truth.best)


def test_hosts_depths_and_metadata(default: Study) -> None:
    assert default.asv_ids.is_unique
    assert set(default.asv_ids.str.len()) == {100}
    assert default.metadata["host_id"].value_counts().unique().tolist() == [4]
    assert set(default.metadata["diet"]) == {"animal", "plant"}
    assert set(default.metadata["season"]) == {"spring", "summer", "autumn", "winter"}
    assert default.metadata["age"].mean() == pytest.approx(50, abs=1)
    assert default.depth.between(800, 8000).all()
    # Log-uniform from 800 to 8000: mean of the log in the middle, standard deviation ln(10) / sqrt(12).
    log = np.log(default.depth)
    assert log.mean() == pytest.approx(np.log(800 * 8000) / 2, abs=4 * 0.665 / np.sqrt(240))
    assert log.std() == pytest.approx(np.log(10) / np.sqrt(12), rel=0.1)
    assert (default.prevalence > 0).mean() > 0.95


def test_a_host_repeats_itself(default: Study) -> None:
    """Half of the variance of age belongs to the host, so the intraclass correlation is near 0.5."""
    by_host = default.metadata.groupby("host_id")["age"]
    within, total = by_host.var().mean(), default.metadata["age"].var()
    assert 1 - within / total == pytest.approx(0.5, abs=0.15)


def test_the_tree_is_rooted_and_about_as_high_as_asked(default: Study) -> None:
    tree = TreeNode.read([default.require_tree().to_newick()])
    assert sorted(t.name for t in tree.tips()) == sorted(default.asv_ids)
    assert len(tree.children) == 2
    heights = [t.distance(tree) for t in tree.tips()]
    assert np.mean(heights) == pytest.approx(0.35, rel=0.25)


def test_planted_asvs_are_disjoint_whole_clades(default: Study) -> None:
    assert default.truth is not None
    planted, tree = default.truth.planted, TreeNode.read([default.require_tree().to_newick()])
    assert not planted["asv_id"].duplicated().any()
    groups = planted.groupby("clade")
    assert groups[["target", "sign"]].first().value_counts().to_dict() == {
        ("age", 1): 1, ("age", -1): 1, ("diet", 1): 1, ("diet", -1): 1,
    }  # fmt: skip
    for _, clade in groups:
        assert {t.name for t in tree.lca(list(clade["asv_id"])).tips()} == set(clade["asv_id"])
        assert 10 <= len(clade) <= 33  # 400 / 40 to 400 / 12
    assert set(default.truth.asvs("age")) == set(planted.loc[planted["target"] == "age", "asv_id"])
    assert repr(default.truth) == f"Truth(age: {len(default.truth.asvs('age'))} planted ASVs, diet: " + (
        f"{len(default.truth.asvs('diet'))} planted ASVs)"
    )


@pytest.mark.parametrize("seed", range(8))
def test_planted_clades_share_no_asv(seed: int) -> None:
    truth = aam.simulate_study(8, 60, seed=seed).truth
    assert truth is not None
    assert truth.planted["clade"].nunique() == 4
    assert not truth.planted["asv_id"].duplicated().any()


@pytest.mark.parametrize(("target", "other"), [("age", "diet"), ("diet", "age")])
def test_planted_clades_move_with_their_target_and_no_other(default: Study, target: str, other: str) -> None:
    assert default.truth is not None
    share = pd.DataFrame(default.table.toarray(), index=default.sample_ids, columns=default.asv_ids)
    share = share.div(share.sum(axis=1), axis=0)
    values = {"age": default.metadata["age"], "diet": (default.metadata["diet"] == "plant").astype(float)}
    for (_, sign), clade in default.truth.planted.query("target == @target").groupby(["clade", "sign"]):
        total = share[clade["asv_id"]].sum(axis=1)
        assert sign * spearmanr(total, values[target]).statistic > 0.3
        assert abs(spearmanr(total, values[other]).statistic) < 0.3


def test_dna_evolves_as_kimura_says() -> None:
    """Observed transitions and transversions between tips against the formulas of Kimura (1980).

    At distance d = (kappa + 2) * b, with b the rate of one transversion times time, the share of transitions is
    1/4 + e^(-4b)/4 - e^(-2(kappa+1)b)/2 and of transversions 1/2 - e^(-4b)/2. With 4,000 sites one pair's standard
    error is below 0.008.
    """
    kappa, config = 3.0, aam.SimulateConfig(length=4000, kappa=3.0, samples_per_host=2)
    study = aam.simulate_study(8, 60, seed=0, config=config)
    tree = TreeNode.read([study.require_tree().to_newick()]).cophenet()
    purine = {"A": 0, "G": 0, "C": 1, "T": 1}
    dna = {a: np.array(list(a)) for a in study.asv_ids}
    rings = {a: np.array([purine[c] for c in a]) for a in study.asv_ids}
    gaps, distances, differing = [], [], []
    for a, b in itertools.combinations(study.asv_ids, 2):
        d = tree[a, b]
        b_t = d / (kappa + 2)
        differs, across = dna[a] != dna[b], rings[a] != rings[b]
        transitions = 0.25 + 0.25 * np.exp(-4 * b_t) - 0.5 * np.exp(-2 * (kappa + 1) * b_t)
        transversions = 0.5 - 0.5 * np.exp(-4 * b_t)
        gaps.append(((differs & ~across).mean() - transitions, across.mean() - transversions))
        distances.append(d)
        differing.append(differs.mean())
    gap = np.array(gaps)
    assert np.abs(gap).max() < 5 * 0.008
    assert np.abs(gap.mean(axis=0)).max() < 0.008
    assert np.corrcoef(distances, differing)[0, 1] > 0.98


# -- what can be known of the answers ---------------------------------------------------------------------------------


def test_best_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    signal, age, score = rng.normal(50, 12, 90), rng.normal(50, 12, 90), np.round(rng.normal(size=90), 1)  # with ties
    plant = score + rng.normal(size=90) > 0.3
    best = _best_scores(age + signal, 2 * signal, plant, score).set_index("metric")["score"]
    assert best["r2"] == pytest.approx(r2_score(age + signal, 2 * signal))
    assert best["mae"] == pytest.approx(mean_absolute_error(age + signal, 2 * signal))
    assert best["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(plant, score > 0))
    assert best["auroc"] == pytest.approx(roc_auc_score(plant, score))


def test_best_scores_follow_from_the_noise() -> None:
    """Signal and noise of variances 1 and 0.45²: rho² = 1 / 1.2025 = 0.83, P(same sign) = 1/2 + asin(rho)/pi = 0.87."""
    rho = 1 / np.sqrt(1 + 0.45**2)
    scores = pd.concat([aam.simulate_study(240, 60, seed=s).truth.best for s in range(6)])  # type: ignore[union-attr]
    mean = scores.groupby("metric")["score"].mean()
    assert mean["r2"] == pytest.approx(rho**2, abs=0.03)
    assert mean["balanced_accuracy"] == pytest.approx(0.5 + np.arcsin(rho) / np.pi, abs=0.03)
    assert mean["mae"] == pytest.approx(12 * np.sqrt(2 / np.pi) * 0.45 * rho, rel=0.1)
    assert mean["auroc"] < 1


def test_without_noise_the_answers_can_be_known() -> None:
    study = aam.simulate_study(40, 60, config=aam.SimulateConfig(noise=0.0))
    assert study.truth is not None
    best = study.truth.best.set_index("metric")["score"]
    assert best[["balanced_accuracy", "auroc"]].tolist() == [1.0, 1.0]
    assert best["r2"] > 0.9999  # ages are rounded to 0.1 years
    assert best["mae"] <= 0.05


@pytest.mark.slow
def test_a_random_forest_learns_much_but_not_all(default: Study) -> None:
    assert default.truth is not None
    best = default.truth.best.set_index("metric")["score"]
    share = default.table.toarray() / default.depth.to_numpy()[:, None]
    folds, hosts = GroupKFold(5), default.metadata["host_id"]
    age = cross_val_predict(
        RandomForestRegressor(100, random_state=0), share, default.metadata["age"], groups=hosts, cv=folds
    )
    diet = cross_val_predict(
        RandomForestClassifier(100, random_state=0), share, default.metadata["diet"], groups=hosts, cv=folds
    )
    assert 0.1 < r2_score(default.metadata["age"], age) < best["r2"] < 1
    assert 0.6 < balanced_accuracy_score(default.metadata["diet"], diet) < best["balanced_accuracy"] < 1


# -- settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_followed() -> None:
    config = aam.SimulateConfig(length=25, samples_per_host=2, min_depth=50, max_depth=50, num_gradients=0)
    study = aam.simulate_study(8, 60, config=config)
    assert set(study.asv_ids.str.len()) == {25}
    assert study.depth.tolist() == [50] * 8
    assert study.metadata["host_id"].nunique() == 4


@pytest.mark.parametrize(("n_samples", "n_asvs"), [(7, 60), (8, 59), (0, 0)])
def test_a_study_too_small_to_plant_in_is_refused(n_samples: int, n_asvs: int) -> None:
    with pytest.raises(aam.ConfigError, match=rf"n_samples is {n_samples} and n_asvs is {n_asvs}.*`simulate_study\("):
        aam.simulate_study(n_samples, n_asvs)


def test_a_negative_seed_is_refused_by_name() -> None:
    with pytest.raises(aam.ConfigError, match=r"seed is -1\. Expected zero or more"):
        aam.simulate_study(8, 60, seed=-1)


def test_one_host_that_holds_all_the_signal_is_refused() -> None:
    """All samples would be alike, with nothing to predict and no variance to scale by."""
    with pytest.raises(aam.ConfigError, match="host_share"):
        aam.simulate_study(8, 60, config=aam.SimulateConfig(samples_per_host=8, host_share=1.0))
