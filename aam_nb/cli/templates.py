"""The notebook templates: where they are, and the flags made from their `parameters` cell."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import keyword
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, cast, get_args, get_type_hints

import tyro

from aam_nb.cli.analysis import Compare, Errors, Explain
from aam_nb.cli.args import SplitArgs, TableArgs
from aam_nb.cli.messages import UsageError
from aam_nb.cli.runs import RunArgs
from aam_nb.cli.training import Fit, Pretrain
from aam_nb.config import EvaluateConfig, TrainConfig, UnifracConfig, UserError, cut_list, cut_repr
from aam_nb.config.stored import MOST_JSON, StoredFile

SOURCES: dict[str, tuple[type[Any], ...]] = {
    "explore": (TableArgs, SplitArgs, RunArgs, UnifracConfig, TrainConfig),
    "pretrain": (Pretrain,),
    "fit": (Fit, EvaluateConfig),
    "explain": (Explain,),
    "errors": (Errors,),
    "compare": (Compare,),
}
"""The templates, and the dataclasses that their parameters are fields of; where several have a field, the first counts."""
KINDS: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
"""Types that a parameter may be annotated with in a notebook of the user."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One line of a `parameters` cell."""

    name: str
    annotation: str
    default: Any
    help: str


def find_folder(name: str) -> Path:
    """The folder `notebooks` or `tutorials`: in the package, or beside it in a clone.

    Raises
    ------
    UsageError
        It is in neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / name, package.parent / name):
        if any(folder.glob("*.ipynb")):
            return folder
    raise UsageError(
        f"There are no {name} in {package} or beside it. Expected them in the package, or in a clone. Install again: `pip install aam-nb`."
    )


def find_template(name: str) -> Path:
    """The template of this name, or a notebook of the user by its path.

    Raises
    ------
    UsageError
        There is no such template or notebook.
    """
    path = Path(name) if name.endswith(".ipynb") else find_folder("notebooks") / f"{name}.ipynb"
    if (name in SOURCES or name.endswith(".ipynb")) and path.is_file():
        return path
    raise UsageError(
        f"{name!r} is not a template. Expected {', '.join(SOURCES)}, or the path of a notebook of yours. See `aam-nb notebook --list`."
    )


def escape_path(path: Path) -> str:
    """A path as papermill takes it: absolute, as it reads `s3://…` from elsewhere, and with braces doubled, as it formats paths."""
    return os.path.abspath(path).replace("{", "{{").replace("}", "}}")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever papermill and nbformat raise of a file that is not a notebook, as one sentence."""
    expected = "a notebook whose `parameters` cell has one simple value on each line"
    file = StoredFile(path=path, error=UsageError, expected=expected, remedy="Correct it.")
    file.parse_json(file.read(MOST_JSON), nan=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except Exception as error:  # they raise errors of many kinds, and of their own
        raise file.damage(f"cannot be read as a template ({type(error).__name__}: {str(error)[:200]})") from error


def read_parameters(path: Path) -> list[Parameter]:
    """The lines of a notebook's `parameters` cell.

    Raises
    ------
    UsageError
        The file is not a notebook, or has no such cell.
    """
    import papermill

    with _told(path):
        inspected = papermill.inspect_notebook(escape_path(path))
        lines = [
            Parameter(
                name=line["name"],
                annotation=line["inferred_type_name"],
                default=ast.literal_eval(line["default"]),
                help=line["help"],
            )
            for line in inspected.values()
        ]
    if not lines:
        raise UsageError(
            f"{path} has no parameters. Expected a cell tagged `parameters`, with one value on each line. Add the tag in JupyterLab."
        )
    for line in lines:
        if not line.name.isidentifier() or keyword.iskeyword(line.name):
            raise UsageError(
                f"{path} has the parameter {cut_repr(line.name, 40)}, which is no name in Python. Expected one such as `folds`. Change the "
                "cell tagged `parameters`."
            )
    return lines


@cache
def collect_fields(kind: type[Any]) -> dict[str, tuple[Any, Any]]:
    """Type and default of every field of a dataclass and of those inside it; `MISSING` where there is no default."""
    hints: dict[str, Any] = get_type_hints(kind)
    fields: dict[str, tuple[Any, Any]] = {}
    for item in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[item.name]):
            fields = collect_fields(hints[item.name]) | fields
        else:
            make = item.default_factory
            fields[item.name] = (hints[item.name], item.default if make is dataclasses.MISSING else make())
    return fields


@cache
def allowed_fields(name: str) -> dict[str, tuple[Any, Any]]:
    """Type and default of every field that the parameters of a template may be."""
    fields: dict[str, tuple[Any, Any]] = {}
    for kind in SOURCES.get(name) or {k for kinds in SOURCES.values() for k in kinds}:
        fields = collect_fields(cast("Any", kind)) | fields
    if name in SOURCES:
        return fields
    # In a notebook of the user only files and folders are recognised.
    return {n: (hint, None) for n, (hint, _) in fields.items() if is_path(hint)}


def is_path(hint: Any) -> bool:
    """Whether a field is a file or folder."""
    return hint is Path or Path in get_args(hint)


def make_flags(path: Path) -> type[Any]:
    """A dataclass of flags made from a notebook's `parameters` cell; `out` and `progress` belong to the command."""
    allowed, made = allowed_fields(path.stem), []
    for line in read_parameters(path):
        if line.name in ("out", "progress"):
            continue
        kind, default = allowed.get(line.name, (KINDS.get(line.annotation, type(line.default)), line.default))
        kind = kind | None if kind is Path and line.default is None else kind
        kind = str | None if kind is NoneType else tuple[str, ...] if kind in (tuple, list) else kind
        annotation = Annotated[kind, tyro.conf.arg(help=line.help)]  # type: ignore[valid-type]
        if default is dataclasses.MISSING:
            made.append((line.name, annotation, field()))
        else:
            made.append((line.name, annotation, field(default_factory=partial(_convert_default, line.default, kind))))
    help_out = "Folder for the notebook, its HTML page and the files that it writes."
    help_progress = "Show a progress bar; --no-progress does not."
    made.append(("out", Annotated[Path, tyro.conf.arg(help=help_out)], field()))
    made.append(("progress", Annotated[bool, tyro.conf.arg(help=help_progress)], field(default=True)))
    return make_dataclass("Flags", made, frozen=True, kw_only=True, namespace={"__doc__": read_heading(path)})


def _convert_default(value: Any, kind: Any) -> Any:
    """The value of a `parameters` cell, as a path where the flag is one."""
    if is_path(kind) and value is not None:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value


def read_heading(path: Path) -> str:
    """The first heading of a notebook."""
    import nbformat

    with _told(path):
        for cell in nbformat.read(path, as_version=4).cells:
            for line in cell.source.splitlines():
                if cell.cell_type == "markdown" and line.startswith("#"):
                    return str(line.lstrip("# ").strip())
    return path.stem


def check_values(name: str, values: dict[str, Any]) -> None:
    """Refuse settings and inputs that cannot be used, before anything runs.

    Raises
    ------
    ConfigError
        A setting is out of range.
    UsageError
        There is no such file.
    """
    for kind in _find_configs(name):
        settings = {f.name: values[f.name] for f in dataclasses.fields(kind) if f.name in values}
        kind(**settings)
    allowed = allowed_fields(name)
    missing = [
        f"--{k.replace('_', '-')} {v}"
        for k, v in values.items()
        if k in allowed and is_path(allowed[k][0]) and v and not os.path.exists(v)
    ]
    if missing:
        raise UsageError(f"{cut_list(missing)}: no such file or folder. Expected one that exists. Check the path.")


def _find_configs(name: str) -> list[type[Any]]:
    """The config dataclasses of a template: those that check their values."""
    configs: list[type[Any]] = []

    def collect(kind: type[Any]) -> None:
        if hasattr(kind, "__post_init__"):
            configs.append(kind)
        hints: dict[str, Any] = get_type_hints(kind)
        for item in dataclasses.fields(kind):
            if dataclasses.is_dataclass(hints[item.name]):
                collect(hints[item.name])

    for kind in SOURCES.get(name, ()):
        collect(kind)
    return configs
