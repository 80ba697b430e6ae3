"""A corpus: named documents, whole and in one order, that can be halved and say what they are."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from interp._errors import unknown

SPLITS = ("find", "heldout")


@dataclass(frozen=True)
class Document:
    """One text with a name: "numpy.linalg", "tale.txt"."""

    name: str
    text: str

    @property
    def split(self) -> str:
        """The half it belongs to, by its name alone: another document that comes or goes moves
        nothing.
        """
        return SPLITS[hashlib.sha256(self.name.encode()).digest()[0] % 2]


@dataclass(frozen=True)
class Corpus:
    """Documents with names of their own, none of them empty.

    Example:
        >>> docs = interp.texts.documentation()
        >>> len(docs), docs.metadata["fingerprint"]
        >>> find, heldout = docs.half("find"), docs.half("heldout")     # no document is in both
    """

    name: str
    documents: tuple[Document, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [d.name for d in self.documents]
        twice = (
            next((n for n in names if names.count(n) > 1), None)
            if len(set(names)) < len(names)
            else None
        )
        if twice is not None:
            raise ValueError(
                f"two documents are called {twice!r}: a name is what a document's half is chosen by"
            )
        empty = next((d.name for d in self.documents if not d.text.strip()), None)
        if empty is not None:
            raise ValueError(f"the document {empty!r} is empty")
        if not self.documents:
            raise ValueError(f"{self.name} has no documents")
        object.__setattr__(
            self, "metadata", {"texts": self.name, **self.metadata, "fingerprint": self.fingerprint}
        )

    def __len__(self) -> int:
        return len(self.documents)

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)

    @property
    def fingerprint(self) -> str:
        """The sha256 of names and texts: two corpora with the same one are the same."""
        digest = hashlib.sha256()
        for document in self.documents:
            for part in (document.name, document.text):
                digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()

    def half(self, split: str) -> "Corpus":
        """The documents of one half, "find" or "heldout": choose on the one, judge on the other."""
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        chosen = tuple(d for d in self.documents if d.split == split)
        if not chosen:
            raise ValueError(
                f"no document of {self.name} ({len(self)} in all) falls into the half {split!r}:"
                " more are needed"
            )
        return replace(self, documents=chosen, metadata={**self.metadata, "split": split})


def files(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> Corpus:
    """The corpus of local text files (UTF-8), one document per file.

    Example:
        >>> interp.texts.files(["tale.txt", "notes/"])

    Args:
        paths: A file or a folder, or several; a folder means every .txt and .md file in it.

    Raises:
        ValueError: If there is no such file or folder, a folder has no text, or a file is not
            UTF-8.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    names: dict[Path, str] = {}  # file -> the name it goes by
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(p for kind in ("*.txt", "*.md") for p in path.rglob(kind))
            if not inside:
                raise ValueError(f"no .txt or .md file is in the folder {str(path)!r}")
            names |= {p: p.relative_to(path).as_posix() for p in inside}
        elif path.is_file():
            names[path] = path.name
        else:
            raise ValueError(f"no such file or folder: {str(path)!r} (looked in {Path.cwd()})")
    if not names:
        raise ValueError("no files were given: try interp.texts.files('tale.txt')")
    if len(set(names.values())) < len(names):  # two folders with a file of the same name
        names = {path: path.as_posix() for path in names}
    documents = []
    for path, name in names.items():
        try:
            documents.append(Document(name, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            raise ValueError(f"{str(path)!r} is not UTF-8 text: save it as UTF-8 first") from None
    return Corpus("files", tuple(documents))
