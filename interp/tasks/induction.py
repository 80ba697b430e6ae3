"""Induction: random tokens, repeated. What followed a token the first time follows it again."""

import random
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp._errors import unknown
from interp._numbers import to_numpy
from interp.results import Result
from interp.tasks.task import Task, bos_word, first_tokens, halves, tokenizer_of

CORRUPTIONS = ("answer", "block")


def induction(
    model: Any,
    n: int = 32,
    seed: int = 0,
    *,
    length: int = 16,
    corruption: str = "answer",
    split: str = "find",
) -> Task:
    """Random tokens a block long and the beginning of the block again, up to a token A: what
    follows A?

    Example:
        >>> interp.tasks.induction(model, n=16, length=16).show()

    Args:
        corruption: "answer" puts another token after the first A, which becomes the answer there:
            who finds A is the same in both prompts. "block" takes other tokens throughout, so that
            what is matched is corrupted, too. Positions: A (its first coming), A+1 (what followed),
            END (A again); metric: logit difference. The second block stops in its middle. Held out:
            the other half of the vocabulary.

    Reference:
        Olsson et al. 2022, arXiv 2209.11895.
    """
    tokenizer = tokenizer_of(model)
    if length < 4:
        raise ValueError(f"length={length}: a block needs at least 4 tokens")
    if corruption not in CORRUPTIONS:
        raise unknown("corruption", corruption, CORRUPTIONS, "induction(model, corruption='block')")
    needed = length + (1 if corruption == "answer" else length)
    pool = halves(sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids)), split)
    if len(pool) < needed:
        raise ValueError(
            f"length={length}: this half of the vocabulary has only {len(pool)} tokens"
        )
    if n < 1:
        raise ValueError("a task needs at least one example: n must be 1 or more")
    rng, middle = random.Random(f"induction {seed} {split}"), length // 2
    first = first_tokens(tokenizer)
    clean, corrupted, answers, wrong = [], [], [], []
    for _ in range(n):
        drawn = rng.sample(pool, needed)
        block, others = drawn[:length], drawn[length:]
        changed = (
            others
            if corruption == "block"
            else [*block[: middle + 1], *others, *block[middle + 2 :]]
        )
        clean.append([*first, *block, *block[: middle + 1]])
        corrupted.append([*first, *changed, *changed[: middle + 1]])
        answers.append([block[middle + 1]])
        wrong.append([changed[middle + 1]])
    yes = torch.ones(n, 1, dtype=torch.bool)

    def at(i):
        return torch.full((n,), i)

    a = len(first) + middle
    positions = {"A": at(a), "A+1": at(a + 1), "END": at(a + length)}
    metadata = {
        "bos": bos_word(tokenizer),
        "seed": seed,
        "split": split,
        "length": length,
        "corruption": corruption,
    }
    metadata["fillings"] = "half of the vocabulary; heldout() has the rest"
    return Task(
        "induction",
        torch.tensor(clean),
        torch.tensor(corrupted),
        torch.tensor(answers),
        torch.tensor(wrong),
        yes,
        yes,
        positions,
        {},
        "logit_diff",
        metadata,
        tokenizer,
        partial(induction, tokenizer, length=length, corruption=corruption),
    )


def repetition_loss(model: Any, *, n: int = 8, length: int = 50, seed: int = 0) -> Result:
    """The cross-entropy on random tokens the first time and when they come again (nats per token).

    A model that does induction predicts the repeat; the first time nothing can be predicted.

    Example:
        >>> repetition_loss(model)
    """
    from interp.interventions import run

    tokens = repeated_tokens(model, n=n, length=length, seed=seed)
    logits = run(model, tokens).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    )
    losses = losses.view(n, -1)
    # the first token of the repeat cannot be known: nothing says that the block starts again
    once = losses.shape[1] - length  # of the first block's tokens, those that something precedes
    first, again = losses[:, :once].mean(1), losses[:, once + 1 :].mean(1)
    both = to_numpy(torch.stack([first, again]))
    coords = {"block": ["first time", "repeated"]}
    metadata = {"method": "plain run", "n": n, "seed": seed, "length": length}
    return Result(
        both.mean(-1), ("block",), coords, "loss on random tokens", "nats per token", metadata, both
    )


def repeated_tokens(
    model: Any, *, n: int = 8, length: int = 24, seed: int = 0
) -> Int[Tensor, "batch pos"]:
    """Prompts of the BOS token, `length` distinct random tokens, and the same ones again.

    Shape [n, 1 + 2 length], or [n, 2 length] where the tokenizer has no BOS token.
    """
    tokenizer = tokenizer_of(model)
    special = set(tokenizer.all_special_ids)
    known = torch.tensor([i for i in range(len(tokenizer)) if i not in special])
    if len(known) < length:
        raise ValueError(f"length={length}: the vocabulary has only {len(known)} ordinary tokens")
    g = torch.Generator().manual_seed(seed)
    blocks = torch.stack(
        [known[torch.randperm(len(known), generator=g)[:length]] for _ in range(n)]
    )
    first = torch.tensor(first_tokens(tokenizer), dtype=torch.long).expand(n, -1)
    return torch.cat([first, blocks, blocks], 1)
