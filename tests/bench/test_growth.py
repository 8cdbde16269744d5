"""What grows with a study, and what does not: time of an epoch, memory, and the share of a step that loading takes.

`pytest -m bench -s tests/bench/test_growth.py` prints the tables. Each size is trained in a process of its own, whose peak memory counts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import aam_nb as aam
from aam_nb.batch.batches import Batches
from aam_nb.config import ModelConfig, TrainConfig
from aam_nb.model.module import Network
from aam_nb.model.objectives import make_objective

pytestmark = [pytest.mark.bench, pytest.mark.slow]
MIB = 2**20
BYTES_PER_POSITION = 12_000
"""Stated bound on what the default model (width 64, 2 layers) keeps for its backward pass, for each position of `max_tokens`."""
SLACK = 200 * MIB
"""Stated bound on the rest: the study, batches, weights, moments, the best epoch's weights, what torch loads on first use."""

TRAIN = """
import json, re, sys
import numpy as np, pandas as pd, torch
from scipy import sparse
import aam_nb as aam
from aam_nb.study.study import Study

samples, per_sample, asvs, batch_size, max_tokens, epochs, simulated = json.loads(sys.argv[1])

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

if simulated:
    study = aam.simulate_study(samples, asvs, seed=0, config=aam.SimulateConfig(max_depth=3000))
else:
    rng = np.random.default_rng(0)
    dna = np.array(list("ACGT"))[rng.integers(0, 4, (asvs, 100))]
    columns = np.concatenate([rng.choice(asvs, per_sample, replace=False) for _ in range(samples)])
    rows = np.repeat(np.arange(samples), per_sample)
    table = sparse.csr_array((rng.integers(1, 50, len(rows)), (rows, columns)), shape=(samples, asvs))
    ids = pd.Index([f"s{i}" for i in range(samples)])
    study = Study(table, ids, pd.Index(["".join(x) for x in dna]), pd.DataFrame({"age": rng.normal(size=samples)}, index=ids))
few = study.keep_samples(study.sample_ids[:8])
config = aam.TrainConfig(epochs=1, batch_size=2, max_tokens=1, patience=99, progress=False, device="cpu")
aam.AAM(aam.ModelConfig.preset("tiny")).fit(few, target="age", config=config)  # what is loaded on first use
before = peak()
config = aam.TrainConfig(epochs=epochs, batch_size=batch_size, max_tokens=max_tokens, patience=99, progress=False, device="cpu")
model = aam.AAM().fit(study, target="age", config=config)
seconds = model.history["seconds"].tolist()
print(json.dumps({"seconds": seconds, "before": before, "grown": peak() - before, "samples": len(model.samples["train"])}))
"""


def trained(
    samples: int, *, asvs: int, per_sample: int = 0, batch_size: int = 32, max_tokens: int = 131072, epochs: int = 1
) -> dict[str, float]:
    """Seconds of epochs and bytes of memory of a training in a process of its own; of a simulated study where `per_sample` is 0."""
    given = json.dumps([samples, per_sample, asvs, batch_size, max_tokens, epochs, not per_sample])
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, given],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_an_epoch_grows_with_the_samples_and_memory_does_not() -> None:
    """Twice the samples take twice the time: the exponent of a power law fitted to 1x, 2x, 4x and 8x is about 1."""
    sizes = [500, 1000, 2000, 4000]
    found = [trained(n, asvs=400, epochs=3) for n in sizes]
    seconds = [statistics.median(f["seconds"]) for f in found]
    samples = [f["samples"] for f in found]
    exponent = float(np.polyfit(np.log(samples), np.log(seconds), 1)[0])
    print(f"\nTraining of simulated studies of 400 ASVs (load {os.getloadavg()[0]:.1f})")
    for n, f, s in zip(sizes, found, seconds, strict=True):
        print(
            f"  {n:>5} samples: {s:7.2f} s an epoch ({s / seconds[0]:.2f} x), {1e3 * s / f['samples']:.2f} ms a sample, memory grows by "
            f"{f['grown'] / MIB:.0f} MiB from {f['before'] / MIB:.0f}"
        )
    print(f"  time ~ samples ^ {exponent:.3f}")
    assert 0.85 < exponent < 1.15
    assert all(f["grown"] < 131072 * BYTES_PER_POSITION + SLACK for f in found)
    assert found[-1]["grown"] - found[0]["grown"] < 50 * MIB, "eight times the samples, no more memory"


def test_max_tokens_bounds_memory() -> None:
    """Whatever the size of a batch; a sample larger than the bound is a part of its own, and then its size is the bound."""
    print("\nMemory of a step (default model)")
    for title, samples, per_sample, asvs, batch_size, max_tokens in [
        ("512 samples a batch, max_tokens=16384", 600, 60, 2000, 512, 16384),
        ("512 samples a batch, max_tokens=65536", 600, 60, 2000, 512, 65536),
        ("512 samples a batch, no bound", 600, 60, 2000, 512, 10**9),
        ("16 samples of 3,000 ASVs, max_tokens=16384", 32, 3000, 3200, 16, 16384),
    ]:
        grown = trained(samples, asvs=asvs, per_sample=per_sample, batch_size=batch_size, max_tokens=max_tokens)[
            "grown"
        ]
        alone = per_sample * (1 + 25)  # a sample by itself: its slots and the 25 patches of its 100 nt ASVs
        bounded = max_tokens < 10**9
        bound = max(max_tokens, alone) * BYTES_PER_POSITION + SLACK
        print(f"  {title:<45}{grown / MIB:7.0f} MiB" + (f"   bound {bound / MIB:.0f} MiB" if bounded else ""))
        if bounded:
            assert grown < bound


@pytest.mark.real
@pytest.mark.parametrize("rarefy", [0, 1000])
def test_loading_takes_less_than_a_twentieth_of_a_step(real_data: Path, rarefy: int) -> None:
    """With the targets of pre-training, UniFrac and masked nucleotides, made for each batch."""
    folder = real_data / "oral_age"
    study = aam.read_study(folder / "oral_age.biom", metadata=folder / "oral_age.tsv", tree=folder / "oral_age.nwk")
    objectives = [make_objective("unifrac"), make_objective("nucleotides")]
    for o in objectives:
        o.learn(study)
    network = Network(ModelConfig(width=64), objectives)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    config = TrainConfig(batch_size=32, rarefy=rarefy)
    batches = Batches(study, config=config, makers=[o.maker(study) for o in objectives], training=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    loading, steps = [], []
    try:
        for k in range(min(32, len(batches))):
            start = time.perf_counter()
            batch = batches.batch(k)
            made = time.perf_counter()
            network(batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if k >= 2:
                loading.append(made - start)
                steps.append(time.perf_counter() - start)
        share = sum(loading) / sum(steps)
        print(
            f"\nLoading, oral_age, 32 samples a batch, rarefy={rarefy} ({torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}): "
            f"{1e3 * statistics.median(loading):.2f} ms of {1e3 * statistics.median(steps):.1f} ms, {share:.1%}"
        )
    finally:
        torch.set_num_threads(threads)
    if not rarefy:  # fresh reads have fresh distances, which are computed anew for each batch
        assert share < 0.05
