"""Colored objects: "On the table, I see a red cup, a blue pen, and an orange bowl. What color is
the pen?" -> " Blue".
"""

import random
from functools import partial
from typing import Any

from interp._errors import unknown
from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, is_single, tokenizer_of, usable

OBJECTS = (
    "pencil notebook pen cup plate jug mug puzzle textbook leash necklace bracelet bottle ball"
    " envelope lighter bowl"
).split()
COLORS = "red orange yellow green blue purple brown black".split()
SURFACES = ("table", "desk", "floor")
STARTS = ("there is", "you see", "I see")
AGAINST = ("other", "all")


def colored_objects(
    model: Any, n: int = 32, seed: int = 0, *, against: str = "other", split: str = "find"
) -> Task:
    """Three objects with a color each, after one such question with its answer: which color has the
    one asked for?

    The paper's prompt; the answer is capitalized, and the two questions share no object and no
    color. corrupted: the same prompt asks for another of its objects.

    Example:
        >>> interp.tasks.colored_objects(model, n=12).show(1)
        >>> # chance: a third
        >>> interp.tasks.colored_objects(model, n=60, against="all").behaviour(model)

    Args:
        against: The wrong answer is that object's color ("other", as in the paper), or both other
            colors ("all"). Labels: "color", "other", "third", and "index", the place of the object
            asked for in the list, from 1. Positions: COLOR, OTHER_COLOR, THIRD_COLOR, OBJECT,
            OTHER_OBJECT (in the list), QUERY (in the question), END; metric: logit difference. Held
            out: other objects; there are too few colors to divide.

    Reference:
        Merullo et al. 2024 (arXiv 2310.08744), wording and words from their code. A model may well
        be at chance here: look at its behaviour first (`Task.behaviour`).
    """
    if against not in AGAINST:
        raise unknown("wrong answer", against, AGAINST, "against='other'")
    tokenizer = tokenizer_of(model)
    objects = usable(tokenizer, OBJECTS, split, 6, "objects")
    colors = [
        c for c in COLORS if is_single(tokenizer, f" {c}") and is_single(tokenizer, f" {c.title()}")
    ]
    if len(colors) < 6:
        raise ValueError(
            f"only {len(colors)} colors are one token for this tokenizer, 6 are needed"
        )
    rng = random.Random(f"colored_objects {seed} {split}")
    examples = different(
        n, lambda i: _example(rng, objects, colors, i % 3, against), "colored_objects"
    )
    metadata = {
        "seed": seed,
        "split": split,
        "against": against,
        "fillings": "half of the objects; heldout() has the others",
    }
    return build(
        "colored_objects",
        tokenizer,
        examples,
        "logit_diff",
        metadata,
        partial(colored_objects, tokenizer, against=against),
    )


def _example(
    rng: random.Random, objects: list[str], colors: list[str], index: int, against: str
) -> Example:
    things, shades = (
        rng.sample(objects, 6),
        rng.sample(colors, 6),
    )  # three for the question that is shown, three for ours
    begin = [f"Q: On the {rng.choice(SURFACES)}, {rng.choice(STARTS)}" for _ in range(2)]

    def asks(scene, thing):
        return f"{scene}. What color is the {thing}?\nA:"

    shown = rng.randrange(3)
    first = (
        f"{asks(_scene(begin[0], shades[:3], things[:3]), things[shown])} {shades[shown].title()}\n"
    )
    ours, theirs = shades[3:], things[3:]
    scene = first + _scene(begin[1], ours, theirs)
    other, third = rng.sample([k for k in range(3) if k != index], 2)

    # what stands before the color of an item, and before its object
    def color_at(k):
        return (first + _scene(begin[1], ours, theirs, k), ours[k])

    def object_at(k):
        return (" ".join(color_at(k)), theirs[k])

    answer = [ours[k].title() for k in (index, other, third)]
    return Example(
        asks(scene, theirs[index]),
        asks(scene, theirs[other]),
        [f" {answer[0]}"],
        [f" {c}" for c in answer[1 : 2 if against == "other" else 3]],
        {
            "COLOR": color_at(index),
            "OTHER_COLOR": color_at(other),
            "THIRD_COLOR": color_at(third),
            "OBJECT": object_at(index),
            "OTHER_OBJECT": object_at(other),
            "QUERY": (f"{scene}. What color is the", theirs[index]),
        },
        {
            **dict(zip(("color", "other", "third"), answer)),
            "index": str(index + 1),
            "object": theirs[index],
        },
    )


def _scene(begin: str, colors: list[str], objects: list[str], upto: int | None = None) -> str:
    """The three items in words, or what stands before the color of item `upto`."""
    text = begin
    for k, (color, thing) in enumerate(zip(colors, objects)):
        text += (" and" if k == 2 else "") + (" an" if color[0] in "aeiou" else " a")
        if k == upto:
            return text
        text += f" {color} {thing}" + ("," if k < 2 else "")
    return text
