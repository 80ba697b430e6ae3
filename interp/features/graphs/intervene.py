"""Does the model do what an attribution graph says? Features take other values, in both."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from interp._errors import short
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.features import loading
from interp.features.crosscoders.cross_layer_transcoder import (
    CrossLayerTranscoder,
    directions,
    one_a_layer,
)
from interp.features.dictionary import Dictionary
from interp.features.sites import place
from interp.interventions import Intervention, run
from interp.models import bridge
from interp.results import Result

if TYPE_CHECKING:  # the graph knows its experiments, not the other way round
    from interp.features.graphs.attribution_graph import AttributionGraph

RUNS = ["before", "graph", "model"]
SAME = {
    4: 0.01,
    2: 0.1,
}  # by bytes of a weight: a run that differs by this share is another model's


class Bound(NamedTuple):
    """A graph's model and dictionaries, whose unedited run has been seen to be the graph's."""

    model: Model
    dictionaries: dict[str, Dictionary]  # by what they write
    ids: Tensor


@torch_defaults()
def intervene(
    graph: "AttributionGraph",
    values: Mapping[str, float],
    model: Model | None = None,
    *,
    dictionaries: Sequence[Dictionary | CrossLayerTranscoder] | None = None,
    n: int = 10,
) -> Result:
    """The logits and features when some features take other values: before, by the graph, and in
    the model.

    Example:
        >>> graph.intervene({"mlp.10:512@4": 0.0})          # switch a feature off
        >>> graph.intervene({"mlp.10:512@4": 6.0}, n=20)

    The graph moves each target by its direct effects in proportion and lets features fall to zero;
    it knows no feature that was off, and its attention patterns stay. A pruned graph predicts by
    the effects that are left: take nodes=None, edges=None for all of them. In the model everything
    after the feature is computed again. Where the two differ, that is why.

    A feature of a cross-layer transcoder is changed in all layers that it writes to. The MLPs of
    those layers are computed again as well, so what they themselves make of the change comes on top
    of what the feature writes there (circuit-tracer's "iterative patching"; Ameisen et al. 2025
    hold these MLPs as they were, and call that constrained patching).

    Args:
        graph: A graph.
        values: The new activation of each feature, by its name.
        model: The model; that of the graph if it was made in this session.
        dictionaries: The graph's dictionaries; as `model`.
        n: How many features to show: those for which graph and model differ most.

    Returns:
        Axes "node" (the logits, then features) and "run" ("before", "graph", "model"); a logit's
        value is its distance from the mean logit, or the difference that the graph explains.

    Raises:
        ValueError: If a name is no feature of the graph, the graph was read from a file and no
            model or no dictionaries are given, or their own run is not that of the graph: other
            weights, or other dictionaries.

    Cost:
        Two runs of the prompt.
    """
    check(graph, values)
    return compare(graph, values, bind(graph, model, dictionaries), n)


def check(graph: "AttributionGraph", values: Mapping[str, float]) -> None:
    """A ValueError where values are none, or not of features."""
    if not isinstance(values, Mapping) or not values:
        raise ValueError(
            f'{short(values)} names no values: graph.intervene({{"mlp.10:512@4": 0.0}})'
        )
    for name, value in values.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"the value of {name!r} is {short(value)}: a number is needed")
        other = name in graph._gone and not re.search(r":\d+@\d+$", name)
        if other or graph[name].kind != "feature":
            raise ValueError(
                f"{name!r} is no feature, and only features can take other values:"
                " graph.features() lists them"
            )


def bind(
    graph: "AttributionGraph",
    model: Model | None = None,
    dictionaries: Sequence[Dictionary | CrossLayerTranscoder] | None = None,
) -> Bound:
    """The model and the dictionaries that a graph was made of; a ValueError if their run differs.

    Cost:
        A run of the prompt.
    """
    live = graph._live
    if live is None and (model is None or dictionaries is None):
        raise ValueError(
            "this graph was read from a file: graph.intervene({...}, model,"
            " dictionaries=[...]) needs what it was made of"
        )
    if "ids" not in graph.metadata:
        raise ValueError(
            "this graph has no prompt as ids (another tool made it): make it again with"
            " interp.features.graph(model, prompt, dictionaries)"
        )
    model = live[0] if model is None else model
    given = {d.writes: d for d in one_a_layer(live[1] if dictionaries is None else dictionaries)}
    sites = {node.site for node in graph.nodes if node.kind == "feature"}
    lacking = next((site for site in sorted(sites) if site not in given), None)
    if lacking is not None:
        raise ValueError(f"no dictionary writes {lacking!r} (given: {', '.join(given)})")
    for node in graph.nodes:
        if node.kind == "feature" and node.index >= given[node.site].n_latents:
            raise ValueError(
                f"{given[node.site].name} has no latent {node.index}: it is not the dictionary that"
                " the graph was made of"
            )
    for site in sites:
        loading.check(model, given[site])
    if max(graph.metadata["ids"]) >= bridge.dims(model).d_vocab:
        raise ValueError(f"{bridge.name(model)} has no token {max(graph.metadata['ids'])}")
    bound = Bound(model, given, torch.tensor([graph.metadata["ids"]]))
    _same_run(graph, bound)
    return bound


def _same_run(graph: "AttributionGraph", bound: Bound) -> None:
    """A ValueError unless the unedited run gives the graph's own values."""
    was = np.array([node.value for node in graph.nodes])
    now, spread = _by_model(graph, {}, bound)
    at_most = SAME.get(bridge.unembedding(bound.model)[0].dtype.itemsize, 0.01)
    for kind, says in (("logit", "weights"), ("feature", "weights, or dictionaries,")):
        own = np.array([node.kind == kind for node in graph.nodes])
        size = spread if kind == "logit" else np.abs(was)[own].sum() / max(1, own.sum())
        if np.abs(now - was)[own].sum() <= at_most * size * own.sum():
            continue
        worst = int(np.argmax(np.where(own, np.abs(now - was), -1)))
        raise ValueError(
            f"this model's run gives {graph.nodes[worst].name!r} {now[worst]:.3g}, and the graph"
            f" {was[worst]:.3g}: these are not the {says} that the graph was made of"
        )


def compare(
    graph: "AttributionGraph", values: Mapping[str, float], bound: Bound, n: int = 10
) -> Result:
    """What `intervene` gives, with what was checked before."""
    predicted = _by_graph(graph, values)
    real, _ = _by_model(graph, values, bound)
    before = np.array([node.value for node in graph.nodes])
    logits = [i for i, node in enumerate(graph.nodes) if node.kind == "logit"]
    features = [i for i, node in enumerate(graph.nodes) if node.kind == "feature"]
    features.sort(key=lambda i: -round(abs(predicted[i] - real[i]), 5))
    asked = [graph.place(name) for name in values]
    shown = [*logits, *asked, *[i for i in features if i not in asked][:n]]
    table = np.stack([before, predicted, real], 1)[shown]
    coords = {"node": [graph.nodes[i].name for i in shown], "run": RUNS}
    units = ["logits" if graph.nodes[i].kind == "logit" else "activation" for i in shown]
    metadata = {**graph.metadata, "values": dict(values)}
    metadata["units"] = dict(zip(coords["node"], units))
    title = "features set to other values, by the graph and in the model"
    return Result(table, ("node", "run"), coords, title, "logits; activation", metadata)


def _by_graph(graph: "AttributionGraph", values: Mapping[str, float]) -> np.ndarray:
    """Each node's value as the graph's effects have it."""
    fixed = {graph.place(name): value for name, value in values.items()}
    now = np.array([node.value for node in graph.nodes])
    factor = np.ones(len(now))  # of what each source writes

    def when(i: int) -> tuple[int, bool]:
        node = graph.nodes[i]
        return node.layer, node.site.startswith("resid")

    for i in sorted(range(len(now)), key=when):
        node = graph.nodes[i]
        if node.kind not in ("feature", "logit"):
            continue
        moved = node.value + float(graph.effects[i] @ (factor - 1))
        now[i] = fixed.get(i, moved if node.kind == "logit" else max(moved, 0.0))
        if node.kind == "feature":
            factor[i] = now[i] / node.value
    return now


def _by_model(
    graph: "AttributionGraph", values: Mapping[str, float], bound: Bound
) -> tuple[np.ndarray, float]:
    """Each node's value in the model's own run, and how far from their mean the logits lie."""
    model, given, ids = bound

    def setting(
        d: Dictionary, wanted: Mapping[tuple[int, int], float], layer: int | None
    ) -> Intervention:
        """What the latents of a dictionary write in a layer, at the values that are wanted."""
        reads = () if d.to is None else (d.site,)

        def edit(act: Tensor, seen: Mapping[str, Tensor]) -> Tensor:
            z = d.encode(seen[reads[0]] if reads else act)
            W_dec, out = directions(d, act.device)[layer], act.clone()
            for (pos, latent), value in wanted.items():
                out[0, pos] += ((value - z[0, pos, latent]) * W_dec[latent]).to(act.dtype)
            return out

        return Intervention(str(replace(place(d.writes), layer=layer)), edit, reads)

    wanted: dict[str, dict[tuple[int, int], float]] = {}
    for name, value in values.items():
        node = graph[name]
        wanted.setdefault(node.site, {})[node.pos, node.index] = float(value)
    edits = [
        setting(given[site], some, layer)
        for site, some in wanted.items()
        for layer in directions(given[site], ids.device)
    ]
    sites = {n.site for n in graph.nodes if n.kind == "feature" and n.site in given}
    keep = list(dict.fromkeys(given[site].site for site in sites))
    with torch.no_grad(), bridge.LOCK:
        out = run(model, ids, edits, keep)
        latents = {
            site: to_numpy(given[site].encode(out.kept[given[site].site])[0]) for site in sites
        }
        logits = out.logits[0, -1].double()
        cap = graph.metadata.get("logit cap")
        logits = logits if cap is None else torch.atanh(logits / cap) * cap
    against = graph.metadata.get("against")
    base = logits.mean() if against is None else logits[against]
    now = []
    for node in graph.nodes:
        if node.kind == "feature" and node.site in latents:
            now.append(float(latents[node.site][node.pos, node.index]))
        elif node.kind == "logit":
            now.append(float(logits[node.index] - base))
        else:
            now.append(node.value)
    for name, value in values.items():
        now[graph.place(name)] = float(value)
    return np.array(now), float((logits - logits.mean()).abs().max())
