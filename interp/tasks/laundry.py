"""All but one: "On the table, there is a cup, and a ball. Mary took the ball, so the only thing
left is the" -> " cup".
"""

import random
from functools import partial
from typing import Any

from interp._errors import unknown
from interp.tasks.ioi import NAMES
from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, tokenizer_of, usable

# Every one takes "a", not "an": an article must not give the answer away.
ITEMS = (
    "pencil notebook pen cup plate puzzle necklace bottle ball bowl book shirt hat lamp key box"
    " coat ring watch phone camera map ticket letter picture guitar drum knife fork spoon glass"
    " clock mirror blanket pillow candle basket hammer brush towel coin card bag toy doll rope"
    " stick stone jacket cake cookie banana lemon pear potato sandwich magazine newspaper"
).split()
AGAINST = ("other", "all")


def laundry(
    model: Any,
    n: int = 32,
    seed: int = 0,
    *,
    items: int = 2,
    against: str = "other",
    split: str = "find",
) -> Task:
    """A list of things of which all but one are taken: which is left?

    Example:
        >>> interp.tasks.laundry(model, n=16).show()
        >>> interp.tasks.laundry(model, n=32, items=4, against="all")

    Args:
        items: How many things there are. The one that is left stands at each place of the list
            equally often (label "index", from 1). corrupted: of the things taken one is changed for
            the one that is left, so that another is left.
        against: The wrong answer is the one left in the corrupted prompt ("other"), or every other
            thing ("all": then accuracy by chance is 1 / items). Positions: LEFT and OTHER (the two
            in the list), TOOK (the one that differs), END; metric: logit difference. Held out:
            other things and names.

    Reference:
        A laundry list as in Merullo et al. 2024 (arXiv 2406.09519), in our own words.
    """
    if against not in AGAINST:
        raise unknown("wrong answer", against, AGAINST, "against='other'")
    tokenizer = tokenizer_of(model)
    things = usable(tokenizer, ITEMS, split, 2, "things")
    names = usable(tokenizer, NAMES, split, 1, "names")
    if not 2 <= items <= len(things):
        raise ValueError(f"items={items}: a list has 2 to {len(things)} things here (try items=2)")
    rng = random.Random(f"laundry {seed} {split}")
    examples = different(
        n, lambda i: _example(rng, things, names, items, i % items, against), "laundry"
    )
    metadata = {"seed": seed, "split": split, "items": items, "against": against}
    metadata["fillings"] = "half of the things and names; heldout() has the others"
    again = partial(laundry, tokenizer, items=items, against=against)
    return build("laundry", tokenizer, examples, "logit_diff", metadata, again)


def _example(
    rng: random.Random, things: list[str], names: list[str], items: int, index: int, against: str
) -> Example:
    listed, name = rng.sample(things, items), rng.choice(names)
    left, taken = listed[index], listed[:index] + listed[index + 1 :]
    rng.shuffle(taken)
    slot = rng.randrange(len(taken))
    other = taken[slot]

    def upto(k):
        return (
            "On the table, there is"
            + "".join(f" a {x}," for x in listed[:k])
            + (" and a" if k == items - 1 else " a")
        )

    took = f"{upto(items - 1)} {listed[-1]}. {name} took"

    def before(k):
        return (
            took
            + "".join(f" the {x}," for x in taken[:k])
            + (" and the" if 0 < k == items - 2 else " the")
        )

    def after(k):
        return "".join(
            f", {'and ' if j == items - 2 else ''}the {taken[j]}" for j in range(k + 1, items - 1)
        )

    def fill(word):
        return f"{before(slot)} {word}{after(slot)}, so the only thing left is the"

    wrong = [other] if against == "other" else taken
    return Example(
        fill(other),
        fill(left),
        [f" {left}"],
        [f" {x}" for x in wrong],
        {
            "LEFT": (upto(index), left),
            "OTHER": (upto(listed.index(other)), other),
            "TOOK": (before(slot), other),
        },
        {"left": left, "other": other, "index": str(index + 1), "name": name},
    )
