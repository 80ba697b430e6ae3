"""Scores read off an attention pattern: functions of [... dest src] and a block's length.

Position 0 is the sink of most models and would drown everything else: entropy, distance, waad and
fai leave it out as a source. Attention to other sources is then weighted by its total, so that a
row that rests on the sink counts little and its remainder is not blown up.
"""

import torch
from torch import Tensor

WINDOW = 10  # tokens: the clip of waad in Preplan-and-Anchor
HORIZON = (4, 50)  # tokens later: where fai looks


def previous_token(pattern: Tensor, length: int) -> Tensor:
    """Mean attention to the token before, over destinations from 2 on."""
    return _diagonal(pattern, 1, 2)


def duplicate_token(pattern: Tensor, length: int) -> Tensor:
    """Mean attention of the repeat to the same token in the first block."""
    return _diagonal(pattern, length, length + 1)


def induction(pattern: Tensor, length: int) -> Tensor:
    """Mean attention of the repeat to the token that followed the same token in the first block."""
    return _diagonal(pattern, length - 1, length + 1)


def first_token(pattern: Tensor, length: int) -> Tensor:
    """Mean attention to position 0."""
    return pattern[..., 1:, 0].mean(-1)


def entropy(pattern: Tensor, length: int = 0) -> Tensor:
    """Mean entropy of the rows (nats) over sources from 1 on, each row weighted by its total."""
    rows = pattern[..., 2:, 1:]
    mass = rows.sum(-1)
    # mass * H(row / mass), written so that a row of no mass adds nothing
    weighted = torch.xlogy(mass, mass) - torch.xlogy(rows, rows).sum(-1)
    return weighted.sum(-1) / mass.sum(-1)


def distance(pattern: Tensor, length: int = 0, window: int | None = None) -> Tensor:
    """Mean number of tokens a head looks back (at most `window`), over sources from 1 on."""
    places = torch.arange(pattern.shape[-1], device=pattern.device)
    far = (places[:, None] - places).clamp(0, window).to(pattern.dtype)[1:, 1:]
    rows = pattern[..., 1:, 1:]
    return (rows * far).sum((-1, -2)) / rows.sum((-1, -2))


def waad(pattern: Tensor, length: int = 0) -> Tensor:
    """Windowed average attention distance: `distance`, with every distance clipped at 10 tokens."""
    return distance(pattern, length, WINDOW)


def fai(pattern: Tensor, length: int = 0) -> Tensor:
    """Future attention influence: what a token gets from those 4 to 50 later, mean over both."""
    n = pattern.shape[-1]
    if n < HORIZON[0] + 2:
        raise ValueError(
            f"fai looks at tokens {HORIZON[0]} to {HORIZON[1]} later: prompts of {n} tokens have"
            " too few (6 or more)"
        )
    places = torch.arange(n, device=pattern.device)
    late = places[:, None] - places
    counted = ((late >= HORIZON[0]) & (late <= HORIZON[1])).to(pattern.dtype)[:, 1 : n - HORIZON[0]]
    got = (pattern[..., 1 : n - HORIZON[0]] * counted).sum(-2) / counted.sum(-2)
    return got.mean(-1)


def even(n: int) -> Tensor:
    """The pattern [dest src] of a head that attends evenly to everything it can see."""
    rows = torch.tril(torch.ones(n, n))
    return rows / rows.sum(-1, keepdim=True)


def _diagonal(pattern: Tensor, offset: int, start: int) -> Tensor:
    """Mean attention `back` tokens back, over destinations from `start` on."""
    return pattern.diagonal(-offset, -2, -1)[..., max(0, start - offset) :].mean(-1)
