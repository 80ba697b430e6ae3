"""Inhibition: of two names one comes again, the other is the answer; a small IOI of three heads."""

import random

from interp.circuits.known.build import (
    BIG,
    FULL,
    ONE,
    OUT,
    POS,
    SHARP,
    WRITE,
    KnownModel,
    P,
    S,
    T,
    Weights,
    prompt_of,
)
from interp.circuits.known.models.duplicate import look_for_same


def _write(w: Weights) -> None:
    look_for_same(w, 0, 1)  # at the second coming it finds the first one
    w.join("v", 0, 1, T, FULL)
    w.join("o", 0, 1, FULL, S, WRITE)
    w.clear(1, 2, 2)  # look at the fifth token and bring what is noted there
    w.join("q", 1, 2, ONE, slice(0, 1), SHARP / BIG)
    w.join("k", 1, 2, slice(POS.start + 4, POS.start + 5), slice(0, 1))
    w.join("v", 1, 2, S, FULL)
    w.join("o", 1, 2, FULL, P, WRITE)
    w.clear(2, 0, 0)  # look at both names, less at the noted one, and copy it
    w.join("q", 2, 0, P, FULL, -SHARP)
    w.join("k", 2, 0, T, FULL)
    w.join("q", 2, 0, ONE, slice(16, 17), SHARP / BIG)
    w.join("k", 2, 0, slice(POS.start + 1, POS.start + 3), slice(16, 17))
    w.join("v", 2, 0, T, FULL)
    w.join("o", 2, 0, FULL, OUT, WRITE)


def _form(words: list[str], rng: random.Random) -> tuple[str, str, str, str]:
    a, b, filler, x, y, z, last = words[:7]
    twice, once = (a, b) if rng.random() < 0.5 else (b, a)
    return prompt_of([a, b, filler, twice, last]), prompt_of([x, y, filler, z, last]), once, twice


KNOWN_MODEL = KnownModel(
    "gpt2",
    3,
    4,
    _write,
    (
        ("embed", "L0H1.q_in"),
        ("embed", "L0KV1.k_in"),
        ("embed", "L0KV1.v_in"),
        ("L0H1", "L1KV2.v_in"),
        ("L1H2", "L2H0.q_in"),
        ("embed", "L2KV0.k_in"),
        ("embed", "L2KV0.v_in"),
        ("L2H0", "logits.in"),
    ),
    _form,
)
