"""Mutated files read by every reader, each in bounds of time and memory: our error, or a right result.

python tests/fuzz/fuzzing.py --seconds 600              all targets, a process each; the table of numbers
python tests/fuzz/fuzzing.py TARGET --seed 17           one case again, with its traceback
python tests/fuzz/fuzzing.py TARGET --seed 17 --keep F  and its input kept in folder F
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mutations import Mutator, mutate, replace_by

from aam_nb.config import Notice, UserError

CASE_SECONDS = 30.0
"""Wall time after which a case hangs; cases take milliseconds, the machine may be busy."""
CASE_BYTES = 2 * 2**30
"""Address space that a case may ask for beyond what the process has."""
ANNDATA = Path(__file__).resolve().parents[2] / ".venv" / "anndata"
"""Where `make test-anndata` installs what needs an older pandas."""
SPECIAL = 0.03
"""Share of cases in which the file is a folder, a FIFO, a link to itself or the like."""


@dataclass(frozen=True)
class Target:
    """A kind of file, how it is read, and what is right.

    Parameters
    ----------
    name
        Names the cases, together with the seed.
    files
        Valid files by name, drawn from and spliced.
    mutators
        Damage that knows the format.
    read
        Reads the file at a path with our code, and checks what it gives: an AssertionError is a wrong result.
    sample
        Cases of the default run.
    place
        For a file in a folder: puts the damaged file in its place in a copy of the folder, and gives its path there.
    """

    name: str
    files: Mapping[str, bytes]
    mutators: Sequence[Mutator]
    read: Callable[[Path], object]
    sample: int = 40
    place: Callable[[Path, str], Path] | None = None
    special: bool = True


@dataclass
class Outcome:
    """What came of a case: "refused", "right" or "fault"."""

    kind: str
    what: str
    damage: str
    seconds: float = 0.0


class Hang(BaseException):
    """A case took longer than `CASE_SECONDS`."""


@contextmanager
def bounds() -> Iterator[None]:
    """Time and memory of a case."""

    def over(number: int, frame: Any) -> None:
        raise Hang(f"no end in {CASE_SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, over)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + CASE_BYTES, hard))
    signal.setitimer(signal.ITIMER_REAL, CASE_SECONDS)
    faulthandler.dump_traceback_later(4 * CASE_SECONDS, exit=True)  # of a hang in C
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def make_input(target: Target, seed: int, folder: Path) -> tuple[Path, str]:
    """The damaged file of a case, in `folder`, and what was done to it."""
    rng = random.Random(f"{target.name}:{seed}")
    name = rng.choice(sorted(target.files))
    path = target.place(folder, name) if target.place else folder / name
    if target.special and rng.random() < SPECIAL:
        path.write_bytes(target.files[name])
        return path, f"{name}: {replace_by(rng, path)}"
    others = list(target.files.values())
    damaged, what = mutate(rng, target.files[name], others, target.mutators)
    path.write_bytes(damaged)
    return path, f"{name}: {what}"


def run_case(target: Target, seed: int, *, keep: Path | None = None, show: bool = False) -> Outcome:
    """One case: damage, reading, judgement."""
    folder = keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    try:
        path, damage = make_input(target, seed, folder)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kind, what = _judge(target, path, show=show)
        foreign = [w for w in caught if not issubclass(w.category, Notice)]
        if kind != "fault" and foreign:
            place = f"{Path(foreign[0].filename).name}:{foreign[0].lineno}"
            kind, what = "fault", f"foreign {foreign[0].category.__name__}: {str(foreign[0].message)[:150]} at {place}"
        return Outcome(kind, what, damage[:300], time.perf_counter() - start)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _judge(target: Target, path: Path, *, show: bool) -> tuple[str, str]:
    try:
        with bounds():
            target.read(path)
    except UserError as error:
        text = str(error)
        if len(text) > 3000 or "\n" in text:
            return "fault", f"a message of {len(text)} characters, or of several lines: {text[:80]!r}"
        return "refused", text[:200]
    except FileNotFoundError as error:
        if error.errno is None:  # ours: a sentence
            return "refused", str(error)[:200]
        return "fault", _short(error)
    except (Exception, Hang) as error:
        if show:
            traceback.print_exc()
        return "fault", _short(error)
    return "right", ""


def _short(error: BaseException) -> str:
    places = traceback.extract_tb(error.__traceback__)
    ours = [p for p in places if "aam_nb" in p.filename] or list(places)
    return f"{type(error).__name__}: {' '.join(str(error)[:150].split())} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"


# -- all targets ----------------------------------------------------------------------------------------------------------


@dataclass
class Count:
    """Cases of a target by outcome."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    next_seed: int = 0

    def add(self, target: str, seed: int, outcome: Outcome) -> None:
        """Count a case."""
        self.outcomes[outcome.kind] += 1
        self.slowest = max(self.slowest, outcome.seconds)
        self.next_seed = seed + 1
        if outcome.kind == "fault":
            self.faults.append(describe(target, seed, outcome))


def describe(target: str, seed: int, outcome: Outcome) -> str:
    """A fault, and the command that shows it again."""
    return f"{outcome.what}\n    {outcome.damage!r}\n    python tests/fuzz/fuzzing.py {target} --seed {seed}"


def fault_kind(fault: str) -> str:
    """What faults of one cause have in common: the type of the error and the line of our code."""
    first = fault.split("\n    ")[0]
    place = first.rpartition(" at ")[2] if " at " in first else first[:50]
    return f"{first.partition(':')[0]} {place}"


def run_many(target: Target, *, seconds: float, first: int = 0, state: Path) -> None:
    """Cases for a time, the counts written to `state` after each second, and the seed of each case before it."""
    count, end, written = Count(next_seed=first), time.monotonic() + seconds, 0.0
    seed = first
    while time.monotonic() < end:
        state.with_suffix(".seed").write_text(str(seed))
        count.add(target.name, seed, run_case(target, seed))
        seed += 1
        if time.monotonic() - written > 1:
            _save(count, state)
            written = time.monotonic()
    _save(count, state)


def _save(count: Count, state: Path) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    values = {"outcomes": count.outcomes, "faults": count.faults, "slowest": count.slowest, "peak_mb": peak}
    state.write_text(json.dumps(values))


def _environment(name: str) -> dict[str, str]:
    """Of the process of a target: `make test-anndata` installs anndata and an older pandas in a folder of their own."""
    from fuzz_targets import NEEDS

    if name in NEEDS and ANNDATA.is_dir():
        return os.environ | {"PYTHONPATH": f"{ANNDATA}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return dict(os.environ)


def _without_absent(names: Sequence[str]) -> list[str]:
    """The targets whose packages are there; of the others it is told why they are left out."""
    from fuzz_targets import NEEDS

    absent = [n for n in names if n in NEEDS and find_spec(NEEDS[n]) is None and not ANNDATA.is_dir()]
    for name in absent:
        print(f"{name} is left out: it needs {NEEDS[name]}, which `make test-anndata` installs")
    return [n for n in names if n not in absent]


def run_all(names: Sequence[str], *, seconds: float, first: int, jobs: int) -> int:
    """Every target in a process of its own for its share of the time; prints a table; returns the number of faults."""
    faults, total = 0, Counter[str]()
    with tempfile.TemporaryDirectory(prefix="fuzz-all-") as temporary:
        running = dict[str, tuple[subprocess.Popen[bytes], float, int]]()
        deaths: dict[str, list[str]] = {}
        names = _without_absent(names)
        waiting, shared = list(names), seconds * jobs / len(names)
        print(f"{'target':<26}{'cases':>9}{'refused':>9}{'right':>9}{'faults':>8}{'slowest s':>11}{'peak MB':>9}")

        def start(name: str, left: float, seed: int) -> None:
            state = Path(temporary) / f"{name}-{seed}.json"
            args = [sys.executable, __file__, name, "--seconds", str(left), "--first", str(seed), "--state", str(state)]
            args += ["--base", str(Path(temporary) / "base")]
            process = subprocess.Popen(args, stderr=subprocess.DEVNULL, env=_environment(name))
            running[name] = (process, time.monotonic() + left, seed)

        from fuzz_targets import make_base

        make_base(Path(temporary) / "base")
        while waiting or running:
            while waiting and len(running) < jobs:
                start(waiting.pop(0), shared, first)
            time.sleep(0.05)
            for name, (process, end, begun) in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[name]
                if code:
                    seed_file = Path(temporary) / f"{name}-{begun}.seed"
                    seed = int(seed_file.read_text()) if seed_file.is_file() else begun
                    again = f"python tests/fuzz/fuzzing.py {name} --seed {seed}"
                    deaths.setdefault(name, []).append(f"the process ended with {code}\n    {again}")
                    if end - time.monotonic() > 2 and len(deaths[name]) < 20:
                        start(name, end - time.monotonic(), seed + 1)
                        continue
                counts = [json.loads(p.read_text()) for p in Path(temporary).glob(f"{name}-*.json")]
                outcomes = sum((Counter(c["outcomes"]) for c in counts), Counter[str]())
                told = [f for c in counts for f in c["faults"]] + deaths.get(name, [])
                outcomes["fault"] = len(told)
                total += outcomes
                faults += len(told)
                slowest, peak = (max((c[k] for c in counts), default=0) for k in ("slowest", "peak_mb"))
                print(_row(name, outcomes) + f"{slowest:>11.2f}{peak:>9}", flush=True)
                kinds: dict[str, list[str]] = {}
                for fault in told:
                    kinds.setdefault(fault_kind(fault), []).append(fault)
                for same in kinds.values():
                    print(f"  FAULT ({len(same)} of this kind) {same[0]}", flush=True)
    print(_row("all", total))
    return faults


def _row(name: str, outcomes: Counter[str]) -> str:
    cases = sum(outcomes.values())
    return f"{name:<26}{cases:>9}{outcomes['refused']:>9}{outcomes['right']:>9}{outcomes['fault']:>8}"


def main() -> int:
    """The command line of the suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="all by default")
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("AAM_NB_FUZZ_SECONDS", "600")))
    parser.add_argument("--seed", type=int, help="run this case alone")
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder to keep the input in")
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    from fuzz_targets import TARGETS, make_target

    os.environ["AAM_NB_CACHE"] = tempfile.mkdtemp(prefix="fuzz-cache-")
    names = args.targets or list(TARGETS)
    try:
        if args.seed is None and args.state is None:
            return min(1, run_all(names, seconds=args.seconds, first=args.first, jobs=args.jobs))
        base = args.base or Path(tempfile.mkdtemp(prefix="fuzz-base-"))
        target = make_target(names[0], base)
        if args.state is not None:
            run_many(target, seconds=args.seconds, first=args.first, state=args.state)
            return 0
        outcome = run_case(target, args.seed, keep=args.keep, show=True)
        print(f"{outcome.kind} in {outcome.seconds:.2f} s: {outcome.what}\n    {outcome.damage}")
        return int(outcome.kind == "fault")
    finally:
        shutil.rmtree(os.environ["AAM_NB_CACHE"], ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
