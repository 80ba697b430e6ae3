"""What a model is at this moment, looked at before every use of something that was remembered about
it.

A model is a mutable object: its owner trains it, hooks it, wraps its layers, puts it in training
mode. Whatever is remembered about a model (the lean engine, its checks, whether its attention is
causal) is therefore remembered for one `State`, and `look` gives the present one in about half a
millisecond on a model of 2,000 modules.

What is looked at: which modules there are, in both trees (the wrapper's and the wrapped model's),
and whether one of them has got a method of its own; every parameter and buffer: its object,
address, version, shape and strides; hooks that are neither TransformerLens' nor transformers' own;
the training flag of every module; plain numbers that a module keeps (an epsilon, a scale).

The contents of the weights are seen through PyTorch's version counter. Edits that go round it
(`w.data.add_(1)`, or NumPy) are looked for in a sample: on the CPU every entry of tensors up to
8,192 entries, and eight entries of larger ones; on other devices nothing. Such an edit of a few
entries of a large weight is not seen here, and need not be: the engine holds views of the weights
and no copies, so that it computes with the new numbers in any case. What is kept on disk for a
model's weights is keyed by `weights_hash`, which reads every bit.
"""

import hashlib
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from interp._numbers import to_numpy

WHOLE = 8192  # entries: tensors up to this size are compared whole, larger ones by a sample
SAMPLE = 8
PLAIN = (bool, int, float, str)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
# whose hooks belong to the model: everybody else's are the user's
OWN = (
    "transformer_lens.",
    "transformers.",
    "accelerate.",
    "torch.",
    "interp.models.families",
    "nnsight.",
)


@dataclass(frozen=True)
class State:
    """A model's state; two of them are equal where nothing that was looked at has changed.

    Attributes:
        structure: A number for the set of modules.
        weights: For the tensors (addresses, versions, samples, scales)
        hooked: The place of a hook of the user's, or None.
        training: The name of a part in training mode, or None.
        astray: A sentence where the object that the model was made from has changed in a way that
            the model has not.
    """

    structure: int
    weights: int
    hooked: str | None
    training: str | None
    astray: str | None = None


def look(model: Any) -> State:
    """The state of a model now.

    Example:
        >>> before = look(model)
        >>> model.blocks[3].mlp.train()
        >>> look(model) == before
        False
    """
    watch = model.__dict__.get("_interp_watch")
    if watch is None:
        watch = _Watch(model)
        # in the model's own __dict__: a table beside it would keep the model alive, the watch
        # holding its parts
        object.__setattr__(model, "_interp_watch", watch)
    return watch.look(model)


def remembered(model: Any, what: str, find: Callable[[], Any]) -> Any:
    """What `find` gives, found once while the model keeps the same modules."""
    look(model)
    return fact(model, what, find)


def fact(model: Any, what: str, find: Callable[[], Any]) -> Any:
    """As `remembered`, for a model that was looked at just now."""
    if "_interp_watch" not in model.__dict__:
        look(model)
    facts = model.__dict__["_interp_watch"].facts
    if what not in facts:
        facts[what] = find()
    return facts[what]


def follow(model: Any, source: nn.Module, *, weights: bool) -> None:
    """From now on `look` compares `source`, the object that `model` was made from, as well.

    Args:
        weights: Whether its weights are no longer the model's own (a merged or converted copy).
    """
    look(model)
    model.__dict__["_interp_watch"].source = (_Watch(source), type(source).__name__, weights)


class Tensors:
    """Tensors as they were: `changed` says whether one has been exchanged, moved or edited (see the
    module).
    """

    def __init__(self, tensors: Iterable[Tensor]):
        self.all = list({id(t): t for t in tensors}.values())
        self.versioned = [t for t in self.all if not t.is_inference()]
        self.follow()

    def follow(self) -> None:
        """Take them as they are now."""
        self.views = [view for t in self.all if (view := _view(t)) is not None]
        self.was = self._now()

    def changed(self) -> bool:
        """Whether anything has changed; if so, what is there now is what the next call compares
        with.
        """
        if self._now() == self.was:
            return False
        self.follow()
        return True

    def _now(self) -> tuple:
        return (
            list(map(Tensor.data_ptr, self.all)),
            list(map(operator.attrgetter("_version"), self.versioned)),
            list(map(Tensor.stride, self.all)),
            list(map(Tensor.size, self.all)),
            np.concatenate(self.views).tobytes() if self.views else b"",
        )


class _Watch:
    """Flat lists of everything about one model that can change, so that looking needs no walk
    through its modules.
    """

    def __init__(self, model: Any):
        self.structure = self.weights = 0
        self.facts: dict[str, Any] = {}  # what holds while the structure does
        self.source: tuple[_Watch, str, bool] | None = None
        self._walk(model)

    def __deepcopy__(self, memo: Any) -> None:
        """A copy of the model gets a watch of its own."""
        return None

    def __reduce__(self) -> Any:
        return (type(None), ())

    def look(self, model: Any) -> State:
        if not self._same():
            self._walk(model)
            self.structure += 1
            self.facts = {}
            self.weights += 1
        if self.tensors.changed() or self._numbers() != self.numbers:
            self._read()
            self.weights += 1
        return State(self.structure, self.weights, self._hooked(), self._training(), self._astray())

    def _astray(self) -> str | None:
        """What has happened to the object that the model was made from and not to the model."""
        if self.source is None:
            return None
        watch, kind, weights = self.source
        again = "load it again: interp.load(your_model, tokenizer=...)"
        if not watch._same():
            return (
                f"layers or parameters of your {kind} were exchanged since it was loaded: {again}"
            )
        if weights and watch.tensors._now() != watch.tensors.was:
            return f"the weights of your {kind} have changed since they were copied: {again}"
        hooked = watch._hooked()
        if hooked:
            return (
                f"a hook of yours is on {hooked} of your {kind}, which the loaded model does not"
                " run: put it on the loaded model (model.add_hook), or remove it"
            )
        return None

    # --- the lists --------------------------------------------------------------------------------

    def _walk(self, model: Any) -> None:
        trees = [model, getattr(model, "original_model", None)]
        named: dict[int, tuple[str, nn.Module]] = {}
        for tree in trees:
            if isinstance(tree, nn.Module):
                for name, module in nn.Module.named_modules(tree):
                    named.setdefault(id(module), (name, module))
        # strong references, so that no id below is given to another object
        self.named = list(named.values())
        modules = [module for _, module in self.named]
        parts = [m for m in modules if not _is_point(m)]
        self.flags = [m.__dict__ for m in parts]  # to a hook point training mode means nothing
        # two thirds of these dictionaries are empty: for those a length is enough
        self.lengths = [d for m in parts for d in (m._modules, m._parameters, m._buffers)]
        self.held = [d for d in self.lengths if d]
        self.slots = [d for m in parts for d in (m._parameters, m._buffers) if d]
        plain = [m for m in parts if not _lens(m)]
        self.methods = [m.__dict__ for m in plain]
        self.readers = [r for m in plain if (r := _reader(m)) is not None]
        self.hooks = [getattr(m, kind) for m in modules for kind in HOOKS]
        self.own = [d for d in self.hooks if d and all(map(_own, d.values()))]
        self.n_own = sum(map(len, self.own))
        owned = set(map(id, self.own))
        self.free = [d for d in self.hooks if id(d) not in owned]  # where only users put hooks
        self.shape, self.parts = self._structure(), list(self._parts())
        self._read()

    def _structure(self) -> tuple:
        return (list(map(len, self.lengths)), [d.get("forward") for d in self.methods])

    def _parts(self) -> Iterator[Any]:
        """The children, parameters and buffers of every module."""
        return chain.from_iterable(map(dict.values, self.held))

    def _same(self) -> bool:
        """Whether the model consists of the same objects as when it was walked."""
        # the lengths come first: with them equal, both sides below are equally long
        return self._structure() == self.shape and all(map(operator.is_, self._parts(), self.parts))

    def _read(self) -> None:
        """Remember the tensors as they are now."""
        tensors = chain.from_iterable(map(dict.values, self.slots))
        self.tensors = Tensors(t for t in tensors if t is not None)
        self.numbers = self._numbers()

    def _numbers(self) -> list:
        return [read(d) for read, d in self.readers]

    # --- hooks and training mode ------------------------------------------------------------------

    def _each_hook(self) -> Iterator[tuple[str, Any]]:
        for (name, module), at in zip(self.named, range(0, len(self.hooks), len(HOOKS))):
            for kind in self.hooks[at : at + len(HOOKS)]:
                for hook in kind.values():
                    # on a hook point only users put hooks
                    yield getattr(module, "name", None) or name, None if _is_point(module) else hook

    def _hooked(self) -> str | None:
        if any(map(len, _global_hooks())):
            return "every module"
        if not any(self.free) and sum(map(len, self.own)) == self.n_own:
            return None
        return next(
            (name or "the model" for name, hook in self._each_hook() if not _own(hook)), None
        )

    def _training(self) -> str | None:
        if not any(map(operator.itemgetter("training"), self.flags)):
            return None
        training = [name for name, m in self.named if m.training and not _is_point(m)]
        return training[0] or "the model"


def _global_hooks() -> Iterable[dict]:
    return (
        torch_module._global_forward_hooks,
        torch_module._global_forward_pre_hooks,
        torch_module._global_backward_hooks,
        torch_module._global_backward_pre_hooks,
    )


def _own(hook: Any) -> bool:
    """Whether a hook belongs to the model's libraries, not to the user."""
    while hasattr(hook, "func"):  # functools.partial
        hook = hook.func
    owner = getattr(hook, "__self__", None)
    home = getattr(hook, "__module__", None) or type(hook if owner is None else owner).__module__
    return hook is not None and f"{home}.".startswith(OWN)


def _is_point(module: nn.Module) -> bool:
    return type(module).__name__ == "HookPoint"


def _lens(module: nn.Module) -> bool:
    """Whether this is TransformerLens' wrapper, whose attributes are notes that it writes while it
    runs.
    """
    return type(module).__module__.startswith("transformer_lens.model_bridge.generalized")


def _reader(module: nn.Module) -> tuple[Any, dict] | None:
    """What reads a module's own numbers and flags from its __dict__, or None where it has none."""
    d = module.__dict__
    names = [k for k, v in d.items() if isinstance(v, PLAIN) and k != "training"]
    return (operator.itemgetter(*names), d) if names else None


def _view(tensor: Tensor) -> np.ndarray | None:
    """A view of a tensor's memory, or of a few of its entries, as integers; None where it cannot be
    read at once.
    """
    size = tensor.numel()
    if tensor.device.type != "cpu" or not size or tensor.layout != torch.strided:
        return None
    try:
        flat = tensor.detach().as_strided((size,), (1,)).view(torch.uint8).numpy()
    except (RuntimeError, TypeError):  # not dense, or of a kind NumPy has no word for
        return None
    if size <= WHOLE:
        return flat
    width = tensor.element_size()
    step = size // SAMPLE * width
    # the last bytes of entries spread evenly, not those of one column
    return flat[width - 1 :: step + width][:SAMPLE] if width else None


def weights_hash(model: Any) -> str:
    """A fingerprint of every bit of the weights, for what is kept on disk; about 0.1 s for 135M
    parameters.

    For each tensor the sums of its words along rows and along columns: equal sums with unequal
    weights need an edit that is made for it.
    """
    h = hashlib.sha256()
    for tensor in chain(model.parameters(), model.buffers()):
        h.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
        for part in _sums(tensor.detach()):
            h.update(to_numpy(part).tobytes())
    return h.hexdigest()[:16]


def _sums(tensor: Tensor) -> Iterator[Tensor]:
    raw = tensor.contiguous().view(-1)
    if not raw.numel():
        return
    raw = raw.view(torch.uint8)
    whole = len(raw) // 8 * 8
    yield raw[whole:]
    words = raw[:whole].view(torch.int64)
    columns = tensor.shape[-1] if tensor.ndim > 1 and len(words) % tensor.shape[-1] == 0 else 1
    if columns > 1 and len(words) > WHOLE:
        table = words.view(-1, columns)
        yield table.sum(0)
        yield table.sum(1)
    else:
        yield words
