"""Comparisons end to end: the same folds for all, leaks told, ties called ties, and nothing done twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import QUICK, TINY
from sklearn.metrics import r2_score

import aam_nb as aam
from aam_nb.config import CompareConfig, ConfigError
from aam_nb.evaluate.comparison.compare import compare
from aam_nb.evaluate.comparison.contenders import Recipe
from aam_nb.evaluate.comparison.cross_validation import CompareError, watch_memory
from aam_nb.evaluate.comparison.result import Comparison
from aam_nb.evaluate.comparison.significance import corrected_t_test
from aam_nb.study.atomic import NotWrittenError
from aam_nb.study.errors import TargetError, UnknownIdError
from aam_nb.study.study import Study

FAST = CompareConfig(folds=3, inner_folds=2, num_trees=10, num_resamples=60, num_permutations=99)
RECIPE = Recipe(model=TINY, pretrain=QUICK, fit=QUICK)
MEASURED = ["fit_seconds", "predict_seconds", "seconds", "memory_mb"]


def run(contenders: list[str] | dict[str, str], study: Study, target: str = "age", **settings: object) -> Comparison:
    given: dict = {"config": FAST, "recipe": RECIPE, "progress": False} | settings
    return compare(contenders, study, target=target, **given)


def alike(one: Comparison, other: Comparison) -> None:
    """All but what was measured is the same, to the bit."""
    for name in ("scores", "folds", "predictions", "probabilities", "differences", "null"):
        a, b = (getattr(c, name).drop(columns=MEASURED, errors="ignore") for c in (one, other))
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert repr(one) == repr(other)


@pytest.fixture(scope="module")
def result(study: Study) -> Comparison:
    names, recipe = ["aam", "ridge_clr", "dummy", "group_lookup"], replace(RECIPE, pretrain=None)
    return run(names, study, group="host_id", recipe=recipe)


@pytest.fixture(scope="module")
def leaky(study: Study) -> Study:
    """A target that is a function of the host and of no microbe."""
    code = pd.factorize(study.metadata["host_id"])[0]
    value = np.random.default_rng(0).permutation(12)[code] + np.random.default_rng(1).normal(0, 0.05, study.num_samples)
    return replace(study, metadata=study.metadata.assign(level=value))


# -- what it says -------------------------------------------------------------------------------------------------------


def test_all_have_the_same_folds(result: Comparison, study: Study) -> None:
    pairs = study.folds(3, target="age", group="host_id", seed=0)
    for _, test in pairs:
        assert test.split_info is not None
        rows = result.predictions["fold"] == test.split_info.fold
        assert set(result.predictions.index[rows]) == set(test.sample_ids)
    assert result.contenders == ["aam", "ridge_clr", "dummy", "group_lookup"]
    assert result.predictions[result.contenders].notna().all(axis=None)
    assert len(result.predictions) == study.num_samples
    hosts = study.metadata["host_id"].loc[result.predictions.index]
    assert (result.predictions.groupby(hosts.to_numpy())["fold"].nunique() == 1).all()


def test_numbers_follow_from_the_predictions(result: Comparison) -> None:
    table = result.predictions
    assert result.reference == "aam"
    for name in result.contenders:
        assert result.value(name) == pytest.approx(r2_score(table["truth"], table[name]))
    for row in result.differences.to_dict("records"):
        assert row["difference"] == pytest.approx(result.value("aam") - result.value(row["contender"]))
        assert row["low"] <= row["difference"] <= row["high"]
        by_fold, sizes = [], []
        for _, part in table.groupby("fold"):
            errors = [((part["truth"] - part[n]) ** 2).mean() for n in ("aam", row["contender"])]
            by_fold.append((errors[1] - errors[0]) / table["truth"].var(ddof=0))
            sizes.append(len(part) / (len(table) - len(part)))
        assert row["p"] == pytest.approx(corrected_t_test(by_fold, float(np.mean(sizes))))
    own = result.folds[(result.folds["contender"] == "aam") & (result.folds["metric"] == "mae")]
    for row in own.to_dict("records"):
        part = table[table["fold"] == row["fold"]]
        assert row["value"] == pytest.approx((part["truth"] - part["aam"]).abs().mean())
        assert row["num_train"] + row["num_test"] == len(table)
    assert result.row("aam", "mae")["fold_mean"] == pytest.approx(own["value"].mean())
    assert result.row("aam")["seconds"] > 0


def test_a_group_held_out_is_not_looked_up(result: Comparison) -> None:
    """New hosts get the mean of the training side: the lookup is the dummy."""
    assert result.predictions["group_lookup"].to_numpy() == pytest.approx(result.predictions["dummy"].to_numpy())
    assert any("looked up host_id" in w for w in result.warnings())


def test_the_planted_leak_is_told(leaky: Study) -> None:
    found = run(["ridge_clr", "group_lookup", "dummy"], leaky, "level")
    assert found.value("group_lookup") > 0.9
    assert found.value("group_lookup") > found.value("ridge_clr")
    warned = found.warnings()
    assert any("group_lookup" in w and "is not shown" in w for w in warned)
    assert any("nearly a function of 'host_id'" in w for w in warned)
    assert any("group='host_id'" in w for w in warned)
    assert any("looked up host_id" in w for w in warned)
    assert "group_lookup" in found.sentence()


def test_equal_contenders_are_tied(study: Study) -> None:
    found = run({"one": "ridge_clr", "other": "ridge_clr"}, study, group="host_id")
    row = found.differences.iloc[0]
    assert (row["difference"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)
    assert row["verdict"] == "tied"
    assert "It is tied with other (difference 0.000 [0.000, 0.000], p = 1.000)." in found.sentence()
    assert "beats" not in found.sentence()


def test_classes_and_repeats(study: Study) -> None:
    old = pd.Series(np.where(study.metadata["age"] > 55, "NA", "old, or so"), index=study.sample_ids).mask(
        study.metadata["age"] > 70
    )
    some = replace(study, metadata=study.metadata.assign(stage=old))
    found = run(["svm", "dummy"], some, "stage", repeats=2)
    n = int(old.notna().sum())
    assert found.num_samples == n
    assert len(found.predictions) == 2 * n
    assert any(f"left out: {study.num_samples - n} sample" in w for w in found.warnings())
    assert found.metric == "balanced_accuracy"
    assert list(found.probabilities.columns) == ["repeat", "contender", "p(NA)", "p(old, or so)"]
    assert np.allclose(found.probabilities[["p(NA)", "p(old, or so)"]].sum(axis=1), 1)
    first, second = (found.predictions[found.predictions["repeat"] == r] for r in (1, 2))
    assert (first["fold"] != second["fold"]).any()
    recalls = [
        np.mean([(part["svm"] == c)[part["truth"] == c].mean() for c in ("NA", "old, or so")])
        for part in (first, second)
    ]
    assert found.value("svm") == pytest.approx(np.mean(recalls))
    assert len(found.folds) == 2 * 2 * 3 * 3  # contenders, repeats, folds, metrics


def test_one_group_out_at_a_time(study: Study) -> None:
    few = study.keep_samples(study.metadata["host_id"].isin(["host000", "host001", "host002"]).to_numpy())
    flat = few.metadata["age"].where(few.metadata["host_id"] != "host001", 50.0)
    found = run(
        ["ridge_clr", "dummy"],
        replace(few, metadata=few.metadata.assign(age=flat)),
        group="host_id",
        scheme="leave_one_group_out",
    )
    assert sorted(found.predictions["fold"].unique()) == [f"host_id = host00{k}" for k in range(3)]
    warned = found.warnings()
    assert any("constant" in w and "1 of 3" in w for w in warned)
    assert any("rest on 3 values of host_id" in w for w in warned)
    assert any("12 samples are few" in w for w in warned)
    within = found.folds[(found.folds["metric"] == "r2") & (found.folds["contender"] == "dummy")]
    assert within["value"].isna().sum() == 1
    assert found.differences["p"].notna().all()  # the test does without R² within a fold


def test_small_classes_are_told(study: Study) -> None:
    rare = np.array(["common"] * 40 + ["rare"] * 8)
    found = run(["dummy"], replace(study, metadata=study.metadata.assign(k=rare)), "k")
    assert any("1 of 2 classes have fewer than 10 samples (rare: 8)" in w for w in found.warnings())


def test_what_it_shows(result: Comparison, tmp_path: Path) -> None:
    assert repr(result).startswith("Comparison(age, 48 samples, 12 of host_id: r2 ")
    frame = result.to_frame()
    assert list(frame.index) == sorted(result.contenders, key=lambda c: -result.value(c))
    assert frame.loc["aam", "verdict"] == "reference"
    odd = replace(result, notes=("<script>alert(1)</script>",))
    assert "<script>" not in odd._repr_html_()
    result.save(tmp_path / "kept")
    back = Comparison.load(tmp_path / "kept")
    alike(result, back)
    assert back.config == result.config
    values = json.loads((tmp_path / "kept" / "comparison.json").read_text())
    assert values["sentence"] == result.sentence()
    with pytest.raises(UnknownIdError, match="There is no 'auroc' of 'aam'"):
        result.row("aam", "auroc")


def test_one_that_knows_nothing_and_scores_below_guessing_is_explained(study: Study) -> None:
    """Twelve of each class, a fold short of one class has a training side that is rich in it: the dummy says what its test side is not."""
    some_of = study.keep_samples(study.sample_ids[:24])
    even = replace(some_of, metadata=some_of.metadata[["host_id"]].assign(k=np.tile(["a", "b"], 12)))
    found = run(["ridge_clr", "dummy"], even, "k", folds=5)
    hits = [(p["dummy"] == c)[p["truth"] == c].mean() for p in [found.predictions] for c in "ab"]
    assert found.value("dummy") == pytest.approx(np.mean(hits))
    told = [w for w in found.warnings() if "below guessing" in w]
    assert len(told) == (found.value("dummy") < 0.48)
    assert found.row("dummy")["fold_mean"] == pytest.approx(0.5)  # within a fold it is one class after all
    assert found.row("ridge_clr")["low"] < 0.5
    assert any(w.startswith("ridge_clr is not shown to do better than guessing") for w in found.warnings())


def test_many_of_one_verdict_are_summed_up(result: Comparison) -> None:
    row = result.differences.iloc[0].to_dict() | {"verdict": "better", "low": 0.1, "high": 0.9}
    rows = [row | {"contender": f"m{i}", "difference": 0.2 + i / 10, "p_holm": i / 1e4} for i in range(5)]
    many = replace(result, differences=pd.DataFrame(rows))
    assert "It beats m0 (+0.2), m1 (+0.3), m2 (+0.4), m3 (+0.5) and m4 (+0.6); largest p < 0.001." in many.sentence()
    few = replace(result, differences=pd.DataFrame(rows[:2]))
    assert "It beats m0 (difference 0.200 [0.100, 0.900], p < 0.001) and m1" in few.sentence()


def test_a_target_that_is_a_lab_is_told(study: Study) -> None:
    old = np.where(study.metadata["age"] > study.metadata["age"].median(), "old", "young")
    trap = study.metadata.assign(k=old, lab=np.where(old == "old", "X", "Y"))
    found = run(["ridge_clr", "dummy"], replace(study, metadata=trap), "k", group="host_id")
    assert any(w.startswith("'k' cannot be distinguished from lab") for w in found.warnings())
    assert any("12 values of host_id: so few that they are too narrow" in w for w in found.warnings())


# -- what it keeps ------------------------------------------------------------------------------------------------------


def test_finished_folds_are_not_done_twice(study: Study, tmp_path: Path) -> None:
    names = ["ridge_clr", "random_forest", "dummy"]
    plain = run(names, study)
    first = run(names, study, out=tmp_path)
    alike(plain, first)
    files = sorted((tmp_path / "folds").glob("*.json"))
    assert len(files) == 9
    files[0].unlink()  # never finished
    files[1].write_text('{"facts": ')  # damaged
    tables = [f.with_suffix(".csv") for f in files[2:5]]
    tables[0].write_text("\n".join(tables[0].read_text().split("\n")[:-2]) + "\n")  # a sample is missing
    tables[1].write_text(tables[1].read_text()[:-4])  # the last number is cut
    tables[2].write_text("")
    said = json.loads(files[5].read_text())
    assert said.pop("sha256")
    files[5].write_text(json.dumps(said))  # without a digest of the table it is taken as it is
    old = {f: f.stat().st_mtime_ns for f in files[5:]}
    again = run(names, study, out=tmp_path)
    alike(plain, again)
    assert {f: f.stat().st_mtime_ns for f in files[5:]} == old
    assert files[0].is_file()
    run(names, study, out=tmp_path, num_permutations=199)  # nothing to fit for that
    assert {f: f.stat().st_mtime_ns for f in files[5:]} == old
    other = run(["dummy"], study, out=tmp_path, seed=1)
    assert any("fits of other comparisons" in note for note in other.notes)
    assert not any("other comparisons" in note for note in first.notes)
    assert len([*(tmp_path / "folds").glob("*.json")]) > 9
    assert Comparison.load(tmp_path).contenders == ["dummy"]


@pytest.mark.slow
def test_processes_change_nothing(study: Study) -> None:
    names = ["aam_no_pretraining", "random_forest", "knn_unifrac"]
    alike(run(names, study, folds=2), run(names, study, folds=2, jobs=2))


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and what they start, ignore it
import aam_nb as aam
from aam_nb.config import CompareConfig
from aam_nb.evaluate.comparison.compare import compare
study = aam.Study.load(sys.argv[1])
config = CompareConfig(folds=3, inner_folds=2, num_trees=200, num_resamples=60, num_permutations=99)
compare(["ridge_clr", "random_forest", "dummy"], study, target="age", config=config, out=sys.argv[2], progress=False)
"""


@pytest.mark.slow
def test_interrupted_and_gone_on(study: Study, tmp_path: Path) -> None:
    """Ctrl-C after a few fits: they are kept, and the next call does the rest, to the same result."""
    study.save(tmp_path / "study")
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "study"), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 60
        while not [*out.glob("folds/*.json")] and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    assert "the same call, with the same `out`, goes on from there" in said
    kept = {f: f.stat().st_mtime_ns for f in out.glob("folds/*.json")}
    assert 1 <= len(kept) < 9
    assert not (out / "comparison.json").exists()
    names = ["ridge_clr", "random_forest", "dummy"]
    study = Study.load(tmp_path / "study")
    gone_on = run(names, study, out=out, num_trees=200)
    assert {f: f.stat().st_mtime_ns for f in kept} == kept
    alike(gone_on, run(names, study, num_trees=200))


def test_memory_is_seen() -> None:
    """Beside what the system says of this process; it may take other memory back at the same time."""

    def in_use() -> float:
        return psutil.Process().memory_info().rss / 2**20

    before = in_use()
    with watch_memory() as most:
        x = np.ones(300 * 2**20 // 8)
        time.sleep(0.1)
        during = in_use()
        del x
    assert during - before > 100
    assert most() == pytest.approx(during - before, abs=60)


# -- what it refuses ----------------------------------------------------------------------------------------------------


def test_what_cannot_be_compared(study: Study) -> None:
    with pytest.raises(TargetError, match="Expected one column"):
        run(["dummy"], study, target=["age"])  # type: ignore[arg-type]
    with pytest.raises(UnknownIdError):
        run(["dummy"], study, target="none")
    with pytest.raises(UnknownIdError):
        run(["dummy"], study, block="none")
    with pytest.raises(CompareError, match="there is no group"):
        run(["dummy"], study, scheme="leave_one_group_out")
    with pytest.raises(ConfigError, match="is not a setting of CompareConfig"):
        run(["dummy"], study, trees=3)
    with pytest.raises(ConfigError, match="repeats is 2"):
        CompareConfig(scheme="leave_one_group_out", repeats=2)
    broken = replace(RECIPE, objectives=("taxonomy",))  # which the study has not
    with pytest.raises(CompareError, match="aam could not be fitted \\(fold 1 of 3\\)"):
        run(["aam"], study, recipe=broken)
    assert aam.ConfigError is ConfigError


def test_what_would_fail_late_fails_at_the_door(study: Study, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="'age' is both target and covariate"):
        run(["ridge_clr"], study, covariates=["diet", "age"])
    with pytest.raises(CompareError, match=r"The study is list\. Expected a study, after the contenders"):
        run(study, ["dummy"])  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWrittenError, match="cannot be written"):
        run(["dummy"], study, out=tmp_path / "file")
    one = run(["ridge_clr"], study, covariates="diet")
    pd.testing.assert_frame_equal(one.predictions, run(["ridge_clr"], study, covariates=["diet"]).predictions)
