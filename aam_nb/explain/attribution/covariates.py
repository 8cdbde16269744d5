"""Attributions of covariates: how much what is known of a sample besides its ASVs moved its prediction.

A covariate has a gate: at 1 its vector is that of its value, at 0 that of a missing one. The ASVs stay.

Shape letters: B samples of a batch, C covariates, M questions asked at once, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aam_nb.config import ExplainConfig
from aam_nb.explain.attribution.methods import (
    Explained,
    Found,
    assembled,
    found_of,
    gradient_x_input,
    integrated_gradients,
    occluded,
    shapley,
)
from aam_nb.explain.attribution.probe import ExplainError, Output, Probe, Reference, probes
from aam_nb.model.covariates import CODES, NUMBERS
from aam_nb.study.study import Study
from aam_nb.train.estimator import AAM


@dataclass(frozen=True, eq=False)
class Known:
    """A question about the covariates of a batch's samples.

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
    def of(cls, probe: Probe) -> Known:
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
        size = self.probe.at_once
        parts = zip(gate_MC.split(size), row_M.split(size), strict=True)
        return torch.cat([self._asked(gate, row) for gate, row in parts])

    def _asked(self, gate_MC: Tensor, row_M: Tensor) -> Tensor:
        covariate_MCD = torch.lerp(self.missing_BCD[row_M], self.own_BCD[row_M], gate_MC[..., None])
        entry_MSD = self.probe.entry_BSD[row_M]
        own_MS = self.probe.own_BS[row_M].to(entry_MSD.dtype)
        return self.probe.answer(entry_MSD, own_MS, row_M, covariate_MCD)


def of_covariates(model: AAM, study: Study, *, method: str, output: Output, config: ExplainConfig) -> Explained:
    """Attributions at level "covariate"; see `attribute`.

    Raises
    ------
    ExplainError
        The model has no covariates.
    """
    known = model.covariates
    if known is None or not len(known):
        raise ExplainError(
            "level is 'covariate', and the model was fitted without covariates. Expected one that has some. Fit it so: "
            "`model.fit(train, target=..., covariates=['season'])`."
        )
    kinds = ["categorical" if name in known.categories else "numeric" for name in known.names]
    features = pd.DataFrame({"kind": kinds}, index=pd.Index(known.names, name="covariate"))
    _, each = probes(model, study, output, Reference.of(model, study, "empty"))
    parts = []
    for probe in each:
        ask = Known.of(probe)
        found = _by(method, ask, config)
        has_BC = ask.has_BC.cpu().numpy()
        column_BC = np.broadcast_to(np.arange(len(known)), has_BC.shape)
        parts.append(found_of(probe, found, has_BC, column_BC, len(known)))
    values, check, missed = assembled(parts)
    none = pd.Index([], dtype=str, name="asv_id")
    return Explained(values, check, none, features, None, "the sample with its covariates missing", missed)


def _by(method: str, ask: Known, config: ExplainConfig) -> Found:
    """What a method finds of a batch."""
    own = torch.ones(ask.own_BCD.shape[:2], device=ask.own_BCD.device)
    missing = torch.zeros_like(own)
    if method == "integrated_gradients":
        return integrated_gradients(ask, own, missing, ask.probe.at_once)
    if method == "gradient_x_input":
        return gradient_x_input(ask, own, missing)
    found = occluded(ask, own, missing)
    if method == "occlusion":
        return found
    players = torch.arange(own.shape[1], device=own.device)
    how = {"orders": config.orders, "seed": config.seed, "at_once": ask.probe.at_once}
    rows = [shapley(ask, b, own[b], missing[b], players, **how) for b in range(len(own))]
    return replace(found, values_BF=torch.from_numpy(np.stack(rows)))
