"""Head scores: what a head does wherever it is, read off its attention on repeated random tokens."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from interp._say import unknown
from interp.interventions import run
from interp.methods import sweep
from interp.models import bridge
from interp.results import Result
from interp.tasks.induction import repeated_tokens

# Each score takes a pattern [... dest src] over (first token, block, block again) and the block's length, and
# gives [...]: the mean attention along one diagonal. Sources: previous-token, duplicate-token and induction
# heads as in Olsson et al. 2022 (arXiv 2209.11895) and Wang et al. 2022 (arXiv 2211.00593); first-token: the
# attention sink of Xiao et al. 2023 (arXiv 2309.17453).
Score = Callable[[Tensor, int], Tensor]


def _diagonal(pattern: Tensor, back: int, start: int) -> Tensor:
    """Mean attention `back` tokens back, over destinations from `start` on."""
    return pattern.diagonal(-back, -2, -1)[..., max(0, start - back) :].mean(-1)


SCORES: dict[str, Score] = {
    "previous-token": lambda p, length: _diagonal(p, 1, 2),
    "duplicate-token": lambda p, length: _diagonal(p, length, length + 1),
    "induction": lambda p, length: _diagonal(p, length - 1, length + 1),
    "first-token": lambda p, length: p[..., 1:, 0].mean(-1),
}


def head_scores(
    model: Any,
    scores: Sequence[str] = tuple(SCORES),
    *,
    n: int = 8,
    length: int = 24,
    seed: int = 0,
) -> Result:
    """How much each head behaves like a previous-token, duplicate-token, induction or first-token head.

    >>> head_scores(model).sel(score="induction").top(5)

    Measured on n prompts of the first token, `length` random tokens, and the same tokens again. Axes: score,
    layer, head. Unit: share of attention (0 to 1); `about["even"]` is what an evenly attending head gets.
    """
    started = time.perf_counter()
    for name in scores:
        if name not in SCORES:
            raise unknown("head score", name, SCORES)
    if length < 2:
        raise ValueError(f"length={length}: a repeated block needs at least 2 tokens")
    tokens = repeated_tokens(model, n=n, length=length, seed=seed)
    pattern = run(model, tokens, keep=["L*H*.pattern"], last_only=True).kept["L*H*.pattern"]
    examples = torch.stack([SCORES[s](pattern, length) for s in scores]).double().numpy()  # [score layer head n]
    even = torch.tril(torch.ones(tokens.shape[1], tokens.shape[1]))
    even = even / even.sum(-1, keepdim=True)
    d = bridge.dims(model)
    said = sweep.about(
        model, None, "head scores on repeated random tokens", started, n=n, seed=seed, length=length,
        even={s: round(float(SCORES[s](even, length)), 4) for s in scores}, way="hooks",
    )
    coords = {"score": list(scores), "layer": list(range(d.n_layers)), "head": list(range(d.n_heads))}
    dims = ("score", "layer", "head")
    return Result(examples.mean(-1), dims, coords, "head score", "share of attention", said, examples)
