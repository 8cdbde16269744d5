"""The GPU benchmark runs where there is nothing but torch and numpy, and its arithmetic is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from aam_nb.config import ModelConfig
from aam_nb.model import layers

SCRIPT = Path(__file__).parents[1] / "bench" / "gpu.py"
sys.path.append(str(SCRIPT.parent))
import gpu  # noqa: E402

BLOCKED = """
import runpy, sys
sys.modules.update(dict.fromkeys({blocked}))
sys.argv = {arguments}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A module that stands as None among those loaded cannot be imported, as if it were not installed."""


def test_it_runs_with_torch_and_numpy_alone(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    blocked = (
        "pandas",
        "scipy",
        "biom",
        "accelerate",
        "h5py",
        "skbio",
        "sklearn",
        "safetensors",
        "tqdm",
        "platformdirs",
    )
    code = BLOCKED.format(blocked=blocked, arguments=[str(SCRIPT), "--quick", "--out", str(out)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(out.read_text())["results"]
    assert [(r["precision"], r["fed"]) for r in results] == [
        (precision, fed) for precision in ("fp32", "bf16", "bf16+compile") for fed in ("distinct", "plain")
    ]
    assert all(r["samples_per_s"] > 0 and r["share_of_matmul"] > 0 for r in results)
    distinct = [r["loss"] for r in results if r["fed"] == "distinct"]
    assert distinct[1] == pytest.approx(distinct[0], rel=0.05), "bf16 trains as fp32 does"


@pytest.mark.parametrize("config", [ModelConfig(), ModelConfig(width=32, num_layers=3, num_attn_heads=2, scales=(1,))])
def test_the_formula_counts_what_torch_counts(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of one size, so that none is padded, and open attention, since torch does not count the CPU's fused one."""
    monkeypatch.setattr(layers, "SHORT", 10**6)
    data = gpu.Samples(gpu.SMALL)
    batch = data.batch([int(data.sizes.argmax())] * 3)
    model = gpu.Model(config, torch.from_numpy(data.tokens[:10]))
    with FlopCounterMode(display=False) as counter:
        model(batch).backward()
    assert gpu.step_flops(config, batch, num_reference=10) == pytest.approx(counter.get_total_flops(), rel=1e-3)
