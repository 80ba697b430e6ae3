"""Edits: what an intervention does to an activation. Each is a function `edit(activation, seen) -> activation`.

    set_to(value) zero() scale(c) add(vector) project_out(direction)        anywhere
    knock_out(keys)                                                         on `.scores`
    reweight({position: factor})                                            on `.pattern`
    latent(encode, decode, change)                                          a dictionary's latents
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Seen = Mapping[str, Tensor]
Edit = Callable[[Tensor, Seen], Tensor]


def zero() -> Edit:
    """An edit that sets the activation to zero (far out of distribution in many models: see `ablate`)."""
    return lambda act, seen: torch.zeros_like(act)


def set_to(value: Tensor | float) -> Edit:
    """An edit that replaces the activation by a value that broadcasts to it.

    >>> set_to(clean.kept["L10H7"])
    """

    def edit(act: Tensor, seen: Seen) -> Tensor:
        new = torch.as_tensor(value, dtype=act.dtype, device=act.device)
        if new.ndim == act.ndim - 1 and act.shape[1] == 1 and new.ndim >= 2:  # [batch d] at one position
            new = new.unsqueeze(1)
        return _broadcast(new, act, "set_to")

    return edit


def add(vector: Tensor) -> Edit:
    """An edit that adds a vector to the activation (steering, task and function vectors)."""
    return lambda act, seen: act + _broadcast(vector.to(act), act, "add")


def scale(factor: float) -> Edit:
    """An edit that multiplies the activation."""
    return lambda act, seen: act * factor


def project_out(direction: Tensor) -> Edit:
    """An edit that removes the component along a direction [d] (directional ablation)."""
    unit = direction / direction.norm()

    def edit(act: Tensor, seen: Seen) -> Tensor:
        along = unit.to(act)
        if along.shape[-1] != act.shape[-1]:
            raise ValueError(f"the direction has {along.shape[-1]} entries, the activation {act.shape[-1]}")
        return act - (act @ along).unsqueeze(-1) * along

    return edit


def knock_out(keys: Sequence[int] | Tensor) -> Edit:
    """An edit of `.scores` [batch pos src] after which no query attends to these source positions.

    keys: positions, the same for every example, or a tensor [batch n] of positions per example. Every query
    must keep at least one source it may attend to, otherwise the softmax has nothing to divide: ValueError.
    Geva et al. 2023, arXiv 2304.14767.
    """
    where = torch.as_tensor(keys)

    def edit(scores: Tensor, seen: Seen) -> Tensor:
        low = torch.finfo(scores.dtype).min
        blocked = torch.zeros(scores.shape[0], scores.shape[-1], dtype=torch.bool)
        rows = where.expand(scores.shape[0], -1) if where.ndim == 1 else where
        blocked.scatter_(1, rows % scores.shape[-1], True)
        out = scores.masked_fill(blocked[:, None, :], low)
        if bool((out <= low / 2).all(-1).any()):
            raise ValueError("knock_out leaves a query with nothing to attend to: keep at least one source position")
        return out

    return edit


def reweight(factors: Mapping[int, float]) -> Edit:
    """An edit of `.pattern` [batch pos src]: multiply columns by factors, then renormalise every row to one."""

    def edit(pattern: Tensor, seen: Seen) -> Tensor:
        out = pattern.clone()
        for source, factor in factors.items():
            out[..., source] = out[..., source] * factor
        total = out.sum(-1, keepdim=True)
        if bool((total <= 0).any()):
            raise ValueError("reweight leaves a row with no attention at all: keep some factor above zero")
        return out / total

    return edit


def latent(encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], change: Edit) -> Edit:
    """An edit of a dictionary's latents that keeps its error term: act + decode(change(z)) - decode(z)."""

    def edit(act: Tensor, seen: Seen) -> Tensor:
        z = encode(act)
        return act + decode(change(z, seen)) - decode(z)

    return edit


def _broadcast(value: Tensor, act: Tensor, what: str) -> Tensor:
    try:
        return value.expand(act.shape)
    except RuntimeError:
        raise ValueError(
            f"{what}: a value of shape {tuple(value.shape)} does not fit an activation of shape {tuple(act.shape)}"
        ) from None
