"""Taxonomies as programs write them: SINTAX, RDP, and the spellings of reference databases. Expected names were written by hand."""

from pathlib import Path

import biom
import numpy as np
import pytest

import aam_nb as aam
from aam_nb.study.info import what_is
from aam_nb.study.readers.archives import unpacked
from aam_nb.study.readers.taxonomy import parse_taxonomy

FULL = "d:Bacteria(1.0000),p:Firmicutes(0.9800),c:Bacilli(0.5500)"
OTHER = "d:Bacteria(0.90),p:Bacteroidota(0.30)"

SINTAX = {
    "vsearch": (f"a\t{FULL}\t+\td:Bacteria,p:Firmicutes\nb\t{OTHER}\t+\td:Bacteria\nc\t\t\t\n", "above its cutoff"),
    "vsearch, the first not assigned": (
        f"c\t\t\t\na\t{FULL}\t+\td:Bacteria,p:Firmicutes\nb\t{OTHER}\t-\td:Bacteria\n",
        "above its cutoff",
    ),
    "usearch, trailing tabs lost": (
        f"a\t{FULL}\t+\td:Bacteria,p:Firmicutes\nb\t{OTHER}\t+\td:Bacteria\nc\n",
        "above its cutoff",
    ),
    "sizes": (
        f"a;size=9;\t{FULL}\t+\td:Bacteria,p:Firmicutes\nb;size=1\t{OTHER}\t+\td:Bacteria\nc\t\t\t\n",
        "`;size=`",
    ),
    "a header": ("Feature ID\tTaxon\na\td:Bacteria(1),p:Firmicutes(0.9)\nb\td:Bacteria(0.9)\nc\tUnassigned\n", "(99)"),
    "no scores, tax=": ("#OTU ID\ttaxonomy\na\ttax=d:Bacteria,p:Firmicutes;\nb\ttax=d:Bacteria;\nc\t\n", ""),
    "CSV": ('id,taxonomy\na,"d:Bacteria(1),p:Firmicutes(1)"\nb,"d:Bacteria(1)"\nc,\n', "(99)"),
}


def read(text: str, folder: Path) -> tuple[dict[str, list[object]], str]:
    path = folder / "taxonomy.tsv"
    path.write_text(text)
    with unpacked(path, "a taxonomy") as source:
        frame, notes = parse_taxonomy(source)
    frame = frame.drop(columns="confidence", errors="ignore").astype(object)
    return {
        str(i): [None if v != v else v for v in row] for i, row in zip(frame.index, frame.to_numpy(), strict=True)
    }, "; ".join(notes)


@pytest.mark.parametrize("case", SINTAX)
def test_sintax_is_read_above_its_cutoff_and_told(case: str, tmp_path: Path) -> None:
    text, words = SINTAX[case]
    taxa, told = read(text, tmp_path)
    assert taxa == {"a": ["Bacteria", "Firmicutes"], "b": ["Bacteria", None], "c": [None, None]}
    assert words in told
    assert what_is(tmp_path / "taxonomy.tsv").startswith("taxonomy, lineages of 3 features")


def test_sintax_without_a_cutoff_gives_all_names_and_tells_so(tmp_path: Path) -> None:
    for text in (f"a\t{FULL}\t+\nb\t{OTHER}\t-\n", f"a\t{FULL}\nb\t{OTHER}\n"):
        taxa, told = read(text, tmp_path)
        assert taxa == {"a": ["Bacteria", "Firmicutes", "Bacilli"], "b": ["Bacteria", "Bacteroidota", None]}
        assert "took all names, whatever their score" in told
        assert "took the bootstrap values" in told


def test_rdp_is_read_with_its_last_score(tmp_path: Path) -> None:
    fixed = 'a\t\tBacteria\tdomain\t1.0\t"Bacillota"\tphylum\t0.98\nb\t\tBacteria\tdomain\t1.0\tX\tphylum\t0.2\n'
    all_ranks = (
        "a\t-\tRoot\trootrank\t1.0\tBacteria\tdomain\t1.0\tBacillota\tphylum\t0.98\tY\tsubclass\t0.9\n"
        "b\t\tRoot\trootrank\t1.0\tBacteria\tdomain\t1.0\tX\tphylum\t0.2\n"
    )
    for text in (fixed, all_ranks):
        taxa, told = read(text, tmp_path)
        assert taxa == {"a": ["Bacteria", "Bacillota"], "b": ["Bacteria", "X"]}
        assert "whatever their score (the lowest: 0.2)" in told
        assert aam.read_taxonomy(tmp_path / "taxonomy.tsv")["confidence"].tolist() == [0.98, 0.2]
        assert what_is(tmp_path / "taxonomy.tsv").startswith("taxonomy, lineages of 2 features")


FUNGI = ["Fungi", "Ascomycota", "Saccharomycetes"]
DATABASES = {
    "SILVA": ("D_0__Fungi;D_1__Ascomycota;D_2__Saccharomycetes", FUNGI, ""),
    "UNITE": ("k__Fungi;p__Ascomycota;c__Saccharomycetes;sh__SH123.09FU", FUNGI, "sh__ 1x"),
    "UNITE's headers": ("X_y|KX1|SH12.09FU|reps|k__Fungi;p__Ascomycota;c__Saccharomycetes", FUNGI, "as UNITE names"),
    "GTDB": ("d__Fungi;p__Ascomycota;c__Saccharomycetes;o__;f__;g__;s__", FUNGI, ""),
    "Kraken": ("k__Fungi|p__Ascomycota|c__Saccharomycetes", FUNGI, "at bars"),
    "MetaPhlAn": ("k__Fungi|p__Ascomycota|c__Saccharomycetes|t__SGB1", FUNGI, "t__ 1x"),
    "mothur": ("Fungi(100);Ascomycota(99);Saccharomycetes(71);", FUNGI, "bootstrap"),
    "DECIPHER": ("Root; Fungi; Ascomycota; Saccharomycetes", FUNGI, "from the domain down"),
    "QIIME's collapse": ("k__Fungi;p__Ascomycota;c__Saccharomycetes;__;__", FUNGI, ""),
    "PR2, cut": ("Eukaryota;TSAR;Alveolata", ["Eukaryota", "TSAR", "Alveolata"], "is a supergroup"),
}


@pytest.mark.parametrize("case", DATABASES)
def test_spellings_of_reference_databases(case: str, tmp_path: Path) -> None:
    lineage, expected, words = DATABASES[case]
    taxa, told = read(f"Feature ID\tTaxon\na\t{lineage}\n", tmp_path)
    assert taxa == {"a": expected}
    assert words in told


def test_sintax_beside_the_counts_is_the_taxonomy_of_the_table(tmp_path: Path) -> None:
    asvs = ["ACGTACGTAC", "TTGTACGTAC"]
    (tmp_path / "t.tsv").write_text(f"#OTU ID\tS1\tS2\ttaxonomy\n{asvs[0]}\t1\t2\t{FULL}\n{asvs[1]}\t3\t4\t{OTHER}\n")
    table = biom.Table(np.array([[1, 2], [3, 4]]), asvs, ["S1", "S2"], [{"taxonomy": FULL}, {"taxonomy": OTHER}])
    for study in (aam.read_study(tmp_path / "t.tsv"), aam.Study.from_biom(table)):
        assert study.taxonomy is not None
        assert study.taxonomy["phylum"].tolist() == ["Firmicutes", "Bacteroidota"]
        assert any("bootstrap" in step for step in study.provenance)
