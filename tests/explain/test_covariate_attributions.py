"""Attributions of covariates, against predictions of samples whose values are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.explain.attribution.attribute import attribute
from aam_nb.explain.attribution.probe import ExplainError
from aam_nb.study.study import Study

NAMES = ("plate", "dose")


@pytest.fixture(scope="module")
def known(study: Study) -> Study:
    """Samples with a category and a number, each missing in one."""
    rng = np.random.default_rng(5)
    plate = pd.Series(rng.choice(["a", "b", "c"], size=study.num_samples), index=study.sample_ids, dtype=object)
    dose = pd.Series(rng.normal(10, 3, size=study.num_samples), index=study.sample_ids)
    y = plate.map({"a": 0.0, "b": 6.0, "c": 12.0}) + dose
    plate.iloc[1], dose.iloc[2] = None, np.nan
    return replace(study, metadata=pd.DataFrame({"plate": plate, "dose": dose, "y": y}))


@pytest.fixture(scope="module", params=["tokens", "concat", "gmu"])
def model(known: Study, request: pytest.FixtureRequest) -> aam.AAM:
    config = replace(QUICK, epochs=6, learning_rate=0.01)
    return aam.AAM(replace(TINY, fusion=request.param)).fit(known, target="y", covariates=NAMES, config=config)


@pytest.fixture(scope="module")
def few(known: Study) -> Study:
    return known.keep_samples(known.sample_ids[:6])


def without(model: aam.AAM, study: Study, *names: str) -> pd.Series:
    """Predictions where some covariates are missing."""
    lost = {name: pd.Series([None] * study.num_samples, index=study.sample_ids, dtype=object) for name in names}
    return model.predict(replace(study, metadata=study.metadata.assign(**lost)))["y"]


def test_they_sum_to_what_the_values_add(model: aam.AAM, few: Study) -> None:
    found = attribute(model, few, level="covariate")
    np.testing.assert_allclose(found.check["prediction"], model.predict(few)["y"], rtol=1e-5)
    np.testing.assert_allclose(found.check["reference"], without(model, few, *NAMES), rtol=1e-5)
    change = found.check["prediction"] - found.check["reference"]
    np.testing.assert_allclose(found.values.toarray().sum(1), change, atol=0.01 * abs(change).median())
    assert found.largest_gap <= 0.01
    assert found.features["kind"].to_dict() == {"plate": "categorical", "dose": "numeric"}
    assert "plate" not in found.of_sample(few.sample_ids[1]).index  # missing: there is nothing to explain
    assert "dose" not in found.of_sample(few.sample_ids[2]).index


def test_occlusion_is_a_missing_value(model: aam.AAM, few: Study) -> None:
    found = attribute(model, few, level="covariate", method="occlusion").values.toarray()
    for c, name in enumerate(NAMES):
        np.testing.assert_allclose(found[:, c], model.predict(few)["y"] - without(model, few, name), atol=1e-4)


def test_shapley_values_are_the_mean_of_both_orders(model: aam.AAM, few: Study) -> None:
    found = attribute(model, few, level="covariate", method="shapley").values.toarray()
    both, none = model.predict(few)["y"], without(model, few, *NAMES)
    alone = {"plate": without(model, few, "dose"), "dose": without(model, few, "plate")}
    for c, (name, other) in enumerate((NAMES, NAMES[::-1])):
        want = ((alone[name] - none) + (both - alone[other])) / 2
        np.testing.assert_allclose(found[:, c], want, atol=1e-4)


def test_gradients_are_finite_differences_of_a_value_that_fades(few: Study, known: Study) -> None:
    """Where covariates are joined by a matrix before a linear head, the gradient is the change itself."""
    shape = replace(TINY, fusion="concat")
    model = aam.AAM(shape).fit(known, target="y", covariates=NAMES, config=QUICK)
    found = attribute(model, few, level="covariate", method="gradient_x_input").values.toarray()
    for c, name in enumerate(NAMES):
        np.testing.assert_allclose(found[:, c], model.predict(few)["y"] - without(model, few, name), atol=1e-4)


def test_a_model_without_them_is_refused(fitted: aam.AAM, sides: tuple[Study, Study]) -> None:
    with pytest.raises(ExplainError, match=r"the model was fitted without covariates\..*covariates=\['season'\]"):
        attribute(fitted, sides[1], level="covariate")
