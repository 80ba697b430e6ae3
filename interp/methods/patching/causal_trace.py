"""Causal tracing: blur the subject of a clean prompt with noise, then restore clean activations one
place at a time.
"""

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp._interrupts import keeping, keeps_finished
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._types import Model
from interp.interventions import Intervention
from interp.methods.patching.patch import (
    Where,
    check_words,
    expand_sites,
    groups_that_change,
    in_unit,
    patch_interventions,
    pattern_text,
    sweep_result,
    widen_to_windows,
)
from interp.methods.runs import checkpoint, rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.tasks.metrics import MetricLike

IN_DISTRIBUTION = "patch(model, task, where, direction='denoising'): real prompts in place of noise"


@keeps_finished
@torch_defaults()
@any_prompts(answers=True, fraction="denoising")
def causal_trace(
    model: Model,
    task: Any,
    where: Where,
    *,
    subject: str | Sequence[str],
    noise: float = 3.0,
    samples: int = 10,
    window: int = 1,
    metric: MetricLike = None,
    unit: str = "metric",
    seed: int = 0,
    backend: str | None = None,
    resume: str | Path | None = None,
) -> Result:
    """Causal tracing: the metric that a site's clean value restores when noise hides the subject.

    Only the clean prompts are used. Gaussian noise is added to the embeddings of the subject's
    tokens; then each site takes its value from the clean run.

    Example:
        >>> trace = causal_trace(model, task, "resid_pre.*@*", subject="S2")
        >>> trace.plot()
        >>> causal_trace(model, task, "mlp.*@*", subject=("FIRST", "LAST"), window=10)
        >>> patch(model, task, "resid_pre.*@*") - trace               # beside token replacement

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        where: As in `patch`, with the same axes: "resid_pre.*@*", "mlp.*@*", "attn.*@*", or lists.
        subject: A position of the task by name, or a pair (first, last) of names, both included.
        noise: In standard deviations of the embeddings of the subject's tokens, over prompts and
            dimensions.
        samples: How many draws of the noise are averaged, example by example.
        window: As in `patch`: how many neighbouring layers are restored together (the paper: 10).
        metric: As in `patch`.
        unit: "metric", or "fraction": 0 is the noised run and 1 the clean run.
        seed: Draws the noise.
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.
        resume: As in `patch`, with one file per draw: trace.npz gives trace.0.npz, trace.1.npz, ...

    Returns:
        Restored minus noised metric, one value per example kept; positive: the site helps to bring
        the answer back. `metadata` has the clean and the noised ("corrupted") metric.

    Raises:
        ValueError: If the subject or the window does not fit.

    Cost:
        `samples` sweeps of `patch`.

    Reference:
        Meng et al. 2022 (arXiv 2202.05262). Noise can point elsewhere than exchanged tokens: Zhang
        and Nanda 2024 (arXiv 2309.16042) recommend `patch(..., direction="denoising")`.
    """
    started = time.perf_counter()
    if samples < 1 or noise < 0:
        raise ValueError(
            f"samples={samples}, noise={noise}: at least one draw of noise of size 0 or more (try"
            " samples=10)"
        )
    check_words("denoising", unit)
    metric = metric_of(task, metric)
    grid, groups = expand_sites(model, task, where)
    blurred = _subject(task, subject)
    embedded = bridge.embeddings(model, task.clean)
    sigma = float(embedded[blurred.to(embedded.device)].float().std(correction=0))
    groups_restored = widen_to_windows(model, groups, window)
    first = int(blurred.any(0).nonzero()[0]) if bridge.causal(model) else 0
    active = groups_that_change(groups_restored, first)
    active_groups = [groups_restored[i] for i in active]
    all_edits = cache(lambda: patch_interventions(model, active_groups, task.clean, task.positions))

    def edits(cells: Sequence[int], rows: Tensor) -> list[list[Intervention]]:
        if len(cells) == len(active_groups) + 1 and len(rows) == len(task):
            return [*all_edits(), []]  # the same for each draw of noise
        chosen = [[*active_groups, []][i] for i in cells]
        where_rows = {name: at[rows] for name, at in task.positions.items()}
        return patch_interventions(model, chosen, task.clean[rows], where_rows)

    g = torch.Generator().manual_seed(seed)
    clean, backend_used = sweep.unedited_metric(model, task.clean, metric, task.positions), ""
    total, noised = clean.new_zeros(len(groups), len(task)), torch.zeros_like(clean)
    for draw in range(samples):
        # 1. the corrupted run: noise on the subject; 2. the corrupted-with-restoration runs
        added = noise * sigma * _draw(blurred, bridge.dims(model).d_model, g).to(embedded)
        # What a file must agree with is known before the sweep; the sweep has the noised run
        # itself.
        known = (
            clean
            if resume is None
            else sweep.unedited_metric(model, task.clean, metric, task.positions, added)
        )
        restored, backend_used = sweep.sweep(
            model,
            task.clean,
            task.clean,
            [*active_groups, []],
            edits,
            metric,
            task.positions,
            f"causal trace {pattern_text(where)}, noise {draw + 1} of {samples}",
            backend,
            added,
            checkpoint.ledger(checkpoint.numbered_path(resume, draw), known),
            needed=1,
        )
        stop = keeping()
        interrupted = bool(stop and stop.interrupted)
        if interrupted and draw:
            samples = draw  # the mean over the draws that were finished
            break
        total[active] += restored[:-1] - restored[-1]
        noised += restored[-1]
        if interrupted:
            samples = 1
            break
    clean = sweep.unedited_metric(model, task.clean, metric, task.positions, backend=backend_used)
    noised = noised / samples
    effects, shown, notes = in_unit(total / samples, unit, "denoising", clean, noised, metric)
    metadata = sweep.provenance(
        model,
        task,
        "causal trace",
        started,
        pattern=pattern_text(where),
        metric=metric.name,
        backend=backend_used,
        clean=float(clean.mean()),
        corrupted=float(noised.mean()),
        noised=to_numpy(noised).tolist(),
        **notes,
        subject=subject if isinstance(subject, str) else list(subject),
        noise=noise,
        sigma=sigma,
        samples=samples,
        window=window,
        noise_seed=seed,
        in_distribution=IN_DISTRIBUTION,
    )
    name = f"effect of restoring on {metric.name}"
    result = sweep_result(effects, grid, task, name, shown, metadata)
    return rounding.noted(result, model, task, metric)


def _subject(task: Any, subject: str | Sequence[str]) -> Bool[Tensor, "batch pos"]:
    """Which tokens of each clean prompt are the subject's."""
    ends = (subject, subject) if isinstance(subject, str) else tuple(subject)
    if len(ends) != 2:
        raise ValueError(
            f"subject={subject!r}: a position of the task, or a pair (first, last) of them (try"
            " subject='S1')"
        )
    first, last = (task.position(name)[:, None] for name in ends)  # raises with a did-you-mean
    if bool((last < first).any()):
        raise ValueError(
            f"subject={subject!r}: {ends[0]} comes after {ends[1]} in some prompt, so there is"
            " nothing between"
        )
    at = torch.arange(task.clean.shape[1])
    return (first <= at) & (at <= last)


def _draw(
    blurred: Bool[Tensor, "batch pos"], d_model: int, g: torch.Generator
) -> Float[Tensor, "batch pos d_model"]:
    """Standard normal noise at the subject's tokens, zero elsewhere."""
    return torch.randn(*blurred.shape, d_model, generator=g) * blurred[..., None]
