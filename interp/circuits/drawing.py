"""Circuits as pictures: `layout` computes where everything stands, and matplotlib draws it.

Layers are rows, from the embedding at the bottom to the logits at the top. A head always stands at
its own place: its layer and its number. MLPs have a lane of their own. Query heads that share a KV
head stand together, and the edges into the shared keys and values end at the foot of their group.
"""

import io
import re
import textwrap
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from interp import plots, sites
from interp._errors import unknown
from interp.circuits.places import OTHER
from interp.circuits.residual_graph import Edge
from interp.sites import Site

if TYPE_CHECKING:  # the value knows its picture, not the other way round
    import interp.circuits.circuit

HELPS, HURTS, UNSCORED = (
    "#b2182b",
    "#2166ac",
    "#777777",
)  # red is up, as in our maps; the dash says the same
STYLES = {1: (HELPS, "-"), -1: (HURTS, (0, (3, 1.5))), 0: (UNSCORED, "-")}
DIFFERENCE = {
    "both": ("#555555", "-"),
    "only a": ("#d55e00", (0, (4, 1.5))),
    "only b": ("#0072b2", (0, (1.2, 1.2))),
}
COLOURS = ("#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#0072b2", "#8c6d31", "#999999")
MARKERS = "osD^vPX*"
# where an edge is read: other colours than the roles' (Tol's bright scheme); more get a scale
PLACES = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
ELSEWHERE = "#999999"  # all positions without a name
PLACE, MEMBER, BAND = "#d9d9d9", "#333333", "#e3e3e3"
WIDEST, THINNEST = 4.5, 0.35  # points
UNKNOWN = 0.1  # width of an edge without a score
NAMED, FEWER = (
    60,
    24,
)  # components that are all named; of more, the strongest few, and the axes say the rest
GAP, LANE, RISE, FOOT, ASIDE = 0.7, 1.3, 0.42, 0.3, 0.28
APART = 0.14  # between the curves of an edge that is kept at several places


# --- where everything stands ----------------------------------------------------------------------


def layout(circuit: "interp.circuits.circuit.Circuit", *, max_edges: int = 1000) -> dict[str, Any]:
    """Where every component of the circuit's model stands and how each edge runs: plain data.

    One unit up is a layer, one to the right a head. Ready for JSON, so that a widget can draw it
    too.

    Example:
        >>> layout(circuit)["nodes"]["L9H1"]
        {'x': 1.0, 'y': 9.0, 'kind': 'head', 'member': True, 'role': 'name mover'}

    Args:
        circuit: The circuit.
        max_edges: Only this many edges, the largest in size.

    Returns:
        nodes: all of the model's, with member = in the circuit. groups: query heads that share a KV
        head: {layer, index, x0, x1, y, read: which of "k" and "v" the circuit has edges into}.
        edges: smallest first, each {sender, receiver, score, sign, width, path}, and its place in a
        circuit by position, whose curves stand a little apart: width is the score
        in size over the largest (0.1 without a score), path a cubic curve by its four points x0 y0
        ... x3 y3. hidden: how many edges are left out. largest: the largest score in size.

    Raises:
        ValueError: If max_edges is negative.
    """
    if max_edges < 0:
        raise ValueError(f"max_edges={max_edges}: a number of edges (0 draws the components alone)")
    graph, places = circuit.graph, _places(circuit)
    roles = {head: role for role, heads in reversed(circuit.roles.items()) for head in heads}
    members = {
        *circuit.nodes,
        *(["logits"] if any(edge[1] == "logits.in" for edge in circuit.edges) else []),
    }
    nodes = {
        name: {**place, "member": name in members, "role": roles.get(name)}
        for name, place in places.items()
    }
    read = {edge[1] for edge in circuit.edges}
    aside = _asides(circuit)

    def size(score):
        return 0.0 if score is None else abs(score)

    ranked = sorted(circuit.edges.items(), key=lambda item: -size(item[1]))[:max_edges][::-1]
    largest = max((size(score) for _, score in ranked), default=0.0)
    groups = [
        {
            "layer": layer,
            "index": k,
            "x0": _x(k * graph.group, graph),
            "x1": _x((k + 1) * graph.group - 1, graph),
            "y": float(layer),
            "read": [p for p in "kv" if f"L{layer}KV{k}.{p}_in" in read],
        }
        for layer in range(graph.n_layers)
        for k in range(graph.n_kv_heads if graph.group > 1 else 0)
    ]
    edges = [
        {
            "sender": s,
            "receiver": r,
            **({"place": place[0]} if place else {}),
            "score": score,
            "sign": 0 if score is None else (-1 if score < 0 else 1),
            "width": UNKNOWN if score is None else abs(score) / (largest or 1.0),
            "path": _path(s, r, places, circuit, aside[(s, r, *place)]),
        }
        for (s, r, *place), score in ranked
    ]
    return {
        "nodes": nodes,
        "groups": groups,
        "edges": edges,
        "hidden": len(circuit) - len(edges),
        "largest": largest,
    }


def _x(head: int, graph: Any) -> float:
    """Where a head stands from left to right."""
    return head + (GAP * (head // graph.group) if graph.group > 1 else 0.0)


def _places(circuit: "interp.circuits.circuit.Circuit") -> dict[str, dict[str, Any]]:
    """Where every component of the model stands: {name: x, y, kind}."""
    graph = circuit.graph
    middle, lane = _x(graph.n_heads - 1, graph) / 2, _x(graph.n_heads - 1, graph) + LANE
    out = {"embed": {"x": middle, "y": -1.2, "kind": "embed"}}
    for site in sites.senders(graph)[1:]:
        head = site.family == "head"
        up = 0.0 if head or graph.parallel else RISE
        out[str(site)] = {
            "x": _x(site.index, graph) if head else lane,
            "y": site.layer + up,
            "kind": "head" if head else "mlp",
        }
    return out | {"logits": {"x": middle, "y": graph.n_layers + 0.4, "kind": "logits"}}


def _end(
    receiver: str, places: Mapping, circuit: "interp.circuits.circuit.Circuit"
) -> tuple[float, float]:
    """Where an edge ends: under its head, or at the foot of a KV group (k left, v right).
    The same replacement values for the engine, by kind and layer, broadcast over [batch pos].
    """
    site, graph = Site.parse(receiver), circuit.graph
    if site.family == "kv":
        heads = [places[str(h)]["x"] for h in sites.feeds(site, graph)]
        aside, foot = (ASIDE, FOOT + 0.08) if graph.group > 1 else (0.2, 0.12)
        return (
            sum(heads) / len(heads) + (-aside if site.part == "k_in" else aside),
            site.layer - foot,
        )
    place = places[receiver.rpartition(".")[0]]
    return place["x"], place["y"] - (0.12 if site.family == "head" else 0.0)


def _asides(circuit: "interp.circuits.circuit.Circuit") -> dict[Edge, float]:
    """How far to the side the curve of each edge runs, so that its places stand side by side."""
    beside: dict[tuple[str, ...], list[Edge]] = {}
    for edge in circuit.edges:
        beside.setdefault(edge[:2], []).append(edge)
    return {
        edge: APART * (k - (len(some) - 1) / 2)
        for some in beside.values()
        for k, edge in enumerate(some)
    }


def _path(
    sender: str,
    receiver: str,
    places: Mapping,
    circuit: "interp.circuits.circuit.Circuit",
    aside: float = 0.0,
) -> list[float]:
    """A curve that leaves upwards and arrives from below; within one column it swings out."""
    (x0, y0), (x1, y1) = (places[sender]["x"], places[sender]["y"]), _end(receiver, places, circuit)
    reach, across = y1 - y0, abs(x1 - x0)
    bend = 0.55 * max(reach, 0.25)
    swing = (0.25 + 0.09 * reach) * max(0.0, 1 - across) if reach > 1.2 else 0.0
    swing = min(swing, 1.6)
    out = swing + aside
    return [x0, y0, x0 + out, y0 + bend, x1 + out, y1 - bend, x1, y1]


# --- one circuit ----------------------------------------------------------------------------------


def draw(
    circuit: "interp.circuits.circuit.Circuit",
    ax: Any = None,
    *,
    max_edges: int = 1000,
    title: str | None = None,
    figure: Any = None,
    place: str | None = None,
) -> Any:
    """The Axes with the circuit: an edge's width = its score in size, colour and dash = its sign.

    Components of the model that are not in the circuit are pale dots, where they always stand. In
    a circuit by position the colour is the place where the edge is read; the dash is its sign.

    Example:
        >>> circuit.plot(max_edges=200)
        >>> by_place.plot(place="END")                      # only the edges that are read at END

    Args:
        circuit: The circuit.
        ax: Draw into these Axes.
        max_edges: Of more edges the largest are drawn, and the title says so.
        title: In place of the circuit's own description.
        figure: Drawn into when there is no ax.
        place: One of the circuit's places: its edges alone are drawn.

    Raises:
        ValueError: If max_edges is negative, or the circuit has no places or no such place.
    """
    if place is not None:
        if not circuit.places:
            raise ValueError(
                f"place={place!r}: this circuit has no places, and plot() draws all of it; scores"
                " of interp.discover(model, task, positions=True) give circuits with places"
            )
        if place not in circuit.places:
            raise unknown("place of this circuit", place, circuit.places, "plot() draws all of it")
        circuit = circuit._with({e: x for e, x in circuit.edges.items() if e[2:] == (place,)})
        title = title if title is not None else f"{_caption(circuit, {'hidden': 0})}, only {place}"
    plan = layout(circuit, max_edges=max_edges)
    ax = _axes(ax, figure, circuit)
    _stage(ax, plan, circuit)
    looks = _place_looks(circuit.places)
    for sign, (colour, dash) in STYLES.items():
        signed = [e for e in plan["edges"] if e["sign"] == sign]
        for at in looks or [None]:
            some = [e for e in signed if e.get("place") == at]
            _curves(ax, some, colour if at is None else looks[at], dash)
    _members(ax, plan, circuit.roles)
    _legend(ax, [*_edge_keys(plan, circuit), *_role_keys(plan, circuit.roles)])
    _title(ax, title if title is not None else _caption(circuit, plan))
    return ax


def png(circuit: "interp.circuits.circuit.Circuit", **options: Any) -> bytes:
    """The picture as PNG bytes, drawn without pyplot (safe in a widget's callback)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_size(circuit), dpi=plots.DPI, layout="constrained")
    draw(circuit, figure=figure, **options)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def html(circuit: "interp.circuits.circuit.Circuit") -> str:
    """The picture, and as text what it shows and where it comes from."""
    lines = [repr(circuit)[8:-1]]
    lines += [f"{k} {v}" for k, v in circuit.evaluation.items() if isinstance(v, str | int | float)]
    lines += [str(circuit.source[k]) for k in ("cite", "where", "note") if circuit.source.get(k)]
    picture = b64encode(png(circuit)).decode()
    caption = f"<div><small>{escape(' · '.join(lines))}</small></div>"
    return (
        f'<div><img alt="{escape(lines[0])}" src="data:image/png;base64,{picture}">{caption}</div>'
    )


# --- two circuits ---------------------------------------------------------------------------------


def diff(
    a: "interp.circuits.circuit.Circuit", b: "interp.circuits.circuit.Circuit"
) -> dict[str, "interp.circuits.circuit.Circuit"]:
    """The edges in both circuits, only in the first, and only in the second.

    Example:
        >>> {name: len(part) for name, part in diff(a, b).items()}
        {'both': 310, 'only a': 190, 'only b': 190}

    Args:
        a: A circuit; its scores are kept where an edge is in both.
        b: Another circuit of the same model.

    Raises:
        ValueError: If the two are of different models.
    """
    return {"both": a & b, "only a": a - b, "only b": b - a}


def plot_diff(
    a: "interp.circuits.circuit.Circuit",
    b: "interp.circuits.circuit.Circuit",
    ax: Any = None,
    *,
    names: Sequence[str] = ("a", "b"),
    max_edges: int = 1000,
    title: str | None = None,
    figure: Any = None,
) -> Any:
    """The Axes with two circuits of one model: common edges grey, the others by colour and dash.

    Width = score in size within each circuit, over its largest, so that circuits in different units
    can be compared.

    Example:
        >>> plot_diff(eap, exact, names=("EAP", "exact"))

    Args:
        a: A circuit.
        b: Another circuit of the same model.
        ax: Draw into these Axes.
        names: What the two are called.
        max_edges: Of each circuit this many edges are drawn, the largest.
        title: In place of the shares of common edges.
        figure: Drawn into when there is no ax.

    Raises:
        ValueError: If there are not two names, or the circuits are of different models.
    """
    if len(names) != 2:
        raise ValueError(
            f"names={list(names)}: one for each of the two circuits (try names=('EAP', 'exact'))"
        )
    parts = diff(a, b)
    plans = {"a": layout(a, max_edges=max_edges), "b": layout(b, max_edges=max_edges)}
    edges: dict[Any, dict] = {}
    for plan in plans.values():
        for edge in plan["edges"]:
            at = [edge["place"]] if "place" in edge else []
            edges.setdefault((edge["sender"], edge["receiver"], *at), edge)
    whole = a | b
    plan = {**layout(whole, max_edges=0), "edges": list(edges.values())}
    ax = _axes(ax, figure, whole)
    _stage(ax, plan, whole)
    for part, (colour, dash) in DIFFERENCE.items():
        _curves(
            ax,
            [e for at, e in edges.items() if at in parts[part]],
            colour,
            dash,
            THINNEST if part == "both" else 1.0,
        )
    _members(ax, plan, whole.roles)
    labels = {"both": "in both", "only a": f"only in {names[0]}", "only b": f"only in {names[1]}"}
    keys = [
        _line(f"{labels[p]}: {_count(len(parts[p]), 'edge')}", *DIFFERENCE[p]) for p in DIFFERENCE
    ]
    _legend(ax, [*keys, *_role_keys(plan, whole.roles)])
    hidden = len(whole) - len(edges)
    more = f"; the {max_edges} largest of each are drawn" if hidden else ""
    _title(
        ax,
        (
            title
            if title is not None
            else (
                f"{whole.model}: {names[0]} and {names[1]}, {a.jaccard(b):.0%} of all edges"
                f"{whole._at_places()} shared{more}"
            )
        ),
    )
    return ax


# --- drawing --------------------------------------------------------------------------------------


def _size(circuit: "interp.circuits.circuit.Circuit") -> tuple[float, float]:
    """Inches: a third of an inch or more per row where it fits, and room for the legend."""
    graph = circuit.graph
    wide = _x(graph.n_heads - 1, graph) + LANE
    row = min(0.8, max(0.34, 5 / graph.n_layers))
    return min(11.0, max(5.5, 0.62 * wide + 1.4)), min(13.0, row * (graph.n_layers + 2) + 1.9)


def _axes(ax: Any, figure: Any, circuit: "interp.circuits.circuit.Circuit") -> Any:
    if ax is not None:
        return ax
    return figure.subplots() if figure is not None else plots._new(*_size(circuit))


def _stage(ax: Any, plan: Mapping, circuit: "interp.circuits.circuit.Circuit") -> None:
    """The places: dots for every component, bands for KV groups, layers and heads on the axes."""
    from matplotlib.patches import FancyBboxPatch

    graph, nodes = circuit.graph, plan["nodes"]
    for group in plan["groups"]:
        at, wide = (group["x0"] - 0.32, group["y"] - FOOT), group["x1"] - group["x0"] + 0.64
        look = dict(
            boxstyle="round,pad=0,rounding_size=0.2",
            facecolor=BAND if group["read"] else "#f4f4f4",
            edgecolor="none",
        )
        ax.add_patch(FancyBboxPatch(at, wide, 0.52, zorder=0, **look))
        for part in group["read"]:
            at = (
                (group["x0"] + group["x1"]) / 2 + (-ASIDE if part == "k" else ASIDE),
                group["y"] - FOOT,
            )
            box = dict(boxstyle="round,pad=0.1", facecolor=BAND, edgecolor="none")
            ax.text(
                *at,
                part,
                ha="center",
                va="center",
                fontsize=plots.TICK - 1,
                color=MEMBER,
                zorder=5,
                bbox=box,
            )
    away = [n for n in nodes.values() if not n["member"] and n["kind"] in ("head", "mlp")]
    ax.scatter(
        [n["x"] for n in away], [n["y"] for n in away], s=7, color=PLACE, linewidth=0, zorder=1
    )
    lane = _x(graph.n_heads - 1, graph) + LANE
    heads = [(_x(h, graph), str(h)) for h in range(graph.n_heads)]
    every = max(1, -(-graph.n_layers // 40))
    ax.set_xticks(
        [*(x for x, _ in heads), lane], [*(name for _, name in heads), "MLP"], fontsize=plots.TICK
    )
    ax.set_yticks(
        range(0, graph.n_layers, every),
        [str(n) for n in range(0, graph.n_layers, every)],
        fontsize=plots.TICK,
    )
    shared = f"keys and values shared by {graph.group} heads: k and v at their foot"
    ends = shared if graph.group > 1 else "edges end under it: k left, q middle, v right"
    ax.set_xlabel(f"head ({ends})", fontsize=plots.LABEL)
    ax.set_ylabel("layer (edges run upwards)", fontsize=plots.LABEL)
    ax.set_xlim(-0.8, lane + 1.6)
    ax.set_ylim(-1.7, graph.n_layers + 0.9)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def _curves(
    ax: Any, edges: Sequence[Mapping], colour: str, dash: Any, least: float = THINNEST
) -> None:
    """Draws the edges in one colour and dash, the width by their score."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    if not edges:
        return
    t = np.linspace(0, 1, 28)[:, None]
    lines = []
    for edge in edges:
        p = np.array(edge["path"]).reshape(4, 2)
        lines.append(
            (1 - t) ** 3 * p[0]
            + 3 * (1 - t) ** 2 * t * p[1]
            + 3 * (1 - t) * t**2 * p[2]
            + t**3 * p[3]
        )
    size = np.array([edge["width"] for edge in edges])
    faint = (
        0.28 + 0.62 * np.sqrt(size)
        if len(edges) > 40 and least == THINNEST
        else np.full(len(size), 0.85)
    )
    colours = [to_rgba(colour, a) for a in faint]
    wide = least + (WIDEST - least) * size
    ax.add_collection(
        LineCollection(
            lines, linewidths=wide, colors=colours, linestyles=[dash], zorder=2, capstyle="butt"
        )
    )


def _members(ax: Any, plan: Mapping, roles: Mapping) -> None:
    """The circuit's own components over the edges: a shape and a colour for each role, names."""
    inside = {name: n for name, n in plan["nodes"].items() if n["member"]}
    for role, (colour, marker) in {None: (MEMBER, "o"), **_looks(roles)}.items():
        nodes_of_role = [
            n for n in inside.values() if n["role"] == role and n["kind"] in ("head", "mlp")
        ]
        at, look = (
            [(n["x"], n["y"]) for n in nodes_of_role],
            dict(color=colour, marker=marker, edgecolor="white", linewidth=0.6),
        )
        ax.scatter(*(zip(*at) if at else ((), ())), s=48 if role else 20, zorder=4, **look)
    for name in ("embed", "logits"):
        place, is_member = plan["nodes"][name], name in inside
        box = dict(
            boxstyle="round,pad=0.3",
            facecolor="white" if is_member else "#fafafa",
            edgecolor=MEMBER if is_member else PLACE,
        )
        text, colour = dict(embed="embedding").get(name, name), MEMBER if is_member else "#999999"
        ax.text(
            place["x"],
            place["y"],
            text,
            ha="center",
            va="center",
            fontsize=plots.LABEL,
            color=colour,
            bbox=box,
            zorder=5,
        )
    _names(ax, inside, plan["edges"])


def _names(ax: Any, inside: Mapping, edges: Sequence[Mapping]) -> None:
    """Writes the components' names: all of a few, the strongest of many."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.2, foreground="white")]
    strength = {name: 0.0 for name, n in inside.items() if n["kind"] in ("head", "mlp")}
    for edge in edges:
        for end in {edge["sender"], edge["receiver"].rpartition(".")[0]} & strength.keys():
            strength[end] += edge["width"]
    only_strongest = len(inside) > NAMED
    for name, n in inside.items():
        if name in (
            sorted(strength, key=lambda name: -strength[name])[:FEWER]
            if only_strongest
            else strength
        ):
            look = dict(textcoords="offset points", fontsize=plots.TICK, path_effects=halo)
            ax.annotate(name, (n["x"], n["y"]), xytext=(4.5, 3), zorder=6, **look)


def _looks(roles: Mapping) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each role."""
    return {
        role: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, role in enumerate(roles)
    }


def _place_looks(places: Sequence[str]) -> dict[str, Any]:
    """A colour for each place: a few names have their own, numbers and many names a scale."""
    from matplotlib import colormaps

    named = [place for place in places if place != OTHER]
    if len(named) <= len(PLACES) and not any(place.isdigit() for place in named):
        looks: dict[str, Any] = dict(zip(named, PLACES))
    else:
        scale = colormaps["viridis"](np.linspace(0, 0.88, len(named)))
        looks = dict(zip(named, map(tuple, scale)))
    return {place: looks.get(place, ELSEWHERE) for place in places}


def _at_place(place: str) -> str:
    """A place in the legend."""
    if place == OTHER:
        return "read elsewhere"
    return f"read at {'position ' if place.isdigit() else ''}{place}"


def _line(label: str, colour: str, dash: Any, width: float = 2.0) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=dash, linewidth=width, label=label)


def _edge_keys(plan: Mapping, circuit: "interp.circuits.circuit.Circuit") -> list:
    """The legend's entries for edges."""
    unit = circuit.source.get("unit") or "the scores' own unit"
    labels = {1: "helps: score > 0", -1: "hurts: score < 0", 0: "edge, not scored"}
    signs = {edge["sign"] for edge in plan["edges"]}
    looks = _place_looks(circuit.places)
    count = Counter(edge.get("place") for edge in plan["edges"])
    keys = [
        _line(f"{_at_place(at)}: {_count(count[at], 'edge')}", colour, "-")
        for at, colour in looks.items()
        if count[at]
    ]
    keys += [
        _line(labels[sign], "#000000" if looks else STYLES[sign][0], STYLES[sign][1])
        for sign in (1, -1, 0)
        if sign in signs
    ]
    if signs & {1, -1}:
        keys.append(_line(f"thickest = {plan['largest']:.3g} {unit}", "#000000", "-", WIDEST))
    return keys


def _role_keys(plan: Mapping, roles: Mapping) -> list:
    """The legend's entries for roles."""
    from matplotlib.lines import Line2D

    drawn_roles = {n["role"] for n in plan["nodes"].values()}

    def look(colour, marker):
        return dict(
            color=colour, marker=marker, linestyle="", markersize=6, markeredgecolor="white"
        )

    return [
        Line2D([], [], label=role, **look(*style))
        for role, style in _looks(roles).items()
        if role in drawn_roles
    ]


def _legend(ax: Any, keys: Sequence) -> None:
    if keys:
        tall = ax.get_position().height * ax.figure.get_size_inches()[1]
        longest = max(len(key.get_label()) for key in keys)
        columns = 3 if longest <= 28 else 2 if longest <= 45 else 1
        ax.legend(
            handles=list(keys),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.5 / tall),
            ncols=columns,
            fontsize=plots.TICK,
            frameon=False,
        )


def _title(ax: Any, title: str) -> None:
    wide = ax.get_position().width * ax.figure.get_size_inches()[0]
    ax.set_title(textwrap.fill(title, max(20, int(13 * wide))), fontsize=plots.TITLE)


def _caption(circuit: "interp.circuits.circuit.Circuit", plan: Mapping) -> str:
    """The title: model, task, method, size."""
    how = str(
        circuit.source.get("method") or circuit.source.get("cite") or circuit.source.get("kind", "")
    )
    until_year = re.match(r".{,60}?\b(19|20)\d\d\b", how)
    how = until_year[0] if until_year else textwrap.shorten(how, 60, placeholder=" ...")
    caption = " · ".join(x for x in (circuit.model, circuit.task.get("name", ""), how) if x)
    size = ", ".join(
        _count(n, what)
        for n, what in ((len(circuit), "edge"), (len(circuit.nodes), "component"))
        if n
    )
    size = size.replace(", ", f"{circuit._at_places()}, ", 1)
    return f"{caption}: {size}" + (
        f" (the {len(plan['edges'])} largest drawn)" if plan["hidden"] else ""
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
