"""Attention sinks: positions that draw attention from everywhere, and how little they carry."""

import time
from typing import Any

import torch
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import run
from interp.methods.attention.attention_patterns import _heads, prompt_tokens
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge
from interp.results import Result


@torch_defaults()
@any_prompts(raw=True)
def attention_received(
    model: Model, task: Any, where: str = "L*H*", *, to_one: bool = False
) -> Result:
    """Attention that each position gets, mean over the queries that see it (itself and later).

    Example:
        >>> received = attention_received(model, tokens)
        >>> received.sel(pos=0).plot()                  # the first position, head by head

    Args:
        model: A loaded model.
        task: A task (its clean prompts), a text, or token ids [batch pos] or [pos].
        where: Heads.
        to_one: Divide each row by its sum first, for attention whose rows do not sum to one (a row
            of zeros stays so).

    Returns:
        Share of attention, axes: the stars of `where`, then pos, one value per example kept. A head
        that looks evenly at all it sees gives about ln(n) / n to the first of n positions.

    Reference:
        Gu et al. 2024 (arXiv 2410.10781). They call a head a sink at a position when this is above
        0.3 at 64 tokens.
    """
    started = time.perf_counter()
    tokens, a_task = prompt_tokens(task)
    grid = sites.expand(_heads(where), bridge.dims(model))
    key = f"{grid.pattern}.pattern"
    received = torch.cat(
        [
            _attention_received(run(model, part, keep=[key], last_only=True).kept[key], to_one)
            for part in _parts(tokens)
        ],
        -2,
    )
    metadata = sweep.provenance(
        model,
        a_task,
        "attention received",
        started,
        pattern=str(grid.pattern),
        backend="hooks",
        n=len(tokens),
    )
    examples = to_numpy(received.movedim(-2, -1))  # [... pos batch]
    coords = {**grid.coords, "pos": list(range(tokens.shape[1]))}
    return Result(
        examples.mean(-1),
        (*grid.dims, "pos"),
        coords,
        "attention received",
        "share of attention",
        metadata,
        examples,
    )


def _attention_received(pattern: Tensor, to_one: bool) -> Tensor:
    """What each source gets [... batch src] in patterns [... batch dest src]."""
    if to_one:
        total = pattern.sum(-1, keepdim=True)
        pattern = torch.where(total == 0, pattern, pattern / total)
    n = pattern.shape[-1]
    return pattern.sum(-2) / torch.arange(n, 0, -1, device=pattern.device)


@torch_defaults()
@any_prompts(raw=True)
def activation_norms(model: Model, task: Any, where: str = "L*KV*.v") -> Result:
    """Euclidean norm of the activations at these sites, at each position.

    Example:
        >>> values = activation_norms(model, tokens, "L*KV*.v")
        >>> values.mean("layer", "kv_head").plot()                  # a sink's values are short
        >>> activation_norms(model, tokens, "resid_post.*").plot()  # its stream is long

    Args:
        model: A loaded model.
        task: A task (its clean prompts), a text, or token ids. For a task whose positions have
            names, `residual_norms` labels the positions of the stream.
        where: The sites; with a position, the norm there.

    Returns:
        The norm in the site's own unit, axes: the stars of `where`, then pos, one value per example
        kept.
    """
    started = time.perf_counter()
    tokens, a_task = prompt_tokens(task)
    names = {"END": None} if a_task is None else a_task.positions
    grid = sites.expand(where, bridge.dims(model), tokens.shape[1], names)
    key = str(grid.pattern)
    at_one = grid.pattern.pos not in (None, sites.STAR)
    if at_one:
        places = a_task.positions if a_task is not None else None
        activations = run(model, tokens, keep=[key], positions=places, last_only=True).kept[key]
        norms = [activations.norm(dim=-1)[..., None]]
    else:
        norms = [
            run(model, part, keep=[key], last_only=True).kept[key].norm(dim=-1)
            for part in _parts(tokens)
        ]
    metadata = sweep.provenance(
        model, a_task, "norms", started, pattern=key, backend="hooks", n=len(tokens)
    )
    examples = to_numpy(torch.cat(norms, -2).movedim(-2, -1))
    if at_one:
        examples, dims, coords = examples[..., 0, :], grid.dims, dict(grid.coords)
    else:
        dims, coords = (*grid.dims, "pos"), {**grid.coords, "pos": list(range(tokens.shape[1]))}
    return Result(examples.mean(-1), dims, coords, f"norm of {key}", "norm", metadata, examples)


def _parts(tokens: Tensor) -> list[Tensor]:
    """A few prompts at a time: patterns of all layers are large."""
    size = max(1, sweep.TOKENS_PER_RUN // tokens.shape[1])
    return [tokens[first : first + size] for first in range(0, len(tokens), size)]
