"""What a short number type does to a metric by itself, so that no result is read below it."""

from dataclasses import replace
from typing import Any

import torch

from interp._types import Model
from interp._warn import warn
from interp.interventions import run
from interp.models import bridge
from interp.results import Result
from interp.tasks.metrics import Metric

DRAWS = 8  # of rounding errors, for each prompt


@torch.no_grad()
def rounding(model: Model, task: Any, metric: Metric) -> float | None:
    """How far rounding alone moves a metric on one prompt, in the metric's unit.

    Example:
        >>> rounding(interp.load(dtype="bfloat16"), task, metric_of(task))

    In bfloat16 and float16 the same run in another order of adding gives other logits; the
    difference is about one rounding step of their root mean square (docs/devices.md has the
    measurements). Errors of that size are put on the clean run's logits, and what comes back is the
    root mean square of the change of the metric.

    Returns:
        None in float32 and float64, and for a metric that reads activations.
    """
    dtype = bridge.number_type(model)
    if dtype not in (torch.bfloat16, torch.float16) or metric.keep:
        return None
    logits = run(model, task, last_only=not metric.everywhere).logits.float()
    size = torch.finfo(dtype).eps * logits.pow(2).mean().sqrt()
    g, plain, moved = torch.Generator().manual_seed(0), metric.of(logits, {}), []
    for _ in range(DRAWS):
        error = torch.randn(logits.shape, generator=g).to(logits) * size
        moved.append(metric.of(logits + error, {}) - plain)
    return float(torch.stack(moved).float().pow(2).mean().sqrt())


def noted(result: Result, model: Model, task: Any, metric: Metric) -> Result:
    """The result, its metadata with what rounding alone does; a warning where no effect is larger.

    Nothing is added in float32, or where the effects are not in the metric's own unit.
    """
    each = rounding(model, task, metric) if result.unit.startswith(metric.unit) else None
    if each is None:
        return result
    dtype = str(bridge.number_type(model)).removeprefix("torch.")
    mean = each / len(task) ** 0.5
    largest = float(abs(result.values[result.values == result.values]).max(initial=0.0))
    if largest < 2 * mean:
        warn(
            f"the largest effect is {largest:.2g} {metric.unit}, and rounding in {dtype} alone"
            f" moves {metric.name} by {mean:.2g} on average over {len(task)} prompts: these effects"
            " cannot be told from rounding (load the model with dtype='float32')"
        )
    rounded = {"dtype": dtype, "rounding of one prompt": each, "rounding of the mean": mean}
    return replace(result, metadata={**result.metadata, **rounded})
