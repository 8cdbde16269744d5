"""Study: a feature table, its metadata and its tree, aligned once and never changed."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from aam_nb.arrays import Bools
from aam_nb.config import FilterConfig, count_noun, make_config, to_one_line
from aam_nb.study import filtering
from aam_nb.study.base import StudyBase
from aam_nb.study.confounding import warn_if_confounded
from aam_nb.study.conversion import from_biom, to_anndata, to_biom
from aam_nb.study.errors import FormatError
from aam_nb.study.splits import FoldMask, Split, fold_masks, group_masks, hold_out
from aam_nb.study.tree import Tree
from aam_nb.study.write import read_folder, write_folder

if TYPE_CHECKING:
    import anndata
    import biom


@dataclass(frozen=True, eq=False, repr=False)
class Study(StudyBase):
    """A feature table with everything known about its samples and ASVs. A verb gives a new study; none changes the one it is called on.

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

    Examples
    --------
    >>> import aam_nb as aam
    >>> study = aam.simulate_study(n_samples=24, n_asvs=60, seed=0)
    >>> study.num_samples, study.num_asvs
    (24, 60)
    >>> study.filter(min_prevalence=3).rarefy(500, seed=0).depth.unique()
    array([500])
    """

    # -- verbs that give a new study ----------------------------------------------------------------------------------

    def keep_samples(self, samples: Iterable[str] | pd.Series | Bools) -> Study:
        """The samples named, in the order given, or those where a boolean Series or array is true.

        Raises
        ------
        UnknownIdError
            A sample is not in the study.
        """
        return filtering.keep_samples(self, samples)

    def keep_asvs(self, asvs: Iterable[str] | Bools) -> Study:
        """The ASVs that are among those named (or where a boolean array is true), in the table's order.

        Names that the table does not hold are ignored, so `study.keep_asvs(study.tree.tips)` works.

        Raises
        ------
        UnknownIdError
            None of the ASVs is in the table.
        """
        return filtering.keep_asvs(self, asvs)

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
        return filtering.filter_study(self, make_config(FilterConfig, config, settings))

    def rarefy(self, depth: int, *, seed: int = 0) -> Study:
        """Draw `depth` reads from each sample without replacement; samples with fewer are dropped (and counted).

        Parameters
        ----------
        depth
            Reads kept per sample, at least 1.
        seed
            A sample's draw depends on the seed, its id and its reads alone: dropping other samples before or after changes nothing.

        Raises
        ------
        StudyError
            `depth` is no whole number of at least 1, `seed` none of at least 0, or no sample has that many reads.
        """
        return filtering.rarefy(self, depth, seed)

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
            Metadata column whose values are never in both studies: all samples of a host are on one side.
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
            The target can be predicted almost fully from the group, or from a column that the split does not keep whole.

        Examples
        --------
        >>> import aam_nb as aam
        >>> study = aam.simulate_study(n_samples=40, n_asvs=60, seed=0)
        >>> train, test = study.split(test_size=0.2, group="host_id", seed=0)
        >>> train.num_samples, test.num_samples, set(train.metadata["host_id"]) & set(test.metadata["host_id"])
        (32, 8, set())
        """
        labelled, left_out = self._with_target(target)
        test = labelled.hold_out(test_size=test_size, target=target, group=group, seed=seed)
        labelled._warn(target, group)
        info = Split(part="train", target=target, group=group, test_size=test_size, seed=seed)
        return labelled._make_sides(test, info, f"a split with seed {seed}", left_out, self.provenance)

    def folds(
        self, folds: int = 5, *, target: str | None = None, group: str | None = None, seed: int = 0
    ) -> list[tuple[Study, Study]]:
        """Training and test study of each of several folds; every sample is in one test study.

        Stratified by the target, and no value of the group crosses, as in `split`, which has the same arguments and errors.
        """
        labelled, left_out = self._with_target(target)
        masks = fold_masks(labelled.sample_ids, **labelled._columns(target, group), folds=folds, seed=seed)
        labelled._warn(target, group)
        return [
            labelled._make_sides(m.test, m.split, f"{m.split.fold} with seed {seed}", left_out, self.provenance)
            for m in masks
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
        labelled, left_out = self._with_target(target)
        masks = group_masks(labelled.sample_ids, **labelled._columns(target, group))
        return [
            labelled._make_sides(m.test, m.split, f"leaving out {m.split.fold}", left_out, self.provenance)
            for m in masks
        ]

    def group_masks(self, group: str, *, target: str | None = None) -> list[FoldMask]:
        """The folds that `leave_one_group_out` would give, as masks of the samples held out; every sample needs a value of the target."""
        return group_masks(self.sample_ids, **self._columns(target, group))

    def hold_out(
        self, *, test_size: float, target: str | None = None, group: str | None = None, seed: int = 0
    ) -> Bools:
        """Mask of the samples that `split` would put on the test side; every sample needs a value of the target."""
        return hold_out(self.sample_ids, **self._columns(target, group), test_size=test_size, seed=seed)

    def _with_target(self, target: str | None) -> tuple[Study, int]:
        """The samples that have the target, and how many have not."""
        labelled = self if target is None else self.keep_samples(self.target(target).notna())
        return labelled, self.num_samples - labelled.num_samples

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

    def _make_sides(
        self, test: Bools, info: Split, of: str, left_out: int, steps: tuple[str, ...]
    ) -> tuple[Study, Study]:
        """The training and the test study of a mask."""
        sides: dict[Literal["train", "test"], Bools] = {"train": ~test, "test": test}
        studies = []
        for part, mask in sides.items():
            step = f"{part} side ({int(mask.sum())} of {len(mask)} samples) of {of}"
            step += "" if info.group is None else f", no {info.group} on both sides"
            step += f"; {count_noun(left_out, 'sample')} without {info.target} left out" if left_out else ""
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

    # -- objects of other packages -------------------------------------------------------------------------------------

    def to_biom(self) -> biom.Table:
        """A `biom.Table`: the counts, the taxonomy as metadata of the observations, and the metadata of the samples.

        Confidences of the taxonomy, the tree and the provenance have no place there. Dates become text (ISO 8601).

        Raises
        ------
        StudyError
            A taxon has a semicolon in its name, which divides the ranks of a lineage.

        Examples
        --------
        >>> import aam_nb as aam
        >>> aam.simulate_study(n_samples=16, n_asvs=60, seed=0).to_biom().shape
        (60, 16)
        """
        return to_biom(self)

    @classmethod
    def from_biom(
        cls,
        table: biom.Table,
        *,
        metadata: pd.DataFrame | str | Path | None = None,
        tree: Tree | str | Path | None = None,
        sequences: Mapping[str, str] | pd.Series | str | Path | None = None,
        sum_duplicates: bool = False,
    ) -> Study:
        """A study from a `biom.Table`, refused where `aam.read_study` would refuse its file.

        Parameters
        ----------
        table
            Counts, observations x samples; observations are named by their DNA, or as in `sequences`. Its taxonomy is taken.
        metadata
            One row per sample, indexed by sample id, or a file as `aam.read_metadata` reads it. None takes the table's own.
        tree
            Rooted tree with the ASVs among its tips, or a Newick file.
        sequences
            DNA by observation id, or a FASTA file.
        sum_duplicates
            Sum ASVs of the same sequence; they are refused otherwise.

        Raises
        ------
        FormatError, StudyError, TreeError
            As in `aam.read_study`.

        Examples
        --------
        >>> import aam_nb as aam
        >>> study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
        >>> again = aam.Study.from_biom(study.to_biom(), tree=study.tree)
        >>> again.content_hash() == study.content_hash()
        True
        """
        return from_biom(cls, table, metadata=metadata, tree=tree, sequences=sequences, sum_duplicates=sum_duplicates)

    def to_anndata(self) -> anndata.AnnData:
        """An AnnData object: counts in X, metadata in obs, taxonomy in var, provenance in uns. It needs the extra `anndata`.

        Raises
        ------
        MissingExtraError
            The package anndata is not installed.
        """
        return to_anndata(self)

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
        columns = count_noun(self.metadata.shape[1], "metadata column")
        head = f"Study({count_noun(self.num_samples, 'sample')} x {count_noun(self.num_asvs, 'ASV')}, {columns}, {tree}{more})"
        return "\n".join([head, *(f"  - {to_one_line(step)}" for step in self.provenance)])

    def _repr_html_(self) -> str:
        head, *steps = repr(self).split("\n")
        items = "".join(f"<li>{html.escape(s.removeprefix('  - '))}</li>" for s in steps)
        return f"<b>{html.escape(head)}</b><ul>{items}</ul>" + self.metadata.head(3).to_html(escape=True)
