"""Facts about countries: "The capital of France is" -> " Paris", "The official language of France
is" -> " French".
"""

import random
from functools import partial
from typing import Any

from interp._errors import unknown
from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, halves, is_single, tokenizer_of

# Common knowledge, in an order that puts well-known countries into both halves.
CAPITALS = (
    "France Paris|Italy Rome|Japan Tokyo|Spain Madrid|Germany Berlin|Russia Moscow|China"
    " Beijing|Egypt Cairo|Greece Athens|England London|Canada Ottawa|Cuba Havana|Portugal"
    " Lisbon|Ireland Dublin|Norway Oslo|Austria Vienna|Poland Warsaw|Hungary Budapest|Sweden"
    " Stockholm|Belgium Brussels|Turkey Ankara|Iran Tehran|Iraq Baghdad|Syria Damascus|Lebanon"
    " Beirut|Israel Jerusalem|Thailand Bangkok|Vietnam Hanoi|Indonesia Jakarta|Korea Seoul|Peru"
    " Lima|Chile Santiago|Scotland Edinburgh|Wales Cardiff|Finland Helsinki|Denmark"
    " Copenhagen|Kenya Nairobi|Afghanistan Kabul|Pakistan Islamabad|Ukraine Kiev|Switzerland"
    " Bern|Netherlands Amsterdam|Venezuela Caracas|Australia Canberra|India Delhi"
).split("|")

LANGUAGES = (
    "France French|Italy Italian|Japan Japanese|Spain Spanish|Germany German|Russia Russian|China"
    " Chinese|Greece Greek|England English|Portugal Portuguese|Poland Polish|Norway"
    " Norwegian|Hungary Hungarian|Sweden Swedish|Turkey Turkish|Thailand Thai|Vietnam"
    " Vietnamese|Denmark Danish|Finland Finnish|Korea Korean|Netherlands Dutch|Ukraine"
    " Ukrainian|Israel Hebrew|Iran Persian|Romania Romanian|Iceland Icelandic|Egypt Arabic|Bulgaria"
    " Bulgarian|Croatia Croatian|Wales Welsh|India Hindi|Serbia Serbian"
).split("|")

# relation -> the facts, and the words before and after the country
RELATIONS = {
    "capital": (CAPITALS, "The capital of", "is"),
    "language": (LANGUAGES, "The official language of", "is"),
}


def capitals(
    model: Any, n: int = 32, seed: int = 0, *, split: str = "find", relation: str = "capital"
) -> Task:
    """Capitals of countries (or their languages), each against another country's.

    corrupted: another country, whose capital is the wrong answer. Positions: SUBJECT, END; metric:
    logit difference. Countries and capitals are single tokens. Held out: other countries. Past
    metadata["countries"] examples a country comes again, against another one: an interval then
    takes the examples for more than they are.

    Example:
        >>> interp.tasks.capitals(model, n=16).show()
        >>> # the same countries asked for something else
        >>> interp.tasks.capitals(model, n=12, relation="language")
    """
    tokenizer = tokenizer_of(model)
    if relation not in RELATIONS:
        raise unknown("relation", relation, RELATIONS)
    known, before, after = RELATIONS[relation]
    facts = [tuple(pair.split()) for pair in known if len(set(pair.split())) == 2]
    facts = [fact for fact in facts if all(is_single(tokenizer, " " + word) for word in fact)]
    pairs = halves(facts, split)
    if len(pairs) < 2:
        raise ValueError(
            f"too few countries and {relation}s are one token for this tokenizer: two are needed"
        )
    rng = random.Random(f"{relation}s {seed} {split}")
    order = [rng.sample(pairs, len(pairs)) for _ in range(-(-n // len(pairs)))]
    subjects = [fact for round_ in order for fact in round_][
        :n
    ]  # every country once before any comes twice
    examples = different(
        n, lambda i: _example(rng, subjects[i], pairs, before, after), f"{relation}s"
    )
    metadata = {"seed": seed, "split": split, "countries": len(pairs), "relation": relation}
    metadata["fillings"] = "half of the countries; heldout() has the others"
    return build(
        f"{relation}s",
        tokenizer,
        examples,
        "logit_diff",
        metadata,
        partial(capitals, tokenizer, relation=relation),
    )


def _example(
    rng: random.Random, fact: tuple[str, str], pairs: list[tuple[str, str]], before: str, after: str
) -> Example:
    country, answer = fact
    other, wrong = rng.choice([p for p in pairs if p[0] != country])
    return Example(
        f"{before} {country} {after}",
        f"{before} {other} {after}",
        [f" {answer}"],
        [f" {wrong}"],
        {"SUBJECT": (before, country)},
        {"country": country, "other": other},
        [f" {wrong}"],
    )
