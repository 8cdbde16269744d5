"""How much each gate moves an output: integrated gradients, gradient x input and Shapley values (Captum), and occlusion.

Shape letters: B samples of a batch, F gates (slots of ASVs, positions, covariates) of a sample, of any shape, M outputs computed at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from aam_nb.arrays import Bools, Floats, Ints
from aam_nb.explain.attribution.probe import Probe

Forward = Callable[[Tensor, Tensor], Tensor]
"""From gates (M x F) and the number of the sample that each row is about (M) to the output (M), differentiable in the gates."""
STEPS = (32, 128, 512)
"""Quadrature points tried, until every sample's gap is within `TOLERANCE`."""
TOLERANCE = 0.005
"""Largest gap accepted, as a share of the change explained; half of the one per cent that is promised."""
PRECISION = 1e-4
"""Share of a prediction below which a change is measured against that share: single precision resolves 1e-7 of a number."""


@dataclass(frozen=True, eq=False)
class GateAttributions:
    """Attributions of a batch's gates, on the CPU in double precision.

    Parameters
    ----------
    values_BF
        Attribution of each gate.
    prediction_B, reference_B
        The output with all gates as they are, and as the reference has them.
    excess_gap
        Largest gap of integrated gradients that stayed above `TOLERANCE`, as a share of the change explained; 0 where none did.
    """

    values_BF: Tensor
    prediction_B: Tensor
    reference_B: Tensor
    excess_gap: float = 0.0


def integrated_gradients(forward: Forward, own_BF: Tensor, other_BF: Tensor, chunk_size: int) -> GateAttributions:
    """Gradients integrated along the straight line from `other_BF` to `own_BF`, by Gauss and Legendre's rule.

    Sundararajan et al. 2017, arXiv 1703.01365. A sample whose gap is not within `TOLERANCE` is computed again at more points.
    `chunk_size` is how many outputs are computed at once.
    """
    from captum.attr import IntegratedGradients

    rows, prediction, reference = _outputs_at_ends(forward, own_BF, other_BF, chunk_size)
    # A gap is measured against the change, but not against one that is tiny.
    change = (prediction - reference).abs()
    scale = torch.maximum(torch.maximum(change, change.median()), PRECISION * prediction.abs()).clamp_min(1e-9)
    captum = IntegratedGradients(forward, multiply_by_inputs=True)
    # More points, until every sample's gap is small.
    values, left, excess = torch.empty(own_BF.shape, dtype=torch.float64), rows, torch.zeros(0)
    for steps in STEPS:
        for rows_M in left.split(chunk_size):
            gradients = captum.attribute(
                own_BF[rows_M],
                baselines=other_BF[rows_M],
                additional_forward_args=(rows_M,),
                n_steps=steps,
                method="gausslegendre",
                internal_batch_size=chunk_size,
            )
            values[rows_M.cpu()] = gradients.detach().cpu().double()
        gap = (prediction - reference - values.flatten(1).sum(1)).abs() / scale
        excess = gap[gap > TOLERANCE]
        left = rows[(gap > TOLERANCE).to(rows.device)]
        if not len(left):
            break
    return GateAttributions(values, prediction, reference, float(excess.max()) if len(excess) else 0.0)


def gradient_x_input(forward: Forward, own_BF: Tensor, other_BF: Tensor, chunk_size: int) -> GateAttributions:
    """The gradient at each open gate: what the output would lose if the gate closed fully at the rate of its first small step."""
    from captum.attr import InputXGradient

    rows, prediction, reference = _outputs_at_ends(forward, own_BF, other_BF, chunk_size)
    captum, values = InputXGradient(forward), torch.empty(own_BF.shape, dtype=torch.float64)
    for rows_M in rows.split(chunk_size):
        own_MF = own_BF[rows_M].clone().requires_grad_()
        values[rows_M.cpu()] = captum.attribute(own_MF, additional_forward_args=(rows_M,)).detach().cpu().double()
    return GateAttributions(values, prediction, reference)


def shapley_values(
    forward: Forward,
    row: int,
    own_F: Tensor,
    other_F: Tensor,
    player_F: Tensor,
    *,
    orders: int,
    seed: int,
    chunk_size: int,
) -> Floats:
    """Shapley values of one sample's players, shape (n_players,): what each adds, averaged over the orders in which they may join.

    Strumbelj and Kononenko 2010, JMLR 11:1. Values sum to the change from the reference, whatever the number of orders.

    Parameters
    ----------
    player_F
        Number of the player that each gate belongs to, 0 to n_players - 1, each at least once.
    orders
        Orders drawn; where there are no more than these, all are gone through.
    """
    from captum.attr import ShapleyValues, ShapleyValueSampling

    players = int(player_F.max()) + 1
    every = players <= 9 and math.factorial(players) <= orders  # of more, Captum would warn
    rows = torch.tensor([row], device=own_F.device)

    def of_sample(gate_MF: Tensor, row_M: Tensor) -> Tensor:
        return forward(gate_MF, row_M.expand(len(gate_MF)))

    captum = (ShapleyValues if every else ShapleyValueSampling)(of_sample)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        value_F = captum.attribute(
            own_F[None],
            baselines=other_F[None],
            additional_forward_args=(rows,),
            feature_mask=player_F[None],
            perturbations_per_eval=max(1, min(chunk_size, players)),
            **({} if every else {"n_samples": orders}),
        )[0]
    first = np.unique(player_F.cpu().numpy().ravel(), return_index=True)[1]
    return value_F.cpu().double().numpy().ravel()[first]


def occlude_gates(forward: Forward, own_BF: Tensor, other_BF: Tensor) -> GateAttributions:
    """What the output loses where one gate alone is as the reference has it."""
    rows, prediction, reference = _outputs_at_ends(forward, own_BF, other_BF, len(own_BF))
    B, F = own_BF.shape
    gate_BFF = own_BF[:, None].expand(B, F, F).clone()
    each = torch.arange(F, device=own_BF.device)
    gate_BFF[:, each, each] = other_BF
    with torch.no_grad():
        without = forward(gate_BFF.flatten(0, 1), rows.repeat_interleave(F)).view(B, F)
    return GateAttributions(prediction[:, None] - without.cpu().double(), prediction, reference)


@torch.no_grad()
def _outputs_at_ends(
    forward: Forward, own_BF: Tensor, other_BF: Tensor, chunk_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    rows = torch.arange(len(own_BF), device=own_BF.device)

    def output(gate_BF: Tensor) -> Tensor:
        return torch.cat([forward(gate_BF[rows_M], rows_M).cpu().double() for rows_M in rows.split(chunk_size)])

    return rows, output(own_BF), output(other_BF)


# -- of many batches ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BatchAttributions:
    """Attributions of the samples of one batch.

    Parameters
    ----------
    rows
        Their rows in the study.
    values
        Shape (n_samples of the batch, n_features).
    check
        As in `Attributions`.
    excess_gap
        As in `GateAttributions`.
    """

    rows: Ints
    values: sparse.csr_array
    check: pd.DataFrame
    excess_gap: float = 0.0


def check_sums(probe: Probe, prediction_B: Tensor, reference_B: Tensor, sum_B: Tensor) -> pd.DataFrame:
    """Whether attributions add up, one row per sample."""
    names = probe.output.names
    return pd.DataFrame(
        {
            "output": [names[k] for k in probe.output_B.tolist()],
            "prediction": prediction_B.numpy(),
            "reference": reference_B.numpy(),
            "sum": sum_B.numpy(),
            "gap": (prediction_B - reference_B - sum_B).numpy(),
        },
        index=pd.Index(probe.batch.sample_ids, name="sample_id"),
    )


def gather_gates(
    probe: Probe, gates: GateAttributions, has_BF: Bools, column_BF: Ints, width: int
) -> BatchAttributions:
    """Attributions of a batch's features from those of its gates.

    Parameters
    ----------
    has_BF
        Which gates hold something.
    column_BF
        Whose they are, 0 to `width` - 1; two gates of a sample may be one feature's.
    """
    ends = np.concatenate([[0], has_BF.sum(1).cumsum()])
    kept = gates.values_BF.flatten(1).numpy()[has_BF]
    values = sparse.csr_array((kept, column_BF[has_BF], ends), shape=(len(probe), width))
    values.sum_duplicates()
    check = check_sums(probe, gates.prediction_B, gates.reference_B, gates.values_BF.flatten(1).sum(1))
    return BatchAttributions(probe.batch.sample_B, values, check, gates.excess_gap)


@dataclass(frozen=True, eq=False)
class StudyAttributions:
    """Attributions of all samples, in the study's order.

    Parameters
    ----------
    values, check, features, members, mutations
        As in `Attributions`.
    asv_ids
        Columns of `members`.
    reference
        What predictions were compared with, in words.
    excess_gap
        As in `GateAttributions`, the largest of all batches.
    """

    values: sparse.csr_array
    check: pd.DataFrame
    asv_ids: pd.Index
    features: pd.DataFrame
    members: sparse.csr_array | None
    reference: str
    excess_gap: float = 0.0
    mutations: pd.DataFrame | None = None


def join_batches(batches: Sequence[BatchAttributions]) -> tuple[sparse.csr_array, pd.DataFrame, float]:
    """Values, check and largest excess gap of all samples, in the study's order."""
    order = np.argsort(np.concatenate([batch.rows for batch in batches]))
    values = sparse.csr_array(sparse.vstack([batch.values for batch in batches], format="csr")[order])
    check = pd.concat([batch.check for batch in batches]).iloc[order]
    return values, check, max(batch.excess_gap for batch in batches)
