"""PCoA against principal components, of which it is a case, and its own laws."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform
from skbio import DistanceMatrix
from sklearn.decomposition import PCA

import aam_nb as aam
from aam_nb.diversity.ordination import OrdinationError
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


# -- the fast method --------------------------------------------------------------------------------------------------


def test_fast_gives_the_first_axes_of_exact(study: Study) -> None:
    distances = aam.unifrac(study)
    exact, fast = aam.pcoa(distances, num_axes=5), aam.pcoa(distances, num_axes=5, method="fast")
    assert list(fast.samples.index) == list(study.sample_ids)
    assert list(fast.samples.columns) == list(exact.samples.columns)
    np.testing.assert_allclose(fast.eigvals, exact.eigvals, rtol=1e-9)
    signs = np.sign((fast.samples * exact.samples).sum())
    np.testing.assert_allclose(fast.samples * signs, exact.samples, atol=1e-9)
    again = aam.pcoa(distances, num_axes=5, method="fast")
    assert fast.samples.equals(again.samples)


def test_shares_of_fast_are_of_the_trace_and_of_exact_of_the_positive_eigenvalues(study: Study) -> None:
    distances = aam.unifrac(study).data
    n = len(distances)
    centring = np.eye(n) - 1 / n
    values = np.linalg.eigvalsh(-0.5 * centring @ distances**2 @ centring)[::-1]
    exact, fast = (aam.pcoa(aam.unifrac(study), num_axes=3, method=m).proportion_explained for m in ("exact", "fast"))  # type: ignore[arg-type]
    np.testing.assert_allclose(exact, values[:3] / values[values > 0].sum(), rtol=1e-6)
    np.testing.assert_allclose(fast, values[:3] / values.sum(), rtol=1e-9)


def test_shares_agree_where_distances_are_euclidean(points: np.ndarray) -> None:
    distances = DistanceMatrix(squareform(pdist(points)))
    exact, fast = (aam.pcoa(distances, num_axes=3, method=m).proportion_explained for m in ("exact", "fast"))  # type: ignore[arg-type]
    np.testing.assert_allclose(fast, exact, atol=1e-9)
    assert fast.sum() == pytest.approx(1)


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_axes_without_variation(method: str, points: np.ndarray) -> None:
    assert aam.pcoa(DistanceMatrix([[0, 1], [1, 0]], ["a", "b"]), method=method).samples.shape == (2, 2)  # type: ignore[arg-type]
    nothing = aam.pcoa(DistanceMatrix(np.zeros((5, 5))), num_axes=2, method=method)  # type: ignore[arg-type]
    assert not nothing.samples.to_numpy().any()
    assert nothing.proportion_explained.tolist() == [0, 0]
    flat = aam.pcoa(DistanceMatrix(squareform(pdist(points))), num_axes=7, method=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(flat.eigvals[3:], 0, atol=1e-9)  # nine points in three dimensions
    np.testing.assert_allclose(squareform(pdist(flat.samples)), squareform(pdist(points)), atol=1e-6)


def test_settings_are_refused_by_value() -> None:
    distances = DistanceMatrix([[0, 1], [1, 0]])
    with pytest.raises(OrdinationError, match=r"method is 'svd'.*'exact' or 'fast'"):
        aam.pcoa(distances, method="svd")  # type: ignore[arg-type]
    with pytest.raises(OrdinationError, match=r"num_axes is 0.*at least 1"):
        aam.pcoa(distances, num_axes=0)


# -- new samples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["unweighted", "weighted_normalized"])
def test_projecting_the_old_samples_gives_them_back(metric: str, study: Study) -> None:
    distances = aam.unifrac(study, metric=metric)
    ordination = aam.pcoa(distances)
    shuffled = distances.to_data_frame().sample(frac=1, axis=1, random_state=0)  # columns are found by name
    projected = aam.project(ordination, distances, shuffled)
    pd.testing.assert_frame_equal(projected, ordination.samples, check_names=False, atol=1e-9)


def test_new_points_are_placed_exactly_among_euclidean_distances(points: np.ndarray) -> None:
    # Distances to all others determine a point: the nine and the new ones together keep all their distances.
    new = np.random.default_rng(1).normal(size=(4, 3)) * 4
    whole = squareform(pdist(np.vstack([points, new])))
    distances = DistanceMatrix(whole[:9, :9], [f"s{i}" for i in range(9)])
    ordination = aam.pcoa(distances, num_axes=9)  # with axes that have no variation
    rows = pd.DataFrame(whole[9:, :9], index=list("abcd"), columns=distances.ids)
    placed = aam.project(ordination, distances, rows)
    assert list(placed.index) == list("abcd")
    together = np.vstack([ordination.samples, placed])
    np.testing.assert_allclose(squareform(pdist(together)), whole, atol=1e-6)


def test_new_samples_of_a_study_lie_by_their_kin(study: Study) -> None:
    """Left-out samples, projected, are nearest to the samples that are nearest to them in the whole ordination."""
    old, new = study.keep_samples(study.sample_ids[8:]), study.keep_samples(study.sample_ids[:8])
    distances = aam.unifrac(old, metric="weighted_normalized")
    placed = aam.project(
        aam.pcoa(distances, num_axes=2), distances, aam.unifrac_between(new, old, metric="weighted_normalized")
    )
    whole = aam.pcoa(aam.unifrac(study, metric="weighted_normalized"), num_axes=2).samples.loc[list(new.sample_ids)]
    for axis in placed:
        assert abs(np.corrcoef(placed[axis], whole[axis])[0, 1]) > 0.9


def test_distances_that_do_not_belong_are_refused(study: Study) -> None:
    distances = aam.unifrac(study)
    ordination = aam.pcoa(distances)
    fewer = distances.to_data_frame().iloc[:, 2:]
    with pytest.raises(OrdinationError, match=r"from 2 of 48 ordinated samples are missing.*unifrac_between") as error:
        aam.project(ordination, distances, fewer)
    call = re.search(r"`(aam\.[^`]+)`", str(error.value))
    assert call is not None
    aam.project(ordination, distances, eval(call[1], {"aam": aam, "new": study, "study": study}))
    with pytest.raises(OrdinationError, match=r"ordination is of 48 samples.*are of 5.*aam\.pcoa"):
        aam.project(ordination, distances.filter(distances.ids[:5]), fewer)


def test_sizes_at_which_nothing_varies() -> None:
    study = aam.simulate_study(n_samples=16, n_asvs=60, seed=0)
    one = aam.unifrac(study.keep_samples(study.sample_ids[:1]), cache=False)
    with pytest.raises(OrdinationError, match="There is 1 sample"):
        aam.pcoa(one)
    same = DistanceMatrix(np.full((4, 4), 1e-16) - np.diag([1e-16] * 4), list("abcd"))
    for method in ("exact", "fast"):
        result = aam.pcoa(same, num_axes=2, method=method)
        assert result.proportion_explained.tolist() == [0, 0]
        assert not result.samples.to_numpy().any()
        assert "all 4 samples are alike" in aam.plots.pcoa(result).get_title()


@pytest.mark.parametrize("unit", [1e-7, 1e9])
def test_distances_may_be_in_any_unit(unit: float) -> None:
    points = np.random.default_rng(0).normal(size=(12, 3))
    distances = squareform(pdist(points))
    ids = [f"s{i}" for i in range(12)]
    plain, scaled = (aam.pcoa(DistanceMatrix(d, ids), num_axes=3) for d in (distances, distances * unit))
    np.testing.assert_allclose(scaled.proportion_explained, plain.proportion_explained, rtol=1e-9)
    np.testing.assert_allclose(np.abs(scaled.samples), np.abs(plain.samples) * unit, rtol=1e-6, atol=1e-9 * unit)
