"""One table of all studies, written between markers in README.md and notebooks/README.md."""

import re
from pathlib import Path

from interp._store import write_text
from interp.studies.notebooks.lint import heading
from interp.studies.notebooks.paths import home, names
from interp.studies.notebooks.source import read_source
from interp.studies.verdict_rules import WORDS
from interp.studies.verdict_table import MARK, recorded

BEGIN, END = "<!-- scoreboard -->", "<!-- /scoreboard -->"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _tally(rows: list[dict]) -> str:
    counts = {w: sum(r["verdict"] == w for r in rows) for w in WORDS}
    return ", ".join(f"{MARK[w]} {n} {w}" for w, n in counts.items() if n) or "not run yet"


def _record(name: str, folder: Path) -> tuple[list[dict], str]:
    """The recorded rows (full, else FAST) and a word on the run."""
    both = recorded(name, folder)
    mode = "full" if "full" in both else "fast"
    got = both.get(mode)
    return (got["rows"], got["model"] + ("" if mode == "full" else " (FAST)")) if got else ([], "")


def table(folder: Path | None = None, link: str = "") -> str:
    """The scoreboard as markdown, one study per row.

    Args:
        folder: The notebooks folder; `home()` if None.
        link: What stands before a notebook's file name in the links.
    """
    folder = Path(folder or home())
    out = [
        "| study | paper | verdicts | what we found | model |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in names(folder):
        opening = heading(read_source(folder / "src" / f"{name}.py"))
        rows, model = _record(name, folder)
        cells = [
            f"[{name}]({link}{name}.ipynb)" + (f": {opening['title']}" if opening["title"] else ""),
            opening["paper"],
            _tally(rows),
            opening["found"],
            model,
        ]
        out.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(out)


def short_table(folder: Path | None = None, link: str = "") -> str:
    """The scoreboard of the front page: a study a row, its question and its verdicts."""
    folder = Path(folder or home())
    out = ["| study | question | verdicts |", "| --- | --- | --- |"]
    for name in names(folder):
        question = heading(read_source(folder / "src" / f"{name}.py"))["title"]
        cells = [f"[{name}]({link}{name}.ipynb)", question, _tally(_record(name, folder)[0])]
        out.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(out)


def claims(folder: Path | None = None) -> str:
    """Every claim with its verdict, a list a study."""
    folder, out = Path(folder or home()), []
    for name in names(folder):
        rows, _ = _record(name, folder)
        if rows:
            out += ["", f"**{name}**", ""]
            out += [
                f"- {MARK[r['verdict']]} **{r['verdict']}**: {' '.join(r['says'].split())}"
                f" ({r['source']})"
                for r in rows
            ]
    return "\n".join(out)


def filled(text: str, inside: str, where: str = "the file") -> str:
    """The text with what stands between the scoreboard markers replaced."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{where} needs one line {BEGIN} and, below it, one line {END}")
    return re.sub(
        re.escape(BEGIN) + ".*?" + re.escape(END),
        lambda _: f"{BEGIN}\n{inside}\n{END}",
        text,
        flags=re.S,
    )


def scoreboard(folder: Path | None = None, *, write: bool = True) -> list[Path]:
    """The README files whose table of studies was out of date.

    Args:
        folder: The notebooks folder; `home()` if None.
        write: Whether to bring them up to date.
    """
    folder = Path(folder or home())
    changed = []
    inside = {
        folder / "README.md": table(folder) + "\n" + claims(folder),
        folder.parent / "README.md": short_table(folder, f"{folder.name}/"),
    }
    for path, text in inside.items():
        if not path.exists():
            continue
        old = path.read_text(encoding="utf-8")
        new = filled(old, text.rstrip("\n"), path.name)
        if new != old:
            changed.append(path)
            if write:
                write_text(path, new)
    return changed
