"""What moves predictions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from aam_nb.explain.attribution import Attributions
from aam_nb.show.plots.style import PALETTE, cut, new_axes, short


def attributions(
    result: Attributions, *, top: int = 15, mark: Iterable[str] = (), ax: Axes | None = None, **artist_kw: Any
) -> Axes:
    """The ASVs with the largest mean absolute attribution.

    Bars end at the mean attribution, dots at the mean absolute one; a star marks the ASVs in `mark` (such as planted ones).
    """
    ax = ax or new_axes(height=0.28 * top + 1.2)
    table, marked = result.by_asv().head(top).iloc[::-1], set(mark)
    up = table["mean"] >= 0
    ax.barh(range(len(table)), table["mean"], color=np.where(up, PALETTE[4], PALETTE[0]), **artist_kw)
    ax.plot(
        table["mean_abs"],
        range(len(table)),
        linestyle="none",
        marker="o",
        markersize=4,
        color="black",
        label="mean |attribution|",
    )
    ax.set_yticks(
        range(len(table)),
        [("★ " if a in marked else "") + short(a) for a in table.index],
        family="monospace",
        fontsize=8,
    )
    ax.axvline(0, color="black", linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set(
        xlabel=f"mean attribution ({cut(result.unit, 40)})",
        title=f"{cut(result.target)}: ASVs that moved predictions most",
    )
    handles = ax.get_legend_handles_labels()[0]
    if marked:
        handles.append(ax.plot([], [], linestyle="none", marker="*", color="black", markersize=9, label="planted")[0])
    # Below the axes: bars may reach every corner.
    ax.legend(handles=handles, frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    return ax
