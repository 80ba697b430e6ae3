"""Building notebooks: `src/NN-name.py` (percent format) -> `NN-name.ipynb` with outputs, and edits
back.

The same source and the same outputs give the same bytes: fixed cell ids, no times, no widget state,
no progress bars. The metadata holds a hash of the source and what figures looked like, so a stale
notebook, and one with pictures of older drawing code, is found without running it.
"""

import ast
import base64
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp._store import write_text
from interp.studies.claim_files import claims_path, load_claims
from interp.studies.notebooks import exercises, lint
from interp.studies.notebooks.looks import looks, older
from interp.studies.notebooks.paths import find, folder_of, typed_name
from interp.studies.notebooks.run import execute
from interp.studies.notebooks.source import (
    digest,
    need,
    normalise,
    read_source,
    text_of,
    with_parameters,
)
from interp.studies.restate import restated
from interp.studies.verdict_rules import WORDS
from interp.studies.verdict_table import Table, record, recorded

KEPT = "kept from the run of an earlier source; names or prose changed since"


def build(
    name: str,
    folder: Path | None = None,
    *,
    only: str = "",
    report: Callable[[str], object] = print,
) -> Path:
    """The path of the notebook that was built: run in a clean kernel, verdicts recorded.

    The FAST run records its verdicts and is thrown away; a tour has no verdicts, so it is run once.
    The exercises of the study are written as well.

    Example:
        >>> build("00-start-here")
        >>> build("my-question.py")           # my-question.ipynb and verdicts/ beside it

    Args:
        name: A study or a tour, or the file of a study of your own.
        folder: The notebooks folder; if None, `home()` or the folder of your own study.
        only: "full" or "fast" leaves the other mode's record as it is.
        report: Receives a sentence for each problem and each line removed from stderr.

    Raises:
        StudyFailed: If a cell raises.

    Cost:
        What the study says of itself: minutes to an hour.
    """
    source = find(name, folder)
    folder = Path(folder or folder_of(source))
    target = folder / f"{source.stem}.ipynb"
    modes = ("full",) if lint.is_tour(source.stem) else ("full", "fast")
    for mode in (only,) if only else modes:
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
                report(f"  removed from stderr: {line}")
            nb.metadata["interp"]["looks"] = looks()
            write_text(target, text_of(nb))
            write_cover(nb, folder / "figures" / f"{source.stem}.png")
            exercises.write(source, folder)
    for problem in lint.problems(source, folder):
        report(f"  problem: {problem}")
    return target


def refresh(
    name: str, folder: Path | None = None, *, report: Callable[[str], object] = print
) -> bool:
    """Whether the built notebook took new cell sources from its source; its outputs stay.

    For changes in names, formatting or prose alone, and in the words of the claims. Whoever calls
    this declares that the new code computes what the old code computed. What can be checked is
    checked: the cells are the same in number, kind and tags, and no number in the code changed,
    but for thresholds that moved into the file of claims. The tables of claims and of verdicts are
    written anew from the recorded numbers (`restated`). The metadata then says that the outputs are
    from an earlier source; `check` accepts the notebook, and the next `build` runs it.

    Example:
        >>> refresh("00-start-here")

    Args:
        name: A study or a tour, or the file of a study of your own.
        folder: The notebooks folder; if None, `home()` or the folder of your own study.
        report: Receives a sentence for each code cell in which more than names and formatting
            changed, so that the author can look at it.

    Raises:
        ValueError: If a cell was added, removed or moved, or a number in the code changed.
        FileNotFoundError: If the notebook was never built.
    """
    source = find(name, folder)
    folder = Path(folder or folder_of(source))
    target = folder / f"{source.stem}.ipynb"
    again = f"python -m interp.studies build {typed_name(source)}"
    if not target.exists():
        raise FileNotFoundError(f"{target.name} was never built: {again}")
    built = need("nbformat").read(target, 4)
    wanted = exercises.solved(read_source(source))
    fresh = built.metadata.get("interp", {}).get("sha256") == digest(source)
    if fresh and _cells(built) == _cells(wanted):
        return False
    if [(kind, tags) for kind, _, tags in _cells(built)] != [
        (kind, tags) for kind, _, tags in _cells(wanted)
    ]:
        raise ValueError(
            f"{target.name} and its source differ in the number, kind or tags of their cells, so"
            f" the outputs cannot stay: {again}"
        )
    in_file = _claim_numbers(source.stem, folder)
    for n, (old, new) in enumerate(zip(built.cells, wanted.cells), start=1):
        if old.cell_type != "code" or old.source == new.source:
            continue
        was, now = _numbers(old.source), _numbers(new.source)
        if now - was or set(was - now) - in_file:
            raise ValueError(
                f"a number in the code of cell {n} of {target.name} changed, so its outputs cannot"
                f" stay: {again}"
            )
        if _shape(old.source) != _shape(new.source):
            report(f"  {source.stem}: more than names changed in cell {n}")
    for old, new in zip(built.cells, wanted.cells):
        old.source = new.source
    if in_file:
        _restate(source.stem, built, folder)
    about = built.metadata.get("interp", {})
    built.metadata["interp"] = {**about, "sha256": digest(source), "outputs": KEPT}
    write_text(target, text_of(built))
    exercises.write(source, folder)
    return True


def _claim_numbers(name: str, folder: Path) -> set[str]:
    """The numbers in a study's file of claims, as text; empty without one."""
    path = claims_path(name, folder)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def _restate(name: str, built: object, folder: Path) -> None:
    """Writes the tables of claims and verdicts anew, in the record and in the built notebook."""
    claims, both = load_claims(name, folder), recorded(name, folder)
    for mode, run in both.items():
        rows = restated(run["rows"], claims)
        record(name, rows, model=run["model"], fast=mode == "fast", seed=run["seed"], folder=folder)
        if mode == "full":
            table = Table(name, tuple(rows), run["model"])
            _restate_printed(built, rows)
    for cell in built.cells:
        for call, shown in (("load_claims(", claims), ("verdicts(", table)):
            if cell.cell_type == "code" and re.search(rf"(?<!\w){re.escape(call)}", cell.source):
                cell.outputs = [
                    need("nbformat").v4.new_output(
                        "execute_result",
                        {"text/plain": repr(shown), "text/html": shown._repr_html_()},
                        execution_count=cell.execution_count,
                    )
                ]


def _restate_printed(built: object, rows: list[dict]) -> None:
    """Writes a verdict that a cell printed as it is now: a line "key: word (why)"."""
    for out in (o for c in built.cells for o in c.get("outputs", []) if "text" in o):
        for r in rows:
            line = f"{r['key']}: {r['verdict']} ({r['why']})"
            words = "|".join(WORDS)
            out.text = re.sub(
                rf"^{re.escape(r['key'])}: (?:{words}) \(.*\)$",
                lambda _: line,
                out.text,
                flags=re.M,
            )


def _numbers(code: str) -> Counter[str]:
    """How often each number stands in the code."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return Counter(t.string for t in tokens if t.type == tokenize.NUMBER)


class _Nameless(ast.NodeTransformer):
    """Takes out of a syntax tree what may change with names and prose."""

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if ast.unparse(node).startswith("interp."):  # where a function lives is part of its name
            return ast.Name("", node.ctx)
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node


def _shape(code: str) -> str:
    """The code's syntax tree without imports, names, and what its strings say."""
    tree = _Nameless().visit(ast.parse(code))
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            if isinstance(getattr(node, field, None), str):
                setattr(node, field, "")
    return ast.dump(tree)


def write_cover(nb: Any, path: Path) -> bool:
    """Whether the notebook has a picture; it is written for the README and for the index.

    It is the first picture of the cells tagged "cover", or else the first of all.

    Args:
        nb: An executed notebook.
        path: Where the picture goes (.png).
    """
    tagged = [c for c in nb.cells if "cover" in c.metadata.get("tags", [])]
    outputs = [o for c in (*tagged, *nb.cells) for o in c.get("outputs", [])]
    picture = next(filter(None, map(_picture, outputs)), None)
    if picture:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(picture))
    return bool(picture)


def _picture(output: Any) -> str | None:
    """The PNG of an output in base64: its own, or the one in its HTML (a result, a widget)."""
    data = output.get("data", {})
    if "image/png" in data:
        return data["image/png"]
    found = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", data.get("text/html", ""))
    return found and found[1]


def check(name: str, folder: Path | None = None) -> list[str]:
    """What is wrong with a built notebook, a sentence each, without running it; empty when nothing.

    Example:
        >>> check("00-start-here")
        []

    Args:
        name: A study or a tour, or the file of a study of your own.
        folder: The notebooks folder; if None, `home()` or the folder of your own study.
    """
    source = find(name, folder)
    return stale(name, folder) + lint.problems(source, Path(folder or folder_of(source)))


def stale(name: str, folder: Path | None = None) -> list[str]:
    """Why the built notebook is not what its source says; empty when it is."""
    source = find(name, folder)
    folder = Path(folder or folder_of(source))
    target = folder / f"{source.stem}.ipynb"
    again = f"python -m interp.studies build {typed_name(source)}"
    if not target.exists():
        return [f"{target.name} was never built: {again}"]
    built = need("nbformat").read(target, 4)
    want = _cells(exercises.solved(read_source(source)))
    reasons = []
    if _cells(built) != want:
        n = next(
            (i for i, (a, b) in enumerate(zip(_cells(built), want)) if a != b),
            min(len(want), len(built.cells)),
        )
        reasons.append(
            f"{target.name} differs from its source from cell {n + 1} on: {again} (names or prose"
            f" alone: python -m interp.studies refresh {typed_name(source)}; to keep edits made in"
            f" Jupyter: python -m interp.studies pull {typed_name(source)})"
        )
    elif built.metadata.get("interp", {}).get("sha256") != digest(source):
        reasons.append(f"{target.name} was built from another version of its source: {again}")
    code = [c.source for c in built.cells if c.cell_type == "code"]
    if kinds := older(built.metadata.get("interp", {}).get("looks", {}), code):
        reasons.append(
            f"{target.name} shows pictures of older drawing code ({', '.join(kinds)}): {again}"
        )
    return reasons + exercises.stale(source, folder)


def _cells(nb: object) -> list[tuple[str, str, list[str]]]:
    return [(c.cell_type, c.source, list(c.metadata.get("tags", []))) for c in nb.cells]


def pull(name: str, folder: Path | None = None) -> bool:
    """Whether the source changed: edits made to NN-name.ipynb in Jupyter are brought back into it.

    Unchanged cells keep their solution markers.

    Args:
        name: A study or a tour, or the file of a study of your own.
        folder: The notebooks folder; if None, `home()` or the folder of your own study.

    Raises:
        ValueError: If a cell with solution markers was changed; edit the source instead.
    """
    source = find(name, folder)
    folder = Path(folder or folder_of(source))
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
