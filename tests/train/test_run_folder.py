"""Run folders: what is saved comes back bit for bit; what is damaged or foreign is refused; loading runs no code."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, TINY
from safetensors.torch import load_file, save_file

import aam_nb as aam
from aam_nb.config import Notice
from aam_nb.model.objectives import ObjectiveError
from aam_nb.study.errors import MissingTipError
from aam_nb.study.study import Study
from aam_nb.train.run import RunError

EXACT = {"check_exact": True}


@pytest.fixture
def run(fitted: aam.AAM, tmp_path: Path) -> Path:
    return fitted.save(tmp_path / "run")


def test_save_and_load_predict_the_same_bits(sides: tuple[Study, Study], fitted: aam.AAM, run: Path) -> None:
    loaded = aam.load(run)
    pd.testing.assert_frame_equal(loaded.predict(sides[1]), fitted.predict(sides[1]), **EXACT)
    pd.testing.assert_frame_equal(loaded.embed(sides[1]), fitted.embed(sides[1]), **EXACT)
    assert loaded.config == fitted.config
    assert loaded.samples == fitted.samples
    assert loaded.group == "host_id"
    pd.testing.assert_frame_equal(loaded.history, fitted.history)


def test_classes_come_back(sides: tuple[Study, Study], tmp_path: Path) -> None:
    model = aam.AAM(TINY).fit(sides[0], target="season", config=QUICK)
    loaded = aam.load(model.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(loaded.predict(sides[1]), model.predict(sides[1]), **EXACT)


def test_a_pretrained_model_comes_back_and_fits_as_it_would_have(
    sides: tuple[Study, Study], fitted: aam.AAM, tmp_path: Path
) -> None:
    train, test = sides
    model = aam.AAM(TINY).pretrain(train, config=QUICK)
    loaded = aam.load(model.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(loaded.embed(test), model.embed(test), **EXACT)
    assert loaded.task is None
    assert loaded.samples == {"pretrain": list(train.sample_ids)}
    loaded.fit(train, target="age", config=QUICK)
    pd.testing.assert_frame_equal(loaded.predict(test), fitted.predict(test), **EXACT)


def test_a_loaded_fitted_model_can_be_fitted_again_from_its_pretraining(
    sides: tuple[Study, Study], fitted: aam.AAM, run: Path
) -> None:
    again = aam.load(run).fit(sides[0], target="age", config=QUICK)
    pd.testing.assert_frame_equal(again.predict(sides[1]), fitted.predict(sides[1]), **EXACT)


def test_saving_what_was_loaded_changes_nothing(sides: tuple[Study, Study], run: Path, tmp_path: Path) -> None:
    second = aam.load(run, device="cpu").save(tmp_path / "second")
    for name in ("target.json", "splits.json", "model.safetensors"):
        assert (second / name).read_bytes() == (run / name).read_bytes(), name


def test_another_process_predicts_the_same_bits(
    sides: tuple[Study, Study], fitted: aam.AAM, run: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, torch, aam_nb as aam; torch.set_num_threads(1); run, table, out = sys.argv[1:]\n"
        "aam.load(run).predict(aam.read_study(table)).to_csv(out, float_format='%.17g')"
    )
    test = sides[1]
    test.save(tmp_path / "study")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(aam.__file__).parents[1])}
    arguments = [str(run), str(tmp_path / "study" / "table.biom"), str(tmp_path / "out.csv")]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *arguments], check=True, env=environment, cwd=tmp_path)
    with (tmp_path / "out.csv").open(newline="") as file:
        found = {row["sample_id"]: float(row["age"]) for row in csv.DictReader(file)}
    assert found == fitted.predict(test)["age"].to_dict()


def test_a_failed_pretraining_does_not_reach_the_folder(
    sides: tuple[Study, Study], fitted: aam.AAM, run: Path, tmp_path: Path
) -> None:
    """The attempt on another study fails for want of a tree; what is saved next is still the fitted model."""
    model, other = aam.load(run), aam.simulate_study(16, 60, seed=9, config=aam.SimulateConfig(length=40))
    with pytest.raises(MissingTipError):
        model.pretrain(replace(other, tree=None), config=QUICK)
    loaded = aam.load(model.save(tmp_path / "after"))
    pd.testing.assert_frame_equal(loaded.predict(sides[1]), fitted.predict(sides[1]), **EXACT)


def test_the_folder_holds_text_and_safetensors_only(run: Path) -> None:
    assert {p.suffix for p in run.iterdir() if p.name != "SHA256SUMS"} == {".json", ".csv", ".safetensors"}
    config = json.loads((run / "config.json").read_text())
    assert config["model"]["width"] == TINY.width
    assert config["versions"]["torch"] == torch.__version__
    assert config["record"]["fit"]["config"]["epochs"] == QUICK.epochs
    splits = json.loads((run / "splits.json").read_text())
    assert splits["group"] == "host_id"
    assert not set(splits["train"]) & set(splits["validation"])


def test_an_evaluation_is_saved_and_comes_back(sides: tuple[Study, Study], run: Path, tmp_path: Path) -> None:
    model = aam.load(run)
    quick = aam.EvaluateConfig(num_resamples=20, num_trees=5)
    evaluation = model.evaluate(sides[1], train=sides[0], config=quick, find_leaks=False)
    loaded = aam.load(model.save(tmp_path / "judged"))
    assert loaded.evaluation is not None
    pd.testing.assert_frame_equal(loaded.evaluation.predictions, evaluation.predictions)
    pd.testing.assert_frame_equal(loaded.evaluation.metrics, evaluation.metrics)
    assert loaded.samples["test"] == list(sides[1].sample_ids)


# -- names that spreadsheets and CSV readers bend ----------------------------------------------------------------


@pytest.mark.parametrize("names", [("01", "02"), ("None", "some"), ("NA", "nan"), ("True", "False"), ("a,b", 'a"b')])
def test_names_of_classes_come_back_from_the_folder_as_they_were(
    sides: tuple[Study, Study], tmp_path: Path, names: tuple[str, str]
) -> None:
    train, test = (replace(s, metadata=s.metadata.assign(x=np.resize(names, s.num_samples))) for s in sides)
    model = aam.AAM(TINY).fit(train, target="x", config=replace(QUICK, epochs=1))
    quick = aam.EvaluateConfig(num_resamples=20, num_trees=5)
    evaluation = model.evaluate(test, config=quick, find_leaks=False)
    loaded = aam.load(model.save(tmp_path / "run"))
    assert loaded.evaluation is not None
    assert loaded.evaluation.predictions["truth"].tolist() == list(np.resize(names, test.num_samples))
    for column in ("prediction", "random_forest", "dummy"):
        assert loaded.evaluation.predictions[column].tolist() == evaluation.predictions[column].tolist()


def test_names_of_samples_come_back_from_the_folder_as_they_were(sides: tuple[Study, Study], tmp_path: Path) -> None:
    train, test = sides
    ids = pd.Index(["NA", "007", "null", "1e3", *test.sample_ids[4:]], name="sample_id")
    renamed = replace(test, sample_ids=ids, metadata=test.metadata.set_axis(ids))
    model = aam.AAM(TINY).fit(train, target="age", config=replace(QUICK, epochs=1))
    model.evaluate(renamed, config=aam.EvaluateConfig(num_resamples=20, num_trees=5), find_leaks=False)
    loaded = aam.load(model.save(tmp_path / "run"))
    assert loaded.evaluation is not None
    assert loaded.evaluation.predictions.index.tolist() == ids.tolist()
    assert loaded.samples["test"] == ids.tolist()


# -- damaged and foreign folders ----------------------------------------------------------------


class Payload:
    """Unpickling it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def in_json(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        values = json.loads((run / name).read_text())
        change(values)
        (run / name).write_text(json.dumps(values))

    return damage


def in_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        weights = load_file(run / "model.safetensors")
        change(weights)
        save_file(weights, run / "model.safetensors")

    return damage


def cut(run: Path) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


HEAD = "_heads.target.head.weight"
STEM = "encoder.asv.stem.weight"
DAMAGE: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "no weights": (lambda r: (r / "model.safetensors").unlink(), RunError, r"it has no model\.safetensors"),
    "no record of ASVs": (
        in_json("config.json", lambda c: c.update(trained_asvs="all")),
        RunError,
        "trained_asvs is 'all', not null or an object",
    ),
    "no config": (lambda r: (r / "config.json").unlink(), RunError, r"is not a run folder: it has no config\.json"),
    "no target": (lambda r: (r / "target.json").unlink(), RunError, r"it has no target\.json"),
    "cut weights": (cut, RunError, r"model\.safetensors cannot be read"),
    "empty weights": (
        lambda r: (r / "model.safetensors").write_bytes(b""),
        RunError,
        r"model\.safetensors cannot be read",
    ),
    "NaN": (
        in_weights(lambda w: w[HEAD].view(-1)[0].fill_(float("nan"))),
        RunError,
        rf"holds NaN or infinity in {HEAD}",
    ),
    "infinity": (
        in_weights(lambda w: w[STEM].view(-1)[3].fill_(float("inf"))),
        RunError,
        rf"holds NaN or infinity in {STEM}",
    ),
    "extra weight": (
        in_weights(lambda w: w.update(extra=torch.zeros(2))),
        RunError,
        r"in 1 place \(extra is \(2,\), expected no such",
    ),
    "weight lacks": (in_weights(lambda w: w.pop(HEAD)), RunError, rf"in 1 place \({HEAD} is absent"),
    "wrong shape": (
        in_weights(lambda w: w.update({HEAD: torch.zeros(1, 3)})),
        RunError,
        r"is \(1, 3\), expected \(1, 16\)",
    ),
    "pretrained lacks": (
        in_weights(lambda w: w.pop(f"pretrained.{STEM.removeprefix('encoder.')}")),
        RunError,
        "in 1 place",
    ),
    "other width": (
        in_json("config.json", lambda c: c["model"].update(width=32)),
        RunError,
        "do not fit the model in its config",
    ),
    "unknown setting": (
        in_json("config.json", lambda c: c["model"].update(depth=3)),
        aam.ConfigError,
        "'depth' is not a setting of",
    ),
    "wrong type": (
        in_json("config.json", lambda c: c["model"].update(width="16")),
        aam.ConfigError,
        "width is '16'. Expected int",
    ),
    "wrong value": (
        in_json("config.json", lambda c: c["model"].update(width=7)),
        aam.ConfigError,
        "width is 7. Expected a multiple",
    ),
    "setting lacks": (in_json("config.json", lambda c: c.pop("model")), RunError, "it lacks 'model'"),
    "newer format": (
        in_json("config.json", lambda c: c.update(format_version=99)),
        RunError,
        "format version 99.*Upgrade with",
    ),
    "no format": (in_json("config.json", lambda c: c.pop("format_version")), RunError, "it lacks 'format_version'"),
    "unknown objective": (
        in_json("target.json", lambda t: t["objectives"][0].update(name="faith")),
        ObjectiveError,
        "'faith' is not an objective",
    ),
    "unknown part": (
        in_json("target.json", lambda t: t["objectives"][0].update(x=1)),
        aam.ConfigError,
        "'x' is not a setting of TargetConfig",
    ),
    "mean of text": (
        in_json(
            "target.json", lambda t: t["objectives"][0]["fitted"]["transforms"][0][0]["steps"][0].update(mean_="x")
        ),
        ValueError,
        "mean_",
    ),
    "not JSON": (lambda r: (r / "config.json").write_text("{width: 3"), RunError, r"config\.json is not JSON"),
    "not UTF-8": (lambda r: (r / "splits.json").write_bytes(b"\xff\xfe{"), RunError, r"splits\.json is not JSON"),
    "a list": (
        lambda r: (r / "target.json").write_text("[1]"),
        RunError,
        r"target\.json cannot be used: it is \[1\], not an object",
    ),
    "a huge network": (
        in_json("config.json", lambda c: c["model"].update(width=65536, num_layers=8)),
        RunError,
        r"do not fit the model in its config\.json, in \d+ places",
    ),
    "a setting lacks": (
        in_json("config.json", lambda c: c["model"].pop("positions")),
        RunError,
        "model lacks 'positions', a setting of ModelConfig",
    ),
    "a list of a model": (
        in_json("config.json", lambda c: c.update(model=[])),
        RunError,
        r"model is \[\], not an object",
    ),
    "filters": (
        in_json("config.json", lambda c: c["record"].update(filters=[1])),
        RunError,
        r"record.filters is \[1\], not an object",
    ),
    "transforms lack": (
        in_json("target.json", lambda t: t["objectives"][0].update(fitted=None)),
        RunError,
        r"objectives\[0\].fitted is None, not what the objective saves",
    ),
    "samples twice": (
        in_json("splits.json", lambda s: s["train"].append(s["train"][0])),
        RunError,
        r"train\[\d+\] is '.*', not there once alone",
    ),
    **{
        f"weights of {kind}": (
            in_weights(lambda w, kind=kind: w.update({HEAD: w[HEAD].to(kind)})),  # type: ignore[misc]
            RunError,
            rf"{HEAD} is of type \S+, expected float32",
        )
        for kind in (torch.bool, torch.int64, torch.float64, torch.float16, torch.complex64, torch.float8_e4m3fn)
    },
    "a pipe": (
        lambda r: ((r / "splits.json").unlink(), os.mkfifo(r / "splits.json")),
        RunError,
        "is a pipe, not a file",
    ),
    "reference not DNA": (
        in_json("config.json", lambda c: c.update(reference_asvs=["acgt"])),
        ValueError,
        "not DNA.*acgt",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_folder_is_refused(run: Path, case: str) -> None:
    damage, error, message = DAMAGE[case]
    damage(run)
    with pytest.raises(error, match=message):
        aam.load(run)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"a,b\n1\n", b'stage,epoch,train_loss,valid_loss\n"fit', b"x,y\n1,2\n"]
)
def test_a_history_that_cannot_be_read_is_told_and_predictions_stay(
    sides: tuple[Study, Study], fitted: aam.AAM, run: Path, content: bytes
) -> None:
    (run / "history.csv").write_bytes(content)
    told = pytest.warns(Notice, match=r"history\.csv .*Predictions do not depend on it") if content else nullcontext()
    with told:
        loaded = aam.load(run)
    assert loaded.history.empty
    assert loaded.predict(sides[1]).equals(fitted.predict(sides[1]))


def test_other_files_in_the_folder_are_not_read(fitted: aam.AAM, run: Path) -> None:
    os.mkfifo(run / "x.json")
    (run / "y.json").write_bytes(b"\xff")
    assert aam.load(run).config == fitted.config


def test_a_run_of_a_gpus_precision_is_read_without_one(sides: tuple[Study, Study], fitted: aam.AAM, run: Path) -> None:
    in_json("config.json", lambda c: c["train"].update(precision="fp16"))(run)
    (run / "SHA256SUMS").unlink()
    assert aam.load(run, device="cpu").predict(sides[1]).equals(fitted.predict(sides[1]))


@pytest.mark.parametrize("name", ["config.json", "target.json", "splits.json", "model.safetensors"])
def test_a_bit_that_flipped_is_refused_until_its_digest_is_written_anew(fitted: aam.AAM, run: Path, name: str) -> None:
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("needs the program sha256sum")
    listed = [line.split("  ")[1] for line in (run / "SHA256SUMS").read_text().splitlines()]
    subprocess.run([program, "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=run, check=True)
    raw = bytearray((run / name).read_bytes())
    at = raw.index(b"}") if name.endswith(".json") else len(raw) - 4
    raw[at : at + 1] = (
        b" }" if name.endswith(".json") else bytes([raw[at] ^ 1])
    )  # the last bit of a weight: finite, and another model
    (run / name).write_bytes(raw)
    with pytest.raises(RunError, match=rf"{name} was changed after the run was saved.*delete SHA256SUMS"):
        aam.load(run)
    sums = subprocess.run([program, *listed], cwd=run, check=True, capture_output=True)
    (run / "SHA256SUMS").write_bytes(sums.stdout)
    assert repr(aam.load(run)) == repr(fitted)
    (run / name).write_bytes(raw.replace(b" }", b"}", 1) if name.endswith(".json") else raw[:-1] + b"\0")
    (run / "SHA256SUMS").unlink()  # as it is in a folder of an earlier release
    assert repr(aam.load(run)) == repr(fitted)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no digest of config.json"),
        (b"\xff", "not UTF-8"),
        (b"0" * 64 + b"  config.json\n", "config.json was changed"),
        (b"config.json\n", "has 'config.json' in line 1, not a digest"),
        (b"0" * 64 + b"  x\n" + b"1" * 64 + b"  x\n", "has two digests of 'x'"),
        (b"0" * 2**17, "131,072 bytes or more"),
    ],
)
def test_damaged_digests_are_refused(run: Path, content: bytes, said: str) -> None:
    (run / "SHA256SUMS").write_bytes(content)
    with pytest.raises(RunError, match=said):
        aam.load(run)


def test_a_pickle_in_place_of_weights_is_not_run(run: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "the payload works"
    mark.unlink()
    for write in (lambda f: f.write(pickle.dumps(Payload(mark))), lambda f: torch.save({"w": Payload(mark)}, f)):
        with (run / "model.safetensors").open("wb") as file:
            write(file)
        with pytest.raises(RunError, match=r"model\.safetensors cannot be read"):
            aam.load(run)
        assert not mark.exists()


def test_no_folder_and_no_such_device_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere is not a run folder"):
        aam.load(tmp_path / "nowhere")
    with pytest.raises(aam.ConfigError, match="device is 'gpu'"):
        aam.load(run, device="gpu")


# -- writing ----------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "names", [["thesis.tex"], ["data/counts.tsv"], ["config.json", "weights.bin"], ["config.json"]]
)
def test_a_foreign_folder_is_left_as_it_is(fitted: aam.AAM, tmp_path: Path, names: list[str]) -> None:
    """Many programs call a file config.json: that alone does not make a run."""
    folder = tmp_path / "mine"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"theme": "dark"}')
    before = contents(tmp_path)
    with pytest.raises(RunError, match="exists and is not a run folder, so it is left as it is"):
        fitted.save(folder)
    assert contents(tmp_path) == before


def test_a_file_of_that_name_is_left_as_it_is(fitted: aam.AAM, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="is not a run folder"):
        fitted.save(tmp_path / "run")
    assert contents(tmp_path) == {"run": b"mine"}


def test_saving_again_replaces_and_leaves_nothing_beside(
    sides: tuple[Study, Study], fitted: aam.AAM, tmp_path: Path
) -> None:
    model = aam.AAM(TINY).fit(sides[0], target="diet", config=replace(QUICK, epochs=1))
    folder = tmp_path / "deep" / "run"
    fitted.save(folder)
    (folder / "evaluation.json").write_text("{}")
    assert model.save(folder) == folder
    assert [p.name for p in folder.parent.iterdir()] == ["run"]
    assert not (folder / "evaluation.json").exists(), "nothing of the earlier run stays"
    pd.testing.assert_frame_equal(aam.load(folder).predict(sides[1]), model.predict(sides[1]), **EXACT)


def test_a_save_that_fails_leaves_the_earlier_run_whole(fitted: aam.AAM, run: Path) -> None:
    """A lone surrogate in a CSV cannot be written as UTF-8, so the second save breaks half-way."""
    before = contents(run.parent)
    model = aam.load(run)
    model.history["\ud800"] = 1.0
    with pytest.raises(UnicodeEncodeError):
        model.save(run)
    assert contents(run.parent) == before
    assert [p.name for p in run.parent.iterdir()] == ["run"]


def test_an_empty_folder_may_be_filled(fitted: aam.AAM, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert (fitted.save(tmp_path / "run") / "config.json").is_file()


@pytest.mark.parametrize(
    "link", ["checkpoints", "checkpoints/last", "checkpoints/command.json", "checkpoints/last/state.json"]
)
def test_links_in_a_strangers_run_lead_no_writer_out_of_it(link: str, fitted: aam.AAM, tmp_path: Path) -> None:
    from aam_nb.cli import main
    from aam_nb.train.checkpoint import write_checkpoint

    mine = tmp_path / "mine"
    (mine / "deep").mkdir(parents=True)
    (mine / "file").write_text("mine")
    run = tmp_path / "run"
    (run / link).parent.mkdir(parents=True)
    (run / link).symlink_to(mine / "file" if link.endswith(".json") else mine)
    with pytest.raises(RunError, match=r"is a link, and what it leads to would be replaced.*Remove the link"):
        write_checkpoint(run, {}, {})
    assert main(["resume", "--run", str(run)]) == 2
    with pytest.raises(RunError, match="is a link"):
        fitted.save(run)
    assert sorted(p.name for p in mine.iterdir()) == ["deep", "file"]
    assert (mine / "file").read_text() == "mine"
