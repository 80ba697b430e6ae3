"""Activation patching: put one run's activation into the other run, one site at a time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp import sites
from interp._errors import unknown
from interp._interrupts import keeps_finished
from interp._isolation import torch_defaults
from interp._numbers import to_numpy
from interp._stats import fractions
from interp._types import Model
from interp.edits import set_to
from interp.interventions import Intervention, run
from interp.methods.runs import checkpoint, rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.metrics import Metric, MetricLike

Where = str | Sequence[str] | Sequence[Sequence[str]] | Mapping[str, str | Sequence[str]]


@keeps_finished
@torch_defaults()
@any_prompts(answers=True, compares=True, fraction="given")
def patch(
    model: Model,
    task: Any,
    where: Where,
    *,
    direction: str = "denoising",
    metric: MetricLike = None,
    unit: str = "metric",
    window: int = 1,
    backend: str | None = None,
    resume: str | Path | None = None,
) -> Result:
    """Activation patching: effect on the metric of giving each site its value in the other run.

    Example:
        >>> patch(model, task, "L*H*").top(3)                           # heads, at all positions
        >>> patch(model, task, "resid_pre.*@*", unit="fraction").plot() # layer by position
        >>> patch(model, task, "L*H*@END", direction="noising")
        >>> patch(model, task, ["L19H2@END", "L20H0@END"])              # these together: one number

    Args:
        model: A loaded model.
        task: A task with clean and corrupted prompts.
        where: An address pattern (its stars are the axes of the result); or a list of patterns,
            patched together; or a list of such lists, each a set on the axis "set".
        direction: "denoising" puts clean activations into the corrupted run (what is enough to
            bring the answer back), "noising" corrupted ones into the clean run (what the answer
            needs).
        metric: The task's own if None, another of its metrics by name, a Metric, or a function of
            the logits at END.
        unit: "metric", or "fraction": 0 is the corrupted run and 1 the clean run. It is a ratio of
            means over the prompts, each example is its prompt's part in that ratio, and the
            interval is the ratio's. Where clean minus corrupted has itself an interval that
            contains 0, the result says so and has no interval.
        window: How many neighbouring layers of an MLP or an attention are patched together, centred
            on the labelled one and cut off at the ends: layers l - window // 2 to
            l - window // 2 + window - 1.
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.
        resume: A path.npz that stores finished cells: after an interruption the same call
            continues.

    Returns:
        Patched minus unpatched metric, in the metric's unit (or the fraction of the task's mean,
        never clamped), one value per example kept. Positive under denoising: the site carries the
        answer. Positions before the first token that differs cannot change; their effect is exactly
        zero.

    Raises:
        ValueError: If the prompts of a pair are the same, or an address does not exist.

    Cost:
        One partial forward pass per site.

    Reference:
        Meng et al. 2022 (arXiv 2202.05262); Wang et al. 2022 (arXiv 2211.00593). The terms follow
        Heimersheim and Nanda 2024 (arXiv 2404.15255).
    """
    started = time.perf_counter()
    base, source = base_and_source(task, direction, unit)
    metric = metric_of(task, metric)
    grid, groups = expand_sites(model, task, where)
    groups = widen_to_windows(model, groups, window)
    active = groups_that_change(groups, first_change(model, base, source))
    # Nothing patched is the base run, the whole stream patched at the end is the other one: in the
    # same sweep both are free.
    groups_and_ends = [
        *(groups[i] for i in active),
        [],
        [Site("resid_post", "out", bridge.dims(model).n_layers - 1)],
    ]
    ledger = resume and checkpoint.ledger(
        resume, sweep.unedited_metric(model, base, metric, task.positions)
    )
    values, backend_used = sweep.sweep(
        model,
        base,
        source,
        groups_and_ends,
        lambda cells, rows: patch_interventions(
            model,
            [groups_and_ends[i] for i in cells],
            source[rows],
            {name: at[rows] for name, at in task.positions.items()},
        ),
        metric,
        task.positions,
        f"{direction} {pattern_text(where)}",
        backend,
        ledger=ledger,
        needed=2,
    )
    unpatched, other = values[-2], values[-1]
    if metric.keep:  # what the metric keeps lies before the end
        other = sweep.unedited_metric(model, source, metric, task.positions, backend=backend_used)
    patched = unpatched.expand(len(groups), -1).clone()
    patched[active] = values[:-2]
    corrupted, clean = (unpatched, other) if direction == "denoising" else (other, unpatched)
    effects, unit_name, notes = in_unit(
        patched - unpatched, unit, direction, clean, corrupted, metric
    )
    result = sweep_result(
        effects,
        grid,
        task,
        f"effect of {direction} on {metric.name}",
        unit_name,
        sweep.provenance(
            model,
            task,
            f"patch, {direction}",
            started,
            pattern=pattern_text(where),
            metric=metric.name,
            clean=float(clean.mean()),
            corrupted=float(corrupted.mean()),
            backend=backend_used,
            **notes,
        ),
    )
    return rounding.noted(result, model, task, metric)


def base_and_source(task: Any, direction: str, unit: str) -> tuple[Tensor, Tensor]:
    """The tokens of the run that is patched, and of the run that the values come from."""
    check_words(direction, unit)
    return (
        (task.corrupted, task.clean) if direction == "denoising" else (task.clean, task.corrupted)
    )


def check_words(direction: str, unit: str) -> None:
    """Nothing, or a ValueError for an unknown direction or unit."""
    if direction not in ("denoising", "noising"):
        raise unknown("direction", direction, ["denoising", "noising"])
    if unit not in ("metric", "fraction"):
        raise unknown("unit", unit, ["metric", "fraction"])


def in_unit(
    effects: Tensor, unit: str, direction: str, clean: Tensor, corrupted: Tensor, metric: Metric
) -> tuple[Tensor, str, dict[str, Any]]:
    """Effects in the unit asked for, the unit in words, and what metadata says of a fraction.

    clean, corrupted: the metric of the two plain runs.
    """
    if unit == "metric":
        return effects, metric.unit, {}
    parts, notes = of_clean_minus_corrupted(effects, clean - corrupted, metric.name)
    return parts + (direction == "noising"), "fraction (0 corrupted, 1 clean)", notes


def of_clean_minus_corrupted(effects: Any, whole: Any, metric: str) -> tuple[Any, dict[str, Any]]:
    """Effects as fractions of how far the clean run is above the corrupted one; see `fractions`."""
    return fractions(effects, whole, f"clean minus corrupted {metric}", "try unit='metric'")


def groups_that_change(groups: list[list[Site]], first: int) -> list[int]:
    """Which groups have a site that can differ between runs that agree before position `first`."""
    return [
        i
        for i, g in enumerate(groups)
        if not all(isinstance(s.pos, int) and 0 <= s.pos < first for s in g)
    ]


def expand_sites(model: Model, task: Any, where: Where) -> tuple[sites.Grid, list[list[Site]]]:
    """The axes of the answer, and the sites of each of its cells.

    A pattern: one site a cell, its stars the axes. A list of patterns: all of it in one cell. A
    list of such lists: a cell each, on the axis "set".
    """
    if isinstance(where, Mapping):
        grid, groups = expand_sites(
            model, task, [[w] if isinstance(w, str | Site) else w for w in where.values()]
        )
        return sites.Grid(grid.pattern, grid.sites, ("set",), {"set": list(where)}), groups
    if isinstance(where, str | Site):
        grid = sites.expand(where, bridge.dims(model), task.clean.shape[1], task.positions)
        return grid, [[site] for site in grid.sites]
    sets = list(where)
    if not sets or any(not entry for entry in sets):
        raise ValueError("an empty list of sites: name at least one, for example ['L10H7']")
    several = not isinstance(sets[0], str | Site)
    groups = [expand_patterns(model, task, entry) for entry in (sets if several else [sets])]
    dims, coords = (("set",), {"set": list(range(len(groups)))}) if several else ((), {})
    return sites.Grid(groups[0][0], tuple(g[0] for g in groups), dims, coords), groups


def widen_to_windows(model: Model, groups: list[list[Site]], window: int) -> list[list[Site]]:
    """Each site together with its neighbours in the layers of its window."""
    n_layers = bridge.dims(model).n_layers
    if window < 1:
        raise ValueError(
            f"window={window}: a window has at least one layer (Meng et al.: 10 for mlp and attn)"
        )
    without_window = next(
        (s for group in groups for s in group if s.family not in ("mlp", "attn")), None
    )
    if window == 1 or without_window is None:
        if window > n_layers:
            raise ValueError(
                f"window={window}: the model has {n_layers} layers, so every window would be cut"
                f" off: a third of them is window={max(1, n_layers // 3)}"
            )
        near = range(-(window // 2), window - window // 2)
        layers = range(bridge.dims(model).n_layers)

        def wide(s):
            return (
                [s]
                if window == 1
                else [replace(s, layer=s.layer + k) for k in near if s.layer + k in layers]
            )

        return [list(dict.fromkeys(n for s in group for n in wide(s))) for group in groups]
    raise ValueError(
        f"window={window} at {str(without_window)!r}: a window is for 'mlp.*@*' and 'attn.*@*', "
        "leave it out here"
    )


def expand_patterns(model: Model, task: Any, patterns: Sequence[str]) -> list[Site]:
    """Every site of these patterns, each once."""
    d = bridge.dims(model)
    every = [
        s for p in patterns for s in sites.expand(p, d, task.clean.shape[1], task.positions).sites
    ]
    return list(dict.fromkeys(every))


def pattern_text(where: Where) -> str:
    """The pattern, or the sites of a list, or how many sets there are."""
    if isinstance(where, str | Site):
        return str(where)
    if isinstance(where, Mapping):
        return ", ".join(where)
    every = list(where)
    return " ".join(map(str, every)) if isinstance(every[0], str | Site) else f"{len(every)} sets"


def patch_interventions(
    model: Model, groups: list[list[Site]], source: Tensor, positions: dict[str, Tensor]
) -> list[list[Intervention]]:
    """For each group the interventions that give its sites their values in the source run."""
    dims = bridge.dims(model)
    carriers = [[patched_site(site, dims) for site in group] for group in groups]
    keep = sorted({str(c.at(None)) for group in carriers for c in group})
    cache = run(model, source, keep=keep, positions=positions, last_only=True).kept

    def put(c):
        return Intervention(c, set_to(at_position(cache[str(c.at(None))], c, positions)))

    return [[put(c) for c in group] for group in carriers]


def at_position(value: Tensor, site: Site, positions: dict[str, Tensor]) -> Tensor:
    """A cached value [batch pos ...] at the site's position [batch ...]; all of it without one."""
    if site.pos is None:
        return value
    index = (
        positions[site.pos]
        if isinstance(site.pos, str)
        else torch.tensor(site.pos % value.shape[1])
    ).to(value.device)
    return value[torch.arange(len(value), device=value.device), index.expand(len(value))]


def patched_site(site: Site, dims: bridge.Dims) -> Site:
    """Where to patch: for a head's write its z, which is smaller and gives the same run."""
    if (site.family, site.part) != ("head", "out") or "norm after" in dims.variants:
        return site
    return Site("head", "z", site.layer, site.index, None, site.pos)


def first_change(model: Model, base: Tensor, source: Tensor) -> int:
    """The first position at which a run on one can differ from a run on the other.

    With causal attention that is the first token that differs in any pair, otherwise the first
    token. ValueError where the prompts agree.
    """
    differs = (base != source).any(0).nonzero()
    if len(differs) == 0:
        raise ValueError("clean and corrupted prompts are the same: there is nothing to patch")
    return int(differs[0]) if bridge.causal(model) else 0


def sweep_result(
    effects: Tensor, grid: sites.Grid, task: Any, name: str, unit: str, metadata: dict[str, Any]
) -> Result:
    """The Result of a sweep: effects [site batch] laid out on the grid's axes, examples kept."""
    coords = dict(grid.coords)
    if "pos" in coords:
        coords["pos"] = task.position_labels()
        metadata["positions"] = "labels are the first prompt's tokens"
    examples = to_numpy(effects.reshape(*grid.shape, effects.shape[-1]))
    return Result(examples.mean(-1), grid.dims, coords, name, unit, metadata, examples)
