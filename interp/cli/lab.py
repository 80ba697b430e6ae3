"""`interp lab`: JupyterLab on the notebooks."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

COPY = "interp-notebooks"  # in the present folder


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("lab", lab, "open JupyterLab on the notebooks")
    parser.add_argument("name", nargs="?", metavar="NAME", help="open this study")
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address instead of opening a browser"
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="open the notebooks where they are, not a copy: what is saved changes a clone's files",
    )


def lab(args: argparse.Namespace) -> int:
    """Opens JupyterLab and waits until it ends."""
    return open_lab(args.name, browser=not args.no_browser, in_place=args.in_place)


def open_lab(name: str | None = None, *, browser: bool = True, in_place: bool = False) -> int:
    """The exit code of JupyterLab on a copy of the notebooks, or on one of them by its name.

    The copy is `interp-notebooks` in the present folder; files that are in it already are kept.
    A folder that INTERP_NOTEBOOKS names is opened itself, and so is any with `in_place`.
    """
    from importlib.util import find_spec

    from interp.studies import find, home
    from interp.studies.notebooks import index
    from interp.studies.notebooks.paths import PACKAGE, folder_of, typed_name

    source = find(name) if name else None
    stem = source.stem if source else None
    if find_spec("jupyterlab") is None:
        raise ImportError("JupyterLab is not installed here: pip install jupyterlab")
    folder = folder_of(source) if source else home()
    ours = PACKAGE, PACKAGE.parent / "notebooks"  # a wheel's, a clone's: files of the project
    if not in_place and any(folder.is_relative_to(one) for one in ours):
        folder = _own_copy(folder, Path(COPY))
        print(f"opening a copy of the notebooks: {folder.resolve()} (yours to edit)")
    notebook = folder / f"{stem}.ipynb"
    if stem and not notebook.exists():
        raise FileNotFoundError(
            f"{notebook} is not built yet: python -m interp.studies build {typed_name(source)}"
        )
    first = folder / index.NAME
    if not stem and not first.exists():
        index.write(folder)
    return open_notebook(notebook if stem else first, browser=browser)


def open_notebook(notebook: Path, *, browser: bool = True) -> int:
    """The exit code of JupyterLab on one notebook, without its news."""
    command = [sys.executable, "-m", "jupyterlab", str(notebook)]
    with tempfile.TemporaryDirectory() as quiet:
        process = subprocess.Popen(
            command + ([] if browser else ["--no-browser"]), env=without_news(Path(quiet))
        )
        return _until_it_ends(process)


def without_news(folder: Path) -> dict[str, str]:
    """The environment in which JupyterLab does not ask about its news over the first page."""
    file = folder / "labconfig" / "page_config.json"
    file.parent.mkdir(parents=True)
    off = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    file.write_text(json.dumps(off), encoding="utf-8")
    own = os.environ.get("JUPYTER_CONFIG_PATH")
    path = os.pathsep.join([str(folder), *([own] if own else [])])
    return {**os.environ, "JUPYTER_CONFIG_PATH": path}


def _until_it_ends(process: Any) -> int:
    while True:
        try:
            return 0 if process.wait() in (0, -2, 130) else 1
        except KeyboardInterrupt:  # Jupyter has the same Ctrl-C, asks and ends by itself
            continue


def _left_behind(path: Path) -> bool:
    return any(part in ("__pycache__", ".ipynb_checkpoints") for part in path.parts)


def _own_copy(packaged: Path, folder: Path) -> Path:
    """A folder of one's own with the packaged notebooks; a file that is there already, edited or
    not, is kept.
    """
    from interp import _store

    files = (p for p in packaged.rglob("*") if p.is_file() and not _left_behind(p))
    for source in sorted(files):
        target = folder / source.relative_to(packaged)
        if not target.exists():
            _store.copy(source, target)
    return folder
