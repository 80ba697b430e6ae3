"""How a sweep is cut so that it fits: some prompts at a time, and some cells at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from interp import engine
from interp._types import Model
from interp.methods.runs.metrics import of_part
from interp.models import bridge, placement
from interp.sites import Site
from interp.tasks.metrics import Metric

# as Patches, rows and edits these take some ten megabytes, and their own runs are still few
CELLS = 20_000


def bytes_of_a_prompt(model: Model, length: int, kinds: Sequence[str], backend: str) -> float:
    """About how many bytes a sweep over one prompt of this length holds, beside its answer.

    What the two runs keep in every layer, and what one block works on at once: the stream, the
    MLP's neurons and above all the attention rows [head query key].

    Args:
        kinds: What the sweep replaces, in the engine's words.
        backend: "engine", or "hooks", which computes the logits of every position as well.
    """
    d = bridge.dims(model)
    source = sum(engine.width(d, kind, length) for kind in kinds)
    kept = sum(engine.width(d, kind, length) for kind in {"resid_pre", "k", "v", *kinds})
    a_block = 8 * d.d_model + 3 * d.d_mlp + 4 * d.n_heads * length
    logits = 3 * d.d_vocab if backend == "hooks" else 0
    floats = d.n_layers * (kept + source) + a_block + logits
    return float(floats) * length * next(model.parameters()).element_size()


def prompts_at_once(
    model: Model, tokens: Tensor, kinds: Sequence[str], metric: Metric, what: str, backend: str
) -> list[Tensor]:
    """Which prompts are swept together: all of them where they fit in half the budget, else as many
    as do.

    ValueError where not even one fits, or where the metric belongs to these prompts together.
    """
    n, where = len(tokens), bridge.device(model)
    each = bytes_of_a_prompt(model, tokens.shape[1], kinds, backend)
    room = placement.budget(where) / 2  # the other half is for the rows worked on at once
    if n * each <= room:
        return [torch.arange(n)]
    if metric.part is None and n > 1:
        advice = f"take fewer prompts (task[:{max(1, int(room / each))}]), or a metric by its name"
        placement.check_budget(2 * n * each, where, f"{what} of {n} prompts at once", advice)
    placement.check_budget(
        2 * each, where, f"{what} of one prompt of {tokens.shape[1]:,} tokens", "shorten it"
    )
    return list(torch.arange(n).split(max(1, int(room / each))))


def cells_at_once(
    groups: Sequence[Sequence], todo: Sequence[int], parts: int
) -> Iterator[list[int]]:
    """Places in `todo`, so many at a time, cells of one position together."""
    size = max(1, CELLS // parts)
    if len(todo) <= size:
        yield from [list(range(len(todo)))] if todo else []
        return

    def position(k: int) -> tuple[int, int]:
        at = [s.pos for s in groups[todo[k]]]
        first = min((p for p in at if isinstance(p, int) and p >= 0), default=-1)
        return first, k

    order = sorted(range(len(todo)), key=position)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def some_of(value: Tensor, rows: Tensor, n: int) -> Tensor:
    """The rows of a value that has one for each of n prompts; the value itself where all share
    one.
    """
    return value[rows.to(value.device)] if value.ndim and len(value) == n > 1 else value


def patches_of(cell: Sequence, rows: Tensor, n: int) -> list[Site | engine.Patch]:
    """A cell for some of the prompts."""

    def one(patch: Site | engine.Patch) -> Site | engine.Patch:
        if isinstance(patch, Site):
            return patch
        changes = {
            name: some_of(value, rows, n)
            for name in ("pos", "block")
            if isinstance(value := getattr(patch, name), Tensor)
        }
        return replace(patch, **changes) if changes else patch

    return [one(patch) for patch in cell]


def metric_of_some(metric: Metric, rows: Tensor, n: int) -> Metric:
    """The metric of some of the prompts."""
    return metric if len(rows) == n else of_part(metric, rows, n)
