"""What the circuit explorer computes: the measure of a circuit's run, a few prompts at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp._stats import NEAR_ZERO, ratio_parts, unsteady
from interp._types import Model
from interp.circuits import Circuit
from interp.methods.circuits.edges import Edges, edge_mask
from interp.methods.circuits.evaluate import WHOLE, clean_metric, run_weights
from interp.methods.runs.metrics import metric_of
from interp.models import bridge

# prompts: few enough that the first numbers come at once, and that a newer click need not wait
AT_ONCE = 4
WITHIN = ("circuit", "model")
Compute = Callable[..., Iterator[dict[str, Any] | None]]


class Part(NamedTuple):
    """Some of the task's prompts, ready for runs with edges cut, and their two ends."""

    edges: Edges
    clean: Tensor
    corrupted: Tensor


def runs(
    model: Model,
    task: Any,
    *,
    by: str = "resample",
    metric: str | None = None,
    places: Sequence[str] = (),
) -> Compute:
    """A function of (circuit, cut edges, within, stale) that yields the numbers of AT_ONCE prompts,
    later of all.

    within "circuit": everything else is cut. "model": only the cut edges are, of the whole model.
    The last numbers are those of `interp.evaluate`.
    """
    pieces = [task[lo : lo + AT_ONCE] for lo in range(0, len(task), AT_ONCE)]
    whole_metric, parts = metric_of(task, metric), []
    seen: list[Any] = [None]  # the state of the model that the parts are of

    def part(i: int) -> Part:
        if i == len(parts):
            piece_metric = metric_of(pieces[i], metric)
            given = dict(by=by, reference=task.corrupted, places=places)
            edges = Edges(model, pieces[i], piece_metric, **given)
            clean = clean_metric(model, pieces[i], piece_metric, edges.backend)
            parts.append(Part(edges, clean, _nothing(edges)))
        return parts[i]

    def compute(
        circuit: Circuit, cut: Circuit, within: str, stale: Callable[[], bool]
    ) -> Iterator[dict[str, Any] | None]:
        weight = run_weights(circuit, by) if within == "circuit" else 1 - cut.weights()
        weight, rows = torch.from_numpy(weight)[None], []
        if seen[0] != (now := bridge.ready(model)):
            parts.clear()
            seen[0] = now
        for i in range(len(pieces)):
            if stale():
                return
            one = part(i)
            rows.append(
                torch.stack(
                    [
                        values.detach().cpu()
                        for values in (
                            one.edges.cut(weight, bar=False)[0],
                            one.clean,
                            one.corrupted,
                        )
                    ]
                )
            )
            last = i == len(pieces) - 1
            yield _numbers(torch.cat(rows, 1), whole_metric, len(task)) if last or i == 0 else None

    return compute


def _nothing(edges: Edges) -> Tensor:
    """The measure with every edge cut."""
    return edges.cut(torch.zeros(1, *edge_mask(edges.dims).shape), bar=False)[0]


def _numbers(rows: Tensor, metric: Any, of: int) -> dict[str, Any]:
    value, clean, corrupted = rows.double()
    whole = clean - corrupted
    # nothing to be faithful to: the measure itself still says something
    none = abs(float(whole.mean())) < NEAR_ZERO
    faithful = None if none else float(ratio_parts(value - corrupted, whole).mean())

    def mean(x):
        return float(x.mean())

    data = {
        "value": mean(value),
        "clean": mean(clean),
        "corrupted": mean(corrupted),
        "faithfulness": faithful,
        "doubt": ""
        if none
        else unsteady(whole.tolist(), WHOLE.format(metric.name), "faithfulness"),
    }
    return data | {"n": rows.shape[1], "of": of, "name": metric.name, "unit": metric.unit}
