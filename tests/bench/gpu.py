"""How fast the encoder trains on this machine's GPU, number format by number format, beside the plain way.

`python tests/bench/gpu.py [--quick] [--profile] [--out results.json]` in a checkout. It needs plain torch (2.11 or newer) and numpy,
nothing else that aam_nb uses, and makes its own data: samples of log-normal richness, ASVs of 150 nt of which a few are in most
samples and most in a few (a power law). Without a GPU it runs small sizes on the CPU.

The plain way: samples in random company, every slot of a batch (samples x ASVs of the largest) encoded, empty ones too.

Shape letters: B samples, S ASVs of the largest sample, E entries, N distinct ASVs, L nucleotides, D width.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout, not installed

from aam_nb.batch.batch import Batch, samples_of
from aam_nb.config import ModelConfig
from aam_nb.model.encoder import TOKEN_WIDTH, Encoder

REFERENCE = 64
"""Reference ASVs, as many as `AAM.fit` takes; they are encoded in each step."""
BUCKET = 16
"""Batches' worth of samples sorted by size together, as in training."""
PEAKS = {"fp32": 67.0, "tf32": 494.0, "bf16": 989.0}
"""TFLOP/s of an H100 SXM or an H200, dense: NVIDIA's H100 and H200 data sheets give twice as much for tf32 and bf16, with sparsity."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is made and timed."""

    samples: int = 1024
    asvs: int = 30_000
    length: int = 150
    richness: float = 120.0
    batch_size: int = 32
    plain_batches: int = 4
    max_positions: int = 2**19
    matmul: int = 8192
    repeats: int = 3


SMALL = Sizes(
    samples=64, asvs=200, length=40, richness=12, batch_size=8, plain_batches=2, max_positions=2**15, matmul=768
)
"""For a CPU."""


@dataclass(frozen=True)
class Result:
    """A line of the table. `share_of_matmul` and `share_of_peak` are of the same number format; None where there is no such number."""

    model: str
    fed: str
    precision: str
    samples_per_s: float
    tflops: float
    share_of_matmul: float
    share_of_peak: float | None
    peak_gib: float | None
    loss: float

    def __str__(self) -> str:
        peak = "-" if self.share_of_peak is None else f"{self.share_of_peak:.1%}"
        memory = "-" if self.peak_gib is None else f"{self.peak_gib:.2f} GiB"
        return (
            f"  {self.model:<8}{self.fed:<10}{self.precision:<15}{self.samples_per_s:>10.1f} samples/s{self.tflops:>9.3f} TFLOP/s"
            f"{self.share_of_matmul:>8.1%} of matmul{peak:>8} of peak{memory:>12}   loss {self.loss:.4f}"
        )


# -- data -------------------------------------------------------------------------------------------------------------


class Samples:
    """Made-up samples. The number that the head learns is the mean of a hidden score of a sample's ASVs."""

    def __init__(self, sizes: Sizes, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.tokens = rng.integers(1, 5, (sizes.asvs, sizes.length), dtype=np.uint8)
        popularity = np.arange(1, sizes.asvs + 1) ** -0.9
        richness = np.exp(rng.normal(np.log(sizes.richness), 0.7, sizes.samples)).astype(int).clip(2, sizes.asvs // 4)
        # The k largest of log p + Gumbel noise are k ASVs drawn by popularity, without putting back.
        logits = np.log(popularity)
        self.asvs = [np.argpartition(-(logits + rng.gumbel(size=sizes.asvs)), k)[:k] for k in richness]
        self.counts = [1 + np.exp(rng.normal(2, 1.5, k)).astype(np.int64) for k in richness]
        score = rng.normal(size=sizes.asvs)
        self.target = np.array([score[a].mean() * len(a) ** 0.5 for a in self.asvs], dtype=np.float32)
        self.sizes = richness

    def batch(self, rows: Sequence[int]) -> Batch:
        """The batch of these samples, made by hand."""
        asv_N, asv_E = np.unique(np.concatenate([self.asvs[r] for r in rows]), return_inverse=True)
        counts = [self.counts[r] for r in rows]
        return Batch(
            tokens_NL=torch.from_numpy(self.tokens[asv_N]),
            asv_E=torch.from_numpy(asv_E.reshape(-1)),
            offsets_B1=torch.from_numpy(np.concatenate([[0], np.cumsum([len(c) for c in counts])])),
            counts_E=torch.from_numpy(np.concatenate(counts)),
            total_B=torch.tensor([int(c.sum()) for c in counts]),
            sample_B=np.asarray(rows, dtype=np.int64),
            asv_N=asv_N,
            sample_ids=tuple(f"s{r}" for r in rows),
            targets={"y": torch.from_numpy(self.target[list(rows)])},
        )

    def like_sized(self, batch_size: int) -> list[Batch]:
        """All full batches as in training: like-sized samples together, buckets in random order."""
        order, found = np.random.default_rng(1).permutation(len(self.sizes)), []
        for start in range(0, len(order), BUCKET * batch_size):
            part = order[start : start + BUCKET * batch_size]
            part = part[np.argsort(self.sizes[part], kind="stable")]
            found += [self.batch(part[i : i + batch_size]) for i in range(0, len(part), batch_size)]
        found = [b for b in found if len(b) == batch_size]
        return [found[k] for k in np.random.default_rng(2).permutation(len(found))]

    def random_company(self, batch_size: int, count: int) -> list[Batch]:
        """A few batches of samples as they come."""
        order = np.random.default_rng(1).permutation(len(self.sizes))
        return [self.batch(order[k * batch_size : (k + 1) * batch_size]) for k in range(count)]


def plain(batch: Batch, slots: int | None = None) -> Batch:
    """The same samples with every slot encoded by itself, B x `slots` of them: by default as many as the largest sample needs."""
    size_B = batch.offsets_B1.diff()
    S = slots or int(size_B.max())
    slot_E = torch.cat([b * S + torch.arange(int(n)) for b, n in enumerate(size_B)])
    tokens = torch.zeros(len(batch) * S, batch.tokens_NL.shape[1], dtype=torch.uint8)
    tokens[slot_E] = batch.tokens_NL[batch.asv_E]
    return replace(batch, tokens_NL=tokens, asv_E=slot_E)


def plain_parts(batch: Batch, positions: int, max_positions: int) -> list[Batch]:
    """`plain`, in parts that memory can hold: an even share of the samples each, padded to the largest of the whole batch."""
    S = int(batch.offsets_B1.diff().max())
    count = min(len(batch), -(-len(batch) * S * positions // max_positions))
    ends = np.linspace(0, len(batch), count + 1).round().astype(int)
    return [plain(samples_of(batch, a, b) if count > 1 else batch, S) for a, b in pairwise(ends)]


# -- arithmetic -------------------------------------------------------------------------------------------------------


def asv_flops(config: ModelConfig, num_asvs: int, length: int) -> float:
    """Floating-point operations of encoding ASVs, by formula: matrix products alone, a multiply and an add counted as two.

    A block of D numbers a row among K keys takes 24 D^2 + 4 K D for each row (queries, keys, values and output 8 D^2, the MLP 16 D^2,
    logits and their use 4 K D). To that come the stem and the pool. One scale alone.
    """
    D, patch = config.width, config.scales[-1]
    P = -(-length // patch)
    pool = 4 * D * D + 4 * D
    row = 2 * patch * TOKEN_WIDTH * D + config.num_layers * (24 * D * D + 4 * P * D) + pool
    return num_asvs * (P * row + 2 * D * D)


def sample_flops(config: ModelConfig, sizes: Sequence[int]) -> float:
    """As `asv_flops`, of the sample stage: `sizes` are the ASVs of each sample, whose abundances go through an MLP of their own."""
    D, K = config.width, config.num_layers
    keys = np.asarray(sizes, dtype=float) + 1  # the sample token
    rows = 24 * D * D * keys.sum() + 4 * D * (keys**2).sum()
    entries = (keys - 1).sum() * (2 * D * D + 2 * D)
    return float(entries + K * rows + keys.sum() * (4 * D * D + 4 * D) + len(keys) * 2 * D * D)


def step_flops(config: ModelConfig, batch: Batch, *, num_reference: int) -> float:
    """Of a training step on a batch whose rows of tokens are each encoded once. The backward pass takes twice the forward; what is
    padding in the sample stage does not count."""
    asvs = asv_flops(config, len(batch.tokens_NL) + num_reference, batch.tokens_NL.shape[1])
    return 3 * (asvs + sample_flops(config, batch.offsets_B1.diff().tolist()))


def matmul_flops(n: int, device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP/s of a product of two n x n matrices, the best of several."""
    a = torch.randn(n, n, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(repeats + 1):
        with Clock(device) as clock:
            a @ a
        best = min(best, clock.seconds)
    return 2 * n**3 / best


class Clock:
    """Wall time of what is inside, all kernels ended."""

    seconds = 0.0

    def __init__(self, device: torch.device) -> None:
        self.wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def __enter__(self) -> Clock:
        self.wait()
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self.seconds = time.perf_counter() - self.start


# -- training ---------------------------------------------------------------------------------------------------------


class Model(nn.Module):
    """The encoder under a head for one number."""

    def __init__(self, config: ModelConfig, reference_RL: Tensor) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = Encoder(config)
        self.encoder.asv.reference_RL = reference_RL
        self.head = nn.Linear(config.width, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Sum of squared errors."""
        found = self.head(self.encoder(batch).sample_BD).float()[:, 0]
        return (found - batch.targets["y"]).square().sum()


def train_step(
    model: Model, optimizer: torch.optim.Optimizer, parts: Sequence[Batch], device: torch.device, *, bf16: bool
) -> Tensor:
    """One step on a batch that is computed in parts; the loss, left on the device."""
    total = torch.zeros((), device=device)
    for part in parts:
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            loss = model(part.to(device)) / sum(map(len, parts))
        loss.backward()
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return total


def modes(device: torch.device) -> Iterator[tuple[str, str]]:
    """Names of the ways to compute, each with the number format of its matrix products."""
    yield "fp32", "fp32"
    if device.type == "cuda":
        yield "tf32", "tf32"
    yield "bf16", "bf16"
    yield "bf16+compile", "bf16"


def measure(
    name: str, config: ModelConfig, data: Samples, sizes: Sizes, device: torch.device, *, profile: bool
) -> list[Result]:
    """All ways of one model, the distinct ASVs before the plain way."""
    positions = -(-sizes.length // config.scales[0])
    bound = sizes.max_positions * 128 // max(128, config.width)
    ours = [[b] for b in data.like_sized(sizes.batch_size)]
    theirs = [plain_parts(b, positions, bound) for b in data.random_company(sizes.batch_size, sizes.plain_batches)]
    reference = torch.from_numpy(data.tokens[:REFERENCE])
    require_same(Model(config, reference).to(device), samples_of(ours[0][0], 0, 2), device)
    results = []
    for mode, dtype in modes(device):
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        product = matmul_flops(sizes.matmul, device, torch.bfloat16 if dtype == "bf16" else torch.float32)
        for fed, batches in (("distinct", ours), ("plain", theirs)):
            model = Model(config, reference).to(device)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
            if "compile" in mode:
                model.encoder.compile_blocks("inductor" if device.type == "cuda" else "aot_eager")
            warm = batches if "compile" in mode else batches[:2]
            for parts in warm:
                train_step(model, optimizer, parts, device, bf16=dtype == "bf16")
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            with Clock(device) as clock:
                for _ in range(sizes.repeats):
                    for parts in batches:
                        loss = train_step(model, optimizer, parts, device, bf16=dtype == "bf16")
            work = sizes.repeats * sum(
                step_flops(config, part, num_reference=REFERENCE) for parts in batches for part in parts
            )
            speed = work / clock.seconds
            peak = PEAKS[dtype] * 1e12 if is_sxm(device) else None
            results.append(
                Result(
                    model=name,
                    fed=fed,
                    precision=mode,
                    samples_per_s=sizes.repeats * len(batches) * sizes.batch_size / clock.seconds,
                    tflops=speed / 1e12,
                    share_of_matmul=speed / product,
                    share_of_peak=speed / peak if peak else None,
                    peak_gib=torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
                    loss=float(loss),
                )
            )
            print(results[-1], flush=True)
            if profile and fed == "distinct":
                show_profile(f"{name}, {mode}", lambda m=model, o=optimizer, d=dtype: run_few(m, o, ours, device, d))
            del model, optimizer
            torch.compiler.reset()
    return results


def require_same(model: Model, few: Batch, device: torch.device) -> None:
    """Both ways of feeding give the same vectors of samples, before they are timed."""
    with torch.no_grad():
        found, wanted = (model.encoder(b.to(device)).sample_BD for b in (few, plain(few)))
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=2e-3)


def run_few(
    model: Model, optimizer: torch.optim.Optimizer, batches: Sequence[Sequence[Batch]], device: torch.device, dtype: str
) -> None:
    """Three steps, for the profile."""
    for parts in batches[:3]:
        train_step(model, optimizer, parts, device, bf16=dtype == "bf16")


def show_profile(title: str, work: Callable[[], None]) -> None:
    """Print the kernels that took longest."""
    from torch.profiler import ProfilerActivity, profile

    cuda = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda) as seen:
        work()
    key = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    print(f"Profile of three steps: {title}")
    print(seen.key_averages().table(sort_by=key, row_limit=25, max_name_column_width=60))


def is_sxm(device: torch.device) -> bool:
    """Whether `PEAKS` are this card's."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return ("H100" in name or "H200" in name) and "PCIe" not in name and "NVL" not in name


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Run it; what was measured."""
    parser = argparse.ArgumentParser(description="Training speed of the encoder, number format by number format.")
    parser.add_argument("--quick", action="store_true", help="small sizes and one small model, to see that it runs")
    parser.add_argument("--profile", action="store_true", help="print the kernels that take longest")
    parser.add_argument("--out", type=Path, help="JSON to write the results to")
    given = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = given.quick or device.type == "cpu"
    sizes = SMALL if small else Sizes()
    if given.quick:
        models = {"tiny": ModelConfig.preset("tiny")}
        sizes = replace(sizes, repeats=1)
    elif device.type == "cpu":
        models = {"tiny": ModelConfig.preset("tiny"), "small": ModelConfig.preset("small")}
    else:
        wide = ModelConfig(width=512, num_layers=8, num_attn_heads=8, scales=(1,))
        models = {"aam": ModelConfig.preset("aam"), "wide": wide}
    about: dict[str, Any] = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        "sizes": asdict(sizes),
        "models": {name: asdict(config) for name, config in models.items()},
        "peaks_tflops": PEAKS if is_sxm(device) else None,
    }
    print(f"{about['device']}, torch {torch.__version__}, {sizes}")
    data = Samples(sizes)
    encoded = sum(len(b.tokens_NL) for b in data.like_sized(sizes.batch_size))
    print(
        f"Samples of {data.sizes.min()} to {data.sizes.max()} ASVs; {encoded:,} are encoded in an epoch of distinct ASVs"
    )
    results = [r for name, c in models.items() for r in measure(name, c, data, sizes, device, profile=given.profile)]
    if given.out:
        given.out.write_text(json.dumps({**about, "results": [asdict(r) for r in results]}, indent=1), encoding="utf-8")
    return results


if __name__ == "__main__":
    main()
