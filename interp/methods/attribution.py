"""Direct logit attribution: what each component adds to the answer's logit by itself."""

import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp.interventions import run
from interp.methods import sweep
from interp.models import bridge
from interp.results import Result


def logit_attribution(model: Any, task: Any, where: str = "L*H*") -> Result:
    """How much each component writes straight into the logit difference at the last position.

    >>> logit_attribution(model, task).top(5)            # heads
    >>> logit_attribution(model, task, "mlp.*").plot()   # MLPs

    where: writers, "L*H*", "mlp.*", "attn.*" or "embed". The final norm is exact: each write is divided by the
    scale of the very run it is part of, so embed, all heads, all MLPs and the model's biases add up to the
    logit difference. Unit: logits. Only the direct path counts; what a component does through later ones does
    not (see `patch`). Elhage et al. 2021; Wang et al. 2022 (arXiv 2211.00593).
    """
    started = time.perf_counter()
    site = sites.Site.parse(where)
    if site.part != "out" or site.family not in ("head", "mlp", "attn", "embed") or site.pos is not None:
        raise ValueError(f"attribution is to what writes to the stream, got {where!r} (try 'L*H*' or 'mlp.*')")
    grid = sites.expand(site, bridge.dims(model))
    heads = site.family == "head"  # z is nine times smaller than what the heads write
    key = f"{site}.z@-1" if heads else f"{site}@-1"
    out = run(model, task, keep=[key, "logits.in@-1"], last_only=True)
    toward = through_final_norm(model, out.kept["logits.in@-1"], answer_direction(model, task))
    values = out.kept[key]
    if heads:
        examples = torch.stack([_head(model, s, z, toward) for s, z in zip(grid.sites, values.flatten(0, len(grid.dims) - 1) if grid.dims else values[None])])
    else:
        examples = (values * toward).sum(-1)
    examples = examples.reshape(*grid.shape, len(task)).double().numpy()
    said = sweep.about(
        model, task, "direct logit attribution", started, pattern=str(site),
        clean=float(task.with_metric("logit_diff").metric(out.logits).mean()), way="hooks",
    )
    coords = dict(grid.coords)
    return Result(examples.mean(-1), grid.dims, coords, "direct effect on the logit difference", "logits", said, examples)


def _head(model: Any, site: sites.Site, z: Tensor, toward: Tensor) -> Tensor:
    W_O, _ = bridge.projection(model, "O", site.layer)
    return (z @ W_O[site.index] * toward).sum(-1)


def answer_direction(model: Any, task: Any) -> Float[Tensor, "batch d_model"]:
    """The direction of the normed residual along which the task's logit difference grows, per example.

    The logit difference is linear in the logits it reads, so its weights are its gradient.
    """
    columns = task.columns
    logits = torch.zeros(columns.shape, requires_grad=True)
    with torch.enable_grad():
        total = task.with_metric("logit_diff").metric_from_columns(logits).sum()
        (weights,) = torch.autograd.grad(total, logits)
    W_U, _ = bridge.unembedding(model)
    return (weights[..., None] * W_U.detach()[columns]).sum(1)


def through_final_norm(
    model: Any, residual: Float[Tensor, "batch d_model"], direction: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch d_model"]:
    """The direction in the residual stream itself: a write's dot product with it is its share of the logits.

    With the scale taken from this run, the final norm is linear: divide by the scale, multiply by the gain,
    and for LayerNorm take the mean out.
    """
    gain, _ = bridge.final_gain(model)
    toward = direction * gain / bridge.final_scale(model, residual)
    if bridge.dims(model).norm == "ln":
        toward = toward - toward.mean(-1, keepdim=True)
    return toward
