"""What is checked at load: a model that passes gives the numbers that the plain Hugging Face model
gives.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interp import sites
from interp.models import bridge
from interp.models.bridge import probe_tokens
from interp.sites import Site


@torch.no_grad()
def plain_logits(hf_model: Any) -> Tensor:
    """Logits [1 8 d_vocab] of the plain Hugging Face model on the probe tokens; ask before the
    bridge wraps it.
    """
    tokens = probe_tokens(hf_model.config.get_text_config().vocab_size).to(hf_model.device)
    return hf_model.eval()(tokens, use_cache=False).logits


@torch.no_grad()
def small_logits(model: Any) -> Tensor:
    """Logits [1 n d_vocab] of a HookedTransformer or a native bridge on as many probe tokens as it
    reads.
    """
    training = [part for part in model.modules() if part.training]
    tokens = probe_tokens(model.cfg.d_vocab, model.cfg.n_ctx).to(next(model.parameters()).device)
    logits = model.eval()(tokens, return_type="logits")
    for part in training:
        part.training = True
    return logits


@torch.no_grad()
def check(model: Any, plain: Tensor | None = None) -> None:
    """Nothing when the model is sound; otherwise a ValueError that names what is wrong.

    Checked in two short forward passes: logits equal the plain model's (relative to their scale),
    those read at the last position equal the full ones, attention rows sum to one, the stream is
    the sum of what its parts write in every layer, weights read from the model give what its layers
    compute, the stream times the unembedding gives the logits, and whether attention is causal
    (remembered, see `bridge.causal`).

    Example:
        >>> check(model, plain=plain_logits(hf_model))
    """
    d = bridge.dims(model)
    name = bridge.name(model)
    ours = plain is None or not hasattr(getattr(model, "original_model", None), "config")
    tokens = bridge.probe(model, None if ours else plain.shape[-1])
    hooks = {str(s): sites.hook(s, d) for layer in range(d.n_layers) for s in _seen_sites(layer, d)}
    own = {name for name in hooks.values() if ".attn.softmax_" in name}  # hooks of our own
    missing = sorted(set(hooks.values()) - own - set(model.hook_dict))
    if missing:
        raise ValueError(
            f"{name}: this kind of model is not supported: it has no {missing[0]} (pass check=False"
            " to try anyway)"
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
    _check_end(name, model, seen["logits.in"], logits, 3e-2 if half else 1e-4)
    sinks = "sinks" in _own_parameters(model, d)
    _check_rows(name, seen, d, 2e-2 if half else 1e-4, sinks)
    if "no sum" not in d.variants:
        _check_stream(name, seen, d, 2e-2 if half else 1e-4)
    _check_shapes(name, model, d)
    _check_weights(name, model, seen, d, 3e-2 if half else 1e-3)
    _check_reading(name, model, seen["logits.in"], logits, 3e-2 if half else 1e-3)
    bridge.causal(model, (tokens, logits))


@torch.no_grad()
def check_traced(model: Any, plain: Tensor | None) -> None:
    """Nothing when a model that runs through nnsight is sound, as far as one request shows it;
    otherwise a ValueError.

    Checked on the probe tokens: logits equal the plain model's, where that is here; in the first,
    the middle and the last layer the stream is the sum of what its parts write, a layer reads what
    the one before it gave, and heads have the sizes that the configuration says.
    """
    d, name = bridge.dims(model), bridge.name(model)
    layers = sorted({0, d.n_layers // 2, d.n_layers - 1})
    tokens = bridge.probe(model, None if plain is None else plain.shape[-1])
    found = [s for layer in layers for s in _seen_sites(layer, d) if s.part != "pattern"]
    found += [Site("resid_post", "out", layer - 1) for layer in layers if layer]
    hooks, kept = {str(site): sites.hook(site, d) for site in found}, {}
    logits = bridge.forward(
        model, tokens, [(hook, functools.partial(_keep, kept, hook)) for hook in hooks.values()]
    )
    seen = {site: kept[hook] for site, hook in hooks.items()}
    half = logits.dtype in (torch.float16, torch.bfloat16)
    _check_logits(name, logits, plain, 3e-2 if half else 1e-4)
    _check_stream(name, seen, d, 2e-2 if half else 1e-4)
    for layer in layers:
        if layer:
            before, now = seen[f"resid_post.{layer - 1}"], seen[f"resid_pre.{layer}"]
            _close(f"what enters layer {layer}", name, now, before, 1e-6)
        for site in found:
            heads = {"head": d.n_heads, "kv": d.n_kv_heads}.get(site.family)
            if heads and seen[str(site)].shape[2:] != (heads, d.d_head):
                raise ValueError(
                    f"{name}: {str(site)!r} should be {heads} heads of {d.d_head} and is"
                    f" {tuple(seen[str(site)].shape)}: this kind of model is not supported"
                )


def _keep(kept: dict[str, Tensor], name: str, tensor: Tensor, hook: Any = None) -> None:
    kept[name] = tensor  # returning nothing leaves the activation as it is


def _seen_sites(layer: int, d: bridge.Dims) -> list[Site]:
    whole = ("resid_pre", "attn", "mlp", "resid_post")
    found = [Site(family, "out", layer) for family in whole]
    if layer not in d.headless:
        found += [Site("head", part, layer, 0) for part in ("pattern", "q", "z")]
        found += [Site("kv", part, layer, 0) for part in ("k", "v")]
    return found if layer else [*found, Site("logits", "in")]


def _check_end(name: str, model: Any, x: Tensor, logits: Tensor, tolerance: float) -> None:
    end = bridge.end_logits(model, x).float()
    off = (end - logits[:, -1].float()).abs().max().item()
    if off > tolerance * logits.float().abs().max().item():
        raise ValueError(
            f"{name}: logits read at the last position alone differ from the full ones by"
            f" {off:.2g}: what this model does after its unembedding is not known here"
        )


def _check_weights(
    name: str, model: Any, seen: dict[str, Tensor], d: bridge.Dims, tolerance: float
) -> None:
    """The weights that path patching and attribution read give what the layers compute."""
    for layer in (layer for layer in range(d.n_layers) if layer not in d.headless):
        x = seen[f"resid_pre.{layer}"]
        for which, site, heads in (
            ("Q", f"L{layer}H0.q", d.n_heads),
            ("K", f"L{layer}KV0.k", d.n_kv_heads),
            ("V", f"L{layer}KV0.v", d.n_kv_heads),
        ):
            there = seen[site]
            there = there.flatten(2).unflatten(2, (heads, -1))  # a gate stands beside its query
            read = bridge.reader(model, which, layer, x, slice(None))[..., : there.shape[-1]]
            _close(f"W_{which} of layer {layer}", name, read, there, tolerance)
        if bridge.writes_before_norm(model, layer) is None:
            z = seen[f"L{layer}H0.z"]
            z = z.flatten(2) if z.ndim == 4 else z
            W, b = bridge.projection(model, "O", layer)
            wrote = (z @ W.flatten(0, 1)) + (0 if b is None else b)
            wrote = wrote * bridge.share(model, layer, None)
            _close(f"W_O of layer {layer}", name, wrote, seen[f"attn.{layer}"], tolerance)


def _close(what: str, name: str, read: Tensor, there: Tensor, tolerance: float) -> None:
    read, there = read.float(), there.float()
    off = (read - there).abs().max().item() if read.shape == there.shape else float("inf")
    if not off <= tolerance * there.abs().max().item() + 1e-6:
        raise ValueError(
            f"{name}: {what} as it is read does not give what the layer computes (off by"
            f" {off:.2g}): an adapter or another wrapper around the layer does. Merge it into the"
            " weights first, and load the model again"
        )


def _check_reading(name: str, model: Any, x: Tensor, logits: Tensor, tolerance: float) -> None:
    """The final norm's scale and gain and the unembedding make the logits of the stream, part by
    part.
    """
    gain, bias = bridge.final_gain(model)
    W_U, b_U = bridge.unembedding(model)
    x = x.to(W_U)
    centred = x - x.mean(-1, keepdim=True) if bridge.dims(model).norm == "ln" else x
    normed = centred / bridge.final_scale(model, x).to(x) * gain.to(x)
    read = (normed if bias is None else normed + bias.to(x)) @ W_U.T
    read = (read if b_U is None else read + b_U).float()
    read, there = read.flatten(), logits.float().flatten()
    scale = there.abs().max()
    if (read - there).abs().max() <= tolerance * scale:
        return
    # a cap on the logits keeps their order, and is the identity near zero
    rising = there[read.argsort()].diff().min() >= -tolerance * scale
    small = read.abs() <= 0.05 * read.abs().max()
    if not rising or not ((read - there)[small].abs() <= 0.05 * read.abs().max()).all():
        raise ValueError(
            f"{name}: the stream, through the final norm and the unembedding, does not add up to"
            f" the logits (off by {(read - there).abs().max().item():.2g}): no attribution of"
            " logits would be right"
        )


def _check_logits(name: str, logits: Tensor, plain: Tensor | None, tolerance: float) -> None:
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"{name}: the logits are not finite: the weights are damaged, or the number type is too"
            " small"
        )
    if plain is None:
        return
    far = (logits.float() - plain.to(logits.device).float()).abs().max().item()
    scale = plain.float().abs().max().item()
    if far > tolerance * scale:
        raise ValueError(
            f"{name}: TransformerLens does not give this model's logits (largest difference"
            f" {far:.2g}, logits up to {scale:.3g}), so no number measured on it would be right"
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
                f"{name}: layer {layer} shows no attention pattern: load it with"
                " attn_implementation='eager'"
            )
        far = pattern.float().sum(-1) - 1
        off = (far.clamp_min(0) if sinks else far.abs()).max().item()  # a sink takes a share
        if pattern.shape[1] != d.n_heads or off > tolerance:
            raise ValueError(
                f"{name}: attention of layer {layer} is not {d.n_heads} heads whose rows sum to one"
                f" (shape {tuple(pattern.shape)}, off by {off:.2g})"
            )


def _check_stream(name: str, seen: dict[str, Tensor], d: bridge.Dims, tolerance: float) -> None:
    for layer in range(d.n_layers):
        if f"resid_pre.{layer}" in seen:
            _check_sum(name, seen, layer, tolerance)


def _check_sum(name: str, seen: dict[str, Tensor], layer: int, tolerance: float) -> None:
    pre, attn, mlp, post = (
        seen[f"{part}.{layer}"].float() for part in ("resid_pre", "attn", "mlp", "resid_post")
    )
    scale = max(t.abs().max().item() for t in (pre, attn, mlp, post))
    if (pre + attn + mlp - post).abs().max().item() > tolerance * scale:
        raise ValueError(
            f"{name}: after layer {layer} the residual stream is not the sum of what attention and"
            " MLP wrote: this kind of model normalises or rescales the stream itself, which is not"
            " supported"
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
        # a layer may have a head size of its own (Gemma-4), and a query its gate beside it
        # (Qwen3-Next)
        sizes = slice(0, 1) if which == "O" else slice(0, 2)
        if len(found) != 3 or found[sizes] != shape[sizes]:
            raise ValueError(
                f"{name}: W_{which} should be {shape} and is {found}: this kind of model is not"
                " supported"
            )
    rows, columns = bridge.unembedding(model)[0].shape
    if columns != d.d_model:
        raise ValueError(
            f"{name}: the unembedding should read {d.d_model} numbers and reads {columns} ({rows}"
            " tokens)"
        )
