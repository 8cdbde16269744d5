"""What a reader of a table gives: counts and ids, before features are known to be DNA. One class for all formats."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
from scipy import sparse

from aam_nb.config import cut_list
from aam_nb.study.errors import StudyError
from aam_nb.study.readers.checks import refuse_bad_ids, refuse_duplicates
from aam_nb.study.readers.disk import DiskTable


@dataclass(frozen=True)
class FeatureTable:
    """What a table file holds, before its features are known to be DNA.

    Parameters
    ----------
    table
        Counts, samples x features, whole numbers; on disk where it was opened lazily.
    sample_ids, feature_ids
        Names of rows and columns. Each sample occurs once; features of the same name may be summed.
    format
        Name of the format, for messages.
    metadata
        What the file says of its samples (AnnData), indexed by sample id; without columns where it says nothing.
    lineages
        Lineage text by feature id, where the file has it.
    notes
        What was noticed while reading.
    dna_of
        DNA by the name that the file gives a feature, where `feature_ids` are from a column of sequences.
    """

    table: sparse.csr_array | DiskTable
    sample_ids: list[str]
    feature_ids: list[str]
    format: str
    metadata: pd.DataFrame
    lineages: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    dna_of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for ids, noun in ((self.sample_ids, "sample"), (self.feature_ids, "feature")):
            if not ids:
                raise StudyError(
                    f"The {self.format} table has no {noun}s ({len(self.sample_ids)} samples x {len(self.feature_ids)} features). Expected "
                    "at least one. Check the filters that made it, and export it again."
                )
            refuse_bad_ids(ids, noun, f"the {self.format} table")
        refuse_duplicates(pd.Index(self.sample_ids), "sample")


def list_left_out(of_samples: list[str], of_features: list[str]) -> tuple[str, ...]:
    """What a table says beside its counts and is not read from there."""
    notes = []
    if of_samples:
        notes.append(f"left out what the table says of its samples ({cut_list(of_samples)}): give it as metadata")
    if of_features:
        notes.append(f"left out what the table says of its features ({cut_list(of_features)})")
    return tuple(notes)


def no_metadata(samples: list[str]) -> pd.DataFrame:
    return pd.DataFrame(index=pd.Index(samples, dtype=str, name="sample_id"))
