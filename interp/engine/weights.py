"""What the lean forward knows of a model: its weights as views, and the few switches that tell
block kinds apart.

Everything here is a frozen value. No tensor is copied: each weight is a detached view of the
model's own parameter, so an edit made to the parameter in place is seen here too.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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
    """LayerNorm (kind "ln") or RMSNorm (kind "rms"), with its gain, bias and epsilon."""

    kind: str
    weight: Tensor
    bias: Tensor | None
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        if self.kind == "rms":
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


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
    rotary: bool = True  # False: this layer's queries and keys know no positions (SmolLM3)
    reach: int | None = None  # a query sees so many keys, itself among them (a sliding window)


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
    inv_freq: Tensor | None  # rotary frequencies [rotary_dim / 2]
    rope_scale: float
    layers: tuple[Layer, ...]
    final_norm: Norm
    unembed: Affine

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
        return 0 if self.inv_freq is None else 2 * len(self.inv_freq)

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
