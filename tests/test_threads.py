"""Threads follow what the process may use, wait asleep, and leave what the user has set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import aam_nb as aam
from aam_nb.cli import main
from aam_nb.threads import NUMBER, WAITING, Cores, count_cores, settle

CPU_GROUPS = Path("/sys/fs/cgroup/cpu")
PLAIN = {k: v for k, v in os.environ.items() if k not in (*WAITING, NUMBER)}


def answer(code: str, *, env: dict[str, str] | None = None, before: Callable[[], object] | None = None) -> list[str]:
    """What a fresh interpreter prints; OpenMP's own report of its settings is among it."""
    env = PLAIN | {"OMP_DISPLAY_ENV": "true"} | (env or {})
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, preexec_fn=before, capture_output=True, text=True, check=True
    )
    return [*done.stdout.split(), *re.findall(r"OMP_WAIT_POLICY = '(\w+)'", done.stderr)]


def test_torch_waits_asleep_and_the_users_choice_stays() -> None:
    code = "import aam_nb, torch; torch.ones(1)"
    assert set(answer(code)) == {"PASSIVE"}
    assert set(answer(code, env={"OMP_WAIT_POLICY": "active"})) == {"ACTIVE"}
    chosen = settle(environ := {"GOMP_SPINCOUNT": "7"}, Cores(machine=4, affinity=4)).chosen
    assert not chosen
    assert environ == {"GOMP_SPINCOUNT": "7"}


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
def test_threads_follow_the_affinity() -> None:
    core = min(os.sched_getaffinity(0))
    code = "import aam_nb, torch; print(torch.get_num_threads(), aam_nb.settings.cores.usable)"
    assert answer(code, before=lambda: os.sched_setaffinity(0, {core}))[:2] == ["1", "1"]


def test_threads_follow_the_quota_of_a_real_control_group() -> None:
    group = CPU_GROUPS / f"aam_nb_test_{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("90000")
    except OSError as error:
        pytest.skip(f"no CPU group of version 1 may be made here: {error}")
    try:
        code = "import aam_nb, torch; print(torch.get_num_threads(), aam_nb.settings.cores.quota)"
        found = answer(code, before=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
    finally:
        group.rmdir()
    assert found[:2] == ["1", "0.9"]


@pytest.mark.parametrize(
    ("cores", "usable", "number"),
    [
        (Cores(machine=64, affinity=64), 64, None),
        (Cores(machine=64, affinity=8), 8, None),  # torch follows affinity by itself
        (Cores(machine=64, affinity=64, quota=3.5), 4, "4"),
        (Cores(machine=64, affinity=2, quota=16.0), 2, None),
        (Cores(machine=4, affinity=4, quota=0.1), 1, "1"),
    ],
)
def test_the_number_of_threads(cores: Cores, usable: int, number: str | None) -> None:
    settled = settle(environ := {}, cores)
    assert (cores.usable, environ.get(NUMBER)) == (usable, number)
    assert f"threads: {usable}" in "\n".join(settled.lines(environ))
    settle(environ := {NUMBER: "7"}, cores)
    assert environ[NUMBER] == "7"


def test_settings_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    told = capsys.readouterr().out
    assert told == f"{aam.settings}\n"
    assert told.startswith(f"aam-nb {aam.__version__}, Python ")
    assert f"cores: {count_cores().machine}" in told
    assert any(f"{name}=" in told for name in WAITING)
    assert "Import aam_nb first" in answer_text("import torch, aam_nb; print(aam_nb.settings)")


def answer_text(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], env=PLAIN, capture_output=True, text=True, check=True).stdout
