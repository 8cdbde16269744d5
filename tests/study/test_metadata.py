"""Metadata files. The oracles are scikit-bio's reader of QIIME 2's dialect, pandas, and values worked out by hand."""

from __future__ import annotations

import gzip
import math
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aam_nb.config import UserError
from aam_nb.study.errors import FormatError
from aam_nb.study.readers.archives import Source
from aam_nb.study.readers.columns import MISSING, MetadataError, convert_cells, guess
from aam_nb.study.readers.metadata import _parse, parse_metadata, read_metadata, write_metadata

REUSED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def read(text: str | bytes, folder: Path, **options: Any) -> pd.DataFrame:
    path = folder / "metadata.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_metadata(path, **options)


def notes(text: str, folder: Path, **options: Any) -> list[str]:
    path = folder / "metadata.tsv"
    path.write_text(text)
    return parse_metadata(Source(path, str(path)), **options)[1]


# -- the dialect ------------------------------------------------------------------------------------------------------

QIIME2 = (
    "# made by hand\n"
    "\n"
    "sample-id\tph\tplate\tsite\t note \n"
    "#q2:types\tnumeric\tcategorical\t\t\n"
    "# a comment below the header\n"
    '0012\t6.5\t1\tlake\t"say ""a"""\n'
    " s2 \t\t2\t sea \t\n"
    "\t\t\t\t\n"
    "# a comment among the rows\n"
    's3\t-1e3\t3\tlake\t"two\nlines"\n'
)


def test_qiime2s_dialect_is_read_as_scikit_bio_reads_it(tmp_path: Path) -> None:
    from skbio.metadata import SampleMetadata

    ours = read(QIIME2, tmp_path)
    theirs = SampleMetadata.load(str(tmp_path / "metadata.tsv")).to_dataframe()
    assert list(ours.index) == list(theirs.index) == ["0012", "s2", "s3"]
    assert list(ours.columns) == list(theirs.columns) == ["ph", "plate", "site", "note"]
    for column in ours:
        assert [None if pd.isna(v) else v for v in ours[column]] == [None if pd.isna(v) else v for v in theirs[column]]
        assert pd.api.types.is_numeric_dtype(ours[column]) == pd.api.types.is_numeric_dtype(theirs[column])


@pytest.mark.parametrize(
    "header",
    [
        *("id", "sampleid", "Sample ID", "sample-id", "#SampleID", "#Sample ID", "#OTUID", "#OTU ID", "sample_name"),
        *("feature-id", "sample_id", "Sample", "#NAME", "anything"),
    ],
)
def test_every_name_of_the_id_column_is_read(header: str, tmp_path: Path) -> None:
    frame = read(f"{header}\tph\n0012\t7\n13\t8\n", tmp_path)
    assert frame.index.tolist() == ["0012", "13"]
    assert frame.index.name == "sample_id"
    assert frame["ph"].tolist() == [7, 8]


def test_what_is_skipped_is_told(tmp_path: Path) -> None:
    told = " | ".join(notes(QIIME2, tmp_path))
    assert "skipped 3 comment lines (first: line 1, '# made by hand')" in told
    assert "skipped 2 blank lines" in told
    assert "types of 2 metadata columns from the file's own row" in told
    assert "2 metadata values are missing (2 empty): 1 of ph, 1 of note" in told


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a byte-order mark"])
@pytest.mark.parametrize("separator", ["\t", ","], ids=["TSV", "CSV"])
def test_line_ends_and_byte_order_marks_do_not_matter(end: str, mark: str, separator: str, tmp_path: Path) -> None:
    lines = ["id,x,n", "a,0,u", "b,0.5,v", "c,-0.25,w"]
    frame = read(mark + end.join(lines).replace(",", separator) + end, tmp_path)
    assert frame.reset_index().to_dict("list") == {
        "sample_id": ["a", "b", "c"],
        "x": [0, 0.5, -0.25],
        "n": ["u", "v", "w"],
    }


def test_csv_has_quoted_fields(tmp_path: Path) -> None:
    frame = read('"id", "place",note\ns1,"Lima, Peru","first\nsecond, ""third"""\ns2,Cusco,\n', tmp_path)
    assert frame.loc["s1"].tolist() == ["Lima, Peru", 'first\nsecond, "third"']
    assert frame.loc["s2", "place"] == "Cusco"
    assert pd.isna(frame.loc["s2", "note"])


def test_a_gzipped_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.tsv.gz").write_bytes(gzip.compress(b"id\tph\na\t7\n"))
    assert read_metadata(tmp_path / "m.tsv.gz")["ph"].tolist() == [7]


def test_rs_row_names_are_ids(tmp_path: Path) -> None:
    text = '"","ph","site"\n"s1",7.1,"a"\n"s2",6,"b"\n'  # write.csv(frame)
    frame = read(text, tmp_path)
    assert frame.index.tolist() == ["s1", "s2"]
    assert frame["ph"].tolist() == [7.1, 6]
    assert "took the sample ids from the first column, which has no name" in notes(text, tmp_path)


def test_spreadsheets_leave_empty_fields_at_the_ends(tmp_path: Path) -> None:
    frame = read("id\tph\t\t\na\t7\t\t\nb\t8\n", tmp_path)
    assert frame.columns.tolist() == ["ph"]
    assert frame["ph"].tolist() == [7, 8]


AWKWARD = [
    "<script>alert(1)</script>",
    "a'b",
    "x" * 10_000,
    "größe 日本",
    "a;b|c",
    "10317.000003639",
    "1e5",
    "TRUE",
    "NA",
]


def test_ids_are_read_as_they_are(tmp_path: Path) -> None:
    frame = read("id\tx\n" + "".join(f"{i}\t1\n" for i in AWKWARD), tmp_path)
    assert frame.index.tolist() == AWKWARD


# -- types of columns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["6.5", "3", "NA"], [6.5, 3.0, None]),
        (["1", "-2", "+3"], [1, -2, 3]),
        ([".5", "1.", "1e-300", "2E5"], [0.5, 1.0, 1e-300, 2e5]),
        (["0", "0.0", "-0.25"], [0.0, 0.0, -0.25]),
        (["20180126", "20170513", "not_available"], [20180126.0, 20170513.0, None]),
        (["2016-02-23", "2016-03-15", ""], [datetime(2016, 2, 23), datetime(2016, 3, 15), None]),
        (["2016-02-23 10:00", "2016-02-23T10:00:30", "2016-02-24"], None),
        (["007", "12", "1"], ["007", "12", "1"]),
        (["1", "x", "2"], ["1", "x", "2"]),
        (["True", "false", "TRUE"], ["True", "false", "TRUE"]),
        (["inf", "1", "2"], ["inf", "1", "2"]),
        (["1e999", "1", "2"], ["1e999", "1", "2"]),
        (["0x10", "1_000", "١٢"], ["0x10", "1_000", "١٢"]),
        (["1234567890123456", "1", "2"], ["1234567890123456", "1", "2"]),
        (["26/01/2018", "27/01/2018", "28/01/2018"], ["26/01/2018", "27/01/2018", "28/01/2018"]),
        (["2016-02-30", "2016-02-23", "2016-02-24"], ["2016-02-30", "2016-02-23", "2016-02-24"]),
        (["7,5", "6,1", "8"], ["7,5", "6,1", "8"]),
        (["", "NA", "nan"], [None, None, None]),
    ],
)
def test_what_a_column_holds(words: list[str], values: list[Any] | None, tmp_path: Path) -> None:
    column = read("id\tx\ty\n" + "".join(f"s{i}\t{w}\t1\n" for i, w in enumerate(words)), tmp_path)["x"]
    if values is None:
        values = [datetime(2016, 2, 23, 10), datetime(2016, 2, 23, 10, 0, 30), datetime(2016, 2, 24)]
    assert [None if pd.isna(v) else v for v in column] == values
    assert (
        type(column.dropna().tolist()[0]) is (pd.Timestamp if isinstance(values[0], datetime) else type(values[0]))
        if any(v is not None for v in values)
        else True
    )


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15) + 1, 10**15 - 1), min_size=1))
def test_numbers_are_exact(values: list[float]) -> None:
    index = pd.Index([str(i) for i in range(len(values))])
    words = [repr(v) for v in values]
    assert guess(words)[0] == "numeric"
    column = convert_cells(words, index, "numeric", "x", "file")
    assert column.tolist() == values
    assert column.dtype == (np.int64 if all(isinstance(v, int) for v in values) else np.float64)


@pytest.mark.parametrize("word", [*sorted(MISSING), "Not applicable", "Missing: Not collected", "NULL", "not_provided"])
def test_words_for_missing(word: str, tmp_path: Path) -> None:
    frame = read(f"id\tph\tsite\tday\na\t7\tlake\t2020-01-02\nb\t{word}\t{word}\t{word}\n", tmp_path)
    assert frame.loc["b"].isna().all()
    assert frame.loc["a"].tolist() == [7, "lake", pd.Timestamp(2020, 1, 2)]


def test_none_and_unknown_are_answers_not_missing(tmp_path: Path) -> None:
    assert read("id\tdrug\na\tNone\nb\tunknown\n", tmp_path)["drug"].tolist() == ["None", "unknown"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["1", "2", "3", "4", "<0.5"], "column 'x' is text: 1 of 5 known values are no numbers ('<0.5')"),
        (["7,5", "6,1", "8"], "column 'x' is text: its numbers have decimal commas ('6,1', '7,5')"),
        (["007", "1", "2"], "column 'x' is text: as numbers its values would lose digits ('007')"),
        (["2020-01-02"] * 9 + ["2020-02-30"], "column 'x' is text: 1 of 10 known values are no dates ('2020-02-30')"),
    ],
)
def test_a_column_that_is_surprisingly_text_is_told(words: list[str], said: str, tmp_path: Path) -> None:
    text = "id\tx\n" + "".join(f"s{i}\t{w}\n" for i, w in enumerate(words))
    assert said in notes(text, tmp_path)
    assert notes(text, tmp_path, types={"x": "categorical"}) == []


def test_long_numbers_are_numbers_where_asked_for(tmp_path: Path) -> None:
    frame = read(f"id\tx\ty\na\t9223372036854775808\t{'9' * 300}\n", tmp_path, types={"x": "numeric", "y": "numeric"})
    assert frame.loc["a"].tolist() == [2.0**63, 1e300]


def test_types_override_the_file_and_the_file_overrides_the_guess(tmp_path: Path) -> None:
    text = "id\ta\tb\tc\n#q2:types\tCategorical\tcategorical\t\nx\t1\t1\t01\ny\t2\tNA\t2\n"
    frame = read(text, tmp_path, types={"b": "numeric", "c": "numeric"})
    assert frame["a"].tolist() == ["1", "2"]
    assert frame["b"].tolist()[0] == 1.0
    assert math.isnan(frame["b"].tolist()[1])
    assert frame["c"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "words",
    [
        ["20180126", "20170513"],
        ["2018/01/26", "2017/05/13"],
        ["2018-01-26", "2017-05-13"],
        ["26/01/2018", "13/05/2017"],
        ["1/26/2018", "5/13/2017"],
        ["26.1.2018", "13.5.2017"],
        ["26-Jan-2018", "13 May 2017"],
        ["26 January 2018", "13-may-2017"],
    ],
)
def test_dates_that_are_asked_for(words: list[str], tmp_path: Path) -> None:
    frame = read(f"id\tx\na\t{words[0]}\nb\t\nc\t{words[1]}\n", tmp_path, types={"x": "date"})
    assert frame["x"].dropna().tolist() == [pd.Timestamp(2018, 1, 26), pd.Timestamp(2017, 5, 13)]
    assert frame["x"].isna().tolist() == [False, True, False]


def test_dates_may_have_times(tmp_path: Path) -> None:
    frame = read("id\tx\na\t26/01/2018 9:05\nb\t2018-01-27T10:00Z\n", tmp_path, types={"x": "date"})
    assert frame["x"].tolist() == [pd.Timestamp(2018, 1, 26, 9, 5), pd.Timestamp(2018, 1, 27, 10)]


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["7", "high"], "numeric", r"'x' of .*metadata\.tsv is said to be numeric, but holds 'high' in s1\. .*types="),
        (["7", "inf"], "numeric", r"'inf' in s1"),
        (
            ["2018", "2018-05"],
            "date",
            r"said to be date, but holds '2018' in s0, '2018-05' in s1\. Expected dates such",
        ),
        (["2018-02-30", ""], "date", r"'2018-02-30' in s0"),
        (["1/26/18", ""], "date", r"'1/26/18' in s0"),
        (
            ["01/02/2018", "03/04/2018"],
            "date",
            r"01/02/2018, 03/04/2018: day and month could stand either way.*2016-02-23",
        ),
        (["26/02/2018", "03/14/2018"], "date", r"in some the day and in others the month comes first"),
        (["1", "2"], "number", r"The type of column 'x' is 'number'\. Expected numeric, categorical or date"),
    ],
)
def test_a_type_that_does_not_fit_is_refused(words: list[str], kind: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=said):
        read("id\tx\n" + "".join(f"s{i}\t{w}\n" for i, w in enumerate(words)), tmp_path, types={"x": kind})


SEMICOLONS = {
    "with commas in a name": "id;site, x;ph\n0012;Lima, Peru;7\nb;Cusco;8\n",
    "quoted": '"id";"site, x";"ph"\n"0012";"Lima, Peru";7\n"b";"Cusco";8\n',
    "with a blank behind": 'id; "site, x"; ph\n0012; "Lima, Peru"; 7\nb; Cusco; 8\n',
    "with commas in quotes": '"id";"site, x";"ph"\n"0012";"Lima, Peru";"7"\n"b";"Cusco";"8"\n',
    "#SampleID": "#SampleID;site, x;ph\n0012;Lima, Peru;7\nb;Cusco;8\n",
    "a type": "# made in Excel\nid;site, x;ph\n#q2:types;categorical;numeric\n0012;Lima, Peru;7\nb;Cusco;8\n",
}


@pytest.mark.parametrize("case", SEMICOLONS)
def test_semicolons_separate_where_the_header_has_more_of_them_than_commas(case: str, tmp_path: Path) -> None:
    frame = read(SEMICOLONS[case], tmp_path)
    assert frame.index.tolist() == ["0012", "b"]
    assert frame["site, x"].tolist() == ["Lima, Peru", "Cusco"]
    assert frame["ph"].tolist() == [7, 8]


def test_decimal_commas_between_semicolons_stay_text_and_are_told(tmp_path: Path) -> None:
    text = "#SampleID;ph;temperature\na;7,1;8,25\nb;6,0;9\n"
    assert read(text, tmp_path)["ph"].tolist() == ["7,1", "6,0"]
    assert notes(text, tmp_path) == [
        "column 'ph' is text: its numbers have decimal commas ('6,0', '7,1')",
        "column 'temperature' is text: its numbers have decimal commas ('8,25')",
    ]


def test_semicolons_within_values_do_not_separate(tmp_path: Path) -> None:
    assert read("id\ta;b;c\ts1\nx\t1;2\t3\n", tmp_path)["a;b;c"].tolist() == ["1;2"]
    assert read('id,"a;b;c"\nx,1;2;3\n', tmp_path)["a;b;c"].tolist() == ["1;2;3"]


@pytest.mark.parametrize("name", ["y", "id"])
def test_a_type_for_no_column_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        MetadataError, match=rf"has no columns '{name}' to give a type to\. It has x; the ids, 'id', are always"
    ):
        read("id\tx\na\t1\n", tmp_path, types={name: "numeric"})


# -- bad input --------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", r"is empty \(0 bytes\)"),
    "blank": (" \n\n", r"is empty \(3 bytes, all blank\)"),
    "comments alone": ("# a\n# b\n", r"only blank and comment lines.*Remove the #"),
    "header alone": ("id\tph\n", r"no rows below its header\. Expected one row per sample"),
    "one column": ("who\na\nb\n", r"has 1 column \(it starts: 'who'\)\. Expected .* tabs, commas or semicolons\. Save"),
    "blanks between": ("id ph\na 7\n", r"has 1 column .* semicolons, not by blanks\."),
    "semicolon not quoted": ("id;x\na;Lima; Peru\n", r"has 3 fields in line 2\. .*Quote values with semicolons"),
    "a field too long": (f"id\tx\na\t1\nb\t{'x' * 140_000}\n", r"a field of more than 131,072 characters in line 3\. .*Cut it"),
    "a quote left open for long": ('id,x\na,"' + "y,1\n" * 40_000, r"quote that opens in line 2 and is still open 131,072 .* in line \d"),
    "duplicates": ("id\tx\n0012\t1\n0012\t2\n", r"1 sample id occurs more than once \(0012\) in .*metadata\.tsv"),
    "duplicates but for blanks": ("id\tx\na\t1\n a \t2\n", r"1 sample id occurs more than once \(a\)"),
    "no id": ("id\tx\na\t1\n\t2\n \t3\n", r"In .*, 2 rows have no sample id \(line 3, 4\)\. .*'id'"),
    "duplicate columns": ("id\tx\tx\ty\ty \na\t1\t2\t3\t4\n", r"2 column names occur more than once .*\('x', 'y'\)"),
    "id twice": ("id\tid\na\t1\n", r"1 column name occurs more than once .*\('id'\)"),
    "no column name": ("id\tx\t\ty\na\t1\t2\t3\n", r"1 of 4 columns of .* has no name \(column 3\)"),
    "ids elsewhere": ("site\tsample_id\na\ts1\na\ts2\n", r"first column of .*'site', does not hold .*column 2, 'sample_id'\. Put"),
    "no ids elsewhere either": ("site\tsample_id\na\ts1\na\t\n", r"1 sample id occurs more than once \(a\)"),
    "row numbers": (",sample id,ph\n0,s1,7\n1,s2,8\n", r"first column of .*'', does not hold sample ids \(0, 1\).*column 2, 'sample id'"),
    "measurements": ("ph\t#SampleID\n7.1\ts1\n6.2\ts2\n", r"first column .*'ph', does not hold sample ids \(7\.1, 6\.2\)"),
    "longer row": ("id\tx\na\t1\nb\t2\t3\n", r"has 3 fields in line 3\. Expected 2, as in line 1"),
    "two longer rows": ("# c\nid\tx\ny\t1\nb\t2\t3\nc\t3\t4\n", r"has 3 fields in line 4, and 1 more lines\. Expected 2, as in line 2"),
    "comma not quoted": ("id,place,x\na,Lima, Peru,1\nb,Cusco,2\n", r"has 4 fields in line 2\. .*Quote values with commas"),
    "write.table": ("ph\tsite\na\t7\tlake\nb\t6\triver\n", r"header with fewer names \(2\).*fields \(3\).*write\.table"),
    "header twice": ("id\tx\na\t1\nid\tx\nb\t2\n", r"repeats line 1 in line 3"),
    "hidden header": ("#samples taken\tph\na\t7\nb\t6\n", r"comment in line 1 with as many fields .*\(#samples taken, ph\)"),
    "quote to the end": ('id\tx\ty\na\t"1\t2\nb\t3\t4\n', r"a quote in line 2 that is not closed where its field ends"),
    "quote over rows": ('id\tx\ty\na\t"1\t2\nb\t3"\t4\nc\t5\t6\n', r"a quote that opens in line 2 and closes in line 3"),
    "quote over CSV rows": ('id,x\na,"1\nb,2\nc,3"\nd,4\n', r"a quote that opens in line 2 and closes in line 4"),
    "quote and text": ('id\tx\na\t"so called" x\n', r"a quote in line 2 that is not closed where its field ends"),
    "types above": ("#q2:types\tnumeric\nid\tx\na\t1\n", r"has '#q2:types' in line 1\. Expected it right below the header"),
    "types below": ("id\tx\na\t1\n#q2:types\tnumeric\n", r"has '#q2:types' in line 3\. Expected it right below"),
    "unknown type": ("id\tx\n#q2:types\tdate\na\t1\n", r"line 2 that column 'x' is 'date'\. Expected numeric or categorical"),
    "unknown directive": ("id\tx\n#q2:colour\tred\na\t1\n", r"unknown directive '#q2:colour' in line 2"),
    "Latin-1": (b"id\tsite\na\tcaf\xe9 noir\n", r"not UTF-8 text: byte 0xe9 in line 2.*iconv"),
    "UTF-16": ("id\tx\na\t1\n".encode("utf-16"), r"not UTF-8 text.*UTF-16"),
    "UTF-16 without mark": ("id\tx\na\t1\n".encode("utf-16-le"), r"not UTF-8 text but UTF-16"),
    "Excel": (b"PK\x03\x04" + bytes(30), r"metadata\.tsv cannot be unpacked|not a QIIME 2 artifact"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(30), r"not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_metadata_that_cannot_be_used_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    content, said = BAD[case]
    with pytest.raises(FormatError, match=said) as caught:
        read(content, tmp_path)
    assert "metadata.tsv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ids_that_look_like_measurements_are_ids_where_nothing_else_is(tmp_path: Path) -> None:
    assert read("sample\tx\n10317.000003639\t1\n10317.000003995\t2\n", tmp_path).index[0] == "10317.000003639"


def test_another_column_called_so_is_told(tmp_path: Path) -> None:
    said = notes("run\tsample_name\nERR1\ts1\nERR2\ts2\n", tmp_path)
    assert said == ["took the sample ids from the first column, 'run', not from 'sample_name'"]


def test_an_artifact_is_no_metadata(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"x\.qza is a QIIME 2 artifact of type FeatureData\[Taxonomy\]"):
        parse_metadata(Source(tmp_path, "x.qza", "FeatureData[Taxonomy]"))


@REUSED_FOLDER
@given(st.data())
def test_damaged_bytes_give_a_frame_or_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(
        data.draw(st.sampled_from([QIIME2, QIIME2.replace("\t", ","), 'id,d\n"a",2020-01-02\nb,NA\n'])).encode()
    )
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\t", b",", b"\n", b"#", b"\r", b"\0", b"\xff", b"1e9999"])
        )
    kind = data.draw(st.sampled_from([None, "numeric", "categorical", "date"]))
    try:
        frame = read(bytes(whole), tmp_path_factory.getbasetemp(), types={"ph": kind} if kind else None)
    except UserError as error:
        assert "metadata.tsv" in str(error)  # noqa: PT017 - either way is right
    else:
        assert frame.index.is_unique
        assert frame.shape[0] >= 1


LONG = "x" * 10_000
LONG_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "a name and values": (f"id\t{LONG}\n" + "".join(f"{LONG}{k}\t{k}{LONG}\n" for k in range(9)), {LONG: "numeric"}),
    "a name, and dates": (f"id\t{LONG}\na\t01/02/2020\n", {LONG: "date"}),
    "a type": (f"id\t{LONG}\na\t1\n", {LONG: LONG}),
    "columns": ("id" + "".join(f"\t{LONG}{k}" for k in range(9)) + "\na" + "\t1" * 9 + "\n", {f"{LONG}z": "numeric"}),
    "a type in the file": (f"id\t{LONG}\n#q2:types\t{LONG}\na\t1\n", {}),
    "a directive": (f"id\tx\n#q2:{LONG}\tred\na\t1\n", {}),
    "a directive below": (f"id\tx\na\t1\n#q2:{LONG}\tred\n", {}),
    "names twice": (f"id\t{LONG}\t{LONG}\na\t1\t2\n", {}),
    "ids elsewhere": (f"{LONG}\tsample_id\na\ts1\na\ts2\n", {}),
    "ids twice": (f"{LONG}\tx\n{LONG}\t1\n{LONG}\t2\n", {}),
    "one column": (f"{LONG}\nb\n", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", LONG_CASES)
def test_messages_stay_short_whatever_the_file_holds(case: str, tmp_path: Path) -> None:
    text, types = LONG_CASES[case]
    with pytest.raises(FormatError) as caught:
        read(text, tmp_path, types=types)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 400


@pytest.mark.parametrize("values", [[LONG + " ", "a"], [[LONG], "a"], [LONG + "\r", "a"]])
def test_messages_of_writing_stay_short_too(values: list[Any], tmp_path: Path) -> None:
    with pytest.raises(MetadataError) as caught:
        write_metadata(pd.DataFrame({LONG: values}, index=["s", "t"], dtype=object), tmp_path / "m.tsv")
    assert len(str(caught.value)) < 400


def test_many_values_of_a_wrong_type_are_refused_at_once(tmp_path: Path) -> None:
    text = "id\ta\n" + "".join(f"s{k}\tword {k}\n" for k in range(100_000))
    start = time.process_time()
    with pytest.raises(
        MetadataError, match=r"holds 'word 0' in s0, 'word 1' in s1, 'word 2' in s2 and 99997 more\. Expected"
    ):
        read(text, tmp_path, types={"a": "numeric"})
    assert time.process_time() - start < 10  # 0.5 s where this was written; 2,000 s when each value was looked up


# -- round trip -------------------------------------------------------------------------------------------------------


def every_kind() -> pd.DataFrame:
    index = pd.Index(["0012", 'say "a"', "<b>", "two  blanks", "c"], name="sample_id", dtype=str)
    return pd.DataFrame(
        {
            "whole": np.array([3, -1, 0, 7, 2**53], dtype=np.int64),
            "real": [0.1 + 0.2, np.nan, 1e-300, 5e-324, -1.7976931348623157e308],
            "gaps": [20180126.0, np.nan, 1.0, 2.0, 3.0],
            "empty": [np.nan] * 5,
            "code": pd.Series(["007", "1", "2", "3", "4"], index=index, dtype=str),
            "note": pd.Series(['"', "tab\there", np.nan, "#no, comment", "a\nb\tc"], index=index, dtype=str),
            "none": pd.Series([np.nan] * 5, index=index, dtype=str),
            "as text": pd.Series(["2020-01-02"] * 5, index=index, dtype=str),
            "day": np.array(["2020-01-02", "NaT", "1999-12-31", "2020-02-29", "9999-12-31"], "datetime64[us]"),
            "time": np.array(["2020-01-02T10:00:00.000001", "NaT", "1999-12-31", "2020-02-29", "0001-01-01"], "datetime64[us]"),
        },
        index=index,
    )  # fmt: skip


def test_written_and_read_back_a_frame_is_the_same(tmp_path: Path) -> None:
    frame = every_kind()
    path = write_metadata(frame, tmp_path / "new" / "m.tsv")
    pd.testing.assert_frame_equal(read_metadata(path), frame, check_exact=True)
    again = write_metadata(read_metadata(path), tmp_path / "again.tsv")
    assert again.read_bytes() == path.read_bytes()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["m.tsv"]


def test_scikit_bio_reads_what_is_written(tmp_path: Path) -> None:
    from skbio.metadata import SampleMetadata

    frame = every_kind().drop(columns=["empty", "none"])  # scikit-bio has no type for these
    theirs = SampleMetadata.load(str(write_metadata(frame, tmp_path / "m.tsv"))).to_dataframe()
    assert list(theirs.index) == list(frame.index)
    assert theirs["whole"].tolist() == frame["whole"].tolist()
    np.testing.assert_allclose(theirs["real"].to_numpy(), frame["real"].to_numpy(), rtol=1e-15)  # it is not exact
    assert theirs["code"].tolist() == frame["code"].tolist()
    assert theirs["note"].dropna().tolist() == frame["note"].dropna().tolist()
    assert theirs["day"].dropna().tolist() == ["2020-01-02", "1999-12-31", "2020-02-29", "9999-12-31"]


def test_the_file_is_in_qiime2s_dialect(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ph": [7.5, None], "run": [7.0, None]}, index=["a", "b"])
    frame["day"] = pd.to_datetime(["2020-01-02", None])
    assert write_metadata(frame, tmp_path / "m.tsv").read_text().splitlines() == [
        "sample-id\tph\trun\tday",
        "#q2:types\tnumeric\tnumeric\tcategorical",
        "#aam:types\tnumeric\tnumeric\tdate",
        "a\t7.5\t7\t2020-01-02",
        "b\t\t\t",
    ]


def test_booleans_and_categories_become_text(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"b": [True, False], "c": pd.Categorical(["u", None]), "d": pd.Categorical([3, 4])}, index=["x", "y"]
    )
    back = read_metadata(write_metadata(frame, tmp_path / "m.tsv"))
    assert back["b"].tolist() == ["True", "False"]
    assert back["c"].tolist()[0] == "u"
    assert back["c"].isna().tolist() == [False, True]
    assert back["d"].tolist() == [3, 4]


UNWRITABLE: dict[str, tuple[dict[Any, list[Any]], list[Any], str]] = {
    "a word for missing": ({"x": ["NA", "b"]}, ["s", "t"], r"In column 'x', 'NA' would be read back as missing"),
    "empty text": ({"x": ["", "b"]}, ["s", "t"], r"In column 'x', '' would be read back as missing"),
    "blanks": ({"x": [" a", "b"]}, ["s", "t"], r"In column 'x', ' a' would be read back as 'a'"),
    "a carriage return": ({"x": ["a\rb", "b"]}, ["s", "t"], r"carriage return \('s\\t\"?a\\r'\).*Remove it"),
    "infinity": ({"x": [np.inf, 1.0]}, ["s", "t"], r"'x' .* is said to be numeric, but holds 'inf' in s"),
    "mixed types": ({"x": [1, "b"]}, ["s", "t"], r"In column 'x', 1 would be read back as '1'"),
    "lists": ({"x": [["u"], "b"]}, ["s", "t"], r"In column 'x', \['u'\] would be read back as"),
    "complex": ({"x": [1j, 2j]}, ["s", "t"], r"In column 'x', 1j would be"),
    "nanoseconds": ({"x": [pd.Timestamp(1), pd.Timestamp(2)]}, ["s", "t"], r"'1970-01-01 00:00:00\.000000001' in s"),
    "a time zone": ({"x": [pd.Timestamp("2020-01-01", tz="UTC")]}, ["s"], r"time zone UTC.*tz_localize\(None\)"),
    "id with #": ({"x": [1, 2]}, ["#s", "t"], r"1 sample id has `#` in front \('#s'\)\. .*comment.*Rename them"),
    "id with # after a blank": ({"x": [1, 2]}, [" #s", "t"], r"1 sample id has a blank at an end \(' #s'\)"),
    "all ids with #": ({"x": [1, 2]}, ["#s", "#t"], r"2 sample ids have `#` in front \('#s', '#t'\)"),
    "a blank row": ({"x": [np.nan, 1]}, ["", "t"], r"cannot be written.*1 of 2 sample ids is missing \(place 1\)"),
    "id that is a number": ({"x": [1, 2]}, [5, 6], r"In the sample ids, 5 would be read back as '5'"),
    "no id": ({"x": [1, 2]}, ["", "t"], r"cannot be written.*1 of 2 sample ids is missing"),
    "an id of two lines": ({"x": [1, 2]}, ["s\nt", "t"], r"cannot be written.*line break.*\('s\\nt'\)\. Expected printable"),
    "the same id": ({"x": [1, 2]}, ["s", "s"], r"cannot be written.*occurs more than once \(s\)"),
    "unnamed column": ({"": [1, 2]}, ["s", "t"], r"cannot be written"),
    "column with blanks": ({" x": [1, 2]}, ["s", "t"], r"In the column names, ' x' would be read back as 'x'"),
    "column that is a number": ({5: [1, 2]}, ["s", "t"], r"In the column names, 5 would be read back as '5'"),
    "surrogate": ({"x": ["\ud800", "b"]}, ["s", "t"], r"cannot be written.*surrogates"),
    "NUL": ({"x": ["\0", "b"]}, ["s", "t"], r"cannot be written.*NUL"),
    "no rows": ({"x": []}, [], r"cannot be written.*no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNWRITABLE)
def test_what_would_not_be_read_back_is_not_written(case: str, tmp_path: Path) -> None:
    columns, index, said = UNWRITABLE[case]
    with pytest.raises(MetadataError, match=said):
        write_metadata(pd.DataFrame(columns, index=pd.Index(index)), tmp_path / "m.tsv")
    assert list(tmp_path.iterdir()) == []


TEXT = st.text(st.characters(exclude_categories=[]) | st.sampled_from('\t\n\r", #'), max_size=6)


@REUSED_FOLDER
@given(st.lists(st.tuples(TEXT, TEXT | st.none(), st.floats() | st.none()), min_size=1, max_size=4))
@example([("a", "1\tx\n2\ty", 0.0), ("b", "3\tx", 1.0)])
def test_any_frame_makes_the_round_trip_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str | None, float | None]]
) -> None:
    ids, texts, numbers = zip(*rows, strict=True)
    frame = pd.DataFrame({"t": pd.Series(texts, dtype=object), "n": pd.Series(numbers, dtype=float)})
    frame.index = pd.Index(ids, dtype=object)
    path = tmp_path_factory.getbasetemp() / "trip.tsv"
    try:
        write_metadata(frame, path)
    except MetadataError:
        return
    back = read_metadata(path)
    assert back.index.tolist() == list(ids)
    assert [None if pd.isna(v) else v for v in back["t"]] == list(texts)
    np.testing.assert_array_equal(back["n"], frame["n"])


# -- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_real_metadata_are_read_as_pandas_reads_them(real_data: Path, tmp_path: Path) -> None:
    files = sorted(real_data.glob("*/*.tsv"))
    assert len(files) >= 8
    kinds = set()
    for file in files:
        ours = read_metadata(file)
        theirs = pd.read_csv(file, sep="\t", index_col=0, dtype={0: str}, na_values=["not_available"])
        assert list(ours.index) == [str(i) for i in theirs.index]
        assert list(ours.columns) == list(theirs.columns)
        for name, column in ours.items():
            kinds.add(column.dtype.kind)
            if pd.api.types.is_numeric_dtype(theirs[name]):
                np.testing.assert_allclose(column.to_numpy(float), theirs[name].to_numpy(float), rtol=1e-15)
            elif column.dtype.kind == "M":
                assert column.tolist() == pd.to_datetime(theirs[name], format="ISO8601").tolist()
            else:
                assert column.fillna("-").tolist() == theirs[name].fillna("-").tolist()
        pd.testing.assert_frame_equal(read_metadata(write_metadata(ours, tmp_path / file.name)), ours, check_exact=True)
    assert kinds >= {"f", "i", "M"}


# -- as QIIME 2 reads it ----------------------------------------------------------------------------------------------

TABLE = pd.DataFrame({"ph": [6.5, np.nan], "site": ["lake", np.nan]}, index=pd.Index(["a", "b"], name="sample_id"))
"""What each file below says. QIIME 2 2024.10, "Metadata in QIIME 2": rows may be short, cells at the end of a row may be empty, blank rows
and comments may be anywhere, blanks around a value are no part of it."""
VALID = {
    "short row": "sample-id\tph\tsite\na\t6.5\tlake\nb\n",
    "short row of several cells": "sample-id\tph\tsite\na\t6.5\tlake\nb\t\n",
    "trailing tabs in rows": "sample-id\tph\tsite\na\t6.5\tlake\t\t\nb\t\t\t\n",
    "trailing tabs everywhere": "sample-id\tph\tsite\t\t\na\t6.5\tlake\t\t\nb\t\t\t\t\n",
    "trailing tabs in types": "sample-id\tph\tsite\t\n#q2:types\tnumeric\tcategorical\t\na\t6.5\tlake\nb\n",
    "short types": "sample-id\tph\tsite\n#q2:types\tnumeric\na\t6.5\tlake\nb\n",
    "types in capitals": "sample-id\tph\tsite\n#q2:types\tNumeric\tCATEGORICAL\na\t6.5\tlake\nb\n",
    "blank rows": "\n\t\t\nsample-id\tph\tsite\n\na\t6.5\tlake\n \t \t \nb\n\n\n",
    "comments": "# by hand\nsample-id\tph\tsite\n# of 2016\na\t6.5\tlake\n#b\t7\tsea\nb\n",
    "blanks around": " sample-id \t ph\tsite \n a\t 6.5 \t lake \nb\n",
    "Windows": "sample-id\tph\tsite\r\na\t6.5\tlake\r\nb\r\n",
    "no line end": "sample-id\tph\tsite\na\t6.5\tlake\nb",
    "quotes": '"sample-id"\t"ph"\tsite\n"a"\t6.5\t"lake"\nb\n',
    "CSV": "sample-id,ph,site\na,6.5,lake,,\nb\n",
    "CSV of a spreadsheet": "sample-id,ph,site,,\na,6.5,lake,,\nb,,,,\n,,,,\n",
    "semicolons": "sample-id;ph;site;\na;6.5;lake;\nb\n",
}


@pytest.mark.parametrize("case", VALID)
def test_what_qiime2_reads_is_read(case: str, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(read(VALID[case], tmp_path), TABLE, check_dtype=False)


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "sampleid",
        "sample id",
        "sample-id",
        "featureid",
        "feature-id",
        "#SampleID",
        "#OTU ID",
        "#OTUID",
        "sample_name",
    ],
)
def test_each_name_of_ids_that_qiime2_knows(name: str, tmp_path: Path) -> None:
    assert read(f"{name}\tph\na\t7\n", tmp_path)["ph"].to_dict() == {"a": 7}
    assert read(f"{name}\na\nb\n", tmp_path).shape == (2, 0)


def test_rows_that_were_filled_are_told_with_their_lines() -> None:
    notes = _parse("id\tx\ty\na\t1\nb\t2\t3\nc\n", "m.tsv", {})[1]
    assert "2 rows end before the last column (line 2, 4): what they lack is missing" in notes


# -- numbers and dates that programs do not read -----------------------------------------------------------------------

ODD_NUMBERS = {
    "inf": "1 of 3 known values are numbers that are not finite ('inf'): with empty cells in their place it is numeric",
    "-Inf": "1 of 3 known values are numbers that are not finite ('-Inf'): with empty cells in their place it is numeric",
    "1e400": "1 of 3 known values are numbers that are not finite ('1e400'): with empty cells in their place it is numeric",
    "#DIV/0!": "1 of 3 known values are errors of a spreadsheet ('#DIV/0!'): with empty cells in their place it is numeric",
    "#REF!": "1 of 3 known values are errors of a spreadsheet ('#REF!'): with empty cells in their place it is numeric",
    "#VALUE!": "1 of 3 known values are errors of a spreadsheet ('#VALUE!'): with empty cells in their place it is numeric",
    "1,204": "its numbers have thousands separators or decimal commas ('1,204')",
    "1,204,333.5": "its numbers have thousands separators ('1,204,333.5')",
    "1 204": "its numbers have thousands separators ('1 204')",
    "0,204": "its numbers have decimal commas ('0,204')",
    "<5": "1 of 3 known values are no numbers ('<5')",
    "\u22125": "1 of 3 known values are no numbers ('\u22125')",
    "12 %": "1 of 3 known values are no numbers ('12 %')",
}


@pytest.mark.parametrize("word", ODD_NUMBERS)
def test_one_odd_value_does_not_make_classes_of_numbers_in_silence(word: str) -> None:
    frame, notes = _parse(f"id\tx\na\t1.5\nb\t2\nc\t{word}\n", "m.tsv", {})
    assert f"column 'x' is text: {ODD_NUMBERS[word]}" in notes
    assert frame["x"].tolist() == ["1.5", "2", word], "nothing is repaired in silence"


@pytest.mark.parametrize("words", [["low", "inf"], ["lake", "#REF! of a map"], ["12h", "24h"]])
def test_classes_are_no_numbers(words: list[str]) -> None:
    assert _parse(f"id\tx\na\t{words[0]}\nb\t{words[1]}\n", "m.tsv", {})[1] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["2016-02-23", "23/02/2016"], "its dates are written in more than one form ('23/02/2016')"),
        (["02/23/2016", "23-Feb-2016"], "its dates are written in more than one form ('02/23/2016', '23-Feb-2016')"),
        (["02/23/2016", "02/24/2016"], "its dates are written not as 2016-02-23 ('02/23/2016', '02/24/2016')"),
    ],
)
def test_dates_that_are_not_read_as_dates_are_told(words: list[str], said: str) -> None:
    notes = _parse("id\tx\n" + "".join(f"s{i}\t{w}\n" for i, w in enumerate(words)), "m.tsv", {})[1]
    assert len(notes) == 1
    assert said in notes[0]


def test_spellings_of_one_class_are_told() -> None:
    notes = _parse("id\tx\na\tYes\nb\tyes\nc\tYES \nd\tno\n", "m.tsv", {})[1]
    assert len(notes) == 1
    assert "differ in spelling alone: " in notes[0]
    assert all(f"'{w}' (1 sample)" in notes[0] for w in ("Yes", "yes", "YES"))


def test_ids_that_differ_in_capitals_or_blanks_alone_are_told_and_kept_apart() -> None:
    frame, notes = _parse("id\tx\na 1\t1\nA1\t2\nb\t3\n", "m.tsv", {})
    assert list(frame.index) == ["a 1", "A1", "b"]
    assert notes == ["some sample ids differ in capitals or blanks alone, and are kept apart: 'a 1' and 'A1'"]


def test_a_column_of_very_many_texts_is_read_in_no_time() -> None:
    text = "id\tx\n" + "".join(f"s{i}\ttext {i}\n" for i in range(50_000))
    start = time.perf_counter()
    assert len(_parse(text, "m.tsv", {})[0]) == 50_000
    assert time.perf_counter() - start < 20


def test_numbers_with_their_unit_are_told(tmp_path: Path) -> None:
    notes = _parse("id\tage\na\t41.04 yr\nb\t38 yr\nc\t40.5 yr\n", "m.tsv", {})[1]
    assert notes == [
        "column 'age' is text: its numbers have a unit behind them ('38 yr', '40.5 yr', '41.04 yr'); without 'yr' it is numeric"
    ]
