"""Explorers in JupyterLab: drawn, answering to mouse and keys, telling the kernel, and seen again without one."""

import pytest
from harness import LIVE, Notebook, chromium, lab, lasso

pytestmark = pytest.mark.browser

STUDY = """import aam_nb as aam
config = aam.SimulateConfig(length=40, min_depth=300, max_depth=1500)
study = aam.simulate_study(48, 80, seed=1, config=config)"""
FIT = """train, test = study.split(test_size=0.25, target="age", group="host_id", seed=0)
model = aam.AAM(aam.ModelConfig(width=16, num_layers=2, num_attn_heads=2))
model.fit(train, target="age", config=aam.TrainConfig(epochs=2, batch_size=8, progress=False))
result = model.evaluate(test, config=aam.EvaluateConfig(num_trees=20))"""
CELLS = {
    "explore": [STUDY, "explorer = aam.widgets.explore(study)\nexplorer"],
    "attention": [STUDY, FIT, "explorer = aam.widgets.attention(model, test)\nexplorer"],
    "attributions": [
        STUDY,
        FIT,
        "found = aam.explain.attribute(model, test)",
        "explorer = aam.widgets.attributions(found)\nexplorer",
    ],
    "errors": [
        STUDY,
        FIT,
        "analysis = aam.errors(result, study, num_permutations=99, num_resamples=50, min_slice=3)",
        "explorer = aam.widgets.errors(analysis, study=study)\nexplorer",
    ],
    "compare": [
        STUDY,
        'quick = {"folds": 2, "num_trees": 10, "num_permutations": 19, "num_resamples": 20, "tune": False}\n'
        'found = aam.compare(["random_forest", "ridge_clr", "dummy"], study, target="age", group="host_id", **quick)',
        "explorer = aam.widgets.compare(found, study)\nexplorer",
    ],
}


HOSTILE = """import aam_nb as aam, pandas as pd
from dataclasses import replace
bad = '<img src=x onerror="window.owned = 1; alert(1)">'
config = aam.SimulateConfig(length=40, min_depth=300, max_depth=1500)
plain = aam.simulate_study(48, 80, seed=1, config=config)
ids = pd.Index([f"{bad}{k}" for k in range(48)], name="sample_id")
metadata = plain.metadata.set_axis(ids, axis=0).assign(**{bad: [f"{bad} {k % 3}" for k in range(48)]})
taxonomy = pd.DataFrame({"phylum": [f"{bad}p{k % 4}" for k in range(80)]}, index=plain.asv_ids)
study = replace(plain, sample_ids=ids, metadata=metadata, taxonomy=taxonomy, truth=None)"""


@pytest.fixture
def opened(chromium, lab):
    """Open a notebook of some cells, and run it: `opened(name, cells)`."""
    pages = []

    def run(name, cells, **settings):
        page = Notebook(chromium, lab, lab.write(name, *cells))
        pages.append(page)
        page.run_all(**settings)
        return page

    yield run
    for page in pages:
        page.close()


# -- what a hand does to each explorer: it changes the picture, and the kernel knows ------------------------------------------


def panel(notebook, name):
    return notebook.page.locator(f"{LIVE} [data-panel='{name}']")


def picks(notebook, trait, value, plot):
    """Choose from a list; the plot changes."""
    canvas = panel(notebook, plot).locator("canvas.aam-base").first
    before = notebook.picture(canvas)
    notebook.page.locator(f"{LIVE} select[data-trait={trait}]").first.select_option(value)
    notebook.until(f"str(explorer.{trait})", value)
    changed(notebook, canvas, before)


def slides(notebook, trait, plot, *, key="ArrowLeft", times=3):
    """Move a slider by keys; the plot changes."""
    before, at = pictures(notebook, plot), notebook.kernel(f"explorer.{trait}")
    slider = notebook.page.locator(f"{LIVE} input[type=range][data-trait={trait}]").first
    slider.focus()
    for _ in range(times):
        notebook.page.keyboard.press(key)
    notebook.until(f"explorer.{trait} != {at}")
    for _ in range(50):
        if pictures(notebook, plot) != before:
            return
        notebook.page.wait_for_timeout(100)
    raise AssertionError(f"{plot} did not follow {trait}")


def pictures(notebook, plot):
    """Both layers of a plot."""
    return [notebook.picture(c) for c in panel(notebook, plot).locator("canvas").all()]


def changed(notebook, canvas, before):
    for _ in range(80):
        if notebook.picture(canvas) != before:
            return
        notebook.page.wait_for_timeout(100)
    raise AssertionError("the picture did not change")


def lassoes(notebook, plot, at_least):
    canvas = panel(notebook, plot).locator("canvas.aam-base").first
    before = notebook.picture(canvas)
    lasso(notebook.page, canvas)
    notebook.until(f"len(explorer.selected) >= {at_least}")
    changed(notebook, canvas, before)
    assert notebook.kernel("study.keep_samples(explorer.selected).num_samples") == notebook.kernel(
        "len(explorer.selected)"
    )


def chooses(notebook, plot, trait):
    """Walk to a mark of a plot by keys, and choose it."""
    at = notebook.kernel(f"explorer.{trait}")
    over = panel(notebook, plot).locator("canvas.aam-over").first
    over.focus()
    notebook.page.keyboard.press("Home")
    before = notebook.picture(over)
    for key in ("ArrowUp", "ArrowRight", "ArrowDown", "ArrowDown"):  # one of them leads somewhere from anywhere
        notebook.page.keyboard.press(key)
    changed(notebook, over, before)
    notebook.page.keyboard.press("Enter")
    notebook.until(f"explorer.{trait} != {at!r}")


def drags_the_depth(notebook):
    """Take the line where it stands on the histogram, and pull it to the right."""
    over = panel(notebook, "depth").locator("canvas.aam-over").first
    over.scroll_into_view_if_needed()
    box, before = over.bounding_box(), notebook.kernel("explorer.depth")
    y = box["y"] + box["height"] / 2
    for x in range(int(box["x"]), int(box["x"] + box["width"])):
        notebook.page.mouse.move(x, y)
        if over.evaluate("c => c.style.cursor") == "ew-resize":
            break
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=5)
    notebook.page.mouse.up()
    notebook.until(f"explorer.depth > {before}")


def explore(notebook):
    picks(notebook, "color", "age", "pcoa")
    picks(notebook, "distance", "braycurtis", "pcoa")
    slides(notebook, "depth", "depth")
    drags_the_depth(notebook)
    lassoes(notebook, "pcoa", 20)
    assert notebook.kernel("explorer.selection.num_samples") == notebook.kernel("len(explorer.selected)")
    assert notebook.kernel("int(explorer.rarefied.depth.max())") == notebook.kernel("explorer.depth")


def attention(notebook):
    picks(notebook, "mode", "head", "Among the ASVs")
    picks(notebook, "head", "2", "Among the ASVs")
    slides(notebook, "top", "From the ASVs to the sample")
    chooses(notebook, "From the ASVs to the sample", "asv")


def attributions(notebook):
    slides(notebook, "top", "Features")
    lassoes(notebook, "Sample by sample", 3)
    chooses(notebook, "Features", "asv")
    picks(notebook, "level", "clade", "Features")


def errors(notebook):
    lassoes(notebook, "Predictions", 3)
    picks(notebook, "color", "season", "Predictions")
    chooses(notebook, "Predictions", "sample")


def compare(notebook):
    picks(notebook, "b", "dummy", "Two models on the same samples")
    lassoes(notebook, "Two models on the same samples", 20)


HANDS = {"explore": explore, "attention": attention, "attributions": attributions, "errors": errors, "compare": compare}


# -- the tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_an_explorer_is_drawn_answers_saves_files_and_leaves_a_figure(opened, name):
    notebook = opened(name, CELLS[name])
    notebook.explorer()
    notebook.page.wait_for_timeout(500)
    # drawn, as pixels
    canvases = notebook.page.locator(f"{LIVE} canvas.aam-base:visible").all()
    assert len(canvases) >= 3
    for canvas in canvases:
        drawn, colours = notebook.pixels(canvas)
        assert drawn > 200
        assert colours > 2
    notebook.tall()
    notebook.screenshot(f"lab_{name}_light")
    HANDS[name](notebook)
    notebook.screenshot(f"lab_{name}_used")
    # the keyboard walks through a plot, and what it comes to is said aloud
    over = notebook.page.locator(f"{LIVE} canvas.aam-over:visible").first
    over.focus()
    before = notebook.picture(over)
    notebook.page.keyboard.press("Home")
    notebook.page.wait_for_function("s => document.querySelector(s).textContent.length > 0", arg=f"{LIVE} .aam-heard")
    assert notebook.picture(over) != before
    # files
    starts = {"png": b"\x89PNG", "svg": b"<svg"}
    for kind, start in starts.items():
        content = notebook.save(notebook.page.locator(f"{LIVE} [data-save={kind}]:visible").first)
        assert content.startswith(start)
        assert len(content) > 1000
    table = notebook.save(notebook.page.locator(f"{LIVE} [data-save=csv]:visible").first).decode().splitlines()
    assert len(table) > 2
    assert len({row.count(",") for row in table[:2]}) == 1
    # dark
    notebook.theme("JupyterLab Dark")
    notebook.screenshot(f"lab_{name}_dark")
    notebook.theme("JupyterLab Light")
    # nothing was asked of another host, nothing broke
    assert not notebook.foreign
    assert not notebook.broken
    assert notebook.kernel("explorer.error") == ""
    # opened again with no kernel behind it, the figure is there
    notebook.reopened()
    image = notebook.page.locator(".jp-OutputArea .aam-still img").last
    image.wait_for()
    assert image.evaluate("i => i.naturalWidth") > 300
    assert notebook.page.locator(LIVE).count() == 0
    assert not notebook.page.get_by_text("Error displaying widget").locator("visible=true").count()
    notebook.screenshot(f"lab_{name}_reopened")
    assert not notebook.foreign


def test_an_error_in_the_kernel_shows_inside_the_explorer(opened):
    broken = """def break_it(change):
    raise RuntimeError("something in the kernel broke")
explorer.observe(break_it, "b")"""
    notebook = opened("broken", [*CELLS["compare"], broken])
    notebook.explorer()
    notebook.page.locator(f"{LIVE} select[data-trait=b]").select_option("dummy")
    alert = notebook.page.locator(f"{LIVE} .aam-error")
    alert.wait_for()
    assert "something in the kernel broke" in alert.inner_text()


def test_a_hostile_study_runs_nothing_in_jupyterlab(opened):
    cells = [HOSTILE, "explorer = aam.widgets.explore(study)\nexplorer"]
    notebook = opened("hostile", cells)
    notebook.explorer()
    for over in notebook.page.locator(f"{LIVE} canvas.aam-over:visible").all():
        over.focus()
        notebook.page.keyboard.press("Home")
        notebook.page.keyboard.press("Enter")
    notebook.tall()
    notebook.screenshot("lab_hostile")
    assert notebook.page.evaluate("window.owned === undefined")
    assert not notebook.broken
    assert not notebook.foreign
    notebook.reopened()
    notebook.page.locator(".jp-OutputArea .aam-still img").last.wait_for()
    assert notebook.page.evaluate("window.owned === undefined")
    assert not notebook.broken


def test_training_is_one_display_that_an_interrupt_ends_and_saving_keeps(chromium, lab):
    fit = """monitor = aam.widgets.training()
train, test = study.split(test_size=0.25, target="age", group="host_id", seed=0)
model = aam.AAM(aam.ModelConfig(width=16, num_layers=1, num_attn_heads=2))
config = aam.TrainConfig(epochs=100_000, patience=100_000, batch_size=8)
model.fit(train, target="age", config=config, callbacks=[monitor])"""
    notebook = Notebook(chromium, lab, lab.write("training", STUDY, fit, "model.predict(test).shape[0]"))
    page = notebook.page
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    curves = page.locator(".jp-OutputArea svg[aria-label*='by epoch']")
    curves.first.wait_for()
    shown = page.locator(".jp-OutputArea progress")
    first = shown.get_attribute("value")
    page.wait_for_function("v => document.querySelector('.jp-OutputArea progress').value > v", arg=int(first))
    assert shown.count() == 1
    notebook.tall()
    notebook.screenshot("lab_training_running")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
    page.get_by_text("The best epoch is kept").wait_for()
    notebook.until("monitor.status", "interrupted")
    assert notebook.kernel("len(model.history) == len(monitor.history) > 0")
    assert notebook.kernel("model.predict(test).shape[0] == test.num_samples")
    assert shown.count() == 1
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("lab_training_dark")
    notebook.theme("JupyterLab Light")
    notebook.reopened()
    curves.first.wait_for()
    notebook.screenshot("lab_training_reopened")
    assert not notebook.foreign
    notebook.close()
