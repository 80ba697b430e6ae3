"""Induction: ... A B ... A is continued with B, by a previous token head and an induction head."""

import random

from interp.circuits.known.build import (
    FULL,
    OUT,
    SHARP,
    WRITE,
    KnownModel,
    S,
    T,
    Weights,
    prompt_of,
)


def _write(w: Weights) -> None:
    w.previous_token(0, 2, T, S)
    w.clear(1, 1, 1)
    w.join("q", 1, 1, T, FULL, SHARP)  # looks for itself among what came before each token
    w.join("k", 1, 1, S, FULL)
    w.join("v", 1, 1, T, FULL)
    w.join("o", 1, 1, FULL, OUT, WRITE)


def _form(words: list[str], rng: random.Random) -> tuple[str, str, str, str]:
    at = rng.randrange(6)
    clean, corrupted = words[:7], words[7:14]
    return (
        prompt_of([*clean, clean[at]]),
        prompt_of([*corrupted, corrupted[at]]),
        clean[at + 1],
        corrupted[at + 1],
    )


KNOWN_MODEL = KnownModel(
    "gpt2",
    2,
    4,
    _write,
    (
        ("embed", "L0KV2.v_in"),
        ("embed", "L1H1.q_in"),
        ("L0H2", "L1KV1.k_in"),
        ("embed", "L1KV1.v_in"),
        ("L1H1", "logits.in"),
    ),
    _form,
)
