"""GIM: edge attribution patching with other rules for the backward pass."""

from typing import Any

from interp import engine
from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.circuits.discovery.eap import attributed
from interp.results import Result
from interp.tasks.metrics import MetricLike


@torch_defaults()
def gim(
    model: Model,
    task: Any,
    *,
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    positions: bool = False,
) -> Result:
    """GIM: clean minus corrupted write of each edge, times a gradient of eased interactions.

    Example:
        >>> gim(model, task).top(5)
        >>> Circuit.top(gim(model, task), 500)

    Norms' scales are constants; the attention's softmax has the slope of twice the temperature; a
    quarter of what comes back enters queries and keys, and half of it values.

    Args:
        model: A loaded model that the engine runs.
        task: A task with corrupted prompts.
        metric: As in `interp.patch`; it must have a gradient.
        by: What a corrupted edge carries, see `interp.evaluate`.
        examples: Keep every example's score (for intervals and stability).
        positions: An axis "place" for where the write is read, as in `eap`.

    Returns:
        The estimate in the metric's unit, axes sender, receiver (NaN: no edge). Positive:
        corrupting the edge lowers the metric.

    Raises:
        ValueError: If the engine does not run this model: it is the one that knows these rules.

    Cost:
        Two forward passes and one backward pass, as EAP.

    Reference:
        Edin et al. 2025, gradient interaction modifications (arXiv 2505.17630), with the
        numbers of the authors' package gim-explain 0.1.4. It leaves gated MLPs as they are, and so
        do we.
    """
    options = dict(metric=metric, by=by, examples=examples, positions=positions, backend="engine")
    return attributed(model, task, "gim", "GIM", rules=engine.GIM, **options)
