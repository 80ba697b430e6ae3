"""Dictionaries compared with each other, with known directions, and with labels."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp.features.dictionary import Dictionary
from interp.methods.probing.logistic import fitted
from interp.results import Result


@torch_defaults()
def matched_cosine_similarity(learned: Dictionary, truth: Dictionary) -> Result:
    """The mean cosine of the directions of two dictionaries, matched one to one (MCC).

    Example:
        >>> features.matched_cosine_similarity(sae, made.truth)   # known directions
        >>> features.matched_cosine_similarity(seed_0, seed_1)       # what two seeds agree on

    Args:
        learned: One dictionary.
        truth: The other one, of the same width.

    Returns:
        The mean absolute cosine, one value per pair kept. There are as many pairs as the smaller
        dictionary has latents. Two random dictionaries do not reach 0.

    Raises:
        ValueError: If the two write activations of different widths.

    Reference:
        Pairs are the matching with the largest sum (the Hungarian method), as in arXiv 2505.20254.
    """
    from scipy.optimize import linear_sum_assignment

    started = time.perf_counter()
    if learned.d_out != truth.d_out:
        raise ValueError(
            f"{learned.name} writes {learned.d_out} numbers and {truth.name} {truth.d_out}:"
            " there is no cosine between them"
        )
    left, right = (
        normalize(dictionary.W_dec.float().cpu(), dim=-1) for dictionary in (learned, truth)
    )
    cosines = to_numpy((left @ right.T).abs())
    left, right = linear_sum_assignment(-cosines)
    pairs = cosines[left, right]
    metadata = {
        "dictionaries": [learned.name, truth.name],
        "latents": [learned.n_latents, truth.n_latents],
        "pairs": len(pairs),
    }
    metadata |= {
        "above 0.9": int((pairs > 0.9).sum()),
        "seconds": round(time.perf_counter() - started, 2),
    }
    return Result(
        float(pairs.mean()),
        (),
        {},
        f"matched directions of {learned.name} and {truth.name}",
        "mean cosine",
        metadata,
        pairs,
    )


@torch_defaults()
def probe(
    dictionary: Dictionary,
    x: Float[Tensor, "n d_in"],
    labels: Bool[Tensor, "n"],
    *,
    ks: Sequence[int] = (1, 2, 5, 16),
    seed: int = 0,
) -> Result:
    """Balanced accuracy with which k latents predict a property of tokens, for each k.

    Example:
        >>> capital = torch.tensor([w[:1].isupper() for w in words])
        >>> features.probe(sae, acts.of(), capital)

    Args:
        dictionary: Whose latents are used.
        x: Activations [n d_in].
        labels: Bools [n], at least 8 true and 8 false.
        ks: Numbers of latents.
        seed: Decides the halves.

    Returns:
        Axis "latents": each k, and last "input", a probe on x itself, which shows what can be
        found. The k latents whose means differ most (in standard deviations) on the first half
        enter a logistic probe that is fitted there. One value per token of the other half, weighted
        so that both classes count alike.

    Raises:
        ValueError: If labels do not fit x, or one class has fewer than 8 tokens.

    Reference:
        k-sparse probing: Gurnee et al. 2023, arXiv 2305.01610.
    """
    if labels.shape != x.shape[:1] or min(int(labels.sum()), int((~labels).sum())) < 8:
        raise ValueError(
            f"labels are one bool for each of {len(x)} vectors, at least 8 of each, got"
            f" {tuple(labels.shape)} with {int(labels.sum())} true"
        )
    x, labels = x.cpu(), labels.cpu()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    fit, test = order[: len(x) // 2], order[len(x) // 2 :]
    with torch.no_grad():
        z = dictionary.encode(x)
    yes, no = z[fit][labels[fit]], z[fit][~labels[fit]]
    apart = (yes.mean(0) - no.mean(0)).abs() / (z[fit].std(0) + 1e-6)
    ranked = apart.argsort(descending=True)
    right = [_probed(z[:, ranked[:k]], labels, fit, test) for k in ks] + [
        _probed(x, labels, fit, test)
    ]
    examples = np.stack(right)
    metadata = {
        "dictionary": dictionary.name,
        "tokens": len(x),
        "true": int(labels.sum()),
        "best": ranked[: max(ks)].tolist(),
        "seed": seed,
    }
    coords = {"latents": [*map(str, ks), "input"]}
    return Result(
        examples.mean(-1),
        ("latents",),
        coords,
        f"probing {dictionary.name}",
        "balanced accuracy",
        metadata,
        examples,
    )


def _probed(z: Tensor, labels: Tensor, fit: Tensor, test: Tensor) -> np.ndarray:
    """Whether each test token is predicted rightly [n], weighted to balance the classes."""
    w, b = fitted(z[fit], labels[fit])
    right = ((z[test] @ w + b > 0) == labels[test]).double()
    share = labels[test].double().mean().clamp(1e-9, 1 - 1e-9)
    return to_numpy(right * torch.where(labels[test], 0.5 / share, 0.5 / (1 - share)))
