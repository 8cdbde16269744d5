"""The one way in for files of a stranger's folder: what is refused, in one sentence, and what comes back as it was."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aam_nb.config.schema import anything, choice, either, fields, many, mapping, number, optional, text, truth, whole
from aam_nb.config.stored import StoredError, StoredFile

JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not JSON"),
    "cut": (b'{"a": [1, 2', "is not JSON"),
    "not UTF-8": (b'{"a": "\xff"}', "is not JSON .*utf-8"),
    "a surrogate in bytes": (b'{"a": "\xed\xa0\x80"}', "is not JSON .*utf-8"),
    "a lone surrogate": (rb'{"a": "\ud800"}', "is not JSON .*surrogates"),
    "deeper than Python goes": (b'{"a":' + b"[" * 100_000, r"is not JSON \(its values are more than 32 deep\)"),
    "deep and closed": (b"[" * 40 + b"]" * 40, "more than 32 deep"),
    "5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "a number of 5,000 digits"),
    "a long fraction": (b'{"a": 0.' + b"3" * 5000 + b"}", "too large or too long"),
    "a float too large": (b'{"a": 1e999}', "'1e999', which is too large"),
    "NaN": (b'{"a": NaN}', "it has NaN, which JSON does not have"),
    "many keys, one twice": (
        ("{" + ", ".join(f'"k{k}": 1' for k in range(200_000)) + ', "k199999": 1}').encode(),
        "the key 'k199999' more than once",
    ),
    "a key twice": (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' more than once"),
    "many values": (b"[" + b"1," * 5_000_000 + b"1]", "more than 4,194,304 values"),
}


@pytest.mark.parametrize("case", JSON)
def test_json_of_a_stranger_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    content, message = JSON[case]
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(StoredError, match=rf"x\.json {message}|x\.json is not JSON \(.*{message}") as raised:
        StoredFile(path=path).read_json(anything)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {"a": [1, -2.5, True, None, "é\u0000𝄞"], "b": {"c": 2**63, "d": 1e-300}, "": []}
    (tmp_path / "x.json").write_text("\ufeff" + json.dumps(value), encoding="utf-8")
    assert StoredFile(path=tmp_path / "x.json").read_json(anything) == value
    (tmp_path / "x.json").write_text('{"a": NaN, "b": -Infinity}')
    values = StoredFile(path=tmp_path / "x.json").read_json(anything, nan=True)
    assert math.isnan(values["a"])
    assert values["b"] == -math.inf


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


SPECIAL: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe": (os.mkfifo, "is a pipe, not a file"),
    "a link to a pipe": (lambda p: (os.mkfifo(f"{p}.pipe"), p.symlink_to(f"{p}.pipe")), "is a pipe, not a file"),
    "a folder": (Path.mkdir, "is a folder, not a file"),
    "a socket": (make_socket, "is a socket, not a file"),
    "a device": (lambda p: p.symlink_to("/dev/zero"), "is a device, not a file"),
    "a loop of links": (make_loop, "cannot be read"),
    "a link to nothing": (lambda p: p.symlink_to(f"{p}.no"), "cannot be read"),
    "larger than is read": (lambda p: (p.touch(), os.truncate(p, 2**40)), "bytes or more, and at most"),
}


@pytest.mark.skipif(os.name != "posix", reason="kinds of files of Unix")
@pytest.mark.parametrize("case", SPECIAL)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, case: str) -> None:
    make, message = SPECIAL[case]
    make(tmp_path / "x")
    file = StoredFile(path=tmp_path / "x")
    assert file.exists()
    with pytest.raises(StoredError, match=message):
        file.read_json(anything)
    with pytest.raises(StoredError, match=message):
        file.read_table()


TABLES: dict[str, tuple[bytes, str]] = {
    "very many columns": (b"," * 2_000_000 + b"\n", "has 2,000,001 columns; there are 16,384 at most"),
    "too many columns": (",".join(map(str, range(20_000))).encode(), "has 20,000 columns; there are 16,384 at most"),
    "a column twice": (b"a,b,a\n1,2,3\n", "has the column 'a' more than once"),
    "a column lacks": (b"a,c\n1,2\n", "has no column 'b'"),
    "nothing": (b"", "has no column 'b'"),
    "a row too long": (b"b,c\n1,2\n1,2,3\n", "has 3 cells in row 2 under 2 columns"),
    "a row too short": (b"b,c\n1\n", "has 1 cell in row 1 under 2 columns"),
    "an open quote": (b'b,c\n1,"2\n', "is not CSV"),
    "a NUL": (b"b\n\0\n", "is not CSV .it holds a NUL"),
    "not UTF-8": (b"b\n\xff\n", "is not CSV"),
    "an endless cell": (b"b\n" + b"x" * 200_000 + b"\n", "is not CSV .*field limit"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_a_stranger_are_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    content, message = TABLES[case]
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(StoredError, match=message):
        StoredFile(path=tmp_path / "x.csv").read_table(["b"])


def test_cells_come_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b'id,v\r\nNA,0.1\r\n"a,""b\nc",\r\n007,-3e-5\r\n')
    file = StoredFile(path=tmp_path / "x.csv")
    table = file.read_table(["id", "v"])
    assert table["id"].tolist() == ["NA", 'a,"b\nc', "007"]
    numbers = file.numbers(table["v"])
    assert numbers[0] == 0.1
    assert math.isnan(numbers[1])
    assert numbers[2] == -3e-5
    for cell in ("1_000", " 1", "0x10", "1e999", "inf", "١", "-", "1" * 200):
        with pytest.raises(StoredError, match="in column 'v', not a number"):
            file.numbers(table["v"].replace("0.1", cell))


CHECK = fields(
    {"n": whole(1, 9), "kind": choice("a", "b"), "rows": many(fields({"x": optional(number(0))}), least=1)},
    {"on": truth, "ids": many(text(), once=True), "of": mapping(either(truth, whole(0)))},
)
GOOD: dict[str, Any] = {"n": 1, "kind": "a", "rows": [{"x": 2}, {"x": None}]}
MISMATCHES: list[tuple[dict[str, Any], str]] = [
    ({"n": True}, "n is True, not a whole number"),
    ({"n": 1.0}, "n is 1.0, not a whole number"),
    ({"n": 10}, "n is 10, not a whole number at least 1 and at most 9"),
    ({"kind": ["a"]}, r"kind is \['a'\], not one of 'a', 'b'"),
    ({"rows": []}, r"rows is \[\], not a list of at least 1"),
    ({"rows": [{"x": 1}, {"x": -1}]}, r"rows\[1\].x is -1, not null or a number of zero or more"),
    ({"rows": [{}]}, r"rows\[0\] lacks 'x'"),
    ({"rows": {"x": 1}}, "rows is .*, not a list"),
    ({"on": 1}, "on is 1, not true or false"),
    ({"ids": ["a", "b", "a"]}, r"ids\[2\] is 'a', not there once alone"),
    ({"of": {"z": "no"}}, "of.z is 'no', not true or false or a whole number"),
    ({"unknown": 1}, "unknown is 1, not a known key: there are n, kind"),
]


@pytest.mark.parametrize(("change", "message"), MISMATCHES)
def test_a_value_that_does_not_fit_is_named_by_its_keys(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD))
    assert StoredFile(path=path).read_json(CHECK)["rows"][0] == {"x": 2.0}
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(StoredError, match=rf"x\.json cannot be used: {message}.*Expected .*Restore"):
        StoredFile(path=path).read_json(CHECK)
