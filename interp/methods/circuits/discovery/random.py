"""Random scores: what every other method must beat."""

import time
from typing import Any

import torch

from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.models import bridge
from interp.results import Result


@torch_defaults()
def random(model: Model, task: Any, *, seed: int = 0) -> Result:
    """A number from 0 to 1 for every edge, drawn from a seed: no edge is better than another.

    Example:
        >>> Circuit.top(random(model, task, seed=3), 500)        # a random circuit of 500 edges

    Args:
        model: A loaded model; only its shape is read.
        task: For the metadata.
        seed: Draws the numbers.

    Returns:
        The numbers, without a unit; axes sender, receiver (NaN: no edge).
    """
    started = time.perf_counter()
    shape = edges.edge_mask(bridge.dims(model)).shape
    drawn = torch.rand(
        1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    metadata = sweep.provenance(model, task, "random", started) | {"seed": seed}
    return edges.edge_scores(drawn, model, task, "random score", "none", metadata, False)
