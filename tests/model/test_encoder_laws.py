"""Laws of the encoder: order, padding and context change nothing, and no shortcut changes a gradient. They hold for every shape.

Letters: B samples, S ASVs of the largest sample, E entries, N distinct ASVs, D width.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import Tensor

import aam_nb as aam
from aam_nb.batch.batch import Batch
from aam_nb.batch.batches import Batches
from aam_nb.batch.tokens import tokenize
from aam_nb.model import layers
from aam_nb.model.covariates import Covariates
from aam_nb.model.encoder import Maps
from aam_nb.model.module import Network
from aam_nb.study.study import Study

SHAPES: dict[str, dict[str, object]] = {
    "patches": {},
    "nucleotides, learned": {"scales": (1,), "positions": "learned", "learned_length": 57},
    "two scales, film": {"scales": (1, 4), "window": 3, "abundance": "film"},
    "three scales, sinusoidal, concat": {
        "scales": (1, 2, 6),
        "window": 2,
        "positions": "sinusoidal",
        "abundance": "concat",
    },
    "covariates as tokens": {"fusion": "tokens"},
    "covariates, concat": {"fusion": "concat"},
    "covariates, gmu": {"fusion": "gmu"},
}
COVARIATES = ("kind", "z")
CLOSE = {"rtol": 1e-5, "atol": 2e-5}


@pytest.fixture(scope="module")
def mixed() -> Study:
    """Nine samples of 1 to 14 ASVs that are 9 to 30 nucleotides long, with numbers and classes, some of them missing."""
    rng = np.random.default_rng(3)
    asvs = ["".join(rng.choice(list("ACGT"), size=9 + k)) for k in range(22)]
    sizes = [1, 14, 3, 3, 7, 10, 2, 5, 12]
    counts = np.zeros((len(sizes), len(asvs)), dtype=int)
    for row, size in zip(counts, sizes, strict=True):
        row[rng.permutation(len(asvs))[:size]] = rng.integers(1, 200, size=size)
    ids = pd.Index([f"s{i}" for i in range(len(sizes))])
    z = np.where(np.arange(len(ids)) == 5, np.nan, rng.normal(size=len(ids)))
    metadata = pd.DataFrame({"y": rng.normal(size=len(ids)), "kind": [*"abcab", None, *"abc"], "z": z}, index=ids)
    return Study(sparse.csr_array(counts), ids, pd.Index(asvs), metadata)


@pytest.fixture(scope="module", params=SHAPES)
def network(request: pytest.FixtureRequest, mixed: Study) -> Network:
    """Random weights, larger than at the start of training so that every part has a say; a reference of six ASVs."""
    config = aam.ModelConfig(width=16, num_layers=2, num_attn_heads=2, **SHAPES[request.param])
    covariates = Covariates.learn(mixed, COVARIATES) if "covariates" in request.param else None
    network = Network(config, [aam.Regression("y")], covariates=covariates, seed=7)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.15 * torch.randn(p.shape, generator=generator))
        network.encoder.asv.token.weight[0] = 0  # the padding's, as always
    network.encoder.asv.set_reference(mixed.asv_ids[2:8])
    return network.eval()


def one_batch(study: Study, rows: list[int] | None = None) -> Batch:
    """The given samples (by default all), in that order, with the regression target and covariates."""
    makers = [aam.Regression("y").maker(study), Covariates.learn(study, COVARIATES).maker(study)]
    batches = Batches(study, config=aam.TrainConfig(batch_size=99, asv_dropout=0), makers=makers)
    chosen = np.arange(study.num_samples) if rows is None else np.array(rows)
    return batches.make(chosen, np.random.default_rng(0))


@torch.no_grad()
def vectors(network: Network, batch: Batch) -> Tensor:
    return network.encoder(batch).sample_BD


def plain(batch: Batch) -> Batch:
    """The batch the plain way: each occurrence of an ASV encoded by itself."""
    return replace(batch, tokens_NL=batch.tokens_NL[batch.asv_E], asv_E=torch.arange(len(batch.asv_E)))


def padded(batch: Batch) -> Batch:
    """The batch the padded plain way: B x S slots encoded, empty ones too, and all padded to one length."""
    size_B = batch.offsets_B1.diff()
    S = int(size_B.max())
    slot_E = torch.cat([b * S + torch.arange(int(n)) for b, n in enumerate(size_B)])
    tokens = torch.zeros(len(batch) * S, batch.tokens_NL.shape[1] + 5, dtype=torch.uint8)
    tokens[slot_E, : batch.tokens_NL.shape[1]] = batch.tokens_NL[batch.asv_E]
    return replace(batch, tokens_NL=tokens, asv_E=slot_E)


def test_samples_differ_and_so_do_asvs(network: Network, mixed: Study) -> None:
    """Without this the laws below would hold for a network that says the same of everything."""
    batch = one_batch(mixed)
    apart = torch.cdist(vectors(network, batch), vectors(network, batch)) + torch.eye(len(batch)) * 9
    assert apart.min() > 0.05
    with torch.no_grad():
        asv_ND = network.encoder.asv(batch.tokens_NL)[0]
    assert (torch.cdist(asv_ND, asv_ND) + torch.eye(len(asv_ND)) * 9).min() > 0.05


def test_order_of_a_samples_asvs_changes_nothing(network: Network, mixed: Study) -> None:
    batch = one_batch(mixed)
    rng, ends = np.random.default_rng(0), batch.offsets_B1.tolist()
    order = np.concatenate([a + rng.permutation(b - a) for a, b in pairwise(ends)])
    mixed_up = replace(batch, asv_E=batch.asv_E[order], counts_E=batch.counts_E[order])
    assert not torch.equal(mixed_up.asv_E, batch.asv_E)
    torch.testing.assert_close(vectors(network, mixed_up), vectors(network, batch), **CLOSE)


def test_order_of_the_tables_columns_changes_nothing(network: Network, mixed: Study) -> None:
    order = np.random.default_rng(0).permutation(mixed.num_asvs)
    turned = Study(mixed.table[:, order], mixed.sample_ids, mixed.asv_ids[order], mixed.metadata)
    torch.testing.assert_close(vectors(network, one_batch(turned)), vectors(network, one_batch(mixed)), **CLOSE)


def test_reads_matter_only_as_shares(network: Network, mixed: Study) -> None:
    """Ten times the reads is the same sample; another share is not."""
    tenfold = Study(mixed.table * 10, mixed.sample_ids, mixed.asv_ids, mixed.metadata)
    want = vectors(network, one_batch(mixed))
    torch.testing.assert_close(vectors(network, one_batch(tenfold)), want, **CLOSE)
    counts = mixed.table.toarray()
    counts[1, np.flatnonzero(counts[1])[0]] *= 7
    other = vectors(
        network, one_batch(Study(sparse.csr_array(counts), mixed.sample_ids, mixed.asv_ids, mixed.metadata))
    )
    assert (other[1] - want[1]).abs().max() > 1e-3


@pytest.mark.parametrize("reference", ["short", "like", "none"])
def test_an_asvs_vector_does_not_depend_on_the_length_of_its_mates(
    network: Network, mixed: Study, reference: str
) -> None:
    """Alone it needs no mask (all of one length); beside longer ones it is padded and masked."""
    asv = copy.deepcopy(network.encoder.asv).double()  # a reference of two is a small spread to divide by
    asv.set_reference({"short": mixed.asv_ids[:3], "like": ["ACGTTGCAACGT", "TTTTACGTACGG"], "none": []}[reference])
    row = "ACGTACGTTGCA"
    both = torch.from_numpy(tokenize([row, row * 4 + "A"]))
    with torch.no_grad():
        torch.testing.assert_close(asv(both)[0][:1], asv(both[:1, : len(row)])[0], **CLOSE)


def test_a_batch_is_its_samples_one_by_one(network: Network, mixed: Study) -> None:
    """Company brings other sizes and other lengths of ASVs, so this is the law of padding at both stages."""
    alone = torch.cat([vectors(network, one_batch(mixed, [i])) for i in range(mixed.num_samples)])
    torch.testing.assert_close(vectors(network, one_batch(mixed)), alone, **CLOSE)


def test_no_sample_sees_another(network: Network, mixed: Study) -> None:
    counts = mixed.table.toarray()
    counts[4] = np.roll(counts[4], 3) * 2 + (np.arange(mixed.num_asvs) % 5 == 0)
    changed = Study(sparse.csr_array(counts), mixed.sample_ids, mixed.asv_ids, mixed.metadata)
    before, after = vectors(network, one_batch(mixed)), vectors(network, one_batch(changed))
    others = np.arange(mixed.num_samples) != 4
    torch.testing.assert_close(after[others], before[others], **CLOSE)
    assert (after[4] - before[4]).abs().max() > 1e-2


def test_vectors_made_earlier_equal_those_made_in_place(network: Network, mixed: Study) -> None:
    config, makers = aam.TrainConfig(batch_size=4, asv_dropout=0), [Covariates.learn(mixed, COVARIATES).maker(mixed)]
    with torch.no_grad():
        asv_AD = network.encoder.asv(torch.from_numpy(tokenize(mixed.asv_ids)))[0]
    for batch in Batches(mixed, config=config, makers=makers):
        with torch.no_grad():
            early = network.encoder(batch, asv_ND=asv_AD[batch.asv_N])
            torch.testing.assert_close(early.asv_ND, network.encoder.asv(batch.tokens_NL)[0], **CLOSE)
        torch.testing.assert_close(early.sample_BD, vectors(network, batch), **CLOSE)


@pytest.mark.parametrize("way", [plain, padded])
def test_encoding_each_asv_once_changes_no_output_and_no_gradient(network: Network, mixed: Study, way: object) -> None:
    batch = one_batch(mixed)
    batch = replace(batch, hidden_E=torch.arange(len(batch.asv_E)) % 5 == 2)
    assert len(batch.asv_E) > 2 * len(batch.tokens_NL), "ASVs repeat"
    network.double().train()
    try:
        found = []
        for form in (batch, way(batch)):  # type: ignore[operator]
            network.zero_grad()
            result = network(form)
            result.loss.backward()
            found.append((result.loss.detach(), {k: p.grad.clone() for k, p in network.named_parameters()}))
    finally:
        network.zero_grad()
        network.float().eval()
    (loss, gradients), (loss_plain, gradients_plain) = found
    assert float(loss) == pytest.approx(float(loss_plain), rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient, gradients_plain[name], rtol=1e-5, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}"
        )
    silent = [n for n, g in gradients.items() if not g.any() and not n.endswith("kv.bias")]
    assert not silent, "each parameter has a say"


@pytest.mark.parametrize("short", [0, 128])
def test_explicit_attention_equals_fused_and_its_rows_sum_to_one(
    network: Network, mixed: Study, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both paths that are taken without maps: torch's fused attention, and open products for few keys."""
    monkeypatch.setattr(layers, "SHORT", short)
    batch, maps = one_batch(mixed), Maps()
    with torch.no_grad():
        explicit, fused = network.encoder(batch, maps=maps), network.encoder(batch)
    torch.testing.assert_close(explicit.sample_BD, fused.sample_BD, **CLOSE)
    torch.testing.assert_close(explicit.asv_ND, fused.asv_ND, **CLOSE)
    config, extra = network.encoder.config, network.encoder.num_extra_tokens
    B, S, H = len(batch), int(batch.offsets_B1.diff().max()), config.num_attn_heads
    assert [tuple(m.shape) for m in maps.asv] == [(B, H, S + extra, S + extra)] * config.num_layers
    assert [tuple(m.shape) for m in maps.pool] == [(B, H, 1, S + extra)]
    assert len(maps.nucleotide) == config.num_layers
    assert len(maps.nucleotide_pool) == 1
    for weights in (*maps.asv, *maps.pool, *maps.nucleotide, *maps.nucleotide_pool):
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), **CLOSE)
        assert (weights >= 0).all()
    for b, size in enumerate(batch.offsets_B1.diff().tolist()):
        assert not maps.pool[0][b, :, 0, size + extra :].any(), "empty slots are not looked at"


def test_open_gates_are_no_gates(network: Network, mixed: Study) -> None:
    batch, encoder = one_batch(mixed), network.encoder
    with torch.no_grad():
        entry_BSD, filled_BS = encoder.sample.entries(encoder.asv(batch.tokens_NL)[0], batch)
        gated = encoder.encode_samples(batch, entry_BSD, filled_BS, torch.ones(filled_BS.shape))[0]
    torch.testing.assert_close(gated, vectors(network, batch), **CLOSE)


def test_a_shut_gate_is_the_sample_without_that_asv(network: Network, mixed: Study) -> None:
    """The others keep their shares: the total stays."""
    batch, encoder = one_batch(mixed, [1]), network.encoder
    for slot in (0, 5, len(batch.asv_E) - 1):
        keep = torch.arange(len(batch.asv_E)) != slot
        without = replace(
            batch, asv_E=batch.asv_E[keep], counts_E=batch.counts_E[keep], offsets_B1=torch.tensor([0, int(keep.sum())])
        )
        with torch.no_grad():
            entry_BSD, filled_BS = encoder.sample.entries(encoder.asv(batch.tokens_NL)[0], batch)
            gated = encoder.encode_samples(batch, entry_BSD, filled_BS, keep[None].float())[0]
        want = vectors(network, without)
        torch.testing.assert_close(gated, want, **CLOSE)
        assert (want - vectors(network, batch)).abs().max() > 1e-3


def test_reference_asvs_have_mean_zero_and_spread_one(network: Network, mixed: Study) -> None:
    """The reference is what vectors are standardised by."""
    asv = network.encoder.asv
    with torch.no_grad():
        found = asv(asv.reference_RL)[0].numpy()
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(0), 1, atol=0.05)


def test_weights_are_a_function_of_the_seed_alone() -> None:
    def weights(seed: int) -> list[Tensor]:
        torch.rand(5)  # whatever was drawn before
        return list(Network(aam.ModelConfig(width=16), [aam.Regression("y")], seed=seed).state_dict().values())

    assert all(torch.equal(a, b) for a, b in zip(weights(0), weights(0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(0), weights(1), strict=True))
