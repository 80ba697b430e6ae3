"""A hierarchy of features: directions factorised again, into fewer, say which belong together."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interp._numbers import to_numpy
from interp.features.dictionary import Dictionary
from interp.features.factorisation.factorise import semi_nmf
from interp.features.factorisation.nonnegative import nonnegative
from interp.results import Result


def top_neurons(dictionary: Dictionary, share: float = 0.01) -> Bool[Tensor, "latent d"]:
    """Which entries of each direction are its largest (a share of them, at least one; entries that
    are zero never are).
    """
    size = dictionary.W_dec.abs()
    k = max(1, round(share * size.shape[1]))
    return torch.zeros_like(size, dtype=torch.bool).scatter(
        1, size.topk(k, dim=1).indices, True
    ) & (size > 0)


def shared_neurons(dictionary: Dictionary, share: float = 0.01) -> np.ndarray:
    """The share of top neurons that each two latents have in common [latent latent], of the smaller
    set.
    """
    top = top_neurons(dictionary, share).double()
    count = top.sum(1)
    return to_numpy(top @ top.T / torch.minimum(count[:, None], count[None]).clamp_min(1))


def feature_hierarchy(
    dictionary: Dictionary,
    ranks: Sequence[int] = (50, 25),
    *,
    sparsity: float | None = 0.01,
    share: float = 0.01,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Result:
    """The share of top neurons that each two latents have in common, latents of one branch side by
    side.

    The directions are factorised as activations were, into ranks[0] of them, those again into
    ranks[1], and so on; a latent's parent is the one with its largest loading, scaled by the
    parent's length (-1: it loads on none).

    Example:
        >>> tree = interp.replications.feature_hierarchy(parts, (50, 25))
        >>> tree.plot()                                   # branches are blocks along the diagonal
        >>> tree.metadata["parents"]["25"]                   # for each latent (in the picture's order), the branch it is in

    Args:
        names: Of the latents ("0", "1", ... unless given).

    Reference:
        Latents that are all zero are left out; the diagonal is NaN. (Shafran et al. 2025, arXiv
        2506.10920.)
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
    """The mean of pairs [latent latent] within each group, and between its members and those of
    other groups.

    Example:
        >>> interp.replications.within_and_across(interp.replications.shared_neurons(parts), concept_of_each_latent)

    Args:
        groups: One a latent, None for latents of no group. A group of one has no pair and is left
            out. The groups are the examples too: the ratio's interval is
            `interp.studies.share(r.sel(pairs="within"), r.sel(pairs="across"))`.
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
