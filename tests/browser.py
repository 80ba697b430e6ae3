"""Drives a real JupyterLab in headless Chromium. One server for the whole session, one browser for
a test file.

    def test_a_widget(open_notebook):
        page = open_notebook("import interp; w = ...; w")     # a cell a string; runs them all
        page.click(".interp rect")
        page.poll("w.chosen", [[0, 1]])                        # asks the kernel until it is so
        page.see("() => document.querySelector('.interp-problem').textContent", "no such head")

Nothing may leave this machine: every request is recorded, and the fixture fails when one went
elsewhere. Without Chromium these tests are skipped, in CI they fail. Playwright's loop must not be
open while other files run, so the browser lives as long as a file; no test here is a coroutine.
"""

import ast
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "test"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {  # what would make a page differ from run to run
    "@jupyterlab/notebook-extension/tracker": {
        "windowingMode": "none",
        "autoStartDefaultKernel": True,
        "recordTiming": False,
    },
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
OWN_ERRORS = (
    "Cannot read properties of undefined (reading 'schema')",
)  # Notebook 7 on settings that only Lab knows
APP = "(window.jupyterapp || window.jupyterlab)"
KERNEL = f"{APP}.shell.currentWidget.context.sessionContext.session.kernel"
IDLE = f"""() => {{
  const context = {APP}?.shell?.currentWidget?.context, kernel = context?.sessionContext?.session?.kernel;
  return context?.isReady && kernel?.status === 'idle' && kernel?.connectionStatus === 'connected';
}}"""
EVALUATE = f"""async (code) => {{
  const request = {KERNEL}.requestExecute({{code: '', user_expressions: {{v: code}}, store_history: false}});
  const said = (await request.done).content.user_expressions.v;
  return said.status === 'ok' ? said.data['text/plain'] : 'ERROR ' + said.ename + ': ' + said.evalue;
}}"""


def missing(what: str) -> None:
    """Skips the test that needs this; in CI nothing may be missing."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {what}")


def chromium() -> str:
    """Where Chromium is."""
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    return found or missing("Chromium (for example apt-get install chromium)")


def node() -> str:
    """Where node is: the system's, or the one that comes with playwright."""
    found = shutil.which("node")
    if found is None:
        with contextlib.suppress(ImportError):
            import playwright

            bundled = Path(playwright.__file__).parent / "driver" / "node"
            found = str(bundled) if bundled.exists() else None
    return found or missing("node (it comes with playwright)")


# --- the server -----------------------------------------------------------------------------------


@contextlib.contextmanager
def server(folder: Path, app: str = "jupyterlab"):
    """The address of a running JupyterLab (or "notebook") whose notebooks and settings are in this
    folder.
    """
    home = folder / "home"
    for name, value in SETTINGS.items():
        file = home / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    own = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "run"}
    env = {**os.environ, **{f"JUPYTER_{key}": str(home / value) for key, value in own.items()}}
    env |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTERLAB_SETTINGS_DIR": str(home / "settings")}
    env |= {"JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"), "PYTHONPATH": str(ROOT)}
    env.pop("MPLBACKEND", None)  # a kernel draws in line
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "work").mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        app,
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={folder / 'work'}",
        "--expose-app-in-browser",
        "--LabApp.extension_manager=readonly",
        "--LabApp.news_url=",
    ]
    log = folder / "server.log"
    with log.open("wb") as out:
        running = subprocess.Popen(
            command, env=env, stdout=out, stderr=subprocess.STDOUT, cwd=folder / "work"
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _until_up(address, running, log)
        yield address, folder / "work"
    finally:
        running.terminate()  # the server then shuts its kernels down
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()


def _until_up(address: str, running: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 240  # a busy machine is slow, not wrong
    while time.monotonic() < end:
        if running.poll() is not None:
            raise RuntimeError(log.read_text())
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address + "/api", timeout=2)
            return
        time.sleep(0.1)
    raise RuntimeError("the server did not start:\n" + log.read_text())


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """(address, folder of the notebooks) of the JupyterLab that all browser tests share."""
    chromium()
    pytest.importorskip("playwright") if not os.environ.get("CI") else __import__("playwright")
    with server(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, for the tests of one file."""
    found = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        running = p.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield running
        running.close()


# --- a notebook on a page -------------------------------------------------------------------------


class Notebook:
    """One notebook open in the browser; `page` is playwright's own."""

    def __init__(self, page):
        self.page, self.requests, self.errors = page, [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def run(self) -> bool:
        """Runs every cell; whether none failed."""
        ok = self.page.evaluate(f"() => {APP}.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(IDLE, timeout=300_000)
        return ok

    def value(self, expression: str):
        """The value of an expression in the kernel, by way of JSON; no cell is added."""
        text = self.page.evaluate(EVALUATE, f"__import__('json').dumps(({expression}))")
        if text.startswith("ERROR"):
            raise RuntimeError(f"{expression}: {text}")
        return json.loads(ast.literal_eval(text))

    def do(self, expression: str) -> None:
        """Evaluates an expression in the kernel for what it does: `w.undo()`, `setattr(w, "by",
        "zero")`.
        """
        self.value(f"[{expression}, None][1]")

    def poll(self, expression: str, expected, timeout: float = 60.0):
        """Asks the kernel until it is so: the page sends late and merges, so reading once proves
        nothing.
        """
        return self._until(lambda: self.value(expression), expected, expression, timeout)

    def see(self, script: str, expected, timeout: float = 60.0):
        """Asks the page until a function of JavaScript gives this."""
        return self._until(lambda: self.page.evaluate(script), expected, script, timeout)

    def _until(self, read, expected, what, timeout):
        end = time.monotonic() + timeout
        while True:
            got = read()
            if expected(got) if callable(expected) else got == expected:
                return got
            if time.monotonic() > end:
                raise AssertionError(f"{what} is {got!r}, expected {expected!r}")
            self.page.wait_for_timeout(30)

    def click(self, selector: str, **options) -> None:
        self.page.locator(selector).first.click(**options)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def theme(self, name: str) -> None:
        """Changes the theme: "JupyterLab Dark", "JupyterLab Light"."""
        self.page.evaluate(
            f"(theme) => {APP}.commands.execute('apputils:change-theme', {{theme}})", name
        )
        light = str("Dark" not in name).lower()
        self.page.wait_for_function(f"() => document.body.dataset.jpThemeLight === '{light}'")
        self.page.wait_for_timeout(300)

    def picture(self, path: Path, selector: str = ".interp") -> Path:
        """A PNG of one element; also copied to the folder INTERP_SHOTS names, to be looked at."""
        self.page.locator(selector).first.screenshot(path=str(path))
        if os.environ.get("INTERP_SHOTS"):
            shutil.copy(path, os.environ["INTERP_SHOTS"])
        return path

    def elsewhere(self) -> list[str]:
        """Requests that left this machine."""
        return [
            u
            for u in self.requests
            if not u.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
        ]


def written(cells: tuple[str, ...]) -> str:
    """The cells as the text of a notebook. Without a kernel's name a dialog would block the page."""
    import nbformat
    from nbformat import v4

    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.writes(
        v4.new_notebook(cells=[v4.new_code_cell(c) for c in cells], metadata=metadata)
    )


@contextlib.contextmanager
def notebook(
    browser,
    address: str,
    folder: Path,
    *cells: str,
    path: str = "/doc/tree/",
    run: bool = True,
    file: str | None = None,
):
    """A notebook with these cells (or a file that is there), open and run.

    Fails at the end when a request left the machine or the page broke.
    """
    name = file or f"n{len(list(folder.glob('*.ipynb')))}.ipynb"
    if file is None:
        (folder / name).write_text(written(cells), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1200, "height": 1500})
    page.set_default_timeout(180_000)  # a busy machine is slow, not wrong
    opened = Notebook(page)
    try:
        page.goto(f"{address}{path}{name}?token={TOKEN}")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=180_000)
        page.wait_for_function(IDLE, timeout=180_000)
        if run:
            assert opened.run(), page.locator(".jp-OutputArea-output").all_inner_texts()
        yield opened
        assert not opened.elsewhere(), opened.elsewhere()
        broke = [error for error in opened.errors if error not in OWN_ERRORS]
        assert not broke, broke
    finally:
        with contextlib.suppress(Exception):  # the page may be the thing that broke
            page.evaluate(f"() => {APP}.shell.currentWidget.context.sessionContext.shutdown()")
        page.close()


@pytest.fixture
def open_notebook(browser, lab):
    """open_notebook("cell", "cell", ...) -> a Notebook, its cells run."""
    with contextlib.ExitStack() as stack:
        yield lambda *cells, **options: stack.enter_context(
            notebook(browser, *lab, *cells, **options)
        )
