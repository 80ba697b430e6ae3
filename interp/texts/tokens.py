"""Documents as tokens: chunks of one length, each with the tokenizer's first token put there
openly.
"""

import random
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp._errors import unknown
from interp.texts.corpus import SPLITS, Corpus


def chunks(
    model: Any,
    corpus: Any,
    *,
    length: int = 128,
    n: int | None = None,
    split: str | None = None,
    seed: int = 0,
    join: str | None = None,
) -> Int[Tensor, "chunk pos"]:
    """Token ids [n length]: the BOS token, then tokens that stand together in one document.

    No two chunks overlap; a document's last tokens that fill no chunk are left out.

    Example:
        >>> find = chunks(model, interp.texts.documentation(), length=128, n=64, split="find")

    Args:
        model: A model or a tokenizer.
        corpus: What `documentation`, `prose`, `code`, `files` or `hub` returns.
        length: Tokens per chunk, the BOS token included.
        n: How many, drawn by seed from the whole corpus (None: all, in the documents' order).
        split: "find" or "heldout", by document (None: both).
        seed: Which chunks, and in which order documents are joined.
        join: Documents follow one another in an order drawn by seed, this text between them, so
            that a chunk may cross from one to the next; None: it never does.

    Raises:
        TypeError: If `corpus` is not a corpus.
        ValueError: If the corpus has fewer than n chunks of this length.
    """
    if not isinstance(corpus, Corpus):
        raise TypeError(
            f"corpus is a {type(corpus).__name__}: make one with texts.documentation(), .prose() or"
            " .files(...)"
        )
    if length < 2:
        raise ValueError(f"length={length}: a chunk is the first token and at least one more")
    if n is not None and n < 1:
        raise ValueError(f"n={n}: at least one chunk is needed (None: all there are)")
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    tokenizer = getattr(model, "tokenizer", model)
    rng = random.Random(f"chunks {seed}")
    texts = [d.text for d in (corpus if split is None else corpus.half(split))]
    if join is not None:
        texts = [join.join(rng.sample(texts, len(texts)))]
    first = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    step = length - len(first)  # a tokenizer without a BOS token puts nothing first
    cut = [
        ids[i : i + step]
        for ids in _ids(tokenizer, texts)
        for i in range(0, len(ids) - step + 1, step)
    ]
    if len(cut) < (n or 1):
        half = "" if split is None else f", half {split!r},"
        raise ValueError(
            f"{corpus.name}{half} has {len(cut)} chunks of {length} tokens, {n or 1} are needed:"
            " ask for fewer or shorter ones"
        )
    chosen = cut if n is None else [cut[i] for i in rng.sample(range(len(cut)), n)]
    return torch.tensor([[*first, *ids] for ids in chosen])


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """The tokens of each text, none added. A document may be longer than the model reads: the
    warning is not for us.
    """
    return tokenizer(texts, add_special_tokens=False, verbose=False).input_ids
