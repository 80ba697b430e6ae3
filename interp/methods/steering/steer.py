"""What steering does: the metric at several strengths, and the loss on other text.

>>> steer(model, task, happy, strengths=(-2, 0, 2), other_texts=texts)
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp._errors import unknown
from interp._isolation import torch_defaults
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


@torch_defaults()
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
    """Steering: change of the metric as the model is steered along a direction, at each strength.

    Example:
        >>> steer(model, task, direction, strengths=(0, 1, 2, 4)).plot()
        >>> steer(model, task, direction, on="corrupted", other_texts=texts)

    Args:
        model: A loaded model.
        prompts: A task, or texts or ids; their answers are then the model's own next tokens.
        direction: What to steer along.
        at: Another place than the direction's own, see `Direction.push`.
        strengths: See `Direction.push`.
        how: "add", "project_out" or "set", see `Direction.push`.
        on: A task's "clean" or "corrupted" prompts.
        metric: As in `patch`.
        other_texts: Texts or ids on which the side effect is measured, see `steering_side_effect`.

    Returns:
        Steered minus unsteered metric, axis "strength", one value per example kept. With
        `other_texts` the axes are "measure" and "strength", without examples: the prompts and the
        texts differ.

    Raises:
        ValueError: If there is no strength, or the direction does not fit the model.

    Cost:
        One forward pass of the prompts per strength.
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


@torch_defaults()
def steering_side_effect(
    model: Model,
    texts: Any,
    direction: Direction,
    *,
    at: str | None = None,
    strengths: Sequence[float] = (-2.0, -1.0, 0.0, 1.0, 2.0),
    how: str = "add",
) -> Result:
    """Change of the cross-entropy on other text while the model is steered (above 0: worse).

    The direction is added at every token but the first, also where it belongs to the last one: at
    the last token of a text it would change no prediction, and in generation each token is the last
    once.

    Example:
        >>> steering_side_effect(model, texts, direction, strengths=(0, 1, 2, 4)).plot()

    Args:
        model: A loaded model.
        texts: Texts or ids, of any lengths.
        direction: What to steer along.
        at: Another place than the direction's own, see `Direction.push`.
        strengths: See `Direction.push`.
        how: "add", "project_out" or "set", see `Direction.push`.

    Returns:
        Steered minus unsteered loss in nats per token, axis "strength", one value per text kept.

    Cost:
        One forward pass of the texts per strength.
    """
    started = time.perf_counter()
    everywhere = str(Site.parse(at or direction.site).at(None))
    cells = _strength_cells(model, direction, strengths, how, everywhere)
    changes, count = [], 0
    for batch in batches_by_length(model, texts):

        def loss(edits, tokens=batch.tokens):
            return torch.as_tensor(cross_entropy(model, tokens, edits).examples)

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
    """One list of interventions per strength."""
    if len(strengths) == 0:
        raise ValueError("no strengths: give at least one, for example strengths=(0, 1, 2)")
    if not isinstance(direction, Direction):
        raise ValueError(
            f"a Direction is needed, got {type(direction).__name__}: interp.Direction(vector,"
            " 'resid_post.15@*'), or interp.methods.steering.difference_of_means(...)"
        )
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
