"""Columns of a feature table in text that are no samples: lengths, totals, sizes, scores, numbers of rows. Known by name, or by content."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from aam_nb.arrays import Array, Bools, Floats
from aam_nb.config import cut_list
from aam_nb.study.letters import DNA_ID
from aam_nb.study.readers.table_layout import bare

TOTALS = {
    *("total", "totals", "sum", "sums", "rowsum", "rowsums", "totalcount", "totalcounts", "totalreads", "totalabundance"),
    *("grandtotal", "overall", "size", "clustersize", "otusize", "abundance", "totalsize", "sumreads", "readsum"),
}  # fmt: skip
"""Names, as `bare` writes them, of a column of sums over samples; it is one where no row has less in it than in the samples."""
MAYBE_TOTALS = {
    "reads",
    "count",
    "counts",
    "all",
    "frequency",
    "readcount",
    "readcounts",
    "numreads",
    "nreads",
    "pooled",
}
"""Names that a sample may have too: sums where they are that exactly."""
SIDE_NAMES = {
    *("length", "len", "seqlen", "seqlength", "sequencelength", "sequencelengths", "asvlength", "otulength", "ampliconlength"),
    *("lengthbp", "lengthnt", "seqlengthbp", "sequencelengthbp", "bp", "lengths", "readlength"),
    *("otunumber", "otunum", "otunr", "otuno", "otuindex", "otunumbers", "asvnumber", "asvnum", "asvno", "featurenumber", "numotus"),
    *("index", "rownumber", "rownum", "rownr", "number", "nr"),
    *("evalue", "expect", "expectvalue", "bitscore", "confidence", "consensus", "bootstrap", "score", "quality", "qvalue", "pvalue"),
    *("identity", "pident", "percentidentity", "percidentity", "pctidentity", "similarity", "coverage", "querycoverage", "qcov"),
    *("prevalence", "occurrence", "occurrences", "occupancy", "nsamples", "numsamples", "samplecount", "numberofsamples", "nsample"),
    *("mean", "average", "avg", "median", "sd", "stdev", "stddev", "variance", "meanabundance", "averageabundance", "maxabundance"),
    *("max", "min", "maximum", "minimum", "relativeabundance", "relabundance", "relabund", "percentabundance"),
    *("gc", "gccontent", "gcpercent", "percentgc"),
}  # fmt: skip
"""Names, as `bare` writes them, of columns of numbers that say something of the features."""
BOOTSTRAP = re.compile("boot(?:kingdom|domain|phylum|class|order|family|genus|species)")
"""DADA2's bootstraps of each rank, by `bare`."""
SEQUENCE_NAMES = {
    *("sequence", "seq", "sequences", "dna", "dnasequence", "repseq", "repsequence", "asvsequence", "otusequence", "refseq"),
    *("nucleotidesequence", "repseqs", "representativeseq", "featuresequence"),
}  # fmt: skip
"""Names of a column of DNA beside the ids; one of ids that is called so is in front."""
LEAST_ROWS = 3
"""Rows from which on what a column holds can tell that it is no sample."""
LEAST_NUMBERED = 10
"""Rows from which on 1, 2, 3 … are numbers of rows and no counts."""


def how_to_keep(num: int) -> str:
    """What to do where one of the columns, or the only one, is a sample."""
    return (
        "rename the column to keep it as a sample"
        if num == 1
        else "rename those columns that are samples, to keep them"
    )


def is_total_name(name: str) -> bool:
    return bare(name) in TOTALS | MAYBE_TOTALS


def is_side_name(name: str) -> bool:
    """Whether a column of that name holds numbers that are no counts of a sample, whatever they are."""
    return bare(name) in SIDE_NAMES or bool(BOOTSTRAP.fullmatch(bare(name)))


def find_side_columns(names: Sequence[str], labels: Sequence[str], counts: sparse.csr_array) -> dict[str, list[str]]:
    """Columns of counts that are no samples by what they hold, under the words that say what they are.

    Parameters
    ----------
    names, labels
        Features (rows) and columns.
    counts
        Whole numbers, features x columns.
    """
    kinds: dict[str, list[str]] = {}
    dna = all(DNA_ID.fullmatch(i) for i in names)
    columns = sparse.csc_array(counts)
    sums = np.asarray(counts.sum(axis=1)).ravel()
    lengths = np.array([len(i) for i in names])
    full = np.diff(columns.indptr) >= len(names) - 1  # lengths are never 0, and one row number may be
    for k in np.flatnonzero(full).tolist():
        label, column = labels[k], _column(columns, k)
        if dna and len(names) >= LEAST_ROWS and (column == lengths).all():
            kinds.setdefault("the length of each sequence", []).append(label)
        elif _are_row_numbers(column):
            kinds.setdefault("the numbers of the rows", []).append(label)
    totals = [k for k, label in enumerate(labels) if is_total_name(label)]
    others = [k for k in range(len(labels)) if k not in totals and not any(labels[k] in v for v in kinds.values())]
    rest = np.asarray(counts[:, others].sum(axis=1)).ravel() if others else np.zeros(len(names))
    for k in totals if others else []:
        column = _column(columns, k)
        exact = bool((column == rest).all())
        if exact or (bare(labels[k]) in TOTALS and (column >= rest).all()):
            kinds.setdefault("the sum of the samples" if exact else "at least the sum of the samples", []).append(
                labels[k]
            )
    if not totals:
        kinds |= _unnamed_sum(labels, columns, sums)
    return kinds


def _unnamed_sum(labels: Sequence[str], columns: sparse.csc_array, sums: Floats) -> dict[str, list[str]]:
    """A first or last column that is the sum of all others in enough rows to be no chance, and is not called like them."""
    for k in {0, len(labels) - 1} if len(labels) > 2 else set():
        column = _column(columns, k)
        if not (2 * column == sums).all():
            continue
        others = sparse.csc_array(columns[:, [j for j in range(len(labels)) if j != k]])
        mixed = np.bincount(others.indices, minlength=len(sums)) >= 2
        stems = {re.sub(r"\d+.*", "", label) for j, label in enumerate(labels) if j != k}
        if mixed.sum() >= LEAST_ROWS and re.sub(r"\d+.*", "", labels[k]) not in stems:
            return {"the sum of the samples": [labels[k]]}
    return {}


def _column(columns: sparse.csc_array, k: int) -> Array:
    values = np.zeros(columns.shape[0], dtype=columns.dtype)
    here = slice(columns.indptr[k], columns.indptr[k + 1])
    values[columns.indices[here]] = columns.data[here]
    return values


def _are_row_numbers(column: Array) -> bool:
    return len(column) >= LEAST_NUMBERED and any(
        (column == np.arange(start, start + len(column))).all() for start in (0, 1)
    )


def find_total_rows(names: Sequence[str], counts: sparse.csr_array) -> Bools:
    """Which rows are called a total and are the sum of all others, shape (n_rows,)."""
    called = np.array([is_total_name(name) for name in names])
    if called.any() and not called.all():
        sums = np.asarray(counts[np.flatnonzero(~called)].sum(axis=0)).ravel()
        for row in np.flatnonzero(called):
            called[row] = bool((counts[[row]].toarray().ravel() == sums).all())
    return called & ~called.all()


def describe_aside(kinds: dict[str, list[str]], noun: str = "column") -> list[str]:
    """Notes on what was set aside, and how to keep it."""
    notes = []
    for kind, labels in kinds.items():
        ending = "" if len(labels) == 1 else "s"
        keep = f": no sample{ending}; {how_to_keep(len(labels))}" if noun == "column" else ""
        notes.append(f"set aside the {noun}{ending} {cut_list(map(repr, labels))}, {kind}{keep}")
    return notes


def describe_odd_samples(samples: Sequence[str]) -> list[str]:
    """A note on samples that are called as columns of other things are, in formats that have samples alone."""
    odd = [i for i in samples if is_side_name(i) or bare(i) in TOTALS]
    if not odd:
        return []
    return [
        f"a sample is called {cut_list(map(repr, odd), 3)}: where it is no sample, leave it out with "
        f"`study.keep_samples(~study.sample_ids.isin({odd[:3]!r}))`"
    ]
