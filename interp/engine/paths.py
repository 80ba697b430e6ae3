"""Path patching: what a change of some senders does when only some receivers may see it.

Two streams travel through the layers. In the OUTER run nothing is changed but what the receivers
read: they read the INNER stream. In the inner stream the senders write what they wrote in the
source run, and between them and the receivers

    through "none"   every other component writes what it writes in the outer run
    through "mlps"   so do the heads, but the MLPs are recomputed from the inner stream
    through "all"    everything is recomputed from the inner stream

Until the first receiver the outer run is the base run and need not be run. The inner stream is
carried as its difference from the outer one: what a head adds to it is what it writes in the source
minus what it writes here, (source z - z) @ W_O where no norm comes after attention. With "none" and
"mlps" a position never changes another, so only positions that a receiver reads are carried. A row
of the batch is one set of senders; cells that share it share its inner run.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from interp._errors import unknown
from interp.engine.forward import NO_TOUCH, Run, Touch, project, run_from, window
from interp.engine.inner_run import (
    Job,
    Spot,
    all_recomputed,
    enters,
    heads_send,
    held_still,
    in_layer,
    mlps_send,
)
from interp.engine.patch import Patch, check, first_difference, overwrite, start
from interp.engine.sizes import budget_of
from interp.engine.sweep import rows_at_once, shared
from interp.engine.weights import Engine

THROUGH = ("none", "mlps", "all")
KEEP = (
    "resid_pre",
    "k",
    "v",
    "z",
    "mlp_in",
    "mlp_out",
)  # what the two runs of `paths` must have kept
SENDERS, RECEIVERS = (
    ("resid_pre", "z", "write", "mlp_out"),
    ("attn_in", "q", "k", "v", "mlp_in", "resid_post"),
)

Cell = tuple[tuple[Patch, ...], tuple[Patch, ...]]


def paths(
    engine: Engine,
    base: Run,
    source: Run,
    cells: Sequence[Cell],
    read: Callable[[Tensor], Tensor],
    *,
    through: str = "none",
    budget: float | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Tensor:
    """read(final normed residual at END) of every path-patched run: [cell, ...what read gives for
    one row].

    A cell is (senders, receivers). Senders: "z" (a head; "write" where a norm comes after
    attention), "mlp_out", "resid_pre" of layer 0 (the embedding). Receivers: "q", "k", "v" (that
    head's own input), "attn_in", "mlp_in", "resid_post" of the last layer (the logits' input).
    Positions of senders say where the source's value is put, those of receivers where the inner
    stream is read. `read`, `budget` and `tick` are those of `sweep`.

    Example:
        >>> cell = (Patch("z", 10, 7),), (Patch("q", 23, 3, pos=-1),)
        >>> base, source = run(engine, corrupted, KEEP), run(engine, clean, KEEP)
        >>> paths(engine, base, source, [cell], columns(engine, answers), through="mlps").shape
        torch.Size([1, 16, 1])
    """
    if through not in THROUGH:
        raise unknown("through", through, THROUGH)
    for kinds, side in ((SENDERS, 0), (RECEIVERS, 1)):
        for patch in {p for cell in cells for p in cell[side]}:
            _check(engine, base, patch, kinds)
    budget = budget_of(engine.device) if budget is None else budget
    job = Job(engine, base, source, read, through, budget)
    groups = _groups(job, cells)
    with torch.no_grad():
        same = read(engine.final_norm(base.resid[:, -1])[None])[0]
        out = same.expand(len(cells), *same.shape).clone()
        done = len(cells) - sum(
            map(len, groups.values())
        )  # nothing changes in these: the baseline, exactly
        for (first, begin), members in sorted(groups.items()):
            for some, values in _group(job, cells, members, first, begin):
                out[some] = values
                done += len(some)
                if tick is not None:
                    tick(done, len(cells))
    return out


def _check(engine: Engine, base: Run, patch: Patch, kinds: Sequence[str]) -> None:
    check(engine, base, patch)
    needs = {"resid_pre": 0, "resid_post": engine.n_layers - 1}.get(patch.kind, patch.layer)
    wrong_head = patch.kind in ("z", "write") and patch.kind != engine.head_kind
    if wrong_head or patch.kind not in kinds or patch.layer != needs:
        what = "senders" if kinds is SENDERS else "receivers"
        kinds = [k for k in kinds if k not in ("z", "write") or k == engine.head_kind]
        raise ValueError(
            f"{patch.kind!r} of layer {patch.layer}: {what} are {', '.join(kinds)} "
            "(resid_pre of the first layer, resid_post of the last)"
        )


def _groups(job: Job, cells: Sequence[Cell]) -> dict[tuple[int, int], list[int]]:
    """Cells by the first positions that their inner and their outer run carry; without those that
    change nothing.
    """
    differ = first_difference(job.base.tokens, job.source.tokens)

    # only END is read from the last residual
    def earliest(patches):
        return min(
            (
                start(p, max(differ, job.end - 1) if p.kind == "resid_post" else differ, job.end)
                for p in patches
            ),
            default=job.end,
        )

    known: dict[tuple[Patch, ...], int] = {}
    groups: dict[tuple[int, int], list[int]] = {}
    for i, cell in enumerate(cells):
        sent, read = (
            known.setdefault(side, earliest(side)) if side not in known else known[side]
            for side in cell
        )
        begin = max(sent, read)
        if begin < job.end:  # only attention carries a change from one position to another
            groups.setdefault((sent if job.through == "all" else begin, begin), []).append(i)
    return groups


def _group(
    job: Job, cells: Sequence[Cell], members: Sequence[int], first: int, begin: int
) -> Iterator[tuple[list[int], Tensor]]:
    """The values of cells whose inner runs carry positions from `first` on and outer runs from
    `begin` on.
    """
    sent: dict[tuple[Patch, ...], list[int]] = {}
    for i in members:
        sent.setdefault(cells[i][0], []).append(i)
    rows = sorted(sent, key=enters)
    wanted = sorted({spot for i in members for spot in _spots(job, cells[i])})
    floats = len(job.base.tokens) * job.engine.d_model * (job.end - first) * (1 + len(wanted))
    size = max(1, int(job.budget / 2 / (job.engine.itemsize * floats)))
    chunk = rows_at_once(job.engine, job.base, job.end - begin, job.budget)
    for lo in range(0, len(rows), size):
        part = rows[lo : lo + size]
        every = job.through == "all"
        changes = (
            all_recomputed(job, part, first, begin, wanted)
            if every
            else held_still(job, part, begin, wanted)
        )
        row = {senders: k for k, senders in enumerate(part)}
        todo = sorted(
            (i for senders in part for i in sent[senders]), key=lambda i: _entry(job, cells[i])
        )
        for some in _chunks(job, cells, todo, chunk):
            at = [row[cells[i][0]] for i in some]

            def of_rows(spot: Spot, changes=changes, at=at) -> Tensor:
                return changes[spot][at]

            yield some, _outer(job, [cells[i] for i in some], begin, of_rows)


def _chunks(job: Job, cells: Sequence[Cell], todo: list[int], size: int) -> Iterator[list[int]]:
    """Runs of cells that enter at one layer, at most `size` at a time."""
    some: list[int] = []
    for i in todo:
        if some and (len(some) == size or _entry(job, cells[i]) != _entry(job, cells[some[0]])):
            yield some
            some = []
        some.append(i)
    if some:
        yield some


# --- the outer run, from the first receiver on ----------------------------------------------------


def _outer(
    job: Job, cells: Sequence[Cell], begin: int, changes: Callable[[Spot], Tensor]
) -> Tensor:
    """read(...) of cells that enter at one layer. changes(spot): inner less base stream there, for
    these cells.
    """
    engine, base = job.engine, job.base
    view, early = window(engine, begin, job.end), window(engine, 0, begin)
    at = _entry(job, cells[0])
    until = max(_spot(job, patch) for _, receivers in cells for patch in receivers)
    x = job.stream((at, 0))[:, begin:].repeat(len(cells), 1, 1, 1)
    change = None if job.through == "all" else changes((at, 0))

    def seen(spot: Spot, outer: Tensor) -> Tensor:
        """What the inner stream is where the outer one is `outer`."""
        if change is not None:
            return outer + change[:, :, -outer.shape[2] :]
        return (job.stream(spot)[:, begin:] + changes(spot))[:, :, -outer.shape[2] :]

    def edits(number: int, x: Tensor) -> Touch:
        touch: Touch = NO_TOUCH
        if (number, 0) <= until:
            touch = _receive(job, number, x, cells, seen)
        if (number, 0) < until and change is not None:
            touch = _carry(job, number, change, cells, touch)
        return touch

    def prefix(number: int) -> tuple[Tensor, Tensor] | None:
        return shared(engine, base, number, early)

    x = run_from(engine, x, view, at, prefix=prefix, touch=edits, end_only=True)
    x = x[:, :, -1:].contiguous()
    logits = [
        (row, patch)
        for row, patch in _receivers(cells, engine.n_layers - 1)
        if patch.kind == "resid_post"
    ]
    if logits:
        _put(job, x, seen((engine.n_layers, 0), x), logits)
    return job.read(engine.final_norm(x[:, :, 0]))


def _receive(
    job: Job, number: int, x: Tensor, cells: Sequence[Cell], seen: Callable[[Spot, Tensor], Tensor]
) -> dict:
    """The touches of a block that let its receivers read the inner stream. x: the outer stream
    before the block.
    """
    kinds: dict[str, list[tuple[int, Patch]]] = {}
    for row, patch in _receivers(cells, number):
        kinds.setdefault(patch.kind, []).append((row, patch))
    given: dict[str, Callable[[Tensor], Tensor]] = {}
    if kinds.keys() & {"attn_in", "q", "k", "v"}:
        layer, inner = job.engine.layers[number], seen((number, 0), x)
        own = dict(zip("qkv", project(job.engine, layer, layer.norm1(inner))), attn_in=inner)
        given = {kind: lambda outer, kind=kind: own[kind] for kind in own}
    given["mlp_in"] = lambda outer: seen((number, 1), outer)
    return {
        kind: _putter(job, given[kind], pairs) for kind, pairs in kinds.items() if kind in given
    }


def _putter(
    job: Job, given: Callable[[Tensor], Tensor], pairs: Sequence[tuple[int, Patch]]
) -> Callable:
    return lambda outer: _put(job, outer, given(outer), pairs)


def _put(job: Job, outer: Tensor, inner: Tensor, pairs: Sequence[tuple[int, Patch]]) -> Tensor:
    """The outer values [row batch pos ...] with the inner ones where each row's receivers say, in
    place.
    """
    for row, patch in pairs:
        overwrite(outer[row], inner[row], patch, job.end - outer.shape[2], job.end)
    return outer


def _carry(job: Job, number: int, change: Tensor, cells: Sequence[Cell], touch: Touch) -> dict:
    """The touches of a block that also take `change`, inner less outer stream, through it (in
    place).
    """
    parallel, senders = job.engine.parallel, in_layer([senders for senders, _ in cells], number)
    before, reads = change.clone(), change

    def at_z(z: Tensor) -> Tensor:
        heads_send(job, number, change[:, :, -z.shape[2] :], z, senders)
        return z

    def at_mlp_in(outer: Tensor) -> Tensor:
        nonlocal reads
        reads = outer + (before if parallel else change)[:, :, -outer.shape[2] :]
        return _put(
            job,
            outer,
            reads,
            [(row, patch) for row, patch in _receivers(cells, number) if patch.kind == "mlp_in"],
        )

    def at_mlp_out(out: Tensor) -> Tensor:
        mlps_send(job, number, change[:, :, -out.shape[2] :], reads, out, senders)
        return out

    return {**touch, "z": at_z, "mlp_in": at_mlp_in, "mlp_out": at_mlp_out}


# --- small facts ----------------------------------------------------------------------------------


def _receivers(cells: Sequence[Cell], number: int) -> list[tuple[int, Patch]]:
    return in_layer([receivers for _, receivers in cells], number)


def _spot(job: Job, receiver: Patch) -> Spot:
    """Where a receiver reads."""
    if receiver.kind == "resid_post":
        return job.engine.n_layers, 0
    return receiver.layer, int(receiver.kind == "mlp_in")


def _entry(job: Job, cell: Cell) -> int:
    """The layer at which a cell's outer run begins."""
    return min(_spot(job, patch) for patch in cell[1])[0]


def _spots(job: Job, cell: Cell) -> set[Spot]:
    """Where the change of a cell's inner run has to be known when its outer run begins."""
    if job.through == "all":
        return {_spot(job, patch) for patch in cell[1]}
    return {(_entry(job, cell), 0)}
