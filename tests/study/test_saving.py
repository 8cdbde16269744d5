"""Files out: read back by others (biom-format, scikit-bio, pandas) and by us."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import biom
import numpy as np
import pandas as pd
import pytest
import skbio
from scipy import sparse

import aam_nb as aam
from aam_nb.study.readers.sources import FormatError, StudyError
from aam_nb.study.study import Study
from aam_nb.study.whole import whole_file

EVIL = ["<script>alert(1)</script>", 'it\'s "quoted"', "two\nlines", "x" * 10_000, "blank in it", "café ☕", "#hash"]


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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("study.json", "{", r"study\.json cannot be read.*Restore it"),
        ("study.json", "[]", r"study\.json cannot be read"),
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
