"""What a study's notebook must be: short, without machinery, with its outputs, and with nothing
private in them.
"""

import ast
import json
import re
import tempfile
from pathlib import Path

MAX_CODE, MAX_CELL, MAX_BYTES = 120, 12, 900_000
HOOK = re.compile(
    r"\bblocks\.|\bhook_[a-z]|\.hook_|unembed\.hook|add_hook|run_with_hooks|run_with_cache"
)
PICTURE = re.compile(
    r"data:image/png;base64,[\w+/=]*"
)  # half a million letters in one word: slow to search for paths
LEAKS = re.compile(
    r"(?<![\w.])(?:/home/|/root/|/Users/|/tmp/|/private/|/var/folders/|[A-Z]:\\Users\\)[^\s'\"<>]*|[^\s'\"<>]*site-packages[^\s'\"<>]*"
)


def code_lines(source: str) -> int:
    """Lines of code: not blank, not only a comment."""
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") for line in source.splitlines()
    )


def is_tour(name: str) -> bool:
    """Whether a notebook shows tools ("tour-patching") rather than repeats a study
    ("00-start-here").
    """
    return name.startswith("tour-")


def claim_keys(nb: object) -> list[str]:
    """The keys of the claims a notebook declares, read from its code: `Claim("key", ...)`,
    `replace(claim, key="other", ...)`.
    """
    keys = []
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "id", None) or getattr(called, "attr", None)
            if name not in ("Claim", "replace"):
                continue
            first = node.args[0] if node.args and name == "Claim" else None
            given = first or next((k.value for k in node.keywords if k.arg == "key"), None)
            if isinstance(given, ast.Constant):
                keys.append(given.value)
    return keys


def heading(nb: object) -> dict[str, str]:
    """Title, paper and finding, from the first markdown cell: "# Title", "Paper: ...", "Found:
    ...".
    """
    text = next((c.source for c in nb.cells if c.cell_type == "markdown"), "")
    found = {}
    for key, pattern in (
        ("title", r"^# +(.+)$"),
        ("paper", r"^\W*Paper\W+(.+)$"),
        ("found", r"^\W*Found\W+(.+)$"),
    ):
        hit = re.search(pattern, text, re.M)
        found[key] = hit[1].strip().rstrip("\\").strip() if hit else ""
    return found


def source_problems(nb: object, *, tour: bool = False) -> list[str]:
    """What is wrong with the source's cells. A tour of the tools has a title, but no paper, finding
    or claims.
    """
    found = []
    lines = (
        ("title", "# Title"),
        ("paper", "Paper: Wang et al. 2022, arXiv 2211.00593"),
        ("found", "Found: ..."),
    )
    for key, example in lines[:1] if tour else lines:
        if not heading(nb)[key]:
            found.append(f"the first cell has no {key} line (for example {example!r})")
    if bool(claim_keys(nb)) == tour:
        found.append(
            "a tour declares no Claim: claims belong to studies" if tour else "no Claim is declared"
        )
    if sum("parameters" in c.metadata.get("tags", []) for c in nb.cells) != 1:
        found.append('there must be one cell tagged "parameters"')
    code = [(i + 1, c.source) for i, c in enumerate(nb.cells) if c.cell_type == "code"]
    total = sum(code_lines(s) for _, s in code)
    if total > MAX_CODE:
        found.append(
            f"{total} lines of code; a study has at most {MAX_CODE} (move the rest into the"
            " library)"
        )
    for n, source in code:
        # the claims are data, so a cell that only declares them may be longer
        if (lines := code_lines(source)) > MAX_CELL and "Claim(" not in source:
            found.append(f"cell {n} has {lines} lines of code; at most {MAX_CELL}")
        if re.search(r"^\s*[%!]", source, re.M):
            found.append(f"cell {n} uses a % or ! magic; the source must run as a script")
        elif bad := _machinery(source):
            found.append(f"cell {n} has a {bad}; studies call the library")
        if hook := HOOK.search(source):
            found.append(
                f"cell {n} names a hook ({hook[0]!r}); write an address such as 'L10H7' or"
                " 'resid_post.5'"
            )
    return found


def _machinery(source: str) -> str:
    words = {
        ast.FunctionDef: "def",
        ast.AsyncFunctionDef: "def",
        ast.ClassDef: "class",
        ast.Lambda: "lambda",
    }
    return next((words[type(n)] for n in ast.walk(ast.parse(source)) if type(n) in words), "")


def output_problems(nb: object, size: int) -> list[str]:
    """What is wrong with the outputs of a built notebook of `size` bytes."""
    found = (
        [f"{size / 1000:.0f} kB; at most {MAX_BYTES / 1000:.0f} (lower a figure's dpi or size)"]
        if size > MAX_BYTES
        else []
    )
    outputs = [(i + 1, o) for i, c in enumerate(nb.cells) for o in c.get("outputs", [])]
    if not outputs:
        found.append("it has no outputs")
    private = {str(Path.home()), str(Path.cwd()), str(Path(tempfile.gettempdir()))} - {"/"}
    for n, out in outputs:
        if out.output_type == "error":
            found.append(f"cell {n} ended in {out.ename}: {out.evalue}")
        data = {k: v for k, v in out.get("data", {}).items() if not k.startswith("image/png")}
        text = PICTURE.sub("", json.dumps(data)) + str(out.get("text", ""))
        leak = LEAKS.search(text)
        if path := leak[0] if leak else next((p for p in private if p + "/" in text), ""):
            found.append(f"cell {n} shows a path of this computer: {path!r}")
        if "application/vnd.jupyter.widget-view+json" in data:
            found.append(f"cell {n} stores a widget without a static picture")
        if out.get("name") == "stderr":
            found.append(f"cell {n} stores stderr")
    if "widgets" in nb.metadata:
        found.append("it stores widget state")
    return found


def problems(name: str, folder: Path) -> list[str]:
    """Every problem of a study's source and, when built, of its notebook."""
    from interp.studies.notebooks.source import need, read_source

    source = read_source(Path(folder) / "src" / f"{name}.py")
    found = [f"{name}: {p}" for p in source_problems(source, tour=is_tour(name))]
    built = Path(folder) / f"{name}.ipynb"
    if built.exists():
        nb = need("nbformat").read(built, 4)
        found += [f"{built.name}: {p}" for p in output_problems(nb, built.stat().st_size)]
    return found
