"""Run the tutorials: to refresh the outputs that are committed, or at full size.

python tutorials/run.py refresh [03 ...]   at the size of the notebook, in place, with a hash of its sources beside the outputs
python tutorials/run.py full [03 ...]      with the parameters of full_size.toml, into build/tutorials
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
FULL = HERE.parent / "build" / "tutorials"


def sources_hash(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of the kind and source of every cell."""
    cells = [[c["cell_type"], c["source"]] for c in notebook["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def refresh(path: Path) -> None:
    """Execute a notebook in place; what it shows is what its sources make."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3", record_timing=False).execute(cwd=str(path.parent))
    notebook["metadata"].pop("widgets", None)
    notebook["metadata"]["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook["metadata"]["aam_nb"] = {"sources": sources_hash(notebook)}
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"cell-{number:02d}"
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k == "tags"}
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop("application/vnd.jupyter.widget-view+json", None)
            if "image/png" in data:  # code hosts prefer the HTML, and leave out its picture
                data.pop("text/html", None)
    nbformat.write(notebook, path)


def full(path: Path) -> None:
    """Execute a copy at full size."""
    import papermill

    FULL.mkdir(parents=True, exist_ok=True)
    sizes = tomllib.loads((HERE / "full_size.toml").read_text(encoding="utf-8")).get(path.stem, {})
    papermill.execute_notebook(
        path, FULL / path.name, parameters=sizes, kernel_name="python3", progress_bar=False, execution_timeout=1800
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", choices=["refresh", "full"])
    parser.add_argument("which", nargs="*", help="beginnings of names; all by default")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1" if asked.how == "refresh" else str(os.cpu_count()))
    chosen = [p for p in sorted(HERE.glob("*.ipynb")) if not asked.which or p.name.startswith(tuple(asked.which))]
    for path in chosen:
        start = time.monotonic()
        (refresh if asked.how == "refresh" else full)(path)
        print(f"{path.name}: {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
