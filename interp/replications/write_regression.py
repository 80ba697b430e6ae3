"""How much of what a component writes is a weighted sum of earlier writes, held out."""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._stats import ratio_parts, t_point
from interp._types import Model
from interp.interventions import run
from interp.methods.lenses.write_lens import parse_writer
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge
from interp.results import Result

OF = ("intercept", "intercept and writers", "writers beyond the intercept")


class Regression(NamedTuple):
    """What `write_regression` returns: how well it fits, and the weights with their intervals."""

    fit: Result
    coefficients: Result

    @property
    def signs(self) -> np.ndarray:
        """For every weight -1 (the interval lies below 0: erased), +1 (amplified) or 0."""
        low, high = (self.coefficients.sel(interval=end).values for end in ("low", "high"))
        known = ~np.isnan(low)
        return (low > 0).astype(float)[known] - (high < 0).astype(float)[known]


@torch_defaults()
@any_prompts(join=False)
def write_regression(
    model: Model,
    task: Any,
    target: str = "mlp.*@END",
    writers: str = "L*H*@END",
    *,
    heldout: Any,
    shuffle: int | None = None,
) -> Regression:
    """What each target writes as a weighted sum of earlier writes, plus an intercept.

    target(prompt) ~ intercept + sum of weight[writer] * writer(prompt), where all are vectors
    [d_model]; the weights are numbers and the intercept is a vector. Fitted to `task` by least
    squares over prompts and dimensions, tested on `heldout`.

    Example:
        >>> regression = write_regression(model, task, "mlp.23@END", heldout=task.heldout())
        >>> regression.fit.plot(); regression.coefficients.sel(interval="fitted").plot()
        >>> (regression.signs != 0).mean()           # share of writers amplified or erased

    Args:
        model: The model.
        task: Prompts to fit to.
        target: Addresses of what is explained, at one position.
        writers: Addresses of the writers, at one position; those that the target can read are used.
        heldout: Prompts to test on.
        shuffle: A seed for the null: each prompt's target with another prompt's writers.

    Returns:
        `Regression`. fit: the share of the held-out sum of squares that is explained, on the axis
        "of": "intercept" and "intercept and writers" of all squares, "writers beyond the intercept"
        of what the intercept leaves, which is R^2 in the usual sense; not clamped; one value per
        prompt, whose mean is R^2. coefficients: axis "interval" (low, fitted, high: 95 %, jackknife
        over prompts, Student's t). A weight of 0 passes the writer on unchanged, because the stream
        carries it past the target; above 0 it is amplified, below 0 erased. NaN if a writer comes
        after the target.

    Raises:
        ValueError: If there are too few prompts for the weights, or a position is missing.

    Reference:
        After Lv et al. 2024 (arXiv 2403.19521).
    """
    started = time.perf_counter()
    aims, columns = (parse_writer(w) for w in (target, writers))
    if any(s.pos in (None, sites.STAR) for s in (aims, columns)):
        raise ValueError(
            f"{target!r} on {writers!r}: both need one position (try 'mlp.*@END' and 'L*H*@END')"
        )
    d = bridge.dims(model)
    targets = sites.expand(aims, d, task.clean.shape[1], task.positions)
    sources = sites.expand(columns, d, task.clean.shape[1], task.positions)
    (x, y), (x_held, y_held) = (_read(model, t, sources, targets, shuffle) for t in (task, heldout))
    explained = np.full((len(OF), len(targets.sites), len(heldout)), np.nan)
    weights = np.full((3, len(targets.sites), len(sources.sites)), np.nan)
    for i, site in enumerate(sweep.progress(targets.sites, "regression")):
        use = [
            k
            for k, s in enumerate(sources.sites)
            if sites.precedes(s, sites.Site(site.family, "in", site.layer), d)
        ]
        if not use:
            continue
        fitted, spread = _fit(x[:, use], y[:, i])
        weights[:, i, use] = np.stack([fitted - spread, fitted, fitted + spread])
        explained[:, i] = _explained(
            x[:, use], y[:, i], x_held[:, use], y_held[:, i], torch.from_numpy(fitted)
        )
    metadata = sweep.provenance(
        model,
        task,
        "regression of writes",
        started,
        target=target,
        writers=writers,
        shuffle=shuffle,
        n_heldout=len(heldout),
        backend="hooks",
    )
    fit = Result(
        explained.reshape(len(OF), *targets.shape, -1).mean(-1),
        ("of", *targets.dims),
        {"of": list(OF), **targets.coords},
        f"held-out fit of {target}",
        "share of squares",
        metadata,
        explained.reshape(len(OF), *targets.shape, -1),
    )
    dims, coords = sources.dims, sources.coords
    if targets.dims:
        dims, coords = (
            ("target", *dims),
            {"target": [str(s.at(None)) for s in targets.sites], **coords},
        )
    shape = [len(coords[dim]) for dim in dims]
    ends = {"interval": ["low", "fitted", "high"]}
    coefficients = Result(
        weights.reshape(3, *shape),
        ("interval", *dims),
        ends | coords,
        f"weight of each writer in {target}",
        "weight",
        metadata,
    )
    return Regression(fit, coefficients)


def _read(
    model: Model, task: Any, sources: Any, targets: Any, shuffle: int | None
) -> tuple[Tensor, Tensor]:
    """Writers [prompt writer d_model] and targets [prompt target d_model], in double precision."""
    read = []
    for grid in (sources, targets):
        keep = [str(s) for s in grid.sites]
        cache = run(model, task, keep=keep, last_only=True).kept
        read.append(torch.stack([cache[k] for k in keep], 1).cpu().double())
    x, y = read
    if shuffle is not None:
        if len(task) < 2:
            raise ValueError("shuffling needs another prompt to take the writers from: use n >= 2")
        g = torch.Generator().manual_seed(shuffle)
        order = torch.randperm(len(task), generator=g)
        x = x[_moved(order)]
    return x, y


def _moved(order: Tensor) -> Tensor:
    """For each prompt another one: the next in a random cycle."""
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


def _fit(
    x: Float[Tensor, "prompt writer d_model"], y: Float[Tensor, "prompt d_model"]
) -> tuple[np.ndarray, np.ndarray]:
    """The weights, and half the width of their intervals: every prompt is left out once."""
    n = len(x)
    if n < 3 or (n - 2) * x.shape[2] <= x.shape[1]:
        raise ValueError(
            f"{n} prompts are too few for {x.shape[1]} weights and their intervals: use more"
            " prompts"
        )
    # sums over prompts, so that leaving one out is a subtraction
    gram, moment = torch.einsum("pad,pbd->pab", x, x), torch.einsum("pad,pd->pa", x, y)

    def solve(keep: Tensor) -> Tensor:
        m = int(keep.sum())
        mean_x, mean_y = x[keep].mean(0), y[keep].mean(0)
        G = gram[keep].sum(0) - m * mean_x @ mean_x.T
        return torch.linalg.lstsq(
            G, (moment[keep].sum(0) - m * mean_x @ mean_y)[:, None], driver="gelsd"
        ).solution[:, 0]

    every = torch.ones(n, dtype=torch.bool)
    left_out = torch.stack([solve(every & (torch.arange(n) != i)) for i in range(n)])
    error = ((left_out - left_out.mean(0)) ** 2).sum(0).mul((n - 1) / n).sqrt()
    return to_numpy(solve(every)), to_numpy(t_point(n - 1) * error)


def _explained(x: Tensor, y: Tensor, x_held: Tensor, y_held: Tensor, weights: Tensor) -> np.ndarray:
    """The three shares of `OF` [3 prompt], each prompt's part in a ratio of sums."""

    def squares(v):
        return v.pow(2).sum(-1)

    all_squares, beyond_mean = squares(y_held), squares(y_held - y.mean(0))
    remaining = squares(y_held - y.mean(0) - torch.einsum("pad,a->pd", x_held - x.mean(0), weights))
    return np.stack(
        [
            to_numpy(1 - ratio_parts(rest, total))
            for total, rest in (
                (all_squares, beyond_mean),
                (all_squares, remaining),
                (beyond_mean, remaining),
            )
        ]
    )
