"""Covariates: what is learned of columns, what batches carry, and what missing means."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import aam_nb as aam
from aam_nb.batch.batches import Batches
from aam_nb.model.covariates import CODES, NUMBERS, CovariateEncoder, CovariateError, Covariates
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

NAN = float("nan")
NAMES = ("season", "ph", "year", "smokes", "when")


def with_metadata(study: Study, **columns: Any) -> Study:
    return replace(study, metadata=pd.DataFrame(columns, index=study.sample_ids))


@pytest.fixture
def train(hand_study: Study) -> Study:
    return with_metadata(
        hand_study,
        season=["wet", None, "dry"],
        ph=[5.0, NAN, 8.0],
        year=[2020, 2020, 2020],
        smokes=[True, False, True],
        when=pd.to_datetime(["2020-01-01", "2020-01-03", None]),
    )


def carried(
    covariates: Covariates, study: Study, dropout: float = 0.0, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    maker = covariates.maker(study, dropout=dropout)
    batches = Batches(study, config=aam.TrainConfig(asv_dropout=0), makers=[maker])
    batch = batches.make(np.arange(study.num_samples), np.random.default_rng(seed))
    return batch.targets[CODES], batch.targets[NUMBERS]


def test_what_is_learned_and_carried(train: Study) -> None:
    """By hand: ph has mean 6.5 and standard deviation 1.5; the days 18262 and 18264 have mean 18263 and 1; a constant counts as 1."""
    covariates = Covariates.learn(train, NAMES)
    assert covariates.categories == {"season": ("dry", "wet"), "smokes": ("False", "True")}
    assert covariates.numbers == {"ph": (6.5, 1.5), "year": (2020.0, 1.0), "when": (18263.0, 1.0)}
    codes, numbers = carried(covariates, train)
    assert codes.dtype == torch.int64
    assert numbers.dtype == torch.float32
    assert codes.tolist() == [[2, 0, 0, 2, 0], [0, 0, 0, 1, 0], [1, 0, 0, 2, 0]]
    want = [[NAN, -1, 0, NAN, -1], [NAN, NAN, 0, NAN, 1], [NAN, 1, 0, NAN, NAN]]
    np.testing.assert_array_equal(numbers.numpy(), np.array(want, dtype=np.float32))


def test_unseen_is_missing_and_another_study_is_measured_as_training_was(train: Study) -> None:
    covariates = Covariates.learn(train, ["season", "ph"])
    other = with_metadata(train, ph=[9.5, 6.5, NAN], season=["monsoon", "dry", None], extra=[1, 2, 3])
    codes, numbers = carried(covariates, other)
    assert codes[:, 0].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(numbers[:, 1].numpy(), np.array([2, 0, NAN], dtype=np.float32))


def test_a_category_is_the_same_however_its_column_was_read(train: Study) -> None:
    covariates = Covariates.learn(with_metadata(train, plate=["1", "2", "10"]), ["plate"])
    for values in ([2, 1, 10], [2.0, 1.0, 10.0], ["2", "1", "10"]):
        codes, _ = carried(covariates, with_metadata(train, plate=values))
        assert codes[:, 0].tolist() == [3, 1, 2]


def test_a_column_without_any_value_is_missing_throughout(train: Study) -> None:
    covariates = Covariates.learn(train, ["ph", "season"])
    empty = with_metadata(train, ph=pd.Series([None] * 3, dtype=object).to_numpy(), season=[NAN] * 3)
    codes, numbers = carried(covariates, empty)
    assert not codes.any()
    assert numbers.isnan().all()


def test_dropout_hides_its_share_of_values_and_nothing_else(study: Study) -> None:
    rng = np.random.default_rng(0)
    known = with_metadata(study, a=rng.normal(size=48), b=rng.choice(["x", "y"], 48))
    covariates = Covariates.learn(known, ["a", "b"])
    whole_codes, whole_numbers = carried(covariates, known)
    hidden = []
    for seed in range(20):
        codes, numbers = carried(covariates, known, dropout=0.3, seed=seed)
        hidden.append(np.stack([numbers[:, 0].isnan().numpy(), (codes[:, 1] == 0).numpy()]))
        assert ((codes == whole_codes) | (codes == 0)).all()
        assert ((numbers == whole_numbers) | numbers.isnan()).all()
    shares = np.mean(hidden, axis=(0, 2))
    np.testing.assert_allclose(shares, 0.3, atol=4 * (0.21 / (48 * 20)) ** 0.5)
    assert np.corrcoef(np.ravel(hidden), np.ravel(np.roll(hidden, 1, axis=1)))[0, 1] < 0.2, "value by value"
    again = carried(covariates, known, dropout=0.3, seed=4)
    assert all(
        torch.equal(a.nan_to_num(9), b.nan_to_num(9))
        for a, b in zip(again, carried(covariates, known, 0.3, 4), strict=True)
    )
    assert torch.equal(carried(covariates, known)[0], whole_codes), "what is hidden in one batch is back in the next"


def test_tokens_of_missing_values_are_learned_vectors(train: Study) -> None:
    torch.manual_seed(0)
    covariates = Covariates.learn(train, ["season", "ph"])
    encoder = CovariateEncoder(covariates, 8)
    batches = Batches(train, config=aam.TrainConfig(asv_dropout=0), makers=[covariates.maker(train)])
    batch = batches.make(np.arange(3), np.random.default_rng(0))
    token_BCD = encoder(batch)
    assert token_BCD.shape == (3, 2, 8)
    season, ph = encoder.columns
    assert torch.equal(token_BCD[1, 0], season.vectors.weight[0])
    assert torch.equal(token_BCD[1, 1], ph.missing)
    token_BCD.sum().backward()
    assert season.vectors.weight.grad[0].any()
    assert ph.missing.grad.tolist() == [1.0] * 8, "from the one sample that lacks it"
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_what_was_learned_survives_json(train: Study) -> None:
    covariates = Covariates.learn(train, NAMES)
    assert Covariates.from_dict(json.loads(json.dumps(covariates.to_dict(), allow_nan=False))) == covariates
    assert repr(covariates) == "Covariates(2 categorical, 3 numeric: season, ph, year, smokes, when)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("numbers"), "fields names, categories"),
        (lambda d: d["names"].append(3), "names are"),
        (lambda d: d["names"].append("other"), "kinds for"),
        (lambda d: d["numbers"].update(season=[0.0, 1.0]), "kinds for"),
        (lambda d: d["numbers"].update(ph=[0.0, 0.0]), "'ph'"),
        (lambda d: d["numbers"].update(ph=[float("inf"), 1.0]), "'ph'"),
        (lambda d: d["numbers"].update(ph=["0", "1"]), "'ph'"),
        (lambda d: d["categories"].update(season=[1, 2]), "'season'"),
        (lambda d: d.update(categories=[]), "list"),
    ],
)
def test_damaged_covariates_are_refused(train: Study, change: Any, message: str) -> None:
    saved = copy.deepcopy(Covariates.learn(train, NAMES).to_dict())
    change(saved)
    with pytest.raises(CovariateError, match=message):
        Covariates.from_dict(saved)


def test_what_cannot_be_a_covariate_is_refused(train: Study) -> None:
    with pytest.raises(UnknownIdError, match=r"'altitude'.*season, ph, year"):
        Covariates.learn(train, ["ph", "altitude"])
    with pytest.raises(CovariateError, match="name ph twice"):
        Covariates.learn(train, ["ph", "ph"])
    with pytest.raises(CovariateError, match="'ph' is missing in all 3 samples"):
        Covariates.learn(with_metadata(train, ph=[NAN] * 3), ["ph"])
    with pytest.raises(CovariateError, match="'ph' is infinite in 1 of 3"):
        Covariates.learn(with_metadata(train, ph=[1.0, np.inf, 2.0]), ["ph"])


def test_a_study_without_the_columns_is_refused_with_all_of_them_named(train: Study) -> None:
    covariates = Covariates.learn(train, ["season", "ph", "year"])
    with pytest.raises(UnknownIdError, match=r"`study.metadata` lacks 2 of the model's 3 covariates \(season, year\)"):
        covariates.maker(with_metadata(train, ph=[1.0, 2.0, 3.0]))
    with pytest.raises(CovariateError, match="'ph' holds text such as 'acid'"):
        covariates.maker(with_metadata(train, season=["wet"] * 3, ph=["acid"] * 3, year=[1, 2, 3]))


def test_a_batch_without_covariates_is_refused(train: Study) -> None:
    covariates = Covariates.learn(train, ["ph"])
    batch = Batches(train, config=aam.TrainConfig(asv_dropout=0)).make(np.arange(3), np.random.default_rng(0))
    with pytest.raises(CovariateError, match=r"carries no covariates, and the model has 1 \(ph\).*covariates.maker"):
        CovariateEncoder(covariates, 8)(batch)
