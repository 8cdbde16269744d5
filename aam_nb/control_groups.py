"""What the container or the job around this process allows it (Linux control groups, of version 1 or 2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def control_groups(controller: str, groups: Path = GROUPS, root: Path = ROOT) -> Iterator[tuple[Path, int]]:
    """Folders of this process's groups for a controller ("cpu", "memory"), from its own outwards, each with its version, 1 or 2."""
    for line in text_of(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        folder = top / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group.is_relative_to(top):
                yield group, 1 if controllers else 2


def memory_limits(groups: Path = GROUPS, root: Path = ROOT) -> Iterator[int]:
    """Bytes that this process's groups let it use."""
    for group, version in control_groups("memory", groups, root):
        text = text_of(group / ("memory.limit_in_bytes" if version == 1 else "memory.max")).strip()
        if text.isdigit():  # "max" is no limit
            yield int(text)


def core_quotas(groups: Path = GROUPS, root: Path = ROOT) -> Iterator[float]:
    """Cores' worth of time that this process's groups let it use."""
    for group, version in control_groups("cpu", groups, root):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if version == 1 else ("cpu.max",)
        numbers = " ".join(text_of(group / name) for name in names).split()
        if len(numbers) == 2 and all(n.isdigit() for n in numbers) and int(numbers[1]):  # "max" and -1 are no limit
            yield int(numbers[0]) / int(numbers[1])


def text_of(path: Path) -> str:
    """A file of the system's; empty where there is none, or none that we may read."""
    try:
        return path.read_text()
    except OSError:
        return ""
