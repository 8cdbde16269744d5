"""UniFrac beside `ssu`, a few samples beside many, and a tree of 200,000 tips.

`pytest -m bench -s tests/bench/test_diversity.py` prints the tables. Threads are those that OMP_NUM_THREADS says, for all programs.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import aam_nb as aam
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

pytestmark = [pytest.mark.bench, pytest.mark.slow]
REPEATS = 3
METRICS = ["unweighted", "weighted_normalized", "weighted_unnormalized", "generalized"]
needs_ssu = pytest.mark.skipif(shutil.which("ssu") is None, reason="ssu is not installed (unifrac-tools)")


@pytest.fixture(scope="module", autouse=True)
def all_threads() -> Iterator[None]:
    """One a core, or what OMP_NUM_THREADS says."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)


def median_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def table(title: str, rows: list[tuple[str, float, str]], ratio: float) -> None:
    print(f"\n{title} ({torch.get_num_threads()} threads, torch {torch.__version__})")
    for name, took, note in rows:
        print(f"  {name:<34}{took:>10.3f} s   {note}")
    print(f"  {'ratio':<34}{ratio:>10.2f} x")


def read(folder: Path) -> Study:
    return aam.read_study(folder / "oral_age.biom", metadata=folder / "oral_age.tsv", tree=folder / "oral_age.nwk")


@needs_ssu
@pytest.mark.real
def test_unweighted_unifrac_takes_at_most_one_and_a_half_times_ssu(real_data: Path, tmp_path: Path) -> None:
    """From files to a file on both sides; ours in a warm interpreter, theirs with the start of its process (a few ms)."""
    folder = real_data / "oral_age"
    command = ["ssu", "-i", folder / "oral_age.biom", "-t", folder / "oral_age.nwk", "-o", tmp_path / "ssu.h5"]
    command += ["-m", "unweighted_fp64", "--format", "hdf5_fp64", "--pcoa", "0"]
    read(folder)  # warm
    ours = median_seconds(lambda: aam.write_unifrac(read(folder), tmp_path / "ours.h5"))
    theirs = median_seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    study = read(folder)
    alone = median_seconds(lambda: aam.unifrac(study, cache=False))
    aam.unifrac(study, cache=tmp_path / "cache")
    again = median_seconds(lambda: aam.unifrac(study, cache=tmp_path / "cache"))
    rows = [
        ("read_study, write_unifrac", ours, "BIOM, metadata and Newick read, HDF5 written"),
        ("ssu", theirs, "BIOM and Newick read, HDF5 written"),
        ("unifrac(cache=False)", alone, "from a study in memory to a matrix in memory"),
        ("unifrac, second call", again, "read from the cache"),
    ]
    table(f"Unweighted UniFrac of {study.num_samples} samples of oral_age, float64", rows, ours / theirs)
    assert ours <= 1.5 * theirs
    assert again < alone / 2


@needs_ssu
@pytest.mark.real
@pytest.mark.parametrize("metric", METRICS)
def test_auto_is_the_fastest_engine(metric: str, real_data: Path) -> None:
    """From a study in memory to a matrix in memory; for ssu that takes temporary files."""
    study = read(real_data / "oral_age")
    if metric == "generalized":
        study = study.keep_samples(study.sample_ids[::2])  # ssu takes half a minute for all
    auto, torch_, ssu = (
        median_seconds(lambda e=engine: aam.unifrac(study, metric=metric, engine=e, cache=False))
        for engine in ("auto", "torch", "ssu")
    )
    rows = [("auto", auto, ""), ("torch", torch_, ""), ("ssu", ssu, "writes BIOM and Newick, reads HDF5")]
    table(f"{metric} UniFrac of {study.num_samples} samples of oral_age, float64", rows, torch_ / ssu)
    assert auto <= 1.1 * min(torch_, ssu)


def many_samples(n_samples: int, n_asvs: int = 2_000, per_sample: int = 100) -> Study:
    """Samples of random ASVs of a simulated tree; counts are 1 to 100."""
    small = aam.simulate_study(8, n_asvs, seed=0)
    rng = np.random.default_rng(0)
    indices = np.sort(rng.integers(n_asvs, size=(n_samples, per_sample)), axis=1)
    counts = rng.integers(1, 101, size=indices.size)
    indptr = np.arange(0, indices.size + 1, per_sample)
    ids = pd.Index([f"s{i}" for i in range(n_samples)])
    reads = sparse.csr_array((counts, indices.ravel(), indptr), shape=(n_samples, n_asvs))
    return Study(reads, ids, small.asv_ids, pd.DataFrame(index=ids), tree=small.tree)


def memory(what: str) -> int:
    """Memory of this process in bytes, now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(what))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is measured as Linux tells it")
def test_ten_samples_against_a_hundred_thousand_without_the_matrix() -> None:
    study = many_samples(100_000)
    ten = study.keep_samples(study.sample_ids[:10])
    part = study.keep_samples(study.sample_ids[:4_000])
    aam.unifrac_between(ten, part)  # warm
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    start = time.perf_counter()
    found = aam.unifrac_between(ten, study)
    took = time.perf_counter() - start
    grown = memory("VmHWM") - before
    np.testing.assert_allclose(found.iloc[:, :4_000], aam.unifrac(part, cache=False).data[:10], atol=1e-12)
    full = median_seconds(lambda: aam.unifrac(part, cache=False), repeats=1) * (100_000 / 4_000) ** 2
    rows = [
        ("unifrac_between", took, f"10 x 100,000 distances, {grown / 2**20:.0f} MiB more memory at its peak"),
        ("the whole matrix", full, "scaled up from 4,000 samples; it would hold 75 GiB"),
    ]
    table("10 samples against 100,000, 2,000 ASVs, 100 per sample, unweighted", rows, full / took)
    assert full / took > 20
    assert grown < 2**30


LOAD = """
import resource, sys, time
import pandas as pd
from aam_nb.diversity.branches import Branches
from aam_nb.study.tree import Tree
import skbio
start = time.perf_counter()
tree = Tree.read(sys.argv[1])
loaded = time.perf_counter()
branches = Branches.from_tree(tree, pd.Index(tree.tips))
indexed = time.perf_counter()
assert branches.num_tips == 200_000
print(loaded - start, indexed - loaded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.parametrize("shape", ["random", "caterpillar"])
def test_a_tree_of_200_000_tips_loads_and_indexes_within_a_minute_and_4_gib(shape: str, tmp_path: Path) -> None:
    n, rng = 200_000, np.random.default_rng(0)
    parent, tips, todo = np.full(2 * n - 1, -1), np.zeros(2 * n - 1, dtype=bool), [(0, n)]
    free = 1
    while todo:  # random: every node cuts the tips below it in two; caterpillar: it cuts off one
        node, size = todo.pop()
        if size == 1:
            tips[node] = True
            continue
        left = 1 if shape == "caterpillar" else int(rng.integers(1, size))
        parent[[free, free + 1]] = node
        todo += [(free, left), (free + 1, size - left)]
        free += 2
    dna = np.array(list("ACGT"))[rng.integers(4, size=(2 * n - 1, 150))].view("<U150")[:, 0]
    names = tuple(str(d) if tip else None for d, tip in zip(dna, tips, strict=True))
    length = np.concatenate([[0.0], rng.exponential(0.01, 2 * n - 2).round(9)])
    (tmp_path / "tree.nwk").write_text(Tree(parent, length, names).to_newick())
    run = [sys.executable, "-c", LOAD, tmp_path / "tree.nwk"]
    said = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    load, index, peak = map(float, said)
    size = (tmp_path / "tree.nwk").stat().st_size / 2**20
    rows = [("Tree.read", load, f"{size:.0f} MiB of Newick"), ("Branches.from_tree", index, "all 200,000 tips")]
    table(f"A {shape} tree of 200,000 tips; peak memory {peak / 2**30:.2f} GiB", rows, (load + index) / 60)
    assert load + index < 60
    assert peak < 4 * 2**30
