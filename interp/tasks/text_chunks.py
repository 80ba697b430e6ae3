"""Running text as a task: chunks of a corpus, each to be predicted."""

from functools import partial
from typing import Any

import torch

from interp.tasks.task import Task, bos_word, tokenizer_of


def text(
    model: Any,
    n: int = 8,
    seed: int = 0,
    *,
    length: int = 64,
    corpus: Any = None,
    split: str | None = "find",
) -> Task:
    """Chunks of running text, as a task: what ablations and head scores need to judge by the loss
    of text.

    Example:
        >>> find = interp.tasks.text(model, n=8, length=64)
        >>> # nats per token, every position
        >>> interp.ablate(model, find, "L*H*", metric=interp.methods.runs.loss_metric(find))
        >>> judge = find.heldout()                                                 # other documents

    Args:
        corpus: `interp.texts.prose()` unless given. corrupted: the same tokens in random order, the
            first in place. Positions: END. The task's own metric is the log probability of the last
            chunk's token, the answer, which is cut off; the wrong answer is the most distant other
            token id. Held out: the documents of the other half.
    """
    from interp import texts

    tokenizer, corpus = tokenizer_of(model), corpus or texts.prose()
    whole = texts.chunks(tokenizer, corpus, length=length + 1, n=n, split=split, seed=seed)
    clean, answers = whole[:, :-1], whole[:, -1:]
    g = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(length - 1, generator=g) for _ in range(n)]) + 1
    corrupted = torch.cat([clean[:, :1], clean.gather(1, order)], 1)
    wrong = (answers + len(tokenizer) // 2) % len(tokenizer)
    yes = torch.ones(n, 1, dtype=torch.bool)
    metadata = {"bos": bos_word(tokenizer), "seed": seed, "split": split, "corpus": corpus.name}
    metadata["fillings"] = "documents of one half of the corpus; heldout() has the others"
    remake = partial(text, tokenizer, length=length, corpus=corpus)
    return Task(
        "text",
        clean,
        corrupted,
        answers,
        wrong,
        yes,
        yes,
        {"END": torch.full((n,), length - 1)},
        {},
        "log_prob",
        metadata,
        tokenizer,
        remake,
    )
