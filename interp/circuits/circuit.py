"""A circuit: which writes each receiver reads as they are. Every other edge is cut."""

import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from interp import _files, _store, sites
from interp._arguments import checks
from interp._errors import listed, unknown
from interp._warn import warn
from interp.circuits import places as by_place
from interp.circuits import residual_graph
from interp.circuits.residual_graph import Edge, shown
from interp.dims import Graph
from interp.results import Result

SCHEMA, SCHEMA_BY_PLACE = 1, 2  # a program that knows no places refuses the second
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
        >>> by_place = Circuit.top(discover(model, task, positions=True), 500)
        >>> ("L9H1", "L10H7.q_in", "END") in by_place

    A circuit by position has edges at places: (sender, receiver, place) is the edge as it is read
    there, and the same edge elsewhere is cut. Its size counts each place.

    Attributes:
        edges: {(sender, receiver): score} in forward order, or {(sender, receiver, place): score};
            a score may be None where the source gives none.
        graph: Layers, heads, KV heads and whether blocks are parallel: the model's shape.
        model: The name it was loaded by.
        task: {"name", "n", "seed"}, and "make" and "options" where it was made with options.
        roles: {"name mover": ["L23H3"]}; a paper's circuit may have roles alone.
        source: Where it comes from.
        evaluation: Numbers of the run that evaluated it, with the split.
        convention: What the sign of a score means.
        places: Of a circuit by position, all places that it tells apart: names of a task's
            positions and "other" for the rest, or numbers of positions. Empty: every edge is at all
            positions.
    """

    edges: Mapping[Edge, float | None]
    graph: Graph
    model: str
    task: dict[str, Any] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    convention: str = CONVENTION
    places: tuple[str, ...] = ()

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
                f"the score of {shown(bad[0])} is {self.edges[bad[0]]}: scores are finite"
                " numbers (leave the edge out)"
            )
        heads = {str(s) for s in sites.senders(self.graph)}
        not_components = [
            head for members in self.roles.values() for head in members if head not in heads
        ]
        if not_components:
            raise unknown("component in roles", not_components[0], heads, "'L23H3' or 'mlp.0'")
        ordered = sorted(
            self.edges.items(), key=residual_graph.forward_order(self.graph, self.places)
        )
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
        self._check_places()
        for edge, score in self.edges.items():
            ends = isinstance(edge, tuple) and len(edge) in (2, 3)
            if not ends or not all(isinstance(end, str) for end in edge):
                got = _files.short(edge)
                raise ValueError(f"an edge is ('L9H1', 'L10H7.q_in'), got {got}")
            if score is not None and not isinstance(score, int | float | np.number):
                got = _files.short(score)
                raise ValueError(f"the score of {shown(edge)} is a number, got {got}")
            if len(edge) == 2 and self.places:
                raise ValueError(
                    f"{shown(edge)} says no place, and this circuit has its edges at places: write"
                    f" {(*edge, self.places[0])}"
                )
            if len(edge) == 3 and not self.places:
                raise ValueError(
                    f"{shown(edge)} is an edge at a place: a circuit of such edges says which"
                    " places there are, as in Circuit.of(edges, like, places=['S2', 'END'])"
                )
            if len(edge) == 3 and edge[2] not in self.places:
                raise unknown(f"place of {edge[0]} -> {edge[1]}:", edge[2], self.places)

    def _check_places(self) -> None:
        """Raises ValueError unless places are different names; holds them as a tuple."""
        places = self.places
        if isinstance(places, str) or not all(isinstance(place, str) and place for place in places):
            raise ValueError(
                f"a circuit's places are names such as ['S2', 'END', 'other'], got"
                f" {_files.short(places)}"
            )
        object.__setattr__(self, "places", tuple(places))
        twice = next((p for i, p in enumerate(self.places) if p in self.places[:i]), None)
        if twice is not None:
            raise ValueError(f"a circuit's places are different ones, and {twice!r} is there twice")

    # --- choosing edges by scores -----------------------------------------------------------------

    @staticmethod
    @checks("interp.Circuit.top")
    def top(scores: Result, n: int, *, absolute: bool = True) -> "Circuit":
        """The n edges with the largest scores, in size or (absolute=False) signed.

        Example:
            >>> Circuit.top(scores, 500)
            >>> Circuit.top(discover(model, task, positions=True), 500)     # edges at places

        Args:
            scores: Scores of edges, from `discover`; with an axis "place", n edges at places are
                chosen.
            n: How many edges.
            absolute: Rank by size, or (False) by the signed score.

        Raises:
            ValueError: If the graph has fewer edges, or an edge has no score.
        """
        flat, edges = residual_graph.candidates(scores, absolute)
        _check_size(n, len(edges))
        chosen = edges[np.argsort(-flat[edges], kind="stable")[:n]]
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
        flat, edges = residual_graph.candidates(scores, absolute)
        chosen = edges[flat[edges] >= at]
        if not len(chosen):
            raise ValueError(
                f"no edge scores {at:g} or more: the largest is {flat[edges].max():.4g} (try a"
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
        flat, edges = residual_graph.candidates(scores, absolute)
        _check_size(n, len(edges))
        graph, senders = residual_graph.graph_of(scores), scores.coords["sender"]
        _, columns = residual_graph.axes(graph)
        size = flat.reshape(len(senders), len(columns), -1)
        there = ~np.isnan(scores.values).reshape(size.shape)
        queue: list[tuple[float, int]] = []
        entered: set[tuple[str, int]] = set()
        chosen: list[int] = []

        def enter(component: str, place: int) -> None:
            for r in residual_graph.reads(component, graph):
                for k in _read_from(r, place, size.shape[-1]):
                    if (r, k) in entered:
                        continue
                    entered.add((r, k))
                    for s in np.flatnonzero(there[:, columns[r], k]):
                        cell = s, columns[r], k
                        at = int(np.ravel_multi_index(cell, size.shape))
                        heapq.heappush(queue, (-size[cell], at))

        for k in range(size.shape[-1]):
            enter("logits", k)
        while len(chosen) < n and queue:
            _, at = heapq.heappop(queue)
            chosen.append(at)
            s, _, k = (int(i) for i in np.unravel_index(at, size.shape))
            enter(senders[s], k)
        return _of_scores(
            scores, np.array(chosen), {"select": "greedy", "n": n, "absolute": absolute}
        )

    @staticmethod
    def of(edges: Iterable[Edge], like: "Circuit | Result", **metadata: Any) -> "Circuit":
        """A circuit of these edges on the graph of another circuit or of scores.

        Example:
            >>> Circuit.of([("embed", "mlp.0.in"), ("mlp.0", "logits.in")], like=scores)

        Args:
            edges: Pairs (sender, receiver), or edges at places (sender, receiver, place).
            like: A circuit or scores, for the model, its graph, and the places.
            metadata: The other attributes: task, roles, source, places.
        """
        graph = like.graph if isinstance(like, Circuit) else residual_graph.graph_of(like)
        model = like.model if isinstance(like, Circuit) else like.metadata["model"]
        every: dict[Any, float | None] = {tuple(edge): None for edge in edges}
        if any(len(edge) == 3 for edge in every):
            own = like.places if isinstance(like, Circuit) else residual_graph.places_of(like)
            metadata = {"places": own, **metadata}
        return Circuit(every, graph, model, **metadata)

    def prune(self) -> "Circuit":
        """Only the edges on some path from the embedding to the logits.

        The others carry nothing or are never read: with resample ablation the circuit's run is the
        same without them. An edge into a KV head's keys or values is kept when any of the query
        heads that share it is; with places, when any of these is kept anywhere.
        """
        before, after = self._reached()

        def keep(edge: Edge) -> bool:
            return (edge[0], *edge[2:]) in before and any(c in after for c in self._ends(edge))

        return self._with({edge: score for edge, score in self.edges.items() if keep(edge)})

    @cached_property
    def _n_on_a_way(self) -> int:
        """How many edges `prune` keeps, counted without another circuit."""
        before, after = self._reached()
        return sum(
            (edge[0], *edge[2:]) in before and any(c in after for c in self._ends(edge))
            for edge in self.edges
        )

    def _reached(self) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
        """Components that the embedding reaches, and components that reach the logits; each at a
        place where the circuit has places.
        """
        at = [(place,) for place in self.places] or [()]
        before: set[tuple[str, ...]] = {("embed", *place) for place in at}
        after: set[tuple[str, ...]] = {("logits", *place) for place in at}
        for edge in self.edges:  # forward order: every sender's own edges come before
            if (edge[0], *edge[2:]) in before:
                before |= set(self._ends(edge))
        for edge in reversed(self.edges):
            if any(c in after for c in self._ends(edge)):
                after.add((edge[0], *edge[2:]))
        return before, after

    def _ends(self, edge: Edge) -> list[tuple[str, ...]]:
        """The components that this edge feeds: those of its receiver, where it is read. A key or a
        value may be read at every place: which come later, and whether attention looks back alone,
        is the prompts' and the model's.
        """
        fed = residual_graph.feeds(edge[1], self.graph)
        if len(edge) == 2:
            return [(c,) for c in fed]
        where = self.places if residual_graph.is_shared(edge[1]) else (edge[2],)
        return [(c, place) for c in fed for place in where]

    def without_places(self) -> "Circuit":
        """The circuit of the same edges at all positions: each that is kept at some place.

        Scores are summed over the places where an edge is kept.

        Example:
            >>> by_place.without_places().jaccard(circuit)
        """
        scores: dict[Edge, list[float | None]] = {}
        for edge, score in self.edges.items():
            scores.setdefault(edge[:2], []).append(score)
        edges = {
            edge: None if any(x is None for x in each) else sum(x for x in each if x is not None)
            for edge, each in scores.items()
        }
        return replace(self, edges=edges, places=(), evaluation={}) if self.places else self

    def with_places(self, places: Any) -> "Circuit":
        """The same circuit with each edge at each of these places: as it is, and ready to be cut.

        Example:
            >>> everywhere = circuit.with_places(task)
            >>> everywhere - Circuit.of([("embed", "L0H1.q_in", "S2")], like=everywhere)

        Args:
            places: A task, a circuit by position, or names of places in order.

        Returns:
            The circuit without scores: what an edge does at one place is not known.
        """
        if isinstance(places, Circuit):
            names: tuple[str, ...] = places.places
        elif hasattr(places, "position_names"):
            names = tuple(by_place.place_names(places))
        else:
            names = tuple(places)
        if not names:
            raise ValueError(
                "a circuit by position has at least one place (try circuit.with_places(task))"
            )
        plain = self.without_places()
        edges: dict[Edge, float | None] = {
            (edge[0], edge[1], place): None for edge in plain for place in names
        }
        return replace(plain, edges=edges, places=names, evaluation={})

    # --- as a set ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.edges)

    def __iter__(self) -> Iterator[Edge]:
        return iter(self.edges)

    def __contains__(self, edge: Edge) -> bool:
        """Whether the edge is kept; without a place, whether it is kept at any."""
        edge = tuple(edge)
        if self.places and len(edge) == 2:
            return any((*edge, place) in self.edges for place in self.places)
        return edge in self.edges

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
        return self._with(dict.fromkeys(e for e in self.graph_edges() if e not in self.edges))

    def graph_edges(self) -> Iterator[Edge]:
        """Every edge that the graph has, in forward order; at every place where there are places.

        Example:
            >>> sum(1 for edge in circuit.graph_edges()) == len(circuit | ~circuit)
            True
        """
        for edge in residual_graph.edge_order(self.graph):
            yield from ((*edge, place) for place in self.places) if self.places else (edge,)

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
        if self.places != other.places:
            one, two = (listed(c.places) if c.places else "no places" for c in (self, other))
            raise ValueError(
                f"circuits of {one} and of {two} have no edge in common: compare"
                " circuit.without_places(), or circuit.with_places(other)"
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
        present = {edge[0] for edge in self.edges} | {
            c for edge in self.edges for c in residual_graph.nodes_of(edge[1])
        }
        present |= {head for members in self.roles.values() for head in members}
        return [str(s) for s in sites.senders(self.graph) if str(s) in present]

    @property
    def share(self) -> float:
        """The circuit's size as a share of all edges of the graph, at all places."""
        return len(self.edges) / self.n_graph_edges

    @property
    def n_graph_edges(self) -> int:
        """How many edges the graph has, each counted at each place where there are places."""
        return residual_graph.n_edges(self.graph) * (len(self.places) or 1)

    def weights(self) -> np.ndarray:
        """1 at the circuit's edges, 0 elsewhere: a run's weights [sender receiver], or where there
        are places [sender receiver place].
        """
        rows, columns = residual_graph.axes(self.graph)
        at = {(place,): k for k, place in enumerate(self.places)}
        shape = (len(rows), len(columns), *([len(at)] if at else []))
        out = np.zeros(shape, dtype=np.float32)
        for edge in self.edges:
            cell = rows[edge[0]], columns[edge[1]]
            out[(*cell, at[edge[2:]]) if at else cell] = 1.0
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
            warn(
                f"this circuit is of {self.model!r}: what follows is what its edges are worth in"
                f" {model_name!r}"
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
            "k", "v" or "in": what of the receiver the edge goes into). A circuit by position has
            the column place, too.
        """
        import pandas as pd

        def layer(name: str) -> int | None:
            return sites.Site.parse(name).layer

        rows = []
        for (s, r, *place), score in self.edges.items():
            reads = r.rpartition(".")[2].removesuffix("_in")
            rows.append((s, r, *place, score, layer(s), layer(r), reads))
        place_column = ["place"] if self.places else []
        columns = ["sender", "receiver", *place_column, "score", "sender_layer", "receiver_layer"]
        columns.append("reads")
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
            once for each of these heads that the circuit has (for all of them if it has none). An
            edge at a place has it as the attribute place, and the key "L10H7.q_in @ END".

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
            *(["logits"] if any(edge[1] == "logits.in" for edge in self.edges) else []),
        ]
        roles = {name: role for role, members in self.roles.items() for name in members}
        for (s, r, *place), score in self.edges.items():
            fed = residual_graph.feeds(r, self.graph)
            more: dict[str, Any] = {} if score is None else {"score": float(score)}
            more |= {"place": place[0]} if place else {}
            for target in [c for c in fed if c in inside] or fed:
                graph.add_edge(s, target, key=" @ ".join([r, *place]), receiver=r, **more)
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
        off = self.edges and self._n_on_a_way < len(self)
        way = f" {self._n_on_a_way} of {len(self)} on a way to the logits," if off else ""
        size = (
            f"{len(self)} of {self.n_graph_edges} edges{self._at_places()} ({self.share:.2%}),{way}"
            f" {len(self.nodes)} components"
        )
        return f"Circuit({self.model}, {self.task.get('name', 'no task')}, {how}: {size}{named})"

    def _at_places(self) -> str:
        """Of a circuit by position, how many places it tells apart, in words; else nothing."""
        n = len(self.places)
        return f" at {n} place{'' if n == 1 else 's'}" if n else ""

    def plot(
        self,
        ax: Any = None,
        *,
        max_edges: int = 1000,
        title: str | None = None,
        figure: Any = None,
        place: str | None = None,
    ) -> Any:
        """The Axes with the circuit: layers upwards, heads at fixed places, edges by score.

        An edge's width is its score in size; colour and dash are its sign. Components of the model
        that are not in the circuit are pale dots. In a circuit by position the colour is the place
        where the edge is read.

        Example:
            >>> circuit.plot(max_edges=200, title="IOI")
            >>> by_place.plot(place="END")                  # only the edges that are read at END

        Args:
            ax: Draw into these Axes; a new figure if None.
            max_edges: Of more edges the largest are drawn, and the title says so.
            title: In place of the circuit's own description.
            figure: Drawn into when there is no ax.
            place: One of the circuit's places: its edges alone are drawn.

        Raises:
            ValueError: If max_edges is negative, or the circuit has no places or no such place.
        """
        from interp.circuits import drawing

        options = dict(max_edges=max_edges, title=title, figure=figure, place=place)
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
            "schema": SCHEMA_BY_PLACE if self.places else SCHEMA,
            "model": self.model,
            "graph": graph,
            "task": self.task,
            "source": self.source,
            "convention": self.convention,
            "roles": self.roles,
            "evaluation": self.evaluation,
            "places": list(self.places),
        }
        lines = [
            f" {json.dumps(k)}: {json.dumps(v, allow_nan=False)}"
            for k, v in head.items()
            if v not in ({}, [], None)
        ]

        def short(score):
            return [] if score is None else [float(f"{score:.4g}")]

        each = ",\n".join(
            f"  {json.dumps([*edge, *short(score)])}" for edge, score in self.edges.items()
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
        or content.get("schema") not in (SCHEMA, SCHEMA_BY_PLACE)
        or not {"model", "graph", "edges"} <= content.keys()
    ):
        other = _files.saved_by(content) or "other tools' files: interp.circuits.read"
        raise ValueError(f"{str(path)!r} is not a circuit saved by interp ({other})")
    from interp.circuits.circuit_file import CircuitForm

    _files.typed(content, CircuitForm, path, what)
    ends = 3 if content.get("places") else 2
    edges: dict[Any, float | None] = {
        tuple(row[:ends]): row[ends] if len(row) > ends else None for row in content["edges"]
    }
    keep = {
        k: content[k]
        for k in ("task", "roles", "source", "evaluation", "convention")
        if k in content
    }
    keep |= {"places": tuple(content["places"])} if "places" in content else {}
    try:
        return Circuit(edges, Graph(**content["graph"]), content["model"], **keep)
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None


def _of_scores(scores: Result, chosen: np.ndarray, how: dict[str, Any]) -> Circuit:
    """The circuit of the chosen cells of a table of scores, with the scores' metadata."""
    coords = [scores.coords[dim] for dim in scores.dims]
    cells = zip(*(index.tolist() for index in np.unravel_index(chosen, scores.values.shape)))
    names: list[Any] = [tuple(axis[i] for axis, i in zip(coords, cell)) for cell in cells]
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
        edges,
        residual_graph.graph_of(scores),
        metadata["model"],
        task=task,
        source=source,
        places=residual_graph.places_of(scores),
    )


def _check_size(n: int, edges: int) -> None:
    """Raises ValueError unless so many of the edges can be chosen."""
    if not 1 <= n <= edges:
        why = f"choose 1 to {edges:,} edges" if n < 1 else f"the graph has {edges:,} edges"
        raise ValueError(f"n={n}: {why} (try n={max(1, edges // 10)}, a tenth of them)")


def _read_from(receiver: str, place: int, n_places: int) -> Sequence[int]:
    """The places from which a component at `place` can read by this receiver: its own, and for keys
    and values any.
    """
    return range(n_places) if residual_graph.is_shared(receiver) else [place]
