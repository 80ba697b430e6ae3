"""Greater-than: a war that began in 1732 ends in 17, and a digit that is larger than 3."""

import random
from functools import partial
from typing import Any

from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, single, tokenizer_of, usable

NOUNS = (
    "war siege plan project campaign voyage trial treaty reign mission strike drought famine"
    " festival program contract survey journey battle debate struggle operation conflict study"
).split()
CENTURIES = {"find": ("16", "18"), "heldout": ("15", "17")}


def greater_than(model: Any, n: int = 32, seed: int = 0, *, split: str = "find") -> Task:
    """Years compared digit by digit: after "from the year 1732 to the year 17" the next digit
    should be above 3.

    Example:
        >>> interp.tasks.greater_than(model, n=32).show()

    Reference:
        For tokenizers that split numbers into digits (others are refused). answers: the digits
        above the start's tens digit, wrong: those below it, as many as there are (a digit equal to
        it is neither). corrupted: the start year ends in 01, which rules nothing out. Positions: Y
        (the start's tens digit), END; metric: the probability of the answers less that of the wrong
        ones. After Hanna et al. 2023 (arXiv 2305.00586), whose model reads two digits at once. Held
        out: other nouns and other centuries.
    """
    tokenizer = tokenizer_of(model)
    digits = [single(tokenizer, str(d)) for d in range(10)]
    if len(tokenizer("17", add_special_tokens=False).input_ids) != 2:
        raise ValueError(
            "this tokenizer does not split numbers into digits, which greater_than needs"
        )
    nouns = usable(tokenizer, NOUNS, split, 1, "nouns")
    rng = random.Random(f"greater_than {seed} {split}")
    examples = different(n, lambda i: _example(rng, nouns, CENTURIES[split]), "greater_than")
    metadata = {
        "seed": seed,
        "split": split,
        "digits": digits,
        "fillings": "half of the nouns and centuries; heldout() has the others",
    }
    return build(
        "greater_than", tokenizer, examples, "prob_diff", metadata, partial(greater_than, tokenizer)
    )


def _example(rng: random.Random, nouns: list[str], centuries: tuple[str, ...]) -> Example:
    noun, century = rng.choice(nouns), rng.choice(centuries)
    tens, unit = (
        rng.randint(2, 8),
        rng.randint(1, 9),
    )  # some digit is larger, and 0 or 1 at least is smaller
    form = f"The {noun} lasted from the year {century}%s to the year {century}"
    before = f"The {noun} lasted from the year {century}"
    return Example(
        form % f"{tens}{unit}",
        form % "01",
        [str(d) for d in range(tens + 1, 10)],
        [str(d) for d in range(tens)],
        {"Y": (before, str(tens))},
        {"noun": noun, "start": f"{century}{tens}{unit}"},
    )
