"""How much is worked on at once: on a CPU what its cache holds, on an accelerator what fills it."""

import torch

from interp.engine.weights import Engine

GB = float(2**30)
# row x batch x pos worked on at once: on a CPU enough for the matrix product to be fast, few enough
# for the cache; an accelerator is not full before it has more.
TOKENS = 2048
TOKENS_BACK = 1280  # of one backward pass: about a gigabyte of graph on a small model
MORE = 32  # so many times that on an accelerator, as far as the budget goes


def budget_of(device: torch.device) -> float:
    """The bytes that a sweep may hold beside the model and its answer."""
    if device.type != "cuda":
        return GB
    return max(GB, torch.cuda.mem_get_info(device)[0] / 4)


def tokens_at_once(device: torch.device) -> int:
    """How many tokens go through a block together."""
    return TOKENS if device.type == "cpu" else MORE * TOKENS


def tokens_back(engine: Engine) -> int:
    """How many tokens go through one backward pass."""
    if engine.device.type == "cpu":
        return TOKENS_BACK
    each = engine.itemsize * engine.n_layers * (16 * engine.d_model + 4 * engine.d_mlp)
    return min(max(TOKENS_BACK, int(budget_of(engine.device) / each)), MORE * TOKENS_BACK)
