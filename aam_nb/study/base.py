"""What a study holds, checked and aligned once: counts, ids, metadata, tree and taxonomy, and its sizes.

`Study` adds the verbs; functions that need no verb (writing, filtering, conversion) take a `StudyBase`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from scipy import sparse

from aam_nb.config import cut_list, cut_repr
from aam_nb.study.columns import find_near_spellings
from aam_nb.study.errors import EmptySampleError, MissingTipError, StudyError, TargetError, UnknownIdError
from aam_nb.study.readers.checks import as_counts, refuse_bad_ids, refuse_duplicates, refuse_not_dna
from aam_nb.study.readers.disk import SAMPLES_PER_BLOCK, DiskTable, blocks
from aam_nb.study.splits import Split
from aam_nb.study.tree import Tree
from aam_nb.study.truth import Truth


@dataclass(frozen=True, eq=False, repr=False)
class StudyBase:
    """The data of a study, aligned. `Study` says what each field holds and what is refused."""

    table: sparse.csr_array | DiskTable
    sample_ids: pd.Index
    asv_ids: pd.Index
    metadata: pd.DataFrame
    tree: Tree | None = None
    taxonomy: pd.DataFrame | None = None
    provenance: tuple[str, ...] = ()
    split_info: Split | None = None
    truth: Truth | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_ids", pd.Index(self.sample_ids, dtype=str, name="sample_id"))
        object.__setattr__(self, "asv_ids", pd.Index(self.asv_ids, dtype=str, name="asv_id"))
        if self.table.shape != (len(self.sample_ids), len(self.asv_ids)):
            raise StudyError(
                f"The table has shape {self.table.shape} for {len(self.sample_ids)} samples and {len(self.asv_ids)} ASVs. "
                "Expected samples x ASVs. Transpose it with `table.T`."
            )
        refuse_bad_ids(self.sample_ids, "sample")
        if self.asv_ids.hasnans:
            refuse_bad_ids(self.asv_ids, "ASV")
        refuse_duplicates(self.sample_ids, "sample")
        refuse_duplicates(self.asv_ids, "ASV")
        refuse_not_dna(self.asv_ids)
        if not isinstance(self.table, DiskTable):
            object.__setattr__(self, "table", as_counts(self.table, self.sample_ids, self.asv_ids))
        if not self.metadata.index.equals(self.sample_ids):
            if list(map(str, self.metadata.index)) == list(self.sample_ids):
                raise StudyError(
                    f"The ids of the metadata are no text but of type {self.metadata.index.dtype} ({cut_list(self.metadata.index, 3)}). "
                    "Expected text, as sample ids are. Use `metadata.set_axis(metadata.index.astype(str))`."
                )
            raise StudyError(
                "The metadata rows are not the table's samples in the table's order. Expected an index equal to "
                "`sample_ids`. Reorder with `metadata.loc[sample_ids]`."
            )
        object.__setattr__(self, "metadata", self.metadata.rename_axis("sample_id"))
        if self.taxonomy is not None and not self.taxonomy.index.equals(self.asv_ids):
            raise StudyError(
                "The taxonomy rows are not the table's ASVs in the table's order. Expected an index equal to `asv_ids`. Reorder with "
                "`taxonomy.reindex(asv_ids)`."
            )

    # -- size and content ---------------------------------------------------------------------------------------------

    @property
    def num_samples(self) -> int:
        return len(self.sample_ids)

    @property
    def num_asvs(self) -> int:
        return len(self.asv_ids)

    @property
    def lazy(self) -> bool:
        """Whether the counts are on disk."""
        return isinstance(self.table, DiskTable)

    @cached_property
    def depth(self) -> pd.Series:
        """Reads of each sample, indexed by sample id."""
        reads = self.table.depth if isinstance(self.table, DiskTable) else np.asarray(self.table.sum(axis=1))
        return pd.Series(reads, index=self.sample_ids, name="depth")

    @cached_property
    def richness(self) -> pd.Series:
        """Number of ASVs found in each sample, indexed by sample id."""
        num_asvs = self.table.richness if isinstance(self.table, DiskTable) else np.diff(self.table.indptr)
        return pd.Series(num_asvs, index=self.sample_ids, name="richness")

    @cached_property
    def prevalence(self) -> pd.Series:
        """Number of samples that hold each ASV, indexed by ASV."""
        if isinstance(self.table, DiskTable):
            num_samples = self.table.prevalence
        else:
            num_samples = np.bincount(self.table.indices, minlength=self.num_asvs)
        return pd.Series(num_samples, index=self.asv_ids, name="prevalence")

    def blocks(self, size: int = SAMPLES_PER_BLOCK) -> Iterator[tuple[slice, sparse.csr_array]]:
        """Consecutive ranges of samples, each with its reads in memory, shape (at most `size`, n_asvs)."""
        return blocks(self.table, size)

    def in_memory(self) -> Self:
        """The same study with its counts in memory; itself where they are."""
        return replace(self, table=self.table[:]) if isinstance(self.table, DiskTable) else self

    def content_hash(self) -> str:
        """SHA-256 of ids, counts and tree: the same for the same study on any machine, in memory or on disk."""
        digest = hashlib.sha256()
        for ids in (self.sample_ids, self.asv_ids):
            for i in ids:
                digest.update(f"{len(i)}:{i}".encode())
            digest.update(b"\0")
        digest.update(np.ascontiguousarray(self.richness, dtype="<i8").tobytes())
        for _, table in self.blocks():
            for part in (table.indices, table.data):
                digest.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
        digest.update(self.tree.digest().encode() if self.tree else b"")
        return digest.hexdigest()

    def column(self, name: str) -> pd.Series:
        """A metadata column.

        Raises
        ------
        UnknownIdError
            There is no such column.
        """
        if name not in self.metadata.columns:
            if not self.metadata.shape[1]:
                raise UnknownIdError(
                    f"{name!r} is not a metadata column: the study has no metadata. Give it when reading: "
                    "`aam.read_study(..., metadata='metadata.tsv')` (`--metadata metadata.tsv`)."
                )
            near = find_near_spellings([name], self.metadata.columns).get(str(name))
            meant = f": {cut_repr(near, 40)} may be meant" if near else ""
            raise UnknownIdError(
                f"{name!r} is not a metadata column. The metadata has {cut_list(self.metadata.columns, 8)}. Name one of those{meant}."
            )
        return self.metadata[name]

    def target(self, name: str) -> pd.Series:
        """A metadata column that can be predicted: it has values, and more than one.

        Raises
        ------
        UnknownIdError
            There is no such column.
        TargetError
            All its values are missing, or the same.
        """
        values = self.column(name)
        present = values.dropna()
        if present.empty:
            raise TargetError(
                f"{name!r} is missing in all {self.num_samples} samples. A target needs known values. Choose another column, "
                "or check the join in `study.provenance`."
            )
        if present.nunique() == 1:
            raise TargetError(
                f"{name!r} is {present.tolist()[0]!r} in all {len(present)} samples that have it. A target needs at least two "
                "values. Choose another column with `study.metadata.nunique()`."
            )
        return values

    # -- checks that verbs make at their door -------------------------------------------------------------------------

    def require_reads(self) -> None:
        """Refuse samples without reads (`EmptySampleError`)."""
        empty = self.sample_ids[(self.depth == 0).to_numpy()]
        if len(empty):
            raise EmptySampleError(
                f"{len(empty)} of {self.num_samples} samples have no reads ({cut_list(empty)}). Every sample needs at least one. "
                "Drop them with `study.filter(min_depth=1)` (`--min-depth 1`)."
            )
        if not self.num_samples:
            raise EmptySampleError(
                "The study has no samples. At least one is needed. Loosen the filter before this call."
            )

    def require_tree(self) -> Tree:
        """The tree, refused where it is absent or misses ASVs (`MissingTipError`)."""
        if self.tree is None:
            raise MissingTipError(
                "The study has no tree. UniFrac and Faith PD need a rooted one. Give it when reading: "
                "`aam.read_study(..., tree='tree.nwk')` (`--tree tree.nwk`)."
            )
        missing = self.tree.missing(self.asv_ids)
        if missing:
            raise MissingTipError(
                f"{len(missing)} of {self.num_asvs} ASVs are not tips of the tree ({cut_list(missing)}). UniFrac needs "
                "every ASV in the tree. Drop them with `study.keep_asvs(study.tree.tips)` (`--keep-tips`)."
            )
        return self.tree
