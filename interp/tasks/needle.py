"""A needle in a haystack: one sentence with the answer, hidden in other text, asked for at the
end.
"""

import random
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import Any

from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, encode, halves, tokenizer_of, usable
from interp.texts.own_prose import prose

THINGS = "recipe plan code message order sign title gift prize song letter key".split()
PLACES = (
    "Paris London Rome Tokyo Madrid Berlin Moscow Boston Chicago Dallas Cairo Athens Dublin Vienna"
    " Warsaw Stockholm Toronto Sydney Lisbon Oslo Istanbul Geneva Barcelona Munich"
).split()
# Three words that nobody has put together before, none of them in our prose: the answer can only
# come from the needle.
FIRST = (
    "purple golden wooden frozen hollow yellow lazy giant dusty silent pink silver royal quick"
    " bitter ancient".split()
)
WORDS = (
    "lion piano carpet rocket pepper guitar hammer turtle mirror candle diamond lemon tiger violin"
    " anchor basket rabbit helmet dragon ladder pumpkin bullet camel ribbon falcon potato trumpet"
    " circus butter planet spider monkey"
).split()
DEPTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
# "is the": after "is" alone a small model answers "a", whatever the needle says.
ASK = "\n\nQuestion: What is the secret %s of %s?\nAnswer: The secret %s of %s is the"
# Two words in a row of the needle do not come again here: to find it, its meaning is needed.
PARAPHRASED = (
    "\n\nQuestion: Which hidden %s belongs to %s?\nAnswer: The hidden %s that belongs to %s is"
    " called the"
)


def needle(
    model: Any,
    n: int = 32,
    seed: int = 0,
    *,
    length: int = 128,
    depth: float | Sequence[float] = DEPTHS,
    forced: bool = False,
    paraphrased: bool = False,
    hay: Sequence[str] | None = None,
    split: str = "find",
) -> Task:
    """ "The secret plan of Oslo is the hollow piano carpet." somewhere in a text, and at its end
    the question what it is.

    Example:
        >>> interp.tasks.needle(model, n=20, length=256, depth=[0.1, 0.5, 0.9]).show(1)
        >>> # for retrieval scores: READ0 READ1 READ2
        >>> task = interp.tasks.needle(model, forced=True)

    Args:
        length: Tokens of the whole prompt.
        depth: Where the needle stands, 0 (start) to 1 (end), at the nearest end of a sentence;
            several take turns (label "depth").
        hay: Texts to hide it in (None: `texts.prose()`, half of it). corrupted: the same with
            another answer in the needle, which is the wrong answer. Positions: NEEDLE0 to NEEDLE2,
            the answer's three tokens in the needle; QUESTION, the line break before the question;
            READ0 (the END), where the first of them is predicted.
        paraphrased: The question is in other words than the needle, so that looking for what came
            after the same words (induction) does not lead to the answer.
        forced: The prompt goes on with the answer's first two tokens; READ0 to READ2 are where each
            token is predicted, READ2 = END, the answer its third token. Held out: other things,
            places, words and passages.

    Reference:
        The answer to READk is `clean[NEEDLEk]`: a head retrieves when from READk it looks most at
        NEEDLEk (Wu et al. 2024, arXiv 2404.15574).
    """
    tokenizer = tokenizer_of(model)
    depths = [float(d) for d in (depth if isinstance(depth, Sequence) else [depth])]
    if not depths or not all(0 <= d <= 1 for d in depths):
        raise ValueError(
            f"depth={depth}: a depth lies between 0 (the start of the text) and 1 (its end)"
        )
    pools = [
        usable(tokenizer, pool, split, k, what)
        for pool, k, what in (
            (THINGS, 1, "things"),
            (PLACES, 1, "places"),
            (FIRST, 2, "first words"),
            (WORDS, 4, "words"),
        )
    ]
    passages = [d.text for d in prose().half(split)] if hay is None else halves(list(hay), split)
    rng = random.Random(f"needle {seed} {split}")
    stack = _Hay(tokenizer, rng.sample(passages, len(passages)))

    def make(i):
        depth = depths[i % len(depths)]
        return _example(rng, tokenizer, stack, pools, length, depth, forced, paraphrased)

    examples = different(n, make, "needle")
    metadata = {"seed": seed, "split": split, "length": length, "depths": depths, "forced": forced}
    metadata |= {"paraphrased": True} if paraphrased else {}
    metadata["fillings"] = (
        "half of the things, places, words and passages; heldout() has the others"
    )
    options = dict(length=length, depth=depths, forced=forced, paraphrased=paraphrased, hay=hay)
    again = partial(needle, tokenizer, **options)
    return build("needle", tokenizer, examples, "logit_diff", metadata, again)


class _Hay:
    """The passages as words in a row, to cut pieces of an exact number of tokens from that end with
    a sentence.
    """

    def __init__(self, tokenizer: Any, passages: list[str]):
        self.words = [word for text in passages for word in text.replace('"', "").split()]
        # the tokens of a word stand for themselves: a tokenizer never joins across the space before
        # it
        sizes = tokenizer([" " + word for word in self.words], add_special_tokens=False).input_ids
        self.upto = [0]
        for ids in sizes:
            self.upto.append(self.upto[-1] + len(ids))
        self.ends = [i + 1 for i, word in enumerate(self.words) if word[-1] in ".!?"]

    def pieces(self, size: int) -> list[tuple[int, int]]:
        """(first word, one past the last) of every piece of `size` tokens that ends with a
        sentence.
        """
        found = []
        for end in self.ends if size > 0 else ():
            start = bisect_left(self.upto, self.upto[end] - size)
            if self.upto[start] == self.upto[end] - size:
                found.append((start, end))
        return found

    def cut(self, piece: tuple[int, int], depth: float) -> tuple[str, str]:
        """The piece before and after the sentence end that is nearest to the depth."""
        start, end = piece
        wanted = self.upto[start] + depth * (self.upto[end] - self.upto[start])
        at = min(
            [start, *(e for e in self.ends if start < e <= end)],
            key=lambda e: abs(self.upto[e] - wanted),
        )
        return " ".join(["", *self.words[start:at]]), " ".join(["", *self.words[at:end]])


def _example(
    rng: random.Random,
    tokenizer: Any,
    stack: _Hay,
    pools: list[list[str]],
    length: int,
    depth: float,
    forced: bool,
    paraphrased: bool,
) -> Example:
    things, places, first, words = pools
    thing, place = rng.choice(things), rng.choice(places)
    one, two = rng.sample(first, 2)
    right, wrong = [one, *rng.sample(words, 2)], [two, *rng.sample(words, 2)]
    if right[2] == wrong[2]:
        wrong[1:] = [w for w in words if w not in right][:2]
    asked = (PARAPHRASED if paraphrased else ASK) % (thing, place, thing, place)
    head = f" The secret {thing} of {place} is the"
    rest = len(encode(tokenizer, f"{head} {' '.join(right)}.{asked}"))
    pieces = stack.pieces(length - rest)
    if not pieces:
        most = stack.upto[-1] + rest
        raise ValueError(
            f"length={length} does not go with this text: the needle and its question take {rest}"
            f" tokens, the whole text {most} with them; choose between, or give more texts as hay"
        )
    before, after = stack.cut(rng.choice(pieces), depth)

    def fill(answer):
        return f"{before}{head} {' '.join(answer)}.{after}{asked}" + (
            f" {answer[0]} {answer[1]}" if forced else ""
        )

    clean, last = fill(right), 2 if forced else 0
    places_ = {
        f"NEEDLE{k}": (before + head + "".join(f" {w}" for w in right[:k]), right[k])
        for k in range(3)
    }
    upto = f"{before}{head} {' '.join(right)}.{after}{asked}"
    places_["QUESTION"] = (upto.removesuffix(asked), "\n")
    places_["READ0"] = (upto.removesuffix(" the"), "the")
    if forced:
        places_ |= {"READ1": (upto, right[0]), "READ2": (f"{upto} {right[0]}", right[1])}
    labels = {"depth": f"{depth:g}", "length": str(length), "answer": " ".join(right)}
    return Example(clean, fill(wrong), [f" {right[last]}"], [f" {wrong[last]}"], places_, labels)
