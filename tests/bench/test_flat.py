"""Memory of a lazy study as its samples grow tenfold, to a simulated table of 100,000 samples that is written here.

Each verb runs in a process of its own, which says how much memory it took at most. `pytest -m bench -s tests/bench/test_flat.py`
prints the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import aam_nb as aam

pytestmark = [pytest.mark.bench, pytest.mark.slow]
SIZES = (10_000, 100_000)
NUM_ASVS, PER_SAMPLE, BLOCK = 2_000, 60, 1_000
FLAT = 1.25
"""Most that memory may grow while samples grow tenfold: ids and metadata are in memory, counts are not."""

START = """
import json, re, sys, time
from pathlib import Path
import numpy as np
import aam_nb as aam
from aam_nb.batch.batches import Batches
table, tree, metadata = sys.argv[1:]
begin = time.perf_counter()
study = aam.read_study(table, tree=tree, metadata=metadata, lazy=True)
quick = dict(epochs=1, batch_size=64, freeze="asvs", progress=False, device="cpu")
shape = aam.ModelConfig(width=16, num_layers=1, num_attn_heads=2)
"""
END = """
took = time.perf_counter() - begin
# Of this process alone: what getrusage says begins with the memory of the one that started it.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps({"mib": peak / 1024, "seconds": took}))
"""
VERBS = {
    "open, summary": "study.summary()",
    "rarefy, summary": "study.rarefy(500, seed=0).summary()",
    "one epoch of batches": "for batch in Batches(study, config=aam.TrainConfig(batch_size=64), training=True): pass",
    "Faith PD": "aam.faith_pd(study)",
    "UniFrac, 10 against all": "aam.unifrac_between(study.keep_samples(study.sample_ids[:10]), study)",
    "fit one epoch, predict": (
        "model = aam.AAM(shape).fit(study, target='y', config=aam.TrainConfig(**quick)); model.predict(study)"
    ),
}
IN_MEMORY = START.replace("lazy=True", "lazy=False") + "study.summary()" + END


def write(folder: Path, num_samples: int) -> list[str]:
    """A BIOM 2.1 table whose counts are drawn and written block by block, with metadata and tree."""
    made = aam.simulate_study(8, NUM_ASVS, seed=0)
    rng = np.random.default_rng(0)
    names = [f"sample.{i:06d}" for i in range(num_samples)]
    entries = num_samples * PER_SAMPLE
    draft = folder / f"{num_samples}.draft"
    with h5py.File(draft, "w") as file:
        file.attrs["shape"] = (NUM_ASVS, num_samples)
        file.create_dataset("sample/ids", data=names, dtype=h5py.string_dtype())
        file.create_dataset("observation/ids", data=list(made.asv_ids), dtype=h5py.string_dtype())
        file["sample/matrix/indptr"] = np.arange(num_samples + 1) * PER_SAMPLE
        data = file.create_dataset("sample/matrix/data", (entries,), np.float64, compression="gzip")
        indices = file.create_dataset("sample/matrix/indices", (entries,), np.int32, compression="gzip")
        for start in range(0, num_samples, BLOCK):
            columns = np.sort(rng.random((BLOCK, NUM_ASVS)).argpartition(PER_SAMPLE, axis=1)[:, :PER_SAMPLE], axis=1)
            here = slice(start * PER_SAMPLE, (start + BLOCK) * PER_SAMPLE)
            indices[here] = columns.ravel()
            data[here] = rng.geometric(0.05, BLOCK * PER_SAMPLE)
    paths = [folder / f"{num_samples}{end}" for end in (".biom", ".nwk", ".tsv")]
    aam.write_biom(aam.read_study(draft, lazy=True), paths[0])  # with the observations' side: a whole BIOM table
    draft.unlink()
    paths[1].write_text(made.require_tree().to_newick())
    values = rng.normal(size=num_samples)
    paths[2].write_text("id\ty\n" + "".join(f"{n}\t{y:.3f}\n" for n, y in zip(names, values, strict=True)))
    return [str(p) for p in paths]


def measured(code: str, files: list[str]) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", code, *files], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_memory_is_flat_while_samples_grow_tenfold(tmp_path: Path) -> None:
    files = {n: write(tmp_path, n) for n in SIZES}
    rows = [(verb, *(measured(START + code + END, files[n]) for n in SIZES)) for verb, code in VERBS.items()]
    whole = [measured(IN_MEMORY, files[n]) for n in SIZES]
    small, large = (f"{n:,} samples" for n in SIZES)
    print(f"\n{'peak memory, MiB (time, s)':<28}{small:>20}{large:>20}{'ratio':>8}")
    for verb, one, other in [*rows, ("for scale: in memory, summary", *whole)]:
        cells = [f"{x['mib']:.0f} ({x['seconds']:.0f})" for x in (one, other)]
        print(f"  {verb:<30}{cells[0]:>16}{cells[1]:>20}{other['mib'] / one['mib']:>8.2f}")
    for verb, one, other in rows:
        assert other["mib"] <= FLAT * one["mib"], verb


def test_a_matrix_goes_to_disk_without_standing_in_memory(tmp_path: Path) -> None:
    files = write(tmp_path, SIZES[0])
    at_rest = measured(START + "study.summary()" + END, files)
    wrote = measured(START + f"aam.write_unifrac(study, {str(tmp_path / 'd.h5')!r})" + END, files)
    matrix = (tmp_path / "d.h5").stat().st_size / 2**20
    grown = wrote["mib"] - at_rest["mib"]
    print(
        f"\nUniFrac of {SIZES[0]:,} samples to HDF5: {wrote['seconds']:.0f} s, a file of {matrix:.0f} MiB, {grown:.0f} MiB more memory"
    )
    assert grown < matrix / 3
