"""One replacement of one activation, and how it acts on a block's activations while they pass."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interp._errors import unknown
from interp.engine.forward import KINDS, Run, Writes
from interp.engine.weights import Engine

Source = Run | Mapping[str, Sequence[Tensor]]


@dataclass(frozen=True, eq=False, slots=True)
class Patch:
    """Replace one activation by the source's: a kind, a layer, a head (or neuron of `post`),
    positions.

    `index` None means every head. `pos` None means every position; a tensor of integers [batch]
    gives one per prompt, a boolean one [batch pos] any set. For `scores` and `pattern` the position
    is the query's. `block` [batch dest src], for `scores`: nothing is replaced, these scores become
    minus infinity. `write` is what one head adds to the stream, of which a source run needs its z
    alone: the same as `z` where no norm comes after attention.

    Example:
        >>> Patch("z", 10, 7)                            # head 7 of layer 10 at all positions
        >>> Patch("resid_pre", 5, pos=-1)  # the residual entering layer 5 at the last position
        >>> Patch("k", 3, 1, pos=torch.tensor([4, 5]))   # KV head 1, one position per prompt
        >>> Patch("scores", 3, block=edges)  # no source: these queries no longer see these keys
    """

    kind: str
    layer: int
    index: int | None = None
    pos: int | Tensor | None = None
    block: Tensor | None = None


def check(engine: Engine, base: Run, patch: Patch) -> None:
    """Nothing, or a ValueError that says what is right: kind, layer, head and position all
    exist.
    """
    if patch.kind not in KINDS:
        raise unknown("kind of activation", patch.kind, KINDS, "Patch('z', 10, 7)")
    if patch.kind == "resid_mid" and engine.parallel:
        raise ValueError(
            "this model has no resid_mid: its attention and MLP read the same residual (try"
            " resid_pre)"
        )
    if not 0 <= patch.layer < engine.n_layers:
        raise ValueError(
            f"layer {patch.layer} of {patch.kind!r}: layers are 0..{engine.n_layers - 1}"
        )
    count = _count(engine, patch.kind)
    if patch.index is not None and not 0 <= patch.index < count:
        if count == 0:
            raise ValueError(f"{patch.kind!r} has no heads: leave the index out, got {patch.index}")
        what = (
            "KV heads"
            if patch.kind in ("k", "v")
            else "neurons"
            if patch.kind == "post"
            else "heads"
        )
        raise ValueError(f"index {patch.index} of {patch.kind!r}: {what} are 0..{count - 1}")
    batch, end = base.tokens.shape
    if patch.block is not None:
        _check_block(patch, batch, end)
    if isinstance(patch.pos, int) and not -end <= patch.pos < end:
        raise ValueError(
            f"position {patch.pos}: prompts have positions 0..{end - 1} (or -1 for the last)"
        )
    if isinstance(patch.pos, Tensor):
        wanted = (batch, end) if patch.pos.dtype == torch.bool else (batch,)
        if tuple(patch.pos.shape) != wanted:
            raise ValueError(
                f"pos is one integer per prompt [{batch}] or a boolean [{batch} {end}], got"
                f" {tuple(patch.pos.shape)}"
            )
        if patch.pos.dtype != torch.bool and not bool(
            ((patch.pos >= -end) & (patch.pos < end)).all()
        ):
            raise ValueError(f"positions {patch.pos.tolist()}: prompts have positions 0..{end - 1}")


def _check_block(patch: Patch, batch: int, end: int) -> None:
    if patch.kind != "scores" or patch.pos is not None:
        raise ValueError(
            f"block is for 'scores', without pos (it has its own queries), got {patch.kind!r}, pos"
            f" {patch.pos}"
        )
    if patch.block.dtype != torch.bool or tuple(patch.block.shape) != (batch, end, end):
        raise ValueError(
            f"block is a boolean [{batch} {end} {end}], got {patch.block.dtype}"
            f" {tuple(patch.block.shape)}"
        )
    if not bool((~patch.block).tril().any(-1).all()):
        raise ValueError("block leaves a query with nothing to attend to: keep at least one key")


def start(patch: Patch, first: int, length: int) -> int:
    """The first position, from `first` on, that a patch can change; `length` where it changes
    none.
    """
    if patch.block is not None:
        return _first_of(patch.block.any(-1), first, length)
    if patch.pos is None:
        return first
    if isinstance(patch.pos, int):
        at = patch.pos % length
        return at if at >= first else length
    if patch.pos.dtype != torch.bool:
        at = patch.pos % length
        return min(at[at >= first].tolist(), default=length)
    return _first_of(patch.pos, first, length)


def _first_of(chosen: Tensor, first: int, length: int) -> int:
    touched = chosen[:, first:].any(0).nonzero()
    return first + int(touched[0]) if len(touched) else length


def touches(
    engine: Engine, base: Run, source: Source, patches: Iterable[tuple[int, Patch]]
) -> dict[str, Callable[[Tensor], Tensor]]:
    """The `touch` of one block for these (row, patch) pairs of its layer: each edits its row in
    place.
    """
    by_kind: dict[str, list[tuple[int, Patch]]] = {}
    for row, patch in patches:
        by_kind.setdefault(patch.kind, []).append((row, patch))
    return {
        kind: (_writes_editor if kind == "write" else _editor)(engine, base, source, some)
        for kind, some in by_kind.items()
    }


def source_write(
    engine: Engine, source: Source, layer: int, shape: tuple[int, ...]
) -> Callable[[int], Tensor]:
    """A function from a head to what it writes in the source [batch pos d_model]; shape: (batch,
    pos) of the base run.
    """
    if isinstance(source, Run):
        z, block = source["z"][layer], engine.layers[layer]
        raw = z if block.after_attn is None else block.out(z.flatten(-2))
        return Writes(block, z, raw, raw).of
    given = _values(source, "write", layer)
    if given.ndim:
        given = given.expand(*shape, *given.shape[-2:])
        return lambda head: given[:, :, head]
    return lambda head: given.expand(*shape, engine.d_model)


def _writes_editor(
    engine: Engine, base: Run, source: Source, patches: list[tuple[int, Patch]]
) -> Callable[[Writes], Tensor]:
    layer, (batch, end) = patches[0][1].layer, base.tokens.shape
    new = source_write(engine, source, layer, (batch, end))

    def edit(writes: Writes) -> Tensor:
        total, first = writes.total, end - writes.total.shape[2]
        for row, patch in patches:
            for head in range(engine.n_heads) if patch.index is None else (patch.index,):
                own = writes.of(head, row)
                changed, there = own.clone(), new(head).to(own)
                overwrite(changed, there[:, first:], replace(patch, index=None), first, end)
                total[row] += changed - own  # in place is safe: the block's own fresh tensor
        return total

    return edit


def zeros(engine: Engine, *kinds: str) -> dict[str, list[Tensor]]:
    """A source of zeros for these kinds: zero ablation."""
    return {kind: [torch.zeros((), device=engine.device)] * engine.n_layers for kind in kinds}


def first_difference(a: Tensor, b: Tensor) -> int:
    """The first position at which any prompt of a and b [batch pos] differs; the length where none
    does.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"base and source must have tokens of one shape, got {tuple(a.shape)} and"
            f" {tuple(b.shape)}"
        )
    differs = (a != b).any(0).nonzero()
    return int(differs[0]) if len(differs) else a.shape[1]


def _editor(
    engine: Engine, base: Run, source: Source, patches: list[tuple[int, Patch]]
) -> Callable[[Tensor], Tensor]:
    kind, layer = patches[0][1].kind, patches[0][1].layer
    batch, end = base.tokens.shape
    by_head = kind in (
        "scores",
        "pattern",
    )  # [.. head dest src]: the position is not the first axis

    blocks = [(row, patch) for row, patch in patches if patch.block is not None]
    patches = [(row, patch) for row, patch in patches if patch.block is None]

    def edit(value: Tensor) -> Tensor:
        # in place is safe: every activation handed to a touch is the block's own fresh tensor
        if patches:
            new = _values(source, kind, layer)
            shape = (batch, engine.n_heads, end, end) if by_head else (batch, end, *value.shape[3:])
            try:
                new = new.to(value).expand(shape)
            except RuntimeError:
                raise ValueError(
                    f"the source's {kind!r} at layer {layer} has shape {tuple(new.shape)}, which"
                    f" does not fit {shape}"
                ) from None
            new = new.transpose(1, 2) if by_head else new
            carried = value.shape[3] if by_head else value.shape[2]
            new = new[:, end - carried :]
        for row, patch in patches:
            old = value[row].transpose(1, 2) if by_head else value[row]
            overwrite(old, new, patch, end - carried, end)
        for row, patch in blocks:
            heads = slice(None) if patch.index is None else slice(patch.index, patch.index + 1)
            unseen = patch.block[:, None, -value.shape[3] :].to(value.device)
            value[row, :, heads].masked_fill_(unseen, float("-inf"))
        return value

    return edit


def overwrite(old: Tensor, new: Tensor, patch: Patch, first: int, end: int) -> None:
    """Write new into old, both [batch pos ...] from position `first` of `end`, where the patch
    says.
    """
    if patch.index is not None:
        old, new = old[:, :, patch.index], new[:, :, patch.index]
    if patch.pos is None:
        old.copy_(new)
    elif isinstance(patch.pos, int):
        at = patch.pos % end - first
        if at >= 0:
            old[:, at] = new[:, at]
    else:
        chosen = patch.pos.to(old.device)
        if chosen.dtype != torch.bool:
            chosen = torch.arange(end, device=old.device) == (chosen % end)[:, None]
        chosen = chosen[:, first:].view(*old.shape[:2], *[1] * (old.ndim - 2))
        old.copy_(torch.where(chosen, new, old))


def _values(source: Source, kind: str, layer: int) -> Tensor:
    if not isinstance(source, Run) and kind not in source:
        raise ValueError(
            f"the source has no {kind!r} (it has {', '.join(sorted(source)) or 'nothing'})"
        )
    return torch.as_tensor(source[kind][layer])


def _count(engine: Engine, kind: str) -> int:
    """How many indices a kind has: heads, KV heads or neurons; 0 for the stream."""
    if kind in ("k", "v"):
        return engine.n_kv_heads
    if kind == "post":
        return engine.d_mlp
    return engine.n_heads if kind in ("q", "z", "write", "scores", "pattern") else 0
