"""The front door: damage, joins of table, metadata, tree and taxonomy, and a fuzz of every reader.

Every BIOM file here is written by biom-format, never by the package's own writer. `test_tables` has the formats.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_tables import write_qza

import aam_nb as aam
from aam_nb.config import UserError
from aam_nb.study.errors import FormatError, StudyError

COUNTS = [[3, 0, 1], [0, 5, 2]]  # samples x ASVs
SAMPLES, ASVS = ["0012", "b"], ["ACGT", "ACGG", "TTTT"]


def write_biom(path: Path, counts: Any = COUNTS, samples: list[str] = SAMPLES, asvs: list[str] = ASVS) -> Path:
    with h5py.File(path, "w") as file:
        biom.Table(np.asarray(counts).T, asvs, samples).to_hdf5(file, "test")
    return path


# -- BIOM -------------------------------------------------------------------------------------------------------------


def test_biom_is_read_samples_by_asvs(tmp_path: Path) -> None:
    study = aam.read_study(write_biom(tmp_path / "t.biom"))
    assert study.table.toarray().tolist() == COUNTS
    assert list(study.sample_ids) == SAMPLES  # 0012 stays text
    assert list(study.asv_ids) == ASVS
    assert study.provenance == (f"read {tmp_path / 't.biom'}: 2 samples x 3 ASVs",)


def test_a_sample_and_an_asv_without_reads_are_kept(tmp_path: Path) -> None:
    study = aam.read_study(write_biom(tmp_path / "t.biom", [[0, 0, 0], [0, 5, 2]]))
    assert study.table.toarray().tolist() == [[0, 0, 0], [0, 5, 2]]


@pytest.mark.real
@pytest.mark.parametrize("name", ["moving_pictures", "soils88", "mackerel"])
def test_real_studies_are_read_whole(name: str, real_data: Path) -> None:
    stem = real_data / name / name
    study = aam.read_study(f"{stem}.biom", metadata=f"{stem}.tsv", tree=f"{stem}.nwk")
    oracle = biom.load_table(f"{stem}.biom")
    assert study.table.shape == oracle.shape[::-1]
    assert study.depth.to_dict() == dict(zip(oracle.ids(), oracle.sum("sample"), strict=True))
    assert study.require_tree().missing(study.asv_ids) == []
    assert any(f"joined {study.num_samples} samples" in step for step in study.provenance)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    whole = write_biom(tmp_path / "t.biom").read_bytes()
    (tmp_path / "cut.biom").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FormatError, match=r"cut\.biom .*again"):
        aam.read_study(tmp_path / "cut.biom")


def test_damaged_bytes_are_refused_with_the_file_named(tmp_path: Path) -> None:
    """64 random bytes somewhere in the file: it reads, or is refused in a sentence, and never as an error of h5py's."""
    whole, path, refusals = write_biom(tmp_path / "t.biom").read_bytes(), tmp_path / "hurt.biom", []
    rng = np.random.default_rng(1)
    for at in range(96, len(whole) - 64, 97):
        path.write_bytes(whole[:at] + rng.bytes(64) + whole[at + 64 :])
        try:
            aam.read_study(path)
        except FormatError as error:
            refusals.append(str(error))
        except StudyError:
            pass  # the damage hit an id or a count, and the refusal says which
    assert len(refusals) > 10
    assert all("hurt.biom" in text and "again" in text for text in refusals)


def test_hdf5_that_is_not_biom_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = [1.0]
    with pytest.raises(FormatError, match=r"other\.h5 is HDF5 without a feature table.*biom convert --to-hdf5"):
        aam.read_study(tmp_path / "other.h5")


@pytest.mark.parametrize("argument", ["table", "metadata", "tree", "sequences", "taxonomy"])
def test_a_missing_file_is_named(argument: str, tmp_path: Path) -> None:
    files: dict[str, Any] = {"table": write_biom(tmp_path / "t.biom")} | {argument: tmp_path / "nowhere"}
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a file\. Expected .*Check the path"):
        aam.read_study(**files)


@pytest.mark.parametrize(("axis", "what", "twice"), [("sample", "sample id", "0012"), ("observation", "ASV", "ACGT")])
def test_ids_that_occur_twice_are_refused(axis: str, what: str, twice: str, tmp_path: Path) -> None:
    path = write_biom(tmp_path / "t.biom")
    with h5py.File(path, "a") as file:  # biom-format itself refuses to write this
        file[f"{axis}/ids"][1] = file[f"{axis}/ids"][0]
    with pytest.raises(StudyError, match=rf"1 {what} occurs more than once \({twice}\)"):
        aam.read_study(path)


@pytest.mark.parametrize(("value", "shown"), [(-2, "-2"), (np.nan, "nan"), (0.25, r"0\.25"), (np.inf, "inf")])
def test_values_that_are_not_counts_are_refused(value: float, shown: str, tmp_path: Path) -> None:
    path = write_biom(tmp_path / "t.biom", [[3.0, 0, 1], [0, value, 2]])
    with pytest.raises(StudyError, match=rf"first: {shown} in sample b, ASV ACGG.*raw table"):
        aam.read_study(path)


# -- the join ---------------------------------------------------------------------------------------------------------


def test_the_join_follows_the_table_and_tells_what_fell_out(tmp_path: Path) -> None:
    path = write_biom(tmp_path / "t.biom", [[1], [2], [3]], ["x", "y", "z"], ["ACGT"])
    (tmp_path / "m.tsv").write_text("id\tph\nz\t3\nother\t9\nx\t1\nmore\t8\n")
    study = aam.read_study(path, metadata=tmp_path / "m.tsv")
    assert list(study.sample_ids) == ["x", "z"]
    assert study.table.toarray().tolist() == [[1], [3]]
    assert study.metadata["ph"].tolist() == [1, 3]
    step = study.provenance[-1]
    assert "joined 2 samples" in step
    assert "1 sample of the table had no metadata (y)" in step
    assert "2 metadata rows had no sample" in step


def test_the_tree_is_read_and_what_it_misses_is_counted(tmp_path: Path) -> None:
    (tmp_path / "t.nwk").write_text("(ACGT:1,(ACGG:1,CCCC:1):1);")
    study = aam.read_study(write_biom(tmp_path / "t.biom"), tree=tmp_path / "t.nwk")
    assert study.tree is not None
    assert study.tree.tips == ("ACGT", "ACGG", "CCCC")
    assert study.provenance[-1].endswith("t.nwk: 3 tips, 1 of 3 ASVs not among them (TTTT)")


@pytest.mark.parametrize(
    ("theirs", "ours", "slip"),
    [
        ("12", "0012", "leading zeros"),
        ("b.0", "b", "a .0 suffix"),
        ("B", "b", "capital letters"),
        ("s 1", "s1", "blanks"),
        ("s-1", "s.1", "dots, dashes or underscores"),
        ("X12", "12", "an X in front, as R writes"),
        ("e\u0301", "\u00e9", "accents"),
    ],
)
def test_ids_that_nearly_match_are_suggested_and_not_joined(theirs: str, ours: str, slip: str, tmp_path: Path) -> None:
    path = write_biom(tmp_path / "t.biom", [[1], [2]], [ours, "same"], ["ACGTACGT"])
    (tmp_path / "none.tsv").write_text(f"id\tph\n{theirs}\t3\n")
    with pytest.raises(StudyError, match=rf"None of the 2 samples.*but for {slip}.*'{ours}' and '{theirs}'") as error:
        aam.read_study(path, metadata=tmp_path / "none.tsv")
    assert "Make the first metadata column hold" in str(error.value)
    (tmp_path / "some.tsv").write_text(f"id\tph\n{theirs}\t3\nsame\t4\n")
    study = aam.read_study(path, metadata=tmp_path / "some.tsv")
    assert list(study.sample_ids) == ["same"]
    assert f"Some would match but for {slip}" in study.provenance[-1]


def test_no_sample_in_common_is_refused_with_ids_of_both(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("id\tph\nzzz\t3\n")
    with pytest.raises(StudyError, match=r"None of the 2 samples.*table has 0012, b; the metadata has zzz\. Make"):
        aam.read_study(write_biom(tmp_path / "t.biom"), metadata=tmp_path / "m.tsv")


def test_types_of_columns_may_be_said(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("id\tgroup\twhen\n0012\t1\t20200102\nb\t2\t20210304\n")
    study = aam.read_study(
        write_biom(tmp_path / "t.biom"), metadata=tmp_path / "m.tsv", types={"group": "categorical", "when": "date"}
    )
    assert study.metadata["group"].tolist() == ["1", "2"]
    assert study.metadata["when"].dt.year.tolist() == [2020, 2021]
    with pytest.raises(StudyError, match=r"types is given for ph, and no metadata.*--metadata"):
        aam.read_study(tmp_path / "t.biom", types={"ph": "numeric"})


def test_a_taxonomy_is_joined_and_what_it_misses_is_counted(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("Feature ID\tTaxon\nACGT\td__Bacteria; p__Firmicutes\nCCCC\td__Archaea\n")
    study = aam.read_study(write_biom(tmp_path / "t.biom"), taxonomy=tmp_path / "x.tsv")
    assert study.taxonomy is not None
    assert study.taxonomy.index.equals(study.asv_ids)
    assert study.taxonomy.loc["ACGT", "phylum"] == "Firmicutes"
    assert study.taxonomy.loc[["ACGG", "TTTT"]].isna().all().all()
    assert "lineages of 1 of 3 ASVs (none for ACGG, TTTT), 1 lineages of other ASVs" in study.provenance[-1]
    (tmp_path / "x.tsv").write_text("Feature ID\tTaxon\nCCCC\td__Archaea\n")
    with pytest.raises(StudyError, match=r"None of the 3 ASVs is in .*x\.tsv, which has CCCC"):
        aam.read_study(write_biom(tmp_path / "t.biom"), taxonomy=tmp_path / "x.tsv")


def test_every_step_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="aam_nb"):
        study = aam.read_study(write_biom(tmp_path / "t.biom"))
    assert caplog.messages == list(study.provenance)


# -- mutated bytes at every reader ------------------------------------------------------------------------------------

SEEDS: dict[str, tuple[str, bytes]] = {
    "tsv": ("table", b"# Constructed from biom file\n#OTU ID\t0012\tb\tc\nACGTACGT\t3\t0\t1\nACGTACGA\t0\t5\t2\n"),
    "dada2": ("table", b'"","ACGTACGT","ACGTACGA"\n"0012",3,0\n"b",0,5\n'),
    "json": (
        "table",
        biom.Table(np.array([[3, 0], [0, 5]]), ["ACGTACGT", "ACGTACGA"], ["0012", "b"]).to_json("t").encode(),
    ),
    "metadata": (
        "metadata",
        b"sample-id\tph\tsite\twhen\n#q2:types\tnumeric\tcategorical\tcategorical\n0012\t6.5\ta\t2020-01-02\nb\t\tx\t\n",
    ),
    "taxonomy": (
        "taxonomy",
        b"Feature ID\tTaxon\tConfidence\nACGT\td__Bacteria; p__Firmicutes\t0.9\nACGG\tUnassigned\t0.1\n",
    ),
    "sequences": ("sequences", b">ACGT\nACGT\n>ACGG x\nAC\nGG\n>TTTT\nTTTT\n"),
    "tree": ("tree", b"((ACGT:1,'ACGG':2e-1)0.9:0.5,[note]TTTT:1);\n"),
    "gzip": ("metadata", gzip.compress(b"id\tph\n0012\t6.5\nb\t7\n", mtime=0)),
}
PIECES = [b"\t", b"\n", b'"', b"'", b"(", b")", b"nan", b"-1", b"1e999", b"\xff", b"\0", b",", b";", b"[" * 50]


def outcome(**files: Any) -> str | None:
    """None where a study was read, the message where it was refused by an error of ours; anything else goes through."""
    try:
        assert isinstance(aam.read_study(**files), aam.Study)
    except UserError as error:
        return str(error)
    return None


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good file with a few bytes replaced, inserted, removed or repeated, or cut off."""
    argument, content = SEEDS[draw(st.sampled_from(sorted(SEEDS)))]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 6))
        repeated = st.just(content[at : at + 20] * 3)
        piece = draw(st.one_of(st.binary(max_size=6), st.sampled_from(PIECES), repeated))
        content = content[:at] + piece + content[at + length :]
    return argument, content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content


@settings(max_examples=600, deadline=20_000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_mutated_bytes_give_a_study_or_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[str, bytes]
) -> None:
    argument, content = case
    folder = tmp_path_factory.getbasetemp()
    (folder / "mutated").write_bytes(content)
    files: dict[str, Any] = {"table": write_biom(folder / "whole.biom")} | {argument: folder / "mutated"}
    said = outcome(**files)
    assert said is None or (len(said) < 3000 and said.isprintable())


@settings(max_examples=150, deadline=20_000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(at=st.floats(0, 1), piece=st.binary(min_size=1, max_size=64), name=st.sampled_from(["table.biom", "table.qza"]))
def test_mutated_bytes_in_binary_tables_too(
    tmp_path_factory: pytest.TempPathFactory, at: float, piece: bytes, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = write_biom(folder / "whole.biom").read_bytes()
    if name == "table.qza":
        whole = write_qza(folder / "a.qza", "FeatureTable[Frequency]", "feature-table.biom", whole).read_bytes()
    place = int(at * len(whole))
    (folder / name).write_bytes(whole[:place] + piece + whole[place + len(piece) :])
    for lazy in (False, True):
        said = outcome(table=folder / name, lazy=lazy)
        assert said is None or said.isprintable()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"sum_duplicates": "no"}, "sum_duplicates is 'no'. Expected True or False"),
        ({"lazy": 1}, "lazy is 1. Expected True or False"),
        ({"types": "site"}, "types is 'site'. Expected types of columns"),
    ],
)
def test_arguments_of_another_type_are_refused(argument: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("#OTU ID\ta\nACGTACGTAC\t3\n")
    with pytest.raises(StudyError, match=re.escape(message)):
        aam.read_study(tmp_path / "t.tsv", **argument)
