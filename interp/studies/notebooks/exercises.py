"""One source, two notebooks: with solutions (the study) and without (the exercise).

Inside a code cell, in nbgrader's spelling: `### BEGIN SOLUTION` ... `### END SOLUTION` becomes `#
YOUR CODE HERE`; a line `### STUB: best = ...` between them is what stands there instead. A cell
tagged "solution" is only in the study, a cell tagged "exercise" only in the exercise.
"""

import copy
import re
from pathlib import Path

from interp._store import write_text
from interp.studies.notebooks.paths import typed_name

BLOCK = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION[ \t]*\n(.*?)^[ \t]*### END SOLUTION[ \t]*$\n?", re.S | re.M
)
STUB = re.compile(r"^[ \t]*### STUB:[ \t]*(.*)$\n?", re.M)
MARKER = re.compile(r"^[ \t]*### (?:BEGIN SOLUTION|END SOLUTION|STUB:.*)[ \t]*$\n?", re.M)


def marked(source: str) -> bool:
    """True when the cell holds solution markers."""
    return bool(MARKER.search(source))


def solution(source: str) -> str:
    """The cell with its solution and without the markers."""
    _balanced(source)
    return MARKER.sub("", source).rstrip("\n") if marked(source) else source


def stub(source: str) -> str:
    """The cell without its solution."""
    _balanced(source)

    def replace(match: re.Match) -> str:
        given = STUB.search(match[2])
        line = f"{given[1].rstrip()}  # YOUR CODE HERE" if given else "...  # YOUR CODE HERE"
        return f"{match[1]}{line}\n"

    return BLOCK.sub(replace, source).rstrip("\n") if marked(source) else source


def _balanced(source: str) -> None:
    if MARKER.search(BLOCK.sub("", source)):
        first = source.strip().splitlines()[0]
        raise ValueError(
            f"unbalanced solution markers in the cell that starts {first!r}: "
            "each ### BEGIN SOLUTION needs its ### END SOLUTION, with any ### STUB: between them"
        )


def solved(nb: object) -> object:
    """The study: solutions shown, cells tagged "exercise" left out. Outputs stay."""
    nb = copy.deepcopy(nb)
    nb.cells = [c for c in nb.cells if "exercise" not in c.metadata.get("tags", [])]
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = solution(cell.source)
    return nb


def has_exercises(nb: object) -> bool:
    """True when the exercise would differ from the study."""
    return any(
        marked(c.source) or {"solution", "exercise"} & set(c.metadata.get("tags", []))
        for c in nb.cells
    )


def unsolved(nb: object) -> object:
    """The exercise: stubs for solutions, no outputs."""
    nb = copy.deepcopy(nb)
    nb.cells = [c for c in nb.cells if "solution" not in c.metadata.get("tags", [])]
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"exercise-{i:03d}"
        if cell.cell_type == "code":
            cell.source, cell.outputs, cell.execution_count = stub(cell.source), [], None
    return nb


def write(source: Path, folder: Path) -> Path | None:
    """Writes exercises/NN-name.ipynb where the source has exercises; removes one that no longer
    should exist.
    """
    from interp.studies.notebooks.source import text_of

    dest, text = Path(folder) / "exercises" / f"{source.stem}.ipynb", _text(source, text_of)
    if text is None:
        dest.unlink(missing_ok=True)
        return None
    write_text(dest, text)
    return dest


def stale(source: Path, folder: Path) -> list[str]:
    """Why the exercise notebook is not what the source says; empty when it is."""
    from interp.studies.notebooks.source import text_of

    dest, want = Path(folder) / "exercises" / f"{source.stem}.ipynb", _text(source, text_of)
    have = dest.read_text(encoding="utf-8") if dest.exists() else None
    return (
        []
        if have == want
        else [
            f"exercises/{dest.name} is stale: python -m interp.studies exercises"
            f" {typed_name(source)}"
        ]
    )


def _text(source: Path, text_of: object) -> str | None:
    from interp.studies.notebooks.source import read_source

    nb = read_source(source)
    return text_of(unsolved(nb)) if has_exercises(nb) else None
