"""How much each gate of a question moves its answer: integrated gradients, gradient x input and Shapley values (Captum), and occlusion.

Shape letters: B samples of a batch, F gates (slots of ASVs, positions, covariates) of one, of any shape, M questions asked at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from aam_nb.explain.attribution.probe import Probe

Ask = Callable[[Tensor, Tensor], Tensor]
"""From gates (M x F) and which sample each question is about (M) to the output (M), differentiable in the gates."""
STEPS = (32, 128, 512)
"""Quadrature points tried, until every sample's gap is within `TOLERANCE`."""
TOLERANCE = 0.005
"""Largest gap accepted, as a share of the change explained; half of the one per cent that is promised."""
PRECISION = 1e-4
"""Share of a prediction below which a change is measured against that share: single precision knows 1e-7 of a number."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a method found of a batch, on the CPU in double precision.

    Parameters
    ----------
    values_BF
        Attribution of each gate.
    prediction_B, reference_B
        The output with all gates as they are, and as the reference has them.
    missed
        Largest gap of integrated gradients that stayed above `TOLERANCE`, as a share of the change explained; 0 where none did.
    """

    values_BF: Tensor
    prediction_B: Tensor
    reference_B: Tensor
    missed: float = 0.0


def integrated_gradients(ask: Ask, own_BF: Tensor, other_BF: Tensor, at_once: int) -> Found:
    """Gradients integrated along the straight line from `other_BF` to `own_BF`, by Gauss and Legendre's rule.

    Sundararajan et al. 2017, arXiv 1703.01365. A sample whose gap is not within `TOLERANCE` is asked again at more points.
    """
    from captum.attr import IntegratedGradients

    rows, prediction, reference = _ends(ask, own_BF, other_BF)
    change = (prediction - reference).abs()
    scale = torch.maximum(torch.maximum(change, change.median()), PRECISION * prediction.abs()).clamp_min(1e-9)
    captum = IntegratedGradients(ask, multiply_by_inputs=True)
    values, left, missed = torch.empty(own_BF.shape, dtype=torch.float64), rows, torch.zeros(0)
    for steps in STEPS:
        found = captum.attribute(
            own_BF[left],
            baselines=other_BF[left],
            additional_forward_args=(left,),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=max(len(left), at_once),
        )
        values[left.cpu()] = found.detach().cpu().double()
        gap = (prediction - reference - values.flatten(1).sum(1)).abs() / scale
        missed = gap[gap > TOLERANCE]
        left = rows[(gap > TOLERANCE).to(rows.device)]
        if not len(left):
            break
    return Found(values, prediction, reference, float(missed.max()) if len(missed) else 0.0)


def gradient_x_input(ask: Ask, own_BF: Tensor, other_BF: Tensor) -> Found:
    """The gradient at each gate that is open: what the output would lose if its first small closing went on at the same rate."""
    from captum.attr import InputXGradient

    rows, prediction, reference = _ends(ask, own_BF, other_BF)
    values = InputXGradient(ask).attribute(own_BF.clone().requires_grad_(), additional_forward_args=(rows,))
    return Found(values.detach().cpu().double(), prediction, reference)


def shapley(
    ask: Ask, row: int, own_F: Tensor, other_F: Tensor, player_F: Tensor, *, orders: int, seed: int, at_once: int
) -> npt.NDArray[np.float64]:
    """Shapley values of one sample's players, shape (n_players,): what each adds, averaged over the orders in which they may join.

    Strumbelj and Kononenko 2010, JMLR 11:1. Values sum to the change from the reference, whatever the number of orders.

    Parameters
    ----------
    player_F
        Number of the player whom each gate belongs to, 0 to n_players - 1, each at least once.
    orders
        Orders drawn; where there are no more than these, all are gone through.
    """
    from captum.attr import ShapleyValues, ShapleyValueSampling

    players = int(player_F.max()) + 1
    every = players <= 9 and math.factorial(players) <= orders  # of more, Captum would warn
    rows = torch.tensor([row], device=own_F.device)

    def asked(gate_MF: Tensor, row_M: Tensor) -> Tensor:
        return ask(gate_MF, row_M.expand(len(gate_MF)))

    captum = (ShapleyValues if every else ShapleyValueSampling)(asked)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        found = captum.attribute(
            own_F[None],
            baselines=other_F[None],
            additional_forward_args=(rows,),
            feature_mask=player_F[None],
            perturbations_per_eval=max(1, min(at_once, players)),
            **({} if every else {"n_samples": orders}),
        )[0]
    first = np.unique(player_F.cpu().numpy().ravel(), return_index=True)[1]
    return found.cpu().double().numpy().ravel()[first]


def occluded(ask: Ask, own_BF: Tensor, other_BF: Tensor) -> Found:
    """What the output loses where one gate alone is as the reference has it."""
    rows, prediction, reference = _ends(ask, own_BF, other_BF)
    B, F = own_BF.shape
    gate_BFF = own_BF[:, None].expand(B, F, F).clone()
    each = torch.arange(F, device=own_BF.device)
    gate_BFF[:, each, each] = other_BF
    with torch.no_grad():
        without = ask(gate_BFF.flatten(0, 1), rows.repeat_interleave(F)).view(B, F)
    return Found(prediction[:, None] - without.cpu().double(), prediction, reference)


@torch.no_grad()
def _ends(ask: Ask, own_BF: Tensor, other_BF: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = torch.arange(len(own_BF), device=own_BF.device)
    return rows, ask(own_BF, rows).cpu().double(), ask(other_BF, rows).cpu().double()


# -- of many batches ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """What was found of the samples of one batch.

    Parameters
    ----------
    rows
        Their rows in the study.
    values
        Shape (n_samples of the batch, n_features).
    check
        As in `Attributions`.
    missed
        As in `Found`.
    """

    rows: npt.NDArray[np.int64]
    values: sparse.csr_array
    check: pd.DataFrame
    missed: float = 0.0


def checked(probe: Probe, prediction_B: Tensor, reference_B: Tensor, sum_B: Tensor) -> pd.DataFrame:
    """Whether attributions add up, one row per sample."""
    names = probe.output.names
    return pd.DataFrame(
        {
            "output": [names[k] for k in probe.which_B.tolist()],
            "prediction": prediction_B.numpy(),
            "reference": reference_B.numpy(),
            "sum": sum_B.numpy(),
            "gap": (prediction_B - reference_B - sum_B).numpy(),
        },
        index=pd.Index(probe.batch.sample_ids, name="sample_id"),
    )


def found_of(
    probe: Probe, found: Found, has_BF: npt.NDArray[np.bool_], column_BF: npt.NDArray[np.int64], width: int
) -> Part:
    """A batch's part from what a method found at its gates.

    Parameters
    ----------
    has_BF
        Which gates hold something.
    column_BF
        Whose they are, 0 to `width` - 1; two gates of a sample may be one feature's.
    """
    ends = np.concatenate([[0], has_BF.sum(1).cumsum()])
    kept = found.values_BF.flatten(1).numpy()[has_BF]
    values = sparse.csr_array((kept, column_BF[has_BF], ends), shape=(len(probe), width))
    values.sum_duplicates()
    check = checked(probe, found.prediction_B, found.reference_B, found.values_BF.flatten(1).sum(1))
    return Part(probe.batch.sample_B, values, check, found.missed)


@dataclass(frozen=True, eq=False)
class Explained:
    """What was found of all samples, in the study's order.

    Parameters
    ----------
    values, check, features, members, mutations
        As in `Attributions`.
    asv_ids
        Columns of `members`.
    reference
        What predictions were compared with, in words.
    missed
        As in `Found`, the largest of all batches.
    """

    values: sparse.csr_array
    check: pd.DataFrame
    asv_ids: pd.Index
    features: pd.DataFrame
    members: sparse.csr_array | None
    reference: str
    missed: float = 0.0
    mutations: pd.DataFrame | None = None


def assembled(parts: Sequence[Part]) -> tuple[sparse.csr_array, pd.DataFrame, float]:
    """Values, check and what was missed of all samples, in the study's order."""
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    values = sparse.csr_array(sparse.vstack([part.values for part in parts], format="csr")[order])
    return values, pd.concat([part.check for part in parts]).iloc[order], max(part.missed for part in parts)
