"""Statistics of attention maps, against scipy, scikit-bio and hand values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import entropy

import aam_nb as aam
from aam_nb.explain.attention.heads import (
    STATISTICS,
    HeadMaps,
    TreeDistances,
    compute_head_statistics,
    correlate_heads,
    fold_map,
    roll_out_layer,
)
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

ROWS = torch.tensor(  # a token, then three ASVs
    [[[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1], [0.0, 0.5, 0.5, 0.0], [0.1, 0.2, 0.3, 0.4]], [[0.25] * 4] * 4]
)


def test_a_heads_numbers_by_hand() -> None:
    far = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]])
    found = compute_head_statistics(ROWS, 1, far)
    assert set(found) == set(STATISTICS)
    rows = ROWS[0, 1:].numpy()
    assert found["entropy"][0] == pytest.approx(np.mean([entropy(row) for row in rows]), abs=1e-6)
    assert found["entropy_share"][0] == pytest.approx(np.mean([entropy(row, base=4) for row in rows]), abs=1e-6)
    assert found["entropy_share"][1] == pytest.approx(1, abs=1e-6)
    # Among ASVs: (0.2 * 1 + 0.1 * 4) / 0.6, (0.5 * 1) / 1, (0.2 * 4 + 0.3 * 2) / 0.9.
    assert found["distance"][0] == pytest.approx((1.0 + 0.5 + 1.4 / 0.9) / 3, abs=1e-6)
    assert found["distance"][1] == pytest.approx(14 / 9, abs=1e-6)
    assert found["distance_even"] == pytest.approx([14 / 9] * 2, abs=1e-6)
    assert found["on_sample_token"] == pytest.approx([0.5 / 3, 0.25], abs=1e-6)
    assert found["on_itself"] == pytest.approx([(0.3 + 0.5 + 0.4) / 3, 0.25], abs=1e-6)
    assert found["largest"] == pytest.approx([(0.4 + 0.5 + 0.4) / 3, 0.25], abs=1e-6)
    assert found["on_covariates"].tolist() == [0, 0]
    assert found["keys"].tolist() == [4, 4]
    two = compute_head_statistics(ROWS, 2, None)
    assert two["on_covariates"] == pytest.approx([0.35, 0.25], abs=1e-6)
    assert np.isnan(two["distance"]).all()


def test_pooling_has_one_query_that_is_no_key() -> None:
    found = compute_head_statistics(ROWS[:, :1], 1, None, pooled=True)
    assert found["entropy"][0] == pytest.approx(entropy([0.7, 0.1, 0.1, 0.1]), abs=1e-6)
    assert found["on_sample_token"] == pytest.approx([0.7, 0.25], abs=1e-6)
    assert np.isnan(found["on_itself"]).all()
    lone = compute_head_statistics(torch.ones(1, 1, 1), 0, None, pooled=True)  # one position: its logarithm is 0
    assert np.isnan(lone["entropy_share"]).all()
    assert np.isnan(lone["on_itself"]).all()


def test_an_asv_that_is_no_tip_is_left_out_of_distances() -> None:
    far = torch.tensor([[0.0, torch.nan, 4.0], [torch.nan] * 3, [4.0, torch.nan, 0.0]])
    found = compute_head_statistics(ROWS, 1, far)
    # The first and the third ASV among themselves: 0.1 * 4 / 0.4 and 0.2 * 4 / 0.6.
    assert found["distance"][0] == pytest.approx((1.0 + 0.8 / 0.6) / 2, abs=1e-6)
    assert found["distance_even"][0] == pytest.approx(2, abs=1e-6)
    none = compute_head_statistics(ROWS, 1, torch.full((3, 3), torch.nan))
    assert np.isnan(none["distance"]).all()


def test_folding_sums_columns_and_averages_rows() -> None:
    found = fold_map(ROWS, torch.tensor([0, 2]))
    expected = [[0.7, 0.1, 0.2], [0.0, 0.5, 0.5], [0.25, 0.25, 0.5]]
    torch.testing.assert_close(found[0], torch.tensor(expected))
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(fold_map(ROWS, torch.tensor([3, 1, 0, 2]))[0, 0, 2], ROWS[0, 3, 0])


def test_rollout_of_two_layers_by_hand() -> None:
    a, b = torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    first = roll_out_layer(a, None)
    torch.testing.assert_close(first, torch.tensor([[0.75, 0.25], [0.0, 1.0]]))
    torch.testing.assert_close(roll_out_layer(b, first), torch.tensor([[0.375, 0.625], [0.375, 0.625]]))


def test_distances_along_the_hand_worked_tree(hand_study: Study) -> None:
    assert hand_study.tree is not None
    found = TreeDistances(hand_study.tree).among(["GGTT", "AAAA", "CCCC", "AACC", "GGGG"])
    nan = np.nan
    expected = [
        [0.0, 6.0, nan, 7.0, 3.25],
        [6.0, 0.0, nan, 3.0, 3.25],
        [nan, nan, nan, nan, nan],
        [7.0, 3.0, nan, 0.0, 4.25],
        [3.25, 3.25, nan, 4.25, 0.0],
    ]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(TreeDistances(hand_study.tree).among(["CCCC"])).all()


@pytest.mark.parametrize("newick", [None, "((((a:1,b:2):0,(c:1)d:3):0.5,e:0):1,(f:2,(g:1,h:1):0):4);"])
def test_distances_equal_those_of_scikit_bio(
    newick: str | None, study: Study, tmp_path: pytest.TempPathFactory
) -> None:
    from skbio import TreeNode

    tree = study.tree
    if newick is not None:
        (tmp_path / "t.nwk").write_text(newick)  # type: ignore[operator]
        tree = Tree.read(tmp_path / "t.nwk")  # type: ignore[operator]
    assert tree is not None
    tips = [tree.tips[i] for i in np.random.default_rng(2).permutation(len(tree.tips))][:40]
    right = TreeNode.read([tree.to_newick()], convert_underscores=False).cophenet()
    np.testing.assert_allclose(TreeDistances(tree).among(tips), right.filter(tips).data, atol=1e-5)


def test_similarity_leaves_out_maps_without_contrast() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.random((3, 8)), rng.random((3, 5))
    flat = two.copy()
    flat[1] = 0.2
    names = aam.simulate_study(12, 60, seed=0).asv_ids[:3]
    a, b = np.corrcoef(one), np.corrcoef(two)
    np.testing.assert_allclose(correlate_heads([one, two], names), (a + b) / 2)
    found = correlate_heads([one, flat], names).to_numpy()
    assert found[0, 1] == pytest.approx(a[0, 1])
    assert found[0, 2] == pytest.approx((a[0, 2] + b[0, 2]) / 2)
    assert np.isnan(correlate_heads([flat], names).to_numpy()[1]).all()


def test_a_head_is_a_table() -> None:
    import pandas as pd

    maps = HeadMaps(np.stack([ROWS.numpy(), ROWS.numpy() / 2]), pd.Index(list("tabc")))
    assert maps.head(2, 1).loc["a", "t"] == pytest.approx(0.2)
    frame = maps.to_frame()
    assert frame.iloc[0].tolist()[:4] == [1, 1, "t", "t"]
    assert frame["attention"].sum() == pytest.approx(8 + 4)


@pytest.mark.parametrize(("layer", "head"), [(0, 1), (3, 1), (1, 0), (1, 4)])
def test_heads_that_there_are_not_are_refused(layer: int, head: int) -> None:
    maps = HeadMaps(np.full((2, 3, 4, 4), 0.25, dtype=np.float32), pd.Index(list("abcd")))
    with pytest.raises(UnknownIdError, match=f"layer is {layer} and head {head}. There are 2 layers and 3 heads"):
        maps.head(layer, head)
