"""Files as they come: plain, gzipped, or packed in a QIIME 2 artifact. Readers see a plain file and its name for messages."""

from __future__ import annotations

import gzip
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from aam_nb.config import UserError, to_path
from aam_nb.study.errors import FormatError
from aam_nb.study.readers.file_kinds import recognise_zip, refuse_foreign

MOST_BYTES = 8 * 2**30
"""Most bytes that one packed file may unpack to."""
MOST_RATIO = 500
"""Most bytes unpacked for each packed one, beyond the first `FREE_BYTES`; real tables stay below, and a bomb nears 1,032."""
FREE_BYTES = 64 * 2**20
MOST_MEMBERS = 10_000
"""Most files in an archive."""
GZIP, ZIP, HDF5 = b"\x1f\x8b", b"PK", b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Source:
    """A plain file to read from.

    Parameters
    ----------
    path
        The file on disk; unpacked into a temporary folder where the user's file was packed.
    name
        What messages call it: the user's path, and for an artifact the file in it.
    kind
        Semantic type of a QIIME 2 artifact, such as "FeatureTable[Frequency]"; empty for any other file.
    """

    path: Path
    name: str
    kind: str = ""

    def text(self) -> str:
        """The file as UTF-8 text, without a byte-order mark, lines ended by a line feed.

        Raises
        ------
        FormatError
            The file is empty or not UTF-8.
        """
        raw = self.path.read_bytes()
        if not raw.strip():
            raise FormatError(f"{self.name} is empty ({len(raw)} bytes, all blank). Expected text. Export it again.")
        try:
            text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise FormatError(
                f"{self.name} is not UTF-8 text: byte 0x{raw[error.start]:02x} in line {line}. It seems to be Latin-1, as spreadsheets "
                "write. Save it as UTF-8, or convert it: `iconv -f latin1 -t utf-8 FILE > NEW`."
            ) from error
        if not text.strip():
            raise FormatError(f"{self.name} is empty (a byte-order mark alone). Expected text. Export it again.")
        return text


@contextmanager
def unpacked(path: str | Path, what: str) -> Iterator[Source]:
    """A user's file, gunzipped or taken out of its artifact if need be, for as long as the block lasts.

    Parameters
    ----------
    path
        The user's file.
    what
        What it should be, for messages: "a feature table".

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FormatError
        It is empty, damaged, of a kind that no reader reads (see `file_kinds`), or unpacks to more than is sane.
    """
    path = to_path(path, what)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file. Expected {what}. Check the path.")
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise FormatError(f"{path} is empty (0 bytes). Expected {what}. Copy or export it again.")
    if not start.startswith((GZIP, ZIP)):
        refuse_foreign(path, str(path), what)
        yield Source(path, str(path))
        return
    with tempfile.TemporaryDirectory(prefix="aam_nb-") as folder:
        unpack = _gunzip if start.startswith(GZIP) else _take_out
        yield unpack(path, Path(folder), what)


@dataclass(frozen=True)
class Artifact:
    """What a QIIME 2 artifact says of itself.

    Parameters
    ----------
    kind
        Semantic type, such as "FeatureTable[Frequency]".
    payload
        Name in the archive of the file that holds its data.
    """

    kind: str
    payload: str


PAYLOADS = {
    "FeatureTable[Frequency]": "feature-table.biom",
    "FeatureData[Sequence]": "dna-sequences.fasta",
    "FeatureData[Taxonomy]": "taxonomy.tsv",
    "Phylogeny[Rooted]": "tree.nwk",
    "Phylogeny[Unrooted]": "tree.nwk",
}
"""The artifacts that are read, and the file of each that holds its data."""


def artifact(archive: zipfile.ZipFile, name: str) -> Artifact:
    """What a zip file says of itself as a QIIME 2 artifact.

    Raises
    ------
    FormatError
        It is no artifact, or one of a type that is not read.
    """
    members = archive.namelist()
    if len(members) > MOST_MEMBERS:
        raise FormatError(
            f"{name} holds {len(members)} files. Expected a QIIME 2 artifact, which has a few dozen. Check where it comes from."
        )
    kind_of_zip = recognise_zip(members)
    if kind_of_zip is not None:
        raise FormatError(f"{name} is {kind_of_zip.name}. Expected text, or a QIIME 2 artifact. {kind_of_zip.instead}")
    described = [m for m in members if re.fullmatch(r"[^/]+/metadata\.yaml", m)]
    if len(described) != 1:
        raise FormatError(
            f"{name} is a zip file but not a QIIME 2 artifact: {len(described)} of its {len(members)} files are its metadata.yaml. "
            "Expected a `.qza`. Unzip it and give the file inside."
        )
    with archive.open(described[0]) as file:
        text = file.read(65536).decode("utf-8", "replace")
    type_line = re.search(r"^type:\s*['\"]?(.*?)['\"]?\s*$", text, re.MULTILINE)
    kind = type_line[1] if type_line else "no type"
    base = re.sub(r" % Properties.*", "", kind)  # `FeatureData[Taxonomy] % Properties(...)` is one too
    payload = f"{described[0].split('/')[0]}/data/{PAYLOADS.get(base, '')}"
    if base not in PAYLOADS or payload not in members:
        kind = kind[:60]
        what = f"of type {kind}" if base not in PAYLOADS else f"of type {kind} without {PAYLOADS[base]}"
        raise FormatError(
            f"{name} is a QIIME 2 artifact {what}. Expected one of {', '.join(PAYLOADS)}. Export that one from QIIME 2; counts, not "
            "relative frequencies, and sequences that are not aligned."
        )
    return Artifact(base, payload)


def _take_out(path: Path, folder: Path, what: str) -> Source:
    """The data file of an artifact, unpacked into `folder` under a name of ours."""
    with _damage(path, "a whole zip file"), zipfile.ZipFile(path) as archive:
        member = artifact(archive, str(path))
        with archive.open(member.payload) as packed:
            inside = _copy(packed, folder / "payload", archive.getinfo(member.payload).compress_size, str(path))
    name = f"{path} ({PAYLOADS[member.kind]})"
    if not inside.stat().st_size:
        raise FormatError(f"{name} is empty (0 bytes). Expected {what}. Export it again.")
    return Source(inside, name, member.kind)


def _gunzip(path: Path, folder: Path, what: str) -> Source:
    with _damage(path, "a whole gzip file"), gzip.open(path) as packed:
        inside = _copy(cast(IO[bytes], packed), folder / "payload", path.stat().st_size, str(path))
    if not inside.stat().st_size:
        raise FormatError(f"{path} is empty once unpacked (0 bytes). Expected {what}. Copy or export it again.")
    with inside.open("rb") as file:
        if file.read(2) in (GZIP, ZIP):
            raise FormatError(
                f"{path} is packed twice. Expected {what}, packed once or not at all. Unpack it once: `gunzip`."
            )
    refuse_foreign(inside, f"{path}, unpacked,", what)
    return Source(inside, str(path))


def _copy(packed: IO[bytes], to: Path, packed_size: int, name: str) -> Path:
    """Unpack in pieces, and stop where the limits are reached."""
    limit = min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * packed_size))
    written = 0
    with to.open("wb") as file:
        while piece := packed.read(2**20):
            written += len(piece)
            if written > limit:
                raise FormatError(
                    f"{name} unpacks to more than {limit / 2**20:,.0f} MiB from {packed_size:,} packed bytes. Expected at most "
                    f"{MOST_RATIO} times as much, and {MOST_BYTES / 2**30:.0f} GiB. If it is sound, unpack it yourself and give the file."
                )
            file.write(piece)
    return to


def first_line(error: Exception) -> str:
    """What an error of another library says, cut to a line; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _damage(path: Path, expected: str) -> Iterator[None]:
    """What damaged archives raise, as a FormatError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise FormatError(
            f"{path} cannot be unpacked ({first_line(error)}). Expected {expected}. It may be truncated: copy or export it again."
        ) from error
