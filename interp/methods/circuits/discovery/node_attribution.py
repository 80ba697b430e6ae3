"""Attribution patching of components, lifted to the edges between them."""

import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._types import Model
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.metrics import MetricLike


def node_attribution(
    model: Model,
    task: Any,
    *,
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    backend: str | None = None,
) -> Result:
    """Each edge's weaker end: the smaller of its two components' attributions, with the sender's
    sign.

    Example:
        >>> node_attribution(model, task).top(5)

    Reference:
        A component's attribution (AtP) is its move, clean less corrupted, times the metric's slope
        in what it writes, in the clean run. An edge has the sign of its sender's, and the size of
        the sender's or of the receiving component's, whichever is smaller; a KV head counts as the
        largest in size of the query heads that share it, the logits as infinite. It knows
        components alone: two strong ones score high also when nothing passes between them. Axes:
        sender, receiver (NaN: no edge). Unit: the metric's; positive = corrupting the sender lowers
        it. examples=True: the same for every prompt by itself; the score is then their mean.
        Attribution: Nanda 2023; Kramar et al. 2024 (arXiv 2403.00745). The lifting is ours, a
        baseline for edges.
    """
    started = time.perf_counter()
    metric = metric_of(task, metric)
    graph = edges.edges_on(model, task, metric, by=by, backend=backend)
    # the slope in what a component writes is the sum of the slopes in what its receivers read
    nodes = graph.slopes([None]).sum(-1)
    nodes = nodes if examples else nodes.mean(0, keepdim=True)
    return edges.edge_scores(
        lift(nodes, graph.dims),
        model,
        task,
        f"component attribution of {metric.name}",
        metric.unit,
        sweep.provenance(
            model,
            task,
            "node_attribution",
            started,
            metric=metric.name,
            by=by,
            backend=graph.backend,
        ),
        examples,
    )


def lift(nodes: Float[Tensor, "batch sender"], dims: Any) -> Float[Tensor, "batch sender receiver"]:
    """Edge scores from a score for each component that writes."""
    row = {str(s): i for i, s in enumerate(sites.senders(dims))}
    size = nodes.abs()
    ends = [
        size[:, [row[c] for c in _components(r, dims)]].amax(1) if r.family != "logits" else None
        for r in sites.receivers(dims)
    ]
    reached = torch.stack(
        [torch.full_like(size[:, 0], float("inf")) if end is None else end for end in ends], 1
    )
    return nodes.sign()[..., None] * torch.minimum(size[..., None], reached[:, None])


def _components(receiver: Site, dims: bridge.Dims) -> list[str]:
    if receiver.family == "kv":
        return [str(head) for head in sites.feeds(receiver, dims)]
    return [str(Site(receiver.family, "out", receiver.layer, receiver.index))]
