"""What a sweep reads off the final normed residual, [row batch d_model] at END or [row batch pos
d_model]: made here.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from interp.engine.weights import Engine

Reader = Callable[[Tensor], Tensor]


def residual() -> Reader:
    """Reads the residual itself: [row batch d_model]."""
    return lambda resid: resid


def columns(engine: Engine, tokens: Tensor) -> Reader:
    """Reads the logits of these tokens only: [row batch k], for `tokens` [batch k] (or [k], the
    same for all).

    A hundred thousand times less work than the whole vocabulary: k columns of the unembedding per
    prompt.
    """
    tokens = torch.as_tensor(tokens, device=engine.device)
    if tokens.ndim not in (1, 2) or tokens.is_floating_point():
        raise ValueError(
            f"tokens are integer ids [batch k] or [k], got {tokens.dtype} {tuple(tokens.shape)}"
        )
    weight = engine.unembed.weight[tokens]
    bias = 0 if engine.unembed.bias is None else engine.unembed.bias[tokens]
    if tokens.ndim == 1:
        return lambda resid: engine.capped(resid @ weight.T + bias)
    return lambda resid: engine.capped(torch.einsum("rbd,bkd->rbk", resid, weight) + bias)


def vocab(
    engine: Engine, reduce: Callable[[Tensor], Tensor], budget: float = float(2**28)
) -> Reader:
    """Reads reduce(logits [row batch d_vocab]) -> [row batch ...], in pieces of at most `budget`
    bytes.

    `reduce` sees some rows at a time, always the whole batch; [row batch pos d_vocab] where every
    position is read.

    Example:
        >>> vocab(engine, lambda logits: logits.log_softmax(-1)[..., 5])     # a log probability
    """

    def read(resid: Tensor) -> Tensor:
        size = max(1, int(budget / (engine.itemsize * resid[0, ..., 0].numel() * engine.d_vocab)))
        return torch.cat([reduce(engine.logits(part)) for part in resid.split(size)])

    return read
