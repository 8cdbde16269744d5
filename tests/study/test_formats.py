"""Files in, files out. Every BIOM file here is written by biom-format, never by the package's own writer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import pandas as pd
import pytest

import aam_nb as aam
from aam_nb.study.formats import FormatError, read_biom, read_metadata
from aam_nb.study.study import Study, StudyError

COUNTS = [[3, 0, 1], [0, 5, 2]]  # samples x ASVs
SAMPLES, ASVS = ["0012", "b"], ["ACGT", "ACGG", "TTTT"]


def write_biom(path: Path, counts: Any = COUNTS, samples: list[str] = SAMPLES, asvs: list[str] = ASVS) -> Path:
    with h5py.File(path, "w") as file:
        biom.Table(np.asarray(counts).T, asvs, samples).to_hdf5(file, "test")
    return path


def metadata_of(text: str | bytes, folder: Path) -> pd.DataFrame:
    path = folder / "metadata.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_metadata(path)


# -- BIOM -------------------------------------------------------------------------------------------------------------


def test_biom_is_read_samples_by_asvs(tmp_path: Path) -> None:
    study = aam.read_study(write_biom(tmp_path / "t.biom"))
    assert study.table.toarray().tolist() == COUNTS
    assert list(study.sample_ids) == SAMPLES  # 0012 stays text
    assert list(study.asv_ids) == ASVS
    assert study.provenance == (f"read {tmp_path / 't.biom'}: 2 samples x 3 ASVs",)


def test_a_random_table_is_read_as_biom_format_reads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    asvs = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(40)]
    path = write_biom(tmp_path / "t.biom", rng.poisson(0.3, (25, 40)), [f"s{i}" for i in range(25)], asvs)
    study, oracle = aam.read_study(path), biom.load_table(str(path))
    assert list(study.sample_ids) == list(oracle.ids())
    assert list(study.asv_ids) == list(oracle.ids(axis="observation"))
    np.testing.assert_array_equal(study.table.toarray(), oracle.matrix_data.toarray().T)


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
    assert f"joined {study.num_samples} samples" in study.provenance[1]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    whole = write_biom(tmp_path / "t.biom").read_bytes()
    (tmp_path / "cut.biom").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FormatError, match=r"cut\.biom.*BIOM 2\.1.*again"):
        aam.read_study(tmp_path / "cut.biom")


def test_damaged_bytes_are_refused_with_the_file_named(tmp_path: Path) -> None:
    """64 random bytes somewhere in the file: it reads, or is refused in a sentence, and never as an error of h5py's."""
    whole, path, refusals = write_biom(tmp_path / "t.biom").read_bytes(), tmp_path / "hurt.biom", []
    rng = np.random.default_rng(1)
    for at in range(96, len(whole) - 64, 97):
        path.write_bytes(whole[:at] + rng.bytes(64) + whole[at + 64 :])
        try:
            read_biom(path)
        except FormatError as error:
            refusals.append(str(error))
        except StudyError:
            pass  # the damage hit an id or a count, and the refusal says which
    assert len(refusals) > 10
    assert all("hurt.biom" in text and "again" in text for text in refusals)


@pytest.mark.parametrize(
    "content", [b"#OTU ID\ts1\nACGT\t3\n", b'{"format": "Biological Observation Matrix 1.0.0"}', b"", b"PK\x03\x04"]
)
def test_another_format_is_refused_with_the_way_to_convert(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "table.txt").write_bytes(content)
    with pytest.raises(FormatError, match=r"table\.txt is not BIOM 2\.1.*biom convert --to-hdf5"):
        aam.read_study(tmp_path / "table.txt")


def test_hdf5_that_is_not_biom_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = [1.0]
    with pytest.raises(FormatError, match=r"other\.h5 cannot be read as BIOM 2\.1"):
        aam.read_study(tmp_path / "other.h5")


@pytest.mark.parametrize("argument", ["table", "metadata", "tree"])
def test_a_missing_file_is_named(argument: str, tmp_path: Path) -> None:
    files: dict[str, Any] = {"table": write_biom(tmp_path / "t.biom")} | {argument: tmp_path / "nowhere"}
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a file\. Expected .*Check the path"):
        aam.read_study(**files)


@pytest.mark.parametrize(("axis", "what", "twice"), [("sample", "sample", "0012"), ("observation", "ASV", "ACGT")])
def test_ids_that_occur_twice_are_refused(axis: str, what: str, twice: str, tmp_path: Path) -> None:
    path = write_biom(tmp_path / "t.biom")
    with h5py.File(path, "a") as file:  # biom-format itself refuses to write this
        file[f"{axis}/ids"][1] = file[f"{axis}/ids"][0]
    with pytest.raises(StudyError, match=rf"1 {what} ids occur more than once \({twice}\)"):
        aam.read_study(path)


@pytest.mark.parametrize(("value", "shown"), [(-2, "-2"), (np.nan, "nan"), (0.25, r"0\.25"), (np.inf, "inf")])
def test_values_that_are_not_counts_are_refused(value: float, shown: str, tmp_path: Path) -> None:
    path = write_biom(tmp_path / "t.biom", [[3.0, 0, 1], [0, value, 2]])
    with pytest.raises(StudyError, match=rf"first: {shown} in sample b, ASV ACGG.*raw table"):
        aam.read_study(path)


@pytest.mark.parametrize("bad", ["0cc175b9c0f1b6a831c399e269772661", "acgg", "ACGU"])
def test_observation_ids_that_are_not_dna_are_refused(bad: str, tmp_path: Path) -> None:
    path = write_biom(tmp_path / "t.biom", asvs=["ACGT", bad, "TTTT"])
    with pytest.raises(StudyError, match=rf"1 of 3 observation ids are not DNA \({bad}\).*rename-ids"):
        aam.read_study(path)


# -- metadata ---------------------------------------------------------------------------------------------------------


def test_columns_are_typed(tmp_path: Path) -> None:
    rows = metadata_of(
        "id\tph\tcount\tbarcode\tsite\tmixed\tgone\tsigned\tdate\n"
        "0012\t6.5\t3\t007\ta\t1\tNA\t-1e3\t2020-01-02\n"
        "13\tNA\t\t12\tnot collected\tx\t\t2\tNaN\n",
        tmp_path,
    )
    assert list(rows.index) == ["0012", "13"]
    assert rows["ph"].tolist()[0] == 6.5
    assert rows["count"].tolist()[0] == 3
    assert np.isnan(rows["ph"].iloc[1])
    assert np.isnan(rows["count"].iloc[1])
    assert rows["barcode"].tolist() == ["007", "12"]  # a leading zero would be lost
    assert rows["mixed"].tolist() == ["1", "x"]
    assert rows["signed"].tolist() == [-1000, 2]
    assert rows["site"].isna().tolist() == [False, True]
    assert rows["date"].isna().tolist() == [False, True]
    assert rows["gone"].isna().all()


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NaN", "nan", "null", "not applicable", "not collected"])
def test_words_for_missing(word: str, tmp_path: Path) -> None:
    rows = metadata_of(f"id\tph\tsite\na\t7\tlake\nb\t{word}\t{word}\n", tmp_path)
    assert rows.loc["b"].isna().all()
    assert rows.loc["a", "ph"] == 7


def test_zero_and_decimals_are_numbers_and_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    rows = metadata_of("id\tx\tn\r\na\t0\tu\r\nb\t0.5\tv\r\nc\t-0.25\tw\r\n", tmp_path)
    assert rows["x"].tolist() == [0, 0.5, -0.25]
    assert rows["n"].tolist() == ["u", "v", "w"]


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("id,ph\na,7\n", FormatError, r"metadata\.tsv has 1 column.*tabs.*commas, convert"),
        ("", FormatError, r"metadata\.tsv cannot be read as a table.*Export it again"),
        (b"id\tsite\na\tcaf\xe9 noir\n", FormatError, r"metadata\.tsv cannot be read.*UTF-8"),
        ("id\tx\na\t1\n".encode("utf-16"), FormatError, r"metadata\.tsv cannot be read.*UTF-8"),
        ("id\tx\na\t1\nb\t2\t3\n", FormatError, r"metadata\.tsv cannot be read.*line 3"),
        ("id\tx\n0012\t1\n0012\t2\n", StudyError, r"1 sample ids occur more than once \(0012\) in .*metadata\.tsv"),
        ("id\tx\na\t1\n\t2\n", StudyError, r"A row has no sample id in .*metadata\.tsv"),
    ],
    ids=["commas", "empty", "latin-1", "utf-16", "ragged", "duplicates", "no id"],
)
def test_metadata_that_cannot_be_used_is_refused(
    content: str | bytes, error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        metadata_of(content, tmp_path)


def test_a_header_one_name_short_does_not_shift_the_columns(tmp_path: Path) -> None:
    """R's write.table leaves out the name of the row names: the first column must not silently become the second."""
    with pytest.raises(FormatError, match="header"):
        metadata_of("ph\tsite\na\t7\tlake\nb\t6\triver\n", tmp_path)


def test_metadata_with_a_header_alone_says_that_it_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("id\tph\n")
    with pytest.raises((FormatError, StudyError), match="no rows"):
        aam.read_study(write_biom(tmp_path / "t.biom"), metadata=tmp_path / "m.tsv")


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
    assert "1 samples of the table had no metadata (y)" in step
    assert "2 metadata rows had no sample" in step


def test_the_tree_is_read_and_what_it_misses_is_counted(tmp_path: Path) -> None:
    (tmp_path / "t.nwk").write_text("(ACGT:1,(ACGG:1,CCCC:1):1);")
    study = aam.read_study(write_biom(tmp_path / "t.biom"), tree=tmp_path / "t.nwk")
    assert study.tree is not None
    assert study.tree.tips == ("ACGT", "ACGG", "CCCC")
    assert study.provenance[-1].endswith("t.nwk: 3 tips, 1 of 3 ASVs not among them")


def test_no_sample_in_common_is_refused_with_ids_of_both(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("id\tph\n12\t3\n")  # 0012 lost its zeros, as spreadsheets do
    with pytest.raises(StudyError, match=r"None of the 2 samples.*table has 0012, b; the metadata has 12\. Make"):
        aam.read_study(write_biom(tmp_path / "t.biom"), metadata=tmp_path / "m.tsv")


# -- round trip -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["hand_study", "study"])
def test_written_and_read_back_a_study_is_the_same(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    study: Study = request.getfixturevalue(which)
    paths = aam.write_study(study, tmp_path / "new" / "folder")
    assert [p.name for p in paths] == ["table.biom", "metadata.tsv", "tree.nwk"]
    back = aam.read_study(paths[0], metadata=paths[1], tree=paths[2])
    assert back.content_hash() == study.content_hash()
    pd.testing.assert_frame_equal(back.metadata, study.metadata, check_dtype=False)
    np.testing.assert_array_equal(biom.load_table(str(paths[0])).matrix_data.toarray(), study.table.toarray().T)


def test_a_study_without_tree_and_metadata_makes_the_round_trip(hand_study: Study, tmp_path: Path) -> None:
    bare = replace(hand_study, tree=None, metadata=hand_study.metadata[[]])
    table, *rest = aam.write_study(bare, tmp_path)
    metadata = next((p for p in rest if p.name == "metadata.tsv"), None)
    assert aam.read_study(table, metadata=metadata).content_hash() == bare.content_hash()


def test_awkward_metadata_makes_the_round_trip(hand_study: Study, tmp_path: Path) -> None:
    metadata = pd.DataFrame(
        {"code": ["007", "1", "2"], "note": ['say "a"', "tab\there", None], "x": [0.1 + 0.2, np.nan, 1e-300]},
        index=hand_study.sample_ids,
    )
    paths = aam.write_study(replace(hand_study, metadata=metadata), tmp_path)
    back = aam.read_study(paths[0], metadata=paths[1]).metadata
    pd.testing.assert_frame_equal(back, metadata, check_dtype=False, check_exact=True)
