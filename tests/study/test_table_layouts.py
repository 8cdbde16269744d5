"""Feature tables in text, in every way of writing fields, headers and numbers: read to the same counts, or refused by the cell itself."""

from pathlib import Path

import pytest

import aam_nb as aam
from aam_nb.study.errors import FormatError, StudyError

ASVS = ["ACGTACGTACGT", "TTGTACGTACGA", "GGGTACGTACGA"]
COUNTS = [["10", "2", "0"], ["7", "1204", "3"], ["1", "0", "5"]]
SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";"}
HEADERS = {
    "hashed": ["#OTU ID", "S1", "S2", "S3"],
    "hashed, another name": ["#NAME", "S1", "S2", "S3"],
    "plain": ["OTU ID", "S1", "S2", "S3"],
    "nameless": ["", "S1", "S2", "S3"],
    "of R": ["S1", "S2", "S3"],
}
ABOVE = {
    "nothing": "",
    "a comment": "# Constructed from biom file, v2; by a, b\n",
    "a title": "OTUs of the lake\n",
    "blank": "\n\n",
}


def write(folder: Path, separator: str, header: list[str], above: str, rows: list[list[str]], *, quotes: bool) -> Path:
    def line(cells: list[str]) -> str:
        return separator.join(f'"{c}"' if quotes or separator in c else c for c in cells)

    (folder / "t.txt").write_text(above + "\n".join(map(line, [header, *rows])) + "\n")
    return folder / "t.txt"


@pytest.mark.parametrize("quotes", [False, True])
@pytest.mark.parametrize("above", ABOVE)
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("separator", SEPARATORS)
def test_every_way_of_writing_gives_the_same_counts(
    separator: str, header: str, above: str, quotes: bool, tmp_path: Path
) -> None:
    if header == "of R" and above == "a title":
        pytest.skip("R writes no title")
    rows = [[asv, *counts] for asv, counts in zip(ASVS, COUNTS, strict=True)]
    path = write(tmp_path, SEPARATORS[separator], HEADERS[header], ABOVE[above], rows, quotes=quotes)
    study = aam.read_study(path)
    assert list(study.sample_ids) == ["S1", "S2", "S3"]
    assert study.table.toarray().T.tolist() == [[int(c) for c in row] for row in COUNTS]


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("1,5", "decimal comma"),
        ("1,204", "mark between the thousands"),
        ("1.204", "mark between the thousands"),
        ("1 204", "mark between the thousands"),
        ("2.000", r"may be 2 or 2,000: other counts have no decimals"),
        ("12.000.000", "mark between the thousands"),
        ("1.5", "1 count is not a whole number"),
        ("-3", "1 count is not a whole number"),
        ("x", "Leave only ids and counts"),
    ],
)
@pytest.mark.parametrize("header", ["hashed", "hashed, another name", "plain", "nameless"])
@pytest.mark.parametrize("separator", SEPARATORS)
def test_a_cell_that_is_no_count_is_named_with_its_row_and_column(
    separator: str, header: str, cell: str, why: str, tmp_path: Path
) -> None:
    rows = [[ASVS[0], "10", "2", "0"], [ASVS[1], "7", cell, "3"], [ASVS[2], "1", "0", "5"]]
    path = write(tmp_path, SEPARATORS[separator], HEADERS[header], "", rows, quotes=False)
    with pytest.raises((FormatError, StudyError), match=why) as refusal:
        aam.read_study(path)
    message = str(refusal.value)
    assert (f"{cell!r} in row {ASVS[1]}, column S2" in message) or f"in sample S2, ASV {ASVS[1]}" in message


@pytest.mark.parametrize("header", ["hashed", "hashed, another name", "plain"])
@pytest.mark.parametrize("separator", ["tab", "semicolon"])
def test_decimal_commas_in_all_cells_are_called_so(separator: str, header: str, tmp_path: Path) -> None:
    rows = [[asv, "1,5", "2,0", "0,25"] for asv in ASVS]
    path = write(tmp_path, SEPARATORS[separator], HEADERS[header], "", rows, quotes=False)
    with pytest.raises(
        FormatError, match=rf"'1,5' in row {ASVS[0]}, column S1\. Expected a count\. It has a decimal comma"
    ):
        aam.read_study(path)


def test_a_quoted_header_with_line_breaks_names_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'"OTU ID","site\n1","S2"\n{ASVS[0]},1,2\n{ASVS[1]},3,4\n')
    with pytest.raises(StudyError, match=r"1 sample id of the text table has a line break.*\('site\\n1'\)"):
        aam.read_study(path)


def test_a_quote_in_a_comment_joins_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f'# a 5" tube\n#\t"open\n#OTU ID\tS1\tS2\n{ASVS[0]}\t1\t2\n{ASVS[1]}\t3\t4\n')
    assert aam.read_study(path).table.toarray().tolist() == [[1, 3], [2, 4]]


def test_line_breaks_in_the_header_of_metadata_are_read(tmp_path: Path) -> None:
    for text in ('"sample\nid",ph\nS1,1\nS2,2\n', 'sample-id\t"ph\n(water)"\nS1\t1\nS2\t2\n'):
        (tmp_path / "m.txt").write_text(text)
        frame = aam.read_metadata(tmp_path / "m.txt")
        assert list(frame.index) == ["S1", "S2"]
        assert frame.iloc[:, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["length"], "the column 'length': no sample by the name; rename the column to"),
        (["length", "evalue"], "the columns 'length', 'evalue': no samples by the name; rename those columns that are"),
    ],
)
def test_columns_set_aside_are_told_in_the_right_number(more: list[str], words: str, tmp_path: Path) -> None:
    rows = [[asv, *counts, *("7" for _ in more)] for asv, counts in zip(ASVS, COUNTS, strict=True)]
    path = write(tmp_path, "\t", [*HEADERS["plain"], *more], "", rows, quotes=False)
    assert any(words in step for step in aam.read_study(path).provenance)


@pytest.mark.parametrize("corner", ["id", "#OTU ID", ""])
@pytest.mark.parametrize("named_by", ["ids", "sequences"])
def test_a_column_of_sequences_names_features_and_tips_of_either_name_match(
    named_by: str, corner: str, tmp_path: Path
) -> None:
    ids = ["OTU1", "OTU2", "OTU3"]
    rows = [[i, *counts, asv] for i, counts, asv in zip(ids, COUNTS, ASVS, strict=True)]
    path = write(tmp_path, "\t", [corner, "S1", "S2", "S3", "sequence"], "", rows, quotes=False)
    tips = ids if named_by == "ids" else ASVS
    (tmp_path / "t.nwk").write_text(f"(({tips[0]}:1,{tips[1]}:1):1,{tips[2]}:2);")
    (tmp_path / "x.tsv").write_text("Feature ID\tTaxon\n" + "".join(f"{i}\td__B{i}\n" for i in tips))
    study = aam.read_study(path, tree=tmp_path / "t.nwk", taxonomy=tmp_path / "x.tsv")
    assert list(study.asv_ids) == ASVS
    assert sorted(study.require_tree().tips) == sorted(ASVS)
    assert study.taxonomy is not None
    assert study.taxonomy["domain"].tolist() == [f"B{i}" for i in tips]


@pytest.mark.parametrize("word", ["inf", "-inf", "+inf", "Infinity", "INF", "1e999", "-1e999"])
def test_numbers_that_are_not_finite_are_told_by_name(word: str, tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text(f"sample-id\tph\nS1\t7\nS2\t{word}\n")
    table = write(tmp_path, "\t", ["ASV", "S1", "S2", "S3"], "", [[ASVS[0], "1", "2", "3"]], quotes=False)
    study = aam.read_study(table, metadata=tmp_path / "m.tsv")
    assert any(f"not finite ('{word}')" in step for step in study.provenance)
