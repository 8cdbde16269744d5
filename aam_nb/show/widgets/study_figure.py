"""The static twin of the study explorer: depth, prevalence, PCoA and taxa as a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from aam_nb.arrays import Ints
from aam_nb.show import plots
from aam_nb.show.plots.style import cut
from aam_nb.show.widgets.study_payload import IN_BARS
from aam_nb.study.study import Study

DARK = (0, 6, 7)
"""Places in the palette on which white is read best."""


def draw_prevalence(prevalence: pd.Series, least: int, ax: Axes) -> None:
    """How many ASVs occur in how many samples; those in fewer than `least` samples are pale."""
    ends = doubling_bins(int(prevalence.max()))
    counts = np.bincount(np.searchsorted(ends, prevalence[prevalence > 0]), minlength=len(ends))
    starts = np.append(0, ends[:-1]) + 1
    bars = ax.bar(range(len(ends)), counts, color=plots.PALETTE[0])
    for bar, below in zip(bars, ends < least, strict=True):
        bar.set_alpha(0.25 if below else 1)
    labels = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True)]
    ax.set_xticks(range(len(ends)), labels, rotation=35 if len(ends) > 7 else 0, fontsize=8)
    title = "Prevalence" if least == 1 else f"Prevalence: at least {least} samples"
    ax.set(xlabel="samples in which an ASV is found", ylabel="ASVs", title=title)


def draw_composition(shares: pd.DataFrame, rank: str, ax: Axes) -> None:
    """A bar for each group of samples, cut into mean shares of reads.

    Parameters
    ----------
    shares
        Taxa by groups.
    rank
        Of the taxa, for the title.
    """
    bars = shares.T.iloc[::-1]  # the first group on top
    left = np.zeros(len(bars))
    for k, name in enumerate(bars.columns):
        color = plots.PALETTE[k] if k < IN_BARS else "#999999"
        widths, ink = bars.iloc[:, k].to_numpy(), "white" if k in DARK else "black"
        ax.barh(range(len(bars)), widths, left=left, height=0.7, color=color, edgecolor="white", label=cut(name, 30))
        for row in np.flatnonzero(widths > 0.04):
            middle = left[row] + widths[row] / 2
            ax.text(middle, float(row), str(k + 1), ha="center", va="center", fontsize=8, color=ink)
        left = left + widths
    ax.set_yticks(range(len(bars)), [cut(n) for n in bars.index])
    ax.set(xlim=(0, 1), ylim=(len(bars) - max(4, len(bars)) - 0.5, len(bars) - 0.4))
    ax.set(xlabel="mean share of reads", title=f"Composition by {rank}")
    # The numbers in the bars are those of the legend.
    handles, labels = ax.get_legend_handles_labels()
    numbered = [f"{k + 1}  {label}" for k, label in enumerate(labels)]
    ax.legend(handles, numbered, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def color_values(study: Study, column: dict[str, Any] | None) -> pd.Series | None:
    """The column that colours dots as figures take it; None where there is none.

    Parameters
    ----------
    column
        Of `describe_columns`.
    """
    if column is None:
        return None
    if column["kind"] == "numbers":
        original = next(c for c in study.metadata.columns if str(c) == column["name"])
        return study.metadata[original].astype(float).rename(column["name"])
    levels = np.array([*column["levels"], None], dtype=object)  # a missing value, -1, takes the last
    return pd.Series(levels[np.array(column["values"])], index=study.sample_ids, name=column["name"])


def doubling_bins(most: int) -> Ints:
    """Last numbers of bins that hold 1, 2, 3-4, 5-8, … up to at least `most`."""
    return np.asarray(2 ** np.arange(int(np.ceil(np.log2(max(1, most)))) + 1))
