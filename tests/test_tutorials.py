"""What is committed of the tutorials: fresh outputs, no widget state, and sources that teach in order. `make test` executes them."""

import importlib.util
import re
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest

TUTORIALS = Path(__file__).parents[1] / "tutorials"
NAMES = sorted(p.name for p in TUTORIALS.glob("*.ipynb"))
ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:tmp|home|root|work|usr|var|Users|private)/\w")


@pytest.fixture(scope="module", params=NAMES)
def notebook(request):
    return nbformat.read(TUTORIALS / request.param, as_version=4)


def run():
    spec = importlib.util.spec_from_file_location("run_tutorials", TUTORIALS / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def test_there_are_ten_in_order():
    assert [name[:2] for name in NAMES] == [f"{k:02d}" for k in range(1, 11)]


def test_outputs_are_those_of_the_sources(notebook):
    assert notebook.metadata.aam_nb.sources == run().sources_hash(notebook), "run `make refresh-tutorials`"
    assert [c.execution_count for c in code(notebook)] == list(range(1, len(code(notebook)) + 1))


def test_no_widget_state_no_error_and_no_path_of_a_machine(notebook):
    assert "widgets" not in notebook.metadata
    for cell in code(notebook):
        assert not ABSOLUTE.search(cell.source)
        for output in cell.outputs:
            assert output.output_type != "error"
            data = output.get("data", {})
            assert "application/vnd.jupyter.widget-view+json" not in data
            said = (
                output.get("text", "")
                + data.get("text/plain", "")
                + re.sub(r"base64,[\w+/=]+", "", data.get("text/html", ""))
            )
            assert not ABSOLUTE.search(said), ABSOLUTE.search(said)


def test_it_begins_with_the_question_and_ends_in_assertions(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    for word in ("Question", "Input", "Time", "Result"):
        assert f"**{word}" in first.source
    assert code(notebook)[-1].source.count("assert ") >= 2


def test_no_network_and_no_pip(notebook):
    for cell in code(notebook):
        assert not re.search(r"^\s*[!%]|https?://|urlopen|requests\.", cell.source, re.M)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_can_be_set_and_the_full_size_sets_some(name):
    known = papermill.inspect_notebook(str(TUTORIALS / name))
    assert "seed" in known
    assert all(p["help"] and p["inferred_type_name"] != "None" for p in known.values())
    sizes = tomllib.loads((TUTORIALS / "full_size.toml").read_text(encoding="utf-8"))[Path(name).stem]
    assert sizes
    assert set(sizes) <= set(known)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_enough_to_read_on_a_code_host(name):
    assert (TUTORIALS / name).stat().st_size < 900_000
