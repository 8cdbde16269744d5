"""Names of ASVs that people can read."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from aam_nb.show.plots.style import short
from aam_nb.study.study import Study


class AsvNames:
    """Names of a study's ASVs that people can read: the lowest known taxon, else both ends of the DNA; then their number in the study.

    Parameters
    ----------
    study
        Its taxonomy names ASVs, where it has one.
    """

    def __init__(self, study: Study) -> None:
        self.asv_ids = study.asv_ids
        self.ranks = None if study.taxonomy is None else study.taxonomy.drop(columns="confidence", errors="ignore")

    @property
    def rule(self) -> str:
        """How ASVs are named, a sentence."""
        named = "both ends of their DNA" if self.ranks is None else "their lowest known taxon"
        return f"ASVs are named by {named}; #n is the n-th ASV of the study."

    def labels(self, keys: Iterable[object]) -> list[str]:
        """Names of ASVs; tokens keep theirs."""
        names = pd.Index([str(key) for key in keys], dtype=str)
        columns = self.asv_ids.get_indexer(names).tolist()
        return [
            name if column < 0 else f"{self._taxon(column) or short(name)} #{column + 1}"
            for name, column in zip(names, columns, strict=True)
        ]

    def lineages(self, keys: Iterable[object]) -> list[str]:
        """Taxa from the domain down to the lowest known one; empty where there are none."""
        columns = self.asv_ids.get_indexer(pd.Index([str(key) for key in keys], dtype=str)).tolist()
        return ["" if column < 0 else "; ".join(self._taxa(column).values()) for column in columns]

    def _taxa(self, column: int) -> dict[str, str]:
        """Known taxa of an ASV, by rank, the highest first."""
        if self.ranks is None:
            return {}
        return {str(rank): str(name) for rank, name in self.ranks.iloc[column].items() if pd.notna(name)}

    def _taxon(self, column: int) -> str:
        """The lowest known taxon of an ASV, with its rank where that is not clear; "" where there is none."""
        taxa = self._taxa(column)
        if not taxa:
            return ""
        rank, name = list(taxa.items())[-1]
        genus = taxa.get("genus", "")
        if rank == "species":
            return name if not genus or name.startswith(genus) else f"{genus} {name}"
        return name if rank == "genus" else f"{name} ({rank})"
