"""Random circuits of a circuit's size: what stands beside a faithfulness."""

from typing import Any

import numpy as np

from interp import sites
from interp._errors import unknown
from interp.circuits import Circuit
from interp.circuits.residual_graph import Edge
from interp.sites import Site

MATCH = ("size", "layers", "connected")
TRIES = 1000  # orders that are tried for the few sizes that an order can miss


def random_circuits(
    circuit: Circuit, sets: int = 10, seed: int = 0, *, match: str = "size"
) -> list[Circuit]:
    """Circuits of random edges of the same graph, each with as many edges as the given one.

    Example:
        >>> random_circuits(circuit, sets=3)
        >>> random_circuits(circuit, sets=3, match="layers")
        >>> random_circuits(circuit, sets=3, match="connected")     # all edges carry something

    Args:
        circuit: The circuit that gives the size. Edges are drawn among all, its own too.
        sets: How many.
        seed: Draws them.
        match: "size" draws from the whole graph; "layers" as many as the circuit has into each
            layer's queries, keys, values, MLP, and into the logits (and at each place): harder to
            beat, since where a circuit reads is already half of what it is. "connected" draws
            circuits all of whose edges lie on a way from the embedding to the logits, as many as
            the circuit has on such a way (all of its edges once it is pruned; where it has none, as
            many as it has edges). Edges come one by one in a random order until so many or more
            of them lie on a way; of those, random ones are taken out, and with them what then lies
            on no way, until the number is right.

    Returns:
        The circuits. Those of "size" and "layers" are not pruned: few random edges lie on a way
        from the embedding to the logits, and of a small circuit often none does.

    Raises:
        ValueError: If `match` is unknown or there is no set.
    """
    if match not in MATCH:
        raise unknown("way to match", match, MATCH, "match='layers'")
    if sets < 1:
        raise ValueError(
            f"sets={sets}: at least one random circuit stands beside a circuit (try sets=10)"
        )
    rng = np.random.default_rng(seed)
    draw = _connected(circuit) if match == "connected" else _matched(circuit, match)
    return [
        Circuit(
            dict.fromkeys(draw(rng)),
            circuit.graph,
            circuit.model,
            task=circuit.task,
            source={"kind": "random", "match": match, "seed": seed, "set": k},
            places=circuit.places,
        )
        for k in range(sets)
    ]


def _matched(circuit: Circuit, match: str) -> Any:
    """A function from a generator to as many edges, of all or of each layer's reads."""
    read = {str(receiver): _read(str(receiver)) for receiver in sites.receivers(circuit.graph)}

    def group(edge: Edge) -> Any:
        return "any" if match == "size" else (*read[edge[1]], *edge[2:])

    pools: dict[Any, list] = {}
    for edge in circuit.graph_edges():
        pools.setdefault(group(edge), []).append(edge)
    wanted: dict[Any, int] = {}
    for edge in circuit:
        wanted[group(edge)] = wanted.get(group(edge), 0) + 1

    def draw(rng: np.random.Generator) -> list[Edge]:
        return [
            pools[g][i]
            for g, n in wanted.items()
            for i in rng.choice(len(pools[g]), n, replace=False)
        ]

    return draw


def _connected(circuit: Circuit) -> Any:
    """A function from a generator to edges that all lie on a way, as many as the circuit's."""
    ways = _Ways(circuit)
    wanted = len(circuit.prune()) or len(circuit)

    def draw(rng: np.random.Generator) -> list[Edge]:
        for _ in range(TRIES):
            chosen = ways.draw(wanted, rng)
            if len(chosen) == wanted:
                return [ways.edges[i] for i in chosen]
        raise ValueError(
            f"no random circuit of {wanted} edges that all lie on a way from the embedding to the"
            f" logits was found in {TRIES} orders (try match='size')"
        )

    return draw


class _Ways:
    """All edges of a graph as numbers, in forward order, and which of some lie on a way."""

    def __init__(self, circuit: Circuit) -> None:
        self.edges: list[Edge] = list(circuit.graph_edges())
        self.sender = [(edge[0], *edge[2:]) for edge in self.edges]
        ends: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for edge in self.edges:
            if edge[1:] not in ends:
                ends[edge[1:]] = circuit._ends(edge)
        self.ends = [ends[edge[1:]] for edge in self.edges]
        at = [(place,) for place in circuit.places] or [()]
        self.first = {("embed", *place) for place in at}
        self.last = {("logits", *place) for place in at}

    def reached(self, some: list[int]) -> tuple[set, set]:
        """What the embedding reaches by these edges, and what reaches the logits by them."""
        before, after = set(self.first), set(self.last)
        for i in some:  # in forward order: every sender's own edges come before
            if self.sender[i] in before:
                before.update(self.ends[i])
        for i in reversed(some):
            if not after.isdisjoint(self.ends[i]):
                after.add(self.sender[i])
        return before, after

    def between(self, some: list[int], before: set, after: set) -> list[int]:
        """Of these edges, those from what the embedding reaches into what reaches the logits."""
        return [i for i in some if self.sender[i] in before and not after.isdisjoint(self.ends[i])]

    def kept(self, some: Any) -> list[int]:
        """Of these edges, those on a way from the embedding to the logits."""
        some = sorted(int(i) for i in some)
        return self.between(some, *self.reached(some))

    def draw(self, wanted: int, rng: np.random.Generator) -> list[int]:
        """Random edges that all lie on a way, in rare cases fewer or more than wanted."""
        order = rng.permutation(len(self.edges))
        below, above = 0, wanted
        while len(found := self.kept(order[:above])) < wanted:
            below, above = above, min(len(order), above + wanted - len(found))
        while above - below > 1:  # the fewest edges of this order with so many on a way
            half = (below + above) // 2
            if len(less := self.kept(order[:half])) < wanted:
                below = half
            else:
                above, found = half, less
        return self.filled(self.thinned(found, wanted, rng), wanted, rng)

    def thinned(self, found: list[int], wanted: int, rng: np.random.Generator) -> list[int]:
        """The edges without random ones, down to the number wanted or as near above it as single
        edges lead; below it where there is no other way.
        """
        out = (len(found) - wanted) // 4  # many at once while there is far to go
        while out > 1:
            left = self.kept(rng.permutation(found)[out:])
            if len(left) >= wanted:
                found, out = left, (len(left) - wanted) // 4
            else:
                out //= 2
        while len(found) > wanted:
            smaller: list[list[int]] = []
            for i in rng.permutation(found):
                smaller.append(self.kept([k for k in found if k != i]))
                if len(smaller[-1]) >= wanted:
                    break
            found = smaller[-1]
        return found

    def filled(self, found: list[int], wanted: int, rng: np.random.Generator) -> list[int]:
        """The edges and random ones from what the embedding reaches into what reaches the logits,
        or two by a further component, up to the number wanted if there are such.
        """
        while len(found) < wanted:
            there = set(found)
            others = [i for i in range(len(self.edges)) if i not in there]
            one = self.between(others, *self.reached(found))
            if one and (found or wanted == 1):
                more = [int(rng.choice(one))]
            elif wanted - len(found) > 1:
                out = self.between(others, self.reached([])[0], self._components(others))
                into = int(rng.choice(out))
                back = [
                    i
                    for i in others
                    if self.sender[i] in self.ends[into] and not self.last.isdisjoint(self.ends[i])
                ]
                if not back:
                    return found
                more = [into, int(rng.choice(back))]
            else:
                return found
            found = sorted([*found, *more])
        return found

    def _components(self, some: list[int]) -> set:
        """What these edges lead from straight into the logits, other than the embedding."""
        straight = {self.sender[i] for i in some if not self.last.isdisjoint(self.ends[i])}
        return straight - self.first


def _read(receiver: str) -> tuple:
    """Family, part and layer of a receiver."""
    site = Site.parse(receiver)
    return site.family, site.part, site.layer
