"""The lens on single writes: which tokens does what a head or an MLP writes favour, read alone?"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._types import Model
from interp.interventions import run
from interp.methods.patching.patch import pattern_text, sweep_result
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge
from interp.results import Result

WRITERS = ("head", "mlp", "attn", "embed")
ROWS = 64  # logits over the whole vocabulary are large: so many writes at a time


@torch_defaults()
@any_prompts(answers=True, reads=True, whole=False)
def write_lens(
    model: Model,
    task: Any,
    where: str | Sequence[str] = "L*H*@END",
    token: str = "answer",
    *,
    within: int | None = None,
) -> Result:
    """Rank of a token when what a component writes is read alone, through the unembedding.

    Example:
        >>> write_lens(model, task, "L*H*@END", "answer").top(5, by="low")     # rank 0: on top
        >>> write_lens(model, task, "L*H*@END", "country", within=10).plot()   # share in the top 10

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        where: Writers at one position: "L*H*@END", "mlp.*@SUBJECT", "attn.3@END", "embed@END"; or a
            list of them, each read by itself, on the axis "site".
        token: "answer", "wrong", or one of the task's labels ("country"): its words as tokens after
            a space; the best one counts where an example has several.
        within: None gives the rank, k whether the rank is below k.

    Returns:
        The number of tokens above it, or the share of prompts, one value per example kept. The
        write is read without the norm's and the unembedding's biases, so only its direction
        matters: a rank says what the write favours, not whether it is large enough to count (see
        `logit_attribution`).

    Raises:
        ValueError: If `where` does not write to the stream, or names no position.

    Reference:
        The logit lens of nostalgebraist 2020 on one head's output: Lv et al. 2024 (arXiv
        2403.19521).
    """
    started = time.perf_counter()
    patterns = [parse_writer(w) for w in ([where] if isinstance(where, str) else where)]
    if not patterns or any(site.pos in (None, sites.STAR) for site in patterns):
        raise ValueError(f"a write is read at one position: {where!r} needs one (try 'L*H*@END')")
    if within is not None and within < 1:
        raise ValueError(f"within={within}: the top holds at least one token (try within=10)")
    ids, count = task.tokens(token)
    grids = [
        sites.expand(site, bridge.dims(model), task.clean.shape[1], task.positions)
        for site in patterns
    ]
    cache = run(model, task, keep=[str(site) for site in patterns], last_only=True).kept

    def split(site, grid):
        return cache[str(site)].reshape(len(grid.sites), len(task), -1)

    writes = {
        cell: write
        for site, grid in zip(patterns, grids)
        for cell, write in zip(grid.sites, split(site, grid))
    }
    each = tuple(writes)  # each once, where patterns overlap
    grid = (
        grids[0]
        if isinstance(where, str)
        else sites.Grid(each[0], each, ("site",), {"site": [str(cell) for cell in each]})
    )
    rows = torch.cat(list(writes.values()))  # cells x prompts
    again = len(rows) // len(task)
    ranks = _ranks(model, rows, ids.repeat(again, 1), count.repeat(again, 1))
    read = ranks if within is None else (ranks < within).float()
    unit = f"tokens above the {token}" if within is None else "share of prompts"
    name = (
        f"rank of the {token} in what is written"
        if within is None
        else f"{token} in the top {within} of what is written"
    )
    metadata = sweep.provenance(
        model,
        task,
        "lens on writes",
        started,
        pattern=pattern_text(where),
        token=token,
        within=within,
        backend="hooks",
    )
    return sweep_result(read.reshape(again, len(task)), grid, task, name, unit, metadata)


def parse_writer(where: str) -> sites.Site:
    """The address, if it is of something that writes to the stream; ValueError otherwise."""
    site = sites.Site.parse(where)
    if site.part != "out" or site.family not in WRITERS:
        raise ValueError(
            f"{where!r} does not write to the stream by itself (try 'L*H*@END' or 'mlp.*@END')"
        )
    return site


def _ranks(
    model: Model, writes: Float[Tensor, "row d_model"], ids: Tensor, count: Tensor
) -> Float[Tensor, "row"]:
    """How many tokens stand above the best of these, each write read by itself."""
    gain, _ = bridge.final_gain(model)
    W_U, _ = bridge.unembedding(model)
    if bridge.dims(model).norm == "ln":
        writes = writes - writes.mean(-1, keepdim=True)
    ranks, ids, count = [], ids.to(writes.device), count.to(writes.device)
    for first in sweep.progress(range(0, len(writes), ROWS), "lens on writes"):
        part = slice(first, first + ROWS)
        logits = (writes[part] * gain.detach()).to(W_U.dtype) @ W_U.detach().T
        best = (
            logits.gather(-1, ids[part])
            .masked_fill(~count[part], float("-inf"))
            .amax(-1, keepdim=True)
        )
        ranks.append((logits > best).sum(-1).float())
    return torch.cat(ranks)
