"""Searching the toolkit by what it does."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent


class Found(list):
    """Matches, printed a line each: the full name, and the first sentence of its documentation."""

    def __repr__(self) -> str:
        if not self:
            return 'nothing matches; try a word of the field, such as interp.find("patching")'
        width = min(64, max(len(name) for name, _ in self))
        return "\n".join(f"{name:<{width}}  {line}" for name, line in self)


def find(words: str) -> Found:
    """The functions and classes whose name or first documentation line has all of these words.

    Example:
        >>> interp.find("knock out")
        interp.attention_knockout  Effect on the metric of blocking attention from some tokens ...

    Args:
        words: One or more words in any order; case and spaces do not matter, so "knock out" finds
            "knockout" as well.

    Returns:
        A list of (name, first line), names that match before documentation that matches. Each name
        can be typed as it stands.

    Raises:
        ValueError: If there is no word to search for.
    """
    wanted = [w for w in re.split(r"\W+", words.lower()) if w]
    if not wanted:
        raise ValueError(f'find({words!r}): name at least one word, for example find("patching")')
    joined = "".join(wanted)
    by_name, by_text = [], []
    for name, line in sorted(_public()):
        bare, text = name.lower().replace("_", ""), f"{name} {line}".lower()
        if joined in bare or all(w in bare for w in wanted):
            by_name.append((name, line))
        elif all(w in text for w in wanted) or joined in text.replace(" ", "").replace("-", ""):
            by_text.append((name, line))
    return Found(by_name + by_text)


def _public() -> set[tuple[str, str]]:
    """(name, first documentation line) of all that the packages' stubs export, read without
    importing.
    """
    from interp._lazy import homes

    entries: dict[str, tuple[str, str]] = {}
    for stub in sorted(ROOT.rglob("__init__.pyi"), key=lambda p: len(p.parts)):
        package = ".".join(("interp", *stub.parent.relative_to(ROOT).parts))
        for name, home in homes(stub).items():
            if home not in entries and (line := _first_line(home)) is not None:
                entries[home] = (f"{package}.{name}", line)
    return set(entries.values())


def _first_line(home: str) -> str | None:
    """The first documentation line of a function or class "module:name", else None."""
    module, name = home.split(":")
    path = ROOT.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            paragraph = (ast.get_docstring(node) or "").split("\n\n")[0]
            return " ".join(paragraph.split())
    return None


def verbs() -> str:
    """All public names as a markdown page, a table for each package: the text of docs/verbs.md."""
    from interp._lazy import homes

    lines = [
        "# All verbs, by folder",
        "",
        "Generated from the packages' stubs and first documentation lines by",
        "`python -m interp._find > docs/verbs.md`. `help(name)` says more.",
    ]
    for stub in sorted(ROOT.rglob("__init__.pyi")):
        package = ".".join(("interp", *stub.parent.relative_to(ROOT).parts))
        rows = [(name, _first_line(home)) for name, home in sorted(homes(stub).items())]
        rows = [(name, line) for name, line in rows if line is not None]
        if rows:
            lines += ["", f"## `{package}`", "", "| name | what comes back |", "| --- | --- |"]
            lines += [f"| `{name}` | {line.replace('|', chr(92) + '|')} |" for name, line in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(verbs(), end="")
