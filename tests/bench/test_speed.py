"""What the ragged batch of distinct ASVs saves, against the plain way in the same network, and how well a step uses the machine.

The plain way: samples in random company, every slot of a batch (samples x ASVs of the largest) encoded, empty ones too.
`pytest -m bench -s tests/bench/test_speed.py` prints the tables. Both ways are timed in turn, so that a busy machine slows both.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu import asv_flops, matmul_flops, plain_parts, sample_flops, step_flops

import aam_nb as aam
from aam_nb.batch.batch import Batch, samples_of
from aam_nb.batch.batches import Batches
from aam_nb.config import ModelConfig, TrainConfig
from aam_nb.model.module import Network
from aam_nb.study.study import Study
from aam_nb.train.asv_cache import AsvVectors
from aam_nb.train.callbacks import Callback
from aam_nb.train.new_network import NUM_REFERENCE_ASVS
from aam_nb.train.trainer import Trainer

pytestmark = [pytest.mark.bench, pytest.mark.real, pytest.mark.slow]
SAMPLES = 32
TARGETS = {"oral_age": "age", "ecam": "day_of_life", "soils88": "ph"}
CONFIG = TrainConfig(batch_size=SAMPLES, asv_dropout=0.0, validation=0.1, patience=99, progress=False, device="cpu")
CPU = torch.device("cpu")
MAX_POSITIONS = 2**18
"""Positions of the plain way computed at once, by the width of 64; what a whole batch needs may not fit in memory."""


@pytest.fixture(scope="module", autouse=True)
def all_threads() -> Iterator[None]:
    """One a core, or what OMP_NUM_THREADS says: on a busy machine threads wait for each other, and 1 is fairer."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def studies(real_data: Path) -> Callable[[str], Study]:
    def read(name: str) -> Study:
        folder = real_data / name
        study = aam.read_study(folder / f"{name}.biom", metadata=folder / f"{name}.tsv")
        known = study.metadata[TARGETS[name]].notna().to_numpy() & (study.depth.to_numpy() > 0)
        return study.keep_samples(known)

    return read


def a_network(study: Study, target: str, model: ModelConfig) -> Network:
    """With as many reference ASVs as `fit` takes."""
    task = aam.Regression(target)
    task.learn(study)
    network = Network(model, [task])
    network.encoder.asv.set_reference(
        study.asv_ids[:: max(1, study.num_asvs // NUM_REFERENCE_ASVS)][:NUM_REFERENCE_ASVS]
    )
    return network


def a_step(network: Network) -> Callable[[Sequence[Batch]], None]:
    """Forward, backward, clip and update, as the trainer's, of a batch in parts."""
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4, fused=True)

    def step(parts: Sequence[Batch]) -> None:
        for part in parts:
            (network(part).loss * len(part) / sum(map(len, parts))).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def full(batches: Batches) -> list[Batch]:
    """An epoch's batches, without the last ones that are not full."""
    return [b for b in batches if len(b) == SAMPLES]


def plain_way(batches: Batches, model: ModelConfig, count: int) -> list[list[Batch]]:
    """`count` batches (fewer where the study is small) of samples in random company, every slot a row of tokens."""
    order = np.random.default_rng(0).permutation(len(batches.sizes))
    rows = [order[k : k + SAMPLES] for k in range(0, len(order) - SAMPLES + 1, SAMPLES)][:count]
    positions = -(-batches.tokens.shape[1] // model.scales[0])
    bound = MAX_POSITIONS * 64 // model.width
    return [plain_parts(batches.make(r, np.random.default_rng(0)), positions, bound) for r in rows]


def require_same_gradients(network: Network, batch: Batch, model: ModelConfig) -> None:
    """A few samples, fed both ways, give the same loss and gradients."""
    few = samples_of(batch, 0, 4)
    found = []
    for fed in (few, *plain_parts(few, 1, 10**9)):
        network.zero_grad()
        result = network(fed)
        result.loss.backward()
        found.append([result.loss.detach(), *(p.grad for p in network.parameters() if p.grad is not None)])
    network.zero_grad()
    scale = max(float(g.abs().max()) for g in found[1][1:])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * scale)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(
    step: Callable[[Sequence[Batch]], object], ours: list[list[Batch]], theirs: list[list[Batch]]
) -> tuple[list[float], list[float]]:
    """Seconds of each batch; ours are spread evenly between theirs. One of each warms up."""
    step(ours[0])
    step(theirs[0])
    fast, slow = [], []
    for k, batch in enumerate(theirs):
        slow.append(seconds(lambda b=batch: step(b)))
        for i in range(k * len(ours) // len(theirs), (k + 1) * len(ours) // len(theirs)):
            fast.append(seconds(lambda b=ours[i]: step(b)))
    return fast, slow


def table(title: str, rows: list[tuple[str, float, str]], ratios: dict[str, float]) -> None:
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"\n{title} ({torch.get_num_threads()} threads, torch {torch.__version__}, {load})")
    for name, took, note in rows:
        print(f"  {name:<42}{took:>10.4f} s   {note}")
    for name, ratio in ratios.items():
        print(f"  ratio{' of ' + name if name else '':<37}{ratio:>10.1f} x")


@pytest.mark.parametrize(
    ("name", "preset", "at_least", "count"),
    [
        ("oral_age", "small", 6, 8),
        ("ecam", "small", 6, 8),
        ("oral_age", "aam", 6, 2),
        ("soils88", "small", 4, 2),  # 3,500 ASVs in 88 samples: few are shared, so less can be saved
    ],
)
def test_a_training_step(studies: Callable[[str], Study], name: str, preset: str, at_least: float, count: int) -> None:
    study, model = studies(name), ModelConfig.preset(preset)
    network = a_network(study, TARGETS[name], model)
    makers = [o.maker(study) for o in network.objectives.values()]
    batches = Batches(study, config=CONFIG, makers=makers, training=True)
    ours, theirs = full(batches), plain_way(batches, model, count)
    if preset == "aam":
        ours = ours[:16]  # a bucket's worth
    require_same_gradients(network, ours[0], model)
    fast, slow = in_turn(a_step(network), [[b] for b in ours], theirs)
    encoded = [statistics.mean(sum(len(b.tokens_NL) for b in parts) for parts in side) for side in ([ours], [*theirs])]
    encoded[0] /= len(ours)
    rows = [
        (
            "distinct ASVs, like sizes together",
            statistics.mean(fast),
            f"{encoded[0]:.0f} ASVs, mean of {len(fast)} steps",
        ),
        ("every slot, random company", statistics.mean(slow), f"{encoded[1]:.0f} slots, mean of {len(slow)} steps"),
    ]
    mean, median = (f(slow) / f(fast) for f in (statistics.mean, statistics.median))
    table(f"Training step of {SAMPLES} samples, {name}, {preset}", rows, {"means": mean, "medians": median})
    assert min(mean, median) >= at_least


@pytest.mark.parametrize(
    ("name", "preset", "count"), [("oral_age", "small", 6), ("ecam", "small", 6), ("oral_age", "aam", 2)]
)
def test_prediction_of_a_study_is_twenty_times_as_fast(
    studies: Callable[[str], Study], name: str, preset: str, count: int
) -> None:
    study, model = studies(name), ModelConfig.preset(preset)
    few = study.keep_samples(study.sample_ids[:: max(1, study.num_samples // 64)])
    fitted = aam.AAM(model).fit(
        few, target=TARGETS[name], config=aam.TrainConfig(epochs=1, progress=False, device="cpu")
    )
    task, encoder = fitted.require_task(), fitted.network.encoder
    theirs = plain_way(Batches(study, config=CONFIG), model, count)

    @torch.no_grad()
    def predict(parts: Sequence[Batch]) -> np.ndarray:
        return np.concatenate([task.outputs(task(encoder(b)), b).cpu().numpy() for b in parts])[:, 0]

    def ours(*, anew: bool) -> float:
        if anew:
            fitted.vectors = AsvVectors()  # each ASV is encoded once more
        return seconds(lambda: fitted.predict(study))

    found = fitted.predict(study)[TARGETS[name]]
    for parts in theirs[:2]:
        wanted = found.loc[[i for b in parts for i in b.sample_ids]]
        np.testing.assert_allclose(predict(parts), wanted, rtol=1e-3, atol=1e-3 * found.abs().mean())
    fast, again, slow = [], [], []
    for parts in theirs:
        fast.append(ours(anew=True))
        slow.append(seconds(lambda p=parts: predict(p)))
        again.append(ours(anew=False))
    whole = statistics.mean(slow) / SAMPLES * study.num_samples
    rows = [
        ("AAM.predict", statistics.median(fast), f"{study.num_samples} samples, median of {len(fast)}"),
        ("AAM.predict, ASVs met before", statistics.median(again), "as in a second call"),
        ("every slot, random company", whole, f"scaled up from {len(slow)} batches of {SAMPLES}"),
    ]
    ratio = whole / statistics.median(fast)
    table(
        f"Prediction of all of {name}, {preset}", rows, {"": ratio, "a second call": whole / statistics.median(again)}
    )
    assert ratio >= 20


@pytest.mark.parametrize(
    ("freeze", "name", "preset", "at_least"),
    [
        ("encoder", "oral_age", "small", 20),
        ("encoder", "ecam", "small", 20),
        ("asvs", "oral_age", "aam", 20),
        # The sample stage learns, fed either way, and patches of four make the ASVs cheap: arithmetic alone allows 15 to 20.
        ("asvs", "oral_age", "small", 9),
        ("asvs", "ecam", "small", 12),
    ],
)
def test_an_epoch_of_a_frozen_encoder(
    studies: Callable[[str], Study], freeze: str, name: str, preset: str, at_least: float
) -> None:
    """The trainer's own seconds of an epoch, loading and callbacks included, against bare steps the plain way."""
    study, model, epochs = studies(name), ModelConfig.preset(preset), 3 if preset == "aam" else 7
    network = a_network(study, TARGETS[name], model)
    config = aam.config.make_config(TrainConfig, CONFIG, {"epochs": epochs, "freeze": freeze})
    slow: list[float] = []

    class PlainInTurn(Callback):
        """A plain step of the same network, frozen alike, after each epoch."""

        def on_epoch_end(self, trainer: Trainer) -> None:
            parts = theirs[len(slow) % len(theirs)]
            slow.append(seconds(lambda: step(parts)))

    trainer = Trainer(network, study, config, stage="fit", callbacks=[PlainInTurn()])
    makers = [o.maker(trainer.train_study) for o in network.objectives.values()]
    theirs = plain_way(Batches(trainer.train_study, config=CONFIG, makers=makers), model, epochs)
    twin = a_network(study, TARGETS[name], model)
    for p, q in zip(twin.parameters(), network.parameters(), strict=True):
        p.requires_grad_(q.requires_grad)
    step = a_step(twin)
    step(theirs[0])  # warm
    with torch.no_grad():
        asv_AD = trainer.vectors.of(network, trainer.train_study.asv_ids, CPU)
        network.train()
        for part in theirs[0][:1]:
            few = trainer.train.make(part.sample_B[:4], np.random.default_rng(0))
            ours = network(few, asv_AD[torch.from_numpy(few.asv_N)]).pairs["target"][0]
            torch.testing.assert_close(ours, network(part).pairs["target"][0][:4], rtol=1e-3, atol=1e-3)
    trainer.vectors = AsvVectors()
    took = trainer.run()["seconds"].to_list()
    whole = statistics.mean(slow) / SAMPLES * trainer.train_study.num_samples
    later = statistics.median(took[1:])
    rows = [
        ("first epoch, every ASV encoded once", took[0], f"{trainer.train_study.num_samples} samples"),
        ("a later epoch", later, f"median of {len(took) - 1}"),
        ("every slot, random company", whole, f"scaled up from {len(slow)} steps"),
    ]
    sizes = [b.offsets_B1.diff().tolist() for b in full(trainer.train)]
    plain_sizes = [[max(b.offsets_B1.diff().max() for b in parts).item()] * SAMPLES for parts in theirs]
    learning = 1 if freeze == "encoder" else 3  # the backward pass takes twice the forward
    ours_flops = learning * statistics.mean(sample_flops(model, s) for s in sizes)
    length = trainer.train.tokens.shape[1]
    plain_flops = statistics.mean(
        asv_flops(model, sum(s), length) + learning * sample_flops(model, s) for s in plain_sizes
    )
    ratios = {
        "the first epoch": whole / took[0],
        "a later epoch": whole / later,
        "FLOPs": plain_flops / ours_flops,
    }
    table(f"Epoch with freeze={freeze!r}, {name}, {preset}", rows, ratios)
    assert whole / later >= at_least


@pytest.mark.parametrize(("preset", "at_least"), [("small", 0.0), ("base", 0.0), ("aam", 0.55)])
def test_a_step_reaches_the_speed_of_a_large_matrix_product(
    studies: Callable[[str], Study], preset: str, at_least: float
) -> None:
    """Forward, backward, clip and update of a real batch of distinct ASVs; FLOPs by `step_flops`, matrix products alone."""
    study, model = studies("oral_age"), ModelConfig.preset(preset)
    network = a_network(study, "age", model)
    batches = Batches(study, config=CONFIG, makers=[o.maker(study) for o in network.objectives.values()], training=True)
    some = sorted(full(batches), key=lambda b: len(b.tokens_NL))
    batch = some[len(some) // 2]
    work = step_flops(model, batch, num_reference=NUM_REFERENCE_ASVS)
    step = a_step(network)
    step([batch])
    took, product = [], []
    for _ in range(7 if preset == "aam" else 15):
        product.append(matmul_flops(3072, CPU, torch.float32, repeats=1))
        took.append(seconds(lambda: step([batch])))
    speed, best = work / statistics.median(took), work / min(took)
    product_speed = statistics.median(product)
    load = os.getloadavg()[0]
    print(
        f"\n{preset}, {len(batch.tokens_NL)} ASVs, {len(batch.asv_E)} entries ({torch.get_num_threads()} threads, load {load:.1f})"
    )
    print(f"  step {statistics.median(took):.3f} s, {work / 1e9:.1f} GFLOP: {speed / 1e9:.1f} GFLOP/s")
    print(f"  product of 3072 x 3072: {product_speed / 1e9:.1f} GFLOP/s; share {speed / product_speed:.1%} (medians)")
    print(f"  best of each: {best / 1e9:.1f} of {max(product) / 1e9:.1f} GFLOP/s, {best / max(product):.1%}")
    assert speed / product_speed >= at_least
