"""Our model by a recipe, ablations and baselines: each against scikit-learn, scikit-bio or a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import skbio
from conftest import QUICK, TINY
from scipy import sparse
from skbio.diversity import beta_diversity
from skbio.stats.composition import clr

import aam_nb as aam
from aam_nb.config import CompareConfig
from aam_nb.evaluate.baselines import predict_baseline
from aam_nb.evaluate.comparison import pipelines
from aam_nb.evaluate.comparison.contenders import BASELINES, OURS, ContenderError, Recipe, contenders_of
from aam_nb.evaluate.comparison.fitting import CovariateColumns, Disguise, Setting, looked_up, timed, without_abundance
from aam_nb.study.errors import MissingTipError
from aam_nb.study.study import Study

FAST = CompareConfig(num_trees=20, inner_folds=2)
RECIPE = Recipe(model=TINY, pretrain=QUICK, fit=QUICK)


def setting_for(
    study: Study, target: str = "age", group: str | None = "host_id", config: CompareConfig = FAST
) -> Setting:
    numeric = pd.api.types.is_numeric_dtype(study.metadata[target])
    classes = None if numeric else tuple(sorted(study.metadata[target].unique()))
    return Setting(target=target, classes=classes, group=group, covariates=(), config=config)


@pytest.fixture(scope="module")
def classed(study: Study) -> Study:
    """The simulated study with a class that follows from age."""
    old = np.where(study.metadata["age"] > study.metadata["age"].median(), "old", "young")
    return replace(study, metadata=study.metadata.assign(stage=old))


# -- who can be named ---------------------------------------------------------------------------------------------------


def test_names(study: Study, fitted: aam.AAM) -> None:
    found, notes = contenders_of([fitted, "dummy", aam.AAM(TINY)], RECIPE, study)
    assert [c.name for c in found] == ["aam", "dummy", "aam_2"]
    assert [n for n in notes if "weights of aam" in n] == [notes[0]]
    assert "are not used" in notes[0]
    assert f"saw {len(fitted.seen)} of the 48 samples" in notes[0]
    named, _ = contenders_of({"mine": fitted, "forest": "random_forest"}, RECIPE, study)
    assert [(c.name, c.kind) for c in named] == [("mine", "aam"), ("forest", "random_forest")]
    with pytest.raises(ContenderError, match="'xgboost' is not a contender") as error:
        contenders_of(["xgboost"], RECIPE, study)
    assert all(name in str(error.value) for name in [*OURS, *BASELINES])
    for bad in (["dummy", "dummy"], [], {"truth": "dummy"}):
        with pytest.raises(ContenderError):
            contenders_of(bad, RECIPE, study)
    bare = replace(study, tree=None)
    with pytest.raises(MissingTipError):
        contenders_of(["knn_unifrac"], RECIPE, bare)
    found, notes = contenders_of(["aam"], RECIPE, bare)
    assert found[0].recipe is not None
    assert found[0].recipe.objectives == ("nucleotides",)
    assert "no tree" in notes[0]


def test_recipe_of_a_model(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    found = Recipe.of(fitted)
    assert (found.model, found.pretrain, found.fit) == (TINY, QUICK, QUICK)
    assert [o["name"] for o in found.objectives if isinstance(o, dict)] == ["unifrac", "nucleotides"]
    weighted = aam.AAM(TINY).pretrain(sides[0], objectives=[aam.UniFrac("weighted_normalized")], config=QUICK)
    (spec,) = Recipe.of(weighted).objectives
    assert isinstance(spec, dict)
    assert spec["metric"] == "weighted_normalized"
    target = aam.Quantiles("age", hidden=(8,))
    plain = aam.AAM(TINY).fit(sides[0], target=target, covariates=["season"], config=QUICK)
    found = Recipe.of(plain)
    assert found.pretrain is None
    assert found.quantiles
    assert found.covariates == ("season",)
    task = found.task("age", classes=False)
    assert isinstance(task, aam.Quantiles)
    assert task.config.hidden == (8,)


# -- ours and its ablations ---------------------------------------------------------------------------------------------


def test_our_model_is_the_estimator(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    """Seed 0 of a repeat is the model that a user fits by hand."""
    train, test = sides
    ours = contenders_of(["aam"], RECIPE, train)[0][0]
    frame, facts = timed(ours, train, test, setting_for(train), 0, 1)
    pd.testing.assert_frame_equal(frame, fitted.predict(test).astype(float))
    assert facts["fit_seconds"] > 0


def test_without_abundance_counts_are_one(hand_study: Study) -> None:
    seen = without_abundance(hand_study)
    assert seen.table[:].toarray().tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert hand_study.table[:].toarray().max() == 5


def test_disguise_keeps_identity_and_tree(study: Study) -> None:
    from aam_nb.diversity.unifrac import unifrac

    hide = Disguise(study.asv_ids, seed=0)
    seen = hide(study)
    assert not set(seen.asv_ids) & set(study.asv_ids)
    assert list(seen.asv_ids.str.len()) == list(study.asv_ids.str.len())
    assert seen.asv_ids.is_unique
    assert (seen.table[:] != study.table[:]).nnz == 0
    assert np.allclose(unifrac(seen, cache=False).data, unifrac(study, cache=False).data)
    assert list(hide(study.keep_samples(study.sample_ids[:3])).asv_ids) == list(seen.asv_ids)


@pytest.mark.slow
def test_ablations_differ(sides: tuple[Study, Study]) -> None:
    train, test = sides
    found = {}
    for c in contenders_of([*OURS], RECIPE, train)[0]:
        found[c.name] = timed(c, train, test, setting_for(train), 0, 1)[0]["age"].to_numpy()
    assert len({tuple(np.round(v, 6)) for v in found.values()}) == 4


# -- baselines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*BASELINES])
@pytest.mark.parametrize("target", ["age", "stage"])
def test_every_baseline_predicts(classed: Study, name: str, target: str) -> None:
    train, test = classed.split(test_size=0.25, target=target, group="host_id", seed=0)
    contender = contenders_of([name], RECIPE, classed)[0][0]
    frame, _ = timed(contender, train, test, setting_for(classed, target), 0, 1)
    assert list(frame.index) == list(test.sample_ids)
    assert frame.notna().all(axis=None)
    if target == "stage":
        assert list(frame) == ["stage", "p(old)", "p(young)"]
        assert np.allclose(frame[["p(old)", "p(young)"]].sum(axis=1), 1)
        assert (frame["stage"] == np.where(frame["p(old)"] >= frame["p(young)"], "old", "young")).all()


def test_forest_and_dummy_are_those_of_evaluate(classed: Study) -> None:
    """Without tuning, and with all ASVs, they are the baselines that `evaluate` shows."""
    train, test = classed.split(test_size=0.25, target="stage", group="host_id", seed=0)
    config = CompareConfig(tune=False, feature_prevalence=1, num_trees=20)
    setting = setting_for(classed, "stage", config=config)
    known = train.keep_asvs((train.prevalence > 0).to_numpy())
    for name in ("random_forest", "dummy"):
        contender = contenders_of([name], RECIPE, classed)[0][0]
        frame, _ = timed(contender, known, test.keep_asvs(known.asv_ids), setting, 0, 1)
        want = predict_baseline(name, setting.task, known, test.keep_asvs(known.asv_ids), num_trees=20, seed=0)
        shown = [c for c in want if c.startswith("p(")]
        assert frame[shown].to_numpy() == pytest.approx(want[shown].to_numpy(), abs=1e-12)


def test_features_are_those_of_scikit_bio() -> None:
    rng = np.random.default_rng(0)
    reads = rng.poisson(2, (12, 6)).astype(float)
    reads[:, 4] = 0
    reads[0, 4] = 3  # in one sample only
    reads[:, 0] += 1
    covariate = rng.normal(size=(12, 1))
    X = np.hstack([reads, covariate])
    found = pipelines.Features(6, "clr", 2).fit(X)
    assert list(found.kept_) == [0, 1, 2, 3, 5]
    want = clr(reads[:, [0, 1, 2, 3, 5]] + 0.5)
    assert found.transform(X)[:, :5] == pytest.approx(np.asarray(want))
    assert found.transform(X)[:, 5] == pytest.approx(covariate[:, 0])
    shares = pipelines.Features(6, "share", 2).fit(X).transform(X)
    assert shares[:, :5] == pytest.approx(reads[:, [0, 1, 2, 3, 5]] / reads.sum(1, keepdims=True))


def test_neighbours_equal_brute_force(sides: tuple[Study, Study], study: Study) -> None:
    train, test = sides
    setting = setting_for(train, config=CompareConfig(tune=False))
    contender = contenders_of(["knn_unifrac"], RECIPE, study)[0][0]
    frame, _ = timed(contender, train, test, setting, 0, 1)
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


def test_lookup_by_hand() -> None:
    ids = pd.Index(["a", "b", "c"], dtype=str)
    asked = Study(sparse.csr_array(np.ones((3, 1), dtype=int)), ids, pd.Index(["ACGT"]), pd.DataFrame(index=ids))
    numbers = Setting(target="y", classes=None, group=None, covariates=(), config=FAST)
    known, values = np.array([1.0, 3.0, 8.0]), np.array(["h1", "h1", "h2"])
    found = looked_up(known, values, np.array(["h1", "h2", "new"]), numbers, asked)
    assert list(found["y"]) == [2.0, 8.0, 4.0]  # the mean of its host; of all where the host is new
    names = Setting(target="y", classes=("p", "q"), group=None, covariates=(), config=FAST)
    found = looked_up(np.array(["p", "q", "q"], dtype=object), values, np.array(["h1", "h2", "new"]), names, asked)
    assert found["p(q)"].tolist() == pytest.approx([0.5, 1.0, 2 / 3])
    assert list(found["y"]) == ["p", "q", "q"]


def test_classes_that_training_lacks_get_nothing(classed: Study) -> None:
    setting = Setting(target="stage", classes=("ancient", "old", "young"), group=None, covariates=(), config=FAST)
    train, test = classed.split(test_size=0.25, target="stage", seed=0)
    for name in ("ridge_clr", "dummy", "svm", "group_lookup", "knn_unifrac"):
        frame, _ = timed(contenders_of([name], RECIPE, classed)[0][0], train, test, setting, 0, 1)
        assert (frame["p(ancient)"] == 0).all()
        assert set(frame["stage"]) <= {"old", "young"}


@pytest.mark.parametrize("name", ["ridge_clr", "random_forest", "group_lookup", "knn_unifrac"])
def test_fitting_never_sees_the_test_side(sides: tuple[Study, Study], name: str) -> None:
    """The test side's reads, labels and number of samples may be what they like: settings and predictions of a sample stay."""
    train, test = sides
    contender = contenders_of([name], RECIPE, train)[0][0]
    setting = setting_for(train)
    frame, facts = timed(contender, train, test, setting, 0, 1)
    wild = replace(test, metadata=test.metadata.assign(age=1e6))
    first = wild.keep_samples(wild.sample_ids[:1])
    again, other = timed(contender, train, first, setting, 0, 1)
    assert again["age"].iloc[0] == pytest.approx(frame["age"].iloc[0], rel=1e-12)
    for key in ("settings", "column"):
        assert facts.get(key) == other.get(key)


def test_inner_folds_keep_groups_whole() -> None:
    rng = np.random.default_rng(0)
    group, y = np.repeat(np.arange(9), 4), rng.normal(size=36)
    splits = pipelines.inner_splits(y, group, classes=False, folds=3, seed=1)
    assert len(splits) == 3
    assert sorted(np.concatenate([b for _, b in splits])) == list(range(36))
    for a, b in splits:
        assert not set(group[a]) & set(group[b])
        assert not set(a) & set(b)
    names = np.array([*"aaaaaab"], dtype=object)
    assert len(pipelines.inner_splits(names, None, classes=True, folds=3, seed=0)) >= 2
    assert pipelines.inner_splits(y, np.zeros(36), classes=False, folds=3, seed=0) == []


def test_tuning_chooses_what_scores_best_by_a_plain_loop() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(40, 30)), rng.normal(size=40)
    splits = pipelines.inner_splits(y, None, classes=False, folds=4, seed=0)
    grid = {"alpha": [0.1, 10.0, 1000.0]}
    fitted, facts = pipelines.tuned(Ridge(), grid, X, y, splits, classes=False)
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
    _, facts = pipelines.tuned(ElasticNet(alpha=1e-4, max_iter=2), {}, X, rng.normal(size=30), [], classes=False)
    assert not facts["converged"]
    _, facts = pipelines.tuned(ElasticNet(alpha=0.5), {}, X, rng.normal(size=30), [], classes=False)
    assert facts["converged"]


def test_covariates_as_numbers(study: Study) -> None:
    half = study.num_samples // 2
    metadata = study.metadata.assign(
        ph=np.where(np.arange(study.num_samples) % 5 == 0, np.nan, np.arange(study.num_samples, dtype=float)),
        site=["x", "y"] * half,
    )
    train = replace(study, metadata=metadata).keep_samples(study.sample_ids[:half])
    test = replace(study, metadata=metadata.assign(site="z")).keep_samples(study.sample_ids[half:])
    columns = CovariateColumns(train, ["ph", "site"])
    found = columns(train)
    known = metadata["ph"][:half]
    assert found[:, 0] == pytest.approx(known.fillna(known.mean()).to_numpy())
    assert found[:, 1:].tolist() == [[1, 0], [0, 1]] * (half // 2)
    assert columns(test)[:, 1:].sum() == 0  # a category that training lacks


def test_features_hardly_mind_depth(study: Study) -> None:
    """Ten times the reads of every ASV are nearly the same log-ratios, and exactly the same shares."""
    X = np.maximum(study.table[:].toarray(), 1).astype(float) * 1000
    model = pipelines.Features(study.num_asvs, "clr", 1).fit(X)
    assert model.transform(X) == pytest.approx(model.transform(10 * X), abs=1e-2)
    share = pipelines.Features(study.num_asvs, "share", 1).fit(X)
    assert share.transform(X) == pytest.approx(share.transform(10 * X))


def test_a_value_that_is_missing_is_not_looked_up(study: Study) -> None:
    holes = study.metadata["host_id"].astype(object).mask(np.arange(study.num_samples) % 3 == 0)
    holed = replace(study, metadata=study.metadata[["age"]].assign(host_id=holes))
    train, test = holed.keep_samples(study.sample_ids[:40]), holed.keep_samples(study.sample_ids[40:])
    setting = Setting(target="age", classes=None, group=None, covariates=(), config=FAST)
    contender = contenders_of(["group_lookup"], RECIPE, holed)[0][0]
    found, facts = timed(contender, train, test, setting, 0, 1)
    assert facts["column"] == "host_id"
    ages = train.metadata["age"]
    for sample, host in test.metadata["host_id"].items():
        same = ages[train.metadata["host_id"] == host]
        assert found.loc[sample, "age"] == pytest.approx(same.mean() if len(same) else ages.mean())
