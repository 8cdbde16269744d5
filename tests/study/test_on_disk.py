"""A table on disk gives what the same table in memory gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aam_nb as aam
from aam_nb.batch.batches import Batches
from aam_nb.study import write
from aam_nb.study.errors import FormatError, StudyError
from aam_nb.study.readers.disk import DiskTable
from aam_nb.study.study import Study


@pytest.fixture(scope="module")
def files(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The simulated study on disk; its table written by biom-format."""
    folder = tmp_path_factory.mktemp("lazy")
    with h5py.File(folder / "table.biom", "w") as file:
        biom.Table(study.table[:].T.toarray(), list(study.asv_ids), list(study.sample_ids)).to_hdf5(file, "test")
    aam.write_metadata(study.metadata, folder / "metadata.tsv")
    (folder / "tree.nwk").write_text(study.require_tree().to_newick())
    return {"table": folder / "table.biom", "metadata": folder / "metadata.tsv", "tree": folder / "tree.nwk"}


@pytest.fixture(scope="module")
def lazy(files: dict[str, Path]) -> Study:
    return aam.read_study(**files, lazy=True)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def eager(files: dict[str, Path]) -> Study:
    return aam.read_study(**files)  # type: ignore[arg-type]


def test_the_counts_stay_on_disk(lazy: Study, eager: Study) -> None:
    assert lazy.lazy
    assert isinstance(lazy.table, DiskTable)
    assert not eager.lazy
    assert ", on disk)" in repr(lazy)
    assert not lazy.in_memory().lazy
    assert lazy.content_hash() == eager.content_hash() == lazy.in_memory().content_hash()


VERBS: dict[str, Callable[[Study], Study]] = {
    "nothing": lambda s: s,
    "samples backwards": lambda s: s.keep_samples(s.sample_ids[::-3]),
    "ASVs": lambda s: s.keep_asvs(s.asv_ids[::2]),
    "filter": lambda s: s.filter(min_prevalence=5, min_depth=400, min_length=10),
    "rarefy": lambda s: s.rarefy(300, seed=4),
    "rarefy, then ASVs, then rarefy": lambda s: s.rarefy(300, seed=4).keep_asvs(s.asv_ids[10:60]).rarefy(60, seed=5),
    "split": lambda s: s.split(target="age", group="host_id", seed=1)[1],
    "ASVs, then samples, then rarefy": lambda s: (
        s.keep_asvs(s.asv_ids[5:]).keep_samples(s.sample_ids[7:30]).rarefy(200)
    ),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_on_disk_gives_what_it_gives_in_memory(verb: str, lazy: Study, eager: Study) -> None:
    ours, oracle = VERBS[verb](lazy), VERBS[verb](eager)
    assert ours.lazy
    np.testing.assert_array_equal(ours.table[:].toarray(), oracle.table[:].toarray())
    pd.testing.assert_series_equal(ours.depth, oracle.depth)
    pd.testing.assert_series_equal(ours.prevalence, oracle.prevalence)
    pd.testing.assert_series_equal(ours.richness, oracle.richness)
    pd.testing.assert_frame_equal(ours.summary(), oracle.summary())
    assert ours.content_hash() == oracle.content_hash()
    assert ours.provenance == oracle.provenance


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, 47), max_size=20, unique=True))
def test_any_samples_in_any_order_are_read(rows: list[int], lazy: Study, eager: Study) -> None:
    which = np.array(rows, dtype=np.int64)
    np.testing.assert_array_equal(lazy.table[which].toarray(), eager.table[:].toarray()[which])


def test_a_samples_draw_does_not_hang_on_its_company(eager: Study) -> None:
    """Rarefying, then keeping samples, is keeping samples, then rarefying."""
    some = eager.sample_ids[[3, 1, 30]]
    one, other = eager.rarefy(300, seed=2).keep_samples(some), eager.keep_samples(some).rarefy(300, seed=2)
    np.testing.assert_array_equal(one.table[:].toarray(), other.table[:].toarray())


def test_batches_of_a_table_on_disk_are_the_same(lazy: Study, eager: Study) -> None:
    config = aam.TrainConfig(batch_size=7, asv_dropout=0.2, rarefy=200, mixup=0.4, max_asvs=30, seed=3)
    how: dict[str, Any] = {"config": config, "training": True}
    for ours, oracle in zip(Batches(lazy, **how), Batches(eager, **how), strict=True):
        assert ours.sample_ids == oracle.sample_ids
        for name in ("tokens_NL", "asv_E", "offsets_B1", "counts_E", "total_B"):
            assert getattr(ours, name).tolist() == getattr(oracle, name).tolist()


def test_training_and_prediction_on_disk_give_the_same_bits(lazy: Study, eager: Study) -> None:
    found = []
    for study in (lazy, eager):
        train, test = study.rarefy(300, seed=0).split(target="age", group="host_id", seed=0)
        model = aam.AAM(TINY).pretrain(train, config=QUICK).fit(train, target="age", config=QUICK)
        found.append((model.predict(test), model.history["train_loss"].tolist()))
    pd.testing.assert_frame_equal(found[0][0], found[1][0], check_exact=True)
    assert found[0][1] == found[1][1]


def test_unifrac_and_faith_pd_on_disk(lazy: Study, eager: Study) -> None:
    np.testing.assert_array_equal(aam.unifrac(lazy, cache=False).data, aam.unifrac(eager, cache=False).data)
    pd.testing.assert_series_equal(aam.faith_pd(lazy), aam.faith_pd(eager))


def test_a_packed_or_other_file_cannot_be_opened_lazily(files: dict[str, Path], tmp_path: Path) -> None:
    import gzip

    (tmp_path / "t.biom.gz").write_bytes(gzip.compress(files["table"].read_bytes()))
    with pytest.raises(FormatError, match=r"t\.biom\.gz is packed\..*Unpack it once"):
        aam.read_study(tmp_path / "t.biom.gz", lazy=True)
    (tmp_path / "t.tsv").write_text("#OTU ID\ta\nACGTACGTAC\t1\n")
    with pytest.raises(FormatError, match=r"t\.tsv is text\. Only BIOM 2\.1.*write_biom"):
        aam.read_study(tmp_path / "t.tsv", lazy=True)


def test_a_file_that_changed_since_is_not_read_on(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "t.biom"
    path.write_bytes(files["table"].read_bytes())
    study = aam.read_study(path, lazy=True)
    with h5py.File(path, "a") as file:
        file["sample/matrix/data"][0] = 99
        file["more"] = np.zeros(100)
    with pytest.raises(FormatError, match=r"t\.biom has changed since it was opened.*lazy=True"):
        study.rarefy(300).table[:]


@pytest.mark.parametrize("value", [-1, 0.5, np.nan, np.inf, 2.0**31])
def test_counts_are_checked_when_the_file_is_opened(value: float, files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "t.biom"
    path.write_bytes(files["table"].read_bytes())
    with h5py.File(path, "a") as file:
        file["sample/matrix/data"][5] = value
    with pytest.raises(StudyError, match=r"1 count is not a whole number .* in sample "):
        aam.read_study(path, lazy=True)


def test_a_lazy_study_is_written_without_being_held(
    lazy: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of samples and in ranges of ASVs so small that there are many of both."""

    monkeypatch.setattr(write, "ENTRIES_IN_MEMORY", 40)
    path = aam.write_biom(lazy.rarefy(300), tmp_path / "t.biom")
    oracle = biom.load_table(str(path))  # reads the observations' side
    np.testing.assert_array_equal(oracle.matrix_data.toarray().T, lazy.rarefy(300).table[:].toarray())
    again = aam.read_study(path, lazy=True)  # reads the samples' side
    assert again.content_hash() == replace(lazy.rarefy(300), tree=None).content_hash()
