"""The size of the residual stream: where it is huge, and where it is not."""

import time
from typing import Any

from interp import sites
from interp._isolation import torch_defaults
from interp._types import Model
from interp.interventions import run
from interp.methods.patching.patch import sweep_result
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge
from interp.results import Result


@torch_defaults()
@any_prompts()
def residual_norms(model: Model, task: Any, where: str = "resid_post.*@*") -> Result:
    """Euclidean norm of the residual stream at each layer and position.

    Example:
        >>> residual_norms(model, task).plot()

    Args:
        model: A loaded model.
        task: A task (its clean prompts), or prompts of one length.
        where: The stream at every position: "resid_post.*@*", "resid_pre.*@*", ...

    Returns:
        The norm in the stream's own unit, axes layer and pos, one value per example kept.

    Raises:
        ValueError: If `where` is not the stream at every position.

    Reference:
        One token far above the rest is an attention sink with massive activations (Sun et al. 2024,
        arXiv 2402.17762): leave it out of every mean.
    """
    started = time.perf_counter()
    site = sites.Site.parse(where)
    if not site.family.startswith("resid") or site.pos is None:
        raise ValueError(
            f"residual_norms reads the stream at positions, got {where!r} (try 'resid_post.*@*', "
            "or 'resid_post.*@END')"
        )
    grid = sites.expand(site, bridge.dims(model), task.clean.shape[1], task.positions)
    if site.pos != sites.STAR:
        norms = run(model, task, keep=[str(site)], last_only=True).kept[str(site)].norm(dim=-1)
        norms = norms.reshape(len(grid.sites), len(task))
        metadata = sweep.provenance(
            model, task, "norm of the stream", started, pattern=where, backend="hooks"
        )
        return sweep_result(
            norms, grid, task, "norm of the residual stream", "stream units", metadata
        )
    key = str(site.at(None))
    values = (
        run(model, task, keep=[key], last_only=True).kept[key].norm(dim=-1)
    )  # [(layer) batch pos]
    norms = values.movedim(-1, -2).reshape(len(grid.sites), len(task))
    metadata = sweep.provenance(
        model, task, "norm of the stream", started, pattern=str(site), backend="hooks"
    )
    return sweep_result(norms, grid, task, "norm of the residual stream", "stream units", metadata)
