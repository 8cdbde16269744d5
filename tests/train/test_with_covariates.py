"""Covariates: what they say is used, in every way of joining them, and explained and kept along with the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.config import UserError
from aam_nb.study.study import Study
from aam_nb.train.study_check import StudyWarning


@pytest.fixture(scope="module")
def known(study: Study) -> Study:
    """Samples whose `y` is told by `plate` (a category) and `dose` (a number), and by no microbe."""
    rng = np.random.default_rng(5)
    plate = rng.choice(["a", "b", "c"], size=study.num_samples)
    dose = rng.normal(10, 3, size=study.num_samples)
    y = np.select([plate == "a", plate == "b"], [0.0, 6.0], 12.0) + dose
    return replace(study, metadata=pd.DataFrame({"plate": plate, "dose": dose, "y": y}, index=study.sample_ids))


@pytest.fixture(scope="module", params=["tokens", "concat", "gmu"])
def fusion(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def model(known: Study, fusion: str) -> aam.AAM:
    config = replace(QUICK, epochs=60, patience=60, learning_rate=0.01, asv_dropout=0.0)
    shape = replace(TINY, fusion=fusion)  # type: ignore[arg-type]
    return aam.AAM(shape).fit(known, target="y", covariates=["plate", "dose"], config=config)


def error(model: aam.AAM, study: Study) -> float:
    return float(((model.predict(study)["y"] - study.metadata["y"]) ** 2).mean())


def test_what_covariates_tell_is_learned(model: aam.AAM, known: Study) -> None:
    seen = known.keep_samples(model.samples["train"])
    assert error(model, seen) < 0.3 * seen.metadata["y"].var(ddof=0)


def test_another_value_is_another_prediction(model: aam.AAM, known: Study) -> None:
    """Sent to plate c, samples of plate a are predicted higher: nearly all of them, and on average by a good part of 12."""
    there = known.keep_samples(known.metadata["plate"] == "a")
    moved = replace(there, metadata=there.metadata.assign(plate="c"))
    gain = model.predict(moved)["y"] - model.predict(there)["y"]
    assert (gain > 0).mean() > 0.9
    assert gain.mean() > 3


def test_unseen_is_missing_and_a_column_that_is_not_there_is_refused(model: aam.AAM, known: Study) -> None:
    def predicted(**columns: Any) -> pd.DataFrame:
        return model.predict(replace(known, metadata=known.metadata.assign(**columns)))

    with pytest.warns(StudyWarning, match=r"'plate': 48 samples of 48 .* \('z'\), which counts as missing"):
        unseen = predicted(plate="z")
    pd.testing.assert_frame_equal(unseen, predicted(plate=None), check_exact=True)
    assert not predicted(plate=None).equals(predicted())
    assert np.isfinite(predicted(dose=np.nan)["y"]).all()
    with pytest.raises(UserError, match="dose"):
        model.predict(replace(known, metadata=known.metadata.drop(columns="dose")))


def test_they_come_back_from_the_run_folder(model: aam.AAM, known: Study, tmp_path: Path) -> None:
    loaded = aam.load(model.save(tmp_path / "run"))
    assert loaded.covariates == model.covariates
    pd.testing.assert_frame_equal(loaded.predict(known), model.predict(known), check_exact=True)


def test_attributions_add_up_beside_them(model: aam.AAM, known: Study) -> None:
    """The reference keeps the covariates of each sample: what is explained is what its ASVs add."""
    few = known.keep_samples(known.sample_ids[:6])
    found = aam.explain.attribute(model, few)
    np.testing.assert_allclose(found.check["prediction"], model.predict(few)["y"], rtol=1e-5)
    assert found.largest_gap <= 0.01
    assert found.check["reference"].std() > 0.5


def test_attention_names_their_tokens(model: aam.AAM, known: Study, fusion: str) -> None:
    sample = str(known.sample_ids[0])
    pooling = aam.explain.attention(model, known, samples=[sample]).pooling[sample]
    assert ("(plate)" in pooling.index) == (fusion == "tokens")
    np.testing.assert_allclose(pooling.sum(), 1, rtol=1e-5)


def test_pretrained_weights_are_taken_and_covariates_start_anew(known: Study, fusion: str) -> None:
    shape = replace(TINY, fusion=fusion)  # type: ignore[arg-type]
    model = aam.AAM(shape).pretrain(known, config=replace(QUICK, epochs=1))
    before = {k: v.clone() for k, v in model.network.encoder.state_dict().items()}
    still = replace(QUICK, epochs=1, learning_rate=1e-12)
    model.fit(known, target="y", covariates=["plate"], config=still)
    after = model.network.encoder.state_dict()
    np.testing.assert_allclose(after["asv.stem.weight"], before["asv.stem.weight"], atol=1e-8)
    assert any(k.startswith("covariates.") for k in after)


def test_a_name_by_itself_is_one_column(known: Study) -> None:
    model = aam.AAM(TINY).fit(known, target="y", covariates="plate", config=replace(QUICK, epochs=1))
    assert model.covariates is not None
    assert model.covariates.names == ("plate",)
