"""Attention patterns, as arrays with names."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import run
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.task import Task


@torch_defaults()
@any_prompts(raw=True)
def attention_patterns(
    model: Model, task: Any, where: str | Sequence[str] = "L*H*", *, weighted: bool = False
) -> Result:
    """Attention of each head from every destination to every source token, each row summing to one.

    Example:
        >>> attention_patterns(model, task, "L23H3").plot()
        >>> attention_patterns(model, task, "L23H3", weighted=True).plot()

    Args:
        model: A loaded model.
        task: A task (its clean prompts), a text, or token ids [batch pos] or [pos].
        where: Heads, "L*H*" or "L23H*" or "L23H3", or a list of single heads.
        weighted: Multiply by the norm of what the source's value adds to the stream through the
            head's output matrix; rows then have any sum.

    Returns:
        Share of attention (or norm in the residual stream), axes: the stars (for a list, "site"),
        then dest and src, one value per example kept. Several prompts are averaged position by
        position, which means something only where they are aligned.

    Raises:
        ValueError: If `where` names no heads.

    Reference:
        weighted: Kobayashi et al. 2020 (arXiv 2004.10102).
    """
    started = time.perf_counter()
    if not isinstance(where, str):
        return _side_by_side(
            [attention_patterns(model, task, head, weighted=weighted) for head in where], where
        )
    tokens, a_task = prompt_tokens(task)
    site = _heads(where)
    grid = sites.expand(site, bridge.dims(model))
    key = f"{site}.pattern"
    values = str(Site("kv", "v", site.layer, sites.STAR))
    cache = run(model, tokens, keep=[key, values] if weighted else [key], last_only=True).kept
    pattern = cache[key]
    if weighted:
        pattern = pattern * value_norms(model, site, cache[values])[..., None, :]
    examples = to_numpy(pattern.movedim(-3, -1))  # [... dest src batch]
    labels = token_labels(model, tokens[0])
    name, unit = (
        ("attention x value", "norm in the residual stream")
        if weighted
        else ("attention", "share of attention")
    )
    metadata = sweep.provenance(
        model, a_task, "attention patterns", started, pattern=str(grid.pattern), backend="hooks"
    )
    coords = {**grid.coords, "dest": labels, "src": labels}
    return Result(
        examples.mean(-1), (*grid.dims, "dest", "src"), coords, name, unit, metadata, examples
    )


def _side_by_side(each: Sequence[Result], heads: Sequence[str]) -> Result:
    """The patterns of single heads on the axis "site"."""
    if not each or any(r.dims != ("dest", "src") for r in each):
        raise ValueError(
            f"a list holds single heads, got {list(heads)} (try ['L23H3', 'L29H1'], or the pattern"
            " 'L23H*')"
        )
    first, examples = each[0], np.stack([r.examples for r in each])
    metadata = {**first.metadata, "pattern": " ".join(heads)}
    coords = {"site": list(heads), **first.coords}
    return Result(
        examples.mean(-1),
        ("site", "dest", "src"),
        coords,
        first.name,
        first.unit,
        metadata,
        examples,
    )


def value_norms(model: Model, heads: Site, values: Tensor) -> Tensor:
    """Norms of v @ W_O [... batch pos] of the heads, from v [(layer) kv_head batch pos d_head]."""
    d = bridge.dims(model)
    every = sites.expand("L*H0", d).coords["layer"]
    layers = every if heads.layer == sites.STAR else [heads.layer]
    W_O = torch.stack(
        [bridge.head_matrix(model, layer) for layer in layers]
    )  # [layer head d_head d_model]
    gram = W_O @ W_O.transpose(-1, -2)  # v gram v is the squared norm: d_model never appears
    v = (values if heads.layer == sites.STAR else values[None]).repeat_interleave(
        d.group, 1
    )  # query heads share values
    norms = torch.einsum("lhbpi,lhij,lhbpj->lhbp", v, gram, v).clamp_min(0).sqrt()
    norms = norms if heads.index == sites.STAR else norms[:, heads.index]
    return norms if heads.layer == sites.STAR else norms[0]


@torch_defaults()
@any_prompts(reads=True)
def attention_between(model: Model, task: Any, at: str, to: str, where: str = "L*H*") -> Result:
    """Attention of each head from one named position to another, per example.

    Example:
        >>> attention_between(model, task, "END", "IO").top(5)  # who looks at the indirect object?

    Args:
        model: A loaded model.
        task: A task with these positions.
        at: The position that attends.
        to: The position that is attended to.
        where: Heads.

    Returns:
        Share of attention (0 to 1), the stars of `where` as axes, one value per example kept.
        `metadata["even"]` is what a head gets that attends evenly to all it can see.

    Raises:
        ValueError: If `to` comes after `at` in some prompt.
    """
    started = time.perf_counter()
    grid = sites.expand(_heads(where), bridge.dims(model))
    key = f"{grid.pattern}.pattern@{at}"
    destination, source = task.position(at), task.position(to)
    if bool((source > destination).any()):
        raise ValueError(
            f"{to!r} comes after {at!r} in some prompts: no causal head can attend from {at!r}"
            " to it"
        )
    rows = run(model, task, keep=[key], last_only=True).kept[key]  # [... batch src]
    index = source.to(rows.device).expand(rows.shape[:-1])[..., None]
    examples = to_numpy(rows.gather(-1, index)[..., 0])
    even = float((1.0 / (destination + 1)).mean())
    metadata = sweep.provenance(
        model,
        task,
        f"attention from {at} to {to}",
        started,
        pattern=str(grid.pattern),
        even=even,
        backend="hooks",
    )
    name = f"attention {at} to {to}"
    return Result(
        examples.mean(-1),
        grid.dims,
        dict(grid.coords),
        name,
        "share of attention",
        metadata,
        examples,
    )


def token_labels(model: Model, tokens: Tensor) -> list[str]:
    """Each token of one prompt as readable text, made unique by its position."""
    texts = [model.tokenizer.decode([int(t)]).replace("\n", "\\n") for t in tokens]
    return [f"{i} {text.strip() or repr(text)[1:-1]}" for i, text in enumerate(texts)]


def _heads(where: str) -> Site:
    """The address, if it is of heads."""
    site = Site.parse(where)
    if site.family != "head" or site.part != "out" or site.pos is not None:
        raise ValueError(f"attention belongs to heads, got {where!r} (try 'L*H*' or 'L23H3')")
    return site


def prompt_tokens(task: Any) -> tuple[Tensor, Any]:
    """The token ids [batch pos], and the task or None, of a task or of token ids."""
    if isinstance(task, Task):
        return task.clean, task
    tokens = torch.as_tensor(task)
    return (tokens[None] if tokens.ndim == 1 else tokens), None
