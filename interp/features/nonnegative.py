"""Least squares in many rows at once against one Gram matrix: on given supports, and with no weight below zero."""

import torch
from torch import Tensor

ROUNDS = 500  # of gradient steps, at most
EXCHANGES = 8
ROWS = 512  # solved together
SMALL = 1e-7


def on_support(gram: Tensor, right: Tensor, support: Tensor) -> Tensor:
    """The z [n r] that solves z @ gram = right on each row's own support [n r], and is zero elsewhere.

    Rows with supports of one size are solved together, so that small supports cost little. Gradients go through `right`.
    """
    sizes = support.sum(-1)
    order = sizes.argsort()
    parts = []
    for rows in order.split(ROWS):
        k = int(sizes[rows].max())
        if k == 0:
            parts.append(torch.zeros_like(right[rows]))
            continue
        real, at = support[rows].to(torch.int8).topk(k, dim=-1)  # [row k]; rows with fewer are filled up with a unit matrix
        real = real.bool()
        some = gram[at[:, :, None], at[:, None, :]] * (real[:, :, None] & real[:, None, :])
        some = some + torch.diag_embed((~real).to(gram.dtype))
        solved = torch.linalg.solve(some, (right[rows].gather(1, at) * real)[..., None])[..., 0]
        parts.append(torch.zeros_like(right[rows]).scatter(1, at, solved * real))
    return torch.cat(parts)[order.argsort()] if parts else torch.zeros_like(right)


def nonnegative(gram: Tensor, right: Tensor) -> Tensor:
    """The z [n r] >= 0 that makes z gram z / 2 - z right smallest: nonnegative least squares of many rows at once.

    Accelerated gradient steps find which weights are above zero; these are then solved for exactly, and exchanged while one of
    them would fall below zero or another would rise. (Block pivoting: Kim and Park 2011.) Gradients go through `right`.
    """
    with torch.no_grad():
        z = _descend(gram, right)
        support = z > SMALL * z.amax(-1, keepdim=True).clamp_min(SMALL)
        support &= gram.diagonal() > 0
        scale = right.abs().amax(-1, keepdim=True).clamp_min(1e-30)
        for _ in range(EXCHANGES):
            z = on_support(gram, right, support)
            falls, rises = support & (z < 0), ~support & (right - z @ gram > 1e-6 * scale)
            if not (falls | rises).any():
                break
            support = (support & ~falls) | rises
    return on_support(gram, right, support).clamp_min(0)


def _descend(gram: Tensor, right: Tensor) -> Tensor:
    """Projected gradient steps with momentum (Beck and Teboulle 2009), restarted where they overshoot."""
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(1e-30)
    z = ahead = torch.zeros_like(right)
    pace = 1.0
    for _ in range(ROUNDS):
        new = (ahead - step * (ahead @ gram - right)).clamp_min(0)
        change = new - z
        if float((change * (ahead - new)).sum()) > 0:
            pace, ahead = 1.0, new
        else:
            faster = (1 + (1 + 4 * pace * pace) ** 0.5) / 2
            ahead = new + (pace - 1) / faster * change
            pace = faster
        z = new
        if float(change.abs().max()) <= 1e-6 * float(new.abs().max()):
            break
    return z


def multiplied(y: Tensor, gram: Tensor, right: Tensor, times: int) -> Tensor:
    """y [n r] >= 0 after multiplicative updates towards nonnegative least squares; none of them makes the error larger.

    (Ding, Li and Jordan 2010, Convex and Semi-Nonnegative Matrix Factorizations, equation 11.)
    """
    tiny = torch.finfo(y.dtype).tiny
    up, down = right.clamp_min(0), (-right).clamp_min(0)
    plus, minus = gram.clamp_min(0), (-gram).clamp_min(0)
    for _ in range(times):
        y = y * ((up + y @ minus) / (down + y @ plus).clamp_min(tiny)).sqrt()
    return y
