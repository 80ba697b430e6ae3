"""Edge attribution patching with integrated gradients: the slope averaged on the way from corrupted
to clean.
"""

import time
from typing import Any

from interp._errors import unknown
from interp._types import Model
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.results import Result
from interp.tasks.metrics import MetricLike


def eap_ig(
    model: Model,
    task: Any,
    *,
    steps: int = 5,
    at: str = "inputs",
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    backend: str | None = None,
) -> Result:
    """Each edge's move, clean less corrupted, times the metric's slope, averaged between the two
    runs.

    Example:
        >>> eap_ig(model, task, steps=5).top(5)

    Reference:
        at="inputs": the slope is taken at embeddings corrupted + k/steps (clean - corrupted), k = 0
        .. steps - 1, as in the reference implementation. at="activations": each layer's attention
        and each MLP in turn writes such a mixture, all else being clean: one backward pass a
        component and step, and exact in more cases. Axes: sender, receiver (NaN: no edge). Unit:
        the metric's; positive = corrupting the edge lowers it. Hanna et al. 2024 (arXiv
        2403.17806).
    """
    started = time.perf_counter()
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps={steps!r}: an average needs at least one point (the paper: 5)")
    if at not in ("inputs", "activations"):
        raise unknown("place to integrate", at, ("inputs", "activations"), "at='inputs'")
    if by == "zero":
        raise ValueError(
            "by='zero': a zero embedding has no slope under the norm (try by='mean', or method"
            " 'eap')"
        )
    metric = metric_of(task, metric)
    graph = edges.edges_on(model, task, metric, by=by, backend=backend)
    points = [k / steps for k in range(steps)]
    scores = graph.slopes(points) if at == "inputs" else graph.slopes_at_activations(points)
    metadata = sweep.provenance(
        model,
        task,
        "eap_ig",
        started,
        metric=metric.name,
        by=by,
        steps=steps,
        at_=at,
        backend=graph.backend,
    )
    return edges.edge_scores(
        scores, model, task, f"EAP-IG of {metric.name}", metric.unit, metadata, examples
    )
