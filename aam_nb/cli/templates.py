"""The notebook templates: where they lie, and flags made from their `parameters` cell."""

from __future__ import annotations

import ast
import dataclasses
import os
from dataclasses import dataclass, field, make_dataclass
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, cast, get_args, get_type_hints

import tyro

from aam_nb.cli.analysis import Compare, Errors, Explain
from aam_nb.cli.args import SplitArgs, TableArgs
from aam_nb.cli.messages import UsageError
from aam_nb.cli.runs import JudgedArgs
from aam_nb.cli.training import Fit, Pretrain
from aam_nb.config import EvaluateConfig, TrainConfig, UnifracConfig, cut_list

SOURCES: dict[str, tuple[type[Any], ...]] = {
    "explore": (TableArgs, SplitArgs, JudgedArgs, UnifracConfig, TrainConfig),
    "pretrain": (Pretrain,),
    "fit": (Fit, EvaluateConfig),
    "explain": (Explain,),
    "errors": (Errors,),
    "compare": (Compare,),
}
"""The templates, and the dataclasses whose fields their parameters are; the first that has a field counts."""
KINDS: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
"""What else a parameter may be annotated with, in a notebook of the user's own."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One line of a `parameters` cell."""

    name: str
    annotation: str
    default: Any
    help: str


def folder_of(name: str) -> Path:
    """Where `notebooks` or `tutorials` lie: in the package, or beside it in a clone.

    Raises
    ------
    UsageError
        In neither.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package / name, package.parent / name):
        if any(place.glob("*.ipynb")):
            return place
    raise UsageError(
        f"There are no {name} beside {package}. Expected them in the package, or in a clone. Install again: `pip install aam-nb`."
    )


def find(name: str) -> Path:
    """The template of that name, or a notebook of the user's own.

    Raises
    ------
    UsageError
        There is none.
    """
    path = Path(name) if name.endswith(".ipynb") else folder_of("notebooks") / f"{name}.ipynb"
    if (name in SOURCES or name.endswith(".ipynb")) and path.is_file():
        return path
    raise UsageError(
        f"{name!r} is not a template. There are {', '.join(SOURCES)}, or a notebook of your own, by its path. See `aam-nb notebook --list`."
    )


def parameters(path: Path) -> list[Parameter]:
    """The lines of a notebook's `parameters` cell.

    Raises
    ------
    UsageError
        The file is no notebook, or has no such cell.
    """
    import papermill

    try:
        found = papermill.inspect_notebook(str(path))
        lines = [
            Parameter(
                name=line["name"],
                annotation=line["inferred_type_name"],
                default=ast.literal_eval(line["default"]),
                help=line["help"],
            )
            for line in found.values()
        ]
    except (ValueError, SyntaxError, KeyError, AttributeError) as error:
        raise UsageError(
            f"{path} cannot be read as a template ({type(error).__name__}: {error}). Expected a notebook whose `parameters` cell has one "
            "plain value a line. Correct it."
        ) from error
    if not lines:
        raise UsageError(
            f"{path} has no parameters. Expected a cell tagged `parameters`, one value a line. Add the tag in JupyterLab."
        )
    return lines


@cache
def fields_of(kind: type[Any]) -> dict[str, tuple[Any, Any]]:
    """Type and default of every field of a dataclass and of those inside it; `MISSING` where there is no default."""
    hints: dict[str, Any] = get_type_hints(kind)
    found: dict[str, tuple[Any, Any]] = {}
    for one in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[one.name]):
            found = fields_of(hints[one.name]) | found
        else:
            make = one.default_factory
            found[one.name] = (hints[one.name], one.default if make is dataclasses.MISSING else make())
    return found


@cache
def known_fields(name: str) -> dict[str, tuple[Any, Any]]:
    """Type and default of every field that a template's parameters may be."""
    found: dict[str, tuple[Any, Any]] = {}
    for kind in SOURCES.get(name) or {k for kinds in SOURCES.values() for k in kinds}:
        found = fields_of(cast("Any", kind)) | found
    if name in SOURCES:
        return found
    return {
        n: (hint, None) for n, (hint, _) in found.items() if is_path(hint)
    }  # a notebook of the user's own: its files are known


def is_path(hint: Any) -> bool:
    """Whether a field names a file or folder."""
    return hint is Path or Path in get_args(hint)


def flags(path: Path) -> type[Any]:
    """A dataclass of flags made from a notebook's `parameters` cell; `out` and `progress` belong to the command."""
    known, made = known_fields(path.stem), []
    for line in parameters(path):
        if line.name == "out":
            continue
        kind, default = known.get(line.name, (KINDS.get(line.annotation, type(line.default)), line.default))
        kind = kind | None if kind is Path and line.default is None else kind
        kind = str | None if kind is NoneType else tuple[str, ...] if kind in (tuple, list) else kind
        told = Annotated[kind, tyro.conf.arg(help=line.help)]  # type: ignore[valid-type]
        if default is dataclasses.MISSING:
            made.append((line.name, told, field()))
        else:
            made.append((line.name, told, field(default_factory=partial(_typed, line.default, kind))))
    made.append(
        ("out", Annotated[Path, tyro.conf.arg(help="Folder for the notebook, its HTML and what it writes.")], field())
    )
    made.append(("progress", Annotated[bool, tyro.conf.arg(help="Show a progress bar.")], field(default=True)))
    return make_dataclass("Flags", made, frozen=True, kw_only=True, namespace={"__doc__": heading(path)})


def _typed(value: Any, kind: Any) -> Any:
    return Path(value) if is_path(kind) and value is not None else value


def heading(path: Path) -> str:
    """The first heading of a notebook."""
    import nbformat

    for cell in nbformat.read(path, as_version=4).cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("#"):
                return line.lstrip("# ").strip()
    return path.stem


def check(name: str, values: dict[str, Any]) -> None:
    """Refuse settings and inputs that cannot be used, before anything runs.

    Raises
    ------
    ConfigError
        A setting is out of range.
    UsageError
        There is no such file.
    """
    for kind in _configs(name):
        settings = {f.name: values[f.name] for f in dataclasses.fields(kind) if f.name in values}
        kind(**settings)
    known = known_fields(name)
    missing = [
        f"--{k.replace('_', '-')} {v}"
        for k, v in values.items()
        if k in known and is_path(known[k][0]) and v and not os.path.exists(v)
    ]
    if missing:
        raise UsageError(f"{cut_list(missing)}: no such file or folder. Expected one that is there. Check the path.")


def _configs(name: str) -> list[type[Any]]:
    """The config dataclasses behind a template, which check their values."""
    found: list[type[Any]] = []

    def look(kind: type[Any]) -> None:
        if hasattr(kind, "__post_init__"):
            found.append(kind)
        hints: dict[str, Any] = get_type_hints(kind)
        for one in dataclasses.fields(kind):
            if dataclasses.is_dataclass(hints[one.name]):
                look(hints[one.name])

    for kind in SOURCES.get(name, ()):
        look(kind)
    return found
