"""How many threads compute, and how they wait: settled when the package is imported, since torch reads it once, when it is loaded.

OpenMP's threads wait for their next task by spinning. Where a core is shared, as on virtual machines, in containers and on servers,
a thread that spins takes the time of one that would work, so here they sleep. And they are as many as this process may use cores, not as
the machine has. What the user has set stays.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

from aam_nb.control_groups import core_quotas
from aam_nb.version import __version__

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables that say how OpenMP's threads wait, of any maker."""
NUMBER = "OMP_NUM_THREADS"
"""The variable that says how many threads compute; torch, MKL, OpenBLAS and scikit-learn follow it."""


@dataclass(frozen=True)
class Cores:
    """Cores of the machine, those this process may run on, and how many cores' worth of time its container or job lets it have."""

    machine: int
    affinity: int
    quota: float | None = None

    @property
    def usable(self) -> int:
        """Cores that this process can keep busy, at least one."""
        return max(1, min(self.affinity, math.ceil(self.quota) if self.quota else self.affinity))


def count_cores() -> Cores:
    """The cores of this process."""
    machine = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else machine
    return Cores(machine=machine, affinity=affinity, quota=min(core_quotas(), default=None))


@dataclass
class Settings:
    """What this installation computes with; printed by `aam.settings` and `aam-nb --version`.

    Attributes
    ----------
    cores
        Those of this process when the package was imported.
    chosen
        Environment variables that the package set, since the user had not.
    too_late
        Whether torch was loaded before, and does not follow what was set.

    Examples
    --------
    >>> import aam_nb as aam
    >>> aam.settings.cores.usable >= 1
    True
    """

    cores: Cores = field(default_factory=count_cores)
    chosen: dict[str, str] = field(default_factory=dict)
    too_late: bool = False

    def lines(self, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
        """Sentences about versions, cores, threads and how these wait; does not load torch."""
        yield f"aam-nb {__version__}, Python {sys.version.split()[0]}, torch {_version_of('torch')}"
        c = self.cores
        limits = [f"{c.affinity} of them open to this process"] if c.affinity < c.machine else []
        limits += [f"a quota of {c.quota:.3g}"] if c.quota else []
        yield f"cores: {c.machine}" + "".join(f", {limit}" for limit in limits)
        number = environ.get(NUMBER) or str(c.usable)
        yield f"threads: {number}" + (f", {NUMBER}{self._source(NUMBER, environ)}" if NUMBER in environ else "")
        waiting = next((name for name in WAITING if name in environ), None)
        yield "waiting threads: " + (
            f"{waiting}={environ[waiting]}{self._source(waiting, environ)}" if waiting else "as OpenMP does"
        )
        if self.too_late:
            yield (
                "torch was loaded before aam_nb, and waits as OpenMP does. Import aam_nb first: threads that spin are slow where cores are "
                "shared."
            )

    def _source(self, name: str, environ: Mapping[str, str]) -> str:
        if name not in environ:
            return ""
        return " (chosen by aam_nb)" if name in self.chosen else " (set by you)"

    def __repr__(self) -> str:
        return "\n".join(self.lines())


def settle(environ: MutableMapping[str, str] = os.environ, cores: Cores | None = None) -> Settings:
    """Set what the user has not: that threads sleep while they wait, and their number where a quota is lower than what torch would take."""
    cores, chosen = cores or count_cores(), {}
    if not any(name in environ for name in WAITING):
        chosen["OMP_WAIT_POLICY"] = "passive"
    if NUMBER not in environ and cores.usable < cores.affinity:
        chosen[NUMBER] = str(cores.usable)
    environ.update(chosen)
    return Settings(cores, chosen, too_late=bool(chosen) and "torch" in sys.modules)


def _version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # not needed when the package is imported

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


settings = settle()
"""What was settled when the package was imported."""
