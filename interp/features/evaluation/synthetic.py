"""Activations with known directions, which a trained dictionary should recover."""

from typing import NamedTuple

import torch

from interp.features.activations import Activations
from interp.features.dictionary import Dictionary


class Synthetic(NamedTuple):
    """Activations that are sparse sums of known directions, and those directions."""

    activations: Activations
    truth: Dictionary


def synthetic(
    features: int = 128,
    d: int = 64,
    on: float = 4.0,
    tokens: int = 50_000,
    *,
    noise: float = 0.0,
    seed: int = 0,
) -> Synthetic:
    """A dictionary of random directions, and activations that are sums of a few of them.

    Each feature is on independently with probability on / features; its strength is 1 plus half the
    absolute value of a normal number.

    Example:
        >>> made = features.synthetic()
        >>> sae = features.train(None, "embed", made.activations, width=128, k=4, tokens=200_000)
        >>> features.matched_cosine_similarity(sae, made.truth)

    Args:
        features: How many directions.
        d: Their width.
        on: How many are on at a token, on average.
        tokens: How many activations.
        noise: Standard deviation of the normal noise on every coordinate.
        seed: Decides directions, activations and noise.

    Returns:
        `Synthetic`, with fields activations and truth.

    Raises:
        ValueError: If `on` is not between 0 and `features`.
    """
    if not 0 < on <= features:
        raise ValueError(f"on={on} of {features} features: at least some, at most all")
    g = torch.Generator().manual_seed(seed)
    directions = torch.randn(features, d, generator=g)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    is_on = torch.rand(tokens, features, generator=g) < on / features
    strength = is_on * (1 + torch.randn(tokens, features, generator=g).abs() / 2)
    x = strength @ directions + noise * torch.randn(tokens, d, generator=g)
    metadata = {
        "model": "synthetic",
        "texts": "synthetic",
        "features": features,
        "on": on,
        "noise": noise,
        "seed": seed,
        "tokens": tokens,
        "skip": 0,
    }
    weights = {
        "W_enc": directions.T.contiguous(),
        "b_enc": torch.zeros(features),
        "W_dec": directions,
        "b_dec": torch.zeros(d),
    }
    truth = Dictionary(
        "standard",
        weights,
        "embed",
        "truth",
        settings={"apply_b_dec_to_input": False},
        metadata=metadata,
    )
    return Synthetic(
        Activations(
            ("embed",), torch.zeros(tokens, 1, dtype=torch.long), 0, ({"embed": x},), metadata
        ),
        truth,
    )
