"""Names of ASVs that people can read."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from aam_nb.show.plots.style import short
from aam_nb.study.study import Study


class AsvNames:
    """Names of a study's ASVs that people can read: the lowest taxon known, else both ends of the DNA; then the place in the study.

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
        places = self.asv_ids.get_indexer(names).tolist()
        return [
            name if place < 0 else f"{self._taxon(place) or short(name)} #{place + 1}"
            for name, place in zip(names, places, strict=True)
        ]

    def lineages(self, keys: Iterable[object]) -> list[str]:
        """Taxa from the domain down to the last one known; empty where there are none."""
        places = self.asv_ids.get_indexer(pd.Index([str(key) for key in keys], dtype=str)).tolist()
        return ["" if place < 0 else "; ".join(self._known(place).values()) for place in places]

    def _known(self, place: int) -> dict[str, str]:
        if self.ranks is None:
            return {}
        return {str(rank): str(name) for rank, name in self.ranks.iloc[place].items() if pd.notna(name)}

    def _taxon(self, place: int) -> str:
        known = self._known(place)
        if not known:
            return ""
        rank, name = list(known.items())[-1]
        genus = known.get("genus", "")
        if rank == "species":
            return name if not genus or name.startswith(genus) else f"{genus} {name}"
        return name if rank == "genus" else f"{name} ({rank})"
