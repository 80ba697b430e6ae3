"""Facts: "The capital of France is" -> " Paris"."""

import random
from functools import partial
from typing import Any

from interp.tasks.task import Example, Task, build, different, halves, is_single, tokenizer_of

# Common knowledge, in an order that puts well-known countries into both halves.
CAPITALS = (
    "France Paris|Italy Rome|Japan Tokyo|Spain Madrid|Germany Berlin|Russia Moscow|China Beijing|Egypt Cairo|"
    "Greece Athens|England London|Canada Ottawa|Cuba Havana|Portugal Lisbon|Ireland Dublin|Norway Oslo|Austria Vienna|"
    "Poland Warsaw|Hungary Budapest|Sweden Stockholm|Belgium Brussels|Turkey Ankara|Iran Tehran|Iraq Baghdad|Syria Damascus|"
    "Lebanon Beirut|Israel Jerusalem|Thailand Bangkok|Vietnam Hanoi|Indonesia Jakarta|Korea Seoul|Peru Lima|Chile Santiago|"
    "Scotland Edinburgh|Wales Cardiff|Finland Helsinki|Denmark Copenhagen|Kenya Nairobi|Afghanistan Kabul|Pakistan Islamabad|"
    "Ukraine Kiev|Switzerland Bern|Netherlands Amsterdam|Venezuela Caracas|Australia Canberra|India Delhi"
).split("|")


def capitals(model: Any, n: int = 32, seed: int = 0, *, split: str = "find") -> Task:
    """Capitals of countries, each against another country's capital.

    >>> interp.tasks.capitals(model, n=16).show()

    corrupted: another country, whose capital is the wrong answer. Positions: SUBJECT, END; metric: logit
    difference. Countries and capitals are single tokens. Held out: other countries. Past about["countries"]
    examples a country comes again, against another one: an interval then takes the examples for more than they are.
    """
    tokenizer = tokenizer_of(model)
    facts = [tuple(pair.split()) for pair in CAPITALS if len(set(pair.split())) == 2]
    facts = [fact for fact in facts if all(is_single(tokenizer, " " + word) for word in fact)]
    pairs = halves(facts, split)
    if len(pairs) < 2:
        raise ValueError("too few countries and capitals are one token for this tokenizer: capitals needs two")
    rng = random.Random(f"capitals {seed} {split}")
    order = [rng.sample(pairs, len(pairs)) for _ in range(-(-n // len(pairs)))]
    subjects = [fact for round_ in order for fact in round_][:n]  # every country once before any comes twice
    examples = different(n, lambda i: _example(rng, subjects[i], pairs), "capitals")
    about = {"seed": seed, "split": split, "countries": len(pairs)}
    about["fillings"] = "half of the countries; heldout() has the others"
    return build("capitals", tokenizer, examples, "logit_diff", about, partial(capitals, tokenizer))


def _example(rng: random.Random, fact: tuple[str, str], pairs: list[tuple[str, str]]) -> Example:
    country, capital = fact
    other, wrong = rng.choice([p for p in pairs if p[0] != country])
    form = "The capital of %s is"
    return Example(
        form % country, form % other, [f" {capital}"], [f" {wrong}"],
        {"SUBJECT": ("The capital of", country)}, {"country": country, "other": other},
    )
