"""A small sample of each target of `make fuzz`: a damaged file gives our error or a right result, within bounds of time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_targets import NEEDS, TARGETS, make_base, make_target
from fuzzing import describe, run_case


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The valid files."""
    folder = tmp_path_factory.mktemp("fuzz")
    make_base(folder)
    return folder


@pytest.mark.fuzz
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.anndata) if n in NEEDS else n for n in TARGETS])
def test_a_damaged_file_gives_our_error_or_a_right_result(name: str, base: Path) -> None:
    target = make_target(name, base)
    outcomes = [run_case(target, seed) for seed in range(target.sample)]
    faults = [describe(name, seed, o) for seed, o in enumerate(outcomes) if o.kind == "fault"]
    assert not faults, "\n".join(["", *faults])
