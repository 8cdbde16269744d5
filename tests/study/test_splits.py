"""Splits: groups never cross, sizes and strata are near those asked, and the same seed gives the same sides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import aam_nb as aam
from aam_nb.study.confounding import SplitWarning, score_group
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.read import read_study
from aam_nb.study.splits import SplitError, k_fold, leave_one_group_out
from aam_nb.study.study import Study


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


@pytest.mark.filterwarnings("ignore::aam_nb.study.confounding.SplitWarning")  # here the class is a function of the host
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
    with pytest.raises(SplitError, match=r"In 'y', 1 class has a single sample \(b\).*--min-class-size 2") as error:
        study.split(target="y")
    call = re.search(r"`(study\.[^`]+)`", str(error.value))
    assert call is not None
    kept = eval(call[1], {"study": study})
    assert kept.metadata["y"].tolist() == ["a", "a", "c", "c"]
    assert is_partition(kept, *kept.split(test_size=0.5, target="y"))


def test_a_missing_group_is_dropped_by_the_call_in_the_message() -> None:
    study = with_metadata(host=["a", None, "b", "b"])
    with pytest.raises(SplitError, match=r"1 sample has no 'host' \(s1\)") as error:
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
        (
            {"target": "Same"},
            UnknownIdError,
            r"'Same' is not a metadata column.*same, gone.*Name one of those: 'same' may be meant",
        ),
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


# -- k folds, and each group in turn ----------------------------------------------------------------------------------


def named(values: Any, name: str) -> pd.Series:
    values = pd.Series(values, name=name)
    return values.set_axis([f"s{i}" for i in range(len(values))])


def folds_of(target: pd.Series | None, group: pd.Series | None, folds: int, seed: int = 0) -> np.ndarray:
    values = group if target is None else target
    assert values is not None
    return k_fold(values.index, target=target, group=group, folds=folds, seed=seed)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 6), st.integers(0, 2**40))
def test_each_class_is_dealt_evenly_to_the_folds(data: st.DataObject, folds: int, seed: int) -> None:
    sizes = data.draw(st.lists(st.integers(folds, 30), min_size=2, max_size=4))
    labels = np.random.default_rng(seed).permutation(np.repeat(np.array(list("abcd"))[: len(sizes)], sizes))
    fold = folds_of(named(labels, "y"), None, folds, seed)
    assert sorted(set(fold)) == list(range(folds))  # a number for each sample, so each is held out once
    for label, size in zip("abcd", sizes, strict=False):
        held = np.bincount(fold[labels == label], minlength=folds)
        assert held.sum() == size
        assert held.max() - held.min() <= 1
    assert np.ptp(np.bincount(fold)) <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(6, 90), st.integers(0, 2**40))
def test_a_number_is_dealt_evenly_to_the_folds(folds: int, size: int, seed: int) -> None:
    y = named(np.random.default_rng(seed).lognormal(size=size), "y")
    fold = folds_of(y, None, folds, seed)
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    lower = y.rank() <= np.ceil(size / min(5, size // folds))  # the lowest bin
    assert np.ptp(np.bincount(fold[lower], minlength=folds)) <= 1


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 5), st.sampled_from([None, "number", "class"]), st.integers(0, 2**40))
def test_groups_never_cross_folds(data: st.DataObject, folds: int, kind: str | None, seed: int) -> None:
    """As many groups of each class as folds at least, of any size from one sample to twenty."""
    sizes = data.draw(st.lists(st.integers(1, 20), min_size=2 * folds, max_size=4 * folds))
    host = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(seed)
    target = {"number": named(rng.normal(size=len(host)), "y"), "class": named(np.array(["a", "b"])[host % 2], "y")}
    fold = folds_of(target.get(str(kind)), named(host, "host"), folds, seed)
    assert sorted(set(fold)) == list(range(folds))
    assert pd.Series(fold).groupby(host).nunique().max() == 1
    if kind == "class":
        assert pd.Series(fold).groupby(host % 2).nunique().min() >= 2  # so each class is always in training


def test_folds_of_equal_groups_are_equal_in_size_and_classes() -> None:
    """Twenty hosts of four samples, ten of each class: four hosts in each of five folds, two of each class."""
    host = np.repeat(np.arange(20), 4)
    y = named(np.array(["a", "b"])[host % 2], "y")
    for seed in range(5):
        fold = folds_of(y, named(host, "host"), 5, seed)
        assert pd.crosstab(fold, y.to_numpy()).to_numpy().tolist() == [[8, 8]] * 5


@pytest.mark.parametrize("group", [None, named(np.repeat(np.arange(15), 4), "host")])
def test_the_seed_decides_the_folds(group: pd.Series | None) -> None:
    y = named(np.random.default_rng(0).normal(size=60), "y")
    assert folds_of(y, group, 5, 3).tolist() == folds_of(y, group, 5, 3).tolist()
    assert len({tuple(folds_of(y, group, 5, seed)) for seed in range(4)}) == 4


@pytest.mark.parametrize(
    ("columns", "folds", "said"),
    [
        ({"y": list("abab")}, 1, r"folds is 1\. Expected.*at least 2.*`folds=5`"),
        ({"y": list("abab")}, 2.5, r"folds is 2\.5\."),
        ({"y": [1.0, 2.0, 3.0]}, 4, r"There are 3 samples for 4 folds.*`folds=3`"),
        ({"host": list("aabbcc")}, 4, r"There are 3 values of 'host' for 4 folds.*`folds=3`"),
        ({"host": list("aaa")}, 2, r"There are 1 value of 'host' for 2 folds.*another group"),
        ({"host": ["a", "b", None]}, 2, r"1 sample has no 'host' \(s2\).*study\.keep_samples"),
        ({"y": list("aaaabb")}, 3, r"In .y., 1 class has fewer than 3 samples \(b: 2\).*--min-class-size 3"),
        ({"y": list("aaaab")}, 2, r"In 'y', 1 class has a single sample \(b\).*--min-class-size 2"),
        ({"y": list("aaabb"), "host": list("vwxyy")}, 2, r"In 'y', 1 class occurs in only one value of 'host' \(b\)"),
        # Of three hosts in two folds two share a fold, and each two have a class that no other host has.
        ({"y": list("abacbc"), "host": list("vvwwxx")}, 2, r"No way.*leave_one_group_out\('host', target='y'\)"),
    ],
)
def test_folds_that_cannot_be_had_are_refused(columns: dict[str, list[Any]], folds: Any, said: str) -> None:
    series = {name: named(values, name) for name, values in columns.items()}
    with pytest.raises(SplitError, match=said):
        folds_of(series.get("y"), series.get("host"), folds)


def test_a_categorical_column_with_values_that_no_sample_has_is_split_by() -> None:
    y = named(pd.Categorical(list("aabb"), categories=list("abc")), "y")
    host = named(pd.Categorical(list("vwvw"), categories=list("uvwx")), "host")
    assert sorted(folds_of(y, None, 2)) == [0, 0, 1, 1]
    assert folds_of(y, host, 2).tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])
    assert [value for value, _ in leave_one_group_out(y.index, group=host, target=y)] == ["v", "w"]
    assert score_group(y, host) == score_group(y.astype(str), host.astype(str)) == 0


def test_each_group_is_left_out_once_in_sorted_order() -> None:
    study = named(["550", "10317", "550", "77"], "study")
    found = leave_one_group_out(study.index, group=study, target=named([1.0, 2.0, 3.0, 4.0], "age"))
    assert [(value, mask.tolist()) for value, mask in found] == [
        ("10317", [False, True, False, False]),
        ("550", [True, False, True, False]),
        ("77", [False, False, False, True]),
    ]


@pytest.mark.parametrize(
    ("group", "y", "said"),
    [
        (["a", "a", "a"], None, r"There is 1 value of 'study'.*at least two.*`study\.split\(\)`"),
        (["a", None, "b"], None, r"1 sample has no 'study' \(s1\)"),
        (
            ["a", "a", "b"],
            ["x", "z", "x"],
            r"In 'y', 1 class occurs in only one value of 'study' \(z\).*keep_samples\(~study",
        ),
    ],
)
def test_groups_that_cannot_be_left_out_are_refused(group: list[Any], y: list[str] | None, said: str) -> None:
    study = named(group, "study")
    with pytest.raises(SplitError, match=said):
        leave_one_group_out(study.index, group=study, target=None if y is None else named(y, "y"))


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_a_seed_that_numpy_cannot_draw_from_is_refused(seed: Any) -> None:
    study = with_metadata(y=np.arange(20.0), host=[f"h{i // 2}" for i in range(20)])
    for group in (None, "host"):
        for verb in (study.split, study.folds, lambda **how: study.hold_out(test_size=0.2, **how)):
            with pytest.raises(SplitError, match=rf"seed is {re.escape(repr(seed))}\. Expected .* Try `seed=0`"):
                verb(target="y", group=group, seed=seed)


@pytest.mark.parametrize("test_size", ["a", "0.2", None, True, 0, 1, 1.5, -0.1, float("nan"), [0.2]])
def test_a_size_that_is_no_share_is_refused(test_size: Any) -> None:
    with pytest.raises(SplitError, match=rf"test_size is {re.escape(repr(test_size))}\. Expected a share"):
        with_metadata(y=np.arange(20.0)).split(test_size=test_size)


def test_a_group_that_is_the_target_is_refused() -> None:
    study = with_metadata(diagnosis=list("abcd") * 5)
    verbs = (study.split, study.folds, lambda **how: study.hold_out(test_size=0.2, **how), study.leave_one_group_out)
    for verb in verbs:
        with pytest.raises(SplitError, match=r"The group is the target, 'diagnosis'.*`--group`"):
            verb(target="diagnosis", group="diagnosis")


def test_a_split_by_numbers_of_numpy_can_be_saved(tmp_path: Path) -> None:
    train, _ = with_metadata(y=np.arange(20.0)).split(test_size=np.float32(0.25), seed=np.int64(3))  # type: ignore[arg-type]
    info = Study.load(train.save(tmp_path / "s")).split_info
    assert info == train.split_info
    assert info is not None
    assert (info.test_size, info.seed) == (0.25, 3)


def test_samples_without_a_group_are_refused_with_the_flag_that_drops_them() -> None:
    study = with_metadata(y=np.arange(20.0), day=[None, *(f"d{i % 5}" for i in range(19))])
    with pytest.raises(SplitError, match=r"1 sample has no 'day' \(s0\).*`study\.keep_samples.*`--drop-missing-group`"):
        study.split(target="y", group="day")


def test_masks_of_folds_are_the_folds() -> None:
    study = with_metadata(y=np.arange(30.0), host=[f"h{i % 10}" for i in range(30)])
    for masks, pairs in (
        (study.fold_masks(3, target="y", group="host", seed=4), study.folds(3, target="y", group="host", seed=4)),
        (study.fold_masks(4, seed=1), study.folds(4, seed=1)),
        (study.group_masks("host", target="y"), study.leave_one_group_out("host", target="y")),
    ):
        assert len(masks) == len(pairs)
        for mask, (train, test) in zip(masks, pairs, strict=True):
            assert list(study.sample_ids[mask.test]) == list(test.sample_ids)
            assert list(study.sample_ids[~mask.test]) == list(train.sample_ids)
            assert mask.split == train.split_info


def test_masks_of_folds_warn_as_folds_do() -> None:
    study = with_metadata(y=list("aabb") * 6, host=[f"{c}{i // 8}" for i, c in enumerate("vvww" * 6)])
    with pytest.warns(SplitWarning, match="nearly a function of 'host'") as caught:
        study.fold_masks(2, target="y", group=None)
    assert caught[0].filename == __file__


# -- the order of the samples ------------------------------------------------------------------------------------------


def shuffled(study: Study, seed: int) -> Study:
    """The same samples in another order."""
    return study.keep_samples(study.sample_ids[np.random.default_rng(seed).permutation(study.num_samples)])


@pytest.mark.filterwarnings("ignore::aam_nb.study.confounding.SplitWarning")
@pytest.mark.parametrize("target", [None, "y", "tied", "kind"])
@pytest.mark.parametrize("group", [None, "host"])
def test_sides_depend_on_ids_and_not_on_the_order_of_samples(target: str | None, group: str | None) -> None:
    rng = np.random.default_rng(1)
    study = with_metadata(
        host=rng.integers(20, size=120).astype(str),
        y=rng.normal(size=120),
        tied=rng.integers(3, size=120).astype(float),  # ties of a number are broken by id, too
        kind=rng.choice(["a", "b", "c"], 120),
    )
    for seed in range(3):
        other = shuffled(study, seed)
        sides = [s.split(target=target, group=group, seed=seed) for s in (study, other)]
        folds = [s.folds(4, target=target, group=group, seed=seed) for s in (study, other)]
        for one, two in [sides, *zip(*folds, strict=True)]:
            assert [set(part.sample_ids) for part in one] == [set(part.sample_ids) for part in two]
        for part in sides[1]:  # each side is in the order of its study
            assert list(part.sample_ids) == [i for i in other.sample_ids if i in set(part.sample_ids)]


def test_a_shuffled_file_gives_the_same_split(tmp_path: Path, study: Study) -> None:
    """Rows of the table, rows of the metadata and columns of either in any order."""
    held_out = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows, columns = rng.permutation(study.num_samples), rng.permutation(study.num_asvs)
        counts = pd.DataFrame(study.table.toarray(), study.sample_ids, study.asv_ids).iloc[rows, columns]  # type: ignore[union-attr]
        counts.to_csv(tmp_path / "table.tsv", sep="\t", index_label="sample_id")
        rows = rng.permutation(study.num_samples)
        study.metadata.iloc[rows, ::-1].to_csv(tmp_path / "metadata.tsv", sep="\t")
        read = read_study(tmp_path / "table.tsv", metadata=tmp_path / "metadata.tsv")
        held_out.append(set(read.split(target="age", group="host_id", seed=4)[1].sample_ids))
    assert held_out[0] == held_out[1] == held_out[2]


def test_samples_in_the_order_of_their_ids_are_split_as_always() -> None:
    """Figures of such studies (all simulated ones) do not move: two of ten, drawn by NumPy as written here."""
    study = with_metadata(y=np.zeros(10))
    chosen = np.random.default_rng(7).permutation(10)[:2]
    assert set(study.split(seed=7)[1].sample_ids) == {f"s{i}" for i in chosen}


def test_values_that_all_differ_are_no_classes() -> None:
    study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    study.metadata["age"] = [*map(str, range(15)), "inf"]
    with pytest.raises(SplitError, match=r"each of 16 samples has a value of its own.*`aam-nb info`"):
        study.split(target="age")
