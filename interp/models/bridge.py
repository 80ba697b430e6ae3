"""The one file that touches TransformerLens: wrap a Hugging Face model, run it with hooks, read its
weights.

Only `boot_transformers`, `hook_dict`, `cfg`, and the components' `original_component` are
used, so the same code serves TransformerLens 3.9 and 4.x. Nothing here keeps state on the model
between calls.
"""

import contextlib
import copy
import functools
import io
import itertools
import logging
import operator
import os
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from interp.dims import Dims
from interp.models import families, state, traced

# One lock around every run: hooks are state on the model, so two threads inside one model would see
# each other's edits and give wrong numbers without a word.
LOCK = threading.RLock()
FORK_WAITS = 5.0  # seconds that a fork waits for the run of another thread


class _Fork:
    """A forked process has only the thread that forked: a lock held by another would stay shut.

    So a fork waits for the run that is under way, for a while, and its child has the lock open.
    """

    held = False

    def before(self) -> None:
        """Waits until no other thread is inside a model."""
        self.held = LOCK.acquire(timeout=FORK_WAITS)

    def in_parent(self) -> None:
        """Lets the other threads go on."""
        if self.held:
            LOCK.release()

    def in_child(self) -> None:
        """A new lock, whoever held the old one."""
        global LOCK
        LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    _fork = _Fork()
    os.register_at_fork(
        before=_fork.before, after_in_parent=_fork.in_parent, after_in_child=_fork.in_child
    )

_levels = itertools.count(-1, -1)  # of hooks; TransformerLens counts its own from 0 up

SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


def wrap(hf_model: Any, tokenizer: Any, name: str) -> Any:
    """The Hugging Face model as a TransformerBridge: eval mode, frozen, no token added behind your
    back.

    The weights are shared, not copied. The tokenizer is kept exactly as given (TransformerLens
    would reload it with a BOS token switched on), and `default_prepend_bos` is off.

    Example:
        >>> model = wrap(hf_model, tokenizer, "my-model")
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.model_bridge import TransformerBridge

    hf_model.eval().requires_grad_(False)
    had = dict(tokenizer.init_kwargs)
    special = {key: getattr(tokenizer, key) for key in SPECIAL}
    # TransformerLens reloads a tokenizer from its origin unless this key says the BOS question is
    # settled.
    tokenizer.init_kwargs.update(add_bos_token=True)
    tokenizer.init_kwargs.setdefault("name_or_path", name)
    quiet = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.ERROR)
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            families.wrapping(hf_model),
        ):
            warnings.simplefilter("ignore")
            model = TransformerBridge.boot_transformers(
                name, hf_model=hf_model, tokenizer=tokenizer, device=str(hf_model.device)
            )
    finally:
        logging.getLogger().setLevel(quiet)
        tokenizer.init_kwargs.clear()
        tokenizer.init_kwargs.update(had)
        # where there is no BOS token, TransformerLens makes the EOS token one
        for key, token in special.items():
            if getattr(tokenizer, key) != token:
                setattr(tokenizer, key, token)
    families.wrapped(model)
    model.cfg.default_prepend_bos, model.cfg.model_name = False, name
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def hooked(net: Any, tokenizer: Any, cfg: Any) -> Any:
    """A model of our own making with TransformerLens' hook points at its places: eval mode, frozen,
    weights shared.

    Args:
        net: A module with children embed, blocks, ln_final and unembed, and an `nn.Identity` named
            hook_... at each place of `sites.TABLE`, which becomes a hook point.
        cfg: What `dims` and `name` read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens import HookedRootModule
        from transformer_lens.hook_points import HookPoint

    class Hooked(HookedRootModule):
        """Runs its net; the net's parts are its own."""

        def forward(self, tokens: Tensor, *, last_only: bool = False, **options: Any) -> Tensor:
            return self.original_model(tokens, **({"last_only": True} if last_only else {}))

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


def own_model(config: Any, weights: dict[str, Tensor], what: str) -> Any:
    """A HookedTransformer, or a native bridge where the weights have its names, with these
    weights.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from transformer_lens import HookedTransformer, HookedTransformerConfig
        from transformer_lens.model_bridge import TransformerBridge

        ours = any(key.endswith((".W_Q", "embed.W_E")) for key in weights)
        if ours:
            options = config if isinstance(config, HookedTransformerConfig) else None
            options = options or HookedTransformerConfig.from_dict({"device": "cpu", **config})
            model = HookedTransformer(options, move_to_device=False)
        else:
            model = TransformerBridge.boot_native(config)
        target = model if ours else model.original_model
        native = not ours and "tok_embed.weight" in weights
        missing, unexpected = _loaded(target if ours or native else model, weights)
    if missing or unexpected:
        odd = f"has no {missing[0]}" if missing else f"has {unexpected[0]}, which the model has not"
        raise ValueError(f"{what!r} does not fit this configuration: it {odd}")
    return model.eval()


def _loaded(model: Any, weights: dict[str, Tensor]) -> tuple[list[str], list[str]]:
    """The weights that a model lacks, and those that it has no place for; the rest is in it."""
    made = ("mask", "IGNORE", "rotary_sin", "rotary_cos")  # buffers that a configuration makes
    if hasattr(model, "original_model"):
        own = model.state_dict()
        for key in own.keys() & weights.keys():
            own[key].copy_(weights[key])
        return sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # sizes
        raise ValueError(str(error).strip().splitlines()[-1].strip()) from None
    return tuple([k for k in keys if not k.endswith(made)] for keys in (missing, unexpected))


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
        norm=(
            "rms"
            if "RMS" in str(cfg.normalization_type)
            else "none"
            if cfg.normalization_type == "none"
            else "ln"
        ),
        parallel=bool(getattr(cfg, "parallel_attn_mlp", False)),
        d_in=getattr(cfg, "d_in", None) or 0,
        variants=_layout(model).variants,
        headless=_layout(model).headless,
    )


def folded_norm(model: Any, layer: int) -> bool:
    """Whether the weights of the norm before a layer's MLP stand in the MLP's own matrices
    (TransformerLens' `enable_compatibility_mode`): its gain is the same in all directions.
    """
    if not (getattr(model, "compatibility_mode", False) or getattr(model, "_weights_processed", 0)):
        return False
    norm = getattr(model.blocks[layer], "ln2", None)
    values = {} if norm is None else dict(norm.named_parameters())
    gain = [value for name, value in values.items() if name.split(".")[-1] in ("weight", "w")]
    return bool(gain) and all(bool((value == value.flatten()[0]).all()) for value in gain)


def device(model: Any) -> torch.device:
    """Where the model reads its tokens: the device of its first parameter."""
    return next(model.parameters()).device


# --- how a model's blocks differ from plain ones --------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """What is particular about a model's blocks, read once from its modules.

    Attributes:
        variants: The rows of `sites.VARIANTS` that hold.
        headless: Layers without attention heads.
        norms: The norm that attention and the MLP read the stream through ("" for none).
        after: The norm that what attention and MLP write goes through before it is added ("" for
            none).
        share: The factor of both on the way into the stream.
    """

    variants: tuple[str, ...] = ()
    headless: tuple[int, ...] = ()
    norms: tuple[str, str] = ("ln1", "ln2")
    after: tuple[str, str] = ("", "")
    share: float = 1.0
    joint_norm: bool = False  # queries and keys of all heads are normed together


class _Known:
    """A model's layout, and the parts of its blocks that it was read from."""

    def __init__(self, model: Any):
        self.parts = _block_parts(model)  # strong references: no id is given to another part
        self.factors = state.Tensors(
            factor for block in model.blocks if isinstance(factor := _factor(block), Tensor)
        )
        self.layout = _read_layout(model)

    def __deepcopy__(self, memo: Any) -> None:
        """A copy of the model reads its own."""
        return None

    def __reduce__(self) -> Any:
        return (type(None), ())

    def holds(self, model: Any) -> bool:
        now = _block_parts(model)
        same = len(now) == len(self.parts) and all(map(operator.is_, now, self.parts))
        return same and not self.factors.changed()


def elsewhere(model: Any) -> bool:
    """Whether the model has no parts to compute with: its runs are requests (see `traced`)."""
    return isinstance(getattr(model, "original_model", None), traced.Traced)


def served(model: Any) -> bool:
    """Whether the model's weights are on a server, each request to which takes its time."""
    return elsewhere(model) and isinstance(model.original_model.weights, traced.Served)


def _block_parts(model: Any) -> list[Any]:
    blocks = list(model.blocks)
    return [*blocks, *(part for block in blocks for part in block._modules.values())]


def _layout(model: Any) -> Layout:
    known = model.__dict__.get("_interp_layout")
    if known is None or not known.holds(model):
        known = _Known(model)
        object.__setattr__(model, "_interp_layout", known)
    return known.layout


def _read_layout(model: Any) -> Layout:
    if elsewhere(model):
        return Layout(**model.original_model.layout)
    hooks = getattr(model, "hook_dict", {})
    headless = tuple(i for i, block in enumerate(model.blocks) if not hasattr(block, "attn"))
    first = next((i for i in range(len(model.blocks)) if i not in headless), 0)

    def target(name: str) -> str:
        """What a name of this block stands for, without the block."""
        point = hooks.get(f"blocks.{first}.{name}")
        return "" if point is None else str(point.name).removeprefix(f"blocks.{first}.")

    block, names, variants = model.blocks[first], {}, []
    parts = set(getattr(block, "_modules", {}))
    for part in ("attn", "mlp"):
        names[part] = target(f"hook_{part}_out")
        if names[part] and names[part] != f"{part}.hook_out":
            variants.append(f"{part} out")
    after = tuple(
        names[part].split(".")[0] if names[part].startswith("ln") else ""
        for part in ("attn", "mlp")
    )
    if after[0]:
        variants.append("norm after")
    norms = ("ln1", "ln2")
    if "ln1" in after:  # TransformerLens counts these norms as 1 and 2, though both come after
        norms = ("", "")
        variants.append("no norm before")
    elif names["attn"] and "mlp" in parts and "ln2" not in parts:
        norms = ("ln1", "ln1")
        variants.append("one norm")
    attention = getattr(block, "attn", None)
    joint = getattr(attention, "_qk_norm_phase", None) == "pre_reshape"
    if joint:
        variants.append("joint norm")
    forward = getattr(type(attention), "forward", None)
    if getattr(forward, "__qualname__", "") == "AttentionBridge.forward":
        variants.append("attention of its own")
    if target("mlp.hook_post") == "mlp.hook_out":  # TransformerLens' name for want of another
        variants.append("experts")
    if any(_rescaled(b) for b in model.blocks):
        variants.append("no sum")
    share = float(getattr(block, "residual_contribution_scale", 1.0))
    return Layout(tuple(variants), headless, norms, after, share, joint)


def _factor(block: Any) -> Any:
    return getattr(getattr(block, "original_component", None), "layer_scalar", None)


def _rescaled(block: Any) -> bool:
    """Whether a block does more to the stream than to add what attention and MLP write
    (Gemma-4).
    """
    factor = _factor(block)
    scaled = factor is not None and bool((torch.as_tensor(factor) != 1).any())
    return scaled or "per_layer_input_gate" in getattr(block, "_modules", {})


def name(model: Any) -> str:
    """The name the model was loaded under."""
    return str(model.cfg.model_name)


def ready(model: Any) -> state.State:
    """The model's state (see `interp.models.state`); ValueError where no number of it would be
    right.
    """
    _take_turns(type(model))
    split_again(model)
    now = state.look(model)
    if now.training or now.astray:
        raise ValueError(now.astray or training_sentence(now.training))
    return now


def _take_turns(kind: type) -> None:
    """From now on this class's own runs under hooks wait for a run of ours in another thread, and
    ours for theirs.

    A hook is on the model, so a widget's worker would otherwise fire those of the next cell's
    `model.run_with_cache`, and put its own prompt's activations into that cache.
    """
    for name in ("run_with_hooks", "run_with_cache"):
        plain = getattr(kind, name, None)
        if plain is None or hasattr(plain, "_waits"):
            continue

        @functools.wraps(plain)
        def waits(*args: Any, _plain: Callable = plain, **options: Any) -> Any:
            with LOCK:
                return _plain(*args, **options)

        vars(waits)["_waits"] = True
        setattr(kind, name, waits)


# How TransformerLens' wrappers split a fused projection: the method, and the parts it gives, in
# order.
SPLITS = {"split_qkv_matrix": ("q", "k", "v"), "split_gate_up_matrix": ("gate", "in")}


def split_again(model: Any) -> None:
    """Take q, k and v (gate and up) anew from fused projections that have changed since they were
    split.

    TransformerLens splits a fused projection when it wraps a model. Some of the parts are views of
    it, others copies, which would keep the old numbers.
    """
    for one in _fused(model):
        one.follow()


def _fused(model: Any) -> list["_Fused"]:
    """The model's fused projections, each with the parts that it was split into."""
    fused = model.__dict__.get("_interp_fused")
    if fused is None or None in fused:  # None: in a copy of the model
        fused = [
            _Fused(part, how) for part in model.modules() for how in SPLITS if _splits(part, how)
        ]
        object.__setattr__(model, "_interp_fused", fused)
    return fused


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

    @torch.no_grad()
    def _numbered(self) -> list[tuple[Any, str, Tensor]]:
        """Each parameter of the parts, and for each of its entries the number of the entry of the
        fused parameters that it is, from 1 on; 0 for what the split has made.

        Found by splitting numbers.
        """
        numbered, count = copy.deepcopy(self.part.original_component), 1
        theirs = dict(numbered.named_parameters())
        ours = {id(p): name for name, p in self.part.original_component.named_parameters()}
        for p in self.watch.all:
            entries = torch.arange(count, count + p.numel(), dtype=torch.float64, device=p.device)
            theirs[ours[id(p)]].data = entries.view(p.shape)
            count += p.numel()
        found = []
        for name, projection in zip(SPLITS[self.how], getattr(self.part, self.how)(numbered)):
            part = getattr(self.part, name).original_component
            for key, entries in projection.named_parameters():
                found.append((part, key, entries.flatten().round().long()))
        return found

    def sources(self) -> list[Tensor]:
        """The fused parameters: a run reads the parts in their place."""
        used = torch.cat([entries for _, _, entries in self._numbered()]).unique()
        out, first = [], 1
        for p in self.watch.all:
            if bool(((used >= first) & (used < first + p.numel())).any()):
                out.append(p)
            first += p.numel()
        return out

    @torch.no_grad()
    def join(self) -> None:
        """Writes the parts back into the fused projection: the inverse of the split."""
        flat = torch.cat([p.flatten() for p in self.watch.all])
        for part, key, entries in self._numbered():
            there = entries > 0
            flat[entries[there] - 1] = getattr(part, key).detach().flatten()[there]
        first = 0
        for p in self.watch.all:
            p.copy_(flat[first : first + p.numel()].view(p.shape))
            first += p.numel()
        self.watch.follow()


# --- training: a model of its own, and the parts that can be trained ------------------------------

MATRICES = {
    "q": ("attn", ("q",)),
    "k": ("attn", ("k",)),
    "v": ("attn", ("v",)),
    "o": ("attn", ("o",)),
    "gate": ("mlp", ("gate",)),
    "in": ("mlp", ("in", "up")),
    "out": ("mlp", ("out", "down")),
}


def copied(model: Any, name: str) -> Any:
    """A model of the same kind with weights of its own, frozen; the tokenizer is shared.

    Example:
        >>> new = copied(model, "my-model, fine-tuned")

    Raises:
        ValueError: If a hook of the user's is on the model.
    """
    hooked = ready(model).hooked
    if elsewhere(model):
        raise traced.not_here("weights of its own to a copy")
    if hooked:
        raise ValueError(
            f"a hook of yours is on {hooked}, and a copy of the model would keep it: remove it"
            " first (model.reset_hooks())"
        )
    with torch.no_grad():  # some components keep the last run's pattern, with all it was made of
        _hooked(model, probe(model), [])
    memo = {id(model.tokenizer): model.tokenizer}
    new = copy.deepcopy(model, memo)
    new.cfg.model_name = name
    for part in new.modules():
        for key, value in list(vars(part).items()):
            if isinstance(value, types.FunctionType):
                vars(part)[key] = _of_the_copy(value, memo)
    return new.requires_grad_(False)


def _of_the_copy(function: types.FunctionType, memo: dict[int, Any]) -> types.FunctionType:
    """The function with the copies of the modules that it holds on to (deepcopy leaves functions as
    they are, and TransformerLens gives some modules a `forward` of their own).
    """

    def copied(value: Any) -> Any:
        return memo.get(id(value), value) if isinstance(value, torch.nn.Module) else value

    cells = [types.CellType(copied(cell.cell_contents)) for cell in function.__closure__ or ()]
    defaults = tuple(map(copied, function.__defaults__ or ()))
    new = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, defaults, tuple(cells)
    )
    new.__kwdefaults__ = {k: copied(v) for k, v in (function.__kwdefaults__ or {}).items()}
    return new


def trainable(model: Any, layers: Sequence[int] | None = None) -> dict[str, Tensor]:
    """The parameters that a run reads, by name: all of them, or those of some layers.

    A fused projection is left out, because a run reads the parts it was split into (see `joined`);
    so is a bias of the unembedding that is all zeros, which TransformerLens gives to models that
    have none.
    """
    unread = {id(p) for one in _fused(model) for p in one.sources()}
    bias = getattr(getattr(model.unembed, "original_component", None), "bias", None)
    if isinstance(bias, Tensor) and not bias.any():
        unread.add(id(bias))
    chosen = None
    if layers is not None:
        chosen = {id(p) for layer in layers for p in model.blocks[layer].parameters()}
    return {
        key: p
        for key, p in model.named_parameters()
        if id(p) not in unread and p.is_floating_point() and (chosen is None or id(p) in chosen)
    }


def joined(model: Any) -> None:
    """Puts the parts of fused projections back into them, after the parts have been trained."""
    for one in _fused(model):
        one.join()


def linear(model: Any, layer: int, which: str) -> Any:
    """The linear map of a layer that a name of `MATRICES` means: a torch Linear, or a Conv1D of
    transformers, whose weight is transposed; None where the layer has none.
    """
    part, names = MATRICES[which]
    home = getattr(model.blocks[layer], part, None)
    for name in names:
        found = getattr(home, name, None)
        found = getattr(found, "original_component", found)
        if getattr(getattr(found, "weight", None), "ndim", 0) == 2:
            return found
    return None


def transposed(module: Any) -> bool:
    """Whether a linear map keeps its weight as [in out] (Conv1D) in place of [out in]."""
    return type(module).__name__ == "Conv1D"


def training_sentence(part: str) -> str:
    """What is wrong with a model whose part of this name is in training mode."""
    return (
        f"{part} is in training mode, where dropout would blur every number: call model.eval()"
        " first"
    )


def causal(model: Any, run: tuple[Tensor, Tensor] | None = None) -> bool:
    """Whether a position can only be changed by itself and by earlier ones, found by changing the
    last token.

    Remembered while the model has the same parts. While a hook of yours is on the model the answer
    is no: what a hook carries from one position to another is not known.

    Args:
        run: Tokens [1 pos] and their logits [1 pos d_vocab], where a run is at hand already.
    """
    with LOCK:
        now = ready(model)
        return not now.hooked and state.remembered(model, "causal", lambda: _causal(model, run))


def probe(model: Any, d_vocab: int | None = None) -> Tensor:
    """The prompt of the checks: up to eight ids spread over the vocabulary [1 n], or vectors
    [1 n d_in] for a model that reads those; enough to see every weight matrix.
    """
    d, weight = dims(model), next(model.parameters())
    n = min(8, d.n_ctx)
    if d.d_in:
        return torch.arange(n * d.d_in, device=weight.device).sin().view(1, n, d.d_in).to(weight)
    return probe_tokens(d_vocab or d.d_vocab, n).to(weight.device)


def probe_tokens(d_vocab: int, n_ctx: int = 8) -> Tensor:
    """Up to eight token ids spread over the vocabulary [1 n]."""
    return (torch.arange(1, 1 + min(8, n_ctx)) * 2_654_435_761 % d_vocab)[None]


@torch.no_grad()
def _causal(model: Any, run: tuple[Tensor, Tensor] | None = None) -> bool:
    d = dims(model)
    one, first = run or (probe(model), None)
    n, other = one.shape[1], one.clone()
    if d.d_in:
        other[:, -1] = -1 - other[:, -1]
    else:
        other[:, -1] = (other[:, -1] + 1) % d.d_vocab
    # one call for each: a batch of both would be other matrix products, with other roundings
    first = _hooked(model, one, []) if first is None else first
    first, second = first[:, :-1], _hooked(model, other, [])[:, :-1]
    # exact where the same products are summed; experts of a mixture get other batches, hence a
    # tolerance
    scale = float(first.abs().max()) if n > 1 else 0.0
    return n < 2 or float((first - second).abs().max()) <= 1e-5 * scale


def forward(
    model: Any,
    tokens: Tensor,
    hooks: Sequence[tuple[str, Callable[[Tensor, Any], Tensor | None]]] = (),
    *,
    last_only: bool = False,
) -> Tensor:
    """Logits [batch pos d_vocab] under hooks; with `last_only`, logits [batch d_vocab] of the last
    position.

    Hooks are removed also when one raises. `last_only` unembeds one position instead of all of
    them, a fifth of the work on a small model with a large vocabulary.
    """
    hooked = ready(model).hooked
    if elsewhere(model):
        return _hooked(model, tokens, hooks, last_only=last_only)
    end = (
        last_only
        and not hooked
        and not any(n.startswith(("ln_final", "unembed")) for n, _ in hooks)
    )
    if end:
        residual = _until(model, tokens, hooks, "ln_final.hook_in")
        return end_logits(model, residual)
    logits = _hooked(model, tokens, hooks)
    return logits[:, -1] if last_only else logits


def end_logits(model: Any, residual: Tensor) -> Tensor:
    """Logits [batch d_vocab] of the last position of the finished stream [batch pos d_model]."""
    # contiguous [batch d_model]: the strided slice times the unembedding is ten times slower
    return unembed(model, final_norm(model, residual[:, -1].contiguous()))


def until(model: Any, tokens: Tensor, hooks: Sequence, stop: str) -> Tensor:
    """The tensor at the hook `stop` [batch pos ...], nothing beyond it being computed.

    Example:
        >>> until(model, tokens, [], "blocks.9.hook_in")     # the residual stream entering layer 9
    """
    ready(model)
    return _until(model, tokens, hooks, stop)


def _until(model: Any, tokens: Tensor, hooks: Sequence, stop: str) -> Tensor:
    def halt(tensor: Tensor, hook: Any = None) -> None:
        raise _Reached(tensor)

    try:
        _hooked(model, tokens, [*hooks, (stop, halt)])
    except _Reached as reached:
        return reached.tensor
    raise ValueError(f"this model never reaches the hook {stop!r}")


def their_jacobian_lens(maps: dict[int, Tensor], n_prompts: int, about: dict[str, Any]) -> Any:
    """TransformerLens' JacobianLens of these maps [d_model d_model] by layer."""
    from transformer_lens.tools.analysis import JacobianLens

    width = len(next(iter(maps.values())))
    return JacobianLens(maps, n_prompts=n_prompts, d_model=width, metadata=about)


def embeddings(model: Any, tokens: Tensor) -> Tensor:
    """The token embeddings [batch pos d_model], before any position is added."""
    return until(model, tokens, [], "embed.hook_out")


class _Reached(Exception):
    """Ends a forward pass early, carrying what was computed so far."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


def _hooked(model: Any, tokens: Tensor, hooks: Sequence, **more: Any) -> Tensor:
    options = dict(return_type="logits", prepend_bos=False, use_cache=False, **more)
    tokens = tokens.to(
        device(model)
    )  # the one place where prompts move; TransformerLens leaves ids be
    hooks, softmaxes = _apart([(name, _mine(function)) for name, function in hooks])
    d = dims(model)
    if not d.d_in and tokens.numel() and int(tokens.max()) >= d.d_vocab:
        raise ValueError(
            f"token {int(tokens.max())} is beyond the model's vocabulary of {d.d_vocab:,}: the"
            " tokenizer belongs to another model"
        )
    with LOCK, warnings.catch_warnings(), _at_points(model, hooks), _at_softmax(model, softmaxes):
        warnings.simplefilter("ignore")
        return model(tokens, **options)


@contextlib.contextmanager
def _at_points(model: Any, hooks: Sequence[tuple[str, Callable]]) -> Iterator[None]:
    """While this lasts, the hooks are on the model's hook points.

    TransformerLens' own `run_with_hooks` collects all names of all hook points anew for each hook,
    which takes longer than the run.
    """
    used, level = [], next(_levels)  # so that a run inside a hook leaves the outer run's hooks
    try:
        for name, function in hooks:
            point = _point(model, name)
            point.add_hook(function, level=level)
            used.append(point)
        yield
    finally:
        for point in used:
            point.remove_hooks(level=level)


def _point(model: Any, name: str) -> Any:
    """The hook point of this name, or of the name that it is another name of."""
    points = state.fact(model, "points", lambda: dict(model.hook_dict))
    if name not in points and elsewhere(model):
        raise traced.not_here(f"what is at {name}")
    if name not in points:
        raise ValueError(f"this model has no hook {name!r}")
    return points[name]


def _mine(function: Callable) -> Callable:
    """The hook, doing nothing in another thread: a plain `model(tokens)` there gets the plain
    numbers, and cannot disturb the run that the hook belongs to.
    """
    owner = threading.get_ident()

    def hook(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != owner:
            return tensor
        return function(tensor, *args, **kwargs)

    return hook


# --- attention that TransformerLens leaves to the model: its softmax is where scores become a patte


def _apart(hooks: Sequence) -> tuple[list, dict[int, dict[str, Callable]]]:
    """The hooks that TransformerLens has points for, and those at a layer's softmax ("in" and "out"
    of it).
    """
    known, softmaxes = [], {}
    for name, function in hooks:
        if ".attn.softmax_" in name:
            layer, side = int(name.split(".")[1]), name.rsplit("_", 1)[1]
            softmaxes.setdefault(layer, {})[side] = function
        else:
            known.append((name, function))
    return known, softmaxes


class _Softmax(TorchFunctionMode):
    """Inside an attention module: every softmax goes by way of the functions for what enters and
    what leaves.
    """

    def __init__(self, functions: dict[str, Callable]):
        super().__init__()
        self.functions = functions

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") != "softmax":
            return function(*args, **kwargs)
        scores, *rest = args
        before, after = self.functions.get("in"), self.functions.get("out")
        new = before(scores) if before is not None else None
        pattern = function(scores if new is None else new, *rest, **kwargs)
        new = after(pattern) if after is not None else None
        return pattern if new is None else new


@contextlib.contextmanager
def _at_softmax(model: Any, softmaxes: dict[int, dict[str, Callable]]) -> Iterator[None]:
    """While this lasts, attention of these layers shows its scores and its pattern, and takes what
    is given back.
    """
    modules = {layer: model.blocks[layer].attn.original_component for layer in softmaxes}
    try:
        for layer, functions in softmaxes.items():
            forward = modules[layer].forward

            def within(*args, forward=forward, functions=functions, **kwargs):
                with _Softmax(functions):
                    return forward(*args, **kwargs)

            modules[layer].forward = within
        yield
    finally:
        for module in modules.values():
            vars(module).pop("forward", None)


# --- starting late: every block's input of one run is kept, and a variation starts where it first d


@dataclass(frozen=True)
class Trail:
    """One unedited run: what entered each block [batch pos d_model], and how each block was
    called.
    """

    tokens: Tensor
    residuals: tuple[Tensor, ...]
    calls: tuple[tuple[tuple, dict], ...]
    # 1 where some of a block's inputs have a row for each head of each example (BLOOM's alibi)
    by_head: int = 0


def trail(model: Any, tokens: Tensor) -> Trail | None:
    """The trail of a run, or None for a model whose blocks cannot be called one by one with the
    same result.
    """
    if (
        elsewhere(model) or ready(model).hooked
    ):  # a hook around the blocks would not be met when they are called one by one
        return None
    with recorded(model) as calls:
        whole = forward(model, tokens)
    return _trail(model, tokens, calls, whole, len(model.blocks) // 2)


@contextlib.contextmanager
def recorded(model: Any) -> Iterator[list[tuple[tuple, dict]]]:
    """How each block is called while this lasts, for `trail_of`."""
    calls: list[tuple[tuple, dict]] = []

    def record(module, args, kwargs):
        return calls.append((args, kwargs))

    handles = [block.register_forward_pre_hook(record, with_kwargs=True) for block in model.blocks]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def trail_of(
    model: Any, tokens: Tensor, calls: list[tuple[tuple, dict]], end: Tensor
) -> Trail | None:
    """The trail of an unedited run that was recorded; None where `trail` would give none.

    Half the model is run again for the first such run of a model, one block for the others.

    Example:
        >>> with recorded(model) as calls:
        ...     end = forward(model, tokens, last_only=True)
        >>> trail_of(model, tokens, calls, end)

    Args:
        end: The run's logits [batch d_vocab] at the last position.
    """
    if ready(model).hooked:
        return None

    def rows() -> int | None:
        found = _trail(model, tokens, calls, end, len(model.blocks) // 2)
        return None if found is None else found.by_head

    by_head = state.fact(model, "called one by one", rows)
    if by_head is None or not _plain_calls(model, calls):
        return None
    found = Trail(tokens, *_apart_calls(calls), by_head)
    middle = len(calls) // 2 - 1
    if middle < 0:
        return found
    args, kwargs = found.calls[middle]
    with LOCK:
        out = model.blocks[middle](found.residuals[middle], *args, **kwargs)
    after, then = out[0] if isinstance(out, tuple) else out, found.residuals[middle + 1]
    near = torch.allclose(after, then, atol=1e-4 * float(then.abs().max()), rtol=0)
    return found if near else None


def _trail(
    model: Any, tokens: Tensor, calls: list[tuple[tuple, dict]], whole: Tensor, layer: int
) -> Trail | None:
    """The trail of these calls, if the run resumed at this layer gives the logits of the whole."""
    if not _plain_calls(model, calls):
        return None
    residuals, called = _apart_calls(calls)
    size, n = 1e-4 * float(whole.abs().max()), len(tokens)
    inputs = [x for args, kw in called for x in (*args, *kw.values()) if isinstance(x, Tensor)]
    by_head = any(x.ndim >= 3 and len(x) > n and len(x) % n == 0 for x in inputs)
    for found in (Trail(tokens, residuals, called, many) for many in range(1 + by_head)):
        copies = 1 + by_head  # two where it is not plain what the rows of an input are
        try:
            again = resume(model, found, layer, copies=copies, last_only=whole.ndim == 2)
        except RuntimeError:
            continue
        if torch.allclose(again, whole.repeat(copies, *[1] * (whole.ndim - 1)), atol=size, rtol=0):
            return found
    return None


def _plain_calls(model: Any, calls: list[tuple[tuple, dict]]) -> bool:
    """Whether each block was called once, with the stream before all else."""
    return len(calls) == len(model.blocks) and all(
        args and isinstance(args[0], Tensor) for args, _ in calls
    )


def _apart_calls(
    calls: list[tuple[tuple, dict]],
) -> tuple[tuple[Tensor, ...], tuple[tuple[tuple, dict], ...]]:
    """What entered each block, and what else it was called with."""
    return tuple(args[0] for args, _ in calls), tuple((args[1:], kw) for args, kw in calls)


def resume(
    model: Any,
    start: Trail,
    layer: int,
    hooks: Sequence = (),
    *,
    copies: int = 1,
    last_only: bool = False,
) -> Tensor:
    """Logits of `copies` copies of a run that starts at a layer, under hooks at or after that
    layer.

    Example:
        >>> resume(model, trail(model, tokens), 20, hooks)      # layers 0 to 19 are not run again
    """
    n = len(start.tokens)

    def many(t):
        if isinstance(t, (tuple, list)):  # cosine and sine, with a row for each example (Qwen3.5)
            return type(t)(map(many, t))
        rows = t.shape[0] if isinstance(t, Tensor) and t.ndim else 1
        whole = rows == n or (start.by_head and rows > n and rows % n == 0 and t.ndim >= 3)
        return t.repeat(copies, *[1] * (t.ndim - 1)) if rows > 1 and whole else t

    late = any(name.startswith(("ln_final", "unembed")) for name, _ in hooks)
    hooks, softmaxes = _apart([(name, _mine(function)) for name, function in hooks])
    x = start.residuals[layer] if layer < len(start.residuals) else None
    if x is None:
        raise ValueError(f"layer {layer} is past the last block ({len(start.residuals) - 1})")
    x = x.repeat(copies, 1, 1)
    with LOCK, warnings.catch_warnings(), _at_points(model, hooks), _at_softmax(model, softmaxes):
        warnings.simplefilter("ignore")
        for block, (args, kwargs) in zip(model.blocks[layer:], start.calls[layer:]):
            out = block(x, *map(many, args), **{k: many(v) for k, v in kwargs.items()})
            x = out[0] if isinstance(out, tuple) else out
        if last_only and not late:
            return end_logits(model, x)
        logits = _transform(model, model.unembed(model.ln_final(x)))
    return logits[:, -1] if last_only else logits


# --- weights, always in the shapes the model uses them (grouped K and V stay grouped) -------------


def norm(model: Any, which: str, layer: int, x: Tensor) -> Tensor:
    """What attention ("attn") or the MLP ("mlp") of a layer makes of the stream x [... d_model]
    before it computes.

    The norm that this part reads through, without hooks; x itself where there is none (OLMo-2).
    """
    name = _layout(model).norms[("attn", "mlp").index(which)]
    if elsewhere(model):
        raise traced.not_here("what a norm makes of another stream")
    return getattr(model.blocks[layer], name).original_component(x) if name else x


def share(model: Any, layer: int, written: Tensor | None) -> Tensor | float:
    """The factor [batch pos d_model] by which a part of what attention writes reaches the stream.

    written [batch pos d_model]: the whole of it before a norm that comes after attention. That
    norm's scale is the run's own, so that the shares of all parts add up to what is added to the
    stream.
    """
    layout = _layout(model)
    if not layout.after[0]:
        return layout.share
    if elsewhere(model):
        raise traced.not_here("what one head writes behind a norm (ask for its .z)")
    found = norm_parts(getattr(model.blocks[layer], layout.after[0]))
    exact = written if written.dtype.itemsize >= 4 else written.float()
    return (layout.share * found.gain / found.scale(exact)).to(written.dtype)


def head_matrix(model: Any, layer: int) -> Tensor:
    """What each head writes for its z, as matrices [head d_head d_model]; ValueError where a norm
    comes after.
    """
    if _layout(model).after[0]:
        raise ValueError(
            f"{name(model)} norms what attention writes, so what one head writes is no matrix"
            " product of its z: read it at the head's own address ('L3H1')"
        )
    return projection(model, "O", layer)[0] * _layout(model).share


def writes_before_norm(model: Any, layer: int) -> str | None:
    """The hook of what attention writes before a norm that comes after it; None where none
    comes.
    """
    after = _layout(model).after[0]
    return f"blocks.{layer}.{after}.hook_in" if after else None


def final_norm(model: Any, x: Tensor) -> Tensor:
    """The norm before the unembedding applied to x [... d_model]."""
    return model.ln_final.original_component(x)


def unembed(model: Any, x: Tensor) -> Tensor:
    """Logits [... d_vocab] of a normed residual x [... d_model], scaled and capped as the model
    does it.
    """
    return _transform(model, model.unembed.original_component(x))


def _transform(model: Any, logits: Tensor) -> Tensor:
    """What comes after the unembedding: Granite and Cohere scale their logits, Gemma-2 caps
    them.
    """
    adapter = getattr(model, "adapter", None)
    return logits if adapter is None else adapter.apply_output_logits_transform(logits)


def logit_scale(model: Any) -> float:
    """The factor by which the model scales its logits after the unembedding, before a cap."""
    adapter = getattr(model, "adapter", None)
    if adapter is None:
        return 1.0
    tiny = 1e-4  # a soft cap is the identity near zero
    return float(
        adapter.apply_output_logits_transform(torch.tensor([tiny], dtype=torch.float64)) / tiny
    )


def unembedding(model: Any) -> tuple[Tensor, Tensor | None]:
    """W_U as [d_vocab d_model] (rows are tokens) and its bias [d_vocab] or None, in logits before a
    soft cap.
    """
    head, factor = model.unembed.original_component, logit_scale(model)
    bias = getattr(head, "bias", None)
    if abs(factor - 1) < 1e-6:
        return head.weight, bias
    return head.weight.detach() * factor, None if bias is None else bias.detach() * factor


def number_type(model: Any) -> torch.dtype:
    """The number type of the model's logits."""
    weight = next(model.parameters()) if elsewhere(model) else unembedding(model)[0]
    return weight.dtype


def _bias(attn: Any, which: str) -> Tensor | None:
    bias = getattr(attn, f"b_{which}", None)
    return None if bias is None else bias.detach()


def projection(model: Any, which: str, layer: int) -> tuple[Tensor, Tensor | None]:
    """W_Q, W_K or W_V as [head d_model d_head] (K, V: KV heads) or W_O as [head d_head d_model],
    and the bias.

    Example:
        >>> W_K, b_K = projection(model, "K", 9)    # [kv_head d_model d_head]
    """
    attn = getattr(model.blocks[layer], "attn", None)
    if attn is None:
        raise ValueError(
            f"layer {layer} of {name(model)} has linear attention, which has no heads with"
            f" W_{which}"
        )
    if elsewhere(model):
        return attn.projection(which)
    try:
        weight = getattr(attn, f"W_{which}").detach()
    except (
        Exception
    ):  # TransformerLens knows one head size for all layers, and no gate beside a query
        weight = getattr(attn, which.lower()).weight.detach()
        heads = dims(model).n_kv_heads if which in "KV" else dims(model).n_heads
        weight = (
            weight.T.unflatten(0, (heads, -1))
            if which == "O"
            else weight.unflatten(0, (heads, -1)).transpose(1, 2)
        )
    return weight, _bias(attn, which)


def reader(model: Any, which: str, layer: int, x: Tensor, heads: int | slice) -> Tensor:
    """Q, K or V [... d_head] of one head (or [... head d_head] of a slice of them) when it reads x
    [... d_model].

    As at the site: before the rotation, after a norm of all heads' queries together (OLMo-2),
    before one of each.
    """
    W, b = projection(model, which, layer)
    x = norm(model, "attn", layer, x)
    if which == "V" or not _layout(model).joint_norm:
        W, b = W[heads], None if b is None else b[heads]
        out = torch.einsum("...d,hde->...he", x, W) if W.ndim == 3 else x @ W
        return out if b is None else out + b
    out = torch.einsum("...d,hde->...he", x, W)
    out = (out if b is None else out + b).flatten(-2)
    attn = model.blocks[layer].attn
    normed = (attn.q_norm if which == "Q" else attn.k_norm).original_component(out)
    return normed.unflatten(-1, (-1, W.shape[-1]))[..., heads, :]


def mlp_out(model: Any, layer: int) -> Tensor:
    """W_out [d_mlp d_model]: what each neuron of an MLP writes."""
    return model.blocks[layer].mlp.W_out.detach()


@dataclass(frozen=True)
class NormParts:
    """A norm as numbers: (x - mean, where it is a LayerNorm) / scale(x) * gain + bias."""

    centred: bool
    gain: Tensor  # [d_model]
    bias: Tensor | None  # [d_model]
    eps: float

    def scale(self, x: Tensor) -> Tensor:
        """What the norm divides x [... d_model] by [... 1]: root mean square, or standard
        deviation.
        """
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()


def norm_parts(component: Any) -> NormParts:
    """What a norm does, asked of the norm itself: Gemma's gain is 1 + weight, OLMo's first norm has
    no weights.

    Args:
        component: The bridge's norm, `model.ln_final` for example.
    """
    module = component.original_component
    if next((p.dtype for p in module.parameters()), torch.float32).itemsize < 4:
        module = copy.deepcopy(module).float()  # the gain exactly, not rounded once more
    eps = next(
        (
            float(getattr(module, k))
            for k in ("variance_epsilon", "eps", "epsilon")
            if hasattr(module, k)
        ),
        1e-5,
    )
    size, like = _norm_size(component), next(iter(module.parameters()), torch.zeros(0))
    # numbers of mean 0 and mean square 1, then so large that eps does not count
    probe = torch.linspace(1, 2, size, dtype=torch.float64)
    probe = torch.where(torch.arange(size) % 2 == 0, probe, -probe)
    probe = probe - probe.mean()
    probe = probe / probe.pow(2).mean().sqrt()
    large = (100 * probe).to(like)
    with torch.no_grad():
        up, down = module(large[None])[0], module(-large[None])[0]
        level = module(torch.full_like(large, 100.0)[None])[0]  # a LayerNorm sees nothing in it
    bias = (up + down) / 2
    gain = ((up - down) / 2 / probe.to(like)).detach()
    centred = bool((level - bias).abs().max() < 1e-2 * gain.abs().max().clamp_min(1e-6))
    return NormParts(
        centred,
        gain,
        bias.detach() if bool((bias.abs() > 1e-6 * gain.abs().max()).any()) else None,
        eps,
    )


def _norm_size(component: Any) -> int:
    own = component.original_component
    gain = next(iter(own.parameters()), getattr(own, "weight", None))
    return int(component.config.d_model) if gain is None else len(gain)


def final_scale(model: Any, x: Tensor) -> Tensor:
    """The factor [... 1] by which the final norm divides x [... d_model] (root mean square, or
    deviation).
    """
    if dims(model).norm == "none":
        return torch.ones_like(x[..., :1])
    return norm_parts(model.ln_final).scale(x)


def final_gain(model: Any) -> tuple[Tensor, Tensor | None]:
    """The final norm's gain [d_model] and its bias [d_model] or None."""
    if dims(model).norm == "none":
        return torch.ones(dims(model).d_model), None
    parts = norm_parts(model.ln_final)
    return parts.gain, parts.bias
