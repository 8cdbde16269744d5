"""Objectives: their targets, losses and outputs, against numbers worked out without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from scipy.special import softmax
from torch import Tensor, nn

import aam_nb as aam
from aam_nb.batch.batches import Batch, TargetMaker
from aam_nb.model.encoder import States
from aam_nb.model.objectives import OBJECTIVES, ObjectiveError, make_objective, task_for
from aam_nb.study.study import Study, TargetError


def states(sample_BD: Tensor) -> States:
    """States of which only the samples' vectors are asked for."""
    return States(nucleotide_NPD=None, asv_ND=sample_BD, entry_BSD=sample_BD[:, None], sample_BD=sample_BD)


def batch_with(**targets: Tensor) -> Batch:
    """A batch of which only the targets are asked for."""
    none = torch.zeros(0, dtype=torch.long)
    empty = np.zeros(0, dtype=np.int64)
    return Batch(none, none, none, none, none, empty, empty, (), targets)


def unifrac_loss(x_BD: np.ndarray, weight_DD: np.ndarray, truth_BB: np.ndarray) -> float:
    """Mean squared error over pairs i < j, pair by pair."""
    y = x_BD @ weight_DD.T
    errors = [
        (np.sqrt(((y[i] - y[j]) ** 2).sum() + 1e-6) - truth_BB[i, j]) ** 2
        for i in range(len(y))
        for j in range(i + 1, len(y))
    ]
    return float(np.mean(errors))


@pytest.fixture
def unifrac() -> tuple[aam.UniFrac, np.ndarray, np.ndarray]:
    """The objective, samples' vectors, and a target whose diagonal and lower half must not be looked at."""
    rng = np.random.default_rng(0)
    objective = aam.UniFrac()
    objective.build(aam.ModelConfig(width=8, num_layers=1, num_attn_heads=2))
    nn.init.normal_(objective.head.weight, std=0.3)
    truth = np.full((5, 5), np.nan)
    truth[np.triu_indices(5, 1)] = rng.random(10)
    return objective, rng.normal(size=(5, 8)), truth


def test_unifrac_compares_pairs_of_the_upper_triangle_only(unifrac: tuple[aam.UniFrac, np.ndarray, np.ndarray]) -> None:
    objective, x, truth = unifrac
    pair = objective.compare(states(torch.tensor(x, dtype=torch.float32)), batch_with(unifrac=torch.tensor(truth)))
    assert len(pair[0]) == len(pair[1]) == 10
    want = unifrac_loss(x, objective.head.weight.detach().numpy().astype(float), truth)
    assert objective.loss(*pair).item() == pytest.approx(want, rel=1e-5)


def test_gradient_of_the_unifrac_loss_equals_finite_differences(
    unifrac: tuple[aam.UniFrac, np.ndarray, np.ndarray],
) -> None:
    objective, x, truth = unifrac
    weight = objective.head.weight.detach().numpy().astype(float)
    x_BD = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    objective.loss(*objective.compare(states(x_BD), batch_with(unifrac=torch.tensor(truth)))).backward()

    def slope(of: str, at: tuple[int, int], step: float = 1e-5) -> float:
        ends = []
        for sign in (1, -1):
            moved = {"x": x.copy(), "weight": weight.copy()}
            moved[of][at] += sign * step
            ends.append(unifrac_loss(moved["x"], moved["weight"], truth))
        return (ends[0] - ends[1]) / (2 * step)

    for of, gradient in (("x", x_BD.grad), ("weight", objective.head.weight.grad)):
        assert gradient is not None
        want = np.array([[slope(of, (i, j)) for j in range(gradient.shape[1])] for i in range(gradient.shape[0])])
        np.testing.assert_allclose(gradient.numpy(), want, rtol=1e-3, atol=1e-5)


def test_unifrac_of_a_lone_sample_is_no_loss(unifrac: tuple[aam.UniFrac, np.ndarray, np.ndarray]) -> None:
    objective, x, truth = unifrac
    lone = objective.compare(
        states(torch.tensor(x[:1], dtype=torch.float32)), batch_with(unifrac=torch.tensor(truth[:1, :1]))
    )
    assert objective.loss(*lone).item() == 0


def test_regression_is_standardised_inside_and_in_units_outside(study: Study) -> None:
    task = aam.Regression("age")
    task.learn(study)
    age = study.metadata["age"].to_numpy()
    assert (task.mean, task.std) == pytest.approx((age.mean(), age.std()))
    make = task.maker(study)
    batch = make(batch_with(), np.random.default_rng(0))
    assert len(batch.targets["target"]) == 0
    rows = np.array([3, 0, 40])
    target = make(Batch(**{**vars(batch), "sample_B": rows}), np.random.default_rng(0)).targets["target"]
    np.testing.assert_allclose(target.numpy(), (age[rows] - age.mean()) / age.std(), rtol=1e-5)
    np.testing.assert_allclose(task.outputs(target).numpy()[:, 0], age[rows], rtol=1e-6)
    frame = task.to_frame(task.outputs(target).numpy(), study.sample_ids[rows])
    assert frame.index.equals(study.sample_ids[rows])
    assert list(frame.columns) == ["age"]


def test_metrics_of_regression_are_in_the_targets_units() -> None:
    task = aam.Regression("age", mean=40.0, std=10.0)
    found = task.metrics(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 4.0]))
    assert found["mae"] == pytest.approx(10 * 2 / 3)
    assert found["r2"] == pytest.approx(1 - 2 / 8)


def test_log_odds_of_classes_agree_with_softmax() -> None:
    task = aam.Classification("site", classes=["gut", "skin", "tongue"])
    logits = np.array([[0.0, 0, 0], [3, -1, 0.5], [40, -40, 0], [-2, -2.5, -9]])
    odds = task.outputs(torch.tensor(logits)).numpy()
    want = softmax(logits, axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-odds)), want, atol=1e-12)
    np.testing.assert_allclose(odds[1], np.log(want[1] / (1 - want[1])))
    frame = task.to_frame(odds, pd.Index(list("abcd")))
    assert list(frame.columns) == ["site", "p(gut)", "p(skin)", "p(tongue)"]
    np.testing.assert_allclose(frame.filter(like="p(").sum(axis=1), 1)
    assert frame["site"].tolist()[1:] == ["gut", "gut", "gut"]


def test_cross_entropy_by_hand() -> None:
    logits, truth = np.array([[2.0, 0, 1], [0, 1, 5]]), np.array([0, 1])
    want = -np.log(softmax(logits, axis=1)[[0, 1], truth]).mean()
    task = aam.Classification("site", classes=["a", "b", "c"])
    assert task.loss(torch.tensor(logits), torch.tensor(truth)).item() == pytest.approx(want)
    assert task.metrics(logits, truth) == {"accuracy": 0.5}


def test_masked_nucleotides_are_compared_where_hidden() -> None:
    """A head that says C everywhere (log-odds 3 above the rest) is right in one of two hidden places."""
    objective = aam.MaskedNucleotides()
    objective.build(aam.ModelConfig(width=8, num_layers=1, num_attn_heads=2, patch=4))
    with torch.no_grad():
        objective.head.weight.zero_()
        objective.head.bias.copy_(torch.tensor([0.0, 3, 0, 0]).repeat(4))
    target = torch.tensor([[0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 4, 0]])  # hidden: a C, a T
    seen = States(
        nucleotide_NPD=torch.zeros(2, 2, 8),
        asv_ND=torch.zeros(2, 8),
        entry_BSD=torch.zeros(0),
        sample_BD=torch.zeros(0),
    )
    prediction, truth = objective.compare(seen, batch_with(nucleotides=target))
    assert truth.tolist() == [1, 3]
    share = np.exp([0, 3, 0, 0]) / (np.exp(3) + 3)
    assert objective.loss(prediction, truth).item() == pytest.approx(-np.log([share[1], share[3]]).mean(), rel=1e-5)
    assert objective.metrics(prediction.detach().numpy(), truth.numpy()) == {"accuracy": 0.5}


def test_kind_of_column_chooses_the_task(study: Study) -> None:
    assert isinstance(task_for(study, "age"), aam.Regression)
    assert isinstance(task_for(study, "diet"), aam.Classification)


def test_whole_numbers_can_be_classes(study: Study) -> None:
    from dataclasses import replace

    numbered = replace(study, metadata=study.metadata.assign(stage=np.tile([1.0, 2.0, 3.5], 16)))
    task = aam.Classification("stage")
    task.learn(numbered)
    assert task.classes == ["1", "2", "3.5"]


def test_classes_unknown_to_the_model_are_refused(study: Study) -> None:
    task = aam.Classification("season", classes=["spring", "summer", "autumn"])
    with pytest.raises(TargetError, match=r"1 classes of 'season' were not in training \(winter\)"):
        task.maker(study)


class LogDepth(aam.Objective):
    """A user's own: guess the log10 of a sample's reads."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__("log_depth", weight)

    def build(self, config: aam.ModelConfig) -> None:
        self.head = nn.Linear(config.width, 1)

    def maker(self, study: Study) -> TargetMaker:
        return lambda batch, rng: batch.with_target(self.name, batch.total_B.double().log10().float())

    def forward(self, states: States) -> Tensor:
        return self.head(states.sample_BD)[:, 0]

    def loss(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return (prediction - truth).square().mean()

    def metrics(self, prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        return {"largest": float(truth.max())}


def test_a_users_own_objective_trains_beside_the_packages(
    sides: tuple[Study, Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = sides
    config = aam.TrainConfig(epochs=12, batch_size=8, learning_rate=5e-3, progress=False)
    model = aam.AAM(TINY).pretrain(train, objectives=["unifrac", LogDepth(weight=2.0)], config=config)
    history: Any = model.history
    np.testing.assert_allclose(
        history["train_loss"], 10 * history["train_unifrac"] + 2 * history["train_log_depth"], rtol=1e-4
    )
    assert history["train_log_depth"].iloc[-1] < 0.2 * history["train_log_depth"].iloc[0]
    assert (history["valid_log_depth_largest"] <= np.log10(train.depth.max()) + 1e-5).all()
    with pytest.raises(ObjectiveError, match="LogDepth is not a known objective"):
        model.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setitem(OBJECTIVES, "log_depth", LogDepth)
    loaded = aam.load(model.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(loaded.embed(test), model.embed(test), check_exact=True)


def test_an_objective_that_is_not_finished_says_what_it_lacks(sides: tuple[Study, Study]) -> None:
    class Empty(aam.Objective):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty must say how its targets are made: define `maker\(study\)`"):
        aam.AAM(TINY).pretrain(sides[0], objectives=[Empty("empty")], config=QUICK)


def test_unknown_names_and_arguments_are_refused() -> None:
    with pytest.raises(ObjectiveError, match=r"'faith' is not an objective\. There are nucleotides, unifrac"):
        make_objective("faith")
    with pytest.raises(ObjectiveError, match="cannot be made from"):
        make_objective("unifrac", metric="generalized")
