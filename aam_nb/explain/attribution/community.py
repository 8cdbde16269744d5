"""Attributions of a sample's community: its ASVs, its taxa and its clades.

Shape letters: B samples of a batch, S slots (a sample's ASVs and then those of the reference), M outputs computed at once, F features.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.config import ExplainConfig
from aam_nb.explain.attribution.methods import (
    BatchAttributions,
    Forward,
    StudyAttributions,
    check_sums,
    gather_gates,
    gradient_x_input,
    integrated_gradients,
    join_batches,
    shapley_values,
)
from aam_nb.explain.attribution.probe import BATCH, Output, Probe, Reference, make_probes
from aam_nb.explain.attribution.query import AttributionQuery
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

PATH_POWER = 3
"""Gates follow the cube of the path's position: most happens while few ASVs show, and the points are closest to each other there."""


def explain_community(
    model: AAM,
    study: Study,
    query: AttributionQuery,
    output: Output,
    reference: Reference,
    sets: AsvSets | None = None,
) -> StudyAttributions:
    """Attributions at level "asv", "taxon" or "clade"; see `attribute`. `sets`, where given, are the features."""
    level, method = query.level, query.method
    gradients = method in ("integrated_gradients", "gradient_x_input")
    asv_ids, probes = make_probes(
        model,
        study,
        output,
        reference,
        batch_size=BATCH if gradients else 1,
        max_tokens=query.config.max_tokens,
    )
    if sets is None:
        sets = _find_sets(model, study, query, asv_ids, reference)
    batches = []
    explain: Callable[[Probe], BatchAttributions]
    if gradients:
        explain = partial(_explain_by_gradients, method=method, num_asvs=len(asv_ids))
    elif method == "shapley":
        explain = partial(_explain_by_shapley, sets=sets, config=query.config)
    else:
        explain = partial(_explain_by_occlusion, sets=sets)
    for probe in probes:
        batches.append(probe.fit(partial(explain, probe)))
    values, check, excess_gap = join_batches(batches)
    if gradients and level != "asv":
        values = sum_over_sets(values, sets)
    meaning = reference.meaning
    if method == "occlusion":
        name = "ASV" if level == "asv" else level
        meaning = f"the sample without the {name}, the other relative abundances made to sum to one"
    return StudyAttributions(values, check, asv_ids, sets.features, sets.members, meaning, excess_gap)


def _find_sets(model: AAM, study: Study, query: AttributionQuery, asv_ids: pd.Index, reference: Reference) -> AsvSets:
    """The features of a level: sets of the ASVs that samples, or the reference, hold."""
    held = np.isin(np.arange(len(asv_ids)), asv_ids.get_indexer(reference.asv_ids))
    held[: study.num_asvs] |= study.prevalence.to_numpy() > 0
    taxonomy = join_taxonomy(study, asv_ids, train=model.train_study)
    if query.level == "taxon":
        return find_taxa(taxonomy, held, query.rank)
    if query.level == "clade":
        return find_clades(study.require_tree(), asv_ids, held, taxonomy)
    return single_asvs(asv_ids, taxonomy)


# -- gradients ----------------------------------------------------------------------------------------------------------


def _explain_by_gradients(probe: Probe, method: str, num_asvs: int) -> BatchAttributions:
    """Attributions of ASVs; one that both sample and reference hold has the sum of its two slots."""
    own_BS, other_BS = _path_ends(probe)
    if method == "integrated_gradients":
        gates = integrated_gradients(follow_path(probe), own_BS, other_BS, probe.chunk_size)
    else:
        gates = gradient_x_input(probe, own_BS, other_BS, probe.chunk_size)
    return gather_gates(probe, gates, probe.filled_BS.cpu().numpy(), probe.column_BS.cpu().numpy(), num_asvs)


def _path_ends(probe: Probe) -> tuple[Tensor, Tensor]:
    """Positions of all slots at the sample and at the reference; empty slots move with the sample's, which has no effect."""
    other_BS = probe.other_BS.to(probe.entry_BSD.dtype)
    return 1 - other_BS, other_BS


def follow_path(probe: Probe) -> Forward:
    """The probe's output by positions on the path: the sample's gates are their cubes, the reference's what these leave of 1."""

    def forward(x_MS: Tensor, row_M: Tensor) -> Tensor:
        closing_MS = x_MS * (3 - 3 * x_MS + x_MS**2)  # 1 - (1 - x)^3
        return probe(torch.where(probe.other_BS[row_M], closing_MS, x_MS**PATH_POWER), row_M)

    return forward


# -- samples without some features --------------------------------------------------------------------------------------


def _explain_by_shapley(probe: Probe, sets: AsvSets, config: ExplainConfig) -> BatchAttributions:
    """Shapley values of a single sample's ASVs or taxa; each rank is computed by itself."""
    own, other = (mask[0].to(probe.entry_BSD.dtype) for mask in (probe.own_BS, probe.other_BS))
    column = probe.column_BS[0].cpu().numpy()
    features, values, totals = [], [], []
    for feature_S in _features_of_slots(sets, column):
        players, player_S = np.unique(feature_S, return_inverse=True)
        value = shapley_values(
            probe,
            0,
            own,
            other,
            torch.from_numpy(player_S).to(own.device),
            orders=config.orders,
            seed=config.seed,
            chunk_size=probe.chunk_size,
        )
        features.append(players)
        values.append(value)
        totals.append(value.sum())
    with torch.no_grad():
        ends = torch.stack([probe(gate[None], probe.rows)[0] for gate in (own, other)]).cpu().double()
    change = float(ends[0] - ends[1])
    worst = max(totals, key=lambda total: abs(change - total))
    return _to_batch(probe, np.concatenate(features), np.concatenate(values), len(sets), ends, worst)


def _features_of_slots(sets: AsvSets, column_S: Ints) -> list[Ints]:
    """The feature that each slot belongs to: one array, or one for each rank."""
    if sets.features.index.name != "taxon":
        return [column_S]
    by_rank = []
    for rank in sets.features["rank"].unique():
        rows = np.flatnonzero((sets.features["rank"] == rank).to_numpy())
        coo = sets.members[rows].tocoo()
        feature_A = np.empty(sets.members.shape[1], dtype=np.int64)
        feature_A[coo.coords[1]] = rows[coo.coords[0]]
        by_rank.append(feature_A[column_S])
    return by_rank


def _explain_by_occlusion(probe: Probe, sets: AsvSets) -> BatchAttributions:
    """What a single sample's prediction loses without each of its ASVs, taxa or clades."""
    column = probe.column_BS[0].cpu().numpy()
    among = sparse.csr_array(sets.members.tocsc()[:, column])
    features = np.flatnonzero(np.diff(among.indptr))
    distinct, number_F = _number_distinct(among[features])
    # Drop nothing, then everything, then each set: as many rows at once as are computed together, for all would be features x slots.
    drops = [np.array([[False], [True]]).repeat(len(column), axis=1)]
    size = max(2, probe.chunk_size)
    starts = range(0, len(distinct), size)
    chunks = itertools.chain(drops, (among[features[distinct[k : k + size]]].toarray() > 0 for k in starts))
    outputs = torch.cat([_predict_sample_without(probe, drop) for drop in chunks])
    values = (outputs[0] - outputs[2:][torch.from_numpy(number_F)]).numpy()
    if sets.features.index.name == "clade":  # they lie within one another
        total = float("nan")
    else:
        by_rank = np.searchsorted(features, np.stack(_features_of_slots(sets, column)))
        totals = [values[np.unique(features_S)].sum() for features_S in by_rank]
        total = max(totals, key=lambda t: abs(float(outputs[0] - outputs[1]) - t))
    return _to_batch(probe, features, values, len(sets), outputs[:2], total)


def _number_distinct(sets_FS: sparse.csr_array) -> tuple[Ints, Ints]:
    """Rows of the sets that are the first of their kind, and which of these each row is the same as.

    Two clades may hold the same ASVs of a sample.
    """
    sets_FS.sort_indices()
    bounds = itertools.pairwise(sets_FS.indptr.tolist())
    numbers: dict[bytes, int] = {}
    number_F = np.array([numbers.setdefault(sets_FS.indices[a:b].tobytes(), len(numbers)) for a, b in bounds])
    return np.unique(number_F, return_index=True)[1], number_F


def _predict_sample_without(probe: Probe, drop_MS: Bools) -> Tensor:
    """Outputs of a probe's only sample without some slots, on the CPU."""
    drop = torch.from_numpy(drop_MS).to(probe.own_BS.device)
    rows = torch.zeros(len(drop), dtype=torch.long, device=drop.device)
    return probe.predict_without(drop, rows).cpu().double()


def _to_batch(
    probe: Probe, features: Ints, values: Floats, width: int, ends: Tensor, total: float
) -> BatchAttributions:
    """A batch of a single sample from its features and their values."""
    order = np.argsort(features)
    row = sparse.csr_array((values[order], features[order], [0, len(order)]), shape=(1, width))
    check = check_sums(probe, ends[:1], ends[1:], torch.tensor([float(total)], dtype=torch.float64))
    return BatchAttributions(probe.batch.sample_B, row, check)
