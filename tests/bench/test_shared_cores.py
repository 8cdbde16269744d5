"""A training step on cores that others use too, by how threads wait and how many there are; and what a second core brings.

`pytest -m bench -s tests/bench/test_shared_cores.py` prints the tables. Each figure is the least of several steps in a process of its own,
beside as many processes that keep a core busy. Busy machines show in the column without any.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aam_nb.threads import NUMBER, WAITING

pytestmark = [pytest.mark.bench, pytest.mark.slow]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PLAIN = {k: v for k, v in os.environ.items() if k not in (*WAITING, NUMBER)}
SETTINGS = {
    "as it is": {},
    "threads that spin": {"OMP_WAIT_POLICY": "active"},
    "one thread": {NUMBER: "1"},
}
STEPS = """
import json, statistics, sys, time
import aam_nb as aam

class Steps(aam.Callback):
    def __init__(self):
        self.seconds, self.last = [], time.perf_counter()
    def on_step_end(self, trainer):
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now

study, steps = aam.simulate_study(96, 300, seed=0), Steps()
config = aam.TrainConfig(epochs=8, batch_size=16, patience=99, progress=False, device="cpu")
aam.AAM().fit(study, target="age", config=config, callbacks=[steps])
print(json.dumps(statistics.median(steps.seconds[5:])))
"""
EPOCHS = """
import json, sys
import aam_nb as aam

folder, name, target = sys.argv[1:]
study = aam.read_study(f"{folder}/{name}/{name}.biom", metadata=f"{folder}/{name}/{name}.tsv")
study = study.keep_samples(study.metadata[target].notna().to_numpy() & (study.depth.to_numpy() > 0))
config = aam.TrainConfig(epochs=3, patience=99, progress=False, device="cpu")
print(json.dumps(min(aam.AAM().fit(study.keep_samples(study.sample_ids[:640]), target=target, config=config).history["seconds"])))
"""


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Processes that each keep a core busy inside."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measured(code: str, settings: dict[str, str], *args: str) -> float:
    command = [sys.executable, "-W", "ignore", "-c", code, *args]
    done = subprocess.run(command, env=PLAIN | settings, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def test_a_step_beside_busy_processes() -> None:
    rows = {}
    for name, settings in SETTINGS.items():
        rows[name] = []
        for others in range(CORES + 1):
            with busy(others):
                rows[name].append(measured(STEPS, settings))
    print(f"\nseconds a step, 96 samples x 300 ASVs, batch 16, {CORES} cores; beside 0 to {CORES} busy processes")
    for name, seconds in rows.items():
        print(f"  {name:<20}" + "".join(f"{s:>9.3f}" for s in seconds) + f"   ratio {seconds[-1] / seconds[0]:.2f}")
    ours = rows["as it is"]
    assert ours[0] <= 1.1 * min(seconds[0] for seconds in rows.values()), "idle, no slower than the best setting"
    assert ours[-1] <= 2.2 * ours[0], "a busy process a core takes half of each core"


@pytest.mark.real
@pytest.mark.parametrize(("name", "target"), [("oral_age", "age"), ("ecam", "day_of_life")])
def test_a_second_core(real_data: Path, name: str, target: str) -> None:
    if CORES < 2:
        pytest.skip("this process may use one core")
    one, two = (measured(EPOCHS, {NUMBER: n}, str(real_data), name, target) for n in ("1", "2"))
    print(f"\n{name}: an epoch with one thread {one:.2f} s, with two {two:.2f} s, ratio {one / two:.2f}")
    assert one / two > 1.2
