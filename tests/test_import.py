"""The public face is light, and nothing in the package can unpickle."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aam_nb as aam

HEAVY = {"torch", "matplotlib", "seaborn", "ipywidgets", "skbio"}
LOWER_FLOORS = ["study.study", "study.read", "study.splits", "study.simulate"]
LOWER_FLOORS += ["study.info", "study.merging", "study.write", "study.catalog", "study.readers.tables", "study.rarefy"]
LOWER_FLOORS += [
    "diversity.branches",
    "diversity.unifrac",
    "diversity.ordination",
    "diversity.blocks",
    "diversity.engines",
    "diversity.matrix_cache",
    "diversity.distances",
    "diversity.rarefaction",
]


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after one statement."""
    code = f"import sys; {statement}; print(*{{m.split('.')[0] for m in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import aam_nb") & HEAVY


def test_the_lower_floors_do_not_load_torch() -> None:
    loaded = loaded_by("import " + ", ".join(f"aam_nb.{m}" for m in LOWER_FLOORS))
    assert "aam_nb" in loaded
    assert not loaded & {"torch", "matplotlib", "seaborn", "ipywidgets"}


def test_an_unknown_name_is_refused_by_name() -> None:
    with pytest.raises(AttributeError, match=r"'read_studdy'.*read_study"):
        aam.read_studdy  # noqa: B018


@pytest.mark.parametrize(
    "name", ["read_study", "write_biom", "merge", "fetch", "simulate_study", "unifrac", "faith_pd", "pcoa", "Study"]
)
def test_the_names_of_the_lower_floors_are_public(name: str) -> None:
    assert name in dir(aam)
    assert getattr(aam, name).__name__ == name


def test_nothing_is_pickled() -> None:
    sources = sorted(Path(aam.__file__).parent.rglob("*.py"))
    assert len(sources) > 10
    found = [
        str(p) for p in sources if re.search(r"import pickle|pickle\.|torch\.load|torch\.save|joblib", p.read_text())
    ]
    assert found == []


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["fit", "--help"], ["info", "asvs.fasta"]], ids=" ".join)
def test_the_command_line_loads_torch_only_where_it_is_needed(args: list[str], tmp_path: Path) -> None:
    (tmp_path / "asvs.fasta").write_text(">a\nACGT\n")  # not a tree: scikit-bio reads those, and loads torch itself
    given = [a.replace("asvs.fasta", str(tmp_path / "asvs.fasta")) for a in args]
    code = f"import sys; from aam_nb.cli import main; main({given!r}); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
