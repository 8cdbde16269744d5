"""Damage done to a valid file, drawn from a seeded generator: bytes, lines and cells, JSON values, HDF5, zip, safetensors, kinds of file.

Each mutator takes the generator, the bytes of a valid file and those of others of its kind; it returns the damaged bytes and what it did.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Damaged = tuple[bytes, str]
Mutator = Callable[[random.Random, bytes, Sequence[bytes]], Damaged]

HOSTILE_IDS = (
    "../x", "/etc/passwd", "..\\x", "a\0b", "a\nb", "a\rb", "a\tb", "x" * 10_000, "\u202eabc", "\ud800", "", " ", "=1+1", "@x", "+x",
    "-x", '"', "'", "a,b", "a;b", "#x", "nan", "NA", "None", "ﬀ", "e\u0301", "\ufeff", "<script>", "{x}", "%s", "$x", "~", "🦠",
    "-inf", "sample_id",
)  # fmt: skip
HOSTILE_NUMBERS = (
    "0", "-1", "1.5", "nan", "inf", "-inf", "1e400", "1e-400", "2147483648", "9223372036854775808", "9" * 40, "9" * 5000, "1,204",
    "1_000", "0x10", "١٢", "1e9", "-0", "+1", " 1 ", "1e3", ".5", "5.", "", "TRUE", "1/2", "1 000", "1.000,5",
)  # fmt: skip
BOMB_MB = 100
"""What a small archive unpacks to: more than is unpacked of one so small."""
SEPARATORS = ("\t", ",", ";", " ", "|", "\n", "\0")


# -- any file -------------------------------------------------------------------------------------------------------------


def flip_bytes(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """One to eight bits."""
    damaged, places = bytearray(raw), []
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        place = rng.randrange(len(damaged))
        damaged[place] ^= 1 << rng.randrange(8)
        places.append(place)
    return bytes(damaged), f"bits flipped at {places}"


def write_over(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """Some bytes replaced by others."""
    place, size = rng.randrange(len(raw)), rng.choice((1, 2, 4, 8, 64))
    new = rng.choice((b"\0" * size, b"\xff" * size, rng.randbytes(size), b"\x80", b"\xc3", b'"', b"\n", b"\r"))
    return raw[:place] + new + raw[place + size :], f"{new[:8]!r} at {place}"


def truncate(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """The end or the beginning is lost."""
    place = rng.randrange(len(raw))
    return (raw[:place], f"cut after {place}") if rng.random() < 0.8 else (raw[place:], f"begun at {place}")


def splice(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """The beginning of one valid file and the end of another."""
    k = rng.randrange(len(others))
    here, there = rng.randrange(len(raw)), rng.randrange(len(others[k]))
    return raw[:here] + others[k][there:], f"spliced at {here} with {there} of file {k}"


def repeat_part(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """A part is there twice, or lost."""
    start = rng.randrange(len(raw))
    stop = min(len(raw), start + rng.choice((1, 2, 8, 64, 512)))
    if rng.random() < 0.5:
        return raw[:start] + raw[stop:], f"{start}:{stop} lost"
    return raw[:stop] + raw[start:stop] * rng.choice((1, 2, 50)) + raw[stop:], f"{start}:{stop} repeated"


# -- text and tables ------------------------------------------------------------------------------------------------------


def change_lines(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """A line lost, doubled, moved, blank, or of another file."""
    lines = raw.split(b"\n")
    k, how = rng.randrange(len(lines)), rng.choice(("lost", "doubled", "moved", "blank", "comment", "foreign"))
    line = lines[k]
    if how == "lost":
        del lines[k]
    elif how == "moved":
        lines.insert(rng.randrange(len(lines)), lines.pop(k))
    else:
        foreign = rng.choice(rng.choice(others).split(b"\n"))
        lines.insert(k, {"doubled": line, "blank": b"", "comment": b"# " + line}.get(how, foreign))
    return b"\n".join(lines), f"line {k} {how}"


def change_cells(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """Cells lost, doubled, swapped, or of hostile numbers and ids."""
    text = raw.decode("utf-8", "surrogateescape")
    separator = max("\t,;", key=text.count)
    rows, done = [line.split(separator) for line in text.split("\n")], []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        row = rng.randrange(len(rows))
        k, how = (
            rng.randrange(len(rows[row])),
            rng.choice(("lost", "doubled", "number", "number", "id", "id", "column")),
        )
        value = rng.choice(HOSTILE_NUMBERS if how == "number" else HOSTILE_IDS)
        if how == "lost":
            del rows[row][k]
        elif how == "doubled":
            rows[row].insert(k, rows[row][k])
        elif how == "column":
            for cells in rows:
                if k < len(cells):
                    cells.insert(k, cells[k]) if rng.random() < 0.9 else cells.pop(k)
        else:
            rows[row][k] = value
        rows = rows or [[""]]
        rows[row] = rows[row] or [""]
        done.append(f"cell {row}:{k} {how} {value[:20]!r}" if how in ("number", "id") else f"cell {row}:{k} {how}")
    text = "\n".join(separator.join(cells) for cells in rows)
    return text.encode("utf-8", "surrogatepass" if "\ud800" in text else "surrogateescape"), "; ".join(done)


def swap_separators(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """Tabs for commas and the like, everywhere or in one line."""
    one, other = (s.encode() for s in rng.sample(SEPARATORS, 2))
    lines = raw.split(b"\n")
    k = rng.randrange(len(lines)) if rng.random() < 0.5 else None
    changed = [line.replace(one, other) if k in (None, n) else line for n, line in enumerate(lines)]
    return b"\n".join(changed), f"{one!r} for {other!r} in line {k}"


def change_encoding(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """Other line ends, a byte-order mark, another encoding, blanks at the ends."""
    how = rng.choice(("crlf", "cr", "bom", "utf-16", "latin-1", "trailing", "no end", "blank lines", "quoted"))
    text = raw.decode("utf-8", "replace")
    done = {
        "crlf": raw.replace(b"\n", b"\r\n"),
        "cr": raw.replace(b"\n", b"\r"),
        "bom": b"\xef\xbb\xbf" + raw,
        "utf-16": text.encode("utf-16"),
        "latin-1": text.replace("a", "é").encode("latin-1", "replace"),
        "trailing": raw.replace(b"\n", b"\t\n"),
        "no end": raw.rstrip(b"\n"),
        "blank lines": raw + b"\n" * 5,
        "quoted": b"\n".join(
            b'"' + line.replace(b"\t", b'"\t"').replace(b",", b'","') + b'"' for line in raw.split(b"\n")
        ),
    }
    return done[how], how


# -- JSON -----------------------------------------------------------------------------------------------------------------


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in _places(inner, (*path, key)))]


def _other_value(rng: random.Random, value: Any) -> Any:
    """A value of another type, or out of all bounds."""
    near: list[Any] = []
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        near = [value + 1, -value, value * 2, value * 1e37, 65536, 0]
    return rng.choice(
        [
            None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, 1e308, float("nan"), float("inf"), -float("inf"), "", "x", "1",
            [], {}, [[]], [None], [value], {"x": value}, [value] * 1000, str(value)[:100], "x" * 10_000, *near, *HOSTILE_IDS[:12],
        ]
    )  # fmt: skip


DEEP = (
    "[" * 3000 + "]" * 3000,
    "[" * 100_000,
    '{"a":' * 5000 + "1" + "}" * 5000,
    "9" * 5000,
    "-" + "9" * 5000,
    "1e999999999",
)
"""Texts of JSON that are deep, long or huge."""


def change_json(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """Values of another type, keys lost, renamed or doubled, nesting without end."""
    try:
        value = json.loads(raw)
    except ValueError:
        return flip_bytes(rng, raw, others)
    done = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 5))):
        *path, last = rng.choice(_places(value)[1:] or [("x",)])
        holder = value
        for key in path:
            holder = holder[key]
        how = rng.choice(
            ("other", "other", "other", "other", "lost", "renamed", "doubled", "deep", "swapped", "shuffled")
        )
        if isinstance(holder, dict) and last not in holder:
            continue
        if how == "lost":
            del holder[last]
        elif how == "renamed" and isinstance(holder, dict):
            holder[rng.choice((*HOSTILE_IDS[:10], str(last) + "_"))] = holder.pop(last)
        elif how == "doubled" and isinstance(holder, list):
            holder.insert(last, holder[last])
        elif how == "swapped":
            *way, end = rng.choice(_places(value)[1:])
            there = value
            for key in way:
                there = there[key]
            holder[last], there[end] = there[end], holder[last]
            if _is_round(value):
                return flip_bytes(rng, raw, others)
        elif how == "shuffled" and isinstance(holder[last], list):
            rng.shuffle(holder[last])
        elif how == "deep":
            text = rng.choice(DEEP)
            holder[last] = "MARK"
            where = f"{'/'.join(map(str, path))}/{last}"
            return json.dumps(value).replace('"MARK"', text, 1).encode(
                "utf-8", "surrogatepass"
            ), f"{where} is {text[:10]}…"
        else:
            holder[last] = _other_value(rng, holder[last])
        shown = repr(holder[last])[:60] if (last in holder if isinstance(holder, dict) else last < len(holder)) else ""
        done.append(f"{'/'.join(map(str, path))}/{last} {how} {shown}")
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1 and isinstance(value, dict) and value:  # a key that is there twice
        key = rng.choice(list(value))
        text = text[:-1] + f", {json.dumps(key)}: {json.dumps(_other_value(rng, value[key]))}}}"
        done.append(f"{key} twice")
    return text.encode("utf-8", "surrogatepass"), "; ".join(done)


def _is_round(value: Any) -> bool:
    try:
        json.dumps(value)
    except (ValueError, RecursionError):
        return True
    return False


def other_json(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """JSON of another shape altogether."""
    text = rng.choice(
        ("{}", "[]", "null", "1", '"x"', "[{}]", "NaN", '{"a":1}', "", "{", *DEEP, '{"\\ud800": 1}', '{"a": "\\ud800"}')
    )
    return text.encode(), f"is {text[:12]}"


# -- HDF5 -----------------------------------------------------------------------------------------------------------------


def change_hdf5(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """Values, types, shapes, attributes and links of the datasets."""
    memory = io.BytesIO(raw)
    with h5py.File(memory, "a") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = rng.choice(sorted(names))
        how = rng.choice(
            (
                "value",
                "value",
                "value",
                "lost",
                "type",
                "shorter",
                "longer",
                "scalar",
                "link",
                "loop",
                "attribute",
                "group",
            )
        )
        values = file[name][()]
        if how == "attribute":
            holder = file if rng.random() < 0.7 or not file[name].attrs else file[name]
            key = rng.choice(sorted(holder.attrs) or ["x"])
            holder.attrs[key] = rng.choice((0, -1, 2**40, 1.5, "x", [1, 2], [2**62, 2**62], np.nan))
        elif how == "value" and np.ndim(values) and np.size(values):
            values = np.array(values)
            place = rng.randrange(values.size)
            if values.dtype.kind in "iuf":
                value: Any = rng.choice((-1, 0, 1, 2**31, 1.5, np.nan, np.inf, 10**6, len(values)))
                with np.errstate(all="ignore"):
                    values.flat[place] = np.array(value).astype(values.dtype)
            else:
                values.flat[place] = rng.choice(HOSTILE_IDS).encode("utf-8", "replace").replace(b"\0", b"") or b"x"
            _put(file, name, values)
        elif how == "type":
            _put(file, name, np.zeros(np.shape(values), rng.choice(("f4", "i1", "u8", "S3", "c8", "?", "f2"))))
        elif how in ("shorter", "longer") and np.ndim(values):
            _put(file, name, values[:-1] if how == "shorter" else np.concatenate([values, values[-1:]]))
        else:
            del file[name]
            if how == "scalar":
                file[name] = rng.choice((1, -1, 1.5))
            elif how == "link":
                file[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "nowhere.h5")), "/x")
            elif how == "loop":
                file[name] = h5py.SoftLink("/" + name)
            elif how == "group":
                file.create_group(name)
    return memory.getvalue(), f"{name} {how}"


def _put(file: h5py.File, name: str, values: Any) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = values
    file[name].attrs.update(attributes)


# -- archives -------------------------------------------------------------------------------------------------------------


def change_zip(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """Members lost, doubled, renamed, damaged, or larger than they say."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    k = rng.randrange(len(members))
    name, content = members[k]
    how = rng.choice(("lost", "doubled", "renamed", "damaged", "damaged", "damaged", "empty", "bomb", "many", "stored"))
    if how == "lost":
        del members[k]
    elif how == "doubled":
        members.append((name, truncate(rng, content, [content])[0] if content else b""))
    elif how == "renamed":
        members[k] = (rng.choice(("../../x", "/x", name.upper(), name + "/", "x/metadata.yaml")), content)
    elif how == "damaged" and content:
        members[k] = (name, rng.choice(GENERIC)(rng, content, [content])[0])
    elif how == "empty":
        members[k] = (name, b"")
    elif how == "bomb":
        members[k] = (name, content[:200] + b"0" * (BOMB_MB * 2**20))
    elif how == "many":
        members += [(f"x/{n}", b"") for n in range(200)]
    memory = io.BytesIO()
    packing = zipfile.ZIP_STORED if how == "stored" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(memory, "w", packing) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=packing)
    packed = memory.getvalue()
    if rng.random() < 0.2:  # sizes and checksums in the directory
        packed = flip_bytes(rng, packed, others)[0]
    return packed, f"member {k} {how}"


def change_gzip(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """What is packed, twice packed, or two streams."""
    content = gzip.decompress(raw)
    how = rng.choice(("damaged", "damaged", "twice", "two", "empty", "raw", "bomb"))
    if how == "bomb":
        return gzip.compress(content[:100] + b"0" * (BOMB_MB * 2**20), 1, mtime=0), how
    done = {
        "twice": gzip.compress(raw, mtime=0),
        "two": raw + raw,
        "empty": gzip.compress(b"", mtime=0),
        "raw": zlib.compress(content),
    }
    if how in done:
        return done[how], how
    damaged, what = rng.choice((*GENERIC, *TEXT))(rng, content, [content])
    return gzip.compress(damaged, mtime=0), f"inside {what}"


# -- safetensors ----------------------------------------------------------------------------------------------------------

DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "X", 1)


def change_safetensors(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> Damaged:
    """The header's types, shapes, offsets and names; tensors of another type, huge or not finite."""
    size = struct.unpack("<Q", raw[:8])[0]
    header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    name = rng.choice(sorted(k for k in header if k != "__metadata__"))
    how = rng.choice(
        (
            "dtype",
            "shape",
            "offsets",
            "lost",
            "renamed",
            "json",
            "size",
            "retyped",
            "retyped",
            "values",
            "values",
            "metadata",
        )
    )
    if how == "size":
        return struct.pack("<Q", rng.choice((0, 1, 2**40, 2**63, size + 1, size - 1))) + raw[8:], how
    if how in ("retyped", "values"):
        return _retype(rng, header, body, name, how)
    if how == "dtype":
        header[name]["dtype"] = rng.choice(DTYPES)
    elif how == "shape":
        header[name]["shape"] = rng.choice(
            ([], [0], [-1], [2**40, 2**40], header[name]["shape"][::-1], [1, *header[name]["shape"]], "x")
        )
    elif how == "offsets":
        begin, end = header[name]["data_offsets"]
        header[name]["data_offsets"] = rng.choice(
            ([0, 0], [end, begin], [begin, end + 4], [begin - 4, end], [0, 2**60])
        )
    elif how == "lost":
        del header[name]
    elif how == "renamed":
        header[rng.choice(HOSTILE_IDS[:10])] = header.pop(name)
    elif how == "metadata":
        header["__metadata__"] = rng.choice(({"x": "y"}, {"x": 1}, [], "x"))
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    if how == "json":
        text, _ = change_json(rng, text, [text])
    return struct.pack("<Q", len(text)) + text + body, f"{name} {how}"


NUMPY = {
    "F32": "<f4",
    "F64": "<f8",
    "I64": "<i8",
    "U8": "u1",
    "I32": "<i4",
    "BOOL": "?",
    "F16": "<f2",
    "C64": "<c8",
    "U32": "<u4",
}


def _retype(rng: random.Random, header: dict[str, Any], body: bytes, name: str, how: str) -> Damaged:
    """The file written again, with one tensor (or all) of another type or with other values."""
    arrays = {}
    for key, entry in header.items():
        if key != "__metadata__":
            begin, end = entry["data_offsets"]
            arrays[key] = np.frombuffer(body[begin:end], NUMPY[entry["dtype"]]).reshape(entry["shape"]).copy()
    kinds = {key: entry["dtype"] for key, entry in header.items() if key != "__metadata__"}
    chosen = list(arrays) if rng.random() < 0.3 else [name]
    if how == "retyped":
        to = rng.choice(("F64", "F16", "I64", "I32", "BOOL", "C64", "U8"))
        kinds.update(dict.fromkeys(chosen, to))
        what = f"{len(chosen)} from {name} are {to}"
    else:
        value = rng.choice((1e37, -1e37, np.nan, np.inf, 1e-42, 0.0))
        for key in chosen:
            if arrays[key].dtype.kind == "f" and arrays[key].size:
                with np.errstate(all="ignore"):
                    if rng.random() < 0.5:
                        arrays[key] = arrays[key] * np.float32(value)
                    else:
                        arrays[key].flat[rng.randrange(arrays[key].size)] = value
        what = f"{len(chosen)} from {name} by {value}"
    made, out = {}, b""
    for key, array in arrays.items():
        with np.errstate(all="ignore"):
            packed = array.astype(NUMPY[kinds[key]]).tobytes()
        made[key] = {
            "dtype": kinds[key],
            "shape": list(array.shape),
            "data_offsets": [len(out), len(out) + len(packed)],
        }
        out += packed
    text = json.dumps(made).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + out, what


# -- kinds of file ----------------------------------------------------------------------------------------------------------


def replace_by(rng: random.Random, path: Path) -> str:
    """Put something at a path that is not a file with content."""
    how = rng.choice(("folder", "fifo", "loop", "nowhere", "empty", "nothing", "unreadable", "device", "folder link"))
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "fifo":
        os.mkfifo(path)
    elif how in ("loop", "nowhere", "device", "folder link"):
        path.symlink_to({"loop": path, "nowhere": "nowhere", "device": "/dev/zero", "folder link": "/"}[how])
    elif how != "nothing":
        path.write_bytes(b"" if how == "empty" else b"\0" * 100)
    return f"is {how}"


GENERIC: tuple[Mutator, ...] = (flip_bytes, write_over, truncate, splice, repeat_part)
TEXT: tuple[Mutator, ...] = (change_lines, change_cells, change_cells, change_cells, swap_separators, change_encoding)
JSON: tuple[Mutator, ...] = (change_json, change_json, change_json, change_json, other_json)
HDF: tuple[Mutator, ...] = (change_hdf5, change_hdf5, change_hdf5)
ZIP: tuple[Mutator, ...] = (change_zip, change_zip, change_zip)
GZIP: tuple[Mutator, ...] = (change_gzip, change_gzip)
TENSORS: tuple[Mutator, ...] = (change_safetensors, change_safetensors, change_safetensors)


def mutate(rng: random.Random, raw: bytes, others: Sequence[bytes], mutators: Sequence[Mutator]) -> Damaged:
    """One damage, or sometimes two."""
    done = []
    for _ in range(1 if rng.random() < 0.8 else 2):
        if not raw:
            break
        mutator = rng.choice([*GENERIC, *mutators] if rng.random() < 0.5 or not mutators else list(mutators))
        if done and mutator is change_hdf5:
            mutator = flip_bytes  # the HDF5 library may never end on what the first damage left
        try:
            raw, what = mutator(rng, raw, others)
        except (ValueError, KeyError, TypeError, IndexError, OSError, zipfile.BadZipFile, EOFError, zlib.error, struct.error, RuntimeError,
                RecursionError, AttributeError, NotImplementedError, OverflowError):  # fmt: skip
            raw, what = flip_bytes(rng, raw, others)  # the second damage cannot parse what the first left
        done.append(f"{mutator.__name__}: {what}")
    return raw, " + ".join(done)
