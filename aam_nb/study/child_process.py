"""Processes that are started by this one and end with it, however it ends: also when it is killed, and cannot end them itself."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent ends."""
LAUNCH = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, int(sys.argv[1]))
if os.getppid() != int(sys.argv[2]):  # it ended before the line above
    sys.exit(1)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Asks for the signal, and becomes the program that is asked for."""


def set_death_signal() -> None:
    """Have this process killed when its parent ends; on systems other than Linux, nothing."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_this(command: Sequence[str], how: signal.Signals = signal.SIGTERM) -> list[str]:
    """A command whose process gets a signal when this one ends; on systems other than Linux, the command as it is.

    It is for `subprocess`, and for one use: the process is a child of the one that calls this.
    """
    if sys.platform != "linux" or not sys.executable:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", LAUNCH, str(int(how)), str(os.getpid()), *command]
