"""The files of a run folder, written and read: safetensors, JSON and CSV only. Nothing that is loaded runs code."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor, nn

from aam_nb.config import UserError, count_noun, to_path, to_utf8
from aam_nb.config.schema import anything, fields
from aam_nb.config.stored import MOST_JSON, StoredFile
from aam_nb.study.atomic import recover_folder, whole_folder
from aam_nb.study.lock import lock_folder
from aam_nb.study.writable import check_writable_folder
from aam_nb.train.digests import SUMS, format_digests, require_digests
from aam_nb.train.run_files import FILES, OWNED, STARTED
from aam_nb.train.run_schema import CHECKS
from aam_nb.train.tensors import TensorFile, describe_differences, kinds_of
from aam_nb.version import __version__

FORMAT_VERSION = 2
"""Raised when a run folder changes so that older code cannot read it."""
PACKAGES = ("torch", "numpy", "pandas", "scikit-bio", "scikit-learn", "accelerate")
PRETRAINED = "pretrained."
"""Before the names of a pre-trained encoder's weights, which are saved beside those of a fitted network."""


class RunError(UserError, ValueError):
    """A folder is not a run, or a damaged one."""


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    return {"aam_nb": __version__, **{name: version(name) for name in PACKAGES}}


def write_run(folder: str | Path, files: dict[str, str], weights: dict[str, Tensor]) -> Path:
    """Write a run folder under a temporary name and rename it; what was there before stays complete until then.

    Parameters
    ----------
    folder
        The folder to make. An earlier run there is replaced, what else lies beside it is kept; any other folder with content is refused.
    files
        Text of each file, by name.
    weights
        Tensors for `model.safetensors`.

    Raises
    ------
    RunError
        The folder holds something that is not a run.
    """
    folder = Path(os.path.realpath(to_path(folder, "a run folder")))  # so that "." has a name and a parent too
    require_free(folder)
    with lock_folder(folder), whole_folder(folder, OWNED) as fresh:
        on_cpu = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
        contents = {name: text.encode() for name, text in files.items()}
        contents["model.safetensors"] = save(on_cpu)  # save_file would make it readable by its owner alone
        contents[SUMS] = format_digests({name: contents[name] for name in FILES})
        for name, content in contents.items():
            (fresh / name).write_bytes(content)
    return folder


def require_free(folder: str | Path, *, unfinished: bool = True) -> None:
    """Refuse a folder that could not be written as a run (`RunError`, `NotWrittenError`), before the work and not after it.

    `unfinished` says whether a folder with the checkpoint of an unfinished training may be written to.
    """
    folder = to_path(folder, "a run folder")
    recover_folder(folder)
    is_run = all((folder / name).is_file() for name in FILES)
    is_started = folder.is_dir() and {p.name for p in folder.iterdir()} <= {*STARTED}
    if folder.is_file() or (folder.is_dir() and not is_run and not is_started):
        raise RunError(
            f"{folder} exists and is not a run folder, so it is left as it is. Expected a new or empty folder, or an earlier run. Choose "
            "another name."
        )
    refuse_links(folder)
    check_writable_folder(os.path.realpath(folder), replaced=True)
    state = stored(folder, "checkpoints/last/state.json")
    if not unfinished and state.exists() and b'"ended": true' not in state.read(MOST_JSON):
        raise RunError(
            f"{folder} holds an unfinished training, and starting again would lose it. Continue it: `resume=True` (`aam-nb resume --run "
            f"{folder}`). Or choose another name, or delete the folder."
        )


def refuse_links(folder: Path) -> None:
    """Refuse (`RunError`) links in what training writes of a run folder: a stranger's would have us replace what they lead to."""
    links = [folder / name for name in STARTED if (folder / name).is_symlink()]
    if not links:
        links = [path for name in STARTED for path in sorted((folder / name).rglob("*")) if path.is_symlink()]
    if links:
        raise RunError(
            f"{links[0]} is a link, and what it leads to would be replaced. Expected the files that training wrote. Remove the link, or "
            "choose another folder."
        )


def stored(folder: str | Path, name: str) -> StoredFile:
    """A file of a run, as it is read."""
    return StoredFile(
        path=to_path(folder, "a run folder") / name, error=RunError, expected="what `model.save(folder)` wrote"
    )


def read_run(folder: str | Path) -> tuple[dict[str, Any], TensorFile]:
    """The JSON files of a run (by name without ending), checked, and its weights, of which only the head was read.

    Raises
    ------
    RunError
        A file is missing, cannot be read, is of a newer format, or does not hold what `aam_nb.train.run_schema` says.
    """
    folder = to_path(folder, "a run folder")
    recover_folder(folder)
    missing = [name for name in FILES if not stored(folder, name).exists()]
    if missing and (folder / "checkpoints").is_dir():
        raise RunError(
            f"{folder} holds an unfinished training. Expected a finished run. Continue it: `aam-nb resume --run {folder}`, or "
            "`model.fit(..., out=..., resume=True)`."
        )
    if missing:
        raise RunError(
            f"{folder} is not a run folder: it has no {', '.join(missing)}. Expected what `model.save(folder)` writes. Check the path."
        )
    version_field = fields({"format_version": anything}, others=anything)
    version = stored(folder, "config.json").read_json(version_field)["format_version"]
    if type(version) is int and 1 <= version < FORMAT_VERSION:
        raise RunError(
            f"{folder} has format version {version}, of an aam_nb before its first release. This one reads {FORMAT_VERSION}. Train again."
        )
    if type(version) is int and version > FORMAT_VERSION:
        raise RunError(
            f"{folder} has format version {version}. This aam_nb reads up to {FORMAT_VERSION}. Upgrade with `pip install -U aam-nb`."
        )
    files = {Path(name).stem: stored(folder, name).read_json(check) for name, check in CHECKS.items()}
    return files, TensorFile.open(stored(folder, "model.safetensors"))


def require_unchanged(folder: str | Path) -> None:
    """Refuse (`RunError`) a run whose files are not those that were saved, where it has digests of them."""
    sums = replace(stored(folder, SUMS), remedy="Restore it from a copy, or delete it to load the run without it.")
    require_digests(sums, FILES)


def load_weights(network: nn.Module, weights: dict[str, Tensor], folder: str | Path) -> None:
    """Put weights into a network, refused (`RunError`) unless names, shapes and types are exactly its own."""
    given = {k: (v.dtype, tuple(v.shape)) for k, v in weights.items()}
    differences = describe_differences(kinds_of(network), given)
    if differences:
        raise RunError(
            f"The weights in {folder} do not fit the model in its config.json, in {count_noun(len(differences), 'place')} "
            f"({'; '.join(differences[:3])}). Restore the folder as it was saved."
        )
    network.load_state_dict(weights)


def digest(module: nn.Module, *also: object) -> str:
    """SHA-256 of a module's weights by name, and of all else (`also`) that its results depend on."""
    sha256 = hashlib.sha256(repr(also).encode())
    for name, tensor in sorted(module.state_dict().items()):
        sha256.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha256.hexdigest()


def as_json(value: Any) -> str:
    """JSON text, indented; numpy numbers become numbers, NaN becomes null."""

    def simplify(x: Any) -> Any:
        if isinstance(x, dict):
            return {to_utf8(str(k)): simplify(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return [simplify(v) for v in x]
        if isinstance(x, np.generic):
            x = x.item()
        if isinstance(x, str):
            return to_utf8(x)
        return None if isinstance(x, float) and not np.isfinite(x) else x

    return json.dumps(simplify(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_read_back(value: Any) -> Any:
    """A value as it is once it was written by `as_json` and read."""
    return json.loads(as_json(value))
