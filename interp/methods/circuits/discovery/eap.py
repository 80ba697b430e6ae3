"""Edge attribution patching: every edge's effect to first order, from one forward and one backward
pass.
"""

import time
from typing import Any

from interp._types import Model
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.results import Result
from interp.tasks.metrics import MetricLike


def eap(
    model: Model,
    task: Any,
    *,
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    backend: str | None = None,
) -> Result:
    """Each edge's move, clean less corrupted, times the metric's slope in what its receiver reads
    in the clean run.

    Unit: the metric's; positive = corrupting the edge lowers it.

    Example:
        >>> eap(model, task).top(5)
        >>> Circuit.top(eap(model, task), 500)

    Args:
        by: What a corrupted edge carries, see `interp.evaluate`. examples=True keeps every
            example's score (for intervals and stability; a number an edge and example). way:
            "engine" or "hooks" insists.

    Returns:
        Axes: sender, receiver (NaN: no edge).

    Reference:
        Syed et al. 2023 (arXiv 2310.10348).
    """
    started = time.perf_counter()
    metric = metric_of(task, metric)
    graph = edges.edges_on(model, task, metric, by=by, backend=backend)
    scores = graph.slopes([None])
    return edges.edge_scores(
        scores,
        model,
        task,
        f"EAP of {metric.name}",
        metric.unit,
        sweep.provenance(
            model, task, "eap", started, metric=metric.name, by=by, backend=graph.backend
        ),
        examples,
    )
