"""Many small variations of one run: the loop that patching and ablation share."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from interp import _interrupts, engine
from interp._errors import unknown
from interp._progress import progress
from interp._types import Model
from interp._warn import warn
from interp.edits import add
from interp.interventions import Intervention, Run, run
from interp.methods.runs import checkpoint, engine_sweep, streaming
from interp.methods.runs.metrics import check_shape
from interp.methods.runs.streaming import metric_of_some, some_of
from interp.models import bridge, placement
from interp.sites import Site
from interp.tasks.metrics import Metric

Cell = Sequence[Intervention]  # what is done together in one variation
LONG = 5e7  # tokens through the model, before what can be skipped, that are worth a word
TOKENS_PER_RUN = 640  # past this many tokens a batch, a CPU gains nothing more


def unedited_metric(
    model: Model,
    tokens: Tensor,
    metric: Metric,
    positions: Mapping[str, Tensor],
    added: Tensor | None = None,
    backend: str = "hooks",
) -> Float[Tensor, "batch"]:
    """The metric of an unedited run; added: see `sweep`.

    Args:
        backend: The one that ran the variations this run is compared with: in a short number type
            the two backends round differently, and their difference would pass for an effect.
    """
    n = len(tokens)
    reads = "hooks" if metric.everywhere else "engine"  # the logits of every position, or of END
    parts = streaming.prompts_at_once(model, tokens, (), metric, "a run", reads)
    if len(parts) > 1:
        return torch.cat(
            [
                unedited_metric(
                    model,
                    tokens[rows],
                    metric_of_some(metric, rows, n),
                    {name: some_of(at, rows, n) for name, at in positions.items()},
                    None if added is None else added[rows],
                    backend,
                )
                for rows in parts
            ]
        )
    if backend == "engine":
        nothing = engine_sweep.sweep_by_engine(
            engine.find(model), tokens, _no_source, [[]], metric, positions, None, added
        )
        return nothing[0]
    out = run(
        model,
        tokens,
        _start(added),
        metric.keep,
        positions=positions,
        last_only=not metric.everywhere,
    )
    return check_shape(metric.of(out.logits, out.kept), len(tokens), metric)


def sweep(
    model: Model,
    base: Tensor,
    source: Any,
    groups: Sequence[engine_sweep.Cell],
    edits: Callable[[Sequence[int], Tensor], Sequence[Cell]],
    metric: Metric,
    positions: Mapping[str, Tensor],
    what: str,
    backend: str | None = None,
    added: Tensor | None = None,
    ledger: checkpoint.Ledger | None = None,
    needed: int = 0,
) -> tuple[Float[Tensor, "cell batch"], str]:
    """The metric of each variation of the base run, and which backend ran: "engine" or "hooks".

    Args:
        model: A loaded model.
        base: The tokens of the run that is varied.
        source: See `sweep_by_engine`, or None where only hooks will do.
        groups: The sites of each variation.
        edits: Some of the variations as interventions on some of the prompts, `edits(cells, rows)`;
            asked for only when the hooks run.
        metric: What is measured.
        positions: Named positions.
        what: The progress bar's text.
        backend: None chooses, "engine" and "hooks" insist.
        added: Added to the embeddings of the base run (noise) [batch pos d_model], not of the
            source's.
        ledger: Stores finished cells, see `checkpoint.ledger`.
        needed: How many variations at the end all others are compared with: after an interrupt they
            are run nevertheless.

    A verb that keeps its finished part (`keeps_finished`) is given NaN for what an interrupt left.

    What would not fit in the memory budget (`placement.budget`) is done in pieces, some prompts and
    some cells at a time: the same numbers, to rounding.
    """
    engine_model = choose_engine(
        model,
        backend,
        lambda: None if source is None else engine_sweep.engine_for(model, metric, groups),
    )
    backend_used = "hooks" if engine_model is None else "engine"
    of = {
        "tokens": [base, source if isinstance(source, Tensor) else None, added],
        "method": [what, backend_used],
        "sites": ledger and [[str(site) for site in group] for group in groups],
        "positions": positions,
        "metric": [metric.name, metric.unit, metric.keep, metric.columns, metric.needs_logits],
    }
    n, kinds = len(base), engine_sweep.kinds_of(groups)
    parts = streaming.prompts_at_once(model, base, kinds, metric, what, backend_used)
    _say_size(base, len(groups), what, ledger is not None, len(parts))
    ledger = ledger or checkpoint.ledger(None, torch.empty(n, device=bridge.device(model)))

    def piece(
        cells: list[int], rows: Tensor, bar: Any, done: Callable[[list[int], Tensor], None]
    ) -> Tensor:
        """Some cells of some prompts [cell row]."""
        some = _of_rows(base, source, metric, positions, added, rows)
        if engine_model is None:
            start = _start(some.added)
            variations = [[*start, *cell] for cell in edits(cells, rows)]
            return sweep_by_hooks(
                model, some.base, variations, some.metric, some.positions, what, done
            )
        return engine_sweep.sweep_by_engine(
            engine_model,
            some.base,
            some.source,
            [streaming.patches_of(groups[i], rows, n) for i in cells],
            some.metric,
            some.positions,
            bar,
            some.added,
            done,
        )

    def fill(which: list[int], note: Callable[[list[int], Tensor], None]) -> None:
        """Runs these variations; each part is in `values` as soon as it is finished."""
        whole = len(parts) == 1  # else a cell is finished with its last prompts
        by_engine = engine_model is not None
        bar = progress(None, what, total=len(which) * len(parts)) if by_engine else None
        with bar if bar is not None else nullcontext():
            for places in streaming.cells_at_once(groups, which, len(parts)):
                cells = [which[k] for k in places]

                def done(rows: list[int], new: Tensor, places: list[int] = places) -> None:
                    if whole:
                        values[[which[places[row]] for row in rows]] = new.to(values)
                        note([places[row] for row in rows], new)

                found = [piece(cells, rows, bar, done) for rows in parts]
                if not whole:
                    new = torch.cat(found, -1)
                    values[cells] = new.to(values)
                    note(places, new)

    stop = _interrupts.keeping()
    with bridge.LOCK, ledger(len(groups), model, of) as (values, todo, note):
        try:
            if todo and not (stop and stop.interrupted):
                fill(todo, note)
        except KeyboardInterrupt:
            if stop is None:
                raise
            stop.interrupted = True
        if stop and stop.interrupted:
            ends = range(len(groups) - needed, len(groups))
            missing = [i for i in ends if bool(values[i].isnan().any())]
            if missing:
                fill(missing, lambda rows, out: None)
    return values, backend_used


class _Rows(NamedTuple):
    """What a sweep is of, for some of its prompts."""

    base: Tensor
    source: Any
    metric: Metric
    positions: Mapping[str, Tensor]
    added: Tensor | None


def _of_rows(
    base: Tensor,
    source: Any,
    metric: Metric,
    positions: Mapping[str, Tensor],
    added: Tensor | None,
    rows: Tensor,
) -> _Rows:
    n = len(base)
    if len(rows) == n:
        return _Rows(base, source, metric, positions, added)

    def values(kinds: list[str]) -> dict[str, list[Tensor]]:
        return {kind: [some_of(v, rows, n) for v in each] for kind, each in source(kinds).items()}

    return _Rows(
        base[rows],
        source[rows] if isinstance(source, Tensor) else values,
        metric_of_some(metric, rows, n),
        {name: some_of(at, rows, n) for name, at in positions.items()},
        None if added is None else added[rows],
    )


def _say_size(base: Tensor, cells: int, what: str, kept: bool, parts: int) -> None:
    """A warning before a sweep that will take long: how many runs of how many tokens it is."""
    if cells * base.numel() < LONG:
        return
    some = "" if parts == 1 else f", {-(-len(base) // parts)} prompts at a time to save memory"
    advice = "" if kept else "; resume='sweep.npz' keeps what is finished"
    warn(
        f"{what}: {cells:,} runs of {base.numel():,} tokens, {cells * base.numel():,} in all, and"
        f" an answer of {placement.size(16 * cells * len(base))}{some} (fewer positions or layers"
        f" make it smaller{advice})"
    )


def _no_source(kinds: list[str]) -> dict[str, list[Tensor]]:
    return {}


def _start(added: Tensor | None) -> list[Intervention]:
    """The intervention that adds noise to the embeddings, if there is any."""
    return [] if added is None else [Intervention("embed", add(added))]


def choose_engine(model: Model, backend: str | None, find: Callable[[], Any]) -> Any:
    """The engine that `find` gives, or None for the hooks; ValueError if it cannot be."""
    if backend not in (None, "engine", "hooks"):
        raise unknown("backend", backend, ("engine", "hooks"))
    bridge.ready(model)
    engine_model = None if backend == "hooks" else find()
    if engine_model is None and backend == "engine":
        reason = engine.why_not(model) or "it does not know this site or metric"
        raise ValueError(
            f"the engine cannot run this ({reason}): leave `backend` out, or use 'hooks'"
        )
    return engine_model


def needs_engine(model: Model, method: str, instead: str) -> None:
    """Nothing, or a ValueError where a method with backward rules of its own has no engine."""
    bridge.ready(model)
    if engine.find(model) is None:
        raise ValueError(
            f"{method!r} changes what flows back inside the model, and only the engine can do that"
            f" ({engine.why_not(model)}): use {instead!r}"
        )


def sweep_by_hooks(
    model: Model,
    tokens: Tensor,
    cells: Sequence[Cell],
    metric: Metric,
    positions: Mapping[str, Tensor],
    what: str,
    note: Callable[[list[int], Tensor], None] | None = None,
) -> Float[Tensor, "cell batch"]:
    """The metric of each variation of one run, several variations to a forward pass.

    Exact: every cell is the run that it would be alone.

    Args:
        model: A loaded model.
        tokens: The run that is varied.
        cells: The interventions of each variation.
        metric: What is measured.
        positions: Named positions.
        what: The progress bar's text.
        note: Called with cells and their values as they finish.
    """
    n, values = len(tokens), torch.empty(len(cells), len(tokens), device=bridge.device(model))
    for chunk, out in batched_runs(
        model, tokens, cells, metric.keep, positions, what, last_only=not metric.everywhere
    ):
        for i, c in enumerate(chunk):
            cache = {key: _rows(key, value, i, n) for key, value in out.kept.items()}
            values[c] = check_shape(metric.of(out.logits[i * n : (i + 1) * n], cache), n, metric)
        if note is not None:
            note(chunk, values[chunk])
    return values


def batched_runs(
    model: Model,
    tokens: Tensor,
    cells: Sequence[Cell],
    keep: Sequence[str] = (),
    positions: Mapping[str, Tensor] | None = None,
    what: str = "runs",
    *,
    last_only: bool = True,
) -> Iterator[tuple[list[int], Run]]:
    """(which cells, their run) for all cells, several to a forward pass, one after another."""
    n = len(tokens)
    here = bridge.device(model).type == "cpu" and not bridge.served(model)
    more = 1 if here else engine.MORE  # what fills an accelerator
    per_run = max(1, more * TOKENS_PER_RUN // tokens.numel())
    # In layer order, so that the variations of one run start as late as they can.
    order = sorted(
        range(len(cells)), key=lambda i: min((_layer(edit) for edit in cells[i]), default=10**6)
    )
    trail = bridge.trail(model, tokens) if len(cells) > 2 else None
    # where runs are requests, each place that is edited takes one more: a layer at a time
    layers = [min((_layer(edit) for edit in cells[i]), default=0) for i in order]
    apart = layers if bridge.elsewhere(model) else [0] * len(order)
    groups = [[i for i, _ in group] for _, group in groupby(zip(order, apart), itemgetter(1))]
    chunks = [g[k : k + per_run] for g in groups for k in range(0, len(g), per_run)]
    for chunk in progress(chunks, what):
        edits = [
            replace(edit, rows=_shift(edit.rows, i * n, n))
            for i, c in enumerate(chunk)
            for edit in cells[c]
        ]
        where = {name: p.repeat(len(chunk)) for name, p in (positions or {}).items()}
        yield (
            chunk,
            run(
                model,
                tokens.repeat(len(chunk), 1),
                edits,
                keep,
                positions=where,
                last_only=last_only,
                start=trail,
            ),
        )


def _shift(rows: slice | None, by: int, n: int) -> slice:
    """The rows of one variation among several: what an intervention edits, down the batch."""
    start, stop, step = (rows or slice(None)).indices(n)
    return slice(by + start, by + stop, step)


def _layer(edit: Intervention) -> int:
    """The layer where an intervention begins."""
    layer = Site.parse(edit.at).layer
    return layer if isinstance(layer, int) else 0


def _rows(key: str, value: Tensor, i: int, n: int) -> Tensor:
    """One variation's rows of a kept activation."""
    stars = [axis for axis in Site.parse(key).stars if axis != "pos"]
    return value.narrow(len(stars), i * n, n)


def provenance(model: Model, task: Any, method: str, started: float, **more: Any) -> dict[str, Any]:
    """What a result's metadata says of itself: model, task, method, seed, split, and seconds."""
    metadata = {
        "model": bridge.name(model),
        "method": method,
        "seconds": round(time.perf_counter() - started, 2),
    }
    if task is not None:
        metadata |= {
            "task": task.name,
            "n": len(task),
            **{k: v for k, v in task.metadata.items() if k in ("seed", "split", "answers")},
        }
        recipe = task.recipe
        if recipe.get("options") or recipe.get("make", task.name) != task.name:
            metadata["made"] = recipe
    if more.get("backend") == "hooks":
        reason = engine.why_not(model)
        if reason:
            metadata["why hooks"] = reason
    return metadata | more
