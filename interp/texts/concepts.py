"""Short sentences about twenty concepts, written by us: weekdays, metals, instruments, ..."""

import random
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from interp._errors import unknown
from interp.texts.corpus import SPLITS

FILE = Path(__file__).with_name("concepts.txt")
FIND = 0.6  # of the words, and of the frames
# Words of no concept, for comparison: how much does everything rise?
NEUTRAL = (
    "thing way part place idea question reason result point case group line form kind level change"
    " problem moment matter side end name rule plan list test step role view term unit task goal"
    " issue method detail sample page game story"
).split()


class Sentence(NamedTuple):
    """One sentence, the concept it is about, and the word that says so."""

    text: str
    concept: str
    word: str


def concepts(split: str = "find", *, n: int = 30, seed: int = 0) -> list[Sentence]:
    """Sentences about twenty concepts, at most n each, drawn by seed.

    Each is a frame with a word put in. The splits "find" and "heldout" share no word of a concept
    and no frame. Where words and frames give fewer than n (weekdays), all are given.

    Example:
        >>> find, heldout = texts.concepts("find"), texts.concepts("heldout", n=15)
        >>> find[0]
        Sentence(text='The letter arrived on Friday.', concept='weekdays', word='Friday')

    Args:
        split: "find" or "heldout".
        n: At most so many sentences per concept.
        seed: Which sentences.

    Raises:
        ValueError: If the split is unknown or n is below 1.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if n < 1:
        raise ValueError(f"n={n}: at least one sentence a concept is needed")
    sentences = []
    for concept in _read():
        words, frames = concept_words(concept, split), _half(_read()[concept][1], split)
        every = [Sentence(frame.format(word), concept, word) for frame in frames for word in words]
        sentences += random.Random(f"concepts {concept} {split} {seed}").sample(
            every, min(n, len(every))
        )
    return sentences


def concept_words(concept: str, split: str) -> list[str]:
    """The words of a concept in one split.

    Example:
        >>> texts.concept_words("weekdays", "heldout")
        ['Thursday', 'Saturday']

    Args:
        concept: One of the twenty, such as "weekdays".
        split: "find" or "heldout".

    Raises:
        ValueError: If the concept or the split is unknown.
    """
    if concept not in _read():
        raise unknown("concept", concept, _read())
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    return _half(_read()[concept][0], split)


def single_words(model: Any, words: Iterable[str]) -> list[str]:
    """Those of the words that are one token after a space, so that a logit belongs to one word.

    Example:
        >>> texts.single_words(model, texts.concept_words("birds", "heldout"))

    Args:
        model: A model or a tokenizer.
        words: The words, without a space.
    """
    tokenizer = getattr(model, "tokenizer", model)
    return [
        word
        for word in words
        if len(tokenizer(f" {word}", add_special_tokens=False).input_ids) == 1
    ]


def _half(some: tuple[str, ...], split: str) -> list[str]:
    cut = round(FIND * len(some))
    return list(some[:cut] if split == "find" else some[cut:])


@cache
def _read() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The words and frames of each concept."""
    concepts: dict[str, tuple[tuple[str, ...], list[str]]] = {}
    frames: list[str] = []  # those of the concept that was named last
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        if "{}" in line:
            frames.append(line)
        else:
            name, words = line.split(": ")
            frames = []
            concepts[name] = (tuple(words.split()), frames)
    return {name: (words, tuple(frames)) for name, (words, frames) in concepts.items()}
