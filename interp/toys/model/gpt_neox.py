"""`gpt_neox`: a small transformer with its weights in Hugging Face's GPT-NeoX, which the engine
runs.
"""

from collections.abc import Sequence
from typing import Any

import torch

from interp._arguments import quoted
from interp.models import load
from interp.toys.model.parts import Net
from interp.toys.model.spec import Spec
from interp.toys.model.transformer import tokenizer

FIT = {  # what GPT-NeoX has: the option and its value
    "positions": "rotary",
    "norm": "layer",
    "embed": "learned",
    "qk_norm": False,
    "key_bias": False,
    "tied": False,
    "d_in": None,
}
ACTS = ("relu", "gelu", "silu", "tanh")


def gpt_neox(net: Any, *, name: str = "", words: Sequence[str] = (), bos: int | None = None) -> Any:
    """The same small transformer as a GPT-NeoX model: equal logits, and the engine runs it.

    The engine's fast verbs, and those that only it can do (`features.graph`), need an architecture
    that it knows.

    Example:
        >>> run = toys.train(toys.RECIPES["induction"].but(model={"mlp": 128}))
        >>> model = toys.gpt_neox(run)
        >>> features.graph(model, tokens, features.train_transcoders(model, "0-1", tokens))

    Args:
        net: A run of `toys.train`, or the plain module of `toys.net`. Its positions are rotary, its
            norm is LayerNorm, its attention softmax, and every layer has an MLP of one width.
        name: The model's name in results; that of the run's recipe if not given.
        words, bos: As in `toys.transformer`; those of the run if not given.

    Returns:
        A loaded model.

    Raises:
        ValueError: If GPT-NeoX has no such part.
    """
    if not isinstance(net, Net):
        if not hasattr(net, "recipe"):
            raise TypeError(
                "interp.toys.gpt_neox takes a run of toys.train or a module of toys.net, not"
                f" {quoted(net)}: toys.gpt_neox(toys.train(toys.RECIPES['induction']))"
            )
        name, words = name or net.recipe.name, words or net.words
        bos = net.bos if bos is None else bos
        net = net.net()
    s = net.spec
    _check(s)
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=s.d_vocab,
        hidden_size=s.d_model,
        intermediate_size=s.mlp[0],
        num_hidden_layers=s.n_layers,
        num_attention_heads=s.n_heads,
        max_position_embeddings=s.n_ctx,
        hidden_act=s.act,
        rotary_pct=1.0,
        layer_norm_eps=1e-5,
        use_parallel_residual=False,
        tie_word_embeddings=False,
        bos_token_id=bos,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):  # its own weights are replaced
        model = GPTNeoXForCausalLM(config)
    model.load_state_dict(_weights(net, model.state_dict()))
    model.config._name_or_path = name or "toy"
    return load(model.eval(), tokenizer=tokenizer(s.d_vocab, words, bos), progress=False)


def _check(s: Spec) -> None:
    wrong = next((k for k, v in FIT.items() if getattr(s, k) != v), None)
    if wrong is not None:
        raise ValueError(
            f"{wrong}={getattr(s, wrong)!r}: GPT-NeoX has {wrong}={FIT[wrong]!r} (every other"
            " function runs the toy itself, by hooks)"
        )
    if set(s.attention) != {"softmax"}:
        raise ValueError(f"attention={s.attention!r}: GPT-NeoX has softmax in every layer")
    if len(set(s.mlp)) != 1 or not s.mlp[0]:
        raise ValueError(f"mlp={s.mlp!r}: GPT-NeoX has an MLP of one width in every layer")
    if s.act not in ACTS:
        raise ValueError(f"act={s.act!r}: one of {', '.join(ACTS)}")
    usual = s.d_model // s.n_heads
    if s.n_kv_heads != s.n_heads or s.d_head != usual or s.d_head % 2 or s.identity:
        raise ValueError(
            f"GPT-NeoX has heads of {usual} dimensions (an even number), as many of keys as of"
            " queries, and no fixed maps"
        )
    if s.attention_scale not in (None, s.d_head**-0.5):
        raise ValueError(f"attention_scale={s.attention_scale!r}: GPT-NeoX has d_head ** -0.5")


@torch.no_grad()
def _weights(net: Net, shapes: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under GPT-NeoX' names; a bias that the net lacks is zero."""
    unembed = "lm_head.weight" if "lm_head.weight" in shapes else "embed_out.weight"
    found = {
        "gpt_neox.embed_in.weight": net.embed.weight,
        "gpt_neox.final_layer_norm.weight": net.ln_final.original_component.weight,
        "gpt_neox.final_layer_norm.bias": net.ln_final.original_component.bias,
        unembed: net.unembed.original_component.weight,
    }
    for layer, block in enumerate(net.blocks):
        at, heads = f"gpt_neox.layers.{layer}", (net.spec.n_heads, net.spec.d_head)
        qkv = (block.attn.q, block.attn.k, block.attn.v)  # interleaved head by head
        joined = torch.stack([part.weight.unflatten(0, heads) for part in qkv], 1)
        found[f"{at}.attention.query_key_value.weight"] = joined.flatten(0, 2)
        if block.attn.q.bias is not None:
            joined = torch.stack([part.bias.unflatten(0, heads) for part in qkv], 1)
            found[f"{at}.attention.query_key_value.bias"] = joined.flatten()
        for theirs, part in {
            "attention.dense": block.attn.o,
            "mlp.dense_h_to_4h": block.mlp.up,
            "mlp.dense_4h_to_h": block.mlp.down,
            "input_layernorm": block.ln1.original_component,
            "post_attention_layernorm": block.ln2.original_component,
        }.items():
            found[f"{at}.{theirs}.weight"] = part.weight
            if part.bias is not None:
                found[f"{at}.{theirs}.bias"] = part.bias
    zero = {name: torch.zeros_like(value) for name, value in shapes.items() if "bias" in name}
    return {**zero, **found}
