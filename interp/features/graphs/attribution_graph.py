"""`AttributionGraph`: nodes, direct effects between them, and what is left when it is pruned."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from interp._arguments import shows
from interp._errors import listed, short, unknown
from interp.features.graphs import graph_files
from interp.features.graphs.drawing import draw
from interp.features.graphs.influence import KINDS, Node, influence, shares, threshold
from interp.features.graphs.intervene import intervene
from interp.results import Result


@dataclass(frozen=True, eq=False)
class AttributionGraph:
    """What the logits of one prompt were made of: nodes, and direct effects between them.

    An effect is direct when it passes attention, with its patterns and the norms' scales held as
    they were, and no other node. Effects are linear, so all that flows into a feature or a logit
    adds up to its value: the effects of all sources, and `bias`.

    Example:
        >>> graph = features.graph(model, "The capital of France is", transcoders)
        >>> graph                                  # its scores, first of all
        >>> graph.features(5)                      # the features with the largest influence
        >>> graph.inputs("logits: Paris")          # the strongest inputs of a node
        >>> graph.prune(nodes=0.5).plot()
        >>> graph.save("france.json")

    Attributes:
        nodes: The nodes, from the tokens to the logits.
        effects: The direct effect of a source on a target [target source]; 0 where there is none.
            In the target's own unit: activation of a feature, logits.
        weights: How much each logit counts: its probability; 1 for a difference of logits.
        tokens: The prompt, token by token.
        scores: Completeness, replacement, share of errors and of the nodes kept: see
            `completeness`.
        groups: Names of yours for several nodes.
        metadata: Model, dictionaries, options.
        influence: Of each node on the logits in the graph before it was pruned.

    Raises:
        ValueError: If sizes do not fit, or a node is there twice.
    """

    nodes: tuple[Node, ...]
    effects: Float[np.ndarray, "target source"]
    weights: Mapping[str, float]
    tokens: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    influence: Float[np.ndarray, "node"] | None = None
    _live: Any = None  # the model and the dictionaries, while they are there
    _gone: frozenset[str] = frozenset()  # the names of nodes that were pruned away

    def __post_init__(self) -> None:
        n = len(self.nodes)
        if self.effects.shape != (n, n):
            raise ValueError(f"{n} nodes have effects [{n} {n}], not {list(self.effects.shape)}")
        names = [node.name for node in self.nodes]
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"the node {short(twice)} is there twice")
        object.__setattr__(self, "_places", {name: i for i, name in enumerate(names)})
        for name in [*self.weights, *(one for group in self.groups.values() for one in group)]:
            self.place(name)

    # --- looking at it ----------------------------------------------------------------------------

    def place(self, name: str) -> int:
        """The number of a node by its name; a ValueError with the nearest names."""
        places: dict[str, int] = self.__dict__["_places"]
        if name not in places:
            raise self._absent(name)
        return places[name]

    def _absent(self, name: Any) -> ValueError:
        """Why there is no such node: pruned away, off at that token, no such latent, or unknown."""
        keeps = "interp.features.graph(..., nodes=None, edges=None) keeps every node"
        if name in self._gone:
            return ValueError(f"{name!r} is not in this graph any more (pruned away): {keeps}")
        nearest = unknown("node", name, list(self.__dict__["_places"]))
        found = re.fullmatch(r"([\w.]+):(\d+)@(\d+)", name) if isinstance(name, str) else None
        given, skip = (self.metadata.get(key) for key in ("dictionaries", "skip"))
        if found is None or not isinstance(given, Mapping) or found[1] not in given:
            return nearest
        site, latent, pos = found[1], int(found[2]), int(found[3])
        if pos >= len(self.tokens):
            last = len(self.tokens) - 1
            return ValueError(f"{name!r}: this prompt has the positions 0 to {last}")
        if isinstance(skip, int) and pos < skip:
            return ValueError(
                f"{name!r}: no dictionary is used at the first positions (skip={skip})"
            )
        sizes = {d.writes: d.n_latents for d in self._live[1]} if self._live else {}
        if latent >= sizes.get(site, latent + 1):
            return ValueError(
                f"{name!r}: the dictionary of {site!r} has the latents 0 to {sizes[site] - 1}"
            )
        features = [node for node in self.nodes if node.kind == "feature"]
        here = [node.name for node in features if (node.site, node.pos) == (site, pos)]
        others = f"features of this graph there: {listed(here, 5) if here else 'none'}"
        if self.metadata.get("latents kept") != self.metadata.get("latents on"):
            return ValueError(f"{name!r} is off, or beyond max_nodes ({others})")
        if "pruned" in self.metadata and not self._gone:  # read from a file, which has no more
            return ValueError(f"{name!r} is off, or was pruned away ({others}): {keeps}")
        return ValueError(f"{name!r} is off: latent {latent} is 0 at position {pos} ({others})")

    def features(self, n: int | None = 10) -> Result:
        """The features of this graph, by their influence on the logits, largest first.

        Example:
            >>> graph.features(3)
            >>> best = graph.features().coords["node"][0]       # "mlp.12:40@4"
            >>> graph.intervene({best: 0.0})

        Args:
            n: How many (None: all).

        Returns:
            The influence of each, axis "node", of the graph before it was pruned. `graph[name]` has
            a feature's place and its activation.
        """
        size = self.node_influence() if self.influence is None else self.influence
        at = [i for i, node in enumerate(self.nodes) if node.kind == "feature"]
        at = sorted(at, key=lambda i: -size[i])[:n]
        coords = {"node": [self.nodes[i].name for i in at]}
        about = dict(self.metadata)
        return Result(size[at], ("node",), coords, "influence on the logits", "share", about)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[self.place(name)]

    def inputs(self, name: str, n: int = 10) -> Result:
        """The strongest direct effects on a node, largest first.

        Example:
            >>> graph.inputs("logits: Paris", 5)
        """
        return self._strongest(self.effects[self.place(name)], n, f"direct effect on {name}")

    def outputs(self, name: str, n: int = 10) -> Result:
        """The strongest direct effects of a node, each in its target's unit."""
        return self._strongest(self.effects[:, self.place(name)], n, f"direct effect of {name}")

    def _strongest(self, row: np.ndarray, n: int, name: str) -> Result:
        order = np.argsort(-np.abs(row), kind="stable")[:n]
        order = order[row[order] != 0]
        coords = {"node": [self.nodes[i].name for i in order]}
        return Result(row[order], ("node",), coords, name, "target's unit", dict(self.metadata))

    @property
    def missing(self) -> Float[np.ndarray, "node"]:
        """What pruning took from each feature's and logit's inputs: value - bias - all that is
        kept; 0 in a whole graph.
        """
        value, bias = (np.array([getattr(n, key) for n in self.nodes]) for key in ("value", "bias"))
        targets = np.array([node.kind in ("feature", "logit") for node in self.nodes])
        return np.where(targets, value - bias - self.effects.sum(1), 0.0)

    def __repr__(self) -> str:
        counts = {kind: sum(n.kind == kind for n in self.nodes) for kind in KINDS}
        said = ", ".join(f"{name} {value:.2f}" for name, value in self.scores.items())
        grouped = f", groups {listed(self.groups)}" if self.groups else ""
        of_whole = " of the whole graph" if "pruned" in self.metadata else ""
        lost = 0 if counts["feature"] else sum(":error" not in n and ":" in n for n in self._gone)
        none = (
            f", and all {lost} features pruned away: nodes=None, edges=None keeps them"
            if lost
            else ""
        )
        return (
            f"AttributionGraph({said}{of_whole}; {len(self.nodes)} nodes ("
            + ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
            + f"{none}), {int(np.count_nonzero(self.effects))} edges{grouped};"
            + f" {''.join(self.tokens)!r})"
        )

    # --- what it is worth -------------------------------------------------------------------------

    def node_influence(self) -> Float[np.ndarray, "node"]:
        """How much of the logits comes from each node, directly and through others: the share of
        each target's inputs (in size), followed back from the logits.
        """
        return influence(self.effects, self._weights())

    def _weights(self) -> np.ndarray:
        weights = np.zeros(len(self.nodes))
        for name, weight in self.weights.items():
            weights[self.place(name)] = weight
        return weights

    def prune(self, *, nodes: float | None = 0.8, edges: float | None = 0.98) -> "AttributionGraph":
        """The graph of the most influential nodes and edges.

        Example:
            >>> graph.prune(nodes=0.5, edges=0.9)

        Args:
            nodes: The share of all nodes' influence on the logits that is kept (None: all nodes);
                tokens and logits always stay.
            edges: The share of the influence through edges between these nodes that is kept.

        Returns:
            The graph without the others, and without features that have no input or no output left.
            Values, biases and scores are those of the graph before.

        Reference:
            Ameisen et al. 2025, "Circuit Tracing".
        """
        for name, share in (("nodes", nodes), ("edges", edges)):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name}={share}: a share of the influence from 0 to 1 (try 0.8)")
        weights, effects = self._weights(), self.effects.copy()
        whole = influence(effects, weights)
        kinds = np.array([node.kind for node in self.nodes])
        fixed = np.isin(kinds, ("token", "logit"))
        keep = fixed | (whole >= threshold(whole, nodes))
        effects[~keep], effects[:, ~keep] = 0, 0
        passed = shares(effects) * (influence(effects, weights) + weights)[:, None]
        effects[passed < threshold(passed.ravel(), edges)] = 0
        while True:
            idle = ~fixed & keep & ~(effects != 0).any(0)
            idle |= (kinds == "feature") & keep & ~(effects != 0).any(1)
            if not idle.any():
                break
            keep &= ~idle
            effects[~keep], effects[:, ~keep] = 0, 0
        pruned = {"nodes": nodes, "edges": edges}
        left = replace(self, effects=effects)._of_nodes(np.flatnonzero(keep), whole)
        return replace(left, metadata={**self.metadata, "pruned": pruned})

    def only(self, names: Iterable[str]) -> "AttributionGraph":
        """The graph of these nodes, the tokens and the logits; the others' effects are left out.

        Example:
            >>> graph.only(node for some in graph.groups.values() for node in some).plot()
        """
        keep = {self.place(name) for name in names}
        keep |= {i for i, node in enumerate(self.nodes) if node.kind in ("token", "logit")}
        return self._of_nodes(np.array(sorted(keep), dtype=int), self.node_influence())

    def _of_nodes(self, at: np.ndarray, influence: np.ndarray) -> "AttributionGraph":
        """The graph of some nodes; influence is that of all, where none is kept already."""
        names = {self.nodes[i].name for i in at}
        return replace(
            self,
            nodes=tuple(self.nodes[i] for i in at),
            effects=self.effects[np.ix_(at, at)],
            _gone=self._gone | ({node.name for node in self.nodes} - names),
            groups={
                name: inside
                for name, group in self.groups.items()
                if (inside := tuple(one for one in group if one in names))
            },
            influence=(influence if self.influence is None else self.influence)[at],
        )

    def group(self, groups: Mapping[str, Sequence[str]]) -> "AttributionGraph":
        """The graph with names of yours for several nodes (supernodes).

        Example:
            >>> graph.group({"capital": ["mlp.10:512@2", "mlp.12:40@2"]})
        """
        return replace(
            self, groups={**self.groups, **{name: tuple(some) for name, some in groups.items()}}
        )

    # --- elsewhere --------------------------------------------------------------------------------

    def to_networkx(self) -> Any:
        """A networkx DiGraph: nodes by name with their fields, edges with `effect`."""
        import networkx as nx

        found = nx.DiGraph(prompt="".join(self.tokens), **self.scores)
        for node in self.nodes:
            found.add_node(node.name, **node.__dict__)
        for target, source in zip(*np.nonzero(self.effects)):
            found.add_edge(
                self.nodes[source].name,
                self.nodes[target].name,
                effect=float(self.effects[target, source]),
            )
        return found

    @shows(draw)
    def plot(self, ax: Any = None, **options: Any) -> Any:
        return draw(self, ax, **options)

    def save(self, path: str | Path) -> Path:
        """Writes the graph as JSON; `AttributionGraph.load` reads it."""
        return graph_files.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "AttributionGraph":
        """The graph that `save` wrote."""
        content, what = graph_files.load(path)
        return cls._of(content, path, what)

    @shows(graph_files.to_neuronpedia)
    def to_neuronpedia(self, path: str | Path, *, slug: str, scan: str = "custom") -> Path:
        return graph_files.to_neuronpedia(self, path, slug=slug, scan=scan)

    @classmethod
    def from_neuronpedia(cls, path: str | Path) -> "AttributionGraph":
        """An attribution graph in the schema of circuit-tracer and Neuronpedia.

        The schema has no biases and no scores: `bias` is 0, and `scores` are of what is in the
        file.

        Example:
            >>> AttributionGraph.from_neuronpedia("france.json").inputs("logits: Paris")
        """
        content, what = graph_files.from_neuronpedia(path)
        return cls._of(content, path, what)

    @classmethod
    def _of(cls, content: dict[str, Any], path: str | Path, what: str) -> "AttributionGraph":
        try:
            return cls(**content)
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not {what}: {error}") from None

    @shows(intervene)
    def intervene(self, values: Mapping[str, float], model: Any = None, **options: Any) -> Result:
        return intervene(self, values, model, **options)
