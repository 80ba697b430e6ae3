"""A hierarchy of features: directions factorised again into fewer directions."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp.features.dictionary import Dictionary
from interp.features.factorisation.factorise import semi_nmf
from interp.features.factorisation.nonnegative import nonnegative
from interp.results import Result


def top_neurons(dictionary: Dictionary, share: float = 0.01) -> Bool[Tensor, "latent d"]:
    """Mask of the largest entries of each direction: a share of them, at least one, never zeros."""
    size = dictionary.W_dec.abs()
    k = max(1, round(share * size.shape[1]))
    return torch.zeros_like(size, dtype=torch.bool).scatter(
        1, size.topk(k, dim=1).indices, True
    ) & (size > 0)


@torch_defaults()
def shared_neurons(dictionary: Dictionary, share: float = 0.01) -> np.ndarray:
    """The share of top neurons that each pair of latents has in common [latent latent].

    Example:
        >>> interp.replications.shared_neurons(parts)

    Args:
        dictionary: Whose directions are compared.
        share: The share of a direction's entries that are its top neurons.

    Returns:
        Shares of the smaller set; 1 on the diagonal.
    """
    top = top_neurons(dictionary, share).double()
    count = top.sum(1)
    return to_numpy(top @ top.T / torch.minimum(count[:, None], count[None]).clamp_min(1))


@torch_defaults()
def feature_hierarchy(
    dictionary: Dictionary,
    ranks: Sequence[int] = (50, 25),
    *,
    sparsity: float | None = 0.01,
    share: float = 0.01,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Result:
    """The share of top neurons that each pair of latents has in common, ordered by branch.

    The directions are factorised into ranks[0] directions, those again into ranks[1], and so on. A
    latent's parent is the one with its largest loading, scaled by the parent's length (-1: no
    parent).

    Example:
        >>> tree = interp.replications.feature_hierarchy(parts, (50, 25))
        >>> tree.plot()                        # branches are blocks along the diagonal
        >>> tree.metadata["parents"]["25"]     # the branch of each latent, in the picture's order

    Args:
        dictionary: Whose directions are factorised.
        ranks: How many directions in each level, falling.
        sparsity: The share of entries that a factorised direction keeps.
        share: The share of a direction's entries that are its top neurons.
        names: Names of the latents; their numbers if None.
        seed: Decides the factorisations.

    Returns:
        Axes "latent" and "other"; the diagonal is NaN, and latents that are all zero are left out.

    Raises:
        ValueError: If ranks do not fall, or there are too few names.

    Reference:
        Shafran et al. 2025, arXiv 2506.10920.
    """
    started = time.perf_counter()
    W_dec = dictionary.W_dec.cpu()
    alive = W_dec.norm(dim=1) > 0
    sizes = [int(alive.sum()), *ranks]
    if not ranks or any(not 1 <= b < a for a, b in zip(sizes, sizes[1:])):
        raise ValueError(
            f"ranks={tuple(ranks)}: each is smaller than the one before, the first than {sizes[0]}"
            " latents"
        )
    names = [str(i) for i in range(dictionary.n_latents)] if names is None else list(names)
    if len(names) != dictionary.n_latents:
        raise ValueError(
            f"{len(names)} names for {dictionary.n_latents} latents: one for each is needed"
        )
    below, parents, at = W_dec[alive], [], torch.arange(sizes[0])
    for rank in ranks:
        above, _ = semi_nmf(below, rank, sparsity=sparsity, seed=seed)
        loads = nonnegative(above @ above.T + 1e-6 * torch.eye(rank), below @ above.T) * above.norm(
            dim=1
        )
        parent = torch.where(loads.amax(1) > 0, loads.argmax(1), -1)
        at = torch.where(at >= 0, parent[at.clamp_min(0)], -1)
        parents.append(at)
        below = above
    order = np.lexsort([to_numpy(p) for p in parents])  # the last and coarsest decides first
    which = alive.nonzero()[:, 0][torch.from_numpy(order)]
    labels = [names[i] for i in which.tolist()]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({i})" for label, i in zip(labels, which.tolist())]
    values = shared_neurons(dictionary, share)[np.ix_(which, which)]
    np.fill_diagonal(values, np.nan)  # all of a latent's neurons are its own
    metadata: dict[str, Any] = {
        "dictionary": dictionary.name,
        "latents": which.tolist(),
        "ranks": list(ranks),
        "share": share,
        "seed": seed,
    }
    metadata |= {
        "parents": {str(r): p[torch.from_numpy(order)].tolist() for r, p in zip(ranks, parents)},
        "seconds": round(time.perf_counter() - started, 2),
    }
    return Result(
        values,
        ("latent", "other"),
        {"latent": labels, "other": labels},
        f"neurons shared in {dictionary.name}",
        "share of top neurons",
        metadata,
    )


def within_and_across(pairs: np.ndarray, groups: Sequence[str | None]) -> Result:
    """The mean of a pairwise measure within each group, and between it and all other groups.

    Example:
        >>> shared = interp.replications.shared_neurons(parts)
        >>> pairs = interp.replications.within_and_across(shared, concept_of_each_latent)
        >>> interp.studies.ratio_of_means(pairs.sel(pairs="within"), pairs.sel(pairs="across"))

    Args:
        pairs: The measure [latent latent].
        groups: The group of each latent, None for no group. A group of one is left out.

    Returns:
        Axis "pairs" ("within", "across"); examples are the groups.

    Raises:
        ValueError: If the number of groups is wrong, or fewer than two groups have two latents.
    """
    labels = np.array([g or "" for g in groups])
    if pairs.shape != (len(labels), len(labels)):
        raise ValueError(
            f"{len(labels)} groups for pairs of {pairs.shape}: one for each latent is needed"
        )
    names = [g for g in dict.fromkeys(labels.tolist()) if g and (labels == g).sum() > 1]
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} groups have two latents or more, two are needed: there is nothing to"
            " compare"
        )
    rows = []
    for name in names:
        inside_group, outside = labels == name, (labels != name) & (labels != "")
        n = inside_group.sum()
        mean_inside = (
            pairs[np.ix_(inside_group, inside_group)].sum()
            - np.trace(pairs[np.ix_(inside_group, inside_group)])
        ) / (n * (n - 1))
        rows.append((mean_inside, pairs[np.ix_(inside_group, outside)].mean()))
    examples = np.array(rows).T
    metadata = {"groups": names}
    return Result(
        examples.mean(1),
        ("pairs",),
        {"pairs": ["within", "across"]},
        "pairs within groups and across",
        "mean",
        metadata,
        examples,
    )
