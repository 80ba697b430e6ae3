"""A feature circuit as a picture: one row per site, edges upwards to the output."""

from typing import TYPE_CHECKING, Any

import numpy as np

from interp import plots
from interp.circuits.drawing import HELPS, HURTS, MEMBER, STYLES, THINNEST, WIDEST

if TYPE_CHECKING:  # the value knows its picture, not the other way round
    import interp.features.circuits.feature_circuit

OUTPUT = "output"  # the node that a circuit ends in

NAMED = 16  # nodes of a row that are named; of more, the largest


def layout(circuit: "interp.features.circuits.feature_circuit.FeatureCircuit") -> dict[str, Any]:
    """Where every node stands and how each edge runs, as plain data.

    The largest scores of a row stand in its middle.
    """
    nodes: dict[str, dict[str, Any]] = {}
    for row, site in enumerate(circuit.sites):
        names = sorted(
            (n for n in circuit.nodes if n.rpartition(":")[0] == site),
            key=lambda n: -abs(circuit.nodes[n]),
        )
        for rank, name in enumerate(names):
            side = (rank + 1) // 2 * (1 if rank % 2 else -1)
            nodes[name] = {
                "x": float(side + (0.5 if len(names) % 2 == 0 else 0)),
                "y": float(row),
                "score": circuit.nodes[name],
                "rank": rank,
            }
    nodes[OUTPUT] = {"x": 0.0, "y": float(len(circuit.sites)), "score": None, "rank": 0}
    largest = max(map(abs, circuit.edges.values()), default=1.0) or 1.0
    ranked = sorted(circuit.edges.items(), key=lambda item: abs(item[1]))
    edges = [
        {"from": a, "to": b, "score": s, "width": abs(s) / largest, "sign": -1 if s < 0 else 1}
        for (a, b), s in ranked
    ]
    return {"nodes": nodes, "edges": edges, "largest": largest}


def draw(
    circuit: "interp.features.circuits.feature_circuit.FeatureCircuit",
    ax: Any = None,
    *,
    title: str | None = None,
) -> Any:
    """The Axes with the circuit: one row per site; width = size of a score, colour = sign.

    Args:
        circuit: The circuit.
        ax: Where to draw; a new figure if None.
        title: In place of the number of nodes and edges.
    """
    plan = layout(circuit)
    nodes, rows = plan["nodes"], [*circuit.sites, OUTPUT]
    wide = max([abs(n["x"]) for n in nodes.values()] + [2.0])
    ax = plots._new(min(11.0, 1.5 + 1.1 * wide), 1.0 + 1.15 * len(rows)) if ax is None else ax
    _edges(ax, plan)
    size = (
        max([abs(n["score"]) for n in nodes.values() if n["score"] is not None], default=1.0) or 1.0
    )
    for name, node in nodes.items():
        _node(ax, name, node, size)
    ax.set_yticks(range(len(rows)), rows, fontsize=plots.TICK)
    ax.set_xticks([])
    ax.set_xlim(-wide - 0.8, wide + 0.8)
    ax.set_ylim(-0.5, len(rows) - 0.5)
    ax.set_xlabel(_key(circuit, plan, size), fontsize=plots.LABEL)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    caption = " · ".join(
        str(circuit.metadata[k]) for k in ("model", "task") if circuit.metadata.get(k)
    )
    ax.set_title(
        (
            title
            if title is not None
            else f"{caption}: {len(circuit.nodes)} nodes, {len(circuit.edges)} edges"
        ),
        fontsize=plots.TITLE,
    )
    return ax


def _key(
    circuit: "interp.features.circuits.feature_circuit.FeatureCircuit", plan: dict, size: float
) -> str:
    """The sentence below the picture: colours, thickest edge, largest node, squares."""
    unit = circuit.metadata.get("unit", "")
    thickest = f"thickest edge {plan['largest']:.2g}, " if circuit.edges else ""
    return (
        f"solid red helps, dashed blue hurts; {thickest}largest node {size:.2g} {unit}".rstrip()
        + "; squares: error terms"
    )


def _edges(ax: Any, plan: dict) -> None:
    """Draws the edges, the largest last."""
    for edge in plan["edges"]:
        a, b = plan["nodes"][edge["from"]], plan["nodes"][edge["to"]]
        colour, dash = STYLES[edge["sign"]]
        t = np.linspace(0, 1, 24)
        ease = 3 * t**2 - 2 * t**3
        x, y = a["x"] + (b["x"] - a["x"]) * ease, a["y"] + 0.12 + (b["y"] - a["y"] - 0.36) * t
        look = dict(
            linewidth=THINNEST + (WIDEST - THINNEST) * edge["width"],
            alpha=0.25 + 0.65 * edge["width"] ** 0.5,
        )
        ax.plot(x, y, color=colour, linestyle=dash, zorder=1, **look)


def _node(ax: Any, name: str, node: dict, size: float) -> None:
    """Draws one node, with its name if it is among the largest of its row."""
    from matplotlib.patheffects import withStroke

    if name == OUTPUT:
        box = dict(boxstyle="round,pad=0.3", facecolor="white", edgecolor=MEMBER)
        ax.text(
            node["x"],
            node["y"],
            "output",
            ha="center",
            va="center",
            fontsize=plots.LABEL,
            bbox=box,
            zorder=4,
        )
        return
    label, colour = name.rpartition(":")[2], HELPS if node["score"] >= 0 else HURTS
    marker = "s" if label == "error" else "o"
    ax.scatter(
        [node["x"]],
        [node["y"]],
        s=25 + 170 * abs(node["score"]) / size,
        marker=marker,
        color=colour,
        edgecolor="white",
        linewidth=0.7,
        zorder=3,
    )
    if node["rank"] < NAMED:
        look = dict(
            ha="center",
            va="top",
            fontsize=plots.TICK,
            color=MEMBER,
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
        ax.annotate(
            label, (node["x"], node["y"]), xytext=(0, -8), textcoords="offset points", **look
        )
