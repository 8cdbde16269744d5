"""Deletion and insertion curves: does the prediction move sooner when the features with the largest attributions are removed first?

Shape letters: B samples of a batch, S slots, F features of a sample (ASVs, or taxa), M outputs computed at once, J steps from
none to all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.config import FaithfulnessConfig
from aam_nb.explain.attribution.probe import Probe
from aam_nb.explain.attribution.result import Attributions
from aam_nb.explain.faithfulness.resampling import mean_with_interval, sign_flip_p_value

PredictWithout = Callable[[Bools, Ints], Floats]
"""Outputs, shape M, of samples (second argument, shape M) that lack some features (first argument, M x F)."""
KINDS, SIGN_ONLY = ("deletion", "insertion"), "sign only"
ORDERS = ("attribution", "abundance", "random", SIGN_ONLY)
"""By what features are ranked; the first is compared with the others."""
SIGN_DRAWS = 5
"""Draws of sizes for the order by signs alone."""
AREAS = ["kind", "order", "area", "low", "high", "difference", "difference_low", "difference_high", "p_value"]
"""Columns of the table of areas."""


@dataclass(frozen=True, eq=False)
class RemovableFeatures:
    """The features that can be removed from each sample of a probe.

    Parameters
    ----------
    feature_BF
        Column of the attributions, -1 where a sample has no more features.
    slot_BS
        Which of a sample's features each slot belongs to, -1 for none.
    value_BF, share_BF
        Attribution of each, and relative abundance of its ASVs in the sample; 0 where there is none.
    """

    feature_BF: Ints
    slot_BS: Ints
    value_BF: Floats
    share_BF: Floats

    @classmethod
    def of(cls, probe: Probe, feature_A: Ints, values: sparse.csr_array) -> RemovableFeatures:
        """The features of a probe's samples.

        Parameters
        ----------
        feature_A
            Feature of each of the probe's ASVs, -1 for none.
        values
            Attributions of the probe's samples, B x features.
        """
        column_BS = probe.column_BS.cpu().numpy()
        own_BS, share_BS = probe.own_BS.cpu().numpy(), probe.share_BS.cpu().numpy()
        of_slot_BS = np.where(column_BS >= 0, feature_A[column_BS], -1)
        # The features that each sample has, in order; then their slots, attributions and abundances.
        features_B = [np.unique(row[row >= 0]) for row in of_slot_BS]
        B, F = len(features_B), max(1, max(map(len, features_B)))
        feature, value, share = np.full((B, F), -1), np.zeros((B, F)), np.zeros((B, F))
        slot = np.full(of_slot_BS.shape, -1)
        for b, names in enumerate(features_B):
            inside = of_slot_BS[b] >= 0
            slot[b, inside] = np.searchsorted(names, of_slot_BS[b, inside])
            feature[b, : len(names)] = names
            value[b, : len(names)] = values[[b]].toarray()[0, names]
            np.add.at(share[b], slot[b, inside], share_BS[b, inside] * own_BS[b, inside])
        return cls(feature, slot, value, share)

    @property
    def held_BF(self) -> Bools:
        """Features that the sample has reads of."""
        return self.share_BF > 0

    def mark_slots(self, out_MF: Bools, row_M: Ints) -> Bools:
        """Slots of the features marked, M x S."""
        slot_MS = self.slot_BS[row_M]
        marked: Bools = np.take_along_axis(out_MF, np.maximum(slot_MS, 0), axis=1) & (slot_MS >= 0)
        return marked

    def predictor(self, probe: Probe) -> PredictWithout:
        """A function that gives the output of samples without some features, the rest re-normalised."""

        def predict(out_MF: Bools, row_M: Ints) -> Floats:
            drop = torch.from_numpy(self.mark_slots(out_MF, row_M)).to(probe.own_BS.device)
            return probe.predict_without(drop, torch.from_numpy(row_M).to(drop.device)).double().cpu().numpy()

        return predict


def rank_features(score_BF: Floats, held_BF: Bools) -> Ints:
    """Rank of each feature in its sample, from 0 for the highest score; those not held come last."""
    order = np.argsort(np.where(held_BF, -score_BF, np.inf), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[1])[None], axis=1)
    return rank


def predict_without_first(predict: PredictWithout, rank_BF: Ints, held_BF: Bools, steps: int) -> Floats:
    """Outputs while more and more of the first features are removed: 0, 1/steps, … all of a sample's, rounded down; B x J."""
    B, num_B = len(rank_BF), held_BF.sum(1)
    gone_BJ = np.arange(steps + 1) * num_B[:, None] // steps
    out_BJF = (rank_BF[:, None] < gone_BJ[..., None]) & held_BF[:, None]
    row_M = np.repeat(np.arange(B), steps + 1)
    return predict(out_BJF.reshape(B * (steps + 1), -1), row_M).reshape(B, steps + 1)


def measure_movements(
    predict: PredictWithout, value_BF: Floats, share_BF: Floats, config: FaithfulnessConfig, rng: np.random.Generator
) -> dict[tuple[str, str], Floats]:
    """How far predictions move, by kind ("deletion", "insertion") and order; each B x J, in the output's units.

    The direction of a sample is that from its prediction without ASVs to its own. Features are ranked by their attribution in that
    direction: first those that made the prediction what it is, last those that held it back. Deletion counts from the whole sample
    towards the one without ASVs, insertion the other way; both end at the whole distance between the two. Abundance has no
    direction, so its order is from the most to the least abundant. Of random orders the mean is given, and likewise of those by the
    attributions' signs with sizes drawn at random.
    """
    held_BF, steps = share_BF > 0, config.steps
    rows = np.arange(len(held_BF))
    whole_B, none_B = predict(np.zeros_like(held_BF), rows), predict(held_BF, rows)
    sign_B1 = np.where(whole_B < none_B, -1.0, 1.0)[:, None]
    own_BF = value_BF * sign_B1
    # Orders by the attributions, by abundance, and by the attributions' signs alone.
    signs = [np.sign(own_BF) * (1 - rng.random(own_BF.shape)) for _ in range(SIGN_DRAWS)]
    moved = {}
    for order, scores in {"attribution": [own_BF], "abundance": [share_BF], SIGN_ONLY: signs}.items():
        first = np.mean(
            [predict_without_first(predict, rank_features(s, held_BF), held_BF, steps) for s in scores], axis=0
        )
        last = np.mean(
            [predict_without_first(predict, rank_features(-s, held_BF), held_BF, steps) for s in scores], axis=0
        )
        moved["deletion", order] = sign_B1 * (whole_B[:, None] - first)
        # A sample without its last features is one into which the first were put.
        moved["insertion", order] = sign_B1 * (last[:, ::-1] - none_B[:, None])
    # Random orders, averaged.
    mean = np.zeros((len(rows), steps + 1))
    back = np.zeros_like(mean)
    for _ in range(config.num_random):
        first = predict_without_first(predict, rank_features(rng.random(held_BF.shape), held_BF), held_BF, steps)
        mean += sign_B1 * (whole_B[:, None] - first) / config.num_random
        back += sign_B1 * (first[:, ::-1] - none_B[:, None]) / config.num_random  # an order backwards is random too
    return moved | {("deletion", "random"): mean, ("insertion", "random"): back}


def areas_under_curves(movement_BJ: Floats, scale_B: Floats) -> Floats:
    """Mean height of each sample's curve as a share of its scale, shape B: the sooner it moves, the larger."""
    area: Floats = np.trapezoid(movement_BJ, dx=1 / (movement_BJ.shape[1] - 1), axis=1) / scale_B
    return area


def tabulate_curves(
    moved: dict[tuple[str, str], Floats], unit: Ints, config: FaithfulnessConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of curves and of their areas; see `Faithfulness`."""
    change = np.abs(moved["deletion", "random"][:, -1])
    scale = np.maximum(change, max(float(np.median(change)), 1e-12))
    curves, rows = [], []
    for kind in KINDS:
        own = areas_under_curves(moved[kind, "attribution"], scale)
        for order in ORDERS:
            mean, low, high = mean_with_interval(moved[kind, order], unit, config)
            curve = pd.DataFrame({"fraction": np.linspace(0, 1, len(mean)), "mean": mean, "low": low, "high": high})
            curves.append(curve.assign(kind=kind, order=order))
            other = areas_under_curves(moved[kind, order], scale)
            row: list[Any] = [kind, order, *mean_with_interval(other, unit, config)]
            above = [*mean_with_interval(own - other, unit, config), sign_flip_p_value(own - other, unit, config)]
            rows.append([*row, *(above if order != "attribution" else [np.nan] * 4)])
    table = pd.concat(curves, ignore_index=True)[["kind", "order", "fraction", "mean", "low", "high"]]
    return table, pd.DataFrame(rows, columns=AREAS).astype(dict.fromkeys(AREAS[2:], float))


def match_features(attributions: Attributions, asv_ids: pd.Index) -> Ints | None:
    """Feature of each of `asv_ids`, -1 for none; None where features are not sets of ASVs, or share some."""
    members = attributions.members
    if members is None or (np.bincount(members.indices, minlength=1) > 1).any():
        return None
    of_asv = np.full(len(attributions.asv_ids) + 1, -1)
    coo = members.tocoo()
    of_asv[coo.coords[1]] = coo.coords[0]
    features: Ints = of_asv[attributions.asv_ids.get_indexer(asv_ids)]  # the last is that of an unknown ASV
    return features
