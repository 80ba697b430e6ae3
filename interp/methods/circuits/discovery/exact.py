"""Exact edge effects: each edge corrupted by itself, for small models and to check estimates."""

import time
from typing import Any

import torch

from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.results import Result
from interp.tasks.metrics import MetricLike


@torch_defaults()
def exact(
    model: Model,
    task: Any,
    *,
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    backend: str | None = None,
) -> Result:
    """How much the clean run's metric falls when one edge carries the corrupted value.

    Example:
        >>> exact(tiny, task).top(5)

    Args:
        model: A loaded model.
        task: A task with corrupted prompts.
        metric: As in `interp.patch`.
        by: What a corrupted edge carries, see `interp.evaluate`.
        examples: Keep every example's score.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        The effect in the metric's unit, axes sender, receiver (NaN: no edge).

    Cost:
        A run per edge: seconds on a small model; on a 30-layer model hours (estimate with `eap_ig`,
        or prune with `acdc`).

    Reference:
        Goldowsky-Dill et al. 2023 (arXiv 2304.05969), with paths of one edge.
    """
    started = time.perf_counter()
    metric = metric_of(task, metric)
    graph = edges.edges_on(model, task, metric, by=by, backend=backend)
    is_edge = edges.edge_mask(graph.dims)
    full = torch.ones(is_edge.shape)
    clean = graph.cut(full[None])[0]
    effects = clean.new_zeros(len(task), *is_edge.shape)
    each = is_edge.nonzero().tolist()
    for lo in sweep.progress(range(0, len(each), 256), "every edge cut"):
        batch = each[lo : lo + 256]
        rows = full.repeat(len(batch), 1, 1)
        for i, (s, r) in enumerate(batch):
            rows[i, s, r] = 0.0
        for (s, r), value in zip(batch, graph.cut(rows, bar=False)):
            effects[:, s, r] = clean - value
    return edges.edge_scores(
        effects,
        model,
        task,
        f"exact edge effect on {metric.name}",
        metric.unit,
        sweep.provenance(
            model, task, "exact", started, metric=metric.name, by=by, backend=graph.backend
        ),
        examples,
    )
