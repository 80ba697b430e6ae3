"""Sets of sites ablated together: the greedy order, and the pairs that stand in for each other."""

import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from interp._errors import unknown
from interp._interrupts import keeping, keeps_finished
from interp._isolation import torch_defaults
from interp._progress import named
from interp._types import Model
from interp.methods.ablation.ablate import ablate
from interp.methods.patching.patch import expand_patterns, pattern_text
from interp.methods.runs import checkpoint, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.results import Result
from interp.tasks.metrics import MetricLike

MOST = {"harm": -1, "help": 1}  # which way the metric should go


@keeps_finished
@torch_defaults()
@any_prompts(answers=True, join=False)
def greedy_ablation(
    model: Model,
    task: Any,
    where: str | Sequence[str],
    *,
    steps: int = 5,
    by: str = "mean",
    most: str = "harm",
    keep_best: int | None = None,
    metric: MetricLike = None,
    resume: str | Path | None = None,
    **options: Any,
) -> Result:
    """Greedy ablation: joint effect of 1, 2, ... sites, each step adding the strongest one.

    Example:
        >>> order = greedy_ablation(model, task, "L*H*", steps=5)
        >>> order.coords["step"]              # the sites in the order they were chosen
        >>> order.plot()                      # the effect of all sites chosen up to there

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        where: The candidates, a pattern or a list of patterns.
        steps: How many sites are chosen.
        by: As in `ablate`.
        most: "harm" lowers the metric, "help" raises it.
        keep_best: After the first step only this many candidates, the best by themselves, are tried
            again (None: all). That is cheaper, and misses a site that matters only once its backup
            is gone.
        metric: As in `patch`.
        resume: As in `ablate`, with one file per step: greedy.npz gives greedy.0.npz, greedy.1.npz,
            ...
        options: Those of `ablate` (reference, factor, seed, backend), which does every step.

    Returns:
        Change of the metric, axis "step", one value per example kept. It may turn back when no
        candidate moves the metric further. `metadata["alone"]` has each chosen site's own effect.

    Raises:
        ValueError: If there are fewer candidates than steps.

    Cost:
        One sweep of `ablate` over the remaining candidates per step.
    """
    started = time.perf_counter()
    if most not in MOST:
        raise unknown("direction", most, MOST)
    free = _names(model, task, where)
    limit = len(free) if keep_best is None else min(keep_best, len(free))
    if not 1 <= steps <= limit:
        raise ValueError(
            f"steps={steps} with {limit} candidates in {pattern_text(where)!r}: choose from 1 to "
            f"{limit} steps"
        )
    chosen: list[str] = []
    alone: dict[str, float] = {}
    rows: list[np.ndarray] = []
    effects = None
    for step in range(steps):
        sets = [[*chosen, site] for site in free]
        with named(f"step {step + 1} of {steps}"):
            effects = ablate(
                model,
                task,
                sets,
                by=by,
                metric=metric,
                resume=checkpoint.numbered_path(resume, step),
                **options,
            )
        stop = keeping()
        if stop and stop.interrupted:  # which site comes next is not known
            break
        gain = MOST[most] * effects.values
        order = [int(i) for i in np.argsort(-gain, kind="stable")]
        if step == 0:
            alone = dict(zip(free, effects.values.tolist()))
        chosen.append(free[order[0]])
        rows.append(effects.examples[order[0]])
        left = order[1:limit] if step == 0 else sorted(order[1:])
        free = [free[i] for i in left]
    if not rows:
        raise KeyboardInterrupt  # in the first step: there is no part to keep
    metadata = sweep.provenance(
        model,
        task,
        f"greedy ablation, {by}",
        started,
        candidates=pattern_text(where),
        metric=effects.metadata["metric"],
        most=most,
        keep_best=keep_best,
        chosen=chosen,
        alone=[alone[s] for s in chosen],
        clean=effects.metadata["clean"],
        backend=effects.metadata["backend"],
    )
    examples = np.stack(rows)
    name = f"joint {effects.name}"
    return Result(
        examples.mean(-1), ("step",), {"step": chosen}, name, effects.unit, metadata, examples
    )


@keeps_finished
@torch_defaults()
@any_prompts(answers=True, join=False)
def pairwise_ablation(
    model: Model,
    task: Any,
    sites: Sequence[str],
    *,
    by: str = "mean",
    metric: MetricLike = None,
    **options: Any,
) -> Result:
    """Interaction of every two sites: the effect of ablating both minus the effects of each alone.

    Example:
        >>> pairs = pairwise_ablation(model, task, ["L17H4", "L23H3", "L28H5"])
        >>> pairs.plot(); pairs.metadata["alone"]

    Args:
        model: A loaded model.
        task: A task, or prompts; their answers are then the model's own next tokens.
        sites: A list of patterns.
        by: As in `ablate`.
        metric: As in `patch`.
        options: Those of `ablate` (reference, factor, seed, backend, resume), which runs all sets
            as one sweep.

    Returns:
        The interaction in the metric's unit, axes "first" and "second", symmetric, one value per
        example kept. Zero: the two effects add up. Negative, where each alone lowers the metric:
        each stands in for the other (backup, redundancy). Positive: they share one path. The
        diagonal is NaN; a site's effect alone is in `metadata["alone"]`.

    Raises:
        ValueError: If there are fewer than two sites.

    Reference:
        Backup heads: Wang et al. 2022 (arXiv 2211.00593).
    """
    started = time.perf_counter()
    names = _names(model, task, sites)
    if len(names) < 2:
        raise ValueError(
            f"pairwise_ablation needs at least two sites, got {names} (try ['L1H2', 'L2H0'])"
        )
    pairs = list(combinations(range(len(names)), 2))
    sets = [[name] for name in names] + [[names[i], names[j]] for i, j in pairs]
    effects = ablate(model, task, sets, by=by, metric=metric, **options)
    alone, both = np.split(effects.examples, [len(names)])
    examples = np.full((len(names), len(names), len(task)), np.nan)
    for (i, j), effect in zip(pairs, both):
        examples[i, j] = examples[j, i] = effect - alone[i] - alone[j]
    metadata = sweep.provenance(
        model,
        task,
        f"pairwise ablation, {by}",
        started,
        metric=effects.metadata["metric"],
        clean=effects.metadata["clean"],
        alone=dict(zip(names, alone.mean(-1).tolist())),
        read="0: the two effects add up; of the effects' own sign: each stands in for the other; of"
        " the other sign: they share one path",
        backend=effects.metadata["backend"],
    )
    coords = {"first": names, "second": names}
    name = f"interaction of two {by} ablations on {effects.metadata['metric']}"
    return Result(
        examples.mean(-1), ("first", "second"), coords, name, effects.unit, metadata, examples
    )


def _names(model: Model, task: Any, where: str | Sequence[str]) -> list[str]:
    """The single sites that a pattern or a list of them names."""
    patterns = [where] if isinstance(where, str) else list(where)
    if not patterns or not all(isinstance(p, str) for p in patterns):
        raise ValueError(
            f"the sites are a pattern or a list of them, got {where!r} (try 'L*H*' or ['L1H2',"
            " 'L2H0'])"
        )
    texts = task.parts[0].steps[0].task  # places are named, so that they are the same in all parts
    return [str(site) for site in expand_patterns(model, texts, patterns)]
