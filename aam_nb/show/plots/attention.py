"""Where a model looks. Every figure carries the line that this is not importance."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from aam_nb.config import cut_list, cut_repr
from aam_nb.explain.attention.difference import AttentionDifference
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.maps import AttentionMaps
from aam_nb.explain.attention.motifs import NUCLEOTIDES, Motifs
from aam_nb.explain.attention.uniform import UniformControl
from aam_nb.show.plots.style import LETTERS, MARKERS, PALETTE, cut, new_axes, short
from aam_nb.study.errors import UnknownIdError

LEVEL_NAMES = {
    "nucleotide": "among nucleotides",
    "nucleotide_pooling": "nucleotides to ASV",
    "asv": "among ASVs",
    "pooling": "ASVs to sample",
    "all": "everywhere",
}


def attention(table: pd.DataFrame, *, sample: str, top: int = 15, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Pooling attention of one sample (`maps.pooling[sample]`): its most attended ASVs x heads."""
    ax = ax or new_axes(height=0.28 * top + 1.5)
    shown = table.head(top)
    style: dict[str, Any] = {"cmap": "cividis", "aspect": "auto", "vmin": 0} | artist_kw
    drawn = ax.imshow(shown.to_numpy(), **style)
    ax.figure.colorbar(drawn, ax=ax, label="attention")
    ax.set_xticks(range(shown.shape[1]), [c.replace("_", " ") for c in shown.columns])
    ax.set_yticks(range(len(shown)), [_name(a) for a in shown.index], family="monospace", fontsize=8)
    ax.set_title(f"{cut(sample)}: {len(shown)} most attended of {len(table)}")
    _caption(ax)
    return ax


def attention_heads(
    maps: AttentionMaps, sample: str, *, layer: int | None = None, top: int = 12, **artist_kw: Any
) -> Figure:
    """Attention among a sample's ASVs, a panel a head: rows look, columns are looked at.

    Parameters
    ----------
    maps
        With level asv.
    sample
        Its id.
    layer
        Counted from 1; by default all of them, a row of panels each.
    top
        Most keys drawn: the tokens and the ASVs with most pooling attention.

    Raises
    ------
    UnknownIdError
        There are no maps of that sample, or no such layer.
    """
    found = maps.of(sample, level="asv")
    layers = range(1, len(found.weights) + 1) if layer is None else [layer]
    for k in layers:
        found.head(k, 1)  # refuses one that there is not
    heads, names = found.weights.shape[1], [_name(n) for n in found.names[:top]]
    figure, axes = plt.subplots(
        len(layers),
        heads,
        figsize=(2.1 * heads + 2.4, 2.1 * len(layers) + 2.5),
        layout="constrained",
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    shown = found.weights[[k - 1 for k in layers], :, :top, :top]
    style: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": float(shown.max())} | artist_kw
    for (k, h), ax in np.ndenumerate(axes):
        drawn = ax.imshow(shown[k, h], **style)
        ax.set_title(f"layer {layers[k]}, head {h + 1}", fontsize=9)
        ax.set_xticks(range(len(names)), names, rotation=90, family="monospace", fontsize=5.5)
        ax.set_yticks(range(len(names)), names, family="monospace", fontsize=5.5)
        ax.tick_params(length=0)
    figure.colorbar(drawn, ax=axes, label="attention", shrink=0.8)
    figure.suptitle(f"{cut(sample)}: {len(names)} most attended of {len(found.names)} rows and columns", fontsize=11)
    figure.supylabel("looks", fontsize=9)
    figure.supxlabel(f"is looked at\n{_wrapped()}", fontsize=8, color="#444444")
    return figure


def nucleotide_attention(maps: AttentionMaps, asv: str, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """From which positions of an ASV each head pools its vector, above the nucleotides that stand there."""
    table = maps.of(asv, level="nucleotide_pooling")
    ax = ax or new_axes(width=max(6.0, 0.075 * len(asv) + 2.2), height=0.3 * table.shape[1] + 1.7)
    style: dict[str, Any] = {"cmap": "cividis", "aspect": "auto", "vmin": 0} | artist_kw
    drawn = ax.imshow(table.to_numpy().T, **style)
    ax.figure.colorbar(drawn, ax=ax, label="attention", pad=0.01)
    ax.set_yticks(range(table.shape[1]), [c.replace("_", " ") for c in table.columns], fontsize=8)
    spans = [_span(name) for name in table.index]
    ax.set_xticks(
        range(len(table)),
        ["\n".join(asv[first - 1 : last]) for first, last in spans],
        family="monospace",
        fontsize=7,
        linespacing=0.9,
    )
    ax.tick_params(axis="x", length=0, pad=2)
    over = ax.secondary_xaxis("top")
    step = max(1, len(table) // 10)
    over.set_xticks(range(0, len(table), step), [str(first) for first, _ in spans[::step]], fontsize=7)
    over.set_xlabel("first nucleotide of the position, from the 5' end", fontsize=8)
    ax.set_title(f"{short(asv)}, {len(asv)} nucleotides", family="monospace", fontsize=9)
    _caption(ax)
    return ax


def rollout(
    maps: AttentionMaps,
    name: str,
    *,
    level: str = "asv",
    top: int = 15,
    ax: Axes | None = None,
    **artist_kw: Any,
) -> Axes:
    """Rollout of a sample's ASVs (bars), beside the pooling attention where the maps have it (dots); or along an ASV's positions."""
    values = maps.rollout(name, level=level)
    style: dict[str, Any] = {"color": PALETTE[0]} | artist_kw
    if level == "nucleotide":
        ax = ax or new_axes(width=max(6.0, 0.16 * len(values) + 1.5))
        ax.bar(range(len(values)), values, label="rollout", **style)
        ax.plot(
            maps.nucleotide_pooling[name]["mean"].to_numpy(),
            color="black",
            linestyle="none",
            marker=MARKERS[0],
            markersize=4,
            label="pooling attention",
        )
        ax.set_xticks(range(len(values)), [str(p) for p in values.index], rotation=90, fontsize=7)
        ax.set(xlabel="nucleotides, from the 5' end", ylabel="share", title=short(name))
        ax.margins(x=0.01)
    else:
        shown = values.head(top).iloc[::-1]
        ax = ax or new_axes(height=0.28 * len(shown) + 1.6)
        ax.barh(range(len(shown)), shown, label="rollout", **style)
        if name in maps.pooling:
            pooled = maps.pooling[name]["mean"].loc[shown.index]
            ax.plot(
                pooled.to_numpy(),
                range(len(shown)),
                color="black",
                linestyle="none",
                marker=MARKERS[0],
                markersize=4,
                label="pooling attention",
            )
        ax.set_yticks(range(len(shown)), [_name(a) for a in shown.index], family="monospace", fontsize=8)
        ax.set(xlabel="share", title=f"{cut(name)}: {len(shown)} of {len(values)}")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _caption(ax)
    return ax


def motif(
    found: Motifs,
    *,
    head: str = "mean",
    first: int = 1,
    last: int | None = None,
    ax: Axes | None = None,
    **artist_kw: Any,
) -> Axes:
    """Letters of each position, as high together as the attention that falls there, each by its share of the clade's ASVs.

    Parameters
    ----------
    found
        From `aam.explain.motifs`.
    head
        A column of `found.attention`: head_1, … or mean.
    first, last
        Positions drawn, from the 5' end; by default all.

    Raises
    ------
    UnknownIdError
        There is no such head, or no such position.
    """
    end = len(found.attention)
    last = min(last or end, end)
    if head not in found.attention.columns or not 1 <= first <= last:
        raise UnknownIdError(
            f"head is {cut_repr(head)}, first {first} and last {last}. There are {cut_list(found.attention.columns, 10)}, and positions 1 "
            f"to {end}. Name one of those, and positions in their order."
        )
    positions = range(first, last + 1)
    ax = ax or new_axes(width=max(6.0, 0.09 * len(positions) + 1.5), height=2.8)
    heights = found.frequency[list(NUCLEOTIDES)].to_numpy() * found.attention[[head]].to_numpy()
    for position in positions:
        bottom = 0.0
        for height, letter in sorted(zip(heights[position - 1].tolist(), NUCLEOTIDES, strict=True)):
            if height > 0:
                _letter(ax, letter, position, bottom, height, **artist_kw)
                bottom += height
    ax.axhline(found.even, color="black", linestyle="--", linewidth=0.8, label="even attention")
    ax.set(
        xlim=(first - 0.6, last + 0.6),
        ylim=(0, 1.15 * float(found.attention[head].loc[first:last].max())),
        xlabel="nucleotide, from the 5' end",
        ylabel=f"attention ({head.replace('_', ' ')})",
        title=f"{cut(found.name)}: {len(found.asvs)} ASVs",
    )
    ax.legend(frameon=False, fontsize=8, loc="upper right")
    _caption(ax)
    return ax


def attention_difference(
    found: AttentionDifference,
    *,
    names: tuple[str, str] = ("a", "b"),
    top: int = 15,
    ax: Axes | None = None,
    **artist_kw: Any,
) -> Axes:
    """Mean pooling attention of two sides, of the ASVs with the smallest p-values; a star marks q < 0.05.

    `names` are what the legend calls the sides.
    """
    table = found.asvs.head(top).iloc[::-1]
    ax = ax or new_axes(height=0.28 * len(table) + 1.9)
    ax.hlines(range(len(table)), table["mean_a"], table["mean_b"], color="#999999", linewidth=1.5)
    for column, name, colour, marker in zip(("mean_a", "mean_b"), names, (PALETTE[0], PALETTE[4]), "os", strict=True):
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6} | artist_kw
        ax.plot(table[column], range(len(table)), linestyle="none", label=cut(name), **style)
    marks = ["★ " if q < 0.05 else "" for q in table["q_value"]]
    labels = [mark + _name(a) for mark, a in zip(marks, table.index, strict=True)]
    ax.set_yticks(range(len(table)), labels, family="monospace", fontsize=8)
    ax.set(xlabel="mean pooling attention", title="ASVs that the sides are told apart by")
    ax.legend(frameon=False, fontsize=8, loc="best")
    _caption(ax)
    return ax


def uniform_control(found: UniformControl, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """How much predictions change where attention is even, level by level: dots are outputs, bars their mean."""
    levels = list(LEVEL_NAMES)
    ax = ax or new_axes(height=3.3)
    mean = found.changes.groupby("level")["relative"].mean().reindex(levels)
    style: dict[str, Any] = {"color": PALETTE[5], "height": 0.6} | artist_kw
    ax.barh(range(len(levels)), mean, label="mean", **style)
    for k, (output, rows) in enumerate(found.changes.groupby("output", sort=False)):
        relative = rows.set_index("level")["relative"].reindex(levels)
        colour, marker = PALETTE[k % len(PALETTE)] if k else "black", MARKERS[k % len(MARKERS)]
        ax.plot(relative, range(len(levels)), linestyle="none", marker=marker, color=colour, label=cut(output))
    ax.set_yticks(range(len(levels)), [LEVEL_NAMES[name] for name in levels])
    ax.invert_yaxis()
    ax.set(xlabel="mean |change| / standard deviation of predictions", title=f"{cut(found.target)}: even attention")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _caption(ax)
    return ax


def _name(key: object) -> str:
    """A key as a label: tokens whole, ASVs by both ends."""
    text = str(key)
    return cut(text) if text.startswith("(") else short(text)


def _span(name: object) -> tuple[int, int]:
    """First and last nucleotide of a position named "5-8"."""
    first, _, last = str(name).partition("-")
    return int(first), int(last or first)


def _letter(ax: Axes, letter: str, x: float, bottom: float, height: float, **artist_kw: Any) -> None:
    """A letter that fills the cell of a position from `bottom` upwards."""
    path = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = path.get_extents()
    place = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, height / box.height)
    place = place.translate(x - 0.45, bottom)
    style: dict[str, Any] = {"facecolor": LETTERS[letter], "edgecolor": "none"} | artist_kw
    ax.add_patch(PathPatch(place.transform_path(path), **style))


def _wrapped() -> str:
    """The line that every figure carries, broken to fit under narrow axes."""
    return textwrap.fill(NOT_IMPORTANCE, 48)


def _caption(ax: Axes) -> None:
    """The line that every figure carries, below the axes' label."""
    ax.set_xlabel("\n".join(filter(None, [ax.get_xlabel(), _wrapped()])), fontsize=8, color="#444444")
