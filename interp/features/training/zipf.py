"""How often latents should be on: Zipf's law, shares of a budget, and latents that fall short."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FEW = 0.5  # a latent with a smaller fraction of what Zipf's law gives its rank is underused


def zipf(n: int, total: float, exponent: float = 1.0, most: float = 1.0) -> Float[Tensor, "n"]:
    """n numbers by rank that follow Zipf's law, (rank + shift) ** -exponent, and sum to `total`.

    Example:
        >>> zipf(3, 1.1)                      # 1, 1/2, 1/3 times 0.6
        tensor([0.6000, 0.3000, 0.2000])

    Args:
        n: How many numbers.
        total: Their sum.
        exponent: 0 makes all equal.
        most: The largest number allowed; the shift is 0, or the smallest that keeps the first
            number at `most` (Mandelbrot), because no latent is on more often than always.

    Raises:
        ValueError: If total is more than n * most.
    """
    from scipy.optimize import brentq

    if not 0 < total <= n * most or exponent < 0:
        raise ValueError(
            f"zipf({n}, {total:g}, {exponent:g}): {n} numbers of at most {most:g} sum to"
            f" {n * most:g} at most, exponents start at 0"
        )
    ranks = torch.arange(1, n + 1, dtype=torch.double)

    def law(shift: float) -> Tensor:
        raw = (ranks + shift) ** -exponent
        return total * raw / raw.sum()

    if float(law(0.0)[0]) <= most:
        return law(0.0).float()
    if total > 0.999 * n * most:
        return law(1e12).float()
    return law(brentq(lambda shift: float(law(shift)[0]) - most, 0.0, 1e12)).float()


def shares(n: int, total: int, tokens: int, exponent: float = 0.0) -> Int[Tensor, "n"]:
    """How many of `tokens` tokens each of n latents gets; they sum to `total` exactly."""
    ends = zipf(n, total, exponent, tokens).double().cumsum(0).round().long()
    ends[-1] = total
    return ends.diff(prepend=ends.new_zeros(1))


def underused(
    density: Float[Tensor, "latent"], exponent: float = 1.0, few: float = FEW
) -> Bool[Tensor, "latent"]:
    """The latents that are on less often than `few` times what Zipf's law gives their rank.

    Example:
        >>> underused(torch.tensor([0.6, 0.05, 0.35]))     # the law: 0.545, 0.273, 0.182 by rank
        tensor([False,  True, False])

    Args:
        density: The share of tokens at which each latent is on. The law has the same sum. A latent
            that is never on is always among them; none is if the densities follow the law. So the
            loss is a wider aux_k.
        exponent: The exponent of the law.
        few: The fraction of the law's value below which a latent counts.
    """
    total = float(density.sum())
    if not total:
        return torch.ones_like(density, dtype=torch.bool)
    order = density.argsort(descending=True)
    due = torch.empty_like(density)
    due[order] = zipf(len(density), total, exponent).to(density)
    return density < few * due
