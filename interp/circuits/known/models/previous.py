"""Previous: the word before is repeated, by a previous token head and a head that copies it."""

import random

from interp.circuits.known.build import (
    FULL,
    OUT,
    POS,
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
    w.clear(1, 3, 3)
    w.join("q", 1, 3, POS, FULL, SHARP)  # looks at itself
    w.join("k", 1, 3, POS, FULL)
    w.join("v", 1, 3, S, FULL)
    w.join("o", 1, 3, FULL, OUT, WRITE)


def _form(words: list[str], rng: random.Random) -> tuple[str, str, str, str]:
    clean, corrupted = words[:7], words[7:14]
    return prompt_of(clean), prompt_of(corrupted), clean[-2], corrupted[-2]


KNOWN_MODEL = KnownModel(
    "gpt2",
    2,
    4,
    _write,
    (("embed", "L0KV2.v_in"), ("L0H2", "L1KV3.v_in"), ("L1H3", "logits.in")),
    _form,
)
