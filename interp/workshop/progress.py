"""How far one is: kept in a file beside the notebook, and shown in a panel that follows."""

import json
import os
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from interp import _store
from interp.workshop.exercise import LESSONS, exercises, known_lesson

FILE = "workshop-progress.json"  # in the folder of the notebook
MIME = "application/vnd.interp.check+json"


@dataclass
class Progress:
    """The rows of all exercises that were tried: attempts, state, mistakes, hints.

    A file that cannot be read is left as it is, and what happens then is kept in memory alone.
    """

    path: Path
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    readable: bool = True

    @staticmethod
    def here() -> "Progress":
        """The progress kept in the present folder, or in the file that INTERP_WORKSHOP names."""
        path = Path(os.environ.get("INTERP_WORKSHOP") or FILE).absolute()
        if path not in _open:
            _open[path] = Progress.read(path)
        return _open[path]

    @staticmethod
    def read(path: Path) -> "Progress":
        """The progress in a file; empty where there is none."""
        if not path.exists():
            return Progress(path)
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["exercises"]
            rows = {key: {**_new(), **row} for key, row in rows.items()}
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            return Progress(path, readable=False)
        return Progress(path, rows)

    def row(self, key: str) -> dict[str, Any]:
        """What is known about one exercise."""
        return self.rows.get(key, _new())

    def note(self, key: str, state: str, mistake: str = "") -> None:
        """One more attempt; after the exercise is done nothing is counted any more."""
        row = self.rows.setdefault(key, _new())
        if row["passed"]:
            return
        row["attempts"] += 1
        row["passed"] = row["passed"] or state == "right"
        if mistake:
            row["mistakes"].append(mistake)
        self._write()

    def hinted(self, key: str, most: int) -> int:
        """The number of the hint that is due; `most` + 1 when all were given."""
        row = self.rows.setdefault(key, _new())
        due = row["hints"] + 1
        row["hints"] = min(due, most)
        self._write()
        return due

    def shown(self, key: str) -> None:
        """The solution was looked at."""
        self.rows.setdefault(key, _new())["solution_shown"] = True
        self._write()

    def _write(self) -> None:
        if self.readable:
            text = json.dumps({"exercises": self.rows}, indent=1, ensure_ascii=False)
            try:
                _store.write_text(self.path, text + "\n")
            except OSError:
                self.readable = False  # a folder that cannot be written: keep it in memory
        _refresh()


_open: dict[Path, Progress] = {}
_panels: dict[str, str | None] = {}  # the display id of a shown panel, and its lesson


def _new() -> dict[str, Any]:
    return {"attempts": 0, "passed": False, "mistakes": [], "hints": 0, "solution_shown": False}


def progress(lesson: str | None = None) -> "Panel":
    """A panel with a mark for each exercise; it follows as long as the kernel runs.

    Example:
        >>> progress("circuits")

    Args:
        lesson: One lesson; all of them if None.
    """
    return Panel(known_lesson(lesson) if lesson else None)


@dataclass(frozen=True)
class Panel:
    """The panel; see `progress`. The notebook keeps it as it was last."""

    lesson: str | None

    @property
    def rows(self) -> list[tuple[str, int, str, dict[str, Any]]]:
        """Key, level, what is asked, and what is known of each exercise."""
        now = Progress.here()
        return [(k, e.level, e.asks, now.row(k)) for k, e in exercises(self.lesson).items()]

    def __repr__(self) -> str:
        return "\n".join(f"{_mark(row)} {key}  {_words(row)}" for key, _, _, row in self.rows)

    def _repr_html_(self) -> str:
        parts = []
        for lesson in (self.lesson,) if self.lesson else LESSONS:
            mine = [r for r in self.rows if r[0].rpartition("-")[0] == lesson]
            passed = sum(row["passed"] for *_, row in mine)
            boxes = "".join(_box(*r) for r in mine)
            parts.append(
                f'<div style="margin: 6px 0" role="group" aria-label="{lesson}: {passed} of'
                f' {len(mine)} exercises done"><b>{lesson.capitalize()}</b> · {passed} of'
                f" {len(mine)} done<div>{boxes}</div></div>"
            )
        return f'<div style="font-size: 13px">{"".join(parts)}</div>'

    def _ipython_display_(self) -> None:
        from uuid import uuid4

        from IPython.display import display

        ident = f"interp-{uuid4().hex[:8]}"
        _panels[ident] = self.lesson
        display(_Bundle(self), display_id=ident)


class _Bundle:
    """The panel's two texts, for `display`."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self.panel), "text/html": self.panel._repr_html_()}


class Shown:
    """Something that is shown where it is made, also with another line below it in the cell."""

    def bundle(self) -> dict[str, Any]:
        """Its texts by kind."""
        raise NotImplementedError

    def show(self) -> "Shown":
        """The same, shown at once if a notebook is there; not again as the cell's last value."""
        cell = _cell()
        if cell is not None:
            object.__setattr__(self, "_in_cell", cell)
            _display(self.bundle())
        return self

    def _ipython_display_(self) -> None:
        if getattr(self, "_in_cell", None) != _cell():
            _display(self.bundle())


def _cell() -> int | None:
    """The number of the cell that runs; None where there is no notebook."""
    import sys

    shell = sys.modules.get("IPython")
    shell = shell and shell.get_ipython()
    return shell.execution_count if shell else None


def _display(bundle: dict[str, Any]) -> None:
    from IPython.display import display

    display(bundle, raw=True)


def _refresh() -> None:
    """Shows every panel anew."""
    if _panels:
        from IPython.display import update_display

        for ident, lesson in _panels.items():
            update_display(_Bundle(Panel(lesson)), display_id=ident)


def _mark(row: dict[str, Any]) -> str:
    return "✔" if row["passed"] else "·" if not row["attempts"] else "✘"


def _words(row: dict[str, Any]) -> str:
    if not row["attempts"] and not row["hints"]:
        return "not begun"
    words = [f"{row['attempts']} attempt{'s' * (row['attempts'] != 1)}"]
    words += [f"{row['hints']} hint{'s' * (row['hints'] != 1)}"] if row["hints"] else []
    return ", ".join(words)


def _box(key: str, level: int, asks: str, row: dict[str, Any]) -> str:
    fill, edge, ink = (
        ("#2e7d32", "#2e7d32", "#fff")
        if row["passed"]
        else ("#fff3e0", "#b26a00", "#7a4a00")
        if row["attempts"]
        else ("transparent", "#8a8a8a", "inherit")
    )
    title = escape(f"{asks} ({_words(row)})", quote=True)
    number = key.rpartition("-")[2]
    return (
        f'<span title="{title}" style="display: inline-block; min-width: 74px; margin: 3px 6px 3px'
        f" 0; padding: 3px 8px; border: 1.5px solid {edge}; border-radius: 6px; background:"
        f' {fill}; color: {ink}">{_mark(row)} {number} <small>{"★" * level}</small></span>'
    )
