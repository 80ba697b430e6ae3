"""Attribution graphs on disk: our own JSON, Neuronpedia's schema, circuit-tracer's graphs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from interp import _files, _store
from interp._errors import short
from interp.features.graphs.influence import Node, scores

if TYPE_CHECKING:  # the graph knows its files, not the other way round
    from interp.features.graphs.attribution_graph import AttributionGraph

SCHEMA = 1
WHAT = "an attribution graph saved by interp"
MOST_NODES = 20_000
Number = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-1, le=10**9)]


class _NodeRow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["token", "feature", "error", "mlp", "logit"]
    site: Annotated[str, Field(max_length=100)]
    layer: Whole
    pos: Whole
    index: Whole = -1
    value: Number = 1.0
    bias: Number = 0.0
    label: Annotated[str, Field(max_length=1000)] = ""
    influence: Number | None = None


class _File(BaseModel):
    schema_: Literal[1] = Field(alias="schema")
    nodes: Annotated[list[_NodeRow], Field(min_length=1, max_length=MOST_NODES)]
    edges: list[tuple[Whole, Whole, Number]]
    weights: dict[str, Number]
    tokens: list[str]
    scores: dict[str, Number]
    groups: dict[str, list[str]]
    metadata: dict[str, Any]


def save(graph: "AttributionGraph", path: str | Path) -> Path:
    """The file written, as JSON: nodes, and edges [target, source, effect]."""
    rows = []
    for i, node in enumerate(graph.nodes):
        row = dict(node.__dict__)
        if graph.influence is not None:
            row["influence"] = float(graph.influence[i])
        rows.append(row)
    content = {
        "schema": SCHEMA,
        "tokens": list(graph.tokens),
        "scores": dict(graph.scores),
        "weights": dict(graph.weights),
        "groups": {name: list(some) for name, some in graph.groups.items()},
        "metadata": dict(graph.metadata),
        "nodes": rows,
        "edges": [
            [int(t), int(s), float(graph.effects[t, s])] for t, s in zip(*np.nonzero(graph.effects))
        ],
    }
    path = Path(path)
    return _store.write_text(path, json.dumps(content))


def load(path: str | Path) -> tuple[dict[str, Any], str]:
    """What a file that `save` wrote holds, by the fields of a graph, and what it is.

    Raises:
        ValueError: If it is no such file; the field that does not fit is named.
    """
    content = _files.read_json(path, WHAT)
    _files.check_kind(content, "interp.features.AttributionGraph.load", path, WHAT)
    held = _files.typed(_as_tuples(content), _File, path, WHAT)
    n = len(held.nodes)
    effects = np.zeros((n, n))
    for target, source, effect in held.edges:
        if not (0 <= target < n and 0 <= source < n):
            raise ValueError(
                f"{str(path)!r} is not {WHAT}: an edge runs from {source} to {target}, and there"
                f" are {n} nodes"
            )
        effects[target, source] = effect
    nodes = tuple(Node(**row.model_dump(exclude={"influence"})) for row in held.nodes)
    known = [row.influence for row in held.nodes]
    groups = {name: tuple(some) for name, some in held.groups.items()}
    return {
        "nodes": nodes,
        "effects": effects,
        "weights": held.weights,
        "tokens": tuple(held.tokens),
        "scores": held.scores,
        "groups": groups,
        "metadata": held.metadata,
        "influence": None if None in known else np.array(known, dtype=float),
    }, WHAT


def _as_tuples(content: Any) -> Any:
    """JSON has no tuples: rows of edges as such."""
    if isinstance(content, dict) and isinstance(content.get("edges"), list):
        rows = [tuple(row) if isinstance(row, list) else row for row in content["edges"]]
        content = {**content, "edges": rows}
    return content


# --- Neuronpedia ----------------------------------------------------------------------------------


def to_neuronpedia(
    graph: "AttributionGraph", path: str | Path, *, slug: str, scan: str = "custom"
) -> Path:
    """The graph as Neuronpedia's attribution graphs are written, for its page of uploads.

    Example:
        >>> graph.to_neuronpedia("france.json", slug="capital-of-france")

    Args:
        graph: A graph; prune it first, a page shows some hundred nodes.
        path: The file.
        slug: A short name for its address.
        scan: Which set of transcoders it is of, by Neuronpedia's name of it.

    Whole MLPs are written as errors of their layer, a dictionary of the stream as a transcoder of
    its layer; biases have no place in that schema.

    Reference:
        The schema of circuit-tracer's graph files (version 1).
    """
    n_layers = next(node.layer for node in graph.nodes if node.kind == "logit")
    order = np.argsort(-graph.influence) if graph.influence is not None else None
    passed = np.zeros(len(graph.nodes))
    if order is not None and graph.influence is not None and graph.influence.sum() > 0:
        passed[order] = np.cumsum(graph.influence[order]) / graph.influence.sum()
    rows, ids = [], []
    weights = graph.weights
    largest = max(weights, key=lambda name: weights[name])
    for node, share in zip(graph.nodes, passed):
        layer, index = str(node.layer), node.index
        kind, js = "cross layer transcoder", f"{layer}_{index}-0"
        feature, clerp = _pair(node.layer, index) if node.kind == "feature" else -1, ""
        if node.kind == "token":
            layer, kind, js, feature = "E", "embedding", f"E_{index}-{node.pos}", node.pos
        elif node.kind in ("error", "mlp"):
            kind, index, js = "mlp reconstruction error", -1, f"{layer}_-1-{node.pos}"
        elif node.kind == "logit":
            layer, kind, js = str(n_layers + 1), "logit", f"L_{index}-{node.pos}"
            feature, clerp = index, f'Output "{node.label}" (p={weights.get(node.name, 0):.3f})'
        clerp = (
            clerp or _group_of(graph, node.name) or (node.label if node.kind == "feature" else "")
        )
        ids.append(f"{layer}_{index}_{node.pos}")
        rows.append(
            {
                "node_id": ids[-1],
                "feature": feature,
                "layer": layer,
                "ctx_idx": node.pos,
                "feature_type": kind,
                "token_prob": weights.get(node.name, 0.0) if node.kind == "logit" else 0.0,
                "is_target_logit": node.name == largest,
                "run_idx": 0,
                "reverse_ctx_idx": 0,
                "jsNodeId": js,
                "clerp": clerp,
                "influence": float(share),
                "activation": node.value if node.kind == "feature" else None,
            }
        )
    named = {node.name: i for i, node in enumerate(graph.nodes)}
    content = {
        "metadata": {
            "slug": slug,
            "scan": scan,
            "transcoder_list": [],
            "prompt_tokens": list(graph.tokens),
            "prompt": "".join(graph.tokens),
            "node_threshold": (graph.metadata.get("pruned") or {}).get("nodes"),
            "schema_version": 1,
        },
        "qParams": {
            "pinnedIds": [],
            "supernodes": [
                [name, *(ids[named[one]] for one in some)] for name, some in graph.groups.items()
            ],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": rows,
        "links": [
            {"source": ids[s], "target": ids[t], "weight": float(graph.effects[t, s])}
            for t, s in zip(*np.nonzero(graph.effects))
        ],
    }
    return _store.write_text(Path(path), json.dumps(content))


class _TheirNode(BaseModel):
    node_id: Annotated[str, Field(max_length=200)]
    layer: str
    ctx_idx: Whole
    feature_type: str
    token_prob: Number = 0.0
    clerp: str | None = ""
    influence: Number | None = None
    activation: Number | None = None


class _TheirLink(BaseModel):
    source: str
    target: str
    weight: Number


class _Theirs(BaseModel):
    metadata: dict[str, Any]
    nodes: Annotated[list[_TheirNode], Field(min_length=1, max_length=MOST_NODES)]
    links: list[_TheirLink]
    qParams: dict[str, Any] = {}


def from_neuronpedia(path: str | Path) -> tuple[dict[str, Any], str]:
    """What a graph in the schema of circuit-tracer and Neuronpedia holds, by the fields of ours.

    Raises:
        ValueError: If it is no such file.
    """
    what = "an attribution graph of circuit-tracer or Neuronpedia"
    held = _files.typed(_files.read_json(path, what), _Theirs, path, what)
    tokens = tuple(map(str, held.metadata.get("prompt_tokens", [])))
    numbers = [int(n.layer) for n in held.nodes if n.layer.isascii() and n.layer.isdecimal()]
    top = max(numbers, default=0)
    nodes, places = [], {}
    weights: dict[str, float] = {}
    for row in held.nodes:
        if row.node_id in places:
            raise ValueError(
                f"{str(path)!r} is not {what}: the node {short(row.node_id)} is there twice"
            )
        parts = row.node_id.split("_")
        index = int(parts[1]) if len(parts) == 3 and parts[1].lstrip("-").isdecimal() else -1
        kind = {"embedding": "token", "mlp reconstruction error": "error", "logit": "logit"}.get(
            row.feature_type, "feature"
        )
        layer = (
            -1 if kind == "token" else top if kind == "logit" else _number(row.layer, path, what)
        )
        site = {"token": "embed", "logit": "logits"}.get(kind, f"mlp.{layer}")
        label = (
            (row.clerp or "").split('"')[1]
            if kind == "logit" and '"' in (row.clerp or "")
            else row.clerp or ""
        )
        if kind == "token" and row.ctx_idx < len(tokens):
            label = tokens[row.ctx_idx]
        value = row.activation if kind == "feature" and row.activation is not None else 1.0
        node = Node(kind, site, layer, row.ctx_idx, index, value, 0.0, label)
        places[row.node_id] = len(nodes)
        nodes.append(node)
        if kind == "logit":
            weights[node.name] = row.token_prob
    effects = np.zeros((len(nodes), len(nodes)))
    for link in held.links:
        for end in (link.source, link.target):
            if end not in places:
                raise ValueError(
                    f"{str(path)!r} is not {what}: a link ends at {short(end)}, no node"
                )
        effects[places[link.target], places[link.source]] = link.weight
    given = held.qParams.get("supernodes") or []
    groups = {
        str(some[0]): tuple(nodes[places[one]].name for one in some[1:] if one in places)
        for some in given
        if isinstance(some, list) and some
    }
    at = [weights.get(node.name, 0.0) if node.kind == "logit" else 0.0 for node in nodes]
    try:
        worth = scores(effects, np.array(at), [node.kind for node in nodes])
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not {what}: {error}") from None
    return {
        "nodes": tuple(nodes),
        "effects": effects,
        "weights": weights,
        "tokens": tokens,
        "scores": worth,
        "groups": groups,
        "metadata": {"file": str(path)},
    }, what


def _number(layer: str, path: str | Path, what: str) -> int:
    if not (layer.isascii() and layer.isdecimal() and len(layer) < 6):
        raise ValueError(f"{str(path)!r} is not {what}: a node's layer is {short(layer)}")
    return int(layer)


def _group_of(graph: "AttributionGraph", name: str) -> str:
    return next((group for group, some in graph.groups.items() if name in some), "")


def _pair(x: int, y: int) -> int:
    """Cantor's number of a pair, by which the schema numbers features."""
    return (x + y) * (x + y + 1) // 2 + y
