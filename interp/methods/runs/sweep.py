"""Many small variations of one run: the loop that patching and ablation share."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import _interrupts, engine
from interp._errors import unknown
from interp._progress import progress
from interp._types import Model
from interp.edits import add
from interp.interventions import Intervention, Run, run
from interp.methods.runs import checkpoint, engine_sweep
from interp.methods.runs.metrics import check_shape
from interp.models import bridge
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
    if backend == "engine":
        nothing = engine_sweep.sweep_by_engine(
            engine.find(model), tokens, _no_source, [[]], metric, positions, nullcontext(), added
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
    edits: Callable[[], Sequence[Cell]],
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
        edits: The same variations as interventions, built only when the hooks run.
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
    _say_size(base, len(groups), what, ledger is not None)
    ledger = ledger or checkpoint.ledger(None, torch.empty(len(base), device=bridge.device(model)))
    cells: list[Cell] = []

    def fill(which: list[int], note: Callable[[list[int], Tensor], None]) -> None:
        """Runs these variations; each part is in `values` as soon as it is finished."""
        nonlocal cells

        def done(rows: list[int], out: Tensor) -> None:
            values[[which[row] for row in rows]] = out
            note(rows, out)

        if engine_model is None:
            cells = cells or [[*_start(added), *cell] for cell in edits()]
            chosen = [cells[i] for i in which]
            sweep_by_hooks(model, base, chosen, metric, positions, what, done)
        else:
            bar, chosen_groups = progress(None, what, total=len(which)), [groups[i] for i in which]
            engine_sweep.sweep_by_engine(
                engine_model, base, source, chosen_groups, metric, positions, bar, added, done
            )

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


def _say_size(base: Tensor, cells: int, what: str, kept: bool) -> None:
    """A warning before a sweep that will take long: how many runs of how many tokens it is."""
    if cells * base.numel() < LONG:
        return
    advice = "" if kept else "; resume='sweep.npz' keeps what is finished"
    warnings.warn(
        f"{what}: {cells:,} runs of {base.numel():,} tokens, {cells * base.numel():,} in all, and"
        f" an answer of {16 * cells * len(base) / 2**20:,.1f} MB (fewer positions or layers make it"
        f" smaller{advice})",
        stacklevel=4,
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
    more = 1 if bridge.device(model).type == "cpu" else engine.MORE  # what fills an accelerator
    per_run = max(1, more * TOKENS_PER_RUN // tokens.numel())
    # In layer order, so that the variations of one run start as late as they can.
    order = sorted(
        range(len(cells)), key=lambda i: min((_layer(edit) for edit in cells[i]), default=10**6)
    )
    trail = bridge.trail(model, tokens) if len(cells) > 2 else None
    for first in progress(range(0, len(order), per_run), what):
        chunk = order[first : first + per_run]
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
