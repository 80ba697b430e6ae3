"""What comes next: "Monday, Tuesday," -> " Wednesday"; the same for months, number words, letters
and digits.
"""

import random
from functools import partial
from typing import Any

from interp._errors import unknown
from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, halves, is_single, tokenizer_of

ORDERS = {
    "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "month": (
        (
            "January February March April May June July August September October November December"
        ).split()
    ),
    "number": "one two three four five six seven eight nine ten eleven twelve".split(),
    "letter": list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "digit": list("0123456789"),
}
ROUND = ("weekday", "month")  # after the last comes the first


def successor(
    model: Any,
    n: int = 32,
    seed: int = 0,
    *,
    kind: str = "all",
    shown: int = 2,
    split: str = "find",
) -> Task:
    """Some members of an order one after another: which one follows?

    Example:
        >>> interp.tasks.successor(model, n=24).show()
        >>> interp.tasks.successor(model, n=8, kind="month", shown=1)

    Args:
        kind: "weekday", "month", "number" (words), "letter", "digit", or "all" but the digits,
            whose prompts are longer (label "kind").
        shown: How many members stand there before the one asked for. corrupted: the same order from
            another start, so the answer changes. Positions: LAST (the last member shown), END;
            metric: logit difference. Held out: the other starts.

    Reference:
        After Gould et al. 2023 (arXiv 2312.09230).
    """
    tokenizer = tokenizer_of(model)
    if kind != "all" and kind not in ORDERS:
        raise unknown("kind of order", kind, [*ORDERS, "all"])
    if not 1 <= shown <= 5:
        raise ValueError(f"shown={shown}: one to five members can be shown (try 2)")
    kinds = [k for k in ORDERS if k != "digit"] if kind == "all" else [kind]
    starts = {k: halves(_starts(tokenizer, k, shown), split) for k in kinds}
    kinds = [k for k in kinds if len(starts[k]) >= 2]
    if not kinds:
        raise ValueError(
            f"too few members of the order {kind!r} are one token for this tokenizer: successor"
            " needs four"
        )
    rng = random.Random(f"successor {seed} {split}")
    # by chance, not in turn: an order with few starts runs out of new pairs and leaves the rest to
    # the others
    examples = different(
        n, lambda i: _example(rng, kind := rng.choice(kinds), starts[kind]), "successor"
    )
    metadata = {"seed": seed, "split": split, "kind": kind, "shown": shown}
    metadata["fillings"] = "half of the starts; heldout() has the others"
    return build(
        "successor",
        tokenizer,
        examples,
        "logit_diff",
        metadata,
        partial(successor, tokenizer, kind=kind, shown=shown),
    )


def _starts(tokenizer: Any, kind: str, shown: int) -> list[list[str]]:
    """Every run of shown + 1 members, all of them one token."""
    order, size = ORDERS[kind], shown + 1
    runs = [
        [order[(i + k) % len(order)] for k in range(size)]
        for i in range(len(order) if kind in ROUND else len(order) - shown)
    ]
    space = "" if kind == "digit" else " "
    return [run for run in runs if all(is_single(tokenizer, space + word) for word in run)]


def _example(rng: random.Random, kind: str, starts: list[list[str]]) -> Example:
    run, other = rng.sample(starts, 2)
    comma = (
        ", " if kind == "digit" else ","
    )  # where digits stand alone, the space is a token of its own
    space = "" if kind == "digit" else " "
    begin = "In order: " if kind == "digit" else "In order:"

    def fill(members):
        return begin + "".join(f"{space}{m}{comma}" for m in members[:-1])

    before = begin + "".join(f"{space}{m}{comma}" for m in run[:-2])
    return Example(
        fill(run),
        fill(other),
        [space + run[-1]],
        [space + other[-1]],
        {"LAST": (before, run[-2])},
        {"kind": kind, "from": run[-2]},
    )
