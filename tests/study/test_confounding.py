"""Which columns give the target away, and the warning of it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, r2_score

from aam_nb.study.confounding import (
    SplitWarning,
    describe_confounding,
    find_candidate_groups,
    score_group,
    warn_if_confounded,
)


def named(values: Any, name: str) -> pd.Series:
    values = pd.Series(values, name=name)
    return values.set_axis([f"s{i}" for i in range(len(values))])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), min_size=4, max_size=30))
def test_r2_of_a_group_is_that_of_the_mean_of_the_others(rows: list[tuple[int, int]]) -> None:
    kept = [(g, float(y), [v for j, (h, v) in enumerate(rows) if h == g and j != i]) for i, (g, y) in enumerate(rows)]
    kept = [row for row in kept if row[2]]
    found = score_group(named([float(y) for _, y in rows], "y"), named([g for g, _ in rows], "g"))
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
    found = score_group(named([y for _, y in rows], "y"), named([g for g, _ in rows], "g"))
    truth = [y for y, _ in kept]
    if len(set(truth)) < 2:
        assert np.isnan(found)
        return
    x_wins = ["x" if others.count("x") >= others.count("y") else "y" for _, others in kept]
    y_wins = ["y" if others.count("y") >= others.count("x") else "x" for _, others in kept]
    assert found == pytest.approx(np.mean([balanced_accuracy_score(truth, guess) for guess in (x_wins, y_wins)]))


def test_values_by_hand() -> None:
    # a: 1 and 3, b: 10 and 12, c alone. Errors of the other one: 2 four times, so R² = 1 - 16 / (30.25+12.25+12.25+30.25).
    assert score_group(named([1, 3, 10, 12, 99], "y"), named(list("aabbc"), "g")) == pytest.approx(1 - 16 / 85)
    # Cage 1 is all Air, cage 2 all IHH but for one: of Air 3 of 4 are told (the odd one is not), of IHH 2 of 2.
    y, cage = named(["Air"] * 3 + ["IHH", "IHH", "Air"], "y"), named([1, 1, 1, 2, 2, 2], "cage")
    # In cage 2 an IHH sees one IHH and one Air: a tie, half right. So (3/4 + 1/2) / 2.
    assert score_group(y, cage) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert score_group(y, named(list("abcdef"), "sample")) != score_group(y, cage)


def test_a_function_scores_one_and_chance_scores_like_guessing() -> None:
    rng = np.random.default_rng(0)
    host = named(rng.integers(0, 40, 2000), "host")
    assert score_group(host * 2.5, host) == 1
    assert score_group(host.map(lambda h: "ab"[h % 2]), host) == 1
    assert abs(score_group(named(rng.normal(size=2000), "y"), host)) < 0.1
    assert abs(score_group(named(rng.choice(list("abcd"), 2000), "y"), host) - 0.25) < 0.05


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
    assert find_candidate_groups(frame, "age") == ["host", "cage", "sampled", "subtype"]
    # For a class a month may stand for a host; a subtype is the diagnosis in other words; here every host has both diagnoses.
    assert find_candidate_groups(frame, "diagnosis") == ["age", "host", "cage", "sampled", "month"]


def sentence(frame: pd.DataFrame, target: str, group: str | None) -> str:
    """The warning, or nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_confounded(frame[target], frame, group=group)
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
    assert f"gives R² {score_group(frame['age'], frame['study']):.2f}" in said


def test_the_warning_points_at_the_caller_of_the_caller() -> None:
    def split(frame: pd.DataFrame) -> None:
        warn_if_confounded(frame["y"], frame, group="g")

    frame = pd.DataFrame({"y": list("aabb") * 2, "g": list("vvww") * 2})
    with pytest.warns(SplitWarning, match="nearly a function of 'g'") as caught:
        split(frame)
    assert caught[0].filename == __file__
    with pytest.raises(SplitWarning):  # as everywhere in these tests, a warning that nobody expects is an error
        split(frame)


def test_columns_that_cannot_be_held_out_are_told() -> None:
    n = 40
    sick = np.array(["case", "control"] * (n // 2), dtype=object)
    table = pd.DataFrame(
        {
            "sick": sick,
            "lab": np.where(sick == "case", "X", "Y"),  # two values
            "site": np.where(sick == "case", "north", np.tile(["south", "east"], n // 2)),  # one value for all cases
            "coin": np.random.default_rng(0).choice(["h", "t"], n),
            "weight": np.random.default_rng(1).normal(size=n) + 9 * (sick == "case"),  # a measurement
            "name": [f"s{i}" for i in range(n)],
            "same": "x",
        }
    )
    found = describe_confounding(table, "sick")
    assert found is not None
    assert found.startswith("'sick' cannot be distinguished from lab, site:")
    assert describe_confounding(table.drop(columns=["lab", "site"]), "sick") is None
    table["lab"] = np.where(np.arange(n) < 2, "Y", table["lab"])  # a slip in two rows hides nothing
    assert "from lab, site" in str(describe_confounding(table, "sick"))


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


@pytest.mark.real
@pytest.mark.parametrize(("name", "target", "group", "named"), REAL)
def test_the_traps_of_real_studies_are_named_and_nothing_else(
    real_data: Path, name: str, target: str, group: str | None, named: str | None
) -> None:
    text = pd.read_csv(real_data / name / f"{name}.tsv", sep="\t", index_col=0, dtype=str)
    frame = text.apply(lambda c: n if (n := pd.to_numeric(c, errors="coerce")).notna().sum() == c.notna().sum() else c)
    said = sentence(frame[frame[target].notna()], target, group)
    assert (f"function of {named!r}: " in said) if named else said == ""
