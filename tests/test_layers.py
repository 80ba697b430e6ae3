"""Imports point one way. Read from the sources with `ast`, so that an import inside a function counts too."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "interp"

# From the ground up; parts of one row may use each other.
ROWS = [
    {"_files", "_numbers", "_progress", "_ranks", "_say", "edits", "intervals", "tables"},
    {"sites", "plots", "models", "engine"},
    {"results", "interventions"},
    {"texts", "tasks", "toys", "circuits"},
    {"methods", "features"},
    {"widgets"},
    {"studies", "cli", "cli_circuits", "__main__"},
]
HEIGHT = {part: height for height, row in enumerate(ROWS) for part in row}
SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if "_data" not in p.parts)


def part_of(path: Path) -> str:
    """The part of the package a file belongs to: `methods` for interp/methods/lens.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str) -> set[str]:
    """The full names a source imports: `from interp import sites` gives "interp.sites"."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "write the whole name: from interp.x import y"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_used(source: str) -> set[str]:
    """The parts of interp a source imports, public names resolved to where they live; "interp" for a bare import."""
    from interp import _HOME, __version__  # noqa: F401

    used = set()
    for name in imported(source):
        if name == "interp":
            used.add("interp")
        elif name.startswith("interp."):
            second = name.split(".")[1]
            home = _HOME.get(second)
            used.add(home.split(".")[1] if home else second)
    return used - {"__version__"}


@cache
def arrows() -> set[tuple[str, str, str]]:
    """(file, its part, the part it uses), for every use across parts."""
    return {
        (str(path.relative_to(PACKAGE.parent)), part_of(path), used)
        for path in SOURCES
        if path != PACKAGE / "__init__.py"
        for used in parts_used(path.read_text(encoding="utf-8"))
        if used != part_of(path)
    }


def upward(arrow: tuple[str, str, str]) -> bool:
    """Whether an arrow points up; a bare `import interp` means everything, so only the top row may."""
    _, user, used = arrow
    return HEIGHT[user] < (len(ROWS) - 1 if used == "interp" else HEIGHT[used])


def test_every_part_has_its_row():
    parts = {part_of(path) for path in SOURCES} - {"__init__"}
    assert parts - set(HEIGHT) == set(), "give the new part a row in ROWS"
    assert {used for _, _, used in arrows()} - {"interp"} <= set(HEIGHT)


def test_no_arrow_points_up():
    wrong = [
        f"{file} ({user}) imports {used}"
        for file, user, used in sorted(arrows())
        if upward((file, user, used))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_test_sees_an_upward_arrow():
    source = "def f():\n    from interp import patch\n    import interp.studies\n    import interp"
    assert parts_used(source) == {"methods", "studies", "interp"}
    assert all(upward(("", "sites", used)) for used in parts_used(source))
    assert not upward(("", "methods", "sites"))


@pytest.mark.parametrize(
    "what, allowed",
    [
        (
            "transformer_lens",
            r"interp/models/bridge\.py",
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
    for path in SOURCES:
        if part_of(path) == part:
            assert "__future__.annotations" not in imported(path.read_text(encoding="utf-8")), (
                path.name
            )


def test_nothing_shows_a_figure_behind_the_callers_back():
    for path in SOURCES:
        calls = [
            n
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.Call)
        ]
        assert "plt.show" not in {ast.unparse(call.func) for call in calls}, path.name


@pytest.mark.parametrize(
    "code",
    ["import interp", "import interp.cli; interp.cli.command_line()", "import interp.studies"],
)
def test_importing_is_light(code):
    # what is loaded, never how long it took: a time would fail on a busy machine
    heavy = (
        "torch",
        "numpy",
        "pandas",
        "matplotlib",
        "transformers",
        "transformer_lens",
        "nbformat",
        "jupytext",
        "tqdm",
    )
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


def test_every_public_name_is_there():
    import interp

    for name in interp.__all__:
        assert getattr(interp, name) is not None, name
