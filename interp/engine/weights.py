"""What the lean forward knows of a model: its weights as views, and the few switches that tell
block kinds apart.

Everything here is a frozen value. Weights are detached views of the model's own parameters, except
gains that the model computes (Gemma's 1 + weight) or multiplies in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from interp.engine.backward_rules import Rules

THIN = 128  # below so many rows the order of a product matters


@dataclass(frozen=True)
class Affine:
    """A linear map with its weight as [out, in] (a view; GPT-2 stores the transpose) and an
    optional bias.
    """

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if x.numel() < THIN * x.shape[-1] and self.weight.is_contiguous():
            return self._thin(x)
        return F.linear(x, self.weight, self.bias)

    def _thin(self, x: Tensor) -> Tensor:
        """The same product the other way round, the few rows filled up to whole vectors of the
        processor.

        One prompt is bound by reading the weights; this order keeps both cores reading (1.1 to 1.8
        times as fast).
        """
        rows = x.reshape(-1, x.shape[-1])
        out = self.weight @ F.pad(rows, (0, 0, 0, -len(rows) % 16)).T
        out = out[:, : len(rows)].T.contiguous().view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


@dataclass(frozen=True)
class Norm:
    """LayerNorm (kind "ln") or RMSNorm (kind "rms"), with its gain, bias and epsilon; "none" leaves
    the stream as it is.

    A gain in another number type than x (float32) is multiplied in that type. `frozen`: backward
    passes take the scale for a constant (see `backward_rules`).
    """

    kind: str
    weight: Tensor
    bias: Tensor | None
    eps: float
    frozen: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        if self.kind == "none":
            return x
        if self.frozen and x.requires_grad:
            at = x.detach()
            return self._of(at) + self.moved(at, x - at)
        return self._of(x)

    def moved(self, at: Tensor, move: Tensor) -> Tensor:
        """What a move of x makes of the output while the scale stays as it is at `at`."""
        if self.kind == "ln":
            at, move = (value - value.mean(-1, keepdim=True) for value in (at, move))
        size = (at.pow(2).mean(-1, keepdim=True) + self.eps).rsqrt()
        return move * size * self.weight.to(move)

    def _of(self, x: Tensor) -> Tensor:
        if self.kind == "ln":
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        if x.dtype == self.weight.dtype:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        exact = F.rms_norm(x.to(self.weight), self.weight.shape, self.weight, self.eps)
        return exact.to(x.dtype)

    def share(self, x: Tensor) -> Tensor:
        """What an RMSNorm multiplies x [... d_model] with, gain over scale: so also each part of a
        sum x.
        """
        exact = x if x.dtype.itemsize >= 4 else x.float()
        size = (exact.pow(2).mean(-1, keepdim=True) + self.eps).rsqrt()
        return (size * self.weight).to(x.dtype)


@dataclass(frozen=True)
class Rotation:
    """How queries and keys turn with their position.

    inv_freq [rotary_dim / 2]: angles per position.
    """

    inv_freq: Tensor
    scale: float = 1.0


@dataclass(frozen=True)
class Layer:
    """One block. `qkv` has three maps, or one whose output is laid out as `Engine.qkv_layout` says;
    `up` has two maps (gate, up) in a gated MLP and one in a plain MLP."""

    norm1: Norm
    qkv: tuple[Affine, ...]
    out: Affine
    norm2: Norm
    up: tuple[Affine, ...]
    down: Affine
    scale: float  # multiplies the scores: usually d_head ** -0.5
    q_norm: Norm | None = None  # of each head's query and key, before the rotation (Qwen3)
    k_norm: Norm | None = None
    # of all heads' queries together, and of their keys (OLMo-2): `q` and `k` are what comes after
    joint_norms: tuple[Norm, Norm] | None = None
    # of `Engine.rotations`; None: this layer's queries and keys know no positions (SmolLM3)
    rotary: int | None = 0
    reach: int | None = None  # a query sees so many keys, itself among them (a sliding window)
    # what attention and the MLP write goes through these before it is added (Gemma-2, OLMo-2)
    after_attn: Norm | None = None
    after_mlp: Norm | None = None

    def heads_out(self, n_heads: int) -> Tensor:
        """W_O as [head d_head d_model]."""
        return self.out.weight.view(len(self.out.weight), n_heads, -1).permute(1, 2, 0)


@dataclass(frozen=True)
class Engine:
    """A model ready for the lean forward: sizes, switches and weights. Made by `build`."""

    architecture: str
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    parallel: bool  # attention and MLP both read resid_pre
    qkv_layout: (
        str  # "separate", "blocks" (all q, all k, all v) or "interleaved" (per head q, k, v)
    )
    act: Callable[[Tensor], Tensor]
    embed: Tensor
    positions: Tensor | None  # learned positions [n_ctx d_model]
    rotations: tuple[Rotation, ...]  # none with learned positions; Gemma-3 has two
    layers: tuple[Layer, ...]
    final_norm: Norm
    unembed: Affine
    embed_scale: float = 1.0
    score_cap: float | None = None  # scores are cap * tanh(scores / cap), and so are logits
    logit_cap: float | None = None
    rules: Rules | None = None  # of backward passes; None: the gradient

    @property
    def n_layers(self) -> int:
        """How many blocks."""
        return len(self.layers)

    @property
    def group(self) -> int:
        """Query heads per KV head: head h reads KV head h // group."""
        return self.n_heads // self.n_kv_heads

    @property
    def rotary_dim(self) -> int:
        """How many dimensions of a head turn with position (0 with learned positions)."""
        return 2 * len(self.rotations[0].inv_freq) if self.rotations else 0

    @property
    def norms_writes(self) -> bool:
        """Whether what attention writes is normed before it is added: then what one head writes is
        its share under the run's own norm scale, and no matrix product of its z.
        """
        return any(layer.after_attn is not None for layer in self.layers)

    @property
    def head_kind(self) -> str:
        """The kind of activation that stands for what one head writes: z where that is linear."""
        return "write" if self.norms_writes else "z"

    def logits(self, normed: Tensor) -> Tensor:
        """Logits [... d_vocab] of a residual [... d_model] after the final norm."""
        # contiguous: a strided x[:, -1:] times the unembedding takes a path ten times slower
        return self.capped(self.unembed(normed.contiguous()))

    def capped(self, logits: Tensor) -> Tensor:
        """Logits as the model gives them, from those of the unembedding."""
        return soft_cap(logits, self.logit_cap)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed.device

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return self.embed.element_size()

    def __repr__(self) -> str:
        kv = "" if self.group == 1 else f" ({self.n_kv_heads} KV)"
        return (
            f"Engine({self.architecture}, {self.n_layers} layers x {self.n_heads} heads{kv},"
            f" d_model {self.d_model})"
        )


def soft_cap(x: Tensor, cap: float | None) -> Tensor:
    """x, softly kept within -cap and cap; None leaves it as it is."""
    return x if cap is None else torch.tanh(x / cap) * cap
