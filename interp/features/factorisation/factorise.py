"""Semi-nonnegative matrix factorisation: activations as nonnegative sums of few directions."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.features.dictionary import Dictionary
from interp.features.factorisation.nonnegative import multiplied, nonnegative, on_support
from interp.features.sites import place
from interp.features.training.train import source_of, training_activations
from interp.methods.runs.sweep import progress

RIDGE = 1e-6  # of loadings on directions of length one, so that equal directions share
UPDATES = 10  # of the loadings, for each of the directions: they cost little
STARTS = ("random", "svd")
WINDOW = 10  # steps over which the error must still fall


def snmf(weights: Mapping[str, Tensor], settings: Mapping[str, Any], x: Tensor) -> Tensor:
    """The loadings of activations on fixed directions, by exact nonnegative least squares."""
    W, flat = weights["W_dec"], (x - weights["b_dec"]).flatten(0, -2)
    gram = (W @ W.T).double()
    gram = gram + settings.get("ridge", RIDGE) * torch.eye(
        len(W), dtype=torch.double, device=W.device
    )
    return nonnegative(gram, (flat @ W.T).double()).to(x.dtype).unflatten(0, x.shape[:-1])


@torch_defaults()
def factorise(
    model: Model | None,
    site: str,
    on: Any = None,
    *,
    rank: int = 100,
    sparsity: float | None = 0.01,
    tokens: int = 20_000,
    seed: int = 0,
    ridge: float = 1e-4,
    steps: int = 100,
    tolerance: float = 1e-4,
    start: str = "random",
    folder: str | Path | None = None,
    name: str = "",
) -> Dictionary:
    """A dictionary (kind "snmf") with nonnegative loadings and directions that have few entries.

    X [token d] is approximated by Y W with Y >= 0. W by ridge least squares and Y by multiplicative
    updates take turns, from loadings to begin with, until the error falls by less than `tolerance`
    in ten turns, or for `steps` turns. Only the largest entries of each direction are kept, and
    fitted again: the first quarter of the steps keeps all entries, the second ever fewer, the rest
    a share `sparsity`. There, other entries replace the present ones only if that does not raise
    the error. So the error never rises before and after the narrowing (metadata["curve"]).

    Example:
        >>> parts = features.factorise(model, "mlp.10.post", rank=100)   # sums of co-active neurons
        >>> parts.encode(x)                              # loadings of new activations, [... latent]

    Args:
        model: The model; None if `on` is `Activations`.
        site: The address that is read.
        on: Activations, ids [chunk pos] or a corpus; see `train`.
        rank: How many directions.
        sparsity: The share of a direction's entries that is kept, at least one; None keeps all.
        tokens: How many tokens; all of them are held in memory.
        seed: Decides the text and the first loadings.
        ridge: Ridge penalty on W, as a share of the mean squared loading.
        steps: Turns at most, at least four.
        tolerance: When to stop.
        start: The loadings to begin with: "random", or "svd" for those of the singular vectors,
            cut at zero, which no seed changes.
        folder: Where activations are kept; see `train`.
        name: How results name it.

    Returns:
        A dictionary whose directions have length one; no mean is subtracted.

    Raises:
        ValueError: If rank is larger than the number of tokens, or an option is out of range.

    Reference:
        Shafran et al. 2025, arXiv 2506.10920; multiplicative updates of Ding et al. 2010.
        scikit-learn's NMF needs X >= 0, which gated neurons are not.
    """
    started = time.perf_counter()
    _check(rank, sparsity, steps, ridge, start)
    where = str(place(site))
    acts = training_activations(model, [where], on, tokens, seed, folder, 1)
    x = acts.of(where)[:tokens]
    directions, curve = semi_nmf(
        x,
        rank,
        sparsity=sparsity,
        seed=seed,
        ridge=ridge,
        steps=steps,
        tolerance=tolerance,
        start=start,
    )
    recipe = {
        "kind": "snmf",
        "rank": rank,
        "sparsity": sparsity,
        "seed": seed,
        "ridge": ridge,
        "start": start,
        "tokens": len(x),
    }
    metadata = {
        "model": acts.metadata.get("model"),
        **recipe,
        "activations": source_of(acts),
        "seconds": round(time.perf_counter() - started, 1),
        "curve": curve,
    }
    return as_dictionary(directions, where, name or f"snmf {rank} {where}", metadata)


def as_dictionary(
    directions: Tensor, site: str, name: str, metadata: Mapping[str, Any]
) -> Dictionary:
    """A dictionary of the kind "snmf" with these directions [latent d], scaled to length one."""
    unit = directions / directions.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    weights = {"W_dec": unit.contiguous(), "b_dec": unit.new_zeros(unit.shape[1])}
    return Dictionary("snmf", weights, site, name, settings={"ridge": RIDGE}, metadata=metadata)


def _check(rank: int, sparsity: float | None, steps: int, ridge: float, start: str) -> None:
    """None if the options are possible; otherwise a ValueError."""
    if start not in STARTS:
        raise unknown("start", start, STARTS)
    if rank < 1:
        raise ValueError(f"rank={rank}: a factorisation has at least one direction")
    if sparsity is not None and not 0 < sparsity <= 1:
        raise ValueError(
            f"sparsity={sparsity}: the share of a direction's entries that is kept lies above 0 and"
            " at most at 1 (None: all)"
        )
    if steps < 4 or ridge < 0:
        raise ValueError(
            f"steps={steps}, ridge={ridge}: at least four steps, and no ridge below zero"
        )


def semi_nmf(
    x: Float[Tensor, "n d"],
    rank: int,
    *,
    sparsity: float | None = None,
    seed: int = 0,
    ridge: float = 1e-4,
    steps: int = 100,
    tolerance: float = 1e-4,
    start: str = "random",
) -> tuple[Float[Tensor, "latent d"], list[dict[str, Any]]]:
    """Directions W [latent d] with x close to Y W, Y >= 0, and how the error fell; see `factorise`.

    Returns:
        W and the curve. For each step the curve has "error" (the whole objective, as a share of the
        squares of x), "explained" (of the variance around the mean) and "phase": "dense",
        "narrowing" or "sparse".
    """
    _check(rank, sparsity, steps, ridge, start)
    if rank > len(x):
        raise ValueError(
            f"rank={rank}: {len(x):,} tokens are sums of {len(x):,} directions at most (try"
            f" rank={max(1, len(x) // 10)})"
        )
    if not torch.isfinite(x).all() or not x.any():
        raise ValueError("activations that are not finite, or all zero, have no factors")
    d = x.shape[1]
    keep = d if sparsity is None else max(1, round(sparsity * d))
    phases = (
        {"dense": steps}
        if keep == d
        else {"dense": steps // 4, "narrowing": steps // 4, "sparse": steps - 2 * (steps // 4)}
    )
    total, around = x.double().pow(2).sum(), (x - x.mean(0)).double().pow(2).sum()
    y = _random_start(x, rank, seed) if start == "random" else _svd_start(x, rank)
    weight = max(ridge, 1e-9) * float((y * y).sum(0).mean())
    curve: list[dict[str, Any]] = []
    with progress(None, f"factorising {tuple(x.shape)}", total=steps) as bar:
        W = x.new_zeros(rank, d)
        for phase, turns in phases.items():
            support = None
            for number in range(turns):
                entries = {
                    "dense": d,
                    "narrowing": round(d * (keep / d) ** ((number + 1) / turns)),
                    "sparse": keep,
                }[phase]
                W, wanted, cost = _directions(x, y, weight, entries, support)
                support = wanted if phase == "sparse" else None
                y = multiplied(y, W @ W.T, x @ W.T, UPDATES)
                error = total + cost  # with the ridge's share, which is no error of x's
                curve.append(
                    {
                        "phase": phase,
                        "error": float(error / total),
                        "explained": float(1 - (error - weight * W.double().pow(2).sum()) / around),
                    }
                )
                bar.update(1)
                before = curve[-1 - WINDOW]["error"] if number >= WINDOW else float("inf")
                if phase != "narrowing" and before - curve[-1]["error"] < tolerance * before:
                    break
    return W, curve


def _random_start(x: Tensor, rank: int, seed: int) -> Tensor:
    """Random loadings to begin with: each token loads on a tenth of the directions.

    Reference:
        Starting with clusters of tokens (Ding et al. 2010) is worse here: every centre contains the
        mean, so that all directions keep the neurons that are large everywhere.
    """
    g = torch.Generator().manual_seed(seed)
    on = torch.rand(len(x), rank, generator=g) < 0.1
    return (torch.rand(len(x), rank, generator=g) * (on + 0.01)).to(x)


def _svd_start(x: Tensor, rank: int) -> Tensor:
    """The singular vectors' loadings, times the root of the singular value, cut at a small number.

    Their signs are those with which more of the vector lies above zero.

    Reference:
        Ding et al. 2010, equations 17 and 18.
    """
    if rank > x.shape[1]:
        raise ValueError(
            f"rank={rank}: start='svd' has one direction for each of {x.shape[1]} coordinates at"
            " most (start='random' has no limit)"
        )
    gram = x.T.double() @ x.double()
    size, right = torch.linalg.eigh(gram)
    size, right = size.flip(0)[:rank].clamp_min(1e-30), right.flip(1)[:, :rank]
    left = (x.double() @ right) * size**-0.25  # the singular values are the roots of `size`
    up, down = left.clamp_min(0), (-left).clamp_min(0)
    larger = up.pow(2).sum(0) >= down.pow(2).sum(0)
    return torch.where(larger, up, down).clamp_min(1e-6).to(x)


def _directions(
    x: Tensor, y: Tensor, weight: float, keep: int, support: Tensor | None
) -> tuple[Tensor, Tensor, float]:
    """The directions that fit these loadings, their support [latent d], and the objective.

    The objective is counted without the squares of x, which do not change.

    Args:
        support: The entries of the step before, which stay if other entries would raise the error.
    """
    gram = (y.T @ y).double() + weight * torch.eye(y.shape[1], dtype=torch.double, device=y.device)
    right = (y.T @ x).double()
    unrestricted = torch.linalg.solve(gram, right)
    wanted = torch.ones_like(unrestricted, dtype=torch.bool)
    if keep < x.shape[1]:
        wanted = torch.zeros_like(wanted).scatter(
            1, unrestricted.abs().topk(keep, dim=1).indices, True
        )
    choices = [wanted] if support is None or torch.equal(wanted, support) else [wanted, support]
    fitted = [
        unrestricted if keep >= x.shape[1] else on_support(gram, right.T.contiguous(), allowed.T).T
        for allowed in choices
    ]
    costs = [float((W * (gram @ W)).sum() - 2 * (W * right).sum()) for W in fitted]
    best = int(costs[-1] < costs[0])
    return fitted[best].to(x.dtype), choices[best], costs[best]
