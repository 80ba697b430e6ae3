"""What stands in the place of a token that is taken away."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._types import Model
from interp.models import bridge
from interp.models.tokens import is_single, single
from interp.tasks.metrics import Metric

NAMES = ("corrupted", "mean", "zero")
COMMON = " the"  # the token that stands for any other
IDS_AT_ONCE = 8192


class Question(NamedTuple):
    """What an attribution is asked: of which runs, of which metric, and against what.

    Attributes:
        actual: The embeddings of the prompts.
        absent: What stands in a token's place when it is taken away.
        engine: The model as the engine holds it, or None.
    """

    model: Model
    task: Any
    metric: Metric
    actual: Float[Tensor, "batch pos d_model"]
    absent: Float[Tensor, "batch pos d_model"]
    engine: Any
    steps: int
    samples: int
    seed: int


def embedded(model: Model, tokens: Tensor) -> Float[Tensor, "batch pos d_model"]:
    """What enters the first layer: token embeddings, and learned positions where there are any."""
    site = sites.Site("embed")
    return bridge.until(model, tokens, [], sites.hook(site, bridge.dims(model)))


def absent(
    model: Model, task: Any, baseline: str | int | None
) -> tuple[Float[Tensor, "batch pos d_model"], str | int]:
    """The embeddings that stand for "no token here", and what they are called.

    A first token that only begins the prompt (BOS) is never taken away.
    """
    if baseline is None:
        baseline = "corrupted" if task.paired else COMMON
    found = _absent(model, task, baseline)
    begins = task.clean[:, 0] == (-1 if (bos := task.tokenizer.bos_token_id) is None else bos)
    if bool(begins.any()):
        found = found.clone()
        found[begins, 0] = embedded(model, task.clean)[begins, 0]
    return found, baseline


def _absent(model: Model, task: Any, baseline: str | int) -> Tensor:
    if baseline == "corrupted":
        return embedded(model, task.corrupted)
    if baseline in ("mean", "zero"):
        actual = embedded(model, task.clean)
        return torch.zeros_like(actual) if baseline == "zero" else _mean(model, actual)
    if isinstance(baseline, str):
        if not is_single(task.tokenizer, baseline):
            raise ValueError(
                f"baseline={baseline!r} is not one token of this model: give another word, a"
                f" token's id, or {', '.join(map(repr, NAMES))}"
            )
        baseline = single(task.tokenizer, baseline)
    size = bridge.dims(model).d_vocab
    if not 0 <= baseline < size:
        raise ValueError(f"baseline={baseline}: a token's id is 0 to {size - 1}")
    return embedded(model, torch.full_like(task.clean, baseline))


def _mean(model: Model, actual: Tensor) -> Tensor:
    """The mean token of the vocabulary, at each position."""
    size = bridge.dims(model).d_vocab
    ids = torch.arange(size, device=actual.device)[:, None]
    first = sum(embedded(model, some).double().sum(0) for some in ids.split(IDS_AT_ONCE)) / size
    # a position adds the same to every token: it is read off one token at all positions
    same = embedded(model, torch.zeros(1, actual.shape[1], dtype=torch.long, device=actual.device))
    return (first + (same - same[:, :1])).to(actual).expand_as(actual)
