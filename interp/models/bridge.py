"""The one file that touches TransformerLens: wrap a Hugging Face model, run it with hooks, read its weights.

Only `boot_transformers`, `run_with_hooks`, `cfg`, and the components' `original_component` are used, so the
same code serves TransformerLens 3.9 and 4.x. Nothing here keeps state on the model between calls.
"""

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp.dims import Dims
from interp.models import state

# One lock around every run: hooks are state on the model, so two threads inside one model would see
# each other's edits and give wrong numbers without a word.
LOCK = threading.RLock()


def wrap(hf_model: Any, tokenizer: Any, name: str) -> Any:
    """The Hugging Face model as a TransformerBridge: eval mode, frozen, no token added behind your back.

    >>> model = wrap(hf_model, tokenizer, "my-model")

    The weights are shared, not copied. The tokenizer is kept exactly as given (TransformerLens would reload
    it with a BOS token switched on), and `default_prepend_bos` is off.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.model_bridge import TransformerBridge

    hf_model.eval().requires_grad_(False)
    had = dict(tokenizer.init_kwargs)
    # TransformerLens reloads a tokenizer from its origin unless this key says the BOS question is settled.
    tokenizer.init_kwargs.update(add_bos_token=True)
    tokenizer.init_kwargs.setdefault("name_or_path", name)
    quiet = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            model = TransformerBridge.boot_transformers(
                name, hf_model=hf_model, tokenizer=tokenizer, device=str(hf_model.device)
            )
    finally:
        logging.getLogger().setLevel(quiet)
        tokenizer.init_kwargs.clear()
        tokenizer.init_kwargs.update(had)
    model.cfg.default_prepend_bos = False
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def hooked(net: Any, tokenizer: Any, cfg: Any) -> Any:
    """A model of our own making with TransformerLens' hook points at its places: eval mode, frozen, weights shared.

    net: a module with children embed, blocks, ln_final and unembed, and an `nn.Identity` named hook_... at each place
    of `sites.TABLE`, which becomes a hook point. cfg: what `dims` and `name` read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.hook_points import HookedRootModule, HookPoint

    class Hooked(HookedRootModule):
        """Runs its net; the net's parts are its own."""

        def forward(self, tokens: Tensor, **options: Any) -> Tensor:
            return self.original_model(tokens)

    model = Hooked()
    for part in [net, *net.modules()]:
        for place, child in list(part.named_children()):
            if place.startswith("hook_") and not isinstance(child, HookPoint):
                setattr(part, place, HookPoint())
    for name, part in [*net.named_parameters(recurse=False), *net.named_children()]:
        setattr(model, name, part)
    object.__setattr__(model, "original_model", net)  # not as a part: its parts are there already
    model.tokenizer, model.cfg = tokenizer, cfg
    model.setup()
    net.eval()
    return model.eval().requires_grad_(False)


def dims(model: Any) -> Dims:
    """The model's sizes, read from its configuration."""
    cfg = model.cfg
    return Dims(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        n_kv_heads=getattr(cfg, "n_key_value_heads", None) or cfg.n_heads,
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        d_mlp=cfg.d_mlp,
        d_vocab=cfg.d_vocab,
        n_ctx=cfg.n_ctx,
        norm="rms"
        if "RMS" in str(cfg.normalization_type)
        else "none"
        if cfg.normalization_type == "none"
        else "ln",
        parallel=bool(getattr(cfg, "parallel_attn_mlp", False)),
        d_in=getattr(cfg, "d_in", None) or 0,
    )


def device(model: Any) -> torch.device:
    """Where the model reads its tokens: the device of its first parameter."""
    return next(model.parameters()).device


def name(model: Any) -> str:
    """The name the model was loaded under."""
    return str(model.cfg.model_name)


def ready(model: Any) -> state.State:
    """The model's state (see `interp.models.state`); ValueError where no number of it would be right."""
    split_again(model)
    now = state.look(model)
    if now.training or now.astray:
        raise ValueError(now.astray or training_sentence(now.training))
    return now


# How TransformerLens' wrappers split a fused projection: the method, and the parts it gives, in order.
SPLITS = {"split_qkv_matrix": ("q", "k", "v"), "split_gate_up_matrix": ("gate", "in")}


def split_again(model: Any) -> None:
    """Take q, k and v (gate and up) anew from fused projections that have changed since they were split.

    TransformerLens splits a fused projection when it wraps a model. Some of the parts are views of it, others copies,
    which would keep the old numbers.
    """
    fused = model.__dict__.get("_interp_fused")
    if fused is None:
        fused = [
            _Fused(part, how) for part in model.modules() for how in SPLITS if _splits(part, how)
        ]
        object.__setattr__(model, "_interp_fused", fused)
    for one in fused:
        one.follow()


def _splits(part: Any, how: str) -> bool:
    return callable(getattr(part, how, None)) and hasattr(part, "original_component")


class _Fused:
    """A fused projection, and the parts that it was split into."""

    def __init__(self, part: Any, how: str):
        self.part, self.how = part, how
        parts = [getattr(part, name) for name in SPLITS[how]]
        own = {id(p) for one in [*parts, getattr(part, "o", None)] if one for p in one.parameters()}
        self.watch = state.Tensors(
            p for p in part.original_component.parameters() if id(p) not in own
        )

    def __deepcopy__(self, memo: Any) -> None:
        return None

    def follow(self) -> None:
        if not self.watch.changed():
            return
        with torch.no_grad():
            new = getattr(self.part, self.how)(self.part.original_component)
            for name, projection in zip(SPLITS[self.how], new):
                old = getattr(self.part, name).original_component
                for key, value in projection.named_parameters():
                    getattr(old, key).data = value.data


def training_sentence(part: str) -> str:
    """What is wrong with a model whose part of this name is in training mode."""
    return f"{part} is in training mode, where dropout would blur every number: call model.eval() first"


def causal(model: Any) -> bool:
    """Whether a position can only be changed by itself and by earlier ones, found by changing the last token.

    Remembered while the model has the same parts. While a hook of yours is on the model the answer is no: what a
    hook carries from one position to another is not known.
    """
    with LOCK:
        now = ready(model)
        return not now.hooked and state.remembered(model, "causal", lambda: _causal(model))


@torch.no_grad()
def _causal(model: Any) -> bool:
    d = dims(model)
    weight = next(model.parameters())
    n = min(8, d.n_ctx)
    if d.d_in:
        one = torch.arange(n * d.d_in).sin().view(1, n, d.d_in).to(weight)
        other = one.clone()
        other[:, -1] = -1 - other[:, -1]
    else:
        one = (torch.arange(1, n + 1, device=weight.device) * 2_654_435_761 % d.d_vocab)[None]
        other = one.clone()
        other[:, -1] = (other[:, -1] + 1) % d.d_vocab
    # one call for each: a batch of both would be other matrix products, with other roundings
    first, second = (_hooked(model, tokens, [])[:, :-1] for tokens in (one, other))
    # exact where the same products are summed; experts of a mixture get other batches, hence a tolerance
    scale = float(first.abs().max()) if n > 1 else 0.0
    return n < 2 or float((first - second).abs().max()) <= 1e-5 * scale


def forward(
    model: Any,
    tokens: Tensor,
    hooks: Sequence[tuple[str, Callable[[Tensor, Any], Tensor | None]]] = (),
    *,
    last_only: bool = False,
) -> Tensor:
    """Logits [batch pos d_vocab] under hooks; with `last_only`, logits [batch d_vocab] of the last position.

    Hooks are removed also when one raises. `last_only` unembeds one position instead of all of them, a fifth
    of the work on a small model with a large vocabulary.
    """
    hooked = ready(model).hooked
    end = (
        last_only
        and not hooked
        and not any(n.startswith(("ln_final", "unembed")) for n, _ in hooks)
    )
    cap = getattr(model.cfg, "output_logits_soft_cap", -1.0) or -1.0
    if end and cap <= 0:
        residual = until(model, tokens, hooks, "ln_final.hook_in")
        # contiguous [batch d_model]: the strided slice times the unembedding is ten times slower
        return unembed(model, final_norm(model, residual[:, -1].contiguous()))
    logits = _hooked(model, tokens, hooks)
    return logits[:, -1] if last_only else logits


def until(model: Any, tokens: Tensor, hooks: Sequence, stop: str) -> Tensor:
    """The tensor at the hook `stop` [batch pos ...], nothing beyond it being computed.

    >>> until(model, tokens, [], "blocks.9.hook_in")     # the residual stream entering layer 9
    """

    def halt(tensor: Tensor, hook: Any = None) -> None:
        raise _Reached(tensor)

    try:
        _hooked(model, tokens, [*hooks, (stop, halt)])
    except _Reached as reached:
        return reached.tensor
    raise ValueError(f"this model never reaches the hook {stop!r}")


def embeddings(model: Any, tokens: Tensor) -> Tensor:
    """The token embeddings [batch pos d_model], before any position is added."""
    return until(model, tokens, [], "embed.hook_out")


class _Reached(Exception):
    """Ends a forward pass early, carrying what was computed so far."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


def _hooked(model: Any, tokens: Tensor, hooks: Sequence) -> Tensor:
    options = dict(return_type="logits", prepend_bos=False, use_cache=False)
    tokens = tokens.to(
        device(model)
    )  # the one place where prompts move; TransformerLens leaves ids be
    with LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not hooks:  # run_with_hooks walks every hook point of the model even then
            return model(tokens, **options)
        return model.run_with_hooks(tokens, fwd_hooks=list(hooks), **options)


# --- starting late: every block's input of one run is kept, and a variation starts where it first differs ----


@dataclass(frozen=True)
class Trail:
    """One unedited run: what entered each block [batch pos d_model], and how each block was called."""

    tokens: Tensor
    residuals: tuple[Tensor, ...]
    calls: tuple[tuple[tuple, dict], ...]


def trail(model: Any, tokens: Tensor) -> Trail | None:
    """The trail of a run, or None for a model whose blocks cannot be called one by one with the same result."""
    if ready(
        model
    ).hooked:  # a hook around the blocks would not be met when they are called one by one
        return None
    calls: list[tuple[tuple, dict]] = []

    def record(module, args, kwargs):
        return calls.append((args, kwargs))

    handles = [block.register_forward_pre_hook(record, with_kwargs=True) for block in model.blocks]
    try:
        whole = forward(model, tokens)
    finally:
        for handle in handles:
            handle.remove()
    if len(calls) != len(model.blocks) or not all(
        args and isinstance(args[0], Tensor) for args, _ in calls
    ):
        return None
    found = Trail(
        tokens, tuple(args[0] for args, _ in calls), tuple((args[1:], kw) for args, kw in calls)
    )
    again = resume(model, found, len(calls) // 2)
    close = torch.allclose(again, whole, atol=1e-4 * float(whole.abs().max()), rtol=0)
    return found if close else None


def resume(
    model: Any,
    start: Trail,
    layer: int,
    hooks: Sequence = (),
    *,
    copies: int = 1,
    last_only: bool = False,
) -> Tensor:
    """Logits of `copies` copies of a run that starts at a layer, under hooks at or after that layer.

    >>> resume(model, trail(model, tokens), 20, hooks)      # layers 0 to 19 are not run again
    """
    n = len(start.tokens)

    def many(t):
        return (
            t.repeat(copies, *[1] * (t.ndim - 1))
            if isinstance(t, Tensor) and n > 1 and t.shape[:1] == (n,)
            else t
        )

    late = any(name.startswith(("ln_final", "unembed")) for name, _ in hooks)
    x = start.residuals[layer] if layer < len(start.residuals) else None
    if x is None:
        raise ValueError(f"layer {layer} is past the last block ({len(start.residuals) - 1})")
    x = x.repeat(copies, 1, 1)
    with LOCK, warnings.catch_warnings(), model.hooks(fwd_hooks=list(hooks)):
        warnings.simplefilter("ignore")
        for block, (args, kwargs) in zip(model.blocks[layer:], start.calls[layer:]):
            out = block(x, *map(many, args), **{k: many(v) for k, v in kwargs.items()})
            x = out[0] if isinstance(out, tuple) else out
        if last_only and not late:
            x = x[:, -1].contiguous()
            return unembed(model, final_norm(model, x))
        logits = model.unembed(model.ln_final(x))
    return logits[:, -1] if last_only else logits


# --- weights, always in the shapes the model uses them (grouped K and V stay grouped) ------------------------


def norm(model: Any, which: str, layer: int, x: Tensor) -> Tensor:
    """The block's own `ln1` or `ln2` applied to x [... d_model], without hooks."""
    return getattr(model.blocks[layer], which).original_component(x)


def final_norm(model: Any, x: Tensor) -> Tensor:
    """The norm before the unembedding applied to x [... d_model]."""
    return model.ln_final.original_component(x)


def unembed(model: Any, x: Tensor) -> Tensor:
    """Logits [... d_vocab] of a normed residual x [... d_model]."""
    return model.unembed.original_component(x)


def unembedding(model: Any) -> tuple[Tensor, Tensor | None]:
    """W_U as [d_vocab d_model] (rows are tokens) and its bias [d_vocab] or None."""
    head = model.unembed.original_component
    return head.weight, getattr(head, "bias", None)


def _bias(attn: Any, which: str) -> Tensor | None:
    bias = getattr(attn, f"b_{which}", None)
    return None if bias is None else bias.detach()


def projection(model: Any, which: str, layer: int) -> tuple[Tensor, Tensor | None]:
    """W_Q, W_K or W_V as [head d_model d_head] (K, V: KV heads) or W_O as [head d_head d_model], and the bias.

    >>> W_K, b_K = projection(model, "K", 9)    # [kv_head d_model d_head]
    """
    attn = model.blocks[layer].attn
    return getattr(attn, f"W_{which}").detach(), _bias(attn, which)


def mlp_out(model: Any, layer: int) -> Tensor:
    """W_out [d_mlp d_model]: what each neuron of an MLP writes."""
    return model.blocks[layer].mlp.W_out.detach()


def final_scale(model: Any, x: Tensor) -> Tensor:
    """The factor [... 1] by which the final norm divides x [... d_model] (root mean square, or deviation)."""
    module = model.ln_final.original_component
    if dims(model).norm == "none":
        return torch.ones_like(x[..., :1])
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", 1e-5))
    if dims(model).norm == "ln":
        x = x - x.mean(-1, keepdim=True)
    return (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()


def final_gain(model: Any) -> tuple[Tensor, Tensor | None]:
    """The final norm's gain [d_model] and its bias [d_model] or None."""
    module = model.ln_final.original_component
    return module.weight, getattr(module, "bias", None)
