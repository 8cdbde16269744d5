"""A batch computed in parts has the gradients of the whole, and gradients are those of finite differences: for every objective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY
from objective_cases import CASES, rich
from torch import Tensor, nn

import aam_nb as aam
from aam_nb.batch.batch import Batch, BatchContext
from aam_nb.batch.batches import Batches
from aam_nb.model.encoder import States
from aam_nb.model.module import Network
from aam_nb.model.objectives import mean_loss
from aam_nb.study.study import Study
from aam_nb.train.microbatches import cut_batch

WEIGHTED = [False, True]


def batch_of(study: Study, objective: aam.Objective, size: int = 7, *, weighted: bool = False) -> Batch:
    """A batch with its targets; `weighted` gives its samples weights."""
    objective.learn(study)
    config = aam.TrainConfig(asv_dropout=0.3, seed=1)
    makers = [objective.maker(study)]
    batches = Batches(study, config=config, makers=makers, training=True, views=objective.views)
    batch = batches.make(np.arange(size) * 5 % study.num_samples, np.random.default_rng(2))
    targets = {name: t.double() if t.is_floating_point() else t for name, t in batch.targets.items()}
    weight_B = torch.linspace(0.5, 2.0, len(batch), dtype=torch.float64) if weighted else None
    return replace(batch, targets=targets, weight_B=weight_B)


def in_parts(network: Network, batch: Batch, parts: list[Batch]) -> list[Batch]:
    """The parts, each knowing its share and, of samples that are compared, the vectors of all others."""
    bank: dict[str, Tensor] = {}
    objectives = network.objectives
    with torch.no_grad():
        for name, objective in objectives.items():
            if objective.pairwise:
                bank[name] = torch.cat([objective(network.encoder(part)) for part in parts])

    def share(name: str, part: Batch) -> float:
        objective = objectives[name]
        return 1.0 if objective.pairwise else objective.count(part) / objective.count(batch)

    return [
        replace(
            part,
            context=BatchContext(
                of=len(parts),
                shares={name: share(name, part) for name in objectives},
                gather=lambda name, x: bank[name],
            ),
        )
        for part in parts
    ]


@pytest.mark.parametrize("weighted", WEIGHTED, ids=["alike", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_parts_of_a_batch_add_up_to_its_gradient(name: str, weighted: bool, study: Study) -> None:
    objective, study = CASES[name](), rich(study)
    batch = batch_of(study, objective, weighted=weighted)
    network = Network(TINY, [objective], seed=3).double()
    network.encoder.asv.set_reference(study.asv_ids[:5])
    assert next(network.parameters()).dtype == torch.float64

    def gradients(batches: list[Batch]) -> dict[str, Tensor]:
        network.zero_grad()
        for b in batches:
            network(b).loss.backward()
        return {k: p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}

    whole = gradients([batch])
    assert any((g != 0).any() for k, g in whole.items() if k.startswith("encoder"))
    sizes = []
    for at_least in (2, 3, len(batch)):
        parts = cut_batch(batch, 10**9, patch=4, at_least=at_least)
        sizes.append(len(parts))
        found = gradients(in_parts(network, batch, parts))
        for k, want in whole.items():
            np.testing.assert_allclose(found[k], want, rtol=1e-8, atol=1e-10 * max(1.0, want.abs().max()), err_msg=k)
    assert sizes[0] >= 2
    assert sizes[-1] == len(batch)


class Loss(nn.Module):
    """An objective's loss as a function of the encoder's states."""

    def __init__(self, objective: aam.Objective, batch: Batch) -> None:
        super().__init__()
        self.objective, self.batch = objective, batch

    def forward(self, nucleotide_NPD: Tensor, asv_ND: Tensor, entry_BSD: Tensor, sample_BD: Tensor) -> Tensor:
        states = States(nucleotide_NPD=nucleotide_NPD, asv_ND=asv_ND, entry_BSD=entry_BSD, sample_BD=sample_BD)
        return mean_loss(self.objective, *self.objective.compare(states, self.batch), self.batch)


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_finite_differences(name: str, study: Study) -> None:
    """With respect to the encoder's states and to the head's weights."""
    objective = CASES[name]()
    batch = batch_of(rich(study), objective, 4, weighted=True)
    torch.manual_seed(0)
    objective.build(aam.ModelConfig(width=4, num_layers=1, num_attn_heads=2))
    loss = Loss(objective, batch).double()
    rows, N, S = len(batch), len(batch.asv_N), int(batch.offsets_B1.diff().max())
    shapes = [(N, -(-batch.tokens_NL.shape[1] // 4), 4), (N, 4), (rows, S, 4), (rows, 4)]
    states = [torch.randn(s, dtype=torch.float64) for s in shapes]
    weights = {k: p.detach() + 0.1 * torch.randn_like(p) for k, p in loss.named_parameters()}
    given = [*states, *weights.values()]

    def value(*x: Tensor) -> Tensor:
        return torch.func.functional_call(loss, dict(zip(weights, x[4:], strict=True)), x[:4])

    grads = torch.autograd.grad(value(*[x.requires_grad_() for x in given]), given, allow_unused=True)
    assert sum(g is not None for g in grads) > 1
    rng = np.random.default_rng(0)
    step = 1e-6
    for x, grad in zip(given, grads, strict=True):
        if grad is None:
            continue
        # The places that matter most, and some others.
        places = {
            *grad.abs().flatten().topk(min(6, grad.numel())).indices.tolist(),
            *rng.integers(grad.numel(), size=6),
        }
        for i in places:
            ends = []
            for sign in (1, -1):
                moved = [y.detach().clone() for y in given]
                moved[[y is x for y in given].index(True)].view(-1)[i] += sign * step
                ends.append(float(value(*moved)))
            slope = (ends[0] - ends[1]) / (2 * step)
            assert float(grad.flatten()[i]) == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_a_masked_asv_is_hidden_alike_in_all_parts(study: Study) -> None:
    objective = aam.MaskedNucleotides()
    batch = batch_of(study, objective)
    for part in cut_batch(batch, 10**9, patch=4, at_least=4):
        places = [int(np.flatnonzero(batch.asv_N == a)[0]) for a in part.asv_N]
        assert torch.equal(part.targets["nucleotides"], batch.targets["nucleotides"][places])
        assert torch.equal(part.tokens_NL, batch.tokens_NL[places, : part.tokens_NL.shape[1]])


def test_by_occurrence_the_loss_is_that_of_every_occurrence_encoded(study: Study) -> None:
    """The same reads and masks in a batch in which an ASV stands as often as samples hold it."""
    objective = aam.MaskedNucleotides(weigh="occurrences")
    batch = batch_of(study, objective)
    assert len(batch.asv_E) > len(batch.asv_N)
    plain = replace(
        batch,
        tokens_NL=batch.tokens_NL[batch.asv_E],
        asv_N=batch.asv_N[batch.asv_E.numpy()],
        asv_E=torch.arange(len(batch.asv_E)),
        targets={
            "nucleotides": batch.targets["nucleotides"][batch.asv_E],
            "nucleotides.weight": torch.ones(len(batch.asv_E)),
        },
    )
    network = Network(TINY, [objective], seed=3).double()

    def run(b: Batch) -> tuple[float, list[Tensor]]:
        network.zero_grad()
        loss = network(b).loss
        loss.backward()
        return loss.item(), [p.grad.clone() for p in network.parameters() if p.grad is not None]

    (one, gradient), (other, want) = run(batch), run(plain)
    assert one == pytest.approx(other, rel=1e-12)
    for a, b in zip(gradient, want, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
