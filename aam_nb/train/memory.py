"""How much is computed at once: less, to the same result, whenever memory runs out."""

from __future__ import annotations

import gc
import traceback
import warnings
from collections.abc import Callable
from typing import TypeVar

from accelerate.utils.memory import clear_device_cache

from aam_nb.config.memory import MemoryNotice, is_out_of_memory

T = TypeVar("T")
SHORT_OF_TOKENS = (
    "`max_tokens=1024` (`--max-tokens 1024`; `--fit.max-tokens 1024` of `aam-nb compare`), fewer ASVs "
    "(`study.filter(min_prevalence=...)`), a smaller model, or a machine with more memory"
)
"""What to set where memory runs out while a trained network is used."""


class TokenBudget:
    """Most positions computed at once.

    Attributes
    ----------
    max_tokens
        Positions, such as samples x ASVs of the largest. They are halved whenever memory runs out, for what follows too.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.used = 0

    def note(self, positions: int) -> None:
        """That so many positions are computed at once now, from which `fit` begins to halve."""
        self.used = max(self.used, positions)

    def fit(self, compute: Callable[[], T], *, least: int, most: int | None = None) -> T:
        """What `compute` returns, which looks at `max_tokens` and may be called again with fewer.

        Parameters
        ----------
        least
            Positions that cannot be divided, such as those of the largest sample.
        most
            Positions there are in all: the halving begins there.

        Raises
        ------
        RuntimeError, MemoryError
            Memory ran out, and no part can be smaller.

        Warns
        -----
        MemoryNotice
            Parts were made smaller.
        """
        before = self.max_tokens
        while True:
            self.used = 0
            try:
                result = compute()
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.max_tokens <= least:
                    raise
                free_memory(error)
            self.max_tokens = max(least, min(self.max_tokens, self.used or most or self.max_tokens) // 2)
        if self.max_tokens < before:
            notice = (
                f"Memory ran out: {self.max_tokens:,} positions are computed at once from here on, not {before:,}. Results stay the same. "
                f"`max_tokens={self.max_tokens}` begins there."
            )
            warnings.warn(MemoryNotice(notice), stacklevel=2)
        return result


def free_memory(error: BaseException) -> None:
    """Let go of what was computed before an error."""
    traceback.clear_frames(error.__traceback__)
    error.__traceback__ = None
    gc.collect()
    clear_device_cache()
