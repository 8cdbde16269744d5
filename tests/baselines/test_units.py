"""No score depends on the unit of the target, or of a covariate: nanomoles, moles and 1e21 molecules give the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

import aam_nb as aam
from aam_nb.baselines.fit import fit_baseline
from aam_nb.baselines.scaling import rank_key, standardise
from aam_nb.baselines.settings import SharedSettings
from aam_nb.config import CompareConfig
from aam_nb.evaluate.leaks import find_leaks
from aam_nb.evaluate.metrics import bootstrap, score
from aam_nb.study.study import Study

UNITS = (1.0, 1e-12, 1e-9, 1e12)
NAMES = ("random_forest", "gradient_boosting", "ridge_clr", "elastic_net", "svm", "depth_only", "group_lookup", "dummy")
CONFIG = CompareConfig(num_trees=20, num_resamples=40, inner_folds=2)


@pytest.fixture(scope="module")
def study() -> Study:
    study = aam.simulate_study(n_samples=60, n_asvs=60, seed=2)
    rng = np.random.default_rng(0)
    return replace(study, metadata=study.metadata.assign(dose=rng.normal(size=60).round(3)))


def in_unit(study: Study, column: str, unit: float, shift: float = 0.0) -> Study:
    return replace(study, metadata=study.metadata.assign(**{column: study.metadata[column] * unit + shift}))


def scores_of(name: str, study: Study, unit: float) -> list[float]:
    train, test = study.split(target="age", group="host_id", seed=0)
    settings = SharedSettings(target="age", classes=None, group="host_id", covariates=("dose",), config=CONFIG)
    predict, _ = fit_baseline(name, train, settings, seed=0, threads=1)
    truth, prediction = test.metadata["age"].to_numpy(float), predict(test)
    ends = bootstrap(truth, prediction, settings.task, np.arange(len(truth)), CONFIG)
    values = score(truth, prediction, settings.task)
    per_unit = {"mae": unit}
    return [v / per_unit.get(m, 1.0) for m, own in values.items() for v in (own, *ends[m])]


@pytest.mark.parametrize("name", NAMES)
def test_scores_and_intervals_of_baselines_in_any_unit(study: Study, name: str) -> None:
    own = scores_of(name, study, 1.0)
    assert not np.isnan(own[0])
    for unit in UNITS[1:]:
        np.testing.assert_allclose(scores_of(name, in_unit(study, "age", unit), unit), own, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(scores_of(name, in_unit(study, "dose", unit), 1.0), own, rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*nearly a function")
def test_a_leak_is_found_in_any_unit() -> None:
    study = aam.simulate_study(n_samples=60, n_asvs=60, seed=1)
    host = np.repeat(np.arange(12), 5)
    level = np.random.default_rng(0).normal(size=12)[host]
    table = study.table.copy().tolil()
    table[np.arange(60), host] = 5000  # an ASV that names the host
    metadata = study.metadata.assign(host_id=[f"H{h}" for h in host], level=level.round(2))
    study = replace(study, table=sparse.csr_array(table), metadata=metadata[["host_id", "level"]])
    found = []
    for unit in UNITS:
        train, test = in_unit(study, "level", unit).split(target="level", seed=0)
        found.append(find_leaks(train, test, aam.Regression("level")))
    assert [leak.column for leak in found[0]] == ["host_id"]
    for leaks in found[1:]:
        assert [leak.sentence() for leak in leaks] == [leak.sentence() for leak in found[0]]
        assert leaks[0].forest_mixed == pytest.approx(found[0][0].forest_mixed, rel=1e-6)


def test_standardised_numbers_have_the_same_bits_in_any_unit() -> None:
    values = np.array([41.04, 42.46, 7.1, 0.35])
    for unit in UNITS[1:]:
        assert (standardise(values * unit) == standardise(values)).all()
        assert (
            rank_key(values * unit) == rank_key(np.array([float(f"{v}e{np.log10(unit):.0f}") for v in values]))
        ).all()
    assert (standardise(values + 1e6) == standardise(values)).all()
    assert (standardise(np.full(3, 0.1)) == 0).all()
