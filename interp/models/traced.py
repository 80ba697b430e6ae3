"""Models that run through nnsight: in its local mode here, or on NDIF's servers, where models are
that one cannot host.

What comes back is a model like any other whose hooks are TransformerLens' hook points, but without
weights of its own to compute with: a run is one or more requests, in each of which nnsight puts
given tensors at some modules and gives back those of others. A hook is called here, on what a
request gave back; where it changes its tensor, the next request puts the new one in its place. So a
run takes one request, and one more for each place that is edited, and only tensors travel: the same
requests run here and there.

`FAMILIES` says at which module of a Hugging Face model an address is. What it cannot say (scores
before the softmax, what a norm divides by, every other family) is refused.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

PREFIX = "nnsight:"
WORKS = (
    "interp.run with `keep` and edits, patch, ablate, attention_patterns, causal_trace,"
    " interchange, steer, generate, probe and features.activations work"
)


class NotHere(ValueError, AttributeError):
    """What a model that runs through nnsight does not give; for `hasattr` it is not there."""


# --- where a family keeps its parts ---------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """Paths of modules; those of a block are named from the block, and "" is a part that it does
    not have.

    Attributes:
        qkv: Three projections, or one for all (see `fused`).
        fused: How one projection holds queries, keys and values: "blocks" one after another,
            "heads" side by side within each head.
        norms: Before attention and before the MLP.
        after: Norms of what attention and the MLP write.
        pre: What gives the neurons before their non-linearity: the gate, where there is one.
        pre_fused: Whether it gives gate and up together, the gate first.
    """

    layers: str = "model.layers"
    attn: str = "self_attn"
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    fused: str = ""
    out: str = "self_attn.o_proj"
    norms: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")
    after: tuple[str, str] = ("", "")
    pre: str = "mlp.gate_proj"
    pre_fused: bool = False
    down: str = "mlp.down_proj"
    embed: str = "model.embed_tokens"
    final: str = "model.norm"
    norm: str = "RMS"


LLAMA = Family()
GEMMA2 = replace(
    LLAMA,
    norms=("input_layernorm", "pre_feedforward_layernorm"),
    after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
FAMILIES: dict[str, Family] = {
    "GPT2LMHeadModel": Family(
        layers="transformer.h",
        attn="attn",
        qkv=("attn.c_attn",),
        fused="blocks",
        out="attn.c_proj",
        norms=("ln_1", "ln_2"),
        pre="mlp.c_fc",
        down="mlp.c_proj",
        embed="transformer.wte",
        final="transformer.ln_f",
        norm="LN",
    ),
    "GPTNeoXForCausalLM": Family(
        layers="gpt_neox.layers",
        attn="attention",
        qkv=("attention.query_key_value",),
        fused="heads",
        out="attention.dense",
        pre="mlp.dense_h_to_4h",
        down="mlp.dense_4h_to_h",
        embed="gpt_neox.embed_in",
        final="gpt_neox.final_layer_norm",
        norm="LN",
    ),
    "PhiForCausalLM": Family(
        out="self_attn.dense",
        norms=("input_layernorm", ""),
        pre="mlp.fc1",
        down="mlp.fc2",
        final="model.final_layernorm",
        norm="LN",
    ),
    "Phi3ForCausalLM": replace(
        LLAMA, qkv=("self_attn.qkv_proj",), fused="blocks", pre="mlp.gate_up_proj", pre_fused=True
    ),
    "Gemma2ForCausalLM": GEMMA2,
    "Gemma3ForCausalLM": GEMMA2,
    **{
        f"{name}ForCausalLM": LLAMA
        for name in ("Gemma", "Llama", "Mistral", "Qwen2", "Qwen3", "SmolLM3")
    },
}


@dataclass(frozen=True)
class Spot:
    """What a module takes ("input") or gives ("output"; `item` of it, where that is a tuple)."""

    path: str
    side: str
    item: int = 0


@dataclass(frozen=True)
class Place:
    """Where an address is: a spot, some columns of it, and how many heads these hold.

    Attributes:
        within: With `heads`: which third of each head's columns (NeoX keeps a head's query, key and
            value side by side).
        only_read: Nothing can be put there: the module has used it already.
    """

    spot: Spot
    columns: tuple[int, int] | None = None
    heads: int = 0
    within: int | None = None
    only_read: bool = False

    def of(self, tensor: Tensor) -> Tensor:
        """The address' part of the spot's tensor, a view of it."""
        if self.columns is not None:
            tensor = tensor[..., slice(*self.columns)]
        if self.heads:
            tensor = tensor.unflatten(-1, (self.heads, -1))
        if self.within is not None:
            tensor = tensor.unflatten(-1, (3, -1)).select(-2, self.within)
        return tensor

    def put(self, tensor: Tensor, new: Tensor) -> Tensor:
        """The spot's tensor with a new part."""
        whole = tensor.clone(memory_format=torch.contiguous_format)
        self.of(whole).copy_(new)
        return whole


def places(family: Family, cfg: Any) -> dict[str, Place]:
    """Each hook of `sites.TABLE` that the family has, in the order of a run."""
    d, heads, kv = cfg.d_head, cfg.n_heads, cfg.n_key_value_heads
    found = {"embed.hook_out": Place(Spot(family.embed, "output"))}

    def projections(home: str) -> Iterator[tuple[str, Place]]:
        widths, at = (heads * d, kv * d, kv * d), 0
        for k, (letter, width) in enumerate(zip("qkv", widths)):
            path, n = f"{home}.{family.qkv[min(k, len(family.qkv) - 1)]}", (heads, kv, kv)[k]
            spot = Spot(path, "output")
            if family.fused == "heads":
                yield letter, Place(spot, heads=heads, within=k)
            else:
                yield letter, Place(spot, (at, at + width) if family.fused else None, n)
            at += width

    for layer in range(cfg.n_layers):
        home, name = f"{family.layers}.{layer}", f"blocks.{layer}"
        attn_out, mlp_out = family.after
        before, second = family.norms
        found[f"{name}.hook_in"] = Place(Spot(home, "input"))
        if second:
            found[f"{name}.ln1.hook_in"] = Place(Spot(f"{home}.{before}", "input"))
        else:  # attention and MLP have a copy of their own of what one norm gives
            found[f"{name}.attn.hook_in"] = Place(Spot(f"{home}.{family.attn}", "input"))
        for letter, place in projections(home):
            found[f"{name}.attn.hook_{letter}"] = place
        found[f"{name}.attn.hook_pattern"] = Place(
            Spot(f"{home}.{family.attn}", "output", 1), only_read=True
        )
        found[f"{name}.attn.hook_z"] = Place(Spot(f"{home}.{family.out}", "input"), heads=heads)
        found[f"{name}.{'hook_attn_out' if attn_out else 'attn.hook_out'}"] = Place(
            Spot(f"{home}.{attn_out or family.attn}", "output")
        )
        if second:
            found[f"{name}.ln2.hook_in"] = Place(Spot(f"{home}.{second}", "input"))
        found[f"{name}.mlp.hook_in"] = Place(Spot(f"{home}.mlp", "input"))
        found[f"{name}.mlp.hook_pre"] = Place(
            Spot(f"{home}.{family.pre}", "output"), (0, cfg.d_mlp) if family.pre_fused else None
        )
        found[f"{name}.mlp.hook_post"] = Place(Spot(f"{home}.{family.down}", "input"))
        found[f"{name}.{'hook_mlp_out' if mlp_out else 'mlp.hook_out'}"] = Place(
            Spot(f"{home}.{mlp_out or 'mlp'}", "output")
        )
        found[f"{name}.hook_out"] = Place(Spot(home, "output"))
    found["ln_final.hook_in"] = Place(Spot(family.final, "input"))
    return found


def configuration(hf_model: Any, name: str) -> SimpleNamespace:
    """What `bridge.dims` and `bridge.name` read, from a Hugging Face model's configuration."""
    kind = type(hf_model).__name__
    if kind not in FAMILIES:
        raise ValueError(
            f"{PREFIX}{name}: where {kind} keeps its activations is not known here (known:"
            f" {', '.join(FAMILIES)}): load it without {PREFIX!r}, interp.load({name!r})"
        )
    config = hf_model.config.get_text_config()
    heads = config.num_attention_heads
    d_mlp = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    return SimpleNamespace(
        model_name=name,
        n_layers=config.num_hidden_layers,
        n_heads=heads,
        n_key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        d_model=config.hidden_size,
        d_head=getattr(config, "head_dim", None) or config.hidden_size // heads,
        d_mlp=d_mlp or 4 * config.hidden_size,
        d_vocab=config.vocab_size,
        n_ctx=config.max_position_embeddings,
        normalization_type=FAMILIES[kind].norm,
        parallel_attn_mlp=kind == "PhiForCausalLM"
        or getattr(config, "use_parallel_residual", False),
        default_prepend_bos=False,
    )


# --- the model ------------------------------------------------------------------------------------

Fetch = Callable[..., tuple[Tensor, dict[Spot, Any]]]


class Part(nn.Module):
    """A part with hook points and without weights; asked for more, it says what works."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_"):
                raise
        raise not_here(f"the weights and norms of its parts (asked for: {name!r})")


def not_here(what: str) -> NotHere:
    """The error that says that a model that runs through nnsight does not give this."""
    return NotHere(
        f"this model runs through nnsight, which gives activations but not {what}: {WORKS}; for"
        f" the rest load the model without {PREFIX!r}, interp.load('owner/name')"
    )


class Attention(Part):
    """Attention's hook points, and what each head writes for its z where the weights are here."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.out: list[nn.Module] = []  # in a list, so that it is no second child of the model

    def projection(self, which: str) -> tuple[Tensor, Tensor | None]:
        """W_O [head d_head d_model] and its bias: see `bridge.projection`."""
        if which != "O" or not self.out:
            raise not_here(f"weights, such as W_{which} (a head's activations are .q .k .v .z)")
        weight = self.out[0].weight.detach()
        rows = weight if type(self.out[0]).__name__ == "Conv1D" else weight.T
        return rows.unflatten(0, (self.heads, -1)), self.out[0].bias


class Served(nn.Module):
    """In the place of weights that are on a server: their number type (once a run has shown it),
    and which they are, so that nothing that is kept for one model is taken for another.
    """

    def __init__(self, which: str):
        super().__init__()
        self.of_their_type = nn.Parameter(torch.zeros(1), requires_grad=False)
        digest = hashlib.sha256(which.encode()).digest()
        self.register_buffer("which", torch.tensor(list(digest), dtype=torch.uint8))


class Traced(Part):
    """Tokens [batch pos] to logits [batch pos d_vocab], by requests.

    Args:
        fetch: (ids, spots, given, last_only) -> logits, and the tensors at the spots of a run in
            which the given tensors stand at theirs. See `request`.
        family: Where the model keeps its parts.
        cfg: See `configuration`.
        weights: The Hugging Face model where its weights are here, else what stands for them.
    """

    def __init__(self, fetch: Fetch, family: Family, cfg: Any, weights: nn.Module):
        super().__init__()
        self.fetch, self.places, self.weights = fetch, places(family, cfg), weights
        self.layout = layout(family)
        self.embed, self.ln_final, self.unembed = Part(), Part(), Part()
        self.blocks = nn.ModuleList(Part() for _ in range(cfg.n_layers))
        for layer, block in enumerate(self.blocks):
            block.attn = Attention(cfg.n_heads)
            if not isinstance(weights, Served):
                path = f"{family.layers}.{layer}.{family.out}"
                block.attn.out.append(weights.get_submodule(path))
        for name in self.places:
            home: nn.Module = self
            *path, point = name.split(".")
            for part in path:
                if part not in home._modules:
                    home.add_module(part, Part())
                home = home.get_submodule(part)
            home.add_module(point, nn.Identity())

    @torch.no_grad()
    def forward(self, tokens: Tensor, last_only: bool = False) -> Tensor:
        points = {name: self.get_submodule(name) for name in self.places}
        if any(p.requires_grad for p in self.parameters()) or any(
            point._backward_hooks for point in points.values()
        ):
            raise not_here("gradients")
        hooked = [name for name, point in points.items() if point._forward_hooks]
        given: dict[Spot, Tensor] = {}
        logits, seen = self._ask(tokens, hooked, given, last_only)
        for k, name in enumerate(hooked):
            place = self.places[name]
            value = place.of(seen[place.spot])
            version, shape = value._version, value.shape
            new = points[name](value)
            if value.requires_grad or new.requires_grad:
                raise not_here("gradients")
            if new is value and value._version == version:
                continue
            if place.only_read:
                raise not_here(f"a way to change what is at {name}")
            if new.shape != shape:
                raise ValueError(
                    f"a hook at {name} gave a tensor of shape {tuple(new.shape)}, it must keep"
                    f" {tuple(shape)}"
                )
            given[place.spot] = seen[place.spot] = place.put(seen[place.spot], new)
            logits, later = self._ask(tokens, hooked[k + 1 :], given, last_only)
            seen |= later
        return logits

    def _ask(
        self, tokens: Tensor, names: list[str], given: Mapping[Spot, Tensor], last_only: bool
    ) -> tuple[Tensor, dict[Spot, Tensor]]:
        """Logits, and the tensors at the spots of these hooks that are not given."""
        spots = {self.places[name].spot: name for name in names}
        wanted = [spot for spot in spots if spot not in given]
        logits, found = self.fetch(tokens, wanted, given, last_only)
        for spot in wanted:
            if not isinstance(found.get(spot), Tensor):
                raise ValueError(
                    f"the model gives no tensor for {spots[spot]} (the {spot.side} of {spot.path}):"
                    " an attention pattern needs a model that runs with"
                    " attn_implementation='eager'"
                )
        if isinstance(self.weights, Served):
            self.weights.to(logits.dtype)
        return logits.detach(), {spot: found[spot].detach() for spot in wanted}


def layout(family: Family) -> dict[str, Any]:
    """What is particular about the family's blocks, as `bridge.Layout` takes it."""
    if family.after[0]:
        variants = ("attn out", "mlp out", "norm after")
        return {"variants": variants, "after": ("ln1_post", "ln2_post")}
    return {} if family.norms[1] else {"variants": ("one norm",), "norms": ("ln1", "ln1")}


def network(fetch: Fetch, hf_model: Any, name: str, served: str = "") -> tuple[Traced, Any]:
    """The network whose runs are requests and its configuration, for `bridge.hooked`.

    Example:
        >>> net, cfg = network(fetch, hf_model, "gpt2")
        >>> model = bridge.hooked(net, tokenizer, cfg)

    Args:
        fetch: See `Traced`.
        hf_model: The Hugging Face model, or its skeleton without weights.
        name: The name it is shown under.
        served: Which model it is on which server, where the weights are not here.
    """
    cfg = configuration(hf_model, name)
    weights = Served(served) if served else hf_model
    return Traced(fetch, FAMILIES[type(hf_model).__name__], cfg, weights), cfg


# --- nnsight --------------------------------------------------------------------------------------


def library() -> Any:
    """The nnsight package, imported only here."""
    try:
        import nnsight
    except ImportError as error:
        raise ImportError(f'{PREFIX!r} needs nnsight: pip install "interp[nnsight]"') from error
    return nnsight


def wrapped(hf_model: Any, tokenizer: Any) -> Any:
    """nnsight's model over a Hugging Face model that is here."""
    # nnsight sets the padding side of the tokenizer that it is given
    return library().TransformersModel(
        hf_model, tokenizer=copy.deepcopy(tokenizer), task="text-generation"
    )


def skeleton(name: str, tokenizer: Any) -> Any:
    """nnsight's model of a hub id without its weights, for a server that has them."""
    return library().TransformersModel(
        name,
        tokenizer=copy.deepcopy(tokenizer),
        task="text-generation",
        attn_implementation="eager",
        trust_remote_code=False,
    )


def request(
    model: Any,
    remote: bool | str,
    ids: Tensor,
    spots: list[Spot],
    given: Mapping[Spot, Tensor],
    last_only: bool,
) -> tuple[Tensor, dict[Spot, Any]]:
    """Logits [batch pos d_vocab] (or [batch d_vocab]) of one run, and what is at the spots in it.

    Args:
        model: nnsight's model.
        remote: nnsight's own: False, True (NDIF), an address, or "local" (all that would be sent is
            packed and unpacked, and runs here).
        ids: Token ids [batch pos], of one length.
        spots: What to give back.
        given: What to put where.
        last_only: Whether the logits of the last position are enough.
    """
    nnsight = library()
    # All that the block below names is sent to the server: plain values alone. An invoke without
    # input sees the whole batch, and each waits for its own module. No comment may stand inside:
    # the block's text is sent without them, and nnsight counts its lines. A given tensor goes to
    # the device of what it replaces, which is not known here.
    mask, start = torch.ones_like(ids), -1 if last_only else 0
    takes = [(k, model.get(s.path), s.side, s.item) for k, s in enumerate(spots)]
    puts = [(model.get(s.path), s.side, s.item, new) for s, new in given.items()]
    with torch.no_grad():
        with model.trace(remote=remote) as tracer:
            found = nnsight.save({})
            with tracer.invoke(input_ids=ids, attention_mask=mask, use_cache=False):
                found["logits"] = model.output.logits[:, start:]
            for module, side, item, new in puts:
                with tracer.invoke():
                    value = module.input if side == "input" else module.output
                    whole = isinstance(value, tuple)
                    new = new.to(value[item].device if whole else value.device)
                    if side == "input":
                        module.input = new
                    elif whole:
                        module.output = (*value[:item], new, *value[item + 1 :])
                    else:
                        module.output = new
            for k, module, side, item in takes:
                with tracer.invoke():
                    value = module.input if side == "input" else module.output
                    found[k] = value[item] if isinstance(value, tuple) else value
    logits = found["logits"]
    return logits[:, -1] if last_only else logits, {s: found[k] for k, s in enumerate(spots)}
