"""A circuit: which writes each receiver reads as they are. Every other edge is cut."""

import heapq
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from interp import _files, _store, sites
from interp._arguments import checks
from interp._errors import listed, unknown
from interp.circuits import residual_graph
from interp.circuits.residual_graph import Edge
from interp.dims import Graph
from interp.results import Result

SCHEMA = 1
UNNAMED = "unnamed"  # the model of a file that does not say whose it is
CONVENTION = "score > 0: corrupting the edge lowers the clean metric"


@dataclass(frozen=True, eq=False)
class Circuit:
    """Edges of a model's residual graph, from a sender ("L9H1") to a receiver ("L10H7.q_in").

    Example:
        >>> circuit = Circuit.top(discover(model, task), 500).prune()
        >>> len(circuit), circuit.nodes[:3]
        >>> circuit & other, circuit | other, circuit - other      # set algebra on edges
        >>> circuit.save("ioi.json"); Circuit.load("ioi.json")

    Attributes:
        edges: {(sender, receiver): score} in forward order; a score may be None where the source
            gives none.
        graph: Layers, heads, KV heads and whether blocks are parallel: the model's shape.
        model: The name it was loaded by.
        task: {"name", "n", "seed"}, and "make" and "options" where it was made with options.
        roles: {"name mover": ["L23H3"]}; a paper's circuit may have roles alone.
        source: Where it comes from.
        evaluation: Numbers of the run that evaluated it, with the split.
        convention: What the sign of a score means.
    """

    edges: Mapping[Edge, float | None]
    graph: Graph
    model: str
    task: dict[str, Any] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    convention: str = CONVENTION

    def __post_init__(self) -> None:
        self._check_types()
        wrong = residual_graph.first_unknown(self.edges, self.graph)
        if wrong is not None:
            raise ValueError(residual_graph.not_an_edge(wrong, self.graph, self.model))
        bad = [
            edge
            for edge, score in self.edges.items()
            if score is not None and not math.isfinite(score)
        ]
        if bad:
            raise ValueError(
                f"the score of {' -> '.join(bad[0])} is {self.edges[bad[0]]}: scores are finite"
                " numbers (leave the edge out)"
            )
        heads = {str(s) for s in sites.senders(self.graph)}
        not_components = [
            head for members in self.roles.values() for head in members if head not in heads
        ]
        if not_components:
            raise unknown("component in roles", not_components[0], heads, "'L23H3' or 'mlp.0'")
        ordered = sorted(self.edges.items(), key=residual_graph.forward_order(self.graph))
        object.__setattr__(self, "edges", dict(ordered))

    def _check_types(self) -> None:
        """Raises ValueError for a part of another type, with what it should be."""
        if not isinstance(self.model, str):
            raise ValueError(f"a circuit's model is its name, got {_files.short(self.model)}")
        for part in ("edges", "task", "roles", "source", "evaluation"):
            if not isinstance(getattr(self, part), Mapping):
                got = _files.short(getattr(self, part))
                raise ValueError(f"{part} of a circuit is a mapping, got {got}")
        for role, members in self.roles.items():
            if not isinstance(members, list | tuple) or not all(
                isinstance(head, str) for head in members
            ):
                got = _files.short(members)
                raise ValueError(f"the role {role!r} has a list such as ['L23H3'], got {got}")
        for edge, score in self.edges.items():
            ends = isinstance(edge, tuple) and len(edge) == 2
            if not ends or not all(isinstance(end, str) for end in edge):
                got = _files.short(edge)
                raise ValueError(f"an edge is ('L9H1', 'L10H7.q_in'), got {got}")
            if score is not None and not isinstance(score, int | float | np.number):
                got = _files.short(score)
                raise ValueError(f"the score of {' -> '.join(edge)} is a number, got {got}")

    # --- choosing edges by scores -----------------------------------------------------------------

    @staticmethod
    @checks("interp.Circuit.top")
    def top(scores: Result, n: int, *, absolute: bool = True) -> "Circuit":
        """The n edges with the largest scores, in size or (absolute=False) signed.

        Example:
            >>> Circuit.top(scores, 500)

        Args:
            scores: Scores of edges, from `discover`.
            n: How many edges.
            absolute: Rank by size, or (False) by the signed score.

        Raises:
            ValueError: If the graph has fewer edges, or an edge has no score.
        """
        flat, places = residual_graph.candidates(scores, absolute)
        if not 1 <= n <= len(places):
            raise ValueError(
                f"n={n}: the graph has {len(places)} edges (try n={max(1, len(places) // 50)})"
            )
        chosen = places[np.argsort(-flat[places], kind="stable")[:n]]
        return _of_scores(scores, chosen, {"select": "top", "n": n, "absolute": absolute})

    @staticmethod
    @checks("interp.Circuit.threshold")
    def threshold(scores: Result, at: float, *, absolute: bool = True) -> "Circuit":
        """The edges whose score is at least `at`, in the scores' unit.

        Args:
            scores: Scores of edges, from `discover`.
            at: The threshold.
            absolute: Compare the size, or (False) the signed score.

        Raises:
            ValueError: If no edge reaches it.
        """
        flat, places = residual_graph.candidates(scores, absolute)
        chosen = places[flat[places] >= at]
        if not len(chosen):
            raise ValueError(
                f"no edge scores {at:g} or more: the largest is {flat[places].max():.4g} (try a"
                " lower threshold)"
            )
        return _of_scores(scores, chosen, {"select": "threshold", "at": at, "absolute": absolute})

    @staticmethod
    @checks("interp.Circuit.greedy")
    def greedy(scores: Result, n: int, *, absolute: bool = True) -> "Circuit":
        """n edges grown backwards from the logits: each time the best edge into the circuit so far.

        Every component then has a path to the logits. A KV head is in as soon as one of its query
        heads is.

        Args:
            scores: Scores of edges, from `discover`.
            n: How many edges.
            absolute: Rank by size, or (False) by the signed score.

        Raises:
            ValueError: If the graph has fewer edges, or an edge has no score.

        Reference:
            Hanna et al. 2024 (arXiv 2403.17806), section 2.
        """
        flat, places = residual_graph.candidates(scores, absolute)
        if not 1 <= n <= len(places):
            raise ValueError(
                f"n={n}: the graph has {len(places)} edges (try n={max(1, len(places) // 50)})"
            )
        graph, (senders, receivers) = (
            residual_graph.graph_of(scores),
            (scores.coords["sender"], scores.coords["receiver"]),
        )
        size, wide = flat.reshape(len(senders), len(receivers)), len(receivers)
        column = {r: i for i, r in enumerate(receivers)}
        queue: list[tuple[float, int]] = []
        entered: set[str] = set()
        chosen: list[int] = []

        def enter(component: str) -> None:
            for r in residual_graph.reads(component, graph):
                if r not in entered:
                    entered.add(r)
                    above = np.flatnonzero(~np.isnan(scores.values[:, column[r]]))
                    for s in above:
                        heapq.heappush(queue, (-size[s, column[r]], int(s) * wide + column[r]))

        enter("logits")
        while len(chosen) < n and queue:
            _, at = heapq.heappop(queue)
            chosen.append(at)
            enter(senders[at // wide])
        return _of_scores(
            scores, np.array(chosen), {"select": "greedy", "n": n, "absolute": absolute}
        )

    @staticmethod
    def of(edges: Iterable[Edge], like: "Circuit | Result", **metadata: Any) -> "Circuit":
        """A circuit of these edges on the graph of another circuit or of scores.

        Example:
            >>> Circuit.of([("embed", "mlp.0.in"), ("mlp.0", "logits.in")], like=scores)

        Args:
            edges: Pairs (sender, receiver).
            like: A circuit or scores, for the model and its graph.
            metadata: The other attributes: task, roles, source.
        """
        graph = like.graph if isinstance(like, Circuit) else residual_graph.graph_of(like)
        model = like.model if isinstance(like, Circuit) else like.metadata["model"]
        return Circuit({tuple(edge): None for edge in edges}, graph, model, **metadata)

    def prune(self) -> "Circuit":
        """Only the edges on some path from the embedding to the logits.

        The others carry nothing or are never read: with resample ablation the circuit's run is the
        same without them. An edge into a KV head's keys or values is kept when any of the query
        heads that share it is.
        """
        before, after = self._reached()

        def keep(s, r):
            return s in before and any(c in after for c in residual_graph.feeds(r, self.graph))

        return self._with({(s, r): score for (s, r), score in self.edges.items() if keep(s, r)})

    def _reached(self) -> tuple[set[str], set[str]]:
        """Components that the embedding reaches, and components that reach the logits."""
        before, after = {"embed"}, {"logits"}
        for s, r in self.edges:  # forward order: every sender's own edges come before
            if s in before:
                before |= set(residual_graph.feeds(r, self.graph))
        for s, r in reversed(self.edges):
            if any(c in after for c in residual_graph.feeds(r, self.graph)):
                after.add(s)
        return before, after

    # --- as a set ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.edges)

    def __iter__(self) -> Iterator[Edge]:
        return iter(self.edges)

    def __contains__(self, edge: Edge) -> bool:
        return tuple(edge) in self.edges

    def __eq__(self, other: object) -> bool:
        """Whether the two would be saved as the same file."""
        return self.to_json() == other.to_json() if isinstance(other, Circuit) else NotImplemented

    def __and__(self, other: "Circuit") -> "Circuit":
        self._alike(other)
        return self._with(
            {edge: score for edge, score in self.edges.items() if edge in other.edges}, other
        )

    def __or__(self, other: "Circuit") -> "Circuit":
        self._alike(other)
        return self._with({**other.edges, **self.edges}, other)

    def __sub__(self, other: "Circuit") -> "Circuit":
        self._alike(other)
        return self._with(
            {edge: score for edge, score in self.edges.items() if edge not in other.edges}, other
        )

    def __invert__(self) -> "Circuit":
        """Every other edge of the graph, without scores."""
        every = residual_graph.edge_order(self.graph)
        return self._with({edge: None for edge in every if edge not in self.edges})

    def jaccard(self, other: "Circuit") -> float:
        """Edges in both, as a share of the edges in either (1 = the same circuit)."""
        self._alike(other)
        either = len(self.edges.keys() | other.edges.keys())
        return len(self.edges.keys() & other.edges.keys()) / either if either else 1.0

    def _alike(self, other: "Circuit") -> None:
        """Raises ValueError unless both circuits are of one model, as far as files say whose."""
        same = self.model == other.model or UNNAMED in (self.model, other.model)
        if self.graph != other.graph or not same:
            raise ValueError(
                f"circuits of {self.model!r} ({residual_graph.shape(self.graph)}) and"
                f" {other.model!r} ({residual_graph.shape(other.graph)}) have no edge in common:"
                " both must be of one model"
            )

    def _with(
        self, edges: Mapping[Edge, float | None], other: "Circuit | None" = None
    ) -> "Circuit":
        """The same with other edges; what was measured on these edges is dropped."""
        known = other if other is not None and self.model == UNNAMED else self
        return replace(self, edges=edges, evaluation={}, model=known.model)

    @property
    def nodes(self) -> list[str]:
        """The components at the ends of edges, or named in roles, in forward order."""
        present = {s for s, _ in self.edges} | {
            c for _, r in self.edges for c in residual_graph.nodes_of(r)
        }
        present |= {head for members in self.roles.values() for head in members}
        return [str(s) for s in sites.senders(self.graph) if str(s) in present]

    @property
    def share(self) -> float:
        """The circuit's size as a share of all edges of the graph."""
        return len(self.edges) / residual_graph.n_edges(self.graph)

    def weights(self) -> np.ndarray:
        """1 at the circuit's edges, 0 elsewhere [sender receiver]: a run's weights."""
        rows, columns = residual_graph.axes(self.graph)
        out = np.zeros((len(rows), len(columns)), dtype=np.float32)
        for s, r in self.edges:
            out[rows[s], columns[r]] = 1.0
        return out

    def check(self, model_name: str, graph: Graph, task: Any = None) -> "Circuit":
        """The circuit itself when it fits this model (and task); else a ValueError."""
        if graph != self.graph:
            raise ValueError(
                f"this circuit is of {self.model!r} ({residual_graph.shape(self.graph)}), the model"
                f" is {model_name!r} ({residual_graph.shape(graph)}): load the circuit's own model,"
                f" interp.load({self.model!r})"
            )
        if not self.edges:
            raise ValueError(
                "this circuit has no edges"
                + (", only roles: a paper's heads cannot be run as a circuit" if self.roles else "")
                + " (try Circuit.top(scores, 500))"
            )
        if model_name != self.model and self.model != UNNAMED:
            warnings.warn(
                f"this circuit is of {self.model!r}: what follows is what its edges are worth in"
                f" {model_name!r}",
                stacklevel=3,
            )
        if task is not None and self.task and self.task.get("name") != task.name:
            raise ValueError(
                f"this circuit was found on {self.task.get('name')!r}, the task is {task.name!r}: "
                f"evaluate it on interp.tasks.{self.task.get('name')}(model), or say any_task=True"
            )
        return self

    # --- for other tools --------------------------------------------------------------------------

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row per edge, in forward order.

        Example:
            >>> circuit.to_frame().sort_values("score", key=abs, ascending=False).head()
            >>> circuit.to_frame().to_csv("circuit.csv", index=False)

        Returns:
            Columns: sender ("L9H1"), receiver ("L10H7.q_in"), score (NaN where there is none),
            sender_layer and receiver_layer (missing for the embedding and the logits), reads ("q",
            "k", "v" or "in": what of the receiver the edge goes into).
        """
        import pandas as pd

        def layer(name: str) -> int | None:
            return sites.Site.parse(name).layer

        rows = [
            (s, r, score, layer(s), layer(r), r.rpartition(".")[2].removesuffix("_in"))
            for (s, r), score in self.edges.items()
        ]
        columns = ["sender", "receiver", "score", "sender_layer", "receiver_layer", "reads"]
        kinds = {"score": float, "sender_layer": "Int64", "receiver_layer": "Int64"}
        frame = pd.DataFrame(rows, columns=columns).astype(kinds)
        frame.attrs.update(model=self.model, convention=self.convention)
        return frame

    def to_networkx(self) -> Any:
        """A networkx MultiDiGraph between components. Needs networkx: pip install networkx.

        Example:
            >>> import networkx as nx
            >>> graph = circuit.to_networkx()
            >>> nx.shortest_path(graph, "embed", "logits")
            >>> nx.write_graphml(graph, "circuit.graphml")           # for Gephi or Cytoscape

        Returns:
            Nodes are "embed", "L9H1", "mlp.3" and "logits" with kind ("embed", "head", "mlp",
            "logits"), layer (missing for the first and the last) and role (where the circuit names
            one). Edges have the receiver as their key ("L10H7.q_in") and as an attribute, and the
            score where there is one. An edge into keys or values that query heads share is there
            once for each of these heads that the circuit has (for all of them if it has none).

        Raises:
            ImportError: If networkx is not installed.
        """
        try:
            import networkx
        except ImportError as error:
            raise ImportError("to_networkx needs networkx: pip install networkx") from error
        graph = networkx.MultiDiGraph(model=self.model, convention=self.convention)
        inside = [
            *self.nodes,
            *(["logits"] if any(r == "logits.in" for _, r in self.edges) else []),
        ]
        roles = {name: role for role, members in self.roles.items() for name in members}
        for s, r in self.edges:
            fed = residual_graph.feeds(r, self.graph)
            for target in [c for c in fed if c in inside] or fed:
                score = self.edges[s, r]
                more = {} if score is None else {"score": float(score)}
                graph.add_edge(s, target, key=r, receiver=r, **more)
        for name in [*inside, *(n for n in graph if n not in inside)]:
            site = None if name == "logits" else sites.Site.parse(name)
            more = {} if site is None or site.layer is None else {"layer": site.layer}
            more |= {"role": roles[name]} if name in roles else {}
            graph.add_node(name, kind="logits" if site is None else site.family, **more)
        return graph

    # --- showing ----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        how = self.source.get("method") or self.source.get("cite") or self.source.get("kind", "")
        named = f", roles: {listed(self.roles)}" if self.roles else ""
        size = (
            f"{len(self)} of {residual_graph.n_edges(self.graph)} edges ({self.share:.2%}),"
            f" {len(self.nodes)} components"
        )
        return f"Circuit({self.model}, {self.task.get('name', 'no task')}, {how}: {size}{named})"

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """The Axes with the circuit: layers upwards, heads at fixed places, edges by score.

        See `interp.circuits.drawing.draw` for what the picture shows and for the options.

        Example:
            >>> circuit.plot(max_edges=200, title="IOI")
        """
        from interp.circuits import drawing

        return drawing.draw(self, ax, **options)

    def _repr_html_(self) -> str:
        from interp.circuits import drawing

        return drawing.html(self)

    # --- on disk ----------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The circuit's file: JSON with an edge a line, scores with four significant digits."""
        graph = {
            k: getattr(self.graph, k) for k in ("n_layers", "n_heads", "n_kv_heads", "parallel")
        }
        head = {
            "schema": SCHEMA,
            "model": self.model,
            "graph": graph,
            "task": self.task,
            "source": self.source,
            "convention": self.convention,
            "roles": self.roles,
            "evaluation": self.evaluation,
        }
        lines = [
            f" {json.dumps(k)}: {json.dumps(v, allow_nan=False)}"
            for k, v in head.items()
            if v not in ({}, None)
        ]

        def short(score):
            return [] if score is None else [float(f"{score:.4g}")]

        each = ",\n".join(
            f"  {json.dumps([s, r, *short(score)])}" for (s, r), score in self.edges.items()
        )
        return (
            "{"
            + ",\n".join(lines).lstrip()
            + ',\n "edges": ['
            + (f"\n{each}\n " if each else "")
            + "]}\n"
        )

    def save(self, path: str | Path) -> Path:
        """The path of the .json file the circuit was written to (at once or not at all)."""
        path = Path(path)
        if path.suffix != ".json":
            raise ValueError(
                f"a circuit is saved as .json, got {str(path)!r} (try {path.stem + '.json'!r})"
            )
        return _store.write_text(path, self.to_json())

    @staticmethod
    def load(path: str | Path) -> "Circuit":
        """The circuit in a file that `save` wrote."""
        return load(path)


def load(path: str | Path) -> Circuit:
    """The circuit in a file that `Circuit.save` wrote.

    Example:
        >>> load("circuits/smollm2-135m/ioi/eap-ig.json")

    Args:
        path: The .json file.

    Raises:
        ValueError: If it is another file; for other tools' files see `read`.
    """
    what = "a circuit saved by interp"
    content = _files.read_json(path, what)
    if (
        not isinstance(content, dict)
        or content.get("schema") != SCHEMA
        or not {"model", "graph", "edges"} <= content.keys()
    ):
        raise ValueError(
            f"{str(path)!r} is not a circuit saved by interp (other tools' files:"
            " interp.circuits.read)"
        )
    from interp.circuits.circuit_file import CircuitForm

    _files.typed(content, CircuitForm, path, what)
    edges = {(s, r): score[0] if score else None for s, r, *score in content["edges"]}
    keep = {
        k: content[k]
        for k in ("task", "roles", "source", "evaluation", "convention")
        if k in content
    }
    try:
        return Circuit(edges, Graph(**content["graph"]), content["model"], **keep)
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None


def _of_scores(scores: Result, chosen: np.ndarray, how: dict[str, Any]) -> Circuit:
    """The circuit of the chosen places of a table of scores, with the scores' metadata."""
    wide = len(scores.coords["receiver"])
    names = [
        (scores.coords["sender"][i // wide], scores.coords["receiver"][i % wide])
        for i in map(int, chosen)
    ]
    flat = scores.values.ravel()
    metadata = scores.metadata
    task = {
        k: metadata[v]
        for k, v in (("name", "task"), ("n", "n"), ("seed", "seed"), ("split", "split"))
        if v in metadata
    }
    task |= metadata.get("made", {})
    task |= {"prompts": metadata["prompts"]} if "prompts" in metadata else {}
    options = {k: metadata[k] for k in ("steps", "by", "metric", "at_") if k in metadata}
    source = {
        "kind": "discovered",
        "method": metadata.get("method"),
        "options": options,
        "unit": scores.unit,
        **how,
    }
    edges = {edge: float(flat[int(i)]) for edge, i in zip(names, chosen)}
    return Circuit(
        edges, residual_graph.graph_of(scores), metadata["model"], task=task, source=source
    )
