"""Figures and numbers as a page holds them."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.show.widgets.twin import draw_png

DPI = 130


@dataclass(frozen=True)
class Picture:
    """A PNG with what to say of it."""

    png: str
    width: int
    alt: str
    caption: str


def picture(drawn: Axes | Figure, alt: str, caption: str) -> Picture:
    """A figure, which is closed."""
    raw = draw_png(drawn, DPI)
    width = int.from_bytes(raw[16:20], "big")  # of the PNG header
    return Picture(png=base64.b64encode(raw).decode(), width=round(width * 84 / DPI), alt=alt, caption=caption)
