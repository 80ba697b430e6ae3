"""Prompts as people have them: texts, token ids or a task, in unpadded batches of one length."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from interp._types import Model
from interp.models.tokens import read_prompts
from interp.tasks.task import Task


class Batch(NamedTuple):
    """Prompts of one length.

    Attributes:
        index: Which of all prompts they are.
        tokens: Their ids.
        positions: Their named positions.
    """

    index: list[int]
    tokens: Int[Tensor, "batch pos"]
    positions: dict[str, Tensor]


def token_ids(model: Model, prompts: Any) -> list[Int[Tensor, "pos"]]:
    """The token ids of each prompt.

    Example:
        >>> token_ids(model, ["The capital of France is", "Hello"])

    Args:
        model: A loaded model.
        prompts: A text, a list of texts (the first token is put before each), ids [batch pos] or
            [pos], a list of ids, or a task (its clean prompts).
    """
    return read_prompts(model, prompts).ids


def batches_by_length(model: Model, prompts: Any, on: str = "clean") -> list[Batch]:
    """The prompts in batches of one length; a task brings its own positions."""
    if isinstance(prompts, Task):
        return [
            Batch(
                part.index.tolist(), getattr(part.steps[0].task, on), part.steps[0].task.positions
            )
            for part in prompts.parts
        ]
    return [
        Batch(index, tokens, {"END": torch.full((len(index),), tokens.shape[1] - 1)})
        for index, tokens in read_prompts(model, prompts).by_length()
    ]
