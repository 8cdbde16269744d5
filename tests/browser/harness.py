"""A real JupyterLab in a real Chromium, with no other host in reach.

Imported by name, fixtures too: a conftest.py here would hide the one above. Screenshots land in the folder named by
AAM_NB_SCREENSHOTS, else in build/screenshots: they are there to be looked at.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit

import nbformat
import pytest

CHROMIUM = os.environ.get("AAM_NB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
SCREENSHOTS = Path(os.environ.get("AAM_NB_SCREENSHOTS") or Path(__file__).parents[2] / "build" / "screenshots")
NEAR = ("127.0.0.1", "localhost", "")
SETTINGS = {
    # every cell is in the page, and nothing pops up over it
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none", "scrollPastEnd": False},
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
LIVE = f"{PANEL} .jp-OutputArea .aam"

RUN = """async code => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, store_history: false });
  let said = "", failed = null;
  future.onIOPub = m => {
    if (m.header.msg_type === "stream") said += m.content.text;
    if (m.header.msg_type === "error") failed = m.content.ename + ": " + m.content.evalue;
  };
  await future.done;
  if (failed) throw new Error(failed);
  return said;
}"""
OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === "code").map(c => ({
  ran: c.model.executionCount !== null,
  outputs: [...Array(c.model.outputs.length).keys()].map(k => c.model.outputs.get(k).toJSON()),
}))"""
# Pixels of a canvas that something was drawn on, and how many colours there are among them.
PIXELS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  let drawn = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 40) {
    drawn++;
    seen.add((data[i] >> 4) * 256 + (data[i + 1] >> 4) * 16 + (data[i + 2] >> 4));
  }
  return [drawn, seen.size];
}"""


@cache
def started():
    """A browser that lives as long as the process; each module that imports the fixture would start one of its own."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(scope="session")
def chromium():
    """A browser."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: `apt-get install chromium`, or name one by AAM_NB_CHROMIUM")
    return started()


class Watched:
    """A page that reaches no other host, with what went wrong in it."""

    def __init__(self, browser, *, width=1280, height=900, dark=False):
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            accept_downloads=True,
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.foreign: list[str] = []
        self.broken: list[str] = []
        self.page.route("**/*", self._route)
        self.page.on("pageerror", lambda e: self.broken.append(str(e)))
        self.page.on("console", lambda m: self.broken.append(m.text) if m.type == "error" and "aam" in m.text else None)
        self.page.on("dialog", self._dialog)

    def _route(self, route):
        if (
            urlsplit(route.request.url).scheme in ("data", "blob", "file")
            or (urlsplit(route.request.url).hostname or "") in NEAR
        ):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def _dialog(self, dialog):
        self.broken.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()

    def screenshot(self, name, *, full=True):
        """Save what is seen, at its full height."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=str(path), full_page=full)
        return path

    def pixels(self, canvas) -> tuple[int, int]:
        """Pixels drawn on a canvas, and their colours."""
        return tuple(canvas.evaluate(PIXELS))

    def picture(self, canvas) -> str:
        """What is drawn on a canvas, to compare with later."""
        return canvas.evaluate("c => c.toDataURL()")

    def save(self, button) -> bytes:
        """The file that a button makes."""
        with self.page.expect_download() as found:
            button.click()
        return Path(found.value.path()).read_bytes()

    def close(self):
        self.context.close()


class Notebook(Watched):
    """A notebook in JupyterLab."""

    def __init__(self, browser, lab, name, **settings):
        super().__init__(browser, **settings)
        self.lab, self.name = lab, name
        self.open()

    def open(self):
        """Open the notebook, and wait for its kernel."""
        self.page.goto(f"{self.lab.url}/lab/tree/{quote(self.name)}?token={self.lab.token}&reset")
        self.page.wait_for_selector(f"{PANEL} .jp-Notebook .jp-Cell", timeout=90_000)
        self.page.evaluate(
            """async () => { const w = window.jupyterapp.shell.currentWidget;
            await w.context.ready; await w.revealed; await w.sessionContext.ready; }"""
        )
        self.page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")

    def run_all(self, seconds=240):
        """Run every cell; gives the outputs of each."""
        self.page.evaluate(
            """() => { window.ran = null; window.jupyterapp.commands.execute("notebook:run-all-cells")
            .then(() => { window.ran = "all"; }, e => { window.ran = String(e); }); }"""
        )
        self.page.wait_for_function("() => window.ran !== null", timeout=1000 * seconds)
        outputs = self.page.evaluate(OUTPUTS)
        wrong = [o for cell in outputs for o in cell["outputs"] if o["output_type"] == "error"]
        assert not wrong, wrong[0]["evalue"]
        assert all(cell["ran"] for cell in outputs)
        return outputs

    def explorer(self):
        """The element of the explorer that is drawn."""
        found = self.page.locator(LIVE).first
        found.wait_for()
        return found

    def kernel(self, expression):
        """The value of an expression in the kernel."""
        said = self.page.evaluate(RUN, f"import json as _j; print(_j.dumps({expression}, default=str))")
        return json.loads(said)

    def until(self, expression, wanted=True, seconds=20):
        """Wait until an expression in the kernel has a value."""
        end = time.monotonic() + seconds
        while (found := self.kernel(expression)) != wanted:
            assert time.monotonic() < end, f"{expression} is {found!r}, not {wanted!r}"
            time.sleep(0.1)

    def tall(self):
        """Make the window as tall as the notebook, so that all of it is seen."""
        height = self.page.evaluate(
            f"""() => {{ const n = document.querySelector("{PANEL} .jp-WindowedPanel-outer");
            n.scrollTop = 0; return n.scrollHeight; }}"""
        )
        self.page.set_viewport_size({"width": self.page.viewport_size["width"], "height": min(12_000, height + 160)})
        self.page.wait_for_timeout(400)

    def theme(self, name):
        """Choose a theme of JupyterLab."""
        self.page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', { theme: name })", name)
        self.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light", arg=str("Dark" not in name).lower()
        )
        self.page.wait_for_timeout(300)

    def reopened(self):
        """Save, end the kernel, and open the notebook again as a reader would."""
        self.page.evaluate(
            """async () => { const w = window.jupyterapp.shell.currentWidget;
            await window.jupyterapp.commands.execute("docmanager:save"); await w.sessionContext.shutdown(); }"""
        )
        self.open()


def lasso(page, canvas):
    """Draw around most of a plot."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y, w, h = box["x"], box["y"], box["width"], box["height"]
    corners = [(0.03, 0.01), (0.97, 0.01), (0.97, 0.93), (0.03, 0.93), (0.03, 0.05)]
    page.mouse.move(x + corners[0][0] * w, y + corners[0][1] * h)
    page.mouse.down()
    for a, b in corners[1:]:
        page.mouse.move(x + a * w, y + b * h, steps=6)
    page.mouse.up()


class Lab:
    """A JupyterLab server over a folder."""

    def __init__(self, folder: Path):
        self.folder = folder / "notebooks"
        self.folder.mkdir()
        self.token = secrets.token_hex(16)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        for name, values in SETTINGS.items():
            path = folder / "settings" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        here = {
            "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
            "JUPYTER_RUNTIME_DIR": folder / "runtime",
            "IPYTHONDIR": folder / "ipython",
            "OMP_NUM_THREADS": "1",
        }
        self.log = (folder / "lab.log").open("wb")
        flags = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
        flags += [f"--ServerApp.root_dir={self.folder}", f"--IdentityProvider.token={self.token}"]
        flags += ["--expose-app-in-browser", "--LabApp.news_url="]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *flags],
            env=os.environ | {k: str(v) for k, v in here.items()},
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + 120
        while not self._answers():
            assert self.process.poll() is None, (folder / "lab.log").read_text()[-2000:]
            assert time.monotonic() < end, "JupyterLab did not answer within 120 s"
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/status?token={self.token}", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def write(self, name: str, *cells: str) -> str:
        """A notebook of code cells; gives its name."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / f"{name}.ipynb")
        return f"{name}.ipynb"

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory) -> Iterator[Lab]:
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()


@pytest.fixture
def from_disk(chromium):
    """Open a file in a page without network: `from_disk(path, dark=True, width=800)`."""
    opened = []

    def look(path, **settings):
        page = Watched(chromium, **settings)
        page.context.set_offline(True)
        opened.append(page)
        page.page.goto(Path(path).resolve().as_uri())
        page.page.wait_for_timeout(500)
        return page

    yield look
    for page in opened:
        page.close()
