"""Path patching: a sender takes another run's value, and only the receivers see it."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp import engine, sites
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.edits import set_to
from interp.interventions import Intervention, run
from interp.methods.patching.patch import (
    Where,
    base_and_source,
    expand_sites,
    first_change,
    in_unit,
    pattern_text,
    sweep_result,
)
from interp.methods.runs import engine_sweep, rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.sites import Site
from interp.tasks.metrics import Metric, MetricLike

Cell = tuple[tuple[Site, ...], tuple[Site, ...]]  # senders and receivers of one number

# What the engine calls a sender and a receiver.
SENDERS = {("head", "out"): "z", ("mlp", "out"): "mlp_out", ("embed", "out"): "resid_pre"}
RECEIVERS = {
    ("head", "q_in"): "q",
    ("kv", "k_in"): "k",
    ("kv", "v_in"): "v",
    ("attn", "in"): "attn_in",
    ("mlp", "in"): "mlp_in",
    ("logits", "in"): "resid_post",
}


@torch_defaults()
@any_prompts(answers=True, compares=True, fraction="given")
def path_patch(
    model: Model,
    task: Any,
    senders: Where,
    receivers: Where,
    *,
    through: str = "none",
    direction: str = "denoising",
    metric: MetricLike = None,
    unit: str = "metric",
    backend: str | None = None,
) -> Result:
    """Path patching: effect on the metric of each sender through the receivers alone.

    In an inner run the senders write what they wrote in the source run. In the outer run the
    receivers read the inner run's stream; nothing else is changed, and everything after the
    receivers is recomputed.

    Example:
        >>> movers = ["L23H3.q_in@END", "L17H4.q_in@END"]
        >>> path_patch(model, task, "L*H*", movers, through="mlps").top(3)
        >>> path_patch(model, task, "L*H*", "logits.in")              # every head's direct effect
        >>> path_patch(model, task, "L10H7", "L*H*.q_in@END")               # where one head is read
        >>> path_patch(model, task, "L9H*", "L10H*.q_in").dims
        ('sender', 'receiver')

    Args:
        model: A loaded model.
        task: A task with clean and corrupted prompts.
        senders: Heads, "mlp.*", "attn.*" or "embed": a pattern, a list taken together, or a list of
            such lists (axis "set"). `@` says where the source's value is put.
        receivers: "L*H*.q_in", "L*KV*.k_in", "L*KV*.v_in", "attn.*.in", "mlp.*.in" or "logits.in",
            in the same forms. `@` says where the inner run is read.
        through: What may carry the change from sender to receiver. "none": only the stream itself
            (direct edges); "mlps": MLPs too, with heads held as in the outer run (the IOI paper's
            choice); "all": everything. Before the first receiver the outer run is the base run;
            among receivers in several layers, a later one also sees what the earlier ones changed,
            and each path counts once. So all receivers together give what `patch` gives, whatever
            `through` is.
        direction: "denoising" or "noising", as in `patch`.
        metric: As in `patch`.
        unit: "metric" or "fraction", as in `patch`.
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.

    Returns:
        Patched minus unpatched metric, one value per example kept. Stars on one side are the axes;
        stars on both give the axes "sender" and "receiver". NaN where the sender does not come
        before the receiver; exactly zero where no position can carry a change.

    Raises:
        ValueError: If no sender comes before any receiver.

    Reference:
        Wang et al. 2022 (arXiv 2211.00593), section 3.1; Goldowsky-Dill et al. 2023 (arXiv
        2304.05969).
    """
    started = time.perf_counter()
    base, source = base_and_source(task, direction, unit)
    if through not in engine.THROUGH:
        raise unknown(
            "through",
            through,
            engine.THROUGH,
            'path_patch(model, task, "L*H*", "logits.in", through="mlps")',
        )
    first_change(model, base, source)  # raises where nothing differs
    metric = metric_of(task, metric)
    grid, cells = _cells(model, task, senders, receivers)
    reached = [i for i, (_, read) in enumerate(cells) if read]
    if not reached:
        raise ValueError(
            f"{pattern_text(senders)!r} does not come before {pattern_text(receivers)!r}: what it "
            "writes cannot get there (try a sender of an earlier layer, or 'logits.in')"
        )
    can_change = _can_change(model, base, source, through, task.positions)
    active = [i for i in reached if can_change(cells[i])]
    values, backend_used = _values(
        model,
        base,
        source,
        [cells[i] for i in active],
        through,
        metric,
        task.positions,
        backend,
        f"paths from {pattern_text(senders)}",
    )
    unpatched, other = (
        sweep.unedited_metric(model, tokens, metric, task.positions, backend=backend_used)
        for tokens in (base, source)
    )
    patched = unpatched.expand(len(cells), -1).clone()
    patched[[i for i, (_, read) in enumerate(cells) if not read]] = float("nan")
    patched[active] = values
    corrupted, clean = (unpatched, other) if direction == "denoising" else (other, unpatched)
    effects, unit_name, notes = in_unit(
        patched - unpatched, unit, direction, clean, corrupted, metric
    )
    more = (
        {}
        if len(reached) == len(cells)
        else {"nan": "the sender does not come before the receiver"}
    )
    result = sweep_result(
        effects,
        grid,
        task,
        f"effect of {direction} paths on {metric.name}",
        unit_name,
        sweep.provenance(
            model,
            task,
            f"path patch, {direction}",
            started,
            pattern=str(grid.pattern),
            senders=pattern_text(senders),
            receivers=pattern_text(receivers),
            through=through,
            metric=metric.name,
            clean=float(clean.mean()),
            corrupted=float(corrupted.mean()),
            backend=backend_used,
            **more,
            **notes,
        ),
    )
    return rounding.noted(result, model, task, metric)


# --- what is asked --------------------------------------------------------------------------------


def _cells(
    model: Model, task: Any, senders: Where, receivers: Where
) -> tuple[sites.Grid, list[Cell]]:
    """The axes of the answer, and each cell's senders with the receivers that they can reach."""
    d = bridge.dims(model)
    sites.adds_up(d, "path patching")
    from_grid, sent = expand_sites(model, task, senders)
    to_grid, read = expand_sites(model, task, receivers)
    _check(
        sent,
        {*SENDERS, ("attn", "out")},
        "what a sender writes goes to the stream",
        "'L3H1', 'mlp.3', 'embed'",
    )
    _check(
        read,
        set(RECEIVERS),
        "a receiver reads the stream",
        "'L10H7.q_in', 'L9KV2.k_in', 'mlp.3.in', 'logits.in'",
    )
    outs = [
        tuple(dict.fromkeys(part for site in group for part in _parts(site, d))) for group in sent
    ]
    pairs = [
        (s, tuple(r for r in group if any(sites.precedes(x, r, d) for x in s)))
        for s in outs
        for group in read
    ]
    if from_grid.dims and to_grid.dims:
        coords = {"sender": [_label(g) for g in sent], "receiver": [_label(g) for g in read]}
        return sites.Grid(from_grid.pattern, from_grid.sites, ("sender", "receiver"), coords), pairs
    return (from_grid if from_grid.dims else to_grid), pairs


def _check(
    groups: Sequence[Sequence[Site]], known: set[tuple[str, str]], law: str, examples: str
) -> None:
    """Raises ValueError for a site that cannot send or receive."""
    for site in (s for group in groups for s in group):
        if (site.family, site.part) not in known:
            raise ValueError(f"not here: {str(site)!r}; {law} (try {examples})")


def _parts(site: Site, d: bridge.Dims) -> list[Site]:
    """An attention layer sends as its heads do; its bias is the same in both runs."""
    if site.family != "attn":
        return [site]
    return [Site("head", "out", site.layer, h, None, site.pos) for h in range(d.n_heads)]


def _label(group: Sequence[Site]) -> str:
    return " ".join(map(str, group))


def _mask(site: Site, shape: torch.Size, positions: dict[str, Tensor]) -> Bool[Tensor, "batch pos"]:
    """Where a site is."""
    n, length = shape
    if site.pos is None:
        return torch.ones(n, length, dtype=torch.bool)
    at = positions[site.pos] if isinstance(site.pos, str) else torch.tensor([site.pos])
    return (torch.arange(length) == (at % length)[:, None]).expand(n, -1)


def _can_change(
    model: Model, base: Tensor, source: Tensor, through: str, positions: dict[str, Tensor]
) -> Callable[[Cell], bool]:
    """A function that tells of a cell whether any change can arrive.

    Only attention goes from position to position, and only forwards.
    """
    if not bridge.causal(model):
        return lambda cell: bool(cell[1])
    differ = (base != source).cumsum(-1) > 0
    end = torch.arange(base.shape[1]) == base.shape[1] - 1

    @cache
    def meet(sent: Any, read: Any, logits: bool) -> bool:
        changed, read_there = (
            _mask(Site("embed", pos=pos), base.shape, positions) for pos in (sent, read)
        )
        changed = changed & differ
        changed = changed.cumsum(-1) > 0 if through == "all" else changed
        return bool(
            (changed & read_there & (end | (not logits))).any()
        )  # logits are measured at END

    def read(cell):
        return {(r.pos, r.family == "logits") for r in cell[1]}

    return lambda cell: any(meet(s, *r) for s in {x.pos for x in cell[0]} for r in read(cell))


# --- two ways to the numbers ----------------------------------------------------------------------


def _values(
    model: Model,
    base: Tensor,
    source: Tensor,
    cells: list[Cell],
    through: str,
    metric: Metric,
    positions: dict[str, Tensor],
    backend: str | None,
    what: str,
) -> tuple[Float[Tensor, "cell batch"], str]:
    """The metric of each path-patched run, and the backend."""
    engine_model = sweep.choose_engine(
        model, backend, lambda: None if metric.keep else engine.find(model)
    )
    if engine_model is None:
        return _by_hooks(model, base, source, cells, through, metric, positions, what), "hooks"
    spell = cache(lambda site, kind: engine_sweep.engine_patch(site, kind, positions))
    kinds = SENDERS | {("head", "out"): engine_model.head_kind}
    sends = cache(lambda group: tuple(spell(s, kinds[s.family, s.part]) for s in group))
    reads = cache(lambda group: tuple(_receiver(spell, s, engine_model.n_layers) for s in group))
    with bridge.LOCK, sweep.progress(None, what, total=len(cells)) as bar:
        base_run, source_run = (
            engine.run(engine_model, tokens, keep=engine.PATHS, logits=None)
            for tokens in (base, source)
        )
        patches = [(sends(sent), reads(read)) for sent, read in cells]
        read = engine_sweep.metric_reader(engine_model, metric, len(base))
        return (
            engine.paths(
                engine_model,
                base_run,
                source_run,
                patches,
                read,
                through=through,
                tick=lambda done, total: bar.update(done - bar.n),
            ),
            "engine",
        )


def _receiver(
    spell: Callable[[Site, str], engine.Patch], site: Site, n_layers: int
) -> engine.Patch:
    """The engine's patch for a receiver."""
    if site.family == "logits":
        site = Site("resid_post", "out", n_layers - 1, pos=site.pos)
        return spell(site, "resid_post")
    return spell(site, RECEIVERS[site.family, site.part])


CELLS_AT_ONCE = 64  # the hooks keep what every receiver reads: a few dozen cells of it at a time


def _by_hooks(
    model: Model,
    base: Tensor,
    source: Tensor,
    cells: list[Cell],
    through: str,
    metric: Metric,
    positions: dict[str, Tensor],
    what: str,
) -> Float[Tensor, "cell batch"]:
    """The same by definition: an inner run for each step at which receivers read."""
    wrote = sorted({str(s.at(None)) for sent, _ in cells for s in sent})
    given = run(model, source, keep=wrote, last_only=True).kept if wrote else {}
    start = bridge.trail(model, base)
    plain = run(model, base, keep=["attn.*", "mlp.*", *wrote], last_only=True).kept if wrote else {}
    d, values = bridge.dims(model), [torch.empty(0, len(base), device=bridge.device(model))]

    def outer(cell: Cell) -> list[Intervention]:
        sent, read = cell
        edits: list[Intervention] = []
        for step in sorted({sites.read_step(r, d) for r in read}):
            outer_cache = plain
            if edits and through != "all":
                keep = ["attn.*", "mlp.*", *(str(s.at(None)) for s in sent)]
                outer_cache = run(model, base, edits, keep, last_only=True, start=start).kept
            here = [r for r in read if sites.read_step(r, d) == step]
            inner = _inner(sent, given, outer_cache, through, step, base.shape, positions)
            keep = [str(r.at(None)) for r in here]
            read_values = run(model, base, inner, keep, last_only=True, start=start).kept
            edits += [
                _put(r.at(None), read_values[str(r.at(None))], _mask(r, base.shape, positions))
                for r in here
            ]
        return edits

    for lo in range(0, len(cells), CELLS_AT_ONCE):
        edits = [
            outer(cell)
            for cell in sweep.progress(cells[lo : lo + CELLS_AT_ONCE], f"{what}, inner runs")
        ]
        values.append(sweep.sweep_by_hooks(model, base, edits, metric, positions, what))
    return torch.cat(values)


def _inner(
    sent: Sequence[Site],
    given: dict[str, Tensor],
    outer_cache: dict[str, Tensor],
    through: str,
    step: int,
    shape: torch.Size,
    positions: dict[str, Tensor],
) -> list[Intervention]:
    """The interventions of an inner run up to a step.

    Senders write as in the source run; the rest is held as it is now.
    """
    edits, held = [], {}
    if through != "all":
        first = min((s.layer for s in sent if s.layer is not None), default=0)
        first = 0 if any(s.family == "embed" for s in sent) else first
        for layer in range(first, (step + 1) // 2):
            held[f"attn.{layer}"] = outer_cache["attn.*"][layer]
            if through == "none":
                held[f"mlp.{layer}"] = outer_cache["mlp.*"][layer]
    places: dict[Site, Tensor] = {}  # a sender may be named at several positions
    for s in sent:
        places[s.at(None)] = places.get(s.at(None), False) | _mask(s, shape, positions)
    for s, place in places.items():
        name = str(s)
        mask = place[..., None].to(given[name].device)
        if s.family == "head" and through != "all":
            attn = f"attn.{s.layer}"
            if attn in held:
                held[attn] = held[attn] + torch.where(mask, given[name] - outer_cache[name], 0.0)
        elif name in held:
            held[name] = torch.where(mask, given[name], held[name])
        else:
            edits.append(_put(s, given[name], place))
    return [Intervention(name, set_to(value)) for name, value in held.items()] + edits


def _put(site: Site, value: Tensor, mask: Bool[Tensor, "batch pos"]) -> Intervention:
    """The intervention that gives a site this value where the mask says."""
    return Intervention(
        site, lambda act, seen: torch.where(mask.to(act.device)[..., None], value, act)
    )
