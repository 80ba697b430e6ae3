"""The one progress bar, and who hears of it instead."""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_LISTENERS = threading.local()


@contextlib.contextmanager
def report_to(listener: Callable[[str, int, int | None], None]) -> Iterator[None]:
    """A context in which this thread's progress goes to a listener instead of a bar.

    The listener is called as listener(what, done, of) about five times a second; what it raises
    ends the work.

    Example:
        >>> with report_to(lambda what, done, of: print(f"{what}: {done} of {of}")):
        ...     interp.ablate(model, task, "L*H*")
    """
    _LISTENERS.listener = listener
    try:
        yield
    finally:
        _LISTENERS.listener = None


def progress(items: Iterable | None, what: str, total: int | None = None) -> Any:
    """The items, behind a progress bar that appears after two seconds.

    INTERP_PROGRESS=0 turns bars off; `report_to` sends progress to a listener instead.

    Args:
        items: What is gone through; None for a bar that is moved by hand.
        what: What the bar says.
        total: How many items there are, where `items` does not know.
    """
    from tqdm.auto import tqdm
    from tqdm.std import tqdm as plain

    listener = getattr(_LISTENERS, "listener", None)
    if listener is None:
        # a widget's thread has no cell of its own: its bar would stand under another one
        off = (
            os.environ.get("INTERP_PROGRESS") == "0"
            or threading.current_thread() is not threading.main_thread()
        )
        return tqdm(items, desc=what, total=total, delay=2, leave=False, disable=off)

    class Reporting(plain):
        monitor_interval = 0  # no thread that looks after it
        _lock = (
            threading.RLock()
        )  # its own: it stays held when the listener raises, and all other bars would wait for it

        def display(self, *ignored: Any, **also: Any) -> None:
            listener(what, self.n, self.total)

        def close(self) -> None:  # the last step is nobody's news
            self.disable = True

    return Reporting(items, total=total, mininterval=0.2, file=io.StringIO())
