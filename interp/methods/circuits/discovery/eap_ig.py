"""Edge attribution patching with integrated gradients: averaged from corrupted to clean."""

import time
from numbers import Integral
from typing import Any

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.circuits.places import place_names
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.results import Result
from interp.tasks.metrics import MetricLike


@torch_defaults()
def eap_ig(
    model: Model,
    task: Any,
    *,
    steps: int = 5,
    at: str = "inputs",
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    positions: bool = False,
    backend: str | None = None,
) -> Result:
    """Clean minus corrupted write of each edge, times the gradient averaged between the two runs.

    Example:
        >>> eap_ig(model, task, steps=5).top(5)

    Args:
        model: A loaded model.
        task: A task with corrupted prompts.
        steps: How many points are averaged.
        at: "inputs": the gradient is taken at embeddings corrupted + k/steps (clean - corrupted),
            k = 0 .. steps - 1, as in the reference implementation. "activations": each layer's
            attention and each MLP in turn writes such a mixture, all else being clean: one backward
            pass per component and step, and exact in more cases.
        metric: As in `interp.patch`; it must have a gradient.
        by: What a corrupted edge carries, "resample" or "mean", see `interp.evaluate`.
        examples: Keep every example's score.
        positions: An axis "place" for where the write is read, as in `eap`; at="inputs" alone.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        The estimate in the metric's unit, axes sender, receiver (NaN: no edge). Positive:
        corrupting the edge lowers the metric.

    Raises:
        ValueError: If there is no step, or by="zero" (a zero embedding has no gradient).

    Cost:
        Two forward passes and `steps` forward and backward passes.

    Reference:
        Hanna et al. 2024 (arXiv 2403.17806).
    """
    started = time.perf_counter()
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps={steps!r}: an average needs at least one point (the paper: 5)")
    if at not in ("inputs", "activations"):
        raise unknown("place to integrate", at, ("inputs", "activations"), "at='inputs'")
    if positions and at != "inputs":
        raise ValueError(
            f"positions=True goes with at='inputs', got at={at!r}: leave one of them out"
        )
    if by == "zero":
        raise ValueError(
            "by='zero': a zero embedding has no slope under the norm (try by='mean', or method"
            " 'eap')"
        )
    metric = metric_of(task, metric)
    places = place_names(task) if positions else ()
    graph = edges.edges_on(model, task, metric, by=by, backend=backend, places=places)
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
        scores, model, task, f"EAP-IG of {metric.name}", metric.unit, metadata, examples, places
    )
