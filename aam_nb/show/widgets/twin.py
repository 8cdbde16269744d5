"""The static twin of an interactive display: a figure, a table and a sentence, for viewers without widgets and for files."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import ClassVar

import matplotlib.pyplot as plt
import pandas as pd
from IPython.core.getipython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aam_nb.config import UserError, to_path
from aam_nb.config.spreadsheet import format_csv
from aam_nb.study.atomic import whole_file

DPI = 90
FIGURES = (".png", ".svg", ".pdf")
TABLES = (".csv", ".tsv")


class ExplorerError(UserError, ValueError):
    """An explorer cannot show or save what is asked of it."""


class Twin:
    """What can be seen of an interactive display where it does not run."""

    title: ClassVar[str]
    """What it is called."""
    pages: ClassVar[tuple[str, ...]] = ()
    """Endings of pages that it can be written as, beside figures and tables."""

    def figure(self) -> Figure:
        """What is shown, as a matplotlib figure."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """The table behind the figure."""
        raise NotImplementedError

    def sentence(self) -> str:
        """What a reader must know of it, a sentence per line."""
        return ""

    def page(self) -> str:
        """A page of HTML of its own, of those that have one."""
        raise NotImplementedError

    def export(self, path: str | Path) -> Path:
        """Write the figure (`.png`, `.svg`, `.pdf`), the table (`.csv`, `.tsv`) or, of explorers, a page that works offline (`.html`).

        Raises
        ------
        ExplorerError
            Another kind of file.
        """
        path = to_path(path, "a file to write", example="'figure.png'")
        kind, kinds = path.suffix.lower(), (*FIGURES, *TABLES, *self.pages)
        if kind not in kinds:
            raise ExplorerError(
                f"{path.name} ends in {kind or 'nothing'!r}. Expected one of {', '.join(kinds)}. Try `.export('{path.stem}.png')`."
            )
        with whole_file(path) as fresh:
            if kind in FIGURES:
                figure = self.figure()
                figure.savefig(fresh, format=kind[1:], dpi=2 * DPI, bbox_inches="tight")
                plt.close(figure)
            elif kind in TABLES:
                format_csv(self.to_frame(), fresh, separator="," if kind == ".csv" else "\t")
            else:
                fresh.write_text(self.page(), encoding="utf-8")
        return path


def make_bundle(twin: Twin) -> dict[str, str]:
    """A twin by MIME type: HTML with title, sentence and figure, where everything is escaped; the figure; its name."""
    png = base64.b64encode(draw_png(twin.figure())).decode()
    title, alt = html.escape(twin.title), html.escape(f"{twin.title}. {twin.sentence()}")
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in twin.sentence().split("\n") if line)
    image = f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{png}">'
    block = f'<div class="aam-still"><b>{title}</b>{lines}{image}</div>'
    return {"text/plain": repr(twin), "text/html": block, "image/png": png}


def draw_png(drawn: Axes | Figure, dpi: int = DPI) -> bytes:
    """A figure as PNG; it is closed."""
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    assert figure is not None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def in_notebook() -> bool:
    """Whether a kernel runs this, so that HTML can be displayed."""
    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
