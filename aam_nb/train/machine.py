"""The machine that training runs on: device and precision (by accelerate), random numbers, signals, and memory."""

from __future__ import annotations

import random
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from aam_nb.config import ConfigError, TrainConfig
from aam_nb.control_groups import memory_limits, text_of

# -- device and precision -------------------------------------------------------------------------------------------------


def make_accelerator(config: TrainConfig) -> Accelerator:
    """accelerate for the device and the precision of `config`; a notebook may ask for another each time.

    Raises
    ------
    ConfigError
        There is no such device, or it does not have the precision.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda'. No CUDA GPU is visible to torch. Use `TrainConfig(device='auto')`.")
    if config.device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is 'mps'. No Apple GPU is visible to torch. Use `TrainConfig(device='auto')`.")
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    mixed = config.precision if config.precision in ("bf16", "fp16") else "no"
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # not every objective uses every weight
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=mixed, kwargs_handlers=[unused])
    if config.precision in ("fp16", "tf32") and accelerator.device.type == "cpu":
        raise ConfigError(
            f"precision is {config.precision!r} on the CPU. It needs a GPU. Use `TrainConfig(precision='bf16')`, or 'fp32'."
        )
    return accelerator


# -- random numbers -------------------------------------------------------------------------------------------------------


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of every random number generator (torch, CUDA, numpy, Python): tensors by name, and values for JSON."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{k}": t for k, t in enumerate(torch.cuda.get_rng_state_all())}
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - users' objectives may draw from it
    tensors["numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    return tensors, {"numpy": [str(kind), int(position), int(has_gauss), float(gauss)], "python": random.getstate()}


def load_random_state(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Put back what `random_state` gave; the states of CUDA only where there are as many devices."""
    torch.set_rng_state(tensors["torch"])
    cuda = [tensors[f"cuda{k}"] for k in range(sum(name.startswith("cuda") for name in tensors))]
    if cuda and torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
    kind, position, has_gauss, gauss = values["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, keys, gauss_next = values["python"]
    random.setstate((version, tuple(keys), gauss_next))


@contextmanager
def seeded(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Inside, random numbers follow the seed, sums on the CPU are added in a fixed order, and tf32 may be used for matrix products.

    Afterwards all is as it was before.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    matmul_precision, generators = torch.get_float32_matmul_precision(), random_state()
    deterministically: Any = torch.utils.deterministic
    filling = deterministically.fill_uninitialized_memory
    torch.manual_seed(config.seed)
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        deterministically.fill_uninitialized_memory = False  # every new tensor would be written twice
    if config.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        deterministically.fill_uninitialized_memory = filling
        torch.set_float32_matmul_precision(matmul_precision)
        load_random_state(*generators)


# -- signals --------------------------------------------------------------------------------------------------------------


class Signals:
    """Ctrl-C and SIGTERM, delayed until the end of a step, where a checkpoint can be written; a second one does not wait."""

    def __init__(self) -> None:
        self.received = 0

    @contextmanager
    def delayed(self, *, wanted: bool) -> Iterator[None]:
        """Delay signals inside, where `wanted` and this is the thread that receives them."""
        if not wanted or threading.current_thread() is not threading.main_thread():
            yield
            return

        def receive(number: int, frame: Any) -> None:
            if self.received:
                raise KeyboardInterrupt
            self.received = number

        before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def obey(self) -> None:
        """Do now what the signal asked for: exit with 143, or interrupt."""
        if self.received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


# -- memory ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """Bytes that this process uses now, has used at most so far, and could use."""

    used: int
    peak: int
    limit: int


def memory_of(device: torch.device) -> Memory:
    """Memory of a GPU (CUDA), or else of the machine.

    The limit is all there is, less what other processes use: of the GPU, or of the machine, within the limits that its container or
    job sets (cgroups, and of the address space).
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        others = total - free - torch.cuda.memory_reserved(device)
        peak = torch.cuda.max_memory_allocated(device)
        return Memory(used=torch.cuda.memory_allocated(device), peak=peak, limit=total - max(0, others))
    used, machine = psutil.Process().memory_info().rss, psutil.virtual_memory()
    limit = min([machine.available + used, machine.total, *memory_limits(), *_address_limit()])
    return Memory(used=used, peak=max(used, _peak_of_process()), limit=limit)


def _peak_of_process() -> int:
    """Most bytes of main memory that this process has used."""
    line = re.search(r"VmHWM:\s+(\d+) kB", text_of(Path("/proc/self/status")))
    if line:
        return 1024 * int(line[1])
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # which, on Linux, also counts the process that started this one

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _address_limit() -> Iterator[int]:
    """Bytes that this process may still map (`ulimit -v`), and those it uses, where there is such a limit."""
    if sys.platform == "win32":
        return
    import resource

    limit, process = resource.getrlimit(resource.RLIMIT_AS)[0], psutil.Process().memory_info()
    if limit != resource.RLIM_INFINITY:
        yield max(0, limit - process.vms) + process.rss
