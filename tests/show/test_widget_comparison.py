"""The explorer of a comparison: its numbers are those of plain loops, for numbers and classes, repeats and groups held out."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import aam_nb as aam
from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.show.widgets.comparison import ComparisonExplorer, by_sample, compare
from aam_nb.show.widgets.twin import ExplorerError
from aam_nb.study.study import Study

HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'
QUICKLY = {"num_trees": 10, "num_permutations": 19, "num_resamples": 20, "tune": False}


@pytest.fixture(scope="module")
def numbers(study: Study) -> Comparison:
    """Two repeats."""
    contenders = ["random_forest", "ridge_clr", "dummy"]
    return aam.compare(contenders, study, target="age", group="host_id", folds=2, repeats=2, **QUICKLY)


@pytest.fixture(scope="module")
def classes(study: Study) -> Comparison:
    """Two repeats."""
    contenders = ["random_forest", "depth_only", "dummy"]
    return aam.compare(contenders, study, target="season", group="host_id", folds=2, repeats=2, **QUICKLY)


@pytest.fixture(scope="module")
def groups(study: Study) -> Comparison:
    """Each value of a group held out in turn."""
    settings = QUICKLY | {"scheme": "leave_one_group_out"}
    return aam.compare(["random_forest", "dummy"], study, target="age", group="season", **settings)


@pytest.fixture
def explorer(numbers: Comparison, study: Study) -> ComparisonExplorer:
    return compare(numbers, study)


# -- by sample ------------------------------------------------------------------------------------------------------------


def test_repeats_are_averaged(numbers: Comparison) -> None:
    pairs = by_sample(numbers)
    for sample in pairs.index[:10]:
        rows = numbers.predictions.loc[[sample]]
        assert len(rows) == 2
        for name in numbers.contenders:
            guesses = [float(v) for v in rows[name]]
            truth = float(rows["truth"].iloc[0])
            assert pairs.loc[sample, (name, "prediction")] == pytest.approx(sum(guesses) / 2)
            assert pairs.loc[sample, (name, "error")] == pytest.approx(sum(abs(truth - g) for g in guesses) / 2)


def test_an_error_of_classes_is_one_minus_the_chance_of_the_truth(classes: Comparison) -> None:
    pairs, table = by_sample(classes), classes.probabilities
    for sample in pairs.index[:10]:
        truth = pairs.loc[sample, ("truth", "")]
        for name in classes.contenders:
            rows = table[(table.index == sample) & (table["contender"] == name)]
            assert pairs.loc[sample, (name, "error")] == pytest.approx(1 - rows[f"p({truth})"].mean())
            votes = Counter(classes.predictions.loc[[sample], name])
            assert votes[pairs.loc[sample, (name, "prediction")]] == max(votes.values())


def test_a_class_that_was_not_taught_has_no_chance(classes: Comparison) -> None:
    truth = str(classes.predictions["truth"].iloc[0])
    table = classes.probabilities
    missing = table.assign(**{f"p({truth})": np.where(table["contender"] == "dummy", np.nan, table[f"p({truth})"])})
    pairs = by_sample(replace(classes, probabilities=missing))
    mine = (pairs["truth", ""] == truth).to_numpy()
    assert (pairs["dummy", "error"][mine] == 1).all()
    pd.testing.assert_series_equal(
        pairs["random_forest", "error"], by_sample(classes)["random_forest", "error"], check_names=False
    )
    without = by_sample(replace(classes, probabilities=table.drop(columns=f"p({truth})")))
    assert (without["random_forest", "error"][mine] == 1).all()


def test_groups_held_out_in_turn_give_each_sample_once(groups: Comparison, study: Study) -> None:
    explorer = compare(groups, study)
    assert sorted(explorer.data["samples"]) == sorted(study.sample_ids)
    assert explorer.data["repeats"] == 1
    truth = study.metadata["age"].loc[explorer.data["samples"]]
    assert explorer.data["truth"] == pytest.approx(list(truth), rel=1e-4)


# -- what is drawn --------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_comparison(explorer: ComparisonExplorer, numbers: Comparison) -> None:
    assert {c["name"] for c in explorer.data["contenders"]} == set(numbers.contenders)
    for contender in explorer.data["contenders"]:
        for metric, sent in contender["scores"].items():
            row = numbers.row(contender["name"], metric)
            assert sent == pytest.approx([row["value"], row["low"], row["high"]], rel=1e-3)


def test_it_opens_with_the_reference_and_another(explorer: ComparisonExplorer, numbers: Comparison) -> None:
    assert (explorer.a, explorer.b) == (numbers.reference, "ridge_clr")
    assert explorer.metric == "r2"


def test_the_table_is_sorted_by_disagreement_of_the_pair(explorer: ComparisonExplorer) -> None:
    explorer.b = "dummy"
    table = explorer.to_frame()
    assert table["gap"].is_monotonic_decreasing
    assert table["gap"].to_numpy() == pytest.approx(
        (table["error of random_forest"] - table["error of dummy"]).abs().to_numpy()
    )


def test_twenty_contenders_are_shown(numbers: Comparison) -> None:
    names = [f"model {k}" for k in range(20)]
    rows = numbers.scores[numbers.scores["contender"] == "random_forest"]
    predictions = numbers.predictions[["repeat", "fold", "truth"]].assign(
        **{n: numbers.predictions["random_forest"] + k for k, n in enumerate(names)}
    )
    many = replace(
        numbers,
        reference=names[0],
        scores=pd.concat([rows.assign(contender=n) for n in names]),
        differences=pd.concat([numbers.differences.iloc[[0]].assign(contender=n) for n in names[1:]]),
        null=pd.concat([numbers.null.iloc[[0]].assign(contender=n) for n in names]),
        predictions=predictions,
    )
    explorer = compare(many)
    explorer.b = names[-1]
    assert len(explorer.data["contenders"]) == 20
    assert names[-1] in explorer.to_frame().columns
    assert len(explorer.figure().axes) == 2


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("a", "lasso", "a is 'lasso'. Expected one of the contenders: random_forest, ridge_clr, dummy"),
        ("b", "", "b is ''"),
        ("metric", "rmse", "metric is 'rmse'. Expected one of the metrics: r2, mae, spearman"),
        ("color", "ph", "color is 'ph'. Expected one of the columns"),
        ("show", "both", "show is 'both'. Expected one of the views of a regression: errors, predictions"),
    ],
)
def test_a_bad_value_is_an_error_in_python_and_shown_in_the_browser(
    explorer: ComparisonExplorer, trait: str, value: str, message: str
) -> None:
    before = getattr(explorer, trait)
    with pytest.raises(ExplorerError, match=re.escape(message)):
        setattr(explorer, trait, value)
    explorer.set_state({trait: value})
    assert message in explorer.error
    assert getattr(explorer, trait) == before


def test_classes_have_no_predictions_to_draw(classes: Comparison) -> None:
    with pytest.raises(ExplorerError, match="views of a classification: errors"):
        compare(classes).show = "predictions"


def test_a_study_without_the_evaluated_samples_is_refused(numbers: Comparison, sides: tuple[Study, Study]) -> None:
    with pytest.raises(ExplorerError, match="36 of 48 evaluated samples are not in the study"):
        compare(numbers, sides[1])


# -- twin and files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("csv", b"sample_id,"), ("html", b"<!doctype html>")])
def test_it_is_written_to_files(classes: Comparison, tmp_path: Path, kind: str, start: bytes) -> None:
    assert compare(classes).export(tmp_path / f"compared.{kind}").read_bytes().startswith(start)


def test_names_from_files_are_text(classes: Comparison, study: Study) -> None:
    models = {m: HOSTILE + m for m in classes.contenders}
    names = {c: HOSTILE + c for c in ("spring", "summer", "autumn", "winter")}
    ids = {i: HOSTILE + i for i in study.sample_ids}
    chances = {f"p({c})": f"p({n})" for c, n in names.items()}
    hostile = replace(
        classes,
        target=HOSTILE,
        reference=models[classes.reference],
        scores=classes.scores.replace({"contender": models}),
        differences=classes.differences.replace({"contender": models}),
        null=classes.null.replace({"contender": models}),
        folds=classes.folds.replace({"contender": models}),
        predictions=classes.predictions.rename(columns=models, index=ids).replace(names),
        probabilities=classes.probabilities.rename(columns=chances, index=ids).replace({"contender": models}),
        notes=(HOSTILE,),
    )
    seasons = study.metadata["season"].replace(names)
    metadata = study.metadata.assign(season=seasons).rename(index=ids, columns={"season": HOSTILE})
    explorer = compare(hostile, Study(study.table, pd.Index(metadata.index), study.asv_ids, metadata))
    page = explorer.page()
    for text in (explorer._repr_html_(), page):
        assert "<img src=x" not in text
        assert "<script>alert" not in text
    state = re.search(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert state is not None
    assert json.loads(state[1])["data"]["contenders"][0]["name"].startswith(HOSTILE)
    own = {c["name"]: c["errors"] for c in compare(classes).data["contenders"]}
    assert {c["name"]: c["errors"] for c in explorer.data["contenders"]} == {models[m]: e for m, e in own.items()}
