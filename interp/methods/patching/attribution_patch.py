"""Attribution patching: what patching would do, estimated from gradients for all sites at once.

To first order, putting the source run's value into the base run changes the metric by

    (source - base) . d metric / d site,         the gradient taken in the base run

so two forward passes and one backward pass stand for one patched run per site. It goes wrong where
the metric bends between the two values: in a saturated softmax, where two paths cancel, in norms.
`attribution_error` says how wrong; "atp*" and "ig" are two ways to mend it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp import engine as lean
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp.methods.patching.patch import (
    Where,
    base_and_source,
    expand_sites,
    first_change,
    of_clean_minus_corrupted,
    patched_site,
    pattern_text,
    sweep_result,
)
from interp.methods.runs import engine_sweep, rounding, sweep
from interp.methods.runs.any_prompts import any_prompts
from interp.methods.runs.gradients import GradientBackend, SiteTensors, by_engine, by_hooks
from interp.methods.runs.metrics import metric_of
from interp.models import bridge
from interp.results import Result
from interp.sites import STAR, Site

METHODS = ("atp", "atp*", "ig", "gim", "relp")
CALLED = {
    "atp": "attribution patching",
    "atp*": "AtP*",
    "ig": "integrated gradients",
    "gim": "GIM",
    "relp": "RelP",
}
RULES = {"gim": lean.GIM, "relp": lean.RELP}  # for the backward pass, by the engine alone
SIZE_ONLY = ", size only"  # what the unit of an estimate without a sign ends with
THROUGH_SOFTMAX = {
    ("head", "q"),
    ("kv", "k"),
    ("head", "scores"),
}  # what "atp*" takes to the pattern exactly
STREAM = (
    "embed",
    "resid_pre",
    "resid_mid",
    "resid_post",
    "logits",
)  # what no layer's write stands for


@torch_defaults()
@any_prompts(answers=True, compares=True, fraction="given")
def attribution_patch(
    model: Model,
    task: Any,
    where: Where,
    *,
    method: str = "atp",
    direction: str = "denoising",
    metric: Any = None,
    unit: str = "metric",
    steps: int = 5,
    backend: str | None = None,
) -> Result:
    """Attribution patching: an estimate of `patch` from gradients, with its axes, sign and unit.

    Example:
        >>> estimate = attribution_patch(model, task, "L*H*")
        >>> attribution_error(patch(model, task, "L*H*"), estimate)     # how far off it is
        >>> attribution_patch(model, task, "mlp.*.post#*").top(10)      # every neuron

    Args:
        model: A loaded model.
        task: A task with clean and corrupted prompts.
        where: As in `patch`. A list is the sum of its sites' estimates: a path through two of them
            counts twice, which patching them together would not.
        method: "atp" is the linear estimate at the base run. "atp*" adds two corrections: for
            queries, keys and scores the attention is recomputed with the patched value and
            multiplied by the pattern's gradient (a saturated softmax has none of its own); and
            GradDrop: the gradient is taken once per layer, with nothing flowing back through what
            that layer writes, and the sizes of those estimates are averaged, so that a direct and
            an indirect effect do not cancel. "ig", integrated gradients: the gradient is the mean
            over `steps` runs between the two prompts' embeddings (midpoints); the difference at
            the site stays source minus base. "gim" and "relp" change what flows back where effects
            interact (`interp.methods.circuits.discovery.gim` and `relp` say how); under "relp"
            nothing does through queries and keys, where its estimate is 0.
        direction: "denoising" or "noising", as in `patch`.
        metric: As in `patch`; it must have a gradient.
        unit: "metric" or "fraction", as in `patch`.
        steps: How many points "ig" averages over.
        backend: "engine" or "hooks"; None chooses. `metadata["backend"]` says which ran.

    Returns:
        The estimated effects, one value per example kept. Under "atp*" they are sizes without a
        sign (the unit says so), taken prompt by prompt before the mean over prompts. Under "ig" the
        estimates at "embed", summed over positions, add up to the whole difference of the metric as
        steps grow.

    Cost:
        Two forward passes and 1 ("atp", "gim", "relp"), n_layers ("atp*") or `steps` ("ig")
        backward passes. Keys at every position under "atp*" hold pos^3 numbers a head.

    Reference:
        Nanda 2023 ("atp"); Kramar et al. 2024, arXiv 2403.00745 ("atp*"): the mean over dropped
        layers is over n_layers - 1 of them for a site inside one layer, over all for the stream.
        Hanna et al. 2024 (arXiv 2403.17806) interpolate the input for edges; "ig" does so for all
        sites. Edin et al. 2025, arXiv 2505.17630 ("gim"). Rezaei Jafari et al. 2025, arXiv
        2508.21258 ("relp").
    """
    started = time.perf_counter()
    base, source = base_and_source(task, direction, unit)
    _check(method, direction, unit, steps, backend)
    if method in RULES:
        sweep.needs_engine(model, method, "atp")
    metric = metric_of(task, metric)
    grid, groups = expand_sites(model, task, where)
    first = first_change(model, base, source)
    engine = sweep.choose_engine(
        model,
        "engine" if method in RULES and backend is None else backend,
        lambda: None if metric.keep else engine_sweep.engine_for(model, metric, groups),
    )
    backend_used = "hooks" if engine is None else "engine"
    unpatched, other = (
        sweep.unedited_metric(model, tokens, metric, task.positions, backend=backend_used)
        for tokens in (base, source)
    )
    with bridge.LOCK:
        runner = (
            by_hooks(model, metric, base, task.positions)
            if engine is None
            else by_engine(
                lean.with_rules(engine, RULES[method]) if method in RULES else engine,
                metric,
                base,
                first,
            )
        )
        pieces = _pieces(
            runner,
            base,
            source,
            first,
            _cells(groups, base, task.positions, bridge.dims(model)),
            method,
        )
        slots = list(dict.fromkeys(piece.at for piece in pieces))
        effects = torch.zeros(len(groups), len(base), device=unpatched.device)
        passes = list(_runs(model, method, steps))
        for grads in sweep.progress(
            _slopes(runner, slots, method, base, source, passes),
            pattern_text(where),
            total=len(passes),
        ):
            once = _estimate(pieces, grads, effects)
            effects += once.abs() if method == "atp*" else once / len(passes)
    if method == "atp*":
        effects = effects / _counted(groups, len(passes)).to(effects.device)[:, None]
    corrupted, clean = (unpatched, other) if direction == "denoising" else (other, unpatched)
    unit_name = "fraction (0 corrupted, 1 clean)" if unit == "fraction" else metric.unit
    notes: dict[str, Any] = {}
    if unit == "fraction":
        whole = clean - corrupted
        whole = whole * whole.mean().sign() if method == "atp*" else whole
        effects, notes = of_clean_minus_corrupted(effects, whole, metric.name)
        effects = effects + (direction == "noising")
    what = "size of the effect" if method == "atp*" else "effect"
    result = sweep_result(
        effects,
        grid,
        task,
        f"{what} of {direction} on {metric.name}, estimated by {CALLED[method]}",
        unit_name + (SIZE_ONLY if method == "atp*" else ""),
        sweep.provenance(
            model,
            task,
            f"attribution patching ({method}), {direction}",
            started,
            pattern=pattern_text(where),
            metric=metric.name,
            clean=float(clean.mean()),
            corrupted=float(corrupted.mean()),
            backwards=len(passes),
            backend=backend_used,
            **notes,
        ),
    )
    return rounding.noted(result, model, task, metric)


def _check(method: str, direction: str, unit: str, steps: int, backend: str | None) -> None:
    """Raises ValueError for options that do not go together."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if method in RULES and backend == "hooks":
        raise ValueError(
            f"backend='hooks' takes the gradient as it is, and {method!r} changes what flows back:"
            " leave `backend` out, or use method='atp'"
        )
    if steps < 1:
        raise ValueError(
            f"steps={steps}: integrated gradients need at least one step (try steps=5)"
        )
    if (method, direction, unit) == ("atp*", "noising", "fraction"):
        raise ValueError(
            "'atp*' gives sizes without a sign, so there is no fraction that starts at 1 (try"
            " unit='metric')"
        )


# --- the gradients --------------------------------------------------------------------------------


def _runs(model: Model, method: str, steps: int) -> Sequence[float]:
    """One entry per backward pass: a point between base and source, or the dropped layer."""
    if method == "atp*":
        return range(bridge.dims(model).n_layers)
    return [(step + 0.5) / steps for step in range(steps)] if method == "ig" else [0.0]


def _slopes(
    runner: GradientBackend,
    slots: list[Site],
    method: str,
    base: Tensor,
    source: Tensor,
    passes: Sequence[float],
) -> Iterator[SiteTensors]:
    """The gradients at the slots, once for each backward pass."""
    if method == "atp*":
        yield from runner.dropping(slots)
    elif method != "ig":
        yield runner.slopes(slots, None)
    else:
        embed = Site("embed")
        ends = [runner.values(tokens, [embed])[embed][0] for tokens in (base, source)]
        for part in passes:
            yield runner.slopes(slots, torch.lerp(*ends, part))


def _counted(groups: list[list[Site]], n_layers: int) -> Float[Tensor, "cell"]:
    """Over how many layers each cell's sizes are averaged: its own only where something is left."""

    def inside(group):
        return len({s.layer for s in group}) == 1 and not any(s.family in STREAM for s in group)

    counts = [n_layers - inside(group) for group in groups]
    if min(counts) < 1:
        raise ValueError(
            "'atp*' averages over the other layers, and this model has only one: use method='atp'"
        )
    return torch.tensor(counts, dtype=torch.float)


# --- from gradients to cells ----------------------------------------------------------------------


class _Cells(NamedTuple):
    """Which entries of a slot's table [pos+1 index batch] belong to which cells.

    Row -1 is all positions together.
    """

    group: Int[Tensor, "site"]
    row: Int[Tensor, "site batch"]
    index: Int[Tensor, "site"]


class _Piece(NamedTuple):
    """One slot's part of the estimate: the gradient at `at` times what patching changes there."""

    at: Site
    change: Tensor  # [index batch pos d]; for keys under atp* [row head batch dest src]
    rows: list[int] | None  # for keys under atp*: the table rows of `change`
    kv_heads: int
    cells: _Cells


def _cells(
    groups: list[list[Site]], base: Tensor, positions: Mapping[str, Tensor], dims: bridge.Dims
) -> dict[Site, _Cells]:
    """For each slot the entries that belong to each cell."""
    n, length = base.shape
    by_slot: dict[Site, list[tuple[int, Tensor, int]]] = {}
    same = {p: torch.full((n,), p) for p in range(-1, length)}
    for i, group in enumerate(groups):
        for site in (patched_site(part, dims) for part in group):
            index, unit = (None if v is None else STAR for v in (site.index, site.unit))
            slot = replace(site, index=index, unit=unit, pos=None)
            at = -1 if site.pos is None else site.pos
            row = (
                positions[at]
                if isinstance(at, str)
                else same[-1 if site.pos is None else at % length]
            )
            by_slot.setdefault(slot, []).append(
                (i, row, next((v for v in (site.index, site.unit) if v is not None), 0))
            )
    columns = {slot: list(zip(*rows)) for slot, rows in by_slot.items()}
    return {
        s: _Cells(torch.tensor(g), torch.stack(r), torch.tensor(i))
        for s, (g, r, i) in columns.items()
    }


def _pieces(
    runner: GradientBackend,
    base: Tensor,
    source: Tensor,
    first: int,
    cells: Mapping[Site, _Cells],
    method: str,
) -> list[_Piece]:
    """What patching changes at each slot, or under atp* at the attention that it feeds."""
    bent = [s for s in cells if method == "atp*" and (s.family, s.part) in THROUGH_SOFTMAX]
    mended = {s: Site("head", "pattern", s.layer, STAR) for s in bent}
    needed = list(dict.fromkeys([*cells, *mended.values()]))
    before, after = (runner.values(tokens, needed) for tokens in (base, source))
    pieces = []
    for slot, where in cells.items():
        if slot.part == "k" and slot in mended:
            pieces.append(_keys(runner, slot, mended[slot], before, after, first, where))
            continue
        old, new = before[mended.get(slot, slot)], after[mended.get(slot, slot)]
        if slot.part == "q" and slot in mended:
            new = runner.patterns(slot, after[slot][None])[0]
        change = torch.where(
            old == new, 0.0, new - old
        )  # masked scores: -inf in both, and no change
        change[:, :, :first] = 0
        pieces.append(_Piece(mended.get(slot, slot), change, None, 0, where))
    return pieces


def _keys(
    runner: GradientBackend,
    slot: Site,
    pattern: Site,
    before: SiteTensors,
    after: SiteTensors,
    first: int,
    where: _Cells,
) -> _Piece:
    """The change of the attention with the keys patched, at each position asked for and at all."""
    rows = [row for row in sorted(set(where.row.flatten().tolist())) if row == -1 or row >= first]
    patched = before[slot].repeat(len(rows), 1, 1, 1, 1)
    for keys, row in zip(patched, rows):
        at = slice(None) if row == -1 else row
        keys[:, :, at] = after[slot][:, :, at]
    old = before[pattern]
    change = runner.patterns(slot, patched) - old if rows else old.new_zeros(0, *old.shape)
    return _Piece(pattern, change, rows, len(before[slot]), where)


def _estimate(
    pieces: list[_Piece], grads: SiteTensors, like: Float[Tensor, "cell batch"]
) -> Float[Tensor, "cell batch"]:
    """The sum over the pieces of gradient times change, cell by cell."""
    out, device = torch.zeros_like(like), like.device
    prompt = torch.arange(like.shape[1], device=device)
    for piece in pieces:
        table = _table(piece, grads[piece.at]).to(out)
        group, row, index = (part.to(device) for part in piece.cells)
        out.index_add_(0, group, table[row, index[:, None], prompt])
    return out


def _table(
    piece: _Piece, grad: Float[Tensor, "index batch pos d"]
) -> Float[Tensor, "row index2 batch"]:
    """The estimate at each position, and in the last row at all of them."""
    each = (piece.change * grad).sum(-1)
    if piece.rows is None:
        each = each.permute(2, 0, 1)
        return torch.cat([each, each.sum(0, keepdim=True)])
    # a key is read by every query after it, in each of the query heads its KV head feeds
    keys = each.sum(-1).unflatten(1, (piece.kv_heads, -1)).sum(2)
    table = keys.new_zeros(grad.shape[2] + 1, *keys.shape[1:])
    table[piece.rows] = keys
    return table
