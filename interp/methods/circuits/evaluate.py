"""How good a circuit is: what is left of the behaviour when all else is cut, and what it lacks.

Every number is a fraction of the way from the run with all edges cut (0) to the model's own clean
run (1), a ratio of means over the prompts, never clamped: a circuit that leaves out what works
against the task gives more than 1.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp import _stats, sites
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp._warn import warn
from interp.circuits import Circuit
from interp.circuits.residual_graph import Edge, shown
from interp.dims import Graph
from interp.methods.circuits.edges import Edges, edges_on
from interp.methods.circuits.random_circuits import random_circuits
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts, read_values
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.tasks.metrics import Metric, MetricLike

FRACTION = "fraction (0 all edges cut, 1 clean)"
WHOLE = "{} of the clean run minus that with all edges cut"  # what faithfulness is a share of
# of how many random circuits the complement is run as well: nearly whole models, and much alike
CUT_RANDOM = 3
AT_ONCE = 32  # rows of weights held in memory at a time
GROUPS = {"edges": "edge", "components": "component"}


@torch_defaults()
@any_prompts(answers=True, join=False)
def evaluate(
    model: Model,
    task: Any,
    circuit: Circuit,
    *,
    by: str = "resample",
    metric: MetricLike = None,
    sets: int = 10,
    match: str = "size",
    seed: int = 0,
    any_task: bool = False,
    reference: Tensor | None = None,
    backend: str | None = None,
) -> Result:
    """Circuit evaluation: faithfulness and completeness on these prompts, beside random circuits.

    Example:
        >>> evaluation = evaluate(model, task.heldout(), circuit)
        >>> evaluation                                      # a table, with intervals over prompts
        >>> evaluation.sel(measure="faithfulness").ci()
        >>> with_evaluation(circuit, evaluation).save("ioi.json")

    Args:
        model: A loaded model.
        task: A task; use other prompts than the circuit was found on, task.heldout().
        circuit: The circuit. One with places is cut by place: an edge is as it is where the circuit
            has it, and cut at all other positions; the task names these places.
        by: What a cut edge carries: "resample" the write of the corrupted prompt, "mean" the
            position-wise mean write over reference prompts (the task's corrupted ones, or
            `reference`), "zero" nothing (far from anything the model has seen).
        metric: As in `patch`.
        sets: How many random circuits (of the first 3 the complement is run as well).
        match: "size", "layers" or "connected": how they are drawn, see `random_circuits`. Few
            random edges lie on a way from the embedding to the logits, so that small circuits of
            the first two are often 0 for certain; a note and a warning say so.
        seed: Draws them.
        any_task: True allows a circuit that was found on another task.
        reference: Token ids [batch pos] for by="mean".
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.

    Returns:
        Axis "measure", one value per example kept. "faithfulness" = (circuit - corrupted) /
        (clean - corrupted), of the metric's means: the circuit's edges as they are, all others cut.
        "completeness" = 1 minus the same for the complement (only the circuit's edges cut): 1 when
        nothing is left without the circuit, 0 when the model does as well without it. "random
        faithfulness" and "random completeness": means over the random circuits. "clean",
        "corrupted", "circuit", "complement": the metric itself; "clean" is the model's plain run,
        "corrupted" the run with every edge cut, which by="resample" is the run on the corrupted
        prompts. Examples are the prompts' parts in the ratio, so that `ci` is the interval of a
        ratio of means. metadata: "edges", "share" of all edges, "random" (each set's faithfulness),
        "kept" and "random kept" (how many edges lie on a way from the embedding to the logits: of
        the circuit, and of each set), "seen": whether these are the prompts that the circuit was
        found on. A note and a warning say where a circuit, or most of the random ones, has no such
        way: what nothing of the prompt passes through is 0 by itself.

    Raises:
        ValueError: If the circuit is of another model, has no edges, or was found on another task.

    Cost:
        One forward pass of the prompts per circuit.

    Reference:
        Wang et al. 2022 (arXiv 2211.00593), section 4: completeness is their F(C without K) minus
        F(M without K) with K the whole circuit, as a fraction. Hanna et al. 2024 (arXiv
        2403.17806); Miller et al. 2024 (arXiv 2407.08734) on what such a number depends on.
    """
    started = time.perf_counter()
    edges, clean = _ready(model, task, circuit, by, metric, any_task, reference, backend)
    drawn = random_circuits(circuit, sets, seed, match=match)
    pruned = [item.prune() for item in [circuit, *drawn]]
    kept = [len(item) for item in pruned]
    sparse = [run.weights() for run in (pruned if by == "resample" else [circuit, *drawn])]
    circuit_values = edges.cut(_stack([*sparse, 0 * sparse[0]]), "circuit and random circuits")
    everything = np.ones_like(sparse[0])
    complement_values = edges.cut(
        _stack([everything - item.weights() for item in [circuit, *drawn[:CUT_RANDOM]]]),
        "without the circuit",
    )
    corrupted = circuit_values[-1]
    both = torch.cat([circuit_values[:-1], complement_values])
    parts, notes = fractions(both, clean, corrupted, edges.metric)
    faithful, complete = parts[: len(circuit_values) - 1], 1 - parts[len(circuit_values) - 1 :]
    rows = {
        "faithfulness": faithful[0],
        "completeness": complete[0],
        "random faithfulness": faithful[1:].mean(0),
        "random completeness": complete[1:].mean(0),
        "clean": to_numpy(clean),
        "corrupted": to_numpy(corrupted),
        "circuit": to_numpy(circuit_values[0]),
        "complement": to_numpy(complement_values[0]),
    }
    examples = np.stack(list(rows.values()))
    doubts = [disconnected(circuit, kept[0], by), weak_null(kept[1:], match, by)]
    said = [doubt for doubt in doubts if doubt]
    metadata = sweep.provenance(
        model,
        task,
        "evaluation",
        started,
        metric=edges.metric.name,
        measured=_typed(task, metric),
        by=by,
        backend=edges.backend,
        edges=len(circuit),
        share=circuit.share,
        **({"places": list(circuit.places)} if circuit.places else {}),
        seen=_seen(circuit, task),
        match=match,
        sets=sets,
        sets_seed=seed,
        random=faithful[1:].mean(-1).tolist(),
        kept=kept[0],
        **{"random kept": kept[1:]},
        **({"note": "\nnote: ".join(said)} if said else {}),
        units=dict.fromkeys(list(rows)[4:], edges.metric.unit),
        **notes,
        ratios={"measure": list(rows)[:4]},
        read=f"clean, corrupted, circuit, complement: the {edges.metric.name} of the plain run,"
        " with every edge cut, with the circuit alone, and with only the circuit cut",
    )
    metadata["units"] |= dict.fromkeys(list(rows)[:4], FRACTION)
    for doubt in said:
        warn(doubt)
    name = f"{len(circuit)} of {circuit.n_graph_edges} edges{circuit._at_places()}" + (
        ", on the prompts they were found on" if metadata["seen"] else ""
    )
    return Result(
        examples.mean(-1),
        ("measure",),
        {"measure": list(rows)},
        name,
        f"{FRACTION}, or {edges.metric.unit}",
        metadata,
        examples,
    )


def with_evaluation(circuit: Circuit, evaluation: Result) -> Circuit:
    """The circuit with the numbers of an evaluation in its `evaluation`, four significant digits.

    Example:
        >>> evaluation = evaluate(model, task.heldout(), circuit)
        >>> with_evaluation(circuit, evaluation).save("ioi.json")

    Args:
        circuit: The circuit.
        evaluation: The result of `evaluate` for it.

    Raises:
        ValueError: If it is another result, or an evaluation of other edges.
    """
    metadata, short = evaluation.metadata, lambda x: float(f"{float(x):.4g}")
    if metadata.get("method") != "evaluation" or metadata["edges"] != len(circuit):
        raise ValueError(
            f"{evaluation.name!r} is not an evaluation of these {len(circuit)} edges (try"
            " evaluate(model, task, circuit))"
        )
    value = {name: short(v) for name, v in zip(evaluation.coords["measure"], evaluation.values)}
    numbers = {
        "metric": metadata["measured"],
        **{k: metadata[k] for k in ("by", "split", "n", "seed") if k in metadata},
    }
    numbers |= {"task": metadata["task"]} if metadata["task"] != circuit.task.get("name") else {}
    numbers |= {"faithfulness": value["faithfulness"]}
    ends = faithfulness_interval(evaluation)
    numbers |= {"interval": [short(end) for end in ends]} if ends else {}
    numbers |= {k: value[k] for k in ("completeness", "clean", "corrupted")}
    numbers |= {
        "random": {
            "faithfulness": value["random faithfulness"],
            **{k: metadata[k] for k in ("sets", "match")},
        }
    }
    return replace(circuit, evaluation=numbers)


def faithfulness_interval(evaluation: Result) -> list[float] | None:
    """The 95 % interval of an evaluation's faithfulness; None where it has none (one prompt, or a
    clean run that cannot be told from the one with all edges cut).
    """
    if evaluation.examples is None or evaluation.examples.shape[-1] < 2:
        return None
    ends = [float(end) for end in evaluation.sel(measure="faithfulness")._bootstrap()]
    return ends if np.isfinite(ends).all() else None


@torch_defaults()
@any_prompts(answers=True, join=False)
def minimality(
    model: Model,
    task: Any,
    circuit: Circuit,
    *,
    of: str = "edges",
    without: Sequence[str] = (),
    by: str = "resample",
    metric: MetricLike = None,
    any_task: bool = False,
    reference: Tensor | None = None,
    backend: str | None = None,
) -> Result:
    """How much of the circuit's faithfulness falls when one of its edges, or components, is cut.

    Example:
        >>> minimality(model, task.heldout(), circuit).top(5, by="low")     # edges that do not help
        >>> minimality(model, task.heldout(), circuit, of="components").plot()
        >>> minimality(model, task, circuit, of="components", without=["L23H3"])

    Args:
        model: A loaded model.
        task: As in `evaluate`.
        circuit: The circuit.
        of: "edges", or "components" (everything that a component sends is cut).
        without: Components that are cut in both runs: those that would take over a part's work.
        by: As in `evaluate`.
        metric: As in `patch`.
        any_task: As in `evaluate`.
        reference: As in `evaluate`.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        Faithfulness before minus after (positive: the part helps), unclamped; axis "edge"
        ("L9H1 -> L10H7.q_in") or "component", one value per example kept.

    Raises:
        ValueError: As in `evaluate`, and if `without` names what is not in the circuit.

    Cost:
        A run for each part: some tenths of a second on a 30-layer model.

    Reference:
        Wang et al. 2022 (arXiv 2211.00593), section 4: with K = `without`, their minimality score
        F(C without K) minus F(C without K and v).
    """
    started = time.perf_counter()
    if of not in GROUPS:
        raise unknown("parts of a circuit", of, GROUPS, "of='components'")
    edges, clean = _ready(model, task, circuit, by, metric, any_task, reference, backend)
    row = {str(s): i for i, s in enumerate(sites.senders(circuit.graph))}
    column = {str(r): i for i, r in enumerate(sites.receivers(circuit.graph))}
    place = {(name,): i for i, name in enumerate(circuit.places)}
    sent = [s for s in row if any(s == edge[0] for edge in circuit)]
    not_in_circuit = [name for name in without if name not in sent]
    if not_in_circuit:
        raise unknown("component of the circuit", not_in_circuit[0], sent, f"without={sent[:1]}")
    base = circuit.weights()
    base[[row[s] for s in without]] = 0.0
    left = [edge for edge in circuit if edge[0] not in without]

    def cell(edge: Edge) -> tuple[int, ...]:
        at = row[edge[0]], column[edge[1]]
        return (*at, place[edge[2:]]) if place else at

    parts: list[tuple] = (
        [cell(edge) for edge in left]
        if of == "edges"
        else [(row[s],) for s in sent if s not in without]
    )
    values = torch.cat(
        [edges.cut(_stack([base, 0 * base]), bar=False), _without(edges, base, parts)]
    )
    runs = values[[0, *range(2, len(values))]]
    faithfulness, notes = fractions(runs, clean, values[1], edges.metric)
    examples = faithfulness[:1] - faithfulness[1:]
    labels = (
        [shown(edge) for edge in left] if of == "edges" else [s for s in sent if s not in without]
    )
    doubt = disconnected(circuit, len(circuit.prune()), by)
    if doubt:
        warn(doubt)
    metadata = sweep.provenance(
        model,
        task,
        "minimality",
        started,
        metric=edges.metric.name,
        by=by,
        backend=edges.backend,
        edges=len(circuit),
        clean=float(clean.mean()),
        corrupted=float(values[1].mean()),
        without=list(without),
        faithfulness=float(faithfulness[0].mean()),
        seen=_seen(circuit, task),
        **({"note": doubt} if doubt else {}),
        **notes,
    )
    name = f"faithfulness lost without the {GROUPS[of]}"
    return Result(
        examples.mean(-1), (GROUPS[of],), {GROUPS[of]: labels}, name, FRACTION, metadata, examples
    )


# --- what both this and curves use ----------------------------------------------------------------


def fractions(
    values: Float[Tensor, "row batch"],
    clean: Float[Tensor, "batch"],
    corrupted: Float[Tensor, "batch"],
    metric: Metric,
) -> tuple[Float[np.ndarray, "row batch"], dict[str, Any]]:
    """Where each run stands between corrupted (0) and clean (1): a prompt's part in the ratio of
    the means, and what metadata says of the denominator; see `_stats.fractions`.
    """
    values, clean, corrupted = (to_numpy(x) for x in (values, clean, corrupted))
    return _stats.fractions(
        values - corrupted,
        clean - corrupted,
        WHOLE.format(metric.name),
        "try another metric, or another `by`",
        "faithfulness",
    )


def disconnected(circuit: Circuit, kept: int, by: str) -> str:
    """The sentence for a circuit through which nothing of the prompt reaches the logits; else
    nothing.

    Args:
        circuit: The circuit.
        kept: How many of its edges lie on a way from the embedding to the logits.
        by: What cut edges carry. With the corrupted prompt's writes the run is then the corrupted
            one, so that the faithfulness is 0; with means or zeros it is the same for all prompts.
    """
    if kept:
        return ""
    n, of = len(circuit), circuit.n_graph_edges
    sends = sum(edge[0] == "embed" for edge in circuit)
    read = sum(edge[1] == "logits.in" for edge in circuit)
    more = min(of, 2 * n)
    so = "its faithfulness is 0" if by == "resample" else "its output is the same for every prompt,"
    return (
        f"0 of the circuit's {n} edges lie on a way from the embedding to the logits ({sends} leave"
        f" the embedding, {read} enter the logits), so nothing of the prompt passes through it and"
        f" {so} whatever the model does: take more edges,"
        f" interp.Circuit.top(scores, {more}).prune(), until some are left"
    )


def weak_null(kept: Sequence[int], match: str, by: str) -> str:
    """The sentence for random circuits of which none, or fewer than half, has a way from the
    embedding to the logits; else nothing.

    Args:
        kept: How many edges of each random circuit lie on such a way.
        match: How they were drawn.
        by: What cut edges carry, see `disconnected`.
    """
    ways = sum(n > 0 for n in kept)
    if match == "connected" or 2 * ways >= len(kept):
        return ""
    which = f"{ways or 'none'} of the {len(kept)} random circuits"
    if len(kept) == 1:
        which = "not even the one random circuit"
    verb = "have" if ways > 1 else "has"
    rest = "their" if not ways else f"of the other {len(kept) - ways} the"
    rest = "its" if len(kept) == 1 else rest
    certain = (
        f"{rest} faithfulness is certain to be 0"
        if by == "resample"
        else f"{rest} output is the same for every prompt"
    )
    return (
        f"{which} drawn by match={match!r} {verb} a way from the embedding to the logits, so"
        f" {certain}, and to be above that says little: match='connected' draws random circuits"
        " all of whose edges lie on such a way"
    )


def graph_of(model: Model) -> Graph:
    """The shape of a model's residual graph."""
    d = bridge.dims(model)
    return Graph(d.n_layers, d.n_heads, d.n_kv_heads, d.parallel)


def run_weights(circuit: Circuit, by: str) -> Float[np.ndarray, "sender receiver *place"]:
    """The circuit as weights of a run; resampled, edges on no path to the logits are left out."""
    return (circuit.prune() if by == "resample" else circuit).weights()


def clean_metric(
    model: Model, task: Any, metric: Metric, backend: str = "hooks"
) -> Float[Tensor, "batch"]:
    """The metric of the model's own clean run: no edge is touched.

    Args:
        model: A loaded model.
        task: The prompts.
        metric: What is measured.
        backend: The one that cuts the edges, `Edges.backend`: in bfloat16 the two backends differ
            by rounding, which would pass for a part of the faithfulness.
    """
    return read_values(model, task, metric, backend=backend)


def _ready(
    model: Model,
    task: Any,
    circuit: Circuit,
    by: str,
    metric: Any,
    any_task: bool,
    reference: Tensor | None,
    backend: str | None,
) -> tuple[Edges, Float[Tensor, "batch"]]:
    """The graph on this task, and the metric of the clean run; the circuit is checked."""
    if not isinstance(circuit, Circuit):
        raise ValueError(
            f"a Circuit is needed, got {type(circuit).__name__}: interp.Circuit.top(scores, 500)"
            " or interp.Circuit.load('circuit.json')"
        )
    circuit.check(bridge.name(model), graph_of(model), None if any_task else task)
    metric = metric_of(task, metric)
    options = dict(by=by, reference=reference, backend=backend, places=circuit.places)
    edges = edges_on(model, task, metric, **options)
    return edges, clean_metric(model, task, metric, edges.backend)


def _without(edges: Edges, base: np.ndarray, parts: Sequence[tuple]) -> Float[Tensor, "row batch"]:
    """The metric of the base circuit minus each part in turn."""
    values = []
    with sweep.progress(None, "parts of the circuit", total=len(parts)) as bar:
        for lo in range(0, len(parts), AT_ONCE):
            rows = np.stack([base] * len(parts[lo : lo + AT_ONCE]))
            for row, part in zip(rows, parts[lo : lo + AT_ONCE]):
                row[part] = 0.0
            values.append(edges.cut(torch.from_numpy(rows), bar=False))
            bar.update(len(rows))
    return torch.cat(values)


def _stack(weights: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(weights))


def _typed(task: Any, metric: Any) -> str:
    """The metric by the name it is asked for."""
    if metric is None:
        return task.metric_name
    return metric if isinstance(metric, str) else metric_of(task, metric).name


def _seen(circuit: Circuit, task: Any) -> bool:
    """Whether the circuit was found on any of these prompts.

    A circuit of an older file knows only the seed and the half that its prompts were drawn from.
    """
    found_on = circuit.task.get("prompts")
    if found_on is not None:
        return bool(set(found_on) & set(task.digests))
    made_of = {"name": task.name, **{k: task.metadata.get(k) for k in ("seed", "split")}}
    return bool(circuit.task) and all(circuit.task.get(k) == v for k, v in made_of.items())
