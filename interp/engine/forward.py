"""The lean forward: one code path for every supported block, without hook modules.

A block works on `x [row batch pos d_model]`: `row` counts different edits of the same prompts, and
`pos` runs from the window's first position to the end. Keys and values of earlier positions, which
no edit can have changed, come once from a finished run and are shared by all rows.

`touch` maps a kind to a function on the activation of that kind; its answer is used in place of the
activation. That one mechanism keeps activations, patches them and takes gradients at them. In the
order met:

    resid_pre, attn_in            [row batch pos d_model]       attn_in: the attention's own copy
    q, k, v                       [row batch pos head d_head]   before the rotation; k, v by KV head
    scores, pattern               [row batch head dest src]     scores after a soft cap
    z                             [row batch pos head d_head]
    write                         [row batch pos head d_model]  what each head adds to the stream
    attn_out, resid_mid, mlp_in   [row batch pos d_model]       no resid_mid in parallel blocks
    post                          [row batch pos d_mlp]         the neurons
    mlp_out, resid_post           [row batch pos d_model]

`attn_out` and `mlp_out` are what is added to the stream, after a norm where one comes there. A
head's write is then its share: its part of the attention output times the norm's gain, divided by
the scale that the norm has in this very run, so that the shares of all heads add up to `attn_out`.
The function at `write` is given a `Writes` and answers with the new attn_out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from interp._errors import unknown
from interp.engine.backward_rules import share, softmax
from interp.engine.sizes import check_kept
from interp.engine.weights import Engine, Layer, Norm, soft_cap

KINDS = (
    "resid_pre",
    "attn_in",
    "q",
    "k",
    "v",
    "scores",
    "pattern",
    "z",
    "write",
    "attn_out",
    "resid_mid",
    "mlp_in",
    "post",
    "mlp_out",
    "resid_post",
)
Touch = Mapping[str, Callable[[Any], Tensor]]
NO_TOUCH: Touch = {}


@dataclass(frozen=True)
class Run:
    """A finished run. `run["z"]` is a list with one tensor a layer; `resid` is the residual it
    ended with.
    """

    tokens: Tensor
    resid: Tensor
    logits: Tensor | None
    kept: Mapping[str, list[Tensor]]

    def __getitem__(self, kind: str) -> list[Tensor]:
        if kind not in self.kept:
            _known(kind)
            raise ValueError(
                f"{kind!r} was not kept by this run: run(engine, tokens, keep=({kind!r}, ...))"
            )
        return self.kept[kind]

    def only(self, *kinds: str) -> "Run":
        """The same run with these kinds alone, so that the memory of the others can be freed."""
        return Run(self.tokens, self.resid, self.logits, {kind: self[kind] for kind in kinds})


@dataclass(frozen=True)
class Window:
    """The positions first, first + 1, ... that a run carries: their rotation, and which keys a
    query may not see.
    """

    first: int
    turns: tuple[tuple[Tensor, Tensor], ...]  # cosine and sine of each of `Engine.rotations`
    hidden: Tensor  # [pos pos], True above the diagonal


def window(engine: Engine, first: int, stop: int) -> Window:
    """The window of positions first .. stop - 1."""
    hidden = torch.ones(stop - first, stop - first, dtype=torch.bool, device=engine.device).triu_(1)
    at, turns = torch.arange(first, stop, device=engine.device).float(), []
    for rotation in engine.rotations:
        angle = torch.outer(at, rotation.inv_freq)
        cos, sin = angle.cos() * rotation.scale, angle.sin() * rotation.scale
        # rotate_half(x) * sin == roll(x) * signed sin: one pass instead of two slices and a
        # concatenation
        both = (torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1))
        cos, sin = (part.to(engine.embed.dtype)[:, None] for part in both)
        turns.append((cos, sin))
    return Window(first, tuple(turns), hidden)


def run(
    engine: Engine,
    tokens: Tensor,
    keep: Iterable[str] = ("resid_pre", "k", "v"),
    logits: str | None = "end",
    stop: int | None = None,
    resid: Tensor | None = None,
    base: Run | None = None,
    first: int = 0,
) -> Run:
    """A run on `tokens` that keeps the named kinds at every layer.

    Shapes are those of TransformerLens' hooks (see the module). `logits` is "end" ([batch d_vocab],
    the last position), "all" ([batch pos d_vocab]) or None. `stop=l` ends before layer l, without
    logits, and `.resid` is then resid_pre of layer l. `resid` starts from this residual [batch pos
    d_model] in place of the embedding of the tokens.

    With `base`, a run of tokens that are the same before position `first` (it kept "k" and "v"),
    only the positions from `first` on are run, and everything kept, `tokens` too, begins there.

    Example:
        >>> clean = run(engine, tokens, keep=("resid_pre", "k", "v", "z"))
        >>> clean["z"][10].shape                      # batch pos head d_head
        torch.Size([16, 15, 9, 64])
        >>> other = run(engine, corrupted, base=clean, first=10)
        >>> other["k"][10].shape                      # batch pos kv_head d_head
        torch.Size([16, 5, 3, 64])
    """
    tokens = torch.as_tensor(tokens, device=engine.device)
    _check_tokens(engine, tokens)
    if logits not in ("end", "all", None):
        raise unknown("choice of logits", logits, ("end", "all", "None"))
    kept: dict[str, list[Tensor]] = {}
    keep = tuple(keep)
    for kind in keep:
        _known(kind)
        if kind == "resid_mid" and engine.parallel:
            raise ValueError(
                "this model has no resid_mid: attention and MLP read the same residual (try"
                " resid_pre)"
            )
        kept[kind] = []
    check_kept(engine, keep, tokens[:, first:])

    def keeper(kind: str) -> Callable[[Any], Tensor]:
        def keep(value: Tensor) -> Tensor:
            kept[kind].append(value[0])
            return value

        def keep_writes(writes: Writes) -> Tensor:
            kept[kind].append(writes.of(slice(None))[0])
            return writes.total

        return keep_writes if kind == "write" else keep

    touch = {kind: keeper(kind) for kind in kept}
    with torch.no_grad():
        x = embed(engine, tokens)[:, first:] if resid is None else resid
        view, x = window(engine, first, tokens.shape[1]), x[None]
        before = earlier(engine, base, first)
        x = run_from(engine, x, view, 0, stop, prefix=before, touch=lambda number, x: touch)[0]
        final_logits = None
        if stop is None and logits is not None:
            final_logits = unembed(engine, x[:, -1] if logits == "end" else x)
    return Run(tokens[:, first:], x, final_logits, kept)


def earlier(
    engine: Engine, base: Run | None, first: int
) -> Callable[[int], tuple[Tensor, Tensor]] | None:
    """For each layer the rotated keys and the values of the positions before `first`, from a run
    that kept "k" and "v"; None where there are none.
    """
    if not first:
        return None
    if base is None or not {"k", "v"} <= set(base.kept):
        raise ValueError(
            f"first={first} needs base=, the run whose keys and values come before (kept 'k' and"
            " 'v')"
        )
    early = window(engine, 0, first)

    def prefix(number: int) -> tuple[Tensor, Tensor]:
        k, v = base["k"][number][:, :first], base["v"][number][:, :first]
        return keys(engine.layers[number], k, early), v

    return prefix


def entering(
    engine: Engine,
    x: Tensor,
    view: Window,
    layer: int = 0,
    stop: int | None = None,
    *,
    prefix: Callable[[int], tuple[Tensor, Tensor] | None] | None = None,
    touch: Callable[[int, Tensor], Touch] | None = None,
    end_only: bool = False,
) -> Iterator[tuple[int, Tensor]]:
    """(layer number, the stream that enters it), for each block from `layer` on, and once more
    after the last.

    A block runs when the next pair is asked for, so that a loop that breaks off computes no more.

    Args:
        x: The stream [row batch pos d_model] that enters `layer`.
        view: The positions that x holds.
        layer, stop: The first block, and the one before which to end (None: after all of them).
        prefix: For each block the rotated keys and values of the positions before `view`, see
        `block`. touch: For each block and the stream that enters it, the edits of its activations.
        end_only: The model's last block computes the final position alone.
    """
    stop = engine.n_layers if stop is None else stop
    for number in range(layer, stop):
        yield number, x
        x = block(
            engine,
            engine.layers[number],
            x,
            view,
            None if prefix is None else prefix(number),
            NO_TOUCH if touch is None else touch(number, x),
            end_only and number == engine.n_layers - 1,
        )
    yield stop, x


def run_from(engine: Engine, x: Tensor, view: Window, *args: Any, **options: Any) -> Tensor:
    """The stream after the blocks that `entering` runs, with the same arguments."""
    stream = x
    for _, stream in entering(engine, x, view, *args, **options):  # noqa: B007
        pass
    return stream


def embed(engine: Engine, tokens: Tensor) -> Tensor:
    """resid_pre of layer 0 [batch pos d_model]: token embeddings, scaled where the model does so,
    plus learned positions where it has them.
    """
    x = engine.embed[tokens.to(engine.device)]
    x = x if engine.embed_scale == 1 else x * engine.embed_scale
    return x if engine.positions is None else x + engine.positions[: tokens.shape[1]]


def unembed(engine: Engine, resid: Tensor) -> Tensor:
    """Logits [... d_vocab] of a residual [... d_model], final norm included."""
    return engine.logits(engine.final_norm(resid))


@dataclass(frozen=True)
class Writes:
    """What the heads of a layer write in a run, computed when it is asked for.

    Attributes:
        layer: The layer.
        z: [row batch pos head d_head].
        raw: What they give together, before a norm [row batch pos d_model].
        total: What is added to the stream [row batch pos d_model].
    """

    layer: Layer
    z: Tensor
    raw: Tensor
    total: Tensor

    @cached_property
    def share(self) -> Tensor | None:
        """The factor of each part on its way into the stream [row batch pos d_model]; None: 1."""
        return None if self.layer.after_attn is None else self.layer.after_attn.share(self.raw)

    def of(self, heads: int | slice, row: int | slice = slice(None)) -> Tensor:
        """What these heads write in this row: [row batch pos head d_model], without the axes that
        a number picks from.
        """
        share = None if self.share is None else self.share[row]
        z = self.z[row]
        if isinstance(heads, slice):
            by_head = self.layer.heads_out(z.shape[-2])[heads]
            wrote = torch.einsum("...he,hed->...hd", z[..., heads, :], by_head)
            return wrote if share is None else wrote * share[..., None, :]
        size = z.shape[-1]
        part = self.layer.out.weight[:, heads * size : (heads + 1) * size]
        wrote = z[..., heads, :] @ part.T
        return wrote if share is None else wrote * share


def head_writes(layer: Layer, z: Tensor, heads: int | slice = slice(None)) -> Tensor:
    """What heads with these z [... pos head d_head] write: [... pos head d_model], or [... pos
    d_model] of one.
    """
    raw = z if layer.after_attn is None else layer.out(z.flatten(-2))
    return Writes(layer, z, raw, raw).of(heads)


def block(
    engine: Engine,
    layer: Layer,
    x: Tensor,
    view: Window,
    prefix: tuple[Tensor, Tensor] | None = None,
    touch: Touch = NO_TOUCH,
    last: bool = False,
) -> Tensor:
    """resid_post of a block [row batch pos d_model] from x = resid_pre.

    `prefix` holds rotated keys and values [batch pos kv_head d_head] of the positions before the
    window. `last` computes the final position alone (pos = 1): enough in the last block when only
    END is read.
    """
    x = _at(touch, "resid_pre", x)
    z = attention(
        engine, layer, layer.norm1(_copy_at(touch, "attn_in", x)), view, prefix, touch, last
    )
    if last:
        x = x[:, :, -1:]
    raw = layer.out(z.flatten(-2))
    attn_out = raw if layer.after_attn is None else layer.after_attn(raw)
    if "write" in touch:
        attn_out = touch["write"](Writes(layer, z, raw, attn_out))
    attn_out = _at(touch, "attn_out", attn_out)
    read = x if engine.parallel else _at(touch, "resid_mid", x + attn_out)
    mlp_out = _at(
        touch, "mlp_out", mlp(engine, layer, layer.norm2(_copy_at(touch, "mlp_in", read)), touch)
    )
    after = x + attn_out + mlp_out if engine.parallel else read + mlp_out
    return _at(touch, "resid_post", after)


def attention(
    engine: Engine,
    layer: Layer,
    normed: Tensor,
    view: Window,
    prefix: tuple[Tensor, Tensor] | None,
    touch: Touch,
    last: bool,
) -> Tensor:
    """z [row batch pos head d_head] from the normed input [row batch pos d_model]."""
    q, k, v = project(engine, layer, normed)
    q, k, v = _at(touch, "q", q), _at(touch, "k", k), _at(touch, "v", v)
    rules = engine.rules
    if rules is not None:
        q, k, v = share(q, rules.qk), share(k, rules.qk), share(v, rules.v)
    q, k = turned(layer.q_norm, layer, q, view) * layer.scale, keys(layer, k, view)
    if last:
        q = q[:, :, -1:]
    rows, batch, pos = q.shape[:3]
    src, kv, group, d_head = k.shape[2], engine.n_kv_heads, engine.group, engine.d_head
    # one KV head and the query heads that read it form one matrix product
    q = q.transpose(2, 3).reshape(rows, batch, kv, group * pos, d_head)
    k, v = k.transpose(2, 3), v.transpose(2, 3)
    scores = soft_cap(q @ k.transpose(-1, -2), engine.score_cap)
    scores = scores.view(rows, batch, engine.n_heads, pos, src)
    hidden, far = unseen(layer, view, pos)
    scores = scores.masked_fill(hidden, float("-inf"))
    before = view.first
    if before:  # fold the rows into the queries: the shared prefix is never copied per row
        folded = q.permute(1, 2, 0, 3, 4).reshape(batch, kv, rows * group * pos, d_head)
        early = soft_cap(folded @ prefix[0].permute(0, 2, 3, 1), engine.score_cap)
        early = early.view(batch, kv, rows, group, pos, before).permute(2, 0, 1, 3, 4, 5)
        early = early if far is None else early.masked_fill(far, float("-inf"))
        scores = torch.cat([early.reshape(rows, batch, engine.n_heads, pos, before), scores], -1)
    scores = _at(touch, "scores", scores)
    pattern = scores.softmax(-1) if rules is None else softmax(scores, rules.temperature)
    pattern = _at(touch, "pattern", pattern).reshape(rows, batch, kv, group * pos, before + src)
    z = pattern[..., before:] @ v
    if before:
        folded = (
            pattern[..., :before]
            .permute(1, 2, 0, 3, 4)
            .reshape(batch, kv, rows * group * pos, before)
        )
        early = folded @ prefix[1].transpose(1, 2)
        z = z + early.view(batch, kv, rows, group * pos, d_head).permute(2, 0, 1, 3, 4)
    z = z.reshape(rows, batch, engine.n_heads, pos, d_head).transpose(2, 3).contiguous()
    return _at(touch, "z", z)


def project(engine: Engine, layer: Layer, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q [... head d_head], k and v [... kv_head d_head] of a normed residual [... d_model], before
    the rotation and after a norm of all heads together.
    """
    shape = normed.shape[:-1]
    if engine.qkv_layout == "separate":
        q, k, v = (part(normed) for part in layer.qkv)
        if layer.joint_norms is not None:
            q, k = (norm(part) for norm, part in zip(layer.joint_norms, (q, k)))
        q, k, v = (part.view(*shape, -1, engine.d_head) for part in (q, k, v))
        return q, k, v
    fused = layer.qkv[0](normed)
    if engine.qkv_layout == "blocks":
        q, k, v = fused.view(*shape, 3, engine.n_heads, engine.d_head).unbind(-3)
    else:
        q, k, v = fused.view(*shape, engine.n_heads, 3, engine.d_head).unbind(-2)
    return q, k, v


def unseen(layer: Layer, view: Window, pos: int) -> tuple[Tensor, Tensor | None]:
    """Which keys the last `pos` queries of a window may not see: [pos src] in it, [pos first]
    before it.

    The second is None where a query sees everything that came before.
    """
    hidden, end = view.hidden[-pos:], view.first + len(view.hidden)
    if layer.reach is None or end <= layer.reach:
        return hidden, None
    at = torch.arange(end, device=hidden.device)
    far = at[end - pos :, None] - at >= layer.reach
    return hidden | far[:, view.first :], far[:, : view.first]


def keys(layer: Layer, k: Tensor, view: Window) -> Tensor:
    """Keys [... pos kv_head d_head] as queries meet them: normed and turned, where the layer does
    so.
    """
    return turned(layer.k_norm, layer, k, view)


def turned(norm: Norm | None, layer: Layer, x: Tensor, view: Window) -> Tensor:
    """q or k [... pos head d_head] as the scores are made of them, but for the queries' scale."""
    x = x if norm is None else norm(x)
    return rotate(x, view, layer.rotary)


def rotate(x: Tensor, view: Window, which: int | None = 0) -> Tensor:
    """q or k [... pos head d_head] turned by its position, in the first rotary_dim dimensions.

    Args:
        which: Of `Engine.rotations`; None: positions turn nothing.
    """
    if which is None or not view.turns:
        return x
    cos, sin = view.turns[which]
    size = cos.shape[-1]
    part = x if size == x.shape[-1] else x[..., :size]
    turned = torch.addcmul(part * cos, part.roll(size // 2, -1), sin)
    return turned if size == x.shape[-1] else torch.cat([turned, x[..., size:]], -1)


def mlp(engine: Engine, layer: Layer, normed: Tensor, touch: Touch = NO_TOUCH) -> Tensor:
    """What the MLP adds to the stream [... d_model] for a normed residual [... d_model]."""
    hidden = engine.act(layer.up[0](normed))
    if len(layer.up) == 2:
        up = layer.up[1](normed)
        hidden = hidden * up if torch.is_grad_enabled() else hidden.mul_(up)
        hidden = hidden if engine.rules is None else share(hidden, engine.rules.product)
    out = layer.down(_at(touch, "post", hidden))
    return out if layer.after_mlp is None else layer.after_mlp(out)


def patterns(engine: Engine, base: Run, layer: int, kind: str, values: Tensor) -> Tensor:
    """Attention [row batch head dest src] of one layer of a finished run whose queries or keys are
    replaced.

    Example:
        >>> patterns(engine, base, 10, "q", source["q"][10][None])

    Args:
        kind: "q" or "k"; values [row batch pos head d_head], before the rotation. base must have
            kept resid_pre.
    """
    if kind not in ("q", "k"):
        raise unknown("kind of activation", kind, ("q", "k"))
    found: list[Tensor] = []

    def keep(own: Tensor) -> Tensor:
        found.append(own)
        return own

    touch = {kind: lambda own: values, "pattern": keep}
    with torch.no_grad():
        normed = engine.layers[layer].norm1(base["resid_pre"][layer])
        normed = normed.expand(len(values), *normed.shape)
        attention(
            engine,
            engine.layers[layer],
            normed,
            window(engine, 0, normed.shape[2]),
            None,
            touch,
            False,
        )
    return found[0]


def _at(touch: Touch, kind: str, value: Tensor) -> Tensor:
    return touch[kind](value) if kind in touch else value


def _copy_at(touch: Touch, kind: str, value: Tensor) -> Tensor:
    # a reader's own copy of the stream: changing it must not change the stream itself
    return touch[kind](value.clone()) if kind in touch else value


def _known(kind: str) -> None:
    if kind not in KINDS:
        raise unknown(
            "kind of activation", kind, KINDS, "run(engine, tokens, keep=('resid_pre', 'z'))"
        )


def _check_tokens(engine: Engine, tokens: Tensor) -> None:
    if tokens.ndim != 2 or tokens.is_floating_point():
        raise ValueError(
            f"tokens are integers [batch pos], got {tokens.dtype} {tuple(tokens.shape)}"
        )
    if tokens.numel() and int(tokens.max()) >= engine.d_vocab:
        raise ValueError(
            f"token {int(tokens.max())} is beyond the model's vocabulary of {engine.d_vocab:,}: the"
            " tokenizer belongs to another model"
        )
    if tokens.shape[1] > engine.n_ctx:
        raise ValueError(f"{tokens.shape[1]} positions are more than the model's {engine.n_ctx}")
