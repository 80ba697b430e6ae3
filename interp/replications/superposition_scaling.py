"""Superposition: many sparse features in few dimensions, and how the loss falls with the
dimensions.

    toy = train(features=400, dimensions=20, alpha=0.5, decay=-1.0)     # strong superposition:
    every norm near 1 represented(toy.weight), squared_overlap(toy.weight) * 20 found =
    sweep(dimensions=[5, 10, 20, 40], alphas=[0.0, 0.5, 1.0], decay=-1.0, seeds=3); exponents(found)

The model is y = ReLU(W W^T x + b) of Elhage et al. 2022; the data and the optimiser are those of
Liu, Liu and Gore 2025, Superposition Yields Robust Neural Scaling (arXiv 2505.10465).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp._progress import progress
from interp._stats import power_law
from interp.results import Result
from interp.toys.data.superposition import Superposition


class Trained(NamedTuple):
    """weight [features dimensions], bias [features], the loss on fresh vectors, and the training
    loss by step.
    """

    weight: Tensor
    bias: Tensor
    loss: float
    losses: list[float]


def recover(
    x: Float[Tensor, "batch features"],
    weight: Float[Tensor, "features m"],
    bias: Float[Tensor, "features"],
) -> Float[Tensor, "batch features"]:
    """ReLU(W W^T x + b): the features as they come back from m dimensions."""
    return torch.relu(torch.addmm(bias, x @ weight, weight.T))


def regularise(weight: Float[Tensor, "features m"], decay: float, lr: float) -> None:
    """One step of weight decay in place (decay > 0), or with decay < 0 of growth that pulls each
    row's norm to 1.

    Decay leaves rare features out: weak superposition. Growth keeps all of them: strong
    superposition.
    """
    if decay >= 0:
        weight.mul_(1 - lr * decay)
    else:
        norms = weight.norm(dim=1, keepdim=True) + 1e-8
        weight.add_(weight * (1 / norms - 1), alpha=-decay * lr)


def rate(step: int, steps: int, lr: float, warmup: int) -> float:
    """The learning rate of a step: a straight rise to lr over `warmup` steps, then half a cosine
    down to a twentieth.
    """
    if step + 1 < warmup:
        return lr * (step + 1) / warmup
    return lr * (
        0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step + 1 - warmup) / max(1, steps - warmup)))
    )


def train(
    features: int = 400,
    dimensions: int = 20,
    *,
    alpha: float = 0.0,
    decay: float = -1.0,
    steps: int = 1500,
    batch: int = 512,
    lr: float = 1e-2,
    active: float = 1.0,
    seed: int = 0,
) -> Trained:
    """The toy model after AdamW with decay (or growth, decay < 0) on its weights: the same for the
    same seed, bit for bit.

    The mean squared error over batch and features, on vectors of `toys.data`'s "superposition". A
    tenth of the steps warms up. The paper: 1,000 features, 20,000 steps of 2,048.

    Example:
        >>> toy = train(features=400, dimensions=20, decay=-1.0)
        >>> toy.loss, represented(toy.weight)

    Raises:
        ValueError: When the loss is no longer a number.
    """
    if dimensions < 1 or steps < 1 or batch < 1:
        raise ValueError(
            f"dimensions={dimensions}, steps={steps}, batch={batch}: each is at least 1"
        )
    source = Superposition(features=features, alpha=alpha, active=active)
    g = torch.Generator().manual_seed(seed)
    weight = (torch.randn(features, dimensions, generator=g) / dimensions**0.5).requires_grad_()
    bias = torch.randn(features, generator=g).requires_grad_()
    adam = torch.optim.Adam([weight, bias], lr=lr, fused=True)
    losses = []
    for step in range(steps):
        now = adam.param_groups[0]["lr"] = rate(step, steps, lr, steps // 10)
        x = source.vectors(batch, g)
        loss = torch.nn.functional.mse_loss(recover(x, weight, bias), x)
        adam.zero_grad()
        loss.backward()
        with torch.no_grad():
            regularise(weight, decay, now)
        adam.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise ValueError(
                f"the loss is {losses[-1]} at step {step}: a lower learning rate is needed"
                f" (lr={lr}; try lr={lr / 10:g})"
            )
    with torch.no_grad():
        x = source.vectors(8192, torch.Generator().manual_seed(seed + 2**31))
        fresh = torch.nn.functional.mse_loss(recover(x, weight, bias), x).item()
    return Trained(weight.detach(), bias.detach(), fresh, losses)


# --- geometry -------------------------------------------------------------------------------------


def kept(weight: Float[Tensor, "features m"], above: float = 0.5) -> Bool[Tensor, "features"]:
    """Which features are represented: those whose row is longer than `above`."""
    return weight.norm(dim=1) > above


def represented(weight: Float[Tensor, "features m"], above: float = 0.5) -> float:
    """The share of the features that are represented."""
    return kept(weight, above).float().mean().item()


def squared_overlap(weight: Float[Tensor, "features m"], above: float = 0.5) -> float:
    """The mean squared cosine between two represented features; NaN with fewer than two. Random
    directions: 1 / m.
    """
    rows = torch.nn.functional.normalize(weight[kept(weight, above)], dim=1)
    n = len(rows)
    return ((rows.T @ rows).square().sum().item() - n) / (n * (n - 1)) if n > 1 else math.nan


# --- scaling --------------------------------------------------------------------------------------

MEASURES = ("loss", "represented", "squared overlap * m")


def sweep(
    dimensions: Sequence[int] = (5, 10, 20, 40),
    alphas: Sequence[float] = (0.0, 0.5, 1.0),
    *,
    decay: float = -1.0,
    seeds: int = 3,
    **options: float,
) -> Result:
    """The loss, the share of features represented and the squared overlap times m, by alpha and m;
    examples: seeds.

    Example:
        >>> found = sweep([5, 10, 20, 40], [0.0, 1.0], decay=-1.0, steps=600)
        >>> found.sel(measure="loss")

    Args:
        options: Those of `train`. A NaN (fewer than two features represented) stays one.
    """
    cells = np.empty((len(MEASURES), len(alphas), len(dimensions), seeds))
    every = [
        (a, m, s) for a in range(len(alphas)) for m in range(len(dimensions)) for s in range(seeds)
    ]
    for a, m, seed in progress(every, "superposition"):
        toy = train(dimensions=dimensions[m], alpha=alphas[a], decay=decay, seed=seed, **options)
        cells[:, a, m, seed] = (
            toy.loss,
            represented(toy.weight),
            squared_overlap(toy.weight) * dimensions[m],
        )
    coords = {"measure": list(MEASURES), "alpha": list(alphas), "m": list(dimensions)}
    metadata = {"decay": decay, "seeds": seeds, **options}
    return Result(
        cells.mean(-1),
        tuple(coords),
        coords,
        "superposition",
        "loss, share, or overlap",
        metadata,
        cells,
    )


def exponents(swept: Result) -> Result:
    """How fast the loss falls with m, loss ~ m ** -exponent, for each alpha, with a 95 % interval
    (low, high).

    A line through the logs of the mean losses over seeds; the interval is from how far they lie off
    the line, so it needs three or more m.

    Example:
        >>> exponents(sweep(decay=-1.0))
    """
    losses, m = swept.sel(measure="loss"), swept.coords["m"]
    rows = []
    for loss in losses.values:
        p, low, high = power_law(m, loss)
        rows.append((-p, -high, -low))
    coords = {"alpha": swept.coords["alpha"], "fit": ["exponent", "low", "high"]}
    return Result(
        np.array(rows),
        tuple(coords),
        coords,
        "scaling exponent",
        "power of m",
        dict(swept.metadata),
    )


def exponents_by_seed(swept: Result) -> Result:
    """The same exponent for each seed apart, by alpha; examples: seeds. Its interval is over seeds,
    not over m.

    Example:
        >>> measured(exponents_by_seed(sweep(decay=-1.0)).sel(alpha=0.5))
    """
    losses, m = swept.sel(measure="loss").examples, swept.coords["m"]
    cells = np.array([[-power_law(m, one)[0] for one in by_m.T] for by_m in losses])
    return Result(
        cells.mean(-1),
        ("alpha",),
        {"alpha": swept.coords["alpha"]},
        "scaling exponent",
        "power of m",
        dict(swept.metadata),
        cells,
    )


def spread_over_m(swept: Result) -> Result:
    """How much squared overlap times m varies with m: the largest over the smallest, by alpha;
    examples: seeds. 1: overlap ~ 1 / m.
    """
    by_m = swept.sel(measure="squared overlap * m").examples
    cells = by_m.max(1) / by_m.min(1)
    return Result(
        cells.mean(-1),
        ("alpha",),
        {"alpha": swept.coords["alpha"]},
        "overlap * m, largest over smallest",
        "ratio",
        dict(swept.metadata),
        cells,
    )


def group_overlaps(
    weight: Float[Tensor, "features m"], *, groups: int = 20, size: int = 500, seed: int = 0
) -> np.ndarray:
    """The mean squared cosine times m within each of so many random groups of rows [groups]: random
    directions give 1.

    For matrices with too many rows to draw intervals from all pairs. Every row counts, however
    short (but not a row of zeros).

    Example:
        >>> measured(group_overlaps(model.W_U.T))
    """
    if len(weight) < 2 or size < 2:
        raise ValueError(f"{len(weight)} rows in groups of {size}: a cosine needs two")
    g = torch.Generator().manual_seed(seed)
    drawn = [torch.randperm(len(weight), generator=g)[:size] for _ in range(groups)]
    return np.array([squared_overlap(weight[rows], above=0.0) * weight.shape[1] for rows in drawn])
