"""DNA to token ids: each IUPAC letter has its own, and none is the same as padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aam_nb.arrays import Array
from aam_nb.config import count_noun, cut_list
from aam_nb.study.errors import StudyError
from aam_nb.study.letters import DNA_LETTERS

if TYPE_CHECKING:
    import pandas as pd

PAD = 0
MASK = len(DNA_LETTERS) + 1
VOCABULARY = len(DNA_LETTERS) + 2
"""Padding (0), the four nucleotides A C G T (1 to 4), the ambiguity codes (5 to 15), the mask (16)."""

_TOKEN_OF_BYTE = np.zeros(256, dtype=np.uint8)
_TOKEN_OF_BYTE[list(DNA_LETTERS.encode())] = np.arange(1, len(DNA_LETTERS) + 1)


def tokenize(asv_ids: Sequence[str] | pd.Index) -> Array:
    """Token ids (uint8), shape (n_asvs, longest), padded at the end with `PAD`.

    Raises
    ------
    StudyError
        A sequence is empty or holds a letter that is not IUPAC DNA in capitals.
    """
    raw = [str(a).encode() for a in asv_ids]
    tokens = np.full((len(raw), max(map(len, raw), default=0)), PAD, dtype=np.uint8)
    for row, letters in zip(tokens, raw, strict=True):
        row[: len(letters)] = _TOKEN_OF_BYTE[np.frombuffer(letters, dtype=np.uint8)]
    lengths = (tokens != PAD).sum(1)
    wrong = [str(a) for a, b, n in zip(asv_ids, raw, lengths, strict=True) if n != len(b) or not b]
    if wrong:
        raise StudyError(
            f"{count_noun(len(wrong), 'sequence is', 'sequences are')} not DNA ({cut_list(wrong)}). Expected capital IUPAC letters "
            f"({DNA_LETTERS}). Write them in capitals, with T for U, and without gaps."
        )
    return tokens
