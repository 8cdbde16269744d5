"""What all explorers share: traits, a static twin, errors that are seen, saving, and a page that works without a kernel.

An explorer is a widget whose state lies in traits, so that what a reader clicks a script can read and set. It draws itself in the
browser from `data`, with JavaScript that ships here and loads nothing. Viewers without widgets see its twin: figure, sentence, table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import anywidget
import numpy as np
import pandas as pd
import traitlets
from IPython.display import display
from ipywidgets.widgets.trait_types import TypedTuple

from aam_nb.config import UserError, cut_list
from aam_nb.show.widgets.javascript import css, esm
from aam_nb.show.widgets.page import page
from aam_nb.show.widgets.payload import to_json_value
from aam_nb.show.widgets.twin import ExplorerError, Twin, in_notebook, make_bundle
from aam_nb.study.errors import UnknownIdError

HIDDEN_WHILE_LIVE = """<style>
.jp-OutputArea:has(.aam) .jp-OutputArea-child:has(.aam-still) { display: none; }
.jp-OutputArea-child:has(+ .jp-OutputArea-child .aam-still) .jp-OutputArea-output:not(:has(*)) { display: none; }
</style>"""
"""Hides the twin beside a live explorer, and JupyterLab's message for one that lost its kernel."""


class SampleIds(TypedTuple):
    """Ids of samples: any sequence of them, such as the index of a table."""

    def validate(self, obj: Any, value: Any) -> Any:
        """The ids as a tuple."""
        listed = isinstance(value, pd.Index | pd.Series | np.ndarray)
        return super().validate(obj, tuple(map(str, value)) if listed else value)


class Explorer(Twin, anywidget.AnyWidget):
    """A widget that shows a result and lets its reader choose; see `aam.widgets`.

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
                f"samples such as {cut_list(self.sample_ids[:3])}. Set `explorer.selected` to ids from `explorer.sample_ids`."
            )
        return wanted

    # -- what the browser asks --------------------------------------------------------------------------------------------

    @contextmanager
    def _show_errors(self) -> Iterator[None]:
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
        with self._show_errors():
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
        by_type, details = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**by_type, **make_bundle(self)}, details

    def _ipython_display_(self) -> None:
        """Show the explorer and, in an output of its own, the twin.

        JupyterLab draws the widget of an output that has one, also when its kernel is gone: an error then. The twin is seen instead, and
        hidden while the explorer is live.
        """
        if not in_notebook():
            print(repr(self))
            return
        view: Any = super()._repr_mimebundle_() or {}
        by_type = view[0] if isinstance(view, tuple) else view
        display(
            {**by_type, "text/plain": "Interactive in JupyterLab. The figure below shows its first state."}, raw=True
        )
        twin = make_bundle(self)
        display({**twin, "text/html": f"{HIDDEN_WHILE_LIVE}{twin['text/html']}"}, raw=True)

    def _repr_html_(self) -> str:
        return make_bundle(self)["text/html"]

    def __repr__(self) -> str:
        chosen = f", {len(self.selected)} selected" if self.selected else ""
        return f"{type(self).__name__}({len(self.sample_ids)} samples{chosen})"

    def page(self) -> str:
        """A page of HTML with the explorer, which works offline and without a kernel."""
        return page(self)

    def saved_state(self) -> dict[str, Any]:
        """The traits that its JavaScript reads, for a page without a kernel."""
        return {name: to_json_value(getattr(self, name)) for name in ("data", "selected", *self.kept)} | {"error": ""}


def require_known(proposal: Any, choices: Iterable[str], kind: str) -> str:
    """The value proposed for a trait, which must be one of the choices.

    Parameters
    ----------
    proposal
        Of a traitlets validator.
    choices
        What the trait may be; "" among them stands for none.
    kind
        What the choices are, in the plural, for the message.

    Raises
    ------
    ExplorerError
        It is none of them.
    """
    value, name, choices = proposal["value"], proposal["trait"].name, list(choices)
    if value not in choices:
        none, named = " (or '' for none)" if "" in choices else "", [c for c in choices if c != ""]
        raise ExplorerError(
            f"{name} is {value!r}. Expected one of the {kind}{none}: {cut_list(named, 20)}. Set `explorer.{name}` to one of those."
        )
    return str(value)


def require_within(proposal: Any, least: int, most: int, unit: str = "") -> int:
    """The value proposed for a trait, which must lie in a range, both ends included.

    Raises
    ------
    ExplorerError
        It does not.
    """
    value, name = proposal["value"], proposal["trait"].name
    if not least <= value <= most:
        of = f" ({unit})" if unit else ""
        raise ExplorerError(
            f"{name} is {value}. Expected a whole number from {least} to {most:,}{of}. Set `explorer.{name} = "
            f"{min(max(least, value), most)}`."
        )
    return int(value)
