"""`AttributionGraph`: nodes, direct effects between them, and what is left when it is pruned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from interp._errors import unknown
from interp.results import Result

KINDS = ("token", "feature", "error", "mlp", "logit")
UNEXPLAINED = ("error", "mlp")  # sources that no latent accounts for


@dataclass(frozen=True)
class Node:
    """A node of an attribution graph.

    Attributes:
        kind: "token" (its embedding), "feature" (a latent), "error" (what a dictionary leaves out),
            "mlp" (a whole MLP without a dictionary), or "logit".
        site: Where it stands in the model: "embed", what the dictionary writes ("mlp.10"),
            "logits".
        layer: -1 for tokens, n_layers for logits.
        pos: The position.
        index: The latent of a feature, the token id of a token or of a logit; -1 otherwise.
        value: A feature's activation, a logit minus the mean logit; 1 for what is there as it is.
        bias: Of a feature or logit: the part of the value that comes from biases and no node.
        label: The token's text, or a name of yours.
    """

    kind: str
    site: str
    layer: int
    pos: int
    index: int = -1
    value: float = 1.0
    bias: float = 0.0
    label: str = ""

    @property
    def name(self) -> str:
        """Its name: "mlp.10:512@7", "mlp.10:error@7", "mlp.3@7", "embed@2", "logits: Paris"."""
        if self.kind == "logit":
            return f"logits:{self.label}"
        middle = {"feature": f":{self.index}", "error": ":error"}.get(self.kind, "")
        return f"{self.site}{middle}@{self.pos}"


@dataclass(frozen=True, eq=False)
class AttributionGraph:
    """What the logits of one prompt were made of: nodes, and direct effects between them.

    An effect is direct when it passes attention, with its patterns and the norms' scales held as
    they were, and no other node. Effects are linear, so all that flows into a feature or a logit
    adds up to its value: the effects of all sources, and `bias`.

    Example:
        >>> graph = features.graph(model, "The capital of France is", transcoders)
        >>> graph                                  # its scores, first of all
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

    def __post_init__(self) -> None:
        n = len(self.nodes)
        if self.effects.shape != (n, n):
            raise ValueError(f"{n} nodes have effects [{n} {n}], not {list(self.effects.shape)}")
        names = [node.name for node in self.nodes]
        twice = (
            next((name for name in set(names) if names.count(name) > 1), None) if n < 99 else None
        )
        if twice is not None or len(set(names)) < n:
            raise ValueError(f"a node is there twice: {twice or 'two have one name'}")
        object.__setattr__(self, "_places", {name: i for i, name in enumerate(names)})
        for name in [*self.weights, *(one for group in self.groups.values() for one in group)]:
            self.place(name)

    # --- looking at it ----------------------------------------------------------------------------

    def place(self, name: str) -> int:
        """The number of a node by its name; a ValueError with the nearest names."""
        places: dict[str, int] = self.__dict__["_places"]
        if name not in places:
            raise unknown("node", name, list(places))
        return places[name]

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
        return (
            f"AttributionGraph({said}; {len(self.nodes)} nodes ("
            + ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
            + f"), {int(np.count_nonzero(self.effects))} edges; {''.join(self.tokens)!r})"
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
        keep = fixed | (whole >= _threshold(whole, nodes))
        effects[~keep], effects[:, ~keep] = 0, 0
        passed = _shares(effects) * (influence(effects, weights) + weights)[:, None]
        effects[passed < _threshold(passed.ravel(), edges)] = 0
        while True:
            idle = ~fixed & keep & ~(effects != 0).any(0)
            idle |= (kinds == "feature") & keep & ~(effects != 0).any(1)
            if not idle.any():
                break
            keep &= ~idle
            effects[~keep], effects[:, ~keep] = 0, 0
        at = np.flatnonzero(keep)
        names = {self.nodes[i].name for i in at}
        return replace(
            self,
            nodes=tuple(self.nodes[i] for i in at),
            effects=effects[np.ix_(at, at)],
            groups={
                name: inside
                for name, group in self.groups.items()
                if (inside := tuple(one for one in group if one in names))
            },
            influence=(whole if self.influence is None else self.influence)[at],
            metadata={**self.metadata, "pruned": {"nodes": nodes, "edges": edges}},
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

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """The Axes with the graph, positions across and layers up; see `drawing.draw`."""
        from interp.features.graphs.drawing import draw

        return draw(self, ax, **options)

    def save(self, path: str | Path) -> Path:
        """Writes the graph as JSON; `AttributionGraph.load` reads it."""
        from interp.features.graphs.graph_files import save

        return save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "AttributionGraph":
        """The graph that `save` wrote."""
        from interp.features.graphs.graph_files import load

        return load(path)

    def intervene(self, values: Mapping[str, float], model: Any = None, **options: Any) -> Result:
        """What the graph and the model say when features take other values; see `intervene`."""
        from interp.features.graphs.intervene import intervene

        return intervene(self, values, model, **options)


def influence(effects: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How much of the weighted targets comes from each node, over paths of every length [node].

    Each target's inputs count by their share of all its inputs, in size. In a graph without circles
    the powers of these shares end.

    Example:
        >>> influence(np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([1.0, 0.0]))
        array([0., 1.])
    """
    shares, total = _shares(effects), np.zeros(len(weights))
    flow = weights @ shares
    for _ in range(len(weights)):
        if not flow.any():
            return total
        total = total + flow
        flow = flow @ shares
    if flow.any():
        raise ValueError("the graph has a circle: a node's effect comes back to it")
    return total


def scores(effects: np.ndarray, weights: np.ndarray, kinds: Sequence[str]) -> dict[str, float]:
    """How much of the model a graph accounts for, each a share from 0 to 1.

    "completeness": of the inputs of all nodes, weighted by their influence, the share that is no
    error and no whole MLP. "replacement": of the influence that reaches the logits from where it
    begins, the share that begins at tokens. "errors": the share of all sources' influence that is
    an error's or a whole MLP's.

    Reference:
        Ameisen et al. 2025, "Circuit Tracing". Whole MLPs count as errors here: no latent stands
        for them.
    """
    flow, lost = influence(effects, weights), np.isin(kinds, UNEXPLAINED)
    tokens = float(flow[np.array(kinds) == "token"].sum())
    shares, out = _shares(effects), flow + weights
    has_inputs = shares.any(1)
    out = out * has_inputs
    explained = 1 - shares[:, lost].sum(1)
    errors = float(flow[lost].sum())
    return {
        "completeness": float((explained * out).sum() / out.sum()) if out.sum() else 0.0,
        "replacement": tokens / (tokens + errors) if tokens + errors else 0.0,
        "errors": errors / float(flow.sum()) if flow.sum() else 0.0,
    }


def _shares(effects: np.ndarray) -> np.ndarray:
    size = np.abs(effects)
    total = size.sum(1, keepdims=True)
    return np.divide(size, total, out=np.zeros_like(size), where=total > 0)


def _threshold(values: np.ndarray, share: float | None) -> float:
    """The smallest value among the largest that make up a share of the sum."""
    if share is None or not values.any():
        return -np.inf
    order = np.sort(values)[::-1]
    parts = np.cumsum(order) / order.sum()
    return float(order[min(int(np.searchsorted(parts, share - 1e-12)), len(order) - 1)])
