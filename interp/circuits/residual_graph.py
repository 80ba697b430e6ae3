"""The edges of a model's residual graph, by name and in order, and the scores of edges."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from interp import sites
from interp._errors import unknown
from interp.dims import Graph
from interp.results import Result
from interp.sites import Site

# a sender and a receiver; in a circuit by position, also the place where the edge is read
Edge = tuple[str, str] | tuple[str, str, str]
_AXES: dict[Graph, tuple[dict[str, int], dict[str, int]]] = {}
_EDGES: dict[Graph, dict[tuple[str, str], int]] = {}


def axes(graph: Graph) -> tuple[dict[str, int], dict[str, int]]:
    """The row of every sender, and the column of every receiver."""
    if graph not in _AXES:

        def number(nodes):
            return {str(node): i for i, node in enumerate(nodes)}

        _AXES[graph] = (number(sites.senders(graph)), number(sites.receivers(graph)))
    return _AXES[graph]


def edge_order(graph: Graph) -> dict[tuple[str, str], int]:
    """Every edge and its place in forward order: by receiver, then by sender."""
    if graph not in _EDGES:
        wrote = [(str(s), sites.write_step(s)) for s in sites.senders(graph)]
        read = [(str(r), sites.read_step(r, graph)) for r in sites.receivers(graph)]
        pairs = ((s, r) for r, then in read for s, before in wrote if before < then)
        _EDGES[graph] = {edge: i for i, edge in enumerate(pairs)}
    return _EDGES[graph]


def n_edges(graph: Graph) -> int:
    """How many edges the graph has, counted without listing them."""
    attention = graph.n_heads + 2 * graph.n_kv_heads
    layers = (
        attention * graph.before(layer) + graph.before(layer, mlp=True)
        for layer in range(graph.n_layers)
    )
    return sum(layers) + graph.n_senders


def first_unknown(edges: Iterable[Edge], graph: Graph) -> Edge | None:
    """The first edge that is none of this graph: an end is of no component, or the sender writes
    after the receiver has read.
    """
    rows, columns = axes(graph)
    width, last = graph.per_layer, graph.per_layer - 1
    before = [  # how many senders each receiver of a layer can read, of all receivers in turn
        graph.before(column // width, mlp=column % width == last)
        for column in range(graph.n_layers * width)
    ] + [graph.n_senders]
    for edge in edges:
        row, column = rows.get(edge[0]), columns.get(edge[1])
        if row is None or column is None or row >= before[column]:
            return edge
    return None


def forward_order(
    graph: Graph, places: Sequence[str] = ()
) -> Callable[[tuple[Edge, Any]], tuple[int, ...]]:
    """The sort key of (edge, score) that puts edges in the order of `edge_order`, then places."""
    rows, columns = axes(graph)
    at = {(place,): i for i, place in enumerate(places)}
    return lambda item: (columns[item[0][1]], rows[item[0][0]], at.get(item[0][2:], 0))


def shown(edge: Edge) -> str:
    """An edge as people write it: "L9H1 -> L10H7.q_in", or "L9H1 -> L10H7.q_in @ END"."""
    return " @ ".join([f"{edge[0]} -> {edge[1]}", *edge[2:]])


def not_an_edge(edge: Edge, graph: Graph, model: str) -> str:
    """Why this is no edge of the model, with a right one."""
    rows, columns = axes(graph)
    sender, receiver = edge[:2]
    if sender not in rows:
        return str(unknown(f"sender of {model!r}:", sender, rows, "('L9H1', 'L10H7.q_in')"))
    if receiver not in columns:
        return str(unknown(f"receiver of {model!r}:", receiver, columns, "('L9H1', 'L10H7.q_in')"))
    return f"{sender} -> {receiver} is not an edge: {sender} writes after {receiver} has read"


@cache  # a graph has few receivers and very many edges
def feeds(receiver: str, graph: Graph) -> tuple[str, ...]:
    """The components that a receiver belongs to: one, or the query heads that share a KV head."""
    site = Site.parse(receiver)
    if site.family == "kv":
        return tuple(str(s) for s in sites.feeds(site, graph))
    return nodes_of(receiver)


@cache
def nodes_of(receiver: str) -> tuple[str, ...]:
    """The component that alone has this receiver; none for one that query heads share."""
    if Site.parse(receiver).family == "kv":
        return ()  # shared: which of its heads are meant, only their own edges say
    return (receiver.rpartition(".")[0],)


@cache
def is_shared(receiver: str) -> bool:
    """Whether a receiver is the keys or values of a KV head, which other positions read."""
    return Site.parse(receiver).family == "kv"


def reads(component: str, graph: Graph) -> list[str]:
    """The receivers of a component: those of its KV head among them."""
    site = Site.parse(component)
    if component == "embed":
        return []
    if site.family != "head":
        return [f"{component}.in"]
    kv = f"L{site.layer}KV{site.index // graph.group}"
    return [f"{component}.q_in", f"{kv}.k_in", f"{kv}.v_in"]


def shape(graph: Graph) -> str:
    """A graph in words: "30 layers x 9 heads, 3 KV heads"."""
    return f"{graph.n_layers} layers x {graph.n_heads} heads, {graph.n_kv_heads} KV heads"


def graph_of(scores: Result) -> Graph:
    """The graph that scores over (sender, receiver), or these and place, are of."""
    if tuple(scores.dims) not in (("sender", "receiver"), ("sender", "receiver", "place")):
        raise ValueError(
            f"a circuit is chosen from scores with axes (sender, receiver), got {scores.dims}:"
            " interp.discover(model, task)"
        )
    heads = [Site.parse(s) for s in scores.coords["sender"] if s.startswith("L")]
    kv = [Site.parse(r) for r in scores.coords["receiver"] if "KV" in r]

    def count(sites_, what):
        return 1 + max((getattr(s, what) for s in sites_), default=-1)

    layers = count([Site.parse(s) for s in scores.coords["sender"] if s != "embed"], "layer")
    row = {s: i for i, s in enumerate(scores.coords["sender"])}
    column = {r: i for i, r in enumerate(scores.coords["receiver"])}
    feeds_mlp = [
        (row[str(h)], column[mlp]) for h in heads if (mlp := f"mlp.{h.layer}.in") in column
    ]
    parallel = all(
        np.isnan(scores.values[cell]).all() for cell in feeds_mlp
    )  # one missing score does not make it so
    return Graph(layers, count(heads, "index"), count(kv, "index"), parallel=parallel)


def places_of(scores: Result) -> tuple[str, ...]:
    """The places of scores by position; none of scores of edges at all positions."""
    return tuple(scores.coords["place"]) if "place" in scores.dims else ()


def candidates(scores: Result, absolute: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores flattened (in size when absolute), and the indices of all edges there.

    ValueError where an edge has no score.
    """
    graph = graph_of(scores)
    rows, columns = axes(graph)
    if list(rows) != scores.coords["sender"] or list(columns) != scores.coords["receiver"]:
        raise ValueError(
            "scores of some senders or receivers are missing: a circuit is chosen among all of them"
        )
    flat = scores.values.ravel()
    is_edge = np.zeros(scores.values.shape, dtype=bool)
    for s, r in edge_order(graph):
        is_edge[rows[s], columns[r]] = True
    indices = np.flatnonzero(is_edge.ravel())
    missing = int(np.isnan(flat[indices]).sum())
    if missing:
        raise ValueError(
            f"{missing} of {len(indices)} edges have no score (NaN): a circuit cannot be chosen"
            " from these"
        )
    return (np.abs(flat) if absolute else flat), indices
