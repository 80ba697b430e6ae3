"""Building notebooks: `src/NN-name.py` (percent format) -> `NN-name.ipynb` with outputs, and edits
back.

The same source and the same outputs give the same bytes: fixed cell ids, no times, no widget state,
no progress bars. The metadata holds a hash of the source, so a stale notebook is found without
running it.
"""

import base64
import re
from pathlib import Path

from interp._store import write_text
from interp.studies.notebooks import exercises, lint
from interp.studies.notebooks.paths import find, home
from interp.studies.notebooks.run import execute
from interp.studies.notebooks.source import (
    digest,
    need,
    normalise,
    read_source,
    text_of,
    with_parameters,
)


def build(name: str, folder: Path | None = None, *, only: str = "", say: object = print) -> Path:
    """Builds a study: runs it in a clean kernel, records its verdicts, writes the notebook and its
    exercises.

    only="full" or "fast" leaves the other mode's record as it is. The FAST run records verdicts and
    is thrown away; a tour has none, so it is run once.
    """
    folder = Path(folder or home())
    source = find(name, folder)
    dest = folder / f"{source.stem}.ipynb"
    both = ("full",) if lint.is_tour(source.stem) else ("full", "fast")
    for mode in (only,) if only else both:
        nb = exercises.solved(
            with_parameters(read_source(source), {"FAST": True} if mode == "fast" else {})
        )
        execute(
            nb,
            cwd=folder,
            progress=True,
            label=f"{source.stem} ({mode})",
            env={
                "INTERP_RECORD": "1",
                "INTERP_ROWS": "",
                "INTERP_NOTEBOOKS": str(folder.resolve()),
            },
        )
        if mode == "full":
            for line in normalise(nb, source):
                say(f"  removed from stderr: {line}")
            write_text(dest, text_of(nb))
            write_cover(nb, folder / "figures" / f"{source.stem}.png")
            exercises.write(source, folder)
    for problem in lint.problems(source.stem, folder):
        say(f"  problem: {problem}")
    return dest


def write_cover(nb: object, path: Path) -> bool:
    """Whether the notebook has a cell tagged "cover": its first picture is written to path, for the
    README.
    """
    outputs = [
        o for c in nb.cells if "cover" in c.metadata.get("tags", []) for o in c.get("outputs", [])
    ]
    pictures = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    if pictures:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(pictures[0]))
    return bool(pictures)


def check(name: str, folder: Path | None = None) -> list[str]:
    """What is wrong with a built notebook, without running it: stale, or not as our notebooks
    should be.
    """
    folder = Path(folder or home())
    stem = find(name, folder).stem
    return stale(stem, folder) + lint.problems(stem, folder)


def stale(name: str, folder: Path | None = None) -> list[str]:
    """Why the built notebook is not what its source says; empty when it is."""
    folder = Path(folder or home())
    source = find(name, folder)
    dest = folder / f"{source.stem}.ipynb"
    again = f"python -m interp.studies build {source.stem}"
    if not dest.exists():
        return [f"{dest.name} was never built: {again}"]
    built = need("nbformat").read(dest, 4)
    want = _cells(exercises.solved(read_source(source)))
    found = []
    if _cells(built) != want:
        n = next(
            (i for i, (a, b) in enumerate(zip(_cells(built), want)) if a != b),
            min(len(want), len(built.cells)),
        )
        found.append(
            f"{dest.name} differs from its source from cell {n + 1} on: {again} (or, to keep edits"
            f" made in Jupyter: python -m interp.studies pull {source.stem})"
        )
    elif built.metadata.get("interp", {}).get("sha256") != digest(source):
        found.append(f"{dest.name} was built from another version of its source: {again}")
    return found + exercises.stale(source, folder)


def _cells(nb: object) -> list[tuple[str, str, list[str]]]:
    return [(c.cell_type, c.source, list(c.metadata.get("tags", []))) for c in nb.cells]


def pull(name: str, folder: Path | None = None) -> bool:
    """Brings edits made to NN-name.ipynb in Jupyter back into its source; True when the source
    changed.

    Unchanged cells keep their solution markers. A changed cell that had markers is refused: edit
    the source.
    """
    folder = Path(folder or home())
    source = find(name, folder)
    edited = need("nbformat").read(folder / f"{source.stem}.ipynb", 4)
    edited.cells = [
        c
        for c in edited.cells
        if "injected-parameters" not in c.metadata.get("tags", []) and c.source.strip()
    ]
    before = read_source(source)
    if _cells(edited) == _cells(exercises.solved(before)):
        return False
    original = {
        exercises.solution(c.source): c.source for c in before.cells if exercises.marked(c.source)
    }
    lost = set(original) - {c.source for c in edited.cells}
    if lost:
        raise ValueError(
            "a cell with solution markers was changed, and the markers cannot be guessed; edit"
            f" {source.name}: {min(lost).splitlines()[0]!r}"
        )
    for cell in edited.cells:
        cell.source = original.get(cell.source, cell.source)
        cell.metadata = {"tags": list(cell.metadata["tags"])} if cell.metadata.get("tags") else {}
    old = source.read_text(encoding="utf-8")
    header = re.match(r"# ---\n(?:#.*\n)*?# ---\n+", old)
    edited.metadata = {
        "jupytext": {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags"}
    }
    body = (
        need("jupytext").writes(need("nbformat").from_dict(edited), fmt="py:percent").lstrip("\n")
    )
    write_text(source, (header.group() if header else "") + body)
    return True
