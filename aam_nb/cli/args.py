"""Flags that several commands share: the study and the split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aam_nb as aam
from aam_nb.cli.messages import UsageError, say
from aam_nb.config import FilterConfig, TreeRoot, to_dict, to_one_line
from aam_nb.study.readers.columns import ColumnType


@dataclass(frozen=True, kw_only=True)
class ReadArgs:
    """How a study is read."""

    table: Path
    """Feature table: BIOM 2.1 or 1.0, .qza, TSV, CSV, .h5ad; its features are named by DNA, or as in --sequences."""
    tree: Path | None = None
    """Rooted tree, Newick or .qza; its tips are named as the table's features."""
    sequences: Path | None = None
    """DNA of features that are named by hashes: FASTA or .qza."""
    taxonomy: Path | None = None
    """Lineages of the features: TSV, CSV or .qza."""
    types: dict[str, ColumnType] = field(default_factory=dict)
    """Types of metadata columns that are not what they seem: `--types plate categorical day date`."""
    root: TreeRoot = "given"
    """How to root an unrooted tree."""
    sum_duplicates: bool = False
    """Sum features of the same sequence."""
    lazy: bool = False
    """Leave the counts on disk and read them by ranges of samples: for tables larger than memory."""
    keep_tips: bool = False
    """Drop ASVs that are not tips of the tree."""
    filter: FilterConfig = field(default_factory=FilterConfig)

    def read(self) -> aam.Study:
        """The study as the flags ask for it."""
        study = aam.read_study(
            self.table,
            metadata=getattr(self, "metadata", None),
            tree=self.tree,
            sequences=self.sequences,
            taxonomy=self.taxonomy,
            types=self.types,
            root=self.root,
            sum_duplicates=self.sum_duplicates,
            lazy=self.lazy,
        )
        if self.keep_tips:
            if study.tree is None:
                raise UsageError(
                    "--keep-tips was given without a tree. It drops ASVs that are not its tips. Add `--tree tree.nwk`."
                )
            study = study.keep_asvs(study.tree.tips)
        if self.filter.given():
            study = study.filter(config=self.filter)
        for step in study.provenance:
            say(f"  {to_one_line(step)}")
        return study

    @property
    def filters(self) -> dict[str, Any]:
        """The flags that change relative abundances; a run remembers them."""
        limits = {name: list(v) if isinstance(v, tuple) else v for name, v in to_dict(self.filter).items()}
        return {name: v for name, v in limits.items() if name != "min_depth"} | {"keep_tips": self.keep_tips}

    def read_for(self, model: aam.AAM) -> aam.Study:
        """The study, with a word where its ASVs are not filtered as those of the run were."""
        study, fitted = self.read(), {**self.filters, **model.record.get("filters", {})}
        if fitted != self.filters:
            say(
                f"WARNING: the run was fitted with {fitted}, and this table is read with {self.filters}: relative abundances differ."
            )
        return study


@dataclass(frozen=True, kw_only=True)
class TableArgs(ReadArgs):
    """The study; metadata is not needed."""

    metadata: Path | None = None
    """Sample metadata, TSV or CSV; the first column holds the sample ids."""


@dataclass(frozen=True, kw_only=True)
class StudyArgs(ReadArgs):
    """The study, with metadata."""

    metadata: Path
    """Sample metadata, TSV or CSV; the first column holds the sample ids."""


@dataclass(frozen=True, kw_only=True)
class SplitArgs:
    """The split; `pretrain` and `fit` with the same flags and seed hold out the same samples."""

    group: str | None = None
    """Metadata column whose values never cross between training and test samples: host, study, cage ..."""
    test_size: float = 0.2
    """Share of the samples held out."""
    min_class_size: int = 0
    """Drop samples of classes with fewer samples."""
    drop_missing_group: bool = False
    """Drop samples that have no value of --group."""

    def split(self, study: aam.Study, target: str | None, seed: int) -> tuple[aam.Study, aam.Study]:
        """The training and the test side."""
        if self.drop_missing_group:
            study = self._with_group(study)
        if self.min_class_size and target is None:
            raise UsageError(
                "--min-class-size was given with several targets. It counts the classes of one. Leave it out."
            )
        if self.min_class_size and target is not None:
            values = study.target(target)
            study = study.keep_samples(values.isin(values.value_counts().loc[lambda n: n >= self.min_class_size].index))
            say(f"  {study.provenance[-1]}: classes of at least {self.min_class_size}")
        train, test = study.split(target=target, group=self.group, test_size=self.test_size, seed=seed)
        say(f"  {train.provenance[-1]}\n  {test.provenance[-1]}")
        return train, test

    def _with_group(self, study: aam.Study) -> aam.Study:
        """The samples that have a value of the group."""
        if self.group is None:
            raise UsageError(
                "--drop-missing-group was given without a group. It drops samples that have no value of it. Add `--group COLUMN`."
            )
        known = study.column(self.group).notna()
        if not known.any():
            raise UsageError(
                f"None of the {study.num_samples} samples has a {self.group!r}. A group split needs its values. Choose another `--group`."
            )
        if not known.all():
            study = study.keep_samples(known)
            say(f"  {study.provenance[-1]}: those that have a {self.group}")
        return study


def alone(targets: Sequence[str]) -> str | None:
    """The column that a split goes by: the only target. Of several a sample may lack some, and none is left out for it."""
    return targets[0] if len(targets) == 1 else None
