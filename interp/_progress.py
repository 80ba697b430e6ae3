"""The one progress bar, and who hears of it instead.

What takes more than ten seconds says so as soon as the first part has been measured. A bar leaves
nothing behind: not in a terminal, and not in a notebook that is saved.
"""

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import Any

from tqdm.std import tqdm

LONG = 10.0  # seconds from which the whole is said beforehand
DELAY = 2.0  # seconds before a bar appears
EVERY = 60.0  # seconds between two lines in a file, where a bar cannot be drawn

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


@contextlib.contextmanager
def named(step: str) -> Iterator[None]:
    """A context in which this thread's bars begin with the name of a step: "step 2 of 5"
    ("" names none).

    Example:
        >>> with named("step 2 of 5"):
        ...     interp.ablate(model, task, "L*H*")
    """
    before = _steps()
    _LISTENERS.steps = (*before, step) if step else before
    try:
        yield
    finally:
        _LISTENERS.steps = before


def _steps() -> tuple[str, ...]:
    return getattr(_LISTENERS, "steps", ())


def progress(
    items: Iterable | None, what: str, total: int | None = None, *, show: bool = True
) -> Any:
    """The items, behind a progress bar that appears after two seconds and leaves nothing behind.

    Where the whole will take more than ten seconds, that is said after the first measurement: in
    the bar, and in a terminal or a log as a line. INTERP_PROGRESS=0 turns bars off; `report_to`
    sends progress to a listener instead.

    Args:
        items: What is gone through; None for a bar that is moved by hand.
        what: What the bar says.
        total: How many items there are, where `items` does not know.
        show: False for no bar at all.
    """
    what = ", ".join([*_steps(), what])
    listener = getattr(_LISTENERS, "listener", None)
    if listener is not None:
        return _Reporting(listener, what, items, total)
    # a widget's thread has no cell of its own: its bar would stand under another one
    off = (
        not show
        or os.environ.get("INTERP_PROGRESS") == "0"
        or threading.current_thread() is not threading.main_thread()
    )
    kind = _Cell if _in_notebook() else _Bar if sys.stderr.isatty() else _Log
    return kind(items, desc=what, total=total, delay=DELAY, leave=False, disable=off, miniters=1)


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "3 min 20 s", "2 h 5 min"."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")


def _in_notebook() -> bool:
    """Whether this is a kernel, whose outputs are put into a notebook."""
    shell = sys.modules.get("IPython")
    return bool(shell and getattr(shell.get_ipython(), "kernel", None))


class _Estimating(tqdm):
    """A bar that knows how long the whole takes, from what has been measured so far."""

    monitor_interval = 0  # no thread that looks after it
    _first: tuple[float, int] | None = None

    def update(self, n: float | None = 1) -> bool | None:
        """Moves the bar, and notes when the first part was finished."""
        shown = super().update(n)
        if self._first is None:
            self._first = (time.time(), self.n)
        return shown

    def seconds(self) -> float | None:
        """How long the whole takes; None before that has been measured.

        A bar that is moved by hand is measured from its first part on, because what is prepared
        before that (the runs that all parts share) is done once.
        """
        now, count = time.time(), self.n
        if not self.total or not count:
            return None
        if self.iterable is not None:
            return (now - self.start_t) / count * self.total
        if self._first is None or count == self._first[1] or now - self._first[0] < 0.5:
            return None
        began, before = self._first
        each = (now - began) / (count - before)
        return began - self.start_t + each * (self.total - before)

    def said(self) -> str:
        """One line: what, how far, and how long."""
        of = f" of {self.total:,}" if self.total else ""
        out = f"{self.desc.removesuffix(': ')}: {self.n:,}{of}"
        whole = self.seconds()
        if whole is None:
            return out
        left = whole - (time.time() - self.start_t)
        return f"{out}, about {duration(whole)} in all, {duration(left)} left"

    def beforehand(self) -> str:
        """The line that says beforehand how long it takes; "" where that is short or was said."""
        whole = self.seconds()
        if getattr(self, "_told", False) or whole is None or whole < LONG or self.n >= self.total:
            return ""
        self._told = True
        return f"{self.desc.removesuffix(': ')}: about {duration(whole)}"


class _Bar(_Estimating):
    """In a terminal: a line that says how long, and tqdm's bar, which is wiped out at the end."""

    def display(self, *given: Any, **also: Any) -> Any:
        line = self.beforehand()
        if line:
            self.write(line, file=sys.stderr)
        return super().display(*given, **also)


class _Log(_Estimating):
    """In a file or a pipe: a line that says how long, then one a minute."""

    _last = 0.0

    def display(self, *given: Any, **also: Any) -> None:
        line = self.beforehand()
        if line:
            self._last = time.time()
        elif self._last and time.time() - self._last > EVERY and self.n < (self.total or 0):
            self._last, line = time.time(), self.said()
        if line:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to wipe out."""
        self.disable = True


class _Cell(_Estimating):
    """In a notebook: a bar of HTML, which is taken out of the notebook when it ends.

    A bar of ipywidgets would stay in the saved file as an output without its widget.
    """

    _handle: Any = None

    def display(self, *given: Any, **also: Any) -> None:
        from IPython.display import HTML, display

        text = escape(self.said())
        page = HTML(
            f'<progress value="{self.n}" max="{self.total or max(1, self.n)}"'
            f' style="vertical-align:middle"></progress> <small>{text}</small>'
        )
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)

    def close(self) -> None:
        """Takes the bar away: its output stays, and holds nothing."""
        if self._handle is not None:
            self._handle.update({}, raw=True)
            self._handle = None
        self.disable = True


class _Reporting(tqdm):
    """Progress that a listener hears of."""

    monitor_interval = 0

    def __init__(
        self, listener: Callable[..., None], what: str, items: Iterable | None, total: int | None
    ) -> None:
        self._lock = threading.RLock()  # its own: it stays held when the listener raises, and all
        self._tell, self._what = listener, what  # other bars would wait for it
        super().__init__(items, total=total, mininterval=0.2, file=io.StringIO())

    def display(self, *ignored: Any, **also: Any) -> None:
        self._tell(self._what, self.n, self.total)

    def close(self) -> None:  # the last step is nobody's news
        self.disable = True
