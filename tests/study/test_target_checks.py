"""Checks of a target: what is refused, what is told, and what is left in peace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aam_nb.study.errors import TargetError
from aam_nb.study.splits import SplitError, hold_out
from aam_nb.study.target_checks import (
    TargetWarning,
    as_names,
    find_copies,
    refuse_target_among,
    refuse_unknown_classes,
    tell_near_classes,
    tell_two_numbers,
)

RNG = np.random.default_rng(0)
AGE = pd.Series(RNG.permutation(np.linspace(20, 80, 48)))
SMOKER = pd.Series(["TRUE", "FALSE", "FALSE"] * 16)
COPIES: dict[str, tuple[pd.Series, pd.Series]] = {
    "one to one": (SMOKER, (SMOKER == "TRUE").astype(int)),
    "one to one, with a missing value": (SMOKER, SMOKER.map({"TRUE": 20.0, "FALSE": None})),
    "opposite words": (SMOKER, SMOKER.map({"TRUE": "no", "FALSE": "yes"})),
    "finer classes": (SMOKER, pd.Series([f"{s}{i % 4}" for i, s in enumerate(SMOKER)])),
    "months": (AGE, AGE * 12),
    "rounded": (AGE, AGE.round()),
    "born": (AGE, 2026 - AGE),
    "logarithm": (AGE, np.log(AGE)),
    "tiny unit": (AGE * 1e-12, AGE),
    "date": (AGE, pd.to_datetime("2020-01-01") + pd.to_timedelta(AGE, unit="D")),
    "bins": (AGE, pd.cut(AGE, [0, 40, 60, 90]).astype(str)),
    "number behind classes": ((AGE > 50).astype(str), AGE),
}
OTHERS: dict[str, tuple[pd.Series, pd.Series]] = {
    "noise": (AGE, pd.Series(RNG.normal(size=48))),
    "related": (AGE, AGE + RNG.normal(size=48) * 20),
    "names of samples": (SMOKER, pd.Series([f"S{i}" for i in range(48)])),
    "other classes": (SMOKER, pd.Series(["a", "b"] * 24)),
    "almost": (SMOKER, SMOKER.where(SMOKER.index != 5, "TRUE")),
    "constant": (AGE, pd.Series([1.0] * 48)),
    "all missing": (AGE, pd.Series([np.nan] * 48)),
    "three samples": (AGE[:3], AGE[:3] * 12),
}


@pytest.mark.parametrize("case", COPIES)
def test_the_target_in_other_words_is_found(case: str) -> None:
    target, column = COPIES[case]
    assert list(find_copies(pd.DataFrame({"target": target, "column": column}), "target", ["target", "column"])) == [
        "column"
    ]


@pytest.mark.parametrize("case", OTHERS)
def test_other_columns_are_not(case: str) -> None:
    target, column = OTHERS[case]
    assert find_copies(pd.DataFrame({"target": target, "column": column}), "target", ["column"]) == {}


def test_a_target_among_the_covariates_is_refused() -> None:
    refuse_target_among(["age"], ["season"])
    with pytest.raises(TargetError, match=r"'age' is both target and covariate.*`--covariates`"):
        refuse_target_among(["bmi", "age"], ["season", "age"])


@pytest.mark.parametrize("value", [5, [1], None, {"a": 1}])
def test_columns_are_names(value: object) -> None:
    assert as_names("season", "covariates") == ("season",)
    with pytest.raises(TargetError, match="Expected a list of metadata columns"):
        as_names(value, "covariates")


def test_a_group_that_names_the_classes_is_refused() -> None:
    target, group = SMOKER.rename("smoker"), COPIES["one to one"][1].rename("status01")
    ids = pd.Index([f"S{i}" for i in range(48)])
    with pytest.raises(SplitError, match="'smoker' in other words: each value of 'status01' has one of 'smoker'"):
        hold_out(ids, target=target, group=group, test_size=0.25, seed=0)


@pytest.mark.parametrize(
    ("known", "here", "fix"),
    [
        (["FALSE", "TRUE"], ["True", "False"], "'True': 'TRUE'"),
        (["FALSE", "TRUE"], ["yes", "no"], "'yes': 'TRUE'"),
        (["0", "1"], ["No", "Yes"], "'No': '0'"),
        (["animal", "plant"], ["Animal ", "plant"], "'Animal ': 'animal'"),
        (["animal", "plant"], ["fungus", "plant"], "Leave those samples out"),
    ],
)
def test_unknown_classes_are_refused_with_the_spelling_that_is_known(
    known: list[str], here: list[str], fix: str
) -> None:
    refuse_unknown_classes(pd.Series([*known, None], dtype=object), known, "x")
    with pytest.raises(TargetError, match="not in training") as caught:
        refuse_unknown_classes(pd.Series(here * 2, dtype=object), known, "x")
    assert fix in str(caught.value)


def test_two_numbers_and_near_classes_are_told() -> None:
    with pytest.warns(TargetWarning, match="'x' holds two numbers alone, 0 and 1.*`--task classification`"):
        tell_two_numbers(pd.Series([0, 1, 1], name="x"))
    with pytest.warns(TargetWarning, match="'yes'.* and 'Yes'"):
        tell_near_classes(pd.Series(["yes", "yes", "Yes", "no"], name="x"))
    tell_two_numbers(pd.Series([0, 1, 2], name="x"))
    tell_near_classes(pd.Series(["yes", "no"], name="x"))
