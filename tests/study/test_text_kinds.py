"""What `aam-nb info` takes a text file for, and what the reader of that kind gives: the same, for files of many shapes."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

import aam_nb as aam
from aam_nb.config import UserError, count_noun
from aam_nb.study.info import what_is

DNA = ["".join(p) * 10 for p in itertools.product("ACGT", repeat=3)][1:5]
HASHES = [f"{k:032x}" for k in range(9, 13)]
COUNTS = [[1, 2, 0], [4, 5, 6], [7, 0, 9], [3, 3, 1]]
NAMES = {"DNA": DNA, "hashes": HASHES}
SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";"}
SAMPLES = ["s1", "s2", "s3"]
Rows = list[list[object]]


def wide(ids: list[str], front: list[object], behind: list[object]) -> Rows:
    return [[i, *front, *counts, *behind] for i, counts in zip(ids, COUNTS, strict=True)]


TABLES: dict[str, Callable[[list[str]], tuple[str, Rows]]] = {
    "#OTU ID": lambda ids: ("", [["#OTU ID", *SAMPLES], *wide(ids, [], [])]),
    "no corner": lambda ids: ("", [["", *SAMPLES], *wide(ids, [], [])]),
    "a comment": lambda ids: ("# made by x, y\n", [["#OTU ID", *SAMPLES], *wide(ids, [], [])]),
    "a title": lambda ids: ("Counts of the lake\n", [["x", *SAMPLES], *wide(ids, [], [])]),
    "a title, a blank line": lambda ids: ("Counts\n\n", [["ASV", *SAMPLES], *wide(ids, [], [])]),
    "R's write.table": lambda ids: ("", [SAMPLES, *wide(ids, [], [])]),
    "row numbers": lambda ids: (
        "",
        [["", "ASV", *SAMPLES], *([k, *row] for k, row in enumerate(wide(ids, [], []), start=1))],
    ),
    "an e-value": lambda ids: ("", [["x", *SAMPLES, "evalue"], *wide(ids, [], ["1e-5"])]),
    "a confidence": lambda ids: ("", [["x", "confidence", *SAMPLES], *wide(ids, [0.9], [])]),
    "taxonomy and confidence": lambda ids: (
        "",
        [["#OTU ID", *SAMPLES, "taxonomy", "Confidence"], *wide(ids, [], ["k__B|p__A", 0.9])],
    ),
    "taxonomy in front": lambda ids: ("", [["x", "taxonomy", *SAMPLES], *wide(ids, ["k__B|p__A"], [])]),
    "ranks in front": lambda ids: ("", [["x", "Kingdom", "Phylum", *SAMPLES], *wide(ids, ["B", "A"], [])]),
    "a total": lambda ids: ("", [["x", *SAMPLES, "total"], *([*row, sum(row[1:])] for row in wide(ids, [], []))]),  # type: ignore[arg-type]
    "samples in rows": lambda ids: (
        "",
        [["sample", *ids], *([s, *row] for s, row in zip(SAMPLES, zip(*COUNTS, strict=True), strict=True))],
    ),
    "samples in rows, a title": lambda ids: (
        "Counts\n",
        [["", *ids], *([s, *row] for s, row in zip(SAMPLES, zip(*COUNTS, strict=True), strict=True))],
    ),
}
REFUSED_TABLES: dict[str, Callable[[list[str]], Rows]] = {
    "no header": lambda ids: wide(ids, [], []),
    "a long table": lambda ids: [["Sample", "OTU", "Abundance"], *(["s1", i, 3] for i in ids)],
    "a fraction": lambda ids: [["#OTU ID", *SAMPLES], *wide(ids, [], [])[:3], [ids[3], "0.5", 1, 2]],
    "a word": lambda ids: [["#OTU ID", *SAMPLES], *wide(ids, [], [])[:3], [ids[3], "few", 1, 2]],
}
TAXONOMIES: dict[str, Callable[[list[str]], Rows]] = {
    "QIIME 2": lambda ids: [["Feature ID", "Taxon", "Confidence"], *([i, "k__B|p__A", 0.9] for i in ids)],
    "no header": lambda ids: [[i, "k__B|p__A", 0.9] for i in ids],
    "ranks": lambda ids: [["", "Kingdom", "Phylum"], *([i, "B", "A"] for i in ids)],
    "bootstraps": lambda ids: [["", "tax.Kingdom", "tax.Phylum", "boot.Kingdom", "boot.Phylum"], *([i, "B", "A", 99, 98] for i in ids)],
    "row numbers": lambda ids: [["", "ASV", "Kingdom", "Phylum"], *([k, i, "B", "A"] for k, i in enumerate(ids))],
    "totals": lambda ids: [["OTU", "Size", "Taxonomy"], *([i, 9, "B(100)|A(90)"] for i in ids)],
}  # fmt: skip
METADATA: dict[str, Rows] = {
    "text": [["sample-id", "ph", "site"], ["a", 1, "x"], ["b", 2, "y"]],
    "numbers": [["#SampleID", "ph", "length"], ["a", 1, 3], ["b", 2, 4]],
    "names of side columns": [["x", "confidence", "score", "total"], ["a", 1, 3, 5], ["b", 2, 4, 4]],
    "years": [["id", "2019", "2020"], ["a", 2, 8], ["b", 2, 8]],
    "barcodes beside": [["", "barcode", "ph"], ["a", "ACGTACGTACGT", 8], ["b", "ACGTACGTACGG", 8]],
    "types": [["id", "ph"], ["#q2:types", "numeric"], ["a", 7], ["b", 8]],
    "ranks of hosts": [["id", "order", "genus", "ph"], ["a", "Chiroptera", "Myotis", 7], ["b", "X", "Y", 8]],
}


def write(rows: Rows, separator: str, folder: Path, above: str = "") -> Path:
    (folder / "f.txt").write_text(above + "".join(separator.join(map(str, row)) + "\n" for row in rows))
    return folder / "f.txt"


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("shape", TABLES)
def test_a_table_is_of_the_size_that_is_read(shape: str, names: str, separator: str, tmp_path: Path) -> None:
    (tmp_path / "s.fasta").write_text("".join(f">{h}\n{d}\n" for h, d in zip(HASHES, DNA, strict=True)))
    above, rows = TABLES[shape](NAMES[names])
    path = write(rows, SEPARATORS[separator], tmp_path, above)
    study = aam.read_study(path, sequences=tmp_path / "s.fasta" if names == "hashes" else None)
    assert (study.num_samples, study.num_asvs, int(study.depth.sum())) == (3, 4, 41)
    assert what_is(path).startswith("feature table (text), 3 samples x 4 ASVs, 10 to 16 reads per sample")


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("shape", REFUSED_TABLES)
def test_a_table_that_is_refused_is_refused_in_the_same_words(
    shape: str, names: str, separator: str, tmp_path: Path
) -> None:
    path = write(REFUSED_TABLES[shape](NAMES[names]), SEPARATORS[separator], tmp_path)
    with pytest.raises(UserError) as of_reader:
        aam.read_study(path)
    with pytest.raises(UserError) as of_info:
        what_is(path)
    assert str(of_info.value).removeprefix("It looks like a feature table: ") == str(of_reader.value)


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("shape", TAXONOMIES)
def test_a_taxonomy_is_one_to_both_and_no_table(shape: str, names: str, separator: str, tmp_path: Path) -> None:
    if shape == "no header" and separator == "semicolon":
        pytest.skip("semicolons divide the lineage there")
    path = write(TAXONOMIES[shape](NAMES[names]), SEPARATORS[separator], tmp_path)
    assert list(aam.read_taxonomy(path).index) == NAMES[names]
    assert what_is(path).startswith("taxonomy, lineages of 4 features")
    with pytest.raises(UserError):
        aam.read_study(path)


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("shape", METADATA)
def test_metadata_are_metadata_to_both_and_no_table(shape: str, separator: str, tmp_path: Path) -> None:
    path = write(METADATA[shape], SEPARATORS[separator], tmp_path)
    assert what_is(path).startswith(f"metadata, {count_noun(len(aam.read_metadata(path)), 'sample')}")
    with pytest.raises(UserError):
        aam.read_study(path)


def test_metadata_without_a_header_are_refused(tmp_path: Path) -> None:
    path = write([["S1", 1, 7], ["S2", 2, 8], ["S3", 3, 9]], "\t", tmp_path)
    with pytest.raises(UserError, match=r"has no header: its first line is a row of values \(S1, 1, 7\)"):
        aam.read_metadata(path)


def test_a_title_above_metadata_is_named(tmp_path: Path) -> None:
    for separator in SEPARATORS.values():
        path = write([["id", "ph"], ["a", 1], ["b", 2]], separator, tmp_path, "My samples\n")
        with pytest.raises(UserError, match=r"'My samples' alone in its first line, and columns below"):
            aam.read_metadata(path)
