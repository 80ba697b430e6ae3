"""A study of one's own, to begin from: `interp new-study NAME`."""

import re
from pathlib import Path

from interp._store import write_text

TEMPLATES = {"{}.py": "new_study.txt", "claims/{}.toml": "new_claims.txt"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def new(name: str, folder: str | Path = ".") -> Path:
    """The path of a new study's source: a claim, a gate, a control and verdicts, ready to run.

    Example:
        >>> new("my-question")      # my-question.py and claims/my-question.toml
        >>> run("my-question.py", fast=True)

    Args:
        name: What the study is called: letters, digits, "-" and "_".
        folder: Where to write; it is made if it is not there.

    Raises:
        ValueError: If the name is none.
        FileExistsError: If there is such a file already; it stays as it is.
    """
    stem = str(name).removesuffix(".py")
    if not NAME.fullmatch(stem):
        raise ValueError(
            f"{name!r} is no name for a study: it becomes a file's name, so write letters, digits"
            " and '-', for example `interp new-study my-question` (--folder says where)"
        )
    paths = {Path(folder) / where.format(stem): file for where, file in TEMPLATES.items()}
    for path in paths:
        if path.exists():
            raise FileExistsError(f"{str(path)!r} is there already: choose another name")
    title = re.sub(r"[-_]+", " ", re.sub(r"^\d+-", "", stem)).strip().capitalize() or stem
    for path, file in paths.items():
        text = Path(__file__).with_name(file).read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text.replace("{TITLE}", title).replace("{NAME}", stem))
    return next(iter(paths))
