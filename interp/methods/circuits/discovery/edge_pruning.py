"""Edge pruning: a mask over all edges at once, learned by gradient descent until few are left."""

import math
import time
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.results import Result
from interp.tasks.metrics import MetricLike

LOW, HIGH, HEAT = -0.1, 1.1, 2 / 3  # how far a mask is stretched past 0 and 1, and its temperature
START = 10.0  # where mask logits start: every edge is kept
RAMP = 0.8  # the share of the steps in which the target falls to the one asked for


@torch_defaults()
def edge_pruning(
    model: Model,
    task: Any,
    *,
    share: float = 0.05,
    steps: int = 300,
    lr: float = 0.8,
    seed: int = 0,
    metric: MetricLike = "kl",
    by: str = "resample",
    backend: str | None = None,
) -> Result:
    """Probability that a learned mask keeps each edge, when `share` of all edges may be kept.

    Each step draws a mask from 0 (corrupted) to 1 (kept) for every edge from its hard concrete
    distribution (Louizos et al. 2018), runs the clean prompts with it, and descends on the distance
    from the clean run: the KL of its prediction (metric="kl"), or the mean size of the change in
    another metric. Two multipliers, which ascend, hold the expected share of kept edges to a target
    that falls from 1 to `share` in the first 80 % of the steps.

    Example:
        >>> Circuit.top(edge_pruning(model, task, share=0.02), 500)

    Args:
        model: A loaded model.
        task: A task with corrupted prompts.
        share: How many edges may be kept.
        steps: How many steps of Adam.
        lr: The learning rate of mask logits and multipliers.
        seed: Draws the masks.
        metric: "kl", or as in `interp.patch`.
        by: What a corrupted edge carries, see `interp.evaluate`.
        backend: "engine" or "hooks"; None chooses. By hooks every edge of every receiver is put
            together anew at each step: exact, and for small models.

    Returns:
        The probability, without a sign; axes sender, receiver (NaN: no edge). Learning ends near
        `share` and not at it (`metadata["learned"]`): all mask logits are then moved by one number,
        so that the mean probability is `share`. Their order stays.

    Raises:
        ValueError: If an option is out of range.

    Cost:
        One forward and backward pass per step; by hooks about five times that in a model of three
        layers and four heads, and more the more edges there are.

    Reference:
        Bhaskar et al. 2024 (arXiv 2406.16778). The paper also has masks over components, and 3,000
        steps; here there are edges alone.
    """
    started = time.perf_counter()
    if not 0 < share < 1:
        raise ValueError(
            f"share={share!r}: the share of edges to keep is between 0 and 1 (try 0.05)"
        )
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps={steps!r}: a mask needs at least one step (try 300)")
    metric = edges.metric_or_kl(model, task, metric)
    graph = edges.edges_on(model, task, metric, by=by, backend=backend)
    is_edge = edges.edge_mask(graph.dims)
    logits, losses = _learn(graph, is_edge, share, steps, lr, seed)
    scores = torch.zeros(1, *is_edge.shape, dtype=torch.float64)
    learned = keep_probability(logits.double())
    scores[0, is_edge] = keep_probability(at_share(logits.double(), share))
    options = dict(
        metric=metric.name,
        by=by,
        share=share,
        steps=steps,
        lr=lr,
        loss=losses[-1],
        kept=float(scores[0, is_edge].mean()),
        learned=float(learned.mean()),
        backend=graph.backend,
    )
    metadata = sweep.provenance(model, task, "edge_pruning", started, **options) | {"seed": seed}
    return edges.edge_scores(
        scores, model, task, "probability of being kept", "probability", metadata, False
    )


def _learn(
    graph: edges.Edges, is_edge: Tensor, share: float, steps: int, lr: float, seed: int
) -> tuple[Float[Tensor, "edge"], list[float]]:
    """The mask logits after all steps, and the distance from the clean run at each."""
    draw = torch.Generator().manual_seed(seed)
    losses = []
    with torch.inference_mode(False), torch.enable_grad():
        clean = graph.cut(is_edge.float()[None], bar=False).detach()
        logits = torch.full((int(is_edge.sum()),), START).requires_grad_(True)
        pull = torch.zeros(2, requires_grad=True)  # the multipliers of the gap and of its square
        descent, ascent = (
            torch.optim.Adam([logits], lr=lr),
            torch.optim.Adam([pull], lr=lr, maximize=True),
        )
        for step in sweep.progress(range(steps), "masks"):
            target = 1 + (share - 1) * min(1.0, (step + 1) / (RAMP * steps))
            weights = torch.zeros(is_edge.shape).masked_scatter(
                is_edge, _masks(logits, draw)
            )  # on the CPU
            distance = (graph.cut(weights[None], bar=False) - clean).abs().mean()
            gap = keep_probability(logits).mean() - target
            descent.zero_grad(), ascent.zero_grad()
            (distance.cpu() + pull[0] * gap + pull[1] * gap**2).backward()
            descent.step(), ascent.step()
            losses.append(float(distance.detach()))
    return logits.detach(), losses


def _masks(logits: Float[Tensor, "edge"], draw: torch.Generator) -> Float[Tensor, "edge"]:
    """A draw from the hard concrete distribution: stretched past 0 and 1 and clamped there."""
    u = torch.rand(logits.shape, generator=draw).clamp(1e-6, 1 - 1e-6)
    return (((u.logit() + logits) / HEAT).sigmoid() * (HIGH - LOW) + LOW).clamp(0, 1)


def at_share(logits: Float[Tensor, "edge"], share: float) -> Float[Tensor, "edge"]:
    """The logits, moved by the one number that makes the mean probability of being kept `share`."""
    low = -float(logits.max()) - 50.0
    high = -float(logits.min()) + 50.0
    for _ in range(100):
        middle = (low + high) / 2
        over = float(keep_probability(logits + middle).mean()) > share
        low, high = (low, middle) if over else (middle, high)
    return logits + high


def keep_probability(logits: Float[Tensor, "edge"]) -> Float[Tensor, "edge"]:
    """The probability that a mask is not 0."""
    return (logits - HEAT * math.log(-LOW / HIGH)).sigmoid()
