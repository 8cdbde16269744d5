"""The picture of the house is what the code says today."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "aam_nb"


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_fresh(drawing: ModuleType) -> None:
    lines: list[str] = []
    assert drawing.main(["--check"], lines.append) == 0, lines


def test_an_out_of_date_picture_is_told(drawing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "architecture.svg"
    old.write_text(drawing.PICTURE.read_text(encoding="utf-8").replace("cli/", "shell/"), encoding="utf-8")
    monkeypatch.setattr(drawing, "PICTURE", old)
    lines: list[str] = []
    assert drawing.main(["--check"], lines.append) == 1
    assert "out of date" in lines[0]


def test_floors_are_the_folders(drawing: ModuleType) -> None:
    folders = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert {floor.name for floor in drawing.read_floors()} == folders


def test_every_floor_says_what_it_is_for() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path.parent.name


def test_no_module_imports_the_package_root_when_it_is_loaded() -> None:
    """A floor reaches what it needs in the module where it is; the public face is for users."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = [node for outer in ast.walk(tree) if isinstance(outer, ast.FunctionDef) for node in ast.walk(outer)]
        for node in set(ast.walk(tree)) - set(inside):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            from_root = isinstance(node, ast.ImportFrom) and node.module == "aam_nb"
            assert path == PACKAGE / "__init__.py" or not (from_root or "aam_nb" in names), path.relative_to(ROOT)


@pytest.mark.parametrize("most_lines", [500])
def test_modules_can_be_read_in_one_sitting(most_lines: int) -> None:
    files = [p for end in ("py", "js") for p in PACKAGE.rglob(f"*.{end}")]
    long = {
        str(p.relative_to(PACKAGE)): n
        for p in files
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > most_lines
    }
    assert not long
