"""The JavaScript and the style of explorers, as they are sent to a notebook or put into a page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

KIT = ("pens", "scales", "plot", "charts", "frame")
"""The JavaScript that explorers share, in this order."""


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
