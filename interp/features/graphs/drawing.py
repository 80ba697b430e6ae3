"""An attribution graph as a picture: positions across, layers up, effects as lines."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from interp import plots
from interp.circuits.drawing import MEMBER, STYLES, THINNEST, WIDEST
from interp.features.graphs.influence import Node, shares

if TYPE_CHECKING:  # the value knows its picture, not the other way round
    from interp.features.graphs.attribution_graph import AttributionGraph

MARKERS = {"feature": "o", "error": "s", "mlp": "s", "token": "", "logit": ""}
FILL = {"feature": "#4d4d4d", "error": "#ffffff", "mlp": "#d9d9d9"}
IN_A_CELL = 6  # nodes side by side in one layer and position; of more, the most influential


def layout(graph: "AttributionGraph", max_edges: int = 200) -> dict[str, Any]:
    """Where every node stands and which edges are drawn: plain data, ready for JSON.

    Args:
        graph: The graph.
        max_edges: The edges that carry most of the influence on the logits.

    Returns:
        "nodes" by name (x: position and place in its cell, y: row, size: influence), "edges" from
        the weakest to the strongest, "rows" (names from below), "columns" (the tokens), and how
        many nodes and edges are not shown.
    """
    flow = graph.node_influence() + graph._weights()
    passed = shares(graph.effects) * flow[:, None]
    known = flow if graph.influence is None else graph.influence
    layers = sorted({node.layer for node in graph.nodes})
    row_of = {layer: i for i, layer in enumerate(layers)}
    apart = max(0.42, 0.03 * len(layers))  # of logits: the more rows, the lower each is
    wide = max(1.0, len(graph.tokens) / 11)  # an inch for a logit's name
    beside = max(1, int(len(graph.tokens) / wide))  # logits in one row
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, node in enumerate(graph.nodes):
        cells[node.layer, node.pos].append(i)
    nodes, hidden = {}, 0
    groups = {one: name for name, some in graph.groups.items() for one in some}
    for (layer, pos), inside in cells.items():
        inside.sort(key=lambda i: -known[i])
        logits = graph.nodes[inside[0]].kind == "logit"
        shown = inside if logits else inside[:IN_A_CELL]
        hidden += len(inside) - len(shown)
        for rank, i in enumerate(shown):
            step = 0.0 if len(shown) == 1 else rank / (len(shown) - 1) - 0.5
            back, up = rank % beside, rank // beside  # logits: the first above its position
            nodes[graph.nodes[i].name] = {
                "x": pos - wide * back if logits else pos + 0.72 * step,
                "y": float(row_of[layer]) + (apart * up if logits else 0.0),
                "kind": graph.nodes[i].kind,
                "size": float(known[i]),
                "text": _text(graph.nodes[i], groups.get(graph.nodes[i].name, "")),
            }
    at = [
        (float(passed[t, s]), int(t), int(s))
        for t, s in zip(*np.nonzero(graph.effects))
        if graph.nodes[t].name in nodes and graph.nodes[s].name in nodes
    ]
    at.sort()
    strongest = at[-max_edges:]
    largest = strongest[-1][0] if strongest else 1.0
    edges = [
        {
            "from": graph.nodes[s].name,
            "to": graph.nodes[t].name,
            "effect": float(graph.effects[t, s]),
            "width": share / largest,
        }
        for share, t, s in strongest
    ]
    words = {-1: "tokens", max(layers): "logits"}
    return {
        "nodes": nodes,
        "edges": edges,
        "rows": [words.get(layer, f"layer {layer}") for layer in layers],
        "columns": list(graph.tokens),
        "hidden nodes": hidden,
        "hidden edges": len(at) - len(strongest),
    }


def _text(node: Node, group: str = "") -> str:
    if node.kind in ("token", "logit"):
        return node.label
    return group or node.label or {"feature": str(node.index)}.get(node.kind, "")


def draw(
    graph: "AttributionGraph",
    ax: Any = None,
    *,
    max_edges: int = 200,
    names: int = 14,
    title: str | None = None,
) -> Any:
    """The Axes with the graph: positions across, layers up, and on top the logits side by side, the
    likeliest at the right, all of the last position.

    Example:
        >>> graph.plot(max_edges=80, names=20)

    Args:
        graph: The graph.
        ax: Where to draw; a new figure if None.
        max_edges: How many edges are drawn, those that carry most influence.
        names: How many features are named, the most influential.
        title: In place of the scores.
    """
    plan = layout(graph, max_edges)
    nodes, rows, columns = plan["nodes"], plan["rows"], plan["columns"]
    tall = max((n["y"] for n in nodes.values()), default=1.0)
    if ax is None:
        ax = plots._new(min(13.0, 2.0 + 1.0 * len(columns)), min(11.0, 1.6 + 0.62 * (tall + 1)))
    for edge in plan["edges"]:
        a, b = nodes[edge["from"]], nodes[edge["to"]]
        colour, dash = STYLES[1 if edge["effect"] > 0 else -1]
        t = np.linspace(0, 1, 20)
        x = a["x"] + (b["x"] - a["x"]) * (3 * t**2 - 2 * t**3)
        ax.plot(
            x,
            a["y"] + (b["y"] - a["y"]) * t,
            color=colour,
            linestyle=dash,
            zorder=1,
            linewidth=THINNEST + (WIDEST - THINNEST) * edge["width"],
            alpha=0.2 + 0.6 * edge["width"] ** 0.5,
        )
    largest = max((n["size"] for n in nodes.values() if n["kind"] in FILL), default=1.0) or 1.0
    ranked = sorted(
        (n for n in nodes if nodes[n]["kind"] == "feature"), key=lambda n: -nodes[n]["size"]
    )
    for name, node in nodes.items():
        named = name in ranked[:names] or any(name in some for some in graph.groups.values())
        _node(ax, node, node["size"] / largest, named)
    ax.set_yticks(range(len(rows)), rows, fontsize=plots.TICK)
    ax.set_xticks(range(len(columns)), [_shown(c) for c in columns], fontsize=plots.TICK)
    if max(map(len, columns), default=0) * len(columns) > 70:
        ax.tick_params(axis="x", rotation=40)
    ax.set_xlim(-0.6, len(columns) - 0.4 + 0.5)
    ax.set_ylim(-0.5, tall + 0.6)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    hidden = [
        f"{plan[f'hidden {what}']} {what}" for what in ("nodes", "edges") if plan[f"hidden {what}"]
    ]
    below = "solid red raises, dashed blue lowers; squares: errors (white), whole MLPs (grey)"
    ax.set_xlabel(
        below + (f"; not drawn: {' and '.join(hidden)}" if hidden else ""), fontsize=plots.TICK
    )
    said = ", ".join(f"{name} {value:.2f}" for name, value in graph.scores.items())
    said = f"{said} (of the whole graph)" if "pruned" in graph.metadata else said
    ax.set_title(title if title is not None else said, fontsize=plots.TITLE)
    return ax


def _shown(token: str) -> str:
    return plots.literal(repr(token)[1:-1].strip() or "␣")


def _node(ax: Any, node: dict[str, Any], size: float, named: bool) -> None:
    """Draws one node: a word for a token or a logit, otherwise a mark as large as its influence."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white")]
    if node["kind"] in ("token", "logit"):
        ax.scatter([node["x"]], [node["y"]], s=14, color=MEMBER, zorder=3)
        if node["kind"] == "logit":
            ax.annotate(
                _shown(node["text"]),
                (node["x"], node["y"]),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=plots.TICK,
                color=MEMBER,
                zorder=5,
                path_effects=halo,
            )
        return
    ax.scatter(
        [node["x"]],
        [node["y"]],
        s=12 + 130 * size,
        marker=MARKERS[node["kind"]],
        color=FILL[node["kind"]],
        edgecolor=MEMBER,
        linewidth=0.8,
        zorder=3,
    )
    if named:
        ax.annotate(
            plots.literal(node["text"]),
            (node["x"], node["y"]),
            xytext=(0, -7),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=plots.TICK - 1,
            color=MEMBER,
            zorder=5,
            path_effects=halo,
        )
