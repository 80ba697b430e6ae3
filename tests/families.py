"""The table of model families, and what plain Hugging Face hooks say of each: neither `interp` nor
TransformerLens.

`FAMILIES` says of each family how to make a small random model, where its modules keep things, and
whether `interp` is right for it or refuses it with a sentence. `Plain` runs the model with forward
hooks of torch alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=2)
BASE = dict(initializer_range=0.2, **IDS)
SIZES = dict(num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64)
LLAMA = dict(hidden_size=32, intermediate_size=64, num_key_value_heads=2, **SIZES, **BASE)
GPT2 = dict(n_embd=32, n_layer=2, n_head=4, n_positions=64, **BASE)
NEOX = dict(hidden_size=32, intermediate_size=64, **SIZES, **BASE)
MOE = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
LOCAL = dict(num_local_experts=4, num_experts_per_tok=2)
FALCON = dict(hidden_size=32, **SIZES, **BASE)
GRANITE = dict(embedding_multiplier=3.0, logits_scaling=4.0, attention_multiplier=0.2)
MLA = dict(
    num_key_value_heads=4,
    kv_lora_rank=16,
    q_lora_rank=16,
    qk_rope_head_dim=4,
    qk_nope_head_dim=8,
    v_head_dim=8,
    n_routed_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=32,
    first_k_dense_replace=1,
    n_group=1,
    topk_group=1,
    n_shared_experts=1,
)
ROPE = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
WINDOW = dict(sliding_window=6)
HYBRID = dict(head_dim=8, layer_types=["linear_attention", "full_attention"])
MIXED = ["sliding_attention", "full_attention"]


@dataclass(frozen=True)
class Parts:
    """Where a Hugging Face model keeps its parts; a block's parts are named from the block. "" is
    none.

    before: the norms that attention and the MLP read the stream through. after: the norms that what
    they write goes through. joint: the norms over all heads' queries and keys together. fused: how
    one module gives q, k and v. factor: of the writes on the way into the stream.
    """

    layers: str = "model.layers"
    attn: str = "self_attn"
    q: str = "self_attn.q_proj"
    k: str = "self_attn.k_proj"
    v: str = "self_attn.v_proj"
    out: str = "self_attn.o_proj"
    mlp_in: str = "mlp"
    mlp_out: str = "mlp"
    before: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")
    after: tuple[str, str] = ("", "")
    joint: tuple[str, str] = ("", "")
    fused: str = ""
    final: str = "model.norm"
    head: str = "lm_head"
    factor: float = 1.0
    logits: Callable[[Tensor], Tensor] = field(default=lambda x: x)
    parallel: bool = False
    gated: bool = False  # more comes between values and z than a pattern
    adds_up: bool = True


def _of(**changes: Any) -> Parts:
    return Parts(**changes)


ONE_NORM = dict(before=("input_layernorm", "input_layernorm"), parallel=True)
POST = dict(
    before=("input_layernorm", "pre_feedforward_layernorm"),
    after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
ONLY_POST = dict(
    before=("", ""),
    after=("post_attention_layernorm", "post_feedforward_layernorm"),
    joint=("self_attn.q_norm", "self_attn.k_norm"),
)
GPT2_PARTS = dict(
    layers="transformer.h",
    attn="attn",
    q="attn.c_attn",
    k="attn.c_attn",
    v="attn.c_attn",
    fused="blocks",
    out="attn.c_proj",
    before=("ln_1", "ln_2"),
    final="transformer.ln_f",
)
NEOX_PARTS = dict(
    layers="gpt_neox.layers",
    attn="attention",
    q="attention.query_key_value",
    k="attention.query_key_value",
    v="attention.query_key_value",
    fused="interleaved",
    out="attention.dense",
    final="gpt_neox.final_layer_norm",
    head="embed_out",
)
FALCON_PARTS = dict(
    layers="transformer.h",
    attn="self_attention",
    q="self_attention.query_key_value",
    k="self_attention.query_key_value",
    v="self_attention.query_key_value",
    out="self_attention.dense",
    final="transformer.ln_f",
    parallel=True,
)
GPTJ_PARTS = dict(
    layers="transformer.h",
    attn="attn",
    q="attn.q_proj",
    k="attn.k_proj",
    v="attn.v_proj",
    out="attn.out_proj",
    before=("ln_1", "ln_1"),
    parallel=True,
    final="transformer.ln_f",
)


@dataclass(frozen=True)
class Family:
    """A family: how to make a small one, where its parts are, and what `interp` does with it.

    refused: a part of the sentence with which load refuses it; None where it is right. engine:
    whether the lean engine runs it. special: what to know, for the documentation. quick: whether it
    is in the quick subset.
    """

    title: str
    model: str
    config: str
    options: Mapping[str, Any]
    parts: Parts = Parts()
    refused: str | None = None
    engine: bool = False
    special: str = ""
    quick: bool = False


def _scaled(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: logits * factor


def _capped(cap: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: cap * torch.tanh(logits / cap)


FAMILIES: dict[str, Family] = {
    "gpt2": Family("GPT-2", "GPT2LMHeadModel", "GPT2Config", GPT2, _of(**GPT2_PARTS), engine=True),
    "gpt2-inverse-layer": Family(
        "GPT-2, attention scaled by layer",
        "GPT2LMHeadModel",
        "GPT2Config",
        GPT2 | dict(scale_attn_by_inverse_layer_idx=True),
        _of(**GPT2_PARTS),
        engine=True,
    ),
    "gpt-neo": Family(
        "GPT-Neo",
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        dict(
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            max_position_embeddings=64,
            window_size=8,
            **BASE,
        ),
        _of(
            **GPT2_PARTS
            | dict(
                attn="attn.attention",
                q="attn.attention.q_proj",
                k="attn.attention.k_proj",
                v="attn.attention.v_proj",
                out="attn.attention.out_proj",
                fused="",
            )
        ),
        special="local attention in every second layer",
        quick=True,
    ),
    "gpt-j": Family(
        "GPT-J",
        "GPTJForCausalLM",
        "GPTJConfig",
        GPT2 | dict(rotary_dim=4),
        _of(**GPTJ_PARTS),
        special="attention and MLP read one norm",
        quick=True,
    ),
    "codegen": Family(
        "CodeGen",
        "CodeGenForCausalLM",
        "CodeGenConfig",
        GPT2 | dict(rotary_dim=4),
        _of(
            **GPTJ_PARTS
            | dict(q="attn.qkv_proj", k="attn.qkv_proj", v="attn.qkv_proj", fused="codegen")
        ),
        special="attention and MLP read one norm",
    ),
    "neox-parallel": Family(
        "GPT-NeoX, Pythia",
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        NEOX | dict(use_parallel_residual=True),
        _of(**NEOX_PARTS, parallel=True),
        engine=True,
    ),
    "neox-serial": Family(
        "GPT-NeoX, serial",
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        NEOX | dict(use_parallel_residual=False),
        _of(**NEOX_PARTS),
        engine=True,
    ),
    "opt": Family(
        "OPT",
        "OPTForCausalLM",
        "OPTConfig",
        dict(hidden_size=32, ffn_dim=64, word_embed_proj_dim=32, init_std=0.2, **SIZES, **IDS),
        _of(
            layers="model.decoder.layers",
            out="self_attn.out_proj",
            before=("self_attn_layer_norm", "final_layer_norm"),
            mlp_in="fc1",
            mlp_out="fc2",
            final="model.decoder.final_layer_norm",
        ),
        special="no MLP module: `mlp.l` is what its second matrix gives",
        quick=True,
    ),
    "llama": Family("Llama", "LlamaForCausalLM", "LlamaConfig", LLAMA, engine=True),
    "llama3-rope": Family(
        "Llama 3",
        "LlamaForCausalLM",
        "LlamaConfig",
        LLAMA | dict(rope_parameters=ROPE),
        engine=True,
    ),
    "llama-biases": Family(
        "Llama with biases",
        "LlamaForCausalLM",
        "LlamaConfig",
        LLAMA | dict(attention_bias=True, mlp_bias=True),
        engine=True,
    ),
    "mistral-window": Family(
        "Mistral, window shorter than the prompt",
        "MistralForCausalLM",
        "MistralConfig",
        LLAMA | WINDOW,
        engine=True,
    ),
    "mistral-long-window": Family(
        "Mistral, window longer than the prompt",
        "MistralForCausalLM",
        "MistralConfig",
        LLAMA | dict(sliding_window=4096),
        engine=True,
    ),
    "mixtral": Family("Mixtral", "MixtralForCausalLM", "MixtralConfig", LLAMA | LOCAL),
    "qwen2": Family("Qwen2", "Qwen2ForCausalLM", "Qwen2Config", LLAMA, engine=True),
    "qwen2-moe": Family(
        "Qwen2-MoE",
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        LLAMA | MOE | dict(shared_expert_intermediate_size=32),
    ),
    "qwen3": Family(
        "Qwen3", "Qwen3ForCausalLM", "Qwen3Config", LLAMA | dict(head_dim=8), engine=True
    ),
    "qwen3-moe": Family(
        "Qwen3-MoE", "Qwen3MoeForCausalLM", "Qwen3MoeConfig", LLAMA | MOE | dict(head_dim=8)
    ),
    "gemma1": Family(
        "Gemma",
        "GemmaForCausalLM",
        "GemmaConfig",
        LLAMA | dict(head_dim=16),
        special="the norms' gain is 1 + weight",
        quick=True,
        engine=True,
    ),
    "gemma2": Family(
        "Gemma 2",
        "Gemma2ForCausalLM",
        "Gemma2Config",
        LLAMA
        | WINDOW
        | dict(
            head_dim=16,
            query_pre_attn_scalar=16,
            final_logit_softcapping=5.0,
            attn_logit_softcapping=5.0,
        ),
        _of(**POST, logits=_capped(5.0)),
        special=(
            "norms after attention and MLP; logits are capped, and attribution adds up to those"
            " before the cap"
        ),
        quick=True,
        engine=True,
    ),
    "gemma3": Family(
        "Gemma 3",
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        LLAMA | WINDOW | dict(head_dim=16, query_pre_attn_scalar=16, layer_types=MIXED),
        _of(**POST),
        special="norms after attention and MLP",
        engine=True,
    ),
    "phi": Family(
        "Phi 1, 2",
        "PhiForCausalLM",
        "PhiConfig",
        LLAMA | dict(num_key_value_heads=4),
        _of(**ONE_NORM, out="self_attn.dense", final="model.final_layernorm"),
        special="attention and MLP read one norm",
    ),
    "phi3": Family(
        "Phi 3",
        "Phi3ForCausalLM",
        "Phi3Config",
        LLAMA,
        _of(q="self_attn.qkv_proj", k="self_attn.qkv_proj", v="self_attn.qkv_proj", fused="blocks"),
        engine=True,
    ),
    "olmo": Family(
        "OLMo", "OlmoForCausalLM", "OlmoConfig", LLAMA, special="norms without weights", quick=True
    ),
    "olmo2": Family(
        "OLMo 2",
        "Olmo2ForCausalLM",
        "Olmo2Config",
        LLAMA,
        _of(**ONLY_POST),
        special=(
            "norms only after attention and MLP; `.q` and `.k` are after the norm over all heads"
        ),
        quick=True,
        engine=True,
    ),
    "olmo3": Family(
        "OLMo 3",
        "Olmo3ForCausalLM",
        "Olmo3Config",
        LLAMA | WINDOW,
        _of(**ONLY_POST),
        special="as OLMo 2",
        engine=True,
    ),
    "olmoe": Family(
        "OLMoE",
        "OlmoeForCausalLM",
        "OlmoeConfig",
        LLAMA | dict(num_experts=4, num_experts_per_tok=2),
        _of(joint=("self_attn.q_norm", "self_attn.k_norm")),
        special="`.q` and `.k` are after the norm over all heads",
    ),
    "stablelm": Family("StableLM", "StableLmForCausalLM", "StableLmConfig", LLAMA),
    "stablelm-parallel": Family(
        "StableLM, parallel",
        "StableLmForCausalLM",
        "StableLmConfig",
        LLAMA | dict(use_parallel_residual=True),
        _of(**ONE_NORM),
        special="attention and MLP read one norm",
    ),
    "falcon-multi-query": Family(
        "Falcon 7B",
        "FalconForCausalLM",
        "FalconConfig",
        FALCON | dict(multi_query=True, parallel_attn=True, new_decoder_architecture=False),
        _of(**FALCON_PARTS, before=("input_layernorm", "input_layernorm"), fused="blocks"),
        special="attention and MLP read one norm; one KV head",
    ),
    "falcon-new": Family(
        "Falcon 40B",
        "FalconForCausalLM",
        "FalconConfig",
        FALCON | dict(num_kv_heads=2, new_decoder_architecture=True),
        _of(**FALCON_PARTS, before=("ln_attn", "ln_mlp"), fused="grouped"),
    ),
    "bloom": Family(
        "BLOOM",
        "BloomForCausalLM",
        "BloomConfig",
        dict(hidden_size=32, n_layer=2, n_head=4, **BASE),
        _of(
            **FALCON_PARTS
            | dict(parallel=False, fused="interleaved", mlp_in="mlp", mlp_out="mlp.dense_4h_to_h")
        ),
        special=(
            "the residual is added inside attention and MLP; `attn.l` and `mlp.l` are without it"
        ),
        quick=True,
    ),
    "mpt": Family(
        "MPT",
        "MptForCausalLM",
        "MptConfig",
        dict(d_model=32, n_heads=4, n_layers=2, max_seq_len=64, initializer_range=0.2),
        _of(
            layers="transformer.blocks",
            attn="attn",
            q="attn.Wqkv",
            k="attn.Wqkv",
            v="attn.Wqkv",
            fused="blocks",
            out="attn.out_proj",
            before=("norm_1", "norm_2"),
            mlp_in="ffn",
            mlp_out="ffn.down_proj",
            final="transformer.norm_f",
        ),
        special="the residual is added inside the MLP; `mlp.l` is without it",
    ),
    "granite": Family(
        "Granite",
        "GraniteForCausalLM",
        "GraniteConfig",
        LLAMA | GRANITE | dict(residual_multiplier=0.5),
        _of(factor=0.5, logits=_scaled(0.25)),
        special="writes and logits are scaled",
        quick=True,
    ),
    "granite-residual-1": Family(
        "Granite, residual multiplier 1",
        "GraniteForCausalLM",
        "GraniteConfig",
        LLAMA | GRANITE | dict(residual_multiplier=1.0),
        _of(logits=_scaled(0.25)),
        special="logits are scaled",
    ),
    "cohere": Family(
        "Cohere",
        "CohereForCausalLM",
        "CohereConfig",
        LLAMA | dict(logit_scale=0.25),
        _of(**ONE_NORM, logits=_scaled(0.25)),
        special="attention and MLP read one norm; logits are scaled",
        quick=True,
    ),
    "cohere2": Family(
        "Cohere 2",
        "Cohere2ForCausalLM",
        "Cohere2Config",
        LLAMA | WINDOW,
        _of(**ONE_NORM, logits=_scaled(0.0625)),
        special="attention and MLP read one norm; logits are scaled",
    ),
    "smollm3": Family(
        "SmolLM3",
        "SmolLM3ForCausalLM",
        "SmolLM3Config",
        LLAMA | dict(no_rope_layers=[1, 0]),
        special="some layers without rotary positions",
        engine=True,
    ),
    "gpt-oss": Family(
        "GPT-OSS",
        "GptOssForCausalLM",
        "GptOssConfig",
        LLAMA | LOCAL | WINDOW | dict(head_dim=8),
        special="attention sinks: rows of a pattern sum to less than one",
        quick=True,
    ),
    "glm4": Family(
        "GLM-4",
        "Glm4ForCausalLM",
        "Glm4Config",
        LLAMA | dict(head_dim=8),
        _of(
            before=("input_layernorm", "post_attention_layernorm"),
            after=("post_self_attn_layernorm", "post_mlp_layernorm"),
        ),
        special="norms after attention and MLP",
    ),
    "llama4": Family(
        "Llama 4",
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        LLAMA | dict(head_dim=8, num_local_experts=4, intermediate_size_mlp=64),
        _of(mlp_in="feed_forward", mlp_out="feed_forward"),
    ),
    "gemma4": Family(
        "Gemma 4",
        "Gemma4ForCausalLM",
        "Gemma4TextConfig",
        LLAMA | WINDOW | dict(head_dim=16, layer_types=MIXED),
        _of(**POST, adds_up=False, gated=True),
        special=(
            "inputs of each layer and a scale of the stream: no edges, path patching or attribution"
        ),
    ),
    "qwen3-next": Family(
        "Qwen3-Next",
        "Qwen3NextForCausalLM",
        "Qwen3NextConfig",
        LLAMA | MOE | HYBRID | dict(shared_expert_intermediate_size=32),
        _of(gated=True),
        special=(
            "linear attention in most layers: heads are in the others; `.q` is a query and its gate"
        ),
    ),
    "qwen3.5": Family(
        "Qwen3.5",
        "Qwen3_5ForCausalLM",
        "Qwen3_5TextConfig",
        LLAMA | HYBRID,
        _of(gated=True),
        special="as Qwen3-Next",
    ),
    "deepseek-v3": Family(
        "DeepSeek V3",
        "DeepseekV3ForCausalLM",
        "DeepseekV3Config",
        LLAMA | MLA,
        refused="multi-head latent attention",
    ),
    "mamba": Family(
        "Mamba",
        "MambaForCausalLM",
        "MambaConfig",
        dict(hidden_size=32, num_hidden_layers=2, state_size=4, **IDS),
        refused="no attention heads",
    ),
    "t5": Family(
        "T5",
        "T5ForConditionalGeneration",
        "T5Config",
        dict(
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=3,
            num_heads=4,
            decoder_start_token_id=2,
            pad_token_id=2,
            eos_token_id=2,
        ),
        refused="an encoder with a decoder",
    ),
    "bert": Family(
        "BERT",
        "BertForMaskedLM",
        "BertConfig",
        dict(hidden_size=32, intermediate_size=64, **SIZES, initializer_range=0.2, pad_token_id=2),
        refused="fills in masked tokens",
    ),
}


def make(name: str, vocab: int, seed: int = 0, **changes: Any) -> Any:
    """The small random model of a family; biases and norms are drawn too, which would hide mistakes
    with them.
    """
    import transformers

    family = FAMILIES[name]
    config = getattr(transformers, family.config)(vocab_size=vocab, **(family.options | changes))
    config._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, family.model)(config)
        with torch.no_grad():
            for key, weight in model.named_parameters():
                if weight.ndim == 1:
                    weight.add_(0.2 * torch.randn_like(weight))
                routing = any(word in key for word in ("experts", "router", "gate"))
                if routing and weight.ndim >= 2 and weight.std() < 1e-3:
                    weight.normal_(0, 0.2)
    model.config._name_or_path = name
    return model.eval()


# --- the same model by hooks of torch alone -------------------------------------------------------

Edits = Mapping[tuple[str, int], Callable[[Tensor], Tensor]]


def _module(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root


def _first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


class Plain:
    """A Hugging Face model and forward hooks: what is at a place, and what changes when it is
    edited.

    Places are (kind, layer): "pre" and "post" the stream before and after a block; "attn" and "mlp"
    what they add to it; "z" what the output matrix of attention reads; "mlp_in" what the MLP's
    first matrix reads; "q", "k", "v"; "final" what the last norm reads.
    """

    def __init__(self, name: str, vocab: int):
        self.parts = FAMILIES[name].parts
        self.model = make(name, vocab)
        config = self.model.config
        self.blocks = list(_module(self.model, self.parts.layers))
        self.n_layers = len(self.blocks)
        self.heads = getattr(config, "num_attention_heads", None) or config.n_heads
        self.kv_heads = getattr(config, "num_key_value_heads", None) or self.heads
        if name.startswith("falcon"):
            self.kv_heads = config.num_kv_heads if config.new_decoder_architecture else 1
        self.final = _module(self.model, self.parts.final)
        self.head = self.model.get_output_embeddings()

    def run(self, tokens: Tensor, edits: Edits = {}, **options: Any) -> tuple[Tensor, dict]:
        """(logits [batch pos vocab], what was at every place after the edits)."""
        cache: dict[tuple[str, int], Tensor] = {}
        handles, p = [], self.parts

        def see(place: tuple[str, int], value: Tensor) -> Tensor:
            cache[place] = edits[place](value) if place in edits else value
            return cache[place]

        def before(module: Any, place: tuple[str, int]) -> None:
            def hook(_, args, kwargs):
                if args and isinstance(args[0], Tensor):
                    return (_shaped(see, place, args[0], tokens), *args[1:]), kwargs
                return args, kwargs | {"hidden_states": see(place, kwargs["hidden_states"])}

            handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

        def after(module: Any, place: tuple[str, int], factor: float = 1.0) -> None:
            def hook(_, args, out):
                new = _shaped(see, place, _first(out) * factor, tokens) / factor
                return (new, *out[1:]) if isinstance(out, tuple) else new

            handles.append(module.register_forward_hook(hook))

        for layer, block in enumerate(self.blocks):
            before(block, ("pre", layer))
            after(block, ("post", layer))
            if hasattr(block, p.attn.split(".")[0]):
                before(_module(block, p.out), ("z", layer))
                after(_module(block, p.after[0] or p.out), ("attn", layer), p.factor)
                if p.after[0]:
                    after(_module(block, p.out), ("unnormed", layer))
                if p.fused:
                    after(_module(block, p.q), ("qkv", layer))
                else:
                    after(_module(block, p.joint[0] or p.q), ("q", layer))
                    after(_module(block, p.joint[1] or p.k), ("k", layer))
                    after(_module(block, p.v), ("v", layer))
            else:
                after(block.linear_attn, ("attn", layer))
            before(_module(block, p.mlp_in), ("mlp_in", layer))
            after(_module(block, p.after[1] or p.mlp_out), ("mlp", layer), p.factor)
        before(self.final, ("final", 0))
        try:
            with torch.no_grad():
                out = self.model(tokens, use_cache=False, **options)
        finally:
            for handle in handles:
                handle.remove()
        self.attentions = getattr(out, "attentions", None)
        return out.logits, cache

    def logits(self, stream: Tensor) -> Tensor:
        """What the model would say if the stream ended here."""
        with torch.no_grad():
            return self.parts.logits(self.head(self.final(stream)))

    def writes(self, cache: Mapping, layer: int, head: int) -> Tensor:
        """What one head adds to the stream: its share of what attention adds, under the run's own
        norm.
        """
        out = _module(self.blocks[layer], self.parts.out)
        z = cache["z", layer]
        width = z.shape[-1] // self.heads
        mine = torch.zeros_like(z)
        mine[..., head * width : (head + 1) * width] = z[..., head * width : (head + 1) * width]
        with torch.no_grad():
            share = (out(mine) - out(torch.zeros_like(z))) * self.parts.factor
        if self.parts.after[0]:
            whole, norm = cache["unnormed", layer], _module(self.blocks[layer], self.parts.after[0])
            kind = type(norm).__name__
            gain = norm.weight + 1 if kind in ("Gemma2RMSNorm", "Gemma3RMSNorm") else norm.weight
            eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
            share = share * gain / (whole.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        return share.detach()

    def columns(self, part: str, head: int, layer: int) -> tuple[str, slice]:
        """(the place that has one head's q, k or v, its columns there)."""
        if not self.parts.fused:
            width = _module(self.blocks[layer], getattr(self.parts, part)).weight.shape[0]
            width //= self.heads if part == "q" else self.kv_heads
            return part, slice(head * width, (head + 1) * width)
        total, n, kv = self.d_model, self.heads, self.kv_heads
        width, number = total // n, "qkv".index(part)
        if self.parts.fused == "interleaved":  # q k v of head 0, q k v of head 1, ...
            start = (3 * head + number) * width
        elif self.parts.fused == "codegen":  # q v k of each of four slices; one head a slice here
            start = (3 * head + "qvk".index(part)) * width
        elif (
            self.parts.fused == "grouped"
        ):  # the queries of a group, its key, its value, the next group
            group, per = n // kv, n // kv + 2
            start = (
                ((head // group) * per + head % group) * width
                if part == "q"
                else (head * per + group + number - 1) * width
            )
        else:  # all queries, all keys, all values
            start = (head + [0, n, n + kv][number]) * width
        return "qkv", slice(start, start + width)

    @property
    def d_model(self) -> int:
        return self.model.get_input_embeddings().weight.shape[1]

    def reads(self, layer: int, which: str, stream: Tensor) -> Tensor:
        """What attention ("attn") or the MLP ("mlp") makes of a stream before it computes."""
        name = self.parts.before[("attn", "mlp").index(which)]
        with torch.no_grad():
            return _module(self.blocks[layer], name)(stream) if name else stream

    def receiver(self, kind: str, layer: int, head: int | None, stream: Tensor) -> Edits:
        """The edit that lets one reader, and nothing else, read this stream [batch pos d_model]."""
        if kind == "logits":
            return {("final", 0): lambda x: stream}
        if kind == "mlp":
            normed = self.reads(layer, "mlp", stream)
            return {("mlp_in", layer): lambda x: normed}
        place, at = self.columns(kind, head, layer)
        module = _module(self.blocks[layer], getattr(self.parts, kind))
        with torch.no_grad():
            new = module(self.reads(layer, "attn", stream))
            joint = self.parts.joint["qk".index(kind)] if kind in "qk" else ""
            new = _module(self.blocks[layer], joint)(new) if joint else new

        def edit(x):
            x = x.clone()
            x[..., at] = new[..., at]
            return x

        return {(place, layer): edit}

    def read_by(self, cache: Mapping, kind: str, layer: int) -> Tensor:
        """The stream that a reader reads."""
        if kind == "logits":
            return cache["final", 0]
        if kind == "mlp" and not self.parts.parallel:
            return cache["pre", layer] + cache["attn", layer]
        return cache["pre", layer]


def _shaped(see: Callable, place: tuple[str, int], value: Tensor, tokens: Tensor) -> Tensor:
    """Some modules see batch and position as one axis: edits are made on two."""
    if value.ndim == 2:
        return see(place, value.unflatten(0, tokens.shape)).flatten(0, 1)
    return see(place, value)


# --- the table of the documentation --------------------------------------------------------------

PAGE = Path(__file__).parents[1] / "docs" / "model-families.md"
START, STOP = "<!-- the table of tests/families.py -->", "<!-- end of the table -->"


def table() -> str:
    """The table of `docs/model-families.md`, from FAMILIES.

    `python tests/families.py` writes it there.
    """
    rows = ["| family | class in transformers | runs on | what is special |", "|---|---|---|---|"]
    for family in FAMILIES.values():
        way = "engine" if family.engine else "hooks" if family.refused is None else "refused"
        note = family.special if family.refused is None else family.refused
        rows.append(f"| {family.title} | `{family.model}` | {way} | {note} |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    """The page with the present table in it."""
    before, rest = page.split(START)
    return f"{before}{START}\n\n{table()}\n\n{STOP}{rest.split(STOP)[1]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
