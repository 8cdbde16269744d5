"""The machine that training runs on: device and precision (accelerate's), random numbers, signals, and memory that runs out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from accelerate.utils.memory import should_reduce_batch_size

from aam_nb.config import ConfigError, TrainConfig
from aam_nb.train.checkpoint import load_random_state, random_state

SHORT_OF_MEMORY = ("could not create a primitive", "bad alloc")
"""What oneDNN and C++ say on the CPU when memory runs out, beside what accelerate knows."""


def make_accelerator(config: TrainConfig) -> Accelerator:
    """accelerate for the device and precision asked for; a notebook may ask for another each time.

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


@contextmanager
def seeded(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Random numbers follow the seed inside, and go on as before outside; on the CPU sums are added up in a fixed order, and with
    tf32 matrix products are allowed it."""
    asked, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    products, generators = torch.get_float32_matmul_precision(), random_state()
    torch.manual_seed(config.seed)
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    if config.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(asked, warn_only=warn)
        torch.set_float32_matmul_precision(products)
        load_random_state(*generators)


class Signals:
    """Ctrl-C and SIGTERM, kept until the end of a step, where a checkpoint can be written; a second one does not wait."""

    def __init__(self) -> None:
        self.heard = 0

    @contextmanager
    def kept(self, *, wanted: bool) -> Iterator[None]:
        """Keep signals inside, where `wanted` and this is the thread that hears them."""
        if not wanted or threading.current_thread() is not threading.main_thread():
            yield
            return

        def hear(number: int, frame: Any) -> None:
            if self.heard:
                raise KeyboardInterrupt
            self.heard = number

        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def act(self) -> None:
        """Do now what the signal asked for: exit with 143, or interrupt."""
        if self.heard == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that memory ran out, of a GPU or of the machine."""
    short = isinstance(error, MemoryError) or should_reduce_batch_size(error)
    return short or any(words in str(error) for words in SHORT_OF_MEMORY)
