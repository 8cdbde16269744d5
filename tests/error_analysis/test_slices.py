"""Slices and associations: planted ones are found, chance is not, numbers against scipy, enumeration and closed forms."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.stats import kruskal, spearmanr

import aam_nb as aam
from aam_nb.config import ErrorsConfig
from aam_nb.error_analysis.slices import Slice, find_associations, find_slices, make_slices, measure_slices
from aam_nb.evaluate.resampling import draw_groups, permute_groups, share_interval
from aam_nb.study.columns import number_groups

QUICKLY = ErrorsConfig(num_permutations=1999, num_resamples=300)
Ints = npt.NDArray[np.int64]


def random_facts(rng: np.random.Generator, unit: Ints) -> pd.DataFrame:
    n, groups = len(unit), unit.max() + 1
    return pd.DataFrame(
        {
            "depth": rng.lognormal(8, 1, n),
            "bmi": rng.normal(25, 4, groups)[unit],
            "diet": rng.choice(["animal", "plant", "both"], n),
            "sex": rng.choice(["f", "m"], groups)[unit],
        }
    )


# -- groups -----------------------------------------------------------------------------------------------------------


def test_units_count_lone_samples_by_themselves() -> None:
    assert number_groups(None, 3).tolist() == [0, 1, 2]
    assert number_groups(pd.Series(["a", None, "b", "a", None]), 5).tolist() == [0, 2, 1, 0, 3]


def test_without_groups_permutations_are_permutations() -> None:
    blocks = list(permute_groups(np.arange(7), 500, 0))
    taken = np.concatenate(blocks)
    assert taken.shape == (500, 7)
    assert (np.sort(taken, axis=1) == np.arange(7)).all()
    times = np.stack([np.bincount(taken[:, k], minlength=7) for k in range(7)])
    assert np.abs(times / 500 - 1 / 7).max() < 0.07


def test_values_of_a_group_stay_together() -> None:
    unit = np.array([2, 0, 1, 0, 1, 2])  # three groups of two
    taken = np.concatenate(list(permute_groups(unit, 300, 1)))
    assert (np.sort(taken, axis=1) == np.arange(6)).all()
    source = unit[taken]
    for u in range(3):
        assert (source[:, unit == u] == source[:, unit == u][:, :1]).all()
    assert len(np.unique(taken, axis=0)) == 48, "3! ways for the groups, 2 for the samples of each"


def test_groups_of_unequal_size_take_from_one_other_group() -> None:
    unit = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    taken = np.concatenate(list(permute_groups(unit, 200, 1)))
    source = unit[taken]
    for u in range(3):
        assert (source[:, unit == u] == source[:, unit == u][:, :1]).all()
    pair = taken[(source[:, 0] == 1), :5]
    assert (np.sort([(row == 5).sum() for row in pair]) >= 2).all(), "repeated evenly"
    five = taken[source[:, 5] == 0][:, 5:7]
    assert (five[:, 0] != five[:, 1]).all(), "left out, not repeated"


def test_share_interval_is_wilsons_or_of_groups() -> None:
    hit, z = np.array([True] * 7 + [False] * 3), 1.959964
    share, n = 0.7, 10
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    want = ((middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n))
    found = share_interval(hit, np.arange(10), confidence=0.95, num_resamples=20, seed=0)
    assert found == pytest.approx(want, abs=1e-6)
    assert np.isnan(share_interval(hit, np.zeros(10, dtype=int), confidence=0.95, num_resamples=20, seed=0)).all()
    unit = np.repeat(np.arange(40), 10)
    of_group = np.random.default_rng(0).random(40) < 0.6
    low, high = share_interval(of_group[unit], unit, confidence=0.95, num_resamples=4000, seed=0)
    half = 1.96 * of_group.std() / np.sqrt(40)
    assert (low, high) == pytest.approx((of_group.mean() - half, of_group.mean() + half), abs=0.03)


# -- slices -----------------------------------------------------------------------------------------------------------


def test_a_planted_slice_comes_first() -> None:
    rng, unit = np.random.default_rng(0), np.arange(200)
    facts = random_facts(rng, unit)
    error = np.abs(rng.normal(size=200)) + 1.5 * (facts["diet"] == "plant")
    table, _ = find_slices(facts, error.to_numpy(), unit, QUICKLY)
    first, inside = table.iloc[0], (facts["diet"] == "plant").to_numpy()
    single = table[table["columns"].str.len() == 1].iloc[0]
    assert single["slice"] == "diet = plant"
    assert "diet = plant" in first["slice"]
    assert first["worse"]
    assert single["p_adjusted"] < 0.01
    assert single["n"] == inside.sum()
    assert single["error"] == pytest.approx(error[inside].mean())
    assert single["excess"] == pytest.approx(error[inside].mean() - error[~inside].mean())
    assert single["low"] < 1.5 < single["high"]
    others = table[~table["slice"].str.contains("diet") & (table["columns"].str.len() == 1)]
    assert others["excess"].max() < single["excess"] / 2


def test_a_planted_pair_is_found_where_its_columns_tell_less() -> None:
    rng, unit = np.random.default_rng(1), np.arange(400)
    facts = random_facts(rng, unit)
    planted = ((facts["diet"] == "both") & (facts["sex"] == "m")).to_numpy()
    error = np.abs(rng.normal(size=400)) + 2 * planted
    table, _ = find_slices(facts, error, unit, QUICKLY)
    assert table.loc[0, "slice"] == "diet = both, sex = m"
    assert table.loc[0, "columns"] == ("diet", "sex")
    alone, _ = find_slices(facts, error, unit, aam.config.make_config(ErrorsConfig, QUICKLY, {"max_pair_columns": 0}))
    assert set(alone["columns"].str.len()) == {1}


def test_the_text_says_which_samples() -> None:
    x = pd.Series([1.23456, 2.0, 3.0, 4.0, 5.0, 6.0, 70000.4, 80000.6, np.nan, np.nan])
    found, _ = make_slices(pd.DataFrame({"x": x}), ErrorsConfig(min_slice=2, num_bins=4))
    assert found[-1].text == "x is missing"
    assert found[-1].mask_n.tolist() == [False] * 8 + [True] * 2
    covered = np.zeros(10, dtype=int)
    for s in found[:-1]:
        covered += s.mask_n
        said = s.text.replace(",", "")
        ends = [float(word) for word in said.split() if word[0].isdigit()]
        low = ends[0] if ">=" in said or len(ends) == 2 else -np.inf
        high = ends[-1] if " < " in said else np.inf
        assert s.mask_n.tolist() == ((x >= low) & (x < high)).tolist(), s.text
    assert covered.tolist() == [1] * 8 + [0] * 2


def test_columns_that_give_none_are_told_and_equal_ones_counted() -> None:
    facts = pd.DataFrame(
        {
            "constant": 1.0,
            "id": [f"S{k}" for k in range(40)],
            "kind": ["a", "b"] * 20,
            "alias": ["x", "y"] * 20,
            "whole": pd.Series([1, 2] * 20, dtype="Int64"),
            "flag": [True, False, False, False] * 10,
        }
    )
    found, notes = make_slices(facts, ErrorsConfig())
    assert [s.text for s in found] == ["kind = a", "kind = b", "flag = False", "flag = True"]
    assert notes[0].startswith("2 columns gave no slice")
    assert "constant, id." in notes[0]
    assert notes[1].startswith("4 slices have the same samples as another")


def test_p_is_that_of_all_permutations() -> None:
    error = np.array([5.0, 4.1, 0.2, 0.4, 1.0, 0.3, 2.2, 0.1])
    inside = np.array([True, True, True, False, False, False, False, False])
    excess = error[inside].mean() - error[~inside].mean()
    all_of = [error[list(c)].mean() - np.delete(error, list(c)).mean() for c in combinations(range(8), 3)]
    want = np.mean(np.abs(all_of) >= abs(excess) - 1e-12)
    config = ErrorsConfig(num_permutations=20000)
    found = measure_slices([Slice("x", ("x",), inside)], error, np.arange(8), config).iloc[0]
    assert found["p"] == pytest.approx(want, abs=0.01)


def test_interval_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    error, inside = rng.gamma(2, 1, 600), np.arange(600) < 200
    found = measure_slices([Slice("x", ("x",), inside)], error, np.arange(600), ErrorsConfig(num_resamples=4000)).iloc[
        0
    ]
    half = 1.96 * np.sqrt(error[inside].var() / 200 + error[~inside].var() / 400)
    assert (found["low"], found["high"]) == pytest.approx(
        (found["excess"] - half, found["excess"] + half), abs=0.1 * half
    )


def test_interval_is_that_of_a_plain_loop_over_resamples() -> None:
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(12), [1, 2, 3] * 4)
    error, inside = rng.gamma(2, 1, len(unit)), rng.random(len(unit)) < 0.5
    config = ErrorsConfig(num_resamples=200)
    found = measure_slices([Slice("x", ("x",), inside)], error, unit, config).iloc[0]
    draws = []
    for times in draw_groups(unit, 200, config.seed):
        rows = np.concatenate([np.repeat(np.flatnonzero(unit == u), int(t)) for u, t in enumerate(times)])
        draws.append(error[rows][inside[rows]].mean() - error[rows][~inside[rows]].mean())
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_one_bad_group_is_no_slice_of_its_own() -> None:
    """Ten samples of one host are one observation: the slice is the worst, its p is about one in the number of hosts."""
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(12), 10)
    error = np.abs(rng.normal(size=120)) + 3 * (unit == 4)
    facts = pd.DataFrame({"host": [f"H{u}" for u in unit], "depth": rng.normal(size=120)})
    table, _ = find_slices(facts, error, unit, QUICKLY)
    assert table.loc[0, "slice"] == "host = H4"
    assert table.loc[0, "groups"] == 1
    assert table.loc[0, "p"] == pytest.approx(1 / 12, abs=0.03)
    assert np.isnan(table.loc[0, "low"])
    assert not table["worse"].any()
    alone, _ = find_slices(facts, error, np.arange(120), QUICKLY)
    assert alone.loc[0, "worse"], "as if the samples were independent"


def test_no_slices_is_an_empty_table() -> None:
    table, notes = find_slices(pd.DataFrame({"x": [1.0] * 20}), np.arange(20.0), np.arange(20), QUICKLY)
    assert table.empty
    assert {"slice", "excess", "p_adjusted", "worse"} <= set(table.columns)
    assert "1 column gave no slice" in notes[0]


def test_p_values_are_adjusted_as_benjamini_and_hochberg_do() -> None:
    rng, unit = np.random.default_rng(3), np.arange(100)
    facts = random_facts(rng, unit)
    table, _ = find_slices(facts, np.abs(rng.normal(size=100)) + (facts["sex"] == "m").to_numpy(), unit, QUICKLY)
    p = table["p"].to_numpy()
    order, m = np.argsort(p), len(p)
    want, least = np.empty(m), 1.0
    for rank in range(m, 0, -1):  # from the largest down
        least = min(least, p[order[rank - 1]] * m / rank)
        want[order[rank - 1]] = least
    assert table["p_adjusted"].to_numpy() == pytest.approx(want)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [0, 24])
def test_noise_has_no_slice(groups: int) -> None:
    """Where nothing is planted every discovery is false: one is made in at most about a share `false_discovery` of the analyses."""
    false, repeats = 0, 200
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        unit = pd.factorize(rng.integers(groups, size=96))[0] if groups else np.arange(96)
        noise = np.sqrt(0.6) * rng.normal(size=unit.max() + 1)[unit] * bool(groups) + np.sqrt(0.4) * rng.normal(size=96)
        config = ErrorsConfig(num_permutations=999, num_resamples=20, seed=seed)
        table, _ = find_slices(random_facts(rng, unit), np.abs(noise), unit, config)
        false += bool((table["p_adjusted"] <= 0.05).any())
    assert false / repeats <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / repeats)


# -- associations -----------------------------------------------------------------------------------------------------


def test_associations_are_scipys() -> None:
    rng, n = np.random.default_rng(0), 60
    facts = pd.DataFrame(
        {"x": rng.normal(size=n), "kind": rng.choice(["a", "b", "c"], n), "id": [f"S{k}" for k in range(n)]}
    )
    facts.loc[:4, "x"] = np.nan
    facts.loc[50:, "kind"] = None
    error = rng.gamma(2, 1, n) + facts["x"].fillna(0) * 0.4
    config = ErrorsConfig(num_permutations=9999)
    table, skipped = find_associations(facts, pd.DataFrame({"error": error}), np.arange(n), config)
    found = table.set_index("column")
    rho = spearmanr(facts["x"][5:], error[5:])
    assert found.loc["x", "effect"] == pytest.approx(rho.statistic)
    assert found.loc["x", "p"] == pytest.approx(rho.pvalue, abs=0.02)
    assert found.loc["x", "n"] == n - 5
    h = kruskal(*(error[:50][facts["kind"][:50] == c] for c in "abc"))
    assert found.loc["kind", "effect"] == pytest.approx((h.statistic - 2) / (50 - 3))
    assert found.loc["kind", "p"] == pytest.approx(h.pvalue, abs=0.03)
    assert skipped == ["id"]
    assert table["p"].is_monotonic_increasing


def test_an_association_of_few_groups_is_not_one_of_many_samples() -> None:
    """Six hosts with an error and a weight each, ten samples of every one: ρ of the samples says no more than that of the hosts."""
    rng = np.random.default_rng(5)
    unit = np.repeat(np.arange(6), 10)
    weight, error = rng.normal(size=6)[unit], rng.normal(size=6)[unit] + 0.01 * rng.normal(size=60)
    facts, outcome = pd.DataFrame({"weight": weight}), pd.DataFrame({"error": error})
    grouped = find_associations(facts, outcome, unit, QUICKLY)[0].iloc[0]
    alone = find_associations(facts, outcome, np.arange(60), QUICKLY)[0].iloc[0]
    assert grouped["effect"] == alone["effect"]
    assert abs(grouped["effect"]) > 0.3
    assert alone["p"] < 0.02
    assert grouped["p"] > 0.1
