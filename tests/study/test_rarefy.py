"""The draw of reads, against its distribution; the same reads for the study's verb and the training batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from aam_nb.study.rarefy import draw_reads

TABLES = st.lists(
    st.lists(st.integers(0, 30), min_size=6, max_size=6).filter(any), min_size=1, max_size=7
)  # samples of six ASVs, each with reads


def table_of(rows: npt.ArrayLike) -> sparse.csr_array:
    return sparse.csr_array(np.array(rows, dtype=np.int64))


def same(rng: np.random.Generator, table: sparse.csr_array) -> list[np.random.Generator]:
    return [rng] * table.shape[0]


@settings(deadline=None, max_examples=60)
@given(rows=TABLES, depth=st.integers(1, 60), seed=st.integers(0, 9))
def test_a_rarefied_sample_has_the_depth_out_of_its_own_reads(rows: list[list[int]], depth: int, seed: int) -> None:
    table = table_of(rows)
    before = table.toarray().copy()
    rarefied = draw_reads(table, np.full(len(rows), depth), same(np.random.default_rng(seed), table))
    assert (table.toarray() == before).all(), "the table given stays as it was"
    assert (rarefied.data > 0).all()
    assert (rarefied.toarray() <= before).all()
    for drawn, whole in zip(rarefied.toarray(), before, strict=True):
        assert drawn.sum() == min(depth, whole.sum())
        assert whole.sum() > depth or (drawn == whole).all(), "a sample with fewer reads stays whole"


def test_rarefying_draws_without_replacement() -> None:
    """4,000 draws of 80 from 100 reads: each ASV's counts are hypergeometric. With replacement the variance were 4.95 times that."""
    rows, draws = [50, 30, 15, 5], 4000
    table = table_of([rows] * draws)
    rarefied = draw_reads(table, np.full(draws, 80), same(np.random.default_rng(1), table)).toarray()
    for k, reads in enumerate(rows):
        law = stats.hypergeom(100, reads, 80)
        assert abs(rarefied[:, k].mean() - law.mean()) < 5 * law.std() / np.sqrt(draws)
        assert rarefied[:, k].var() == pytest.approx(law.var(), rel=0.15)
    few = np.bincount(rarefied[:, 3], minlength=6)  # the whole distribution of the rarest
    expected = stats.hypergeom(100, 5, 80).pmf(np.arange(6)) * draws
    pooled = [few[:2].sum(), *few[2:]], [expected[:2].sum(), *expected[2:]]
    assert stats.chisquare(*pooled).pvalue > 1e-3
    # ASVs of one draw go together as they must: the covariance is -n K_i K_j (N - n) / (N^2 (N - 1)).
    want = -80 * 50 * 30 * 20 / (100**2 * 99)
    assert np.cov(rarefied[:, 0], rarefied[:, 1])[0, 1] == pytest.approx(want, rel=0.15)


def test_deep_samples_are_drawn_from_as_exactly() -> None:
    reads = np.array([40_000, 9_000, 900, 90, 10])
    table = table_of([reads] * 300)
    rarefied = draw_reads(table, np.full(300, 10_000), same(np.random.default_rng(2), table)).toarray()
    assert (rarefied.sum(1) == 10_000).all()
    for k, n in enumerate(reads):
        law = stats.hypergeom(50_000, n, 10_000)
        assert abs(rarefied[:, k].mean() - law.mean()) < 5 * law.std() / np.sqrt(300)


def test_with_generators_of_their_own_draws_do_not_depend_on_the_other_samples() -> None:
    table = table_of(np.random.default_rng(0).integers(1, 50, size=(5, 20)))
    depth = np.full(5, 100)

    def drawn(rows: list[int]) -> npt.NDArray[np.int64]:
        rngs = [np.random.default_rng([3, r]) for r in rows]
        return draw_reads(table[rows], depth[rows], rngs).toarray()

    assert (drawn([0, 1, 2, 3, 4])[[3, 1]] == drawn([3, 1])).all()
