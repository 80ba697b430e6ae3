"""Attention knock-out: some tokens may not look at others, in a window of layers."""

import time
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from interp import engine, sites
from interp._interrupts import keeps_finished
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.edits import knock_out
from interp.interventions import Intervention
from interp.methods.ablation.token_sets import Tokens, token_set, token_sets
from interp.methods.patching.effect import check_unit, effects_in_unit
from interp.methods.runs import rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.tasks.metrics import MetricLike

Edges = Bool[Tensor, "batch dest src"]
Window = list[
    tuple[int, list[int] | None]
]  # layers, each with the heads that are blocked (None: all)


@keeps_finished
@torch_defaults()
@any_prompts(answers=True, fraction="noising")
def attention_knockout(
    model: Model,
    task: Any,
    at: Tokens | Mapping[str, Tokens],
    to: Tokens | Mapping[str, Tokens],
    *,
    window: int = 1,
    every: int = 1,
    heads: Sequence[str] | None = None,
    metric: MetricLike = None,
    unit: str = "metric",
    backend: str | None = None,
) -> Result:
    """Attention knock-out: change of the metric when some tokens may not attend to others.

    Example:
        >>> cut = attention_knockout(model, task, "END", "SUBJECT", window=8, metric="prob")
        >>> cut.plot()
        >>> keys = {"subject": "SUBJECT", "relation": "1:SUBJECT-1", "first token": 0}
        >>> attention_knockout(model, task, "END", keys)

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        at: The tokens that may not look (queries), as a token set: see `token_set`. A dictionary of
            token sets gives several knock-outs, on the axis "set".
        to: The tokens that they may not look at (keys), in the same way; two dictionaries must have
            the same names.
        window: How many consecutive layers are blocked together. The axis "layer" is the window's
            centre: layers from centre - window // 2; at the ends a window has fewer
            (`metadata["windows"]`: first, last).
        every: A window at every so many layers, from layer 0 (3: centres 0, 3, 6, ...).
        heads: Only these are blocked, for example ["L20H0", "L21H*"]; windows without any of them
            are left out.
        metric: As in `patch`.
        unit: "metric", "fraction" or "relative", see `effect`.
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.

    Returns:
        Blocked minus clean metric, axes (set,) layer, one value per example kept. The blocked
        scores become minus infinity, so the other keys of a row share its attention in proportion.

    Raises:
        ValueError: If a set is empty, the keys come after their queries, or a query is left without
            any key.

    Cost:
        One partial forward pass per window and set.

    Reference:
        Geva et al. 2023 (arXiv 2304.14767). They report the relative change of the answer's
        probability: pass metric="prob" and unit="relative" for that.
    """
    started = time.perf_counter()
    check_unit(unit)
    edges = _edges(model, task, at, to)
    windows = _windows(bridge.dims(model), window, heads, every)
    metric = metric_of(task, metric)
    pairs = [(block, layers) for block in edges.values() for layers in windows.values()]
    varied, backend = sweep.sweep(
        model,
        task.clean,
        lambda kinds: {},
        [_patches(*pair) for pair in pairs],
        lambda cells, rows: [_interventions(pairs[i][0][rows], pairs[i][1]) for i in cells],
        metric,
        task.positions,
        "attention knock-out",
        backend,
    )
    clean = sweep.unedited_metric(model, task.clean, metric, task.positions, backend=backend)
    changes, shown, notes = effects_in_unit(unit, varied, clean, model, task, metric)
    named = isinstance(at, Mapping) or isinstance(to, Mapping)
    dims, coords = (("set", "layer"), {"set": list(edges)}) if named else (("layer",), {})
    metadata = sweep.provenance(
        model,
        task,
        "attention knock-out",
        started,
        queries=_words(at),
        keys=_words(to),
        window=window,
        every=every,
        windows=[[layers[0][0], layers[-1][0]] for layers in windows.values()],
        heads=list(heads) if heads else None,
        metric=metric.name,
        clean=float(clean.mean()),
        backend=backend,
        **notes,
    )
    shape = [len(edges)] * named + [len(windows)]
    examples = to_numpy(changes.reshape(*shape, len(task)))
    name = f"effect of attention knock-out on {metric.name}"
    coords = {**coords, "layer": list(windows)}
    result = Result(examples.mean(-1), dims, coords, name, shown, metadata, examples)
    return rounding.noted(result, model, task, metric)


def _edges(model: Model, task: Any, at: Any, to: Any) -> dict[str, Edges]:
    """Each knock-out's (query, key) pairs, checked to exist and to leave every query a key."""
    if isinstance(at, Mapping) and isinstance(to, Mapping) and list(at) != list(to):
        raise ValueError(
            f"`at` names the sets {list(at)} and `to` {list(to)}: two dictionaries need the same"
            " names, in order"
        )
    names = next((list(spec) for spec in (at, to) if isinstance(spec, Mapping)), [""])
    queries, keys = _named(task, at, names), _named(task, to, names)
    n = task.clean.shape[1]
    visible = torch.ones(n, n, dtype=torch.bool)  # which keys a query sees
    visible = visible.tril() if bridge.causal(model) else visible
    return {
        name: _pairs(visible, queries[name], keys[name], f" of {name!r}" if name else "")
        for name in names
    }


def _named(task: Any, spec: Any, names: list[str]) -> dict[str, Tensor]:
    """The token sets by name; a single set under every name."""
    return (
        token_sets(task, spec)
        if isinstance(spec, Mapping)
        else dict.fromkeys(names, token_set(task, spec))
    )


def _pairs(visible: Tensor, queries: Tensor, keys: Tensor, which: str) -> Edges:
    """The blocked pairs [batch dest src]; ValueError where nothing or everything is blocked."""
    blocked = queries[:, :, None] & keys[:, None, :] & visible
    nothing = (~blocked.any(-1).any(-1)).nonzero()
    if len(nothing):
        raise ValueError(
            f"in prompt {int(nothing[0])} every key{which} comes after its queries: no token looks"
            " ahead, so there is nothing to knock out (are `at` and `to` the wrong way round?)"
        )
    bare = (~(~blocked & visible).any(-1)).nonzero()
    if len(bare):
        prompt, query = bare[0].tolist()
        raise ValueError(
            f"position {query} of prompt {prompt} would have no token left to attend to: leave its"
            " own position or another out of the keys, or it out of the queries (at='1:' spares"
            " the first token, which sees only itself)"
        )
    return blocked


def _windows(
    dims: bridge.Dims, window: int, heads: Sequence[str] | None, every: int
) -> dict[int, Window]:
    """For each centre the layers that are cut together, and in each the heads."""
    if not 1 <= window <= dims.n_layers:
        raise ValueError(
            f"window={window}: a window is 1 to {dims.n_layers} layers long, the model has"
            f" {dims.n_layers}"
        )
    if every < 1:
        raise ValueError(
            f"every={every}: windows stand at every layer (1) or at every so many (try 3)"
        )
    chosen: dict[int, list[int] | None] = dict.fromkeys(range(dims.n_layers))
    if heads is not None:
        chosen = {}
        for head in _heads(dims, heads):
            chosen.setdefault(head.layer, []).append(head.index)

    def around(centre):
        return range(centre - window // 2, centre - window // 2 + window)

    windows = {
        c: [(layer, chosen[layer]) for layer in around(c) if layer in chosen]
        for c in range(0, dims.n_layers, every)
    }
    return {centre: layers for centre, layers in windows.items() if layers}


def _heads(dims: bridge.Dims, heads: Sequence[str]) -> list[sites.Site]:
    """The heads that are blocked; ValueError for other sites."""
    patterns = [heads] if isinstance(heads, str) else list(heads)
    if not patterns:
        raise ValueError(
            "an empty list of heads: name at least one, for example ['L20H0'], or leave `heads` out"
            " for all"
        )
    every = [site for head in patterns for site in sites.expand(head, dims).sites]
    not_heads = [
        str(s) for s in every if s.family != "head" or s.part != "out" or s.pos is not None
    ]
    if not_heads:
        raise ValueError(
            f"heads are cut, got {not_heads[0]!r} (try 'L20H0' or 'L20H*'; the positions are `at` "
            "and `to`)"
        )
    return list(dict.fromkeys(every))


def _patches(block: Edges, layers: Window) -> list[engine.Patch]:
    """The knock-out for the engine."""
    return [
        engine.Patch("scores", layer, head, block=block)
        for layer, heads in layers
        for head in heads or [None]
    ]


def _interventions(block: Edges, layers: Window) -> list[Intervention]:
    """The knock-out as it is defined: an edit of the scores."""
    named = [
        f"L{layer}H{head}.scores"
        for layer, heads in layers
        for head in ("*" if heads is None else heads)
    ]
    return [Intervention(name, knock_out(block)) for name in named]


def _words(spec: Any) -> Any:
    """A token set as it was written, for `metadata`."""
    if isinstance(spec, Mapping):
        return {name: _words(part) for name, part in spec.items()}
    if isinstance(spec, Tensor):
        return "a boolean tensor"
    if isinstance(spec, Integral):
        return int(spec)
    return spec if isinstance(spec, str) else [_words(part) for part in spec]
