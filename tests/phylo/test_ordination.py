"""PCoA against principal components, of which it is a case, and its own laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from skbio import DistanceMatrix
from sklearn.decomposition import PCA

import aam_nb as aam
from aam_nb.study.study import Study


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(9, 3)) * [5, 2, 1]


def test_three_points_on_a_line_by_hand() -> None:
    # 0, 1 and 5 on a line: their mean is 2, so one axis holds -2, -1 and 3 (or their negatives), and explains all.
    result = aam.pcoa(DistanceMatrix([[0, 1, 5], [1, 0, 4], [5, 4, 0]], ["a", "b", "c"]))
    axis = result.samples.iloc[:, 0]
    np.testing.assert_allclose(axis * np.sign(axis["c"]), [-2, -1, 3], atol=1e-9)
    assert result.proportion_explained.iloc[0] == pytest.approx(1)


def test_euclidean_distances_give_the_principal_components(points: np.ndarray) -> None:
    distances = squareform(pdist(points))
    result = aam.pcoa(DistanceMatrix(distances, [f"s{i}" for i in range(9)]))
    assert list(result.samples.index) == [f"s{i}" for i in range(9)]
    np.testing.assert_allclose(squareform(pdist(result.samples.to_numpy())), distances, atol=1e-6)
    expected = PCA().fit(points).explained_variance_ratio_
    np.testing.assert_allclose(result.proportion_explained.to_numpy()[:3], expected, atol=1e-9)


def test_shares_are_ordered_and_those_of_the_whole(study: Study) -> None:
    distances = aam.unifrac(study)
    whole = aam.pcoa(distances, num_axes=study.num_samples).proportion_explained.to_numpy()
    assert whole.sum() == pytest.approx(1)
    assert (whole >= 0).all()
    assert (np.diff(whole) <= 1e-12).all()
    most = aam.pcoa(distances, num_axes=study.num_samples - 1).proportion_explained
    assert most.sum() <= 1 + 1e-9
    few = aam.pcoa(distances, num_axes=4)
    assert few.samples.shape == (study.num_samples, 4)
    np.testing.assert_allclose(few.proportion_explained, whole[:4], atol=1e-9)  # of all variation, not of the axes kept


def test_no_more_axes_than_samples() -> None:
    result = aam.pcoa(DistanceMatrix([[0, 1], [1, 0]], ["a", "b"]), num_axes=10)
    assert result.samples.shape == (2, 2)
    assert sorted(result.samples.iloc[:, 0]) == pytest.approx([-0.5, 0.5])
