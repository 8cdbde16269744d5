"""What the ragged batch of distinct ASVs saves, against the plain way in the same network.

The plain way: samples in random company, every slot of a batch (samples x ASVs of the largest) encoded, empty ones too.
`pytest -m bench -s tests/bench` prints the table.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import aam_nb as aam
from aam_nb.batch.batches import Batch, Batches
from aam_nb.model.module import Network
from aam_nb.study.study import Study

pytestmark = [pytest.mark.bench, pytest.mark.real, pytest.mark.slow]
CONFIG = aam.ModelConfig(width=64, num_layers=2)
SAMPLES = 32
STEPS = 7
PLAIN_BATCHES = 10
"""Batches of the whole study timed the plain way; the time of all is scaled up from these."""


@pytest.fixture(scope="module", autouse=True)
def all_threads() -> Iterator[None]:
    """One a core, or what OMP_NUM_THREADS says: on a busy machine threads wait for each other, and 1 is fairer."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def oral_age(real_data: Path) -> Study:
    folder = real_data / "oral_age"
    return aam.read_study(folder / "oral_age.biom", metadata=folder / "oral_age.tsv")


def plain(batch: Batch) -> Batch:
    """The same samples with B x S slots encoded, one by one."""
    size_B = batch.offsets_B1.diff()
    S = int(size_B.max())
    slot_E = torch.cat([b * S + torch.arange(int(n)) for b, n in enumerate(size_B)])
    tokens = torch.zeros(len(batch) * S, batch.tokens_NL.shape[1], dtype=torch.uint8)
    tokens[slot_E] = batch.tokens_NL[batch.asv_E]
    return replace(batch, tokens_NL=tokens, asv_E=slot_E)


def random_company(batches: Batches, count: int | None) -> list[npt.NDArray[np.int64]]:
    order = np.random.default_rng(0).permutation(len(batches.sizes))
    rows = [order[k : k + SAMPLES] for k in range(0, len(order), SAMPLES)]
    return rows[:-1][:count]


def seconds(work: Callable[[Batch], object], batches: Sequence[Batch]) -> list[float]:
    """Wall time of each batch; the first warms up and is not counted."""
    times = []
    for batch in [batches[0], *batches]:
        start = time.perf_counter()
        work(batch)
        times.append(time.perf_counter() - start)
    return times[1:]


def table(title: str, rows: list[tuple[str, float, str]], ratio: float) -> None:
    print(f"\n{title} ({torch.get_num_threads()} threads, torch {torch.__version__})")
    for name, took, note in rows:
        print(f"  {name:<34}{took:>10.3f} s   {note}")
    print(f"  {'ratio':<34}{ratio:>10.1f} x")


def test_a_training_step_is_four_times_as_fast(oral_age: Study) -> None:
    task = aam.Regression("age")
    task.learn(oral_age)
    network = Network(CONFIG, [task])
    network.encoder.asv.set_reference(oral_age.asv_ids[:: oral_age.num_asvs // 64][:64])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    batches = Batches(oral_age, batch_size=SAMPLES, max_entries=10**9, makers=[task.maker(oral_age)], shuffle=True)
    rng = np.random.default_rng(0)

    some = batches.make(batches.plan()[0], rng)
    with torch.no_grad():
        torch.testing.assert_close(
            network.encoder(plain(some)).sample_BD, network.encoder(some).sample_BD, rtol=1e-4, atol=1e-4
        )

    def step(batch: Batch) -> None:
        network(batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    ours = [batches.make(rows, rng) for rows in batches.plan() if len(rows) == SAMPLES][: 3 * STEPS]
    theirs = [plain(batches.make(rows, rng)) for rows in random_company(batches, STEPS)]
    fast, slow = statistics.median(seconds(step, ours)), statistics.median(seconds(step, theirs))
    encoded = [statistics.median(len(b.tokens_NL) for b in side) for side in (ours, theirs)]
    rows = [
        ("distinct ASVs, like sizes together", fast, f"{encoded[0]:.0f} ASVs encoded, median of {len(ours)} steps"),
        ("every slot, random company", slow, f"{encoded[1]:.0f} slots encoded, median of {len(theirs)} steps"),
    ]
    table(f"Training step of {SAMPLES} samples, oral_age", rows, slow / fast)
    assert slow / fast >= 4


def test_prediction_of_a_study_is_twelve_times_as_fast(oral_age: Study) -> None:
    config = aam.TrainConfig(epochs=1, batch_size=SAMPLES, progress=False)
    model = aam.AAM(CONFIG).fit(oral_age.keep_samples(oral_age.sample_ids[::40]), target="age", config=config)
    task, encoder = model.require_task(), model.network.encoder
    batches = Batches(oral_age, batch_size=SAMPLES, max_entries=10**9)
    theirs = [plain(batches.make(rows, np.random.default_rng(0))) for rows in random_company(batches, PLAIN_BATCHES)]

    @torch.no_grad()
    def predict(batch: Batch) -> npt.NDArray[np.float64]:
        return task.outputs(task(encoder(batch))).numpy()[:, 0]

    model.predict(oral_age.keep_samples(oral_age.sample_ids[:SAMPLES]))  # warm
    took = []
    for _ in range(3):
        start = time.perf_counter()
        found = model.predict(oral_age)["age"]
        took.append(time.perf_counter() - start)
    fast = statistics.median(took)
    for batch in theirs[:2]:
        np.testing.assert_allclose(predict(batch), found.loc[list(batch.sample_ids)], rtol=1e-4, atol=1e-4)
    per_sample = sum(seconds(predict, theirs)) / (PLAIN_BATCHES * SAMPLES)
    slow = per_sample * oral_age.num_samples
    rows = [
        ("AAM.predict", fast, f"{oral_age.num_samples} samples, median of 3"),
        (
            "every slot, random company",
            slow,
            f"scaled up from {PLAIN_BATCHES} of {-(-oral_age.num_samples // SAMPLES)} batches",
        ),
    ]
    table("Prediction of all of oral_age", rows, slow / fast)
    assert slow / fast >= 12
