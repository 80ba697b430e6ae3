"""What is checked at load: a model that passes gives the numbers that the plain Hugging Face model gives."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interp import sites
from interp.models import bridge
from interp.sites import Site


def probe_tokens(d_vocab: int) -> Tensor:
    """Eight token ids spread over the vocabulary [1 8]: enough to see every weight matrix, cheap to run."""
    return (torch.arange(1, 9) * 2_654_435_761 % d_vocab)[None]


@torch.no_grad()
def plain_logits(hf_model: Any) -> Tensor:
    """Logits [1 8 d_vocab] of the plain Hugging Face model on the probe tokens; ask before the bridge wraps it."""
    tokens = probe_tokens(hf_model.config.get_text_config().vocab_size).to(hf_model.device)
    return hf_model.eval()(tokens, use_cache=False).logits


@torch.no_grad()
def check(model: Any, plain: Tensor | None = None) -> None:
    """Nothing when the model is sound; otherwise a ValueError that names what is wrong.

    >>> check(model, plain=plain_logits(hf_model))

    Checked in one short forward pass: logits equal the plain model's (relative to their scale), attention rows
    sum to one, the stream is the sum of what its parts write (not so in post-norm models), accessors' shapes.
    """
    d = bridge.dims(model)
    name = bridge.name(model)
    tokens = probe_tokens(d.d_vocab if plain is None else plain.shape[-1]).to(
        next(model.parameters()).device
    )
    hooks = {str(s): sites.hook(s, d) for layer in range(d.n_layers) for s in _seen_sites(layer, d)}
    own = {name for name in hooks.values() if ".attn.softmax_" in name}  # hooks of our own
    missing = sorted(set(hooks.values()) - own - set(model.hook_dict))
    if missing:
        raise ValueError(
            f"{name}: this kind of model is not supported: it has no {missing[0]} (pass check=False to try anyway)"
        )
    kept: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[[Tensor, Any], None]:
        def keep(tensor: Tensor, hook: Any = None) -> None:
            kept[name] = tensor  # returning nothing leaves the activation as it is

        return keep

    logits = bridge.forward(model, tokens, [(name, keeper(name)) for name in set(hooks.values())])
    seen = {site: kept[hook] for site, hook in hooks.items() if hook in kept}
    half = logits.dtype in (torch.float16, torch.bfloat16)
    _check_logits(name, logits, plain, 3e-2 if half else 1e-4)
    sinks = "sinks" in _own_parameters(model, d)
    _check_rows(name, seen, d, 2e-2 if half else 1e-4, sinks)
    if "no sum" not in d.variants:
        _check_stream(name, seen, d, 2e-2 if half else 1e-4)
    _check_shapes(name, model, d)


def _seen_sites(layer: int, d: bridge.Dims) -> list[Site]:
    found = [] if layer in d.headless else [Site("head", "pattern", layer, 0)]
    if layer == d.n_layers // 2:
        found += [
            Site(family, "out", layer) for family in ("resid_pre", "attn", "mlp", "resid_post")
        ]
    return found


def _check_logits(name: str, logits: Tensor, plain: Tensor | None, tolerance: float) -> None:
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"{name}: the logits are not finite: the weights are damaged, or the number type is too small"
        )
    if plain is None:
        return
    far = (logits.float() - plain.to(logits.device).float()).abs().max().item()
    scale = plain.float().abs().max().item()
    if far > tolerance * scale:
        raise ValueError(
            f"{name}: TransformerLens does not give this model's logits (largest difference {far:.2g}, logits up to "
            f"{scale:.3g}), so no number measured on it would be right"
        )


def _own_parameters(model: Any, d: bridge.Dims) -> set[str]:
    """What the first attention of the model itself has for parameters."""
    layer = next(i for i in range(d.n_layers) if i not in d.headless)
    attention = model.blocks[layer].attn
    attention = getattr(attention, "original_component", attention)
    return {name for name, _ in attention.named_parameters()}


def _check_rows(
    name: str, seen: dict[str, Tensor], d: bridge.Dims, tolerance: float, sinks: bool = False
) -> None:
    for layer in range(d.n_layers):
        if layer in d.headless:
            continue
        pattern = seen.get(f"L{layer}H0.pattern")
        if pattern is None:
            raise ValueError(
                f"{name}: layer {layer} shows no attention pattern: load it with attn_implementation='eager'"
            )
        far = pattern.float().sum(-1) - 1
        off = (far.clamp_min(0) if sinks else far.abs()).max().item()  # a sink takes a share
        if pattern.shape[1] != d.n_heads or off > tolerance:
            raise ValueError(
                f"{name}: attention of layer {layer} is not {d.n_heads} heads whose rows sum to one "
                f"(shape {tuple(pattern.shape)}, off by {off:.2g})"
            )


def _check_stream(name: str, seen: dict[str, Tensor], d: bridge.Dims, tolerance: float) -> None:
    layer = d.n_layers // 2
    pre, attn, mlp, post = (
        seen[f"{part}.{layer}"].float() for part in ("resid_pre", "attn", "mlp", "resid_post")
    )
    scale = max(t.abs().max().item() for t in (pre, attn, mlp, post))
    if (pre + attn + mlp - post).abs().max().item() > tolerance * scale:
        raise ValueError(
            f"{name}: after layer {layer} the residual stream is not the sum of what attention and MLP wrote: "
            "this kind of model normalises or rescales the stream itself, which is not supported"
        )


def _check_shapes(name: str, model: Any, d: bridge.Dims) -> None:
    expected = {
        "Q": (d.n_heads, d.d_model, d.d_head),
        "K": (d.n_kv_heads, d.d_model, d.d_head),
        "V": (d.n_kv_heads, d.d_model, d.d_head),
        "O": (d.n_heads, d.d_head, d.d_model),
    }
    layer = next(i for i in range(d.n_layers) if i not in d.headless)
    for which, shape in expected.items():
        found = tuple(bridge.projection(model, which, layer)[0].shape)
        # a layer may have a head size of its own (Gemma-4), and a query its gate beside it (Qwen3-Next)
        sizes = slice(0, 1) if which == "O" else slice(0, 2)
        if len(found) != 3 or found[sizes] != shape[sizes]:
            raise ValueError(
                f"{name}: W_{which} should be {shape} and is {found}: this kind of model is not supported"
            )
    rows, columns = bridge.unembedding(model)[0].shape
    if columns != d.d_model:
        raise ValueError(
            f"{name}: the unembedding should read {d.d_model} numbers and reads {columns} ({rows} tokens)"
        )
