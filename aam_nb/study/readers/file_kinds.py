"""What a file is that no reader reads: workbooks, R objects, pictures, web pages, archives. Known by its bytes, never by its name."""

from __future__ import annotations

import bz2
import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from aam_nb.study.errors import FormatError

AS_TEXT = "Save the sheet as tab-separated text or CSV, in UTF-8, and give that."
FROM_R = "Write it from R: `write.table(x, 'file.tsv', sep = '\\t', quote = FALSE, col.names = NA)`."
UNPACK = "Unpack it, and give the file inside."
DOWNLOAD = "Download the file itself (on GitHub: the button Raw)."
START = 4096
"""Bytes of a file that are looked at first."""


@dataclass(frozen=True)
class FileKind:
    """A kind of file that is not read.

    Parameters
    ----------
    name
        What a message calls it, with an article where it takes one: "an old Excel workbook (.xls)".
    instead
        The sentence that says what to do.
    """

    name: str
    instead: str


PICTURE = "Give the data that it was drawn from, as text."
STARTS = {
    b"%PDF": FileKind("a PDF", "Export the table that it was printed from, as tab-separated text."),
    b"{\\rtf": FileKind("a text document (.rtf)", "Save it as plain text, in UTF-8."),
    b"\x89PNG\r\n\x1a\n": FileKind("a picture (PNG)", PICTURE),
    b"\xff\xd8\xff": FileKind("a picture (JPEG)", PICTURE),
    b"GIF8": FileKind("a picture (GIF)", PICTURE),
    b"II*\0": FileKind("a picture (TIFF)", PICTURE),
    b"MM\0*": FileKind("a picture (TIFF)", PICTURE),
    b"BZh": FileKind("packed by bzip2", "Unpack it (`bunzip2 FILE`), and give the file inside; gzip is read as it is."),
    b"\xfd7zXZ\0": FileKind("packed by xz", "Unpack it (`unxz FILE`), and give the file inside; gzip is read as it is."),
    b"\x28\xb5\x2f\xfd": FileKind("packed by zstd", "Unpack it (`unzstd FILE`); gzip is read as it is."),
    b"7z\xbc\xaf\x27\x1c": FileKind("a 7z archive", UNPACK),
    b"Rar!\x1a\x07": FileKind("a RAR archive", UNPACK),
    b"SQLite format 3\0": FileKind("an SQLite database", "Export the table from it as CSV."),
    b"PAR1": FileKind("a Parquet table", "Write it as text, with pandas: `pandas.read_parquet(…).to_csv('file.csv')`."),
    b"ARROW1": FileKind("a Feather table", "Write it as text, with pandas: `pandas.read_feather(…).to_csv('file.csv')`."),
    b"FEA1": FileKind("a Feather table", "Write it as text, with pandas: `pandas.read_feather(…).to_csv('file.csv')`."),
    b"\x93NUMPY": FileKind("a NumPy array (.npy)", "It has no names of samples and features: write a table with them, as TSV."),
    b"MATLAB 5.0": FileKind("a MATLAB file", "Write the table from MATLAB: `writetable(T, 'file.csv')`."),
    b"$FL2": FileKind("an SPSS file", "Save it from SPSS as CSV."),
    b"<stata_dta>": FileKind("a Stata file", "Save it from Stata as CSV: `export delimited`."),
    b"BAM\1": FileKind("alignments (BAM)", "Give the feature table made of the reads."),
    b"ABIF": FileKind("a trace of a sequencer", "Give the feature table made of the reads."),
    b".sff": FileKind("raw reads (SFF)", "Denoise them first, for example with DADA2, and give the feature table."),
    b"\x7fELF": FileKind("a program", "Check the path."),
    b"\0\5\x16\7": FileKind("the hidden companion of a file that macOS writes (._)", "Give the file of the same name without `._`."),
    b"version https://git-lfs": FileKind("a pointer of Git LFS", "Fetch the file itself: `git lfs pull`."),
}  # fmt: skip
"""Kinds by their first bytes."""
R_DATA = (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"RDB2\n", b"RDB3\n")
R_OBJECT = re.compile(rb"(?:X\n\0\0\0[\2\3]|B\n[\2\3]\0\0\0|A\n[23]\n\d+\n)")
PICKLE = re.compile(rb"\x80[\2-\5](?:[\x8a-\x95}\](c]|X)")
PAGE = re.compile(rb"(?:<!--.*?-->\s*)*<(?:!doctype|html|head|body|table|meta|script|div)\b", re.IGNORECASE | re.DOTALL)
LOST = re.compile(rb"(?:404[: ]|not found\b|error 40\d|access denied|<error>)", re.IGNORECASE)
"""What a server answers in place of a file."""
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
OLD_STREAMS = {
    "EncryptedPackage": FileKind("a workbook locked by a password", "Unlock it. " + AS_TEXT),
    "WordDocument": FileKind("a Word document (.doc)", "Copy its table into a spreadsheet. " + AS_TEXT),
    "PowerPoint Document": FileKind("a PowerPoint file (.ppt)", "Copy its table into a spreadsheet. " + AS_TEXT),
}
"""Files of old Office programs other than workbooks, by a name within."""
ZIPPED = {
    "xl/workbook.xml": FileKind("an Excel workbook (.xlsx)", AS_TEXT),
    "xl/workbook.bin": FileKind("an Excel workbook (.xlsb)", AS_TEXT),
    "word/document.xml": FileKind("a Word document (.docx)", "Copy its table into a spreadsheet. " + AS_TEXT),
    "ppt/presentation.xml": FileKind("a PowerPoint file (.pptx)", "Copy its table into a spreadsheet. " + AS_TEXT),
    "content.xml": FileKind("an OpenDocument file (.ods, .odt)", AS_TEXT),
    "Index/Document.iwa": FileKind("a workbook of Apple Numbers", "Export it as CSV, in UTF-8, and give that."),
    "data.pkl": FileKind("a file of PyTorch", "Give a feature table."),
}
"""Kinds of zip files by a file in them."""


def refuse_foreign(path: Path, name: str, what: str) -> None:
    """Refuse a file (`FormatError`) that is known to be of a kind that no reader reads.

    Parameters
    ----------
    path
        The plain file: unpacked, where the user's was gzipped.
    name
        What messages call it.
    what
        What it should be, for messages: "a feature table".
    """
    kind = recognise(path)
    if kind is not None:
        raise FormatError(f"{name} is {kind.name}. Expected {what}. {kind.instead}")


def recognise(path: Path) -> FileKind | None:
    """The kind of a file that no reader reads; None where a reader may read it, or say what is wrong with it."""
    with path.open("rb") as file:
        start = file.read(START)
        in_r = _in_r(start) or _in_packed_r(start)
        if in_r:
            return in_r
        kind = next((kind for begin, kind in STARTS.items() if start.startswith(begin)), None)
        if kind is not None:
            return kind
        if start.startswith(OLD_OFFICE):
            return _old_office(start + file.read(2**20))
        if start and not start.strip(b"\0"):
            return FileKind("NUL bytes from its start", "It was not copied whole: copy or download it again.")
    if start[257:262] == b"ustar":
        return FileKind("a tar archive", UNPACK)
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return FileKind("a picture (WebP)", PICTURE)
    if PICKLE.match(start):
        return FileKind(
            "a Python pickle",
            "It could run code, and is not read. Write the table as TSV: `frame.to_csv('file.tsv', sep='\\t')`.",
        )
    if start.startswith(b"\0\1\0\0Standard"):
        return FileKind("an Access database", "Export the table from it as CSV.")
    return _marked_up(start) or _wide_text(start)


def recognise_zip(members: list[str]) -> FileKind | None:
    """The kind of a zip file that is no QIIME 2 artifact, by the names of the files in it."""
    for member, kind in ZIPPED.items():
        if any(m == member or (m.endswith("/data.pkl") and member == "data.pkl") for m in members):
            return kind
    if members and all(m.endswith(".npy") for m in members):
        return FileKind(
            "NumPy arrays (.npz)", "They have no names of samples and features: write a table with them, as TSV."
        )
    return None


def _in_r(start: bytes) -> FileKind | None:
    if start.startswith(R_DATA):
        return FileKind("objects of R (.RData)", FROM_R.replace("Write it", "Load it and write the table"))
    if R_OBJECT.match(start):
        return FileKind("an object of R (.rds)", FROM_R)
    return None


def _in_packed_r(start: bytes) -> FileKind | None:
    """R packs its objects by bzip2 or xz on request, beside gzip."""
    for begin, open_stream in ((b"BZh", bz2.BZ2Decompressor), (b"\xfd7zXZ\0", lzma.LZMADecompressor)):
        if start.startswith(begin):
            try:
                return _in_r(open_stream().decompress(start, 64))
            except (OSError, lzma.LZMAError, EOFError, ValueError):
                return None
    return None


def _old_office(start: bytes) -> FileKind:
    for stream, kind in OLD_STREAMS.items():
        if stream.encode("utf-16-le") in start:
            return kind
    return FileKind("an old Excel workbook (.xls)", AS_TEXT)


def _marked_up(start: bytes) -> FileKind | None:
    """Web pages, and XML of spreadsheets and pictures."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if PAGE.match(text):
        return FileKind(
            "a web page (HTML)",
            f"{DOWNLOAD} A table saved as a web page: open it in a spreadsheet, and save it as text.",
        )
    if text.startswith((b"<?xml", b"<svg")):
        if b"<svg" in text:
            return FileKind("a picture (SVG)", PICTURE)
        if b"Excel.Sheet" in text or b"office:spreadsheet" in text:
            return FileKind("an Excel workbook in XML", AS_TEXT)
        if b"<html" in text.lower():
            return FileKind("a web page (HTML)", DOWNLOAD)
        return FileKind("XML", "Export the table as tab-separated text.")
    if len(start) < 400 and LOST.match(text):
        return FileKind(
            f"the answer of a server ({text[:40].decode('utf-8', 'replace').splitlines()[0]!r})",
            "Check the link, and download the file again.",
        )
    if text.startswith(b"{") and re.match(rb'\{\s*"(?:cells|nbformat|metadata)"\s*:', text) and b'"cells"' in text:
        return FileKind("a Jupyter notebook", "Give the table that it writes.")
    return None


def _wide_text(start: bytes) -> FileKind | None:
    """Text in UTF-16 or UTF-32, as Excel's "Unicode text" is, with a mark or without."""
    for mark, name in (
        (b"\xff\xfe\0\0", "utf-32"),
        (b"\0\0\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if start.startswith(mark):
            return _wide(name)
    even, odd = start[0:512:2], start[1:512:2]
    for zeros, letters, name in ((odd, even, "utf-16le"), (even, odd, "utf-16be")):
        if len(zeros) >= 4 and zeros.count(0) > 0.9 * len(zeros) and letters.count(0) < 0.1 * len(letters):
            return _wide(name)
    return None


def _wide(name: str) -> FileKind:
    return FileKind(
        f"not UTF-8 text but {name.upper()[:6]}",
        f"Save it as UTF-8, or convert it: `iconv -f {name} -t utf-8 FILE > NEW`.",
    )
