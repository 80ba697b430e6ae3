"""Edge attribution patching: every edge's effect to first order, from one backward pass."""

import time
from typing import Any

from interp import engine
from interp._isolation import torch_defaults
from interp._types import Model
from interp.circuits.places import place_names
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.results import Result
from interp.tasks.metrics import MetricLike


@torch_defaults()
def eap(
    model: Model,
    task: Any,
    *,
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    positions: bool = False,
    backend: str | None = None,
) -> Result:
    """Clean minus corrupted write of each edge, times the gradient where its receiver reads.

    Example:
        >>> eap(model, task).top(5)
        >>> Circuit.top(eap(model, task), 500)

    Args:
        model: A loaded model.
        task: A task with corrupted prompts.
        metric: As in `interp.patch`; it must have a gradient.
        by: What a corrupted edge carries, see `interp.evaluate`.
        examples: Keep every example's score (for intervals and stability).
        positions: A third axis, "place": where the write is read, at the task's named positions
            and at all others together ("other"); in a task that names END alone, at each position
            by its number. The sum over places is the plain score. `Circuit.top(scores, 500)` is
            then a circuit of edges at places.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        The estimate in the metric's unit, axes sender, receiver (NaN: no edge). Positive:
        corrupting the edge lowers the metric.

    Cost:
        Two forward passes and one backward pass.

    Reference:
        Syed et al. 2023 (arXiv 2310.10348).
    """
    options = dict(metric=metric, by=by, examples=examples, positions=positions, backend=backend)
    return attributed(model, task, "eap", "EAP", rules=None, **options)


def attributed(
    model: Model,
    task: Any,
    method: str,
    title: str,
    *,
    rules: engine.Rules | None,
    metric: MetricLike,
    by: str,
    examples: bool,
    positions: bool,
    backend: str | None,
) -> Result:
    """The scores of a method that takes one backward pass, under these rules."""
    started = time.perf_counter()
    if rules is not None:
        sweep.needs_engine(model, method, "eap")
    metric = metric_of(task, metric)
    places = place_names(task) if positions else ()
    graph = edges.edges_on(model, task, metric, by=by, backend=backend, places=places)
    scores = graph.slopes([None], rules=rules)
    metadata = sweep.provenance(
        model, task, method, started, metric=metric.name, by=by, backend=graph.backend
    )
    return edges.edge_scores(
        scores, model, task, f"{title} of {metric.name}", metric.unit, metadata, examples, places
    )
