"""Splits: groups never cross, sizes and strata are near those asked, and the same seed gives the same sides."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from aam_nb.study.splits import SplitError
from aam_nb.study.study import Study, TargetError, UnknownIdError


def with_metadata(**columns: Any) -> Study:
    frame = pd.DataFrame(columns)
    frame.index = pd.Index([f"s{i}" for i in range(len(frame))])
    return Study(sparse.csr_array(np.ones((len(frame), 1), dtype=int)), frame.index, pd.Index(["ACGT"]), frame)


def is_partition(study: Study, train: Study, test: Study) -> bool:
    return not set(train.sample_ids) & set(test.sample_ids) and {*train.sample_ids, *test.sample_ids} == {
        *study.sample_ids
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 0.25, 0.5]), st.sampled_from([None, "age", "diet"]))
def test_groups_never_cross(study: Study, seed: int, test_size: float, target: str | None) -> None:
    train, test = study.split(test_size=test_size, target=target, group="host_id", seed=seed)
    assert is_partition(study, train, test)
    assert not set(train.metadata["host_id"]) & set(test.metadata["host_id"])
    # 12 hosts of 4 samples: the nearest cut is at most half a host away, and one host more may buy better strata.
    assert abs(test.num_samples - test_size * 48) <= 6


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_uneven_groups_never_cross(seed: int) -> None:
    rng = np.random.default_rng(seed)
    study = with_metadata(host=rng.geometric(0.2, 60), y=rng.normal(size=60))
    train, test = study.split(test_size=0.3, target="y", group="host", seed=seed)
    assert is_partition(study, train, test)
    assert not set(train.metadata["host"]) & set(test.metadata["host"])
    assert min(train.num_samples, test.num_samples) >= 1


@pytest.mark.parametrize("test_size", [0.01, 0.1, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("target", [None, "y"])
def test_size_is_as_asked(test_size: float, target: str | None) -> None:
    study = with_metadata(y=np.arange(100.0))
    train, test = study.split(test_size=test_size, target=target)
    assert is_partition(study, train, test)
    # Five bins of 20 each keep a sample on both sides, so 1 % may become 5.
    assert abs(test.num_samples - 100 * test_size) <= (0 if target is None or 0.05 <= test_size <= 0.95 else 4)


@pytest.mark.parametrize("seed", range(5))
def test_each_class_is_on_both_sides_in_its_share(seed: int) -> None:
    study = with_metadata(y=["a"] * 60 + ["b"] * 30 + ["c"] * 8 + ["d"] * 2)
    train, test = study.split(test_size=0.25, target="y", seed=seed)
    counts = test.metadata["y"].value_counts()
    assert set(train.metadata["y"]) == set("abcd")
    assert abs(counts["a"] - 15) <= 1
    assert abs(counts["b"] - 7.5) <= 1
    assert counts["c"] == 2
    assert counts["d"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_each_class_is_on_both_sides_of_a_group_split(study: Study, seed: int) -> None:
    for side in study.split(test_size=0.25, target="diet", group="host_id", seed=seed):
        assert set(side.metadata["diet"]) == {"animal", "plant"}


@pytest.mark.parametrize("seed", range(6))
def test_a_group_split_balances_classes_that_belong_to_groups(seed: int) -> None:
    """Ten hosts of each class: of four held out, two are of each; chance does that in 45 x 45 / 4845 = 42 %."""
    study = with_metadata(host=np.repeat(np.arange(20), 4), y=np.repeat(["a", "b"] * 10, 4))
    test = study.split(test_size=0.2, target="y", group="host", seed=seed)[1]
    assert test.metadata["y"].value_counts().to_dict() == {"a": 8, "b": 8}


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_of_a_number_are_balanced(seed: int) -> None:
    y = np.random.default_rng(seed).lognormal(size=100)
    test = with_metadata(y=y).split(test_size=0.2, target="y", seed=seed)[1]
    fifth = np.searchsorted(np.quantile(y, [0.2, 0.4, 0.6, 0.8]), test.metadata["y"])
    assert np.bincount(fifth, minlength=5).tolist() == [4, 4, 4, 4, 4]  # 20 of 100: four of each fifth


def test_ties_in_a_number_do_not_matter() -> None:
    test = with_metadata(y=[0.0] * 90 + [1.0] * 10).split(test_size=0.2, target="y")[1]
    assert test.num_samples == 20


@pytest.mark.parametrize(("n_hosts", "group", "distinct"), [(12, None, 6), (60, "host", 6), (12, "host", 3)])
def test_the_seed_decides(n_hosts: int, group: str | None, distinct: int) -> None:
    """Of six seeds. 12 hosts have 220 sets of 3: were two of them always chosen, repeated splits would tell little."""
    rng = np.random.default_rng(0)
    study = with_metadata(host=np.repeat(np.arange(n_hosts), 4), y=rng.normal(size=4 * n_hosts))

    def held_out(seed: int) -> tuple[str, ...]:
        return tuple(study.split(test_size=0.25, target="y", group=group, seed=seed)[1].sample_ids)

    assert held_out(3) == held_out(3)
    assert len({held_out(seed) for seed in range(6)}) >= distinct


def test_sides_know_where_they_come_from(study: Study) -> None:
    for side, part in zip(study.split(target="age", group="host_id", seed=5), ["train", "test"], strict=True):
        info = side.split_info
        assert info is not None
        assert (info.part, info.target, info.group, info.seed, info.test_size) == (part, "age", "host_id", 5, 0.2)
        assert f"{part} side ({side.num_samples} of 48 samples)" in side.provenance[-1]
        assert "no host_id on both sides" in side.provenance[-1]
        assert side.tree is study.tree
        pd.testing.assert_frame_equal(side.metadata, study.metadata.loc[side.sample_ids])


def test_samples_without_the_target_are_left_out_and_counted() -> None:
    study = with_metadata(y=[1.0, np.nan, 2.0, 3.0, np.nan, 4.0])
    train, test = study.split(test_size=0.5, target="y")
    assert sorted([*train.sample_ids, *test.sample_ids]) == ["s0", "s2", "s3", "s5"]
    assert all("2 samples without y left out" in side.provenance[-1] for side in (train, test))


@pytest.mark.parametrize("test_size", [0, 1, -0.2, 1.5, float("nan")])
def test_a_size_that_is_not_a_share_is_refused(test_size: float, study: Study) -> None:
    with pytest.raises(SplitError, match=rf"test_size is {test_size}.*between 0 and 1.*`test_size=0\.2`"):
        study.split(test_size=test_size)


def test_a_class_of_one_is_dropped_by_the_call_in_the_message() -> None:
    study = with_metadata(y=["a", "a", "b", "c", "c"])
    with pytest.raises(SplitError, match=r"1 classes of 'y' have a single sample \(b\).*--min-class-size 2") as error:
        study.split(target="y")
    call = re.search(r"`(study\.[^`]+)`", str(error.value))
    assert call is not None
    kept = eval(call[1], {"study": study})
    assert kept.metadata["y"].tolist() == ["a", "a", "c", "c"]
    assert is_partition(kept, *kept.split(test_size=0.5, target="y"))


def test_a_missing_group_is_dropped_by_the_call_in_the_message() -> None:
    study = with_metadata(host=["a", None, "b", "b"])
    with pytest.raises(SplitError, match=r"1 samples have no 'host' \(s1\)") as error:
        study.split(group="host")
    call = re.search(r"`(study\.[^`]+)`", str(error.value))
    assert call is not None
    kept = eval(call[1], {"study": study})
    assert list(kept.sample_ids) == ["s0", "s2", "s3"]
    assert is_partition(kept, *kept.split(group="host"))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"group": "same"}, SplitError, r"1 value of 'same'.*at least two.*another group"),
        ({"group": "nowhere"}, UnknownIdError, r"'nowhere' is not a metadata column.*same, gone"),
        ({"target": "nowhere"}, UnknownIdError, r"'nowhere' is not a metadata column.*same, gone"),
        ({"target": "gone"}, TargetError, r"'gone' is missing in all 4 samples.*Choose another"),
        ({"target": "same"}, TargetError, r"'same' is 'x' in all 4 samples.*Choose another"),
    ],
)
def test_columns_that_cannot_be_split_by_are_refused(
    options: dict[str, str], error: type[Exception], said: str
) -> None:
    study = with_metadata(same=["x"] * 4, gone=[np.nan] * 4)
    with pytest.raises(error, match=said):
        study.split(**options)  # type: ignore[arg-type]


def test_one_sample_cannot_be_split() -> None:
    with pytest.raises(SplitError, match=r"1 sample.*at least two"):
        with_metadata(y=[1]).split()
