"""Baselines by name: each against scikit-learn, scikit-bio or a plain loop; none sees the test side; evaluate and compare have the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import skbio
from skbio.diversity import beta_diversity
from sklearn.ensemble import RandomForestRegressor

import aam_nb as aam
from aam_nb.baselines.fit import BASELINES, BaselineError, fit_baseline, predict_baseline
from aam_nb.baselines.settings import SharedSettings
from aam_nb.baselines.tuning import split_training_side
from aam_nb.config import CompareConfig
from aam_nb.evaluate.comparison.contenders import Recipe, make_contenders
from aam_nb.evaluate.comparison.fitting import fit_and_predict
from aam_nb.study.study import Study

FAST = CompareConfig(num_trees=20, inner_folds=2)


def settings_for(
    study: Study, target: str = "age", group: str | None = "host_id", config: CompareConfig = FAST
) -> SharedSettings:
    numeric = pd.api.types.is_numeric_dtype(study.metadata[target])
    classes = None if numeric else tuple(sorted(study.metadata[target].unique()))
    return SharedSettings(target=target, classes=classes, group=group, covariates=(), config=config)


@pytest.fixture(scope="module")
def classed(study: Study) -> Study:
    """The simulated study with a class that follows from age."""
    old = np.where(study.metadata["age"] > study.metadata["age"].median(), "old", "young")
    return replace(study, metadata=study.metadata.assign(stage=old))


@pytest.mark.parametrize("name", [*BASELINES])
@pytest.mark.parametrize("target", ["age", "stage"])
def test_every_baseline_predicts(classed: Study, name: str, target: str) -> None:
    train, test = classed.split(test_size=0.25, target=target, group="host_id", seed=0)
    frame = predict_baseline(name, train, test, settings_for(classed, target))
    assert list(frame.index) == list(test.sample_ids)
    assert frame.notna().all(axis=None)
    if target == "stage":
        assert list(frame) == ["stage", "p(old)", "p(young)"]
        assert np.allclose(frame[["p(old)", "p(young)"]].sum(axis=1), 1)
        assert (frame["stage"] == np.where(frame["p(old)"] >= frame["p(young)"], "old", "young")).all()


@pytest.mark.parametrize("name", [*BASELINES])
def test_names_of_classes_change_no_prediction(classed: Study, name: str) -> None:
    """Names that look like numbers, as of an age in months, are names all the same."""
    months = classed.metadata["stage"].map({"old": "12", "young": "6"})
    other = replace(classed, metadata=classed.metadata.assign(stage=months))
    predictions = []
    for study in (classed, other):
        train, test = study.split(test_size=0.25, target="stage", group="host_id", seed=0)
        predictions.append(predict_baseline(name, train, test, settings_for(study, "stage")))
    assert list(predictions[1]) == ["stage", "p(12)", "p(6)"]  # in the same order as "old" and "young"
    np.testing.assert_array_equal(predictions[0].iloc[:, 1:].to_numpy(), predictions[1].iloc[:, 1:].to_numpy())


def test_forest_and_dummy_of_evaluate_are_those_of_compare(classed: Study, fitted: aam.AAM) -> None:
    """One definition: the same samples, settings and seed give the same predictions."""
    train, test = classed.split(test_size=0.25, target="age", group="host_id", seed=0)
    names = ("random_forest", "dummy")
    for tune in (False, True):
        quick = {"tune": tune, "num_trees": 10, "inner_folds": 2, "num_resamples": 20}
        shown = aam.Evaluation.of(fitted, test, train=train, config=aam.EvaluateConfig(**quick), find_leaks=False)
        settings = settings_for(train, config=CompareConfig(**quick))
        for contender in make_contenders(names, Recipe(), train)[0]:
            frame, facts = fit_and_predict(contender, train, test, settings, 0, None)
            assert (shown.predictions[contender.name] == frame["age"]).all()
            if contender.name == "random_forest":
                assert bool(facts["settings"]) == tune


def shares(study: Study, asv_ids: pd.Index) -> npt.NDArray[np.float32]:
    frame = pd.DataFrame(study.table.toarray(), columns=study.asv_ids)
    return frame.div(frame.sum(axis=1), axis=0).reindex(columns=asv_ids, fill_value=0.0).to_numpy(dtype=np.float32)


def test_asvs_that_training_lacks_do_not_reach_a_baseline(sides: tuple[Study, Study]) -> None:
    """Nor do those that fewer training samples hold than asked; a share is of all reads of the sample."""
    train, test = sides
    fewer = train.keep_asvs(train.asv_ids[::2])
    common = fewer.asv_ids[(fewer.prevalence >= 2).to_numpy()]
    assert len(common) < len(fewer.asv_ids)
    age = train.metadata["age"].to_numpy()
    forest = RandomForestRegressor(n_estimators=10, max_features=1 / 3, random_state=0)
    forest.fit(shares(fewer, common), np.round((age - age.mean()) / age.std(), 7))  # the same bits in any unit
    want = forest.predict(shares(test, common)) * age.std() + age.mean()
    config = CompareConfig(tune=False, num_trees=10)
    found = predict_baseline("random_forest", fewer, test, settings_for(train, config=config))
    np.testing.assert_allclose(found["age"], want)
    with pytest.raises(BaselineError, match=r"'xgboost' is not a baseline\. There are dummy, depth_only"):
        predict_baseline("xgboost", train, test, settings_for(train))
    with pytest.raises(BaselineError, match="'logistic_clr' is not a baseline"):
        predict_baseline("logistic_clr", train, test, settings_for(train))


def test_inner_folds_of_evaluate_keep_the_groups_of_the_split(sides: tuple[Study, Study]) -> None:
    train, _ = sides
    host = train.metadata["host_id"].to_numpy()
    for group in ("host_id", None):
        splits = split_training_side(train, settings_for(train, group=group), seed=0)
        shared = [bool(set(host[a]) & set(host[b])) for a, b in splits]
        assert any(shared) == (group is None)


def test_neighbours_equal_brute_force(sides: tuple[Study, Study], study: Study) -> None:
    train, test = sides
    frame = predict_baseline("knn_unifrac", train, test, settings_for(train, config=CompareConfig(tune=False)))
    both = [*train.sample_ids, *test.sample_ids]
    whole = study.keep_samples(both)
    tree = skbio.TreeNode.read([whole.tree.to_newick()], convert_underscores=False)  # type: ignore[union-attr]
    table = whole.table[:].toarray()
    distances = beta_diversity(
        "unweighted_unifrac", table, both, taxa=list(whole.asv_ids), tree=tree, validate=False
    ).data
    ages = train.metadata["age"].to_numpy()
    for k, age in enumerate(frame["age"]):
        nearest = np.argsort(distances[len(ages) + k, : len(ages)])[:5]
        assert age == pytest.approx(ages[nearest].mean())


def test_classes_that_training_lacks_get_nothing(classed: Study) -> None:
    settings = SharedSettings(
        target="stage", classes=("ancient", "old", "young"), group=None, covariates=(), config=FAST
    )
    train, test = classed.split(test_size=0.25, target="stage", seed=0)
    for name in ("ridge_clr", "dummy", "svm", "group_lookup", "knn_unifrac"):
        frame = predict_baseline(name, train, test, settings)
        assert (frame["p(ancient)"] == 0).all()
        assert set(frame["stage"]) <= {"old", "young"}


@pytest.mark.parametrize("name", ["ridge_clr", "random_forest", "group_lookup", "knn_unifrac"])
def test_fitting_never_sees_the_test_side(sides: tuple[Study, Study], name: str) -> None:
    """The test side's reads, labels and number of samples may be what they like: settings and predictions of a sample stay."""
    train, test = sides
    predict, facts = fit_baseline(name, train, settings_for(train), threads=1)
    frame = predict(test)
    wild = replace(test, metadata=test.metadata.assign(age=1e6))
    first = wild.keep_samples(wild.sample_ids[:1])
    predict, other = fit_baseline(name, train, settings_for(train), threads=1)
    again = predict(first)
    assert again["age"].iloc[0] == pytest.approx(frame["age"].iloc[0], rel=1e-12)
    for key in ("settings", "column"):
        assert facts.get(key) == other.get(key)
