"""Searching the toolkit by what it does."""

import ast
import difflib
import functools
import re
from collections.abc import Iterable
from pathlib import Path

from interp._find_words import TABLE

ROOT = Path(__file__).resolve().parent


class Found(list):
    """Matches, printed a line each: the full name, and the first sentence of its documentation.

    `remark` says what is different where what was asked for goes by another name here.
    """

    def __init__(self, matches: Iterable[tuple[str, str]] = (), remark: str = "") -> None:
        super().__init__(matches)
        self.remark = remark

    def __repr__(self) -> str:
        if not self:
            return 'nothing matches; try a word of the field, such as interp.find("patching")'
        width = min(64, max(len(name) for name, _ in self))
        lines = [f"{name:<{width}}  {line}" for name, line in self]
        return "\n".join(lines + [f"({self.remark})"] * bool(self.remark))


def find(words: str) -> Found:
    """The functions and classes that do what these words say, by their names or by the field's.

    Example:
        >>> interp.find("knock out")
        interp.attention_knockout  Effect on the metric of blocking attention from some tokens ...
        >>> interp.find("DLA")
        interp.logit_attribution  Direct logit attribution: each component's share of the logit ...

    Args:
        words: One or more words in any order; case and spaces do not matter, so "knock out" finds
            "knockout" as well.

    Returns:
        A list of (name, first line): what the field's name means here (a table of synonyms, in
        `interp/_find_words.py`), then names that match, then documentation that matches; where
        nothing does, the names spelled most like it. Each name can be typed as it stands.

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
    lines = dict(_public())
    rows = [row for row in TABLE if any(_plain(n) == _plain(words) for n in row.names)]
    if not (rows or by_name):  # a part of a name of the field, or one spelled a little differently
        known = {_plain(n): row for row in TABLE for n in row.names}
        near = [] if by_text else difflib.get_close_matches(joined, known, n=1, cutoff=0.75)
        if not near and len(joined) > 3:
            near = [n for n in known if joined in n or (len(n) > 4 and n in joined)]
        rows = list({id(known[n]): known[n] for n in near}.values())
    first = list(dict.fromkeys(name for row in rows for name in row.ours))
    found = [(name, lines.get(name) or _task_line(name)) for name in first]
    for name, line in by_name + by_text:
        whole = set(wanted) <= set(_split(f"{name} {line}"))  # not "dla" in "a pandas DataFrame"
        if name not in first and (whole or not rows):
            found.append((name, line))
    return Found(found, "; ".join(row.remark for row in rows if row.remark))


def _plain(words: str) -> str:
    """Words without case, spaces and signs, and without a plural's s: "Steering-vectors"."""
    return "".join(w.removesuffix("s") if len(w) > 3 else w for w in _split(words))


def _split(words: str) -> list[str]:
    return [w for w in re.split(r"[\W_]+", words.lower()) if w]


def _task_line(name: str) -> str:
    """The first documentation line of a task, which no stub lists."""
    task = name.rpartition(".")[2]
    return _first_line(f"interp.tasks.{task}:{task}") or ""


@functools.cache
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
