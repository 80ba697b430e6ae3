"""How each kind of dictionary computes its latents from an activation: one function per kind.

An encoder takes the dictionary's weights, its settings and x [... d_in], and returns z
[... latent]; gradients pass through it. Every kind decodes in the same way, z @ W_dec + b_dec.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import Tensor

from interp._errors import unknown

Encoder = Callable[[Mapping[str, Tensor], Mapping[str, Any], Tensor], Tensor]


def _before(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], x: Tensor, bias: str = "b_enc"
) -> Tensor:
    """The latents before their activation function [... latent]."""
    if settings.get("apply_b_dec_to_input"):
        x = x - weights["b_dec"]
    return x @ weights["W_enc"] + weights[bias]


def relu(weights: Mapping[str, Tensor], settings: Mapping[str, Any], x: Tensor) -> Tensor:
    """Latents by ReLU."""
    return _before(weights, settings, x).relu()


def topk(weights: Mapping[str, Tensor], settings: Mapping[str, Any], x: Tensor) -> Tensor:
    """The k largest latents of each activation, where they are above zero."""
    before = _before(weights, settings, x)
    values, at = before.topk(settings["k"], dim=-1, sorted=False)
    return before.new_zeros(before.shape).scatter(-1, at, values.relu())


def jumprelu(weights: Mapping[str, Tensor], settings: Mapping[str, Any], x: Tensor) -> Tensor:
    """The latents that lie above their own threshold, the others zero."""
    before = _before(weights, settings, x)
    return before.relu() * (before > weights["threshold"])


def gated(weights: Mapping[str, Tensor], settings: Mapping[str, Any], x: Tensor) -> Tensor:
    """Latents that one half of the encoder switches on and the other half gives their size."""
    gate = _before(weights, settings, x, "b_gate")
    size = (gate - weights["b_gate"]) * weights["r_mag"].exp() + weights["b_mag"]
    return (gate > 0) * size.relu()


# A row is a function, or "module:function" for what is loaded when it is needed.
KINDS: dict[str, Encoder | str] = {
    "standard": relu,
    "topk": topk,
    "jumprelu": jumprelu,
    "gated": gated,
    "transcoder": relu,
    "skip_transcoder": relu,
    "jumprelu_transcoder": jumprelu,
    "jumprelu_skip_transcoder": jumprelu,
    "pursuit": "interp.features.evaluation.gradient_pursuit:encode",
    "snmf": "interp.features.factorisation.factorise:snmf",
}
# The tensors that each kind's encoder reads, with their axes.
_PLAIN = {"W_enc": ("d_in", "latent"), "b_enc": ("latent",)}
_JUMP = {**_PLAIN, "threshold": ("latent",)}
_SKIP = {"W_skip": ("d_out", "d_in")}
READS: dict[str, dict[str, tuple[str, ...]]] = {
    "standard": _PLAIN,
    "topk": _PLAIN,
    "jumprelu": _JUMP,
    "gated": {
        "W_enc": ("d_in", "latent"),
        "b_gate": ("latent",),
        "r_mag": ("latent",),
        "b_mag": ("latent",),
    },
    "transcoder": _PLAIN,
    "skip_transcoder": _PLAIN | _SKIP,
    "jumprelu_transcoder": _JUMP,
    "jumprelu_skip_transcoder": _JUMP | _SKIP,
}
# Those whose folder is sae-lens' own, under sae-lens' name of the architecture.
SAE_LENS = (
    "standard",
    "topk",
    "jumprelu",
    "gated",
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
)


def encoder(kind: str) -> Encoder:
    """The encoder of a kind; a ValueError with the nearest names for an unknown kind."""
    if kind not in KINDS:
        raise unknown("kind of dictionary", kind, KINDS)
    row = KINDS[kind]
    if isinstance(row, str):
        module, name = row.split(":")
        row = getattr(import_module(module), name)
    return row
