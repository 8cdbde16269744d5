"""Distance matrices in HDF5: the layout that others read, and the cache."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from skbio import DistanceMatrix

import aam_nb as aam
from aam_nb.diversity import matrix_cache
from aam_nb.study.errors import EmptySampleError, MissingTipError
from aam_nb.study.study import Study

# -- files for others -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"metric": "generalized", "dtype": "float32"}, {"block": 7}], ids=str)
def test_scikit_bio_reads_the_file(how: dict[str, Any], study: Study, tmp_path: Path) -> None:
    path = aam.write_unifrac(study, tmp_path / "new" / "d.h5", **how)
    assert path == tmp_path / "new" / "d.h5"
    with path.open("rb") as file:
        distances = DistanceMatrix.read(file, format="binary_dm")
    want = aam.unifrac(study, cache=False, **how)
    assert distances.ids == want.ids
    assert distances.data.dtype == want.data.dtype
    np.testing.assert_array_equal(distances.data, want.data)
    assert [p.name for p in path.parent.iterdir()] == ["d.h5"]  # nothing half-written stays


@pytest.mark.skipif(shutil.which("ssu") is None, reason="ssu is not installed (unifrac-tools)")
def test_the_layout_is_that_of_ssu(study: Study, tmp_path: Path) -> None:
    table = biom.Table(study.table[:].T.toarray(), list(study.asv_ids), list(study.sample_ids))
    with h5py.File(tmp_path / "table.biom", "w") as file:
        table.to_hdf5(file, "test")
    (tmp_path / "tree.nwk").write_text(study.require_tree().to_newick())
    command = "ssu -i table.biom -t tree.nwk -o ssu.h5 -m unweighted_fp64 --format hdf5_fp64 --pcoa 0"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    aam.write_unifrac(study, tmp_path / "ours.h5")
    with h5py.File(tmp_path / "ssu.h5") as theirs, h5py.File(tmp_path / "ours.h5") as ours:
        assert sorted(ours) == sorted(theirs)
        for name in theirs:
            assert (ours[name].shape, ours[name].dtype) == (theirs[name].shape, theirs[name].dtype), name
        for name in ("format", "version", "order"):
            assert ours[name][:].tolist() == theirs[name][:].tolist()
        np.testing.assert_allclose(ours["matrix"][:], theirs["matrix"][:], atol=1e-6)


def test_a_run_that_fails_leaves_the_old_file(hand_study: Study, tmp_path: Path) -> None:
    path = aam.write_unifrac(hand_study, tmp_path / "d.h5")
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stopped"), matrix_cache.matrix_file(path, hand_study.sample_ids, "float64"):
        raise RuntimeError("stopped")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["d.h5"]


# -- the cache --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AAM_NB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def stamp(path: Path, value: float) -> None:
    """Put a number that no computation gives into a cached file."""
    with h5py.File(path, "r+") as file:
        file["matrix"][0, 1] = file["matrix"][1, 0] = value
        ids = file["order"].asstr()[:].tolist()
        file["matrix"].attrs["sha256"] = matrix_cache._sum(ids, file["matrix"][:])


def test_a_second_call_is_a_read(cache: Path, hand_study: Study) -> None:
    first = aam.unifrac(hand_study)
    (file,) = cache.iterdir()
    np.testing.assert_array_equal(aam.unifrac(hand_study).data, first.data)
    stamp(file, 0.125)
    again = aam.unifrac(hand_study)
    assert again["one", "two"] == 0.125
    assert again.ids == first.ids
    assert aam.unifrac(hand_study, cache=False)["one", "two"] == first["one", "two"]


def test_what_changes_a_number_is_a_miss_and_what_does_not_is_a_hit(cache: Path, hand_study: Study) -> None:
    aam.unifrac(hand_study)
    (file,) = cache.iterdir()
    stamp(file, 0.125)
    assert aam.unifrac(hand_study, block=1, alpha=0.9, device="cpu", engine="torch")["one", "two"] == 0.125
    counts = hand_study.table[:].toarray()
    counts[0, 0] += 1
    tree = hand_study.require_tree()
    other = [
        replace(hand_study, table=sparse.csr_array(counts)),
        replace(hand_study, tree=replace(tree, length=tree.length * [0, 1, 1, 1, 1, 1, 2])),
        hand_study.keep_samples(["two", "one", "three"]),
    ]
    for changed in other:
        assert aam.unifrac(changed)["one", "two"] != 0.125
    for how in ({"metric": "weighted_normalized"}, {"dtype": "float32"}, {"engine": "skbio"}):
        assert aam.unifrac(hand_study, **how)["one", "two"] != 0.125
    assert len(list(cache.iterdir())) == 7
    half, most = (aam.unifrac(hand_study, metric="generalized", alpha=a)["one", "two"] for a in (0.5, 0.9))
    assert half != most


def test_a_folder_can_be_given(cache: Path, tmp_path: Path, hand_study: Study) -> None:
    aam.unifrac(hand_study, cache=tmp_path / "here")
    (file,) = (tmp_path / "here").iterdir()
    stamp(file, 0.125)
    assert aam.unifrac(hand_study, cache=str(tmp_path / "here"))["one", "two"] == 0.125
    assert not cache.exists()


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        place = content.index(np.float64(11 / 21).tobytes())  # a distance of the hand-worked study
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif how == "text":
        path.write_text("not HDF5")
    else:
        with h5py.File(path, "r+") as file:
            del file["order"]
            file["order"] = [b"one", b"two", b"four"]


@pytest.mark.parametrize("how", ["cut", "flipped", "text", "other samples"])
def test_a_damaged_file_is_told_and_computed_anew(
    how: str, cache: Path, hand_study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    first = aam.unifrac(hand_study)
    (file,) = cache.iterdir()
    damage(file, how)
    with caplog.at_level(logging.WARNING, logger="aam_nb"):
        np.testing.assert_array_equal(aam.unifrac(hand_study).data, first.data)
    assert "cannot be read" in caplog.text
    assert file.name in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(aam.unifrac(hand_study).data, first.data)
    assert not caplog.records


def test_the_least_recently_used_make_room(
    cache: Path, hand_study: Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = []
    for k, metric in enumerate(["unweighted", "weighted_normalized", "weighted_unnormalized"]):
        aam.unifrac(hand_study, metric=metric)
        (new,) = {p.name for p in cache.iterdir()} - set(names)
        names.append(new)
        os.utime(cache / new, (k, k))
    aam.unifrac(hand_study)  # used again: now the newest
    size = (cache / names[0]).stat().st_size
    monkeypatch.setattr(matrix_cache, "CACHE_BYTES", int(3.5 * size))
    aam.unifrac(hand_study, metric="generalized")
    left = {p.name for p in cache.iterdir()}
    assert len(left) == 3
    assert names[1] not in left
    assert {names[0], names[2]} < left
    monkeypatch.setattr(matrix_cache, "CACHE_BYTES", 71)  # nine distances are 72 bytes
    with caplog.at_level(logging.WARNING, logger="aam_nb"):
        aam.unifrac(hand_study, metric="generalized", alpha=0.1)
    assert "not saved" in caplog.text
    assert {p.name for p in cache.iterdir()} == left


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, hand_study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, logger="aam_nb"):
        distances = aam.unifrac(hand_study, cache=tmp_path / "file" / "cache")
    assert distances.shape == (3, 3)
    assert "cannot be saved in the cache" in caplog.text


def test_a_cached_result_does_not_pass_by_the_checks(cache: Path, hand_study: Study) -> None:
    with pytest.raises(MissingTipError):
        aam.unifrac(replace(hand_study, tree=None))
    with pytest.raises(EmptySampleError):
        aam.unifrac(hand_study.filter(min_depth=10**6))
    ids = pd.Index(["one"])
    lone = Study(hand_study.table[:1], ids, hand_study.asv_ids, pd.DataFrame(index=ids), tree=hand_study.tree)
    for _ in range(2):
        assert aam.unifrac(lone).data.tolist() == [[0]]
