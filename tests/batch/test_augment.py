"""Draws of reads, mixtures, limits and mutations, against their distributions and hand-worked tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from aam_nb.batch.augment import drop_asvs, limit, mix, mutate

TABLES = st.lists(
    st.lists(st.integers(0, 30), min_size=6, max_size=6).filter(any), min_size=1, max_size=7
)  # samples of six ASVs, each with reads


def table_of(rows: npt.ArrayLike) -> sparse.csr_array:
    return sparse.csr_array(np.array(rows, dtype=np.int64))


def same(rng: np.random.Generator, table: sparse.csr_array) -> list[np.random.Generator]:
    return [rng] * table.shape[0]


# -- mixup ------------------------------------------------------------------------------------------------------------


def test_a_mixed_sample_holds_its_share_and_the_rest_of_one_partner() -> None:
    """Sample b has reads of ASVs 2b and 2b + 1 alone, so whose reads a mixture holds can be told from its columns."""
    n = 200
    rng = np.random.default_rng(5)
    depth = rng.integers(20, 400, size=n)
    dense = np.zeros((n, 2 * n), dtype=np.int64)
    for b in range(n):
        dense[b, 2 * b : 2 * b + 2] = depth[b] // 3, depth[b] - depth[b] // 3
    mixed, partner, share = mix(sparse.csr_array(dense), 0.4, np.random.default_rng(6))
    assert sorted(partner) == list(range(n)), "everybody is somebody's partner"
    assert (partner != np.arange(n)).all()
    found = mixed.toarray()
    for b in range(n):
        of = found[b].reshape(n, 2).sum(1)
        assert set(np.flatnonzero(of)) <= {b, partner[b]}
        assert of[b] + of[partner[b]] == min(depth[b], of[b] + depth[partner[b]]), "n reads, or what the partner has"
        assert share[b] == pytest.approx(of[b] / of.sum())
    assert (found <= dense + dense[partner]).all()


def test_nobody_is_mixed_with_itself() -> None:
    table = sparse.csr_array(np.full((3, 2), 50))
    partners = {tuple(mix(table, 0.4, np.random.default_rng(seed))[1].tolist()) for seed in range(40)}
    assert partners == {(1, 2, 0), (2, 0, 1)}, "both circles of three, and nothing else"


@pytest.mark.parametrize("alpha", [0.2, 0.4, 2.0])
def test_shares_of_a_mixture_are_drawn_from_beta(alpha: float) -> None:
    table = sparse.csr_array(np.full((600, 3), 10_000))
    _, _, share = mix(table, alpha, np.random.default_rng(7))
    assert stats.kstest(share, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert stats.kstest(share, stats.beta(4 * alpha, 4 * alpha).cdf).pvalue < 1e-3, "the test can fail"


def test_a_sample_alone_is_not_mixed() -> None:
    mixed, partner, share = mix(table_of([[3, 0, 2]]), 0.4, np.random.default_rng(0))
    assert mixed.toarray().tolist() == [[3, 0, 2]]
    assert (partner.tolist(), share.tolist()) == ([0], [1.0])


def test_views_of_a_sample_are_mixed_with_views_of_the_same_other() -> None:
    table = sparse.csr_array(np.random.default_rng(1).integers(50, 100, size=(10, 8)).repeat(2, axis=0))
    _, partner, share = mix(table, 0.4, np.random.default_rng(2), views=2)
    assert (partner[::2] % 2 == 0).all()
    assert (partner[1::2] == partner[::2] + 1).all()
    assert (share[::2] == share[1::2]).all()


# -- limits -----------------------------------------------------------------------------------------------------------


def test_limits_of_a_hand_worked_table() -> None:
    """ASVs 1 and 4 of the first sample tie at 10 reads: the first column goes first. 40 + 10 of 80 reads are 62.5 %."""
    table = table_of([[5, 10, 15, 40, 10, 0], [0, 0, 7, 0, 0, 0]])
    rngs = same(np.random.default_rng(0), table)

    def stays(**limits: float) -> list[list[int]]:
        kept, left = limit(table, rngs, **limits)  # type: ignore[arg-type]
        assert ((kept + left).toarray() == table.toarray()).all()
        return kept.toarray().tolist()

    alone = [0, 0, 7, 0, 0, 0]
    assert stays(max_asvs=3) == [[0, 10, 15, 40, 0, 0], alone]
    assert stays(max_asvs=9) == table.toarray().tolist()
    assert stays(coverage=0.5) == [[0, 0, 0, 40, 0, 0], alone], "40 of 80 are half"
    assert stays(coverage=0.51) == [[0, 0, 15, 40, 0, 0], alone]
    assert stays(coverage=0.8) == [[0, 10, 15, 40, 0, 0], alone]
    assert stays(coverage=0.9) == [[0, 10, 15, 40, 10, 0], alone]
    assert stays(coverage=0.9, max_asvs=2) == [[0, 0, 15, 40, 0, 0], alone]


def test_rounding_does_not_make_coverage_ask_for_more() -> None:
    """In floating point 0.07 times 100 is 7.000000000000001."""
    kept, _ = limit(table_of([[7, *[1] * 93]]), [np.random.default_rng(0)], coverage=0.07)
    assert kept.data.tolist() == [7]


@settings(deadline=None, max_examples=80)
@given(rows=TABLES, max_asvs=st.integers(0, 6), percent=st.integers(1, 100))
def test_limits_keep_the_most_abundant_and_no_more_than_needed(
    rows: list[list[int]], max_asvs: int, percent: int
) -> None:
    table = table_of(rows)
    kept, left = limit(table, same(np.random.default_rng(0), table), max_asvs=max_asvs, coverage=percent / 100)
    assert ((kept + left).toarray() == table.toarray()).all()
    for b, row in enumerate(rows):
        stays, held = [], 0
        for reads, k in sorted((-reads, k) for k, reads in enumerate(row) if reads):
            if 100 * held < percent * sum(row) and len(stays) < (max_asvs or 6):
                stays.append(k)
                held -= reads
        assert np.flatnonzero(kept.toarray()[b]).tolist() == sorted(stays)


def test_random_asvs_are_any_alike_and_as_many_as_allowed() -> None:
    table = table_of([[1, 2, 3, 4, 500, 6, 7, 8]] * 3000 + [[0, 0, 0, 0, 1, 1, 0, 0]])
    kept, _ = limit(table, same(np.random.default_rng(3), table), max_asvs=3, choice="random")
    dense = kept.toarray()
    assert ((dense[:-1] > 0).sum(1) == 3).all()
    assert dense[-1].tolist() == [0, 0, 0, 0, 1, 1, 0, 0], "a sample within the limit keeps all"
    often = (dense[:-1] > 0).sum(0)
    # Each is in 3 of 8 sets; the counts sum to 9,000, which is why they vary by less than binomials.
    assert np.abs(often - 3000 * 3 / 8).max() < 5 * np.sqrt(3000 * 3 / 8 * 5 / 8)
    both, _ = limit(table, same(np.random.default_rng(3), table), max_asvs=1, choice="random", coverage=0.5)
    assert (both.toarray()[:-1] > 0).sum(0).tolist() == [0, 0, 0, 0, 3000, 0, 0, 0], "coverage comes first"


# -- hidden ASVs, mutations -------------------------------------------------------------------------------------------


def test_asv_dropout_leaves_its_share_and_at_least_one() -> None:
    table = table_of(np.ones((400, 50)))
    kept = drop_asvs(table, 0.3, np.random.default_rng(0)).toarray()
    assert abs(kept.mean() - 0.7) < 4.5 * np.sqrt(0.21 / 20_000)
    last = drop_asvs(table, 0.999, np.random.default_rng(1)).toarray().sum(1)
    assert last.min() == 1
    assert last.mean() < 1.2


def test_mutations_exchange_their_share_of_nucleotides_for_the_other_three() -> None:
    rng = np.random.default_rng(4)
    tokens = rng.integers(0, 17, size=(300, 400)).astype(np.uint8)  # padding, letters, ambiguity codes, masks
    before = tokens.copy()
    found = mutate(tokens, 0.1, rng)
    assert found.dtype == np.uint8
    assert (tokens == before).all()
    plain, hit = (tokens >= 1) & (tokens <= 4), found != tokens
    assert not (hit & ~plain).any(), "padding, ambiguity codes and masks stay"
    assert set(found[hit]) == {1, 2, 3, 4}
    n = int(plain.sum())
    assert abs(hit.sum() / n - 0.1) < 4.5 * np.sqrt(0.09 / n)
    pairs = np.zeros((5, 5))
    np.add.at(pairs, (tokens[hit], found[hit]), 1)
    others = pairs[1:, 1:][~np.eye(4, dtype=bool)].reshape(4, 3)
    for row in others:
        assert stats.chisquare(row).pvalue > 1e-3
    assert (mutate(tokens, 0.0, rng) == tokens).all()
