"""Many edits of one finished run, as one growing batch.

`base` is the run being patched, `source` gives the replacement values. Three facts make a sweep
cheap, and none of them changes a number:

1. A causal model cannot change before the first changed position: only later positions are
   carried, and the
   keys and values before them come from `base`. Where base and source agree, a patch changes
   nothing, so positions before their first difference are skipped.
2. A patch at layer l leaves the layers below alone: its row enters at l with base's own residual.
3. Rows with the same first changed position share a batch: rows of earlier layers ride along as
   later ones enter.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp.engine.forward import Run, Window, block, keys, run_from, window
from interp.engine.patch import Patch, Source, check, first_difference, start, touches
from interp.engine.sizes import budget_of, tokens_at_once
from interp.engine.weights import Engine

PART = 4  # with `finished`, so many times that is done between two calls of it


@dataclass(frozen=True)
class _Job:
    """What stays the same through one sweep."""

    engine: Engine
    base: Run
    source: Source
    read: Callable[[Tensor], Tensor]
    budget: float
    watch: Mapping[tuple[str, int], Tensor]
    everywhere: bool = False

    def seen(self, resid: Tensor) -> Tensor:
        """What is read of a stream [row batch pos d_model]: END alone, or every position."""
        return self.engine.final_norm((resid if self.everywhere else resid[:, :, -1]).contiguous())


def watching(base: Run, kind: str, layer: int, rows: int) -> Tensor:
    """What `sweep(watch={(kind, layer): ...})` fills: base's own value at END for every row, [row
    batch ...].
    """
    return (
        _at_end(kind, base[kind][layer][None])
        .expand(rows, *_at_end(kind, base[kind][layer][None]).shape[1:])
        .clone()
    )


def _at_end(kind: str, value: Tensor) -> Tensor:
    """[row batch ...] at the last position; for scores and pattern [row batch head src], the last
    query's row.
    """
    return value[:, :, :, -1] if kind in ("scores", "pattern") else value[:, :, -1]


def _observe(job: _Job, touch: dict, number: int, rows: list[int]) -> dict:
    """The touches of a block that also note what is watched there, after any edit."""
    out = dict(touch)
    for kind, layer in job.watch:
        if layer == number:
            edit, into = out.get(kind), job.watch[kind, layer]

            def note(
                value: Tensor, kind: str = kind, edit: Any = edit, into: Tensor = into
            ) -> Tensor:
                value = value if edit is None else edit(value)
                into[rows] = _at_end(kind, value)
                return value

            out[kind] = note
    return out


def sweep(
    engine: Engine,
    base: Run,
    source: Source,
    patches: Sequence[Patch | Sequence[Patch]],
    read: Callable[[Tensor], Tensor],
    *,
    first: int | None = None,
    budget: float | None = None,
    tick: Callable[[int, int], None] | None = None,
    finished: Callable[[list[int], Tensor], None] | None = None,
    watch: Mapping[tuple[str, int], Tensor] | None = None,
    everywhere: bool = False,
) -> Tensor:
    """read(final normed residual at END) of every patched run: [patch, ...what read gives for one
    row].

    An entry of `patches` may be a sequence of Patch values: then all of them act in that one run,
    each on what the run computes there. `base` must have kept resid_pre, k and v. `source` is a Run
    of the same shape that kept the kinds patched, or a mapping kind -> one tensor per layer,
    broadcastable to base's (a mean, zeros). `read` maps [row batch d_model] to [row ...] and must
    not mix rows (see `readers`). `first` is the first position where base and source differ: found
    from the tokens of two runs, 0 for a mapping. `budget` bounds the working memory in bytes.
    `tick(done, total)` is called as rows finish; an exception in it stops the sweep.
    `finished(rows, values)` is given the places of the rows just finished and what was read of
    them; with it the sweep goes in smaller parts, so that little is lost when it is stopped.
    `watch` maps (kind, layer) to a tensor [patch batch ...] that is filled with that activation at
    END (for `scores` and `pattern`: the row of END) in every patched run; see `watching`.
    `everywhere`: `read` is given every position, [row batch pos d_model], for what is measured on a
    whole text.

    Example:
        >>> keep = ("resid_pre", "k", "v", "z")
        >>> base, source = run(engine, corrupted, keep), run(engine, clean, keep)
        >>> every = product(range(engine.n_layers), range(engine.n_heads))
        >>> heads = [Patch("z", layer, head) for layer, head in every]
        >>> sweep(engine, base, source, heads, columns(engine, answers)).shape  # patch batch answer
        torch.Size([270, 16, 1])
    """
    budget = budget_of(engine.device) if budget is None else budget
    rows = [(entry,) if isinstance(entry, Patch) else tuple(entry) for entry in patches]
    for patch in (p for row in rows for p in row):
        check(engine, base, patch)
    if everywhere:
        first = 0  # nothing is left out, as positions before the first change are read too
    if first is None:
        first = first_difference(base.tokens, source.tokens) if isinstance(source, Run) else 0
    job, end = (
        _Job(engine, base, source, read, budget, watch or {}, everywhere),
        base.tokens.shape[1],
    )
    groups: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        begin = min((start(patch, first, end) for patch in row), default=end)
        begin = 0 if everywhere and begin < end else begin
        groups.setdefault(begin, []).append(i)
    with torch.no_grad():
        same = read(job.seen(base.resid[None]))[0]
        out = same.expand(len(rows), *same.shape).clone()
        same_rows = groups.pop(end, [])  # nothing changes in these: the baseline, exactly
        done = len(same_rows)
        if finished is not None and same_rows:
            finished(same_rows, out[same_rows])
        for begin, members in sorted(groups.items()):
            members.sort(key=lambda i: _enters(rows[i]))
            size = _rows_held(job, begin)
            if finished is not None:
                size = min(size, PART * rows_at_once(engine, base, end - begin, budget))
            for some in _parts(members, size):
                out[some] = _wave(job, [rows[i] for i in some], begin, some)
                done += len(some)
                if finished is not None:
                    finished(some, out[some])
                if tick is not None:
                    tick(done, len(rows))
    return out


def ablate_sets(
    engine: Engine,
    base: Run,
    source: Source,
    sets: Sequence[Iterable[tuple[int, int]]],
    read: Callable[[Tensor], Tensor],
    **options: Any,
) -> Tensor:
    """read(...) [set ...] with the z of every (layer, head) of a set replaced at once by the
    source's; see `sweep`.

    Example:
        >>> sets, read = [{(10, 7), (23, 3)}, set()], columns(engine, answers)
        >>> ablate_sets(engine, base, zeros(engine, "z"), sets, read).shape
        torch.Size([2, 16, 1])
    """
    rows = [[Patch("z", layer, head) for layer, head in sorted(chosen)] for chosen in sets]
    return sweep(engine, base, source, rows, read, **options)


def from_layer(engine: Engine, base: Run, layer: int, resid: Tensor, first: int = 0) -> Tensor:
    """The final normed residual at END [row batch d_model] when the stream entering `layer` is
    replaced.

    `resid` [row batch pos d_model] holds the new stream at positions first, first + 1, ...; earlier
    positions are base's. `layer` may be n_layers: then only the final norm remains.
    """
    batch, end = base.tokens.shape
    if tuple(resid.shape[1:]) != (batch, end - first, engine.d_model):
        raise ValueError(
            f"resid is [row batch pos d_model] with batch {batch}, pos {end - first} (positions"
            f" {first}..{end - 1}) and d_model {engine.d_model}, got {tuple(resid.shape)}"
        )
    view, early = window(engine, first, end), window(engine, 0, first)
    with torch.no_grad():
        x = run_from(
            engine,
            resid,
            view,
            layer,
            prefix=lambda n: shared(engine, base, n, early),
            end_only=True,
        )
        return engine.final_norm(x[:, :, -1])


def shared(engine: Engine, base: Run, layer: int, early: Window) -> tuple[Tensor, Tensor] | None:
    """Rotated keys and values [batch pos kv_head d_head] of base in the window `early`, for
    `block`; None if empty.
    """
    count = len(early.hidden)
    if not count:
        return None
    k, v = base["k"][layer][:, :count], base["v"][layer][:, :count]
    return keys(engine.layers[layer], k, early), v


def _wave(job: _Job, rows: list[tuple[Patch, ...]], begin: int, members: list[int]) -> Tensor:
    """read(...) of rows sorted by their first layer, all first changed at position `begin` or
    later.

    Args:
        members: The rows' places in the sweep, for what is watched.
    """
    engine, base = job.engine, job.base
    batch, end = base.tokens.shape
    view, early = window(engine, begin, end), window(engine, 0, begin)
    chunk = rows_at_once(engine, base, end - begin, job.budget)
    edits: dict[int, list[tuple[int, Patch]]] = {}
    for i, row in enumerate(rows):
        for patch in row:
            edits.setdefault(patch.layer, []).append((i, patch))
    x = base.resid.new_empty(len(rows), batch, end - begin, engine.d_model)
    active = 0
    for number in range(_enters(rows[0]), engine.n_layers):
        entered = active + sum(_enters(row) == number for row in rows[active:])
        x[active:entered] = base["resid_pre"][number][:, begin:]
        active, last = entered, number == engine.n_layers - 1 and not job.everywhere
        before, here = shared(engine, base, number, early), edits.get(number, [])
        for lo in range(0, active, chunk):
            hi = min(lo + chunk, active)
            touch = touches(
                engine, base, job.source, ((i - lo, p) for i, p in here if lo <= i < hi)
            )
            touch = _observe(job, touch, number, members[lo:hi])
            y = block(engine, engine.layers[number], x[lo:hi], view, before, touch, last)
            kept = x[lo:hi, :, -1:] if last else x[lo:hi]  # the last block computes END alone
            kept.copy_(y)
    parts = [job.read(job.seen(x[lo : lo + chunk])) for lo in range(0, len(rows), chunk)]
    return torch.cat(parts)


def _enters(row: Sequence[Patch]) -> int:
    return min(patch.layer for patch in row)


def _parts(members: list[int], size: int) -> Iterator[list[int]]:
    return (members[i : i + size] for i in range(0, len(members), size))


def _rows_held(job: _Job, begin: int) -> int:
    """How many rows' residual streams fit in half the budget."""
    batch, end = job.base.tokens.shape
    each = job.engine.itemsize * batch * (end - begin) * job.engine.d_model
    return max(1, int(job.budget / 2 / each))


def rows_at_once(engine: Engine, base: Run, pos: int, budget: float) -> int:
    """How many rows go through a block together: as fit in half the budget, and no more than is
    fast.
    """
    batch, end = base.tokens.shape
    floats = 8 * engine.d_model + 3 * engine.d_mlp + 4 * engine.n_heads * end
    fits = budget / 2 / (engine.itemsize * batch * pos * floats)
    return max(1, min(int(fits), tokens_at_once(engine.device) // (batch * pos)))
