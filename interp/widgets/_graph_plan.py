"""What the page needs of an attribution graph: its nodes by influence, and its strongest edges."""

from typing import Any

import numpy as np

from interp.features import AttributionGraph
from interp.features.graphs.influence import shares

MOST = 5000  # nodes on the page; of more, the most influential
NEAR = 8  # inputs and outputs that the page lists for a node
EDGES = 1500  # that carry most influence: what the picture chooses from


def plan(graph: AttributionGraph) -> dict[str, Any]:
    """Nodes and edges as plain data, ready for JSON.

    Returns:
        "nodes", each a list of name, kind, layer, position, value, bias, what pruning took, share
        of all influence, number and sum of its inputs, number of its outputs, text; "order": the
        nodes that are neither tokens nor logits, most influential first; "edges" [source, target,
        effect, influence that passes]: the NEAR strongest inputs of each node by effect, its NEAR
        strongest outputs by influence, and the EDGES strongest of all; "largest": of what passes;
        "tokens"; "weights" of the logits by node; "left out": nodes that the page does not have.
    """
    known = influence_of(graph)
    free = np.array([node.kind not in ("token", "logit") for node in graph.nodes])
    order = [int(i) for i in np.argsort(-known, kind="stable") if free[i]]
    left_out = len(graph.nodes) - MOST
    if left_out > 0:
        few = graph.only(graph.nodes[i].name for i in order[: max(0, len(order) - left_out)])
        return {**plan(few), "left out": left_out}
    flow = graph.node_influence() + graph._weights()
    passed = shares(graph.effects) * flow[:, None]
    total = float(known[free].sum()) or 1.0
    missing, sums = graph.missing, graph.effects.sum(1)
    inputs, outputs = (np.count_nonzero(graph.effects, axis=axis) for axis in (1, 0))
    nodes = [
        [
            node.name,
            node.kind,
            node.layer,
            node.pos,
            _short(node.value),
            _short(node.bias),
            _short(missing[i]),
            _short(known[i] / total),
            int(inputs[i]),
            _short(sums[i]),
            int(outputs[i]),
            text(node),
        ]
        for i, node in enumerate(graph.nodes)
    ]
    edges = [
        [s, t, _short(graph.effects[t, s]), _short(passed[t, s])]
        for s, t in _edges(graph.effects, passed)
    ]
    return {
        "nodes": nodes,
        "order": order,
        "edges": edges,
        "largest": float(passed.max(initial=0.0)),
        "tokens": list(graph.tokens),
        "weights": {graph.place(name): _short(weight) for name, weight in graph.weights.items()},
        "left out": 0,
    }


def text(node: Any) -> str:
    """What stands beside a node that has no name of one's own."""
    return node.label if node.kind in ("token", "logit") else ""


def ranked(graph: AttributionGraph) -> list[str]:
    """The nodes that are neither tokens nor logits, most influential first."""
    known = influence_of(graph)
    free = [i for i, node in enumerate(graph.nodes) if node.kind not in ("token", "logit")]
    return [graph.nodes[i].name for i in sorted(free, key=lambda i: -known[i])]


def influence_of(graph: AttributionGraph) -> np.ndarray:
    """Each node's influence: in the graph before it was pruned, where that is kept."""
    return graph.node_influence() if graph.influence is None else graph.influence


def _edges(effects: np.ndarray, passed: np.ndarray) -> list[tuple[int, int]]:
    """The edges [source, target] that the page has, from the weakest to the strongest."""
    size, chosen = np.abs(effects), set()
    for table, way in ((size, 1), (passed, 0)):
        n = min(NEAR, table.shape[way])
        best = np.argpartition(-table, n - 1, axis=way) if n else np.zeros((0, 0), int)
        for i in range(len(table)):
            some = best[i, :n] if way else best[:n, i]
            chosen |= {(int(j), i) if way else (i, int(j)) for j in some}
    flat = passed.ravel()
    for at in np.argsort(-flat, kind="stable")[:EDGES]:
        target, source = divmod(int(at), len(passed))
        chosen.add((source, target))
    there = [(s, t) for s, t in chosen if effects[t, s] != 0]
    return sorted(there, key=lambda edge: (passed[edge[1], edge[0]], edge))


def _short(value: float) -> float:
    return float(f"{value:.5g}")
