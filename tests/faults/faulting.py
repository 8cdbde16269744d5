"""Every verb that writes, with a fault at each of its file operations: what stood there stays whole, and the next run mends the rest.

python tests/faults/faulting.py                       all verbs, all faults, every operation; the table of numbers
python tests/faults/faulting.py fit --how kill --at 7 one case again
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import hashlib
import importlib
import io
import json
import os
import pkgutil
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from inject import Faults

import aam_nb
import aam_nb as aam
from aam_nb.cli import main as aam_nb_main
from aam_nb.config import EvaluateConfig, UserError

HOWS = ("kill", "full", "refuse")
LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.(new|old)|\..*lock.*|probe")
UNMEASURED = re.compile("seconds|memory_mb|command|versions|folder|spec|sha256|^python$")
"""Columns and keys that differ from run to run."""
TINY = ["--width", "8", "--num-layers", "1", "--num-attn-heads", "2", "--no-progress"]
TRAIN = ["--epochs", "2", "--batch-size", "8", "--device", "cpu"]
STUDY = ["--table", "table.biom", "--metadata", "metadata.tsv"]


@dataclass(frozen=True)
class Verb:
    """What writes: `old` made what stands there before, `new` is what is interrupted, and `again` what mends it (by default `new`)."""

    old: Callable[[], int] | None
    new: Callable[[], int]
    again: Callable[[], int] | None = None
    load: Callable[[], object] | None = None


def command(*args: str) -> Callable[[], int]:
    """A command line, in this process."""

    def run() -> int:
        return aam_nb_main(list(args))

    return run


def call(function: Callable[[], object]) -> Callable[[], int]:
    """A call of the library as the command line makes it."""

    def run() -> int:
        try:
            function()
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    return run


def _resume() -> int:
    """What a user does after a training was stopped: resume it where it can be resumed, else start again."""
    if Path("out/checkpoints/command.json").is_file():
        return aam_nb_main(["resume", "--run", "out"])
    return aam_nb_main(FIT)


def _fit_again() -> int:
    """What a user does who wanted to replace a run: the same command, and `resume` where that says that a training is unfinished."""
    return aam_nb_main(FIT) and aam_nb_main(["resume", "--run", "out"])


FIT = ["fit", *STUDY, "--target", "age", "--group", "host_id", "--out", "out", *TINY, *TRAIN, "--save-every", "2"]
PRETRAIN = ["pretrain", *STUDY, "--out", "out", *TINY, *TRAIN, "--objectives", "nucleotides"]
QUICK = ["--folds", "2", "--no-tune", "--num-resamples", "20", "--num-permutations", "19", "--no-progress"]
COMPARE = [
    "compare",
    *STUDY,
    "--target",
    "age",
    "--group",
    "host_id",
    "--contenders",
    "svm",
    "dummy",
    "--out",
    "out",
    *QUICK[:-1],
]
RUN = ["--run", "run"]
EVALUATE = [*STUDY, "--out", "out", "--no-tune", "--num-trees", "2", "--num-resamples", "20"]
ERRORS = ["errors", *RUN, *STUDY, "--out", "out", "--num-permutations", "99", "--num-resamples", "20"]


def _study() -> aam.Study:
    return aam.read_study("table.biom", metadata="metadata.tsv")


def verbs() -> dict[str, Verb]:
    """Everything that writes, by name."""
    other = ["--run", "run2"]
    return {
        "fit": Verb(None, command(*FIT), _resume, lambda: aam.load("out", device="cpu")),
        "fit_over": Verb(
            command(*FIT, "--seed", "5"), command(*FIT), _fit_again, lambda: aam.load("out", device="cpu")
        ),
        "pretrain": Verb(
            None,
            command(*PRETRAIN),
            lambda: aam_nb_main(
                ["resume", "--run", "out"] if Path("out/checkpoints/command.json").is_file() else PRETRAIN
            ),
        ),
        "save": Verb(
            call(lambda: aam.load("run2", device="cpu").save("out")),
            call(lambda: aam.load("run", device="cpu").save("out")),
            load=lambda: aam.load("out", device="cpu"),
        ),
        "predict": Verb(
            command("predict", *other, *STUDY, "--out", "out/p.csv"),
            command("predict", *RUN, *STUDY, "--out", "out/p.csv"),
        ),
        "evaluate": Verb(command("evaluate", *other, *EVALUATE), command("evaluate", *RUN, *EVALUATE)),
        "compare": Verb(None, command(*COMPARE)),
        "errors": Verb(None, command(*ERRORS)),
        "explain": Verb(None, command("explain", *RUN, *STUDY, "--out", "out", "--no-check")),
        "report": Verb(
            command("report", *other, *STUDY, "--out", "out/r.html"),
            command("report", *RUN, *STUDY, "--out", "out/r.html"),
        ),
        "study": Verb(
            call(lambda: _study().keep_samples(_study().sample_ids[:9]).save("out")),
            call(lambda: _study().save("out")),
            load=lambda: aam.Study.load("out"),
        ),
        "files": Verb(None, call(_write_files)),
    }


def _use_small_forests() -> None:
    """The forest that `fit` sets beside the model writes no file, and would take most of the time."""
    make = EvaluateConfig.__init__

    @functools.wraps(make)
    def make_small(self: EvaluateConfig, **settings: Any) -> None:
        make(self, **({"tune": False, "num_trees": 2} | settings))

    EvaluateConfig.__init__ = make_small  # type: ignore[method-assign]


def _make_run(name: str, seed: int) -> None:
    train, test = _study().split(target="age", group="host_id", test_size=0.3, seed=0)
    config = aam.TrainConfig(epochs=1, batch_size=8, progress=False, device="cpu", seed=seed)
    model = aam.AAM(aam.ModelConfig(width=8, num_layers=1, num_attn_heads=2)).fit(train, target="age", config=config)
    model.evaluate(test, train=train, baselines=("dummy",))
    model.save(name)


def _write_files() -> None:
    study = _study()
    aam.write_biom(study, "out/table.biom")
    aam.write_metadata(study.metadata, "out/metadata.tsv")


# -- what is there ----------------------------------------------------------------------------------------------------------


def _simple(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _simple(v) for k, v in value.items() if not UNMEASURED.search(k)}
    return [_simple(v) for v in value] if isinstance(value, list) else value


def digest(path: Path) -> str:
    """Of what a file says, without what is measured; of another file, its bytes."""
    raw = path.read_bytes()
    with contextlib.suppress(ValueError, KeyError):
        if path.suffix == ".json":
            raw = json.dumps(_simple(json.loads(raw)), sort_keys=True).encode()
        elif path.suffix == ".csv" and raw.strip():
            frame = pd.read_csv(io.BytesIO(raw), dtype=str)
            raw = frame[[c for c in frame if not UNMEASURED.search(c)]].to_csv().encode() + raw[-1:]
        elif path.suffix == ".html":
            raw = re.sub(rb"\d+(\.\d+)? (s|seconds|MB)\b|\d{4}-\d\d-\d\d[T ]?[\d:]*", b"", raw)
        elif path.suffix == ".png":  # that of a comparison holds seconds
            raw = raw[:8] + raw[-8:]
        elif path.suffix == ".biom":
            raw = aam.read_study(path).content_hash().encode()
    return hashlib.sha256(raw).hexdigest()


def files_of(folder: Path) -> dict[str, str]:
    """Digests of the files of a folder, without checkpoints of a training that is not over."""
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and not LEFTOVER.search(str(p.relative_to(folder)))]
    return {str(p.relative_to(folder)): digest(p) for p in paths}


def leftovers(folder: Path) -> list[str]:
    """Hidden names that a writer left."""
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob(".*") if re.fullmatch(r"\..+\.[0-9a-f]{8}\.(new|old)", p.name)
    )


# -- a case -----------------------------------------------------------------------------------------------------------------


class Bench:
    """A folder with the inputs, and for each verb what was there before and what it makes."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.work, self.inputs = self.root / "work", self.root / "inputs"
        self.inputs.mkdir(parents=True)
        config = aam.SimulateConfig(length=24, min_depth=100, max_depth=200)
        study = aam.simulate_study(24, 60, seed=1, config=config)
        os.chdir(self.inputs)
        aam.write_biom(study, "table.biom")
        aam.write_metadata(study.metadata, "metadata.tsv")
        for module in pkgutil.walk_packages(aam_nb.__path__, "aam_nb."):  # once, not in each fork
            if "__main__" not in module.name:
                importlib.import_module(module.name)
        importlib.import_module("torch._dynamo")  # tensors without memory import it when they are first filled
        _use_small_forests()
        gc.freeze()  # what was imported is not searched again in each fork
        self.verbs = verbs()
        self.olds: dict[str, dict[str, str]] = {}
        self.news: dict[str, dict[str, str]] = {}
        self.operations: dict[str, list[str]] = {}
        for name, seed in (("run", 1), ("run2", 2)):
            assert self._fork(call(lambda name=name, seed=seed: _make_run(name, seed)))[0] == 0

    def prepare(self, name: str) -> int:
        """Run a verb without a fault, once; returns how many file operations it makes."""
        if name not in self.olds:
            verb = self.verbs[name]
            self._reset(name, old=False)
            if verb.old is not None:
                assert self._fork(verb.old)[0] == 0, name
            shutil.rmtree(self.root / f"old-{name}", ignore_errors=True)
            (self.work / "out").mkdir(exist_ok=True)
            shutil.copytree(self.work / "out", self.root / f"old-{name}")
            self.olds[name] = files_of(self.work / "out")
            self._reset(name)
            code, told = self._fork(verb.new, Faults(str(self.work), "count", 0))
            assert code == 0, told
            self.operations[name] = json.loads((self.root / "operations.json").read_text())
            self.news[name] = files_of(self.work / "out")
        return len(self.operations[name])

    def _reset(self, name: str, *, old: bool = True) -> None:
        os.chdir(self.root)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        for path in self.inputs.iterdir():
            if not path.name.startswith("."):
                (self.work / path.name).symlink_to(path)
        if old and self.olds.get(name):
            shutil.copytree(self.root / f"old-{name}", self.work / "out")
        os.chdir(self.work)

    def _fork(self, function: Callable[[], int], faults: Faults | None = None) -> tuple[int, str]:
        """Exit code (negative: the signal) of a function in a process of its own, and what it printed as errors."""
        told = self.root / "told.txt"
        child = os.fork()
        if child == 0:
            code = 70
            try:
                with told.open("w") as err, open(os.devnull, "w") as out:
                    sys.stdout, sys.stderr = out, err
                    os.dup2(err.fileno(), 2)
                    os.dup2(out.fileno(), 1)
                    signal.alarm(120)
                    if faults is not None:
                        faults.install()
                    code = function()
                    err.flush()
                    if faults is not None:
                        faults.on = False
                        (self.root / "operations.json").write_text(json.dumps(faults.names))
            except BaseException:
                if faults is not None:
                    faults.on = False
                    faults.how = "count"
                with told.open("a") as err:
                    traceback.print_exc(file=err)
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        return os.waitstatus_to_exitcode(status), told.read_text(errors="replace")

    def run(self, name: str, how: str, at: int) -> list[str]:
        """One fault; what was wrong."""
        self.prepare(name)
        self._reset(name)
        verb, out = self.verbs[name], self.work / "out"
        code, told = self._fork(verb.new, Faults(str(self.work), how, at))
        wrong = self._judge_end(how, code, told)
        # What is there is old or new, file by file; a folder that can be loaded can be loaded.
        old, new = self.olds[name], self.news[name]
        there = files_of(out) if out.is_dir() else {}
        if verb.load is None or not old:
            wrong += [
                f"{p} is neither old nor new"
                for p, d in there.items()
                if d not in (old.get(p), new.get(p)) and not _is_of_training(p)
            ]
        if verb.load is not None and old:
            code_of_load, why = self._fork(call(verb.load))
            now = files_of(out) if out.is_dir() else {}
            main = {p: d for p, d in now.items() if not _is_of_training(p)}
            if code_of_load:
                wrong.append(f"what stood there cannot be loaded: {why[-300:]}")
            elif main not in [{p: d for p, d in side.items() if not _is_of_training(p)} for side in (old, new)]:
                wrong.append(f"a mixture of old and new: {[p for p, d in main.items() if d != new.get(p)]}")
        # The next run ends as one without a fault, and leaves nothing.
        code, told = self._fork(verb.again or verb.new)
        if code:
            wrong.append(f"the next run ended with {code}: {told[-400:]}")
        else:
            now = files_of(out)
            different = [p for p in sorted(now.keys() | new.keys()) if now.get(p) != new.get(p)]
            wrong += [f"after the next run {different} differ"] if different else []
            wrong += [f"left over: {left}"] if (left := leftovers(self.work)) else []
        return wrong

    def _judge_end(self, how: str, code: int, told: str) -> list[str]:
        lines = [line for line in told.splitlines() if line.strip()]
        if how == "kill":
            return [] if code in (-signal.SIGKILL, 0) else [f"killed, it ended with {code}: {told[-300:]}"]
        if "Traceback" in told or code not in (0, 2):
            return [f"ended with {code}: {told[-500:]}"]
        cause = {"full": "No space left", "refuse": "Permission denied"}[how]
        if code == 2 and cause not in told:
            return [f"the cause is not named: {lines[-1][:300] if lines else 'nothing told'}"]
        return []


def choose_operations(names: Sequence[str], *, every: int = 1, distinct: bool = False) -> list[int]:
    """Numbers, from 1 on, of the operations that have a fault: each so many, or the first and the last of each file and kind."""
    if not distinct:
        return list(range(1, len(names) + 1, every))
    places: dict[str, list[int]] = {}
    for number, name in enumerate(names, start=1):
        places.setdefault(re.sub(r"[0-9a-f]{8,}", "", name), []).append(number)
    return sorted({number for numbers in places.values() for number in (numbers[0], numbers[-1])})


def _is_of_training(path: str) -> bool:
    return path.startswith("checkpoints") or path in ("command.json", "epochs.csv")


def describe(name: str, how: str, at: int, operation: str, wrong: Sequence[str]) -> str:
    """A fault of ours, and the command that shows it again."""
    again = f"python tests/faults/faulting.py {name} --how {how} --at {at}"
    return f"{name}, {how} at {at} ({operation}): {'; '.join(wrong)[:700]}\n    {again}"


def main() -> int:
    """The command line of the suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verbs", nargs="*")
    parser.add_argument("--how", choices=HOWS)
    parser.add_argument("--at", type=int)
    parser.add_argument("--every", type=int, default=1, help="only each so many operations")
    parser.add_argument(
        "--distinct", action="store_true", help="only the first and the last operation of each kind on each file"
    )
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="faults-"))
    os.environ["AAM_NB_CACHE"] = str(root / "cache")
    total = 0
    try:
        bench = Bench(root)
        print(f"{'verb':<12}{'operations':>11}{'kills':>7}{'full':>7}{'refused':>9}{'faults':>8}{'seconds':>9}")
        for name in args.verbs or list(bench.verbs):
            start, faults = time.monotonic(), []
            count = bench.prepare(name)
            chosen = choose_operations(bench.operations[name], every=args.every, distinct=args.distinct)
            cases = dict.fromkeys(HOWS, 0)
            for how in [args.how] if args.how else HOWS:
                for at in [args.at] if args.at else chosen:
                    cases[how] += 1
                    if wrong := bench.run(name, how, at):
                        faults.append(describe(name, how, at, bench.operations[name][at - 1], wrong))
            numbers = f"{count:>11}{cases['kill']:>7}{cases['full']:>7}{cases['refuse']:>9}{len(faults):>8}"
            print(f"{name:<12}{numbers}{time.monotonic() - start:>9.0f}", flush=True)
            for fault in faults:
                print(f"  FAULT {fault}", flush=True)
            total += len(faults)
    finally:
        os.chdir("/")
        shutil.rmtree(root, ignore_errors=True)
    return min(1, total)


if __name__ == "__main__":
    sys.exit(main())
