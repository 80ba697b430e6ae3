"""How much each edge moves what its receiver reads. No gradient, no metric: size alone."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._types import Model
from interp.interventions import run
from interp.methods.circuits import edges
from interp.methods.runs import sweep
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.metrics import Metric
from interp.tasks.task import Task, joined

NOTHING = Metric("nothing", "none", lambda logits, kept: logits[:, 0])
SENDERS = 16  # at a time: what they make of a layer's input is held at once


@torch_defaults()
def magnitude(
    model: Model,
    task: Any,
    *,
    by: str = "resample",
    examples: bool = False,
    backend: str | None = None,
) -> Result:
    """How far each corrupted edge moves its receiver's own input, relative to that input.

    With x the stream that the receiver reads in the clean run, m the sender's clean minus corrupted
    write, and P what the receiver makes of the stream first:

        score = |P(x - m) - P(x)| / |P(x)|

    P is the norm and then W_Q, W_K or W_V with bias for q, k, v; the norm alone for an MLP; the
    final norm for the logits. |.| is the Euclidean length over all positions from the first at
    which the prompts differ (END alone for the logits). Exact, not to first order.

    Example:
        >>> magnitude(model, task).top(5)

    Args:
        model: A loaded model.
        task: A task with corrupted prompts.
        by: What a corrupted edge carries, see `interp.evaluate`.
        examples: Keep every example's score.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        Share of the input, never negative; axes sender, receiver (NaN: no edge). A baseline: an
        edge can move its receiver far and the answer not at all.

    Cost:
        Two forward passes and one projection per edge.
    """
    started = time.perf_counter()
    backend_used = []

    def one(part: Task) -> Tensor:
        moved = []
        means = edges.mean_of(model, part, by, None, backend)
        for group in edges.groups(model, part, None, backend):
            some = part[group]
            graph = edges.Edges(model, some, NOTHING, by=by, backend=backend, writes=means)
            moved.append(_moved(model, some, graph))
            backend_used.append(graph.backend)
        return torch.cat(moved).movedim(0, -1)

    scores = joined(task, one, once=True).movedim(-1, 0)
    metadata = sweep.provenance(model, task, "magnitude", started, by=by, backend=backend_used[0])
    return edges.edge_scores(
        scores,
        model,
        task,
        "move of the receiver's input",
        "share of the input",
        metadata,
        examples,
    )


def _moved(model: Any, task: Task, graph: edges.Edges) -> Float[Tensor, "batch sender receiver"]:
    """The move of each receiver's input for prompts of one length."""
    moves, first = graph.moves(), graph.first
    names = [
        str(Site(f, "out" if f == "resid_pre" else "in", layer))
        for layer in range(graph.dims.n_layers)
        for f in ("resid_pre", "mlp")
    ]
    scores = torch.zeros(len(task), *edges.edge_mask(graph.dims).shape, device=moves.device)
    with torch.no_grad():
        read = {
            name: x[:, first:]
            for name, x in run(
                model, task.clean, keep=[*names, "logits.in"], last_only=True
            ).kept.items()
        }
        for columns, x, count, transform in sweep.progress(
            list(_reads(model, graph.dims, read)), "moves of inputs"
        ):
            last = x.shape[1] == 1
            clean = transform(x)  # batch pos receiver d
            for lo in range(0, count, SENDERS):
                m = (
                    moves[lo : min(lo + SENDERS, count), :, -1:]
                    if last
                    else moves[lo : min(lo + SENDERS, count)]
                )
                moved = (transform(x - m) - clean).pow(2).sum((2, 4)).sqrt()
                whole = clean.pow(2).sum((1, 3)).sqrt()
                moved = torch.where(moved == 0, 0.0, moved / whole)  # nothing of nothing is 0
                scores[:, lo : lo + len(m), columns] = moved.transpose(0, 1)
    return scores


def _reads(
    model: Model, dims: bridge.Dims, read: dict[str, Tensor]
) -> Iterator[tuple[slice, Tensor, int, Callable[[Tensor], Tensor]]]:
    """(receivers, their stream, number of senders before, what each makes of the stream)."""
    number = {str(r): i for i, r in enumerate(sites.receivers(dims))}
    senders = sites.senders(dims)

    def before(name):
        return sum(sites.precedes(s, Site.parse(name), dims) for s in senders)

    for layer in range(dims.n_layers):
        for part, name, heads in (
            ("Q", "L{}H0.q_in", dims.n_heads),
            ("K", "L{}KV0.k_in", dims.n_kv_heads),
            ("V", "L{}KV0.v_in", dims.n_kv_heads),
        ):
            start = number[name.format(layer)]
            yield (
                slice(start, start + heads),
                read[f"resid_pre.{layer}"],
                before(name.format(layer)),
                _projected(model, part, layer),
            )
        name = f"mlp.{layer}.in"

        def normed(x, layer=layer):
            return bridge.norm(model, "mlp", layer, x)[..., None, :]

        yield slice(number[name], number[name] + 1), read[name], before(name), normed

    def final(x):
        return bridge.final_norm(model, x)[..., None, :]

    yield slice(number["logits.in"], None), read["logits.in"][:, -1:], len(senders), final


def _projected(model: Model, part: str, layer: int) -> Callable[[Tensor], Tensor]:
    """A function from a stream to the queries, keys or values of a layer [... pos head d_head]."""

    def project(x: Tensor) -> Tensor:
        return bridge.reader(model, part, layer, x, slice(None))

    return project
