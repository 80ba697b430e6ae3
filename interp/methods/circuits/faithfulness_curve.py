"""Faithfulness by size: how good the best n edges of a discovery method are, for every n."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._stats import ratio_parts
from interp._types import Model
from interp.circuits import Circuit
from interp.circuits.residual_graph import places_of
from interp.methods.circuits.edges import edges_on
from interp.methods.circuits.evaluate import (
    FRACTION,
    clean_metric,
    disconnected,
    fractions,
    graph_of,
    weak_null,
)
from interp.methods.circuits.random_circuits import random_circuits
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.tasks.metrics import MetricLike

SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)  # MIB's shares of all edges
SELECT = {"top": Circuit.top, "greedy": Circuit.greedy}


@torch_defaults()
@any_prompts(answers=True, join=False)
def faithfulness_curve(
    model: Model,
    task: Any,
    scores: Result,
    sizes: Sequence[float] = SIZES,
    *,
    select: str = "top",
    absolute: bool = True,
    prune: bool = True,
    by: str = "resample",
    metric: MetricLike = None,
    sets: int = 3,
    match: str = "size",
    seed: int = 0,
    reference: Tensor | None = None,
    backend: str | None = None,
) -> Result:
    """Faithfulness of circuits of growing size chosen by these scores, beside random ones.

    Example:
        >>> curve = faithfulness_curve(model, task.heldout(), discover(model, task))
        >>> curve.plot()
        >>> cpr_cmd(curve)                          # CPR and CMD, as MIB defines them

    Args:
        model: A loaded model.
        task: A task; use other prompts than the scores were found on.
        scores: Scores of edges, from `discover`; with an axis "place", of edges at places.
        sizes: Shares of all edges up to 1 (rounded to whole edges, at least one), numbers of edges
            above 1.
        select: "top" or "greedy", see `Circuit.top` and `Circuit.greedy`.
        absolute: By the score's size, or (False) the most helpful first; MIB's CPR is signed, its
            CMD by size.
        prune: Leave out edges on no path from the embedding to the logits, random ones too; with
            by="resample" this changes the time and not the numbers. A size counts the edges before
            it.
        by: What a cut edge carries, see `evaluate`.
        metric: As in `patch`.
        sets: How many random circuits per size.
        match: How they are drawn, see `random_circuits`: "connected" where those of "size" have too
            few edges for a way from the embedding to the logits.
        seed: Draws them.
        reference: As in `evaluate`.
        backend: "engine" or "hooks"; None chooses.

    Returns:
        Faithfulness (0: all edges cut, 1: the clean run, never clamped), axes "circuit"
        ("discovered", "random") and "edges", one value per example kept. metadata: "random" (each
        set's, by size), "kept" (edges after pruning), "total". A note says at which sizes the
        circuit, or most of the random ones, has no way from the embedding to the logits.

    Raises:
        ValueError: If a size is not possible, or the scores are of another model.

    Cost:
        A few forward passes per size.

    Reference:
        Mueller et al. 2025 (MIB, arXiv 2504.13151).
    """
    started = time.perf_counter()
    if select not in SELECT:
        raise unknown("way to select", select, SELECT, "select='greedy'")
    if not isinstance(scores, Result):
        raise ValueError(
            f"the scores of all edges are needed, got {type(scores).__name__}:"
            " faithfulness_curve(model, task, interp.discover(model, task))"
        )
    metric = metric_of(task, metric)
    numbers, total = _numbers(scores, sizes)
    circuits = [SELECT[select](scores, n, absolute=absolute) for n in numbers]
    circuits[0].check(bridge.name(model), graph_of(model))
    options = dict(by=by, reference=reference, backend=backend, places=places_of(scores))
    edges = edges_on(model, task, metric, **options)
    clean = clean_metric(model, task, metric, edges.backend)
    corrupted = edges.cut(torch.zeros(1, *scores.values.shape), bar=False)[0]
    _, notes = fractions(clean[None], clean, corrupted, metric)  # before the long part
    curves, each, sizes_pruned = [], {}, []
    no_way, null_at = [], {}
    cut_as = "resample" if prune else by  # pruned, a circuit without a way has every edge cut
    for n, circuit in zip(sweep.progress(numbers, "circuits by size"), circuits):
        # all edges there are: a random circuit of that size is the same one
        drawn = random_circuits(circuit, sets, seed, match=match) if n < total else []
        pruned = [item.prune() for item in [circuit, *drawn]]
        if disconnected(circuit, len(pruned[0]), cut_as):
            no_way.append(n)
        doubt = weak_null([len(item) for item in pruned[1:]], match, cut_as)
        null_at.setdefault(doubt, []).append(n)
        run_circuits = pruned if prune else [circuit, *drawn]
        values = edges.cut(
            torch.from_numpy(np.stack([item.weights() for item in run_circuits])), bar=False
        )
        moved, whole = (to_numpy(of) - to_numpy(corrupted) for of in (values, clean))
        part = ratio_parts(moved, whole)
        curves.append([part[0], part[1:].mean(0) if drawn else part[0]])
        each[str(n)] = part[1:].mean(-1).tolist() if drawn else [float(part[0].mean())]
        sizes_pruned.append(len(run_circuits[0]))
    examples = np.stack(curves, 1)
    said = [f"at {_sizes(at)}: {doubt}" for doubt, at in null_at.items() if doubt]
    if no_way:
        said.insert(
            0,
            f"at {_sizes(no_way)}: none of the discovered edges lies on a way from the embedding"
            " to the logits, so "
            + (
                "0 is certain there"
                if cut_as == "resample"
                else "every prompt gives the same there"
            ),
        )
    metadata = sweep.provenance(
        model,
        task,
        f"faithfulness curve, {scores.metadata.get('method', 'scores')}",
        started,
        metric=metric.name,
        by=by,
        backend=edges.backend,
        clean=float(clean.mean()),
        corrupted=float(corrupted.mean()),
        select=select,
        absolute=absolute,
        prune=prune,
        kept=sizes_pruned,
        total=total,
        random=each,
        match=match,
        sets=sets,
        **({"note": "\nnote: ".join(said)} if said else {}),
        **notes,
    )
    coords = {"circuit": ["discovered", "random"], "edges": numbers}
    name = f"faithfulness, {select} {'|score|' if absolute else 'signed score'} first"
    return Result(
        examples.mean(-1), ("circuit", "edges"), coords, name, FRACTION, metadata, examples
    )


def cpr_cmd(curve: Result) -> Result:
    """CPR and CMD of a faithfulness curve: the area under f, and the area between f and 1.

    Example:
        >>> cpr_cmd(curve)
        >>> cpr_cmd(curve).sel(measure="CMD", circuit="discovered")

    Args:
        curve: A result of `faithfulness_curve` with at least two sizes.

    Returns:
        Faithfulness times share of edges, axes "measure" and "circuit". Trapezoids of f and of |1 -
        f| between the curve's sizes, over the share of edges on a linear scale, from the smallest
        size to the largest; MIB's ten sizes give 0.001 to 1, so that f = 1 throughout has CPR 0.999
        and CMD 0. CPR: higher is better. CMD: lower is better, 0 at best.

    Raises:
        ValueError: If it is another result, or has one size.

    Reference:
        Mueller et al. 2025 (MIB, arXiv 2504.13151), section 3. MIB reads CPR off signed scores
        (absolute=False) and CMD off their size (absolute=True); metadata["absolute"] says which
        order this curve used. The two give very different numbers.
    """
    if curve.dims != ("circuit", "edges") or "total" not in curve.metadata:
        raise ValueError(
            f"area is taken of a faithfulness_curve, got {curve.name!r} with axes {curve.dims}"
        )
    numbers = curve.coords["edges"]
    if len(numbers) < 2:
        raise ValueError(
            f"a curve of one size ({numbers[0]} edges) has no area: give faithfulness_curve at"
            " least two sizes"
        )
    share = np.array(numbers) / curve.metadata["total"]
    below = np.trapezoid(curve.examples, share, axis=1)
    # the sign of the mean: |1 - f| is of the mean over prompts, not a mean of distances
    side = np.sign(1 - curve.values)[..., None]
    beside = np.trapezoid(side * (1 - curve.examples), share, axis=1)
    metadata = curve.metadata | {"from": float(share[0]), "to": float(share[-1])}
    coords = {"measure": ["CPR", "CMD"], "circuit": curve.coords["circuit"]}
    examples = np.stack([below, beside])
    how = "by size of score" if curve.metadata["absolute"] else "by signed score"
    name, unit = f"area of the faithfulness curve, {how}", "faithfulness x share of edges"
    return Result(examples.mean(-1), ("measure", "circuit"), coords, name, unit, metadata, examples)


def _sizes(numbers: Sequence[int]) -> str:
    """Numbers of edges in words."""
    return f"{', '.join(map(str, numbers))} edges"


def _numbers(scores: Result, sizes: Sequence[float]) -> tuple[list[int], int]:
    """The sizes as numbers of edges, in order and each once, and how many edges there are."""
    total = int((~np.isnan(scores.values)).sum())
    sizes = np.asarray(sizes).tolist()  # an array's or a tensor's numbers as Python's own
    bad = [size for size in sizes if not 0 < size <= total or (size > 1 and size != int(size))]
    if bad or not len(sizes):
        raise ValueError(
            f"size {bad[0] if bad else '(none)'}: shares lie in (0, 1], numbers of edges in 2 to"
            f" {total} (try 0.01, or 500)"
        )
    return (
        sorted({max(1, round(size * total)) if size <= 1 else int(size) for size in sizes}),
        total,
    )
