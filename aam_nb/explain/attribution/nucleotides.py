"""Attributions of nucleotides: how much each position of a few ASVs moved predictions.

A position has a gate: at 1 it has its letter's vector, at 0 the mask's, which hides the letter. All else of the sample stays.

Shape letters: B samples of a batch, S slots, K chosen ASVs, L positions of the longest, T numbers of a letter, M outputs computed
at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor
from tqdm.auto import tqdm

from aam_nb.arrays import Ints
from aam_nb.batch.tokens import MASK, PAD, tokenize
from aam_nb.config import count_noun, cut_list
from aam_nb.explain.attribution.methods import (
    BatchAttributions,
    GateAttributions,
    StudyAttributions,
    check_sums,
    gather_gates,
    gradient_x_input,
    integrated_gradients,
    join_batches,
)
from aam_nb.explain.attribution.probe import ExplainError, Output, Probe, Reference, make_probes
from aam_nb.explain.attribution.query import AttributionQuery
from aam_nb.study.errors import UnknownIdError
from aam_nb.study.study import Study
from aam_nb.train.asv_cache import encode_asvs
from aam_nb.train.estimator import AAM

POSITIONS = 16384
"""Positions of ASVs encoded at once with gradients: bounds memory."""
BATCH = 4
"""Samples explained together."""
LETTERS = "ACGT"


@dataclass(frozen=True, eq=False)
class LetterGates:
    """The output as a function of gates of the chosen ASVs' letters.

    Parameters
    ----------
    probe
        The samples.
    tokens_KL, letter_KLT, mask_T
        Tokens of the chosen ASVs, padded to the longest, the vectors of their letters and that of the mask.
    spread
        Of the reference ASVs' vectors, by which the encoder standardises.
    slot_BK
        Slot of each chosen ASV in each sample, -1 where the sample lacks it.
    """

    probe: Probe
    tokens_KL: Tensor
    letter_KLT: Tensor
    mask_T: Tensor
    spread: tuple[Tensor, Tensor] | None
    slot_BK: Tensor

    def __call__(self, gate_MF: Tensor, row_M: Tensor) -> Tensor:
        """The output, shape M, differentiable in the gates: F is K x L, flat."""
        probe, encoder = self.probe, self.probe.model.network.encoder
        probe.budget.note(gate_MF.numel())
        gate_MKL1 = gate_MF.view(-1, *self.tokens_KL.shape, 1)
        m, k = (self.slot_BK[row_M] >= 0).nonzero(as_tuple=True)
        own_MS = probe.own_BS[row_M].to(probe.entry_BSD.dtype)
        if not len(m):  # no sample here holds one: for autograd their output still depends on the letters, with slope 0
            return probe.output_of(probe.entry_BSD[row_M], own_MS, row_M) + 0 * gate_MF.sum(1)
        letter_PLT = torch.lerp(self.mask_T, self.letter_KLT[k], gate_MKL1[m, k])
        letter_PLT = letter_PLT * (self.tokens_KL[k] != PAD)[..., None]
        asv_PD = encoder.asv.of_letters(self.tokens_KL[k], letter_PLT, self.spread)
        row, slot = row_M[m], self.slot_BK[row_M[m], k]
        entry_PD = encoder.sample.entry(asv_PD.to(probe.asv_BSD.dtype), probe.share_BS[row, slot])
        entry_MSD = probe.entry_BSD[row_M].index_put((m, slot), entry_PD)
        return probe.output_of(entry_MSD, own_MS, row_M)


def explain_nucleotides(model: AAM, study: Study, query: AttributionQuery, output: Output) -> StudyAttributions:
    """Attributions at level "nucleotide"; see `attribute`.

    Raises
    ------
    UnknownIdError, ExplainError
        An ASV is not in the study; one is named twice, or no sample holds it.
    """
    assert query.asvs is not None
    asvs = list(query.asvs)
    column_K = _require_columns(study, asvs)
    tokens_KL = torch.from_numpy(tokenize(asvs)).to(model.device)
    features = _list_positions(asvs)
    empty = Reference.of(model, study, "empty")
    _, probes = make_probes(model, study, output, empty, batch_size=BATCH, max_tokens=query.config.max_tokens)
    if query.method == "occlusion":
        batches, mutations = _explain_by_mutation(model, probes, asvs, column_K, features)
        meaning = "the sample with another letter there"
    else:
        batches = list(_explain_by_gradients(model, probes, query.method, column_K, tokens_KL, len(features)))
        meaning, mutations = f"the sample with the letters of {count_noun(len(asvs), 'ASV')} hidden", None
    values, check, excess_gap = join_batches(batches)
    asv_ids = pd.Index(asvs, name="asv_id")
    return StudyAttributions(values, check, asv_ids, features, None, meaning, excess_gap, mutations)


def _require_columns(study: Study, asvs: Sequence[str]) -> Ints:
    """Columns of ASVs in the study, which samples hold."""
    column_K = study.asv_ids.get_indexer(pd.Index(asvs, dtype=object))
    unknown = [a for a, c in zip(asvs, column_K, strict=True) if c < 0]
    if unknown:
        raise UnknownIdError(
            f"{len(unknown)} of {len(asvs)} ASVs are not in the study ({cut_list(unknown)}). Its {study.num_asvs} ids look like "
            f"{cut_list(study.asv_ids[:1])}. Take ids from `study.asv_ids`."
        )
    unseen = [a for a, n in zip(asvs, study.prevalence.to_numpy()[column_K], strict=True) if not n]
    if unseen or len(set(asvs)) < len(asvs):
        wrong = f"no sample holds {cut_list(unseen)}" if unseen else "one is named twice"
        raise ExplainError(
            f"{len(asvs)} ASVs are to be explained, and {wrong}. Expected ASVs that samples hold, each once. Take them from "
            "`study.prevalence[study.prevalence > 0].index`."
        )
    return column_K.astype(np.int64)


def _list_positions(asvs: Sequence[str]) -> pd.DataFrame:
    """A row for each position of each ASV."""
    rows = [(asv, position, letter) for asv in asvs for position, letter in enumerate(asv, start=1)]
    index = pd.Index([f"{asv}:{position}" for asv, position, _ in rows], name="nucleotide")
    return pd.DataFrame(rows, columns=["asv_id", "position", "letter"], index=index)


def _find_slots(probe: Probe, column_K: Ints) -> Tensor:
    """Slot of each chosen ASV in each sample, -1 where there is none."""
    same_BKS = probe.column_BS[:, None] == torch.from_numpy(column_K).to(probe.column_BS.device)[:, None]
    return torch.where(same_BKS.any(2), same_BKS.int().argmax(2), -1)


# -- gradients ----------------------------------------------------------------------------------------------------------


def _explain_by_gradients(
    model: AAM,
    probes: Iterator[Probe],
    method: str,
    column_K: Ints,
    tokens_KL: Tensor,
    width: int,
) -> Iterator[BatchAttributions]:
    encoder = model.network.encoder.asv
    with torch.no_grad():
        letter_KLT, mask_T = encoder.token(tokens_KL.int()), encoder.token.weight[MASK].clone()
    spread = encoder.spread()
    filled_F = (tokens_KL != PAD).cpu().numpy().ravel()
    asv_F = np.repeat(np.arange(len(column_K)), tokens_KL.shape[1])
    column_F = np.where(filled_F, np.cumsum(filled_F) - 1, -1)
    for probe in probes:
        forward = LetterGates(probe, tokens_KL, letter_KLT, mask_T, spread, _find_slots(probe, column_K))
        gates = probe.fit(partial(_explain_letters, forward, method), least=tokens_KL.numel())
        has_BF = (forward.slot_BK >= 0).cpu().numpy()[:, asv_F] & filled_F
        yield gather_gates(probe, gates, has_BF, np.broadcast_to(column_F, has_BF.shape), width)


def _explain_letters(forward: LetterGates, method: str) -> GateAttributions:
    """Attributions of the letters in a batch's samples."""
    probe, num = forward.probe, forward.tokens_KL.numel()
    chunk_size = min(probe.chunk_size, max(1, min(POSITIONS, probe.budget.max_tokens) // num))
    shown = torch.ones(len(probe), num, device=forward.tokens_KL.device)
    explain = integrated_gradients if method == "integrated_gradients" else gradient_x_input
    return explain(forward, shown, torch.zeros_like(shown), chunk_size)


# -- mutations ----------------------------------------------------------------------------------------------------------


def _explain_by_mutation(
    model: AAM,
    probes: Iterator[Probe],
    asvs: Sequence[str],
    column_K: Ints,
    features: pd.DataFrame,
) -> tuple[list[BatchAttributions], pd.DataFrame]:
    """What predictions lose by other letters: the mean over these, and the mean over samples of each."""
    asv_F = np.repeat(np.arange(len(asvs)), [len(a) for a in asvs])
    # Variants (V): a position with another letter.
    feature_V, letter_V = np.nonzero(features["letter"].to_numpy()[:, None] != np.array(list(LETTERS)))
    sequences = [_mutate(features, f, LETTERS[c]) for f, c in zip(feature_V.tolist(), letter_V.tolist(), strict=True)]
    vector_VD = encode_asvs(model.network, tokenize(sequences), model.device, progress=model.shows_progress)
    # What each variant changes in each sample that holds its ASV.
    letters_F = np.bincount(feature_V, minlength=len(features))
    total, holders_F, batches = np.zeros((len(features), len(LETTERS))), np.zeros(len(features)), []
    for probe in probes:
        slot_BK = _find_slots(probe, column_K)
        prediction = probe.predict_without(torch.zeros_like(probe.own_BS), probe.rows).cpu().double()
        mean_BF = np.zeros((len(probe), len(features)))
        held = (slot_BK >= 0).nonzero().tolist()
        for b, k in tqdm(held, desc="mutate", unit="ASV", delay=2, disable=not model.shows_progress):
            variants = np.flatnonzero(asv_F[feature_V] == k)
            vectors = vector_VD[torch.from_numpy(variants).to(vector_VD.device)]
            without = probe.fit(partial(_predict_variants, probe, b, int(slot_BK[b, k]), vectors))
            change = (prediction[b] - without).numpy()
            total[feature_V[variants], letter_V[variants]] += change
            mean_BF[b] += np.bincount(feature_V[variants], weights=change, minlength=len(features)) / letters_F
        has_BF = (slot_BK >= 0).cpu().numpy()[:, asv_F]
        holders_F += has_BF.sum(0)
        row, column = has_BF.nonzero()
        values = sparse.csr_array((mean_BF[row, column], (row, column)), shape=mean_BF.shape)
        nothing = torch.full_like(prediction, torch.nan)  # there is no one sample to compare with
        check = check_sums(probe, prediction, nothing, torch.from_numpy(np.asarray(values.sum(1)).ravel()))
        batches.append(BatchAttributions(probe.batch.sample_B, values, check))
    mean = total / np.maximum(holders_F, 1)[:, None]
    return batches, pd.DataFrame(mean, index=features.index, columns=list(LETTERS))


def _mutate(features: pd.DataFrame, feature: int, letter: str) -> str:
    """The ASV of a feature with another letter at its position."""
    asv, position = features["asv_id"].iloc[feature], int(features["position"].iloc[feature])
    return f"{asv[: position - 1]}{letter}{asv[position:]}"


@torch.no_grad()
def _predict_variants(probe: Probe, b: int, slot: int, vector_VD: Tensor) -> Tensor:
    """The output of sample `b` with each of some vectors in place of one of its ASVs', on the CPU."""
    outputs = []
    for chunk_VD in vector_VD.to(probe.asv_BSD.dtype).split(probe.chunk_size):
        row = torch.full((len(chunk_VD),), b, device=chunk_VD.device)
        entry_VSD = probe.entry_BSD[row]
        entry_VSD[:, slot] = probe.model.network.encoder.sample.entry(chunk_VD, probe.share_BS[row, slot])
        outputs.append(probe.output_of(entry_VSD, probe.own_BS[row].to(entry_VSD.dtype), row).cpu().double())
    return torch.cat(outputs)
