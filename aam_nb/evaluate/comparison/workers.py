"""Processes that fit for a comparison: they end with the process that started them, and Ctrl-C is for that one alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from aam_nb.study.child_process import set_death_signal


@contextlib.contextmanager
def worker_pool(processes: int, start: Callable[..., None], given: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    """A pool of new processes, each of which calls `start(*given)` first; an error inside ends them at once."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(start, given))
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):  # `terminate_workers` from Python 3.14 on
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes that are started inside never get Ctrl-C; this one gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(start: Callable[..., None], given: tuple[Any, ...]) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends its workers
    start(*given)


def end_with_parent() -> None:
    """End this process when the one that started it has ended, however it did."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    set_death_signal()  # at once, also while this process computes

    def watch() -> None:
        parent.join()  # waits for a pipe that only the parent holds open
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
