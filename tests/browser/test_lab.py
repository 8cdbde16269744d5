"""Explorers in JupyterLab: drawn, answering to mouse and keys, telling the kernel, and seen again without one."""

import pytest

from tests.browser.conftest import LIVE, Notebook

pytestmark = pytest.mark.browser

STUDY = """import aam_nb as aam
config = aam.SimulateConfig(length=40, min_depth=300, max_depth=1500)
study = aam.simulate_study(48, 80, seed=1, config=config)"""
FIT = """train, test = study.split(test_size=0.25, target="age", group="host_id", seed=0)
model = aam.AAM(aam.ModelConfig(width=16, num_layers=2, num_attn_heads=2))
model.fit(train, target="age", config=aam.TrainConfig(epochs=2, batch_size=8, progress=False))
result = model.evaluate(test, num_trees=20)"""
CELLS = {
    "compare": [
        STUDY,
        'quick = {"folds": 2, "num_trees": 10, "num_permutations": 19, "num_resamples": 20, "tune": False}\n'
        'found = aam.compare(["random_forest", "ridge_clr", "dummy"], study, target="age", group="host_id", **quick)',
        "explorer = aam.widgets.compare(found, study)\nexplorer",
    ],
}


@pytest.fixture
def notebook(chromium, lab, request):
    """The notebook of an explorer, run."""
    name = request.param
    opened = Notebook(chromium, lab, lab.write(f"{name}_{request.node.originalname}", *CELLS[name]))
    opened.run_all()
    opened.explorer()
    opened.page.wait_for_timeout(500)
    yield opened
    opened.close()


def canvases(notebook):
    return notebook.page.locator(f"{LIVE} canvas.aam-base:visible").all()


@pytest.mark.parametrize("notebook", CELLS, indirect=True)
def test_every_explorer_is_drawn_saves_files_and_leaves_a_figure(notebook, request):
    name = request.node.callspec.id
    # drawn, as pixels
    for canvas in canvases(notebook):
        drawn, colours = notebook.pixels(canvas)
        assert drawn > 200
        assert colours > 2
    notebook.tall()
    notebook.screenshot(f"lab_{name}_light")
    # the keyboard walks through a plot, and what it comes to is said aloud
    over = notebook.page.locator(f"{LIVE} canvas.aam-over:visible").first
    over.focus()
    before = notebook.picture(over)
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.wait_for_function("s => document.querySelector(s).textContent.length > 0", arg=f"{LIVE} .aam-heard")
    assert notebook.picture(over) != before
    # files
    starts = {"png": b"\x89PNG", "svg": b"<svg", "csv": b""}
    for kind, start in starts.items():
        button = notebook.page.locator(f"{LIVE} [data-save={kind}]:visible").first
        content = notebook.save(button)
        assert content.startswith(start)
        assert len(content) > 50
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
    image = notebook.page.locator(".jp-OutputArea img").last
    image.wait_for()
    image.wait_for()
    assert image.evaluate("i => i.naturalWidth") > 300
    assert notebook.page.locator(LIVE).count() == 0
    notebook.screenshot(f"lab_{name}_reopened")
    assert not notebook.foreign


@pytest.mark.parametrize("notebook", ["compare"], indirect=True)
def test_compare_pickers_and_lasso_reach_the_kernel(notebook):
    page = notebook.page
    pairs = page.locator(f"{LIVE} [data-panel='Two models on the same samples'] canvas.aam-base")
    before = notebook.picture(pairs)
    page.locator(f"{LIVE} select[data-trait=b]").select_option("dummy")
    notebook.until("explorer.b", "dummy")
    page.wait_for_timeout(200)
    assert notebook.picture(pairs) != before
    lasso(page, pairs)
    notebook.until("len(explorer.selected) > 10")
    assert notebook.kernel("study.keep_samples(explorer.selected).num_samples") == notebook.kernel(
        "len(explorer.selected)"
    )


def lasso(page, canvas):
    """Draw around most of a plot."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y, w, h = box["x"], box["y"], box["width"], box["height"]
    corners = [(0.05, 0.02), (0.95, 0.02), (0.95, 0.92), (0.05, 0.92), (0.05, 0.05)]
    page.mouse.move(x + corners[0][0] * w, y + corners[0][1] * h)
    page.mouse.down()
    for a, b in corners[1:]:
        page.mouse.move(x + a * w, y + b * h, steps=6)
    page.mouse.up()
