"""Distances that need no tree, against SciPy, scikit-bio and a table worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from skbio.diversity import beta_diversity
from skbio.stats.composition import clr

import aam_nb as aam
from aam_nb.diversity.distances import TABLE_METRICS, TREE_METRICS, aitchison, bray_curtis, distance_matrix, jaccard
from aam_nb.study.study import Study


def test_bray_curtis_and_jaccard_by_hand(hand_study: Study) -> None:
    # Shares one 3/4, 1/4, 0, 0; two 0, 2/7, 5/7, 0; three 0, 0, 1/2, 1/2: 1 - the sum of the smaller ones.
    want = np.array([[0, 1 - 1 / 4, 1], [1 - 1 / 4, 0, 1 - 1 / 2], [1, 1 - 1 / 2, 0]])
    np.testing.assert_allclose(bray_curtis(hand_study.table[:]), want)
    # ASVs 1 and 2; 2 and 3; 3 and 4.
    want = np.array([[0, 2 / 3, 1], [2 / 3, 0, 2 / 3], [1, 2 / 3, 0]])
    np.testing.assert_allclose(jaccard(hand_study.table[:]), want)


def test_distances_are_those_of_scikit_bio(hand_study: Study, study: Study) -> None:
    for s in (hand_study, study):
        dense = s.table[:].toarray()
        shares = dense / dense.sum(axis=1, keepdims=True)
        centred = clr(dense + 1)
        np.testing.assert_allclose(jaccard(s.table[:]), beta_diversity("jaccard", dense > 0).data, atol=1e-12)
        by_skbio = beta_diversity("braycurtis", shares, validate=False).data
        np.testing.assert_allclose(bray_curtis(s.table[:]), by_skbio, atol=1e-12)
        np.testing.assert_allclose(aitchison(s.table[:]), cdist(centred, centred), atol=1e-6)


@pytest.mark.parametrize("metric", TABLE_METRICS)
def test_a_matrix_is_symmetric_and_does_not_change_with_the_order_of_asvs(metric: str, study: Study) -> None:
    matrix = distance_matrix(study, metric)
    assert list(matrix.ids) == list(study.sample_ids)
    assert (matrix.data == matrix.data.T).all()
    assert (np.diag(matrix.data) == 0).all()
    turned = study.keep_asvs(study.asv_ids[::-1])
    np.testing.assert_allclose(distance_matrix(turned, metric).data, matrix.data, atol=1e-12)


@pytest.mark.parametrize("metric", TREE_METRICS)
def test_a_unifrac_matrix_goes_by_its_name_too(metric: str, study: Study) -> None:
    np.testing.assert_array_equal(distance_matrix(study, metric).data, aam.unifrac(study, metric=metric).data)
