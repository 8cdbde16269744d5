"""Baselines of large studies see a part, drawn by ids and told; those of others see all, as before."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

import aam_nb as aam
from aam_nb.baselines.bounds import bound_asvs, bound_samples, draw_samples, tell_bounds
from aam_nb.baselines.fit import BASELINES, fit_baseline
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config.stored import StoredFile
from aam_nb.evaluate import leaks
from aam_nb.evaluate.stored_evaluation import read_evaluation
from aam_nb.study.study import Study

QUICK = {"tune": False, "num_trees": 5, "inner_folds": 2, "num_resamples": 20}


def settings_for(**bounds: int) -> SharedSettings:
    config = aam.CompareConfig(**QUICK, **bounds)
    return SharedSettings(target="age", classes=None, group="host_id", covariates=(), config=config)


def test_samples_are_drawn_by_their_ids(study: Study) -> None:
    settings = settings_for(baseline_samples=20)
    drawn = bound_samples(study, settings, 3)
    assert drawn.num_samples == 20
    turned = study.keep_samples(study.sample_ids[::-1])
    assert set(bound_samples(turned, settings, 3).sample_ids) == set(drawn.sample_ids)
    assert set(bound_samples(study, settings, 4).sample_ids) != set(drawn.sample_ids)
    assert bound_samples(study, settings_for(), 3) is study


def test_each_class_keeps_its_share_and_one_sample() -> None:
    ids = pd.Index([f"s{k}" for k in range(1000)])
    truth = np.array(["a"] * 700 + ["b"] * 298 + ["c", "d"], dtype=object)
    kept = truth[draw_samples(ids, truth, 100, 0)]
    counts = pd.Series(kept).value_counts()
    assert counts.sum() == 100
    assert counts["c"] == counts["d"] == 1
    assert abs(counts["a"] - 70) <= 1


def test_the_commonest_asvs_fit_into_the_cells() -> None:
    assert bound_asvs(np.array([5, 1, 9, 9, 3]), 10, 39).tolist() == [0, 2, 3]
    assert bound_asvs(np.array([5, 1, 9]), 10, 30).tolist() == [0, 1, 2]
    assert bound_asvs(np.array([5, 1, 9]), 10, 3).tolist() == [2]


def test_a_bounded_forest_is_that_of_the_part(sides: tuple[Study, Study]) -> None:
    """The forest of scikit-learn on the drawn samples and the commonest ASVs, made here by hand."""
    train, test = sides
    settings = settings_for(baseline_samples=24, baseline_cells=1000)
    predict, facts = fit_baseline("random_forest", train, settings, seed=0, threads=1)
    assert (facts["samples"], facts["asvs"]) == (24, 41)
    part = bound_samples(train, settings, 0)
    reads = pd.DataFrame(part.table[:].toarray(), columns=part.asv_ids, index=part.sample_ids)
    common = (reads > 0).sum().sort_values(ascending=False, kind="stable").index[:41]
    common = part.asv_ids[part.asv_ids.isin(common)]
    tested = pd.DataFrame(test.table[:].toarray(), columns=test.asv_ids)
    x, z = (t.div(t.sum(axis=1), axis=0)[common].to_numpy(dtype=np.float32) for t in (reads, tested))
    age = part.metadata["age"].to_numpy(float)
    forest = RandomForestRegressor(n_estimators=5, max_features=1 / 3, random_state=0)
    forest.fit(x, np.round((age - age.mean()) / age.std(), 7))
    np.testing.assert_allclose(predict(test)["age"], forest.predict(z) * age.std() + age.mean())


@pytest.mark.parametrize("name", ["random_forest", "ridge_clr"])
def test_many_samples_are_predicted_in_parts(sides: tuple[Study, Study], name: str) -> None:
    train, test = sides
    predict, _ = fit_baseline(name, train, settings_for(baseline_samples=20, baseline_cells=1000), seed=0, threads=1)
    one_by_one = [predict(test.keep_samples([s])) for s in test.sample_ids]
    many = test.keep_samples([*test.sample_ids])
    pd.testing.assert_frame_equal(predict(many), pd.concat(one_by_one), rtol=1e-9)


@pytest.mark.parametrize("name", [*BASELINES])
def test_every_baseline_says_of_how_many_samples(sides: tuple[Study, Study], name: str) -> None:
    train, test = sides
    predict, facts = fit_baseline(name, train, settings_for(baseline_samples=24), seed=0, threads=1)
    simple = name in ("dummy", "group_lookup", "depth_only")
    assert facts.get("samples", train.num_samples) == (train.num_samples if simple else 24)
    assert "asvs" not in facts
    assert predict(test)["age"].notna().all()


def test_an_evaluation_says_what_its_baselines_saw(
    sides: tuple[Study, Study], fitted: aam.AAM, tmp_path: object
) -> None:
    train, test = sides
    found = fitted.evaluate(test, train=train, find_leaks=False, **QUICK, baseline_samples=24, baseline_cells=1000)
    all_of_it = {"samples": train.num_samples, "asvs": train.num_asvs}
    assert found.baseline_fits == {"random_forest": {"samples": 24, "asvs": 41}, "dummy": all_of_it}
    (note,) = [n for n in found.notes if "learned from" in n]
    assert f"random_forest learned from 24 of the {train.num_samples} training samples" in note
    assert f"commonest 41 of {train.num_asvs} ASVs" in note
    assert "`baseline_samples=" in note
    assert json.loads(json.dumps(found.to_dict()))["baseline_fits"]["random_forest"] == {"samples": 24, "asvs": 41}
    again = aam.load(fitted.save(f"{tmp_path}/run")).evaluation
    assert again is not None
    assert again.baseline_fits == found.baseline_fits
    plain = fitted.evaluate(test, train=train, find_leaks=False, **QUICK)
    assert not [n for n in plain.notes if "learned from" in n]


def test_evaluations_from_before_the_bounds_are_read(
    sides: tuple[Study, Study], fitted: aam.AAM, tmp_path: object
) -> None:
    fitted.evaluate(sides[1], train=sides[0], find_leaks=False, **QUICK)
    folder = fitted.save(f"{tmp_path}/run")
    path = folder / "evaluation.json"
    values = json.loads(path.read_text())
    del values["baseline_fits"], values["config"]["baseline_samples"], values["config"]["baseline_cells"]
    path.write_text(json.dumps(values))
    files = (StoredFile(path=path), StoredFile(path=folder / "predictions.csv"))
    assert read_evaluation(*files, fitted.task).config.baseline_samples > 10**6


def test_notes_name_what_is_bounded_once() -> None:
    facts = {"ridge_clr": {"samples": 30}, "svm": {"samples": 30}, "dummy": {}, "knn_unifrac": {"samples": 100}}
    (note,) = tell_bounds(facts, 100, 50)
    assert "ridge_clr, svm learned from 30 of the 100 training samples;" in note
    assert tell_bounds({"dummy": {}, "random_forest": {"samples": 100}}, 100, 50) == []


# -- leaks ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosts() -> Study:
    """Forty hosts of eight samples whose age is nearly the host's."""
    config = aam.SimulateConfig(length=30, host_share=0.97, samples_per_host=8, min_depth=500, max_depth=1000)
    return aam.simulate_study(320, 100, seed=2, config=config)


@pytest.mark.filterwarnings("ignore::aam_nb.study.confounding.SplitWarning")
def test_leaks_of_a_large_study_are_found_in_a_part(hosts: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whole hosts, so that the leak stays; the same ones in any order of the samples."""
    monkeypatch.setattr(leaks, "MOST_SAMPLES", 160)
    monkeypatch.setattr(leaks, "MOST_CELLS", 160 * 60)
    train, test = hosts.split(target="age", seed=0)
    task = aam.Regression("age")
    found = leaks.find_leaks(train, test, task)
    assert [leak.column for leak in found] == ["host_id"]
    group = pd.factorize(hosts.metadata["host_id"])[0]
    rows = leaks._draw_groups(group, hosts.sample_ids, 0)
    assert len(rows) == 160
    assert pd.Series(group[rows]).value_counts().unique().tolist() == [8]  # whole hosts
    turned = np.arange(hosts.num_samples)[::-1]
    other = leaks._draw_groups(group[turned], hosts.sample_ids[turned], 0)
    assert set(hosts.sample_ids[turned][other]) == set(hosts.sample_ids[rows])
    (note,) = leaks.tell_bounds(320, 100)
    assert "160 of 320 samples and the commonest 60 of 100 ASVs" in note
    folds = [test_mask.test for test_mask in hosts.fold_masks(3, seed=0)]
    assert [leak.column for leak in leaks.find_leaks_in_folds(hosts, folds, task)] == ["host_id"]


def test_of_few_large_groups_a_part_of_each_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "MOST_SAMPLES", 300)
    group = np.repeat([0, 1, 2], [1000, 500, 40])
    rows = leaks._draw_groups(group, pd.Index([f"s{k}" for k in range(len(group))]), 0)
    assert np.bincount(group[rows]).tolist() == [100, 100, 40]
