"""The one progress bar, and who hears of it instead."""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_TOLD = threading.local()


@contextlib.contextmanager
def told(listener: Callable[[str, int, int | None], None]) -> Iterator[None]:
    """Within it, this thread's progress goes to listener(what, done, of) about five times a second,
    not to a bar.

    What the listener raises ends the work.

    Example:
        >>> with told(lambda what, done, of: print(f"{what}: {done} of {of}")): ablate(model, task)
    """
    _TOLD.listener = listener
    try:
        yield
    finally:
        _TOLD.listener = None


def progress(items: Iterable | None, what: str, total: int | None = None) -> Any:
    """The items, behind a progress bar that appears after two seconds (never when
    INTERP_PROGRESS=0); see `told`.
    """
    from tqdm.auto import tqdm
    from tqdm.std import tqdm as plain

    listener = getattr(_TOLD, "listener", None)
    if listener is None:
        # a widget's thread has no cell of its own: its bar would stand under another one
        off = (
            os.environ.get("INTERP_PROGRESS") == "0"
            or threading.current_thread() is not threading.main_thread()
        )
        return tqdm(items, desc=what, total=total, delay=2, leave=False, disable=off)

    class Told(plain):
        monitor_interval = 0  # no thread that looks after it
        _lock = (
            threading.RLock()
        )  # its own: it stays held when the listener raises, and all other bars would wait for it

        def display(self, *ignored: Any, **also: Any) -> None:
            listener(what, self.n, self.total)

        def close(self) -> None:  # the last step is nobody's news
            self.disable = True

    return Told(items, total=total, mininterval=0.2, file=io.StringIO())
