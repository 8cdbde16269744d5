"""Study: a feature table, its metadata and its tree, aligned once and never changed."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from aam_nb.config import UserError, some
from aam_nb.study.newick import Tree
from aam_nb.study.splits import Split, hold_out

DNA_LETTERS = "ACGTRYSWKMBDHVN"
"""The IUPAC letters of DNA: four nucleotides and their ambiguity codes."""


class StudyError(UserError, ValueError):
    """What was given is not a study: ids, counts or sequences are not what they must be."""


class UnknownIdError(UserError, KeyError):
    """A sample, an ASV or a metadata column of that name is not in the study."""

    def __str__(self) -> str:
        return str(self.args[0])


class EmptySampleError(UserError, ValueError):
    """A sample has no reads where reads are needed."""


class MissingTipError(UserError, ValueError):
    """The study has no tree, or ASVs that are not tips of it."""


class TargetError(UserError, ValueError):
    """A metadata column cannot be predicted."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What a simulated study holds, and what the noise leaves to be known of it.

    Parameters
    ----------
    planted
        One row per planted ASV: `target`, `asv_id`, `clade` (number of its clade's node in the tree) and `sign` (+1 where more of
        the ASV means a larger target, or the class `plant`).
    best
        Scores of a predictor that knows the signal and not the noise: the best that any model can hope for. One row per target and
        metric, column `score`.
    """

    planted: pd.DataFrame
    best: pd.DataFrame

    def asvs(self, target: str) -> tuple[str, ...]:
        """The ASVs planted for one target."""
        return tuple(self.planted.loc[self.planted["target"] == target, "asv_id"])

    def __repr__(self) -> str:
        sizes = self.planted.groupby("target").size()
        return "Truth(" + ", ".join(f"{t}: {n} planted ASVs" for t, n in sizes.items()) + ")"


@dataclass(frozen=True, eq=False)
class Study:
    """A feature table with everything known about its samples and ASVs.

    Parameters
    ----------
    table
        Reads, shape (n_samples, n_asvs), whole numbers >= 0.
    sample_ids, asv_ids
        Row and column names, each once; an ASV's id is its DNA.
    metadata
        One row per sample, indexed by `sample_ids` in that order; it may have no columns.
    tree
        Rooted tree with the ASVs among its tips, or None.
    taxonomy
        Lineage of each ASV, indexed by DNA, or None.
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

    table: sparse.csr_array
    sample_ids: pd.Index
    asv_ids: pd.Index
    metadata: pd.DataFrame
    tree: Tree | None = None
    taxonomy: pd.Series | None = None
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
        _refuse_duplicates(self.sample_ids, "sample")
        _refuse_duplicates(self.asv_ids, "ASV")
        _refuse_not_dna(self.asv_ids)
        object.__setattr__(self, "table", _whole_counts(self.table, self.sample_ids, self.asv_ids))
        if not self.metadata.index.equals(self.sample_ids):
            raise StudyError(
                "The metadata rows are not the table's samples in the table's order. Expected an index equal to "
                "`sample_ids`. Reorder with `metadata.loc[sample_ids]`."
            )
        object.__setattr__(self, "metadata", self.metadata.rename_axis("sample_id"))

    # -- size and content ---------------------------------------------------------------------------------------------

    @property
    def num_samples(self) -> int:
        return len(self.sample_ids)

    @property
    def num_asvs(self) -> int:
        return len(self.asv_ids)

    @cached_property
    def depth(self) -> pd.Series:
        """Reads of each sample, indexed by sample id."""
        return pd.Series(np.asarray(self.table.sum(axis=1)), index=self.sample_ids, name="depth")

    @cached_property
    def prevalence(self) -> pd.Series:
        """Number of samples that hold each ASV, indexed by ASV."""
        return pd.Series(
            np.bincount(self.table.indices, minlength=self.num_asvs), index=self.asv_ids, name="prevalence"
        )

    def content_hash(self) -> str:
        """SHA-256 of ids, counts and tree: the same for the same study on any machine."""
        digest = hashlib.sha256()
        for ids in (self.sample_ids, self.asv_ids):
            digest.update("\n".join(ids).encode() + b"\0")
        for part, kind in ((self.table.indptr, "<i8"), (self.table.indices, "<i8"), (self.table.data, "<i8")):
            digest.update(np.ascontiguousarray(part, dtype=kind).tobytes())
        digest.update(self.tree.to_newick().encode() if self.tree else b"")
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
                f"{len(empty)} of {self.num_samples} samples have no reads ({some(empty)}). Every sample needs at least one. "
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
                f"{len(missing)} of {self.num_asvs} ASVs are not tips of the tree ({some(missing)}). UniFrac needs "
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
        step = f"kept {len(rows)} of {self.num_samples} samples"
        return replace(
            self,
            table=self.table[rows],
            sample_ids=self.sample_ids[rows],
            metadata=self.metadata.iloc[rows],
            provenance=(*self.provenance, step),
        )

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
                    f"None of the {len(wanted)} ASVs given is in the table (first: {some(wanted)}). Its {self.num_asvs} ids "
                    f"look like {some(self.asv_ids[:1])}. Take ids from `study.asv_ids`."
                )
        lost = int(self.table.sum() - self.table[:, keep].sum())
        step = f"kept {int(keep.sum())} of {self.num_asvs} ASVs ({lost:,} reads fell out)"
        return replace(
            self, table=self.table[:, keep].tocsr(), asv_ids=self.asv_ids[keep], provenance=(*self.provenance, step)
        )

    def filter(self, *, min_prevalence: int = 0, min_depth: int = 0) -> Study:
        """Drop ASVs found in few samples, then samples with few reads.

        Parameters
        ----------
        min_prevalence
            Samples an ASV must be found in.
        min_depth
            Reads a sample must have, counted after the ASVs are dropped.
        """
        kept = self
        if min_prevalence > 0:
            kept = kept.keep_asvs((kept.prevalence >= min_prevalence).to_numpy())
        if min_depth > 0:
            kept = kept.keep_samples(kept.depth >= min_depth)
        step = f"filtered with min_prevalence={min_prevalence}, min_depth={min_depth}"
        return replace(kept, provenance=(*kept.provenance, step))

    def rarefy(self, depth: int, *, seed: int = 0) -> Study:
        """Draw `depth` reads from each sample without replacement; samples with fewer are dropped (and counted).

        Parameters
        ----------
        depth
            Reads kept per sample, at least 1.
        seed
            The same seed, study and depth give the same reads.

        Raises
        ------
        StudyError
            `depth` is below 1, or no sample has that many reads.
        """
        if not self.num_samples:
            self.require_reads()
        deep = np.flatnonzero(self.depth.to_numpy() >= depth)
        if depth < 1 or not len(deep):
            raise StudyError(
                f"No sample can be rarefied to {depth} reads. The depths run from {self.depth.min()} to {self.depth.max()}. "
                f"Try `study.rarefy({max(1, int(self.depth.quantile(0.1)))})`, which keeps nine samples in ten."
            )
        rng = np.random.default_rng(seed)
        table = self.table[deep]
        drawn = table.data.copy()
        for start, stop in zip(table.indptr[:-1], table.indptr[1:], strict=True):
            drawn[start:stop] = rng.multivariate_hypergeometric(table.data[start:stop], depth, method="marginals")
        rarefied = sparse.csr_array((drawn, table.indices, table.indptr), shape=table.shape)
        step = f"rarefied to {depth} reads with seed {seed}: {self.num_samples - len(deep)} shallower samples dropped"
        return replace(
            self,
            table=rarefied,
            sample_ids=self.sample_ids[deep],
            metadata=self.metadata.iloc[deep],
            provenance=(*self.provenance, step),
        )

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
            There are too few groups, a class has one member, or a group value is missing.
        """
        known = self if target is None else self.keep_samples(self.target(target).notna())
        left_out = self.num_samples - known.num_samples
        test = known.hold_out(test_size=test_size, target=target, group=group, seed=seed)
        sides: dict[Literal["train", "test"], npt.NDArray[np.bool_]] = {"train": ~test, "test": test}
        studies = []
        for part, mask in sides.items():
            step = f"{part} side ({int(mask.sum())} of {len(mask)} samples) of a split with seed {seed}"
            step += "" if group is None else f", no {group} on both sides"
            step += f"; {left_out} samples without {target} left out" if left_out else ""
            info = Split(part=part, target=target, group=group, test_size=test_size, seed=seed)
            kept = known.keep_samples(mask)
            studies.append(replace(kept, provenance=(*self.provenance, step), split_info=info))
        return studies[0], studies[1]

    def hold_out(
        self, *, test_size: float, target: str | None = None, group: str | None = None, seed: int = 0
    ) -> npt.NDArray[np.bool_]:
        """Mask of the samples that `split` would put on the test side; every sample needs a value of the target."""
        return hold_out(
            self.sample_ids,
            target=None if target is None else self.target(target),
            group=None if group is None else self.column(group),
            test_size=test_size,
            seed=seed,
        )

    # -- how it shows itself ------------------------------------------------------------------------------------------

    def summary(self) -> pd.DataFrame:
        """Size, depth and sparsity of the study: one row per quantity, columns `value` and `unit`."""
        depth = self.depth
        per_sample = np.diff(self.table.indptr)
        lengths = self.asv_ids.str.len()
        cells = max(1, self.num_samples * self.num_asvs)
        rows: list[tuple[str, Any, str]] = [
            ("samples", self.num_samples, ""),
            ("ASVs", self.num_asvs, ""),
            ("reads", int(depth.sum()), "reads"),
            ("depth, smallest", depth.min(), "reads per sample"),
            ("depth, median", depth.median(), "reads per sample"),
            ("depth, largest", depth.max(), "reads per sample"),
            ("ASVs per sample, median", float(np.median(per_sample)) if len(per_sample) else 0.0, ""),
            ("ASVs per sample, largest", int(per_sample.max(initial=0)), ""),
            ("filled cells", round(self.table.nnz / cells, 4), "share of the table"),
            ("ASV length, shortest", lengths.min(), "nt"),
            ("ASV length, longest", lengths.max(), "nt"),
            ("tree tips", len(self.tree.tips) if self.tree else 0, ""),
            ("metadata columns", self.metadata.shape[1], ""),
        ]
        # Objects, so that whole numbers are shown as such.
        return pd.DataFrame(rows, columns=["quantity", "value", "unit"], dtype=object).set_index("quantity")

    def __repr__(self) -> str:
        tree = f"tree of {len(self.tree.tips)} tips" if self.tree else "no tree"
        lines = [
            f"Study({self.num_samples} samples x {self.num_asvs} ASVs, {self.metadata.shape[1]} metadata columns, {tree})"
        ]
        return "\n".join([*lines, *(f"  - {step}" for step in self.provenance)])

    def _repr_html_(self) -> str:
        head, *steps = repr(self).split("\n")
        items = "".join(f"<li>{html.escape(s.removeprefix('  - '))}</li>" for s in steps)
        return f"<b>{html.escape(head)}</b><ul>{items}</ul>" + self.metadata.head(3).to_html(escape=True)

    def _rows(self, samples: Iterable[str] | pd.Series | npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        if isinstance(samples, (pd.Series, np.ndarray)) and samples.dtype == bool:
            return np.flatnonzero(_mask(samples, self.sample_ids, "sample"))
        wanted = pd.Index(list(samples), dtype=str)
        _refuse_duplicates(wanted, "sample")
        rows = self.sample_ids.get_indexer(wanted)
        if (rows < 0).any():
            unknown = wanted[rows < 0]
            raise UnknownIdError(
                f"{len(unknown)} of {len(wanted)} samples are not in the study ({some(unknown)}). It has "
                f"{self.num_samples} samples such as {some(self.sample_ids[:2])}. Take ids from `study.sample_ids`."
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


def _refuse_duplicates(ids: pd.Index, what: str) -> None:
    if ids.has_duplicates:
        twice = ids[ids.duplicated()].unique()
        raise StudyError(
            f"{len(twice)} {what} ids occur more than once ({some(twice)}). Each id must be unique. Sum or rename the "
            "duplicates before reading."
        )


def _refuse_not_dna(asv_ids: pd.Index) -> None:
    wrong = asv_ids[~asv_ids.str.fullmatch(f"[{DNA_LETTERS}]+")]
    if len(wrong):
        raise StudyError(
            f"{len(wrong)} of {len(asv_ids)} observation ids are not DNA ({some(wrong)}). An ASV's id is its sequence in capital "
            f"IUPAC letters ({DNA_LETTERS}). Rename the features to their sequences, for example with "
            "`qiime feature-table rename-ids`, and read again."
        )


def _whole_counts(table: Any, sample_ids: pd.Index, asv_ids: pd.Index) -> sparse.csr_array:
    """The table as canonical CSR of int64, refused where a count is not a whole number >= 0."""
    table = sparse.csr_array(table)
    data = table.data
    bad = np.flatnonzero(~(data >= 0) | ~np.isfinite(data) | (data != np.floor(data)) | (data > 2**53))
    if len(bad):
        row = int(np.searchsorted(table.indptr, bad[0], side="right") - 1)
        raise StudyError(
            f"{len(bad)} counts are not whole numbers >= 0 (first: {data[bad[0]]:g} in sample {sample_ids[row]}, ASV "
            f"{some([asv_ids[table.indices[bad[0]]]])}). A feature table holds reads. Give the raw table, not relative "
            "abundances or transformed values."
        )
    canonical = sparse.csr_array(table.astype(np.int64), copy=True)
    canonical.sum_duplicates()
    canonical.eliminate_zeros()
    canonical.sort_indices()
    return canonical
