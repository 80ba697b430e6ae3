"""Reverse: words, then "ram", then the words again from the last to the first.

What the RASP program of reversal compiles to (Lindner et al. 2023, Tracr, arXiv 2301.05062), with
the length read off the mark: a head finds it, an MLP counts back from it, a head looks there and
writes the word.
"""

import random

from interp.circuits.known.build import (
    BIG,
    FULL,
    ONE,
    OUT,
    POS,
    SHARP,
    WORDS,
    WRITE,
    KnownModel,
    P,
    S,
    T,
    Weights,
    prompt_of,
)

MARK = "ram"
LAST = 8  # the last position it works at


def _write(w: Weights) -> None:
    w.clear(0, 1, 1)
    w.join("q", 0, 1, ONE, slice(0, 1), 1.5 * SHARP / BIG)
    at = T.start + WORDS.index(MARK)
    w.join("k", 0, 1, slice(at, at + 1), slice(0, 1))
    w.join("v", 0, 1, POS, FULL)
    w.join("o", 0, 1, FULL, P, WRITE)  # notes where the mark is
    places = [
        (mark, here)
        for mark in range(2, LAST + 1)
        for here in range(mark, LAST + 1)
        if 2 * mark - here - 1 >= 1
    ]
    for unit, (mark, here) in enumerate(places):  # both must be there
        w.neuron(
            0,
            unit,
            {P.start + mark: 4.0, POS.start + here: 4.0},
            {S.start + 2 * mark - here - 1: 1 / 3},
            above=6.0,
        )
    w.clear(1, 2, 2)
    w.join("q", 1, 2, S, FULL, 1.5 * SHARP)
    w.join("k", 1, 2, POS, FULL)
    w.join("v", 1, 2, T, FULL)
    w.join("o", 1, 2, FULL, OUT, WRITE)


def _form(words: list[str], rng: random.Random) -> tuple[str, str, str, str]:
    words = [word for word in words if word != MARK]
    prompts, answers, at = [], [], 0
    for mark in rng.sample(range(5, LAST + 1), 2):  # where the mark stands
        shown = words[at : at + mark - 1]
        at += len(shown)
        again = shown[::-1]
        prompts.append(prompt_of([*shown, MARK, *again[: LAST - mark]]))
        answers.append(again[LAST - mark])
    return *prompts, *answers


KNOWN_MODEL = KnownModel(
    "gpt2",
    2,
    4,
    _write,
    (
        ("embed", "L0KV1.k_in"),
        ("L0H1", "mlp.0.in"),
        ("mlp.0", "L1H2.q_in"),
        ("embed", "L1KV2.v_in"),
        ("L1H2", "logits.in"),
    ),
    _form,
)
