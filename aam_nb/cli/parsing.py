"""Parse the flags of a command, by tyro."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from aam_nb.cli.messages import UsageError
from aam_nb.config import ModelConfig, TargetConfig, TrainConfig, cut_list, cut_repr, from_dict
from aam_nb.config.schema import anything
from aam_nb.config.stored import StoredFile


def parse(kind: type[Any], verb: str, args: Sequence[str]) -> Any:
    """The command of this kind that the flags describe; None after its help was printed.

    Raises
    ------
    UsageError
        With tyro's explanation on one line.
    """
    errors = io.StringIO()
    flat = () if getattr(kind, "prefixed", False) else (tyro.conf.OmitArgPrefixes,)
    settings = (*flat, tyro.conf.FlagCreatePairsOff)
    defaults = read_defaults(kind, args)
    default = {} if defaults is None else {"default": defaults}
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, prog=f"aam-nb {verb}", args=args, config=settings, **default)
    except SystemExit as stop:
        if stop.code in (0, None):
            return None
        lines = [line.strip(" │╭╮╰╯─") for line in errors.getvalue().splitlines()]
        # The first line left is the title of tyro's box.
        message = [
            line
            for line in lines
            if line.strip("-") and not line.startswith(("For full helptext", "aam-nb ", "Argument helptext"))
        ]
        raise UsageError(f"{' '.join(message[1:]).rstrip('.')}. See `aam-nb {verb} --help`.") from None


def read_defaults(kind: type[Any], args: Sequence[str]) -> Any:
    """The defaults of a command from the JSON file that --config names; None without such a file."""
    paths = [args[i + 1] for i, a in enumerate(args[:-1]) if a == "--config"] + [
        a[9:] for a in args if a.startswith("--config=")
    ]
    if not paths or "config" not in getattr(kind, "__dataclass_fields__", {}):
        return None
    path = Path(paths[-1])
    if not os.path.lexists(path):
        raise UsageError(f"{path} is not a file. Expected JSON with objects model and train. Check --config.")
    file = StoredFile(
        path=path,
        error=UsageError,
        expected="JSON with objects model and train",
        remedy="Correct it, or check --config.",
    )
    content = file.read_json(anything)
    kinds = {"model": ModelConfig, "train": TrainConfig} | (
        {"head": TargetConfig} if "head" in kind.__dataclass_fields__ else {}
    )
    unknown = set(content) - kinds.keys() if isinstance(content, dict) else {type(content).__name__}
    no_objects = (
        [] if unknown else [f"{name}: {cut_repr(v, 40)}" for name, v in content.items() if not isinstance(v, dict)]
    )
    if unknown or not all(isinstance(v, dict) for v in content.values()):
        raise UsageError(
            f"{path} holds {cut_list([*sorted(unknown), *no_objects])}. Expected a JSON object with objects model and train. "
            "Correct it."
        )
    with file.told():
        configs: dict[str, Any] = {name: from_dict(kinds[name], values) for name, values in content.items()}
    required = {
        f.name: tyro.MISSING_NONPROP for f in kind.__dataclass_fields__.values() if f.default is f.default_factory
    }
    return kind(**(required | configs))
