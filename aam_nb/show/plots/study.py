"""A study: its depths and its principal coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from pandas.api.types import is_numeric_dtype

from aam_nb.show.plots.style import MARKERS, PALETTE, cut, new_axes
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from skbio import OrdinationResults


def depth(study: Study, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Histogram of reads per sample, on a log axis."""
    ax = ax or new_axes()
    reads = study.depth[study.depth > 0]
    edges = np.geomspace(reads.min(), max(reads.max(), reads.min() + 1), 31)
    style: dict[str, Any] = {"color": PALETTE[0], "edgecolor": "white", "linewidth": 0.5} | artist_kw
    ax.hist(reads, bins=list(edges), **style)
    ax.axvline(reads.median(), color=PALETTE[4], linestyle="--", label=f"median {reads.median():,.0f}")
    ax.set(xscale="log", xlabel="reads per sample", ylabel="samples", title="Sequencing depth")
    ticks = [t for k in range(10) for t in (10**k, 2 * 10**k, 5 * 10**k) if edges[0] <= t <= edges[-1]]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(frameon=False)
    return ax


def pcoa(
    result: OrdinationResults, *, color: pd.Series | None = None, ax: Axes | None = None, **artist_kw: Any
) -> Axes:
    """The first two principal coordinates, with the share of variation each explains.

    Parameters
    ----------
    result
        From `aam.pcoa`.
    color
        A metadata column: numbers get a colour scale, categories (the eight commonest) a colour and a shape each.
    """
    ax = ax or new_axes()
    points, share = result.samples, result.proportion_explained.to_numpy()
    style: dict[str, Any] = {"s": 22, "alpha": 0.85, "linewidths": 0.3, "edgecolors": "white"} | artist_kw
    xy = points.iloc[:, 0].to_numpy(), points.iloc[:, 1].to_numpy()
    if color is None:
        ax.scatter(*xy, color=PALETTE[0], **style)
    elif is_numeric_dtype(color):
        drawn = ax.scatter(*xy, c=color.loc[points.index].to_numpy(float), cmap="cividis", **style)
        ax.figure.colorbar(drawn, ax=ax, label=cut(color.name))
    else:
        values = color.loc[points.index].astype(object).fillna("missing").to_numpy()
        common = pd.Series(values).value_counts().index
        for k, value in enumerate(common[:8]):
            here = values == value
            ax.scatter(xy[0][here], xy[1][here], color=PALETTE[k], marker=MARKERS[k], label=cut(value), **style)
        rest = ~np.isin(values, common[:8])
        if rest.any():
            ax.scatter(
                xy[0][rest], xy[1][rest], color="#999999", marker=".", label=f"{len(common) - 8} others", **style
            )
        ax.legend(title=cut(color.name), frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.set(
        xlabel=f"PCo 1 ({share[0]:.1%} explained)",
        ylabel=f"PCo 2 ({share[1]:.1%} explained)",
        title="Principal coordinates",
    )
    return ax
