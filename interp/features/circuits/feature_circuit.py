"""Circuits of features: latents and error terms of dictionaries at several sites, and their edges.

Nodes are latents (over all positions) and, for each site, its error term, so that nothing of an
activation is left out. An edge's score is the upstream node's effect on the metric through the
downstream node and no other: gradients are stopped at every site with a dictionary. Marks et al.
2024, arXiv 2403.19647.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor

from interp import _files, _store
from interp._arguments import shows
from interp._errors import listed, short, unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.features.circuits.drawing import OUTPUT, draw
from interp.features.circuits.latent_attribution import (
    ERROR,
    TO,
    Change,
    changes,
    first_of,
    first_order,
    mean_slope,
    where,
)
from interp.features.dictionary import Dictionary
from interp.features.interventions import SKIP
from interp.features.sites import place
from interp.interventions import Intervention, forward_order, run
from interp.methods.runs import sweep
from interp.methods.runs.metrics import check_shape, metric_of
from interp.models import bridge
from interp.tasks.metrics import Metric

SCHEMA = 1

CONVENTION = "score > 0: corrupting it lowers the clean metric"
METHODS = ("gradient", "ig")


def _named(ends: int) -> Callable[[list], list]:
    """The check of a row: so many names, then a score."""

    def check(row: list) -> list:
        kinds = [str] * ends
        if len(row) != ends + 1 or not all(map(isinstance, row, kinds)) or isinstance(row[-1], str):
            raise ValueError(f"should be {ends} name(s) and a score")
        return row

    return check


@dataclass(frozen=True)
class FeatureCircuit:
    """Nodes "resid_post.15:17" (a latent) and "resid_post.15:error", and edges, all with scores.

    Edges run between nodes and to "output". Scores are in the metric's unit, to first order: how
    far the clean run's metric falls when the node takes its other value, or when only the edge
    does.

    Example:
        >>> circuit = features.circuit(model, task, [early, middle, late])
        >>> circuit.above(nodes=0.1, edges=0.01).plot()
        >>> circuit.latents("resid_post.15")

    Attributes:
        nodes: Score by node; positive means that the node helps.
        edges: Score by (upstream node, downstream node or "output").
        sites: The sites in forward order.
        metadata: Model, task, method, dictionaries.

    Raises:
        ValueError: If a node's site or an edge's end is not in the circuit.
    """

    nodes: Mapping[str, float]
    edges: Mapping[tuple[str, str], float]
    sites: tuple[str, ...]
    metadata: Mapping[str, Any]

    def __post_init__(self) -> None:
        unknown_node = next((n for n in self.nodes if n.rpartition(":")[0] not in self.sites), None)
        if unknown_node is not None:
            raise ValueError(
                f"the node {short(unknown_node)} is of no site of this circuit"
                f" ({listed(self.sites)})"
            )
        unknown_end = next(
            (n for edge in self.edges for n in edge if n not in self.nodes and n != OUTPUT), None
        )
        if unknown_end is not None:
            raise ValueError(
                f"an edge ends at {short(unknown_end)}, which is no node of this circuit"
            )

    def __repr__(self) -> str:
        return (
            f"FeatureCircuit({len(self.nodes)} nodes, {len(self.edges)} edges at"
            f" {listed(self.sites)}; {self.metadata.get('task', '')})"
        )

    def above(self, *, nodes: float = 0.0, edges: float = 0.0) -> "FeatureCircuit":
        """The circuit of the nodes and edges whose score is at least this large in size."""
        large_nodes = {n: s for n, s in self.nodes.items() if abs(s) >= nodes}
        large_edges = {
            e: s
            for e, s in self.edges.items()
            if abs(s) >= edges and all(n in large_nodes or n == OUTPUT for n in e)
        }
        return replace(
            self,
            nodes=large_nodes,
            edges=large_edges,
            metadata={**self.metadata, "above": {"nodes": nodes, "edges": edges}},
        )

    def latents(self, site: str) -> list[int]:
        """The latents of one site that are nodes, the largest score first."""
        if site not in self.sites:
            raise unknown("site of this circuit", site, self.sites)
        names = sorted(
            (n for n in self.nodes if n.rpartition(":")[0] == site),
            key=lambda n: -abs(self.nodes[n]),
        )
        return [int(n.rpartition(":")[2]) for n in names if not n.endswith(ERROR)]

    @shows(draw)
    def plot(self, ax: Any = None, **options: Any) -> Any:
        return draw(self, ax, **options)

    def save(self, path: str | Path) -> Path:
        """The path of the JSON file, one node or edge per line; `load` gives an equal circuit."""

        def line(row):
            return "  " + json.dumps(row, ensure_ascii=False)

        head = json.dumps(
            {
                "schema": SCHEMA,
                "convention": CONVENTION,
                "sites": list(self.sites),
                "metadata": dict(self.metadata),
            },
            indent=1,
        )
        nodes = ",\n".join(line([n, s]) for n, s in self.nodes.items())
        edges = ",\n".join(line([*e, s]) for e, s in self.edges.items())
        text = head[:-2] + f',\n "nodes": [\n{nodes}\n ],\n "edges": [\n{edges}\n ]\n}}\n'
        path = Path(path)
        _store.write_text(path, text)
        return path

    @staticmethod
    def load(path: str | Path) -> "FeatureCircuit":
        """The circuit that `save` wrote.

        Raises:
            ValueError: If the file is another one; it names the field that does not fit.
        """
        what = "a feature circuit saved by interp"
        content = _files.read_json(path, what)
        _files.check_kind(content, "interp.features.FeatureCircuit.load", path, what)
        data = _files.typed(content, _FileForm, path, what)
        if data.schema_ != SCHEMA:
            raise ValueError(f"{str(path)!r} is not {what}: its schema is not {SCHEMA}")
        edges = {(a, b): s for a, b, s in data.edges}
        try:
            return FeatureCircuit(dict(data.nodes), edges, tuple(data.sites), data.metadata)
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not {what} ({error})") from None


_Score = Annotated[float, Field(allow_inf_nan=False)]


class _FileForm(BaseModel):
    """A feature circuit's file, each field with its type."""

    model_config = ConfigDict(strict=True, extra="ignore")
    schema_: int = Field(alias="schema")
    sites: list[str]
    metadata: dict[str, Any]
    nodes: list[Annotated[list[str | _Score], AfterValidator(_named(1))]]
    edges: list[Annotated[list[str | _Score], AfterValidator(_named(2))]]


@torch_defaults()
def circuit(
    model: Model,
    task: Any,
    dictionaries: Sequence[Dictionary],
    *,
    nodes: int = 40,
    method: str = "ig",
    to: str = "corrupted",
    steps: int = 10,
    skip: int = SKIP,
    metric: Any = None,
) -> FeatureCircuit:
    """The latents and error terms that do most for a task, and every edge between them.

    Example:
        >>> circuit = features.circuit(model, task, [early, middle, late], nodes=40)
        >>> circuit.save("ioi.json"); circuit.above(edges=0.02).plot()
        >>> features.faithfulness(model, task.heldout(), [early, middle, late], circuit)

    Args:
        model: The model.
        task: The task, with corrupted prompts if `to` is "corrupted".
        dictionaries: One per site, each writing a site of its own.
        nodes: How many nodes, the largest scores in size over all sites.
        method: "ig" uses the mean slope of the metric on the way from the clean to the other value
            (see `latent_attribution`), "gradient" the slope in the clean run. Edges always use the
            clean run.
        to: What the other value is: "corrupted", "zero" or "mean".
        steps: Points on the way, for "ig".
        skip: How many first positions stay unchanged.
        metric: The task's own metric if None.

    Returns:
        A `FeatureCircuit`; scores are means over prompts. Edges end at a node of a later site or at
        "output". With all latents of all sites as nodes and "gradient", the edges out of a node add
        up to its score.

    Raises:
        ValueError: If two dictionaries write one site, or one reads all heads side by side.

    Cost:
        One backward pass per node.

    Reference:
        Marks et al. 2024, arXiv 2403.19647.
    """
    started = time.perf_counter()
    in_order = ordered(model, dictionaries)
    for what, word, words in (("method", method, METHODS), ("value to change latents to", to, TO)):
        if word not in words:
            raise unknown(what, word, words)
    metric = metric_of(task, metric)
    path = [None] if method == "gradient" else [(step + 0.5) / steps for step in range(steps)]
    with bridge.LOCK:
        changed = {d.writes: changes(model, task, d, to, None, skip) for d in in_order}
        slopes = {
            d.writes: mean_slope(
                model, task, d, changed[d.writes], metric, path, first_of(model, task, to)
            )[0]
            for d in in_order
        }
        scores: dict[str, float] = {}
        for d in in_order:
            effect = first_order(d, changed[d.writes], slopes[d.writes]).sum(1).mean(0)
            scores |= {name: -float(v) for name, v in zip(_names(d, changed[d.writes]), effect)}
        members = sorted(scores, key=lambda n: -abs(scores[n]))[:nodes]
        edges = _edges(
            model, task, in_order, changed, slopes, metric, set(members), where(task, None, skip)
        )
    metadata = sweep.provenance(
        model,
        task,
        f"feature circuit, {method}",
        started,
        metric=metric.name,
        unit=metric.unit,
        to=to,
        skip=skip,
        dictionaries={d.writes: d.name for d in in_order},
        nodes=len(scores),
        kept=len(members),
    )
    return FeatureCircuit(
        {n: scores[n] for n in scores if n in set(members)},
        edges,
        tuple(d.writes for d in in_order),
        metadata,
    )


def ordered(model: Model, dictionaries: Sequence[Dictionary]) -> list[Dictionary]:
    """The dictionaries in forward order; a ValueError if two write one site."""
    in_order = sorted(dictionaries, key=lambda d: forward_order(place(d.writes)))
    if not in_order:
        raise ValueError(
            "a feature circuit needs a dictionary at least: circuit(model, task, [sae])"
        )
    written = [d.writes for d in in_order]
    twice = next((w for w in written if written.count(w) > 1), None)
    if twice is not None:
        raise ValueError(f"two dictionaries write {twice!r}: a circuit has one a site")
    starred = next((d for d in in_order if place(d.site).stars or place(d.writes).stars), None)
    if starred is not None:
        raise ValueError(
            f"{starred.name} reads all heads side by side ({starred.site!r}): give a dictionary of"
            f" 'attn.{place(starred.site).layer}'"
        )
    return in_order


def _names(d: Dictionary, change: Change) -> list[str]:
    """The names of a dictionary's nodes: the latents that change, and the error term."""
    return [f"{d.writes}:{n}" for n in (*change.on.tolist(), ERROR)]


def _edges(
    model: Model,
    task: Any,
    dictionaries: Sequence[Dictionary],
    changed: Mapping[str, Change],
    slopes: Mapping[str, Tensor],
    metric: Metric,
    members: set[str],
    chosen: Tensor,
) -> dict[tuple[str, str], float]:
    """The score of every edge between nodes: one run, and one backward pass per downstream node."""
    leaves: dict[str, Tensor] = {}
    inside: dict[str, tuple[Tensor, Tensor]] = {}

    def cut(d: Dictionary) -> Intervention:
        reads = () if d.to is None else (d.site,)

        def edit(act: Tensor, seen: Mapping[str, Tensor]) -> Tensor:
            z = d.encode(seen[reads[0]] if reads else act)
            inside[d.writes] = z, act - d.decode(z)
            leaves[d.writes] = torch.zeros_like(act).requires_grad_(True)
            return act.detach() + leaves[d.writes]

        return Intervention(d.writes, edit, reads)

    with torch.inference_mode(False):
        out = run(
            model,
            task.clean,
            [cut(d) for d in dictionaries],
            metric.keep,
            positions=task.positions,
            last_only=True,
            grad=True,
        )
        value = check_shape(metric.of(out.logits, out.kept), len(task), metric).sum()
        ends: list[tuple[str, int, Tensor]] = []
        for k, d in enumerate(dictionaries):
            z, error = inside[d.writes]
            slope = slopes[d.writes] * chosen.to(z.device)[..., None]
            W_dec = d.weights_at(z.device)["W_dec"]
            for name in (n for n in _names(d, changed[d.writes]) if n in members):
                which = name.rpartition(":")[2]
                through = (
                    (error * slope)
                    if which == ERROR
                    else z[..., int(which)] * (slope @ W_dec[int(which)])
                )
                ends.append((name, k, through.sum()))
        ends.append((OUTPUT, len(dictionaries), value))
        scores: dict[tuple[str, str], float] = {}
        for name, k, end in sweep.progress(ends, "edges"):
            scores |= _into(name, end, dictionaries[:k], leaves, changed, members)
    return scores


def _into(
    name: str,
    end: Tensor,
    upstream: Sequence[Dictionary],
    leaves: Mapping[str, Tensor],
    changed: Mapping[str, Change],
    members: set[str],
) -> dict[tuple[str, str], float]:
    """The scores of the edges that end at one node."""
    if not upstream or not end.requires_grad:
        return {}
    grads = torch.autograd.grad(
        end, [leaves[d.writes] for d in upstream], retain_graph=True, allow_unused=True
    )
    scores = {}
    for d, grad in zip(upstream, grads):
        if grad is not None:
            effect = first_order(d, changed[d.writes], grad).sum(1).mean(0)
            scores |= {
                (n, name): -float(v)
                for n, v in zip(_names(d, changed[d.writes]), effect)
                if n in members and float(v) != 0
            }
    return scores
