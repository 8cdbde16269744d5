"""What all explorers share: traits, a static twin, errors that are seen, saving, and a page that works without a kernel.

An explorer is a widget whose state lies in traits, so that what a reader clicks a script can read and set. It draws itself in the
browser from `data`, with JavaScript that ships here and loads nothing. Viewers without widgets see its twin: figure, sentence, table.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import traitlets
from ipywidgets.widgets.trait_types import TypedTuple
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from aam_nb.config import UserError, some
from aam_nb.study.study import Study, UnknownIdError
from aam_nb.study.whole import whole_file

KIT = ("pens", "scales", "plot", "charts", "frame")
"""The JavaScript that explorers share, in this order."""
DPI = 90
DIGITS = 5
"""Significant digits of the numbers that are sent to the browser."""
FIGURES = (".png", ".svg", ".pdf")
TABLES = (".csv", ".tsv")


class ExplorerError(UserError, ValueError):
    """An explorer cannot show or save what is asked of it."""


class Explorer(anywidget.AnyWidget):
    """A widget to look at something; see `aam.widgets`.

    A class of explorers names its JavaScript (`script`, a file of `js/` that defines `build(view)`), computes `data` when it is made, and
    has a static twin: `figure()`, `to_frame()` and `sentence()`.
    """

    script: ClassVar[str]
    """The file in `js/`, without `.js`."""
    title: ClassVar[str]
    """What it is called."""
    kept: ClassVar[tuple[str, ...]] = ()
    """Traits, besides `selected`, that its JavaScript reads."""

    data = traitlets.Dict(help="What is drawn; JSON.").tag(sync=True)
    selected = TypedTuple(traitlets.Unicode(), help="Ids of the samples chosen.").tag(sync=True)
    error = traitlets.Unicode(help="What went wrong last, shown above the explorer.").tag(sync=True)

    def __init__(self, sample_ids: Sequence[str], **traits: Any) -> None:
        self.sample_ids = pd.Index(sample_ids)
        self._esm = esm(self.script)
        self._css = css()
        super().__init__(**traits)

    # -- what a class of explorers gives ----------------------------------------------------------------------------------

    def figure(self) -> Figure:
        """The static twin: what is looked at, as a matplotlib figure."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """The table behind the figure."""
        raise NotImplementedError

    def sentence(self) -> str:
        """What a reader must know of it, in words."""
        return ""

    # -- what is chosen ---------------------------------------------------------------------------------------------------

    @traitlets.validate("selected")
    def _check_selected(self, proposal: Any) -> tuple[str, ...]:
        wanted = tuple(dict.fromkeys(proposal["value"]))
        unknown = [i for i in wanted if i not in self.sample_ids]
        if unknown:
            raise UnknownIdError(
                f"{len(unknown)} of {len(wanted)} samples are not in this explorer ({some(unknown)}). It shows {len(self.sample_ids)} "
                f"samples such as {some(self.sample_ids[:3])}. Set `explorer.selected` to some of `explorer.sample_ids`."
            )
        return wanted

    # -- what the browser asks --------------------------------------------------------------------------------------------

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Errors of what runs inside are shown in the explorer: the reader's click has no cell to show them in."""
        try:
            yield
        except Exception as error:  # whatever it is, it must be seen
            self.error = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        else:
            self.error = ""

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser changed; an error shows inside the explorer."""
        with self._shown():
            super().set_state(sync_data)
        for name in sync_data:  # what was refused goes back to what it was, in the browser too
            if name in self.keys and name != "error" and self.error:
                self.send_state(name)

    # -- the static twin --------------------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        found, more = bundle if isinstance(bundle, tuple) else (bundle, {})
        png = png_of(self.figure())
        return {
            **found,
            "text/plain": repr(self),
            "text/html": self._repr_html_(png),
            "image/png": base64.b64encode(png).decode(),
        }, more

    def _repr_html_(self, png: bytes | None = None) -> str:
        """The twin as HTML: title, sentence and figure, with everything escaped."""
        image = base64.b64encode(png or png_of(self.figure())).decode()
        title, alt = html.escape(self.title), html.escape(f"{self.title}. {self.sentence()}")
        said = "".join(f"<p>{html.escape(line)}</p>" for line in self.sentence().split("\n") if line)
        return (
            f"<div><b>{title}</b>{said}"
            f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{image}"></div>'
        )

    def __repr__(self) -> str:
        chosen = f", {len(self.selected)} selected" if self.selected else ""
        return f"{type(self).__name__}({len(self.sample_ids)} samples{chosen})"

    # -- saving -----------------------------------------------------------------------------------------------------------

    def export(self, path: str | Path) -> Path:
        """Write the static twin, or the explorer as a page of its own.

        Parameters
        ----------
        path
            `.png`, `.svg` or `.pdf`: the figure. `.csv` or `.tsv`: the table. `.html`: a page with the explorer, which works offline.

        Raises
        ------
        ExplorerError
            Another kind of file.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind not in (*FIGURES, *TABLES, ".html"):
            raise ExplorerError(
                f"{path.name} ends in {kind or 'nothing'!r}. Expected {', '.join((*FIGURES, *TABLES))} or .html. Try "
                f"`explorer.export('{path.stem}.png')`."
            )
        with whole_file(path) as fresh:
            if kind in FIGURES:
                figure = self.figure()
                figure.savefig(fresh, format=kind[1:], dpi=2 * DPI, bbox_inches="tight")
                plt.close(figure)
            elif kind in TABLES:
                self.to_frame().to_csv(fresh, sep="," if kind == ".csv" else "\t")
            else:
                from aam_nb.show.widgets.page import page

                fresh.write_text(page(self), encoding="utf-8")
        return path

    def saved_state(self) -> dict[str, Any]:
        """The traits that its JavaScript reads, for a page without a kernel."""
        return {name: plain(getattr(self, name)) for name in ("data", "selected", *self.kept)} | {"error": ""}


def one_of(proposal: Any, known: Any, what: str) -> str:
    """The value of a trait, which must be one of some.

    Raises
    ------
    ExplorerError
        It is none of them.
    """
    value, name = proposal["value"], proposal["trait"].name
    if value not in list(known):
        raise ExplorerError(
            f"{name} is {value!r}. Expected one of the {what}: {some(known, 20)}. Set `explorer.{name}` to one of those."
        )
    return str(value)


@cache
def _source(name: str) -> str:
    return (files("aam_nb.show.widgets") / name).read_text(encoding="utf-8")


@cache
def kit() -> str:
    """The JavaScript that all explorers share."""
    return "\n".join(_source(f"js/kit/{part}.js") for part in KIT)


def built(script: str) -> str:
    """An expression for the `build` function of an explorer's JavaScript, whose other names stay inside."""
    return f"(() => {{\n{_source(f'js/{script}.js')}\nreturn build;\n}})()"


@cache
def esm(script: str) -> str:
    """The module that draws one explorer in a notebook."""
    return f"{kit()}\nconst build = {built(script)};\nexport default {{ render: ({{ model, el }}) => mount(model, el, build) }};\n"


@cache
def css() -> str:
    """The style of all explorers."""
    return _source("js/explorer.css")


def png_of(drawn: Axes | Figure, dpi: int = DPI) -> bytes:
    """A figure as PNG; it is closed."""
    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    assert figure is not None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


# -- what the browser gets --------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as JSON has it: lists, numbers of few digits, text, None for what is missing or not finite."""
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, int | np.integer | np.bool_):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float | np.floating):
        return _rounded(float(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return _numbers(value)
    if isinstance(value, pd.Series | pd.Index):
        return plain(value.to_numpy())
    if isinstance(value, pd.DataFrame):
        return [
            dict(zip(map(str, value.columns), map(plain, row), strict=True)) for row in value.itertuples(index=False)
        ]
    if isinstance(value, Sequence | np.ndarray):
        return [plain(v) for v in value]
    return None if pd.isna(value) else str(value)


def column(values: pd.Series, name: str | None = None) -> dict[str, Any]:
    """A metadata column as the browser takes it: numbers, or categories as places in their `levels`, -1 where missing."""
    label = str(values.name if name is None else name)
    if is_datetime64_any_dtype(values):
        values = values.dt.strftime("%Y-%m-%d")
    if is_numeric_dtype(values) and not is_bool_dtype(values):
        return {"name": label, "kind": "numbers", "values": plain(values.to_numpy(float, na_value=np.nan))}
    codes, levels = pd.factorize(values.astype(object), sort=False)
    return {"name": label, "kind": "categories", "values": codes.tolist(), "levels": [str(v) for v in levels]}


def metadata_columns(study: Study, ids: pd.Index) -> list[dict[str, Any]]:
    """Metadata of some samples of a study as the browser takes it."""
    rows = study.metadata.loc[ids]
    return [column(rows[name]) for name in rows.columns]


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> Any:
    """Numbers with few digits; rounded all at once."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = DIGITS - 1 - np.floor(np.log10(np.abs(values)))
        factor = 10.0 ** np.where(np.isfinite(places), places, 0)
        found = np.round(values * factor) / factor
    return np.where(np.isfinite(values), found.astype(object), np.array(None)).tolist()
