"""Files of kinds that no reader reads, whatever they are called. Their bytes are written by the programs of each kind, or by hand."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

import aam_nb as aam
from aam_nb.config import UserError
from aam_nb.study.errors import FormatError
from aam_nb.study.info import what_is
from aam_nb.study.readers.file_kinds import recognise

TABLE = "#OTU ID\ts1\ts2\nACGTACGTAC\t1\t2\nACGTACGTAG\t3\t4\n"
RDS = b"X\n\0\0\0\3\0\4\1\2\0\3\5\0\0\0\0\5UTF-8\0\0\0\x10"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)


def zipped(*members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member in members:
            archive.writestr(member, "x")
    return out.getvalue()


def saved_array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.ones(3))
    return out.getvalue()


KINDS: dict[str, tuple[bytes, str]] = {
    "xls": (OLE + "Workbook".encode("utf-16-le"), r"an old Excel workbook \(\.xls\)\. .*tab-separated text or CSV"),
    "doc": (OLE + "WordDocument".encode("utf-16-le"), r"a Word document \(\.doc\)"),
    "locked": (OLE + "EncryptedPackage".encode("utf-16-le"), r"a workbook locked by a password"),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), r"an Excel workbook \(\.xlsx\)"),
    "docx": (zipped("[Content_Types].xml", "word/document.xml"), r"a Word document \(\.docx\)"),
    "ods": (zipped("mimetype", "content.xml"), r"an OpenDocument file"),
    "npz": (zipped("a.npy", "b.npy"), r"NumPy arrays \(\.npz\)"),
    "rds": (gzip.compress(RDS), r"an object of R \(\.rds\)\. .*write\.table"),
    "rds by hand": (RDS, r"an object of R \(\.rds\)"),
    "rds in xz": (lzma.compress(RDS), r"an object of R \(\.rds\)"),
    "rds in bzip2": (bz2.compress(RDS), r"an object of R \(\.rds\)"),
    "rds as text": (b"A\n3\n262402\n197888\n", r"an object of R \(\.rds\)"),
    "RData": (gzip.compress(b"RDX3\n" + RDS), r"objects of R \(\.RData\)"),
    "a table in bzip2": (bz2.compress(TABLE.encode()), r"packed by bzip2.*bunzip2"),
    "a table in xz": (lzma.compress(TABLE.encode()), r"packed by xz"),
    "packed twice": (gzip.compress(gzip.compress(TABLE.encode())), r"packed twice"),
    "a picture in gzip": (gzip.compress(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), r"a picture \(PNG\)"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF\0", r"a picture \(JPEG\)"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>', r"a picture \(SVG\)"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", r"a PDF"),
    "RTF": (b"{\\rtf1\\ansi\n}", r"a text document \(\.rtf\)"),
    "HTML": (b"\n<!DOCTYPE html>\n<html><body>OTU</body></html>", r"a web page \(HTML\).*the button Raw"),
    "HTML table": (b"<table><tr><td>#OTU ID</td></tr></table>", r"a web page \(HTML\)"),
    "XML of Excel": (b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook/>', r"an Excel workbook in XML"),
    "404": (b"404: Not Found", r"the answer of a server \('404: Not Found'\)"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n", r"a pointer of Git LFS.*git lfs pull"),
    "notebook": (b'{\n "cells": [],\n "metadata": {}}', r"a Jupyter notebook"),
    "SQLite": (b"SQLite format 3\0\x10\0", r"an SQLite database"),
    "Parquet": (b"PAR1\x15\x04", r"a Parquet table"),
    "npy": (saved_array(), r"a NumPy array"),
    "pickle": (pickle.dumps({"a": 1}), r"a Python pickle\."),
    "NUL": (bytes(2000), r"NUL bytes from its start.*copied whole"),
    "UTF-16": (TABLE.encode("utf-16"), r"not UTF-8 text but UTF-16.*iconv -f utf-16 "),
    "UTF-16 without a mark": (TABLE.encode("utf-16-le"), r"not UTF-8 text but UTF-16.*iconv -f utf-16le "),
    "UTF-16 of the other order": (TABLE.encode("utf-16-be"), r"not UTF-8 text but UTF-16.*iconv -f utf-16be "),
    "UTF-32": (TABLE.encode("utf-32"), r"not UTF-8 text but UTF-32"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_named_by_every_reader(kind: str, tmp_path: Path) -> None:
    content, said = KINDS[kind]
    (tmp_path / "file.tsv").write_bytes(content)
    (tmp_path / "table.tsv").write_text(TABLE)
    for argument in ("table", "metadata", "taxonomy", "sequences", "tree"):
        files = {"table": tmp_path / "table.tsv"} | {argument: tmp_path / "file.tsv"}
        with pytest.raises(FormatError, match=said) as error:
            aam.read_study(**files)  # type: ignore[arg-type]
        assert "file.tsv" in str(error.value)
    with pytest.raises(UserError, match=said):
        what_is(tmp_path / "file.tsv")


@pytest.mark.parametrize(
    "text", [TABLE, "id\tph\na\t1\n", "<5\tx\n", "XXXX\t1\n", ">a\nACGT\n", "404\tx\n", "A\n3 x\n", "(a:1,b:2);"]
)
def test_text_that_may_be_read_is_no_kind_of_those(text: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(text)
    assert recognise(tmp_path / "x") is None
