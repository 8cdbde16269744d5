"""A model once more: the same to the bit from the same seed, and chance alone on permuted labels."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.study.study import Study
from aam_nb.train.estimator import NotFittedError
from aam_nb.train.refit import fresh_task, refit, shuffle_target

Sides = tuple[Study, Study]


def test_the_same_seed_gives_the_same_model(fitted: aam.AAM, sides: Sides) -> None:
    again = refit(fitted, sides[0], seed=QUICK.seed)
    pd.testing.assert_frame_equal(again.predict(sides[1]), fitted.predict(sides[1]))
    assert again.samples == {
        use: ids for use, ids in fitted.samples.items() if use != "test"
    }  # others may have evaluated it
    assert again is not fitted
    other = refit(fitted, sides[0], seed=5)
    assert not np.allclose(other.predict(sides[1]), fitted.predict(sides[1]))


def test_groups_of_the_split_hold_where_the_training_side_does_not_come_from_one(
    fitted: aam.AAM, study: Study, sides: Sides
) -> None:
    side = fitted.training_side(study)
    assert side is not None
    assert side.split_info is None
    again = refit(fitted, side, seed=QUICK.seed)
    pd.testing.assert_frame_equal(again.predict(sides[1]), fitted.predict(sides[1]))
    host = study.metadata["host_id"]
    assert not set(host[again.samples["train"]]) & set(host[again.samples["validation"]])


@pytest.mark.parametrize(
    "task",
    [
        aam.Quantiles("age", quantiles=(0.1, 0.5, 0.9), transform="log"),
        aam.Classification("diet", class_weights="balanced", label_smoothing=0.1),
    ],
)
def test_settings_and_covariates_come_along(task: aam.Quantiles | aam.Classification, sides: Sides) -> None:
    model = aam.AAM(TINY).fit(sides[0], target=task, covariates=["season"], config=QUICK)
    again = refit(model, sides[0], seed=QUICK.seed)
    assert type(again.task) is type(task)
    assert again.task is not None
    assert again.task is not model.task
    assert again.task.config == task.config
    pd.testing.assert_frame_equal(again.predict(sides[1]), model.predict(sides[1]))


def test_an_untrained_copy_starts_where_the_fit_started(sides: Sides) -> None:
    """Also of a pre-trained model, whose weights and reference ASVs it shares; the model itself keeps what it learned."""
    model = aam.AAM(TINY).pretrain(sides[0], config=QUICK).fit(sides[0], target="age", config=QUICK)
    before = model.predict(sides[1])
    copy = model.untrained_copy()
    assert not copy.is_trained
    assert copy.task is None
    assert copy.seen == set(sides[0].sample_ids), "what it was pre-trained on is not unseen"
    copy.fit(sides[0], target="age", config=model.train_config)
    pd.testing.assert_frame_equal(copy.predict(sides[1]), before)
    pd.testing.assert_frame_equal(model.predict(sides[1]), before)
    assert aam.AAM(TINY).untrained_copy().pretrained is None


def test_a_copy_with_another_network_leaves_the_model_as_it_is(fitted: aam.AAM, sides: Sides) -> None:
    before = fitted.predict(sides[1])
    other = fitted.with_network(deepcopy(fitted.network))
    for weight in other.network.encoder.asv.parameters():
        weight.data.zero_()
    assert not np.allclose(other.predict(sides[1]), before)
    pd.testing.assert_frame_equal(fitted.predict(sides[1]), before)


def test_a_fresh_task_has_learned_nothing(fitted: aam.AAM) -> None:
    fresh = fresh_task(fitted.require_task())
    assert isinstance(fresh, aam.Regression)
    assert fresh.spec()["fitted"] == aam.Regression("age").spec()["fitted"]


def test_labels_are_permuted_among_samples(sides: Sides) -> None:
    train = sides[0]
    found = shuffle_target(train, aam.Regression("age"), seed=1).metadata["age"]
    assert sorted(found) == sorted(train.metadata["age"])
    assert (found != train.metadata["age"]).mean() > 0.8
    assert found.index.equals(train.sample_ids)
    pd.testing.assert_series_equal(found, shuffle_target(train, aam.Regression("age"), seed=1).metadata["age"])


def test_whole_groups_change_places_where_they_share_a_label(sides: Sides) -> None:
    host = sides[0].metadata["host_id"]
    label = host.map({h: "ab"[k % 2] for k, h in enumerate(host.unique())}).where(host.index != host.index[0])
    train = replace(sides[0], metadata=sides[0].metadata.assign(kind=label))
    found = shuffle_target(train, aam.Classification("kind"), seed=3).metadata["kind"]
    assert found.isna().tolist() == label.isna().tolist(), "samples without a label still have none"
    assert (found.groupby(host).nunique() == 1).all()
    assert found.groupby(host).first().value_counts().to_dict() == label.groupby(host).first().value_counts().to_dict()
    assert (found.dropna() != label.dropna()).any()


def test_shuffled_labels_are_learned(fitted: aam.AAM, sides: Sides) -> None:
    again = refit(fitted, sides[0], seed=1, shuffle=True)
    assert again.train_study is not None
    assert "permuted age among 36 samples" in again.train_study.provenance[-1]


def test_a_model_without_a_target_is_refused(sides: Sides) -> None:
    with pytest.raises(NotFittedError, match=r"no target yet.*`model.fit"):
        refit(aam.AAM(TINY), sides[0], seed=0)
