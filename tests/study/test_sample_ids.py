"""One rule for ids, at every door by which a study comes to be: what is taken can be saved, and what cannot be saved is not taken."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import biom
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import aam_nb as aam
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.study import Study

ASVS = ["ACGTACGTAC", "TTGTACGTAC"]
COUNTS = np.array([[1, 2], [3, 4]])  # ASVs x samples

BAD = {
    "P1 ": r"\('P1 '\)",
    " P1": r"\(' P1'\)",
    "P1\u00a0": "blank at an end",
    "P\n1": r"line break.*\('P\\n1'\)",
    "P\t1": "tab",
    "P\x7f1": "control",
    "P\0Q": "control|NUL|null",
    "P\u2028Q": "line break",
    "#P1": r"`#` in front \('#P1'\)",
    "": "missing|not text",
    "  ": "missing|not text",
}
"""Ids that would be lost or changed on the way through a file, and what is said of each."""
GOOD = [
    *("P1", "0012", "a b", "x#1", "'q'", 'say "a"', "<b>", "=1+1", "-", "+x", "@x", "é", "e\u0301", "日本"),
    *("a,b;c|d", "NA", "nan", "None", "1e5"),
]


def by_constructor(ids: list[str], folder: Path) -> Study:
    return Study(sparse.csr_array(COUNTS.T), pd.Index(ids), pd.Index(ASVS), pd.DataFrame(index=pd.Index(ids)))


def by_biom_object(ids: list[str], folder: Path) -> Study:
    return Study.from_biom(biom.Table(COUNTS, ASVS, ids))


def by_metadata_frame(ids: list[str], folder: Path) -> Study:
    table = biom.Table(COUNTS, ASVS, ["P2", "P3"])
    return Study.from_biom(table, metadata=pd.DataFrame({"x": [1, 2, 3, 4]}, index=["P2", "P3", *ids]))


def write_biom2(ids: list[str], path: Path) -> Path:
    aam.write_biom(by_constructor(["one", "two"], path), path)
    with h5py.File(path, "a") as file:
        del file["sample/ids"]
        file["sample"].create_dataset("ids", data=[i.encode() for i in ids], dtype=h5py.string_dtype())
    return path


def by_biom2(ids: list[str], folder: Path) -> Study:
    return aam.read_study(write_biom2(ids, folder / "t.biom"))


def by_lazy_biom2(ids: list[str], folder: Path) -> Study:
    return aam.read_study(write_biom2(ids, folder / "t.biom"), lazy=True)


def by_artifact(ids: list[str], folder: Path) -> Study:
    table = write_biom2(ids, folder / "t.biom")
    with zipfile.ZipFile(folder / "t.qza", "w") as archive:
        archive.writestr("u/metadata.yaml", "uuid: u\ntype: FeatureTable[Frequency]\nformat: BIOMV210DirFmt\n")
        archive.write(table, "u/data/feature-table.biom")
    return aam.read_study(folder / "t.qza")


def by_biom1(ids: list[str], folder: Path) -> Study:
    document = json.loads(biom.Table(COUNTS, ASVS, ["one", "two"]).to_json("test"))
    document["columns"] = [{"id": i, "metadata": None} for i in ids]
    (folder / "t.biom").write_text(json.dumps(document))
    return aam.read_study(folder / "t.biom")


def by_anndata(ids: list[str], folder: Path) -> Study:
    anndata = pytest.importorskip("anndata")
    data = anndata.AnnData(
        sparse.csr_matrix(COUNTS.T), obs=pd.DataFrame(index=pd.Index(ids)), var=pd.DataFrame(index=pd.Index(ASVS))
    )
    data.write_h5ad(folder / "t.h5ad")
    return aam.read_study(folder / "t.h5ad")


DOORS: list[Callable[[list[str], Path], Study]] = [
    by_constructor,
    by_biom_object,
    by_metadata_frame,
    by_biom2,
    by_lazy_biom2,
    by_artifact,
    by_biom1,
    by_anndata,
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("bad", BAD)
def test_ids_that_files_cannot_hold_are_refused_at_every_door(
    bad: str, door: Callable[[list[str], Path], Study], tmp_path: Path
) -> None:
    if "\0" in bad and door in (by_biom2, by_lazy_biom2, by_artifact, by_anndata):
        pytest.skip("HDF5 ends a text there")
    with pytest.raises((StudyError, FormatError), match=BAD[bad]):
        door([bad, "P9"], tmp_path)


@pytest.mark.parametrize("door", [d for d in DOORS if d is not by_metadata_frame])
def test_ids_that_are_taken_are_saved_and_read_back(door: Callable[[list[str], Path], Study], tmp_path: Path) -> None:
    for k in range(len(GOOD) - 1):
        ids = GOOD[k : k + 2]
        study = door(ids, tmp_path)
        assert list(study.sample_ids) == ids
        study = replace(study, metadata=pd.DataFrame({"x": [1, 2]}, index=study.sample_ids))
        assert list(Study.load(study.save(tmp_path / "saved")).metadata.index) == ids


@pytest.mark.parametrize("bad", ["P\n1", "P\t1", "#P1"])
@pytest.mark.parametrize("separator", ["\t", ","])
@pytest.mark.parametrize("where", ["header", "rows", "metadata"])
def test_text_is_read_without_blanks_at_the_ends_of_ids_and_refused_with_breaks_in_them(
    where: str, separator: str, bad: str, tmp_path: Path
) -> None:
    def write(cells: list[list[str]], name: str) -> Path:
        lines = [separator.join(f'"{c}"' for c in row) for row in cells]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    sample = "P1" if where == "metadata" else bad
    wide = [["ASV", f" {sample}" if where != "header" else sample, "P2 "], [ASVS[0], "1", "2"], [ASVS[1], "3", "4"]]
    if where == "rows":
        wide = [list(row) for row in zip(*wide, strict=True)]
        wide[1][0], wide[0][0] = bad, "sample"
    table = write(wide, "t.txt")
    if where == "metadata":
        rows = write([["sample-id", "x"], ["P2", "1"], [bad, "2"], ["P1 ", "3"]], "m.txt")
        if bad == "#P1":  # a comment, as QIIME 2 has it
            study = aam.read_study(table, metadata=rows)
            assert list(study.sample_ids) == ["P1", "P2"]
            assert any("comment" in step for step in study.provenance)
            return
        with pytest.raises(FormatError, match=r"1 sample id of .*m\.txt has a line break, a tab"):
            aam.read_study(table, metadata=rows)
        return
    with pytest.raises((StudyError, FormatError), match=r"1 sample id of the text table has"):
        aam.read_study(table)
