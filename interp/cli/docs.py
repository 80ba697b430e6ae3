"""`interp docs`: the documentation site, built where it is out of date, in the browser."""

import argparse
import subprocess
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

from interp.cli._answers import answer, note

FOLDERS = ("docs", "interp", "notebooks/verdicts", "notebooks/src", "benchmarks")  # it is made from
ENDINGS = (".md", ".py", ".pyi", ".json", ".css", ".js")


def add(command: Callable[..., argparse.ArgumentParser], as_json: argparse.ArgumentParser) -> None:
    """Adds the command to the command line."""
    parser = command("docs", docs, "open the documentation, built from a clone", as_json)
    parser.add_argument(
        "--no-browser", action="store_true", help="print where it is instead of opening it"
    )


def docs(args: argparse.Namespace) -> int:
    """Opens the first page; the site is built where there is none, or its sources are newer."""
    from interp.studies.notebooks.paths import PACKAGE

    root = PACKAGE.parent
    page = root / "site" / "index.html"
    _check(root)
    if out_of_date(page, root):
        note(args, "building the documentation (about 20 seconds)")
        build(root, page.parent)
    if not args.no_browser:
        webbrowser.open(page.as_uri())
    return answer(args, {"page": str(page)}, str(page))


def out_of_date(page: Path, root: Path) -> bool:
    """Whether there is no such page, or something that the site is made from is newer."""
    if not page.exists():
        return True
    sources = (p for name in FOLDERS for p in (root / name).rglob("*") if p.suffix in ENDINGS)
    made = page.stat().st_mtime
    return any(
        p.stat().st_mtime > made for p in (root / "mkdocs.yml", *root.glob("*.md"), *sources)
    )


def build(root: Path, to: Path) -> None:
    """Builds the site of a clone; mkdocs' own words are in the message where it cannot."""
    import os

    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(to)]
    # material's advertisement of its successor is not about this site
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, env=quiet)
    if ran.returncode:
        said = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
        raise ValueError(f"mkdocs could not build the site; it said: {' / '.join(said[-3:])[:600]}")


def _check(root: Path) -> None:
    from importlib.util import find_spec

    if not (root / "mkdocs.yml").exists() or not (root / "docs").is_dir():
        raise FileNotFoundError(
            "the documentation is built from a clone of the repository, and this is an installed"
            " package: git clone, then make docs there; here, help(interp.patch) and"
            ' interp.find("patching") say the same'
        )
    needed = {"mkdocs": "mkdocs", "material": "mkdocs-material"}
    needed["mkdocstrings_handlers.python"] = "mkdocstrings-python"
    for module, package in needed.items():
        try:
            there = find_spec(module) is not None
        except ModuleNotFoundError:
            there = False
        if not there:
            raise ImportError(
                f'{package} is not installed here: pip install -c constraints.txt -e ".[docs]", or'
                " make docs"
            )
