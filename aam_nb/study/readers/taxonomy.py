"""Taxonomy of the features: lineages of QIIME 2 and the reference databases, or a table with a column per rank, in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from aam_nb.config import count_noun, cut_list
from aam_nb.study.errors import FormatError
from aam_nb.study.readers.archives import Source, unpacked
from aam_nb.study.readers.columns import NUMBER
from aam_nb.study.readers.sequences import SIZE
from aam_nb.study.readers.sheets import HASHED_NAMES, Row, Sheet, plain, quoted, read_sheet
from aam_nb.study.readers.taxonomy_programs import is_sintax, split_sintax, with_header

RANKS = ("domain", "phylum", "class", "order", "family", "genus", "species")
PREFIXES = {"d": 0, "k": 0, "sk": 0, "p": 1, "c": 2, "o": 3, "f": 4, "g": 5, "s": 6}
"""Place in `RANKS` of what stands behind a prefix such as `p__`."""
RANK_COLUMNS = {name: i for i, name in enumerate(RANKS)} | {"kingdom": 0, "superkingdom": 0}
RANK_COLUMNS |= {f"rank{i + 1}": i for i in range(len(RANKS))}
"""Place in `RANKS` of a column by its plain name, in tables as DADA2 and (`Rank1`) phyloseq write them."""
TAXON_COLUMNS = {"taxon", "taxonomy", "lineage", "consensuslineage", "lineages", "taxa"}
FEATURE_COLUMNS = {
    *("featureid", "feature", "otuid", "otu", "otus", "asvid", "asv", "asvs", "sequence", "seq", "sequenceid", "seqid"),
}
"""Names of a column of feature ids, as `plain` writes them."""
CONFIDENCE_COLUMNS = {"confidence", "consensus"}
SCORE = re.compile(r"\s*(?:\(\s*{0}\s*\)|\[\s*{0}\s*\]|:{0})$".replace("{0}", r"\d{1,3}(?:\.\d+)?%?"))
"""Support behind a name, as mothur and RDP write it: `Firmicutes(99)`; or `Firmicutes[99]`, `Firmicutes:0.99`."""
OTHER_SEPARATOR = re.compile(
    r"(?:\s*[|,/:.>+\\-]\s*|\s+|(?<=[A-Za-z0-9])_)(?=(?:D_\d{1,3}|sk|[kdpcofgst]|[KDPCOFGST])__)", re.ASCII
)
"""What divides names with prefixes where it is no semicolon."""
ODD_NAME = re.compile(r"[|;,]|__|^[dkpcofgs]_|\(\d{1,3}(?:\.\d+)?%?\)$")
"""What a name of a taxon seldom holds: a separator, a prefix or a score."""
UNITE_HEAD = re.compile(r"[^;]*\|(?=[dk]__[^;|]*;)", re.ASCII)
"""Name, accession and species hypothesis before a lineage: `Candida_sp|KX12|SH1.09FU|reps|k__Fungi;…`."""
SUPERGROUPS = {
    *("tsar", "sar", "obazoa", "archaeplastida", "excavata", "amoebozoa", "cryptista", "haptista", "crums", "provora", "hacrobia"),
    *("opisthokonta", "stramenopiles", "alveolata", "rhizaria", "apusozoa", "discoba", "metamonada"),
}  # fmt: skip
"""Eukaryotes above the phylum: PR2 has them, and more ranks than seven."""
PREFIX = re.compile(r"(?:D_(?P<level>\d{1,3})|(?P<letters>[A-Za-z]{0,3}))__(?P<name>.*)", re.ASCII | re.DOTALL)
SHORT_PREFIX = re.compile(r"(?P<letters>[dkpcofgs])_(?P<name>(?!_).*)", re.ASCII | re.DOTALL)
"""A prefix with one underscore, where all names of a lineage have one."""
NO_NAME = {
    *("", "na", "n/a", "nan", "null", "none"),
    *("unassigned", "unclassified", "unidentified", "unknown", "unassignable", "no blast hit"),
}
"""Names of no taxon, in any case. Labels that say more, such as "uncultured" or "Incertae_Sedis", are kept as names."""

Taxa = tuple[str | None, ...]


class TaxonomyError(FormatError):
    """A taxonomy that cannot be used as it is."""


def read_taxonomy(path: str | Path) -> pd.DataFrame:
    """Read a taxonomy: lineages, or a table with a column per rank.

    Lineages are in a column `Taxon`, as QIIME 2 writes it, or in the second of two columns without a header. Their names have prefixes
    such as `p__` (Greengenes, Greengenes2, GTDB, UNITE, SILVA) or `D_1__` (older SILVA); or none, and are then ranks from the domain
    down. SINTAX's lineages (`d:Bacteria(1.00),p:…`) and the tables that usearch, vsearch and RDP write without a header are read too, their
    scores told and left out. Tables are DADA2's (`Kingdom`, `Phylum`, …) and phyloseq's (`Rank1`, …).

    Parameters
    ----------
    path
        TSV or CSV, plain, gzipped, or in a `FeatureData[Taxonomy]` artifact.

    Returns
    -------
    Indexed by `feature_id` (text), in the file's order: `domain`, `phylum`, `class`, `order`, `family`, `genus`, `species`, down to the
    deepest that any feature has, without prefixes; a kingdom is the `domain` where there is no other. Missing where there is no name, or
    one such as "unassigned". Then `confidence` (float, as the classifier gave it) where the file has it, or a `Consensus`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FormatError
        It is not a table.
    TaxonomyError
        It is no taxonomy, ids are absent or occur twice, or it is not clear of which rank a name is.

    Examples
    --------
    >>> import aam_nb as aam
    >>> from pathlib import Path
    >>> _ = Path("taxonomy.tsv").write_text("Feature ID\\tTaxon\\nasv1\\td__Bacteria; p__Bacillota\\n")
    >>> aam.read_taxonomy("taxonomy.tsv").loc["asv1"].to_list()
    ['Bacteria', 'Bacillota']
    """
    with unpacked(path, "a taxonomy, as TSV or CSV") as source:
        return parse_taxonomy(source)[0]


def parse_taxonomy(source: Source) -> tuple[pd.DataFrame, list[str]]:
    """As `read_taxonomy`, from a plain file; also tells what was left out, for `Study.provenance`."""
    name = source.name
    if source.kind not in ("", "FeatureData[Taxonomy]"):
        raise FormatError(
            f"{name} is a QIIME 2 artifact of type {source.kind}. Expected a taxonomy, or a FeatureData[Taxonomy]. Give that one."
        )
    sheet, notes = with_header(read_sheet(source.text(), name))
    sheet, more = _with_ids_named(sheet)
    rows, numbered = without_row_numbers(sheet.squared())
    notes = [*sheet.notes(), *notes, *more, *numbered]
    header = rows[0].cells
    if is_lineage_row(header):
        header = ["", "Taxon", "Confidence", *header[3:]][: len(header)]
        notes.append("took the first line for a lineage, not a header")
    else:
        rows = rows[1:]
    names = plain_names(header)
    taxon, ranked = taxon_column(names), rank_columns(names)
    if taxon is None and len(ranked) < 2:
        raise TaxonomyError(
            f"{name} has no column of taxa; its columns are {cut_list(map(quoted, header))}. Expected `Taxon`, as QIIME 2 writes it, or a "
            "column for each rank (Kingdom, Phylum, …), as DADA2 does. Name the column so."
        )
    if not rows:
        raise TaxonomyError(f"{name} has no rows below its header. Expected one row per feature. Export it again.")
    full = [r.cells[0] for r in rows]
    ids = [SIZE.sub("", i) for i in full]
    if num_cut := sum(i != f for i, f in zip(ids, full, strict=True)):
        notes.append(f"cut `;size=` from {count_noun(num_cut, 'feature id')}")
    _check_ids(ids, name)
    if taxon is not None:
        frame, more = taxa_of(ids, [r.cells[taxon] for r in rows], name)
        notes += more
    else:
        _refuse_row_as_header(header, name)
        taxa = [_of_row(r, ranked, name) for r in rows]
        frame = _frame(ids, taxa)
        notes += _describe_odd(taxa)
        if scored := sum(any(SCORE.search(r.cells[k]) for k in ranked.values()) for r in rows):
            notes.append(f"took the bootstrap values, such as (99), off the names of {count_noun(scored, 'row')}")
    sure = next((i for i, n in enumerate(names) if n in CONFIDENCE_COLUMNS), None)
    if sure is not None:
        frame["confidence"] = _confidence([r.cells[sure] for r in rows], ids, name)
    used = {0, sure, *([taxon] if taxon is not None else ranked.values())}
    left_out = [quoted(column) for i, column in enumerate(header) if i not in used]
    if left_out:
        notes.append(f"left out the column{'' if len(left_out) == 1 else 's'} {cut_list(left_out, 8)} of {name}")
    return frame, notes


def without_row_numbers(rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Rows without numbers of rows in front of a column of feature ids, as R's `write.csv` of a data frame leaves them."""
    first, *rest = rows
    numbers = [[str(i + start) for i in range(len(rest))] for start in (0, 1)]
    named = (
        len(first.cells) > 2 and plain(first.cells[1]) in FEATURE_COLUMNS and plain(first.cells[0]) not in HASHED_NAMES
    )
    if not rest or not named or [r.cells[0] for r in rest if r.cells] not in numbers:
        return rows, []
    note = f"set aside the column {quoted(first.cells[0])} of row numbers"
    return [Row(r.line, r.cells[1:]) for r in rows], [note]


def _with_ids_named(sheet: Sheet) -> tuple[Sheet, list[str]]:
    """R's `write.table` of DADA2's taxa names the ranks and not the ids; only where all names are ranks is that beyond doubt."""
    first, *rest = sheet.rows
    ranks = all(name in RANK_COLUMNS for name in plain_names(first.cells))
    if not (rest and ranks and all(len(r.cells) == len(first.cells) + 1 for r in rest)):
        return sheet, []
    note = "took the first column for the feature ids, which R's write.table leaves without a name"
    return replace(sheet, rows=[Row(first.line, ["", *first.cells]), *rest]), [note]


def taxa_of(ids: Sequence[str], lineages: Sequence[str], name: str) -> tuple[pd.DataFrame, list[str]]:
    """Lineages as a table with a column per rank, as `read_taxonomy` gives it; also tells what was left out.

    Parameters
    ----------
    ids, lineages
        Feature ids, and the lineage of each: names divided by semicolons.
    name
        What messages call the file.

    Raises
    ------
    TaxonomyError
        It is not clear of which rank a name is.
    """
    beyond: Counter[str] = Counter()
    by_lineage: dict[str, Taxa] = {}
    num_bare = 0
    distinct = list(dict.fromkeys(lineages))  # each once
    divided = _divide(distinct)
    num_scored = num_short = 0
    for lineage, parts in zip(distinct, divided.parts, strict=True):
        num_scored += any(SCORE.search(p) for p in parts)
        parts = [_unquoted(SCORE.sub("", p)) for p in parts]
        parts = parts[1:] if parts[0].lower() == "root" else parts
        while parts and not parts[-1]:
            parts.pop()
        matches = [m for p in parts if (m := PREFIX.fullmatch(p))]
        if not matches and parts and all(map(SHORT_PREFIX.fullmatch, parts)):
            matches = [m for p in parts if (m := SHORT_PREFIX.fullmatch(p))]
            num_short += 1
        try:
            if not matches:
                by_lineage[lineage] = _by_place(parts)
                num_bare += any(by_lineage[lineage])
            elif len(matches) == len(parts):
                by_lineage[lineage] = _by_prefix(matches, beyond)
            else:
                raise TaxonomyError("has names with prefixes such as p__, and names without. Expected one kind")
        except TaxonomyError as error:
            feature = ids[lineages.index(lineage)]
            raise TaxonomyError(
                f"Lineage {lineage[:80]!r} of {cut_list([feature])} in {name} {error}. Correct it, or export the taxonomy again."
            ) from None
    notes = list(divided.notes)
    if num_scored:
        notes.append(
            f"took the bootstrap values, such as (99), off the names of {count_noun(num_scored, 'distinct lineage')}"
        )
    if num_short:
        notes.append(f"took k_, p_ and so on for prefixes of ranks in {count_noun(num_short, 'distinct lineage')}")
    notes += _describe_odd(by_lineage.values())
    if num_bare:
        notes.append(
            f"took the names of {count_noun(num_bare, 'distinct lineage')} without prefixes for ranks from the domain down"
        )
    if beyond:
        counts = cut_list([f"{p}__ {n}x" for p, n in beyond.most_common()])
        notes.append(f"left out names of ranks other than {', '.join(RANKS)}: {counts}")
    return _frame(ids, [by_lineage[lineage] for lineage in lineages]), notes


def _describe_odd(lineages: Iterable[Taxa]) -> list[str]:
    """Notes on names that seem to be more than one name, or of no phylum."""
    lineages, notes = list(lineages), []
    odd = sorted({taxon for taxa in lineages for taxon in taxa if taxon and ODD_NAME.search(taxon)})
    if odd:
        holds = "name holds" if len(odd) == 1 else "names hold"
        notes.append(
            f"{len(odd):,} {holds} a separator, a prefix or a score ({cut_list(map(quoted, odd), 3)}): is it one name? Lineages are "
            "divided by semicolons"
        )
    high = sorted({taxa[1] for taxa in lineages if taxa[1] and taxa[1].lower() in SUPERGROUPS})
    if high:
        are = "is a supergroup and stands" if len(high) == 1 else "are supergroups and stand"
        notes.append(
            f"{cut_list(map(quoted, high), 3)} {are} where a phylum is expected: PR2 and SILVA have more ranks of eukaryotes than seven"
        )
    return notes


@dataclass(frozen=True)
class Divided:
    """Lineages as their names, and what was unusual about what divides them."""

    parts: list[list[str]]
    notes: list[str]


def _divide(lineages: list[str]) -> Divided:
    """Each lineage as its names: divided by semicolons, else by bars or commas before prefixes, else by bars where all have them."""
    semicolons = any(";" in lineage for lineage in lineages)
    barred = [lineage for lineage in lineages if "|" in lineage]
    tops = {lineage.split("|")[0].strip() for lineage in barred}
    alone = [lineage for lineage in lineages if "|" not in lineage]  # a domain alone, or no name, has no bar
    bars = not semicolons and bool(barred) and all(_known(i) is None or i.strip() in tops for i in alone)
    bars = bars or (not semicolons and len(barred) > len(alone))
    parts, num_others, heads = [], 0, list[str]()
    for lineage in lineages:
        head = UNITE_HEAD.match(lineage)
        if head:
            heads.append(head[0])
            lineage = lineage[head.end() :]
        if is_sintax(lineage):
            parts.append(split_sintax(lineage))
        elif ";" in lineage or not (bars or OTHER_SEPARATOR.search(lineage)):
            parts.append(lineage.split(";"))
        else:
            num_others += 1
            parts.append(OTHER_SEPARATOR.split(lineage) if OTHER_SEPARATOR.search(lineage) else lineage.split("|"))
    example = next((lineage for lineage in lineages if OTHER_SEPARATOR.search(lineage) or "|" in lineage), "")
    note = f"divided {count_noun(num_others, 'distinct lineage')} at bars, commas or other marks, not at semicolons ({quoted(example)})"
    notes = [note] if num_others else []
    if heads:
        notes.append(
            f"took what stands before the first rank off {count_noun(len(heads), 'distinct lineage')}, as UNITE names sequences "
            f"({quoted(heads[0])})"
        )
    return Divided(parts, notes)


def _by_prefix(matches: list[re.Match[str]], beyond: Counter[str]) -> Taxa:
    """Names by rank; those of other ranks are counted in `beyond`."""
    taxa: list[str | None] = [None] * len(RANKS)
    letters = [(m.groupdict().get("letters") or "").lower() for m in matches]
    has_domain = "d" in letters or "sk" in letters
    deepest = -1
    for match, prefix in zip(matches, letters, strict=True):
        rank = _rank_of(match)
        if rank is None or (prefix == "k" and has_domain):
            beyond.update([prefix] if prefix and _known(match["name"]) else [])
            continue
        if rank <= deepest:
            raise TaxonomyError(f"has ranks twice or out of order. Expected {', '.join(RANKS)}, in that order")
        deepest, taxa[rank] = rank, _known(match["name"])
    return tuple(taxa)


def _rank_of(match: re.Match[str]) -> int | None:
    """Position in `RANKS` of a prefix; None for ranks that are not there, as strains (`t__`)."""
    level = match.groupdict().get("level")
    if level is None:
        return PREFIXES.get(match["letters"].lower())
    if int(level) >= len(RANKS):
        raise _too_deep(int(level) + 1)
    return int(level)


def _by_place(parts: list[str]) -> Taxa:
    if parts and parts[0].lower() == "cellular organisms":
        raise TaxonomyError(
            "is one of NCBI, whose names are of any rank. Expected names with prefixes such as p__, or those of the seven ranks alone"
        )
    if len(parts) > len(RANKS):
        raise _too_deep(len(parts))
    return tuple(_known(p) for p in parts + [""] * (len(RANKS) - len(parts)))


def _too_deep(num: int) -> TaxonomyError:
    return TaxonomyError(
        f"has {num} ranks, and no prefixes such as p__ to say which. Expected at most {len(RANKS)}: {', '.join(RANKS)}. Take the "
        "seven-rank taxonomy of the reference"
    )


def _of_row(row: Row, ranked: dict[int, int], name: str) -> Taxa:
    """Names by rank of a row with a column per rank; where they have prefixes, of the column's rank."""
    taxa: list[str | None] = [None] * len(RANKS)
    for rank, column in ranked.items():
        cell = _unquoted(SCORE.sub("", row.cells[column]))
        match = PREFIX.fullmatch(cell)
        if ";" in cell or (match and _rank_of(match) not in (rank, None)):
            raise TaxonomyError(
                f"{name} has {quoted(cell)} as a {RANKS[rank]} in line {row.line}. Expected one name of that rank. Correct the columns."
            )
        taxa[rank] = _known(match["name"] if match else cell)
    return tuple(taxa)


def _frame(ids: Sequence[str], taxa: list[Taxa]) -> pd.DataFrame:
    deepest = max((i for t in set(taxa) for i, taxon in enumerate(t) if taxon), default=0)
    index = pd.Index(ids, dtype=str, name="feature_id")
    columns = {rank: [t[i] or np.nan for t in taxa] for i, rank in enumerate(RANKS[: deepest + 1])}
    return pd.DataFrame({rank: pd.Series(names, index, dtype=str) for rank, names in columns.items()})


def _known(taxon: str) -> str | None:
    taxon = _unquoted(taxon)
    return None if taxon.lower() in NO_NAME else taxon


def _unquoted(taxon: str) -> str:
    """RDP writes some names in quotes."""
    return taxon.strip().strip('"').strip()


# -- columns ----------------------------------------------------------------------------------------------------------


def plain_names(header: list[str]) -> list[str]:
    return [plain(re.sub(r"^tax\.", "", column)) for column in header]  # with bootstraps, R writes `tax.Genus`


def taxon_column(names: list[str]) -> int | None:
    return next((i for i, n in enumerate(names) if i and n in TAXON_COLUMNS), None)


def rank_columns(names: list[str]) -> dict[int, int]:
    """Column of each rank; a kingdom's is the domain's where there is no other."""
    ranked: dict[int, int] = {}
    for i, name in enumerate(names[1:], 1):
        rank = RANK_COLUMNS.get(name)
        if rank is not None and (rank not in ranked or name in RANKS):
            ranked[rank] = i
    return ranked


def is_lineage_row(cells: list[str]) -> bool:
    """Whether a first row is no header but an id and its lineage already."""
    if len(cells) < 2 or plain(cells[0]) in HASHED_NAMES:
        return False
    return (
        ";" in cells[1]
        or is_sintax(cells[1])
        or bool(PREFIX.fullmatch(cells[1]))
        or cells[1].lower() in NO_NAME - {"", "na", "none"}
    )


def _refuse_row_as_header(header: list[str], name: str) -> None:
    """A first line with numbers in it is a row already, as RDP's classifier writes: its names of ranks stand beside the taxa."""
    numbers = [cell for cell in header[1:] if NUMBER.fullmatch(cell)]
    if numbers:
        raise TaxonomyError(
            f"{name} has numbers in its first line ({cut_list(map(quoted, header[1:]), 6)}), so it is no header, and names of ranks in "
            "it are no columns. RDP's classifier writes such files. Expected a column of lineages, `Taxon`, or a column for each rank. "
            "Write its output so: in R, one row per feature and one column per rank."
        )


def _confidence(cells: list[str], ids: list[str], name: str) -> list[float]:
    values = []
    for cell, feature in zip(cells, ids, strict=True):
        try:
            values.append(np.nan if cell.lower() in NO_NAME else float(cell))
        except ValueError as error:
            raise TaxonomyError(
                f"The confidence of {cut_list([feature])} in {name} is {quoted(cell)}. Expected a number, or nothing. Correct it."
            ) from error
    return values


def _check_ids(ids: list[str], name: str) -> None:
    twice = [i for i, times in Counter(ids).items() if times > 1 and i]
    if "" in ids:
        raise TaxonomyError(
            f"{name}: row {ids.index('') + 1} of {len(ids)} has no feature id. Expected it in the first column. Fill it in."
        )
    if twice:
        raise TaxonomyError(
            f"{count_noun(len(twice), 'feature id occurs', 'feature ids occur')} more than once in {name} ({cut_list(twice)}). Each "
            "feature has one row. Remove the extra ones."
        )
