"""Direct effects between places of one prompt's run, attention patterns and norm scales held.

With these held, attention is an affine map of the stream that enters it, and a block without its
MLP is the stream plus that map. So what a place reads along a direction is a sum over everything
that was written into the stream before it, and one backward sweep over the layers gives its parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp import engine as lean
from interp.engine.forward import Run, project
from interp.engine.weights import Affine, Engine, Layer

AT_ONCE = 256  # targets carried through the layers together
KEEP = ("resid_pre", "pattern", "attn_out", "mlp_out", "resid_post")


@dataclass(frozen=True)
class Target:
    """A place that reads the stream along a direction.

    Attributes:
        layer: The block.
        inside: Whether it reads what the block's MLP reads (otherwise the stream after the block).
        pos: The position.
        direction: Along which it reads [d_model].
    """

    layer: int
    inside: bool
    pos: int
    direction: Float[Tensor, "d_model"]


@dataclass(frozen=True)
class Written:
    """What is written into the stream at one place: vectors, and biases that are no node.

    Attributes:
        pos: The position of each vector [source].
        vectors: What each source writes [source d_model].
        columns: Which source of the graph each is [source].
        bias: Written at every position besides [d_model]; None: nothing.
        skip: A linear path from what is read to the MLP's output [d_model d_model]; None: none.
        through: What that path reads: "in" (the stream before the MLP), or "normalized" or
            "module_in" (after its norm, before and after the norm's weights).
    """

    pos: Tensor
    vectors: Tensor
    columns: Tensor
    bias: Tensor | None = None
    skip: Tensor | None = None
    through: str = "in"


class HeldRun:
    """The run of one prompt whose attention patterns and norm scales are held."""

    def __init__(self, engine: Engine, tokens: Tensor) -> None:
        self.engine = engine
        found = lean.run(engine, tokens, keep=KEEP, logits="end")
        kept = {kind: [value.float() for value in some] for kind, some in found.kept.items()}
        self.run: Run = replace(found, kept=kept)
        self.length = tokens.shape[1]
        self._layers: dict[int, Layer] = {}

    def layer(self, number: int) -> Layer:
        """A block with the weights of its attention in float32."""
        if number not in self._layers:
            own = self.engine.layers[number]
            maps = tuple(_exact(part) for part in own.qkv)
            self._layers[number] = replace(own, qkv=maps, out=_exact(own.out))
        return self._layers[number]

    def attention(self, number: int, x: Float[Tensor, "pos d_model"]) -> Tensor:
        """What the attention of a block adds to the stream if x enters it [pos d_model]."""
        engine, layer = self.engine, self.layer(number)
        entered = self.run["resid_pre"][number][0]
        normed = x if layer.norm1.kind == "none" else layer.norm1.moved(entered, x)
        if layer.norm1.bias is not None and layer.norm1.kind == "ln":
            normed = normed + layer.norm1.bias.float()
        v = project(engine, layer, normed)[2].repeat_interleave(engine.group, 1)
        z = torch.einsum("hqs,shd->qhd", self.run["pattern"][number][0], v)
        out = layer.out(z.flatten(-2))
        if layer.after_attn is None:
            return out
        with torch.no_grad():
            v = project(engine, layer, layer.norm1(entered))[2].repeat_interleave(engine.group, 1)
            z = torch.einsum("hqs,shd->qhd", self.run["pattern"][number][0], v)
            share = layer.after_attn.share(layer.out(z.flatten(-2)))
        return out * share

    def back(self, number: int, slope: Float[Tensor, "target pos d_model"]) -> Tensor:
        """The slopes before the attention of a block, from those after it."""
        # a search for anomalies cannot look into a batch of gradients
        quiet = torch.autograd.set_detect_anomaly(False)
        with torch.inference_mode(False), torch.enable_grad(), quiet:
            x = torch.zeros_like(slope[0]).requires_grad_(True)
            out = self.attention(number, x)
            (through,) = torch.autograd.grad(out, x, slope, is_grads_batched=True)
        return slope + through

    def before_norm(
        self,
        number: int,
        through: str,
        slope: Float[Tensor, "*some d_model"],
        pos: Any = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """The slopes in the stream before a block's MLP, from those of what is read of it, and what
        the norm's bias alone gives [*some].

        Args:
            number: The block.
            through: "in": the stream itself; "normalized": after the norm, whose scale is held;
                "module_in": after the norm's weights, too.
            slope: Whose last axis but one is the positions, if there are several.
            pos: The position, or all of them.
        """
        norm = self.engine.layers[number].norm2
        given = slope.new_zeros(slope.shape[:-1])
        if through == "in" or norm.kind == "none":
            return slope, given
        if through == "module_in":
            if norm.bias is not None and norm.kind == "ln":
                given = slope @ norm.bias.float()
            slope = slope * norm.weight.float()
        x = self.run["resid_pre"][number][0, pos]
        if not self.engine.parallel:
            x = x + self.run["attn_out"][number][0, pos]
        if norm.kind == "ln":
            x = x - x.mean(-1, keepdim=True)
        slope = slope * (x.pow(2).mean(-1, keepdim=True) + norm.eps).rsqrt()
        return (slope - slope.mean(-1, keepdim=True) if norm.kind == "ln" else slope), given

    def offset(self, number: int) -> Float[Tensor, "pos d_model"]:
        """What the attention of a block adds from its biases alone."""
        with torch.no_grad():
            return self.attention(number, torch.zeros_like(self.run["resid_pre"][number][0]))

    def final(self, direction: Float[Tensor, "d_model"]) -> tuple[Target, float]:
        """What reads the last position's logits along a direction of the normed stream, and the
        bias that it adds.
        """
        norm, last = self.engine.final_norm, self.engine.n_layers - 1
        at = self.run["resid_post"][last][0, -1]
        if norm.kind == "none":
            return Target(last, False, self.length - 1, direction), 0.0
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.zeros_like(at).requires_grad_(True)
            (slope,) = torch.autograd.grad((norm.moved(at, x) * direction).sum(), x)
        bias = (
            float(direction @ norm.bias.float())
            if norm.bias is not None and norm.kind == "ln"
            else 0.0
        )
        return Target(last, False, self.length - 1, slope), bias


def _exact(part: Affine) -> Affine:
    if part.weight.dtype == torch.float32:
        return part
    return Affine(part.weight.float(), None if part.bias is None else part.bias.float())


def direct_effects(
    held: HeldRun,
    targets: Sequence[Target],
    stream: Mapping[int, Written],
    mlps: Mapping[int, Written],
    tokens: Written,
    n_sources: int,
) -> tuple[Float[Tensor, "target source"], Float[Tensor, "target"]]:
    """The direct effect of each source on each target, and what biases alone give each target.

    Args:
        held: The run.
        targets: What reads.
        stream: Of layers whose stream after the block is cut: all that it consists of.
        mlps: Of every layer, what its MLP writes.
        tokens: The embeddings.
        n_sources: How many columns.
    """
    order = sorted(range(len(targets)), key=lambda i: -targets[i].layer)
    effects = torch.zeros(len(targets), n_sources)
    biases = torch.zeros(len(targets))
    for begin in range(0, len(order), AT_ONCE):
        some = order[begin : begin + AT_ONCE]
        rows, bias = _sweep(held, [targets[i] for i in some], stream, mlps, tokens, n_sources)
        effects[some], biases[some] = rows.cpu(), bias.cpu()
    return effects, biases


def _sweep(
    held: HeldRun,
    targets: Sequence[Target],
    stream: Mapping[int, Written],
    mlps: Mapping[int, Written],
    tokens: Written,
    n_sources: int,
) -> tuple[Tensor, Tensor]:
    engine = held.engine
    like = held.run["resid_pre"][0]
    slope = like.new_zeros(len(targets), held.length, engine.d_model)
    effects, bias = like.new_zeros(len(targets), n_sources), like.new_zeros(len(targets))

    def enter(layer: int, inside: bool) -> None:
        for i, target in enumerate(targets):
            if target.layer == layer and target.inside == inside:
                slope[i, target.pos] += target.direction

    def read(written: Written) -> None:
        for pos in written.pos.unique().tolist():
            here = (written.pos == pos).nonzero()[:, 0]
            effects[:, written.columns[here]] += slope[:, pos] @ written.vectors[here].T
        if written.bias is not None:
            bias.add_(slope.sum(1) @ written.bias)

    for layer in range(max(target.layer for target in targets), -1, -1):
        if layer in stream:
            read(stream[layer])
            slope = torch.zeros_like(slope)
        enter(layer, False)
        read(mlps[layer])
        skip, through = mlps[layer].skip, None
        if skip is not None:
            through, given = held.before_norm(layer, mlps[layer].through, slope @ skip)
            bias.add_(given.sum(1))
        if not engine.parallel:
            slope = slope if through is None else slope + through
            enter(layer, True)
        bias.add_((slope * held.offset(layer)).sum((1, 2)))
        slope = held.back(layer, slope) if slope.any() else slope
        if engine.parallel:
            slope = slope if through is None else slope + through
            enter(layer, True)
    read(tokens)
    return effects, bias
