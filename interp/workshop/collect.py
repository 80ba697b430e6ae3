"""What a class handed in: read from the outputs that `check` left in the notebooks, none is run."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from interp import _files
from interp.workshop.exercise import exercises
from interp.workshop.progress import MIME

MOST = 100_000_000  # bytes of a notebook
HOOK = "a hook left behind"  # what `check` says of any exercise


@dataclass(frozen=True)
class Handed:
    """One notebook: who it is from (its path), and the last reply to each exercise.

    Attributes:
        name: The notebook's path below the folder, without its ending.
        replies: For each exercise that was checked, what the last output said.
        problem: Why it could not be read, or "".
    """

    name: str
    replies: dict[str, dict[str, Any]]
    problem: str = ""

    @property
    def passed(self) -> list[str]:
        """The exercises that were answered rightly, by what the outputs say."""
        return [key for key, reply in self.replies.items() if reply["passed"]]


@dataclass(frozen=True)
class Collection:
    """The notebooks of a class; it shows itself as a table of who passed what."""

    notebooks: tuple[Handed, ...]

    @property
    def keys(self) -> list[str]:
        """The exercises that anybody tried, in the lessons' order."""
        tried = {key for one in self.notebooks for key in one.replies}
        return [key for key in exercises() if key in tried]

    def mistakes(self) -> list[tuple[str, str, int]]:
        """Exercise, mistake, and how many people made it, the commonest first."""
        made = Counter(
            (key, mistake)
            for one in self.notebooks
            for key, reply in one.replies.items()
            for mistake in set(reply["mistakes"])
        )
        return [(key, mistake, n) for (key, mistake), n in made.most_common()]

    def rows(self) -> list[dict[str, Any]]:
        """One row a notebook, as JSON can keep it."""
        return [
            {"name": o.name, "passed": o.passed, "replies": o.replies, "problem": o.problem}
            for o in self.notebooks
        ]

    def _cell(self, one: Handed, key: str) -> str:
        reply = one.replies.get(key)
        return "" if reply is None else "✔" if reply["passed"] else f"✘ {reply['attempts']}"

    def __repr__(self) -> str:
        heads = ["notebook", *self.keys]
        lines = [[o.name, *(self._cell(o, k) for k in self.keys)] for o in self.notebooks]
        widths = [max(len(row[i]) for row in [heads, *lines]) for i in range(len(heads))]
        text = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in [heads, *lines]
        ]
        text += [f"{o.name}: {o.problem}" for o in self.notebooks if o.problem]
        if made := self.mistakes():
            text += ["", "mistakes, and how many people made them"]
            text += [f"{n:>4}  {key}: {mistake}" for key, mistake, n in made]
        return "\n".join(text)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(k)}</th>" for k in ["notebook", *self.keys])
        body = "".join(
            f"<tr><td>{escape(o.name)}</td>"
            + "".join(f"<td>{self._cell(o, k)}</td>" for k in self.keys)
            + "</tr>"
            for o in self.notebooks
        )
        made = "".join(
            f"<li>{escape(key)}: {escape(mistake)} ({n})</li>"
            for key, mistake, n in self.mistakes()
        )
        return f"<table><tr>{head}</tr>{body}</table><ul>{made}</ul>"


def collect(folder: str | Path) -> Collection:
    """Who passed what, and which mistakes were common, in the notebooks below a folder.

    Nothing in them is executed: what counts is the output that `check` left. A learner could write
    such an output by hand, so this helps a class and is no exam. A notebook that cannot be read, or
    has no such output (all outputs cleared, nothing begun), is listed with the reason.

    Example:
        >>> collect("handed-in")

    Args:
        folder: A folder with .ipynb files, at any depth.

    Raises:
        FileNotFoundError: If there is no such folder, or no notebook in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}")
    files = [p for p in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
    if not files:
        raise FileNotFoundError(f"there is no notebook (.ipynb) in {str(folder)!r}")
    return Collection(tuple(_read(path, folder) for path in files))


def _read(path: Path, folder: Path) -> Handed:
    name = _shown(path.relative_to(folder).with_suffix("").as_posix())
    if not path.is_file():  # a folder, a pipe, a link to nothing
        return Handed(name, {}, "is not a file")
    try:
        content = _files.read_json(path, most=MOST)
        bundles = list(_bundles(content["cells"]))
    except (ValueError, KeyError, TypeError, OSError) as error:
        why = "it is larger than 100 MB" if path.stat().st_size > MOST else type(error).__name__
        return Handed(name, {}, f"cannot be read as a notebook ({why})")
    known, replies = exercises(), {}
    for bundle in bundles:
        key = bundle.get("exercise")
        if isinstance(key, str) and key in known:
            names = {HOOK, *(m.name for m in known[key].mistakes)}
            replies[key] = _reply(bundle, replies.get(key), names)
    return Handed(name, replies, "" if replies else "has no answer of a check in it")


def _bundles(cells: Any) -> Iterator[dict[str, Any]]:
    """What `check` left in the outputs; an output of any other form is passed over."""
    for cell in _list(cells):
        for output in _list(_dict(cell).get("outputs")):
            data = _dict(_dict(output).get("data"))
            bundle = data.get(MIME)
            if isinstance(bundle, str):  # some editors keep it as text
                try:
                    bundle = json.loads(bundle)
                except (ValueError, RecursionError):
                    continue
            if isinstance(bundle, dict):
                yield bundle


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _shown(name: str) -> str:
    """A file's name without what a terminal would take as a command."""
    return "".join(c if c.isprintable() else "?" for c in name)


def _reply(
    bundle: dict[str, Any], before: dict[str, Any] | None, names: set[str]
) -> dict[str, Any]:
    """A bundle's numbers, whatever stands in it, joined with an earlier output's."""
    before = before or {"passed": False, "attempts": 0, "mistakes": [], "hints": 0}
    made = [m for m in _list(bundle.get("mistakes")) if isinstance(m, str) and m in names]

    def number(name: str) -> int:
        value = bundle.get(name)
        return max(before[name], min(value, 9999) if type(value) is int else 0)

    return {
        "passed": before["passed"] or bundle.get("passed") is True,
        "attempts": number("attempts"),
        "hints": number("hints"),
        "mistakes": list(dict.fromkeys([*before["mistakes"], *made])),
    }
