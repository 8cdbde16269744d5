"""Rows that do not depend on one another, computed in groups by several threads of a CPU.

An operator of a small network is too short to be shared among cores: threads start and wait for each other thousands of times in a step.
A group of rows through all layers is a thousand times as long, forwards and backwards, and threads meet only at its ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

T = TypeVar("T")
_pools: dict[int, ThreadPoolExecutor] = {}
"""Helpers by number of threads, made once: starting a thread takes longer than a small group."""
_inside = threading.local()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # threads do not live on in a forked process


def rows_in_parallel(
    function: Callable[[Tensor], tuple[Tensor, ...]], groups: Sequence[Tensor], module: nn.Module
) -> list[tuple[Tensor, ...]]:
    """`function` of each group of rows, by as many threads as torch has; differentiable in the parameters of `module`.

    Sums over groups are made in the order of the groups, so results do not depend on which thread is faster. `function` must draw no
    random numbers.
    """
    parameters = [p for p in module.parameters() if p.requires_grad] if torch.is_grad_enabled() else []
    if not parameters:
        return _map(function, groups)
    flat = _Rows.apply(function, groups, parameters, *parameters)
    per_group = len(flat) // len(groups)
    return [tuple(flat[k : k + per_group]) for k in range(0, len(flat), per_group)]


def can_share(device: torch.device) -> bool:
    """Whether there is more than one thread for work on `device`, and this is not already one of several."""
    return device.type == "cpu" and torch.get_num_threads() > 1 and not getattr(_inside, "group", False)


class _Rows(torch.autograd.Function):
    """The groups' graphs are kept apart from the rest of the graph, so that each can be followed backwards by its own thread."""

    @staticmethod
    def forward(ctx: Any, function: Any, groups: Sequence[Tensor], parameters: list[Tensor], *_: Tensor) -> Any:
        with torch.enable_grad():
            ctx.results = _map(function, groups)
        ctx.parameters = parameters
        return tuple(x.detach() for result in ctx.results for x in result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        results, ctx.results = ctx.results, None
        per_group = len(results[0])

        def one(k: int) -> tuple[Tensor | None, ...]:
            found: tuple[Tensor | None, ...] = torch.autograd.grad(
                results[k], ctx.parameters, grads[k * per_group : (k + 1) * per_group], allow_unused=True
            )
            return found

        by_group = _map(one, range(len(results)))
        return None, None, None, *(_sum(parts) for parts in zip(*by_group, strict=True))


def _sum(parts: Sequence[Tensor | None]) -> Tensor | None:
    given = [x for x in parts if x is not None]
    if not given:
        return None
    total = given[0]
    for x in given[1:]:
        total += x
    return total


def _map(function: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
    """`function` of each item, each computed by one thread, in this thread's modes of gradients and precision."""
    threads = torch.get_num_threads()
    grad, dtype, mixed = torch.is_grad_enabled(), torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")

    def work(first: int) -> list[T]:
        _inside.group = True
        try:
            with torch.set_grad_enabled(grad), torch.autocast("cpu", dtype=dtype, enabled=mixed):
                return [function(item) for item in items[first::threads]]
        finally:
            _inside.group = False

    # This thread only waits: while it worked, it would hand Python's lock to a helper that starts after 5 ms alone.
    with _one_thread_an_operator(threads) as pool:
        helpers = [pool.submit(work, first) for first in range(min(threads, len(items)))]
        wait(helpers)
    by_worker = [helper.result() for helper in helpers]
    return [by_worker[k % threads][k // threads] for k in range(len(items))]


@contextmanager
def _one_thread_an_operator(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of helpers for this number of threads; operators inside are computed by the thread that calls them."""
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(
            threads, thread_name_prefix="aam-rows", initializer=lambda: torch.set_num_threads(1)
        )
    torch.set_num_threads(1)
    try:
        yield _pools[threads]
    finally:
        torch.set_num_threads(threads)
