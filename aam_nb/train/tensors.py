"""Tensors in a safetensors file of a stranger: names, types and shapes are read from its head and compared before memory is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from aam_nb.config import cut_list
from aam_nb.config.messages import count_noun
from aam_nb.config.schema import Mismatch, fields, many, mapping, text, whole
from aam_nb.config.stored import MOST_JSON, StoredFile

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of a number of each type that torch and this package use, by its name in the file."""
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
HEAD = fields(
    {},
    {"__metadata__": mapping(text())},
    others=fields(
        {
            "dtype": text("the name of a type", "[A-Z0-9_]{1,20}"),
            "shape": many(whole(0), most=16),
            "data_offsets": many(whole(0), least=2, most=2),
        }
    ),
)
Kind = tuple[torch.dtype | str, tuple[int, ...]]
"""Type and shape of a tensor; the type is its name in the file where it is none of `TYPES`."""


@dataclass(frozen=True)
class TensorFile:
    """A safetensors file whose head was read and found sound.

    Parameters
    ----------
    stored
        The file.
    kinds
        Type and shape of each tensor, by name.
    """

    stored: StoredFile
    kinds: Mapping[str, Kind]
    size: int = field(repr=False)

    @classmethod
    def open(cls, stored: StoredFile) -> TensorFile:
        """Read the head of a file.

        Raises
        ------
        stored.error
            It is not a regular file, has no sound head, or is longer or shorter than that says.
        """
        try:
            head, size = _read_head(stored)
            entries = HEAD(head)
            entries.pop("__metadata__", None)
            end = 0
            for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
                start, stop = entry["data_offsets"]
                num_bytes = BYTES.get(entry["dtype"])
                num_bytes = stop - start if num_bytes is None else num_bytes * prod(entry["shape"])
                if start != end or stop - start != num_bytes:
                    raise Mismatch(f"from byte {end} to {end + num_bytes}", [start, stop], (name, "data_offsets"))
                end = stop
            if end != size:
                raise ValueError(f"its tensors take {end:,} bytes, and it has {size:,}")
        except stored.error:
            raise
        except (ValueError, OSError) as error:
            raise stored.damage(f"cannot be read ({error})") from error
        kinds: dict[str, Kind] = {
            name: (TYPES.get(e["dtype"], e["dtype"]), tuple(e["shape"])) for name, e in entries.items()
        }
        return cls(stored, kinds, size)

    def load(self) -> dict[str, Tensor]:
        """All tensors.

        Raises
        ------
        stored.error
            They cannot be read, or hold numbers that are not finite.
        """
        try:
            tensors = load(self.stored.read(self.size + MOST_JSON))
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            if isinstance(error, self.stored.error):
                raise
            raise self.stored.damage(f"cannot be read ({error})") from error
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise self.stored.damage(f"holds NaN or infinity in {cut_list([name])}")
        return tensors

    def digest(self) -> str:
        """SHA-256 of the whole file."""
        return hashlib.sha256(self.stored.read(self.size + MOST_JSON)).hexdigest()

    def require(self, expected: Mapping[str, Kind], *, place: str, remedy: str) -> None:
        """Refuse tensors (`stored.error`) whose names, shapes and types are not exactly those expected."""
        differences = describe_differences(expected, self.kinds)
        if differences:
            raise self.stored.error(
                f"The weights in {self.stored.path} do not fit {place}, in {count_noun(len(differences), 'place')} "
                f"({'; '.join(differences[:3])}). {remedy}"
            )


def describe_differences(expected: Mapping[str, Kind], given: Mapping[str, Kind]) -> list[str]:
    """What differs between two sets of names, types and shapes, a text for each tensor."""
    texts = []
    for name in sorted(expected.keys() | given.keys()):
        if name not in given:
            texts.append(f"{cut_list([name])} is absent, expected {expected[name][1]}")
        elif name not in expected:
            texts.append(f"{cut_list([name])} is {given[name][1]}, expected no such weight")
        elif expected[name][1] != given[name][1]:
            texts.append(f"{cut_list([name])} is {given[name][1]}, expected {expected[name][1]}")
        elif expected[name][0] != given[name][0]:
            types = [str(kind[name][0]).removeprefix("torch.") for kind in (given, expected)]
            texts.append(f"{cut_list([name])} is of type {types[0]}, expected {types[1]}")
    return texts


def kinds_of(module: nn.Module) -> dict[str, Kind]:
    """Type and shape of each tensor that a module saves, by name."""
    return {name: (t.dtype, tuple(t.shape)) for name, t in module.state_dict().items()}


def _read_head(stored: StoredFile) -> tuple[Any, int]:
    """The JSON at a safetensors file's beginning, and how many bytes follow it."""
    with stored.opened() as file:
        first = file.read(8)
        length = int.from_bytes(first, "little")
        if len(first) < 8 or not 2 <= length <= MOST_JSON:
            raise ValueError("it does not begin as a safetensors file does")
        data = file.read(length)
        if len(data) < length:
            raise ValueError("it ends before its tensors begin")
        size = file.seek(0, 2) - 8 - length
    return stored.parse_json(data), size
