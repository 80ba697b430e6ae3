"""Torch's global switches, set as torch comes: what a notebook has turned on elsewhere must not
change a number.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

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


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Inside, gradients are on, inference mode and autocast are off, and the default dtype is
    float32.

    Example:
        >>> @torch_defaults()
        ... def patch(model, task, where): ...

    All but the default dtype are a thread's own. The dtype is the process's, and is set only where
    it is another one: by the first block that is entered, and set back by the last one that is
    left.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(no_autocast())
        stack.enter_context(_float32())
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
