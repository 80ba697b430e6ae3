"""Whether circuits, or the scores they are chosen by, agree with each other or a known circuit."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._stats import auroc, spearman
from interp._types import Model
from interp.circuits import Circuit
from interp.circuits.residual_graph import places_of
from interp.methods.circuits.discovery import discover
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.results import Result


def agreement(a: Circuit | Result, b: Circuit | Result, *, n: int | None = None) -> Result:
    """How far two circuits, or two methods' scores, are the same.

    Example:
        >>> agreement(eap_circuit, acdc_circuit)
        >>> agreement(eap(model, task), eap_ig(model, task), n=500)

    Args:
        a: A circuit, or scores of edges.
        b: The same kind, of the same model.
        n: Of scores, how many of the largest in size are compared as sets; 500 if None, or a tenth
            of the edges where that is fewer.

    Returns:
        Axis "measure". Of two circuits: "Jaccard, edges" and "Jaccard, components" (in both, as a
        share of in either), "second in first" and "first in second" (the share of one's edges that
        the other has), "Jaccard by chance" (expected of two random circuits of these sizes). Of two
        scores: "rank correlation" of all edges (Spearman) and "of sizes" (of |score|), and
        "Jaccard, top n", with what is expected by chance.

    Raises:
        ValueError: If the two are of different kinds or of different models.
    """
    if isinstance(a, Circuit) and isinstance(b, Circuit):
        rows, sizes = _circuits(a, b), {"edges": [len(a), len(b)]}
    elif isinstance(a, Result) and isinstance(b, Result):
        edges = int((~np.isnan(a.values)).sum())
        n = max(1, min(500, edges // 10)) if n is None else n
        rows, sizes = _scores(a, b, n), {"n_top": n}
    else:
        kinds = [type(x).__name__ for x in (a, b)]
        raise ValueError(
            f"agreement is of two circuits or of two scores, got {kinds[0]} and {kinds[1]}: make a"
            " circuit of the scores, interp.Circuit.top(scores, len(circuit))"
        )
    metadata = {"method": "agreement", "of": [_described(a), _described(b)], **sizes}
    return Result(
        np.array(list(rows.values())),
        ("measure",),
        {"measure": list(rows)},
        "agreement",
        "share, or correlation",
        metadata,
    )


def roc_curve(scores: Result, truth: Circuit | Sequence[str], *, absolute: bool = True) -> Result:
    """ROC curve of scores that should tell a known circuit's edges from all others.

    Example:
        >>> curve = roc_curve(eap_ig(model, task), truth)
        >>> curve.metadata["auc"]
        0.97
        >>> heads = attribution_patch(model, task, "L*H*")
        >>> roc_curve(heads, ["L23H3", "L29H1"]).plot()             # heads, or any cells by label

    Args:
        scores: Scores of edges, or of any cells.
        truth: A circuit of edges, or the labels of the scores' own cells that belong to it.
        absolute: By the score's size, or (False) the most helpful first.

    Returns:
        The true positive rate, axis "false positive rate", as the threshold falls; only the corners
        are kept, because the curve is straight between them. metadata["auc"] is the exact area: the
        chance that an edge of the circuit scores above another edge, a tie counting one half. 0.5
        is guessing.

    Raises:
        ValueError: If the circuit is of another model, has no edges or all of them, or a score is
            missing (NaN).
    """
    values, positive = _against(scores, truth)
    values = np.abs(values) if absolute else values
    auc = auroc(values, positive)
    false, true = _corners(values, positive)
    metadata = {
        k: scores.metadata[k]
        for k in ("model", "task", "n", "method", "metric")
        if k in scores.metadata
    }
    metadata |= {
        "auc": auc,
        "absolute": absolute,
        "edges": int(positive.sum()),
        "others": int((~positive).sum()),
        "truth": _described(truth),
    }
    dim = "false positive rate"
    return Result(
        true,
        (dim,),
        {dim: false.tolist()},
        f"ROC of {scores.name}, area {auc:.3f}",
        "true positive rate",
        metadata,
    )


@torch_defaults()
@any_prompts(answers=True, join=False)
def stability(
    model: Model,
    task: Any,
    method: str = "eap_ig",
    *,
    n: int = 500,
    resamples: int = 10,
    seeds: int = 3,
    seed: int = 0,
    absolute: bool = True,
    **options: Any,
) -> Result:
    """Mean Jaccard of top-n circuits found on other prompts: how much of a circuit stays.

    Example:
        >>> stability(model, task, "eap_ig", n=500)

    Args:
        model: A loaded model.
        task: A task that can be made again with other seeds.
        method: A discovery method, see `discover`.
        n: Edges per circuit.
        resamples: How many times the prompts are drawn anew.
        seeds: How many seeds the task is made with, this one included.
        seed: Draws the prompts.
        absolute: Rank edges by size, or (False) by the signed score.
        options: The method's own.

    Returns:
        Share of edges (1: always the same circuit), axis "measure". "prompts resampled": the task's
        own prompts drawn with replacement (from one run that keeps each prompt's scores). "other
        seeds": this task and the same with other seeds, found separately. "by chance": two random
        circuits of n edges. metadata["pairs"] has every pair's Jaccard, metadata["in every
        resample"] the number of edges that are in each resampled circuit.

    Raises:
        ValueError: If there are not two of each, or the task has one prompt.

    Cost:
        `seeds` runs of the method, one of which keeps the scores of every prompt.
    """
    started = time.perf_counter()
    if resamples < 2 or seeds < 2:
        raise ValueError(
            f"resamples={resamples}, seeds={seeds}: a pair needs two (try resamples=10, seeds=3)"
        )
    if len(task) < 2:
        raise ValueError(
            "one prompt cannot be drawn anew: stability needs a task of at least 2 (try n=32)"
        )
    first = discover(model, task, method, examples=True, **options)
    rng, size = np.random.default_rng(seed), first.examples.shape[-1]
    drawn = [rng.multinomial(size, np.full(size, 1 / size)) / size for _ in range(resamples)]

    def top(scores):
        return Circuit.top(replace(scores, examples=None), n, absolute=absolute)

    resampled = [
        top(replace(first, values=first.examples @ weights, examples=None)) for weights in drawn
    ]
    made = {k: task.metadata.get(k) for k in ("split", "seed")}
    remade = task.recipe != {}  # own prompts are not drawn by a seed: there are no others
    others = (
        []
        if not remade
        else [
            task.remake(n=len(task), split=made["split"], seed=made["seed"] + 100 * k).with_metric(
                task.metric_name
            )
            for k in range(1, seeds)
        ]
    )
    separate = [
        top(first),
        *(
            top(discover(model, other, method, **options))
            for other in sweep.progress(others, "other seeds")
        ),
    ]
    pairs = {"prompts resampled": _pairs(resampled)}
    pairs |= {"other seeds": _pairs(separate)} if remade else {}
    every = set.intersection(*(set(circuit) for circuit in resampled))
    rows = {
        **{k: float(np.mean(v)) for k, v in pairs.items()},
        "by chance": _chance(n, n, int((~np.isnan(first.values)).sum())),
    }
    metadata = sweep.provenance(
        model,
        task,
        f"stability of {method}",
        started,
        edges=n,
        resamples=resamples,
        seeds=seeds,
        absolute=absolute,
        pairs=pairs,
        **{"in every resample": len(every)},
    )
    coords, name = {"measure": list(rows)}, f"Jaccard of {n} edges found again"
    return Result(
        np.array(list(rows.values())), ("measure",), coords, name, "share of edges", metadata
    )


# --- counting -------------------------------------------------------------------------------------


def _circuits(a: Circuit, b: Circuit) -> dict[str, float]:
    """The numbers for two circuits."""
    both, (nodes_a, nodes_b) = len(a & b), (set(a.nodes), set(b.nodes))

    def share(part, whole):
        return part / whole if whole else float("nan")

    total = a.n_graph_edges
    return {
        "Jaccard, edges": a.jaccard(b),
        "Jaccard, components": share(len(nodes_a & nodes_b), len(nodes_a | nodes_b)),
        "second in first": share(both, len(b)),
        "first in second": share(both, len(a)),
        "Jaccard by chance": _chance(len(a), len(b), total),
    }


def _scores(a: Result, b: Result, n: int) -> dict[str, float]:
    """The numbers for two tables of scores."""
    tops = [Circuit.top(x, n) for x in (a, b)]
    overlap = tops[0].jaccard(tops[1])  # says so when they are of two models
    has_score = ~np.isnan(a.values)
    x, y = a.values[has_score], b.values[has_score]
    return {
        "rank correlation": spearman(x, y),
        "rank correlation of sizes": spearman(np.abs(x), np.abs(y)),
        f"Jaccard, top {n}": overlap,
        "Jaccard by chance": _chance(n, n, len(x)),
    }


def _chance(a: int, b: int, total: int) -> float:
    """The Jaccard of two random sets of these sizes, at the expected overlap."""
    both = a * b / total
    return both / (a + b - both) if a + b else float("nan")


def _pairs(circuits: Sequence[Circuit]) -> list[float]:
    """The Jaccard of every two circuits."""
    return [a.jaccard(b) for a, b in combinations(circuits, 2)]


def _against(
    scores: Result, truth: Circuit | Sequence[str]
) -> tuple[Float[np.ndarray, "edge"], Bool[np.ndarray, "edge"]]:
    """Every edge's or cell's score, and whether it is in what is known."""
    if not isinstance(truth, Circuit):
        return _cells_against(scores, list(truth))
    none = Circuit.of((), like=scores, places=places_of(scores))
    every = list(none.graph_edges())
    truth & none  # says so when they are of two models
    if not 0 < len(truth) < len(every):
        raise ValueError(
            f"the known circuit has {len(truth)} of {len(every)} edges: nothing can be told apart"
            " (some, not all, are needed)"
        )
    index = [{name: i for i, name in enumerate(scores.coords[d])} for d in scores.dims]
    values = np.array(
        [scores.values[tuple(axis[end] for axis, end in zip(index, edge))] for edge in every]
    )
    if np.isnan(values).any():
        raise ValueError(
            f"{int(np.isnan(values).sum())} of {len(values)} edges have no score (NaN): every edge"
            " needs one"
        )
    return values, np.array([edge in truth for edge in every])


def _cells_against(
    scores: Result, truth: list[str]
) -> tuple[Float[np.ndarray, "cell"], Bool[np.ndarray, "cell"]]:
    """Every cell's score, and whether its label is among the known ones."""
    labels, values = scores.labels(), scores.values.ravel()
    wrong = next((name for name in truth if name not in labels), None)
    if wrong is not None:
        raise unknown("cell of these scores", wrong, labels)
    if not 0 < len(set(truth)) < len(labels):
        raise ValueError(
            f"{len(set(truth))} of {len(labels)} cells are the known ones: nothing can be told"
            " apart (some, not all, are needed)"
        )
    if np.isnan(values).any():
        raise ValueError(
            f"{int(np.isnan(values).sum())} of {len(values)} cells have no score (NaN): every cell"
            " needs one"
        )
    return values, np.isin(labels, truth)


def _corners(values: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates where the ROC curve turns; edges of one score come together."""
    order = np.argsort(-values, kind="stable")
    last = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    counts = np.stack([np.cumsum(~positive[order])[last], np.cumsum(positive[order])[last]])
    counts = np.concatenate([np.zeros((2, 1), dtype=int), counts], axis=1)
    step = np.diff(counts, axis=1)
    turns = step[0, 1:] * step[1, :-1] != step[0, :-1] * step[1, 1:]
    keep = np.concatenate([[True], turns, [True]])
    rates = counts[:, keep] / counts[:, -1:]
    return rates[0], rates[1]


def _described(item: Circuit | Result | Sequence[str]) -> str:
    """A circuit or scores in a few words, for metadata."""
    if not isinstance(item, Circuit | Result):
        return f"{len(item)} cells"
    if isinstance(item, Result):
        return str(item.metadata.get("method", item.name))
    return str(
        item.source.get("method")
        or item.source.get("cite")
        or item.source.get("kind", f"{len(item)} edges")
    )
