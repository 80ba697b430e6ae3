"""The first page of the notebooks: what to do in ten minutes, in an hour, in a day."""

import re
from pathlib import Path
from typing import Any

from interp.studies.notebooks import paths

NAME = "index.ipynb"
WIDE, HIGH = 170, 120  # pixels of a picture in the table
LEVELS = ("beginner", "intermediate", "advanced")
TIME = re.compile(r"^# (\d+ (?:minutes?|hours?)) · (\w+)", re.MULTILINE)
TITLE = re.compile(r"^# # (.+)$", re.MULTILINE)
# Time and level of what does not say it itself, as we judge them: to read it and to run it once.
USUAL = {
    "00-start-here": ("40 minutes", "beginner"),
    "tour-widgets": ("20 minutes", "beginner"),
    "tour-patching": ("40 minutes", "beginner"),
    "tour-causal-variables": ("30 minutes", "intermediate"),
    "tour-features": ("40 minutes", "intermediate"),
    "tour-circuit-discovery": ("60 minutes", "intermediate"),
}

WELCOME = """# Take a language model apart

Run the next cell (Shift + Enter). It loads a small language model and opens one panel with which
you can look at a prompt from all sides. The first time takes half a minute.

**One question to begin with:** who says " Mary"? Click the last token of the prompt, look at the
heads that write it, then ablate the first of them in the tab *heads*. Does the model still say
it?"""

CELL = """import interp

model = interp.load()
interp.widgets.explore(model, "When Mary and John went to the store, John gave a drink to")"""

DO = {
    "ten minutes": "the panel above: all its tabs, with a prompt of your own",
    "an hour": "[a tour of the widgets](tour-widgets.ipynb), then"
    " [a tour of patching](tour-patching.ipynb)",
    "three hours": "a lesson with exercises that are checked: `interp workshop start circuits`"
    " (or `attention`, `features`) in a terminal",
    "a day": "[Start here](00-start-here.ipynb), a study from question to verdict; then one below",
}
PLAN = "\n".join(
    [
        "## What next?\n\n| you have | do this |\n| --- | --- |",
        *(f"| **{time}** | {what} |" for time, what in DO.items()),
        "\nA notebook's saved numbers may be of a longer run than yours; then it says so.",
        "`FAST = True` in its first cell is the short run.",
    ]
)


def entry(source: Path) -> dict[str, str]:
    """What the page says about one notebook: name, title, time, level, picture ("" if none)."""
    text = source.read_text(encoding="utf-8")
    said, titled = TIME.search(text), TITLE.search(text)
    time, level = said.groups() if said else USUAL.get(source.stem, ("", ""))
    picture = f"figures/{source.stem}.png"
    there = (source.parent.parent / picture).exists()
    title = titled[1] if titled else source.stem
    return {
        "name": source.stem,
        "title": title,
        "time": time,
        "level": level,
        "picture": picture if there else "",
    }


def entries(folder: Path | None = None) -> list[dict[str, str]]:
    """All tours and studies, tours first, in reading order."""
    folder = Path(folder or paths.home())
    found = [*paths.tours(folder), *paths.names(folder)]
    return [entry(folder / "src" / f"{name}.py") for name in found]


def notebook(folder: Path | None = None) -> Any:
    """The page: a welcome, one cell that runs, and every notebook with its picture."""
    from nbformat import v4

    every = entries(folder)
    tours = [one for one in every if one["name"].startswith("tour-")]
    parts = [
        ("Tours of the tools", sorted(tours, key=_level)),
        ("Studies", [one for one in every if not one["name"].startswith("tour-")]),
    ]
    cells = [v4.new_markdown_cell(WELCOME), v4.new_code_cell(CELL), v4.new_markdown_cell(PLAN)]
    for title, some in parts:
        rows = [f"## {title}", "", "| | | time | level |", "| --- | --- | --- | --- |"]
        for one in some:
            image = _image(folder, one["picture"]) if one["picture"] else ""
            link = f"[{one['title']}]({one['name']}.ipynb)"
            rows.append(f"| {image} | {link} | {one['time']} | {one['level']} |")
        cells.append(v4.new_markdown_cell("\n".join(rows)))
    for i, cell in enumerate(cells):
        cell["id"] = f"index-{i}"
    return v4.new_notebook(cells=cells, metadata=_kernel())


def _kernel() -> dict[str, Any]:
    """What JupyterLab writes about the kernel here: a page that says it already is not called
    unsaved as soon as it is opened.
    """
    said: dict[str, Any] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    try:
        from ipykernel.ipkernel import IPythonKernel
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return {"kernelspec": said}
    try:
        said["display_name"] = KernelSpecManager().get_kernel_spec("python3").display_name
    except NoSuchKernel:
        pass
    return {"kernelspec": said, "language_info": dict(IPythonKernel.language_info)}


def _level(one: dict[str, str]) -> int:
    """Where an entry stands among others: beginners first; what names no level comes last."""
    return LEVELS.index(one["level"]) if one["level"] in LEVELS else len(LEVELS)


def _image(folder: Path | None, picture: str) -> str:
    """The picture, no larger than its place in the table."""
    head = (Path(folder or paths.home()) / picture).read_bytes()[:24]
    wide, high = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))  # of a PNG
    # its width alone: JupyterLab sets every height by itself
    return f'<img src="{picture}" width="{min(WIDE, HIGH * wide // high)}">'


def write(folder: Path | None = None) -> Path:
    """The path of the page, written anew."""
    import nbformat

    from interp import _store

    folder = Path(folder or paths.home())
    return _store.write_text(folder / NAME, nbformat.writes(notebook(folder)) + "\n")
