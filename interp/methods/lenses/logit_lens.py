"""The logit lens: read the residual stream as if the model ended there."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interp import sites
from interp._isolation import torch_defaults
from interp._types import Model
from interp.interventions import run
from interp.methods.lenses.lens import Lens, fingerprint
from interp.methods.patching.patch import sweep_result
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import check_shape, metric_of
from interp.models import bridge
from interp.results import Result


@torch_defaults()
@any_prompts(answers=True, reads=True)
def logit_lens(
    model: Model,
    task: Any,
    where: str = "resid_post.*@END",
    *,
    metric: Any = None,
    lens: Lens | None = None,
) -> Result:
    """The logit lens: the task's metric as the residual stream would give it at each layer.

    Example:
        >>> logit_lens(model, task).plot()                                  # at the last position
        >>> logit_lens(model, task, "resid_post.*@*", metric="rank").plot() # layer by position

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        where: Places in the stream, with a position.
        metric: "logit_diff" where there are wrong answers if None; "rank" (0: the answer is on
            top), "prob", ... Read rank and logit difference first: probabilities stay near zero
            until the last layers.
        lens: A lens to read through (see `tuned_lens`, `jacobian_lens`); layers that it does not
            have are NaN.

    Returns:
        The metric, the stars of `where` as axes, one value per example kept. The exact final norm
        is applied, so the last layer's reading is the model's own.

    Raises:
        ValueError: If `where` is not in the stream, or the lens is of another model.

    Reference:
        nostalgebraist 2020.
    """
    started = time.perf_counter()
    site = sites.Site.parse(where)
    if not site.family.startswith("resid"):
        raise ValueError(f"the lens reads the stream, got {where!r} (try 'resid_post.*@END')")
    grid = sites.expand(site, bridge.dims(model), task.clean.shape[1], task.positions)
    if metric is None and task.has_wrong and task.title_and_unit is None:
        metric = "logit_diff"
    metric = metric_of(task, metric)
    key = str(site.at(None) if site.pos == sites.STAR else site)
    if site.pos is None:
        raise ValueError(
            f"the lens reads one position at a time: {where!r} needs one (try '{where}@END' or"
            f" '{where}@*')"
        )
    translate = translator(model, lens, site, grid)
    values = run(model, task, keep=[key], last_only=True).kept[key]  # [(layer) batch (pos) d_model]
    if site.pos == sites.STAR:
        values = values.movedim(-2, -3)
    rows = values.reshape(-1, *values.shape[-2:])
    read = []
    name = "logit lens" if lens is None else lens.kind
    for cell, row in zip(
        grid.sites, sweep.progress(rows, name)
    ):  # one [batch d_vocab] at a time: the vocabulary is large
        row = translate(cell, row)
        if row is None:
            read.append(torch.full((len(task),), float("nan"), device=rows.device))
            continue
        logits = bridge.unembed(model, bridge.final_norm(model, row.contiguous()))
        read.append(check_shape(metric.of(logits, {}), len(task), metric))
    metadata = sweep.provenance(
        model, task, name, started, pattern=str(site), metric=metric.name, backend="hooks"
    )
    return sweep_result(
        torch.stack(read), grid, task, f"{name}: {metric.name}", metric.unit, metadata
    )


def translator(
    model: Model, lens: Lens | None, site: sites.Site, grid: sites.Grid
) -> Callable[[sites.Site, Tensor], Tensor | None]:
    """A function from a site and its stream to the lens's reading, or to None without a map."""
    if lens is None:
        return lambda cell, row: row
    if site.family != "resid_post":
        raise ValueError(
            f"a {lens.kind} reads the stream after a layer, got {str(site)!r} (try"
            " 'resid_post.*@END')"
        )
    if lens.fingerprint != fingerprint(model):
        raise ValueError(
            f"this {lens.kind} is of another model: make one on this model's weights"
            f" ({lens.kind.lower().replace(' ', '_')})"
        )
    if not any(cell.layer in lens.layers for cell in grid.sites):
        raise ValueError(
            f"this {lens.kind} has no map at the layers of {str(site)!r} (it has"
            f" {', '.join(map(str, lens.layers))})"
        )
    return lambda cell, row: lens.read(cell.layer, row) if cell.layer in lens.layers else None
