"""Attributions of a sample's community: its ASVs, its taxa and its clades.

Shape letters: B samples of a batch, S slots (a sample's ASVs and then those of the reference), M questions asked at once, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from aam_nb.config import ExplainConfig
from aam_nb.explain.attribution.methods import (
    Ask,
    Explained,
    Part,
    assembled,
    checked,
    found_of,
    gradient_x_input,
    integrated_gradients,
    shapley,
)
from aam_nb.explain.attribution.probe import BATCH, Output, Probe, Reference, probes
from aam_nb.explain.attribution.taxa_and_clades import (
    AsvSets,
    find_clades,
    find_taxa,
    join_taxonomy,
    single_asvs,
    sum_over_sets,
)
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM

OPENING = 3
"""Gates follow the cube of the path's position: most happens while few ASVs show, and the points lie densest there."""
Codes = npt.NDArray[np.int64]


def of_community(
    model: AAM,
    study: Study,
    *,
    level: str,
    method: str,
    output: Output,
    reference: Reference,
    rank: str | None,
    config: ExplainConfig,
    groups: AsvSets | None = None,
) -> Explained:
    """Attributions at level "asv", "taxon" or "clade"; see `attribute`. `groups`, where given, are the features."""
    gradients = method in ("integrated_gradients", "gradient_x_input")
    asv_ids, each = probes(model, study, output, reference, batch_size=BATCH if gradients else 1, desc="explain")
    if groups is None:
        groups = _groups(model, study, level, rank, asv_ids, reference)
    parts = []
    for probe in each:
        if gradients:
            parts.append(_by_gradients(probe, method, len(asv_ids)))
        elif method == "shapley":
            parts.append(_by_shapley(probe, groups, config))
        else:
            parts.append(_by_occlusion(probe, groups))
    values, check, missed = assembled(parts)
    if gradients and level != "asv":
        values = sum_over_sets(values, groups)
    meaning = reference.meaning
    if method == "occlusion":
        meaning = {"asv": "the sample without the ASV", "taxon": "the sample without the taxon"}.get(
            level, "the sample without the clade"
        )
        meaning += ", the other relative abundances made to sum to one"
    return Explained(values, check, asv_ids, groups.features, groups.members, meaning, missed)


def _groups(model: AAM, study: Study, level: str, rank: str | None, asv_ids: pd.Index, reference: Reference) -> AsvSets:
    """The features of a level: sets of the ASVs that samples, or the reference, hold."""
    held = np.isin(np.arange(len(asv_ids)), asv_ids.get_indexer(reference.asv_ids))
    held[: study.num_asvs] |= study.prevalence.to_numpy() > 0
    taxonomy = join_taxonomy(study, asv_ids, train=model.train_study)
    if level == "taxon":
        return find_taxa(taxonomy, held, rank)
    if level == "clade":
        return find_clades(study.require_tree(), asv_ids, held, taxonomy)
    return single_asvs(asv_ids, taxonomy)


# -- gradients ----------------------------------------------------------------------------------------------------------


def _by_gradients(probe: Probe, method: str, num_asvs: int) -> Part:
    """Attributions of ASVs; one that both sample and reference hold has the sum of its two slots."""
    own_BS, other_BS = _sides(probe)
    if method == "integrated_gradients":
        found = integrated_gradients(opening(probe), own_BS, other_BS, probe.at_once)
    else:
        found = gradient_x_input(probe, own_BS, other_BS)
    return found_of(probe, found, probe.filled_BS.cpu().numpy(), probe.column_BS.cpu().numpy(), num_asvs)


def _sides(probe: Probe) -> tuple[Tensor, Tensor]:
    """Positions of all slots at the sample and at the reference; those of empty slots go along with the sample's, to no effect."""
    other_BS = probe.other_BS.to(probe.entry_BSD.dtype)
    return 1 - other_BS, other_BS


def opening(probe: Probe) -> Ask:
    """The probe, asked by positions on the path: the sample's gates are their cubes, the reference's what these leave of 1."""

    def ask(x_MS: Tensor, row_M: Tensor) -> Tensor:
        closing_MS = x_MS * (3 - 3 * x_MS + x_MS**2)  # 1 - (1 - x)^3
        return probe(torch.where(probe.other_BS[row_M], closing_MS, x_MS**OPENING), row_M)

    return ask


# -- asked anew ---------------------------------------------------------------------------------------------------------


def _by_shapley(probe: Probe, groups: AsvSets, config: ExplainConfig) -> Part:
    """Shapley values of a single sample's ASVs or taxa; those of each rank play by themselves."""
    own, other = (mask[0].to(probe.entry_BSD.dtype) for mask in (probe.own_BS, probe.other_BS))
    column = probe.column_BS[0].cpu().numpy()
    features, values, totals = [], [], []
    for feature_S in _owners(groups, column):
        those, player_S = np.unique(feature_S, return_inverse=True)
        found = shapley(
            probe,
            0,
            own,
            other,
            torch.from_numpy(player_S).to(own.device),
            orders=config.orders,
            seed=config.seed,
            at_once=probe.at_once,
        )
        features.append(those)
        values.append(found)
        totals.append(found.sum())
    with torch.no_grad():
        ends = torch.stack([probe(gate[None], probe.rows)[0] for gate in (own, other)]).cpu().double()
    change = float(ends[0] - ends[1])
    worst = max(totals, key=lambda total: abs(change - total))
    return _of_one(probe, np.concatenate(features), np.concatenate(values), len(groups), ends, worst)


def _owners(groups: AsvSets, column_S: Codes) -> list[Codes]:
    """The feature that each slot belongs to: one array, or one for each rank."""
    if groups.features.index.name != "taxon":
        return [column_S]
    found = []
    for rank in groups.features["rank"].unique():
        rows = np.flatnonzero((groups.features["rank"] == rank).to_numpy())
        coo = groups.members[rows].tocoo()
        owner = np.empty(groups.members.shape[1], dtype=np.int64)
        owner[coo.coords[1]] = rows[coo.coords[0]]
        found.append(owner[column_S])
    return found


def _by_occlusion(probe: Probe, groups: AsvSets) -> Part:
    """What a single sample's prediction loses without each of its ASVs, taxa or clades."""
    column = probe.column_BS[0].cpu().numpy()
    among = sparse.csr_array(groups.members.tocsc()[:, column])
    features = np.flatnonzero(np.diff(among.indptr))
    drop_FS = among[features].toarray() > 0
    # Two clades may hold the same ASVs of this sample.
    distinct, which = np.unique(drop_FS, axis=0, return_inverse=True)
    asked = np.concatenate([np.zeros((1, len(column)), bool), np.ones((1, len(column)), bool), distinct])
    rows = torch.zeros(len(asked), dtype=torch.long, device=probe.own_BS.device)
    answer = probe.asked(torch.from_numpy(asked).to(rows.device), rows).cpu().double()
    values = (answer[0] - answer[2:][torch.from_numpy(which.ravel())]).numpy()
    if groups.features.index.name == "clade":  # they lie within one another
        total = float("nan")
    else:
        place = np.searchsorted(features, np.stack(_owners(groups, column)))
        totals = [values[np.unique(those)].sum() for those in place]
        total = max(totals, key=lambda t: abs(float(answer[0] - answer[1]) - t))
    return _of_one(probe, features, values, len(groups), answer[:2], total)


def _of_one(
    probe: Probe, features: Codes, values: npt.NDArray[np.float64], width: int, ends: Tensor, total: float
) -> Part:
    """The part of a single sample from its features and their values."""
    order = np.argsort(features)
    row = sparse.csr_array((values[order], features[order], [0, len(order)]), shape=(1, width))
    check = checked(probe, ends[:1], ends[1:], torch.tensor([float(total)], dtype=torch.float64))
    return Part(probe.batch.sample_B, row, check)
