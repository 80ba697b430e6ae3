"""Other rules for the backward pass: the run is the same, and what flows back is not the gradient.

A gradient misleads where effects interact: a norm or a softmax that is saturated, two factors of
which each alone changes little. Two published sets of rules change what is handed back there.

| rules | norms | softmax | queries, keys | values | gate x up | activation function |
| --- | --- | --- | --- | --- | --- | --- |
| `GIM` | scale is a constant | slope at twice the temperature | 1/4 | 1/2 | 1 | its slope |
| `RELP` | scale is a constant | | 0: the pattern is a constant | 1 | 1/2 to each | output / input |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from interp.engine.weights import Engine


@dataclass(frozen=True)
class Rules:
    """What is handed back, as a share of the gradient, where a run multiplies or bends.

    Attributes:
        qk: Of what flows into queries and keys.
        v: Of what flows into values.
        temperature: At which the slope of the attention's softmax is taken.
        product: Of what flows into the two factors of a gated MLP.
        ratio: Whether an activation function hands back output / input in place of its slope.
    """

    qk: float
    v: float
    temperature: float
    product: float
    ratio: bool


# Edin et al. 2025 (arXiv 2505.17630), with the numbers of the authors' package gim-explain 0.1.4
GIM = Rules(qk=0.25, v=0.5, temperature=2.0, product=1.0, ratio=False)
# Rezaei Jafari et al. 2025 (arXiv 2508.21258)
RELP = Rules(qk=0.0, v=1.0, temperature=1.0, product=0.5, ratio=True)


def with_rules(engine: "Engine", rules: Rules) -> "Engine":
    """The same engine, whose backward passes follow these rules; its runs give the same numbers.

    Example:
        >>> _, relevance = gradients(with_rules(engine, RELP), clean, read, ("z",))
    """

    def frozen(layer: Any) -> Any:
        norms = {
            name: replace(norm, frozen=True)
            for name in ("norm1", "norm2", "q_norm", "k_norm", "after_attn", "after_mlp")
            if (norm := getattr(layer, name)) is not None
        }
        joint = layer.joint_norms and tuple(replace(n, frozen=True) for n in layer.joint_norms)
        return replace(layer, **norms, joint_norms=joint)

    return replace(
        engine,
        rules=rules,
        act=_ratio(engine.act) if rules.ratio else engine.act,
        layers=tuple(map(frozen, engine.layers)),
        final_norm=replace(engine.final_norm, frozen=True),
    )


def share(x: Tensor, part: float) -> Tensor:
    """x, of whose gradient a part is handed back."""
    return x if part == 1 or not x.requires_grad else x.detach() + part * (x - x.detach())


def _ratio(act: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """An activation function that hands back output / input (0 where the input is 0)."""

    def of(x: Tensor) -> Tensor:
        if not x.requires_grad:
            return act(x)
        at = x.detach()
        out = act(at)
        return out + (x - at) * torch.where(at == 0, 0.0, out / torch.where(at == 0, 1.0, at))

    return of


def softmax(scores: Tensor, temperature: float) -> Tensor:
    """The softmax of scores [... src], whose slope is that at another temperature."""
    if temperature == 1 or not scores.requires_grad:
        return scores.softmax(-1)
    # softmax(s / T) has the slope of the wanted one but for its factor 1 / T
    soft = (scores / temperature).softmax(-1) * temperature
    return scores.detach().softmax(-1) + soft - soft.detach()
