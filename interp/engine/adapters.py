"""From a Hugging Face model to an `Engine`: one row of names per architecture.

To support another model with these block structures, add a row. What a row cannot express (linear
attention, experts, rotary frequencies that depend on the length) is refused by `why_not`.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from interp.engine.forward import run
from interp.engine.weights import Affine, Engine, Layer, Norm, Rotation
from interp.models import bridge, state


@dataclass(frozen=True)
class Names:
    """Where an architecture keeps its parts; the block's names are relative to the block, and "" is
    a part that it does not have.
    """

    embed: str
    layers: str
    final_norm: str
    norm: str  # "rms" or "ln"
    norm1: str
    attention: str
    qkv: tuple[str, ...]
    out: str
    norm2: str
    up: tuple[str, ...]
    down: str
    act: str
    unembed: str = "lm_head"
    layout: str = "separate"
    positions: str | None = None
    rotary: str | None = None
    qk_norms: tuple[str, str] | None = None  # of each head's query and key (Qwen3)
    joint: bool = False  # these are over all heads together (OLMo-2)
    after: tuple[str, str] | None = None  # norms of what attention and the MLP write (Gemma-2)
    gain: float = 0.0  # what a norm adds to its weight to have its gain (Gemma: 1)
    # attributes that say whether a layer turns its queries and keys, if it may not (SmolLM3)
    turns: str | None = None


LLAMA = Names(
    embed="model.embed_tokens",
    layers="model.layers",
    final_norm="model.norm",
    norm="rms",
    norm1="input_layernorm",
    attention="self_attn",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.o_proj",
    norm2="post_attention_layernorm",
    up=("mlp.gate_proj", "mlp.up_proj"),
    down="mlp.down_proj",
    act="mlp.act_fn",
    rotary="model.rotary_emb",
)
GPT2 = Names(
    embed="transformer.wte",
    layers="transformer.h",
    final_norm="transformer.ln_f",
    norm="ln",
    norm1="ln_1",
    attention="attn",
    qkv=("attn.c_attn",),
    out="attn.c_proj",
    norm2="ln_2",
    up=("mlp.c_fc",),
    down="mlp.c_proj",
    act="mlp.act",
    layout="blocks",
    positions="transformer.wpe",
)
NEOX = Names(
    embed="gpt_neox.embed_in",
    layers="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    norm="ln",
    norm1="input_layernorm",
    attention="attention",
    qkv=("attention.query_key_value",),
    out="attention.dense",
    norm2="post_attention_layernorm",
    up=("mlp.dense_h_to_4h",),
    down="mlp.dense_4h_to_h",
    act="mlp.act",
    layout="interleaved",
    rotary="gpt_neox.rotary_emb",
)

# all queries, all keys, all values in one matrix, gate and up in another
PHI3 = replace(
    LLAMA,
    qkv=("self_attn.qkv_proj",),
    layout="grouped",
    up=("mlp.gate_up_proj",),
    act="mlp.activation_fn",
)
QWEN3 = replace(LLAMA, qk_norms=("self_attn.q_norm", "self_attn.k_norm"))
SMOLLM3 = replace(LLAMA, turns="self_attn.use_rope")
GEMMA = replace(LLAMA, gain=1.0)
GEMMA2 = replace(
    GEMMA,
    norm2="pre_feedforward_layernorm",
    after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
GEMMA3 = replace(GEMMA2, qk_norms=QWEN3.qk_norms)
OLMO2 = replace(QWEN3, joint=True, norm1="", norm2="", after=GEMMA2.after)

ARCHITECTURES: dict[str, Names] = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Qwen2ForCausalLM": LLAMA,
    "Qwen3ForCausalLM": QWEN3,
    "Phi3ForCausalLM": PHI3,
    "SmolLM3ForCausalLM": SMOLLM3,
    "GemmaForCausalLM": GEMMA,
    "Gemma2ForCausalLM": GEMMA2,
    "Gemma3ForCausalLM": GEMMA3,
    "Olmo2ForCausalLM": OLMO2,
    "Olmo3ForCausalLM": OLMO2,
    "GPT2LMHeadModel": GPT2,
    "GPTNeoXForCausalLM": NEOX,
}
TOLERANCE = 1e-4  # of the largest logit, in float32
# in a short number type: so many of its rounding steps (7.8e-3 in float16, 6.3e-2 in bfloat16)
STEPS = 8


def build(model: Any) -> Engine:
    """The lean forward over the weights of `model` (a Hugging Face causal model, or a wrapper that
    holds one).

    Raises ValueError with the reason where the engine does not apply, or where its logits differ
    from the model's by more than `tolerance` of the largest logit. `find` gives None instead.

    Example:
        >>> engine = build(model)
        >>> engine
        Engine(LlamaForCausalLM, 30 layers x 9 heads (3 KV), d_model 576)
    """
    now = state.look(model)
    reason = bridge.training_sentence(now.training) if now.training else _structure(model)
    if reason:
        raise ValueError(reason)
    engine = _read(plain(model))
    error = parity(engine, model, _probe(engine))
    most = tolerance(engine.embed.dtype)
    if not error < most:
        raise ValueError(
            f"the engine's logits differ from the model's by {error:.1e} of the largest logit (at"
            f" most {most:.1e} is allowed in {str(engine.embed.dtype).removeprefix('torch.')}); the"
            " hook path gives the right numbers for this model"
        )
    return engine


def tolerance(dtype: torch.dtype) -> float:
    """How far the engine's logits may be from the model's, as a share of the largest logit.

    In float32 both round so little that 1e-4 tells another function from another order of adding.
    In a short type the order of adding alone moves the logits by up to four rounding steps
    (measured on Llama, GPT-2 and NeoX shapes and on SmolLM2), as far as the model itself is from
    its float32 numbers: twice that is allowed.
    """
    return max(TOLERANCE, STEPS * torch.finfo(dtype).eps)


def why_not(model: Any) -> str | None:
    """The sentence that says why the engine does not apply to this model as it is now, or None
    where it does.
    """
    return _known(model)[1]


def find(model: Any) -> Engine | None:
    """The engine of this model as it is now, or None where it does not apply (`why_not` says why).

    Checked once and remembered for the model's state (see `interp.models.state`): where a weight, a
    layer or a scale has changed since, the engine is built and compared with the model again. While
    one of your hooks is on the model there is none, since the engine would not run it.
    """
    return _known(model)[0]


Known = tuple[Engine | None, str | None]  # an engine, or the reason why there is none
_found: "weakref.WeakKeyDictionary[Any, tuple[tuple[int, int], Known]]" = (
    weakref.WeakKeyDictionary()
)


def _known(model: Any) -> Known:
    with bridge.LOCK:  # while another thread is inside the model, its hooks are there
        bridge.split_again(model)
        now = state.look(model)
        if now.training or now.astray:
            return None, now.astray or bridge.training_sentence(now.training)
        if now.hooked:
            return None, f"a hook of yours is on {now.hooked}, and only the hook path runs it"
        key = (now.structure, now.weights)
        known = _found.get(model)
        if known is None or known[0] != key:
            try:
                known = (key, (build(model), None))
            except ValueError as error:
                known = (key, (None, str(error)))
            _found[model] = known
        return known[1]


def parity(engine: Engine, model: Any, tokens: Tensor) -> float:
    """The largest |engine - model| over all logits of `tokens`, as a fraction of the largest
    |logit|.
    """
    with torch.no_grad():
        output = model(tokens)
    theirs = output if isinstance(output, Tensor) else output.logits
    ours, theirs = run(engine, tokens, keep=(), logits="all").logits.float(), theirs.float()
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6))


def plain(module: Any) -> Any:
    """The Hugging Face module inside a wrapper, or the module itself.

    A TransformerBridge holds the model as `original_model` and has replaced its parts, in place, by
    wrappers that hold the part as `original_component`.
    """
    module = getattr(module, "original_model", module)
    while True:
        inner = getattr(module, "original_component", None)
        if inner is None or inner is module:
            return module
        module = inner


def _dig(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = plain(module)
        module = module[int(name)] if name.isdigit() else getattr(module, name)
    return plain(module)


def _structure(model: Any) -> str | None:
    """Why the block structure does not fit, or None."""
    if bridge.elsewhere(model):
        return "the model runs through nnsight, and the engine needs its weights"
    inner = plain(model)
    name = type(inner).__name__
    if name not in ARCHITECTURES:
        return (
            f"the engine has no row for {name} (it has {', '.join(ARCHITECTURES)}); the hook path"
            " runs every model"
        )
    where = {str(p.device) for p in model.parameters()}
    if len(where) > 1:
        return (
            f"the model lies on several devices ({', '.join(sorted(where))}); the hook path runs it"
        )
    types = {str(p.dtype) for p in model.parameters()}
    if len(types) > 1:
        return f"the model mixes number types ({', '.join(sorted(types))}); the hook path runs it"
    config = inner.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds - {"full_attention", "sliding_attention"}:
        return f"{name} has layers of {', '.join(sorted(kinds))}; the hook path runs them"
    if getattr(config, "add_cross_attention", False):
        return "the model has cross-attention, which the engine does not do; the hook path runs it"
    rope = getattr(config, "rope_parameters", None) or {}
    # one set of parameters, or one for each kind of layer
    each = [rope] if "rope_type" in rope else [r for r in rope.values() if isinstance(r, dict)]
    found = {some.get("rope_type", "default") for some in each} & {"dynamic", "longrope"}
    if found:
        rope = min(found)
        return (
            f"rotary type {rope!r} depends on the prompt's length, which the engine does not do;"
            " the hook path runs it"
        )
    if ARCHITECTURES[name].after and getattr(config, "attention_bias", False):
        return (
            f"this {name} adds a bias to what attention writes before a norm, which belongs to no"
            " head; the hook path runs it"
        )
    if getattr(config, "pretraining_tp", 1) not in (None, 1):
        return (
            "the model is split for tensor parallel training (pretraining_tp > 1); the hook path"
            " runs it"
        )
    return None


def _read(model: Any) -> Engine:
    names, config = ARCHITECTURES[type(model).__name__], model.config
    heads, width = config.num_attention_heads, config.hidden_size
    blocks = list(_dig(model, names.layers))
    reach = _reach(config, len(blocks))
    kinds, rotations = _rotations(_dig(model, names.rotary) if names.rotary else None, config)
    turns = [kinds.get(kind, kinds.get("")) for kind in _kinds(config, len(blocks))]
    layers = tuple(
        _layer(block, names, config, some, turn) for block, some, turn in zip(blocks, reach, turns)
    )
    embed = _dig(model, names.embed)
    scale = getattr(embed, "embed_scale", None)
    return Engine(
        architecture=type(model).__name__,
        n_heads=heads,
        n_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        d_model=width,
        d_head=getattr(config, "head_dim", None) or width // heads,
        d_mlp=layers[0].down.weight.shape[1],
        d_vocab=config.vocab_size,
        n_ctx=config.max_position_embeddings,
        parallel=bool(getattr(config, "use_parallel_residual", False)),
        qkv_layout="separate" if len(layers[0].qkv) == 3 else names.layout,
        act=_act(_dig(_dig(model, names.layers)[0], names.act)),
        embed=embed.weight.detach(),
        positions=_dig(model, names.positions).weight.detach() if names.positions else None,
        rotations=rotations,
        layers=layers,
        final_norm=_norm(_dig(model, names.final_norm), names),
        unembed=_affine(_dig(model, names.unembed)),
        embed_scale=1.0 if scale is None else float(torch.as_tensor(scale).to(embed.weight.dtype)),
        score_cap=getattr(config, "attn_logit_softcapping", None),
        logit_cap=getattr(config, "final_logit_softcapping", None),
    )


def _kinds(config: Any, n_layers: int) -> list[str]:
    """What kind of attention each layer has."""
    return list(getattr(config, "layer_types", None) or ["full_attention"] * n_layers)


def _rotations(rotary: Any, config: Any) -> tuple[dict[str, int], tuple[Rotation, ...]]:
    """How positions turn queries and keys, and which of these a kind of layer has ("": all)."""
    if rotary is None:
        return {}, ()
    if hasattr(rotary, "inv_freq"):
        return {"": 0}, (
            Rotation(rotary.inv_freq.detach().float(), float(rotary.attention_scaling)),
        )
    kinds = [k for k in sorted(set(config.layer_types)) if hasattr(rotary, f"{k}_inv_freq")]
    found = tuple(
        Rotation(
            getattr(rotary, f"{kind}_inv_freq").detach().float(),
            float(getattr(rotary, f"{kind}_attention_scaling")),
        )
        for kind in kinds
    )
    return {kind: i for i, kind in enumerate(kinds)}, found


def _attention(block: Any, names: Names) -> Any:
    """The attention of a block: TransformerLens' wrapper where there is one."""
    *path, last = names.attention.split(".")
    return getattr(_dig(block, ".".join(path)) if path else plain(block), last)


def _split(attention: Any) -> list[Any] | None:
    """The separate q, k and v that a wrapper of a fused projection computes with, or None."""
    if not callable(getattr(attention, "split_qkv_matrix", None)):
        return None
    return [plain(getattr(attention, name)) for name in "qkv"]


def _reach(config: Any, n_layers: int) -> list[int | None]:
    """How many keys a query sees in each layer, itself among them; None: all."""
    window = getattr(config, "sliding_window", None)
    if config.model_type not in ("mistral", "phi3"):  # which have the window in all layers
        kinds = _kinds(config, n_layers)
        return [window if kind == "sliding_attention" else None for kind in kinds]
    return [window] * n_layers


def _layer(block: Any, names: Names, config: Any, reach: int | None, rotation: int | None) -> Layer:
    # the wrapper's own parts where it has split a fused projection, since they are what the hook
    # path runs
    qkv = _split(_attention(block, names)) or [_dig(block, path) for path in names.qkv]
    qkv, up = tuple(map(_affine, qkv)), tuple(_affine(_dig(block, path)) for path in names.up)
    if names.layout == "grouped":
        if len(qkv) == 1:
            kv = config.num_key_value_heads
            qkv = _cut(qkv[0], [config.num_attention_heads, kv, kv])
        up = _cut(up[0], [1, 1])

    def norm(path: str) -> Norm:
        if not path:
            return Norm("none", torch.ones(config.hidden_size).to(qkv[0].weight), None, 0.0)
        return _norm(_dig(block, path), names)

    both = tuple(map(norm, names.qk_norms)) if names.qk_norms else None
    q_norm, k_norm = (None, None) if both is None or names.joint else both
    after_attn, after_mlp = map(norm, names.after) if names.after else (None, None)
    turns = bool(_flag(block, names.turns)) if names.turns else True
    return Layer(
        norm1=norm(names.norm1),
        qkv=qkv,
        out=_affine(_dig(block, names.out)),
        norm2=norm(names.norm2),
        up=up,
        down=_affine(_dig(block, names.down)),
        scale=float(_dig(block, names.attention).scaling),
        q_norm=q_norm,
        k_norm=k_norm,
        joint_norms=both if names.joint else None,
        rotary=rotation if turns else None,
        reach=reach,
        after_attn=after_attn,
        after_mlp=after_mlp,
    )


def _flag(block: Any, path: str) -> Any:
    *module, name = path.split(".")
    return getattr(_dig(block, ".".join(module)), name)


def _cut(fused: Affine, shares: Sequence[int]) -> tuple[Affine, ...]:
    """A map whose outputs are several ones after another, as these (views, no copies)."""
    unit = len(fused.weight) // sum(shares)
    sizes = [share * unit for share in shares]
    biases = [None] * len(sizes) if fused.bias is None else fused.bias.split(sizes)
    return tuple(Affine(w, b) for w, b in zip(fused.weight.split(sizes), biases))


def _affine(module: Any) -> Affine:
    weight = module.weight.detach()
    if type(module).__name__ == "Conv1D":  # GPT-2 keeps [in, out]
        weight = weight.T
    bias = getattr(module, "bias", None)
    return Affine(weight, None if bias is None else bias.detach())


def _norm(module: Any, names: Names) -> Norm:
    eps = module.variance_epsilon if hasattr(module, "variance_epsilon") else module.eps
    bias, weight = getattr(module, "bias", None), module.weight.detach()
    if names.gain or names.after:  # these families multiply by the gain in float32
        weight = weight if weight.dtype.itemsize >= 4 else weight.float()
        weight = weight + names.gain if names.gain else weight
    return Norm(names.norm, weight, None if bias is None else bias.detach(), float(eps))


def _act(module: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    # transformers' tanh GELU is eight elementwise passes; torch's kernel gives the same in one.
    known = {
        "NewGELUActivation": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "SiLUActivation": torch.nn.functional.silu,
        "GELUActivation": torch.nn.functional.gelu,
    }
    return known.get(type(module).__name__, module)


def _probe(engine: Engine) -> Tensor:
    """Two short prompts spread over the vocabulary, always the same ones."""
    length = min(12, engine.n_ctx)
    ids = torch.arange(2 * length, device=engine.device) * 7919 + 5
    return (ids % engine.d_vocab).view(2, length)
