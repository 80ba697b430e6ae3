"""What is trained: all weights or some layers', low-rank changes of matrices, offsets of heads.

Each kind of change knows which numbers are learned, what runs while they are, and how they are put
into a model's weights afterwards. The package peft does the second kind too. It is not used here:
it replaces layers of a Hugging Face model by their names there, and a loaded model keeps those
layers inside of TransformerLens' own; it knows no models of `interp.toys`; and LoRA itself is the
dozen lines below. A model that was trained with peft is loaded with `interp.load`.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from interp import sites
from interp._errors import listed, unknown
from interp._types import Model
from interp.edits import add
from interp.interventions import Intervention
from interp.models import bridge
from interp.sites import Site

HOW = ("full", "lora", "offsets")
# What the matrices are called in models' own files and in other packages, in small letters.
ELSEWHERE = {
    "q_proj": "q",
    "query": "q",
    "w_q": "q",
    "wq": "q",
    "k_proj": "k",
    "key": "k",
    "w_k": "k",
    "wk": "k",
    "v_proj": "v",
    "value": "v",
    "w_v": "v",
    "wv": "v",
    "o_proj": "o",
    "out_proj": "o",
    "w_o": "o",
    "wo": "o",
    "dense": "o",
    "c_attn": ("q", "k", "v"),
    "qkv_proj": ("q", "k", "v"),
    "query_key_value": ("q", "k", "v"),
    "gate_proj": "gate",
    "w_gate": "gate",
    "up": "in",
    "up_proj": "in",
    "w_in": "in",
    "c_fc": "in",
    "fc1": "in",
    "fc_in": "in",
    "dense_h_to_4h": "in",
    "gate_up_proj": ("gate", "in"),
    "down": "out",
    "down_proj": "out",
    "w_out": "out",
    "fc2": "out",
    "fc_out": "out",
    "dense_4h_to_h": "out",
    "all-linear": tuple(bridge.MATRICES),
}


class Full:
    """The weights themselves: all of the model, or all of some layers."""

    rate = 5e-5

    def __init__(self, model: Model, layers: Sequence[int] | None) -> None:
        self.layers = layers
        self.names = list(bridge.trainable(model, layers))
        if not self.names:
            raise ValueError(f"layers {layers} of {bridge.name(model)} have no weights to train")
        self.title = "full" if layers is None else f"layers {listed(layers)}"

    def start(self, model: Model, generator: torch.Generator) -> dict[str, Tensor]:
        """The numbers that are learned: the model's own where they are of 32 bits or more."""
        self.own = bridge.trainable(model, self.layers)
        return {
            name: p.requires_grad_(True)
            if p.dtype.itemsize >= 4
            else p.requires_grad_(True).detach().float().clone().requires_grad_(True)
            for name, p in self.own.items()
        }

    @contextlib.contextmanager
    def applied(self, model: Model, learned: dict[str, Tensor]) -> Iterator[list[Intervention]]:
        """Inside, a run is one with what is learned."""
        yield []

    def gradients(self, learned: dict[str, Tensor]) -> None:
        """Takes the gradients over from weights of 16 bits to the numbers that are learned."""
        for name, p in self.own.items():
            if learned[name] is not p and p.grad is not None:
                learned[name].grad, p.grad = p.grad.to(learned[name]), None

    @torch.no_grad()
    def stepped(self, learned: dict[str, Tensor]) -> None:
        """Puts what was learned into weights of 16 bits."""
        for name, p in self.own.items():
            if learned[name] is not p:
                p.copy_(learned[name])

    @torch.no_grad()
    def merge(self, model: Model, learned: dict[str, Tensor]) -> None:
        """Puts what was learned into a model's weights."""
        own = bridge.trainable(model, self.layers)
        for name, value in learned.items():
            if own[name] is not value:
                own[name].copy_(value)
            own[name].requires_grad_(False)
        bridge.joined(model)

    def kept(self, model: Model, learned: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is kept: the weights as they are now."""
        return {name: p.detach() for name, p in bridge.trainable(model, self.layers).items()}


class Lora:
    """A change of rank `rank` of some matrices: W + alpha / rank * B A."""

    rate = 1e-3

    def __init__(
        self,
        model: Model,
        layers: Sequence[int] | None,
        matrices: Sequence[str],
        rank: int,
        alpha: float | None,
    ) -> None:
        for which in matrices:
            if which not in bridge.MATRICES:
                raise unknown(
                    "matrix", which, bridge.MATRICES, "matrices=('q', 'v')", elsewhere=ELSEWHERE
                )
        if not matrices or rank < 1:
            raise ValueError(
                f"matrices={tuple(matrices)}, rank={rank}: LoRA needs at least one matrix and a"
                " rank of at least 1, matrices=('q', 'v'), rank=4"
            )
        every = range(bridge.dims(model).n_layers) if layers is None else layers
        self.places = [(layer, which) for layer in every for which in dict.fromkeys(matrices)]
        lacking = [place for place in self.places if bridge.linear(model, *place) is None]
        if lacking:
            layer, which = lacking[0]
            there = [w for w in bridge.MATRICES if bridge.linear(model, layer, w) is not None]
            raise ValueError(
                f"layer {layer} of {bridge.name(model)} has no matrix {which!r}: it has"
                f" {listed(there) or 'none that LoRA can change'}"
            )
        self.rank, self.alpha = rank, float(rank if alpha is None else alpha)
        self.title = f"LoRA of rank {rank} on {', '.join(dict.fromkeys(matrices))}"
        if layers is not None:
            self.title += f" in layers {listed(layers)}"

    def start(self, model: Model, generator: torch.Generator) -> dict[str, Tensor]:
        """A drawn as torch draws a Linear, B zero, so that nothing is changed at first."""
        out, device = {}, bridge.device(model)
        for layer, which in self.places:
            module = bridge.linear(model, layer, which)
            n_out, n_in = module.weight.shape
            if bridge.transposed(module):
                n_out, n_in = n_in, n_out
            kind = module.weight.dtype if module.weight.dtype.itemsize >= 4 else torch.float32
            drawn = torch.rand(self.rank, n_in, generator=generator, dtype=torch.float64)
            drawn = (2 * drawn - 1) / n_in**0.5
            for name, value in (("A", drawn), ("B", torch.zeros(n_out, self.rank))):
                value = value.to(device=device, dtype=kind).requires_grad_(True)
                out[f"L{layer}.{which}.{name}"] = value
        return out

    @contextlib.contextmanager
    def applied(self, model: Model, learned: dict[str, Tensor]) -> Iterator[list[Intervention]]:
        """Inside, each matrix adds what A and B make of its input."""

        def hook(place: str) -> Any:
            def change(module: Any, args: tuple, out: Tensor) -> Tensor:
                a, b = learned[f"{place}.A"].to(out), learned[f"{place}.B"].to(out)
                return out + self.alpha / self.rank * (args[0] @ a.T) @ b.T

            return change

        handles = [
            bridge.linear(model, layer, which).register_forward_hook(hook(f"L{layer}.{which}"))
            for layer, which in self.places
        ]
        try:
            yield []
        finally:
            for handle in handles:
                handle.remove()

    def gradients(self, learned: dict[str, Tensor]) -> None:
        """Nothing to take over."""

    def stepped(self, learned: dict[str, Tensor]) -> None:
        """Nothing to put anywhere before the end."""

    @torch.no_grad()
    def merge(self, model: Model, learned: dict[str, Tensor]) -> None:
        """Adds the changes to a model's weights."""
        for layer, which in self.places:
            module = bridge.linear(model, layer, which)
            place = f"L{layer}.{which}"
            a, b = learned[f"{place}.A"].double(), learned[f"{place}.B"].double()
            change = self.alpha / self.rank * (b @ a)
            if bridge.transposed(module):
                change = change.T
            if change.any():  # adding zeros would turn -0 into 0
                module.weight.add_(change.to(module.weight))
        bridge.joined(model)

    def kept(self, model: Model, learned: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is kept: A and B."""
        return {name: value.detach() for name, value in learned.items()}


class Offsets:
    """A vector for each chosen head, added to its output z at every position."""

    rate = 1e-2

    def __init__(self, model: Model, heads: str | Sequence[str]) -> None:
        given = [heads] if isinstance(heads, str) else list(heads)
        found = [one for text in given for one in sites.expand(text, bridge.dims(model)).sites]
        wrong = [
            str(s)
            for s in found
            if s.family != "head" or s.part not in ("out", "z") or s.pos is not None
        ]
        if wrong or not found:
            raise ValueError(
                f"heads={heads!r}: offsets are added to whole heads, heads=['L10H7', 'L23H*']"
                + (f", not to {wrong[0]!r}" if wrong else "")
            )
        self.places = list(dict.fromkeys((int(s.layer), int(s.index)) for s in found))
        for layer in {layer for layer, _ in self.places}:
            if bridge.linear(model, layer, "o") is None:
                raise ValueError(
                    f"layer {layer} of {bridge.name(model)} has no output matrix of heads: an"
                    " offset cannot be put into it"
                )
        self.title = f"offsets of {len(self.places)} heads"

    def start(self, model: Model, generator: torch.Generator) -> dict[str, Tensor]:
        """Zeros: nothing is changed at first."""
        kind = next(model.parameters()).dtype
        kind = kind if kind.itemsize >= 4 else torch.float32
        zero = torch.zeros(bridge.dims(model).d_head, dtype=kind, device=bridge.device(model))
        return {
            f"L{layer}H{head}": zero.clone().requires_grad_(True) for layer, head in self.places
        }

    @contextlib.contextmanager
    def applied(self, model: Model, learned: dict[str, Tensor]) -> Iterator[list[Intervention]]:
        """The interventions that add them."""
        yield interventions(learned)

    def gradients(self, learned: dict[str, Tensor]) -> None:
        """Nothing to take over."""

    def stepped(self, learned: dict[str, Tensor]) -> None:
        """Nothing to put anywhere before the end."""

    @torch.no_grad()
    def merge(self, model: Model, learned: dict[str, Tensor]) -> None:
        """Adds what the offsets write into the stream to the bias of the heads' output matrix."""
        for layer in dict.fromkeys(layer for layer, _ in self.places):
            module = bridge.linear(model, layer, "o")
            W = module.weight if bridge.transposed(module) else module.weight.T  # [head*d_head d]
            some = [(head, learned[f"L{layer}H{head}"]) for at, head in self.places if at == layer]
            d_head = bridge.dims(model).d_head
            written = sum(
                v.double() @ W[head * d_head : (head + 1) * d_head].double() for head, v in some
            )
            if not written.any():
                continue
            if module.bias is None:
                module.bias = torch.nn.Parameter(torch.zeros_like(written).to(W), False)
            module.bias.add_(written.to(module.bias))

    def kept(self, model: Model, learned: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is kept: the vectors."""
        return {name: value.detach() for name, value in learned.items()}


Change = Full | Lora | Offsets


def interventions(offsets: dict[str, Tensor]) -> list[Intervention]:
    """Offsets by head as interventions that add them."""
    return [
        Intervention(str(Site.parse(f"{head}.z")), add(value)) for head, value in offsets.items()
    ]


def change_of(
    model: Model,
    how: str,
    layers: Sequence[int] | None,
    matrices: Sequence[str],
    rank: int,
    alpha: float | None,
    heads: str | Sequence[str] | None,
) -> Change:
    """The kind of change that the options ask for."""
    if how not in HOW:
        raise unknown("way to fine-tune", how, HOW, "how='lora'")
    n = bridge.dims(model).n_layers
    if layers is not None:
        layers = [int(layer) for layer in layers]
        outside = [layer for layer in layers if not 0 <= layer < n]
        if outside or not layers:
            raise ValueError(
                f"layers={layers}: {bridge.name(model)} has layers 0 to {n - 1},"
                f" layers=[{n // 2}, {n - 1}]"
            )
    if (heads is not None) != (how == "offsets"):
        raise ValueError(
            f"how={how!r} with heads={heads!r}: offsets, and only they, are learned for chosen"
            " heads, interp.finetune(model, task, how='offsets', heads=['L10H7', 'L23H*'])"
        )
    if how == "offsets" and layers is not None:
        raise ValueError(
            f"layers={layers} beside heads={heads!r}: the heads say their layers, leave layers out"
        )
    if how == "full":
        return Full(model, layers)
    if how == "lora":
        return Lora(model, layers, matrices, rank, alpha)
    return Offsets(model, heads or [])
