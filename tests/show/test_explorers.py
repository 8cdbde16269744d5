"""What all explorers promise: traits, twin, errors that are seen, pages that let nothing of a file run."""

import json
import re

import pytest

import aam_nb as aam
from aam_nb.show.widgets import ExplorerError
from aam_nb.show.widgets.javascript import esm
from aam_nb.study.errors import UnknownIdError

HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'


@pytest.fixture(scope="module")
def comparison(study):
    settings = {"folds": 2, "num_trees": 10, "num_permutations": 19, "num_resamples": 20, "tune": False}
    return aam.compare(["random_forest", "dummy"], study, target="age", group="host_id", **settings)


@pytest.fixture
def explorer(comparison):
    return aam.widgets.compare(comparison)


# -- selection and errors -----------------------------------------------------------------------------------------------


def test_a_selection_is_sample_ids_for_the_next_step(explorer, study):
    explorer.selected = study.sample_ids[:3]
    assert study.keep_samples(explorer.selected).num_samples == 3


def test_an_unknown_sample_is_an_error_in_python(explorer):
    with pytest.raises(UnknownIdError, match=r"1 of 1 samples are not in this explorer \(nobody\)"):
        explorer.selected = ["nobody"]


def test_an_error_of_the_browser_shows_inside_the_explorer(explorer):
    explorer.set_state({"selected": ["nobody"]})
    assert "nobody" in explorer.error
    assert explorer.selected == ()
    explorer.set_state({"selected": [explorer.sample_ids[0]]})
    assert explorer.error == ""


def test_an_error_of_a_reaction_shows_inside_the_explorer(explorer):
    def broken(change):
        raise RuntimeError("it broke")

    explorer.observe(broken, "selected")
    explorer.set_state({"selected": [explorer.sample_ids[0]]})
    assert explorer.error == "RuntimeError: it broke"


# -- twin and files -------------------------------------------------------------------------------------------------------


def test_viewers_without_widgets_see_a_figure(explorer):
    bundle, _ = explorer._repr_mimebundle_()
    assert {"text/plain", "text/html", "image/png", "application/vnd.jupyter.widget-view+json"} == set(bundle)
    assert "data:image/png;base64," in bundle["text/html"]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf", "csv", "tsv", "html"])
def test_it_is_written_to_files(explorer, tmp_path, kind):
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!doctype html>"}
    path = explorer.export(tmp_path / f"a.{kind}")
    assert path.read_bytes().startswith(starts.get(kind, b"sample_id"))


def test_another_kind_of_file_is_refused(explorer, tmp_path):
    with pytest.raises(ExplorerError, match=r"a\.xlsx ends in '\.xlsx'"):
        explorer.export(tmp_path / "a.xlsx")
    assert not list(tmp_path.iterdir())


# -- nothing of a file runs -----------------------------------------------------------------------------------------------


def test_names_from_files_are_text_in_the_twin_and_on_the_page(comparison, study, tmp_path):
    renamed = {i: f"{HOSTILE}{k}" for k, i in enumerate(comparison.predictions.index.unique())}
    predictions = comparison.predictions.rename(index=renamed)
    probabilities = comparison.probabilities
    from dataclasses import replace

    hostile = replace(
        comparison, predictions=predictions, probabilities=probabilities, target=HOSTILE, notes=(HOSTILE,)
    )
    explorer = aam.widgets.compare(hostile)
    for text in (explorer._repr_html_(), explorer.export(tmp_path / "a.html").read_text()):
        assert "<img src=x" not in text
        assert "<script>alert" not in text
    state = re.search(r'<script type="application/json">(.*?)</script>', explorer.page(), re.S)[1]
    assert json.loads(state)["data"]["samples"] == list(renamed.values())


def test_a_page_loads_nothing_and_runs_one_script(explorer):
    page = explorer.page()
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["']https?://""", page)
    assert page.count("<script") == 2  # the data, which is no script, and the explorer's own


@pytest.mark.parametrize("script", ["study", "attention", "attributions", "errors", "comparison"])
def test_javascript_writes_no_html_and_asks_no_other_host(script):
    source = esm(script)
    for unsafe in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "fetch(",
        "XMLHttpRequest",
        "import ",
    ):
        assert unsafe not in source
    assert set(re.findall(r"https?://[^\s\"'`)]+", source)) <= {
        "http://www.w3.org/2000/svg",
        "https://doi.org/10.1371/journal.pone.0199239",
    }


# -- after an error ----------------------------------------------------------------------------------------------------


def test_what_followed_from_a_refused_value_is_put_back(study):
    explorer = aam.widgets.explore(study)
    curves = explorer.curves

    def broken(change):
        raise RuntimeError("it broke")

    explorer.observe(broken, "selected")
    explorer.set_state({"selected": list(study.sample_ids[:5])})
    assert explorer.error
    assert explorer.selected == ()
    assert explorer.curves is curves


def test_a_depth_that_no_compared_sample_has_leaves_a_note(study):
    explorer = aam.widgets.explore(study, most=3)
    explorer.rarefy = True
    explorer.depth = int(study.depth.max())
    assert "A PCoA needs 3 samples" in explorer.sentence()
    assert "data:image/png" in explorer._repr_html_()
