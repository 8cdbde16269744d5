"""Splits: groups never cross, sizes and strata are near those asked, and the same seed gives the same sides."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import balanced_accuracy_score, r2_score

from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.splits import (
    SplitError,
    SplitWarning,
    candidate_groups,
    function_of_group,
    k_fold,
    leave_one_group_out,
    warn_if_function,
)
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


@pytest.mark.filterwarnings("ignore::aam_nb.study.splits.SplitWarning")  # here the class is a function of the host
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
        ({"host": ["a", "b", None]}, 2, r"1 samples have no 'host' \(s2\).*study\.keep_samples"),
        ({"y": list("aaaabb")}, 3, r"1 classes of 'y' have fewer than 3 samples \(b: 2\).*--min-class-size 3"),
        ({"y": list("aaaab")}, 2, r"1 classes of 'y' have a single sample \(b\).*--min-class-size 2"),
        ({"y": list("aaabb"), "host": list("vwxyy")}, 2, r"1 classes of 'y' lie in one value of 'host' each \(b\)"),
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
    assert function_of_group(y, host) == function_of_group(y.astype(str), host.astype(str)) == 0


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
        (["a", None, "b"], None, r"1 samples have no 'study' \(s1\)"),
        (
            ["a", "a", "b"],
            ["x", "z", "x"],
            r"1 classes of 'y' lie in one value of 'study' each \(z\).*keep_samples\(~study",
        ),
    ],
)
def test_groups_that_cannot_be_left_out_are_refused(group: list[Any], y: list[str] | None, said: str) -> None:
    study = named(group, "study")
    with pytest.raises(SplitError, match=said):
        leave_one_group_out(study.index, group=study, target=None if y is None else named(y, "y"))


# -- is the target a function of a group? -----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), min_size=4, max_size=30))
def test_r2_of_a_group_is_that_of_the_mean_of_the_others(rows: list[tuple[int, int]]) -> None:
    kept = [(g, float(y), [v for j, (h, v) in enumerate(rows) if h == g and j != i]) for i, (g, y) in enumerate(rows)]
    kept = [row for row in kept if row[2]]
    found = function_of_group(named([float(y) for _, y in rows], "y"), named([g for g, _ in rows], "g"))
    if len({y for _, y, _ in kept}) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(r2_score([y for _, y, _ in kept], [np.mean(others) for _, _, others in kept]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xy")), min_size=4, max_size=30))
def test_accuracy_of_a_group_is_that_of_the_commonest_of_the_others(rows: list[tuple[int, str]]) -> None:
    """A tie is half right: the mean of deciding every tie for x and every tie for y."""
    kept = [(y, [v for j, (h, v) in enumerate(rows) if h == g and j != i]) for i, (g, y) in enumerate(rows)]
    kept = [row for row in kept if row[1]]
    found = function_of_group(named([y for _, y in rows], "y"), named([g for g, _ in rows], "g"))
    truth = [y for y, _ in kept]
    if len(set(truth)) < 2:
        assert np.isnan(found)
        return
    x_wins = ["x" if others.count("x") >= others.count("y") else "y" for _, others in kept]
    y_wins = ["y" if others.count("y") >= others.count("x") else "x" for _, others in kept]
    assert found == pytest.approx(np.mean([balanced_accuracy_score(truth, guess) for guess in (x_wins, y_wins)]))


def test_values_by_hand() -> None:
    # a: 1 and 3, b: 10 and 12, c alone. Errors of the other one: 2 four times, so R² = 1 - 16 / (30.25+12.25+12.25+30.25).
    assert function_of_group(named([1, 3, 10, 12, 99], "y"), named(list("aabbc"), "g")) == pytest.approx(1 - 16 / 85)
    # Cage 1 is all Air, cage 2 all IHH but for one: of Air 3 of 4 are told (the odd one is not), of IHH 2 of 2.
    y, cage = named(["Air"] * 3 + ["IHH", "IHH", "Air"], "y"), named([1, 1, 1, 2, 2, 2], "cage")
    # In cage 2 an IHH sees one IHH and one Air: a tie, half right. So (3/4 + 1/2) / 2.
    assert function_of_group(y, cage) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert function_of_group(y, named(list("abcdef"), "sample")) != function_of_group(y, cage)


def test_a_function_scores_one_and_chance_scores_like_guessing() -> None:
    rng = np.random.default_rng(0)
    host = named(rng.integers(0, 40, 2000), "host")
    assert function_of_group(host * 2.5, host) == 1
    assert function_of_group(host.map(lambda h: "ab"[h % 2]), host) == 1
    assert abs(function_of_group(named(rng.normal(size=2000), "y"), host)) < 0.1
    assert abs(function_of_group(named(rng.choice(list("abcd"), 2000), "y"), host) - 0.25) < 0.05


def test_names_are_candidates_and_measurements_are_not() -> None:
    rng = np.random.default_rng(0)
    age = rng.integers(0, 60, 240)
    frame = pd.DataFrame(
        {
            "age": age,
            "diagnosis": np.array(["CD", "UC"])[np.arange(240) % 2],
            "host": np.arange(240) // 4 + 1,
            "cage": [f"cage {i // 40}" for i in range(240)],
            "sampled": pd.to_datetime("2020-01-01") + pd.to_timedelta(np.arange(240) // 24, unit="D"),
            "ph": rng.normal(size=240),
            "month": age // 2,
            "sex": rng.choice(["F", "M"], 240),
            "barcode": [f"b{i}" for i in range(240)],
            "subtype": np.array(["ileal CD", "UC", "colonic CD", "UC"])[np.arange(240) % 4],
        }
    )
    assert candidate_groups(frame, "age") == ["host", "cage", "sampled", "subtype"]
    # For a class a month may stand for a host; a subtype is the diagnosis in other words; here every host has both diagnoses.
    assert candidate_groups(frame, "diagnosis") == ["age", "host", "cage", "sampled", "month"]


def sentence(frame: pd.DataFrame, target: str, group: str | None) -> str:
    """The warning, or nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_function(frame[target], frame, group=group)
    assert all(w.category is SplitWarning for w in caught)
    assert len(caught) <= 1
    return str(caught[0].message) if caught else ""


def test_the_cage_is_named_whatever_finer_group_is_kept_whole() -> None:
    """Sixteen mice in four cages, two cages of each treatment."""
    mouse = np.repeat(np.arange(16), 6)
    frame = pd.DataFrame(
        {"treatment": np.array(["Air", "IHH"])[mouse // 4 % 2], "mouse": mouse, "cage": mouse // 4 + 1}
    )
    frame["weight"] = np.random.default_rng(0).normal(size=96)
    for group in (None, "mouse"):
        said = sentence(frame, "treatment", group)
        assert said.startswith("'treatment' is nearly a function of 'cage': ")
        assert "balanced accuracy 1.00 (guessing 0.50)" in said
        assert "Split with `group='cage'` (`--group cage`)" in said
        assert ("mouse would do nearly as well" in said) == (group is None)
    said = sentence(frame, "treatment", "cage")
    assert "the number of its values (4: 2 of Air, 2 of IHH), not of samples (96)" in said
    assert "`study.folds(2, target='treatment', group='cage')`" in said
    assert sentence(frame, "weight", None) == sentence(frame, "weight", "mouse") == ""


def test_a_number_that_some_studies_fix_is_told() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.uniform(18, 80, 400), "study": np.repeat(list("abcd"), 100)})
    assert sentence(frame, "age", None) == ""
    frame.loc[frame["study"] == "b", "age"] = rng.uniform(31, 33, 100)
    said = sentence(frame, "age", None)
    assert said.startswith(
        "'age' is in part a function of 'study': it hardly varies within values that hold 25% of the samples (100 of 'b'"
    )
    assert f"gives R² {function_of_group(frame['age'], frame['study']):.2f}" in said


def test_the_warning_points_at_the_caller_of_the_caller() -> None:
    def split(frame: pd.DataFrame) -> None:
        warn_if_function(frame["y"], frame, group="g")

    frame = pd.DataFrame({"y": list("aabb") * 2, "g": list("vvww") * 2})
    with pytest.warns(SplitWarning, match="nearly a function of 'g'") as caught:
        split(frame)
    assert caught[0].filename == __file__
    with pytest.raises(SplitWarning):  # as everywhere in these tests, a warning that nobody expects is an error
        split(frame)


REAL: list[tuple[str, str, str | None, str | None]] = [
    # study, target, group kept whole, column named (None: no warning)
    ("oral_age", "age", None, "study"),
    ("oral_age", "age", "study", "study"),
    ("sleep_apnea", "exposure_type", None, "cage_number"),
    ("sleep_apnea", "exposure_type", "host_subject_id", "cage_number"),
    ("sleep_apnea", "exposure_type", "cage_number", "cage_number"),
    ("sleep_apnea", "age", "host_subject_id", None),
    ("ecam", "day_of_life", None, None),
    ("ecam", "day_of_life", "host_subject_id", None),
    ("ecam", "delivery", None, "host_subject_id"),
    ("ecam", "delivery", "host_subject_id", "host_subject_id"),
    ("ibd_halfvarson", "diagnosis", None, "host_subject_id"),
    ("ibd_halfvarson", "diagnosis", "host_subject_id", "host_subject_id"),
    ("mackerel", "sample_type", None, None),
    ("mackerel", "sample_type", "host_subject_id", None),
    ("mackerel", "water_temp_c", None, "sampling_date"),
    ("infants_peru", "age_months", None, None),
    ("infants_peru", "sex", None, None),
    ("soils88", "ph", None, None),
    ("soils88", "annual_season_temp", None, None),
    ("soils88", "env_feature", None, None),
    ("moving_pictures", "body_site", None, None),
]


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
    with pytest.raises(
        SplitError, match=r"1 samples have no 'day' \(s0\).*`study\.keep_samples.*`--drop-missing-group`"
    ):
        study.split(target="y", group="day")


@pytest.mark.real
@pytest.mark.parametrize(("name", "target", "group", "named"), REAL)
def test_the_traps_of_real_studies_are_named_and_nothing_else(
    real_data: Path, name: str, target: str, group: str | None, named: str | None
) -> None:
    text = pd.read_csv(real_data / name / f"{name}.tsv", sep="\t", index_col=0, dtype=str)
    frame = text.apply(lambda c: n if (n := pd.to_numeric(c, errors="coerce")).notna().sum() == c.notna().sum() else c)
    said = sentence(frame[frame[target].notna()], target, group)
    assert (f"function of {named!r}: " in said) if named else said == ""
