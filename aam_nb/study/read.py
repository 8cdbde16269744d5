"""The front door for files: a feature table with its metadata, tree, sequences and taxonomy, aligned once."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.config import TreeRoot, cut_list
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.readers.archives import Source, unpacked
from aam_nb.study.readers.disk import Columns, DiskTable
from aam_nb.study.readers.metadata import ColumnType, parse_metadata
from aam_nb.study.readers.sequences import normal_dna, parse_sequences
from aam_nb.study.readers.tables import DNA, FeatureTable, parse_table
from aam_nb.study.readers.taxonomy import TaxonomyError, parse_taxonomy, taxa_of
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

log = logging.getLogger("aam_nb")
LONGER = 2
"""An ASV this many times as long as the shortest is worth a word."""
COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN")


class NeedsSequencesError(StudyError):
    """The features are named by hashes, and the sequences behind them were not given."""


def read_study(
    table: str | Path,
    *,
    metadata: str | Path | None = None,
    tree: str | Path | None = None,
    sequences: str | Path | None = None,
    taxonomy: str | Path | None = None,
    types: Mapping[str, ColumnType] | None = None,
    root: TreeRoot = "given",
    sum_duplicates: bool = False,
    lazy: bool = False,
) -> Study:
    """Read a feature table with what belongs to it, and align all of it once.

    Any file may be gzipped, or a QIIME 2 artifact (`.qza`).

    Parameters
    ----------
    table
        Counts: BIOM 2.1 (HDF5) or 1.0 (JSON), FeatureTable[Frequency], TSV or CSV in either orientation (DADA2's too), or `.h5ad` (whose
        obs is the metadata where none is given). The ids of one axis are the ASVs' DNA, or ids of `sequences`.
    metadata
        TSV or CSV in QIIME 2's dialect; the first column holds the sample ids, which stay text (`0012` stays `0012`).
    tree
        Rooted tree in Newick, or Phylogeny[Rooted], whose tips are the ASVs' DNA or ids of `sequences`.
    sequences
        FASTA, or FeatureData[Sequence]: the DNA of features whose ids are hashes.
    taxonomy
        Lineages by feature id: QIIME 2 (FeatureData[Taxonomy]), SILVA, Greengenes, or DADA2's table.
    types
        Type of metadata columns, "numeric", "categorical" or "date", where they are not what they seem.
    root
        "midpoint" roots an unrooted tree halfway between its two most distant tips; "given" takes the root that the tree has.
    sum_duplicates
        Sum ASVs of the same sequence; they are refused otherwise.
    lazy
        Leave the counts on disk, and read them by ranges of samples as verbs ask for them. BIOM 2.1 that is not packed.

    Returns
    -------
    The samples that the table and the metadata share, in the table's order. What fell out, and what was changed, is in `provenance`.

    Raises
    ------
    FileNotFoundError
        A file does not exist.
    FormatError
        A file is empty, truncated or of another format.
    StudyError
        Ids occur twice or are not DNA, counts are not whole numbers >= 0 or all zero, or no sample is shared.
    TreeError
        The tree is not rooted or its branch lengths are not lengths.
    """
    if types and metadata is None:
        raise StudyError(
            f"types is given for {cut_list(types)}, and no metadata. Expected the table whose columns they are. Give it: "
            "`aam.read_study(..., metadata='metadata.tsv')` (`--metadata`)."
        )
    names: dict[str, str] = {}
    steps: list[str] = []
    if sequences is not None:
        with unpacked(sequences, "sequences in FASTA") as source:
            _refuse_kind(source, "sequences", "FeatureData[Sequence]")
            found, notes = parse_sequences(source)
        names = {str(i): str(s) for i, s in found.items()}
        steps += [f"read {sequences}: {len(names)} sequences", *notes]
    with unpacked(table, "a feature table") as source:
        if lazy and source.path != Path(table):
            raise FormatError(
                f"{table} is packed. Only a plain BIOM 2.1 file can be opened lazily. Unpack it once, with `gunzip` or "
                "`qiime tools export`, and give the file inside."
            )
        found_table = parse_table(source, sequence_ids=frozenset(names), lazy=lazy)
        study = study_of(found_table, source, names, sum_duplicates, own_taxonomy=taxonomy is None)
    steps += study.provenance
    if metadata is not None:
        with unpacked(metadata, "a metadata table") as source:
            _refuse_kind(source, "metadata", "")
            rows, notes = parse_metadata(source, types=types)
        steps += notes
        study = _joined(study, rows, table, metadata, steps)
    if tree is not None:
        study = replace(study, tree=_tree_for(study, tree, root, names, steps))
    if taxonomy is not None:
        with unpacked(taxonomy, "a taxonomy table") as source:
            _refuse_kind(source, "taxonomy", "FeatureData[Taxonomy]")
            ranks, notes = parse_taxonomy(source)
        steps += notes
        study = replace(study, taxonomy=_taxonomy_for(study, ranks, taxonomy, names, steps))
    for step in steps:
        log.info("%s", step)
    return replace(study, provenance=tuple(steps))


def _refuse_kind(source: Source, argument: str, kind: str) -> None:
    """An artifact of another type than the argument asks for."""
    if source.kind not in ("", kind):
        raise FormatError(
            f"{source.name} is a QIIME 2 artifact of type {source.kind}. Expected {kind or 'a metadata TSV'} for `{argument}=`. Give the "
            "artifact of that type."
        )


# -- features to DNA --------------------------------------------------------------------------------------------------


def study_of(
    found: FeatureTable,
    source: Source,
    names: Mapping[str, str],
    sum_duplicates: bool,
    *,
    own_taxonomy: bool = True,
) -> Study:
    """The table with DNA for ids, checked; what was changed or is odd is in its provenance.

    Parameters
    ----------
    found, source
        The table as it was read, and from where.
    names
        DNA by feature id, where sequences were given.
    sum_duplicates
        Sum features of the same DNA.
    own_taxonomy
        Take the taxonomy that stands in the table, if there is one.
    """
    steps = [f"read {source.name}: {len(found.sample_ids)} samples x {len(found.feature_ids)} ASVs", *found.notes]
    ids = pd.Index(found.feature_ids, dtype=str)
    if names:
        ids = _named(ids, names, source, steps)
    hashed = ids[~ids.str.fullmatch(DNA.pattern, flags=re.IGNORECASE)]
    if len(hashed) and not names and ids.str.fullmatch("[0-9a-f]{32,64}").any():
        raise NeedsSequencesError(
            f"{len(hashed)} of {len(ids)} observation ids are not DNA ({cut_list(hashed, 3)}): hashes, as QIIME 2 gives. The sequence of "
            "each is needed. Give the representative sequences: `aam.read_study(..., sequences='rep-seqs.qza')` (`--sequences "
            "rep-seqs.qza`)."
        )
    dna, notes = normal_dna(ids)
    steps += notes
    table, dna = _summed(found.table, dna, sum_duplicates, steps)
    steps += _oddities(dna)
    study = Study(table, pd.Index(found.sample_ids), dna, found.metadata)
    if not int(study.depth.sum()):
        raise StudyError(
            f"All counts of {source.name} are zero ({study.num_samples} samples x {study.num_asvs} ASVs). Expected reads. Check the "
            "filters that made the table, and export it again."
        )
    empty = study.sample_ids[(study.depth == 0).to_numpy()]
    if len(empty):
        steps.append(f"{len(empty)} samples have no reads ({cut_list(empty, 3)})")
    if found.lineages and not own_taxonomy:
        steps.append(f"left out the taxonomy in {source.name}: another is given")
    elif found.lineages:
        try:
            ranks, notes = taxa_of(list(found.lineages), list(found.lineages.values()), source.name)
        except TaxonomyError as error:
            steps.append(f"left out the taxonomy in {source.name}: {error}")
        else:
            steps += notes
            study = replace(study, taxonomy=_taxonomy_for(study, ranks, source.name, names, steps))
    return replace(study, provenance=tuple(steps))


def _named(ids: pd.Index, names: Mapping[str, str], source: Source, steps: list[str]) -> pd.Index:
    """Feature ids looked up among the sequences; ids that are DNA themselves need none."""
    lost = [i for i in ids if i not in names and not DNA.fullmatch(i)]
    if lost:
        raise StudyError(
            f"{len(lost)} of {len(ids)} features of {source.name} are not among the {len(names)} sequences ({cut_list(lost, 3)}). "
            f"Expected a sequence for each; those given are named {cut_list(names, 2)}. Give the representative sequences made with this "
            "table."
        )
    used = sum(i in names for i in ids)
    steps.append(
        f"named {used} of {len(ids)} features by their sequences; {len(names) - used} sequences belong to none"
    )
    return pd.Index([names.get(i, i) for i in ids], dtype=str)


def _summed(
    table: sparse.csr_array | DiskTable, dna: pd.Index, sum_duplicates: bool, steps: list[str]
) -> tuple[sparse.csr_array | DiskTable, pd.Index]:
    """Columns of the same DNA summed, where that was asked for."""
    if not dna.has_duplicates:
        return table, dna
    place, kept = pd.factorize(dna)
    twice = dna[dna.duplicated()].unique()
    if not sum_duplicates:
        raise StudyError(
            f"{len(twice)} ASVs occur more than once ({cut_list(twice, 3)}). Each sequence is one ASV. Sum their reads when reading: "
            "`aam.read_study(..., sum_duplicates=True)` (`--sum-duplicates`)."
        )
    steps.append(f"summed {len(dna)} columns of {len(kept)} distinct sequences ({len(twice)} occurred more than once)")
    merge = Columns(place.astype(np.int64), len(kept))
    summed = table.then(merge) if isinstance(table, DiskTable) else merge(table)
    return summed, pd.Index(kept, dtype=str)


def _oddities(dna: pd.Index) -> list[str]:
    """What a user should know of the sequences, and may not."""
    told = []
    length = pd.Series(dna.str.len())
    if length.max() > LONGER * length.min():
        told.append(
            f"ASV lengths run from {length.min()} to {length.max()} nt (median {length.median():g}): more than one primer pair?"
        )
    ambiguous = dna[~dna.str.fullmatch("[ACGT]+")]
    if len(ambiguous):
        told.append(f"{len(ambiguous)} ASVs hold IUPAC ambiguity codes, which are kept ({cut_list(ambiguous, 1)})")
    known = set(dna)
    both = [s for s in dna if (back := s.translate(COMPLEMENT)[::-1]) != s and back in known]
    if both:
        told.append(
            f"{len(both)} ASVs are the reverse complement of another ASV ({cut_list(both, 1)}): reads of both directions? They are kept "
            "apart"
        )
    return told


# -- samples ----------------------------------------------------------------------------------------------------------


def _joined(study: Study, rows: pd.DataFrame, table: str | Path, metadata: str | Path, steps: list[str]) -> Study:
    """The samples that both have; what fell out is counted."""
    shared = study.sample_ids.isin(rows.index)
    kept, lost = study.sample_ids[shared], study.sample_ids[~shared]
    extra = rows.index.difference(study.sample_ids)
    near = _alike(lost, extra)
    if not shared.any():
        hint = f"They would match but for {near}. " if near else ""
        raise StudyError(
            f"None of the {study.num_samples} samples in {table} is in {metadata}. The table has {cut_list(study.sample_ids, 3)}; "
            f"the metadata has {cut_list(rows.index, 3)}. {hint}Make the first metadata column hold the table's sample ids."
        )
    steps.append(
        f"joined {len(kept)} samples with {metadata}; {len(lost)} samples of the table had no metadata"
        + (f" ({cut_list(lost, 3)})" if len(lost) else "")
        + f", {len(extra)} metadata rows had no sample"
        + (f" ({cut_list(extra, 3)})" if len(extra) else "")
        + (f". Some would match but for {near}" if near else "")
    )
    if study.metadata.shape[1]:
        steps.append(f"the metadata in {table} ({study.metadata.shape[1]} columns) gave way to that of {metadata}")
    return replace(study.keep_samples(shared), metadata=rows.loc[kept])


SLIPS = {
    "a .0 suffix, as spreadsheets write": lambda i: re.sub(r"\.0+$", "", i),
    "blanks": lambda i: re.sub(r"\s", "", i),
    "capital letters": str.lower,
    "leading zeros": lambda i: re.sub(r"^0+(?=\d)", "", i),
    "an X in front, as R writes": lambda i: re.sub(r"^X(?=\d)", "", i),
    "accents that are coded in another way": lambda i: unicodedata.normalize("NFC", i),
    "dots, dashes or underscores": lambda i: re.sub(r"[-_.]", "", i),
}
"""What keeps two ids apart that mean the same sample, and how to see past it."""


def _alike(lost: Iterable[str], extra: Iterable[str]) -> str:
    """What keeps ids apart, with an example of each; empty where nothing does."""
    lost, extra, told = list(lost), list(extra), []
    for slip, strip in SLIPS.items():
        theirs = {strip(i): i for i in reversed(extra)}
        pairs = [(i, theirs[strip(i)]) for i in lost if strip(i) in theirs]
        if pairs:
            told.append(
                f"{slip} ({len(pairs)} ids, such as {cut_list([pairs[0][0]])!r} and {cut_list([pairs[0][1]])!r})"
            )
    return ", or ".join(told)


# -- tree and taxonomy ------------------------------------------------------------------------------------------------


def _tree_for(study: Study, path: str | Path, root: TreeRoot, names: Mapping[str, str], steps: list[str]) -> Tree:
    """The tree with tips named by DNA as the table's ASVs are."""
    with unpacked(path, "a tree in Newick format") as source:
        if not source.kind.startswith("Phylogeny"):
            _refuse_kind(source, "tree", "Phylogeny[Rooted]")
        if source.kind == "Phylogeny[Unrooted]" and root == "given":
            raise FormatError(
                f"{source.name} is an unrooted tree (Phylogeny[Unrooted]). UniFrac and Faith PD need a root. Say how to root it: "
                "`aam.read_study(..., root='midpoint')` (`--root midpoint`)."
            )
        tree = Tree.read(source.path, root=root, name=source.name)
    told = [f"read {path}: {len(tree.tips)} tips" + (", rooted at the midpoint" if root == "midpoint" else "")]
    missing = set(tree.missing(study.asv_ids))
    if missing:
        other = {tip: _as_dna(tip, names) for tip in tree.tips}
        place = {dna: tip for tip, dna in reversed(other.items()) if dna in missing and dna != tip}
        if place:
            tree = tree.renamed({tip: dna for dna, tip in place.items()})
            how = (
                "by their sequences"
                if any(tip in names for tip in place.values())
                else "in capitals, with T for U and without blanks"
            )
            told.append(f"{len(place)} tips were renamed {how}")
            missing = set(tree.missing(study.asv_ids))
    first = [a for a in study.asv_ids if a in missing]
    told.append(f"{len(first)} of {study.num_asvs} ASVs not among them" + (f" ({cut_list(first)})" if first else ""))
    steps.append(", ".join(told))
    return tree


def _as_dna(name: str, names: Mapping[str, str]) -> str:
    """What a feature id of another file is called in the table."""
    return names.get(name) or re.sub(r"[\s'\"_]", "", name).upper().replace("U", "T")


def _taxonomy_for(
    study: Study, ranks: pd.DataFrame, path: str | Path, names: Mapping[str, str], steps: list[str]
) -> pd.DataFrame:
    """Lineages of the study's ASVs, in their order."""
    ranks = ranks.set_axis(pd.Index([_as_dna(i, names) for i in ranks.index], dtype=str), axis=0)
    twice = ranks.index.duplicated()
    if twice.any():
        alone = ranks[~twice]
        first = alone.loc[ranks.index[twice]].astype(object).to_numpy()
        unlike = (first != ranks[twice].astype(object).to_numpy()) & ~(pd.isna(first) & ranks[twice].isna().to_numpy())
        steps.append(
            f"{int(twice.sum())} lineages in {path} are of ASVs that have one above, {int(unlike.any(axis=1).sum())} of them not the same; "
            "the first is kept"
        )
        ranks = alone
    known = study.asv_ids.isin(ranks.index)
    lost = study.asv_ids[~known]
    if not known.any():
        raise StudyError(
            f"None of the {study.num_asvs} ASVs is in {path}, which has {cut_list(ranks.index, 2)}. Expected lineages of the table's ASVs "
            f"({cut_list(study.asv_ids, 1)}). Give the taxonomy made with this table; where its ids are hashes, give `sequences=` too."
        )
    steps.append(
        f"read {path}: lineages of {int(known.sum())} of {study.num_asvs} ASVs"
        + (f" (none for {cut_list(lost, 2)})" if len(lost) else "")
        + f", {len(ranks) - int(known.sum())} lineages of other ASVs"
    )
    return ranks.reindex(study.asv_ids).rename_axis("asv_id")
