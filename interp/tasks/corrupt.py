"""Corrupted prompts made from clean ones: words swapped, words replaced, tokens in random order."""

import random
import re
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.tasks.task import encode, first_tokens, tokenizer_of


def swap(
    clean: Sequence[str], first: str | Sequence[str], second: str | Sequence[str]
) -> list[str]:
    """The prompts with two words exchanged, wherever they stand.

    Example:
        >>> clean = ["When Mary and John met, John gave Mary"]
        >>> interp.tasks.corrupt.swap(clean, "Mary", "John")
        ['When John and Mary met, Mary gave John']

    Args:
        clean: The prompts.
        first, second: The words: one for all prompts, or a list with one for each.

    Raises:
        ValueError: If a prompt has neither word.
    """
    clean = [clean] if isinstance(clean, str) else list(clean)
    out = []
    for text, a, b in zip(clean, _each(first, clean), _each(second, clean)):
        words = {a: b, b: a}
        found, count = re.subn(_word(a, b), lambda m, words=words: words[m[0]], text)
        if not count:
            raise ValueError(
                f"neither {a!r} nor {b!r} stands in {text!r}: there is nothing to swap"
            )
        out.append(found)
    return out


def replace(
    model: Any,
    clean: Sequence[str],
    words: str | Sequence[str],
    by: Sequence[str],
    *,
    seed: int = 0,
) -> list[str]:
    """The prompts with a word replaced by another of as many tokens, drawn from a list.

    Example:
        >>> interp.tasks.corrupt.replace(model, ["The capital of France is"], "France",
        ...                              by=["Japan", "Italy", "Spain"])

    Args:
        model: A model, or its tokenizer, which counts the tokens.
        clean: The prompts.
        words: The word to replace: one for all prompts, or a list with one for each. Every place
            where it stands gets the same new word.
        by: Words to choose from. One that is the word itself, or makes the prompt longer or
        shorter,
            is left out.
        seed: Draws the words.

    Raises:
        ValueError: If a word does not stand in its prompt, or no word of the list fits.
    """
    tokenizer, rng = tokenizer_of(model), random.Random(f"replace {seed}")
    clean = [clean] if isinstance(clean, str) else list(clean)
    out = []
    for text, word in zip(clean, _each(words, clean)):
        if not re.search(_word(word), text):
            raise ValueError(f"{word!r} does not stand in {text!r}: there is nothing to replace")
        size = len(encode(tokenizer, text))
        made = [re.sub(_word(word), lambda _, new=new: new, text) for new in by if new != word]
        fits = [one for one in made if len(encode(tokenizer, one)) == size]
        if not fits:
            raise ValueError(
                f"no word of {list(by)} in the place of {word!r} leaves {text!r} at {size} tokens: "
                "give others"
            )
        out.append(rng.choice(fits))
    return out


def shuffle(model: Any, clean: Sequence[str], *, seed: int = 0) -> list[Int[Tensor, "pos"]]:
    """The prompts' token ids in random order; the BOS token and the last token stay in place.

    Example:
        >>> interp.tasks.pairs(model, clean, interp.tasks.corrupt.shuffle(model, clean), answers)

    Raises:
        ValueError: If a prompt has fewer than two different tokens to put in another order.
    """
    tokenizer, rng = tokenizer_of(model), random.Random(f"shuffle {seed}")
    clean = [clean] if isinstance(clean, str) else list(clean)
    first, out = len(first_tokens(tokenizer)), []
    for text in clean:
        ids = encode(tokenizer, text) if isinstance(text, str) else list(map(int, text))
        inner = ids[first:-1]
        if len(set(inner)) < 2:
            raise ValueError(f"{text!r} has too few tokens to put them in another order")
        moved = inner
        while moved == inner:
            moved = rng.sample(inner, len(inner))
        out.append(torch.tensor([*ids[:first], *moved, ids[-1]]))
    return out


def _each(words: str | Sequence[str], clean: Sequence[Any]) -> list[str]:
    each = [words] * len(clean) if isinstance(words, str) else list(words)
    if len(each) != len(clean):
        raise ValueError(f"{len(each)} words for {len(clean)} prompts: give one, or one for each")
    return each


def _word(*words: str) -> str:
    return r"(?<!\w)(?:" + "|".join(re.escape(word) for word in words) + r")(?!\w)"
