"""ACDC: from the logits backwards, every edge that makes no difference is cut for good."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._types import Model
from interp.circuits import Circuit
from interp.methods.circuits import edges
from interp.methods.circuits.discovery.eap_ig import eap_ig
from interp.methods.runs import checkpoint, sweep
from interp.results import Result
from interp.tasks.metrics import Metric, MetricLike

LEAST, MOST = 4, 64  # edges tried ahead in one batch
Item = list[int]  # edges that are cut together, by their place among all


@torch_defaults()
def acdc(
    model: Model,
    task: Any,
    *,
    tau: float = 0.01,
    metric: MetricLike = "kl",
    among: "int | Circuit | None" = None,
    by: str = "resample",
    resume: str | Path | None = None,
    examples: bool = False,
    backend: str | None = None,
) -> Result:
    """Change of the metric when ACDC tried to cut each edge; 0 for the edges that it cut.

    Receivers in turn, from the logits back, and the edges into each from the last sender to the
    first. An edge is cut for good when the prediction's KL divergence from the clean run then rises
    by under tau (nats, mean over prompts), given all cuts so far. With another metric: when the
    metric moves by under tau, up or down.

    Example:
        >>> scores = acdc(model, task, tau=0.01, resume="acdc.npz")
        >>> Circuit.threshold(scores, 1e-9)                 # ACDC's circuit: the edges it kept

    Args:
        model: A loaded model.
        task: A task with corrupted prompts.
        tau: The smallest change that keeps an edge, in the metric's unit.
        metric: "kl" (from the clean run's prediction), or as in `patch`.
        among: Only these edges are tried, a circuit's or the n best of `eap_ig` (5 steps); when a
            receiver's turn comes, its other edges are cut first, untested.
        by: What a cut edge carries, see `interp.evaluate`.
        resume: A .npz file; the same call continues from there.
        examples: Keep every example's score.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        The change when the edge was tested (others being cut already) if it was kept, and 0 if not,
        in the metric's unit (nats for the KL); axes sender, receiver (NaN: no edge). Positive: the
        edge helps (cutting it raises the KL, or lowers the metric). It tells kept from cut, and
        cannot be compared between edges.

    Raises:
        ValueError: If tau is not above 0, or `among` is of another model.

    Cost:
        About one run per edge, with a batch of tries at a time: what follows the first edge that
        must stay is thrown away; runs start at the receiver's layer; a component that nothing reads
        any more is cut off without a run.

    Reference:
        Conmy et al. 2023 (arXiv 2304.14997).
    """
    started = time.perf_counter()
    if isinstance(tau, bool) or not isinstance(tau, (int, float)) or not tau > 0:
        raise ValueError(
            f"tau={tau!r}: the smallest change that keeps an edge is above 0, in the metric's unit"
            " (try 0.01)"
        )
    of_kl = isinstance(metric, str) and metric == "kl"
    metric = edges.metric_or_kl(model, task, metric)
    graph = edges.edges_on(model, task, metric, by=by, backend=backend)
    is_edge = edges.edge_mask(graph.dims)
    tried = (
        is_edge
        if among is None
        else _tried(model, task, among, None if of_kl else metric, by, backend)
    )
    clean = graph.cut(is_edge.float()[None], bar=False)[0]
    sign = 1.0 if of_kl else -1.0

    def keeps(change: float) -> bool:
        return (change if of_kl else abs(change)) >= tau

    what = {
        "tokens": [*task.prompts, *(task.corrupted_prompts if task.paired else [])],
        "method": ["acdc", tau, by, graph.backend],
        "candidates": tried,
        "metric": [metric.name, metric.unit, metric.columns],
    }
    cells = _cells(graph.dims, is_edge, tried)
    with checkpoint.ledger(resume, clean)(len(cells), model, what) as (values, todo, note):
        places = {cell: place for place, cell in enumerate(todo)}

        def save(item, value):
            return note([places[i] for i in item], value.expand(len(item), -1))

        changes, runs = _search(
            graph, cells, tried, clean, lambda v, before: sign * (v - before), keeps, values, save
        )
    options = dict(
        metric=metric.name,
        by=by,
        tau=tau,
        kept=int((changes.mean(0) != 0).sum()),
        tried=int(tried.sum()),
        runs=runs,
        backend=graph.backend,
    )
    metadata = sweep.provenance(model, task, "acdc", started, **options)
    return edges.edge_scores(
        changes, model, task, f"ACDC's change of {metric.name}", metric.unit, metadata, examples
    )


def _tried(
    model: Model, task: Any, among: Any, metric: Metric | None, by: str, backend: str | None
) -> Tensor:
    """Which edges are tested [sender receiver]."""
    if isinstance(among, bool) or not isinstance(among, (int, Circuit)):
        raise ValueError(
            f"among={among!r}: a number of edges, or a circuit such as Circuit.top(scores, 2000)"
        )
    if isinstance(among, int):
        among = Circuit.top(eap_ig(model, task, metric=metric, by=by, backend=backend), among)
    weights = torch.from_numpy(among.weights()).bool()  # on the CPU, as the whole search is
    if weights.shape != edges.edge_mask(edges.bridge.dims(model)).shape:
        raise ValueError(
            f"among is a circuit of {among.model!r}, whose graph this model does not have"
        )
    return weights


def _cells(dims: Any, is_edge: Tensor, tried: Tensor) -> list[tuple[int, int]]:
    """Every edge (sender, receiver) in the order of the search, untested ones first."""
    each = []
    for r in reversed(range(is_edge.shape[1])):
        column = is_edge[:, r].nonzero()[:, 0].flip(0).tolist()
        each += [(s, r) for s in sorted(column, key=lambda s: bool(tried[s, r]))]
    return each


def _search(
    graph: edges.Edges,
    cells: list[tuple[int, int]],
    tried: Tensor,
    clean: Tensor,
    rise: Callable[[Tensor, Tensor], Tensor],
    keeps: Callable[[float], bool],
    values: Tensor,
    save: Callable[[Item, Tensor], None],
) -> tuple[Tensor, int]:
    """The change [batch sender receiver] at the edges that were kept, and how many runs it took.

    values [edge batch]: what is known from an earlier call, NaN elsewhere.
    """
    dims, weights = graph.dims, edges.edge_mask(graph.dims).float()
    changes = clean.new_zeros(len(clean), *weights.shape)
    components_of = _components(dims)
    moves = graph.moves() if graph.engine is not None else None
    current, ahead, runs = clean, LEAST, 0

    def settle(item: Item, value: Tensor) -> bool:
        """Whether the edge stays: otherwise it is cut, and the next ones are compared with the run
        without it.
        """
        nonlocal current
        s, r = cells[item[0]]
        change = rise(value, current)
        if tried[s, r] and keeps(float(change.double().mean())):
            changes[:, s, r] = change
            return True
        for i in item:
            weights[cells[i]] = 0.0
        current = value
        return False

    with sweep.progress(None, "acdc", total=len(cells)) as bar:
        for layer, columns in _steps(cells, dims):
            queue: list[Item] = []
            for r, column in columns.items():
                if r < weights.shape[1] - 1 and not any(weights[c].any() for c in components_of[r]):
                    weights[:, r] = 0.0  # nothing reads it any more
                    bar.update(len(column))
                else:
                    rest = [i for i in column if not tried[cells[i]]]
                    queue += ([rest] if rest else []) + [[i] for i in column if tried[cells[i]]]
            while queue:
                known = not values[queue[0][0]].isnan().any()
                batch = queue[: 1 if known else ahead]
                answers = (
                    values[batch[0][0]][None]
                    if known
                    else _runs(graph, weights, cells, batch, layer, moves)
                )
                taken, stays = 0, False
                while taken < len(batch) and not stays:
                    if not known:
                        save(batch[taken], answers[taken])
                    stays = settle(batch[taken], answers[taken])
                    bar.update(len(batch[taken]))
                    taken += 1
                if not known:
                    runs += len(batch)
                    ahead = min(MOST, max(LEAST, 2 * taken))
                queue = queue[taken:]
                bar.set_postfix(kept=int((changes != 0).any(0).sum()), refresh=False)
    return changes, runs


def _runs(
    graph: edges.Edges,
    weights: Tensor,
    cells: list[tuple[int, int]],
    items: list[Item],
    layer: int,
    moves: Any,
) -> Tensor:
    """The metric [row batch] with the first 1, 2, ... items cut."""
    rows = weights.repeat(len(items), 1, 1)
    for number, item in enumerate(items):
        for i in item:
            rows[(slice(number, None), *cells[i])] = 0.0
    if moves is None:
        return graph.cut(rows, "acdc")
    return graph.downstream(layer, rows, moves)


def _steps(cells: list[tuple[int, int]], dims: Any) -> list[tuple[int, dict[int, Item]]]:
    """(layer, {receiver: its edges}) of receivers that no edge connects: an MLP, an attention."""
    steps: dict[tuple[int, bool], dict[int, Item]] = {}
    receivers = sites.receivers(dims)
    for i, (_, r) in enumerate(cells):
        at = receivers[r]
        layer = dims.n_layers if at.family == "logits" else at.layer
        steps.setdefault((layer, at.family == "mlp"), {}).setdefault(r, []).append(i)
    return [(layer, columns) for (layer, _), columns in steps.items()]


def _components(dims: Any) -> list[list[int]]:
    """For every receiver the senders that its input goes into; the logits have none."""
    row = {str(s): i for i, s in enumerate(sites.senders(dims))}

    def heads(r):
        return (
            sites.feeds(r, dims)
            if r.family == "kv"
            else [sites.Site(r.family, "out", r.layer, r.index)]
        )

    return [
        [] if r.family == "logits" else [row[str(c)] for c in heads(r)]
        for r in sites.receivers(dims)
    ]
