"""Superposition: many sparse features in few dimensions, and how the loss falls with m.

>>> toy = train(features=400, dimensions=20, alpha=0.5, decay=-1.0)      # strong superposition
>>> represented(toy.weight), squared_overlap(toy.weight) * 20
>>> exponents(sweep(dimensions=[5, 10, 20, 40], alphas=[0.0, 0.5, 1.0], decay=-1.0, seeds=3))

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
    """A trained toy: weight [features dimensions], bias [features], loss, and training losses."""

    weight: Tensor
    bias: Tensor
    loss: float
    losses: list[float]


def recover(
    x: Float[Tensor, "batch features"],
    weight: Float[Tensor, "features m"],
    bias: Float[Tensor, "features"],
) -> Float[Tensor, "batch features"]:
    """ReLU(W W^T x + b): the features as they are recovered from m dimensions."""
    return torch.relu(torch.addmm(bias, x @ weight, weight.T))


class Sparse(NamedTuple):
    """Vectors with few entries that are not zero: places, values, and how many rows there are.

    Rows of zeros are left out and counted in `empty`, since all of them are recovered alike.
    """

    row: Tensor
    feature: Tensor
    value: Tensor
    rows: int
    empty: int

    def dense(self, features: int) -> Float[Tensor, "rows features"]:
        """The rows that are not empty, as a matrix."""
        x = torch.zeros(self.rows, features, dtype=self.value.dtype)
        x[self.row, self.feature] = self.value
        return x


def draw(chances: Float[Tensor, "features"], n: int, generator: torch.Generator) -> Sparse:
    """n vectors of "superposition" of `toys.data`, without the zeros.

    Each feature is on in a binomial number of different rows, and then uniform on [0, 2).
    """
    counts = torch.binomial(torch.full_like(chances, n), chances, generator=generator).long()
    feature = torch.repeat_interleave(torch.arange(len(chances)), counts)
    cell = feature * n + torch.randint(n, feature.shape, generator=generator)
    while True:  # rows that a feature drew twice are drawn again, so that its rows differ
        cell = cell.sort().values
        twice = torch.zeros_like(cell, dtype=torch.bool)
        twice[1:] = cell[1:] == cell[:-1]
        if not twice.any():
            break
        again = cell[twice]
        drawn = torch.randint(n, again.shape, generator=generator)
        cell[twice] = again.div(n, rounding_mode="floor") * n + drawn
    feature, row = cell.div(n, rounding_mode="floor"), cell % n
    row, order = row.sort(stable=True)
    used, row = torch.unique_consecutive(row, return_inverse=True)
    value = 2 * torch.rand(len(row), generator=generator)
    return Sparse(row, feature[order], value, len(used), n - len(used))


def loss_and_slopes(
    x: Sparse, weight: Float[Tensor, "features m"], bias: Float[Tensor, "features"]
) -> tuple[float, Float[Tensor, "features m"], Float[Tensor, "features"]]:
    """The mean squared error of `recover`, and its gradients by weight and bias.

    The numbers are those of autograd on the dense vectors, at a fifth of the cost: about one
    feature is on in a row, so x (W W^T) picks rows of W W^T, and ReLU(W W^T x + b) differs from its
    own error in those few places only.
    """
    n = len(weight)
    starts = torch.searchsorted(x.row, torch.arange(x.rows + 1))
    by_row = torch.sparse_csr_tensor(starts, x.feature, x.value, (x.rows, n))
    error = torch.addmm(bias.expand(x.rows, n), by_row, weight @ weight.T).relu_()
    recovered = error[x.row, x.feature]
    error[x.row, x.feature] = (recovered - x.value) * (recovered > 0)
    missed = x.value[recovered <= 0].square().sum()  # no slope, but a loss
    of_empty = bias.relu()
    total = error.flatten().dot(error.flatten()) + missed + x.empty * of_empty.dot(of_empty)
    cells = (x.rows + x.empty) * n
    order = x.feature.argsort(stable=True)
    starts = torch.searchsorted(x.feature[order], torch.arange(n + 1))
    by_feature = torch.sparse_csr_tensor(starts, x.row[order], x.value[order], (n, x.rows))
    gram = by_feature @ error
    return (
        float(total) / cells,
        (gram @ weight + gram.T @ weight).mul_(2 / cells),
        (error.sum(0) + x.empty * of_empty).mul_(2 / cells),
    )


def regularise(weight: Float[Tensor, "features m"], decay: float, lr: float) -> None:
    """One step of weight decay in place, or with decay < 0 of growth towards rows of norm 1.

    Decay drops rare features: weak superposition. Growth keeps all of them: strong superposition.
    """
    if decay >= 0:
        weight.mul_(1 - lr * decay)
    else:
        norms = weight.norm(dim=1, keepdim=True) + 1e-8
        weight.add_(weight * (1 / norms - 1), alpha=-decay * lr)


def rate(step: int, steps: int, lr: float, warmup: int) -> float:
    """The learning rate of a step: a linear rise, then half a cosine to a twentieth."""
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
    """The toy model after AdamW with decay (or growth, if decay < 0) on its weights.

    The loss is the mean squared error over batch and features, on vectors of "superposition" of
    `toys.data`. A tenth of the steps is warm-up. The same seed gives the same bits.

    Example:
        >>> toy = train(features=400, dimensions=20, decay=-1.0)
        >>> toy.loss, represented(toy.weight)

    Args:
        features, dimensions: Sizes of the weight.
        alpha: How fast the features' frequencies fall.
        decay: Weight decay; below 0, growth.
        steps, batch, lr: Of the training. The paper uses 1,000 features and 20,000 steps of 2,048.
        active: How many features are on, on average.
        seed: Decides weights and data.

    Returns:
        `Trained`; its loss is measured on fresh vectors.

    Raises:
        ValueError: If the loss is no longer finite.
    """
    if dimensions < 1 or steps < 1 or batch < 1:
        raise ValueError(
            f"dimensions={dimensions}, steps={steps}, batch={batch}: each is at least 1"
        )
    chances = Superposition(features=features, alpha=alpha, active=active).chances.float()
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(features, dimensions, generator=g) / dimensions**0.5
    bias = torch.randn(features, generator=g)
    adam = torch.optim.Adam([weight, bias], lr=lr, fused=True)
    losses = []
    for step in range(steps):
        now = adam.param_groups[0]["lr"] = rate(step, steps, lr, steps // 10)
        loss, weight.grad, bias.grad = loss_and_slopes(draw(chances, batch, g), weight, bias)
        regularise(weight, decay, now)
        adam.step()
        losses.append(loss)
        if not math.isfinite(losses[-1]):
            raise ValueError(
                f"the loss is {losses[-1]} at step {step}: a lower learning rate is needed"
                f" (lr={lr}; try lr={lr / 10:g})"
            )
    g = torch.Generator().manual_seed(seed + 2**31)
    fresh = [loss_and_slopes(draw(chances, 8192, g), weight, bias)[0] for _ in range(8)]
    return Trained(weight, bias, sum(fresh) / len(fresh), losses)


# --- geometry -------------------------------------------------------------------------------------


def kept(weight: Float[Tensor, "features m"], above: float = 0.5) -> Bool[Tensor, "features"]:
    """Mask of the features that are represented: their rows are longer than `above`."""
    return weight.norm(dim=1) > above


def represented(weight: Float[Tensor, "features m"], above: float = 0.5) -> float:
    """The share of the features that are represented."""
    return kept(weight, above).float().mean().item()


def squared_overlap(weight: Float[Tensor, "features m"], above: float = 0.5) -> float:
    """The mean squared cosine between two represented features; NaN with fewer than two.

    Random directions give 1 / m.
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
    """Loss, share of features represented, and squared overlap times m, by alpha and m.

    Example:
        >>> swept = sweep([5, 10, 20, 40], [0.0, 1.0], decay=-1.0, steps=600)
        >>> swept.sel(measure="loss")

    Args:
        dimensions: Values of m.
        alphas: Values of alpha.
        decay: Weight decay; below 0, growth.
        seeds: How many seeds.
        options: Options of `train`.

    Returns:
        Axes "measure", "alpha" and "m"; examples are seeds. NaN if fewer than two features are
        represented.
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
    """The exponent with which the loss falls with m, loss ~ m ** -exponent, with its 95 % interval.

    A line through the logs of the mean losses over seeds; the interval is from the residuals, so
    three or more m are needed.

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
    """The same exponent for each seed, by alpha; examples are seeds, and so is the interval.

    Example:
        >>> measured(exponents_by_seed(sweep(decay=-1.0)).sel(alpha=0.5))
    """
    losses, m = swept.sel(measure="loss").examples, swept.coords["m"]
    cells = np.array(
        [[-power_law(m, losses_of_seed)[0] for losses_of_seed in by_m.T] for by_m in losses]
    )
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
    """How much squared overlap times m varies with m: largest over smallest, by alpha.

    Examples are seeds. At 1, overlap ~ 1 / m.
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
    """The mean squared cosine times m within random groups of rows [groups].

    Random directions give 1. For matrices with too many rows for intervals from all pairs. Every
    row counts, however short, except rows of zeros.

    Example:
        >>> measured(group_overlaps(model.W_U.T))
    """
    if len(weight) < 2 or size < 2:
        raise ValueError(f"{len(weight)} rows in groups of {size}: a cosine needs two")
    g = torch.Generator().manual_seed(seed)
    drawn = [torch.randperm(len(weight), generator=g)[:size] for _ in range(groups)]
    return np.array([squared_overlap(weight[rows], above=0.0) * weight.shape[1] for rows in drawn])
