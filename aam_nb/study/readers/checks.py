"""What every table must satisfy, in whatever file it comes: ids that occur once, ASVs named by DNA, and counts that are counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Array, Ints
from aam_nb.config import count_noun, cut_list, cut_repr
from aam_nb.study.errors import StudyError
from aam_nb.study.letters import DNA_LETTERS

Ids = Sequence[str] | pd.Index
MOST_COUNT = 2**31 - 1
"""Reads that one sample can have of one ASV; no sequencer gives more."""
UNFIT_IDS = [
    (
        "a line break, a tab or another control character",
        "printable text",
        "Rename them: `[re.sub(r'\\s+', ' ', i).strip() for i in ids]` makes blanks of line breaks and tabs.",
        re.compile("[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]"),
    ),
    (
        "a blank at an end",
        "none: files are read without it, and the id would no longer match",
        "Cut it off in all files alike: `[i.strip() for i in ids]`.",
        re.compile(r"\A\s|\s\Z"),
    ),
    ("text that is not UTF-8", "UTF-8", "Rename them.", re.compile("[\ud800-\udfff]")),
    (
        "`#` in front",
        "other ids: a line that begins so is a comment in metadata, for QIIME 2 too",
        "Rename them in all files alike: `[i.lstrip('#') for i in ids]`.",
        re.compile("\\A#"),
    ),
]
"""What an id may not hold: in words, what was expected, what to do, and how it is found. The last is of samples alone."""


def refuse_duplicates(ids: pd.Index, noun: str) -> None:
    """Refuse ids that occur more than once (`StudyError`)."""
    if ids.has_duplicates:
        twice = ids[ids.duplicated()].unique()
        raise StudyError(
            f"{count_noun(len(twice), f'{noun} id occurs', f'{noun} ids occur')} more than once ({cut_list(twice)}). Each id must be "
            "unique. Sum or rename the duplicates before reading."
        )


def refuse_bad_ids(ids: Ids, noun: str, where: str = "") -> None:
    """Refuse (`StudyError`) ids that no file can hold so that they are read again: the one rule for all ways in which a study is made.

    An id is text; it is not empty, has no blank at its ends, no line break, tab or other control character and nothing that is not
    UTF-8. The id of a sample does not begin with `#`, which begins a comment in metadata.

    Parameters
    ----------
    ids
        As they were given.
    noun
        What has them: "sample", "feature", "ASV".
    where
        What holds them, for the message: a file; empty for what is in memory.
    """
    names = list(ids)
    of = f" of {where}" if where else ""
    missing = [k for k, i in enumerate(names, start=1) if i is None or i != i or not str(i).strip()]
    if missing:
        raise StudyError(
            f"{len(missing)} of {count_noun(len(names), f'{noun} id')}{of} {'is' if len(missing) == 1 else 'are'} missing (place "
            f"{cut_list(missing)}). Expected text for each. Name them, or leave them out."
        )
    for what, expected, fix, pattern in UNFIT_IDS[: None if noun == "sample" else -1]:
        unfit = [i for i in map(str, names) if pattern.search(i)]
        if unfit:
            raise StudyError(
                f"{count_noun(len(unfit), f'{noun} id')}{of} {'has' if len(unfit) == 1 else 'have'} {what} "
                f"({cut_list(map(cut_repr, unfit), 3)}). Expected {expected}. {fix}"
            )


def refuse_not_dna(asv_ids: pd.Index) -> None:
    """Refuse ASVs whose ids are not their DNA (`StudyError`)."""
    wrong = asv_ids[~asv_ids.str.fullmatch(f"[{DNA_LETTERS}]+")]
    if len(wrong):
        raise StudyError(
            f"{len(wrong)} of {len(asv_ids)} observation ids are not DNA ({cut_list(wrong)}). An ASV's id is its sequence in capital "
            f"IUPAC letters ({DNA_LETTERS}). Rename the features to their sequences, or give those when reading: "
            "`aam.read_study(..., sequences='rep-seqs.qza')` (`--sequences rep-seqs.qza`)."
        )


def find_non_counts(values: Array) -> Ints:
    """Positions of the values that are not whole numbers from 0 to `MOST_COUNT`."""
    if values.dtype.kind not in "iufb":
        raise TypeError(f"its counts are of type {values.dtype}")
    return np.flatnonzero(~((values >= 0) & (values <= MOST_COUNT)) | (values != np.floor(values)))


def describe_non_counts(values: Array, bad: Ints, sample: str, asv: str) -> str:
    """The message about values that are not counts."""
    return (
        f"{count_noun(len(bad), 'count is not a whole number', 'counts are not whole numbers')} from 0 to {MOST_COUNT:,} (first: "
        f"{values[bad[0]]:g} in sample {cut_list([sample])}, ASV {cut_list([asv])}). A feature table holds reads. Give the raw table, not "
        "relative abundances or transformed values."
    )


def to_csr(table: Any) -> sparse.csr_array:
    """A matrix as CSR; `ValueError` where a sparse one names rows or columns that it does not have, on which SciPy would crash."""
    if sparse.issparse(table) and hasattr(table, "check_format"):
        table.check_format(full_check=True)
    elif sparse.issparse(table):
        coo = table.tocoo() if table.format != "coo" else table
        if any(len(x) and (x.min() < 0 or x.max() >= size) for x, size in zip(coo.coords, coo.shape, strict=True)):
            raise ValueError("indices out of range")
    return sparse.csr_array(table)


def as_counts(table: Any, sample_ids: Ids, feature_ids: Ids) -> sparse.csr_array:
    """The table as canonical CSR of int64, refused (`StudyError`) where a count is not a whole number >= 0."""
    try:
        table = to_csr(table)
    except ValueError as error:
        raise StudyError(
            f"The table is no matrix of samples x ASVs ({error}). Expected rows and columns that are there. Make it again, as with "
            "`scipy.sparse.csr_array(counts)`."
        ) from error
    bad = find_non_counts(table.data)
    if len(bad):
        row = int(np.searchsorted(table.indptr, bad[0], side="right") - 1)
        raise StudyError(describe_non_counts(table.data, bad, sample_ids[row], feature_ids[int(table.indices[bad[0]])]))
    canonical = sparse.csr_array(table.astype(np.int64), copy=True)
    canonical.sum_duplicates()
    canonical.eliminate_zeros()
    canonical.sort_indices()
    return canonical
