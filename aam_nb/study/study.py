"""Study: a feature table, its metadata and its tree, aligned once and never changed."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.config import FilterConfig, cut_list, make_config, to_one_line
from aam_nb.study.confounding import warn_if_confounded
from aam_nb.study.errors import EmptySampleError, FormatError, MissingTipError, StudyError, TargetError, UnknownIdError
from aam_nb.study.readers.disk import SAMPLES_PER_BLOCK, Columns, DiskTable, Rarefaction, blocks, sample_keys
from aam_nb.study.readers.tables import counted, refuse_duplicates, refuse_not_dna
from aam_nb.study.splits import FoldMask, Split, fold_masks, group_masks, hold_out, is_whole
from aam_nb.study.tree import Tree
from aam_nb.study.truth import Truth
from aam_nb.study.write import read_folder, write_folder

MOST_READS = 10**9
"""Reads of a sample from which numpy can draw."""


@dataclass(frozen=True, eq=False)
class Study:
    """A feature table with everything known about its samples and ASVs.

    Parameters
    ----------
    table
        Reads, shape (n_samples, n_asvs), whole numbers >= 0; a `DiskTable` where the study was read with `lazy=True`. Either way
        `table[rows]` gives samples in memory.
    sample_ids, asv_ids
        Row and column names, each once; an ASV's id is its DNA.
    metadata
        One row per sample, indexed by `sample_ids` in that order; it may have no columns.
    tree
        Rooted tree with the ASVs among its tips, or None.
    taxonomy
        One row per ASV, indexed by `asv_ids` in that order; a column per rank (`domain` to `species`), missing where it is not known,
        and `confidence` where the file has it. Or None.
    provenance
        What was done to get here, a sentence a step.
    split_info
        Which side of which split this is, or None.
    truth
        What `simulate_study` planted, or None for a real study.

    Raises
    ------
    StudyError
        Ids occur twice, ids are not DNA, counts are not whole numbers >= 0, or the parts do not line up.
    """

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
        refuse_duplicates(self.sample_ids, "sample")
        refuse_duplicates(self.asv_ids, "ASV")
        refuse_not_dna(self.asv_ids)
        if not isinstance(self.table, DiskTable):
            object.__setattr__(self, "table", counted(self.table, self.sample_ids, self.asv_ids))
        if not self.metadata.index.equals(self.sample_ids):
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
        found = self.table.richness if isinstance(self.table, DiskTable) else np.diff(self.table.indptr)
        return pd.Series(found, index=self.sample_ids, name="richness")

    @cached_property
    def prevalence(self) -> pd.Series:
        """Number of samples that hold each ASV, indexed by ASV."""
        if isinstance(self.table, DiskTable):
            found = self.table.prevalence
        else:
            found = np.bincount(self.table.indices, minlength=self.num_asvs)
        return pd.Series(found, index=self.asv_ids, name="prevalence")

    def blocks(self, size: int = SAMPLES_PER_BLOCK) -> Iterator[tuple[slice, sparse.csr_array]]:
        """Consecutive ranges of samples, each with its reads in memory, shape (at most `size`, n_asvs)."""
        return blocks(self.table, size)

    def in_memory(self) -> Study:
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
            have = ", ".join(map(str, self.metadata.columns[:8]))
            more = f" and {self.metadata.shape[1] - 8} more" if self.metadata.shape[1] > 8 else ""
            raise UnknownIdError(
                f"{name!r} is not a metadata column. The metadata has {have}{more}. Name one of those."
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
        known = values.dropna()
        if known.empty:
            raise TargetError(
                f"{name!r} is missing in all {self.num_samples} samples. A target needs known values. Choose another column, "
                "or check the join in `study.provenance`."
            )
        if known.nunique() == 1:
            raise TargetError(
                f"{name!r} is {known.iloc[0]!r} in all {len(known)} samples that have it. A target needs at least two "
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

    # -- verbs that give a new study ----------------------------------------------------------------------------------

    def keep_samples(self, samples: Iterable[str] | pd.Series | npt.NDArray[np.bool_]) -> Study:
        """The samples named, in the order given, or those where a boolean Series or array is true.

        Raises
        ------
        UnknownIdError
            A sample is not in the study.
        """
        rows = self._rows(samples)
        return self._taken(rows, f"kept {len(rows)} of {self.num_samples} samples")

    def keep_asvs(self, asvs: Iterable[str] | npt.NDArray[np.bool_]) -> Study:
        """The ASVs that are among those named (or where a boolean array is true), in the table's order.

        Names that the table does not hold are ignored, so `study.keep_asvs(study.tree.tips)` works.

        Raises
        ------
        UnknownIdError
            None of the ASVs is in the table.
        """
        if isinstance(asvs, (pd.Series, np.ndarray)) and asvs.dtype == bool:
            keep = _mask(asvs, self.asv_ids, "ASV")
        else:
            wanted = list(asvs)
            keep = self.asv_ids.isin(wanted)
            if not keep.any():
                raise UnknownIdError(
                    f"None of the {len(wanted)} ASVs given is in the table (first: {cut_list(wanted)}). Its {self.num_asvs} ids "
                    f"look like {cut_list(self.asv_ids[:1])}. Take ids from `study.asv_ids`."
                )
        if isinstance(self.table, DiskTable):
            place = np.where(keep, np.cumsum(keep) - 1, -1)
            table: Any = self.table.then(Columns(place, int(keep.sum())))
        else:
            table = self.table[:, keep].tocsr()
        taxonomy = None if self.taxonomy is None else self.taxonomy[keep]
        kept = replace(self, table=table, asv_ids=self.asv_ids[keep], taxonomy=taxonomy)
        lost = int(self.depth.sum() - kept.depth.sum())
        step = f"kept {int(keep.sum())} of {self.num_asvs} ASVs ({lost:,} reads fell out)"
        return replace(kept, provenance=(*self.provenance, step))

    def filter(self, *, config: FilterConfig | None = None, **settings: Any) -> Study:
        """Drop ASVs by length, taxon and prevalence, in this order, and then samples with few reads.

        Parameters
        ----------
        config, settings
            The limits; settings are fields of `FilterConfig` (`min_prevalence`, `min_depth`, `min_length`, `max_length`, `keep_taxa`,
            `drop_taxa`) and override those of `config`.

        Raises
        ------
        ConfigError
            A limit has no such name or value.
        UnknownIdError
            Taxa are asked for and the study has no taxonomy, or no ASV is of one of them.
        """
        config = make_config(FilterConfig, config, settings)
        kept = self
        length = self.asv_ids.str.len().to_numpy()
        keep = (length >= config.min_length) & (length <= (config.max_length or np.inf))
        if config.keep_taxa:
            keep &= self._of_taxa(config.keep_taxa)
        if config.drop_taxa:
            keep &= ~self._of_taxa(config.drop_taxa)
        if not keep.all():
            kept = kept.keep_asvs(keep)
        if config.min_prevalence > 0:
            kept = kept.keep_asvs((kept.prevalence >= config.min_prevalence).to_numpy())
        if config.min_depth > 0:
            kept = kept.keep_samples(kept.depth >= config.min_depth)
        step = "filtered with " + (", ".join(f"{k}={v!r}" for k, v in config.given().items()) or "no limit")
        return replace(kept, provenance=(*kept.provenance, step))

    def _of_taxa(self, taxa: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Mask of the ASVs that are of any of the taxa, at whatever rank; small and capital letters are the same."""
        if self.taxonomy is None:
            raise UnknownIdError(
                f"The study has no taxonomy, so its ASVs cannot be told by {cut_list(taxa)}. Give one when reading: "
                "`aam.read_study(..., taxonomy='taxonomy.tsv')` (`--taxonomy taxonomy.tsv`)."
            )
        ranks = self.taxonomy.drop(columns="confidence", errors="ignore")
        names = ranks.apply(lambda column: column.str.lower())
        unknown = [t for t in taxa if not (names == t.lower()).to_numpy().any()]
        if unknown:
            raise UnknownIdError(
                f"{len(unknown)} of {len(taxa)} taxa are not in the taxonomy ({cut_list(unknown)}). Its names have no prefix such as "
                f"`g__`; it has {cut_list(ranks.stack().value_counts().index[:4])}. Name a taxon of `study.taxonomy`."
            )
        return names.isin([t.lower() for t in taxa]).any(axis=1).to_numpy()

    def rarefy(self, depth: int, *, seed: int = 0) -> Study:
        """Draw `depth` reads from each sample without replacement; samples with fewer are dropped (and counted).

        Parameters
        ----------
        depth
            Reads kept per sample, at least 1.
        seed
            A sample's draw hangs on the seed, its id and its reads alone: dropping other samples before or after changes nothing.

        Raises
        ------
        StudyError
            `depth` is no whole number of at least 1, `seed` none of at least 0, or no sample has that many reads.
        """
        if not is_whole(depth):
            raise StudyError(f"depth is {depth!r}. Expected a whole number of reads. Try `study.rarefy(1000)`.")
        if not is_whole(seed) or seed < 0:
            raise StudyError(f"seed is {seed!r}. Expected a whole number of at least 0. Try `seed=0`.")
        if not self.num_samples:
            self.require_reads()
        deep = np.flatnonzero(self.depth.to_numpy() >= depth)
        if depth < 1 or not len(deep):
            raise StudyError(
                f"No sample can be rarefied to {depth} reads. The depths run from {self.depth.min()} to {self.depth.max()}. "
                f"Try `study.rarefy({max(1, int(self.depth.quantile(0.1)))})`, which keeps nine samples in ten."
            )
        if self.depth.max() >= MOST_READS:
            raise StudyError(
                f"Sample {self.depth.idxmax()} has {self.depth.max():,} reads. Expected fewer than {MOST_READS:,}: numpy cannot draw from "
                f"more. Leave it out: `study.keep_samples(study.depth < {MOST_READS})`."
            )
        step = f"rarefied to {depth} reads with seed {seed}: {self.num_samples - len(deep)} shallower samples dropped"
        kept, draw = self._taken(deep, step), Rarefaction(int(depth), int(seed))
        if isinstance(kept.table, DiskTable):
            return replace(kept, table=kept.table.then(draw))
        return replace(kept, table=draw(kept.table, sample_keys(kept.sample_ids)))

    def split(
        self, *, test_size: float = 0.2, target: str | None = None, group: str | None = None, seed: int = 0
    ) -> tuple[Study, Study]:
        """A training and a test study.

        Parameters
        ----------
        test_size
            Share of the samples that go to the test study, in (0, 1).
        target
            Metadata column to stratify by (quantile bins where it is numeric). Samples that lack it are left out of both.
        group
            Metadata column whose values never cross: all samples of a host, or a study, fall on one side.
        seed
            The same seed gives the same split.

        Returns
        -------
        The training study and the test study, both with `split_info` set.

        Raises
        ------
        SplitError
            There are too few groups, a class has one member, a group value is missing, or the group is the target.

        Warns
        -----
        SplitWarning
            The target is nearly a function of the group, or of a column that the split does not keep whole.
        """
        known, left_out = self._with_target(target)
        test = known.hold_out(test_size=test_size, target=target, group=group, seed=seed)
        known._warn(target, group)
        info = Split(part="train", target=target, group=group, test_size=test_size, seed=seed)
        return known._sides(test, info, f"a split with seed {seed}", left_out, self.provenance)

    def folds(
        self, folds: int = 5, *, target: str | None = None, group: str | None = None, seed: int = 0
    ) -> list[tuple[Study, Study]]:
        """Training and test study of each of several folds; every sample is in one test study.

        Stratified by the target, and no value of the group crosses, as in `split`, which has the same arguments and errors.
        """
        known, left_out = self._with_target(target)
        masks = fold_masks(known.sample_ids, **known._columns(target, group), folds=folds, seed=seed)
        known._warn(target, group)
        return [
            known._sides(m.test, m.split, f"{m.split.fold} with seed {seed}", left_out, self.provenance) for m in masks
        ]

    def fold_masks(
        self, folds: int = 5, *, target: str | None = None, group: str | None = None, seed: int = 0
    ) -> list[FoldMask]:
        """The folds that `folds` would give, as masks of the samples held out; every sample needs a value of the target."""
        masks = fold_masks(self.sample_ids, **self._columns(target, group), folds=folds, seed=seed)
        self._warn(target, group)
        return masks

    def leave_one_group_out(self, group: str, *, target: str | None = None) -> list[tuple[Study, Study]]:
        """Training and test study for each value of `group` held out in turn, in sorted order: leave-one-study-out.

        Raises
        ------
        SplitError
            There are fewer than two groups, a group value is missing, or a class of the target is in one group only.
        """
        known, left_out = self._with_target(target)
        masks = group_masks(known.sample_ids, **known._columns(target, group))
        return [known._sides(m.test, m.split, f"leaving out {m.split.fold}", left_out, self.provenance) for m in masks]

    def group_masks(self, group: str, *, target: str | None = None) -> list[FoldMask]:
        """The folds that `leave_one_group_out` would give, as masks of the samples held out; every sample needs a value of the target."""
        return group_masks(self.sample_ids, **self._columns(target, group))

    def hold_out(
        self, *, test_size: float, target: str | None = None, group: str | None = None, seed: int = 0
    ) -> npt.NDArray[np.bool_]:
        """Mask of the samples that `split` would put on the test side; every sample needs a value of the target."""
        return hold_out(self.sample_ids, **self._columns(target, group), test_size=test_size, seed=seed)

    def _with_target(self, target: str | None) -> tuple[Study, int]:
        """The samples that have the target, and how many have not."""
        known = self if target is None else self.keep_samples(self.target(target).notna())
        return known, self.num_samples - known.num_samples

    def _columns(self, target: str | None, group: str | None) -> dict[str, Any]:
        """The columns that a split is made by."""
        return {
            "target": None if target is None else self.target(target),
            "group": None if group is None else self.column(group),
        }

    def _warn(self, target: str | None, group: str | None) -> None:
        """Warn the caller of a splitting verb where the target is nearly a function of a group."""
        if target is not None:
            warn_if_confounded(self.metadata[target], self.metadata, group=group, stacklevel=4)

    def _sides(
        self, test: npt.NDArray[np.bool_], info: Split, of: str, left_out: int, steps: tuple[str, ...]
    ) -> tuple[Study, Study]:
        """The training and the test study of a mask."""
        sides: dict[Literal["train", "test"], npt.NDArray[np.bool_]] = {"train": ~test, "test": test}
        studies = []
        for part, mask in sides.items():
            step = f"{part} side ({int(mask.sum())} of {len(mask)} samples) of {of}"
            step += "" if info.group is None else f", no {info.group} on both sides"
            step += f"; {left_out} samples without {info.target} left out" if left_out else ""
            kept = self.keep_samples(mask)
            studies.append(replace(kept, provenance=(*steps, step), split_info=replace(info, part=part)))
        return studies[0], studies[1]

    # -- on disk ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write a folder that `Study.load` reads back whole, and other programs read file by file.

        It holds `table.biom` (BIOM 2.1), `metadata.tsv` (QIIME 2), `tree.nwk`, `taxonomy.tsv` (QIIME 2) and `study.json` (provenance,
        split, simulated truth), each where the study has it. An earlier study there is replaced once the new one is whole.

        Raises
        ------
        StudyError
            The folder holds something that is not a study.
        """
        return write_folder(self, folder)

    @classmethod
    def load(cls, folder: str | Path, *, lazy: bool = False) -> Study:
        """The study that `save` wrote; with `lazy=True` its counts stay on disk.

        Raises
        ------
        FileNotFoundError, FormatError, StudyError
            There is no such folder, a file in it is damaged, or its content is no longer what was saved.
        """
        parts = read_folder(folder, lazy=lazy)
        digest = parts.pop("content_sha256")
        study = cls(**parts)
        if study.content_hash() != digest:
            raise FormatError(
                f"{folder} does not hold what was saved: its table or tree was changed since. Expected content {digest[:12]}…. "
                "Restore it from a copy, or read the files as they are: `aam.read_study(table, metadata=..., tree=...)`."
            )
        return study

    # -- how it shows itself ------------------------------------------------------------------------------------------

    def summary(self) -> pd.DataFrame:
        """Size, depth and sparsity of the study: one row per quantity, columns `value` and `unit`."""
        depth = self.depth
        per_sample = self.richness
        lengths = self.asv_ids.str.len()
        cells = max(1, self.num_samples * self.num_asvs)
        rows: list[tuple[str, Any, str]] = [
            ("samples", self.num_samples, ""),
            ("ASVs", self.num_asvs, ""),
            ("reads", int(depth.sum()), "reads"),
            ("depth, smallest", depth.min(), "reads per sample"),
            ("depth, median", depth.median(), "reads per sample"),
            ("depth, largest", depth.max(), "reads per sample"),
            ("ASVs per sample, median", float(per_sample.median()) if len(per_sample) else 0.0, ""),
            ("ASVs per sample, largest", int(per_sample.max()) if len(per_sample) else 0, ""),
            ("filled cells", round(int(per_sample.sum()) / cells, 4), "share of the table"),
            ("ASV length, shortest", lengths.min(), "nt"),
            ("ASV length, longest", lengths.max(), "nt"),
            ("tree tips", len(self.tree.tips) if self.tree else 0, ""),
            ("metadata columns", self.metadata.shape[1], ""),
        ]
        # Objects, so that whole numbers are shown as such.
        return pd.DataFrame(rows, columns=["quantity", "value", "unit"], dtype=object).set_index("quantity")

    def __repr__(self) -> str:
        tree = f"tree of {len(self.tree.tips)} tips" if self.tree else "no tree"
        more = ", taxonomy" if self.taxonomy is not None else ""
        more += ", on disk" if self.lazy else ""
        head = f"Study({self.num_samples} samples x {self.num_asvs} ASVs, {self.metadata.shape[1]} metadata columns, {tree}{more})"
        return "\n".join([head, *(f"  - {to_one_line(step)}" for step in self.provenance)])

    def _repr_html_(self) -> str:
        head, *steps = repr(self).split("\n")
        items = "".join(f"<li>{html.escape(s.removeprefix('  - '))}</li>" for s in steps)
        return f"<b>{html.escape(head)}</b><ul>{items}</ul>" + self.metadata.head(3).to_html(escape=True)

    def _taken(self, rows: npt.NDArray[np.int64], step: str) -> Study:
        """The samples of those numbers, with one more step of provenance."""
        table = self.table.take(rows) if isinstance(self.table, DiskTable) else self.table[rows]
        return replace(
            self,
            table=table,
            sample_ids=self.sample_ids[rows],
            metadata=self.metadata.iloc[rows],
            provenance=(*self.provenance, step),
        )

    def _rows(self, samples: Iterable[str] | pd.Series | npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        if isinstance(samples, (pd.Series, np.ndarray)) and samples.dtype == bool:
            return np.flatnonzero(_mask(samples, self.sample_ids, "sample"))
        wanted = pd.Index(list(samples), dtype=str)
        refuse_duplicates(wanted, "sample")
        rows = self.sample_ids.get_indexer(wanted)
        if (rows < 0).any():
            unknown = wanted[rows < 0]
            raise UnknownIdError(
                f"{len(unknown)} of {len(wanted)} samples are not in the study ({cut_list(unknown)}). It has "
                f"{self.num_samples} samples such as {cut_list(self.sample_ids[:2])}. Take ids from `study.sample_ids`."
            )
        return rows.astype(np.int64)


def _mask(mask: pd.Series | npt.NDArray[np.bool_], ids: pd.Index, what: str) -> npt.NDArray[np.bool_]:
    """A boolean array over `ids`; a Series is aligned by its index, and an id that it lacks is not kept."""
    if isinstance(mask, pd.Series):
        mask = mask.reindex(ids, fill_value=False)
    if len(mask) != len(ids):
        raise StudyError(
            f"The mask has {len(mask)} values for {len(ids)} {what}s. Expected one value for each. Give a boolean Series indexed by "
            f"{what} id instead."
        )
    return np.asarray(mask)
