"""Every head's attention on a text, drawn together: profiles by distance, and the space its
patterns lie in.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import run
from interp.methods.attention.attention_patterns import prompt_tokens
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge
from interp.results import Result


@any_prompts(raw=True)
def attention_by_distance(
    model: Model, task: Any, *, groups: Mapping[str, Sequence[int]] | None = None
) -> Result:
    """How much each head attends to the token 0, 1, 2, ... places back, position 0 left out.

    Example:
        >>> attention_by_distance(model, tokens).sel(layer=3, head=2).plot()
        >>> attention_by_distance(model, tokens, groups={"early": range(10), "late": range(20, 30)}).plot()    # means of heads

    Args:
        task: A task, or token ids [batch pos]. Unit: share of attention, the mean over the
            destinations that have a token so far back (a share that goes to position 0, the sink,
            counts nowhere).
        groups: Layers by name; the axes are then layers and distance, the mean over these layers'
            heads. `metadata["even"]` is the profile of a head that attends evenly to all it can
            see.

    Returns:
        Axes: layer, head, distance.
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
        invalid = [i for some in groups.values() for i in some if not 0 <= i < d.n_layers]
        if invalid or not groups or not all(len(some) for some in groups.values()):
            raise ValueError(
                f"groups name layers from 0 to {d.n_layers - 1}, for example {{'early': range(2)}},"
                f" got {dict(groups)}"
            )
        examples = np.stack([examples[list(some)].mean((0, 1)) for some in groups.values()])
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
    return torch.stack(
        [pattern.diagonal(-k, -2, -1).mean(-1) for k in range(pattern.shape[-1])], -1
    )


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
    """Where each head's attention pattern lies among all heads' patterns: its principal components.

    Example:
        >>> pattern_components(model, tokens).plot()                     # a map for each component

    Args:
        task: A task, or token ids [batch pos]. The patterns of all prompts, flattened and laid end
            to end, are one vector a head. The sign of a component is such that the largest
            coordinate is positive. sink=False leaves out the attention to position 0.
        shuffled: Every row of every pattern is permuted first, position 0 staying in place: a null
            that has the same shares and no shape.

    Returns:
        Axes: component, layer, head; unit: share of attention, summed.

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
    """The share of the variance of all heads' attention patterns that the first principal
    components explain.

    Each prompt has components of its own, so that prompts are examples. Options and source: see
    `pattern_components`. Unit: share of the variance over heads (0 to 1). With as many components as
    heads less one it is 1.

    Example:
        >>> pattern_variance_explained(model, tokens, components=10)                     # one number, an example a prompt
        >>> pattern_variance_explained(model, tokens, components=10, shuffled=True)      # its null
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
    if tokens.shape[1] < 3:
        raise ValueError(
            f"prompts of {tokens.shape[1]} tokens have no distances: 3 or more are needed"
        )
    return run(model, tokens, keep=["L*H*.pattern"], last_only=True).kept["L*H*.pattern"].float()


def _flat(
    pattern: Float[Tensor, "layer head batch dest src"], sink: bool, shuffled: bool, seed: int
) -> list[Tensor]:
    """For each prompt the patterns [head, entries below the diagonal], rows permuted from source 1
    on if asked.
    """
    n, g = pattern.shape[-1], torch.Generator().manual_seed(seed)
    if shuffled:
        pattern = pattern.clone()
        for dest in range(2, n):
            row = pattern[..., dest, 1 : dest + 1]
            order = torch.rand(row.shape, generator=g).argsort(-1)
            pattern[..., dest, 1 : dest + 1] = row.gather(-1, order)
    visible = torch.tril(torch.ones(n, n, dtype=torch.bool))
    visible[:, 0] &= sink
    return [one[..., visible].flatten(0, 1) for one in pattern.unbind(2)]


def _check(components: int, heads: int) -> None:
    if not 1 <= components <= heads:
        raise ValueError(
            f"components={components}: between 1 and the number of heads, {heads} (try"
            " components=2)"
        )
