"""Edges: every sender's write as every receiver reads it, in one forward pass and without a hook on
an edge.

The stream that a receiver reads is a sum of writes. So a run in which each receiver sees some
senders as they are and the others as in another run needs, per receiver, one weighted sum:

    read[r] = other stream at r + sum over senders s of weight[s, r] * (now[s] - other[s])

weight 1 keeps an edge and 0 cuts it. All receivers of a layer together are one matrix product. A
sender that no receiver keeps is never computed, and positions before the first difference of the
two runs are never carried.

The slope of a number in what a receiver reads needs no edge either: one plain forward and backward
gives slopes at q, k, v and the MLP's input, and W_Q, W_K, W_V and the norm's Jacobian carry them
back to the stream.

Senders in forward order: embed, then each layer's heads and MLP. Receivers: each layer's q (one a
head), k and v (one a KV head) and MLP, then the logits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp.dims import Graph
from interp.engine.forward import Run, Window, embed, head_writes, keys, mlp, turned, unseen, window
from interp.engine.gradients import pull, record
from interp.engine.sizes import budget_of
from interp.engine.weights import Engine, Layer, Norm, soft_cap

PARTS_TOGETHER = 10  # five layers' queries, keys, values and MLPs in one product

KEEP = (
    "resid_pre",
    "k",
    "v",
    "z",
    "mlp_in",
    "mlp_out",
)  # what the runs handed in here must have kept


def graph(engine: Engine) -> Graph:
    """The senders and receivers of an engine's model."""
    return Graph(engine.n_layers, engine.n_heads, engine.n_kv_heads, engine.parallel)


@dataclass(frozen=True)
class Other:
    """What cut edges carry: every sender's write, and the stream they add up to in front of each
    layer.

    writes [sender batch pos d_model];

    Attributes:
        pre and mid: One [batch pos d_model] a layer.
        last: Before the final norm.
        keys, values: One [batch pos kv_head d_head] a layer, or None where no position is left out
            (first = 0).
    """

    writes: Tensor
    pre: Sequence[Tensor]
    mid: Sequence[Tensor]
    last: Tensor
    keys: Sequence[Tensor] | None = None
    values: Sequence[Tensor] | None = None


def writes(engine: Engine, run: Run, first: int = 0) -> Tensor:
    """What every sender writes in a run that kept KEEP, from position `first` on: [sender batch pos
    d_model].
    """
    g, (batch, end) = graph(engine), run.tokens.shape
    out = run.resid.new_empty(g.n_senders, batch, end - first, engine.d_model)
    out[0] = run["resid_pre"][0][:, first:]
    for number, layer in enumerate(engine.layers):
        if layer.after_attn is None:
            z = run["z"][number][:, first:].permute(2, 0, 1, 3).flatten(1, 2)
            out[g.heads(number)] = torch.bmm(z, layer.heads_out(engine.n_heads)).view(
                engine.n_heads, batch, end - first, -1
            )
        else:
            out[g.heads(number)] = head_writes(layer, run["z"][number][:, first:]).movedim(-2, 0)
        out[g.heads(number).stop] = run["mlp_out"][number][:, first:]
    return out


def of_run(engine: Engine, run: Run, first: int = 0) -> Other:
    """Another run as what cut edges carry (resample ablation); the two runs agree before position
    `first`.
    """

    def cut(kind):
        return [value[:, first:] for value in run[kind]]

    return Other(
        writes(engine, run, first),
        cut("resid_pre"),
        cut("mlp_in"),
        run.resid[:, first:],
        run["k"],
        run["v"],
    )


def of_writes(engine: Engine, given: Tensor) -> Other:
    """Given writes [sender batch pos d_model] (means, zeros) as what cut edges carry."""
    g, pre, mid = graph(engine), [], []
    x = given[0]
    for number, layer in enumerate(engine.layers):
        pre.append(x)
        attn = given[g.heads(number)].sum(0)
        after = x + (attn if layer.out.bias is None else attn + layer.out.bias)
        mid.append(x if engine.parallel else after)
        x = after + given[g.heads(number).stop]
    return Other(given, pre, mid, x)


def _projections(engine: Engine, layer: Layer) -> list[tuple[Tensor, Tensor | None]]:
    """W_Q, W_K, W_V as [head d_head d_model] and their biases [head d_head]."""
    if engine.qkv_layout == "separate":
        parts = [(part.weight, part.bias) for part in layer.qkv]

        def by_head(x):
            return x.view(-1, engine.d_head, *x.shape[1:])

        return [(by_head(w), None if b is None else by_head(b)) for w, b in parts]
    axis = 0 if engine.qkv_layout == "blocks" else 1
    shape = (3, engine.n_heads, engine.d_head) if axis == 0 else (engine.n_heads, 3, engine.d_head)

    def split(x):
        return x.reshape(*shape, *x.shape[1:]).unbind(axis)

    bias = layer.qkv[0].bias
    return list(
        zip(split(layer.qkv[0].weight), (None, None, None) if bias is None else split(bias))
    )


# --- slopes at what receivers read ----------------------------------------------------------------


def slopes(
    engine: Engine,
    tokens: Tensor,
    read: Callable[[Tensor], Tensor],
    *,
    resid: Tensor | None = None,
    base: Run | None = None,
    first: int = 0,
    layer: int = 0,
    touch: dict[str, Callable[[Tensor], Tensor]] | None = None,
) -> list[Tensor]:
    """The slope of read's value in what each receiver reads, summed over rows: a list of [receiver
    batch pos d_model].

    One entry a layer (its q, k, v and MLP, in that order), from `layer` on, and a last one for the
    logits. resid [row batch pos d_model] enters `layer` in place of the embedding (rows: the points
    of an integral);

    Args:
        touch: Edits in that first layer.
        base, first: As in `gradients`.
    """
    kinds = ("resid_pre", "q", "k", "v", "mlp_in", "resid_post")
    value, taps = record(engine, tokens, read, kinds, resid, base, first, layer=layer, touch=touch)
    wanted = {k: taps[k] for k in ("q", "k", "v", "mlp_in")} | {
        "resid_post": taps["resid_post"][-1:]
    }
    grads = pull(value.sum(), None, wanted, keep=False)
    found = []
    with torch.no_grad():
        for i, block_ in enumerate(engine.layers[layer:]):
            back, stream = [], taps["resid_pre"][i].detach()
            for n, (kind, (weight, _)) in enumerate(zip("qkv", _projections(engine, block_))):
                g = grads[kind][i].movedim(-2, 0)  # head row batch pos d_head
                if block_.joint_norms is not None and kind != "v":
                    norm, reader = block_.joint_norms[n], block_.qkv[n]
                    back.append(_joint_back(norm, reader(block_.norm1(stream)), g, weight))
                    continue
                back.append(torch.bmm(g.flatten(1, -2), weight).view(*g.shape[:-1], engine.d_model))
            attn = _norm_back(block_.norm1, stream, torch.cat(back)).sum(1)
            found.append(torch.cat([attn, grads["mlp_in"][i].sum(0)[None]]))
        found.append(grads["resid_post"][0].sum(0)[None])
    return found


def _norm_back(norm: Norm, x: Tensor, slope: Tensor) -> Tensor:
    """The slope before a norm [... d_model] from the one after it; x is what the norm was given."""
    if norm.kind == "none":
        return slope
    slope = slope * norm.weight.to(slope)
    if norm.kind == "ln":
        x = x - x.mean(-1, keepdim=True)
        slope = slope - slope.mean(-1, keepdim=True)
    size = (x.pow(2).mean(-1, keepdim=True) + norm.eps).rsqrt()
    if norm.frozen:
        return size * slope
    unit = x * size
    return size * (slope - unit * (slope * unit).mean(-1, keepdim=True))


def _joint_back(norm: Norm, x: Tensor, slope: Tensor, weight: Tensor) -> Tensor:
    """The slope before W_Q [head ... d_model] from that in each head's query [head ... d_head],
    where a norm of all heads together lies between.

    Args:
        norm: That norm.
        x: What it was given [... head * d_head].
        slope: After the norm, each head's own.
        weight: W_Q [head d_head d_model]; or the same of keys.
    """
    heads, d_head = weight.shape[:2]
    size = (x.pow(2).mean(-1, keepdim=True) + norm.eps).rsqrt()
    unit = (x * size).unflatten(-1, (heads, d_head)).movedim(-2, 0)  # head ... d_head
    slope = slope * norm.weight.to(slope).view(heads, *[1] * (slope.ndim - 2), d_head)
    if norm.frozen:
        return size * torch.einsum("h...e,hed->h...d", slope, weight)
    along = (slope * unit).sum(-1, keepdim=True) / x.shape[-1]  # the scale is that of all heads
    every = torch.einsum("h...e,hed->...d", unit, weight)
    return size * (torch.einsum("h...e,hed->h...d", slope, weight) - along * every)


def contract(
    engine: Engine,
    moved: Tensor,
    found: Sequence[Tensor],
    scores: Tensor,
    layer: int = 0,
    only: slice = slice(None),
) -> None:
    """Add to scores [batch sender receiver] what each sender's move does by way of each receiver,
    to first order.

    moved [sender batch pos d_model]: all senders;

    Args:
        found: What `slopes` gave from `layer` on.
        only: A range of senders.
    """
    g, moved = graph(engine), moved.transpose(0, 1).flatten(2)  # batch sender (pos d_model)
    low, high, _ = only.indices(g.n_senders)
    # (how many senders come before, the receivers, their slopes [receiver batch pos d_model])
    parts: list[tuple[int, slice, Tensor]] = []
    for number, slope in enumerate(found[:-1], start=layer):
        reads = g.reads(number)
        parts.append((g.before(number), reads, slope[:-1]))
        mlp_reads = slice(reads.stop, reads.stop + 1)
        parts.append((g.before(number, mlp=True), mlp_reads, slope[-1:]))
    parts.append((g.n_senders, slice(g.n_receivers - 1, g.n_receivers), found[-1]))
    # a product with one receiver alone is bound by reading the moves, so some layers go together
    for at in range(0, len(parts), PARTS_TOGETHER):
        some = parts[at : at + PARTS_TOGETHER]
        stop = min(high, some[-1][0])
        if stop <= low:
            continue
        slope = torch.cat([part for *_, part in some]).transpose(0, 1).flatten(2).transpose(1, 2)
        product, start = moved[:, low:stop] @ slope, some[0][1].start
        for before, reads, _ in some:
            to = min(before, high)
            if to > low:
                columns = slice(reads.start - start, reads.stop - start)
                scores[:, low:to, reads] += product[:, : to - low, columns]


# --- runs with edges cut --------------------------------------------------------------------------


def cut_runs(
    engine: Engine,
    tokens: Tensor,
    other: Other,
    weight: Tensor,
    read: Callable[[Tensor], Tensor],
    *,
    first: int = 0,
    layer: int = 0,
    upstream: Tensor | None = None,
    budget: float | None = None,
    tick: Callable[[int], None] | None = None,
    place: Tensor | None = None,
) -> Tensor:
    """read(final normed residual at END) [row ...] of runs on `tokens` with weighted edges.

    weight [row sender receiver]: 1 keeps an edge, 0 makes the receiver see the other run's write;
    anything between mixes, and gradients flow into it where they are on. With an axis for places at
    its end, an edge has a weight at each place.

    Example:
        >>> other = of_run(engine, run(engine, corrupted, KEEP), first)
        >>> # the clean run
        >>> cut_runs(engine, clean, other, torch.ones(1, 301, 481), columns(engine, answers),
        ...     first=first)

    Args:
        other: One example, or as many as tokens. With `upstream` [sender batch pos d_model] (now -
            other of every sender before `layer`) runs start at that layer; they are then those of
            the same upstream in every row.
        place: Which place each position is [batch pos], for weights by place.
    """
    if weight.ndim == 4 and bool((weight == weight[..., :1]).all()):
        weight = weight[..., 0]  # the same at all places: no run tells them apart
    rows = len(weight)
    budget = budget_of(engine.device) if budget is None else budget
    size = max(1, int(budget / _bytes(engine, tokens, first, weight)))
    if torch.is_grad_enabled() and weight.requires_grad:
        return _cut(engine, tokens, other, weight, read, first, layer, upstream, place)
    out = []
    with torch.no_grad():
        for lo in range(0, rows, size):
            out.append(
                _cut(
                    engine,
                    tokens,
                    other,
                    weight[lo : lo + size],
                    read,
                    first,
                    layer,
                    upstream,
                    place,
                )
            )
            if tick is not None:
                tick(len(out[-1]))
    return torch.cat(out)


def _bytes(engine: Engine, tokens: Tensor, first: int, weight: Tensor) -> float:
    """What one row holds: the moves of the senders that some receiver keeps, and one layer at
    work.
    """
    kept = int(_used(weight).sum()) + 4 * graph(engine).per_layer
    return (
        float(engine.itemsize) * kept * tokens.shape[0] * (tokens.shape[1] - first) * engine.d_model
    )


def _used(weight: Tensor) -> Tensor:
    """Which senders some receiver keeps in some row, at some place: [sender]."""
    return (weight.detach() != 0).flatten(2).any(-1).any(0)


class _Places:
    """Positions put in the order of their places, so that a place's moves lie side by side."""

    def __init__(self, place: Tensor, n_places: int):
        flat = place.flatten()
        self.order = flat.argsort(stable=True)
        self.back = self.order.argsort()
        self.ends = [0, *flat.bincount(minlength=n_places).cumsum(0).tolist()]

    def sort(self, x: Tensor) -> Tensor:
        """x [... batch pos d_model] with its positions in this order, flat."""
        return x.flatten(-3, -2)[..., self.order, :].flatten(-2)

    def unsort(self, x: Tensor) -> Tensor:
        """x [... (position d_model)] back in the order of batch and position."""
        return x.unflatten(-1, (len(self.back), -1))[..., self.back, :].flatten(-2)

    def product(self, weight: Tensor, moves: Tensor) -> Tensor:
        """weight [row receiver sender place] @ moves [row sender (position d_model)] by place."""
        wide = moves.shape[-1] // len(self.order)
        ends = [wide * end for end in self.ends]
        parts = [
            weight[..., k] @ moves[..., low:high]
            for k, (low, high) in enumerate(zip(ends, ends[1:]))
            if high > low
        ]
        return torch.cat(parts, -1)


class _Moves:
    """now - other of the senders that some receiver keeps, as they come; the same for every row
    until `layer`.
    """

    def __init__(
        self, weight: Tensor, shared: Tensor | None, n_shared: int, places: _Places | None = None
    ):
        self.weight, self.grad = weight, torch.is_grad_enabled() and weight.requires_grad
        self.places = places
        self.used = _used(weight)
        self.n_shared = n_shared
        self.at_shared = self.used[:n_shared].nonzero()[:, 0]
        self.shared = (
            None
            if shared is None or not len(self.at_shared)
            else self._flat(shared[self.at_shared])
        )
        self.at: list[int] = []
        self.own: list[Tensor] = []
        self.buffer: Tensor | None = None

    def _flat(self, values: Tensor) -> Tensor:
        """values [... batch pos d_model] with these axes as one, in the order of places if any."""
        return values.flatten(-3) if self.places is None else self.places.sort(values)

    def add(self, senders: list[int], values: Tensor) -> None:
        """values [row sender batch pos d_model]; one row stands for all while nothing has told them
        apart.
        """
        flat = self._flat(values).expand(len(self.weight), -1, -1)
        if self.grad:
            self.own.append(flat)
        else:
            if self.buffer is None:
                room = int(self.used[self.n_shared :].sum())
                self.buffer = flat.new_empty(len(flat), room, flat.shape[-1])
            self.buffer[:, len(self.at) : len(self.at) + len(senders)] = flat
        self.at += senders

    def reach(self, receivers: slice, stop: int) -> Tensor | None:
        """sum over senders before `stop` of weight * move: [row receiver (batch pos d_model)], or
        None when nothing comes.
        """
        total = None
        if self.shared is not None:
            w = self.weight[:, self.at_shared, receivers].transpose(1, 2)
            alike = len(w) > 1 and not self.grad and bool((w == w[:1]).all())
            w = w[:1] if alike else w
            if self.places is not None:
                total = self.places.product(w, self.shared)
            else:
                total = (w.reshape(-1, w.shape[-1]) @ self.shared).view(*w.shape[:2], -1)
        count = sum(1 for s in self.at if s < stop)
        if count:
            w = self.weight[:, self.at[:count], receivers].transpose(1, 2)
            own = torch.cat(self.own, 1)[:, :count] if self.grad else self.buffer[:, :count]
            more = w @ own if self.places is None else self.places.product(w, own)
            total = more if total is None else total + more
        return total if total is None or self.places is None else self.places.unsort(total)


def _cut(
    engine: Engine,
    tokens: Tensor,
    other: Other,
    weight: Tensor,
    read: Callable[[Tensor], Tensor],
    first: int,
    layer: int,
    upstream: Tensor | None,
    place: Tensor | None,
) -> Tensor:
    g, (batch, end) = graph(engine), tokens.shape
    view, early = window(engine, first, end), window(engine, 0, first)
    if upstream is None:
        upstream = embed(engine, tokens)[None, :, first:] - other.writes[:1]
    places = _Places(place[:, first:], weight.shape[-1]) if weight.ndim == 4 else None
    moves = _Moves(weight, upstream, g.before(layer), places)
    used = moves.used
    shape = (batch, end - first, engine.d_model)

    def stream(at: Tensor, receivers: slice, stop: int, last: bool) -> Tensor:
        """What these receivers read: [row receiver batch pos d_model]."""
        reach = moves.reach(receivers, stop)
        count = receivers.stop - receivers.start
        base = at.expand(shape)
        if reach is None:
            out = base.expand(len(weight), count, *shape)
        else:
            out = base + reach.view(len(reach), count, *shape)
        return out[..., -1:, :] if last else out

    for number in range(layer, engine.n_layers):
        block_, last = engine.layers[number], number == engine.n_layers - 1
        kept = [h for h in range(engine.n_heads) if used[g.heads(number)][h]]
        # the scale of a norm after attention is that of all heads together
        heads = kept if block_.after_attn is None or not kept else list(range(engine.n_heads))
        has_mlp = bool(used[g.heads(number).stop])
        if heads:
            x = stream(other.pre[number], g.reads(number), g.before(number), False)
            z = _attend(engine, block_, x, heads, view, _prefix(engine, other, number, early), last)
            by_head = block_.heads_out(engine.n_heads)[heads]
            wrote = torch.einsum("rhbte,hed->rhbtd", z, by_head)
            if block_.after_attn is not None:
                wrote = (wrote * block_.after_attn.share(wrote.sum(1))[:, None])[:, kept]
            senders = [g.heads(number).start + h for h in kept]
            moves.add(senders, _whole(wrote, other.writes[senders], shape, last))
        if has_mlp:
            reads = slice(g.reads(number).stop, g.reads(number).stop + 1)
            x = stream(other.mid[number], reads, g.before(number, mlp=True), last)[:, 0]
            wrote = mlp(engine, block_, block_.norm2(x))
            sender = g.heads(number).stop
            moves.add(
                [sender], _whole(wrote[:, None], other.writes[sender : sender + 1], shape, last)
            )
    x = stream(other.last, slice(g.n_receivers - 1, g.n_receivers), g.n_senders, True)[:, 0, :, -1]
    x = x.expand(len(weight), *x.shape[1:])
    return read(engine.final_norm(x.contiguous()))


def _whole(now: Tensor, other: Tensor, shape: tuple[int, ...], last: bool) -> Tensor:
    """now - other [row sender batch pos d_model]; the last layer computes END alone, and nothing
    reads the rest.
    """
    if not last:
        return now - other
    return torch.nn.functional.pad(now - other[..., -1:, :], (0, 0, shape[1] - 1, 0))


def _prefix(
    engine: Engine, other: Other, layer: int, early: Window
) -> tuple[Tensor, Tensor] | None:
    """Rotated keys and values [batch pos kv_head d_head] before the window."""
    count = len(early.hidden)
    if not count:
        return None
    k, v = other.keys[layer][:, :count], other.values[layer][:, :count]
    return keys(engine.layers[layer], k, early), v


def _attend(
    engine: Engine,
    layer: Layer,
    x: Tensor,
    heads: list[int],
    view: Window,
    prefix: tuple[Tensor, Tensor] | None,
    last: bool,
) -> Tensor:
    """z [row head batch pos d_head] of these heads, each part of which reads a stream of its
    own.
    """
    n, kv = engine.n_heads, engine.n_kv_heads
    groups = sorted({h // engine.group for h in heads})
    whose = [groups.index(h // engine.group) for h in heads]
    at = [heads, [n + i for i in groups], [n + kv + i for i in groups]]
    parts = []
    projections = zip(at, (heads, groups, groups), _projections(engine, layer))
    for n, (index, chosen, (weight, bias)) in enumerate(projections):
        normed = layer.norm1(x[:, index])
        if layer.joint_norms is not None and n < 2:
            parts.append(_jointly(layer, n, normed, chosen, engine.d_head))
            continue
        part = torch.einsum("rhbtd,hed->rhbte", normed, weight[chosen])
        parts.append(part if bias is None else part + bias[chosen][:, None, None])

    def turn(part, norm):  # the rotation wants [... pos head d_head]
        return turned(norm, layer, part.movedim(1, -2), view).movedim(-2, 1)

    q, k, v = turn(parts[0], layer.q_norm) * layer.scale, turn(parts[1], layer.k_norm), parts[2]
    q = q[..., -1:, :] if last else q
    k, v = k[:, whose], v[:, whose]
    hidden, far = unseen(layer, view, q.shape[-2])
    scores = soft_cap(q @ k.transpose(-1, -2), engine.score_cap)
    scores = scores.masked_fill(hidden, float("-inf"))
    if prefix is None:
        return scores.softmax(-1) @ v
    kv_of = [h // engine.group for h in heads]
    before_k, before_v = (
        part.permute(2, 0, 1, 3)[kv_of] for part in prefix
    )  # head batch pos d_head
    early = soft_cap(q @ before_k.transpose(-1, -2), engine.score_cap)
    early = early if far is None else early.masked_fill(far, float("-inf"))
    pattern = torch.cat([early, scores], -1).softmax(-1)
    count = before_k.shape[-2]
    return pattern[..., :count] @ before_v + pattern[..., count:] @ v


def _jointly(layer: Layer, which: int, normed: Tensor, chosen: list[int], d_head: int) -> Tensor:
    """Queries (which 0) or keys (1) [row head batch pos d_head] of these heads, under a norm of all
    heads that read what this one reads.
    """
    project, norm = layer.qkv[which], layer.joint_norms[which]
    each = [
        norm(project(normed[:, i])).unflatten(-1, (-1, d_head))[..., head, :]
        for i, head in enumerate(chosen)
    ]
    return torch.stack(each, 1)
