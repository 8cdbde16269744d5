"""Feature tables in text: TSV or CSV, in either orientation."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.arrays import Bools, Ints
from aam_nb.config import count_noun, cut_list
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.letters import DNA_ID
from aam_nb.study.readers.archives import Source
from aam_nb.study.readers.checks import as_counts, describe_non_counts, find_non_counts, refuse_duplicates
from aam_nb.study.readers.columns import NUMBER
from aam_nb.study.readers.feature_table import FeatureTable, no_metadata
from aam_nb.study.readers.sequences import SIZE
from aam_nb.study.readers.side_columns import describe_aside, find_side_columns, find_total_rows, is_total_name
from aam_nb.study.readers.table_columns import Roles, assign_roles
from aam_nb.study.readers.table_layout import CORNERS, LOOK_AT, Layout, bare, find_layout, lost_header
from aam_nb.study.readers.table_mothur import read_mothur, refuse_other_tables

CELLS_AT_ONCE = 2**22
"""Cells of a text table that are held in memory as such; only counts above 0 are kept."""
PLAIN = re.compile(rf"\s*(?:{NUMBER.pattern}|[+-]?(?:nan|inf|infinity))\s*", re.ASCII | re.IGNORECASE)
"""A number as programs write it; Python would take 1_000 and digits of other scripts too."""
THOUSANDS = re.compile(r"\d{1,3}(?:(?P<mark>[,.' \u00a0\u2009\u202f\u2019])\d{3})(?:(?P=mark)\d{3})*")
"""Thousands with a mark between them, as spreadsheets show them."""
POINT_THOUSANDS = re.compile(r"(?:^|(?<=[\t,;\"\n]))\d{1,3}(?:\.000)+(?=[\t,;\"\n]|$)")


def read_text_table(source: Source, sequence_ids: frozenset[str]) -> FeatureTable:
    """TSV or CSV in either orientation; DADA2's `write.table` and `write.csv`, mothur's shared files and count tables too."""
    layout = find_layout(source, source.text())
    of_mothur = read_mothur(source, layout)
    if of_mothur is not None:
        return of_mothur
    refuse_other_tables(source, layout)
    first = list(itertools.islice(layout.rows(source), LOOK_AT))
    roles = assign_roles(source, layout, first)
    if layout.header[roles.ids] in sequence_ids:
        raise lost_header(source, layout.header)
    cells = _parse_with_pandas(layout, roles) or _parse_row_by_row(source, layout, roles)
    labels = [layout.header[k] for k in roles.counts]
    names = cells.names
    by_sample = roles.sequence is None and _rows_are_samples(
        source, names, labels, layout.header[roles.ids], sequence_ids
    )
    notes = [*layout.notes, *roles.notes]
    rows, columns, more = _find_samples(names, labels, cells.counts, by_sample)
    counts = cells.counts[np.flatnonzero(rows)][:, np.flatnonzero(columns)]
    notes += more
    names, labels = (
        [i for i, kept in zip(ids, which, strict=True) if kept] for ids, which in ((names, rows), (labels, columns))
    )
    old_names = names
    if not by_sample and roles.sequence is not None:
        names = _name_by_column(
            names, [s for s, kept in zip(cells.texts[roles.sequence], rows, strict=True) if kept], sequence_ids, notes
        )
    samples, features = (names, labels) if by_sample else (labels, names)
    features, cut = _without_sizes(features)
    notes += cut
    if by_sample:
        notes.append("took the rows for samples and the columns for ASVs")
    refuse_duplicates(pd.Index(samples), "sample")
    table = sparse.csr_array(counts if by_sample else counts.T)
    kept = (
        [lineage for lineage, keep in zip(roles.lineages(cells.texts), rows, strict=True) if keep]
        if roles.ranks
        else []
    )
    lineages = dict(zip(features, kept, strict=True)) if kept and not by_sample else {}
    dna_of = {} if names is old_names else dict(zip(old_names, names, strict=True))
    counts = as_counts(table, samples, features)
    return FeatureTable(counts, samples, features, "text", no_metadata(samples), lineages, tuple(notes), dna_of)


def _find_samples(
    names: list[str], labels: list[str], counts: sparse.csr_array, by_sample: bool
) -> tuple[Bools, Bools, list[str]]:
    """Rows and columns that are samples or features, and notes on what was set aside: totals, lengths and the like."""
    rows, columns = np.ones(len(names), dtype=bool), np.ones(len(labels), dtype=bool)
    totals = find_total_rows(names, counts)
    notes = []
    if totals.any():
        rows = ~totals
        gone = [names[i] for i in np.flatnonzero(totals)]
        notes += describe_aside({"the sum of the others": gone}, "row")
    if by_sample:
        dna = np.array([bool(DNA_ID.fullmatch(label)) for label in labels])
        called = np.array(
            [is_total_name(label) or bare(label) in ("depth", "librarysize", "sequencingdepth") for label in labels]
        )
        if (called & ~dna).any() and dna.any():
            columns = ~(called & ~dna)
            notes += describe_aside(
                {"numbers of the samples": [labels[i] for i in np.flatnonzero(~columns)]}, "column of the samples"
            )
        return rows, columns, notes
    kept = np.flatnonzero(rows)
    kinds = find_side_columns([names[i] for i in kept], labels, counts[kept])
    aside = {label for group in kinds.values() for label in group}
    columns = np.array([label not in aside for label in labels])
    if not columns.any():
        return (
            rows,
            ~columns,
            [*notes, f"took the only columns of counts ({cut_list(map(repr, labels), 3)}) for samples"],
        )
    return rows, columns, notes + describe_aside(kinds)


def _name_by_column(
    names: list[str], sequences: list[str], sequence_ids: frozenset[str], notes: list[str]
) -> list[str]:
    """The features' DNA from a column of it, where their ids are other names and no sequences were given."""
    if sequence_ids or all(map(DNA_ID.fullmatch, names)):
        return names
    notes.append(f"named {count_noun(len(names), 'feature')} by the column of sequences in the table")
    return sequences


def _without_sizes(features: list[str]) -> tuple[list[str], list[str]]:
    """Ids without vsearch's `;size=12`."""
    plain = [SIZE.sub("", i) if ";" in i else i for i in features]
    num = sum(a != b for a, b in zip(plain, features, strict=True))
    return plain, [f"cut `;size=` from {count_noun(num, 'feature id')}"] if num else []


# -- cells ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cells:
    """What the rows hold: ids, text by column, and counts, shape (n_rows, n_counts)."""

    names: list[str]
    texts: dict[int, list[str]]
    counts: sparse.csr_array


ODD = (ValueError, OverflowError, pd.errors.ParserError, pd.errors.ParserWarning)
"""What pandas says of a text that is not a plain table of numbers."""


def _parse_with_pandas(layout: Layout, roles: Roles) -> Cells | None:
    """Cells by pandas' parser; None where anything is odd, for `_parse_row_by_row` to say what."""
    if any(word in layout.body for word in ("True", "TRUE", "true", "False", "FALSE", "false")):
        return None  # which pandas would take for 1 and 0
    if ".000" in layout.body and POINT_THOUSANDS.search(layout.body):
        return None  # 1.000 may be a thousand
    width = len(layout.header)
    kinds: defaultdict[int, type] = defaultdict(lambda: np.float64, dict.fromkeys((roles.ids, *roles.texts), str))
    names: list[str] = []
    texts: dict[int, list[str]] = {k: [] for k in roles.texts}
    parts = []
    with warnings.catch_warnings(), contextlib.suppress(*ODD):
        warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows too long, which would be cut
        chunks = pd.read_csv(
            io.StringIO(layout.body),
            sep=layout.separator,
            header=None,
            names=range(width),
            index_col=False,
            dtype=kinds,
            na_filter=False,
            low_memory=False,
            chunksize=max(1, CELLS_AT_ONCE // width),
        )
        for chunk in chunks:
            cells = chunk[roles.counts]
            text = {k: chunk[k].tolist() for k in (roles.ids, *roles.texts)}
            if not all(isinstance(cell, str) for column in text.values() for cell in column):
                return None
            if (cells.dtypes != np.float64).any() or len(find_non_counts(cells.to_numpy().ravel())):
                return None
            names += [cell.strip() for cell in text[roles.ids]]
            for k in roles.texts:
                texts[k] += text[k]
            parts.append(sparse.csr_array(cells.to_numpy().astype(np.int64)))
        return Cells(names, texts, sparse.csr_array(sparse.vstack(parts, format="csr"))) if parts else None
    return None


def _parse_row_by_row(source: Source, layout: Layout, roles: Roles) -> Cells:
    """The same, slower, with the row and column of whatever cannot be read."""
    names, counts = list[str](), list[tuple[Ints, Ints]]()
    texts: dict[int, list[str]] = {k: [] for k in roles.texts}
    width = len(layout.header)
    thousands: tuple[str, str, int] | None = None
    num_plain = 0
    for number, row in enumerate(layout.rows(source), start=1):
        row = roles.joined(row, layout.separator, width)
        if len(row) == 1 and row[0].lstrip().startswith("#"):
            continue  # a comment below the header
        if len(row) != width:
            raise FormatError(
                f"{source.name} has {count_noun(len(row), 'field')} in row {number:,} below its header and {width} in the header. "
                "Expected as many. A row may be cut off, a value may hold the separator (as 1,204 does in CSV), or the file be no feature "
                "table."
            )
        names.append(row[roles.ids].strip())
        for k in roles.texts:
            texts[k].append(row[k])
        counts.append(_counts_of(source, row, roles, layout.header))
        thousands = thousands or next(
            ((row[k].strip(), row[roles.ids], k) for k in roles.counts if POINT_THOUSANDS.fullmatch(row[k].strip())),
            None,
        )
        num_plain += sum("." not in row[k] and row[k].strip() != "0" for k in roles.counts)
    if thousands and num_plain:
        cell, row_id, k = thousands
        why = f"It may be {cell.split('.')[0]} or {cell.replace('.', ',')}: other counts have no decimals."
        raise _not_a_count(source, cell, row_id, _column_name(layout.header, k), why)
    offsets = np.concatenate([[0], np.cumsum([len(positions) for positions, _ in counts])])
    positions, values = (np.concatenate(side) for side in zip(*counts, strict=True))
    table = sparse.csr_array((values, positions, offsets), shape=(len(names), len(roles.counts)))
    return Cells(names, texts, table)


def _column_name(header: list[str], k: int) -> str:
    return header[k] or f"{k + 1}, which has no name"


def _not_a_count(source: Source, cell: str, row: str, column: str, why: str) -> FormatError:
    return FormatError(
        f"{source.name} has {cell[:40]!r} in row {cut_list([row])}, column {cut_list([column])}. Expected a count. {why} Write counts "
        "without marks, as 1204."
    )


def _counts_of(source: Source, row: list[str], roles: Roles, header: list[str]) -> tuple[Ints, Ints]:
    """Places and values of one row's counts; zeros are left out."""
    wrong = next((k for k in roles.counts if not PLAIN.fullmatch(row[k])), None)
    if wrong is not None:
        cell, where = row[wrong].strip(), (row[roles.ids], _column_name(header, wrong))
        if THOUSANDS.fullmatch(cell):
            raise _not_a_count(source, cell, *where, "It seems to have a mark between the thousands.")
        if re.fullmatch(r"\d+,\d+", cell):
            raise _not_a_count(source, cell, *where, "It has a decimal comma; counts are whole numbers.")
        raise FormatError(
            f"{source.name} has {row[wrong][:40]!r} in row {cut_list(where[:1])}, column {cut_list(where[1:])}. Expected a count. "
            "Leave only ids and counts in the table (a column `taxonomy` may stay); 0 where nothing was found."
        )
    values = np.array([row[k] for k in roles.counts], dtype=np.float64)
    bad = find_non_counts(values)
    if len(bad):
        k = roles.counts[int(bad[0])]
        if re.fullmatch(r"\d{1,3}(\.\d{3})+", row[k].strip()) and any(
            re.fullmatch(r"[1-9]\d*", row[j].strip()) for j in roles.counts
        ):
            raise _not_a_count(
                source,
                row[k].strip(),
                row[roles.ids],
                _column_name(header, k),
                "It seems to have a mark between the thousands.",
            )
        name = row[roles.ids].strip()
        features_below = bare(header[roles.ids]) in CORNERS or bool(DNA_ID.fullmatch(name))
        sample, asv = (header[k], name) if features_below else (name, header[k])
        raise StudyError(describe_non_counts(values, bad, sample, asv))
    positions = np.flatnonzero(values)
    return positions, values[positions].astype(np.int64)


def _rows_are_samples(
    source: Source, rows: Iterable[str], columns: Iterable[str], corner: str, sequence_ids: frozenset[str]
) -> bool:
    """Which axis holds the samples: the one that is neither DNA nor named among the sequences given."""
    rows, columns = list(rows), list(columns)
    given = [sum(i in sequence_ids for i in ids) / max(1, len(ids)) for ids in (rows, columns)]
    if max(given) > 0.5 and given[0] != given[1]:
        return given[1] > given[0]
    if bare(corner) in CORNERS:
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
