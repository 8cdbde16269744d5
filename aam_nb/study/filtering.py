"""Fewer samples, fewer ASVs, fewer reads: what `keep_samples`, `keep_asvs`, `filter` and `rarefy` of a study do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from aam_nb.arrays import Bools, Ints
from aam_nb.config import FilterConfig, count_noun, cut_list
from aam_nb.study.base import StudyBase
from aam_nb.study.errors import StudyError, UnknownIdError
from aam_nb.study.readers.checks import refuse_duplicates
from aam_nb.study.readers.disk import Columns, DiskTable, Rarefaction, sample_keys
from aam_nb.study.splits import is_whole

StudyT = TypeVar("StudyT", bound=StudyBase)
MOST_DEPTH = 10**9
"""Reads of a sample from which numpy can draw."""


def add_step(study: StudyT, step: str) -> StudyT:
    """The study with one more step of provenance."""
    return replace(study, provenance=(*study.provenance, step))


# -- samples ----------------------------------------------------------------------------------------------------------


def keep_samples(study: StudyT, samples: Iterable[str] | pd.Series | Bools) -> StudyT:
    """What `Study.keep_samples` does."""
    rows = _row_numbers(study, samples)
    return take_rows(study, rows, f"kept {len(rows)} of {study.num_samples} samples")


def take_rows(study: StudyT, rows: Ints, step: str) -> StudyT:
    """The samples of those row numbers, with one more step of provenance."""
    kept = replace(
        study,
        table=study.table.take(rows) if isinstance(study.table, DiskTable) else study.table[rows],
        sample_ids=study.sample_ids[rows],
        metadata=study.metadata.iloc[rows],
    )
    return add_step(kept, step)


def _row_numbers(study: StudyBase, samples: Iterable[str] | pd.Series | Bools) -> Ints:
    if isinstance(samples, (pd.Series, np.ndarray)) and samples.dtype == bool:
        return np.flatnonzero(_align_mask(samples, study.sample_ids, "sample"))
    wanted = pd.Index(list(samples), dtype=str)
    refuse_duplicates(wanted, "sample")
    rows = study.sample_ids.get_indexer(wanted)
    if (rows < 0).any():
        unknown = wanted[rows < 0]
        raise UnknownIdError(
            f"{len(unknown)} of {len(wanted)} samples are not in the study ({cut_list(unknown)}). It has "
            f"{study.num_samples} samples such as {cut_list(study.sample_ids[:2])}. Take ids from `study.sample_ids`."
        )
    return rows.astype(np.int64)


def _align_mask(mask: pd.Series | Bools, ids: pd.Index, noun: str) -> Bools:
    """A boolean array over `ids`; a Series is aligned by its index, and an id that it lacks is not kept."""
    if isinstance(mask, pd.Series):
        mask = mask.reindex(ids, fill_value=False)
    if len(mask) != len(ids):
        raise StudyError(
            f"The mask has {len(mask)} values for {len(ids)} {noun}s. Expected one value for each. Give a boolean Series indexed by "
            f"{noun} id instead."
        )
    return np.asarray(mask)


# -- ASVs -------------------------------------------------------------------------------------------------------------


def keep_asvs(study: StudyT, asvs: Iterable[str] | Bools) -> StudyT:
    """What `Study.keep_asvs` does."""
    if isinstance(asvs, (pd.Series, np.ndarray)) and asvs.dtype == bool:
        keep = _align_mask(asvs, study.asv_ids, "ASV")
    else:
        wanted = list(asvs)
        keep = study.asv_ids.isin(wanted)
        if not keep.any():
            raise UnknownIdError(
                f"None of the {len(wanted)} ASVs given is in the table (first: {cut_list(wanted)}). Its {study.num_asvs} ids "
                f"look like {cut_list(study.asv_ids[:1])}. Take ids from `study.asv_ids`."
            )
    if isinstance(study.table, DiskTable):
        positions = np.where(keep, np.cumsum(keep) - 1, -1)
        table: Any = study.table.then(Columns(positions, int(keep.sum())))
    else:
        table = study.table[:, keep].tocsr()
    taxonomy = None if study.taxonomy is None else study.taxonomy[keep]
    kept = replace(study, table=table, asv_ids=study.asv_ids[keep], taxonomy=taxonomy)
    lost = int(study.depth.sum() - kept.depth.sum())
    return add_step(kept, f"kept {int(keep.sum())} of {study.num_asvs} ASVs ({count_noun(lost, 'read')} dropped)")


def filter_study(study: StudyT, config: FilterConfig) -> StudyT:
    """What `Study.filter` does."""
    kept = study
    # First by what an ASV is: its length and its taxa.
    length = study.asv_ids.str.len().to_numpy()
    keep = (length >= config.min_length) & (length <= (config.max_length or np.inf))
    if config.keep_taxa:
        keep &= _are_of_taxa(study, config.keep_taxa)
    if config.drop_taxa:
        keep &= ~_are_of_taxa(study, config.drop_taxa)
    if not keep.all():
        kept = keep_asvs(kept, keep)
    # Then by how often it occurs, and last the samples by the reads that are left.
    if config.min_prevalence > 0:
        kept = keep_asvs(kept, (kept.prevalence >= config.min_prevalence).to_numpy())
    if config.min_depth > 0:
        kept = keep_samples(kept, kept.depth >= config.min_depth)
    limits = ", ".join(f"{name}={value!r}" for name, value in config.given().items())
    return add_step(kept, "filtered with " + (limits or "no limit"))


def _are_of_taxa(study: StudyBase, taxa: Sequence[str]) -> Bools:
    """Mask of the ASVs that are of any of the taxa, at whatever rank; upper and lower case are the same."""
    if study.taxonomy is None:
        raise UnknownIdError(
            f"The study has no taxonomy, so its ASVs cannot be chosen by {cut_list(taxa)}. Give one when reading: "
            "`aam.read_study(..., taxonomy='taxonomy.tsv')` (`--taxonomy taxonomy.tsv`)."
        )
    ranks = study.taxonomy.drop(columns="confidence", errors="ignore")
    names = ranks.apply(lambda column: column.str.lower())
    unknown = [t for t in taxa if not (names == t.lower()).to_numpy().any()]
    if unknown:
        raise UnknownIdError(
            f"{len(unknown)} of {len(taxa)} taxa are not in the taxonomy ({cut_list(unknown)}). Its names have no prefix such as "
            f"`g__`; it has {cut_list(ranks.stack().value_counts().index[:4])}. Name a taxon of `study.taxonomy`."
        )
    return names.isin([t.lower() for t in taxa]).any(axis=1).to_numpy()


# -- reads ------------------------------------------------------------------------------------------------------------


def rarefy(study: StudyT, depth: int, seed: int) -> StudyT:
    """What `Study.rarefy` does."""
    if not is_whole(depth):
        raise StudyError(f"depth is {depth!r}. Expected a whole number of reads. Try `study.rarefy(1000)`.")
    if not is_whole(seed) or seed < 0:
        raise StudyError(f"seed is {seed!r}. Expected a whole number of at least 0. Try `seed=0`.")
    if not study.num_samples:
        study.require_reads()
    deep = np.flatnonzero(study.depth.to_numpy() >= depth)
    if depth < 1 or not len(deep):
        raise StudyError(
            f"No sample can be rarefied to {depth} reads. The depths run from {study.depth.min()} to {study.depth.max()}. "
            f"Try `study.rarefy({max(1, int(study.depth.quantile(0.1)))})`, which keeps nine samples in ten."
        )
    require_drawable(study)
    dropped = count_noun(study.num_samples - len(deep), "shallower sample")
    step = f"rarefied to {depth} reads with seed {seed}: {dropped} dropped"
    kept, draw = take_rows(study, deep, step), Rarefaction(int(depth), int(seed))
    if isinstance(kept.table, DiskTable):
        return replace(kept, table=kept.table.then(draw))
    return replace(kept, table=draw(kept.table, sample_keys(kept.sample_ids)))


def require_drawable(study: StudyBase) -> None:
    """Refuse samples with more reads than numpy can draw from (`StudyError`)."""
    if study.depth.max() >= MOST_DEPTH:
        raise StudyError(
            f"Sample {study.depth.idxmax()} has {study.depth.max():,} reads. Expected fewer than {MOST_DEPTH:,}: numpy cannot draw from "
            f"more. Leave it out: `study.keep_samples(study.depth < {MOST_DEPTH})`."
        )
