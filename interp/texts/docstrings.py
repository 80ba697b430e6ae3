"""Documentation as text: the docstrings of Python and of packages that every installation of interp
has.

The sources are parsed, never imported. A document is a module; of its docstrings the paragraphs
that are plain sentences are kept (no doctests, tables, lists of parameters, licences), and of
near-copies only the first. It is the same for the same versions of the packages, which `metadata`
names.
"""

import ast
import inspect
import json
import platform
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from interp import _store
from interp._progress import progress
from interp.texts.corpus import Corpus, Document

# Package -> the folders read; torch and transformers have thousands of files more, which say little
# else.
PACKAGES = {
    "numpy": ("",),
    "pandas": ("",),
    "matplotlib": ("",),
    "torch": ("nn", "optim", "distributions", "utils", "autograd"),
    "transformers": ("generation", "utils", "integrations", "pipelines", "data"),
}
RECIPE = 1  # raise it when the cleaning changes: older caches are then made again
FEWEST_WORDS = 60  # of a document
LEFT_OUT = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "testing",
    "idlelib",
    "lib2to3",
    "_vendor",
    "encodings",
}


@cache
def documentation() -> Corpus:
    """The documentation corpus: a document per module, about two hundred thousand words in all.

    Example:
        >>> docs = interp.texts.documentation()
        >>> docs.metadata["versions"]                  # the corpus belongs to these

    Cost:
        Half a minute the first time; then it is read from the cache (INTERP_CACHE, or the user's
        cache folder).
    """
    versions = {"python": platform.python_version()} | {
        name: version(name) for name in PACKAGES if find_spec(name)
    }
    path = _store.cache_folder("texts", f"documentation-{_store.key([RECIPE, versions])}.json")
    documents = _read(path)
    if documents is None:
        documents = tuple(read_docstrings())
        _write(path, documents)
    return Corpus("documentation", documents, {"versions": versions, "recipe": RECIPE})


def _read(path: Path) -> tuple[Document, ...] | None:
    try:
        return tuple(
            Document(name, text) for name, text in json.loads(path.read_text(encoding="utf-8"))
        )
    except (OSError, ValueError, TypeError):  # missing, or not whole
        return None


def _write(path: Path, documents: tuple[Document, ...]) -> None:
    """Keeps the corpus; where nothing can be written, it is made again next time."""
    with suppress(OSError):
        _store.write_text(path, json.dumps([[d.name, d.text] for d in documents]))


def read_docstrings(packages: Iterable[str] = ("python", *PACKAGES)) -> Iterator[Document]:
    """The documents, made from the sources: package by package, module by module in the order of
    their names.
    """
    sources = [source for package in packages for source in _sources(package)]
    fresh = distinct()
    for name, path in progress(sources, "reading documentation"):
        paragraphs = [p for doc in _docstrings(path) for p in sentences(doc) if fresh(p)]
        if sum(len(p.split()) for p in paragraphs) >= FEWEST_WORDS:
            yield Document(name, "\n\n".join(paragraphs))


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    """(module name, file) of a package, found without importing it; "python" is the standard
    library.
    """
    if package == "python":
        root, folders = Path(sysconfig.get_paths()["stdlib"]), ("",)
    else:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            return
        root, folders = Path(spec.submodule_search_locations[0]), PACKAGES[package]
    for path in sorted(p for folder in folders for p in (root / folder).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not LEFT_OUT & set(parts) and not any(p.startswith("test_") for p in parts):
            yield ".".join([package, *(p for p in parts if p != "__init__")]), path


def _docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a source, in the order they stand in."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's escapes
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    holders = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    for node in sorted(holders, key=lambda node: getattr(node, "lineno", 0)):
        text = ast.get_docstring(node, clean=False)
        if text:
            yield inspect.cleandoc(text)


# --- cleaning -------------------------------------------------------------------------------------

_MARKUP = (
    (
        re.compile(r":[a-zA-Z:]+:`~?([^`<]+?)(?:\s*<[^>]*>)?`"),
        r"\1",
    ),  # :func:`name`, :ref:`words <label>`
    (re.compile(r"``([^`]+)``|`([^`<]+?)(?:\s*<[^>]*>)?`_{0,2}"), lambda m: m[1] or m[2]),
    (re.compile(r"\*\*([^*]+)\*\*|(?<!\w)\*([^*\s][^*]*)\*(?!\w)"), lambda m: m[1] or m[2]),
    (re.compile(r"\s*\[[\w, ]+\]_"), ""),  # citations
)
_REFUSED = re.compile(
    r"copyright|licen[sc]e|all rights reserved|warrant|https?:|www\.|@|\\|[|{}<>#$=]|>>>|::|_{2}",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[A-Za-z][a-z]*(?:['-][a-z]+)*[.,;:!?)\"']*$")
_COMMON = {
    "the",
    "a",
    "an",
    "of",
    "to",
    "is",
    "are",
    "in",
    "and",
    "this",
    "that",
    "it",
    "be",
    "for",
    "with",
}


def sentences(docstring: str) -> list[str]:
    """The paragraphs of a docstring that are plain sentences, without markup, each on one line.

    Left out: what is indented (parameters, code), headed or ruled, has doctests, links or formulas,
    fewer than twelve words, less than 85 % plain words, or no sentence end.
    """
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", docstring):
        lines = paragraph.rstrip().split("\n")
        if any(line[:1].isspace() or re.match(r"[-*+.:>]|\d+[.)]", line) for line in lines):
            continue
        text = " ".join(line.strip() for line in lines)
        for pattern, by in _MARKUP:
            text = pattern.sub(by, text)
        text = re.sub(r"\s+", " ", text).strip()
        if _is_prose(text):
            paragraphs.append(text)
    return paragraphs


def _is_prose(text: str) -> bool:
    words = text.split()
    if (
        len(words) < 12
        or _REFUSED.search(text)
        or not text.isascii()
        or not re.match(r"[A-Z]", text)
        or text[-1] not in ".!?"
    ):
        return False
    plain = sum(bool(_PLAIN.match(w.lstrip("(\"'"))) for w in words)
    common = sum(w.lower() in _COMMON for w in words)
    return plain >= 0.85 * len(words) and common >= 0.15 * len(words)


def distinct(most: float = 0.5, words: int = 5) -> Callable[[str], bool]:
    """A function that says of each paragraph in turn whether it is new: False for a copy or a
    near-copy.

    Reference:
        A near-copy shares more than `most` of its runs of five words with paragraphs let through
        before; case, digits and punctuation do not count. (After the shingles of Broder 1997.)
    """
    seen: set[str] = set()

    def fresh(paragraph: str) -> bool:
        plain = re.sub(r"[^a-z ]", "", paragraph.lower()).split()
        runs = {" ".join(plain[i : i + words]) for i in range(max(1, len(plain) - words + 1))}
        new = len(runs & seen) <= most * len(runs)
        if new:
            seen.update(runs)
        return new

    return fresh
