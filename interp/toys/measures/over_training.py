"""Measures over training: any function of the model, checkpoint by checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from interp._errors import unknown
from interp._progress import progress
from interp.models import bridge
from interp.results import Result
from interp.toys.training import runs
from interp.toys.training.runs import Run
from interp.toys.training.train import IGNORE, one_thread

Measured = float | Result | Mapping[str, float]


def over_training(
    run: Run | Sequence[Run],
    measure: Callable[[Any], Any],
    *,
    steps: Sequence[int] | None = None,
    name: str = "",
    unit: str = "",
) -> Result:
    """A measure at every checkpoint of a run, or of several runs.

    Example:
        >>> def induction(model):
        ...     return interp.head_scores(model, "induction", length=12)
        >>> toys.over_training(run, induction).sel(score="induction").plot()
        >>> toys.over_training(runs, toys.loss_on(batch)).sel(slice="repeat").plot()

    Args:
        run: A run, or several that differ in their seed alone.
        measure: A function from a model to a number, a Result, or numbers by name (axis "measure").
            The model is one object whose weights change between checkpoints: keep numbers, not the
            model.
        steps: Only these checkpoints; all if None.
        name: The name of the result, if the measure gives none.
        unit: Its unit, if the measure gives none.

    Returns:
        Axis "step", then the measure's own axes; of several runs, axis "seed" first. The measure's
        examples are kept if all checkpoints have as many.

    Raises:
        ValueError: If a step has no checkpoint, the measure's axes change, or the runs differ in
            more than their seed.
    """
    if not isinstance(run, Run):
        return _seeds(
            [over_training(single, measure, steps=steps, name=name, unit=unit) for single in run],
            list(run),
        )
    wanted = list(run.steps if steps is None else steps)
    for step in wanted:
        run._path(step)  # refused before any is measured
    if not wanted:
        raise ValueError("no checkpoints to measure: steps is empty")
    model, results = run.model(wanted[0]), []
    with one_thread():
        for step in progress(wanted, name or "over training"):
            runs.put(model.original_model, run.weights(step))
            model.cfg.model_name = f"{run.recipe.name}@{step}"
            results.append(_as_result(measure(model), name, unit))
    return _stacked(results, wanted, {"model": run.recipe.name, "train_seed": run.recipe.seed})


def _as_result(value: Measured, name: str, unit: str) -> Result:
    """A measure's value as a Result."""
    if isinstance(value, Result):
        return value
    if isinstance(value, Mapping):
        numbers = [float(v) for v in value.values()]
        return Result(
            numbers,
            ("measure",),
            {"measure": list(value)},
            name or "measures",
            unit or "each its own",
            {},
        )
    return Result(float(value), (), {}, name or "measure", unit or "the measure's own", {})


def _stacked(
    results: Sequence[Result], steps: Sequence[int], metadata: Mapping[str, Any]
) -> Result:
    """The Results of all checkpoints as one, with the axis "step" first."""
    first = results[0]
    other = [s for s, r in zip(steps, results) if (r.dims, r.coords) != (first.dims, first.coords)]
    if other:
        raise ValueError(
            f"the measure has other axes at step {other[0]} than at step {steps[0]}: it must have"
            " the same at every checkpoint"
        )
    examples = [r.examples for r in results]
    same = all(e is not None and e.shape == examples[0].shape for e in examples)
    dims, coords = ("step", *first.dims), {"step": list(steps), **first.coords}
    kept_metadata = {k: v for k, v in first.metadata.items() if k not in ("seconds", "model")}
    values = np.stack([r.values for r in results])
    return Result(
        values,
        dims,
        coords,
        first.name,
        first.unit,
        {**kept_metadata, **metadata},
        np.stack(examples) if same else None,
    )


def _seeds(results: Sequence[Result], runs_measured: Sequence[Run]) -> Result:
    """The Results of several runs as one, with the axis "seed" first."""
    if not results:
        raise ValueError("no runs to measure: give a run, or several")
    names = {run.recipe.but(seed=0).to_json() for run in runs_measured}
    labels = [run.recipe.seed for run in runs_measured]
    if len(names) > 1 or len(set(labels)) < len(labels):
        raise ValueError(
            "several runs are measured together when they differ in their seed alone: measure"
            " others one by one"
        )
    first = results[0]
    if any((r.dims, r.coords) != (first.dims, first.coords) for r in results):
        raise ValueError(
            "these runs kept other checkpoints: name the steps they share (steps=[0, 100, 1000])"
        )
    metadata = {k: v for k, v in first.metadata.items() if k != "train_seed"}
    values, examples = np.stack([r.values for r in results]), [r.examples for r in results]
    same = all(e is not None and e.shape == examples[0].shape for e in examples)
    all_examples = np.stack(examples) if same else None
    return Result(
        values,
        ("seed", *first.dims),
        {"seed": labels, **first.coords},
        first.name,
        first.unit,
        metadata,
        all_examples,
    )


def loss_on(
    batch: Any, slices: Mapping[str, Tensor] | Sequence[str] | None = None
) -> Callable[[Any], Result]:
    """A measure: the mean loss on a batch, in nats, for each slice of it.

    Example:
        >>> batch = run.source.batch(256, torch.Generator().manual_seed(0), split="heldout")
        >>> toys.over_training(run, toys.loss_on(batch, ["repeat"])).plot()

    Args:
        batch: The batch.
        slices: Masks [batch pos] (or [batch]) by name, or names of the batch's own labels; a label
            that is a mask gives two slices, "repeat" and "not repeat". None: the whole batch. A
            position without a target is in no slice.

    Returns:
        A function from a model to a Result with the axis "slice", in nats.

    Raises:
        ValueError: If a label does not exist or is no mask, or a slice has no target.
    """
    masks = _masks(batch, slices)

    def measure(model: Any) -> Result:
        with torch.no_grad():
            logits = bridge.forward(model, batch.inputs)
        losses = F.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), reduction="none", ignore_index=IGNORE
        )
        losses = losses.view(batch.targets.shape).double()
        means = [float(losses[mask].mean()) for mask in masks.values()]
        return Result(
            means, ("slice",), {"slice": list(masks)}, "loss", "nats", {"n": len(batch.targets)}
        )

    return measure


def _masks(batch: Any, slices: Mapping[str, Tensor] | Sequence[str] | None) -> dict[str, Tensor]:
    """The masks [batch pos] of all slices, by name."""
    with_target = batch.targets != IGNORE

    def wide(mask):
        return (mask if mask.ndim == 2 else mask[:, None]).expand_as(with_target) & with_target

    if slices is None:
        masks = {"all": with_target}
    elif isinstance(slices, Mapping):
        masks = {name: wide(mask.bool()) for name, mask in slices.items()}
    else:
        masks = {}
        for name in slices:
            if name not in batch.labels:
                raise unknown("label of this batch", name, batch.labels)
            if batch.labels[name].dtype != torch.bool:
                raise ValueError(
                    f"the label {name!r} is not true or false: give slices={{'...': mask}}"
                )
            masks |= {name: wide(batch.labels[name]), f"not {name}": wide(~batch.labels[name])}
    empty = [name for name, mask in masks.items() if not mask.any()]
    if empty:
        raise ValueError(f"no place with a target is in the slice {empty[0]!r}")
    return masks
