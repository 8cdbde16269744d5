"""A training that is killed and resumed ends with the bits of one that was not."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import QUICK, TINY
from safetensors.torch import load_file, save_file

import aam_nb as aam
from aam_nb.study.study import Study
from aam_nb.train.callbacks import Callback
from aam_nb.train.run import RunError

LONG = replace(QUICK, epochs=4, save_every=3, batch_size=8)
JOBS = """
import json, os, signal, sys, torch
import aam_nb as aam
from aam_nb.train.callbacks import Callback
from aam_nb.train import estimator  # imported once, before the forks
torch.set_num_threads(1)
stage, more, jobs = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])

class Dies(Callback):
    def __init__(self, at, how):
        self.at, self.how = at, how
    def on_step_end(self, trainer):
        if trainer.step == self.at:
            os.kill(os.getpid(), getattr(signal, self.how))

def work(folder, die_at, how):
    study = aam.simulate_study(48, 80, seed=1, config=aam.SimulateConfig(length=40, min_depth=300, max_depth=1500))
    train, _ = study.split(test_size=0.25, target="age", group="host_id", seed=0)
    shape = aam.ModelConfig(width=16, num_layers=1, num_attn_heads=2, dropout=0.1, drop_path=0.1)
    config = aam.TrainConfig(**({"epochs": 3, "batch_size": 8, "save_every": 2, "progress": False, "device": "cpu"} | more))
    resume = os.path.isdir(os.path.join(folder, "checkpoints", "last"))
    model, how = aam.AAM(shape), {"config": config, "callbacks": [Dies(die_at, how)], "out": folder, "resume": resume}
    if stage == "pretrain":
        model.pretrain(train, objectives=["unifrac", "nucleotides"], **how)
    else:
        model.fit(train, target="age", **how)
    if model.interrupted:
        raise KeyboardInterrupt
    model.save(folder)

codes = []
for job in jobs:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(*job)
            code = 0
        except SystemExit as stop:
            code = stop.code
        except KeyboardInterrupt:
            code = 130
        finally:
            os._exit(code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


def run(stage: str, more: dict[str, Any], *jobs: tuple[Path, int, str]) -> list[int]:
    """Exit codes of trainings, each a process of its own that goes on where the folder's checkpoint ends and dies at a step."""
    listed = json.dumps([[str(folder), at, how] for folder, at, how in jobs])
    args = [sys.executable, "-W", "ignore", "-c", JOBS, stage, json.dumps(more), listed]
    done = subprocess.run(args, capture_output=True, text=True, timeout=200, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    codes: list[int] = json.loads(done.stdout.splitlines()[-1])
    return codes


def digest(folder: Path) -> str:
    """Of the weights, and of the history but for its seconds."""
    rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    unmeasured = [k for k, name in enumerate(rows[0]) if name not in ("seconds", "memory_mb")]
    text = repr([[row[k] for k in unmeasured] for row in rows]).encode()
    return hashlib.sha256((folder / "model.safetensors").read_bytes() + text).hexdigest()


EVERYTHING = {
    "ema": 0.9, "mixup": 0.3, "mutation": 0.02, "rarefy": 200, "schedule": "plateau", "accumulation": 2, "optimizer": "sgd",
    "patience": 3, "loss_weighting": "uncertainty",
}  # fmt: skip
NEVER, KILL = -1, "SIGKILL"


@pytest.mark.parametrize("stage", ["pretrain", "fit"])
@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["plain", "everything"])
def test_killed_at_several_steps_it_ends_with_the_same_bits(tmp_path: Path, stage: str, more: dict[str, Any]) -> None:
    """Three epochs of four steps, checkpoints every two: killed before the first, in mid-epoch, at an epoch's end, and twice."""
    deaths = {"early": [1], "middle": [3, 7], "edge": [4, 8], "late": [11]}
    jobs = [(tmp_path / "whole", NEVER, KILL)]
    jobs += [(tmp_path / name, at, KILL) for name, steps in deaths.items() for at in [*steps, NEVER]]
    codes = run(stage, more, *jobs)
    assert codes == [0 if at == NEVER else -signal.SIGKILL for _, at, _ in jobs]
    for name in deaths:
        assert digest(tmp_path / name) == digest(tmp_path / "whole"), name


PLAIN: dict[str, Any] = {
    "about": None,
    "ended": False,
    "epoch": 0,
    "step": 0,
    "at_least": 1,
    "sums": {},
    "counts": {},
    "rows": [],
    "optimizer": {"groups": [{}], "numbers": {}},
    "schedule": {"step": 0, "factor": 1.0, "lowest": None, "waited": 0},
    "scaler": {},
    "random": {"numpy": ["MT19937", 624, 0, 0.0], "python": [3, [0] * 625, None]},
    "callbacks": [],
}
"""The values of a checkpoint of no training."""


def test_killed_while_a_checkpoint_is_written_it_has_the_one_before(tmp_path: Path) -> None:
    """A writer that does nothing but write checkpoints is killed at random moments; each time a whole one is there."""
    writer = (
        "import json, sys, torch; from pathlib import Path; from aam_nb.train.checkpoint import write_checkpoint\n"
        "k, plain = 0, json.loads(sys.argv[2])\n"
        "while True:\n"
        "    k += 1\n"
        "    write_checkpoint(Path(sys.argv[1]), {'x': torch.full((300_000,), float(k))}, plain | {'step': k})\n"
        "    print(k, flush=True)\n"
    )
    from aam_nb.train.checkpoint import read_checkpoint

    rng, between = np.random.default_rng(0), 0
    for trial in range(4):
        command = [sys.executable, "-c", writer, str(tmp_path), json.dumps(PLAIN)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.05)))
        process.kill()
        done = [1, *map(int, process.stdout.read().split())]
        process.stdout.close()
        process.wait()
        between += any(p.suffix in (".new", ".old") for p in (tmp_path / "checkpoints").iterdir())
        tensors, values = read_checkpoint(tmp_path)
        assert values["step"] >= max(done), trial
        assert torch.equal(tensors["x"], torch.full((300_000,), float(values["step"])))
        assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["last"], "nothing is left beside it"
    assert between, "at least one was killed in mid-write"


def test_killed_between_the_two_renames_the_checkpoint_is_given_back(tmp_path: Path) -> None:
    from aam_nb.train.checkpoint import read_checkpoint, write_checkpoint

    write_checkpoint(tmp_path, {"x": torch.ones(3)}, PLAIN | {"step": 1})
    last = tmp_path / "checkpoints" / "last"
    last.rename(last.with_name(".last.0123abcd.old"))
    last.with_name(".last.0123abcd.new").mkdir()
    assert read_checkpoint(tmp_path)[1]["step"] == 1
    assert [p.name for p in last.parent.iterdir()] == ["last"]


@pytest.mark.parametrize(("how", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_polite_stop_saves_first(tmp_path: Path, how: str, code: int) -> None:
    """Stopped at step 3 of an epoch that saves at its end alone: the checkpoint is of step 3 all the same."""
    more = {"save_every": 1000}
    assert run("fit", more, (tmp_path / "whole", NEVER, how), (tmp_path / "stopped", 3, how)) == [0, code]
    state = json.loads((tmp_path / "stopped" / "checkpoints" / "last" / "state.json").read_text())
    assert (state["step"], state["ended"]) == (3, False)
    assert run("fit", more, (tmp_path / "stopped", NEVER, how)) == [0]
    assert digest(tmp_path / "stopped") == digest(tmp_path / "whole")


class StopAt(Callback):
    """Stops as Ctrl-C would, after a given step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def on_step_end(self, trainer: Any) -> None:
        if trainer.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def stopped(sides: tuple[Study, Study], tmp_path: Path) -> Path:
    """A fit stopped in its second epoch."""
    model = aam.AAM(TINY).fit(sides[0], target="age", config=LONG, callbacks=[StopAt(6)], out=tmp_path / "run")
    assert model.interrupted
    assert len(model.history) == 1
    assert len(model.predict(sides[1])) == sides[1].num_samples
    return tmp_path / "run"


def test_an_unfinished_run_is_neither_loaded_nor_started_over(sides: tuple[Study, Study], stopped: Path) -> None:
    with pytest.raises(RunError, match=r"holds an unfinished training.*aam-nb resume"):
        aam.load(stopped)
    before = (stopped / "checkpoints" / "last" / "state.safetensors").read_bytes()
    with pytest.raises(RunError, match="starting again would lose it"):
        aam.AAM(TINY).fit(sides[0], target="age", config=LONG, out=stopped)
    assert (stopped / "checkpoints" / "last" / "state.safetensors").read_bytes() == before


@pytest.mark.parametrize("linked", ["checkpoints/last", "checkpoints"])
def test_a_checkpoint_that_is_a_link_to_elsewhere_is_not_resumed(
    sides: tuple[Study, Study], stopped: Path, tmp_path: Path, linked: str
) -> None:
    """The next checkpoint would take the place of that folder, and what else is in it would be lost."""
    elsewhere = tmp_path / "elsewhere"
    (stopped / linked).rename(elsewhere)
    (elsewhere / "letter").write_text("dear")
    (stopped / linked).symlink_to(elsewhere)
    before = sorted(p.name for p in elsewhere.iterdir())
    with pytest.raises(RunError, match="is a link, and what it leads to would be replaced"):
        aam.AAM(TINY).fit(sides[0], target="age", config=LONG, out=stopped, resume=True)
    assert sorted(p.name for p in elsewhere.iterdir()) == before


def test_what_a_user_put_into_a_run_or_a_study_is_kept_when_it_is_saved_again(study: Study, tmp_path: Path) -> None:
    few = study.keep_samples(study.sample_ids[:6])
    model = aam.AAM(TINY).fit(study, target="age", config=replace(LONG, epochs=1))
    for save in (model.save, few.save):
        folder = tmp_path / save.__self__.__class__.__name__
        save(folder)
        (folder / "notes.md").write_text("mine")
        save(folder)
        assert (folder / "notes.md").read_text() == "mine"


def test_resumed_in_the_same_process_it_ends_like_one_that_never_stopped(
    sides: tuple[Study, Study], stopped: Path, tmp_path: Path
) -> None:
    whole = aam.AAM(TINY).fit(sides[0], target="age", config=LONG)
    model = aam.AAM(TINY).fit(sides[0], target="age", config=LONG, out=stopped, resume=True)
    assert not model.interrupted
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], weight), name
    columns = [c for c in whole.history if c not in ("seconds", "memory_mb")]
    assert model.history[columns].equals(whole.history[columns])
    loaded = aam.load(model.save(stopped))
    assert loaded.predict(sides[1]).equals(whole.predict(sides[1]))
    assert (stopped / "checkpoints" / "last" / "state.json").is_file(), "the run keeps its last checkpoint"
    again = aam.AAM(TINY).fit(sides[0], target="age", config=LONG, out=stopped, resume=True)
    assert again.predict(sides[1]).equals(whole.predict(sides[1])), "nothing is left to do, and the result is the same"


OTHERS = {
    "data": ({"test_size": 0.3}, {}, "the samples, ASVs, counts or the tree are other ones"),
    "model": (
        {},
        {"model": aam.ModelConfig(width=32, num_layers=1, num_attn_heads=2)},
        "the shape of the network is another one",
    ),
    "rate": ({}, {"config": replace(LONG, learning_rate=0.01)}, "learning_rate was 0.001 and is 0.01"),
    "target": ({}, {"target": "diet"}, "what is predicted, its classes or its settings"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_training_is_not_resumed(study: Study, stopped: Path, case: str) -> None:
    split, other, told = OTHERS[case]
    how = {"model": TINY, "config": LONG, "target": "age"} | other
    train, _ = study.split(**({"test_size": 0.25, "target": "age", "group": "host_id", "seed": 0} | split))
    with pytest.raises(RunError, match="is of another training") as caught:
        aam.AAM(how["model"]).fit(train, target=how["target"], config=how["config"], out=stopped, resume=True)
    assert told in str(caught.value)


def damage_json(folder: Path, change: Any) -> None:
    """Its digest goes, as in a checkpoint of an earlier version: whoever changes a file can do that too."""
    state = json.loads((folder / "state.json").read_text())
    state.pop("values_sha256")
    change(state)
    (folder / "state.json").write_text(json.dumps(state))


def damage_weights(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "state.safetensors")
    change(tensors)
    save_file(tensors, folder / "state.safetensors")
    digest = hashlib.sha256((folder / "state.safetensors").read_bytes()).hexdigest()
    damage_json(folder, lambda state: state.update(sha256=digest))


NAME = "network.encoder.sample.norm.weight"
DAMAGE: dict[str, tuple[Any, str]] = {
    "cut off": (lambda f: (f / "state.safetensors").write_bytes(b"\x10\x00"), "cannot be read"),
    "no JSON": (lambda f: (f / "state.json").write_text("{"), "is not JSON"),
    "newer": (lambda f: damage_json(f, lambda s: s.update(checkpoint_version=99)), "format version 99"),
    "lacks": (lambda f: damage_json(f, lambda s: s.pop("optimizer")), "it lacks 'optimizer'"),
    "shape": (lambda f: damage_weights(f, lambda t: t.update({NAME: torch.ones(3)})), "expected \\(16,\\)"),
    "unknown": (lambda f: damage_weights(f, lambda t: t.update({"network.more": torch.ones(3)})), "no such weight"),
    "another file": (
        lambda f: save_file({"x": torch.ones(2)}, f / "state.safetensors"),
        r"is not the one that state\.json was written with",
    ),
    "moment": (
        lambda f: damage_weights(f, lambda t: t.update({"optimizer.0.exp_avg": torch.ones(3)})),
        "exp_avg of weight 0 is",
    ),
    "no best": (
        lambda f: damage_weights(f, lambda t: [t.pop(k) for k in list(t) if k.startswith("best.")]),
        "rows of history",
    ),
    "parts": (lambda f: damage_json(f, lambda s: s.update(at_least=-1)), "at_least is -1, not a whole number"),
    "schedule": (lambda f: damage_json(f, lambda s: s["schedule"].update(step=1)), "a schedule at step 1"),
    "rows": (lambda f: damage_json(f, lambda s: s.update(rows=[])), "0 rows of history at epoch 1"),
    "about": (lambda f: damage_json(f, lambda s: s.update(about=None)), "is of another training"),
    "sums": (lambda f: damage_json(f, lambda s: s["sums"].update(target=None)), "sums.target is None, not a number"),
    "callbacks": (lambda f: damage_json(f, lambda s: s.update(callbacks=[None])), r"callbacks\[0\] is None"),
    "generator": (
        lambda f: damage_json(f, lambda s: s["random"]["numpy"].__setitem__(1, 1e30)),
        r"random.numpy\[1\] is 1e\+30",
    ),
    "rate": (lambda f: damage_json(f, lambda s: s["optimizer"]["groups"][0].update(betas="x")), "betas is 'x', not"),
    "a digit": (
        lambda f: (f / "state.json").write_text(
            (f / "state.json").read_text().replace('"train_loss": ', '"train_loss": 1')
        ),
        r"state\.json was changed since it was written",
    ),
    "NaN": (lambda f: damage_weights(f, lambda t: t[NAME].fill_(float("nan"))), "NaN or infinity"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_checkpoint_is_refused(sides: tuple[Study, Study], stopped: Path, case: str) -> None:
    damage, told = DAMAGE[case]
    damage(stopped / "checkpoints" / "last")
    with pytest.raises(RunError, match=told):
        aam.AAM(TINY).fit(sides[0], target="age", config=LONG, out=stopped, resume=True)


def test_a_pickle_in_a_checkpoint_is_not_run(sides: tuple[Study, Study], stopped: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'boom'}",)

    torch.save({"x": Bomb()}, stopped / "checkpoints" / "last" / "state.safetensors")
    with pytest.raises(RunError, match="cannot be read"):
        aam.AAM(TINY).fit(sides[0], target="age", config=LONG, out=stopped, resume=True)
    assert not (tmp_path / "boom").exists()


def test_resume_needs_a_checkpoint_and_a_folder(sides: tuple[Study, Study], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no checkpoint to continue from"):
        aam.AAM(TINY).fit(sides[0], target="age", config=LONG, out=tmp_path / "none", resume=True)
    with pytest.raises(aam.ConfigError, match="resume is True without a folder"):
        aam.AAM(TINY).fit(sides[0], target="age", config=LONG, resume=True)


FULL = """
import resource, signal, sys, warnings, torch
import aam_nb as aam
from aam_nb.train.callbacks import Callback
from aam_nb.train.checkpoint import CheckpointWarning
torch.set_num_threads(1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

class Fills(Callback):
    def on_step_end(self, trainer):
        if trainer.step == 7:  # from here on no file may be larger than a kilobyte, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))

study = aam.simulate_study(48, 80, seed=1, config=aam.SimulateConfig(length=40, min_depth=300, max_depth=1500))
config = aam.TrainConfig(epochs=3, batch_size=8, progress=False, device="cpu")
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    aam.AAM(aam.ModelConfig(width=16, num_layers=1, num_attn_heads=2)).fit(
        study, target="age", config=config, callbacks=[Fills()], out=sys.argv[1]
    )
print(sum(w.category is CheckpointWarning for w in told), [str(w.message) for w in told][-1])
"""


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    """Six steps an epoch: the checkpoint of the first epoch cannot be written over; training itself goes on to its end."""
    from aam_nb.train.checkpoint import read_checkpoint

    found = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "run")], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout.split()[0]) >= 2
    assert "cannot be written" in found.stdout
    tensors, values = read_checkpoint(tmp_path / "run")
    assert values["epoch"] == 1
    assert len(tensors) > 10


def test_a_training_from_other_weights_is_not_resumed(sides: tuple[Study, Study], tmp_path: Path) -> None:
    def pretrained(seed: int) -> aam.AAM:
        return aam.AAM(TINY).pretrain(sides[0], config=replace(QUICK, epochs=1, seed=seed))

    how: dict[str, Any] = {"target": "age", "config": LONG, "out": tmp_path / "run"}
    assert pretrained(0).fit(sides[0], callbacks=[StopAt(6)], **how).interrupted
    with pytest.raises(RunError, match="the weights that training starts from are other ones"):
        pretrained(1).fit(sides[0], resume=True, **how)
    assert not pretrained(0).fit(sides[0], resume=True, **how).interrupted


def test_a_new_training_in_a_finished_run_leaves_that_as_it_is_until_it_is_saved(
    sides: tuple[Study, Study], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = aam.AAM(TINY).fit(sides[0], target="age", config=LONG, out=run)
    first.save(run)
    aam.AAM(TINY).fit(sides[0], target="diet", config=LONG, out=run, callbacks=[StopAt(6)])
    loaded = aam.load(run)
    assert loaded.history.columns.tolist() == first.history.columns.tolist()
    assert loaded.predict(sides[1]).equals(first.predict(sides[1]))
    with pytest.raises(RunError, match="starting again would lose it"):
        aam.AAM(TINY).fit(sides[0], target="diet", config=LONG, out=run)
    model = aam.AAM(TINY).fit(sides[0], target="diet", config=LONG, out=run, resume=True)
    assert aam.load(model.save(run)).predict(sides[1]).columns[0] == "diet"


def test_reading_a_run_touches_no_others(sides: tuple[Study, Study], fitted: aam.AAM, tmp_path: Path) -> None:
    """Names that begin alike, a writer at work, and a writer that was killed between its renames."""
    fitted.save(tmp_path / "lr")
    for name in (".lr.0123abcd.new", ".lr.1.0123abcd.new", ".lr.1.0123abcd.old"):
        (tmp_path / name).mkdir()
    aam.load(tmp_path / "lr")
    assert {p.name for p in tmp_path.iterdir()} == {
        "lr",
        ".lr.0123abcd.new",
        ".lr.1.0123abcd.new",
        ".lr.1.0123abcd.old",
    }
    (tmp_path / "lr").rename(tmp_path / ".lr.89abcdef.old")
    assert aam.load(tmp_path / "lr").predict(sides[1]).equals(fitted.predict(sides[1]))


def test_a_place_that_cannot_be_written_to_is_refused_before_the_first_step(sides: tuple[Study, Study]) -> None:
    class Never(Callback):
        def on_step_end(self, trainer: Any) -> None:
            raise AssertionError("it has begun")

    with pytest.raises(OSError, match="cannot be written"):
        aam.AAM(TINY).fit(sides[0], target="age", config=LONG, callbacks=[Never()], out="/proc/x")
