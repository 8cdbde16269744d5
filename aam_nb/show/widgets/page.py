"""Explorers on a page that is opened from disk: the same JavaScript, its traits beside it, and no kernel.

A content security policy lets only this script run, by its hash, and nothing be loaded: what a file says stays text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from markupsafe import Markup

from aam_nb.show.widgets.javascript import build_function, css, kit
from aam_nb.version import __version__


class SavableExplorer(Protocol):
    """What a page needs of an explorer."""

    title: Any
    script: Any

    def saved_state(self) -> dict[str, Any]:
        """Its traits, as JSON has them."""


@dataclass(frozen=True)
class Embedded:
    """Explorers as parts of a page.

    Parameters
    ----------
    style, script
        What goes once into the page: CSS, and JavaScript as the text of a `<script type="module">`.
    policy
        The source that lets the script run, for `script-src` of a content security policy.
    places
        For each explorer, HTML with its data and the place where it is drawn.
    """

    style: Markup
    script: Markup
    policy: str
    places: tuple[Markup, ...]


def embed(explorers: Sequence[SavableExplorer]) -> Embedded:
    """Explorers as parts of a page of HTML."""
    scripts = sorted({e.script for e in explorers})
    drawn = ",\n".join(f"{json.dumps(name)}: {build_function(name)}" for name in scripts)
    script = (
        f"{kit()}\nconst explorers = {{\n{drawn}\n}};\n"
        'for (const place of document.querySelectorAll("[data-explorer]"))\n'
        "  mount(new SavedModel(JSON.parse(place.firstElementChild.textContent)), place, explorers[place.dataset.explorer]);\n"
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Embedded(
        style=Markup(css()), script=Markup(script), policy=f"'sha256-{digest}'", places=tuple(map(_place, explorers))
    )


def page(explorer: SavableExplorer) -> str:
    """A whole page with one explorer."""
    embedded, title = embed([explorer]), html.escape(explorer.title)
    policy = f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {embedded.policy}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 12px; max-width: 1200px; font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181b; color: #e8e8e8; }} }}
{embedded.style}
</style>
</head>
<body>
<h1>{title}</h1>
{embedded.places[0]}
<p><small>aam_nb {__version__}</small></p>
<script type="module">{embedded.script}</script>
</body>
</html>
"""


def _place(explorer: SavableExplorer) -> Markup:
    """Where an explorer is drawn, with its traits as JSON in which nothing can end the script."""
    text = json.dumps(explorer.saved_state(), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(
        f'<div data-explorer="{html.escape(explorer.script)}"><script type="application/json">{text}</script></div>'
    )
