"""Dictionaries that any other must beat: random directions, principal components, class means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp.features.activations import Activations
from interp.features.dictionary import Dictionary
from interp.features.prompt_activations import PromptActivations


@torch_defaults()
def baselines(
    acts: Activations, k: int, *, width: int | None = None, site: str | None = None, seed: int = 0
) -> list[Dictionary]:
    """Two top-k dictionaries that were not trained: random directions, and principal components.

    Both keep the k largest projections of an activation's difference from the mean. The latents of
    the random directions are multiplied by the one number that fits these activations best. PCA has
    each component and its opposite, because latents are positive; no k orthogonal directions do
    better.

    Example:
        >>> random, pca = features.baselines(acts, k=32, width=2304)

    Args:
        acts: The activations.
        k: How many latents are on.
        width: How many random directions; four per dimension if None.
        site: Which site of the activations; the first if None.
        seed: Decides the random directions.

    Returns:
        A list of two dictionaries, named "random ..." and "pca ...".

    Raises:
        ValueError: If k is larger than the number of dimensions.
    """
    site = site or acts.sites[0]
    x = acts.of(site)
    d = x.shape[1]
    if not 1 <= k <= d:
        raise ValueError(f"k={k}: of {d} components 1 to {d} can be on")
    middle = x.mean(0)
    metadata = {"model": acts.metadata.get("model"), "tokens": len(x), "seed": seed, "k": k}
    rows = torch.randn(width or 4 * d, d, generator=torch.Generator().manual_seed(seed)).to(x)
    random = _tied(
        rows / rows.norm(dim=-1, keepdim=True), middle, k, site, f"random {len(rows)}", metadata
    )
    random = _scaled(random, x[:: max(1, len(x) // 4096)])
    components = torch.linalg.eigh(torch.cov(x.T.double()))[1].T.flip(0).float()
    pca = _tied(torch.cat([components, -components]), middle, k, site, f"pca {d}", metadata)
    return [random, pca]


def identity(site: str, d: int) -> Dictionary:
    """The dictionary that loses nothing: each coordinate and its opposite is a latent.

    Example:
        >>> features.evaluate(model, features.identity("resid_post.15", 576))  # loses nothing

    Args:
        site: The address that it reads.
        d: The width of the site.

    Returns:
        A dictionary with 2 d latents.
    """
    both = torch.cat([torch.eye(d), -torch.eye(d)])
    weights = {
        "W_enc": both.T.contiguous(),
        "b_enc": torch.zeros(2 * d),
        "W_dec": both,
        "b_dec": torch.zeros(d),
    }
    return Dictionary(
        "standard", weights, site, "identity", settings={"apply_b_dec_to_input": False}
    )


@torch_defaults()
def mean_differences(
    read: PromptActivations, labels: Sequence[str], site: str | None = None
) -> Dictionary:
    """The dictionary with one direction per label: the label's mean minus the mean of all others.

    Example:
        >>> means = features.mean_differences(find, concepts)        # it knows the labels

    Args:
        read: What `prompt_activations` returned.
        labels: One per prompt; means are over all tokens of the prompts.
        site: Which site of the activations; the first if None.

    Returns:
        A dictionary whose latents are projections above the mean, named by metadata["names"].
    """
    site = site or read.activations.sites[0]
    x, label_of_token = read.activations.of(site), np.array(labels)[to_numpy(read.prompt)]
    names = list(dict.fromkeys(labels))
    rows = torch.stack(
        [x[label_of_token == c].mean(0) - x[label_of_token != c].mean(0) for c in names]
    )
    return _projections(
        rows, x.mean(0), site, "difference of means", read.activations.metadata | {"names": names}
    )


@torch_defaults()
def random_sparse(
    acts: Activations,
    rank: int = 100,
    *,
    sparsity: float = 0.01,
    site: str | None = None,
    seed: int = 0,
) -> Dictionary:
    """The dictionary of random directions with as few entries as those of a factorisation.

    It shows what choosing the best among so many directions gives by chance.

    Example:
        >>> features.random_sparse(acts, rank=100, sparsity=0.01)

    Args:
        acts: The activations; an entry is a normal number times the neuron's standard deviation.
        rank: How many directions.
        sparsity: The share of entries that are not zero, at least one.
        site: Which site of the activations; the first if None.
        seed: Decides the directions.

    Returns:
        A dictionary whose latents are projections above the mean.

    Raises:
        ValueError: If rank is below 1 or sparsity not in (0, 1].
    """
    site = site or acts.sites[0]
    x, g = acts.of(site), torch.Generator().manual_seed(seed)
    if not 0 < sparsity <= 1 or rank < 1:
        raise ValueError(
            f"rank={rank}, sparsity={sparsity}: at least one direction, and a share of entries"
            " above 0 and at most 1"
        )
    keep = max(1, round(sparsity * x.shape[1]))
    at = torch.stack([torch.randperm(x.shape[1], generator=g)[:keep] for _ in range(rank)])
    drawn = torch.randn(rank, keep, generator=g)
    rows = torch.zeros(rank, x.shape[1]).scatter(1, at, drawn).to(x) * x.std(0)
    return _projections(
        rows,
        x.mean(0),
        site,
        f"random sparse {rank}",
        {**acts.metadata, "sparsity": sparsity, "seed": seed},
    )


def _tied(
    directions: Tensor, middle: Tensor, k: int, site: str, name: str, metadata: dict
) -> Dictionary:
    """A top-k dictionary whose encoder is its decoder's transpose."""
    weights = {
        "W_enc": directions.T.contiguous(),
        "b_enc": directions.new_zeros(len(directions)),
        "W_dec": directions,
        "b_dec": middle,
    }
    return Dictionary(
        "topk",
        weights,
        site,
        name,
        settings={"k": k, "apply_b_dec_to_input": True},
        metadata=metadata,
    )


def _scaled(dictionary: Dictionary, x: Tensor) -> Dictionary:
    """The same dictionary with its latents multiplied by the number that fits best.

    Overlapping directions would otherwise overshoot.
    """
    out, want = dictionary.reconstruct(x) - dictionary.b_dec, x - dictionary.b_dec
    factor = float((out * want).sum() / out.pow(2).sum())
    return Dictionary(
        dictionary.kind,
        {**dictionary.weights, "W_enc": dictionary.weights["W_enc"] * factor},
        dictionary.site,
        dictionary.name,
        settings=dictionary.settings,
        metadata=dictionary.metadata,
    )


def _projections(
    rows: Tensor, middle: Tensor, site: str, name: str, metadata: dict[str, Any]
) -> Dictionary:
    """Directions [latent d] as a dictionary whose latents are the projections above the mean."""
    unit = rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    weights = {
        "W_enc": unit.T.contiguous(),
        "b_enc": unit.new_zeros(len(unit)),
        "W_dec": unit,
        "b_dec": middle,
    }
    return Dictionary(
        "standard", weights, site, name, settings={"apply_b_dec_to_input": True}, metadata=metadata
    )
