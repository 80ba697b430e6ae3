"""Attribution patching of components, lifted to the edges between them."""

import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.metrics import MetricLike


@torch_defaults()
def node_attribution(
    model: Model,
    task: Any,
    *,
    metric: MetricLike = None,
    by: str = "resample",
    examples: bool = False,
    backend: str | None = None,
) -> Result:
    """Smaller of the attributions of an edge's two components, with the sender's sign.

    A component's attribution (AtP) is its clean minus corrupted write, times the metric's gradient
    in what it writes, in the clean run. A KV head counts as the largest in size of the query heads
    that share it, the logits as infinite.

    Example:
        >>> node_attribution(model, task).top(5)

    Args:
        model: A loaded model.
        task: A task with corrupted prompts.
        metric: As in `interp.patch`; it must have a gradient.
        by: What a corrupted edge carries, see `interp.evaluate`.
        examples: Take it for every prompt by itself; the score is then their mean.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        The score in the metric's unit, axes sender, receiver (NaN: no edge). Positive: corrupting
        the sender lowers the metric. It knows components alone: two strong ones score high also
        when nothing passes between them.

    Cost:
        Two forward passes and one backward pass.

    Reference:
        Attribution: Nanda 2023; Kramar et al. 2024 (arXiv 2403.00745). Lifting it to edges is ours,
        as a baseline.
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
    """The components that a receiver's input goes into."""
    if receiver.family == "kv":
        return [str(head) for head in sites.feeds(receiver, dims)]
    return [str(Site(receiver.family, "out", receiver.layer, receiver.index))]
