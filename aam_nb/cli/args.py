"""Flags that several commands share: how the study is read, and how it is split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aam_nb.cli.messages import UsageError, print_message
from aam_nb.config import FilterConfig, NegativeLengths, TreeRoot, to_dict, to_one_line
from aam_nb.study.readers.columns import ColumnType
from aam_nb.study.sample_choice import choose_samples, choose_split_target

if TYPE_CHECKING:
    from aam_nb.study.study import Study
    from aam_nb.train.estimator import AAM


@dataclass(frozen=True, kw_only=True)
class ReadArgs:
    """How a study is read."""

    table: Path
    """Feature table: BIOM 2.1 or 1.0, .qza, TSV, CSV, .h5ad; its features are named by their DNA, or by names given in --sequences."""
    tree: Path | None = None
    """Rooted tree, Newick or .qza; its tips have the same names as the table's features."""
    sequences: Path | None = None
    """DNA of features that are named by hashes: FASTA or .qza."""
    taxonomy: Path | None = None
    """Lineages of the features: TSV, CSV or .qza."""
    types: dict[str, ColumnType] = field(default_factory=dict)
    """Types of metadata columns that would be read as another type: `--types plate categorical day date`."""
    root: TreeRoot = "given"
    """How to root an unrooted tree."""
    negative_lengths: NegativeLengths = "refuse"
    """Refuse a tree with negative branch lengths, or set them to zero and tell how many and how large they were."""
    sum_duplicates: bool = False
    """Sum the counts of features that have the same sequence."""
    lazy: bool = False
    """Leave the counts on disk and read a range of samples at a time: for tables larger than memory."""
    keep_tips: bool = False
    """Drop ASVs that are not tips of the tree."""
    filter: FilterConfig = field(default_factory=FilterConfig)

    def read(self) -> Study:
        """Read the study as the flags say, and print its provenance."""
        from aam_nb.study.read import read_study

        study = read_study(
            self.table,
            metadata=getattr(self, "metadata", None),
            tree=self.tree,
            sequences=self.sequences,
            taxonomy=self.taxonomy,
            types=self.types,
            root=self.root,
            negative_lengths=self.negative_lengths,
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
            print_message(f"  {to_one_line(step)}")
        return study

    @property
    def filters(self) -> dict[str, Any]:
        """The flags that change relative abundances; they are saved with a run."""
        limits = {name: list(v) if isinstance(v, tuple) else v for name, v in to_dict(self.filter).items()}
        return {name: v for name, v in limits.items() if name != "min_depth"} | {"keep_tips": self.keep_tips}

    def read_for(self, model: AAM) -> Study:
        """Read the study, with a warning where its ASVs are filtered in another way than those of the run."""
        study, fitted = self.read(), {**self.filters, **model.record.get("filters", {})}
        if fitted != self.filters:
            print_message(
                f"WARNING: The run was fitted with {fitted}, and this table is read with {self.filters}: relative abundances differ."
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
class SampleArgs:
    """Which samples are used, and which of them belong together."""

    group: str | None = None
    """Metadata column, such as host, study or cage: samples with the same value are all training or all test samples."""
    min_class_size: int = 0
    """Drop the samples of classes that have fewer samples than this."""
    drop_missing_group: bool = False
    """Drop samples without a value of --group."""

    def choose(self, study: Study, targets: Sequence[str]) -> Study:
        """The samples that are used."""
        chosen = choose_samples(
            study,
            targets=targets,
            group=self.group,
            min_class_size=self.min_class_size,
            drop_missing_group=self.drop_missing_group,
        )
        for step in chosen.provenance[len(study.provenance) :]:
            print_message(f"  {step}")
        return chosen


@dataclass(frozen=True, kw_only=True)
class SplitArgs(SampleArgs):
    """How samples are held out; `pretrain` and `fit` hold out the same samples if these flags and the seed are the same."""

    test_size: float = 0.2
    """Share of the samples that are held out as test samples."""

    def split(self, study: Study, targets: Sequence[str], seed: int) -> tuple[Study, Study]:
        """The training and the test study."""
        study = self.choose(study, targets)
        target = choose_split_target(targets)
        train, test = study.split(target=target, group=self.group, test_size=self.test_size, seed=seed)
        print_message(f"  {train.provenance[-1]}\n  {test.provenance[-1]}")
        return train, test
