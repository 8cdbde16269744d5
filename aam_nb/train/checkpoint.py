"""The last checkpoint: all that a training needs to go on as if it had never stopped. Safetensors and JSON: reading runs no code."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from aam_nb.study.atomic import recover_folder, whole_folder
from aam_nb.train.run import RunError, as_json

CHECKPOINT_VERSION = 1
"""Raised when a checkpoint changes so that older code cannot read it."""
LAST = Path("checkpoints") / "last"
"""Where a run folder holds it."""
State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and what goes to JSON."""


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write `folder/checkpoints/last`, whole or not at all; the one before stays until then.

    Raises
    ------
    NotWrittenError
        The place cannot be written to, or is full.
    """
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with whole_folder(folder / LAST) as fresh:
        packed = save(plain)
        (fresh / "state.safetensors").write_bytes(packed)
        known = {"checkpoint_version": CHECKPOINT_VERSION, "sha256": hashlib.sha256(packed).hexdigest()}
        text = as_json(known | values)
        (fresh / "state.json").write_text(text, encoding="utf-8")


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder holds a checkpoint; one that a kill left under its other name is given back first."""
    recover_folder(folder / LAST, own=True)
    return (folder / LAST / "state.json").is_file()


def read_checkpoint(folder: Path) -> State:
    """The tensors and values that `write_checkpoint` wrote.

    Raises
    ------
    RunError
        There is none, it is damaged or of a newer format, or it holds numbers that are not finite.
    """
    if not has_checkpoint(folder):
        raise RunError(
            f"{folder} holds no checkpoint to go on from. Expected {LAST} in it. Start anew without `resume=True` (`aam-nb fit`)."
        )
    path = folder / LAST
    try:
        values = json.loads((path / "state.json").read_text(encoding="utf-8"))
        packed = (path / "state.safetensors").read_bytes()
        tensors, version = load(packed), values["checkpoint_version"]
        if values["sha256"] != hashlib.sha256(packed).hexdigest():
            raise ValueError("state.safetensors is not the one that state.json was written with")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"The checkpoint {path} cannot be read ({error}). Expected what training wrote. Delete it and start anew."
        ) from error
    if not isinstance(version, int) or version > CHECKPOINT_VERSION:
        raise RunError(
            f"The checkpoint {path} has format version {version!r}. This aam_nb reads up to {CHECKPOINT_VERSION}. Upgrade with "
            "`pip install -U aam-nb`."
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise RunError(
                f"{name} in the checkpoint {path} holds NaN or infinity. Expected finite numbers. Delete it and start anew."
            )
    return tensors, values


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under longer names."""
    return {f"{prefix}.{name}": t for name, t in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those under a prefix, without it."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def optimizer_state(optimizer: torch.optim.Optimizer) -> State:
    """Moments as tensors named `INDEX.NAME`, and the settings of the groups."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{index}.{name}"] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Put back what `optimizer_state` gave."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **values["numbers"]}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = [
        {name: tuple(v) if isinstance(v, list) and name == "betas" else v for name, v in group.items()}
        for group in values["groups"]
    ]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, moments in state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameters[index].shape:
                raise ValueError(
                    f"{name} of weight {index} is {tuple(value.shape)}, expected {tuple(parameters[index].shape)}"
                )
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state() -> State:
    """The state of every generator of random numbers: torch's, CUDA's, numpy's, Python's."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{k}": t for k, t in enumerate(torch.cuda.get_rng_state_all())}
    kind, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - users' objectives may draw from it
    tensors["numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    return tensors, {"numpy": [str(kind), int(place), int(has_gauss), float(gauss)], "python": random.getstate()}


def load_random_state(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Put back what `random_state` gave; CUDA's where there are as many devices."""
    torch.set_rng_state(tensors["torch"])
    found = [tensors[f"cuda{k}"] for k in range(sum(name.startswith("cuda") for name in tensors))]
    if found and torch.cuda.is_available() and len(found) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(found)
    kind, place, has_gauss, gauss = values["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), place, has_gauss, gauss))  # noqa: NPY002
    version, keys, gauss_next = values["python"]
    random.setstate((version, tuple(keys), gauss_next))
