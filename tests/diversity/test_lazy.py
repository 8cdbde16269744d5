"""Every verb gives the same for a study whose table is on disk."""

from __future__ import annotations

from pathlib import Path

import biom
import h5py
import numpy as np
import pandas as pd
import pytest
from random_studies import METRICS

import aam_nb as aam
from aam_nb.study.study import Study


@pytest.fixture(scope="module")
def on_disk(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("lazy")
    table = biom.Table(study.table[:].T.toarray(), list(study.asv_ids), list(study.sample_ids))
    with h5py.File(folder / "table.biom", "w") as file:
        table.to_hdf5(file, "test")
    (folder / "tree.nwk").write_text(study.require_tree().to_newick())
    lazy = aam.read_study(folder / "table.biom", tree=folder / "tree.nwk", lazy=True)
    assert not hasattr(lazy.table, "toarray")
    return lazy


def test_distances(on_disk: Study, study: Study) -> None:
    for how in METRICS:
        distances = aam.unifrac(on_disk, cache=False, block=7, **how)
        assert distances.ids == tuple(study.sample_ids)
        np.testing.assert_array_equal(distances.data, aam.unifrac(study, cache=False, block=7, **how).data)
    for engine in ("skbio", "torch"):
        distances = aam.unifrac(on_disk, engine=engine, cache=False)
        np.testing.assert_allclose(distances.data, aam.unifrac(study, cache=False).data, atol=1e-6)


def test_blocks(on_disk: Study, study: Study, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(
        aam.unifrac_between(on_disk, study, block=7), aam.unifrac_between(study, on_disk, block=7)
    )
    aam.write_unifrac(on_disk, tmp_path / "d.h5", block=7)
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["matrix"][:], aam.unifrac(study, cache=False, block=7).data)


def test_faith_pd(on_disk: Study, study: Study) -> None:
    pd.testing.assert_series_equal(aam.faith_pd(on_disk), aam.faith_pd(study))


def test_the_cache_knows_them_for_the_same(on_disk: Study, study: Study, tmp_path: Path) -> None:
    aam.unifrac(study, cache=tmp_path)
    aam.unifrac(on_disk, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
