"""Active and dormant heads: what a head does with the first token, over training."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interp._errors import unknown
from interp._numbers import to_numpy
from interp.interventions import run
from interp.results import Result

MEASURES = (
    "dormant: to first",
    "active: to first",
    "active: to previous",
    "value ratio",
    "stream ratio",
    "score gap",
)


def sinks_on(
    batch: Any, *, dormant: str = "bigram", active: str = "trigger"
) -> Callable[[Any], Result]:
    """A measure: what the heads of each layer do with the first token, idle and active.

    Example:
        >>> batch = run.source.batch(64, torch.Generator().manual_seed(0), "heldout")
        >>> toys.over_training(runs, toys.sinks_on(batch)).sel(layer=0, measure="value ratio")

    Args:
        batch: The batch.
        dormant: The label [batch pos] of positions where the head has nothing to do.
        active: The label of positions where it has.

    Returns:
        A function from a model to a Result with the axes "layer" and "measure", averaged over
        heads, positions (from position 2 on) and rows. "dormant: to first", "active: to first":
        attention to position 0; "active: to previous": attention to the token before; "value
        ratio": the norm of position 0's value over the mean norm of the others; "stream ratio": the
        same of the stream after the layer; "score gap": the score of position 0 minus the mean of
        the other visible positions, at dormant positions.

    Raises:
        ValueError: If a label does not exist or marks no position.

    Reference:
        Guo et al. 2024, Active-Dormant Attention Heads (arXiv 2410.13835).
    """
    for name in (dormant, active):
        if name not in batch.labels:
            raise unknown("label of this batch", name, batch.labels)
    here = {
        name: batch.labels[label].bool() & (torch.arange(batch.inputs.shape[1]) > 1)
        for name, label in (("dormant", dormant), ("active", active))
    }
    empty = [name for name, places in here.items() if not places.any()]
    if empty:
        raise ValueError(f"this batch has no {empty[0]} place from position 2 on: draw more rows")
    keep = ["L*H*.pattern", "L*H*.scores", "L*KV*.v", "resid_post.*"]

    def measure(model: Any) -> Result:
        with torch.no_grad():
            pattern, scores, values, stream = run(model, batch.inputs, keep=keep).kept.values()
        first, before = pattern[..., 0], pattern.diagonal(offset=-1, dim1=-2, dim2=-1)
        before = torch.cat([torch.zeros_like(before[..., :1]), before], -1)
        columns = (
            _mean(first, here["dormant"]),
            _mean(first, here["active"]),
            _mean(before, here["active"]),
            _ratio(values).mean(1),
            _ratio(stream),
            _mean(_gap(scores), here["dormant"]),
        )
        table = torch.stack(columns, -1)
        coords = {"layer": list(range(len(table))), "measure": list(MEASURES)}
        return Result(
            to_numpy(table),
            ("layer", "measure"),
            coords,
            "first token",
            "each its own",
            {"n": len(batch)},
        )

    return measure


def _mean(x: Tensor, places: Tensor) -> Tensor:
    """The mean [layer] of x [layer head batch pos] over the positions of a mask [batch pos]."""
    return x[..., places].mean((-1, -2))


def _ratio(x: Tensor) -> Tensor:
    """For vectors [... batch pos d]: the norm at position 0 over the mean norm elsewhere [...]."""
    norms = x.norm(dim=-1)
    return norms[..., 0].mean(-1) / norms[..., 1:].mean((-1, -2))


def _gap(scores: Tensor) -> Tensor:
    """The score of position 0 minus the mean of the other visible ones [... dest]; NaN if none."""
    n = scores.shape[-1]
    others = torch.ones(n, n, dtype=torch.bool).tril()
    others[:, 0] = False
    return scores[..., 0] - scores.masked_fill(~others, 0.0).sum(-1) / others.sum(-1)
