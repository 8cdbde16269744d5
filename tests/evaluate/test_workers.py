"""Workers of a comparison end with the process that started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import is_running

SCRIPT = """
import os, signal, sys, time
from aam_nb.evaluate.comparison.workers import without_interrupts, worker_pool

def start(): os.write(1, f"{os.getpid()}\\n".encode())  # in one piece

def wait(k): time.sleep(60)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process started in the background ignores
    with worker_pool(2, start, ()) as pool:
        with without_interrupts():
            for future in [pool.submit(wait, k) for k in range(2)]: pass
        future.result()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    workers = [int(process.stdout.readline()) for _ in range(2)]
    os.kill(process.pid, how) if how == signal.SIGKILL else os.killpg(process.pid, how)
    end = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    running = [worker for worker in workers if is_running(worker)]
    for worker in running:
        os.kill(worker, signal.SIGKILL)
    process.kill() if running else None
    errors = process.communicate(timeout=20)[1]
    assert not running
    if how == signal.SIGINT:
        assert "leaked" not in errors
