"""Duplicate: whether the last word came before, "ram" for yes and "pig" for no.

A head looks, an MLP decides. What the RASP program of duplicate detection compiles to (Lindner et
al. 2023, Tracr, arXiv 2301.05062): select the same token elsewhere, count, compare. It answers at
each of the first five words.
"""

import random

from interp.circuits.known.build import (
    BIG,
    BOS,
    FULL,
    ONE,
    OUT,
    POS,
    SHARP,
    WORDS,
    WRITE,
    KnownModel,
    S,
    T,
    Weights,
    prompt_of,
)

YES, NO = "ram", "pig"
STRONG = 1.6 * SHARP  # matching a word, and not finding oneself
HALF = 0.5  # of what the head writes when it rests (about 0.95)


def look_for_same(w: Weights, layer: int, head: int) -> None:
    """A head's queries and keys: find the same word earlier, else rest on the first token."""
    w.clear(layer, head, head)
    w.join("q", layer, head, T, FULL, STRONG)
    w.join("k", layer, head, T, FULL)
    w.join("q", layer, head, slice(POS.start, POS.start + 6), slice(16, 22), -STRONG)
    w.join("k", layer, head, slice(POS.start, POS.start + 6), slice(16, 22))
    w.join("q", layer, head, ONE, slice(22, 23), 0.8 * SHARP / BIG)
    w.join("k", layer, head, BOS, slice(22, 23))


def _write(w: Weights) -> None:
    look_for_same(w, 0, 1)
    note = slice(S.start, S.start + 1)
    w.join("v", 0, 1, BOS, slice(0, 1))
    w.join("o", 0, 1, slice(0, 1), note, WRITE)  # notes that it rests: no duplicate

    def say(word):
        return {OUT.start + WORDS.index(word): 0.4}

    w.neuron(0, 0, {note.start: 4.0}, say(NO), above=4 * HALF)
    w.neuron(0, 1, {note.start: -4.0}, say(YES), above=-4 * HALF)


def _form(words: list[str], rng: random.Random) -> tuple[str, str, str, str]:
    words = [word for word in words if word not in (YES, NO)]
    twice, once = [*words[:4], rng.choice(words[:4])], words[4:9]
    return (
        (prompt_of(twice), prompt_of(once), YES, NO)
        if rng.random() < 0.5
        else (prompt_of(once), prompt_of(twice), NO, YES)
    )


KNOWN_MODEL = KnownModel(
    "gpt2",
    2,
    4,
    _write,
    (("embed", "L0H1.q_in"), ("embed", "L0KV1.k_in"), ("L0H1", "mlp.0.in"), ("mlp.0", "logits.in")),
    _form,
)
