"""How much is worked on at once: on a CPU what its cache holds, on an accelerator what fills it."""

from collections.abc import Iterable
from typing import Any

import torch

from interp.engine.weights import Engine
from interp.models.placement import GB, budget, check_budget

# row x batch x pos worked on at once: on a CPU enough for the matrix product to be fast, few enough
# for the cache; an accelerator is not full before it has more.
TOKENS = 2048
TOKENS_BACK = 1280  # of one backward pass: about a gigabyte of graph on a small model
SMALL = 2.0**26  # bytes that nobody asks about
MORE = 32  # so many times that on an accelerator, as far as the budget goes


def budget_of(device: torch.device) -> float:
    """The bytes that a sweep may hold beside the model and its answer."""
    whole = budget(device)
    return whole / 2 if device.type == "cuda" else min(GB, whole / 4)


def tokens_at_once(device: torch.device) -> int:
    """How many tokens go through a block together."""
    return TOKENS if device.type == "cpu" else MORE * TOKENS


def tokens_back(engine: Engine) -> int:
    """How many tokens go through one backward pass."""
    if engine.device.type == "cpu":
        return TOKENS_BACK
    each = engine.itemsize * engine.n_layers * (16 * engine.d_model + 4 * engine.d_mlp)
    return min(max(TOKENS_BACK, int(budget_of(engine.device) / each)), MORE * TOKENS_BACK)


def width(d: Any, kind: str, length: int) -> int:
    """How many numbers a kind of activation has in one layer for one token of a prompt this long.

    d: an `Engine` or a `Dims`.
    """
    if kind in ("q", "z"):
        return d.n_heads * d.d_head
    if kind in ("k", "v"):
        return d.n_kv_heads * d.d_head
    if kind in ("scores", "pattern"):
        return d.n_heads * length
    return d.d_mlp if kind == "post" else d.d_model


def check_kept(engine: Engine, kinds: Iterable[str], tokens: torch.Tensor) -> None:
    """Nothing where a run can keep these kinds in every layer; otherwise a ValueError with both
    sizes.
    """
    length = tokens.shape[1]
    numbers = engine.n_layers * sum(width(engine, kind, length) for kind in kinds)
    need = float(numbers * tokens.numel() * engine.itemsize)
    if need < SMALL:
        return
    what = f"keeping {', '.join(kinds)} of {len(tokens)} prompts of {length:,} tokens"
    check_budget(need, engine.device, what, "take fewer or shorter prompts at a time (task[:8])")
