"""Other people's small models, those of TransformerLens: a plain network over their weights, hooked
at every address.

TransformerLens has two kinds of its own, `HookedTransformer` and the native bridge
(`TransformerBridge.boot_native`). Neither can be edited at every address: a native bridge makes its
attention out of sight, a `HookedTransformer` has no place for what a norm reads, and without MLPs
there is nothing at `mlp.3`. So both are read into one network of ours, whose hooks answer to our
names and to TransformerLens' (`blocks.1.hook_resid_pre`), and whose logits are compared with theirs
at load. A part that a model does not have is there and writes zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NO_TOKEN = "<unk>"


# --- the network ----------------------------------------------------------------------------------


class Norm(nn.Module):
    """LayerNorm ("ln"), RMSNorm ("rms") or nothing ("none"); a gain of one where it has none of its
    own.
    """

    def __init__(self, kind: str, width: int, eps: float, weight: Any = None, bias: Any = None):
        super().__init__()
        self.kind, self.eps = kind, eps
        if weight is None:
            self.register_buffer("weight", torch.ones(width), persistent=False)
        else:
            self.weight = weight
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "none":
            return x
        if self.kind == "rms":
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Reader(nn.Module):
    """A part behind a place for a hook on what it reads."""

    def __init__(self, part: nn.Module):
        super().__init__()
        self.hook_in, self.original_component = nn.Identity(), part

    def forward(self, x: Tensor) -> Tensor:
        return self.original_component(self.hook_in(x))


class Logits(nn.Linear):
    """The unembedding, its logits capped where the model caps them."""

    cap = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return _capped(super().forward(x), self.cap)


class Unembed(Reader):
    """The unembedding with a place for a hook on either side."""

    def __init__(self, part: nn.Module):
        super().__init__(part)
        self.hook_out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.hook_out(super().forward(x))


@dataclass(frozen=True)
class Shape:
    """What a small model is made of, apart from its weights."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    norm: str
    causal: bool = True
    parallel: bool = False
    scores_cap: float = 0.0
    logits_cap: float = 0.0
    rotation: tuple[Tensor, Tensor] | None = field(default=None, compare=False)  # [pos rotary_dim]
    adjacent: bool = False  # which dimensions turn together: neighbours, or those half a head apart


class Attention(nn.Module):
    """The heads of one layer."""

    def __init__(self, shape: Shape, parts: Mapping[str, nn.Linear], divisor: float):
        super().__init__()
        self.shape, self.divisor = shape, divisor
        for name in "qkvo":
            setattr(self, name, parts[name])
        for point in ("q", "k", "v", "attn_scores", "pattern", "z", "out"):
            setattr(self, f"hook_{point}", nn.Identity())

    W_Q = property(lambda self: self._heads(self.q.weight))
    W_K = property(lambda self: self._heads(self.k.weight))
    W_V = property(lambda self: self._heads(self.v.weight))
    W_O = property(lambda self: self.o.weight.T.unflatten(0, (-1, self.shape.d_head)))
    b_Q = property(lambda self: self._bias(self.q))
    b_K = property(lambda self: self._bias(self.k))
    b_V = property(lambda self: self._bias(self.v))
    b_O = property(lambda self: self.o.bias)

    def _heads(self, weight: Tensor) -> Tensor:
        return weight.unflatten(0, (-1, self.shape.d_head)).mT

    def _bias(self, part: nn.Linear) -> Tensor | None:
        return None if part.bias is None else part.bias.unflatten(0, (-1, self.shape.d_head))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            getattr(self, f"hook_{name}")(
                getattr(self, name)(x).unflatten(-1, (-1, self.shape.d_head))
            ).transpose(1, 2)
            for name in "qkv"
        )
        q, k = self._turned(q), self._turned(k)
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
        scores = _capped(q @ k.mT / self.divisor, self.shape.scores_cap)
        if self.shape.causal:
            n = x.shape[1]
            later = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        pattern = self.hook_pattern(self.hook_attn_scores(scores).softmax(-1))
        z = self.hook_z((pattern @ v).transpose(1, 2))
        return self.hook_out(self.o(z.flatten(-2)))

    def _turned(self, x: Tensor) -> Tensor:
        """Queries or keys [batch head pos d_head] turned by their position."""
        if self.shape.rotation is None:
            return x
        cos, sin = (part[: x.shape[-2]].to(x) for part in self.shape.rotation)
        turning, still = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
        if self.shape.adjacent:
            a, b = turning[..., 0::2], turning[..., 1::2]
            other = torch.stack([-b, a], -1).flatten(-2)
        else:
            a, b = turning.chunk(2, -1)
            other = torch.cat([-b, a], -1)
        return torch.cat([turning * cos + other * sin, still], -1)


class MLP(nn.Module):
    """Two maps and an activation, with a gate or without; of no width it writes zero."""

    def __init__(
        self, parts: Mapping[str, Any], act: Callable[[Tensor], Tensor] | None, width: int
    ):
        super().__init__()
        self.act, self.width = act, width
        self.up, self.gate, self.down = (parts.get(name) for name in ("up", "gate", "down"))
        self.middle = parts.get("middle")  # a bias on the gated product
        self.hook_pre, self.hook_post, self.hook_out = nn.Identity(), nn.Identity(), nn.Identity()

    @property
    def W_out(self) -> Tensor:
        """[d_mlp d_model]."""
        return self.down.weight.T

    def forward(self, x: Tensor) -> Tensor:
        if not self.width:
            empty = self.hook_post(self.hook_pre(x[..., :0]))
            return self.hook_out(torch.zeros_like(x) + empty.sum(-1, keepdim=True))
        post = self.act(self.hook_pre((self.up if self.gate is None else self.gate)(x)))
        if self.gate is not None:
            post = post * self.up(x)
            post = post if self.middle is None else post + self.middle
        return self.hook_out(self.down(self.hook_post(post)))


class Block(nn.Module):
    """Attention and MLP, each adding to the stream what it makes of its normed input."""

    def __init__(self, shape: Shape, ln1: Norm, attn: Attention, ln2: Norm, mlp: MLP):
        super().__init__()
        self.parallel = shape.parallel
        self.ln1, self.attn, self.ln2, self.mlp = Reader(ln1), attn, Reader(ln2), mlp
        for point in ("in", "out", "resid_pre", "resid_mid", "resid_post"):
            setattr(self, f"hook_{point}", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        x = self.hook_resid_pre(self.hook_in(x))
        wrote = self.attn(self.ln1(x))
        middle = x if self.parallel else self.hook_resid_mid(x + wrote)
        out = self.mlp(self.ln2(middle))
        out = x + wrote + out if self.parallel else middle + out
        return self.hook_out(self.hook_resid_post(out))


class Embed(nn.Module):
    """Tokens to the stream's width."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight, self.hook_out = weight, nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.hook_out(F.embedding(tokens, self.weight))


class Net(nn.Module):
    """A small transformer: tokens [batch pos] to logits [batch pos d_vocab]."""

    def __init__(
        self, embed: Embed, positions: Tensor | None, blocks: list[Block], final: Norm, out: Logits
    ):
        super().__init__()
        self.embed, self.blocks = embed, nn.ModuleList(blocks)
        if positions is not None:
            self.pos_embed = positions
        self.positions = positions is not None
        self.ln_final, self.unembed = Reader(final), Unembed(out)
        self.hook_embed, self.hook_pos_embed = nn.Identity(), nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.hook_embed(self.embed(tokens))
        if self.positions:
            x = x + self.hook_pos_embed(self.pos_embed[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.unembed(self.ln_final(x))


def _capped(x: Tensor, cap: float) -> Tensor:
    return x if cap <= 0 else cap * torch.tanh(x / cap)


# --- read from TransformerLens' own kinds ---------------------------------------------------------


def kind_of(x: Any) -> str | None:
    """ "hooked" for a HookedTransformer, "native" for a native bridge, None for anything else."""
    names = {base.__name__ for base in type(x).__mro__}
    if "HookedTransformer" in names:
        return "hooked"
    inside = getattr(x, "original_model", None)
    return "native" if type(inside).__name__ == "NativeModel" else None


def read(x: Any, name: str) -> tuple[Net, SimpleNamespace]:
    """The network of a HookedTransformer or a native bridge, and its configuration.

    A native bridge's weights are shared; a HookedTransformer keeps its own in other shapes, so they
    are copied.

    Raises:
        ValueError: If the model has a part that this network does not: alibi, local attention,
        experts, ...
    """
    net, shape = (_hooked if kind_of(x) == "hooked" else _native)(x, x.cfg)
    cfg = SimpleNamespace(
        model_name=name,
        n_layers=shape.n_layers,
        n_heads=shape.n_heads,
        n_key_value_heads=shape.n_kv_heads,
        d_model=shape.d_model,
        d_head=shape.d_head,
        d_mlp=shape.d_mlp,
        d_vocab=shape.d_vocab,
        d_vocab_out=net.unembed.original_component.weight.shape[0],
        n_ctx=shape.n_ctx,
        act_fn=x.cfg.act_fn,
        normalization_type={"ln": "LN", "rms": "RMS", "none": "none"}[shape.norm],
        parallel_attn_mlp=shape.parallel,
        default_prepend_bos=False,
        output_logits_soft_cap=shape.logits_cap or -1.0,
        device=str(next(net.parameters()).device),
        dtype=next(net.parameters()).dtype,
    )
    return net, cfg


# what a configuration may say that this network does not do, and what it says where it is not so
_NOT_HERE = {
    "use_local_attn": False,
    "num_experts": None,
    "use_qk_norm": False,
    "use_normalization_before_and_after": False,
    "post_embedding_ln": False,
    "attn_types": None,
    "relative_attention_num_buckets": None,
    "per_layer_head_dim": None,
    "per_layer_num_key_value_heads": None,
}


def _shape(cfg: Any, rotation: tuple[Tensor, Tensor] | None, adjacent: bool) -> Shape:
    odd = [k for k, usual in _NOT_HERE.items() if getattr(cfg, k, usual) not in (usual, None)]
    positions = str(getattr(cfg, "positional_embedding_type", None) or "standard")
    if positions not in ("standard", "rotary", "none"):
        odd.append(f"positional_embedding_type={positions!r}")
    if "ln" in str(cfg.act_fn).split("_"):
        odd.append(f"act_fn={cfg.act_fn!r}")
    if odd:
        raise ValueError(
            f"this small model has {', '.join(odd)}, which cannot be read from TransformerLens' own"
            " kinds: load it through transformers (a folder, or a model object), or build it with"
            " interp.toys.transformer"
        )
    kind = str(cfg.normalization_type or "none").lower()
    return Shape(
        n_layers=cfg.n_layers,
        d_model=cfg.d_model,
        n_heads=cfg.n_heads,
        n_kv_heads=getattr(cfg, "n_key_value_heads", None) or cfg.n_heads,
        d_head=cfg.d_head,
        d_mlp=0 if cfg.attn_only else cfg.d_mlp,
        d_vocab=cfg.d_vocab,
        n_ctx=cfg.n_ctx,
        norm="rms" if "rms" in kind else "none" if kind == "none" else "ln",
        causal=cfg.attention_dir != "bidirectional",
        parallel=bool(getattr(cfg, "parallel_attn_mlp", False)),
        scores_cap=max(0.0, float(getattr(cfg, "attn_scores_soft_cap", -1.0) or 0.0)),
        logits_cap=max(0.0, float(getattr(cfg, "output_logits_soft_cap", -1.0) or 0.0)),
        rotation=rotation,
        adjacent=adjacent,
    )


def _plain(part: Any) -> Any:
    """What TransformerLens' wrappers hold."""
    while getattr(part, "original_component", None) is not None:
        part = part.original_component
    return part


def _native(x: Any, cfg: Any) -> tuple[Net, Shape]:
    inside = x.original_model
    turning = _plain(inside.rotary) if getattr(inside, "rotary", None) is not None else None
    rotation = None if turning is None else (turning.cos_cached, turning.sin_cached)
    shape = _shape(cfg, rotation, adjacent=True)

    def norm(part: Any, kind: str) -> Norm:
        part = _plain(part)
        kept = (getattr(part, "weight", None), getattr(part, "bias", None))
        return Norm(kind, shape.d_model, float(getattr(part, "eps", 0.0)), *kept)

    blocks = []
    for block in x.blocks:
        attention = _plain(block.attn)
        parts = {name: _plain(getattr(block.attn, name)) for name in "qkvo"}
        mlp: dict[str, Any] = {}
        if shape.d_mlp:
            mlp = {"up": _plain(getattr(block.mlp, "in")), "down": _plain(block.mlp.out)}
            mlp |= {"gate": _plain(block.mlp.gate)} if cfg.gated_mlp else {}
        act = _plain(block.mlp).act if mlp else None
        second = norm(block.ln2, shape.norm) if mlp else Norm("none", shape.d_model, 0.0)
        attn = Attention(shape, parts, float(attention.scale))
        blocks.append(
            Block(shape, norm(block.ln1, shape.norm), attn, second, MLP(mlp, act, shape.d_mlp))
        )
    head = _plain(x.unembed)
    out = Logits(shape.d_model, head.weight.shape[0], bias=getattr(head, "bias", None) is not None)
    out.weight, out.bias, out.cap = head.weight, getattr(head, "bias", None), shape.logits_cap
    positions = _plain(x.pos_embed).weight if turning is None else None
    final = norm(x.ln_final, "rms" if cfg.final_rms else shape.norm)
    return Net(Embed(_plain(x.embed).weight), positions, blocks, final, out), shape


def _hooked(x: Any, cfg: Any) -> tuple[Net, Shape]:
    def own(tensor: Tensor) -> nn.Parameter:
        return nn.Parameter(tensor.detach().clone().contiguous(), requires_grad=False)

    def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
        """A map from W [in out], and its bias."""
        made = nn.utils.skip_init(nn.Linear, *weight.shape, bias=bias is not None)
        made.weight = own(weight.T)
        made.bias = None if bias is None else own(bias)
        return made

    turning = x.blocks[0].attn if cfg.positional_embedding_type == "rotary" else None
    rotation = None if turning is None else (turning.rotary_cos.clone(), turning.rotary_sin.clone())
    shape = _shape(cfg, rotation, bool(getattr(cfg, "rotary_adjacent_pairs", False)))

    def norm(part: Any, kind: str) -> Norm:
        kept = (getattr(part, "w", None), getattr(part, "b", None))
        return Norm(
            kind, shape.d_model, float(cfg.eps), *(None if t is None else own(t) for t in kept)
        )

    def projection(attn: Any, name: str) -> nn.Linear:
        grouped = name in "KV" and shape.n_kv_heads != shape.n_heads
        weight, bias = (getattr(attn, f"{'_' if grouped else ''}{kind}_{name}") for kind in "Wb")
        return linear(weight.transpose(0, 1).flatten(1), bias.flatten())

    blocks = []
    for block in x.blocks:
        attn = block.attn
        parts = {name.lower(): projection(attn, name) for name in "QKV"}
        parts["o"] = linear(attn.W_O.flatten(0, 1), attn.b_O)
        mlp: dict[str, Any] = {}
        if shape.d_mlp:
            m = block.mlp
            gated = getattr(m, "W_gate", None) is not None
            mlp = {
                "up": linear(m.W_in, None if gated else m.b_in),
                "down": linear(m.W_out, m.b_out),
            }
            mlp |= {"gate": linear(m.W_gate, None), "middle": own(m.b_in)} if gated else {}
        act = block.mlp.act_fn if mlp else None
        second = norm(block.ln2, shape.norm) if mlp else Norm("none", shape.d_model, 0.0)
        blocks.append(
            Block(
                shape,
                norm(block.ln1, shape.norm),
                Attention(shape, parts, float(attn.attn_scale)),
                second,
                MLP(mlp, act, shape.d_mlp),
            )
        )
    head = linear(x.unembed.W_U, x.unembed.b_U)
    out = Logits(shape.d_model, head.weight.shape[0])
    out.weight, out.bias, out.cap = head.weight, head.bias, shape.logits_cap
    learned = cfg.positional_embedding_type == "standard"
    positions = own(x.pos_embed.W_pos) if learned else None
    final = norm(getattr(x, "ln_final", None), "rms" if cfg.final_rms else shape.norm)
    return Net(Embed(own(x.embed.W_E)), positions, blocks, final, out), shape


def other_names(n_layers: int) -> dict[str, str]:
    """TransformerLens' names of places that go by another name here."""
    parts = ("attn", "mlp")
    return {
        f"blocks.{layer}.hook_{part}_out": f"blocks.{layer}.{part}.hook_out"
        for layer in range(n_layers)
        for part in parts
    }


def tokenizer(d_vocab: int) -> Any:
    """A tokenizer for a model that has none: token 3 is "t3", words are set apart by spaces.

    Example:
        >>> tokenizer(64)("t3 t5").input_ids
        [3, 5]
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"t{i}": i for i in range(d_vocab)}
    # one past the model's own tokens, so that it is refused and never read as another word
    built = Tokenizer(models.WordLevel({**words, NO_TOKEN: d_vocab}, unk_token=NO_TOKEN))
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=built, unk_token=NO_TOKEN, clean_up_tokenization_spaces=False
    )
