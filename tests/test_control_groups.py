"""What a container or job allows, read from control groups of both versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aam_nb.control_groups import core_quotas, memory_limits

Found = Callable[[Callable[[Path, Path], Iterator[Any]], str, dict[str, str]], list[Any]]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """What is read of a process in such groups, whose files have such texts."""

    def read(reader: Callable[[Path, Path], Iterator[Any]], groups: str, files: dict[str, str]) -> list[Any]:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        root.mkdir()
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (root / "groups").write_text(groups)
        return list(reader(root / "groups", root))

    return read


def test_memory_is_bounded_by_the_control_groups_around_a_process(found: Found) -> None:
    second = {"memory.max": "max\n", "slurm/memory.max": "4000\n", "slurm/job/memory.max": "3000\n"}
    assert found(memory_limits, "0::/slurm/job\n", second) == [3000, 4000]
    assert found(memory_limits, "0::/\n", {"memory.max": "2000\n"}) == [2000]
    first = {"memory/memory.limit_in_bytes": "900\n", "memory/docker/a/memory.limit_in_bytes": "500\n"}
    assert found(memory_limits, "5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n", first) == [500, 900]
    assert found(memory_limits, "4:memory:/seen/from/outside\n", first) == [900]
    assert found(memory_limits, "", {}) == []


def test_quotas_of_both_versions_of_control_groups(found: Found) -> None:
    second = {"cpu.max": "max 100000\n", "pod/cpu.max": "250000 100000\n", "pod/a/cpu.max": "50000 100000\n"}
    assert found(core_quotas, "0::/pod/a\n", second) == [0.5, 2.5]
    first = {f"cpu/{where}cpu.cfs_period_us": "100000\n" for where in ("", "docker/a/")}
    first |= {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/docker/a/cpu.cfs_quota_us": "150000\n"}
    assert found(core_quotas, "7:memory:/docker/a\n5:cpu,cpuacct:/docker/a\n", first) == [1.5]
    assert found(core_quotas, "5:cpu:/seen/from/outside\n", first) == []
    assert found(core_quotas, "0::/\n", {"cpu.max": "nonsense\n"}) == []
