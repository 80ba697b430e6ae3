"""One table of all studies, written between markers in README.md and notebooks/README.md."""

import re
from pathlib import Path

from interp._store import write_text
from interp.studies.notebooks.lint import heading
from interp.studies.notebooks.paths import home, names
from interp.studies.notebooks.source import read_source
from interp.studies.verdict_table import (
    KINDS,
    MARK,
    claim_text,
    comparisons,
    kind_of,
    recorded,
    tally,
)

BEGIN, END = "<!-- scoreboard -->", "<!-- /scoreboard -->"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _tally(rows: list[dict], *kinds: str) -> str:
    """The verdict counts of the rows of these kinds; of older studies, that nothing is quoted."""
    text = tally([r for r in rows if kind_of(r) in kinds])
    old = tally([r for r in rows if kind_of(r) == "unquoted"]) if "paper" in kinds else ""
    return text or (
        f"not quoted yet: {old}"
        if old
        else "none was tested"
        if rows and "paper" in kinds
        else ""
        if rows
        else "not run yet"
    )


def _first_sentence(text: str) -> str:
    found = re.match(r".+?[.?!](?=\s+[A-Z“]|$)", text)
    return found[0] if found else text


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
        "| study | paper | the paper's claims | our questions | what we found | model |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in names(folder):
        opening = heading(read_source(folder / "src" / f"{name}.py"))
        rows, model = _record(name, folder)
        cells = [
            f"[{name}]({link}{name}.ipynb)" + (f": {opening['title']}" if opening["title"] else ""),
            opening["paper"],
            _tally(rows, "paper"),
            _tally(rows, "ours"),
            opening["found"],
            model,
        ]
        out.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(out)


def short_table(folder: Path | None = None, link: str = "") -> str:
    """The scoreboard of the front page: what was asked, what became of the paper's own claims, and
    the first sentence of what was found.
    """
    folder = Path(folder or home())
    out = ["| study | what we asked | the paper's claims | finding |", "| --- | --- | --- | --- |"]
    for name in names(folder):
        opening = heading(read_source(folder / "src" / f"{name}.py"))
        rows, _ = _record(name, folder)
        cells = [
            f"[{name}]({link}{name}.ipynb)",
            opening["title"],
            _of_the_paper(rows),
            _first_sentence(opening["found"]),
        ]
        out.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(out)


def _of_the_paper(rows: list[dict]) -> str:
    """The counts of the paper's own claims; of a study without any, those of our questions."""
    paper = not rows or any(kind_of(r) != "ours" for r in rows)
    ours = "" if paper else _tally(rows, "ours")
    return f"{_tally(rows, 'paper')}; our questions: {ours}" if ours else _tally(rows, "paper")


def claims(folder: Path | None = None) -> str:
    """Every claim with its verdict, a list a study: the paper's, quoted, and then our questions.

    Where two rows of a study quote one sentence, each says which part of it was tested.
    """
    folder, out, every = Path(folder or home()), [], []
    for name in names(folder):
        rows, _ = _record(name, folder)
        every += rows
        if rows:
            out += ["", f"**{name}**", ""]
            out += [
                f"- {MARK[r['verdict']]} **{r['verdict']}**{_narrow(r)}{_asked(r)}:"
                f" {' '.join(claim_text(r).split())}{_part_of(r, rows)}"
                for kind in KINDS
                for r in rows
                if kind_of(r) == kind
            ]
    return "\n".join([*out, "", comparisons(every)] if every else out)


def _part_of(r: dict, rows: list[dict]) -> str:
    """What is tested of a sentence that other rows quote, too."""
    quote = r.get("quote")
    shared = quote and sum(x.get("quote") == quote for x in rows) > 1
    return f". Of this: {' '.join(r['says'].split())}" if shared and r["says"] != quote else ""


def _narrow(r: dict) -> str:
    return " (narrow)" if r.get("narrow") else ""


def _asked(r: dict) -> str:
    return ", our question" if kind_of(r) == "ours" else ""


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
