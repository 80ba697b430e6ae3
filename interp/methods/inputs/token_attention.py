"""Attribution to tokens from attention weights: what the last token looks at."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.methods.attention.attention_patterns import attention_patterns
from interp.methods.inputs.baselines import Question

Found = tuple[Float[Tensor, "pos batch"], dict[str, Any]]


def last_attention(asked: Question) -> Found:
    """The last layer's attention from the last token, the mean over heads."""
    return _patterns(asked)[-1].mean(0)[-1], {}


def mean_attention(asked: Question) -> Found:
    """The attention from the last token, the mean over all heads of all layers."""
    return _patterns(asked).mean((0, 1))[-1], {}


def attention_norm(asked: Question) -> Found:
    """The size of what each head moves to the last token, the mean over heads and layers."""
    return _patterns(asked, weighted=True).mean((0, 1))[-1], {}


def rollout(asked: Question) -> Found:
    """Attention multiplied through the layers, half of each row staying where it is."""
    each = _patterns(asked).mean(1)  # [layer dest src batch]
    stay = torch.eye(each.shape[1])[..., None]
    reached = stay.expand_as(each[0])
    for layer in each:
        reached = torch.einsum("ijb,jkb->ikb", 0.5 * layer + 0.5 * stay, reached)
    return reached[-1], {}


def _patterns(
    asked: Question, weighted: bool = False
) -> Float[Tensor, "layer head dest src batch"]:
    found = attention_patterns(asked.model, asked.task, weighted=weighted)
    return torch.as_tensor(found.examples, dtype=torch.float32)
