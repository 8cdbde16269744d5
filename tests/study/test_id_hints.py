"""Ids that nearly match are told, with what differs; nothing is renamed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from aam_nb.study.errors import StudyError
from aam_nb.study.id_hints import describe_slips
from aam_nb.study.read import read_study

CASES = [
    (["A_S1_L001", "B_S2_L001"], ["A", "B"], "names of sequencing files"),
    (["A_S1_L001_R1_001.fastq.gz", "B_S2_L001_R1_001.fastq.gz"], ["A", "B"], "names of sequencing files"),
    (["A_R1", "B_R1"], ["A", "B"], "names of sequencing files"),
    (["A", "B"], ["A_S1_L001", "B_S2_L001"], "names of sequencing files"),
    (["10317.A1", "10317.B2"], ["A1", "B2"], "a study's number in front"),
    (["S1", "S2"], ["S01", "S02"], "leading zeros"),
    (["1", "2"], ["1.0", "2.0"], "a .0 suffix"),
    (["a-b", "a-c"], ["a.b", "a_c"], "dots, dashes or underscores"),
    (["a", "b"], ["A", "B"], "capital letters"),
    (["X1", "X2"], ["1", "2"], "an X in front"),
    (["'a'", "'b'"], ["a", "b"], "quotes"),
    (["run2_a", "run2_b"], ["a", "b"], "'run2_' in front of the ids"),
    (["a_week1", "b_week1"], ["a", "b"], "'_week1' behind the ids"),
    (["550.L1S1.s", "550.L1S2.s"], ["L1S1_S", "L1S2_S"], "several such differences at once"),
]


def test_a_shared_beginning_is_seen_beside_other_differences() -> None:
    hint = describe_slips(["run9_a_S1_L001", "run9_b_S2_L001"], ["A", "B"])
    assert hint == "several such differences at once, 'run9' in front of the ids (2 ids, such as 'run9a' and 'a')"


@pytest.mark.parametrize(("lost", "extra", "said"), CASES)
def test_what_differs_is_told_with_how_many_would_match(lost: list[str], extra: list[str], said: str) -> None:
    hint = describe_slips(lost, extra)
    assert said in hint
    assert f"(2 ids, such as {lost[0]!r} and {extra[0]!r})" in hint


@pytest.mark.parametrize(
    ("lost", "extra"),
    [
        (["a", "b"], ["p", "q"]),
        ([], ["a"]),
        (["a"], []),
        (["S_1", "S_2", "S_3"], ["S"]),
        (["1.2", "3.4"], ["12.0", "35"]),
    ],
)
def test_ids_that_have_nothing_in_common_get_no_hint(lost: list[str], extra: list[str]) -> None:
    assert describe_slips(lost, extra) == ""


DNA = ["ACGTTGCAAC", "GGATCCATTA"]


def write_table(folder: Path) -> Path:
    (folder / "table.tsv").write_text("#OTU ID\ts1\ts2\n" + "".join(f"{dna}\t1\t2\n" for dna in DNA))
    return folder / "table.tsv"


def test_a_tree_of_other_tips_says_how_they_differ(tmp_path: Path) -> None:
    table, tree = write_table(tmp_path), tmp_path / "tree.nwk"
    complement = str.maketrans("ACGT", "TGCA")
    named = {
        "the reverse complement": [dna.translate(complement)[::-1] for dna in DNA],
        "the MD5 hash of an ASV": [hashlib.md5(dna.encode()).hexdigest() for dna in DNA],
        "begin as an ASV does (the first 8 nt)": [dna[:8] for dna in DNA],
        "its tips are named": ["OTU1", "OTU2"],
    }
    for said, tips in named.items():
        tree.write_text(f"({tips[0]}:1,{tips[1]}:1);")
        step = read_study(table, tree=tree).provenance[-1]
        assert "2 of 2 ASVs not among them" in step
        assert said in step


def test_lineages_of_other_ids_say_how_they_differ(tmp_path: Path) -> None:
    table, taxonomy = write_table(tmp_path), tmp_path / "taxonomy.tsv"
    hashes = [hashlib.md5(dna.encode()).hexdigest() for dna in DNA]
    taxonomy.write_text("Feature ID\tTaxon\n" + "".join(f"{i}\td__Bacteria; p__Bacillota\n" for i in hashes))
    with pytest.raises(StudyError, match=r"2 of which are the MD5 hash of an ASV.*--sequences"):
        read_study(table, taxonomy=taxonomy)


def test_sequences_of_other_ids_say_how_they_differ(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("#OTU ID\ts1\ts2\nASV01\t1\t2\nASV02\t3\t4\n")
    (tmp_path / "seqs.fasta").write_text(f">ASV1\n{DNA[0]}\n>ASV2\n{DNA[1]}\n")
    with pytest.raises(StudyError, match="would match but for leading zeros"):
        read_study(tmp_path / "table.tsv", sequences=tmp_path / "seqs.fasta")
