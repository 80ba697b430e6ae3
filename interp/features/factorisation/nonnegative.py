"""Least squares for many rows and one Gram matrix: on supports, or with z >= 0."""

import torch
from torch import Tensor

ROUNDS = 300  # of gradient steps, at most
EXCHANGES, TRIES = (
    5,
    3,
)  # rounds for each weight, at most; whole exchanges that may fail before single ones
ROWS = 512  # solved together
SMALL = 1e-12


def on_support(gram: Tensor, right: Tensor, support: Tensor) -> Tensor:
    """The z [n r] that solves z @ gram = right on each row's support [n r] and is zero elsewhere.

    Rows with supports of similar size are solved together, so that small supports cost little.
    Gradients pass through `right`.
    """
    sizes = support.sum(-1)
    order = sizes.argsort()
    parts = []
    for rows in order.split(ROWS):
        k = int(sizes[rows].max())
        if k == 0:
            parts.append(torch.zeros_like(right[rows]))
            continue
        real, at = (
            support[rows].to(torch.int8).topk(k, dim=-1)
        )  # [row k]; rows with fewer are filled up with a unit matrix
        real = real.bool()
        sub_gram = gram[at[:, :, None], at[:, None, :]] * (real[:, :, None] & real[:, None, :])
        sub_gram = sub_gram + torch.diag_embed((~real).to(gram.dtype))
        solved = torch.cholesky_solve(
            (right[rows].gather(1, at) * real)[..., None], torch.linalg.cholesky(sub_gram)
        )[..., 0]
        parts.append(torch.zeros_like(right[rows]).scatter(1, at, solved * real))
    return torch.cat(parts)[order.argsort()] if parts else torch.zeros_like(right)


def nonnegative(gram: Tensor, right: Tensor) -> Tensor:
    """The z [n r] >= 0 that minimises z gram z / 2 - z right, for many rows at once.

    Accelerated gradient steps guess which weights are above zero; these are then solved for
    exactly, and exchanged while one falls below zero or another would rise. Gradients pass through
    `right`.

    Reference:
        Block principal pivoting with its backup rule: Kim and Park 2011, "Fast Nonnegative Matrix
        Factorization". `scipy.optimize.nnls` takes one row at a time and has no gradients.
    """
    with torch.no_grad():
        support = (_descend(gram, right) > SMALL) & (gram.diagonal() > 0)
        z, left = torch.zeros_like(right), torch.arange(len(right), device=right.device)
        slack = 1e3 * torch.finfo(right.dtype).eps * (right.abs().amax(-1, keepdim=True) + 1e-30)
        fewest, tries = (torch.full_like(left, gram.shape[0] + 1), torch.full_like(left, TRIES))
        for _ in range(EXCHANGES * len(gram)):
            z[left] = on_support(gram, right[left], support[left])
            wrong = torch.where(
                support[left], z[left] < 0, right[left] - z[left] @ gram > slack[left]
            )
            count = wrong.sum(-1)
            left, wrong, count = left[count > 0], wrong[count > 0], count[count > 0]
            if not len(left):
                break
            fewer = count < fewest[left]
            tries[left] = torch.where(fewer, TRIES, tries[left] - 1)
            fewest[left] = torch.minimum(fewest[left], count)
            last = (
                len(gram) - 1 - wrong.flip(-1).int().argmax(-1)
            )  # exchanging this one alone always comes to an end
            alone = torch.nn.functional.one_hot(last, len(gram)).bool()
            support[left] ^= torch.where((tries[left] >= 0)[:, None], wrong, alone)
    return (
        on_support(gram, right, support) if right.requires_grad and torch.is_grad_enabled() else z
    ).clamp_min(0)


def _descend(gram: Tensor, right: Tensor) -> Tensor:
    """Projected gradient steps with momentum (Beck and Teboulle 2009), with restarts."""
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
    """y [n r] >= 0 after multiplicative updates, none of which increases the least squares error.

    Reference:
        Ding, Li and Jordan 2010, Convex and Semi-Nonnegative Matrix Factorizations, equation 11.
    """
    up, down = right.clamp_min(0), (-right).clamp_min(0)
    plus, minus = gram.clamp_min(0), (-gram).clamp_min(0)
    for _ in range(times):
        y = y * ((up + y @ minus) / (down + y @ plus).clamp_min(1e-30)).sqrt()
    return y
