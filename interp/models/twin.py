"""A second tree of modules over the same weights: the user's model object stays as it is, and is
watched.

TransformerLens wraps a model's layers in place: afterwards the object's own `state_dict`,
`save_pretrained` and `load_state_dict` have other names. So a model object is not wrapped itself
but its twin is: new modules that hold the very same parameters and buffers. A step of an optimiser,
`load_state_dict`, `w.data = ...` on either is seen by both.

What only the user's object can see afterwards (a hook, an exchanged layer or parameter) is found by
`state.look`, and using the loaded model is then refused with one sentence.
"""

import copy
from collections.abc import Iterator
from itertools import chain

from torch import Tensor, nn

from interp.models import state


def twin(model: nn.Module) -> nn.Module:
    """New modules over the same parameters and buffers.

    Example:
        >>> twin(model).lm_head.weight is model.lm_head.weight
        True

    Raises:
        ValueError: If a hook is on the model: the twin would run a copy that nobody can remove.
    """
    _unhooked(model)
    return copy.deepcopy(model, {id(t): t for t in _tensors(model)})


def has_adapters(model: nn.Module) -> bool:
    """Whether layers of the model are wrapped in adapters (LoRA and the like), as the package peft
    does it.
    """
    return any(_is_adapter(m) or _is_saved(m) for m in model.modules())


def merged(model: nn.Module) -> nn.Module:
    """A twin without adapters: what they add is put into a copy of the weights that they adapt.

    Adapters that are switched off are left out.

    Args:
        model: A `PeftModel`, or a model whose layers have adapters. An adapted layer offers
            `base_layer`, `merge()` and `get_base_layer()`, as those of peft do.
    """
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        learned = getattr(model, "active_peft_config", None)
        if getattr(learned, "is_prompt_learning", False):
            kind = str(getattr(learned.peft_type, "value", learned.peft_type))
            raise ValueError(
                f"this model's adapter is a learned prompt ({kind}), which cannot be merged into"
                " its weights: interp.load(model.get_base_model(), tokenizer=...) is the model"
                " without it"
            )
        model = model.get_base_model()
    _unhooked(model)
    adapted = [m for m in model.modules() if _is_adapter(m) or _is_saved(m)]
    own = {id(t) for m in adapted for t in _tensors(m)}
    new = copy.deepcopy(model, {id(t): t for t in _tensors(model) if id(t) not in own})
    for name, layer in list(new.named_modules()):
        plain = _merged_layer(layer)
        if plain is not layer:
            parent, _, child = name.rpartition(".")
            setattr(new.get_submodule(parent), child, plain)
    for note in ("peft_config", "_hf_peft_config_loaded"):
        new.__dict__.pop(note, None)
    return new


def _merged_layer(layer: nn.Module) -> nn.Module:
    if _is_saved(layer):  # a layer that was trained as a whole, beside the old one
        chosen = layer.active_adapter
        chosen = chosen if isinstance(chosen, str) else next(iter(chosen), None)
        off = getattr(layer, "disable_adapters", False) or chosen not in layer.modules_to_save
        return layer.original_module if off else layer.modules_to_save[chosen]
    if not _is_adapter(layer):
        return layer
    if not getattr(layer, "disable_adapters", False):
        layer.merge()
    return layer.get_base_layer()


def _is_adapter(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("base_layer", "merge", "get_base_layer"))


def _is_saved(module: nn.Module) -> bool:
    return hasattr(module, "modules_to_save") and hasattr(module, "original_module")


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def _unhooked(model: nn.Module) -> None:
    hooked = state.look(model).hooked
    if hooked:
        raise ValueError(
            f"a hook of yours is on {hooked} of this model object: remove it, load the model, and"
            " put it on the loaded one (model.add_hook), whose hooks are run"
        )
