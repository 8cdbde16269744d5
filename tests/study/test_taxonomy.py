"""Taxonomies, as each of the field's programs and reference databases writes them. Expected names were taken apart by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aam_nb.config import UserError
from aam_nb.study.errors import FormatError
from aam_nb.study.readers.archives import Source
from aam_nb.study.readers.taxonomy import (
    RANKS,
    TaxonomyError,
    parse_taxonomy,
    read_taxonomy,
    taxa_of,
)


def read(text: str, folder: Path) -> pd.DataFrame:
    (folder / "taxonomy.tsv").write_bytes(text.encode())
    return read_taxonomy(folder / "taxonomy.tsv")


def notes(text: str, folder: Path) -> list[str]:
    (folder / "taxonomy.tsv").write_text(text)
    return parse_taxonomy(Source(folder / "taxonomy.tsv", "taxonomy.tsv"))[1]


def names(frame: pd.DataFrame, feature: str) -> list[Any]:
    return [None if pd.isna(v) else v for v in frame.loc[feature]]


QIIME2 = (
    "Feature ID\tTaxon\tConfidence\n"
    "0012\tk__Bacteria; p__Firmicutes; c__Clostridia; o__Clostridiales; f__Lachnospiraceae; g__[Ruminococcus]; s__\t0.99\n"
    "b\tk__Bacteria; p__Proteobacteria\t0.7\n"
    "c\tUnassigned\t\n"
)


def test_qiime2s_taxonomy(tmp_path: Path) -> None:
    frame = read(QIIME2, tmp_path)
    assert frame.index.tolist() == ["0012", "b", "c"]
    assert frame.index.name == "feature_id"
    assert frame.columns.tolist() == [
        "domain",
        "phylum",
        "class",
        "order",
        "family",
        "genus",
        "confidence",
    ]  # no species
    assert names(frame, "0012") == [
        "Bacteria",
        "Firmicutes",
        "Clostridia",
        "Clostridiales",
        "Lachnospiraceae",
        "[Ruminococcus]",
        0.99,
    ]
    assert names(frame, "b") == ["Bacteria", "Proteobacteria", None, None, None, None, 0.7]
    assert names(frame, "c") == [None] * 7
    assert frame["confidence"].dtype == float
    assert notes(QIIME2, tmp_path) == []


def test_an_artifact_holds_the_same(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.qza", "w") as archive:
        archive.writestr(
            "0a/metadata.yaml", "uuid: 0a\ntype: FeatureData[Taxonomy]\nformat: TSVTaxonomyDirectoryFormat\n"
        )
        archive.writestr("0a/data/taxonomy.tsv", QIIME2)
    pd.testing.assert_frame_equal(read_taxonomy(tmp_path / "t.qza"), read(QIIME2, tmp_path))


BACTEROIDES = ["Bacteria", "Bacteroidota", "Bacteroidia", "Bacteroidales", "Bacteroidaceae", "Bacteroides"]


@pytest.mark.parametrize(
    ("lineage", "expected"),
    [
        (  # Greengenes 13_8
            "k__Bacteria; p__Bacteroidetes; c__Bacteroidia; o__Bacteroidales; f__Prevotellaceae; g__Prevotella; s__copri",
            ["Bacteria", "Bacteroidetes", "Bacteroidia", "Bacteroidales", "Prevotellaceae", "Prevotella", "copri"],
        ),
        (  # Greengenes2 2022.10
            "d__Bacteria; p__Bacteroidota; c__Bacteroidia; o__Bacteroidales; f__Bacteroidaceae; g__Prevotella_7; s__",
            ["Bacteria", "Bacteroidota", "Bacteroidia", "Bacteroidales", "Bacteroidaceae", "Prevotella_7", None],
        ),
        (  # SILVA 138
            "d__Bacteria;p__Bacteroidota;c__Bacteroidia;o__Bacteroidales;f__Bacteroidaceae;g__Bacteroides;s__uncultured_bacterium",
            [*BACTEROIDES, "uncultured_bacterium"],
        ),
        (  # SILVA 128 and 132
            "D_0__Bacteria;D_1__Bacteroidota;D_2__Bacteroidia;D_3__Bacteroidales;D_4__Bacteroidaceae;D_5__Bacteroides",
            [*BACTEROIDES, None],
        ),
        ("Bacteria;Bacteroidota;Bacteroidia;Bacteroidales;Bacteroidaceae;Bacteroides;", [*BACTEROIDES, None]),
        ('Root;Bacteria;"Bacteroidota";Bacteroidia;"Bacteroidales";Bacteroidaceae;Bacteroides', [*BACTEROIDES, None]),
        (  # GTDB
            "d__Bacteria;p__Bacteroidota;c__Bacteroidia;o__Bacteroidales;f__Bacteroidaceae;g__Bacteroides;s__Bacteroides fragilis_A",
            [*BACTEROIDES, "Bacteroides fragilis_A"],
        ),
        (  # UNITE
            "k__Fungi;p__Ascomycota;c__Sordariomycetes;o__unidentified;f__unidentified;g__unidentified;s__x_sp;sh__SH1234.08FU",
            ["Fungi", "Ascomycota", "Sordariomycetes", None, None, None, "x_sp"],
        ),
        ("d__Eukaryota;k__Fungi;p__Ascomycota;t__a strain", ["Eukaryota", "Ascomycota", None, None, None, None, None]),
        ("sk__Eukaryota;k__Fungi;p__Ascomycota", ["Eukaryota", "Ascomycota", None, None, None, None, None]),
        (
            "d__Bacteria;p__Bacteroidota;__;__;__",
            ["Bacteria", "Bacteroidota", None, None, None, None, None],
        ),  # taxa collapse
        ("d__Bacteria;g__Bacteroides", ["Bacteria", None, None, None, None, "Bacteroides", None]),
        ("d__Bacteria;p__Bacteroidota;", ["Bacteria", "Bacteroidota", None, None, None, None, None]),
        ("Bacteria;B;C;D;E;F;G;", ["Bacteria", *"BCDEFG"]),  # mothur ends so
        ("Unassigned", [None] * 7),
        ("unclassified", [None] * 7),
        ("No blast hit", [None] * 7),
        ("", [None] * 7),
        ("k__; p__; c__", [None] * 7),
        ("Bacteria", ["Bacteria", None, None, None, None, None, None]),
    ],
)
def test_lineages_of_each_database(lineage: str, expected: list[str | None], tmp_path: Path) -> None:
    deep = "x\tk__A;p__B;c__C;o__D;f__E;g__F;s__G\n"  # makes all seven columns
    frame = read(f"Feature ID\tTaxon\n{deep}y\t{lineage}\n", tmp_path)
    assert names(frame, "x") == list("ABCDEFG")
    assert names(frame, "y") == expected


def test_a_greengenes_file_has_no_header(tmp_path: Path) -> None:
    text = "228054\tk__Bacteria; p__Cyanobacteria\n844608\tk__Archaea; p__\n"
    frame = read(text, tmp_path)
    assert frame.index.tolist() == ["228054", "844608"]
    assert names(frame, "844608") == ["Archaea", None]
    assert notes(text, tmp_path) == ["took the first line for a lineage, not a header"]


def test_consensus_and_observation_metadata(tmp_path: Path) -> None:
    assert read("Feature ID\tTaxon\tConsensus\na\td__Bacteria\t1.0\n", tmp_path)["confidence"].tolist() == [1.0]
    frame = read("# Constructed from biom file\n#OTUID\ttaxonomy\tconfidence\n7\tk__Bacteria\t0.5\n", tmp_path)
    assert names(frame, "7") == ["Bacteria", 0.5]
    with_types = (
        "id\tTaxon\tConfidence\n#q2:types\tcategorical\tnumeric\na\td__Bacteria\t1\n"  # an exported visualization
    )
    assert names(read(with_types, tmp_path), "a") == ["Bacteria", 1.0]


DADA2 = (
    '"","Kingdom","Phylum","Class","Order","Family","Genus","Species"\n'
    '"TACGG","Bacteria","Bacteroidota","Bacteroidia","Bacteroidales","Bacteroidaceae","Bacteroides",NA\n'
    '"TACGA","Bacteria",NA,NA,NA,NA,NA,NA\n'
)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_dada2s_table(separator: str, tmp_path: Path) -> None:
    frame = read(DADA2.replace(",", separator), tmp_path)
    assert frame.index.tolist() == ["TACGG", "TACGA"]
    assert frame.columns.tolist() == list(RANKS[:6])
    assert names(frame, "TACGG") == BACTEROIDES
    assert names(frame, "TACGA") == ["Bacteria"] + [None] * 5


def test_other_tables_with_a_column_per_rank(tmp_path: Path) -> None:
    bootstraps = ",tax.Kingdom,tax.Phylum,boot.Kingdom,boot.Phylum\nACGT,Bacteria,Bacteroidota,100,98\n"
    assert names(read(bootstraps, tmp_path), "ACGT") == ["Bacteria", "Bacteroidota"]
    assert notes(bootstraps, tmp_path) == ["left out the columns 'boot.Kingdom', 'boot.Phylum' of taxonomy.tsv"]
    phyloseq = ",Rank1,Rank2,Rank7\nACGT,k__Bacteria,p__Bacteroidota,s__\n"
    assert names(read(phyloseq, tmp_path), "ACGT") == ["Bacteria", "Bacteroidota"]
    pr2 = ",Domain,Supergroup,Division,Subdivision,Class\nACGT,Eukaryota,TSAR,Alveolata,Dinoflagellata,Dinophyceae\n"
    assert names(read(pr2, tmp_path), "ACGT") == ["Eukaryota", None, "Dinophyceae"]
    assert notes(pr2, tmp_path) == ["left out the columns 'Supergroup', 'Division', 'Subdivision' of taxonomy.tsv"]
    both = "asv,kingdom,domain,phylum\nACGT,Fungi,Eukaryota,Ascomycota\n"
    assert names(read(both, tmp_path), "ACGT") == ["Eukaryota", "Ascomycota"]


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    text = "# v1\nFeature ID\tTaxon\tSource\na\tk__Fungi;s__x;sh__SH1\tu\nb\tk__Fungi;s__y;sh__SH2\tu\nc\tFungi;Ascomycota\tu\n"
    assert notes(text, tmp_path) == [
        "skipped 1 comment line (first: line 1, '# v1')",
        "took the names of 1 distinct lineage without prefixes for ranks from the domain down",
        f"left out names of ranks other than {', '.join(RANKS)}: sh__ 2x",
        "left out the column 'Source' of taxonomy.tsv",
    ]


def test_all_unassigned_is_a_domain_that_is_missing(tmp_path: Path) -> None:
    frame = read("Feature ID\tTaxon\na\tUnassigned\nb\t\n", tmp_path)
    assert frame.columns.tolist() == ["domain"]
    assert frame["domain"].isna().all()


@pytest.mark.parametrize(
    "text",
    [
        "Feature ID;Taxon;Confidence\n0012;k__Bacteria;0.9\n",
        'Feature ID;Taxon\n0012;"k__Bacteria; p__Bacillota"\n',
        "id;Kingdom;Phylum\n0012;Bacteria;Bacillota\n",
        '"";"Kingdom";"Phylum"\n"0012";"Bacteria";"Bacillota"\n',
    ],
)
def test_semicolons_separate_as_in_a_table(text: str, tmp_path: Path) -> None:
    assert names(read(text, tmp_path), "0012")[0].startswith("Bacteria")


@pytest.mark.parametrize("line", ["a,k__Bacteria; p__Bacillota; c__Bacilli", "a\tBacteria;Bacillota;Bacilli"])
def test_semicolons_of_a_lineage_without_header_do_not_separate(line: str, tmp_path: Path) -> None:
    assert names(read(f"{line}\n", tmp_path), "a") == ["Bacteria", "Bacillota", "Bacilli"]


def test_dada2s_taxa_are_read_from_rs_write_table_and_that_is_told(tmp_path: Path) -> None:
    text = '"Kingdom"\t"Phylum"\n"ACGT"\t"Bacteria"\t"Bacillota"\n"ACGG"\t"Bacteria"\tNA\n'
    assert names(read(text, tmp_path), "ACGT") == ["Bacteria", "Bacillota"]
    assert names(read(text, tmp_path), "ACGG") == ["Bacteria", None]
    assert notes(text, tmp_path) == [
        "took the first column for the feature ids, which R's write.table leaves without a name"
    ]
    with pytest.raises(FormatError, match=r"header with fewer names \(2\) than its rows have fields \(3\)"):
        read(text.replace("Kingdom", "Taxon"), tmp_path)


def test_messages_stay_short_whatever_the_file_holds(tmp_path: Path) -> None:
    long = "x" * 10_000
    for text in (
        f"{long}\t{long}y\na\tb\n",
        f"id\tTaxon\n{long}\tk__{long};p\n",
        f",Kingdom,Phylum\n{long},a;{long},b\n",
        f"id\tTaxon\tConfidence\n{long}\tk__A\t{long}\n",
        f"id\tTaxon\n{long}\tA\n{long}\tA\n",
    ):
        with pytest.raises(FormatError) as caught:
            read(text, tmp_path)
        assert len(str(caught.value)) < 400


BAD: dict[str, tuple[str, type[FormatError], str]] = {
    "empty": ("", FormatError, r"is empty"),
    "header alone": ("Feature ID\tTaxon\n", TaxonomyError, r"no rows below its header"),
    "one column": ("k__Bacteria;p__Firmicutes\nk__Archaea\n", FormatError, r"has 1 column"),
    "metadata": ("sample-id\tph\na\t7\n", TaxonomyError, r"no column of taxa; its columns are 'sample-id', 'ph'\. .*`Taxon`"),
    "one rank": ("id\tclass\nACGT\tx\n", TaxonomyError, r"no column of taxa"),
    "duplicates": ("Feature ID\tTaxon\na\tk__A\na\tk__B\n", TaxonomyError, r"1 feature id occurs more than once .*\(a\)"),
    "no id": ("Feature ID\tTaxon\na\tk__A\n\tk__B\n", TaxonomyError, r"row 2 of 2 has no feature id"),
    "ragged": ("Feature ID\tTaxon\tConfidence\na\tk__A\t1\nb\tk__A\n", FormatError, r"has 2 fields in line 3\. Expected 3"),
    "out of order": ("id\tTaxon\na\tp__B;k__A\n", TaxonomyError, r"'p__B;k__A' of a in .* ranks twice or out of order"),
    "twice": ("id\tTaxon\na\tk__A;p__B;p__C\n", TaxonomyError, r"ranks twice or out of order\. Expected domain, phylum"),
    "mixed": ("id\tTaxon\na\tk__A;Firmicutes\n", TaxonomyError, r"names with prefixes such as p__, and names without"),
    "too many": ("id\tTaxon\na\tA;B;C;D;E;F;G;H\n", TaxonomyError, r"has 8 ranks, and no prefixes .* at most 7.*seven-rank"),
    "all levels": ("id\tTaxon\na\tD_0__A;D_9__B\n", TaxonomyError, r"has 10 ranks"),
    "SINTAX out of order": ("id\tTaxon\na\tp:Firmicutes(0.9),d:Bacteria(1.0)\n", TaxonomyError, r"twice or out of order"),
    "NCBI": ("id\tTaxon\na\tcellular organisms;Bacteria;Bacillota\n", TaxonomyError, r"is one of NCBI"),
    "PR2": ("id\tTaxon\na\tEukaryota;TSAR;Alveolata;D;E;F;G;H;I\n", TaxonomyError, r"has 9 ranks"),
    "confidence": ("id\tTaxon\tConfidence\na\tk__A\thigh\n", TaxonomyError, r"confidence of a in .* is 'high'"),
    "wrong column": (",Kingdom,Phylum\nACGT,p__B,k__A\n", TaxonomyError, r"'p__B' as a domain in line 2\. .*Correct the columns"),
    "lineage as rank": (",Kingdom,Phylum\nACGT,k__A;p__B,p__B\n", TaxonomyError, r"'k__A;p__B' as a domain"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_taxonomy_that_cannot_be_used_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    text, error, said = BAD[case]
    with pytest.raises(error, match=said) as caught:
        read(text, tmp_path)
    assert "taxonomy.tsv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_artifact_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match=r"x\.qza is a QIIME 2 artifact of type FeatureData\[Sequence\]\. Expected a taxonomy"
    ):
        parse_taxonomy(Source(tmp_path, "x.qza", "FeatureData[Sequence]"))


def test_lineages_of_a_table_are_taken_apart_in_the_same_way() -> None:
    frame, told = taxa_of(["a", "b"], ["k__Bacteria; p__X", "Unassigned"], "table.biom")
    assert names(frame, "a") == ["Bacteria", "X"]
    assert names(frame, "b") == [None, None]
    assert told == []


NAME = st.text(st.characters(categories=["L", "N"]), min_size=1).filter(
    lambda n: n.lower() not in {"na", "nan", "none", "null"}
)


@given(
    st.lists(st.lists(NAME, min_size=1, max_size=7), min_size=1, max_size=5),
    st.sampled_from([";", "; "]),
    st.booleans(),
)
def test_names_put_together_are_taken_apart_again(taxa: list[list[str]], divider: str, prefixed: bool) -> None:
    """Law: a lineage made of names has those names, with prefixes or without."""
    letters = "dpcofgs"
    lineages = [
        divider.join(f"{p}__{n}" if prefixed else n for p, n in zip(letters, names, strict=False)) for names in taxa
    ]
    frame = taxa_of([str(i) for i in range(len(taxa))], lineages, "file")[0]
    skipped = {"unassigned", "unclassified", "unidentified", "unknown", "unassignable", "root"}
    for row, expected in zip(frame.itertuples(index=False), taxa, strict=True):
        if not skipped & {n.lower() for n in expected}:
            assert [v for v in row if not pd.isna(v)] == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damaged_bytes_give_a_frame_or_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(data.draw(st.sampled_from([QIIME2, DADA2, "1\tD_0__A;D_1__B\n"])).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3)
            | st.sampled_from([b'"', b"\t", b";", b"\n", b"#", b"__", b"D_99999__", b"\xff", b"\xd9\xa1"])
        )
    path = tmp_path_factory.getbasetemp() / "taxonomy.tsv"
    path.write_bytes(bytes(whole))
    try:
        frame = read_taxonomy(path)
    except UserError as error:
        assert "taxonomy.tsv" in str(error)  # noqa: PT017 - either way is right
    else:
        assert frame.index.is_unique
        assert frame.columns.isin([*RANKS, "confidence"]).all()


FORMS = {
    "mothur": ("Bacteria(100);Firmicutes(99);Bacilli(90);", "Bacteria(100);Firmicutes(98);Bacilli(89);"),
    "bars": ("k__Bacteria|p__Firmicutes|c__Bacilli", "k__Bacteria|p__Firmicutes|c__Bacilli"),
    "commas": ("d__Bacteria,p__Firmicutes,c__Bacilli", "d__Bacteria,p__Firmicutes"),
    "bare bars": ("Bacteria|Firmicutes|Bacilli", "Bacteria|Firmicutes"),
    "slashes": ("k__Bacteria/p__Firmicutes/c__Bacilli", "k__Bacteria"),
    "dots": ("k__Bacteria.p__Firmicutes.c__Bacilli", "k__Bacteria.p__Firmicutes"),
    "underscores": ("k__Bacteria_p__Firmicutes_c__Bacilli", "k__Bacteria_p__Firmicutes"),
    "blanks": ("k__Bacteria p__Firmicutes c__ Bacilli", "k__Bacteria p__Firmicutes"),
    "a domain alone": ("Bacteria|Firmicutes|Bacilli", "Bacteria", "Unassigned"),
    "capitals": ("K__Bacteria;P__Firmicutes", "D__Bacteria;P__Firmicutes"),
    "one underscore": ("k_Bacteria;p_Firmicutes;c_Bacilli", "k_Bacteria;p_Firmicutes"),
    "brackets": ("Bacteria[100];Firmicutes[99]", "Bacteria[98];Firmicutes[97]"),
    "colons": ("Bacteria:1.00;Firmicutes:0.99", "Bacteria:0.98;Firmicutes:0.97"),
    "percent": ("Bacteria(100%); Firmicutes(99.5%)", "Bacteria(98%); Firmicutes(97%)"),
}


@pytest.mark.parametrize("form", FORMS)
def test_scores_and_separators_of_other_programs(form: str, tmp_path: Path) -> None:
    text = "id\ttaxon\n" + "".join(f"f{k}\t{lineage}\n" for k, lineage in enumerate(FORMS[form]))
    ranks, told = read(text, tmp_path), " ".join(notes(text, tmp_path))
    assert set(ranks["domain"].dropna()) == {"Bacteria"}
    assert set(ranks["phylum"].dropna()) == {"Firmicutes"}
    assert ranks["phylum"].notna().sum() == sum("Firmicutes" in lineage for lineage in FORMS[form])
    assert ("took the bootstrap values" in told) == (form in ("mothur", "percent", "brackets", "colons"))
    assert ("at bars, commas or other marks" in told) == (";" not in FORMS[form][0])


def test_rdp_output_is_no_table_of_ranks(tmp_path: Path) -> None:
    row = ",,Bacteria,domain,1.0,Firmicutes,phylum,0.99\n"  # with tabs, as RDP writes it, it is read
    with pytest.raises(TaxonomyError, match=r"numbers in its first line.*no header.*RDP"):
        read(f"f1{row}f2{row}", tmp_path)


def test_a_name_that_holds_a_separator_is_questioned(tmp_path: Path) -> None:
    assert "1 name holds a separator" in " ".join(notes("id\ttaxon\nf1\tk__Bacteria; p__A|B\n", tmp_path))


def test_a_column_of_ranks_that_holds_a_separator_is_questioned(tmp_path: Path) -> None:
    assert "1 name holds a separator" in " ".join(
        notes("id,Kingdom,Phylum\nf1,Bacteria|Firmicutes,Firmicutes\n", tmp_path)
    )


def test_scores_in_columns_of_ranks(tmp_path: Path) -> None:
    assert names(read("id,Kingdom,Phylum\nf1,Bacteria(100),Firmicutes(99)\n", tmp_path), "f1") == [
        "Bacteria",
        "Firmicutes",
    ]
