"""A study: its sequencing depths and its principal coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from aam_nb.show.plots.style import GREY, MARKERS, PALETTE, POINTS, cut, new_axes
from aam_nb.study.study import Study

if TYPE_CHECKING:
    from skbio import OrdinationResults


def depth(study: Study, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Histogram of reads per sample, on a log axis."""
    ax = ax or new_axes()
    reads = study.depth[study.depth > 0]
    style: dict[str, Any] = {"color": PALETTE[0], "edgecolor": "white", "linewidth": 0.5, "alpha": 1} | artist_kw
    sns.histplot(x=reads.to_numpy(), bins=30, log_scale=True, ax=ax, **style)
    ax.axvline(reads.median(), color=PALETTE[4], linestyle="--", label=f"median {reads.median():,.0f}")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="reads per sample", ylabel="samples", title="Sequencing depth")
    ax.set_ylim(top=1.15 * ax.get_ylim()[1])  # the legend stands above the bars
    ax.legend(loc="upper right", frameon=False)
    return ax


def pcoa(
    result: OrdinationResults, *, color: pd.Series | None = None, ax: Axes | None = None, **artist_kw: Any
) -> Axes:
    """The first two principal coordinates, with the share of variation that each explains.

    Parameters
    ----------
    result
        From `aam.pcoa`.
    color
        A metadata column: numbers get a colour scale, categories a colour and a shape each (the eight most frequent; the others are
        grey).
    """
    ax = ax or new_axes()
    points, share = result.samples, result.proportion_explained.to_numpy()
    style: dict[str, Any] = POINTS | {"s": 24, "alpha": 0.85} | artist_kw
    x = points.iloc[:, 0].to_numpy()
    y = points.iloc[:, 1].to_numpy() if len(share) > 1 else np.zeros(len(x))  # one axis alone is a line of points
    if color is None:
        sns.scatterplot(x=x, y=y, color=PALETTE[0], ax=ax, **style)
    elif is_numeric_dtype(color) and not is_bool_dtype(color):
        numbers, scale = color.loc[points.index].to_numpy(float), mpl.colormaps["cividis"].with_extremes(bad="#bbbbbb")
        drawn = ax.scatter(x, y, c=numbers, cmap=scale, plotnonfinite=True, **style)
        missing = "" if pd.notna(numbers).all() else " (grey: missing)"
        ax.figure.colorbar(drawn, ax=ax, label=cut(color.name) + missing)
    else:
        values = color.loc[points.index].astype(object).fillna("missing")
        frequent = values.value_counts().index[: len(PALETTE)]
        rank = frequent.get_indexer(values)
        rank = np.where(rank < 0, len(PALETTE), rank)
        colours, markers = dict(enumerate([*PALETTE, GREY])), dict(enumerate(MARKERS + "."))
        sns.scatterplot(x=x, y=y, hue=rank, style=rank, palette=colours, markers=markers, ax=ax, **style)
        names = [*map(cut, frequent), f"{values.nunique() - len(frequent)} others"]
        handles = ax.get_legend_handles_labels()[0]
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        ax.legend(handles, names[: len(handles)], title=cut(color.name), frameon=False, fontsize=8, **place)
    ax.set(
        xlabel=f"PCo 1 ({share[0]:.1%} explained)",
        ylabel=f"PCo 2 ({share[1]:.1%} explained)" if len(share) > 1 else "",
        title="Principal coordinates" if share.any() else f"Principal coordinates: all {len(points)} samples are alike",
    )
    return ax
