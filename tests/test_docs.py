"""The site's pages speak of what there is: names, commands, flags, files. The build itself is a step of CI (`make docs`)."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import fnmatch
import inspect
import io
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import aam_nb as aam
from aam_nb.cli.program import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MADE = {"reference/commands", "tutorials/*"}
"""Pages that are made when the site is built."""
PAGES = sorted(
    p
    for p in [*DOCS.rglob("*.md"), *DOCS.rglob("*.rst")]
    if not any(fnmatch.fnmatch(str(p.relative_to(DOCS).with_suffix("")), made) for made in MADE)
)
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *PAGES]
THINGS: dict[str, Any] = {"aam": aam, "study": aam.Study, "train": aam.Study, "test": aam.Study, "model": aam.AAM}
"""What a name in an example is."""


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python_of(path: Path) -> list[ast.Module]:
    """The Python of a page, which all parses."""
    return [ast.parse(code) for code in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)]


def resolve(name: str) -> Any:
    """What a dotted name stands for; None where it goes through something that only a run could tell."""
    first, *rest = name.split(".")
    thing = THINGS[first]
    for part in rest:
        if not (isinstance(thing, ModuleType) or inspect.isclass(thing)):
            return None
        fields = getattr(thing, "__dataclass_fields__", {}) if inspect.isclass(thing) else {}
        own = thing is aam.AAM and part in vars(thing())
        assert hasattr(thing, part) or part in fields or own, f"{name}: {thing!r} has no {part}"
        thing = getattr(thing, part, None)
    return thing


def dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else None
    return node.id if isinstance(node, ast.Name) else None


def keywords(thing: Any) -> set[str] | None:
    """What a function may be given by name, the fields of its config included; None where that cannot be known."""
    parameters = inspect.signature(thing).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return set(parameters)
    found = re.search(r"(\w+Config)\b", str(parameters["config"].annotation)) if "config" in parameters else None
    return set(parameters) | {f.name for f in dataclasses.fields(getattr(aam, found[1]))} if found else None


@cache
def help_of(*command: str) -> str:
    """What a command's `--help` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main([*command, "--help"])
    return printed.getvalue()


def test_every_page_is_in_a_toctree() -> None:
    listed = {"index"}
    for path in PAGES:
        for block in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            entries = [line.strip() for line in block.splitlines() if line.strip() and not line.startswith(":")]
            listed |= {str((path.parent / entry).relative_to(DOCS)) for entry in entries}
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in PAGES}
    assert pages <= listed
    assert listed - pages == MADE


@pytest.mark.parametrize("path", PROSE, ids=label)
def test_every_link_leads_to_a_file(path: Path) -> None:
    made = [DOCS / "reference" / "commands.md"]
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    gone = [
        k
        for k in links
        if "://" not in k and not (path.parent / k).exists() and (path.parent / k).resolve() not in made
    ]
    assert not gone


@pytest.mark.parametrize("path", PROSE, ids=label)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    named = re.findall(r"`((?:aam_nb|tests|docs|notebooks|tutorials)/[\w./-]*)`", path.read_text(encoding="utf-8"))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)$", text, re.MULTILINE)[1] == aam.__version__  # type: ignore[index]


@pytest.mark.parametrize("path", PROSE, ids=label)
def test_every_name_exists(path: Path) -> None:
    for name in re.findall(r"(?<![\w./-])aam((?:\.[A-Za-z_]\w*)+)", path.read_text(encoding="utf-8")):
        resolve(f"aam{name}")


@pytest.mark.parametrize("path", PROSE, ids=label)
def test_every_example_is_called_as_it_can_be(path: Path) -> None:
    for code in python_of(path):
        for call in (node for node in ast.walk(code) if isinstance(node, ast.Call)):
            name = dotted(call.func)
            if name and name.split(".")[0] in THINGS and (thing := resolve(name)) is not None:
                known = keywords(thing)
                unknown = {k.arg for k in call.keywords if k.arg} - known if known is not None else set()
                assert not unknown, f"{name} takes no {unknown}"


@pytest.mark.parametrize("path", PROSE, ids=label)
def test_every_command_and_flag_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    in_blocks = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    for line in [*in_blocks, *re.findall(r"`(aam-nb [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))]:
        found = re.match(r"aam-nb ([a-z]+)\b( [a-z]+(?!\.)\b)?(?! *\|)(.*)", line.split("#")[0])
        if not found:
            continue
        verb, template, rest = found[1], (found[2] or "").strip(), found[0]
        assert verb in COMMANDS, line
        command = (verb, template) if verb == "notebook" and template else (verb,)
        told = help_of(*command)
        for flag in re.findall(r"(?<!\S)(--[a-z][\w.-]*)", rest):
            if flag not in ("--help", "--list"):
                assert re.search(rf"{re.escape(flag)}(?![\w.-])", told), f"{line}: {' '.join(command)} has no {flag}"


def test_the_reference_has_every_public_name() -> None:
    pages = "\n".join(p.read_text(encoding="utf-8") for p in (DOCS / "reference").glob("*.rst"))
    names = set(re.findall(r"^   (\w+)$", pages, re.MULTILINE))
    modules = {name for name in aam.__all__ if isinstance(getattr(aam, name), ModuleType)}
    assert {f"aam_nb.{name}" for name in modules} <= set(re.findall(r"\.\. names:: (\S+)", pages))
    assert names == set(aam.__all__) - modules


@pytest.mark.slow
def test_the_page_of_commands_has_every_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    building = pytest.importorskip("building", reason="needs the extra `docs`")
    for section in building.commands().split("\n## aam-nb ")[1:]:
        verb, _, text = section.partition("\n")
        if verb == "notebook":
            continue  # its sections are its templates
        told = set(re.findall(r"^\W (--[a-z][\w.-]*)", help_of(verb), re.MULTILINE))
        listed = set(re.findall(r"^\| `(--[a-z][\w.-]*)`", text, re.MULTILINE))
        for prefix, name in re.findall(r"^- `--([\w.-]*?)\.?FIELD`.*?of `aam\.(\w+)`", text, re.MULTILINE):
            for field in dataclasses.fields(getattr(aam, name)):
                no = "no-" if field.default is True else ""
                listed.add(f"--{prefix + '.' if prefix else ''}{no}{field.name}".replace("_", "-"))
        assert listed == told, verb
