"""Fixtures shared by all tests: one hand-worked study, one simulated study, one fitted model."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import aam_nb as aam
from aam_nb.study.study import Study
from aam_nb.study.tree import Tree

# Distances are cached on disk: not where the user keeps theirs.
CACHE = tempfile.TemporaryDirectory(prefix="aam_nb-tests-")
os.environ["AAM_NB_CACHE"] = CACHE.name
torch.set_num_threads(1)  # two pytest workers of two threads each are slower than of one

TINY = aam.ModelConfig(width=16, num_layers=1, num_attn_heads=2)
QUICK = aam.TrainConfig(epochs=2, batch_size=8, progress=False)


@pytest.fixture(scope="session")
def hand_study() -> Study:
    """Three samples, four ASVs, and a tree small enough to work out by hand.

                 ┌─1.0─ AAAA          sample one:   AAAA, AACC
        ┌──0.5───┤                    sample two:   AACC, GGGG
    root┤        └─2.0─ AACC          sample three: GGGG, GGTT
        │        ┌─0.25 GGGG
        └──1.5───┤
                 └─3.0─ GGTT
    """
    tree = Tree(
        parent=np.array([-1, 0, 1, 1, 0, 4, 4]),
        length=np.array([0.0, 0.5, 1.0, 2.0, 1.5, 0.25, 3.0]),
        names=(None, None, "AAAA", "AACC", None, "GGGG", "GGTT"),
    )
    counts = np.array([[3, 1, 0, 0], [0, 2, 5, 0], [0, 0, 4, 4]])
    ids = pd.Index(["one", "two", "three"])
    metadata = pd.DataFrame({"ph": [5.0, 6.5, 8.0], "site": ["a", "b", "b"]}, index=ids)
    return Study(sparse.csr_array(counts), ids, pd.Index(["AAAA", "AACC", "GGGG", "GGTT"]), metadata, tree=tree)


@pytest.fixture(scope="session")
def study() -> Study:
    """A small simulated study: 48 samples of 12 hosts, 80 ASVs."""
    config = aam.SimulateConfig(length=40, min_depth=300, max_depth=1500)
    return aam.simulate_study(48, 80, seed=1, config=config)


@pytest.fixture(scope="session")
def sides(study: Study) -> tuple[Study, Study]:
    """Its training and test side, split by host."""
    return study.split(test_size=0.25, target="age", group="host_id", seed=0)


@pytest.fixture(scope="session")
def fitted(sides: tuple[Study, Study]) -> aam.AAM:
    """A tiny model, pre-trained and fitted to age."""
    model = aam.AAM(TINY).pretrain(sides[0], config=QUICK)
    return model.fit(sides[0], target="age", config=QUICK)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real studies, from AAM_NB_REAL_DATA."""
    folder = os.environ.get("AAM_NB_REAL_DATA")
    if not folder:
        pytest.skip("AAM_NB_REAL_DATA is not set: the real studies are not part of the project")
    return Path(folder)


def is_running(process: int) -> bool:
    """Whether a process is there, and not only its exit code."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
