"""What steering does: the metric along a direction at several strengths, and the loss on other text.

>>> steer(model, task, happy, strengths=(-2, 0, 2), other_texts=texts)
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._errors import unknown
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import Intervention
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.batching import batches_by_length
from interp.methods.runs.metrics import metric_of
from interp.methods.steering.direction import Direction
from interp.methods.text.cross_entropy import cross_entropy
from interp.results import Result
from interp.sites import Site


def steer(
    model: Model,
    prompts: Any,
    direction: Direction,
    *,
    at: str | None = None,
    strengths: Sequence[float] = (-2.0, -1.0, 0.0, 1.0, 2.0),
    how: str = "add",
    on: str = "clean",
    metric: Any = None,
    other_texts: Any = None,
) -> Result:
    """How the metric changes as the model is steered along a direction, at each strength.

    Example:
        >>> steer(model, task, direction, strengths=(0, 1, 2, 4)).plot()
        >>> steer(model, task, direction, on="corrupted", other_texts=texts)     # the effect beside the harm, as a table

    Args:
        prompts: A task (on: its "clean" or "corrupted" prompts), or texts or ids with a `metric` of
            the last position's logits [batch d_vocab] -> [batch].
        how, strengths, at: See `Direction.push`.
        side: Texts or ids on which to measure the harm, see `steering_side_effect`. The result then has the
            axes (measure, strength), without examples: the prompts and the texts are not the same.
            Unit: the metric's.
    """
    started = time.perf_counter()
    effect = _steer(
        model, prompts, direction, at=at, strengths=strengths, how=how, on=on, metric=metric
    )
    if other_texts is None:
        return effect
    harm = steering_side_effect(model, other_texts, direction, at=at, strengths=strengths, how=how)
    both = {"measure": [effect.name, harm.name], **effect.coords}
    units = f"{effect.unit}, and {harm.unit}"
    metadata = {**effect.metadata, "seconds": round(time.perf_counter() - started, 2)}
    return Result(
        np.stack([effect.values, harm.values]),
        ("measure", "strength"),
        both,
        "steering",
        units,
        metadata,
    )


@any_prompts(answers=True)
def _steer(
    model: Any,
    task: Any,
    direction: Direction,
    *,
    at: str | None,
    strengths: Sequence[float],
    how: str,
    on: str,
    metric: Any,
) -> Result:
    """The effect of steering on the metric of prompts of one length."""
    started = time.perf_counter()
    cells = _strength_cells(model, direction, strengths, how, at)
    _check_kind(on)
    metric = metric_of(task, metric)
    tokens = getattr(task, on)
    base = sweep.unedited_metric(model, tokens, metric, task.positions)
    pushed = sweep.sweep_by_hooks(model, tokens, cells, metric, task.positions, f"steer, {how}")
    examples = to_numpy(pushed - base)
    metadata = sweep.provenance(
        model,
        task,
        f"steer, {how}",
        started,
        site=at or direction.site,
        metric=metric.name,
        on=on,
        direction=direction.metadata.get("method", "vector"),
        norm=round(direction.norm, 4),
        backend="hooks",
    )
    return Result(
        examples.mean(-1),
        ("strength",),
        {"strength": [float(s) for s in strengths]},
        f"change of {metric.name}",
        metric.unit,
        metadata,
        examples,
    )


def steering_side_effect(
    model: Model,
    texts: Any,
    direction: Direction,
    *,
    at: str | None = None,
    strengths: Sequence[float] = (-2.0, -1.0, 0.0, 1.0, 2.0),
    how: str = "add",
) -> Result:
    """How much worse the model predicts other text while it is steered, at each strength (above 0:
    worse).

    The push acts on every token but the first, also where the direction belongs to the last one: a
    push at the last token of a text would change no prediction, and in generation each token is the
    last one once. Unit: nats per token, the change of the cross-entropy, with a number per text.

    Example:
        >>> steering_side_effect(model, texts, direction, strengths=(0, 1, 2, 4)).plot()
    """
    started = time.perf_counter()
    everywhere = str(Site.parse(at or direction.site).at(None))
    cells = _strength_cells(model, direction, strengths, how, everywhere)
    changes, count = [], 0
    for batch in batches_by_length(model, texts):

        def loss(edits):
            return torch.as_tensor(cross_entropy(model, batch.tokens, edits).examples)

        base = loss([])
        pushed = [loss(cell) for cell in sweep.progress(cells, "side effect")]
        changes.append((batch.index, torch.stack(pushed) - base))
        count += len(batch.tokens)
    examples = _in_order(changes, len(cells), count)
    coords = {"strength": [float(s) for s in strengths]}
    metadata = sweep.provenance(
        model, None, f"side effect, {how}", started, site=everywhere, n=count, backend="hooks"
    )
    return Result(
        examples.mean(-1),
        ("strength",),
        coords,
        "change of cross-entropy",
        "nats per token",
        metadata,
        examples,
    )


def _strength_cells(
    model: Model, direction: Direction, strengths: Sequence[float], how: str, at: str | None
) -> list[list[Intervention]]:
    if len(strengths) == 0:
        raise ValueError("no strengths: give at least one, for example strengths=(0, 1, 2)")
    direction.check(model, at)
    return [[direction.push(float(strength), how=how, at=at)] for strength in strengths]


def _check_kind(on: str) -> None:
    if on not in ("clean", "corrupted"):
        raise unknown("prompts", on, ("clean", "corrupted"), "on='corrupted'")


def _in_order(batches: list[tuple[list[int], Tensor]], cells: int, count: int) -> np.ndarray:
    """Batches [cell batch] back in the order in which the prompts were given."""
    out = np.empty((cells, count))
    for index, values in batches:
        out[:, index] = to_numpy(values)
    return out
