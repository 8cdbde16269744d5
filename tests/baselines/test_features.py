"""Features of baselines against scikit-bio and hand values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from skbio.stats.composition import clr

from aam_nb.baselines.features import AsvFeatures, CovariateColumns, count_reads
from aam_nb.study.study import Study


def with_totals(reads: np.ndarray) -> np.ndarray:
    """Reads and, as the last column, all reads of a sample."""
    return np.hstack([reads, reads.sum(1, keepdims=True)])


def test_reads_by_hand(hand_study: Study) -> None:
    """Columns in the order asked for, 0 for an ASV that the study lacks; the total counts those not asked for too."""
    a, b, *_ = hand_study.asv_ids
    table = hand_study.table[:].toarray()
    found = count_reads(hand_study, pd.Index([b, "TTTT", a]))
    assert found[:, 0].tolist() == table[:, 1].tolist()
    assert found[:, 1].tolist() == [0, 0, 0]
    assert found[:, 2].tolist() == table[:, 0].tolist()
    assert found[:, 3].tolist() == table.sum(1).tolist()


def test_features_are_those_of_scikit_bio() -> None:
    rng = np.random.default_rng(0)
    reads = rng.poisson(2, (12, 6)).astype(float)
    reads[:, 4] = 0
    reads[0, 4] = 3  # in one sample only
    reads[:, 0] += 1
    covariate = rng.normal(size=(12, 1))
    X = np.hstack([with_totals(reads), covariate])
    found = AsvFeatures(6, "clr", 2).fit(X)
    assert list(found.kept_) == [0, 1, 2, 3, 5]
    want = clr(reads[:, [0, 1, 2, 3, 5]] + 0.5)
    assert found.transform(X)[:, :5] == pytest.approx(np.asarray(want))
    assert found.transform(X)[:, 5] == pytest.approx(covariate[:, 0])
    shares = AsvFeatures(6, "share", 2).fit(X).transform(X)
    assert shares[:, :5] == pytest.approx(reads[:, [0, 1, 2, 3, 5]] / reads.sum(1, keepdims=True))


def test_covariates_as_numbers(study: Study) -> None:
    half = study.num_samples // 2
    metadata = study.metadata.assign(
        ph=np.where(np.arange(study.num_samples) % 5 == 0, np.nan, np.arange(study.num_samples, dtype=float)),
        site=["x", "y"] * half,
    )
    train = replace(study, metadata=metadata).keep_samples(study.sample_ids[:half])
    test = replace(study, metadata=metadata.assign(site="z")).keep_samples(study.sample_ids[half:])
    columns = CovariateColumns(train, ["ph", "site"])
    found = columns(train)
    known = metadata["ph"][:half]
    spread = known.std(ddof=0)
    assert found[:, 0] == pytest.approx(((known.fillna(known.mean()) - known.mean()) / spread).to_numpy(), abs=1e-7)
    assert found[:, 1:].tolist() == [[1, 0], [0, 1]] * (half // 2)
    assert columns(test)[:, 1:].sum() == 0  # a category that training lacks


def test_features_hardly_mind_depth(study: Study) -> None:
    """Ten times the reads of every ASV are nearly the same log-ratios, and exactly the same shares."""
    X = with_totals(np.maximum(study.table[:].toarray(), 1).astype(float) * 1000)
    model = AsvFeatures(study.num_asvs, "clr", 1).fit(X)
    assert model.transform(X) == pytest.approx(model.transform(10 * X), abs=1e-2)
    share = AsvFeatures(study.num_asvs, "share", 1).fit(X)
    assert share.transform(X) == pytest.approx(share.transform(10 * X))
