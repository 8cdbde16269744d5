"""The files of a run folder, written and read: safetensors, JSON and CSV only. Nothing that is loaded runs code."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from aam_nb.config import UserError, count_noun
from aam_nb.study.atomic import recover_folder, whole_folder
from aam_nb.version import __version__

FORMAT_VERSION = 2
"""Raised when a run folder changes so that older code cannot read it."""
PACKAGES = ("torch", "numpy", "pandas", "scikit-bio", "scikit-learn", "accelerate")
FILES = ("config.json", "target.json", "splits.json", "model.safetensors")
"""Without these a folder is not a run."""
PRETRAINED = "pretrained."
"""Before the names of a pre-trained encoder's weights, which are saved beside those of a fitted network."""
KEPT = ("checkpoints", "tensorboard")
"""Folders that training writes into a run; saving the run keeps them."""


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
        The folder to make. An earlier run there is replaced; any other folder with content is refused.
    files
        Text of each file, by name.
    weights
        Tensors for `model.safetensors`.

    Raises
    ------
    RunError
        The folder holds something that is not a run.
    """
    folder = Path(folder).resolve()  # so that "." has a name and a parent too
    require_free(folder)
    with whole_folder(folder) as fresh:
        for name, text in files.items():
            (fresh / name).write_text(text, encoding="utf-8")
        on_cpu = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
        (fresh / "model.safetensors").write_bytes(save(on_cpu))  # save_file would make it readable by its owner alone
        for name in KEPT:
            if (folder / name).is_dir():
                shutil.copytree(folder / name, fresh / name)
    return folder


def require_free(folder: str | Path, *, unfinished: bool = True) -> None:
    """Refuse a folder that could not be written as a run (`RunError`), before the work and not after it.

    `unfinished` says whether a folder with the checkpoint of an unfinished training may be written to.
    """
    folder = Path(folder)
    recover_folder(folder.resolve())
    is_run = all((folder / name).is_file() for name in FILES)
    is_started = folder.is_dir() and {p.name for p in folder.iterdir()} <= {*KEPT}
    if folder.is_file() or (folder.is_dir() and not is_run and not is_started):
        raise RunError(
            f"{folder} exists and is not a run folder, so it is left as it is. Expected a new or empty folder, or an earlier run. Choose "
            "another name."
        )
    state = folder / "checkpoints" / "last" / "state.json"
    if not unfinished and state.is_file() and '"ended": true' not in state.read_text(encoding="utf-8"):
        raise RunError(
            f"{folder} holds an unfinished training, and starting again would lose it. Continue it: `resume=True` (`aam-nb resume --run "
            f"{folder}`). Or choose another name, or delete the folder."
        )


def read_run(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON files of a run (by name without ending) and its weights.

    Raises
    ------
    RunError
        A file is missing, cannot be parsed, is of a newer format, or holds weights that are not finite.
    """
    folder = Path(folder)
    recover_folder(folder.resolve())
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing and (folder / "checkpoints").is_dir():
        raise RunError(
            f"{folder} holds an unfinished training. Expected a finished run. Continue it: `aam-nb resume --run {folder}`, or "
            "`model.fit(..., out=..., resume=True)`."
        )
    if missing:
        raise RunError(
            f"{folder} is not a run folder: it has no {', '.join(missing)}. Expected what `model.save(folder)` writes. Check the path."
        )
    files: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            files[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(
                f"{path} is not JSON ({error}). Expected a file that aam_nb wrote. Restore it from a copy."
            ) from error
        if not isinstance(files[path.stem], dict):
            raise RunError(
                f"{path} holds {type(files[path.stem]).__name__}. Expected a JSON object. Restore it from a copy."
            )
    made_by = files["config"].get("format_version")
    if made_by in range(1, FORMAT_VERSION):
        raise RunError(
            f"{folder} has format version {made_by!r}, of an aam_nb before its first release. This one reads {FORMAT_VERSION}. Train again."
        )
    if not isinstance(made_by, int) or made_by > FORMAT_VERSION:
        raise RunError(
            f"{folder} has format version {made_by!r}. This aam_nb reads up to {FORMAT_VERSION}. Upgrade with `pip install -U aam-nb`."
        )
    try:
        weights = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(
            f"{folder / 'model.safetensors'} cannot be read ({error}). Expected a complete safetensors file. Restore it from a copy."
        ) from error
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise RunError(f"Weight {name} in {folder} holds NaN or infinity. Expected finite numbers. Train again.")
    return files, weights


def load_weights(network: nn.Module, weights: dict[str, Tensor], folder: str | Path) -> None:
    """Put weights into a network, refused (`RunError`) unless names and shapes are exactly its own."""
    expected = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    given = {k: tuple(v.shape) for k, v in weights.items()}
    if expected != given:
        differences = [
            f"{k} is {given.get(k, 'absent')}, expected {expected.get(k, 'no such weight')}"
            for k in sorted(expected.keys() | given.keys())
            if expected.get(k) != given.get(k)
        ]
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
            return {str(k): simplify(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return [simplify(v) for v in x]
        if isinstance(x, np.generic):
            x = x.item()
        return None if isinstance(x, float) and not np.isfinite(x) else x

    return json.dumps(simplify(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
