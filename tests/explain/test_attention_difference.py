"""Differences in attention between two sides: permutations against plain enumeration and scipy."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test

import aam_nb as aam
from aam_nb.explain.attention.difference import (
    SidesError,
    compare_attention,
    compare_columns,
    draw_labellings,
    find_exchangeable_units,
)
from aam_nb.explain.attention.heads import NOT_IMPORTANCE
from aam_nb.explain.attention.maps import AttentionMaps, attention
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Nine samples, the first four on side a; the first column differs."""
    values = np.random.default_rng(4).normal(size=(9, 3))
    values[:4, 0] += 2
    return pd.DataFrame(values, columns=["x", "y", "z"])


IS_A = np.arange(9) < 4


@pytest.fixture(scope="module")
def maps(fitted: aam.AAM, sides: tuple[Study, Study]) -> AttentionMaps:
    return attention(fitted, sides[1], samples=list(sides[1].sample_ids), levels=("asv", "pooling"))


def test_exact_p_values_equal_those_of_scipy(table: pd.DataFrame) -> None:
    labels, exact = draw_labellings(IS_A, *find_exchangeable_units(IS_A, None)[:2], 9999, 0)
    assert exact
    assert len(labels) == 126  # 9 choose 4
    assert len({tuple(row) for row in labels}) == 126
    found = compare_columns(table, IS_A, labels, exact=True)
    for column in table:
        a, b = table[column][IS_A], table[column][~IS_A]
        right = permutation_test(
            (a, b), lambda x, y: abs(x.mean() - y.mean()), vectorized=False, n_resamples=np.inf, alternative="greater"
        )
        assert found.at[column, "p_value"] == pytest.approx(right.pvalue)
        assert found.at[column, "difference"] == pytest.approx(a.mean() - b.mean())
    p = found["p_value"].sort_values()
    by_hand = np.minimum.accumulate((p * 3 / np.arange(1, 4)).to_numpy()[::-1])[::-1]
    np.testing.assert_allclose(found.loc[p.index, "q_value"], by_hand)


def test_random_permutations_count_the_observed_one(table: pd.DataFrame) -> None:
    labels, exact = draw_labellings(IS_A, *find_exchangeable_units(IS_A, None)[:2], 120, 5)
    assert not exact
    assert labels.shape == (120, 9)
    assert (labels.sum(1) == 4).all()
    found, values = compare_columns(table, IS_A, labels, exact=False), table["y"].to_numpy()
    seen = values[IS_A].mean() - values[~IS_A].mean()
    more = sum(abs(values[row].mean() - values[~row].mean()) >= abs(seen) - 1e-12 for row in labels)
    assert found.at["y", "p_value"] == pytest.approx((1 + more) / 121)


def test_whole_groups_change_sides_together(table: pd.DataFrame) -> None:
    group = pd.Series(list("ppqqrrsst"), name="host")
    unit, blocks, words = find_exchangeable_units(IS_A, group)
    assert words == "whole values of host"
    labels, exact = draw_labellings(IS_A, unit, blocks, 9999, 0)
    assert exact
    assert len(labels) == 10  # two of the five groups are on side a
    found, values = compare_columns(table, IS_A, labels, exact=True), table["x"].to_numpy()
    seen, more = abs(values[IS_A].mean() - values[~IS_A].mean()), 0
    for chosen in combinations("pqrst", 2):
        on_a = group.isin(chosen).to_numpy()
        more += abs(values[on_a].mean() - values[~on_a].mean()) >= seen - 1e-12
    assert found.at["x", "p_value"] == pytest.approx(more / 10)


def test_groups_on_both_sides_are_exchanged_within(table: pd.DataFrame) -> None:
    group = pd.Series([*"ppqq", *"ppq", None, None], name="host")
    unit, blocks, words = find_exchangeable_units(IS_A, group)
    assert words == "samples within values of host"
    labels, exact = draw_labellings(IS_A, unit, blocks, 9999, 0)
    assert exact
    assert len(labels) == 6 * 3  # two of four of p, two of three of q; a sample without a host stays
    found, values = compare_columns(table, IS_A, labels, exact=True), table["z"].to_numpy()
    seen, more = abs(values[IS_A].mean() - values[~IS_A].mean()), 0
    for of_p in combinations([0, 1, 4, 5], 2):
        for of_q in combinations([2, 3, 6], 2):
            on_a = np.isin(np.arange(9), [*of_p, *of_q])
            more += abs(values[on_a].mean() - values[~on_a].mean()) >= seen - 1e-12
    assert found.at["z", "p_value"] == pytest.approx(more / 18)
    many, exact = draw_labellings(IS_A, unit, blocks, 10, 0)
    assert not exact
    assert (many[:, [0, 1, 4, 5]].sum(1) == 2).all()
    assert (many[:, [2, 3, 6]].sum(1) == 2).all()


def test_a_missing_number_has_no_p_value(table: pd.DataFrame) -> None:
    labels = draw_labellings(IS_A, *find_exchangeable_units(IS_A, None)[:2], 9999, 0)[0]
    found = compare_columns(table.assign(y=[np.nan, *table["y"][1:]]), IS_A, labels, exact=True)
    assert found.loc["y", ["p_value", "q_value"]].isna().all()
    assert found.at["x", "q_value"] == pytest.approx(min(1, 2 * found.at["x", "p_value"]))
    everything = compare_columns(table * np.nan, IS_A, labels, exact=True)
    assert everything["q_value"].isna().all()


def test_tables_of_a_model_by_plain_loops(maps: AttentionMaps, sides: tuple[Study, Study]) -> None:
    ids = list(sides[1].sample_ids)
    a, b = ids[:5], ids[5:]
    found = compare_attention(maps, sides[1], a=a, b=b)
    assert (found.num_a, found.num_b) == (5, len(b))
    for asv in found.asvs.index[[0, 3, -1]]:
        row, held = found.asvs.loc[asv], [s for s in a if asv in maps.pooling[s].index]
        shares = [maps.pooling[s].at[asv, "mean"] if s in held else 0.0 for s in a]
        assert row["mean_a"] == pytest.approx(np.mean(shares), abs=1e-7)
        assert row["in_a"] == pytest.approx(len(held) / 5)
        if held:
            times = [maps.pooling[s].at[asv, "mean"] * len(maps.pooling[s]) for s in held]
            assert row["times_even_a"] == pytest.approx(np.mean(times), abs=1e-6)
    heads = found.heads.set_index(["level", "layer", "head", "statistic"]).sort_index()
    rows = maps.statistics.query("level == 'asv' and head == 2").set_index("unit").loc[b]
    even = heads.loc[("asv", 1, 2)]["mean_b"]
    assert even["distance"] == pytest.approx((rows["distance"] / rows["distance_even"]).mean())
    assert even["on_itself"] == pytest.approx((rows["on_itself"] * rows["keys"]).mean())
    assert even["entropy_share"] == pytest.approx(rows["entropy_share"].mean())
    assert "on_covariates" not in even.index  # there are none
    assert set(heads.loc[("pooling", 0, 1)].index) == {"on_sample_token", "entropy_share"}


def test_a_model_stands_for_its_maps(fitted: aam.AAM, maps: AttentionMaps, sides: tuple[Study, Study]) -> None:
    ids = list(sides[1].sample_ids)
    one, other = (compare_attention(x, sides[1], a=ids[:4], b=ids[4:8]) for x in (fitted, maps))
    pd.testing.assert_frame_equal(one.asvs, other.asvs, atol=1e-6)
    pd.testing.assert_frame_equal(one.heads, other.heads, atol=1e-5)
    alone = attention(fitted, sides[1], samples=ids, levels=("pooling",))
    found = compare_attention(alone, sides[1], a=ids[:4], b=ids[4:8])
    assert set(found.heads["level"]) == {"pooling"}


def test_every_view_says_what_attention_is_not_and_runs_nothing(
    maps: AttentionMaps, sides: tuple[Study, Study]
) -> None:
    study, ids = sides[1], list(sides[1].sample_ids)
    evil = replace(study, metadata=study.metadata.assign(**{EVIL: ["p"] * 6 + ["q"] * (study.num_samples - 6)}))
    found = compare_attention(maps, evil, a=ids[:6], b=ids[6:], group=EVIL)
    assert found.num_permutations == 2
    assert "too few for a p-value below 0.05" in repr(found)
    assert EVIL not in found._repr_html_()
    assert NOT_IMPORTANCE in repr(found)
    assert NOT_IMPORTANCE in found._repr_html_()
    assert "\n" not in repr(found)
    assert found.to_frame().attrs["caption"] == found.heads.attrs["caption"] == NOT_IMPORTANCE
    free = compare_attention(maps, study, a=ids[:6], b=ids[6:])
    assert free.note == ""


def test_sides_that_cannot_be_compared_are_refused(maps: AttentionMaps, sides: tuple[Study, Study]) -> None:
    ids = list(sides[1].sample_ids)
    with pytest.raises(SidesError, match="1 sample is on both sides"):
        compare_attention(maps, sides[1], a=ids[:2], b=ids[1:3])
    with pytest.raises(SidesError, match="Side a has 2 samples, side b 0"):
        compare_attention(maps, sides[1], a=ids[:2], b=[])
    with pytest.raises(UnknownIdError, match="not in the study"):
        compare_attention(maps, sides[1], a=ids[:2], b=["S9999"])
    with pytest.raises(UnknownIdError, match="'nobody' is not a metadata column"):
        compare_attention(maps, sides[1], a=ids[:2], b=ids[2:], group="nobody")
    few = replace(maps, pooling={ids[0]: maps.pooling[ids[0]]})
    with pytest.raises(UnknownIdError, match="1 of 2 samples are not in the maps"):
        compare_attention(few, sides[1], a=ids[:1], b=ids[1:2])


def test_p_values_are_even_where_nothing_differs() -> None:
    """Side labels without meaning: each exact p-value is met as often as it says."""
    rng = np.random.default_rng(8)
    is_a = np.arange(8) < 4
    labels = draw_labellings(is_a, *find_exchangeable_units(is_a, None)[:2], 9999, 0)[0]
    noise = pd.DataFrame(rng.normal(size=(8, 4000)))
    found = compare_columns(noise, is_a, labels, exact=True)["p_value"]
    for level in (0.1, 0.3, 0.5):
        assert (found <= level).mean() == pytest.approx(level, abs=0.04)


@pytest.mark.real
@pytest.mark.slow
def test_palms_differ_from_the_gut_and_not_from_one_another(real_data: Path) -> None:
    """34 samples of two people: what a model looks at in palms is what lives there, and the palms are alike."""
    folder = real_data / "moving_pictures"
    study = aam.read_study(
        folder / "moving_pictures.biom",
        metadata=folder / "moving_pictures.tsv",
        tree=folder / "moving_pictures.nwk",
    )
    config = aam.TrainConfig(epochs=6, batch_size=8, progress=False)
    model = aam.AAM(aam.ModelConfig(width=32, num_layers=1, num_attn_heads=2)).fit(
        study, target="body_site", config=config
    )
    of = study.sample_ids.groupby(study.metadata["body_site"])
    palms = [*of["left palm"], *of["right palm"]]
    found = compare_attention(model, study, a=palms, b=of["gut"], group="subject", num_permutations=1999)
    assert found.permuted == "samples within values of subject"
    differ = found.asvs[found.asvs["q_value"] < 0.1]
    assert len(differ) > 5
    assert (differ["in_a"] - differ["in_b"]).abs().min() > 0.4
    alike = compare_attention(
        model, study, a=of["left palm"], b=of["right palm"], group="subject", num_permutations=1999
    )
    assert (alike.asvs["q_value"] > 0.1).all()
