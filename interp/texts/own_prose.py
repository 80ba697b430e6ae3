"""Short passages of plain prose, written for interp: tales, descriptions, explanations and talk."""

from functools import cache
from pathlib import Path

from interp.texts.corpus import Corpus, Document


@cache
def prose() -> Corpus:
    """The corpus of our own prose: sixteen passages of about 150 words.

    They are free to use like the rest of interp: for studies that need natural stories, and as the
    hay of `interp.tasks.needle`.

    Example:
        >>> [passage.name for passage in interp.texts.prose()][:2]
        ['the ferry', 'how bread rises']
    """
    whole = (Path(__file__).parent / "prose.txt").read_text(encoding="utf-8")
    passages = (part.partition("\n") for part in whole.removeprefix("= ").split("\n= "))
    return Corpus(
        "prose", tuple(Document(name.strip(), text.strip()) for name, _, text in passages)
    )
