"""The first heads of a ranking ablated together, beside random heads of the same number."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.ablation.ablate import ablate
from interp.methods.runs import sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.random_controls import random_heads
from interp.results import Result
from interp.tasks.metrics import MetricLike


@torch_defaults()
@any_prompts(answers=True, join=False)
def ranked_ablation(
    model: Model,
    task: Any,
    ranked: Sequence[str],
    numbers: Sequence[int],
    *,
    sets: int = 5,
    layers: "str | Sequence[int]" = "any",
    avoid: Sequence[str] = (),
    by: str = "mean",
    metric: MetricLike = None,
    seed: int = 0,
    resume: str | Path | None = None,
    **options: Any,
) -> Result:
    """Joint effect of the first 1, 2, 5, ... heads of a ranking, beside as many random heads.

    Example:
        >>> scores = head_scores(model, "retrieval", on=needles).sel(score="retrieval")
        >>> best = scores.top(10, by="high").labels
        >>> ranked_ablation(model, needles.heldout(), best, (1, 3, 10), metric="top1").plot()

    Args:
        model: A loaded model.
        task: A task, or prompts; use other prompts than the heads were ranked on.
        ranked: Heads, the most important first.
        numbers: How many of them are ablated together, a cell each.
        sets: How many random sets stand beside each number.
        layers: From which layers random heads are drawn, see `random_heads`.
        avoid: Heads that are never drawn.
        by: As in `ablate`.
        metric: As in `patch`.
        seed: Draws the random heads, and the prompts of by="resample".
        resume: As in `ablate`.
        options: Those of `ablate` (reference, factor, backend), which does all sets in one sweep.

    Returns:
        Change of the metric (negative: the heads help), axes "heads" ("ranked" and "random") and
        "number", one value per example kept. "random" is the mean over the sets, example by
        example; `metadata` has every random set and its mean effect.

    Raises:
        ValueError: If a number is not between 1 and the number of ranked heads.
    """
    started = time.perf_counter()
    numbers = [int(k) for k in numbers]
    if (
        not numbers
        or min(numbers) < 1
        or max(numbers) > len(ranked)
        or len(set(numbers)) < len(numbers)
        or sets < 1
    ):
        raise ValueError(
            f"numbers={numbers} of {len(ranked)} ranked heads beside sets={sets} random ones: "
            "different numbers from 1 to as many as are ranked, and at least one set"
        )
    drawn = {
        k: random_heads(model, ranked[:k], sets=sets, seed=seed, layers=layers, avoid=avoid)
        for k in numbers
    }
    groups = [group for k in numbers for group in (list(ranked[:k]), *drawn[k])]
    ablated = ablate(model, task, groups, by=by, metric=metric, seed=seed, resume=resume, **options)
    each = ablated.examples.reshape(len(numbers), 1 + sets, -1)
    examples = np.stack([each[:, 0], each[:, 1:].mean(1)])
    notes = {k: ablated.metadata[k] for k in ("metric", "clean", "backend")}
    notes |= {
        "ranked": list(ranked[: max(numbers)]),
        "random sets": {str(k): drawn[k] for k in numbers},
        "random effects": {str(k): each[i, 1:].mean(-1).tolist() for i, k in enumerate(numbers)},
    }
    metadata = sweep.provenance(model, task, f"ranked ablation, {by}", started, **notes)
    coords = {"heads": ["ranked", "random"], "number": numbers}
    return Result(
        examples.mean(-1),
        ("heads", "number"),
        coords,
        f"{ablated.name}, heads together",
        ablated.unit,
        metadata,
        examples,
    )
