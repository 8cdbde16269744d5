"""An executed notebook as one HTML page that opens from disk and loads no other file."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

WIDGET = "application/vnd.jupyter.widget-view+json"
SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
"""What is shown of an output: the first of these that it has. Scripts are never shown."""
WARNING_LINE = re.compile(r"^\S.*?:\d+: \w*(?:Warning|Notice): (.*)\n(?:[ \t]+\S.*\n?)?", re.MULTILINE)
"""A warning as Python prints it, with the line of code that raised it."""


def clean_outputs(notebook: NotebookNode) -> NotebookNode:
    """The notebook without widgets, which need a running kernel (a figure shows the same), and without paths of this machine."""
    notebook.metadata.pop("widgets", None)
    paths = notebook.metadata.get("papermill", {})
    for name in ("input_path", "output_path"):
        if paths.get(name):
            paths[name] = Path(paths[name]).name
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_without_widget(output) for output in cell.outputs if not _is_only_widget(output)]
            for output in cell.outputs:
                if output.output_type == "stream" and output.name == "stderr":
                    output.text = WARNING_LINE.sub(r"WARNING: \1\n", output.text)
    return notebook


def _is_only_widget(output: NotebookNode) -> bool:
    """Whether an output is a widget without a figure, such as a progress bar."""
    data = output.get("data", {})
    return WIDGET in data and set(data) <= {WIDGET, "text/plain"}


def _without_widget(output: NotebookNode) -> NotebookNode:
    output.get("data", {}).pop(WIDGET, None)
    return output


def render_page(notebook: NotebookNode) -> str:
    """The HTML page; its colours are light or dark, as set in the reader's system."""
    from nbconvert.exporters import HTMLExporter
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
    from traitlets.config import Config

    notebook = copy.deepcopy(notebook)
    title = describe_pictures(notebook)
    config = Config()
    config.NbConvertBase.display_data_priority = SHOWN
    config.HTMLExporter.preprocessors = []
    exporter = HTMLExporter(
        config=config,
        template_name="basic",
        template_file=str(Path(__file__).with_name("page.html.j2")),
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    code = {
        "light": HtmlFormatter(style="default").get_style_defs(".highlight"),
        "dark": HtmlFormatter(style="github-dark").get_style_defs(".highlight"),
    }
    text, _ = exporter.from_notebook_node(notebook, resources={"page_title": title, "code": code})
    return text


def describe_pictures(notebook: NotebookNode) -> str:
    """Give each picture the text before it as its description for screen readers; returns the first heading."""
    title, text = "", ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines = cell.source.splitlines()
            headings = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
            title = title or (headings[0] if headings else "")
            body = " ".join(line for line in lines if not line.startswith("#")).strip()
            text = re.sub(r"[*`_]", "", ". ".join([*headings[-1:], body]))[:300]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata["image/png"] = {"alt": text} | dict(output.metadata.get("image/png", {}))
    return title or "Notebook"
