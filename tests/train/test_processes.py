"""Two processes (gloo) learn what one learns, UniFrac pairs across both included."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

JOB = """
import sys, torch
import aam_nb as aam
torch.set_num_threads(1)
folder, objectives, more = sys.argv[1], eval(sys.argv[2]), eval(sys.argv[3])
study = aam.simulate_study(48, 80, seed=1, config=aam.SimulateConfig(length=40, min_depth=300, max_depth=1500))
quick = {"epochs": 2, "batch_size": 9, "progress": False, "device": "cpu", "optimizer": "sgd", "learning_rate": 0.02}
config = aam.TrainConfig(**(quick | more))
model = aam.AAM(aam.ModelConfig(width=16, num_layers=1, num_attn_heads=2))
model.pretrain(study, objectives=objectives, config=config, out=folder)
import os
if os.environ.get("RANK", "0") == "0":
    model.save(folder)
"""


def learn(folder: Path, objectives: str, more: str, processes: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The history and weights of a training in so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(processes):
        env = os.environ | {"OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)}
        env |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        if processes == 1:
            env = os.environ | {"OMP_NUM_THREADS": "1"}
        args = [sys.executable, "-c", JOB, str(folder), objectives, more]
        running.append(subprocess.Popen(args, env=env, stderr=subprocess.PIPE, text=True))
    for process in running:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors[-2000:]
    return pd.read_csv(folder / "history.csv"), load_file(folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objectives", "more"),
    [
        ('["unifrac", "nucleotides", "faith_pd"]', "{}"),
        ('["contrastive", "braycurtis"]', "{'accumulation': 2, 'loss_weighting': 'uncertainty', 'rarefy': 200}"),
    ],
    ids=["unifrac", "contrastive"],
)
def test_two_processes_give_the_losses_and_weights_of_one(tmp_path: Path, objectives: str, more: str) -> None:
    """Batches of nine, so one process has five samples and the other four; the losses of both stages and the weights agree."""
    (one, alone), (two, shared) = (learn(tmp_path / str(n), objectives, more, n) for n in (1, 2))
    assert len(one) == len(two) == 2
    for column in one.columns.drop(["stage", "seconds", "memory_mb"], errors="ignore"):
        np.testing.assert_allclose(two[column], one[column], rtol=2e-4, atol=1e-6, err_msg=column)
    assert alone.keys() == shared.keys()
    for name, weight in alone.items():
        np.testing.assert_allclose(shared[name], weight, rtol=1e-4, atol=1e-5, err_msg=name)
