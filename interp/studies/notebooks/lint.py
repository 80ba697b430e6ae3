"""What a study's notebook must be: readable, with names that exist, outputs, nothing private."""

import ast
import inspect
import json
import re
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from interp.studies.claim_files import load_claims

# a cell fits on one screen, a function is one that the reader learns from
MAX_COLUMNS, MAX_CELL, MAX_FUNCTION, MAX_BYTES = 100, 40, 15, 900_000
HOOK = re.compile(
    r"\bblocks\.|\bhook_[a-z]|\.hook_|unembed\.hook|add_hook|run_with_hooks|run_with_cache"
)
# half a million letters in one word: slow to search for paths
PICTURE = re.compile(r"data:image/png;base64,[\w+/=]*")
LEAKS = re.compile(
    r"(?<![\w.])(?:/home/|/root/|/Users/|/tmp/|/private/|/var/folders/|[A-Z]:\\Users\\)[^\s'\"<>]*"
    r"|[^\s'\"<>]*site-packages[^\s'\"<>]*"
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


def claim_keys(nb: object, folder: Path | None = None) -> list[str]:
    """The keys of the claims a notebook declares: those of the file that `load_claims("NN-name")`
    reads, and those in its code, `Claim("key", ...)`, `replace(claim, key="other", ...)`.

    Args:
        nb: The source's notebook.
        folder: The notebooks folder; `home()` if None.
    """
    keys = []
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "id", None) or getattr(called, "attr", None)
            if name not in ("Claim", "replace", "load_claims"):
                continue
            first = node.args[0] if node.args and name != "replace" else None
            given = first or next((k.value for k in node.keywords if k.arg == "key"), None)
            if isinstance(given, ast.Constant):
                keys += list(load_claims(given.value, folder)) if name == "load_claims" else []
                keys += [] if name == "load_claims" else [given.value]
    return keys


def heading(nb: object) -> dict[str, str]:
    """Title, paper, time and level, from the first markdown cell: "# Title", "Paper: ...".

    The finding is the first "Found: ..." or paragraph that begins with "**What we found.**" in any
    markdown cell: a notebook may let its reader look before it tells.
    """
    texts = [c.source for c in nb.cells if c.cell_type == "markdown"] or [""]
    lines = {}
    for key, pattern in (
        ("title", r"^# +(.+)$"),
        ("paper", r"^\W*Paper\W+(.+)$"),
        ("found", r"^\W*(?:Found|What we found)\W+((?:.+\n?)+?)(?=\n|\Z)"),
        ("level", r"^(.*\bminutes? · .+)$"),
    ):
        where = texts if key == "found" else texts[:1]
        match = next(filter(None, (re.search(pattern, text, re.M) for text in where)), None)
        lines[key] = " ".join(match[1].split()).rstrip("\\").strip() if match else ""
    return lines


def source_problems(nb: object, *, tour: bool = False, folder: Path | None = None) -> list[str]:
    """What is wrong with the source's cells, a sentence each.

    Args:
        nb: The source's notebook.
        tour: Whether it shows tools. A tour has a title, but no paper, finding or claims.
        folder: The notebooks folder; `home()` if None.
    """
    problems = []
    try:
        keys = claim_keys(nb, folder)
    except (ValueError, OSError) as error:
        return [f"the file of claims cannot be read: {error}"]
    needed = (
        ("title", "# Title"),
        ("paper", "Paper: Wang et al. 2022, arXiv 2211.00593"),
        ("found", "**What we found.** ..."),
    )
    if any("load_claims" in c.source for c in nb.cells):  # studies in the form of today
        needed += (("level", "12 minutes · intermediate · you should know what attention is"),)

    for key, example in needed[:1] if tour else needed:
        if not heading(nb)[key]:
            where = "no cell has a" if key == "found" else "the first cell has no"
            problems.append(f"{where} {key} line (for example {example!r})")
    if bool(keys) == tour:
        problems.append(
            "a tour declares no Claim: claims belong to studies" if tour else "no Claim is declared"
        )
    if sum("parameters" in c.metadata.get("tags", []) for c in nb.cells) != 1:
        problems.append('there must be one cell tagged "parameters"')
    for n, cell in enumerate(nb.cells, start=1):
        if cell.cell_type == "code":
            problems += [f"cell {n} {problem}" for problem in _code_problems(cell.source)]
    return problems + [f"cell {n} {problem}" for n, problem in unknown_names(nb)]


def _code_problems(source: str) -> Iterator[str]:
    # the claims are data, so a cell that only declares them may be longer
    if (lines := code_lines(source)) > MAX_CELL and "Claim(" not in source:
        yield f"has {lines} lines of code; at most {MAX_CELL} fit on a screen"
    longest = max(map(len, source.splitlines()), default=0)
    if longest > MAX_COLUMNS:
        yield f"has a line of {longest} columns; at most {MAX_COLUMNS}"
    if hook := HOOK.search(source):
        yield f"names a hook ({hook[0]!r}); write an address such as 'L10H7' or 'resid_post.5'"
    if re.search(r"^\s*[%!]", source, re.M):
        yield "uses a % or ! magic; the source must run as a script"
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield f"has a class ({node.name}); classes belong to the library"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = code_lines(ast.unparse(node))
            if lines > MAX_FUNCTION:
                yield (
                    f"has a function of {lines} lines ({node.name}); at most {MAX_FUNCTION}, the"
                    " library holds longer ones"
                )


def unknown_names(nb: object) -> list[tuple[int, str]]:
    """The cell and a sentence for each name of interp that the code uses and that does not exist.

    Checked without running anything: imports from interp, chains such as `interp.tasks.ioi`, and
    the keyword arguments of functions called by such a name.
    """
    known: dict[str, object] = {}  # what the notebook's own names stand for
    problems = []
    for n, cell in enumerate(nb.cells, start=1):
        if cell.cell_type != "code" or re.search(r"^\s*[%!]", cell.source, re.M):
            continue
        tree = ast.parse(cell.source)
        nodes = list(ast.walk(tree))
        problems += [(n, text) for node in nodes for text in _import_problems(node, known)]
        inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            if isinstance(node, ast.Attribute) and id(node) not in inner:
                try:
                    _resolve(node, known)
                except AttributeError as error:
                    problems.append((n, f"calls {ast.unparse(node)!r}: {error}"))
            if isinstance(node, ast.Call):
                problems += [(n, text) for text in _keyword_problems(node, known)]
    return problems


def _import_problems(node: ast.AST, known: dict[str, object]) -> Iterator[str]:
    """Notes what an import of interp's binds in `known`, and yields what does not exist."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == "interp":
                module = import_module(alias.name)
                name = alias.asname or "interp"
                known[name] = module if alias.asname else import_module("interp")
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "interp":
        for alias in node.names:
            try:
                module = import_module(node.module)
                known[alias.asname or alias.name] = getattr(module, alias.name)
            except (ImportError, AttributeError) as error:
                yield f"imports {alias.name!r} from {node.module}: {error}"


def _resolve(node: ast.AST, known: dict[str, object]) -> object | None:
    """What a name or a chain of attributes stands for; None where it is not interp's.

    Only modules and classes are followed: what a call returns is not known before it runs.
    """
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    owner = _resolve(node.value, known)
    if inspect.ismodule(owner):
        return getattr(owner, node.attr)
    if not inspect.isclass(owner) or node.attr in inspect.get_annotations(owner):
        return None
    return getattr(owner, node.attr)


def _keyword_problems(node: ast.Call, known: dict[str, object]) -> Iterator[str]:
    try:
        function = _resolve(node.func, known)
        parameters = inspect.signature(function).parameters if callable(function) else {}
    except (AttributeError, TypeError, ValueError):
        return
    kinds = {p.kind for p in parameters.values()}
    if not parameters or inspect.Parameter.VAR_KEYWORD in kinds:
        return
    for keyword in node.keywords:
        if keyword.arg and keyword.arg not in parameters:
            yield f"gives {ast.unparse(node.func)} {keyword.arg!r}, which it does not take"


def output_problems(nb: object, size: int) -> list[str]:
    """What is wrong with the outputs of a built notebook of `size` bytes, a sentence each."""
    problems = (
        [f"{size / 1000:.0f} kB; at most {MAX_BYTES / 1000:.0f} (lower a figure's dpi or size)"]
        if size > MAX_BYTES
        else []
    )
    outputs = [(i + 1, o) for i, c in enumerate(nb.cells) for o in c.get("outputs", [])]
    if not outputs:
        problems.append("it has no outputs")
    private = {str(Path.home()), str(Path.cwd()), str(Path(tempfile.gettempdir()))} - {"/"}
    for n, out in outputs:
        if out.output_type == "error":
            problems.append(f"cell {n} ended in {out.ename}: {out.evalue}")
        data = {k: v for k, v in out.get("data", {}).items() if not k.startswith("image/png")}
        text = PICTURE.sub("", json.dumps(data)) + str(out.get("text", ""))
        leak = LEAKS.search(text)
        if path := leak[0] if leak else next((p for p in private if p + "/" in text), ""):
            problems.append(f"cell {n} shows a path of this computer: {path!r}")
        if "application/vnd.jupyter.widget-view+json" in data:
            problems.append(f"cell {n} stores a widget without a static picture")
        if out.get("name") == "stderr":
            problems.append(f"cell {n} stores stderr")
    if "widgets" in nb.metadata:
        problems.append("it stores widget state")
    return problems


def problems(name: str | Path, folder: Path) -> list[str]:
    """Every problem of a study's source and, when built, of its notebook in this folder."""
    from interp.studies.notebooks.paths import find
    from interp.studies.notebooks.source import need, read_source

    source = find(name, folder)
    name = source.stem
    nb = read_source(source)
    sentences = [
        f"{name}: {p}" for p in source_problems(nb, tour=is_tour(name), folder=Path(folder))
    ]
    built = Path(folder) / f"{name}.ipynb"
    if built.exists():
        nb = need("nbformat").read(built, 4)
        sentences += [f"{built.name}: {p}" for p in output_problems(nb, built.stat().st_size)]
    return sentences
