"""The effect of any interventions on a task's metric, and the units of an effect."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import Intervention
from interp.methods.patching.patch import in_unit
from interp.methods.runs import rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import metric_of
from interp.results import Result
from interp.tasks.metrics import Metric, MetricLike

UNITS = ("metric", "fraction", "relative")


@torch_defaults()
@any_prompts(answers=True, fraction="noising")
def effect(
    model: Model,
    task: Any,
    interventions: Intervention | Sequence | Mapping[str, Sequence],
    *,
    metric: MetricLike = None,
    unit: str = "metric",
) -> Result:
    """Change of the clean run's metric under any interventions together: one number per set.

    Example:
        >>> no_sink = [Intervention("L*H*.pattern@END", remove_sink())]
        >>> effect(model, task, no_sink, metric="prob")
        >>> effect(model, task, {"sink": no_sink, "random key": [...]}).plot()     # axis "set"

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        interventions: One, a list that holds together, or a dictionary of such lists by name.
        metric: As in `patch`.
        unit: "metric": changed minus clean. "fraction": where the changed run stands between the
            corrupted run (0) and the clean one (1), of the task's mean. "relative": the change as a
            share of each example's own clean value, which has to be above zero. Never clamped.

    Returns:
        The change, one value per example kept; axis "set" for a dictionary.

    Raises:
        ValueError: If there is no intervention, or a relative change is asked of a value of zero.

    Reference:
        unit="relative" is the unit of Geva et al. 2023 (arXiv 2304.14767).
    """
    started = time.perf_counter()
    check_unit(unit)
    named = isinstance(interventions, Mapping)
    sets = dict(interventions) if named else {"": interventions}
    if not sets:
        raise ValueError(
            "no sets of interventions: name at least one, for example {'sink': [Intervention(...)]}"
        )
    cells = [[entry] if isinstance(entry, Intervention) else list(entry) for entry in sets.values()]
    invalid = next((i for cell in cells for i in cell if not isinstance(i, Intervention)), None)
    if invalid is not None:
        raise ValueError(f"not an intervention: {invalid!r} (try Intervention('L10H7', zero()))")
    metric = metric_of(task, metric)
    clean = sweep.unedited_metric(model, task.clean, metric, task.positions)
    varied = sweep.sweep_by_hooks(model, task.clean, cells, metric, task.positions, "interventions")
    changes, shown, notes = effects_in_unit(unit, varied, clean, model, task, metric)
    details = dict(metric=metric.name, clean=float(clean.mean()), backend="hooks", **notes)
    metadata = sweep.provenance(model, task, "effect of interventions", started, **details)
    examples = to_numpy(changes) if named else to_numpy(changes[0])
    dims, coords = (("set",), {"set": list(sets)}) if named else ((), {})
    name = f"effect on {metric.name}"
    result = Result(np.mean(examples, -1), dims, coords, name, shown, metadata, examples)
    return rounding.noted(result, model, task, metric)


def check_unit(unit: str) -> None:
    """Nothing, or a ValueError that names the units of an effect."""
    if unit not in UNITS:
        raise unknown("unit", unit, UNITS)


def effects_in_unit(
    unit: str, varied: Tensor, clean: Tensor, model: Model, task: Any, metric: Metric
) -> tuple[Tensor, str, dict[str, Any]]:
    """The effects [cell batch] of variations of the clean run, their unit, and what metadata says
    of a fraction; see `effect`.
    """
    if unit != "relative":
        corrupted = (
            sweep.unedited_metric(model, task.corrupted, metric, task.positions)
            if unit == "fraction"
            else clean
        )
        return in_unit(varied - clean, unit, "noising", clean, corrupted, metric)
    low = int(clean.argmin())
    if not float(clean[low]) > 0:
        raise ValueError(
            f"{metric.name} is {float(clean[low]):.3g} in the clean run of prompt {low}: a relative"
            " change needs a value above zero in every prompt (try metric='prob', or"
            " unit='fraction')"
        )
    return (varied - clean) / clean, "share of the clean value", {}
