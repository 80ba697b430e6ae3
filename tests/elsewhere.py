"""A pretend accelerator for machines that have none: the device "elsewhere".

Import this module, then `tensor.to("elsewhere")` and `torch.zeros(3, device="elsewhere")` work in
every thread. The numbers lie in CPU tensors that nothing outside this file can reach. What a GPU
refuses is refused here too: operands on two devices, a CPU generator for a tensor over here,
`.numpy()` on what has not come home. A CPU index into a tensor that is elsewhere is allowed, and so
is a CPU number without axes.

A tensor elsewhere is a wrapper subclass of `torch.Tensor`. PyTorch's dispatcher knows the device as
its private backend; all operators of that backend, factories included, fall back to `_run`.
"""

import threading
from typing import Any

import torch
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

DEVICE = "elsewhere"
_setup_privateuseone_for_python_backend(DEVICE)

_MOVING = ("aten::copy_", "aten::_to_copy", "aten::set_")
_TAKING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


class Elsewhere(torch.Tensor):
    """A tensor whose device is "elsewhere:0"; its numbers are at home, in `_home`."""

    _home: torch.Tensor

    @staticmethod
    def __new__(cls, home: torch.Tensor) -> "Elsewhere":
        new = torch.Tensor._make_wrapper_subclass(
            cls,
            home.size(),
            strides=home.stride(),
            storage_offset=home.storage_offset(),
            dtype=home.dtype,
            device=torch.device(DEVICE, 0),
        )
        new._home = home
        return new

    def __init__(self, home: torch.Tensor) -> None:
        pass

    def __repr__(self) -> str:
        return f"Elsewhere({self._home!r})"

    def tolist(self) -> Any:  # a GPU allows it; PyTorch refuses it to subclasses
        return self._home.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, *args, **(kwargs or {}))


def _run(func: Any, *args: Any, **kwargs: Any) -> Any:
    """One operator: refused where operands do not share a device, otherwise done at home."""
    name = func._schema.name
    away, home = [], []

    def sort(x: Any) -> None:
        if isinstance(x, Elsewhere):
            away.append(x)
        elif isinstance(x, torch.Tensor) and x.ndim:
            home.append(x)

    asked = args
    if name in _TAKING and isinstance(args[0], Elsewhere):
        asked = (args[0], *args[2:])  # the indices may be on the CPU
    tree_map(sort, (asked, kwargs))
    if away and home and name not in _MOVING:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but {name} got {DEVICE}:0 and cpu "
            f"(shape {tuple(home[0].shape)})"
        )
    device = kwargs.get("device")
    to = None if device is None else torch.device(device).type
    stays = to == DEVICE or (to is None and bool(away))
    if stays and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"Expected a '{DEVICE}' device type for generator but found 'cpu'")
    done = func(*tree_map(_bring_home, args), **tree_map(_bring_home, kwargs))
    written = _written(func, args, kwargs)
    if written is not None:
        return written
    return tree_map(_send, done) if stays else done


def _bring_home(x: Any) -> Any:
    if isinstance(x, Elsewhere):
        return x._home
    if isinstance(x, torch.device) and x.type == DEVICE:
        return torch.device("cpu")
    return x


def _send(x: Any) -> Any:
    return Elsewhere(x) if isinstance(x, torch.Tensor) and not isinstance(x, Elsewhere) else x


def _written(func: Any, args: tuple, kwargs: dict) -> Any:
    """What an operator that works in place gives back: the very tensor it was given. None for all
    others.
    """
    found = []
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(kwargs[argument.name] if argument.name in kwargs else args[i])
    if not found or not func._schema.returns:
        return None
    return found[0] if len(func._schema.returns) == 1 else tuple(found)


torch.elsewhere.get_amp_supported_dtype = list  # sae-lens asks, and then does without
_library = torch.library.Library("_", "IMPL")
_library.fallback(_run, "PrivateUse1")


class _Thread(threading.Thread):
    """A thread in which `torch.tensor(..., device=)` makes its tensor at home and moves it then."""

    def run(self) -> None:
        torch._C._set_only_lift_cpu_tensors(True)  # PyTorch keeps this for each thread by itself
        super().run()


torch._C._set_only_lift_cpu_tensors(True)
threading.Thread = _Thread  # what starts in a test is one of these
