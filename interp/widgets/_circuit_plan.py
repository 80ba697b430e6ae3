"""What the circuit explorer draws: every edge that can be shown, where it runs, and its place in
each circuit.
"""

from typing import Any

from interp import sites
from interp.circuits import Circuit, drawing
from interp.circuits.residual_graph import Edge, shown
from interp.sites import Site

MOST = 2000  # edges the page holds; of more, the largest


def written(edge: Edge) -> str:
    """An edge as people type it."""
    return shown(edge)


def edges_of(text: str) -> list[Edge]:
    """The edges in a text: "L9H1 -> L10H7.q_in, mlp.0 -> mlp.1.in @ END"."""
    out: list[Edge] = []
    typed = [part.strip() for part in text.split(",") if part.strip()]
    for part in typed or [text]:
        path, at, place = part.partition("@")
        ends = [end.strip() for end in path.split("->")]
        if len(ends) != 2 or not all(ends) or (at and not place.strip()):
            raise ValueError(f"{part!r} is no edge (try 'L9H1 -> L10H7.q_in')")
        out.append((ends[0], ends[1], place.strip()) if at else (ends[0], ends[1]))
    return out


def ranked(circuit: Circuit, most: int = MOST) -> list[Edge]:
    """The circuit's edges, largest score first, as its drawings choose them."""

    def size(edge):
        return abs(circuit.edges[edge] or 0.0)

    return sorted(circuit.edges, key=lambda edge: -size(edge))[:most]


def plan(circuit: Circuit, other: Circuit | None, extra: list[Edge]) -> dict[str, Any]:
    """Places and edges for the page, in forward order; extra edges are in neither circuit until
    they are added.

    An edge: key, from, to (the components it ends at), place ("" at all positions), score,
    sign, width, path, a and b: its rank in each circuit by size, from 0 (-1: not in it).
    """
    first, second = ranked(circuit), ranked(other) if other else []
    added = Circuit.of(extra, like=circuit, places=circuit.places)
    places: dict[Any, dict[str, Any]] = {}
    for part in filter(
        None, (added, other, circuit)
    ):  # the circuit's own scores last, so that they count
        for edge in drawing.layout(part, max_edges=MOST)["edges"]:
            at_place = [edge["place"]] if "place" in edge else []
            places[(edge["sender"], edge["receiver"], *at_place)] = edge
    whole = circuit | other if other else circuit
    drawn = drawing.layout(whole, max_edges=0)
    at, bt = ({edge: i for i, edge in enumerate(some)} for some in (first, second))
    unit = circuit.source.get("unit") or "score"
    graph = circuit.graph
    return {
        "layers": graph.n_layers,
        "heads": graph.n_heads,
        "group": graph.group,
        "nodes": drawn["nodes"],
        "groups": drawn["groups"],
        "roles": list(whole.roles),
        "unit": unit,
        "places": list(circuit.places),
        "most": max(len(first), len(second), 1),
        "total": max(len(circuit), len(other or ())),
        "scored": any(e["score"] is not None for e in places.values()),
        "largest": max((abs(s) for s in circuit.edges.values() if s is not None), default=0.0),
        "edges": [
            {
                "key": written(edge),
                "from": edge[0],
                "at": edge[1],
                "to": _feeds(edge[1], graph),
                "place": "".join(edge[2:]),
                "score": drawn_edge["score"],
                "sign": drawn_edge["sign"],
                "width": round(drawn_edge["width"], 4),
                "path": [round(x, 3) for x in drawn_edge["path"]],
                "a": at.get(edge, -1),
                "b": bt.get(edge, -1),
            }
            for edge, drawn_edge in places.items()
        ],
    }


def _feeds(receiver: str, graph: Any) -> list[str]:
    site = Site.parse(receiver)
    return (
        list(map(str, sites.feeds(site, graph)))
        if site.family == "kv"
        else [receiver.rpartition(".")[0]]
    )


def touches(edge: Edge, name: str) -> bool:
    """Whether an edge leaves or ends at a component, or at a KV group ("L5KV1")."""
    return name in (edge[0], edge[1].rpartition(".")[0])
