"""Subject-verb agreement across a distractor: "The keys near the cabinet" -> " are"."""

import random
from functools import partial
from typing import Any

from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, halves, is_single, tokenizer_of

NOUNS = (
    "key keys|doctor doctors|teacher teachers|student students|boy boys|girl girls|dog dogs|cat"
    " cats|book books|car cars|author authors|farmer farmers|pilot pilots|manager managers|king"
    " kings|player players|singer singers|writer writers|artist artists|actor actors|friend"
    " friends|parent parents|tree trees|house houses|bird birds|horse horses|picture"
    " pictures|letter letters|window windows|table tables|officer officers|guard guards|lawyer"
    " lawyers|guest guests"
).split("|")
LINKS = ("near", "behind", "beside", "with")


def agreement(model: Any, n: int = 32, seed: int = 0, *, split: str = "find") -> Task:
    """Is the verb singular or plural? The subject says, the noun between it and the verb distracts.

    Example:
        >>> interp.tasks.agreement(model, n=32).show()

    Reference:
        Half of the prompts have a distractor of the other number (label "distractor"). corrupted:
        the subject in the other number, so the answer flips. Positions: SUBJECT, NOUN, END; metric:
        logit difference of " are" and " is". After Linzen et al. 2016 (arXiv 1611.01368). Held out:
        other nouns.
    """
    tokenizer = tokenizer_of(model)
    forms = [tuple(pair.split()) for pair in NOUNS]
    forms = [pair for pair in forms if all(is_single(tokenizer, " " + word) for word in pair)]
    pairs = halves(forms, split)
    if len(pairs) < 2:
        raise ValueError(
            "too few nouns are one token in both numbers for this tokenizer: agreement needs two"
        )
    rng = random.Random(f"agreement {seed} {split}")
    examples = different(n, lambda i: _example(rng, pairs, i), "agreement")
    metadata = {
        "seed": seed,
        "split": split,
        "fillings": "half of the nouns; heldout() has the others",
    }
    return build(
        "agreement", tokenizer, examples, "logit_diff", metadata, partial(agreement, tokenizer)
    )


def _example(rng: random.Random, pairs: list[tuple[str, str]], i: int) -> Example:
    subject, other = rng.sample(pairs, 2)
    number, same = i % 2, i // 2 % 2  # 0 singular, 1 plural; does the distractor agree?
    noun, link = other[number if same else 1 - number], rng.choice(LINKS)
    form = f"The %s {link} the {noun}"
    verbs = (" is", " are")
    return Example(
        form % subject[number],
        form % subject[1 - number],
        [verbs[number]],
        [verbs[1 - number]],
        {"SUBJECT": ("The", subject[number]), "NOUN": (f"The {subject[number]} {link} the", noun)},
        {"number": ("singular", "plural")[number], "distractor": "agrees" if same else "disagrees"},
        [verbs[1 - number]],
    )
