"""Feature tables of mothur (`.shared`, `.count_table`), and text that is a table of another kind: each told by its header."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.config import count_noun, cut_list
from aam_nb.study.errors import FormatError
from aam_nb.study.readers.archives import Source
from aam_nb.study.readers.checks import as_counts, refuse_duplicates
from aam_nb.study.readers.columns import NUMBER
from aam_nb.study.readers.feature_table import FeatureTable, no_metadata
from aam_nb.study.readers.table_layout import Layout, bare

SHARED = ["label", "group", "numotus"]
COUNT_TABLE = ["representativesequence", "total"]


def is_of_mothur(layout: Layout) -> bool:
    """Whether a table is a shared file or a count table of mothur, by its header."""
    names = [bare(name) for name in layout.header]
    return names[:3] == SHARED or names[:2] == COUNT_TABLE


def read_mothur(source: Source, layout: Layout) -> FeatureTable | None:
    """A shared file or a count table of mothur; None for any other file.

    Raises
    ------
    FormatError, StudyError
        It has several cut-offs, is packed in mothur's own way or is cut off.
    """
    if not is_of_mothur(layout):
        return None
    return (_read_shared if bare(layout.header[0]) == SHARED[0] else _read_count_table)(source, layout)


def _read_shared(source: Source, layout: Layout) -> FeatureTable:
    otus = layout.header[3:]
    rows = list(layout.rows(source))
    _refuse_ragged(source, layout, rows)
    labels = list(dict.fromkeys(row[0].strip() for row in rows))
    if len(labels) > 1:
        raise FormatError(
            f"{source.name} is a mothur shared file with {len(labels)} cut-offs ({cut_list(labels)}). Expected one. Write one alone, in "
            f"mothur: `make.shared(list=…, label={cut_list(labels[-1:])})`."
        )
    declared = {row[2].strip() for row in rows}
    if declared != {str(len(otus))}:
        raise FormatError(
            f"{source.name} is a mothur shared file of {cut_list(declared)} OTUs by its column numOtus, and has {len(otus)}. Expected as "
            "many. It may be cut off: copy or export it again."
        )
    samples = [row[1].strip() for row in rows]
    refuse_duplicates(pd.Index(samples), "sample")
    counts = _counts(source, layout, rows, 3)
    notes = (f"read a mothur shared file, cut-off {labels[0]}: its groups are the samples",)
    return FeatureTable(
        as_counts(counts, samples, otus), samples, otus, "mothur shared", no_metadata(samples), {}, notes
    )


def _read_count_table(source: Source, layout: Layout) -> FeatureTable:
    if any("," in cell for row in itertools.islice(layout.rows(source), 5) for cell in row[2:]):
        raise FormatError(
            f"{source.name} is a mothur count table in its compressed form (group,count). Expected the full one. Write it in mothur: "
            "`count.seqs(count=…, compress=f)`."
        )
    rows = list(layout.rows(source))
    _refuse_ragged(source, layout, rows)
    features = [row[0].strip() for row in rows]
    groups = layout.header[2:]
    counts = _counts(source, layout, rows, 2 if groups else 1)
    notes = ["read a mothur count table: its groups are the samples, and its total is set aside"]
    if groups:
        total, sums = _counts(source, layout, rows, 1)[:, [0]].toarray().ravel(), np.asarray(counts.sum(axis=1)).ravel()
        if (total != sums).any():
            notes.append(
                f"the total of {int((total != sums).sum())} of {len(rows)} sequences is not the sum of the groups"
            )
    else:
        groups, notes = ["total"], ["read a mothur count table without groups: one sample, 'total'"]
    refuse_duplicates(pd.Index(groups), "sample")
    table = as_counts(sparse.csr_array(counts.T), groups, features)
    return FeatureTable(table, groups, features, "mothur count table", no_metadata(groups), {}, tuple(notes))


def _refuse_ragged(source: Source, layout: Layout, rows: list[list[str]]) -> None:
    width = len(layout.header)
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise FormatError(
                f"{source.name} has {count_noun(len(row), 'field')} in row {number:,} below its header and {width} in the header. "
                "Expected as many. A row may be cut off: copy or export it again."
            )


def _counts(source: Source, layout: Layout, rows: list[list[str]], start: int) -> sparse.csr_array:
    """The counts from a column on, rows as in the file."""
    parts = []
    for row in rows:
        wrong = next((k for k in range(start, len(row)) if not NUMBER.fullmatch(row[k].strip())), None)
        if wrong is not None:
            raise FormatError(
                f"{source.name} has {row[wrong][:40]!r} in row {cut_list(row[:2])}, column {cut_list([layout.header[wrong]])}. Expected a "
                "count. Export it again."
            )
        parts.append(sparse.csr_array(np.array(row[start:], dtype=np.float64)[None]))
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def refuse_other_tables(source: Source, layout: Layout) -> None:
    """Refuse (`FormatError`) text of other programs that is no table of samples and features, by its name."""
    names = [bare(name) for name in layout.header]
    have = set(names)
    what = ""
    if names[:2] == ["label", "numotus"] or names[:2] == ["label", "numasvs"]:
        what, instead = "a mothur list file, of sequences by OTU", "Make a shared file of it in mothur: `make.shared`."
    elif (
        have & {"sample", "sampleid"}
        and have & {"abundance", "count", "counts", "reads", "nreads"}
        and have & {*("otu", "asv", "featureid", "otuid", "asvid", "feature", "sequence")}
    ):
        what = "a long table, of one row per sample and feature"
        instead = "Make it wide: in pandas, `frame.pivot_table(index='OTU', columns='Sample', values='Abundance', fill_value=0)`."
    elif len(names) in (10, 11) and layout.header[0] in ("S", "H", "C", "N") and layout.header[1].isdigit():
        what, instead = "clusters of usearch or vsearch (.uc)", "Give the table that `--otutabout` writes."
    elif len(names) in (11, 12, 13) and _is_blast(layout):
        what, instead = "hits of BLAST", "Give the feature table beside it."
    if what:
        raise FormatError(f"{source.name} is {what}. Expected a feature table, samples by features. {instead}")


def _is_blast(layout: Layout) -> bool:
    row = next(csv.reader([layout.body.partition("\n")[0]], delimiter=layout.separator), [])
    return layout.separator == "\t" and len(row) >= 12 and "." in row[2] and all(NUMBER.fullmatch(c) for c in row[2:12])
