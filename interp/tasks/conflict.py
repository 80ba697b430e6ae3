"""Knowledge conflicts: a context that says something wrong, and the question that the model knows
otherwise.
"""

import random
from functools import partial
from itertools import islice
from typing import Any

from interp._errors import unknown
from interp.tasks.capitals import CAPITALS, LANGUAGES
from interp.tasks.pairs import Example, build
from interp.tasks.task import Task, halves, is_single, tokenizer_of

# relation -> the facts, and what the answer is to the country
RELATIONS = {"capital": (CAPITALS, "capital city"), "language": (LANGUAGES, "official language")}
# {what} the relation in words, {x} the country, {y} what the context says of it
TEMPLATES = {
    "given": ("Given that the name of the {what} of {x} is {y}.", " The {what} of {x} is"),
    "plain": ("The {what} of {x} is {y}.", " The {what} of {x} is"),
    "question": ("The {what} of {x} is {y}.", " Q: What is the {what} of {x}? A:"),
}
SAID = ("context", "memory", "other")


def conflict(
    model: Any,
    n: int = 32,
    seed: int = 0,
    *,
    relation: str = "capital",
    template: str = "given",
    answer: str = "context",
    against: str | None = None,
    split: str = "find",
) -> Task:
    """ "Given that the name of the capital city of France is Rome. The capital city of France is":
    Rome, or Paris?

    Example:
        >>> interp.tasks.conflict(model, n=16).show()
        >>> # "answer on top": how often memory wins
        >>> interp.tasks.conflict(model, n=64, answer="memory").behaviour(model)
        >>> interp.tasks.conflict(model, n=32, relation="language", template="question")

    Args:
        answer: What the context says ("context") or what is true ("memory").
        against: The wrong answer, by default the other of these two, or what the corrupted prompt's
            context says ("other"), which the clean one does not name. corrupted: a context that
            says a third thing.
        relation: "capital" or "language".
        template: "given", "plain" (the same without "Given that the name of"), or "question" ("...
            Q: What is the capital city of France? A:"). Positions: TOLD (what the context says),
            SUBJECT1 and SUBJECT2 (the country), QUESTION (the question's first token), END; metric:
            logit difference. Held out: other countries and what goes with them. Each country comes
            once before any comes twice, then told something else: past metadata["countries"] an
            interval takes the examples for more than they are.

    Raises:
        ValueError: When n is more than there are countries to tell wrong things.

    Reference:
        After Jin et al. 2024 (PH3), arXiv 2402.18154.
    """
    for what, given, known in (
        ("relation", relation, RELATIONS),
        ("template", template, TEMPLATES),
        ("answer", answer, SAID[:2]),
    ):
        if given not in known:
            raise unknown(what, given, known)
    against = against or {"context": "memory", "memory": "context"}[answer]
    if against not in SAID:
        raise unknown("wrong answer", against, SAID, "against='memory'")
    if against == answer:
        raise ValueError(
            f"against={against!r} is the answer itself (leave it out, or try against='other')"
        )
    tokenizer = tokenizer_of(model)
    facts = [tuple(pair.split()) for pair in RELATIONS[relation][0] if len(set(pair.split())) == 2]
    pairs = halves(
        [fact for fact in facts if all(is_single(tokenizer, " " + word) for word in fact)], split
    )
    if len(pairs) < 3:
        raise ValueError(
            f"too few countries and {relation}s are one token for this tokenizer: conflict needs"
            " three"
        )
    rng = random.Random(f"conflict {seed} {split}")
    others = {fact: _apart(pairs, fact) for fact in pairs}
    others = {fact: rng.sample(known, len(known)) for fact, known in others.items()}
    if n > (most := sum(map(len, others.values()))):
        raise ValueError(
            f"n={n} is too many: {len(pairs)} countries of this half make {most} different"
            " conflicts"
        )
    options = dict(relation=relation, template=template, answer=answer, against=against)
    form = [part.replace("{what}", RELATIONS[relation][1]) for part in TEMPLATES[template]]
    rounds = range(
        max(map(len, others.values()))
    )  # every country once before any comes twice, told something else each time
    drawn = (
        (fact, i) for i in rounds for fact in rng.sample(pairs, len(pairs)) if i < len(others[fact])
    )
    stated = [(fact, others[fact][i]) for fact, i in islice(drawn, n)]
    examples = [
        _example(rng, fact, candidates, others[fact], form, answer, against)
        for fact, candidates in stated
    ]
    metadata = {"seed": seed, "split": split, "countries": len(pairs), **options}
    metadata["fillings"] = f"half of the countries and their {relation}s; heldout() has the others"
    return build(
        "conflict",
        tokenizer,
        examples,
        "logit_diff",
        metadata,
        partial(conflict, tokenizer, **options),
    )


def _apart(pairs: list[tuple[str, str]], fact: tuple[str, str]) -> list[str]:
    """What other countries have and this one has not, each once."""
    return list(
        dict.fromkeys(known for country, known in pairs if country != fact[0] and known != fact[1])
    )


def _example(
    rng: random.Random,
    fact: tuple[str, str],
    stated: str,
    others: list[str],
    form: list[str],
    answer: str,
    against: str,
) -> Example:
    country, known = fact
    third = rng.choice([other for other in others if other != stated])
    context, asked = form[0].replace("{x}", country), form[1].replace("{x}", country)
    clean = context.replace("{y}", stated)
    places = {
        "SUBJECT1": (form[0].partition(" {x}")[0], country),
        "TOLD": (context.partition(" {y}")[0], stated),
        "QUESTION": (clean, asked.split()[0].rstrip(":")),
        "SUBJECT2": (clean + form[1].partition(" {x}")[0], country),
    }
    candidates = {"context": stated, "memory": known, "other": third}
    labels = {"country": country, "told": stated, "memory": known}
    return Example(
        clean + asked,
        context.replace("{y}", third) + asked,
        [f" {candidates[answer]}"],
        [f" {candidates[against]}"],
        places,
        labels,
    )
