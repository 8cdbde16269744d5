"""Losses and metrics of tasks, against scikit-learn, scipy and numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss, mean_absolute_error, mean_pinball_loss, r2_score
from sklearn.utils.class_weight import compute_class_weight

import aam_nb as aam
from aam_nb.batch.batch import Batch
from aam_nb.model.objectives import mean_loss
from aam_nb.study.study import Study

RNG = np.random.default_rng(5)


def batch_with(size: int, **targets: torch.Tensor) -> Batch:
    """A batch of which only size and targets are asked for."""
    none = torch.zeros(0, dtype=torch.long)
    rows = np.arange(size)
    return Batch(none, none, none, none, none, rows, rows[:0], tuple(map(str, rows)), targets)


def mean(objective: aam.Objective, prediction: np.ndarray, truth: np.ndarray, batch: Batch | None = None) -> float:
    """The loss as a number."""
    y = torch.tensor(truth)
    batch = batch or batch_with(len(y), target=y)
    return mean_loss(objective, torch.tensor(prediction), y, batch).item()


@pytest.mark.parametrize(
    ("loss", "want"),
    [
        # errors -1, 0.5 and 3
        ("mse", (1 + 0.25 + 9) / 3),
        ("mae", 4.5 / 3),
        ("huber", (0.5 * 1 + 0.5 * 0.25 + 2 * (3 - 1)) / 3),  # half the square up to 2, then 2 (|e| - 1)
        ("asymmetric", (1 + 5 * 0.25 + 5 * 9) / 3),
    ],
)
def test_losses_of_numbers_by_hand(loss: str, want: float) -> None:
    task = aam.Regression("y", loss=loss, huber_delta=2.0, over_cost=5.0)
    prediction, truth = np.array([[1.0], [2.5], [7.0]]), np.array([[2.0], [2.0], [4.0]])
    assert mean(task, prediction, truth) == pytest.approx(want)


def test_each_of_several_outputs_has_its_loss_and_a_missing_one_has_none() -> None:
    task = aam.Regression(["a", "b"], loss=("mae", "mse"))
    prediction = np.array([[1.0, 2.0], [0.0, 0.0], [5.0, 1.0]])
    truth = np.array([[3.0, 5.0], [np.nan, 4.0], [4.0, np.nan]])
    assert mean(task, prediction, truth) == pytest.approx((2 + 9 + 16 + 1) / 4)
    batch = replace(batch_with(3, target=torch.tensor(truth)), weight_B=torch.tensor([1.0, 2.0, 10.0]))
    assert task.count(batch) == 1 + 1 + 2 + 10
    assert mean(task, prediction, truth, batch) == pytest.approx((2 + 9 + 2 * 16 + 10 * 1) / 14)


def test_a_batch_without_any_truth_has_a_loss_of_zero_and_no_gradient() -> None:
    task = aam.Regression(["a", "b"])
    prediction = torch.ones(2, 2, requires_grad=True)
    truth = torch.full((2, 2), torch.nan)
    loss = mean_loss(task, prediction, truth, batch_with(2, target=truth))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert not prediction.grad.any()


def test_metrics_of_regression_are_in_the_targets_units(study: Study) -> None:
    task = aam.Regression("age", transform="log")
    study = replace(study, metadata=study.metadata.assign(age=np.abs(study.metadata["age"]) + 1))
    task.learn(study)
    age = study.metadata["age"].to_numpy()
    guess = age + RNG.normal(size=len(age))
    pair = [task.transforms[0][0].to_network(x)[:, None] for x in (guess, age)]
    found = task.metrics(*pair)
    assert found["mae"] == pytest.approx(mean_absolute_error(age, guess))
    assert found["r2"] == pytest.approx(r2_score(age, guess))


def test_metrics_of_several_targets_are_by_target_where_it_is_known() -> None:
    task = aam.Regression(["a", "b"])
    truth, guess = RNG.normal(size=(20, 2)), RNG.normal(size=(20, 2))
    truth[:5, 1] = np.nan
    found = task.metrics(guess, truth)
    assert found["mae_b"] == pytest.approx(mean_absolute_error(truth[5:, 1], guess[5:, 1]))
    r2 = [r2_score(truth[:, 0], guess[:, 0]), r2_score(truth[5:, 1], guess[5:, 1])]
    assert (found["r2_a"], found["r2_b"], found["r2"]) == pytest.approx((*r2, np.mean(r2)))


def test_quantile_loss_and_coverage_agree_with_scikit_learn() -> None:
    quantiles = (0.1, 0.5, 0.8)
    task = aam.Quantiles("y", quantiles=quantiles)
    truth, guess = RNG.normal(size=(30, 1)), np.sort(RNG.normal(size=(30, 3)), axis=1)
    truth[4] = np.nan
    y, q = np.delete(truth[:, 0], 4), np.delete(guess, 4, axis=0)
    want = np.mean([mean_pinball_loss(y, q[:, k], alpha=a) for k, a in enumerate(quantiles)])
    assert mean(task, guess, truth) == pytest.approx(want)
    found = task.metrics(guess, truth)
    assert found["mae"] == pytest.approx(mean_absolute_error(y, q[:, 1]))
    assert found["coverage"] == sum(lo <= v <= hi for v, lo, hi in zip(y, q[:, 0], q[:, 2], strict=True)) / 29


# -- classes ----------------------------------------------------------------------------------------------------------


def labelled(names: list[str | None], **settings: Any) -> tuple[aam.Classification, Batch, Study]:
    """A task that learned these labels, a batch of all of them, and their study."""
    ids = pd.Index([f"s{i}" for i in range(len(names))])
    metadata = pd.DataFrame({"site": names}, index=ids)
    study = Study(sparse.csr_array(np.ones((len(names), 1), dtype=np.int64)), ids, pd.Index(["ACGT"]), metadata)
    task = aam.Classification("site", **settings)
    task.learn(study)
    return task, task.maker(study)(batch_with(len(names)), RNG), study


SITES = ["gut"] * 6 + ["skin"] * 3 + ["tongue"] * 2
LOGITS = RNG.normal(size=(len(SITES), 3)) * 2
NUMBERS = np.array([0] * 6 + [1] * 3 + [2] * 2)


def test_cross_entropy_agrees_with_scikit_learn() -> None:
    task, batch, _ = labelled(SITES)
    assert batch.targets["target"].tolist() == NUMBERS.tolist()
    want = log_loss(NUMBERS, softmax(LOGITS, axis=1))
    assert mean(task, LOGITS, NUMBERS, batch) == pytest.approx(want)
    assert task.metrics(LOGITS, NUMBERS) == {"accuracy": (LOGITS.argmax(1) == NUMBERS).mean()}


def test_balanced_classes_agree_with_scikit_learn() -> None:
    task, batch, _ = labelled(SITES, class_weights="balanced")
    weights = compute_class_weight("balanced", classes=np.unique(SITES), y=SITES)
    assert task.balance == pytest.approx(weights)
    want = log_loss(NUMBERS, softmax(LOGITS, axis=1), sample_weight=weights[NUMBERS])
    assert mean(task, LOGITS, NUMBERS, batch) == pytest.approx(want, rel=1e-6)
    assert task.count(batch) == pytest.approx(len(SITES))  # all classes have the same say, together that of the samples
    own = replace(batch, weight_B=torch.arange(1.0, 12.0))
    want = log_loss(NUMBERS, softmax(LOGITS, axis=1), sample_weight=weights[NUMBERS] * np.arange(1, 12))
    assert mean(task, LOGITS, NUMBERS, own) == pytest.approx(want, rel=1e-6)


def test_label_smoothing_by_hand() -> None:
    task, batch, _ = labelled(SITES, label_smoothing=0.3)
    share = np.full((11, 3), 0.1)
    share[np.arange(11), NUMBERS] = 0.8
    want = -(share * log_softmax(LOGITS, axis=1)).sum(1).mean()
    assert mean(task, LOGITS, NUMBERS, batch) == pytest.approx(want)


def test_focal_loss_by_hand() -> None:
    task, batch, _ = labelled(SITES, focal=2.0)
    p = softmax(LOGITS, axis=1)[np.arange(11), NUMBERS]
    assert mean(task, LOGITS, NUMBERS, batch) == pytest.approx(np.mean((1 - p) ** 2 * -np.log(p)))


def test_focal_loss_of_a_sure_and_right_guess_has_a_gradient() -> None:
    task, batch, _ = labelled(SITES, focal=0.5)
    logits = torch.full((11, 3), -60.0).scatter(1, torch.tensor(NUMBERS)[:, None], 60.0).requires_grad_()
    mean_loss(task, logits, batch.targets["target"], batch).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_samples_without_a_label_do_not_count() -> None:
    names = [*SITES, None]
    task, batch, _ = labelled(names, label_smoothing=0.1)
    logits, numbers = np.vstack([LOGITS, [[9.0, -9, 0]]]), np.append(NUMBERS, -1)
    assert batch.targets["target"].tolist() == numbers.tolist()
    smooth = labelled(SITES, label_smoothing=0.1)
    assert mean(task, logits, numbers, batch) == pytest.approx(mean(smooth[0], LOGITS, NUMBERS, smooth[1]))
    assert task.metrics(logits, numbers) == smooth[0].metrics(LOGITS, NUMBERS)


def test_mixed_samples_have_mixed_labels() -> None:
    task, _, study = labelled(SITES, class_weights="balanced")
    mixed = replace(
        batch_with(2), sample_B=np.array([0, 10]), partner_B=np.array([7, 1]), share_B=np.array([0.75, 1.0])
    )
    batch = task.maker(study)(mixed, RNG)
    assert batch.targets["target"].tolist() == [[0.75, 0.25, 0], [0, 0, 1]]
    w = compute_class_weight("balanced", classes=np.unique(SITES), y=SITES)
    np.testing.assert_allclose(task.weigh(batch), [0.75 * w[0] + 0.25 * w[1], w[2]], rtol=1e-6)
    logits = np.array([[1.0, 0, -1], [0, 2, 1]])
    log_p = log_softmax(logits, axis=1)
    each = np.array([-0.75 * log_p[0, 0] - 0.25 * log_p[0, 1], -log_p[1, 2]])
    weights = task.weigh(batch).numpy()
    want = (each * weights).sum() / weights.sum()
    found = mean_loss(task, torch.tensor(logits), batch.targets["target"], batch)
    assert found.item() == pytest.approx(want, rel=1e-6)
