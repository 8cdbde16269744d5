"""What `aam-nb info` says of a file, beside what the readers say of the same file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_tables import write_qza

import aam_nb as aam
from aam_nb.config import UserError, count_noun
from aam_nb.study.info import what_is
from aam_nb.study.readers.metadata import read_metadata
from aam_nb.study.readers.taxonomy import read_taxonomy

DNA = ["".join(p) * 10 for p in itertools.product("ACGT", repeat=3)][1:5]  # 30 nt
BARCODES = ["ACGTACGTACGT", "ACGTTTTTACGT", "GGGTTTTTACGT"]
HASHES = [f"{k:032x}" for k in range(9, 12)]


def told(text: str, folder: Path) -> str:
    (folder / "file.tsv").write_text(text)
    return what_is(folder / "file.tsv")


def rows(header: list[Any], *more: list[Any], separator: str = "\t") -> str:
    return "".join(separator.join(map(str, r)) + "\n" for r in (header, *more))


TABLES = {
    "biom convert with taxonomy": "# Constructed from biom file\n"
    + rows(["#OTU ID", "s1", "s2", "taxonomy"], *([d, 1.0, 2.0, "k__Bacteria; p__A"] for d in DNA)),
    "biom convert with a lineage": rows(["#OTU ID", "s1", "Consensus Lineage"], *([d, 1.0, "k__B; p__A"] for d in DNA)),
    "features in rows, any header": rows(["x", "s1", "s2"], *([d, 1, 0] for d in DNA)),
    "features in rows, a header of samples": rows(["sample-id", "s1", "s2"], *([d, 1, 0] for d in DNA)),
    "features in columns": rows(["sample-id", *DNA], *([f"s{k}", 1, 2, 0, 3] for k in range(3))),
    "DADA2's write.table": rows(DNA, *([f"s{k}", 1, 2, 0, 3] for k in range(3))),
    "DADA2's write.csv2": rows(["", *DNA], *([f"s{k}", 1, 2, 0, 3] for k in range(3)), separator=";"),
    "short DNA below #OTU ID": rows(["#OTU ID", "s1"], *([d, 1] for d in BARCODES)),
    "a header that seems a comment": rows(["#Any name", "s1", "s2"], *([d, 1, 0] for d in DNA)),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_feature_table_is_told_as_read_study_reads_it(case: str, tmp_path: Path) -> None:
    said = told(TABLES[case], tmp_path)
    study = aam.read_study(tmp_path / "file.tsv")
    size = f"{count_noun(study.num_samples, 'sample')} x {count_noun(study.num_asvs, 'ASV')}"
    assert said.startswith(f"feature table (text), {size}, ")


@pytest.mark.parametrize(
    "text",
    [
        rows(["", "s1", "s2"], *([h, 1, 2] for h in HASHES)),
        rows(["", *HASHES], *([f"s{k}", 1, 2, 3] for k in range(2))),
        rows(['""', *(f'"{h}"' for h in HASHES)], *([f'"s{k}"', 1, 2, 3] for k in range(2)), separator=","),
        rows(HASHES, *([f"s{k}", 1, 2, 3] for k in range(2))),
    ],
    ids=["rows", "columns", "CSV", "write.table"],
)
def test_hashed_features_are_told_with_what_they_need(text: str, tmp_path: Path) -> None:
    said = told(text, tmp_path)
    assert said.startswith("feature table (text), 2 samples x 3 ASVs")
    assert said.endswith("the commands that read a study need `--sequences` too")
    (tmp_path / "s.fasta").write_text("".join(f">{h}\n{d}\n" for h, d in zip(HASHES, DNA, strict=False)))
    assert aam.read_study(tmp_path / "file.tsv", sequences=tmp_path / "s.fasta").num_asvs == 3


def test_samples_named_by_hashes_are_samples(tmp_path: Path) -> None:
    assert "3 samples x 4 ASVs" in told(rows(["", *DNA], *([h, 1, 2, 0, 3] for h in HASHES)), tmp_path)
    assert "metadata, 3 samples" in told(rows(["sample-id", "ph"], *([h, 1] for h in HASHES)), tmp_path)


@pytest.mark.parametrize("corner", ["", "#OTU ID"])
def test_names_of_features_are_refused_with_what_they_need(corner: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--sequences"):
        told(rows([corner, "s1", "s2"], ["d__Bacteria;p__A", 1, 2], ["d__Bacteria;p__B", 0, 2]), tmp_path)
    with pytest.raises(UserError, match=r"are names .*--sequences"):
        told(rows([corner, "s1", "s2"], ["ASV1", 1, 2], ["ASV2", 0, 2]), tmp_path)


@pytest.mark.parametrize("cell", ["", "NA", '"1,000"', "n.d.", "1,5"])
@pytest.mark.parametrize("header", [["#OTU ID", "s1", "s2", "s3"], ["", "s1", "s2", "s3"]])
def test_a_table_with_a_cell_that_is_no_count_is_refused_as_a_table(
    cell: str, header: list[str], tmp_path: Path
) -> None:
    text = rows(header, [DNA[0], 1, 2, 3], [DNA[1], 1, cell, 3])
    with pytest.raises(UserError, match=rf"It looks like a feature table: .*{cell.strip(chr(34))}.* Expected a count"):
        told(text, tmp_path)
    with pytest.raises(UserError):
        aam.read_study(tmp_path / "file.tsv")


def test_relative_abundances_are_refused_as_a_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0\.25"):
        told(rows(["#OTU ID", "s1"], *([d, 0.25] for d in DNA)), tmp_path)


# -- taxonomy and metadata --------------------------------------------------------------------------------------------

RANKS = ["Kingdom", "Phylum", "Class"]
TAXONOMIES = {
    "QIIME 2": rows(["Feature ID", "Taxon", "Confidence"], *([h, "k__B; p__A", 0.9] for h in HASHES)),
    "QIIME 2 with numbers": rows(["Feature ID", "Taxon", "Consensus", "n"], *([h, "k__B", 0.9, 3] for h in HASHES)),
    "unassigned": rows(["id", "Taxon"], ["a", "Unassigned"], ["b", "Unassigned"]),
    "no header": rows(["228054", "k__Bacteria; p__A"], ["228055", "k__Bacteria; p__A"]),
    "no header, but numbers": rows(*([h, "k__Bacteria; p__A", 0.9] for h in HASHES)),
    "DADA2": rows(["", *RANKS], *([d, "Bacteria", "A", "B"] for d in DNA), separator=","),
    "DADA2's write.table": rows(RANKS, *([d, "Bacteria", "A", "B"] for d in DNA)),
    "bootstraps": rows(["", "tax.Kingdom", "tax.Phylum", "boot.Kingdom", "boot.Phylum"], *([d, "B", "A", 9, 9] for d in DNA)),
    "ASV,Domain,Phylum": rows(["ASV", "Domain", "Phylum"], ["ASV1", "Bacteria", "A"], separator=","),
    "hashes and some ranks": rows(["name", "order", "genus", "note"], *([h, "O", "G", "n"] for h in HASHES)),
}  # fmt: skip
METADATA = {
    "ranks of hosts": rows(["sample-id", "order", "family", "genus", "ph"], ["a", "Chiroptera", "P", "M", 7]),
    "ranks of hosts alone": rows(["#SampleID", "order", "family", "genus"], ["a", "Chiroptera", "P", "M"]),
    "a taxon": rows(["sample-id", "taxon"], ["a", "Homo sapiens"]),
    "a taxon, any header": rows(["id", "taxon", "age"], ["a", "Homo sapiens", 3]),
    "low ranks of hosts, any header": rows(["id", "genus", "species", "age"], ["a", "Mus", "musculus", 3]),
    "a row of types": rows(["id", "order", "class"], ["#q2:types", "numeric", "numeric"], ["a", 1, 2]),
    "barcodes": rows(["sample-id", "ph"], *([b, 7] for b in BARCODES)),
    "barcodes, any header": rows(["id", "ph"], *([b, 7.5] for b in BARCODES)),
    "barcodes with a row of types": rows(["id", "ph"], ["#q2:types", "numeric"], *([b, 7] for b in BARCODES)),
    "semicolons": rows(["id", "site", "ph"], ["a", "Lima, Peru", "7,1"], separator=";"),
    "numbers": rows(["id", "age", "weight"], ["a", 3, 4], ["b", 3, 4]),
}


@pytest.mark.parametrize("case", TAXONOMIES)
def test_a_taxonomy_is_told_as_its_reader_reads_it(case: str, tmp_path: Path) -> None:
    said = told(TAXONOMIES[case], tmp_path)
    num_features = count_noun(len(read_taxonomy(tmp_path / "file.tsv")), "feature")
    assert said.startswith(f"taxonomy, lineages of {num_features} (")


@pytest.mark.parametrize("case", METADATA)
def test_metadata_are_told_as_their_reader_reads_them(case: str, tmp_path: Path) -> None:
    said = told(METADATA[case], tmp_path)
    n = len(read_metadata(tmp_path / "file.tsv"))
    assert said.startswith("metadata, 1 sample," if n == 1 else f"metadata, {n} samples,")


def test_what_could_be_either_is_told_as_both(tmp_path: Path) -> None:
    said = told(rows(["id", "reads"], *([b, 7] for b in BARCODES)), tmp_path)
    assert said.startswith("could be table or metadata: as table (--table) feature table (text), 1 sample x 3 ASVs")
    assert "; as metadata (--metadata) metadata, 3 samples, 1 column of numbers" in said
    said = told(rows(["id", "order", "genus"], ["a", "Chiroptera", "Myotis"]), tmp_path)
    assert said.startswith("could be metadata or taxonomy: as metadata (--metadata) metadata, 1 sample,")
    assert "; as taxonomy (--taxonomy) taxonomy, lineages of 1 feature" in said


def test_what_could_be_either_and_is_refused_as_one_is_told_so(tmp_path: Path) -> None:
    said = told(rows(["id", "reads"], *([b, 0] for b in BARCODES)), tmp_path)
    assert "as table (--table) it would be refused: All counts of " in said
    assert "as metadata (--metadata) metadata, 3 samples" in said
    with pytest.raises(UserError, match=r"1 ASV occurs more than once"):
        told(rows(["id", "reads"], [BARCODES[0], 7], [BARCODES[0], 7]), tmp_path)


# -- trees and distances ----------------------------------------------------------------------------------------------


def test_an_unrooted_artifact_is_unrooted_whatever_its_newick_is(tmp_path: Path) -> None:
    newick = b"(AC:1,(GT:1,CC:2):1);"
    unrooted = write_qza(tmp_path / "u.qza", "Phylogeny[Unrooted]", "tree.nwk", newick)
    assert "unrooted tree (Newick), 3 tips; would be refused without --root midpoint" in what_is(unrooted)
    rooted = write_qza(tmp_path / "r.qza", "Phylogeny[Rooted]", "tree.nwk", newick)
    assert "Phylogeny[Rooted]: rooted tree (Newick), 3 tips" in what_is(rooted)


@pytest.mark.parametrize("text", ["[&R] (AC:1,GT:2);\n", "[a][b]\n ((AC:1):1,GT:2);\n"])
def test_a_tree_may_start_with_a_comment(text: str, tmp_path: Path) -> None:
    assert told(text, tmp_path).startswith("rooted tree (Newick), 2 tips")


def test_a_tree_of_one_tip_has_no_bracket(tmp_path: Path) -> None:
    assert "tree (Newick), 1 tips" in told("ACGT:0.1;\n", tmp_path)


def test_nexus_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is NEXUS\. Expected a tree in Newick.*write\.tree"):
        told("#NEXUS\nBEGIN TREES;\n  TREE t = [&R] (a:1,b:2);\nEND;\n", tmp_path)


@pytest.mark.parametrize("num", [2, 3, 80])
def test_distances_as_scikit_bio_writes_them_are_told(num: int, tmp_path: Path) -> None:
    from skbio import DistanceMatrix

    DistanceMatrix(np.ones((num, num)) - np.eye(num), [f"s{k}" for k in range(num)]).write(str(tmp_path / "d.tsv"))
    assert what_is(tmp_path / "d.tsv") == f"distance matrix (text), {num} x {num}"


# -- anything ---------------------------------------------------------------------------------------------------------

FILES = [*TABLES.values(), *TAXONOMIES.values(), *METADATA.values()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(FILES), st.lists(st.tuples(st.integers(0, 400), st.text("\t,;\n\"#'[(x1 ", max_size=3)), max_size=5)
)
@example("x", [])
@example("#\n;", [])
@example("\t\n\t", [])
def test_any_text_is_told_in_a_line_or_refused_by_us(
    tmp_path_factory: pytest.TempPathFactory, text: str, edits: list[tuple[int, str]]
) -> None:
    for at, what in edits:
        text = text[:at] + what + text[at + len(what) :]
    try:
        said = told(text, tmp_path_factory.getbasetemp())
    except UserError as error:
        said = str(error)
    assert said
