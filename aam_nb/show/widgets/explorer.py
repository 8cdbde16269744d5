"""What all explorers share: traits, a static twin, errors that are seen, saving, and a page that works without a kernel.

An explorer is a widget whose state lies in traits, so that what a reader clicks a script can read and set. It draws itself in the
browser from `data`, with JavaScript that ships here and loads nothing. Viewers without widgets see its twin: figure, sentence, table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import anywidget
import numpy as np
import pandas as pd
import traitlets
from IPython.display import display
from ipywidgets.widgets.trait_types import TypedTuple
from pandas.api.types import is_datetime64_any_dtype

from aam_nb.config import UserError, cut_list
from aam_nb.show.widgets.page import page
from aam_nb.show.widgets.sources import css, esm
from aam_nb.show.widgets.twin import ExplorerError, Twin, bundle_of, in_notebook
from aam_nb.study.columns import is_numeric_column
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

DIGITS = 5
"""Significant digits of the numbers that are sent to the browser."""

HIDDEN_WHILE_LIVE = """<style>
.jp-OutputArea:has(.aam) .jp-OutputArea-child:has(.aam-still) { display: none; }
.jp-OutputArea-child:has(+ .jp-OutputArea-child .aam-still) .jp-OutputArea-output:not(:has(*)) { display: none; }
</style>"""
"""Hides the twin beside a live explorer, and the words of JupyterLab for one that lost its kernel."""


class SampleIds(TypedTuple):
    """Ids of samples: any sequence of them, such as the index of a table."""

    def validate(self, obj: Any, value: Any) -> Any:
        """The ids as a tuple."""
        listed = isinstance(value, pd.Index | pd.Series | np.ndarray)
        return super().validate(obj, tuple(map(str, value)) if listed else value)


class Explorer(Twin, anywidget.AnyWidget):
    """A widget to look at something; see `aam.widgets`.

    A class of explorers names its JavaScript (`script`, a folder of `js/` that defines `build(view)`), computes `data` when it is made, and
    has a static twin: `figure()`, `to_frame()` and `sentence()`.
    """

    script: ClassVar[str]
    """The folder of `js/` with its JavaScript."""
    pages = (".html",)
    kept: ClassVar[tuple[str, ...]] = ()
    """Traits, besides `selected`, that its JavaScript reads."""

    data = traitlets.Dict(help="What is drawn; JSON.").tag(sync=True)
    selected = SampleIds(traitlets.Unicode(), help="Ids of the samples chosen.").tag(sync=True)
    error = traitlets.Unicode(help="What went wrong last, shown above the explorer.").tag(sync=True)

    def __init__(self, sample_ids: Sequence[str], **traits: Any) -> None:
        self.sample_ids = pd.Index(sample_ids)
        self._esm = esm(self.script)
        self._css = css()
        super().__init__(**traits)

    # -- what is chosen ---------------------------------------------------------------------------------------------------

    @traitlets.validate("selected")
    def _check_selected(self, proposal: Any) -> tuple[str, ...]:
        wanted = tuple(dict.fromkeys(proposal["value"]))
        unknown = [i for i in wanted if i not in self.sample_ids]
        if unknown:
            raise UnknownIdError(
                f"{len(unknown)} of {len(wanted)} samples are not in this explorer ({cut_list(unknown)}). It shows {len(self.sample_ids)} "
                f"samples such as {cut_list(self.sample_ids[:3])}. Set `explorer.selected` to some of `explorer.sample_ids`."
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
        before = {name: getattr(self, name) for name in self.keys if name != "error"}
        with self._shown():
            for name in (
                before.keys() & sync_data.keys()
            ):  # before anything changes, so that no reaction sees a value that is refused
                read = self.trait_metadata(name, "from_json", self._trait_from_json)
                self.traits()[name]._validate(self, read(sync_data[name], self))
            super().set_state(sync_data)
        if self.error:  # what was refused, and what followed from it, is again what it was, in the browser too
            changed = [name for name in before if getattr(self, name) is not before[name] or name in sync_data]
            self._trait_values.update({name: before[name] for name in changed})
            self._forget()
            self.send_state(changed)

    def _forget(self) -> None:
        """Drop what is kept beside the traits, after these were put back."""

    # -- the static twin, and the page ------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        found, more = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**found, **bundle_of(self)}, more

    def _ipython_display_(self) -> None:
        """Show the explorer and, in an output of its own, the twin.

        JupyterLab draws the widget of an output that has one, also when its kernel is gone: an error then. The twin is seen instead, and
        hidden while the explorer is live.
        """
        if not in_notebook():
            print(repr(self))
            return
        view: Any = super()._repr_mimebundle_() or {}
        found = view[0] if isinstance(view, tuple) else view
        display({**found, "text/plain": "Interactive in JupyterLab; below is how it began."}, raw=True)
        twin = bundle_of(self)
        display({**twin, "text/html": f"{HIDDEN_WHILE_LIVE}{twin['text/html']}"}, raw=True)

    def _repr_html_(self) -> str:
        return bundle_of(self)["text/html"]

    def __repr__(self) -> str:
        chosen = f", {len(self.selected)} selected" if self.selected else ""
        return f"{type(self).__name__}({len(self.sample_ids)} samples{chosen})"

    def page(self) -> str:
        """A page of HTML with the explorer, which works offline and without a kernel."""
        return page(self)

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
    value, name, known = proposal["value"], proposal["trait"].name, list(known)
    if value not in known:
        none, named = " (or '' for none)" if "" in known else "", [k for k in known if k != ""]
        raise ExplorerError(
            f"{name} is {value!r}. Expected one of the {what}{none}: {cut_list(named, 20)}. Set `explorer.{name}` to one of those."
        )
    return str(value)


def within(proposal: Any, least: int, most: int, what: str = "") -> int:
    """The value of a trait, which must lie in a range.

    Raises
    ------
    ExplorerError
        It does not.
    """
    value, name = proposal["value"], proposal["trait"].name
    if not least <= value <= most:
        of = f" ({what})" if what else ""
        raise ExplorerError(
            f"{name} is {value}. Expected {least} to {most}{of}. Set `explorer.{name}` to one of those."
        )
    return int(value)


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
    if is_numeric_column(values):
        return {"name": label, "kind": "numbers", "values": plain(values.to_numpy(float, na_value=np.nan))}
    codes, levels = pd.factorize(values.astype(object), sort=False)
    return {"name": label, "kind": "categories", "values": codes.tolist(), "levels": [str(v) for v in levels]}


def metadata_of(study: Study, ids: pd.Index) -> pd.DataFrame:
    """Metadata of the samples that an explorer shows.

    Raises
    ------
    ExplorerError
        Some of them are not in the study.
    """
    lost = ids[~ids.isin(study.sample_ids)]
    if len(lost):
        raise ExplorerError(
            f"{len(lost)} of {len(ids)} judged samples are not in the study ({cut_list(lost)}). Expected the study that they were judged "
            "on. Give it, or leave `study` out."
        )
    return study.metadata.loc[ids]


def metadata_columns(study: Study, ids: pd.Index) -> list[dict[str, Any]]:
    """The same as the browser takes it."""
    rows = metadata_of(study, ids)
    return [column(rows[name]) for name in rows.columns]


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> Any:
    """Numbers with few digits; rounded all at once."""
    values = values.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.minimum(DIGITS - 1 - np.floor(np.log10(np.abs(values))), 300)  # what is smaller becomes 0
        factor = 10.0 ** np.where(np.isfinite(places), places, 0)
        found = np.round(values * factor) / factor
    return np.where(np.isfinite(values), found.astype(object), np.array(None)).tolist()
