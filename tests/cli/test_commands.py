"""The command line as a user types it: in this process where errors are concerned, as a program for the whole path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

import aam_nb as aam
from aam_nb.cli import COMMANDS, main
from aam_nb.config import UserError
from aam_nb.config.train import UnlabelledObjective
from aam_nb.model.objectives import OBJECTIVES, SHORT, Task

SMALL = ["--width", "16", "--num-attn-heads", "2", "--num-layers", "1", "--no-progress"]


@pytest.fixture(scope="module")
def files(study: aam.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated study as files."""
    folder = tmp_path_factory.mktemp("study")
    study.save(folder)
    return folder


def inputs(folder: Path) -> list[str]:
    return [
        "--table",
        str(folder / "table.biom"),
        "--metadata",
        str(folder / "metadata.tsv"),
        "--tree",
        str(folder / "tree.nwk"),
    ]


@pytest.fixture(scope="module")
def run(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder made by `pretrain` and `fit`, the test side kept out of both."""
    folder = tmp_path_factory.mktemp("runs")
    split = ["--target", "age", "--group", "host_id", "--test-size", "0.25"]
    quick = [*split, "--epochs", "2", "--seed", "1"]
    assert main(["pretrain", *inputs(files), *quick, *SMALL, "--out", str(folder / "pre")]) == 0
    pretrained = ["--pretrained", str(folder / "pre"), "--no-progress"]
    assert main(["fit", *inputs(files), *quick, *pretrained, "--out", str(folder / "age")]) == 0
    return folder / "age"


def test_fit_leaves_a_run_that_judged_unseen_hosts(run: Path, study: aam.Study) -> None:
    splits = json.loads((run / "splits.json").read_text())
    predictions = pd.read_csv(run / "predictions.csv", index_col="sample_id")
    assert set(predictions.index) == set(splits["test"])
    assert {"truth", "prediction"} <= set(predictions.columns)
    assert not {*splits["test"]} & {*splits["train"], *splits["validation"], *splits["pretrain"]}
    host = study.metadata["host_id"]
    assert not set(host[splits["test"]]) & set(host[[*splits["train"], *splits["validation"]]])
    models = {row["model"] for row in json.loads((run / "evaluation.json").read_text())["metrics"]}
    assert models == {"aam", "random_forest", "dummy"}


def test_evaluate_judges_the_held_out_samples_again(run: Path, files: Path, tmp_path: Path) -> None:
    assert main(["evaluate", "--run", str(run), *inputs(files), "--out", str(tmp_path)]) == 0
    first, again = (json.loads((folder / "evaluation.json").read_text()) for folder in (run, tmp_path))
    assert again["metrics"] == first["metrics"]
    assert again["num_test"] == first["num_test"]


def test_evaluate_all_says_that_samples_were_seen(run: Path, files: Path, tmp_path: Path, study: aam.Study) -> None:
    assert main(["evaluate", "--run", str(run), "--all", *inputs(files), "--out", str(tmp_path)]) == 0
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation["num_test"] == study.num_samples
    assert any("were trained on" in note for note in evaluation["notes"])


def test_predict_writes_what_python_predicts(run: Path, files: Path, tmp_path: Path, study: aam.Study) -> None:
    table, out = str(files / "table.biom"), tmp_path / "new" / "predictions.csv"
    assert main(["predict", "--run", str(run), "--table", table, "--out", str(out)]) == 0
    written = pd.read_csv(out, index_col="sample_id")["age"]
    pd.testing.assert_series_equal(written, aam.load(run).predict(study)["age"], rtol=1e-12)


def test_unifrac_writes_the_matrix(files: Path, tmp_path: Path, study: aam.Study) -> None:
    from skbio import DistanceMatrix

    out = tmp_path / "distances.tsv"
    args = [
        "--table",
        str(files / "table.biom"),
        "--tree",
        str(files / "tree.nwk"),
        "--engine",
        "skbio",
        "--out",
        str(out),
    ]
    assert main(["unifrac", *args]) == 0
    distances = DistanceMatrix.read(str(out))
    assert list(distances.ids) == list(study.sample_ids)
    assert abs(distances.data - aam.unifrac(study).data).max() < 1e-9


def test_unifrac_writes_hdf5_in_blocks_from_a_table_on_disk(files: Path, tmp_path: Path, study: aam.Study) -> None:
    from skbio import DistanceMatrix

    args = ["--table", str(files / "table.biom"), "--tree", str(files / "tree.nwk"), "--lazy", "--block", "10"]
    args += ["--metric", "generalized", "--alpha", "0.25", "--out", str(tmp_path / "distances.h5")]
    assert main(["unifrac", *args]) == 0
    distances = DistanceMatrix.read(str(tmp_path / "distances.h5"), format="binary_dm")
    assert list(distances.ids) == list(study.sample_ids)
    oracle = aam.unifrac(study, metric="generalized", alpha=0.25, cache=False)
    assert abs(distances.data - oracle.data).max() < 1e-12


def test_files_of_a_lab_go_in_through_the_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hashed ids, an unrooted tree and a taxonomy, all by the same hashes; two of the hashes are of one sequence."""
    hashes = [f"{k:032x}" for k in range(4)]
    dna = ["ACGTACGTAC", "ACGTACGTAG", "TTTTACGTAC", "acgtacgtac"]
    (tmp_path / "t.tsv").write_text("#OTU ID\ta\tb\n" + "".join(f"{h}\t{k + 1}\t{k}\n" for k, h in enumerate(hashes)))
    (tmp_path / "s.fasta").write_text("".join(f">{h}\n{s}\n" for h, s in zip(hashes, dna, strict=True)))
    (tmp_path / "t.nwk").write_text(f"({hashes[0]}:1,{hashes[1]}:2,({hashes[2]}:4,{hashes[3]}:1):1);")
    (tmp_path / "x.tsv").write_text(
        "Feature ID\tTaxon\n" + "".join(f"{h}\td__Bacteria; p__P{k}\n" for k, h in enumerate(hashes))
    )
    named = {"--table": "t.tsv", "--sequences": "s.fasta", "--tree": "t.nwk", "--taxonomy": "x.tsv"}
    flags = [part for flag, name in named.items() for part in (flag, str(tmp_path / name))]
    out = ["--out", str(tmp_path / "d.tsv")]
    assert main(["unifrac", *flags, *out]) == 2
    assert "--sum-duplicates" in capsys.readouterr().err
    assert main(["unifrac", *flags, "--sum-duplicates", *out]) == 2
    assert "--root midpoint" in capsys.readouterr().err
    assert main(["unifrac", *flags, "--sum-duplicates", "--root", "midpoint", "--drop-taxa", "P1", *out]) == 0
    output = capsys.readouterr().out
    assert "summed 4 columns of 3 distinct sequences (1 occurred more than once)" in output
    assert "lineages of 3 of 3 ASVs" in output
    assert "kept 2 of 3 ASVs" in output


@pytest.mark.parametrize(
    ("name", "content", "code", "text"),
    [
        ("t.tsv", "#OTU ID\ta\tb\nACGTACGTAC\t1\t2\n", 0, "feature table (text), 2 samples x 1 ASV, 1 to 2 reads"),
        ("h.tsv", f"#OTU ID\ta\n{7:032x}\t1\n", 0, "the commands that read a study need `--sequences` too"),
        ("s.fasta", ">a\nACGT\n>b\nACGTAC\n", 0, "sequences (FASTA), 2 of 4 to 6 nt"),
        ("x.tsv", "Feature ID\tTaxon\na\td__Bacteria; p__P\n", 0, "taxonomy, lineages of 1 feature"),
        ("m.csv", "id,ph,when\na,7,2020-01-02\n", 0, "metadata, 1 sample, 1 column of numbers, 1 column of dates"),
        ("r.nwk", "(AC:1,(GT:1,CC:2):1);", 0, "rooted tree (Newick), 3 tips"),
        ("u.nwk", "(AC:1,GT:1,CC:2);", 0, "unrooted tree (Newick), 3 tips; would be refused without --root midpoint"),
        ("e.biom", "", 2, "would be refused. "),
        ("d.tsv", "#OTU ID\ta\nACGTACGTAC\t1\nacgtacgtac\t2\n", 2, "would be refused. 1 ASV occurs more than once"),
        ("n.nwk", "(AC:1,(GT:-1,CC:2):1);", 0, "would be refused without --negative-lengths zero"),
        ("g.gz", "\x1f\x8b nothing", 2, "cannot be unpacked"),
    ],
)
def test_info_tells_what_each_file_is_and_what_would_be_refused(
    name: str, content: str, code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    assert main(["info", str(tmp_path / name)]) == code
    out = capsys.readouterr().out
    assert text in out
    assert len(out.strip().split("\n")) == 1


def test_info_of_a_file_that_cannot_be_opened_goes_on_with_the_next(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", "x" * 5000, str(files / "tree.nwk")]) == 2
    captured = capsys.readouterr()
    bad, good = captured.out.strip().split("\n")
    assert "(5000 characters): would be refused. " in bad
    assert "File name too long" in bad
    assert len(bad) < 500
    assert "[Errno" not in bad
    assert "rooted tree" in good
    assert "1 of 2 files would be refused" in captured.err


def test_samples_without_a_group_are_dropped_by_a_flag(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = pd.read_csv(files / "metadata.tsv", sep="\t", index_col=0, comment="#")
    metadata.loc[metadata.index[:3], "host_id"] = None
    metadata.to_csv(tmp_path / "m.tsv", sep="\t")
    args = [
        *inputs(files),
        "--metadata",
        str(tmp_path / "m.tsv"),
        "--target",
        "age",
        "--group",
        "host_id",
        "--epochs",
        "1",
    ]
    args += ["--objectives", "nucleotides", *SMALL, "--out", str(tmp_path / "run")]
    assert main(["pretrain", *args]) == 2
    message = capsys.readouterr().err
    assert "3 samples have no 'host_id'" in message
    assert "--drop-missing-group" in message
    assert main(["pretrain", *args, "--drop-missing-group"]) == 0
    assert "kept 45 of 48 samples: those that have a host_id" in capsys.readouterr().out


def test_types_of_columns_are_said_by_flags(files: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = [*inputs(files), "--target", "age", "--out", str(tmp_path / "run")]
    assert main(["pretrain", *args, "--types", "age", "date", "season", "categorical"]) == 2
    assert "'age'" in capsys.readouterr().err
    assert main(["pretrain", *args, "--types", "aeg", "numeric"]) == 2
    assert "aeg" in capsys.readouterr().err


def test_info_shows_a_line_end_in_a_file_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.tsv").write_text('id\tph\n"two\nlines"\tx\n"two\nlines"\ty\n')
    main(["info", str(tmp_path / "m.tsv")])
    assert len(capsys.readouterr().out.strip().split("\n")) == 1


def test_info_says_what_files_are(run: Path, files: Path, capsys: pytest.CaptureFixture[str], study: aam.Study) -> None:
    assert main(["info", *map(str, (files / "table.biom", files / "metadata.tsv", files / "tree.nwk", run))]) == 0
    table, metadata, tree, folder = capsys.readouterr().out.strip().split("\n")
    assert f"{study.num_samples} samples x {study.num_asvs} ASVs" in table
    assert f"metadata, {study.num_samples} samples, 3 columns of text, 1 column of numbers" in metadata
    assert f"{study.num_asvs} tips" in tree
    assert "run folder" in folder
    assert "age" in folder


def test_config_json_sets_defaults_that_flags_override(files: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    shape = {"width": 16, "num_attn_heads": 2, "num_layers": 1}
    config.write_text(json.dumps({"model": shape, "train": {"epochs": 7, "batch_size": 5, "progress": False}}))
    args = [*inputs(files), "--objectives", "nucleotides", "--config", str(config), "--epochs", "1"]
    assert main(["pretrain", *args, "--out", str(tmp_path / "run")]) == 0
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["model"]["width"] == 16
    assert (saved["train"]["epochs"], saved["train"]["batch_size"]) == (1, 5)


def test_a_table_filtered_otherwise_than_in_training_is_told(
    run: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict = ["predict", "--run", str(run), "--table", str(files / "table.biom"), "--out", str(tmp_path / "p.csv")]
    assert main(predict) == 0
    assert "WARNING" not in capsys.readouterr().out
    assert main([*predict, "--min-prevalence", "3"]) == 0
    assert "relative abundances differ" in capsys.readouterr().out


MISTAKES = {
    "no such command": (["fitt"], "'fitt' is not a command"),
    "a flag missing": (["fit", "--table", "t.biom"], "--target"),
    "a flag misspelled": (["predict", "--runn", "x"], "--runn"),
    "a value of the wrong type": (["demo", "--samples", "many"], "many"),
    "a value out of range": (["pretrain", "--table", "t", "--out", "o", "--epochs", "0"], "epochs is 0"),
    "no such file": (["info", "nowhere.biom"], "would be refused"),
    "no such table": (
        ["predict", "--run", "RUN", "--table", "nowhere.biom", "--out", "o"],
        "nowhere.biom is not a file",
    ),
    "no such run": (["predict", "--run", "nowhere", "--table", "TABLE", "--out", "o"], "nowhere is not a run folder"),
    "no such column": (
        ["fit", *inputs(Path("FILES")), "--target", "ph", "--out", "o"],
        "'ph' is not a metadata column",
    ),
    "no such group": (["fit", *inputs(Path("FILES")), "--target", "age", "--group", "cage", "--out", "o"], "'cage'"),
    "a folder in the way": (
        ["fit", *inputs(Path("FILES")), "--target", "age", "--out", "FILES"],
        "is not a run folder",
    ),
    "shape beside pretrained": (
        ["fit", *inputs(Path("FILES")), "--target", "age", "--pretrained", "RUN", "--width", "128", "--out", "o"],
        "A model shape was given with --pretrained",
    ),
    "a distance file of another kind": (
        ["unifrac", "--table", "TABLE", "--tree", "t", "--out", "d.csv"],
        "--out d.tsv",
    ),
    "info of nothing": (["info"], "No file was given"),
    "a group to drop by that is not there": (
        ["fit", *inputs(Path("FILES")), "--target", "age", "--drop-missing-group", "--out", "o"],
        "`drop_missing_group` (`--drop-missing-group`) was given without a group",
    ),
    "the target as the group": (
        ["fit", *inputs(Path("FILES")), "--target", "age", "--group", "age", "--out", "o"],
        "The group is the target, 'age'",
    ),
    "a place that cannot be written to": (
        ["unifrac", "--table", "TABLE", "--tree", "FILES/tree.nwk", "--out", "/proc/x.tsv"],
        "/proc/x.tsv cannot be written (",
    ),
    "a place in HDF5 that cannot be written to": (
        ["unifrac", "--table", "TABLE", "--tree", "FILES/tree.nwk", "--out", "/proc/x.h5"],
        "/proc/x.h5 cannot be written (",
    ),
    "a folder that is a file": (
        ["predict", "--run", "RUN", "--table", "TABLE", "--out", "FILES/tree.nwk/p.csv"],
        "tree.nwk/p.csv cannot be written (",
    ),
    "a name too long": (["predict", "--run", "RUN", "--table", "t" * 5000, "--out", "o"], "File name too long"),
    "a config with a name too long": (
        ["fit", *inputs(Path("FILES")), "--target", "age", "--out", "o", "--config", "c" * 5000],
        "ccc",
    ),
    "no config file": (
        ["fit", *inputs(Path("FILES")), "--target", "age", "--out", "o", "--config", "c.json"],
        "c.json",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    case: str,
    files: Path,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    args, message = MISTAKES[case]
    places = {"FILES": str(files), "RUN": str(run), "TABLE": str(files / "table.biom")}
    for name, place in places.items():
        args = [a.replace(name, place) for a in args]
    assert main(args) == 2
    captured = capsys.readouterr()
    assert len(captured.err.strip().split("\n")) == 1
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err
    assert "[Errno" not in captured.err
    assert ".new" not in captured.err
    assert not list(tmp_path.iterdir())  # and nothing was written


def test_the_program_is_installed_and_lists_its_commands() -> None:
    done = subprocess.run([sys.executable, "-m", "aam_nb.cli", "--help"], capture_output=True, text=True, check=True)
    assert all(f"  {verb} " in done.stdout for verb in COMMANDS)


@pytest.mark.slow
def test_demo_on_a_small_study_leaves_a_report(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "aam_nb.cli",
            "demo",
            "--samples",
            "40",
            "--asvs",
            "60",
            "--out",
            str(tmp_path / "demo"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "step/s" in done.stderr or "s/step" in done.stderr  # a bar with the time left
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "Planted ASVs recovered" in page
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {"study", "pretrained", "age", "diet", "report.html"}


def test_a_killed_fit_goes_on_by_resume(files: Path, tmp_path: Path) -> None:
    """The process is killed as soon as there is a checkpoint; what resume leaves is what an unbroken fit leaves."""
    how = ["--target", "age", "--group", "host_id", "--epochs", "12", "--save-every", "1", "--batch-size", "8"]
    command = [sys.executable, "-m", "aam_nb.cli"]
    fit = [*command, "fit", *inputs(files), *how, *SMALL, "--device", "cpu", "--out"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*fit, "run"], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL)
    state = tmp_path / "run" / "checkpoints" / "last" / "state.json"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    again = subprocess.run([*fit, "run"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert again.returncode == 2
    assert "aam-nb resume --run run" in again.stderr
    (tmp_path / "run").rename(tmp_path / "moved")
    for args in ([*command, "resume", "--run", str(tmp_path / "moved")], [*fit, str(tmp_path / "whole")]):
        subprocess.run(args, env=env, check=True, stdout=subprocess.DEVNULL)
    for name in ("model.safetensors", "evaluation.json", "predictions.csv"):
        assert (tmp_path / "moved" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (None, "holds no checkpoints/command.json"),
        ("{", "is not JSON"),
        ('{"command": "fit", "folder": "."}', "command is 'fit', not a list"),
        ('{"command": ["fit"], "folder": "/no/such"}', "names the folder '/no/such', which is not there"),
        ('{"command": ["report", "--run", "x"], "folder": "."}', "names the command 'report'"),
    ],
    ids=["none", "damaged", "text", "gone", "another verb"],
)
def test_what_cannot_be_resumed_is_said(
    tmp_path: Path, command: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoints").mkdir()
    if command is not None:
        (tmp_path / "checkpoints" / "command.json").write_text(command)
    assert main(["resume", "--run", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_fit_takes_several_targets_covariates_and_settings_of_the_head(
    files: Path, tmp_path: Path, study: aam.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    two = study.metadata.assign(weight=study.metadata["age"] * 0.5 + 60)
    aam.write_metadata(two, tmp_path / "metadata.tsv")
    given = [
        "--table",
        str(files / "table.biom"),
        "--metadata",
        str(tmp_path / "metadata.tsv"),
        *SMALL,
        "--epochs",
        "2",
    ]
    assert (
        main(["fit", *given, "--target", "age", "weight", "--loss", "huber", "mae", "--out", str(tmp_path / "two")])
        == 0
    )
    output = capsys.readouterr().out
    assert "age on" in output
    assert "weight on" in output
    assert list(aam.load(tmp_path / "two").predict(study).columns) == ["age", "weight"]
    how = ["--target", "age", "--task", "quantiles", "--transform", "power", "--covariates", "season"]
    assert main(["fit", *given, *how, "--out", str(tmp_path / "quantiles")]) == 0
    loaded = aam.load(tmp_path / "quantiles")
    predictions = loaded.predict(study)
    assert (predictions["q(0.05)"] < predictions["age"]).all()
    assert (predictions["age"] < predictions["q(0.95)"]).all()
    with pytest.raises(UserError, match="season"):
        loaded.predict(replace(study, metadata=study.metadata.drop(columns="season")))


def test_the_objectives_of_pretrain_are_those_that_need_no_labels() -> None:
    """`beta_diversity` stands among them by the names of its metrics."""
    unlabelled = {name for name, kind in OBJECTIVES.items() if not issubclass(kind, Task)}
    assert set(get_args(UnlabelledObjective)) == (unlabelled | set(SHORT)) - {"beta_diversity"}
