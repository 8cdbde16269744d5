"""The digests that a run folder has of its own files, in the format of the program `sha256sum`: a damaged or exchanged file is noticed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from aam_nb.config import cut_repr
from aam_nb.config.stored import StoredFile

SUMS = "SHA256SUMS"
"""The file of digests. Folders that were saved before there was one, or whose user deleted it, load without."""
MOST_SUMS = 2**16
"""Most bytes of it."""
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
"""A digest and a name, as `sha256sum` writes them."""


def format_digests(contents: Mapping[str, bytes]) -> bytes:
    """What `sha256sum` prints for files of such contents, by name."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items()).encode()


def require_digests(sums: StoredFile, names: Iterable[str]) -> None:
    """Refuse (`sums.error`) files beside a file of digests, if there is one, that are not those that it was made of.

    Parameters
    ----------
    sums
        The file of digests.
    names
        Files that predictions depend on. Lines for other files are not looked at.
    """
    if not sums.exists():
        return
    names = list(names)
    digests = _read_digests(sums)
    for name in names:
        path = sums.path.parent / name
        if name not in digests:
            raise sums.error(
                f"{sums.path} has no digest of {name}. Expected one of each of {', '.join(names)}. {_remedy(sums.path, names)}"
            )
        with StoredFile(path=path, error=sums.error).opened() as file:
            sha256 = hashlib.sha256()
            while piece := file.read(2**20):
                sha256.update(piece)
        digest = sha256.hexdigest()
        if digest != digests[name]:
            raise sums.error(
                f"{path} was changed after the run was saved: its SHA-256 begins with {digest[:8]}. Expected {digests[name][:8]}, as "
                f"{sums.path.name} says. {_remedy(sums.path, names)}"
            )


def _read_digests(sums: StoredFile) -> dict[str, str]:
    try:
        lines = sums.read(MOST_SUMS).decode().splitlines()
    except UnicodeDecodeError as error:
        raise sums.damage(f"is not UTF-8 ({error.reason} at byte {error.start})") from error
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = LINE.fullmatch(line)
        if match is None:
            raise sums.damage(f"has {cut_repr(line, 40)} in line {number}, not a digest and a name")
        if digests.setdefault(match[2], match[1].lower()) != match[1].lower():
            raise sums.damage(f"has two digests of {cut_repr(match[2], 40)}")
    return digests


def _remedy(path: Path, names: Iterable[str]) -> str:
    command = f"sha256sum {' '.join(names)} > {path.name}"
    return f"Restore the folder from a copy. If the change was meant, delete {path.name}, or write it anew in that folder: `{command}`."
