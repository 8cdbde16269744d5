"""Files out: read back by others (biom-format, scikit-bio, pandas) and by us."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import biom
import numpy as np
import pandas as pd
import pytest
import skbio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import aam_nb as aam
from aam_nb.cli import main
from aam_nb.config import UserError
from aam_nb.study.atomic import NotWrittenError, whole_file
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.study import Study

EVIL = ["<script>alert(1)</script>", 'it\'s "quoted"', "two  blanks", "x" * 10_000, "blank in it", "café ☕", "=1+1"]
SPLIT = {"part": "test", "target": "ph", "group": None, "test_size": 0.2, "seed": 0, "fold": None}


@pytest.fixture
def full(hand_study: Study) -> Study:
    """The hand study with a taxonomy, dates, truth values, missing values and a history."""
    taxonomy = pd.DataFrame(
        {
            "domain": ["Bacteria"] * 4,
            "phylum": ["Firmicutes", None, "Bacteroidota", "Firmicutes"],
            "confidence": [0.5, 1.0, np.nan, 0.25],
        },
        index=hand_study.asv_ids,
    )
    metadata = hand_study.metadata.assign(
        when=pd.to_datetime(["2020-01-02", "2021-03-04", None]),
        healthy=[True, False, True],
        visits=[1, 2, 3],
        barcode=pd.Series(["007", "12", None], dtype=str, index=hand_study.sample_ids),
    )
    return replace(hand_study, taxonomy=taxonomy, metadata=metadata, provenance=("read <b>it</b>", "kept 3 of 4"))


def test_a_study_makes_the_round_trip_whole(full: Study, tmp_path: Path) -> None:
    folder = full.save(tmp_path / "new" / "folder")
    names = ["metadata.tsv", "study.json", "table.biom", "taxonomy.tsv", "tree.nwk"]
    assert sorted(p.name for p in folder.iterdir()) == names
    for lazy in (False, True):
        back = Study.load(folder, lazy=lazy)
        assert back.lazy is lazy
        assert back.content_hash() == full.content_hash()
        assert back.provenance == full.provenance
        pd.testing.assert_frame_equal(back.metadata, full.metadata, check_dtype=False)
        assert back.metadata["healthy"].dtype == bool
        assert back.taxonomy is not None
        assert full.taxonomy is not None
        assert (
            back.taxonomy.astype(object)
            .where(back.taxonomy.notna(), "-")
            .equals(full.taxonomy.astype(object).where(full.taxonomy.notna(), "-"))
        )
        assert back.tree is not None
        assert back.tree.length.tolist() == full.require_tree().length.tolist()


def test_split_and_truth_make_the_round_trip(sides: tuple[Study, Study], tmp_path: Path) -> None:
    train = sides[0]
    back = Study.load(train.save(tmp_path / "train"))
    assert back.split_info == train.split_info
    assert back.truth is not None
    assert train.truth is not None
    pd.testing.assert_frame_equal(back.truth.planted, train.truth.planted)
    pd.testing.assert_frame_equal(back.truth.best, train.truth.best)
    pd.testing.assert_frame_equal(back.metadata, train.metadata, check_dtype=False)


def test_a_bare_study_makes_the_round_trip(hand_study: Study, tmp_path: Path) -> None:
    bare = replace(hand_study, tree=None, metadata=hand_study.metadata[[]])
    folder = bare.save(tmp_path / "bare")
    assert sorted(p.name for p in folder.iterdir()) == ["study.json", "table.biom"]
    back = Study.load(folder)
    assert back.content_hash() == bare.content_hash()
    assert back.metadata.shape == (3, 0)
    assert back.tree is None


def test_other_programs_read_the_files(full: Study, tmp_path: Path) -> None:
    folder = full.save(tmp_path / "s")
    table = biom.load_table(str(folder / "table.biom"))
    np.testing.assert_array_equal(table.matrix_data.toarray().T, full.table[:].toarray())
    assert list(table.ids()) == list(full.sample_ids)
    assert table.metadata("AAAA", "observation")["taxonomy"][0] == "Bacteria"
    tree = skbio.TreeNode.read(str(folder / "tree.nwk"))
    assert {t.name for t in tree.tips()} == set(full.asv_ids)
    metadata = skbio.SampleMetadata.load(str(folder / "metadata.tsv"))  # QIIME 2's own rules
    assert list(metadata.ids) == list(full.sample_ids)
    taxonomy = pd.read_csv(folder / "taxonomy.tsv", sep="\t", index_col=0)
    assert taxonomy.loc["AAAA", "Taxon"] == "d__Bacteria; p__Firmicutes"
    assert taxonomy.loc["AACC", "Taxon"] == "d__Bacteria; p__"


@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (5, 1), (1, 5)])
def test_any_table_is_read_by_biom_format(shape: tuple[int, int], tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(0.7, shape)
    ids = pd.Index([f"s{i}" for i in range(shape[0])])
    dna = pd.Index(["ACGT" + "ACGT"[i % 4] * (i + 1) for i in range(shape[1])])
    study = Study(sparse.csr_array(counts), ids, dna, pd.DataFrame(index=ids))
    table = biom.load_table(str(aam.write_biom(study, tmp_path / "t.biom")))
    np.testing.assert_array_equal(table.matrix_data.toarray().T, counts)


def test_evil_ids_make_the_round_trip(tmp_path: Path) -> None:
    ids = pd.Index(EVIL[:2] + EVIL[3:6])
    study = Study(
        sparse.csr_array(np.eye(5, dtype=int)), ids, pd.Index([a * 9 for a in "ACGTN"]), pd.DataFrame({"x": 1}, ids)
    )
    assert list(Study.load(study.save(tmp_path / "s")).sample_ids) == list(ids)


@pytest.mark.parametrize("evil", EVIL)
def test_evil_ids_of_a_file_are_shown_on_one_line_and_escaped(evil: str, tmp_path: Path) -> None:
    study = Study(
        sparse.csr_array([[1], [0]]), pd.Index(["a", evil]), pd.Index(["ACGT"]), pd.DataFrame(index=["a", evil])
    )
    path = aam.write_biom(study, tmp_path / "t.biom")
    back = aam.read_study(path)
    assert list(back.sample_ids) == ["a", evil]
    told = next(s for s in back.provenance if "no reads" in s)
    assert "\n" not in told
    assert len(told) < 200
    assert "<script" not in back._repr_html_()


def test_a_folder_that_is_no_study_is_left_as_it_is(hand_study: Study, tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(StudyError, match=r"exists and is not a saved study.*Choose another name"):
        hand_study.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


def test_an_earlier_study_is_replaced_whole(hand_study: Study, full: Study, tmp_path: Path) -> None:
    full.save(tmp_path / "s")
    replace(hand_study, tree=None).save(tmp_path / "s")
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["metadata.tsv", "study.json", "table.biom"]
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_study_whose_writer_was_killed_between_its_two_renames_is_loaded(hand_study: Study, tmp_path: Path) -> None:
    hand_study.save(tmp_path / "study").rename(tmp_path / ".study.0123abcd.old")
    assert aam.Study.load(tmp_path / "study").content_hash() == hand_study.content_hash()
    assert [p.name for p in tmp_path.iterdir()] == ["study"]


def test_links_in_a_circle_are_one_sentence(hand_study: Study, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileNotFoundError, match="loop is not a saved study"):
        aam.Study.load(tmp_path / "loop")
    with pytest.raises(NotWrittenError, match="loop cannot be written"):
        hand_study.save(tmp_path / "loop")
    assert main(["info", str(tmp_path / "loop")]) == 2


def test_what_fails_half_way_leaves_what_was_there(full: Study, tmp_path: Path) -> None:
    folder = full.save(tmp_path / "s")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    bad = replace(full, metadata=full.metadata.assign(**{"": 1}))  # a column without a name cannot be written
    with pytest.raises(ValueError, match=r"name"):
        bad.save(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert os.listdir(tmp_path) == ["s"]
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "file") as fresh:
        fresh.write_text(f"half {1 / 0}")
    assert os.listdir(tmp_path) == ["s"]


def test_a_place_that_cannot_be_written_is_named_as_the_user_named_it(full: Study, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("")
    full_disk = OSError(errno.ENOSPC, "No space left on device")
    for path, why in (
        (tmp_path / "file" / "t.biom", "File exists|Not a directory"),
        (tmp_path / "folder", "Is a directory"),
        (Path("/proc/t.biom"), "No such file or directory|Permission denied"),
    ):
        with pytest.raises(
            NotWrittenError, match=rf"{path} cannot be written \((?:{why})\)\. .*Choose another"
        ) as caught:
            aam.write_biom(full, path)
        assert ".new" not in str(caught.value)
    with pytest.raises(NotWrittenError, match=r"file/s cannot be written"):
        full.save(tmp_path / "file" / "s")
    with pytest.raises(NotWrittenError, match=r"/t cannot be written \(No space left"), whole_file(tmp_path / "t"):
        raise full_disk
    with pytest.raises(FileNotFoundError, match="elsewhere"), whole_file(tmp_path / "t"):
        raise FileNotFoundError(errno.ENOENT, "not of this file", "elsewhere")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_name_as_long_as_can_be_is_written(full: Study, tmp_path: Path) -> None:
    for letter in ("t", "ü"):
        name = letter * (250 // len(letter.encode())) + ".biom"
        assert aam.write_biom(full, tmp_path / name).is_file()
        assert Study.load(full.save(tmp_path / f"{name[:-5]}")).content_hash() == full.content_hash()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("study.json", "{", r"study\.json cannot be read.*Restore it"),
        ("study.json", "[]", r"study\.json cannot be read: it holds \[\], not an object"),
        ("study.json", "[" * 100_000, r"study\.json cannot be read"),
        (
            "study.json",
            '{"format_version": 99, "columns": {}, "provenance": [], "split": null}',
            r"format version 99.*pip install -U",
        ),
        ("metadata.tsv", "sample-id\tph\none\t1\n", r"metadata\.tsv (has 1 rows for 3 ids|has no columns)"),
        ("tree.nwk", "(AAAA:1,(AACC:1,(GGGG:1,GGTT:1):1):1);", r"does not hold what was saved.*aam\.read_study"),
        ("table.biom", "", r"table\.biom cannot be read as BIOM 2\.1"),
    ],
)
def test_damage_is_noticed(name: str, content: str, said: str, full: Study, tmp_path: Path) -> None:
    folder = full.save(tmp_path / "s")
    (folder / name).write_text(content)
    with pytest.raises(FormatError, match=said):
        Study.load(folder)


def test_no_saved_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a saved study: it has no study\.json"):
        Study.load(tmp_path / "nowhere")


def test_the_record_is_plain_json(full: Study, tmp_path: Path) -> None:
    record = json.loads((full.save(tmp_path / "s") / "study.json").read_text())
    assert record["format_version"] == 1
    assert record["content_sha256"] == full.content_hash()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("format_version", True, "format_version is True, not a whole number"),
        ("format_version", 0, "format_version is 0"),
        ("content_sha256", None, "content_sha256 is None, not text"),
        ("columns", ["a"], r"columns is \['a'\], not types by column name"),
        ("columns", {"ph": 1}, "columns is .*, not types by column name"),
        ("columns", {"gone": "int64"}, "tells of columns 'gone', which metadata.tsv does not have"),
        ("columns", {"gone": "datetime64[ns]"}, "tells of columns 'gone'"),
        ("columns", {"visits": "int99"}, "the type of column 'visits' is 'int99', not one of pandas' types"),
        ("columns", {"barcode": "int64"}, "column 'barcode' is said to be int64, which its values"),
        ("columns", {"barcode": "bool"}, "column 'barcode' is said to be bool"),
        ("columns", {"barcode": "datetime64[s]"}, "cannot be read: "),
        ("columns", {"visits": "datetime64[s]"}, "column 'visits' is said to be datetime64"),
        ("taxonomy", "domain", "taxonomy is 'domain', not null or some of domain, phylum"),
        ("taxonomy", ["kind"], "taxonomy is"),
        ("provenance", "abc", "provenance is 'abc', not a list of texts"),
        ("provenance", [1], "provenance is"),
        ("truth", [1], r"truth is \[1\], not null or an object"),
        ("truth", {"a": 1}, r"the fields of truth is \['a'\], not planted, best"),
        ("truth", {"planted": {"target": [1]}, "best": {}}, "planted of truth is"),
        ("split", "train", "split is 'train', not null or an object"),
        ("split", {"part": "train"}, "the fields of split is"),
        *(
            ("split", {**SPLIT, field: value}, f"{field} of split is {value!r}, not")
            for field, value in [("part", "both"), ("target", 1), ("test_size", 2), ("seed", -1), ("fold", 2)]
        ),
    ],
)
def test_an_edited_record_is_one_error_that_says_what_is_wrong(
    field: str, value: object, said: str, full: Study, tmp_path: Path
) -> None:
    path = full.save(tmp_path / "s") / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(FormatError, match=said) as caught:
        Study.load(tmp_path / "s")
    assert "study.json cannot be read" in str(caught.value)


@pytest.mark.parametrize("name", ["table.biom", "metadata.tsv", "taxonomy.tsv"])
def test_a_file_that_is_gone_is_named(name: str, full: Study, tmp_path: Path) -> None:
    (full.save(tmp_path / "s") / name).unlink()
    for lazy in (False, True):
        with pytest.raises(FileNotFoundError, match=rf"{name} is not a file\. .*Restore it") as caught:
            Study.load(tmp_path / "s", lazy=lazy)
        assert "[Errno" not in str(caught.value)


@pytest.fixture(scope="module")
def saved(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved study with a split, a truth and columns of all types."""
    n = study.num_samples
    metadata = study.metadata.assign(
        when=pd.to_datetime("2020-01-02"),
        ok=True,
        few=np.int8(3),
        half=np.float16(0.5),
        more=pd.array([2] * n, "Int64"),
    )
    return (
        replace(study, metadata=metadata)
        .split(target="age", group="host_id")[0]
        .save(tmp_path_factory.mktemp("saved") / "s")
    )


WORDS = ["int8", "Int64", "uint64", "float16", "float128", "datetime64[ns]", "datetime64[ns, UTC]", "bool", "boolean"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3),
    max_leaves=4,
)


def loads_or_is_refused(folder: Path) -> None:
    try:
        found = Study.load(folder)
    except (UserError, FileNotFoundError):
        return
    assert isinstance(found, Study)
    repr(found)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_edit_of_the_record_gives_a_study_or_an_error_of_ours(data: st.DataObject, saved: Path) -> None:
    """A value anywhere in the record is replaced, dropped or added."""
    text = (saved / "study.json").read_text(encoding="utf-8")
    node, record = None, json.loads(text)
    place: Any = record
    key: Any = None
    while node is None or (isinstance(place, (dict, list)) and place and data.draw(st.booleans())):
        node, key = place, data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        place = node[key]
    edit = data.draw(st.sampled_from(["replace", "drop", "add"]))
    if edit == "replace":
        node[key] = data.draw(VALUES)
    elif edit == "drop":
        del node[key]
    elif isinstance(node, list):
        node.append(data.draw(VALUES))
    else:
        node[data.draw(st.text(max_size=5))] = data.draw(VALUES)
    try:
        (saved / "study.json").write_text(json.dumps(record), encoding="utf-8")
        loads_or_is_refused(saved)
    finally:
        (saved / "study.json").write_text(text, encoding="utf-8")


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0), byte=st.integers(0, 255), cut=st.booleans())
def test_any_damage_to_the_record_gives_a_study_or_an_error_of_ours(at: int, byte: int, cut: bool, saved: Path) -> None:
    raw = (saved / "study.json").read_bytes()
    at %= len(raw)
    try:
        (saved / "study.json").write_bytes(raw[:at] if cut else raw[:at] + bytes([byte]) + raw[at + 1 :])
        loads_or_is_refused(saved)
    finally:
        (saved / "study.json").write_bytes(raw)


@pytest.mark.parametrize(
    ("taxon", "said"),
    [
        ("Firm; icutes", r"1 taxon has a semicolon in the name \('Firm; icutes'\)\. .*Rename"),
        ("a;b", r"has a semicolon in the name \('a;b'\)"),
        (" Firmicutes", r"phylum ' Firmicutes' of AAAA would be read back as 'Firmicutes'\. Expected names without"),
        ('"Firmicutes"', r"would be read back as 'Firmicutes'"),
        ("unassigned", r"phylum 'unassigned' of AAAA would be read back as missing"),
    ],
)
def test_a_taxon_that_could_not_be_read_again_is_refused_before_anything_is_written(
    taxon: str, said: str, full: Study, tmp_path: Path
) -> None:
    assert full.taxonomy is not None
    folder = full.save(tmp_path / "s")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    ranks = full.taxonomy.assign(phylum=[taxon, None, "Bacteroidota", "Firmicutes"])
    with pytest.raises(StudyError, match=said):
        replace(full, taxonomy=ranks).save(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert os.listdir(tmp_path) == ["s"]


def test_a_taxon_with_a_semicolon_is_refused_in_biom_too(full: Study, tmp_path: Path) -> None:
    assert full.taxonomy is not None
    odd = replace(full, taxonomy=full.taxonomy.assign(phylum="a; b"))
    with pytest.raises(StudyError, match=r"1 taxon has a semicolon"):
        aam.write_biom(odd, tmp_path / "t.biom")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "columns", [[], ["phylum"], ["confidence"], ["phylum", "domain"], ["domain", "phylum", "genus"]]
)
def test_the_ranks_of_a_taxonomy_make_the_round_trip(columns: list[str], full: Study, tmp_path: Path) -> None:
    assert full.taxonomy is not None
    ranks = full.taxonomy.reindex(columns=columns)
    back = Study.load(replace(full, taxonomy=ranks).save(tmp_path / "s")).taxonomy
    assert back is not None
    assert list(back.columns) == columns
    assert back.astype(object).where(back.notna(), "-").equals(ranks.astype(object).where(ranks.notna(), "-"))


def test_columns_that_a_taxonomy_file_does_not_hold_are_refused(full: Study, tmp_path: Path) -> None:
    assert full.taxonomy is not None
    with pytest.raises(StudyError, match=r"has columns 'strain', which .*drop\(columns=\['strain'\]\)"):
        replace(full, taxonomy=full.taxonomy.assign(strain="x")).save(tmp_path / "s")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "taxon", ["__x", "p__Firmicutes", "d__", "o'Brien", "two\nlines", "Clostridium sensu stricto 1", "café"]
)
def test_odd_taxa_make_the_round_trip_or_are_refused(taxon: str, full: Study, tmp_path: Path) -> None:
    assert full.taxonomy is not None
    odd = replace(full, taxonomy=full.taxonomy.assign(phylum=[taxon, None, "Bacteroidota", "Firmicutes"]))
    try:
        folder = odd.save(tmp_path / "s")
    except StudyError:
        return
    back = Study.load(folder).taxonomy
    assert back is not None
    assert back["phylum"].iloc[0] == taxon


def test_metadata_changed_in_a_saved_study_are_told(full: Study, tmp_path: Path) -> None:
    folder = full.save(tmp_path / "s")
    saved = Study.load(folder).provenance
    assert saved == full.provenance
    file = folder / "metadata.tsv"
    text = file.read_text()
    file.write_text(text[:-1] + "\n\n")  # a blank row more
    assert Study.load(folder).provenance == (*saved, "metadata.tsv was changed since the study was saved")
    record = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps({k: v for k, v in record.items() if k != "files_sha256"}))
    assert Study.load(folder).provenance == saved  # as saved by earlier versions
    (folder / "study.json").write_text(json.dumps(record | {"files_sha256": ["x"]}))
    with pytest.raises(FormatError, match=r"study\.json cannot be read: files_sha256 is \['x'\]"):
        Study.load(folder)
