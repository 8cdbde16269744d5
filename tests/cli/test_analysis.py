"""explain, errors and compare as a user types them: tables and figures on disk, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import QUICK, TINY

import aam_nb as aam
from aam_nb.baselines.fit import BASELINES
from aam_nb.cli import main
from aam_nb.cli.analysis import CONTENDERS, TABLES
from aam_nb.evaluate.comparison.contenders import OURS

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def files(study: aam.Study, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags that name the simulated study's files."""
    folder = study.save(tmp_path_factory.mktemp("study"))
    names = {"table": "table.biom", "metadata": "metadata.tsv", "tree": "tree.nwk"}
    return [word for flag, name in names.items() for word in (f"--{flag}", str(folder / name))]


@pytest.fixture(scope="module")
def run(sides: tuple[aam.Study, aam.Study], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its evaluation."""
    model = aam.AAM(TINY).fit(sides[0], target="age", config=QUICK)
    model.evaluate(sides[1], config=aam.EvaluateConfig(num_resamples=20, num_trees=10), find_leaks=False)
    return model.save(tmp_path_factory.mktemp("runs") / "age")


def test_explain_leaves_tables_figures_and_a_verdict(
    run: Path, files: list[str], sides: tuple[aam.Study, aam.Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, test = tmp_path / "why", sides[1]
    few = ["--faithfulness.seeds", "0", "--faithfulness.shuffles", "0", "--faithfulness.num-random", "3"]
    assert main(["explain", "--run", str(run), *files, "--level", "asv", "clade", *few, "--out", str(out)]) == 0
    for name in ("asv.png", "clade.png", "faithfulness.png"):
        assert (out / name).read_bytes().startswith(PNG)
    attributions = aam.explain.attribute(aam.load(run), test)
    long = pd.read_csv(out / "asv_samples.csv")
    assert long.groupby("sample_id")["attribution"].sum().to_dict() == pytest.approx(
        attributions.check["sum"].to_dict(), rel=1e-4
    )
    table = pd.read_csv(out / "asv.csv", index_col=0)
    assert table["mean_abs"].is_monotonic_decreasing
    output = capsys.readouterr().out
    assert "seeds" in output.split("Not measured: ")[1].split(".")[0]
    assert "not an importance" in output
    evaluation = aam.load(run).evaluation
    assert evaluation is not None
    assert evaluation.value("r2") < 0.2  # two epochs teach it nothing
    assert "not shown to do better than guessing" in output
    checks = pd.read_csv(out / "faithfulness.csv", index_col="check")
    assert checks.loc["completeness", "outcome"] == "passed"
    assert set(pd.read_csv(out / "uniform_attention.csv")["level"]) >= {"pooling", "all"}


def test_errors_leaves_what_the_analysis_holds(
    run: Path, files: list[str], sides: tuple[aam.Study, aam.Study], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "errors"
    assert main(["errors", "--run", str(run), *files, "--num-worst", "3", "--out", str(out)]) == 0
    assert (out / "errors.png").read_bytes().startswith(PNG)
    samples = pd.read_csv(out / "samples.csv", index_col="sample_id")
    assert set(samples.index) == set(sides[1].sample_ids)
    worst = pd.read_csv(out / "worst.csv", index_col="sample_id")
    assert worst.index.tolist() == samples["error"].sort_values(ascending=False, kind="stable").index[:3].tolist()
    predicted = pd.read_csv(run / "predictions.csv", index_col="sample_id")["prediction"]
    pd.testing.assert_series_equal(samples["prediction"], predicted.loc[samples.index])
    assert "ErrorAnalysis(age" in capsys.readouterr().out


def test_compare_goes_on_where_it_was(
    run: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "compare"
    quick = ["--folds", "2", "--no-tune", "--num-resamples", "20", "--num-permutations", "19", "--num-trees", "5"]
    flags = [*files, "--target", "age", "--group", "host_id", *quick, "--out", str(out)]
    assert main(["compare", *flags, "--contenders", "ridge_clr", "dummy"]) == 0
    first = {p: p.stat().st_mtime_ns for p in (out / "folds").iterdir()}
    assert main(["compare", *flags, "--contenders", str(run), "ridge_clr", "dummy"]) == 0
    assert all(p.stat().st_mtime_ns == when for p, when in first.items())
    result = json.loads((out / "comparison.json").read_text())
    assert result["reference"] == "age"  # a run folder, made anew by its settings
    assert result["group"] == "host_id"
    assert {r["contender"] for r in result["scores"]} == {"age", "ridge_clr", "dummy"}
    assert (out / "comparison.png").read_bytes().startswith(PNG)
    assert result["sentence"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["compare", "--target", "age", "--contenders", "oracle", "--out", "x"], "oracle"),
        (["compare", "--target", "age", "--fit.epochs", "0", "--out", "x"], "epochs is 0"),
        (["compare", "--target", "age", "--contenders", "a/age", "b/age", "--out", "x"], "a/age"),
        (["explain", "--level", "taxon", "--out", "x"], "taxonomy"),
        (["explain", "--method", "shapley", "--level", "clade", "--out", "x"], "clade"),
        (["errors", "--target", "ph", "--out", "x"], "'ph' is not predicted"),
    ],
)
def test_mistakes_are_one_line(
    args: list[str],
    message: str,
    run: Path,
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    more = [] if args[0] == "compare" else ["--run", str(run)]
    assert main([args[0], *more, *files, *args[1:]]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_all_models_are_compared_and_all_tables_written() -> None:
    assert sorted(CONTENDERS) == sorted([*OURS, *BASELINES])
    assert set(TABLES) <= set(aam.ErrorAnalysis.__dataclass_fields__)
