"""Indirect-object identification: "When Mary and John went to the store, John gave a drink to" -> "
Mary".
"""

import random
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from interp._errors import unknown
from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, encode, tokenizer_of, usable

# {a} {b} the two names, {s} the subject again, {p} a place, {o} an object. IO is the name that is
# not {s}.
TEMPLATES = (
    "When {a} and {b} went to the {p}, {s} gave a {o} to",
    "After {a} and {b} came to the {p}, {s} handed a {o} to",
    "While {a} and {b} were at the {p}, {s} passed a {o} to",
    "Then {a} and {b} went to the {p}, {s} offered a {o} to",
    "Once {a} and {b} got to the {p}, {s} showed a {o} to",
    "Because {a} and {b} met at the {p}, {s} brought a {o} to",
)
NAMES = (
    "Mary John Tom James Anna Paul Mark Sarah Emma Peter Alice David Kate Simon Laura Jack Michael"
    " Robert William Richard Thomas Charles Daniel Matthew Andrew Brian George Edward Jason Ryan"
    " Eric Stephen Scott Henry Adam Jane Linda Elizabeth Susan Jessica Lisa Nancy Emily Rachel"
    " Maria Julia Grace Martin Helen Frank Alex Kevin Steven Jim"
).split()
PLACES = (
    "store garden restaurant school hospital office house station park market library kitchen"
).split()
OBJECTS = "drink ring book ball gift letter key bag hat pen cup bottle".split()
CORRUPTIONS = ("swap", "abc", "name", "position")


def ioi(
    model: Any,
    n: int = 32,
    seed: int = 0,
    *,
    corruption: str = "swap",
    templates: str | Sequence[str] | None = None,
    split: str = "find",
) -> Task:
    """IOI prompts in several templates, half with the names in one order (ABBA) and half in the
    other (BABA).

    Example:
        >>> interp.tasks.ioi(model, n=32, corruption="abc").show()
        >>> task = interp.tasks.ioi(model, n=32, corruption="position")
        >>> interp.interchange(model, task, "resid_post.*@S2").plot()

    Args:
        corruption: "swap" repeats the other name, so the answer flips; "abc" puts three unrelated
            names in the places of IO, S1 and S2, so that nothing is repeated (the paper's p_ABC).
            "position" and "name" are prompts of two other names that differ in one causal variable,
            for `interp.interchange`: "position" has the indirect object in the other place, so
            that with its *position* swapped in the answer is the clean prompt's other name;
            "name" has it in the same place, so that with its *name* swapped in the answer is
            the other prompt's. All but "abc" have answers after the swap (`task.swap_answers`).
            Positions: IO, S1, S1+1, S2, END; metric: logit difference, IO less S. Templates that
            this tokenizer makes longer or shorter than most are left out and named in `metadata`.

    Reference:
        Wang et al. 2022, arXiv 2211.00593.
    """
    if corruption not in CORRUPTIONS:
        raise unknown("corruption", corruption, CORRUPTIONS)
    tokenizer = tokenizer_of(model)
    names = usable(tokenizer, NAMES, split, 5, "names")
    places = usable(tokenizer, PLACES, split, 1, "places")
    objects = usable(tokenizer, OBJECTS, split, 1, "objects")
    forms, left_out = _one_length(tokenizer, _checked(templates), names, places, objects)
    rng = random.Random(f"ioi {seed} {split}")
    examples = different(
        n,
        lambda i: _example(
            rng,
            forms[i // 2 % len(forms)],
            "ABBA" if i % 2 else "BABA",
            names,
            places,
            objects,
            corruption,
        ),
        "ioi",
    )
    metadata = {
        "seed": seed,
        "split": split,
        "corruption": corruption,
        "templates": forms,
        "left_out": left_out,
    }
    metadata["fillings"] = "half of the names, places and objects; heldout() has the others"
    again = partial(ioi, tokenizer, corruption=corruption, templates=templates)
    return build("ioi", tokenizer, examples, "logit_diff", metadata, again)


def _example(
    rng: random.Random,
    form: str,
    order: str,
    names: list,
    places: list,
    objects: list,
    corruption: str,
) -> Example:
    io, s, *abc = rng.sample(names, 5)
    place, thing = rng.choice(places), rng.choice(objects)

    # ABBA: the indirect object stands first and the subject second
    def fill(io, s1, s2):
        return form.format(
            a=io if order == "ABBA" else s1, b=s1 if order == "ABBA" else io, s=s2, p=place, o=thing
        )

    clean = fill(io, s, s)
    other_io, other_s = abc[:2]
    # the other prompt, and the answer once what it says of the variable is in the clean run
    corrupted, after = {
        "swap": (fill(io, s, io), [s]),
        "abc": (fill(*abc), []),
        "name": (fill(other_io, other_s, other_s), [other_io]),
        "position": (fill(other_s, other_io, other_s), [s]),
    }[corruption]
    first, second = (io, s) if order == "ABBA" else (s, io)

    # the clean text up to a slot, from the template: a name is looked for nowhere
    def upto(slot):
        return form[: form.index(" {" + slot + "}")].format(
            a=first, b=second, s=s, p=place, o=thing
        )

    at_s2, where = upto("s"), {first: upto("a"), second: upto("b")}
    after_s1 = re.match(r"\s*(\w+|[^\w\s])", clean[len(where[s]) + 1 + len(s) :])[1]
    return Example(
        clean,
        corrupted,
        [f" {io}"],
        [f" {s}"],
        {
            "IO": (where[io], io),
            "S1": (where[s], s),
            "S1+1": (f"{where[s]} {s}", after_s1),
            "S2": (at_s2, s),
        },
        {"order": order, "template": form, "place": place, "object": thing},
        [f" {name}" for name in after],
    )


def _checked(templates: str | Sequence[str] | None) -> tuple[str, ...]:
    """The templates, or ours when there are none; ValueError for one that is not an IOI
    sentence.
    """
    if templates is None:
        return TEMPLATES
    forms = (templates,) if isinstance(templates, str) else tuple(templates)
    if not forms:
        raise ValueError(f"templates is empty: give one like {TEMPLATES[0]!r}, or leave it out")
    for form in forms:
        slots_in_order, unknown_slots = (
            [form.find(" {" + slot + "}") for slot in "abs"],
            set(re.findall(r"{(.*?)}", form)) - set("abspo"),
        )
        once = all(form.count("{" + slot + "}") == 1 for slot in "abs")
        if (
            not once
            or -1 in slots_in_order
            or slots_in_order != sorted(slots_in_order)
            or unknown_slots
            or form != form.rstrip()
        ):
            raise ValueError(
                f"not an IOI template: {form!r} (it needs {{a}}, {{b}}, {{s}} once, in this order"
                " and each after a space, may have {p} and {o}, and ends where the name"
                f" follows: {TEMPLATES[0]!r})"
            )
    return forms


def _one_length(
    tokenizer: Any, forms: tuple, names: list, places: list, objects: list
) -> tuple[list[str], list[str]]:
    """The templates of the commonest length for this tokenizer, and the others."""

    def fill(form):
        return form.format(a=names[0], b=names[1], s=names[1], p=places[0], o=objects[0])

    lengths = [len(encode(tokenizer, fill(form))) for form in forms]
    common = max(set(lengths), key=lambda k: (lengths.count(k), -k))
    return (
        [f for f, k in zip(forms, lengths) if k == common],
        [f for f, k in zip(forms, lengths) if k != common],
    )
