"""Attention of a model. Every figure carries the line that attention is not importance."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
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
from aam_nb.show.plots.style import LETTERS, MARKERS, PALETTE, cut, new_axes, set_title, short
from aam_nb.study.errors import UnknownIdError

PER_ROW = 4
"""Heads side by side: with more, their labels would be too small to read."""
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
    rows = table.head(top)
    _heatmap(ax, rows, [_name(a) for a in rows.index], [c.replace("_", " ") for c in rows.columns], **artist_kw)
    ax.set_yticklabels(ax.get_yticklabels(), family="monospace", fontsize=8)
    if rows.shape[1] > 4:
        ax.tick_params(axis="x", labelsize=8, rotation=90)
    set_title(ax, f"{cut(sample)}: the {len(rows)} most attended of {len(table)}")
    _caption(ax)
    return ax


def attention_heads(
    maps: AttentionMaps, sample: str, *, layer: int | None = None, top: int = 12, **artist_kw: Any
) -> Figure:
    """Attention among a sample's ASVs, a panel for each head: rows attend to columns, which have the numbers of the rows.

    Parameters
    ----------
    maps
        With level asv.
    sample
        Its id.
    layer
        Counted from 1; by default all layers.
    top
        Most keys drawn: the tokens and the ASVs with most pooling attention. Where the last key is the sum of all other ASVs, the colour
        scale ends at the largest single key.

    Raises
    ------
    UnknownIdError
        There are no maps of that sample, or no such layer.
    """
    heads = maps.of(sample, level="asv")
    layers = range(1, len(heads.weights) + 1) if layer is None else [layer]
    for k in layers:
        heads.head(k, 1)  # refuses one that there is not
    num_heads, names = heads.weights.shape[1], [_name(n) for n in heads.names[:top]]
    drawn = heads.weights[[k - 1 for k in layers], :, :top, :top]

    # a grid of panels: a layer's heads on as many rows as keep the labels readable
    per_layer = -(-num_heads // PER_ROW)
    columns = -(-num_heads // per_layer)
    side = max(1.7, 0.16 * len(names))
    size = (side * columns + 3.2, (side + 0.35) * per_layer * len(layers) + 1.5)
    figure, axes = plt.subplots(per_layer * len(layers), columns, figsize=size, layout="compressed", squeeze=False)

    # the sum of all other ASVs would press the colours of single keys together
    is_single = [not n.startswith("(other ") for n in names]
    largest = float(drawn[..., is_single].max())
    style: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": largest} | artist_kw
    panels = axes.reshape(len(layers), per_layer * columns)
    for (k, h), ax in np.ndenumerate(panels):
        if h >= num_heads:
            ax.set_axis_off()
            continue
        image = ax.imshow(drawn[k, h], **style)
        ax.set_title(f"layer {layers[k]}, head {h + 1}", fontsize=9)
        numbers = range(1, len(names) + 1)
        labels = [f"{name} {n}" for name, n in zip(names, numbers, strict=True)] if h % columns == 0 else []
        ax.set_xticks(range(len(names)), [str(n) for n in numbers], fontsize=6.5)
        ax.set_yticks(range(len(labels)), labels, family="monospace", fontsize=8)
        ax.tick_params(length=0, pad=2)
    extend = "max" if drawn.max() > style["vmax"] else "neither"
    figure.colorbar(image, ax=axes, label="attention", shrink=min(0.8, 3.5 / size[1]), extend=extend)
    part = "" if len(names) == len(heads.names) else f", the first {len(names)} of {len(heads.names)}"
    figure.suptitle(f"{cut(sample)}: attention among ASVs{part}", fontsize=11)
    figure.supylabel("from", fontsize=9)
    figure.supxlabel(f"to (numbered as the rows)\n{_wrapped()}", fontsize=8, color="#444444")
    return figure


def nucleotide_attention(maps: AttentionMaps, asv: str, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """From which positions of an ASV each head pools its vector, above the nucleotides at these positions."""
    table = maps.of(asv, level="nucleotide_pooling")
    ax = ax or new_axes(width=max(6.0, 0.075 * len(asv) + 2.2), height=0.3 * table.shape[1] + 1.7)
    spans = [_span(name) for name in table.index]
    letters = ["\n".join(asv[first - 1 : last]) for first, last in spans]
    _heatmap(ax, table.T, [c.replace("_", " ") for c in table.columns], letters, **artist_kw)
    ax.tick_params(axis="y", labelsize=8, rotation=0)
    ax.set_xticklabels(ax.get_xticklabels(), family="monospace", fontsize=7, linespacing=0.9, rotation=0)
    ax.tick_params(axis="x", length=0, pad=2)
    over = ax.secondary_xaxis("top")
    step = max(1, len(table) // 10)
    over.set_xticks(ax.get_xticks()[::step], [str(first) for first, _ in spans[::step]], fontsize=7)
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
    """Rollout of a sample's ASVs or, at level nucleotide, of an ASV's positions (bars); points are pooling attention, where the maps have
    it."""
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
        ax.set(xlabel="nucleotides, from the 5' end", ylabel="share of attention", title=short(name))
        ax.margins(x=0.01)
    else:
        bars = values.head(top).iloc[::-1]
        ax = ax or new_axes(height=0.28 * len(bars) + 1.6)
        ax.barh(range(len(bars)), bars, label="rollout", **style)
        if name in maps.pooling:
            pooled = maps.pooling[name]["mean"].loc[bars.index]
            ax.plot(
                pooled.to_numpy(),
                range(len(bars)),
                color="black",
                linestyle="none",
                marker=MARKERS[0],
                markersize=4,
                label="pooling attention",
            )
        ax.set_yticks(range(len(bars)), [_name(a) for a in bars.index], family="monospace", fontsize=8)
        ax.set(xlabel="share of attention", title=f"{cut(name)}: the first {len(bars)} of {len(values)}")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _caption(ax)
    return ax


def motif(
    result: Motifs,
    *,
    head: str = "mean",
    first: int = 1,
    last: int | None = None,
    ax: Axes | None = None,
    **artist_kw: Any,
) -> Axes:
    """The letters at each position of a clade's ASVs: together as high as the attention there, each by its share of the ASVs.

    Parameters
    ----------
    result
        From `aam.explain.motifs`.
    head
        A column of `result.attention`: head_1, … or mean.
    first, last
        Positions drawn, from the 5' end; by default all.

    Raises
    ------
    UnknownIdError
        There is no such head, or no such position.
    """
    end = len(result.attention)
    last = min(last or end, end)
    if head not in result.attention.columns or not 1 <= first <= last:
        raise UnknownIdError(
            f"head is {cut_repr(head)}, first {first} and last {last}. There are {cut_list(result.attention.columns, 10)}, and positions "
            f"1 to {end}. Name one of those, and positions in their order."
        )
    positions = range(first, last + 1)
    ax = ax or new_axes(width=max(6.0, 0.09 * len(positions) + 1.5), height=2.8)
    heights = result.frequency[list(NUCLEOTIDES)].to_numpy() * result.attention[[head]].to_numpy()
    for position in positions:
        bottom = 0.0
        for height, letter in sorted(zip(heights[position - 1].tolist(), NUCLEOTIDES, strict=True)):
            if height > 0:
                _letter(ax, letter, position, bottom, height, **artist_kw)
                bottom += height
    ax.axhline(result.even, color="black", linestyle="--", linewidth=0.8, label="uniform attention")
    ax.set(
        xlim=(first - 0.6, last + 0.6),
        ylim=(0, 1.15 * float(result.attention[head].loc[first:last].max())),
        xlabel="nucleotide, from the 5' end",
        ylabel=f"attention ({head.replace('_', ' ')})",
        title=f"{cut(result.name)} ({len(result.asvs)} ASVs)",
    )
    ax.legend(frameon=False, fontsize=8, loc="upper right")
    _caption(ax)
    return ax


def attention_difference(
    result: AttentionDifference,
    *,
    names: tuple[str, str] = ("a", "b"),
    top: int = 15,
    ax: Axes | None = None,
    **artist_kw: Any,
) -> Axes:
    """Mean pooling attention in two groups of samples, of the ASVs with the smallest p-values; a star marks q < 0.05.

    `names` are the names of the groups in the legend.
    """
    table = result.asvs.head(top).iloc[::-1]
    ax = ax or new_axes(height=0.28 * len(table) + 1.9)
    ax.hlines(range(len(table)), table["mean_a"], table["mean_b"], color="#999999", linewidth=1.5)
    for column, name, colour, marker in zip(("mean_a", "mean_b"), names, (PALETTE[0], PALETTE[4]), "os", strict=True):
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6} | artist_kw
        ax.plot(table[column], range(len(table)), linestyle="none", label=cut(name), **style)
    marks = ["★ " if q < 0.05 else "" for q in table["q_value"]]
    labels = [mark + _name(a) for mark, a in zip(marks, table.index, strict=True)]
    ax.set_yticks(range(len(table)), labels, family="monospace", fontsize=8)
    ax.set(xlabel="mean pooling attention", title="ASVs whose attention differs most")
    ax.legend(frameon=False, fontsize=8, loc="best")
    _caption(ax)
    return ax


def uniform_control(result: UniformControl, *, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """How much predictions change when attention is made uniform at each level: points are outputs, bars their mean."""
    levels = list(LEVEL_NAMES)
    ax = ax or new_axes(height=3.3)
    mean = result.changes.groupby("level")["relative"].mean().reindex(levels)
    style: dict[str, Any] = {"color": PALETTE[5], "height": 0.6} | artist_kw
    ax.barh(range(len(levels)), mean, label="mean", **style)
    for k, (output, rows) in enumerate(result.changes.groupby("output", sort=False)):
        relative = rows.set_index("level")["relative"].reindex(levels)
        colour, marker = PALETTE[k % len(PALETTE)] if k else "black", MARKERS[k % len(MARKERS)]
        ax.plot(relative, range(len(levels)), linestyle="none", marker=marker, color=colour, label=cut(output))
    ax.set_yticks(range(len(levels)), [LEVEL_NAMES[name] for name in levels])
    ax.invert_yaxis()
    ax.set(xlabel="mean |change| / standard deviation of predictions", title=f"{cut(result.target)}: uniform attention")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _caption(ax)
    return ax


def _heatmap(ax: Axes, cells: pd.DataFrame, rows: list[str], columns: list[str], **artist_kw: Any) -> None:
    style: dict[str, Any] = {"cmap": "cividis", "vmin": 0} | artist_kw
    bar = {"label": "attention", "pad": 0.02}
    sns.heatmap(cells, yticklabels=rows, xticklabels=columns, cbar_kws=bar, ax=ax, **style)
    ax.set(xlabel=None, ylabel=None)


def _name(key: object) -> str:
    """A key as a label: tokens in full, ASVs by both ends."""
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
    to_cell = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, height / box.height)
    to_cell = to_cell.translate(x - 0.45, bottom)
    style: dict[str, Any] = {"facecolor": LETTERS[letter], "edgecolor": "none"} | artist_kw
    ax.add_patch(PathPatch(to_cell.transform_path(path), **style))


def _wrapped() -> str:
    """The line that attention is not importance, broken to fit under narrow axes."""
    return textwrap.fill(NOT_IMPORTANCE, 48)


def _caption(ax: Axes) -> None:
    """Adds the line that attention is not importance below the axes' label."""
    ax.set_xlabel("\n".join(filter(None, [ax.get_xlabel(), _wrapped()])), fontsize=8, color="#444444")
