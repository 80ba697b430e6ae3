"""Gradient pursuit: latents that best write an activation with a dictionary's directions.

The encoder is not used. Blumensath and Davies 2008, "Gradient pursuits", IEEE Transactions on
Signal Processing 56(6).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp._isolation import torch_defaults
from interp.features.dictionary import Dictionary
from interp.features.encoders import encoder

FEW = 256  # tokens at a time


@torch_defaults()
@torch.no_grad()
def gradient_pursuit(
    dictionary: Dictionary,
    x: Float[Tensor, "batch d_in"],
    *,
    target: Float[Tensor, "batch d_out"] | None = None,
    steps: int = 10,
    few: int = FEW,
) -> Float[Tensor, "batch latent"]:
    """Latents found by gradient pursuit, never more per token than the encoder has on.

    In each round the direction that best fits the residual is added; then all chosen latents take
    `steps` steps down the gradient, each of the best length, and stay at zero or above.

    Example:
        >>> z = features.gradient_pursuit(sae, x)
        >>> sae.decode(z)                  # nearer to x than sae.reconstruct(x)

    Args:
        dictionary: Whose directions are used; its encoder says how many latents a token gets.
        x: Activations [batch d_in].
        target: What is to be written [batch d_out], if the dictionary writes another site.
        steps: Gradient steps after each choice.
        few: How many tokens are solved at a time.

    Returns:
        Latents [batch latent], at zero or above.

    Reference:
        Blumensath and Davies 2008. Their method has no bound at zero; latents here are positive, as
        in sparse autoencoders.
    """
    budget = (dictionary.encode(x) != 0).sum(-1)
    W = dictionary.weights_at(x.device)["W_dec"]
    nothing = W.new_zeros(len(x), dictionary.n_latents)
    want = (x if target is None else target).to(nothing) - dictionary.reconstruct(x, nothing)
    return _all(W, want, budget, steps, few)


@torch_defaults()
def with_gradient_pursuit(dictionary: Dictionary, *, steps: int = 10) -> Dictionary:
    """The dictionary with the same directions whose latents are found by gradient pursuit.

    It is slow, and no gradients pass through it.

    Example:
        >>> features.evaluate(model, [sae, features.with_gradient_pursuit(sae)])

    Args:
        dictionary: A dictionary that writes the site that it reads.
        steps: Gradient steps after each choice; see `gradient_pursuit`.

    Returns:
        A dictionary of the kind "pursuit".

    Raises:
        ValueError: For a transcoder, because what it should write is not what it reads.
    """
    if dictionary.to is not None:
        raise ValueError(
            f"{dictionary.name} reads {dictionary.site!r} and writes {dictionary.to!r}: say what it"
            " should write, gradient_pursuit(dictionary, x, target=y)"
        )
    settings = {**dictionary.settings, "encoder": dictionary.kind, "steps": steps}
    return replace(
        dictionary, kind="pursuit", settings=settings, name=f"{dictionary.name}, pursued"
    )


@torch.no_grad()
def encode(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], x: Float[Tensor, "*batch d_in"]
) -> Float[Tensor, "*batch latent"]:
    """The latents of a `with_gradient_pursuit` dictionary; its former encoder decides how many."""
    flat = x.reshape(-1, x.shape[-1])
    budget = (encoder(settings["encoder"])(weights, settings, flat) != 0).sum(-1)
    return _all(weights["W_dec"], flat - weights["b_dec"], budget, settings["steps"], FEW).view(
        *x.shape[:-1], -1
    )


def _all(W: Tensor, want: Tensor, budget: Tensor, steps: int, few: int) -> Tensor:
    """The latents of all tokens, a few at a time."""
    return torch.cat([_pursued(W, a, b, steps) for a, b in zip(want.split(few), budget.split(few))])


def _pursued(W: Tensor, want: Tensor, budget: Tensor, steps: int) -> Tensor:
    """The latents of a few tokens."""
    n, most = len(want), int(budget.max())
    if not most:
        return W.new_zeros(n, len(W))
    length = W.norm(dim=-1).clamp(min=1e-12)
    chosen = torch.zeros(n, most, dtype=torch.long, device=W.device)
    rows, inner, fits, z = (
        W.new_zeros(n, most, W.shape[1]),
        W.new_zeros(n, most, most),
        W.new_zeros(n, most),
        W.new_zeros(n, most),
    )
    taken = torch.zeros(n, len(W), dtype=torch.bool, device=W.device)
    each = torch.arange(n, device=W.device)
    for i in range(most):
        # 1. the direction that fits the residual best
        residual = want - torch.einsum("ns,nsd->nd", z, rows)
        gain = (residual @ W.T / length).masked_fill(taken, -torch.inf)
        best = gain.argmax(-1)
        open_ = (budget > i) & (gain[each, best] > 0)
        chosen[:, i], taken[each, best] = best, taken[each, best] | open_
        rows[:, i] = W[best] * open_[:, None]
        fits[:, i] = (rows[:, i] * want).sum(-1)
        inner[:, i] = torch.einsum("nsd,nd->ns", rows, rows[:, i])
        inner[:, :, i] = inner[:, i]
        # 2. steps down the gradient on what was chosen
        for _ in range(steps):
            slope = fits - torch.einsum("ns,nst->nt", z, inner)
            slope = slope * ((z > 0) | (slope > 0))  # what is at zero cannot go down
            curve = torch.einsum("ns,nst,nt->n", slope, inner, slope)
            z = (z + slope * (slope.pow(2).sum(-1) / curve.clamp(min=1e-12))[:, None]).relu()
    return W.new_zeros(n, len(W)).scatter_add(1, chosen, z)
