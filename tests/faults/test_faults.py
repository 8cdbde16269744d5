"""A small sample of `make faults`: kills, full disks and refused permissions at file operations of verbs that write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulting import HOWS, Bench, describe

SAMPLE = {"study": 3, "files": 2, "save": 3, "predict": 1}
"""Verbs, and how many operations of each have a fault of each kind."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The inputs, two runs, and what each verb makes."""
    here = Path.cwd()
    yield Bench(tmp_path_factory.mktemp("faults") / "bench")
    os.chdir(here)


@pytest.mark.faults
@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_leaves_old_or_new_and_the_next_run_mends_the_rest(name: str, bench: Bench) -> None:
    count, told = bench.prepare(name), []
    for k, how in enumerate(HOWS):
        for n in range(SAMPLE[name]):
            at = 1 + (n * count // SAMPLE[name] + 2 * k) % count
            if wrong := bench.run(name, how, at):
                told.append(describe(name, how, at, bench.operations[name][at - 1], wrong))
    assert not told, "\n".join(["", *told])
