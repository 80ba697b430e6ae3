"""The inner stream of path patching, as its difference from the outer one: see `paths`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interp.engine.forward import Run, block, head_writes, mlp, window
from interp.engine.patch import Patch, overwrite, source_write, touches
from interp.engine.sweep import rows_at_once, shared
from interp.engine.weights import Engine

# A layer, and what is read there: 0 = by its attention (past the last layer: by the logits), 1 = by
# its MLP
Spot = tuple[int, int]
Senders = Sequence[Patch]


@dataclass(frozen=True)
class Job:
    """What stays the same through one call."""

    engine: Engine
    base: Run
    source: Run
    read: Callable[[Tensor], Tensor]
    through: str
    budget: float

    @property
    def end(self) -> int:
        return self.base.tokens.shape[1]

    def stream(self, spot: Spot) -> Tensor:
        """What base reads there [batch pos d_model]."""
        layer, half = spot
        if half == 1:
            return self.base["mlp_in"][layer]
        return self.base.resid if layer == self.engine.n_layers else self.base["resid_pre"][layer]


# --- the inner run, until the outer one begins ----------------------------------------------------


def _embedded(job: Job, rows: Sequence[Senders], first: int) -> Tensor:
    """Inner less base stream [row batch pos d_model] before the first layer: not zero where the
    embedding sends.
    """
    new = (job.source["resid_pre"][0] - job.base["resid_pre"][0])[:, first:]
    change = new.new_zeros(len(rows), *new.shape)
    for row, patch in in_layer(rows, 0):
        if patch.kind == "resid_pre":
            overwrite(change[row], new, patch, first, job.end)
    return change


def held_still(
    job: Job, rows: Sequence[Senders], begin: int, wanted: Sequence[Spot]
) -> dict[Spot, Tensor]:
    """Inner less base stream [row batch pos d_model] at the spots wanted, heads (and with "none"
    MLPs) held still.
    """
    engine, base, found = job.engine, job.base, {}
    chunk = rows_at_once(engine, base, job.end - begin, job.budget)
    change = _embedded(job, rows, begin)
    for number in range(wanted[-1][0] + 1):
        if (number, 0) in wanted:
            found[number, 0] = change.clone()
        if number == wanted[-1][0]:
            break
        active = sum(enters(row) <= number for row in rows)
        for lo in range(0, active, chunk):
            part = change[lo : min(lo + chunk, active)]
            z, reads, out = (
                base[kind][number][:, begin:].expand(len(part), *[-1] * base[kind][number].ndim)
                for kind in ("z", "mlp_in", "mlp_out")
            )
            senders = in_layer(rows[lo : lo + len(part)], number)
            reads = reads + part if engine.parallel else reads
            heads_send(job, number, part, z, senders)
            mlps_send(job, number, part, reads if engine.parallel else reads + part, out, senders)
    return found


def all_recomputed(
    job: Job, rows: Sequence[Senders], first: int, begin: int, wanted: Sequence[Spot]
) -> dict[Spot, Tensor]:
    """Inner less base stream [row batch pos d_model] at the spots wanted, everything recomputed."""
    engine, base = job.engine, job.base
    view, early = window(engine, first, job.end), window(engine, 0, first)
    chunk = rows_at_once(engine, base, job.end - first, job.budget)
    x = _embedded(job, rows, first)
    found = {spot: torch.zeros_like(x[:, :, begin - first :]) for spot in wanted}
    active, stop = 0, wanted[-1]

    def note(spot: Spot, lo: int, value: Tensor) -> Tensor:
        if spot in found:
            found[spot][lo : lo + len(value)] = (
                value[:, :, begin - first :] - job.stream(spot)[:, begin:]
            )
        return value

    for number in range(stop[0] + 1):
        entered = sum(enters(row) <= number for row in rows)
        x[active:entered] += job.stream((number, 0))[:, first:]
        active = entered
        note((number, 0), 0, x[:active])
        if (number, 0) == stop:
            break
        for lo in range(0, active, chunk):
            hi = min(lo + chunk, active)
            senders = [
                (row, patch)
                for row, patch in in_layer(rows[lo:hi], number)
                if patch.kind != "resid_pre"
            ]
            touch = touches(engine, base, job.source, senders)
            touch["mlp_in"] = lambda value, lo=lo, spot=(number, 1): note(spot, lo, value)
            x[lo:hi] = block(
                engine,
                engine.layers[number],
                x[lo:hi],
                view,
                shared(engine, base, number, early),
                touch,
            )
    return found


# --- what senders add to the inner stream, in place -----------------------------------------------


def heads_send(
    job: Job, number: int, change: Tensor, z: Tensor, senders: Sequence[tuple[int, Patch]]
) -> None:
    """Add to `change` what the senders among this layer's heads write in the source run minus what
    they write with the outer run's z.
    """
    first, layer = job.end - z.shape[2], job.engine.layers[number]
    if any(patch.kind == "write" for _, patch in senders):
        new = source_write(job.engine, job.source, number, tuple(job.base.tokens.shape))
        for row, patch in senders:
            if patch.kind == "write":
                own = head_writes(layer, z[row], patch.index)
                there = new(patch.index)[:, first:]
                moved = torch.zeros_like(own)
                overwrite(moved, there - own, replace(patch, index=None), first, job.end)
                change[row] += moved
    rows = sorted({row for row, patch in senders if patch.kind == "z"})
    if rows:
        new, place = z[rows], {row: k for k, row in enumerate(rows)}
        for row, patch in senders:
            if patch.kind == "z":
                overwrite(
                    new[place[row]], job.source["z"][number][:, first:], patch, first, job.end
                )
        change[rows] += (new - z[rows]).flatten(-2) @ layer.out.weight.T


def mlps_send(
    job: Job,
    number: int,
    change: Tensor,
    reads: Tensor | None,
    out: Tensor,
    senders: Sequence[tuple[int, Patch]],
) -> None:
    """Add to `change` what this layer's MLP writes in the inner stream, where it reads `reads`,
    other than `out`.
    """
    first, layer = job.end - out.shape[2], job.engine.layers[number]
    again = mlp(job.engine, layer, layer.norm2(reads)) - out if job.through == "mlps" else None
    for row, patch in senders:
        if patch.kind == "mlp_out":
            again = torch.zeros_like(out) if again is None else again
            overwrite(
                again[row],
                job.source["mlp_out"][number][:, first:] - out[row],
                patch,
                first,
                job.end,
            )
    if again is not None:
        change += again


def enters(row: Sequence[Patch]) -> int:
    """The first layer of a row's patches."""
    return min(patch.layer for patch in row)


def in_layer(rows: Sequence[Sequence[Patch]], number: int) -> list[tuple[int, Patch]]:
    """(row, patch) of the patches in one layer."""
    return [(i, patch) for i, row in enumerate(rows) for patch in row if patch.layer == number]
