"""Settings are chosen within the training side, whole groups held out, as a plain loop chooses them."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestRegressor

import aam_nb as aam
from aam_nb.baselines.settings import SharedSettings
from aam_nb.baselines.tuning import inner_splits, split_training_side, tune_model
from aam_nb.config.evaluate import BaselineConfig


def test_inner_folds_keep_groups_whole() -> None:
    rng = np.random.default_rng(0)
    group, y = np.repeat(np.arange(9), 4), rng.normal(size=36)
    splits = inner_splits(y, group, classes=False, folds=3, seed=1)
    assert len(splits) == 3
    assert sorted(np.concatenate([b for _, b in splits])) == list(range(36))
    for a, b in splits:
        assert not set(group[a]) & set(group[b])
        assert not set(a) & set(b)
    names = np.array([*"aaaaaab"], dtype=object)
    assert len(inner_splits(names, None, classes=True, folds=3, seed=0)) >= 2
    assert inner_splits(y, np.zeros(36), classes=False, folds=3, seed=0) == []


def test_tuning_chooses_what_scores_best_by_a_plain_loop() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(40, 30)), rng.normal(size=40)
    splits = inner_splits(y, None, classes=False, folds=4, seed=0)
    grid = {"alpha": [0.1, 10.0, 1000.0]}
    fitted, facts = tune_model(Ridge(), grid, X, y, splits, classes=False)
    errors = {
        a: np.mean([np.mean((Ridge(a).fit(X[i], y[i]).predict(X[j]) - y[j]) ** 2) for i, j in splits])
        for a in grid["alpha"]
    }
    assert facts["settings"] == {"alpha": min(errors, key=lambda a: errors[a])}
    assert fitted.alpha == facts["settings"]["alpha"]


def test_what_does_not_converge_is_told() -> None:
    from sklearn.linear_model import ElasticNet

    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 60))
    _, facts = tune_model(ElasticNet(alpha=1e-4, max_iter=2), {}, X, rng.normal(size=30), [], classes=False)
    assert not facts["converged"]
    _, facts = tune_model(ElasticNet(alpha=0.5), {}, X, rng.normal(size=30), [], classes=False)
    assert facts["converged"]


def test_a_forest_is_chosen_with_fewer_trees_and_fitted_with_all() -> None:
    """Against the choice made by hand: forests of the smaller size, scored on the same rows."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(60, 8))
    y = X[:, 0] + rng.normal(scale=0.5, size=60)
    splits = inner_splits(y, None, classes=False, folds=3, seed=0)
    grid = {"min_samples_leaf": [1, 3, 10]}
    forest = RandomForestRegressor(40, random_state=0)
    fitted, facts = tune_model(forest, grid, X, y, splits, classes=False, while_searching={"n_estimators": 7})
    errors = {
        leaf: np.mean(
            [
                np.mean(
                    (
                        y[b]
                        - RandomForestRegressor(7, min_samples_leaf=leaf, random_state=0).fit(X[a], y[a]).predict(X[b])
                    )
                    ** 2
                )
                for a, b in splits
            ]
        )
        for leaf in grid["min_samples_leaf"]
    }
    assert facts["settings"]["min_samples_leaf"] == min(errors, key=lambda leaf: errors[leaf])
    assert len(fitted.estimators_) == 40


def test_inner_folds_do_not_depend_on_the_order_of_samples() -> None:
    study = aam.simulate_study(n_samples=40, n_asvs=60, seed=0)
    other = study.keep_samples(study.sample_ids[np.random.default_rng(0).permutation(40)])
    for target, classes in (("age", None), ("diet", ("animal", "plant"))):
        for group in (None, "host_id"):
            settings = SharedSettings(
                target=target, classes=classes, group=group, covariates=(), config=BaselineConfig()
            )
            one, two = (
                [{frozenset(s.sample_ids[rows]) for rows in fold} for fold in split_training_side(s, settings, 3)]
                for s in (study, other)
            )
            assert len(one) == 3
            assert one == two
