"""The lessons' files: where they lie, and a learner's own copy of them."""

import re
from pathlib import Path
from typing import Any

from interp import _store
from interp.studies.notebooks.paths import home
from interp.workshop.exercise import LESSONS, exercises, known_lesson

COPY = "interp-workshop"  # in the present folder
SHEETS = ("glossary.md", "addresses.md")
TEACHERS = ("{}-solved.ipynb", "{}-notes.md", "{}-slides.html")
MINUTES = re.compile(r"\b(\d+) minutes\b")


def folder() -> Path:
    """The folder of the lessons: `workshop` among the notebooks."""
    return home() / "workshop"


def start(lesson: str, to: str | Path | None = None, *, teacher: bool = False) -> Path:
    """The path of one's own copy of a lesson's notebook; a file that is there already is kept.

    Example:
        >>> start("circuits")
        PosixPath('interp-workshop/circuits.ipynb')

    Args:
        lesson: "circuits", "attention", "features" or "graphs".
        to: The folder to copy to; `interp-workshop` in the present folder if None.
        teacher: Whether the solved notebook, the instructor's notes and the slides come as well.

    Raises:
        ValueError: If there is no such lesson.
    """
    lesson, to = known_lesson(lesson), Path(to or COPY)
    names = [f"{lesson}.ipynb", f"pictures/{lesson}.svg", *SHEETS]
    names += [name.format(lesson) for name in TEACHERS] if teacher else []
    for name in names:
        if not (to / name).exists():
            _store.copy(folder() / name, to / name)
    return to / f"{lesson}.ipynb"


def table() -> list[dict[str, Any]]:
    """The lessons as rows: name, title, minutes, number of exercises."""
    rows = []
    for lesson in LESSONS:
        source = folder() / "src" / f"{lesson}.py"
        if not source.exists():
            continue
        text = source.read_text(encoding="utf-8")
        title = re.search(r"^# # (.+)$", text, re.M)
        minutes = MINUTES.search(text)
        rows.append(
            {
                "lesson": lesson,
                "title": title[1] if title else lesson,
                "minutes": int(minutes[1]) if minutes else 0,
                "exercises": len(exercises(lesson)),
            }
        )
    return rows
