"""Attributions of covariates: how much the metadata that the model was given moved a sample's prediction.

A covariate has a gate: at 1 its vector is that of its value, at 0 that of a missing one. The ASVs stay.

Shape letters: B samples of a batch, C covariates, M outputs computed at once, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aam_nb.config import ExplainConfig
from aam_nb.explain.attribution.methods import (
    GateAttributions,
    StudyAttributions,
    gather_gates,
    gradient_x_input,
    integrated_gradients,
    join_batches,
    occlude_gates,
    shapley_values,
)
from aam_nb.explain.attribution.probe import ExplainError, Output, Probe, Reference, make_probes
from aam_nb.explain.attribution.query import AttributionQuery
from aam_nb.model.covariates import CODES, NUMBERS
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM


@dataclass(frozen=True, eq=False)
class CovariateGates:
    """The output as a function of gates of the covariates of a batch's samples.

    Parameters
    ----------
    probe
        The samples.
    own_BCD, missing_BCD
        Vectors of their covariates, and of missing ones.
    """

    probe: Probe
    own_BCD: Tensor
    missing_BCD: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, probe: Probe) -> CovariateGates:
        """The gates of a probe's samples."""
        batch, encoder = probe.batch, probe.model.network.encoder.covariates
        assert encoder is not None
        nothing = {
            CODES: torch.zeros_like(batch.targets[CODES]),
            NUMBERS: torch.full_like(batch.targets[NUMBERS], torch.nan),
        }
        return cls(probe, encoder(batch), encoder(replace(batch, targets=batch.targets | nothing)))

    @property
    def has_BC(self) -> Tensor:
        """Which values are known."""
        targets = self.probe.batch.targets
        return (targets[CODES] > 0) | ~targets[NUMBERS].isnan()

    def __call__(self, gate_MC: Tensor, row_M: Tensor) -> Tensor:
        """The output, shape M, differentiable in the gates."""
        size = self.probe.chunk_size
        chunks = zip(gate_MC.split(size), row_M.split(size), strict=True)
        return torch.cat([self._output(gate, row) for gate, row in chunks])

    def _output(self, gate_MC: Tensor, row_M: Tensor) -> Tensor:
        covariate_MCD = torch.lerp(self.missing_BCD[row_M], self.own_BCD[row_M], gate_MC[..., None])
        entry_MSD = self.probe.entry_BSD[row_M]
        own_MS = self.probe.own_BS[row_M].to(entry_MSD.dtype)
        return self.probe.output_of(entry_MSD, own_MS, row_M, covariate_MCD)


def explain_covariates(model: AAM, study: Study, query: AttributionQuery, output: Output) -> StudyAttributions:
    """Attributions at level "covariate"; see `attribute`.

    Raises
    ------
    ExplainError
        The model has no covariates.
    """
    covariates = model.covariates
    if covariates is None or not len(covariates):
        raise ExplainError(
            "level is 'covariate', and the model was fitted without covariates. Expected one that has some. Fit it so: "
            "`model.fit(train, target=..., covariates=['season'])`."
        )
    kinds = ["categorical" if name in covariates.categories else "numeric" for name in covariates.names]
    features = pd.DataFrame({"kind": kinds}, index=pd.Index(covariates.names, name="covariate"))
    empty = Reference.of(model, study, "empty")
    _, probes = make_probes(model, study, output, empty, max_tokens=query.config.max_tokens)
    batches = []
    for probe in probes:
        forward = CovariateGates.of(probe)
        gates = probe.fit(partial(_explain_gates, query.method, forward, query.config))
        has_BC = forward.has_BC.cpu().numpy()
        column_BC = np.broadcast_to(np.arange(len(covariates)), has_BC.shape)
        batches.append(gather_gates(probe, gates, has_BC, column_BC, len(covariates)))
    values, check, excess_gap = join_batches(batches)
    no_asvs = pd.Index([], dtype=str, name="asv_id")
    meaning = "the sample with its covariates missing"
    return StudyAttributions(values, check, no_asvs, features, None, meaning, excess_gap)


def _explain_gates(method: str, forward: CovariateGates, config: ExplainConfig) -> GateAttributions:
    """Attributions of a batch's covariates by a method."""
    own = torch.ones(forward.own_BCD.shape[:2], device=forward.own_BCD.device)
    missing = torch.zeros_like(own)
    if method == "integrated_gradients":
        return integrated_gradients(forward, own, missing, forward.probe.chunk_size)
    if method == "gradient_x_input":
        return gradient_x_input(forward, own, missing, forward.probe.chunk_size)
    by_occlusion = occlude_gates(forward, own, missing)
    if method == "occlusion":
        return by_occlusion
    players = torch.arange(own.shape[1], device=own.device)
    settings = {"orders": config.orders, "seed": config.seed, "chunk_size": forward.probe.chunk_size}
    rows = [shapley_values(forward, b, own[b], missing[b], players, **settings) for b in range(len(own))]
    return replace(by_occlusion, values_BF=torch.from_numpy(np.stack(rows)))
