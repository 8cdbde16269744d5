"""Processes that we start end with the one that started them, also when that one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import is_running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a signal of Linux")
SSU = """
import aam_nb as aam
study = aam.simulate_study(n_samples=8, n_asvs=60, seed=0)
aam.unifrac(study, engine="ssu", cache=False)
"""
TRY_OUT = """
import os, sys
from pathlib import Path
from aam_nb.study.readers import table_anndata
from aam_nb.study.readers.archives import Source
table_anndata.TRY_OUT = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
table_anndata._try_out(Source(Path("x.h5ad"), "x.h5ad", ""))
"""
LAB = """
from aam_nb.cli import main
main(["lab"])
"""
PROGRAM = f"#!{sys.executable}\nimport os, time\nopen(os.environ['PLACE'] + '/pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
JUPYTER = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n"


def wait_for(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.02)


@pytest.mark.parametrize("script", [SSU, TRY_OUT, LAB], ids=["ssu", "AnnData", "JupyterLab"])
def test_a_child_does_not_outlive_its_parent(script: str, tmp_path: Path) -> None:
    (tmp_path / "ssu").write_text(PROGRAM)
    (tmp_path / "ssu").chmod(0o755)
    (tmp_path / "jupyterlab.py").write_text(JUPYTER)
    paths = {k: f"{tmp_path}{os.pathsep}{os.environ.get(k, '')}" for k in ("PATH", "PYTHONPATH")}
    environment = os.environ | paths | {"PLACE": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment)
    told = tmp_path / "pid"
    wait_for(lambda: parent.poll() is not None or (told.exists() and told.read_text()))
    assert parent.poll() is None
    child = int(told.read_text())
    assert is_running(child)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_running(child), 20)
    running = is_running(child)
    if running:
        os.kill(child, signal.SIGKILL)
    assert not running
