"""Docstrings: a function's arguments described in their order; which is described next?"""

import random
from functools import partial
from typing import Any

from interp._errors import unknown
from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, is_single, tokenizer_of, usable

FUNCTIONS = "port run make call get set find build send read write open".split()
ARGUMENTS = (
    "load size file path name shape model state value index code date time user group page text"
    " node edge key data test result line request output item response version function log string"
    " field start number error context image message event row end form query label target array"
    " table source module status content title parent session token host mode"
).split()
DESCRIPTIONS = (
    "price control action cost issue process position course minute education type research subject"
    " girl age father force health street patient class mind church condition paper bank century"
    " section activity building sense sort staff team student language town plan management morning"
    " practice evidence ground letter foot boy game food union role land art"
).split()
CORRUPTIONS = ("random", "swap")


def docstring(
    model: Any, n: int = 32, seed: int = 0, *, corruption: str = "random", split: str = "find"
) -> Task:
    """ "def port(self, load, size, files, last, mode): ..." with ":param size:" and ":param files:"
    described: " last".

    Five arguments: one that is not described, A, B, C, and one more. A and B are described, C is
    the answer.

    Example:
        >>> interp.tasks.docstring(model, n=16).show(1)
        >>> interp.tasks.docstring(model, n=16, corruption="swap")

    Args:
        corruption: "random" puts unrelated names for A, B and C in the definition and other ones
            for A and B in the docstring (the paper's), the wrong answers being the other four
            arguments; "swap" exchanges C and the argument after it, which becomes the answer there
            and is the wrong answer here. Positions: A_DEF, B_DEF, C_DEF, NEXT_DEF (after C), A_DOC,
            B_DOC, END; metric: logit difference, mean over the wrong answers (the paper takes the
            largest). Held out: other functions, arguments and descriptions.

    Reference:
        Heimersheim and Janiak 2023, "A circuit for Python docstrings in a 4-layer attention-only
        transformer".
    """
    if corruption not in CORRUPTIONS:
        raise unknown("corruption", corruption, CORRUPTIONS)
    tokenizer = tokenizer_of(model)
    functions = usable(tokenizer, FUNCTIONS, split, 1, "functions")
    arguments = usable(tokenizer, ARGUMENTS, split, 10, "arguments")
    words = usable(tokenizer, DESCRIPTIONS, split, 7, "descriptions")
    words = [
        w for w in words if is_single(tokenizer, w)
    ]  # the first stands after a quotation mark, without a space
    if len(words) < 7:
        raise ValueError(
            f"only {len(words)} descriptions are one token without a space for this tokenizer, 7"
            " are needed"
        )
    rng = random.Random(f"docstring {seed} {split}")
    examples = different(
        n, lambda i: _example(rng, functions, arguments, words, corruption), "docstring"
    )
    metadata = {"seed": seed, "split": split, "corruption": corruption}
    metadata["fillings"] = (
        "half of the functions, arguments and descriptions; heldout() has the others"
    )
    return build(
        "docstring",
        tokenizer,
        examples,
        "logit_diff",
        metadata,
        partial(docstring, tokenizer, corruption=corruption),
    )


def _example(
    rng: random.Random,
    functions: list[str],
    arguments: list[str],
    words: list[str],
    corruption: str,
) -> Example:
    # fewer names than ten serve too, but then a name of the twin's could be one of ours
    first, a, b, c, last, *unrelated = rng.sample(arguments, 10)
    name, drawn = rng.choice(functions), rng.sample(words, 7)
    head = f"\ndef {name}(self"

    def define(given):
        return head + "".join(f", {x}" for x in given)

    body = f'):\n    """{" ".join(drawn[:3])}\n\n    :param'

    def describe(one, two):
        return (
            f"{body} {one}: {drawn[3]} {drawn[4]}\n    :param {two}: {drawn[5]} {drawn[6]}\n"
            "    :param"
        )

    given = [first, a, b, c, last]
    clean = define(given)
    if corruption == "random":
        corrupted = define([first, *unrelated[:3], last]) + describe(*unrelated[3:])
    else:
        corrupted = define([first, a, b, last, c]) + describe(a, b)
    places = {
        f"{x}_DEF": (define(given[:k]) + ",", given[k])
        for k, x in enumerate(("A", "B", "C", "NEXT"), 1)
    }
    places |= {
        "A_DOC": (clean + body, a),
        "B_DOC": ((clean + describe(a, b)).rpartition(f" {b}:")[0], b),
    }
    wrong = [first, a, b, last] if corruption == "random" else [last]
    labels = {"function": name, "a": a, "b": b, "answer": c, "next": last}
    return Example(
        clean + describe(a, b), corrupted, [f" {c}"], [f" {x}" for x in wrong], places, labels
    )
