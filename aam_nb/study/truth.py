"""What is known of a simulated study, beside what a real one would show."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


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
