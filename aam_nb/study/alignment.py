"""One study out of parts: features named by DNA, and samples, tree and taxonomy matched to the table. What falls out is counted."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.config import count_noun, cut_list
from aam_nb.study.base import StudyBase
from aam_nb.study.errors import StudyError
from aam_nb.study.filtering import StudyT, keep_samples
from aam_nb.study.id_hints import MOST_LOOKED_AT, describe_slips
from aam_nb.study.letters import DNA, DNA_ID
from aam_nb.study.readers.disk import Columns, DiskTable
from aam_nb.study.readers.feature_table import FeatureTable
from aam_nb.study.readers.sequences import normal_dna
from aam_nb.study.readers.taxonomy import TaxonomyError, taxa_of
from aam_nb.study.tree import Tree

LONGER = 2
"""An ASV this many times as long as the shortest is worth a word."""
COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN")

SHORTEST_ASV = 16
"""Nucleotides from which on DNA in the place of a sample id is no barcode."""


class NeedsSequencesError(StudyError):
    """The features are named by hashes, and the sequences behind them were not given."""


# -- features to DNA --------------------------------------------------------------------------------------------------


def build_study(
    kind: type[StudyT],
    table: FeatureTable,
    name: str,
    sequences: Mapping[str, str],
    *,
    sum_duplicates: bool,
    own_taxonomy: bool = True,
) -> StudyT:
    """The table with DNA for ids, checked; what was changed or is odd is in its provenance.

    Parameters
    ----------
    kind
        The class of the study.
    table, name
        The table as it was read, and what messages call it.
    sequences
        DNA by feature id, where sequences were given.
    sum_duplicates
        Sum features of the same DNA.
    own_taxonomy
        Take the taxonomy that the table itself has, if any.
    """
    steps = [
        f"read {name}: {count_noun(len(table.sample_ids), 'sample')} x {count_noun(len(table.feature_ids), 'ASV')}",
        *table.notes,
    ]
    ids = pd.Index(table.feature_ids, dtype=str)
    if sequences:
        ids = _name_by_sequences(ids, sequences, name, steps)
    hashed = ids[~ids.str.fullmatch(DNA.pattern, flags=re.IGNORECASE)]
    if len(hashed) == len(ids) and not sequences and _are_asvs(table.sample_ids):
        raise StudyError(
            f"{name} looks transposed: its {count_noun(len(table.sample_ids), 'sample is', 'samples are')} DNA "
            f"({cut_list(table.sample_ids, 1)}), and its observations are not ({cut_list(ids, 3)}). Expected DNA as observation ids. Turn "
            "it round: `aam.Study.from_biom(biom.load_table('table.biom').transpose())`, or save the transposed table."
        )
    if len(hashed) and not sequences and ids.str.fullmatch("[0-9a-f]{32,64}").any():
        raise NeedsSequencesError(
            f"{len(hashed)} of {len(ids)} observation ids are not DNA ({cut_list(hashed, 3)}): hashes, as QIIME 2 gives. The sequence of "
            "each is needed. Give the representative sequences: `aam.read_study(..., sequences='rep-seqs.qza')` (`--sequences "
            "rep-seqs.qza`)."
        )
    if len(hashed) == len(ids) and not sequences and table.format.startswith("mothur"):
        raise NeedsSequencesError(
            f"The features of {name}, a {table.format}, are names ({cut_list(ids, 3)}). The sequence of each is needed. Give the FASTA of "
            "representative sequences, under these names: `aam.read_study(..., sequences='rep.fasta')` (`--sequences rep.fasta`)."
        )
    dna, notes = normal_dna(ids)
    steps += notes
    counts, dna = _sum_duplicates(table.table, dna, sum_duplicates, steps)
    steps += describe_oddities(dna)
    study = kind(counts, pd.Index(table.sample_ids), dna, table.metadata)
    if not int(study.depth.sum()):
        raise StudyError(
            f"All counts of {name} are zero ({study.num_samples} samples x {study.num_asvs} ASVs). Expected reads. Check the "
            "filters that made the table, and export it again."
        )
    empty = study.sample_ids[(study.depth == 0).to_numpy()]
    if len(empty):
        steps.append(f"{count_noun(len(empty), 'sample has', 'samples have')} no reads ({cut_list(empty, 3)})")
    if table.lineages and not own_taxonomy:
        steps.append(f"left out the taxonomy in {name}: another is given")
    elif table.lineages:
        try:
            ranks, notes = taxa_of(list(table.lineages), list(table.lineages.values()), name)
        except TaxonomyError as error:
            steps.append(f"left out the taxonomy in {name}: {error}")
        else:
            steps += notes
            study = replace(study, taxonomy=align_taxonomy(study, ranks, name, sequences, steps))
    return replace(study, provenance=tuple(steps))


def _name_by_sequences(ids: pd.Index, sequences: Mapping[str, str], name: str, steps: list[str]) -> pd.Index:
    """Feature ids looked up among the sequences; ids that are DNA themselves need none."""
    lost = [i for i in ids if i not in sequences and not DNA.fullmatch(i)]
    if lost:
        near = describe_slips(lost, sequences)
        hint = f"; some would match but for {near}" if near else ""
        raise StudyError(
            f"{len(lost)} of {len(ids)} features of {name} are not among the {len(sequences)} sequences ({cut_list(lost, 3)}). "
            f"Expected a sequence for each; those given are named {cut_list(sequences, 2)}{hint}. Give the representative "
            "sequences made with this table."
        )
    used = sum(i in sequences for i in ids)
    steps.append(
        f"named {used} of {len(ids)} features by their sequences; {len(sequences) - used} sequences belong to none"
    )
    return pd.Index([sequences.get(i, i) for i in ids], dtype=str)


def _sum_duplicates(
    table: sparse.csr_array | DiskTable, dna: pd.Index, sum_duplicates: bool, steps: list[str]
) -> tuple[sparse.csr_array | DiskTable, pd.Index]:
    """Columns of the same DNA summed, where that was asked for."""
    if not dna.has_duplicates:
        return table, dna
    position, kept = pd.factorize(dna)
    twice = dna[dna.duplicated()].unique()
    if not sum_duplicates:
        raise StudyError(
            f"{count_noun(len(twice), 'ASV occurs', 'ASVs occur')} more than once ({cut_list(twice, 3)}). Each sequence is one ASV. Sum "
            "their reads when reading: `aam.read_study(..., sum_duplicates=True)` (`--sum-duplicates`)."
        )
    steps.append(f"summed {len(dna)} columns of {len(kept)} distinct sequences ({len(twice)} occurred more than once)")
    merge = Columns(position.astype(np.int64), len(kept))
    summed = table.then(merge) if isinstance(table, DiskTable) else merge(table)
    return summed, pd.Index(kept, dtype=str)


def _are_asvs(ids: list[str]) -> bool:
    """Whether sample ids are the DNA of ASVs, and longer than barcodes are."""
    return bool(ids) and all(len(i) >= SHORTEST_ASV and DNA_ID.fullmatch(i) for i in ids)


def describe_oddities(dna: pd.Index) -> list[str]:
    """Notes on what is unusual about the sequences."""
    notes = []
    length = pd.Series(dna.str.len())
    if length.max() > LONGER * length.min():
        notes.append(
            f"ASV lengths run from {length.min()} to {length.max()} nt (median {length.median():g}): more than one primer pair?"
        )
    ambiguous = dna[~dna.str.fullmatch("[ACGT]+")]
    if len(ambiguous):
        notes.append(f"{len(ambiguous)} ASVs hold IUPAC ambiguity codes, which are kept ({cut_list(ambiguous, 1)})")
    ordered, backwards = sorted(dna), sorted(s[::-1] for s in dna)
    begins = [
        a for a, b in itertools.pairwise(ordered) if b.startswith(a) and a != b
    ]  # all that begin with it come right after
    ends = [a[::-1] for a, b in itertools.pairwise(backwards) if b.startswith(a) and a != b]
    for within, where in ((begins, "beginning"), (ends, "end")):
        if within:
            notes.append(
                f"{count_noun(len(within), 'ASV is', 'ASVs are')} the {where} of a longer ASV ({cut_list(within, 1)}): the same reads cut "
                "to different lengths? They stay separate; to make them one, cut all reads to one length before denoising"
            )
    distinct = set(dna)
    reversed_too = [s for s in dna if (back := s.translate(COMPLEMENT)[::-1]) != s and back in distinct]
    if reversed_too:
        notes.append(
            f"{len(reversed_too)} ASVs are the reverse complement of another ASV ({cut_list(reversed_too, 1)}): reads of both "
            "directions? They stay separate"
        )
    return notes


# -- samples ----------------------------------------------------------------------------------------------------------


def join_metadata(study: StudyT, rows: pd.DataFrame, table: object, metadata: object, steps: list[str]) -> StudyT:
    """The samples that the table and the metadata share; what fell out is counted. The two are named in messages as given."""
    shared = study.sample_ids.isin(rows.index)
    kept, lost = study.sample_ids[shared], study.sample_ids[~shared]
    extra = rows.index.difference(study.sample_ids)
    near = describe_slips(lost, extra)
    if not shared.any():
        hint = f"They would match but for {near}. " if near else ""
        raise StudyError(
            f"None of the {study.num_samples} samples in {table} is in {metadata}. The table has {cut_list(study.sample_ids, 3)}; "
            f"the metadata has {cut_list(rows.index, 3)}. {hint}Make the first metadata column hold the table's sample ids."
        )
    steps.append(
        f"joined {count_noun(len(kept), 'sample')} with {metadata}; {count_noun(len(lost), 'sample')} of the table had no metadata"
        + (f" ({cut_list(lost, 3)})" if len(lost) else "")
        + f", {count_noun(len(extra), 'metadata row')} had no sample"
        + (f" ({cut_list(extra, 3)})" if len(extra) else "")
        + (f". Some would match but for {near}" if near else "")
    )
    if study.metadata.shape[1]:
        steps.append(
            f"the metadata in {table} ({count_noun(study.metadata.shape[1], 'column')}) was replaced by that of {metadata}"
        )
    return replace(keep_samples(study, shared), metadata=rows.loc[kept])


# -- tree and taxonomy ------------------------------------------------------------------------------------------------


def align_tree(study: StudyBase, tree: Tree, step: str, sequences: Mapping[str, str], steps: list[str]) -> Tree:
    """The tree with tips named by DNA as the study's ASVs are; `step` says where it is from, and is completed."""
    notes = [step]
    missing = set(tree.missing(study.asv_ids))
    if missing:
        dna_of = {tip: _as_dna(tip, sequences) for tip in tree.tips}
        tip_of = {dna: tip for tip, dna in reversed(dna_of.items()) if dna in missing and dna != tip}
        if tip_of:
            tree = tree.renamed({tip: dna for dna, tip in tip_of.items()})
            how = (
                "by their sequences"
                if any(tip in sequences for tip in tip_of.values())
                else "in capitals, with T for U and without blanks"
            )
            notes.append(f"{count_noun(len(tip_of), 'tip was', 'tips were')} renamed {how}")
            missing = set(tree.missing(study.asv_ids))
    in_order = [a for a in study.asv_ids if a in missing]
    lost = f" ({cut_list(in_order)})" if in_order else ""
    if len(in_order) == study.num_asvs:
        lost += f"; its tips are named {cut_list(tree.tips, 2)}" + _describe_other_dna(in_order, tree.tips)
    notes.append(f"{len(in_order)} of {study.num_asvs} ASVs not among them{lost}")
    steps.append(", ".join(notes))
    return tree


def _describe_other_dna(asvs: Iterable[str], names: Iterable[str]) -> str:
    """How the names of another file are nearly the ASVs, none of which is among them; empty where no way is seen."""
    ours, theirs = list(asvs)[:MOST_LOOKED_AT], list(names)[:MOST_LOOKED_AT]
    if not ours or not theirs:
        return ""
    own = set(ours)
    turned = sum(normal.translate(COMPLEMENT)[::-1] in own for i in theirs if DNA.fullmatch(normal := _as_dna(i, {})))
    if turned:
        return f", {turned} of which are the reverse complement of an ASV"
    hashes = {hashlib.md5(i.encode(), usedforsecurity=False).hexdigest() for i in ours}
    hashed = sum(i in hashes for i in theirs)
    if hashed:
        return (
            f", {hashed} of which are the MD5 hash of an ASV, as QIIME 2 names them: give their sequences, "
            "`aam.read_study(..., sequences='rep-seqs.qza')` (`--sequences rep-seqs.qza`)"
        )
    dna = [normal for i in theirs if DNA.fullmatch(normal := _as_dna(i, {}))]
    size = min(map(len, ours + dna)) if dna else 0
    shared = len({i[:size] for i in dna} & {i[:size] for i in ours}) if size else 0
    if shared:
        return (
            f", {shared} of which begin as an ASV does (the first {size} nt): one of the two was cut to another length"
        )
    near = describe_slips(ours, theirs)
    return f". Some would match but for {near}" if near else ""


def _as_dna(name: str, sequences: Mapping[str, str]) -> str:
    """What a feature id of another file is called in the table."""
    return sequences.get(name) or re.sub(r"[\s'\"_]", "", name).upper().replace("U", "T")


def align_taxonomy(
    study: StudyBase, ranks: pd.DataFrame, name: object, sequences: Mapping[str, str], steps: list[str]
) -> pd.DataFrame:
    """Lineages of the study's ASVs, in their order."""
    names = [str(i) for i in ranks.index]
    ranks = ranks.set_axis(pd.Index([_as_dna(i, sequences) for i in ranks.index], dtype=str), axis=0)
    twice = ranks.index.duplicated()
    if twice.any():
        alone = ranks[~twice]
        first = alone.loc[ranks.index[twice]].astype(object).to_numpy()
        unlike = (first != ranks[twice].astype(object).to_numpy()) & ~(pd.isna(first) & ranks[twice].isna().to_numpy())
        steps.append(
            f"{int(twice.sum())} lineages in {name} are of ASVs that have one above, {int(unlike.any(axis=1).sum())} of them not the same; "
            "the first is kept"
        )
        ranks = alone
    has_lineage = study.asv_ids.isin(ranks.index)
    lost = study.asv_ids[~has_lineage]
    if not has_lineage.any():
        near = _describe_other_dna(study.asv_ids, names)
        raise StudyError(
            f"None of the {study.num_asvs} ASVs is in {name}, which has {cut_list(names, 2)}{near}. Expected lineages of the table's ASVs "
            f"({cut_list(study.asv_ids, 1)}). Give the taxonomy made with this table; where its ids are hashes, give `sequences=` too."
        )
    steps.append(
        f"read {name}: lineages of {int(has_lineage.sum())} of {study.num_asvs} ASVs"
        + (f" (none for {cut_list(lost, 2)})" if len(lost) else "")
        + f", {len(ranks) - int(has_lineage.sum())} lineages of other ASVs"
    )
    return ranks.reindex(study.asv_ids).rename_axis("asv_id")
