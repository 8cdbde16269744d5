"""Expected richness and rarefaction curves, against all draws of small samples, exact integers and SciPy."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import hypergeom

from aam_nb.diversity.rarefaction import (
    curve_depths,
    expected_asvs,
    expected_richness,
    mean_rarefaction_curve,
    rarefaction_curve,
)
from aam_nb.study.study import Study


def test_expected_richness_is_that_of_all_draws() -> None:
    reads = np.array([3, 1, 2])
    each = np.repeat([0, 1, 2], reads)
    for depth in range(1, 7):
        brute = np.mean([len({each[i] for i in draw}) for draw in itertools.combinations(range(6), depth)])
        assert expected_richness(reads, np.array([depth]))[0] == pytest.approx(brute)


def test_expected_richness_of_many_reads_is_exact() -> None:
    reads, depth = [1, 1, 40, 2000, 90_000], 5_000
    exact = sum(1 - comb(sum(reads) - n, depth) / comb(sum(reads), depth) for n in reads)
    assert expected_richness(np.array(reads), np.array([depth]))[0] == pytest.approx(exact, rel=1e-9)


def test_expected_richness_is_scipys(study: Study) -> None:
    for row in study.table[:5].toarray():
        reads, depths = row[row > 0], curve_depths(int(row.sum()))
        missed = hypergeom.pmf(0, row.sum(), reads[:, None], depths[None, :])
        np.testing.assert_allclose(expected_richness(reads, depths), (1 - missed).sum(axis=0), rtol=1e-7)


def test_asvs_expected_in_a_rarefied_study_are_those_of_all_draws(hand_study: Study) -> None:
    dense = hand_study.table[:].toarray()
    each = [np.repeat(range(4), row) for row in dense]
    draws = [asvs_of_draws(reads, 2) for reads in each]
    brute = np.mean([len(set().union(*together)) for together in itertools.product(*draws)])
    assert expected_asvs(hand_study, 2) == pytest.approx(brute)
    assert expected_asvs(hand_study, 5) == pytest.approx(  # sample one has 4 reads and is dropped
        np.mean([len(a | b) for a in asvs_of_draws(each[1], 5) for b in asvs_of_draws(each[2], 5)])
    )


def asvs_of_draws(reads: np.ndarray, depth: int) -> list[set[int]]:
    return [{reads[i] for i in draw} for draw in itertools.combinations(range(len(reads)), depth)]


def test_a_curve_runs_from_one_read_to_all() -> None:
    reads = np.array([50, 30, 15, 5])
    curve = rarefaction_curve(reads, depth=37)
    assert (curve.depths[0], curve.depths[-1]) == (1, 100)
    assert curve.richness[[0, -1]] == pytest.approx([1, 4])
    assert (np.diff(curve.richness) > 0).all()
    assert curve.at(37) == pytest.approx(expected_richness(reads, np.array([37]))[0])
    assert curve.at(38) is None
    assert rarefaction_curve(reads, depth=200).at(200) is None, "deeper than the sample"


def test_a_mean_curve_ends_where_half_of_the_samples_do() -> None:
    table = sparse.csr_array(np.array([[50, 30, 20], [5, 5, 0], [100, 100, 100]]))
    curve = mean_rarefaction_curve(table, depth=10)
    assert curve.depths[-1] == 100, "two of three samples have 100 reads"
    each = [expected_richness(row[row > 0], np.array([10]))[0] for row in table.toarray()]
    assert curve.at(10) == pytest.approx(np.mean(each))
    assert curve.spread[curve.depths == 10] == pytest.approx(np.std(each))
    last = [expected_richness(table.toarray()[k], np.array([100]))[0] for k in (0, 2)]
    assert curve.at(100) == pytest.approx(np.mean(last)), "of the samples that have so many reads"
