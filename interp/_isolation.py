"""Torch's global switches, set as torch comes: what a notebook has turned on elsewhere must not
change a number.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ParamSpec, TypeVar

import torch

from interp._interrupts import one_line

P, T = ParamSpec("P"), TypeVar("T")

DEVICES = ("cpu", "cuda", "mps")  # where autocast may be on
_lock = threading.Lock()
_inside = 0  # how many blocks are open, in all threads
_before = torch.float32  # the default dtype outside of them


@contextmanager
def no_autocast() -> Iterator[None]:
    """Inside, autocast is off; gradients and inference mode stay as the caller has them."""
    with ExitStack() as stack:
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


class torch_defaults:
    """Inside, gradients are on, inference mode and autocast are off, the default dtype is float32
    and the default device the CPU; a verb that wears it answers an interrupt with one line.

    Example:
        >>> @torch_defaults()
        ... def patch(model, task, where): ...

    All but the default dtype are a thread's own. The dtype is the process's, and is set only where
    it is another one: by the first block that is entered, and set back by the last one that is
    left.
    """

    def __enter__(self) -> None:
        self._inside = _torch_defaults()
        self._inside.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._inside.__exit__(*error)

    def __call__(self, verb: Callable[P, T]) -> Callable[P, T]:
        """The verb, each call of which is such a block."""

        @functools.wraps(verb)
        def call(*args: P.args, **options: P.kwargs) -> T:
            with _torch_defaults():
                return verb(*args, **options)

        return one_line(call)


@contextmanager
def _torch_defaults() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(no_autocast())
        stack.enter_context(_float32())
        if torch.get_default_device().type != "cpu":  # what is made here says its device itself
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def _float32() -> Iterator[None]:
    global _inside, _before
    with _lock:
        if not _inside:
            _before = torch.get_default_dtype()
        _inside += 1
        if torch.get_default_dtype() != torch.float32:
            torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _before != torch.float32:
                torch.set_default_dtype(_before)
