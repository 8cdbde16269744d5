"""Sequences: FASTA, and DNA in one way of writing. The oracle is scikit-bio."""

from __future__ import annotations

import gzip
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aam_nb.config import UserError
from aam_nb.study.errors import FormatError
from aam_nb.study.readers.archives import Source
from aam_nb.study.readers.sequences import SequenceError, normal_dna, parse_sequences, read_sequences

IUPAC = "ACGTRYSWKMBDHVN"


def read(text: str | bytes, folder: Path) -> pd.Series:
    (folder / "seqs.fasta").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_sequences(folder / "seqs.fasta")


def notes(text: str, folder: Path) -> list[str]:
    (folder / "seqs.fasta").write_text(text)
    return parse_sequences(Source(folder / "seqs.fasta", "seqs.fasta"))[1]


FASTA = ">0012 a description > with signs\nACGT\nRYSWKMBDHVN\n\n>b\tmore\n  TT GG \n".replace(" GG", "GG")


def test_fasta(tmp_path: Path) -> None:
    found = read(FASTA, tmp_path)
    assert found.to_dict() == {"0012": "ACGTRYSWKMBDHVN", "b": "TTGG"}
    assert (found.name, found.index.name) == ("sequence", "feature_id")
    assert notes(FASTA, tmp_path) == []


@pytest.mark.parametrize("end", ["\r\n", "\r"], ids=["windows", "old mac"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(end: str, tmp_path: Path) -> None:
    assert read("\ufeff\n" + FASTA.replace("\n", end), tmp_path).to_dict() == {"0012": "ACGTRYSWKMBDHVN", "b": "TTGG"}


def test_packed_files_hold_the_same(tmp_path: Path) -> None:
    (tmp_path / "s.fasta.gz").write_bytes(gzip.compress(FASTA.encode()))
    with zipfile.ZipFile(tmp_path / "s.qza", "w") as archive:
        archive.writestr(
            "0a/metadata.yaml", "uuid: 0a\ntype: FeatureData[Sequence]\nformat: DNASequencesDirectoryFormat\n"
        )
        archive.writestr("0a/data/dna-sequences.fasta", FASTA)
    for name in ("s.fasta.gz", "s.qza"):
        pd.testing.assert_series_equal(read_sequences(tmp_path / name), read(FASTA, tmp_path))


def test_lower_case_rna_and_sizes_are_told(tmp_path: Path) -> None:
    text = ">a;size=12;\nacgu\n>b;size=3\nACGU\n>c;tax=x;\nACGT\n>d;size=9;tax=y\nTTTT\n"
    assert read(text, tmp_path).to_dict() == {"a": "ACGT", "b": "ACGT", "c;tax=x;": "ACGT", "d;tax=y": "TTTT"}
    assert notes(text, tmp_path) == [
        "cut `;size=` from 3 sequence ids",
        "wrote 1 of 4 sequences in upper case",
        "wrote T for U in 2 of 4 sequences",
    ]


@settings(deadline=None)  # the first example imports scikit-bio
@given(st.lists(st.tuples(st.text(IUPAC, min_size=1, max_size=30), st.integers(1, 9)), min_size=1, max_size=5))
def test_fasta_is_read_as_scikit_bio_reads_it(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, int]]
) -> None:
    import skbio

    folder = tmp_path_factory.getbasetemp()
    text = "".join(
        f">s{i} d\n" + "\n".join(s[j : j + width] for j in range(0, len(s), width)) + "\n"
        for i, (s, width) in enumerate(records)
    )
    found = read(text, folder)
    theirs = {
        s.metadata["id"]: str(s) for s in skbio.read(str(folder / "seqs.fasta"), format="fasta", constructor=skbio.DNA)
    }
    assert found.to_dict() == theirs


BAD: dict[str, tuple[str | bytes, type[Exception], str]] = {
    "empty": ("", FormatError, r"is empty"),
    "blank": ("\n \n", FormatError, r"is empty"),
    "another text": ("sample\tx\na\t1\n", FormatError, r"is not FASTA: it starts with 'sample.*Expected a line with `>`"),
    "FASTQ": ("@r1\nACGT\n+\nIIII\n", FormatError, r"is FASTQ: reads with their qualities.*seqkit fq2fa"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", FormatError, r"not UTF-8"),
    "duplicates": (">a\nAC\n>b\nGT\n>a\nTT\n", SequenceError, r"1 feature id occurs more than once in .*\(a\)"),
    "duplicates but for size": (">a;size=1\nAC\n>a;size=2\nGT\n", SequenceError, r"1 feature id occurs more than once"),
    "no id": (">a\nAC\n>\nGT\n", SequenceError, r"sequence 2 of 2 has no id"),
    "id after a blank": ("> a\nAC\n", SequenceError, r"sequence 1 of 1 has no id"),
    "no sequence": (">a\nAC\n>b\n>c\n", SequenceError, r"2 of 3 sequences are empty .*\(ids: b, c\)"),
    "gaps": (">a\nAC-GT\n>b\n..AC\n", SequenceError, r"2 of 2 sequences hold gaps \(.*\), as alignments do \(ids: a, b\).*seqkit seq -g"),
    "protein": (">a\nMKVLA\n>b\nACGT\n", SequenceError, r"1 of 2 sequences hold letters that are no nucleotides \('L'\), as prot"),
    "stop codon": (">a\nMK*\n", SequenceError, r"as proteins do"),
    "digits": (">a\n1 ACGT 5\n", SequenceError, r"hold characters that are no nucleotides .*nothing else\.$"),
    "names": (">a\nOTU1\n", SequenceError, r"hold characters that are no nucleotides .*nothing else\.$"),
    "blanks": (">a\nAC GT\n", SequenceError, r"no nucleotides \(' '\)"),
    "sharp s": (">a\nACß\n", SequenceError, r"\('ß'\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_sequences_that_cannot_be_used_are_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    text, error, said = BAD[case]
    with pytest.raises(error, match=said) as caught:
        read(text, tmp_path)
    assert isinstance(caught.value, UserError)
    assert "seqs.fasta" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_artifact_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match=r"x\.qza is a QIIME 2 artifact of type FeatureData\[Taxonomy\]\. Expected FASTA"
    ):
        parse_sequences(Source(tmp_path, "x.qza", "FeatureData[Taxonomy]"))


# -- DNA in one way of writing ----------------------------------------------------------------------------------------


@settings(deadline=None)  # the first example imports scikit-bio
@given(st.lists(st.text(IUPAC + IUPAC.lower() + "Uu", min_size=1), min_size=1), st.booleans())
def test_dna_is_upper_case_with_t_for_u(sequences: list[str], as_index: bool) -> None:
    import skbio

    given_ = (
        pd.Index(sequences, name="asv")
        if as_index
        else pd.Series(sequences, index=list(range(len(sequences))), name="asv")
    )
    found, told = normal_dna(given_)
    assert type(found) is type(given_)
    assert found.name == "asv"
    expected = [
        str(skbio.RNA(s.replace("T", "U").replace("t", "u"), lowercase=True).reverse_transcribe()) for s in sequences
    ]
    assert found.tolist() == expected
    assert given_.tolist() == sequences
    num_lower, num_rna = sum(s != s.upper() for s in sequences), sum("u" in s.lower() for s in sequences)
    assert told == [
        *([f"wrote {num_lower} of {len(sequences)} sequences in upper case"] if num_lower else []),
        *([f"wrote T for U in {num_rna} of {len(sequences)} sequences"] if num_rna else []),
    ]


NAMES = [
    "ASV1",
    "OTU1",
    "OTU_12",
    "Otu00012",
    "zotu5",
    "228054",
    "denovo.7",
    "Bacteroides",
    "Actinobacteria",
    "g__Bacteroides",
]
NAMES += [
    "d__Bacteria;p__Bacillota;c__Bacilli",
    "Escherichia coli",
    "uncultured bacterium",
    "4b5eeb300368260019c1fbc7a3c718fc_1",
]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("AC-T", r"1 of 2 sequences hold gaps \('-'\).*\(ids: AC-T\)"),
        ("ACGTQ", r"hold letters that are no nucleotides \('Q'\)"),
        ("ACGT1", r"hold characters that are no nucleotides \('1'\).*nothing else; where they are names.*--sequences"),
        ("MKVLAMKVLAMKVLAMKVLAMKVLA", r"as proteins do.*Give the DNA; where they are names.*--sequences"),
        ("AC\nGT", r"hold characters that are no nucleotides \('\\n'\)"),
        ("", r"are empty or no text"),
        (None, r"are empty or no text"),
        (np.nan, r"are empty or no text"),
        (5, r"are empty or no text"),
        ("d41d8cd98f00b204e9800998ecf8427e", r"1 of 2 sequences are hashes .*sequences='rep-seqs\.fasta'.*--sequences"),
        *(
            (name, r"1 of 2 sequences are names \(ids: .*sequences='rep-seqs\.fasta'.*`--sequences rep-seqs\.fasta`")
            for name in NAMES
        ),
    ],
)
def test_what_is_not_dna_is_refused(bad: Any, said: str) -> None:
    with pytest.raises(SequenceError, match=said):
        normal_dna(pd.Index(["ACGT", bad], dtype=object))


def test_no_more_than_five_ids_are_named() -> None:
    with pytest.raises(SequenceError, match=r"7 of 7 sequences .*\(ids: s0, s1, s2, s3, s4 and 2 more\)"):
        normal_dna(pd.Series(["AC.GT"] * 7, index=[f"s{i}" for i in range(7)]))


@pytest.mark.parametrize("bad", ["x" * 10_000, "é;" * 5_000, "ACGT1" * 2_000, "f" * 64])
def test_messages_stay_short_whatever_the_ids_are(bad: str, tmp_path: Path) -> None:
    with pytest.raises(SequenceError) as caught:
        normal_dna(pd.Index([f"{bad}{k}"[k:] for k in range(9)]))
    assert len(str(caught.value)) < 400
    with pytest.raises(SequenceError) as caught:
        read("".join(f">{bad}{k}\n{bad}\n" for k in range(9)), tmp_path)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 400


def test_many_sequences_take_a_second_or_two() -> None:
    rng = np.random.default_rng(0)
    letters = rng.choice(np.frombuffer(b"acgu", dtype=np.uint8), (200_000, 150))
    asvs = pd.Index([row.tobytes().decode() for row in letters])
    start = time.process_time()
    found, _ = normal_dna(asvs)
    assert time.process_time() - start < 5  # 0.3 s where this was written
    assert found[0] == asvs[0].upper().replace("U", "T")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damaged_bytes_give_sequences_or_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(FASTA.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b">", b"\n>", b"\n", b"@", b"+", b"-", b"\0", b"\xff", b";size=1"])
        )
    try:
        found = read(bytes(whole), tmp_path_factory.getbasetemp())
    except UserError as error:
        assert "seqs.fasta" in str(error)  # noqa: PT017 - either way is right
    else:
        assert found.index.is_unique
        assert found.str.fullmatch(f"[{IUPAC}]+").all()
