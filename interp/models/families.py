"""What is particular about some families: why a model cannot be read at all, and what
TransformerLens needs help with.

Where a family keeps a thing is a row of `interp.sites.VARIANTS`; `bridge` reads from the modules
which rows hold.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_READS = "interp reads decoders that predict the next token, such as GPT-2, Llama, Qwen or Gemma"


def refusal(hf_model: Any) -> str | None:
    """Why a Hugging Face model cannot be read, as one sentence; None where nothing speaks against
    it yet.
    """
    kind, config = type(hf_model).__name__, hf_model.config
    text = config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        return f"{kind} is an encoder with a decoder: {_READS}"
    if "ForMaskedLM" in kind:
        return f"{kind} fills in masked tokens: {_READS}"
    if hf_model.get_output_embeddings() is None:
        return (
            f"{kind} has no unembedding, so it gives no logits: load the model with its language "
            "modelling head (transformers.AutoModelForCausalLM)"
        )
    if getattr(text, "kv_lora_rank", None):
        return (
            f"{kind} has multi-head latent attention, which makes the keys and values of all heads"
            " from one compressed vector: there are no key and value heads to address"
        )
    if not (getattr(text, "num_attention_heads", None) or getattr(text, "n_head", None)):
        return f"{kind} has no attention heads (a state space model): {_READS}"
    per_layer = getattr(text, "num_global_key_value_heads", None)
    if per_layer not in (None, getattr(text, "num_key_value_heads", None)):
        return (
            f"{kind} has {text.num_key_value_heads} key and value heads in some layers and"
            f" {per_layer} in others: addresses of KV heads need one number"
        )
    return None


# --- what TransformerLens 3.9 gets wrong, put right -----------------------------------------------


@contextlib.contextmanager
def wrapping(hf_model: Any) -> Iterator[None]:
    """While TransformerLens wraps a model: what it would read wrongly from the model's
    configuration.

    Falcon's newer architecture (40B, 180B, 11B) keeps the queries of a group, its key and its value
    side by side, which TransformerLens takes for all queries, all keys, all values, of one KV head.
    """
    config = hf_model.config
    if not getattr(config, "new_decoder_architecture", False):
        yield
        return
    from transformer_lens.model_bridge.supported_architectures.falcon import (
        FalconArchitectureAdapter,
    )

    def split(adapter: Any, attention: Any) -> tuple[torch.nn.Linear, ...]:
        fused, groups = attention.query_key_value, config.num_kv_heads
        rows = torch.arange(fused.weight.shape[0]).view(groups, -1, attention.head_dim)
        return tuple(
            _rows_of(fused, at.flatten()) for at in (rows[:, :-2], rows[:, -2], rows[:, -1])
        )

    before = vars(config).copy()
    own = FalconArchitectureAdapter._split_falcon_qkv
    config.multi_query, config.num_key_value_heads = False, config.num_kv_heads
    FalconArchitectureAdapter._split_falcon_qkv = split
    try:
        yield
    finally:
        FalconArchitectureAdapter._split_falcon_qkv = own
        vars(config).clear()
        vars(config).update(before)


def _rows_of(fused: Any, at: Tensor) -> torch.nn.Linear:
    """A linear layer that gives some of another one's outputs."""
    weight = fused.weight.detach()[at.to(fused.weight.device)]
    part = torch.nn.Linear(weight.shape[1], len(at), bias=False, device="meta")
    part.weight = torch.nn.Parameter(weight)
    if fused.bias is not None:
        part.bias = torch.nn.Parameter(fused.bias.detach()[at.to(fused.bias.device)])
    return part


def wrapped(model: Any) -> None:
    """After TransformerLens wrapped a model: what it computes otherwise than the model did."""
    for block in model.blocks:
        attention, linear = getattr(block, "attn", None), getattr(block, "linear_attn", None)
        kind = "" if attention is None else type(attention.original_component).__name__
        if kind.startswith("Olmo"):
            attention.register_forward_pre_hook(_in_own_type, with_kwargs=True)
        if "Cohere" in kind:
            # Cohere turns neighbouring entries; TransformerLens does so for GLM, from angles laid
            # out in halves
            attention.config.rotary_adjacent_pairs = True
            attention.register_forward_pre_hook(_in_halves, with_kwargs=True)
        if linear is not None:
            _linear_attention(linear.original_component)


def _in_own_type(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """OLMo's rotary angles stay in float32, and it turns queries and keys back to the model's type
    afterwards; TransformerLens does not. So they are in that type before, as in other families.
    """
    turns = kwargs.get("position_embeddings")
    x = args[0] if args else kwargs.get("hidden_states")
    if turns is None or x is None or turns[0].dtype == x.dtype:
        return args, kwargs
    return args, kwargs | {"position_embeddings": tuple(turn.to(x.dtype) for turn in turns)}


def _in_halves(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    turns = kwargs.get("position_embeddings")
    if turns is None:
        return args, kwargs
    halves = tuple(torch.cat([x[..., ::2], x[..., ::2]], -1) for x in turns)
    return args, kwargs | {"position_embeddings": halves}


def _linear_attention(module: Any) -> None:
    """The functions that TransformerLens looks for on the module; newer transformers keep them
    beside the class.
    """
    beside = vars(sys.modules[type(module).__module__])
    if not hasattr(module, "causal_conv1d_fn"):
        module.causal_conv1d_fn = None
    if not hasattr(module, "chunk_gated_delta_rule"):
        module.chunk_gated_delta_rule = beside["torch_chunk_gated_delta_rule"]
