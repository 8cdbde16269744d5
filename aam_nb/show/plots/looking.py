"""Where a model looks."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from aam_nb.show.plots.style import cut, new_axes, short


def attention(table: pd.DataFrame, *, sample: str, top: int = 15, ax: Axes | None = None, **artist_kw: Any) -> Axes:
    """Pooling attention of one sample (`maps.pooling[sample]`): its most attended ASVs x heads."""
    ax = ax or new_axes(height=0.28 * top + 1.5)
    shown = table.head(top)
    drawn = ax.imshow(shown.to_numpy(), cmap="cividis", aspect="auto", vmin=0, **artist_kw)
    ax.figure.colorbar(drawn, ax=ax, label="attention")
    ax.set_xticks(range(shown.shape[1]), [c.replace("_", " ") for c in shown.columns])
    ax.set_yticks(range(len(shown)), [short(str(a)) for a in shown.index], family="monospace", fontsize=8)
    ax.set_title(f"{cut(sample)}: {len(shown)} most attended of {len(table)}")
    return ax
