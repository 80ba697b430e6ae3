"""Searching the toolkit by what it does."""

import ast
import difflib
import functools
import re
from collections.abc import Iterable
from pathlib import Path

from interp._find_words import SMALL, TABLE, Words

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
        words: One or more words in any order, or a question; case, spaces and endings do not
            matter, so "knock out" finds "knockout" as well, and "copies" what "copying" finds.

    Returns:
        A list of (name, first line): what the field's name means here (a table of synonyms, in
        `interp/_find_words.py`), then names that match, then documentation that matches; where
        nothing does, the names spelled most like it. Each name can be typed as it stands. In a
        clone of the repository also the pages whose question has these words, by their path. A
        script prints it: print(interp.find("patching")).

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
    lines, asked = dict(_public()), _stems(words)
    rows = [row for row in TABLE if any(_plain(n) == _plain(words) for n in row.names)]
    rows = rows or _by_stems(asked)
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
    if not found and asked:  # other forms of the words, and a question's small words left out
        found = [(n, line) for n, line in sorted(lines.items()) if asked <= _stems(f"{n} {line}")]
    found += [
        (page, question) for page, question in _pages() if frozenset() < asked <= _stems(question)
    ]
    return Found(found, "; ".join(row.remark for row in rows if row.remark))


def _plain(words: str) -> str:
    """Words without case, spaces and signs, and without a plural's s: "Steering-vectors"."""
    return "".join(w.removesuffix("s") if len(w) > 3 else w for w in _split(words))


def _stems(words: str) -> frozenset[str]:
    """The words of a question without their endings ("copies", "copying": "copy"), and without its
    small words.
    """
    stems = set()
    for word in _split(words):
        if word in SMALL or word.isdigit():
            continue
        word = re.sub("ies$", "y", word)
        stems.add(re.sub("(?<=...)(ations?|ating|ates?|ings?|ed|es|s|e)$", "", word))
    return frozenset(stems)


def _by_stems(asked: frozenset[str]) -> list[Words]:
    """The rows of the table with a name of as many of these words as any, and of two at least
    unless there is one word alone.
    """
    best: list[tuple[int, Words]] = []
    for row in TABLE:
        inside = [len(s) for s in map(_stems, row.names) if s and s <= asked]
        if inside and (max(inside) > 1 or len(asked) == 1):
            best.append((max(inside), row))
    most = max((size for size, _ in best), default=0)
    return [row for size, row in best if size == most]


@functools.cache
def _pages() -> tuple[tuple[str, str], ...]:
    """(page, question) of the pages by question, where the package is in its repository."""
    index = ROOT.parent / "docs" / "how-to" / "index.md"
    if not index.is_file():
        return ()
    rows = re.findall(r"^\| (.+?) \| \[.+?\]\((.+?)\) \|$", index.read_text("utf-8"), re.M)
    inside = {f"docs/how-to/{page}".replace("how-to/../", ""): question for question, page in rows}
    return tuple(inside.items())


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
