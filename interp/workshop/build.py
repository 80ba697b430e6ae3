"""One source, four files: the learner's notebook, the solved one, the notes, the slides.

A lesson is `notebooks/workshop/src/NAME.py`, in percent format with the markers of
`interp.studies.notebooks.exercises`. A markdown cell tagged "instructor" is in the notes alone; one
tagged "slide" is a slide as well, and one tagged "slide-only" nothing else. Exercises stand in the
notes with a solution and their mistakes, from the same table that `check` reads.

    python -m interp.workshop.build [NAMES]      # builds; the solved notebook is run
    python -m interp.workshop.build --refresh    # prose changed and no code: outputs stay
    python -m interp.workshop.build --check      # says what is stale, runs nothing
"""

import argparse
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

from interp._store import write_text
from interp.studies.notebooks import exercises as markers
from interp.studies.notebooks.run import execute
from interp.studies.notebooks.source import need, normalise, read_source, text_of
from interp.workshop.check import Reply, code_of
from interp.workshop.exercise import LESSONS, exercises
from interp.workshop.progress import MIME
from interp.workshop.start import folder as home

NOT_FOR_LEARNERS = {"instructor", "slide-only"}
PART = re.compile(r"^\| (\d.*?) \| (\d+) \|$", re.M)
CHECK = re.compile(r"""\bcheck\(\s*["']([a-z]+-\d+)["']""")


def tags(cell: Any) -> set[str]:
    """A cell's tags."""
    return set(cell.metadata.get("tags", []))


def learners(source: Path) -> Any:
    """The learner's notebook: stubs for solutions, no outputs, nothing for the instructor."""
    return markers.unsolved(_without(read_source(source), NOT_FOR_LEARNERS))


def solved(source: Path) -> Any:
    """The solved notebook, not yet run."""
    return markers.solved(_without(read_source(source), NOT_FOR_LEARNERS))


def _without(nb: Any, unwanted: set[str]) -> Any:
    nb.cells = [cell for cell in nb.cells if not tags(cell) & unwanted]
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"cell-{i:03d}"
    return nb


def keys_in(nb: Any) -> list[str]:
    """The exercises that a notebook checks, in its order."""
    return [
        key for cell in nb.cells if cell.cell_type == "code" for key in CHECK.findall(cell.source)
    ]


def notes(source: Path) -> str:
    """The instructor's notes as markdown: the plan, what to say, and every exercise's answers."""
    nb: Any = read_source(source)
    title = next(c.source for c in nb.cells if c.cell_type == "markdown").splitlines()[0]
    parts = [f"{title}: instructor's notes", "Made from the lesson's source; edit that."]
    parts += ["## The plan", "\n".join(plan(nb))]
    known, minutes = exercises(source.stem), dict(PART.findall("\n".join(plan(nb))))
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                took = minutes.get(line.removeprefix("## ")) if line.startswith("## ") else None
                parts += [line + (f" ({took} minutes)" if took else "")] * line.startswith("## ")
            parts += [cell.source] if "instructor" in tags(cell) else []
        else:
            parts += [_answers(known[key]) for key in CHECK.findall(cell.source)]
    return "\n\n".join(parts) + "\n"


def _answers(one: Any) -> str:
    lines = [f"### {one.key} {'★' * one.level}", "", f"Asked: {one.asks}.", "", "```python"]
    lines += [code_of(one), "```", "", f"*When it is right:* {one.remember}", ""]
    lines += ["| a mistake | what the check says |", "| --- | --- |"]
    lines += [f"| {m.name} | {m.hint} |" for m in one.mistakes]
    return "\n".join(lines)


def slides(source: Path) -> str:
    """The slides as one HTML page that loads nothing: arrow keys go on."""
    nb: Any = read_source(source)
    chosen = [text for cell in nb.cells for text in _slides_of(cell)]
    chosen.insert(1, "\n".join(["## The plan", "", *plan(nb)]))
    title = chosen[0].splitlines()[0].lstrip("# ")
    sections = "\n".join(f"<section>{_html(text, source)}</section>" for text in chosen)
    return PAGE.replace("TITLE", escape(title)).replace("SECTIONS", sections)


def _slides_of(cell: Any) -> list[str]:
    """A slide's text; of another cell that learners read, its predictions, a slide each."""
    if cell.cell_type != "markdown" or "instructor" in tags(cell):
        return []
    if tags(cell) & {"slide", "slide-only"}:
        return [cell.source]
    return [part for part in cell.source.split("\n\n") if part.startswith("*Predict")]


def plan(nb: Any) -> list[str]:
    """The lines of the table of a lesson's parts and their minutes."""
    text = next(c.source for c in nb.cells if "| minutes |" in c.source)
    return [line for line in text.splitlines() if line.startswith("|")]


def _html(markdown: str, source: Path) -> str:
    html = need("nbconvert.filters.markdown_mistune").markdown2html_mistune(markdown)

    def picture(found: re.Match) -> str:
        return (source.parent.parent / found[1]).read_text(encoding="utf-8")

    html = re.sub(r'<img src="(pictures/[\w-]+\.svg)"[^>]*>', picture, html)
    return re.sub(r'<a class="anchor-link".*?</a>', "", html)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>TITLE</title>
<meta name="viewport" content="width=device-width">
<style>
html { scroll-snap-type: y mandatory; font: 2.6vmin/1.45 system-ui, sans-serif; color: #222 }
body { margin: 0 }
section { box-sizing: border-box; min-height: 100vh; padding: 7vmin 12vmin;
  scroll-snap-align: start; display: flex; flex-direction: column; justify-content: center;
  break-after: page;
  border-bottom: 1px solid #ddd }
h1, h2 { line-height: 1.15; margin: 0 0 3vmin } h1 { font-size: 6vmin } h2 { font-size: 4.6vmin }
svg { max-width: 100%; max-height: 62vh; display: block; margin: auto }
pre, code { font-size: .92em; background: #f4f4f4 } pre { padding: 1.5vmin; overflow-x: auto }
table { border-collapse: collapse } td, th { padding: .6vmin 2vmin; border-bottom: 1px solid #ccc }
</style></head><body>
SECTIONS
<script>
const all = [...document.querySelectorAll("section")];
let at = 0;
const go = (to) => { at = Math.max(0, Math.min(all.length - 1, to)); all[at].scrollIntoView(); };
addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1,
    ArrowLeft: -1, ArrowUp: -1, PageUp: -1 }[event.key];
  if (step) { event.preventDefault(); go(at + step); }
});
</script></body></html>
"""


def texts(source: Path) -> dict[str, str]:
    """The files that need no run, by name."""
    name = source.stem
    return {
        f"{name}.ipynb": text_of(learners(source)),
        f"{name}-notes.md": notes(source),
        f"{name}-slides.html": slides(source),
    }


def build(name: str, to: Path | None = None) -> list[Path]:
    """The paths of the four files of a lesson, written anew; the solved notebook is run.

    Raises:
        ValueError: If a check in the solved notebook does not say "right".
        StudyFailed: If a cell raises.
    """
    import tempfile

    to = Path(to or home())
    source = to / "src" / f"{name}.py"
    written = [write_text(to / file, text) for file, text in texts(source).items()]
    nb = solved(source)
    with tempfile.TemporaryDirectory() as empty:  # the progress file stays there
        execute(nb, cwd=Path(empty), progress=True, label=f"{name} (solved)")
    failed = [c.source for c in nb.cells if any("✘" in str(o) for o in c.get("outputs", []))]
    if any(CHECK.search(cell) for cell in failed):
        raise ValueError(f"a check in {name} is not right: {failed[0]}")
    normalise(nb, source)
    for cell in nb.cells:  # a progress bar leaves an output without anything in it
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("data", True)]
    return [*written, write_text(to / f"{name}-solved.ipynb", text_of(nb))]


def refresh(name: str, to: Path | None = None) -> None:
    """Writes a lesson's files anew without running it: its prose changed, its code did not.

    Raises:
        ValueError: If code changed since the solved notebook was run.
    """
    to = Path(to or home())
    source = to / "src" / f"{name}.py"
    ran, nb = need("nbformat").read(to / f"{name}-solved.ipynb", 4), solved(source)
    before, now = ([c for c in n.cells if c.cell_type == "code"] for n in (ran, nb))
    if [c.source for c in before] != [c.source for c in now]:
        raise ValueError(f"code of {name} changed: python -m interp.workshop.build {name}")
    for old, new in zip(before, now):
        new.outputs, new.execution_count = old.outputs, old.execution_count
        for output in new.outputs:  # what a right answer is told may be worded anew
            if reply := output.get("data", {}).get(MIME):
                said = Reply(reply["exercise"], "right", exercises()[reply["exercise"]].remember)
                output.data |= {"text/plain": repr(said), "text/html": said._repr_html_()}
    normalise(nb)
    write_text(to / f"{name}-solved.ipynb", text_of(nb))
    for file, text in texts(source).items():
        write_text(to / file, text)


def stale(name: str, to: Path | None = None) -> list[str]:
    """Why a lesson's files are not what its source says; empty when they are. Nothing is run."""
    to = Path(to or home())
    source = to / "src" / f"{name}.py"
    again = f"python -m interp.workshop.build {name}"
    reasons = []
    for file, text in texts(source).items():
        if not (to / file).exists() or (to / file).read_text(encoding="utf-8") != text:
            reasons.append(f"{file} is not what its source says: {again}")
    ran = to / f"{name}-solved.ipynb"
    if not ran.exists():
        return [*reasons, f"{ran.name} was never built: {again}"]
    built, want = need("nbformat").read(ran, 4), solved(source)
    if [c.source for c in built.cells] != [c.source for c in want.cells]:
        reasons.append(f"{ran.name} differs from its source: {again}")
    return reasons


def names(to: Path | None = None) -> list[str]:
    """The lessons that have a source, in their order."""
    src = Path(to or home()) / "src"
    return [lesson for lesson in LESSONS if (src / f"{lesson}.py").exists()]


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 all well, 1 stale or broken."""
    parser = argparse.ArgumentParser(prog="python -m interp.workshop.build", description=__doc__)
    parser.add_argument("names", nargs="*", help="lessons; all of them if none is named")
    parser.add_argument("--check", action="store_true", help="say what is stale, run nothing")
    parser.add_argument(
        "--refresh", action="store_true", help="prose changed and no code: run nothing"
    )
    args = parser.parse_args(argv)
    problems: list[str] = []
    for name in args.names or names():
        if args.check:
            problems += stale(name)
        elif args.refresh:
            refresh(name)
        else:
            build(name)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
