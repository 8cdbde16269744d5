"""What each option of the encoder does: scales, positions, abundance, covariates, dropping, memory, compiling.

Letters: B samples, S ASVs of the largest sample, E entries, N distinct ASVs, P positions, D width.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import aam_nb as aam
from aam_nb.batch.batch import Batch
from aam_nb.batch.tokens import tokenize
from aam_nb.config import ModelConfig
from aam_nb.model import encoder as encoder_module
from aam_nb.model.covariates import CODES, NUMBERS, Covariates
from aam_nb.model.encoder import Encoder, LengthError, Maps
from aam_nb.model.layers import Attention, Blocks, rotate, rotation, sinusoids
from aam_nb.train.new_network import bound_weights

CLOSE = {"rtol": 1e-5, "atol": 2e-5}
SCALES: list[dict[str, Any]] = [
    {"scales": (4,)},
    {"scales": (1,), "positions": "learned"},
    {"scales": (1, 4), "window": 5},
    {"scales": (1, 4), "window": 5, "positions": "sinusoidal"},
    {"scales": (2, 6, 12), "window": 3, "positions": "learned"},
]


def make(seed: int = 0, **settings: Any) -> Encoder:
    """A small encoder with random weights."""
    torch.manual_seed(seed)
    covariates = settings.pop("covariates", None)
    config = aam.ModelConfig(**({"width": 16, "num_layers": 2, "num_attn_heads": 2} | settings))
    return Encoder(config, covariates).eval()


def dna(*lengths: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("ACGT"), size=n)) for n in lengths]


def tokens(*asvs: str) -> Tensor:
    return torch.from_numpy(tokenize(asvs))


def batch_of(asvs: list[str], sizes: list[int], seed: int = 0) -> Batch:
    """Samples of the given numbers of ASVs, drawn from `asvs`."""
    rng = np.random.default_rng(seed)
    asv_E = np.concatenate([rng.choice(len(asvs), size=n, replace=False) for n in sizes])
    counts_E = rng.integers(1, 100, len(asv_E))
    return Batch(
        tokens_NL=tokens(*asvs),
        asv_E=torch.from_numpy(asv_E),
        offsets_B1=torch.tensor([0, *np.cumsum(sizes)]),
        counts_E=torch.from_numpy(counts_E),
        total_B=torch.tensor([int(c.sum()) for c in np.split(counts_E, np.cumsum(sizes)[:-1])]),
        sample_B=np.arange(len(sizes)),
        asv_N=np.arange(len(asvs)),
        sample_ids=tuple(f"s{b}" for b in range(len(sizes))),
        targets={},
    )


def gradients(encoder: Encoder, batch: Batch) -> dict[str, Tensor]:
    """Of a loss that every output has a say in."""
    encoder.zero_grad()
    states = encoder(batch)
    assert states.nucleotide_NPD is not None
    loss = (states.sample_BD.sin().sum() + states.nucleotide_NPD.square().mean()) + states.entry_BSD[:, 0].cos().sum()
    loss.backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


def assert_alike(found: dict[str, Tensor], wanted: dict[str, Tensor], **tolerance: float) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], msg=lambda m, n=name: f"{n}: {m}", **tolerance)


# -- positions --------------------------------------------------------------------------------------------------------


def test_rotary_turns_are_those_of_complex_numbers() -> None:
    """Each pair at position p is multiplied by exp(i p / 10000^(k/K)); heads turn alike."""
    x = torch.randn(3, 7, 16, dtype=torch.double)
    pairs = x.numpy()[..., ::2] + 1j * x.numpy()[..., 1::2]
    k = np.tile(np.arange(4), 2)  # two heads of four pairs
    turned = pairs * np.exp(1j * np.arange(7)[:, None] * 10000.0 ** (-k / 4))
    want = np.stack([turned.real, turned.imag], -1).reshape(3, 7, 16)
    turn = rotation(7, 16, 2, x)
    np.testing.assert_allclose(rotate(x, turn), want, atol=1e-6)
    half = rotate(x.to(torch.bfloat16), turn.float())  # there, in real arithmetic
    assert half.dtype == torch.bfloat16
    np.testing.assert_allclose(half.float(), want, atol=0.06)


def test_sinusoids_are_vaswanis() -> None:
    found = sinusoids(50, 8, torch.zeros(()))
    for p in (0, 1, 49):
        for i in range(4):
            angle = p / 10000 ** (2 * i / 8)
            assert found[p, 2 * i] == pytest.approx(np.sin(angle), abs=1e-5)
            assert found[p, 2 * i + 1] == pytest.approx(np.cos(angle), abs=1e-5)


@pytest.mark.parametrize("scales", [(1,), (4,), (1, 4)])
@pytest.mark.parametrize("positions", ["rotary", "learned", "sinusoidal"])
@torch.no_grad()
def test_positions_tell_apart_what_has_the_same_letters(positions: str, scales: tuple[int, ...]) -> None:
    encoder = make(positions=positions, scales=scales, window=4)
    there, back = "ACGTTTGACCAT" * 2, ("CCATTTGAACGT" * 2)  # the same patches of four in another order
    a, b = encoder.asv(tokens(there, back))[0]
    assert (a - b).abs().max() > 1e-3


def test_learned_positions_refuse_what_they_do_not_reach() -> None:
    encoder = make(positions="learned", scales=(1, 4), learned_length=30)
    assert encoder.asv(tokens(*dna(30, 12)))[0].shape == (2, 16)
    with pytest.raises(LengthError, match=r"31 nucleotides.*learned_length=30.*positions=\"rotary\""):
        encoder.asv(tokens(*dna(31)))


# -- scales -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 4, 5, 12, 31])
@pytest.mark.parametrize("padded", [False, True])
def test_local_attention_is_full_attention_with_a_band(length: int, padded: bool) -> None:
    """Outputs and gradients, at edges and under padding; the oracle masks everything farther away than the reach."""
    torch.manual_seed(length)
    reach, width, heads, B = 4, 8, 2, 3
    local = Attention(width, heads, reach=reach).double()
    x = torch.randn(B, length, width, dtype=torch.double)
    filled = torch.ones(B, length, dtype=torch.bool)
    if padded:
        filled[0, max(1, length // 2) :] = False
        filled[1, max(1, length - 1) :] = False
    mask = filled[:, None, None, :] if padded else None
    turn = rotation(length, width, heads, x)
    found = local(x, mask, turn, None)[filled]
    found.square().sum().backward()
    got = {name: p.grad.clone() for name, p in local.named_parameters()}

    local.zero_grad()
    q, k, v = local.qkv(x).split(width, dim=-1)
    q, k = rotate(q, turn), rotate(k, turn)
    q, k, v = (t.view(B, length, heads, width // heads).transpose(1, 2) for t in (q, k, v))
    distance = (torch.arange(length)[:, None] - torch.arange(length)).abs()
    band = (distance <= reach) & filled[:, None, None, :] | (distance == 0)
    wide = F.scaled_dot_product_attention(q, k, v, attn_mask=band).transpose(1, 2).reshape(B, length, width)
    want = local.out(wide)[filled]
    want.square().sum().backward()
    torch.testing.assert_close(found, want)
    assert_alike(got, {name: p.grad for name, p in local.named_parameters()}, rtol=1e-6, atol=1e-9)


def test_local_attention_costs_as_much_as_the_length() -> None:
    """Four times the length, four times the products (counted by torch), where full attention takes sixteen."""
    from torch.utils.flop_counter import FlopCounterMode

    def cost(length: int) -> int:
        local = Attention(8, 2, reach=4)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            local(torch.randn(1, length, 8), None, None, None)
        return counter.get_total_flops()

    assert cost(400) == 4 * cost(100)


@pytest.mark.parametrize("settings", SCALES)
@torch.no_grad()
def test_states_of_nucleotides_have_the_finest_scale_and_depend_on_no_mate(settings: dict[str, Any]) -> None:
    encoder = make(**settings)
    asvs = dna(13, 40, 26)
    encoder.asv.set_reference(dna(55, 8, seed=5))
    together = encoder.asv(tokens(*asvs))[1]
    assert together.shape == (3, -(-40 // encoder.patch), 16)
    for asv, state in zip(asvs, together, strict=True):
        alone = encoder.asv(tokens(asv))[1][0]
        assert len(alone) == -(-len(asv) // encoder.patch)
        torch.testing.assert_close(state[: len(alone)], alone, **CLOSE)


@pytest.mark.parametrize("settings", SCALES)
@torch.no_grad()
def test_a_nucleotides_state_sees_the_whole_asv(settings: dict[str, Any]) -> None:
    """Even one farther away than the window."""
    encoder = make(**settings)
    (asv,) = dna(60)
    other = ("A" if asv[0] != "A" else "C") + asv[1:]
    a, b = encoder.asv(tokens(asv, other))[1]
    assert (a[-1] - b[-1]).abs().max() > 1e-5


@pytest.mark.parametrize(
    "settings", [{"scales": (4,)}, {"scales": (1, 4)}, {"scales": (4,), "positions": "sinusoidal"}]
)
@torch.no_grad()
def test_long_and_mixed_asvs_are_read_to_their_last_letter(settings: dict[str, Any]) -> None:
    """Full-length 16S (1,500) beside V4 (150) and short ITS."""
    encoder = make(num_layers=1, **settings)
    asvs = dna(1500, 150, 71)
    changed = [a[:-1] + ("A" if a[-1] != "A" else "C") for a in asvs]
    vectors, others = encoder.asv(tokens(*asvs))[0], encoder.asv(tokens(*changed))[0]
    assert ((vectors - others).abs().max(1).values > 1e-5).all()
    for asv, vector in zip(asvs, vectors, strict=True):
        torch.testing.assert_close(encoder.asv(tokens(asv))[0][0], vector, **CLOSE)


@pytest.mark.parametrize("settings", SCALES)
def test_encoding_asvs_by_the_dozen_changes_nothing(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU takes as many at once as its cache holds."""
    encoder = make(**settings).double()
    encoder.asv.set_reference(dna(20, 20, 31, seed=4))
    batch = batch_of(dna(*range(10, 38)), [28, 9, 1])
    at_once, asv = gradients(encoder, batch), encoder(batch).asv_ND
    monkeypatch.setattr(encoder_module, "IN_CACHE", 1)  # eight
    torch.testing.assert_close(encoder(batch).asv_ND, asv)
    assert_alike(gradients(encoder, batch), at_once, rtol=1e-7, atol=1e-10)


# -- abundance --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_film_starts_near_the_asv_itself() -> None:
    encoder, batch = make(abundance="film"), batch_of(dna(20, 20, 20), [3])
    asv_ND, _ = encoder.asv(batch.tokens_NL)
    (entry_SD,), _ = encoder.sample.entries(asv_ND, batch)
    asv_ED = asv_ND[batch.asv_E]
    change = (entry_SD - asv_ED).norm() / asv_ED.norm()
    assert 1e-4 < change < 0.2


@pytest.mark.parametrize("abundance", ["add", "concat", "film"])
@torch.no_grad()
def test_hidden_reads_leave_no_trace(abundance: str) -> None:
    encoder, batch = make(abundance=abundance), batch_of(dna(20, 22, 24, 25), [4, 2])
    hidden = replace(batch, hidden_E=torch.tensor([False, True, False, False, True, False]))
    want = encoder(hidden)

    def with_reads(entry: int) -> Tensor:
        counts_E = hidden.counts_E.clone()
        counts_E[entry] *= 3
        return encoder(replace(hidden, counts_E=counts_E)).sample_BD

    for entry in (1, 4):
        assert torch.equal(with_reads(entry), want.sample_BD)
    for entry in (0, 5):
        assert not torch.allclose(with_reads(entry), want.sample_BD, atol=1e-6)
    assert not torch.allclose(encoder(batch).sample_BD, want.sample_BD, atol=1e-6), "hidden is not the same as seen"


# -- covariates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fusion", "extra"), [("tokens", 3), ("concat", 1), ("gmu", 1)])
@torch.no_grad()
def test_covariates_move_the_samples_they_belong_to(fusion: str, extra: int) -> None:
    covariates = Covariates(names=("site", "ph"), categories={"site": ("a", "b")}, numbers={"ph": (0.0, 1.0)})
    encoder = make(covariates=covariates, fusion=fusion)
    assert encoder.num_extra_tokens == extra
    batch = batch_of(dna(20, 22, 24), [3, 2, 2])
    nan = float("nan")

    def vectors(codes: list[int], numbers: list[float]) -> Tensor:
        code_BC = torch.tensor([[k, 0] for k in codes])
        number_BC = torch.tensor([[nan, x] for x in numbers])
        targets = {CODES: code_BC, NUMBERS: number_BC}
        return encoder(replace(batch, targets=targets)).sample_BD

    base = vectors([1, 2, 0], [0.3, 0.3, nan])
    assert base.isfinite().all()
    for changed, sample in (
        (vectors([2, 2, 0], [0.3, 0.3, nan]), 0),
        (vectors([0, 2, 0], [0.3, 0.3, nan]), 0),
        (vectors([1, 2, 0], [0.3, 1.3, nan]), 1),
        (vectors([1, 2, 0], [0.3, nan, nan]), 1),
        (vectors([1, 2, 0], [0.3, 0.3, 0.0]), 2),
    ):
        moved = (changed - base).abs().amax(1) > 1e-5
        assert moved.tolist() == [b == sample for b in range(3)]


@torch.no_grad()
def test_a_gated_unit_weighs_sample_against_covariates() -> None:
    """Arevalo's GMU by hand: z tanh(W s) + (1 - z) tanh(V c), with z the logistic of both."""
    fusion = encoder_module.Fusion(4, 2, gated=True)
    s, c = torch.randn(3, 4), torch.randn(3, 2, 4)

    def affine(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
        return x @ layer.weight.numpy().T + layer.bias.numpy()

    flat = c.numpy().reshape(3, 8)
    z = 1 / (1 + np.exp(-affine(fusion.gate, np.concatenate([s.numpy(), flat], 1))))
    want = z * np.tanh(affine(fusion.sample, s.numpy())) + (1 - z) * np.tanh(affine(fusion.covariate, flat))
    np.testing.assert_allclose(fusion(s, c), want, atol=1e-6)


# -- dropping, memory -------------------------------------------------------------------------------------------------


def test_drop_path_skips_whole_blocks_row_by_row_and_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    blocks = Blocks(1, 8, 2, 0.0, 0.25).eval()
    x = torch.randn(1, 5, 8).expand(4000, -1, -1)
    with torch.no_grad():
        y = blocks(x[:1], None)
        dropped = blocks.train()(x, None)
    assert (y - x[0]).abs().max() > 0.1, "the block does something"
    skipped = (dropped == x).flatten(1).all(1)
    assert skipped.float().mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)
    torch.testing.assert_close(
        dropped[~skipped], (x[:1] + (y - x[:1]) / 0.75).expand(int((~skipped).sum()), -1, -1), **CLOSE
    )
    assert torch.equal(blocks.eval()(x[:2], None), blocks(x[:2], None)), "nothing is skipped in prediction"
    assert Blocks(4, 8, 2, 0.0, 0.2).skipped == pytest.approx([0.05, 0.1, 0.15, 0.2])


def test_dropout_is_for_training_alone() -> None:
    encoder, batch = make(dropout=0.3, drop_path=0.3), batch_of(dna(20, 21, 22), [3, 2])
    assert torch.equal(encoder(batch).sample_BD, encoder(batch).sample_BD)
    encoder.train()
    assert not torch.equal(encoder(batch).sample_BD, encoder(batch).sample_BD)


@pytest.mark.parametrize("settings", SCALES)
def test_checkpointing_changes_no_gradient(settings: dict[str, Any]) -> None:
    """With dropout and skipped blocks drawn again alike in the backward pass."""
    encoder = make(dropout=0.2, drop_path=0.3, **settings).train()
    batch = batch_of(dna(20, 21, 40), [3, 2, 2])
    found = []
    for checkpointing in (False, True):
        encoder.checkpointing = checkpointing
        torch.manual_seed(5)
        found.append(gradients(encoder, batch))
    assert_alike(found[1], found[0], rtol=1e-6, atol=1e-7)


def test_checkpointing_keeps_less() -> None:
    encoder, batch = make(num_layers=4), batch_of(dna(*[80] * 20), [20, 9])

    def kept(checkpointing: bool) -> int:
        encoder.checkpointing = checkpointing
        sizes: dict[int, int] = {}

        def pack(t: Tensor) -> Tensor:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            states = encoder.train()(batch)  # held while counting, so that no address is used twice
        assert states.sample_BD.requires_grad
        return sum(sizes.values())

    assert kept(True) < kept(False) / 2


# -- compiling --------------------------------------------------------------------------------------------------------


def stream(seed: int = 0) -> list[Batch]:
    """Batches of many sizes, with ASVs of one length and of several, down to a single sample of a single ASV."""
    rng = np.random.default_rng(seed)
    batches = []
    for i in range(16):
        N = int(rng.integers(2, 40))
        lengths = rng.integers(20, 70, N) if i % 2 else np.full(N, rng.integers(20, 70))
        sizes = [int(n) for n in rng.integers(1, N + 1, int(rng.integers(1, 20)))]
        batches.append(batch_of(dna(*lengths, seed=i), sizes, seed=i))
    return [*batches, batch_of(dna(33), [1])]


def compiled_like_eager(backend: str, settings: dict[str, Any]) -> int:
    """Compare a compiled encoder with its eager twin over a stream of batches; how many graphs the stream's second half added."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    eager, compiled = make(**settings), make(**settings)
    compiled.compile_blocks(backend=backend)
    assert compiled.state_dict().keys() == eager.state_dict().keys()
    counters.clear()
    batches, after_warm_up = stream(), 0
    for i, batch in enumerate(batches):
        for model in (eager, compiled):
            model.train(i % 3 != 2)
        if i % 3 == 2:
            with torch.no_grad():
                found, want = compiled(batch), eager(batch)
        else:
            found, want = compiled(batch), eager(batch)
            assert_alike(gradients(compiled, batch), gradients(eager, batch), rtol=1e-3, atol=1e-4)
        for name in ("sample_BD", "asv_ND", "entry_BSD", "nucleotide_NPD"):
            torch.testing.assert_close(getattr(found, name), getattr(want, name), rtol=1e-4, atol=1e-4)
        if i == len(batches) // 2:
            after_warm_up = counters["stats"]["unique_graphs"]
            assert after_warm_up > 0, "something was compiled"
    added = int(counters["stats"]["unique_graphs"]) - after_warm_up
    maps = Maps()
    with torch.no_grad():
        torch.testing.assert_close(compiled(batch, maps=maps).sample_BD, want.sample_BD, rtol=1e-4, atol=1e-4)
    assert len(maps.asv) == eager.config.num_layers
    return added


# Torch itself warns while it compiles (of its deprecated parts, and of `.grad` that it looks at).
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", [{"scales": (4,), "dropout": 0.0}, {"scales": (1, 4), "window": 5}])
def test_compiling_ends(settings: dict[str, Any]) -> None:
    """Graphs as torch captures them, run as they are (its code generator takes a minute; see the slow test)."""
    assert compiled_like_eager("eager", settings) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_is_eager() -> None:
    assert compiled_like_eager("inductor", {"scales": (4,), "num_layers": 1}) == 0


# -- what it needs ----------------------------------------------------------------------------------------------------


def test_the_model_needs_torch_and_numpy_alone() -> None:
    """On a GPU machine with no library of the field."""
    code = """
import sys
for name in ("pandas", "scipy", "h5py", "biom", "skbio", "sklearn", "accelerate", "safetensors"):
    sys.modules[name] = None
import torch
from aam_nb.batch.batch import Batch
from aam_nb.batch.tokens import tokenize
from aam_nb.config import ModelConfig
from aam_nb.config import ModelConfig
from aam_nb.model.encoder import Encoder
import aam_nb.model.layers
encoder = Encoder(ModelConfig.preset("tiny"))
print(tuple(encoder.asv(torch.from_numpy(tokenize(["ACGT", "ACGTACGT"])))[0].shape))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "(2, 32)", done.stderr


def test_asvs_with_too_many_positions_are_refused_with_the_scale_that_helps() -> None:
    from aam_nb.model.encoder import require_few_positions

    with pytest.raises(LengthError, match=r"60,000 nucleotides, 15,000 positions of 4 .*`--scales 64`"):
        require_few_positions(aam.ModelConfig(scales=(4,)), 60_000)
    require_few_positions(aam.ModelConfig(scales=(64,)), 60_000)
    asvs = pd.Index(["ACGT" * 5000, "ACGA" * 5000])
    ids = pd.Index(list("abcdef"))
    study = aam.Study(
        table=np.array([[1, 2], [2, 1], [3, 1], [1, 4], [5, 1], [1, 6]]),
        sample_ids=ids,
        asv_ids=asvs,
        metadata=pd.DataFrame({"y": [1.0, 2.0, 3.5, 2.5, 4.0, 1.5]}, ids),
    )
    with pytest.raises(LengthError, match="20,000 nucleotides"):
        aam.AAM(aam.ModelConfig(width=16, num_layers=1)).fit(
            study, target="y", config=aam.TrainConfig(epochs=1, progress=False)
        )


def test_the_reference_apart_gives_the_same_vectors() -> None:
    """Long ASVs are standardised by the spread of the reference without encoding it again."""
    encoder = (
        aam.AAM(aam.ModelConfig(width=16, num_layers=1))
        .fit(
            aam.simulate_study(n_samples=16, n_asvs=60, seed=0),
            target="age",
            config=aam.TrainConfig(epochs=1, progress=False, device="cpu"),
        )
        .network.encoder.asv.eval()
    )
    tokens = encoder.reference_RL[:5]
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.standardised(tokens, encoder.spread()), encoder(tokens)[0], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("scales", [(4,), (1,), (1, 4), (2, 8, 32), (150,)])
def test_the_bound_of_weights_is_above_them_in_every_shape(positions: Any, scales: tuple[int, ...]) -> None:
    for width, layers, joining in product((8, 64, 256), (1, 4), ("add", "concat", "film")):
        shape = ModelConfig(
            width=width,
            num_layers=layers,
            num_attn_heads=2,
            scales=scales,
            positions=positions,
            abundance=joining,  # type: ignore[arg-type]
        )
        with torch.device("meta"):
            num = sum(weights.numel() for weights in Encoder(shape, None).parameters())
        assert num <= bound_weights(shape) <= 12 * num
