"""Direct logit attribution: what each component adds to the answer's logit by itself."""

import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import sites
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import run
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.models import bridge
from interp.results import Result

TOWARD = {
    "difference": "logit difference",
    "answer": "answer's logit",
    "wrong": "wrong answer's logit",
}


@torch_defaults()
@any_prompts(answers=True, reads=True)
def logit_attribution(
    model: Model, task: Any, where: str = "L*H*", *, toward: str | None = None
) -> Result:
    """Direct logit attribution: each component's share of the logit difference, at the end.

    Example:
        >>> logit_attribution(model, task).top(5)            # heads
        >>> logit_attribution(model, task, "mlp.*").plot()   # MLPs

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        where: Writers: "L*H*", "mlp.*", "attn.*" or "embed".
        toward: "difference", or one side of it, "answer" or "wrong", each against the mean over the
            vocabulary ("answer" minus "wrong" is the difference). None: the difference where there
            are wrong answers, else the answer.

    Returns:
        Logits, the stars of `where` as axes, one value per example kept. Each write is divided by
        the scale of the final norm in its own run, so embed, all heads, all MLPs and the model's
        biases add up to the logit difference. Only the direct path counts; for effects through
        later components see `patch`.

    Raises:
        ValueError: If `where` does not write to the stream.

    Reference:
        Elhage et al. 2021; Wang et al. 2022 (arXiv 2211.00593).
    """
    started = time.perf_counter()
    whole = task.title_and_unit is not None  # an answer of several tokens: one of them at a time
    if toward is None or (whole and toward == "difference"):
        toward = "difference" if task.has_wrong else "answer"
    if toward not in TOWARD:
        raise unknown("direction of attribution", toward, TOWARD)
    site = sites.Site.parse(where)
    if (
        site.part != "out"
        or site.family not in ("head", "mlp", "attn", "embed")
        or site.pos is not None
    ):
        raise ValueError(
            f"attribution is to what writes to the stream, got {where!r} (try 'L*H*' or 'mlp.*')"
        )
    sites.adds_up(bridge.dims(model), "attribution to what writes to the stream")
    grid = sites.expand(site, bridge.dims(model))
    # z is nine times smaller than what the heads write, and what they write is z W_O where nothing
    # comes after
    heads = site.family == "head" and "attn out" not in bridge.dims(model).variants
    key = f"{site}.z@-1" if heads else f"{site}@-1"
    out = run(model, task, keep=[key, "logits.in@-1"], last_only=True)
    along = through_final_norm(
        model, out.kept["logits.in@-1"], answer_direction(model, task, toward)
    )
    values = out.kept[key]
    if heads:
        examples = torch.stack(
            [
                _head(model, s, z, along)
                for s, z in zip(
                    grid.sites, values.flatten(0, len(grid.dims) - 1) if grid.dims else values[None]
                )
            ]
        )
    else:
        examples = (values * along).sum(-1)
    examples = to_numpy(examples.reshape(*grid.shape, len(task)))
    metadata = sweep.provenance(
        model,
        task,
        "direct logit attribution",
        started,
        pattern=str(site),
        **_clean(task, out.logits),
        backend="hooks",
    )
    coords = dict(grid.coords)
    return Result(
        examples.mean(-1),
        grid.dims,
        coords,
        f"direct effect on the {TOWARD[toward]}"
        + (", summed over the answer's tokens" if whole else ""),
        "logits",
        metadata,
        examples,
    )


def _clean(task: Any, logits: Tensor) -> dict[str, float]:
    """The logit difference of the clean run, where there are wrong answers."""
    if not task.has_wrong:
        return {}
    return {
        "clean": float(
            task.but(metric_name="logit_diff", title_and_unit=None).metric(logits).mean()
        )
    }


def _head(model: Model, site: sites.Site, z: Tensor, along: Tensor) -> Tensor:
    """A head's share, from its z."""
    W_O, _ = bridge.projection(model, "O", site.layer)
    return (z @ W_O[site.index] * along).sum(-1)


def answer_direction(
    model: Model, task: Any, toward: str = "difference"
) -> Float[Tensor, "batch d_model"]:
    """The direction of the normed residual along which the logit difference (or a side) grows.

    The logit difference is linear in the logits that it reads. One side alone is taken against the
    mean over the vocabulary, since all logits may rise together without any effect.
    """
    W_U, _ = bridge.unembedding(model)
    columns = task.columns.to(W_U.device)
    counts = [c.to(W_U.device, W_U.dtype) for c in (task.answers_count, task.wrong_count)]
    # each side's mean over the tokens that count; a side without tokens has no columns
    for_, against = (c / c.sum(-1, keepdim=True) for c in counts)
    rows = W_U.detach()[columns]
    if toward == "difference":
        weights = torch.cat([for_, -against], -1)
    else:
        task.tokens(toward)  # raises where there are none
        sides = (for_, 0 * against) if toward == "answer" else (0 * for_, against)
        weights = torch.cat(sides, -1)
        rows = rows - W_U.detach().mean(0)
    return (weights[..., None] * rows).sum(1)


def through_final_norm(
    model: Model,
    residual: Float[Tensor, "batch d_model"],
    direction: Float[Tensor, "batch d_model"],
) -> Float[Tensor, "batch d_model"]:
    """The direction in the residual stream itself, whose dot product with a write is its share.

    With the scale taken from this run, the final norm is linear: divide by the scale, multiply by
    the gain, and for LayerNorm take the mean out.
    """
    gain, _ = bridge.final_gain(model)
    toward = direction * gain / bridge.final_scale(model, residual)
    if bridge.dims(model).norm == "ln":
        toward = toward - toward.mean(-1, keepdim=True)
    return toward
