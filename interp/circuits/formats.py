"""Other tools' files: scores and circuits of EAP-IG and the MIB benchmark, scores of auto-circuit.

    scores = read("importances.pt", model)              # a Result with axes sender, receiver
    circuit = read("graph.json", model, circuit=True)   # the edges the file marks as in the graph
    write("importances.json", scores, model)            # for EAP-IG's Graph.from_json, and for MIB

EAP-IG names nodes `input`, `a5.h2`, `m7`, `logits` and edges `a5.h2->m7`, `m3->a9.h6<q>`. It gives
every query head its own k and v. Where query heads share a KV head the shared edge is their sum:
written as an equal part to each head of the group, read by adding the parts.

Signs. EAP-IG: (corrupted - clean) times the slope of minus the metric in the clean run, so positive
means that corrupting the edge hurts: our own convention, numbers are taken as they are.
auto-circuit ranks by size alone, and which sign is which depends on its algorithm, so its scores
are read as sizes.

A .pt file is a pickle, which can run code. It is only ever opened with `weights_only=True`.
"""

import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interp import _files, _store, sites
from interp._errors import listed, unknown
from interp._numbers import to_numpy
from interp.circuits.circuit import CONVENTION, UNNAMED, Circuit
from interp.circuits.residual_graph import graph_of, places_of, shape
from interp.dims import Graph
from interp.models import bridge
from interp.results import Result

MOST = 1000  # layers or heads; a file that claims more is damaged
MOST_HEADS = 50_000  # layers times heads; the largest models have 16,128
EAP_IG = "EAP-IG: corrupting an edge of positive score hurts; taken as it is"
AUTO_CIRCUIT = "auto-circuit: sizes only; the sign depends on its algorithm and was dropped"


def read(path: str | Path, model: Any = None, *, circuit: bool = False) -> Result | Circuit:
    """The scores in another tool's file, or with circuit=True the edges that it marks as chosen.

    Example:
        >>> scores = read("importances.pt", model)
        >>> Circuit.top(scores, 500)
        >>> read("graph.json", "gpt2", circuit=True)

    Args:
        path: EAP-IG or MIB .json or .pt, auto-circuit PruneScores .pt.
        model: A loaded model, or a Circuit or scores of it; a name or nothing when every query head
            has its own k and v (these files do not say which heads share them).
        circuit: Read the edges marked as in the graph, not the scores.

    Returns:
        Scores with axes sender and receiver, in the unit of whatever metric the file was made with;
        NaN where there is no edge or no score. Where query heads share keys and values, their
        scores are summed; such an edge is in the circuit when it is there for any of them.

    Raises:
        ValueError: If an edge is unknown, the shape is another model's, the file is damaged, or a
            pickle would run code.
    """
    path = Path(path)
    name, graph = _given(model)
    if path.suffix == ".json":
        parsed = _from_json(path, graph)
    elif path.suffix == ".pt":
        content = _load(path)
        parsed = (
            _from_pt(path, content, graph)
            if "edges_scores" in content
            else _from_auto_circuit(path, content, graph)
        )
    else:
        raise ValueError(
            f"{str(path)!r}: .json and .pt files of EAP-IG, MIB and auto-circuit can be read, not"
            f" {path.suffix!r}"
        )
    scores, chosen, graph, how = parsed
    metadata = {
        "model": name,
        "method": f"read from {path.name}",
        "format": how,
        "convention": CONVENTION,
    }
    if circuit:
        return _as_circuit(path, scores, chosen, graph, name, how)
    if np.isnan(scores).all():
        raise ValueError(
            f"{str(path)!r} has no scores"
            + (" (try circuit=True for its edges)" if chosen is not None else "")
        )
    coords = {
        "sender": list(map(str, sites.senders(graph))),
        "receiver": list(map(str, sites.receivers(graph))),
    }
    return Result(
        scores,
        ("sender", "receiver"),
        coords,
        f"scores of {path.name}",
        "unit of the file's metric",
        metadata,
    )


def write(
    path: str | Path, what: Result | Circuit, model: Any = None, *, d_model: int | None = None
) -> Path:
    """The path of the file written for EAP-IG and MIB: scores or a circuit, as .json or .pt.

    Example:
        >>> write("ioi_gpt2/importances.json", scores, model)
        >>> write("graph.pt", circuit, d_model=576)

    Args:
        path: A .json or .pt file.
        what: Scores of edges, or a circuit. Scores into shared keys and values are split evenly
            over the query heads of the group. A circuit's edges are marked as in the graph; other
            edges have no score. EAP-IG ranks NaN first, so no NaN is written: an edge without a
            score has 0 there, and a mark by which `read` knows it again.
        model: The loaded model, for the width of the residual stream.
        d_model: That width, where there is no model at hand.

    Returns:
        The path. The sign is ours and theirs: positive = corrupting the edge hurts.

    Raises:
        ValueError: If the suffix or the model does not fit, no edge has a score, or the edges are
            at places, for which these files have no room.
    """
    path = Path(path)
    if path.suffix not in (".json", ".pt"):
        raise ValueError(
            f"EAP-IG reads .json and .pt, got {str(path)!r} (try {path.stem + '.json'!r})"
        )
    graph = what.graph if isinstance(what, Circuit) else graph_of(what)
    places = what.places if isinstance(what, Circuit) else places_of(what)
    if places:
        call = "circuit.without_places()" if isinstance(what, Circuit) else "scores.sum('place')"
        raise ValueError(
            f"EAP-IG's and MIB's files know no positions, and these edges are at {len(places)}"
            f" places ({listed(places, 4)}): write"
            f" {call}, or keep the places in a file of our own, circuit.save('circuit.json')"
        )
    known = _given(model)[1]
    if known is not None and known != graph:
        raise ValueError(
            f"{what.model if isinstance(what, Circuit) else what.name!r} is of {shape(graph)}, the"
            f" model has {shape(known)}"
        )
    if d_model is None:
        if model is None or isinstance(model, str | Circuit | Result):
            raise ValueError(
                "EAP-IG's file says how wide the residual stream is: give the loaded model, or"
                " d_model=576"
            )
        d_model = bridge.dims(model).d_model
    scores, chosen = _tables(what, graph)
    cfg = {
        "n_layers": graph.n_layers,
        "n_heads": graph.n_heads,
        "parallel_attn_mlp": bool(graph.parallel),
        "d_model": int(d_model),
    }
    if path.suffix == ".json":
        return _store.write_text(
            path, json.dumps(_to_json(cfg, graph, scores, chosen, isinstance(what, Circuit)))
        )
    return _store.write_bytes(path, _to_pt(cfg, graph, scores, chosen))


# --- between their columns and ours ---------------------------------------------------------------


def _sources(graph: Graph) -> list[str]:
    """EAP-IG's names of what writes, in its order."""
    rows = [
        [*(f"a{layer}.h{h}" for h in range(graph.n_heads)), f"m{layer}"]
        for layer in range(graph.n_layers)
    ]
    return ["input", *(name for row in rows for name in row)]


def _targets(graph: Graph) -> list[str]:
    """EAP-IG's names of what reads, in its order."""

    def heads(layer):
        return [f"a{layer}.h{h}<{part}>" for part in "qkv" for h in range(graph.n_heads)]

    return [name for layer in range(graph.n_layers) for name in (*heads(layer), f"m{layer}")] + [
        "logits"
    ]


def _parts(graph: Graph) -> list[list[int]]:
    """For each of our receivers their columns: one, or a group's query heads for shared k and v."""
    out, heads, group = [], graph.n_heads, graph.group
    for layer in range(graph.n_layers):
        base = layer * (3 * heads + 1)
        out += [[base + h] for h in range(heads)]
        for part in (1, 2):
            out += [
                [base + part * heads + k * group + i for i in range(group)]
                for k in range(graph.n_kv_heads)
            ]
        out.append([base + 3 * heads])
    return [*out, [graph.n_layers * (3 * heads + 1)]]


def _exist(graph: Graph) -> np.ndarray:
    """Which pairs of a sender and a receiver are edges."""
    wrote, read_ = sites.senders(graph), sites.receivers(graph)
    return np.array([[sites.precedes(s, r, graph) for r in read_] for s in wrote])


def _ours(values: np.ndarray, graph: Graph) -> np.ndarray:
    """[source target] to [sender receiver]: shared edges added up, NaN without an edge."""
    out = np.stack([values[:, columns].sum(1) for columns in _parts(graph)], 1)
    return np.where(_exist(graph), out, np.nan)


def _theirs(ours: np.ndarray, graph: Graph) -> np.ndarray:
    """[sender receiver] to [source target]: an even part of a shared edge to each query head."""
    out = np.zeros((len(ours), graph.n_layers * (3 * graph.n_heads + 1) + 1), dtype=ours.dtype)
    for r, columns in enumerate(_parts(graph)):
        out[:, columns] = (
            ours[:, r : r + 1] / len(columns) if ours.dtype != bool else ours[:, r : r + 1]
        )
    return out


def _any(marks: np.ndarray, graph: Graph) -> np.ndarray:
    """Marks [source target] to [sender receiver]: a shared edge is marked when any part is."""
    return np.stack([marks[:, columns].any(1) for columns in _parts(graph)], 1) & _exist(graph)


# --- reading --------------------------------------------------------------------------------------

Found = tuple[np.ndarray, np.ndarray | None, Graph, str]


def _given(model: Any) -> tuple[str, Graph | None]:
    """The name and the shape that the caller knows of."""
    if model is None or isinstance(model, str):
        return model or UNNAMED, None
    if isinstance(model, Circuit):
        return model.model, model.graph
    if isinstance(model, Result):
        return model.metadata["model"], graph_of(model)
    d = bridge.dims(model)
    return bridge.name(model), Graph(d.n_layers, d.n_heads, d.n_kv_heads, d.parallel)


def _agree(path: Path, layers: int, heads: int, parallel: bool, graph: Graph | None) -> Graph:
    """The model's shape when the file is of it; the file's own when nothing is known."""
    if graph is None:
        return Graph(layers, heads, heads, parallel)
    if (layers, heads, parallel) != (graph.n_layers, graph.n_heads, bool(graph.parallel)):

        def blocks(p):
            return "parallel" if p else "sequential"

        raise ValueError(
            f"{str(path)!r} is of a model with {layers} layers x {heads} heads ({blocks(parallel)}"
            f" blocks), not of this one: {shape(graph)} ({blocks(graph.parallel)} blocks)"
        )
    return graph


def _of_cfg(path: Path, cfg: Any, graph: Graph | None) -> Graph:
    """The graph that a file's cfg says, checked against the one that is known."""
    if not isinstance(cfg, Mapping) or not {"n_layers", "n_heads"} <= cfg.keys():
        raise ValueError(
            f"{str(path)!r} does not say the model's shape (cfg with n_layers and n_heads)"
        )
    sizes = [cfg["n_layers"], cfg["n_heads"]]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= MOST for n in sizes)
    if not whole or sizes[0] * sizes[1] > MOST_HEADS:
        raise ValueError(
            f"{str(path)!r} claims {_files.short(sizes[0])} layers x {_files.short(sizes[1])}"
            f" heads: no such model (1 to {MOST} of each, {MOST_HEADS:,} heads at most)"
        )
    return _agree(path, sizes[0], sizes[1], bool(cfg.get("parallel_attn_mlp", False)), graph)


def _from_json(path: Path, graph: Graph | None) -> Found:
    """Scores, marks, graph and format of a .json file."""
    content = _files.read_json(path, "a graph of EAP-IG or MIB")
    if isinstance(content, dict) and "schema" in content:
        raise ValueError(f"{str(path)!r} is a circuit saved by interp: Circuit.load({str(path)!r})")
    if (
        not isinstance(content, dict)
        or not {"cfg", "edges"} <= content.keys()
        or not isinstance(content["edges"], dict)
    ):
        raise ValueError(
            f"{str(path)!r} is not a graph of EAP-IG or MIB: it needs cfg, nodes and edges"
        )
    graph = _of_cfg(path, content["cfg"], graph)
    nodes = content.get("nodes") or {}
    if not isinstance(nodes, dict):
        raise ValueError(f"{str(path)!r}: nodes should be a mapping, and is {_files.short(nodes)}")
    _no_neurons(
        path, [node.get("neurons", ()) for node in nodes.values() if isinstance(node, dict)]
    )
    rows, columns = (
        {name: i for i, name in enumerate(names)} for names in (_sources(graph), _targets(graph))
    )
    scores = np.full((len(rows), len(columns)), np.nan)
    chosen = np.zeros(scores.shape, dtype=bool)
    is_edge = _theirs(_exist(graph), graph)
    for edge, info in content["edges"].items():
        source, arrow, target = edge.partition("->")
        if not arrow or source not in rows or target not in columns:
            raise _not_an_edge(path, edge, source, rows, columns)
        at = rows[source], columns[target]
        if not is_edge[at]:
            raise ValueError(
                f"{str(path)!r}: {edge} is not an edge: {source} writes after {target} has read"
            )
        score = info.get("score") if isinstance(info, dict) else False
        if isinstance(score, bool) or not isinstance(score, int | float | None):
            raise ValueError(
                f"{str(path)!r}: {edge} is {_files.short(info)}, which needs a score (a number)"
                " and in_graph (true or false)"
            )
        score = score if info.get("scored", True) else None
        scores[at] = np.nan if score is None else _float(path, edge, score)
        chosen[at] = bool(info.get("in_graph", False))
    return _finite(path, _ours(scores, graph)), _any(chosen, graph), graph, EAP_IG


def _float(path: Path, edge: str, score: float) -> float:
    """The score as a float; an integer of 400 digits is none."""
    try:
        return float(score)
    except OverflowError:
        raise ValueError(f"{str(path)!r}: the score of {edge} is too large for a number") from None


def _not_an_edge(path: Path, edge: str, source: str, rows: Mapping, columns: Mapping) -> ValueError:
    """The ValueError for an edge with an unknown end."""
    end, known = (source, rows) if source not in rows else (edge.partition("->")[2], columns)
    return unknown(f"edge {edge!r} in {path.name}:", end, known, "'a5.h2->m7', 'm3->a9.h6<q>'")


def _load(path: Path) -> dict:
    """What is in a .pt file, when tensors and plain values are all there is."""
    content = _files.read_pt(path)
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(key, str) for key in content)
    ):
        raise ValueError(
            f"{str(path)!r} is neither a graph of EAP-IG nor scores of auto-circuit: it holds a"
            f" {type(content).__name__}"
        )
    return content


def _from_pt(path: Path, content: dict, graph: Graph | None) -> Found:
    """Scores, marks, graph and format of a .pt file of EAP-IG."""
    graph = _of_cfg(path, content.get("cfg"), graph)
    sources, targets = _sources(graph), _targets(graph)
    for what, names in (("src_nodes", sources), ("dst_nodes", targets)):
        if not isinstance(content.get(what, names), list | tuple):
            got = _files.short(content[what])
            raise ValueError(f"{str(path)!r}: {what} should be a list of names, and is {got}")
        if list(content.get(what, names)) != names:
            unknown_node = next((n for n in content[what] if n not in names), None)
            why = (
                f"{_files.short(unknown_node)} is not one of them"
                if unknown_node
                else "their order or number is another"
            )
            raise ValueError(f"{str(path)!r}: {what} are not those of {shape(graph)}: {why}")
    _no_neurons(path, content.get("neurons_in_graph", ()))
    scores = to_numpy(_tensor(path, content, "edges_scores", (len(sources), len(targets))))
    if "edges_scored" in content:
        scored = to_numpy(_tensor(path, content, "edges_scored", scores.shape).bool())
        scores = np.where(scored, scores, np.nan)
    chosen = (
        to_numpy(_tensor(path, content, "edges_in_graph", scores.shape).bool())
        if "edges_in_graph" in content
        else None
    )
    return (
        _finite(path, _ours(scores, graph)),
        None if chosen is None else _any(chosen, graph),
        graph,
        EAP_IG,
    )


def _tensor(path: Path, content: dict, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The tensor under a key, if it has this shape."""
    value = content.get(key)
    if isinstance(value, torch.Tensor) and (
        value.is_complex() or value.is_sparse or value.is_quantized
    ):
        raise ValueError(
            f"{str(path)!r}: {key} should hold plain real numbers, and is {value.dtype}"
        )
    if not isinstance(value, torch.Tensor) or tuple(value.shape) != tuple(shape):
        got = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(
            f"{str(path)!r}: {key} should be a tensor of shape {list(shape)}, and is {got}"
        )
    return value.detach()


def _no_neurons(path: Path, neurons: Any) -> None:
    """Raises ValueError for a circuit of single neurons."""
    try:
        rows = [torch.as_tensor(row).bool() for row in neurons]
    except (TypeError, ValueError, RuntimeError):
        got = _files.short(neurons)
        raise ValueError(f"{str(path)!r}: neurons should be lists of marks, got {got}") from None
    if any(row.numel() and not row.all() for row in rows):
        raise ValueError(
            f"{str(path)!r} is a circuit of single neurons; here a circuit's edges are between"
            " whole components"
        )


def _finite(path: Path, scores: np.ndarray) -> np.ndarray:
    """The scores, if none is infinite."""
    if np.isinf(scores).any():
        raise ValueError(
            f"{str(path)!r} has {int(np.isinf(scores).sum())} infinite scores: a score is a finite"
            " number, or NaN"
        )
    return scores


# --- auto-circuit ---------------------------------------------------------------------------------

_MODULE = re.compile(r"blocks\.(\d+)\.hook_(q_input|k_input|v_input|mlp_in|resid_post)")


def _from_auto_circuit(path: Path, content: dict, graph: Graph | None) -> Found:
    """PruneScores: {module: [head source] or [source]}, for the sources that come before."""
    unknown_modules = [key for key in content if not _MODULE.fullmatch(key)]
    if unknown_modules:
        whole = (
            "; edges into a whole layer's attention are not edges here (separate_qkv=True)"
            if "attn_in" in unknown_modules[0]
            else ""
        )
        raise ValueError(
            f"{str(path)!r}: {unknown_modules[0]!r} is no module of auto-circuit's split graph (try"
            f" 'blocks.3.hook_q_input'){whole}"
        )
    layers = 1 + max(int(_MODULE.fullmatch(key)[1]) for key in content)
    first = content.get("blocks.0.hook_q_input")
    if not isinstance(first, torch.Tensor) or first.ndim != 2 or layers > MOST:
        more = isinstance(first, torch.Tensor) and first.ndim > 2
        said_of = (
            f"{first.ndim - 2} more axes (token positions?)" if more else "no scores [head, 1]"
        )
        raise ValueError(
            f"{str(path)!r}: blocks.0.hook_q_input has {said_of}; scores without positions can be"
            " read"
        )
    heads = first.shape[0]
    mlp = content.get("blocks.0.hook_mlp_in")
    if mlp is None:
        raise ValueError(f"{str(path)!r} is of a model without MLPs, which has no graph here")
    if not isinstance(mlp, torch.Tensor) or not mlp.ndim:
        got = _files.short(mlp)
        raise ValueError(f"{str(path)!r}: blocks.0.hook_mlp_in should be a tensor, and is {got}")
    if not 0 < layers * heads <= MOST_HEADS:
        raise ValueError(f"{str(path)!r} claims {layers} layers x {heads} heads: no such model")
    parallel = mlp.shape[-1] == 1
    graph = _agree(path, layers, heads, parallel, graph)
    values = np.full((1 + layers * (heads + 1), layers * (3 * heads + 1) + 1), np.nan)
    for column, module, size in _modules(graph):
        if module not in content:
            raise ValueError(f"{str(path)!r} has no scores for {module}")
        value = to_numpy(_tensor(path, content, module, size))
        values[: size[-1], column : column + (size[0] if len(size) == 2 else 1)] = value.reshape(
            -1, size[-1]
        ).T
    return _finite(path, np.abs(_ours(values, graph))), None, graph, AUTO_CIRCUIT


def _modules(graph: Graph) -> list[tuple[int, str, tuple[int, ...]]]:
    """Each module's first column in EAP-IG's order, its name, and its shape."""
    out, heads = [], graph.n_heads
    for layer in range(graph.n_layers):
        base, before = layer * (3 * heads + 1), 1 + layer * (heads + 1)
        out += [
            (base + i * heads, f"blocks.{layer}.hook_{part}_input", (heads, before))
            for i, part in enumerate("qkv")
        ]
        out.append(
            (
                base + 3 * heads,
                f"blocks.{layer}.hook_mlp_in",
                (before + (0 if graph.parallel else heads),),
            )
        )
    last = (
        graph.n_layers * (3 * heads + 1),
        f"blocks.{graph.n_layers - 1}.hook_resid_post",
        (1 + graph.n_layers * (heads + 1),),
    )
    return [*out, last]


def _as_circuit(
    path: Path, scores: np.ndarray, chosen: np.ndarray | None, graph: Graph, name: str, how: str
) -> Circuit:
    """The circuit of the marked edges."""
    if chosen is None or not chosen.any():
        raise ValueError(
            f"{str(path)!r} marks no edge as in the graph (choose some: Circuit.top(read(...),"
            " 500))"
        )
    rows, columns = list(map(str, sites.senders(graph))), list(map(str, sites.receivers(graph)))

    def score(x):
        return None if math.isnan(x) else float(x)

    edges = {(rows[s], columns[r]): score(scores[s, r]) for s, r in np.argwhere(chosen)}
    return Circuit(
        edges, graph, name, source={"kind": "imported", "file": path.name, "format": how}
    )


# --- writing --------------------------------------------------------------------------------------


def _tables(what: Result | Circuit, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Their scores and their marks [source target]; NaN without a score, 0 without an edge."""
    is_edge = _exist(graph)
    if isinstance(what, Circuit):
        marks = what.weights().astype(bool)
        scores = np.full(is_edge.shape, np.nan)
        rows, columns = (
            {str(n): i for i, n in enumerate(nodes)}
            for nodes in (sites.senders(graph), sites.receivers(graph))
        )
        for (s, r, *_), score in what.edges.items():
            scores[rows[s], columns[r]] = np.nan if score is None else score
    else:
        scores, marks = what.values, np.zeros(is_edge.shape, dtype=bool)
        if scores.shape != is_edge.shape:
            raise ValueError(
                f"scores of some senders or receivers are missing: {scores.shape}, the graph has"
                f" {is_edge.shape}"
            )
        missing = int(np.isnan(scores[is_edge]).sum())
        if missing == is_edge.sum():
            raise ValueError(
                f"{what.name!r} has no score for any of its {missing} edges (all are NaN)"
            )
    return _theirs(np.where(is_edge, scores, 0.0), graph), _theirs(marks, graph)


def _nodes(graph: Graph, chosen: np.ndarray) -> np.ndarray:
    """Which sources have an edge in and an edge out (the input always): their reader's own rule."""
    heads, into = graph.n_heads, chosen.any(0)
    is_read = [True]
    for layer in range(graph.n_layers):
        base = layer * (3 * heads + 1)
        is_read += [
            bool(into[[base + h, base + heads + h, base + 2 * heads + h]].any())
            for h in range(heads)
        ]
        is_read.append(bool(into[base + 3 * heads]))
    return np.array(is_read) & chosen.any(1)


def _to_json(
    cfg: dict, graph: Graph, scores: np.ndarray, chosen: np.ndarray, marked_only: bool
) -> dict:
    """The content of a .json file for EAP-IG."""
    sources, targets = _sources(graph), _targets(graph)
    inside = _nodes(graph, chosen)
    nodes = {
        name: {"in_graph": bool(is_in_graph)} for name, is_in_graph in zip(sources, inside)
    } | {"logits": {"in_graph": True}}
    wanted = chosen if marked_only else _theirs(_exist(graph), graph)

    def described(score: float, marked: bool) -> dict[str, Any]:
        if np.isnan(score):  # 0, because their ranking puts NaN first
            return {"score": 0.0, "in_graph": marked, "scored": False}
        return {"score": score, "in_graph": marked}

    edges = {
        f"{sources[s]}->{targets[t]}": described(float(scores[s, t]), bool(chosen[s, t]))
        for s, t in np.argwhere(wanted)
    }
    return {"cfg": cfg, "nodes": nodes, "edges": edges}


def _to_pt(cfg: dict, graph: Graph, scores: np.ndarray, chosen: np.ndarray) -> bytes:
    """The bytes of a .pt file for EAP-IG."""
    buffer = io.BytesIO()
    torch.save(
        {
            "cfg": cfg,
            "src_nodes": _sources(graph),
            "dst_nodes": _targets(graph),
            "edges_scores": torch.tensor(np.nan_to_num(scores, nan=0.0), dtype=torch.float32),
            "edges_scored": torch.tensor(~np.isnan(scores)),  # ours: their ranking puts NaN first
            "edges_in_graph": torch.tensor(chosen),
            "nodes_in_graph": torch.tensor(_nodes(graph, chosen)),
        },
        buffer,
    )
    return buffer.getvalue()
