"""Studies as objects of other packages, and back. Oracles: biom-format's own methods, and anndata's files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import pandas as pd
import pytest

import aam_nb as aam
from aam_nb.study.alignment import NeedsSequencesError
from aam_nb.study.errors import FormatError, MissingExtraError, StudyError
from aam_nb.study.study import Study
from aam_nb.study.tree import TreeError, UnrootedError

ASVS = ["ACGTACGTAC", "ACGTACGTAA", "ACGTACGTGG"]
SAMPLES = ["0012", "b"]
COUNTS = np.array([[3, 0], [1, 5], [0, 2]])
"""ASVs x samples, as BIOM has them."""


def table_of(counts: Any = COUNTS, asvs: list[str] = ASVS, **more: Any) -> biom.Table:
    return biom.Table(np.asarray(counts, dtype=float), asvs, SAMPLES, **more)


@pytest.fixture
def annotated(study: Study) -> Study:
    """With every kind of column, some values missing, and a taxonomy."""
    n = study.num_samples
    columns = {
        "ph": np.where(np.arange(n) % 5 == 0, np.nan, np.arange(n) / 4),
        "plot": np.arange(n),
        "crop": [None if i % 7 == 0 else "maize" if i % 2 else "rye" for i in range(n)],
        "watered": [i % 3 == 0 for i in range(n)],
        "day": pd.to_datetime(["2026-01-01 00:00", "2026-02-03 10:30"] * (n // 2)),
    }
    metadata = study.metadata.assign(**columns)
    ranks = pd.DataFrame({"domain": "Bacteria", "phylum": [f"P{i % 3}" for i in range(study.num_asvs)]}, study.asv_ids)
    ranks.loc[study.asv_ids[::4], "phylum"] = None
    return Study(study.table, study.sample_ids, study.asv_ids, metadata, study.tree, ranks)


# -- BIOM -------------------------------------------------------------------------------------------------------------


def test_a_biom_table_holds_what_the_study_holds(annotated: Study) -> None:
    table = annotated.to_biom()
    assert list(table.ids()) == list(annotated.sample_ids)
    assert list(table.ids(axis="observation")) == list(annotated.asv_ids)
    np.testing.assert_array_equal(table.matrix_data.T.toarray(), annotated.table.toarray())
    sample, asv = annotated.sample_ids[1], annotated.asv_ids[1]
    row, entry = annotated.metadata.loc[sample], table.metadata(sample)
    assert {name: entry[name] for name in ("ph", "plot", "crop", "watered", "day")} == {
        **row[["ph", "plot", "crop", "watered"]],
        "day": "2026-02-03 10:30:00",
    }
    assert table.metadata(asv, axis="observation")["taxonomy"] == ["Bacteria", "P1"]


def test_a_study_comes_back_from_its_biom_table(annotated: Study) -> None:
    back = Study.from_biom(annotated.to_biom(), tree=annotated.tree)
    assert back.content_hash() == annotated.content_hash()
    pd.testing.assert_frame_equal(back.metadata, annotated.metadata, check_dtype=False)
    assert annotated.taxonomy is not None
    assert back.taxonomy is not None
    known = annotated.taxonomy.astype(object)
    pd.testing.assert_frame_equal(
        back.taxonomy[["domain", "phylum"]].astype(object).where(back.taxonomy[["domain", "phylum"]].notna(), None),
        known.where(known.notna(), None),
    )


def test_biom_writes_the_table_and_read_study_reads_it(annotated: Study, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "table.biom", "w") as file:
        annotated.to_biom().to_hdf5(file, "test")
    (tmp_path / "table.json").write_text(annotated.to_biom().to_json("test"))
    for name in ("table.biom", "table.json"):
        back = aam.read_study(tmp_path / name)
        assert Study(back.table, back.sample_ids, back.asv_ids, back.metadata, annotated.tree).content_hash() == (
            annotated.content_hash()
        )
        assert back.taxonomy is not None
        assert back.taxonomy["phylum"].notna().sum() == annotated.taxonomy["phylum"].notna().sum()  # type: ignore[index]


def test_biom_counts_as_the_study_does(study: Study) -> None:
    table = study.to_biom()
    assert table.sum("sample").tolist() == study.depth.tolist()
    assert table.nonzero_counts("observation").tolist() == study.prevalence.tolist()


def test_a_study_on_disk_becomes_a_table_too(study: Study, tmp_path: Path) -> None:
    lazy = aam.read_study(aam.write_biom(study, tmp_path / "t.biom"), lazy=True)
    assert lazy.to_biom() == Study(study.table, study.sample_ids, study.asv_ids, study.metadata[[]]).to_biom()


def test_metadata_and_tree_are_joined_as_read_study_joins_them(tmp_path: Path) -> None:
    tree = tmp_path / "tree.nwk"
    tree.write_text(f"(({ASVS[0]}:1,{ASVS[1]}:1):1,{ASVS[2]}:1);")
    rows = pd.DataFrame({"ph": [6.5, 7.0]}, index=["0012", "unknown"])
    study = Study.from_biom(table_of(), metadata=rows, tree=tree)
    assert list(study.sample_ids) == ["0012"]
    assert study.metadata["ph"].tolist() == [6.5]
    assert study.tree is not None
    assert "joined 1 sample with the metadata; 1 sample of the table had no metadata (b)" in "\n".join(study.provenance)
    rows.to_csv(tmp_path / "m.tsv", sep="\t", index_label="sample-id")
    pd.testing.assert_frame_equal(Study.from_biom(table_of(), metadata=tmp_path / "m.tsv").metadata, study.metadata)


def test_sequences_name_hashed_observations() -> None:
    hashes = [f"{i:032x}" for i in range(3)]
    with pytest.raises(NeedsSequencesError, match="3 of 3 observation ids are not DNA"):
        Study.from_biom(table_of(asvs=hashes))
    study = Study.from_biom(table_of(asvs=hashes), sequences=dict(zip(hashes, ASVS, strict=True)))
    assert list(study.asv_ids) == ASVS


def test_text_of_samples_is_read_as_a_metadata_file_is() -> None:
    entries = [{"ph": "6.5", "day": "2026-01-02", "plate": "01"}, {"ph": "", "day": "2026-01-03", "plate": "02"}]
    metadata = Study.from_biom(table_of(sample_metadata=entries)).metadata
    assert metadata["ph"].tolist()[0] == 6.5
    assert metadata["ph"].isna().tolist() == [False, True]
    assert metadata["day"].tolist() == [pd.Timestamp("2026-01-02"), pd.Timestamp("2026-01-03")]
    assert metadata["plate"].tolist() == ["01", "02"]


@pytest.mark.parametrize(
    ("table", "more", "error", "message"),
    [
        (lambda: table_of(COUNTS / 2), {}, StudyError, r"counts are not whole numbers .*first: 1\.5 in sample 0012"),
        (lambda: table_of(-COUNTS), {}, StudyError, r"counts are not whole numbers .*first: -3 in sample 0012"),
        (lambda: table_of(np.where(COUNTS, np.nan, 0)), {}, StudyError, r"counts are not whole numbers .*first: nan"),
        (lambda: table_of(COUNTS * 0), {}, StudyError, r"All counts of the biom\.Table are zero"),
        (lambda: table_of(asvs=["otu 1", "otu 2", "otu 3"]), {}, StudyError, r"3 of 3 sequences are names"),
        (lambda: table_of(asvs=[ASVS[0].lower(), *ASVS[:2]]), {}, StudyError, r"1 ASV occurs more than once"),
        (lambda: biom.Table(np.zeros((0, 0)), [], []), {}, StudyError, r"The BIOM table has no samples"),
        (table_of, {"metadata": pd.DataFrame({"a": [1]}, ["c"])}, StudyError, r"None of the 2 samples"),
        (table_of, {"metadata": pd.DataFrame({"a": [1, 2]}, ["b", "b"])}, StudyError, r"1 sample id occurs more than"),
        (lambda: "table.biom", {}, FormatError, r"table is 'table\.biom', of type str.*`biom\.Table`.*read_study"),
    ],
)
def test_what_read_study_refuses_is_refused(table: Any, more: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Study.from_biom(table(), **more)


def test_a_tree_that_read_study_refuses_is_refused(tmp_path: Path) -> None:
    tree = tmp_path / "tree.nwk"
    for text, error in (("(A:1,B:1,C:1);", UnrootedError), ("((A:1,B):1,C:1);", TreeError)):
        tree.write_text(text)
        with pytest.raises(error):
            Study.from_biom(table_of(), tree=tree)


def test_the_same_sequences_are_summed_where_that_is_asked_for() -> None:
    twice = table_of(asvs=[ASVS[0], ASVS[0].lower(), ASVS[2]])
    study = Study.from_biom(twice, sum_duplicates=True)
    assert study.table.toarray().tolist() == [[4, 0], [5, 2]]


def test_a_taxon_with_a_semicolon_is_refused(study: Study) -> None:
    ranks = pd.DataFrame({"domain": ["a;b"] * study.num_asvs}, study.asv_ids)
    odd = Study(study.table, study.sample_ids, study.asv_ids, study.metadata, taxonomy=ranks)
    with pytest.raises(StudyError, match=r"1 taxon has a semicolon in the name"):
        odd.to_biom()


# -- AnnData ----------------------------------------------------------------------------------------------------------


def test_anndata_that_is_not_installed_is_told_with_its_pip_line(study: Study, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'aam-nb\[anndata\]'"):
        study.to_anndata()


@pytest.mark.anndata
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning:anndata")
def test_a_study_comes_back_from_anndata(annotated: Study, tmp_path: Path) -> None:
    data = annotated.to_anndata()
    assert data.shape == (annotated.num_samples, annotated.num_asvs)
    assert list(data.obs_names) == list(annotated.sample_ids)
    assert list(data.var_names) == list(annotated.asv_ids)
    np.testing.assert_array_equal(data.X.toarray(), annotated.table.toarray())
    assert data.var["phylum"].notna().sum() == annotated.taxonomy["phylum"].notna().sum()  # type: ignore[index]
    assert data.obs["ph"].equals(annotated.metadata["ph"])
    data.obs = data.obs.drop(columns="day")  # of which h5ad holds none
    data.write_h5ad(tmp_path / "t.h5ad")
    back = aam.read_study(tmp_path / "t.h5ad")
    np.testing.assert_array_equal(back.table.toarray(), annotated.table.toarray())
    assert back.metadata["ph"].equals(annotated.metadata["ph"])
    assert back.metadata["crop"].astype(object).dropna().tolist() == annotated.metadata["crop"].dropna().tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sequences": {"x1": ASVS[0], "x2": None}}, r"The sequence of 1 feature is no text \(x2\)"),
        ({"sequences": pd.Series({"x1": ASVS[0], "x2": np.nan})}, r"The sequence of 1 feature is no text \(x2\)"),
        ({"sequences": [ASVS[0]]}, r"sequences is .*, of type list\. Expected a mapping"),
        ({"metadata": {"x": [1, 2]}}, r"metadata is .*, of type dict\. Expected a DataFrame"),
        ({"tree": 5}, r"tree is 5, of type int\. Expected a `Tree`"),
    ],
)
def test_arguments_of_another_kind_are_refused(given: dict[str, Any], words: str) -> None:
    """A missing sequence above all: "NAN" is valid IUPAC, and would be an ASV."""
    ids = ["x1", "x2"] if "sequences" in given else ASVS[:2]
    table = biom.Table(np.ones((2, 2)), ids, ["a", "b"])
    with pytest.raises((StudyError, FormatError), match=words):
        aam.Study.from_biom(table, **given)


def test_a_column_that_stands_twice_in_the_metadata_is_refused() -> None:
    rows = pd.DataFrame([[1, 2], [3, 4]], index=["a", "b"], columns=["age", "age"])
    with pytest.raises(StudyError, match=r"1 column id occurs more than once \(age\)"):
        aam.Study.from_biom(biom.Table(np.ones((2, 2)), ASVS[:2], ["a", "b"]), metadata=rows)
