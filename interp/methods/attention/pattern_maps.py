"""Every head's attention on a text: profiles by distance, and principal components of patterns."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import run
from interp.methods.attention.attention_patterns import prompt_tokens
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge
from interp.results import Result


@torch_defaults()
@any_prompts(raw=True)
def attention_by_distance(
    model: Model, task: Any, *, groups: Mapping[str, Sequence[int]] | None = None
) -> Result:
    """Attention of each head to the token 0, 1, 2, ... places back, position 0 left out.

    Example:
        >>> attention_by_distance(model, tokens).sel(layer=3, head=2).plot()
        >>> groups = {"early": range(10), "late": range(20, 30)}
        >>> attention_by_distance(model, tokens, groups=groups).plot()      # means of heads

    Args:
        model: A loaded model.
        task: A task, a text, or token ids [batch pos].
        groups: Layers by name; the values are then means over these layers' heads.

    Returns:
        Share of attention, axes layer, head, distance (or layers, distance), one value per example
        kept: the mean over the destinations that have a token so far back. What goes to position 0,
        the sink, counts nowhere. `metadata["even"]` is the profile of a head that attends evenly.

    Raises:
        ValueError: If a group has no layers, or one that the model does not have.
    """
    started = time.perf_counter()
    tokens, a_task = prompt_tokens(task)
    pattern = _patterns(model, tokens)[..., 1:, 1:]
    examples = to_numpy(_by_distance(pattern).permute(0, 1, 3, 2))
    n = tokens.shape[1] - 1
    even = torch.tril(torch.ones(n, n)) / torch.arange(2, n + 2)[:, None]
    metadata = sweep.provenance(
        model,
        a_task,
        "distance profile",
        started,
        even=_by_distance(even).tolist(),
        backend="hooks",
    )
    name, d = "attention by distance back", bridge.dims(model)
    if groups is not None:
        invalid = [i for layers in groups.values() for i in layers if not 0 <= i < d.n_layers]
        if invalid or not groups or not all(len(layers) for layers in groups.values()):
            raise ValueError(
                f"groups name layers from 0 to {d.n_layers - 1}, for example {{'early': range(2)}},"
                f" got {dict(groups)}"
            )
        examples = np.stack([examples[list(layers)].mean((0, 1)) for layers in groups.values()])
        coords = {"layers": list(groups), "distance": list(range(n))}
        return Result(
            examples.mean(-1),
            ("layers", "distance"),
            coords,
            name,
            "share of attention",
            metadata,
            examples,
        )
    coords = {
        "layer": list(range(d.n_layers)),
        "head": list(range(d.n_heads)),
        "distance": list(range(n)),
    }
    return Result(
        examples.mean(-1),
        ("layer", "head", "distance"),
        coords,
        name,
        "share of attention",
        metadata,
        examples,
    )


def _by_distance(pattern: Float[Tensor, "*more dest src"]) -> Float[Tensor, "*more distance"]:
    """Mean attention at each distance back."""
    return torch.stack(
        [pattern.diagonal(-k, -2, -1).mean(-1) for k in range(pattern.shape[-1])], -1
    )


@torch_defaults()
@any_prompts(raw=True, join=False)
def pattern_components(
    model: Model,
    task: Any,
    *,
    components: int = 2,
    sink: bool = True,
    shuffled: bool = False,
    seed: int = 0,
) -> Result:
    """Principal components of all heads' attention patterns: where each head lies among the others.

    The patterns of all prompts, flattened and laid end to end, are one vector per head.

    Example:
        >>> pattern_components(model, tokens).plot()                # a map for each component

    Args:
        model: A loaded model.
        task: A task, a text, or token ids [batch pos].
        components: How many.
        sink: False leaves out the attention to position 0.
        shuffled: Permute every row of every pattern first, position 0 staying in place: a null with
            the same shares and no shape.
        seed: Draws the permutations.

    Returns:
        Coordinates (share of attention, summed), axes component, layer, head. The sign of a
        component is such that the largest coordinate is positive.

    Raises:
        ValueError: If there are more components than heads.

    Reference:
        Li et al. 2023 (arXiv 2303.13731) use an autoencoder; principal components are its linear
        case.
    """
    started = time.perf_counter()
    tokens, a_task = prompt_tokens(task)
    rows = torch.cat(_flat(_patterns(model, tokens), sink, shuffled, seed), 1)
    rows = rows - rows.mean(0)
    u, s, _ = torch.linalg.svd(rows @ rows.T)
    _check(components, len(rows))
    coordinates = u[:, :components].T * s[:components, None].clamp_min(0).sqrt()
    largest = coordinates.gather(1, coordinates.abs().argmax(1, keepdim=True))
    coordinates = coordinates * largest.sign()
    d = bridge.dims(model)
    share = (s / s.sum())[:components]
    metadata = sweep.provenance(
        model,
        a_task,
        "principal components of patterns",
        started,
        explained=share.tolist(),
        backend="hooks",
    )
    coords = {
        "component": list(range(1, components + 1)),
        "layer": list(range(d.n_layers)),
        "head": list(range(d.n_heads)),
    }
    values = to_numpy(coordinates.unflatten(1, (d.n_layers, d.n_heads)))
    return Result(
        values,
        ("component", "layer", "head"),
        coords,
        "pattern space",
        "share of attention, summed",
        metadata,
    )


@torch_defaults()
@any_prompts(raw=True)
def pattern_variance_explained(
    model: Model,
    task: Any,
    *,
    components: int = 10,
    sink: bool = True,
    shuffled: bool = False,
    seed: int = 0,
) -> Result:
    """Share of the variance of all heads' attention patterns in the first principal components.

    Example:
        >>> pattern_variance_explained(model, tokens, components=10)
        >>> pattern_variance_explained(model, tokens, components=10, shuffled=True)     # its null

    Args:
        model: A loaded model.
        task: A task, a text, or token ids [batch pos].
        components: How many components count.
        sink: False leaves out the attention to position 0.
        shuffled: Permute every row first, as in `pattern_components`.
        seed: Draws the permutations.

    Returns:
        One share of the variance over heads (0 to 1), one value per prompt kept: each prompt has
        components of its own. With as many components as heads minus one it is 1.
    """
    started = time.perf_counter()
    tokens, a_task = prompt_tokens(task)
    shares = []
    for rows in _flat(_patterns(model, tokens), sink, shuffled, seed):
        rows = rows - rows.mean(0)
        _check(components, len(rows))
        squares = torch.linalg.eigvalsh(rows @ rows.T).clamp_min(0)
        shares.append(squares[-components:].sum() / squares.sum())
    examples = to_numpy(torch.stack(shares))
    metadata = sweep.provenance(
        model,
        a_task,
        "explained variance of patterns",
        started,
        components=components,
        backend="hooks",
    )
    name = f"variance explained by {components} components" + (
        " of shuffled patterns" if shuffled else ""
    )
    return Result(examples.mean(-1), (), {}, name, "share of variance", metadata, examples)


def _patterns(model: Model, tokens: Tensor) -> Float[Tensor, "layer head batch dest src"]:
    """All attention patterns of the prompts."""
    if tokens.shape[1] < 3:
        raise ValueError(
            f"prompts of {tokens.shape[1]} tokens have no distances: 3 or more are needed"
        )
    return run(model, tokens, keep=["L*H*.pattern"], last_only=True).kept["L*H*.pattern"].float()


def _flat(
    pattern: Float[Tensor, "layer head batch dest src"], sink: bool, shuffled: bool, seed: int
) -> list[Tensor]:
    """For each prompt the patterns [head, entries up to the diagonal], rows permuted if asked."""
    n, g = pattern.shape[-1], torch.Generator().manual_seed(seed)
    if shuffled:
        pattern = pattern.clone()
        for dest in range(2, n):
            row = pattern[..., dest, 1 : dest + 1]
            order = torch.rand(row.shape, generator=g).argsort(-1)
            pattern[..., dest, 1 : dest + 1] = row.gather(-1, order)
    visible = torch.tril(torch.ones(n, n, dtype=torch.bool))
    visible[:, 0] &= sink
    return [prompt[..., visible].flatten(0, 1) for prompt in pattern.unbind(2)]


def _check(components: int, heads: int) -> None:
    if not 1 <= components <= heads:
        raise ValueError(
            f"components={components}: between 1 and the number of heads, {heads} (try"
            " components=2)"
        )
