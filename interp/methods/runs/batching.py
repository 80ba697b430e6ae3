"""Prompts as people have them: texts, token ids or a task, read as unpadded batches of one length
each.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from interp._types import Model
from interp.tasks.task import encode, tokenizer_of


class Batch(NamedTuple):
    """Prompts of one length: which of all they are, their ids, and their named positions."""

    index: list[int]
    tokens: Int[Tensor, "batch pos"]
    positions: dict[str, Tensor]


def rows(model: Model, prompts: Any) -> list[Int[Tensor, "pos"]]:
    """The token ids of each prompt.

    Example:
        >>> rows(model, ["The capital of France is", "Hello"])

    Args:
        prompts: A text, a list of texts (the first token is put before each, openly:
            `tasks.task.encode`), ids [batch pos] or [pos], a list of ids, or a task (its clean
            prompts).
    """
    prompts = getattr(prompts, "clean", prompts)
    if isinstance(prompts, str):
        prompts = [prompts]
    if isinstance(prompts, Tensor):
        prompts = [prompts] if prompts.ndim == 1 else list(prompts)
    if len(prompts) == 0:
        raise ValueError("no prompts: give at least one, for example ['The capital of France is']")
    if isinstance(prompts[0], int):
        prompts = [prompts]
    found = []
    for prompt in prompts:
        if isinstance(prompt, str) and not prompt:
            raise ValueError(
                "an empty prompt: give some text, for example 'The capital of France is'"
            )
        ids = torch.as_tensor(
            encode(tokenizer_of(model), prompt) if isinstance(prompt, str) else prompt
        )
        if ids.ndim != 1 or len(ids) == 0 or ids.is_floating_point():
            raise ValueError(
                f"a prompt is a text or its token ids [pos], got {ids.dtype} of shape"
                f" {tuple(ids.shape)}"
            )
        found.append(ids.long())
    return found


def batches(model: Model, prompts: Any, on: str = "clean") -> list[Batch]:
    """The prompts, those of one length together; a task is one batch with its own positions."""
    if hasattr(prompts, "clean"):
        tokens = getattr(prompts, on)
        return [Batch(list(range(len(tokens))), tokens, prompts.positions)]
    found = rows(model, prompts)
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, ids in enumerate(found):
        by_length[len(ids)].append(i)
    return [
        Batch(
            index,
            torch.stack([found[i] for i in index]),
            {"END": torch.full((len(index),), length - 1)},
        )
        for length, index in by_length.items()
    ]
