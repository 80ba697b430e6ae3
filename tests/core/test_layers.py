"""Imports point one way. Read from the sources with `ast`, so that an import inside a function
counts too.
"""

import ast
import builtins
import dis
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import CodeType

import pytest

from interp._lazy import homes

PACKAGE = Path(__file__).resolve().parents[2] / "interp"

# From the ground up. A part may use what stands in the rows below it, and nothing of its own row.
ROWS = [
    {"_types", "_interrupts", "_warn"},
    {"_store", "_isolation", "_numbers", "_progress", "_tables", "_stats", "_errors"},
    {"_arguments"},
    {"_lazy", "_files", "dims"},
    {"_find_words"},
    {"_find"},
    {"sites", "plots"},
    {"edits", "results"},
    {"models"},
    {"engine"},
    {"interventions"},
    {"texts"},
    {"tasks"},
    {"circuits", "toys"},
    {"methods"},
    {"features"},
    {"replications"},
    {"widgets"},
    {"scale"},
    {"studies"},
    {"workshop"},
    {"cli"},
    {"__main__"},
]
HEIGHT = {part: height for height, row in enumerate(ROWS) for part in row}
SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if "_data" not in p.parts)


def module_of(path: Path) -> str:
    """The module of a file: interp.methods.lenses.logit_lens."""
    parts = (PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}
EXPORTS = {
    f"{module_of(stub.with_suffix('.py'))}.{name}": home.replace(":", ".")
    for stub in PACKAGE.rglob("__init__.pyi")
    for name, home in homes(stub).items()
}


def imported(source: str) -> set[str]:
    """The full names a source imports: `from interp import sites` gives "interp.sites"."""
    names = set()
    tree = ast.parse(source)
    # what only a type checker reads is no import: a picture may name the type of what it draws
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "write the whole name: from interp.x import y"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module_used(name: str) -> str | None:
    """The module that a full name is in, a package's public names resolved to the file that holds
    them.
    """
    name = EXPORTS.get(name, name)
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


@cache
def arrows() -> set[tuple[str, str]]:
    """(module, the module it uses), for every import; a package's own `__init__` is left out."""
    return {
        (module, used)
        for module, path in MODULES.items()
        for name in imported(path.read_text(encoding="utf-8"))
        if name.split(".")[0] == "interp"
        and (used := module_used(name)) not in (None, module)
        and not (path.name == "__init__.py" and used.startswith(module + "."))
        and not module.startswith(used + ".")
    }


def part_of(module: str) -> str:
    """The part of the package that a module belongs to: `methods` for
    interp.methods.lenses.logit_lens.
    """
    return module.split(".")[1] if "." in module else "__main__"


def upward(user: str, used: str) -> bool:
    """Whether an arrow between two parts points up, or to a neighbour in the same row."""
    return user != used and HEIGHT[user] <= HEIGHT[used]


def test_every_part_has_its_row():
    parts = {part_of(module) for module in MODULES if module != "interp"}
    assert parts == set(HEIGHT), "give the new part a row in ROWS"


def test_no_arrow_points_up():
    wrong = [f"{a} imports {b}" for a, b in sorted(arrows()) if upward(part_of(a), part_of(b))]
    assert not wrong, "\n".join(wrong)


def circles(edges: set[tuple[str, str]]) -> list[list[str]]:
    """Groups of modules that reach each other: what is left when modules without a way on are taken
    off.
    """
    after: dict[str, set[str]] = {}
    for a, b in edges:
        after.setdefault(a, set()).add(b)

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            todo += [n for n in after.get(todo.pop(), ()) if n not in seen and not seen.add(n)]
        return seen

    ways = {module: reach(module) for module in after}
    return sorted(
        {tuple(sorted(b for b in ways[a] if a in ways.get(b, ()))) for a in ways if a in ways[a]}
    )


def test_no_circle_is_left():
    assert not circles(arrows())


def test_the_tests_see_an_upward_arrow_and_a_circle():
    source = "def f():\n    from interp import patch\n    import interp.studies"
    assert {module_used(n) for n in imported(source)} == {
        "interp.methods.patching.patch",
        "interp.studies",
    }
    assert (
        upward("sites", "methods") and upward("circuits", "toys") and not upward("methods", "sites")
    )
    assert circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == [("a", "b", "c")]


@pytest.mark.parametrize(
    "what, allowed",
    [
        (
            "transformer_lens",
            r"interp/models/(bridge|families)\.py",
        ),  # so that its next major version is one file's work
        (
            "matplotlib.pyplot",
            r"interp/(?!widgets/).*",
        ),  # pyplot in a widget's callback corrupts figures
    ],
)
def test_only_one_place_imports(what, allowed):
    for path in SOURCES:
        file = path.relative_to(PACKAGE.parent).as_posix()
        uses = [
            n
            for n in imported(path.read_text(encoding="utf-8"))
            if n == what or n.startswith(what + ".")
        ]
        assert not uses or re.fullmatch(allowed, file), f"{file} imports {uses[0]}"


@pytest.mark.parametrize("part", ["interventions", "results", "methods", "tasks"])
def test_shapes_are_real_annotations(part):
    # as strings they would not be checked while tests run
    for module, path in MODULES.items():
        if part_of(module) == part:
            assert "__future__.annotations" not in imported(path.read_text(encoding="utf-8"))


def test_nothing_shows_a_figure_behind_the_callers_back():
    for path in SOURCES:
        calls = [
            n
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.Call)
        ]
        assert "plt.show" not in {ast.unparse(call.func) for call in calls}, path.name


def test_every_warning_points_at_the_line_of_the_caller():
    for path in SOURCES:
        calls = re.findall(r"\bwarnings\.warn\(", path.read_text(encoding="utf-8"))
        assert not calls or path.name == "_warn.py", f"{path.name}: use interp._warn.warn"


def test_each_entry_of_a_docstring_has_a_line_of_its_own():
    """As `help` shows it: "labels: Words ..." in the middle of another entry is not found."""
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        inside = [x for x in lines if re.search(r"^ {8,}[^>#f]*\w\. [a-z_]+: [A-Z]\w", x)]
        assert inside == [], path.name


def undefined(source: str) -> set[str]:
    """The names that compiled code looks up among globals and that nothing in the source defines.

    Linters cannot say it here: to them, axis names such as "batch" are names as well.
    """
    codes = [compile(source, "source", "exec")]
    used, defined = set(), {*vars(builtins), "__annotations__", "__file__", "__name__", "__path__"}
    for code in codes:
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
        for step in dis.get_instructions(code):
            if step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
                used.add(step.argval)
            elif step.opname.startswith(("STORE_NAME", "STORE_GLOBAL")):
                defined.add(step.argval)
    return used - defined


def test_a_name_that_nothing_defines_is_seen():
    source = "import os\ndef f(x: 'batch'):\n    def g():\n        return os, x, lost\n    return g"
    assert undefined(source) == {"lost"}


@pytest.mark.parametrize("folder", sorted({p.relative_to(PACKAGE).parts[0] for p in SOURCES}))
def test_every_name_that_is_used_is_defined(folder):
    files = [p for p in SOURCES if p.relative_to(PACKAGE).parts[0] == folder]
    lost = {p.name: undefined(p.read_text(encoding="utf-8")) for p in files}
    assert {name: names for name, names in lost.items() if names} == {}


@pytest.mark.parametrize(
    "code",
    ["import interp", "import interp.cli.main as m; m.command_line()", "import interp.studies"],
)
def test_importing_is_light(code):
    # what is loaded, never how long it took: a time would fail on a busy machine
    heavy = (
        "torch numpy pandas matplotlib transformers transformer_lens nbformat jupytext tqdm scipy"
    ).split()
    asked = f"import sys; {code}; print([m for m in {heavy} if m in sys.modules])"
    # `python -c` finds the checkout through its working directory, installed or not
    ran = subprocess.run(
        [sys.executable, "-c", asked],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=True,
    )
    assert ran.stdout.strip() == "[]"


STUBS = sorted(PACKAGE.rglob("__init__.pyi"))


@pytest.mark.parametrize("stub", STUBS, ids=lambda p: p.parent.relative_to(PACKAGE).as_posix())
def test_every_public_name_is_there_once(stub):
    from importlib import import_module

    package = import_module(module_of(stub.with_suffix(".py")))
    names = [
        alias.asname or alias.name
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        for alias in getattr(node, "names", ())
    ]
    assert len(names) == len(set(names)) and sorted(names) == package.__all__
    for name in names:
        assert getattr(package, name) is not None, name


def test_a_function_is_not_hidden_by_the_file_that_holds_it():
    import interp
    import interp.methods.patching.patch  # sets the module on its package, as Python does
    import interp.widgets.heads

    assert callable(interp.methods.patching.patch) and callable(interp.widgets.heads)
    assert interp.patch is interp.methods.patching.patch


def test_find_searches_names_and_first_lines():
    import interp

    assert interp.find("knock out")[0][0] == "interp.attention_knockout"
    assert "interp.methods.lenses.tuned_lens" in [n for n, _ in interp.find("tuned lens")] or (
        interp.find("tuned lens")[0][0] == "interp.tuned_lens"
    )
    assert "nothing matches" in repr(interp.find("zebrafish"))
    with pytest.raises(ValueError, match="at least one word"):
        interp.find(" ")


def test_the_list_of_verbs_is_up_to_date():
    from interp._find import verbs

    page = (PACKAGE.parent / "docs" / "verbs.md").read_text(encoding="utf-8")
    assert page == verbs(), "python -m interp._find > docs/verbs.md"


def test_links_between_pages_lead_somewhere():
    root = PACKAGE.parent
    pages = [
        root / "README.md",
        root / "CONTRIBUTING.md",
        root / "AGENTS.md",
        *sorted((root / "docs").glob("*.md")),
    ]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
