"""Memory that runs out: recognised whoever reports it, and told in one sentence with what to set."""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from aam_nb.config.messages import Notice, UserError

SHORTAGE = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|unable to allocate|failed to map segment|bad[ _]alloc|"
    r"could not create a (primitive|memory)|storage size calculation overflowed|integer multiplication overflow|"
    r"array is too big|maximum allowed dimension exceeded|invalid buffer size|cudnn_status_(alloc_failed|not_supported)|"
    r"cublas_status_alloc_failed|not enough memory|insufficient memory",
    re.IGNORECASE,
)
"""What torch, CUDA, MPS, oneDNN, NumPy, C++ and the system say when memory runs out, or when more was asked for than can be addressed."""
KINDS = (RuntimeError, MemoryError, ValueError, OSError, ImportError)
"""Kinds of errors that say so."""


class MemoryShortageError(UserError, MemoryError):
    """Memory ran out, and nothing can be made smaller."""


class MemoryNotice(Notice):
    """Memory ran out, and less is computed at once from here on."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine; errors that were explained already do not count."""
    if isinstance(error, UserError) or not isinstance(error, KINDS):
        return False
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return SHORTAGE.search(str(error)) is not None


@contextmanager
def telling_of_memory(doing: str, advice: str) -> Iterator[None]:
    """Inside, and in the function that it decorates, memory that runs out is `MemoryShortageError`, with what to set.

    Parameters
    ----------
    doing
        What was done: "predicting".
    advice
        What to set: "`max_tokens=1024`, or fewer samples".
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold what was computed
        raise shortage_error(doing, advice) from error


def shortage_error(doing: str, advice: str) -> MemoryShortageError:
    """The error that memory ran out, with what to set."""
    return MemoryShortageError(f"Memory ran out while {doing}. Expected it to fit. Use {advice}.")
