"""The JavaScript and the style of explorers, as they are sent to a notebook or put into a page.

Each folder of `js/` is one text, its files put together by name: `kit` is what all explorers share, the others an explorer each. The files
import and export nothing; one of an explorer's files defines `build(view)`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def _folder(name: str) -> str:
    """The JavaScript of one folder."""
    sources = [f for f in (files("aam_nb.show.widgets") / "js" / name).iterdir() if f.name.endswith(".js")]
    return "\n".join(f.read_text(encoding="utf-8") for f in sorted(sources, key=lambda f: f.name))


def kit() -> str:
    """The JavaScript that all explorers share."""
    return _folder("kit")


def build_function(script: str) -> str:
    """An expression for the `build` function of an explorer's JavaScript, whose other names stay inside."""
    return f"(() => {{\n{_folder(script)}\nreturn build;\n}})()"


@cache
def esm(script: str) -> str:
    """The module that draws one explorer in a notebook."""
    return f"{kit()}\nconst build = {build_function(script)};\nexport default {{ render: ({{ model, el }}) => mount(model, el, build) }};\n"


@cache
def css() -> str:
    """The style of all explorers."""
    return (files("aam_nb.show.widgets") / "js" / "explorer.css").read_text(encoding="utf-8")
