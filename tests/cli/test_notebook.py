"""`aam-nb notebook` and `aam-nb lab`: the templates, run on a user's files from wherever the user stands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import MISSING, replace
from pathlib import Path

import nbformat
import pandas as pd
import pytest

import aam_nb as aam
from aam_nb.cli import main, templates

SMALL = ["--width", "16", "--num-attn-heads", "2", "--num-layers", "1", "--epochs", "2"]
HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = ("explore", "pretrain", "fit", "explain", "errors", "compare")


@pytest.fixture(scope="module")
def files(study: aam.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated study as files, with a name that a browser must not run."""
    folder = tmp_path_factory.mktemp("study")
    season = study.metadata["season"].astype(str).where(study.metadata["season"] != "spring", HOSTILE)
    replace(study, metadata=study.metadata.assign(season=season)).save(folder)
    return folder


def flags(folder: Path, *, tree: bool = True) -> list[str]:
    """Flags that name a study's files as seen from where the test stands."""
    names = {"table": "table.biom", "metadata": "metadata.tsv"} | ({"tree": "tree.nwk"} if tree else {})
    return [word for flag, name in names.items() for word in (f"--{flag}", os.path.relpath(folder / name))]


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook that is valid."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def page_of(path: Path) -> str:
    """A page that asks nothing of the network and runs nothing."""
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"""<(?:script|link|iframe)\b|(?:src|href)=["']?(?:https?:)?//|@import|url\(""", text)
    assert "default-src 'none'" in text
    assert HOSTILE not in text
    return text


# -- the templates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_command_line_and_of_the_configs(name: str) -> None:
    allowed, parameters = templates.allowed_fields(name), templates.read_parameters(templates.find_template(name))
    assert len({p.name for p in parameters}) == len(parameters)
    for line in (p for p in parameters if p.name != "out"):  # of the command; explore's own has none
        assert line.name in allowed, f"{line.name} is a field of none of the dataclasses of {name}"
        default = allowed[line.name][1]
        required = default is MISSING or line.name in ("table", "metadata", "target", "run")
        assert required or line.default == default, line.name
        assert type(line.default) is type(default) or required, line.name
        assert line.help, line.name
        assert line.default is None or line.annotation == type(line.default).__name__, line.name


@pytest.mark.parametrize("name", NAMES)
def test_templates_are_cleared_and_begin_with_what_they_answer(name: str) -> None:
    notebook = read(templates.find_template(name))
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert not re.search(r"https?://|^!|^%", cell.source, re.MULTILINE)
    assert [cell.metadata.get("tags") for cell in notebook.cells].count(["parameters"]) == 1
    first = notebook.cells[0].source
    assert first.startswith("# ")
    assert all(f"**{word}.**" in first for word in ("Question", "Input", "Time", "Result"))


def test_the_list_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(NAMES)


def test_help_names_every_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "fit", "--help"]) == 0
    output = capsys.readouterr().out
    for line in templates.read_parameters(templates.find_template("fit")):
        assert f"--{line.name.replace('_', '-')}" in output


# -- running them -------------------------------------------------------------------------------------------------------


def test_explore_leaves_notebook_page_and_tables(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study: aam.Study
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    args = ["notebook", "explore", *flags(files), "--target", "season", "--group", "host_id", "--rarefy", "300"]
    assert main([*args, "--out", "out/explore"]) == 0
    out = tmp_path / "elsewhere" / "out" / "explore"
    assert "cell" in capsys.readouterr().err  # the progress bar
    notebook = read(out / "explore.ipynb")
    assert "widgets" not in notebook.metadata
    text = (out / "explore.ipynb").read_text()
    assert "widget-view" not in text
    assert str(tmp_path) not in text
    given = next(c.source for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert 'target = "season"' in given
    assert "min_prevalence" not in given  # it is as in the template
    page = page_of(out / "explore.html")
    assert "&lt;img src=x onerror" in page
    assert page.count("<img") >= 4
    assert all(re.search(r'alt="[^"]{20,}"', tag) for tag in re.findall(r"<img[^>]*>", page))
    axes = pd.read_csv(out / "pcoa.csv", index_col="sample_id")
    assert set(axes.index) == set(study.sample_ids[study.depth >= 300])


@pytest.mark.slow
def test_templates_follow_one_another(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    split, study = ["--target", "age", "--group", "host_id"], flags(files)
    quiet = ["--no-progress", "--out"]
    assert main(["notebook", "pretrain", *study, *split, *SMALL, *quiet, "pre"]) == 0
    fast = ["--epochs", "2", "--num-resamples", "20", "--num-trees", "5", "--min-prevalence", "2"]
    assert main(["notebook", "fit", *study, *split, *fast, "--pretrained", "pre/run", *quiet, "fit"]) == 0
    model = aam.load("fit/run")
    assert set(model.samples["pretrain"]).isdisjoint(model.samples["test"])
    hosts = aam.read_study(files / "table.biom", metadata=files / "metadata.tsv").metadata["host_id"]
    assert set(hosts[model.samples["test"]]).isdisjoint(hosts[model.samples["train"]])
    few = ["--num-resamples", "20", "--num-permutations", "99"]
    checks = ["--seeds", "0", "--shuffles", "0", "--max-samples", "4"]
    assert main(["notebook", "explain", *study, "--run", "fit/run", *few, *checks, *quiet, "explain"]) == 0
    long = pd.read_csv(tmp_path / "explain" / "asv_samples.csv")
    assert set(long["sample_id"]) == set(model.samples["test"])
    assert (tmp_path / "explain" / "faithfulness.csv").is_file()
    assert main(["notebook", "errors", *study, "--run", "fit/run", *few, *quiet, "errors"]) == 0
    analysed = pd.read_csv(tmp_path / "errors" / "samples.csv", index_col=0)["prediction"]
    predicted = pd.read_csv(tmp_path / "fit" / "run" / "predictions.csv", index_col="sample_id")["prediction"]
    pd.testing.assert_series_equal(analysed, predicted.loc[analysed.index], check_names=False)
    assert main(["predict", "--run", "fit/run", *study, "--min-prevalence", "2", "--out", "p.csv"]) == 0
    for name, folder in {"pretrain": "pre", "fit": "fit", "explain": "explain", "errors": "errors"}.items():
        read(tmp_path / folder / f"{name}.ipynb")
        page_of(tmp_path / folder / f"{name}.html")


@pytest.mark.slow
def test_classes_without_a_tree(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study, quiet = flags(files, tree=False), ["--no-progress", "--out"]
    assert main(["notebook", "pretrain", *study, "--target", "diet", *SMALL, *quiet, "pre"]) == 0
    assert "cannot be learned from" in (tmp_path / "pre" / "pretrain.html").read_text()
    few = ["--num-resamples", "20", "--num-trees", "5"]
    assert main(["notebook", "fit", *study, "--target", "diet", *SMALL, *few, *quiet, "fit"]) == 0
    again = ["--num-resamples", "20", "--num-permutations", "99", "--min-slice", "3"]
    assert main(["notebook", "errors", *study, "--run", "fit/run", *again, *quiet, "errors"]) == 0
    assert (tmp_path / "errors" / "confusion.csv").is_file()
    contest = ["--contenders", "aam", "knn_unifrac", "dummy", "--folds", "2", "--no-tune", "--num-permutations", "19"]
    assert main(["notebook", "compare", *study, "--target", "diet", *SMALL, *few, *contest, *quiet, "compare"]) == 0
    scores = pd.read_csv(tmp_path / "compare" / "scores.csv", index_col=0)
    assert set(scores.index) == {"aam", "dummy"}


def test_a_failing_cell_leaves_what_was_done(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["notebook", "explore", *flags(files), "--rarefy", "1000000000", "--no-progress", "--out", "out"]
    assert main(args) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert re.search(r"explore failed in cell \d+: EmptySampleError: The study has no samples", message)
    notebook = read(tmp_path / "out" / "explore.ipynb")
    kinds = [output.output_type for cell in notebook.cells for output in cell.get("outputs", [])]
    assert kinds[-1] == "error"
    assert len(kinds) > 3
    assert "EmptySampleError" in page_of(tmp_path / "out" / "explore.html")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "No template was named"),
        (["exploer"], "'exploer' is not a template"),
        (["mine.ipynb"], "'mine.ipynb' is not a template"),
        (["--table", "t.biom", "explore"], "the name first"),
        (["explore", "--out", "o"], "--table"),
        (["explore", "--table", "nowhere.biom", "--out", "o"], "--table nowhere.biom: no such file"),
        (["explore", "--table", "TABLE", "--min-prevalence", "-1", "--out", "o"], "min_prevalence is -1"),
        (["explore", "--table", "TABLE", "--metric", "euclid", "--out", "o"], "euclid"),
        (["explore", "--table", "TABLE", "--epochs", "3", "--out", "o"], "--epochs"),
        (["errors", "--table", "TABLE", "--metadata", "TABLE", "--run", "runs/x", "--out", "o"], "--run runs/x"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(
    args: list[str],
    message: str,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["notebook", *[str(files / "table.biom") if a == "TABLE" else a for a in args]]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "o").exists()


def own(path: Path, source: str) -> Path:
    """A notebook of a user's own, with a parameter."""
    cells = [nbformat.v4.new_code_cell("seconds: float = 0.5  # to wait"), nbformat.v4.new_code_cell(source)]
    cells[0].metadata["tags"] = ["parameters"]
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), path)
    return path


def test_a_parameter_whose_name_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = own(tmp_path / "mine.ipynb", "")
    mine.write_text(mine.read_text().replace("seconds: float", "1share: float"))
    assert main(["notebook", str(mine), "--out", str(tmp_path / "out")]) == 2
    assert "the parameter '1share', which is no name" in capsys.readouterr().err
    mine.write_text(mine.read_text().replace("1share: float", "progress: float"))  # which the command has too
    assert main(["notebook", str(mine), "--help"]) == 0


def test_a_notebook_of_ones_own_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = own(tmp_path / "mine.ipynb", "print(seconds)")
    before = mine.read_bytes()
    assert main(["notebook", str(mine), "--out", str(tmp_path)]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert mine.read_bytes() == before


def heeds_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so do those it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_what_was_done(tmp_path: Path) -> None:
    mine = own(tmp_path / "mine.ipynb", "import time\nprint('before', flush=True)\ntime.sleep(seconds)")
    command = [
        sys.executable,
        "-m",
        "aam_nb.cli",
        "notebook",
        str(mine),
        "--seconds",
        "60",
        "--out",
        str(tmp_path / "out"),
    ]
    settings = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, preexec_fn=heeds_ctrl_c, **settings) as process:
        deadline = time.monotonic() + 60
        done = tmp_path / "out" / "mine.ipynb"
        while time.monotonic() < deadline and not (done.exists() and '"status": "running"' in done.read_text()):
            time.sleep(0.2)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert message.strip().endswith("aam-nb notebook: interrupted")
    notebook = read(done)
    assert "seconds = 60.0" in next(
        c.source for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])
    )
    page_of(tmp_path / "out" / "mine.html")


# -- aam-nb lab ---------------------------------------------------------------------------------------------------------


def test_lab_copies_and_keeps_what_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    assert main(["lab", "--folder", str(folder), "--copy-only"]) == 0
    assert {p.stem for p in (folder / "notebooks").iterdir()} == set(NAMES)
    assert (folder / "tutorials" / "01_quickstart.ipynb").is_file()
    (folder / "notebooks" / "fit.ipynb").write_text("mine")
    (folder / "notebooks" / "errors.ipynb").unlink()
    capsys.readouterr()
    assert main(["lab", "--folder", str(folder), "--copy-only"]) == 0
    output = capsys.readouterr().out
    assert "1 copied" in output
    assert "kept fit.ipynb" in output
    assert (folder / "notebooks" / "fit.ipynb").read_text() == "mine"
    assert (folder / "notebooks" / "errors.ipynb").is_file()


def with_a_table(tmp_path: Path, code: str, kernel: str = "python3") -> Path:
    """A notebook of a user's own, with a parameter and a cell."""
    parameters = nbformat.v4.new_code_cell('table: str = ""  # a file', metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# Mine"), parameters, nbformat.v4.new_code_cell(code)]
    )
    notebook.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    return tmp_path / "mine.ipynb"


def test_a_notebook_of_ones_own_finds_files_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.txt").write_text("found")
    path = with_a_table(tmp_path, 'assert open(table).read() == "found"')
    assert main(["notebook", str(path), "--table", "t.txt", "--no-progress", "--out", "done"]) == 0


def test_a_kernel_that_dies_is_one_line_and_leaves_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_a_table(tmp_path, "import os; os._exit(9)")
    assert main(["notebook", str(path), "--no-progress", "--out", str(tmp_path / "done")]) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "mine failed: the kernel died" in message
    assert (tmp_path / "done" / "mine.html").is_file()


def test_an_unknown_kernel_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_a_table(tmp_path, "1", kernel="conda-env-foo")
    assert main(["notebook", str(path), "--no-progress", "--out", str(tmp_path / "done")]) == 2
    assert "'conda-env-foo', which is not installed" in capsys.readouterr().err


def test_any_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in{x} 'q\"").mkdir()
    Path("in{x} 'q\"/t {pm}.txt").write_text("here")
    path = with_a_table(Path("in{x} 'q\""), 'assert open(table).read() == "here"')
    out = "s3:/nb{y}%s\n$HOME"
    assert main(["notebook", str(path), "--table", "in{x} 'q\"/t {pm}.txt", "--no-progress", "--out", out]) == 0
    assert (Path(out) / "mine.html").is_file()
