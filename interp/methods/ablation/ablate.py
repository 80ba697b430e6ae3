"""Ablation: take a component's own activation away and see what the clean run loses."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp import engine
from interp._errors import unknown
from interp._interrupts import keeps_finished
from interp._isolation import torch_defaults
from interp._types import Model
from interp.edits import Edit, scale, set_to, zero
from interp.interventions import Intervention, run
from interp.methods.patching.patch import (
    Where,
    at_position,
    expand_sites,
    patched_site,
    pattern_text,
    sweep_result,
)
from interp.methods.runs import checkpoint, rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.models.tokens import read_prompts
from interp.results import Result
from interp.tasks.metrics import MetricLike

WAYS = ("mean", "resample", "scale", "zero")


@keeps_finished
@torch_defaults()
@any_prompts(answers=True)
def ablate(
    model: Model,
    task: Any,
    where: Where,
    *,
    by: str = "mean",
    reference: Any = None,
    factor: float | None = None,
    metric: MetricLike = None,
    seed: int = 0,
    backend: str | None = None,
    resume: str | Path | None = None,
) -> Result:
    """Ablation (mean, resample, zero): change of the clean run's metric when a site is removed.

    Example:
        >>> ablate(model, task, "L*H*").top(5)                       # knock out each head
        >>> ablate(model, task, ["L23H3", "L17H4"], by="resample")   # these together: one number

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        where: A pattern (each site alone; its stars are the axes), a list (all of it at once: one
            number), or a list of lists (one number each, on the axis "set").
        by: "mean": the position-wise mean over the reference prompts; "resample": the value in
            another reference prompt, drawn by seed; "scale": times `factor`; "zero". Zero is far
            out of distribution in models whose first token carries a large norm: report mean or
            resample unless a paper used zero.
        reference: Token ids [batch pos] of the task's length; the task's clean prompts if None. For
            by="mean" also a list of prompts of any lengths: then the mean is over all their tokens,
            with the first position apart.
        factor: What by="scale" multiplies with.
        metric: As in `patch`.
        seed: Draws the prompts of by="resample".
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.
        resume: A path.npz that stores finished cells: after an interruption the same call
            continues.

    Returns:
        Ablated minus clean metric, one value per example kept; negative: the site helps.

    Raises:
        ValueError: If `by` is unknown, or the reference prompts do not fit.

    Cost:
        One partial forward pass per site or set.

    Reference:
        Wang et al. 2022 (arXiv 2211.00593) use the mean over prompts with other names.
    """
    started = time.perf_counter()
    metric = metric_of(task, metric)
    edit = _edit(by, factor)
    grid, groups = expand_sites(model, task, where)
    prompts = _reference(model, task, reference, by)
    rows = (
        other_prompts(len(task), len(prompts), seed, same=reference is None)
        if by == "resample"
        else None
    )
    # Scaling acts on the value of the moment, which in a set is not the unablated run's: only hooks
    # see it.
    ragged = not isinstance(prompts, Tensor)
    source = None
    if by != "scale" and not ragged:

        def source(kinds: list[str]) -> dict[str, list[Tensor]]:
            return _values(model, prompts, kinds, by, rows)

    what = f"{by} ablation of {pattern_text(where)}"
    # The empty set is the unablated run: in the same sweep it costs nothing. A file must know it
    # beforehand.
    ledger = resume and checkpoint.ledger(
        resume,
        sweep.unedited_metric(model, task.clean, metric, task.positions),
        reference=list(prompts),
        rows=rows,
        factor=factor,
    )
    groups_and_none = [*groups, []]
    values, backend_used = sweep.sweep(
        model,
        task.clean,
        source,
        groups_and_none,
        lambda cells, some: _cells(
            model,
            task if len(some) == len(task) else task[some],
            [groups_and_none[i] for i in cells],
            by,
            edit,
            prompts,
            None if rows is None else rows[some],
        ),
        metric,
        task.positions,
        what,
        backend,
        ledger=ledger,
        needed=1,
    )
    effects, unablated = values[:-1] - values[-1], values[-1]
    metadata = sweep.provenance(
        model,
        task,
        f"ablate, {by}",
        started,
        pattern=pattern_text(where),
        metric=metric.name,
        clean=float(unablated.mean()),
        backend=backend_used,
        **({"reference": "mean over tokens, the first position apart"} if ragged else {}),
    )
    name = f"effect of {by} ablation on {metric.name}"
    result = sweep_result(effects, grid, task, name, metric.unit, metadata)
    return rounding.noted(result, model, task, metric)


def _edit(by: str, factor: float | None) -> Edit | None:
    """The edit when it needs no reference run, None when it does."""
    if by not in WAYS:
        raise unknown("way to ablate", by, WAYS, "by='mean'")
    if (by == "scale") != (factor is not None):
        raise ValueError(
            f"by={by!r} with factor={factor}: a factor goes with by='scale', for example factor=0.5"
        )
    return {"zero": zero(), "scale": scale(factor if factor is not None else 1.0)}.get(by)


def _reference(model: Model, task: Any, reference: Any, by: str) -> Tensor | list[Tensor]:
    """The reference prompts: ids [batch pos] of the task's length, or prompts of any lengths."""
    if reference is None:
        if by == "mean" and len(task) < 2:
            length = task.clean.shape[1]
            raise ValueError(
                f"the mean over one prompt ({length} tokens) is that prompt, so that nothing would "
                "be ablated: give reference prompts, reference=['...', '...'] (texts of any "
                f"lengths) or reference=interp.tasks.text(model, n=8, length={length}).clean, or "
                "ablate by='zero'"
            )
        return task.clean
    if isinstance(reference, Tensor) and reference.is_floating_point():
        raise ValueError(
            f"the reference is token ids [batch pos], got {reference.dtype} "
            f"{tuple(reference.shape)}"
        )
    prompts = read_prompts(model, reference).ids
    sizes = sorted(set(map(len, prompts)))
    if sizes == [task.clean.shape[1]]:
        return torch.stack(prompts)
    if by == "mean" and not isinstance(reference, Tensor):
        return prompts
    raise ValueError(
        f"the reference prompts have {', '.join(map(str, sizes))} tokens, the task's "
        f"{task.clean.shape[1]}: a position-wise reference needs prompts of the task's length. For "
        "a mean over all tokens give them as a list: ablate(..., by='mean', "
        "reference=list(prompts))"
    )


def _cells(
    model: Model,
    task: Any,
    groups: list,
    by: str,
    edit: Edit | None,
    prompts: Tensor | list[Tensor],
    rows: Tensor | None,
) -> list[list[Intervention]]:
    """For each group the interventions that ablate its sites."""
    dims = bridge.dims(model)
    carriers = [[patched_site(s, dims) for s in group] for group in groups]
    if edit is not None:
        return [[Intervention(c, edit) for c in group] for group in carriers]
    keep = sorted({str(c.at(None)) for group in carriers for c in group})
    cache = run(model, prompts, keep=keep, last_only=True).kept

    def put(c: Any) -> Intervention:
        value = cache[str(c.at(None))]
        if isinstance(prompts, list):
            value = _token_mean(c, value, task.clean.shape[1]).expand(
                len(task), -1, *value.shape[2:]
            )
            return Intervention(c, set_to(at_position(value, c, task.positions)))
        value = value.mean(0).expand(len(task), *value.shape[1:]) if by == "mean" else value[rows]
        return Intervention(c, set_to(at_position(value, c, task.positions)))

    return [[put(c) for c in group] for group in carriers]


def _token_mean(site: Any, value: Tensor, length: int) -> Tensor:
    """The mean over tokens [1 pos ...]: of position 0 (the sink) by itself, and of all others."""
    if "src" in site.row.axes:
        raise ValueError(
            f"{str(site)!r} holds a row of attention, which has no mean over prompts of several "
            "lengths: give reference prompts of the task's length"
        )
    first, others_ = value[:, 0].nanmean(0), value[:, 1:].flatten(0, 1).nanmean(0)
    return torch.stack([first, *[others_] * (length - 1)])[None]


def _values(
    model: Model, prompts: Tensor, kinds: list[str], by: str, rows: Tensor | None
) -> dict[str, list[Tensor]]:
    """The same replacement values for the engine, by kind and layer, broadcast over [batch pos]."""
    engine_model = engine.find(model)
    if by == "zero":
        return engine.zeros(engine_model, *kinds)
    cache = engine.run(engine_model, prompts, keep=kinds, logits=None)
    replace = (lambda t: t.mean(0, keepdim=True)) if by == "mean" else (lambda t: t[rows])
    return {kind: [replace(t) for t in cache[kind]] for kind in kinds}


def other_prompts(n: int, n_reference: int, seed: int, same: bool) -> Tensor:
    """For each example another prompt of the reference; never itself when that is the task."""
    g = torch.Generator().manual_seed(seed)
    if not same:
        return torch.randint(n_reference, (n,), generator=g)
    if n < 2:
        raise ValueError(
            "resampling needs another prompt to take the value from: use n >= 2 or give a reference"
        )
    return (torch.arange(n) + torch.randint(1, n, (n,), generator=g)) % n
