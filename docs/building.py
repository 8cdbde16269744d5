"""What Sphinx is taught for this site: where tutorials lie, how our docstrings are written, and what `name` links to."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import aam_nb as aam

DOCS = Path(__file__).resolve().parent
TUTORIALS = DOCS.parent / "tutorials"
SHORT = {"aam": "aam_nb", "study": "aam_nb.Study", "model": "aam_nb.AAM"}
"""What a name in the prose stands for."""


# -- sources that are made ---------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """Write a file where its text has changed, so that Sphinx reads no page twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def make_sources(app: Sphinx) -> None:
    """Lay the tutorials and the page of commands where Sphinx reads them; git ignores both."""
    shown = DOCS / "tutorials"
    found = {path.name: path for path in sorted(TUTORIALS.glob("[0-9]*.ipynb"))}
    for name, path in found.items():
        write(shown / name, path.read_text(encoding="utf-8"))
    for path in shown.glob("*.ipynb"):
        if path.name not in found:
            path.unlink()
    write(DOCS / "reference" / "commands.md", commands())


def relink(app: Sphinx, name: str, source: list[str]) -> None:
    """Links between pages and tutorials, written for the repository, lead to the same places of the site."""
    if name.startswith("tutorials/"):
        source[0] = source[0].replace("](../docs/", "](../").replace("](../tutorials/", "](")
    else:
        source[0] = re.sub(r"\]\((\.\./)+tutorials/", "](/tutorials/", source[0])


# -- the page of commands ----------------------------------------------------------------------------------------------


def commands() -> str:
    """A section per command with its flags, those of a config dataclass by a link."""
    from aam_nb.cli.program import COMMANDS

    lines = [
        "# Commands",
        "",
        "`aam-nb COMMAND --help` says the same in the terminal. A mistake is one line and exit code 2; `Ctrl-C` gives 130. "
        "Dashes and underscores are the same in a flag's name. What is on without being asked for is turned off by `--no-NAME`.",
        "",
        "| command | what it does |",
        "|---|---|",
        *(f"| [{verb}](#aam-nb-{verb}) | {first_line(kind)} |" for verb, kind in COMMANDS.items()),
        "",
    ]
    for verb, kind in COMMANDS.items():
        lines += [f"## aam-nb {verb}", "", first_line(kind), ""]
        lines += [*(templates() if verb == "notebook" else flags(kind)), ""]
    return "\n".join(lines) + "\n"


def templates() -> Iterator[str]:
    """A section per template, with what its `parameters` cell may be given."""
    from aam_nb.cli import templates as known

    yield "`aam-nb notebook NAME --table … --out DIR`: `--out` is needed, `--no-progress` shows no bar. NAME may also be the path of a "
    yield "notebook of your own whose cell of parameters is tagged `parameters`."
    for name in known.SOURCES:
        path = known.find_template(name)
        yield from (
            "",
            f"### aam-nb notebook {name}",
            "",
            known.read_heading(path) + "",
            "",
            "| flag | what it is |",
            "|---|---|",
        )
        for line in known.read_parameters(path):
            if line.name != "out":
                flag = f"--{line.name}" if line.default is not True else f"--no-{line.name}"
                yield f"| `{flag.replace('_', '-')}` | {flattened(line.help)}{default_of(line.default)} |"


def flags(kind: type[Any]) -> Iterator[str]:
    """A table of a command's flags, and a line for each config dataclass whose fields are flags too."""
    rows, linked = [], []
    for flag in flags_of(kind, "", flat=not getattr(kind, "prefixed", False)):
        if flag.config:
            name = next(iter(dataclasses.fields(flag.kind))).name.replace("_", "-")
            shown = (
                f"`{flag.name}.FIELD`, such as `{flag.name}.{name}`" if flag.name else f"`--FIELD`, such as `--{name}`"
            )
            linked.append(
                f"- {shown}: every field of `aam.{flag.kind.__name__}` ({first_words(first_line(flag.kind))})."
            )
        else:
            rows.append(f"| `{flag.name}` | {flag.value} | {flag.text} |")
    if rows:
        yield from ("| flag | value | what it is |", "|---|---|---|", *rows)
    if linked:
        yield from ("", "And:", "", *linked)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag:
    """A flag of a command, or a config dataclass whose fields are flags."""

    name: str
    kind: Any
    value: str = ""
    text: str = ""
    config: bool = False


def flags_of(kind: type[Any], prefix: str, *, flat: bool) -> Iterator[Flag]:
    """The flags of a dataclass, nested ones in their place; written as tyro writes them."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        marks = [str(m) for m in getattr(hint, "__metadata__", ())]
        hint = hint.__origin__ if marks else hint
        name = f"--{prefix}{field.name}".replace("_", "-")
        if dataclasses.is_dataclass(hint):
            bare = flat or any("OmitArgPrefixes" in m for m in marks)
            inner = "" if bare else f"{prefix}{field.name}."
            if hint.__name__ in aam.__all__:
                yield Flag(name=f"--{inner}".rstrip("-.").replace("_", "-"), kind=hint, config=True)
            else:
                yield from flags_of(hint, inner, flat=bare)
            continue
        name = name.replace("--", "--no-") if field.default is True else name
        name = f"{field.name[:-1].upper()}…" if any("Positional" in m for m in marks) else name
        yield Flag(name=name, kind=hint, value=value_of(hint), text=text_of(kind, field))


def value_of(hint: Any) -> str:
    """What a flag takes: the choices, or the kind."""
    if hint is bool:
        return ""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"{value_of(typing.get_args(hint)[0])} …"
    if typing.get_origin(hint) is dict:
        return " ".join(f"{value_of(part)}" for part in typing.get_args(hint)) + " …"
    inner = [part for part in typing.get_args(hint) if part is not type(None)]
    return value_of(inner[0]) if inner else {str: "text", Path: "path", int: "number", float: "number"}.get(hint, "")


def text_of(kind: type[Any], field: dataclasses.Field[Any]) -> str:
    """A field's docstring, and its default or that it is needed."""
    docs = [
        ModuleAnalyzer.for_module(owner.__module__).find_attr_docs().get((owner.__name__, field.name), [])
        for owner in kind.__mro__
        if dataclasses.is_dataclass(owner)
    ]
    text = flattened("\n".join(next((lines for lines in docs if lines), []))).replace("|", "\\|")
    if field.default is field.default_factory:
        return f"{text} **Needed.**"
    if field.default is True:
        return f"Do not: {text[:1].lower()}{text[1:]}"
    return text + default_of(field.default)


def default_of(value: Any) -> str:
    """A default as it would be typed, where there is one to tell."""
    if value in (None, False, True, "", (), []) or value is dataclasses.MISSING:
        return ""
    if isinstance(value, tuple | list):
        value = " ".join(map(str, value)) if len(value) <= 3 else "all"
    return f" Default `{value}`."


def flattened(text: str) -> str:
    """Text on one line."""
    return " ".join(text.split())


def first_line(thing: Any) -> str:
    """The first line of a docstring."""
    return (thing.__doc__ or "").strip().split("\n")[0]


def first_words(text: str) -> str:
    """A sentence made to stand in brackets."""
    words = text.rstrip(".")
    return words[:1].lower() + words[1:]


# -- the reference -----------------------------------------------------------------------------------------------------


class Names(SphinxDirective):
    """`.. names:: MODULE` and names, one a line: a table of them, then each from its docstring. Without names, all of `__all__`."""

    required_arguments = 1
    has_content = True
    option_spec = {"but": str.split}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        place = self.arguments[0]
        names = [line.strip() for line in self.content if line.strip()]
        if not names:
            left_out = self.options.get("but", [])
            names = [n for n in public(place).__all__ if n not in left_out and not n.isupper()]
        found = {name: getattr(public(place), name) for name in names}
        lines = [".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   ~{place}.{name}" for name in found] + [""]
        for name, thing in found.items():
            lines += described(f"{place}.{name}", thing)
        return self.parse_text_to_nodes("\n".join(lines))


def public(place: str) -> Any:
    """A module, also where it is an attribute of the public face: `aam_nb.plots`."""
    try:
        return import_module(place)
    except ModuleNotFoundError:
        module, name = place.rsplit(".", 1)
        return getattr(import_module(module), name)


def described(path: str, thing: Any) -> list[str]:
    """The directives that describe a name."""
    if dataclasses.is_dataclass(thing) and path.endswith("Config"):
        return settings(path, thing)
    if inspect.isclass(thing):
        members = [] if issubclass(thing, BaseException) else ["   :members:"]
        if path == "aam_nb.Study":  # its data and their sizes are those of StudyBase
            members.append("   :inherited-members:")
        return [f".. autoclass:: {path}", *members, ""]
    if not callable(thing):  # an object, described by its class
        module, _, name = path.rpartition(".")
        return [f".. py:data:: {name}", f"   :module: {module}", "", *indented(inspect.getdoc(thing) or ""), ""]
    return [f".. autofunction:: {path}", ""]


def settings(path: str, kind: type[Any]) -> list[str]:
    """A config dataclass: each field with its type, its default and its docstring, under the headings of the source."""
    docs = ModuleAnalyzer.for_module(kind.__module__).find_attr_docs()
    source = inspect.getsource(kind)
    module, _, name = path.rpartition(".")
    lines = [f".. py:class:: {name}", f"   :module: {module}", f"   :canonical: {kind.__module__}.{kind.__name__}", ""]
    lines += [*indented(inspect.getdoc(kind) or ""), ""]
    for field in dataclasses.fields(kind):
        if heading := re.search(rf"^    # (.+)\n    {field.name}:", source, re.MULTILINE):
            lines += [f"   .. rubric:: {heading[1]}", ""]
        lines += [f"   .. py:attribute:: {field.name}", f"      :type: {readable(str(field.type))}"]
        lines += [f"      :value: {field.default!r}", "      :no-contents-entry:", ""]
        lines += [*indented("\n".join(docs.get((kind.__name__, field.name), [])), 6), ""]
    for name, value in vars(kind).items():
        if not name.startswith("_") and isinstance(value, classmethod):
            lines += [f"   .. automethod:: {path}.{name}", ""]
    return lines


def readable(annotation: str) -> str:
    """A type in short words: the choices of a Literal alone."""
    return re.sub(r"Literal\[([^\]]*)\]", lambda found: found[1].replace(", ", " | "), annotation)


def indented(text: str, by: int = 3) -> list[str]:
    """Lines moved to the right."""
    return textwrap.indent(text.strip("\n"), " " * by).split("\n")


def as_rst(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sections of our docstrings as Sphinx shows them: what is underlined becomes a field, what has an indented text a term."""
    heads = [
        i
        for i in range(len(lines) - 1)
        if lines[i] and re.fullmatch(r"[A-Z]\w+", lines[i]) and re.fullmatch(r"-+", lines[i + 1])
    ]
    made = lines[: heads[0]] if heads else list(lines)
    for start, end in pairwise([*heads, len(lines)]):
        body = "\n".join(lines[start + 2 : end]).strip("\n").split("\n")
        if lines[start] in ("Parameters", "Attributes", "Raises", "Warns"):
            body = [f"``{line}``" if line and not line.startswith(" ") else line for line in body]
        head = "Fields" if lines[start] == "Parameters" and is_result(name, thing) else lines[start]
        made += ["", f":{head}:", *indented("\n".join(body))]
    lines[:] = [*made, ""]


def is_result(name: str, thing: Any) -> bool:
    """Whether it is a dataclass that functions make."""
    return inspect.isclass(thing) and dataclasses.is_dataclass(thing) and name not in ("aam_nb.Study", "aam_nb.Recipe")


def short_signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    """Results are made by functions: how one is put together is left out. So is `-> None`."""
    if what == "class":
        return ("" if is_result(name, thing) else arguments), None
    return (arguments, None) if returned == "None" else None


# -- code in the prose that is a name of ours --------------------------------------------------------------------------


def link_code(app: Sphinx, tree: nodes.document, page: str) -> None:
    """`aam.NAME(...)` and the like, in prose and docstrings, lead to the reference."""
    known = objects(app)
    for code in list(tree.findall(nodes.literal)):
        if code.children and not isinstance(code.parent, nodes.reference | nodes.title):
            found = re.fullmatch(r"([\w.]+)(\(.*\))?", code.astext(), re.DOTALL)
            target = full_name(found[1], known) if found else None
            if target and target not in within(code):
                entry = known[target]
                where = app.builder.get_relative_uri(page, entry.docname)
                link = nodes.reference("", "", internal=True, refuri=f"{where}#{entry.node_id}", reftitle=target)
                code.replace_self(link)
                link += code


def refuse_remote(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """A page that would load something from elsewhere is a warning, and so an error."""
    files = [str(getattr(f, "filename", f)) for f in (*context.get("script_files", ()), *context.get("css_files", ()))]
    files += re.findall(r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=["']([^"']+)""", context.get("body", ""))
    for name in files:
        if re.match(r"(https?:)?//", name):
            logging.getLogger(__name__).warning("%s is loaded from elsewhere", name, location=page)


def within(code: nodes.Node) -> set[str]:
    """The objects whose description a piece of code stands in: no link to where one is."""
    found, node = set(), code.parent
    while node is not None:
        if node.tagname == "desc":
            found |= set(node[0].get("ids", []))
        node = node.parent
    return found


@cache
def objects(app: Sphinx) -> dict[str, Any]:
    """Every name in the reference."""
    return dict(app.env.get_domain("py").objects)


def full_name(name: str, known: dict[str, Any]) -> str | None:
    """The name in the reference that a short one stands for."""
    first, _, rest = name.partition(".")
    spelled = [f"{SHORT[first]}.{rest}"] if first in SHORT else [f"aam_nb.{name}", f"aam_nb.explain.{name}", name]
    if first[:1].islower() and not rest and first not in SHORT:
        return None  # `errors`, `compare` and the like are words too
    return next((s for s in spelled if s in known), None)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", make_sources)
    app.connect("source-read", relink)
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("autodoc-process-signature", short_signature)
    app.connect("doctree-resolved", link_code)
    app.connect("html-page-context", refuse_remote, priority=900)
    app.add_directive("names", Names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
