"""Fraction of previous tokens: how many of all tokens so far are "ram", in eighths, as a word.

What the RASP program frac_prevs compiles to (Lindner et al. 2023, Tracr, arXiv 2301.05062): an MLP
marks the token, a head with no preference averages the marks, an MLP reads the average off. The
first token counts as one that is no "ram".
"""

import random

from interp.circuits.known.build import OUT, WORDS, KnownModel, P, S, T, Weights, prompt_of

COUNTED = "ram"
PARTS = 8  # how finely it tells
WHOLE = 1.15  # what the head writes for a fraction of 1
STEEP, STEP = 24.0, 0.4  # of the stairs; what one stair adds to every later word


def _write(w: Weights) -> None:
    mark, zero = (
        S.start,
        S.stop - 1,
    )  # a place that nobody writes: what the norm takes from both goes out by the difference
    w.neuron(0, 0, {T.start + WORDS.index(COUNTED): 4.0}, {mark: 1 / 3}, above=2.0)
    w.clear(1, 2, 2)  # no queries and keys: everything alike
    w.v[1, 2, mark, 0], w.v[1, 2, zero, 0] = 1.0, -1.0
    w.o[1, 2, 0, P.start] = 1.0
    for stair in range(1, PARTS):
        later = range(OUT.start + stair, OUT.start + PARTS)
        height = WHOLE * (stair - 0.5) / PARTS
        for unit, sign in ((2 * stair, 1), (2 * stair + 1, -1)):  # the two make a step that ends
            reads = {P.start: STEEP, P.stop - 1: -STEEP}
            w.neuron(
                1,
                unit,
                reads,
                {place: sign * STEP for place in later},
                above=STEEP * (height - sign * WHOLE / (4 * PARTS)),
            )
    half = STEP * STEEP * WHOLE / (4 * PARTS) / 2
    down = {OUT.start + word: 0.2 - half * word for word in range(PARTS)}
    w.neuron(
        1, 0, {}, down, above=-2.0
    )  # half a stair down for each word: the last one climbed wins, and no other word


def _form(words: list[str], rng: random.Random) -> tuple[str, str, str, str]:
    words = [word for word in words if word != COUNTED]
    counts = rng.sample(range(7), 2)
    prompts = []
    for count, fill in zip(counts, (words[:7], words[7:14])):
        places = rng.sample(range(1, 7), count)
        prompts.append(prompt_of([COUNTED if i in places else word for i, word in enumerate(fill)]))
    return *prompts, WORDS[counts[0]], WORDS[counts[1]]


KNOWN_MODEL = KnownModel(
    "gpt2",
    2,
    4,
    _write,
    (("embed", "mlp.0.in"), ("mlp.0", "L1KV2.v_in"), ("L1H2", "mlp.1.in"), ("mlp.1", "logits.in")),
    _form,
)
