"""Tokens: every letter its own number, and nothing else let in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aam_nb.batch.tokens import MASK, PAD, VOCABULARY, tokenize
from aam_nb.study.errors import StudyError

IUPAC = "ACGTRYSWKMBDHVN"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(alphabet=IUPAC, min_size=1, max_size=30), min_size=1, max_size=8))
def test_the_dna_can_be_read_back(asvs: list[str]) -> None:
    letter_of = {int(tokenize([letter])[0, 0]): letter for letter in IUPAC}
    tokens = tokenize(asvs)
    assert tokens.dtype == np.uint8
    assert tokens.shape == (len(asvs), max(map(len, asvs)))
    assert ["".join(letter_of[t] for t in row if t != PAD) for row in tokens.tolist()] == asvs
    assert all((row[len(a) :] == PAD).all() for row, a in zip(tokens, asvs, strict=True)), "padding stands at the end"


def test_letters_differ_from_each_other_from_padding_and_from_the_mask() -> None:
    numbers = {PAD, MASK, *tokenize([IUPAC])[0].tolist()}
    assert len(numbers) == len(IUPAC) + 2
    assert numbers == set(range(VOCABULARY))
    assert tokenize(["ACGT"])[0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("wrong", ["acgt", "ACGU", "AC-GT", "AC.GT", "", "ACGT ", "ACÖT", "ACG?"])
def test_what_is_not_capital_dna_is_refused_and_named(wrong: str) -> None:
    with pytest.raises(StudyError, match=r"1 sequence is not DNA .*capital IUPAC letters") as caught:
        tokenize(["ACGT", wrong])
    assert wrong in str(caught.value)
