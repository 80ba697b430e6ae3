"""The small transformer itself: plain PyTorch modules, with a place for a hook at every address.

The places are `nn.Identity` modules with the bridge's canonical names; `bridge.hooked` puts
TransformerLens' hook points there. Without hooks, what nobody reads is not computed: fused
attention runs instead of scores and pattern, and empty MLPs and heads are skipped. Tests hold both
to equal numbers.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from interp.toys.model.spec import FIXED, Spec

INF = float("inf")
ACT: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "square": torch.square,
    "linear": lambda x: x,
}


def watched(*points: nn.Module) -> bool:
    """Whether one of these places has a hook."""
    return any(p._forward_hooks or p._backward_hooks for p in points)


class Plain(nn.Module):
    """No norm; a lens reads its gain, which is one."""

    eps = 0.0

    def __init__(self, d_model: int):
        super().__init__()
        self.register_buffer("weight", torch.ones(d_model), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Norm(nn.Module):
    """A norm behind a hook place."""

    def __init__(self, spec: Spec):
        super().__init__()
        kinds = {
            "layer": nn.LayerNorm,
            "rms": lambda width: nn.RMSNorm(width, eps=1e-5),
            "none": Plain,
        }
        self.hook_in = nn.Identity()
        self.original_component = kinds[spec.norm](spec.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.original_component(self.hook_in(x))


class Embed(nn.Module):
    """Tokens [batch pos], or vectors [batch pos d_in], as vectors of the stream's width."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.vectors, self.hook_out = bool(spec.d_in), nn.Identity()
        shape = (spec.d_model, spec.d_in) if spec.d_in else (spec.d_vocab, spec.d_model)
        self.weight = nn.Parameter(torch.empty(shape))
        if spec.embed == "identity":
            self.weight = _eye(spec.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.hook_out(
            F.linear(x, self.weight) if self.vectors else F.embedding(x, self.weight)
        )


class Unembed(nn.Module):
    """The stream to logits, without a bias."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.hook_in, self.hook_out = nn.Identity(), nn.Identity()
        self.original_component = nn.Linear(spec.d_model, spec.d_vocab, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.hook_out(self.original_component(self.hook_in(x)))


class Attention(nn.Module):
    """The heads of one layer; see `spec.ATTENTION` for the kinds."""

    def __init__(self, spec: Spec, layer: int):
        super().__init__()
        self.kind, self.spec = spec.attention[layer], spec
        heads, kv, d_head = spec.n_heads, spec.n_kv_heads, spec.d_head
        for which, n in (("q", heads), ("k", kv), ("v", kv)):
            setattr(self, which, nn.Linear(spec.d_model, n * d_head, bias=spec.bias))
        self.o = nn.Linear(heads * d_head, spec.d_model, bias=spec.bias)
        for which in spec.identity:
            getattr(self, which.lower()).weight = _eye(spec.d_model)
        if self.kind in FIXED:
            _clear(self.q, self.k)
        if self.kind == "static":
            self.static = nn.Parameter(torch.zeros(heads, spec.n_ctx, spec.n_ctx))
        if spec.qk_norm:
            self.gain_q, self.gain_k = (
                nn.Parameter(torch.ones(d_head)),
                nn.Parameter(torch.ones(d_head)),
            )
        if spec.key_bias:
            self.key = nn.Parameter(torch.zeros(kv, d_head))
            self.value = nn.Parameter(torch.zeros(kv, d_head), requires_grad=spec.value_bias)
        self.scale = d_head**-0.5 if spec.attention_scale is None else spec.attention_scale
        for point in ("q", "k", "v", "attn_scores", "pattern", "z", "out"):
            setattr(self, f"hook_{point}", nn.Identity())

    # weights in the shapes every other model here shows: [head d_model d_head], W_O [head d_head
    # d_model]
    W_Q = property(lambda self: self._heads(self.q.weight))
    W_K = property(lambda self: self._heads(self.k.weight))
    W_V = property(lambda self: self._heads(self.v.weight))
    W_O = property(lambda self: self.o.weight.T.unflatten(0, (self.spec.n_heads, self.spec.d_head)))
    b_Q = property(lambda self: self._bias(self.q))
    b_K = property(lambda self: self._bias(self.k))
    b_V = property(lambda self: self._bias(self.v))
    b_O = property(lambda self: self.o.bias)

    def _heads(self, weight: Tensor) -> Tensor:
        return weight.unflatten(0, (-1, self.spec.d_head)).mT

    def _bias(self, part: nn.Linear) -> Tensor | None:
        return None if part.bias is None else part.bias.unflatten(0, (-1, self.spec.d_head))

    def forward(self, x: Tensor, last: bool = False) -> Tensor:
        """What the heads write [batch pos d_model]; with last, at the last position alone."""
        v = self.hook_v(self._read("v", x))
        if self.kind in FIXED and not watched(self.hook_q, self.hook_k, self.hook_attn_scores):
            q = k = None
        else:
            q, k = (
                self.hook_q(self._read("q", x[:, -1:] if last else x)),
                self.hook_k(self._read("k", x)),
            )
        fused = (
            self.kind == "softmax"
            and not self.spec.key_bias
            and not watched(self.hook_attn_scores, self.hook_pattern)
        )
        z = self._fused(q, k, v) if fused else self._mixed(q, k, v, 1 if last else x.shape[1])
        return self.hook_out(self.o(self.hook_z(z).flatten(-2)))

    def _read(self, which: str, x: Tensor) -> Tensor:
        """q, k or v [batch pos head d_head]."""
        part = getattr(self, which)
        same = (
            which.upper() in self.spec.identity and part.bias is None
        )  # a product with the identity is not made
        return (x if same else part(x)).unflatten(-1, (-1, self.spec.d_head))

    def _ready(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys [batch head pos d_head], and the queries before rotation."""
        if self.spec.qk_norm:
            q = F.rms_norm(q, self.gain_q.shape, self.gain_q, 1e-5)
            k = F.rms_norm(k, self.gain_k.shape, self.gain_k, 1e-5)
        q, k = q.transpose(1, 2), k.transpose(1, 2)
        if self.spec.positions == "rotary":
            return rotate(q, k.shape[-2] - q.shape[-2]), rotate(k), q
        return q, k, q

    def _fused(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, _ = self._ready(q, k)
        grouped = self.spec.n_heads != self.spec.n_kv_heads
        z = F.scaled_dot_product_attention(
            q, k, v.transpose(1, 2), is_causal=q.shape[-2] > 1, scale=self.scale, enable_gqa=grouped
        )
        return z.transpose(1, 2)

    def _mixed(self, q: Tensor | None, k: Tensor | None, v: Tensor, rows: int) -> Tensor:
        """z [batch pos head d_head] at the last `rows` positions, through scores and pattern."""
        n, group = v.shape[1], self.spec.n_heads // self.spec.n_kv_heads

        def repeat(t, dim=1):
            return t.repeat_interleave(group, dim) if group > 1 else t

        hidden = torch.ones(n, n, dtype=torch.bool, device=v.device).triu(1)[-rows:]
        scores, extra = self._scores(q, k, v, rows, repeat)
        scores = self.hook_attn_scores(scores.masked_fill(hidden, -INF))
        weights = self._weights(scores if extra is None else torch.cat([scores, extra], -1))
        pattern = self.hook_pattern(weights[..., :n])
        z = pattern @ repeat(v.transpose(1, 2))
        if extra is not None:
            z = z + weights[..., n:] * repeat(self.value, 0)[:, None]
        return z.transpose(1, 2)

    def _scores(
        self, q: Tensor | None, k: Tensor | None, v: Tensor, rows: int, repeat: Callable
    ) -> tuple[Tensor, Tensor | None]:
        """Scores before the mask [batch head dest src], and of the extra key [... dest 1]."""
        if self.kind in FIXED:
            n = v.shape[1]
            static = self.kind == "static"
            scores_fixed = (
                self.static[:, n - rows : n, :n]
                if static
                else v.new_zeros(self.spec.n_heads, rows, n)
            )
            return scores_fixed.expand(len(v), -1, -1, -1), None
        q, k, unrotated = self._ready(q, k)
        scores = q @ repeat(k).mT * self.scale
        if not self.spec.key_bias:
            return scores, None
        # the key has no position, so the query that meets it is not turned
        return scores, unrotated @ repeat(self.key, 0)[..., None] * self.scale

    def _weights(self, scores: Tensor) -> Tensor:
        """Attention weights from scores, which are -inf where nothing may be seen."""
        if self.kind in ("softmax", "static", "uniform"):
            return scores.softmax(-1)
        if self.kind == "relu":
            seen = (scores > -INF).sum(-1).clamp_min(1)[..., None]
            return torch.relu(scores) / seen
        if self.kind == "none":
            return torch.zeros_like(scores)
        if self.kind == "linear":
            return scores.masked_fill(scores == -INF, 0.0)
        weights = torch.sigmoid(scores)
        return weights / weights.sum(-1, keepdim=True) if self.kind == "sigmoid_norm" else weights


def rotate(x: Tensor, first: int = 0) -> Tensor:
    """x [batch head pos d_head] rotated by its position, counted from `first` (Su et al. 2021).

    Pairs are (i, i + d_head / 2), the base is 10,000.
    """
    n, half = x.shape[-2], x.shape[-1] // 2
    turn = 10_000 ** (-torch.arange(half, device=x.device) / half)
    angle = torch.outer(torch.arange(first, first + n, device=x.device), turn).to(x.dtype)
    a, b = x.split(half, -1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class MLP(nn.Module):
    """Two linear maps and an activation; with width 0 it writes zero."""

    def __init__(self, spec: Spec, layer: int):
        super().__init__()
        self.width, self.act = spec.mlp[layer], ACT[spec.act]
        if self.width:
            self.up = nn.Linear(spec.d_model, self.width, bias=spec.mlp_bias)
            self.down = nn.Linear(self.width, spec.d_model, bias=spec.mlp_bias)
        self.hook_pre, self.hook_post, self.hook_out = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if not self.width:
            empty = self.hook_post(self.hook_pre(x[..., :0]))
            return self.hook_out(torch.zeros_like(x) + empty.sum(-1, keepdim=True))
        return self.hook_out(self.down(self.hook_post(self.act(self.hook_pre(self.up(x))))))


class Block(nn.Module):
    """Attention, then the MLP; each adds to the stream what it computes from its normed input."""

    def __init__(self, spec: Spec, layer: int):
        super().__init__()
        self.hook_in, self.hook_out = nn.Identity(), nn.Identity()
        heads, width = spec.attention[layer] != "none", spec.mlp[layer]
        self.ln1, self.attn = Norm(spec), Attention(spec, layer)
        self.ln2, self.mlp = Norm(spec), MLP(spec, layer)
        self.empty = tuple(
            name for name, present in (("attn", heads), ("mlp", width)) if not present
        )
        for part in self.empty:
            _clear(getattr(self, part))
            (self.ln1 if part == "attn" else self.ln2).requires_grad_(False)

    def forward(self, x: Tensor, last: bool = False) -> Tensor:
        """The stream after this block; with last, at the last position alone."""
        x = self.hook_in(x)
        if "attn" not in self.empty or self._seen("attn", self.ln1):
            wrote = self.attn(self.ln1(x), last)
            x = (x[:, -1:] if last else x) + wrote
        elif last:
            x = x[:, -1:]
        if "mlp" not in self.empty or self._seen("mlp", self.ln2):
            x = x + self.mlp(self.ln2(x))
        return self.hook_out(x)

    def _seen(self, part: str, norm: Norm) -> bool:
        return watched(norm.hook_in, *getattr(self, part).children())


class Net(nn.Module):
    """A small transformer: tokens [batch pos], or vectors, to logits [batch pos d_vocab].

    The seed decides the weights and touches no other generator; None leaves them undrawn.

    Example:
        >>> net = Net(spec(d_vocab=64, n_layers=1), seed=0)
    """

    def __init__(self, spec: Spec, seed: int | None = 0):
        super().__init__()
        self.spec = spec
        with torch.random.fork_rng(
            devices=[]
        ):  # PyTorch draws weights of its own, which `_draw` replaces
            self.embed = Embed(spec)
            if spec.positions == "learned":
                self.pos_embed = nn.Parameter(torch.empty(spec.n_ctx, spec.d_model))
            self.blocks = nn.ModuleList(Block(spec, layer) for layer in range(spec.n_layers))
            self.ln_final, self.unembed = Norm(spec), Unembed(spec)
        if spec.tied:
            self.unembed.original_component.weight = self.embed.weight
        if seed is not None:
            self._draw(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def _draw(self, generator: torch.Generator) -> None:
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif (
                weight.ndim == 2 and weight.requires_grad and not name.endswith((".key", ".value"))
            ):
                std = weight.shape[1] ** -0.5  # of embeddings too: their rows then have norm one
                weight.copy_(
                    torch.randn(weight.shape, generator=generator) * std * self.spec.init_scale
                )
                if name.endswith(".q.weight") and self.spec.query_start is not None:
                    weight.fill_(self.spec.query_start)

    def stream(self, x: Tensor, last: bool = False) -> Tensor:
        """What enters the final norm [batch pos d_model]; with last, at the last position alone."""
        x = self.embed(x)
        if self.spec.positions == "learned":
            x = x + self.pos_embed[: x.shape[1]]
        for block in self.blocks[:-1]:
            x = block(x)
        return self.blocks[-1](x, last)

    def forward(self, x: Tensor, **ignored: object) -> Tensor:
        return self.unembed(self.ln_final(self.stream(x)))

    def logits_at(self, x: Tensor, where: Tensor) -> Tensor:
        """Logits [place d_vocab] where a mask [batch pos] is True; no others are computed."""
        last = bool(where[:, -1].all()) and not bool(
            where[:, :-1].any()
        )  # then the last block makes one row of its own
        if last and not watched(
            *(m for name, m in self.blocks[-1].named_modules() if "hook_" in name)
        ):
            return self.unembed(self.ln_final(self.stream(x, last=True)[:, 0]))
        return self.unembed(self.ln_final(self.stream(x)[where]))

    @property
    def n_parameters(self) -> int:
        """The number of learned parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def _clear(*parts: nn.Module) -> None:
    """Sets weights to zero and freezes them, so that they are not learned or counted."""
    for weight in (w for part in parts for w in part.parameters()):
        nn.init.zeros_(weight).requires_grad_(False)


def _eye(size: int) -> nn.Parameter:
    return nn.Parameter(torch.eye(size), requires_grad=False)
