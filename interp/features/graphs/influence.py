"""The nodes of an attribution graph, and how much of the logits comes from each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


def influence(effects: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How much of the weighted targets comes from each node, over paths of every length [node].

    Each target's inputs count by their share of all its inputs, in size. In a graph without circles
    the powers of these shares end.

    Example:
        >>> influence(np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([1.0, 0.0]))
        array([0., 1.])
    """
    parts, total = shares(effects), np.zeros(len(weights))
    flow = weights @ parts
    for _ in range(len(weights)):
        if not flow.any():
            return total
        total = total + flow
        flow = flow @ parts
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
    parts = shares(effects)
    out = (flow + weights) * parts.any(1)  # of nodes that have inputs
    explained = 1 - parts[:, lost].sum(1)
    errors = float(flow[lost].sum())
    return {
        "completeness": float((explained * out).sum() / out.sum()) if out.sum() else 0.0,
        "replacement": tokens / (tokens + errors) if tokens + errors else 0.0,
        "errors": errors / float(flow.sum()) if flow.sum() else 0.0,
    }


def shares(effects: np.ndarray) -> np.ndarray:
    """Each input's share of all inputs of its target, in size [target source]."""
    size = np.abs(effects)
    total = size.sum(1, keepdims=True)
    return np.divide(size, total, out=np.zeros_like(size), where=total > 0)


def threshold(values: np.ndarray, share: float | None) -> float:
    """The smallest value among the largest that make up a share of the sum."""
    if share is None or not values.any():
        return -np.inf
    order = np.sort(values)[::-1]
    parts = np.cumsum(order) / order.sum()
    return float(order[min(int(np.searchsorted(parts, share - 1e-12)), len(order) - 1)])
