"""Scores and intervals, against plain loops and closed forms; baselines against scikit-learn trained here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from conftest import QUICK, TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

import aam_nb as aam
from aam_nb.baselines.fit import BaselineError
from aam_nb.evaluate.metrics import bootstrap, score
from aam_nb.evaluate.resampling import draw_resamples
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.estimator import NotFittedError

FAST = aam.EvaluateConfig(num_resamples=40, num_trees=20, seed=3)
UNTUNED = replace(FAST, tune=False)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(3, 40))
def test_scores_of_numbers(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    truth, guess = np.round(rng.normal(40, 10, n), 0), np.round(rng.normal(40, 10, n), 0)
    if np.ptp(truth) == 0 or np.ptp(guess) == 0:
        return
    found = score(truth, pd.DataFrame({"age": guess}), aam.Regression("age"))
    a, b = rankdata(truth) - (n + 1) / 2, rankdata(guess) - (n + 1) / 2
    assert found["r2"] == pytest.approx(1 - sum((truth - guess) ** 2) / sum((truth - truth.mean()) ** 2))
    assert found["mae"] == pytest.approx(sum(abs(truth - guess)) / n)
    assert found["spearman"] == pytest.approx((a @ b) / np.sqrt((a @ a) * (b @ b)))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(4, 40))
def test_scores_of_classes(seed: int, n: int) -> None:
    rng, classes = np.random.default_rng(seed), ["a", "b", "c"]
    truth = np.array([*"ab", *rng.choice(classes, n)], dtype=object)
    chance = np.round(rng.dirichlet(np.ones(3), n + 2), 1)
    guess = np.array(classes, dtype=object)[chance.argmax(1)]
    frame = pd.DataFrame(chance, columns=[f"p({c})" for c in classes])
    frame.insert(0, "site", guess)
    recalls, f1, areas = [], [], []
    for k, c in enumerate(classes):
        hits, own, named = sum((guess == c) & (truth == c)), sum(truth == c), sum(guess == c)
        if own:
            recalls.append(hits / own)
            f1.append(2 * hits / (own + named))
            pairs = [(x > y) + 0.5 * (x == y) for x in chance[truth == c, k] for y in chance[truth != c, k]]
            areas.append(np.mean(pairs))
    found = score(truth, frame, aam.Classification("site", classes=classes))
    want = {"balanced_accuracy": np.mean(recalls), "macro_f1": np.mean(f1), "auroc": np.mean(areas)}
    assert found == pytest.approx(want)


def test_what_is_not_defined_is_nan() -> None:
    flat = score(np.array([4.0, 4.0]), pd.DataFrame({"age": [3.0, 5.0]}), aam.Regression("age"))
    assert np.isnan(flat["r2"])
    assert np.isnan(flat["spearman"])
    assert flat["mae"] == 1
    frame = pd.DataFrame({"x": ["a", "a"], "p(a)": [0.9, 0.8], "p(b)": [0.1, 0.2]})
    one = score(np.array(["a", "a"], dtype=object), frame, aam.Classification("x", classes=["a", "b"]))
    assert np.isnan(one["auroc"])
    assert one["balanced_accuracy"] == 1


def test_bootstrap_draws_whole_groups() -> None:
    unit = np.array([0, 1, 1, 2, 2, 2, 3])
    times = np.concatenate([*draw_resamples(unit, 200, 0)])
    assert times.shape == (200, 7)
    for u in range(4):
        assert (times[:, unit == u] == times[:, unit == u][:, :1]).all(), "samples of a group come together"
    groups = np.stack([times[:, np.flatnonzero(unit == u)[0]] for u in range(4)], axis=1)
    assert (groups.sum(1) == 4).all(), "as many groups as there are"
    assert (groups.mean(0) > 0.8).all()
    assert (groups.mean(0) < 1.2).all()


def test_draws_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = np.array([0, 1, 1, 2, 2])
    at_once = np.concatenate([*draw_resamples(unit, 7, 3)])
    monkeypatch.setattr("aam_nb.evaluate.resampling.CELLS", 10)
    in_parts = [*draw_resamples(unit, 7, 3)]
    assert len(in_parts) == 4
    assert (np.concatenate(in_parts) == at_once).all()


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_intervals_are_those_of_a_plain_loop(kind: str) -> None:
    """One resample after the other, each scored by scikit-learn; two samples are of a class that the model was not taught."""
    rng, n = np.random.default_rng(4), 30
    unit = np.sort(rng.integers(0, 7, n))
    unit = np.unique(unit, return_inverse=True)[1]
    config = aam.EvaluateConfig(num_resamples=40, confidence=0.8, seed=2)
    if kind == "numbers":
        truth: npt.NDArray = rng.normal(size=n).round(1)
        frame = pd.DataFrame({"y": (truth + rng.normal(size=n)).round(1)})
        task: aam.Regression | aam.Classification = aam.Regression("y")
    else:
        truth = rng.choice(["a", "b", "c"], n).astype(object)
        truth[:2] = "new"
        p = rng.dirichlet(np.ones(3), n).round(2)
        frame = pd.DataFrame(p, columns=["p(a)", "p(b)", "p(c)"]).assign(y=np.array(["a", "b", "c"])[p.argmax(1)])
        task = aam.Classification("y", classes=["a", "b", "c"])
    draws, found = np.random.default_rng(2), []
    for _ in range(40):
        rows = np.concatenate([np.flatnonzero(unit == u) for u in draws.integers(unit.max() + 1, size=unit.max() + 1)])
        found.append(score(truth[rows], frame.iloc[rows], task))
    for metric, (low, high) in bootstrap(truth, frame, task, unit, config).items():
        values = [f[metric] for f in found]
        assert (low, high) == pytest.approx((np.nanquantile(values, 0.1), np.nanquantile(values, 0.9)))


def mean_interval(x: npt.NDArray, unit: npt.NDArray, config: aam.EvaluateConfig) -> tuple[float, float]:
    """The mean absolute error of predicting 0 is the mean of positive numbers."""
    return bootstrap(x, pd.DataFrame({"x": np.zeros(len(x))}), aam.Regression("x"), unit, config)["mae"]


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.96), (0.8, 1.2816)])
def test_interval_of_a_mean_is_the_closed_form(confidence: float, z: float) -> None:
    x = np.random.default_rng(0).normal(50, 2, size=400)
    config = aam.EvaluateConfig(num_resamples=3000, confidence=confidence)
    low, high = mean_interval(x, np.arange(400), config)
    half = z * x.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.1 * half)


def test_interval_is_wider_where_groups_repeat_themselves() -> None:
    """Forty groups of ten equal values: the standard error is that of forty values, not of 400."""
    x, unit = np.repeat(np.random.default_rng(0).normal(50, 1, size=40), 10), np.repeat(np.arange(40), 10)
    ends = [mean_interval(x, u, aam.EvaluateConfig(num_resamples=1000)) for u in (unit, np.arange(400))]
    wide, narrow = (high - low for low, high in ends)
    assert wide / narrow == pytest.approx(np.sqrt(10), rel=0.15)


def test_interval_is_nan_where_the_metric_is_mostly_not_defined() -> None:
    flat = pd.DataFrame({"x": np.full(5, 2.0)})
    found = bootstrap(np.ones(5), flat, aam.Regression("x"), np.arange(5), FAST)
    assert np.isnan(found["r2"]).all()
    assert np.isnan(found["spearman"]).all()
    assert found["mae"] == (1.0, 1.0)


def test_one_test_sample_is_judged_without_a_warning(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    one = sides[1].keep_samples(sides[1].sample_ids[:1])
    found = fitted.evaluate(one, train=sides[0], config=FAST)
    assert np.isnan(found.value("r2"))
    assert any("rest on 1 value of host_id" in w for w in found.warnings())


def test_a_target_that_is_a_lab_is_told(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    """Two labs, one of young hosts and one of old: no column of three values, none to hold out, and all the same a trap."""
    train, test = (
        replace(
            s,
            metadata=s.metadata.assign(
                lab=np.where(s.metadata["age"] > 40, "B", "A"), age=(s.metadata["age"] > 40) * 30.0
            ),
        )
        for s in sides
    )
    found = fitted.evaluate(test, train=train, config=FAST)
    assert any(w.startswith("'age' cannot be distinguished from lab") for w in found.warnings())


def shares(study: Study, asv_ids: pd.Index) -> npt.NDArray[np.float32]:
    frame = pd.DataFrame(study.table.toarray(), columns=study.asv_ids)
    return frame.div(frame.sum(axis=1), axis=0).reindex(columns=asv_ids, fill_value=0.0).to_numpy(dtype=np.float32)


def common(study: Study) -> pd.Index:
    """ASVs of two samples or more."""
    return study.asv_ids[(study.table.toarray() > 0).sum(0) >= 2]


def test_baselines_of_numbers_are_scikit_learns(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    train, test = sides
    found = aam.Evaluation.of(fitted, test, train=train, config=UNTUNED, find_leaks=False)
    age = train.metadata["age"].to_numpy()
    forest = RandomForestRegressor(n_estimators=20, max_features=1 / 3, random_state=3)
    forest.fit(shares(train, common(train)), np.round((age - age.mean()) / age.std(), 7))  # the same bits in any unit
    want = forest.predict(shares(test, common(train))) * age.std() + age.mean()
    np.testing.assert_allclose(found.predictions["random_forest"], want)
    np.testing.assert_allclose(found.predictions["dummy"], train.metadata["age"].mean())
    pd.testing.assert_series_equal(found.predictions["prediction"], fitted.predict(test)["age"], check_names=False)
    assert found.predictions["truth"].tolist() == test.metadata["age"].tolist()
    errors = abs(test.metadata["age"] - want)
    assert found.value("mae", "random_forest") == pytest.approx(errors.mean())
    assert found.models == ["aam", "random_forest", "dummy"]
    assert (found.num_train, found.group, found.num_groups) == (
        train.num_samples,
        "host_id",
        test.metadata["host_id"].nunique(),
    )


def test_baselines_of_classes_are_scikit_learns(sides: tuple[Study, Study]) -> None:
    train, test = sides
    model = aam.AAM(TINY).fit(train, target="season", config=replace(QUICK, epochs=1))
    found = model.evaluate(test, config=UNTUNED, find_leaks=False)
    forest = RandomForestClassifier(n_estimators=20, random_state=3).fit(
        shares(train, common(train)), train.metadata["season"]
    )
    assert found.predictions["random_forest"].tolist() == forest.predict(shares(test, common(train))).tolist()
    assert set(found.predictions["dummy"]) == {train.metadata["season"].mode()[0]}
    assert found.value("auroc", "dummy") == pytest.approx(0.5)


def test_samples_already_seen_are_told(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    train, test = sides
    clean = fitted.evaluate(test, train=train, config=FAST, find_leaks=False)
    assert not any("trained on" in note for note in clean.notes)
    seen = aam.Evaluation.of(fitted, train, train=train, config=FAST, find_leaks=False)
    n = len(fitted.samples["train"])
    assert f"{n} of {train.num_samples} test samples were trained on" in " ".join(seen.notes)
    assert f"{train.num_samples} of {train.num_samples} test samples were pre-trained on" in " ".join(seen.warnings())
    assert f"{n} of {train.num_samples} test samples were trained on" in repr(seen)


def test_a_loaded_model_without_its_training_study_has_no_baselines(
    sides: tuple[Study, Study], fitted: aam.AAM, tmp_path: Path
) -> None:
    loaded = aam.load(fitted.save(tmp_path / "run"))
    found = loaded.evaluate(sides[1], config=FAST)
    assert found.models == ["aam"]
    assert any("There are no baselines" in note and "train=train" in note for note in found.notes)
    assert found.num_train == 0
    assert loaded.evaluate(sides[1], train=sides[0], config=FAST, find_leaks=False).models == [
        "aam",
        "random_forest",
        "dummy",
    ]


def test_samples_without_truth_are_left_out_and_counted(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    train, test = sides
    gaps = replace(test, metadata=test.metadata.assign(age=test.metadata["age"].where(np.arange(test.num_samples) > 1)))
    found = fitted.evaluate(gaps, train=train, config=FAST, find_leaks=False)
    assert found.predictions.index.tolist() == test.sample_ids[2:].tolist()
    assert any(note.startswith("Without a value of the target, and left out: 2 test samples") for note in found.notes)


@pytest.mark.parametrize("missing", [3, 12])
def test_test_samples_without_a_group_count_for_themselves(
    sides: tuple[Study, Study], fitted: aam.AAM, missing: int
) -> None:
    """Another study's metadata may lack the hosts by which the model's training was split."""
    train, test = sides
    hosts = test.metadata["host_id"].astype(object).where(np.arange(test.num_samples) >= missing)
    other = replace(test, metadata=test.metadata.assign(host_id=hosts), split_info=None)
    found = fitted.evaluate(other, train=train, config=FAST, find_leaks=False)
    assert found.num_groups == hosts.nunique() + missing


def test_few_groups_are_told(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    found = fitted.evaluate(sides[1], train=sides[0], config=FAST, find_leaks=False)
    assert any("rest on 3 values of host_id: too few" in note for note in found.notes)


def test_json_and_back(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    found = fitted.evaluate(sides[1], train=sides[0], config=FAST)
    back = aam.Evaluation.from_dict(json.loads(json.dumps(found.to_dict())), found.predictions)
    pd.testing.assert_frame_equal(back.metrics, found.metrics)
    assert (back.leaks, back.notes, back.config) == (found.leaks, found.notes, found.config)
    assert repr(back) == repr(found)
    pd.testing.assert_frame_equal(back.to_frame(), found.to_frame())


def test_value_lies_in_its_interval_and_in_the_frame(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    found = fitted.evaluate(sides[1], train=sides[0], config=FAST, find_leaks=False)
    rows = found.metrics[found.metrics["metric"] == "mae"]
    assert ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])).all()
    assert found.to_frame().loc["dummy", "mae"].startswith(f"{found.value('mae', 'dummy'):.3f} [")
    with pytest.raises(KeyError, match="There is no 'auroc' of 'aam'"):
        found.value("auroc")


def test_what_cannot_be_judged_is_refused(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    _, test = sides
    with pytest.raises(UnknownIdError, match="'age' is not a metadata column"):
        fitted.evaluate(replace(test, metadata=test.metadata.drop(columns="age")))
    with pytest.raises(TargetError, match=r"'age' is missing in all 12 samples.*model\.predict\(study\)"):
        fitted.evaluate(replace(test, metadata=test.metadata.assign(age=np.nan)))
    with pytest.raises(NotFittedError):
        aam.Evaluation.of(aam.AAM(TINY), test)
    with pytest.raises(BaselineError, match="'ridge' is not a baseline"):
        fitted.evaluate(test, train=sides[0], baselines=["ridge"], find_leaks=False)


def test_an_evaluation_saved_before_baselines_were_tuned_says_so(sides: tuple[Study, Study], fitted: aam.AAM) -> None:
    """Its forest saw all ASVs and was not tuned, whatever the defaults are now."""
    saved = aam.Evaluation.of(fitted, sides[1], train=sides[0], config=FAST, find_leaks=False)
    values = json.loads(json.dumps(saved.to_dict()))
    for name in ("tune", "inner_folds", "feature_prevalence"):
        del values["config"][name]
    again = aam.Evaluation.from_dict(values, saved.predictions.astype(str))
    assert not again.config.tune
    assert again.config.feature_prevalence == 1
    assert again.config.num_trees == FAST.num_trees


@pytest.mark.parametrize("config", [{"tune": False}, aam.CompareConfig()])
def test_settings_of_another_kind_are_refused(sides: tuple[Study, Study], fitted: aam.AAM, config: object) -> None:
    with pytest.raises(aam.ConfigError, match=r"Expected one of EvaluateConfig"):
        aam.Evaluation.of(fitted, sides[1], train=sides[0], config=config)  # type: ignore[arg-type]
