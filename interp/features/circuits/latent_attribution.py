"""What each latent does for a task: to first order, along a path, or exactly.

A site's activation is a sum, z W_dec + b_dec + error, so a change of the activation is a sum of
changes, one per latent and one for the error term. To first order, each change is worth its size
times the slope of the metric along its direction. One gradient at the site gives all slopes.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp import sites
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.features import site_values
from interp.features.dictionary import Dictionary
from interp.features.evaluation.spliced_loss import splice
from interp.features.interventions import SKIP
from interp.features.loading.check import check
from interp.features.sites import place, side_by_side
from interp.interventions import Intervention
from interp.methods.patching.patch import first_change
from interp.methods.runs import engine_sweep, gradients, sweep
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.sites import STAR
from interp.tasks.metrics import Metric

METHODS = ("gradient", "ig", "exact")
TO = ("corrupted", "zero", "mean")
BY = ("latent", "position")
ERROR = "error"


class Change(NamedTuple):
    """How a site would change, prompt by prompt: the part of its latents, and the rest."""

    act: Float[Tensor, "batch pos d_out"]  # what is there now
    latents: Float[Tensor, "batch pos on"]  # the change of the latents that change anywhere
    error: Float[Tensor, "batch pos d_out"]
    on: Int[Tensor, "on"]  # which latents these are

    def whole(self, dictionary: Dictionary) -> Tensor:
        """The change of the activation itself [batch pos d_out]."""
        W_dec = dictionary.weights_at(self.latents.device)["W_dec"]
        return self.latents @ W_dec[self.on] + self.error


@torch_defaults()
def latent_attribution(
    model: Model,
    task: Any,
    dictionary: Dictionary,
    *,
    method: str = "ig",
    to: str = "corrupted",
    by: str = "latent",
    at: str | int | None = None,
    skip: int = SKIP,
    steps: int = 10,
    metric: Any = None,
    backend: str | None = None,
) -> Result:
    """The change of the clean run's metric when each latent alone is changed; negative: it helps.

    Example:
        >>> features.latent_attribution(model, task, sae).top(10)
        >>> features.latent_attribution(model, task, sae, method="exact", to="zero")
        >>> features.latent_attribution(model, task, sae, method="gradient", by="position")

    Args:
        model: The model.
        task: The task, with corrupted prompts if `to` is "corrupted".
        dictionary: Whose latents are changed.
        method: "ig" multiplies the change by the mean slope at `steps` midpoints on the way of the
            whole activation, latents and error together, to its other value; latents and error then
            add up to the effect of patching the site. "gradient" uses the slope in the clean run
            (one backward pass), which can be far off for large changes: do not trust it on a whole
            residual stream. "exact" runs the model for each latent that changes.
        to: "corrupted": each latent takes its value in the corrupted prompt; "zero": it is ablated;
            "mean": its mean over the clean prompts, position by position. The rest of the
            activation stays, including the error term.
        by: "latent" changes all positions at once, "position" each one (axis "pos").
        at: One position alone: a number, or the name of one of the task's positions.
        skip: How many first positions stay unchanged.
        steps: Points on the way, for "ig".
        metric: The task's own metric if None.
        backend: "engine", "hooks", or None to choose.

    Returns:
        Axis "latent": those that change in some prompt, and last "error", what the latents do not
        write; a latent that is not listed has an effect of exactly zero. Unit: the metric's, not
        clamped. One value per prompt is kept.

    Raises:
        ValueError: If an option is unknown, or the dictionary does not fit the model.

    Reference:
        Marks et al. 2024, arXiv 2403.19647 (their indirect effects); "ig" is their integrated
        gradients.
    """
    started = time.perf_counter()
    _known(method, to, by, steps)
    metric = metric_of(task, metric)
    with bridge.LOCK:
        change = changes(model, task, dictionary, to, at, skip)
        if method == "exact":
            effects, backend_used = _exact(model, task, dictionary, change, metric, by), "hooks"
        else:
            paths = (
                [None] if method == "gradient" else [(step + 0.5) / steps for step in range(steps)]
            )
            slope, backend_used = mean_slope(
                model, task, dictionary, change, metric, paths, first_of(model, task, to), backend
            )
            effects = first_order(dictionary, change, slope)
            effects = effects if by == "position" else effects.sum(1, keepdim=True)
    coords: dict[str, list] = {"latent": [*change.on.tolist(), ERROR]}
    examples = to_numpy(effects.permute(2, 1, 0))  # latent pos batch
    if by == "position":
        coords["pos"] = task.position_labels()
    else:
        examples = examples[:, 0]
    clean = sweep.unedited_metric(model, task.clean, metric, task.positions)
    metadata = sweep.provenance(
        model,
        task,
        f"attribution to latents, {method}",
        started,
        dictionary=dictionary.name,
        site=dictionary.writes,
        to=to,
        position=at,
        skip=skip,
        metric=metric.name,
        clean=float(clean.mean()),
        backend=backend_used,
        **({"steps": steps} if method == "ig" else {}),
    )
    name = f"effect of latents of {dictionary.writes} on {metric.name}" + (
        "" if method == "exact" else f", by {method}"
    )
    return Result(examples.mean(-1), tuple(coords), coords, name, metric.unit, metadata, examples)


def _known(method: str, to: str, by: str, steps: int) -> None:
    """None if the options are known; otherwise a ValueError with the nearest ones."""
    for what, word, words in (
        ("method", method, METHODS),
        ("value to change latents to", to, TO),
        ("axis", by, BY),
    ):
        if word not in words:
            raise unknown(what, word, words)
    if steps < 1:
        raise ValueError(
            f"steps={steps}: integrated gradients need at least one step (try steps=10)"
        )


# --- what changes ---------------------------------------------------------------------------------


@torch.no_grad()
def changes(
    model: Model, task: Any, dictionary: Dictionary, to: str, at: str | int | None, skip: int
) -> Change:
    """The change of each latent and of the error term, from the clean values to the others."""
    check(model, dictionary)
    act, z, error = split(model, task.clean, dictionary)
    if to == "corrupted":
        _, other, other_error = split(model, task.corrupted, dictionary)
    else:
        mean = (lambda v: v.mean(0, keepdim=True)) if to == "mean" else torch.zeros_like
        other, other_error = mean(z), mean(error)
    chosen = where(task, at, skip).to(z.device)[..., None]
    moved = torch.where(chosen, other - z, 0.0)
    on = moved.flatten(0, 1).any(0).nonzero()[:, 0]
    return Change(act, moved[..., on], torch.where(chosen, other_error - error, 0.0), on)


def split(model: Model, tokens: Tensor, dictionary: Dictionary) -> tuple[Tensor, Tensor, Tensor]:
    """The activation that the dictionary writes, its latents, and the error [batch pos ...]."""
    values = site_values.values(
        model, tokens, list(dict.fromkeys((dictionary.site, dictionary.writes)))
    )
    act, z = values[dictionary.writes].float(), dictionary.encode(values[dictionary.site])
    return act, z, act - dictionary.decode(z)


def where(task: Any, at: str | int | None, skip: int) -> Tensor:
    """Mask of the positions that are changed [batch pos]."""
    n, length = task.clean.shape
    positions = torch.arange(length)
    if at is None:
        chosen = torch.ones(n, length, dtype=torch.bool)
    else:
        index = task.position(at) if isinstance(at, str) else torch.full((n,), _number(at, length))
        chosen = positions == index[:, None]
    return chosen & (positions >= skip)


def _number(at: int, length: int) -> int:
    """A position counted from 0; a ValueError if the prompts are too short for it."""
    if not -length <= at < length:
        raise ValueError(
            f"no position {at}: the prompts have {length} tokens (0 to {length - 1}, or -1 for the"
            " last)"
        )
    return at % length


def first_of(model: Model, task: Any, to: str) -> int:
    """The first position that can change: the slope is not needed before it."""
    return first_change(model, task.clean, task.corrupted) if to == "corrupted" else 0


# --- to first order -------------------------------------------------------------------------------


def first_order(
    dictionary: Dictionary, change: Change, slope: Tensor
) -> Float[Tensor, "batch pos cell"]:
    """Change times slope for each latent, and last for the error term."""
    W_dec = dictionary.weights_at(slope.device)["W_dec"]
    slope = slope.to(W_dec.dtype)
    latents = change.latents * (slope @ W_dec[change.on].T)
    return torch.cat([latents, (change.error * slope).sum(-1, keepdim=True)], -1)


def mean_slope(
    model: Model,
    task: Any,
    dictionary: Dictionary,
    change: Change,
    metric: Metric,
    path: Sequence[float | None],
    first: int = 0,
    backend: str | None = None,
) -> tuple[Float[Tensor, "batch pos d_out"], str]:
    """The mean slope of the metric at the site along a path (None: clean run), and the backend."""
    site = place(dictionary.writes)
    slot = replace(site, index=STAR) if "head" in site.row.axes and site.part != "out" else site
    in_engine = (site.family, site.part) in engine_sweep.KINDS and (site.family, site.part) != (
        "head",
        "out",
    )
    clean_only = list(path) == [None]

    def find():
        return (
            engine_sweep.engine_for(model, metric, [[site]])
            if clean_only and in_engine and not metric.keep
            else None
        )

    engine = sweep.choose_engine(model, backend, find)
    gradient = (
        gradients.by_hooks(model, metric, task.clean, task.positions)
        if engine is None
        else gradients.by_engine(engine, metric, task.clean, first)
    )
    if clean_only:
        slopes = [gradient.slopes([slot], None)[slot]]
    else:
        difference, dims = change.whole(dictionary), bridge.dims(model)

        def put(part):
            return splice(str(site), change.act + part * difference, dims)

        slopes = [
            gradient.slopes([slot], None, None, put(part))[slot]
            for part in sweep.progress(path, "integrated gradients")
        ]
    slope = torch.stack(slopes).mean(0)
    if slot.index != STAR:
        slope = slope[0]
    else:
        slope = side_by_side(site, slope) if site.stars else slope[site.index]
    return slope.detach().float(), "hooks" if engine is None else "engine"


# --- exactly --------------------------------------------------------------------------------------


def _exact(
    model: Model, task: Any, dictionary: Dictionary, change: Change, metric: Metric, by: str
) -> Float[Tensor, "batch pos cell"]:
    """The effect of each change by its own run; the k-th changes of all prompts share one."""
    moves = torch.cat(
        [change.latents != 0, (change.error != 0).any(-1, keepdim=True)], -1
    )  # batch pos cell
    kinds = moves if by == "position" else moves.any(1, keepdim=True)
    flat = kinds.flatten(1)
    turns = int(flat.sum(-1).max())
    order = torch.sort(flat.to(torch.uint8), dim=-1, descending=True, stable=True).indices[
        :, :turns
    ]  # batch turn
    real = flat.gather(1, order)
    runs = [
        _edits(model, task, dictionary, change, *_place(order[:, i], real[:, i], kinds, by))
        for i in range(turns)
    ]
    values = sweep.sweep_by_hooks(
        model, task.clean, runs, metric, task.positions, f"each latent of {dictionary.writes}"
    )
    effects = (values - sweep.unedited_metric(model, task.clean, metric, task.positions)).T
    return (
        effects.new_zeros(flat.shape)
        .scatter_(1, order, torch.where(real, effects, 0.0))
        .view(kinds.shape)
    )


def _place(
    order: Tensor, real: Tensor, kinds: Tensor, by: str
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Which cell and position of each prompt a turn changes; position None means all positions."""
    cells = kinds.shape[-1]
    return order % cells, order // cells if by == "position" else None, real


def _edits(
    model: Model,
    task: Any,
    dictionary: Dictionary,
    change: Change,
    cell: Tensor,
    pos: Tensor | None,
    real: Tensor,
) -> list[Intervention]:
    """The interventions of one turn, computed when they run: all at once would fill the memory."""

    def delta() -> Tensor:
        latent = cell.clamp(max=max(0, len(change.on) - 1))
        rows = torch.arange(len(cell), device=cell.device)
        W_dec = dictionary.weights_at(cell.device)["W_dec"]
        moved = change.error
        if len(change.on):
            latent_change = (
                change.latents[rows, :, latent][..., None] * W_dec[change.on[latent]][:, None]
            )
            moved = torch.where(
                (cell == len(change.on))[:, None, None], change.error, latent_change
            )
        here = (
            real[:, None]
            if pos is None
            else real[:, None] & (torch.arange(moved.shape[1], device=pos.device) == pos[:, None])
        )
        return torch.where(here[..., None], moved, 0.0)

    site = place(dictionary.writes)
    if not site.stars:
        return [Intervention(str(site), lambda act, seen: act + delta().to(act.dtype))]
    heads = sites.expand(site, bridge.dims(model)).sites

    def part(i):
        return lambda act, seen: (
            act + delta().unflatten(-1, (len(heads), -1))[:, :, i].to(act.dtype)
        )

    return [Intervention(str(head), part(i)) for i, head in enumerate(heads)]
