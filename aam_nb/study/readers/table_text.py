"""Feature tables in text: TSV or CSV, in either orientation."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Ints
from aam_nb.config import cut_list
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.letters import DNA_ID
from aam_nb.study.readers.archives import Source, first_line
from aam_nb.study.readers.checks import as_counts, describe_non_counts, find_non_counts, refuse_duplicates
from aam_nb.study.readers.columns import NUMBER
from aam_nb.study.readers.feature_table import FeatureTable, no_metadata

LINEAGE = ("taxonomy", "taxon", "consensus lineage", "consensuslineage")
"""Names, in small letters, of a column of lineages beside the counts of a text table."""
CORNERS = ("otu id", "otuid", "feature id", "featureid", "feature-id", "asv id", "asv")
"""First fields, in small letters, of the header of a text table whose rows are features."""
CELLS_AT_ONCE = 2**22
"""Cells of a text table that are held in memory as such; only counts above 0 are kept."""
PLAIN = re.compile(rf"\s*(?:{NUMBER.pattern}|[+-]?(?:nan|inf|infinity))\s*", re.ASCII | re.IGNORECASE)
"""A number as programs write it; Python would take 1_000 and digits of other scripts too."""


def read_text_table(source: Source, sequence_ids: frozenset[str]) -> FeatureTable:
    """TSV or CSV in either orientation; DADA2's `write.table` and `write.csv` too."""
    text = source.text()
    separator, body = _body(source, text)
    header, rows = _rows(source, body, separator)
    width = len(header)
    if width < 2:
        raise FormatError(
            f"{source.name} has one column. Expected ids and counts, separated by tabs or commas. Export it again as TSV."
        )
    first = next(rows, None)
    if first is None:
        raise FormatError(
            f"{source.name} has a header and no rows. Expected a feature table, one row per sample or feature. Export it again."
        )
    if len(first) == width + 1:  # R's write.table names the columns and not the row names
        header, width = ["", *header], width + 1
    elif len(first) == width and all(map(DNA_ID.fullmatch, header)):
        raise FormatError(
            f"{source.name} has DNA above all its columns ({cut_list(header, 1)}), the first too, and so no sample ids. Expected them "
            "in the first column. Write the row names: in R, `write.csv(seqtab, row.names = TRUE)`."
        )
    lineage = next((k for k, name in enumerate(header) if k and name.strip().lower() in LINEAGE), None)
    columns = [k for k in range(1, width) if k != lineage]
    labels = [header[k].strip() for k in columns]
    names, lineages, table = _parse_with_pandas(body, separator, header, lineage) or _parse_row_by_row(
        source, itertools.chain([first], rows), header, lineage
    )
    by_sample = _rows_are_samples(source, names, labels, header[0], sequence_ids)
    samples, features = (names, labels) if by_sample else (labels, names)
    refuse_duplicates(pd.Index(samples), "sample")
    table = sparse.csr_array(table if by_sample else table.T)
    kept = {} if by_sample else lineages
    sums = [i for i in samples if i.lower() in ("total", "totals", "sum")]
    notes = (f"a sample is called {sums[0]!r}: leave it out if it is a sum",) if sums else ()
    return FeatureTable(
        as_counts(table, samples, features), samples, features, "text", no_metadata(samples), kept, notes
    )


def _body(source: Source, text: str) -> tuple[str, str]:
    """The separator, and the text from the header on: comments above it are passed over, and a header may begin with `#` too."""
    all_lines = text.split("\n")
    lines = [k for k, line in enumerate(all_lines) if line.strip()]
    if not lines:
        raise FormatError(f"{source.name} holds no text. Expected a feature table. Export it again.")
    first = next((k for k in lines if not all_lines[k].startswith("#")), None)
    above = [k for k in lines if first is None or k < first]
    model = all_lines[above[-1] if first is None else first]
    separator = next((s for s in "\t,;" if s in model), "\t")
    fields = model.count(separator)
    if above and separator in all_lines[above[-1]] and all_lines[above[-1]].count(separator) == fields:
        first = above[-1]  # `#OTU ID<tab>s1<tab>s2`
    if first is None:
        raise FormatError(f"{source.name} holds nothing but comments. Expected a feature table. Export it again.")
    if separator not in model and len(model.split()) >= 2:
        raise FormatError(
            f"{source.name} is separated by spaces, as R's `write.table` does by default. Expected tabs, commas or semicolons. Write it "
            "with `sep = '\\t', col.names = NA`."
        )
    return separator, "\n".join(all_lines[first:])


def _rows(source: Source, body: str, separator: str) -> tuple[list[str], Iterator[list[str]]]:
    """The header's fields, and the rows below it."""

    def rows() -> Iterator[list[str]]:
        try:
            lines = csv.reader(io.StringIO(body, newline=""), delimiter=separator, strict=True)
            yield from (row for row in lines if row)
        except csv.Error as error:
            raise FormatError(
                f"{source.name} cannot be read as a table ({first_line(error)}). Expected fields separated by tabs or commas, with quotes "
                "that are closed. Export it again."
            ) from error

    lines_read = rows()
    return next(lines_read), lines_read


ODD = (ValueError, OverflowError, pd.errors.ParserError, pd.errors.ParserWarning)
"""What pandas says of a text that is not a plain table of numbers."""
Rows = tuple[list[str], dict[str, str], sparse.csr_array]


def _parse_with_pandas(body: str, separator: str, header: list[str], lineage: int | None) -> Rows | None:
    """Ids, lineages and counts by pandas' parser; None where anything is odd, for `_parse_row_by_row` to say what."""
    if any(word in body for word in ("True", "TRUE", "true", "False", "FALSE", "false")):
        return None  # which pandas would take for 1 and 0
    width = len(header)
    kinds: defaultdict[int, type] = defaultdict(lambda: np.float64, {0: str})
    if lineage is not None:
        kinds[lineage] = str
    names: list[str] = []
    lineages: dict[str, str] = {}
    parts = []
    with warnings.catch_warnings(), contextlib.suppress(*ODD):
        warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows too long, which would be cut
        chunks = pd.read_csv(
            io.StringIO(body.partition("\n")[2]),
            sep=separator,
            header=None,
            names=range(width),
            index_col=False,
            dtype=kinds,
            na_filter=False,
            low_memory=False,
            chunksize=max(1, CELLS_AT_ONCE // width),
        )
        for chunk in chunks:
            ids = chunk[0].str.strip().tolist()
            if lineage is not None:
                lineages |= dict(zip(ids, chunk[lineage], strict=True))
            cells = chunk.drop(columns=[0] if lineage is None else [0, lineage])
            if (cells.dtypes != np.float64).any() or len(find_non_counts(cells.to_numpy().ravel())):
                return None
            values = cells.to_numpy()
            names += ids
            parts.append(sparse.csr_array(values.astype(np.int64)))
        return (names, lineages, sparse.csr_array(sparse.vstack(parts, format="csr"))) if parts else None
    return None


def _parse_row_by_row(source: Source, rows: Iterable[list[str]], header: list[str], lineage: int | None) -> Rows:
    """The same, slower, with the row and column of whatever cannot be read."""
    columns = [k for k in range(1, len(header)) if k != lineage]
    names, lineages, counts = [], {}, list[tuple[Ints, Ints]]()
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise FormatError(
                f"{source.name} has {len(row)} fields in row {number} below its header and {len(header)} in the header. Expected as many. "
                "A row may be cut off, or the file not a feature table."
            )
        names.append(row[0].strip())
        if lineage is not None:
            lineages[names[-1]] = row[lineage]
        counts.append(_counts_of(source, row, columns, header))
    offsets = np.concatenate([[0], np.cumsum([len(positions) for positions, _ in counts])])
    positions, values = (np.concatenate(side) for side in zip(*counts, strict=True))
    return names, lineages, sparse.csr_array((values, positions, offsets), shape=(len(names), len(columns)))


def _counts_of(source: Source, row: list[str], columns: list[int], header: list[str]) -> tuple[Ints, Ints]:
    """Places and values of one row's counts; zeros are left out."""
    wrong = next((k for k in columns if not PLAIN.fullmatch(row[k])), None)
    if wrong is not None:
        raise FormatError(
            f"{source.name} has {row[wrong][:40]!r} in row {cut_list([row[0]])}, column {cut_list([header[wrong]])}. Expected a count. "
            "Leave only ids and counts in the table (a column `taxonomy` may stay); 0 where nothing was found."
        )
    values = np.array([row[k] for k in columns], dtype=np.float64)
    bad = find_non_counts(values)
    if len(bad):
        column = header[columns[int(bad[0])]]
        features_below = header[0].strip().lower().lstrip("#") in CORNERS or bool(DNA_ID.fullmatch(row[0].strip()))
        sample, asv = (column, row[0]) if features_below else (row[0], column)
        raise StudyError(describe_non_counts(values, bad, sample, asv))
    positions = np.flatnonzero(values)
    return positions, values[positions].astype(np.int64)


def _rows_are_samples(
    source: Source, rows: list[str], columns: list[str], corner: str, sequence_ids: frozenset[str]
) -> bool:
    """Which axis holds the samples: the one that is neither DNA nor named among the sequences given."""
    given = [sum(i in sequence_ids for i in ids) / max(1, len(ids)) for ids in (rows, columns)]
    if max(given) > 0.5 and given[0] != given[1]:
        return given[1] > given[0]
    if corner.strip().lower().lstrip("#") in CORNERS:
        return False
    dna = [sum(bool(DNA_ID.fullmatch(i)) for i in ids) / max(1, len(ids)) > 0.5 for ids in (rows, columns)]
    if all(dna):  # samples may be named by barcodes, which are shorter than any ASV
        lengths = [float(np.median([len(i) for i in ids])) for ids in (rows, columns)]
        dna = [length > min(lengths) for length in lengths]
    if any(dna):
        return dna[1]
    raise FormatError(
        f"Neither the rows ({cut_list(rows, 2)}) nor the columns ({cut_list(columns, 2)}) of {source.name} are known to be features. "
        "Expected DNA as ids on one axis, or `#OTU ID` as the first header field. For hashed ids give their sequences: "
        "`aam.read_study(..., sequences='rep-seqs.fasta')` (`--sequences`)."
    )
